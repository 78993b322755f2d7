//! `cp`: what goes where, and as what; in containers that run and that do not.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use rustix::process::Signal;

use super::support::layout::{Packing, Tar, pack};
use super::support::{Barge, Need, is_root, needs, tool, wait_until};

/// One container that runs, called `up`, and one that never did, called `new`: each with the volume
/// /vol and the bind /bind, and /work to work in.
fn both() -> Barge {
    let barge = Barge::with_busybox();
    for name in ["up", "new"] {
        fs::create_dir(barge.path(&format!("bind-{name}"))).unwrap();
        let bind = format!("{}:/bind", barge.path_text(&format!("bind-{name}")));
        let volume = format!("vol-{name}:/vol");
        let work = format!("work-{name}:/work");
        let line = ["--name", name, "-v", &volume, "-v", &bind, "-v", &work];
        let line = line.iter().chain(&["-w", "/work", "busybox"]);
        if name == "up" {
            barge.start(line.chain(&["sleep", "1000"]));
        } else {
            let line = ["create", "--network=none"].iter().chain(line);
            barge.run(line.chain(&["sh", "-c", "sleep 1000"])).ok();
        }
    }
    barge
}

/// What is in a container, seen from inside it: paths below /work, /vol and /bind, with contents.
fn seen(barge: &Barge, name: &str) -> String {
    if name == "new" && barge.status("new") != "running" {
        barge.run(["start", name]).ok();
    }
    let script = "cd /; find work vol bind | sort | while read f; do [ -d $f ] && echo $f/ || echo $f $(cat $f); done";
    let seen = barge.run(["exec", name, "sh", "-c", script]).ok().text();
    if name == "new" {
        barge.run(["stop", "-t", "0", name]).ok();
    }
    seen
}

#[test]
fn files_and_directories_go_where_docker_puts_them() {
    let barge = both();
    fs::create_dir_all(barge.path("t/dir/below")).unwrap();
    fs::create_dir_all(barge.path("t/out/there")).unwrap();
    fs::write(barge.path("t/file"), "file").unwrap();
    fs::write(barge.path("t/dir/below/deep"), "deep").unwrap();
    for name in ["up", "new"] {
        let to = |path: &str| format!("{name}:{path}");
        let copy = |from: &str, target: &str| barge.run(["cp", from, target]);
        copy("file", &to("/work")).ok().stdout("").stderr("");
        copy("file", &to("/work/")).ok();
        copy("file", &to("renamed")).ok();
        copy("dir", &to("/vol/new")).ok();
        copy("dir", &to("/vol")).ok();
        copy("dir/", &to("/bind")).ok();
        copy("dir/.", &to("/bind/content")).ok();
        copy("./dir/.", &to("/bind/content/")).ok();
        for (from, target, error) in [
            ("file", "/nope/", "\"/nope/\" could not be found on container"),
            ("file", "/nope/x", "\"/nope/x\" could not be found on container"),
            ("file", "/vol/nope/", "\"/vol/nope/\" could not be found on container"),
            ("file", "/work/file/", "could not be found on container"),
            ("nothing", "/", "\"nothing\" could not be found on the host"),
            ("file/", "/", "\"file/\" could not be found on the host"),
        ] {
            copy(from, &to(target)).fails(125).error_has(error);
        }
        copy("dir", &to("/work/file"))
            .fails(125)
            .error("destination must be a directory when copying a directory");
        // The other way.
        let got = |path: &str| fs::read_to_string(barge.path(path)).unwrap();
        let out = |path: &str| format!("out/{name}{path}");
        copy(&to("/work/file"), &out("")).ok().stdout("").stderr("");
        assert_eq!(got(&format!("t/out/{name}")), "file");
        copy(&to("/vol/new"), &out("-dir")).ok();
        assert_eq!(got(&format!("t/out/{name}-dir/below/deep")), "deep");
        copy(&to("/vol/new"), &out("-dir")).ok();
        assert_eq!(got(&format!("t/out/{name}-dir/new/below/deep")), "deep");
        copy(&to("/vol/new/."), "out/there").ok();
        assert_eq!(got("t/out/there/below/deep"), "deep");
        fs::remove_dir_all(barge.path("t/out/there/below")).unwrap();
        copy(&to("renamed"), "out/there").ok();
        assert_eq!(got("t/out/there/renamed"), "file");
        copy(&to("/none"), ".").fails(125).error(&format!(
            "\"/none\" could not be found on container {name}: no such file or directory"
        ));
        copy(&to("/work/file"), "nope/x")
            .fails(125)
            .error_has("\"nope/x\" could not be found on the host");
        copy(&to("/work"), "file")
            .fails(125)
            .error("destination must be a directory when copying a directory");
        assert_eq!(
            seen(&barge, name),
            "bind/\nbind/content/\nbind/content/below/\nbind/content/below/deep deep\nbind/dir/\nbind/dir/below/\nbind/dir/below/deep deep\nvol/\nvol/dir/\nvol/dir/below/\nvol/dir/below/deep deep\nvol/new/\nvol/new/below/\nvol/new/below/deep deep\nwork/\nwork/file file\nwork/renamed file",
            "{name}"
        );
    }
    // What is in it, once it has run and ended, is there still.
    barge.run(["cp", "new:/vol/dir/below/deep", "out/again"]).ok();
    barge.run(["cp", "a", "b"]).fails(125).error_has("must be in a container");
    barge.run(["cp", "nosuch:/a", "b"]).fails(125).error_has("no container with name or ID");
    barge.run(["cp", "up:", "b"]).exits(125);
}

