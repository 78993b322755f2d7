//! Mount options in the words of mount(8) and the OCI runtime spec, sorted by what acts on them.

use std::path::PathBuf;

use crate::error::{Error, Kind, Result};
use crate::sys::mount::{self, Attributes};

/// What a list of mount options means.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    /// Attributes of the mount itself.
    pub(super) attributes: Attributes,
    /// Attributes of the mount and of those below it (`rro`, `rnoexec`, …).
    pub(super) recursive: Attributes,
    /// Propagation as `MS_…`, 0 if none was named.
    pub(super) propagation: u64,
    /// Whether the propagation holds for the mounts below as well.
    pub(super) propagation_recursive: bool,
    /// Whether it is a bind mount, and whether of the mounts below as well.
    pub(super) bind: Option<Bind>,
    /// The part of what is bound that is shown, by its path below it.
    pub(super) subpath: Option<PathBuf>,
    /// Whether owners are shown as the container's users stand for them, or as the mount's own mappings
    /// say; and on which mounts.
    pub(super) idmap: Option<Bind>,
    /// Whether a new file system begins with a copy of what is below it.
    pub(super) copy_up: bool,
    /// Whether it is no new mount, but other attributes of the one that is there.
    pub(super) remount: bool,
    /// What the file system's own options are.
    pub(super) data: Vec<(String, Option<String>)>,
}

/// Which mounts a bind shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bind {
    /// The named one alone.
    One,
    /// Those below it too.
    All,
}

const MS_UNBINDABLE: u64 = 1 << 17;
const MS_PRIVATE: u64 = 1 << 18;
const MS_SLAVE: u64 = 1 << 19;
pub(super) const MS_SHARED: u64 = 1 << 20;

impl Options {
    /// Sorts options; words that are not known here belong to the file system.
    pub(super) fn parse<S: AsRef<str>>(words: &[S]) -> Self {
        let mut options = Self::default();
        for word in words {
            options.add(word.as_ref());
        }
        options
    }

    fn add(&mut self, word: &str) {
        match word {
            // What the kernel decides by itself, or has no more meaning.
            "defaults" | "silent" | "loud" | "acl" | "noacl" | "iversion" | "noiversion" => {}
            "async" | "mand" | "nomand" => {}
            "bind" => self.bind = Some(self.bind.unwrap_or(Bind::One)),
            "rbind" => self.bind = Some(Bind::All),
            "remount" => self.remount = true,
            "unbindable" => self.propagate(MS_UNBINDABLE, false),
            "private" => self.propagate(MS_PRIVATE, false),
            "slave" => self.propagate(MS_SLAVE, false),
            "shared" => self.propagate(MS_SHARED, false),
            "runbindable" => self.propagate(MS_UNBINDABLE, true),
            "rprivate" => self.propagate(MS_PRIVATE, true),
            "rslave" => self.propagate(MS_SLAVE, true),
            "rshared" => self.propagate(MS_SHARED, true),
            "idmap" => self.idmap = Some(self.idmap.unwrap_or(Bind::One)),
            "ridmap" => self.idmap = Some(Bind::All),
            "tmpcopyup" => self.copy_up = true,
            "notmpcopyup" => self.copy_up = false,
            word if word.starts_with("subpath=") => {
                self.subpath = word.strip_prefix("subpath=").map(PathBuf::from);
            }
            word if change(&mut self.attributes, word) => {}
            word if word.strip_prefix('r').is_some_and(|it| change(&mut self.recursive, it)) => {}
            _ => self.data.push(match word.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (word.to_owned(), None),
            }),
        }
    }

    fn propagate(&mut self, propagation: u64, recursive: bool) {
        self.propagation = propagation;
        self.propagation_recursive = recursive;
    }
}

