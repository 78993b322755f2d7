//! Mounts into a container: binds and tmpfs.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::size::Size;
use crate::error::{Error, Kind, Result};

/// Something that is mounted into a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// What is mounted.
    pub source: MountSource,
    /// Absolute path in the container.
    pub target: PathBuf,
    /// Whether the container cannot write there.
    pub read_only: bool,
    /// Further mount options in the words of mount(8), as in `noexec` or `rshared`.
    pub options: Vec<String>,
}

/// What a [`Mount`] shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MountSource {
    /// A file or directory of the host.
    Bind {
        /// Absolute path on the host.
        path: PathBuf,
        /// Whether a missing directory is created (`-v` does, `--mount` does not).
        create: bool,
    },
    /// A fresh file system in memory.
    Tmpfs {
        /// Size in bytes; the kernel's default is half of the memory.
        size: Option<u64>,
        /// Permission bits of its root.
        mode: Option<u32>,
    },
}

/// Mount options that go on as they are.
const OPTIONS: [&str; 21] = [
    "exec",
    "noexec",
    "dev",
    "nodev",
    "suid",
    "nosuid",
    "sync",
    "async",
    "atime",
    "noatime",
    "relatime",
    "bind",
    "rbind",
    "private",
    "rprivate",
    "shared",
    "rshared",
    "slave",
    "rslave",
    "unbindable",
    "runbindable",
];

impl Mount {
    /// Parses `-v`: `SOURCE:TARGET[:OPTIONS]`, where the source is a path of the host.
    ///
    /// A relative source begins with a dot, as in Docker; it is left relative for the caller to resolve.
    pub fn parse_volume(text: &str) -> Result<Self> {
        let mut fields = text.split(':');
        let (source, target, options) =
            match (fields.next(), fields.next(), fields.next(), fields.next()) {
                (Some(_), None, ..) => return Err(no_volumes("an anonymous volume", text)),
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
        if !source.starts_with(['/', '.']) {
            return Err(no_volumes(&format!("the volume `{source}`"), text));
        }
        let source = MountSource::Bind { path: PathBuf::from(source), create: true };
        let mut mount = Self::new(source, target)?;
        for option in options.split(',').filter(|option| !option.is_empty()) {
            mount.option(option)?;
        }
        Ok(mount)
    }

    /// Parses `--mount`: `type=bind,source=…,target=…` and further `KEY[=VALUE]`, with commas between.
    pub fn parse_mount(text: &str) -> Result<Self> {
        let (mut kind, mut source, mut target) = ("volume", None, None);
        let mut rest = Vec::new();
        for field in text.split(',') {
            let (key, value) = match field.split_once('=') {
                Some((key, value)) => (key, Some(value)),
                None => (field, None),
            };
            match (key, value) {
                ("type", Some(value)) => kind = value,
                ("src" | "source", Some(value)) => source = Some(value),
                ("dst" | "target" | "destination", Some(value)) => target = Some(value),
                _ => rest.push((key, value)),
            }
        }
        let within = |error: Error| error.within(format!("invalid mount `{text}`"));
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
            ("tmpfs" | "ramfs", None) => MountSource::Tmpfs { size: None, mode: None },
            ("tmpfs" | "ramfs", Some(_)) => {
                return Err(within(Error::new(Kind::Invalid, "a tmpfs mount has no source")));
            }
            ("volume", _) => return Err(no_volumes("a volume", text)),
            (kind, _) => {
                return Err(within(
                    Error::new(Kind::Unsupported, format!("unsupported mount type `{kind}`"))
                        .hint("use bind or tmpfs"),
                ));
            }
        };
        let mut mount = Self::new(source, target).map_err(within)?;
        for (key, value) in rest {
            mount.field(key, value).map_err(within)?;
        }
        Ok(mount)
    }

    /// Parses `--tmpfs`: `TARGET[:OPTIONS]`.
    pub fn parse_tmpfs(text: &str) -> Result<Self> {
        let (target, options) = text.split_once(':').unwrap_or((text, ""));
        let mut mount = Self::new(MountSource::Tmpfs { size: None, mode: None }, target)?;
        for option in options.split(',').filter(|option| !option.is_empty()) {
            mount
                .tmpfs_option(option)
                .map_err(|error| error.within(format!("invalid tmpfs `{text}`")))?;
        }
        Ok(mount)
    }

