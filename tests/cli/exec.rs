//! `barge exec`.

use super::support::{Barge, wait_until};
use rustix::process::{Pid, Signal, kill_process};

fn sleeper() -> (Barge, String) {
    let barge = Barge::with_busybox();
    let line = ["--name", "box", "-e", "OF=container", "-w", "/etc", "busybox", "sleep", "1000"];
    let id = barge.start(line);
    (barge, id)
}

/// Finds what watches over processes that were added to containers.
pub(super) fn watchers(barge: &Barge) -> Vec<Pid> {
    let is_watcher = |pid: &u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.starts_with(b"barge: exec\0")
    };
    let pids = barge.processes().into_iter().filter(is_watcher);
    pids.filter_map(|pid| Pid::from_raw(pid.cast_signed())).collect()
}

#[test]
fn exec_runs_beside_the_first_process() {
    let (barge, _) = sleeper();
    barge
        .run(["exec", "box", "sh", "-c", "tr '\\0' ' ' < /proc/1/cmdline; echo; pwd; echo $OF"])
        .ok()
        .stdout("sleep 1000 \n/etc\ncontainer\n");
    let script = "for n in pid net ipc mnt uts cgroup user; do [ $(readlink /proc/1/ns/$n) = $(readlink /proc/self/ns/$n) ] || echo $n; done; cat /proc/1/cgroup > /a; cat /proc/self/cgroup > /b; cmp /a /b";
    barge.run(["exec", "box", "sh", "-c", script]).ok().stdout("");
}

#[test]
fn exec_passes_the_exit_code_on() {
    let (barge, _) = sleeper();
    for code in [0, 1, 42, 255] {
        barge.run(["exec", "box", "sh", "-c", &format!("exit {code}")]).exits(code);
    }
    barge.run(["exec", "box", "sh", "-c", "kill -9 $$"]).exits(137);
    barge.run(["exec", "box", "nosuch"]).fails(127).error_has("nosuch");
    barge.run(["exec", "box", "/bin/not-executable"]).fails(126).error_has("not-executable");
    barge.run(["exec", "-w", "/nosuch", "box", "true"]).fails(126).error_has("/nosuch");
    assert_eq!(barge.status("box"), "running");
    assert_eq!(barge.inspect("box", "{{len .ExecIDs}}"), "0");
}

#[test]
fn exec_has_the_same_limits() {
    let (barge, _) = sleeper();
    let script = "grep -E '^(Cap|Seccomp:|NoNewPrivs)' /proc/self/status";
    let first = barge
        .run(["exec", "box", "sh", "-c", "grep -E '^(Cap|Seccomp:|NoNewPrivs)' /proc/1/status"])
        .ok()
        .text();
    barge.run(["exec", "box", "sh", "-c", script]).ok().stdout(&format!("{first}\n"));
    assert!(first.contains("Seccomp:\t2"), "{first}");
    let privileged = barge.run(["exec", "--privileged", "box", "sh", "-c", script]).ok().text();
    assert_ne!(privileged, first);
}

