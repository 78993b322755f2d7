//! Small images that want to become large: layers, archives and documents that fill disk or memory.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use super::support::layout::{Packing, Tar, architecture, digest, pack};
use super::support::server::{Answer, Server};
use super::support::{Barge, Output};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// What a process may have in memory at most, in KiB.
const MEMORY: u64 = 64 << 10;
/// Runs a command, and adds a line to its standard error: how much memory it had at most, in KiB.
const MEASURE: &str = "import resource, subprocess, sys
status = subprocess.call(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
sys.exit(status)";

/// Runs barge, which must not need more memory than it may have.
fn run(barge: &Barge, arguments: &[&str]) -> Output {
    let root = barge.root();
    let runroot = barge.runroot();
    let program = env!("CARGO_BIN_EXE_barge");
    let store = [root.to_str().unwrap(), "--runroot", runroot.to_str().unwrap()];
    let line = [&["-c", MEASURE, program, "--root"], &store[..], arguments].concat();
    let mut output = barge.other_command("python3", line).run();
    let errors = output.errors();
    let (rest, peak) = errors.trim_end().rsplit_once('\n').unwrap_or(("", errors.trim_end()));
    let peak: u64 = peak.parse().unwrap_or_else(|_| panic!("{}", output.story()));
    assert!(peak < MEMORY, "{peak} KiB: {}", output.story());
    output.stderr = rest.as_bytes().to_vec();
    if !rest.is_empty() {
        output.stderr.push(b'\n');
    }
    output
}

/// Compresses a layer that is followed by more than a gigabyte of zeros, piece by piece.
fn bomb(packing: Packing) -> Vec<u8> {
    let start = pack(&Tar::new().file("x", 0o644, "x").bytes(), packing);
    let zeros = vec![0; 16 << 20];
    let piece = match packing {
        Packing::Plain => zeros,
        Packing::Zstd => pack(&zeros, packing),
        Packing::Gzip => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
            encoder.write_all(&zeros).unwrap();
            encoder.finish().unwrap()
        }
    };
    [start, piece.repeat(66)].concat()
}

/// Serves an image whose only layer is exactly these bytes.
fn serve(server: &Server, layer: &[u8], diff_id: &str) {
    let path = format!("/v2/bomb/blobs/{}", digest(layer));
    server.answer(&path, Answer::new("application/octet-stream", layer));
    let descriptor = json!({
        "mediaType": "application/vnd.oci.image.layer.v1.tar",
        "digest": digest(layer), "size": layer.len(),
    });
    serve_image(server, &[descriptor], &json!([diff_id]), &json!([]));
}

fn serve_image(server: &Server, layers: &[Value], diff_ids: &Value, history: &Value) {
    let config = json!({
        "architecture": architecture(), "os": "linux", "config": {}, "history": history,
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    })
    .to_string();
    let id = digest(config.as_bytes());
    let kind = "application/vnd.oci.image.config.v1+json";
    let own = json!({ "mediaType": kind, "digest": id, "size": config.len() });
    server.answer(&format!("/v2/bomb/blobs/{id}"), Answer::new(kind, config));
    let manifest =
        json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": own, "layers": layers });
    server.serve_manifest("bomb", &manifest);
}

#[test]
fn a_layer_that_is_a_bomb_is_refused() {
    let barge = Barge::new();
    barge.run(["images"]).ok();
    let server = Server::start(barge.place());
    let before = barge.files();
    let name = server.reference("bomb:1");
    for packing in [Packing::Gzip, Packing::Zstd] {
        let layer = bomb(packing);
        assert!(layer.len() < 2 << 20, "{packing:?}: {}", layer.len());
        serve(&server, &layer, &format!("sha256:{}", "0".repeat(64)));
        let output = run(&barge, &["pull", "-q", &name]).fails(125);
        output
            .error_has("unpacks to more than 500 times its size")
            .hint_has("--storage-opt max_unpacked_ratio=N");
        barge.has_files(&before, &format!("{packing:?}"));
        // Without a limit only the digest is wrong.
        let trusting = ["--storage-opt", "max_unpacked_ratio=0", "pull", "-q", &name];
        run(&barge, &trusting).fails(125).error_has("does not match its digest");
        barge.has_files(&before, &format!("{packing:?}"));
    }
}

#[test]
fn an_archive_that_is_a_bomb_is_refused() {
    let barge = Barge::new();
    barge.run(["images"]).ok();
    let before = barge.files();
    let file = barge.file("bomb.tar.gz", bomb(Packing::Gzip));
    for command in ["load", "import"] {
        let line = if command == "load" { vec!["load", "-q", "-i"] } else { vec!["import", "-q"] };
        let output = run(&barge, &[&line[..], &[&file]].concat()).fails(125);
        output.error_has("unpacks to more than 500 times its size").hint_has("max_unpacked_ratio");
        barge.has_files(&before, command);
    }
}