    fn new(source: MountSource, target: &str) -> Result<Self> {
        let path = Path::new(target);
        if !path.is_absolute() {
            return Err(Error::new(
                Kind::Invalid,
                format!("invalid container path \"{target}\", must be an absolute path"),
            ));
        }
        if path.components().any(|part| part == std::path::Component::ParentDir) {
            return Err(Error::new(
                Kind::Invalid,
                format!("invalid container path \"{target}\": it contains `..`"),
            ));
        }
        // Components leave out doubled and trailing slashes.
        let target: PathBuf = path.components().collect();
        if target == Path::new("/") {
            return Err(Error::new(
                Kind::Invalid,
                "invalid container path \"/\": nothing can be mounted over the root",
            ));
        }
        Ok(Self { source, target, read_only: false, options: Vec::new() })
    }

    /// Applies one option of `-v`.
    fn option(&mut self, option: &str) -> Result<()> {
        match option {
            "ro" | "readonly" => self.read_only = true,
            "rw" => self.read_only = false,
            // Labels of SELinux, and what concerns volumes only: nothing is to be done.
            "z" | "Z" | "copy" | "nocopy" | "cached" | "delegated" | "consistent" => {}
            "O" | "U" | "idmap" => {
                return Err(Error::new(
                    Kind::Unsupported,
                    format!("unsupported mount option `{option}`"),
                ));
            }
            option if OPTIONS.contains(&option) => self.options.push(option.to_owned()),
            option => {
                return Err(Error::new(Kind::Invalid, format!("invalid mount option `{option}`")));
            }
        }
        Ok(())
    }

    /// Applies one `KEY[=VALUE]` of `--mount`.
    fn field(&mut self, key: &str, value: Option<&str>) -> Result<()> {
        let is_bind = matches!(self.source, MountSource::Bind { .. });
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
            ("bind-propagation", Some(value)) if is_bind && OPTIONS[13..].contains(&value) => {
                self.options.push(value.to_owned());
            }
            ("bind-nonrecursive", _) if is_bind => {
                if flag.ok_or_else(invalid)? {
                    self.options.push("bind".to_owned());
                }
            }
            ("relabel" | "consistency", Some(_)) => {}
            ("tmpfs-size", Some(value)) if !is_bind => {
                self.tmpfs_option(&format!("size={value}"))?;
            }
            ("tmpfs-mode", Some(value)) if !is_bind => {
                self.tmpfs_option(&format!("mode={value}"))?;
            }
            (key, None) => self.option(key)?,
            _ => return Err(invalid()),
        }
        Ok(())
    }

    /// Applies one option of `--tmpfs`.
    fn tmpfs_option(&mut self, option: &str) -> Result<()> {
        let invalid = || Error::new(Kind::Invalid, format!("invalid tmpfs option `{option}`"));
        let MountSource::Tmpfs { size, mode } = &mut self.source else { return Err(invalid()) };
        match option.split_once('=') {
            // The kernel knows how to take a part of the memory.
            Some(("size", value)) if value.ends_with('%') => {
                let percent = value.trim_end_matches('%').parse::<u32>().map_err(|_| invalid())?;
                self.options.push(format!("size={percent}%"));
            }
            Some(("size", value)) => *size = Some(value.parse::<Size>()?.0),
            Some(("mode", value)) => {
                let bits = u32::from_str_radix(value, 8).ok().filter(|bits| *bits <= 0o7777);
                *mode = Some(bits.ok_or_else(invalid)?);
            }
            Some(("uid" | "gid" | "nr_inodes" | "nr_blocks", value)) => {
                let digits = value.trim_end_matches(['k', 'm', 'g']);
                digits.parse::<u64>().map_err(|_| invalid())?;
                self.options.push(option.to_owned());
            }
            Some(_) => return Err(invalid()),
            // Of a volume: what the image has there is copied, or not. A tmpfs begins empty.
            None if matches!(option, "tmpcopyup" | "notmpcopyup") => {}
            None => return self.option(option),
        }
        Ok(())
    }
}

/// Reads a truth value in the spellings that Go accepts.
pub fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

