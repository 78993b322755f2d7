//! From Docker's request for a container to ours.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::asked::{
    Asked, BindingAsked, HealthAsked, HostAsked, LimitsAsked, LogAsked, MountAsked, RateAsked,
    RestartAsked,
};
use crate::api::membership::{EndpointSettings, membership};
use crate::error::{Context, Error, Kind, Result};
use crate::spec::blkio::{BlockIo, DeviceLimit};
use crate::spec::cdi::Gpus;
use crate::spec::container::{ContainerSpec, parse_device};
use crate::spec::health::{HealthSpec, Interval};
use crate::spec::limits::{Resources, RestartPolicy, Ulimit};
use crate::spec::log::LogSettings;
use crate::spec::membership::{DEFAULT_NETWORK, Link, Membership};
use crate::spec::mount::{ALONE, Mount, MountSource};
use crate::spec::namespace::Namespaces;
use crate::spec::network::{
    NameResolution, NetworkMode, PortMapping, Protocol, parse_exposed, parse_host, parse_server,
};
use crate::spec::security::{Security, parse_capability};
use crate::spec::userns::Users;
use crate::spec::volume::VolumeSpec;

/// Makes our request of Docker's. `rootless` says whether there are no bridges.
pub(super) fn container(asked: Asked, rootless: bool) -> Result<ContainerSpec> {
    let host = &asked.host_config;
    let mut spec = ContainerSpec {
        image: asked.image.clone(),
        command: asked.cmd.unwrap_or_default(),
        entrypoint: entrypoint(asked.entrypoint),
        working_dir: some(asked.working_dir).map(PathBuf::from),
        user: some(asked.user),
        labels: asked.labels,
        stop_signal: some(asked.stop_signal).map(|text| text.parse()).transpose()?,
        publish_all: host.publish_all_ports,
        volumes_from: host.volumes_from.clone(),
        health: asked.healthcheck.map(health).unwrap_or_default(),
        ..ContainerSpec::default()
    };
    for entry in asked.env {
        match entry.split_once('=') {
            Some((name, value)) => spec.env.push((name.to_owned(), value.to_owned())),
            None => spec.unset_env.push(entry),
        }
    }
    for port in asked.exposed_ports.keys() {
        spec.exposed_ports.extend(parse_exposed(port)?);
    }
    let settings = &mut spec.settings;
    settings.image_as_asked = Some(asked.image);
    settings.hostname = some(asked.hostname);
    settings.domainname = some(asked.domainname);
    settings.tty = asked.tty;
    settings.interactive = asked.open_stdin;
    settings.input_stays = asked.open_stdin && !asked.stdin_once;
    settings.stop_timeout = asked.stop_timeout.map(seconds);
    settings.network =
        network(host, &asked.networking_config.endpoints_config, &asked.mac_address, rootless)?;
    if asked.network_disabled {
        settings.network = NetworkMode::None;
    }
    settings.mounts = mounts(host, asked.volumes.keys())?;
    apply_host(asked.host_config, &mut spec)?;
    let is_own = matches!(
        spec.settings.network,
        NetworkMode::Default
            | NetworkMode::Networks(_)
            | NetworkMode::Pasta(_)
            | NetworkMode::Slirp4netns(_)
    );
    if !is_own {
        // As Docker: there they are taken and mean nothing.
        spec.settings.ports.clear();
        spec.publish_all = false;
    }
    Ok(spec)
}

/// What Docker's clients call the way to run containers that is built in.
const RUNTIMES: [&str; 4] = ["", "barge", "runc", "io.containerd.runc.v2"];