#[test]
fn a_hundred_thousand_entries_need_little_memory() {
    let barge = Barge::new();
    barge.run(["images"]).ok();
    let server = Server::start(barge.place());
    let before = barge.files();
    let name = server.reference("bomb:1");
    let mut tar = Tar::new();
    for number in 0..50_000 {
        tar = tar.directory(&format!("d{}/{number}/", number / 1000), 0o755);
        tar = tar.file(&format!("d{}/{number}/file", number / 1000), 0o644, "");
    }
    let tar = tar.bytes();
    serve(&server, &pack(&tar, Packing::Gzip), &digest(&tar));
    let id = run(&barge, &["pull", "-q", &name]).ok().text();
    run(&barge, &["rmi", &id]).ok();
    barge.has_files(&before, "");
}

#[test]
fn documents_with_absurdly_many_parts() {
    let barge = Barge::new();
    barge.run(["images"]).ok();
    let server = Server::start(barge.place());
    let before = barge.files();
    let name = server.reference("bomb:1");
    let fails = |what: &str| {
        let output = run(&barge, &["pull", "-q", "--retry=0", &name]).fails(125);
        barge.has_files(&before, what);
        output
    };
    // Ten thousand layers that nobody has.
    let layers: Vec<Value> = (0..10_000)
        .map(|number| {
            json!({
                "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                "digest": digest(format!("{number}").as_bytes()), "size": 100,
            })
        })
        .collect();
    let diff_ids: Vec<String> =
        (0..10_000).map(|number| digest(format!("tar {number}").as_bytes())).collect();
    serve_image(&server, &layers, &json!(diff_ids), &json!([]));
    fails("layers").error_has("does not have it");
    // Lists of what are no descriptors, and lists in lists.
    let index = |parts: &str| {
        let text = format!(r#"{{"schemaVersion":2,"manifests":[{parts}]}}"#);
        assert!(text.len() < 4 << 20);
        let kind = "application/vnd.oci.image.index.v1+json";
        server.answer("/v2/bomb/manifests/1", Answer::new(kind, text));
    };
    for part in ["{}", "0", "[]", r#"{"size":1,"digest":"x"}"#] {
        index(&vec![part; 100_000].join(","));
        fails(part).error_has("malformed");
    }
    index(&"[".repeat(1 << 20));
    fails("depth").error_has("malformed");
}

#[test]
fn a_history_that_makes_no_sense_is_shown_or_refused() {
    let barge = Barge::new();
    barge.run(["images"]).ok();
    let server = Server::start(barge.place());
    let before = barge.files();
    let name = server.reference("bomb:1");
    let tar = Tar::new().file("x", 0o644, "x").bytes();
    let layer = pack(&tar, Packing::Gzip);
    server.answer(
        &format!("/v2/bomb/blobs/{}", digest(&layer)),
        Answer::new("application/octet-stream", layer.as_slice()),
    );
    let descriptor = json!({
        "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
        "digest": digest(&layer), "size": layer.len(),
    });
    let step = |created: &str| json!({ "created": created, "created_by": "\u{1b}[2Jx\u{0}\n" });
    for history in [
        json!([]),
        json!(vec![step("2026-01-02T03:04:05Z"); 10_000]),
        json!([step("9999999-99-99T99:99:99Z"), step(""), step("x")]),
        json!([{ "empty_layer": true }, { "empty_layer": true }]),
        json!([{ "created_by": "x".repeat(1 << 20) }]),
        json!({}),
        json!(null),
        json!([0]),
    ] {
        serve_image(&server, std::slice::from_ref(&descriptor), &json!([digest(&tar)]), &history);
        let output = run(&barge, &["pull", "-q", &name]);
        if output.status == 0 {
            for line in [["history", &name], ["inspect", &name], ["images", "--no-trunc"]] {
                run(&barge, &line).ok();
            }
            run(&barge, &["rmi", &name]).ok();
        } else {
            output.fails(125);
        }
        barge.has_files(&before, "");
    }
}

#[test]
fn names_in_archives_that_are_paths_are_refused() {
    let barge = Barge::new();
    barge.run(["images"]).ok();
    let before = barge.files();
    let layer = Tar::new().file("x", 0o644, "x").bytes();
    let config = json!({
        "architecture": architecture(), "os": "linux", "config": {},
        "rootfs": { "type": "layers", "diff_ids": [digest(&layer)] },
    })
    .to_string();
    for tag in ["x:..", "x:../../etc", "../x:1", "a/../../b:1", "x/..:1", "/etc/passwd:1", "x:."] {
        let list = json!([{ "Config": "c.json", "RepoTags": [tag], "Layers": ["l.tar"] }]);
        let archive = Tar::new()
            .file("manifest.json", 0o644, list.to_string())
            .file("c.json", 0o644, &config)
            .file("l.tar", 0o644, &layer)
            .bytes();
        let file = barge.file("archive.tar", archive);
        barge.run(["load", "-q", "-i", &file]).fails(125).error_has("invalid reference");
        barge.has_files(&before, tag);
        barge.run(["pull", "-q", &format!("127.0.0.1:1/{tag}")]).fails(125);
    }
}
