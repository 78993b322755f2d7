//! Volumes when something goes wrong: somebody is killed, somebody removes what others use, the disk is
//! full.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::process::Signal;

use super::crash::{after, delay};
use super::support::layout::Tar;
use super::support::{Barge, Need, needs, wait_until};
use super::volume::{data, names, with_volume_image};

/// Files of the archives and directories that are copied here.
const FILES: usize = 300;

#[test]
fn one_in_use_is_never_lost() {
    let barge = Barge::with_busybox();
    for round in 0..12 {
        let name = format!("v{round}");
        let volume = format!("{name}:/data");
        let script = "f=/data/$(hostname); echo here > $f && sleep 0.05 && cat $f";
        let mut running = Vec::new();
        for _ in 0..3 {
            let line = ["run", "--rm", "--network=none", "-v", &volume, "busybox", "sh", "-c"];
            running.push((true, barge.command(line.iter().chain(&[script])).spawn()));
            for line in [
                &["volume", "rm", &name][..],
                &["volume", "prune", "-a", "-f"],
                &["volume", "export", "-o", "/dev/null", &name],
            ] {
                running.push((false, barge.command(line).spawn()));
            }
        }
        for (is_run, process) in running {
            let output = process.wait();
            match is_run {
                true => drop(output.ok().stdout("here\n")),
                false => assert!(matches!(output.status, 0..=2 | 125), "{}", output.story()),
            }
        }
    }
    barge.run(["volume", "prune", "-a", "-f"]).ok();
    assert!(names(&barge).is_empty());
    barge.leaves_nothing();
}

#[test]
fn whoever_is_killed_they_are_whole() {
    let barge = with_volume_image();
    barge.kills();
    for round in 0..20_u64 {
        let line = ["run", "--rm", "--name=c", "--replace", "--network=none", "-v", "data:/data"];
        let line = line.iter().chain(&["-v", "/more"]).chain(&["voluminous", "true"]);
        let mut running = barge.command(line).spawn();
        std::thread::yield_now();
        let until = Instant::now() + Duration::from_millis(round * 2);
        wait_until("it is time", || Instant::now() >= until);
        running.signal(Signal::KILL);
        drop(running.wait());
        if round % 2 == 0 {
            let output = barge.run(["volume", "rm", "-f", "-t", "0", "data"]);
            assert_eq!(output.status, 0, "{}", output.story());
        }
    }
    barge.run(["rm", "-f", "-t", "0", "-a"]).ok();
    // What was begun is whole.
    let line = ["run", "--rm", "--name=c", "--network=none", "-v", "data:/data", "voluminous"];
    barge.run(line.iter().chain(&["cat", "/data/below/deep"])).ok().stdout("deep\n");
    barge.run(["volume", "prune", "-a", "-f"]).ok();
    assert!(names(&barge).is_empty());
}

/// Counts what is below a directory.
fn count(dir: &Path) -> usize {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { 1 + count(&path) } else { 1 }).sum()
}

