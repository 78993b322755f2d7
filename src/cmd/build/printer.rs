//! How a build goes on, for people.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use crate::build::{Listener, StepEnd, StepName};
use crate::cmd::output::{self, Output};
use crate::error::{Context, Result};

/// Prints how the build goes on, to standard output as Podman does.
pub(super) struct Printer {
    quiet: bool,
    /// Whether standard output is for the result.
    to_stderr: bool,
    /// Where it is written to instead.
    file: Option<File>,
    out: Mutex<Output>,
}

impl Printer {
    pub(super) fn new(
        quiet: bool,
        to_stderr: bool,
        file: Option<&Path>,
        out: Output,
    ) -> Result<Self> {
        let create =
            |path: &Path| File::create(path).context(|| format!("cannot write {}", path.display()));
        let file = file.map(create).transpose()?;
        Ok(Self { quiet, to_stderr, file, out: Mutex::new(out) })
    }

    pub(super) fn into_output(self) -> Output {
        self.out.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn print(&self, text: &[u8]) {
        if let Some(mut file) = self.file.as_ref() {
            // A full disk ends no build; the end tells.
            drop(file.write_all(text));
            return;
        }
        if self.quiet {
            return;
        }
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        // When nobody reads it, the build goes on all the same; the end tells.
        let printed = if self.to_stderr { out.error_bytes(text) } else { out.bytes(text) };
        drop(printed.and_then(|()| out.flush()));
    }
}

impl Listener for Printer {
    fn begin(&self, step: &StepName) {
        let mut prefix = String::new();
        if let Some(platform) = &step.platform {
            prefix = format!("[{platform}] ");
        }
        if step.stages > 1 {
            prefix.push_str(&format!("[{}/{}] ", step.stage + 1, step.stages));
        }
        let StepName { number, count, text, .. } = step;
        self.print(format!("{prefix}STEP {number}/{count}: {text}\n").as_bytes());
    }

    fn line(&self, _: &StepName, text: &str) {
        self.print(format!("{text}\n").as_bytes());
    }

    fn output(&self, _: &StepName, bytes: &[u8]) {
        self.print(bytes);
    }

    fn end(&self, _: &StepName, _: StepEnd<'_>) {}

    fn warning(&self, text: &str) {
        output::warning(text);
    }

    fn leave_terminal(&self, other: &mut dyn FnMut()) {
        // Whatever other steps print waits.
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        // The end tells, as above.
        drop(out.flush());
        other();
    }
}
