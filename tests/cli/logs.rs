//! logs and attach.

use super::support::{Barge, wait_until};

#[test]
fn logs_keep_both_streams() {
    let barge = Barge::with_busybox();
    let id = barge.start(["busybox", "sh", "-c", "echo out; echo err >&2; printf unfinished"]);
    barge.run(["wait", &id]).ok();
    let output = barge.run(["logs", &id]).exits(0).stderr("err\n");
    assert_eq!(output.text(), "out\nunfinished");
}

#[test]
fn logs_of_the_foreground_are_kept_too() {
    let barge = Barge::with_busybox();
    barge
        .run(["run", "--network=none", "--name", "box", "busybox", "echo", "seen"])
        .ok()
        .stdout("seen\n");
    barge.run(["logs", "box"]).ok().stdout("seen\n");
}

#[test]
fn logs_tail() {
    let barge = Barge::with_busybox();
    let id = barge.start(["busybox", "seq", "1", "1000"]);
    barge.run(["wait", &id]).ok();
    barge.run(["logs", "--tail", "2", &id]).ok().stdout("999\n1000\n");
    barge.run(["logs", "--tail", "0", &id]).ok().stdout("");
    assert_eq!(barge.run(["logs", "--tail", "all", &id]).ok().lines().len(), 1000);
    assert_eq!(barge.run(["logs", "--tail", "5000", &id]).ok().lines().len(), 1000);
    barge.run(["logs", "--tail", "x", &id]).fails(125);
}

#[test]
fn logs_have_times() {
    let barge = Barge::with_busybox();
    let id = barge.start(["busybox", "sh", "-c", "echo one; sleep 0.2; echo two"]);
    barge.run(["wait", &id]).ok();
    let lines = barge.run(["logs", "-t", &id]).ok().lines();
    let (first, rest) = lines[0].split_once(' ').unwrap();
    let (second, _) = lines[1].split_once(' ').unwrap();
    assert_eq!(rest, "one");
    assert!(first < second && first.contains('T') && first.contains('.'), "{first} {second}");
    barge.run(["logs", "--since", second, &id]).ok().stdout("two\n");
    barge.run(["logs", "--until", first, &id]).ok().stdout_lacks("two");
    barge.run(["logs", "--since", "1h", &id]).ok().stdout("one\ntwo\n");
    barge.run(["logs", "--since", "2099-01-01T00:00:00Z", &id]).ok().stdout("");
    barge.run(["logs", "--since", "yesterday-ish", &id]).fails(125);
}

#[test]
fn logs_follow_until_the_end() {
    let barge = Barge::with_busybox();
    let script = "echo first; while [ ! -e /go ]; do sleep 0.05; done; echo last";
    let id = barge.start(["busybox", "sh", "-c", script]);
    let mut following = barge.command(["logs", "-f", &id]).spawn();
    following.expect("first\n");
    assert!(!following.has_ended());
    barge.touch(&id, "/go");
    following.expect("last\n");
    following.wait().ok().stdout("first\nlast\n");
    // Of one that has ended it ends at once.
    barge.run(["logs", "-f", "--tail", "1", &id]).ok().stdout("last\n");
}

#[test]
fn logs_end_quietly_on_a_closed_pipe() {
    let barge = Barge::with_busybox();
    let id = barge.start(["busybox", "seq", "1", "200000"]);
    barge.run(["wait", &id]).ok();
    let line = format!(
        "{} --root {} --runroot {} logs {id} | head -n 1",
        super::support::fixture::barge().display(),
        barge.root().display(),
        barge.runroot().display()
    );
    barge.other_command("sh", ["-c", &line]).run().exits(0).stdout("1\n").stderr("");
}

