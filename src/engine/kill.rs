//! `kill`: sends a signal to a container's first process.

use super::Engine;
use crate::error::{Context, Error, Kind, Result};
use crate::spec::limits::RestartPolicy;
use crate::spec::process::Signal;
use crate::store::container::Run;
use crate::store::events::{Action, Event};
use crate::sys::process;

impl Engine {
    /// Sends a signal to a running container.
    pub fn kill(&self, name: &str, signal: Signal) -> Result<()> {
        let container = self.lookup(name)?;
        let Some(run) = container.state.run() else {
            return Err(Error::new(
                Kind::Conflict,
                format!(
                    "can only kill running containers. {} is in state {}: container state improper",
                    container.id(),
                    container.state.word()
                ),
            ));
        };
        let context = || format!("cannot send signal {} to {name}", signal.0);
        let is_to_end = signal == Signal::KILL || signal == container.config.stop_signal;
        if is_to_end && container.config.settings.restart != RestartPolicy::No {
            // As Docker: what the user ends is not started again. Before the signal, so that the
            // monitor knows.
            let mut locked = self.store.containers().lock(container.id()).context(context)?;
            if locked.state().run() == Some(run) {
                locked.update(|state| state.stopped_by_user = true)?;
            }
        }
        send(run, signal).context(context)?;
        self.record_event(Event::of(&container, Action::Kill).with("signal", signal.0));
        // As Docker: what is to end a paused container lets it go on, other signals wait until then.
        if run.paused && is_to_end {
            match self.thaw(container.id()) {
                // The signal was enough: it has ended, and nobody waits to go on.
                Err(error) if !matches!(process::open(run.pid, run.start_time), Ok(Some(_))) => {
                    drop(error);
                }
                thawed => drop(thawed.context(context)?),
            }
        }
        Ok(())
    }
}

/// Sends a signal to a container's first process; one that has ended takes none.
pub(super) fn send(run: &Run, signal: Signal) -> std::io::Result<()> {
    let Some(process) = process::open(run.pid, run.start_time)? else { return Ok(()) };
    match process::send_signal(&process, signal.0) {
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
        other => other,
    }
}
