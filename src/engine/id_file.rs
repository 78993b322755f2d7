//! `--cidfile`: the file that is to have a container's ID.
//!
//! It is there before anything is made, and is new: what has the name already may belong to another
//! container, or may be no such file at all, and is not touched.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::error::{Context, Error, Kind, Result};
use crate::spec::id::ContainerId;

/// A new and empty file; gone with this, unless it has got an ID.
#[derive(Debug)]
pub struct IdFile {
    path: PathBuf,
    file: File,
    is_written: bool,
}

impl IdFile {
    /// Refuses a name that something has already, and makes nothing.
    pub fn check(path: &Path) -> Result<()> {
        // A link that leads nowhere is something, too.
        match fs::symlink_metadata(path) {
            Ok(_) => Err(taken(path)),
            Err(_) => Ok(()),
        }
    }

    /// Makes the file.
    pub fn create(path: &Path) -> Result<Self> {
        // The kernel follows no link here.
        match File::create_new(path) {
            Ok(file) => Ok(Self { path: path.to_owned(), file, is_written: false }),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(taken(path)),
            Err(error) => Err(error).context(|| what(path)),
        }
    }

    /// Writes the ID; the file stays from now on.
    pub fn write(mut self, id: &ContainerId) -> Result<()> {
        self.file.write_all(id.as_str().as_bytes()).context(|| what(&self.path))?;
        self.is_written = true;
        Ok(())
    }
}

impl Drop for IdFile {
    fn drop(&mut self) {
        if !self.is_written {
            // Nothing can be done if that fails, and why it is to go is told.
            drop(fs::remove_file(&self.path));
        }
    }
}

fn what(path: &Path) -> String {
    format!("cannot write the container ID to {}", path.display())
}

fn taken(path: &Path) -> Error {
    let text = format!(
        "container ID file found, make sure the other container isn't running or delete {}",
        path.display()
    );
    Error::new(Kind::Conflict, text)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_is_there_is_not_touched() {
        let dir = std::env::temp_dir().join(format!("barge-id-file-{}", std::process::id()));
        fs::create_dir(&dir).unwrap();
        let (file, link, loose) = (dir.join("file"), dir.join("link"), dir.join("loose"));
        fs::write(&file, "precious").unwrap();
        symlink(&file, &link).unwrap();
        symlink(dir.join("nosuch"), &loose).unwrap();
        for path in [&file, &link, &loose, &dir] {
            assert_eq!(IdFile::check(path).unwrap_err().kind(), Kind::Conflict);
            assert_eq!(IdFile::create(path).unwrap_err().kind(), Kind::Conflict);
        }
        assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
        let new = dir.join("new");
        drop(IdFile::create(&new).unwrap());
        assert!(!new.exists());
        let id: ContainerId = "a".repeat(64).parse().unwrap();
        IdFile::create(&new).unwrap().write(&id).unwrap();
        assert_eq!(fs::read_to_string(&new).unwrap(), id.as_str());
        fs::remove_dir_all(&dir).unwrap();
    }
}
