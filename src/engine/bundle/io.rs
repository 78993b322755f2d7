//! Limits of block devices, by the numbers that the devices have.

use std::os::unix::fs::{FileTypeExt, MetadataExt};

use oci_spec::runtime::{
    LinuxBlockIo, LinuxThrottleDevice, LinuxThrottleDeviceBuilder, LinuxWeightDeviceBuilder,
};

use crate::error::{Context, Error, Kind, Result};
use crate::spec::blkio::{BlockIo, DeviceLimit};

/// Returns what was asked for; `None` if that is nothing.
pub(super) fn limits(asked: &BlockIo) -> Result<Option<LinuxBlockIo>> {
    if *asked == BlockIo::default() {
        return Ok(None);
    }
    let mut io = LinuxBlockIo::default();
    let throttles = |limits: &[DeviceLimit]| -> Result<Option<Vec<LinuxThrottleDevice>>> {
        let devices = limits.iter().map(|limit| {
            let (major, minor) = numbers(limit)?;
            let device = LinuxThrottleDeviceBuilder::default().major(major).minor(minor);
            device.rate(limit.value).build().map_err(|error| {
                Error::new(Kind::Internal, "cannot describe a device").caused_by(error.to_string())
            })
        });
        devices.collect::<Result<Vec<_>>>().map(|all| (!all.is_empty()).then_some(all))
    };
    let weights = asked.device_weights.iter().map(|limit| {
        let (major, minor) = numbers(limit)?;
        let device = LinuxWeightDeviceBuilder::default().major(major).minor(minor);
        let weight = u16::try_from(limit.value).unwrap_or(u16::MAX);
        device.weight(weight).build().map_err(|error| {
            Error::new(Kind::Internal, "cannot describe a device").caused_by(error.to_string())
        })
    });
    let weights = weights.collect::<Result<Vec<_>>>()?;
    io.set_weight(asked.weight)
        .set_weight_device((!weights.is_empty()).then_some(weights))
        .set_throttle_read_bps_device(throttles(&asked.read_bps)?)
        .set_throttle_write_bps_device(throttles(&asked.write_bps)?)
        .set_throttle_read_iops_device(throttles(&asked.read_iops)?)
        .set_throttle_write_iops_device(throttles(&asked.write_iops)?);
    Ok(Some(io))
}

fn numbers(limit: &DeviceLimit) -> Result<(i64, i64)> {
    let path = limit.path.display();
    let found = std::fs::metadata(&limit.path).context(|| format!("cannot limit device {path}"))?;
    if !found.file_type().is_block_device() {
        return Err(Error::new(Kind::Invalid, format!("{path} is not a block device")));
    }
    let id = found.rdev();
    Ok((rustix::fs::major(id).into(), rustix::fs::minor(id).into()))
}
