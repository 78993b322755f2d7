//! ps and inspect: what is shown of containers, and how they are found.

use std::collections::BTreeSet;

use super::support::{Barge, Need, needs, wait_until};

#[test]
fn sizes_are_those_of_changed_files() {
    let barge = Barge::with_busybox();
    let script = "head -c 1000000 /dev/zero >/big; echo up; exec sleep 1000";
    barge.start(["--name", "box", "busybox", "sh", "-c", script]);
    barge.await_log("box", "up");
    let lines = barge.run(["ps", "-s"]).ok().lines();
    assert!(lines[0].ends_with("SIZE"), "{lines:?}");
    assert!(lines[1].contains("1MB (virtual "), "{lines:?}");
    let size = barge.run(["ps", "--format", "{{.Size}}"]).ok().text();
    assert!(size.starts_with("1MB (virtual "), "{size}");
    let json = barge.run(["ps", "--size", "--format", "json"]).ok().json();
    let (own, all) = (&json[0]["Size"]["rwSize"], &json[0]["Size"]["rootFsSize"]);
    assert!((1_000_000..1_010_000).contains(&own.as_u64().unwrap()), "{json}");
    assert!(all.as_u64() > own.as_u64(), "{json}");
    let shown = barge.run(["inspect", "--size", "box"]).ok().json();
    assert_eq!((&shown[0]["SizeRw"], &shown[0]["SizeRootFs"]), (own, all));
    assert_eq!(barge.run(["inspect", "box"]).ok().json()[0]["SizeRw"], serde_json::Value::Null);
    barge.run(["ps", "-q", "-s"]).fails(125).error_has("quiet and size cannot be set together");
}

#[test]
fn ps_filters_by_ports() {
    let barge = Barge::with_busybox();
    let line = ["create", "--network", "none", "--expose", "81", "--name", "a", "busybox", "true"];
    barge.run(line).ok();
    barge.run(["create", "--network", "none", "--name", "b", "busybox", "true"]).ok();
    let names = |filter: &str| {
        barge.run(["ps", "-a", "--format", "{{.Names}}", "--filter", filter]).ok().text()
    };
    assert_eq!(names("expose=81"), "a");
    assert_eq!(names("expose=80-90/tcp"), "a");
    assert_eq!(names("expose=81/udp"), "");
    assert_eq!(names("publish=81"), "");
    assert_eq!(names("is-task=false"), "a\nb");
    barge.run(["ps", "--filter", "bogus=1"]).fails(125).error_has("bogus").hint_has("expose");
}

#[test]
fn ps_takes_the_flags_of_podman() {
    let barge = Barge::with_busybox();
    barge.start(["--name", "box", "busybox", "sleep", "1000"]);
    barge.run(["ps", "--sync", "--external", "--format", "{{.Names}}"]).ok().stdout("box\n");
    let lines = barge.run(["ps", "--ns"]).ok().lines();
    let words: Vec<&str> = lines[0].split_whitespace().collect();
    assert_eq!(words[2..5], ["NAMES", "PID", "CGROUPNS"]);
    let pid = barge.inspect("box", "{{.State.Pid}}");
    let net = barge.run(["ps", "--ns", "--format", "{{.Pid}} {{.NET}}"]).ok().text();
    assert!(net.starts_with(&format!("{pid} 40")), "{net}");
    barge.run(["ps", "--pod"]).ok().stdout_has("POD ID").stdout_has("PODNAME");
    barge.run(["ps", "-n", "1", "-l"]).fails(125).error_has("cannot be set together");
    let mut watching = barge.command(["ps", "--watch", "1", "--format", "{{.Names}}"]).spawn();
    watching.expect("box\nbox\n");
    watching.signal(rustix::process::Signal::TERM);
    watching.wait();
}

