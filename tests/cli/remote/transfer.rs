//! Files from and to containers of other hosts, and builds there.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::super::support::Barge;
use super::There;

#[test]
fn remote_files_are_copied_both_ways() {
    let barge = Barge::with_busybox();
    let there = There::new(&barge);
    there.run(["run", "-d", "--name", "c", "--network", "none", "busybox", "sleep", "1000"]).ok();
    let exec = |script: &str| there.run(["exec", "c", "sh", "-c", script]).ok().text();
    let tree = barge.path("tree");
    fs::create_dir_all(tree.join("sub")).unwrap();
    fs::write(tree.join("sub/file"), "text\n").unwrap();
    fs::set_permissions(tree.join("sub/file"), fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::symlink("sub/file", tree.join("link")).unwrap();
    let tree_text = tree.to_string_lossy().into_owned();
    // Into a directory that is there, and as one that is not.
    there.run(["cp", &tree_text, "c:/tmp"]).ok().stdout("");
    assert_eq!(exec("cat /tmp/tree/link; stat -c '%a %u' /tmp/tree/sub/file"), "text\n640 0");
    there.run(["cp", &tree_text, "c:/tmp/other"]).ok();
    assert_eq!(exec("ls /tmp/other"), "link\nsub");
    there.run(["cp", &format!("{tree_text}/."), "c:/tmp/other/sub"]).ok();
    assert_eq!(exec("ls /tmp/other/sub"), "file\nlink\nsub");
    let file = barge.file("one", "1\n");
    there.run(["cp", &file, "c:/tmp/two"]).ok();
    there.run(["cp", &file, "c:/tmp/two"]).ok();
    assert_eq!(exec("cat /tmp/two"), "1");
    there.run(["cp", &file, "c:/nosuch/dir/"]).fails(125).error_has("/nosuch/dir/");
    there.run(["cp", &tree_text, "c:/tmp/two"]).fails(125).error_has("onto the file");
    there.run(["cp", &file, "gone:/tmp"]).fails(125).error_has("No such container: gone");
    // And back.
    let back = barge.path("back");
    let back_text = back.to_string_lossy().into_owned();
    there.run(["cp", "c:/tmp/tree", &back_text]).ok();
    assert_eq!(fs::read_to_string(back.join("link")).unwrap(), "text\n");
    assert_eq!(fs::metadata(back.join("sub/file")).unwrap().permissions().mode() & 0o777, 0o640);
    there.run(["cp", "c:/tmp/two", &back_text]).ok();
    assert_eq!(fs::read_to_string(back.join("two")).unwrap(), "1\n");
    there.run(["cp", "-L", "c:/tmp/tree/link", &back_text]).ok();
    assert!(fs::symlink_metadata(back.join("link")).unwrap().is_file());
    there.run(["cp", "c:/nosuch", &back_text]).fails(125).error_has("nosuch");
    let archive = there.run(["cp", "c:/tmp/tree", "-"]).ok().stdout;
    there.run(["exec", "c", "mkdir", "/tmp/new"]).ok();
    there.command(["cp", "-", "c:/tmp/new"]).input(archive).run().ok();
    assert_eq!(exec("cat /tmp/new/tree/sub/file"), "text");
    there.run(["cp", "c:/tmp/two", "c:/tmp/three"]).ok();
    assert_eq!(exec("cat /tmp/three"), "1");
    there.run(["rm", "-f", "c"]).ok();
}

#[test]
fn remote_builds_get_their_context() {
    let barge = Barge::with_busybox();
    let there = There::new(&barge);
    let context = barge.path("context");
    fs::create_dir(&context).unwrap();
    let write = |name: &str, text: &str| fs::write(context.join(name), text).unwrap();
    write("Dockerfile", "FROM busybox\nARG WHO\nCOPY . /src/\nRUN echo hello $WHO && ls /src\n");
    write("kept", "1");
    write("left", "2");
    write(".dockerignore", "left\n");
    let context_text = context.to_string_lossy().into_owned();
    let iid = barge.path_text("iid");
    let line =
        ["build", "-t", "made:1", "--build-arg", "WHO=you", "--label", "a=b", "--iidfile", &iid];
    let built = there.run([&line[..], &["--network", "none", &context_text]].concat()).ok().text();
    assert!(built.contains("hello you\n") && built.contains("kept\n"), "{built}");
    assert!(!built.contains("left"), "{built}");
    let id = there.run(["image", "inspect", "-f", "{{.Id}}", "made:1"]).ok().text();
    assert_eq!(format!("sha256:{}", built.lines().last().unwrap()), id);
    assert!(fs::read_to_string(&iid).unwrap().ends_with(&id[7..]));
    there.run(["image", "inspect", "-f", "{{.Config.Labels.a}}", "made:1"]).ok().stdout("b\n");
    // A Dockerfile from elsewhere is no part of the image; one on standard input needs no context.
    let elsewhere = barge.file("Elsewhere", "FROM busybox\nCOPY . /src/\nRUN ls -A /src\n");
    let line = ["build", "--no-cache", "--network", "none", "-f", &elsewhere, &context_text];
    let built = there.run(line).ok().text();
    assert!(built.contains("kept\n") && !built.contains(".dockerfile."), "{built}");
    let quiet = there.command(["build", "-q", "-"]).input("FROM busybox\nLABEL x=y\n").run().ok();
    assert_eq!(quiet.text().len(), 64, "{}", quiet.text());
    write("Dockerfile", "FROM busybox\nRUN exit 9\n");
    there.run(["build", "--network", "none", &context_text]).exits(9).stderr_has("Error: ");
    there.run(["build", "--push", &context_text]).fails(125).error_has("--push is not there");
    there.run(["build", "/nonexistent"]).fails(125).error_has("cannot use context /nonexistent");
    there.run(["builder", "prune", "-a", "-f"]).ok().stdout_has("Total reclaimed space: ");
    there
        .run(["system", "df", "--format", "{{.Type}}"])
        .ok()
        .stdout("Images\nContainers\nLocal Volumes\nBuild Cache\n");
}
