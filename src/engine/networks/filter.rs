//! What networks can be filtered by, as in `--filter label=tier=web`: for listings and prunes.

use super::NetworkUse;
use crate::engine::now;
use crate::error::{Error, Kind, Result};
use crate::spec::filter::{self, Filter};
use crate::spec::mount::parse_bool;
use crate::spec::time;

/// What networks can be filtered by.
const KEYS: [&str; 9] =
    ["dangling", "driver", "id", "internal", "label", "name", "scope", "type", "until"];

/// Refuses filters that are not known, and values that make no sense.
pub fn check_filters(filters: &[Filter]) -> Result<()> {
    for filter in filters {
        match &*filter.key {
            "dangling" | "internal" => drop(filter.truth()?),
            "until" => drop(time::parse(&filter.value, now())?),
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
pub fn is_wanted(found: &NetworkUse, filters: &[Filter]) -> Result<bool> {
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
            "until" => network.created < time::parse(value, now())?,
            _ => filter::name_matches(&network.name, value),
        })
    })
}
