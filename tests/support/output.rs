//! What a process has written and how it ended, with the checks that tests make on it.

use super::process::{contains, tail};

/// The result of a process.
pub(crate) struct Output {
    /// The command line, for messages.
    pub(crate) command: String,
    /// Exit status; 128 + n if signal n killed it.
    pub(crate) status: i32,
    /// The signal that killed it.
    pub(crate) killed: Option<i32>,
    /// Standard output.
    pub(crate) stdout: Vec<u8>,
    /// Standard error.
    pub(crate) stderr: Vec<u8>,
}

impl Output {
    /// Checks that it succeeded and had nothing to warn of.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        let output = self.exits(0);
        let errors = output.errors();
        let warning = errors.lines().find(|line| {
            line.starts_with("Warning:")
                || line.contains("level=warn")
                || line.contains("level=error")
        });
        assert!(warning.is_none(), "`{}` warned: {}", output.command, warning.unwrap_or(""));
        output
    }

    /// Checks its exit status; whether that is the container's or its own is for the caller to know.
    #[track_caller]
    pub(crate) fn exits(self, status: i32) -> Self {
        assert!(
            self.status == status && self.killed.is_none(),
            "`{}` ended with {}{}, not {status}\n{}",
            self.command,
            self.status,
            if self.killed.is_some() { " (killed by a signal)" } else { "" },
            self.story()
        );
        self
    }

    /// Checks that it failed in the way every failure must: the status, nothing on standard output,
    /// one `Error:` line and at most one line with the way out on standard error.
    #[track_caller]
    pub(crate) fn fails(self, status: i32) -> Self {
        let output = self.exits(status);
        assert!(output.stdout.is_empty(), "`{}`\n{}", output.command, output.story());
        output.one_error()
    }

    /// Checks that standard error is one `Error:` line and at most one `Hint:` or `See` line.
    #[track_caller]
    pub(crate) fn one_error(self) -> Self {
        let errors = self.errors();
        let mut lines = errors.lines().filter(|line| !is_progress(line));
        let first = lines.next().unwrap_or("");
        let second = lines.next();
        assert!(
            first.starts_with("Error: ")
                && second
                    .is_none_or(|line| line.starts_with("Hint: ") || line.starts_with("See '"))
                && lines.next().is_none(),
            "`{}` did not fail with one error line\n{}",
            self.command,
            self.story()
        );
        self
    }

    /// Checks the `Error:` line.
    #[track_caller]
    pub(crate) fn error(self, text: &str) -> Self {
        let errors = self.errors();
        let line = errors.lines().find(|line| line.starts_with("Error: ")).unwrap_or("");
        assert_eq!(line, format!("Error: {text}"), "`{}`\n{}", self.command, self.story());
        self
    }

    /// Checks that the `Error:` line contains `text`.
    #[track_caller]
    pub(crate) fn error_has(self, text: &str) -> Self {
        let errors = self.errors();
        let line = errors.lines().find(|line| line.starts_with("Error: ")).unwrap_or("");
        assert!(line.contains(text), "`{text}` is not in `{line}` of `{}`", self.command);
        self
    }

    /// Checks that there is a hint, and that it contains `text`.
    #[track_caller]
    pub(crate) fn hint_has(self, text: &str) -> Self {
        let errors = self.errors();
        let line = errors.lines().find(|line| line.starts_with("Hint: ")).unwrap_or("");
        assert!(
            line.contains(text),
            "`{text}` is not in the hint `{line}` of `{}`\n{}",
            self.command,
            self.story()
        );
        self
    }

    /// Checks the whole of standard output.
    #[track_caller]
    pub(crate) fn stdout(self, text: &str) -> Self {
        let got = String::from_utf8_lossy(&self.stdout);
        assert_eq!(got, text, "`{}`\n--- stderr\n{}", self.command, self.errors());
        self
    }

    /// Checks the whole of standard error.
    #[track_caller]
    pub(crate) fn stderr(self, text: &str) -> Self {
        assert_eq!(self.errors(), text, "`{}`", self.command);
        self
    }

    /// Checks that standard output contains `text`.
    #[track_caller]
    pub(crate) fn stdout_has(self, text: &str) -> Self {
        assert!(
            contains(&self.stdout, text.as_bytes()),
            "`{text}` is not in the output of `{}`\n{}",
            self.command,
            self.story()
        );
        self
    }

    /// Checks that standard output does not contain `text`.
    #[track_caller]
    pub(crate) fn stdout_lacks(self, text: &str) -> Self {
        assert!(
            !contains(&self.stdout, text.as_bytes()),
            "`{text}` is in the output of `{}`\n{}",
            self.command,
            self.story()
        );
        self
    }

    /// Checks that standard error contains `text`.
    #[track_caller]
    pub(crate) fn stderr_has(self, text: &str) -> Self {
        assert!(
            contains(&self.stderr, text.as_bytes()),
            "`{text}` is not in the errors of `{}`\n{}",
            self.command,
            self.story()
        );
        self
    }

    /// Returns standard output without the line end.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim_end_matches('\n').to_owned()
    }

    /// Returns the lines of standard output.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.text().lines().map(str::to_owned).collect()
    }

    /// Returns standard output as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.stdout)
            .unwrap_or_else(|error| panic!("`{}`: {error}\n{}", self.command, self.story()))
    }

    /// Returns standard error.
    pub(crate) fn errors(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Returns both streams, for a message.
    pub(crate) fn story(&self) -> String {
        format!("--- stdout\n{}\n--- stderr\n{}", tail(&self.stdout), tail(&self.stderr))
    }
}

/// Tells whether a line says what a pull is doing: that comes before an error as well.
fn is_progress(line: &str) -> bool {
    [
        "Resolved ",
        "Resolving ",
        "Trying to pull ",
        "Getting image source signatures",
        "Copying ",
        "Writing manifest",
    ]
    .iter()
    .any(|start| line.starts_with(start))
}
