//! What is in containers: `diff`, `commit`, `export`.

use std::fs;
use std::path::Path;

use rustix::process::Signal;
use serde_json::json;

use super::support::barge::is_full_id;
use super::support::layout::Tar;
use super::support::process::contains;
use super::support::{Barge, Need, fixture, is_root, needs, tool, wait_until};

/// Stores with busybox, one for each driver that every user can have.
fn stores() -> [Barge; 2] {
    ["overlay", "vfs"].map(|driver| {
        let barge = Barge::new();
        let tar = fixture::busybox();
        let line = ["--storage-driver", driver, "import", "-q", &*tar.to_string_lossy(), "busybox"];
        barge.run(line).ok();
        barge
    })
}

/// Changes of all kinds, and the word `made`.
const CHANGE: &str = "mkdir -p /n/m; echo hi >/n/m/f; ln /n/m/f /n/g; ln -s /etc /l; rm /bin/ls; \
     rm -rf /usr; mkdir /usr; touch /usr/x; chmod 700 /home; mkfifo /p; truncate -s 50M /sparse; \
     echo end | dd of=/sparse conv=notrunc bs=1 seek=30000000 2>/dev/null; chown 7:8 /n/g; \
     echo made";

const CHANGED: &str = "C /bin\nD /bin/ls\nC /home\nA /l\nA /n\nA /n/g\nA /n/m\nA /n/m/f\nA /p\n\
     A /sparse\nC /usr\nD /usr/bin\nA /usr/x\n";

/// Looks at what [`CHANGE`] has made.
const LOOK: &str = "cat /n/m/f; stat -c '%n %F %a %u:%g %s' /n/g /home /p /sparse; readlink /l; \
     stat -c %h /n/g; ls /usr; dd if=/sparse bs=1 skip=30000000 count=4 2>/dev/null; test -e /bin/ls || echo gone";

const LOOKED: &str = "hi\n/n/g regular file 644 7:8 3\n/home directory 700 0:0 4096\n\
     /p fifo 644 0:0 0\n/sparse regular file 644 0:0 52428800\n";

/// Starts a container that changes files and then waits.
fn changed(barge: &Barge, name: &str) {
    barge.start(["--name", name, "busybox", "sh", "-c", &format!("{CHANGE}; sleep 1000")]);
    barge.await_log(name, "made");
}

#[test]
fn diff_tells_what_a_container_changed() {
    for barge in stores() {
        barge.run(["create", "--name", "new", "busybox", "true"]).ok();
        barge.run(["diff", "new"]).ok().stdout("");
        changed(&barge, "box");
        barge.run(["diff", "box"]).ok().stdout(CHANGED);
        barge.run(["container", "diff", "box"]).ok().stdout(CHANGED);
        let want = json!({
            "changed": ["/bin", "/home", "/usr"],
            "added": ["/l", "/n", "/n/g", "/n/m", "/n/m/f", "/p", "/sparse", "/usr/x"],
            "deleted": ["/bin/ls", "/usr/bin"],
        });
        assert_eq!(barge.run(["diff", "--format", "json", "box"]).ok().json(), want);
        barge.run(["rm", "-f", "-t0", "new"]).ok();
        barge.run(["stop", "-t0", "box"]).ok();
        barge.run(["diff", "box"]).ok().stdout(CHANGED);
        // Between two of them, or with an image, the order is that of a comparison.
        barge.start(["--name", "other", "busybox", "sh", "-c", "rm -rf /n; echo made; sleep 1000"]);
        barge.await_log("other", "made");
        let lines = barge.run(["diff", "box", "other"]).ok().lines();
        assert!(lines.contains(&"A /n/m/f".to_owned()), "{lines:?}");
        let against = barge.run(["diff", "box", "busybox"]).ok().lines();
        assert!(against.contains(&"D /bin/ls".to_owned()), "{against:?}");
        barge.run(["diff", "other"]).ok().stdout("");
        barge.run(["diff", "nosuch"]).fails(125).error_has("nosuch");
        barge.run(["container", "diff", "busybox"]).fails(125).error_has("no such container");
    }
}

