//! Mount options in the words of mount(8) and the OCI runtime spec, sorted by what acts on them.

use std::path::PathBuf;

use crate::sys::mount::{self, Attributes};

/// What a list of mount options means.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Options {
    /// Attributes of the mount itself.
    pub(super) attributes: Attributes,
    /// Whether the attributes hold for the mounts below as well (`rro`, `rnoexec`, …).
    pub(super) attributes_recursive: bool,
    /// Propagation as `MS_…`, 0 if none was named.
    pub(super) propagation: u64,
    /// Whether the propagation holds for the mounts below as well.
    pub(super) propagation_recursive: bool,
    /// Whether it is a bind mount, and whether of the mounts below as well.
    pub(super) bind: Option<Bind>,
    /// The part of what is bound that is shown, by its path below it.
    pub(super) subpath: Option<PathBuf>,
    /// Whether owners are shown as the container's users stand for them.
    pub(super) idmap: bool,
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
const MS_SHARED: u64 = 1 << 20;

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
            "defaults" | "async" => {}
            "bind" => self.bind = Some(self.bind.unwrap_or(Bind::One)),
            "rbind" => self.bind = Some(Bind::All),
            "ro" => self.set(mount::READ_ONLY),
            "rw" => self.clear(mount::READ_ONLY),
            "nosuid" => self.set(mount::NO_SUID),
            "suid" => self.clear(mount::NO_SUID),
            "nodev" => self.set(mount::NO_DEV),
            "dev" => self.clear(mount::NO_DEV),
            "noexec" => self.set(mount::NO_EXEC),
            "exec" => self.clear(mount::NO_EXEC),
            "nodiratime" => self.set(mount::NO_DIR_ATIME),
            "diratime" => self.clear(mount::NO_DIR_ATIME),
            "noatime" => self.access_time(mount::NO_ATIME),
            "strictatime" => self.access_time(mount::STRICT_ATIME),
            "relatime" | "atime" | "norelatime" | "nostrictatime" => self.access_time(0),
            "unbindable" => self.propagate(MS_UNBINDABLE, false),
            "private" => self.propagate(MS_PRIVATE, false),
            "slave" => self.propagate(MS_SLAVE, false),
            "shared" => self.propagate(MS_SHARED, false),
            "runbindable" => self.propagate(MS_UNBINDABLE, true),
            "rprivate" => self.propagate(MS_PRIVATE, true),
            "rslave" => self.propagate(MS_SLAVE, true),
            "rshared" => self.propagate(MS_SHARED, true),
            "rro" | "rnosuid" | "rnodev" | "rnoexec" | "rrw" | "rsuid" | "rdev" | "rexec" => {
                self.attributes_recursive = true;
                self.add(&word[1..]);
            }
            "idmap" => self.idmap = true,
            word if word.starts_with("subpath=") => {
                self.subpath = word.strip_prefix("subpath=").map(PathBuf::from);
            }
            _ => self.data.push(match word.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (word.to_owned(), None),
            }),
        }
    }

    fn set(&mut self, bits: u64) {
        self.attributes.set |= bits;
        self.attributes.clear &= !bits;
    }

    fn clear(&mut self, bits: u64) {
        self.attributes.clear |= bits;
        self.attributes.set &= !bits;
    }

    fn access_time(&mut self, bits: u64) {
        self.attributes.set = self.attributes.set & !mount::ATIME_BITS | bits;
        self.attributes.clear |= mount::ATIME_BITS;
    }

    fn propagate(&mut self, propagation: u64, recursive: bool) {
        self.propagation = propagation;
        self.propagation_recursive = recursive;
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
        assert!(options.attributes_recursive);
        assert_eq!(options.attributes.set, mount::READ_ONLY);
    }
}
