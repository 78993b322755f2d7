//! Artifacts that a container mounts: when it is made, each of their files becomes a mount of its own.
//! The container keeps these from the collection of garbage.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;

use crate::engine::artifacts::{self, Choice};
use crate::engine::{Engine, images};
use crate::error::{Context, Error, Kind, Result};
use crate::image::artifact::places;
use crate::image::merged::Node;
use crate::spec::digest::Digest;
use crate::spec::mount::{Mount, MountSource};
use crate::store::container::ContainerConfig;
use crate::store::file;

impl Engine {
    /// Finds the files of the artifacts that a container mounts. The caller keeps all garbage until it is
    /// on record.
    pub(in crate::engine) fn settle_artifacts(&self, config: &mut ContainerConfig) -> Result<()> {
        let is_one = |mount: &Mount| matches!(mount.source, MountSource::Artifact { .. });
        if !config.settings.mounts.iter().any(is_one) {
            return Ok(());
        }
        let mut settled: Vec<Mount> = Vec::new();
        for mount in std::mem::take(&mut config.settings.mounts) {
            let files = match &mount.source {
                MountSource::Artifact { name, .. } => self
                    .files_of_artifact(config, &mount)
                    .context(|| format!("cannot mount artifact {name}"))?,
                _ => vec![mount],
            };
            if let Some(twice) =
                files.iter().find(|file| settled.iter().any(|other| other.target == file.target))
            {
                let message = format!("{}: duplicate mount destination", twice.target.display());
                return Err(Error::new(Kind::Invalid, message));
            }
            settled.extend(files);
        }
        config.settings.mounts = settled;
        Ok(())
    }

    /// Makes one mount of an artifact one of each of its files: below the target, unless that is a file of
    /// the image, as Podman has it.
    fn files_of_artifact(&self, config: &ContainerConfig, mount: &Mount) -> Result<Vec<Mount>> {
        let MountSource::Artifact { name, title, digest, file_name, .. } = &mount.source else {
            return Ok(vec![mount.clone()]);
        };
        let choice = match (title, digest) {
            (Some(title), _) => Choice::Title(title.clone()),
            (None, Some(digest)) => Choice::Digest(digest.clone()),
            (None, None) => Choice::All,
        };
        let found = artifacts::inspect(&self.store, name)?;
        let is_directory = !self.is_file_of_image(config, &mount.target)?;
        let files = places(&found.manifest, &mount.target, is_directory, &choice)?;
        let several = files.len() > 1;
        let settled = files.into_iter().enumerate().map(|(index, (layer, target))| Mount {
            target: match file_name {
                Some(own) if is_directory && several => mount.target.join(format!("{own}-{index}")),
                Some(own) if is_directory => mount.target.join(own),
                _ => target,
            },
            source: MountSource::Artifact {
                name: name.clone(),
                title: title.clone(),
                digest: digest.clone(),
                file_name: file_name.clone(),
                blob: Some(layer.digest.clone()),
            },
            ..mount.clone()
        });
        Ok(settled.collect())
    }

    /// Tells whether a container's image has a file at a path; links are not followed.
    fn is_file_of_image(&self, config: &ContainerConfig, path: &Path) -> Result<bool> {
        let dirs = match &config.settings.rootfs {
            Some(dir) => vec![dir.path.clone()],
            None => images::layers(&self.store, &config.layers)?,
        };
        let mut node = Node::root(&dirs)?;
        for name in path.iter().map(OsStr::as_bytes).filter(|name| *name != b"/") {
            node = match node {
                Some(parent) => parent.child(name)?,
                None => return Ok(false),
            };
        }
        let is_file = |node: Node| FileType::from_raw_mode(node.stat.st_mode).is_file();
        Ok(node.is_some_and(is_file))
    }

    /// Returns the file of an artifact, for all users of containers to read.
    pub(super) fn artifact_file(&self, blob: &Digest) -> Result<PathBuf> {
        let path = self.store.blobs().path(blob);
        if !self.store.blobs().exists(blob) {
            let message = format!("blob {blob} is missing");
            return Err(Error::new(Kind::NotFound, message)
                .hint("pull the artifact again, and make a new container"));
        }
        // Nobody else gets as far as its directory.
        file::set_mode(&path, 0o444)?;
        Ok(path)
    }
}
