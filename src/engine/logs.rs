//! `logs`: what a container has written, from its log file and the rotated ones before it.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::inotify;

use super::Engine;
use crate::error::{Context, Error, Kind, Result};
use crate::spec::container::LogDriver;
use crate::spec::id::ContainerId;
use crate::spec::time;
use crate::store::container::Status;

/// Which lines are wanted.
#[derive(Clone, Debug, Default)]
pub struct LogOptions {
    /// Whether to go on with what is written later, until the container ends.
    pub follow: bool,
    /// Only the last so many lines.
    pub tail: Option<u64>,
    /// Nothing before this time, in nanoseconds since 1970.
    pub since: Option<i64>,
    /// Nothing after this time, in nanoseconds since 1970.
    pub until: Option<i64>,
}

/// Which of the two outputs a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogStream {
    /// Standard output, or the terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

/// One line, or a part of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLine<'a> {
    /// When it was written, as the file says it (RFC 3339).
    pub time: &'a str,
    /// Where it was written.
    pub stream: LogStream,
    /// Whether the line ends here.
    pub whole: bool,
    /// The text, without a line feed.
    pub text: &'a [u8],
}

impl<'a> LogLine<'a> {
    /// Reads a line of the log file; `None` for one that is damaged.
    fn parse(line: &'a [u8]) -> Option<Self> {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let mut parts = line.splitn(4, |byte| *byte == b' ');
        let time = std::str::from_utf8(parts.next()?).ok()?;
        let stream = match parts.next()? {
            b"stdout" => LogStream::Stdout,
            b"stderr" => LogStream::Stderr,
            _ => return None,
        };
        let whole = parts.next()? == b"F";
        Some(Self { time, stream, whole, text: parts.next()? })
    }
}

impl Engine {
    /// Passes the lines of a container's output to `take`, the oldest first.
    pub fn logs(
        &self,
        name: &str,
        options: &LogOptions,
        take: &mut dyn FnMut(&LogLine<'_>) -> Result<()>,
    ) -> Result<()> {
        let container = self.lookup(name)?;
        if container.config.settings.log.driver == LogDriver::None {
            return Err(Error::new(
                Kind::Unsupported,
                "this container is using the 'none' log driver, cannot read logs: this container is not logging output",
            ));
        }
        let id = container.id();
        let path = self.store.containers().dir(id).join("log");
        let watcher = options.follow.then(|| watch(&path)).transpose()?;
        let mut reader = Reader { options, take, at: path.clone() };
        let mut skip = match options.tail {
            Some(tail) => count(&path)?.saturating_sub(tail),
            None => 0,
        };
        for old in rotated(&path) {
            reader.read(&mut open(&old)?, &mut skip)?;
        }
        let Some(mut current) = File::open(&path).map(Some).or_else(none_if_missing(&path))? else {
            return Ok(());
        };
        let mut current_reader = BufReader::new(&mut current);
        reader.read(&mut current_reader, &mut skip)?;
        match watcher {
            Some(watcher) => self.follow(id, &path, &watcher, &mut reader, current),
            None => Ok(()),
        }
    }

    fn follow(
        &self,
        id: &ContainerId,
        path: &Path,
        watcher: &std::os::fd::OwnedFd,
        reader: &mut Reader<'_>,
        mut current: File,
    ) -> Result<()> {
        let context = || format!("cannot follow {}", path.display());
        loop {
            // First whether it runs, then what it wrote: nothing written before its end is missed.
            let running = match self.repaired(id) {
                Ok(container) => {
                    matches!(container.state.status, Status::Running(_) | Status::Restarting(_))
                }
                Err(error) if error.kind() == Kind::NotFound => false,
                Err(error) => return Err(error),
            };
            reader.read(&mut BufReader::new(&mut current), &mut 0)?;
            if is_replaced(&current, path) {
                current = File::open(path).context(context)?;
                continue;
            }
            if !running {
                return Ok(());
            }
            let mut files = [PollFd::new(watcher, PollFlags::IN)];
            let _interrupted = poll(&mut files, None);
            let mut events = [0; 4096];
            rustix::io::retry_on_intr(|| rustix::io::read(watcher, &mut events[..]))
                .context(context)?;
        }
    }
}

fn watch(path: &Path) -> Result<std::os::fd::OwnedFd> {
    let context = || format!("cannot watch {}", path.display());
    let watcher = inotify::init(inotify::CreateFlags::CLOEXEC).context(context)?;
    let dir = path.parent().unwrap_or(path);
    let events = inotify::WatchFlags::MODIFY
        | inotify::WatchFlags::CREATE
        | inotify::WatchFlags::MOVED_TO
        | inotify::WatchFlags::MOVE_SELF
        | inotify::WatchFlags::DELETE_SELF;
    inotify::add_watch(&watcher, dir, events).context(context)?;
    Ok(watcher)
}

fn none_if_missing<T>(path: &Path) -> impl FnOnce(std::io::Error) -> Result<Option<T>> {
    move |error| match error.kind() {
        std::io::ErrorKind::NotFound => Ok(None),
        _ => Err(error).context(|| format!("cannot read {}", path.display())),
    }
}

/// The files before the current one, the oldest first.
fn rotated(path: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = (1..)
        .map(|number: u32| path.with_extension(number.to_string()))
        .take_while(|path| path.exists())
        .collect();
    files.reverse();
    files
}

fn open(path: &Path) -> Result<BufReader<File>> {
    File::open(path).map(BufReader::new).context(|| format!("cannot read {}", path.display()))
}

/// Tells whether there is another file at the path by now.
fn is_replaced(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(ours), Ok(theirs)) => ours.ino() != theirs.ino(),
        _ => false,
    }
}

