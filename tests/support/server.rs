//! A registry that misbehaves: what it answers to each path is the test's choice.

use std::collections::{HashMap, VecDeque};
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};

use serde_json::{Value, json};

use super::layout::{Packing, digest, pack};
use super::place::Place;

/// What the server answers to a path.
#[derive(Clone)]
pub(crate) struct Answer {
    status: u16,
    media_type: String,
    headers: String,
    body: Vec<u8>,
    after: After,
}

/// What a client has asked.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// `GET`, `HEAD` and so on.
    pub(crate) method: String,
    /// The path with its query.
    pub(crate) path: String,
    headers: HashMap<String, String>,
}

impl Request {
    /// Returns a header, empty if there is none. Its name is in lower case.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

#[derive(Clone, Copy, PartialEq)]
enum After {
    /// The whole body was sent.
    Done,
    /// The connection is cut after that many bytes.
    Cut(usize),
    /// Nothing more comes after that many bytes, until the server is dropped.
    Stall(usize),
    /// The rest comes when the test says so.
    Hold(usize),
}

impl Answer {
    /// Sends a body.
    pub(crate) fn new(media_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let media_type = media_type.to_owned();
        let headers = String::new();
        Self { status: 200, media_type, headers, body: body.into(), after: After::Done }
    }

    /// Adds a header.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers += &format!("{name}: {value}\r\n");
        self
    }

    /// Answers with another status.
    pub(crate) fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// Promises the whole body and cuts the connection in the middle.
    pub(crate) fn cut(mut self) -> Self {
        self.after = After::Cut(self.body.len() / 2);
        self
    }

    /// Sends half of the body and then nothing more.
    pub(crate) fn stall(mut self) -> Self {
        self.after = After::Stall(self.body.len() / 2);
        self
    }

    /// Sends half of the body, and the rest after [`Server::release`].
    pub(crate) fn hold(mut self) -> Self {
        self.after = After::Hold(self.body.len() / 2);
        self
    }
}

struct Shared {
    answers: Mutex<HashMap<String, Answer>>,
    /// Answers that are given once, before those.
    once: Mutex<HashMap<String, VecDeque<Answer>>>,
    asked: Mutex<Vec<Request>>,
    /// Bytes of bodies that were sent, by path.
    sent: Mutex<HashMap<String, usize>>,
    stalled: Mutex<bool>,
    released: Mutex<bool>,
    stopped: Mutex<bool>,
    changed: Condvar,
}

