//! `build --userns`: commands whose users are others than ours, and what they leave.

use std::fs;

use super::build::{context, printed};
use super::support::{Barge, is_root};

const FILE: &str = "FROM busybox AS other\nCOPY --chown=7:8 top /of-7\n\
    FROM busybox\nCOPY --chown=5:6 top /copied\n\
    RUN head -n1 /proc/self/uid_map | awk '{print $1, $2 == 0 ? \"same\" : \"other\", $3}'; stat -c %u:%g /copied /bin\n\
    RUN echo x >>/copied; touch /own /given; chown 1000:50 /given; mkdir -m 2770 /d; chown 33:33 /d; ln /given /d/link; \
        ln -s given /soft; chown -h 5:5 /soft\n\
    RUN --mount=type=secret,id=s,target=/s,uid=1000,mode=0400 --mount=type=cache,target=/c,uid=1000,gid=3 \
        --mount=type=tmpfs,target=/t --mount=target=/ctx,rw --mount=from=other,target=/o \
        stat -c '%n %u:%g' /s /c /t /ctx/top /o/of-7 /o/bin; touch /t/x /ctx/x; chown 9:9 /c; cp -p /o/of-7 /kept\n\
    USER 1000:1000\nRUN id -u; id -g; cat /proc/self/setgroups; touch /tmp/mine\n";

/// What the commands see, in whatever namespace.
const SEEN: [&str; 11] = [
    "5:6",
    "0:0",
    "/s 1000:0",
    "/c 1000:3",
    "/t 0:0",
    "/ctx/top 0:0",
    "/o/of-7 7:8",
    "/o/bin 0:0",
    "1000",
    "1000",
    "allow",
];

/// Flags, and whether root is somebody else then.
fn flags() -> Vec<(Vec<&'static str>, bool)> {
    let mut all = vec![
        (vec!["--userns=private"], false),
        (vec!["--userns=container"], false),
        (vec!["--userns=auto:size=2000"], true),
        (vec!["--userns=auto"], true),
    ];
    if is_root() {
        all.push((vec!["--userns-uid-map=0:100000:65536"], true));
        all.push((
            vec!["--userns-uid-map=0:100000:1,1:200000:2000", "--userns-gid-map=0:7:3000"],
            true,
        ));
    } else {
        all.push((vec!["--userns=keep-id:uid=3000"], true));
        all.push((vec!["--userns=nomap"], true));
        all.push((vec!["--userns-uid-map=0:1:2000"], true));
    }
    all
}

#[test]
fn build_has_users_of_its_own() {
    let barge = Barge::with_busybox();
    let dir = context(&barge, &[("Dockerfile", FILE), ("top", "t\n")]);
    let secret = format!("id=s,src={}", barge.file("secret", "s3cr3t"));
    let build = |flags: &[&str]| {
        barge.run(["builder", "prune", "-af"]).ok();
        let begin = ["build", "--network=none", "--timestamp=0", "-t", "x", "--secret", &secret];
        let lines = barge.run(begin.iter().chain(flags).chain([&dir.as_str()])).ok().lines();
        printed(&lines)
    };
    let layers = || barge.inspect("x", "{{json .RootFS.Layers}}");
    build(&[]);
    let want = layers();
    for (flags, is_other) in flags() {
        let seen = build(&flags);
        assert_eq!(seen[0].contains("other"), is_other, "{flags:?}: {seen:?}");
        assert_eq!(seen[1..], SEEN, "{flags:?}");
        // The same owners, byte for byte.
        assert_eq!(layers(), want, "{flags:?}");
    }
    // Ranges are free again.
    let ranges = fs::read_dir(barge.root().join("userns"));
    assert_eq!(ranges.map_or(0, Iterator::count), 0);
    // It runs, as what it is.
    barge
        .run(["run", "--rm", "--network=none", "x", "stat", "-c", "%u:%g", "/given", "/kept"])
        .ok()
        .stdout("1000:50\n7:8\n");
    barge.leaves_nothing();
}

#[test]
fn build_refuses_users_that_cannot_be() {
    let barge = Barge::with_busybox();
    let dir = context(&barge, &[("Dockerfile", "FROM busybox\nRUN true\n")]);
    for (flags, text) in [
        (&["--userns=container:box"][..], "cannot be in the user namespace of a container"),
        (&["--userns=ns:/proc/self/ns/user"], "cannot be in the user namespace at a path"),
        (&["--userns=/proc/self/ns/user"], "cannot be in the user namespace at a path"),
        (&["--userns=host", "--userns-uid-map=0:1:1"], "cannot be set together"),
        (&["--userns=auto", "--userns-gid-map=0:1:1"], "cannot be set together"),
        (&["--userns=auto:size=4000000000"], "there are no 4000000000 IDs left"),
    ] {
        let line = [&["build", "--network=none"], flags, &[dir.as_str()]].concat();
        barge.run(line).fails(125).error_has(text);
    }
    // A user that is not mapped has no files.
    let file = "FROM busybox\nRUN --mount=type=secret,id=s,uid=70000 true\n";
    let dir = context(&barge, &[("Dockerfile", file)]);
    let secret = format!("id=s,src={}", barge.file("secret", "s3cr3t"));
    let line = ["build", "--network=none", "--secret", &secret, "--userns=auto:size=2000", &dir];
    barge.run(line).exits(125).stderr_has("has no user 70000");
}
