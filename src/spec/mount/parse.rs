//! `-v` and `--tmpfs`: a target, and options behind a colon.

use std::path::PathBuf;

use super::option::refuse_repeated;
use super::{Mount, MountSource};
use crate::error::{Error, Kind, Result};
use crate::spec::volume::{self, VolumeSpec};

impl Mount {
    /// Parses `-v`: `[SOURCE:]TARGET[:OPTIONS]`, where the source is a path of the host or a volume.
    ///
    /// A relative path begins with a dot, as in Docker, or with `~/`; it is left relative for the caller
    /// to resolve.
    pub fn parse_volume(text: &str) -> Result<Self> {
        let mut fields = text.split(':');
        let (source, target, options) =
            match (fields.next(), fields.next(), fields.next(), fields.next()) {
                (Some(target), None, ..) => return Self::anonymous_volume(target),
                (Some(source), Some(target), options, None) => {
                    (source, target, options.unwrap_or(""))
                }
                _ => {
                    return Err(Error::new(Kind::Invalid, format!("invalid volume `{text}`"))
                        .hint("write SOURCE:TARGET[:OPTIONS], as in ./site:/var/www:ro"));
                }
            };
        if source.is_empty() {
            return Err(Error::new(Kind::Invalid, format!("invalid volume `{text}`: no source")));
        }
        if target.is_empty() {
            return Err(Error::new(Kind::Invalid, "must set volume destination"));
        }
        let source = match source.starts_with(['/', '.']) || is_at_home(source) {
            true => MountSource::Bind { path: PathBuf::from(source), create: true },
            false => MountSource::named(source)?,
        };
        let mut mount = Self::new(source, target)?;
        let options = options.split(',').filter(|option| !option.is_empty());
        refuse_repeated(options.clone())
            .map_err(|error| error.within(format!("invalid volume `{text}`")))?;
        for option in options {
            mount.option(option)?;
        }
        mount.complete_overlay()?;
        Ok(mount)
    }

    /// Parses `--tmpfs`: `TARGET[:OPTIONS]`.
    pub fn parse_tmpfs(text: &str) -> Result<Self> {
        let (target, options) = text.split_once(':').unwrap_or((text, ""));
        let mut mount = Self::new(MountSource::Tmpfs { size: None, mode: None }, target)?;
        let within = |error: Error| error.within(format!("invalid tmpfs `{text}`"));
        let options = options.split(',').filter(|option| !option.is_empty());
        refuse_repeated(options.clone()).map_err(within)?;
        for option in options {
            mount.tmpfs_option(option).map_err(within)?;
        }
        Ok(mount)
    }
}

/// Tells whether a source is below somebody's home directory.
fn is_at_home(source: &str) -> bool {
    source == "~" || source.starts_with("~/")
}

impl MountSource {
    pub(super) fn named(name: &str) -> Result<Self> {
        let name = Some(volume::parse_name(name)?);
        Ok(Self::Volume { name, anonymous: false, copy: true, new: VolumeSpec::default() })
    }
}
