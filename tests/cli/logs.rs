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
    barge.run(["exec", &id, "touch", "/go"]).ok();
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
    barge.run(["exec", &id, "touch", "/go"]).ok();
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
    barge.run(["exec", &id, "touch", "/go"]).ok();
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
