//! create, start, stop, kill, restart, rm, wait.

use std::time::{Duration, Instant};

use super::support::{Barge, Need, needs, wait_until};

/// A first process that ends by itself when it is asked to, with code 3.
const POLITE: &str = "trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.1; done";

#[test]
fn start_runs_what_was_created() {
    let barge = Barge::with_busybox();
    let line =
        ["create", "--network=none", "--name", "box", "busybox", "sh", "-c", "echo ran; exit 3"];
    let id = barge.run(line).ok().text();
    barge.run(["start", "box"]).ok().stdout("box\n");
    barge.run(["wait", "box"]).ok().stdout("3\n");
    assert_eq!(barge.status(&id), "exited");
    barge.run(["start", "-a", &id[..12]]).exits(3).stdout("ran\n");
    barge.run(["logs", "box"]).ok().stdout("ran\nran\n");
}

#[test]
fn start_takes_input_with_i() {
    let barge = Barge::with_busybox();
    let id = barge.run(["create", "-i", "--network=none", "busybox", "cat"]).ok().text();
    barge.command(["start", "-a", "-i", &id]).input("through\n").run().ok().stdout("through\n");
}

#[test]
fn start_of_a_running_container_changes_nothing() {
    let barge = Barge::with_busybox();
    let id = barge.start(["--name", "box", "busybox", "sleep", "1000"]);
    let pid = barge.inspect("box", "{{.State.Pid}}");
    barge.run(["start", "box"]).ok().stdout("box\n");
    assert_eq!(barge.inspect(&id, "{{.State.Pid}}"), pid);
}

#[test]
fn start_reports_each_failure_and_goes_on() {
    let barge = Barge::with_busybox();
    barge.run(["create", "--network=none", "--name", "good", "busybox", "sleep", "1000"]).ok();
    let output = barge.run(["start", "missing", "good"]).exits(125).stdout("good\n");
    assert_eq!(
        output.errors().lines().next().unwrap(),
        "Error: no container with name or ID \"missing\" found: no such container"
    );
    assert_eq!(barge.status("good"), "running");
}

#[test]
fn start_that_fails_leaves_the_container_as_it_was() {
    let barge = Barge::with_busybox();
    barge.run(["create", "--network=none", "--name", "box", "busybox", "nosuch"]).ok();
    barge.run(["start", "box"]).fails(127).error_has("nosuch");
    assert!(["created", "exited"].contains(&&*barge.status("box")));
    barge.await_silence();
    barge.run(["rm", "box"]).ok().stdout("box\n");
    barge.leaves_nothing();
}

#[test]
fn stop_asks_first() {
    let barge = Barge::with_busybox();
    let id = barge.start(["--name", "box", "busybox", "sh", "-c", POLITE]);
    barge.await_log("box", "up");
    barge.run(["stop", "box"]).ok().stdout("box\n");
    assert_eq!(barge.inspect(&id, "{{.State.Status}} {{.State.ExitCode}}"), "exited 3");
    barge.run(["logs", "box"]).ok().stdout("up\nbye\n");
    // Stopping what is stopped is no error.
    barge.run(["stop", "box"]).ok().stdout("box\n");
}

#[test]
fn stop_kills_what_does_not_listen() {
    let barge = Barge::with_busybox();
    barge.start(["--name", "deaf", "busybox", "sleep", "1000"]);
    let begin = Instant::now();
    barge.run(["stop", "-t", "1", "deaf"]).exits(0).stdout("deaf\n").stderr_has(
        "StopSignal SIGTERM failed to stop container deaf in 1 seconds, resorting to SIGKILL",
    );
    assert!(begin.elapsed() >= Duration::from_secs(1));
    assert_eq!(barge.inspect("deaf", "{{.State.ExitCode}}"), "137");
}