/// Counts the lines of all files. A line that came in parts is one.
fn count(path: &Path) -> Result<u64> {
    let mut lines = 0;
    let mut files = rotated(path);
    if path.exists() {
        files.push(path.to_owned());
    }
    for file in files {
        let mut reader = open(&file)?;
        let mut line = Vec::new();
        while read_line(&mut reader, &mut line, &file)? {
            lines += u64::from(LogLine::parse(&line).is_some_and(|line| line.whole));
        }
        // The last line may have no end yet.
        lines += u64::from(LogLine::parse(&line).is_some_and(|line| !line.whole));
    }
    Ok(lines)
}

/// Reads one line into `line`; at the end, leaves the last one there and returns `false`.
fn read_line(reader: &mut impl BufRead, line: &mut Vec<u8>, path: &Path) -> Result<bool> {
    let mut next = Vec::new();
    let length = reader
        .read_until(b'\n', &mut next)
        .context(|| format!("cannot read {}", path.display()))?;
    if length == 0 {
        return Ok(false);
    }
    *line = next;
    Ok(true)
}

struct Reader<'a> {
    options: &'a LogOptions,
    take: &'a mut dyn FnMut(&LogLine<'_>) -> Result<()>,
    at: PathBuf,
}

impl Reader<'_> {
    /// Passes on what is there, without the first `skip` lines. A line that is being written is left.
    fn read<R: Read + Seek>(&mut self, reader: &mut BufReader<R>, skip: &mut u64) -> Result<()> {
        let mut line = Vec::new();
        while read_line(reader, &mut line, &self.at)? {
            if !line.ends_with(b"\n") {
                let back = i64::try_from(line.len()).unwrap_or(0);
                reader
                    .seek(SeekFrom::Current(-back))
                    .context(|| format!("cannot read {}", self.at.display()))?;
                return Ok(());
            }
            let Some(parsed) = LogLine::parse(&line) else { continue };
            if *skip > 0 {
                *skip -= u64::from(parsed.whole);
                continue;
            }
            if self.is_wanted(&parsed) {
                (self.take)(&parsed)?;
            }
        }
        Ok(())
    }

    fn is_wanted(&self, line: &LogLine<'_>) -> bool {
        if self.options.since.is_none() && self.options.until.is_none() {
            return true;
        }
        let Some(time) = time::parse_rfc3339(line.time) else { return true };
        self.options.since.is_none_or(|since| time >= since)
            && self.options.until.is_none_or(|until| time <= until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_lines() {
        let line = LogLine::parse(b"2026-01-01T00:00:00Z stderr P some text\n").unwrap();
        assert_eq!((line.stream, line.whole), (LogStream::Stderr, false));
        assert_eq!(line.text, b"some text");
        assert_eq!(LogLine::parse(b"2026-01-01T00:00:00Z stdout F \n").unwrap().text, b"");
        for damaged in [&b"\0\0\0"[..], b"", b"2026 stdin F x\n", b"2026 stdout\n"] {
            assert_eq!(LogLine::parse(damaged), None);
        }
    }
}
