//! Images that come from files: load, import, and what can be done to them.

use std::fs;

use super::support::barge::is_full_id;
use super::support::layout::Tar;
use super::support::{Barge, fixture, is_root, tool};

/// Makes the archive of an image in one of skopeo's forms.
fn archive(barge: &Barge, form: &str, image: &str, name: &str) -> String {
    let layout = barge.path("layout");
    if !layout.exists() {
        fixture::boxes_layout(&layout);
    }
    let file = barge.path_text(&format!("{form}.tar"));
    let source = format!("oci:{}:{image}", layout.display());
    tool("skopeo", ["--insecure-policy", "copy", "-q", &source, &format!("{form}:{file}:{name}")]);
    file
}

/// Checks what the image of `fixture::boxes_layout` must be like when it runs.
#[track_caller]
fn check_box(barge: &Barge, name: &str) {
    let run = |script: &str| {
        barge.run(["run", "--rm", "--network", "none", name, "sh", "-c", script]).ok().text()
    };
    barge.run(["run", "--rm", "--network", "none", name]).ok().stdout("hello from a layer\n");
    assert_eq!(
        run("ls /removed /emptied 2>/dev/null; cat /again; stat -c %h /greeting"),
        "/emptied:\nnew\nhello from a layer\n2"
    );
    assert_eq!(run("pwd; echo $FLAVOUR"), "/home\nplain");
    assert_eq!(run("ls -a / | grep wh; ls -a /emptied | grep wh; true"), "");
}

#[test]
fn load_reads_what_skopeo_writes() {
    let barge = Barge::new();
    for (form, image, name) in [
        ("docker-archive", "1", "first:1"),
        ("oci-archive", "1", "localhost/second:2"),
        ("oci-archive", "zstd", "localhost/third:3"),
    ] {
        let file = archive(&barge, form, image, name);
        let full = if name == "first:1" { "docker.io/library/first:1" } else { name };
        barge.run(["load", "-i", &file]).ok().stdout(&format!("Loaded image: {full}\n"));
        check_box(&barge, full);
        fs::remove_file(file).unwrap();
    }
    barge.leaves_nothing();
}

#[test]
fn load_reads_standard_input_and_compressed_archives() {
    let barge = Barge::new();
    let file = archive(&barge, "docker-archive", "1", "localhost/a:1");
    let bytes = fs::read(&file).unwrap();
    let loaded = "Loaded image: localhost/a:1\n";
    barge.command(["load"]).input(bytes.clone()).run().ok().stdout(loaded);
    barge.run(["rmi", "a:1"]).ok();
    for (packing, suffix) in [
        (super::support::layout::Packing::Gzip, "gz"),
        (super::support::layout::Packing::Zstd, "zst"),
    ] {
        let packed = barge.file(suffix, super::support::layout::pack(&bytes, packing));
        barge.run(["load", "-i", &packed]).ok().stdout(loaded);
        barge.command(["load"]).input(fs::read(&packed).unwrap()).run().ok().stdout(loaded);
        check_box(&barge, "a:1");
        barge.run(["rmi", "a:1"]).ok();
    }
}

#[test]
fn load_refuses_garbage() {
    let barge = Barge::new();
    barge.run(["images"]).ok();
    let before = barge.files();
    let good = fs::read(archive(&barge, "docker-archive", "1", "localhost/a:1")).unwrap();
    let packed = super::support::layout::pack(&good, super::support::layout::Packing::Gzip);
    let mut corrupt = packed.clone();
    let middle = corrupt.len() / 2;
    for byte in &mut corrupt[middle..middle + 64] {
        *byte ^= 0x55;
    }
    let table: [(&str, Vec<u8>); 6] = [
        ("text", b"this is no archive, whatever its name says".repeat(50)),
        ("empty", Vec::new()),
        ("tar of something else", Tar::new().file("x", 0o644, "y").bytes()),
        ("cut off", good[..good.len() / 2].to_vec()),
        ("cut off gzip", packed[..packed.len() / 2].to_vec()),
        ("corrupt gzip", corrupt),
    ];
    for (what, bytes) in table {
        let file = barge.file("archive", &bytes);
        let output = barge.run(["load", "-i", &file]);
        assert_eq!(output.status, 125, "{what}: {}", output.story());
        output.fails(125);
        barge.has_files(&before, what);
        barge.command(["load"]).input(bytes).run().fails(125);
        barge.has_files(&before, what);
    }
    let file = barge.file("text", "this is no archive");
    barge
        .run(["load", "-i", &file])
        .fails(125)
        .error_has("payload does not match any of the supported image formats");
    let missing = barge.path_text("nosuch");
    barge
        .run(["load", "-i", &missing])
        .fails(125)
        .error_has(&missing)
        .error_has("no such file or directory");
}

