//! `barge runtime` beside runc, and under the tools that call a runtime.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::support::bundle::Bundle;
use super::support::{Barge, Need, needs};

/// What is done one after the other: the words, the exit status, and a part of what is told.
const STORY: &[(&[&str], i32, &str)] = &[
    (&["state", "c"], 1, "container does not exist"),
    (&["start", "c"], 1, "container does not exist"),
    (&["kill", "c"], 1, "container does not exist"),
    (&["delete", "c"], 1, "container does not exist"),
    (&["delete", "--force", "c"], 0, ""),
    (&["create", "a/b"], 1, "invalid"),
    (&["create", "--bundle", "/tmp", "c"], 1, "JSON specification file config.json not found"),
    (&["create", "c"], 0, ""),
    (&["create", "c"], 1, "container with"),
    (&["state", "c"], 0, "created"),
    (&["start", "c"], 0, ""),
    (&["state", "c"], 0, "running"),
    (&["start", "c"], 1, "cannot start an already running container"),
    (&["delete", "c"], 1, "that is not stopped: running"),
    (&["kill", "c", "NOPE"], 1, ""),
    (&["kill", "c", "KILL"], 0, ""),
    (&["await", "stopped"], 0, ""),
    (&["start", "c"], 1, "cannot start a container that has stopped"),
    (&["kill", "c"], 1, "container not running"),
    (&["kill", "--all", "c", "KILL"], 0, ""),
    (&["delete", "c"], 0, ""),
    (&["create", "c"], 0, ""),
    (&["delete", "c"], 0, ""),
    (&["create", "c"], 0, ""),
    (&["start", "c"], 0, ""),
    (&["delete", "--force", "c"], 0, ""),
    (&["state", "c"], 1, "container does not exist"),
];

#[test]
fn the_runtime_behaves_as_runc() {
    if !needs(&[Need::Root, Need::Tool("runc")]) {
        return;
    }
    let barge = Barge::new();
    let bundle = Bundle::new(&barge);
    bundle.script("exec sleep 1000");
    for runtime in [&bundle, &bundle.of("runc")] {
        for (line, status, told) in STORY {
            if line[0] == "await" {
                runtime.await_status("c", line[1]);
                continue;
            }
            let output = runtime.leave(*line);
            let text = format!("{}{}", runtime.take_output(), output.errors());
            let what = format!("{} {line:?}: {text}", runtime.root().display());
            assert_eq!(output.status, *status, "{what}");
            assert!(text.contains(told), "{what}");
        }
    }
}

#[test]
fn states_have_the_members_of_runcs() {
    if !needs(&[Need::Root, Need::Tool("runc")]) {
        return;
    }
    let barge = Barge::new();
    let bundle = Bundle::new(&barge);
    bundle.script("exec sleep 1000");
    bundle.edit(|config| config["annotations"] = json!({"a": "b"}));
    let mut seen: Vec<Vec<Value>> = Vec::new();
    for runtime in [&bundle, &bundle.of("runc")] {
        runtime.leave(["create", "c"]).ok();
        let listed = runtime.run(["list", "--format", "json"]).ok().json();
        seen.push(vec![runtime.state("c"), listed[0].clone()]);
        runtime.run(["delete", "c"]).ok();
    }
    for (ours, theirs) in seen[0].iter().zip(&seen[1]) {
        let names = |state: &Value| -> BTreeSet<String> {
            state.as_object().unwrap().keys().cloned().collect()
        };
        assert_eq!(names(ours), names(theirs));
        for name in ["id", "status", "bundle", "rootfs", "annotations", "owner"] {
            assert_eq!(ours[name], theirs[name], "{name}");
        }
    }
}

#[test]
fn run_ends_as_runcs() {
    if !needs(&[Need::Root, Need::Tool("runc")]) {
        return;
    }
    let barge = Barge::new();
    let bundle = Bundle::new(&barge);
    for (command, status, output) in [
        (&["true"][..], 0, ""),
        (&["sh", "-c", "exit 42"], 42, ""),
        (&["sh", "-c", "echo out; echo $HOME $0; pwd; id -u"], 0, "out\n/root sh\n/\n0\n"),
        (&["nope"], 1, ""),
        (&["/nope"], 1, ""),
        (&["/bin/not-executable"], 1, ""),
        (&["/bin"], 1, ""),
    ] {
        bundle.command(command);
        for runtime in [&bundle, &bundle.of("runc")] {
            let ended = runtime.run(["run", "c"]);
            let what = format!("{} {command:?}: {}", runtime.root().display(), ended.story());
            assert_eq!(
                (ended.status, String::from_utf8_lossy(&ended.stdout).as_ref()),
                (status, output),
                "{what}"
            );
            runtime.run(["state", "c"]).exits(1);
        }
    }
}
