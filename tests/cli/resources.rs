//! Limits of disks, settings of control groups, and devices by number.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::PathBuf;

use super::support::leaks::cgroup_mounts;
use super::support::{Barge, Need, is_root, needs};

/// What a file of a container's control group says; `None` if no hierarchy has it.
fn setting(id: &str, name: &str) -> Option<String> {
    let read = |mount: &PathBuf| fs::read_to_string(mount.join("barge").join(id).join(name)).ok();
    cgroup_mounts().iter().find_map(read).map(|text| text.trim().to_owned())
}

/// A block device of this machine, with its numbers.
fn disk() -> Option<(String, String)> {
    let entry = fs::read_dir("/dev").unwrap().flatten().find(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        // A whole disk: its parts cannot be limited.
        entry.file_type().unwrap().is_block_device()
            && PathBuf::from("/sys/block").join(name).exists()
    })?;
    let id = entry.metadata().unwrap().rdev();
    let numbers = format!("{}:{}", rustix::fs::major(id), rustix::fs::minor(id));
    Some((entry.path().to_string_lossy().into_owned(), numbers))
}

#[test]
fn rates_of_devices_are_limited() {
    if !needs(&[Need::Root]) {
        return;
    }
    let Some((disk, numbers)) = disk() else { return };
    let barge = Barge::with_busybox();
    let flags = [
        format!("--device-read-bps={disk}:1mb"),
        format!("--device-write-bps={disk}:2mb"),
        format!("--device-read-iops={disk}:100"),
        format!("--device-write-iops={disk}:200"),
    ];
    let mut line: Vec<&str> = flags.iter().map(String::as_str).collect();
    line.extend(["busybox", "sleep", "1000"]);
    let id = barge.start(line);
    match setting(&id, "io.max") {
        Some(all) => {
            assert_eq!(all, format!("{numbers} rbps=1048576 wbps=2097152 riops=100 wiops=200"));
        }
        None => {
            for (file, want) in [
                ("read_bps_device", "1048576"),
                ("write_bps_device", "2097152"),
                ("read_iops_device", "100"),
                ("write_iops_device", "200"),
            ] {
                let found = setting(&id, &format!("blkio.throttle.{file}")).unwrap();
                assert_eq!(found, format!("{numbers} {want}"), "{file}");
            }
        }
    }
    let shown = "{{(index .HostConfig.BlkioDeviceReadBps 0).Path}} {{(index .HostConfig.BlkioDeviceReadBps 0).Rate}}";
    assert_eq!(barge.inspect(&id, shown), format!("{disk} 1048576"));
}

#[test]
fn devices_are_allowed_by_number() {
    let barge = Barge::with_busybox();
    if !is_root() {
        barge
            .shell(&["--device-cgroup-rule", "c 1:3 rwm"], "true")
            .fails(125)
            .error_has("device cgroup rules are not supported in rootless mode");
        return;
    }
    // The memory of the kernel's log: nobody has it by default.
    let script = "mknod /tmp/kmsg c 1 11; dd if=/tmp/kmsg of=/dev/null bs=8k count=1 2>&1 | grep -c 'not permitted'";
    barge.shell(&[], script).exits(0).stdout("1\n");
    let flags = ["--device-cgroup-rule", "c 1:11 r", "--cap-add", "SYSLOG"];
    barge.shell(&flags, script).exits(1).stdout("0\n");
    // Reading is allowed, writing is not.
    let script = "mknod /tmp/kmsg c 1 11; (: > /tmp/kmsg) 2>&1 | grep -c 'not permitted'";
    barge.shell(&flags, script).exits(0).stdout("1\n");
}

#[test]
fn bad_limits_are_refused() {
    let barge = Barge::with_busybox();
    for (flag, value, want) in [
        (
            "--device-cgroup-rule",
            "c 1:3",
            "invalid device cgroup rule requires type, major:Minor, and access rules: \"c 1:3\"",
        ),
        ("--device-cgroup-rule", "x 1:3 r", "invalid device type in device-access-add: x"),
        ("--blkio-weight", "5", "invalid block I/O weight `5`"),
        ("--device-read-bps", "sda:1mb", "bad format for path: sda:1mb"),
        ("--memory-swappiness", "101", "valid memory swappiness range is 0-100"),
    ] {
        barge.shell(&[flag, value], "true").fails(125).error_has(want);
    }
    barge
        .shell(&["--device-read-bps", "/dev/null:1mb"], "true")
        .fails(125)
        .error_has("/dev/null is not a block device");
    assert!(barge.containers().is_empty());
}

#[test]
fn swappiness_is_set() {
    if !needs(&[Need::Root, Need::MemoryLimit]) {
        return;
    }
    let barge = Barge::with_busybox();
    let output = barge
        .run([
            "run",
            "-d",
            "--network=none",
            "--memory-swappiness",
            "7",
            "busybox",
            "sleep",
            "1000",
        ])
        .exits(0);
    match setting(&output.text(), "memory.swappiness") {
        Some(found) => assert_eq!(found, "7"),
        None => assert!(output.errors().contains("the memory swappiness is not applied")),
    }
}

#[test]
fn rates_of_devices_change_while_it_runs() {
    if !needs(&[Need::Root]) {
        return;
    }
    let Some((disk, numbers)) = disk() else { return };
    let barge = Barge::with_busybox();
    let first = format!("--device-read-bps={disk}:1mb");
    let id = barge.start([&first, "busybox", "sleep", "1000"]);
    let [read, write] = ["read", "write"].map(|what| format!("--device-{what}-bps={disk}:3mb"));
    barge.run(["update", &read, &write, &id]).ok();
    match setting(&id, "io.max") {
        Some(all) => {
            assert_eq!(all, format!("{numbers} rbps=3145728 wbps=3145728 riops=max wiops=max"));
        }
        None => {
            for file in ["read_bps_device", "write_bps_device"] {
                let found = setting(&id, &format!("blkio.throttle.{file}")).unwrap();
                assert_eq!(found, format!("{numbers} 3145728"), "{file}");
            }
        }
    }
    let shown =
        "{{len .HostConfig.BlkioDeviceReadBps}} {{(index .HostConfig.BlkioDeviceReadBps 0).Rate}}";
    assert_eq!(barge.inspect(&id, shown), "1 3145728");
    let line = ["update", "--device-read-bps", "/dev/null:1mb", &id];
    barge.run(line).fails(125).error_has("/dev/null is not a block device");
    // A weight is kept also where the kernel has none.
    let output = barge.run(["update", "--blkio-weight", "300", &id]).exits(0);
    assert_eq!(output.text(), id);
    assert_eq!(barge.inspect(&id, "{{.HostConfig.BlkioWeight}}"), "300");
}
