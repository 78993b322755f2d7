//! Probing the container's health.
//!
//! A probe is a process like one of `exec`, by our own executable started anew, with a pipe for what it
//! says. Here it is started, waited for beside everything else, given up when its time is over, and
//! judged by Docker's rules.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Instant;

use rustix::pipe::{PipeFlags, pipe_with};

use crate::engine::{Engine, now};
use crate::error::{Context, Result};
use crate::spec::health::{Health, OnFailure};
use crate::spec::health_log::HealthDestination;
use crate::spec::id::ContainerId;
use crate::spec::image::Healthcheck;
use crate::store::health::{HealthState, HealthStatus, Probed};
use crate::sys::clone::Child;
use crate::sys::{process, socket};

/// The health of a container during one run.
#[derive(Debug)]
pub(super) struct Watch {
    health: Health,
    state: HealthState,
    began: Instant,
    /// Successes and failures of the check of its start, until that is over.
    starting: Option<(u32, u32)>,
    due: Option<Instant>,
    probe: Option<Probe>,
    /// What the last probe said, if that is kept among the events.
    report: Option<String>,
}

/// A probe that goes on.
#[derive(Debug)]
struct Probe {
    child: Child,
    /// What it says, until it says no more.
    output: Option<OwnedFd>,
    text: Vec<u8>,
    /// How much of that is kept, in bytes.
    most: usize,
    start: i64,
    deadline: Instant,
}

/// What a probe has brought to light.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Whether the probe succeeded.
    pub(super) success: bool,
    /// The new status, if it is another one.
    pub(super) change: Option<HealthStatus>,
    /// What is to be done about it.
    pub(super) action: OnFailure,
}

impl Watch {
    /// Begins to watch a container that has just been started.
    pub(super) fn new(health: &Health) -> Self {
        let mut watch = Self {
            health: health.clone(),
            state: HealthState::default(),
            began: Instant::now(),
            starting: health.startup.is_some().then_some((0, 0)),
            due: None,
            probe: None,
            report: None,
        };
        watch.schedule();
        watch
    }

    /// Goes on with another check; a probe that goes on is judged by it.
    pub(super) fn change(&mut self, health: &Health) {
        if health.startup != self.health.startup {
            self.starting = health.startup.is_some().then_some((0, 0));
        }
        self.health = health.clone();
        self.forget_surplus();
        if self.probe.is_none() {
            self.schedule();
        }
    }

    /// Takes what the last probe said, if that is to be kept among the events.
    pub(super) fn take_report(&mut self) -> Option<String> {
        self.report.take()
    }

    /// Returns the directory where results are kept, too.
    pub(super) fn directory(&self) -> Option<&Path> {
        match &self.health.log.destination {
            HealthDestination::Directory(path) => Some(path),
            HealthDestination::Local | HealthDestination::Events => None,
        }
    }

    /// Returns how it is.
    pub(super) fn state(&self) -> &HealthState {
        &self.state
    }

    /// Returns what to wait for: the probe's end and what it says.
    pub(super) fn files(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.probe.iter().flat_map(|probe| {
            std::iter::once(&probe.child.pidfd).chain(&probe.output).map(AsFd::as_fd)
        })
    }

    /// Tells whether this process watches over the probe that goes on.
    pub(super) fn is_probe(&self, pid: i32) -> bool {
        self.probe.as_ref().is_some_and(|probe| probe.child.pid == pid)
    }

