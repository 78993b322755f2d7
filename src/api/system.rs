//! Endpoints of the service itself.

use hyper::StatusCode;
use serde_json::{Value, json};

use super::model::event;
use super::reply::{Head, JSON, Reply};
use super::request::{Call, write_line};
use super::route::{How, Route, route};
use super::version::{NEWEST, OLDEST};
use crate::engine::{self, Engine, EventOptions, now, runtime};
use crate::error::{Context, Result};
use crate::spec::cidr::Cidr;
use crate::spec::time;
use crate::store::events::Event;

pub(super) const ROUTES: &[Route] = &[
    route("GET", "/_ping", How::Here(ping)),
    route("HEAD", "/_ping", How::Here(ping)),
    route("GET", "/version", How::Look(version)),
    route("GET", "/info", How::Look(info)),
    route("GET", "/events", How::Work(events)),
];

/// `GET /_ping`: says that somebody is there, and in the header fields what that is.
fn ping() -> Reply {
    Reply::new(StatusCode::OK, "text/plain; charset=utf-8", b"OK".to_vec())
        // The one that clients are to use.
        .with("builder-version", "2")
        .with("cache-control", "no-cache, no-store, must-revalidate")
        .with("pragma", "no-cache")
        .with("swarm", "inactive")
}

/// `GET /version`.
fn version(engine: &Engine, _: &mut Call) -> Result<Reply> {
    let info = engine.info()?;
    let version = env!("CARGO_PKG_VERSION");
    let details = json!({
        "ApiVersion": NEWEST.to_string(),
        "Arch": info.architecture,
        "Experimental": "false",
        "KernelVersion": info.kernel,
        "MinAPIVersion": OLDEST.to_string(),
        "Os": "linux",
    });
    Ok(Reply::json(&json!({
        "Platform": { "Name": "barge" },
        "Components": [{ "Name": "Engine", "Version": version, "Details": details }],
        "Version": version,
        "ApiVersion": NEWEST.to_string(),
        "MinAPIVersion": OLDEST.to_string(),
        "GitCommit": "",
        "GoVersion": "",
        "Os": "linux",
        "Arch": info.architecture,
        "KernelVersion": info.kernel,
        "BuildTime": "",
    })))
}

/// `GET /events`.
fn events(engine: &Engine, call: &mut Call) -> Result<Reply> {
    let now = now();
    let at = |name: &str| call.query.get(name).map(|text| time::parse(text, now)).transpose();
    let options = EventOptions {
        filters: call.query.filters()?,
        since: at("since")?,
        until: at("until")?,
        follow: true,
    };
    let minor = call.version.minor;
    let kind = events_kind(call.field("accept").unwrap_or_default(), minor);
    let call = std::cell::RefCell::new(call);
    // What is wrong with the filters is told before anything is sent.
    let begun = |call: &mut Call| match call.has_begun() {
        true => Ok(()),
        false => call.stream(Head::new(StatusCode::OK, kind)).map(drop),
    };
    engine.events(
        &options,
        &mut |event: &Event| {
            let mut call = call.borrow_mut();
            begun(&mut call)?;
            if kind == SEQUENCE {
                call.answer().write_all(b"\x1e").context(|| "cannot write to the client")?;
            }
            write_line(call.answer(), &event::docker(event, minor))
        },
        &mut || begun(&mut call.borrow_mut()),
    )?;
    Ok(Reply::streamed())
}

/// The first minor version in which it is said what the runtime can do, what the firewall is made with, and
/// which devices there are by name.
const FEATURES: u16 = 44;
const FIREWALL: u16 = 49;
const DEVICES: u16 = 50;

/// What the features of a runtime are called, as it tells them itself.
const RUNTIME_FEATURES: &str = "org.opencontainers.runtime-spec.features";

/// Documents, each behind a mark of its own (RFC 7464).
const SEQUENCE: &str = "application/json-seq";

/// Chooses the type of a stream of events, of those that the client takes.
fn events_kind(accepted: &str, minor: u16) -> &'static str {
    const KINDS: [(&str, u16); 3] =
        [("application/jsonl", 53), ("application/x-ndjson", 52), (SEQUENCE, 52)];
    let mut wanted = accepted.split(',').map(|it| it.split(';').next().unwrap_or_default().trim());
    wanted
        .find_map(|wanted| match wanted {
            JSON => Some(JSON),
            _ => {
                KINDS.iter().find(|(kind, since)| *kind == wanted && minor >= *since).map(|it| it.0)
            }
        })
        .unwrap_or(JSON)
}

