//! What was asked for about a container's relation to the host, as in Docker's `HostConfig`.

use serde_json::{Map, Value, json};

use super::mounts;
use crate::spec::blkio::DeviceLimit;
use crate::spec::container::Settings;
use crate::spec::limits::RestartPolicy;
use crate::spec::log::LogSettings;
use crate::spec::network::PortMapping;
use crate::spec::security::{Seccomp, Security};

/// Bytes of /dev/shm if nothing else was asked for.
const SHM_SIZE: u64 = 64 << 20;

/// Makes the document.
pub(super) fn document(settings: &Settings) -> Value {
    let mut document = isolation(settings);
    if let (Value::Object(all), Value::Object(limits)) = (&mut document, limits(settings)) {
        all.extend(limits);
    }
    document
}

fn isolation(settings: &Settings) -> Value {
    let namespaces = &settings.namespaces;
    let retries = match settings.restart {
        RestartPolicy::OnFailure { retries } => retries.unwrap_or_default(),
        _ => 0,
    };
    json!({
        "Binds": mounts::binds(settings.mounts.iter()),
        "LogConfig": log(&settings.log),
        "NetworkMode": settings.network.to_string(),
        "PortBindings": bindings(&settings.ports),
        "RestartPolicy": { "Name": settings.restart.name(), "MaximumRetryCount": retries },
        "AutoRemove": settings.remove,
        "CapAdd": capabilities(&settings.security.cap_add),
        "CapDrop": capabilities(&settings.security.cap_drop),
        "CgroupMode": namespaces.cgroup.to_string(),
        "CgroupnsMode": namespaces.cgroup.to_string(),
        "Dns": settings.names.servers,
        "DnsOptions": settings.names.options,
        "DnsSearch": settings.names.search,
        "ExtraHosts": settings.names.host_entries().collect::<Vec<_>>(),
        "GroupAdd": settings.groups,
        "IpcMode": namespaces.ipc.to_string(),
        "PidMode": namespaces.pid.to_string(),
        "Privileged": settings.security.privileged,
        "ReadonlyRootfs": settings.read_only,
        "SecurityOpt": security_options(&settings.security),
        "Tmpfs": mounts::tmpfs(settings.mounts.iter()),
        "UTSMode": namespaces.uts.to_string(),
        "UsernsMode": settings.users.mode.to_string(),
        "Sysctls": settings.sysctls,
        "Runtime": "barge",
        "Init": settings.init,
        "Devices": devices_document(&settings.devices),
    })
}

pub(super) fn limits(settings: &Settings) -> Value {
    let resources = &settings.resources;
    let ulimits = settings.ulimits.iter().map(|limit| {
        json!({
            "Name": limit.name,
            "Soft": unlimited(limit.soft),
            "Hard": unlimited(limit.hard),
        })
    });
    json!({
        "OomScoreAdj": resources.oom_score_adj.unwrap_or_default(),
        "ShmSize": resources.shm_size.unwrap_or(SHM_SIZE),
        "CpuShares": resources.cpu_shares.unwrap_or_default(),
        "Memory": resources.memory.unwrap_or_default(),
        "NanoCpus": resources.nano_cpus.unwrap_or_default(),
        "CpuPeriod": resources.cpu_period.unwrap_or_default(),
        "CpuQuota": resources.cpu_quota.unwrap_or_default(),
        "CpuRealtimePeriod": resources.cpu_rt_period.unwrap_or_default(),
        "CpuRealtimeRuntime": resources.cpu_rt_runtime.unwrap_or_default(),
        "CpusetCpus": resources.cpuset_cpus.as_deref().unwrap_or_default(),
        "CpusetMems": resources.cpuset_mems.as_deref().unwrap_or_default(),
        "MemoryReservation": resources.memory_reservation.unwrap_or_default(),
        "MemorySwap": resources.memory_and_swap().unwrap_or_default(),
        "BlkioWeight": resources.io.weight.unwrap_or_default(),
        "BlkioWeightDevice": devices(&resources.io.device_weights, "Weight"),
        "BlkioDeviceReadBps": devices(&resources.io.read_bps, "Rate"),
        "BlkioDeviceWriteBps": devices(&resources.io.write_bps, "Rate"),
        "BlkioDeviceReadIOps": devices(&resources.io.read_iops, "Rate"),
        "BlkioDeviceWriteIOps": devices(&resources.io.write_iops, "Rate"),
        "MemorySwappiness": resources.swappiness,
        "OomKillDisable": resources.oom_kill_disable,
        "PidsLimit": resources.pids.unwrap_or_default(),
        "Ulimits": ulimits.collect::<Vec<_>>(),
    })
}

