//! Volumes that are limited in size: file systems in memory, which containers share, and quotas.

use super::support::{Barge, Need, is_root, needs, wait_until};

fn create(barge: &Barge, name: &str, options: &str) {
    let options = format!("o={options}");
    let line = ["volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "-o", &options, name];
    barge.run(line).ok();
}

#[test]
fn those_in_memory_are_shared_while_one_lives() {
    let barge = Barge::with_busybox();
    create(&barge, "mem", "size=1m,mode=1777");
    let script = "echo here > /m/x; touch /m/ready; while :; do sleep 1; done";
    barge.start(["--name=a", "-v", "mem:/m", "busybox", "sh", "-c", script]);
    wait_until("it has written", || barge.run(["exec", "a", "ls", "/m/ready"]).status == 0);
    let script = "cat /n/x; df -m /n | awk 'END {print $2}'; touch /n/back 2>/dev/null || echo ro";
    barge.shell(&["-v", "mem:/n:ro"], script).ok().stdout("here\n1\nro\n");
    // What one may do is nothing to the others, nor where it has it.
    barge
        .shell(&["-v", "mem:/n", "-v", "mem:/run/o"], "touch /n/back; ls /run/o")
        .ok()
        .stdout("back\nready\nx\n");
    barge.run(["exec", "a", "ls", "/m"]).ok().stdout("back\nready\nx\n");
    // A part of it is what others have there, and leads nowhere else.
    barge.run(["exec", "a", "sh", "-c", "mkdir /m/d; ln -s /etc /m/l; ln -s d /m/in"]).ok();
    let part = |below: &str| format!("src=mem,dst=/p,volume-subpath={below}");
    for below in ["d", "in"] {
        let script = format!("touch /p/{below}; grep -c ' /p tmpfs ' /proc/mounts");
        barge.shell(&["--mount", &part(below)], &script).ok().stdout("1\n");
    }
    let script = "cat /p; ls /n/d";
    barge.shell(&["--mount", &part("x"), "-v", "mem:/n"], script).ok().stdout("here\nd\nin\n");
    for below in ["nosuch", "l"] {
        let output = barge.shell(&["--mount", &part(below)], "true").fails(125);
        output.error_has(&format!("cannot find `{below}` in it"));
    }
    barge.run(["rm", "-f", "-t", "0", "a"]).ok();
    barge.shell(&["-v", "mem:/n", "-v", "mem:/o"], "ls /n; touch /n/x; ls /o").ok().stdout("x\n");
    barge.run(["volume", "rm", "mem"]).ok();
}

#[test]
fn those_in_memory_are_one_for_all_that_start_at_once() {
    let barge = Barge::with_busybox();
    create(&barge, "mem", "mode=1777");
    // Each waits until it sees all.
    let script = "touch /m/$(hostname); i=0; while [ $(ls /m | wc -l) -lt 4 ]; do \
                  i=$((i + 1)); [ $i -gt 600 ] && exit 1; sleep 0.1; done";
    let line = ["run", "--rm", "--network=none", "-v", "mem:/m", "busybox", "sh", "-c", script];
    let running: Vec<_> = (0..4).map(|_| barge.command(line).spawn()).collect();
    for process in running {
        process.wait().ok();
    }
    if is_root() {
        let line = ["run", "--rm", "--network=none", "--uidmap=0:300000:1000", "-v", "mem:/m"];
        let script = "stat -c %u:%g /m && touch /m/x && ls /m";
        barge.run(line.iter().chain(&["busybox", "sh", "-c", script])).ok().stdout("0:0\nx\n");
    }
    barge.leaves_nothing();
}

#[test]
fn a_quota_that_is_not_there_is_told() {
    let barge = Barge::with_busybox();
    if !needs(&[Need::Root, Need::Tool("mkfs.xfs")]) {
        return;
    }
    // A file system without quotas, whatever this machine has.
    let script = "mount -t tmpfs none \"$1\" && exec \"$2\" --root \"$1/s\" --runroot \"$1/r\" volume create -o o=size=5m v";
    let disk = barge.path_text("disk");
    std::fs::create_dir(&disk).unwrap();
    let program = barge.program().to_string_lossy().into_owned();
    let line = ["--mount", "--propagation=private", "sh", "-c", script, "sh", &disk, &program];
    let output = barge.other_command("unshare", line).run();
    output.fails(125).error_has("cannot limit the size of a volume").hint_has("prjquota");
    for wrong in ["o=size=big", "o=mode=700"] {
        barge.run(["volume", "create", "-o", wrong]).fails(125);
    }
    barge.run(["volume", "create", "-o", "o=uid=7,gid=8,nocopy", "own"]).ok();
    barge.shell(&["-v", "own:/etc/own"], "stat -c %u:%g /etc/own").ok().stdout("7:8\n");
}

#[test]
fn quotas_hold() {
    if !needs(&[Need::Root, Need::Tool("mkfs.xfs"), Need::ProjectQuota]) {
        return;
    }
    let barge = Barge::with_busybox();
    let (disk, image) = (barge.path_text("disk"), barge.path_text("image"));
    std::fs::create_dir(&disk).unwrap();
    std::fs::File::create(&image).unwrap().set_len(400 << 20).unwrap();
    let program = barge.program().to_string_lossy().into_owned();
    let busybox = super::support::fixture::busybox().to_string_lossy().into_owned();
    let script = "set -e; mkfs.xfs -q \"$1\"; mount -o loop,prjquota \"$1\" \"$2\"
        d=$2 p=$3 t=$4; b() { \"$p\" --root \"$d/s\" --runroot \"$d/r\" \"$@\"; }
        b import \"$t\" busybox >/dev/null 2>&1
        b volume create -o o=size=5m,inodes=50 v
        b run --rm --network=none -v v:/v busybox sh -c 'dd if=/dev/zero of=/v/big bs=1M count=10 2>/dev/null; du -m /v/big | cut -f1; rm /v/big; i=0; while touch /v/$i 2>/dev/null; do i=$((i+1)); [ $i -lt 100 ] || break; done; [ $i -lt 51 ] && echo few'
        b volume rm v";
    let line = ["--mount", "--propagation=private", "sh", "-c", script, "sh"];
    let line = line.iter().copied().chain([&*image, &*disk, &*program, &*busybox]);
    let output = barge.other_command("unshare", line).run();
    assert_eq!(output.status, 0, "{}", output.story());
    assert_eq!(output.lines(), ["v", "5", "few", "v"], "{}", output.story());
}
