//! Files and directories that are there whole or not at all.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::driver;
use crate::error::{Context, Result};
use crate::spec::digest::Digest;

/// Bytes that are read of a record at once.
const RECORD: usize = 8 << 10;

/// Replaces `path` by `data`; readers see the old file or the new one, never a part.
///
/// The caller holds the lock of the object that `path` belongs to, so the temporary name is ours.
pub fn write_atomic(path: &Path, data: &[u8]) -> Result<()> {
    replace(path, data, true).context(|| format!("cannot write {}", path.display()))
}

/// As [`write_atomic`], for what a reboot or a power loss may take back.
pub fn write_volatile(path: &Path, data: &[u8]) -> Result<()> {
    replace(path, data, false).context(|| format!("cannot write {}", path.display()))
}

/// As [`write_atomic`], readable for nobody but us at any time; the file need not be one of a store.
pub fn write_secret(path: &Path, data: &[u8]) -> Result<()> {
    let context = || format!("cannot write {}", path.display());
    let temporary = path.with_added_extension("new");
    // What a crash has left might be readable for others.
    remove_file(&temporary)?;
    let mut options = File::options();
    let created = options.write(true).create_new(true).mode(0o600).open(&temporary);
    let written = created.and_then(|mut file| {
        file.write_all(data)?;
        file.sync_all()
    });
    if let Err(error) = written.and_then(|()| fs::rename(&temporary, path)) {
        // The first failure is what counts.
        drop(fs::remove_file(&temporary));
        return Err(error).context(context);
    }
    sync_parent(path).context(context)
}

/// As [`write_secret`], for a file that is not there and that a reboot may take back.
pub fn write_secret_volatile(path: &Path, data: &[u8]) -> Result<()> {
    let created = File::options().write(true).create_new(true).mode(0o600).open(path);
    created
        .and_then(|mut file| file.write_all(data))
        .context(|| format!("cannot write {}", path.display()))
}

fn replace(path: &Path, data: &[u8], durable: bool) -> std::io::Result<()> {
    let temporary = path.with_extension("new");
    let written = File::create(&temporary).and_then(|mut file| {
        file.write_all(data)?;
        if durable { file.sync_all() } else { Ok(()) }
    });
    if let Err(error) = written.and_then(|()| fs::rename(&temporary, path)) {
        // The first failure is what counts; a leftover is overwritten by the next writer.
        drop(fs::remove_file(&temporary));
        if durable || error.kind() != ErrorKind::StorageFull || !overwrite(path, data) {
            return Err(error);
        }
    }
    if durable { sync_parent(path) } else { Ok(()) }
}

/// Writes into the space that a file has already: on a full disk there is no other.
///
/// It is padded with line feeds, which all our formats ignore, and written at once, so that readers
/// see the old or the new content. `false` if it does not fit.
fn overwrite(path: &Path, data: &[u8]) -> bool {
    let Ok(mut file) = File::options().write(true).open(path) else { return false };
    let space = file.metadata().map_or(0, |it| it.blocks() * 512);
    let Ok(length) = file.metadata().map(|it| it.len() as usize) else { return false };
    if data.len() as u64 > space {
        return false;
    }
    let mut padded = data.to_vec();
    padded.resize(data.len().max(length), b'\n');
    file.write_all(&padded).is_ok()
}

/// Makes the creation or renaming of `path` itself durable.
pub fn sync_parent(path: &Path) -> std::io::Result<()> {
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

/// Writes a value as JSON; see [`write_atomic`].
pub fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    write_atomic(path, &to_json(path, value)?)
}

/// Writes a value as JSON; see [`write_volatile`].
pub fn write_json_volatile<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    write_volatile(path, &to_json(path, value)?)
}

fn to_json<T: Serialize>(path: &Path, value: &T) -> Result<Vec<u8>> {
    serde_json::to_vec(value).context(|| format!("cannot encode {}", path.display()))
}

/// Reads a JSON file; `None` if there is none.
///
/// What is shorter than [`RECORD`], as nearly all are, is read by one call into no memory of its own.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let context = || format!("cannot read {}", path.display());
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).context(context),
    };
    let mut beginning = [0; RECORD];
    let length = file.read(&mut beginning).context(context)?;
    let beginning = &beginning[..length];
    if length < RECORD
        && let Ok(value) = serde_json::from_slice(beginning)
    {
        return Ok(Some(value));
    }
    // It is longer, or it was read in part only, or it is damaged.
    let mut data = beginning.to_vec();
    file.read_to_end(&mut data).context(context)?;
    serde_json::from_slice(&data).map(Some).context(|| format!("{} is damaged", path.display()))
}

/// Lists the records of a directory that are named by a digest, as in `HEX.json`; none if there is no
/// such directory.
pub(super) fn record_digests(dir: &Path) -> Result<Vec<Digest>> {
    let context = || format!("cannot list {}", dir.display());
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).context(context),
    };
    let mut digests = Vec::new();
    for entry in entries {
        let name = entry.context(context)?.file_name();
        let hex = name.to_str().and_then(|name| name.strip_suffix(".json"));
        digests.extend(hex.and_then(|hex| Digest::from_hex(hex).ok()));
    }
    Ok(digests)
}

/// Makes a directory and its parents; those that are there already are left as they are.
pub fn create_dirs(path: &Path, mode: u32) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .context(|| format!("cannot create directory {}", path.display()))
}

/// Makes one directory; fails if it is there.
pub fn create_dir(path: &Path, mode: u32) -> Result<()> {
    DirBuilder::new()
        .mode(mode)
        .create(path)
        .context(|| format!("cannot create directory {}", path.display()))
}

/// Sets permission bits, whatever the umask is.
pub fn set_mode(path: &Path, mode: u32) -> Result<()> {
    fs::set_permissions(path, Permissions::from_mode(mode))
        .context(|| format!("cannot change the mode of {}", path.display()))
}

/// Removes a file; one that is not there is fine.
pub fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Removes what writers that were killed have left in a directory of files, which may not be there.
///
/// The caller keeps writers away.
pub fn remove_half_written(dir: &Path) -> Result<()> {
    let context = || format!("cannot list {}", dir.display());
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries.context(context)?,
    };
    for entry in entries {
        let path = entry.context(context)?.path();
        if path.extension().is_some_and(|extension| extension == "new") {
            remove_file(&path)?;
        }
    }
    Ok(())
}

/// Removes a directory and all below it; one that is not there is fine.
///
/// Symbolic links are removed, never followed; directories without permissions are opened up.
pub fn remove_tree(path: &Path) -> Result<()> {
    driver::discard(path);
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            open_up(path).and_then(|()| fs::remove_dir_all(path))
        }
        other => other,
    }
    .context(|| format!("cannot remove {}", path.display()))
}

/// Gives their owner full permissions on all directories below `path`.
fn open_up(path: &Path) -> std::io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(0o700))?;
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_up(&entry.path())?;
        }
    }
    Ok(())
}
