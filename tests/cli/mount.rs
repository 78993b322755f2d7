//! Looking into images: `image mount`, `image diff`, `image tree`.

use std::fs;

use super::support::barge::is_full_id;
use super::support::layout::Tar;
use super::support::{Barge, Need, fixture, is_root, needs, tool};

/// Loads an image of the fixture's layout under a name.
fn load(barge: &Barge, image: &str, name: &str) {
    let layout = barge.path("layout");
    if !layout.exists() {
        fixture::boxes_layout(&layout);
    }
    let file = barge.path_text("load.tar");
    let source = format!("oci:{}:{image}", layout.display());
    let target = format!("oci-archive:{file}:{name}");
    tool("skopeo", ["--insecure-policy", "copy", "-q", &source, &target]);
    barge.run(["load", "-q", "-i", &file]).ok();
    fs::remove_file(file).unwrap();
}

#[test]
fn image_mount_shows_the_files() {
    let barge = Barge::new();
    load(&barge, "1", "localhost/a:1");
    barge.run(["image", "mount"]).ok().stdout("");
    if !is_root() {
        barge
            .run(["image", "mount", "a:1"])
            .fails(125)
            .error_has("in rootless mode, must execute `barge unshare` first");
        // In a namespace of one's own it works.
        let script = "path=$(\"$@\" image mount a:1) && cat $path/greeting && ls $path/emptied && \
                      \"$@\" image unmount a:1 >/dev/null";
        let program = fixture::barge().display().to_string();
        let (root, runroot) =
            (barge.root().display().to_string(), barge.runroot().display().to_string());
        let line = [
            "--user",
            "--map-root-user",
            "--map-auto",
            "--mount",
            "sh",
            "-ec",
            script,
            "sh",
            &program,
            "--root",
            &root,
            "--runroot",
            &runroot,
        ];
        let output = barge.other_command("unshare", line).run().ok();
        output.stdout("hello from a layer\nnew\n");
        return;
    }
    let path = barge.run(["image", "mount", "a:1"]).ok().text();
    assert_eq!(fs::read_to_string(format!("{path}/greeting")).unwrap(), "hello from a layer\n");
    assert!(!fs::exists(format!("{path}/removed")).unwrap());
    assert_eq!(fs::read_dir(format!("{path}/emptied")).unwrap().count(), 1);
    let refused = fs::write(format!("{path}/new"), "x").unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ReadOnlyFilesystem);
    // Twice mounted, twice to be unmounted.
    barge.run(["image", "mount", "a:1"]).ok().stdout(&format!("{path}\n"));
    barge.run(["image", "mount"]).ok().stdout(&format!("localhost/a:1  {path}\n"));
    let json = barge.run(["image", "mount", "--format", "json"]).ok().json();
    assert_eq!(json[0]["mountpoint"], *path);
    let id = json[0]["id"].as_str().unwrap().to_owned();
    assert!(is_full_id(&id), "{id}");
    for _ in 0..2 {
        barge.run(["rmi", "-f", "a:1"]).fails(2).error_has("is mounted").hint_has("unmount");
        barge.run(["image", "prune", "-a", "-f"]).ok().stdout("Total reclaimed space: 0B\n");
        barge.run(["run", "--rm", "--network=none", "a:1"]).ok().stdout("hello from a layer\n");
        barge.run(["image", "unmount", "a:1"]).ok().stdout(&format!("{id}\n"));
    }
    assert!(!fs::exists(&path).unwrap());
    barge.run(["image", "unmount", "a:1"]).ok().stdout("");
    // Once for all.
    for _ in 0..3 {
        barge.run(["image", "mount", "-a"]).ok().stdout(&format!("localhost/a:1  {path}\n"));
    }
    barge.run(["image", "umount", "--all", "--force"]).ok().stdout(&format!("{id}\n"));
    barge.run(["image", "mount"]).ok().stdout("");
    for line in [["image", "mount", "nosuch"], ["image", "unmount", "nosuch"]] {
        barge.run(line).fails(125).error("nosuch: image not known");
    }
    // After a reboot there are directories and nothing in them.
    barge.run(["image", "mount", "a:1"]).ok();
    tool("umount", [&path]);
    barge.run(["image", "mount"]).ok().stdout("");
    barge.run(["image", "mount", "a:1"]).ok().stdout(&format!("{path}\n"));
    barge.run(["image", "unmount", "a:1"]).ok();
    barge.run(["image", "mount"]).ok().stdout("");
    barge.run(["rmi", "a:1"]).ok();
    barge.leaves_nothing();
}

