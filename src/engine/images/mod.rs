//! What users do with images: one verb a file.

mod history;
mod import;
mod inspect;
mod list;
mod load;
mod pull;
mod remove;
mod tag;

pub use history::{HistoryEntry, history};
pub use import::import;
pub use inspect::{Inspection, inspect};
pub use list::{exists, list};
pub use load::load;
pub use pull::{PullOptions, PullPolicy, pull, pull_named};
pub use remove::{remove, users};
pub use tag::{tag, untag};

pub use crate::image::archive::ArchiveSource;
pub use crate::image::import::ImportOptions;
pub use crate::image::progress::{Progress, ProgressEvent, Silent};
pub use crate::image::registry::RegistryOptions;
