//! The body of `POST /containers/create`, as Docker's clients write it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Deserializer};

use crate::api::membership::EndpointSettings;

/// Reads `null` as what there is if nothing is said: clients in Go write it for empty lists and maps.
pub(super) fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    from: D,
) -> Result<T, D::Error> {
    Option::<T>::deserialize(from).map(Option::unwrap_or_default)
}

/// Reads a list of words, or one word.
fn words<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<String>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Words {
        Many(Vec<String>),
        One(String),
    }
    Ok(Option::<Words>::deserialize(from)?.map(|words| match words {
        Words::Many(words) => words,
        Words::One(word) => vec![word],
    }))
}

/// A map whose values say nothing.
pub(super) type Set = BTreeMap<String, serde::de::IgnoredAny>;

/// What is asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct Asked {
    #[serde(deserialize_with = "or_default")]
    pub(super) hostname: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) domainname: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) user: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) exposed_ports: Set,
    #[serde(deserialize_with = "or_default")]
    pub(super) tty: bool,
    #[serde(deserialize_with = "or_default")]
    pub(super) open_stdin: bool,
    #[serde(deserialize_with = "or_default")]
    pub(super) stdin_once: bool,
    #[serde(deserialize_with = "or_default")]
    pub(super) env: Vec<String>,
    #[serde(deserialize_with = "words")]
    pub(super) cmd: Option<Vec<String>>,
    #[serde(deserialize_with = "words")]
    pub(super) entrypoint: Option<Vec<String>>,
    pub(super) healthcheck: Option<HealthAsked>,
    #[serde(deserialize_with = "or_default")]
    pub(super) image: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) volumes: Set,
    #[serde(deserialize_with = "or_default")]
    pub(super) working_dir: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) network_disabled: bool,
    #[serde(deserialize_with = "or_default")]
    pub(super) mac_address: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "or_default")]
    pub(super) stop_signal: String,
    pub(super) stop_timeout: Option<i64>,
    #[serde(deserialize_with = "or_default")]
    pub(super) host_config: HostAsked,
    #[serde(deserialize_with = "or_default")]
    pub(super) networking_config: NetworkingAsked,
}

/// How health is probed; times are in nanoseconds.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct HealthAsked {
    #[serde(deserialize_with = "or_default")]
    pub(super) test: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub(super) interval: u64,
    #[serde(deserialize_with = "or_default")]
    pub(super) timeout: u64,
    #[serde(deserialize_with = "or_default")]
    pub(super) start_period: u64,
    #[serde(deserialize_with = "or_default")]
    pub(super) start_interval: u64,
    #[serde(deserialize_with = "or_default")]
    pub(super) retries: u32,
}

/// Its networks.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct NetworkingAsked {
    #[serde(deserialize_with = "or_default")]
    pub(super) endpoints_config: BTreeMap<String, Option<EndpointSettings>>,
}

/// What is asked for about its relation to the host.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct HostAsked {
    #[serde(deserialize_with = "or_default")]
    pub(super) binds: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub(super) log_config: LogAsked,
    #[serde(deserialize_with = "or_default")]
    pub(super) network_mode: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) port_bindings: BTreeMap<String, Option<Vec<BindingAsked>>>,
    #[serde(deserialize_with = "or_default")]
    pub(super) restart_policy: RestartAsked,
    #[serde(deserialize_with = "or_default")]
    pub(super) auto_remove: bool,
    #[serde(deserialize_with = "or_default")]
    pub(super) volume_driver: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) volumes_from: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub(super) annotations: BTreeMap<String, String>,
    #[serde(deserialize_with = "or_default")]
    pub(super) cap_add: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub(super) cap_drop: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub(super) cgroupns_mode: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) dns: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub(super) dns_options: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub(super) dns_search: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub(super) extra_hosts: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub(super) group_add: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub(super) ipc_mode: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) links: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub(super) oom_score_adj: i32,
    #[serde(deserialize_with = "or_default")]
    pub(super) pid_mode: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) privileged: bool,
    #[serde(deserialize_with = "or_default")]
    pub(super) publish_all_ports: bool,
    #[serde(deserialize_with = "or_default")]
    pub(super) readonly_rootfs: bool,
    #[serde(deserialize_with = "or_default")]
    pub(super) security_opt: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub(super) tmpfs: BTreeMap<String, String>,
    #[serde(rename = "UTSMode", deserialize_with = "or_default")]
    pub(super) uts_mode: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) userns_mode: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) shm_size: i64,
    #[serde(deserialize_with = "or_default")]
    pub(super) sysctls: BTreeMap<String, String>,
    #[serde(deserialize_with = "or_default")]
    pub(super) cgroup_parent: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) devices: Vec<DeviceAsked>,
    #[serde(deserialize_with = "or_default")]
    pub(super) device_cgroup_rules: Vec<String>,
    #[serde(deserialize_with = "or_default")]
    pub(super) device_requests: Vec<DevicesAsked>,
    #[serde(deserialize_with = "or_default")]
    pub(super) runtime: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) storage_opt: BTreeMap<String, String>,
    #[serde(deserialize_with = "or_default")]
    pub(super) ulimits: Vec<UlimitAsked>,
    #[serde(deserialize_with = "or_default")]
    pub(super) mounts: Vec<MountAsked>,
    pub(super) masked_paths: Option<Vec<PathBuf>>,
    pub(super) readonly_paths: Option<Vec<PathBuf>>,
    pub(super) init: Option<bool>,
    #[serde(flatten)]
    pub(super) limits: LimitsAsked,
}

