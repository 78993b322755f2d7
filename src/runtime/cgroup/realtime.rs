//! Real-time processor time of version 1: a group can have only what the groups above it have to
//! spare, and new groups have none.
//!
//! What the groups above are given for one below is noted at them, and taken back when that one is gone:
//! what others have given them stays.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use rustix::fs::{FlockOperation, XattrFlags, flock};
use rustix::io::{Errno, retry_on_intr};

use super::write;

/// The file with the microseconds of real-time tasks in each period.
pub(super) const RUNTIME: &str = "cpu.rt_runtime_us";
/// The file with the length of such a period in microseconds.
const PERIOD: &str = "cpu.rt_period_us";
/// The attribute of a group that says how many microseconds it was given for groups below it.
const GIVEN: &str = "user.barge.realtime";

/// Gives a group so many microseconds of its own period, and the groups above what they need for that.
/// The top of the hierarchy has what the machine has; what lies between has none of its own.
pub(super) fn set(group: &Path, runtime: u64) -> io::Result<()> {
    let _alone = lock(group)?;
    provide(group, runtime)
        .and_then(|()| write(&group.join(RUNTIME), &runtime.to_string()))
        .inspect_err(|_| {
            // The failure to report is the first one.
            drop(take_back(group));
        })
}

/// Takes back what the groups above were given for a group that is about to be removed.
pub(super) fn give_back(group: &Path) -> io::Result<()> {
    // Most have never had any.
    match group.parent().map_or(Ok(0), given)? {
        0 => Ok(()),
        _ => {
            let _alone = lock(group)?;
            // What is removed counts for a while after that.
            match write(&group.join(RUNTIME), "0") {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => take_back(group),
            }
        }
    }
}

fn provide(group: &Path, runtime: u64) -> io::Result<()> {
    let mut wanted = Share { runtime, period: read(group, PERIOD)? };
    let mut grown = Vec::new();
    let mut below = group;
    while let Some(above) = below.parent().filter(|above| !is_top(above)) {
        let own = Share::of(above)?;
        let needed = own.part(wanted).saturating_add(taken(above, Some(below), own)?);
        if needed <= own.runtime {
            break;
        }
        grown.push((above, own.runtime, needed));
        wanted = Share { runtime: needed, period: own.period };
        below = above;
    }
    // From the top on: none may have more than what is above it.
    grown.into_iter().rev().try_for_each(|(dir, before, needed)| {
        write(&dir.join(RUNTIME), &needed.to_string())?;
        note(dir, given(dir)?.saturating_add(needed - before))
    })
}

fn take_back(group: &Path) -> io::Result<()> {
    let mut below = group;
    // From the bottom on, for the same reason.
    while let Some(above) = below.parent().filter(|above| !is_top(above)) {
        let given = given(above)?;
        let own = Share::of(above)?;
        let back = given.min(own.runtime.saturating_sub(taken(above, None, own)?));
        if back > 0 {
            write(&above.join(RUNTIME), &(own.runtime - back).to_string())?;
            note(above, given - back)?;
        }
        below = above;
    }
    Ok(())
}

/// Waits until no other process of ours changes what groups have.
fn lock(group: &Path) -> io::Result<File> {
    let top = group.ancestors().find(|dir| is_top(dir)).unwrap_or(group);
    let file = File::open(top)?;
    retry_on_intr(|| flock(&file, FlockOperation::LockExclusive))?;
    Ok(file)
}

/// Reads what a group was given.
fn given(dir: &Path) -> io::Result<u64> {
    let mut text = [0; 20];
    match rustix::fs::getxattr(dir, GIVEN, &mut text) {
        Ok(length) => {
            let number = std::str::from_utf8(&text[..length]).ok().and_then(|it| it.parse().ok());
            number.ok_or_else(|| io::ErrorKind::InvalidData.into())
        }
        // The kernel may have no attributes here, or the group is gone.
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::NOENT) => Ok(0),
        Err(error) => Err(error.into()),
    }
}

/// Notes what a group was given. Where that cannot be done, it keeps it.
fn note(dir: &Path, microseconds: u64) -> io::Result<()> {
    let text = microseconds.to_string();
    match rustix::fs::setxattr(dir, GIVEN, text.as_bytes(), XattrFlags::empty()) {
        Ok(()) | Err(Errno::OPNOTSUPP) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// So many microseconds in each period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Share {
    runtime: u64,
    period: u64,
}

impl Share {
    fn of(dir: &Path) -> io::Result<Self> {
        Ok(Self { runtime: read(dir, RUNTIME)?, period: read(dir, PERIOD)? })
    }

    /// Returns the microseconds of our period that another share is, and no less.
    fn part(self, other: Self) -> u64 {
        let exact = u128::from(other.runtime) * u128::from(self.period);
        u64::try_from(exact.div_ceil(u128::from(other.period.max(1)))).unwrap_or(u64::MAX)
    }
}

/// Adds up what the groups directly below one have, perhaps but for one of them.
fn taken(above: &Path, but: Option<&Path>, own: Share) -> io::Result<u64> {
    let mut sum: u64 = 0;
    for entry in fs::read_dir(above)? {
        let entry = entry?;
        if !entry.file_type()?.is_dir() || but == Some(&entry.path()) {
            continue;
        }
        match Share::of(&entry.path()) {
            Ok(share) => sum = sum.saturating_add(own.part(share)),
            // It has just gone.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(sum)
}

/// Tells whether a directory is the top of its hierarchy, or above that.
fn is_top(dir: &Path) -> bool {
    dir.parent().is_none_or(|above| !above.join(RUNTIME).exists())
}

/// Reads a number; less than 0 is without bound, which only the top can be.
fn read(dir: &Path, file: &str) -> io::Result<u64> {
    let text = fs::read_to_string(dir.join(file))?;
    let number: i64 = text.trim().parse().map_err(|_| io::ErrorKind::InvalidData)?;
    Ok(u64::try_from(number).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(dir: &Path, runtime: u64, period: u64) {
        fs::create_dir_all(dir).unwrap();
        fs::write(dir.join(RUNTIME), runtime.to_string()).unwrap();
        fs::write(dir.join(PERIOD), period.to_string()).unwrap();
    }

    #[test]
    fn the_groups_above_get_what_is_needed() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().join("cpu");
        let [slice, new] = ["a/b", "a/b/new"].map(|name| top.join(name));
        group(&top, 950_000, 1_000_000);
        group(&top.join("a"), 0, 1_000_000);
        group(&slice, 110_000, 500_000);
        group(&slice.join("other"), 200_000, 1_000_000);
        group(&new, 0, 250_000);
        // 10,000 of 110,000 are left of what `b` has, and 40,000 are asked for.
        set(&new, 20_000).unwrap();
        let runtime = |dir: &Path| read(dir, RUNTIME).unwrap();
        assert_eq!(runtime(&new), 20_000);
        assert_eq!(runtime(&slice), 140_000);
        assert_eq!(runtime(&top.join("a")), 280_000);
        assert_eq!(runtime(&top), 950_000);
        // What is there is enough.
        set(&new, 20_000).unwrap();
        assert_eq!(runtime(&slice), 140_000);
        // What they had before they keep.
        give_back(&new).unwrap();
        fs::remove_dir_all(&new).unwrap();
        give_back(&new).unwrap();
        assert_eq!(runtime(&slice), 110_000);
        assert_eq!(runtime(&top.join("a")), 220_000);
        assert_eq!(runtime(&top), 950_000);
    }
}
