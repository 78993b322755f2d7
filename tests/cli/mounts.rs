//! What is mounted into a container: binds, tmpfs, the read-only root, what hides the kernel's secrets.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use super::support::{Barge, Need, is_root, needs, tool};

#[test]
fn volumes_bind_directories_and_files() {
    let barge = Barge::with_busybox();
    let directory = barge.path_text("data");
    fs::create_dir(&directory).unwrap();
    fs::write(barge.path("data/in"), "from the host\n").unwrap();
    let file = barge.file("file", "one file\n");
    let flags = ["-v", &format!("{directory}:/data"), "-v", &format!("{file}:/etc/file:ro")];
    barge
        .shell(&flags, "cat /data/in /etc/file; echo back > /data/out; echo x 2>/dev/null > /etc/file || echo no")
        .ok()
        .stdout("from the host\none file\nno\n");
    assert_eq!(fs::read_to_string(barge.path("data/out")).unwrap(), "back\n");
    // Files of the container's root belong to the caller.
    let owner = fs::metadata(barge.path("data/out")).unwrap().uid();
    assert_eq!(owner, nix::unistd::geteuid().as_raw());
}

#[test]
fn volumes_can_be_read_only() {
    let barge = Barge::with_busybox();
    fs::create_dir_all(barge.path("data/below")).unwrap();
    let volume = format!("{}:/data:ro", barge.path_text("data"));
    barge
        .shell(
            &["-v", &volume],
            "touch /data/x /data/below/y 2>&1 | grep -c 'Read-only file system'",
        )
        .ok()
        .stdout("2\n");
    assert!(!barge.path("data/x").exists());
}

#[test]
fn volumes_are_private_to_the_container() {
    let barge = Barge::with_busybox();
    fs::create_dir(barge.path("data")).unwrap();
    let volume = format!("{}:/data", barge.path_text("data"));
    barge
        .shell(
            &["--privileged", "-v", &volume],
            "mount -t tmpfs none /data && touch /data/inside && ls /data",
        )
        .ok()
        .stdout("inside\n");
    assert!(!barge.path("data/inside").exists());
}

#[test]
fn volumes_make_a_missing_directory_only_for_v() {
    let barge = Barge::with_busybox();
    let missing = barge.path_text("made");
    barge.shell(&["-v", &format!("{missing}:/data")], "ls -d /data").ok().stdout("/data\n");
    assert!(barge.path("made").is_dir());
    let missing = barge.path_text("nosuch");
    barge
        .shell(&["--mount", &format!("type=bind,source={missing},target=/data")], "true")
        .fails(125)
        .error_has(&missing)
        .error_has("no such file or directory");
    assert!(!barge.path("nosuch").exists());
    assert!(barge.containers().is_empty());
}

#[test]
fn mount_flags_bind_and_make_tmpfs() {
    let barge = Barge::with_busybox();
    fs::create_dir(barge.path("data")).unwrap();
    let bind = format!("type=bind,src={},dst=/data,readonly", barge.path_text("data"));
    let tmpfs = "type=tmpfs,destination=/scratch,tmpfs-size=1m,tmpfs-mode=0700";
    let script = "touch /data/x 2>/dev/null || echo ro; stat -c %a /scratch; df -m /scratch | tail -n 1 | awk '{print $2}'";
    barge.shell(&["--mount", &bind, "--mount", tmpfs], script).ok().stdout("ro\n700\n1\n");
}

#[test]
fn tmpfs_has_size_and_mode() {
    let barge = Barge::with_busybox();
    let script = "stat -c %a /scratch; grep ' /scratch ' /proc/mounts | cut -d' ' -f3; \
                  dd if=/dev/zero of=/scratch/x bs=1M count=2 2>&1 | grep -c 'No space'";
    barge.shell(&["--tmpfs", "/scratch:size=1m,mode=1770"], script).ok().stdout("1770\ntmpfs\n1\n");
    // By default, no program is run from there, and it is as open as the directory of the image.
    let options = |flag: &str, path: &str| {
        let script = format!("grep ' {path} ' /proc/mounts | cut -d' ' -f4; stat -c %a {path}");
        barge.shell(&["--tmpfs", flag], &script).ok().lines()
    };
    let usual = options("/new", "/new");
    assert!(usual[0].starts_with("rw,nosuid,nodev,noexec,relatime"), "{usual:?}");
    assert_eq!(usual[1], "1777");
    assert!(!options("/new:exec", "/new")[0].contains("noexec"));
    assert_eq!(options("/home", "/home")[1], "755");
    barge.shell(&["--tmpfs", "/etc"], "ls /etc/passwd").exits(1);
    barge.shell(&["--tmpfs", "/etc:tmpcopyup"], "head -c 4 /etc/passwd").ok().stdout("root");
    barge.shell(&["--mount", "type=tmpfs,dst=/etc,tmpcopyup"], "head -c 4 /etc/passwd").ok();
}

