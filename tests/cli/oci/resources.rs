//! Resources, as the control groups of the container tell them.

use std::path::Path;

use serde_json::{Value, json};

use super::super::support::needs::has_controller;
use super::{Case, Stage, can, case};

/// Shows the container its own control groups.
fn resources(name: impl Into<String>, change: Value) -> Case {
    case(
        name,
        json!({
            "mounts+": [{
                "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
                "options": ["nosuid", "noexec", "nodev", "ro"],
            }],
            "linux": {"resources": change, "namespaces+": [{"type": "cgroup"}]},
        }),
    )
}

/// A resource of version 1, and the file that tells it.
fn v1(name: &str, change: Value, file: &str, value: &str) -> Case {
    let controller = file.split('.').next().unwrap();
    let path = format!("read:/sys/fs/cgroup/{controller}/{file}");
    resources(name, change).asks(&[&path]).sees("/0", value)
}

#[test]
fn version_1() {
    if !can() {
        return;
    }
    let mebi = 1 << 20;
    let mut cases = Vec::new();
    if has_controller("memory") {
        let memory = |name: &str, change: Value, file: &str, value: &str| {
            v1(name, json!({ "memory": change }), &format!("memory.{file}"), value)
        };
        cases.extend([
            memory("memory", json!({"limit": 64 * mebi}), "limit_in_bytes", "67108864"),
            memory(
                "no memory limit",
                json!({"limit": -1}),
                "limit_in_bytes",
                "9223372036854771712",
            ),
            memory(
                "memory and swap",
                json!({"limit": 64 * mebi, "swap": 128 * mebi}),
                "memsw.limit_in_bytes",
                "134217728",
            ),
            memory(
                "memory reservation",
                json!({"reservation": 32 * mebi}),
                "soft_limit_in_bytes",
                "33554432",
            ),
            memory("swappiness", json!({"swappiness": 17}), "swappiness", "17"),
            resources("no out-of-memory killer", json!({"memory": {"disableOOMKiller": true}}))
                .asks(&["read:/sys/fs/cgroup/memory/memory.oom_control"])
                .has("/0", "oom_kill_disable 1"),
            // runc of Debian 12 leaves it as it is.
            memory(
                "TCP memory",
                json!({"kernelTCP": 8 * mebi}),
                "kmem.tcp.limit_in_bytes",
                "8388608",
            )
            .without_peer(),
        ]);
    }
    if has_controller("cpu") {
        let cpu = |name: &str, change: Value, file: &str, value: &str| {
            v1(name, json!({ "cpu": change }), &format!("cpu.{file}"), value)
        };
        cases.extend([
            cpu("shares", json!({"shares": 512}), "shares", "512"),
            cpu("quota", json!({"quota": 50000, "period": 100_000}), "cfs_quota_us", "50000"),
            cpu("period", json!({"quota": 50000, "period": 200_000}), "cfs_period_us", "200000"),
            cpu("no quota", json!({"quota": -1}), "cfs_quota_us", "-1"),
            cpu(
                "burst",
                json!({"quota": 50000, "period": 100_000, "burst": 20000}),
                "cfs_burst_us",
                "20000",
            )
            .without_peer(),
            cpu("idle", json!({"idle": 1}), "idle", "1").without_peer(),
        ]);
    }
    if has_controller("cpuset") {
        cases.extend([
            v1("processors", json!({"cpu": {"cpus": "0"}}), "cpuset.cpus", "0"),
            v1("memory nodes", json!({"cpu": {"mems": "0"}}), "cpuset.mems", "0"),
            resources("processors that it runs on", json!({"cpu": {"cpus": "1"}}))
                .sees("/affinity", json!([1])),
            resources("processors that are not there", json!({"cpu": {"cpus": "999"}}))
                .fails("999"),
        ]);
    }
    if has_controller("pids") {
        cases.extend([
            v1("processes", json!({"pids": {"limit": 17}}), "pids.max", "17"),
            v1("no limit of processes", json!({"pids": {"limit": -1}}), "pids.max", "max"),
        ]);
    }
    if let (true, Some(disk)) = (has_controller("blkio"), disk()) {
        let (major, minor) = disk;
        let rate = |key: &str, rate: u64| json!({"blockIO": {key: [{"major": major, "minor": minor, "rate": rate}]}});
        for (key, file, number) in [
            ("throttleReadBpsDevice", "blkio.throttle.read_bps_device", 1_048_576),
            ("throttleWriteBpsDevice", "blkio.throttle.write_bps_device", 2_097_152),
            ("throttleReadIOPSDevice", "blkio.throttle.read_iops_device", 100),
            ("throttleWriteIOPSDevice", "blkio.throttle.write_iops_device", 200),
        ] {
            cases.push(v1(key, rate(key, number), file, &format!("{major}:{minor} {number}")));
        }
    }
    let stage = Stage::new();
    if !has_v1() {
        return;
    }
    stage.all("v1", cases);
}