#[test]
fn logs_keep_long_lines_and_odd_bytes() {
    let barge = Barge::with_busybox();
    let script = "head -c 100000 /dev/zero | tr '\\0' x; echo; printf 'a\\000b\\377c\\n'";
    let id = barge.start(["busybox", "sh", "-c", script]);
    barge.run(["wait", &id]).ok();
    let output = barge.run(["logs", &id]).ok();
    let mut want = vec![b'x'; 100_000];
    want.extend(b"\na\0b\xffc\n");
    assert!(output.stdout == want, "{} bytes", output.stdout.len());
}

#[test]
fn logs_can_be_off() {
    let barge = Barge::with_busybox();
    let line =
        ["run", "--network=none", "--name", "box", "--log-driver", "none", "busybox", "echo", "x"];
    barge.run(line).ok().stdout("x\n");
    barge
        .run(["logs", "box"])
        .fails(125)
        .error_has("this container is using the 'none' log driver, cannot read logs");
    barge
        .run(["create", "--log-driver", "nosuch", "busybox", "true"])
        .fails(125)
        .error_has("invalid log driver");
}

#[test]
fn logs_report_a_missing_container() {
    let barge = Barge::new();
    barge
        .run(["logs", "nosuch"])
        .fails(125)
        .error("no container with name or ID \"nosuch\" found: no such container");
}

#[test]
fn attach_shows_what_comes_and_passes_the_code_on() {
    let barge = Barge::with_busybox();
    let script = "while [ ! -e /go ]; do sleep 0.05; done; echo out; echo err >&2; exit 8";
    let id = barge.start(["busybox", "sh", "-c", script]);
    let attached = barge.command(["attach", &id]).spawn();
    wait_until("it is attached", || barge.processes().len() >= 3);
    barge.touch(&id, "/go");
    attached.wait().exits(8).stdout("out\n").stderr("err\n");
}

#[test]
fn attach_gives_input() {
    let barge = Barge::with_busybox();
    let id = barge.start(["-i", "busybox", "sh"]);
    barge.command(["attach", &id]).input("echo got it; exit 4\n").run().exits(4).stdout("got it\n");
}

#[test]
fn attach_serves_several_at_once() {
    let barge = Barge::with_busybox();
    let script = "while [ ! -e /go ]; do sleep 0.05; done; seq 1 5000";
    let id = barge.start(["busybox", "sh", "-c", script]);
    let attached: Vec<_> =
        (0..3).map(|_| barge.command(["attach", "--no-stdin", &id]).spawn()).collect();
    wait_until("they are attached", || barge.processes().len() >= 5);
    barge.touch(&id, "/go");
    let want: String = (1..=5000).map(|n| format!("{n}\n")).collect();
    for one in attached {
        one.wait().ok().stdout(&want);
    }
}

#[test]
fn attach_refuses_what_does_not_run() {
    let barge = Barge::with_busybox();
    barge.run(["create", "--name", "idle", "busybox", "true"]).ok();
    barge.run(["attach", "idle"]).fails(125).error_has("running");
    barge
        .run(["attach", "nosuch"])
        .fails(125)
        .error("no container with name or ID \"nosuch\" found: no such container");
}

#[test]
fn a_client_that_goes_away_does_not_disturb() {
    let barge = Barge::with_busybox();
    let line = [
        "run",
        "--network=none",
        "--name",
        "box",
        "busybox",
        "sh",
        "-c",
        "i=0; while :; do i=$((i+1)); echo $i; sleep 0.01; done",
    ];
    let mut client = barge.command(line).spawn();
    client.expect("5\n");
    client.signal(rustix::process::Signal::KILL);
    drop(client);
    barge.kills();
    barge.await_log("box", "\n50\n");
    assert_eq!(barge.status("box"), "running");
}

