//! What is in its place before the disk has it.
//!
//! Whoever makes an image is told of it as soon as it can be used; a process in the background brings it
//! to the disk. Until that is done, each of its parts has a mark, whose name says all:
//!
//! ```text
//! ROOT/unflushed/BOOT.RANDOM.PLACE     an empty file; the slashes of PLACE are written as `%`
//! ```
//!
//! A mark is made before its part is in its place, and file systems with a journal keep to that order.
//! So after a crash, what is in place and not whole has a mark of another boot. Whoever opens the store then
//! looks at these [parts](Store::doubtful) before anybody uses them. Only what was written into files can
//! be missing: names, owners and modes are in the journal.

use std::convert::Infallible;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::draft::{Finished, random_name};
use super::{Store, file};
use crate::error::{Context, Result};
use crate::spec::digest::{DiffId, Digest, ImageId};
use crate::sys::clone::{exit_now, fork};
use crate::sys::process;

const DIRECTORY: &str = "unflushed";

/// Something of which only a part may have reached the disk.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// A blob.
    Blob(Digest),
    /// A layer.
    Layer(DiffId),
    /// The record of an image.
    Image(ImageId),
}

/// What was being written when the machine was stopped. Others wait until this is dropped.
#[derive(Debug)]
pub struct Doubtful<'a> {
    store: &'a Store,
    marks: Vec<String>,
    _lock: File,
}

impl Doubtful<'_> {
    /// Returns the parts in question: blobs, then layers, then images.
    pub fn parts(&self) -> Vec<Part> {
        let mut parts: Vec<Part> = self.marks.iter().filter_map(|name| part_of(name)).collect();
        parts.sort_unstable();
        parts.dedup();
        parts
    }

    /// Declares that all of it is whole, or gone.
    pub fn settle(self) -> Result<()> {
        self.store.flush()?;
        self.store.remove_marks(&self.marks)
    }
}

impl Store {
    fn marks_dir(&self) -> PathBuf {
        self.root.join(DIRECTORY)
    }

    /// Moves drafts to their places, for [`flush_later`](Self::flush_later) to make them durable.
    ///
    /// A layer or blob that somebody else published meanwhile is the same one; ours is dropped.
    pub fn publish_soon(&self, finished: Vec<Finished>) -> Result<()> {
        self.mark(finished.iter().filter_map(Finished::place))?;
        Self::move_in(&finished).map(drop)
    }

    /// Marks what is about to be put into these places.
    pub(super) fn mark<'a>(&self, places: impl IntoIterator<Item = &'a Path>) -> Result<()> {
        let dir = self.marks_dir();
        let mut begin = String::new();
        for place in places {
            if begin.is_empty() {
                let boot = process::boot_id().context(|| "cannot tell which boot this is")?;
                begin = format!("{boot}.{}.", random_name()?);
            }
            let place = place.strip_prefix(&self.root).unwrap_or(place);
            let mark = dir.join(begin.clone() + &place.to_string_lossy().replace('/', "%"));
            let context = || format!("cannot make {}", mark.display());
            while let Err(error) = File::create_new(&mark) {
                if error.kind() != ErrorKind::NotFound {
                    return Err(error).context(context);
                }
                // Who removes the last mark takes the directory along.
                file::create_dirs(&dir, 0o700)?;
            }
        }
        Ok(())
    }

    /// Has a process bring to the disk what is marked, and does not wait for it.
    ///
    /// A process with several threads cannot make one: then it is done here. What fails, or is killed, leaves
    /// the marks to whoever does this next.
    pub fn flush_later(&self) -> Result<()> {
        if !self.marks_dir().exists() {
            return Ok(());
        }
        match fork(|| self.flush_alone()) {
            Ok(_) => Ok(()),
            Err(_) => self.flush_marked(),
        }
    }

    fn flush_alone(&self) -> Infallible {
        // Nobody is to wait for the end of our output, or for locks of our parent.
        let free = process::close_from(0);
        let _leader = rustix::process::setsid();
        exit_now(match free.is_ok() && self.flush_marked().is_ok() {
            true => 0,
            false => 1,
        })
    }

    /// Brings to the disk what is marked.
    fn flush_marked(&self) -> Result<()> {
        let boot = process::boot_id().context(|| "cannot tell which boot this is")?;
        let mut marks = self.marks()?;
        marks.retain(|name| name.starts_with(&boot));
        self.flush()?;
        self.remove_marks(&marks)
    }

    /// Returns what may not have reached the disk before the machine was stopped; `None` if that is nothing.
    pub fn doubtful(&self) -> Result<Option<Doubtful<'_>>> {
        let dir = self.marks_dir();
        let context = || format!("cannot look at {}", dir.display());
        let lock = match File::open(&dir) {
            Ok(lock) => lock,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).context(context),
        };
        if self.marks_of_others()?.is_empty() {
            return Ok(None);
        }
        rustix::io::retry_on_intr(|| flock(&lock, FlockOperation::LockExclusive))
            .context(context)?;
        // Who had the lock before may have done all there was to do.
        let marks = self.marks_of_others()?;
        let is_any = !marks.is_empty();
        Ok(is_any.then_some(Doubtful { store: self, marks, _lock: lock }))
    }

    fn marks_of_others(&self) -> Result<Vec<String>> {
        let boot = process::boot_id().context(|| "cannot tell which boot this is")?;
        let mut marks = self.marks()?;
        marks.retain(|name| !name.starts_with(&boot));
        Ok(marks)
    }

    fn marks(&self) -> Result<Vec<String>> {
        let dir = self.marks_dir();
        let context = || format!("cannot list {}", dir.display());
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).context(context),
        };
        let name = |entry: std::io::Result<fs::DirEntry>| {
            entry.map(|entry| entry.file_name().to_string_lossy().into_owned()).context(context)
        };
        entries.map(name).collect()
    }

    fn remove_marks(&self, marks: &[String]) -> Result<()> {
        let dir = self.marks_dir();
        marks.iter().try_for_each(|name| file::remove_file(&dir.join(name)))?;
        // Others may have made marks meanwhile.
        drop(fs::remove_dir(&dir));
        Ok(())
    }
}

/// Returns what a mark stands for; `None` for what no version of this made.
fn part_of(mark: &str) -> Option<Part> {
    let (_, place) = mark.split_once('.')?.1.split_once('.')?;
    let (kind, name) = place.rsplit_once('%')?;
    match kind {
        "blobs%sha256" => Digest::from_hex(name).ok().map(Part::Blob),
        "layers" => Digest::from_hex(name).ok().map(|digest| Part::Layer(DiffId(digest))),
        "images" => {
            let digest = Digest::from_hex(name.strip_suffix(".json")?).ok()?;
            Some(Part::Image(ImageId(digest)))
        }
        _ => None,
    }
}
