//! `logs`: what containers have written, in the order in which they wrote it.
//!
//! Each container is a [`Source`] of lines. Those of several are merged by their times. Following goes
//! on when there is something new: the kernel tells of files that change and of monitors that end.

mod cursor;
mod entry;
mod journal;
mod watch;

use std::os::fd::BorrowedFd;

use self::cursor::Cursor;
pub use self::entry::{LogLine, LogStream};
use self::journal::Journal;
use self::watch::Watch;
use super::{Engine, now};
use crate::error::{Error, Kind, Result};
use crate::spec::log::LogDriver;
use crate::spec::time;
use crate::store::container::Container;
use crate::store::lock::Lock;

/// Which lines are wanted.
#[derive(Clone, Debug, Default)]
pub struct LogOptions {
    /// Whether to go on with what is written later, until the containers end.
    pub follow: bool,
    /// Only the last so many lines of each container.
    pub tail: Option<u64>,
    /// Nothing before this time, in nanoseconds since 1970.
    pub since: Option<i64>,
    /// Nothing after this time, in nanoseconds since 1970.
    pub until: Option<i64>,
}

/// Takes the lines.
pub trait LogReader {
    /// Takes a line of one of the containers, given by its place in the list.
    fn line(&mut self, container: usize, line: &LogLine<'_>) -> Result<()>;

    /// Is told that for now there are no more.
    fn pause(&mut self) -> Result<()>;
}

/// The lines of one container, one at a time.
trait Source {
    /// Goes to the next line; `false` if there is none yet.
    fn advance(&mut self) -> Result<bool>;

    /// The present line.
    fn line(&self) -> LogLine<'_>;

    /// What becomes readable when there is more, if it is no file that changes.
    fn news(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Is told that the container writes no more: what it wrote is to be shown to its end.
    fn nothing_follows(&mut self) -> Result<()> {
        Ok(())
    }
}

/// A source, and whether it has a line to show.
struct Feed {
    source: Box<dyn Source>,
    has_line: bool,
}

impl Engine {
    /// Passes the lines of containers' output to `reader`, the oldest first.
    pub fn logs(
        &self,
        containers: &[Container],
        options: &LogOptions,
        reader: &mut dyn LogReader,
    ) -> Result<()> {
        // From here on no file is removed before it was read.
        let _kept: Vec<Lock> = match options.follow {
            true => self.followed(containers)?,
            false => Vec::new(),
        };
        let mut watch = match options.follow {
            true => Some(Watch::new(&self.store.containers(), containers)?),
            false => None,
        };
        let mut feeds = Vec::with_capacity(containers.len());
        for container in containers {
            feeds.push(Feed { source: self.source(container, options)?, has_line: false });
        }
        let bounds = Bounds::new(options);
        loop {
            // First whether they run, then what they wrote: nothing written before the end is missed.
            let running = match &mut watch {
                Some(watch) => watch.look(self, containers)?,
                None => false,
            };
            if watch.is_some() && !running {
                feeds.iter_mut().try_for_each(|feed| feed.source.nothing_follows())?;
            }
            drain(&mut feeds, &bounds, reader)?;
            let Some(watch) = watch.as_mut().filter(|_| running) else { return Ok(()) };
            reader.pause()?;
            let left = options.until.map(|until| until - now());
            if left.is_some_and(|left| left <= 0) {
                return Ok(());
            }
            watch.wait(left, feeds.iter().filter_map(|feed| feed.source.news()))?;
        }
    }

    /// Returns what could not be written to the log of a container, and why.
    pub fn lost_of_log(&self, container: &Container) -> Option<String> {
        let note = self.store.containers().run_dir(container.id()).join("log-lost");
        std::fs::read_to_string(note).ok()
    }

    fn followed(&self, containers: &[Container]) -> Result<Vec<Lock>> {
        let files = containers.iter().filter(|it| it.config.settings.log.driver.is_file());
        files.map(|it| self.store.containers().log_files(&it.config).follow()).collect()
    }

