//! Images, volumes and containers that want a mount to end somewhere else: below the kernel's own
//! files, or outside of the container.

use std::fs;
use std::os::unix::fs::symlink;

use super::support::layout::Tar;
use super::support::{Barge, is_root};

const SECRET: &str = "of the machine";

/// Makes an image of busybox and of what `add` puts in.
fn image(barge: &Barge, name: &str, add: impl FnOnce(Tar) -> Tar) {
    let busybox = fs::read("/bin/busybox").unwrap();
    let tar = Tar::new().directory("bin/", 0o755).file("bin/busybox", 0o755, busybox);
    let tar = ["sh", "cat", "ls", "mkdir", "ln", "mv", "sleep", "touch", "wc"]
        .iter()
        .fold(tar, |tar, tool| tar.symlink(&format!("bin/{tool}"), "busybox"));
    let file = barge.file(&format!("{name}.tar"), add(tar).bytes());
    barge.run(["import", &file, name]).ok();
}

/// What shows whether the kernel's secrets can be read or its settings be written.
const PROBE: &str = "PATH=/bin; for f in /proc/kcore /proc/keys /p/kcore /p/keys; do \
     [ -n \"$(head -c 1 $f 2>/dev/null)\" ] && echo readable $f; done; \
     for d in /proc /p; do for f in sysrq-trigger sys/kernel/hostname; do [ -e $d/$f ] && \
     (echo x > $d/$f) 2>/dev/null && echo written $d/$f; done; done; \
     [ -z \"$(ls -A /sys/firmware 2>/dev/null)\" ] || echo firmware; \
     (mkdir /sys/fs/cgroup/x || mkdir /sys/fs/cgroup/memory/x) 2>/dev/null && echo cgroup; true";

#[test]
fn links_in_place_of_the_kernel_s_files_lead_nowhere() {
    let barge = Barge::new();
    image(&barge, "proc-link", |tar| tar.directory("p/", 0o755).symlink("proc", "p"));
    image(&barge, "sys-link", |tar| tar.directory("s/", 0o755).symlink("sys", "s"));
    image(&barge, "proc-up", |tar| tar.symlink("proc", "../../../../../../../proc"));
    // A file that would be masked is a link to one that would not.
    image(&barge, "dev-null", |tar| {
        tar.directory("dev/", 0o755).symlink("dev/null", "/proc/sysrq-trigger")
    });
    for name in ["proc-link", "sys-link", "proc-up", "dev-null"] {
        // It is refused, or as tight as any; on the network of the host, no setting is asked for.
        for network in ["--network=none", "--network=host"] {
            let line = ["run", "--rm", network, name, "/bin/sh", "-c", PROBE];
            let output = barge.run(line);
            assert_eq!(output.text(), "", "{name}: {}", output.story());
        }
    }
    assert!(barge.containers().is_empty());
}

#[test]
fn a_volume_makes_no_way_to_the_kernel_s_files() {
    let barge = Barge::new();
    image(&barge, "plain", |tar| tar.symlink("proc", "/vol/proc"));
    // The volume has the directory that the image's link leads to, and a link of its own in it.
    let line = ["run", "--rm", "--network=none", "-v", "vol:/vol", "plain", "/bin/sh", "-c"];
    let prepare = "PATH=/bin; mkdir -p /vol/real; ln -s real /vol/p; true";
    drop(barge.run(line.iter().chain(&[prepare])));
    for _ in 0..2 {
        let output = barge.run(line.iter().chain(&[PROBE]));
        assert_eq!(output.text(), "", "{}", output.story());
    }
    barge.run(["rm", "-f", "-t", "0", "-a"]).ok();
    barge.run(["volume", "prune", "-a", "-f"]).ok();
}

