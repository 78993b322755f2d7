//! What Docker's and Podman's documents always have, also where a container here has nothing to say.
//!
//! Templates ask for fields without looking whether they are there, so every one is.

use serde_json::{Map, Value, json};

use crate::engine;
use crate::spec::membership::DEFAULT_NETWORK;
use crate::store::Store;
use crate::store::container::Container;

/// Adds what a container's document lacks; what it has stays.
pub(super) fn complete(document: &mut Value, store: &Store, container: &Container) {
    add(document, top(store, container));
    add(&mut document["State"], state(container));
    add(&mut document["HostConfig"], host_config(container));
    add(&mut document["Config"], config());
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
        "ConmonPidFile": "",
        "BoundingCaps": capabilities,
        "EffectiveCaps": capabilities,
        "Dependencies": [],
        "IsInfra": false,
        "IsService": false,
        "KubeExitCodePropagation": "invalid",
        "lockNumber": 0,
        "UseImageHosts": false,
        "UseImageHostname": false,
    })
}

fn config() -> Value {
    json!({
        "MacAddress": "",
        "Timeout": 0,
        "CreateCommand": null,
        "Passwd": true,
        "HealthcheckOnFailureAction": "none",
        "sdNotifyMode": "container",
    })
}

fn state(container: &Container) -> Value {
    const NEVER: &str = "0001-01-01T00:00:00Z";
    let monitor = container.state.status.monitored().map_or(0, |run| run.monitor);
    json!({
        "OciVersion": oci_spec::runtime::VERSION,
        "ConmonPid": monitor,
        "StoppedByUser": container.state.stopped_by_user,
        "CheckpointedAt": NEVER,
        "RestoredAt": NEVER,
    })
}

fn host_config(container: &Container) -> Value {
    let settings = &container.config.settings;
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
        "Cgroups": "default",
        "DiskQuota": 0,
        "HostsFile": "",
        "CgroupManager": "cgroupfs",
        "CgroupParent": "",
        "Links": links(container),
        "PublishAllPorts": false,
        "Isolation": "",
        "MaskedPaths": masked,
        "ReadonlyPaths": read_only,
    });
    add(&mut document, nothing_limited());
    document
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
        "DeviceCgroupRules": null,
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
