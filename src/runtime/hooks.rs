//! Hooks of the OCI: programs that are run as a container comes and goes.
//!
//! Those of `prestart`, `createRuntime`, `poststart` and `poststop` are run by the launcher; the first
//! two while the first process waits with everything mounted. Those of `createContainer` are run by the container's first process, where everything is mounted and the
//! root is still the host's; those of `startContainer` by the same just before it becomes the user's
//! program, with no more power than that: their paths lead into the image.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use oci_spec::runtime::{Hook, Hooks};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::MemfdFlags;
use serde_json::{Value, json};

use crate::error::{Context, Error, Kind, Result};
use crate::sys::clone::{exit_now, fork};
use crate::sys::{process, signal};

/// The version of the OCI runtime specification that is followed.
pub const OCI_VERSION: &str = "1.2.0";

/// The container that hooks are told of.
#[derive(Clone, Copy, Debug)]
pub struct Bundle<'a> {
    /// Its ID.
    pub id: &'a str,
    /// The directory that has its config.json.
    pub directory: &'a Path,
    /// Its annotations.
    pub annotations: Option<&'a HashMap<String, String>>,
}

impl Bundle<'_> {
    /// Runs hooks one after the other; the first that fails ends it.
    pub fn run(&self, kind: &str, hooks: Option<&[Hook]>, status: &str, pid: i32) -> Result<()> {
        self.run_as(kind, hooks, (status, pid), &|| Ok(()))
    }

    /// As [`Bundle::run`]; `prepare` is what the process does first that becomes the hook.
    pub(super) fn run_as(
        &self,
        kind: &str,
        hooks: Option<&[Hook]>,
        (status, pid): (&str, i32),
        prepare: &dyn Fn() -> Result<()>,
    ) -> Result<()> {
        let hooks = hooks.unwrap_or_default();
        if hooks.is_empty() {
            return Ok(());
        }
        let state = self.state(status, pid).to_string();
        hooks.iter().try_for_each(|hook| {
            run(hook, &state, prepare).context(|| format!("{kind} hook {}", hook.path().display()))
        })
    }
}

impl Bundle<'_> {
    /// What is told of the container, in the OCI's words.
    pub(super) fn state(&self, status: &str, pid: i32) -> Value {
        let mut state = json!({
            "ociVersion": OCI_VERSION,
            "id": self.id,
            "status": status,
            "pid": pid,
            "bundle": self.directory,
        });
        if let Some(annotations) = self.annotations.filter(|it| !it.is_empty()) {
            state["annotations"] = json!(annotations);
        }
        state
    }
}

/// Tells whether there are hooks that the launcher runs while the first process waits.
pub(super) fn has_outer(hooks: &Hooks) -> bool {
    let outer = [prestart(hooks), hooks.create_runtime().as_deref()];
    outer.into_iter().flatten().any(|hooks| !hooks.is_empty())
}

/// The hooks that came before those of `createRuntime`. Many programs still make them.
pub(super) fn prestart(hooks: &Hooks) -> Option<&[Hook]> {
    hooks.prestart().as_deref()
}

/// The most that is looked at of what a hook has written.
const LONGEST: usize = 4096;

fn run(hook: &Hook, state: &str, prepare: &dyn Fn() -> Result<()>) -> Result<()> {
    let context = || "cannot run it";
    let memory = || -> std::io::Result<File> {
        Ok(rustix::fs::memfd_create(c"hook", MemfdFlags::CLOEXEC)?.into())
    };
    let (mut input, mut output) = (memory().context(context)?, memory().context(context)?);
    input.write_all(state.as_bytes()).and_then(|()| input.rewind()).context(context)?;
    let path = hook.path().to_string_lossy().into_owned();
    let args = match hook.args().as_deref() {
        Some([]) | None => vec![path.clone()],
        Some(args) => args.to_vec(),
    };
    let args = process::Words::new(args).context(context)?;
    let env = process::Words::new(hook.env().clone().unwrap_or_default()).context(context)?;
    let path = std::ffi::CString::new(path)
        .map_err(|_| Error::new(Kind::Invalid, "its path has a zero byte"))?;
    let child = fork(|| {
        let become_it = || -> Result<std::convert::Infallible> {
            let place = || {
                signal::reset_all()?;
                process::redirect(input.as_fd(), 0)?;
                process::redirect(output.as_fd(), 1)?;
                process::redirect(output.as_fd(), 2)?;
                process::close_from(3)
            };
            place().context(|| "cannot give it its descriptors")?;
            prepare()?;
            process::exec(&path, &args, &env).context(|| "cannot execute it")
        };
        let Err(error) = become_it();
        // Its standard error is the only way to tell.
        drop(writeln!(std::io::stderr(), "{error}"));
        exit_now(127)
    })
    .context(context)?;
    let limit = hook.timeout().and_then(|seconds| u64::try_from(seconds).ok());
    let deadline = limit.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut late = false;
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            late = true;
            let _gone = process::send_signal(&child.pidfd, libc::SIGKILL);
            break;
        }
        let wait = left.map(|left| Timespec {
            tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        });
        let mut files = [PollFd::new(&child.pidfd, PollFlags::IN)];
        let _interrupted = poll(&mut files, wait.as_ref());
        if !files[0].revents().is_empty() {
            break;
        }
    }
    let code = process::wait(child.pidfd.as_fd()).context(|| "cannot wait for it")?;
    if late {
        let text = format!("it has not ended within {} seconds", limit.unwrap_or(0));
        return Err(Error::new(Kind::Unavailable, text));
    }
    if code == 0 {
        return Ok(());
    }
    let mut written = String::new();
    // What it wrote is a help, and may be anything.
    let _unreadable = output
        .rewind()
        .and_then(|()| output.take(LONGEST as u64).read_to_string(&mut written).map(drop));
    let last = written.lines().last().map(|line| format!(": {line}")).unwrap_or_default();
    Err(Error::new(Kind::Internal, format!("it ended with status {code}{last}")))
}
