//! `volume export`, `volume import`: a volume's files as an archive.

use std::fs;
use std::io::{BufRead, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use crate::engine::Engine;
use crate::error::{Context, Error, Kind, Result};
use crate::image::tree::TreeStream;
use crate::image::unpack::{Into, unpack_into};
use crate::store::file;
use crate::store::volume::{BusyVolume, Volume};
use crate::sys::root::Root;

impl Engine {
    /// Writes an archive of a volume's files. Returns what the user should know.
    pub fn export_volume(&self, name: &str, out: &mut dyn Write) -> Result<Vec<String>> {
        let volume = self.store.volumes().lookup(name)?;
        let _busy = self.keep_busy(&volume)?;
        let context = || format!("cannot export volume {}", volume.name);
        let dir = self.volume_dir(&volume).context(context)?;
        let root = Root::open(&dir).context(|| format!("cannot open {}", dir.display()))?;
        let mut stream = TreeStream::one(&root, b".", b".", None).context(context)?;
        stream.write_to(out, context)?;
        let changed = stream.changed().iter();
        Ok(changed.map(|path| format!("`{path}` changed while it was read")).collect())
    }

    /// Unpacks an archive, which may be compressed, in a volume. Returns what the user should know.
    ///
    /// One that has no files yet gets all of them or none. Otherwise they are put among those that are
    /// there, which containers may use meanwhile. Whoever writes the archive may take long; nobody waits
    /// for that.
    pub fn import_volume(&self, name: &str, input: impl BufRead) -> Result<Vec<String>> {
        let volumes = self.store.volumes();
        let volume = volumes.lookup(name)?;
        let context = || format!("cannot import to volume {}", volume.name);
        let dir = self.volume_dir(&volume).context(context)?;
        let _busy = self.keep_busy(&volume)?;
        self.store.gc_tmp()?;
        let is_new = volume.spec.own()?.is_some() && volumes.is_fresh(&volume.name);
        if !is_new || !volumes.is_empty(&volume.name)? {
            return unpack(input, &dir).context(context);
        }
        let staged = volumes.stage(&volume.name)?;
        like(&staged.path(), &dir)?;
        let warnings = unpack(input, &staged.path()).context(context)?;
        let locked = volumes.lock(&volume.name)?.ok_or_else(|| missing(&volume))?;
        // A container that has come to use it would not see files that take the place of the directory.
        if !volumes.is_fresh(&volume.name) || !locked.take_in(staged, true)? {
            let message = format!("somebody else has come to use volume {} meanwhile", volume.name);
            return Err(Error::new(Kind::Conflict, message)
                .hint("import again, to put the archive's files among those that are there"));
        }
        locked.is_used()?;
        Ok(warnings)
    }

    /// Returns where a volume's files are seen by everybody, for who asks for it.
    pub fn mount_volume(&self, name: &str) -> Result<PathBuf> {
        let volume = self.store.volumes().lookup(name)?;
        self.volume_dir(&volume).context(|| format!("cannot mount volume {}", volume.name))
    }

    fn keep_busy(&self, volume: &Volume) -> Result<BusyVolume> {
        self.store.volumes().keep_busy(&volume.name)?.ok_or_else(|| missing(volume))
    }

    /// Returns the directory with a volume's files, if there is one without a container.
    fn volume_dir(&self, volume: &Volume) -> Result<PathBuf> {
        if volume.spec.is_by_plugin() {
            let message = format!("its files are with the volume plugin {}", volume.spec.driver());
            return Err(Error::new(Kind::Unsupported, message)
                .hint("run a container that has it, and copy them by `barge cp`"));
        }
        match volume.spec.mount() {
            None => Ok(self.store.volumes().data(&volume.name)),
            Some(own) if own.kind == "bind" => Ok(own.device.into()),
            Some(own) => Err(Error::new(
                Kind::Unsupported,
                format!("its files are there only in containers, where {} is mounted", own.kind),
            )
            .hint("run a container that has it, and copy them by `barge cp`")),
        }
    }
}

fn missing(volume: &Volume) -> Error {
    let message = format!("no volume with name \"{}\" found: no such volume", volume.name);
    Error::new(Kind::NotFound, message)
}

/// Gives a directory the owner and mode of another one.
fn like(new: &Path, old: &Path) -> Result<()> {
    let found = fs::metadata(old).context(|| format!("cannot look at {}", old.display()))?;
    chown(new, Some(found.uid()), Some(found.gid()))
        .context(|| format!("cannot change the owner of {}", new.display()))?;
    file::set_mode(new, found.permissions().mode() & 0o7777)
}

fn unpack(input: impl BufRead, dir: &Path) -> Result<Vec<String>> {
    let into = Into {
        root: Root::open(dir).context(|| format!("cannot open {}", dir.display()))?,
        base: Vec::new(),
        owner: None,
        mapping: None,
        overwrite: true,
        itself: true,
        no_archive: "the source must be a (compressed) tar archive",
    };
    unpack_into(input, into)
}
