//! Where a container's control group is, and systemd in a container, which has groups below it.

use clap::Args;

use crate::spec::container::ContainerSpec;
use crate::spec::defaults::Defaults;
use crate::spec::group::{CgroupsMode, GroupParent};
use crate::spec::size::Size;
use crate::spec::systemd::SystemdMode;

/// Its control group, and whether it is for systemd.
#[derive(Args, Debug)]
pub(super) struct GroupsFlags {
    /// Group above its own: a path or a slice of systemd
    #[arg(long, value_name = "PATH|SLICE")]
    cgroup_parent: Option<GroupParent>,
    /// Control group: enabled, disabled, no-conmon or split
    ///
    /// With split, which is for units of systemd, its group and that of its monitor are below the one
    /// of who starts it. With disabled it has none, no limits, and not the capability MKNOD.
    #[arg(long, value_name = "MODE")]
    cgroups: Option<CgroupsMode>,
    /// Size of each file system in memory that systemd gets
    #[arg(long, value_name = "SIZE")]
    shm_size_systemd: Option<Size>,
    /// Make it for systemd: true (if its command is), always, false
    ///
    /// Then /run, /run/lock, /tmp and /var/log/journal are in memory, its control group of version 2
    /// can be written, and it is stopped by SIGRTMIN+3.
    #[arg(long, value_name = "MODE")]
    systemd: Option<SystemdMode>,
}

impl GroupsFlags {
    /// Adds it to what is asked for.
    pub(super) fn apply(self, usual: &Defaults, spec: &mut ContainerSpec) {
        let settings = &mut spec.settings;
        settings.cgroup_parent = self.cgroup_parent;
        settings.cgroups = self.cgroups.or(usual.cgroups).unwrap_or_default();
        settings.systemd = self.systemd.unwrap_or_default();
        settings.systemd_size = self.shm_size_systemd.map(|size| size.0);
    }
}