#[test]
fn image_mount_takes_images_of_any_number_of_layers() {
    if !is_root() {
        return;
    }
    let barge = Barge::new();
    let tar = barge.file("one.tar", Tar::new().file("f", 0o644, "x").bytes());
    barge.run(["import", &tar, "one"]).ok();
    let path = barge.run(["image", "mount", "one"]).ok().text();
    assert_eq!(fs::read_to_string(format!("{path}/f")).unwrap(), "x");
    // Who works there keeps it.
    let mut sleeper = barge.other_command("sleep", ["1000"]).within(path.as_ref()).spawn();
    barge.run(["image", "unmount", "one"]).fails(125).hint_has("fuser");
    sleeper.signal(rustix::process::Signal::KILL);
    sleeper.wait();
    barge.run(["image", "unmount", "one"]).ok();
}

#[test]
fn image_diff_tells_what_a_layer_changes() {
    let barge = Barge::new();
    load(&barge, "1", "localhost/a:1");
    barge
        .run(["image", "diff", "a:1"])
        .ok()
        .stdout("A /again\nC /emptied\nA /emptied/new\nD /emptied/old\nA /greeting\nD /removed\n");
    let json = barge.run(["image", "diff", "--format", "json", "a:1"]).ok().json();
    let want = serde_json::json!({
        "added": ["/again", "/emptied/new", "/greeting"],
        "changed": ["/emptied"],
        "deleted": ["/emptied/old", "/removed"],
    });
    assert_eq!(json, want);
    // Against another image; the same layers are passed over.
    barge.run(["tag", "a:1", "b"]).ok();
    barge.run(["image", "diff", "a:1", "b"]).ok().stdout("");
    let one = Tar::new().file("same", 0o644, "x").file("mode", 0o644, "x").file("d/f", 0o644, "");
    let two = Tar::new().file("same", 0o644, "x").file("mode", 0o600, "x").file("d", 0o644, "");
    for (name, tar) in [("one", one), ("two", two)] {
        let file = barge.file("small.tar", tar.bytes());
        barge.run(["import", &file, name]).ok();
    }
    barge.run(["image", "diff", "two", "one"]).ok().stdout("C /d\nC /mode\n");
    barge.run(["image", "diff", "one", "two"]).ok().stdout("C /d\nA /d/f\nC /mode\n");
    barge.run(["image", "diff", "one"]).ok().stdout("A /d\nA /d/f\nA /mode\nA /same\n");
    barge.run(["image", "diff", "nosuch"]).fails(125).error("nosuch: image not known");
    barge.run(["image", "diff", "one", "nosuch"]).fails(125).error("nosuch: image not known");
}

#[test]
fn image_tree_draws_layers() {
    let barge = Barge::new();
    load(&barge, "1", "localhost/a:1");
    barge.run(["tag", "a:1", "b:2"]).ok();
    let lines = barge.run(["image", "tree", "a:1"]).ok().lines();
    let id = barge.run(["images", "-q", "a:1"]).ok().text();
    assert_eq!(lines[0], format!("Image ID: {id}"));
    assert_eq!(lines[1], "Tags:     [localhost/a:1 localhost/b:2]");
    assert!(lines[2].starts_with("Size:     "), "{lines:?}");
    assert_eq!(lines[3], "Image Layers");
    assert!(lines[4].starts_with("├── ID: ") && lines[4].contains(" Size: "), "{lines:?}");
    assert!(lines[5].starts_with("└── ID: "), "{lines:?}");
    assert!(lines[5].ends_with(" Top Layer of: [localhost/a:1 localhost/b:2]"), "{lines:?}");
    let lines = barge.run(["image", "tree", "--whatrequires", "a:1"]).ok().lines();
    assert!(lines[4].starts_with("└── ID: ") && lines.len() <= 6, "{lines:?}");
    barge.run(["image", "tree", "nosuch"]).fails(125).error("nosuch: image not known");
}

