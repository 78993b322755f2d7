//! unshare: a command in the user namespace of containers without root.

use super::support::{Barge, Need, is_root, needs};

#[test]
fn unshare_makes_the_user_root_over_the_files_of_containers() {
    if !needs(&[Need::NoRoot]) {
        return;
    }
    let barge = Barge::with_busybox();
    barge.run(["unshare", "id", "-u"]).ok().stdout("0\n");
    // A file of a user of a container can be read and removed there.
    let dir = barge.path("shared");
    std::fs::create_dir(&dir).unwrap();
    let volume = format!("{}:/out", dir.display());
    let script = "echo secret >/out/f; chmod 600 /out/f; chown 7:7 /out/f";
    barge.shell(&["-v", &volume], script).ok();
    let file = dir.join("f").display().to_string();
    assert!(std::fs::read_to_string(&file).is_err(), "it belongs to another user");
    barge.run(["unshare", "cat", &file]).ok().stdout("secret\n");
    barge.run(["unshare", "sh", "-c", "exit 7"]).exits(7);
    barge.run(["unshare", "rm", "-f", &file]).ok();
    // Mounts stay there, and barge finds the same store.
    let script = "mount -t tmpfs none /mnt && touch /mnt/x && ls /mnt";
    barge.run(["unshare", "sh", "-c", script]).ok().stdout("x\n");
    assert!(!std::path::Path::new("/mnt/x").exists());
    barge.run(["unshare", "sh", "-c", "echo $BARGE_ROOT"]).ok().stdout_has(&barge.path_text("s"));
}

#[test]
fn unshare_shares_the_namespace_of_running_containers() {
    if !needs(&[Need::NoRoot]) {
        return;
    }
    let barge = Barge::with_busybox();
    barge.start(["--name", "box", "busybox", "sleep", "1000"]);
    let pid = barge.inspect("box", "{{.State.Pid}}");
    let own = barge.run(["unshare", "readlink", "/proc/self/ns/user"]).ok().text();
    let other = barge.run(["unshare", "readlink", &format!("/proc/{pid}/ns/user")]).ok().text();
    assert_eq!(own, other);
}

#[test]
fn unshare_says_what_it_cannot() {
    let barge = Barge::new();
    barge
        .run(["unshare", "--rootless-netns", "true"])
        .fails(125)
        .error_has("no network namespace that all containers without root share");
    if is_root() {
        barge.run(["unshare", "true"]).fails(125).error("please use unshare with rootless");
    } else {
        barge.run(["unshare", "nosuch"]).fails(127).error_has("cannot run `nosuch`");
        barge.run(["unshare", "/etc"]).fails(126).error_has("cannot run `/etc`");
    }
}
