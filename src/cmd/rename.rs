//! `barge rename`

use clap::Args;

use super::World;
use super::exit::Status;
use super::tree::Act;
use crate::error::Result;
use crate::remote::{Host, Request, escape};

/// Give a container another name
#[derive(Args, Debug)]
pub(crate) struct Rename {
    /// Container, by name or ID
    #[arg(value_name = "CONTAINER", required = true)]
    container: String,
    /// Its new name
    #[arg(value_name = "NAME", required = true)]
    name: String,
}

impl Act for Rename {
    fn act(self, world: &mut World) -> Result<Status> {
        world.power()?.rename(&self.container, &self.name)?;
        Ok(Status::SUCCESS)
    }

    fn act_on(self, host: &Host, _: &mut World) -> Result<Status> {
        let path = format!("/containers/{}/rename", escape(&self.container));
        host.act(Request::post(path).with("name", &self.name))?;
        Ok(Status::SUCCESS)
    }
}