#[test]
fn sources_are_found_as_users_write_them() {
    let barge = Barge::with_busybox();
    fs::create_dir_all(barge.path("h/site")).unwrap();
    fs::write(barge.path("h/site/page"), "").unwrap();
    fs::create_dir(barge.path("a,b")).unwrap();
    fs::write(barge.path("a,b/comma"), "").unwrap();
    for (flag, value) in [
        ("-v", "~/site:/m".to_owned()),
        ("--mount", "type=bind,src=~/site,dst=/x/../m".to_owned()),
        ("--mount", format!("Type=bind,Source={},Target=/m", barge.path_text("h/site"))),
    ] {
        barge.shell(&[flag, &value], "ls /m").ok().stdout("page\n");
    }
    let quoted = format!("type=bind,\"src={}\",dst=/m", barge.path_text("a,b"));
    barge.shell(&["--mount", &quoted], "ls /m").ok().stdout("comma\n");
    let volume = "src=v,dst=/m,volume-opt=type=tmpfs,volume-opt=device=tmpfs,\"volume-opt=o=size=1m,mode=700\"";
    barge
        .shell(&["--mount", volume], "stat -c %a /m; df -m /m | awk 'END {print $2}'")
        .ok()
        .stdout("700\n1\n");
}

#[test]
fn what_is_mounted_below_only_reads_as_well() {
    if !needs(&[Need::Root]) {
        return;
    }
    let barge = Barge::with_busybox();
    let (dir, below) = (barge.path_text("dir"), barge.path_text("dir/below"));
    fs::create_dir_all(&below).unwrap();
    tool("mount", ["-t", "tmpfs", "below", &below]);
    let write = |flag: &str, value: String| {
        let output = barge.shell(&[flag, &value], "touch /m/below/x 2>/dev/null || echo ro");
        output.ok().text()
    };
    let got = [
        write("-v", format!("{dir}:/m:ro")),
        write("--mount", format!("type=bind,src={dir},dst=/m,ro")),
        write("--mount", format!("type=bind,src={dir},dst=/m,ro,bind-recursive=readonly")),
        write("--mount", format!("type=bind,src={dir},dst=/m,ro,bind-recursive=writable")),
    ];
    let own = format!("type=bind,src={dir},dst=/m,bind-recursive=disabled");
    let alone = barge.shell(&["--mount", &own], "grep -c ' /m/below ' /proc/mounts");
    tool("umount", [&below]);
    assert_eq!(got, ["ro", "ro", "ro", ""]);
    alone.exits(1).stdout("0\n");
}

#[test]
fn names_are_in_a_volume_for_all_of_etc() {
    let barge = Barge::with_busybox();
    fs::create_dir(barge.path("etc")).unwrap();
    let etc = barge.path_text("etc");
    let flags = ["--hostname=known", "-v", &format!("{etc}:/etc")];
    barge.shell(&flags, "cat /etc/hostname; ls -d /etc/hosts").ok().stdout("known\n/etc/hosts\n");
    // One that only reads is shown as it is.
    fs::write(barge.path("etc/hostname"), "of the machine\n").unwrap();
    let flags = ["--hostname=known", "-v", &format!("{etc}:/etc:ro")];
    barge.shell(&flags, "cat /etc/hostname").ok().stdout("of the machine\n");
}

#[test]
fn who_cannot_write_is_told_why() {
    let barge = Barge::with_busybox();
    let file = barge.file("file", "");
    let over = format!("type=bind,src={file},dst=/home");
    barge.shell(&["--mount", &over], "true").fails(125).hint_has("there is a directory");
    for inside in ["/proc/sys", "/home/../proc/self/attr"] {
        let mount = format!("{file}:{inside}");
        barge.shell(&["-v", &mount], "true").fails(125).error_has("inside /proc");
    }
    barge.shell(&["-v", &format!("{file}:/proc/uptime")], "cat /proc/uptime").ok().stdout("");
    if is_root() {
        return;
    }
    let strange = "/var/lib/dpkg belongs to a user or group that is not yours to map";
    barge.shell(&["-v", "/var/lib/dpkg:/d"], "true").exits(0).stderr_has(strange);
    let quiet = barge.shell(&["-v", "/var/lib/dpkg:/d:ro"], "true");
    assert_eq!(quiet.errors(), "", "{}", quiet.story());
    let given = barge.shell(&["-v", "/var/lib/dpkg:/d:U"], "true");
    given.fails(126).hint_has("not mapped here");
}

