//! Namespaces: made, joined, shared with the host; what is set in them.

use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use super::super::support::{tool, wait_until};
use super::{Case, Stage, can, case};

fn linux(name: impl Into<String>, change: Value) -> Case {
    case(name, json!({ "linux": change }))
}

/// A case with these namespaces alone.
fn with(name: impl Into<String>, kinds: &[&str]) -> Case {
    let all: Vec<Value> = kinds.iter().map(|kind| json!({ "type": kind })).collect();
    let mut change = json!({"linux": {"namespaces": all}});
    if !kinds.contains(&"uts") {
        change["hostname"] = Value::Null;
    }
    case(name, change)
}

const ALL: [&str; 5] = ["pid", "network", "ipc", "uts", "mount"];

#[test]
fn made_or_shared() {
    if !can() {
        return;
    }
    let mut cases = Vec::new();
    for (kind, name) in [("pid", "pid"), ("network", "net"), ("ipc", "ipc"), ("uts", "uts")] {
        let without: Vec<&str> = ALL.into_iter().filter(|other| *other != kind).collect();
        let place = format!("/namespaces/{name}");
        cases.push(with(format!("own {kind}"), &ALL).unlike_host(&place));
        let mut shared = with(format!("{kind} of the host"), &without).like_host(&place);
        if kind == "network" {
            // sysfs shows what the network namespace has; without it, it is the host's.
            super::merge(&mut shared.change, &json!({"linux": {"readonlyPaths": ["/sys"]}}));
        }
        cases.push(shared);
    }
    cases.extend([
        with("own mounts", &ALL).unlike_host("/namespaces/mnt"),
        with("own control groups", &[&ALL[..], &["cgroup"]].concat())
            .unlike_host("/namespaces/cgroup"),
        with("control groups of the host", &ALL).like_host("/namespaces/cgroup"),
        with("users of the host", &ALL).like_host("/namespaces/user"),
        with("clocks of the host", &ALL).like_host("/namespaces/time"),
        with("own clocks", &[&ALL[..], &["time"]].concat())
            .without_peer()
            .unlike_host("/namespaces/time")
            .sees("/clocks", "monotonic 0 0 boottime 0 0"),
        with("a kind twice", &["pid", "mount", "ipc", "ipc"]).fails("two namespaces"),
        with("no such kind", &["pid", "mount", "nothing"]).fails("nothing"),
        case("host name", json!({"hostname": "other"})).sees("/hostname", "other"),
        case("domain name", json!({"domainname": "example.org"}))
            .without_peer()
            .sees("/domainname", "example.org"),
        case(
            "host name of the host",
            json!({"linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}]}}),
        )
        .fails("UTS namespace"),
    ]);
    Stage::new().all("namespaces", cases);
}

#[test]
fn clocks() {
    if !can() {
        return;
    }
    let offset = |name: &str, offsets: Value| {
        linux(name, json!({"namespaces+": [{"type": "time"}], "timeOffsets": offsets}))
            .without_peer()
    };
    let cases = vec![
        offset("both", json!({"monotonic": {"secs": 86400}, "boottime": {"secs": 172800}}))
            .sees("/clocks", "monotonic 86400 0 boottime 172800 0"),
        offset("with nanoseconds", json!({"boottime": {"secs": 10, "nanosecs": 500}}))
            .sees("/clocks", "monotonic 0 0 boottime 10 500"),
        offset("a bit earlier", json!({"monotonic": {"secs": -5}}))
            .sees("/clocks", "monotonic -5 0 boottime 0 0"),
        offset("before it began", json!({"boottime": {"secs": -1000000000}})).fails("clocks"),
        offset("a clock that has none", json!({"realtime": {"secs": 1}})).fails("no clock"),
        offset("too many nanoseconds", json!({"boottime": {"nanosecs": 1000000000}}))
            .fails("nanoseconds"),
        linux("of the host", json!({"timeOffsets": {"boottime": {"secs": 1}}}))
            .without_peer()
            .fails("time namespace"),
    ];
    Stage::new().all("clocks", cases);
}

/// A process with namespaces of its own that can be joined.
struct Donor(Child);

impl Donor {
    fn new() -> Self {
        let flags = ["--net", "--ipc", "--uts", "--cgroup", "--time", "--boottime=1000", "--fork"];
        let flags = [&flags[..], &["--pid", "--kill-child", "sleep", "1000"]].concat();
        let child = Command::new("unshare").args(flags).stdin(Stdio::null()).spawn().unwrap();
        let donor = Self(child);
        wait_until("there is a process in it", || donor.inner().is_some());
        donor
    }

    /// The process inside.
    fn inner(&self) -> Option<u32> {
        let pid = self.0.id();
        let path = format!("/proc/{pid}/task/{pid}/children");
        let child = std::fs::read_to_string(path).ok()?.trim().parse().ok()?;
        // It has called exec: everything is as it will be.
        std::fs::read_to_string(format!("/proc/{child}/comm"))
            .ok()?
            .contains("sleep")
            .then_some(child)
    }

    fn path(&self, kind: &str) -> String {
        format!("/proc/{}/ns/{kind}", self.inner().unwrap())
    }

    fn link(&self, kind: &str) -> String {
        std::fs::read_link(self.path(kind)).unwrap().to_string_lossy().into_owned()
    }
}

impl Drop for Donor {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn joined() {
    if !can() {
        return;
    }
    let donor = Donor::new();
    let names = [("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("pid", "pid")];
    let joining = |kinds: &[(&str, &str)]| {
        let mut all: Vec<Value> = ALL.iter().map(|kind| json!({ "type": kind })).collect();
        all.retain(|it| !kinds.iter().any(|(kind, _)| it["type"] == *kind));
        all.extend(
            kinds.iter().map(|(kind, name)| json!({"type": kind, "path": donor.path(name)})),
        );
        let mut change = json!({"linux": {"namespaces": all}});
        if kinds.iter().any(|(kind, _)| *kind == "uts") {
            change["hostname"] = Value::Null;
        }
        change
    };
    let mut cases: Vec<Case> = names
        .iter()
        .map(|(kind, name)| {
            case(format!("joined {kind}"), joining(&[(kind, name)]))
                .sees(&format!("/namespaces/{name}"), donor.link(name))
        })
        .collect();
    let mut several = case("several", joining(&names));
    for (_, name) in names {
        several = several.sees(&format!("/namespaces/{name}"), donor.link(name));
    }
    cases.extend([
        several,
        case("joined cgroup", joining(&[("cgroup", "cgroup")]))
            .sees("/namespaces/cgroup", donor.link("cgroup")),
        case("joined time", joining(&[("time", "time")]))
            .without_peer()
            .sees("/namespaces/time", donor.link("time"))
            .sees("/clocks", "monotonic 0 0 boottime 1000 0"),
        case(
            "a path that leads nowhere",
            json!({"linux": {"namespaces+": [{"type": "cgroup", "path": "/none"}]}}),
        )
        .fails("/none"),
        case(
            "a path to another kind",
            json!({"linux": {"namespaces+": [{"type": "cgroup", "path": donor.path("net")}]}}),
        )
        .fails("namespace"),
        case("what is no namespace", {
            json!({"linux": {"namespaces+": [{"type": "cgroup", "path": "/etc/passwd"}]}})
        })
        .fails("namespace"),
    ]);
    Stage::new().all("joined", cases);
}

#[test]
fn users() {
    if !can() {
        return;
    }
    let map = |inside: u32, outside: u32, size: u32| json!({"containerID": inside, "hostID": outside, "size": size});
    let users = |name: &str, uids: Value, gids: Value| {
        linux(
            name,
            json!({"namespaces+": [{"type": "user"}], "uidMappings": uids, "gidMappings": gids}),
        )
    };
    let range = || json!([map(0, 100_000, 65536)]);
    let cases = vec![
        users("a range", range(), range())
            .unlike_host("/namespaces/user")
            .sees("/uid_map", "0 100000 65536")
            .sees("/gid_map", "0 100000 65536")
            .sees("/uid", "0 0 0 0"),
        users("two ranges", json!([map(0, 100_000, 10), map(10, 200_000, 10)]), range())
            .sees("/uid_map", "0 100000 10 10 200000 10"),
        users("files are nobody's", range(), range())
            .asks(&["stat:/etc/file"])
            .sees("/0/uid", 65534),
        users("the host's root", json!([map(0, 0, 65536)]), json!([map(0, 0, 65536)]))
            .asks(&["stat:/etc/file"])
            .sees("/0/uid", 0),
        users("devices are bound", range(), range())
            .asks(&["stat:/dev/null", "write:/dev/null=x", "open:/dev/zero"])
            .sees("/0/kind", "character")
            .sees("/1", "ok")
            .sees("/2", "ok"),
        users("no power over the host", range(), range())
            .asks(&["write:/proc/sys/kernel/core_pattern=x", "call:170:@other,5"])
            .sees("/0", "EACCES"),
        linux("mappings of no use", json!({"uidMappings": range()})).like_host("/namespaces/user"),
        linux("a namespace without mappings", json!({"namespaces+": [{"type": "user"}]}))
            .fails("mapping"),
    ];
    let stage = Stage::new();
    // Everybody must find the way to the files.
    tool("chmod", ["-R", "a+rX", &stage.barge.path_text("rootfs")]);
    stage.all("users", cases);
}

#[test]
fn kernel_parameters() {
    if !can() {
        return;
    }
    let set = |name: &str, value: &str| {
        linux(format!("{name}={value}"), json!({"sysctl": {name: value}}))
    };
    let read = |name: &str, value: &str| {
        let path = format!("read:/proc/sys/{}", name.replace('.', "/"));
        set(name, value).asks(&[&path]).sees("/0", value)
    };
    let cases = vec![
        read("net.ipv4.ip_forward", "1"),
        read("net.ipv4.ip_unprivileged_port_start", "80"),
        read("net.core.somaxconn", "77"),
        read("kernel.shmmax", "65536"),
        read("kernel.msgmax", "4096"),
        read("fs.mqueue.msg_max", "7"),
        read("kernel.shm_rmid_forced", "1"),
        set("net/ipv4/ip_forward", "1")
            .asks(&["read:/proc/sys/net/ipv4/ip_forward"])
            .sees("/0", "1"),
        set("kernel.domainname", "example").sees("/domainname", "example"),
        set("kernel.panic", "1").fails("kernel.panic"),
        set("kernel.core_pattern", "|/x").fails("kernel.core_pattern"),
        set("vm.swappiness", "1").fails("vm.swappiness"),
        set("fs.file-max", "1000").fails("fs.file-max"),
        set("net/../kernel/core_pattern", "|/x").fails("core_pattern"),
        set("net.ipv4.no_such_thing", "1").fails("no_such_thing"),
        linux(
            "of the network of the host",
            json!({
                "sysctl": {"net.ipv4.ip_forward": "1"},
                "namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "uts"}],
            }),
        )
        .fails("net.ipv4.ip_forward"),
        linux(
            "of the network of the host, joined",
            json!({
                "sysctl": {"net.ipv4.ip_forward": "1"},
                "namespaces": [
                    {"type": "pid"}, {"type": "mount"}, {"type": "uts"},
                    {"type": "network", "path": "/proc/self/ns/net"},
                ],
            }),
        )
        .fails("net.ipv4.ip_forward"),
    ];
    Stage::new().all("parameters", cases);
}

#[test]
fn interfaces() {
    if !can() {
        return;
    }
    let stage = Stage::new();
    let ip = |line: &str| {
        stage.barge.other_command("ip", line.split(' ')).run().ok();
    };
    let pair = |name: &str| {
        ip(&format!(
            "link add {name} address 02:00:00:00:00:07 mtu 1400 type veth peer name {name}p"
        ));
        ip(&format!("addr add 192.0.2.7/24 dev {name}"));
        ip(&format!("addr add 2001:db8::7/64 dev {name} nodad"));
    };
    let moved =
        |name: &str, change: Value| linux(name, json!({ "netDevices": change })).without_peer();
    for name in ["bt-a", "bt-b", "bt-c"] {
        pair(name);
    }
    let net = |name: &str, file: &str| format!("read:/sys/class/net/{name}/{file}");
    let cases = vec![
        moved("moved", json!({"bt-a": {}}))
            .asks(&[
                &net("bt-a", "address"),
                &net("bt-a", "mtu"),
                &net("bt-a", "flags"),
                "read:/proc/net/fib_trie",
                "read:/proc/net/if_inet6",
            ])
            .sees("/0", "02:00:00:00:00:07")
            .sees("/1", "1400")
            .has("/2", "3")
            .has("/3", "192.0.2.7")
            .has("/4", "20010db8000000000000000000000007"),
        moved("renamed", json!({"bt-b": {"name": "eth0"}}))
            .asks(&[&net("eth0", "address"), "read:/proc/net/fib_trie"])
            .sees("/0", "02:00:00:00:00:07")
            .has("/1", "192.0.2.7"),
        moved("numbered", json!({"bt-c": {"name": "ctr%d"}}))
            .asks(&[&net("ctr0", "mtu"), "read:/proc/net/fib_trie"])
            .sees("/0", "1400")
            .has("/1", "192.0.2.7"),
        moved("none of that name", json!({"bt-none": {}})).fails("no such interface"),
        moved("a name that is taken", json!({"bt-ap": {"name": "lo"}})).fails("interface"),
        moved("a name that is none", json!({"bt-ap": {"name": "a/b"}})).fails("no name"),
    ];
    stage.all("interfaces", cases);
}
