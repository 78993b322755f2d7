//! `barge network prune`, and what networks can be filtered by

use clap::Args;

use crate::cmd::World;
use crate::cmd::exit::Status;
use crate::cmd::output;
use crate::cmd::prompt::confirm;
use crate::cmd::tree::Act;
use crate::engine::networks::NetworkUse;
use crate::error::{Error, Kind, Result};
use crate::spec::filter::{self, Filter};
use crate::spec::mount::parse_bool;
use crate::spec::time;

/// Remove networks that no container is on
#[derive(Args, Debug)]
pub(crate) struct Prune {
    /// Remove those of which this is true: label or until
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<Filter>,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
}

impl Act for Prune {
    fn act(self, world: &mut World) -> Result<Status> {
        check(&self.filter)?;
        let warning = "WARNING! This will remove all networks not used by at least one container.";
        if !self.force && !confirm(world, warning)? {
            return Ok(Status::SUCCESS);
        }
        let engine = world.power()?;
        let pruned = engine.prune_networks(|found| is_wanted(found, &self.filter))?;
        for name in &pruned.names {
            world.out.line(name)?;
        }
        world.out.flush()?;
        pruned.failures.iter().for_each(output::error);
        Ok(if pruned.failures.is_empty() { Status::SUCCESS } else { Status::FAILED })
    }
}

/// What networks can be filtered by.
const KEYS: [&str; 9] =
    ["dangling", "driver", "id", "internal", "label", "name", "scope", "type", "until"];

/// Refuses filters that are not known, and values that make no sense.
pub(super) fn check(filters: &[Filter]) -> Result<()> {
    for filter in filters {
        match &*filter.key {
            "dangling" | "internal" if parse_bool(&filter.value).is_none() => {
                let text = format!("{} `{}` is not a truth value", filter.key, filter.value);
                return Err(Error::new(Kind::Invalid, text));
            }
            "until" => drop(time::parse(&filter.value, crate::cmd::now())?),
            key if KEYS.contains(&key) => {}
            key => {
                let text = format!("invalid filter \"{key}\"");
                let known = format!("known are {}", KEYS.join(", "));
                return Err(Error::new(Kind::Invalid, text).hint(known));
            }
        }
    }
    Ok(())
}

/// Tells whether a network passes the filters.
pub(super) fn is_wanted(found: &NetworkUse, filters: &[Filter]) -> Result<bool> {
    let NetworkUse { network, users } = found;
    filter::passes(filters, |key, value| {
        let is = |fact: bool| parse_bool(value) == Some(fact);
        Ok(match key {
            "dangling" => is(users.is_empty() && !network.is_default()),
            "driver" => value == network.spec.driver.as_str(),
            "id" => network.id.starts_with(value),
            "internal" => is(network.spec.internal),
            "label" => filter::label_matches(&network.spec.labels, value),
            "scope" => value == "local",
            "type" => (value == "builtin") == network.is_default(),
            "until" => network.created < time::parse(value, crate::cmd::now())?,
            _ => crate::cmd::containers::name_matches(&network.name, value),
        })
    })
}
