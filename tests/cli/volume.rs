//! Volumes: what users do with them, what containers see of them, and what becomes of them.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;

use super::support::layout::{Packing, Tar, pack};
use super::support::{Barge, Need, fixture, is_root, needs};

pub(super) fn names(barge: &Barge) -> Vec<String> {
    barge.run(["volume", "ls", "-q"]).ok().lines()
}

pub(super) fn data(barge: &Barge, name: &str) -> PathBuf {
    barge.root().join("volumes").join(name).join("_data")
}

/// An image with the volume /data, which holds a file, a link and a directory of others.
pub(super) fn with_volume_image() -> Barge {
    let barge = Barge::with_busybox();
    let base = fixture::busybox_tar();
    let mut tar = base[..base.len() - 1024].to_vec();
    tar.extend(
        Tar::new()
            .directory("data/", 0o1750)
            .file("data/kept", 0o640, "of the image\n")
            .hardlink("data/again", "data/kept")
            .symlink("data/link", "/etc/passwd")
            .directory("data/below/", 0o700)
            .file("data/below/deep", 0o600, "deep\n")
            .bytes(),
    );
    let file = barge.file("volume.tar", tar);
    barge.run(["import", "--change", "VOLUME /data", &file, "voluminous"]).ok();
    barge
}

#[test]
fn they_are_made_listed_and_removed() {
    let barge = Barge::new();
    barge.run(["volume", "ls"]).ok().stdout("DRIVER      VOLUME NAME\n");
    barge.run(["volume", "create", "--label", "tier=web", "one"]).ok().stdout("one\n");
    barge
        .run(["volume", "create", "one"])
        .fails(125)
        .error("volume with name one already exists: volume already exists");
    barge.run(["volume", "create", "--ignore", "one"]).ok().stdout("one\n");
    let made = barge.run(["volume", "create"]).ok().text();
    assert_eq!(made.len(), 64, "{made}");
    barge.run(["volume", "create", "two"]).ok();
    barge
        .run(["volume", "ls", "--filter", "name=o"])
        .ok()
        .stdout("DRIVER      VOLUME NAME\nlocal       one\nlocal       two\n");
    for (filter, want) in [
        ("label=tier=web", vec!["one"]),
        ("name=^tw", vec!["two"]),
        ("since=one", vec![made.as_str(), "two"]),
        ("anonymous=true", vec![made.as_str()]),
        ("dangling=false", vec![]),
        ("driver=other", vec![]),
    ] {
        let mut got = barge.run(["volume", "ls", "-q", "--filter", filter]).ok().lines();
        got.sort();
        let mut want = want.clone();
        want.sort_unstable();
        assert_eq!(got, want, "{filter}");
    }
    barge.run(["volume", "ls", "--filter", "colour=red"]).fails(125).error_has("colour");
    let format = "{{.Name}} {{.Driver}} {{.Scope}} {{.Mountpoint}} {{.Labels.tier}}";
    let want = format!("one local local {} web\n", data(&barge, "one").display());
    barge.run(["volume", "inspect", "--format", format, "one"]).ok().stdout(&want);
    barge
        .run(["volume", "inspect", "nosuch"])
        .exits(125)
        .stdout("[]\n")
        .stderr("Error: no such volume nosuch\n");
    barge.run(["volume", "exists", "one"]).exits(0).stdout("");
    barge.run(["volume", "exists", "nosuch"]).exits(1).stdout("");
    barge
        .run(["volume", "rm", "one", "bogus", "two"])
        .exits(1)
        .stdout("one\ntwo\n")
        .error("no volume with name \"bogus\" found: no such volume");
    barge.run(["volume", "rm", "-f", "bogus"]).ok().stdout("");
    assert_eq!(names(&barge), std::slice::from_ref(&made));
    barge.run(["volume", "rm", &made[..12]]).ok();
    assert!(names(&barge).is_empty());
    for name in ["../x", "-x", "a/b"] {
        barge.run(["volume", "create", "--", name]).fails(125).error_has("names must match");
    }
    let events = barge.run(["events", "--stream=false", "--filter", "type=volume"]).ok().text();
    assert_eq!(events.matches("volume create").count(), 3, "{events}");
    assert_eq!(events.matches("volume remove").count(), 3, "{events}");
    barge.leaves_nothing();
}