#[test]
fn copies_are_like_the_originals() {
    let barge = both();
    let dir = barge.path("t/dir");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("a"), "a").unwrap();
    fs::hard_link(dir.join("a"), dir.join("b")).unwrap();
    symlink("/nowhere", dir.join("link")).unwrap();
    tool("mkfifo", [dir.join("fifo")]);
    let sparse = fs::File::create(dir.join("sparse")).unwrap();
    sparse.set_len(64 << 20).unwrap();
    drop(sparse);
    fs::write(dir.join("setuid"), "").unwrap();
    fs::set_permissions(dir.join("setuid"), fs::Permissions::from_mode(0o6755)).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o1751)).unwrap();
    tool("touch", ["-d".as_ref(), "2001-02-03 04:05:06.789".as_ref(), dir.join("a").as_os_str()]);
    tool(
        "setfattr",
        ["-n".as_ref(), "user.x".as_ref(), "-v".as_ref(), "y".as_ref(), dir.join("b").as_os_str()],
    );
    for name in ["up", "new"] {
        barge.run(["cp", "dir", &format!("{name}:/vol/d")]).ok().stderr("");
        let back = format!("back-{name}");
        barge.run(["cp", &format!("{name}:/vol/d"), &back]).ok().stderr("");
        let back = barge.path("t").join(back);
        let about = |name: &str| fs::symlink_metadata(back.join(name)).unwrap();
        assert_eq!(about("").mode() & 0o7777, 0o1751);
        assert_eq!(about("a").ino(), about("b").ino());
        assert_eq!((about("a").mtime(), about("a").mtime_nsec()), {
            let old = fs::metadata(dir.join("a")).unwrap();
            (old.mtime(), old.mtime_nsec())
        });
        assert_eq!(fs::read_link(back.join("link")).unwrap(), Path::new("/nowhere"));
        assert!(about("fifo").file_type().is_fifo());
        assert_eq!(about("sparse").len(), 64 << 20);
        assert!(about("sparse").blocks() < 100, "{}", about("sparse").blocks());
        assert_eq!(about("setuid").mode() & 0o7777, 0o6755);
        let value = tool(
            "getfattr",
            [
                "--only-values".as_ref(),
                "-n".as_ref(),
                "user.x".as_ref(),
                back.join("a").as_os_str(),
            ],
        );
        assert_eq!(value, "y");
        let own = fs::metadata(barge.path("t")).unwrap();
        assert_eq!((about("a").uid(), about("a").gid()), (own.uid(), own.gid()));
    }
}

