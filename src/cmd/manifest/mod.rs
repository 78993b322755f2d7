//! `barge manifest`: lists of images for several platforms.

mod change;
mod create;
mod inspect;
mod push;
mod remove;

pub(crate) use change::{Add, Annotate};
pub(crate) use create::Create;
pub(crate) use inspect::Inspect;
pub(crate) use push::Push;
pub(crate) use remove::{Exists, Remove, Rm};
