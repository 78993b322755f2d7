//! `debug`: a shell with tools of its own, looking into a container.

use super::support::needs::has_controller;
use super::support::{Barge, Need, is_root, needs, wait_until};

#[test]
fn it_is_where_the_container_is() {
    let barge = Barge::with_busybox();
    let script = "echo theirs > /file; exec sleep 1000";
    barge.start(["--name", "box", "--hostname", "there", "busybox", "sh", "-c", script]);
    let script = "for kind in pid net ipc uts cgroup user; do readlink /proc/self/ns/$kind; done";
    let theirs = barge.run(["exec", "box", "sh", "-c", script]).ok().text();
    assert_eq!(barge.run(["debug", "box", "sh", "-c", script]).ok().text(), theirs);
    // Tools that the container has not, and its files.
    let script = "id -u; hostname; pwd; cat file /proc/1/root/file; echo ours > new; \
                  bash -c 'echo $BASH_VERSION | cut -c1'; echo $OWN";
    let output = barge.run(["debug", "-e", "OWN=x", "box", "sh", "-c", script]).ok().lines();
    assert_eq!(output[..5], ["0", "there", "/container", "theirs", "theirs"]);
    assert!(output[5].parse::<u32>().is_ok(), "{output:?}");
    assert_eq!(output[6], "x");
    barge.run(["exec", "box", "cat", "/new"]).ok().stdout("ours\n");
    // Nothing of it came into the container, and nothing is left.
    barge.run(["exec", "box", "ls", "/container"]).exits(1);
    assert_eq!(barge.containers().len(), 1);
    if has_controller("memory") {
        let groups = barge.run(["debug", "box", "cat", "/proc/self/cgroup"]).ok().text();
        let line = groups.lines().find(|line| line.contains(":memory:") || line.starts_with("0::"));
        assert!(line.unwrap().contains(":/debug-"), "{groups}");
    }
}

#[test]
fn it_uses_the_tools_of_an_image() {
    let barge = Barge::with_busybox();
    barge.start(["--name", "box", "builtin/host", "sleep", "1000"]);
    let line = ["debug", "--image", "busybox", "--latest"];
    barge.run([&line[..], &["-c", "busybox | head -n 1 | cut -c1-7; exit 4"]].concat()).exits(4);
    let line = ["debug", "--image", "busybox", "--shell", "ash", "box"];
    barge.command(line).input("echo $0 from input\n").run().ok().stdout("ash from input\n");
    barge.run(["debug", "--image", "busybox", "box", "ls", "/usr/bin/env"]).exits(1);
    barge.run(["debug", "box", "nosuch"]).fails(127).error_has("`nosuch` not found in $PATH");
    barge.run(["debug", "box", "/etc"]).fails(126).error_has("is a directory");
    barge.run(["debug", "--image", "localhost/nosuch", "--pull=never", "box"]).fails(125);
    barge.run(["debug", "nosuch"]).fails(125).error_has("no such container");
    barge.run(["debug"]).fails(125).error_has("you must provide the name or ID");
    barge.run(["debug", "-c", "x", "box", "y"]).fails(125).error_has("--command cannot be set");
    assert_eq!(barge.containers().len(), 1);
}

#[test]
fn it_has_the_terminal_of_its_user() {
    let barge = Barge::with_busybox();
    barge.start(["--name", "box", "busybox", "sleep", "1000"]);
    let mut terminal = barge.command(["debug", "box"]).terminal();
    terminal.expect("The files of box are in /container.");
    terminal.send("test -t 0 && echo on $((6*7)); exit 3\r");
    terminal.expect("on 42\r\n");
    terminal.exits(3);
}