    /// Returns when something is to be done even if nothing happens.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match &self.probe {
            // Its end is an event.
            Some(_) => None,
            None => self.due,
        }
    }

    /// Makes the next probe due now.
    pub(super) fn probe_now(&mut self) {
        self.due = Some(Instant::now());
    }

    /// Does what is to be done now; returns what a probe that has ended says.
    pub(super) fn tend(&mut self, engine: &Engine, id: &ContainerId) -> Option<Verdict> {
        if let Some(probe) = &mut self.probe {
            probe.read();
            let exit_code = probe.ended()?;
            let probe = self.probe.take()?;
            let probed = probe.result(exit_code, self.check());
            return Some(self.judge(probed));
        }
        if self.due.is_none_or(|due| due > Instant::now()) {
            return None;
        }
        self.due = None;
        let start = now();
        match self.begin(engine, id, start) {
            Ok(probe) => {
                self.probe = Some(probe);
                None
            }
            // What cannot be asked is not well.
            Err(error) => {
                let output = error.to_string();
                Some(self.judge(Probed { start, end: now(), exit_code: -1, output }))
            }
        }
    }

    /// Ends a probe that goes on: the container has ended.
    pub(super) fn end(&mut self) {
        if let Some(probe) = self.probe.take() {
            probe.kill();
        }
    }

    /// The check that is made now.
    fn check(&self) -> &Healthcheck {
        match (&self.health.startup, self.starting) {
            (Some(startup), Some(_)) => &startup.check,
            _ => &self.health.check,
        }
    }

    fn begin(&self, engine: &Engine, id: &ContainerId, start: i64) -> Result<Probe> {
        let check = self.check();
        let context = || "cannot make a pipe for a probe";
        let (output, theirs) = pipe_with(PipeFlags::CLOEXEC).context(context)?;
        socket::set_nonblocking(&output).context(context)?;
        let child = engine.probe(id, check.command()?, check.timeout(), theirs.as_fd())?;
        let deadline = Instant::now() + check.timeout();
        let most = self.health.log.size();
        Ok(Probe { child, output: Some(output), text: Vec::new(), most, start, deadline })
    }

    /// Whether failures do not count yet.
    fn is_in_grace(&self) -> bool {
        self.state.status == HealthStatus::Starting
            && self.began.elapsed() < self.health.check.start_period()
    }

    fn schedule(&mut self) {
        self.due = match (self.health.by_hand, self.starting) {
            (true, None) => None,
            (_, Some(_)) => Some(Instant::now() + self.check().interval()),
            (false, None) if self.is_in_grace() => {
                Some(Instant::now() + self.check().start_interval())
            }
            (false, None) => Some(Instant::now() + self.check().interval()),
        };
    }

    /// Takes a probe's result into account, by Docker's rules.
    fn judge(&mut self, probed: Probed) -> Verdict {
        let success = probed.exit_code == 0;
        match self.health.log.destination {
            HealthDestination::Events => self.report = Some(probed.output),
            HealthDestination::Local | HealthDestination::Directory(_) => {
                self.state.log.push(probed);
                self.forget_surplus();
            }
        }
        let verdict = match (&self.health.startup, self.starting) {
            (Some(startup), Some((successes, failures))) => {
                let counts =
                    if success { (successes + 1, failures) } else { (successes, failures + 1) };
                self.starting = (counts.0 < startup.successes.max(1)).then_some(counts);
                let most = u32::try_from(startup.check.retries).unwrap_or(0);
                let failed = most > 0 && counts.1 >= most;
                let action = if failed { OnFailure::Restart } else { OnFailure::None };
                Verdict { success, change: None, action }
            }
            _ => self.judge_health(success),
        };
        self.schedule();
        verdict
    }

    fn forget_surplus(&mut self) {
        let surplus = self.state.log.len().saturating_sub(self.health.log.count());
        self.state.log.drain(..surplus);
    }

    fn judge_health(&mut self, success: bool) -> Verdict {
        let before = self.state.status;
        if success {
            self.state.failing_streak = 0;
            self.state.status = HealthStatus::Healthy;
        } else if !self.is_in_grace() {
            self.state.failing_streak += 1;
            if self.state.failing_streak >= self.health.check.retries() {
                self.state.status = HealthStatus::Unhealthy;
            }
        }
        let change = (self.state.status != before).then_some(self.state.status);
        let action = match change {
            Some(HealthStatus::Unhealthy) => self.health.on_failure,
            _ => OnFailure::None,
        };
        Verdict { success, change, action }
    }
}

