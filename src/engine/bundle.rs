//! From what was decided to the OCI runtime's words: a pure function of configuration and host facts.

mod cdi;
mod devices;
mod io;
mod mounts;
mod security;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use oci_spec::runtime::{
    Linux, LinuxCpu, LinuxMemory, LinuxNamespace, LinuxNamespaceType, LinuxPersonality,
    LinuxPersonalityDomain, LinuxPids, LinuxResources, Process, Root, Spec, User,
};

use crate::error::Result;
use crate::runtime::rlimit;
use crate::spec::cdi::Edits;
use crate::spec::container::Settings;
use crate::spec::group::CgroupsMode;
use crate::spec::limits::Resources;
use crate::spec::process::Personality;
use crate::store::container::ContainerConfig;
use crate::store::volume::Volume;

pub(super) use devices::usual as usual_devices;
pub(super) use mounts::{HostDir, lasting as lasting_mounts, mount, tree_of_host};
pub(super) use security::{capabilities, filter, profile};
pub use security::{capability_names, hidden_paths};

/// The number of processes that a container may have unless the user says otherwise.
const DEFAULT_PIDS: i64 = 2048;

/// What the bundle depends on besides the configuration.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// Its name; none where nobody looks at it.
    pub(super) name: String,
    /// Whether we have no power over the machine.
    pub(super) rootless: bool,
    /// Whether there is a group 0 in it.
    pub(super) has_root_group: bool,
    /// Who its root is to us, in a user namespace that is not ours.
    pub(super) owner: Option<(u32, u32)>,
    /// Whether it has a user namespace that is not ours.
    pub(super) own_users: bool,
    /// Whether only one user and group ID exists here.
    pub(super) single_id: bool,
    /// Directory of the container's own hosts, hostname and resolv.conf.
    pub(super) run_dir: PathBuf,
    /// Our own executable.
    pub(super) executable: PathBuf,
    /// The container's cgroup, below each hierarchy's mount point.
    pub(super) cgroup: String,
    /// Its volumes by name, and where the files of each are.
    pub(super) volumes: BTreeMap<String, (Volume, PathBuf)>,
    /// Where volumes are mounted that were made before: those in memory and those of other machines.
    pub(super) memory: Vec<PathBuf>,
    /// The layers of images that it mounts, by the number of the mount; the uppermost first.
    pub(super) images: BTreeMap<usize, Vec<PathBuf>>,
    /// Where changes of what is mounted go that are discarded.
    pub(super) overlays: PathBuf,
    /// Its user and group, if mounts are to be given to them.
    pub(super) user: Option<(u32, u32)>,
    /// For `builtin/host`: the directories of this machine that are shown, and where changes go.
    pub(super) host_tree: Vec<HostDir>,
    /// Variables of this run, beside those that were decided.
    pub(super) env: Vec<String>,
    /// Whether it gets a socket to tell the service manager how it is.
    pub(super) notify: bool,
    /// What its devices change that it has by name.
    pub(super) edits: Vec<Edits>,
}

/// Describes a container to the runtime.
pub(super) fn spec(config: &ContainerConfig, facts: &Facts) -> Result<Spec> {
    let settings = &config.settings;
    let mut spec = Spec::default();
    let mut root = Root::default();
    root.set_path(PathBuf::from("rootfs")).set_readonly(Some(settings.read_only));
    spec.set_root(Some(root))
        .set_mounts(Some(mounts::all(config, facts)?))
        .set_process(Some(process(config, facts)?))
        .set_hostname(hostname(config))
        .set_domainname(domainname(config))
        .set_linux(Some(linux(config, facts)?));
    if !settings.annotations.is_empty() {
        spec.set_annotations(Some(settings.annotations.clone().into_iter().collect()));
    }
    cdi::apply(&mut spec, config, facts)?;
    Ok(spec)
}

/// The host name that is set in the container; none if it shares the host's.
fn hostname(config: &ContainerConfig) -> Option<String> {
    if !config.settings.namespaces.uts.is_own() {
        return None;
    }
    Some(config.hostname().to_owned())
}

/// The NIS domain that is set in the container; none if it shares the host's.
fn domainname(config: &ContainerConfig) -> Option<String> {
    let own = config.settings.namespaces.uts.is_own();
    config.settings.domainname.clone().filter(|_| own)
}

fn process(config: &ContainerConfig, facts: &Facts) -> Result<Process> {
    let mut args = match &config.settings.init_path {
        Some(_) => vec![INIT.to_owned(), "--".to_owned()],
        None => Vec::new(),
    };
    args.push(config.path.clone());
    args.extend_from_slice(&config.args);
    let mut env = [&config.env[..], &facts.env].concat();
    if facts.notify {
        env.push(format!("NOTIFY_SOCKET={NOTIFY}"));
    }
    let mut process = base_process(config)?;
    process
        .set_terminal(Some(config.settings.tty))
        .set_args(Some(args))
        .set_env(Some(env))
        .set_cwd(config.working_dir.clone());
    Ok(process)
}

