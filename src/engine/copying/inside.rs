//! The files of a container as it sees them, volumes and all, to be read and written.
//!
//! While it runs, that is a clone of all its mounts: it stays what it is when the container ends, and
//! nothing that the container mounts or moves meanwhile leads anywhere else. Otherwise they are
//! mounted as they would be for it. Who changes them holds its lock meanwhile: nobody starts it on the
//! same files. Who only reads does not, as whoever takes what is read may take long: what the container
//! has changed is then one more layer that only reads, and mount points are made elsewhere.
//! Neither is mounted anywhere: it is seen by this process and ends with it.
//!
//! Owners are seen as the machine has them: those of the container by way of its mapping.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use crate::engine::bundle::{self, Facts};
use crate::engine::rootfs::{read_only, rootfs};
use crate::engine::users::{self, Prepared};
use crate::engine::volumes::MachineMounts;
use crate::engine::{Engine, content};
use crate::error::{Context, Error, Kind, Result};
use crate::runtime;
use crate::runtime::capability::as_owner;
use crate::spec::id::ContainerId;
use crate::spec::userns::IdMapping;
use crate::store::container::{Container, ContainerConfig, Locked, Status};
use crate::store::draft::Draft;
use crate::sys::mount::{self, Attributes, NO_DEV};
use crate::sys::mountns;
use crate::sys::root::Root;

/// More than any sensible user database; a larger file is not read to its end.
const LARGEST: u64 = 16 << 20;

/// The files of a container.
pub(super) struct Inside<'a> {
    /// Its root, with all that is mounted in it.
    pub(super) root: Root,
    /// For which IDs of ours its own stand; `None` if they are the same.
    pub(super) mapping: Option<IdMapping>,
    /// What it was called.
    pub(super) name: String,
    pub(super) config: ContainerConfig,
    pub(super) engine: &'a Engine,
    lock: Option<Locked<'a>>,
    /// Where mount points are that were made for somebody who reads.
    _scratch: Option<Draft>,
}

/// What somebody wants with a container's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Read,
    Write,
}

impl<'a> Inside<'a> {
    /// Gets at a container's files. This process must have a single thread, unless the container runs.
    pub(super) fn open(
        engine: &'a Engine,
        name: &str,
        id: &ContainerId,
        purpose: Purpose,
    ) -> Result<Self> {
        let context = || format!("cannot get at the files of container {name}");
        loop {
            let container = engine.repaired(id)?;
            if container.state.process().is_some() {
                let root = running(engine, &container).context(context)?;
                return Self::of(engine, name, *container.config, root, (None, None));
            }
            let mounts = engine.mounted_by_machine(&container.config).context(context)?;
            let locked = engine.store.containers().lock(id)?;
            // It may have been started while we waited; between two runs, it is about to be.
            if locked.state().process().is_some() {
                continue;
            }
            if matches!(locked.state().status, Status::Restarting(_)) {
                return Err(restarting(name));
            }
            let config = locked.config().clone();
            let scratch = match purpose {
                Purpose::Read => Some(engine.store.draft_dir()?),
                Purpose::Write => None,
            };
            let root = stopped(engine, &container, &config, mounts, scratch.as_ref());
            let root = root.context(context);
            if purpose == Purpose::Write {
                return Self::of(engine, name, config, root?, (Some(locked), None));
            }
            // What is mounted stays so for us; who starts it now asks for it again.
            drop(engine.release_volumes(id));
            drop(locked);
            return Self::of(engine, name, config, root?, (None, scratch));
        }
    }

