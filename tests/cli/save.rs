//! `barge save` and `load` among themselves, and with skopeo as the other side.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::support::layout::{Layout, Packing, Tar, architecture, digest};
use super::support::server::{Answer, Server};
use super::support::{Barge, fixture, tool};

/// What an image is: its configuration's bytes, and its files.
#[derive(Debug, PartialEq)]
struct Content {
    id: String,
    config: Vec<u8>,
    tree: String,
}

fn content(barge: &Barge, name: &str) -> Content {
    let id = barge.run(["image", "inspect", "--format", "{{.Id}}", name]).ok().text();
    let id = id.trim_start_matches("sha256:").to_owned();
    let config = fs::read(barge.root().join("blobs/sha256").join(&id)).unwrap();
    let script = "find / -xdev ! -path '/dev/*' ! -path '/proc*' ! -path '/sys*' ! -path '/etc/host*' \
        ! -path '/etc/resolv.conf' ! -path '/run*' -type f -exec md5sum {} + | sort -k 2; \
        find / -xdev -type l | sort";
    let line = ["run", "--rm", "--network", "none", name, "sh", "-c", script];
    let tree = barge.run(line).ok().text();
    Content { id, config, tree }
}

fn skopeo(from: &str, to: &str) {
    tool("skopeo", ["--insecure-policy", "copy", "-q", from, to]);
}

/// Loads the box of the fixtures from an OCI layout, so that its blobs are kept.
fn with_box(kind: &str) -> Barge {
    let barge = Barge::new();
    let layout = barge.path("layout");
    fixture::boxes_layout(&layout);
    let file = barge.path_text("in.tar");
    skopeo(
        &format!("oci:{}:{kind}", layout.display()),
        &format!("oci-archive:{file}:localhost/a:1"),
    );
    barge.run(["load", "-q", "-i", &file]).ok().stdout("Loaded image: localhost/a:1\n");
    barge
}

const FORMATS: [&str; 4] = ["docker-archive", "oci-archive", "oci-dir", "docker-dir"];

#[test]
fn what_was_saved_can_be_loaded() {
    for kind in ["1", "zstd", "plain"] {
        let barge = with_box(kind);
        let want = content(&barge, "a:1");
        for format in FORMATS {
            let file = barge.path_text(format);
            barge.run(["save", "-q", "--format", format, "-o", &file, "a:1"]).ok().stdout("");
            let again = barge.path_text(&format!("{format}-again"));
            barge.run(["save", "-q", "--format", format, "-o", &again, "a:1"]).ok();
            let difference = tool("diff", ["-r", &file, &again]);
            assert_eq!(difference, "", "{kind} {format} is not the same twice");
            if format.ends_with("archive") {
                // A file is written in several places at once, a stream from its beginning.
                let line = ["save", "-q", "--format", format, "a:1"];
                let stream = barge.run(line).exits(0).stdout;
                assert!(stream == fs::read(&file).unwrap(), "{kind} {format} as a stream");
            }
            let other = Barge::at(barge.place().clone());
            let loaded = other.run(["load", "-i", &file]).exits(0).text();
            let name = if format == "docker-dir" {
                assert_eq!(loaded, format!("Loaded image: sha256:{}", want.id));
                want.id.clone()
            } else {
                assert_eq!(loaded, "Loaded image: localhost/a:1");
                "localhost/a:1".to_owned()
            };
            assert_eq!(content(&other, &name), want, "{kind} {format}");
            // What came without blobs goes on as it came.
            let file = barge.path_text("second");
            other.run(["save", "-q", "-o", &file, &name]).ok();
            let third = Barge::at(barge.place().clone());
            third.run(["load", "-q", "-i", &file]).ok();
            assert_eq!(content(&third, &want.id), want, "{kind} {format}, saved again");
        }
    }
}

#[test]
fn skopeo_reads_what_was_saved() {
    let barge = with_box("1");
    let want = content(&barge, "a:1");
    for (format, transport) in [
        ("docker-archive", "docker-archive:"),
        ("oci-archive", "oci-archive:"),
        ("oci-dir", "oci:"),
        ("docker-dir", "dir:"),
    ] {
        let file = barge.path_text(format);
        barge.run(["save", "-q", "--format", format, "-o", &file, "a:1"]).ok();
        let out = barge.path_text(&format!("out-{format}"));
        skopeo(&format!("{transport}{file}"), &format!("dir:{out}"));
        let manifest: Value =
            serde_json::from_slice(&fs::read(format!("{out}/manifest.json")).unwrap()).unwrap();
        let config = manifest["config"]["digest"].as_str().unwrap().trim_start_matches("sha256:");
        assert_eq!(config, want.id, "{format}");
        assert_eq!(fs::read(format!("{out}/{config}")).unwrap(), want.config, "{format}");
        // And back.
        let other = Barge::at(barge.place().clone());
        let named = barge.path_text(&format!("named-{format}"));
        skopeo(
            &format!("dir:{out}"),
            &format!(
                "{transport}{named}{}",
                match format {
                    "docker-dir" => "",
                    _ => ":localhost/b:2",
                }
            ),
        );
        other.run(["load", "-q", "-i", &named]).ok();
        assert_eq!(content(&other, &want.id), want, "{format} by skopeo");
    }
}