#[test]
fn volumes_report_what_makes_no_sense() {
    let barge = Barge::with_busybox();
    let here = barge.path_text("h");
    let table = [
        vec!["-v".to_owned(), format!("{here}:relative")],
        vec!["-v".to_owned(), format!("{here}:/a:nonsense")],
        vec!["-v".to_owned(), format!("{here}:/")],
        vec!["-v".to_owned(), String::new()],
        vec!["--tmpfs".to_owned(), "relative".to_owned()],
        vec!["--mount".to_owned(), "type=nosuch,dst=/a".to_owned()],
        vec!["--mount".to_owned(), format!("type=bind,src={here}")],
    ];
    for flags in table {
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        barge.shell(&flags, "true").fails(125);
    }
    barge
        .shell(&["-v", &format!("{here}:/data"), "--tmpfs", "/data"], "true")
        .fails(125)
        .error("/data: duplicate mount destination");
    assert!(barge.containers().is_empty());
}

#[test]
fn volume_targets_do_not_leave_the_container() {
    let barge = Barge::new();
    // The image's /data points out of it: the bind must land inside, or not at all.
    let outside = barge.path_text("outside");
    fs::create_dir(&outside).unwrap();
    let tar = super::support::layout::Tar::new()
        .directory("bin/", 0o755)
        .file("bin/busybox", 0o755, fs::read("/bin/busybox").unwrap())
        .symlink("data", &outside)
        .directory("tmp/", 0o1777)
        .symlink("up", "../../../../../../../../../../tmp")
        .bytes();
    let file = barge.file("links.tar", tar);
    barge.run(["import", &file, "links"]).ok();
    fs::create_dir(barge.path("data")).unwrap();
    fs::write(barge.path("data/seen"), "").unwrap();
    let volume = format!("{}:/data/here", barge.path_text("data"));
    let up = format!("{}:/up/barge-test-escape", barge.path_text("data"));
    let line = [
        "run",
        "--rm",
        "--network=none",
        "-v",
        &up,
        "links",
        "/bin/busybox",
        "ls",
        "/up/barge-test-escape",
    ];
    barge.run(line).ok().stdout("seen\n");
    // The other link leads to what is not in the container: it is made there.
    let line = [
        "run",
        "--rm",
        "--network=none",
        "-v",
        &volume,
        "links",
        "/bin/busybox",
        "ls",
        "/data/here",
    ];
    barge.run(line).ok().stdout("seen\n");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    assert!(!std::path::Path::new("/tmp/barge-test-escape").exists());
}

#[test]
fn read_only_root_keeps_scratch_places_writable() {
    let barge = Barge::with_busybox();
    let script = "touch /file 2>/dev/null || echo ro; for d in /tmp /run /dev /dev/shm /var/tmp; do touch $d/x || echo $d; done";
    barge.shell(&["--read-only"], script).ok().stdout("ro\n");
    barge
        .shell(&["--read-only", "--tmpfs", "/scratch"], "touch /scratch/x && echo rw")
        .ok()
        .stdout("rw\n");
}

#[test]
fn writes_stay_in_the_container() {
    let barge = Barge::with_busybox();
    barge.shell(&[], "echo changed > /etc/passwd; rm -r /home; touch /new; ls -d /home 2>/dev/null; cat /etc/passwd").exits(0).stdout("changed\n");
    barge
        .shell(&[], "head -c 4 /etc/passwd; ls -d /home /new 2>/dev/null")
        .exits(1)
        .stdout("root/home\n");
    // They survive a restart of the container.
    let id = barge
        .run([
            "create",
            "--network=none",
            "busybox",
            "sh",
            "-c",
            "echo x >> /count; wc -l < /count",
        ])
        .ok()
        .text();
    barge.run(["start", "-a", &id]).ok().stdout("1\n");
    barge.run(["start", "-a", &id]).ok().stdout("2\n");
}

