//! Where a container's control group is, and containers that are made for systemd.

use std::fs;
use std::path::PathBuf;

use super::support::leaks::cgroup_mounts;
use super::support::needs::has_controller;
use super::support::{Barge, Need, is_root, needs};

/// The directories of a group, wherever there are some.
fn directories(path: &str) -> Vec<PathBuf> {
    let all = cgroup_mounts().into_iter().map(|mount| mount.join(path));
    all.filter(|path| path.is_dir()).collect()
}

/// Removes groups that nobody else does: those that a user names stay.
struct Parents(&'static [&'static str]);

impl Drop for Parents {
    fn drop(&mut self) {
        for path in self.0.iter().flat_map(|path| directories(path)) {
            drop(fs::remove_dir(path));
        }
    }
}

#[test]
fn a_group_is_below_the_one_that_is_named() {
    if !needs(&[Need::Root, Need::MemoryLimit]) {
        return;
    }
    let _parents = Parents(&["bt-parent/below", "bt-parent", "bt.slice/bt-own.slice", "bt.slice"]);
    let barge = Barge::with_busybox();
    for (parent, path) in
        [("/bt-parent/below", "bt-parent/below"), ("bt-own.slice", "bt.slice/bt-own.slice")]
    {
        let line = ["--cgroup-parent", parent, "--memory=32m", "busybox", "sleep", "1000"];
        let id = barge.start(line);
        let pid = barge.inspect(&id, "{{.State.Pid}}");
        let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        assert!(groups.contains(&format!(":/{path}/{id}\n")), "{groups}");
        assert!(directories(&format!("barge/{id}")).is_empty());
        let script = "cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes memory.max 2>/dev/null";
        let limit = barge.run(["exec", &id, "sh", "-c", script]).text();
        assert_eq!(limit.trim(), "33554432");
        barge.run(["rm", "-f", "-t", "0", &id]).ok();
        assert!(directories(&format!("{path}/{id}")).is_empty());
        assert!(!directories(path).is_empty());
    }
    for bad in ["/", "a/../b", "a--b.slice"] {
        let line = ["run", "--cgroup-parent", bad, "busybox", "true"];
        barge.run(line).fails(125).hint_has("write a path");
    }
}

#[test]
fn without_a_group_it_is_where_its_starter_is() {
    let barge = Barge::with_busybox();
    let id = barge.start(["--cgroups", "disabled", "busybox", "sleep", "1000"]);
    let pid = barge.inspect(&id, "{{.State.Pid}}");
    let theirs = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    assert_eq!(theirs, fs::read_to_string("/proc/self/cgroup").unwrap());
    // No group keeps it from devices: so it can make none.
    let script = "mknod /dev/made c 1 3 2>&1; grep CapBnd /proc/self/status";
    let output = barge.run(["exec", &id, "sh", "-c", script]).ok().text();
    assert!(output.contains("Operation not permitted"), "{output}");
    if is_root() {
        assert!(output.ends_with("00000000a00425fb"), "{output}");
    }
    let refused: [&[&str]; 3] =
        [&["--memory", "32m"], &["--cpus", "1"], &["--cgroup-parent", "/somewhere"]];
    for flags in refused {
        let line = [&["run", "--cgroups", "disabled"], flags, &["busybox", "true"]].concat();
        barge.run(line).fails(125).error_has("cgroups are disabled");
    }
    barge.run(["run", "--cgroups", "x", "busybox", "true"]).fails(125).hint_has("split");
    let line = ["run", "--rm", "--network", "none", "--cgroups", "no-conmon", "busybox", "true"];
    assert_eq!(barge.run(line).status, 0);
}

#[test]
fn for_systemd_it_is_made_as_systemd_wants_it() {
    let barge = Barge::with_busybox();
    let script = "for dir in /run /run/lock /tmp /var/log/journal; do stat -f -c %T $dir; done; \
                  stat -c %a /run /tmp; touch /run/x /var/log/journal/x; echo $container; \
                  echo ${#container_uuid}; ls /run/.containerenv";
    let output = barge.shell(&["--systemd", "always"], script).exits(0).text();
    assert_eq!(output, "tmpfs\ntmpfs\ntmpfs\ntmpfs\n755\n1777\nbarge\n32\n/run/.containerenv");
    let script = "grep ' /run tmpfs' /proc/mounts | grep -o size=[0-9]*k";
    let flags = ["--systemd", "always", "--shm-size-systemd", "1m", "--read-only"];
    barge.shell(&flags, script).exits(0).stdout("size=1024k\n");
    // By its command, unless that is not wanted.
    for (flags, command, want) in [
        (&[][..], "/sbin/init", "SIGRTMIN+3"),
        (&["--systemd=false"], "/sbin/init", "SIGTERM"),
        (&["--stop-signal=INT"], "/lib/systemd/systemd", "SIGINT"),
        (&["--init"], "/sbin/init", "SIGTERM"),
        (&[], "/bin/sh", "SIGTERM"),
    ] {
        let line = [&["create", "--replace", "--name=box"], flags, &["busybox", command]].concat();
        barge.run(line).ok();
        assert_eq!(barge.inspect("box", "{{.Config.StopSignal}}"), want, "{flags:?} {command}");
    }
    barge.run(["run", "--systemd", "x", "busybox"]).fails(125).hint_has("always");
}

#[test]
fn systemd_can_make_groups_but_not_lift_its_limits() {
    if !needs(&[Need::Root, Need::MemoryLimit]) {
        return;
    }
    let barge = Barge::with_busybox();
    let script = "cd /sys/fs/cgroup; test -e unified && top=unified || top=.; \
                  mkdir $top/made && echo $$ > $top/made/cgroup.procs && echo in; \
                  for file in memory/memory.limit_in_bytes memory.max; do \
                  test -e $file && echo 100000000 > $file && echo lifted; done; exec sleep 1000";
    let flags = ["--name=box", "--systemd=always", "--memory=32m"];
    let id = barge.start([&flags[..], &["busybox", "sh", "-c", script]].concat());
    barge.await_log("box", "in");
    // Others enter it where its first process is.
    barge.run(["exec", "box", "grep", "-c", "made", "/proc/1/cgroup"]).ok().stdout("1\n");
    assert!(!barge.run(["logs", "box"]).text().contains("lifted"));
    barge.run(["rm", "-f", "-t", "0", "box"]).ok();
    assert!(directories(&format!("barge/{id}")).is_empty());
    assert!(has_controller("memory"));
    // An ordinary one makes none.
    let script = "mkdir /sys/fs/cgroup/unified/x || mkdir /sys/fs/cgroup/x";
    barge.shell(&[], script).exits(1);
}
