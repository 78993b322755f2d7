//! `barge volume rm`

use clap::Args;

use super::listing::list_on;
use crate::cmd::World;
use crate::cmd::answers;
use crate::cmd::containers::for_each;
use crate::cmd::exit::Status;
use crate::cmd::host::refuse;
use crate::cmd::tree::Act;
use crate::engine::{RemoveOptions, volumes};
use crate::error::{Error, Kind, Result};
use crate::remote::{Host, Request, escape};

/// Remove volumes
///
/// One that a container has is not removed.
#[derive(Args, Debug)]
pub(crate) struct Rm {
    /// Remove all volumes that no container has
    #[arg(short, long)]
    all: bool,
    /// Remove containers that have it; it may be missing
    #[arg(short, long)]
    force: bool,
    /// Seconds to wait before killing such a container
    #[arg(short, long, value_name = "SECONDS")]
    time: Option<u32>,
    /// Volumes, by name
    #[arg(value_name = "VOLUME")]
    volumes: Vec<String>,
}

impl Act for Rm {
    fn act(self, world: &mut World) -> Result<Status> {
        if self.all != self.volumes.is_empty() {
            return Err(Error::new(Kind::Invalid, "name volumes, or pass --all, and not both"));
        }
        let engine = world.power()?;
        let options =
            RemoveOptions { force: self.force, seconds: self.time, ..RemoveOptions::default() };
        let mut names = self.volumes;
        if self.all {
            names.extend(volumes::list(engine.store())?.into_iter().map(|it| it.volume.name));
        }
        for_each(world, &names, Status::of_removal, |world, name| {
            match engine.remove_volume(name, options) {
                Err(error) if self.force && error.kind() == Kind::NotFound => Ok(()),
                removed => world.out.line(&removed?),
            }
        })
    }

    fn act_on(self, host: &Host, world: &mut World) -> Result<Status> {
        refuse(&[("--time", self.time.is_some())])?;
        if self.all != self.volumes.is_empty() {
            return Err(Error::new(Kind::Invalid, "name volumes, or pass --all, and not both"));
        }
        let mut names = self.volumes;
        if self.all {
            let all = list_on(host, &[])?;
            names.extend(all.iter().map(|it| answers::text(it, "Name").to_owned()));
        }
        for_each(world, &names, Status::of_removal, |world, name| {
            let path = format!("/volumes/{}", escape(name));
            host.act(Request::delete(path).flag("force", self.force))?;
            world.out.line(name)
        })
    }
}