#[test]
fn logs_of_several_are_merged_by_time() {
    let barge = Barge::with_busybox();
    let mut ids = Vec::new();
    for (name, word) in [("first", "one"), ("second", "two")] {
        let wait = "while [ ! -e /go$i ]; do sleep 0.02; done";
        let script = format!("for i in 1 2 3; do {wait}; echo {word}$i; done");
        ids.push(barge.start(["--name", name, "busybox", "sh", "-c", &script]));
    }
    let mut following = barge.command(["logs", "-f", "--names", "first", "second"]).spawn();
    for round in ["1", "2", "3"] {
        for (name, word) in [("first", "one"), ("second", "two")] {
            barge.touch(name, &format!("/go{round}"));
            barge.await_log(name, &format!("{word}{round}"));
        }
    }
    following.expect("second two3\n");
    let want = "first one1\nsecond two1\nfirst one2\nsecond two2\nfirst one3\nsecond two3\n";
    following.wait().ok().stdout(want);
    barge.run(["logs", "--names", "second", "first"]).ok().stdout(want);
    let by_id = want.replace("first", &ids[0][..12]).replace("second", &ids[1][..12]);
    barge.run(["logs", "first", "second"]).ok().stdout(&by_id);
    barge
        .run(["logs", "--tail", "1", "--color", "--names", "first", "second"])
        .ok()
        .stdout("\x1b[37mfirst \x1b[0mone3\n\x1b[31msecond \x1b[0mtwo3\n");
    barge.run(["logs", "-n", "first"]).ok().stdout("first one1\nfirst one2\nfirst one3\n");
    barge.run(["logs", "first", "nosuch"]).fails(125).error_has("nosuch");
}

#[test]
fn logs_follow_over_restarts() {
    let barge = Barge::with_busybox();
    let script = "echo run; [ $(wc -l < /count) -ge 3 ] && exit 0; echo x >> /count; exit 1";
    let script = format!("touch /count; {script}");
    barge.start(["--name", "box", "--restart=on-failure", "busybox", "sh", "-c", &script]);
    let want = "run\n".repeat(4);
    barge.run(["logs", "-f", "box"]).ok().stdout(&want);
    // It ends when the monitor is killed, too.
    barge.start(["--name", "other", "busybox", "sh", "-c", "echo up; exec sleep 1000"]);
    let mut following = barge.command(["logs", "-f", "other"]).spawn();
    following.expect("up\n");
    let monitor = barge.inspect("other", "{{.State.Pid}}");
    barge.kills();
    let parent = std::fs::read_to_string(format!("/proc/{monitor}/stat")).unwrap();
    let parent = parent.rsplit(')').next().unwrap().split_whitespace().nth(1).unwrap();
    let parent = rustix::process::Pid::from_raw(parent.parse().unwrap()).unwrap();
    rustix::process::kill_process(parent, rustix::process::Signal::KILL).unwrap();
    following.wait().ok().stdout("up\n");
}

#[test]
fn logs_follow_until_a_time() {
    let barge = Barge::with_busybox();
    let id = barge.start(["busybox", "sh", "-c", "echo up; exec sleep 1000"]);
    barge.await_log(&id, "up");
    let soon = std::time::SystemTime::now() + std::time::Duration::from_secs(1);
    let soon = soon.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs().to_string();
    barge.run(["logs", "-f", "--until", &soon, &id]).ok().stdout("up\n");
    barge.run(["logs", "--since", "0", "-f", "--until", "1s", &id]).ok();
}

#[test]
fn logs_follow_a_container_beyond_a_restart() {
    let barge = Barge::with_busybox();
    let script = "trap 'echo ended; exit 0' TERM; echo begun; while :; do sleep 0.05; done";
    barge.start(["--name", "box", "busybox", "sh", "-c", script]);
    let mut following = barge.command(["logs", "-f", "box"]).spawn();
    following.expect("begun");
    for _ in 0..3 {
        barge.run(["restart", "box"]).ok();
        following.expect("ended");
        following.expect("begun");
    }
    assert!(!following.has_ended());
    barge.run(["stop", "box"]).ok();
    following.wait().ok().stdout("begun\nended\nbegun\nended\nbegun\nended\nbegun\nended\n");
}
