//! `barge manifest rm`, `barge manifest remove` and `barge manifest exists`

use clap::Args;

use crate::cmd::World;
use crate::cmd::containers::for_each;
use crate::cmd::exit::Status;
use crate::cmd::tree::Act;
use crate::engine::lists;
use crate::error::{Kind, Result};
use crate::store::image::Removal;

/// Remove manifest lists
///
/// Images that were added stay as long as they have names of their own.
#[derive(Args, Debug)]
pub(crate) struct Rm {
    /// Do not complain about lists that are not there
    #[arg(short, long)]
    ignore: bool,
    /// Lists, by name or ID
    #[arg(value_name = "LIST", required = true)]
    lists: Vec<String>,
}

impl Act for Rm {
    const IS_LOCAL: bool = true;

    fn act(self, world: &mut World) -> Result<Status> {
        let engine = world.power()?;
        for_each(world, &self.lists, Status::of_removal, |world, name| {
            let removals = match lists::remove(engine.store(), name) {
                Err(error) if self.ignore && error.kind() == Kind::NotFound => return Ok(()),
                other => other?,
            };
            for removal in removals {
                match removal {
                    Removal::Untagged(name) => world.out.line(&format!("Untagged: {name}"))?,
                    Removal::Deleted(id) => world.out.line(&format!("Deleted: {}", id.hex()))?,
                }
            }
            Ok(())
        })
    }
}

/// Take an image out of a manifest list
///
/// The ID of the list is printed.
#[derive(Args, Debug)]
pub(crate) struct Remove {
    /// List, by name or ID
    #[arg(value_name = "LIST", required = true)]
    list: String,
    /// Image of the list, by digest or name
    #[arg(value_name = "DIGEST", required = true)]
    member: String,
}

impl Act for Remove {
    const IS_LOCAL: bool = true;

    fn act(self, world: &mut World) -> Result<Status> {
        let engine = world.power()?;
        let list = lists::remove_member(engine.store(), &self.list, &self.member)?;
        world.out.line(list.id.hex())?;
        Ok(Status::SUCCESS)
    }
}

/// Check whether a manifest list is here
///
/// The exit status is 0 if it is, and 1 if it is not.
#[derive(Args, Debug)]
pub(crate) struct Exists {
    /// List, by name or ID
    #[arg(value_name = "LIST", required = true)]
    list: String,
}

impl Act for Exists {
    const IS_LOCAL: bool = true;

    fn act(self, world: &mut World) -> Result<Status> {
        let engine = world.engine()?;
        let exists = lists::exists(engine.store(), &self.list)?;
        Ok(if exists { Status::SUCCESS } else { Status::NO })
    }
}