#[test]
fn diff_compares_containers_with_users_of_their_own() {
    let barge = Barge::with_busybox();
    for (name, users, script) in [
        ("one", "auto:size=1024", "echo 1 >/one; chown 5 /etc"),
        ("two", "auto:size=1024", "echo 2 >/two; chown 5 /etc"),
        ("host", "host", "true"),
    ] {
        let create = ["create", "--network=none", "--name", name, "--userns", users, "busybox"];
        barge.run([&create[..], &["sh", "-c", script]].concat()).ok();
        barge.run(["start", "-a", name]).ok();
    }
    // Who owns what is the same to both, whatever it is on the disk.
    barge.run(["diff", "two", "one"]).ok().stdout("A /two\nD /one\n");
    barge.run(["diff", "two", "host"]).ok().stdout("C /etc\nA /two\n");
    barge.run(["diff", "one", "busybox"]).ok().stdout("C /etc\nA /one\n");
}

#[test]
fn commit_makes_an_image_of_the_changes() {
    for barge in stores() {
        changed(&barge, "box");
        let id = barge.run(["commit", "-q", "box", "made"]).ok().text();
        assert!(is_full_id(&id), "{id}");
        let look = |image: &str| {
            let line = ["run", "--rm", "--network=none", image, "sh", "-c", LOOK];
            barge.run(line).ok().text()
        };
        let seen = look("made");
        let seen: Vec<&str> = seen.lines().collect();
        // The size of a directory is the file system's.
        let want = format!("{LOOKED}/etc\n2\nx\nend\ngone");
        for line in want.lines().filter(|line| !line.contains("directory")) {
            assert!(seen.contains(&line), "{line}: {seen:?}");
        }
        assert!(seen.iter().any(|line| line.starts_with("/home directory 700 0:0 ")), "{seen:?}");
        // The second image is the first one again: the same layer, which is kept once.
        barge.run(["commit", "box", "again"]).ok();
        let layers = |image: &str| barge.inspect(image, "{{json .RootFS.Layers}}");
        assert_eq!(layers("made"), layers("again"));
        assert_eq!(barge.layers().len(), 2);
        // All in one.
        barge.run(["commit", "--squash", "box", "squashed"]).ok();
        assert_eq!(layers("squashed").matches("sha256:").count(), 1);
        assert!(look("squashed").ends_with("end\ngone"));
        // Without a name; of a container that does not run, or never did.
        barge.run(["stop", "-t0", "box"]).ok();
        let unnamed = barge.run(["commit", "box"]).ok().text();
        assert_eq!(barge.inspect(&unnamed, "{{json .RepoTags}}"), "[]");
        barge.run(["create", "--name", "new", "busybox", "true"]).ok();
        barge.run(["commit", "new", "nothing"]).ok();
        barge.run(["image", "diff", "nothing"]).ok().stdout("");
        // Others can read it.
        let archive = barge.path_text("made.tar");
        barge.run(["save", "-q", "--format", "oci-archive", "-o", &archive, "made"]).ok();
        let said = tool("skopeo", ["inspect", &format!("oci-archive:{archive}")]);
        assert!(said.contains("Layers"), "{said}");
        barge.run(["commit", "nosuch"]).fails(125).error_has("no such container");
        barge.run(["commit", "box", "Bad Name"]).fails(125);
    }
}