#[test]
fn stop_uses_the_signal_and_the_time_of_the_container() {
    let barge = Barge::with_busybox();
    let script = "trap 'exit 5' USR1; trap '' TERM; echo up; while :; do sleep 0.1; done";
    barge.start(["--name", "a", "--stop-signal", "USR1", "busybox", "sh", "-c", script]);
    barge.await_log("a", "up");
    barge.run(["stop", "a"]).ok();
    assert_eq!(barge.inspect("a", "{{.State.ExitCode}}"), "5");
    barge.start(["--name", "b", "--stop-timeout", "0", "busybox", "sleep", "1000"]);
    let begin = Instant::now();
    barge.run(["stop", "b"]).exits(0);
    assert!(begin.elapsed() < Duration::from_secs(8), "it waited for ten seconds");
    barge
        .run(["create", "--stop-signal", "NOSUCH", "busybox", "true"])
        .fails(125)
        .error("invalid signal: NOSUCH");
    barge
        .run(["create", "--stop-signal", "65", "busybox", "true"])
        .fails(125)
        .error("valid signals are 1 through 64");
}

#[test]
fn stop_takes_another_signal_once() {
    let barge = Barge::with_busybox();
    let script = "trap 'exit 3' USR1; trap 'exit 4' TERM; echo ready; while :; do sleep 0.1; done";
    barge.start(["--name", "box", "busybox", "sh", "-c", script]);
    let await_start = |count: usize| {
        let lines = || barge.run(["logs", "box"]).ok().lines().len();
        wait_until("it catches signals", || lines() == count);
    };
    await_start(1);
    barge.run(["restart", "--signal", "USR1", "box"]).ok().stdout("box\n");
    let died = ["events", "--stream=false", "--since=1h", "--filter=event=died"];
    let line = [&died[..], &["--format", "{{.ContainerExitCode}}"]].concat();
    barge.run(&line).ok().stdout("3\n");
    await_start(2);
    barge.run(["stop", "-s", "10", "box"]).ok().stdout("box\n");
    assert_eq!(barge.inspect("box", "{{.State.ExitCode}} {{.Config.StopSignal}}"), "3 SIGTERM");
    barge.run(["start", "box"]).ok();
    await_start(3);
    barge.run(["stop", "box"]).ok();
    assert_eq!(barge.inspect("box", "{{.State.ExitCode}}"), "4");
    barge.run(["stop", "--signal", "NONE", "box"]).fails(125).error_has("NONE");
}

#[test]
fn stop_and_rm_leave_nothing_on_the_disk_of_the_store_open() {
    if !needs(&[Need::Root]) {
        return;
    }
    let mut barge = Barge::new();
    let (root, runroot) = (barge.root(), barge.runroot());
    let [root, runroot] = [root, runroot].map(|path| path.to_string_lossy().into_owned());
    barge.move_to(barge.place().with_mounts(&format!("mkdir {root} {runroot}")));
    let start = |flags: &[&str]| {
        for dir in [&root, &runroot] {
            barge.other_command("mount", ["-t", "tmpfs", "none", dir]).run().ok();
        }
        barge.import_busybox();
        barge.start([&["--name", "box"], flags, &["busybox", "sleep", "1000"]].concat());
    };
    let volume = ["-v", "data:/data"];
    let cases: [(&[&str], &[&str]); 4] = [
        (&[], &["stop", "-t", "0", "box"]),
        (&volume, &["stop", "-t", "0", "box"]),
        (&["--rm"], &["stop", "-t", "0", "box"]),
        (&volume, &["rm", "-f", "-t", "0", "box"]),
    ];
    for (flags, line) in cases {
        start(flags);
        barge.run(line).ok();
        for dir in [&root, &runroot] {
            barge.other_command("umount", [dir]).run().ok();
        }
    }
}

#[test]
fn stop_while_others_look() {
    let barge = Barge::with_busybox();
    barge.start(["--name", "deaf", "busybox", "sleep", "1000"]);
    let stopping = barge.command(["stop", "-t", "5", "deaf"]).spawn();
    wait_until("others are not blocked", || {
        let begin = Instant::now();
        let status = barge.status("deaf");
        assert!(begin.elapsed() < Duration::from_secs(4), "`inspect` was blocked by `stop`");
        status == "stopping" || status == "exited" || status == "running"
    });
    barge.run(["kill", "deaf"]).ok();
    stopping.wait().exits(0);
}

