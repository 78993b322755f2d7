//! `cp` from and to containers of other hosts, as archives.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rustix::fs::{FlockOperation, flock};
use serde_json::Value;

use super::{Cp, refuse_terminal};
use crate::cmd::World;
use crate::cmd::answers;
use crate::cmd::exit::Status;
use crate::cmd::host::refuse;
use crate::cmd::pack::Packer;
use crate::engine::random_hex;
use crate::error::{Context, Error, Kind, Result};
use crate::remote::{Answer, Host, Request, escape};
use crate::spec::copy::CopyPlace;

/// The header field that says what is at a path.
const STAT: &str = "x-docker-container-path-stat";

/// Bits of Go's modes.
const DIRECTORY: u64 = 1 << 31;
const LINK: u64 = 1 << 27;

/// Bytes that are read at a time.
const CHUNK: usize = 256 << 10;

/// A place in a container.
#[derive(Clone, Copy)]
struct There<'a> {
    host: &'a Host,
    name: &'a str,
    path: &'a str,
}

/// What is at a place.
struct Found {
    is_directory: bool,
    /// Where it leads, if it is a link.
    link: Option<String>,
}

impl Cp {
    /// Does it on another host.
    pub(super) fn copy_on(self, host: &Host, world: &mut World) -> Result<Status> {
        refuse_terminal(&self.target)?;
        let to_owner = self.archive;
        let put = Put { to_owner, overwrite: self.overwrite };
        match (&self.source, &self.target) {
            (CopyPlace::Container { name, path }, CopyPlace::Stream) => {
                let from = There { host, name, path };
                let mut archive = from.get(self.follow_link)?;
                io::copy(&mut archive, &mut world.out.stream())
                    .context(|| "cannot write the archive")?;
            }
            (CopyPlace::Stream, CopyPlace::Container { name, path }) => {
                There { host, name, path }.put(put, |out| {
                    let copied = io::copy(&mut io::stdin().lock(), out);
                    copied.context(|| "cannot pass the archive on").map(drop)
                })?;
            }
            (CopyPlace::Container { name, path }, CopyPlace::Host(to)) => {
                copy_out(There { host, name, path }, to, self.follow_link)?;
            }
            (CopyPlace::Host(from), CopyPlace::Container { name, path }) => {
                copy_in(from, There { host, name, path }, put, self.follow_link)?;
            }
            (
                CopyPlace::Container { name, path },
                CopyPlace::Container { name: to, path: to_path },
            ) => {
                refuse(&[("--archive=false between containers", !to_owner)])?;
                let from = There { host, name, path };
                let staged = Staging::new(&std::env::temp_dir())?;
                copy_out(from, &staged.path, self.follow_link)?;
                let base = last_of(path);
                let source =
                    if is_content(path) { staged.path.join(".") } else { staged.path.join(base) };
                copy_in(&source, There { host, name: to, path: to_path }, put, false)?;
            }
            (CopyPlace::Host(_) | CopyPlace::Stream, CopyPlace::Host(_) | CopyPlace::Stream) => {
                return Err(super::no_container());
            }
        }
        Ok(Status::SUCCESS)
    }
}

/// How what is brought becomes part of a container.
#[derive(Clone, Copy)]
struct Put {
    /// Whether it is given to the container's user.
    to_owner: bool,
    /// Whether directories and other files may replace each other.
    overwrite: bool,
}

impl<'a> There<'a> {
    fn request(self, begin: fn(String) -> Request) -> Request {
        begin(format!("/containers/{}/archive", escape(self.name))).with("path", self.path)
    }

    /// Looks at what is there; `None` if it is nothing.
    fn stat(self) -> Result<Option<Found>> {
        let answer = match self.host.call(self.request(Request::head)) {
            // A head has no text that would say what is not there.
            Err(error) if error.kind() == Kind::NotFound => {
                let path = format!("/containers/{}/json", escape(self.name));
                self.host.act(Request::get(path))?;
                return Ok(None);
            }
            answer => answer?,
        };
        let told = answer.field(STAT).and_then(|text| BASE64_STANDARD.decode(text).ok());
        let told: Value = told
            .and_then(|text| serde_json::from_slice(&text).ok())
            .ok_or_else(|| Error::new(Kind::Internal, "the host does not say what is there"))?;
        let mode = answers::bytes(&told, "mode");
        let link = answers::text(&told, "linkTarget");
        Ok(Some(Found {
            is_directory: mode & DIRECTORY != 0,
            link: (mode & LINK != 0).then(|| led_from(self.path, link)),
        }))
    }

