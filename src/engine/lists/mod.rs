//! What users do with manifest lists: one verb a file.

mod add;
mod annotate;
mod create;
mod inspect;
mod instance;
mod push;
mod remove;

pub use add::{AddOptions, add};
pub use annotate::{AnnotateOptions, annotate};
pub use create::{CreateOptions, create};
pub use inspect::{Inspection, inspect};
pub(super) use instance::{ensure, here};
pub use push::push;
pub use remove::{exists, remove, remove_member};

pub use crate::image::list::{ListPushOptions, Words};