#[test]
fn the_container_cannot_look_back() {
    let barge = Barge::with_busybox();
    barge.start(["--name", "box", "busybox", "sleep", "1000"]);
    let debug = barge.command(["debug", "box", "sleep", "4321"]).spawn();
    let find = "for dir in /proc/[0-9]*; do grep -aq 4321 $dir/cmdline && ! grep -aq find $dir/cmdline && echo $dir; done; :";
    let run = |script: &str| barge.run(["exec", "box", "sh", "-c", script, "find"]);
    let mut dir = String::new();
    wait_until("it runs", || {
        dir = run(find).ok().text();
        !dir.is_empty()
    });
    for what in ["ls -L root/", "ls -L root/etc", "ls cwd/", "cat fd/0", "cat exe", "cat mem"] {
        let output = run(&format!("cd {dir} && {what}")).exits(1);
        assert!(output.text().is_empty(), "{what}: {}", output.text());
        assert!(output.errors().contains("Permission denied"), "{what}: {}", output.errors());
    }
    // One that may look at all processes would see this machine.
    let line = ["--name", "nosy", "--cap-add", "SYS_PTRACE", "busybox", "sleep", "1000"];
    barge.start(line);
    barge.run(["debug", "nosy", "true"]).fails(125).hint_has("--image");
    barge.run(["debug", "--image", "busybox", "nosy", "true"]).ok();
    // It ends with the container, and is gone then.
    barge.run(["rm", "-f", "-t", "0", "box"]).ok();
    assert_eq!(debug.wait().status, 137);
    wait_until("it is gone", || barge.containers().len() == 1);
}

#[test]
fn it_joins_what_is_shared() {
    let barge = Barge::with_busybox();
    let flags = ["--ipc=private", "--uts=host", "--userns=auto"];
    barge.start([&["--name", "box"], &flags[..], &["busybox", "sleep", "1000"]].concat());
    let script = "for kind in pid net ipc uts user; do readlink /proc/self/ns/$kind; done; \
                  cat /proc/self/uid_map";
    let theirs = barge.run(["exec", "box", "sh", "-c", script]).ok().text();
    assert_eq!(barge.run(["debug", "box", "sh", "-c", script]).ok().text(), theirs);
    barge.run(["debug", "box", "sh", "-c", "echo x > /container/new; bash -c 'cat new'"]).ok();
    barge.run(["exec", "box", "stat", "-c", "%u", "/new"]).ok().stdout("0\n");
}

#[test]
fn of_a_container_that_does_not_run_it_shows_the_files() {
    let barge = Barge::with_busybox();
    barge.run(["create", "--network=none", "--name=new", "busybox", "sh", "-c", "echo a>/a"]).ok();
    barge.run(["debug", "new", "ls", "/container/bin/busybox"]).ok();
    barge.run(["start", "-a", "new"]).ok();
    barge.run(["debug", "new", "cat", "a"]).ok().stdout("a\n");
    let output = barge.run(["debug", "new", "touch", "/container/a"]).exits(1);
    assert!(output.errors().contains("Read-only file system"), "{}", output.errors());
    barge.run(["create", "--network", "none", "--name", "host", "builtin/host", "true"]).ok();
    barge.run(["debug", "host", "ls"]).fails(125).error_has("cannot look into container");
    assert_eq!(barge.status("new"), "exited");
}

#[test]
fn of_a_container_with_users_of_its_own_it_shows_the_owners_that_it_has() {
    let barge = Barge::with_busybox();
    let script = "echo a >/a; mkdir /d; chown 7:8 /d";
    let create = ["create", "--network=none", "--name=box", "--userns=auto:size=1024", "busybox"];
    barge.run([&create[..], &["sh", "-c", script]].concat()).ok();
    barge.run(["start", "-a", "box"]).ok();
    let line = ["debug", "--image", "busybox", "box", "stat", "-c", "%u %g", "a", "d"];
    barge.run(line).ok().stdout("0 0\n7 8\n");
}

#[test]
fn a_paused_container_is_left_alone() {
    if !needs(&[Need::Root]) {
        return;
    }
    let barge = Barge::with_busybox();
    barge.start(["--name", "box", "busybox", "sleep", "1000"]);
    barge.run(["pause", "box"]).ok();
    barge.run(["debug", "box", "true"]).fails(125).hint_has("barge unpause box");
    barge.run(["unpause", "box"]).ok();
    assert!(is_root());
    barge.run(["debug", "box", "true"]).ok();
}
