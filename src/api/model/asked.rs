//! A container as another service of Docker's API is asked for it: what [`ContainerSpec`] says, in
//! Docker's words. What these have no word for is refused.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Map, Value, json};

use super::{host_config, mounts};
use crate::error::{Context, Error, Kind, Result};
use crate::spec::cdi::is_qualified;
use crate::spec::container::{ContainerSpec, Settings};
use crate::spec::group::GroupParent;
use crate::spec::health::{HealthSpec, Interval, StartupSpec};
use crate::spec::limits::Resources;
use crate::spec::log::LogSettings;
use crate::spec::membership::{DEFAULT_ALIAS, DEFAULT_NETWORK, INTERFACE_OPTION, Membership};
use crate::spec::mount::{Mount, MountSource};
use crate::spec::namespace::{IpcMode, NamespaceMode};
use crate::spec::network::{NameResolution, NetworkMode};
use crate::spec::security::Seccomp;
use crate::spec::userns::Users;
use crate::spec::volume::ImageVolumes;

/// Makes the body of `POST /containers/create`.
pub fn container(spec: &ContainerSpec) -> Result<Value> {
    check(spec)?;
    let settings = &spec.settings;
    let pairs = spec.env_below.iter().chain(&spec.env_usual).chain(&spec.env);
    let mut env: Vec<String> = pairs.map(|(name, value)| format!("{name}={value}")).collect();
    // Without a value, a variable of the image is left out.
    env.extend(spec.unset_env.iter().cloned());
    let set = |words: Vec<String>| -> Map<String, Value> {
        words.into_iter().map(|word| (word, json!({}))).collect()
    };
    let anonymous =
        |mount: &&Mount| matches!(mount.source, MountSource::Volume { anonymous: true, .. });
    let volumes = settings.mounts.iter().filter(anonymous);
    let volumes = volumes.map(|mount| mount.target.display().to_string()).collect();
    let mut ports = spec.exposed_ports.clone();
    for mapping in &settings.ports {
        for index in 0..mapping.count {
            let port = mapping.container_port.saturating_add(index);
            ports.push(format!("{port}/{}", mapping.protocol));
        }
    }
    let (networks, mac) = endpoints(&settings.network);
    let mut body = json!({
        "Image": spec.image,
        "Hostname": settings.hostname.as_deref().unwrap_or_default(),
        "Domainname": settings.domainname.as_deref().unwrap_or_default(),
        "User": spec.user.as_deref().unwrap_or_default(),
        "AttachStdin": settings.interactive && !settings.input_stays,
        "AttachStdout": true,
        "AttachStderr": true,
        "Tty": settings.tty,
        "OpenStdin": settings.interactive,
        "StdinOnce": settings.interactive && !settings.input_stays,
        "Env": env,
        "ExposedPorts": set(ports),
        "Volumes": set(volumes),
        "WorkingDir": spec.working_dir.as_ref().map(|dir| dir.display().to_string()).unwrap_or_default(),
        "Labels": spec.labels,
        "HostConfig": host(spec)?,
        "NetworkingConfig": { "EndpointsConfig": networks },
    });
    let mut add = |name: &str, value: Value| body[name] = value;
    if !spec.command.is_empty() {
        add("Cmd", json!(spec.command));
    }
    match spec.entrypoint.as_deref() {
        None => {}
        // To Docker, that is none.
        Some([]) => add("Entrypoint", json!([""])),
        Some(words) => add("Entrypoint", json!(words)),
    }
    if let Some(signal) = spec.stop_signal {
        add("StopSignal", json!(signal.to_string()));
    }
    if let Some(seconds) = settings.stop_timeout {
        add("StopTimeout", json!(seconds));
    }
    if let Some(mac) = mac {
        add("MacAddress", json!(mac));
    }
    if let Some(health) = health(&spec.health) {
        add("Healthcheck", health);
    }
    Ok(body)
}

