//! Registries and layers that lie, break off or attack.

use std::fs;

use rustix::process::Signal;
use serde_json::json;

use super::support::layout::{Packing, Tar, digest, pack};
use super::support::server::{Answer, Server};
use super::support::{Barge, Output};

/// A layer of some size that does not compress to nothing.
fn layer(seed: u32) -> Vec<u8> {
    let mut state = seed;
    let noise: Vec<u8> = (0..400_000)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect();
    Tar::new().directory("data/", 0o755).file(&format!("data/{seed}"), 0o644, noise).bytes()
}

struct Case {
    barge: Barge,
    server: Server,
    before: Vec<std::path::PathBuf>,
}

impl Case {
    fn new() -> Self {
        let barge = Barge::new();
        barge.run(["images"]).ok();
        let server = Server::start(barge.place());
        let before = barge.files();
        Self { barge, server, before }
    }

    /// Pulls what the server has; it must fail, and nothing may be left of it.
    #[track_caller]
    fn fails(&self) -> Output {
        let output = self.barge.run(["pull", "-q", &self.server.reference("evil:1")]).fails(125);
        self.barge.has_files(&self.before, &output.story());
        self.barge.run(["image", "exists", &self.server.reference("evil:1")]).exits(1);
        output
    }

    #[track_caller]
    fn succeeds(&self) {
        self.barge.run(["pull", "-q", &self.server.reference("evil:1")]).ok();
    }
}

#[test]
fn an_honest_server_is_pulled_from() {
    let case = Case::new();
    case.server.image("evil", &[layer(1), layer(2)]);
    case.succeeds();
    assert!(case.server.asked().iter().any(|path| path == "/v2/evil/manifests/1"));
}

#[test]
fn a_layer_with_another_digest_is_refused() {
    let case = Case::new();
    let parts = case.server.image("evil", &[layer(1)]);
    let mut bytes = parts.layers[0].clone();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    case.server.answer(&parts.layer_path(0), Answer::new("application/octet-stream", bytes));
    case.fails();
    // Another valid layer of the same kind is no better.
    let other = pack(&layer(9), Packing::Gzip);
    case.server.answer(&parts.layer_path(0), Answer::new("application/octet-stream", other));
    case.fails();
    // Once the server is honest, so is the image.
    case.server.answer(&parts.layer_path(0), parts.layer(0));
    case.succeeds();
}

#[test]
fn a_config_with_another_digest_is_refused() {
    let case = Case::new();
    let parts = case.server.image("evil", &[layer(1)]);
    let path = format!("/v2/evil/blobs/{}", parts.manifest["config"]["digest"].as_str().unwrap());
    case.server.answer(&path, Answer::new("application/octet-stream", "{}"));
    case.fails().error_has("digest");
}

#[test]
fn a_manifest_with_another_digest_is_refused() {
    let case = Case::new();
    let parts = case.server.image("evil", &[layer(1)]);
    let wanted = format!("sha256:{}", "1".repeat(64));
    let answer =
        Answer::new("application/vnd.oci.image.manifest.v1+json", parts.manifest.to_string());
    case.server.answer(&format!("/v2/evil/manifests/{wanted}"), answer);
    let name = case.server.reference(&format!("evil@{wanted}"));
    case.barge.run(["pull", "-q", &name]).fails(125).error_has("digest");
    case.barge.has_files(&case.before, "");
}

#[test]
fn a_diff_id_that_is_not_the_layers_is_refused() {
    let case = Case::new();
    let parts = case.server.image("evil", &[layer(1)]);
    let config = json!({
        "architecture": super::support::layout::architecture(),
        "os": "linux",
        "config": {},
        "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{}", "2".repeat(64))] },
    })
    .to_string();
    let mut manifest = parts.manifest.clone();
    manifest["config"]["digest"] = digest(config.as_bytes()).into();
    manifest["config"]["size"] = config.len().into();
    case.server.answer(
        &format!("/v2/evil/blobs/{}", digest(config.as_bytes())),
        Answer::new("application/octet-stream", config),
    );
    case.server.serve_manifest("evil", &manifest);
    case.fails();
}

#[test]
fn a_size_that_is_not_the_layers_is_refused() {
    let case = Case::new();
    let parts = case.server.image("evil", &[layer(1)]);
    for size in [1, parts.layers[0].len() - 1, parts.layers[0].len() + 1] {
        let mut manifest = parts.manifest.clone();
        manifest["layers"][0]["size"] = size.into();
        case.server.serve_manifest("evil", &manifest);
        case.fails();
    }
}

#[test]
fn a_truncated_layer_is_refused() {
    let case = Case::new();
    let parts = case.server.image("evil", &[layer(1)]);
    let bytes = &parts.layers[0];
    for length in [0, 1, 10, bytes.len() / 2, bytes.len() - 1] {
        let answer = Answer::new("application/octet-stream", &bytes[..length]);
        case.server.answer(&parts.layer_path(0), answer);
        case.fails();
    }
    // Truncated before it was given its digest.
    for cut in [20, bytes.len() / 2, bytes.len() - 4] {
        serve_packed(&case, &bytes[..cut]);
        case.fails();
    }
}

