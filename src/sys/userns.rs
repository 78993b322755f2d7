//! User namespaces: entering one of our own, with the IDs that the system gave this user.

use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Command, Stdio};

use nix::sched::{CloneFlags, setns, unshare};

use super::clone;
use super::process;
use super::socket;

/// A range of IDs of the parent namespace that appear here from `inside` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdRange {
    /// First ID inside.
    pub inside: u32,
    /// First ID outside.
    pub outside: u32,
    /// How many.
    pub count: u32,
}

impl IdRange {
    /// Root alone, which stands for this ID.
    pub fn root(outside: u32) -> Self {
        Self { inside: 0, outside, count: 1 }
    }
}

/// Tells whether this process is in the machine's initial user namespace.
pub fn is_initial() -> bool {
    match fs::read_to_string("/proc/self/uid_map") {
        Ok(map) => map.split_whitespace().eq(["0", "0", "4294967295"]),
        // Without /proc there are no namespaces to speak of.
        Err(_) => true,
    }
}

/// Enters the user namespace of a process of the same user.
pub fn join(process: BorrowedFd<'_>) -> io::Result<()> {
    Ok(setns(process, CloneFlags::CLONE_NEWUSER)?)
}

/// Gives this process mounts of its own; those of the machine still arrive.
pub fn own_mounts() -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    let flags = nix::mount::MsFlags::MS_REC | nix::mount::MsFlags::MS_SLAVE;
    Ok(nix::mount::mount(None::<&str>, "/", None::<&str>, flags, None::<&str>)?)
}

/// Enters a new user namespace in which only this user and group exist, under these IDs.
pub fn enter_alone(uid: IdRange, gid: IdRange) -> io::Result<()> {
    unshare(CloneFlags::CLONE_NEWUSER)?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{} {} 1", uid.inside, uid.outside))?;
    fs::write("/proc/self/gid_map", format!("{} {} 1", gid.inside, gid.outside))
}

/// Enters a new user namespace with these IDs, by means of newuidmap and newgidmap.
///
/// These two may write more than one ID because they are set-user-ID programs; they must be run
/// from outside the new namespace, so a child is left behind to do that.
pub fn enter_mapped(uids: &[IdRange], gids: &[IdRange]) -> io::Result<()> {
    let (ours, theirs) = socket::pair(rustix::net::SocketType::STREAM)?;
    let parent = std::process::id();
    let child = clone::fork(|| {
        // It has copies of all that the parent holds, locks among them: it must not outlive it.
        let tied = process::die_with_parent();
        if tied.is_err() || std::os::unix::process::parent_id() != parent {
            clone::exit_now(1);
        }
        let mut ours = fs::File::from(theirs);
        let mut go = [0];
        let told = ours.read_exact(&mut go).and_then(|()| {
            write_map("newuidmap", parent, uids).and_then(|()| write_map("newgidmap", parent, gids))
        });
        if let Err(error) = told {
            drop(ours.write_all(error.to_string().as_bytes()));
            clone::exit_now(1);
        }
        clone::exit_now(0)
    })?;
    let entered = unshare(CloneFlags::CLONE_NEWUSER).map_err(io::Error::from);
    let mut ours = fs::File::from(ours);
    if entered.is_ok() {
        ours.write_all(&[1])?;
    }
    rustix::net::shutdown(&ours, rustix::net::Shutdown::Write)?;
    let mut text = String::new();
    if process::wait(child.pidfd.as_fd())? != 0 {
        ours.read_to_string(&mut text)?;
    }
    entered?;
    if text.is_empty() { Ok(()) } else { Err(io::Error::other(text)) }
}

