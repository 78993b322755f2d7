//! Users of containers that are not the machine's: user namespaces, and who owns which files in them.

use std::fs;
use std::os::unix::fs::MetadataExt;

use super::support::needs::user;
use super::support::{Barge, Need, is_root, needs, wait_until};

/// How files of the image are owned in it: by root, by the user, and by the group `extra`.
const LOOK: &str = "stat -c '%u:%g %n' /bin/busybox /etc/passwd /mine /tmp; stat -c %a /mine";

/// An image with files of several owners, one of them set-user-ID.
fn image(barge: &Barge) {
    let script = "echo x > /mine; chown 1000:2000 /mine; chmod 4751 /mine";
    let id = barge.start(["--name", "maker", "busybox", "sh", "-c", script]);
    barge.run(["wait", &id]).ok();
    let upper = barge.root().join("containers").join(&id).join("upper");
    let tar = barge.path_text("image.tar");
    let pack = format!(
        "mkdir -p {0}/tree && tar -C {0}/tree -xf {1} && cp -a {2}/mine {0}/tree/ && tar -C {0}/tree -cf {tar} .",
        barge.path_text(""),
        super::support::fixture::busybox().display(),
        upper.display()
    );
    if is_root() {
        barge.other_command("sh", ["-ec", &pack]).run().ok();
    } else {
        barge
            .other_command(
                "unshare",
                ["--user", "--map-auto", "--map-root-user", "sh", "-ec", &pack],
            )
            .run()
            .ok();
    }
    barge.run(["rm", "maker"]).ok();
    barge.run(["import", &tar, "owned"]).ok();
}

fn shell(barge: &Barge, flags: &[&str], script: &str) -> super::support::Output {
    let mut line = vec!["run", "--rm", "--network", "none"];
    line.extend(flags);
    line.extend(["owned", "sh", "-c", script]);
    barge.run(line)
}

const OWNERS: [&str; 5] =
    ["0:0 /bin/busybox", "0:0 /etc/passwd", "1000:2000 /mine", "0:0 /tmp", "4751"];

/// The modes that can be had here, with what the first ID of a mapping stands for.
fn modes() -> Vec<Vec<&'static str>> {
    match is_root() {
        true => vec![
            vec!["--uidmap", "0:200000:70000"],
            vec!["--uidmap", "0:200000:70000", "--gidmap", "0:300000:70000"],
            vec!["--userns", "auto"],
            vec!["--userns", "keep-id"],
        ],
        false => vec![
            vec!["--uidmap", "0:1:5000"],
            vec!["--userns", "keep-id", "-u", "0"],
            vec!["--userns", "nomap"],
            vec!["--userns", "auto"],
            vec!["--uidmap", "+1000:0:1", "-u", "0"],
        ],
    }
}

#[test]
fn files_belong_to_who_they_belong_to_in_the_image() {
    let barge = Barge::with_busybox();
    image(&barge);
    assert_eq!(shell(&barge, &[], LOOK).ok().lines(), OWNERS);
    for flags in modes() {
        let output = shell(&barge, &flags, LOOK).ok();
        assert_eq!(output.lines(), OWNERS, "{flags:?}");
        let script = "id -u; echo new > /new && chown 1000:2000 /new && stat -c %u:%g /new; \
                      echo more >> /mine && rm /bin/bad-format && mv /mine /moved && stat -c %u:%g /moved; \
                      mkdir /tmp/d; touch /tmp/d/f; rm -r /tmp/d; mkdir /tmp/d; ls /tmp/d; \
                      echo out > /dev/stdout; echo x > /dev/null; cat /etc/hosts > /dev/null; \
                      echo 1.2.3.4 other >> /etc/hosts && hostname > /run/name && stat -c %u /run/name /etc/hosts";
        let lines = shell(&barge, &flags, script).ok().lines();
        assert_eq!(lines, ["0", "1000:2000", "1000:2000", "out", "0", "0"], "{flags:?}");
    }
    // The layers on the disk are as they were.
    assert_eq!(shell(&barge, &[], LOOK).ok().lines(), OWNERS);
}

