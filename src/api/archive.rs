//! `/containers/ID/archive`: files from and to containers.

use std::io::{self, BufReader, Write};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hyper::StatusCode;
use rustix::fs::FileType;
use serde_json::{Value, json};

use super::reply::{Head, Reply};
use super::request::Call;
use super::route::{How, Route, route};
use crate::engine::copying::{ContainerPath, CopyOptions, PathStat};
use crate::engine::{Engine, hold_signals};
use crate::error::{Error, Kind, Result};
use crate::spec::time;

pub(super) const ROUTES: &[Route] = &[
    route("HEAD", "/containers/{id}/archive", How::Change(stat)),
    route("GET", "/containers/{id}/archive", How::Work(get)),
    route("PUT", "/containers/{id}/archive", How::Change(put)),
];

/// The header field that says what is at a path.
const STAT: &str = "x-docker-container-path-stat";

/// Bytes that are read or written at a time.
const CHUNK: usize = 256 << 10;

fn stat(engine: &Engine, call: &mut Call) -> Result<Reply> {
    let found = engine.path_stat(at(call)?)?;
    Ok(Reply::empty(StatusCode::OK).with(STAT, encoded(&found)))
}

fn get(engine: &Engine, call: &mut Call) -> Result<Reply> {
    let (id, path) = (call.name().to_owned(), wanted_path(call)?.to_owned());
    let from = ContainerPath { name: &id, path: &path };
    // Who has read enough goes; then writing fails, and what was made on the way is removed.
    hold_signals()?;
    let found = engine.path_stat(from)?;
    let head = Head::new(StatusCode::OK, "application/x-tar").with(STAT, encoded(&found));
    let mut out = io::BufWriter::with_capacity(CHUNK, call.stream(head)?);
    // What changed as it was read is not Docker's to tell either.
    engine.copy_to_archive(from, false, &mut out)?;
    out.flush().map_err(|error| {
        Error::new(Kind::Unavailable, "cannot write to the client").caused_by(error)
    })?;
    drop(out);
    Ok(Reply::streamed())
}

fn put(engine: &Engine, call: &mut Call) -> Result<Reply> {
    let (id, path) = (call.name().to_owned(), wanted_path(call)?.to_owned());
    let container = engine.lookup(&id)?;
    let options = CopyOptions {
        // The archive's owners, unless the client asks for the container's user and there is one.
        keep_owners: !call.query.is_set("copyUIDGID") || container.config.user.is_empty(),
        follow_link: false,
        overwrite: !call.query.is_set("noOverwriteDirNonDir"),
    };
    let input = BufReader::with_capacity(CHUNK, call.take_body());
    engine.copy_from_archive(input, ContainerPath { name: &id, path: &path }, options)?;
    Ok(Reply::empty(StatusCode::OK))
}

fn at(call: &Call) -> Result<ContainerPath<'_>> {
    Ok(ContainerPath { name: call.name(), path: wanted_path(call)? })
}

fn wanted_path(call: &Call) -> Result<&str> {
    let missing = || Error::new(Kind::Invalid, "the parameter path is missing");
    call.query.get("path").ok_or_else(missing)
}

/// Writes what is at a path as Docker's clients want it: JSON in base64.
fn encoded(found: &PathStat) -> String {
    BASE64_STANDARD.encode(document(found).to_string())
}

fn document(found: &PathStat) -> Value {
    let (seconds, nanoseconds) = found.mtime;
    let mtime = seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds.into());
    json!({
        "name": found.name,
        "size": found.size,
        "mode": go_mode(found.mode),
        "mtime": time::rfc3339_short(mtime),
        "linkTarget": found.link_target.as_deref().unwrap_or_default(),
    })
}

/// Returns type and permissions in the bits of Go.
fn go_mode(mode: u32) -> u32 {
    let kind = match FileType::from_raw_mode(mode) {
        FileType::Directory => 1 << 31,
        FileType::Symlink => 1 << 27,
        FileType::BlockDevice => 1 << 26,
        FileType::Fifo => 1 << 25,
        FileType::Socket => 1 << 24,
        FileType::CharacterDevice => (1 << 26) | (1 << 21),
        _ => 0,
    };
    let bit = |unix: u32, go: u32| if mode & unix != 0 { go } else { 0 };
    kind | (mode & 0o777) | bit(0o4000, 1 << 23) | bit(0o2000, 1 << 22) | bit(0o1000, 1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_those_of_go() {
        for (mode, want) in [
            (0o100_644, 0o644),
            (0o040_755, 0x8000_01ed),
            (0o120_777, 0x0800_01ff),
            (0o104_755, 0x0080_01ed),
            (0o041_777, 0x8010_01ff),
            (0o020_666, 0x0420_01b6),
        ] {
            assert_eq!(go_mode(mode), want, "{mode:o}");
        }
    }
}