    fn source(&self, container: &Container, options: &LogOptions) -> Result<Box<dyn Source>> {
        let format = match container.config.settings.log.driver {
            LogDriver::K8sFile | LogDriver::Local => entry::Format::Kubernetes,
            LogDriver::JsonFile => entry::Format::Json,
            LogDriver::Journald => return Ok(Box::new(Journal::new(container.id(), options)?)),
            driver => {
                return Err(Error::new(
                    Kind::Unsupported,
                    format!(
                        "this container is using the '{}' log driver, cannot read logs: this container is not logging output",
                        driver.as_str()
                    ),
                ));
            }
        };
        let files = self.store.containers().log_files(&container.config);
        Ok(Box::new(Cursor::new(files, format, options)?))
    }
}

/// Passes on all lines that are there.
fn drain(feeds: &mut [Feed], bounds: &Bounds, reader: &mut dyn LogReader) -> Result<()> {
    let mut looked = None;
    let mut begun = None;
    loop {
        let next = match begun.take() {
            None => next(feeds, &mut looked)?,
            begun => begun,
        };
        let Some(index) = next else { return Ok(()) };
        let feed = &mut feeds[index];
        let line = feed.source.line();
        let whole = line.whole;
        if bounds.contain(line.time) {
            reader.line(index, &line)?;
        }
        feed.has_line = feed.source.advance()?;
        // A line is not torn apart by those of others.
        begun = (!whole && feed.has_line).then_some(index);
    }
}

/// Finds the feed whose line is to be shown next.
///
/// While they are read, they are written to: an older line may come from a feed that had none when it was
/// last looked at. So a line that may be younger than that look, at the time in `looked`, has to wait for
/// another one.
fn next(feeds: &mut [Feed], looked: &mut Option<Bound>) -> Result<Option<usize>> {
    loop {
        let found = earliest(feeds);
        if let Some(index) = found {
            let all_have_one = feeds.iter().all(|feed| feed.has_line);
            let time = feeds[index].source.line().time;
            if all_have_one || looked.as_ref().is_some_and(|at| at.compare(time).is_le()) {
                return Ok(found);
            }
        }
        *looked = Some(Bound::new(now()));
        let mut has_more = false;
        for feed in feeds.iter_mut().filter(|feed| !feed.has_line) {
            feed.has_line = feed.source.advance()?;
            has_more |= feed.has_line;
        }
        // Whatever the clock says, nothing older has come.
        if !has_more {
            return Ok(found);
        }
    }
}

/// Finds the feed with the earliest line.
fn earliest(feeds: &[Feed]) -> Option<usize> {
    if let [feed] = feeds {
        return feed.has_line.then_some(0);
    }
    let with_line = feeds.iter().enumerate().filter(|(_, feed)| feed.has_line);
    // The first of several with the same time, as they were named.
    with_line.min_by_key(|(_, feed)| feed.source.line().time).map(|(index, _)| index)
}

/// The times between which lines are wanted.
struct Bounds {
    since: Option<Bound>,
    until: Option<Bound>,
}

struct Bound {
    time: i64,
    /// The same as our log files write it.
    text: String,
}

impl Bounds {
    fn new(options: &LogOptions) -> Self {
        Self { since: options.since.map(Bound::new), until: options.until.map(Bound::new) }
    }

    fn contain(&self, time: &str) -> bool {
        self.since.as_ref().is_none_or(|since| since.compare(time).is_ge())
            && self.until.as_ref().is_none_or(|until| until.compare(time).is_le())
    }
}

impl Bound {
    fn new(time: i64) -> Self {
        Self { time, text: time::rfc3339(time) }
    }

    /// Tells how a time of a line lies to this one.
    fn compare(&self, time: &str) -> std::cmp::Ordering {
        // As we write times, they are in order as texts.
        if time.len() == self.text.len() && time.ends_with('Z') {
            return time.cmp(&self.text);
        }
        time::parse_rfc3339(time).unwrap_or(self.time).cmp(&self.time)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;

    struct Lines(Vec<(&'static str, &'static str, bool)>, usize);

    impl Source for Lines {
        fn advance(&mut self) -> Result<bool> {
            self.1 += 1;
            Ok(self.1 <= self.0.len())
        }

        fn line(&self) -> LogLine<'_> {
            let (time, text, whole) = self.0[self.1 - 1];
            LogLine { time, stream: LogStream::Stdout, whole, text: text.as_bytes() }
        }
    }

