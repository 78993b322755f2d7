//! `barge container prune`, `barge image prune` and `barge system prune`

use clap::Args;
use serde_json::Value;

use super::World;
use super::answers;
use super::exit::Status;
use super::images::image_filter;
use super::output;
use super::prompt::confirm;
use super::tree::Act;
use crate::build::{self, CachePrune};
use crate::engine::images::{self, PruneOptions, Removals};
use crate::error::Result;
use crate::remote::{Host, Request};
use crate::spec::filter::Filter;
use crate::spec::size::HumanSize;
use crate::store::image::Removal;

/// Remove containers that do not run
#[derive(Args, Debug)]
pub(crate) struct ContainerPrune {
    /// Remove those of which this is true: label or until
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<Filter>,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
}

impl Act for ContainerPrune {
    fn act(self, world: &mut World) -> Result<Status> {
        let warning = "WARNING! This will remove all non running containers.";
        if !self.force && !confirm(world, warning)? {
            return Ok(Status::SUCCESS);
        }
        let engine = world.power()?;
        let pruned = engine.prune_containers(&self.filter)?;
        for id in &pruned.containers {
            world.out.line(id.as_str())?;
        }
        world.out.flush()?;
        pruned.failures.iter().for_each(output::error);
        Ok(if pruned.failures.is_empty() { Status::SUCCESS } else { Status::FAILED })
    }

    fn act_on(self, host: &Host, world: &mut World) -> Result<Status> {
        let warning = "WARNING! This will remove all non running containers.";
        if !self.force && !confirm(world, warning)? {
            return Ok(Status::SUCCESS);
        }
        let pruned = prune_on(host, "containers", &self.filter)?;
        for id in answers::words(&pruned, "ContainersDeleted") {
            world.out.line(id)?;
        }
        Ok(Status::SUCCESS)
    }
}

/// Remove images that nobody needs
///
/// Those that have no name and that no container uses.
#[derive(Args, Debug)]
pub(crate) struct ImagePrune {
    /// Remove all images that no container uses
    #[arg(short, long)]
    all: bool,
    /// Remove those of which this is true: dangling, label or until
    #[arg(long, value_name = "KEY=VALUE", value_parser = image_filter)]
    filter: Vec<Filter>,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
}

impl Act for ImagePrune {
    fn act(self, world: &mut World) -> Result<Status> {
        if !self.force && !confirm(world, &self.warning())? {
            return Ok(Status::SUCCESS);
        }
        let engine = world.power()?;
        let options = PruneOptions { all: self.all, filters: self.filter };
        let removals = images::prune(&engine, &options)?;
        print_deleted(world, &removals)?;
        print_reclaimed(world, removals.bytes)?;
        removals.failures.iter().for_each(output::error);
        Ok(if removals.failures.is_empty() { Status::SUCCESS } else { Status::FAILED })
    }

    fn act_on(self, host: &Host, world: &mut World) -> Result<Status> {
        if !self.force && !confirm(world, &self.warning())? {
            return Ok(Status::SUCCESS);
        }
        let pruned = prune_on(host, "images", &with_dangling(self.filter, self.all)?)?;
        print_deleted_on(world, &pruned)?;
        print_reclaimed(world, answers::bytes(&pruned, "SpaceReclaimed"))?;
        Ok(Status::SUCCESS)
    }
}

impl ImagePrune {
    fn warning(&self) -> String {
        let what = match self.all {
            true => "all images without at least one container associated with them",
            false => "all dangling images",
        };
        format!("WARNING! This command removes {what}.")
    }
}

/// Says which images are meant: that is a filter of the API.
fn with_dangling(mut filters: Vec<Filter>, all: bool) -> Result<Vec<Filter>> {
    if all {
        filters.push("dangling=false".parse()?);
    }
    Ok(filters)
}

/// Has things of a kind pruned by another host.
fn prune_on(host: &Host, kind: &str, filters: &[Filter]) -> Result<Value> {
    let request = Request::post(format!("/{kind}/prune"));
    host.document(request.maybe("filters", answers::filters(filters)?))
}

fn print_deleted_on(world: &mut World, pruned: &Value) -> Result<()> {
    for removal in answers::list(pruned, "ImagesDeleted") {
        if let Some(id) = removal["Deleted"].as_str() {
            world.out.line(answers::hex(id))?;
        }
    }
    Ok(())
}

/// Remove what nobody needs
///
/// Containers that do not run, networks that no container is on, images that have no name and that no container uses, and what pulls and
/// other makers of images have left behind that were cut off.
#[derive(Args, Debug)]
pub(crate) struct SystemPrune {
    /// Remove all images that no container uses
    #[arg(short, long)]
    all: bool,
    /// Remove all that builds have left, cache mounts, too
    #[arg(long)]
    build: bool,
    /// Remove those of which this is true: label or until
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<Filter>,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Remove anonymous volumes that no container uses
    #[arg(long)]
    volumes: bool,
}

