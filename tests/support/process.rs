//! Processes with deadlines: nothing that a test starts can hang the run.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use super::needs::has_controller;
use super::output::Output;
use super::place::Place;
use super::terminal::Terminal;

/// How long a process may take unless the test says otherwise.
pub(crate) const LIMIT: Duration = Duration::from_secs(120);

/// How long after the end of a process its output may stay open.
const CLOSE_LIMIT: Duration = Duration::from_secs(10);

/// A process that is about to be started.
pub(crate) struct Invocation {
    command: Command,
    shown: String,
    input: Input,
    limit: Duration,
    place: Place,
}

enum Input {
    Nothing,
    Bytes(Vec<u8>),
    Open,
}

impl Invocation {
    /// Prepares a process in a place.
    pub(crate) fn new<I, S>(program: impl AsRef<OsStr>, arguments: I, place: &Place) -> Self
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let mut command = Command::new(program.as_ref());
        let mut shown = Path::new(program.as_ref())
            .file_name()
            .map_or_else(OsString::new, OsStr::to_owned)
            .to_string_lossy()
            .into_owned();
        for argument in arguments {
            shown.push(' ');
            shown.push_str(&argument.as_ref().to_string_lossy());
            command.arg(argument);
        }
        Self { command, shown, input: Input::Nothing, limit: LIMIT, place: place.clone() }
    }

    /// Sets the whole environment.
    pub(crate) fn environment(mut self, variables: &[(String, String)]) -> Self {
        self.command.env_clear().envs(variables.iter().map(|(name, value)| (name, value)));
        self
    }

    /// Sets one variable of the environment.
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Sets the working directory.
    pub(crate) fn within(mut self, directory: &Path) -> Self {
        self.command.current_dir(directory);
        self
    }

    /// Runs as somebody else, with no further groups.
    pub(crate) fn of_user(mut self, uid: u32, gid: u32) -> Self {
        self.command.uid(uid).gid(gid);
        self
    }

    /// Writes `bytes` to its standard input, then closes that.
    pub(crate) fn input(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.input = Input::Bytes(bytes.into());
        self
    }

    /// Keeps its standard input open until the test closes it.
    pub(crate) fn open_input(mut self) -> Self {
        self.input = Input::Open;
        self
    }

    /// Sets how long it may take.
    pub(crate) fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Runs it to its end.
    pub(crate) fn run(self) -> Output {
        self.spawn().wait()
    }

    /// Starts it.
    pub(crate) fn spawn(mut self) -> Running {
        let stdin = match self.input {
            Input::Nothing => Stdio::null(),
            Input::Bytes(_) | Input::Open => Stdio::piped(),
        };
        self.command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = start(&mut self.command, &self.place, &self.shown);
        let pidfd = pidfd_of(&child);
        let mut stdin = child.stdin.take();
        if let Some(stdin) = &stdin {
            rustix::io::ioctl_fionbio(stdin, true).expect("a pipe can be non-blocking");
        }
        let (pending, keep_input) = match self.input {
            Input::Bytes(bytes) => (bytes, false),
            Input::Open => (Vec::new(), true),
            Input::Nothing => (Vec::new(), false),
        };
        if pending.is_empty() && !keep_input {
            stdin = None;
        }
        let stdout = child.stdout.take().map(|pipe| Stream::new(pipe.into()));
        let stderr = child.stderr.take().map(|pipe| Stream::new(pipe.into()));
        Running {
            child,
            pidfd,
            shown: self.shown,
            stdin,
            keep_input,
            pending,
            stdout: stdout.expect("it is a pipe"),
            stderr: stderr.expect("it is a pipe"),
            deadline: Instant::now() + self.limit,
            status: None,
        }
    }

    /// Starts it on a terminal of its own, 24 rows by 80 columns.
    pub(crate) fn terminal(self) -> Terminal {
        Terminal::start(self.command, &self.place, self.shown, self.limit)
    }
}

/// Starts a command in a place.
pub(crate) fn start(command: &mut Command, place: &Place, shown: &str) -> Child {
    let mut started = place.enter(|| command.spawn());
    // A process that another thread has just begun to make holds what was open here, until it is another
    // program: also a copy of ours that was being written.
    let is_busy = |it: &io::Result<Child>| {
        it.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::ExecutableFileBusy)
    };
    eventually(Duration::from_secs(10), || {
        if is_busy(&started) {
            started = place.enter(|| command.spawn());
        }
        !is_busy(&started)
    });
    started.unwrap_or_else(|error| panic!("cannot start `{shown}`: {error}"))
}