#[test]
fn commit_records_what_the_container_was() {
    let barge = Barge::with_busybox();
    let base = ["create", "--name", "box", "-e", "A=1", "-w", "/tmp", "-u", "app", "-t"];
    let rest = ["-l", "k=v", "--entrypoint", "/bin/sh", "busybox", "-c", "true"];
    barge.run([&base[..], &rest].concat()).ok();
    let file = barge.path_text("id");
    let flags = ["commit", "-a", "Me", "-m", "a message", "-f", "docker", "--iidfile", &file];
    let changes = ["-c", "ENV B=2", "--change", "CMD [\"-c\", \"echo $A $B\"]"];
    let rest = ["-c", "EXPOSE 90", "-c", "VOLUME /v", "box", "made"];
    let id = barge.run([&flags[..], &changes, &rest].concat()).ok().text();
    assert_eq!(fs::read_to_string(&file).unwrap(), id);
    let image = barge.run(["image", "inspect", "made"]).ok().json()[0].clone();
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let want = json!({
        "Env": [path, "A=1", "B=2"],
        "Cmd": ["-c", "echo $A $B"],
        "Entrypoint": ["/bin/sh"],
        "ExposedPorts": { "90/tcp": {} },
        "Volumes": { "/v": {} },
        "Labels": { "k": "v" },
        "WorkingDir": "/tmp",
        "User": "app",
    });
    assert_eq!(image["Config"], want);
    assert_eq!((&image["Author"], &image["Comment"]), (&json!("Me"), &json!("a message")));
    assert_eq!(image["ManifestType"], "application/vnd.docker.distribution.manifest.v2+json");
    let line = ["history", "--no-trunc", "--format", "{{.CreatedBy}}", "made"];
    assert_eq!(barge.run(line).ok().lines()[0], "/bin/sh -c true");
    barge.run(["run", "--rm", "--network=none", "made"]).ok().stdout("1 2\n");
    barge.run(["commit", "-f", "oci", "-m", "x", "box"]).fails(125).error_has("-f docker");
    barge.run(["commit", "-c", "RUN x", "box"]).fails(125).error_has("RUN x");
}

#[test]
fn commit_keeps_attributes_and_no_marks_of_overlay() {
    if !needs(&[Need::Root]) {
        return;
    }
    let barge = Barge::with_busybox();
    changed(&barge, "box");
    let upper = barge.root().join("containers").join(barge.inspect("box", "{{.Id}}")).join("upper");
    let file = upper.join("n/m/f").to_string_lossy().into_owned();
    tool("setcap", ["cap_net_raw+ep", &file]);
    tool("setfattr", ["-n", "user.note", "-v", "x", &file]);
    // A device is packed, and not opened.
    tool("mknod", [&*upper.join("n/disk").to_string_lossy(), "b", "250", "7"]);
    let listed = tool("getfattr", ["-Rd", "-m", "-", &*upper.to_string_lossy()]);
    assert!(listed.contains("trusted.overlay."), "{listed}");
    barge.run(["commit", "box", "made"]).ok();
    let archive = barge.path_text("made.tar");
    barge.run(["save", "-q", "-o", &archive, "made"]).ok();
    let dir = barge.path("unpacked");
    fs::create_dir(&dir).unwrap();
    tool("tar", ["-C", &*dir.to_string_lossy(), "-xf", &archive]);
    let mut found = false;
    for entry in fs::read_dir(&dir).unwrap() {
        let layer = entry.unwrap().path();
        if layer.extension().is_none_or(|it| it != "tar") {
            continue;
        }
        assert!(!contains(&fs::read(&layer).unwrap(), b".overlay."), "{layer:?}");
        let list = tool("tar", ["-tvf", &*layer.to_string_lossy()]);
        if list.contains("n/disk") {
            assert!(list.contains("250,7"), "{list}");
            assert!(list.contains("usr/.wh..wh..opq") && list.contains("bin/.wh.ls"), "{list}");
            assert!(!list.contains("etc/hosts") && !list.contains("proc"), "{list}");
            found = true;
        }
    }
    assert!(found);
    let top = barge.inspect("made", "{{.GraphDriver.Data.UpperDir}}");
    let file = Path::new(&top).join("n/m/f").to_string_lossy().into_owned();
    assert!(tool("getcap", [&file]).contains("cap_net_raw"));
    assert!(tool("getfattr", ["-d", &file]).contains("user.note"));
}

