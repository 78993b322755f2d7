//! `barge system service`, and Docker's clients that talk to it.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use super::barge::Barge;
use super::output::Output;
use super::process::{Invocation, Running, wait_until};

/// Debian's client, whatever else is installed.
const DOCKER: &str = "/usr/bin/docker";

/// How long a client may take.
const LIMIT: Duration = Duration::from_secs(120);

/// A running service; it ends when it is dropped.
pub(crate) struct DockerHost<'a> {
    barge: &'a Barge,
    running: Option<Running>,
    socket: String,
}

/// An answer of the service.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl<'a> DockerHost<'a> {
    /// Starts a service on a store.
    pub(crate) fn start(barge: &'a Barge) -> Self {
        let address = format!("unix://{}", barge.path_text("api.sock"));
        Self::start_by(barge, barge.command(["system", "service", "--time=0", &address]))
    }

    /// As [`DockerHost::start`], by a command of one's own: the service listens at `api.sock`.
    pub(crate) fn start_by(barge: &'a Barge, command: Invocation) -> Self {
        let socket = barge.path_text("api.sock");
        let running = command.limit(Duration::from_secs(600)).spawn();
        wait_until("the service listens", || UnixStream::connect(&socket).is_ok());
        Self { barge, running: Some(running), socket }
    }

    /// Starts a service on a store with the image `busybox`, as Docker names it.
    pub(crate) fn with_busybox(barge: &'a Barge) -> Self {
        barge.import_busybox();
        barge.run(["tag", "busybox", "docker.io/library/busybox"]).ok();
        barge.run(["rmi", "localhost/busybox"]).exits(0);
        Self::start(barge)
    }

    /// Returns its address.
    pub(crate) fn address(&self) -> String {
        format!("unix://{}", self.socket)
    }

    /// Prepares a client.
    pub(crate) fn client<I, S>(&self, program: &str, arguments: I) -> Invocation
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        self.barge
            .other_command(program, arguments)
            .env("DOCKER_HOST", self.address())
            .env("DOCKER_CONFIG", self.barge.path("docker"))
            .env("DOCKER_BUILDKIT", "0")
            .env("COMPOSE_DOCKER_CLI_BUILD", "0")
            .limit(LIMIT)
    }

    /// Runs a command line that follows `docker`.
    pub(crate) fn docker<I, S>(&self, arguments: I) -> Output
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        self.client(DOCKER, arguments).run()
    }

    /// Prepares a command line that follows `docker`.
    pub(crate) fn docker_command<I, S>(&self, arguments: I) -> Invocation
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        self.client(DOCKER, arguments)
    }

    /// Asks for something without a client, with a body of JSON.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &str) -> Answer {
        self.send(method, path, "Content-Type: application/json\r\n", body.as_bytes())
    }

    /// Asks for something without a client.
    pub(crate) fn send(&self, method: &str, path: &str, fields: &str, body: &[u8]) -> Answer {
        let mut stream = UnixStream::connect(&self.socket).expect("it listens");
        stream.set_read_timeout(Some(LIMIT)).expect("a socket has a timeout");
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: d\r\nConnection: close\r\n{fields}Content-Length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).expect("it reads");
        // It may have answered before it has read all of it.
        drop(stream.write_all(body));
        let mut all = Vec::new();
        stream.read_to_end(&mut all).expect("it answers");
        let end = all.windows(4).position(|four| four == b"\r\n\r\n").expect("there is a head");
        let head = String::from_utf8_lossy(&all[..end]).to_ascii_lowercase();
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        let body = match head.contains("transfer-encoding: chunked") {
            true => unchunked(&all[end + 4..]),
            false => all[end + 4..].to_vec(),
        };
        Answer { status, head, body }
    }

    /// Returns the path of all events up to now.
    pub(crate) fn events_so_far(&self) -> String {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let now = now.expect("it is later than 1970");
        format!("/events?since=1&until={}.{:09}", now.as_secs(), now.subsec_nanos())
    }

    /// Asks for something that must be there.
    #[track_caller]
    pub(crate) fn get(&self, path: &str) -> Value {
        let answer = self.ask("GET", path, "");
        assert_eq!(answer.status, 200, "{path}: {}", String::from_utf8_lossy(&answer.body));
        answer.json()
    }
}

impl Answer {
    /// Returns the body as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// Returns the text of an error.
    #[track_caller]
    pub(crate) fn message(&self) -> String {
        self.json()["message"].as_str().expect("errors have a message").to_owned()
    }
}

fn unchunked(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = rest.windows(2).position(|two| two == b"\r\n") {
        let length = std::str::from_utf8(&rest[..end]).expect("a length is text");
        let length = usize::from_str_radix(length, 16).expect("a length is a number");
        if length == 0 {
            break;
        }
        body.extend_from_slice(&rest[end + 2..end + 2 + length]);
        rest = &rest[end + 4 + length..];
    }
    body
}

impl Drop for DockerHost<'_> {
    fn drop(&mut self) {
        let Some(mut running) = self.running.take() else { return };
        running.signal(Signal::TERM);
        if !std::thread::panicking() {
            let output = running.wait();
            assert_eq!(output.status, 0, "the service: {}", output.story());
        }
    }
}
