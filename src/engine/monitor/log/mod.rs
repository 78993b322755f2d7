//! Where a container's output is kept: cut into lines, with the time, by one of the log drivers.
//!
//! Lines are written as soon as they are whole, many at once where many come at once. The beginning of
//! a line whose end has not come waits for a moment, in case it is about to; then it is written as a
//! part, and so is what is longer than [`PIECE`].

mod encode;
mod file;
mod journal;
mod losses;

use std::time::{Duration, Instant};

use self::encode::{Format, Head};
use self::file::LineFile;
use self::journal::Journal;
use self::losses::Losses;
use crate::engine::{Engine, log_tag, now};
use crate::error::Result;
use crate::spec::log::LogDriver;
use crate::store::container::ContainerConfig;
use crate::sys::find::find;

/// The longest piece of a line, as with Docker and Kubernetes.
const PIECE: usize = 16 << 10;

/// How long the beginning of a line waits for its end.
const PATIENCE: Duration = Duration::from_millis(100);

/// Bytes of lines that are collected before they are written: the more at once, the less the file
/// system has to do.
const ENOUGH: usize = 256 << 10;

/// Which of the two outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    /// Standard output, or the terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    /// What it is called in logs.
    fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// Where a container's output is kept.
#[derive(Debug)]
pub(super) struct Log {
    sink: Option<Sink>,
    /// Beginnings of lines, of either stream.
    rests: [Rest; 2],
}

/// What takes the lines.
#[derive(Debug)]
enum Sink {
    /// A file, by way of a buffer.
    File { file: LineFile, format: Format, buffer: Vec<u8> },
    /// The journal.
    Journal(Journal),
}

/// The beginning of a line.
#[derive(Debug, Default)]
struct Rest {
    bytes: Vec<u8>,
    /// When it came.
    since: Option<Instant>,
}

impl Log {
    /// Opens the log of a container of this name for more.
    pub(super) fn open(engine: &Engine, config: &ContainerConfig, name: &str) -> Result<Self> {
        let settings = &config.settings.log;
        let containers = engine.store.containers();
        let losses = || Losses::new(containers.run_dir(&config.id).join("log-lost"));
        let format = match settings.driver {
            LogDriver::K8sFile | LogDriver::Local => Some(Format::Kubernetes),
            LogDriver::JsonFile => Some(Format::json(&log_tag::attributes(config, name)?)),
            LogDriver::Journald | LogDriver::None => None,
            LogDriver::Passthrough | LogDriver::PassthroughTty => None,
        };
        let sink = match format {
            Some(format) => {
                let file = LineFile::open(containers.log_files(config), settings, losses()?)?;
                Some(Sink::File { file, format, buffer: Vec::new() })
            }
            None if settings.driver == LogDriver::Journald => {
                Some(Sink::Journal(Journal::open(config, name, losses()?)?))
            }
            None => None,
        };
        Ok(Self { sink, rests: Default::default() })
    }

    /// Tells whether output is kept at all.
    pub(super) fn keeps(&self) -> bool {
        self.sink.is_some()
    }

    /// Takes what was read at once from one of the outputs, and keeps whole lines back until
    /// [`Log::flush`], or until there are many.
    ///
    /// What cannot be written is lost: a full disk must not stop the container. The log says so.
    pub(super) fn write(&mut self, stream: Stream, mut data: &[u8]) {
        let Some(sink) = &mut self.sink else { return };
        let head = Head::new(now(), stream);
        let rest = &mut self.rests[stream as usize];
        if !rest.bytes.is_empty() {
            let end = find(b'\n', data);
            rest.bytes.extend_from_slice(&data[..end.unwrap_or(data.len())]);
            let left = sink.pieces(&head, &rest.bytes);
            rest.bytes.drain(..left);
            let Some(end) = end else { return };
            sink.line(&head, &rest.bytes, true);
            rest.bytes.clear();
            rest.since = None;
            data = &data[end + 1..];
        }
        while let Some(end) = find(b'\n', data) {
            let line = &data[..end];
            let cut = sink.pieces(&head, line);
            sink.line(&head, &line[cut..], true);
            data = &data[end + 1..];
        }
        if !data.is_empty() {
            let cut = sink.pieces(&head, data);
            rest.bytes.extend_from_slice(&data[cut..]);
            rest.since = Some(Instant::now());
        }
    }

    /// Writes whole lines that were kept back.
    pub(super) fn flush(&mut self) {
        if let Some(sink) = &mut self.sink {
            sink.flush();
        }
    }

    /// How long the loop may wait before [`Log::write_begun`] has something to do.
    pub(super) fn patience(&self) -> Option<Duration> {
        let oldest = self.rests.iter().filter_map(|rest| rest.since).min()?;
        Some(PATIENCE.saturating_sub(oldest.elapsed()))
    }

    /// Writes the beginnings of lines that have waited long enough.
    pub(super) fn write_begun(&mut self) {
        self.write_rests(PATIENCE);
    }

    /// Writes what is left when nothing more will come.
    pub(super) fn end(&mut self) {
        self.write_rests(Duration::ZERO);
        match &mut self.sink {
            Some(Sink::File { file, .. }) => file.losses().end(),
            Some(Sink::Journal(journal)) => journal.losses().end(),
            None => {}
        }
    }

    fn write_rests(&mut self, patience: Duration) {
        let Some(sink) = &mut self.sink else { return };
        for (stream, rest) in [Stream::Stdout, Stream::Stderr].into_iter().zip(&mut self.rests) {
            if rest.since.is_some_and(|since| since.elapsed() >= patience) {
                sink.line(&Head::new(now(), stream), &rest.bytes, false);
                rest.bytes.clear();
                rest.since = None;
                sink.flush();
            }
        }
    }
}

impl Sink {
    /// Writes pieces of a long line until what is left is no longer than one; returns where that begins.
    fn pieces(&mut self, head: &Head, line: &[u8]) -> usize {
        let mut start = 0;
        while line.len() - start > PIECE {
            let end = start + cut(&line[start..]);
            self.line(head, &line[start..end], false);
            start = end;
        }
        start
    }

    fn line(&mut self, head: &Head, text: &[u8], whole: bool) {
        match self {
            Self::File { format, buffer, .. } => {
                format.append(buffer, head, text, whole);
                if buffer.len() >= ENOUGH {
                    self.flush();
                }
            }
            Self::Journal(journal) => journal.write(head, text, whole),
        }
    }

    fn flush(&mut self) {
        if let Self::File { file, buffer, .. } = self
            && !buffer.is_empty()
        {
            file.append(buffer);
            buffer.clear();
        }
    }
}

/// Where a piece of a line ends: not within a character.
fn cut(line: &[u8]) -> usize {
    let begins = |at: &usize| line[*at] & 0xc0 != 0x80;
    // Bytes that are no text have no characters to be kept together.
    (PIECE - 3..=PIECE).rev().find(begins).unwrap_or(PIECE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_between_characters() {
        let ascii = vec![b'x'; PIECE + 10];
        assert_eq!(cut(&ascii), PIECE);
        let mut text = vec![b'x'; PIECE - 1];
        text.extend("é and more".as_bytes());
        assert_eq!(cut(&text), PIECE - 1);
        assert_eq!(cut(&vec![0x80; PIECE + 1]), PIECE);
    }
}
