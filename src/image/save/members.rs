//! Where files of an archive go: into a tar stream, or into a directory.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use tar::{EntryType, Header};

use crate::error::{Context, Error, Kind, Result};

const BUFFER: usize = 256 << 10;
const BLOCK: u64 = 512;

/// The files of an archive that is being written.
pub(super) struct Members<'a> {
    to: To<'a>,
    written: HashSet<String>,
    buffer: Vec<u8>,
}

enum To<'a> {
    Directory(PathBuf),
    Archive(BufWriter<&'a mut dyn Write>),
}

impl<'a> Members<'a> {
    /// Begins an archive.
    pub(super) fn archive(to: &'a mut dyn Write) -> Self {
        let to = To::Archive(BufWriter::with_capacity(BUFFER, to));
        Self { to, written: HashSet::new(), buffer: vec![0; BUFFER] }
    }

    /// Begins a directory, made if it is not there. One that is `exclusive` has nothing else in it.
    pub(super) fn directory(path: &Path, exclusive: bool) -> Result<Self> {
        let context = || format!("cannot make directory {}", path.display());
        fs::create_dir_all(path).context(context)?;
        if exclusive {
            clear(path)?;
        }
        let to = To::Directory(path.to_owned());
        Ok(Self { to, written: HashSet::new(), buffer: vec![0; BUFFER] })
    }

    /// Reads a file that a directory has from before.
    pub(super) fn existing(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let To::Directory(directory) = &self.to else { return Ok(None) };
        let path = directory.join(name);
        match fs::read(&path) {
            Ok(data) => Ok(Some(data)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).context(|| format!("cannot read {}", path.display())),
        }
    }

    /// Tells whether a file was written.
    pub(super) fn has(&self, name: &str) -> bool {
        self.written.contains(name)
    }

    /// Writes a file that is in memory.
    pub(super) fn add_bytes(&mut self, name: &str, data: &[u8]) -> Result<()> {
        self.add(name, data.len() as u64, &mut &*data, |_| {})
    }

    /// Writes a file of a known size; one that was written already is left.
    pub(super) fn add(
        &mut self,
        name: &str,
        size: u64,
        content: &mut dyn Read,
        mut done: impl FnMut(u64),
    ) -> Result<()> {
        if !self.written.insert(name.to_owned()) {
            return Ok(());
        }
        let context = || format!("cannot write `{name}`");
        match &mut self.to {
            To::Archive(archive) => {
                // Other tools, run by users, fail to make directories that are not mentioned.
                for (end, _) in name.match_indices('/') {
                    let directory = &name[..=end];
                    if self.written.insert(directory.to_owned()) {
                        let header = header(directory, EntryType::Directory, 0)?;
                        archive.write_all(header.as_bytes()).context(context)?;
                    }
                }
                let header = header(name, EntryType::Regular, size)?;
                archive.write_all(header.as_bytes()).context(context)?;
                copy(content, archive, &mut self.buffer, size, &mut done).context(context)?;
                let padding = size.wrapping_neg() % BLOCK;
                io::copy(&mut io::repeat(0).take(padding), archive).map(drop).context(context)
            }
            To::Directory(directory) => {
                let path = directory.join(name);
                if let Some(parent) = path.parent() {
                    fs::create_dir_all(parent).context(context)?;
                }
                // Whole or not there: the name of a blob is a promise.
                let temporary = path.with_extension("new");
                let written = File::create(&temporary).context(context).and_then(|mut file| {
                    copy(content, &mut file, &mut self.buffer, size, &mut done).context(context)?;
                    fs::rename(&temporary, &path).context(context)
                });
                if written.is_err() {
                    // What failed first is what counts.
                    drop(fs::remove_file(&temporary));
                }
                written
            }
        }
    }

    /// Ends the archive.
    pub(super) fn finish(self) -> Result<()> {
        if let To::Archive(mut archive) = self.to {
            archive
                .write_all(&[0; 2 * BLOCK as usize])
                .and_then(|()| archive.flush())
                .context(|| "cannot write the archive")?;
        }
        Ok(())
    }
}

/// Makes a header that says nothing of who wrote it and when.
fn header(name: &str, kind: EntryType, size: u64) -> Result<Header> {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_path(name).context(|| format!("cannot write `{name}`"))?;
    header.set_mode(if kind == EntryType::Directory { 0o755 } else { 0o644 });
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header.set_cksum();
    Ok(header)
}

fn copy(
    content: &mut dyn Read,
    to: &mut impl Write,
    buffer: &mut [u8],
    size: u64,
    done: &mut impl FnMut(u64),
) -> Result<()> {
    let mut copied = 0;
    loop {
        let length = match content.read(buffer) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error).context(|| "cannot read it"),
        };
        copied += length as u64;
        if copied > size {
            break;
        }
        to.write_all(&buffer[..length]).context(|| "cannot write it")?;
        done(copied);
    }
    if copied == size {
        return Ok(());
    }
    Err(Error::new(Kind::Internal, format!("it should have {size} bytes, and there are {copied}"))
        .hint("the store is damaged; remove the image and pull or load it again"))
}

/// Removes what an image of before has left in a directory; refuses one with other things in it.
fn clear(path: &Path) -> Result<()> {
    let context = || format!("cannot list {}", path.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(path).context(context)? {
        names.push(entry.context(context)?.file_name().to_string_lossy().into_owned());
    }
    let is_ours = |name: &String| {
        matches!(name.as_str(), "manifest.json" | "version")
            || name.starts_with("signature-")
            || crate::spec::digest::Digest::from_hex(name).is_ok()
    };
    let is_from_before = names.iter().any(|name| name == "version") && names.iter().all(is_ours);
    if !names.is_empty() && !is_from_before {
        return Err(Error::new(
            Kind::Conflict,
            format!("directory {} has other things in it", path.display()),
        )
        .hint("name an empty directory, or one that does not exist"));
    }
    for name in names {
        let path = path.join(name);
        fs::remove_file(&path).context(|| format!("cannot remove {}", path.display()))?;
    }
    Ok(())
}

/// Writes a file so that it is there whole or not at all; pipes and devices are written to as they are.
pub fn whole_file<T>(path: &Path, write: impl FnOnce(&mut dyn Write) -> Result<T>) -> Result<T> {
    let context = || format!("cannot write {}", path.display());
    let is_special = fs::metadata(path).is_ok_and(|found| !found.is_file());
    if is_special {
        let mut file = OpenOptions::new().write(true).open(path).context(context)?;
        return write(&mut file);
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let temporary = path.with_file_name(name);
    let mut file = File::create(&temporary).context(context)?;
    let written = write(&mut file).and_then(|value| {
        fs::rename(&temporary, path).context(context)?;
        Ok(value)
    });
    if written.is_err() {
        // What failed first is what counts.
        drop(fs::remove_file(&temporary));
    }
    written
}
