//! Pulls from registries that are in this process, and not always well-behaved.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::error::{Kind, Result};
use crate::image::progress::Silent;
use crate::image::pull::pull;
use crate::image::registry::RegistryOptions;
use crate::spec::digest::Digest;
use crate::store::Store;
use crate::store::blob::digest_of;
use crate::store::image::Image;

/// What a client asked.
#[derive(Clone, Debug)]
struct Request {
    path: String,
    headers: HashMap<String, String>,
}

impl Request {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// What is answered: status and headers, the length that is promised, and what is really sent.
struct Answer {
    head: String,
    promised: usize,
    body: Vec<u8>,
}

impl Answer {
    fn ok(body: &[u8]) -> Self {
        Self { head: "200 OK".to_owned(), promised: body.len(), body: body.to_vec() }
    }

    fn bare(head: &str) -> Self {
        Self { head: head.to_owned(), promised: 0, body: Vec::new() }
    }
}

/// A server on loopback, for as long as the test runs.
struct Server {
    address: String,
    seen: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    fn new(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (log, answer) = (Arc::clone(&seen), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
                thread::spawn(move || serve(stream.unwrap(), &log, &*answer));
            }
        });
        Self { address, seen }
    }

    fn seen(&self) -> Vec<Request> {
        self.seen.lock().unwrap().clone()
    }
}

/// Serves one connection; one that wants TLS is closed, as by a server that knows none.
fn serve(stream: TcpStream, log: &Mutex<Vec<Request>>, answer: &dyn Fn(&Request) -> Answer) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    loop {
        if !reader.fill_buf().is_ok_and(|data| data.starts_with(b"GET ")) {
            return;
        }
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if line.trim_end().is_empty() {
                break;
            }
            lines.push(line.trim_end().to_owned());
        }
        let path = lines[0].split(' ').nth(1).unwrap().to_owned();
        let headers = lines[1..]
            .iter()
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let request = Request { path, headers };
        log.lock().unwrap().push(request.clone());
        let Answer { head, promised, body } = answer(&request);
        let text = format!("HTTP/1.1 {head}\r\nContent-Length: {promised}\r\n\r\n");
        let sent = stream.write_all(text.as_bytes()).and_then(|()| stream.write_all(&body));
        if sent.is_err() || body.len() < promised {
            return;
        }
    }
}

/// An image of one layer that holds `/file`.
struct Fixture {
    manifest: Vec<u8>,
    config: Vec<u8>,
    layer: Vec<u8>,
}

impl Fixture {
    fn new() -> Self {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        // Nothing that compresses well: a connection can be cut in its middle.
        let text: Vec<u8> =
            (0..200_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        header.set_uid(rustix::process::geteuid().as_raw().into());
        header.set_gid(rustix::process::getegid().as_raw().into());
        builder.append_data(&mut header, "file", text.as_slice()).unwrap();
        let tar = builder.into_inner().unwrap();
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&tar).unwrap();
        let layer = encoder.finish().unwrap();
        let config = format!(
            r#"{{"architecture":"amd64","os":"linux","config":{{}},"rootfs":{{"type":"layers","diff_ids":["{}"]}}}}"#,
            digest_of(&tar)
        )
        .into_bytes();
        let manifest = format!(
            r#"{{"schemaVersion":2,"config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{}","size":{}}},
                "layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"{}","size":{}}}]}}"#,
            digest_of(&config),
            config.len(),
            digest_of(&layer),
            layer.len()
        )
        .into_bytes();
        Self { manifest, config, layer }
    }

    fn layer_digest(&self) -> Digest {
        digest_of(&self.layer)
    }

    fn answer(&self, path: &str) -> Answer {
        if path == "/v2/app/manifests/latest" {
            Answer::ok(&self.manifest)
        } else if path.ends_with(digest_of(&self.config).as_str()) {
            Answer::ok(&self.config)
        } else if path.ends_with(self.layer_digest().as_str()) {
            Answer::ok(&self.layer)
        } else {
            Answer::bare("404 Not Found")
        }
    }

    /// Tells whether the layer is asked for.
    fn is_layer(&self, request: &Request) -> bool {
        request.path.ends_with(self.layer_digest().as_str())
    }
}

struct Pulled {
    _dir: tempfile::TempDir,
    store: Store,
    result: Result<Image>,
}

fn pull_from(server: &Server, options: &RegistryOptions) -> Pulled {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("root"), &dir.path().join("run")).unwrap();
    let reference = format!("{}/app", server.address).parse().unwrap();
    let platform = "linux/amd64".parse().unwrap();
    // No file of the user who runs this counts.
    let authfile = dir.path().join("auth.json");
    std::fs::write(&authfile, "{}").unwrap();
    let options = RegistryOptions { authfile: Some(authfile), ..options.clone() };
    let result = pull(&store, &reference, Some(&platform), &options, &Silent);
    Pulled { _dir: dir, store, result }
}

