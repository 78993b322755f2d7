//! pause, unpause, and what else happens to paused containers.

use std::fs;
use std::path::{Path, PathBuf};

use super::support::needs::has_controller;
use super::support::{Barge, Need, Running, is_root, needs, wait_until};

/// Counts as fast as it can, into a file that the test sees.
const COUNT: &str = "n=0; while :; do n=$((n+1)); echo $n >/out/n; done";

/// A container that counts, and how far it has counted.
fn counting(barge: &Barge, name: &str) -> PathBuf {
    let dir = barge.path(&format!("out-{name}"));
    fs::create_dir(&dir).unwrap();
    let volume = format!("{}:/out", dir.display());
    barge.start(["--name", name, "-v", &volume, "busybox", "sh", "-c", COUNT]);
    let file = dir.join("n");
    wait_until("it counts", || count(&file) > 0);
    file
}

fn count(file: &Path) -> u64 {
    // It is empty for moments.
    fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

/// Waits until it counts on from here.
#[track_caller]
fn goes_on(file: &Path) {
    let before = fs::read_to_string(file).unwrap();
    wait_until("it counts on", || fs::read_to_string(file).unwrap() != before);
}

#[test]
fn paused_processes_stand_still() {
    if !needs(&[Need::Root]) {
        return;
    }
    let barge = Barge::with_busybox();
    let file = counting(&barge, "box");
    barge.run(["pause", "box"]).ok().stdout("box\n");
    let before = fs::read_to_string(&file).unwrap();
    assert_eq!(barge.inspect("box", "{{.State.Status}} {{.State.Paused}}"), "paused true");
    barge.run(["ps", "--format", "{{.Status}}"]).ok().stdout("Paused\n");
    barge.run(["ps", "-q", "--filter", "status=running"]).ok().stdout("");
    barge.run(["exec", "box", "true"]).fails(125).error_has("is paused");
    barge.run(["pause", "box"]).fails(125).error_has("is already paused");
    assert_eq!(fs::read_to_string(&file).unwrap(), before, "it went on while it was paused");
    barge.run(["unpause", "box"]).ok().stdout("box\n");
    goes_on(&file);
    assert_eq!(barge.inspect("box", "{{.State.Status}} {{.State.Paused}}"), "running false");
    barge.run(["unpause", "box"]).fails(125).error_has("is not paused, can't unpause");
    barge.run(["exec", "box", "echo", "here"]).ok().stdout("here\n");
    let line = ["events", "--stream=false", "--format", "{{.Status}}", "--filter", "container=box"];
    let events = barge.run(line).ok().lines();
    assert!(
        events.ends_with(&["pause", "unpause", "exec", "exec_died"].map(str::to_owned)),
        "{events:?}"
    );
}

#[test]
fn pause_takes_several_all_and_filters() {
    if !needs(&[Need::Root]) {
        return;
    }
    let barge = Barge::with_busybox();
    let one = barge.start(["--name", "one", "--label", "a=1", "busybox", "sleep", "1000"]);
    let two = barge.start(["--name", "two", "busybox", "sleep", "1000"]);
    barge.run(["create", "--network", "none", "--name", "idle", "busybox", "true"]).ok();
    barge
        .run(["pause", "one", "nosuch", "idle", &two[..12]])
        .exits(125)
        .stdout(&format!("one\n{}\n", &two[..12]))
        .stderr_has("no container with name or ID \"nosuch\" found: no such container")
        .stderr_has("is created, not running");
    barge.run(["unpause", "-a"]).ok().stdout(&format!("{one}\n{two}\n"));
    barge.run(["pause", "-f", "label=a=1"]).ok().stdout(&format!("{one}\n"));
    assert_eq!((barge.status("one"), barge.status("two")), ("paused".into(), "running".into()));
    // The one that is paused already is not meant.
    barge.run(["pause", "--all"]).ok().stdout(&format!("{two}\n"));
    barge.run(["unpause", "one", "two"]).ok().stdout("one\ntwo\n");
    barge.run(["pause"]).fails(125).error_has("you must provide at least one name or id");
}

#[test]
fn what_ends_a_container_ends_a_paused_one() {
    if !needs(&[Need::Root]) {
        return;
    }
    let barge = Barge::with_busybox();
    let script = "trap 'exit 7' TERM; trap 'exit 8' USR1; echo up; while :; do sleep 0.1; done";
    for name in ["stopped", "killed", "removed", "asked"] {
        barge.start(["--name", name, "busybox", "sh", "-c", script]);
        barge.await_log(name, "up");
        barge.run(["pause", name]).ok();
    }
    barge.run(["stop", "stopped"]).ok().stdout("stopped\n");
    assert_eq!(barge.inspect("stopped", "{{.State.Status}} {{.State.ExitCode}}"), "exited 7");
    barge.run(["kill", "killed"]).ok();
    barge.await_status("killed", "exited");
    assert_eq!(barge.inspect("killed", "{{.State.ExitCode}}"), "137");
    barge
        .run(["rm", "removed"])
        .fails(2)
        .error_has("as it is paused - running or paused containers cannot be removed");
    barge.run(["rm", "-f", "removed"]).ok().stdout("removed\n");
    // A signal that does not end it waits until it goes on.
    barge.run(["kill", "-s", "USR1", "asked"]).ok();
    assert_eq!(barge.status("asked"), "paused");
    barge.run(["unpause", "asked"]).ok();
    barge.await_status("asked", "exited");
    assert_eq!(barge.inspect("asked", "{{.State.ExitCode}}"), "8");
}

#[test]
fn pause_and_its_likes_at_once() {
    if !needs(&[Need::Root]) {
        return;
    }
    let barge = Barge::with_busybox();
    let file = counting(&barge, "box");
    for _ in 0..5 {
        let started: Vec<Running> = ["pause", "unpause", "pause", "unpause"]
            .iter()
            .map(|verb| barge.command([verb, "box"]).spawn())
            .collect();
        for running in started {
            let output = running.wait();
            assert!([0, 125].contains(&output.status), "{}", output.story());
            if output.status == 125 {
                output.fails(125).error_has("container state improper");
            }
        }
        // The record and the kernel agree, whoever came last.
        if barge.status("box") == "paused" {
            let before = fs::read_to_string(&file).unwrap();
            assert_eq!(barge.status("box"), "paused");
            assert_eq!(fs::read_to_string(&file).unwrap(), before);
            barge.run(["unpause", "box"]).ok();
        }
        goes_on(&file);
    }
    let pausing = barge.command(["pause", "box"]).spawn();
    let removing = barge.command(["rm", "-f", "-t", "0", "box"]).spawn();
    let paused = pausing.wait();
    assert!([0, 125].contains(&paused.status), "{}", paused.story());
    removing.wait().ok();
    barge.leaves_nothing();
}

#[test]
fn without_a_control_group_pause_says_what_is_missing() {
    if is_root() || has_controller("pids") {
        return;
    }
    let barge = Barge::with_busybox();
    barge.start(["--name", "box", "busybox", "sleep", "1000"]);
    barge
        .run(["pause", "box"])
        .fails(125)
        .error_has("cannot pause container box: cannot freeze: the container has no control group")
        .hint_has("delegated");
    assert_eq!(barge.status("box"), "running");
}

#[test]
fn rename_frees_the_old_name() {
    let barge = Barge::with_busybox();
    let id = barge.start(["--name", "old", "busybox", "sleep", "1000"]);
    barge.run(["rename", "old", "new"]).ok().stdout("");
    assert_eq!(barge.inspect("new", "{{.Id}} {{.State.Status}}"), format!("{id} running"));
    barge.run(["inspect", "--type", "container", "old"]).exits(125);
    let other =
        barge.run(["create", "--network", "none", "--name", "old", "busybox", "true"]).ok().text();
    barge
        .run(["rename", "new", "old"])
        .fails(125)
        .error_has(&format!("the container name \"old\" is already in use by {other}"));
    barge.run(["rename", &id[..12], "/third"]).ok();
    assert_eq!(barge.inspect(&id, "{{.Name}}"), "third");
    barge.run(["rename", "third", "third"]).fails(125).error_has("is already called `third`");
    barge.run(["rename", "third", "-x"]).fails(125);
    barge.run(["rename", "third", "a/b"]).fails(125).error_has("names must match");
    barge.run(["rename", "nosuch", "x"]).fails(125).error_has("no such container");
    barge.run(["rm", "-f", "-t", "0", "third", "old"]).ok();
    barge.leaves_nothing();
}

#[test]
fn one_name_for_one_of_many() {
    let barge = Barge::with_busybox();
    let names = ["w", "x", "y", "z"];
    for name in names {
        barge.run(["create", "--network", "none", "--name", name, "busybox", "true"]).ok();
    }
    let started: Vec<Running> =
        names.iter().map(|name| barge.command(["rename", name, "wanted"]).spawn()).collect();
    let done: Vec<bool> = started.into_iter().map(|it| it.wait().status == 0).collect();
    assert_eq!(done.iter().filter(|done| **done).count(), 1, "{done:?}");
    for (name, done) in names.iter().zip(done) {
        assert_eq!(barge.status(name).is_empty(), done, "{name}");
    }
    assert_eq!(barge.status("wanted"), "created");
}

#[test]
fn container_prune_removes_what_does_not_run() {
    let barge = Barge::with_busybox();
    let running = barge.start(["busybox", "sleep", "1000"]);
    let create = |label: &str| {
        let line = ["create", "--network", "none", "--label", label, "busybox", "true"];
        barge.run(line).ok().text()
    };
    let (kept, gone, last) = (create("keep=yes"), create("x=1"), create("x=2"));
    barge.command(["container", "prune"]).input("n\n").run().ok();
    assert_eq!(barge.containers().len(), 4);
    barge.run(["container", "prune", "-f", "--filter", "until=1h"]).ok().stdout("");
    barge
        .run(["container", "prune", "--force", "--filter", "label=x=1"])
        .ok()
        .stdout(&format!("{gone}\n"));
    barge
        .run(["container", "prune", "-f", "--filter", "label!=keep"])
        .ok()
        .stdout(&format!("{last}\n"));
    barge
        .run(["container", "prune", "-f", "--filter", "name=x"])
        .fails(125)
        .error_has("unsupported filter \"name\"");
    let mut left = barge.containers();
    left.sort();
    let mut want = vec![running, kept];
    want.sort();
    assert_eq!(left, want);
}