/// Changes attributes as a word says; returns whether it is about one.
fn change(attributes: &mut Attributes, word: &str) -> bool {
    let (bits, set) = match word {
        "ro" => (mount::READ_ONLY, true),
        "rw" => (mount::READ_ONLY, false),
        "nosuid" => (mount::NO_SUID, true),
        "suid" => (mount::NO_SUID, false),
        "nodev" => (mount::NO_DEV, true),
        "dev" => (mount::NO_DEV, false),
        "noexec" => (mount::NO_EXEC, true),
        "exec" => (mount::NO_EXEC, false),
        "nodiratime" => (mount::NO_DIR_ATIME, true),
        "diratime" => (mount::NO_DIR_ATIME, false),
        "nosymfollow" => (mount::NO_SYMFOLLOW, true),
        "symfollow" => (mount::NO_SYMFOLLOW, false),
        "noatime" => return access_time(attributes, mount::NO_ATIME),
        "strictatime" => return access_time(attributes, mount::STRICT_ATIME),
        "relatime" | "atime" | "norelatime" | "nostrictatime" => return access_time(attributes, 0),
        _ => return false,
    };
    if set {
        attributes.set |= bits;
        attributes.clear &= !bits;
    } else {
        attributes.clear |= bits;
        attributes.set &= !bits;
    }
    true
}

fn access_time(attributes: &mut Attributes, bits: u64) -> bool {
    attributes.set = attributes.set & !mount::ATIME_BITS | bits;
    attributes.clear |= mount::ATIME_BITS;
    true
}

/// Reads the propagation of a container's root file system; tells whether it holds for all below.
pub(super) fn propagation(word: &str) -> Result<(u64, bool)> {
    let mut options = Options::default();
    options.add(word);
    match options.propagation {
        0 => Err(Error::new(Kind::Invalid, format!("`{word}` is no propagation of mounts"))
            .hint("it is one of private, slave, shared and unbindable, or with an `r` before it")),
        propagation => Ok((propagation, options.propagation_recursive)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorts_options() {
        let options = Options::parse(&["nosuid", "noexec", "mode=755", "newinstance", "ro"]);
        assert_eq!(options.attributes.set, mount::NO_SUID | mount::NO_EXEC | mount::READ_ONLY);
        assert_eq!(
            options.data,
            [("mode".to_owned(), Some("755".to_owned())), ("newinstance".to_owned(), None)]
        );
        assert_eq!(options.bind, None);
    }

    #[test]
    fn the_last_word_wins() {
        let options = Options::parse(&["rbind", "ro", "rw", "noatime", "strictatime", "rslave"]);
        assert_eq!(options.attributes.set, mount::STRICT_ATIME);
        assert_eq!(options.attributes.clear, mount::READ_ONLY | mount::ATIME_BITS);
        assert_eq!(options.bind, Some(Bind::All));
        assert_eq!((options.propagation, options.propagation_recursive), (MS_SLAVE, true));
        assert_eq!(Options::parse(&["bind", "rbind"]).bind, Some(Bind::All));
        assert_eq!(Options::parse(&["rbind", "bind"]).bind, Some(Bind::All));
    }

    #[test]
    fn knows_recursive_attributes() {
        let options = Options::parse(&["bind", "rro"]);
        assert_eq!(options.recursive.set, mount::READ_ONLY);
        assert_eq!(options.attributes, Attributes::default());
        let options = Options::parse(&["rbind", "ro", "rnosuid", "ratime", "rnosymfollow", "rdev"]);
        assert_eq!(options.attributes.set, mount::READ_ONLY);
        assert_eq!(options.recursive.set, mount::NO_SUID | mount::NO_SYMFOLLOW);
        assert_eq!(options.recursive.clear, mount::ATIME_BITS | mount::NO_DEV);
        assert!(options.data.is_empty());
    }

    #[test]
    fn knows_mappings_and_propagations() {
        assert_eq!(Options::parse(&["idmap"]).idmap, Some(Bind::One));
        assert_eq!(Options::parse(&["ridmap", "idmap"]).idmap, Some(Bind::All));
        assert_eq!(propagation("rslave").unwrap(), (MS_SLAVE, true));
        assert_eq!(propagation("private").unwrap(), (MS_PRIVATE, false));
        assert!(propagation("ro").is_err());
    }
}
