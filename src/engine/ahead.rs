//! What is done for a container that is about to start before its record is locked: this machine's mounts
//! of its volumes. A server that does not answer keeps nobody from the container.

use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::frame::{self, Decoder, Failed, Filled, FrameKind};
use super::start::{ENDING, Ready, interrupted};
use super::{Engine, monitor, wait};
use crate::error::{Context, Error, Kind, Result};
use crate::sys::signal::{self, Signals};
use crate::sys::socket;

impl Engine {
    /// Has a monitor mount what its container needs of this machine. It is given up if the container is
    /// removed meanwhile, or a signal comes that was held back.
    pub(super) fn mount_ahead(&self, ready: &Ready) -> Result<()> {
        let id = ready.id();
        let watcher = wait::watch(self, id)?;
        let signals = Signals::of_held(&ENDING).context(|| "cannot watch for signals")?;
        let socket = ready.socket();
        socket::send(socket.as_fd(), monitor::MOUNT, None)
            .context(|| "cannot ask the monitor to mount volumes")?;
        let mut decoder = Decoder::default();
        loop {
            while let Some((kind, data)) = decoder.next()? {
                match kind {
                    FrameKind::Mounted => return Ok(()),
                    FrameKind::Failed => return Err(Error::from(frame::json::<Failed>(data)?)),
                    _ => {}
                }
            }
            if let Some(signal) = signal::take_held(&ENDING) {
                return Err(interrupted(signal));
            }
            watcher.iter().for_each(wait::drain);
            if self.store.containers().get(id)?.is_none() {
                let message = format!("container {id} was removed before it was started");
                return Err(Error::new(Kind::NotFound, message));
            }
            let mut files = vec![PollFd::new(socket, PollFlags::IN)];
            files.push(PollFd::new(&signals, PollFlags::IN));
            files.extend(watcher.iter().map(|file| PollFd::new(file, PollFlags::IN)));
            match poll(&mut files, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error).context(|| "cannot wait for the monitor"),
            }
            let told = !files[0].revents().is_empty();
            drop(files);
            if told
                && decoder.fill(socket).context(|| "cannot hear from the monitor")? == Filled::End
            {
                return Err(Error::new(
                    Kind::Internal,
                    "the monitor ended before the container was started",
                ));
            }
        }
    }
}
