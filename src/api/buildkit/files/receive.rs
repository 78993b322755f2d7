//! Taking a tree into a directory.
//!
//! What is sent is not trusted. A path is opened beneath the directory with no link on the way, and only
//! in directories that were told before it, so that nothing is written anywhere else.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, chmodat, linkat,
    mkdirat, mknodat, openat, statat, symlinkat, utimensat,
};
use rustix::io::Errno;

use super::mode;
use crate::api::buildkit::message::files::{Packet, PacketKind, Stat};
use crate::error::{Context, Error, Kind, Result};
use crate::sys::root::{Root, remove_all};

/// As many files are asked for at a time: who sends may have all of them open here.
const ASKED: usize = 64;

/// More files than any context has.
const MOST: u32 = 10_000_000;

/// What is to be done after a packet.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Ask for these files, and wait for more.
    Ask(Vec<u32>),
    /// All is here.
    Done,
}

/// A tree that arrives in a directory, in which a copy from before may be.
#[derive(Debug)]
pub(crate) struct Receiver {
    root: Root,
    /// The number that the next file has.
    next: u32,
    /// Directories that were told, with the times that they get when all is in them.
    directories: BTreeMap<String, i64>,
    /// All other files that were told, to be known when others are the same, or when they are no more.
    others: HashSet<String>,
    /// Files to be asked for when others have come.
    waiting: VecDeque<u32>,
    /// Files that are on their way or will be, by their numbers.
    expected: HashMap<u32, Expected>,
    /// How many are on their way.
    asked: usize,
    /// Whether all files were told.
    is_told: bool,
    /// Files that are the same as others, and those.
    links: Vec<(String, String)>,
    /// Bytes that have come.
    received: u64,
}

/// A file whose content is to come.
#[derive(Debug)]
struct Expected {
    path: String,
    permissions: u32,
    modified: i64,
    /// Once something has come.
    file: Option<File>,
}

impl Receiver {
    /// Begins; what is in the directory is taken for a copy from before.
    pub(crate) fn new(directory: OwnedFd) -> Self {
        Self {
            root: Root::of(directory),
            next: 0,
            directories: BTreeMap::new(),
            others: HashSet::new(),
            waiting: VecDeque::new(),
            expected: HashMap::new(),
            asked: 0,
            is_told: false,
            links: Vec::new(),
            received: 0,
        }
    }

    /// How many bytes have come.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// Takes a packet.
    pub(crate) fn take(&mut self, packet: Packet) -> Result<Step> {
        let context = || "cannot take files from the client";
        match PacketKind::try_from(packet.kind) {
            Ok(PacketKind::Stat) => match packet.stat {
                Some(stat) if !self.is_told => {
                    self.tell(&stat).context(|| {
                        format!("cannot take `{}` from the client", stat.path.escape_debug())
                    })?;
                }
                Some(_) => return Err(confused("a file after the last one")).context(context),
                None => self.is_told = true,
            },
            Ok(PacketKind::Data) => self.data(packet.id, &packet.data)?,
            Ok(PacketKind::Failure) => {
                let text = String::from_utf8_lossy(&packet.data).into_owned();
                return Err(Error::new(Kind::Unavailable, text).within("the client cannot send"));
            }
            Ok(PacketKind::Finish) => {
                return Err(confused("the end before all has come")).context(context);
            }
            Ok(PacketKind::Request) | Err(_) => {
                return Err(confused("a packet of another kind")).context(context);
            }
        }
        if self.is_told && self.expected.is_empty() {
            self.settle()?;
            return Ok(Step::Done);
        }
        let more = ASKED.saturating_sub(self.asked).min(self.waiting.len());
        self.asked += more;
        Ok(Step::Ask(self.waiting.drain(..more).collect()))
    }

