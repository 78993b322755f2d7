//! `barge mount` and `barge unmount`

use std::path::Path;

use clap::Args;
use serde_json::{Value, json};

use super::World;
use super::containers::{Selection, for_each};
use super::exit::Status;
use super::listing::print_json;
use super::table;
use super::tree::Act;
use crate::engine::MountedContainer;
use crate::error::Result;

/// Make the files of containers seen
///
/// Prints where they are; what is changed there is changed in the container. Without arguments, shows
/// which containers are mounted. A container that is mounted can be started, stopped and removed, which
/// unmounts it. In a container with users of its own, files belong to these only: others, as root, can
/// change files there but make none. Without root, containers are mounted inside of `barge unshare` only, and those that do
/// not run cannot be changed there.
#[derive(Args, Debug)]
pub(crate) struct Mount {
    /// Mount all containers
    #[arg(short, long)]
    all: bool,
    /// Print it as json
    #[arg(long, value_name = "FORMAT", value_parser = ["json", ""])]
    format: Option<String>,
    /// The container that was created last
    #[arg(short, long)]
    latest: bool,
    /// Do not shorten IDs
    #[arg(long, visible_alias = "no-trunc")]
    notruncate: bool,
    /// Containers, by name or ID
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Act for Mount {
    const ONLY_HERE: &'static str = "files of another machine cannot be mounted on this one";

    fn act(self, world: &mut World) -> Result<Status> {
        let engine = world.engine()?;
        let as_json = self.format.as_deref() == Some("json");
        if !self.all && !self.latest && self.containers.is_empty() {
            let mounted = engine.mounted_containers()?;
            if as_json {
                let documents = mounted.iter().map(described).collect();
                print_json(&mut world.out, &Value::Array(documents))?;
            } else {
                let row = |it: &MountedContainer| {
                    let id = if self.notruncate { it.id.as_str() } else { it.id.short() };
                    vec![id.to_owned(), it.path.display().to_string()]
                };
                world.out.text(&table::layout(&mounted.iter().map(row).collect::<Vec<_>>()))?;
            }
            return Ok(Status::SUCCESS);
        }
        let selection =
            Selection { all: self.all, ..Selection::named(self.containers, self.latest) };
        let names = selection.chosen(&engine, Vec::new())?;
        let mut documents = Vec::new();
        let status = for_each(world, &names, Status::of_error, |world, name| {
            let mounted = engine.mount_container(name)?;
            if as_json {
                documents.push(described(&mounted));
                return Ok(());
            }
            world.out.line(&mounted.path.display().to_string())
        })?;
        if as_json {
            print_json(&mut world.out, &Value::Array(documents))?;
        }
        Ok(status)
    }
}

fn described(mounted: &MountedContainer) -> Value {
    document(mounted.id.as_str(), vec![mounted.name.clone()], &mounted.path)
}

/// Says where the files of something are seen.
pub(super) fn document(id: &str, names: Vec<String>, path: &Path) -> Value {
    json!({ "id": id, "Names": names, "mountpoint": path })
}

/// Undo mount
///
/// A container that was mounted several times stays so until that was undone as often.
#[derive(Args, Debug)]
pub(crate) struct Unmount {
    /// Unmount all containers
    #[arg(short, long)]
    all: bool,
    /// Unmount, however often it was mounted
    #[arg(short, long)]
    force: bool,
    /// The container that was created last
    #[arg(short, long)]
    latest: bool,
    /// Containers, by name or ID
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Act for Unmount {
    const ONLY_HERE: &'static str = "files of another machine cannot be mounted on this one";

    fn act(self, world: &mut World) -> Result<Status> {
        let engine = world.engine()?;
        let names = if self.all && self.containers.is_empty() {
            let mounted = engine.mounted_containers()?;
            mounted.into_iter().map(|it| it.id.to_string()).collect()
        } else {
            let selection =
                Selection { all: self.all, ..Selection::named(self.containers, self.latest) };
            selection.chosen(&engine, Vec::new())?
        };
        for_each(world, &names, Status::of_error, |world, name| {
            engine.unmount_container(name, self.force)?;
            world.out.line(name)
        })
    }
}
