//! How much a volume may have, where the file system of the store counts that.

use std::fs::File;
use std::path::Path;

use rustix::rand::{GetRandomFlags, getrandom};

use crate::error::{Context, Error, Kind, Result};
use crate::sys::quota::{self, Limits};

/// Numbers of projects that people choose by hand are smaller.
const FIRST: u32 = 1 << 20;
/// How many numbers are tried before that is given up.
const TRIES: usize = 100;

/// Lets an empty directory have so much and no more.
pub(super) fn limit(dir: &Path, limits: Limits) -> Result<()> {
    let file = open(dir)?;
    let project = free_project(&file).map_err(|error| not_here(dir, error))?;
    quota::limit(&file, project, limits).map_err(|error| not_here(dir, error))?;
    quota::set_project(&file, project).map_err(|error| not_here(dir, error))
}

/// Gives an empty directory the limits of another one, which it is going to replace.
pub(super) fn share(new: &Path, old: &Path) -> Result<()> {
    match quota::project(open(old)?) {
        Ok(project) if project >= FIRST => quota::set_project(open(new)?, project)
            .context(|| format!("cannot limit what is in {}", new.display())),
        // It has none, or the file system knows nothing of that.
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Lets go of a directory's limits, when it is going to be erased.
pub(super) fn lift(dir: &Path) {
    let lifted = File::open(dir).and_then(|file| match quota::project(&file)? {
        project if project >= FIRST => quota::limit(&file, project, Limits::default()),
        _ => Ok(()),
    });
    // A number that is still limited is not taken again: nothing is lost but the number.
    drop(lifted);
}

fn free_project(file: &File) -> std::io::Result<u32> {
    for _ in 0..TRIES {
        let mut bytes = [0; 4];
        getrandom(&mut bytes[..], GetRandomFlags::empty())?;
        let project = FIRST + u32::from_ne_bytes(bytes) % (u32::MAX / 2 - FIRST);
        if quota::is_free(file, project)? {
            return Ok(project);
        }
    }
    Err(std::io::Error::other("no number of a project is free"))
}

fn open(dir: &Path) -> Result<File> {
    File::open(dir).context(|| format!("cannot open {}", dir.display()))
}

fn not_here(dir: &Path, error: std::io::Error) -> Error {
    Error::new(
        Kind::Unsupported,
        format!("cannot limit the size of a volume: no project quota for {}", dir.display()),
    )
    .hint(
        "that takes root, and a store on xfs that is mounted with -o prjquota; \
         a volume in memory has a size anywhere: -o type=tmpfs -o device=tmpfs -o o=size=64m",
    )
    .caused_by(error)
}
