//! `stop` and `restart`: asks a container to end, and makes it end when it does not.

use std::time::Duration;

use super::Engine;
use super::frame::Hello;
use super::kill::send;
use super::session::Session;
use crate::error::{Context, Error, Kind, Result};
use crate::spec::id::ContainerId;
use crate::spec::process::Signal;
use crate::store::container::{Container, Run};
use crate::store::events::{Action, Event};

/// Seconds between the stop signal and KILL, unless the container says otherwise.
const GRACE: u32 = 10;

/// How long the kernel may take to end a container that was killed, in milliseconds.
pub(super) const AFTER_KILL: u64 = 30_000;

/// How to stop a container.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StopOptions {
    /// Signal that asks it to end, if not its own.
    pub signal: Option<Signal>,
    /// Seconds between that and KILL, if not its own.
    pub seconds: Option<u32>,
}

impl From<Option<u32>> for StopOptions {
    /// Makes options of nothing but the seconds.
    fn from(seconds: Option<u32>) -> Self {
        Self { seconds, ..Self::default() }
    }
}

/// How a container was stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// It ended by itself after the signal.
    InTime,
    /// It had to be killed after so many seconds.
    Killed {
        /// The seconds that it was given.
        seconds: u32,
    },
    /// It was not running.
    NotRunning,
}

impl Engine {
    /// Stops a container. One that is not running is no error.
    pub fn stop(&self, name: &str, options: impl Into<StopOptions>) -> Result<Stopped> {
        let container = self.lookup(name)?;
        let stopped = self
            .stop_container(&container, options.into())
            .context(|| format!("cannot stop container {name}"))?;
        if stopped != Stopped::NotRunning {
            self.record_event(Event::of(&container, Action::Stop));
        }
        Ok(stopped)
    }

    /// Nothing of its run is left when this returns: no mount, and no file that is open.
    pub(super) fn stop_container(
        &self,
        container: &Container,
        options: StopOptions,
    ) -> Result<Stopped> {
        let id = container.id();
        let mut locked = self.store.containers().lock(id)?;
        let Some(run) = locked.state().status.monitored().cloned() else {
            return Ok(Stopped::NotRunning);
        };
        // Before the signal, so that the monitor does not start it again. It hears of us first: should
        // we be killed, it takes back that somebody waits.
        let session = self.watch(id, &run)?.inspect(Session::send_stop);
        locked.update(|state| {
            state.stopped_by_user = true;
            state.stopping = session.is_some();
        })?;
        drop(locked);
        let Some(mut session) = session else { return Ok(Stopped::InTime) };
        let seconds = options.seconds.or(container.config.settings.stop_timeout).unwrap_or(GRACE);
        let context = || "cannot signal its process";
        let signal = options.signal.unwrap_or(container.config.stop_signal);
        send(&run, signal).context(context)?;
        if run.paused {
            // One that ended in spite of it is as good.
            self.thaw(id)?;
        }
        if wait_for_end(&mut session, u64::from(seconds) * 1000)? {
            return Ok(Stopped::InTime);
        }
        send(&run, Signal::KILL).context(context)?;
        if !wait_for_end(&mut session, AFTER_KILL)? {
            return Err(Error::new(Kind::Unavailable, "its process does not end even when killed")
                .hint("it may hang in the kernel, for example on a file server that is gone"));
        }
        Ok(Stopped::Killed { seconds })
    }

    /// Stops a container if it runs, and starts it. Returns what did not go as asked.
    pub fn restart(&self, name: &str, options: impl Into<StopOptions>) -> Result<Vec<String>> {
        let container = self.lookup(name)?;
        // Who follows its log goes on beyond the end that comes now.
        let _again = self.store.containers().announce_restart(container.id())?;
        self.stop_container(&container, options.into())
            .context(|| format!("cannot stop container {name}"))?;
        let session = self.start(container.id(), None)?;
        self.record_event(Event::of(&container, Action::Restart));
        Ok(session.map(|session| session.warnings().to_vec()).unwrap_or_default())
    }

    /// Connects to the monitor without output; `None` if the container has ended meanwhile.
    pub(super) fn watch(&self, id: &ContainerId, run: &Run) -> Result<Option<Session>> {
        match self.connect(id, run, Hello::default(), false, None) {
            Ok(session) => Ok(Some(session)),
            Err(_) if self.has_gone(id)? => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Tells whether a monitor that does not answer has ended. One that is killed loses its socket a
    /// moment before its mark.
    fn has_gone(&self, id: &ContainerId) -> Result<bool> {
        for _ in 0..100 {
            if !self.store.containers().is_monitored(id)? {
                return Ok(true);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(false)
    }
}

/// Waits until the monitor says that the container has ended, and has let go of all that it had of it,
/// or has ended itself.
pub(super) fn wait_for_end(session: &mut Session, milliseconds: u64) -> Result<bool> {
    match session.wait(Some(milliseconds)) {
        // A disk that hangs keeps what is mounted; the container has ended all the same.
        Ok(Some(_)) => session.wait_closed(AFTER_KILL).map(|_| true),
        Ok(None) => Ok(false),
        Err(error) if error.kind() == Kind::Unavailable => Ok(true),
        Err(error) => Err(error),
    }
}