#[test]
fn an_image_is_mounted_in_a_container() {
    let barge = Barge::with_busybox();
    load(&barge, "1", "localhost/a:1");
    let mount = "type=image,source=a:1,dst=/img";
    let script = "cat /img/greeting; ls /img/emptied; ls /img/removed; touch /img/x";
    barge
        .shell(&["--mount", mount], script)
        .exits(1)
        .stdout("hello from a layer\nnew\n")
        .stderr_has("/img/removed: No such file")
        .stderr_has("/img/x: Read-only file system");
    // What is changed is gone with the run, and not in the image.
    let create = ["create", "--network=none", "--name", "box", "--mount"];
    let script = "ls /img/x; echo changed >/img/greeting; touch /img/x; cat /img/greeting";
    let line = ["type=image,src=a:1,dst=/img,rw=true", "busybox", "sh", "-c", script];
    barge.run(create.iter().chain(&line)).ok();
    for _ in 0..2 {
        barge.run(["start", "-a", "box"]).ok().stdout("changed\n").stderr_has("No such file");
    }
    let shown = "{{range .Mounts}}{{.Type}} {{.Source}} {{.Destination}} {{.RW}}{{end}}";
    assert_eq!(barge.inspect("box", shown), "image a:1 /img true");
    // Who mounts an image uses it.
    barge.run(["rmi", "a:1"]).fails(2).error_has("image is in use by a container");
    barge.run(["image", "prune", "-a", "-f"]).ok();
    barge.run(["untag", "a:1"]).ok();
    barge.run(["image", "prune", "-f"]).ok();
    barge.run(["start", "-a", "box"]).ok().stdout("changed\n");
    barge.run(["rm", "box"]).ok();
    barge.run(["image", "prune", "-f"]).ok();
    assert_eq!(barge.run(["images", "-q"]).ok().lines().len(), 1);
    let missing = barge.shell(&["--mount", mount], "true");
    missing.fails(125).error_has("image not known");
}

#[test]
fn a_part_of_an_image_is_mounted() {
    let barge = Barge::with_busybox();
    load(&barge, "1", "localhost/a:1");
    for (part, command, want) in
        [("/emptied", "ls /img", "new\n"), ("greeting", "cat /img", "hello from a layer\n")]
    {
        let mount = format!("type=image,src=a:1,dst=/img,subpath={part}");
        barge.shell(&["--mount", &mount], command).ok().stdout(want);
    }
    let mount = "type=image,src=a:1,dst=/img,subpath=nosuch";
    barge.shell(&["--mount", mount], "true").fails(125).error_has("nosuch");
}

#[test]
fn an_image_is_mounted_with_the_owners_that_the_container_has() {
    let barge = Barge::with_busybox();
    let script = "stat -c '%u %g' /img/bin/busybox; touch /img/x && stat -c %u /img/x";
    let mount = ["--mount", "type=image,src=busybox,dst=/img,rw"];
    let users = ["--userns", "auto:size=1024"];
    barge.shell(&[&users[..], &mount].concat(), script).ok().stdout("0 0\n0\n");
    // Each run begins with the image as it is.
    let create = ["create", "--network=none", "--name=box"];
    let line = [&create[..], &users, &mount, &["busybox", "sh", "-c"]].concat();
    barge.run([&line[..], &["ls /img/x; touch /img/x"]].concat()).ok();
    for _ in 0..2 {
        barge.run(["start", "-a", "box"]).ok().stdout("").stderr_has("/img/x: No such file");
    }
    if needs(&[Need::Root]) {
        let users = ["--uidmap", "0:200000:65536", "--gidmap", "0:200000:65536"];
        barge.shell(&[&users[..], &mount].concat(), script).ok().stdout("0 0\n0\n");
    }
}