#[test]
fn load_refuses_a_layer_with_another_digest() {
    let barge = Barge::new();
    let file = archive(&barge, "oci-archive", "1", "localhost/a:1");
    let directory = barge.path_text("unpacked");
    fs::create_dir(&directory).unwrap();
    tool("tar", ["-C", &directory, "-xf", &file]);
    // The largest blob is the layer with busybox; one byte in its middle changes.
    let blobs = super::support::leaks::files_below(&barge.path("unpacked/blobs"));
    let layer = blobs.iter().max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    let mut bytes = fs::read(layer).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(layer, bytes).unwrap();
    tool("tar", ["-C", &directory, "-cf", &file, "."]);
    barge.run(["load", "-i", &file]).fails(125);
    barge.run(["images", "-q"]).ok().stdout("");
    // The other layer is whole and may be kept.
    assert!(barge.layers().len() <= 1, "{:?}", barge.layers());
    assert!(super::support::leaks::entries(&barge.root().join("tmp")).is_empty());
}

#[test]
fn load_refuses_a_terminal() {
    let barge = Barge::new();
    let mut terminal = barge.command(["load"]).terminal();
    terminal.expect("Error: ");
    terminal.exits(125);
}

#[test]
fn import_makes_an_image() {
    let barge = Barge::new();
    let tar = fixture::busybox();
    let tar = tar.to_string_lossy();
    let id = barge.run(["import", "-q", &tar, "mine:1"]).ok().text();
    let id = id.strip_prefix("sha256:").unwrap_or(&id).to_owned();
    assert!(is_full_id(&id), "{id}");
    barge.run(["run", "--rm", "--network=none", "mine:1", "echo", "works"]).ok().stdout("works\n");
    barge.run(["run", "--rm", "--network=none", "localhost/mine:1", "echo", "works"]).ok();
    barge.run(["run", "--rm", "--network=none", &id[..12], "echo", "works"]).ok().stdout("works\n");
    // From standard input, compressed, with changes.
    let bytes = fs::read(fixture::busybox()).unwrap();
    let packed = super::support::layout::pack(&bytes, super::support::layout::Packing::Gzip);
    let line = [
        "import",
        "-c",
        "CMD [\"sh\", \"-c\", \"echo $A; pwd; id -u\"]",
        "-c",
        "ENV A=b",
        "-c",
        "WORKDIR /etc",
        "-c",
        "USER app",
        "-c",
        "LABEL l=1",
        "-c",
        "EXPOSE 80",
        "-c",
        "STOPSIGNAL SIGUSR1",
        "-",
        "changed",
    ];
    barge.command(line).input(packed).run().ok();
    barge.run(["run", "--rm", "--network=none", "changed"]).ok().stdout("b\n/etc\n1000\n");
    let json = barge.run(["image", "inspect", "changed"]).ok().json();
    let config = &json[0]["Config"];
    assert_eq!(config["Labels"]["l"], "1");
    assert_eq!(config["StopSignal"], "SIGUSR1");
    assert!(config["ExposedPorts"].to_string().contains("80/tcp"), "{config}");
    barge.run(["import", "-c", "NOSUCH x", &tar, "bad"]).fails(125).error_has("NOSUCH");
    barge.run(["image", "exists", "bad"]).exits(1);
}

