//! Pulls that were cut off are resumed, and those of the same layer share the work.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use rustix::process::Signal;

use super::support::layout::{Tar, hex};
use super::support::server::{Answer, Parts, Server};
use super::support::{Barge, Need, needs, wait_until};

/// A layer of some size that does not compress to nothing.
fn layer(seed: u32) -> Vec<u8> {
    let mut state = seed;
    let noise: Vec<u8> = (0..2_000_000)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect();
    Tar::new().file(&format!("{seed}"), 0o644, noise).bytes()
}

struct Case {
    barge: Barge,
    server: Server,
    parts: Parts,
    name: String,
}

impl Case {
    fn new() -> Self {
        let barge = Barge::new();
        barge.run(["images"]).ok();
        let server = Server::start(barge.place());
        let parts = server.image("big", &[layer(1), layer(2)]);
        let name = server.reference("big:1");
        Self { barge, server, parts, name }
    }

    /// Returns where the first bytes of a layer are kept.
    fn partial(&self, number: usize) -> PathBuf {
        let path = self.parts.layer_path(number);
        let digest = path.rsplit('/').next().unwrap();
        self.barge.root().join("partial").join(hex(digest))
    }

    fn size(&self, number: usize) -> usize {
        self.parts.layers[number].len()
    }

    /// Starts a pull that gets half of the second layer and then nothing more.
    fn stall(&self) -> super::support::Running {
        let stalling = self.parts.layer(1).stall();
        self.server.answer(&self.parts.layer_path(1), stalling);
        let pulling = self.barge.command(["pull", "-q", &self.name]).spawn();
        self.server.await_stall();
        let half = (self.size(1) / 2) as u64;
        wait_until("the half is on the disk", || {
            fs::metadata(self.partial(1)).is_ok_and(|metadata| metadata.len() == half)
        });
        self.server.answer(&self.parts.layer_path(1), self.parts.layer(1));
        self.server.forget_stall();
        pulling
    }

    /// Pulls, and checks that the second layer took this many bytes from the server.
    #[track_caller]
    fn takes(&self, bytes: usize) {
        self.server.forget_requests();
        self.barge.run(["pull", "-q", &self.name]).ok();
        assert_eq!(self.server.sent(&self.parts.layer_path(1)), bytes);
        assert_eq!(self.barge.layers().len(), 2);
        assert!(!self.partial(1).exists());
        self.barge.run(["image", "inspect", &self.name]).ok();
    }
}

#[test]
fn a_pull_that_was_cut_off_is_resumed() {
    for signal in [Signal::INT, Signal::TERM, Signal::KILL] {
        let case = Case::new();
        case.barge.kills();
        let mut pulling = case.stall();
        pulling.signal(signal);
        pulling.wait();
        case.barge.await_silence();
        case.takes(case.size(1) - case.size(1) / 2);
    }
}

#[test]
fn a_connection_that_is_lost_for_good_is_resumed_by_the_next_pull() {
    let case = Case::new();
    let path = case.parts.layer_path(1);
    case.server.answer(&path, case.parts.layer(1).cut());
    let line = ["pull", "-q", "--retry=1", "--retry-delay=10ms", &case.name];
    case.barge.run(line).fails(125).error_has("broke off");
    // Half, and half of the rest.
    let here = usize::try_from(fs::metadata(case.partial(1)).unwrap().len()).unwrap();
    assert_eq!(here, case.size(1) / 2 + (case.size(1) - case.size(1) / 2) / 2);
    case.server.answer(&path, case.parts.layer(1));
    case.takes(case.size(1) - here);
}

#[test]
fn bytes_that_have_gone_bad_are_fetched_again() {
    let case = Case::new();
    case.barge.kills();
    let mut pulling = case.stall();
    pulling.signal(Signal::KILL);
    pulling.wait();
    let mut here = fs::read(case.partial(1)).unwrap();
    here[1000] ^= 1;
    fs::write(case.partial(1), here).unwrap();
    let rest = case.size(1) - case.size(1) / 2;
    case.takes(rest + case.size(1));
    // More than there can be is no good from the start.
    case.barge.run(["rmi", &case.name]).ok();
    fs::write(case.partial(1), vec![0; case.size(1) + 1]).unwrap();
    case.takes(case.size(1));
    // All of it, and nobody has looked at it yet: nothing is fetched.
    case.barge.run(["rmi", &case.name]).ok();
    fs::write(case.partial(1), &case.parts.layers[1]).unwrap();
    case.takes(0);
}

#[test]
fn a_second_pull_waits_for_the_first() {
    let case = Case::new();
    case.server.answer(&case.parts.layer_path(1), case.parts.layer(1).hold());
    let first = case.barge.command(["pull", "-q", &case.name]).spawn();
    case.server.await_stall();
    let others: Vec<_> = (0..2)
        .map(|_| {
            let mut other = case.barge.command(["pull", &case.name]).spawn();
            other.expect_error("waits: another command is downloading it");
            other
        })
        .collect();
    case.server.release();
    let id = first.wait().exits(0).text();
    for other in others {
        other.wait().exits(0).stdout(&format!("{id}\n"));
    }
    for number in 0..2 {
        let path = case.parts.layer_path(number);
        assert_eq!(case.server.sent(&path), case.size(number), "{number}");
    }
    assert_eq!(case.barge.layers().len(), 2);
}