#[test]
fn an_oci_layout_has_the_blobs_that_came() {
    let barge = with_box("1");
    let file = barge.path_text("oci");
    barge.run(["save", "-q", "--format", "oci-dir", "-o", &file, "a:1"]).ok();
    let index: Value =
        serde_json::from_slice(&fs::read(format!("{file}/index.json")).unwrap()).unwrap();
    let manifest = index["manifests"][0]["digest"].as_str().unwrap();
    assert_eq!(
        index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"],
        "localhost/a:1"
    );
    let path = barge.path("layout/blobs/sha256").join(&manifest[7..]);
    assert!(path.exists(), "the manifest is not the one that came: {manifest}");
    for blob in fs::read_dir(format!("{file}/blobs/sha256")).unwrap() {
        let blob = blob.unwrap();
        let name = format!("sha256:{}", blob.file_name().to_string_lossy());
        assert_eq!(digest(&fs::read(blob.path()).unwrap()), name);
    }
    // A second image goes beside it, and the same one takes its own place again.
    barge.run(["tag", "a:1", "other:1"]).ok();
    for _ in 0..2 {
        barge.run(["save", "-q", "--format", "oci-dir", "-o", &file, "other:1"]).ok();
    }
    let index: Value =
        serde_json::from_slice(&fs::read(format!("{file}/index.json")).unwrap()).unwrap();
    assert_eq!(index["manifests"].as_array().unwrap().len(), 2);
}

#[test]
fn several_images_share_their_layers() {
    let barge = Barge::with_busybox();
    let extra = barge.file("extra.tar", Tar::new().file("extra", 0o644, "more").bytes());
    barge.run(["import", "-q", &extra, "extra:1"]).ok();
    barge.run(["tag", "busybox", "bb:2", "quay.io/team/bb:3"]).ok();
    for format in ["docker-archive", "oci-archive"] {
        let file = barge.path_text("file");
        let images = ["busybox", "bb:2", "quay.io/team/bb:3", "extra:1"];
        let mut line = vec!["save", "-q", "-m", "--format", format, "-o", &file];
        line.extend(images);
        barge.run(line).ok();
        let size = fs::metadata(&file).unwrap().len();
        let layer = fs::metadata(fixture::busybox()).unwrap().len();
        assert!(size < layer + (1 << 20), "{size} bytes for a layer of {layer}");
        let other = Barge::at(barge.place().clone());
        let mut loaded = other.run(["load", "-q", "-i", &file]).ok().lines();
        loaded.sort();
        assert_eq!(
            loaded,
            [
                "Loaded image: localhost/bb:2",
                "Loaded image: localhost/busybox:latest",
                "Loaded image: localhost/extra:1",
                "Loaded image: quay.io/team/bb:3",
            ],
            "{format}"
        );
        assert_eq!(other.layers().len(), 2);
    }
}

#[test]
fn save_writes_to_standard_output() {
    let barge = Barge::with_busybox();
    let file = barge.path_text("file");
    barge.run(["save", "-q", "-o", &file, "busybox"]).ok().stdout("");
    let stream = barge.run(["save", "busybox"]).exits(0).stdout;
    assert!(stream == fs::read(&file).unwrap());
    let other = Barge::at(barge.place().clone());
    other
        .command(["load"])
        .input(stream)
        .run()
        .exits(0)
        .stdout("Loaded image: localhost/busybox:latest\n");
    // By an ID it has no name there.
    let id = barge.run(["images", "-q", "--no-trunc"]).ok().text();
    let bare = barge.run(["save", "-q", id.trim_start_matches("sha256:")]).ok().stdout;
    let third = Barge::at(barge.place().clone());
    third.command(["load", "-q"]).input(bare).run().ok().stdout(&format!("Loaded image: {id}\n"));
    let mut terminal = barge.command(["save", "busybox"]).terminal();
    terminal.expect("refusing to save to terminal");
    terminal.exits(125);
}