#[test]
fn secrets_of_the_kernel_are_hidden() {
    let barge = Barge::with_busybox();
    let script = "for f in /proc/kcore /proc/keys /proc/timer_list /proc/sched_debug; do \
                    [ -e $f ] && [ -n \"$(head -c 1 $f 2>/dev/null)\" ] && echo readable $f; done; \
                  for d in /proc/acpi /proc/scsi /sys/firmware; do [ -d $d ] && ls -A $d; done; \
                  for f in /proc/sys/kernel/hostname /proc/sysrq-trigger /proc/irq/0/smp_affinity /proc/bus/x; do \
                    (echo 0 > $f) 2>/dev/null && echo writable $f; done; \
                  (mkdir /sys/fs/cgroup/x || mkdir /sys/fs/cgroup/memory/x) 2>/dev/null && echo cgroup; \
                  (echo 0 > /sys/kernel/profiling) 2>/dev/null && echo sys; true";
    barge.shell(&[], script).ok().stdout("");
}

#[test]
fn masks_can_be_lifted_and_added() {
    let barge = Barge::with_busybox();
    let script = "ls -A /sys/firmware | wc -l; cat /etc/group";
    let masked = ["--security-opt", "unmask=/sys/firmware", "--security-opt", "mask=/etc/group"];
    let count = fs::read_dir("/sys/firmware").unwrap().count();
    barge.shell(&masked, script).ok().stdout(&format!("{count}\n"));
}

#[test]
fn mounts_of_shared_volumes_are_seen_on_the_host() {
    if !needs(&[Need::Root]) {
        return;
    }
    let barge = Barge::with_busybox();
    let volume = barge.path_text("shared");
    fs::create_dir(&volume).unwrap();
    tool("mount", ["-t", "tmpfs", "volume", &volume]);
    tool("mount", ["--make-shared", &volume]);
    fs::create_dir(barge.path("shared/in")).unwrap();
    let script = "mount -t tmpfs inner /v/in && echo x > /v/in/file";
    let seen = |how: &str| {
        let volume = format!("{volume}:/v:{how}");
        barge.shell(&["--privileged", "-v", &volume], script).ok();
        let seen = barge.path("shared/in/file").exists();
        if seen {
            tool("umount", [&barge.path_text("shared/in")]);
        }
        seen
    };
    let all = ["shared", "rshared", "rslave", "rprivate"].map(seen);
    tool("umount", [&volume]);
    assert_eq!(all, [true, true, false, false]);
}

#[test]
fn nothing_is_mounted_on_the_host() {
    let barge = Barge::with_busybox();
    let id = barge.start(["busybox", "sleep", "1000"]);
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&*barge.directory().to_string_lossy()), "{mounts}");
    barge.run(["rm", "-f", "-t", "0", &id]).ok();
}

#[test]
fn the_root_of_the_container_is_a_mount_of_its_own() {
    let barge = Barge::with_busybox();
    let script = "awk '$5 == \"/\" {print NR, $9}' /proc/self/mountinfo; ls /proc/1/root/.. | grep -c busybox; \
                  cd ../../../..; ls | wc -l";
    let lines = barge.shell(&[], script).ok().lines();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(lines[0].starts_with("1 "), "{lines:?}");
}

#[test]
fn privileged_containers_see_the_devices() {
    if !is_root() {
        return;
    }
    let barge = Barge::with_busybox();
    let count = |flags: &[&str]| -> usize {
        barge.shell(flags, "find /dev -type b -o -type c | wc -l").ok().text().parse().unwrap()
    };
    assert!(count(&["--privileged"]) > count(&[]));
    fs::set_permissions(barge.path("h"), fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn a_pattern_mounts_all_that_it_names() {
    let barge = Barge::with_busybox();
    for name in ["one.so", "two.so", "three.txt"] {
        barge.file(name, name);
    }
    let pattern = barge.path_text("[ot]*.so");
    let mount = format!("type=glob,src={pattern},dst=/lib,ro=true");
    barge
        .shell(&["--mount", &mount], "cat /lib/*; echo; touch /lib/one.so")
        .exits(1)
        .stdout("one.sotwo.so\n")
        .stderr_has("Read-only file system");
    let none = format!("type=glob,src={},dst=/lib", barge.path_text("no*such"));
    barge.shell(&["--mount", &none], "true").fails(125).error_has("no file paths matching glob");
}

#[test]
fn ramfs_is_a_file_system_that_is_never_swapped() {
    let barge = Barge::with_busybox();
    let script = "grep -c ' /r ramfs rw,nosuid,nodev' /proc/mounts; stat -c %a /r; touch /r/x";
    barge.shell(&["--mount", "type=ramfs,dst=/r,mode=700"], script).ok().stdout("1\n700\n");
    let sized = ["--mount", "type=ramfs,dst=/r,tmpfs-size=1m"];
    barge.shell(&sized, "true").fails(125).error_has("invalid mount option");
}
