//! `barge runtime checkpoint` and `restore`, with CRIU.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::support::bundle::Bundle;
use super::support::{Barge, Need, needs, unstable, wait_until};

/// Counts into a file of the container, and has something open of it.
const COUNT: &str =
    "exec 9>>/tmp/count; i=0; while :; do i=$((i+1)); echo $i >&9; sleep 0.05; done";

fn count(bundle: &Bundle<'_>, id: &str) -> u64 {
    let line = ["exec", id, "tail", "-n", "1", "/tmp/count"];
    bundle.run(line).ok().text().trim().parse().unwrap_or(0)
}

#[test]
fn a_container_goes_on_where_it_was() {
    if !needs(&[Need::Root, Need::Debian]) || cfg!(not(target_arch = "x86_64")) {
        return;
    }
    let barge = Barge::new();
    let bundle = Bundle::new(&barge);
    let path = format!("{}:{}", unstable::criu().display(), std::env::var("PATH").unwrap());
    let criu = |words: &[&str]| bundle.prepare_leaving(words).env("PATH", &path).run();
    fs::write(barge.path("file"), "bound\n").unwrap();
    fs::create_dir_all(Path::new(bundle.path()).join("rootfs/tmp")).unwrap();
    let source = barge.path_text("file");
    bundle.edit(|config| {
        config["root"]["readonly"] = json!(false);
        let bound =
            json!({"destination": "/bound", "type": "bind", "source": source, "options": ["bind"]});
        config["mounts"].as_array_mut().unwrap().push(bound);
        config["linux"]["resources"] = json!({"pids": {"limit": 77}});
    });
    bundle.script(COUNT);
    bundle.leave(["run", "--detach", "c"]).ok();
    wait_until("it counts", || count(&bundle, "c") > 3);
    let images = barge.path_text("images");

    // It goes on beside what was written.
    let line = ["checkpoint", "--image-path", &images, "--leave-running", "c"];
    criu(&line).ok();
    assert_eq!(bundle.state("c")["status"], "running");
    let then = count(&bundle, "c");
    wait_until("it goes on", || count(&bundle, "c") > then);
    fs::remove_dir_all(&images).unwrap();

    let pid = bundle.state("c")["pid"].clone();
    criu(&["checkpoint", "--image-path", &images, "c"]).ok();
    // Whoever reaps orphans here may take a moment.
    wait_until("its process is gone", || !Path::new(&format!("/proc/{pid}")).exists());
    bundle.run(["state", "c"]).fails(1).error_has("container does not exist");
    assert_eq!(bundle.groups(), 0);
    let file = Path::new(bundle.path()).join("rootfs/tmp/count");
    let counted = || fs::read_to_string(&file).unwrap();
    let whole = counted();
    let stopped: u64 = whole.lines().last().unwrap().parse().unwrap();

    let pid_file = barge.path_text("pid");
    let line = ["restore", "--image-path", &images, "--pid-file", &pid_file, "--detach", "c"];
    criu(&line).ok();
    let state = bundle.state("c");
    assert_eq!(state["status"], "running");
    assert_eq!(state["pid"].to_string(), fs::read_to_string(&pid_file).unwrap());
    wait_until("it goes on where it was", || count(&bundle, "c") > stopped + 3);
    let numbers: Vec<u64> = counted().lines().map(|line| line.parse().unwrap()).collect();
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
    bundle.run(["exec", "c", "cat", "/bound"]).ok().stdout("bound\n");
    // The shell is process 1, as it was, with the box that it had.
    bundle.run(["exec", "c", "cat", "/proc/1/comm"]).ok().stdout("sh\n");
    bundle.run(["exec", "c", "sh", "-c", "echo x > /proc/sys/kernel/core_pattern"]).exits(1);
    let limits: Vec<_> = bundle
        .group_paths()
        .iter()
        .filter_map(|it| fs::read_to_string(it.join("pids.max")).ok())
        .collect();
    assert!(limits.iter().any(|limit| limit.trim() == "77"), "{limits:?}");
    bundle.run(["kill", "c", "KILL"]).ok();
    bundle.await_status("c", "stopped");
    bundle.run(["delete", "c"]).ok();
    assert_eq!(bundle.groups(), 0);

    // A second one of the same files, under another name and in another group.
    let other = format!("{}-other", barge.directory().file_name().unwrap().to_string_lossy());
    bundle.edit(|config| config["linux"]["cgroupsPath"] = json!(other));
    // CRIU restores no file that is not as it was.
    fs::write(&file, &whole).unwrap();
    criu(&["restore", "--image-path", &images, "--detach", "d"]).ok();
    wait_until("it goes on", || counted() != whole);
    assert!(counted().starts_with(&whole));
    bundle.run(["delete", "--force", "d"]).ok();
}

#[test]
fn what_cannot_be_checkpointed_is_told() {
    if !needs(&[Need::Root]) {
        return;
    }
    let barge = Barge::new();
    let bundle = Bundle::new(&barge);
    let images = barge.path_text("images");
    let line = ["checkpoint", "--image-path", &images, "c"];
    let with = |path: &str, words: &[&str]| bundle.prepare(words).env("PATH", path).run();
    with("/nope", &line).fails(1).error_has("container does not exist");
    bundle.script("sleep 1000");
    bundle.leave(["run", "--detach", "c"]).ok();
    if !Path::new("/usr/sbin/criu").exists() {
        with("/nope", &line).fails(1).error_has("criu is not installed").hint_has("package criu");
    }
    // One that fails leaves the container as it is, and says where more is told.
    let fake = barge.path("fake");
    fs::create_dir(&fake).unwrap();
    let script = "#!/bin/sh\nwhile [ $1 != --work-dir ]; do shift; done\n\
                  echo '(00.1) Error (criu/x.c:1): it is too late' > \"$2/dump.log\"\nexit 1\n";
    let program = barge.file("fake/criu", script);
    fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", fake.display());
    with(&path, &line).fails(1).error_has("it is too late").hint_has("images/dump.log");
    assert_eq!(bundle.state("c")["status"], "running");
    let line = ["restore", "--image-path", &images, "d"];
    with(&path, &line).fails(1).error_has("has no checkpoint of barge");
    bundle.run(["pause", "c"]).ok();
    let line = ["checkpoint", "--image-path", &images, "c"];
    with(&path, &line).fails(1).error_has("cannot checkpoint a container that is paused");
    bundle.run(["resume", "c"]).ok();
    bundle.run(["delete", "--force", "c"]).ok();
    assert_eq!(fs::read_dir(bundle.root()).unwrap().count(), 0);
}
