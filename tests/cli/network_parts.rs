//! Networks with real programs on them: nginx, redis, curl and dig; and containers that die in all ways.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::support::leaks::{entries, processes};
use super::support::registry::Registry;
use super::support::{Barge, Need, eventually, is_root, needs, wait_until};

/// How many containers die.
const CONTAINERS: u32 = 24;

#[test]
fn real_programs_find_each_other_by_name() {
    if !needs(&[Need::Debian, Need::Tool("dig")]) {
        return;
    }
    let barge = Barge::new();
    let registry = Registry::with_web(barge.place());
    let image = registry.reference("web:1");
    barge.run(["pull", "-q", &image]).ok();
    for name in ["front", "back"] {
        barge.run(["network", "create", name]).ok();
    }
    let line = ["run", "-d", "--name", "web", "--network", "front", "--network", "back", &image];
    barge.run(line).exits(0);
    let redis = ["redis-server", "--save", "", "--bind", "0.0.0.0", "--protected-mode", "no"];
    let line = ["run", "-d", "--name", "cache", "--network", "back:alias=store", &image];
    barge.run([&line[..], &redis].concat()).exits(0);
    let ask = |network: &str, command: &[&str]| {
        // This machine's programs.
        let line = ["run", "--rm", "--network", network, "builtin/host"];
        barge.run([&line[..], command].concat())
    };
    let curl = ["curl", "-sS", "-m", "10", "http://web/"];
    wait_until("nginx serves", || ask("front", &curl).status == 0);
    ask("front", &curl).exits(0).stdout("<html><body>served from a container</body></html>\n");
    let ping = ["exec", "web", "redis-cli", "-h", "store", "PING"];
    wait_until("redis answers", || barge.run(ping).status == 0);
    barge.run(["exec", "web", "redis-cli", "-h", "cache", "SET", "k", "v"]).ok().stdout("OK\n");
    barge.run(["exec", "web", "redis-cli", "-h", "store", "GET", "k"]).ok().stdout("v\n");
    let address = barge.inspect("cache", "{{.NetworkSettings.Networks.back.IPAddress}}");
    for flags in [&["+short"][..], &["+short", "+tcp"]] {
        let short = |name: &str| {
            let line = [&["dig", "+time=5"], flags, &[name, "A"]].concat();
            ask("back", &line).exits(0).text()
        };
        assert_eq!(short("cache"), address);
        assert_eq!(short("store"), address);
    }
    let reverse = ask("back", &["dig", "+short", "-x", &address]).exits(0).text();
    assert!(reverse.lines().any(|line| line == "cache."), "{reverse}");
    // Who is on one network knows nothing of the other.
    let status = ask("front", &["dig", "+time=2", "+tries=1", "cache.dns.podman"]).text();
    assert!(status.contains("status: NXDOMAIN"), "{status}");
    assert_ne!(
        ask("front", &["curl", "-sS", "-m", "3", &format!("http://{address}:6379/")]).status,
        0
    );
    barge.run(["rm", "-f", "-t", "0", "-a"]).exits(0);
    barge.leaves_nothing();
}

/// Ways to die.
#[derive(Clone, Copy)]
enum End {
    KillMonitor,
    KillProcess,
    Remove,
    Stop,
    Restart,
    Itself,
}

#[test]
fn containers_that_die_in_any_way_leave_no_network_behind() {
    let barge = Barge::with_busybox();
    barge.kills();
    for (name, subnet) in [("a", "10.71.0.0/24"), ("b", "10.72.0.0/24")] {
        barge.run(["network", "create", "--subnet", subnet, name]).ok();
    }
    // A fixed sequence of numbers that looks like chance.
    let mut state = 0x2545_f491_4f6c_dd1du64;
    let mut next = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 33) % below
    };
    let ends =
        [End::KillMonitor, End::KillProcess, End::Remove, End::Stop, End::Restart, End::Itself];
    let mut starting = Vec::new();
    for number in 0..CONTAINERS {
        let end = ends[next(ends.len() as u64) as usize];
        let name = format!("box{number}");
        let networks: &[&str] = match next(3) {
            0 => &["--network", "a"],
            1 => &["--network", "b"],
            _ => &["--network", "a", "--network", "b"],
        };
        let rest: &[&str] = match (end, next(2)) {
            (End::Itself, _) => &["busybox", "true"],
            (_, 0) => &["-p", "127.0.0.1::80", "busybox", "sleep", "1000"],
            _ => &["busybox", "sleep", "1000"],
        };
        let line = [&["run", "-d", "--name", &name], networks, rest].concat();
        starting.push((name.clone(), end, barge.command(line).spawn()));
        // Up to three come while others go, and some die on their way.
        if starting.len() > 3 {
            let (name, end, mut running) = starting.remove(0);
            let patience = Duration::from_millis(next(400));
            eventually(patience, || running.has_ended());
            die(&barge, &name, end);
            running.wait();
        }
    }
    for (name, end, running) in starting {
        running.wait();
        die(&barge, &name, end);
    }
    // Whoever comes next is not in the way of any of them.
    for network in ["a", "b"] {
        barge.run(["run", "--rm", "--network", network, "busybox", "true"]).exits(0);
    }
    barge.run(["rm", "-f", "-t", "0", "-a"]).exits(0);
    barge.leaves_nothing();
    let leases =
        |network: &str| entries(&barge.runroot().join("networks").join(network).join("leases"));
    assert_eq!((leases("a").len(), leases("b").len()), (0, 0));
    assert_eq!(entries(&barge.runroot().join("endpoints")).len(), 0);
    if is_root() {
        let links = barge.other_command("ip", ["-br", "link"]).run().ok().lines();
        assert_eq!(links.len(), 1, "{links:?}");
        barge.other_command("nft", ["list", "ruleset"]).run().ok().stdout("");
    }
    barge.run(["network", "rm", "a", "b"]).ok();
}

/// Ends a container, as far as it is there by now.
fn die(barge: &Barge, name: &str, end: End) {
    let pid_of = |template: &str| {
        let line = ["inspect", "-f", template, name];
        let pid = barge.run(line).text().parse().ok();
        pid.and_then(Pid::from_raw)
    };
    match end {
        End::KillMonitor => {
            let id = barge.run(["inspect", "-f", "{{.Id}}", name]).text();
            let is_its = |line: &str| {
                !id.is_empty() && line.contains("barge: monitor") && line.contains(&id[..12])
            };
            let monitor = processes().into_iter().find(|it| is_its(&it.command_line()));
            let monitor = monitor.and_then(|it| Pid::from_raw(i32::try_from(it.pid).unwrap()));
            // It may have ended, or be yet to come.
            let _gone = monitor.map(|monitor| kill_process(monitor, Signal::KILL));
        }
        End::KillProcess => {
            let _gone = pid_of("{{.State.Pid}}").map(|pid| kill_process(pid, Signal::KILL));
        }
        End::Remove => drop(barge.run(["rm", "-f", "-t", "0", name])),
        End::Stop => drop(barge.run(["stop", "-t", "0", name])),
        End::Restart => drop(barge.run(["restart", "-t", "0", name])),
        End::Itself => {}
    }
}
