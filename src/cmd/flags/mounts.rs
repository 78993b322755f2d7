//! What is mounted in a container.

use std::path::{Path, PathBuf};

use clap::Args;

use super::glob;
use crate::cmd::parse::truth;
use crate::error::{Context, Error, Kind, Result};
use crate::spec::container::{ContainerSpec, RootfsDir};
use crate::spec::defaults::Defaults;
use crate::spec::mount::{Mount, MountSource};
use crate::spec::secret::SecretUse;
use crate::spec::volume::ImageVolumes;

/// What is mounted in it.
#[derive(Args, Debug)]
pub(super) struct MountsFlags {
    /// Image's volumes are anonymous, tmpfs, or ignore
    #[arg(long, value_name = "KIND")]
    image_volume: Option<ImageVolumes>,
    /// Add a mount, as in type=bind,src=/a,dst=/b
    ///
    /// Types are volume (the usual), bind, tmpfs, image, artifact, glob, ramfs and devpts. The files of an
    /// artifact are below dst: title=NAME or digest=DIGEST choose one of them, name=NAME says what they
    /// are called there. If dst is a file of the image, the only one takes its place.
    #[arg(long, value_name = "KEY=VALUE,…", value_parser = asked)]
    mount: Vec<Asked>,
    /// Make its root file system read-only
    #[arg(long)]
    read_only: bool,
    /// Keep /run and /tmp writable if the root is read-only
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = truth)]
    read_only_tmpfs: Option<bool>,
    /// The image is a directory; with :O it stays as it is
    #[arg(long)]
    rootfs: bool,
    /// Give it a secret, as a file or with type=env
    #[arg(long, value_name = "NAME[,OPTIONS]")]
    secret: Vec<SecretUse>,
    /// Mount a file system in memory
    #[arg(long, value_name = "PATH[:OPTIONS]", value_parser = Mount::parse_tmpfs)]
    tmpfs: Vec<Mount>,
    /// Show a volume, or a file or directory of the host
    #[arg(short, long, value_name = "[SOURCE:]TARGET[:OPTIONS]", value_parser = Mount::parse_volume)]
    volume: Vec<Mount>,
    /// Driver of volumes that are made
    #[arg(long, value_name = "DRIVER")]
    volume_driver: Option<String>,
    /// Show what another container has mounted
    #[arg(long, value_name = "CONTAINER[:ro]")]
    volumes_from: Vec<String>,
}

/// What `--mount` asks for.
#[derive(Clone, Debug)]
enum Asked {
    /// A mount.
    One(Mount),
    /// A bind of each path that its source, a pattern, names; below its target.
    Each(Mount),
}

fn asked(text: &str) -> Result<Asked> {
    match Mount::parse_glob(text)? {
        Some(mount) => Ok(Asked::Each(mount)),
        None => Mount::parse_mount(text).map(Asked::One),
    }
}

impl Asked {
    fn mounts(self) -> Result<Vec<Mount>> {
        let (mount, pattern) = match self {
            Self::One(mount) => return Ok(vec![mount]),
            Self::Each(mount) => match &mount.source {
                MountSource::Bind { path, .. } => (mount.clone(), absolute(path)?),
                _ => return Ok(vec![mount]),
            },
        };
        let paths = glob::expand(&pattern)?;
        if paths.is_empty() {
            let message = format!("no file paths matching glob \"{}\"", pattern.display());
            return Err(Error::new(Kind::NotFound, message));
        }
        let one = |path: PathBuf| Mount {
            target: mount.target.join(path.file_name().unwrap_or_default()),
            source: MountSource::Bind { path, create: false },
            ..mount.clone()
        };
        Ok(paths.into_iter().map(one).collect())
    }
}

/// Makes a path of the host absolute; `~` is the user's home directory, which a shell leaves alone in
/// `--volume=~/site:/www`.
fn absolute(path: &Path) -> Result<PathBuf> {
    let context = || format!("cannot resolve {}", path.display());
    if let Ok(below) = path.strip_prefix("~") {
        let home = std::env::home_dir().filter(|home| home.is_absolute()).ok_or_else(|| {
            Error::new(Kind::Invalid, context()).hint("set HOME, or write the whole path")
        })?;
        return Ok(home.join(below));
    }
    std::path::absolute(path).context(context)
}

impl MountsFlags {
    /// Adds it to what is asked for.
    pub(super) fn apply(self, usual: &Defaults, spec: &mut ContainerSpec) -> Result<()> {
        if self.rootfs {
            let mut dir: RootfsDir = std::mem::take(&mut spec.image).parse()?;
            dir.path = absolute(&dir.path)?;
            spec.settings.rootfs = Some(dir);
        }
        spec.settings.secrets = self.secret;
        spec.volumes_from = self.volumes_from;
        spec.image_volumes = self.image_volume.unwrap_or_default();
        spec.settings.read_only = self.read_only || usual.read_only == Some(true);
        spec.settings.no_read_only_tmpfs = self.read_only_tmpfs == Some(false);
        let asked: Vec<Vec<Mount>> =
            self.mount.into_iter().map(Asked::mounts).collect::<Result<_>>()?;
        let asked = asked.into_iter().flatten();
        let mut all = mounts(self.volume.into_iter().chain(asked).chain(self.tmpfs))?;
        let others = mounts(usual.volumes.all().iter().chain(usual.mounts.all()).cloned())?;
        for other in others {
            if !all.iter().any(|mount| mount.target == other.target) {
                all.push(other);
            }
        }
        if let Some(driver) = &self.volume_driver {
            for mount in &mut all {
                if let MountSource::Volume { new, .. } = &mut mount.source {
                    new.set_driver(driver);
                }
            }
        }
        spec.settings.mounts = all;
        Ok(())
    }
}

/// Makes the sources of binds absolute, and refuses two mounts at one place.
fn mounts(given: impl Iterator<Item = Mount>) -> Result<Vec<Mount>> {
    let mut mounts: Vec<Mount> = Vec::new();
    for mut mount in given {
        if let MountSource::Bind { path, .. } = &mut mount.source {
            *path = absolute(path)?;
        }
        if mounts.iter().any(|other| other == &mount) {
            continue;
        }
        if mounts.iter().any(|other| other.target == mount.target) {
            return Err(Error::new(
                Kind::Invalid,
                format!("{}: duplicate mount destination", mount.target.display()),
            ));
        }
        mounts.push(mount);
    }
    Ok(mounts)
}
