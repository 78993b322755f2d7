//! A web server whose answers are a function of the test, for what is no registry or only half of one.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use super::place::Place;

/// What a client wants.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// As in `GET`.
    pub(crate) method: String,
    /// Path and query.
    pub(crate) path: String,
    /// Headers, their names in lower case.
    headers: Vec<(String, String)>,
    /// What follows them.
    pub(crate) body: Vec<u8>,
}

impl Request {
    /// Returns the value of a header; empty if there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }
}

/// Status, further headers, and the body of an answer.
pub(crate) type Reply = (u16, Vec<(&'static str, String)>, Vec<u8>);

/// Makes an answer without further headers.
pub(crate) fn reply(status: u16, body: impl Into<Vec<u8>>) -> Reply {
    (status, Vec::new(), body.into())
}

/// The server; it ends when it is dropped.
pub(crate) struct Http {
    port: u16,
    seen: Arc<Mutex<Vec<Request>>>,
    stopped: Arc<AtomicBool>,
    place: Place,
    thread: Option<JoinHandle<()>>,
}

impl Http {
    /// Starts a server where `place` can reach it.
    pub(crate) fn start(
        place: &Place,
        answer: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener =
            place.enter(|| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).expect("loopback is up");
        let port = listener.local_addr().expect("it is bound").port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let stopped = Arc::new(AtomicBool::new(false));
        let (log, stop, answer) = (Arc::clone(&seen), Arc::clone(&stopped), Arc::new(answer));
        let thread = thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
                // A client that goes away in the middle is no concern of the server.
                thread::spawn(move || drop(serve(stream, &log, &*answer)));
            }
        });
        Self { port, seen, stopped, place: place.clone(), thread: Some(thread) }
    }

    /// Returns host and port.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Returns what clients wanted, and forgets it.
    pub(crate) fn seen(&self) -> Vec<Request> {
        std::mem::take(&mut *self.seen.lock().expect("nobody panicked"))
    }
}

impl Drop for Http {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        // Wakes the listener, which then sees that it is over.
        let address = (Ipv4Addr::LOCALHOST, self.port);
        drop(self.place.enter(|| TcpStream::connect(address)));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

fn serve(
    mut stream: TcpStream,
    log: &Mutex<Vec<Request>>,
    answer: &dyn Fn(&Request) -> Reply,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        // A client that tries TLS first sends no text; it is cut off, and tries without.
        if reader.fill_buf()?.first().is_none_or(|byte| !byte.is_ascii_uppercase()) {
            return Ok(());
        }
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            match line.trim_end() {
                "" => break,
                text => lines.push(text.to_owned()),
            }
        }
        let mut words = lines[0].split(' ').map(str::to_owned);
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let headers = lines[1..]
            .iter()
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let mut request = Request { method, path, headers, body: Vec::new() };
        let length: usize = request.header("content-length").parse().unwrap_or(0);
        request.body.resize(length, 0);
        reader.read_exact(&mut request.body)?;
        log.lock().expect("nobody panicked").push(request.clone());
        let (status, headers, body) = answer(&request);
        let mut head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n", body.len());
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes())?;
        if request.method != "HEAD" {
            stream.write_all(&body)?;
        }
    }
}