#[test]
fn save_refuses_what_it_cannot_do() {
    let barge = Barge::with_busybox();
    let file = barge.path_text("file");
    for (line, text) in [
        (vec!["save", "-o", &file, "nosuch"], "nosuch: image not known"),
        (vec!["save", "-m", "-o", &file, "busybox", "nosuch"], "nosuch: image not known"),
        (vec!["save", "--format", "zip", "-o", &file, "busybox"], "zip"),
        (vec!["save", "--format", "oci-dir", "busybox"], "directory"),
        (vec!["save", "--compress", "-o", &file, "busybox"], "--compress"),
        (vec!["save", "-o", "/nonexistent/file", "busybox"], "/nonexistent/file"),
        (vec!["save"], "requires at least 1 arg(s)"),
    ] {
        barge.run(&line).fails(125).error_has(text);
        assert!(!Path::new(&file).exists(), "{line:?}");
    }
    barge.run(["run", "--rm", "--network=none", "builtin/hello"]).ok();
    barge.run(["save", "-o", &file, "builtin/hello"]).fails(125).error_has("built-in image");
    // A directory with other things in it is left alone.
    let precious = barge.path("precious");
    fs::create_dir(&precious).unwrap();
    fs::write(precious.join("data"), "x").unwrap();
    let path = precious.to_string_lossy().into_owned();
    barge.run(["save", "--format", "docker-dir", "-o", &path, "busybox"]).fails(125);
    assert_eq!(fs::read_to_string(precious.join("data")).unwrap(), "x");
    // A layer that was changed in the store is not given away as if it were not.
    let group = "diff/etc/group";
    let layer = barge.layers().into_iter().find(|layer| layer.join(group).exists()).unwrap();
    fs::write(layer.join(group), "root:x:0:\napp:x:1000:\nextra:x:2000:apq\n").unwrap();
    barge.run(["save", "-o", &file, "busybox"]).fails(125).error_has("was changed in the store");
    assert!(!Path::new(&file).exists());
    barge.leaves_nothing();
}

#[test]
fn load_reads_all_compressions() {
    let barge = Barge::with_busybox();
    let file = barge.path_text("file");
    barge.run(["save", "-q", "-o", &file, "busybox"]).ok();
    for (program, suffix) in [("gzip", "gz"), ("zstd", "zst"), ("xz", "xz"), ("bzip2", "bz2")] {
        tool("sh", ["-c", &format!("{program} -1 -c {file} > {file}.{suffix}")]);
        let packed = format!("{file}.{suffix}");
        let other = Barge::at(barge.place().clone());
        let said = "Loaded image: localhost/busybox:latest\n";
        other.run(["load", "-q", "-i", &packed]).ok().stdout(said);
        let bytes = fs::read(&packed).unwrap();
        other.command(["load", "-q"]).input(bytes.clone()).run().ok().stdout(said);
        other.run(["rmi", "busybox"]).ok();
        let cut = barge.file("cut", &bytes[..bytes.len() / 2]);
        other.run(["load", "-i", &cut]).fails(125);
    }
}

#[test]
fn load_chooses_the_platform() {
    let barge = Barge::new();
    let directory = barge.path("layout");
    let mut layout = Layout::new(&directory);
    let mut manifests = Vec::new();
    for other in [architecture(), "s390x"] {
        let tar = Tar::new().file("platform", 0o644, other).bytes();
        let layer = layout.layer(&tar, Packing::Gzip);
        manifests.push(layout.image(&[layer], &serde_json::json!({}), other));
    }
    let index = layout.index(&manifests);
    layout.name(&index, "localhost/many:1");
    let path = directory.to_string_lossy().into_owned();
    barge.run(["load", "-q", "-i", &path]).ok().stdout("Loaded image: localhost/many:1\n");
    let seen = |barge: &Barge| {
        barge.run(["image", "inspect", "--format", "{{.Architecture}}", "many:1"]).ok().text()
    };
    assert_eq!(seen(&barge), architecture());
    barge.run(["load", "-q", "--platform", "linux/s390x", "-i", &path]).ok();
    assert_eq!(seen(&barge), "s390x");
    barge.run(["load", "--platform", "linux/mips", "-i", &path]).fails(125).error_has("mips");
}