#[test]
fn what_is_written_stays() {
    let barge = Barge::with_busybox();
    barge.shell(&["-v", "data:/data"], "echo kept > /data/file; chown 1000:1000 /data/file").ok();
    barge
        .shell(&["-v", "data:/other:ro"], "stat -c %u /other/file; cat /other/file")
        .ok()
        .stdout("1000\nkept\n");
    barge
        .shell(&["--mount", "source=data,target=/data,readonly"], "echo x > /data/file")
        .exits(1)
        .stderr_has("Read-only file system");
    // Two at once see the same.
    let line = ["-v", "data:/data", "busybox", "sh", "-c", "while [ ! -e /data/end ]; do :; done"];
    let id = barge.start(line);
    barge.shell(&["-v", "data:/data"], "touch /data/end").ok();
    barge.run(["wait", &id]).ok().stdout("0\n");
    barge.run(["volume", "rm", "data"]).exits(2).error(&format!(
        "volume data is being used by the following container(s): {id}: volume is being used"
    ));
    let mounts = barge.inspect(&id, "{{range .Mounts}}{{.Type}} {{.Name}} {{.Source}} {{.Destination}} {{.Driver}} {{.RW}}{{end}}");
    assert_eq!(mounts, format!("volume data {} /data local true", data(&barge, "data").display()));
    assert_eq!(barge.inspect(&id, "{{.HostConfig.Binds}}"), "[data:/data:rw]");
    assert_eq!(barge.run(["ps", "-aq", "--no-trunc", "--filter", "volume=data"]).ok().text(), id);
    assert_eq!(barge.run(["ps", "-aq", "--filter", "volume=other"]).ok().text(), "");
    barge.run(["volume", "prune", "-a", "-f"]).ok().stdout("Total reclaimed space: 0B\n");
    let row = barge.run(["system", "df", "--format", "{{.Type}} {{.Total}} {{.Active}}"]).ok();
    assert!(row.text().contains("Local Volumes 1 1"), "{}", row.text());
    barge.run(["volume", "rm", "-f", "-t", "0", "data"]).ok().stdout("data\n");
    assert!(barge.containers().is_empty());
    assert!(!data(&barge, "data").exists());
}

#[test]
fn a_new_one_begins_with_what_the_image_has() {
    let barge = with_volume_image();
    let look = "cd /data && stat -c '%n %a %u:%g %h' . * below/* && cat kept link | head -n 1";
    let want = ". 1750 0:0 3\nagain 640 0:0 2\nbelow 700 0:0 2\nkept 640 0:0 2\nlink 777 0:0 1\nbelow/deep 600 0:0 1\nof the image\n";
    let run = |flags: &[&str], script: &str| {
        let line = ["run", "--rm", "--network=none"].iter().chain(flags);
        barge.run(line.chain(&["voluminous", "sh", "-c", script]))
    };
    run(&["-v", "data:/data"], look).ok().stdout(want);
    run(&["-v", "data:/data"], "rm /data/again").ok();
    // What was removed does not come back, not even where nothing is left.
    run(&["-v", "data:/data"], "ls /data; rm -r /data/*").ok().stdout("below\nkept\nlink\n");
    run(&["-v", "data:/data"], "ls /data").ok().stdout("");
    run(&["-v", "bare:/data:nocopy"], "ls /data; stat -c %a /data").ok().stdout("755\n");
    run(&["--mount", "src=bare2,dst=/data,volume-nocopy"], "ls /data").ok().stdout("");
    run(&["-v", "elsewhere:/srv/none"], "ls -a /srv/none").ok().stdout(".\n..\n");
    // Somebody has put something in: that stays, and nothing comes to it.
    barge.run(["volume", "create", "mine"]).ok();
    fs::write(data(&barge, "mine").join("own"), "").unwrap();
    run(&["-v", "mine:/data"], "ls /data").ok().stdout("own\n");
    // The container's own layer has nothing of it.
    let line = ["create", "--network=none", "--name", "c", "-v", "data2:/data", "voluminous"];
    barge.run(line.iter().chain(&["touch", "/data/new"])).ok();
    barge.run(["start", "-a", "c"]).ok();
    barge.run(["diff", "c"]).ok().stdout_lacks("new");
    barge.run(["rm", "c"]).ok();
    assert!(names(&barge).contains(&"data2".to_owned()));
}

