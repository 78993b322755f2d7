//! What the machine refuses: no space, no right, no helper. One error, a way out, nothing left behind.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};

use rustix::process::Signal;

use super::support::leaks::entries;
use super::support::process::{tool, wait_until};
use super::support::registry::{Registry, free_port};
use super::support::{Barge, Need, fixture, needs};

#[test]
fn a_port_in_use_is_named() {
    let barge = Barge::with_busybox();
    let listener = barge.place().enter(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))).unwrap();
    let port = listener.local_addr().unwrap().port();
    let before = barge.files();
    barge
        .run(["run", "--rm", "-p", &format!("{port}:80"), "busybox", "true"])
        .fails(126)
        .error_has(&port.to_string())
        .error_has("address already in use")
        .hint_has("");
    barge.has_files(&before, "");
    assert!(barge.containers().is_empty());
    barge.leaves_nothing();
    drop(listener);
    barge.run(["run", "--rm", "-p", &format!("{port}:80"), "busybox", "true"]).ok();
}

#[test]
fn a_port_of_another_container_is_named() {
    let barge = Barge::with_busybox();
    let port = free_port(barge.place());
    let publish = format!("{port}:80");
    let holder = barge.run(["run", "-d", "-p", &publish, "busybox", "sleep", "1000"]).ok().text();
    barge
        .run(["run", "--rm", "-p", &publish, "busybox", "true"])
        .fails(126)
        .error_has(&port.to_string());
    barge
        .run(["run", "--rm", "-d", "-p", &publish, "busybox", "true"])
        .fails(126)
        .error_has(&port.to_string());
    assert_eq!(barge.containers(), std::slice::from_ref(&holder));
    barge.run(["rm", "-f", "-t", "0", &holder]).ok();
    barge.run(["run", "--rm", "-p", &publish, "busybox", "true"]).ok();
}

#[test]
fn a_full_disk_is_reported_and_left_as_it_was() {
    if !needs(&[Need::Root]) {
        return;
    }
    let mut barge = Barge::new();
    let root = barge.root();
    fs::create_dir(&root).unwrap();
    let small = format!("mount -t tmpfs -o size=900k none {}", root.display());
    let registry = Registry::start(barge.place());
    barge.move_to(barge.place().with_mounts(&small));
    let name = registry.reference("box:1");
    barge.run(["pull", &name]).fails(125).error_has("no space left on device").hint_has("--root");
    let tar = fixture::busybox();
    let import = ["import", &*tar.to_string_lossy(), "busybox"].map(str::to_owned);
    barge.run(import).fails(125).error_has("no space left on device");
    barge.run(["images", "-q"]).ok().stdout("");
    // Whole layers may be kept for the next time; what was begun is gone.
    let (layers, begun) =
        barge.place().enter(|| (entries(&root.join("layers")), entries(&root.join("tmp"))));
    assert!(layers.len() <= 1, "{layers:?}");
    assert!(begun.is_empty(), "{begun:?}");
}

#[test]
fn a_container_that_fills_the_disk_can_be_removed() {
    if !needs(&[Need::Root]) {
        return;
    }
    let mut barge = Barge::new();
    let root = barge.root();
    fs::create_dir(&root).unwrap();
    let small = format!("mount -t tmpfs -o size=16m none {}", root.display());
    barge.move_to(barge.place().with_mounts(&small));
    barge.import_busybox();
    let script = "dd if=/dev/zero of=/big bs=1M 2>/dev/null; exit 3";
    barge.run(["run", "--network=none", "--name", "full", "busybox", "sh", "-c", script]).exits(3);
    // There may have been no space to record how it ended, but it did.
    assert_eq!(barge.status("full"), "exited");
    barge.run(["create", "busybox", "true"]).fails(125).error_has("no space left on device");
    barge.run(["ps", "-aq"]).ok();
    barge.run(["rm", "full"]).ok().stdout("full\n");
    barge.shell(&[], "true").ok();
}

#[test]
fn a_read_only_store_is_reported() {
    if !needs(&[Need::Root]) {
        return;
    }
    let mut barge = Barge::with_busybox();
    let before = barge.files();
    let path = barge.root().to_string_lossy().into_owned();
    let home = barge.place().clone();
    let remount = format!("mount --bind {path} {path} && mount -o remount,bind,ro {path}");
    barge.move_to(home.with_mounts(&remount));
    barge.shell(&[], "true").fails(125).error_has("read-only file system").hint_has("--root");
    barge.run(["create", "busybox", "true"]).fails(125).error_has("read-only file system");
    let tar = fixture::busybox();
    barge.run(["import", &tar.to_string_lossy(), "x"]).fails(125);
    // Looking is possible.
    barge.run(["ps", "-aq"]).ok().stdout("");
    barge.run(["images", "-q"]).ok();
    barge.move_to(home);
    barge.has_files(&before, "");
    barge.shell(&[], "true").ok();
}

#[test]
fn a_store_of_somebody_else_is_reported() {
    if !needs(&[Need::NoRoot]) {
        return;
    }
    let barge = Barge::new();
    let line = ["--root", "/root/barge-test", "--runroot", &barge.path_text("r"), "ps"];
    barge.bare_command(line).run().fails(125).error_has("permission denied");
}