fn devices(limits: &[DeviceLimit], name: &str) -> Vec<Value> {
    limits.iter().map(|limit| json!({ "Path": limit.path, name: limit.value })).collect()
}

fn unlimited(limit: u64) -> i64 {
    i64::try_from(limit).unwrap_or(-1)
}

fn capabilities(names: &[String]) -> Vec<String> {
    let full = |name: &String| if name == "ALL" { name.clone() } else { format!("CAP_{name}") };
    names.iter().map(full).collect()
}

fn log(log: &LogSettings) -> Value {
    let options: Map<String, Value> =
        log.options().into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
    let tag = log.tag.as_deref().unwrap_or_default();
    let size = log.size_limit().map_or_else(|| "0B".to_owned(), |size| format!("{size}B"));
    json!({ "Type": log.driver.as_str(), "Config": options, "Tag": tag, "Size": size })
}

/// Lists published ports as they were asked for, by port of the container.
fn bindings(ports: &[PortMapping]) -> Map<String, Value> {
    let mut bindings: Map<String, Value> = Map::new();
    for mapping in ports {
        for index in 0..mapping.count {
            let inside =
                format!("{}/{}", mapping.container_port.saturating_add(index), mapping.protocol);
            let outside = mapping.host_port.map(|port| match mapping.choices {
                1 => port.saturating_add(index).to_string(),
                choices => format!("{port}-{}", port.saturating_add(choices - 1)),
            });
            let address = mapping.host_ip.map(|address| address.to_string());
            let binding = json!({
                "HostIp": address.unwrap_or_default(),
                "HostPort": outside.unwrap_or_default(),
            });
            match bindings.entry(inside).or_insert_with(|| json!([])) {
                Value::Array(list) => list.push(binding),
                other => *other = json!([binding]),
            }
        }
    }
    bindings
}

pub(super) fn security_options(security: &Security) -> Vec<String> {
    let mut options = Vec::new();
    if security.no_new_privileges {
        options.push("no-new-privileges".to_owned());
    }
    match &security.seccomp {
        Seccomp::Default => {}
        Seccomp::Unconfined => options.push("seccomp=unconfined".to_owned()),
        Seccomp::File(path) => options.push(format!("seccomp={}", path.display())),
    }
    options.extend(security.mask.iter().map(|path| format!("mask={}", path.display())));
    options.extend(security.unmask.iter().map(|path| format!("unmask={}", path.display())));
    options
}

/// Lists devices of the host.
pub(super) fn devices_document(devices: &[String]) -> Value {
    devices.iter().map(|device| device_document(device)).collect()
}

fn device_document(device: &str) -> Value {
    let mut fields = device.split(':');
    let host = fields.next().unwrap_or_default();
    let (mut inside, mut permissions) = (host, "rwm");
    for field in fields {
        if field.starts_with('/') { inside = field } else { permissions = field }
    }
    json!({ "PathOnHost": host, "PathInContainer": inside, "CgroupPermissions": permissions })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_bindings_by_container_port() {
        let ports: Vec<PortMapping> =
            ["8080-8081:80-81", "127.0.0.1::80"].iter().map(|text| text.parse().unwrap()).collect();
        assert_eq!(
            Value::Object(bindings(&ports)),
            json!({
                "80/tcp": [{"HostIp": "", "HostPort": "8080"}, {"HostIp": "127.0.0.1", "HostPort": ""}],
                "81/tcp": [{"HostIp": "", "HostPort": "8081"}],
            })
        );
    }

    #[test]
    fn splits_devices() {
        assert_eq!(
            device_document("/dev/sda:/dev/xvda:r"),
            json!({"PathOnHost": "/dev/sda", "PathInContainer": "/dev/xvda", "CgroupPermissions": "r"})
        );
        assert_eq!(device_document("/dev/fuse:rw")["PathInContainer"], "/dev/fuse");
    }
}
