//! How much of the machine's disks a container may use, and settings of its control group.

use std::collections::BTreeMap;

use clap::Args;

use crate::error::{Error, Kind, Result};
use crate::spec::blkio::{
    BlockIo, DeviceLimit, DeviceRule, parse_device_weight, parse_operations, parse_rate,
    parse_weight,
};
use crate::spec::container::ContainerSpec;
use crate::spec::defaults::Defaults;
use crate::spec::env::parse_pair;

/// How much it may use of disks, and how its control group is set.
#[derive(Args, Debug)]
pub(super) struct IoFlags {
    /// Relative weight of its disk accesses, 10 to 1000
    #[arg(long, value_name = "WEIGHT", value_parser = parse_weight)]
    blkio_weight: Option<u16>,
    /// The same for one device
    #[arg(long, value_name = "DEVICE:WEIGHT", value_parser = parse_device_weight)]
    blkio_weight_device: Vec<DeviceLimit>,
    /// Write a file of its control group (version 2 only)
    #[arg(long, value_name = "FILE=VALUE", value_parser = parse_pair)]
    cgroup_conf: Vec<(String, String)>,
    /// Allow devices by number, as in "c 1:3 rwm"
    #[arg(long, value_name = "RULE")]
    device_cgroup_rule: Vec<DeviceRule>,
    /// Most bytes a second that it reads of a device
    #[arg(long, value_name = "DEVICE:RATE", value_parser = parse_rate)]
    device_read_bps: Vec<DeviceLimit>,
    /// Most reads a second of a device
    #[arg(long, value_name = "DEVICE:RATE", value_parser = parse_operations)]
    device_read_iops: Vec<DeviceLimit>,
    /// Most bytes a second that it writes to a device
    #[arg(long, value_name = "DEVICE:RATE", value_parser = parse_rate)]
    device_write_bps: Vec<DeviceLimit>,
    /// Most writes a second to a device
    #[arg(long, value_name = "DEVICE:RATE", value_parser = parse_operations)]
    device_write_iops: Vec<DeviceLimit>,
    /// How readily its memory is swapped out, 0 to 100, or -1
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    memory_swappiness: Option<i64>,
}

impl IoFlags {
    /// Adds it to what is asked for.
    pub(super) fn apply(self, usual: &Defaults, spec: &mut ContainerSpec) -> Result<()> {
        let resources = &mut spec.settings.resources;
        resources.swappiness = match self.memory_swappiness {
            None | Some(-1) => None,
            Some(value) => match u64::try_from(value) {
                Ok(value) if value <= 100 => Some(value),
                _ => {
                    return Err(Error::new(
                        Kind::Invalid,
                        format!("invalid value: {value}, valid memory swappiness range is 0-100"),
                    ));
                }
            },
        };
        resources.io = BlockIo {
            weight: self.blkio_weight.filter(|weight| *weight > 0),
            device_weights: self.blkio_weight_device,
            read_bps: self.device_read_bps,
            write_bps: self.device_write_bps,
            read_iops: self.device_read_iops,
            write_iops: self.device_write_iops,
        };
        let files = usual.cgroup_conf.all().iter().cloned().chain(self.cgroup_conf);
        resources.unified = files.collect::<BTreeMap<_, _>>();
        spec.settings.device_rules = self.device_cgroup_rule;
        Ok(())
    }
}
