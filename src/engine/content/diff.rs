//! `diff`: what a container changed, or how two containers or images differ.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::{Files, refuse_rootfs};
use crate::engine::Engine;
use crate::engine::images::{self, Change, NOT_OF_IMAGES, Seen};
use crate::error::{Context, Error, Kind, Result};
use crate::image::changes::{Changed, TreeKind, Walk};
use crate::image::merged::Node;
use crate::spec::userns::IdMapping;
use crate::store::container::{Builtin, Container};
use crate::sys::root::Root;

/// What a name may stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiffSubject {
    /// A container.
    Container,
    /// A container, or an image if there is no such container.
    Any,
}

impl Engine {
    /// Tells what a container or the top layer of an image changes, or how one differs from another.
    pub fn diff(
        &self,
        subject: DiffSubject,
        name: &str,
        other: Option<&str>,
    ) -> Result<Vec<Change>> {
        // Nobody removes layers as we look at them.
        let _no_gc = self.store.shared()?;
        let container = self.container_of(subject, name)?;
        let context = || format!("cannot tell what {name} changes");
        match (container, other) {
            (Some(container), None) => self.changes_of(&container).context(context),
            (None, None) => images::diff(&self.store, name, None),
            (container, Some(other)) => {
                let before = self.container_of(subject, other)?;
                let before = self.seen(before, other)?;
                images::compare(&before, &self.seen(container, name)?).context(context)
            }
        }
    }

    fn container_of(&self, subject: DiffSubject, name: &str) -> Result<Option<Container>> {
        match self.lookup(name) {
            Ok(container) => Ok(Some(container)),
            Err(error) if subject == DiffSubject::Any && error.kind() == Kind::NotFound => {
                match self.store.images().find(name)? {
                    Some(_) => Ok(None),
                    None => Err(Error::new(
                        Kind::NotFound,
                        format!(
                            "no container or image with name or ID \"{name}\" found: no such container or image"
                        ),
                    )),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// The directories that a container, or else an image, sees together.
    fn seen(&self, container: Option<Container>, name: &str) -> Result<Seen> {
        match container {
            Some(container) => {
                let mut files = Files::of(self, &container)?;
                let owners = files.owners.take();
                Ok(Seen { dirs: files.all(), owners })
            }
            None => {
                let image = self.store.images().lookup(name)?;
                images::layers(&self.store, &image.layers).map(Seen::of_image)
            }
        }
    }

    fn changes_of(&self, container: &Container) -> Result<Vec<Change>> {
        if container.config.settings.rootfs.as_ref().is_some_and(|dir| !dir.overlay) {
            refuse_rootfs(container, "tell the changes of")?;
        }
        let files = Files::of(self, container)?;
        let owners = files.owners.as_ref();
        let mut changes = changes(&files.own, files.kind, owners, &files.lower, &NOT_OF_IMAGES)?;
        if container.config.builtin == Some(Builtin::Host) {
            // What is not this machine's is a place for it.
            changes.clear();
            let dir = self.store.containers().dir(container.id()).join("host");
            for (upper, shown) in host_dirs(&dir)? {
                // Not every directory that can be shown can be read.
                let context = || format!("cannot list {}", upper.display());
                if fs::read_dir(&upper).context(context)?.next().is_none() {
                    continue;
                }
                let below = changes_below(&upper, &shown)?;
                changes.extend(below);
            }
        }
        Ok(changes)
    }
}

/// Returns where a container of `builtin/host` keeps what it changed of which directories.
fn host_dirs(dir: &Path) -> Result<Vec<(PathBuf, PathBuf)>> {
    let context = || format!("cannot list {}", dir.display());
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).context(context),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.context(context)?;
        let shown = format!("/{}", entry.file_name().to_string_lossy().replace('%', "/"));
        found.push((entry.path().join("upper"), PathBuf::from(shown)));
    }
    found.sort();
    Ok(found)
}

fn changes_below(upper: &Path, shown: &Path) -> Result<Vec<Change>> {
    let lower = if shown.is_dir() { vec![shown.to_owned()] } else { Vec::new() };
    let own = shown.display().to_string();
    let ignored: Vec<&str> =
        NOT_OF_IMAGES.iter().filter_map(|path| path.strip_prefix(&own)).collect();
    let mut changes = changes(upper, TreeKind::Upper, None, &lower, &ignored)?;
    for change in &mut changes {
        let below = change.path.strip_prefix("/").unwrap_or(&change.path);
        change.path = shown.join(below);
    }
    Ok(changes)
}

fn changes(
    own: &Path,
    kind: TreeKind,
    owners: Option<&IdMapping>,
    lower: &[PathBuf],
    ignored: &[&str],
) -> Result<Vec<Change>> {
    let root = match Root::open(own) {
        Ok(root) => root,
        // Nothing was started yet.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).context(|| format!("cannot open {}", own.display())),
    };
    Walk::new(Changed { root: &root, kind, owners }, Node::root(lower)?, ignored)?.all()
}
