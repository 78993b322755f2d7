//! What Docker's and Podman's documents always have, also where a container here has nothing to say.
//!
//! Templates ask for fields without looking whether they are there, so every one is.

use serde_json::{Map, Value, json};

use crate::engine;
use crate::spec::group::CgroupsMode;
use crate::spec::membership::DEFAULT_NETWORK;
use crate::spec::network::HostsBase;
use crate::spec::time;
use crate::spec::userns::IdRange;
use crate::store::Store;
use crate::store::container::Container;

/// Adds what a container's document lacks; what it has stays.
pub(super) fn complete(document: &mut Value, store: &Store, container: &Container) {
    add(document, top(store, container));
    add(&mut document["State"], state(container));
    add(&mut document["HostConfig"], host_config(container));
    add(&mut document["Config"], shown_config(container));
    add(&mut document["NetworkSettings"], network());
    complete_networks(&mut document["NetworkSettings"], container);
}

/// Adds to what is said of each network.
pub(super) fn complete_networks(settings: &mut Value, container: &Container) {
    if let Some(Value::Object(networks)) = settings.get_mut("Networks") {
        let names = json!([container.state.name, container.config.id.short()]);
        for network in networks.values_mut() {
            add(network, endpoint(&names));
        }
    }
}

fn add(document: &mut Value, more: Value) {
    if let (Value::Object(document), Value::Object(more)) = (document, more) {
        for (field, value) in more {
            document.entry(field).or_insert(value);
        }
    }
}

fn top(store: &Store, container: &Container) -> Value {
    let config = &container.config;
    let containers = store.containers();
    let security = &config.settings.security;
    // A name that this version does not know was refused when the container was created.
    let capabilities = engine::capability_names(security).unwrap_or_default();
    let image = store.images().get(&config.image_id).ok().flatten();
    let digest = image.and_then(|image| image.manifest_digest).map(|digest| digest.to_string());
    json!({
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ImageDigest": digest.unwrap_or_default(),
        "Rootfs": "",
        "Pod": "",
        "Namespace": "",
        "OCIRuntime": "barge",
        "OCIConfigPath": containers.dir(&config.id).join("config.json"),
        "StaticDir": containers.dir(&config.id),
        "PidFile": config.settings.pidfile.clone().unwrap_or_default(),
        "ConmonPidFile": config.settings.monitor_pidfile.clone().unwrap_or_default(),
        "BoundingCaps": capabilities,
        "EffectiveCaps": capabilities,
        "Dependencies": config.donors(),
        "IsInfra": false,
        "IsService": false,
        "KubeExitCodePropagation": "invalid",
        "lockNumber": 0,
        "UseImageHosts": false,
        "UseImageHostname": false,
    })
}

fn shown_config(container: &Container) -> Value {
    let Container { config, .. } = container;
    let settings = &config.settings;
    let members = settings.network.memberships();
    let mac = members.first().and_then(|member| member.mac.as_ref());
    let mut document = json!({
        "MacAddress": mac.map(ToString::to_string).unwrap_or_default(),
        "Timeout": settings.timeout.unwrap_or_default(),
        "CreateCommand": null,
        "Passwd": !settings.accounts.untouched,
        "HealthcheckOnFailureAction": "none",
        "sdNotifyMode": "container",
    });
    if let Some(startup) = config.health.as_ref().and_then(|health| health.startup.as_ref()) {
        let mut check = json!(startup.check);
        check["Successes"] = startup.successes.into();
        document["StartupHealthCheck"] = check;
    }
    document
}

fn state(container: &Container) -> Value {
    const NEVER: &str = "0001-01-01T00:00:00Z";
    let monitor = container.state.status.monitored().map_or(0, |run| run.monitor);
    let state = &container.state;
    let when = |at: Option<i64>| at.map_or_else(|| NEVER.to_owned(), time::rfc3339);
    json!({
        "OciVersion": oci_spec::runtime::VERSION,
        "ConmonPid": monitor,
        "StoppedByUser": container.state.stopped_by_user,
        "Checkpointed": state.checkpointed.is_some(),
        "CheckpointedAt": when(state.checkpointed),
        "Restored": state.restored.is_some(),
        "RestoredAt": when(state.restored),
    })
}