#[test]
fn ps_leaves_columns_out_on_narrow_terminals() {
    let barge = Barge::with_busybox();
    barge.start(["--name", "a-name-that-is-long", "busybox", "sleep", "1000"]);
    let mut terminal = barge.command(["ps"]).terminal();
    terminal.exits(0);
    let text = terminal.screen();
    assert!(text.lines().all(|line| line.trim_end().chars().count() <= 80), "{text}");
    for word in ["CONTAINER ID", "STATUS", "NAMES", "a-name-that-is-long"] {
        assert!(text.contains(word), "{text}");
    }
    // Nothing is left out where programs read it.
    barge.run(["ps"]).ok().stdout_has("PORTS").stdout_has("COMMAND");
}

#[test]
fn a_name_that_is_not_there_is_told_from_a_close_one() {
    let barge = Barge::with_busybox();
    barge.run(["create", "--network", "none", "--name", "webserver", "busybox", "true"]).ok();
    barge.run(["start", "webservr"]).fails(125).hint_has("did you mean `webserver`?");
    barge.run(["rm", "wbserver"]).fails(1).hint_has("did you mean `webserver`?");
    let output = barge.run(["stop", "something-else"]).fails(125);
    assert!(!output.errors().contains("did you mean"), "{}", output.errors());
}

#[test]
fn a_beginning_that_several_ids_have_lists_them() {
    let barge = Barge::with_busybox();
    let mut ids: Vec<String> = Vec::new();
    // Of seventeen IDs two begin with the same digit.
    let twins = loop {
        let line = ["create", "--network", "none", "busybox", "true"];
        let id = barge.run(line).ok().text();
        if let Some(other) = ids.iter().find(|other| other[..1] == id[..1]) {
            break [other.clone(), id];
        }
        ids.push(id);
    };
    let digit = &twins[0][..1];
    let output = barge.run(["inspect", "--type", "container", digit]).exits(125);
    let errors = output.errors();
    assert!(errors.contains(&twins[0][..12]) && errors.contains(&twins[1][..12]), "{errors}");
    for id in &twins {
        let name = barge.inspect(id, "{{.Name}}");
        assert!(errors.contains(&format!("{} ({name})", &id[..12])), "{errors}");
        let (first, second) = name.split_once('_').expect("names have two words");
        assert!(!first.is_empty() && !second.is_empty());
    }
    barge.run(["rm", digit]).fails(2).error_has("more than one container");
}

