//! Which network a container is on, and which of its ports are published.

use clap::Args;

use crate::cmd::output;
use crate::spec::container::ContainerSpec;
use crate::spec::defaults::Defaults;
use crate::spec::network::{NetworkMode, PortMapping, parse_exposed};

/// Its network and the ports that are published.
#[derive(Args, Debug)]
pub(super) struct NetworkFlags {
    /// Declare a port
    #[arg(long, value_name = "PORT[/PROTOCOL]", value_parser = parse_exposed)]
    expose: Vec<Vec<String>>,
    /// Network: a name, none, host or container:NAME
    #[arg(long, visible_alias = "net", value_name = "NETWORK")]
    network: Option<NetworkMode>,
    /// Publish a port
    #[arg(short, long, value_name = "[[IP:]HOST:]CONTAINER")]
    publish: Vec<PortMapping>,
    /// Publish all ports that are exposed
    #[arg(short = 'P', long)]
    publish_all: bool,
}

impl NetworkFlags {
    /// Adds it to what is asked for.
    pub(super) fn apply(self, usual: &Defaults, spec: &mut ContainerSpec) {
        let network = self.network.or_else(|| usual.netns.clone()).unwrap_or_default();
        let mut ports = self.publish;
        if let (false, NetworkMode::None | NetworkMode::Host | NetworkMode::Container(_)) =
            (ports.is_empty() && !self.publish_all, &network)
        {
            output::warning(&format!(
                "Port mappings have been discarded because \"{network}\" network namespace mode does not support them"
            ));
            ports.clear();
        }
        spec.exposed_ports = self.expose.into_iter().flatten().collect();
        spec.publish_all = self.publish_all;
        spec.settings.network = network;
        spec.settings.ports = ports;
    }
}
