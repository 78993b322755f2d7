//! Files from the web and from git.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest as _, Sha256};

use super::copy::Tree;
use crate::error::{Context, Error, Kind, Result};
use crate::image::registry::WebFile;
use crate::store::draft::Draft;
use crate::store::{Store, file};

/// Something that is elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remote {
    /// A file on the web.
    Web(String),
    /// A repository, a reference in it and a directory.
    Git {
        /// Where the repository is.
        address: String,
        /// Branch, tag or commit.
        reference: Option<String>,
        /// Directory in it.
        directory: Option<String>,
    },
}

/// What was fetched; it is gone when this is dropped.
#[derive(Debug)]
pub struct Fetched {
    draft: Draft,
    path: String,
}

impl Fetched {
    /// Returns the directory that it is in.
    pub fn directory(&self) -> PathBuf {
        self.draft.path().join("files")
    }

    /// Returns its path in the directory.
    pub fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn tree(&self) -> (Tree, String) {
        (Tree::Fetched(self.directory()), self.path.clone())
    }
}

impl Remote {
    /// Tells whether a source is elsewhere.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, fragment) = text.split_once('#').unwrap_or((text, ""));
        let is_web = address.starts_with("http://") || address.starts_with("https://");
        let is_git = address.starts_with("git://")
            || address.starts_with("git@")
            || address.starts_with("ssh://")
            || (is_web && address.trim_end_matches('/').ends_with(".git"))
            || address.starts_with("github.com/");
        if is_git {
            let address = match address.strip_prefix("github.com/") {
                Some(rest) => format!("https://github.com/{rest}"),
                None => address.to_owned(),
            };
            let (reference, directory) = fragment.split_once(':').unwrap_or((fragment, ""));
            let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
            return Some(Self::Git {
                address,
                reference: some(reference),
                directory: some(directory.trim_matches('/')),
            });
        }
        is_web.then(|| Self::Web(text.to_owned()))
    }
}

/// Fetches a context: a directory with all of a repository, or one file.
pub fn fetch(store: &Store, remote: &Remote) -> Result<Fetched> {
    get(store, remote, None, false)
}

/// Fetches something.
pub(super) fn get(
    store: &Store,
    remote: &Remote,
    checksum: Option<&str>,
    keep_git_dir: bool,
) -> Result<Fetched> {
    let draft = store.draft_dir()?;
    let files = draft.path().join("files");
    file::create_dirs(&files, 0o755)?;
    let path = match remote {
        Remote::Web(address) => web(address, &files, checksum)?,
        Remote::Git { address, reference, directory } => {
            let commit = git(address, reference.as_deref(), &files)?;
            if let Some(wanted) = checksum
                && !commit.starts_with(wanted)
            {
                return Err(differs(address, wanted, &commit));
            }
            let directory = directory.clone().unwrap_or_default();
            if !keep_git_dir {
                file::remove_tree(&files.join(".git"))?;
            }
            let inside = files.join(&directory);
            if directory.split('/').any(|name| name == "..") || !inside.is_dir() {
                return Err(Error::new(
                    Kind::NotFound,
                    format!("there is no directory `{directory}` in {address}"),
                ));
            }
            directory
        }
    };
    Ok(Fetched { draft, path })
}

fn differs(address: &str, wanted: &str, got: &str) -> Error {
    Error::new(Kind::Invalid, format!("the digest of {address} should be {wanted} and is {got}"))
}

/// The name that a file has at its address.
fn name_of(address: &str) -> String {
    let path = address.split_once("://").map_or(address, |(_, rest)| rest);
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let name = path.split_once('/').and_then(|(_, path)| path.rsplit('/').next());
    match name.unwrap_or_default() {
        "" | "." | ".." => "__unnamed__".to_owned(),
        name => name.to_owned(),
    }
}

