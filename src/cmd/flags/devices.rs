//! Devices of the host that a container gets.

use clap::Args;

use crate::spec::container::{ContainerSpec, parse_device};
use crate::spec::defaults::Defaults;

/// Devices of the host.
#[derive(Args, Debug)]
pub(super) struct DevicesFlags {
    /// Add a device of the host
    #[arg(long, value_name = "HOST[:CONTAINER][:rwm]", value_parser = parse_device)]
    device: Vec<String>,
}

impl DevicesFlags {
    /// Adds it to what is asked for.
    pub(super) fn apply(self, usual: &Defaults, spec: &mut ContainerSpec) {
        spec.settings.devices = usual.devices.all().iter().cloned().chain(self.device).collect();
    }
}
