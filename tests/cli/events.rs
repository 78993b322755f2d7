//! events: what is written down of containers and images, and who can read it how.

use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_process};
use serde_json::Value;

use super::support::{Barge, eventually, wait_until};

/// What has happened so far to the object of that type and name, by Podman's names.
fn actions(barge: &Barge, filters: &[&str]) -> Vec<String> {
    let mut line = vec!["events", "--stream=false", "--format", "{{.Status}}"];
    for filter in filters {
        line.extend(["--filter", *filter]);
    }
    barge.run(line).ok().lines()
}

#[test]
fn a_container_leaves_its_whole_life() {
    let barge = Barge::with_busybox();
    let script = "trap 'exit 3' TERM; echo up; while :; do sleep 0.1; done";
    barge.start(["--name", "box", "--label", "tier=front", "busybox", "sh", "-c", script]);
    barge.await_log("box", "up");
    barge.run(["exec", "box", "sh", "-c", "exit 7"]).exits(7);
    barge.run(["kill", "-s", "URG", "box"]).ok();
    barge.run(["restart", "box"]).ok();
    barge.await_log("box", "up\nup");
    barge.run(["stop", "box"]).ok();
    barge.run(["rm", "box"]).ok();
    let want = [
        "create",
        "init",
        "start",
        "exec",
        "exec_died",
        "kill",
        "died",
        "cleanup",
        "init",
        "start",
        "restart",
        "died",
        "cleanup",
        "stop",
        "remove",
    ];
    assert_eq!(actions(&barge, &["container=box"]), want);
    assert_eq!(actions(&barge, &["label=tier=front", "event=start"]), ["start", "start"]);
    assert_eq!(actions(&barge, &["container=box", "label=tier=back"]), [""; 0]);
    let codes = ["events", "--stream=false", "--filter", "event=die", "--format"];
    let codes = barge.run(codes.into_iter().chain(["{{.ContainerExitCode}}"])).ok();
    codes.stdout("3\n3\n");
}

#[test]
fn a_container_with_rm_is_in_the_events_though_it_is_gone() {
    let barge = Barge::with_busybox();
    barge.run(["run", "--rm", "--network", "none", "--name", "box", "busybox", "false"]).exits(1);
    wait_until("it is gone", || actions(&barge, &["container=box"]).len() >= 7);
    let want = ["create", "init", "start", "attach", "died", "cleanup", "remove"];
    assert_eq!(actions(&barge, &["container=box"]), want);
    // One that does not start is gone as well.
    barge.run(["run", "--rm", "--network", "none", "--name", "no", "busybox", "nosuch"]).exits(127);
    assert_eq!(actions(&barge, &["container=no"]), ["create", "remove"]);
}

#[test]
fn a_monitor_that_was_killed_leaves_no_gap() {
    let barge = Barge::with_busybox();
    barge.kills();
    barge.start(["--name", "box", "busybox", "sleep", "1000"]);
    let id = barge.inspect("box", "{{.Id}}");
    kill_process(super::crash::monitor(&id).unwrap(), Signal::KILL).unwrap();
    barge.await_status("box", "exited");
    let want = ["create", "init", "start", "died", "cleanup"];
    assert_eq!(actions(&barge, &["container=box"]), want);
}

#[test]
fn images_leave_what_happens_to_them() {
    let barge = Barge::with_busybox();
    barge.run(["tag", "busybox", "other"]).ok();
    barge.run(["untag", "busybox", "other"]).ok();
    barge.run(["tag", "busybox", "third"]).ok();
    let archive = barge.path_text("archive");
    barge.run(["save", "-o", &archive, "third"]).ok();
    barge.run(["rmi", "third", "busybox"]).ok();
    barge.run(["load", "-i", &archive]).ok();
    barge.run(["pull", "-q", "localhost:1/nosuch"]).fails(125);
    let want = [
        "import",
        "tag",
        "untag",
        "tag",
        "save",
        "untag",
        "untag",
        "remove",
        "loadfromarchive",
        "pull-error",
    ];
    assert_eq!(actions(&barge, &["type=image"]), want);
    assert_eq!(actions(&barge, &["type=image", "image=third", "event=save"]), ["save"]);
    let removed = ["events", "--stream=false", "--filter", "event=remove", "--format"];
    let removed = barge.run(removed.into_iter().chain(["{{.Type}} {{len .ID}}"])).ok();
    removed.stdout("image 64\n");
}

