//! What this machine mounts for a container before that is started: on its disks, and from other
//! machines, which may take long to answer. Nobody has the container's record locked meanwhile.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags};

use super::{Monitor, interest, wait};
use crate::engine::Engine;
use crate::engine::volumes::MachineMounts;
use crate::error::{Error, Kind, Result};
use crate::spec::id::ContainerId;

/// Mounts what a container needs that somebody is about to start; `None` if who does hangs up meanwhile.
pub(super) fn mount_ahead(
    engine: &Engine,
    id: &ContainerId,
    control: &OwnedFd,
) -> Result<Option<MachineMounts>> {
    let gone = || Error::new(Kind::NotFound, format!("no such container {id}"));
    let config = engine.store().containers().get(id)?.ok_or_else(gone)?.config;
    let mut mounts = MachineMounts::default();
    for volume in engine.machine_volumes(&config)? {
        let making = volume.begin()?;
        let is_made = wait_for_one(making.as_fd(), control.as_fd());
        if !is_made {
            return Ok(None);
        }
        mounts.add(&volume, making)?;
    }
    Ok(Some(mounts))
}

/// Waits until the first of two can be read; `false` if the other one can instead.
fn wait_for_one(wanted: BorrowedFd<'_>, other: BorrowedFd<'_>) -> bool {
    loop {
        let mut files = [wanted, other].map(|it| PollFd::from_borrowed_fd(it, PollFlags::IN));
        wait(&mut files, None);
        match files.map(|file| !file.revents().is_empty()) {
            [_, true] => return false,
            [true, false] => return true,
            [false, false] => {}
        }
    }
}

impl Monitor {
    /// Mounts again what this machine has mounted for the container, as it is about to be started again.
    /// Clients may come, go, and ask to stop meanwhile.
    pub(super) fn mount_again(&mut self) {
        if self.stop {
            return;
        }
        self.mounts = self.mounted_again();
    }

    fn mounted_again(&mut self) -> Result<MachineMounts> {
        let mut mounts = MachineMounts::default();
        for volume in self.engine.machine_volumes(&self.config)? {
            let making = volume.begin()?;
            if !self.idle_until(making.as_fd()) {
                break;
            }
            mounts.add(&volume, making)?;
        }
        Ok(mounts)
    }

    /// Waits until a file can be read; `false` if somebody has asked to stop.
    fn idle_until(&mut self, file: BorrowedFd<'_>) -> bool {
        while !self.stop {
            let mut files = vec![
                PollFd::from_borrowed_fd(file, PollFlags::IN),
                PollFd::new(&self.listener, PollFlags::IN),
            ];
            for client in &self.clients {
                files.push(PollFd::new(client.socket(), interest(client, true)));
            }
            wait(&mut files, None);
            let [made, new] = [0, 1].map(|index| !files[index].revents().is_empty());
            drop(files);
            self.read_clients(None);
            if new {
                self.accept();
            }
            if made {
                return true;
            }
        }
        false
    }
}