/// `GET /info`.
fn info(engine: &Engine, call: &mut Call) -> Result<Reply> {
    let info = engine.info()?;
    let store = engine.store();
    let host = engine.host();
    let containers = &info.containers;
    let (_, release) = &info.distribution;
    let mut security = vec!["name=seccomp,profile=builtin".to_owned()];
    if host.rootless {
        security.push("name=rootless".to_owned());
    }
    if info.cgroup_version == 2 {
        security.push("name=cgroupns".to_owned());
    }
    let has = |controller: &str| info.controllers.iter().any(|it| it == controller);
    let mut document = json!({
        "ID": info.hostname,
        "Containers": containers.running + containers.paused + containers.stopped,
        "ContainersRunning": containers.running,
        "ContainersPaused": containers.paused,
        "ContainersStopped": containers.stopped,
        "Images": info.images,
        "Driver": store.driver().as_str(),
        "DriverStatus": [["Backing Filesystem", info.file_system], ["Supports d_type", "true"]],
        "DockerRootDir": store.root().display().to_string(),
        "Plugins": {
            "Volume": ["local"],
            "Network": ["bridge", "host", "ipvlan", "macvlan", "null"],
            "Authorization": null,
            "Log": ["json-file", "k8s-file", "local", "journald", "none"],
        },
        "MemoryLimit": has("memory"),
        "SwapLimit": has("memory"),
        "CpuCfsPeriod": has("cpu"),
        "CpuCfsQuota": has("cpu"),
        "CPUShares": has("cpu"),
        "CPUSet": has("cpuset"),
        "PidsLimit": has("pids"),
        "OomKillDisable": info.cgroup_version == 1,
        "IPv4Forwarding": true,
        "Debug": false,
        "NFd": 0,
        "NGoroutines": 0,
        "SystemTime": time::rfc3339(now()),
        "LoggingDriver": "k8s-file",
        "CgroupDriver": "cgroupfs",
        "CgroupVersion": info.cgroup_version.to_string(),
        "NEventsListener": 0,
    });
    let rest = json!({
        "KernelVersion": info.kernel,
        "OperatingSystem": info.system_name,
        "OSVersion": release,
        "OSType": "linux",
        "Architecture": std::env::consts::ARCH,
        "NCPU": info.processors,
        "MemTotal": info.memory.0,
        "IndexServerAddress": "https://index.docker.io/v1/",
        "RegistryConfig": {
            "InsecureRegistryCIDRs": ["127.0.0.0/8", "::1/128"],
            "IndexConfigs": {
                "docker.io": { "Name": "docker.io", "Mirrors": [], "Secure": true, "Official": true },
            },
            "Mirrors": [],
        },
        "GenericResources": null,
        "HttpProxy": "",
        "HttpsProxy": "",
        "NoProxy": "",
        "Name": info.hostname,
        "Labels": [],
        "ExperimentalBuild": false,
        "ServerVersion": env!("CARGO_PKG_VERSION"),
        "Runtimes": { "barge": { "path": host.executable.display().to_string() } },
        "DefaultRuntime": "barge",
        "Swarm": {
            "NodeID": "",
            "NodeAddr": "",
            "LocalNodeState": "inactive",
            "ControlAvailable": false,
            "Error": "",
            "RemoteManagers": null,
        },
        "LiveRestoreEnabled": true,
        "Isolation": "",
        "InitBinary": "barge",
        "ContainerdCommit": { "ID": "" },
        "RuncCommit": { "ID": "" },
        "InitCommit": { "ID": "" },
        "SecurityOptions": security,
        "CDISpecDirs": ["/etc/cdi", "/var/run/cdi"],
        "Warnings": null,
    });
    if let (Value::Object(document), Value::Object(rest)) = (&mut document, rest) {
        document.extend(rest);
    }
    let minor = call.version.minor;
    let defaults = engine::defaults(&[])?;
    if let Some(pools) = &defaults.network.pools {
        let pool = |(base, size): (Cidr, u8)| json!({ "Base": base.network(), "Size": size });
        document["DefaultAddressPools"] = pools.iter().map(|it| pool(it.parts())).collect();
    }
    let own = defaults.cdi_directories.all();
    if !own.is_empty() {
        document["CDISpecDirs"] = json!(own);
    }
    if minor >= FEATURES {
        let features = serde_json::to_string(&runtime::features());
        let features = features.context(|| "cannot encode the features of the runtime")?;
        document["Runtimes"]["barge"]["status"] = json!({ RUNTIME_FEATURES: features });
    }
    if minor >= FIREWALL {
        document["FirewallBackend"] = json!({ "Driver": "nftables" });
    }
    if minor < DEVICES {
        // Whether rules of iptables are asked about what bridges pass on. Nothing here depends on it.
        for (name, file) in [("BridgeNfIptables", "iptables"), ("BridgeNfIp6tables", "ip6tables")] {
            let path = format!("/proc/sys/net/bridge/bridge-nf-call-{file}");
            let is_on = std::fs::read_to_string(path).is_ok_and(|text| text.trim() == "1");
            document[name] = json!(is_on);
        }
    }
    if minor >= DEVICES {
        let device = |id: String| json!({ "Source": "cdi", "ID": id });
        document["DiscoveredDevices"] = engine::cdi_devices(own)?.into_iter().map(device).collect();
    }
    Ok(Reply::json(&document))
}