#[test]
fn namespaces_belong_to_the_users() {
    let barge = Barge::with_busybox();
    let own = fs::read_link("/proc/self/ns/user").unwrap().to_string_lossy().into_owned();
    for flags in modes() {
        let script = "readlink /proc/self/ns/user; grep -c . /proc/self/uid_map; hostname x && hostname; \
                      ls -d /sys/class /proc/sys; echo 1234 > /proc/sys/net/ipv4/ip_unprivileged_port_start 2>&1";
        let output = barge
            .shell(
                &[&flags[..], &["--security-opt", "unmask=/proc/sys", "--cap-add", "ALL"]].concat(),
                script,
            )
            .exits(0);
        assert_ne!(output.lines()[0], own, "{flags:?}");
        assert!(output.text().contains("\nx\n/proc/sys\n/sys/class"), "{}", output.text());
    }
    assert_eq!(
        barge.shell(&["--userns", "host"], "readlink /proc/self/ns/user").ok().text() == own,
        is_root()
    );
}

#[test]
fn exec_enters_the_users() {
    let barge = Barge::with_busybox();
    for flags in modes() {
        let mut line = flags.clone();
        line.extend(["--name", "box", "busybox", "sleep", "1000"]);
        barge.start(line);
        let script = "id -u; cat /proc/self/uid_map | wc -l; readlink /proc/self/ns/user; readlink /proc/1/ns/user; touch /x && stat -c %u /x";
        let lines = barge.run(["exec", "-u", "0", "box", "sh", "-c", script]).ok().lines();
        assert_eq!((lines[0].as_str(), lines[4].as_str()), ("0", "0"), "{flags:?}");
        assert_eq!(lines[2], lines[3], "{flags:?}");
        barge.run(["exec", "-u", "app", "box", "id", "-u"]).ok().stdout("1000\n");
        barge.run(["restart", "-t", "0", "box"]).ok();
        barge.run(["exec", "-u", "0", "box", "stat", "-c", "%u", "/x"]).ok().stdout("0\n");
        barge.run(["rm", "-f", "-t", "0", "box"]).ok();
    }
}

#[test]
fn mappings_are_as_asked_for() {
    let barge = Barge::with_busybox();
    let map = |flags: &[&str], file: &str| {
        let script = format!("cat /proc/self/{file}");
        let text = barge.shell(flags, &script).ok().text();
        let lines: Vec<String> = text
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(":"))
            .collect();
        lines.join(" ")
    };
    if is_root() {
        let two = ["--uidmap", "0:200000:1000", "--uidmap", "5000:5000:1"];
        assert_eq!(map(&two, "uid_map"), "0:200000:1000 5000:5000:1");
        assert_eq!(map(&two, "gid_map"), "0:200000:1000 5000:5000:1");
        assert_eq!(map(&["--gidmap", "0:7:9000"], "uid_map"), "0:7:9000");
        return;
    }
    let (uid, _) = (nix::unistd::geteuid().as_raw(), 0);
    let subuids = fs::read_to_string("/etc/subuid").unwrap();
    let first: u32 = subuids
        .lines()
        .find_map(|line| line.strip_prefix("barge-test:")?.split(':').next()?.parse().ok())
        .unwrap_or(0);
    if first == 0 {
        return;
    }
    // What the kernel shows is what the IDs are in the namespace above.
    assert_eq!(map(&["--uidmap", "0:1:5000"], "uid_map"), "0:1:5000");
    // The user's own ID and the others are two ranges there, which the kernel maps one by one.
    assert_eq!(map(&["--uidmap", "0:0:5000"], "uid_map"), "0:0:1 1:1:4999");
    assert!(map(&["--userns", "private"], "gid_map").starts_with("0:0:1 1:1:"));
    let plus = map(&["--uidmap", "+5:100:1"], "uid_map");
    assert!(plus.starts_with("0:0:1 1:1:4 5:100:1 6:5:95 101:101:"), "{plus}");
    let host = format!("0:@{first}:10");
    let whole = ["--uidmap", &host, "--uidmap", "10:100:5000"];
    assert_eq!(map(&whole, "uid_map"), "0:1:10 10:100:5000");
    let keep = map(&["--userns", "keep-id", "--user", "0"], "uid_map");
    assert!(keep.contains(&format!("{uid}:0:1")), "{keep}");
    barge
        .shell(&["--uidmap", "0:1:999999"], "true")
        .fails(125)
        .error_has("asks for IDs that are not there");
    barge.shell(&["--uidmap", "0:@5:1"], "true").fails(125).error_has("not yours to map");
}

