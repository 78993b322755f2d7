//! The writing side: listens to a tar stream while it is unpacked.

use std::fs::{self, File};
use std::io::{self, BufRead, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, openat, renameat};
use zstd::stream::write::Encoder;

use super::{ASIDE, CONTENT, MOVED, Move, RAW, RECIPE, put_number, put_path};
use crate::error::{Context, Result};

/// Bytes that are collected before they become a record.
const ENOUGH: usize = 64 << 10;
/// It is mostly zeros; what costs time gains nothing.
const LEVEL: i32 = 1;

/// A tar stream on its way to who unpacks it.
#[derive(Debug)]
pub(crate) struct Tap<R> {
    input: R,
    recorder: Option<Recorder>,
}

/// Writes a recipe.
pub(crate) struct Recorder {
    directory: PathBuf,
    out: Encoder<'static, File>,
    /// What is not the content of a file, before it is a record.
    raw: Vec<u8>,
    /// The content that passes now.
    content: Option<Content>,
    /// What went wrong first.
    failure: Option<io::Error>,
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder").field("directory", &self.directory).finish_non_exhaustive()
    }
}

struct Content {
    path: Vec<u8>,
    offset: u64,
    count: u64,
}

/// Where replaced files go, and what went there.
#[derive(Debug)]
pub(crate) struct Aside {
    directory: PathBuf,
    opened: Option<OwnedFd>,
    files: u64,
    moved: Vec<Move>,
}

impl Recorder {
    /// Begins the recipe of a layer beside its directory of files.
    pub(crate) fn begin(diff: &Path) -> Result<Self> {
        let directory = diff.parent().unwrap_or(diff).to_owned();
        let path = directory.join(RECIPE);
        let out = File::create_new(&path)
            .and_then(|file| Encoder::new(file, LEVEL))
            .context(|| format!("cannot make {}", path.display()))?;
        Ok(Self { directory, out, raw: Vec::with_capacity(ENOUGH), content: None, failure: None })
    }

    fn pass(&mut self, bytes: &[u8]) {
        if let Some(content) = &mut self.content {
            content.count += bytes.len() as u64;
            return;
        }
        self.raw.extend_from_slice(bytes);
        if self.raw.len() >= ENOUGH {
            self.flush();
        }
    }

    /// Writes what was collected.
    fn flush(&mut self) {
        if self.raw.is_empty() {
            return;
        }
        let mut head = vec![RAW];
        put_number(&mut head, self.raw.len() as u64);
        let written = self.out.write_all(&head).and_then(|()| self.out.write_all(&self.raw));
        self.note(written);
        self.raw.clear();
    }

    fn end_content(&mut self) -> Option<Content> {
        let content = self.content.take()?;
        if content.count > 0 {
            let mut record = vec![CONTENT];
            put_path(&mut record, &content.path);
            put_number(&mut record, content.offset);
            put_number(&mut record, content.count);
            let written = self.out.write_all(&record);
            self.note(written);
        }
        Some(content)
    }

    fn note(&mut self, written: io::Result<()>) {
        if let (Err(error), None) = (written, &self.failure) {
            self.failure = Some(error);
        }
    }

    /// Writes what is left.
    fn finish(mut self, aside: Option<Aside>) -> Result<()> {
        self.end_content();
        self.flush();
        let path = self.directory.join(RECIPE);
        let finished = match self.failure {
            Some(error) => Err(error),
            None => self.out.finish(),
        };
        finished.context(|| format!("cannot write {}", path.display()))?;
        let Some(aside) = aside.filter(|aside| !aside.moved.is_empty()) else { return Ok(()) };
        let mut list = Vec::new();
        for moved in &aside.moved {
            put_number(&mut list, moved.after);
            put_path(&mut list, &moved.path);
        }
        let path = self.directory.join(MOVED);
        fs::write(&path, list).context(|| format!("cannot write {}", path.display()))
    }
}

impl<R: BufRead> Tap<R> {
    /// Lets a stream pass, and notes it if there is a recorder.
    pub(crate) fn new(input: R, recorder: Option<Recorder>) -> Self {
        Self { input, recorder }
    }

    /// Returns the stream itself.
    pub(crate) fn input(&mut self) -> &mut R {
        &mut self.input
    }

    /// Returns where replaced files have to go, if they are needed again.
    pub(crate) fn aside(&self) -> Option<Aside> {
        self.recorder.as_ref().map(|recorder| Aside {
            directory: recorder.directory.join(ASIDE),
            opened: None,
            files: 0,
            moved: Vec::new(),
        })
    }

    /// Says that what passes next is the content of a file, from its beginning.
    pub(crate) fn begin_content(&mut self, path: &[u8]) {
        if let Some(recorder) = &mut self.recorder {
            recorder.flush();
            recorder.content = Some(Content { path: path.to_vec(), offset: 0, count: 0 });
        }
    }

    /// Says that the content goes on elsewhere in the same file.
    pub(crate) fn go_on_at(&mut self, offset: u64) {
        if let Some(recorder) = &mut self.recorder
            && let Some(content) = recorder.end_content()
        {
            let path = if content.count == 0 { content.path } else { Vec::new() };
            recorder.content = Some(Content { path, offset, count: 0 });
        }
    }

    /// Says that the content has passed.
    pub(crate) fn end_content(&mut self) {
        if let Some(recorder) = &mut self.recorder {
            recorder.end_content();
        }
    }

    /// Lets the rest of the stream pass, and ends the recipe.
    pub(crate) fn finish(mut self, aside: Option<Aside>) -> Result<()> {
        io::copy(&mut self, &mut io::sink()).context(|| "cannot read the layer")?;
        match self.recorder {
            Some(recorder) => recorder.finish(aside),
            None => Ok(()),
        }
    }
}

impl<R: BufRead> BufRead for Tap<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.input.fill_buf()
    }

    fn consume(&mut self, length: usize) {
        if let Some(recorder) = &mut self.recorder
            // What is in the buffer is given out again, without reading.
            && let Ok(buffer) = self.input.fill_buf()
        {
            recorder.pass(&buffer[..length]);
        }
        self.input.consume(length);
    }
}

impl<R: BufRead> Read for Tap<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.read(buffer)?;
        self.consume(length);
        Ok(length)
    }
}

impl Aside {
    /// Notes that the content of another file is about to pass.
    pub(crate) fn count_file(&mut self) {
        self.files += 1;
    }

    /// Moves aside what has this name in a directory; `path` is the whole path of it.
    pub(crate) fn take(&mut self, from: BorrowedFd<'_>, name: &[u8], path: Vec<u8>) -> Result<()> {
        let context = || "cannot move aside what is there";
        let directory = match &self.opened {
            Some(directory) => directory,
            None => {
                fs::create_dir(&self.directory).context(context)?;
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                let opened = openat(CWD, &self.directory, flags, Mode::empty()).context(context)?;
                self.opened.insert(opened)
            }
        };
        let number = self.moved.len().to_string();
        renameat(from, name, directory.as_fd(), number.as_str()).context(context)?;
        self.moved.push(Move { after: self.files, path });
        Ok(())
    }
}