#[test]
fn stop_all() {
    let barge = Barge::with_busybox();
    let mut ids =
        [barge.start(["busybox", "sleep", "1000"]), barge.start(["busybox", "sleep", "1000"])];
    let mut stopped = barge.run(["stop", "-a", "-t", "0"]).exits(0).lines();
    ids.sort();
    stopped.sort();
    assert_eq!(stopped, ids);
}

#[test]
fn kill_sends_the_signal() {
    let barge = Barge::with_busybox();
    let script =
        "trap 'echo got one' USR1; trap 'echo got two' USR2; echo up; while :; do sleep 0.1; done";
    barge.start(["--name", "box", "busybox", "sh", "-c", script]);
    barge.await_log("box", "up");
    for (signal, text) in [("USR1", "got one"), ("SIGUSR2", "got two")] {
        barge.run(["kill", "-s", signal, "box"]).ok().stdout("box\n");
        barge.await_log("box", text);
    }
    barge.run(["kill", "--signal", "nosuch", "box"]).fails(125).error("invalid signal: nosuch");
    barge.run(["kill", "-s", "9", "box"]).ok().stdout("box\n");
    barge.await_status("box", "exited");
    assert_eq!(barge.inspect("box", "{{.State.ExitCode}}"), "137");
    barge.run(["kill", "box"]).fails(125).error_has("container state improper");
    barge
        .run(["kill", "nosuch"])
        .fails(125)
        .error("no container with name or ID \"nosuch\" found: no such container");
}

#[test]
fn run_passes_signals_on() {
    let barge = Barge::with_busybox();
    let line = ["run", "--network=none", "--name", "box", "busybox", "sh", "-c", POLITE];
    let mut running = barge.command(line).spawn();
    running.expect("up\n");
    running.signal(rustix::process::Signal::TERM);
    running.wait().exits(3).stdout("up\nbye\n");
    assert_eq!(barge.status("box"), "exited");
}

#[test]
fn restart_starts_again() {
    let barge = Barge::with_busybox();
    barge.start(["--name", "box", "busybox", "sh", "-c", POLITE]);
    barge.await_log("box", "up");
    let first = barge.inspect("box", "{{.State.Pid}}");
    barge.run(["restart", "box"]).ok().stdout("box\n");
    assert_eq!(barge.status("box"), "running");
    assert_ne!(barge.inspect("box", "{{.State.Pid}}"), first);
    barge.await_log("box", "up\nbye\nup");
    barge.run(["stop", "box"]).ok();
    barge.run(["restart", "-t", "0", "box"]).ok().stdout("box\n");
    assert_eq!(barge.status("box"), "running");
    barge
        .run(["restart", "nosuch"])
        .fails(125)
        .error("no container with name or ID \"nosuch\" found: no such container");
}

#[test]
fn rm_removes() {
    let barge = Barge::with_busybox();
    let before = barge.files();
    for name in ["a", "b"] {
        barge.run(["run", "--network=none", "--name", name, "busybox", "touch", "/x"]).ok();
    }
    barge.run(["rm", "a", "b"]).ok().stdout("a\nb\n");
    barge.has_files(&before, "");
}

#[test]
fn rm_refuses_a_running_container() {
    let barge = Barge::with_busybox();
    let id = barge.start(["--name", "box", "busybox", "sleep", "1000"]);
    barge.run(["rm", "box"]).fails(2).error(&format!(
        "cannot remove container {id} as it is running - running or paused containers cannot be \
         removed without force: container state improper"
    ));
    assert_eq!(barge.status("box"), "running");
    barge.run(["rm", "-f", "-t", "0", "box"]).ok().stdout("box\n");
    barge.leaves_nothing();
}