#[test]
fn load_follows_the_links_of_old_archives() {
    let barge = Barge::new();
    let layer = Tar::new().file("file", 0o644, "old").bytes();
    let config = serde_json::json!({
        "architecture": architecture(), "os": "linux", "config": {},
        "rootfs": { "type": "layers", "diff_ids": [digest(&layer)] },
    })
    .to_string();
    let list = r#"[{"Config":"c.json","RepoTags":["old:1"],"Layers":["second/layer.tar"]}]"#;
    let archive = Tar::new()
        .directory("first/", 0o755)
        .file("first/layer.tar", 0o644, &layer)
        .directory("second/", 0o755)
        .symlink("second/layer.tar", "../first/layer.tar")
        .file("c.json", 0o644, config)
        .file("manifest.json", 0o644, list)
        .bytes();
    let file = barge.file("old.tar", archive);
    barge.run(["load", "-q", "-i", &file]).ok().stdout("Loaded image: docker.io/library/old:1\n");
    let layer = barge.layers().remove(0);
    assert_eq!(fs::read_to_string(layer.join("diff/file")).unwrap(), "old");
}

#[test]
fn pulls_from_archives_and_directories() {
    let other = with_box("1");
    let want = content(&other, "a:1");
    other.run(["tag", "a:1", "quay.example/b:2"]).ok();
    let place = |kind: &str| other.path_text(kind);
    for (format, names) in [
        ("docker-archive", &["a:1", "quay.example/b:2"][..]),
        ("oci-archive", &["a:1"]),
        ("oci-dir", &["a:1"]),
        ("docker-dir", &["a:1"]),
    ] {
        let path = place(format);
        let line = [&["save", "-q", "--format", format, "-o", &path], names].concat();
        other.run(line).ok();
    }
    let archive = format!("docker-archive:{}", place("docker-archive"));
    let oci_archive = format!("oci-archive:{}", place("oci-archive"));
    let oci = format!("oci:{}", place("oci-dir"));
    let dir = format!("dir:{}", place("docker-dir"));
    let all = "localhost/a:1 quay.example/b:2";
    for (from, names) in [
        (archive.clone(), all),
        (format!("{archive}:quay.example/b:2"), "quay.example/b:2"),
        (format!("{archive}:@0"), all),
        (oci_archive.clone(), "localhost/a:1"),
        (format!("{oci_archive}:localhost/a:1"), "localhost/a:1"),
        (format!("{oci}:localhost/a:1"), "localhost/a:1"),
        // As with Podman: without a name these have none.
        (oci.clone(), ""),
        (dir.clone(), ""),
    ] {
        let barge = Barge::new();
        // What is here is the image itself: a registry is not asked.
        let pulled = barge.run(["pull", "-q", &from]).ok();
        assert_eq!(pulled.lines(), [want.id.as_str()], "{from}");
        let listed = barge.run(["images", "--format", "{{.Repository}}:{{.Tag}}"]).ok();
        let mut listed = listed.lines();
        listed.retain(|name| name != "<none>:<none>");
        listed.sort();
        assert_eq!(listed.join(" "), names, "{from}");
        assert_eq!(content(&barge, &want.id), want, "{from}");
    }
    let barge = Barge::new();
    for (from, error) in [
        (format!("{archive}:a:1"), "there is no image `docker.io/library/a:1` in it"),
        (format!("{archive}:@1"), "there is no image number 1 in it"),
        (format!("{oci_archive}:nope"), "there is no image `nope` in it"),
        (format!("{oci}:nope"), "there is no image `nope` in it"),
        (format!("dir:{}", place("oci-dir")), "it is not a directory with the files of an image"),
        (format!("oci:{}", place("docker-dir")), "it is not an OCI layout"),
        (
            format!("docker-archive:{}", place("oci-archive")),
            "it is not an archive in Docker's form",
        ),
        ("oci:/nowhere".to_owned(), "cannot open /nowhere"),
        ("docker-daemon:a:1".to_owned(), "unsupported place `docker-daemon:`"),
    ] {
        barge
            .run(["pull", "-q", &from])
            .fails(125)
            .error_has(&format!("cannot pull {from}: {error}"));
    }
    barge.run(["pull", "-a", &oci]).fails(125).error_has("--all-tags is for registries");
    // `run` takes them, too.
    let line = ["run", "--rm", "--network", "none", &oci, "echo", "here"];
    barge.run(line).ok().stdout("here\n");

    // An archive on the web is loaded as one in a file.
    let server = Server::start(barge.place());
    let data = fs::read(place("oci-archive")).unwrap();
    server.answer("/image.tar", Answer::new("application/x-tar", data));
    let address = format!("http://{}/image.tar", server.address());
    barge.run(["load", "-q", "-i", &address]).ok().stdout("Loaded image: localhost/a:1\n");
    let line = ["load", "-i", &format!("http://{}/none.tar", server.address())];
    barge.run(line).fails(125).error_has("404");
}