#[test]
fn copies_belong_to_the_container_s_user() {
    let barge = Barge::with_busybox();
    let tar = Tar::new().owned_by(3, 4).file("packed", 0o644, "x").bytes();
    fs::write(barge.path("t/mine"), "x").unwrap();
    fs::create_dir(barge.path("t/dir")).unwrap();
    for (name, user) in [("root", "0"), ("other", "7:8")] {
        barge.start(["--name", name, "--user", user, "--tmpfs=/m", "busybox", "sleep", "1000"]);
        let copy = |flags: &[&str], from: &str, to: &str| {
            let line = ["cp"].iter().chain(flags);
            barge
                .command(line.chain(&[from, &format!("{name}:{to}")]))
                .input(tar.clone())
                .run()
                .ok();
        };
        copy(&[], "mine", "/m/mine");
        copy(&["-a"], "dir", "/m/dir");
        copy(&["-a=true"], "-", "/m/dir");
        copy(&["-a=false"], "-", "/m");
        copy(&["--archive=false"], "mine", "/m/same");
        let script = "cd /m; stat -c '%n %u:%g' mine dir dir/packed packed same";
        let id = if name == "root" { "0:0" } else { "7:8" };
        let want = format!("mine {id}\ndir {id}\ndir/packed {id}\npacked 3:4\nsame 0:0\n");
        barge.run(["exec", name, "sh", "-c", script]).ok().stdout(&want);
    }
    // Who leaves has no power over who it comes to.
    let script =
        "cd /m; cp mine tool; chown 5:6 tool; chmod 6755 tool; cp mine ours; chmod 4755 ours";
    barge.run(["exec", "root", "sh", "-c", script]).ok();
    barge.run(["cp", "root:/m/.", "out"]).ok();
    let mode = |name: &str| fs::metadata(barge.path("t/out").join(name)).unwrap().mode() & 0o7777;
    assert_eq!((mode("tool"), mode("ours")), (0o755, 0o4755));
    if is_root() {
        barge.run(["cp", "-a=false", "root:/m/tool", "kept"]).ok();
        let kept = fs::metadata(barge.path("t/kept")).unwrap();
        assert_eq!((kept.uid(), kept.gid(), kept.mode() & 0o7777), (5, 6, 0o6755));
    }
}

#[test]
fn users_of_their_own_have_their_own_owners() {
    let barge = Barge::with_busybox();
    let flags = match is_root() {
        true => ["--uidmap=0:300000:65536", "--gidmap=0:300000:65536"],
        false => ["--uidmap=0:1:1000", "--gidmap=0:1:1000"],
    };
    let line = ["--name", "up", "-v", "vol:/vol", "busybox", "sleep", "1000"];
    barge.start(flags.iter().chain(&line));
    let line = ["--network=none", "--name", "new", "-v", "vol2:/vol", "busybox"];
    let line = ["create"].iter().chain(&flags).chain(&line);
    barge.run(line.chain(&["stat", "-c", "%n %u:%g", "/f", "/vol/f", "/vol/same"])).ok();
    fs::write(barge.path("t/f"), "x").unwrap();
    for name in ["up", "new"] {
        for to in ["/", "/vol"] {
            barge.run(["cp", "f", &format!("{name}:{to}")]).ok().stderr("");
        }
        let same = Tar::new().owned_by(3, 4).file("same", 0o644, "x").bytes();
        let line = ["cp", "-a=false", "-", &format!("{name}:/vol")];
        barge.command(line).input(same).run().ok();
        let tar = barge.run(["cp", &format!("{name}:/vol"), "-"]).ok().stdout;
        let file = barge.file("t/listed.tar", tar);
        let listed = tool("tar", ["-tvf", &file]);
        assert!(listed.contains("3/4"), "{listed}");
        barge.run(["cp", &format!("{name}:/vol/f"), "back"]).ok();
        let own = fs::metadata(barge.path("t/f")).unwrap().uid();
        assert_eq!(fs::metadata(barge.path("t/back")).unwrap().uid(), own);
    }
    let want = "/f 0:0\n/vol/f 0:0\n/vol/same 3:4\n";
    barge
        .run(["exec", "up", "stat", "-c", "%n %u:%g", "/f", "/vol/f", "/vol/same"])
        .ok()
        .stdout(want);
    barge.run(["start", "-a", "new"]).ok().stdout(want);
}