/// The part of a process that its container decides: for the first one and for those of `exec`.
pub(super) fn base_process(config: &ContainerConfig) -> Result<Process> {
    let settings = &config.settings;
    let mut user = User::default();
    user.set_umask(Some(settings.umask.unwrap_or(0o022)));
    let mut process = Process::default();
    process
        .set_user(user)
        .set_cwd(PathBuf::from("/"))
        .set_no_new_privileges(Some(settings.security.no_new_privileges))
        .set_oom_score_adj(settings.resources.oom_score_adj)
        .set_rlimits(Some(rlimit::resolve(&settings.ulimits)?))
        .set_capabilities(Some(capabilities(&settings.security)?));
    Ok(process)
}

fn linux(config: &ContainerConfig, facts: &Facts) -> Result<Linux> {
    let settings = &config.settings;
    let security = &settings.security;
    let mut linux = Linux::default();
    let (masked, read_only) = hidden_paths(security);
    linux
        .set_namespaces(Some(namespaces(config)))
        .set_cgroups_path(Some(PathBuf::from(&facts.cgroup)))
        .set_resources(Some(resources(config)?))
        .set_devices(Some(devices::all(config, facts)?))
        .set_masked_paths(Some(masked))
        .set_readonly_paths(Some(read_only));
    if let Some(personality) = settings.personality {
        linux.set_personality(Some(personality_of(personality)));
    }
    let sysctls = sysctls(config, facts);
    if !sysctls.is_empty() {
        linux.set_sysctl(Some(sysctls));
    }
    Ok(linux)
}

fn personality_of(asked: Personality) -> LinuxPersonality {
    let mut personality = LinuxPersonality::default();
    personality.set_domain(match asked {
        Personality::Linux => LinuxPersonalityDomain::PerLinux,
        Personality::Linux32 => LinuxPersonalityDomain::PerLinux32,
    });
    personality
}

/// Kernel parameters: as Docker, users other than root may listen on low ports, and root may ping.
fn sysctls(config: &ContainerConfig, facts: &Facts) -> HashMap<String, String> {
    let mut sysctls = HashMap::new();
    if config.has_own_network() {
        for (name, value) in
            [("net.ipv4.ip_unprivileged_port_start", "0"), ("net.ipv4.ping_group_range", "0 0")]
        {
            sysctls.insert(name.to_owned(), value.to_owned());
        }
    }
    if !facts.has_root_group {
        // It would be nobody's.
        sysctls.remove("net.ipv4.ping_group_range");
    }
    sysctls.extend(config.settings.sysctls.clone());
    sysctls
}

fn namespaces(config: &ContainerConfig) -> Vec<LinuxNamespace> {
    let own = &config.settings.namespaces;
    [
        (LinuxNamespaceType::Mount, true),
        (LinuxNamespaceType::Pid, own.pid.is_own()),
        (LinuxNamespaceType::Ipc, own.ipc.is_own()),
        (LinuxNamespaceType::Uts, own.uts.is_own()),
        (LinuxNamespaceType::Cgroup, own.cgroup.is_own()),
        (LinuxNamespaceType::Network, config.has_own_network()),
    ]
    .into_iter()
    .filter(|(_, own)| *own)
    .map(|(kind, _)| {
        let mut namespace = LinuxNamespace::default();
        namespace.set_typ(kind);
        namespace
    })
    .collect()
}

fn resources(config: &ContainerConfig) -> Result<LinuxResources> {
    let asked = &config.settings.resources;
    let mut resources = LinuxResources::default();
    resources.set_memory(memory(asked)).set_cpu(cpu(asked)).set_devices(devices::rules(config));
    resources.set_pids(Some(pids(asked))).set_block_io(io::limits(&asked.io)?);
    if config.settings.debugged.as_ref().is_some_and(|other| other.runs) {
        // The limits are those of the container that it looks into.
        resources.set_pids(None);
    }
    if config.settings.cgroups == CgroupsMode::Disabled {
        resources.set_pids(None).set_devices(None);
    }
    if !asked.unified.is_empty() {
        resources.set_unified(Some(asked.unified.clone().into_iter().collect()));
    }
    Ok(resources)
}

fn pids(asked: &Resources) -> LinuxPids {
    let most = asked.pids.unwrap_or(DEFAULT_PIDS);
    let mut pids = LinuxPids::default();
    pids.set_limit(if most <= 0 { -1 } else { most });
    pids
}