fn apply_host(host: HostAsked, spec: &mut ContainerSpec) -> Result<()> {
    if !RUNTIMES.contains(&&*host.runtime) {
        let text = format!("unknown or invalid runtime name: {}", host.runtime);
        return Err(Error::new(Kind::Invalid, text)
            .hint("there is one way to run a container, and it is built in"));
    }
    if let Some(name) = host.storage_opt.keys().next() {
        let text = format!("storage option `{name}`: the disk of the store has no quotas");
        return Err(Error::new(Kind::Unsupported, text));
    }
    let settings = &mut spec.settings;
    settings.remove = host.auto_remove;
    settings.init = host.init == Some(true);
    settings.read_only = host.readonly_rootfs;
    settings.restart = restart(&host.restart_policy)?;
    settings.log = log(&host.log_config)?;
    settings.ports = ports(&host)?;
    settings.namespaces = namespaces(&host)?;
    settings.users = users(&host.userns_mode)?;
    settings.resources = Resources {
        shm_size: positive(host.shm_size),
        oom_score_adj: Some(host.oom_score_adj).filter(|adjusted| *adjusted != 0),
        ..resources(&host.limits)?
    };
    settings.names = names(&host)?;
    settings.security = security(&host)?;
    settings.groups = host.group_add;
    settings.annotations = host.annotations;
    settings.sysctls = host.sysctls;
    settings.cgroup_parent = some(host.cgroup_parent).map(|text| text.parse()).transpose()?;
    for device in &host.devices {
        let mut text = device.path_on_host.clone();
        for field in [&device.path_in_container, &device.cgroup_permissions] {
            if !field.is_empty() {
                text.push(':');
                text.push_str(field);
            }
        }
        settings.devices.push(parse_device(&text)?);
    }
    for request in &host.device_requests {
        let named = request.driver == "cdi" || request.ids.iter().any(|id| id.contains('='));
        let found = match (named, request.count) {
            (true, _) => request.ids.clone(),
            (false, -1) => "all".parse::<Gpus>()?.0,
            (false, 0) => format!("\"device={}\"", request.ids.join(",")).parse::<Gpus>()?.0,
            (false, count) => count.to_string().parse::<Gpus>()?.0,
        };
        settings.devices.extend(found);
    }
    settings.device_rules =
        host.device_cgroup_rules.iter().map(|rule| rule.parse()).collect::<Result<_>>()?;
    let unlimited = |limit: i64| u64::try_from(limit).unwrap_or(u64::MAX);
    settings.ulimits = host
        .ulimits
        .into_iter()
        .map(|it| Ulimit { name: it.name, soft: unlimited(it.soft), hard: unlimited(it.hard) })
        .collect();
    Ok(())
}

fn some(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}

/// Nothing is what the image has; one empty word is none at all.
fn entrypoint(words: Option<Vec<String>>) -> Option<Vec<String>> {
    match words?.as_slice() {
        [] => None,
        [word] if word.is_empty() => Some(Vec::new()),
        words => Some(words.to_vec()),
    }
}

fn seconds(count: i64) -> u32 {
    // Docker waits for good with -1.
    u32::try_from(count).unwrap_or(u32::MAX / 1000)
}

fn positive(number: i64) -> Option<u64> {
    u64::try_from(number).ok().filter(|number| *number > 0)
}

/// Makes a health check of Docker's; 0 is what the image says, or what is usual.
pub(super) fn health(asked: HealthAsked) -> HealthSpec {
    let time = |nanoseconds| Some(Duration::from_nanos(nanoseconds)).filter(|it| !it.is_zero());
    let disabled = asked.test.first().is_some_and(|word| word == "NONE");
    HealthSpec {
        disabled,
        test: Some(asked.test).filter(|test| !test.is_empty() && !disabled),
        interval: time(asked.interval).map(Interval::Every),
        timeout: time(asked.timeout),
        start_period: time(asked.start_period),
        start_interval: time(asked.start_interval),
        retries: Some(asked.retries).filter(|count| *count > 0),
        ..HealthSpec::default()
    }
}

/// Makes a restart policy of Docker's.
pub(super) fn restart(asked: &RestartAsked) -> Result<RestartPolicy> {
    match (asked.name.as_str(), asked.maximum_retry_count) {
        ("on-failure", count) if count > 0 => Ok(RestartPolicy::OnFailure { retries: Some(count) }),
        (name, 0) => name.parse(),
        (name, count) => format!("{name}:{count}").parse(),
    }
}