fn no_volumes(what: &str, text: &str) -> Error {
    Error::new(
        Kind::Unsupported,
        format!("cannot use {what} in `{text}`: there is no `barge volume` yet"),
    )
    .hint("bind a directory instead: a source path begins with / or ./")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(mount: &Mount) -> String {
        let source = match &mount.source {
            MountSource::Bind { path, create } => {
                format!("{}{}", path.display(), if *create { "+" } else { "" })
            }
            MountSource::Tmpfs { size, mode } => {
                let size = size.map_or("-".to_owned(), |size| size.to_string());
                let mode = mode.map_or("-".to_owned(), |mode| format!("{mode:o}"));
                format!("tmpfs {size} {mode}")
            }
        };
        let access = if mount.read_only { "ro" } else { "rw" };
        format!("{source} {} {access} {}", mount.target.display(), mount.options.join(","))
    }

    #[test]
    fn parses_volumes() {
        use Kind::{Invalid, Unsupported};
        for (text, want) in [
            ("/a:/b", Ok("/a+ /b rw ")),
            ("/a:/b:ro", Ok("/a+ /b ro ")),
            ("/a:/b:ro,Z,noexec", Ok("/a+ /b ro noexec")),
            ("./a:/b//c/:rshared", Ok("./a+ /b/c rw rshared")),
            ("../a:/b", Ok("../a+ /b rw ")),
            (".:/b", Ok(".+ /b rw ")),
            ("/a:/b:", Ok("/a+ /b rw ")),
            ("data:/b", Err(Unsupported)),
            ("/b", Err(Unsupported)),
            ("/a:/b:U", Err(Unsupported)),
            ("/a:", Err(Invalid)),
            (":/b", Err(Invalid)),
            ("/a:b", Err(Invalid)),
            ("/a:/", Err(Invalid)),
            ("/a:/b/../c", Err(Invalid)),
            ("/a:/b:nonsense", Err(Invalid)),
            ("/a:/b:ro:rw", Err(Invalid)),
            ("", Err(Unsupported)),
        ] {
            let got = Mount::parse_volume(text).map(|mount| shown(&mount));
            assert_eq!(got.as_deref().map_err(Error::kind), want, "{text}");
        }
    }

    #[test]
    fn parses_mounts() {
        use Kind::{Invalid, Unsupported};
        for (text, want) in [
            ("type=bind,source=/a,target=/b", Ok("/a /b rw ")),
            ("type=bind,src=/a,dst=/b,ro", Ok("/a /b ro ")),
            ("src=/a,destination=/b,type=bind,readonly=false", Ok("/a /b rw ")),
            ("type=bind,src=/a,dst=/b,bind-propagation=rslave", Ok("/a /b rw rslave")),
            ("type=bind,src=/a,dst=/b,bind-nonrecursive", Ok("/a /b rw bind")),
            ("type=bind,src=/a,dst=/b,rw=false,noexec", Ok("/a /b ro noexec")),
            ("type=tmpfs,dst=/b", Ok("tmpfs - - /b rw ")),
            ("type=tmpfs,dst=/b,tmpfs-size=1m,tmpfs-mode=1777", Ok("tmpfs 1048576 1777 /b rw ")),
            ("type=tmpfs,src=/a,dst=/b", Err(Invalid)),
            ("type=bind,dst=/b", Err(Invalid)),
            ("type=bind,src=/a", Err(Invalid)),
            ("type=bind,src=/a,dst=/b,tmpfs-size=1m", Err(Invalid)),
            ("type=bind,src=/a,dst=/b,ro=maybe", Err(Invalid)),
            ("type=bind,src=/a,dst=/b,bind-propagation=ro", Err(Invalid)),
            ("type=bind,src=/a,dst=/b,x=y", Err(Invalid)),
            ("type=volume,src=a,dst=/b", Err(Unsupported)),
            ("dst=/b", Err(Unsupported)),
            ("type=image,src=a,dst=/b", Err(Unsupported)),
            ("", Err(Invalid)),
        ] {
            let got = Mount::parse_mount(text).map(|mount| shown(&mount));
            assert_eq!(got.as_deref().map_err(Error::kind), want, "{text}");
        }
    }

    #[test]
    fn parses_tmpfs() {
        for (text, want) in [
            ("/x", Some("tmpfs - - /x rw ")),
            ("/x:size=64m,mode=700,ro,noexec", Some("tmpfs 67108864 700 /x ro noexec")),
            ("/x:size=50%,uid=5", Some("tmpfs - - /x rw size=50%,uid=5")),
            ("/x:size=%", None),
            ("/x:mode=999", None),
            ("/x:mode=17777", None),
            ("/x:size=big", None),
            ("/x:lowerdir=/", None),
            ("/x:bogus", None),
            ("x", None),
            ("", None),
        ] {
            let got = Mount::parse_tmpfs(text).ok().map(|mount| shown(&mount));
            assert_eq!(got.as_deref(), want, "{text}");
        }
    }
}
