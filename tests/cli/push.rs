//! `barge push` to a real registry, looked at by skopeo.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::Value;

use super::support::Barge;
use super::support::layout::{Tar, digest};
use super::support::place::Place;
use super::support::registry::Registry;
use super::support::server::{Answer, Server};

/// Returns a manifest of a registry byte for byte, as skopeo gets it.
fn manifest(barge: &Barge, name: &str) -> Vec<u8> {
    let line = ["inspect", "--raw", "--tls-verify=false", &format!("docker://{name}")];
    barge.other_command("skopeo", line).run().ok().stdout.clone()
}

fn media_types(barge: &Barge, name: &str) -> Vec<String> {
    let manifest: Value = serde_json::from_slice(&manifest(barge, name)).unwrap();
    let layers = manifest["layers"].as_array().unwrap();
    let own = [&manifest["mediaType"], &manifest["config"]["mediaType"]];
    let types = own.into_iter().chain(layers.iter().map(|layer| &layer["mediaType"]));
    types.map(|kind| kind.as_str().unwrap().rsplit('.').next().unwrap().to_owned()).collect()
}

#[test]
fn what_was_pulled_goes_back_byte_for_byte() {
    let place = Barge::new().place().clone();
    let (from, to) = (Registry::start(&place), Registry::empty(&place));
    for tag in ["1", "zstd", "plain", "docker"] {
        let barge = Barge::at(place.clone());
        let name = from.reference(&format!("box:{tag}"));
        barge.run(["pull", "-q", &name]).exits(0);
        let target = to.reference(&format!("copy:{tag}"));
        let file = barge.path_text("digest");
        let line = ["push", "--digestfile", &file, &name, &target];
        let output = barge.run(line).exits(0);
        let sent = manifest(&barge, &target);
        assert_eq!(sent, manifest(&barge, &name), "{tag}");
        let digest = digest(&sent);
        assert_eq!(fs::read_to_string(&file).unwrap(), digest);
        assert_eq!(output.text(), format!("{tag}: digest: {digest} size: {}", sent.len()));
        assert!(output.errors().contains("Writing manifest to image destination"));
        let parsed: Value = serde_json::from_slice(&sent).unwrap();
        for layer in parsed["layers"].as_array().unwrap() {
            let blob = layer["digest"].as_str().unwrap();
            assert!(output.errors().contains(&format!("Copying blob {blob}")), "{tag} {blob}");
        }
        // All is there now, and nothing is sent twice.
        let again = barge.run(line).exits(0);
        let skipped = again.errors().matches("skipped: already exists").count();
        assert_eq!(skipped, parsed["layers"].as_array().unwrap().len() + 1, "{}", again.errors());
        let other = Barge::at(place.clone());
        let line = ["run", "--rm", "--network=none", &target];
        other.run(line).exits(0).stdout("hello from a layer\n");
        barge.leaves_nothing();
    }
}

#[test]
fn what_has_no_manifest_gets_one() {
    let barge = Barge::with_busybox();
    let registry = Registry::empty(barge.place());
    let id = barge.run(["image", "inspect", "--format", "{{.Id}}", "busybox"]).ok().text();
    for (tag, options, want) in [
        ("plain", &[][..], ["v1+json", "v1+json", "tar+gzip"]),
        ("docker", &["--format", "v2s2"], ["v2+json", "v1+json", "gzip"]),
        ("zstd", &["--compression-format", "zstd"], ["v1+json", "v1+json", "tar+zstd"]),
        ("chunked", &["--compression", "zstd:chunked"], ["v1+json", "v1+json", "tar+zstd"]),
        (
            "nine",
            &["--compression-format", "gzip", "--compression-level", "9"],
            ["v1+json", "v1+json", "tar+gzip"],
        ),
    ] {
        let target = registry.reference(&format!("made:{tag}"));
        let line = [&["push", "-q"], options, &["busybox", &target]].concat();
        barge.run(&line).ok().stdout("");
        assert_eq!(media_types(&barge, &target), want, "{tag}");
        // What came out is known now; no layer is compressed a second time.
        let again = barge.run([&["push"], options, &["busybox", &target]].concat()).exits(0);
        assert_eq!(again.errors().matches("skipped").count(), 2, "{tag}: {}", again.errors());
        let other = Barge::at(barge.place().clone());
        other.run(["pull", "-q", &target]).exits(0);
        assert_eq!(other.run(["image", "inspect", "--format", "{{.Id}}", &target]).ok().text(), id);
        other.run(["run", "--rm", "--network=none", &target, "true"]).ok();
    }
    barge
        .run(["push", "--format", "v2s2", "--compression-format", "zstd", "busybox", "x.invalid/a"])
        .fails(125)
        .error_has("zstd");
    for (flag, value) in
        [("--compression-format", "lzma"), ("--format", "v2s1"), ("--compression-level", "99")]
    {
        barge.run(["push", flag, value, "busybox", "x.invalid/a"]).fails(125);
    }
    barge.leaves_nothing();
}

