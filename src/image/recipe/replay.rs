//! The reading side: a tar stream from its recipe and the layer's files.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use zstd::stream::read::Decoder;

use super::{ASIDE, CONTENT, MOVED, RAW, RECIPE, damaged, number, path};
use crate::error::{Context, Result};
use crate::sys::root::Root;

const BUFFER: usize = 128 << 10;

/// When what was at a path was moved, and where to: for each path in order.
type Moved = HashMap<Vec<u8>, Vec<(u64, usize)>>;

/// A tar stream that is made again.
pub(crate) struct Replay {
    records: BufReader<Decoder<'static, BufReader<File>>>,
    diff: Root,
    aside: Option<Root>,
    moved: Moved,
    /// Files that were met so far.
    files: u64,
    /// The file of the last record.
    file: Option<File>,
    left: Left,
}

/// What is left of the present record.
enum Left {
    Raw(u64),
    Content { position: u64, count: u64 },
}

impl Replay {
    /// Opens the recipe beside a layer's directory of files; `None` if the layer has none.
    pub(crate) fn open(diff: &Path) -> Result<Option<Self>> {
        let directory = diff.parent().unwrap_or(diff);
        let recipe = directory.join(RECIPE);
        let context = || format!("cannot open {}", recipe.display());
        let file = match File::open(&recipe) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).context(context),
        };
        let decoder = Decoder::new(file).context(context)?;
        let moved = moved(&directory.join(MOVED))?;
        let root =
            |path: &Path| Root::open(path).context(|| format!("cannot open {}", path.display()));
        let aside = if moved.is_empty() { None } else { Some(root(&directory.join(ASIDE))?) };
        Ok(Some(Self {
            records: BufReader::with_capacity(BUFFER, decoder),
            diff: root(diff)?,
            aside,
            moved,
            files: 0,
            file: None,
            left: Left::Raw(0),
        }))
    }

    /// Begins the next record; `false` at the end.
    fn next(&mut self) -> io::Result<bool> {
        let mut kind = [0];
        if self.records.read(&mut kind)? == 0 {
            return Ok(false);
        }
        let numbered = |from: &mut _| number(from)?.ok_or_else(damaged);
        self.left = match kind[0] {
            RAW => Left::Raw(numbered(&mut self.records)?),
            CONTENT => {
                let path = path(&mut self.records)?;
                if !path.is_empty() {
                    self.file = Some(self.open_file(&path)?);
                    self.files += 1;
                }
                let position = numbered(&mut self.records)?;
                Left::Content { position, count: numbered(&mut self.records)? }
            }
            _ => return Err(damaged()),
        };
        Ok(true)
    }

    fn open_file(&self, path: &[u8]) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let opened = match (self.place_aside(path), &self.aside) {
            (Some(place), Some(aside)) => aside.file(&place, flags, Mode::empty()),
            _ => self.diff.file(path, flags, Mode::empty()),
        };
        opened.map(File::from).map_err(|error| {
            io::Error::new(error.kind(), format!("`{}` of the layer: {error}", path.escape_ascii()))
        })
    }

    /// Returns where a file went whose path was cleared after it was written.
    fn place_aside(&self, path: &[u8]) -> Option<Vec<u8>> {
        if self.moved.is_empty() {
            return None;
        }
        let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        let ends = slashes.map(|(end, _)| end).chain([path.len()]);
        let first = ends
            .filter_map(|end| {
                let moves = self.moved.get(&path[..end])?;
                // The first that came after it: this very file is the next one.
                let at = moves.partition_point(|(after, _)| *after <= self.files);
                moves.get(at).map(|(_, number)| (*number, end))
            })
            .min()?;
        let mut place = first.0.to_string().into_bytes();
        place.extend_from_slice(&path[first.1..]);
        Some(place)
    }
}

impl Read for Replay {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let most =
                |left: u64| usize::try_from(left).map_or(buffer.len(), |l| l.min(buffer.len()));
            match &mut self.left {
                Left::Raw(0) | Left::Content { count: 0, .. } => {
                    if !self.next()? {
                        return Ok(0);
                    }
                }
                Left::Raw(left) => {
                    let most = most(*left);
                    let length = self.records.read(&mut buffer[..most])?;
                    if length == 0 {
                        return Err(damaged());
                    }
                    *left -= length as u64;
                    return Ok(length);
                }
                Left::Content { position, count } => {
                    let most = most(*count);
                    let file = self.file.as_ref().ok_or_else(damaged)?;
                    let length = file.read_at(&mut buffer[..most], *position)?;
                    if length == 0 {
                        return Err(io::Error::new(
                            io::ErrorKind::InvalidData,
                            "a file of the layer is shorter than it was",
                        ));
                    }
                    *position += length as u64;
                    *count -= length as u64;
                    return Ok(length);
                }
            }
        }
    }
}

/// Reads the list of what was moved.
fn moved(file: &Path) -> Result<Moved> {
    let context = || format!("cannot read {}", file.display());
    let data = match fs::read(file) {
        Ok(data) => data,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(HashMap::new()),
        Err(error) => return Err(error).context(context),
    };
    let mut moved = Moved::new();
    let mut rest = data.as_slice();
    let mut count = 0;
    while let Some(after) = number(&mut rest).context(context)? {
        let path = path(&mut rest).context(context)?;
        moved.entry(path).or_default().push((after, count));
        count += 1;
    }
    Ok(moved)
}
