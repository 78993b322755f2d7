//! What differs between processor architectures: names and numbers of system calls.

mod syscalls;

use syscalls::{NO, SYSCALLS};

/// The name of a system call, padded with zeros, eight letters to a number.
///
/// It is stored in place, not as a `&str`: half a thousand pointers would have to be relocated each
/// time that barge starts. Numbers because a profile has hundreds of names to look up, and most differ
/// in the first eight letters.
type Name = [u64; 4];

/// A system call: its name and its number on each architecture.
struct Syscall {
    name: Name,
    numbers: [u32; 5],
}

/// Packs a name; `None` if it is too long to be one.
const fn pack(name: &str) -> Option<Name> {
    let bytes = name.as_bytes();
    let mut packed = [0; 4];
    let mut at = 0;
    while at < bytes.len() {
        if at == 32 {
            return None;
        }
        // The cast widens: `from` is not to be had in a constant.
        packed[at / 8] |= (bytes[at] as u64) << (56 - 8 * (at % 8));
        at += 1;
    }
    Some(packed)
}

/// A set of system call numbers and a calling convention, as system call filters see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arch {
    /// 64-bit x86.
    X86_64,
    /// 32-bit x86.
    X86,
    /// 64-bit x86 with 32-bit pointers; shares the audit value of [`Arch::X86_64`].
    X32,
    /// 64-bit ARM.
    Aarch64,
    /// 32-bit ARM with the embedded application binary interface.
    Arm,
}

/// Set in the number of each x32 call.
pub const X32_BIT: u32 = 0x4000_0000;

impl Arch {
    /// The architecture that barge was compiled for.
    pub const NATIVE: Self = if cfg!(target_arch = "x86_64") {
        Self::X86_64
    } else if cfg!(target_arch = "aarch64") {
        Self::Aarch64
    } else {
        panic!("barge runs on x86_64 and aarch64 only")
    };

    /// Returns the architectures whose programs the kernel may also run on this one.
    pub fn companions(self) -> &'static [Self] {
        match self {
            Self::X86_64 => &[Self::X86, Self::X32],
            Self::Aarch64 => &[Self::Arm],
            _ => &[],
        }
    }

    /// Returns what the kernel reports as the architecture of a call.
    pub fn audit(self) -> u32 {
        match self {
            Self::X86_64 | Self::X32 => 0xc000_003e,
            Self::X86 => 0x4000_0003,
            Self::Aarch64 => 0xc000_00b7,
            Self::Arm => 0x4000_0028,
        }
    }

    /// Tells whether arguments are 32 bits wide: the kernel reports the upper half as zero.
    pub fn is_narrow(self) -> bool {
        matches!(self, Self::X86 | Self::Arm)
    }

    /// Tells whether new calls are added after this number.
    ///
    /// The other numbers are in areas of their own: x32's variants of old calls, ARM's private calls.
    pub fn is_in_sequence(self, number: u32) -> bool {
        match self {
            Self::X32 => number & !X32_BIT < 512,
            Self::Arm => number < 0xf_0000,
            _ => true,
        }
    }

    /// Returns the call and its first argument by which old 32-bit x86 programs make another call.
    pub fn multiplexed(self, name: &str) -> Option<(Numbers, u32)> {
        if self != Self::X86 {
            return None;
        }
        let find = |names: &[&str]| names.iter().position(|known| *known == name);
        let (call, at) = match find(&SOCKETCALL) {
            Some(at) => ("socketcall", at),
            None => ("ipc", find(&IPC)?),
        };
        Some((syscall(call)?, u32::try_from(at).ok()? + 1))
    }
}

/// What `socketcall` does by its first argument, from 1.
const SOCKETCALL: [&str; 20] = [
    "socket",
    "bind",
    "connect",
    "listen",
    "accept",
    "getsockname",
    "getpeername",
    "socketpair",
    "send",
    "recv",
    "sendto",
    "recvfrom",
    "shutdown",
    "setsockopt",
    "getsockopt",
    "sendmsg",
    "recvmsg",
    "accept4",
    "recvmmsg",
    "sendmmsg",
];

/// What `ipc` does by its first argument, from 1; the numbers of semaphores, messages and shared
/// memory begin at full tens.
const IPC: [&str; 24] = [
    "semop",
    "semget",
    "semctl",
    "semtimedop",
    "",
    "",
    "",
    "",
    "",
    "",
    "msgsnd",
    "msgrcv",
    "msgget",
    "msgctl",
    "",
    "",
    "",
    "",
    "",
    "",
    "shmat",
    "shmdt",
    "shmget",
    "shmctl",
];

/// The numbers of one system call on each architecture.
#[derive(Clone, Copy, Debug)]
pub struct Numbers(&'static [u32; 5]);

impl Numbers {
    /// Returns the number on one architecture, if that has the call.
    pub fn on(self, arch: Arch) -> Option<u32> {
        let number = self.0[arch as usize];
        match arch {
            _ if number == NO => None,
            Arch::X32 => Some(number | X32_BIT),
            _ => Some(number),
        }
    }
}

/// Returns the numbers of a system call, if any supported architecture has one of that name.
pub fn syscall(name: &str) -> Option<Numbers> {
    let key = pack(name)?;
    let found = SYSCALLS.binary_search_by(|entry| entry.name.cmp(&key)).ok()?;
    Some(Numbers(&SYSCALLS[found].numbers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_unique() {
        assert!(SYSCALLS.is_sorted_by(|a, b| a.name < b.name));
    }

    #[test]
    fn knows_the_numbers() {
        use Arch::{Aarch64, Arm, X32, X86, X86_64};
        for (name, arch, number) in [
            ("read", X86_64, Some(0)),
            ("read", X86, Some(3)),
            ("read", X32, Some(X32_BIT)),
            ("read", Aarch64, Some(63)),
            ("read", Arm, Some(3)),
            ("open", X86_64, Some(2)),
            ("open", Aarch64, None),
            ("clone3", X86_64, Some(435)),
            ("mseal", X86_64, Some(462)),
            ("open_tree_attr", Aarch64, Some(467)),
            ("ioctl", X32, Some(X32_BIT | 514)),
            ("socketcall", X86, Some(102)),
            ("socketcall", X86_64, None),
            ("set_tls", Arm, Some(0xf0005)),
        ] {
            assert_eq!(syscall(name).and_then(|call| call.on(arch)), number, "{name} {arch:?}");
        }
        for name in ["", "no_such_call", "a_name_that_is_longer_than_any_system_call_has"] {
            assert!(syscall(name).is_none(), "{name}");
        }
    }

    #[test]
    fn agrees_with_the_c_library() {
        for (name, number) in [
            ("getpid", libc::SYS_getpid),
            ("seccomp", libc::SYS_seccomp),
            ("execveat", libc::SYS_execveat),
            ("openat2", libc::SYS_openat2),
            ("pidfd_getfd", libc::SYS_pidfd_getfd),
        ] {
            let known = syscall(name).and_then(|call| call.on(Arch::NATIVE));
            assert_eq!(known.map(i64::from), Some(number), "{name}");
        }
    }
}
