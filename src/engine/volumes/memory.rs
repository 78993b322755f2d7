//! Volumes that are file systems in memory: containers that run at the same time share one.
//!
//! It is mounted in containers only, so the kernel frees it with the last of them. One that starts
//! gets a clone of the mount of one that runs, or a new file system if none does. The kernel's number
//! of the file system, noted in `memory/VOLUME` of the run directory, says which of a container's
//! mounts it is, wherever that is.

use std::ffi::CString;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::fstat;

use crate::engine::bundle::{self, Facts};
use crate::engine::{Engine, content};
use crate::error::{Context, Error, Kind, Result};
use crate::runtime;
use crate::spec::id::ContainerId;
use crate::spec::mount::Mount;
use crate::spec::userns::{IdMapping, outside_of};
use crate::spec::volume::VolumeMount;
use crate::store::container::ContainerConfig;
use crate::store::file;
use crate::store::volume::Held;
use crate::sys::{mount, mountns, process};

/// The volumes in memory of a container that is about to start.
#[derive(Debug, Default)]
pub(in crate::engine) struct Memory {
    /// Where they are to be mounted, and what.
    pub(in crate::engine) trees: Vec<(PathBuf, OwnedFd)>,
    /// Nobody else looks for them, or makes them, as long as this is held: until it is on record that
    /// the container runs.
    pub(in crate::engine) held: Held,
}

impl Engine {
    /// Finds or makes the file systems in memory that a container has as volumes. This process must
    /// have a single thread.
    pub(in crate::engine) fn memory_volumes(
        &self,
        config: &ContainerConfig,
        facts: &Facts,
    ) -> Result<Memory> {
        let mut memory = Memory::default();
        // In the order of their names, as all locks of volumes.
        for name in config.volumes() {
            let Some((volume, _)) = facts.volumes.get(name) else { continue };
            let Some(own) = volume.spec.mount().filter(VolumeMount::is_in_memory) else { continue };
            let context = || format!("cannot mount volume {name}");
            if !self.store.volumes().hold_alone(&mut memory.held, name)? {
                let message = format!("no volume with name \"{name}\" found: no such volume");
                return Err(Error::new(Kind::NotFound, message));
            }
            let mounts = config.settings.mounts.iter().filter(|it| it.volume() == Some(name));
            let mounts: Vec<&Mount> = mounts.collect();
            let mut trees = self.in_use(&config.id, name, &mounts).context(context)?;
            if trees.is_empty() {
                if let Some(below) = mounts.iter().find_map(|mount| mount.subpath.as_ref()) {
                    return Err(cannot_find(below)).context(context);
                }
                trees.push(self.make_in_memory(&own, config, facts).context(context)?);
            }
            let [first, ..] = trees.as_slice() else { continue };
            let number = number_of(first).context(context)?;
            let again = || {
                mount::clone_at(first.as_fd(), false)
                    .context(|| "more than once in one container, which needs Linux 6.15")
            };
            let again = |_| content::made_elsewhere(libc::CLONE_NEWNS, again).context(context);
            let others = (trees.len()..mounts.len()).map(again).collect::<Result<Vec<_>>>()?;
            trees.extend(others);
            let marks = facts.run_dir.join("memory");
            file::create_dirs(&marks, 0o700)?;
            file::write_volatile(&marks.join(name), number.as_bytes())?;
            let targets = mounts.into_iter().map(|mount| mount.target.clone());
            memory.trees.extend(targets.zip(trees));
        }
        Ok(memory)
    }