#[test]
fn those_without_a_name_go_with_their_container() {
    let barge = with_volume_image();
    let run = |flags: &[&str], script: &str| {
        let line = ["run", "--network=none"].iter().chain(flags);
        barge.run(line.chain(&["voluminous", "sh", "-c", script]))
    };
    run(&["--rm", "-v", "/more"], "touch /more/x; grep -c -e ' /data ' -e ' /more ' /proc/mounts")
        .ok()
        .stdout("2\n");
    assert!(names(&barge).is_empty());
    run(&["--rm", "--read-only"], "touch /data/x && cat /data/kept").ok().stdout("of the image\n");
    run(&["--rm", "--image-volume=ignore"], "grep -c ' /data ' /proc/mounts").exits(1);
    let script = "grep ' /data ' /proc/mounts | cut -d' ' -f3; ls /data";
    run(&["--rm", "--image-volume=tmpfs"], script).ok().stdout("tmpfs\n");
    run(&["--rm", "--image-volume=nosuch"], "true").fails(125);
    assert!(names(&barge).is_empty());
    run(&["--name=a"], "echo mine > /data/kept").ok();
    run(&["--name=b", "-v", "named:/more"], "true").ok();
    assert_eq!(names(&barge).len(), 3);
    assert_eq!(barge.inspect("a", "{{json .Config.Volumes}}"), r#"{"/data":{}}"#);
    barge.run(["container", "clone", "a", "c"]).ok();
    barge.run(["start", "-a", "c"]).ok();
    let volume = |name: &str| barge.inspect(name, "{{range .Mounts}}{{.Name}}{{end}}");
    assert_ne!(volume("a"), volume("c"));
    barge.run(["rm", "-v", "a", "c"]).ok();
    assert_eq!(names(&barge).len(), 2);
    barge.run(["rm", "b"]).ok();
    let left = names(&barge);
    assert_eq!(left.len(), 2);
    let pruned = barge.run(["volume", "prune", "-f"]).ok().text();
    assert!(pruned.starts_with("Deleted Volumes:\n"), "{pruned}");
    assert_eq!(names(&barge), ["named"]);
    barge.run(["volume", "prune", "--all", "-f"]).ok();
    assert!(names(&barge).is_empty());
    // Nothing is left of those whose container could not be made or started.
    run(&["--rm", "--name=a", "-v", "/x", "-w", "relative"], "true").fails(125);
    barge.run(["run", "--rm", "--network=none", "-v", "/x", "busybox", "nosuch"]).exits(127);
    barge.run(["create", "--name=a", "voluminous", "true"]).ok();
    barge.run(["create", "--name=a", "voluminous", "true"]).fails(125);
    assert_eq!(names(&barge).len(), 1);
    barge.run(["rm", "-v", "a"]).ok();
    assert!(names(&barge).is_empty());
}

#[test]
fn the_driver_mounts_what_its_options_say() {
    let barge = Barge::with_busybox();
    let options = ["-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=size=1m,mode=1770"];
    barge.run(["volume", "create"].iter().chain(&options).chain(&["memory"])).ok();
    let script = "grep ' /m ' /proc/mounts | cut -d' ' -f3; stat -c %a /m; df -m /m | tail -n 1 | awk '{print $2}'";
    barge.shell(&["-v", "memory:/m"], script).ok().stdout("tmpfs\n1770\n1\n");
    let part = "src=memory,dst=/m,volume-subpath=x";
    barge.shell(&["--mount", part], "true").fails(125).error_has("cannot find `x` in it");
    fs::create_dir(barge.path("there")).unwrap();
    let device = format!("device={}", barge.path_text("there"));
    let options = ["-o", "type=none", "-o", "o=bind", "--opt", &device];
    barge.run(["volume", "create"].iter().chain(&options).chain(&["bound"])).ok();
    barge.shell(&["-v", "bound:/b"], "touch /b/file").ok();
    assert!(barge.path("there/file").exists());
    assert!(!data(&barge, "bound").join("file").exists());
    barge.shell(&["-v", "bound:/b:ro"], "touch /b/x").exits(1);
    barge.run(["volume", "rm", "bound", "memory"]).ok();
    assert!(barge.path("there/file").exists());
    for options in [&["-o", "size=1"][..], &["-o", "device=/x"], &["--driver", "nosuch"]] {
        barge.run(["volume", "create"].iter().chain(options)).fails(125);
    }
    assert!(names(&barge).is_empty());
}

#[test]
fn a_part_of_one_leads_nowhere_else() {
    let barge = Barge::with_busybox();
    let outside = barge.path_text("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(barge.path("outside/secret"), "secret\n").unwrap();
    let script =
        format!("mkdir -p /d/a/b; echo part > /d/a/b/f; ln -s {outside} /d/out; ln -s a/b /d/in");
    barge.shell(&["-v", "data:/d"], &script).ok();
    let part = |subpath: &str| format!("type=volume,src=data,dst=/p,volume-subpath={subpath}");
    barge.shell(&["--mount", &part("a/b")], "cat /p/f").ok().stdout("part\n");
    barge.shell(&["--mount", &part("in")], "cat /p/f").ok().stdout("part\n");
    barge.shell(&["--mount", &part("a/b/f")], "cat /p").ok().stdout("part\n");
    for subpath in ["out", "nosuch", "a/../../x"] {
        barge.shell(&["--mount", &part(subpath)], "cat /p/secret").fails(125);
    }
    assert!(barge.containers().is_empty());
}

#[test]
fn owners_are_those_of_the_container() {
    let barge = with_volume_image();
    let (flags, own) = match is_root() {
        true => (["--uidmap=0:300000:65536", "--gidmap=0:300000:65536"], 300_000),
        false => (["--uidmap=0:1:1000", "--gidmap=0:1:1000"], 0),
    };
    let line = ["run", "--rm", "--network=none", "-v", "data:/data", "-v", "new:/new"];
    let script = "stat -c %u:%g /data /data/kept /new; cat /data/kept; touch /data/x /new/x";
    barge
        .run(line.iter().chain(&flags).chain(&["voluminous", "sh", "-c", script]))
        .ok()
        .stdout("0:0\n0:0\n0:0\nof the image\n");
    if own > 0 {
        for path in [data(&barge, "data").join("kept"), data(&barge, "new").join("x")] {
            assert_eq!(fs::metadata(&path).unwrap().uid(), own, "{}", path.display());
        }
    } else {
        // What is the user's own here is the user's own there.
        let line = ["run", "--rm", "--network=none", "--userns=keep-id", "-v", "own:/own"];
        barge.run(line.iter().chain(&["busybox", "touch", "/own/x"])).ok();
        let owner = fs::metadata(data(&barge, "own").join("x")).unwrap().uid();
        assert_eq!(owner, nix::unistd::geteuid().as_raw());
    }
}

#[test]
fn a_prune_takes_what_is_wanted_and_tells_what_is_free() {
    let barge = Barge::with_busybox();
    for (name, label) in [("kept", "keep=yes"), ("spare", "keep=no"), ("used", "keep=no")] {
        barge.run(["volume", "create", "--label", label, name]).ok();
    }
    let fill = "head -c 2000000 /dev/zero > /d/f";
    barge.shell(&["-v", "spare:/d"], fill).ok();
    let line = ["run", "--name=c", "--network=none", "-v", "used:/d", "busybox", "sh", "-c", fill];
    barge.run(line).ok();
    let text = barge.run(["system", "df", "-v"]).ok().text();
    let rows: Vec<Vec<&str>> = text.lines().map(|it| it.split_whitespace().collect()).collect();
    for row in [["kept", "0", "0B"], ["spare", "0", "2MB"], ["used", "1", "2MB"]] {
        assert!(rows.iter().any(|it| *it == row), "{row:?}: {text}");
    }
    let prune = |filters: &[&str]| {
        let line = ["volume", "prune", "-f"].iter().chain(filters);
        barge.run(line).ok().text()
    };
    let nothing = "Total reclaimed space: 0B";
    assert_eq!(prune(&["--filter", "label!=keep=yes"]), nothing);
    assert_eq!(prune(&["--all", "--filter", "label=keep=maybe"]), nothing);
    assert_eq!(prune(&["--filter", "all=1", "--filter", "until=1h"]), nothing);
    let pruned = prune(&["--filter", "all=true", "--filter", "label!=keep=yes"]);
    assert_eq!(pruned, "Deleted Volumes:\nspare\nTotal reclaimed space: 2MB");
    let events = barge.run(["events", "--stream=false", "--filter=type=volume"]).ok().text();
    assert_eq!(events.matches("volume prune").count(), 1, "{events}");
    barge.run(["rm", "c"]).ok();
    assert_eq!(names(&barge), ["kept", "used"]);
}

#[test]
fn the_store_keeps_them_from_others() {
    if !needs(&[Need::Root]) {
        return;
    }
    let barge = Barge::new();
    barge.run(["volume", "create", "data"]).ok();
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(barge.root().join("volumes")), 0o700);
    assert_eq!(mode(data(&barge, "data")), 0o755);
}

#[test]
fn they_are_exported_and_imported() {
    let barge = Barge::with_busybox();
    let script = "cd /d; chmod 1750 .; chown 5:6 .; echo text > f; ln f g; ln -s /etc l; mkfifo p; chown 7:8 f; chmod 4755 f";
    barge.shell(&["-v", "one:/d"], script).ok();
    let file = barge.path_text("one.tar");
    barge.run(["volume", "export", "-o", &file, "one"]).ok().stdout("");
    let piped = barge.run(["volume", "export", "one"]).ok().stdout;
    assert!(piped == fs::read(&file).unwrap());
    barge.run(["volume", "create", "two"]).ok();
    barge.run(["volume", "create", "three"]).ok();
    barge.run(["volume", "import", "two", &file]).ok().stdout("");
    let packed = pack(&piped, Packing::Zstd);
    barge.command(["volume", "import", "three", "-"]).input(packed).run().ok();
    let look = "cd /d; stat -c '%n %a %u:%g %h' . *; cat g";
    let want = barge.shell(&["-v", "one:/d"], look).ok().text();
    assert!(want.starts_with(". 1750 5:6 2\nf 4755 7:8 2\n"), "{want}");
    for name in ["two", "three"] {
        barge.shell(&["-v", &format!("{name}:/d")], look).ok().stdout(&(want.clone() + "\n"));
    }
    // One that has files keeps those that are not in the archive.
    barge.shell(&["-v", "two:/d"], "cd /d; echo other > f; echo mine > mine").ok();
    barge.run(["volume", "import", "two", &file]).ok();
    barge.shell(&["-v", "two:/d"], "cat /d/f /d/mine").ok().stdout("text\nmine\n");
    // What is damaged leaves nothing in one that is new, nor does what leads elsewhere.
    barge.run(["volume", "create", "four"]).ok();
    let cut = barge.file("cut.tar", &piped[..piped.len() - 3000]);
    let evil =
        barge.file("evil.tar", Tar::new().file("a", 0o644, "x").file("../b", 0o644, "x").bytes());
    let none = barge.file("none.tar", "this is no archive");
    for (file, error) in
        [(&cut, "cut off"), (&evil, "leads out"), (&none, "must be a (compressed) tar archive")]
    {
        barge.run(["volume", "import", "four", file]).fails(125).error_has(error);
        assert_eq!(fs::read_dir(data(&barge, "four")).unwrap().count(), 0, "{file}");
    }
    barge.run(["volume", "import", "nosuch", &file]).fails(125).error_has("no such volume");
    barge.run(["volume", "export", "nosuch"]).fails(125).error_has("no such volume");
    let place = format!("{}\n", data(&barge, "one").display());
    barge.run(["volume", "mount", "one"]).ok().stdout(&place);
    barge.run(["volume", "unmount", "one"]).ok().stdout("one\n");
    barge.run(["volume", "create", "-o", "type=tmpfs", "-o", "device=tmpfs", "memory"]).ok();
    barge.run(["volume", "export", "memory"]).fails(125).hint_has("barge cp");
    barge.run(["volume", "rm", "-a"]).ok();
    barge.leaves_nothing();
}
