//! `events`: what has happened, and what happens from now on.

use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;

use super::{Engine, now};
use crate::error::{Context, Error, Kind, Result};
use crate::spec::filter::{self, Filter};
use crate::spec::id::ContainerId;
use crate::store::Store;
use crate::store::events::{Action, Event, Object};

/// Which events are wanted.
#[derive(Clone, Debug, Default)]
pub struct EventOptions {
    /// What must be so.
    pub filters: Vec<Filter>,
    /// Nothing before this time, in nanoseconds since 1970. Without it and without an end, only what
    /// happens from now on is followed.
    pub since: Option<i64>,
    /// Nothing after this time, in nanoseconds since 1970; waits until then.
    pub until: Option<i64>,
    /// Whether to go on with what happens later.
    pub follow: bool,
}

/// What events can be filtered by.
const KEYS: [&str; 12] = [
    "config",
    "container",
    "event",
    "image",
    "label",
    "network",
    "pod",
    "scope",
    "secret",
    "status",
    "type",
    "volume",
];

/// Writes down what has happened. That this fails is no reason for anything else to fail: a full disk,
/// say, must not keep containers from ending.
pub(super) fn record(store: &Store, events: &[Event]) {
    drop(store.events().record(events));
}

impl Engine {
    /// Writes down what has happened, for `events`.
    pub(crate) fn record_event(&self, event: Event) {
        record(&self.store, &[event]);
    }

    /// Writes down several things that have happened, at once.
    pub(super) fn record_events(&self, events: &[Event]) {
        if !events.is_empty() {
            record(&self.store, events);
        }
    }

    /// Finds out how a container ended that is not on record any more.
    pub(super) fn exit_code_in_events(&self, id: &ContainerId) -> Result<Option<i32>> {
        let mut reader = Reader { store: &self.store, files: Vec::new() };
        let mut code = None;
        reader.read(&mut |event| {
            if event.action == Action::Died && event.id == id.as_str() {
                code = event.details.get("exitCode").and_then(|code| code.parse().ok());
            }
            Ok(())
        })?;
        Ok(code)
    }

    /// Passes events to `take`, the oldest first; `rest` is called before it waits for more.
    pub fn events(
        &self,
        options: &EventOptions,
        take: &mut dyn FnMut(&Event) -> Result<()>,
        rest: &mut dyn FnMut() -> Result<()>,
    ) -> Result<()> {
        if let Some(filter) = options.filters.iter().find(|it| !KEYS.contains(&&*it.key)) {
            let message =
                format!("failed to parse event filters: {} is an invalid filter", filter.key);
            return Err(
                Error::new(Kind::Invalid, message).hint(format!("known are {}", KEYS.join(", ")))
            );
        }
        // Before anything is read: what happens meanwhile wakes us.
        let watcher = options.follow.then(|| watch(self.store.root())).transpose()?;
        let from_start = !options.follow || options.since.is_some() || options.until.is_some();
        let mut reader = Reader { store: &self.store, files: Vec::new() };
        reader.open_new()?;
        if !from_start {
            reader.skip_all()?;
        }
        let mut take = |event: &Event| {
            let wanted = options.since.is_none_or(|since| event.time >= since)
                && options.until.is_none_or(|until| event.time <= until)
                && is_wanted(event, &options.filters)?;
            if wanted { take(event) } else { Ok(()) }
        };
        loop {
            let over = options.until.is_some_and(|until| until <= now());
            reader.read(&mut take)?;
            rest()?;
            match &watcher {
                Some(watcher) if !over => wait(watcher, options.until)?,
                _ => return Ok(()),
            }
        }
    }
}