#[test]
fn push_compresses_anew_what_is_wanted_otherwise() {
    let barge = Barge::new();
    let (from, to) = (Registry::start(barge.place()), Registry::empty(barge.place()));
    let name = from.reference("box:1");
    barge.run(["pull", "-q", &name]).exits(0);
    let target = |tag: &str| to.reference(&format!("copy:{tag}"));
    let push = |options: &[&str], tag: &str| {
        barge.run([&["push", "-q"], options, &[&name, &target(tag)]].concat()).ok();
        media_types(&barge, &target(tag))
    };
    assert_eq!(push(&["--compression-format", "zstd"], "z")[2..], ["tar+zstd", "tar+zstd"]);
    let kept = ["--compression-format", "zstd", "--force-compression=false"];
    assert_eq!(push(&kept, "kept")[2..], ["tar+gzip", "tar+gzip"]);
    assert_eq!(push(&["--compression-format", "gzip"], "same")[2..], ["tar+gzip", "tar+gzip"]);
    assert_eq!(manifest(&barge, &target("same")), manifest(&barge, &name));
    assert_eq!(push(&["--format", "v2s2"], "d")[0], "v2+json");
    for tag in ["z", "kept", "d"] {
        let other = Barge::at(barge.place().clone());
        let line = ["run", "--rm", "--network=none", &target(tag)];
        other.run(line).exits(0).stdout("hello from a layer\n");
    }
}

#[test]
fn blobs_are_taken_over_from_other_repositories() {
    let barge = Barge::with_busybox();
    let registry = Registry::empty(barge.place());
    let first = registry.reference("first:1");
    barge.run(["push", "-q", "busybox", &first]).ok();
    barge.run(["rmi", "busybox"]).ok();
    barge.run(["pull", "-q", &first]).exits(0);
    // The second way to the registry counts what goes up: a layer would not go unnoticed.
    let relay = Relay::start(barge.place(), &registry.reference(""), usize::MAX, 0);
    let second = relay.reference("second:1");
    barge.run(["tag", &first, &relay.reference("first:1")]).ok();
    barge.run(["push", "-q", &first, &second]).ok();
    assert_eq!(manifest(&barge, &second), manifest(&barge, &first));
    assert!(relay.up() < 100_000, "{} bytes went up", relay.up());
}

#[test]
fn push_goes_on_after_a_lost_connection() {
    let barge = Barge::new();
    let registry = Registry::empty(barge.place());
    let noise: Vec<u8> =
        (0..3_000_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()).collect();
    let tar = barge.file("noise.tar", Tar::new().file("noise", 0o644, noise).bytes());
    barge.run(["import", "-q", &tar, "noise"]).ok();
    let relay = Relay::start(barge.place(), &registry.reference(""), 1 << 20, 3);
    // While it is compressed, and once more as a blob that is whole.
    let target = relay.reference("noise:1");
    barge.run(["push", "-q", "noise", &target]).ok();
    assert_eq!(relay.cut(), 3);
    barge.run(["rmi", "-a"]).ok();
    barge.run(["pull", "-q", &registry.reference("noise:1")]).exits(0);
    let other = Registry::empty(barge.place());
    let relay = Relay::start(barge.place(), &other.reference(""), 1 << 20, 3);
    barge.run(["push", "-q", &registry.reference("noise:1"), &relay.reference("noise:1")]).ok();
    assert_eq!(relay.cut(), 3);
    let there = Barge::at(barge.place().clone());
    there.run(["pull", "-q", &other.reference("noise:1")]).exits(0);
    // Not for ever.
    let third = Registry::empty(barge.place());
    let relay = Relay::start(barge.place(), &third.reference(""), 1 << 20, usize::MAX);
    let line =
        ["push", "-q", "--retry", "1", &registry.reference("noise:1"), &relay.reference("a")];
    barge.run(line).fails(125).error_has("cannot push to");
    barge.leaves_nothing();
}

#[test]
fn push_pushes_all_tags() {
    let barge = Barge::with_busybox();
    let registry = Registry::empty(barge.place());
    let repository = registry.reference("many");
    for tag in ["a", "b", "c"] {
        barge.run(["tag", "busybox", &format!("{repository}:{tag}")]).ok();
    }
    let said = barge.run(["push", "--all-tags", &repository]).exits(0).lines();
    let tags: Vec<&str> = said.iter().map(|line| line.split(':').next().unwrap()).collect();
    assert_eq!(tags, ["a", "b", "c"]);
    for tag in tags {
        assert!(!manifest(&barge, &format!("{repository}:{tag}")).is_empty());
    }
    let tagged = format!("{repository}:a");
    barge.run(["push", "-a", &tagged]).fails(125).error_has("--all-tags");
    barge.run(["push", "-a", "nosuch"]).fails(125).error_has("nosuch: image not known");
}

