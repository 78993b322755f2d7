//! wait: conditions, several containers, the first of them.

use super::support::{Barge, wait_until};

/// Ends with this code when it is asked to.
fn ends_with(code: u32) -> String {
    format!("trap 'exit {code}' TERM; echo up; while :; do sleep 0.1; done")
}

#[test]
fn return_first_is_content_with_one() {
    let barge = Barge::with_busybox();
    for (name, code) in [("a", 4), ("b", 5)] {
        barge.start(["--name", name, "busybox", "sh", "-c", &ends_with(code)]);
        barge.await_log(name, "up");
    }
    let waiting = barge.command(["wait", "--return-first", "a", "b"]).spawn();
    barge.run(["stop", "b"]).ok();
    waiting.wait().ok().stdout("5\n");
    assert_eq!(barge.status("a"), "running");
    // One that has ended already is the first.
    barge.run(["wait", "--return-first", "a", "b"]).ok().stdout("5\n");
    barge.run(["wait", "--return-first", "--ignore", "a", "nosuch"]).ok().stdout("-1\n");
    barge.run(["wait", "--return-first", "a", "nosuch"]).fails(125).error_has("nosuch");
}

#[test]
fn several_conditions_are_alternatives() {
    let barge = Barge::with_busybox();
    barge.run(["create", "--network=none", "--name", "box", "busybox", "sleep", "1000"]).ok();
    barge.run(["wait", "--condition", "configured", "box"]).ok().stdout("-1\n");
    let line = ["wait", "--condition", "running", "--condition", "removed", "--interval", "10ms"];
    let waiting = barge.command(line.into_iter().chain(["box"])).spawn();
    barge.run(["start", "box"]).ok();
    waiting.wait().ok().stdout("-1\n");
    let waiting = barge.command(["wait", "--condition=paused,exited", "box"]).spawn();
    barge.run(["kill", "box"]).ok();
    waiting.wait().ok().stdout("137\n");
    let waiting = barge.command(["wait", "--condition", "removed", "box"]).spawn();
    wait_until("it watches the record", || holds(waiting.pid(), "inotify"));
    barge.run(["rm", "box"]).ok();
    waiting.wait().ok().stdout("137\n");
    for wrong in [["--condition", "happy"], ["--interval", "soon"]] {
        barge.run(["wait"].into_iter().chain(wrong).chain(["box"])).fails(125);
    }
}

#[test]
fn the_code_of_a_container_that_is_removed_is_heard() {
    let barge = Barge::with_busybox();
    barge.start(["--rm", "--name", "box", "busybox", "sh", "-c", &ends_with(9)]);
    barge.await_log("box", "up");
    let ids: Vec<_> = ["stopped", "removed", "next-exit"]
        .map(|condition| barge.command(["wait", "--condition", condition, "box"]).spawn())
        .into();
    // There is no telling from outside when they listen, but that all hold a socket to the monitor.
    wait_until("they listen", || ids.iter().all(|waiting| holds(waiting.pid(), "socket:")));
    barge.run(["stop", "box"]).ok();
    for waiting in ids {
        waiting.wait().ok().stdout("9\n");
    }
}

/// Tells whether a process has such a file open.
fn holds(pid: rustix::process::Pid, kind: &str) -> bool {
    let files = std::fs::read_dir(format!("/proc/{}/fd", pid.as_raw_nonzero()));
    files.into_iter().flatten().flatten().any(|file| {
        let target = std::fs::read_link(file.path()).unwrap_or_default();
        target.to_string_lossy().contains(kind)
    })
}

#[test]
fn a_stop_that_waits_is_seen_and_blocks_nobody() {
    let barge = Barge::with_busybox();
    barge.start(["--name", "deaf", "busybox", "sleep", "1000"]);
    let stopping = barge.command(["stop", "-t", "600", "deaf"]).spawn();
    barge.run(["wait", "--condition", "stopping", "deaf"]).ok().stdout("-1\n");
    assert_eq!(barge.status("deaf"), "stopping");
    let line = ["ps", "--filter", "status=stopping", "--format", "{{.Names}} {{.Status}}"];
    barge.run(line).ok().stdout("deaf Stopping\n");
    barge.run(["exec", "deaf", "echo", "here"]).ok().stdout("here\n");
    barge.run(["rm", "deaf"]).fails(2).error_has("as it is stopping");
    let mut killed = barge.command(["stop", "-t", "600", "deaf"]).spawn();
    wait_until("it talks to the monitor", || holds(killed.pid(), "socket:"));
    killed.signal(rustix::process::Signal::KILL);
    killed.wait();
    // The other one still waits.
    assert_eq!(barge.status("deaf"), "stopping");
    barge.run(["kill", "deaf"]).ok();
    stopping.wait().ok().stdout("deaf\n");
    assert_eq!(barge.inspect("deaf", "{{.State.Status}} {{.State.ExitCode}}"), "exited 137");
    barge.run(["start", "deaf"]).ok();
    assert_eq!(barge.status("deaf"), "running");
    barge.kills();
    let mut stopping = barge.command(["stop", "-t", "600", "deaf"]).spawn();
    barge.await_status("deaf", "stopping");
    stopping.signal(rustix::process::Signal::KILL);
    stopping.wait();
    barge.await_status("deaf", "running");
}
