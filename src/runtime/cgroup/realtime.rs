//! Real-time processor time of version 1: a group can have only what the groups above it have to
//! spare, and new groups have none.

use std::fs;
use std::io;
use std::path::Path;

use super::write;

/// The file with the microseconds of real-time tasks in each period.
pub(super) const RUNTIME: &str = "cpu.rt_runtime_us";
/// The file with the length of such a period in microseconds.
const PERIOD: &str = "cpu.rt_period_us";

/// Gives the groups above a group what they need for it to have this much, in microseconds of its own
/// period. The top of the hierarchy has what the machine has; what lies between has none of its own.
pub(super) fn provide(group: &Path, runtime: u64) -> io::Result<()> {
    let mut wanted = Share { runtime, period: read(group, PERIOD)? };
    let mut grown = Vec::new();
    let mut below = group;
    while let Some(above) = below.parent().filter(|above| !is_top(above)) {
        let own = Share::of(above)?;
        let needed = own.part(wanted) + taken(above, below, own)?;
        if needed <= own.runtime {
            break;
        }
        grown.push((above, needed));
        wanted = Share { runtime: needed, period: own.period };
        below = above;
    }
    // From the top on: none may have more than what is above it.
    grown
        .into_iter()
        .rev()
        .try_for_each(|(dir, runtime)| write(&dir.join(RUNTIME), &runtime.to_string()))
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

/// Adds up what the groups directly below one have, but for one of them.
fn taken(above: &Path, but: &Path, own: Share) -> io::Result<u64> {
    let mut sum: u64 = 0;
    for entry in fs::read_dir(above)? {
        let entry = entry?;
        if !entry.file_type()?.is_dir() || entry.path() == but {
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
        group(&slice, 30_000, 500_000);
        group(&slice.join("other"), 20_000, 1_000_000);
        group(&new, 0, 250_000);
        // 10,000 of 500,000 are left of what `b` has, and 40,000 are asked for.
        provide(&new, 20_000).unwrap();
        let runtime = |dir: &Path| read(dir, RUNTIME).unwrap();
        assert_eq!(runtime(&slice), 50_000);
        assert_eq!(runtime(&top.join("a")), 100_000);
        assert_eq!(runtime(&top), 950_000);
        // What is there is enough.
        provide(&new, 20_000).unwrap();
        assert_eq!(runtime(&slice), 50_000);
    }
}
