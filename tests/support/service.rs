//! `barge system service`, and Docker's client that talks to it.

use std::ffi::OsStr;

use rustix::process::Signal;

use super::process::{Invocation, Running, wait_until};
use super::{Barge, Output};

/// A service on a store; ended when this goes.
pub(crate) struct Served<'a> {
    barge: &'a Barge,
    socket: String,
    service: Option<Running>,
}

impl<'a> Served<'a> {
    /// Starts a service.
    pub(crate) fn start(barge: &'a Barge) -> Self {
        Self::start_with(barge, &["--time", "0"])
    }

    /// Starts a service with flags.
    pub(crate) fn start_with(barge: &'a Barge, flags: &[&str]) -> Self {
        let socket = barge.path_text("api.sock");
        let address = format!("unix://{socket}");
        let mut line = vec!["system", "service"];
        line.extend(flags);
        line.push(&address);
        let mut service = barge.command(line).limit(std::time::Duration::from_mins(10)).spawn();
        service.expect_error("listening");
        Self { barge, socket, service: Some(service) }
    }

    /// Returns the path of its socket.
    pub(crate) fn socket(&self) -> &str {
        &self.socket
    }

    /// Returns the process ID of the service.
    pub(crate) fn pid(&self) -> i32 {
        self.service.as_ref().map_or(0, |service| service.pid().as_raw_nonzero().get())
    }

    /// Prepares a command line that follows `docker`.
    pub(crate) fn docker<I, S>(&self, line: I) -> Invocation
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        self.barge
            .other_command("docker", line)
            .env("DOCKER_HOST", format!("unix://{}", self.socket))
    }

    /// Asks by HTTP; returns the status and the body.
    #[track_caller]
    pub(crate) fn ask(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        // As all clients escape what may not be in an address.
        let path = path.replace('{', "%7B").replace('}', "%7D").replace('"', "%22");
        let url = format!("http://d{path}");
        let mut line = vec!["-sS", "-g", "-m", "60", "-X", method, "-w", "\n%{http_code}"];
        if method == "HEAD" {
            line = vec!["-sS", "-g", "-m", "60", "-I", "-w", "\n%{http_code}"];
        }
        line.extend(["--unix-socket", &self.socket]);
        if !body.is_empty() {
            line.extend(["-H", "Content-Type: application/json", "-d", body]);
        }
        line.push(&url);
        let output: Output = self.barge.other_command("curl", line).run().ok();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let (body, status) = text.rsplit_once('\n').expect("curl writes the status last");
        (status.parse().expect("it is a number"), body.to_owned())
    }

    /// As [`Served::ask`], for a document.
    #[track_caller]
    pub(crate) fn json(&self, method: &str, path: &str, body: &str) -> serde_json::Value {
        let (status, text) = self.ask(method, path, body);
        assert!(status < 300, "{method} {path}: {status} {text}");
        serde_json::from_str(&text).expect("it is a document")
    }

    /// Counts the open files and the threads of the service.
    pub(crate) fn resources(&self) -> (usize, usize) {
        let count = |what: &str| {
            std::fs::read_dir(format!("/proc/{}/{what}", self.pid())).map_or(0, Iterator::count)
        };
        (count("fd"), count("task"))
    }

    /// Returns the bytes of memory that the service has.
    pub(crate) fn memory(&self) -> u64 {
        memory_of(self.pid().unsigned_abs())
    }

    /// Waits until the service has no more open files and threads than before.
    #[track_caller]
    pub(crate) fn await_resources(&self, before: (usize, usize)) {
        wait_until("the service holds no more than before", || {
            let now = self.resources();
            now.0 <= before.0 && now.1 <= before.1
        });
    }
}

/// Returns the bytes of memory that a process has for itself; 0 if it is gone.
pub(crate) fn memory_of(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    number.unwrap_or(0) * 1024
}

impl Drop for Served<'_> {
    fn drop(&mut self) {
        if let Some(mut service) = self.service.take() {
            service.signal(Signal::TERM);
            if !std::thread::panicking() {
                service.wait().ok();
            }
        }
    }
}
