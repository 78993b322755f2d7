//! Places where every container has something mounted: the lowest layer of all that overlay shows.
//!
//! An image that has none of them needs them all the same. Otherwise each start would make them in the
//! container's own layer, through overlay, one by one, and each end would remove them: some
//! hundredths of what it costs to run a program in a container. What the image has is above them and hides them.

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::Store;
use crate::error::{Context, Result};

const DIRECTORIES: [&str; 6] = ["", "dev", "etc", "proc", "run", "sys"];
const FILES: [&str; 4] = ["etc/hostname", "etc/hosts", "etc/resolv.conf", "run/.containerenv"];
/// What old programs read, and where it is. It is made last: if it is there, all is.
const LINK: (&str, &str) = ("etc/mtab", "/proc/mounts");

impl Store {
    /// Returns the directory with the places, which is made if it is not there. It must not be written
    /// to.
    pub fn places(&self) -> Result<PathBuf> {
        let dir = self.root.join("places");
        let last = dir.join(LINK.0);
        if last.symlink_metadata().is_err() {
            make(&dir).context(|| format!("cannot make {}", dir.display()))?;
        }
        Ok(dir)
    }
}

/// Makes what is missing. Others may be at it, too.
fn make(dir: &Path) -> io::Result<()> {
    for name in DIRECTORIES {
        tolerant(fs::create_dir(dir.join(name)))?;
        fs::set_permissions(dir.join(name), Permissions::from_mode(0o755))?;
    }
    for name in FILES {
        tolerant(File::create_new(dir.join(name)).map(drop))?;
        fs::set_permissions(dir.join(name), Permissions::from_mode(0o644))?;
    }
    tolerant(symlink(LINK.1, dir.join(LINK.0)))
}

/// That it is there already is fine.
fn tolerant(made: io::Result<()>) -> io::Result<()> {
    match made {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_cut_off_is_made_whole() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(&home.path().join("s"), &home.path().join("r")).unwrap();
        let dir = store.places().unwrap();
        fs::remove_file(dir.join(LINK.0)).unwrap();
        fs::remove_dir(dir.join("sys")).unwrap();
        fs::remove_file(dir.join("etc/hosts")).unwrap();
        assert_eq!(store.places().unwrap(), dir);
        assert!(DIRECTORIES.iter().all(|name| dir.join(name).is_dir()));
        assert!(FILES.iter().all(|name| fs::read(dir.join(name)).unwrap().is_empty()));
        assert_eq!(fs::read_link(dir.join(LINK.0)).unwrap(), Path::new(LINK.1));
    }
}
