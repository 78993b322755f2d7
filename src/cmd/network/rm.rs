//! `barge network rm`

use clap::Args;

use crate::cmd::World;
use crate::cmd::containers::for_each;
use crate::cmd::exit::Status;
use crate::cmd::host::refuse;
use crate::cmd::tree::Act;
use crate::engine::RemoveOptions;
use crate::error::{Kind, Result};
use crate::remote::{Host, Request, escape};

/// Remove networks
///
/// One that a container is on is not removed.
#[derive(Args, Debug)]
pub(crate) struct Rm {
    /// Remove containers that are on it; it may be missing
    #[arg(short, long)]
    force: bool,
    /// Seconds to wait before killing such a container
    #[arg(short, long, value_name = "SECONDS")]
    time: Option<u32>,
    /// Networks, by name or ID
    #[arg(value_name = "NETWORK", required = true)]
    networks: Vec<String>,
}

impl Act for Rm {
    fn act(self, world: &mut World) -> Result<Status> {
        let engine = world.power()?;
        let options =
            RemoveOptions { force: self.force, seconds: self.time, ..RemoveOptions::default() };
        for_each(world, &self.networks, Status::of_removal, |world, name| {
            match engine.remove_network(name, options) {
                Err(error) if self.force && error.kind() == Kind::NotFound => Ok(()),
                Err(error) => Err(error),
                Ok(()) => world.out.line(name),
            }
        })
    }

    fn act_on(self, host: &Host, world: &mut World) -> Result<Status> {
        refuse(&[("--time", self.time.is_some())])?;
        for_each(world, &self.networks, Status::of_removal, |world, name| {
            match host.act(Request::delete(format!("/networks/{}", escape(name)))) {
                Err(error) if self.force && error.kind() == Kind::NotFound => Ok(()),
                Err(error) => Err(error),
                Ok(()) => world.out.line(name),
            }
        })
    }
}