#[test]
fn version_2() {
    if !can() || !Path::new("/sys/fs/cgroup/unified/cgroup.controllers").exists() {
        return;
    }
    let pages = |name: &str, limit: Value, want: &str| {
        resources(name, json!({"hugepageLimits": [{"pageSize": "2MB", "limit": limit}]}))
            .without_peer()
            .asks(&["read:/sys/fs/cgroup/unified/hugetlb.2MB.max"])
            .sees("/0", want)
    };
    let cases = vec![
        pages("huge pages", json!(4_194_304), "4194304"),
        resources("unified", json!({"unified": {"hugetlb.2MB.max": "2097152"}}))
            .without_peer()
            .asks(&["read:/sys/fs/cgroup/unified/hugetlb.2MB.max"])
            .sees("/0", "2097152"),
        resources("unified, of all controllers", json!({"unified": {"cgroup.max.depth": "3"}}))
            .without_peer()
            .asks(&["read:/sys/fs/cgroup/unified/cgroup.max.depth"])
            .sees("/0", "3"),
        resources("unified that leads out", json!({"unified": {"../cgroup.procs": "1"}}))
            .fails("cgroup.procs"),
    ];
    Stage::new().all("v2", cases);
}

#[test]
fn what_is_seen() {
    if !can() {
        return;
    }
    let mount = |options: &[&str]| {
        json!({
            "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
            "options": options,
        })
    };
    let cases = vec![
        case(
            "its own groups",
            json!({
                "mounts+": [mount(&["ro"])], "linux": {"namespaces+": [{"type": "cgroup"}]},
            }),
        )
        .asks(&["read:/proc/self/cgroup", "write:/sys/fs/cgroup/pids/pids.max=1"])
        .has("/0", "pids:/\n")
        .sees("/1", "EROFS"),
        case("its own groups without a namespace", json!({"mounts+": [mount(&["ro"])]}))
            .asks(&[
                "read:/sys/fs/cgroup/pids/cgroup.procs",
                "write:/sys/fs/cgroup/pids/pids.max=1",
            ])
            .sees("/0", "1")
            .sees("/1", "EROFS"),
        case("no way to the group above", json!({"mounts+": [mount(&["ro"])]}))
            .asks(&[
                "write:/sys/fs/cgroup/memory/release_agent=/x",
                "open:/sys/fs/cgroup/pids/release_agent",
            ])
            .sees("/1", "ENOENT"),
    ];
    if has_v1() {
        Stage::new().all("seen", cases);
    }
}

fn has_v1() -> bool {
    Path::new("/sys/fs/cgroup/pids/cgroup.procs").exists()
}

/// The number of a disk of this machine.
fn disk() -> Option<(u32, u32)> {
    let entries = std::fs::read_dir("/sys/block").ok()?;
    entries.flatten().find_map(|entry| {
        if entry.file_name().to_string_lossy().starts_with("loop") {
            return None;
        }
        let text = std::fs::read_to_string(entry.path().join("dev")).ok()?;
        let (major, minor) = text.trim().split_once(':')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    })
}