#[test]
fn exec_forwards_a_megabyte_and_a_half_of_any_bytes() {
    let (barge, _) = sleeper();
    let bytes: Vec<u8> =
        (0..1_500_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let output = barge.command(["exec", "-i", "box", "cat"]).input(bytes.clone()).run().ok();
    assert!(output.stdout == bytes, "{} of {} bytes", output.stdout.len(), bytes.len());
    // Without -i there is no input.
    barge.command(["exec", "box", "wc", "-c"]).input("ignored").run().ok().stdout("0\n");
}

#[test]
fn exec_never_cuts_the_output_off() {
    let (barge, _) = sleeper();
    for _ in 0..10 {
        let output = barge.run(["exec", "box", "head", "-c", "300000", "/dev/zero"]).ok();
        assert_eq!(output.stdout.len(), 300_000);
    }
}

#[test]
fn exec_takes_environment_directory_and_user() {
    let (barge, _) = sleeper();
    let file = barge.file("env", "F=file\n");
    let line = [
        "exec",
        "-e",
        "A=b",
        "--env-file",
        &file,
        "-w",
        "/home",
        "-u",
        "app",
        "box",
        "sh",
        "-c",
        "echo $A $F $OF $HOME; pwd; id -u; id -G",
    ];
    barge.run(line).ok().stdout("b file container /home\n/home\n1000\n1000 2000\n");
    barge.run(["exec", "-u", "nosuch", "box", "true"]).fails(126).error_has("nosuch");
}

#[test]
fn exec_runs_in_the_background() {
    let (barge, _) = sleeper();
    barge.run(["exec", "-d", "box", "sh", "-c", "echo done > /done; exec sleep 1000"]).ok();
    let waiting = "while [ ! -s /done ]; do sleep 0.05; done; cat /done";
    barge.run(["exec", "box", "sh", "-c", waiting]).ok().stdout("done\n");
    barge.run(["exec", "-d", "box", "nosuch"]).fails(125).error_has("nosuch");
    barge.run(["exec", "-d", "box", "sh", "-c", "exit 7"]).ok();
    let codes = || {
        let line = ["events", "--stream=false", "--filter", "event=exec_died", "--format"];
        barge.run(line.iter().chain(&["{{.ContainerExitCode}}"])).ok().text()
    };
    wait_until("its end is told", || codes().ends_with('7'));
    // Who watches over one in the background may be killed like anything else.
    let watchers = watchers(&barge);
    assert_eq!(watchers.len(), 1);
    kill_process(watchers[0], Signal::KILL).unwrap();
    barge.run(["rm", "-f", "-t", "0", "box"]).ok();
    barge.leaves_nothing();
}

#[test]
fn exec_reports_what_cannot_be() {
    let (barge, _) = sleeper();
    barge
        .run(["exec", "nosuch", "true"])
        .fails(125)
        .error("no container with name or ID \"nosuch\" found: no such container");
    barge
        .run(["exec", "box"])
        .exits(125)
        .stdout("")
        .stderr_has("must provide a non-empty command to start an exec session");
    barge.run(["create", "--name", "idle", "busybox", "true"]).ok();
    barge.run(["exec", "idle", "true"]).fails(125).error_has("container state improper");
}

#[test]
fn exec_ends_with_the_container() {
    let (barge, _) = sleeper();
    let mut running =
        barge.command(["exec", "box", "sh", "-c", "echo up; exec sleep 1000"]).spawn();
    running.expect("up\n");
    barge.run(["kill", "box"]).ok();
    running.wait().exits(137);
}

#[test]
fn exec_passes_signals_on() {
    let (barge, _) = sleeper();
    let script = "trap 'exit 7' TERM; echo up; while :; do sleep 0.1; done";
    let mut running = barge.command(["exec", "box", "sh", "-c", script]).spawn();
    running.expect("up\n");
    running.signal(Signal::TERM);
    running.wait().exits(7);
}

#[test]
fn exec_serves_many_at_once() {
    let (barge, _) = sleeper();
    let line = |n: u32| ["exec".to_owned(), "box".to_owned(), "echo".to_owned(), n.to_string()];
    let running: Vec<_> = (0..10).map(|n| barge.command(line(n)).spawn()).collect();
    for (n, one) in running.into_iter().enumerate() {
        one.wait().ok().stdout(&format!("{n}\n"));
    }
}

#[test]
fn exec_finds_the_container_otherwise() {
    let (barge, id) = sleeper();
    let file = barge.file("cid", format!("{id}\n"));
    barge.run(["exec", "--cidfile", &file, "sh", "-c", "echo $OF"]).ok().stdout("container\n");
    barge.start(["busybox", "sh", "-c", "echo last > /mark; sleep 1000"]);
    let waiting = "while [ ! -s /mark ]; do sleep 0.05; done; cat /mark";
    barge.run(["exec", "--latest", "sh", "-c", waiting]).ok().stdout("last\n");
    barge.run(["exec", "-l", "cat", "/mark"]).ok().stdout("last\n");
    let missing = barge.path_text("missing");
    barge.run(["exec", "--cidfile", &missing, "true"]).fails(125).error_has("missing");
    barge.run(["exec", "-l", "--cidfile", &file, "true"]).exits(125);
}

#[test]
fn exec_is_on_the_list_while_it_runs() {
    let (barge, id) = sleeper();
    let count = || barge.inspect("box", "{{len .ExecIDs}}");
    let notes = barge.runroot().join("containers").join(&id).join("exec");
    let mut running = barge.command(["exec", "box", "sleep", "1000"]).spawn();
    wait_until("it is on the list", || count() == "1");
    let session = barge.inspect("box", "{{index .ExecIDs 0}}");
    assert!(session.len() == 64 && notes.join(&session).exists(), "{session}");
    running.signal(Signal::TERM);
    running.wait().exits(143);
    assert_eq!(count(), "0");
    assert!(!notes.join(&session).exists());
    let events = barge.run(["events", "--stream=false", "--format", "json"]).ok().text();
    let told = events.lines().filter(|line| line.contains(&session)).count();
    assert_eq!(told, 2, "exec and exec_died: {events}");

    // One whose command is killed is watched by nobody.
    barge.run(["exec", "-d", "box", "sleep", "1000"]).ok();
    assert_eq!(count(), "1");
    let mut killed = barge.command(["exec", "box", "sleep", "1000"]).spawn();
    wait_until("it is on the list", || count() == "2");
    killed.signal(Signal::KILL);
    assert_eq!(count(), "2");
    barge.run(["exec", "box", "sh", "-c", "kill $(pidof sleep)"]).ok();
    wait_until("both are off the list", || count() == "0");
    assert_eq!(killed.wait().killed, Some(Signal::KILL.as_raw()));
    // The next one clears away what they left.
    barge.run(["exec", "-d", "box", "sleep", "1000"]).ok();
    assert_eq!(std::fs::read_dir(&notes).unwrap().count(), 1);
    barge.run(["stop", "-t", "0", "box"]).ok();
    assert!(!notes.exists());
    assert_eq!(count(), "0");
}
