//! What can be said of a mount besides where it is: whose it is, where changes go, whom it comes from.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};

use super::support::{Barge, Need, is_root, needs};

#[test]
fn a_container_gets_what_another_has() {
    let barge = Barge::with_busybox();
    fs::create_dir(barge.path("dir")).unwrap();
    let bind = format!("{}:/bind:ro", barge.path_text("dir"));
    let line = ["create", "--name=a", "--network=none", "-v", "data:/data", "-v", "/anon", "-v"];
    barge.run(line.iter().chain(&[&*bind, "--tmpfs=/tmp", "busybox", "touch", "/anon/x"])).ok();
    barge.run(["start", "-a", "a"]).ok();
    let script = "ls /anon; touch /data/y; touch /bind/z 2>/dev/null || echo ro; grep -c ' /tmp ' /proc/mounts";
    barge.shell(&["--volumes-from", "a"], script).exits(1).stdout("x\nro\n0\n");
    let script = "touch /data/z 2>/dev/null || echo ro; ls /data";
    barge.shell(&["--volumes-from=a:ro"], script).ok().stdout("ro\ny\n");
    // What is its own wins.
    let flags = ["--volumes-from=a:ro", "--tmpfs=/data"];
    barge.shell(&flags, "touch /data/z && ls /data").ok().stdout("z\n");
    for wrong in ["nosuch", "a:rx"] {
        barge.shell(&["--volumes-from", wrong], "true").fails(125);
    }
    // It stays as long as somebody has it.
    let line = ["create", "--name=b", "--network=none", "--volumes-from=a", "busybox"];
    barge.run(line.iter().chain(&["ls", "/anon"])).ok();
    barge.run(["rm", "-v", "a"]).ok();
    barge.run(["start", "-a", "b"]).ok().stdout("x\n");
    barge.run(["rm", "-v", "b"]).ok();
    assert_eq!(barge.run(["volume", "ls", "-q"]).ok().lines(), ["data"]);
}

#[test]
fn files_are_given_to_the_user() {
    let barge = Barge::with_busybox();
    fs::create_dir_all(barge.path("dir/below")).unwrap();
    fs::create_dir(barge.path("outside")).unwrap();
    let (file, outside) = (barge.path("dir/below/file"), barge.path("outside"));
    fs::write(&file, "").unwrap();
    symlink(&outside, barge.path("dir/link")).unwrap();
    let before = fs::metadata(&outside).unwrap().uid();
    let bind = format!("{}:/d:U", barge.path_text("dir"));
    let script = "stat -c %u:%g /d /d/below/file && touch /d/new /v/new /t/new";
    let flags = ["--user=app", "-v", &bind, "-v", "data:/v:U"];
    let flags = flags.iter().chain(&["--mount", "type=tmpfs,dst=/t,tmpfs-mode=700,chown"]);
    let flags: Vec<&str> = flags.copied().collect();
    barge.shell(&flags, script).ok().stdout("1000:1000\n1000:1000\n");
    let owner = fs::metadata(&file).unwrap().uid();
    if is_root() {
        assert_eq!(owner, 1000);
        let flags = ["--uidmap=0:300000:2000", "--user=5", "-v", &bind];
        barge.shell(&flags, "stat -c %u /d/below/file").ok().stdout("5\n");
        assert_eq!(fs::metadata(&file).unwrap().uid(), 300_005);
        barge.shell(&["-v", "/etc:/d:U"], "true").fails(125).error_has("this machine needs it");
        assert_eq!(fs::metadata("/etc").unwrap().uid(), 0);
        // Nor by another name; what is there belongs to root already.
        let link = barge.path_text("machine");
        symlink("/boot", &link).unwrap();
        for name in [link.as_str(), "/tmp/../boot"] {
            let bind = format!("{name}:/d:U");
            barge.shell(&["-v", &bind], "true").fails(125).error_has("this machine needs it");
        }
    } else {
        assert_ne!(owner, before);
    }
    // A link leads nowhere.
    assert_eq!(fs::metadata(&outside).unwrap().uid(), before);
}

#[test]
fn changes_go_elsewhere() {
    let barge = Barge::with_busybox();
    fs::create_dir(barge.path("dir")).unwrap();
    fs::write(barge.path("dir/file"), "below\n").unwrap();
    let bind = format!("{}:/d:O", barge.path_text("dir"));
    let script = "cat /d/file; echo above > /d/file; touch /d/new; cat /d/file";
    let line = ["create", "--name=c", "--network=none", "-v", &bind, "busybox", "sh", "-c", script];
    barge.run(line).ok();
    for _ in 0..2 {
        barge.run(["start", "-a", "c"]).ok().stdout("below\nabove\n");
    }
    barge.run(["rm", "c"]).ok();
    assert_eq!(fs::read_to_string(barge.path("dir/file")).unwrap(), "below\n");
    assert!(!barge.path("dir/new").exists());
    barge.shell(&["-v", "data:/d"], "echo of the volume > /d/f").ok();
    barge.shell(&["-v", "data:/d:O"], "rm /d/f && ls /d").ok().stdout("");
    barge.shell(&["-v", "data:/d"], "cat /d/f").ok().stdout("of the volume\n");
    for name in ["up", "work"] {
        fs::create_dir(barge.path(name)).unwrap();
    }
    let (up, work) = (barge.path_text("up"), barge.path_text("work"));
    let kept = format!("{bind},upperdir={up},workdir={work}");
    barge.shell(&["-v", &kept], "touch /d/kept").ok();
    assert!(barge.path("up/kept").exists());
    assert!(!barge.path("dir/kept").exists());
    barge.shell(&["-v", &kept], "ls /d").ok().stdout("file\nkept\n");
    let half = format!("{bind},upperdir={up}");
    barge.shell(&["-v", &half], "true").fails(125).error_has("both upperdir and workdir");
    let mount = "type=volume,src=data,dst=/d,subpath=x,U";
    barge.shell(&["--mount", mount], "true").fails(125).error_has("subpath");
}

