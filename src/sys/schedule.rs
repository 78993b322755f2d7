//! When and where the kernel runs this process: scheduling, I/O priority, processors, memory nodes.
//!
//! All of it is the calling thread's, and is passed on to the program that the process becomes.

use std::io;

/// How a process is scheduled, as `struct sched_attr` of sched_setattr(2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Schedule {
    /// The size of this structure; [`set_schedule`] fills it in.
    pub size: u32,
    /// `SCHED_…`.
    pub policy: u32,
    /// `SCHED_FLAG_…`.
    pub flags: u64,
    /// For the usual policies.
    pub nice: i32,
    /// For the real-time policies.
    pub priority: u32,
    /// For deadlines, in nanoseconds.
    pub runtime: u64,
    /// For deadlines, in nanoseconds.
    pub deadline: u64,
    /// For deadlines, in nanoseconds.
    pub period: u64,
}

/// Sets how this process is scheduled.
pub fn set_schedule(schedule: &Schedule) -> io::Result<()> {
    let size = u32::try_from(size_of::<Schedule>()).map_err(io::Error::other)?;
    let schedule = Schedule { size, ..*schedule };
    // SAFETY: the structure has the size that it tells, and outlives the call; 0 is this thread.
    outcome(unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const schedule, 0) })
}

/// The bits that the class of an I/O priority begins at.
const IO_CLASS_SHIFT: u32 = 13;

/// Sets the class (1 real-time, 2 best effort, 3 idle) and the level of this process's I/O.
pub fn set_io_priority(class: u32, level: u32) -> io::Result<()> {
    const WHO_PROCESS: libc::c_int = 1;
    let priority = class << IO_CLASS_SHIFT | level;
    // SAFETY: plain numbers.
    outcome(unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, 0, priority) })
}

/// Sets the processors that this process may run on.
pub fn set_processors(numbers: &[u32]) -> io::Result<()> {
    let mask = bits(numbers);
    let size = size_of_val(mask.as_slice());
    // SAFETY: pointer and size belong to the same memory; 0 is this thread.
    outcome(unsafe { libc::syscall(libc::SYS_sched_setaffinity, 0, size, mask.as_ptr()) })
}

/// Sets where this process's memory comes from: `mode` is `MPOL_…` with `MPOL_F_…`.
pub fn set_memory_policy(mode: u32, nodes: &[u32]) -> io::Result<()> {
    let mask = bits(nodes);
    let (pointer, count) = match nodes {
        [] => (std::ptr::null(), 0),
        // The kernel takes the number of bits, and one more.
        _ => (mask.as_ptr(), mask.len() * 64 + 1),
    };
    // SAFETY: the mask has as many bits as are told, but for the one that is not looked at.
    outcome(unsafe { libc::syscall(libc::SYS_set_mempolicy, mode, pointer, count) })
}

/// Makes a set of bits of numbers, in the words that the kernel takes.
fn bits(numbers: &[u32]) -> Vec<u64> {
    let most = numbers.iter().max().map_or(0, |most| most / 64);
    let mut words = vec![0; most as usize + 1];
    for number in numbers {
        words[(number / 64) as usize] |= 1 << (number % 64);
    }
    words
}

fn outcome(result: libc::c_long) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn makes_sets_of_bits() {
        assert_eq!(bits(&[]), [0]);
        assert_eq!(bits(&[0, 3]), [0b1001]);
        assert_eq!(bits(&[64, 1]), [2, 1]);
    }
}
