//! What users do with artifacts: one verb a file.

mod add;
mod extract;
mod list;
mod pull;
mod push;
mod remove;

pub use add::add;
pub use extract::extract;
pub use list::{Inspection, inspect, list};
pub use pull::pull;
pub use push::push;
pub use remove::{remove, remove_all};

pub use crate::image::artifact::{AddOptions, Choice};

use crate::error::Result;
use crate::store::Store;
use crate::store::artifact::Artifact;

/// Frees what an artifact kept that another one has taken the place of.
fn free(store: &Store, before: Option<&Artifact>) -> Result<()> {
    // If objects are being made right now, the next collection of garbage does it.
    match (before, store.try_exclusive()?) {
        (Some(before), Some(makers_kept_away)) => {
            let garbage = store.free(&before.parts(), &makers_kept_away)?;
            drop(makers_kept_away);
            garbage.erase().map(drop)
        }
        _ => Ok(()),
    }
}
