//! `barge builder du` and `barge builder prune`

use clap::Args;

use super::World;
use super::answers;
use super::exit::Status;
use super::prompt::confirm;
use super::tree::Act;
use crate::build::{self, CachePrune, Keep};
use crate::error::Result;
use crate::remote::{Host, Request};
use crate::spec::filter::Filter;
use crate::spec::size::{HumanSize, Size};

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
    /// Only that of which this is true
    ///
    /// until=24h (or a time), id=ID, type=regular|exec.cachemount, description=TEXT, shared, private, inuse: the last three with =true or =false.
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<Filter>,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Keep no more than this, the newest of it
    #[arg(long, value_name = "BYTES")]
    max_used_space: Option<Size>,
    /// Remove until so much of the disk is free
    #[arg(long, value_name = "BYTES")]
    min_free_space: Option<Size>,
    /// Keep so much in any case, the newest of it
    #[arg(long, visible_alias = "keep-storage", value_name = "BYTES")]
    reserved_space: Option<Size>,
}

impl Prune {
    fn keep(&self) -> Keep {
        let bytes = |size: &Option<Size>| size.as_ref().map_or(0, |size| size.0);
        Keep {
            reserved: bytes(&self.reserved_space),
            most: bytes(&self.max_used_space),
            free: bytes(&self.min_free_space),
        }
    }

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
        let keep = self.keep();
        let asked = CachePrune { all: self.all, filters: self.filter, keep };
        let (gone, freed) = build::prune_cache(&engine, &asked)?;
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
        let keep = self.keep();
        let bytes = |bytes: u64| (bytes > 0).then_some(bytes);
        let request = Request::post("/build/prune")
            .flag("all", self.all)
            .maybe("filters", answers::filters(&self.filter)?)
            // The first is what it was called before 1.48.
            .maybe("keep-storage", bytes(keep.reserved))
            .maybe("reserved-space", bytes(keep.reserved))
            .maybe("max-used-space", bytes(keep.most))
            .maybe("min-free-space", bytes(keep.free));
        let pruned = host.document(request)?;
        for id in answers::words(&pruned, "CachesDeleted") {
            world.out.line(answers::id(id, false))?;
        }
        let freed = answers::bytes(&pruned, "SpaceReclaimed");
        world.out.line(&format!("Total reclaimed space: {}", HumanSize(freed)))?;
        Ok(Status::SUCCESS)
    }
}