#[test]
fn a_second_pull_goes_on_when_the_first_dies() {
    let case = Case::new();
    case.barge.kills();
    let mut first = case.stall();
    let mut second = case.barge.command(["pull", &case.name]).spawn();
    second.expect_error("waits: another command is downloading it");
    let before = case.server.sent(&case.parts.layer_path(1));
    assert_eq!(before, case.size(1) / 2);
    first.signal(Signal::KILL);
    first.wait();
    second.wait().exits(0);
    assert_eq!(case.server.sent(&case.parts.layer_path(1)), case.size(1));
}

#[test]
fn a_full_disk_is_not_kept_full() {
    if !needs(&[Need::Root]) {
        return;
    }
    let mut case = Case::new();
    let root = case.barge.root();
    let small = format!("mount -t tmpfs -o size=3M none {}", root.display());
    let place = case.barge.place().with_mounts(&small);
    case.barge.move_to(place);
    let line = ["pull", "-q", "--retry-delay=1ms", &case.name];
    case.barge.run(line).fails(125).error_has("no space left on device");
    let left = case.barge.place().enter(|| {
        let count = |name: &str| fs::read_dir(root.join(name)).map_or(0, Iterator::count);
        ["partial", "tmp", "layers", "images"].map(count)
    });
    assert_eq!(left, [0; 4]);
}

#[test]
fn what_nobody_goes_on_with_is_removed() {
    let case = Case::new();
    let dir = case.barge.root().join("partial");
    fs::create_dir(&dir).unwrap();
    let (old, young) = (dir.join("1".repeat(64)), dir.join("2".repeat(64)));
    for path in [&old, &young] {
        fs::write(path, "x").unwrap();
    }
    let week = Duration::from_secs(8 * 24 * 3600);
    fs::File::open(&old).unwrap().set_modified(SystemTime::now() - week).unwrap();
    case.barge.run(["pull", "-q", &case.name]).ok();
    assert!(!old.exists() && young.exists());
}

#[test]
fn a_layer_that_was_lost_is_mended_from_what_is_here() {
    let case = Case::new();
    case.barge.run(["pull", "-q", &case.name]).ok();
    // Its compressed bytes are still here.
    for layer in case.barge.layers() {
        fs::remove_dir_all(layer).unwrap();
    }
    case.server.forget_requests();
    case.barge.run(["pull", "-q", &case.name]).ok();
    assert_eq!(case.barge.layers().len(), 2);
    for number in 0..2 {
        assert_eq!(case.server.sent(&case.parts.layer_path(number)), 0);
    }
    // And if they have gone bad, they are fetched.
    let digest = case.parts.layer_path(0);
    let blob = case.barge.root().join("blobs/sha256").join(hex(digest.rsplit('/').next().unwrap()));
    fs::write(&blob, "bad").unwrap();
    for layer in case.barge.layers() {
        fs::remove_dir_all(layer).unwrap();
    }
    case.barge.run(["pull", "-q", &case.name]).ok();
    assert_eq!(fs::read(&blob).unwrap(), case.parts.layers[0]);
}

#[test]
fn a_pull_of_what_is_here_asks_once() {
    let case = Case::new();
    let id = case.barge.run(["pull", "-q", &case.name]).ok().text();
    let manifest = "/v2/big/manifests/1";
    for line in [["pull", "-q", &case.name], ["pull", "--policy=newer", &case.name]] {
        case.server.forget_requests();
        case.barge.run(line).ok().stdout(&format!("{id}\n"));
        let asked: Vec<(String, String)> = case
            .server
            .requests()
            .into_iter()
            .map(|request| (request.method, request.path))
            .collect();
        assert_eq!(asked, [("HEAD".to_owned(), manifest.to_owned())]);
    }
    // A registry that does not tell the digest, or does not know the question.
    for status in [200, 405] {
        let body = case.parts.manifest.to_string();
        case.server.answer(manifest, Answer::new("text/plain", "").status(status));
        case.server.answer_once(manifest, Answer::new("text/plain", "").status(status));
        case.server
            .answer_once(manifest, Answer::new("application/vnd.oci.image.manifest.v1+json", body));
        case.barge.run(["pull", "-q", &case.name]).ok().stdout(&format!("{id}\n"));
    }
    // When the tag has moved, the new image comes.
    case.server.image("big", &[layer(1)]);
    let moved = case.barge.run(["pull", "-q", &case.name]).ok().text();
    assert_ne!(moved, id);
    // And when it moves back to what is here, one question is enough.
    case.server.image("big", &[layer(1), layer(2)]);
    case.server.forget_requests();
    case.barge.run(["pull", "-q", &case.name]).ok().stdout(&format!("{id}\n"));
    assert_eq!(case.server.asked().len(), 1);
    let found = case.barge.run(["image", "inspect", "--format", "{{.Id}}", &case.name]).ok().text();
    assert_eq!(found.trim_start_matches("sha256:"), id);
}
