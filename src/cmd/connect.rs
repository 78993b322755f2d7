//! The user's terminal and streams, connected to a container.

use std::os::fd::BorrowedFd;

use clap::Args;

use super::World;
use super::exit::Status;
use super::output;
use crate::engine::{Attach, Ended, Session, Streams};
use crate::error::Result;
use crate::spec::keys::DetachKeys;
use crate::sys::terminal;

/// How a command is connected to a container.
#[derive(Args, Debug)]
pub(crate) struct ConnectFlags {
    /// Keys that leave the container running
    #[arg(long, value_name = "KEYS")]
    detach_keys: Option<DetachKeys>,
    /// Pass signals on to the container
    #[arg(
        long,
        value_name = "BOOL",
        action = clap::ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_value = "true",
        default_missing_value = "true",
        value_parser = super::parse::truth
    )]
    sig_proxy: bool,
}

/// Which of a container's streams are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Its standard input.
    pub(crate) stdin: bool,
    /// Its standard output.
    pub(crate) stdout: bool,
    /// Its standard error.
    pub(crate) stderr: bool,
}

impl ConnectFlags {
    /// Returns what the monitor has to know of the user's side.
    pub(crate) fn attach(&self, tty: bool) -> Attach {
        let size =
            [rustix::stdio::stdin(), rustix::stdio::stdout()].into_iter().find_map(terminal::size);
        let to_terminal = rustix::termios::isatty(rustix::stdio::stdout());
        Attach { tty, size: size.filter(|_| tty), to_terminal, proxy_signals: self.sig_proxy }
    }

    /// Returns the keys that leave the container, if somebody can type any, and whether signals are passed on.
    pub(crate) fn into_parts(self, world: &World, typed: bool) -> Result<(Vec<u8>, bool)> {
        Ok((detach_keys(world, self.detach_keys, typed)?, self.sig_proxy))
    }

    /// Copies between our streams and the container's until it ends, or until the user leaves: `None`.
    ///
    /// Only what is typed at a container's terminal can be keys; other input is passed on as it is.
    pub(crate) fn follow(
        self,
        world: &World,
        session: Session,
        tty: bool,
        wanted: Wanted,
    ) -> Result<Option<Status>> {
        for warning in session.warnings() {
            output::warning(warning);
        }
        // Only what is typed at a terminal can be keys.
        let keys = detach_keys(world, self.detach_keys, tty && wanted.stdin)?;
        let only = |wanted: bool, stream: BorrowedFd<'static>| wanted.then_some(stream);
        let streams = Streams {
            stdin: only(wanted.stdin, rustix::stdio::stdin()),
            stdout: only(wanted.stdout, rustix::stdio::stdout()),
            stderr: only(wanted.stderr, rustix::stdio::stderr()),
            detach_keys: &keys,
        };
        Ok(match session.run(&streams)? {
            Ended::Exited(code) => Some(Status::of_container(code)),
            Ended::Detached => None,
        })
    }
}

/// Returns the keys that leave a container, those of `containers.conf` if none are given; none if nobody
/// can type any.
pub(crate) fn detach_keys(
    world: &World,
    given: Option<DetachKeys>,
    typed: bool,
) -> Result<Vec<u8>> {
    let keys = match given {
        _ if !typed => return Ok(Vec::new()),
        Some(keys) => keys,
        None => world.defaults()?.detach_keys.unwrap_or_default(),
    };
    Ok(keys.0)
}

/// Warns when a terminal is given to a container whose user has none.
pub(crate) fn check_terminal(tty: bool, interactive: bool) {
    if tty && interactive && !rustix::termios::isatty(rustix::stdio::stdin()) {
        output::warning(
            "The input device is not a TTY. The --tty and --interactive flags might not work properly",
        );
    }
}
