//! How much of the machine's disks a container may use: what `run` and `update` take.

use clap::Args;

use crate::spec::blkio::{
    BlockIo, DeviceLimit, parse_device_weight, parse_operations, parse_rate, parse_weight,
};

/// How much it may use of disks.
#[derive(Args, Debug)]
pub(in crate::cmd) struct DisksFlags {
    /// Relative weight of its disk accesses, 10 to 1000
    #[arg(long, value_name = "WEIGHT", value_parser = parse_weight)]
    blkio_weight: Option<u16>,
    /// The same for one device
    #[arg(long, value_name = "DEVICE:WEIGHT", value_parser = parse_device_weight)]
    blkio_weight_device: Vec<DeviceLimit>,
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
}

impl DisksFlags {
    /// Returns the limits.
    pub(in crate::cmd) fn limits(self) -> BlockIo {
        BlockIo {
            weight: self.blkio_weight.filter(|weight| *weight > 0),
            device_weights: self.blkio_weight_device,
            read_bps: self.device_read_bps,
            write_bps: self.device_write_bps,
            read_iops: self.device_read_iops,
            write_iops: self.device_write_iops,
        }
    }
}
