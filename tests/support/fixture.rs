//! What tests need and what takes time to make: made once, kept in the build directory.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde_json::json;

use super::layout::{Layout, Packing, Tar, architecture};
use super::packages::{self, Recipe};
use super::registry::Registry;
use super::{is_root, tool};

/// Returns the executable under test.
pub(crate) fn barge() -> PathBuf {
    std::env::var_os("BARGE_TEST_BINARY")
        .map_or_else(|| env!("CARGO_BIN_EXE_barge").into(), PathBuf::from)
}

fn directory() -> PathBuf {
    std::env::var_os("BARGE_TEST_FIXTURES")
        .map_or_else(|| Path::new(env!("CARGO_TARGET_TMPDIR")).join("fixtures"), PathBuf::from)
}

/// Returns a fixture; the first who asks for it makes it, and the others wait.
pub(super) fn made(name: &str, make: impl FnOnce(&Path)) -> PathBuf {
    let directory = directory();
    let path = directory.join(name);
    if path.exists() {
        return path;
    }
    fs::create_dir_all(&directory).expect("the build directory can be written");
    let lock = File::create(directory.join(format!("{name}.lock"))).expect("it can be written");
    flock(&lock, FlockOperation::LockExclusive).expect("it can be locked");
    if !path.exists() {
        let new = directory.join(format!("{name}.new"));
        if new.is_dir() {
            fs::remove_dir_all(&new).expect("it is ours");
        }
        make(&new);
        fs::rename(&new, &path).expect("it was just made");
    }
    path
}

/// A root file system of busybox alone, as a tar file: users `root` and `app` (1000), no image configuration.
pub(crate) fn busybox() -> PathBuf {
    made("busybox.tar", |new| fs::write(new, busybox_tar()).expect("there is space"))
}

/// Returns the bytes of that tar file.
pub(crate) fn busybox_tar() -> Vec<u8> {
    let program = fs::read("/bin/busybox").expect("busybox-static is installed");
    let mut tar = Tar::new();
    for name in ["bin", "dev", "etc", "home", "proc", "root", "sys", "usr", "usr/bin", "var"] {
        tar = tar.directory(&format!("{name}/"), 0o755);
    }
    tar = tar
        .directory("tmp/", 0o1777)
        .file("bin/busybox", 0o755, program)
        .file("bin/not-executable", 0o644, "#!/bin/sh\n")
        .file("bin/bad-format", 0o755, "\u{1}\u{2}\u{3} no program\n")
        .file(
            "etc/passwd",
            0o644,
            "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000:app:/home:/bin/sh\n",
        )
        .file("etc/group", 0o644, "root:x:0:\napp:x:1000:\nextra:x:2000:app\n");
    for applet in tool("/bin/busybox", ["--list"]).lines().filter(|name| *name != "busybox") {
        tar = tar.symlink(&format!("bin/{applet}"), "busybox");
    }
    tar.bytes()
}

/// The root file system that `debootstrap --variant=minbase` makes, as a tar file. Needs root once.
pub(crate) fn debian() -> PathBuf {
    made("debian.tar", |new| {
        assert!(is_root(), "`debootstrap` needs root; let root run the tests first");
        let scratch = tempfile::tempdir().expect("there is space");
        let root = scratch.path().join("root").to_string_lossy().into_owned();
        tool("debootstrap", ["--variant=minbase", "bookworm", &root]);
        fs::remove_dir_all(scratch.path().join("root/var/cache/apt/archives"))
            .expect("it is there");
        tool(
            "tar",
            ["-C", &root, "--numeric-owner", "--sort=name", "-cf", &new.to_string_lossy(), "."],
        );
    })
}

/// The storage of a registry that holds:
/// - `box:1`, `box:latest`: busybox in two gzip layers, `/greeting` in the second, which also removes `/removed`
/// - `box:zstd`, `box:plain`: the same in zstd layers and in layers that are not compressed
/// - `box:docker`: the same with Docker's media types
/// - `box:many`: an index; the image for this machine is `box:1`
/// - `box:foreign`: an index without an image for this machine
pub(crate) fn boxes() -> PathBuf {
    made("boxes", |new| {
        let scratch = tempfile::tempdir().expect("there is space");
        boxes_layout(scratch.path());
        let registry = Registry::writable(new);
        let source = |tag: &str| format!("oci:{}:{tag}", scratch.path().display());
        for tag in ["1", "latest", "zstd", "plain", "many", "foreign"] {
            registry.push(&source(tag), &format!("box:{tag}"), &[]);
        }
        registry.push(&source("1"), "box:docker", &["--format", "v2s2"]);
    })
}

