//! What volumes can be filtered by, as in `--filter dangling=true`: for listings and prunes.

use super::VolumeUse;
use crate::engine::now;
use crate::error::{Error, Kind, Result};
use crate::spec::filter::{self, Filter};
use crate::spec::mount::parse_bool;
use crate::spec::time;

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
pub fn check_filters(filters: &[Filter]) -> Result<()> {
    for filter in filters {
        match &*filter.key {
            "anonymous" | "dangling" => drop(filter.truth()?),
            "until" => drop(time::parse(&filter.value, now())?),
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
pub fn is_wanted(found: &VolumeUse, filters: &[Filter], all: &[VolumeUse]) -> Result<bool> {
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
            "until" => volume.created < time::parse(value, now())?,
            _ => filter::name_matches(&volume.name, value),
        })
    })
}
