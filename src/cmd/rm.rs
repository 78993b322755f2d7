//! `barge rm`

use clap::Args;

use super::World;
use super::containers::{IdFiles, Selection, for_each};
use super::exit::Status;
use super::host::refuse;
use super::tree::Act;
use crate::engine::RemoveOptions;
use crate::error::{Kind, Result};
use crate::remote::{Host, Request, escape};

/// Remove containers
#[derive(Args, Debug)]
pub(crate) struct Rm {
    #[command(flatten)]
    files: IdFiles,
    /// Remove those that are in its namespaces first
    #[arg(long)]
    depend: bool,
    /// End those that run first
    #[arg(short, long)]
    force: bool,
    /// Do not complain about containers that are not there
    #[arg(short, long)]
    ignore: bool,
    /// Seconds to wait before killing
    #[arg(short, long, visible_alias = "timeout", value_name = "SECONDS")]
    time: Option<u32>,
    /// Remove its anonymous volumes
    #[arg(short, long)]
    volumes: bool,
    #[command(flatten)]
    selection: Selection,
}

impl Act for Rm {
    fn act(self, world: &mut World) -> Result<Status> {
        let engine = world.power()?;
        let ignore = self.ignore || self.force;
        let names = self.selection.chosen(&engine, self.files.read(ignore)?)?;
        let names = engine.dependants_first(names);
        let options =
            RemoveOptions { force: self.force, seconds: self.time, volumes: self.volumes };
        for_each(world, &names, Status::of_removal, |world, name| {
            let removed = match self.depend {
                true => engine.remove_with_dependants(name, options),
                false => engine.remove(name, options).map(|_| Vec::new()),
            };
            match removed {
                Err(error) if ignore && error.kind() == Kind::NotFound => Ok(()),
                other => {
                    for dependant in other? {
                        world.out.line(dependant.as_str())?;
                    }
                    world.out.line(name)
                }
            }
        })
    }

    fn act_on(self, host: &Host, world: &mut World) -> Result<Status> {
        refuse(&[("--depend", self.depend)])?;
        let ignore = self.ignore || self.force;
        let names = self.selection.chosen_on(host, self.files.read(ignore)?)?;
        for_each(world, &names, Status::of_removal, |world, name| {
            let path = escape(name);
            if let Some(seconds) = self.time.filter(|_| self.force) {
                // Its removal waits for nothing there.
                let stop = Request::post(format!("/containers/{path}/stop")).with("t", seconds);
                match host.act(stop) {
                    Err(error) if error.kind() != Kind::NotFound => return Err(error),
                    _ => {}
                }
            }
            let request = Request::delete(format!("/containers/{path}"))
                .flag("v", self.volumes)
                .flag("force", self.force);
            match host.act(request) {
                Err(error) if ignore && error.kind() == Kind::NotFound => Ok(()),
                Err(error) => Err(error),
                Ok(()) => world.out.line(name),
            }
        })
    }
}
