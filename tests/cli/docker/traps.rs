//! Where services that only look like Docker's fail with its clients.

use serde_json::{Value, json};

use crate::support::docker::DockerHost;
use crate::support::{Barge, Need, needs, wait_until};

#[test]
fn volumes_are_filled_unless_they_are_not_to_be() {
    let barge = Barge::new();
    let docker = DockerHost::with_busybox(&barge);
    let run = |volume: &str, more: &str| {
        let mount = format!("type=volume,source={volume},target=/etc{more}");
        let line = ["run", "--rm", "--network=none", "--mount", &mount, "busybox"];
        docker.docker([&line[..], &["sh", "-c", "test -e /etc/passwd"]].concat()).status
    };
    assert_eq!(run("filled", ""), 0);
    assert_eq!(run("empty", ",volume-nocopy"), 1);
}

#[test]
fn what_is_removed_is_told_in_docker_s_words() {
    let barge = Barge::new();
    let docker = DockerHost::with_busybox(&barge);
    docker.docker(["run", "--name=box", "--network=none", "busybox", "true"]).ok();
    docker.docker(["rm", "box"]).ok();
    docker.docker(["volume", "create", "data"]).ok();
    docker.docker(["volume", "rm", "data"]).ok();
    docker.docker(["network", "create", "net"]).ok();
    docker.docker(["network", "rm", "net"]).ok();
    docker.docker(["tag", "busybox", "other"]).ok();
    docker.docker(["rmi", "other"]).ok();
    let answer = docker.ask("GET", &docker.events_so_far(), "");
    let told: Vec<(Value, Value)> = serde_json::Deserializer::from_slice(&answer.body)
        .into_iter::<Value>()
        .map(|event| event.unwrap())
        .map(|event| (event["Type"].clone(), event["Action"].clone()))
        .collect();
    for (kind, action) in [
        ("container", "die"),
        ("container", "destroy"),
        ("volume", "destroy"),
        ("network", "destroy"),
        ("image", "untag"),
    ] {
        assert!(told.contains(&(json!(kind), json!(action))), "{kind} {action}: {told:?}");
    }
    assert!(!told.iter().any(|(_, action)| action == "remove" || action == "died"), "{told:?}");
}

#[test]
fn a_container_takes_a_port_of_a_range_and_a_link() {
    if !needs(&[Need::Root]) {
        return;
    }
    let barge = Barge::new();
    let docker = DockerHost::with_busybox(&barge);
    let run = |line: &[&str]| docker.docker([&["run", "-d"], line].concat()).exits(0).text();
    run(&["--name=db", "busybox", "sleep", "1000"]);
    let body = json!({
        "Image": "busybox", "Cmd": ["sleep", "1000"], "ExposedPorts": { "80/tcp": {} },
        "HostConfig": { "PortBindings": { "80/tcp": [{ "HostPort": "28000-28001" }] } },
    });
    let mut ports = Vec::new();
    for name in ["one", "two"] {
        let path = format!("/containers/create?name={name}");
        assert_eq!(docker.ask("POST", &path, &body.to_string()).status, 201);
        assert_eq!(docker.ask("POST", &format!("/containers/{name}/start"), "").status, 204);
        let found = docker.get(&format!("/containers/{name}/json"));
        let bound = &found["NetworkSettings"]["Ports"]["80/tcp"][0]["HostPort"];
        ports.push(bound.as_str().unwrap().to_owned());
    }
    ports.sort();
    assert_eq!(ports, ["28000", "28001"]);
    run(&["--name=web", "--link", "db:store", "busybox", "sleep", "1000"]);
    docker.docker(["exec", "web", "cat", "/etc/hosts"]).ok().stdout_has("store");
    let links = docker.get("/containers/web/json")["HostConfig"]["Links"].clone();
    assert_eq!(links, json!(["/db:/web/store"]));
    let one = docker.get("/containers/web/stats?stream=0&one-shot=1");
    assert_eq!(one["name"], "/web");
}

