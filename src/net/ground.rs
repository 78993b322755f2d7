//! Where bridges are: in the caller's network namespace, or without root in the one that all
//! containers of the user share ([`super::keeper`]).
//!
//! Nobody enters the shared one. Sockets and settings of it are opened from outside, so that name
//! servers and published ports are still those of the machine.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{FlockOperation, flock};

use super::keeper::{Shared, WayOut};
use super::link::{self, Links};
use super::nft;
use crate::error::{Context, Error, Kind, Result};
use crate::store::Store;
use crate::sys::netlink::{Changes, Socket};
use crate::sys::netns;

/// Where bridges are.
#[derive(Debug)]
pub(super) enum Ground {
    /// In the caller's namespace.
    Own,
    /// In one that the user's containers share.
    Shared(Shared),
    /// In one that is gone: with its last container, or because its keeper was killed with them all.
    Gone,
    /// In one that this process has no power over: it is a command that needed none until it found
    /// that a container's monitor was killed. What is left there is found by the next one that has.
    Away,
}

/// Keeps others from changing the network set-up of a namespace.
pub(super) struct SetupLock(#[expect(dead_code, reason = "unlocks when it is closed")] File);

impl Ground {
    /// Finds the one that a record speaks of, where `shared` says which; makes none.
    pub(super) fn of(store: &Store, shared: bool) -> Result<Self> {
        if !shared {
            return Ok(Self::Own);
        }
        if !rustix::process::geteuid().is_root() {
            return Ok(Self::Away);
        }
        Ok(Shared::find(store.runroot())?.map_or(Self::Gone, Self::Shared))
    }

    /// Finds the one that those without root share, or makes it.
    pub(super) fn make(store: &Store, rootless: bool) -> Result<Self> {
        if !rootless {
            return Ok(Self::Own);
        }
        Shared::join(store.runroot(), None).map(Self::Shared)
    }

    /// Tells whether it is one that containers without root share.
    pub(super) fn is_shared(&self) -> bool {
        !matches!(self, Self::Own)
    }

    /// Tells whether nothing is left of it that could be changed.
    pub(super) fn is_gone(&self) -> bool {
        matches!(self, Self::Gone | Self::Away)
    }

    /// Tells whether others may be changing it, whom this process cannot keep from that.
    pub(super) fn is_away(&self) -> bool {
        matches!(self, Self::Away)
    }

    /// Returns how the shared one is connected to the outside.
    pub(super) fn way_out(&self) -> Option<&WayOut> {
        match self {
            Self::Shared(shared) => Some(shared.way_out()),
            Self::Own | Self::Gone | Self::Away => None,
        }
    }

    /// Returns the namespace, if it is not the caller's.
    pub(super) fn netns(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Shared(shared) => Some(shared.netns()),
            Self::Own | Self::Gone | Self::Away => None,
        }
    }

    /// Returns what becomes readable when the shared one has lost its keeper.
    pub(super) fn connection(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Shared(shared) => Some(shared.connection()),
            Self::Own | Self::Gone | Self::Away => None,
        }
    }

    /// Sees to it that the shared one has a keeper. One that cannot be had is given up: containers go on
    /// with each other.
    pub(super) fn look_after(&mut self, store: &Store) {
        if let Self::Shared(shared) = self
            && shared.renew(store.runroot()).is_err()
        {
            *self = Self::Gone;
        }
    }

    /// Opens its interfaces.
    pub(super) fn links(&self) -> Result<Links> {
        let opened = match self {
            Self::Own => Links::open(),
            Self::Shared(shared) => Links::open_in(shared.netns()),
            Self::Gone | Self::Away => return Err(gone()),
        };
        opened.context(|| "cannot open a netlink socket")
    }

    /// Opens its firewall.
    pub(super) fn firewall(&self) -> io::Result<Socket> {
        match self {
            Self::Own => nft::open(),
            Self::Shared(shared) => nft::open_in(shared.netns()),
            Self::Gone | Self::Away => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Hears of what others change of its firewall; `None` where that cannot be had.
    pub(super) fn changes(&self) -> Option<Changes> {
        match self {
            Self::Gone | Self::Away => None,
            // Without it a table that was removed is made anew by the next start.
            here => nft::changes(here.netns()).ok(),
        }
    }

    /// Writes a setting, below `/proc/sys`.
    pub(super) fn set(&self, path: &str, value: &str) -> io::Result<()> {
        match self {
            Self::Own => link::set(path, value),
            Self::Shared(shared) => {
                let path = std::ffi::CString::new(format!("/proc/sys/{path}"))?;
                netns::setting_in(shared.netns(), &path)?.write_all(value.as_bytes())
            }
            Self::Gone | Self::Away => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Waits until nobody else changes the set-up, and keeps all others out.
    pub(super) fn lock(&self) -> Result<SetupLock> {
        self.take(FlockOperation::LockExclusive)
    }

    /// Waits until nobody makes or removes networks, and keeps it so.
    pub(super) fn lock_shared(&self) -> Result<SetupLock> {
        self.take(FlockOperation::LockShared)
    }

    fn take(&self, operation: FlockOperation) -> Result<SetupLock> {
        use std::os::fd::AsRawFd;
        let path = match self {
            Self::Own => "/proc/thread-self/ns/net".to_owned(),
            // Opened anew: a lock belongs to an open file, and this one many have in common.
            Self::Shared(shared) => format!("/proc/self/fd/{}", shared.netns().as_raw_fd()),
            Self::Gone | Self::Away => return Err(gone()),
        };
        let file = File::open(&path).context(|| format!("cannot open {path}"))?;
        rustix::io::retry_on_intr(|| flock(file.as_fd(), operation))
            .context(|| format!("cannot lock {path}"))?;
        Ok(SetupLock(file))
    }
}

fn gone() -> Error {
    Error::new(Kind::Unavailable, "the namespace that containers share is gone")
        .hint("start the container again")
}