    /// Reads what is there as an archive.
    fn get(self, follow: bool) -> Result<Answer<'a>> {
        if follow && let Some(Found { link: Some(target), .. }) = self.stat()? {
            return self.host.call(There { path: &target, ..self }.request(Request::get));
        }
        self.host.call(self.request(Request::get))
    }

    /// Brings an archive, whose files come to be in this directory.
    fn put(
        self,
        put: Put,
        writer: impl FnOnce(&mut dyn Write) -> Result<()> + Send + 'static,
    ) -> Result<()> {
        let request = self
            .request(Request::put)
            .flag("copyUIDGID", put.to_owner)
            .flag("noOverwriteDirNonDir", !put.overwrite)
            .written("application/x-tar", writer);
        self.host.act(request)
    }
}

/// Returns where a link leads, as a path from where its own begins.
fn led_from(path: &str, link: &str) -> String {
    match path.trim_end_matches('/').rsplit_once('/') {
        Some((parent, _)) if !link.starts_with('/') => format!("{parent}/{link}"),
        _ => link.to_owned(),
    }
}

/// Tells whether what is in a directory is meant, not the directory.
fn is_content(path: &str) -> bool {
    path == "." || path.ends_with("/.")
}

/// Returns the last name of a path.
fn last_of(path: &str) -> &str {
    path.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
}

/// What names of directories begin with that are gone in the end.
const STAGING: &str = ".barge-cp-";

/// A directory that is gone in the end. It is locked until then: what the dead have left is removed by
/// the next who needs one beside it.
struct Staging {
    path: PathBuf,
    _lock: File,
}

impl Staging {
    fn new(parent: &Path) -> Result<Self> {
        clear(parent).context(|| format!("cannot look into {}", parent.display()))?;
        loop {
            let path = parent.join(format!("{STAGING}{}", random_hex()?));
            let context = || format!("cannot create {}", path.display());
            fs::create_dir(&path).context(context)?;
            let Ok(lock) = File::open(&path) else { continue };
            // Where it cannot be locked, nobody else can lock it either.
            let _ours = flock(&lock, FlockOperation::NonBlockingLockExclusive);
            // Somebody may have taken it for one of the dead before that.
            if lock.metadata().context(context)?.nlink() > 0 {
                return Ok(Self { path, _lock: lock });
            }
        }
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // What is left of it is nobody's, and the next command sees that.
        drop(fs::remove_dir_all(&self.path));
    }
}

/// Removes what others have left in a directory who were killed.
fn clear(parent: &Path) -> io::Result<()> {
    for entry in fs::read_dir(parent)? {
        let entry = entry?;
        let is_ours = entry.file_name().as_encoded_bytes().starts_with(STAGING.as_bytes());
        if !is_ours || !entry.file_type()?.is_dir() {
            continue;
        }
        let path = entry.path();
        let Ok(directory) = File::open(&path) else { continue };
        if flock(&directory, FlockOperation::NonBlockingLockExclusive).is_ok() {
            // It may be somebody else's.
            drop(fs::remove_dir_all(&path));
        }
    }
    Ok(())
}

/// Takes an archive apart. Its names come from somebody else: none leads out of the directory.
fn unpack(archive: Answer<'_>, directory: &Path) -> Result<()> {
    let mut archive = tar::Archive::new(BufReader::with_capacity(CHUNK, archive));
    archive.set_preserve_permissions(true);
    archive.set_preserve_mtime(true);
    archive.set_overwrite(true);
    archive.unpack(directory).context(|| format!("cannot write to {}", directory.display()))
}