#[test]
fn rm_reports_what_is_missing() {
    let barge = Barge::with_busybox();
    barge
        .run(["rm", "nosuch"])
        .fails(1)
        .error("no container with ID or name \"nosuch\" found: no such container");
    barge.run(["rm", "-f", "nosuch"]).ok().stdout("").stderr("");
    barge.run(["rm", "-i", "nosuch"]).ok().stdout("").stderr("");
    barge.run(["create", "--name", "good", "busybox", "true"]).ok();
    let output = barge.run(["rm", "bad", "good"]).exits(1).stdout("good\n");
    assert_eq!(
        output.errors(),
        "Error: no container with ID or name \"bad\" found: no such container\n"
    );
}

#[test]
fn rm_all() {
    let barge = Barge::with_busybox();
    let mut ids = [
        barge.start(["busybox", "sleep", "1000"]),
        barge.run(["create", "busybox", "true"]).ok().text(),
    ];
    let mut removed = barge.run(["rm", "-a", "-f", "-t", "0"]).ok().lines();
    ids.sort();
    removed.sort();
    assert_eq!(removed, ids);
    assert!(barge.containers().is_empty());
}

#[test]
fn wait_prints_one_code_per_line() {
    let barge = Barge::with_busybox();
    let script =
        |code: u32| format!("trap 'exit {code}' TERM; echo up; while :; do sleep 0.1; done");
    barge.start(["--name", "a", "busybox", "sh", "-c", &script(4)]);
    barge.start(["--name", "b", "busybox", "sh", "-c", &script(5)]);
    let waiting = barge.command(["wait", "a", "b"]).spawn();
    for name in ["a", "b"] {
        barge.await_log(name, "up");
        barge.run(["stop", name]).ok();
    }
    waiting.wait().ok().stdout("4\n5\n");
    barge
        .run(["wait", "nosuch"])
        .fails(125)
        .error("no container with name or ID \"nosuch\" found: no such container");
}

#[test]
fn wait_for_a_condition() {
    let barge = Barge::with_busybox();
    barge.run(["create", "--network=none", "--name", "box", "busybox", "sleep", "1000"]).ok();
    let waiting = barge.command(["wait", "--condition", "running", "box"]).spawn();
    barge.run(["start", "box"]).ok();
    waiting.wait().ok();
    let removed = barge.command(["wait", "--condition", "removed", "box"]).spawn();
    barge.run(["rm", "-f", "-t", "0", "box"]).ok();
    removed.wait().exits(0);
}

#[test]
fn containers_are_found_by_name_id_and_prefix() {
    let barge = Barge::with_busybox();
    let id = barge.run(["create", "--name", "box", "busybox", "true"]).ok().text();
    for name in ["box", "/box", &id, &id[..12], &id[..4]] {
        assert_eq!(barge.inspect(name, "{{.Id}}"), id, "{name}");
    }
    for name in ["bo", "BOX", &id[1..], ""] {
        barge.run(["stop", name]).fails(125);
    }
}

#[test]
fn a_prefix_of_several_ids_is_refused() {
    let barge = Barge::with_busybox();
    let ids: Vec<String> =
        (0..17).map(|_| barge.run(["create", "busybox", "true"]).ok().text()).collect();
    // Of seventeen IDs two begin with the same digit.
    let digit = |id: &String| id.as_bytes()[0];
    let first =
        ids.iter().find(|id| ids.iter().filter(|other| digit(other) == digit(id)).count() > 1);
    barge.run(["stop", &first.unwrap()[..1]]).fails(125).error_has("more than one container");
}

#[test]
fn names_and_ids_of_several_runs_differ() {
    let barge = Barge::with_busybox();
    let ids: Vec<String> =
        (0..3).map(|_| barge.run(["create", "busybox", "true"]).ok().text()).collect();
    let mut names: Vec<String> = ids.iter().map(|id| barge.inspect(id, "{{.Name}}")).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 3);
    assert!(names.iter().all(|name| name.contains('_')), "{names:?}");
}

#[test]
fn replace_takes_the_name_over() {
    let barge = Barge::with_busybox();
    let old = barge.start(["--name", "box", "busybox", "sleep", "1000"]);
    let new = barge.start(["--name", "box", "--replace", "busybox", "sleep", "1000"]);
    assert_ne!(old, new);
    assert_eq!(barge.containers(), [new]);
}
