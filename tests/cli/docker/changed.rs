//! Requests that were changed at random places: always the same ones, and each is answered.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::support::Barge;
use crate::support::docker::DockerHost;
use crate::support::layout::Tar;

/// How many are sent, and how long that may take on a slow machine.
const COUNT: usize = 500;
const LIMIT: Duration = Duration::from_secs(60);

/// Requests from which others are made; `BOX` is a container that is there.
const SEEDS: [(&str, &str); 20] = [
    ("GET /v1.45/containers/json?all=1&limit=3&filters=%7B%22name%22%3A%5B%22a%22%5D%7D", ""),
    ("GET /v1.45/containers/BOX/json?size=1", ""),
    ("GET /containers/BOX/logs?stdout=1&since=1&tail=5&timestamps=1", ""),
    ("GET /containers/BOX/archive?path=%2Fetc%2F..%2Fetc%2Fpasswd", ""),
    ("HEAD /containers/BOX/archive?path=/etc", ""),
    ("POST /containers/BOX/rename?name=box2", ""),
    ("POST /containers/BOX/update", r#"{"CpuShares":10,"RestartPolicy":{"Name":"no"}}"#),
    ("POST /containers/BOX/resize?h=10&w=20", ""),
    ("POST /containers/BOX/exec", r#"{"Cmd":["true"],"Env":["A=1"],"DetachKeys":"ctrl-a"}"#),
    ("POST /exec/0123456789/start", r#"{"Detach":false,"Tty":false}"#),
    ("POST /containers/BOX/wait?condition=not-running", ""),
    (
        "POST /containers/create?name=made",
        r#"{"Image":"busybox","Cmd":["true"],"Env":["A=1"],"Labels":{"a":"b"},"HostConfig":{"NetworkMode":"none","Tmpfs":{"/x":"size=1m"},"Memory":67108864,"Ulimits":[{"Name":"core","Soft":0,"Hard":0}],"RestartPolicy":{"Name":"no"}}}"#,
    ),
    ("POST /networks/create", r#"{"Name":"net","Labels":{"a":"b"},"Options":{"mtu":"1400"}}"#),
    ("POST /volumes/create", r#"{"Name":"vol","DriverOpts":{"o":"size=1m"}}"#),
    ("POST /secrets/create", r#"{"Name":"word","Data":"eA==","Labels":{"a":"b"}}"#),
    ("POST /commit?container=BOX&repo=made&tag=1&changes=ENV%20A%3D1", r#"{"Cmd":["sh"]}"#),
    ("POST /build/prune?all=1&keep-storage=5&filters=%7B%22until%22%3A%5B%221h%22%5D%7D", ""),
    ("POST /images/busybox/tag?repo=other%2Fname&tag=2", ""),
    ("GET /system/df?type=image&verbose=1", ""),
    ("GET /images/json?all=1&digests=1&filters=%7B%22dangling%22%3A%5B%22true%22%5D%7D", ""),
];

/// What decoders trip over.
const PIECES: [&str; 20] = [
    "",
    "null",
    "-1",
    "0",
    "18446744073709551616",
    "1e400",
    "\"\"",
    "{}",
    "[]",
    "[[[[[[",
    "%00",
    "%ff",
    "..%2F",
    "/",
    ":",
    "=",
    "\\u0000",
    "\u{1f}",
    "é",
    "sha256:",
];

/// Numbers that look random (xorshift).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % end.max(1) as u64).unwrap()
    }

    /// Changes one to three places, behind the first letters.
    fn change(&mut self, bytes: &mut Vec<u8>, keep: usize) {
        for _ in 0..=self.below(3) {
            let at = keep.min(bytes.len()) + self.below(bytes.len().saturating_sub(keep) + 1);
            let end = (at + self.below(10)).min(bytes.len());
            let piece = PIECES[self.below(PIECES.len())];
            match self.below(4) {
                0 => drop(bytes.drain(at..end)),
                1 => drop(bytes.splice(at..end, piece.bytes())),
                2 if at < bytes.len() => bytes[at] = u8::try_from(self.below(256)).unwrap(),
                _ => {
                    let copy = bytes[at..end].repeat(1 + self.below(30));
                    drop(bytes.splice(at..at, copy));
                }
            }
        }
    }
}

/// Sends a request; returns what is answered.
fn send(socket: &str, line: &[u8], field: &[u8], body: &[u8]) -> Vec<u8> {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut all = line.to_vec();
    all.extend_from_slice(b" HTTP/1.1\r\nHost: d\r\nConnection: close\r\n");
    all.extend_from_slice(field);
    all.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
    all.extend_from_slice(body);
    // It may hang up before it has read all of it.
    drop(stream.write_all(&all));
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    let asked = String::from_utf8_lossy(&all);
    assert!(read.is_ok() || !answer.is_empty(), "no answer to {asked:?}: {read:?}");
    answer
}

#[test]
fn requests_that_were_changed_are_answered() {
    let barge = Barge::new();
    let docker = DockerHost::with_busybox(&barge);
    let socket = docker.address().trim_start_matches("unix://").to_owned();
    let create = ["create", "--network=none", "docker.io/library/busybox", "true"];
    let id = barge.run(create).ok().text();
    let mut numbers = Numbers(0x2545_f491_4f6c_dd1d);
    let begun = Instant::now();
    let (mut answered, mut taken) = (0, 0);
    for count in 0..COUNT {
        if begun.elapsed() > LIMIT {
            break;
        }
        let (line, body) = SEEDS[numbers.below(SEEDS.len())];
        let mut line = line.replace("BOX", &id).into_bytes();
        let mut field = b"Content-Type: application/json\r\nX-Registry-Auth: e30=\r\n".to_vec();
        let mut body = body.as_bytes().to_vec();
        match numbers.below(6) {
            // The method stays, and with it what may be done at worst.
            0 | 1 => numbers.change(&mut line, 6),
            2 => numbers.change(&mut field, 30),
            _ if body.is_empty() => numbers.change(&mut line, 30),
            _ => numbers.change(&mut body, 0),
        }
        // A word in a line ends it; what is in it is escaped by all clients.
        line.retain(|byte| !matches!(byte, b'\r' | b'\n'));
        field.retain(|byte| *byte != 0);
        let answer = send(&socket, &line, &field, &body);
        let asked = format!(
            "{count}: {} {:?}",
            String::from_utf8_lossy(&line),
            String::from_utf8_lossy(&body)
        );
        let text = String::from_utf8_lossy(&answer);
        let status: u16 = text.split(' ').nth(1).and_then(|it| it.parse().ok()).unwrap_or(0);
        assert!(text.starts_with("HTTP/1.1 ") || text.is_empty(), "{asked}: {text}");
        // Whoever asks is at fault, and nothing has broken.
        assert!(status != 500 && !text.contains("panicked"), "{asked}: {text}");
        answered += usize::from(status > 0);
        taken += usize::from((200..300).contains(&status));
        if count % 50 == 0 {
            assert_eq!(docker.ask("GET", "/_ping", "").status, 200, "after {asked}");
        }
    }
    assert!(answered > 100 && taken > 10, "{answered} answered, {taken} of them done");
    // Archives that lead elsewhere, into a container that is there.
    let tar = Tar::new().file("../../outside", 0o644, "x").bytes();
    let path = format!("/containers/{id}/archive?path=/tmp");
    let answer = docker.send("PUT", &path, "Content-Type: application/x-tar\r\n", &tar);
    assert!(answer.status < 500, "{}", answer.message());
    assert!(!barge.path("outside").exists());
    assert_eq!(docker.ask("GET", "/_ping", "").status, 200);
    barge.run(["container", "inspect", &id]).ok();
}

#[test]
fn names_that_nothing_can_have_are_not_found() {
    let barge = Barge::new();
    let docker = DockerHost::start(&barge);
    let (long, hexadecimal) = ("a-".repeat(2000), "abc123".repeat(100));
    for name in [long.as_str(), &hexadecimal, "a%00b", "..%2F..%2Fetc", "%ff", "a%0Ab", "%C3%A9"] {
        for (method, path) in [
            ("GET", format!("/containers/{name}/json")),
            ("POST", format!("/containers/{name}/start")),
            ("DELETE", format!("/containers/{name}")),
            ("POST", format!("/commit?container={name}")),
            ("GET", format!("/exec/{name}/json")),
            ("GET", format!("/networks/{name}")),
            ("DELETE", format!("/volumes/{name}")),
            ("GET", format!("/secrets/{name}")),
            ("GET", format!("/configs/{name}")),
            ("GET", format!("/images/{name}/json")),
            ("DELETE", format!("/images/{name}")),
            ("GET", format!("/plugins/{name}/json")),
        ] {
            let status = docker.ask(method, &path, "").status;
            assert!(matches!(status, 400 | 404), "{method} {path}: {status}");
        }
    }
    for driver in [long.as_str(), "a\\u0000b", "../x", ""] {
        let body = format!(r#"{{"Name":"v","Driver":"{driver}"}}"#);
        let status = docker.ask("POST", "/volumes/create", &body).status;
        assert!(matches!(status, 201 | 400 | 404), "{driver}: {status}");
    }
}
