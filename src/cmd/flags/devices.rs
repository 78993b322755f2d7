//! Devices of the host that a container gets.

use clap::Args;

use crate::spec::cdi::Gpus;
use crate::spec::container::{ContainerSpec, parse_device};
use crate::spec::defaults::Defaults;

/// Devices of the host.
#[derive(Args, Debug)]
pub(super) struct DevicesFlags {
    /// Add a device of the host, or by its name in CDI
    #[arg(long, value_name = "HOST[:CONTAINER][:rwm]|NAME", value_parser = parse_device)]
    device: Vec<String>,
    /// Add GPUs: all, a number, or device=0,1
    #[arg(long, value_name = "GPUS")]
    gpus: Vec<Gpus>,
}

impl DevicesFlags {
    /// Adds it to what is asked for.
    pub(super) fn apply(self, usual: &Defaults, spec: &mut ContainerSpec) {
        let gpus = self.gpus.into_iter().flat_map(|gpus| gpus.0);
        let own = self.device.into_iter().chain(gpus);
        spec.settings.devices = usual.devices.all().iter().cloned().chain(own).collect();
        spec.settings.cdi_directories = usual.cdi_directories.all().to_vec();
    }
}
