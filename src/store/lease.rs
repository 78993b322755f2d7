//! Addresses that containers hold, and what their endpoints are.
//!
//! ```text
//! RUNROOT/networks/NAME/
//! ├── network.json                 what was chosen for this network when it was made
//! ├── last                         the address that was leased last, where the next search begins
//! ├── leases/ADDRESS -> HEX        an address and the container that holds it
//! └── names/                       who has which name; `store::known` draws it
//! RUNROOT/endpoints/HEX.json       how a container is connected; written before it holds anything
//! ```
//!
//! A lease is a symbolic link, so taking one is a single system call that fails if somebody else was
//! faster, and the holder is known from the first moment on. No lock is needed.

use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Store, file};
use crate::error::{Context, Result};
use crate::spec::id::ContainerId;

/// Tells one record from the next that took its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(u64, i64, i64);

/// What is recorded of one network.
#[derive(Debug)]
pub struct NetworkRecord {
    directory: PathBuf,
}

impl NetworkRecord {
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Reads what was chosen for the network; `None` if it was not made since the last boot.
    pub fn load<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        file::read_json(&self.directory.join("network.json"))
    }

    /// Records what was chosen for the network. The caller holds the lock of the network set-up.
    pub fn save<T: Serialize>(&self, value: &T) -> Result<()> {
        file::create_dirs(&self.directory.join("leases"), 0o700)?;
        file::write_json_volatile(&self.directory.join("network.json"), value)
    }

    /// Forgets the network and its leases.
    pub fn remove(&self) -> Result<()> {
        file::remove_tree(&self.directory)
    }

    /// Leases an address from `first` to `last`, which are of one version of IP, to a container; `None`
    /// if all are taken. Those of `besides` are not for containers.
    ///
    /// The search begins behind the address that was leased last: a freed address rests for a
    /// while, and a start among a thousand containers looks at one address, not at a thousand.
    pub fn lease(
        &self,
        (first, last): (IpAddr, IpAddr),
        besides: &[IpAddr],
        holder: &ContainerId,
    ) -> Result<Option<IpAddr>> {
        let hint = self.directory.join(if first.is_ipv4() { "last" } else { "last6" });
        let (first_bits, last_bits) = (bits(first), bits(last));
        let begin = fs::read_to_string(&hint)
            .ok()
            .and_then(|text| text.parse::<IpAddr>().ok())
            .map(|address| bits(address).wrapping_add(1))
            .filter(|begin| (first_bits..=last_bits).contains(begin))
            .unwrap_or(first_bits);
        for address in (begin..=last_bits).chain(first_bits..begin) {
            let address = like(first, address);
            if !besides.contains(&address) && self.lease_exactly(address, holder)? {
                // Only a hint: a lost or mixed up one costs a longer search.
                drop(fs::write(&hint, address.to_string()));
                return Ok(Some(address));
            }
        }
        Ok(None)
    }

    /// Leases this address to a container; `false` if it is taken.
    pub fn lease_exactly(&self, address: IpAddr, holder: &ContainerId) -> Result<bool> {
        let path = self.lease_path(address);
        match symlink(holder.as_str(), &path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
            Err(error) => Err(error).context(|| format!("cannot lease {}", path.display())),
        }
    }

    /// Returns the container that holds an address.
    pub fn holder(&self, address: IpAddr) -> Option<ContainerId> {
        let target = fs::read_link(self.lease_path(address)).ok()?;
        target.to_str()?.parse().ok()
    }

    /// Frees an address if this container holds it.
    pub fn release(&self, address: IpAddr, holder: &ContainerId) -> Result<()> {
        let path = self.lease_path(address);
        match fs::read_link(&path) {
            Ok(target) if target == Path::new(holder.as_str()) => file::remove_file(&path),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error).context(|| format!("cannot read {}", path.display())),
        }
    }

    /// Returns all addresses that are leased, with their holders.
    pub fn leases(&self) -> Result<Vec<(IpAddr, ContainerId)>> {
        let directory = self.directory.join("leases");
        let context = || format!("cannot read {}", directory.display());
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).context(context),
        };
        let mut leases = Vec::new();
        for entry in entries {
            let entry = entry.context(context)?;
            let address = entry.file_name().to_str().and_then(|name| name.parse().ok());
            // A lease that went away meanwhile, or a file that is none of ours.
            let holder = fs::read_link(entry.path())
                .ok()
                .and_then(|target| target.to_str().and_then(|text| text.parse().ok()));
            leases.extend(address.zip(holder));
        }
        Ok(leases)
    }

    fn lease_path(&self, address: IpAddr) -> PathBuf {
        self.directory.join("leases").join(address.to_string())
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}

/// Makes an address of the same version of IP as another one.
fn like(other: IpAddr, bits: u128) -> IpAddr {
    match other {
        IpAddr::V4(_) => Ipv4Addr::from(bits as u32).into(),
        IpAddr::V6(_) => Ipv6Addr::from(bits).into(),
    }
}

