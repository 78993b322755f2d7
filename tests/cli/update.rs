//! update: limits and restart policy of containers, live and for later runs.

use std::fs;
use std::path::Path;

use super::support::{Barge, Need, needs, wait_until};

/// Reads a control file of a container by its name of version 1 or version 2.
#[track_caller]
fn control(barge: &Barge, name: &str, v1: &str, v2: &str) -> String {
    let path = barge.inspect(name, "{{.State.CgroupPath}}");
    let path = path.trim_start_matches('/');
    let controller = v1.split('.').next().unwrap();
    let places =
        [format!("/sys/fs/cgroup/{controller}/{path}/{v1}"), format!("/sys/fs/cgroup/{path}/{v2}")];
    let found = places.iter().find(|place| Path::new(place).exists());
    let found = found.unwrap_or_else(|| panic!("there is none of {places:?}"));
    fs::read_to_string(found).unwrap().trim().to_owned()
}

#[test]
fn limits_change_while_it_runs_and_stay() {
    if !needs(&[Need::Root, Need::MemoryLimit, Need::PidsLimit, Need::CpuLimit]) {
        return;
    }
    let barge = Barge::with_busybox();
    let id = barge.start(["--name", "box", "-m", "64m", "busybox", "sleep", "1000"]);
    let line = ["update", "--memory", "128m", "--pids-limit", "55", "--cpus", "0.5", "box"];
    barge.run(line).ok().stdout(&format!("{id}\n"));
    let memory = || control(&barge, "box", "memory.limit_in_bytes", "memory.max");
    let pids = || control(&barge, "box", "pids.max", "pids.max");
    let quota = || control(&barge, "box", "cpu.cfs_quota_us", "cpu.max");
    assert_eq!((memory(), pids()), ("134217728".into(), "55".into()));
    assert!(quota().starts_with("50000"), "{}", quota());
    // The controllers that came later hold it, too.
    let pid = barge.inspect("box", "{{.State.Pid}}");
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let of_cpu = groups.lines().find(|line| {
        line.starts_with("0::") || line.split(':').nth(1).unwrap().split(',').any(|it| it == "cpu")
    });
    assert!(of_cpu.unwrap().contains(&id), "{groups}");
    let shown = "{{.HostConfig.Memory}} {{.HostConfig.PidsLimit}} {{.HostConfig.NanoCpus}}";
    assert_eq!(barge.inspect("box", shown), "134217728 55 500000000");
    // What is not said stays.
    barge.run(["update", "--pids-limit", "-1", "box"]).ok();
    assert_eq!((memory(), pids()), ("134217728".into(), "max".into()));
    barge.run(["update", "--cpus", "0", "box"]).ok();
    assert!(quota().starts_with("-1") || quota().starts_with("max"), "{}", quota());
    barge.run(["update", "--cpu-quota", "20000", "box"]).ok();
    // The next run has it all.
    barge.run(["restart", "-t", "0", "box"]).ok();
    assert_eq!((memory(), pids()), ("134217728".into(), "max".into()));
    assert!(quota().starts_with("20000"), "{}", quota());
    barge.run(["rm", "-f", "-t", "0", "box"]).ok();
    barge.leaves_nothing();
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let barge = Barge::with_busybox();
    let id = barge.run(["create", "--network", "none", "-m", "64m", "busybox", "true"]).ok().text();
    for (flags, error) in [
        (vec!["--memory", "1m"], "minimum memory limit allowed is 6MB"),
        (vec!["--memory", "64m", "--memory-swap", "32m"], "minimum memory-swap limit"),
        (
            vec!["--cpus", "1", "--cpu-quota", "5000"],
            "--cpus and --cpu-quota cannot be set together",
        ),
        (vec!["--restart", "sometimes"], "is not a valid restart policy"),
    ] {
        let line = ["update"].into_iter().chain(flags).chain([id.as_str()]);
        barge.run(line).fails(125).error_has(error);
    }
    barge.run(["update", "--cpus", "1", "nosuch"]).fails(125).error_has("no such container");
    barge.run(["update"]).fails(125).error_has("you must provide at least one name or id");
    assert_eq!(barge.inspect(&id, "{{.HostConfig.Memory}}"), "67108864");
}

#[test]
fn a_set_of_processors_that_is_not_there_leaves_no_group_behind() {
    if !needs(&[Need::Root, Need::CpuLimit]) {
        return;
    }
    let barge = Barge::with_busybox();
    barge.start(["--name", "box", "busybox", "sleep", "1000"]);
    let line = ["update", "--cpuset-cpus", "4000", "box"];
    barge.run(line).fails(125).error_has("requested CPUs are not available - requested 4000");
    assert_eq!(barge.inspect("box", "{{.HostConfig.CpusetCpus}}"), "");
    barge.run(["update", "--cpuset-cpus", "0", "box"]).ok();
    barge
        .run(["exec", "box", "grep", "Cpus_allowed_list", "/proc/self/status"])
        .ok()
        .stdout_has("\t0");
    barge.run(["rm", "-f", "-t", "0", "box"]).ok();
    barge.leaves_nothing();
}

#[test]
fn the_restart_policy_changes_while_it_runs() {
    let barge = Barge::with_busybox();
    let script = "echo run; while [ ! -e /stop ]; do sleep 0.05; done; rm /stop; exit 4";
    barge.start(["--name", "box", "busybox", "sh", "-c", script]);
    barge.await_log("box", "run");
    barge.run(["update", "--restart", "on-failure:5", "box"]).ok();
    barge.touch("box", "/stop");
    wait_until("it was started again", || barge.inspect("box", "{{.RestartCount}}") == "1");
    barge.await_status("box", "running");
    barge.run(["update", "--restart", "no", "box"]).ok();
    barge.touch("box", "/stop");
    barge.await_status("box", "exited");
    let shown = "{{.RestartCount}} {{.State.ExitCode}} {{.HostConfig.RestartPolicy.Name}}";
    assert_eq!(barge.inspect("box", shown), "1 4 no");
    barge.start(["--name", "gone", "--rm", "busybox", "sleep", "1000"]);
    barge.run(["update", "--restart", "always", "gone"]).fails(125).error_has("is removed when it");
}

#[test]
fn two_updates_at_once_both_count() {
    let barge = Barge::with_busybox();
    barge.run(["create", "--network", "none", "--name", "box", "busybox", "true"]).ok();
    for round in 1..=5 {
        let memory = format!("{}m", 64 + round);
        let pids = (100 + round).to_string();
        let one = barge.command(["update", "--memory", &memory, "box"]).spawn();
        let two = barge.command(["update", "--pids-limit", &pids, "box"]).spawn();
        one.wait().ok();
        two.wait().ok();
        let want = format!("{} {pids}", (64 + round) * 1024 * 1024);
        assert_eq!(barge.inspect("box", "{{.HostConfig.Memory}} {{.HostConfig.PidsLimit}}"), want);
    }
}
