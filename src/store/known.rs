//! Names by which containers on a network know each other.
//!
//! ```text
//! RUNROOT/networks/NETWORK/names/NAME/HEX -> ADDRESS,ADDRESS
//! ```
//!
//! One look at one directory answers who has a name, and always with what is so: there is nothing to be
//! remembered, and nobody to be told of changes. Several containers can have one name.

use std::fs;
use std::io::ErrorKind;
use std::net::IpAddr;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use super::file;
use super::lease::NetworkRecord;
use crate::error::{Context, Result};
use crate::spec::id::ContainerId;
use crate::spec::membership::parse_alias;

impl NetworkRecord {
    fn name_dir(&self, name: &str) -> Option<PathBuf> {
        // What is no name is no part of a path, either.
        parse_alias(name).ok().map(|name| self.directory().join("names").join(name))
    }

    /// Lets a container be found by a name in lower case. What cannot be a name is left out.
    pub fn announce(&self, name: &str, holder: &ContainerId, addresses: &[IpAddr]) -> Result<()> {
        let Some(dir) = self.name_dir(name) else { return Ok(()) };
        let path = dir.join(holder.as_str());
        let texts: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
        let target = texts.join(",");
        // Whoever withdraws the last other one takes the directory along.
        for _ in 0..100 {
            file::create_dirs(&dir, 0o700)?;
            match symlink(&target, &path) {
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) if error.kind() == ErrorKind::AlreadyExists => file::remove_file(&path)?,
                other => return other.context(|| format!("cannot make {}", path.display())),
            }
        }
        Ok(())
    }

    /// Takes a name away from a container; one that it has not is fine.
    pub fn withdraw(&self, name: &str, holder: &ContainerId) -> Result<()> {
        let Some(dir) = self.name_dir(name) else { return Ok(()) };
        file::remove_file(&dir.join(holder.as_str()))?;
        match fs::remove_dir(&dir) {
            Err(error)
                if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty) =>
            {
                Err(error).context(|| format!("cannot remove {}", dir.display()))
            }
            _ => Ok(()),
        }
    }

    /// Returns the containers that have a name in lower case, with their addresses.
    pub fn known(&self, name: &str) -> Vec<(ContainerId, Vec<IpAddr>)> {
        let Some(dir) = self.name_dir(name) else { return Vec::new() };
        // A name that nobody has has no directory.
        let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
        let holder = |entry: fs::DirEntry| {
            let id = entry.file_name().to_str()?.parse().ok()?;
            let target = fs::read_link(entry.path()).ok()?;
            let addresses = target.to_str()?.split(',').filter_map(|it| it.parse().ok());
            Some((id, addresses.collect()))
        };
        entries.flatten().filter_map(holder).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    #[test]
    fn knows_who_has_a_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let store = Store::open(&path.join("root"), &path.join("run")).unwrap();
        let network = store.network("net");
        let id = |number: u8| format!("{number:064x}").parse::<ContainerId>().unwrap();
        let addresses: [IpAddr; 2] = ["10.1.2.3".parse().unwrap(), "fd00::3".parse().unwrap()];
        for number in [1, 2, 2] {
            network.announce("web.a", &id(number), &addresses).unwrap();
        }
        let mut known = network.known("web.a");
        known.sort();
        assert_eq!(known, [(id(1), addresses.to_vec()), (id(2), addresses.to_vec())]);
        for (name, other) in [("web", "net"), ("web.a", "other"), ("../names/web.a", "net")] {
            assert_eq!(store.network(other).known(name), [], "{name}");
        }
        // What is no name is none, and does no harm.
        network.announce("../../x", &id(1), &addresses).unwrap();
        assert!(!path.join("run/networks/x").exists());
        for number in [1, 1, 2, 3] {
            network.withdraw("web.a", &id(number)).unwrap();
        }
        assert_eq!(network.known("web.a"), []);
        assert_eq!(fs::read_dir(path.join("run/networks/net/names")).unwrap().count(), 0);
    }
}
