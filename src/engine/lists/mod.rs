//! What users do with manifest lists: one verb a file.

mod add;
mod annotate;
mod create;
mod inspect;
mod instance;
mod make;
mod push;
mod remove;

pub use add::{AddFilesOptions, AddOptions, add, add_files};
pub use annotate::{AnnotateOptions, annotate};
pub use create::{CreateOptions, create};
pub use inspect::{Inspection, inspect};
pub(super) use instance::{ensure, here, instance};
pub use make::{extend, make};
pub use push::{push, push_made};
pub use remove::{exists, remove, remove_member};

pub use crate::image::artifact::MemberOptions;
pub use crate::image::list::{ListPushOptions, Words};