#[test]
fn archives_pass_through() {
    let barge = both();
    let tar = Tar::new()
        .directory("d/", 0o750)
        .file("d/f", 0o640, "text\n")
        .hardlink("d/g", "d/f")
        .symlink("d/l", "f")
        .file("d/.wh.x", 0o644, "no mark\n")
        .bytes();
    for name in ["up", "new"] {
        for (packing, to) in [(Packing::Plain, "/vol"), (Packing::Gzip, "/bind")] {
            let to = format!("{name}:{to}");
            barge
                .command(["cp", "-", &to])
                .input(pack(&tar, packing))
                .run()
                .ok()
                .stdout("")
                .stderr("");
            let back = barge.run(["cp", &format!("{to}/d"), "-"]).ok().stdout;
            let file = barge.file("t/back.tar", back);
            let listed = tool("tar", ["-tvf", &file]);
            let columns = |line: &str| -> String {
                let words: Vec<&str> = line.split_whitespace().collect();
                format!("{} {}", words[0], words[5..].join(" "))
            };
            let listed: Vec<String> = listed.lines().map(columns).collect();
            assert_eq!(
                listed,
                [
                    "drwxr-x--- d/",
                    "-rw-r--r-- d/.wh.x",
                    "-rw-r----- d/f",
                    "hrw-r----- d/g link to d/f",
                    "lrwxrwxrwx d/l -> f"
                ]
            );
            let back = barge.run(["cp", &format!("{to}/d/."), "-"]).ok().stdout;
            let file = barge.file("t/back.tar", back);
            assert!(tool("tar", ["-tf", &file]).starts_with("./\n./.wh.x\n./f\n"));
            let back = barge.run(["cp", &format!("{to}/d/f"), "-"]).ok().stdout;
            let file = barge.file("t/back.tar", back);
            assert_eq!(tool("tar", ["-xOf", &file, "f"]), "text");
        }
        let into = |to: &str, data: &[u8]| {
            barge.command(["cp", "-", &format!("{name}:{to}")]).input(data).run()
        };
        into("/vol", b"this is no archive, however long it may be")
            .fails(125)
            .error_has("source must be a (compressed) tar archive when copying from stdin");
        into("/vol/d/f", &tar)
            .fails(125)
            .error_has("destination must be a directory when copying from stdin");
        into("/vol/none", &tar).fails(125).error_has("could not be found on container");
    }
    let whole = barge.run(["cp", "up:/", "-"]).ok().stdout;
    let file = barge.file("t/whole.tar", whole);
    let listed = tool("tar", ["-tf", &file]);
    assert!(listed.contains("\n./vol/d/f\n") && listed.contains("\n./proc/\n"), "{listed}");
    assert!(!listed.contains("proc/self"), "{listed}");
}

#[test]
fn links_are_copied_or_followed_as_asked() {
    let barge = both();
    fs::create_dir(barge.path("t/dir")).unwrap();
    fs::write(barge.path("t/dir/file"), "x").unwrap();
    symlink("dir/file", barge.path("t/to-file")).unwrap();
    symlink("dir", barge.path("t/to-dir")).unwrap();
    symlink("new", barge.path("t/dangling")).unwrap();
    let script = "cd /vol; mkdir d; ln -s /vol/d absolute; ln -s d/later later; ln -s /etc etc";
    barge.run(["exec", "up", "sh", "-c", script]).ok();
    let copy = |flags: &[&str], from: &str, to: &str| {
        barge.run(["cp"].iter().chain(flags).chain(&[from, to])).ok();
    };
    copy(&[], "to-file", "up:/bind/link");
    copy(&["-L"], "to-file", "up:/bind/followed");
    copy(&[], "to-dir", "up:/bind/dirlink");
    copy(&[], "to-dir/", "up:/bind/directory");
    copy(&["--follow-link"], "to-dir", "up:/bind");
    let bind = |name: &str| barge.path("bind-up").join(name);
    assert_eq!(fs::read_link(bind("link")).unwrap(), Path::new("dir/file"));
    assert_eq!(fs::read_to_string(bind("followed")).unwrap(), "x");
    assert_eq!(fs::read_link(bind("dirlink")).unwrap(), Path::new("dir"));
    assert_eq!(fs::read_to_string(bind("directory/file")).unwrap(), "x");
    assert_eq!(fs::read_to_string(bind("to-dir/file")).unwrap(), "x");
    // The target's links are followed, also to what is not there yet.
    copy(&[], "dir/file", "up:/vol/absolute");
    copy(&[], "dir/file", "up:/vol/later");
    copy(&[], "dir/file", "up:/vol/etc/copied");
    copy(&[], "up:/vol/d/file", "dangling");
    barge
        .run(["exec", "up", "cat", "/vol/d/file", "/vol/d/later", "/etc/copied"])
        .ok()
        .stdout("xxx");
    assert_eq!(fs::read_to_string(barge.path("t/new")).unwrap(), "x");
    copy(&["-L"], "up:/vol/later", "later");
    assert_eq!(fs::read_to_string(barge.path("t/later")).unwrap(), "x");
}

