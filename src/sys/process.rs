//! Facts about processes, and replacing our own by another program.

use std::convert::Infallible;
use std::ffi::{CStr, CString, OsStr};
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, WaitIdStatus};

/// Returns when a process started, in clock ticks since boot; `None` if there is no such process.
///
/// Together with the number this tells a process from a later one that got the same number.
pub fn start_time(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may contain anything.
    let fields = &stat[stat.rfind(')')? + 2..];
    fields.split(' ').nth(19)?.parse().ok()
}

/// Sets a variable of our environment, for us and for what we start. Only while there is one thread.
pub fn set_variable(name: &str, value: impl AsRef<OsStr>) -> io::Result<()> {
    super::clone::assert_single_threaded()?;
    // SAFETY: no other thread reads the environment meanwhile, as there is none.
    unsafe { std::env::set_var(name, value) };
    Ok(())
}

/// Tells whether a process is the one that started then, and has not ended.
///
/// One that has ended and waits for its parent to notice is no longer running.
pub fn is_running(pid: i32, started: u64) -> bool {
    // In this order: had the number changed hands before, the time differs now.
    let state = state(pid);
    start_time(pid) == Some(started) && !matches!(state, None | Some('Z' | 'X'))
}

/// The letter that tells what a process is doing.
fn state(pid: i32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat[stat.rfind(')')? + 2..].chars().next()
}

/// Opens a process if it is still the one that started then.
pub fn open(pid: i32, started: u64) -> io::Result<Option<OwnedFd>> {
    let Some(number) = Pid::from_raw(pid) else { return Ok(None) };
    let pidfd = match rustix::process::pidfd_open(number, PidfdFlags::empty()) {
        Ok(pidfd) => pidfd,
        Err(rustix::io::Errno::SRCH) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    // In this order: had the number changed hands before, the time differs now.
    Ok((start_time(pid) == Some(started)).then_some(pidfd))
}

/// Returns the number that a process has in /proc, whichever process namespace that shows.
pub fn number_in_proc(process: BorrowedFd<'_>) -> io::Result<i32> {
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{}", process.as_raw_fd()))?;
    let number = text.lines().find_map(|line| line.strip_prefix("Pid:"));
    number
        .and_then(|number| number.trim().parse().ok())
        .filter(|number| *number > 0)
        .ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// Opens the root directory of a process, only to hold it.
pub fn root(pid: i32) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(format!("/proc/{pid}/root"), flags, Mode::empty())?)
}

/// Returns the ID of this boot of the machine.
pub fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim_end().to_owned())
}

/// How a process ended, as shells tell it: its exit code, or 128 and the signal.
pub fn exit_code(status: &WaitIdStatus) -> i32 {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => code,
        (_, Some(signal)) => 128 + signal,
        _ => 255,
    }
}