#[test]
fn import_keeps_everything_that_tar_can_say() {
    let barge = Barge::new();
    let root = barge.path("tree");
    fs::create_dir_all(root.join("bin")).unwrap();
    fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
    let long = "n".repeat(200);
    let deep = format!("{}/{}", "d".repeat(120), "e".repeat(120));
    let script = format!(
        "cd \"$1\"; ln -s busybox bin/sh; ln bin/busybox bin/again; mkfifo fifo; \
         echo long > {long}; mkdir -p {deep}; echo deep > {deep}/f; ln -s {long} link; \
         printf x > setuid; chmod 4755 setuid; mkdir sticky; chmod 1777 sticky; \
         truncate -s 10M sparse; printf end >> sparse; printf '\\303\\244' > \"$(printf 'nam\\303\\251 \\n')\"; \
         touch -d '2001-02-03 04:05:06 UTC' old"
    );
    tool("sh", ["-ec", &script, "make", &root.to_string_lossy()]);
    let mut extra = "";
    if is_root() {
        tool(
            "sh",
            [
                "-ec",
                "cd \"$1\"; mknod null c 1 3; chown 123:456 old; setfattr -n user.mark -v yes old; setcap cap_net_raw+ep bin/again || true",
                "make",
                &root.to_string_lossy(),
            ],
        );
        extra = "test -c /null && echo device; ";
    }
    for format in ["gnu", "pax"] {
        let file = barge.path_text(&format!("{format}.tar"));
        let directory = root.to_string_lossy().into_owned();
        let option = format!("--format={format}");
        let mut line = vec!["-C", &directory, &option, "--sparse", "--numeric-owner"];
        if format == "pax" {
            line.extend(["--xattrs", "--xattrs-include=*"]);
        }
        line.extend(["-cf", &file, "."]);
        tool("tar", line);
        barge.run(["import", &file, format]).ok();
        let script = format!(
            "PATH=/bin; alias b='busybox'; b='/bin/busybox'; $b cat /{long} /{deep}/f /link; $b test -p /fifo && $b echo fifo; \
             $b stat -c %a /setuid /sticky; $b stat -c %s /sparse; $b tail -c 3 /sparse; $b echo; $b stat -c %Y /old; \
             $b stat -c %h /bin/again; $b ls / | $b grep -c nam; {extra}"
        );
        let script =
            script.replace("test -c", "$b test -c").replace("echo device", "$b echo device");
        let output =
            barge.run(["run", "--rm", "--network=none", format, "/bin/sh", "-c", &script]).ok();
        let want = "long\ndeep\nlong\nfifo\n4755\n1777\n10485763\nend\n981173106\n2\n1";
        let device = if is_root() { "\ndevice" } else { "" };
        assert_eq!(output.text(), format!("{want}{device}"), "{format}");
        if is_root() {
            let line = [
                "run",
                "--rm",
                "--network=none",
                format,
                "/bin/busybox",
                "stat",
                "-c",
                "%u:%g",
                "/old",
            ];
            barge.run(line).ok().stdout("123:456\n");
        }
    }
}

#[test]
fn import_stays_beneath_its_root() {
    let barge = Barge::new();
    let outside = barge.path_text("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(barge.path("outside/kept"), "kept").unwrap();
    let up = "../".repeat(20);
    let climb = format!("{up}{}", outside.trim_start_matches('/'));
    let kept = format!("{outside}/kept");
    let table: [(&str, Vec<u8>); 8] = [
        ("dots", Tar::new().file(&format!("{climb}/new"), 0o644, "x").bytes()),
        ("absolute", Tar::new().file(&format!("{outside}/new"), 0o644, "x").bytes()),
        (
            "a link, then a file through it",
            Tar::new().symlink("l", &outside).file("l/new", 0o644, "x").bytes(),
        ),
        (
            "a climbing link, then a file through it",
            Tar::new().symlink("l", &climb).file("l/new", 0o644, "x").bytes(),
        ),
        (
            "a hard link to the outside",
            Tar::new().hardlink("h", &kept).file("h", 0o644, "spoiled").bytes(),
        ),
        (
            "a hard link by dots",
            Tar::new().hardlink("h", &format!("{climb}/kept")).file("h", 0o644, "spoiled").bytes(),
        ),
        (
            "a whiteout through a link",
            Tar::new().symlink("l", &outside).file("l/.wh.kept", 0o644, "").bytes(),
        ),
        ("a whiteout of dots", Tar::new().file(&format!("{climb}/.wh.kept"), 0o644, "").bytes()),
    ];
    for (what, bytes) in table {
        let file = barge.file("hostile.tar", bytes);
        // Refused or contained: both are fine; what lies outside is untouched.
        let output = barge.run(["import", &file, "hostile"]);
        if output.status == 0 {
            barge.run(["rmi", "hostile"]).ok();
        } else {
            output.fails(125);
        }
        assert_eq!(fs::read_to_string(barge.path("outside/kept")).unwrap(), "kept", "{what}");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 1, "{what}");
        assert!(barge.layers().is_empty(), "{what}: {:?}", barge.layers());
    }
}