/// The server; it ends when it is dropped.
pub(crate) struct Server {
    port: u16,
    shared: Arc<Shared>,
    place: Place,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Starts a server where `place` can reach it.
    pub(crate) fn start(place: &Place) -> Self {
        let listener =
            place.enter(|| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).expect("loopback is up");
        let port = listener.local_addr().expect("it is bound").port();
        let shared = Arc::new(Shared {
            answers: Mutex::default(),
            once: Mutex::default(),
            asked: Mutex::default(),
            sent: Mutex::default(),
            stalled: Mutex::default(),
            released: Mutex::default(),
            stopped: Mutex::default(),
            changed: Condvar::new(),
        });
        let serving = Arc::clone(&shared);
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if *serving.stopped.lock().expect("nobody panicked") {
                    return;
                }
                let serving = Arc::clone(&serving);
                // A client that goes away in the middle is no concern of the server.
                thread::spawn(move || drop(serving.serve(stream)));
            }
        });
        let server = Self { port, shared, place: place.clone(), thread: Some(thread) };
        server.answer("/v2/", Answer::new("application/json", "{}"));
        server
    }

    /// Sets the answer to a path.
    pub(crate) fn answer(&self, path: &str, answer: Answer) {
        self.shared.answers.lock().expect("nobody panicked").insert(path.to_owned(), answer);
    }

    /// Sets an answer to a path that is given once; then come further ones, and the lasting one.
    pub(crate) fn answer_once(&self, path: &str, answer: Answer) {
        let mut once = self.shared.once.lock().expect("nobody panicked");
        once.entry(path.to_owned()).or_default().push_back(answer);
    }

    /// Forgets the answer to a path.
    pub(crate) fn forget(&self, path: &str) {
        self.shared.answers.lock().expect("nobody panicked").remove(path);
    }

    /// Serves an image of these gzip layers as `name:1` and returns what can be spoiled.
    pub(crate) fn image(&self, name: &str, layers: &[Vec<u8>]) -> Parts {
        let packed: Vec<Vec<u8>> = layers.iter().map(|tar| pack(tar, Packing::Gzip)).collect();
        let config = json!({
            "architecture": super::layout::architecture(),
            "os": "linux",
            "config": { "Cmd": ["true"] },
            "rootfs": {
                "type": "layers",
                "diff_ids": layers.iter().map(|tar| digest(tar)).collect::<Vec<_>>(),
            },
        })
        .to_string();
        let describe = |kind: &str, bytes: &[u8]| {
            json!({
                "mediaType": format!("application/vnd.oci.image.{kind}"),
                "digest": digest(bytes),
                "size": bytes.len(),
            })
        };
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": describe("config.v1+json", config.as_bytes()),
            "layers": packed.iter().map(|l| describe("layer.v1.tar+gzip", l)).collect::<Vec<_>>(),
        });
        let parts = Parts { name: name.to_owned(), manifest, layers: packed };
        self.answer(
            &format!("/v2/{name}/blobs/{}", digest(config.as_bytes())),
            Answer::new("application/octet-stream", config),
        );
        for number in 0..parts.layers.len() {
            self.answer(&parts.layer_path(number), parts.layer(number));
        }
        self.serve_manifest(&parts.name, &parts.manifest);
        parts
    }

    /// Serves a manifest under the tag 1 and under its digest.
    pub(crate) fn serve_manifest(&self, name: &str, manifest: &Value) {
        let bytes = manifest.to_string();
        let answer = Answer::new(MANIFEST, bytes.as_bytes())
            .header("Docker-Content-Digest", &digest(bytes.as_bytes()));
        self.answer(&format!("/v2/{name}/manifests/1"), answer.clone());
        self.answer(&format!("/v2/{name}/manifests/{}", digest(bytes.as_bytes())), answer);
    }

    /// Returns the full reference of an image of this server.
    pub(crate) fn reference(&self, name: &str) -> String {
        format!("127.0.0.1:{}/{name}", self.port)
    }

    /// Waits until a client has got the first half of a stalling answer.
    pub(crate) fn await_stall(&self) {
        let mut stalled = self.shared.stalled.lock().expect("nobody panicked");
        while !*stalled {
            let (guard, wait) = self
                .shared
                .changed
                .wait_timeout(stalled, super::process::LIMIT)
                .expect("nobody panicked");
            assert!(!wait.timed_out(), "nobody asked for the stalling answer");
            stalled = guard;
        }
    }

    /// Sends what answers hold back.
    pub(crate) fn release(&self) {
        *self.shared.released.lock().expect("nobody panicked") = true;
        self.shared.changed.notify_all();
    }

    /// Makes it forget that an answer has stalled.
    pub(crate) fn forget_stall(&self) {
        *self.shared.stalled.lock().expect("nobody panicked") = false;
    }

    /// Returns the paths that clients have asked for.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.requests().into_iter().map(|request| request.path).collect()
    }

    /// Returns what clients have asked.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.shared.asked.lock().expect("nobody panicked").clone()
    }

    /// Forgets what clients have asked and were sent.
    pub(crate) fn forget_requests(&self) {
        self.shared.asked.lock().expect("nobody panicked").clear();
        self.shared.sent.lock().expect("nobody panicked").clear();
    }

    /// Returns how many bytes of bodies were sent for a path.
    pub(crate) fn sent(&self, path: &str) -> usize {
        self.shared.sent.lock().expect("nobody panicked").get(path).copied().unwrap_or(0)
    }

    /// Returns its address.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// The parts of an image that a server serves.
pub(crate) struct Parts {
    name: String,
    /// The manifest.
    pub(crate) manifest: Value,
    /// The compressed layers.
    pub(crate) layers: Vec<Vec<u8>>,
}

impl Parts {
    /// Returns the path of a layer.
    pub(crate) fn layer_path(&self, number: usize) -> String {
        format!("/v2/{}/blobs/{}", self.name, digest(&self.layers[number]))
    }

    /// Returns the honest answer for a layer.
    pub(crate) fn layer(&self, number: usize) -> Answer {
        Answer::new("application/octet-stream", self.layers[number].clone())
    }
}

