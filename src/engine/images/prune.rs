//! `image prune`: images that nobody needs go, and what failed makers have left with them.

use super::filter::{Filters, PRUNE_KEYS, check_filters};
use super::remove::{Batch, Outcome, Removals};
use crate::engine::{Engine, now};
use crate::error::{Kind, Result};
use crate::spec::filter::Filter;
use crate::spec::mount::parse_bool;

/// Which images go.
#[derive(Clone, Debug, Default)]
pub struct PruneOptions {
    /// Whether images with names go, too.
    pub all: bool,
    /// Only those of which this is true.
    pub filters: Vec<Filter>,
}

/// Removes images that no container uses: those without a name, or all.
pub fn prune(engine: &Engine, options: &PruneOptions) -> Result<Removals> {
    check_filters(&options.filters, &PRUNE_KEYS)?;
    let store = engine.store();
    let filters = Filters::new(store, &options.filters, now())?;
    // Docker's way to say `--all`.
    let all = options.all
        || options
            .filters
            .iter()
            .any(|filter| filter.key == "dangling" && parse_bool(&filter.value) == Some(false));
    let mut removals = Removals::default();
    let mut batch = Batch::begin(store)?;
    for named in store.images().list()? {
        if !filters.pass(&named)? || !(all || named.names.is_empty()) {
            continue;
        }
        match batch.forget(&named.image.id) {
            Ok(Outcome::Done(done)) => removals.done.extend(done),
            Ok(Outcome::InUse(_)) => {}
            // It is mounted: somebody needs it.
            Err(error) if error.kind() == Kind::Conflict => {}
            Err(error) => removals.failures.push(error),
        }
    }
    removals.bytes = batch.finish_with_all_garbage()?;
    Ok(removals)
}