impl Probe {
    /// Takes what it says; more than is kept is dropped, so that it need not wait.
    fn read(&mut self) {
        let mut buffer = [0; 4096];
        while let Some(output) = &self.output
            && let Ok(length) = rustix::io::read(output, &mut buffer[..])
        {
            if length == 0 {
                self.output = None;
            }
            let room = self.most.saturating_sub(self.text.len());
            self.text.extend_from_slice(&buffer[..length.min(room)]);
        }
    }

    /// Returns how it has ended; `None` if it goes on. What watches over it ends it when its time is over.
    fn ended(&mut self) -> Option<i32> {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let mut files = [PollFd::new(&self.child.pidfd, PollFlags::IN)];
        if matches!(poll(&mut files, Some(&Timespec::default())), Ok(ready) if ready > 0) {
            self.read();
            let code = process::wait(self.child.pidfd.as_fd()).unwrap_or(-1);
            return Some(if Instant::now() < self.deadline { code } else { -1 });
        }
        None
    }

    /// Ends what watches over it; the process itself has ended with the container.
    fn kill(self) {
        // It may be gone already.
        drop(process::send_signal(&self.child.pidfd, libc::SIGKILL));
        drop(process::wait(self.child.pidfd.as_fd()));
    }

    fn result(self, exit_code: i32, check: &Healthcheck) -> Probed {
        let output = match exit_code {
            -1 => format!(
                "Health check exceeded timeout ({})",
                crate::spec::duration::go(check.timeout())
            ),
            _ => String::from_utf8_lossy(&self.text).into_owned(),
        };
        Probed { start: self.start, end: now(), exit_code, output }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::health::Startup;

    fn probed(exit_code: i32) -> Probed {
        Probed { start: 1, end: 2, exit_code, output: String::new() }
    }

    fn health(retries: i64) -> Health {
        Health {
            check: Healthcheck { test: vec!["x".into()], retries, ..Healthcheck::default() },
            on_failure: OnFailure::Kill,
            ..Health::default()
        }
    }

    #[test]
    fn several_failures_in_a_row_make_it_unhealthy() {
        let mut watch = Watch::new(&health(2));
        let changes: Vec<_> = [0, 1, 0, 1, 1, 1, 0]
            .map(|code| {
                let verdict = watch.judge(probed(code));
                (verdict.change.map(HealthStatus::as_str), verdict.action.as_str())
            })
            .into();
        let nothing = (None, "none");
        assert_eq!(
            changes,
            [
                (Some("healthy"), "none"),
                nothing,
                nothing,
                nothing,
                (Some("unhealthy"), "kill"),
                nothing,
                (Some("healthy"), "none"),
            ]
        );
        assert_eq!(watch.state().log.len(), 5);
        assert_eq!(watch.state().failing_streak, 0);
    }

    #[test]
    fn failures_do_not_count_while_it_starts() {
        let mut settings = health(1);
        settings.check.start_period = i64::MAX;
        let mut watch = Watch::new(&settings);
        assert_eq!(watch.judge(probed(1)).change, None);
        assert_eq!(watch.state().failing_streak, 0);
        assert_eq!(watch.judge(probed(0)).change, Some(HealthStatus::Healthy));
        // It has started.
        assert_eq!(watch.judge(probed(1)).change, Some(HealthStatus::Unhealthy));
    }

    #[test]
    fn the_start_is_checked_first() {
        let mut settings = health(1);
        let check = Healthcheck { test: vec!["s".into()], retries: 2, ..Healthcheck::default() };
        settings.startup = Some(Startup { check, successes: 2 });
        let mut watch = Watch::new(&settings);
        assert_eq!(watch.check().test, ["s"]);
        assert_eq!(watch.judge(probed(1)).action, OnFailure::None);
        assert_eq!(watch.judge(probed(0)).action, OnFailure::None);
        assert_eq!(watch.judge(probed(1)).action, OnFailure::Restart);
        assert_eq!(watch.judge(probed(0)).change, None);
        assert_eq!(watch.check().test, ["x"]);
        assert_eq!(watch.judge(probed(1)).change, Some(HealthStatus::Unhealthy));
    }
}