/// Makes the body of `POST /containers/{id}/update`: limits and the restart policy.
pub fn update(
    resources: &Resources,
    restart: Option<&crate::spec::limits::RestartPolicy>,
) -> Value {
    let settings = Settings {
        resources: resources.clone(),
        restart: restart.copied().unwrap_or_default(),
        ..Settings::default()
    };
    let mut body = host_config::limits(&settings);
    if let Value::Object(fields) = &mut body {
        fields.retain(|name, value| {
            let says_nothing = value.is_null() || *value == json!(0) || *value == json!("");
            let is_limit = !matches!(name.as_str(), "ShmSize" | "OomScoreAdj" | "Ulimits");
            let is_empty = value.as_array().is_some_and(Vec::is_empty) || *value == json!(false);
            is_limit && !says_nothing && !is_empty
        });
    }
    if restart.is_some() {
        body["RestartPolicy"] = host_config::document(&settings)["RestartPolicy"].clone();
    }
    body
}

/// Writes what the commands of a build get as parameters of `POST /build`.
pub fn build(settings: &Settings) -> Result<Vec<(&'static str, String)>> {
    let resources = &settings.resources;
    let mut all: Vec<(&'static str, String)> = Vec::new();
    let mut add = |name, value: Option<String>| all.extend(value.map(|value| (name, value)));
    let text = |number: Option<u64>| number.map(|number| number.to_string());
    add("memory", text(resources.memory));
    add("memswap", resources.memory_swap.map(|number| number.to_string()));
    add("cpushares", text(resources.cpu_shares));
    add("cpuperiod", text(resources.cpu_period));
    add("cpuquota", resources.cpu_quota.map(|number| number.to_string()));
    add("cpusetcpus", resources.cpuset_cpus.clone());
    add("cpusetmems", resources.cpuset_mems.clone());
    add("shmsize", text(resources.shm_size));
    add(
        "networkmode",
        match &settings.network {
            NetworkMode::Default => None,
            mode => Some(mode.to_string()),
        },
    );
    for entry in settings.names.host_entries() {
        add("extrahosts", Some(entry));
    }
    if !settings.ulimits.is_empty() {
        add("ulimits", Some(host_config::limits(settings)["Ulimits"].to_string()));
    }
    let options = security(settings)?;
    if !options.is_empty() {
        add("securityopt", Some(json!(options).to_string()));
    }
    let names = NameResolution { hosts: Vec::new(), ..settings.names.clone() };
    let known = Resources {
        memory: None,
        memory_swap: None,
        cpu_shares: None,
        cpu_period: None,
        cpu_quota: None,
        cpuset_cpus: None,
        cpuset_mems: None,
        shm_size: None,
        ..resources.clone()
    };
    let rest = Settings {
        names,
        resources: known,
        network: NetworkMode::Default,
        ulimits: Vec::new(),
        security: crate::spec::security::Security {
            cap_add: settings.security.cap_add.clone(),
            cap_drop: settings.security.cap_drop.clone(),
            ..Default::default()
        },
        ..settings.clone()
    };
    match left(&rest) {
        Some(name) => Err(absent(&format!("`{name}` of a build"))),
        None => Ok(all),
    }
}

/// Finds what is left that is not as usual.
fn left(rest: &Settings) -> Option<String> {
    let document = |settings: &Settings| serde_json::to_value(settings).unwrap_or_default();
    let (rest, usual) = (document(rest), document(&Settings::default()));
    let mut rest = rest.as_object()?.iter();
    rest.find(|(name, value)| usual[*name] != **value).map(|(name, _)| name.replace('_', " "))
}

/// Makes a container's place on a network.
pub fn endpoint(member: &Membership) -> Value {
    let mut document = json!({});
    if !member.aliases.is_empty() {
        document["Aliases"] = json!(member.aliases);
    }
    if !member.links.is_empty() {
        let links = member.links.iter().map(|it| format!("{}:{}", it.container, it.alias));
        document["Links"] = json!(links.collect::<Vec<_>>());
    }
    let mut addresses = Map::new();
    addresses.extend(member.ipv4.map(|it| ("IPv4Address".to_owned(), json!(it))));
    addresses.extend(member.ipv6.map(|it| ("IPv6Address".to_owned(), json!(it))));
    if !addresses.is_empty() {
        document["IPAMConfig"] = addresses.into();
    }
    if let Some(mac) = &member.mac {
        document["MacAddress"] = json!(mac.to_string());
    }
    if let Some(interface) = &member.interface {
        document["DriverOpts"] = json!({ INTERFACE_OPTION: interface });
    }
    if member.priority != 0 {
        document["GwPriority"] = json!(member.priority);
    }
    document
}

/// Makes the networks, and the hardware address for services that know of one only.
fn endpoints(mode: &NetworkMode) -> (Map<String, Value>, Option<String>) {
    let NetworkMode::Networks(members) = mode else { return (Map::new(), None) };
    let mac = members.first().and_then(|member| member.mac.as_ref()).map(ToString::to_string);
    let named = |member: &Membership| (network(&member.network).to_owned(), endpoint(member));
    (members.iter().map(named).collect(), mac)
}

/// Returns Docker's name of a network.
fn network(name: &str) -> &str {
    if name == DEFAULT_NETWORK { DEFAULT_ALIAS } else { name }
}

fn health(health: &HealthSpec) -> Option<Value> {
    if health.disabled {
        return Some(json!({ "Test": ["NONE"] }));
    }
    let mut document = Map::new();
    let mut time = |name: &str, time: Option<std::time::Duration>| {
        let nanoseconds = time.and_then(|time| u64::try_from(time.as_nanos()).ok());
        document.extend(nanoseconds.map(|it| (name.to_owned(), json!(it))));
    };
    time(
        "Interval",
        match health.interval {
            Some(Interval::Every(interval)) => Some(interval),
            _ => None,
        },
    );
    time("Timeout", health.timeout);
    time("StartPeriod", health.start_period);
    time("StartInterval", health.start_interval);
    document.extend(health.retries.map(|count| ("Retries".to_owned(), json!(count))));
    document.extend(health.test.as_ref().map(|test| ("Test".to_owned(), json!(test))));
    (!document.is_empty()).then(|| document.into())
}

fn host(spec: &ContainerSpec) -> Result<Value> {
    let settings = &spec.settings;
    let mut host = host_config::document(settings);
    let (mounts, binds): (Vec<&Mount>, Vec<&Mount>) =
        settings.mounts.iter().filter(|mount| !is_elsewhere(mount)).partition(|it| needs_more(it));
    host["Binds"] = mounts::binds(binds.into_iter());
    host["Mounts"] = mounts.into_iter().map(mounts::mount).collect::<Result<Vec<_>>>()?.into();
    let (named, plain): (Vec<&String>, Vec<&String>) =
        settings.devices.iter().partition(|device| is_qualified(device));
    let plain: Vec<String> = plain.into_iter().cloned().collect();
    host["Devices"] = host_config::devices_document(&plain);
    if !named.is_empty() {
        host["DeviceRequests"] = json!([{ "Driver": "cdi", "DeviceIDs": named }]);
    }
    let rules: Vec<String> = settings.device_rules.iter().map(ToString::to_string).collect();
    host["DeviceCgroupRules"] = json!(rules);
    host["NetworkMode"] = json!(match &settings.network {
        NetworkMode::Default => "default".to_owned(),
        NetworkMode::Networks(members) => {
            members.first().map_or("default", |member| network(&member.network)).to_owned()
        }
        mode => mode.to_string(),
    });
    host["PublishAllPorts"] = json!(spec.publish_all);
    host["VolumesFrom"] = json!(spec.volumes_from);
    host["Annotations"] = json!(settings.annotations);
    host["CgroupParent"] =
        json!(settings.cgroup_parent.as_ref().map(GroupParent::as_str).unwrap_or_default());
    let namespaces = &settings.namespaces;
    host["PidMode"] = json!(own_is_empty(&namespaces.pid));
    host["UTSMode"] = json!(own_is_empty(&namespaces.uts));
    host["CgroupnsMode"] = json!(own_is_empty(&namespaces.cgroup));
    host["IpcMode"] = json!(match &namespaces.ipc {
        IpcMode::Shareable => String::new(),
        mode => mode.to_string(),
    });
    host["UsernsMode"] = json!(match settings.users == Users::default() {
        true => String::new(),
        false => settings.users.mode.to_string(),
    });
    // What the service does if nothing is said.
    host["LogConfig"] = match settings.log == LogSettings::default() {
        true => json!({ "Type": "", "Config": {} }),
        false => {
            json!({ "Type": host["LogConfig"]["Type"], "Config": host["LogConfig"]["Config"] })
        }
    };
    host["Runtime"] = json!("");
    host["Init"] = if settings.init { json!(true) } else { Value::Null };
    host["ShmSize"] = json!(settings.resources.shm_size.unwrap_or_default());
    if settings.resources.pids.is_none() {
        host["PidsLimit"] = Value::Null;
    }
    if settings.security.unmask.iter().any(|path| path.as_os_str() == "ALL") {
        (host["MaskedPaths"], host["ReadonlyPaths"]) = (json!([]), json!([]));
    }
    host["SecurityOpt"] = json!(security(settings)?);
    Ok(host)
}

/// Tells whether a mount has a place of its own in a request: `Tmpfs`, or `Volumes`.
fn is_elsewhere(mount: &Mount) -> bool {
    match &mount.source {
        MountSource::Tmpfs { .. } => true,
        MountSource::Volume { name, anonymous, .. } => {
            (name.is_none() || *anonymous) && mount.subpath.is_none()
        }
        _ => false,
    }
}

/// Tells whether `Binds` cannot say all about a mount.
fn needs_more(mount: &Mount) -> bool {
    // What must be there already is no bind that makes it.
    let is_strict =
        matches!(mount.source, MountSource::Bind { create: false, .. }) && mount.options.is_empty();
    let has_more = mount.subpath.is_some()
        || matches!(&mount.source, MountSource::Volume { new, .. } if *new != Default::default());
    is_strict || has_more || mounts::bind(mount).is_none()
}

fn own_is_empty(mode: &NamespaceMode) -> String {
    match mode {
        NamespaceMode::Private => String::new(),
        mode => mode.to_string(),
    }
}

/// Writes the options; a profile of system calls goes along, for the file is here.
fn security(settings: &Settings) -> Result<Vec<String>> {
    let mut options = host_config::security_options(&settings.security);
    options.retain(|option| !option.starts_with("seccomp=") && option != "unmask=ALL");
    match &settings.security.seccomp {
        Seccomp::Default => {}
        Seccomp::Unconfined => options.push("seccomp=unconfined".to_owned()),
        Seccomp::File(path) => {
            let text = fs::read_to_string(path)
                .context(|| format!("cannot read the profile {}", path.display()))?;
            let profile: Value = serde_json::from_str(&text)
                .context(|| format!("the profile {} is no JSON", path.display()))?;
            options.push(format!("seccomp={profile}"));
        }
    }
    Ok(options)
}

fn absent(what: &str) -> Error {
    Error::new(
        Kind::Unsupported,
        format!("{what} is not there on other hosts: Docker's API has nothing like it"),
    )
}

/// Refuses what Docker's API has no words for: whatever is left when all that it can say is taken away.
fn check(spec: &ContainerSpec) -> Result<()> {
    let health = &spec.health;
    for (what, is_asked) in [
        ("--env-merge", !spec.env_merge.is_empty()),
        ("--unsetenv-all", spec.unset_env_all),
        ("--image-volume", spec.image_volumes != ImageVolumes::default()),
        ("--health-on-failure", health.on_failure.is_some()),
        ("--health-startup-cmd", health.startup != StartupSpec::default()),
        ("--health-log-destination", health.destination.is_some()),
        ("--health-max-log-count", health.max_log_count.is_some()),
        ("--health-max-log-size", health.max_log_size.is_some()),
    ] {
        if is_asked {
            return Err(absent(what));
        }
    }
    let settings = spec.settings.clone();
    let usual = Settings::default();
    let names = NameResolution {
        servers: Vec::new(),
        search: Vec::new(),
        options: Vec::new(),
        hosts: Vec::new(),
        ..settings.names
    };
    let rest = Settings {
        names,
        resources: Resources { unified: settings.resources.unified, ..Resources::default() },
        users: Users { mode: usual.users.mode.clone(), ..settings.users },
        security: crate::spec::security::Security {
            capabilities: settings.security.capabilities,
            ..Default::default()
        },
        hostname: None,
        domainname: None,
        tty: false,
        interactive: false,
        input_stays: false,
        remove: false,
        init: false,
        read_only: false,
        mounts: Vec::new(),
        devices: Vec::new(),
        device_rules: Vec::new(),
        groups: Vec::new(),
        network: NetworkMode::Default,
        ports: Vec::new(),
        cgroup_parent: None,
        ulimits: Vec::new(),
        sysctls: BTreeMap::new(),
        namespaces: Default::default(),
        stop_timeout: None,
        restart: Default::default(),
        log: LogSettings::default(),
        annotations: BTreeMap::new(),
        // That is written here.
        cidfile: None,
        ..settings
    };
    match left(&rest) {
        Some(name) => Err(absent(&format!("`{name}` of a container"))),
        None => match spec.settings.network {
            NetworkMode::Pasta(_) | NetworkMode::Slirp4netns(_) | NetworkMode::Ns(_) => {
                Err(absent("this kind of network"))
            }
            _ => Ok(()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(change: impl FnOnce(&mut ContainerSpec)) -> Result<Value> {
        let mut spec = ContainerSpec { image: "busybox".to_owned(), ..ContainerSpec::default() };
        change(&mut spec);
        container(&spec)
    }

    #[test]
    fn says_nothing_of_what_nobody_asks() {
        let body = asked(|_| {}).unwrap();
        let host = &body["HostConfig"];
        assert_eq!(body["Image"], "busybox");
        assert_eq!(body.get("Cmd"), None);
        assert_eq!(body.get("Healthcheck"), None);
        for field in ["PidMode", "IpcMode", "UTSMode", "UsernsMode", "CgroupnsMode", "Runtime"] {
            assert_eq!(host[field], "", "{field}");
        }
        assert_eq!(host["NetworkMode"], "default");
        assert_eq!(host["LogConfig"]["Type"], "");
        assert_eq!((&host["PidsLimit"], &host["Init"]), (&Value::Null, &Value::Null));
    }

    #[test]
    fn says_what_is_asked_in_the_words_of_docker() {
        let body = asked(|spec| {
            spec.command = vec!["sh".to_owned()];
            spec.entrypoint = Some(Vec::new());
            spec.env = vec![("A".to_owned(), "1".to_owned())];
            spec.unset_env = vec!["B".to_owned()];
            spec.settings.ports = vec!["8080:80/udp".parse().unwrap()];
            spec.settings.mounts = vec![
                Mount::anonymous_volume("/v").unwrap(),
                Mount::parse_volume("data:/d:ro").unwrap(),
                Mount::parse_mount("type=bind,source=/srv,target=/s").unwrap(),
            ];
            let member = Membership { aliases: vec!["db".to_owned()], ..Membership::of("front") };
            spec.settings.network = NetworkMode::Networks(vec![member]);
        })
        .unwrap();
        let host = &body["HostConfig"];
        assert_eq!(body["Entrypoint"], json!([""]));
        assert_eq!(body["Env"], json!(["A=1", "B"]));
        assert_eq!(body["ExposedPorts"], json!({ "80/udp": {} }));
        assert_eq!(body["Volumes"], json!({ "/v": {} }));
        assert_eq!(host["Binds"], json!(["data:/d:ro"]));
        assert_eq!(host["Mounts"][0]["Source"], "/srv");
        assert_eq!(host["PortBindings"]["80/udp"][0]["HostPort"], "8080");
        assert_eq!(host["NetworkMode"], "front");
        assert_eq!(body["NetworkingConfig"]["EndpointsConfig"]["front"]["Aliases"], json!(["db"]));
    }

    #[test]
    fn refuses_what_docker_has_no_words_for() {
        for (want, error) in [
            ("--unsetenv-all", asked(|spec| spec.unset_env_all = true)),
            ("`umask` of a container", asked(|spec| spec.settings.umask = Some(0))),
            (
                "`time zone` of a container",
                asked(|spec| spec.settings.time_zone = Some("x".into())),
            ),
            (
                "this kind of network",
                asked(|spec| spec.settings.network = NetworkMode::Pasta(Default::default())),
            ),
        ] {
            let error = error.unwrap_err();
            assert!(error.to_string().starts_with(want), "{error}");
            assert_eq!(error.kind(), Kind::Unsupported);
        }
    }

    #[test]
    fn an_update_says_what_is_to_be_changed_only() {
        let resources = Resources { memory: Some(1 << 20), ..Resources::default() };
        let body = update(&resources, None);
        assert_eq!(body, json!({ "Memory": 1 << 20, "MemorySwap": 2 << 20 }));
        let restart = "on-failure:3".parse().unwrap();
        let body = update(&Resources::default(), Some(&restart));
        assert_eq!(
            body,
            json!({ "RestartPolicy": { "Name": "on-failure", "MaximumRetryCount": 3 } })
        );
    }
}
