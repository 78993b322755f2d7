//! Limits: memory, processors, processes, rlimits.

use super::support::needs::has_controller;
use super::support::process::KNOWN_WARNING;
use super::support::{Barge, Need, needs};

#[test]
fn memory_limit_kills_and_says_so() {
    if !needs(&[Need::MemoryLimit]) {
        return;
    }
    let barge = Barge::with_busybox();
    // The first process grows: a string that is doubled until the kernel has enough of it.
    let script = "x=0123456789abcdef; while :; do x=$x$x; done";
    let line =
        ["run", "--network=none", "--name", "big", "-m", "16m", "busybox", "sh", "-c", script];
    barge.run(line).exits(137);
    assert_eq!(barge.inspect("big", "{{.State.OOMKilled}} {{.State.ExitCode}}"), "true 137");
    assert_eq!(barge.inspect("big", "{{.HostConfig.Memory}}"), "16777216");
}

#[test]
fn memory_limit_leaves_others_alone() {
    if !needs(&[Need::MemoryLimit]) {
        return;
    }
    let barge = Barge::with_busybox();
    let line =
        ["run", "--network=none", "--name", "small", "-m", "64m", "busybox", "sh", "-c", "exit 3"];
    barge.run(line).exits(3);
    assert_eq!(barge.inspect("small", "{{.State.OOMKilled}}"), "false");
}

#[test]
fn pids_limit_stops_forks() {
    if !needs(&[Need::PidsLimit]) {
        return;
    }
    let barge = Barge::with_busybox();
    let script = "for i in 1 2 3 4 5 6 7 8 9 10; do sleep 1000 & done; echo not reached";
    let output = barge.shell(&["--pids-limit", "5"], script);
    assert_ne!(output.status, 0);
    output.stderr_has("can't fork").stdout_lacks("not reached");
    barge.shell(&["--pids-limit", "-1"], "echo free").ok().stdout("free\n");
}

#[test]
fn cpus_become_a_quota() {
    if !needs(&[Need::CpuLimit, Need::Root]) {
        return;
    }
    let barge = Barge::with_busybox();
    let id = barge.start(["--cpus", "0.5", "--cpu-shares", "512", "busybox", "sleep", "1000"]);
    let read = |names: [&str; 2]| {
        super::support::leaks::cgroup_mounts().iter().find_map(|mount| {
            let group = mount.join("barge").join(&id);
            names.iter().find_map(|name| std::fs::read_to_string(group.join(name)).ok())
        })
    };
    let quota = read(["cpu.max", "cpu.cfs_quota_us"]).unwrap();
    assert!(["50000 100000", "50000"].contains(&quota.trim()), "{quota}");
    let weight = read(["cpu.weight", "cpu.shares"]).unwrap();
    assert!(["20", "59", "512"].contains(&weight.trim()), "{weight}");
    assert_eq!(
        barge.inspect(&id, "{{.HostConfig.NanoCpus}} {{.HostConfig.CpuShares}}"),
        "500000000 512"
    );
}

#[test]
fn real_time_tasks_get_what_the_groups_above_are_given_for_it() {
    let Some(mount) = super::support::leaks::cgroup_mounts()
        .into_iter()
        .find(|mount| mount.join("cpu.rt_runtime_us").exists())
        .filter(|_| needs(&[Need::CpuLimit, Need::Root]))
    else {
        return;
    };
    let barge = Barge::with_busybox();
    let limits = ["--cpu-rt-runtime", "1500", "--cpu-rt-period", "500000"];
    let run = |limits: &[&str]| {
        let run = ["run", "--rm", "--network=none", "--cap-add=sys_nice"];
        let program = ["builtin/host", "chrt", "-f", "1", "echo", "here"];
        barge.run([&run[..], limits, &program].concat())
    };
    let above = mount.join("barge/cpu.rt_runtime_us");
    let before = std::fs::read_to_string(&above).unwrap_or_else(|_| "0\n".to_owned());
    // A task of this kind in a group without any time is refused.
    run(&limits).ok().stdout("here\n");
    run(&["--cpu-shares", "512"]).exits(1).stderr_has("Operation not permitted");
    let id = barge.start([&limits[..], &["busybox", "sleep", "1000"]].concat());
    let read = |group: &str, file: &str| -> u64 {
        let path = mount.join("barge").join(group).join(file);
        std::fs::read_to_string(path).unwrap().trim().parse().unwrap()
    };
    assert_eq!((read(&id, "cpu.rt_runtime_us"), read(&id, "cpu.rt_period_us")), (1500, 500_000));
    assert!(read("", "cpu.rt_runtime_us") >= 3000);
    let shown = "{{.HostConfig.CpuRealtimeRuntime}} {{.HostConfig.CpuRealtimePeriod}}";
    assert_eq!(barge.inspect(&id, shown), "1500 500000");
    barge.run(["update", "--cpu-rt-runtime", "2500", &id]).ok();
    assert_eq!(read(&id, "cpu.rt_runtime_us"), 2500);
    barge
        .shell(&["--cpu-rt-runtime", "990000"], "true")
        .fails(125)
        .error_has("cannot apply the real-time CPU time")
        .hint_has("kernel.sched_rt_");
    barge
        .shell(&["--cpu-rt-runtime", "2000000"], "true")
        .fails(125)
        .error("cpu real-time runtime cannot be higher than cpu real-time period");
    // The last one of these gives back what the groups above were given.
    barge.run(["rm", "-f", "-t", "0", &id]).ok();
    assert_eq!(std::fs::read_to_string(above).unwrap(), before);
}