/// Serves an image whose only layer is exactly these bytes, with matching digest and size.
fn serve_packed(case: &Case, bytes: &[u8]) {
    let parts = case.server.image("evil", &[layer(1)]);
    let mut manifest = parts.manifest;
    manifest["layers"][0]["digest"] = digest(bytes).into();
    manifest["layers"][0]["size"] = bytes.len().into();
    let path = format!("/v2/evil/blobs/{}", digest(bytes));
    case.server.answer(&path, Answer::new("application/octet-stream", bytes));
    case.server.serve_manifest("evil", &manifest);
}

#[test]
fn a_corrupt_layer_with_the_right_digest_is_refused() {
    let case = Case::new();
    let tar = layer(1);
    let packed = pack(&tar, Packing::Gzip);
    let mut flipped = packed.clone();
    let middle = flipped.len() / 2;
    for byte in &mut flipped[middle..middle + 16] {
        *byte ^= 0xff;
    }
    let mut bad_sum = packed.clone();
    let end = bad_sum.len() - 6;
    bad_sum[end] ^= 1;
    let mut bad_header = tar.clone();
    bad_header[0] ^= 0x10;
    let short_tar = &tar[..tar.len() / 2];
    let table: [(&str, Vec<u8>); 6] = [
        ("flipped bytes", flipped),
        ("a wrong checksum at the end", bad_sum),
        ("a tar header with a wrong checksum", pack(&bad_header, Packing::Gzip)),
        ("a tar stream that ends in a file", pack(short_tar, Packing::Gzip)),
        ("text", b"no layer at all".to_vec()),
        ("rubbish after the gzip magic", [&[0x1f, 0x8b, 8, 0][..], &[0x99; 400]].concat()),
    ];
    for (what, bytes) in table {
        serve_packed(&case, &bytes);
        let output = case.barge.run(["pull", "-q", &case.server.reference("evil:1")]);
        assert_eq!(output.status, 125, "{what}: {}", output.story());
        case.barge.has_files(&case.before, what);
        output.fails(125);
    }
}

#[test]
fn good_layers_of_a_bad_image_do_no_harm() {
    let case = Case::new();
    let parts = case.server.image("evil", &[layer(1), layer(2), layer(3)]);
    let answer = Answer::new("application/octet-stream", &b"bad"[..]);
    case.server.answer(&parts.layer_path(1), answer);
    case.barge.run(["pull", "-q", &case.server.reference("evil:1")]).fails(125);
    // What was complete may be kept for the next time; what was not must not.
    assert!(case.barge.layers().len() <= 2, "{:?}", case.barge.layers());
    assert!(fs::read_dir(case.barge.root().join("tmp")).unwrap().next().is_none());
    case.barge.run(["images", "-q"]).ok().stdout("");
    case.server.answer(&parts.layer_path(1), parts.layer(1));
    case.succeeds();
    assert_eq!(case.barge.layers().len(), 3);
}

#[test]
fn a_connection_that_breaks_is_tried_again_or_reported() {
    let case = Case::new();
    let parts = case.server.image("evil", &[layer(1), layer(2)]);
    case.server.answer(&parts.layer_path(0), parts.layer(0).cut());
    let output = case.barge.run(["pull", "-q", &case.server.reference("evil:1")]).fails(125);
    output.error_has(&case.server.reference("evil"));
    case.barge.run(["images", "-q"]).ok().stdout("");
    assert!(fs::read_dir(case.barge.root().join("tmp")).unwrap().next().is_none());
}

#[test]
fn interrupt_in_the_middle_of_a_pull() {
    for signal in [Signal::INT, Signal::TERM] {
        let case = Case::new();
        let parts = case.server.image("evil", &[layer(1), layer(2)]);
        case.server.answer(&parts.layer_path(1), parts.layer(1).stall());
        let mut pulling =
            case.barge.command(["pull", "-q", &case.server.reference("evil:1")]).spawn();
        case.server.await_stall();
        pulling.signal(signal);
        let output = pulling.wait();
        let code = 128 + signal.as_raw();
        assert_eq!(output.status, code, "{}", output.story());
        case.barge.run(["images", "-q"]).ok().stdout("");
        case.barge.await_silence();
        // What was begun is dead; the next pull clears it away.
        case.server.answer(&parts.layer_path(1), parts.layer(1));
        case.succeeds();
        assert_eq!(case.barge.layers().len(), 2);
    }
}

