//! What is on disk: records, blobs, layers, locks, names.
//!
//! ```text
//! ROOT                             durable; /var/lib/barge, rootless $XDG_DATA_HOME/barge
//! ├── format                       version of this layout
//! ├── lock                         shared: objects are being made; exclusive: garbage is collected
//! ├── blobs/sha256/HEX             manifests, configs and compressed layers as they came
//! ├── partial/HEX                  first bytes of a blob; locked by who downloads it
//! ├── driver                       how root file systems of containers are made
//! ├── layers/HEX/                  one unpacked layer, named by its diff_id
//! │   ├── layer.json               its size
//! │   ├── packed.json              the blob that it came as, others that it was compressed to
//! │   ├── recipe.zst, moved, aside/ how to make its tar stream again, if there is no such blob
//! │   └── diff/                    its files, ready to be a lower directory
//! ├── images/HEX.json              one image, named by its ID
//! ├── lists/HEX.json               one manifest list, named by its ID
//! ├── refs/REPOSITORY/TAG -> HEX   names of images and manifest lists
//! ├── images.lock                  held while images, manifest lists or their names are changed
//! ├── artifacts/HEX.json           one name of an artifact, named by its hash
//! ├── artifacts.lock               held while artifacts are changed
//! ├── containers/HEX/              one container, named by its ID
//! │   ├── config.json              what was decided at create; never changes
//! │   ├── state.json               what is so, and limits that were changed since
//! │   ├── lock                     held by who changes it
//! │   ├── log                      its output; log.1, log.2, … are older, the oldest first
//! │   ├── followers                held by who follows the log
//! │   ├── secrets/N                its copies of secrets
//! │   ├── overlays/N/              what it changes of directories that are mounted with `O`
//! │   ├── images/N/                an image that it mounts, with owners that it knows
//! │   ├── upper/ work/             its own files, overlay's scratch space; or, with other drivers,
//! │   ├── root/                    all files that it sees
//! │   └── host/                    for `builtin/host`: the same for each directory of the machine
//! ├── unflushed/MARK               what is in place and may not be on the disk yet; `store::unflushed`
//! ├── builds/HEX.json              what a step of a build has made, named by all it depends on
//! ├── caches/HEX/                  what `RUN --mount=type=cache` shows, named by its name
//! ├── places/                      where every container has something mounted: its lowest layer
//! ├── chains/HEX/root/             driver btrfs: layers put together, named by their chain ID
//! ├── chains.lock                  held while one is made
//! ├── secrets/HEX.json             one secret, named by the hash of its name
//! ├── secrets.lock                 held while secrets are changed
//! ├── configs/HEX.json             one config, as secrets are
//! ├── configs.lock                 held while configs are changed
//! ├── volumes/NAME/                one volume; `store::volume` draws it
//! ├── networks/NAME.json           a network that a user has made
//! ├── networks.lock                held while one comes or goes, and while a container joins one
//! ├── names/NAME -> HEX            container names, reserved by exclusive creation
//! ├── names.lock                   held while a stale name is freed
//! ├── events, events.1, …          what has happened, the newest first
//! ├── events.lock                  held while they are renamed
//! └── tmp/NAME/                    things being made or erased; dead if their lock can be taken
//!     └── NAME.pin                 what somebody makes an image of
//! RUNROOT                          void after a reboot; /run/barge, rootless $XDG_RUNTIME_DIR/barge
//! ├── containers/HEX/
//! │   ├── monitor                  held by the monitor for its whole life: the liveness mark
//! │   ├── attach                   its socket
//! │   ├── config.json              what the runtime was asked for, where devices have hooks
//! │   ├── mounted/                 where its files are seen on the host; `engine::mounts` draws it
//! │   ├── notify                   the socket where it tells that it is ready
//! │   ├── restart                  held, shared, by who stops it to start it again
//! │   ├── log-lost                 what could not be written to the log, and why
//! │   ├── secrets/N                a secret, as it is bound into it
//! │   ├── exec/ID                  a process that was added to it
//! │   └── hosts, hostname, resolv.conf, containerenv
//! ├── networks/NAME/               a network and the addresses that are leased from it
//! ├── endpoints/HEX.json           how a container is connected
//! ├── mounts/HEX/                  an image whose files are seen; `engine::mounts` draws it
//! ├── mounts.lock                  held while images are mounted or unmounted
//! ├── firewalld.json               what firewalld was told of networks; `net::firewalld`
//! ├── firewalld.lock               held while it is spoken to
//! ├── netns                        without root: where to ask for the network of all; `net::keeper`
//! ├── netns.lock                   held while that is made
//! ├── userns/PID                   without root: a process that is in the user namespace of all
//! ├── userns.lock                  held while it is entered
//! └── runtime/                     containers of other tools; `store::bundle` draws it
//! ```
//!
//! Readers take no locks: files are replaced whole. Who changes a record holds its lock.