/// What tools that watch containers look at.
#[test]
fn what_is_used_is_told_as_the_kernel_counts_it() {
    if !needs(&[Need::Root]) {
        return;
    }
    let barge = Barge::new();
    let docker = DockerHost::with_busybox(&barge);
    let script = "while :; do :; done & dd if=/dev/zero of=/big bs=1M count=20; sleep 1000";
    let line = ["run", "-d", "--name=busy", "-m=64m", "--cpus=0.1", "--pids-limit=50", "busybox"];
    docker.docker([&line[..], &["sh", "-c", script]].concat()).ok();
    let ping = "ping -c 1 $(ip route | sed -n 's/default via \\([^ ]*\\).*/\\1/p')";
    docker.docker(["exec", "busy", "sh", "-c", ping]).ok();
    let stats = || docker.get("/containers/busy/stats?stream=0&one-shot=1");
    wait_until("it is throttled", || {
        let throttling = stats()["cpu_stats"]["throttling_data"].clone();
        throttling["throttled_periods"].as_u64() > Some(1)
            && throttling["throttled_time"].as_u64() > Some(0)
    });
    docker.docker(["pause", "busy"]).ok();
    let stats = stats();
    let inside = |file: &str, field: &str| -> u64 {
        let pid = docker.get("/containers/busy/json")["State"]["Pid"].to_string();
        let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        let group = groups.lines().find(|it| it.contains(":memory:") || it.starts_with("0::"));
        let group = group.unwrap().rsplit(':').next().unwrap().trim_start_matches('/').to_owned();
        let mut mounts = super::super::support::leaks::cgroup_mounts().into_iter();
        let path = mounts.find_map(|it| {
            let path = it.join(&group).join(file);
            path.exists().then_some(path)
        });
        let text = std::fs::read_to_string(path.expect("it is counted")).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        line.trim().parse().unwrap()
    };
    let memory = &stats["memory_stats"];
    assert_eq!(memory["limit"], 64 << 20);
    let parts = memory["stats"].as_object().unwrap();
    assert!(parts["pgfault"].as_u64().unwrap() > 0);
    let caches = parts.get("total_inactive_file").unwrap_or(&parts["inactive_file"]);
    assert!(caches.as_u64().unwrap() < memory["usage"].as_u64().unwrap());
    assert_eq!(parts["pgfault"], inside("memory.stat", "pgfault "));
    assert_eq!(stats["pids_stats"]["limit"], 50);
    if let Some(each) = stats["cpu_stats"]["cpu_usage"].get("percpu_usage") {
        let sum: u64 = each.as_array().unwrap().iter().map(|it| it.as_u64().unwrap()).sum();
        assert!(sum > 0);
        assert!(memory["max_usage"].as_u64() >= memory["usage"].as_u64());
        assert_eq!(memory["failcnt"], inside("memory.failcnt", ""));
    }
    let network = &stats["networks"]["eth0"];
    assert_eq!(stats["networks"].as_object().unwrap().len(), 1, "{}", stats["networks"]);
    for (packets, bytes) in [("tx_packets", "tx_bytes"), ("rx_packets", "rx_bytes")] {
        let count = |name: &str| network[name].as_u64().unwrap();
        assert!(count(packets) > 0 && count(bytes) > 50 * count(packets), "{network}");
    }
    assert_eq!((&network["rx_dropped"], &network["tx_errors"]), (&json!(0), &json!(0)));
    docker.docker(["rm", "-f", "busy"]).ok();
}

#[test]
fn what_stands_still_can_be_ended() {
    if !needs(&[Need::Root]) {
        return;
    }
    let barge = Barge::new();
    let docker = DockerHost::with_busybox(&barge);
    for (name, method, path, status) in [
        ("killed", "POST", "/containers/killed/kill", "exited"),
        ("stopped", "POST", "/containers/stopped/stop?t=0", "exited"),
        ("restarted", "POST", "/containers/restarted/restart?t=0", "running"),
        ("removed", "DELETE", "/containers/removed?force=1", ""),
    ] {
        let name_flag = format!("--name={name}");
        let line = ["run", "-d", &name_flag, "--network=none", "busybox", "sleep", "1000"];
        docker.docker(line).ok();
        let pid = docker.get(&format!("/containers/{name}/json"))["State"]["Pid"].clone();
        docker.docker(["pause", name]).ok();
        let answer = docker.ask(method, path, "");
        assert_eq!(answer.status, 204, "{name}: {}", String::from_utf8_lossy(&answer.body));
        wait_until("its process is gone", || {
            !std::path::Path::new(&format!("/proc/{pid}")).exists()
        });
        match status {
            "" => assert_eq!(docker.ask("GET", "/containers/removed/json", "").status, 404),
            status => barge.await_status(name, status),
        }
    }
}