#[test]
fn whoever_fills_them_is_killed() {
    let barge = Barge::with_busybox();
    barge.kills();
    let mut tar = Tar::new();
    let tree = barge.path("tree");
    fs::create_dir(&tree).unwrap();
    for number in 0..FILES {
        let text = format!("{number}\n").repeat(200);
        tar = tar.file(&format!("f{number}"), 0o644, text.as_bytes());
        fs::write(tree.join(format!("f{number}")), text).unwrap();
    }
    let archive = barge.file("tree.tar", tar.bytes());
    let exported = barge.path_text("exported.tar");
    let tree = format!("{}/.", tree.display());
    barge.run(["create", "--name=c", "-v", "used:/d", "busybox", "true"]).ok();
    barge.run(["cp", &tree, "c:/d"]).ok();
    // What each of them leaves behind that is killed.
    let create: &[&str] = &["volume", "create", "new"];
    let import: &[&str] = &["volume", "import", "new", &archive];
    let again: &[&str] = &["volume", "import", "used", &archive];
    let export: &[&str] = &["volume", "export", "-o", &exported, "used"];
    let copy: &[&str] = &["cp", &tree, "c:/d"];
    let remove: &[&str] = &["volume", "rm", "new"];
    for (step, line) in [create, import, again, export, copy, remove].into_iter().enumerate() {
        let mut whole = Duration::ZERO;
        for round in 0..13 {
            drop(barge.run(["volume", "create", "--ignore", "new"]).ok());
            if step == 0 {
                barge.run(["volume", "rm", "new"]).ok();
            }
            let begin = Instant::now();
            let mut running = barge.command(line).spawn();
            if round > 0 {
                after(delay(round, whole), || running.has_ended());
                running.signal(Signal::KILL);
            }
            let output = running.wait();
            if round == 0 {
                output.ok();
                whole = begin.elapsed();
            }
            let story = format!("{line:?}, round {round}");
            let known = names(&barge);
            assert!(known.contains(&"used".to_owned()), "{story}: {known:?}");
            for name in &known {
                barge.run(["volume", "inspect", name]).ok();
                barge.run(["volume", "export", "-o", "/dev/null", name]).ok();
            }
            // All or nothing, and what was there before is there.
            if known.contains(&"new".to_owned()) {
                let found = count(&data(&barge, "new"));
                assert!(found == 0 || found == FILES, "{story}: {found} files");
                barge.run(["volume", "rm", "new"]).ok();
            }
            let files = fs::read_dir(data(&barge, "used")).unwrap();
            let own = |name: &str| name.starts_with('f');
            let there = files.filter(|it| own(&it.as_ref().unwrap().file_name().to_string_lossy()));
            assert_eq!(there.count(), FILES, "{story}");
        }
    }
    // Whoever comes next does all of it, and clears away what the others have left: also who was killed
    // between the two steps by which a file takes the name of another one.
    fs::write(data(&barge, "used").join(".barge-new-0"), "part").unwrap();
    barge.run(["volume", "create", "new"]).ok();
    barge.run(["volume", "import", "new", &archive]).ok();
    assert_eq!(count(&data(&barge, "new")), FILES);
    barge.run(["cp", &tree, "c:/d"]).ok();
    assert_eq!(count(&data(&barge, "used")), FILES);
    barge.run(["rm", "c"]).ok();
    barge.run(["volume", "prune", "-a", "-f"]).ok();
    assert_eq!(fs::read_dir(barge.root().join("tmp")).unwrap().count(), 0);
    barge.leaves_nothing();
}

/// Tells whether somebody keeps a volume from being removed.
fn is_busy(barge: &Barge, name: &str) -> bool {
    let mark = fs::File::open(barge.root().join("volumes").join(name).join("busy")).unwrap();
    flock(&mark, FlockOperation::NonBlockingLockExclusive).is_err()
}

#[test]
fn nobody_waits_for_who_writes_an_archive() {
    let barge = Barge::with_busybox();
    let bytes = Tar::new().file("f", 0o644, "text\n").bytes();
    barge.run(["volume", "create", "new"]).ok();
    barge.shell(&["-v", "used:/d"], "echo own > /d/own").ok();
    let busy = "is being exported or imported: volume is being used";
    let mut imports = Vec::new();
    for name in ["new", "used"] {
        let mut running = barge.command(["volume", "import", name]).open_input().spawn();
        running.send(&bytes[..600]);
        wait_until("it is at work", || is_busy(&barge, name));
        barge.run(["volume", "rm", name]).exits(2).error_has(busy);
        imports.push((name, running));
    }
    barge.run(["volume", "rm", "-f", "new"]).exits(2).error_has(busy).hint_has("has ended");
    barge.run(["volume", "prune", "-a", "-f"]).ok().stdout("Total reclaimed space: 0B\n");
    barge.shell(&["-v", "used:/d"], "cat /d/own").ok().stdout("own\n");
    barge.run(["volume", "export", "-o", "/dev/null", "new"]).ok();
    for (_, running) in &mut imports {
        running.send(&bytes[600..]);
        running.close_input();
    }
    for (name, running) in imports {
        running.wait().ok();
        barge.shell(&["-v", &format!("{name}:/d")], "cat /d/f").ok().stdout("text\n");
    }
    // A container that comes to use one meanwhile has what it has.
    barge.run(["volume", "create", "late"]).ok();
    let mut running = barge.command(["volume", "import", "late"]).open_input().spawn();
    running.send(&bytes[..600]);
    let drafts = barge.root().join("tmp");
    wait_until("it has begun", || count(&drafts) > 0);
    barge.shell(&["-v", "late:/d"], "ls /d").ok().stdout("");
    running.send(&bytes[600..]);
    running.close_input();
    running.wait().fails(125).error_has("somebody else has come to use volume late");
    barge.run(["volume", "rm", "-a"]).ok();
    barge.leaves_nothing();
}

