//! Artifacts: files in the form of images.
//!
//! A manifest with an artifact type, a configuration that says nothing, and one layer a file with its
//! name in an annotation, as OCI's image specification 1.1 has it.

mod add;
mod extract;
mod media;
mod member;
mod pull;
mod push;

pub use add::{AddOptions, add};
pub(crate) use extract::places;
pub use extract::{Choice, extract};
pub use member::{MemberOptions, Prepared, prepare};
pub use pull::pull;
pub use push::push;
pub(super) use push::refer;
