//! System call filters: from a profile to a program for the kernel.
//!
//! [`profile`] turns Docker's conditional form into the OCI's plain one, [`compile`] turns that into
//! classic BPF. What it means follows libseccomp, which Docker and Podman use, so that a profile does
//! here what it does there:
//!
//! - A rule without conditions decides about its call, whatever rules with conditions say. Of several
//!   such rules the first counts. Otherwise the first rule whose conditions all hold decides.
//! - A rule with two conditions on the same argument stands for one rule for each condition.
//! - A rule that says what would happen anyway is as if it were not there.
//! - A call that is newer than all that the profile names gets `ENOSYS` where the profile would refuse
//!   it, so that programs fall back to what they did before; with `EPERM` they would give up.
//! - A call by an architecture that the profile does not list ends the process.

mod agent;
mod assemble;
mod calls;
pub mod profile;

use std::io;
use std::os::fd::OwnedFd;

use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompAction, LinuxSeccompFilterFlag, LinuxSyscall};
use serde_json::Value;

use crate::error::{Error, Kind, Result};
use crate::sys::bpf::{FILTER_MAX, FilterFlags, FilterInstruction, install_filter};

pub(super) use agent::Agent;
pub use profile::{default_profile, load};

use agent::Listener;

/// A compiled system call filter.
#[derive(Clone, Debug)]
pub struct Filter {
    program: Vec<FilterInstruction>,
    flags: FilterFlags,
    /// Who decides about calls that are left to another process.
    listener: Option<Listener>,
}

impl Filter {
    /// How long [`to_bytes`](Self::to_bytes) may be.
    pub(super) const MOST_BYTES: usize = 1 + FILTER_MAX * size_of::<FilterInstruction>();

    /// Installs the filter for the calling thread and all that it will make, for good.
    ///
    /// Needs either `no_new_privs` or CAP_SYS_ADMIN in the thread's user namespace. Allocates nothing.
    /// Returns the listener if the profile leaves calls to another process.
    pub fn install(&self) -> io::Result<Option<OwnedFd>> {
        install_filter(&self.program, self.flags)
    }

    /// Tells whether it leaves calls to another process.
    pub(super) fn has_listener(&self) -> bool {
        self.listener.is_some()
    }

    /// Connects to who decides about calls that the filter leaves to another process, if it does.
    ///
    /// The process has this number in `state`, the container's in the OCI's words.
    pub(super) fn agent(&self, pid: i32, state: &Value) -> Result<Option<Agent>> {
        self.listener.as_ref().map(|listener| listener.connect(pid, state)).transpose()
    }

    /// Writes it for another process of ours. Its agent stays behind: there must be none.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        debug_assert!(self.listener.is_none(), "an agent cannot be passed on");
        let flags = u8::from(self.flags.log) | u8::from(self.flags.speculation) << 1;
        let mut bytes = vec![flags];
        for step in &self.program {
            bytes.extend(step.code.to_ne_bytes());
            bytes.extend([step.jt, step.jf]);
            bytes.extend(step.k.to_ne_bytes());
        }
        bytes
    }

    /// Reads what [`to_bytes`](Self::to_bytes) has written.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (flags, steps) = bytes.split_first()?;
        let (steps, []) = steps.as_chunks() else { return None };
        let program = steps.iter().map(|&[c0, c1, jt, jf, k0, k1, k2, k3]| FilterInstruction {
            code: u16::from_ne_bytes([c0, c1]),
            jt,
            jf,
            k: u32::from_ne_bytes([k0, k1, k2, k3]),
        });
        let flags = FilterFlags {
            log: flags & 1 != 0,
            speculation: flags & 2 != 0,
            ..FilterFlags::default()
        };
        Some(Self { program: program.collect(), flags, listener: None })
    }

    /// Returns the program's length in instructions.
    pub fn length(&self) -> usize {
        self.program.len()
    }
}

/// Compiles a profile for the architecture that barge runs on.
pub fn compile(profile: &LinuxSeccomp) -> Result<Filter> {
    let program = assemble::assemble(&calls::tables(profile)?);
    if program.len() > FILTER_MAX {
        let message = format!(
            "the seccomp profile needs a filter of {} instructions, the kernel takes {FILTER_MAX}",
            program.len()
        );
        return Err(Error::new(Kind::Invalid, message)
            .hint("use fewer rules with conditions, or leave out architectures"));
    }
    let flags = flags(profile);
    let listener = if flags.listener { Some(listener(profile)?) } else { None };
    Ok(Filter { program, flags, listener })
}

/// What hands the listener over, when the filter is in place: it cannot wait for who gets it.
const HANDS_OVER: &str = "sendmsg";

fn listener(profile: &LinuxSeccomp) -> Result<Listener> {
    let invalid = |text: &str| Error::new(Kind::Invalid, text.to_owned());
    if profile.default_action() == LinuxSeccompAction::ScmpActNotify {
        return Err(invalid("SCMP_ACT_NOTIFY cannot be the default action")
            .hint("name the calls that are left to another process"));
    }
    let left = |rule: &&LinuxSyscall| rule.action() == LinuxSeccompAction::ScmpActNotify;
    let mut names = profile.syscalls().iter().flatten().filter(left).flat_map(LinuxSyscall::names);
    if names.any(|name| name == HANDS_OVER) {
        return Err(invalid("SCMP_ACT_NOTIFY cannot be used for sendmsg")
            .hint("the listener itself is handed over by it"));
    }
    match profile.listener_path() {
        Some(path) => {
            Ok(Listener { path: path.clone(), metadata: profile.listener_metadata().clone() })
        }
        None => Err(invalid(
            "the seccomp profile leaves calls to another process, but has no listenerPath",
        )),
    }
}

fn flags(profile: &LinuxSeccomp) -> FilterFlags {
    let listener = profile.default_action() == LinuxSeccompAction::ScmpActNotify
        || profile.syscalls().iter().flatten().any(|rule| {
            rule.action() == LinuxSeccompAction::ScmpActNotify && !rule.names().is_empty()
        });
    let Some(asked) = profile.flags() else {
        // What runc does for a profile that says nothing, as Docker's: the mitigation is costly.
        return FilterFlags { speculation: true, listener, ..FilterFlags::default() };
    };
    // `TSYNC` changes nothing: the thread that installs the filter is alone in its process.
    let has = |flag| asked.contains(&flag);
    FilterFlags {
        log: has(LinuxSeccompFilterFlag::SeccompFilterFlagLog),
        speculation: has(LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow),
        listener,
        killable: listener && has(LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv),
    }
}

#[cfg(test)]
mod tests;
