//! Containers that have a directory instead of an image.

use std::fs;

use super::support::{Barge, fixture, tool};

/// Unpacks busybox below a name in the test's directory.
fn with_directory() -> (Barge, String) {
    let barge = Barge::new();
    let path = barge.path_text("root");
    fs::create_dir(&path).unwrap();
    tool("tar", ["-C", &path, "-xf", &fixture::busybox().to_string_lossy()]);
    (barge, path)
}

#[test]
fn changes_go_to_the_directory() {
    let (barge, path) = with_directory();
    let line = ["run", "--network=none", "--name=c", "--rootfs", &path, "sh", "-c"];
    barge.run(line.iter().chain(&["echo new > /home/file; id -un"])).ok().stdout("root\n");
    assert_eq!(fs::read_to_string(barge.path("root/home/file")).unwrap(), "new\n");
    assert_eq!(barge.inspect("c", "{{.Rootfs}} {{.Image}}"), format!("{path} "));
    barge.run(["ps", "-a", "--format", "{{.Image}}"]).ok().stdout(&format!("{path}\n"));
    barge.run(["ps", "-a", "--size", "--format", "{{.Size}}"]).ok().stdout("0B (virtual 0B)\n");
    barge.run(["commit", "c", "made"]).fails(125).error_has("instead of an image");
    barge.run(["diff", "c"]).fails(125).error_has("instead of an image");
    let tar = barge.path_text("c.tar");
    barge.run(["export", "-o", &tar, "c"]).ok();
    assert!(tool("tar", ["-tf", &tar]).lines().any(|line| line == "home/file"));
    barge.run(["start", "-a", "c"]).ok().stdout("root\n");
    barge.run(["rm", "c"]).ok();
    assert!(barge.path("root/home/file").exists());
    barge.run(["system", "prune", "-a", "-f"]).ok();
    let user = ["run", "--rm", "--network=none", "--user=app", "--rootfs", &path, "id", "-u"];
    barge.run(user).ok().stdout("1000\n");
    let missing = barge.path_text("nosuch");
    for wrong in [missing.as_str(), "", &format!("{path}:x"), "/etc/passwd"] {
        barge.run(["run", "--rm", "--rootfs", wrong, "true"]).fails(125);
    }
    barge.run(["run", "--rm", "--rootfs", &path]).fails(125).error_has("no command");
    assert!(barge.containers().is_empty());
}

#[test]
fn changes_go_with_the_container() {
    let (barge, path) = with_directory();
    let dir = format!("{path}:O");
    let line = ["run", "--network=none", "--name=c", "--rootfs", &dir, "sh", "-c"];
    let script = "cat /home/file 2>/dev/null; echo new > /home/file; rm /etc/group";
    barge.run(line.iter().chain(&[script])).ok().stdout("");
    barge.run(["start", "-a", "c"]).exits(1).stdout("new\n");
    assert!(!barge.path("root/home/file").exists());
    assert!(barge.path("root/etc/group").exists());
    let changes = barge.run(["diff", "c"]).ok().text();
    assert!(changes.contains("A /home/file") && changes.contains("D /etc/group"), "{changes}");
    barge.run(["commit", "c", "made"]).fails(125);
    let tar = barge.path_text("c.tar");
    barge.run(["export", "-o", &tar, "c"]).ok();
    let list = tool("tar", ["-tf", &tar]);
    assert!(list.lines().any(|line| line == "home/file"), "{list}");
    assert!(list.lines().any(|line| line == "bin/busybox"), "{list}");
    assert!(!list.lines().any(|line| line == "etc/group"), "{list}");
    barge.run(["container", "clone", "c", "d"]).ok();
    barge.run(["start", "-a", "d"]).ok().stdout("");
    barge.run(["rm", "c", "d"]).ok();
    let flags = ["--read-only", "--rootfs", &dir, "touch", "/x"];
    barge.run(["run", "--rm", "--network=none"].iter().chain(&flags)).exits(1);
    let line = ["run", "--rm", "--network=none", "-v", "data:/etc", "--rootfs", &dir];
    barge.run(line.iter().chain(&["grep", "-c", "app", "/etc/passwd"])).ok().stdout("1\n");
    barge.run(["volume", "rm", "data"]).ok();
}