/// Limits: what `update` may change, too. 0 says nothing.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct LimitsAsked {
    #[serde(deserialize_with = "or_default")]
    pub(super) memory: i64,
    #[serde(deserialize_with = "or_default")]
    pub(super) memory_swap: i64,
    #[serde(deserialize_with = "or_default")]
    pub(super) memory_reservation: i64,
    pub(super) memory_swappiness: Option<i64>,
    #[serde(deserialize_with = "or_default")]
    pub(super) nano_cpus: i64,
    #[serde(deserialize_with = "or_default")]
    pub(super) cpu_shares: i64,
    #[serde(deserialize_with = "or_default")]
    pub(super) cpu_period: i64,
    #[serde(deserialize_with = "or_default")]
    pub(super) cpu_quota: i64,
    #[serde(deserialize_with = "or_default")]
    pub(super) cpuset_cpus: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) cpuset_mems: String,
    pub(super) pids_limit: Option<i64>,
    pub(super) oom_kill_disable: Option<bool>,
    #[serde(deserialize_with = "or_default")]
    pub(super) blkio_weight: u16,
    #[serde(deserialize_with = "or_default")]
    pub(super) blkio_weight_device: Vec<RateAsked>,
    #[serde(deserialize_with = "or_default")]
    pub(super) blkio_device_read_bps: Vec<RateAsked>,
    #[serde(deserialize_with = "or_default")]
    pub(super) blkio_device_write_bps: Vec<RateAsked>,
    #[serde(rename = "BlkioDeviceReadIOps", deserialize_with = "or_default")]
    pub(super) blkio_device_read_iops: Vec<RateAsked>,
    #[serde(rename = "BlkioDeviceWriteIOps", deserialize_with = "or_default")]
    pub(super) blkio_device_write_iops: Vec<RateAsked>,
}

/// A limit of one device.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct RateAsked {
    pub(super) path: PathBuf,
    #[serde(alias = "Weight")]
    pub(super) rate: u64,
}

/// Where its output goes.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct LogAsked {
    #[serde(rename = "Type", deserialize_with = "or_default")]
    pub(super) driver: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) config: BTreeMap<String, String>,
}

/// Where a port is published.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct BindingAsked {
    #[serde(deserialize_with = "or_default")]
    pub(super) host_ip: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) host_port: String,
}

/// Whether it is started again.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct RestartAsked {
    #[serde(deserialize_with = "or_default")]
    pub(super) name: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) maximum_retry_count: u32,
}

/// A device of the host.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct DeviceAsked {
    pub(super) path_on_host: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) path_in_container: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) cgroup_permissions: String,
}

/// Devices by what they can do, or by their names.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct DevicesAsked {
    #[serde(deserialize_with = "or_default")]
    pub(super) driver: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) count: i64,
    #[serde(rename = "DeviceIDs", deserialize_with = "or_default")]
    pub(super) ids: Vec<String>,
}

/// An rlimit; -1 is none.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct UlimitAsked {
    pub(super) name: String,
    pub(super) soft: i64,
    pub(super) hard: i64,
}

/// A mount.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct MountAsked {
    #[serde(rename = "Type", deserialize_with = "or_default")]
    pub(super) kind: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) source: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) target: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) read_only: bool,
    #[serde(deserialize_with = "or_default")]
    pub(super) bind_options: BindAsked,
    #[serde(deserialize_with = "or_default")]
    pub(super) volume_options: VolumeAsked,
    #[serde(deserialize_with = "or_default")]
    pub(super) image_options: ImageAsked,
    #[serde(deserialize_with = "or_default")]
    pub(super) tmpfs_options: TmpfsAsked,
}

/// What is particular about a bind.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct BindAsked {
    #[serde(deserialize_with = "or_default")]
    pub(super) propagation: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) non_recursive: bool,
    #[serde(deserialize_with = "or_default")]
    pub(super) create_mountpoint: bool,
    #[serde(deserialize_with = "or_default")]
    pub(super) read_only_non_recursive: bool,
}

/// What is particular about a volume.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct VolumeAsked {
    #[serde(deserialize_with = "or_default")]
    pub(super) no_copy: bool,
    #[serde(deserialize_with = "or_default")]
    pub(super) labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "or_default")]
    pub(super) driver_config: DriverAsked,
    #[serde(deserialize_with = "or_default")]
    pub(super) subpath: String,
}

/// The driver of a volume.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct DriverAsked {
    #[serde(deserialize_with = "or_default")]
    pub(super) name: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) options: BTreeMap<String, String>,
}

/// What is particular about the files of an image.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct ImageAsked {
    #[serde(deserialize_with = "or_default")]
    pub(super) subpath: String,
}

/// What is particular about a file system in memory.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct TmpfsAsked {
    #[serde(deserialize_with = "or_default")]
    pub(super) size_bytes: u64,
    #[serde(deserialize_with = "or_default")]
    pub(super) mode: u32,
    /// A word each, or a name and its value.
    #[serde(deserialize_with = "or_default")]
    pub(super) options: Vec<Vec<String>>,
}