impl Pulled {
    #[track_caller]
    fn succeeded(&self) {
        let image = self.result.as_ref().unwrap();
        let file = self.store.layers().path(&image.layers[0]).join("file");
        assert_eq!(std::fs::metadata(file).unwrap().len(), 800_000);
    }

    /// Nothing of a failed pull is left, in its place or out of it.
    #[track_caller]
    fn failed(&self, text: &str) -> Kind {
        let error = self.result.as_ref().unwrap_err();
        assert!(error.to_string().contains(text), "{error}");
        for dir in ["tmp", "layers", "images"] {
            let left = std::fs::read_dir(self.store.root().join(dir)).unwrap().count();
            assert_eq!(left, 0, "{dir}");
        }
        error.kind()
    }
}

#[test]
fn pulls_without_encryption_from_this_machine() {
    let fixture = Fixture::new();
    let server = Server::new(move |request| fixture.answer(&request.path));
    pull_from(&server, &RegistryOptions::default()).succeeded();
    assert!(server.seen().iter().all(|request| request.header("authorization").is_empty()));
    let strict = RegistryOptions { tls_verify: Some(true), ..RegistryOptions::default() };
    assert_eq!(pull_from(&server, &strict).failed("cannot reach registry"), Kind::Unavailable);
}

#[test]
fn follows_an_index_to_this_platform() {
    let fixture = Fixture::new();
    let manifest = digest_of(&fixture.manifest);
    let item = |digest: &Digest, architecture: &str| {
        format!(
            r#"{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{digest}","size":1,
                "platform":{{"os":"linux","architecture":"{architecture}"}}}}"#
        )
    };
    let other = digest_of(b"other");
    let index = format!(
        r#"{{"schemaVersion":2,"manifests":[{},{}]}}"#,
        item(&other, "arm64"),
        item(&manifest, "amd64")
    );
    let index_digest = digest_of(index.as_bytes());
    let by_digest = format!("/v2/app/manifests/{manifest}");
    let server = Server::new(move |request| match request.path.as_str() {
        "/v2/app/manifests/latest" => Answer::ok(index.as_bytes()),
        path if path == by_digest => Answer::ok(&fixture.manifest),
        path => fixture.answer(path),
    });
    let pulled = pull_from(&server, &RegistryOptions::default());
    pulled.succeeded();
    let image = pulled.result.as_ref().unwrap();
    assert_eq!(image.manifest_digest.as_ref(), Some(&manifest));
    for digest in [&manifest, &index_digest] {
        let name = format!("{}/app@{digest}", server.address);
        assert_eq!(pulled.store.images().find(&name).unwrap().as_ref(), Some(image), "{name}");
    }
}

#[test]
fn goes_on_where_a_connection_broke() {
    let fixture = Fixture::new();
    let server = Server::new(move |request| {
        if !fixture.is_layer(request) {
            return fixture.answer(&request.path);
        }
        let layer = &fixture.layer;
        let from = request.header("range").trim_start_matches("bytes=").trim_end_matches('-');
        let from: usize = from.parse().unwrap_or(0);
        // Two times a third, then the rest.
        let to = if from + layer.len() / 3 + 3 > layer.len() {
            layer.len()
        } else {
            from + layer.len() / 3
        };
        let head = match from {
            0 => "200 OK".to_owned(),
            _ => format!(
                "206 Partial Content\r\nContent-Range: bytes {from}-{}/{}",
                layer.len() - 1,
                layer.len()
            ),
        };
        Answer { head, promised: layer.len() - from, body: layer[from..to].to_vec() }
    });
    pull_from(&server, &RegistryOptions::default()).succeeded();
    let ranges = server.seen().iter().filter(|request| !request.header("range").is_empty()).count();
    assert!(ranges >= 2, "{ranges}");
}

#[test]
fn begins_anew_where_a_registry_knows_no_ranges() {
    let fixture = Fixture::new();
    let cut = Mutex::new(true);
    let server = Server::new(move |request| {
        let mut answer = fixture.answer(&request.path);
        if fixture.is_layer(request) && std::mem::take(&mut *cut.lock().unwrap()) {
            answer.body.truncate(1000);
        }
        answer
    });
    pull_from(&server, &RegistryOptions::default()).succeeded();
}