fn web(address: &str, files: &Path, checksum: Option<&str>) -> Result<String> {
    let mut input = WebFile::open(address)?;
    let name = name_of(address);
    let path = files.join(&name);
    let context = || format!("cannot fetch {address}");
    let mut output = File::create_new(&path).context(context)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match input.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => {
                hash.update(&buffer[..length]);
                output.write_all(&buffer[..length]).context(context)?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error).context(context),
        }
    }
    if let Some(wanted) = checksum {
        let got = crate::spec::digest::Digest::from_sha256(&hash.finalize().into()).to_string();
        if got != wanted {
            return Err(differs(address, wanted, &got));
        }
    }
    let time = input.modified().unwrap_or(std::time::UNIX_EPOCH);
    output.set_modified(time).context(context)?;
    file::set_mode(&path, 0o600)?;
    Ok(name)
}

/// Clones a repository as shallow as can be; returns the commit.
fn git(address: &str, reference: Option<&str>, files: &Path) -> Result<String> {
    let run = |args: &[&str]| -> Result<String> {
        let output = Command::new("git")
            .arg("-C")
            .arg(files)
            .args(["-c", "protocol.ext.allow=never", "-c", "core.hooksPath=/dev/null"])
            .args(args)
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .stdin(std::process::Stdio::null())
            .output()
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => Error::new(Kind::Unsupported, "git is not installed")
                    .hint("install the package git"),
                _ => Error::new(Kind::Internal, "cannot run git").caused_by(error),
            })?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let last = said.lines().last().unwrap_or_default().to_owned();
            return Err(Error::new(
                Kind::Unavailable,
                format!("cannot fetch {address}: git {}: {last}", args[0]),
            ));
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    // It may be an option otherwise.
    if address.starts_with('-') || reference.is_some_and(|it| it.starts_with('-')) {
        return Err(Error::new(Kind::Invalid, format!("invalid repository `{address}`")));
    }
    run(&["init", "-q"])?;
    run(&["remote", "add", "origin", address])?;
    let wanted = reference.unwrap_or("HEAD");
    let shallow = run(&["fetch", "-q", "--depth", "1", "origin", wanted]);
    if shallow.is_err() {
        // Not all servers give single commits, or short names of them.
        run(&["fetch", "-q", "--tags", "origin", "+refs/heads/*:refs/remotes/origin/*"])?;
        if reference.is_none() {
            // Which branch is the usual one is known there only.
            run(&["remote", "set-head", "origin", "--auto"])?;
        }
        let commit =
            |name: &str| run(&["rev-parse", "-q", "--verify", &format!("{name}^{{commit}}")]);
        let found =
            commit(&format!("origin/{wanted}")).or_else(|_| commit(wanted)).map_err(|_| {
                let message =
                    format!("repository {address} has no branch, tag or commit `{wanted}`");
                Error::new(Kind::NotFound, message)
            })?;
        run(&["checkout", "-q", "--detach", &found])?;
    } else {
        run(&["checkout", "-q", "--detach", "FETCH_HEAD"])?;
    }
    run(&["submodule", "update", "-q", "--init", "--recursive", "--depth", "1"])?;
    run(&["rev-parse", "HEAD"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_what_is_elsewhere() {
        let git = |address: &str, reference: Option<&str>, directory: Option<&str>| {
            Some(Remote::Git {
                address: address.to_owned(),
                reference: reference.map(str::to_owned),
                directory: directory.map(str::to_owned),
            })
        };
        for (text, want) in [
            ("a/b", None),
            ("/a", None),
            ("http://x/y", Some(Remote::Web("http://x/y".to_owned()))),
            ("https://x/y.tar#z", Some(Remote::Web("https://x/y.tar#z".to_owned()))),
            ("https://x/y.git", git("https://x/y.git", None, None)),
            ("git://x/y.git#v1:sub", git("git://x/y.git", Some("v1"), Some("sub"))),
            ("git@x:y.git#:sub", git("git@x:y.git", None, Some("sub"))),
            ("github.com/a/b", git("https://github.com/a/b", None, None)),
        ] {
            assert_eq!(Remote::parse(text), want, "{text}");
        }
    }

    #[test]
    fn names_files_by_their_addresses() {
        for (address, want) in [
            ("http://x/a/b.txt", "b.txt"),
            ("http://x/a/b.txt?c=/d", "b.txt"),
            ("http://x/", "__unnamed__"),
            ("http://x", "__unnamed__"),
            ("http://x/..", "__unnamed__"),
        ] {
            assert_eq!(name_of(address), want, "{address}");
        }
    }
}