#[test]
fn json_has_the_names_of_docker_and_of_podman() {
    let barge = Barge::with_busybox();
    let line = ["run", "--network=none", "--name", "box", "--label", "a=b", "busybox", "false"];
    barge.run(line).exits(1);
    let filters = ["events", "--stream=false", "--filter", "event=died"];
    let event = barge.run(filters.into_iter().chain(["--format", "json"])).ok().json();
    let id = barge.inspect("box", "{{.Id}}");
    for (pointer, want) in [
        ("/ID", Value::from(&*id)),
        ("/Name", "box".into()),
        ("/Image", "localhost/busybox:latest".into()),
        ("/Status", "died".into()),
        ("/Type", "container".into()),
        ("/ContainerExitCode", 1.into()),
        ("/Attributes/a", "b".into()),
        ("/status", "die".into()),
        ("/Action", "die".into()),
        ("/id", Value::from(&*id)),
        ("/from", "localhost/busybox:latest".into()),
        ("/Actor/ID", Value::from(&*id)),
        ("/Actor/Attributes/exitCode", "1".into()),
        ("/Actor/Attributes/name", "box".into()),
        ("/Actor/Attributes/a", "b".into()),
        ("/scope", "local".into()),
    ] {
        assert_eq!(event.pointer(pointer), Some(&want), "{pointer} of {event}");
    }
    let nanoseconds = event["timeNano"].as_i64().unwrap();
    assert_eq!(event["time"].as_i64().unwrap(), nanoseconds / 1_000_000_000);
    let template = "{{.Type}} {{.Action}} {{.Actor.Attributes.exitCode}} {{.Time}}";
    let text = barge.run(filters.into_iter().chain(["--format", template])).ok().text();
    assert_eq!(text, format!("container die 1 {}", nanoseconds / 1_000_000_000));
    let line = barge.run(filters.into_iter().chain(["--no-trunc=false"])).ok().text();
    let want = format!(
        " +0000 UTC container died {} (image=localhost/busybox:latest, name=box, exitCode=1, a=b)",
        &id[..12]
    );
    assert!(line.ends_with(&want), "{line}");
}

#[test]
fn since_and_until_take_times_and_durations() {
    let barge = Barge::with_busybox();
    barge.run(["tag", "busybox", "early"]).ok();
    let all = ["events", "--stream=false", "--format", "{{.TimeNano}}"];
    let last = barge.run(all).ok().lines().pop().unwrap();
    let last = format!("{}.{}", &last[..last.len() - 9], &last[last.len() - 9..]);
    barge.run(["tag", "busybox", "late"]).ok();
    let names = |flags: &[&str]| {
        let line = ["events", "--stream=false", "--format", "{{.Status}}"];
        barge.run(line.iter().chain(flags)).ok().lines()
    };
    assert_eq!(names(&["--since", "1h"]), ["import", "tag", "tag"]);
    assert_eq!(names(&["--since", "2100-01-01T00:00:00Z"]), [""; 0]);
    assert_eq!(names(&["--until", "2001-01-01"]), [""; 0]);
    assert_eq!(names(&["--until", &last]), ["import", "tag"]);
    assert_eq!(names(&["--since", &last]), ["tag", "tag"]);
    // A stream that has an end ends by itself.
    let line = ["events", "--since", "1h", "--until", "1s", "--format", "{{.Status}}"];
    barge.run(line).ok().stdout("import\ntag\ntag\n");
    barge.run(["events", "--until", "x"]).fails(125).error_has("invalid time `x`");
    barge
        .run(["events", "--filter", "color=red"])
        .fails(125)
        .error_has("failed to parse event filters: color is an invalid filter");
}

#[test]
fn a_stream_shows_what_happens_and_nothing_from_before() {
    let barge = Barge::with_busybox();
    let line = ["events", "--filter", "type=image", "--format", "{{.Status}} {{.Name}}"];
    let mut stream = barge.command(line).spawn();
    // There is no telling from outside when it listens: it shows one of these.
    let number = std::cell::Cell::new(0);
    wait_until("it listens", || {
        let name = format!("early{}", number.replace(number.get() + 1));
        barge.run(["tag", "busybox", &name]).ok();
        stream.has_shown("early")
    });
    barge.run(["run", "--rm", "--network", "none", "busybox", "true"]).ok();
    barge.run(["tag", "busybox", "late"]).ok();
    stream.expect("tag localhost/late:latest\n");
    stream.signal(Signal::INT);
    let shown = stream.wait();
    shown.stdout_lacks("import").stdout_lacks("create");
}

#[test]
fn lines_are_whole_whoever_is_killed() {
    let barge = Barge::with_busybox();
    barge.kills();
    for number in 0..30 {
        let name = format!("localhost/{}:{number}", "x".repeat(100));
        let mut tag = barge.command(["tag", "busybox", &name]).spawn();
        // At another moment each time; sometimes it is through.
        let moment = Instant::now() + Duration::from_micros(number * 300);
        eventually(Duration::from_secs(1), || tag.has_ended() || Instant::now() >= moment);
        tag.signal(Signal::KILL);
        drop(tag.wait());
    }
    let events = std::fs::read_to_string(barge.root().join("events")).unwrap();
    assert!(events.ends_with('\n'));
    for line in events.lines().filter(|line| !line.is_empty()) {
        serde_json::from_str::<Value>(line).expect(line);
    }
    barge.run(["events", "--stream=false"]).ok();
}