#[test]
fn gives_up_on_a_registry_that_always_stops() {
    let fixture = Fixture::new();
    let server = Server::new(move |request| {
        let mut answer = fixture.answer(&request.path);
        if fixture.is_layer(request) {
            answer.body.truncate(1000);
        }
        answer
    });
    let pulled = pull_from(&server, &RegistryOptions::default());
    assert_eq!(pulled.failed("broke off"), Kind::Unavailable);
}

#[test]
fn refuses_what_does_not_match_its_digest() {
    for (what, position, text) in [
        ("layer", 5000, "is damaged"),
        ("layer", 0, "is damaged"),
        ("config", 5, "is damaged"),
        ("manifest", 0, "malformed"),
    ] {
        let fixture = Fixture::new();
        let server = Server::new(move |request| {
            let mut answer = fixture.answer(&request.path);
            let is_it = match what {
                "layer" => fixture.is_layer(request),
                "manifest" => request.path.contains("manifests"),
                _ => request.path.ends_with(digest_of(&fixture.config).as_str()),
            };
            if is_it {
                answer.body[position] ^= 1;
            }
            answer
        });
        pull_from(&server, &RegistryOptions::default()).failed(text);
    }
}

#[test]
fn refuses_more_than_was_promised() {
    let fixture = Fixture::new();
    let server = Server::new(move |request| {
        let mut answer = fixture.answer(&request.path);
        if fixture.is_layer(request) {
            answer.body.extend_from_slice(&[0; 100_000]);
            answer.promised += 100_000;
        }
        answer
    });
    pull_from(&server, &RegistryOptions::default()).failed("larger than the manifest says");
}

#[test]
fn gets_a_token_and_shows_it_to_nobody_else() {
    let fixture = Arc::new(Fixture::new());
    let elsewhere = {
        let fixture = Arc::clone(&fixture);
        Server::new(move |request| fixture.answer(&request.path))
    };
    let other = elsewhere.address.clone();
    let server = Server::new(move |request| {
        if request.path.starts_with("/token?") {
            assert!(request.path.contains("scope=repository%3Aapp%3Apull"), "{}", request.path);
            // user:pass
            return match request.header("authorization") {
                "Basic dXNlcjpwYXNz" => Answer::ok(br#"{"token":"secret"}"#),
                _ => Answer::bare("401 Unauthorized"),
            };
        }
        if request.header("authorization") != "Bearer secret" {
            let realm = format!("http://{}/token", request.header("host"));
            return Answer::bare(&format!(
                "401 Unauthorized\r\nWWW-Authenticate: Bearer realm=\"{realm}\",service=\"test\",scope=\"repository:app:pull\""
            ));
        }
        if fixture.is_layer(request) {
            return Answer::bare(&format!(
                "307 Temporary Redirect\r\nLocation: http://{other}{}",
                request.path
            ));
        }
        fixture.answer(&request.path)
    });
    let options = RegistryOptions {
        credentials: Some(("user".to_owned(), "pass".to_owned())),
        ..RegistryOptions::default()
    };
    pull_from(&server, &options).succeeded();
    let seen = elsewhere.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].header("authorization"), "");

    let pulled = pull_from(&server, &RegistryOptions::default());
    assert_eq!(pulled.failed("denies access"), Kind::Unauthorized);
}

#[test]
fn logs_in_with_a_password() {
    let fixture = Fixture::new();
    let server = Server::new(move |request| match request.header("authorization") {
        "Basic dXNlcjpwYXNz" => fixture.answer(&request.path),
        _ => Answer::bare("401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\""),
    });
    let with = |password: &str| RegistryOptions {
        credentials: Some(("user".to_owned(), password.to_owned())),
        ..RegistryOptions::default()
    };
    pull_from(&server, &with("pass")).succeeded();
    assert_eq!(pull_from(&server, &with("wrong")).failed("denies access"), Kind::Unauthorized);
    let pulled = pull_from(&server, &RegistryOptions::default());
    assert_eq!(pulled.failed("denies access"), Kind::Unauthorized);
}

#[test]
fn tries_again_when_a_registry_is_busy() {
    let fixture = Fixture::new();
    let refusals = Mutex::new(2);
    let server = Server::new(move |request| {
        let mut refusals = refusals.lock().unwrap();
        if *refusals > 0 {
            *refusals -= 1;
            return Answer::bare("503 Service Unavailable\r\nRetry-After: 0");
        }
        fixture.answer(&request.path)
    });
    pull_from(&server, &RegistryOptions::default()).succeeded();
    let busy = Server::new(|_| Answer::bare("429 Too Many Requests\r\nRetry-After: 3600"));
    let pulled = pull_from(&busy, &RegistryOptions::default());
    assert_eq!(pulled.failed("wants fewer requests"), Kind::Unavailable);
}