    /// Takes note of a file.
    fn tell(&mut self, stat: &Stat) -> io::Result<()> {
        let number = self.next;
        self.next += 1;
        if number > MOST {
            return Err(confused("too many files"));
        }
        let path = stat.path.trim_end_matches('/').to_owned();
        let (parent, name) = split(&path)?;
        if !(parent.is_empty() || self.directories.contains_key(parent)) {
            return Err(confused("its directory was not told"));
        }
        if self.directories.contains_key(&path) || !self.is_new(&path) {
            return Err(confused("it was told before"));
        }
        let above = self.root.beneath(parent.as_bytes(), OFlags::PATH | OFlags::DIRECTORY)?;
        let permissions = mode::permissions(stat.mode);
        let found = match statat(&above, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) => Some(found),
            Err(Errno::NOENT) => None,
            Err(error) => return Err(error.into()),
        };
        let kind = mode::kind(stat.mode);
        let found_kind = found.as_ref().map(|found| FileType::from_raw_mode(found.st_mode));
        if kind == FileType::Directory {
            if found_kind != Some(FileType::Directory) {
                clear(&above, name, found.is_some())?;
                mkdirat(&above, name, Mode::from_raw_mode(0o700))?;
            }
            chmodat(&above, name, Mode::from_raw_mode(permissions), AtFlags::empty())?;
            self.directories.insert(path, stat.modified);
            return Ok(());
        }
        match kind {
            FileType::RegularFile if !stat.link.is_empty() => {
                if self.is_new(&stat.link) {
                    return Err(confused("the file that it is the same as was not told"));
                }
                // That one may be on its way.
                self.links.push((path.clone(), stat.link.clone()));
            }
            FileType::RegularFile => {
                let is_same = found.is_some_and(|found| {
                    found_kind == Some(FileType::RegularFile)
                        && found.st_nlink == 1
                        && found.st_size == stat.size
                        && found.st_mode & 0o7777 == permissions
                        && nanoseconds(found.st_mtime, found.st_mtime_nsec) == stat.modified
                });
                if !is_same {
                    clear(&above, name, found.is_some())?;
                    let expected = Expected {
                        path: path.clone(),
                        permissions,
                        modified: stat.modified,
                        file: None,
                    };
                    self.expected.insert(number, expected);
                    self.waiting.push_back(number);
                }
            }
            FileType::Symlink => {
                clear(&above, name, found.is_some())?;
                symlinkat(stat.link.as_str(), &above, name)?;
                set_time(&above, name, stat.modified)?;
            }
            FileType::Fifo => {
                clear(&above, name, found.is_some())?;
                let mode = Mode::from_raw_mode(permissions);
                mknodat(&above, name, FileType::Fifo, mode, 0)?;
                set_time(&above, name, stat.modified)?;
            }
            // Nobody copies a socket, and a device is not for others to make here.
            _ => clear(&above, name, found.is_some())?,
        }
        self.others.insert(path);
        Ok(())
    }

    fn is_new(&self, path: &str) -> bool {
        !self.others.contains(path)
    }

    /// Takes a piece of a file; an empty one is its end.
    fn data(&mut self, number: u32, data: &[u8]) -> Result<()> {
        let Some(expected) = self.expected.get_mut(&number) else {
            return Err(confused("a piece of a file that was not asked for"))
                .context(|| "cannot take files from the client");
        };
        let context = || format!("cannot write `{}`", expected.path.escape_debug());
        let (parent, name) = split(&expected.path).context(context)?;
        let above = self
            .root
            .beneath(parent.as_bytes(), OFlags::PATH | OFlags::DIRECTORY)
            .context(context)?;
        let file = match &mut expected.file {
            Some(file) => file,
            none => {
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
                let made = openat(&above, name, flags, Mode::from_raw_mode(0o600));
                none.insert(File::from(made.context(context)?))
            }
        };
        if !data.is_empty() {
            self.received += data.len() as u64;
            return file.write_all(data).context(context);
        }
        let mode = Mode::from_raw_mode(expected.permissions);
        rustix::fs::fchmod(&*file, mode).context(context)?;
        set_time(&above, name, expected.modified).context(context)?;
        self.expected.remove(&number);
        self.asked = self.asked.saturating_sub(1);
        Ok(())
    }

    /// Makes what could not be made before all was here, and removes what was not told.
    fn settle(&mut self) -> Result<()> {
        for (path, target) in std::mem::take(&mut self.links) {
            self.link(&path, &target)
                .context(|| format!("cannot take `{}`", path.escape_debug()))?;
        }
        self.remove_others("").context(|| "cannot remove files from before")?;
        // From below: what is made in a directory changes its time.
        for (path, modified) in self.directories.iter().rev() {
            let flags = OFlags::PATH | OFlags::DIRECTORY;
            let set = split(path).and_then(|(parent, name)| {
                set_time(&self.root.beneath(parent.as_bytes(), flags)?, name, *modified)
            });
            set.context(|| format!("cannot set the time of `{}`", path.escape_debug()))?;
        }
        Ok(())
    }

    fn link(&self, path: &str, target: &str) -> io::Result<()> {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let ((parent, name), (other, other_name)) = (split(path)?, split(target)?);
        let above = self.root.beneath(parent.as_bytes(), flags)?;
        let other = self.root.beneath(other.as_bytes(), flags)?;
        clear(&above, name, statat(&above, name, AtFlags::SYMLINK_NOFOLLOW).is_ok())?;
        // Without following: what is there now was told as a file.
        linkat(&other, other_name, &above, name, AtFlags::empty())?;
        Ok(())
    }

    fn remove_others(&self, directory: &str) -> io::Result<()> {
        let opened = self.root.listing(directory.as_bytes())?;
        let mut names = Vec::new();
        for entry in Dir::read_from(&opened)? {
            let name = entry?.file_name().to_bytes().to_vec();
            if !matches!(name.as_slice(), b"." | b"..") {
                names.push(name);
            }
        }
        for name in names {
            let path = String::from_utf8(name.clone()).ok().map(|name| joined(directory, &name));
            match path {
                Some(path) if self.directories.contains_key(&path) => self.remove_others(&path)?,
                Some(path) if !self.is_new(&path) => {}
                _ => remove_all(std::os::fd::AsFd::as_fd(&opened), &name)?,
            }
        }
        Ok(())
    }
}