#[test]
fn one_thing_replaces_another_if_asked() {
    let barge = both();
    for (path, text) in [("one/x", "file"), ("two/x/below", "deep"), ("three/x", "newer")] {
        fs::create_dir_all(barge.path("t").join(path).parent().unwrap()).unwrap();
        fs::write(barge.path("t").join(path), text).unwrap();
    }
    for name in ["up", "new"] {
        let copy = |flags: &[&str], from: &str| {
            let to = format!("{name}:/vol");
            barge.run(["cp"].iter().chain(flags).chain(&[from, &to]))
        };
        copy(&[], "one/.").ok();
        copy(&[], "three/.").ok();
        copy(&[], "two/.").fails(125).error_has("error creating \"x\": not a directory");
        copy(&["--overwrite"], "two/.").ok();
        copy(&[], "one/.").fails(125).error_has("error creating \"x\": file exists");
        copy(&["--overwrite"], "one/.").ok();
        assert_eq!(barge.run(["cp", &format!("{name}:/vol/x"), "got"]).ok().status, 0);
        assert_eq!(fs::read_to_string(barge.path("t/got")).unwrap(), "file");
    }
    let tar = Tar::new().file("x/y", 0o644, "").bytes();
    barge.command(["cp", "-", "up:/vol"]).input(tar.clone()).run().fails(125);
    barge.command(["cp", "--overwrite", "-", "up:/vol"]).input(tar).run().fails(125);
    let tar = Tar::new().directory("x/", 0o755).file("x/y", 0o644, "").bytes();
    barge
        .command(["cp", "-", "up:/vol"])
        .input(tar.clone())
        .run()
        .fails(125)
        .error_has("error creating");
    barge.command(["cp", "--overwrite", "-", "up:/vol"]).input(tar).run().ok();
    // A file that is mounted is written to; another mount's directory is never removed.
    fs::write(barge.path("t/hosts"), "mine\n").unwrap();
    barge.run(["cp", "hosts", "up:/etc/hosts"]).ok();
    barge.run(["exec", "up", "cat", "/etc/hosts"]).ok().stdout("mine\n");
    fs::create_dir(barge.path("t/top")).unwrap();
    fs::write(barge.path("t/top/vol"), "").unwrap();
    barge.run(["cp", "--overwrite", "top/.", "up:/"]).fails(125).error_has("busy");
    barge.run(["exec", "up", "ls", "/vol/x"]).ok().stdout("y\n");
    // Nothing is written to devices by mistake.
    barge.run(["cp", "up:/etc/hosts", "/dev/null"]).fails(125).error_has("device");
    assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
}

#[test]
fn containers_copy_among_themselves() {
    let barge = both();
    barge.run(["exec", "up", "sh", "-c", "mkdir /d; echo x > /d/f; chown 5:6 /d/f"]).ok();
    barge.run(["cp", "up:/d", "new:/vol"]).ok();
    barge.run(["cp", "-a=false", "up:/d", "new:/same"]).ok();
    barge.run(["cp", "new:/vol/d", "up:/back"]).ok();
    barge.run(["cp", "up:/d/f", "up:/d/g"]).ok();
    barge.run(["cp", "new:/same/.", "new:/vol/again"]).ok();
    barge.run(["exec", "up", "cat", "/back/f", "/d/g"]).ok().stdout("x\nx\n");
    barge.run(["cp", "up:/d", "up:/d/e"]).fails(125).error_has("into itself");
    barge.run(["cp", "up:/", "up:/d"]).fails(125).error_has("into itself");
    barge.run(["start", "new"]).ok();
    let line = ["exec", "new", "stat", "-c", "%n %u:%g", "/vol/d/f", "/same/f", "/vol/again/f"];
    barge.run(line).ok().stdout("/vol/d/f 0:0\n/same/f 5:6\n/vol/again/f 0:0\n");
    barge.run(["rm", "-f", "-t", "0", "up", "new"]).ok();
    barge.run(["volume", "rm", "vol-up", "vol-new", "work-up", "work-new"]).ok();
    barge.leaves_nothing();
}