#[test]
fn keep_id_keeps_the_caller() {
    if !needs(&[Need::NoRoot]) {
        return;
    }
    let barge = Barge::with_busybox();
    fs::create_dir(barge.path("data")).unwrap();
    let volume = format!("{}:/data", barge.path_text("data"));
    let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    let script = "id -u; id -g; touch /data/f; stat -c %u:%g /data/f";
    barge
        .shell(&["--userns", "keep-id", "-v", &volume], script)
        .ok()
        .stdout(&format!("{uid}\n{gid}\n{uid}:{gid}\n"));
    let found = fs::metadata(barge.path("data/f")).unwrap();
    assert_eq!((found.uid(), found.gid()), (uid, gid));
    barge
        .shell(&["--userns", "keep-id:uid=55,gid=66", "-v", &volume], script)
        .ok()
        .stdout("55\n66\n55:66\n");
    // With nomap the caller is nobody, and his files nobody's.
    barge.shell(&["--userns", "nomap", "-v", &volume], "stat -c %u /data/f").ok().stdout("65534\n");
}

#[test]
fn files_on_the_host_belong_to_who_is_mapped() {
    if !needs(&[Need::Root]) {
        return;
    }
    let barge = Barge::with_busybox();
    fs::create_dir(barge.path("data")).unwrap();
    std::os::unix::fs::chown(barge.path("data"), Some(200_005), Some(200_006)).unwrap();
    let volume = format!("{}:/data", barge.path_text("data"));
    let script = "stat -c %u:%g /data; touch /data/f";
    barge.shell(&["--uidmap", "0:200000:1000", "-v", &volume], script).ok().stdout("5:6\n");
    assert_eq!(fs::metadata(barge.path("data/f")).unwrap().uid(), 200_000);
    // What a container changes is on the disk as it would be in an image.
    let id = barge.start([
        "--uidmap",
        "0:200000:70000",
        "busybox",
        "sh",
        "-c",
        "touch /a && chown 5:6 /a",
    ]);
    barge.run(["wait", &id]).ok();
    let found = fs::metadata(barge.root().join("containers").join(&id).join("upper/a")).unwrap();
    assert_eq!((found.uid(), found.gid()), (5, 6));
}

#[test]
fn what_is_packed_has_the_owners_of_the_image() {
    let barge = Barge::with_busybox();
    let script = "echo x > /a && chown 5:6 /a && sleep 1000";
    let tar = barge.path_text("box.tar");
    for mut line in modes() {
        line.extend(["--name", "box", "busybox", "sh", "-c", script]);
        let shown = line.join(" ");
        barge.start(line);
        wait_until("it made its file", || {
            barge.run(["exec", "box", "stat", "-c", "%u", "/a"]).text() == "5"
        });
        for state in ["running", "stopped"] {
            barge.run(["export", "-o", &tar, "box"]).ok();
            let list = barge
                .other_command("tar", ["--numeric-owner", "-tvf", &tar, "a", "bin/busybox"])
                .run()
                .ok()
                .text();
            assert!(list.contains(" 5/6 ") && list.contains(" 0/0 "), "{shown}, {state}: {list}");
            barge.run(["diff", "box"]).ok().stdout("A /a\n");
            barge.run(["commit", "-q", "box", "image"]).ok();
            let run = ["run", "--rm", "--network", "none", "image", "stat", "-c", "%u:%g", "/a"];
            barge.run(run).ok().stdout("5:6\n");
            barge.run(["stop", "-t", "0", "box"]).ok();
        }
        barge.run(["rm", "box"]).ok();
    }
}