#[test]
fn kill_in_the_middle_of_a_pull() {
    let case = Case::new();
    case.barge.kills();
    let parts = case.server.image("evil", &[layer(1), layer(2)]);
    case.server.answer(&parts.layer_path(1), parts.layer(1).stall());
    let mut pulling = case.barge.command(["pull", "-q", &case.server.reference("evil:1")]).spawn();
    case.server.await_stall();
    pulling.signal(Signal::KILL);
    assert_eq!(pulling.wait().killed, Some(9));
    case.barge.run(["images", "-q"]).ok().stdout("");
    assert!(case.barge.layers().len() <= 1);
    case.server.answer(&parts.layer_path(1), parts.layer(1));
    case.succeeds();
    assert!(fs::read_dir(case.barge.root().join("tmp")).unwrap().next().is_none());
}

#[test]
fn answers_that_make_no_sense_are_reported() {
    let case = Case::new();
    let manifest = "/v2/evil/manifests/1";
    let oci = "application/vnd.oci.image.manifest.v1+json";
    let table = [
        ("no JSON", Answer::new(oci, "<html>")),
        ("nothing", Answer::new(oci, "")),
        ("a list", Answer::new(oci, "[]")),
        ("no layers", Answer::new(oci, r#"{"schemaVersion":2}"#)),
        (
            "schema 1",
            Answer::new(
                "application/vnd.docker.distribution.manifest.v1+json",
                r#"{"schemaVersion":1}"#,
            ),
        ),
        ("an error", Answer::new("text/plain", "broken").status(500)),
        ("a refusal", Answer::new("text/plain", "no").status(403)),
        ("too many", Answer::new("text/plain", "later").status(429)),
        ("a circle", Answer::new("text/plain", "").status(307)),
        (
            "a large number",
            Answer::new(
                oci,
                format!(
                    r#"{{"schemaVersion":2,"config":{{"mediaType":"x","digest":"sha256:{}","size":9223372036854775807}},"layers":[]}}"#,
                    "0".repeat(64)
                ),
            ),
        ),
        (
            "a negative number",
            Answer::new(
                oci,
                format!(
                    r#"{{"schemaVersion":2,"config":{{"mediaType":"x","digest":"sha256:{}","size":-1}},"layers":[]}}"#,
                    "0".repeat(64)
                ),
            ),
        ),
        (
            "a path as digest",
            Answer::new(
                oci,
                r#"{"schemaVersion":2,"config":{"mediaType":"x","digest":"sha256:../../../x","size":1},"layers":[]}"#,
            ),
        ),
        ("a very long text", Answer::new(oci, "x".repeat(20 << 20))),
    ];
    for (what, answer) in table {
        case.server.answer(manifest, answer);
        let output = case.barge.run(["pull", "-q", &case.server.reference("evil:1")]);
        assert_eq!(output.status, 125, "{what}: {}", output.story());
        case.barge.has_files(&case.before, what);
        output.fails(125);
    }
}

#[test]
fn layers_stay_beneath_their_root() {
    let case = Case::new();
    let outside = case.barge.path_text("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(case.barge.path("outside/kept"), "kept").unwrap();
    let climb = format!("{}{}", "../".repeat(20), outside.trim_start_matches('/'));
    let table = [
        Tar::new().file(&format!("{climb}/new"), 0o644, "x"),
        Tar::new().file("a/../../../../../../new", 0o644, "x"),
        Tar::new().symlink("l", &outside).file("l/new", 0o644, "x"),
        Tar::new().symlink("l", "..").symlink("l/l", "..").file("l/l/l/new", 0o644, "x"),
        Tar::new().symlink("l", &format!("{outside}/kept")).file("l", 0o644, "x"),
        Tar::new().hardlink("h", &format!("{climb}/kept")),
    ];
    for (number, tar) in table.into_iter().enumerate() {
        case.server.image("evil", &[tar.bytes()]);
        let output = case.barge.run(["pull", "-q", &case.server.reference("evil:1")]);
        if output.status == 0 {
            case.barge.run(["rmi", &case.server.reference("evil:1")]).ok();
        } else {
            output.fails(125);
        }
        assert_eq!(
            fs::read_to_string(case.barge.path("outside/kept")).unwrap(),
            "kept",
            "{number}"
        );
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 1, "{number}");
        assert!(case.barge.layers().is_empty(), "{number}: {:?}", case.barge.layers());
    }
}

#[test]
fn headers_that_promise_terabytes_cost_nothing() {
    let case = Case::new();
    let mut tar = Tar::new().file("big", 0o644, "x").bytes();
    // The size field of the first header, in octal; then the checksum over the header.
    tar[124..136].copy_from_slice(b"77777777777\0");
    tar[148..156].copy_from_slice(b"        ");
    let sum: u32 = tar[..512].iter().map(|byte| u32::from(*byte)).sum();
    tar[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    case.server.image("evil", &[tar]);
    case.fails();
}

#[test]
fn credentials_do_not_follow_a_redirect() {
    let case = Case::new();
    // A registry that asks for a password over an unknown scheme is reported, not obeyed.
    case.server.answer("/v2/", Answer::new("text/plain", "").status(401));
    case.server.answer("/v2/evil/manifests/1", Answer::new("text/plain", "").status(401));
    case.fails();
}
