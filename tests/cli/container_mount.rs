//! mount and unmount: the files of containers, seen from the host.

use std::fs;
use std::os::unix::fs::MetadataExt;

use super::support::{Barge, Need, needs, tool};

const CREATE: [&str; 4] = ["create", "--network", "none", "--name"];

fn mounts() -> String {
    fs::read_to_string("/proc/self/mountinfo").expect("it is there")
}

#[test]
fn what_is_changed_in_a_mount_is_changed_in_the_container() {
    if !needs(&[Need::Root]) {
        return;
    }
    let barge = Barge::with_busybox();
    let script = "cat /note; echo from inside >/answer; sleep 1000";
    barge.run(CREATE.iter().chain(&["box", "busybox", "sh", "-c", script])).ok();
    barge.run(["mount"]).ok().stdout("");
    let path = barge.run(["mount", "box"]).ok().text();
    let id = barge.inspect("box", "{{.Id}}");
    assert!(fs::exists(format!("{path}/bin/busybox")).unwrap());
    fs::write(format!("{path}/note"), "from outside\n").unwrap();
    // The same overlay: both see at once what the other does.
    barge.run(["start", "box"]).ok();
    barge.await_log("box", "from outside");
    assert_eq!(fs::read_to_string(format!("{path}/answer")).unwrap(), "from inside\n");
    fs::write(format!("{path}/answer"), "changed\n").unwrap();
    barge.run(["exec", "box", "cat", "/answer"]).ok().stdout("changed\n");
    barge.run(["stop", "-t", "0", "box"]).ok();
    fs::write(format!("{path}/later"), "x").unwrap();
    barge.run(["restart", "-t", "0", "box"]).ok();
    barge.run(["exec", "box", "cat", "/later"]).ok().stdout("x");
    barge.run(["mount"]).ok().stdout(&format!("{}  {path}\n", &id[..12]));
    barge.run(["mount", "--notruncate"]).ok().stdout(&format!("{id}  {path}\n"));
    let json = barge.run(["mount", "--format", "json"]).ok().json();
    assert_eq!((&json[0]["id"], &json[0]["Names"][0]), (&id.clone().into(), &"box".into()));
    assert_eq!(json[0]["mountpoint"], *path);
    // Twice mounted, twice to be unmounted.
    barge.run(["container", "mount", "box"]).ok().stdout(&format!("{path}\n"));
    barge.run(["umount", "box"]).ok().stdout("box\n");
    assert!(fs::exists(format!("{path}/note")).unwrap());
    barge.run(["unmount", "box"]).ok().stdout("box\n");
    assert!(!fs::exists(&path).unwrap());
    barge.run(["unmount", "box"]).fails(125).error_has("it is not mounted");
    barge.run(["exec", "box", "cat", "/later"]).ok().stdout("x");
    let line = ["events", "--stream=false", "--format", "{{.Status}}", "--filter", "container=box"];
    let events = barge.run(line).ok().lines();
    assert!(["mount", "unmount"].iter().all(|it| events.contains(&(*it).to_owned())), "{events:?}");
}