#[test]
fn missing_newuidmap_names_the_package() {
    if !needs(&[Need::NoRoot]) {
        return;
    }
    let barge = Barge::with_busybox();
    let line = ["run", "--rm", "--network=none", "busybox", "true"];
    let output = barge.command(line).env("PATH", "/nonexistent").run();
    // Either it fails and says why, or it goes on with a single ID and says so.
    let text = output.errors();
    assert!(text.contains("newuidmap") && text.contains("uidmap"), "{}", output.story());
    if output.status != 0 {
        output.fails(125).hint_has("uidmap");
    }
}

#[test]
fn death_while_ids_are_mapped_holds_up_nobody() {
    if !needs(&[Need::NoRoot]) {
        return;
    }
    let barge = Barge::new();
    let tools = barge.path_text("tools");
    fs::create_dir(&tools).unwrap();
    // It hangs, until its pipe has a writer.
    barge.file(
        "tools/newuidmap",
        "#!/bin/sh\necho $$ > \"${0%/*}/pid\"\nread _ < \"${0%/*}/pipe\"\n",
    );
    tool("chmod", ["755", &format!("{tools}/newuidmap")]);
    tool("mkfifo", [&format!("{tools}/pipe")]);
    let path = std::env::var("PATH").unwrap();
    let line = ["run", "--rm", "--network=none", "builtin/hello"];
    let mut killed = barge.command(line).env("PATH", format!("{tools}:{path}")).spawn();
    wait_until("it maps IDs", || fs::metadata(format!("{tools}/pid")).is_ok_and(|it| it.len() > 0));
    killed.signal(Signal::KILL);
    killed.wait();
    barge.run(line).ok();
    // Let the program go.
    fs::write(format!("{tools}/pipe"), "\n").unwrap();
    barge.leaves_nothing();
}

#[test]
fn missing_pasta_names_the_package() {
    if !needs(&[Need::NoRoot]) {
        return;
    }
    let barge = Barge::with_busybox();
    let tools = barge.path("tools");
    fs::create_dir(&tools).unwrap();
    for tool in ["newuidmap", "newgidmap"] {
        std::os::unix::fs::symlink(format!("/usr/bin/{tool}"), tools.join(tool)).unwrap();
    }
    let run = |network: &[&str]| {
        let line = [&["run", "--rm"], network, &["busybox", "true"]].concat();
        barge.command(line).env("PATH", &tools).run()
    };
    run(&[]).fails(125).error_has("pasta").hint_has("passt");
    run(&["--network", "none"]).ok();
    run(&["--network", "host"]).ok();
    assert!(barge.containers().is_empty());
}

#[test]
fn no_subordinate_ids_is_reported_or_warned_of() {
    if !needs(&[Need::Root, Need::User("barge-nosub")]) {
        return;
    }
    let barge = Barge::of_user("barge-nosub");
    let tar = barge.path("busybox.tar");
    fs::copy(fixture::busybox(), &tar).unwrap();
    let tar = tar.to_string_lossy().into_owned();
    // A user without ranges still has one ID: enough for this image.
    let output = barge.run(["import", &tar, "busybox"]);
    if output.status == 0 {
        let line = ["run", "--rm", "--network=none", "busybox", "id", "-u"];
        let output = barge.run(line).exits(0).stdout("0\n");
        assert!(output.errors().contains("/etc/subuid"), "{}", output.story());
        // Another user of the container would need a second ID.
        let line = ["run", "--rm", "--network=none", "-u", "app", "busybox", "true"];
        let output = barge.run(line);
        assert_ne!(output.status, 0);
        assert!(output.errors().contains("subuid"), "{}", output.story());
    } else {
        output.fails(125).hint_has("subuid");
    }
}

#[test]
fn long_paths_are_no_obstacle() {
    let barge = Barge::with_busybox();
    // Longer than the path of a socket may be.
    let deep = barge.path_text(&"deep/".repeat(40));
    let tar = fixture::busybox().to_string_lossy().into_owned();
    let run = |line: &[&str]| {
        let (root, runroot) = (format!("{deep}s"), format!("{deep}r"));
        let store = ["--root", &root, "--runroot", &runroot];
        barge.bare_command([&store, line].concat()).run()
    };
    run(&["import", &tar, "busybox"]).ok();
    run(&["run", "-d", "--network=none", "--name", "box", "busybox", "sleep", "1000"]).ok();
    run(&["exec", "box", "echo", "works"]).ok().stdout("works\n");
    run(&["rm", "-f", "-t", "0", "box"]).ok();
    run(&["run", "--rm", "--network=none", "busybox", "echo", "works"]).ok().stdout("works\n");
}

#[test]
fn a_missing_runtime_directory_is_made_or_reported() {
    if !needs(&[Need::NoRoot]) {
        return;
    }
    let barge = Barge::new();
    let output = barge.bare_command(["ps", "-q"]).env("XDG_RUNTIME_DIR", "/nonexistent/x").run();
    if output.status != 0 {
        output.fails(125).error_has("/nonexistent/x");
    }
}

#[test]
fn interrupt_in_the_middle_of_a_start() {
    let barge = Barge::with_busybox();
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let mut running =
            barge.command(["run", "--rm", "--network=none", "busybox", "sleep", "1000"]).spawn();
        running.signal(signal);
        // Whether it was early or late: the command ends, or the container has got the signal,
        // which its first process ignores.
        let ended = super::support::eventually(std::time::Duration::from_millis(300), || {
            running.has_ended()
        });
        if !ended {
            let ids = barge.containers();
            assert!(ids.len() <= 1, "{ids:?}");
            barge.run(["rm", "-f", "-t", "0", "-a"]).ok();
        }
        running.wait();
        wait_until("it is removed", || barge.containers().is_empty());
        barge.leaves_nothing();
    }
}