/// Splits a path into its directory and its name; one that could lead elsewhere is refused.
fn split(path: &str) -> io::Result<(&str, &str)> {
    let is_good = !path.contains('\0') && path.split('/').all(|it| !matches!(it, "" | "." | ".."));
    if !is_good {
        return Err(confused("its path is none"));
    }
    Ok(path.rsplit_once('/').unwrap_or(("", path)))
}

fn joined(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") }
}

/// Removes what is in the way.
fn clear(above: &OwnedFd, name: &str, is_there: bool) -> io::Result<()> {
    if is_there { remove_all(std::os::fd::AsFd::as_fd(above), name.as_bytes()) } else { Ok(()) }
}

fn set_time(above: &OwnedFd, name: &str, modified: i64) -> io::Result<()> {
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec {
            tv_sec: modified.div_euclid(1_000_000_000),
            tv_nsec: modified.rem_euclid(1_000_000_000),
        },
    };
    Ok(utimensat(above, name, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

fn nanoseconds(seconds: i64, rest: impl TryInto<i64>) -> i64 {
    seconds.saturating_mul(1_000_000_000).saturating_add(rest.try_into().unwrap_or(0))
}

fn confused(what: &str) -> io::Error {
    let text = format!("it does not keep to the protocol: {what}");
    io::Error::new(io::ErrorKind::InvalidData, text)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::path::Path;

    use super::*;

    const DIRECTORY: u32 = 1 << 31;
    const SYMLINK: u32 = 1 << 27;

    fn open(path: &Path) -> Receiver {
        Receiver::new(OwnedFd::from(File::open(path).unwrap()))
    }

    fn stat(path: &str, mode: u32, size: i64, link: &str) -> Packet {
        let stat = Stat {
            path: path.to_owned(),
            mode,
            size,
            modified: 1_000_000_000_000_000_007,
            link: link.to_owned(),
            ..Stat::default()
        };
        Packet { kind: PacketKind::Stat as i32, stat: Some(stat), ..Packet::default() }
    }

    fn data(id: u32, data: &'static [u8]) -> Packet {
        let data = bytes::Bytes::from_static(data);
        Packet { kind: PacketKind::Data as i32, id, data, ..Packet::default() }
    }

    fn end() -> Packet {
        Packet { kind: PacketKind::Stat as i32, ..Packet::default() }
    }

    /// Sends a tree of one directory, a file, one that is the same, and a link.
    fn send_tree(receiver: &mut Receiver) -> Vec<u32> {
        let mut asked = Vec::new();
        for packet in [
            stat("d", DIRECTORY | 0o750, 0, ""),
            stat("d/file", 0o640, 5, ""),
            stat("d/link", SYMLINK | 0o777, 0, "/etc/passwd"),
            stat("same", 0o640, 5, "d/file"),
        ] {
            let Step::Ask(more) = receiver.take(packet).unwrap() else { panic!("it is over") };
            asked.extend(more);
        }
        asked
    }

    #[test]
    fn takes_a_tree() {
        let dir = tempfile::tempdir().unwrap();
        let mut receiver = open(dir.path());
        assert_eq!(send_tree(&mut receiver), [1], "only files have content");
        assert_eq!(receiver.take(end()).unwrap(), Step::Ask(vec![]));
        assert_eq!(receiver.take(data(1, b"he")).unwrap(), Step::Ask(vec![]));
        assert_eq!(receiver.take(data(1, b"llo")).unwrap(), Step::Ask(vec![]));
        assert_eq!(receiver.take(data(1, b"")).unwrap(), Step::Done);
        let file = dir.path().join("d/file");
        assert_eq!(std::fs::read(&file).unwrap(), b"hello");
        let found = file.metadata().unwrap();
        assert_eq!(found.permissions().mode() & 0o7777, 0o640);
        assert_eq!((found.mtime(), found.mtime_nsec()), (1_000_000_000, 7));
        assert_eq!(dir.path().join("same").metadata().unwrap().ino(), found.ino());
        let directory = dir.path().join("d").metadata().unwrap();
        assert_eq!((directory.mode() & 0o7777, directory.mtime()), (0o750, 1_000_000_000));
        let link = std::fs::read_link(dir.path().join("d/link")).unwrap();
        assert_eq!(link, Path::new("/etc/passwd"));
    }

    #[test]
    fn asks_for_what_has_changed_only() {
        let dir = tempfile::tempdir().unwrap();
        let mut receiver = open(dir.path());
        for packet in [stat("a", 0o644, 1, ""), stat("b", 0o644, 1, ""), end()] {
            receiver.take(packet).unwrap();
        }
        for packet in [data(0, b"a"), data(0, b""), data(1, b"b"), data(1, b"")] {
            receiver.take(packet).unwrap();
        }
        std::fs::create_dir_all(dir.path().join("gone/deep")).unwrap();
        std::fs::write(dir.path().join("gone/deep/file"), "x").unwrap();
        // What is a file now was a directory before.
        std::fs::create_dir(dir.path().join("c")).unwrap();
        std::fs::write(dir.path().join("c/file"), "x").unwrap();
        let mut again = open(dir.path());
        assert_eq!(again.take(stat("a", 0o644, 1, "")).unwrap(), Step::Ask(vec![]));
        assert_eq!(again.take(stat("b", 0o600, 1, "")).unwrap(), Step::Ask(vec![1]));
        assert_eq!(again.take(stat("c", 0o644, 0, "")).unwrap(), Step::Ask(vec![2]));
        again.take(end()).unwrap();
        again.take(data(2, b"")).unwrap();
        again.take(data(1, b"B")).unwrap();
        assert_eq!(again.take(data(1, b"")).unwrap(), Step::Done);
        let mut names: Vec<_> = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["a", "b", "c"], "what is no more is gone");
        assert_eq!(std::fs::read(dir.path().join("b")).unwrap(), b"B");
        assert_eq!(again.received(), 1);
    }

    #[test]
    fn stays_in_its_directory() {
        let outside = tempfile::tempdir().unwrap();
        let target = outside.path().to_str().unwrap();
        for bad in [
            vec![stat("../x", 0o644, 0, "")],
            vec![stat("/x", 0o644, 0, "")],
            vec![stat("a/../../x", 0o644, 0, "")],
            vec![stat("", 0o644, 0, "")],
            vec![stat(".", DIRECTORY | 0o755, 0, "")],
            // Through a link that was sent.
            vec![stat("l", SYMLINK | 0o777, 0, target), stat("l/x", 0o644, 0, "")],
            // A directory in the place of one.
            vec![
                stat("l", SYMLINK | 0o777, 0, target),
                stat("l", DIRECTORY | 0o755, 0, ""),
                stat("l/x", 0o644, 0, ""),
            ],
            // A link to what was not sent.
            vec![stat("h", 0o644, 0, "../../etc/passwd")],
            vec![stat("h", 0o644, 0, "/etc/passwd")],
            // A file whose directory is none.
            vec![stat("d/x", 0o644, 0, "")],
            vec![data(0, b"x")],
            vec![end(), stat("x", 0o644, 0, "")],
        ] {
            let dir = tempfile::tempdir().unwrap();
            let mut receiver = open(dir.path());
            let shown = format!("{bad:?}");
            let failed = bad.into_iter().any(|packet| receiver.take(packet).is_err());
            assert!(failed, "{shown}");
        }
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    }

    #[test]
    fn follows_no_link_that_was_there() {
        let outside = tempfile::tempdir().unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(outside.path(), dir.path().join("d")).unwrap();
        let mut receiver = open(dir.path());
        send_tree(&mut receiver);
        receiver.take(end()).unwrap();
        receiver.take(data(1, b"")).unwrap();
        assert!(dir.path().join("d").symlink_metadata().unwrap().is_dir());
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    }
}