#[test]
fn push_writes_files_and_directories() {
    let barge = Barge::with_busybox();
    let id = barge.run(["images", "-q", "--no-trunc"]).ok().text();
    for (place, name) in [
        ("oci:DIR:localhost/x:1", "localhost/x:1"),
        ("oci-archive:DIR:localhost/x:1", "localhost/x:1"),
        ("docker-archive:DIR:localhost/x:1", "localhost/x:1"),
        ("dir:DIR", &id),
    ] {
        let path = barge.path_text(place.split(':').next().unwrap());
        barge.run(["push", "-q", "busybox", &place.replace("DIR", &path)]).ok().stdout("");
        let other = Barge::at(barge.place().clone());
        let said = format!("Loaded image: {name}\n");
        other.run(["load", "-q", "-i", &path]).ok().stdout(&said);
    }
    for bad in ["docker-daemon:a:1", "oci:", "docker:busybox", "x@sha256:12"] {
        barge.run(["push", "busybox", bad]).fails(125);
    }
}

#[test]
fn push_reports_what_is_refused() {
    let barge = Barge::with_busybox();
    let registry = Registry::with_password(barge.place());
    let target = registry.reference("busybox:1");
    barge.run(["push", "busybox", &target]).fails(125).hint_has("--creds");
    let line = ["push", "--creds", "user:wrong", "busybox", &target];
    barge.run(line).fails(125);
    // This one takes nothing from anybody.
    let line = ["push", "--creds", "user:secret", "busybox", &target];
    barge.run(line).fails(125).error_has("cannot push to");
    barge.run(["push", "nosuch", &target]).fails(125).error("nosuch: image not known");
    let id = barge.run(["images", "-q", "--no-trunc"]).ok().text();
    barge.run(["push", &id]).fails(125).error_has("is an ID");
    barge.run(["run", "--rm", "--network=none", "builtin/hello"]).ok();
    barge.run(["push", "builtin/hello", &target]).fails(125).error_has("built-in image");
    let port = super::support::registry::free_port(barge.place());
    let nobody = format!("127.0.0.1:{port}/x");
    barge.run(["push", "busybox", &nobody]).fails(125).error_has("connection refused");
    barge.leaves_nothing();
}

#[test]
fn credentials_stay_with_the_registry() {
    let barge = Barge::with_busybox();
    let (registry, elsewhere) = (Server::start(barge.place()), Server::start(barge.place()));
    let begun = Answer::new("text/plain", "")
        .status(202)
        .header("Location", &format!("http://{}/upload", elsewhere.address()));
    registry.answer("/v2/app/blobs/uploads/", begun);
    elsewhere.answer(
        "/upload",
        Answer::new("text/plain", "").status(401).header("WWW-Authenticate", "Basic realm=\"x\""),
    );
    let target = registry.reference("app:1");
    let line = ["push", "-q", "--retry", "0", "--creds", "user:secret", "busybox", &target];
    barge.run(line).fails(125);
    let seen = elsewhere.requests();
    assert!(!seen.is_empty());
    for request in seen {
        assert_eq!(request.header("authorization"), "");
    }
}

/// Passes connections on to a registry, counts what goes up, and cuts some of them.
struct Relay {
    address: String,
    up: Arc<AtomicUsize>,
    cut: Arc<AtomicUsize>,
}

impl Relay {
    /// Cuts the first `times` connections on which more than `after` bytes have gone up.
    fn start(place: &Place, registry: &str, after: usize, times: usize) -> Self {
        let listener = place.enter(|| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (up, cut) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let counters = (Arc::clone(&up), Arc::clone(&cut));
        let registry = registry.trim_end_matches('/').to_owned();
        let place = place.clone();
        // They end with the test program: no connection outlives the test's tools.
        thread::spawn(move || {
            for client in listener.incoming() {
                let Ok(client) = client else { return };
                let Ok(server) = place.enter(|| TcpStream::connect(&registry)) else { return };
                let (up, cut) = counters.clone();
                let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                thread::spawn(move || {
                    let mut buffer = [0; 16 << 10];
                    let mut count = 0;
                    while let Ok(length @ 1..) = from.read(&mut buffer) {
                        count += length;
                        up.fetch_add(length, Ordering::Relaxed);
                        let cuts = || {
                            cut.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| {
                                (n < times).then_some(n + 1)
                            })
                        };
                        if (count > after && cuts().is_ok())
                            || to.write_all(&buffer[..length]).is_err()
                        {
                            break;
                        }
                    }
                    drop((from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both)));
                });
                let (mut from, mut to) = (server, client);
                thread::spawn(move || {
                    drop(std::io::copy(&mut from, &mut to));
                    drop((from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both)));
                });
            }
        });
        Self { address, up, cut }
    }

    fn reference(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }

    fn up(&self) -> usize {
        self.up.load(Ordering::Relaxed)
    }

    fn cut(&self) -> usize {
        self.cut.load(Ordering::Relaxed)
    }
}