pub mod artifact;
pub mod blob;
pub mod builds;
pub mod bundle;
pub mod container;
pub mod defaults;
mod dependants;
pub mod draft;
pub mod driver;
pub mod events;
pub mod exec_records;
pub mod execs;
pub mod file;
pub mod garbage;
pub mod health;
pub mod image;
mod known;
pub mod layer;
pub mod lease;
pub mod list;
pub mod lock;
pub mod log;
pub mod network;
pub mod packed;
pub mod partial;
mod places;
mod quota;
pub mod ranges;
pub mod registries;
pub mod secret;
pub mod unflushed;
pub mod userns;
pub mod volume;

use std::path::{Path, PathBuf};

use crate::error::{Context, Error, Kind, Result};
use crate::spec::storage::{DriverName, StorageOptions};

/// The version of the layout above; a store of another version is refused.
const FORMAT: &str = "1";

/// The two directories that hold everything, opened.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
    runroot: PathBuf,
    driver: DriverName,
    ignores_chown_errors: bool,
    max_unpacked_ratio: u64,
}

impl Store {
    /// Opens the store, and makes it if it is not there: for overlay, without a look at the machine.
    pub fn open(root: &Path, runroot: &Path) -> Result<Self> {
        let overlay = |_: &Self| Ok(Some(driver::Choice::default()));
        Self::open_or_make(root, runroot, overlay).map(|(store, _)| store)
    }

    /// Opens the store as it is asked for, and makes it if it is not there. Returns what the user should
    /// know about the driver that was chosen for a new one.
    pub fn open_with(
        root: &Path,
        runroot: &Path,
        options: &StorageOptions,
    ) -> Result<(Self, Option<String>)> {
        let choose = |store: &Self| driver::choose(store, options.driver);
        let (mut store, warning) = Self::open_or_make(root, runroot, choose)?;
        store.ignores_chown_errors = options.ignore_chown_errors;
        store.max_unpacked_ratio = options.max_unpacked_ratio;
        if let Some(asked) = options.driver {
            store.change_driver(asked)?;
        }
        Ok((store, warning))
    }

    fn open_or_make(
        root: &Path,
        runroot: &Path,
        choose: impl FnOnce(&Self) -> Result<Option<driver::Choice>>,
    ) -> Result<(Self, Option<String>)> {
        let mut store = Self {
            root: root.to_owned(),
            runroot: runroot.to_owned(),
            driver: DriverName::default(),
            ignores_chown_errors: false,
            max_unpacked_ratio: StorageOptions::default().max_unpacked_ratio,
        };
        let mut warning = None;
        let format = root.join("format");
        match std::fs::read_to_string(&format) {
            Ok(text) if text.trim_end() == FORMAT => {}
            Ok(text) => {
                return Err(Error::new(
                    Kind::Unsupported,
                    format!(
                        "the store {} has format {}, this barge knows {FORMAT}",
                        root.display(),
                        text.trim_end()
                    ),
                )
                .hint("use the barge that made it, or another store with --root"));
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                warning = store.create(&format, choose)?;
            }
            Err(error) => {
                return Err(error).context(|| format!("cannot read {}", format.display()));
            }
        }
        file::create_dirs(&runroot.join("containers"), 0o700)?;
        // One of an earlier version has no record, and overlay.
        store.driver = driver::recorded(root)?.unwrap_or_default();
        Ok((store, warning))
    }