#[test]
fn export_writes_all_files() {
    for barge in stores() {
        changed(&barge, "box");
        let file = barge.path_text("all.tar");
        barge.run(["export", "-o", &file, "box"]).ok().stdout("");
        let running = fs::read(&file).unwrap();
        let text = tool("tar", ["-tf", &file]);
        let mut names: Vec<_> = text.lines().map(|name| name.trim_end_matches('/')).collect();
        names.sort_unstable();
        // What is mounted on is there, and not what is mounted.
        let find = "find / -xdev -mindepth 1 | sed s:^/::";
        let mut inside = barge.run(["exec", "box", "sh", "-c", find]).ok().lines();
        inside.sort();
        assert_eq!(names, inside);
        for name in ["etc/hosts", "proc", "dev", "n/m/f"] {
            assert!(names.contains(&name), "{name}");
        }
        assert!(running.len() < 20_000_000, "holes were written");
        // To standard output; the same when it does not run.
        assert!(barge.run(["export", "box"]).exits(0).stdout == running);
        barge.run(["stop", "-t0", "box"]).ok();
        assert!(barge.run(["export", "box"]).exits(0).stdout == running);
        barge.run(["import", "-q", &file, "again"]).ok();
        let line = ["run", "--rm", "--network=none", "again", "sh", "-c", LOOK];
        barge.run(line).ok().stdout_has("end\ngone");
        barge.run(["create", "--name", "new", "busybox", "true"]).ok();
        assert!(contains(&barge.run(["export", "new"]).exits(0).stdout, b"bin/ls"));
        barge.run(["export", "nosuch"]).fails(125).error_has("no such container");
        barge.run(["export", "-o", "/nonexistent/x", "box"]).fails(125).error_has("/nonexistent/x");
        let mut terminal = barge.command(["export", "box"]).terminal();
        terminal.expect("refusing to export to terminal");
        terminal.exits(125);
    }
}