fn host_config(container: &Container) -> Value {
    let settings = &container.config.settings;
    let parent = settings.cgroup_parent.as_ref();
    let (masked, read_only) = engine::hidden_paths(&settings.security);
    let mut document = json!({
        "ContainerIDFile": settings.cidfile.clone().unwrap_or_default(),
        "VolumeDriver": "",
        "VolumesFrom": null,
        "ConsoleSize": [0, 0],
        "Annotations": settings.annotations,
        "AutoRemoveImage": false,
        "Cgroup": "",
        "CgroupConf": null,
        "Cgroups": match settings.cgroups {
            CgroupsMode::Enabled => "default",
            CgroupsMode::Disabled => "disabled",
            CgroupsMode::Split => "split",
        },
        "DiskQuota": 0,
        "HostsFile": match &settings.names.base {
            HostsBase::Usual => String::new(),
            HostsBase::Image => "image".to_owned(),
            HostsBase::None => "none".to_owned(),
            HostsBase::File(path) => path.display().to_string(),
        },
        "CgroupManager": "cgroupfs",
        "CgroupParent": parent.map(|it| format!("/{}", it.as_str())).unwrap_or_default(),
        "DeviceCgroupRules": match settings.device_rules.is_empty() {
            true => Value::Null,
            false => settings.device_rules.iter().map(|it| Value::from(it.to_string())).collect(),
        },
        "Links": links(container),
        "PublishAllPorts": false,
        "Isolation": "",
        "MaskedPaths": masked,
        "ReadonlyPaths": read_only,
    });
    if let Some(mapping) = &container.config.id_mapping {
        document["IDMappings"] =
            json!({ "UidMap": ranges(&mapping.uids), "GidMap": ranges(&mapping.gids) });
    }
    add(&mut document, nothing_limited());
    document
}

/// Writes ranges of IDs as they are asked for.
fn ranges(ranges: &[IdRange]) -> Vec<String> {
    let text = |it: &IdRange| format!("{}:{}:{}", it.inside, it.outside, it.count);
    ranges.iter().map(text).collect()
}

/// Returns the names that a container has for others on the network that has none, as Docker writes them.
fn links(container: &Container) -> Value {
    let name = &container.state.name;
    let members = container.config.settings.network.memberships().iter();
    let links = members.filter(|it| it.network == DEFAULT_NETWORK).flat_map(|it| &it.links);
    let links: Vec<_> = links.map(|it| format!("/{}:/{name}/{}", it.container, it.alias)).collect();
    if links.is_empty() { Value::Null } else { links.into() }
}

/// Limits that nobody has asked for.
fn nothing_limited() -> Value {
    json!({
        "BlkioWeight": 0,
        "BlkioWeightDevice": null,
        "BlkioDeviceReadBps": null,
        "BlkioDeviceWriteBps": null,
        "BlkioDeviceReadIOps": null,
        "BlkioDeviceWriteIOps": null,
        "CpuCount": 0,
        "CpuPercent": 0,
        "DeviceRequests": null,
        "MemorySwappiness": null,
        "KernelMemory": 0,
        "IOMaximumIOps": 0,
        "IOMaximumBandwidth": 0,
    })
}

fn network() -> Value {
    let mut document = Map::new();
    document.insert("HairpinMode".to_owned(), false.into());
    for field in ["LinkLocalIPv6Address", "SandboxID"] {
        document.insert(field.to_owned(), "".into());
    }
    document.insert("LinkLocalIPv6PrefixLen".to_owned(), 0.into());
    for field in ["SecondaryIPAddresses", "SecondaryIPv6Addresses"] {
        document.insert(field.to_owned(), Value::Null);
    }
    Value::Object(document)
}

fn endpoint(names: &Value) -> Value {
    json!({
        "IPAMConfig": null,
        "Links": null,
        "DriverOpts": null,
        "GwPriority": 0,
        "DNSNames": names,
    })
}