/// Tells whether an event passes the filters.
fn is_wanted(event: &Event, filters: &[Filter]) -> Result<bool> {
    let is = |object: Object, value: &str| {
        event.object == object
            && (event.name == value || (!value.is_empty() && event.id.starts_with(value)))
    };
    let detail = |key: &str, value: &str| event.details.get(key).is_some_and(|it| it == value);
    filter::passes(filters, |key, value| {
        Ok(match key {
            "container" => {
                let value = value.strip_prefix('/').unwrap_or(value);
                is(Object::Container, value) || detail("container", value)
            }
            "event" | "status" => {
                let docker = event.action.docker_name(event.object);
                event.action.as_str() == value || docker == value || is_health(event, value)
            }
            "image" => {
                let value = value.strip_prefix("sha256:").unwrap_or(value);
                let of_image = |name: &str| !name.is_empty() && has_name(name, value);
                is(Object::Image, value)
                    || (event.object == Object::Image && of_image(&event.name))
                    || of_image(&event.image)
            }
            "config" => is(Object::Config, value),
            "label" => filter::label_matches(&event.labels, value),
            "network" => is(Object::Network, value),
            "pod" => is(Object::Pod, value),
            "scope" => value == "local",
            "secret" => is(Object::Secret, value),
            "volume" => is(Object::Volume, value),
            _ => event.object.as_str() == value,
        })
    })
}

/// Tells whether a value is Docker's name of a change of health, as in `health_status: healthy`.
fn is_health(event: &Event, value: &str) -> bool {
    let status = event.details.get("health_status");
    status.is_some_and(|status| {
        value.strip_prefix("health_status:").is_some_and(|rest| rest.trim_start() == status)
    })
}

/// Tells whether an image's name is the one that is written, with or without registry and tag.
fn has_name(name: &str, wanted: &str) -> bool {
    let ends = |whole: &str| {
        whole.strip_suffix(wanted).is_some_and(|rest| rest.is_empty() || rest.ends_with('/'))
    };
    let last = name.rfind('/').map_or(0, |slash| slash + 1);
    let bare = name[last..].find(['@', ':']).map_or(name, |end| &name[..last + end]);
    !wanted.is_empty() && (ends(name) || ends(bare))
}

/// Reads events as they are written, from one file after the other.
struct Reader<'a> {
    store: &'a Store,
    /// The oldest first. A writer may still be at one that was put aside, so the last but one stays.
    files: Vec<BufReader<File>>,
}

impl Reader<'_> {
    /// Opens the files that are newer than the newest one that is open; all of them at first.
    ///
    /// The newest first: what is put aside meanwhile is met once more, and nothing is missed.
    fn open_new(&mut self) -> Result<()> {
        let events = self.store.events();
        let newest = self.files.last().map(|file| inode(file.get_ref())).transpose()?;
        let mut new: Vec<(u64, BufReader<File>)> = Vec::new();
        for path in std::iter::once(events.path()).chain(events.put_aside()) {
            let file = match File::open(&path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                other => other.context(|| format!("cannot read {}", path.display()))?,
            };
            let inode = inode(&file)?;
            if Some(inode) == newest {
                break;
            }
            if new.iter().all(|(known, _)| *known != inode) {
                new.push((inode, BufReader::new(file)));
            }
        }
        self.files.extend(new.into_iter().rev().map(|(_, file)| file));
        Ok(())
    }

    fn skip_all(&mut self) -> Result<()> {
        for file in &mut self.files {
            file.seek(SeekFrom::End(0)).context(|| "cannot read events")?;
        }
        Ok(())
    }

    /// Passes on what is there.
    fn read(&mut self, take: &mut dyn FnMut(&Event) -> Result<()>) -> Result<()> {
        loop {
            for file in &mut self.files {
                read_file(file, take)?;
            }
            let known = self.files.len();
            self.open_new()?;
            if self.files.len() == known {
                break;
            }
        }
        self.files.drain(..self.files.len().saturating_sub(2));
        Ok(())
    }
}

fn inode(file: &File) -> Result<u64> {
    file.metadata().map(|found| found.ino()).context(|| "cannot read events")
}