    /// Makes the directories, and lets the driver be chosen: as long as there is no telling, the next
    /// command goes on.
    fn create(
        &self,
        format: &Path,
        choose: impl FnOnce(&Self) -> Result<Option<driver::Choice>>,
    ) -> Result<Option<String>> {
        for name in ["blobs/sha256", "layers", "images", "refs", "containers", "names", "tmp"] {
            file::create_dirs(&self.root.join(name), 0o700)?;
        }
        // Several commands may come first at once.
        let _one_at_a_time = self.exclusive()?;
        // Whoever could pass here could run the set-user-ID programs of images, on the host. The
        // containers' own users need not: overlay reaches the layers with the rights of who mounts.
        file::set_mode(&self.root, 0o700)?;
        if format.exists() {
            return Ok(None);
        }
        let Some(choice) = choose(self)? else { return Ok(None) };
        self.record_driver(choice.driver)?;
        self.places()?;
        file::write_atomic(format, FORMAT.as_bytes())?;
        Ok(choice.warning)
    }

    /// Tells whether files whose owner this user cannot name are given to the user.
    pub fn ignores_chown_errors(&self) -> bool {
        self.ignores_chown_errors
    }

    /// Returns how many times its size a layer or an archive may unpack to; 0 if there is no limit.
    pub fn max_unpacked_ratio(&self) -> u64 {
        self.max_unpacked_ratio
    }

    /// Returns the durable directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the directory that is void after a reboot.
    pub fn runroot(&self) -> &Path {
        &self.runroot
    }

    /// Returns the containers.
    pub fn containers(&self) -> container::Containers<'_> {
        container::Containers::new(self)
    }

    /// Returns the blobs.
    pub fn blobs(&self) -> blob::Blobs<'_> {
        blob::Blobs::new(self)
    }

    /// Returns the layers.
    pub fn layers(&self) -> layer::Layers<'_> {
        layer::Layers::new(self)
    }

    /// Returns the images.
    pub fn images(&self) -> image::Images<'_> {
        image::Images::new(self)
    }

    /// Returns the manifest lists.
    pub fn lists(&self) -> list::Lists<'_> {
        list::Lists::new(self)
    }

    /// Returns the artifacts.
    pub fn artifacts(&self) -> artifact::Artifacts<'_> {
        artifact::Artifacts::new(self)
    }

    /// Returns the secrets.
    pub fn secrets(&self) -> secret::Secrets<'_> {
        self.kept(secret::Kept::Secret)
    }

    /// Returns the secrets or the configs.
    pub fn kept(&self, kept: secret::Kept) -> secret::Secrets<'_> {
        secret::Secrets::new(self, kept)
    }

    /// Returns the volumes.
    pub fn volumes(&self) -> volume::Volumes<'_> {
        volume::Volumes::new(self)
    }

    /// Returns what steps of builds have made.
    pub fn builds(&self) -> builds::Builds<'_> {
        builds::Builds::new(self)
    }

    /// Returns the events.
    pub fn events(&self) -> events::Events<'_> {
        events::Events::new(self)
    }

    /// Keeps garbage collection away while objects that refer to each other are made.
    pub fn shared(&self) -> Result<lock::Lock> {
        lock::Lock::shared(&self.root.join("lock"))
    }

    /// As [`Store::exclusive`]; `None` if objects are being made right now.
    pub fn try_exclusive(&self) -> Result<Option<lock::Lock>> {
        lock::Lock::try_exclusive(&self.root.join("lock"))
    }

    /// Waits until nobody makes objects, and keeps it so: for removal of what nobody refers to.
    pub fn exclusive(&self) -> Result<lock::Lock> {
        lock::Lock::exclusive(&self.root.join("lock"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_closed_to_others() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("s"), &dir.path().join("r")).unwrap();
        let mode = store.root().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn a_store_of_another_format_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Store::open(dir.path(), &dir.path().join("r"));
        open().unwrap();
        std::fs::write(dir.path().join("format"), "99\n").unwrap();
        assert_eq!(open().unwrap_err().kind(), Kind::Unsupported);
    }

    #[test]
    fn several_commands_may_come_first() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Store::open(&dir.path().join("root"), &dir.path().join("run")).map(drop);
        let results: Vec<Result<()>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        for result in results {
            result.unwrap();
        }
    }
}