#[test]
fn images_lists_what_is_there() {
    let barge = Barge::new();
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let heading = "REPOSITORY TAG IMAGE ID CREATED SIZE";
    assert_eq!(words(&barge.run(["images"]).ok().text()), heading);
    barge.import_busybox();
    barge.run(["tag", "busybox", "other/name:2"]).ok().stdout("");
    let lines = barge.run(["images"]).ok().lines();
    assert_eq!(words(&lines[0]), heading);
    assert_eq!(lines.len(), 3, "{lines:?}");
    let id = barge.run(["images", "-q", "--no-trunc", "busybox"]).ok().text();
    assert!(id.starts_with("sha256:") && is_full_id(&id[7..]), "{id}");
    let row = lines.iter().find(|line| line.starts_with("localhost/busybox")).unwrap();
    assert!(row.contains("latest") && row.contains(&id[7..19]) && row.contains("MB"), "{row}");
    let line = ["images", "--format", "{{.Repository}}:{{.Tag}}", "other/name"];
    let name = barge.run(line).ok().text();
    assert!(name.ends_with("other/name:2"), "{name}");
    barge.run(["images", "-q", "nosuch"]).ok().stdout("");
    barge.run(["image", "ls", "-q", "busybox"]).ok().stdout(&format!("{}\n", &id[7..19]));
    barge.run(["images", "--filter", "json"]).fails(125).error(
        "invalid image filter \"json\": must be in the format \"filter=value or filter!=value\"",
    );
    barge.run(["images", "-q", "--filter", "reference=*busy*"]).ok().stdout_has(&id[7..19]);
    barge.run(["images", "-q", "--filter", "dangling=true"]).ok().stdout("");
}

#[test]
fn tags_come_and_go() {
    let barge = Barge::with_busybox();
    let id = barge.run(["images", "-q", "--no-trunc", "busybox"]).ok().text();
    let hex = &id[7..];
    barge.run(["tag", "busybox", "a:1", "localhost:5000/b"]).ok();
    for name in ["a:1", "localhost/a:1", "localhost:5000/b:latest", hex, &hex[..12], &id] {
        let line = ["image", "inspect", "--format", "{{.Id}}", name];
        assert!(barge.run(line).ok().text().ends_with(hex), "{name}");
    }
    barge.run(["untag", "busybox", "a:1"]).ok();
    barge.run(["image", "exists", "a:1"]).exits(1);
    barge.run(["untag", "busybox", "a:1"]).fails(125).error_has("a:1: tag not known");
    barge.run(["tag", "nosuch", "x"]).fails(125).error("nosuch: image not known");
    for name in ["UPPER", "a:b:c", "a@b", "", "../x", "a//b"] {
        barge.run(["tag", "busybox", name]).fails(125);
    }
    // A tag that moves away leaves the image without a name.
    let tar = barge.file("other.tar", Tar::new().file("x", 0o644, "y").bytes());
    barge.run(["import", &tar, "busybox"]).ok();
    assert_ne!(barge.run(["images", "-q", "--no-trunc", "busybox"]).ok().text(), id);
    barge.run(["image", "inspect", "--format", "{{.Id}}", "b"]).exits(125);
    barge.run(["image", "inspect", "localhost:5000/b"]).ok();
}

