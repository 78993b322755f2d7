//! What a monitor does while a container is all there but its program: it waits for those who give its
//! addresses, and for somebody who wants the program to run. The record's lock is not held.

use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};

use super::launch::Waiting;
use super::{Monitor, interest, started, wait};
use crate::engine::frame::FrameKind;
use crate::error::{Context, Result};
use crate::net::{self, Attached};

impl Monitor {
    /// Waits until others have given the container its addresses, and does what is to be done then;
    /// `None` if it has ended before that, or is to.
    pub(super) fn wait_for_addresses(&mut self, mut waiting: Waiting) -> Result<Option<Waiting>> {
        if waiting.held.asks_on().is_none() {
            return Ok(Some(waiting));
        }
        let end = Instant::now() + net::PATIENCE;
        while let Some(network) = waiting.held.asks_on() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let error = net::nobody_gives(network);
                waiting.abandon(&self.engine, &self.id);
                return Err(error).context(|| "cannot start the container");
            }
            if !self.idle(&mut waiting, Some(left)) {
                waiting.abandon(&self.engine, &self.id);
                return Ok(None);
            }
        }
        let made = waiting.has_addresses(&self.engine, &self.id);
        match made.and_then(|()| if self.wanted { Ok(()) } else { waiting.settle() }) {
            Ok(()) => Ok(Some(waiting)),
            Err(error) => {
                waiting.abandon(&self.engine, &self.id);
                Err(error)
            }
        }
    }

    /// Waits until somebody wants the program to run; `None` if the container has ended before that.
    pub(super) fn wait_for_start(&mut self, mut waiting: Waiting) -> Option<Waiting> {
        if !self.wanted {
            self.tell_all(FrameKind::Initialized, &started(&waiting.held));
        }
        while !self.wanted {
            if !self.idle(&mut waiting, None) {
                waiting.abandon(&self.engine, &self.id);
                return None;
            }
        }
        Some(waiting)
    }

    /// Waits for something to be done, and does it; `false` if the container has ended, or is to.
    fn idle(&mut self, waiting: &mut Waiting, time: Option<Duration>) -> bool {
        let mut files = vec![
            PollFd::from_borrowed_fd(waiting.process(), PollFlags::IN),
            PollFd::new(&self.listener, PollFlags::IN),
        ];
        for client in &self.clients {
            files.push(PollFd::new(client.socket(), interest(client, true)));
        }
        let network = waiting.held.network();
        for (file, interest) in network.into_iter().flat_map(Attached::files) {
            files.push(PollFd::from_borrowed_fd(file, interest));
        }
        let left = network.and_then(Attached::left);
        wait(&mut files, time.into_iter().chain(left).min());
        let [ended, new] = [0, 1].map(|index| !files[index].revents().is_empty());
        drop(files);
        self.read_clients(None);
        if new {
            self.accept();
        }
        if std::mem::take(&mut self.updated) {
            waiting.held.look_again(&self.engine, &self.config);
        }
        self.turn_network(&mut waiting.held);
        !(ended || self.stop)
    }
}
