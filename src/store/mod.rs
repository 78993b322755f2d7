//! What is on disk: records, blobs, layers, locks, names.
//!
//! ```text
//! ROOT                             durable; /var/lib/barge, rootless $XDG_DATA_HOME/barge
//! ├── format                       version of this layout
//! ├── lock                         shared: objects are being made; exclusive: garbage is collected
//! ├── blobs/sha256/HEX             manifests, configs and compressed layers as they came
//! ├── partial/HEX                  first bytes of a blob; locked by who downloads it
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
//! │   ├── state.json               what is so
//! │   ├── lock                     held by who changes it
//! │   ├── log, log.1, …            its output, the newest first
//! │   ├── upper/ work/             its own files, overlay's scratch space
//! │   └── host/                    for `builtin/host`: the same for each directory of the machine
//! ├── names/NAME -> HEX            container names, reserved by exclusive creation
//! ├── names.lock                   held while a stale name is freed
//! └── tmp/NAME/                    things being made; dead if their lock can be taken
//! RUNROOT                          void after a reboot; /run/barge, rootless $XDG_RUNTIME_DIR/barge
//! ├── containers/HEX/
//! │   ├── monitor                  held by the monitor for its whole life: the liveness mark
//! │   ├── attach                   its socket
//! │   └── hosts, hostname, resolv.conf, containerenv
//! ├── networks/NAME/               a network and the addresses that are leased from it
//! ├── endpoints/HEX.json           how a container is connected
//! ├── userns/PID                   without root: a process that is in the user namespace of all
//! └── userns.lock                  held while it is entered
//! ```
//!
//! Readers take no locks: files are replaced whole. Who changes a record holds its lock.

pub mod artifact;
pub mod blob;
pub mod container;
pub mod draft;
pub mod file;
pub mod image;
pub mod layer;
pub mod lease;
pub mod list;
pub mod lock;
pub mod packed;
pub mod partial;
pub mod registries;
mod roots;

use std::path::{Path, PathBuf};

use crate::error::{Context, Error, Kind, Result};

/// The version of the layout above; a store of another version is refused.
const FORMAT: &str = "1";

/// The two directories that hold everything, opened.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
    runroot: PathBuf,
}

impl Store {
    /// Opens the store, and makes it if it is not there.
    pub fn open(root: &Path, runroot: &Path) -> Result<Self> {
        let store = Self { root: root.to_owned(), runroot: runroot.to_owned() };
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
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => store.create(&format)?,
            Err(error) => {
                return Err(error).context(|| format!("cannot read {}", format.display()));
            }
        }
        file::create_dirs(&runroot.join("containers"), 0o700)?;
        Ok(store)
    }

    fn create(&self, format: &Path) -> Result<()> {
        for name in ["blobs/sha256", "layers", "images", "refs", "containers", "names", "tmp"] {
            file::create_dirs(&self.root.join(name), 0o700)?;
        }
        // Several commands may come first at once.
        let _one_at_a_time = self.exclusive()?;
        // Whoever could pass here could run the set-user-ID programs of images, on the host. The
        // containers' own users need not: overlay reaches the layers with the rights of who mounts.
        file::set_mode(&self.root, 0o700)?;
        file::write_atomic(format, FORMAT.as_bytes())
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