/// Runs a script with a store that is a file system of 24 MB of its own, where `b` is barge and `fill`
/// leaves so many KB of it.
fn on_small_disk(barge: &Barge, script: &str) -> String {
    let disk = barge.path("disk");
    fs::create_dir(&disk).unwrap();
    let disk = disk.display();
    let program = barge.program().display();
    let begin = format!(
        "set -e; mount -t tmpfs -o size=24m none '{disk}'; \
         b() {{ '{program}' --root '{disk}/s' --runroot '{disk}/r' \"$@\"; }}; \
         fill() {{ dd if=/dev/zero bs=1k count=$(($(df -k '{disk}' | awk 'END {{print $4}}') - $1)) >> '{disk}/full' 2>/dev/null; }}; \
         empty() {{ find '{disk}/s/tmp' -mindepth 1; }}; data() {{ echo '{disk}/s/volumes/'$1/_data; }}; "
    );
    let line = ["--mount", "--propagation=private", "sh", "-c", &(begin + script)];
    let output = barge.other_command("unshare", line).run();
    assert_eq!(output.status, 0, "{}", output.story());
    let errors = output.errors();
    assert!(errors.to_lowercase().contains("no space left on device"), "{}", output.story());
    output.text()
}

#[test]
fn a_full_disk_leaves_no_half_volume() {
    if !needs(&[Need::Root]) {
        return;
    }
    let barge = Barge::new();
    let large = |size: usize| vec![7; size << 20];
    let archive = barge
        .file("a.tar", Tar::new().file("first", 0o644, "x").file("large", 0o644, large(6)).bytes());
    let base = super::support::fixture::busybox_tar();
    let mut image = base[..base.len() - 1024].to_vec();
    image.extend(Tar::new().directory("data/", 0o755).file("data/large", 0o644, large(6)).bytes());
    let image = barge.file("image.tar", image);
    let copied = barge.file("copied", large(6));
    let script = format!(
        "b import -q --change 'VOLUME /data' '{image}' i >/dev/null; b volume create v; \
         b create -q --network=none --image-volume=ignore --name c -v u:/u i true >/dev/null; \
         echo full; fill 3000; \
         ! b volume import v '{archive}'; find $(data v) -mindepth 1; empty; \
         ! b run --rm --network=none -v w:/data i true; find $(data w) -mindepth 1; empty; \
         ! b cp '{copied}' c:/u/x; find $(data u) -mindepth 1; \
         fill 0; ! b volume create x; b volume ls -q; empty; \
         echo free; rm '{disk}/full'; b cp '{copied}' c:/u/x; b rm c; \
         b volume import v '{archive}'; ls $(data v); b volume rm v; \
         b run --rm --network=none -v w:/data i stat -c %s /data/large; b volume prune -af",
        disk = barge.path_text("disk")
    );
    let text = on_small_disk(&barge, &script);
    let want = [
        "v",
        "full",
        "u",
        "v",
        "w",
        "free",
        "c",
        "first",
        "large",
        "v",
        "6291456",
        "Deleted Volumes:",
        "u",
        "w",
    ];
    let mut lines: Vec<&str> = text.lines().collect();
    assert!(lines.pop().is_some_and(|line| line.starts_with("Total reclaimed space: 12.")));
    assert_eq!(lines, want);
}
