//! What is in a container: what it changed, an image of that, all of it as an archive.
//!
//! What a container changed lies in a directory of its own ([`Files`]), which is looked at directly:
//! nothing is mounted, and the image is not walked through. All that it has is seen through a
//! [`view`]: its own root without what is mounted below it.

mod commit;
mod diff;
mod elsewhere;
mod export;
mod hold;
mod mount;
mod view;

use std::path::PathBuf;

pub use commit::CommitOptions;
pub use diff::DiffSubject;
pub(in crate::engine) use elsewhere::{Made, Making, made_elsewhere};
pub use mount::MountedContainer;
pub(in crate::engine) use view::files_of;
pub(super) use view::still;

use super::rootfs::places;
use super::{Engine, images};
use crate::error::{Error, Kind, Result};
use crate::image::changes::TreeKind;
use crate::spec::id::ContainerId;
use crate::spec::userns::IdMapping;
use crate::store::container::{Builtin, Container};
use crate::store::driver::Tree;

/// Where a container has its files.
struct Files {
    /// What is its own; it may not be there yet.
    own: PathBuf,
    /// What that is.
    kind: TreeKind,
    /// The layers of its image, the uppermost first.
    lower: Vec<PathBuf>,
    /// What is below them, and of no image.
    places: Option<PathBuf>,
    /// For which IDs of the image those of its own files stand, where they are others.
    owners: Option<IdMapping>,
}

impl Files {
    fn of(engine: &Engine, container: &Container) -> Result<Self> {
        let containers = engine.store.containers();
        let config = &container.config;
        let mode = &config.settings.users.mode;
        let (lower, owners) = match &config.settings.rootfs {
            // Its files are as they are, whoever sees them.
            Some(dir) if dir.overlay => (vec![dir.path.clone()], None),
            Some(_) => (Vec::new(), None),
            None => (
                images::layers(&engine.store, &config.layers)?,
                engine.mapping_on_disk(config.id_mapping.as_ref(), mode)?,
            ),
        };
        Ok(match containers.tree(config) {
            Tree::Whole(own) => Self { own, kind: TreeKind::Whole, lower, places: None, owners },
            Tree::Layers(_) => {
                let own = containers.dir(&config.id).join("upper");
                let places = places(engine, config)?;
                Self { own, kind: TreeKind::Upper, lower, places, owners }
            }
        })
    }

    /// Returns all directories that it sees together, the uppermost first.
    fn all(self) -> Vec<PathBuf> {
        let lower = self.lower.into_iter().chain(self.places);
        match self.kind {
            TreeKind::Whole => vec![self.own],
            // It is made by the first start.
            TreeKind::Upper if !self.own.exists() => lower.collect(),
            TreeKind::Upper => std::iter::once(self.own).chain(lower).collect(),
        }
    }
}

/// Refuses containers of which the image is this machine: what is theirs would be nothing without it.
pub(super) fn refuse_builtin(container: &Container, verb: &str) -> Result<()> {
    let what = match container.config.builtin {
        None => return Ok(()),
        Some(Builtin::Hello) => "is our own executable and nothing else",
        Some(Builtin::Host) => "shows this machine's own files",
    };
    let id = container.id().short();
    Err(Error::new(Kind::Unsupported, format!("cannot {verb} container {id}: it {what}"))
        .hint("pack what you need of it in there, as with tar, and write that to a volume"))
}

/// Refuses containers that have a directory instead of an image, if that is what it takes.
fn refuse_rootfs(container: &Container, verb: &str) -> Result<()> {
    let Some(dir) = &container.config.settings.rootfs else { return Ok(()) };
    Err(Error::new(
        Kind::Unsupported,
        format!(
            "cannot {verb} container {}: it has the directory {} instead of an image",
            container.id().short(),
            dir.path.display()
        ),
    )
    .hint("make an image of the directory: `barge export`, then `barge import`"))
}

/// Fails if a container is not there any more: its files may have gone as they were read.
pub(super) fn still_there(engine: &Engine, id: &ContainerId) -> Result<()> {
    match engine.store.containers().get(id)? {
        Some(_) => Ok(()),
        None => {
            let id = id.short();
            Err(Error::new(Kind::Conflict, format!("container {id} was removed meanwhile")))
        }
    }
}
