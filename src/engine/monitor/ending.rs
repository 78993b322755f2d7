//! What a monitor does when the container has ended: tell, record, start it again, or tear down.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};

use super::client::Client;
use super::launch::Running;
use super::log::Stream;
use super::timers::TIMED_OUT;
use super::{Monitor, interest, wait};
use crate::engine::finish::{self, Exit};
use crate::engine::frame::{Failed, FrameKind};
use crate::engine::now;
use crate::error::Error;
use crate::spec::limits::RestartPolicy;
use crate::store::container::{Retired, Status};
use crate::sys::process;

impl Monitor {
    /// Tells everybody how the container has ended; also those who came while it did: of one that is
    /// removed then, they hear it nowhere else.
    pub(super) fn tell_end(&mut self, exit: &Exit) {
        self.accept();
        self.tell_all(FrameKind::Exited, &exit.code);
    }

    pub(super) fn tell_all<T: serde::Serialize>(&mut self, kind: FrameKind, value: &T) {
        for client in &mut self.clients {
            client.tell(kind, value);
        }
    }

    /// Finds out how the container has ended, and frees what belongs to one run.
    pub(super) fn collect(&mut self, mut running: Running) -> Exit {
        let code = process::wait(running.child.pidfd.as_fd()).unwrap_or(255);
        let code = if self.timers.end() { TIMED_OUT } else { code };
        running.held.kill_rest();
        // What it wrote last is still in the pipes.
        for stream in [Stream::Stdout, Stream::Stderr] {
            while self.copy(&mut running, stream) {}
        }
        self.log.end();
        self.root = running.root.take();
        let oom_killed = running.held.was_oom_killed();
        running.held.tear_down(&self.engine, &self.id);
        Exit { code, oom_killed, error: None, started: true }
    }

    pub(super) fn policy_wants(&self, exit: &Exit, restarts: u32) -> bool {
        match self.config.settings.restart {
            RestartPolicy::No => false,
            RestartPolicy::Always | RestartPolicy::UnlessStopped => true,
            RestartPolicy::OnFailure { retries } => {
                exit.code != 0 && retries.is_none_or(|most| restarts < most)
            }
        }
    }

    pub(super) fn stopped_by_user(&self) -> bool {
        let state = self.engine.store.containers().get(&self.id);
        // One that is gone or cannot be read is not started again.
        state.ok().flatten().is_none_or(|container| container.state.stopped_by_user)
    }

    pub(super) fn record_waiting(&self, exit: &Exit, restarts: u32) {
        let locked = self.engine.store.containers().lock(&self.id);
        // Removed meanwhile, or a full disk: the next look at the state decides.
        drop(locked.and_then(|mut locked| {
            self.engine.record_events(&exit.events(&self.config, &locked.state().name));
            locked.update(|state| {
                if let Status::Running(run) = &state.status {
                    state.status = Status::Restarting(run.clone());
                }
                state.exit_code = exit.code;
                state.finished = now();
                state.restarts = restarts;
            })
        }));
    }

    /// Waits, while clients may come, go, and ask to stop.
    pub(super) fn wait_to_restart(&mut self, time: Duration) {
        let deadline = Instant::now() + time;
        while !self.stop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let mut files = vec![PollFd::new(&self.listener, PollFlags::IN)];
            for client in &self.clients {
                files.push(PollFd::new(client.socket(), interest(client, true)));
            }
            let some = wait(&mut files, Some(left));
            let new = !files[0].revents().is_empty();
            drop(files);
            if some {
                self.read_clients(None);
                if new {
                    self.accept();
                }
            }
        }
    }

    /// Tells who waits that there is no container running; the record stays as it was, with the reason.
    pub(super) fn record_failure(&mut self, error: &Error) {
        let failed = Failed::from(error);
        let text = error.to_string();
        let exit_code = finish::exit_code_of(error.kind());
        let locked = self.engine.store.containers().lock(&self.id);
        // Whatever happens to the record, who waits must hear of the first failure.
        drop(locked.and_then(|mut locked| {
            if self.config.settings.remove {
                return self.engine.take_off_record(locked, true)?.erase();
            }
            locked.update(|state| {
                // One that was initialized is what it was before that.
                if state.status.monitored().is_some() {
                    let has_run = state.started != 0;
                    state.status = if has_run { Status::Exited } else { Status::Created };
                }
                state.error = Some(text);
                state.exit_code = exit_code;
            })
        }));
        self.release_mark();
        // Those that came while it was tried want to know, too.
        self.accept();
        self.tell_all(FrameKind::Failed, &failed);
    }

    /// Records the end.
    ///
    /// Who waits for it need not wait for the rest: files of a container that is off the record, and
    /// a disk that is busy when what it had mounted goes. The mark keeps its next monitor waiting for
    /// that.
    pub(super) fn finish(&mut self, exit: &Exit) {
        let mut retired = None;
        if exit.was_started() || self.mark.is_some() {
            // Nobody is left to tell of a failure; the next command that looks repairs the record.
            retired = finish::record(&self.engine, &self.id, exit).ok().flatten();
        }
        self.tell_end(exit);
        drop(retired.map(Retired::erase));
        self.root = None;
    }

    pub(super) fn release_mark(&mut self) {
        if let Some(mark) = self.mark.take() {
            mark.release();
        }
    }
}

/// Stays until every client has what is still on its way to it.
pub(super) fn say_good_bye(mut clients: Vec<Client>) {
    loop {
        clients.retain(|client| client.has_pending() && !client.is_gone());
        if clients.is_empty() {
            return;
        }
        let mut files: Vec<PollFd<'_>> =
            clients.iter().map(|client| PollFd::new(client.socket(), PollFlags::OUT)).collect();
        wait(&mut files, None);
        drop(files);
        clients.iter_mut().for_each(Client::flush);
    }
}