/// Makes limits of Docker's; 0 says nothing.
pub(super) fn resources(asked: &LimitsAsked) -> Result<Resources> {
    let rates = |rates: &[RateAsked]| {
        rates.iter().map(|it| DeviceLimit { path: it.path.clone(), value: it.rate }).collect()
    };
    let signed = |number: i64| Some(number).filter(|number| *number != 0);
    let swappiness = match asked.memory_swappiness {
        None | Some(-1) => None,
        Some(value) => match u64::try_from(value) {
            Ok(value) if value <= 100 => Some(value),
            _ => {
                return Err(Error::new(
                    Kind::Invalid,
                    format!("invalid value: {value}, valid memory swappiness range is 0-100"),
                ));
            }
        },
    };
    check_cpus(asked.nano_cpus)?;
    Ok(Resources {
        memory: positive(asked.memory),
        memory_swap: signed(asked.memory_swap),
        memory_reservation: positive(asked.memory_reservation),
        nano_cpus: positive(asked.nano_cpus),
        cpu_shares: positive(asked.cpu_shares),
        cpu_period: positive(asked.cpu_period),
        cpu_quota: signed(asked.cpu_quota),
        cpuset_cpus: some(asked.cpuset_cpus.clone()),
        cpuset_mems: some(asked.cpuset_mems.clone()),
        pids: asked.pids_limit.and_then(signed),
        oom_kill_disable: asked.oom_kill_disable == Some(true),
        swappiness,
        io: BlockIo {
            weight: Some(asked.blkio_weight).filter(|weight| *weight > 0),
            device_weights: rates(&asked.blkio_weight_device),
            read_bps: rates(&asked.blkio_device_read_bps),
            write_bps: rates(&asked.blkio_device_write_bps),
            read_iops: rates(&asked.blkio_device_read_iops),
            write_iops: rates(&asked.blkio_device_write_iops),
        },
        ..Resources::default()
    })
}

/// Refuses more processors than there are, as Docker does. On the command line they are no limit, as for
/// Podman.
fn check_cpus(nano: i64) -> Result<()> {
    let all = rustix::thread::sched_getaffinity(None).map_or(u32::MAX, |set| set.count());
    if (0..=i64::from(all) * 1_000_000_000).contains(&nano) {
        return Ok(());
    }
    let text =
        format!("range of CPUs is from 0.01 to {all}.00, as there are only {all} CPUs available");
    Err(Error::new(Kind::Invalid, text))
}

fn log(asked: &LogAsked) -> Result<LogSettings> {
    let mut log = LogSettings::default();
    if !asked.driver.is_empty() && asked.driver != "default" {
        log.driver = asked.driver.parse()?;
        if log.driver.is_passthrough() {
            return Err(Error::new(
                Kind::Unsupported,
                format!("the log driver {} is not for clients of the API", asked.driver),
            )
            .hint("they have no streams here that could be passed on"));
        }
    }
    for (name, value) in &asked.config {
        log.apply(&format!("{name}={value}"))?;
    }
    log.check()?;
    Ok(log)
}

fn namespaces(host: &HostAsked) -> Result<Namespaces> {
    let mut all = Namespaces::default();
    if !host.pid_mode.is_empty() {
        all.pid = host.pid_mode.parse()?;
    }
    if !host.ipc_mode.is_empty() {
        all.ipc = host.ipc_mode.parse()?;
    }
    if !host.uts_mode.is_empty() {
        all.uts = host.uts_mode.parse()?;
    }
    if !host.cgroupns_mode.is_empty() {
        all.cgroup = host.cgroupns_mode.parse()?;
    }
    Ok(all)
}

fn users(mode: &str) -> Result<Users> {
    match mode {
        "" => Ok(Users::default()),
        mode => Ok(Users { mode: mode.parse()?, ..Users::default() }),
    }
}

fn names(host: &HostAsked) -> Result<NameResolution> {
    let mut servers = Vec::new();
    for server in &host.dns {
        servers.extend(parse_server(server)?);
    }
    let hosts = host.extra_hosts.iter().map(|entry| parse_host(entry)).collect::<Result<_>>()?;
    Ok(NameResolution {
        servers,
        search: host.dns_search.clone(),
        options: host.dns_options.clone(),
        hosts,
        ..NameResolution::default()
    })
}

fn security(host: &HostAsked) -> Result<Security> {
    let capabilities =
        |names: &[String]| names.iter().map(|name| parse_capability(name)).collect::<Result<_>>();
    let mut security = Security {
        privileged: host.privileged,
        cap_add: capabilities(&host.cap_add)?,
        cap_drop: capabilities(&host.cap_drop)?,
        ..Security::default()
    };
    for option in &host.security_opt {
        security.apply(option)?;
    }
    // What the client makes of `systempaths=unconfined`.
    if let (Some([]), Some([])) = (host.masked_paths.as_deref(), host.readonly_paths.as_deref()) {
        security.apply("systempaths=unconfined")?;
    }
    Ok(security)
}