#[test]
fn what_a_container_changes_meanwhile_leads_nowhere() {
    for barge in stores() {
        // A file of the host that would be found if a link were followed.
        let outside = barge.path("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("secret"), "secret of the host").unwrap();
        let script = format!(
            "mkdir -p /d/secret; echo fine >/d/f; mkdir /x; echo made; \
             while true; do mv /d /e; ln -s {0} /d; rm /d; mv /e /d; \
             echo a >/x/secret; rm /x/secret; ln -s {0}/secret /x/secret; rm /x/secret; done",
            outside.display()
        );
        barge.start(["--name", "box", "busybox", "sh", "-c", &script]);
        barge.await_log("box", "made");
        for _ in 0..20 {
            let output = barge.run(["export", "box"]).exits(0);
            assert!(!contains(&output.stdout, b"secret of the host"));
            barge.run(["diff", "box"]).exits(0);
            barge.run(["commit", "--pause=false", "-q", "box", "made"]).exits(0);
            let look = "! grep -rsq 'of the host' /d /e /x";
            barge.run(["run", "--rm", "--network=none", "made", "sh", "-c", look]).ok();
        }
        barge.run(["rm", "-f", "-t0", "box"]).ok();
    }
}

#[test]
fn commits_stand_each_other_and_prunes() {
    let barge = Barge::with_busybox();
    changed(&barge, "box");
    for _ in 0..5 {
        let commits: Vec<_> =
            (0..3).map(|_| barge.command(["commit", "-q", "box", "made"]).spawn()).collect();
        let prune = barge.command(["image", "prune", "-a", "-f"]).spawn();
        let removed = barge.command(["rmi", "-f", "-i", "made"]).spawn();
        for commit in commits {
            assert!(is_full_id(&commit.wait().ok().text()));
        }
        prune.wait().exits(0);
        removed.wait();
        // What is there is whole.
        let line = ["run", "--rm", "--network=none", "made", "cat", "/n/m/f"];
        if barge.run(["image", "exists", "made"]).status == 0 {
            barge.run(line).ok().stdout("hi\n");
        }
    }
    // The container and its image may be removed; the new one keeps what it lies on.
    barge.run(["commit", "-q", "box", "made"]).ok();
    barge.run(["rm", "-f", "-t0", "box"]).ok();
    barge.run(["rmi", "busybox"]).ok();
    barge.run(["run", "--rm", "--network=none", "made", "cat", "/n/m/f"]).ok().stdout("hi\n");
}

#[test]
fn a_container_goes_on_when_its_commit_is_killed() {
    let barge = Barge::with_busybox();
    barge.kills();
    let script = "head -c 60000000 /dev/urandom >/big; echo made; \
                  while true; do date +%N >/tick; sleep 0.01; done";
    barge.start(["--name", "box", "busybox", "sh", "-c", script]);
    barge.await_log("box", "made");
    let before = barge.run(["images", "-a", "-q"]).ok().text();
    for _ in 0..3 {
        let mut commit = barge.command(["commit", "-q", "box", "made"]).spawn();
        let drafts = barge.root().join("tmp");
        wait_until("the commit is under way", || {
            fs::read_dir(&drafts).unwrap().any(|entry| entry.is_ok())
        });
        commit.signal(Signal::KILL);
        commit.wait();
        let tick = || barge.run(["exec", "box", "cat", "/tick"]).ok().text();
        let last = tick();
        wait_until("the container goes on", || tick() != last);
    }
    assert_eq!(barge.run(["images", "-a", "-q"]).ok().text(), before);
    barge.run(["commit", "-q", "box", "made"]).ok();
    barge
        .run(["run", "--rm", "--network=none", "made", "sh", "-c", "wc -c </big"])
        .ok()
        .stdout("60000000\n");
    barge.run(["system", "prune", "-f"]).ok();
}

#[test]
fn a_commit_that_fills_the_disk_leaves_nothing() {
    if !needs(&[Need::Root]) {
        return;
    }
    let mut barge = Barge::new();
    let root = barge.root();
    fs::create_dir(&root).unwrap();
    let small = format!("mount -t tmpfs -o size=24m none {}", root.display());
    barge.move_to(barge.place().with_mounts(&small));
    barge.import_busybox();
    let script = "head -c 14000000 /dev/urandom >/big; echo made; sleep 1000";
    barge.start(["--name", "box", "busybox", "sh", "-c", script]);
    barge.await_log("box", "made");
    barge.run(["commit", "box", "made"]).fails(125).error_has("no space left");
    barge.run(["image", "exists", "made"]).exits(1);
    barge.run(["exec", "box", "echo", "alive"]).ok().stdout("alive\n");
    barge.run(["exec", "box", "rm", "/big"]).ok();
    barge.run(["commit", "box", "made"]).ok();
    // An archive is there whole or not at all.
    barge.run(["exec", "box", "sh", "-c", "head -c 12000000 /dev/urandom >/big"]).ok();
    let file = root.join("all.tar").to_string_lossy().into_owned();
    barge.run(["export", "-o", &file, "box"]).fails(125).error_has("no space left");
    let left = barge.place().enter(|| fs::exists(&file).unwrap());
    assert!(!left);
    barge.run(["rm", "-f", "-t0", "box"]).ok();
}

#[test]
fn containers_of_this_machine_tell_what_they_changed() {
    let barge = Barge::new();
    let script = "echo x >/etc/new-file; rm /etc/passwd";
    let line = ["run", "--name", "box", "--network=none", "builtin/host", "sh", "-c", script];
    if barge.run(line).status != 0 && !is_root() {
        // Not everything of this machine can be shown to every user.
        return;
    }
    let lines = barge.run(["diff", "box"]).ok().lines();
    assert!(lines.contains(&"A /etc/new-file".to_owned()), "{lines:?}");
    assert!(lines.contains(&"D /etc/passwd".to_owned()), "{lines:?}");
    for verb in ["commit", "export"] {
        barge.run([verb, "box"]).fails(125).error_has("this machine").hint_has("tar");
    }
}

#[test]
fn images_without_anything_can_be_looked_into() {
    let barge = Barge::new();
    let busybox = fs::read("/bin/busybox").unwrap();
    let tar = barge.file("one.tar", Tar::new().file("busybox", 0o755, busybox).bytes());
    barge.run(["import", "-q", &tar, "one"]).ok();
    let line = ["run", "--name", "box", "--network=none", "one", "/busybox", "touch", "/f"];
    barge.run(line).ok();
    barge.run(["diff", "box"]).ok().stdout("A /f\n");
    barge.run(["commit", "-q", "box", "two"]).ok();
    barge.run(["image", "diff", "two"]).ok().stdout("A /f\n");
}

#[test]
fn a_clone_is_of_the_same_making() {
    for barge in stores() {
        let line = ["create", "--name", "box", "-e", "A=1", "-w", "/tmp", "-l", "k=v", "busybox"];
        barge.run([&line[..], &["sh", "-c", "echo $A $HOSTNAME; pwd; ls /new"]].concat()).ok();
        let id = barge.run(["container", "clone", "box"]).ok().text();
        assert!(is_full_id(&id), "{id}");
        assert_eq!(barge.inspect(&id, "{{.Name}}").trim_start_matches('/'), "box-clone");
        for what in ["{{json .Config.Cmd}}", "{{json .Config.Labels}}", "{{.Image}}"] {
            assert_eq!(barge.inspect(&id, what), barge.inspect("box", what), "{what}");
        }
        let short = &id[..12];
        let output = barge.run(["start", "-a", "box-clone"]).exits(1);
        assert_eq!(output.text(), format!("1 {short}\n/tmp"));
        // What it has changed is its own; names go on.
        barge.start(["--name", "other", "busybox", "sh", "-c", "touch /mine; sleep 1000"]);
        wait_until("the file is there", || barge.run(["diff", "other"]).ok().text() == "A /mine");
        barge.run(["container", "clone", "box"]).ok();
        barge.run(["container", "exists", "box-clone1"]).ok();
        let flags = ["container", "clone", "--run", "--memory", "64m", "other", "second"];
        // Without root there may be no memory to limit, which is said.
        let second = barge.run(flags).exits(0).text();
        assert_eq!(barge.status(&second), "running");
        assert_eq!(barge.inspect("second", "{{.HostConfig.Memory}}"), "67108864");
        barge.run(["container", "clone", "box", "second"]).fails(125).error_has("already in use");
        barge.run(["container", "clone", "--memory", "1k", "box"]).fails(125).error_has("6MB");
        // In place of the first.
        let destroy = ["container", "clone", "--destroy", "other", "third"];
        barge.run(destroy).fails(125).error_has("running").hint_has("--force");
        barge.run(["container", "exists", "third"]).exits(1);
        let destroy = ["container", "clone", "--destroy", "--force", "other", "third"];
        barge.run(destroy).ok();
        barge.run(["container", "exists", "other"]).exits(1);
        barge.run(["diff", "third"]).ok().stdout("");
        // With the files of another image.
        barge.run(["commit", "-q", "second", "made"]).ok();
        barge.run(["container", "clone", "box", "fourth", "made"]).ok();
        barge.run(["export", "-o", &barge.path_text("x.tar"), "fourth"]).ok();
        let list = tool("tar", ["-tf", &barge.path_text("x.tar")]);
        assert!(list.lines().any(|name| name == "mine"), "{list}");
        barge.run(["container", "clone", "nosuch"]).fails(125).error_has("no such container");
        barge.run(["container", "clone", "box", "x", "nosuch"]).fails(125).error_has("not known");
        barge.run(["rm", "-f", "-t0", "-a"]).ok();
    }
}
