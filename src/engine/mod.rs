//! Use cases: one verb a file. Prints nothing, has no globals.
//!
//! A running container has one [`monitor`]: our own executable, started anew. Commands talk to it
//! over a socket (see [`frame`]) and know that it lives by a lock that it holds. Everything else
//! they learn from the store.

mod ahead;
mod anew;
pub mod artifacts;
mod background;
mod bundle;
mod cdi;
mod checkpoint;
mod clone;
pub mod configs;
mod content;
pub mod copying;
mod create;
mod debug;
mod disk;
mod dry_run;
mod events;
pub mod exec;
mod facts;
mod finish;
pub(crate) mod frame;
mod groups;
mod health;
mod host;
mod id_file;
pub mod images;
mod info;
mod kill;
mod list;
pub mod lists;
mod log_tag;
mod logs;
pub mod monitor;
mod mounts;
mod namespaces;
pub mod networks;
mod outgoing;
mod pause;
mod processes;
mod prune;
mod remove;
mod rename;
mod rootfs;
pub mod runtime;
mod secret_drivers;
pub mod secrets;
mod session;
mod start;
mod stats;
pub mod step;
mod stop;
mod time_zone;
mod unshare;
mod update;
mod users;
pub mod volumes;
mod wait;

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

pub use bundle::{capability_names, hidden_paths};
pub use cdi::devices as cdi_devices;
pub use checkpoint::{CheckpointOptions, ExportOptions, ImportOptions, RestoreOptions};
pub use clone::CloneOptions;
pub use content::{CommitOptions, DiffSubject, MountedContainer};
pub use create::random_hex;
pub use debug::DebugSpec;
pub use disk::{ContainerSize, DiskUsage, Total};
pub use events::EventOptions;
pub use exec::ExecSpec;
pub use host::Host;
pub use id_file::IdFile;
pub use info::{Counts, Info};
pub use logs::{LogLine, LogOptions, LogReader, LogStream};
pub(crate) use outgoing::Outgoing;
pub use processes::{Names, Process, Processes};
pub use prune::Pruned;
pub use remove::RemoveOptions;
pub use session::{Attach, Ended, KeyWatch, Session, Streams};
pub(crate) use session::{Input, Typed, catch_signals, write_all};
pub use start::{Passing, Ready, check_passthrough, hold_signals, is_interrupted, release_signals};
pub use stats::{Counted, Sample};
pub use stop::{StopOptions, Stopped};
pub use update::Update;
pub use users::own_group;
pub use wait::Condition;

pub use crate::store::defaults::read as defaults;

use crate::error::Result;
use crate::image::after_crash;
use crate::spec::storage::StorageOptions;
use crate::store::Store;

/// Where an engine keeps its things; `None` is the usual place.
#[derive(Clone, Debug, Default)]
pub struct EngineOptions {
    /// Durable directory.
    pub root: Option<PathBuf>,
    /// Directory that is void after a reboot.
    pub runroot: Option<PathBuf>,
    /// How root file systems are made.
    pub storage: StorageOptions,
}

/// Everything that can be done, on one store.
#[derive(Debug)]
pub struct Engine {
    store: Store,
    host: Host,
    power: host::Power,
    warnings: Vec<String>,
}

impl Engine {
    /// Opens the store, and makes it if it is not there: enough to look at things.
    pub fn open(options: &EngineOptions) -> Result<Self> {
        let host = Host::look()?;
        let root = match &options.root {
            Some(root) => host::absolute(root)?,
            None => host.default_root()?,
        };
        let runroot = match &options.runroot {
            Some(runroot) => host::absolute(runroot)?,
            None => host.default_runroot()?,
        };
        let (store, warning) = Store::open_with(&root, &runroot, &options.storage)?;
        let warnings = warning.into_iter().collect();
        Ok(Self { store, host, power: host::Power::default(), warnings })
    }

    /// As [`Engine::open`], and gets the power to make and change containers and images.
    ///
    /// Without root, this process enters a user namespace: it must have a single thread.
    ///
    /// If the machine was stopped while images were being written, they are mended first; `say` is told about
    /// that as it happens.
    pub fn open_with_power(options: &EngineOptions, say: impl FnMut(&str)) -> Result<Self> {
        let mut engine = Self::open(options)?;
        engine.power = engine.host.gain_power(&engine.store)?;
        engine.warnings.append(&mut engine.power.warnings);
        after_crash::mend(&engine.store, say)?;
        Ok(engine)
    }

    /// Returns what the user should know about a store that was just made, and the power that was gained.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Returns the store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Returns what is known about this machine and user.
    pub fn host(&self) -> &Host {
        &self.host
    }
}

/// Returns nanoseconds since 1970.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}