/// Waits for a child process to end and returns how, as [`exit_code`] tells it.
pub fn wait(child: BorrowedFd<'_>) -> io::Result<i32> {
    loop {
        match rustix::process::waitid(WaitId::PidFd(child), WaitIdOptions::EXITED) {
            Ok(Some(status)) => return Ok(exit_code(&status)),
            Ok(None) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Waits for all children that have ended, without waiting for others.
pub fn reap_ended() {
    use rustix::process::{WaitOptions, wait};
    while matches!(wait(WaitOptions::NOHANG), Ok(Some(_)) | Err(rustix::io::Errno::INTR)) {}
}

/// Waits until there are no children.
pub fn wait_for_all() {
    use rustix::process::{WaitOptions, wait};
    while matches!(wait(WaitOptions::empty()), Ok(_) | Err(rustix::io::Errno::INTR)) {}
}

/// Returns a child that has ended and that nobody has waited for yet; it stays for who does.
pub fn ended_child() -> io::Result<Option<i32>> {
    // SAFETY: all zeroes is a valid value of this plain structure.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: the structure is whole and outlives the call.
    if unsafe { libc::waitid(libc::P_ALL, 0, &raw mut info, options) } != 0 {
        return match io::Error::last_os_error() {
            error if error.raw_os_error() == Some(libc::ECHILD) => Ok(None),
            error => Err(error),
        };
    }
    // SAFETY: it is what waitid has filled in, or all zeroes if there was none.
    let pid = unsafe { info.si_pid() };
    Ok((pid != 0).then_some(pid))
}

/// Takes note of the end of a child that has ended, so that nothing is left of it.
pub fn reap(pid: i32) -> io::Result<()> {
    let Some(number) = Pid::from_raw(pid) else { return Ok(()) };
    rustix::process::waitid(WaitId::Pid(number), WaitIdOptions::EXITED)?;
    Ok(())
}

/// Sends a signal to a process.
pub fn send_signal(process: impl AsFd, signal: i32) -> io::Result<()> {
    // SAFETY: the descriptor lives as long as the call, and a null pointer means: no further facts.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            process.as_fd().as_raw_fd(),
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Words in the form that exec takes: made before a fork, used after it.
#[derive(Debug)]
pub struct Words(Vec<CString>);

impl Words {
    /// Converts words; one with a zero byte is refused.
    pub fn new<S: AsRef<[u8]>>(words: impl IntoIterator<Item = S>) -> io::Result<Self> {
        let words = words.into_iter().map(|word| CString::new(word.as_ref()));
        Ok(Self(words.collect::<Result<_, _>>().map_err(io::Error::other)?))
    }

    fn pointers(&self) -> Vec<*const libc::c_char> {
        self.0.iter().map(|word| word.as_ptr()).chain([std::ptr::null()]).collect()
    }
}

/// Replaces this process by the program at `path`. Returns only on failure.
pub fn exec(path: &CStr, args: &Words, env: &Words) -> io::Result<Infallible> {
    let (args, env) = (args.pointers(), env.pointers());
    // SAFETY: both lists end with a null pointer, and all strings outlive the call.
    unsafe { libc::execve(path.as_ptr(), args.as_ptr(), env.as_ptr()) };
    Err(io::Error::last_os_error())
}

/// Replaces this process by the program in an open file. Returns only on failure.
pub fn exec_file(file: BorrowedFd<'_>, args: &Words, env: &Words) -> io::Result<Infallible> {
    let (args, env) = (args.pointers(), env.pointers());
    // SAFETY: both lists end with a null pointer, all strings and the descriptor outlive the call.
    unsafe {
        libc::execveat(
            file.as_raw_fd(),
            c"".as_ptr(),
            args.as_ptr().cast(),
            env.as_ptr().cast(),
            libc::AT_EMPTY_PATH,
        )
    };
    Err(io::Error::last_os_error())
}

/// Makes `target` (0, 1, 2, …) refer to the same open file as `file`, to be kept over exec.
pub fn redirect(file: BorrowedFd<'_>, target: i32) -> io::Result<()> {
    if file.as_raw_fd() == target {
        rustix::io::fcntl_setfd(file, rustix::io::FdFlags::empty())?;
        return Ok(());
    }
    // SAFETY: no memory is involved; the callers are about to exec or have just started, and nobody
    // else owns the low numbers that they replace.
    match unsafe { libc::dup2(file.as_raw_fd(), target) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Takes over a descriptor that the parent process has put under this number.
pub fn inherited(number: i32) -> io::Result<OwnedFd> {
    use std::os::fd::FromRawFd;
    // SAFETY: the number is only looked at; a closed one is reported as an error.
    let file = unsafe { BorrowedFd::borrow_raw(number) };
    rustix::io::fcntl_setfd(file, rustix::io::FdFlags::CLOEXEC)?;
    // SAFETY: it is open, and by the agreement with the parent process it is ours alone.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// A descriptor that the user has passed to us, and wants passed on under the same number.
#[derive(Debug)]
pub struct Passed {
    /// The number.
    pub number: i32,
    /// The descriptor.
    pub file: OwnedFd,
}

/// Takes over a descriptor that whoever started us has passed on; `None` if there is none.
///
/// It is told from our own by the mark that they are all born with: they are closed at exec.
pub fn passed(number: i32) -> Option<Passed> {
    // SAFETY: the number is only looked at; a closed one is reported as an error.
    let file = unsafe { BorrowedFd::borrow_raw(number) };
    let flags = rustix::io::fcntl_getfd(file).ok()?;
    if flags.contains(rustix::io::FdFlags::CLOEXEC) {
        return None;
    }
    Some(Passed { number, file: inherited(number).ok()? })
}

/// Marks all descriptors from this number on as closed at exec.
pub fn close_from_at_exec(first: u32) -> io::Result<()> {
    close_range(first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC)
}

/// Closes all descriptors from this number on: only for a process that will run no destructors.
pub fn close_from(first: u32) -> io::Result<()> {
    close_range(first, u32::MAX, 0)
}

/// Closes one number, whether it is open or not: only for a process that will run no destructors.
pub fn close_number(number: i32) -> io::Result<()> {
    close_range(number.unsigned_abs(), number.unsigned_abs(), 0)
}

fn close_range(first: u32, last: u32, flags: u32) -> io::Result<()> {
    // SAFETY: no memory is involved; the callers own all descriptors of the range.
    match unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Sets a process attribute by prctl(2) that takes one number.
fn prctl(option: i32, value: libc::c_ulong) -> io::Result<()> {
    // SAFETY: the options used in this file take plain numbers.
    match unsafe { libc::prctl(option, value, 0, 0, 0) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Makes orphaned descendants children of this process.
pub fn become_subreaper() -> io::Result<()> {
    prctl(libc::PR_SET_CHILD_SUBREAPER, 1)
}

/// Lets this process be killed when its parent ends.
pub fn die_with_parent() -> io::Result<()> {
    prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong)
}

/// Takes [`die_with_parent`] back.
pub fn outlive_parent() -> io::Result<()> {
    prctl(libc::PR_SET_PDEATHSIG, 0)
}

/// Keeps other processes of the same user from looking into this one.
pub fn hide() -> io::Result<()> {
    prctl(libc::PR_SET_DUMPABLE, 0)
}

/// Gives this process a keyring of its own for a session's keys, in place of the one that it shares
/// with who started it.
pub fn new_session_keyring() -> io::Result<()> {
    let none = std::ptr::null::<libc::c_char>();
    let operation = libc::c_long::from(libc::KEYCTL_JOIN_SESSION_KEYRING);
    // SAFETY: a null pointer asks for a keyring without a name; nothing else is passed.
    match unsafe { libc::syscall(libc::SYS_keyctl, operation, none) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Keeps set-user-ID programs from gaining anything, for good.
pub fn no_new_privileges() -> io::Result<()> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1)
}

/// Gives this process another name in `ps` and the like; 15 bytes at most.
pub fn set_name(name: &CStr) -> io::Result<()> {
    // SAFETY: the string ends with a zero byte and outlives the call.
    match unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr(), 0, 0, 0) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Replaces the words with which this process was started, as `ps` and the like show them.
///
/// They lie in memory that belongs to nobody else; what does not fit is cut off.
pub fn set_command_line(text: &[u8]) -> io::Result<()> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rfind(')').map_or("", |end| &stat[end + 2..]);
    let field = |number: usize| fields.split(' ').nth(number - 3)?.parse::<usize>().ok();
    // Where the words begin and end: fields 48 and 49 of proc_pid_stat(5).
    let (Some(start), Some(end)) = (field(48), field(49)) else {
        return Err(io::ErrorKind::Unsupported.into());
    };
    if start == 0 || end <= start {
        return Err(io::ErrorKind::Unsupported.into());
    }
    // SAFETY: the kernel put the words there at exec, in writable memory of the stack. What the
    // standard library takes from them it copies, and this process's only thread is here.
    let words = unsafe { std::slice::from_raw_parts_mut(start as *mut u8, end - start) };
    let length = text.len().min(words.len() - 1);
    words[..length].copy_from_slice(&text[..length]);
    words[length..].fill(0);
    Ok(())
}

/// Gives memory that was freed back to the machine, as far as the allocator can.
pub fn forget_free_memory() {
    // SAFETY: it has no preconditions.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Gives back the memory of our own program's code and constants; what is needed of it again is read
/// again.
///
/// For a process that has done most of what it will ever do, and stays for long.
pub fn forget_code() -> io::Result<()> {
    let maps = fs::read_to_string("/proc/self/smaps")?;
    let mut range = None;
    for line in maps.lines() {
        if let Some(found) = as_written(line) {
            range = found;
            continue;
        }
        // What was written to while it was being loaded, as tables of addresses are, has copies of
        // its own that are nowhere else.
        let (Some((start, end)), Some("0 kB")) =
            (range, line.strip_prefix("Anonymous:").map(str::trim))
        else {
            continue;
        };
        // SAFETY: the range is of a file, is not writable, and has no pages that differ from the
        // file: they are mapped anew from there, with the same content, when they are used.
        let result =
            unsafe { libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_DONTNEED) };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Tells, of the first line about a mapping, where it is if it is of a file and cannot be written to;
/// of other lines, nothing.
fn as_written(line: &str) -> Option<Option<(usize, usize)>> {
    let mut words = line.split_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let number = |text| usize::from_str_radix(text, 16).ok();
    let (start, end) = (number(start)?, number(end)?);
    let is_constant = matches!(words.next()?, "r-xp" | "r--p");
    // The kernel's own page of code has no file.
    let device = words.nth(1)?;
    Some((is_constant && device != "00:00").then_some((start, end)))
}

/// The personality of a machine as it is, for [`set_personality`].
pub const PER_LINUX: libc::c_ulong = 0;
/// The personality of a machine of 32 bits.
pub const PER_LINUX32: libc::c_ulong = 8;

/// Sets which system the kernel plays to this process and those that it becomes and makes.
pub fn set_personality(number: libc::c_ulong) -> io::Result<()> {
    // SAFETY: a plain number.
    match unsafe { libc::personality(number) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Replaces user and groups of this process: all of real, effective and saved.
///
/// The kernel interface is per thread; the only thread is ours (see `sys::clone`).
pub fn become_user(uid: u32, gid: u32, groups: Option<&[u32]>) -> io::Result<()> {
    if let Some(groups) = groups {
        // SAFETY: the pointer and the length belong to the same slice.
        if unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) } != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    // SAFETY: plain numbers.
    if unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: plain numbers.
    match unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Sets one rlimit of this process.
pub fn set_rlimit(resource: u32, soft: u64, hard: u64) -> io::Result<()> {
    let limit = libc::rlimit { rlim_cur: soft, rlim_max: hard };
    // SAFETY: the pointer refers to a whole structure that outlives the call.
    match unsafe { libc::setrlimit(resource, &raw const limit) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Lets this process have as many files open as it may; returns how many it could before.
pub fn raise_open_files() -> io::Result<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let before = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: before.maximum, ..before })?;
    Ok(before.current.unwrap_or(u64::MAX))
}

/// Sets how many files this process may have open, up to what is possible.
pub fn limit_open_files(count: u64) -> io::Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let before = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: Some(count), ..before })?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_on_after_it_has_forgotten_its_code() {
        const TABLE: [&str; 3] = ["a", "b", "c"];
        forget_code().unwrap();
        // Constants, and a table of their addresses.
        assert_eq!(TABLE.map(str::len), [1; 3]);
        assert_eq!(format!("{:?}", std::hint::black_box(&TABLE)), r#"["a", "b", "c"]"#);
    }

    #[test]
    fn finds_what_cannot_be_written_to() {
        for (line, want) in [
            ("1000-2000 r-xp 00000000 fe:01 12 /x", Some(Some((0x1000, 0x2000)))),
            ("1000-2000 r--p 00000000 00:01 12 /memfd:x (deleted)", Some(Some((0x1000, 0x2000)))),
            ("1000-2000 rw-p 00000000 fe:01 12 /x", Some(None)),
            ("1000-2000 r-xp 00000000 00:00 0 [vdso]", Some(None)),
            ("Anonymous:             0 kB", None),
            ("VmFlags: rd ex mr mw me", None),
        ] {
            assert_eq!(as_written(line), want, "{line}");
        }
    }

    #[test]
    fn knows_its_own_start_time() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let started = start_time(pid).unwrap();
        assert!(started > 0);
        assert!(open(pid, started).unwrap().is_some());
        assert!(open(pid, started + 1).unwrap().is_none());
        assert!(open(i32::MAX, 0).unwrap().is_none());
    }
}