impl SystemPrune {
    fn warning(&self) -> String {
        let mut lines = vec![
            "WARNING! This command removes:",
            "all stopped containers",
            "all networks not used by at least one container",
        ];
        if self.volumes {
            lines.push("all anonymous volumes not used by at least one container");
        }
        lines.extend(match self.all {
            true => [
                "all images without at least one container associated with them",
                "all build cache",
            ],
            false => ["all dangling images", "all dangling build cache"],
        });
        lines.join("\n\t- ") + "\n"
    }
}

impl Act for SystemPrune {
    fn act(self, world: &mut World) -> Result<Status> {
        if !self.force && !confirm(world, &self.warning())? {
            return Ok(Status::SUCCESS);
        }
        let engine = world.power()?;
        // What builds have left has neither labels nor, for a filter, an age.
        let is_filtered = !self.filter.is_empty();
        let pruned =
            engine.prune(&PruneOptions { all: self.all, filters: self.filter }, self.volumes)?;
        let (steps, freed) = match is_filtered && !self.build {
            true => (Vec::new(), 0),
            false => {
                let asked = CachePrune { all: self.all || self.build, ..CachePrune::default() };
                build::prune_cache(&engine, &asked)?
            }
        };
        if !pruned.containers.is_empty() {
            world.out.line("Deleted Containers")?;
        }
        for id in &pruned.containers {
            world.out.line(id.as_str())?;
        }
        if !pruned.networks.names.is_empty() {
            world.out.line("Deleted Networks")?;
        }
        for name in &pruned.networks.names {
            world.out.line(name)?;
        }
        if !pruned.volumes.names.is_empty() {
            world.out.line("Deleted Volumes")?;
        }
        for name in &pruned.volumes.names {
            world.out.line(name)?;
        }
        if pruned.images.done.iter().any(|done| matches!(done, Removal::Deleted(_))) {
            world.out.line("Deleted Images")?;
        }
        print_deleted(world, &pruned.images)?;
        if !steps.is_empty() {
            world.out.line("Deleted build cache objects")?;
        }
        for id in &steps {
            world.out.line(&id.hex()[..12])?;
        }
        print_reclaimed(world, pruned.bytes + freed)?;
        let failures: Vec<_> = pruned
            .failures
            .iter()
            .chain(&pruned.networks.failures)
            .chain(&pruned.volumes.failures)
            .chain(&pruned.images.failures)
            .collect();
        failures.iter().for_each(|failure| output::error(failure));
        Ok(if failures.is_empty() { Status::SUCCESS } else { Status::FAILED })
    }

    fn act_on(self, host: &Host, world: &mut World) -> Result<Status> {
        if !self.force && !confirm(world, &self.warning())? {
            return Ok(Status::SUCCESS);
        }
        let mut bytes = 0;
        let mut kinds = vec![("containers", "Containers"), ("networks", "Networks")];
        if self.volumes {
            kinds.push(("volumes", "Volumes"));
        }
        for (kind, title) in kinds {
            let pruned = prune_on(host, kind, &self.filter)?;
            let names = answers::words(&pruned, &format!("{title}Deleted"));
            if !names.is_empty() {
                world.out.line(&format!("Deleted {title}"))?;
            }
            names.iter().try_for_each(|name| world.out.line(name))?;
            bytes += answers::bytes(&pruned, "SpaceReclaimed");
        }
        let is_filtered = !self.filter.is_empty();
        let pruned = prune_on(host, "images", &with_dangling(self.filter, self.all)?)?;
        if answers::list(&pruned, "ImagesDeleted").iter().any(|it| it["Deleted"].is_string()) {
            world.out.line("Deleted Images")?;
        }
        print_deleted_on(world, &pruned)?;
        bytes += answers::bytes(&pruned, "SpaceReclaimed");
        // What builds have left has neither labels nor, for a filter, an age.
        if !is_filtered || self.build {
            let request = Request::post("/build/prune").flag("all", self.all || self.build);
            let pruned = host.document(request)?;
            let steps = answers::words(&pruned, "CachesDeleted");
            if !steps.is_empty() {
                world.out.line("Deleted build cache objects")?;
            }
            steps.iter().try_for_each(|id| world.out.line(answers::id(id, false)))?;
            bytes += answers::bytes(&pruned, "SpaceReclaimed");
        }
        print_reclaimed(world, bytes)?;
        Ok(Status::SUCCESS)
    }
}

fn print_deleted(world: &mut World, removals: &Removals) -> Result<()> {
    for removal in &removals.done {
        if let Removal::Deleted(id) = removal {
            world.out.line(id.hex())?;
        }
    }
    Ok(())
}

fn print_reclaimed(world: &mut World, bytes: u64) -> Result<()> {
    world.out.line(&format!("Total reclaimed space: {}", HumanSize(bytes)))?;
    world.out.flush()
}