/// Passes on the events of a file from where it was left. A line that is being written is left there.
fn read_file(file: &mut BufReader<File>, take: &mut dyn FnMut(&Event) -> Result<()>) -> Result<()> {
    let mut line = Vec::new();
    loop {
        line.clear();
        let length = file.read_until(b'\n', &mut line).context(|| "cannot read events")?;
        if line.last() != Some(&b'\n') {
            let back = i64::try_from(length).unwrap_or(0);
            return file.seek_relative(-back).context(|| "cannot read events");
        }
        // What was cut off is no event; nor is the empty line that is there for its sake.
        if let Ok(event) = serde_json::from_slice(&line) {
            take(&event)?;
        }
    }
}

fn watch(dir: &Path) -> Result<OwnedFd> {
    let context = || format!("cannot watch {}", dir.display());
    let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
    let watcher = inotify::init(flags).context(context)?;
    let events = inotify::WatchFlags::MODIFY | inotify::WatchFlags::CREATE;
    inotify::add_watch(&watcher, dir, events).context(context)?;
    Ok(watcher)
}

/// Waits until something is written, or a point in time.
fn wait(watcher: &OwnedFd, until: Option<i64>) -> Result<()> {
    let time = until.map(|until| {
        let left = until.saturating_sub(now()).max(0);
        Timespec { tv_sec: left / 1_000_000_000, tv_nsec: left % 1_000_000_000 }
    });
    let mut files = [PollFd::new(watcher, PollFlags::IN)];
    match poll(&mut files, time.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error).context(|| "cannot wait for events"),
    }
    let mut buffer = [0; 4096];
    match rustix::io::read(watcher, &mut buffer[..]) {
        Ok(_) | Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error).context(|| "cannot wait for events"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_events() {
        let mut died = Event::new(Object::Container, Action::Died, "abcd", "web");
        died.image = "docker.io/library/nginx:1".into();
        died.labels.insert("tier".into(), "front".into());
        let tag = Event::of_image(Action::Tag, "0123", "localhost/app:latest");
        let health = Event::new(Object::Container, Action::HealthStatus, "ab", "web")
            .with("health_status", "healthy");
        for (filter, event, want) in [
            ("container=web", &died, true),
            ("container=/web", &died, true),
            ("container=abc", &died, true),
            ("container=we", &died, false),
            ("container=0123", &tag, false),
            ("event=die", &died, true),
            ("event=died", &died, true),
            ("event=start", &died, false),
            ("status=died", &died, true),
            ("event!=died", &died, false),
            ("image=nginx", &died, true),
            ("image=ginx", &died, false),
            ("image=app", &tag, true),
            ("image=sha256:01", &tag, true),
            ("image=localhost/app:latest", &tag, true),
            ("image=nginx", &tag, false),
            ("label=tier=front", &died, true),
            ("label=tier", &tag, false),
            ("type=image", &tag, true),
            ("type=image", &died, false),
            ("scope=local", &tag, true),
            ("volume=web", &died, false),
            ("event=health_status", &health, true),
            ("event=health_status: healthy", &health, true),
            ("event=health_status: unhealthy", &health, false),
        ] {
            assert_eq!(is_wanted(event, &[filter.parse().unwrap()]).unwrap(), want, "{filter}");
        }
    }

    #[test]
    fn follows_over_files_that_were_put_aside() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), &dir.path().join("r")).unwrap();
        let write = |number: usize| {
            let event = Event::of_image(Action::Tag, &"x".repeat(400_000), &number.to_string());
            store.events().record(&[event]).unwrap();
        };
        let mut reader = Reader { store: &store, files: Vec::new() };
        let mut seen = Vec::new();
        let mut read = |reader: &mut Reader<'_>| {
            reader
                .read(&mut |event| {
                    seen.push(event.name.parse::<usize>().unwrap());
                    Ok(())
                })
                .unwrap();
        };
        write(0);
        read(&mut reader);
        // Within one file, over one rotation, over several at once.
        for round in [1..2, 2..4, 4..14] {
            round.for_each(write);
            read(&mut reader);
        }
        read(&mut reader);
        assert!(store.events().put_aside().len() >= 4);
        assert_eq!(seen, (0..14).collect::<Vec<_>>());
    }
}
