//! SIGKILL at random points: the next command finds a store that it understands.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::support::leaks::{entries, processes};
use super::support::{Barge, eventually, wait_until};

/// How often each loop kills.
const ROUNDS: u32 = 60;

/// Delays that cover the whole run of a command, the same in each run of the tests.
pub(super) fn delay(round: u32, whole: Duration) -> Duration {
    let part = (round.wrapping_mul(2_654_435_761) >> 16) & 0xffff;
    whole * part / 0xffff
}

/// Waits without sleeping through a signal's arrival: the process may end before.
pub(super) fn after(delay: Duration, mut ended: impl FnMut() -> bool) {
    eventually(delay, &mut ended);
}

/// Checks that the store can be used, that `ps` shows nothing odd, and that all can be removed.
#[track_caller]
fn check(barge: &Barge, round: u32) {
    let lines = barge.run(["ps", "-a", "--format", "{{.ID}} {{.State}}"]).ok().lines();
    for line in &lines {
        let state = line.split_whitespace().nth(1).unwrap_or_default();
        assert!(
            ["created", "running", "stopping", "exited", "stopped"].contains(&state),
            "round {round}: {line}"
        );
    }
    barge.run(["rm", "-f", "-t", "0", "-a"]).ok();
    assert!(barge.containers().is_empty(), "round {round}");
    barge.await_silence();
}

#[test]
fn killed_commands_leave_a_store_that_works() {
    let barge = Barge::with_busybox();
    barge.kills();
    let begin = Instant::now();
    barge.shell(&[], "true").ok();
    let whole = begin.elapsed() * 2;
    for round in 0..ROUNDS {
        let line: &[&str] = match round % 3 {
            0 => &["run", "--rm", "--network=none", "--name", "box", "busybox", "true"],
            1 => &["run", "-d", "--network=none", "--name", "box", "busybox", "sleep", "1000"],
            _ => &["create", "--name", "box", "busybox", "true"],
        };
        let mut running = barge.command(line).spawn();
        after(delay(round, whole), || running.has_ended());
        running.signal(Signal::KILL);
        running.wait();
        check(&barge, round);
        // The name is free again.
        barge.run(["create", "--name", "box", "busybox", "true"]).ok();
        barge.run(["rm", "box"]).ok();
    }
    barge.shell(&[], "echo works").ok().stdout("works\n");
    barge.leaves_nothing();
}

/// Returns the monitor of a container; a process that has its ID in its command line.
pub(super) fn monitor(id: &str) -> Option<Pid> {
    processes()
        .iter()
        .find(|process| {
            let line = process.command_line();
            line.contains("monitor") && line.contains(id)
        })
        .and_then(|process| i32::try_from(process.pid).ok())
        .and_then(Pid::from_raw)
}

#[test]
fn names_of_containers_that_were_never_made_are_freed() {
    let barge = Barge::with_busybox();
    barge.run(["create", "--name", "kept", "busybox", "true"]).ok();
    // What a command leaves that is killed after it has reserved a name.
    let id = "ab".repeat(32);
    fs::create_dir(barge.root().join("containers").join(&id)).unwrap();
    symlink(&id, barge.root().join("names/lost")).unwrap();
    assert_eq!(barge.run(["ps", "-a", "--format", "{{.Names}}"]).ok().lines(), ["kept"]);
    assert_eq!(entries(&barge.root().join("names")), [barge.root().join("names/kept")]);
    assert!(!barge.root().join("containers").join(&id).exists());
}

#[test]
fn names_that_a_renaming_has_left_are_free() {
    let barge = Barge::with_busybox();
    let create = |name: &str| barge.run(["create", "--name", name, "busybox", "true"]).ok().text();
    // What a command leaves that is killed before it takes the old name away, or before it says so.
    let first = create("new");
    symlink(&first, barge.root().join("names/old")).unwrap();
    let second = create("old");
    assert_ne!(first, second);
    assert_eq!(barge.inspect("old", "{{.Id}}"), second);
    symlink(&first, barge.root().join("names/newer")).unwrap();
    barge.run(["rename", "new", "newer"]).ok();
    assert_eq!(barge.inspect("newer", "{{.Id}} {{.Name}}"), format!("{first} newer"));
    barge.run(["rename", "newer", "old"]).fails(125).error_has("already in use");
    barge.run(["rm", "old", "newer"]).ok();
    barge.leaves_nothing();
}