/// Several clients make a container anew of what they are shown of it.
#[test]
fn what_is_shown_can_be_asked_for() {
    let barge = Barge::new();
    let docker = DockerHost::with_busybox(&barge);
    let whole = json!({
        "Image": "busybox", "Cmd": ["sleep", "1000"], "Env": ["A=1"], "Labels": { "a": "b" },
        "ExposedPorts": { "80/tcp": {} }, "Hostname": "h", "User": "0", "WorkingDir": "/w",
        "Healthcheck": { "Test": ["CMD", "true"], "Interval": 1_000_000_000_000_u64, "Retries": 2 },
        "StopSignal": "SIGUSR1", "StopTimeout": 4, "Tty": true, "OpenStdin": true,
        "HostConfig": {
            "NetworkMode": "none", "Binds": ["data:/d", "/tmp:/t:ro"], "Tmpfs": { "/x": "size=1m" },
            "Mounts": [
                { "Type": "tmpfs", "Target": "/m", "TmpfsOptions": { "SizeBytes": 1_048_576 } },
                { "Type": "volume", "Source": "v2", "Target": "/v2", "VolumeOptions": { "NoCopy": true } },
                { "Type": "bind", "Source": "/tmp", "Target": "/b", "ReadOnly": true,
                  "BindOptions": { "Propagation": "rslave", "CreateMountpoint": true } },
            ],
            "CapAdd": ["NET_ADMIN"], "CapDrop": ["MKNOD"], "GroupAdd": ["5"], "OomScoreAdj": 5,
            "Ulimits": [{ "Name": "core", "Soft": 0, "Hard": 0 }], "ShmSize": 1_000_000, "Init": true,
            "RestartPolicy": { "Name": "on-failure", "MaximumRetryCount": 3 },
            "ExtraHosts": ["q:1.2.3.4"], "Dns": ["1.1.1.1"], "Sysctls": { "net.ipv4.ip_forward": "0" },
            "SecurityOpt": ["no-new-privileges"], "ReadonlyRootfs": true,
            "LogConfig": { "Type": "json-file", "Config": { "max-size": "1m" } },
        },
    });
    let least =
        json!({ "Image": "busybox", "Cmd": ["true"], "HostConfig": { "NetworkMode": "none" } });
    for (kind, body) in [("whole", whole), ("least", least)] {
        let make = |name: &str, body: &Value| {
            let path = format!("/containers/create?name={name}");
            let answer = docker.ask("POST", &path, &body.to_string());
            assert_eq!(answer.status, 201, "{name}: {}", String::from_utf8_lossy(&answer.body));
            docker.get(&format!("/containers/{name}/json"))
        };
        let one = make(&format!("{kind}-one"), &body);
        assert_eq!(one["HostConfig"]["Mounts"], body["HostConfig"]["Mounts"], "{kind}");
        let mut again = one["Config"].clone();
        again["HostConfig"] = one["HostConfig"].clone();
        let two = make(&format!("{kind}-two"), &again);
        assert_eq!(one["Config"], two["Config"], "{kind}");
        assert_eq!(one["HostConfig"], two["HostConfig"], "{kind}");
        let places = |of: &Value| -> Vec<(String, String)> {
            let text = |it: &Value| it.as_str().unwrap().to_owned();
            let mounts = of["Mounts"].as_array().unwrap().iter();
            let mut all: Vec<_> =
                mounts.map(|it| (text(&it["Destination"]), text(&it["Type"]))).collect();
            all.sort();
            all
        };
        assert_eq!(places(&one), places(&two), "{kind}");
        // Nothing of the first is in the second that was only its own.
        let id = one["Id"].as_str().unwrap();
        assert!(!two["Config"]["Env"].to_string().contains(&id[..12]), "{}", two["Config"]["Env"]);
    }
}

#[test]
fn nothing_is_taken_that_is_not_done() {
    let barge = Barge::new();
    let docker = DockerHost::with_busybox(&barge);
    for (host, status, word) in [
        (json!({ "StorageOpt": { "size": "1g" } }), 501, "size"),
        (json!({ "Runtime": "nosuch" }), 400, "nosuch"),
        (json!({ "Runtime": "runc" }), 201, ""),
        (json!({ "StorageOpt": {}, "Runtime": "" }), 201, ""),
    ] {
        let body = json!({ "Image": "busybox", "Cmd": ["true"], "HostConfig": host.clone() });
        let answer = docker.ask("POST", "/containers/create", &body.to_string());
        assert_eq!(answer.status, status, "{host}");
        if status > 299 {
            assert!(answer.message().contains(word), "{host}: {}", answer.message());
        }
    }
    let endpoint = json!({ "IPAMConfig": { "LinkLocalIPs": ["169.254.1.1"] } });
    let body = json!({
        "Image": "busybox",
        "Cmd": ["true"],
        "HostConfig": { "NetworkMode": "net" },
        "NetworkingConfig": { "EndpointsConfig": { "net": endpoint } },
    });
    docker.docker(["network", "create", "net"]).ok();
    let answer = docker.ask("POST", "/containers/create", &body.to_string());
    assert_eq!(answer.status, 501, "{}", answer.message());
}

#[test]
fn a_container_is_stopped_by_the_signal_that_is_asked_for() {
    let barge = Barge::new();
    let docker = DockerHost::with_busybox(&barge);
    let script = "trap 'exit 3' USR1; trap 'exit 4' TERM; echo up; while :; do sleep 0.1; done";
    let line = ["run", "-d", "--name=box", "--network=none", "busybox", "sh", "-c", script];
    docker.docker(line).ok();
    barge.await_log("box", "up");
    assert_eq!(docker.ask("POST", "/containers/box/stop?signal=USR1", "").status, 204);
    assert_eq!(docker.get("/containers/box/json")["State"]["ExitCode"], 3);
    assert_eq!(docker.ask("POST", "/containers/box/stop?signal=NOSUCH", "").status, 400);
}
