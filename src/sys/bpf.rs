//! Programs for the kernel: system call filters (classic BPF) and device filters (extended BPF).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// The longest system call filter that the kernel takes, in instructions.
pub const FILTER_MAX: usize = 4096;

/// One instruction of a system call filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct FilterInstruction {
    /// Operation.
    pub code: u16,
    /// Instructions to skip if the comparison holds.
    pub jt: u8,
    /// Instructions to skip if it does not.
    pub jf: u8,
    /// Constant.
    pub k: u32,
}

/// How a system call filter is installed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FilterFlags {
    /// Log all actions but "allow".
    pub log: bool,
    /// Leave the mitigation of speculative store bypass as it is.
    pub speculation: bool,
    /// Give back a descriptor that gets the calls that are left to another process.
    pub listener: bool,
    /// Let fatal signals only interrupt a call that the other process has taken on.
    pub killable: bool,
}

/// Installs a filter for the calling thread and all that it will make, for good.
///
/// Needs either `no_new_privs` or CAP_SYS_ADMIN in the thread's user namespace. Allocates nothing, so
/// it may be called between fork and exec. Returns the listener if the flags ask for one.
pub fn install_filter(
    program: &[FilterInstruction],
    flags: FilterFlags,
) -> io::Result<Option<OwnedFd>> {
    let header = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?,
        filter: program.as_ptr().cast_mut().cast(),
    };
    let mut bits = 0;
    for (wanted, bit) in [
        (flags.log, libc::SECCOMP_FILTER_FLAG_LOG),
        (flags.speculation, libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW),
        (flags.listener, libc::SECCOMP_FILTER_FLAG_NEW_LISTENER),
        (flags.killable, libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV),
    ] {
        if wanted {
            bits |= bit;
        }
    }
    // SAFETY: the header and the program that it points to live as long as the call; the kernel only
    // reads them, and `FilterInstruction` has the layout of `sock_filter`.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::c_ulong::from(libc::SECCOMP_SET_MODE_FILTER),
            bits,
            &raw const header,
        )
    };
    match i32::try_from(result) {
        Ok(fd) if fd >= 0 && flags.listener => {
            // SAFETY: the kernel has just made this descriptor for us.
            Ok(Some(unsafe { OwnedFd::from_raw_fd(fd) }))
        }
        Ok(0) => Ok(None),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Tells whether the kernel can filter system calls.
pub fn has_filters() -> bool {
    let action = libc::SECCOMP_RET_ALLOW;
    // SAFETY: the kernel reads the action, which lives as long as the call, and changes nothing.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::c_ulong::from(libc::SECCOMP_GET_ACTION_AVAIL),
            0,
            &raw const action,
        )
    };
    result == 0
}

/// One instruction of a device filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct DeviceInstruction {
    /// Operation.
    pub code: u8,
    /// Destination register in the lower half, source register in the upper.
    pub registers: u8,
    /// Offset of a jump or of a memory access.
    pub offset: i16,
    /// Constant.
    pub immediate: i32,
}

const PROG_LOAD: libc::c_int = 5;
const PROG_ATTACH: libc::c_int = 8;
const PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_TYPE_CGROUP_DEVICE: u32 = 6;
/// Programs of the groups below are asked too, and all must agree.
const ALLOW_MULTI: u32 = 2;

/// The head of the arguments of `BPF_PROG_LOAD`.
#[repr(C)]
struct LoadArguments {
    program_type: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
}

/// The head of the arguments of `BPF_PROG_ATTACH`.
#[repr(C)]
struct AttachArguments {
    target: u32,
    program: u32,
    attach_type: u32,
    flags: u32,
}

fn bpf<T>(command: libc::c_int, arguments: &T) -> io::Result<libc::c_long> {
    // SAFETY: the arguments live as long as the call, the kernel reads no more than the given size, and
    // the commands used here write nothing back.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, &raw const *arguments, size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Loads a filter that decides which devices may be opened and made.
pub fn load_device_filter(program: &[DeviceInstruction]) -> io::Result<OwnedFd> {
    let license = c"Apache-2.0";
    let arguments = LoadArguments {
        program_type: PROG_TYPE_CGROUP_DEVICE,
        instruction_count: u32::try_from(program.len()).map_err(|_| io::ErrorKind::InvalidInput)?,
        instructions: program.as_ptr().expose_provenance() as u64,
        license: license.as_ptr().expose_provenance() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
        kernel_version: 0,
        flags: 0,
    };
    let fd = i32::try_from(bpf(PROG_LOAD, &arguments)?).map_err(|_| io::ErrorKind::InvalidData)?;
    // SAFETY: the kernel has just made this descriptor for us; it is close-on-exec from birth.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Makes a control group, given by its directory, obey a device filter for as long as it exists.
pub fn attach_device_filter(cgroup: impl AsFd, program: impl AsFd) -> io::Result<()> {
    let number = |fd: BorrowedFd<'_>| fd.as_raw_fd().unsigned_abs();
    let arguments = AttachArguments {
        target: number(cgroup.as_fd()),
        program: number(program.as_fd()),
        attach_type: ATTACH_TYPE_CGROUP_DEVICE,
        flags: ALLOW_MULTI,
    };
    bpf(PROG_ATTACH, &arguments).map(|_| ())
}