impl Store {
    /// Returns the names of the networks that are set up.
    pub fn networks_in_use(&self) -> Result<Vec<String>> {
        let directory = self.runroot().join("networks");
        let context = || format!("cannot read {}", directory.display());
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).context(context),
        };
        let mut names = Vec::new();
        for entry in entries {
            names.extend(entry.context(context)?.file_name().into_string());
        }
        names.sort();
        Ok(names)
    }

    /// Returns the record of the network of this name.
    pub fn network(&self, name: &str) -> NetworkRecord {
        NetworkRecord { directory: self.runroot().join("networks").join(name) }
    }

    /// Reads how a container is connected; `None` if it is not.
    pub fn endpoint<T: DeserializeOwned>(&self, id: &ContainerId) -> Result<Option<T>> {
        file::read_json(&self.endpoint_path(id))
    }

    /// Returns what tells one record of how a container is connected from the next: records are
    /// replaced whole. `None` if there is none.
    pub fn endpoint_mark(&self, id: &ContainerId) -> Option<Mark> {
        let found = fs::metadata(self.endpoint_path(id)).ok()?;
        Some(Mark(found.ino(), found.ctime(), found.ctime_nsec()))
    }

    /// Records how a container is connected.
    pub fn save_endpoint<T: Serialize>(&self, id: &ContainerId, value: &T) -> Result<()> {
        file::create_dirs(&self.runroot().join("endpoints"), 0o700)?;
        file::write_json_volatile(&self.endpoint_path(id), value)
    }

    /// Forgets how a container was connected.
    pub fn remove_endpoint(&self, id: &ContainerId) -> Result<()> {
        file::remove_file(&self.endpoint_path(id))
    }

    /// Returns how containers are connected, all that are, the one that was recorded last at the end.
    pub fn endpoints<T: DeserializeOwned>(&self) -> Result<Vec<(ContainerId, T)>> {
        let directory = self.runroot().join("endpoints");
        let context = || format!("cannot read {}", directory.display());
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).context(context),
        };
        let mut endpoints = Vec::new();
        for entry in entries {
            let entry = entry.context(context)?;
            let name = entry.file_name();
            let id = name.to_str().and_then(|name| name.strip_suffix(".json")?.parse().ok());
            let Some(id) = id else { continue };
            // One that went away meanwhile is none.
            let modified = entry.metadata().and_then(|metadata| metadata.modified());
            let Ok(modified) = modified else { continue };
            endpoints.extend(self.endpoint(&id)?.map(|endpoint| (modified, id, endpoint)));
        }
        endpoints.sort_by_key(|(modified, _, _)| *modified);
        Ok(endpoints.into_iter().map(|(_, id, endpoint)| (id, endpoint)).collect())
    }

    fn endpoint_path(&self, id: &ContainerId) -> PathBuf {
        self.runroot().join("endpoints").join(format!("{id}.json"))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::thread;

    use super::*;

    fn id(number: u8) -> ContainerId {
        format!("{number:064x}").parse().unwrap()
    }

    fn address(last: u8) -> IpAddr {
        Ipv4Addr::new(10, 0, 0, last).into()
    }

    fn store(directory: &Path) -> Store {
        let store = Store::open(&directory.join("root"), &directory.join("run")).unwrap();
        store.network("test").save(&"chosen").unwrap();
        store
    }

    #[test]
    fn leases_in_turn_and_reuses_at_the_end() {
        let directory = tempfile::tempdir().unwrap();
        let network = store(directory.path()).network("test");
        let lease =
            |holder| network.lease((address(2), address(5)), &[address(3)], &id(holder)).unwrap();
        assert_eq!(lease(1), Some(address(2)));
        assert_eq!(lease(2), Some(address(4)));
        network.release(address(2), &id(1)).unwrap();
        assert_eq!(lease(3), Some(address(5)));
        assert_eq!(lease(4), Some(address(2)));
        assert_eq!(lease(5), None);
        // Somebody else's lease stays.
        network.release(address(4), &id(9)).unwrap();
        assert_eq!(lease(5), None);
        assert_eq!(network.leases().unwrap().len(), 3);
        assert!(!network.lease_exactly(address(4), &id(5)).unwrap());
        assert_eq!(network.holder(address(4)), Some(id(2)));
        assert!(network.lease_exactly(address(3), &id(5)).unwrap());
        assert_eq!(store(directory.path()).networks_in_use().unwrap(), ["test"]);
    }

    #[test]
    fn never_leases_one_address_twice() {
        let directory = tempfile::tempdir().unwrap();
        let network = store(directory.path()).network("test");
        let taken: Vec<IpAddr> = thread::scope(|scope| {
            let workers: Vec<_> = (0..50)
                .map(|holder| {
                    let network = &network;
                    scope.spawn(move || {
                        network.lease((address(2), address(60)), &[address(1)], &id(holder))
                    })
                })
                .collect();
            workers.into_iter().map(|worker| worker.join().unwrap().unwrap().unwrap()).collect()
        });
        assert_eq!(taken.iter().collect::<BTreeSet<_>>().len(), 50);
    }

    #[test]
    fn keeps_endpoints_by_container() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        assert_eq!(store.endpoint::<String>(&id(1)).unwrap(), None);
        store.save_endpoint(&id(1), &"here").unwrap();
        assert_eq!(store.endpoint::<String>(&id(1)).unwrap().as_deref(), Some("here"));
        assert_eq!(store.endpoints::<String>().unwrap(), [(id(1), "here".to_owned())]);
        store.remove_endpoint(&id(1)).unwrap();
        store.remove_endpoint(&id(1)).unwrap();
        assert_eq!(store.endpoint::<String>(&id(1)).unwrap(), None);
    }
}
