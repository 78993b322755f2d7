//! A web proxy: whatever is asked of it, it asks one server.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use super::place::Place;

/// A proxy; it ends with the test program.
pub(crate) struct Proxy {
    port: u16,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// Starts a proxy where `place` can reach it; all ways lead to `upstream`.
    pub(crate) fn start(place: &Place, upstream: &str) -> Self {
        let listener =
            place.enter(|| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).expect("loopback is up");
        let port = listener.local_addr().expect("it is bound").port();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (log, upstream, place) = (Arc::clone(&lines), upstream.to_owned(), place.clone());
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (log, upstream, place) = (Arc::clone(&log), upstream.clone(), place.clone());
                let Ok(stream) = stream else { return };
                // A client that goes away in the middle is no concern of the proxy.
                thread::spawn(move || drop(serve(stream, &log, &upstream, &place)));
            }
        });
        Self { port, lines }
    }

    /// Returns its address, as variables have it.
    pub(crate) fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Returns the first lines of all requests.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.lock().expect("nobody panicked").clone()
    }
}

/// Serves one connection: a tunnel, or one request.
fn serve(
    mut client: TcpStream,
    log: &Mutex<Vec<String>>,
    upstream: &str,
    place: &Place,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let mut head = String::new();
    while reader.read_line(&mut head)? > 2 {}
    let line = head.lines().next().unwrap_or("").to_owned();
    log.lock().expect("nobody panicked").push(line.clone());
    let mut server = place.enter(|| TcpStream::connect(upstream))?;
    if line.starts_with("CONNECT ") {
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
    } else {
        // What follows the host in the address is the path; the connection is for this request only.
        let path = line.split("://").nth(1).and_then(|rest| rest.split_once('/'));
        let path = path.map_or("/", |(_, path)| path.split(' ').next().unwrap_or(""));
        let method = line.split(' ').next().unwrap_or("");
        let headers = head.split_once("\r\n").map_or("", |(_, headers)| headers);
        let headers = headers.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
        write!(server, "{method} /{path} HTTP/1.1\r\n{headers}")?;
    }
    let (mut back, mut out) = (server.try_clone()?, client.try_clone()?);
    let backward = thread::spawn(move || {
        // Either side may hang up first.
        drop(std::io::copy(&mut back, &mut out));
        drop(out.shutdown(Shutdown::Both));
    });
    drop(std::io::copy(&mut reader.by_ref(), &mut server));
    drop(server.shutdown(Shutdown::Both));
    drop(backward.join());
    Ok(())
}
