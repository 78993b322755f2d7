//! A container that is attached to by a websocket (RFC 6455), as pages in browsers do it.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::json;

use crate::support::Barge;
use crate::support::docker::DockerHost;

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// Sends a frame, masked as clients must.
fn send(stream: &mut UnixStream, kind: u8, data: &[u8]) {
    let mask = [1, 2, 3, 4];
    let length = u8::try_from(data.len()).unwrap();
    assert!(length < 126, "it is a short one");
    let mut frame = vec![0x80 | kind, 0x80 | length];
    frame.extend_from_slice(&mask);
    frame.extend(data.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    stream.write_all(&frame).unwrap();
}

/// Waits for a frame: its kind, and what is in it.
fn receive(stream: &mut UnixStream) -> (u8, Vec<u8>) {
    let mut head = [0; 2];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(head[0] & 0x80, 0x80, "it is whole");
    let length = match head[1] {
        126 => {
            let mut length = [0; 2];
            stream.read_exact(&mut length).unwrap();
            usize::from(u16::from_be_bytes(length))
        }
        length => usize::from(length),
    };
    let mut data = vec![0; length];
    stream.read_exact(&mut data).unwrap();
    (head[0] & 0xf, data)
}

#[test]
fn pages_attach_by_websockets() {
    let barge = Barge::new();
    let docker = DockerHost::with_busybox(&barge);
    let body = json!({
        "Image": "busybox",
        "Cmd": ["sh", "-c", "read a; echo \"got $a\"; read b; exit 5"],
        "OpenStdin": true,
        "HostConfig": { "NetworkMode": "none" },
    });
    assert_eq!(docker.ask("POST", "/containers/create?name=box", &body.to_string()).status, 201);
    assert_eq!(docker.ask("POST", "/containers/box/start", "").status, 204);
    let socket = docker.address();
    let mut stream = UnixStream::connect(socket.trim_start_matches("unix://")).unwrap();
    stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    let ask = "GET /v1.45/containers/box/attach/ws?stream=1&stdin=1&stdout=1&stderr=1 HTTP/1.1\r\nHost: d\r\n\
               Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
               Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(ask.as_bytes()).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    // The example of the RFC.
    let accept = "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
    assert!(head.to_lowercase().contains(&accept.to_lowercase()), "{head}");
    send(&mut stream, BINARY, b"this\n");
    let mut told = Vec::new();
    while !told.ends_with(b"\n") {
        let (kind, data) = receive(&mut stream);
        assert!(matches!(kind, TEXT | BINARY), "{kind}");
        told.extend(data);
    }
    assert_eq!(told, b"got this\n");
    send(&mut stream, PING, b"x");
    assert_eq!(receive(&mut stream), (PONG, b"x".to_vec()));
    send(&mut stream, TEXT, b"that\n");
    assert_eq!(receive(&mut stream).0, CLOSE);
    barge.await_status("box", "exited");
    assert_eq!(docker.get("/containers/box/json")["State"]["ExitCode"], 5);
    assert_eq!(docker.ask("GET", "/containers/nosuch/attach/ws", "").status, 404);
}