#[test]
fn what_is_read_only_stays_as_it_is() {
    let barge = Barge::with_busybox();
    fs::write(barge.path("t/f"), "x").unwrap();
    let flags = ["--read-only", "-v", "v:/v", "-v", "v:/ro:ro", "busybox"];
    barge.start(["--name", "up"].iter().chain(&flags).chain(&["sleep", "1000"]));
    let line = ["create", "--network=none", "--name", "new"].iter().chain(&flags);
    barge.run(line.chain(&["true"])).ok();
    for name in ["up", "new"] {
        barge.run(["cp", "f", &format!("{name}:/v/{name}")]).ok();
        for to in ["/f", "/ro/f"] {
            barge
                .run(["cp", "f", &format!("{name}:{to}")])
                .fails(125)
                .error_has("read-only file system");
        }
        barge.run(["cp", &format!("{name}:/ro/{name}"), "out"]).ok();
    }
    barge.run(["exec", "up", "ls", "/ro"]).ok().stdout("new\nup\n");
}

#[test]
fn a_full_disk_is_told_and_leaves_no_part() {
    let barge = Barge::with_busybox();
    barge.start(["--name=c", "--tmpfs=/m:size=1m", "busybox", "sleep", "1000"]);
    fs::write(barge.path("t/small"), "small").unwrap();
    fs::write(barge.path("t/large"), vec![1; 5 << 20]).unwrap();
    barge.run(["cp", "small", "c:/m/file"]).ok();
    for to in ["c:/m/file", "c:/m/new"] {
        barge.run(["cp", "large", to]).fails(125).error_has("no space left on device");
    }
    barge.run(["exec", "c", "sh", "-c", "ls -A /m; cat /m/file"]).ok().stdout("file\nsmall");
}

#[test]
fn devices_stay_where_they_are() {
    if !needs(&[Need::Root]) {
        return;
    }
    let barge = Barge::with_busybox();
    fs::create_dir(barge.path("t/dir")).unwrap();
    tool("mknod", [&barge.path_text("t/dir/zero"), "c", "1", "5"]);
    barge.start(["--name=c", "busybox", "sleep", "1000"]);
    barge.run(["cp", "dir", "c:/d"]).ok().stderr("");
    barge
        .run(["exec", "c", "stat", "-c", "%F %t %T", "/d/zero"])
        .ok()
        .stdout("character special file 1 5\n");
    barge.run(["cp", "c:/d", "out"]).exits(0).stderr_has("device `d/zero` was left out");
    assert!(!barge.path("t/out/zero").exists());
    barge.run(["cp", "-a=false", "c:/d", "out2"]).ok();
    assert!(fs::metadata(barge.path("t/out2/zero")).unwrap().file_type().is_char_device());
}

/// CVE-2018-15664 and CVE-2019-14271: a container that turns directories into links as they are used.
#[test]
fn links_lead_nowhere_else_however_fast_they_change() {
    let barge = Barge::with_busybox();
    let outside = barge.path("outside");
    fs::create_dir_all(outside.join("d")).unwrap();
    fs::write(outside.join("d/secret"), "secret").unwrap();
    fs::create_dir_all(barge.path("t/in/d")).unwrap();
    fs::write(barge.path("t/in/d/new"), "new").unwrap();
    // Renamed onto each other, so that there is always one of the two.
    let script = format!(
        "mkdir -p /x/d; echo own > /x/d/secret; ln -s {0} /link; ln -s ../../../../..{0} /other; echo ready; while :; do mv -T /x /y; mv -T /link /x; mv -T /x /link; mv -T /other /x; mv -T /x /other; mv -T /y /x; done",
        outside.display()
    );
    barge.start(["--name=c", "busybox", "sh", "-c", &script]);
    barge.await_log("c", "ready");
    let tar = Tar::new().directory("d/", 0o755).file("d/packed", 0o644, "new").bytes();
    for round in 0..60 {
        // Some find nothing, some find what is the container's own.
        let out = format!("out-{round}");
        drop(barge.run(["cp", "c:/x", &out]));
        drop(barge.run(["cp", "-L", "c:/x/d/secret", &format!("{out}.file")]));
        drop(barge.run(["cp", "in/.", "c:/x"]));
        drop(barge.run(["cp", "in/d/new", "c:/x/d/file"]));
        drop(barge.command(["cp", "-", "c:/x"]).input(tar.clone()).run());
        if fs::read_link(barge.path("t").join(&out)).is_ok() {
            // The link itself was copied; where it leads on this machine is another matter.
            fs::remove_file(barge.path("t").join(&out)).unwrap();
        }
        for path in [out.clone() + "/d/secret", out + ".file"] {
            if let Ok(text) = fs::read_to_string(barge.path("t").join(&path)) {
                assert_eq!(text, "own\n", "{path}");
            }
        }
    }
    let all = tool("find", [outside.as_os_str()]);
    assert_eq!(all.lines().count(), 3, "{all}");
    assert_eq!(fs::read_to_string(outside.join("d/secret")).unwrap(), "secret");
}