#[test]
fn inspect_has_the_fields_that_scripts_ask_for() {
    let barge = Barge::with_busybox();
    let id = barge.start(["--name", "box", "--label", "a=1", "busybox", "sleep", "1000"]);
    let document = &barge.run(["inspect", "box"]).ok().json()[0];
    let has = |place: &serde_json::Value, fields: &str| {
        let there: BTreeSet<&str> = place.as_object().unwrap().keys().map(String::as_str).collect();
        let missing: Vec<&str> =
            fields.split_whitespace().filter(|it| !there.contains(it)).collect();
        assert!(missing.is_empty(), "{missing:?} are not among {there:?}");
    };
    has(
        document,
        "Id Created Path Args State Image ResolvConfPath HostnamePath HostsPath LogPath Name \
         RestartCount Driver Platform MountLabel ProcessLabel AppArmorProfile ExecIDs HostConfig \
         GraphDriver Mounts Config NetworkSettings ImageName ImageDigest Pod OCIRuntime \
         BoundingCaps EffectiveCaps Dependencies IsInfra StaticDir",
    );
    has(
        &document["State"],
        "Status Running Paused Restarting OOMKilled Dead Pid ExitCode Error StartedAt FinishedAt \
         ConmonPid OciVersion CgroupPath StoppedByUser",
    );
    has(
        &document["HostConfig"],
        "Binds ContainerIDFile LogConfig NetworkMode PortBindings RestartPolicy AutoRemove \
         VolumeDriver VolumesFrom ConsoleSize Annotations CapAdd CapDrop CgroupnsMode Dns \
         DnsOptions DnsSearch ExtraHosts GroupAdd IpcMode Cgroup Links OomScoreAdj PidMode \
         Privileged PublishAllPorts ReadonlyRootfs SecurityOpt UTSMode UsernsMode ShmSize Runtime \
         Isolation CpuShares Memory NanoCpus CgroupParent BlkioWeight BlkioWeightDevice \
         BlkioDeviceReadBps BlkioDeviceWriteBps BlkioDeviceReadIOps BlkioDeviceWriteIOps \
         CpuPeriod CpuQuota CpuRealtimePeriod CpuRealtimeRuntime CpusetCpus CpusetMems Devices \
         DeviceCgroupRules DeviceRequests MemoryReservation MemorySwap MemorySwappiness \
         OomKillDisable PidsLimit Ulimits CpuCount CpuPercent IOMaximumIOps IOMaximumBandwidth \
         MaskedPaths ReadonlyPaths",
    );
    has(
        &document["Config"],
        "Hostname Domainname User AttachStdin AttachStdout AttachStderr Tty OpenStdin StdinOnce \
         Env Cmd Image Volumes WorkingDir Entrypoint OnBuild Labels StopSignal StopTimeout",
    );
    has(
        &document["NetworkSettings"],
        "Bridge SandboxID SandboxKey Ports HairpinMode LinkLocalIPv6Address \
         LinkLocalIPv6PrefixLen SecondaryIPAddresses SecondaryIPv6Addresses EndpointID Gateway \
         GlobalIPv6Address GlobalIPv6PrefixLen IPAddress IPPrefixLen IPv6Gateway MacAddress Networks",
    );
    assert_eq!(document["Id"], id);
    let capabilities = document["EffectiveCaps"].as_array().unwrap();
    assert!(capabilities.contains(&"CAP_CHOWN".into()), "{capabilities:?}");
    assert_eq!(barge.inspect("box", "{{json .HostConfig.ConsoleSize}}"), "[0,0]");
    barge
        .run(["inspect", "-f", "{{.State.Bogus}}", "box"])
        .fails(125)
        .hint_has("there are Status, Running");
    barge.run(["inspect", "-l", "-f", "{{.Name}}"]).ok().stdout("box\n");
    wait_until("its monitor lives", || {
        let pid = barge.inspect("box", "{{.State.ConmonPid}}");
        let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&words).contains("barge: monitor")
    });
}

#[test]
fn inspect_tells_what_was_asked_for() {
    let barge = Barge::with_busybox();
    let pidfile = barge.path_text("monitor.pid");
    barge.run(["create", "--name=first", "--network=none", "busybox", "true"]).ok();
    let line = [
        "create",
        "--name=box",
        "--network=container:first",
        "--timeout=100",
        "--passwd=false",
        "--hosts-file=none",
        "--cgroup-parent=/above",
        "--conmon-pidfile",
        &pidfile,
        "--health-cmd=true",
        "--health-startup-cmd=test -e /up",
        "--health-startup-success=2",
        "--log-opt=max-size=1m",
        "busybox",
        "true",
    ];
    barge.run(line).ok();
    let document = &barge.run(["inspect", "box"]).ok().json()[0];
    let first = barge.inspect("first", "{{.Id}}");
    assert_eq!(document["Dependencies"], serde_json::json!([first]));
    assert_eq!(document["ConmonPidFile"], pidfile);
    assert_eq!(document["HostConfig"]["CgroupParent"], "/above");
    assert_eq!(document["HostConfig"]["Cgroups"], "default");
    assert_eq!(document["HostConfig"]["HostsFile"], "none");
    assert_eq!(document["HostConfig"]["LogConfig"]["Path"], document["LogPath"]);
    assert_eq!(document["Config"]["Timeout"], 100);
    assert_eq!(document["Config"]["Passwd"], false);
    let startup = &document["Config"]["StartupHealthCheck"];
    assert_eq!(startup["Test"], serde_json::json!(["CMD-SHELL", "test -e /up"]));
    assert_eq!(startup["Successes"], 2);
    let rules = |name: &str| barge.inspect(name, "{{json .HostConfig.DeviceCgroupRules}}");
    assert_eq!(rules("first"), "null");
    if needs(&[Need::Root]) {
        let line = ["create", "--name=own", "--network=none", "--device-cgroup-rule=c 1:3 r"];
        let line = [&line[..], &["--uidmap=0:1000:100", "busybox", "true"]].concat();
        barge.run(line).ok();
        assert_eq!(rules("own"), "[\"c 1:3 r\"]");
        let uids = barge.inspect("own", "{{json .HostConfig.IDMappings.UidMap}}");
        assert_eq!(uids, "[\"0:1000:100\"]");
    }
}

