//! Volumes that this machine mounts: disks, and what servers have.

use std::fs;
use std::net::UdpSocket;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use rustix::process::Signal;

use super::support::{Barge, Need, is_root, needs, tool};

/// A loop device.
struct Disk(String);

impl Disk {
    fn of(file: &str) -> Self {
        Self(tool("losetup", ["--find", "--show", file]).trim().to_owned())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        tool("losetup", ["--detach", &self.0]);
    }
}

#[test]
fn a_disk_is_a_volume() {
    if !needs(&[Need::Root, Need::Tool("mkfs.ext4"), Need::Tool("losetup")]) {
        return;
    }
    let barge = Barge::with_busybox();
    let disk = disk(&barge);
    let device = format!("device={}", disk.0);
    let options = ["-o", "type=ext4", "-o", &device, "-o", "o=noatime"];
    barge.run([&["volume", "create"], &options[..], &["disk"]].concat()).ok();
    let run =
        |more: &[&str]| barge.run([&["run", "--rm", "--network=none"], more].concat()).ok().lines();
    run(&["-v", "disk:/x", "busybox", "sh", "-c", "mkdir -p /x/a; echo kept >/x/a/f"]);
    let part = "--mount=type=volume,src=disk,dst=/y,volume-subpath=a,readonly";
    let look = "cat /y/f; touch /y/g 2>/dev/null || echo whole; grep -c ' /y ext4 ro.*noatime' /proc/mounts";
    assert_eq!(run(&[part, "busybox", "sh", "-c", look]), ["kept", "whole", "1"]);
    barge.run(["create", "--name=box", "-v", "disk:/x", "busybox", "true"]).ok();
    let out = barge.path("out");
    barge.run(["cp", "box:/x/a/f", &out.to_string_lossy()]).ok();
    assert_eq!(fs::read_to_string(out).unwrap(), "kept\n");
    barge.run(["rm", "box"]).ok();
    barge.run(["volume", "rm", "disk"]).ok();
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&disk.0), "{mounts}");
}

/// A disk with an empty file system.
fn disk(barge: &Barge) -> Disk {
    let image = barge.path_text("image");
    fs::File::create(&image).unwrap().set_len(64 << 20).unwrap();
    tool("mkfs.ext4", ["-q", &image]);
    Disk::of(&image)
}

fn make(barge: &Barge, name: &str, options: &[&str]) {
    let options = options.iter().flat_map(|option| ["-o", option]);
    barge.run(["volume", "create"].into_iter().chain(options).chain([name])).ok();
}

#[test]
fn owners_on_a_disk_are_those_that_users_stand_for() {
    if !needs(&[Need::Root, Need::Tool("mkfs.ext4"), Need::Tool("losetup")]) {
        return;
    }
    let barge = Barge::with_busybox();
    let disk = disk(&barge);
    make(&barge, "disk", &["type=ext4", &format!("device={}", disk.0)]);
    let mapped = ["--uidmap=0:300000:2000", "-v", "disk:/x"];
    let script = "stat -c %u:%g /x && echo kept > /x/f && mkdir /x/d && chown 7:8 /x/d";
    barge.shell(&mapped, script).ok().stdout("0:0\n").stderr("");
    barge.shell(&["-v", "disk:/x"], "stat -c %u:%g /x/f /x/d").ok().stdout("0:0\n7:8\n");
    // What is copied has the owners that it has for the container.
    let line = ["create", "--name=box", mapped[0], mapped[1], mapped[2], "busybox", "true"];
    barge.run(line).ok();
    barge.run(["cp", "-a=false", "box:/x/d", &barge.path_text("d")]).ok();
    let there = fs::metadata(barge.path("d")).unwrap();
    assert_eq!((there.uid(), there.gid()), (7, 8));
    let back = format!("{}/.", barge.path_text("d"));
    fs::write(barge.path("d/new"), "").unwrap();
    barge.run(["cp", &back, "box:/x/d"]).ok();
    barge.run(["rm", "box"]).ok();
    barge.shell(&["-v", "disk:/x"], "stat -c %u /x/d/new").ok().stdout("0\n");
    // `U` gives them to whoever the user is.
    let flags = ["--user=5:6", "-v", "disk:/x:U"];
    barge.shell(&flags, "stat -c %u:%g /x/d && touch /x/y").ok().stdout("5:6\n");
    let flags = ["--uidmap=0:300000:2000", "--user=9", "-v", "disk:/x:U"];
    barge.shell(&flags, "stat -c %u:%g /x/y && touch /x/z").ok().stdout("9:0\n");
    barge.shell(&["-v", "disk:/x"], "stat -c %u:%g /x/z").ok().stdout("9:0\n");
    // Changes that are to go elsewhere do not go to the disk.
    let refused = barge.shell(&["-v", "disk:/x:O"], "touch /x/o").fails(125);
    refused.error_has("`O`").hint_has("readonly");
    // Not each file system can.
    make(&barge, "queues", &["type=mqueue", "device=/queues"]);
    let flags = ["--uidmap=0:300000:2000", "-v", "queues:/x"];
    let seen = barge.shell(&flags, "stat -c %u /x").exits(0).stdout("65534\n");
    seen.stderr_has(
        "cannot show those of mqueue as others: where they are, give them to 300000:300000",
    );
    let flags = ["--uidmap=0:300000:2000", "-v", "queues:/x:idmap"];
    barge.shell(&flags, "true").fails(125).error_has("other owners").hint_has("leave out idmap");
}

