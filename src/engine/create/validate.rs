//! What is wrong with a request, found before anything is made.

use std::path::Path;

use super::limits;
use crate::engine::{Engine, bundle, cdi, time_zone};
use crate::error::{Context, Error, Kind, Result};
use crate::runtime::rlimit;
use crate::spec::container::{ContainerSpec, RootfsDir, Settings};
use crate::spec::group::CgroupsMode;
use crate::spec::limits::Resources;
use crate::spec::mount::{Mount, MountSource};
use crate::spec::sysctl::{SysctlNamespace, namespace_of};

impl Engine {
    /// Finds what is wrong with a request before anything is made.
    pub(in crate::engine) fn validate(&self, spec: &ContainerSpec) -> Result<()> {
        let settings = &spec.settings;
        bundle::capabilities(&settings.security)?;
        if let Some(dir) = spec.working_dir.as_ref().filter(|dir| !dir.is_absolute()) {
            let message =
                format!("the working directory `{}` is not an absolute path", dir.display());
            return Err(Error::new(Kind::Invalid, message));
        }
        rlimit::resolve(&settings.ulimits)?;
        settings.log.check_terminal(settings.tty)?;
        if let Some(zone) = &settings.time_zone {
            time_zone::read(zone)?;
        }
        if let Some(program) = &settings.init_path {
            std::fs::metadata(program).context(|| format!("statfs {}", program.display()))?;
        }
        cdi::edits(settings)?;
        check_groups(settings)?;
        limits::check(&settings.resources)?;
        if let Some(RootfsDir { path, .. }) = &settings.rootfs {
            let found = std::fs::metadata(path).context(|| format!("statfs {}", path.display()))?;
            if !found.is_dir() {
                let message = format!("the root file system {} is no directory", path.display());
                return Err(Error::new(Kind::Invalid, message));
            }
        }
        for mount in &settings.mounts {
            if let MountSource::Bind { path, create: false } = &mount.source {
                std::fs::metadata(path).context(|| format!("statfs {}", path.display()))?;
            }
        }
        if self.host.rootless && settings.mounts.iter().any(|mount| mount.idmap) {
            return Err(Error::new(
                Kind::Unsupported,
                "the mount option `idmap` needs root: the kernel lets nobody else map owners",
            )
            .hint("U gives the files to the container's user instead"));
        }
        // What lies below a path may lead elsewhere by the time it is looked at.
        let changes = |mount: &Mount| mount.chown || mount.overlay.is_some();
        if settings.mounts.iter().any(|mount| mount.subpath.is_some() && changes(mount)) {
            return Err(Error::new(
                Kind::Invalid,
                "the mount options `U` and `O` cannot be set together with a subpath",
            ));
        }
        let mut targets: Vec<&Path> =
            settings.mounts.iter().map(|mount| mount.target.as_path()).collect();
        targets.sort();
        if let Some(twice) = targets.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Error::new(
                Kind::Invalid,
                format!("{}: duplicate mount destination", twice[0].display()),
            ));
        }
        if self.host.rootless && !settings.device_rules.is_empty() {
            return Err(Error::new(
                Kind::Unsupported,
                "device cgroup rules are not supported in rootless mode or in a user namespace",
            )
            .hint("--device shows a device that you may use yourself"));
        }
        // They become a part of /etc/hosts, where another line is another machine.
        let bad = |name: &&String| name.contains(|it: char| it.is_whitespace() || it.is_control());
        if let Some(name) =
            [&settings.hostname, &settings.domainname].into_iter().flatten().find(bad)
        {
            return Err(Error::new(Kind::Invalid, format!("invalid host name {name:?}")));
        }
        let (own_network, own) = (settings.network.is_own(), &settings.namespaces);
        if let Some(name) = settings
            .sysctls
            .keys()
            .find(|name| !is_of_namespace(name, own.ipc.is_own(), own_network, own.uts.is_own()))
        {
            return Err(Error::new(
                Kind::Invalid,
                format!("sysctl `{name}` cannot be set for one container"),
            )
            .hint("only those of the container's own network, IPC and host name namespaces can"));
        }
        Ok(())
    }
}

/// Refuses what control groups are needed for, where there are none.
fn check_groups(settings: &Settings) -> Result<()> {
    let invalid = |text: &str| Err(Error::new(Kind::Invalid, text));
    let others = Resources { shm_size: None, oom_score_adj: None, ..settings.resources.clone() };
    match settings.cgroups {
        CgroupsMode::Enabled => Ok(()),
        _ if settings.cgroup_parent.is_some() => {
            invalid("cannot set a cgroup parent if cgroups are disabled or split")
        }
        CgroupsMode::Disabled if others != Resources::default() => {
            invalid("cannot specify resource limits when cgroups are disabled")
        }
        CgroupsMode::Disabled | CgroupsMode::Split => Ok(()),
    }
}

/// Tells whether a kernel parameter belongs to one of a container's own namespaces, as Docker sees it.
fn is_of_namespace(name: &str, ipc: bool, network: bool, uts: bool) -> bool {
    match namespace_of(name) {
        Some(SysctlNamespace::Ipc) => ipc,
        Some(SysctlNamespace::Network) => network,
        Some(SysctlNamespace::Uts) => uts,
        Some(SysctlNamespace::User) | None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_whose_parameters_are_whose() {
        for (name, ipc, network, want) in [
            ("net.ipv4.ip_forward", true, true, true),
            ("net.ipv4.ip_forward", true, false, false),
            ("kernel.sem", true, true, true),
            ("kernel.sem", false, true, false),
            ("fs.mqueue.msg_max", true, true, true),
            ("kernel.panic", true, true, false),
            ("vm.swappiness", true, true, false),
        ] {
            assert_eq!(is_of_namespace(name, ipc, network, true), want, "{name}");
        }
    }
}
