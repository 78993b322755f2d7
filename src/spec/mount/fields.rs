//! `--mount`: fields with a key each.

use std::path::{Component, Path, PathBuf};

use super::option::{ALONE, PROPAGATIONS, refuse_repeated};
use super::{Mount, MountSource, parse_bool};
use crate::error::{Error, Kind, Result};
use crate::spec::csv;

impl Mount {
    /// Parses `--mount`: `type=bind,source=…,target=…` and further `KEY[=VALUE]`, with commas between.
    ///
    /// A field with a comma in it stands in double quotes, as in Docker.
    pub fn parse_mount(text: &str) -> Result<Self> {
        Self::of_fields(text, &split(text)?)
    }

    fn of_fields(text: &str, fields: &[String]) -> Result<Self> {
        let (mut kind, mut source, mut target) = ("volume", None, None);
        let mut rest = Vec::new();
        for field in fields {
            let (key, value) = match field.split_once('=') {
                Some((key, value)) => (key.to_lowercase(), Some(value)),
                None => (field.to_owned(), None),
            };
            match (key.as_str(), value) {
                ("type", Some(value)) => kind = value,
                ("src" | "source", Some(value)) => source = Some(value),
                ("dst" | "target" | "destination", Some(value)) => target = Some(value),
                // Docker takes names of keys in capitals; options of Podman have some of their own.
                _ if value.is_none() => rest.push((field.to_owned(), None)),
                _ => rest.push((key, value)),
            }
        }
        let within = |error: Error| error.within(format!("invalid mount `{text}`"));
        refuse_repeated(rest.iter().map(|(key, _)| key.as_str())).map_err(within)?;
        let target = target.filter(|target| !target.is_empty());
        let target = target.ok_or_else(|| {
            Error::new(Kind::Invalid, "must set volume destination").hint("write target=/PATH")
        })?;
        let source = match (kind, source) {
            ("bind", Some(source)) if !source.is_empty() => {
                MountSource::Bind { path: PathBuf::from(source), create: false }
            }
            ("bind", _) => {
                return Err(within(
                    Error::new(Kind::Invalid, "a bind mount needs a source")
                        .hint("write source=PATH"),
                ));
            }
            ("devpts", None) => MountSource::Devpts,
            ("tmpfs", None) => MountSource::Tmpfs { size: None, mode: None },
            ("ramfs", None) => MountSource::Ramfs { mode: None },
            ("tmpfs" | "ramfs" | "devpts", Some(_)) => {
                let message = format!("a {kind} mount has no source");
                return Err(within(Error::new(Kind::Invalid, message)));
            }
            ("image", Some(name)) if !name.is_empty() => {
                MountSource::Image { name: name.to_owned(), id: None, layers: Vec::new() }
            }
            ("image", _) => {
                return Err(within(
                    Error::new(Kind::Invalid, "an image mount needs a source")
                        .hint("write source=IMAGE"),
                ));
            }
            ("artifact", Some(name)) if !name.is_empty() => MountSource::Artifact {
                name: name.to_owned(),
                title: None,
                digest: None,
                file_name: None,
                blob: None,
            },
            ("artifact", _) => {
                return Err(within(
                    Error::new(Kind::Invalid, "an artifact mount needs a source")
                        .hint("write source=ARTIFACT"),
                ));
            }
            ("volume", None | Some("")) => MountSource::anonymous(),
            ("volume", Some(name)) => MountSource::named(name).map_err(within)?,
            (kind, _) => {
                return Err(within(
                    Error::new(Kind::Unsupported, format!("unsupported mount type `{kind}`"))
                        .hint("use volume, bind, image, artifact, glob, tmpfs, ramfs or devpts"),
                ));
            }
        };
        let mut mount = Self::new(source, target).map_err(within)?;
        mount.by_fields = true;
        mount.read_only =
            matches!(mount.source, MountSource::Image { .. } | MountSource::Artifact { .. });
        for (key, value) in rest {
            let done = match mount.source {
                MountSource::Artifact { .. } => mount.source.artifact_field(&key, value),
                _ => mount.field(&key, value),
            };
            done.map_err(within)?;
        }
        Ok(mount)
    }

    /// Parses `--mount type=glob,…`: a bind, of which the source is a pattern and the target a directory
    /// for all that it names. `None` if it is of another type.
    pub fn parse_glob(text: &str) -> Result<Option<Self>> {
        let mut fields = split(text)?;
        let Some(kind) = fields.iter_mut().find(|field| *field == "type=glob") else {
            return Ok(None);
        };
        "type=bind".clone_into(kind);
        Self::of_fields(text, &fields).map(Some)
    }