/// Makes a user namespace with these IDs of ours, and nobody in it.
pub fn make(uids: &[IdRange], gids: &[IdRange]) -> io::Result<OwnedFd> {
    let (ours, theirs) = socket::pair(rustix::net::SocketType::STREAM)?;
    // It only is there: the namespace needs somebody in it until it is opened.
    let child = clone::clone3(libc::CLONE_NEWUSER, None, || {
        let mut theirs = fs::File::from(theirs);
        let _end = theirs.read(&mut [0]);
        clone::exit_now(0)
    })?;
    let text = |ranges: &[IdRange], own: &str| -> io::Result<String> {
        let ranges = split(ranges, &fs::read_to_string(own)?).into_iter();
        let line = |range: IdRange| format!("{} {} {}\n", range.inside, range.outside, range.count);
        Ok(ranges.map(line).collect())
    };
    // In a new process namespace, /proc may still be the one around it, with other numbers.
    let number = process::number_in_proc(child.pidfd.as_fd());
    let path = |pid: i32, name: &str| format!("/proc/{pid}/{name}");
    let made = number.and_then(|pid| {
        fs::write(path(pid, "uid_map"), text(uids, "/proc/self/uid_map")?)?;
        fs::write(path(pid, "gid_map"), text(gids, "/proc/self/gid_map")?)?;
        fs::File::open(path(pid, "ns/user"))
    });
    drop(ours);
    process::send_signal(&child.pidfd, libc::SIGKILL)?;
    process::wait(child.pidfd.as_fd())?;
    made.map(OwnedFd::from)
}

/// Splits ranges at the borders of those that our own namespace has, in the form of /proc/self/uid_map: the
/// kernel maps no range that crosses one.
fn split(ranges: &[IdRange], own: &str) -> Vec<IdRange> {
    let own: Vec<(u32, u32)> = own
        .lines()
        .filter_map(|line| {
            let mut numbers = line.split_whitespace().map(|number| number.parse().ok());
            Some((numbers.next()??, numbers.nth(1)??))
        })
        .collect();
    let mut parts = Vec::new();
    for range in ranges {
        let mut left = *range;
        while left.count > 0 {
            let offset = |(first, count): &(u32, u32)| {
                left.outside.checked_sub(*first).filter(|offset| offset < count)
            };
            let room = own.iter().find_map(|own| offset(own).map(|offset| own.1 - offset));
            // What is not ours is for the kernel to refuse.
            let count = room.unwrap_or(left.count).min(left.count);
            parts.push(IdRange { count, ..left });
            left.inside = left.inside.saturating_add(count);
            left.outside = left.outside.saturating_add(count);
            left.count -= count;
        }
    }
    parts
}

fn write_map(program: &str, pid: u32, ranges: &[IdRange]) -> io::Result<()> {
    let numbers = ranges
        .iter()
        .flat_map(|range| [range.inside, range.outside, range.count])
        .map(|number| number.to_string());
    let output = Command::new(program)
        .arg(pid.to_string())
        .args(numbers)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| io::Error::new(error.kind(), format!("cannot run {program}: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{program}: {}", text.trim())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_cross_no_border_of_our_own() {
        let range = |(inside, outside, count)| IdRange { inside, outside, count };
        let own = "         0       1001          1\n         1     100000      65536\n";
        for (asked, want) in [
            (&[(0, 0, 1)][..], &[(0, 0, 1)][..]),
            (&[(0, 0, 5000)], &[(0, 0, 1), (1, 1, 4999)]),
            (&[(7, 0, 2), (0, 5, 7)], &[(7, 0, 1), (8, 1, 1), (0, 5, 7)]),
            // Not all of it is ours.
            (&[(0, 65000, 1000)], &[(0, 65000, 537), (537, 65537, 463)]),
        ] {
            let asked: Vec<IdRange> = asked.iter().copied().map(range).collect();
            let got = split(&asked, own);
            let got: Vec<_> = got.iter().map(|it| (it.inside, it.outside, it.count)).collect();
            assert_eq!(got, want);
        }
        let all = [range((0, 0, u32::MAX))];
        assert_eq!(split(&all, "0 0 4294967295\n").len(), 1);
    }
}