#[test]
fn names_are_made_up_until_one_is_free() {
    if !needs(&[Need::Root]) {
        return;
    }
    let barge = Barge::with_busybox();
    let line = ["create", "--network", "none", "busybox", "true"];
    let id = barge.run(line).ok().text();
    // All names of two words are in use by this one.
    let names = barge.root().join("names");
    let first = barge.inspect(&id, "{{.Name}}");
    let source = include_str!("../../src/spec/name.rs");
    let list = |name: &str| -> Vec<&str> {
        let rest = source.split(&format!("const {name}:")).nth(1).unwrap();
        let rest = rest.split("= [").nth(1).unwrap().split("];").next().unwrap();
        rest.split('"').skip(1).step_by(2).collect()
    };
    for adjective in list("ADJECTIVES") {
        for surname in list("SURNAMES") {
            let name = format!("{adjective}_{surname}");
            if name != first {
                std::os::unix::fs::symlink(&id, names.join(name)).unwrap();
            }
        }
    }
    // As somebody does who is about to rename it.
    let lock = barge.root().join("containers").join(&id).join("lock");
    let lock = std::fs::File::options().write(true).open(lock).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let other = barge.run(line).ok().text();
    drop(lock);
    let name = barge.inspect(&other, "{{.Name}}");
    assert!(name.ends_with(|last: char| last.is_ascii_digit()), "{name}");
    for entry in std::fs::read_dir(&names).unwrap() {
        let path = entry.unwrap().path();
        if !path.ends_with(&name) && !path.ends_with(&first) {
            std::fs::remove_file(path).unwrap();
        }
    }
}

#[test]
fn names_and_ids_are_found_by_regular_expressions() {
    let barge = Barge::with_busybox();
    let ids: Vec<String> = ["web1", "web2", "db"]
        .iter()
        .map(|name| {
            let line = ["create", "--network", "none", "--name", *name, "busybox", "true"];
            barge.run(line).ok().text()
        })
        .collect();
    let names = |filters: &[&str]| {
        let mut line = vec!["ps", "-a", "--sort", "names", "--format", "{{.Names}}"];
        line.extend(filters.iter().flat_map(|filter| ["--filter", *filter]));
        barge.run(line).ok().lines().join(" ")
    };
    let pattern = format!("id=^{}.*$", &ids[2][..10]);
    for (filters, want) in [
        (&["name=^web[12]$"][..], "web1 web2"),
        (&["name=^/web1$"], "web1"),
        (&["name=eb.$", "name=^d"], "db web1 web2"),
        (&["name!=^web"], "db"),
        (&["name=w.*3"], ""),
        (&[pattern.as_str()], "db"),
        (&["id=x"], ""),
    ] {
        assert_eq!(names(filters), want, "{filters:?}");
    }
    let prefix = format!("id={}", ids[0][..12].to_ascii_uppercase());
    assert_eq!(names(&[&prefix]), "web1");
    barge.run(["ps", "--filter", "name=("]).fails(125).error_has("invalid filter \"name=(\"");
}
