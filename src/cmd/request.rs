//! From the flags of `run` and `create` to a container as it is asked for.

use std::collections::BTreeMap;
use std::path::Path;
use std::{env, fs};

use super::flags::ContainerFlags;
use super::output;
use crate::error::{Context, Error, Kind, Result};
use crate::spec::container::{ContainerSpec, LogSettings, Settings, SharedNamespaces};
use crate::spec::env::{parse, parse_file, parse_label};
use crate::spec::limits::{Resources, RestartPolicy};
use crate::spec::mount::{Mount, MountSource};
use crate::spec::network::{NameResolution, NetworkMode};
use crate::spec::security::Security;

impl ContainerFlags {
    /// Returns the container that the flags ask for.
    pub(crate) fn request(self) -> Result<ContainerSpec> {
        let mut words = self.words.into_iter();
        let image = words.next().unwrap_or_default();
        let mut security = Security {
            privileged: self.privileged,
            cap_add: self.cap_add,
            cap_drop: self.cap_drop,
            ..Security::default()
        };
        for option in &self.security_opt {
            security.apply(option)?;
        }
        let mut log =
            LogSettings { driver: self.log_driver.unwrap_or_default(), ..LogSettings::default() };
        for option in &self.log_opt {
            log.apply(option)?;
        }
        if self.cpus.is_some() && (self.cpu_period.is_some() || self.cpu_quota.is_some()) {
            let other = if self.cpu_period.is_some() { "cpu-period" } else { "cpu-quota" };
            return Err(together("cpus", other));
        }
        if let Some(dir) = self.workdir.as_deref().filter(|dir| !dir.is_absolute()) {
            let text = format!(
                "the working directory \"{}\" is invalid, it needs to be an absolute path",
                dir.display()
            );
            return Err(Error::new(Kind::Invalid, text));
        }
        let restart = self.restart.unwrap_or_default();
        if self.rm && restart != RestartPolicy::No {
            return Err(Error::new(
                Kind::Invalid,
                "the --rm option conflicts with --restart, when the restartPolicy is not \"\" and \"no\"",
            ));
        }
        if self.replace && self.name.is_none() {
            return Err(Error::new(
                Kind::Invalid,
                "cannot replace container without --name being set",
            ));
        }
        let network = self.network.unwrap_or_default();
        let mut ports = self.publish;
        if let (false, NetworkMode::None | NetworkMode::Host | NetworkMode::Container(_)) =
            (ports.is_empty() && !self.publish_all, &network)
        {
            output::warning(&format!(
                "Port mappings have been discarded because \"{network}\" network namespace mode does not support them"
            ));
            ports.clear();
        }
        let host = |share: Option<super::flags::Share>| share.is_some_and(|share| share.0);
        Ok(ContainerSpec {
            image,
            platform: self.pull.platform()?,
            name: self.name,
            command: words.collect(),
            entrypoint: self.entrypoint.as_deref().map(entrypoint),
            env: environment(&self.env_file, &self.env)?,
            unset_env: self.unsetenv,
            working_dir: self.workdir,
            user: self.user,
            labels: labels(&self.label_file, self.label)?,
            stop_signal: self.stop_signal,
            exposed_ports: self.expose.into_iter().flatten().collect(),
            publish_all: self.publish_all,
            replace: self.replace,
            settings: Settings {
                hostname: self.hostname,
                tty: self.tty,
                interactive: self.interactive,
                remove: self.rm,
                cidfile: self.cidfile,
                init: self.init,
                read_only: self.read_only,
                mounts: mounts(self.volume.into_iter().chain(self.mount).chain(self.tmpfs))?,
                devices: self.device,
                groups: self.group_add,
                network,
                ports,
                names: NameResolution {
                    servers: self.dns,
                    search: self.dns_search,
                    options: self.dns_option,
                    hosts: self.add_host.into_iter().flatten().collect(),
                },
                resources: Resources {
                    memory: self.memory.map(|size| size.0),
                    memory_swap: self.memory_swap,
                    memory_reservation: self.memory_reservation.map(|size| size.0),
                    nano_cpus: self.cpus,
                    cpu_shares: self.cpu_shares,
                    cpu_period: self.cpu_period,
                    cpu_quota: self.cpu_quota,
                    cpuset_cpus: self.cpuset_cpus,
                    cpuset_mems: self.cpuset_mems,
                    pids: self.pids_limit,
                    shm_size: self.shm_size.map(|size| size.0),
                    oom_score_adj: self.oom_score_adj,
                    oom_kill_disable: self.oom_kill_disable,
                },
                ulimits: self.ulimit,
                sysctls: self.sysctl.into_iter().collect(),
                security,
                share: SharedNamespaces {
                    pid: host(self.pid),
                    ipc: host(self.ipc),
                    uts: host(self.uts),
                    cgroup: host(self.cgroupns),
                },
                stop_timeout: self.stop_timeout,
                restart,
                log,
                umask: self.umask,
                pidfile: self.pidfile,
                annotations: self.annotation.into_iter().collect(),
            },
        })
    }
}

/// Says that two flags contradict each other.
pub(crate) fn together(one: &str, other: &str) -> Error {
    Error::new(Kind::Invalid, format!("--{one} and --{other} cannot be set together"))
}

/// Reads an entrypoint: one word, a JSON list of words, or nothing at all.
fn entrypoint(text: &str) -> Vec<String> {
    match serde_json::from_str::<Vec<String>>(text) {
        Ok(words) => words,
        Err(_) if text.is_empty() => Vec::new(),
        Err(_) => vec![text.to_owned()],
    }
}

/// Returns the variables of files and flags, the later ones of a name last.
pub(crate) fn environment(
    files: &[impl AsRef<Path>],
    words: &[String],
) -> Result<Vec<(String, String)>> {
    if files.is_empty() && words.is_empty() {
        return Ok(Vec::new());
    }
    // What is not UTF-8 cannot be taken over: records are JSON.
    let caller: Vec<(String, String)> = env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let mut variables = Vec::new();
    for file in files {
        let name = file.as_ref().display();
        let content = read(file.as_ref())?;
        variables.extend(parse_file(&content, &caller).context(|| format!("cannot use {name}"))?);
    }
    for word in words {
        variables.extend(parse(word, &caller)?);
    }
    Ok(variables)
}

fn labels(
    files: &[impl AsRef<Path>],
    given: Vec<(String, String)>,
) -> Result<BTreeMap<String, String>> {
    let mut labels = BTreeMap::new();
    for file in files {
        for line in read(file.as_ref())?.lines().map(str::trim) {
            if !line.is_empty() && !line.starts_with('#') {
                labels.extend([parse_label(line)?]);
            }
        }
    }
    labels.extend(given);
    Ok(labels)
}

fn read(file: &Path) -> Result<String> {
    fs::read_to_string(file).context(|| format!("cannot read {}", file.display()))
}

/// Makes the sources of binds absolute, and refuses two mounts at one place.
fn mounts(given: impl Iterator<Item = Mount>) -> Result<Vec<Mount>> {
    let mut mounts: Vec<Mount> = Vec::new();
    for mut mount in given {
        if let MountSource::Bind { path, .. } = &mut mount.source {
            *path = std::path::absolute(&*path)
                .context(|| format!("cannot resolve {}", path.display()))?;
        }
        if mounts.iter().any(|other| other == &mount) {
            continue;
        }
        if mounts.iter().any(|other| other.target == mount.target) {
            return Err(Error::new(
                Kind::Invalid,
                format!("{}: duplicate mount destination", mount.target.display()),
            ));
        }
        mounts.push(mount);
    }
    Ok(mounts)
}
