//! Which driver a store has: chosen when it is made, recorded, and changed while nothing depends on it.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use super::probe::{self, Verdict};
use crate::error::{Context, Error, Kind, Result};
use crate::spec::storage::DriverName;
use crate::store::draft::Gone;
use crate::store::{Store, file};

/// The file with the driver's name.
const RECORD: &str = "driver";

/// A driver, and what the user should know about it.
#[derive(Clone, Debug, Default)]
pub(in crate::store) struct Choice {
    /// The driver.
    pub(in crate::store) driver: DriverName,
    /// Why it is not the best.
    pub(in crate::store) warning: Option<String>,
}

/// Returns the driver that a store was made with; `None` if that is not decided yet.
pub(in crate::store) fn recorded(root: &Path) -> Result<Option<DriverName>> {
    let path = root.join(RECORD);
    match fs::read_to_string(&path) {
        Ok(text) => {
            let context = || format!("cannot use the store {}", root.display());
            text.trim_end().parse::<DriverName>().map(Some).context(context)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).context(|| format!("cannot read {}", path.display())),
    }
}

/// Chooses a driver for a new store: the one that is asked for, or the best that works.
///
/// `None` if there is no telling yet: without the power to mount anything.
pub(in crate::store) fn choose(store: &Store, asked: Option<DriverName>) -> Result<Option<Choice>> {
    if let Some(driver) = asked {
        return match try_out(store, driver)? {
            Verdict::Refused(reason) => Err(refused(store, driver, &reason)),
            Verdict::Works | Verdict::Unknown => Ok(Some(Choice { driver, warning: None })),
        };
    }
    let reason = match try_out(store, DriverName::Overlay)? {
        Verdict::Works => return Ok(Some(Choice::default())),
        Verdict::Unknown => return Ok(None),
        Verdict::Refused(reason) => reason,
    };
    if matches!(try_out(store, DriverName::Btrfs)?, Verdict::Works) {
        return Ok(Some(Choice { driver: DriverName::Btrfs, warning: None }));
    }
    let warning = format!(
        "each container gets a copy of its image, which takes time and space (storage driver vfs): overlay does not work in {}: {reason}; a directory on ext4, xfs or btrfs would do, see --root",
        store.root.display(),
    );
    Ok(Some(Choice { driver: DriverName::Vfs, warning: Some(warning) }))
}

fn try_out(store: &Store, driver: DriverName) -> Result<Verdict> {
    let draft = match driver {
        DriverName::Vfs => return Ok(Verdict::Works),
        DriverName::Overlay | DriverName::Btrfs => store.draft_dir()?,
    };
    let context = || format!("cannot find out whether {driver} works in {}", store.root.display());
    match driver {
        DriverName::Btrfs => probe::btrfs(draft.path()).context(context),
        _ => probe::overlay(draft.path()).context(context),
    }
}

fn refused(store: &Store, driver: DriverName, reason: &str) -> Error {
    let place = store.root.display();
    let error = Error::new(
        Kind::Unsupported,
        format!("the storage driver `{driver}` does not work in {place}: {reason}"),
    );
    match driver {
        DriverName::Btrfs => error.hint("name a directory on btrfs with --root, or leave --storage-driver out"),
        _ => error.hint("name a directory on another file system with --root, or leave --storage-driver out: what works is chosen then"),
    }
}

impl Store {
    /// Writes down the driver that new containers get.
    pub(in crate::store) fn record_driver(&self, driver: DriverName) -> Result<()> {
        file::write_atomic(&self.root.join(RECORD), driver.as_str().as_bytes())
    }

    /// Makes `asked` the driver of this store. One that has containers keeps the driver it has: that is
    /// an error.
    pub(in crate::store) fn change_driver(&mut self, asked: DriverName) -> Result<()> {
        if self.driver == asked {
            return Ok(());
        }
        let alone = self.exclusive()?;
        let dir = self.root.join("containers");
        let mut containers =
            fs::read_dir(&dir).context(|| format!("cannot list {}", dir.display()))?;
        if containers.next().is_some() {
            return Err(Error::new(
                Kind::Conflict,
                format!(
                    "the store {} was made with the storage driver `{}` and has containers: it cannot be opened with `{asked}`",
                    self.root.display(),
                    self.driver
                ),
            )
            .hint("leave --storage-driver and STORAGE_DRIVER out, name another store with --root, or remove all containers first: barge rm -a"));
        }
        choose(self, Some(asked))?;
        self.record_driver(asked)?;
        self.driver = asked;
        // They are made anew by the driver that needs them.
        let gone = self.take_chains_away(&[])?;
        drop(alone);
        gone.into_iter().try_for_each(Gone::erase)
    }
}
