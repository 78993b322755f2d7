//! Files from and to containers of other hosts, and builds there.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::super::support::http::{Http, reply};
use super::super::support::registry::Registry;
use super::super::support::{Barge, tool};
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

#[test]
fn remote_images_go_to_registries_and_come_from_there() {
    let barge = Barge::with_busybox();
    let (from, to) = (Registry::with_password(barge.place()), Registry::empty(barge.place()));
    let there = There::new(&barge);
    let name = to.reference("there/box:1");
    let id = there.run(["image", "inspect", "-f", "{{.Id}}", "busybox"]).ok().text();
    there.run(["tag", "busybox", &name]).ok();
    there.run(["push", &name]).ok().stdout_has("1: digest: sha256:");
    there.run(["rmi", &name]).ok().stdout_has("Untagged: ");
    let pulled = there.run(["pull", &name]).ok().text();
    assert_eq!(format!("sha256:{pulled}"), id);
    there.run(["pull", &to.reference("there/box:nosuch")]).fails(125).error_has("nosuch");
    // One that asks who it is.
    let name = from.reference("box:1");
    there.run(["pull", &name]).fails(125);
    there.run(["pull", "--creds", "user:wrong", &name]).fails(125);
    there.run(["pull", "--creds", "user:secret", &name]).ok();
    there.run(["push", "--creds", "user:secret", &name]).exits(125).stderr_has("Not Allowed");
    // A build's base is fetched there, by who the user is here.
    there.run(["rmi", &name]).ok();
    fs::create_dir(barge.path("c")).unwrap();
    barge.file("c/Dockerfile", format!("FROM {name}\nLABEL made=there\n"));
    let dir = barge.path_text("c");
    let host = from.reference("");
    let host = host.as_str();
    let auth = barge.path_text("auth.json");
    let line = ["login", "--authfile", &auth, "-u", "user", "-p", "secret"];
    barge.run([&line[..], &[host.trim_end_matches('/')]].concat()).ok();
    let build = ["build", "-q", "--network=none", &dir];
    there.run(build).exits(125).stderr_has("authentication required");
    let build = there.command(["build", "-q", "--network=none", "-t", "made", &dir]);
    build.env("REGISTRY_AUTH_FILE", &auth).run().ok();
    // The same, where a variable says which it is.
    there.run(["rmi", "-f", "made"]).ok();
    there.run(["rmi", "-f", &name]).ok();
    let host = host.trim_end_matches('/');
    barge.file("c/Dockerfile", format!("ARG HOST={host}\nARG NAME\nFROM $HOST/$NAME:1\n"));
    let line = ["build", "-q", "--build-arg", "NAME=box", "-t", "made", &dir];
    there.command(line).env("REGISTRY_AUTH_FILE", &auth).run().ok();
    let file = "FROM busybox\nRUN echo built > /built\n";
    there.command(["build", "-q", "--network=none", "-"]).input(file).run().ok();
    let left = there.run(["builder", "du"]).ok().text();
    assert!(left.contains("RUN echo built"), "{left}");
}

#[test]
fn remote_searches_are_done_there() {
    let barge = Barge::with_busybox();
    let registry = Registry::empty(barge.place());
    let name = registry.reference("team/box:1");
    barge.run(["push", "-q", "busybox", &name]).exits(0);
    let there = There::new(&barge);
    let term = registry.reference("box");
    let repository = registry.reference("team/box");
    there.run(["search", "--format", "{{.Name}}", &term]).ok().stdout(&format!("{repository}\n"));
}

#[test]
fn remote_builds_fetch_contexts_there() {
    let barge = Barge::with_busybox();
    let there = There::new(&barge);
    fs::create_dir(barge.path("c")).unwrap();
    barge.file("c/Dockerfile", "FROM busybox\nCOPY data /data\nRUN cat /data\n");
    barge.file("c/data", "from afar\n");
    let archive = barge.path_text("c.tar");
    tool("tar", ["-C", &barge.path_text("c"), "-cf", &archive, "."]);
    let bytes = fs::read(&archive).unwrap();
    let line = ["build", "--network=none", "--no-cache"];
    let built = there.command([&line[..], &["-"]].concat()).input(bytes.clone()).run().ok();
    built.stdout_has("from afar\n");
    let http = Http::start(barge.place(), move |request| match request.path.as_str() {
        "/context.tar" => reply(200, bytes.clone()),
        "/Dockerfile" => reply(200, "FROM busybox\nRUN echo alone\n"),
        _ => reply(404, "no"),
    });
    for (path, said) in [("context.tar", "from afar\n"), ("Dockerfile", "alone\n")] {
        let address = format!("http://{}/{path}", http.address());
        there.run([&line[..], &[&address]].concat()).ok().stdout_has(said);
    }
    let address = format!("http://{}/nosuch", http.address());
    there.run([&line[..], &[&address]].concat()).fails(125).error_has("404");
}
