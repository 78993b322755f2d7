//! `barge volume prune`, and what volumes can be filtered by

use clap::Args;

use crate::cmd::World;
use crate::cmd::exit::Status;
use crate::cmd::output;
use crate::cmd::prompt::confirm;
use crate::cmd::tree::Act;
use crate::engine::volumes::VolumeUse;
use crate::error::{Error, Kind, Result};
use crate::spec::filter::{self, Filter};
use crate::spec::mount::parse_bool;
use crate::spec::size::HumanSize;
use crate::spec::time;

/// Remove volumes that no container has
///
/// Those that nobody has named: they were made for a container that is gone.
#[derive(Args, Debug)]
pub(crate) struct Prune {
    /// Those that have names as well
    #[arg(short, long)]
    all: bool,
    /// Remove those of which this is true
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<Filter>,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
}

impl Act for Prune {
    fn act(mut self, world: &mut World) -> Result<Status> {
        // Docker has no flag for it in its API.
        if let Some(index) = self.filter.iter().position(|it| it.key == "all") {
            self.all |= truth(&self.filter.remove(index))?;
        }
        check(&self.filter)?;
        let what = if self.all { "all volumes" } else { "anonymous local volumes" };
        let warning =
            format!("WARNING! This will remove {what} not used by at least one container.");
        if !self.force && !confirm(world, &warning)? {
            return Ok(Status::SUCCESS);
        }
        let engine = world.power()?;
        let pruned = engine.prune_volumes(|found| {
            let unused = found.users.is_empty() && (self.all || found.volume.anonymous);
            Ok(unused && is_wanted(found, &self.filter, &[])?)
        })?;
        if !pruned.names.is_empty() {
            world.out.line("Deleted Volumes:")?;
        }
        for name in &pruned.names {
            world.out.line(name)?;
        }
        world.out.line(&format!("Total reclaimed space: {}", HumanSize(pruned.bytes)))?;
        world.out.flush()?;
        pruned.failures.iter().for_each(output::error);
        Ok(if pruned.failures.is_empty() { Status::SUCCESS } else { Status::FAILED })
    }
}

fn truth(filter: &Filter) -> Result<bool> {
    parse_bool(&filter.value).ok_or_else(|| {
        let text = format!("{} `{}` is not a truth value", filter.key, filter.value);
        Error::new(Kind::Invalid, text)
    })
}

/// What volumes can be filtered by.
const KEYS: [&str; 11] = [
    "after",
    "anonymous",
    "dangling",
    "driver",
    "label",
    "name",
    "opt",
    "scope",
    "since",
    "until",
    "volume",
];

/// Refuses filters that are not known, and values that make no sense.
pub(super) fn check(filters: &[Filter]) -> Result<()> {
    for filter in filters {
        match &*filter.key {
            "anonymous" | "dangling" => drop(truth(filter)?),
            "until" => drop(time::parse(&filter.value, crate::cmd::now())?),
            key if KEYS.contains(&key) => {}
            key => {
                let text = format!("\"{key}\" is an invalid volume filter");
                let known = format!("known are {}", KEYS.join(", "));
                return Err(Error::new(Kind::Invalid, text).hint(known));
            }
        }
    }
    Ok(())
}

/// Tells whether a volume passes the filters.
pub(super) fn is_wanted(found: &VolumeUse, filters: &[Filter], all: &[VolumeUse]) -> Result<bool> {
    let VolumeUse { volume, users, .. } = found;
    filter::passes(filters, |key, value| {
        let is = |fact: bool| parse_bool(value) == Some(fact);
        Ok(match key {
            "after" | "since" => {
                let other = all.iter().find(|other| other.volume.name == value);
                let missing = || {
                    let text = format!("no volume with name \"{value}\" found: no such volume");
                    Error::new(Kind::NotFound, text)
                };
                volume.created > other.ok_or_else(missing)?.volume.created
            }
            "anonymous" => is(volume.anonymous),
            "dangling" => is(users.is_empty()),
            "driver" => value == volume.spec.driver(),
            "label" => filter::label_matches(&volume.spec.labels, value),
            "opt" => filter::label_matches(&volume.spec.options, value),
            "scope" => value == "local",
            "until" => volume.created < time::parse(value, crate::cmd::now())?,
            _ => crate::cmd::containers::name_matches(&volume.name, value),
        })
    })
}