/// Decides on which networks it is.
fn network(
    host: &HostAsked,
    endpoints: &std::collections::BTreeMap<String, Option<EndpointSettings>>,
    mac: &str,
    rootless: bool,
) -> Result<NetworkMode> {
    let is_usual = |name: &str| matches!(name, "" | "default" | "bridge");
    let word = host.network_mode.as_str();
    let mut mode = match word {
        word if is_usual(word) => NetworkMode::Default,
        word => word.parse()?,
    };
    if matches!(mode, NetworkMode::None | NetworkMode::Host | NetworkMode::Container(_)) {
        return Ok(mode);
    }
    let asks =
        endpoints.values().flatten().any(EndpointSettings::says_something) || !mac.is_empty();
    let others = endpoints.keys().any(|name| !is_usual(name) && name != word);
    let links: Vec<Link> = host.links.iter().map(|link| link.parse()).collect::<Result<_>>()?;
    // Without root, nobody is seen by others on the usual network.
    if mode == NetworkMode::Default && (!rootless && (asks || others) || !links.is_empty()) {
        mode = NetworkMode::Networks(vec![Membership::of(DEFAULT_NETWORK)]);
    }
    let NetworkMode::Networks(members) = &mut mode else { return Ok(mode) };
    for (name, endpoint) in endpoints {
        let endpoint = endpoint.clone().unwrap_or_default();
        let network = if is_usual(name) { DEFAULT_NETWORK } else { name };
        let at = members.iter().position(|it| it.network == network || name == word);
        let at = at.unwrap_or_else(|| {
            members.push(Membership::of(network));
            members.len() - 1
        });
        let wanted = membership(network, &endpoint)?;
        let member = &mut members[at];
        *member = Membership { network: member.network.clone(), ..wanted };
    }
    for member in &mut *members {
        member.links.extend(links.iter().cloned());
    }
    if let (Some(first), false) = (members.first_mut(), mac.is_empty()) {
        first.mac = Some(mac.parse()?);
    }
    Ok(mode)
}

/// Reads where ports are published.
fn ports(host: &HostAsked) -> Result<Vec<PortMapping>> {
    let mut ports = Vec::new();
    for (inside, bindings) in &host.port_bindings {
        for port in parse_exposed(inside)? {
            let (number, protocol) = port.split_once('/').unwrap_or((&port, "tcp"));
            let container_port = number
                .parse()
                .map_err(|_| Error::new(Kind::Invalid, format!("invalid port `{inside}`")))?;
            let protocol: Protocol = protocol.parse()?;
            for binding in bindings.iter().flatten() {
                let host_ip = match binding.host_ip.as_str() {
                    "" => None,
                    text => Some(text.parse::<IpAddr>().map_err(|_| {
                        Error::new(Kind::Invalid, format!("invalid IP address `{text}`"))
                    })?),
                };
                let (host_port, choices) = host_port(binding)?;
                let count = 1;
                ports.push(PortMapping {
                    host_ip,
                    host_port,
                    container_port,
                    count,
                    choices,
                    protocol,
                });
            }
        }
    }
    Ok(ports)
}

/// Reads the port of the host: the first one, if there is any, and how many there are to choose from.
fn host_port(binding: &BindingAsked) -> Result<(Option<u16>, u16)> {
    let text = binding.host_port.as_str();
    let invalid = || Error::new(Kind::Invalid, format!("invalid port `{text}` of the host"));
    let (first, last) = match text.split_once('-') {
        None if text.is_empty() => return Ok((None, 1)),
        None => (text, text),
        Some(both) => both,
    };
    let (first, last): (u16, u16) =
        (first.parse().map_err(|_| invalid())?, last.parse().map_err(|_| invalid())?);
    match last.checked_sub(first) {
        Some(0) => Ok((Some(first).filter(|port| *port > 0), 1)),
        Some(more) if first > 0 => Ok((Some(first), more.saturating_add(1))),
        _ => Err(invalid()),
    }
}

fn mounts<'a>(host: &HostAsked, volumes: impl Iterator<Item = &'a String>) -> Result<Vec<Mount>> {
    let mut all = Vec::new();
    for text in &host.binds {
        let mount = Mount::parse_volume(text)?;
        if let MountSource::Bind { path, .. } = &mount.source
            && !path.is_absolute()
        {
            // The client knows where it is, and we do not.
            return Err(Error::new(
                Kind::Invalid,
                format!("invalid volume specification: '{text}': the path is not absolute"),
            ));
        }
        all.push(mount);
    }
    for asked in &host.mounts {
        all.push(
            mount(asked).context(|| format!("invalid mount config for type \"{}\"", asked.kind))?,
        );
    }
    for (target, options) in &host.tmpfs {
        let text = if options.is_empty() { target.clone() } else { format!("{target}:{options}") };
        all.push(Mount::parse_tmpfs(&text)?);
    }
    for target in volumes {
        if !all.iter().any(|mount: &Mount| mount.target == Path::new(target)) {
            all.push(Mount::anonymous_volume(target)?);
        }
    }
    if !host.volume_driver.is_empty() {
        for mount in &mut all {
            if let MountSource::Volume { new, .. } = &mut mount.source {
                new.set_driver(&host.volume_driver);
            }
        }
    }
    Ok(all)
}