fn copy_out(from: There<'_>, to: &Path, follow: bool) -> Result<()> {
    let is_directory = to.is_dir();
    if is_content(from.path) {
        if !is_directory {
            fs::create_dir(to).context(|| format!("cannot create {}", to.display()))?;
        }
        return unpack(from.get(follow)?, to);
    }
    // A link that is followed has another name in the archive than it was asked by.
    if is_directory && !follow {
        return unpack(from.get(follow)?, to);
    }
    let target = if is_directory { to.join(last_of(from.path)) } else { to.to_owned() };
    let ends_with_slash = to.as_os_str().as_encoded_bytes().ends_with(b"/");
    let parent = target.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let found = from.stat()?.ok_or_else(|| missing(from))?;
    if ends_with_slash && !is_directory && !found.is_directory {
        return Err(no_directory(to));
    }
    let archive = from.get(follow)?;
    let staged = Staging::new(parent)?;
    unpack(archive, &staged.path)?;
    let context = || format!("cannot write {}", target.display());
    let mut made = fs::read_dir(&staged.path).context(context)?;
    let first = made.next().ok_or_else(|| missing(from))?.context(context)?;
    fs::rename(first.path(), &target).context(context)
}

fn missing(at: There<'_>) -> Error {
    Error::new(Kind::NotFound, format!("no such file in {}: {}", at.name, at.path))
}

fn no_directory(path: &Path) -> Error {
    Error::new(Kind::NotFound, format!("{} is no directory", path.display()))
}

fn copy_in(from: &Path, to: There<'_>, put: Put, follow: bool) -> Result<()> {
    let context = || format!("cannot read {}", from.display());
    let text = from.to_string_lossy();
    let content = is_content(&text);
    let with_slash = text.ends_with('/');
    let follows = follow || content || with_slash;
    let found = if follows { fs::metadata(from) } else { fs::symlink_metadata(from) };
    let found = found.context(context)?;
    let source = if follows { fs::canonicalize(from).context(context)? } else { from.to_owned() };
    if with_slash && !found.is_dir() {
        return Err(no_directory(from));
    }
    let there = to.stat()?;
    // What a link leads to is where things go.
    let target = match &there {
        Some(Found { link: Some(link), .. }) => link.clone(),
        _ => to.path.to_owned(),
    };
    let led = There { path: &target, ..to };
    let there = match there {
        Some(Found { link: Some(_), .. }) => led.stat()?,
        there => there,
    };
    let name = from.file_name().unwrap_or(OsStr::new(".")).to_owned();
    let (directory, inside) = match there {
        Some(Found { is_directory: true, .. }) if content => (target.clone(), PathBuf::from(".")),
        Some(Found { is_directory: true, .. }) => (target.clone(), PathBuf::from(name)),
        Some(_) if found.is_dir() && !put.overwrite => {
            let text = format!("cannot copy a directory onto the file {}", to.path);
            return Err(Error::new(Kind::Conflict, text));
        }
        None if to.path.ends_with('/') && !found.is_dir() => {
            return Err(Error::new(Kind::NotFound, format!("{} is no directory there", to.path)));
        }
        _ => {
            let path = target.trim_end_matches('/');
            let (parent, base) = path.rsplit_once('/').unwrap_or((".", path));
            let parent = if parent.is_empty() { "/" } else { parent };
            (parent.to_owned(), PathBuf::from(base))
        }
    };
    let keeps_owners = !put.to_owner;
    There { path: &directory, ..to }.put(put, move |out| {
        let mut packer = Packer::new(out, keeps_owners);
        packer.add(&source, &inside, &|_, _| true)?;
        packer.finish()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_links_from_where_they_are() {
        for (path, link, want) in [
            ("/a/b", "c", "/a/c"),
            ("/a/b/", "../c", "/a/../c"),
            ("/a/b", "/c", "/c"),
            ("b", "c", "c"),
        ] {
            assert_eq!(led_from(path, link), want, "{path} -> {link}");
        }
    }

    #[test]
    fn knows_what_is_meant_by_a_path() {
        for (path, content, last) in
            [("/a/b", false, "b"), ("/a/b/", false, "b"), ("/a/.", true, "."), (".", true, ".")]
        {
            assert_eq!((is_content(path), last_of(path)), (content, last), "{path}");
        }
    }
}