impl Shared {
    fn serve(&self, stream: std::io::Result<TcpStream>) -> std::io::Result<()> {
        let mut stream = stream?;
        let mut reader = BufReader::new(stream.try_clone()?);
        loop {
            let mut line = Vec::new();
            // A client that tries TLS first sends no text; it is cut off, and tries without.
            if reader.fill_buf()?.first().is_none_or(|byte| !byte.is_ascii_uppercase()) {
                return Ok(());
            }
            reader.read_until(b'\n', &mut line)?;
            let line = String::from_utf8_lossy(&line).into_owned();
            let mut words = line.split_whitespace();
            let (method, path) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
            let mut headers = HashMap::new();
            loop {
                let mut header = String::new();
                if reader.read_line(&mut header)? == 0 || header.trim().is_empty() {
                    break;
                }
                if let Some((name, value)) = header.split_once(':') {
                    headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
                }
            }
            // Through a proxy comes the whole address.
            let path = match path.split_once("://") {
                Some((_, rest)) => rest.find('/').map_or("/", |slash| &rest[slash..]),
                None => path,
            };
            let (method, path) = (method.to_owned(), path.to_owned());
            let request = Request { method, path, headers };
            self.asked.lock().expect("nobody panicked").push(request.clone());
            let answer = self.answer_to(&request);
            if !self.reply(&mut stream, &request, answer)? {
                return Ok(());
            }
        }
    }

    fn answer_to(&self, request: &Request) -> Answer {
        let path = &request.path;
        let mut once = self.once.lock().expect("nobody panicked");
        let answer = once.get_mut(path).and_then(VecDeque::pop_front);
        let answer =
            answer.or_else(|| self.answers.lock().expect("nobody panicked").get(path).cloned());
        answer.unwrap_or_else(|| Answer::new("application/json", NOT_FOUND).status(404))
    }

    /// Sends an answer, or the part of it that is asked for; tells whether the connection goes on.
    fn reply(
        &self,
        stream: &mut TcpStream,
        request: &Request,
        mut answer: Answer,
    ) -> std::io::Result<bool> {
        let range = request.header("range").strip_prefix("bytes=");
        let from = range.and_then(|range| range.strip_suffix('-')?.parse::<usize>().ok());
        if let (Some(from), 200) = (from, answer.status) {
            let whole = answer.body.len();
            answer.body = answer.body.split_off(from.min(whole));
            answer.status = 206;
            let range = format!("bytes {from}-{}/{whole}", whole - 1);
            answer = answer.header("Content-Range", &range);
            answer.after = match answer.after {
                After::Cut(_) => After::Cut(answer.body.len() / 2),
                After::Stall(_) => After::Stall(answer.body.len() / 2),
                After::Hold(_) => After::Hold(answer.body.len() / 2),
                After::Done => After::Done,
            };
        }
        write!(
            stream,
            "HTTP/1.1 {} X\r\nContent-Type: {}\r\n{}Content-Length: {}\r\n\r\n",
            answer.status,
            answer.media_type,
            answer.headers,
            answer.body.len()
        )?;
        if request.method == "HEAD" {
            return Ok(true);
        }
        let sent = match answer.after {
            After::Done | After::Hold(_) => answer.body.len(),
            After::Cut(length) | After::Stall(length) => length,
        };
        *self.sent.lock().expect("nobody panicked").entry(request.path.clone()).or_default() +=
            sent;
        match answer.after {
            After::Done => {
                stream.write_all(&answer.body)?;
                Ok(true)
            }
            After::Cut(length) => {
                stream.write_all(&answer.body[..length])?;
                Ok(false)
            }
            After::Hold(length) => {
                stream.write_all(&answer.body[..length])?;
                *self.stalled.lock().expect("nobody panicked") = true;
                self.changed.notify_all();
                let mut released = self.released.lock().expect("nobody panicked");
                while !*released {
                    released = self.changed.wait(released).expect("nobody panicked");
                }
                drop(released);
                stream.write_all(&answer.body[length..])?;
                Ok(true)
            }
            After::Stall(length) => {
                stream.write_all(&answer.body[..length])?;
                *self.stalled.lock().expect("nobody panicked") = true;
                self.changed.notify_all();
                let mut stopped = self.stopped.lock().expect("nobody panicked");
                while !*stopped {
                    stopped = self.changed.wait(stopped).expect("nobody panicked");
                }
                Ok(false)
            }
        }
    }
}

const NOT_FOUND: &str = r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#;

impl Drop for Server {
    fn drop(&mut self) {
        if let Ok(mut stopped) = self.shared.stopped.lock() {
            *stopped = true;
        }
        self.shared.changed.notify_all();
        // Wakes the listener, which then sees that it is over.
        let address = (Ipv4Addr::LOCALHOST, self.port);
        drop(self.place.enter(|| TcpStream::connect(address)));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}
