//! What needs control groups of version 2 alone and systemd: limits, units and their properties,
//! delegation to a user, the freezer, the end by lack of memory. In a machine of its own.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::support::bundle::Bundle;
use super::support::{Barge, Need, fixture, machine, needs, tool};

/// What both kinds of groups are to have.
fn limits() -> Value {
    json!({
        "memory": {"limit": 64 << 20, "swap": 96 << 20, "reservation": 32 << 20},
        "cpu": {"shares": 512, "quota": 25_000, "period": 100_000},
        "pids": {"limit": 33},
        "unified": {"memory.high": "50003968"},
        // The machine's own disk.
        "blockIO": {"throttleWriteBpsDevice": [{"major": 98, "minor": 0, "rate": 1 << 20}]},
    })
}

#[test]
fn version_2_alone_and_systemd_limit_what_they_are_asked_to() {
    if !needs(&[Need::Root, Need::Debian]) || cfg!(not(target_arch = "x86_64")) {
        return;
    }
    let barge = Barge::new();
    let bundle = Bundle::new(&barge);
    let files = barge.path("files");
    fs::create_dir_all(files.join("rootfs")).unwrap();
    let (root, busybox) = (files.join("rootfs"), fixture::busybox());
    tool("tar", ["-C", &root.to_string_lossy(), "-xf", &busybox.to_string_lossy()]);
    fs::copy(busybox, files.join("busybox.tar")).unwrap();
    fs::copy(barge.program(), files.join("barge")).unwrap();
    let scripts = [
        ("all.sh", include_str!("../machine/all.sh")),
        ("root.sh", include_str!("../machine/root.sh")),
        ("user.sh", include_str!("../machine/user.sh")),
    ];
    fs::create_dir_all(root.join("tmp")).unwrap();
    for (name, text) in scripts {
        fs::write(files.join(name), text).unwrap();
    }
    let put = |name: &str, script: &str, path: &str, more: Value| {
        bundle.edit(|config| {
            config["root"]["path"] = json!("/t/rootfs");
            config["process"]["args"] = json!(["sh", "-c", script]);
            config["linux"]["cgroupsPath"] = json!(path);
            config["hooks"] = json!({});
            for (key, value) in more.as_object().unwrap() {
                config[key] = match key.as_str() {
                    "linux" => merged(&config["linux"], value),
                    _ => value.clone(),
                };
            }
        });
        fs::create_dir(files.join(name)).unwrap();
        let config = Path::new(bundle.path()).join("config.json");
        fs::copy(config, files.join(name).join("config.json")).unwrap();
    };
    let sleep = "sleep 1000";
    let hook = json!({"hooks": {"createRuntime": [{"path": "/bin/false"}]}});
    put("c-hook", sleep, "system.slice:barge:hook", hook);
    let limited = json!({"linux": {"resources": limits()}});
    put("c-systemd", sleep, "system.slice:barge:one", limited.clone());
    put("c-plain", sleep, "/barge/two", limited.clone());
    let little = json!({"linux": {"resources": {"memory": {"limit": 16 << 20}}}});
    put(
        "c-oom",
        "until [ -e /tmp/now ]; do sleep 0.1; done; tail /dev/zero; sleep 1000",
        "/barge/oom",
        little,
    );
    fs::remove_file(Path::new(bundle.path()).join("config.json")).unwrap();
    bundle.run(["spec", "--rootless", "--bundle", bundle.path()]).ok();
    let map = json!([{"containerID": 0, "hostID": 1000, "size": 1}]);
    bundle.edit(|config| config["process"]["terminal"] = json!(false));
    let mapped = json!({"linux": {"uidMappings": map, "gidMappings": map, "resources": limits()}});
    put("c-user", sleep, "user.slice:barge:user", mapped);

    let told = machine::run(&barge, &files);
    let want = include_str!("../machine/seen");
    let got: Vec<&str> = told.lines().filter(|line| !line.is_empty()).collect();
    let want: Vec<&str> = want.lines().collect();
    assert_eq!(got, want, "{told}");
}

#[test]
fn other_kernels_share_interfaces_tag_packets_and_limit_volumes() {
    if !needs(&[Need::Root, Need::Debian, Need::Tool("mkfs.xfs")])
        || cfg!(not(target_arch = "x86_64"))
    {
        return;
    }
    let barge = Barge::new();
    let files = barge.path("files");
    fs::create_dir(&files).unwrap();
    fs::copy(fixture::busybox(), files.join("busybox.tar")).unwrap();
    fs::copy(barge.program(), files.join("barge")).unwrap();
    let told = machine::plain(&barge, &files, include_str!("../machine/plain.sh"));
    let want: Vec<&str> = include_str!("../machine/seen-plain").lines().collect();
    assert_eq!(told.lines().collect::<Vec<_>>(), want, "{told}");
}

/// Replaces parts of an object.
fn merged(whole: &Value, parts: &Value) -> Value {
    let mut whole = whole.clone();
    for (key, value) in parts.as_object().unwrap() {
        whole[key] = value.clone();
    }
    whole
}
