//! Where files of an archive go: into a tar stream, into a file, or into a directory.
//!
//! A stream takes one file after the other. Elsewhere a file whose size is known has its place before
//! anything of it is written, so several of them are written at once.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use tar::{EntryType, Header};

use crate::error::{Context, Error, Kind, Result};

const BUFFER: usize = 256 << 10;
const BLOCK: u64 = 512;

/// The files of an archive that is being written.
pub(super) struct Members<'a> {
    to: To<'a>,
    written: HashSet<String>,
}

enum To<'a> {
    Directory(PathBuf),
    /// A new file, and how much of it has been given away.
    File(&'a File, u64),
    Stream(BufWriter<&'a mut dyn Write>),
}

/// Where an archive is written to.
pub(super) enum Output<'a> {
    /// A new file.
    File(&'a File),
    /// A pipe or a device.
    Stream(&'a mut dyn Write),
}

/// What a file of an archive is to be written to.
pub(super) enum Place<'a, 'b> {
    /// It is there already.
    Taken,
    /// A place that any thread may write to, at any time before the end.
    Free(Room<'a>),
    /// The stream that is next.
    Next(Stream<'a, 'b>),
}

/// Room for a file of a known size.
pub(super) struct Room<'a> {
    name: String,
    at: At<'a>,
}

enum At<'a> {
    Path(PathBuf),
    Offset(&'a File, u64),
}

/// The end of a stream, where a file of a known size comes next.
pub(super) struct Stream<'a, 'b> {
    name: String,
    to: &'b mut BufWriter<&'a mut dyn Write>,
}

impl<'a> Members<'a> {
    /// Begins an archive.
    pub(super) fn archive(output: Output<'a>) -> Self {
        let to = match output {
            Output::File(file) => To::File(file, 0),
            Output::Stream(stream) => To::Stream(BufWriter::with_capacity(BUFFER, stream)),
        };
        Self { to, written: HashSet::new() }
    }

    /// Begins a directory, made if it is not there. One that is `exclusive` has nothing else in it.
    pub(super) fn directory(path: &Path, exclusive: bool) -> Result<Self> {
        let context = || format!("cannot make directory {}", path.display());
        fs::create_dir_all(path).context(context)?;
        if exclusive {
            clear(path)?;
        }
        Ok(Self { to: To::Directory(path.to_owned()), written: HashSet::new() })
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

    /// Tells whether a file was written, or has its place.
    pub(super) fn has(&self, name: &str) -> bool {
        self.written.contains(name)
    }

    /// Writes a file that is in memory.
    pub(super) fn add_bytes(&mut self, name: &str, data: &[u8]) -> Result<()> {
        let size = data.len() as u64;
        match self.place(name, size)? {
            Place::Taken => Ok(()),
            Place::Free(room) => room.fill(size, &mut &*data, |_| {}),
            Place::Next(stream) => stream.fill(size, &mut &*data, |_| {}),
        }
    }

    /// Finds the place for a file of a known size.
    pub(super) fn place(&mut self, name: &str, size: u64) -> Result<Place<'a, '_>> {
        if !self.written.insert(name.to_owned()) {
            return Ok(Place::Taken);
        }
        let context = || format!("cannot write `{name}`");
        let mut headers = Vec::new();
        if !matches!(self.to, To::Directory(_)) {
            // Other tools, run by users, fail to make directories that are not mentioned.
            for (end, _) in name.match_indices('/') {
                let directory = &name[..=end];
                if self.written.insert(directory.to_owned()) {
                    let header = header(directory, EntryType::Directory, 0)?;
                    headers.extend_from_slice(header.as_bytes());
                }
            }
            headers.extend_from_slice(header(name, EntryType::Regular, size)?.as_bytes());
        }
        let name = name.to_owned();
        match &mut self.to {
            To::Directory(directory) => {
                let path = directory.join(&name);
                if let Some(parent) = path.parent() {
                    fs::create_dir_all(parent).context(context)?;
                }
                Ok(Place::Free(Room { name, at: At::Path(path) }))
            }
            To::File(file, end) => {
                file.write_all_at(&headers, *end).context(context)?;
                let offset = *end + headers.len() as u64;
                // What fills the last block is a hole, and zeros.
                *end = offset + size + padding(size);
                Ok(Place::Free(Room { name, at: At::Offset(file, offset) }))
            }
            To::Stream(to) => {
                to.write_all(&headers).context(context)?;
                Ok(Place::Next(Stream { name, to }))
            }
        }
    }

    /// Ends the archive.
    pub(super) fn finish(self) -> Result<()> {
        let end = [0; 2 * BLOCK as usize];
        match self.to {
            To::Directory(_) => Ok(()),
            To::File(file, length) => file.write_all_at(&end, length),
            To::Stream(mut stream) => stream.write_all(&end).and_then(|()| stream.flush()),
        }
        .context(|| "cannot write the archive")
    }
}

impl Room<'_> {
    /// Writes the file.
    pub(super) fn fill(
        self,
        size: u64,
        content: &mut dyn Read,
        done: impl FnMut(u64),
    ) -> Result<()> {
        let context = || format!("cannot write `{}`", self.name);
        let path = match self.at {
            At::Offset(file, offset) => {
                let write = |bytes: &[u8], at: u64| file.write_all_at(bytes, offset + at);
                return copy(content, size, write, done).context(context);
            }
            At::Path(path) => path,
        };
        // Whole or not there: the name of a blob is a promise.
        let temporary = path.with_extension("new");
        let written = File::create(&temporary).context(context).and_then(|file| {
            copy(content, size, |bytes, at| file.write_all_at(bytes, at), done).context(context)?;
            fs::rename(&temporary, &path).context(context)
        });
        if written.is_err() {
            // What failed first is what counts.
            drop(fs::remove_file(&temporary));
        }
        written
    }
}

impl Stream<'_, '_> {
    /// Writes the file.
    pub(super) fn fill(
        self,
        size: u64,
        content: &mut dyn Read,
        done: impl FnMut(u64),
    ) -> Result<()> {
        let Self { name, to } = self;
        let context = || format!("cannot write `{name}`");
        copy(content, size, |bytes, _| to.write_all(bytes), done).context(context)?;
        io::copy(&mut io::repeat(0).take(padding(size)), to).map(drop).context(context)
    }
}

fn padding(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK
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

/// Copies as many bytes as there should be; `write` is told where they belong.
fn copy(
    content: &mut dyn Read,
    size: u64,
    mut write: impl FnMut(&[u8], u64) -> io::Result<()>,
    mut done: impl FnMut(u64),
) -> Result<()> {
    let mut buffer = vec![0; BUFFER];
    let mut copied = 0;
    loop {
        let length = match content.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => length as u64,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error).context(|| "cannot read it"),
        };
        if copied + length > size {
            copied += length;
            break;
        }
        write(&buffer[..length as usize], copied).context(|| "cannot write it")?;
        copied += length;
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
    whole(path, |output| match output {
        Output::File(mut file) => write(&mut file),
        Output::Stream(stream) => write(stream),
    })
}

/// As [`whole_file`]; `write` is told whether it may write in any order.
pub(super) fn whole<T>(path: &Path, write: impl FnOnce(Output<'_>) -> Result<T>) -> Result<T> {
    let context = || format!("cannot write {}", path.display());
    let is_special = fs::metadata(path).is_ok_and(|found| !found.is_file());
    if is_special {
        let mut file = OpenOptions::new().write(true).open(path).context(context)?;
        return write(Output::Stream(&mut file));
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let temporary = path.with_file_name(name);
    let file = File::create(&temporary).context(context)?;
    let written = write(Output::File(&file)).and_then(|value| {
        fs::rename(&temporary, path).context(context)?;
        Ok(value)
    });
    if written.is_err() {
        // What failed first is what counts.
        drop(fs::remove_file(&temporary));
    }
    written
}