#[test]
fn limits_that_make_no_sense_are_refused() {
    let barge = Barge::with_busybox();
    let table = [
        ["-m", "lots"],
        ["-m", "-5"],
        ["--cpus", "-1"],
        ["--cpus", "many"],
        ["--pids-limit", "x"],
        ["--ulimit", "nosuch=1"],
        ["--ulimit", "nofile"],
        ["--ulimit", "nofile=20:10"],
        ["--memory-swap", "1m"],
    ];
    for flags in table {
        barge.shell(&flags, "true").fails(125);
    }
    if has_controller("cpuset") {
        // Without a controller there is nobody to know how many processors there are.
        barge.shell(&["--cpuset-cpus", "9999"], "true").fails(125);
    }
    assert!(barge.containers().is_empty());
    barge.leaves_nothing();
}

#[test]
fn ulimits_are_set() {
    let barge = Barge::with_busybox();
    let script = "ulimit -Sn; ulimit -Hn; ulimit -c";
    barge
        .shell(&["--ulimit", "nofile=100:200", "--ulimit", "core=0"], script)
        .ok()
        .stdout("100\n200\n0\n");
}

#[test]
fn ulimits_beyond_what_the_caller_may_have_are_refused() {
    let (_, hard) =
        nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).unwrap();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
    let may_raise = u64::from_str_radix(effective.trim(), 16).unwrap() & (1 << 24) != 0;
    if may_raise || hard >= u64::from(u32::MAX) {
        return;
    }
    let barge = Barge::with_busybox();
    let limit = format!("nofile={0}:{0}", hard + 1);
    barge
        .shell(&["--ulimit", &limit], "true")
        .fails(125)
        .error_has("nofile")
        .hint_has("hard limit");
    assert!(barge.containers().is_empty());
}

#[test]
fn default_ulimits_never_fail() {
    let barge = Barge::with_busybox();
    let prlimit = ["--nofile=300:400", "--nproc=5000:5000"];
    let program = super::support::fixture::barge();
    let mut line: Vec<String> = prlimit.map(str::to_owned).into();
    line.push(program.to_string_lossy().into_owned());
    for word in ["--root", &barge.path_text("s"), "--runroot", &barge.path_text("r")] {
        line.push(word.to_owned());
    }
    for word in ["run", "--rm", "--network", "none", "busybox", "sh", "-c", "ulimit -Hn"] {
        line.push(word.to_owned());
    }
    let hard: u64 = barge.other_command("prlimit", line).run().ok().text().parse().unwrap();
    assert!(hard >= 400, "{hard}");
}

#[test]
fn oom_score_and_shm_size_are_set() {
    let barge = Barge::with_busybox();
    barge
        .shell(
            &["--oom-score-adj", "500", "--shm-size", "8m"],
            "cat /proc/self/oom_score_adj; df -m /dev/shm | tail -n 1 | awk '{print $2}'",
        )
        .ok()
        .stdout("500\n8\n");
}

#[test]
fn a_default_limit_without_a_controller_is_one_warning() {
    if has_controller("pids") {
        return;
    }
    let barge = Barge::with_busybox();
    let line = format!(
        "{} --root {} --runroot {} run --rm --network none busybox echo ran 2>&1",
        super::support::fixture::barge().display(),
        barge.root().display(),
        barge.runroot().display()
    );
    let run = || barge.other_command("sh", ["-c", &line]).run().exits(0);
    run().stdout(&format!("{KNOWN_WARNING}ran\n"));
    run().stdout("ran\n");
}

#[test]
fn limits_without_a_controller_warn_once() {
    if !needs(&[Need::NoRoot]) || has_controller("memory") {
        return;
    }
    let barge = Barge::with_busybox();
    let output = barge.shell(&["-m", "64m"], "echo ran").exits(0).stdout("ran\n");
    let errors = output.errors();
    let warnings = errors.lines().filter(|line| line.contains("memory")).count();
    assert_eq!(warnings, 1, "{errors}");
}