    fn of(
        engine: &'a Engine,
        name: &str,
        config: ContainerConfig,
        root: Root,
        (lock, scratch): (Option<Locked<'a>>, Option<Draft>),
    ) -> Result<Self> {
        let mapping = engine.mapping_of(&config)?;
        let (name, root) = (name.to_owned(), root.with_mounts());
        Ok(Self { root, mapping, name, config, engine, lock, _scratch: scratch })
    }

    /// Tells whether its lock is held, as it does not run.
    pub(super) fn is_locked(&self) -> bool {
        self.lock.is_some()
    }

    /// Writes into it. Where its owners are shown as others, only somebody who is one of them can make
    /// files.
    pub(super) fn write<T>(&self, write: impl FnOnce() -> Result<T>) -> Result<T> {
        match self.mapping.as_ref().filter(|_| !self.engine.host.rootless) {
            Some(mapping) => as_owner(users::first_outside(mapping), write),
            None => write(),
        }
    }

    /// Returns an absolute path for one that may begin at the working directory.
    pub(super) fn absolute(&self, path: &str) -> Vec<u8> {
        // Not `Path::join`, which is not needed for what a slash or dot at the end says.
        if path.starts_with('/') {
            return path.as_bytes().to_vec();
        }
        let mut whole = self.config.working_dir.as_os_str().as_encoded_bytes().to_vec();
        whole.push(b'/');
        whole.extend_from_slice(path.as_bytes());
        whole
    }

    /// Returns the container's user and group.
    pub(super) fn user(&self) -> Result<(u32, u32)> {
        let [passwd, group] = ["etc/passwd", "etc/group"].map(|path| self.text(path));
        let (user, _) = runtime::who(&self.config.user, &[], &passwd, &group)?;
        Ok((user.uid(), user.gid()))
    }

    /// Reads a file; empty if there is none.
    fn text(&self, path: &str) -> String {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        let mut data = Vec::new();
        // Numbers need no names, and for a name that is not there `who` has an error.
        if let Ok(file) = self.root.file(path.as_bytes(), flags, Mode::empty()).map(File::from)
            && file.metadata().is_ok_and(|found| found.is_file())
        {
            drop(file.take(LARGEST).read_to_end(&mut data));
        }
        String::from_utf8_lossy(&data).into_owned()
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        if self.lock.is_some() {
            // The next start tries again.
            drop(self.engine.release_volumes(&self.config.id));
        }
    }
}

fn restarting(name: &str) -> Error {
    Error::new(Kind::Conflict, format!("container {name} is about to be restarted"))
        .hint("try again when it runs, or stop it first")
}

fn running(engine: &Engine, container: &Container) -> Result<Root> {
    let process = engine.process_of(container)?;
    let tree = mountns::clone_mount_of(process.as_fd(), c"/", true)
        .context(|| "cannot clone its mounts")?;
    if !engine.host.rootless {
        // A file that becomes a device as it is opened must have no effect on this machine. Without
        // root, a container has no devices but those that its user may open anyway.
        let attributes = Attributes { set: NO_DEV, ..Attributes::default() };
        mount::set_attributes(&tree, attributes, true)
            .context(|| "cannot make its devices harmless")?;
    }
    Ok(Root::of(tree))
}

/// Mounts the files of a container that does not run, among them what this machine has mounted for it
/// already; for somebody who only reads, with a directory for what is made on the way.
fn stopped(
    engine: &Engine,
    container: &Container,
    config: &ContainerConfig,
    machine: MachineMounts,
    scratch: Option<&Draft>,
) -> Result<Root> {
    content::refuse_builtin(container, "copy files of")?;
    let users = engine.user_namespace(config)?;
    let owner = users.as_ref().map(|users| users.first_outside);
    let mut facts = Facts::find(engine, config, "", owner)?;
    facts.volumes = engine.ready_volumes(config)?;
    let trees = machine.trees;
    facts.memory = trees.iter().map(|(target, _)| target.clone()).collect();
    let files = match scratch {
        Some(scratch) => read_only(engine, config, scratch.path())?,
        // What is changed need not be synced more than any other copy.
        None => rootfs(engine, config, &facts.host_tree, true)?,
    };
    let mounts = bundle::lasting_mounts(config, &facts, Path::exists);
    let tree = content::made_elsewhere(libc::CLONE_NEWNS, || {
        let user = users.as_ref().map(Prepared::for_runtime);
        runtime::shown(&files, &mounts, &trees, user.as_ref(), config.settings.read_only)
    })?;
    Ok(Root::of(tree))
}