#[test]
fn a_killed_monitor_takes_its_container_along() {
    let barge = Barge::with_busybox();
    barge.kills();
    for round in 0..ROUNDS {
        let id = barge.start(["--name", "box", "busybox", "sleep", "1000"]);
        let pid: u32 = barge.inspect("box", "{{.State.Pid}}").parse().unwrap();
        let monitor = monitor(&id).expect("a running container has a monitor");
        kill_process(monitor, Signal::KILL).unwrap();
        // Whoever looks first repairs the record; the container's processes end.
        wait_until("it is not running", || barge.status("box") == "exited");
        wait_until("its process has ended", || {
            processes().iter().all(|process| process.pid != pid || process.is_zombie())
        });
        let state = barge.inspect("box", "{{.State.Running}} {{.State.Pid}} {{.State.ExitCode}}");
        assert_eq!(state, "false 0 137", "round {round}");
        if round % 2 == 0 {
            barge.run(["start", "box"]).ok();
            assert_eq!(barge.status("box"), "running");
        }
        check(&barge, round);
    }
    barge.leaves_nothing();
}

#[test]
fn a_monitor_killed_while_it_starts_leaves_a_store_that_works() {
    let barge = Barge::with_busybox();
    barge.kills();
    let begin = Instant::now();
    barge.shell(&[], "true").ok();
    let whole = begin.elapsed();
    for round in 0..ROUNDS {
        let line = ["run", "-d", "--network=none", "--name", "box", "busybox", "sleep", "1000"];
        let mut running = barge.command(line).spawn();
        after(delay(round, whole), || running.has_ended());
        // Every process of this store but the command itself.
        let command = running.pid();
        for pid in barge.processes() {
            let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("it is positive");
            if pid != command {
                // It may have ended meanwhile.
                let _ended = kill_process(pid, Signal::KILL);
            }
        }
        let output = running.wait();
        if output.status != 0 {
            output.one_error();
        }
        check(&barge, round);
    }
    barge.leaves_nothing();
}

#[test]
fn killed_removals_are_finished_by_the_next() {
    let barge = Barge::with_busybox();
    barge.kills();
    for round in 0..ROUNDS {
        barge.start(["--name", "box", "busybox", "sleep", "1000"]);
        let mut running = barge.command(["rm", "-f", "-t", "0", "box"]).spawn();
        after(delay(round, Duration::from_millis(60)), || running.has_ended());
        running.signal(Signal::KILL);
        running.wait();
        check(&barge, round);
        barge.run(["create", "--name", "box", "busybox", "true"]).ok();
        barge.run(["rm", "box"]).ok();
    }
    barge.leaves_nothing();
}

#[test]
fn a_container_with_rm_is_removed_by_whoever_notices() {
    let barge = Barge::with_busybox();
    barge.kills();
    let id = barge.start(["--rm", "busybox", "sleep", "1000"]);
    kill_process(monitor(&id).unwrap(), Signal::KILL).unwrap();
    wait_until("it is gone", || !barge.containers().contains(&id));
    barge.leaves_nothing();
}

#[test]
fn waiting_commands_notice_that_the_monitor_died() {
    let barge = Barge::with_busybox();
    barge.kills();
    let id = barge.start(["--name", "box", "busybox", "sh", "-c", "echo up; exec sleep 1000"]);
    barge.await_log("box", "up");
    let waiting = [
        barge.command(["wait", "box"]).spawn(),
        barge.command(["attach", "--no-stdin", "box"]).spawn(),
        barge.command(["logs", "-f", "box"]).spawn(),
        barge.command(["exec", "box", "sleep", "1000"]).spawn(),
    ];
    wait_until("they have started", || barge.processes().len() >= 7);
    kill_process(monitor(&id).unwrap(), Signal::KILL).unwrap();
    for one in waiting {
        // They end; how is their affair.
        one.wait();
    }
    assert_eq!(barge.status("box"), "exited");
}
