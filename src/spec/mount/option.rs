//! Options of mounts that are single words, and those of file systems in memory.

use std::path::PathBuf;

use super::{Mount, MountSource, OverlayOf};
use crate::error::{Error, Kind, Result};
use crate::spec::size::Size;

/// The option of a read-only mount that leaves what is mounted below as it is.
pub const ALONE: &str = "ro";

/// Mount options that go on as they are.
const OPTIONS: [&str; 16] = [
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
    "norelatime",
    "strictatime",
    "nostrictatime",
    "diratime",
    "nodiratime",
];

/// Options of mounts that show what is there already.
const BINDS: [&str; 2] = ["bind", "rbind"];

/// How mounts below it come to be seen on the other side; these go on as they are, too.
pub const PROPAGATIONS: [&str; 8] =
    ["private", "rprivate", "shared", "rshared", "slave", "rslave", "unbindable", "runbindable"];

/// Options of which one can be given, once.
const ALTERNATIVES: [&[&str]; 10] = [
    &["ro", "rro", "readonly", "rw"],
    &["exec", "noexec"],
    &["dev", "nodev"],
    &["suid", "nosuid"],
    &BINDS,
    &["copy", "nocopy"],
    &["z", "Z", "relabel"],
    &["U", "u", "chown"],
    &["tmpcopyup", "notmpcopyup"],
    &PROPAGATIONS,
];

/// Refuses options that contradict or repeat each other, as others do.
pub(super) fn refuse_repeated<'a>(words: impl Iterator<Item = &'a str> + Clone) -> Result<()> {
    for group in ALTERNATIVES {
        let mut given = words.clone().filter(|word| group.contains(word));
        if let (Some(first), Some(second)) = (given.next(), given.next()) {
            let message = match first == second {
                true => format!("the mount option `{first}` is given twice"),
                false => {
                    format!("the mount options `{first}` and `{second}` exclude each other")
                }
            };
            return Err(Error::new(Kind::Invalid, message).hint("leave one of them out"));
        }
    }
    Ok(())
}

impl Mount {
    /// Applies one option of `-v`.
    pub(super) fn option(&mut self, option: &str) -> Result<()> {
        match option {
            // With what is mounted below, as Docker does since 25.0.
            "ro" | "rro" | "readonly" => self.read_only = true,
            "rw" => self.read_only = false,
            "copy" | "nocopy" => {
                // Binds show what they show.
                if let MountSource::Volume { copy, .. } = &mut self.source {
                    *copy = option == "copy";
                }
            }
            // Labels of SELinux, and hints for other systems: nothing is to be done.
            "z" | "Z" | "cached" | "delegated" | "consistent" => {}
            "U" => self.chown = true,
            "idmap" if !self.is_fresh() => self.idmap = true,
            "O" if !self.is_fresh() => {
                self.overlay.get_or_insert(OverlayOf::Discarded);
            }
            option if option.starts_with("upperdir=") || option.starts_with("workdir=") => {
                self.overlay_dir(option)?;
            }
            option if option.starts_with("idmap=") => {
                return Err(Error::new(
                    Kind::Unsupported,
                    format!("unsupported mount option `{option}`"),
                )
                .hint("idmap without more maps owners as --userns or --uidmap say"));
            }
            option
                if OPTIONS.contains(&option)
                    || PROPAGATIONS.contains(&option)
                    || BINDS.contains(&option) && !self.is_fresh() =>
            {
                self.options.push(option.to_owned());
            }
            option => {
                return Err(Error::new(Kind::Invalid, format!("invalid mount option `{option}`")));
            }
        }
        Ok(())
    }

    /// Tells whether it shows a file system that begins empty.
    pub(super) fn is_fresh(&self) -> bool {
        matches!(self.source, MountSource::Tmpfs { .. } | MountSource::Devpts) || self.is_ramfs()
    }

    pub(super) fn is_ramfs(&self) -> bool {
        matches!(self.source, MountSource::Ramfs { .. })
    }

    /// Applies `upperdir=PATH` or `workdir=PATH`.
    fn overlay_dir(&mut self, option: &str) -> Result<()> {
        let (key, path) = option.split_once('=').unwrap_or((option, ""));
        let (mut upper, mut work) = match self.overlay.take() {
            Some(OverlayOf::Kept { upper, work }) => (upper, work),
            _ => (PathBuf::new(), PathBuf::new()),
        };
        if !path.starts_with('/') {
            return Err(Error::new(
                Kind::Invalid,
                format!("{key} `{path}` is not an absolute path"),
            ));
        }
        *(if key == "workdir" { &mut work } else { &mut upper }) = PathBuf::from(path);
        self.overlay = Some(OverlayOf::Kept { upper, work });
        Ok(())
    }

    /// Finds out whether the directories of an overlay were given both.
    pub(super) fn complete_overlay(&self) -> Result<()> {
        match &self.overlay {
            Some(OverlayOf::Kept { upper, work })
                if upper.as_os_str().is_empty() || work.as_os_str().is_empty() =>
            {
                Err(Error::new(Kind::Invalid, "must specify both upperdir and workdir"))
            }
            _ => Ok(()),
        }
    }

    /// Applies one option of `--tmpfs`.
    pub fn tmpfs_option(&mut self, option: &str) -> Result<()> {
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
            // As Docker takes them, where memory comes from with several nodes, and nothing at all.
            Some(("mpol", value)) if !value.is_empty() => {
                self.options.push(option.to_owned());
            }
            None if option == "defaults" => {}
            Some(_) => return Err(invalid()),
            // Whether it begins with what the image has there. By default it is empty, as in Docker.
            None if matches!(option, "tmpcopyup" | "notmpcopyup") => {
                self.options.push(option.to_owned());
            }
            None => return self.option(option),
        }
        Ok(())
    }
}