/// Describes limits that were changed to the runtime, and those that go together with them.
pub(super) fn changed_resources(all: &Resources, changed: &Resources) -> Result<LinuxResources> {
    let mut resources = LinuxResources::default();
    if changed.memory.is_some()
        || changed.memory_swap.is_some()
        || changed.memory_reservation.is_some()
        || changed.swappiness.is_some()
    {
        resources.set_memory(memory(all));
    }
    let time = Resources {
        cpuset_cpus: changed.cpuset_cpus.clone(),
        cpuset_mems: changed.cpuset_mems.clone(),
        cpu_shares: changed.cpu_shares,
        cpu_rt_period: changed.cpu_rt_period,
        cpu_rt_runtime: changed.cpu_rt_runtime,
        ..Resources::default()
    };
    let mut wanted = cpu(&time).unwrap_or_default();
    if changed.nano_cpus.is_some() || changed.cpu_period.is_some() || changed.cpu_quota.is_some() {
        let limited = cpu(all).unwrap_or_default();
        // A quota of none or 0 is no limit; that has to be said where there was one.
        wanted
            .set_period(limited.period())
            .set_quota(Some(limited.quota().filter(|quota| *quota != 0).unwrap_or(-1)));
    }
    if wanted != LinuxCpu::default() {
        resources.set_cpu(Some(wanted));
    }
    if changed.pids.is_some() {
        resources.set_pids(Some(pids(all)));
    }
    resources.set_block_io(io::limits(&changed.io)?);
    Ok(resources)
}

fn memory(asked: &Resources) -> Option<LinuxMemory> {
    let bytes = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let mut memory = LinuxMemory::default();
    memory
        .set_limit(asked.memory.map(bytes))
        .set_reservation(asked.memory_reservation.map(bytes))
        .set_swap(asked.memory_and_swap())
        .set_swappiness(asked.swappiness)
        .set_disable_oom_killer(asked.oom_kill_disable.then_some(true));
    (memory != LinuxMemory::default()).then_some(memory)
}

/// The length of a scheduling period in microseconds, as Docker sets it for `--cpus`.
const PERIOD: u64 = 100_000;

fn cpu(asked: &Resources) -> Option<LinuxCpu> {
    let mut cpu = LinuxCpu::default();
    cpu.set_shares(asked.cpu_shares)
        .set_period(asked.cpu_period)
        .set_quota(asked.cpu_quota)
        .set_realtime_period(asked.cpu_rt_period)
        .set_realtime_runtime(asked.cpu_rt_runtime.map(|it| i64::try_from(it).unwrap_or(i64::MAX)))
        .set_cpus(asked.cpuset_cpus.clone())
        .set_mems(asked.cpuset_mems.clone());
    if let Some(nano) = asked.nano_cpus {
        // A billionth of a processor is PERIOD / 10^9 microseconds in each period.
        let quota = i64::try_from(nano.saturating_mul(PERIOD) / 1_000_000_000).unwrap_or(i64::MAX);
        cpu.set_period(Some(PERIOD)).set_quota(Some(quota));
    }
    (cpu != LinuxCpu::default()).then_some(cpu)
}

/// Where a program of the host is seen that is process 1 instead of ours.
const INIT: &str = "/run/barge-init";

/// Where a container's program tells the service manager how it is.
const NOTIFY: &str = "/run/notify/notify.sock";

/// A container's own files that it may share with others: name and path in it.
const NAME_FILES: [(&str, &str); 3] =
    [("resolv.conf", "/etc/resolv.conf"), ("hostname", "/etc/hostname"), ("hosts", "/etc/hosts")];

/// The files that a container gets besides its image's: name and path in it.
pub(super) fn own_files(settings: &Settings) -> Vec<(&'static str, &'static str)> {
    let names = &settings.names;
    let wanted = |name: &str| match name {
        "resolv.conf" => !names.no_resolver,
        "hostname" => !names.no_hostname,
        _ => !names.no_hosts,
    };
    let mut files: Vec<_> = NAME_FILES.into_iter().filter(|(name, _)| wanted(name)).collect();
    // Programs look for it to find out whether they are in a container.
    files.push(("containerenv", "/run/.containerenv"));
    if settings.time_zone.is_some() {
        files.push(("localtime", "/etc/localtime"));
    }
    files
}

/// The names of the files that a container takes over from another whose network it shares.
pub(super) fn name_files() -> impl Iterator<Item = &'static str> {
    NAME_FILES.into_iter().map(|(name, _)| name)
}

/// The path of a file that is bound into a container as a secret.
pub(super) fn secret_file(run_dir: &Path, index: usize) -> PathBuf {
    run_dir.join("secrets").join(index.to_string())
}

/// The path of one of a container's own files.
pub(super) fn own_file(run_dir: &Path, name: &str) -> PathBuf {
    run_dir.join(name)
}
