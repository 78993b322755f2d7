//! Which descriptors go into a container: all others are closed, and those that stay have their numbers.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use super::channel::Channel;
use crate::sys::process::{self, Passed};

/// The number under which the channel is kept while other descriptors are closed.
const CHANNEL: i32 = 3;

/// What is kept beside the channel: a gate, an agent.
type More<T> = [Option<T>; 2];

/// Closes every descriptor but the standard ones, those that the user passes on, the channel, and
/// what is to be kept beside it.
pub(super) fn keep_channel(
    channel: &Channel,
    more: More<BorrowedFd<'_>>,
    files: &[Passed],
) -> std::io::Result<(Channel, More<OwnedFd>)> {
    if !files.is_empty() || more.iter().any(Option::is_some) {
        return keep_files(channel, more, files);
    }
    if channel.as_fd().as_raw_fd() != CHANNEL {
        process::redirect(channel.as_fd(), CHANNEL)?;
    }
    process::close_from(CHANNEL.unsigned_abs() + 1)?;
    Ok((Channel::from_fd(process::inherited(CHANNEL)?), [None, None]))
}

/// Puts what the user passes on under its numbers, and the channel and more behind.
fn keep_files(
    channel: &Channel,
    more: More<BorrowedFd<'_>>,
    files: &[Passed],
) -> std::io::Result<(Channel, More<OwnedFd>)> {
    let behind = files.iter().map(|it| it.number + 1).fold(CHANNEL, i32::max);
    // Out of the way of all numbers that are about to be replaced.
    let high = |file: BorrowedFd<'_>| rustix::io::fcntl_dupfd_cloexec(file, behind + 3);
    let moved_channel = high(channel.as_fd())?;
    let [first, second] = more.map(|file| file.map(high).transpose());
    let moved_more = [first?, second?];
    let moved: Vec<OwnedFd> =
        files.iter().map(|it| high(it.file.as_fd())).collect::<Result<_, _>>()?;
    for number in CHANNEL..behind {
        match files.iter().position(|it| it.number == number) {
            Some(index) => process::redirect(moved[index].as_fd(), number)?,
            None => process::close_number(number)?,
        }
    }
    process::redirect(moved_channel.as_fd(), behind)?;
    for (file, number) in moved_more.iter().zip(behind + 1..) {
        match file {
            Some(file) => process::redirect(file.as_fd(), number)?,
            None => process::close_number(number)?,
        }
    }
    let kept = moved_more.map(|file| file.is_some());
    drop((moved_channel, moved));
    process::close_from(behind.unsigned_abs() + 3)?;
    let take = |index, number| match kept[index] {
        true => process::inherited(number).map(Some),
        false => Ok(None),
    };
    let more = [take(0, behind + 1)?, take(1, behind + 2)?];
    Ok((Channel::from_fd(process::inherited(behind)?), more))
}
