//! `--log-driver journald`, with a journal of its own.

use std::path::Path;

use super::support::process::Running;
use super::support::{Barge, Need, needs, wait_until};

const JOURNALD: &str = "/lib/systemd/systemd-journald";
const SOCKET: &str = "/run/systemd/journal/socket";

/// Makes a place with an empty /run, where no journal is.
fn without_journal() -> Option<Barge> {
    if !needs(&[Need::Root]) {
        return None;
    }
    let mut barge = Barge::with_busybox();
    let place =
        barge.place().with_mounts("mount -t tmpfs none /run; mkdir -p /run/systemd/journal");
    barge.move_to(place);
    Some(barge)
}

/// Starts a journal in the place; it ends when it is dropped.
fn with_journal() -> Option<(Barge, Running)> {
    let barge = without_journal()?;
    let journal = barge.other_command(JOURNALD, [""; 0]).spawn();
    wait_until("the journal listens", || barge.place().enter(|| Path::new(SOCKET).exists()));
    Some((barge, journal))
}

/// Returns values of a field of the container's messages, in their order.
fn field(barge: &Barge, id: &str, name: &str) -> Vec<String> {
    barge.other_command("journalctl", ["--sync"]).run().ok();
    let container = format!("CONTAINER_ID_FULL={id}");
    let line = ["-q", "--no-pager", "--all", "-o", "json", &container];
    let text = barge.other_command("journalctl", line).run().ok().text();
    let entries = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    entries.map(|entry| entry[name].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn lines_go_to_the_journal_and_come_back() {
    let Some((barge, _journal)) = with_journal() else { return };
    let script =
        "echo out; echo err >&2; head -c 40000 /dev/zero | tr '\\0' x; echo; printf 'a\\tb\\377'";
    let labels = "--log-opt labels=com.example.a --label com.example.a=1";
    let mut line = vec!["--name", "box", "--log-driver", "journald"];
    line.extend(labels.split(' '));
    line.extend(["busybox", "sh", "-c", script]);
    let id = barge.start(line);
    barge.run(["wait", "box"]).ok();
    let output = barge.run(["logs", "box"]).exits(0).stderr("err\n");
    let want = format!("out\n{}\na\tb", "x".repeat(40_000)).into_bytes();
    assert_eq!(output.stdout, [&want[..], b"\xff"].concat());
    let all = |name: &str, value: &str| {
        let values = field(&barge, &id, name);
        assert!(values.len() == 6 && values.iter().all(|it| it == value), "{name}: {values:?}");
    };
    all("CONTAINER_ID", &id[..12]);
    all("CONTAINER_NAME", "box");
    all("CONTAINER_TAG", &id[..12]);
    all("SYSLOG_IDENTIFIER", "box");
    all("IMAGE_NAME", &barge.inspect("box", "{{.Config.Image}}"));
    all("COM_EXAMPLE_A", "1");
    let mut priorities = field(&barge, &id, "PRIORITY");
    priorities.sort_unstable();
    assert_eq!(priorities, ["3", "6", "6", "6", "6", "6"]);
    let parts = field(&barge, &id, "CONTAINER_PARTIAL_MESSAGE");
    assert_eq!(parts.iter().filter(|it| *it == "true").count(), 3, "{parts:?}");
    // Which part of which line each is; whole lines are none.
    let of_line = |name| field(&barge, &id, &format!("CONTAINER_PARTIAL_{name}"));
    let [ids, ordinals, ends] = ["ID", "ORDINAL", "LAST"].map(of_line);
    let parts: Vec<usize> = (0..ids.len()).filter(|part| !ids[*part].is_empty()).collect();
    let shown = |part: &usize| format!("{} {}", ordinals[*part], ends[*part]);
    let shown: Vec<String> = parts.iter().map(shown).collect();
    assert_eq!(shown, ["1 false", "2 false", "3 true", "1 false"]);
    let line = |part: usize| ids[parts[part]].as_str();
    assert_eq!((line(0).len(), line(1), line(2)), (64, line(0), line(0)));
    assert_ne!(line(3), line(0));
    assert_eq!(barge.inspect("box", "{{.LogPath}}"), "");
}

#[test]
fn logs_of_the_journal_are_chosen_as_those_of_files() {
    let Some((barge, _journal)) = with_journal() else { return };
    let script = "seq 1 500; head -c 40000 /dev/zero | tr '\\0' x; echo; echo last";
    barge.start(["--name", "box", "--log-driver=journald", "busybox", "sh", "-c", script]);
    barge.run(["wait", "box"]).ok();
    let count =
        |flags: &[&str]| barge.run([&["logs"], flags, &["box"]].concat()).ok().lines().len();
    assert_eq!(count(&[]), 502);
    assert_eq!(count(&["--tail", "0"]), 0);
    assert_eq!(count(&["--tail", "3"]), 3);
    let long = barge.run(["logs", "--tail", "2", "box"]).ok().lines();
    assert_eq!((long[0].len(), long[1].as_str()), (40_000, "last"));
    let stamped = barge.run(["logs", "-t", "--tail", "1", "box"]).ok().text();
    let (time, text) = stamped.split_once(' ').unwrap();
    assert!(time.len() == 30 && text == "last", "{stamped}");
    assert_eq!(count(&["--since", "1h"]), 502);
    assert_eq!(count(&["--until", "1h"]), 0);
    assert!(barge.run(["logs", "--since", time, "box"]).ok().text().ends_with("last"));
}

#[test]
fn logs_follow_the_journal_to_the_end_of_the_container() {
    let Some((barge, _journal)) = with_journal() else { return };
    let script = "echo first; while [ ! -e /go ]; do sleep 0.05; done; seq 1 3000";
    barge.start(["--name", "box", "--log-driver=journald", "busybox", "sh", "-c", script]);
    let mut following = barge.command(["logs", "-f", "box"]).spawn();
    following.expect("first");
    barge.touch("box", "/go");
    let want: String = (1..=3000).map(|number| format!("{number}\n")).collect();
    following.wait().ok().stdout(&format!("first\n{want}"));
    barge.run(["logs", "-f", "--tail", "1", "box"]).ok().stdout("3000\n");
}

#[test]
fn a_field_that_fits_no_datagram_arrives_in_a_file() {
    let Some((barge, _journal)) = with_journal() else { return };
    let value = format!("two\nlines{}", "x".repeat(500_000));
    let file = barge.file("labels", format!("big={}\n", value.replace('\n', " ")));
    let flags = ["--log-driver=journald", "--log-opt", "labels=big", "--label-file", &file];
    let mut line = vec!["--name", "box"];
    line.extend(flags);
    line.extend(["busybox", "echo", "here"]);
    let id = barge.start(line);
    barge.run(["wait", "box"]).ok();
    barge.run(["logs", "box"]).ok().stdout("here\n");
    assert_eq!(field(&barge, &id, "BIG"), [value.replace('\n', " ")]);
}

#[test]
fn a_container_goes_on_if_the_journal_does_not() {
    let Some((barge, mut journal)) = with_journal() else { return };
    let script = "echo before; while [ ! -e /go ]; do sleep 0.05; done; seq 1 100000; echo after";
    barge.start(["--name", "box", "--log-driver=journald", "busybox", "sh", "-c", script]);
    journal.signal(rustix::process::Signal::STOP);
    barge.touch("box", "/go");
    barge.run(["wait", "box"]).ok();
    journal.signal(rustix::process::Signal::CONT);
    let output = barge.run(["logs", "box"]).exits(0);
    assert!(String::from_utf8_lossy(&output.stdout).starts_with("before\n1\n"));
    output.stderr_has("could not be written to the log");
}

#[test]
fn a_journal_that_is_not_there_is_told() {
    let Some(barge) = without_journal() else { return };
    let line = ["run", "--rm", "--network=none", "--log-driver=journald", "busybox", "true"];
    barge.run(line).fails(125).error_has(SOCKET).hint_has("k8s-file");
    let line = ["create", "--log-driver=journald", "--log-opt=max-size=1m", "busybox"];
    barge.run(line).fails(125).error_has("max-size");
}
