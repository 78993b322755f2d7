//! Files of this machine as an archive, for other hosts.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use crate::error::{Context, Result};

/// Writes an archive.
pub(crate) struct Packer<'a> {
    archive: tar::Builder<&'a mut dyn Write>,
    /// Whether files keep their owners; else they are root's.
    keeps_owners: bool,
}

/// Says whether something is packed, by its name in the archive, and whether it is a directory.
type Chooser<'a> = &'a dyn Fn(&Path, bool) -> bool;

impl<'a> Packer<'a> {
    /// Begins.
    pub(crate) fn new(out: &'a mut dyn Write, keeps_owners: bool) -> Self {
        let mut archive = tar::Builder::new(out);
        archive.follow_symlinks(false);
        Self { archive, keeps_owners }
    }

    /// Packs a file or a directory, with what is chosen of all in it, under a name.
    pub(crate) fn add(&mut self, source: &Path, name: &Path, chosen: Chooser<'_>) -> Result<()> {
        let context = || format!("cannot read {}", source.display());
        let found = fs::symlink_metadata(source).context(context)?;
        let mut header = tar::Header::new_gnu();
        header.set_metadata(&found);
        if !self.keeps_owners {
            header.set_uid(0);
            header.set_gid(0);
        }
        if found.is_symlink() {
            let target = fs::read_link(source).context(context)?;
            header.set_size(0);
            return self.archive.append_link(&mut header, name, target).context(context);
        }
        if found.is_dir() {
            let named = name.join("");
            self.archive.append_data(&mut header, named, io::empty()).context(context)?;
            return self.directory(source, name, chosen);
        }
        if !found.is_file() {
            // Devices, pipes and sockets are of this machine.
            return Ok(());
        }
        let file = File::open(source).context(context)?;
        // One that grows meanwhile has its length of now in the archive.
        self.archive.append_data(&mut header, name, file.take(found.len())).context(context)
    }

    /// Packs what is in a directory.
    pub(crate) fn directory(
        &mut self,
        source: &Path,
        name: &Path,
        chosen: Chooser<'_>,
    ) -> Result<()> {
        let mut entries = fs::read_dir(source)
            .and_then(Iterator::collect::<io::Result<Vec<_>>>)
            .context(|| format!("cannot read {}", source.display()))?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let inside = name.join(entry.file_name());
            let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if chosen(&inside, is_directory) {
                self.add(&entry.path(), &inside, chosen)?;
            }
        }
        Ok(())
    }

    /// Packs a text.
    pub(crate) fn text(&mut self, name: &Path, text: &str) -> Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(text.len() as u64);
        let appended = self.archive.append_data(&mut header, name, text.as_bytes());
        appended.context(|| "cannot write the archive")
    }

    /// Ends.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.archive.finish().context(|| "cannot write the archive")
    }
}