#[test]
fn owners_are_shown_as_users_stand_for_them() {
    let barge = Barge::with_busybox();
    fs::create_dir(barge.path("dir")).unwrap();
    let bind = format!("{}:/d:idmap", barge.path_text("dir"));
    if !is_root() {
        barge.shell(&["-v", &bind], "true").fails(125).error_has("idmap");
        return;
    }
    let flags = ["--uidmap=0:300000:2000", "-v", &bind];
    barge.shell(&flags, "stat -c %u:%g /d && touch /d/x").ok().stdout("0:0\n");
    assert_eq!(fs::metadata(barge.path("dir/x")).unwrap().uid(), 0);
    // Without users of its own there is nothing to map.
    barge.shell(&["-v", &bind], "stat -c %u /d").ok().stdout("0\n");
}

#[test]
fn terminals_can_be_elsewhere() {
    if !needs(&[Need::Root]) {
        return;
    }
    let barge = Barge::with_busybox();
    let script = "grep ' /p ' /proc/mounts | cut -d' ' -f3; stat -c %a /p/ptmx";
    barge.shell(&["--mount", "type=devpts,dst=/p,max=3"], script).ok().stdout("devpts\n666\n");
    barge.shell(&["--mount", "type=ramfs,dst=/p"], "touch /p/x && ls /p").ok().stdout("x\n");
}

#[test]
fn what_was_asked_for_can_be_asked_for_again() {
    let barge = Barge::with_busybox();
    fs::create_dir(barge.path("d")).unwrap();
    let dir = barge.path_text("d");
    for options in ["ro", "rw,rslave", "rw,noexec,U", "rw,O", "rw,O,upperdir=/u,workdir=/w"] {
        let volume = format!("{dir}:/x:{options}");
        barge.run(["create", "--name=c", "-v", &volume, "busybox", "true"]).ok();
        assert_eq!(barge.inspect("c", "{{index .HostConfig.Binds 0}}"), volume);
        assert_eq!(barge.inspect("c", "{{range .Mounts}}{{.Type}}-{{.Name}}-{{end}}"), "bind--");
        barge.run(["rm", "c"]).ok();
    }
    barge.run(["create", "--name=c", "-v", "v:/x:nocopy", "busybox", "true"]).ok();
    assert_eq!(barge.inspect("c", "{{index .HostConfig.Binds 0}}"), "v:/x:rw,nocopy");
    // One thing is not said twice, and what contradicts itself is not guessed.
    for flags in [
        ["-v", "v:/x:ro,rw"],
        ["-v", "v:/x:z,Z"],
        ["-v", "v:/x:exec,noexec"],
        ["--mount", "src=v,dst=/x,ro,rw"],
        ["--mount", "src=v,dst=/x,relabel=shared,relabel=private"],
        ["--tmpfs", "/x:ro,rw"],
        ["--volumes-from", "c:ro,rw"],
    ] {
        let output = barge.run(["create"].iter().chain(&flags).chain(&["busybox", "true"]));
        output.fails(125).error_has(if flags[1].contains("ro,rw") { "rw" } else { "mount option" });
    }
    // Docker's words for what is in memory.
    let flag = "--tmpfs=/x:defaults,strictatime,nodiratime,size=1m";
    let script = "grep ' /x ' /proc/mounts | cut -d' ' -f4";
    let seen = barge.shell(&[flag], script).ok().text();
    assert!(seen.contains("nodiratime") && !seen.contains("relatime"), "{seen}");
}

#[test]
fn owners_and_names_are_given_in_several_ways() {
    let barge = Barge::with_busybox();
    for (line, owner) in [
        (&["--uid=5", "--gid=6", "v"][..], "5:6"),
        (&["-o", "uid=7", "-o", "gid=8", "v"], "7:8"),
        (&["-o", "o=uid=9,noquota", "--name=v"], "9:0"),
    ] {
        barge.run(["volume", "create"].iter().chain(line)).ok().stdout("v\n");
        barge.shell(&["-v", "v:/x"], "stat -c %u:%g /x").ok().stdout(&format!("{owner}\n"));
        barge.run(["volume", "rm", "v"]).ok();
    }
    for line in [&["--name=a", "b"][..], &["-o", "uid=x"], &["-o", "nocopy=1"], &["--uid=-1"]] {
        assert_ne!(barge.run(["volume", "create"].iter().chain(line)).status, 0, "{line:?}");
    }
    barge.run(["volume", "ls", "-q"]).ok().stdout("");
}
