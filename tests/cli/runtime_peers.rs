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

/// Podman with storage of its own, and barge as its runtime.
struct Podman<'a> {
    barge: &'a Barge,
    head: Vec<String>,
}

impl<'a> Podman<'a> {
    fn new(barge: &'a Barge) -> Self {
        let runtime = barge.path("barge-runtime");
        std::os::unix::fs::symlink(barge.program(), &runtime).unwrap();
        // Otherwise its locks stay in /dev/shm.
        barge.file("containers.conf", "[engine]\nlock_type = \"file\"\n");
        let mut head = Vec::new();
        for (flag, value) in [
            ("--root", barge.path_text("podman-s")),
            ("--runroot", barge.path_text("podman-r")),
            ("--tmpdir", barge.path_text("podman-t")),
            ("--storage-driver", "vfs".to_owned()),
            ("--cgroup-manager", "cgroupfs".to_owned()),
            ("--events-backend", "file".to_owned()),
            ("--runtime", runtime.to_string_lossy().into_owned()),
        ] {
            head.extend([flag.to_owned(), value]);
        }
        let podman = Self { barge, head };
        podman.run(&["import", &super::support::fixture::busybox().to_string_lossy(), "b"]).ok();
        podman
    }

    fn run(&self, line: &[&str]) -> super::support::Output {
        let words = self.head.iter().map(String::as_str).chain(line.iter().copied());
        let command = self.barge.other_command("podman", words);
        command.env("CONTAINERS_CONF", self.barge.path("containers.conf")).run()
    }
}

impl Drop for Podman<'_> {
    fn drop(&mut self) {
        drop(self.run(&["rm", "--all", "--force", "--time", "0"]));
        for mount in super::support::leaks::cgroup_mounts() {
            // The parents of its groups stay, as podman leaves them.
            drop(std::fs::remove_dir(mount.join("libpod_parent/conmon")));
            drop(std::fs::remove_dir(mount.join("libpod_parent")));
        }
    }
}

#[test]
fn podman_runs_containers_with_barge() {
    if !needs(&[Need::Root, Need::Tool("podman")]) {
        return;
    }
    let barge = Barge::new();
    let podman = Podman::new(&barge);
    let run = ["run", "--rm", "--network", "none"];
    let with = |more: &[&'static str]| podman.run(&[&run[..], more].concat());
    with(&["b", "sh", "-c", "echo out; echo bad >&2; exit 7"])
        .exits(7)
        .stdout("out\n")
        .stderr("bad\n");
    with(&["b", "nope"]).exits(127).stderr_has("executable file `nope` not found in $PATH");
    with(&["b", "/bin/not-executable"]).exits(126).stderr_has("permission denied");
    with(&["-t", "b", "sh", "-c", "tty -s && echo a terminal"]).ok().stdout("a terminal\r\n");
    with(&["--user", "1000", "--read-only", "b", "sh", "-c", "id -u; touch /x"])
        .exits(1)
        .stdout("1000\n")
        .stderr_has("Read-only file system");
    let id = podman.run(&["run", "-d", "--name", "c", "--network", "none", "b", "sleep", "1000"]);
    let id = id.ok().text();
    podman.run(&["exec", "c", "sh", "-c", "echo inside; exit 5"]).exits(5).stdout("inside\n");
    podman.run(&["exec", "-t", "c", "sh", "-c", "tty -s && echo yes"]).ok().stdout("yes\r\n");
    podman.run(&["exec", "c", "nope"]).exits(127).stderr_has("not found in $PATH");
    podman.run(&["exec", "-d", "c", "touch", "/made"]).ok();
    super::support::wait_until("the process in the background has run", || {
        podman.run(&["exec", "c", "test", "-e", "/made"]).status == 0
    });
    podman.run(&["pause", "c"]).ok();
    podman.run(&["inspect", "-f", "{{.State.Status}}", "c"]).ok().stdout("paused\n");
    podman.run(&["unpause", "c"]).ok();
    podman.run(&["top", "c", "args"]).ok().stdout_has("sleep 1000");
    podman.run(&["stop", "-t", "0", "c"]).ok();
    podman
        .run(&["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "c"])
        .ok()
        .stdout("exited 137\n");
    podman.run(&["start", "c"]).ok();
    podman.run(&["kill", "c"]).ok();
    podman.run(&["wait", "c"]).ok();
    podman.run(&["rm", "--force", "--time", "0", "c"]).ok();
    assert!(!std::path::Path::new("/run/barge/runtime").join(id).exists());
}