#[test]
fn a_running_container_is_mounted_without_what_is_mounted_in_it() {
    if !needs(&[Need::Root]) {
        return;
    }
    let barge = Barge::with_busybox();
    let id = barge.start(["--name", "box", "--tmpfs", "/t", "busybox", "sleep", "1000"]);
    barge.run(["exec", "box", "sh", "-c", "echo 1 >/a; echo 2 >/t/b"]).ok();
    let path = barge.run(["mount", "-l"]).ok().text();
    assert_eq!(fs::read_to_string(format!("{path}/a")).unwrap(), "1\n");
    assert_eq!(fs::read_dir(format!("{path}/t")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(format!("{path}/proc")).unwrap().count(), 0);
    // It outlives the run, and the next run takes it.
    barge.run(["stop", "-t", "0", "box"]).ok();
    fs::write(format!("{path}/a"), "3\n").unwrap();
    barge.run(["start", "box"]).ok();
    barge.run(["exec", "box", "cat", "/a"]).ok().stdout("3\n");
    barge.run(["mount", "box"]).ok();
    barge.run(["unmount", "--all", "--force"]).ok().stdout(&format!("{id}\n"));
    assert!(!mounts().contains(&path));
    barge.run(["unmount", "-a"]).ok().stdout("");
}

#[test]
fn removal_unmounts() {
    if !needs(&[Need::Root]) {
        return;
    }
    let barge = Barge::with_busybox();
    barge.run(CREATE.iter().chain(&["box", "busybox", "true"])).ok();
    let path = barge.run(["mount", "box"]).ok().text();
    // Somebody works in it.
    let mut inside = barge.other_command("sh", ["-c", &format!("cd {path} && echo in && cat")]);
    inside = inside.open_input();
    let mut inside = inside.spawn();
    inside.expect("in");
    let refused = barge.run(["rm", "box"]);
    refused.fails(2).error_has("cannot remove container box").hint_has("fuser");
    assert_eq!(barge.run(["mount"]).ok().lines().len(), 1);
    barge.run(["rm", "-f", "box"]).ok();
    inside.close_input();
    inside.wait().ok();
    assert!(!mounts().contains(&path));
    // Those that are removed when they end, too.
    let line = ["--rm", "--name", "gone", "busybox", "sh", "-c", "read line"];
    barge.start(["-i"].iter().chain(&line));
    let path = barge.run(["mount", "gone"]).ok().text();
    barge.run(["stop", "-t", "0", "gone"]).ok();
    assert!(barge.containers().is_empty());
    assert!(!mounts().contains(&path));
}

#[test]
fn owners_are_those_that_the_container_has_outside() {
    if !needs(&[Need::Root]) {
        return;
    }
    let barge = Barge::with_busybox();
    let users = ["--uidmap", "0:200000:65536", "--gidmap", "0:200000:65536"];
    let line = [
        "box",
        "busybox",
        "sh",
        "-c",
        "cat /etc/group; stat -c %u /etc/group; echo >/own; sleep 1000",
    ];
    barge.run(CREATE[..3].iter().chain(&users).chain(&["--name"]).chain(&line)).ok();
    let path = barge.run(["mount", "box"]).ok().text();
    let owner = |name: &str| fs::metadata(format!("{path}/{name}")).unwrap().uid();
    assert_eq!(owner("bin/busybox"), 200_000);
    // Our own root is nobody there: it makes no files, but changes those that there are.
    assert_eq!(fs::write(format!("{path}/new"), "").unwrap_err().raw_os_error(), Some(75));
    fs::write(format!("{path}/etc/group"), "root:x:0:\n").unwrap();
    tool("chown", ["200005:200005", &format!("{path}/etc/group")]);
    barge.run(["start", "box"]).ok();
    barge.await_log("box", "5");
    barge.run(["logs", "box"]).ok().stdout("root:x:0:\n5\n");
    assert_eq!(owner("own"), 200_000);
    barge.run(["unmount", "box"]).ok();
}

#[test]
fn every_driver_has_something_to_mount() {
    if !needs(&[Need::Root]) {
        return;
    }
    let barge = Barge::new();
    barge.run(["--storage-driver", "vfs", "images"]).ok();
    barge.import_busybox();
    barge.run(CREATE.iter().chain(&["box", "busybox", "cat", "/note"])).ok();
    let path = barge.run(["mount", "box"]).ok().text();
    fs::write(format!("{path}/note"), "hello\n").unwrap();
    barge.run(["start", "-a", "box"]).ok().stdout("hello\n");
    barge.run(["rm", "box"]).ok();
    assert!(!mounts().contains(&path));
    barge.run(["create", "--name", "hello", "builtin/hello"]).ok();
    barge.run(["mount", "hello"]).fails(125).error_has("cannot mount container");
}

#[test]
fn without_root_containers_are_mounted_in_unshare() {
    let barge = Barge::with_busybox();
    if super::support::is_root() {
        return;
    }
    barge.run(CREATE.iter().chain(&["box", "busybox", "true"])).ok();
    barge
        .run(["mount", "box"])
        .fails(125)
        .error_has("in rootless mode, must execute `barge unshare` first");
    barge.start([
        "--name",
        "runs",
        "busybox",
        "sh",
        "-c",
        "echo hello >/note; echo up; sleep 1000",
    ]);
    barge.await_log("runs", "up");
    let program = barge.program().display().to_string();
    let script = "test -x $($0 mount box)/bin/busybox && ! touch $($0 mount box)/x 2>/dev/null && \
                  path=$($0 mount runs) && cat $path/note && echo changed >$path/note && \
                  $0 mount | wc -l && $0 umount -a -f | wc -l";
    barge.run(["unshare", "sh", "-ec", script, &program]).ok().stdout("hello\n2\n2\n");
    barge.run(["exec", "runs", "cat", "/note"]).ok().stdout("changed\n");
    barge.run(["start", "box"]).ok();
}