#[test]
fn rmi_removes_images_nobody_uses() {
    let barge = Barge::with_busybox();
    let id = barge.run(["images", "-q", "--no-trunc", "busybox"]).ok().text();
    barge.run(["tag", "busybox", "second"]).ok();
    barge.run(["rmi", "second"]).ok().stdout("Untagged: localhost/second:latest\n");
    let container = barge.run(["create", "--name", "box", "busybox", "true"]).ok().text();
    barge
        .run(["rmi", "busybox"])
        .fails(2)
        .error_has(&container)
        .error_has("image is in use by a container");
    barge.run(["image", "exists", "busybox"]).exits(0);
    barge.run(["rm", "box"]).ok();
    let output = barge.run(["rmi", "busybox"]).ok();
    output.stdout(&format!("Untagged: localhost/busybox:latest\nDeleted: {}\n", &id[7..]));
    assert!(barge.layers().is_empty(), "{:?}", barge.layers());
    barge.run(["rmi", "busybox"]).fails(1).error("busybox: image not known");
    assert!(super::support::leaks::files_below(&barge.root().join("blobs")).is_empty());
}

#[test]
fn rmi_keeps_layers_that_others_use() {
    let barge = Barge::new();
    let layout = barge.path("layout");
    fixture::boxes_layout(&layout);
    for image in ["1", "zstd"] {
        let file = barge.path_text("a.tar");
        let source = format!("oci:{}:{image}", layout.display());
        let target = format!("oci-archive:{file}:localhost/{image}:1");
        tool("skopeo", ["--insecure-policy", "copy", "-q", &source, &target]);
        barge.run(["load", "-i", &file]).ok();
        fs::remove_file(file).unwrap();
    }
    // Both have the same two layers, stored once.
    assert_eq!(barge.layers().len(), 2);
    barge.run(["rmi", "localhost/1:1"]).exits(0);
    assert_eq!(barge.layers().len(), 2);
    check_box(&barge, "localhost/zstd:1");
}

#[test]
fn history_tells_the_steps() {
    let barge = Barge::new();
    let file = archive(&barge, "docker-archive", "1", "localhost/a:1");
    barge.run(["load", "-i", &file]).ok();
    let lines = barge.run(["history", "a:1"]).ok().lines();
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(words(&lines[0]), "ID CREATED CREATED BY SIZE COMMENT");
    assert_eq!(lines.len(), 3);
    // The newest comes first; only it has an ID.
    assert!(lines[1].contains("step 1") && !lines[1].contains("<missing>"), "{lines:?}");
    assert!(lines[2].contains("step 0") && lines[2].starts_with("<missing>"), "{lines:?}");
    barge.run(["history", "--format", "{{.CreatedBy}}", "a:1"]).ok().stdout("step 1\nstep 0\n");
    barge.run(["history", "nosuch"]).fails(125).error("nosuch: image not known");
}

#[test]
fn image_inspect_tells_everything() {
    let barge = Barge::new();
    let file = archive(&barge, "docker-archive", "1", "localhost/a:1");
    barge.run(["load", "-i", &file]).ok();
    let json = barge.run(["image", "inspect", "a:1"]).ok().json();
    let image = &json[0];
    assert_eq!(image["RepoTags"], serde_json::json!(["localhost/a:1"]));
    assert_eq!(image["Os"], "linux");
    assert_eq!(image["Architecture"], super::support::layout::architecture());
    assert_eq!(image["Config"]["Cmd"], serde_json::json!(["cat", "/greeting"]));
    assert_eq!(image["Config"]["WorkingDir"], "/home");
    assert_eq!(image["RootFS"]["Layers"].as_array().unwrap().len(), 2);
    assert!(image["Size"].as_u64().unwrap() > 100_000);
    assert_eq!(image["Created"].as_str().unwrap()[..10], *"2026-01-02");
    assert!(is_full_id(image["Id"].as_str().unwrap().trim_start_matches("sha256:")));
}

#[test]
fn the_stop_signal_of_the_image_is_used() {
    let barge = Barge::new();
    let file = archive(&barge, "docker-archive", "1", "localhost/a:1");
    barge.run(["load", "-i", &file]).ok();
    let script = "trap 'exit 1' TERM; echo up; while :; do sleep 0.1; done";
    let id = barge.start(["a:1", "sh", "-c", script]);
    barge.await_log(&id, "up");
    barge.run(["stop", &id]).ok();
    assert_eq!(barge.inspect(&id, "{{.State.ExitCode}}"), "137");
}
