//! What a monitor does because time has passed: probes of health, and the ends that they or
//! `--timeout` bring about.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use super::Monitor;
use super::health::{Verdict, Watch};
use super::launch::Running;
use crate::engine::frame::FrameKind;
use crate::spec::health::{Health, OnFailure};
use crate::store::events::{Action, Event};
use crate::store::health::HealthStatus;
use crate::sys::process;

/// The exit code of a container that ran longer than it may, as Podman has it.
pub(super) const TIMED_OUT: i32 = -1;

/// Seconds between the signal to stop and KILL.
const GRACE: u32 = 10;

/// The timers of one run of a container.
#[derive(Debug, Default)]
pub(super) struct Timers {
    watch: Option<Watch>,
    /// When it has run for as long as it may.
    expires: Option<Instant>,
    expired: bool,
    /// When it is killed because it did not listen to the signal to stop.
    kill: Option<Instant>,
    /// Whether it is to be started again, whatever its policy says.
    again: bool,
}

impl Timers {
    /// Returns what a probe of health makes ready.
    pub(super) fn files(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.watch.iter().flat_map(Watch::files)
    }

    /// Tells whether this process watches over a probe of health.
    pub(super) fn is_probe(&self, pid: i32) -> bool {
        self.watch.as_ref().is_some_and(|watch| watch.is_probe(pid))
    }

    /// Returns the time until something is to be done; `None` if only events matter.
    pub(super) fn left(&self) -> Option<Duration> {
        let health = self.watch.as_ref().and_then(Watch::deadline);
        let next = [health, self.expires, self.kill].into_iter().flatten().min()?;
        Some(next.saturating_duration_since(Instant::now()))
    }

    /// Makes the next probe due now.
    pub(super) fn probe_now(&mut self) {
        if let Some(watch) = &mut self.watch {
            watch.probe_now();
        }
    }

    /// Ends what goes on: the container has ended. Tells whether that was because its time was over.
    pub(super) fn end(&mut self) -> bool {
        if let Some(mut watch) = self.watch.take() {
            watch.end();
        }
        self.kill = None;
        self.expires = None;
        std::mem::take(&mut self.expired)
    }

    /// Tells, once, whether it is to be started again whatever its policy says.
    pub(super) fn restarts(&mut self) -> bool {
        std::mem::take(&mut self.again)
    }
}

impl Monitor {
    /// Sets the timers of a run that begins.
    pub(super) fn set_timers(&mut self) {
        self.timers = Timers {
            watch: self.config.health.as_ref().map(Watch::new),
            expires: self
                .config
                .settings
                .timeout
                .map(|seconds| Instant::now() + Duration::from_secs(seconds.into())),
            ..Timers::default()
        };
        self.record_health();
    }

    /// Takes over a check of health that was changed while the container runs.
    pub(super) fn change_health(&mut self, before: Option<&Health>) {
        let now = self.config.health.as_ref();
        if now == before {
            return;
        }
        match (&mut self.timers.watch, now) {
            (Some(watch), Some(health)) => watch.change(health),
            (Some(watch), None) => {
                watch.end();
                self.timers.watch = None;
            }
            (none, Some(health)) => *none = Some(Watch::new(health)),
            (None, None) => {}
        }
        self.record_health();
    }

    /// Does what is due.
    pub(super) fn tend(&mut self, running: &Running) {
        let now = Instant::now();
        let is_over = |time: &mut Option<Instant>| time.take_if(|time| *time <= now).is_some();
        if is_over(&mut self.timers.expires) {
            self.timers.expired = true;
            kill(running, libc::SIGKILL);
        }
        if is_over(&mut self.timers.kill) {
            kill(running, libc::SIGKILL);
        }
        let Some(watch) = &mut self.timers.watch else { return };
        if let Some(verdict) = watch.tend(&self.engine, &self.id) {
            self.take_verdict(running, verdict);
        }
    }

    fn take_verdict(&mut self, running: &Running, verdict: Verdict) {
        let report = self.timers.watch.as_mut().and_then(Watch::take_report);
        let status = self.timers.watch.as_ref().map(|watch| watch.state().status);
        if let Some(status) = status.filter(|_| verdict.change.is_some() || report.is_some()) {
            let state = self.engine.store.containers().get(&self.id);
            // One that is gone or cannot be read has had a name all the same.
            let name = state.ok().flatten().map(|container| container.state.name);
            let event =
                Event::of_named(&self.config, &name.unwrap_or_default(), Action::HealthStatus);
            let event = event.with("health_status", status.as_str());
            self.engine.record_event(match &report {
                Some(report) => event.with("health_log", report),
                None => event,
            });
        }
        if verdict.change == Some(HealthStatus::Healthy) {
            self.notify.is_healthy();
        }
        // Who waits for it finds the event, and then the state.
        self.record_health();
        self.tell_all(FrameKind::Probed, &verdict.success);
        match verdict.action {
            OnFailure::None => {}
            OnFailure::Kill => kill(running, libc::SIGKILL),
            OnFailure::Restart => {
                self.timers.again = true;
                self.end_softly(running);
            }
            OnFailure::Stop => {
                self.stop = true;
                self.end_softly(running);
            }
        }
    }

    /// Asks the container to end, and kills it if it does not.
    fn end_softly(&mut self, running: &Running) {
        kill(running, self.config.stop_signal.number());
        let seconds = self.config.settings.stop_timeout.unwrap_or(GRACE);
        self.timers.kill = Some(Instant::now() + Duration::from_secs(seconds.into()));
    }

    /// Writes down how it is. A full disk is no reason to end; the next probe tries again.
    fn record_health(&self) {
        let Some(watch) = &self.timers.watch else { return };
        let containers = self.engine.store.containers();
        drop(containers.set_health(&self.id, watch.state()));
        if let Some(dir) = watch.directory() {
            drop(containers.copy_health(&self.id, watch.state(), dir));
        }
    }
}

fn kill(running: &Running, signal: i32) {
    // It may have ended meanwhile.
    let _gone = process::send_signal(&running.child.pidfd, signal);
}