/// The storage of a registry that holds `web:1`: nginx and redis on Debian, in five layers.
pub(crate) fn web() -> PathBuf {
    installed("web", super::web::recipe)
}

/// The storage of a registry that holds `database:1`: PostgreSQL and Python on Debian, in five layers.
pub(crate) fn database() -> PathBuf {
    installed("database", super::database::recipe)
}

fn installed(name: &str, recipe: impl FnOnce() -> Recipe) -> PathBuf {
    made(name, |new| {
        let scratch = tempfile::tempdir().expect("there is space");
        packages::layout(&debian(), scratch.path(), recipe());
        let registry = Registry::writable(new);
        registry.push(&format!("oci:{}:1", scratch.path().display()), &format!("{name}:1"), &[]);
    })
}

/// Tells whether the fixtures that only root can make are there, or can be made.
pub(crate) fn has_debian() -> bool {
    let all = ["debian.tar", "web", "database"];
    is_root() || all.iter().all(|name| directory().join(name).exists())
}

/// Returns the digest of the manifest that `box:1` names.
pub(crate) fn box_digest() -> String {
    let link = boxes().join("docker/registry/v2/repositories/box/_manifests/tags/1/current/link");
    fs::read_to_string(link).expect("the registry keeps a link").trim().to_owned()
}

/// An OCI layout with the images `1`, `latest`, `zstd`, `plain`, `many` and `foreign`.
pub(crate) fn boxes_layout(directory: &Path) {
    let mut layout = Layout::new(directory);
    let config = json!({
        "Cmd": ["cat", "/greeting"],
        "Env": ["PATH=/bin:/usr/bin", "FLAVOUR=plain"],
        "WorkingDir": "/home",
        "Labels": { "made": "by hand" },
        "ExposedPorts": { "80/tcp": {} },
        "StopSignal": "SIGKILL",
    });
    let base = busybox_with_victims();
    let upper = Tar::new()
        .file("greeting", 0o644, "hello from a layer\n")
        .file(".wh.removed", 0o644, "")
        .directory("emptied/", 0o755)
        .file("emptied/.wh..wh..opq", 0o644, "")
        .file("emptied/new", 0o644, "new\n")
        .hardlink("again", "greeting")
        .bytes();
    let own = architecture();
    let other = if own == "arm64" { "amd64" } else { "arm64" };
    let [gzip, zstd, plain] = [Packing::Gzip, Packing::Zstd, Packing::Plain]
        .map(|packing| [layout.layer(&base, packing), layout.layer(&upper, packing)]);
    let image = layout.image(&gzip, &config, own);
    let zstd = layout.image(&zstd, &config, own);
    let plain = layout.image(&plain, &config, own);
    let foreign = layout.image(&gzip[..1], &json!({ "Cmd": ["false"] }), other);
    let many = layout.index(&[foreign.clone(), image.clone()]);
    let only_foreign = layout.index(&[foreign]);
    layout.name(&image, "1");
    layout.name(&image, "latest");
    layout.name(&zstd, "zstd");
    layout.name(&plain, "plain");
    layout.name(&many, "many");
    layout.name(&only_foreign, "foreign");
}

/// busybox with files that an upper layer removes.
fn busybox_with_victims() -> Vec<u8> {
    let base = busybox_tar();
    // Two blocks of zeros end a stream: what is added goes before them.
    let end = base.len() - 1024;
    let mut bytes = base[..end].to_vec();
    bytes.extend(
        Tar::new()
            .file("removed", 0o644, "gone above\n")
            .directory("emptied/", 0o755)
            .file("emptied/old", 0o644, "gone above\n")
            .bytes(),
    );
    bytes
}

/// Makes all fixtures that other tests share, so that they can be handed to another user.
pub(crate) fn make_all() {
    for path in [busybox(), debian(), boxes(), web(), database(), super::probe::probe()] {
        // Others read it too.
        if is_root() {
            tool("chmod", ["-R", "a+rX", &path.to_string_lossy()]);
        }
    }
}
