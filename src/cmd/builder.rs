//! `barge builder du` and `barge builder prune`

use clap::Args;

use super::World;
use super::answers;
use super::exit::Status;
use super::prompt::confirm;
use super::tree::Act;
use crate::build;
use crate::error::Result;
use crate::remote::{Host, Request};
use crate::spec::size::HumanSize;

/// Show what builds have left for the next
#[derive(Args, Debug)]
pub(crate) struct Du {}

impl Act for Du {
    fn act(self, world: &mut World) -> Result<Status> {
        let engine = world.engine()?;
        let used = build::cache_use(&engine)?;
        world.out.line(&format!("{:<14}{:<12}{:<8}STEP", "ID", "SIZE", "SHARED"))?;
        for record in &used.records {
            let (id, size) = (&record.id.hex()[..12], HumanSize(record.size).to_string());
            let step = record.step.lines().next().unwrap_or_default();
            world.out.line(&format!("{id:<14}{size:<12}{:<8}{step}", record.shared))?;
        }
        let own = used.records.iter().filter(|record| !record.shared);
        let own: u64 = own.map(|record| record.size).sum();
        world.out.line(&format!("Cache mounts: {}", HumanSize(used.mounts)))?;
        world.out.line(&format!("Reclaimable: {}", HumanSize(own + used.mounts)))?;
        Ok(Status::SUCCESS)
    }

    fn act_on(self, host: &Host, world: &mut World) -> Result<Status> {
        let usage = host.document(Request::get("/system/df"))?;
        world.out.line(&format!("{:<14}{:<12}{:<8}STEP", "ID", "SIZE", "SHARED"))?;
        let mut own = 0;
        for record in answers::list(&usage, "BuildCache") {
            let (id, size) =
                (answers::id(answers::text(record, "ID"), false), answers::bytes(record, "Size"));
            let shared = record["Shared"] == true;
            own += if shared { 0 } else { size };
            let size = HumanSize(size).to_string();
            let step = answers::text(record, "Description").lines().next().unwrap_or_default();
            world.out.line(&format!("{id:<14}{size:<12}{shared:<8}{step}"))?;
        }
        world.out.line(&format!("Reclaimable: {}", HumanSize(own)))?;
        Ok(Status::SUCCESS)
    }
}

/// Remove what builds have left for the next
///
/// Those layers that no image has go; with --all, the caches of RUN --mount=type=cache, too, and the next build begins anew.
#[derive(Args, Debug)]
pub(crate) struct Prune {
    /// Remove all, what images have and cache mounts, too
    #[arg(short, long)]
    all: bool,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
}

impl Prune {
    fn warning(&self) -> String {
        let what = match self.all {
            true => "all build cache",
            false => "all dangling build cache",
        };
        format!("WARNING! This will remove {what}.")
    }
}

impl Act for Prune {
    fn act(self, world: &mut World) -> Result<Status> {
        if !self.force && !confirm(world, &self.warning())? {
            return Ok(Status::SUCCESS);
        }
        let engine = world.power()?;
        let (gone, freed) = build::prune_cache(&engine, self.all)?;
        for id in &gone {
            world.out.line(&id.hex()[..12])?;
        }
        world.out.line(&format!("Total reclaimed space: {}", HumanSize(freed)))?;
        Ok(Status::SUCCESS)
    }

    fn act_on(self, host: &Host, world: &mut World) -> Result<Status> {
        if !self.force && !confirm(world, &self.warning())? {
            return Ok(Status::SUCCESS);
        }
        let pruned = host.document(Request::post("/build/prune").flag("all", self.all))?;
        for id in answers::words(&pruned, "CachesDeleted") {
            world.out.line(answers::id(id, false))?;
        }
        let freed = answers::bytes(&pruned, "SpaceReclaimed");
        world.out.line(&format!("Total reclaimed space: {}", HumanSize(freed)))?;
        Ok(Status::SUCCESS)
    }
}