#[test]
fn nobody_waits_for_who_writes_an_archive() {
    let barge = both();
    barge.run(["create", "--name=slow", "--network=none", "busybox", "ls", "/home/late"]).ok();
    let mut copy = barge.command(["cp", "-", "slow:/home"]).open_input().spawn();
    let tar = Tar::new().file("late", 0o644, "late\n").bytes();
    copy.send(&tar[..512]);
    let kept = || {
        let drafts = fs::read_dir(barge.root().join("tmp")).unwrap();
        drafts.flatten().any(|draft| draft.path().join("archive").exists())
    };
    wait_until("it waits for the rest", kept);
    barge.run(["start", "-a", "slow"]).exits(1);
    copy.send(&tar[512..]);
    copy.close_input();
    copy.wait().ok();
    barge.run(["start", "-a", "slow"]).ok().stdout("/home/late\n");
    barge.run(["cp", "slow:/home/late", "-"]).ok().stdout_has("late");
    let events = ["events", "--stream=false", "--filter=container=slow", "--format={{.Status}}"];
    let events = barge.run(events).ok().lines();
    let copies: Vec<_> =
        events.iter().filter(|it| it.contains("-to-dir") || it.contains("archive")).collect();
    assert_eq!(copies, ["extract-to-dir", "archive-path"], "{events:?}");
}

#[test]
fn nobody_waits_for_who_reads_an_archive() {
    let barge = both();
    // More than a pipe holds.
    fs::write(barge.path("t/large"), "x".repeat(1 << 20)).unwrap();
    let line = ["create", "--name=slow", "--network=none", "-v=vol-slow:/not/there", "busybox"];
    barge.run([&line[..], &["sh", "-c", "echo new > /home/large; ls /not"]].concat()).ok();
    barge.run(["cp", "large", "slow:/home"]).ok();
    let is_read = || {
        let drafts = fs::read_dir(barge.root().join("tmp")).unwrap();
        drafts.flatten().any(|draft| draft.path().join("upper").exists())
    };
    for script in ["start", "rm"] {
        let copy = barge.command(["cp", "slow:/home/large", "-"]).spawn();
        wait_until("it is read", is_read);
        match script {
            "start" => drop(barge.run(["start", "-a", "slow"]).ok().stdout("there\n")),
            _ => drop(barge.run(["rm", "slow"]).ok()),
        }
        let copy = copy.wait();
        if script == "start" {
            // As it was, or as it became while it was read.
            assert!(copy.status == 0 && copy.stdout.len() > 1 << 20, "{}", copy.story());
            barge.run(["cp", "slow:/home/large", "got"]).ok();
            assert_eq!(fs::read_to_string(barge.path("t/got")).unwrap(), "new\n");
            barge.run(["cp", "large", "slow:/home"]).ok();
        } else {
            copy.exits(125).stderr_has("was removed meanwhile");
        }
    }
    assert!(!is_read());
}

#[test]
fn nobody_starts_what_is_copied_to() {
    let barge = both();
    fs::write(barge.path("t/f"), "x").unwrap();
    let tar = Tar::new().file("slow", 0o644, "there\n").bytes();
    let mut copying = barge.command(["cp", "-", "new:/"]).open_input().spawn();
    copying.send(&tar[..512]);
    let starting = barge.command(["start", "new"]).spawn();
    copying.send(&tar[512..]);
    copying.close_input();
    copying.wait().ok();
    starting.wait().ok();
    barge.run(["exec", "new", "cat", "/slow"]).ok().stdout("there\n");
    // Whoever is killed, the container is whole.
    barge.kills();
    barge.run(["stop", "-t", "0", "new"]).ok();
    let mut copying = barge.command(["cp", "-", "new:/"]).open_input().spawn();
    copying.send(&tar[..1024]);
    copying.signal(Signal::KILL);
    copying.wait();
    barge.run(["start", "new"]).ok();
    barge.run(["exec", "new", "cat", "/slow"]).ok();
}