/// Opens a descriptor that becomes readable when the process ends.
pub(crate) fn pidfd_of(child: &Child) -> OwnedFd {
    pidfd_open(pid_of(child), PidfdFlags::empty()).expect("it is our own child")
}

/// Returns the process ID in the form that system calls want.
pub(crate) fn pid_of(child: &Child) -> Pid {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a process ID is positive")
}

/// Converts what is left until a deadline for `poll`.
pub(crate) fn left(deadline: Instant) -> Timespec {
    let left = deadline.saturating_duration_since(Instant::now());
    Timespec::try_from(left).expect("deadlines are near")
}

/// Waits until `condition` holds; tells whether it did before the limit.
///
/// For what can be asked but does not report itself, as in the state of another process.
pub(crate) fn eventually(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// Waits until `condition` holds, or fails the test.
#[track_caller]
pub(crate) fn wait_until(what: &str, condition: impl FnMut() -> bool) {
    assert!(eventually(Duration::from_secs(60), condition), "waited a minute in vain: {what}");
}

struct Stream {
    pipe: Option<OwnedFd>,
    bytes: Vec<u8>,
}

impl Stream {
    fn new(pipe: OwnedFd) -> Self {
        rustix::io::ioctl_fionbio(&pipe, true).expect("a pipe can be non-blocking");
        Self { pipe: Some(pipe), bytes: Vec::new() }
    }

    /// Reads what is there; closes at its end.
    fn pump(&mut self) {
        let Some(pipe) = &self.pipe else { return };
        let mut buffer = vec![0; 64 * 1024];
        loop {
            match rustix::io::read(pipe, &mut buffer) {
                Ok(0) => {
                    self.pipe = None;
                    return;
                }
                Ok(count) => self.bytes.extend_from_slice(&buffer[..count]),
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return,
                Err(error) => panic!("cannot read from a process: {error}"),
            }
        }
    }
}

/// A process that was started.
pub(crate) struct Running {
    child: Child,
    pidfd: OwnedFd,
    shown: String,
    stdin: Option<ChildStdin>,
    keep_input: bool,
    pending: Vec<u8>,
    stdout: Stream,
    stderr: Stream,
    deadline: Instant,
    status: Option<ExitStatus>,
}

impl Running {
    /// Returns its process ID.
    pub(crate) fn pid(&self) -> Pid {
        pid_of(&self.child)
    }

    /// Sends it a signal; none if it has ended already.
    pub(crate) fn signal(&mut self, signal: Signal) {
        if self.status.is_none() {
            kill_process(self.pid(), signal).expect("it is our own child");
        }
    }

    /// Writes to its standard input.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        assert!(self.keep_input, "`{}` has no open input", self.shown);
        self.pending.extend_from_slice(bytes.as_ref());
        self.pump(|running| running.pending.is_empty());
    }

    /// Closes its standard input.
    pub(crate) fn close_input(&mut self) {
        self.keep_input = false;
        if self.pending.is_empty() {
            self.stdin = None;
        }
    }

    /// Waits until its standard output contains `text`.
    #[track_caller]
    pub(crate) fn expect(&mut self, text: &str) {
        let found = |running: &Self| contains(&running.stdout.bytes, text.as_bytes());
        self.pump(|running| found(running) || running.is_over());
        assert!(found(self), "`{}` never wrote `{text}`\n{}", self.shown, self.story());
    }

    /// Tells whether its standard output contains `text` by now.
    pub(crate) fn has_shown(&mut self, text: &str) -> bool {
        self.stdout.pump();
        contains(&self.stdout.bytes, text.as_bytes())
    }

    /// Waits until its standard error contains `text`.
    #[track_caller]
    pub(crate) fn expect_error(&mut self, text: &str) {
        let found = |running: &Self| contains(&running.stderr.bytes, text.as_bytes());
        self.pump(|running| found(running) || running.is_over());
        assert!(found(self), "`{}` never complained `{text}`\n{}", self.shown, self.story());
    }

    /// Returns what its standard error contains by now.
    pub(crate) fn complaints(&self) -> String {
        String::from_utf8_lossy(&self.stderr.bytes).into_owned()
    }

    /// Tells whether it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        if self.status.is_none() {
            self.status = self.child.try_wait().expect("it is our own child");
        }
        self.status.is_some()
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn wait(mut self) -> Output {
        self.close_input();
        self.pump(|running| running.status.is_some());
        // What the process leaves running must not keep our pipes open: scripts would wait for it.
        self.deadline = Instant::now() + CLOSE_LIMIT;
        if !self.pump_until(Self::is_over) {
            panic!(
                "`{}` has ended, but somebody keeps its output open: {}\n{}",
                self.shown,
                self.holders(),
                self.story()
            );
        }
        let status = self.status.expect("it has ended");
        Output {
            command: std::mem::take(&mut self.shown),
            status: status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)),
            killed: status.signal(),
            stdout: std::mem::take(&mut self.stdout.bytes),
            stderr: without_known_warning(std::mem::take(&mut self.stderr.bytes)),
        }
    }

    fn is_over(&self) -> bool {
        self.status.is_some() && self.stdout.pipe.is_none() && self.stderr.pipe.is_none()
    }

    #[track_caller]
    fn pump(&mut self, done: impl Fn(&Self) -> bool) {
        if !self.pump_until(done) {
            let story = self.story();
            drop(self.child.kill());
            panic!("`{}` took too long\n{story}", self.shown);
        }
    }

    /// Moves bytes until `done` or the deadline; tells which.
    fn pump_until(&mut self, done: impl Fn(&Self) -> bool) -> bool {
        loop {
            self.stdout.pump();
            self.stderr.pump();
            self.write();
            self.has_ended();
            if done(self) {
                return true;
            }
            if Instant::now() >= self.deadline {
                return false;
            }
            let mut fds = Vec::with_capacity(4);
            if self.status.is_none() {
                fds.push(PollFd::new(&self.pidfd, PollFlags::IN));
            }
            for pipe in [&self.stdout.pipe, &self.stderr.pipe].into_iter().flatten() {
                fds.push(PollFd::new(pipe, PollFlags::IN));
            }
            if let (Some(stdin), false) = (&self.stdin, self.pending.is_empty()) {
                fds.push(PollFd::from_borrowed_fd(stdin.as_fd(), PollFlags::OUT));
            }
            match poll(&mut fds, Some(&left(self.deadline))) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => panic!("cannot poll: {error}"),
            }
        }
    }

    fn write(&mut self) {
        while let (Some(stdin), false) = (&mut self.stdin, self.pending.is_empty()) {
            match stdin.write(&self.pending) {
                Ok(count) => drop(self.pending.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // It does not want more; whether that is right is for the test to say.
                Err(_) => {
                    self.pending.clear();
                    self.stdin = None;
                }
            }
        }
        if self.pending.is_empty() && !self.keep_input {
            self.stdin = None;
        }
    }

    fn story(&self) -> String {
        format!(
            "--- stdout\n{}\n--- stderr\n{}",
            tail(&self.stdout.bytes),
            tail(&self.stderr.bytes)
        )
    }

    /// Names the processes that have our pipes open.
    fn holders(&self) -> String {
        let mut names = Vec::new();
        for pipe in [&self.stdout.pipe, &self.stderr.pipe].into_iter().flatten() {
            let inode = rustix::fs::fstat(pipe).map_or(0, |status| status.st_ino);
            let link = format!("pipe:[{inode}]");
            for process in super::leaks::processes() {
                if process.pid != std::process::id() && process.has_open(&link) {
                    names.push(format!("{} ({})", process.pid, process.command_line()));
                }
            }
        }
        names.join(", ")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.has_ended() {
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}

/// What a user whose containers cannot have the default limit is told once.
///
/// That is as it must be, has a test of its own, and would be in the way of all others.
pub(crate) const KNOWN_WARNING: &str =
    "Warning: the pids limit is not applied: the cgroup controller `pids` is not available\n";

fn without_known_warning(stderr: Vec<u8>) -> Vec<u8> {
    if has_controller("pids") {
        return stderr;
    }
    match String::from_utf8(stderr) {
        Ok(text) => text.replacen(KNOWN_WARNING, "", 1).into_bytes(),
        Err(error) => error.into_bytes(),
    }
}

/// Returns the end of what a process wrote, for a failure message.
pub(crate) fn tail(bytes: &[u8]) -> String {
    let start = bytes.len().saturating_sub(8 * 1024);
    String::from_utf8_lossy(&bytes[start..]).into_owned()
}

/// Tells whether `needle` occurs in `bytes`.
pub(crate) fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len().max(1)).any(|window| window == needle)
}

/// Runs a tool of the host that must succeed, and returns what it printed.
#[track_caller]
pub(crate) fn tool<I, S>(program: &str, arguments: I) -> String
where
    I: IntoIterator<Item = S>,
    S: AsRef<OsStr>,
{
    Invocation::new(program, arguments, &Place::host())
        .limit(Duration::from_secs(900))
        .run()
        .ok()
        .text()
}