    /// Clones the mount of a volume in another container that runs, or the parts of it that mounts show;
    /// empty if there is none.
    fn in_use(&self, id: &ContainerId, name: &str, mounts: &[&Mount]) -> Result<Vec<OwnedFd>> {
        let containers = self.store.containers();
        for user in self.store.volumes().users(name)? {
            let Some(container) = containers.get(&user)?.filter(|_| user != *id) else { continue };
            let Some(run) = container.state.process() else { continue };
            let open = process::open(run.pid, run.start_time);
            let Some(process) = open.context(|| "cannot find a container's process")? else {
                continue;
            };
            let mark = containers.run_dir(&user).join("memory").join(name);
            let Ok(number) = fs::read_to_string(&mark) else { continue };
            // It ends as we look, or has unmounted it.
            let Some(place) = mount::place_of(run.pid, &number) else { continue };
            let clone = |_| mountns::clone_mount_of(process.as_fd(), &place, false);
            let Ok(mut trees) = (0..mounts.len()).map(clone).collect::<Result<Vec<_>, _>>() else {
                continue;
            };
            if !trees.iter().all(|tree| number_of(tree).is_ok_and(|found| found == number)) {
                continue;
            }
            for (mount, tree) in mounts.iter().zip(&mut trees) {
                let Some(below) = &mount.subpath else { continue };
                let path = CString::new(below.as_os_str().as_encoded_bytes());
                let path = path.map_err(|_| cannot_find(below))?;
                *tree = mountns::clone_part_of(process.as_fd(), &place, &path)
                    .map_err(|error| cannot_find(below).caused_by(error))?;
            }
            return Ok(trees);
        }
        Ok(Vec::new())
    }

    fn make_in_memory(
        &self,
        own: &VolumeMount<'_>,
        config: &ContainerConfig,
        facts: &Facts,
    ) -> Result<OwnedFd> {
        let mapping = self.mapping_of(config)?;
        let options = options(own, mapping.as_ref().filter(|_| facts.own_users))?;
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let entry = bundle::mount("/", own.kind, own.device, &options);
        content::made_elsewhere(libc::CLONE_NEWNS, || runtime::detached(&entry))
    }
}

fn cannot_find(below: &Path) -> Error {
    Error::new(Kind::NotFound, format!("cannot find `{}` in it", below.display()))
        .hint("one in memory has what containers that run have put there, and begins empty")
}

/// The options of the file system itself; owners as the machine has them.
fn options(own: &VolumeMount<'_>, mapping: Option<&IdMapping>) -> Result<Vec<String>> {
    // Each container's mount has attributes of its own.
    let of_mounts = ["ro", "rw", "noexec", "nosuid", "nodev", "exec", "suid", "dev"];
    let words = own.options.iter().filter(|word| !of_mounts.contains(word));
    let mut options: Vec<String> = words.map(ToString::to_string).collect();
    let Some(mapping) = mapping else { return Ok(options) };
    for (key, ranges) in [("uid=", &mapping.uids), ("gid=", &mapping.gids)] {
        let given = options.iter().find_map(|word| word.strip_prefix(key)?.parse::<u32>().ok());
        let id = given.unwrap_or(0);
        let outside = outside_of(ranges, id).ok_or_else(|| {
            Error::new(Kind::Invalid, format!("{key}{id} is not mapped in the user namespace"))
        })?;
        options.retain(|word| !word.starts_with(key));
        options.push(format!("{key}{outside}"));
    }
    Ok(options)
}

/// The number of the file system, as in /proc/PID/mountinfo.
fn number_of(tree: &OwnedFd) -> Result<String> {
    let device = fstat(tree).context(|| "cannot look at the mount")?.st_dev;
    Ok(format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::userns::IdRange;

    #[test]
    fn owners_are_those_of_the_machine() {
        let range = |inside, outside, count| vec![IdRange { inside, outside, count }];
        let mapping = IdMapping { uids: range(0, 1000, 10), gids: range(0, 2000, 10) };
        for (words, mapped, want) in [
            (&["size=1m", "ro", "noexec", "uid=5"][..], false, Some("size=1m uid=5")),
            (&["size=1m", "uid=5"], true, Some("size=1m uid=1005 gid=2000")),
            (&["gid=3"], true, Some("uid=1000 gid=2003")),
            (&["uid=10"], true, None),
        ] {
            let own = VolumeMount { kind: "tmpfs", device: "tmpfs", options: words.to_vec() };
            let got = options(&own, mapped.then_some(&mapping)).ok().map(|all| all.join(" "));
            assert_eq!(got.as_deref(), want, "{words:?}");
        }
    }
}