    /// Applies one `KEY[=VALUE]`.
    fn field(&mut self, key: &str, value: Option<&str>) -> Result<()> {
        let is_bind = matches!(self.source, MountSource::Bind { .. });
        let is_tmpfs = matches!(self.source, MountSource::Tmpfs { .. });
        let invalid = || {
            let shown = value.map_or(key.to_owned(), |value| format!("{key}={value}"));
            Error::new(Kind::Invalid, format!("invalid mount option `{shown}`"))
        };
        let flag = match value {
            None => Some(true),
            Some(value) => parse_bool(value),
        };
        match (key, value) {
            ("ro" | "readonly", _) => self.read_only = flag.ok_or_else(invalid)?,
            ("rw", _) => self.read_only = !flag.ok_or_else(invalid)?,
            ("bind-propagation", Some(value)) if is_bind && PROPAGATIONS.contains(&value) => {
                self.options.push(value.to_owned());
            }
            ("bind-nonrecursive", _) if is_bind => {
                if flag.ok_or_else(invalid)? {
                    self.options.push("bind".to_owned());
                }
            }
            ("bind-recursive", Some(how)) if is_bind => self.recursive(how).ok_or_else(invalid)?,
            ("relabel", Some("shared" | "private")) | ("consistency", Some(_)) => {}
            ("chown" | "U" | "u", _) => self.chown = flag.ok_or_else(invalid)?,
            ("uid" | "gid" | "mode" | "max", Some(value))
                if self.source == MountSource::Devpts && value.parse::<u32>().is_ok() =>
            {
                self.options.push(format!("{key}={value}"));
            }
            ("tmpfs-size", Some(value)) if is_tmpfs => {
                self.tmpfs_option(&format!("size={value}"))?;
            }
            ("tmpfs-mode", Some(value)) if is_tmpfs => {
                self.tmpfs_option(&format!("mode={value}"))?;
            }
            ("mode" | "ramfs-mode" | "tmpfs-mode", Some(value)) if self.is_ramfs() => {
                let bits = u32::from_str_radix(value, 8).ok().filter(|bits| *bits <= 0o7777);
                self.source = MountSource::Ramfs { mode: Some(bits.ok_or_else(invalid)?) };
            }
            ("subpath" | "volume-subpath" | "image-subpath", Some(value)) if !self.is_fresh() => {
                self.subpath = Some(subpath(value)?);
            }
            (key, value) if key.starts_with("volume-") => {
                let done = self.volume_field(key, value, flag)?;
                done.then_some(()).ok_or_else(invalid)?;
            }
            ("tmpcopyup" | "notmpcopyup", None) if is_tmpfs => self.tmpfs_option(key)?,
            (key, None) => self.option(key)?,
            _ => return Err(invalid()),
        }
        Ok(())
    }

    /// Applies `bind-recursive`; `None` if it has no such value.
    fn recursive(&mut self, how: &str) -> Option<()> {
        match how {
            "enabled" => {}
            "disabled" => self.options.push("bind".to_owned()),
            // Only together with `readonly` they say something.
            "writable" => self.options.push(ALONE.to_owned()),
            "readonly" => {}
            _ => return None,
        }
        Some(())
    }

    /// Applies what concerns volumes only; `false` if it is not known.
    fn volume_field(&mut self, key: &str, value: Option<&str>, flag: Option<bool>) -> Result<bool> {
        let MountSource::Volume { copy, new, .. } = &mut self.source else { return Ok(false) };
        match (key, value, flag) {
            ("volume-nocopy", _, Some(flag)) => *copy = !flag,
            ("volume-driver", Some(driver), _) => new.set_driver(driver),
            ("volume-opt", Some(option), _) => new.add_option(option),
            ("volume-label", Some(label), _) => {
                let (key, value) = label.split_once('=').unwrap_or((label, ""));
                new.labels.insert(key.to_owned(), value.to_owned());
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl MountSource {
    /// Applies a field of a mount of an artifact.
    fn artifact_field(&mut self, key: &str, value: Option<&str>) -> Result<()> {
        let invalid = || Error::new(Kind::Invalid, format!("invalid mount option `{key}`"));
        let Self::Artifact { title, digest, file_name, .. } = self else { return Err(invalid()) };
        let value = value.filter(|value| !value.is_empty()).ok_or_else(invalid)?;
        let field = match key {
            "title" => &mut *title,
            "digest" => &mut *digest,
            "name" if value.contains('/') || matches!(value, "." | "..") => {
                return Err(Error::new(Kind::Invalid, format!("`{value}` is no file name")));
            }
            "name" => &mut *file_name,
            _ => return Err(invalid().hint("an artifact has title, digest and name")),
        };
        *field = Some(value.to_owned());
        if title.is_some() && digest.is_some() {
            let message = "the title and the digest of an artifact's file cannot be set together";
            return Err(Error::new(Kind::Invalid, message));
        }
        Ok(())
    }
}

/// Checks a path below the source of a mount: it must not lead out of it. Podman writes one in an image
/// with a leading slash, Docker without.
fn subpath(text: &str) -> Result<PathBuf> {
    let path: PathBuf = Path::new(text.trim_start_matches('/')).components().collect();
    let inside = |part: Component<'_>| matches!(part, Component::Normal(_));
    if path.as_os_str().is_empty() || !path.components().all(inside) {
        return Err(Error::new(Kind::Invalid, format!("invalid subpath `{text}`"))
            .hint("write a path below the source, without .."));
    }
    Ok(path)
}

fn split(text: &str) -> Result<Vec<String>> {
    csv::fields(text).map_err(|why| {
        Error::new(Kind::Invalid, format!("invalid mount: {why}"))
            .hint("write \"KEY=A,B\" for a field with a comma, and two quotes for one in it")
    })
}
