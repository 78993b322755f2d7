//! How much of the machine's disks a container may use, and settings of its control group.

use std::collections::BTreeMap;

use clap::Args;

use super::disks::DisksFlags;
use crate::error::Result;
use crate::spec::blkio::DeviceRule;
use crate::spec::container::ContainerSpec;
use crate::spec::defaults::Defaults;
use crate::spec::env::parse_pair;

/// How much it may use of disks, and how its control group is set.
#[derive(Args, Debug)]
pub(super) struct IoFlags {
    #[command(flatten)]
    disks: DisksFlags,
    /// Write a file of its control group (version 2 only)
    #[arg(long, value_name = "FILE=VALUE", value_parser = parse_pair)]
    cgroup_conf: Vec<(String, String)>,
    /// Allow devices by number, as in "c 1:3 rwm"
    #[arg(long, value_name = "RULE")]
    device_cgroup_rule: Vec<DeviceRule>,
}

impl IoFlags {
    /// Adds it to what is asked for.
    pub(super) fn apply(self, usual: &Defaults, spec: &mut ContainerSpec) -> Result<()> {
        let resources = &mut spec.settings.resources;
        resources.io = self.disks.limits();
        let files = usual.cgroup_conf.all().iter().cloned().chain(self.cgroup_conf);
        resources.unified = files.collect::<BTreeMap<_, _>>();
        spec.settings.device_rules = self.device_cgroup_rule;
        Ok(())
    }
}