#[test]
fn automatic_ranges_do_not_overlap() {
    let barge = Barge::with_busybox();
    let start = |name: &str| {
        barge.start(["--name", name, "--userns", "auto:size=2000", "busybox", "sleep", "1000"]);
        let map = barge.run(["exec", name, "cat", "/proc/self/uid_map"]).ok().text();
        let numbers: Vec<u64> =
            map.split_whitespace().map(|number| number.parse().unwrap()).collect();
        assert_eq!((numbers[0], numbers[2]), (0, 2000), "{map}");
        numbers[1]
    };
    let (a, b) = (start("a"), start("b"));
    assert!(a.abs_diff(b) >= 2000, "{a} {b}");
    barge.run(["rm", "-f", "-t", "0", "a"]).ok();
    assert_eq!(start("c"), a);
    barge
        .shell(&["--userns", "auto:size=4000000000"], "true")
        .fails(125)
        .error_has("there are no 4000000000 IDs left");
}

#[test]
fn users_of_another_container_are_joined() {
    let barge = Barge::with_busybox();
    image(&barge);
    let flags = &modes()[0];
    let mut line = flags.clone();
    line.extend(["--name", "donor", "busybox", "sleep", "1000"]);
    barge.start(line);
    let donor = ["exec", "donor", "readlink", "/proc/self/ns/user"];
    let want = barge.run(donor).ok().text();
    let mode = ["--userns=container:donor", "--pid=container:donor", "--ipc=container:donor"];
    assert_eq!(shell(&barge, &mode, "readlink /proc/self/ns/user").ok().text(), want);
    assert_eq!(shell(&barge, &mode, LOOK).ok().lines(), OWNERS);
}

#[test]
fn modes_that_cannot_be_are_refused() {
    let barge = Barge::with_busybox();
    let mut table = vec![
        (vec!["--userns", "bogus"], "unrecognized namespace mode `bogus`"),
        (vec!["--userns", "keep-id", "--uidmap", "0:1:1"], "cannot be set together"),
        (vec!["--uidmap", "0:1:10", "--uidmap", "5:50:1"], "overlap"),
        (vec!["--uidmap", "zero:1"], "invalid ID mapping `zero:1`"),
        (vec!["--subuidname", "nobody-has-this"], "cannot find mappings for `nobody-has-this`"),
        (vec!["--userns", "ns:/proc/self/ns/user"], "not supported"),
    ];
    if is_root() {
        table.push((vec!["--userns", "nomap"], "nomap is only supported in rootless mode"));
        table.push((vec!["--userns", "private"], "must provide at least one UID or GID mapping"));
    }
    for (flags, want) in table {
        barge.shell(&flags, "true").fails(125).error_has(want);
    }
    assert!(barge.containers().is_empty());
}

#[test]
fn a_single_id_is_kept_too() {
    if !needs(&[Need::Root, Need::User("barge-nosub")]) {
        return;
    }
    let (uid, gid) = user("barge-nosub").unwrap();
    let barge = Barge::of_user("barge-nosub");
    let tar = fs::read(super::support::fixture::busybox()).unwrap();
    barge.command(["import", "-", "busybox"]).input(tar).run().exits(0);
    let run = |flags: &[&str], script: &str| {
        let mut line = vec!["run", "--rm", "--network", "none"];
        line.extend(flags);
        line.extend(["busybox", "sh", "-c", script]);
        barge.run(line)
    };
    run(&["--userns", "keep-id"], "id -u; id -g; touch /x && stat -c %u /x")
        .exits(0)
        .stdout(&format!("{uid}\n{gid}\n{uid}\n"));
    run(&["--userns", "nomap"], "true").exits(125).stderr_has("needs subordinate IDs");
}