#[test]
fn links_that_change_as_it_mounts_lead_nowhere() {
    let barge = Barge::with_busybox();
    let outside = barge.path_text("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(barge.path("outside/file"), SECRET).unwrap();
    fs::create_dir(barge.path("dir")).unwrap();
    // Somebody else who has the volume swaps a directory for a link to outside, and back.
    let script = format!(
        "mkdir -p /v/a/real; ln -s {outside} /v/out; touch /v/ready; \
         while :; do mv -T /v/a /v/b; mv -T /v/out /v/a; mv -T /v/a /v/out; mv -T /v/b /v/a; done"
    );
    barge.start(["--name=evil", "-v", "shared:/v", "busybox", "sh", "-c", &script]);
    let data = barge.root().join("volumes/shared/_data");
    super::support::wait_until("it swaps", || data.join("ready").exists());
    let nested = format!("{}:/v/a/real", barge.path_text("dir"));
    for _ in 0..30 {
        let part = "type=volume,src=shared,dst=/p,volume-subpath=a";
        let look = "cat /p/file 2>/dev/null; true";
        let output = barge.shell(&["--mount", part], look);
        assert!(!output.text().contains(SECRET), "{}", output.story());
        let output = barge.shell(&["-v", "shared:/v", "-v", &nested], "true");
        assert!(matches!(output.status, 0 | 125 | 126), "{}", output.story());
    }
    barge.run(["rm", "-f", "-t", "0", "evil"]).ok();
    // Nothing was made outside, whatever was mounted where.
    let names: Vec<_> = fs::read_dir(&outside).unwrap().map(|it| it.unwrap().file_name()).collect();
    assert_eq!(names, ["file"]);
    barge.run(["volume", "rm", "shared"]).ok();
}

#[test]
fn sources_of_a_build_are_in_its_own_files() {
    let barge = Barge::with_busybox();
    let outside = barge.path_text("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(barge.path("outside/file"), SECRET).unwrap();
    fs::create_dir_all(barge.path("context/below")).unwrap();
    symlink(&outside, barge.path("context/out")).unwrap();
    symlink("../../outside", barge.path("context/below/up")).unwrap();
    let show = "sh -c 'cat /x/file /x /x/outside/file 2>/dev/null; true'";
    for (index, mount) in [
        "type=bind,source=out,target=/x".to_owned(),
        "type=bind,source=below/up,target=/x".to_owned(),
        "type=bind,source=../outside,target=/x".to_owned(),
        format!("type=bind,source={outside},target=/x"),
        format!("type=bind,from=evil,source={outside},target=/x"),
        "type=bind,from=evil,source=/link,target=/x".to_owned(),
        "type=bind,from=evil,source=/link/file,target=/x".to_owned(),
        "type=cache,id=../../../../outside,target=/x".to_owned(),
        "type=cache,from=evil,source=/link,target=/x".to_owned(),
        "type=cache,source=../../../../outside,target=/x".to_owned(),
    ]
    .iter()
    .enumerate()
    {
        let file = format!(
            "FROM busybox AS evil\nRUN ln -s {outside} /link\nFROM busybox\nRUN --mount={mount} {show}\n"
        );
        let file = barge.file(&format!("Dockerfile.{index}"), file);
        let line = ["build", "--no-cache", "--network=none", "-f", &file];
        let output = barge.run(line.iter().copied().chain([&*barge.path_text("context")]));
        // Refused, or something else that has the name.
        let story = output.story();
        let said: String = story.lines().filter(|line| !line.contains("RUN")).collect();
        assert!(!said.contains(SECRET), "{mount}: {story}");
    }
    assert_eq!(fs::read_to_string(barge.path("outside/file")).unwrap(), SECRET);
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    barge.run(["builder", "prune", "-a", "-f"]).ok();
}

#[test]
fn a_mount_that_fails_leaves_nothing() {
    let barge = Barge::with_busybox();
    fs::create_dir(barge.path("dir")).unwrap();
    let dir = barge.path_text("dir");
    let file = barge.file("file", "");
    let before = barge.files();
    let good = format!("{dir}:/good");
    // The last one fails, when all others are in place.
    let bad = format!("{file}:/home");
    for users in [&[][..], &["--uidmap=0:1:100", "--gidmap=0:1:100"]] {
        let mut line = vec!["run", "--rm", "--network=none", "-v", &good, "--tmpfs=/t"];
        line.extend(users);
        line.extend(["-v", "/anonymous", "-v", &bad, "busybox", "true"]);
        barge.run(line).fails(125);
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&dir), "{mounts}");
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
    barge.has_files(&before, "a container that could not be made has left something");
    assert!(barge.run(["volume", "ls", "-q"]).ok().text().is_empty());
    if is_root() {
        barge.leaves_nothing();
    }
}
