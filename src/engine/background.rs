//! Going on in the background once something has begun well.

use std::fs::File;
use std::os::fd::AsFd;

use rustix::fs::{Mode, OFlags};
use rustix::pipe::{PipeFlags, pipe_with};

use super::frame::Failed;
use crate::error::{Context, Error, Kind, Result};
use crate::sys::clone::{exit_now, fork};
use crate::sys::process;

/// Who waits until it has begun, if somebody still does.
#[derive(Debug)]
pub(super) struct Waiting(Option<File>);

/// Does the work in a process of its own, which has a session of its own and nothing of our terminal.
/// Returns as soon as the work has said that it has begun, or has failed.
pub(super) fn in_background(work: impl FnOnce(&mut Waiting) -> Result<i32>) -> Result<()> {
    let context = || "cannot go on in the background";
    let (news, teller) = pipe_with(PipeFlags::CLOEXEC).context(context)?;
    fork(|| {
        let mut waiting = Waiting(Some(teller.into()));
        let outcome = leave_terminal().and_then(|()| work(&mut waiting));
        if let Err(error) = &outcome {
            waiting.say(&[Failed::from(error)]);
        }
        exit_now(outcome.unwrap_or(125))
    })
    .context(context)?;
    let mut news = serde_json::Deserializer::from_reader(File::from(news)).into_iter();
    match news.next() {
        Some(Ok(failures)) => failures_to_result(failures),
        _ => Err(Error::new(Kind::Internal, "what was to go on in the background was killed")),
    }
}

fn failures_to_result(failures: Vec<Failed>) -> Result<()> {
    failures.into_iter().next().map_or(Ok(()), |failed| Err(failed.into()))
}

fn leave_terminal() -> Result<()> {
    let context = || "cannot leave the terminal";
    rustix::process::setsid().context(context)?;
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let null = rustix::fs::open("/dev/null", flags, Mode::empty()).context(context)?;
    (0..=2).try_for_each(|number| process::redirect(null.as_fd(), number)).context(context)
}

impl Waiting {
    /// Tells that it has begun.
    pub(super) fn has_begun(&mut self) {
        self.say(&[]);
    }

    fn say(&mut self, failures: &[Failed]) {
        if let Some(file) = self.0.take() {
            // Who waited may be gone; nobody else asks.
            drop(serde_json::to_writer(file, failures));
        }
    }
}