#[test]
fn a_disk_is_mounted_at_each_restart() {
    if !needs(&[Need::Root, Need::Tool("mkfs.ext4"), Need::Tool("losetup")]) {
        return;
    }
    let barge = Barge::with_busybox();
    let disk = disk(&barge);
    make(&barge, "disk", &["type=ext4", &format!("device={}", disk.0)]);
    let script = "echo run >> /x/runs; test $(wc -l < /x/runs) = 3";
    let line = ["run", "-d", "--name=box", "--network=none", "--restart=on-failure:5", "-v"];
    barge.run(line.iter().chain(&["disk:/x", "busybox", "sh", "-c", script])).ok();
    barge.await_status("box", "exited");
    assert_eq!(barge.inspect("box", "{{.RestartCount}}"), "2");
    barge.run(["init", "box"]).ok();
    barge.run(["start", "-a", "box"]).exits(1);
    barge.run(["rm", "-f", "-t0", "box"]).ok();
}

#[test]
fn a_server_that_never_answers_keeps_nobody_waiting() {
    if !needs(&[Need::Root]) {
        return;
    }
    let mut barge = Barge::with_busybox();
    let file = barge.file("resolv.conf", "nameserver 127.0.0.53\noptions timeout:30 attempts:5\n");
    let place = barge.place().with_mounts(&format!("mount --bind {file} /etc/resolv.conf"));
    barge.move_to(place);
    let server = barge.place().enter(|| UdpSocket::bind("127.0.0.53:53").unwrap());
    server.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    // Each is asked for twice, for both kinds of addresses.
    let asked = |name: &str| {
        let mut question = [0; 512];
        loop {
            let length = server.recv(&mut question).unwrap();
            if question[..length].windows(name.len()).any(|part| part == name.as_bytes()) {
                return;
            }
        }
    };
    for name in ["started", "killed", "copied", "run"] {
        make(&barge, name, &["type=nfs", "device=:/srv", &format!("o=addr={name}.example")]);
    }
    let create = |volume: &str| {
        let volume = format!("{volume}:/x");
        let line = ["create", "--name=box", "--network=none", "-v", &volume, "busybox", "true"];
        barge.run(line).ok();
    };
    let soon = |line: &[&str]| barge.command(line).limit(Duration::from_secs(20)).run();
    create("started");
    let starting = barge.command(["start", "box"]).spawn();
    asked("started");
    soon(&["inspect", "box", "--format", "{{.State.Status}}"]).ok().stdout("created\n");
    soon(&["ps", "-a", "--format", "{{.Names}}"]).ok().stdout("box\n");
    soon(&["stop", "box"]).ok();
    soon(&["rename", "box", "other"]).ok();
    soon(&["rm", "-f", "other"]).ok();
    let started = starting.wait().fails(125);
    started.error_has("was removed before it was started");
    barge.await_silence();
    // Nothing goes on when who has asked for it is gone.
    create("killed");
    let mut starting = barge.command(["start", "box"]).spawn();
    asked("killed");
    starting.signal(Signal::KILL);
    drop(starting.wait());
    barge.await_silence();
    barge.run(["rm", "box"]).ok();
    create("copied");
    let mut copying = barge.command(["cp", "box:/etc/passwd", "-"]).spawn();
    asked("copied");
    soon(&["rm", "box"]).ok();
    copying.signal(Signal::TERM);
    drop(copying.wait());
    let line = ["run", "--rm", "--network=none", "-v", "run:/x", "busybox", "true"];
    let mut running = barge.command(line).spawn();
    asked("run");
    running.signal(Signal::TERM);
    running.wait().fails(125).error_has("interrupted by signal 15");
    soon(&["ps", "-aq"]).ok().stdout("");
    barge.await_silence();
}

#[test]
fn what_cannot_be_mounted_says_why() {
    let barge = Barge::with_busybox();
    make(&barge, "strange", &["type=nosuchfs", "device=/dev/null"]);
    let seen = barge.shell(&["-v", "strange:/x"], "true").fails(125);
    seen.error_has("cannot mount volume strange").hint_has("modprobe nosuchfs");
    make(&barge, "disk", &["type=ext4", "device=/dev/null"]);
    let seen = barge.shell(&["-v", "disk:/x"], "true").fails(125);
    let seen = seen.error_has("cannot mount volume disk");
    if !is_root() {
        seen.hint_has("have root mount it");
    }
    assert!(barge.containers().is_empty());
}