    struct Taken(Vec<(usize, String)>);

    impl LogReader for Taken {
        fn line(&mut self, container: usize, line: &LogLine<'_>) -> Result<()> {
            self.0.push((container, String::from_utf8_lossy(line.text).into_owned()));
            Ok(())
        }

        fn pause(&mut self) -> Result<()> {
            Ok(())
        }
    }

    #[test]
    fn merges_by_time_and_tears_no_line_apart() {
        let feed = |lines| Feed { source: Box::new(Lines(lines, 0)), has_line: false };
        let mut feeds = [
            feed(vec![("1", "a", true), ("3", "b", false), ("6", "c", true)]),
            feed(vec![("2", "d", true), ("4", "e", true)]),
        ];
        let mut taken = Taken(Vec::new());
        let bounds = Bounds { since: None, until: None };
        drain(&mut feeds, &bounds, &mut taken).unwrap();
        let want = [(0, "a"), (1, "d"), (0, "b"), (0, "c"), (1, "e")];
        assert_eq!(taken.0, want.map(|(index, text)| (index, text.to_owned())));
    }

    /// Lines that are written while they are read: each is there from a number of looks at any feed on,
    /// which is its time, too.
    struct Growing {
        looks: Rc<Cell<i64>>,
        lines: Vec<i64>,
        shown: usize,
        time: String,
    }

    impl Source for Growing {
        fn advance(&mut self) -> Result<bool> {
            self.looks.set(self.looks.get() + 1);
            let Some(at) = self.lines.get(self.shown).filter(|at| **at <= self.looks.get()) else {
                return Ok(false);
            };
            self.shown += 1;
            // Younger than any look that the clock knows of.
            self.time = format!("2999-01-01T00:00:00.000000{at:03}Z");
            Ok(true)
        }

        fn line(&self) -> LogLine<'_> {
            let text = &self.time.as_bytes()[self.time.len() - 4..];
            LogLine { time: &self.time, stream: LogStream::Stdout, whole: true, text }
        }
    }

    #[test]
    fn lines_that_come_as_others_are_read_are_in_order() {
        for step in 1..60 {
            let looks = Rc::new(Cell::new(0));
            let mut all: [Vec<i64>; 3] = Default::default();
            // Three feeds take turns that differ from step to step.
            (1..60).for_each(|at| all[(at * step / 7 % 3) as usize].push(at));
            let mut feeds = all.map(|lines| {
                let looks = Rc::clone(&looks);
                let source = Growing { looks, lines, shown: 0, time: String::new() };
                Feed { source: Box::new(source), has_line: false }
            });
            let mut taken = Taken(Vec::new());
            while taken.0.len() < 59 {
                drain(&mut feeds, &Bounds { since: None, until: None }, &mut taken).unwrap();
            }
            let texts: Vec<&str> = taken.0.iter().map(|(_, text)| text.as_str()).collect();
            assert!(texts.is_sorted(), "{step}: {texts:?}");
        }
    }

    #[test]
    fn keeps_to_the_bounds() {
        let options = LogOptions {
            since: Some(1_000_000_000),
            until: Some(2_000_000_000),
            ..LogOptions::default()
        };
        let bounds = Bounds::new(&options);
        for (time, want) in [
            ("1970-01-01T00:00:00.999999999Z", false),
            ("1970-01-01T00:00:01.000000000Z", true),
            ("1970-01-01T00:00:02.000000000Z", true),
            ("1970-01-01T00:00:02.000000001Z", false),
            ("1970-01-01T01:00:01+01:00", true),
            ("1970-01-01T00:00:03Z", false),
        ] {
            assert_eq!(bounds.contain(time), want, "{time}");
        }
    }
}
