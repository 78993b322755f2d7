//! Giving a tree of ours away.

use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::fs::{major, minor};
use tokio::sync::mpsc;

use super::mode;
use crate::api::buildkit::message::files::{Packet, PacketKind, Stat};
use crate::error::{Context, Error, Kind, Result};

/// Bytes of a piece of a file.
const PIECE: usize = 32 << 10;

/// Tells of a tree, and then gives what is asked for, until nobody asks any more: on a thread of its own.
pub(super) fn give(
    root: &Path,
    packets: &mpsc::Sender<Packet>,
    mut wanted: mpsc::UnboundedReceiver<u32>,
) -> Result<()> {
    let mut teller = Teller { root, packets, files: Vec::new(), links: HashMap::new() };
    teller.directory(Path::new(""))?;
    teller.send(Packet { kind: PacketKind::Stat as i32, ..Packet::default() })?;
    while let Some(number) = wanted.blocking_recv() {
        let index = usize::try_from(number).unwrap_or(usize::MAX);
        let path = teller.files.get_mut(index).and_then(Option::take).ok_or_else(|| {
            Error::new(Kind::Invalid, "the client asks for a file that it was not told of")
        })?;
        teller.content(number, &path)?;
    }
    Ok(())
}

struct Teller<'a> {
    root: &'a Path,
    packets: &'a mpsc::Sender<Packet>,
    /// What was told, by number: files with content have paths.
    files: Vec<Option<PathBuf>>,
    /// Files that have several names, by device and number: the first of them.
    links: HashMap<(u64, u64), String>,
}

impl Teller<'_> {
    fn send(&self, packet: Packet) -> Result<()> {
        let gone = || Error::new(Kind::Unavailable, "the client has left");
        self.packets.blocking_send(packet).map_err(|_| gone())
    }

    /// Tells of what is in a directory, in the order of names.
    fn directory(&mut self, path: &Path) -> Result<()> {
        let whole = self.root.join(path);
        let context = || format!("cannot list {}", whole.display());
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&whole).context(context)? {
            names.push(entry.context(context)?.file_name());
        }
        names.sort_by(|one, other| one.as_bytes().cmp(other.as_bytes()));
        for name in names {
            let path = path.join(name);
            let whole = self.root.join(&path);
            let found = whole
                .symlink_metadata()
                .context(|| format!("cannot look at {}", whole.display()))?;
            // A socket is of no use elsewhere.
            if found.file_type().is_socket() {
                continue;
            }
            self.file(&path, &found)?;
            if found.is_dir() {
                self.directory(&path)?;
            }
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, found: &Metadata) -> Result<()> {
        let unfit = || {
            let text = format!("`{}` is no name in UTF-8", path.display());
            Error::new(Kind::Invalid, text)
        };
        let name = path.to_str().ok_or_else(unfit)?.to_owned();
        let mut link = String::new();
        let mut has_content = found.is_file();
        if found.file_type().is_symlink() {
            let whole = self.root.join(path);
            let target = std::fs::read_link(&whole)
                .context(|| format!("cannot read {}", whole.display()))?;
            link = target.to_str().ok_or_else(unfit)?.to_owned();
        } else if found.is_file() && found.nlink() > 1 {
            let first =
                self.links.entry((found.dev(), found.ino())).or_insert_with(|| name.clone());
            if *first != name {
                link.clone_from(first);
                has_content = false;
            }
        }
        let nanoseconds = found.mtime().saturating_mul(1_000_000_000);
        let stat = Stat {
            path: name,
            mode: mode::of(found.mode()),
            uid: found.uid(),
            gid: found.gid(),
            size: if found.is_file() { i64::try_from(found.len()).unwrap_or(0) } else { 0 },
            modified: nanoseconds.saturating_add(found.mtime_nsec()),
            link,
            major: major(found.rdev()).into(),
            minor: minor(found.rdev()).into(),
            xattrs: HashMap::new(),
        };
        self.files.push(has_content.then(|| path.to_owned()));
        self.send(Packet { stat: Some(stat), ..Packet::default() })
    }

    fn content(&self, id: u32, path: &Path) -> Result<()> {
        let whole = self.root.join(path);
        let context = || format!("cannot read {}", whole.display());
        let mut file = File::open(&whole).context(context)?;
        let kind = PacketKind::Data as i32;
        let mut buffer = vec![0; PIECE];
        loop {
            let length = file.read(&mut buffer).context(context)?;
            let data = bytes::Bytes::copy_from_slice(&buffer[..length]);
            self.send(Packet { kind, id, data, ..Packet::default() })?;
            // The empty one says that it was all.
            if length == 0 {
                return Ok(());
            }
        }
    }
}