fn mount(asked: &MountAsked) -> Result<Mount> {
    let invalid = |text: String| Error::new(Kind::Invalid, text);
    let subpath = |text: &str| Some(PathBuf::from(text)).filter(|_| !text.is_empty());
    let mut below = None;
    let mut options = Vec::new();
    let source = match asked.kind.as_str() {
        "bind" => {
            let path = PathBuf::from(&asked.source);
            if !path.is_absolute() {
                return Err(invalid(format!(
                    "invalid mount path: '{}' mount path must be absolute",
                    asked.source
                )));
            }
            let create = asked.bind_options.create_mountpoint;
            if !create && !path.exists() {
                return Err(invalid(format!(
                    "bind source path does not exist: {}",
                    path.display()
                )));
            }
            if !asked.bind_options.propagation.is_empty() {
                options.push(asked.bind_options.propagation.clone());
            }
            if asked.bind_options.non_recursive {
                options.push("bind".to_owned());
            }
            // All below is read-only otherwise, or it is refused: what Docker has a further word for.
            if asked.bind_options.read_only_non_recursive {
                options.push(ALONE.to_owned());
            }
            MountSource::Bind { path, create }
        }
        "volume" => {
            let volume = &asked.volume_options;
            below = subpath(&volume.subpath);
            let mut new = VolumeSpec {
                labels: volume.labels.clone(),
                options: volume.driver_config.options.clone(),
                ..VolumeSpec::default()
            };
            if !volume.driver_config.name.is_empty() {
                new.set_driver(&volume.driver_config.name);
            }
            let name = Some(asked.source.as_str()).filter(|name| !name.is_empty());
            let name = name.map(crate::spec::volume::parse_name).transpose()?;
            MountSource::Volume { anonymous: name.is_none(), name, copy: !volume.no_copy, new }
        }
        "image" => {
            below = subpath(&asked.image_options.subpath);
            MountSource::Image { name: asked.source.clone(), id: None, layers: Vec::new() }
        }
        "tmpfs" => MountSource::Tmpfs {
            size: Some(asked.tmpfs_options.size_bytes).filter(|size| *size > 0),
            mode: Some(asked.tmpfs_options.mode).filter(|mode| *mode > 0),
        },
        other => return Err(invalid(format!("mount type unknown: \"{other}\""))),
    };
    let mut mount = Mount::new(source, &asked.target)?;
    mount.by_fields = true;
    mount.read_only = asked.read_only;
    mount.options.extend(options);
    mount.subpath = below;
    for option in &asked.tmpfs_options.options {
        mount.tmpfs_option(&option.join("="))?;
    }
    Ok(mount)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec(body: serde_json::Value) -> Result<ContainerSpec> {
        container(serde_json::from_value(body).unwrap(), false)
    }

    #[test]
    fn takes_what_clients_in_go_send_for_nothing() {
        let spec = spec(json!({
            "Image": "alpine", "Cmd": null, "Entrypoint": null, "Env": null, "Volumes": null,
            "ExposedPorts": null, "Labels": null, "Healthcheck": null,
            "HostConfig": {
                "Binds": null, "PortBindings": {}, "NetworkMode": "default", "Memory": 0,
                "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0}, "PidsLimit": 0,
                "MemorySwappiness": -1, "OomKillDisable": false, "Ulimits": [],
                "LogConfig": {"Type": "", "Config": {}}, "ConsoleSize": [0, 0],
                "MaskedPaths": null, "ReadonlyPaths": null, "ShmSize": 0, "UsernsMode": ""
            },
            "NetworkingConfig": {"EndpointsConfig": {"default": {"IPAMConfig": null}}}
        }))
        .unwrap();
        assert_eq!(spec.image, "alpine");
        assert_eq!(spec.settings.network, NetworkMode::Default);
        assert_eq!(spec.settings.resources, Resources::default());
        assert_eq!(spec.settings.security, Security::default());
        assert_eq!((spec.command, spec.entrypoint), (Vec::new(), None));
    }

    #[test]
    fn reads_networks() {
        let with = |mode: &str, endpoints: serde_json::Value| {
            spec(json!({
                "Image": "a",
                "HostConfig": {"NetworkMode": mode},
                "NetworkingConfig": {"EndpointsConfig": endpoints},
            }))
            .unwrap()
            .settings
            .network
        };
        let member = |network: &str, aliases: &[&str]| Membership {
            aliases: aliases.iter().map(|&it| it.to_owned()).collect(),
            ..Membership::of(network)
        };
        assert_eq!(with("host", json!({"host": {}})), NetworkMode::Host);
        assert_eq!(with("bridge", json!({"bridge": {}})), NetworkMode::Default);
        assert_eq!(
            with("web", json!({"web": {"Aliases": ["db"]}, "other": null})),
            NetworkMode::Networks(vec![member("web", &["db"]), member("other", &[])])
        );
        assert_eq!(
            with("default", json!({"web": {}})),
            NetworkMode::Networks(vec![member(DEFAULT_NETWORK, &[]), member("web", &[])])
        );
        let NetworkMode::Networks(fixed) =
            with("web", json!({"web": {"IPAMConfig": {"IPv4Address": "10.1.2.3"}}}))
        else {
            panic!("it has a network");
        };
        assert_eq!(fixed[0].ipv4, Some([10, 1, 2, 3].into()));
    }

    #[test]
    fn refuses_what_makes_no_sense() {
        for host in [
            json!({"Binds": ["./here:/there"]}),
            json!({"Mounts": [{"Type": "bind", "Source": "/nonexistent/x", "Target": "/x"}]}),
            json!({"Mounts": [{"Type": "odd", "Target": "/x"}]}),
            json!({"Mounts": [{"Type": "volume", "Source": "v", "Target": "x"}]}),
            json!({"PortBindings": {"80/tcp": [{"HostPort": "9-8"}]}}),
            json!({"PortBindings": {"x/tcp": []}}),
            json!({"RestartPolicy": {"Name": "sometimes"}}),
            json!({"RestartPolicy": {"Name": "always", "MaximumRetryCount": 3}}),
            json!({"LogConfig": {"Type": "passthrough"}}),
            json!({"MemorySwappiness": 101}),
            json!({"CapAdd": ["NONSENSE!"]}),
        ] {
            let error = spec(json!({"Image": "a", "HostConfig": host})).unwrap_err();
            assert!(matches!(error.kind(), Kind::Invalid | Kind::Unsupported), "{error:?}");
        }
    }

    #[test]
    fn keeps_what_is_said_of_mounts() {
        let spec = spec(json!({"Image": "a", "Volumes": {"/data": {}, "/b": {}}, "HostConfig": {
            "Binds": ["vol:/b:ro,nocopy"],
            "Tmpfs": {"/t": "size=1m"},
            "Mounts": [{
                "Type": "volume", "Source": "v", "Target": "/v", "ReadOnly": true,
                "VolumeOptions": {"NoCopy": true, "Labels": {"a": "b"}, "Subpath": "below"}
            }]
        }}))
        .unwrap();
        let mounts = spec.settings.mounts;
        let targets: Vec<_> = mounts.iter().map(|it| it.target.to_str().unwrap()).collect();
        assert_eq!(targets, ["/b", "/v", "/t", "/data"]);
        assert!(matches!(mounts[0].source, MountSource::Volume { copy: false, .. }));
        assert!(mounts[1].read_only);
        assert_eq!(mounts[1].subpath.as_deref(), Some(Path::new("below")));
        assert!(
            matches!(&mounts[1].source, MountSource::Volume { copy: false, new, .. } if new.labels["a"] == "b")
        );
    }

    #[test]
    fn reads_ports_of_the_host() {
        for (text, want) in [
            ("", Some((None, 1))),
            ("0", Some((None, 1))),
            ("8080", Some((Some(8080), 1))),
            ("8080-8090", Some((Some(8080), 11))),
            ("1-65535", Some((Some(1), 65535))),
            ("8090-8080", None),
            ("0-9", None),
            ("x", None),
        ] {
            let bindings = json!({"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": text}]});
            let spec = spec(json!({"Image": "a", "HostConfig": {"PortBindings": bindings}}));
            let got = spec.ok().map(|spec| {
                let mapping = &spec.settings.ports[0];
                (mapping.host_port, mapping.choices)
            });
            assert_eq!(got, want, "{text}");
        }
    }
}
