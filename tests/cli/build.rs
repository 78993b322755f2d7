//! `build`: Dockerfiles and what becomes of them.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use rustix::process::Signal;

use super::support::barge::is_full_id;
use super::support::{Barge, wait_until};

/// Writes a context, anew.
pub(super) fn context(barge: &Barge, files: &[(&str, &str)]) -> String {
    let dir = barge.path("ctx");
    drop(fs::remove_dir_all(&dir));
    fs::create_dir(&dir).unwrap();
    for (name, content) in files {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        match content.split_once("->") {
            Some(("", target)) => symlink(target, path).unwrap(),
            _ => fs::write(path, content).unwrap(),
        }
    }
    barge.path_text("ctx")
}

/// What commands of a build have printed.
pub(super) fn printed(lines: &[String]) -> Vec<String> {
    let is_own = |line: &&String| {
        let text = line.as_str();
        let is_step = text.starts_with("STEP ") || text.contains("] STEP ");
        !is_step
            && !["--> ", "COMMIT", "Successfully tagged "].iter().any(|it| text.starts_with(it))
            && !is_full_id(text)
    };
    lines.iter().filter(is_own).cloned().collect()
}

/// A Dockerfile, a context, and what its commands print.
pub(super) struct Case {
    file: &'static str,
    files: &'static [(&'static str, &'static str)],
    args: &'static [&'static str],
    prints: &'static str,
}

const TREE: &[(&str, &str)] = &[
    ("top", "t\n"),
    ("a/one.txt", "1\n"),
    ("a/two.md", "2\n"),
    ("a/d/three.txt", "3\n"),
    ("b/four.txt", "4\n"),
    ("l", "->a/one.txt"),
    ("ld", "->a"),
    (".h", "h\n"),
];

pub(super) const fn case(file: &'static str, prints: &'static str) -> Case {
    Case { file, files: TREE, args: &[], prints }
}

pub(super) const fn with(
    file: &'static str,
    args: &'static [&'static str],
    prints: &'static str,
) -> Case {
    Case { file, files: TREE, args, prints }
}

pub(super) fn check(cases: &[Case]) {
    let barge = Barge::with_busybox();
    for Case { file, files, args, prints } in cases {
        let dir = context(&barge, files);
        fs::write(Path::new(&dir).join("Dockerfile"), file).unwrap();
        let line: Vec<&str> = ["build", "--network=none", "--no-cache", "-t", "x"]
            .into_iter()
            .chain(args.iter().copied())
            .chain([dir.as_str()])
            .collect();
        let output = barge.run(&line).ok();
        let want: Vec<&str> = prints.lines().collect();
        assert_eq!(printed(&output.lines()), want, "{file}");
    }
}

#[test]
fn build_copies_files() {
    check(&[
        case("FROM busybox\nCOPY top /x\nRUN cat /x; stat -c '%a %u:%g' /x", "t\n644 0:0"),
        case("FROM busybox\nCOPY top /x/\nRUN cat /x/top", "t"),
        case("FROM busybox\nCOPY top /p/q/x\nRUN cat /p/q/x", "t"),
        case("FROM busybox\nCOPY top /etc\nRUN cat /etc/top", "t"),
        case(
            "FROM busybox\nCOPY a /x\nRUN find /x | sort",
            "/x\n/x/d\n/x/d/three.txt\n/x/one.txt\n/x/two.md",
        ),
        case("FROM busybox\nCOPY a b /x/\nRUN ls /x", "d\nfour.txt\none.txt\ntwo.md"),
        case("FROM busybox\nCOPY a/*.txt /x/\nRUN ls /x", "one.txt"),
        case("FROM busybox\nCOPY */d/*.txt /x/\nRUN ls /x", "three.txt"),
        case("FROM busybox\nCOPY [ab]/*.txt /x/\nRUN ls /x", "four.txt\none.txt"),
        case("FROM busybox\nCOPY [^a]/* /x/\nRUN ls /x", "four.txt"),
        case("FROM busybox\nCOPY no* top /x/\nRUN ls /x", "top"),
        case("FROM busybox\nCOPY .h /x/\nRUN ls -A /x", ".h"),
        case("FROM busybox\nCOPY ../top /x\nCOPY a/../top /y\nRUN cat /x /y", "t\nt"),
        case("FROM busybox\nCOPY l /x\nRUN test ! -L /x && cat /x", "1"),
        case("FROM busybox\nCOPY ld /x\nRUN ls /x", "d\none.txt\ntwo.md"),
        case("FROM busybox\nCOPY ld/one.txt /x\nRUN cat /x", "1"),
        case("FROM busybox\nCOPY . /x/\nRUN readlink /x/l; readlink /x/ld", "a/one.txt\na"),
        case("FROM busybox\nCOPY [\"top\", \"/a b/\"]\nRUN cat '/a b/top'", "t"),
        case("FROM busybox\nCOPY --chmod=700 top /x\nRUN stat -c %a /x", "700"),
        case("FROM busybox\nCOPY --chmod=u+x,go-r top /x\nRUN stat -c %a /x", "700"),
        case(
            "FROM busybox\nCOPY --chown=7:8 a /x\nRUN stat -c %u:%g /x /x/d /x/d/three.txt",
            "7:8\n7:8\n7:8",
        ),
        case("FROM busybox\nCOPY --chown=app top /x\nRUN stat -c %u:%g /x", "1000:1000"),
        case("FROM busybox\nCOPY --chown=app:extra top /x\nRUN stat -c %u:%g /x", "1000:2000"),
        case("FROM busybox\nUSER app\nCOPY top /x\nRUN stat -c %u:%g /x", "0:0"),
        case(
            "FROM busybox\nCOPY --parents a/d/three.txt b/./four.txt /x/\nRUN find /x -type f | sort",
            "/x/a/d/three.txt\n/x/four.txt",
        ),
        case("FROM busybox\nCOPY --exclude=*.md --exclude=d a /x\nRUN ls /x", "one.txt"),
        case("FROM busybox\nWORKDIR /w\nCOPY top .\nCOPY top y\nRUN ls /w", "top\ny"),
        case(
            "FROM busybox\nRUN ln -s /etc /e; ln -s ../../../../tmp /out\nCOPY top /e/\nCOPY top /out/x\nRUN cat /etc/top /tmp/x",
            "t\nt",
        ),
        case("FROM busybox\nCOPY top /x\nCOPY a/one.txt /x\nRUN cat /x", "1"),
        case("FROM busybox\nENV S=a D=/x\nCOPY ${S} $D\nRUN ls /x", "d\none.txt\ntwo.md"),
        case(
            "FROM scratch AS s\nCOPY a /x\nFROM busybox\nCOPY --from=s / /y\nRUN find /y | sort",
            "/y\n/y/x\n/y/x/d\n/y/x/d/three.txt\n/y/x/one.txt\n/y/x/two.md",
        ),
        case(
            "FROM busybox AS s\nRUN mkdir -p /d/s; echo f >/d/f; ln /d/f /d/h; mkfifo /d/p; chown -R 3:4 /d; chmod 750 /d/s\nFROM busybox\nCOPY --from=s /d /d\nCOPY --from=0 --chown=5:6 /d/f /e\nRUN stat -c '%n %a %u:%g %h' /d/f /d/s /d/p /e",
            "/d/f 644 3:4 2\n/d/s 750 3:4 2\n/d/p 644 3:4 1\n/e 644 5:6 1",
        ),
        case(
            "FROM busybox AS s\nRUN rm /etc/group\nFROM busybox\nCOPY --from=s /etc /e\nRUN ls /e",
            "passwd",
        ),
    ]);
}

#[test]
fn build_leaves_out_what_is_ignored() {
    for (patterns, want) in [
        ("a\n", "/x/b/four.txt\n/x/top"),
        ("*\n!a/d\n", "/x/a/d/three.txt"),
        ("**/*.txt\n", "/x/a/two.md\n/x/top"),
        ("a\n!a/two.md\n", "/x/a/two.md\n/x/b/four.txt\n/x/top"),
        ("# a\n\n/b/\n", "/x/a/d/three.txt\n/x/a/one.txt\n/x/a/two.md\n/x/top"),
    ] {
        let barge = Barge::with_busybox();
        let dir = context(&barge, TREE);
        let file =
            "FROM busybox\nCOPY . /x/\nRUN find /x -type f ! -name 'Docker*' ! -name '.*' | sort";
        fs::write(barge.path("ctx/Dockerfile"), file).unwrap();
        let build = |args: &[&str]| {
            let line: Vec<&str> = ["build", "--network=none", "--no-cache"]
                .into_iter()
                .chain(args.iter().copied())
                .chain([dir.as_str()])
                .collect();
            printed(&barge.run(line).ok().lines())
        };
        let want: Vec<&str> = want.lines().collect();
        fs::write(barge.path("ctx/.dockerignore"), "nothing").unwrap();
        fs::write(barge.path("ctx/Dockerfile.dockerignore"), patterns).unwrap();
        assert_eq!(build(&["-f", &format!("{dir}/Dockerfile")]), want, "{patterns}");
        fs::rename(barge.path("ctx/Dockerfile.dockerignore"), barge.path("ctx/.containerignore"))
            .unwrap();
        assert_eq!(build(&[]), want, "{patterns}");
        fs::rename(barge.path("ctx/.containerignore"), barge.path("ignore")).unwrap();
        let file = barge.path_text("ignore");
        assert_eq!(build(&["--ignorefile", &file]), want, "{patterns}");
        fs::rename(barge.path("ignore"), barge.path("ctx/.dockerignore")).unwrap();
        assert_eq!(build(&[]), want, "{patterns}");
        fs::write(barge.path("ctx/Dockerfile"), "FROM busybox\nCOPY nosuch /x/").unwrap();
        barge.run(["build", &dir]).exits(125).stderr_has("/nosuch is not there");
    }
}

#[test]
fn build_sets_variables() {
    check(&[
        case("FROM busybox\nENV A=1 B=$A C=${N:-d}\nRUN echo $A-$B-$C", "1--d"),
        case("FROM busybox\nENV A='x y'\nENV B=\"$A z\"\nRUN echo \"$B\"", "x y z"),
        case("ARG I=busybox\nFROM $I\nRUN echo \"[$I]\"", "[]"),
        case("ARG V=1\nFROM busybox\nARG V\nRUN echo $V", "1"),
        with(
            "ARG V=1\nFROM busybox\nARG V\nARG W=w\nRUN echo $V $W",
            &["--build-arg", "V=2"],
            "2 w",
        ),
        case("FROM busybox\nARG V=1\nENV V=2\nRUN echo $V", "2"),
        case("FROM busybox AS a\nARG V=1\nFROM busybox\nRUN echo \"[$V]\"", "[]"),
        case("FROM busybox\nARG TARGETOS\nRUN echo $TARGETOS", "linux"),
        with("FROM busybox\nRUN echo $http_proxy", &["--build-arg", "http_proxy=p"], "p"),
        case(
            "FROM busybox\nUSER app\nRUN echo $HOME; id -u\nENV HOME=/x\nRUN echo $HOME",
            "/home\n1000\n/x",
        ),
        case("FROM busybox\nWORKDIR /a\nWORKDIR ${N}b/../c\nRUN pwd", "/a/c"),
        case("FROM busybox\nUSER app\nWORKDIR /w\nRUN stat -c %u:%g /w", "1000:1000"),
        case("FROM busybox\nSHELL [\"/bin/sh\", \"-ec\"]\nRUN echo $-", "ce"),
    ]);
}

#[test]
fn build_runs_commands_as_containers() {
    check(&[
        case("FROM busybox\nRUN [\"echo\", \"a  b\"]", "a  b"),
        case("FROM busybox\nRUN cat; echo end", "end"),
        case("FROM busybox\nRUN <<E\nX=1\necho $X\nE", "1"),
        case("FROM busybox\nRUN cat <<A - <<B\nx\nA\ny\nB", "y"),
        case("FROM busybox\nRUN <<E\n#!/bin/cat\nscript\nE", "#!/bin/cat\nscript"),
        case(
            "FROM busybox\nENV V=v\nCOPY <<E <<\"F\" /d/\n$V\nE\n$V\nF\nRUN cat /d/E /d/F",
            "v\n$V",
        ),
        case(
            "FROM busybox\nRUN rm -r /usr /home; echo f >/home\nRUN ls -d /usr /home 2>/dev/null || true",
            "/home",
        ),
        case(
            "FROM busybox\nRUN --mount=type=tmpfs,target=/t/u touch /t/u/x\nRUN ls -d /t 2>&1 || echo gone",
            "ls: /t: No such file or directory\ngone",
        ),
        case(
            "FROM busybox\nRUN --mount=type=cache,target=/c echo x >/c/f\nRUN --mount=type=cache,target=/c cat /c/f",
            "x",
        ),
        case(
            "FROM busybox\nRUN --mount=type=cache,id=m,target=/c,mode=0700,uid=5 stat -c '%a %u' /c",
            "700 5",
        ),
        case(
            "FROM busybox\nRUN --mount=target=/m cat /m/top; touch /m/x 2>/dev/null || echo ro",
            "t\nro",
        ),
        case("FROM busybox\nRUN --mount=target=/m,rw touch /m/new && ls /m/new", "/m/new"),
        case(
            "FROM busybox AS s\nRUN echo s >/s\nFROM busybox\nRUN --mount=from=s,source=/s,target=/m cat /m\nRUN --mount=from=s,target=/m,rw touch /m/n && ls /m/n",
            "s\n/m/n",
        ),
        case("FROM busybox\nRUN --mount=from=busybox,source=/etc,target=/m ls /m", "group\npasswd"),
        with(
            "FROM busybox\nRUN grep x.test /etc/hosts",
            &["--add-host", "x.test:10.1.2.3"],
            "10.1.2.3\tx.test",
        ),
        with("FROM busybox\nRUN ulimit -n", &["--ulimit", "nofile=123:456"], "123"),
        case(
            "FROM busybox\nRUN echo x >/etc/resolv.conf; ls /.dockerenv /run/.containerenv 2>/dev/null; true",
            "/run/.containerenv",
        ),
    ]);
}

#[test]
fn build_makes_nothing_of_stages_that_nobody_needs() {
    check(&[
        case("FROM busybox AS bad\nRUN false\nFROM busybox\nRUN echo ok", "ok"),
        with("FROM busybox AS one\nRUN echo 1\nFROM busybox\nRUN false", &["--target", "ONE"], "1"),
        with(
            "FROM busybox AS s\nRUN false\nFROM busybox\nCOPY --from=s /top /x\nRUN cat /x",
            &["--build-context", "s=../ctx"],
            "t",
        ),
    ]);
}

#[test]
fn build_unpacks_archives() {
    let barge = Barge::with_busybox();
    let dir = context(&barge, &[("d/f", "in tar\n"), ("d/.wh.x", "")]);
    fs::write(barge.path("plain"), "no archive").unwrap();
    let tar = |flag: &str, name: &str| {
        let from = barge.path_text("ctx");
        let to = barge.path_text(name);
        super::support::tool(
            "tar",
            [flag, &to, "-C", &from, "--owner=3", "--group=4", "--exclude=.wh.x", "d"],
        );
        fs::copy(&to, barge.path("ctx").join(name)).unwrap();
    };
    tar("-cf", "t.bin");
    tar("-czf", "t.gz");
    tar("-cJf", "t.xz");
    fs::copy(barge.path("plain"), barge.path("ctx/plain.tar")).unwrap();
    let file = "FROM busybox\nRUN ln -s /etc /d2; mkdir /x /d; touch /d/old\n\
        ADD t.bin /x/\nADD t.gz /y\nADD --chown=7:8 t.xz /z/\nADD plain.tar /p/\nADD d /q\nADD t.bin /\nADD --unpack=false t.gz /n/\n\
        RUN cat /x/d/f; stat -c '%n %u:%g' /x/d/f /y/d/f /z/d/f /p/plain.tar /q/f /n/t.gz; ls /d";
    fs::write(barge.path("ctx/Dockerfile"), file).unwrap();
    let output = barge.run(["build", "--network=none", &dir]).ok();
    let want = "in tar\n/x/d/f 3:4\n/y/d/f 3:4\n/z/d/f 7:8\n/p/plain.tar 0:0\n/q/f 0:0\n/n/t.gz 0:0\nf\nold";
    assert_eq!(printed(&output.lines()).join("\n"), want);
}

#[test]
fn build_makes_the_configuration() {
    let barge = Barge::with_busybox();
    let dir = context(&barge, &[]);
    let file = "FROM busybox\nENV A=1\nLABEL a=b c=\"d e\"\nEXPOSE 80 53/UDP 90-91\nVOLUME /v\nUSER app\n\
        WORKDIR /w\nENTRYPOINT [\"e\"]\nCMD c d\nSTOPSIGNAL INT\nHEALTHCHECK --interval=5s CMD x\n\
        SHELL [\"/bin/ash\",\"-c\"]\nONBUILD RUN echo trigger\nMAINTAINER me\n";
    fs::write(barge.path("ctx/Dockerfile"), file).unwrap();
    barge.run(["build", "-q", "-t", "x", "--label", "a=z", &dir]).ok();
    for (field, want) in [
        ("Config.Cmd", r#"["/bin/sh","-c","c d"]"#),
        ("Config.Entrypoint", r#"["e"]"#),
        ("Config.ExposedPorts", r#"{"53/udp":{},"80/tcp":{},"90/tcp":{},"91/tcp":{}}"#),
        ("Config.Healthcheck", r#"{"Test":["CMD-SHELL","x"],"Interval":5000000000}"#),
        ("Config.Labels", r#"{"a":"z","c":"d e"}"#),
        ("Config.OnBuild", r#"["RUN echo trigger"]"#),
        ("Config.StopSignal", r#""INT""#),
        ("Config.User", r#""app""#),
        ("Config.Volumes", r#"{"/v":{}}"#),
        ("Config.WorkingDir", r#""/w""#),
        ("Author", r#""me""#),
    ] {
        assert_eq!(barge.inspect("x", &format!("{{{{json .{field}}}}}")), want, "{field}");
    }
    fs::write(barge.path("ctx/Dockerfile"), "FROM x\nENTRYPOINT [\"f\"]\nUSER root\n").unwrap();
    let output = barge.run(["build", "-t", "y", &dir]).ok();
    assert_eq!(printed(&output.lines()), ["trigger"]);
    assert_eq!(barge.inspect("y", "{{json .Config.Cmd}} {{json .Config.OnBuild}}"), "[] []");
    let history =
        barge.run(["history", "--no-trunc", "--format", "{{.CreatedBy}}", "x"]).ok().text();
    assert!(history.contains("WORKDIR /w"), "{history}");
    // From nothing.
    fs::write(barge.path("ctx/Dockerfile"), "FROM scratch\nLABEL a=b\n").unwrap();
    let id = barge.run(["build", "-q", &dir]).ok().text();
    assert!(is_full_id(&id), "{id}");
}

#[test]
fn build_asks_its_cache() {
    let barge = Barge::with_busybox();
    let build = |file: &str, files: &[(&str, &str)], args: &[&str]| {
        let dir = context(&barge, files);
        fs::write(barge.path("ctx/Dockerfile"), file).unwrap();
        let line: Vec<&str> = ["build", "--network=none", "-t", "x"]
            .into_iter()
            .chain(args.iter().copied())
            .chain([dir.as_str()])
            .collect();
        let lines = barge.run(line).ok().lines();
        let cached = lines.iter().filter(|line| line.starts_with("--> Using cache ")).count();
        (cached, lines.last().unwrap().clone())
    };
    let file = "FROM busybox\nCOPY f /f\nRUN head -c9 /dev/urandom >/r\n";
    let (cached, id) = build(file, &[("f", "1")], &[]);
    assert_eq!(cached, 0);
    // The time of the file is another one now; that counts for nothing.
    assert_eq!(build(file, &[("f", "1")], &[]), (2, id.clone()));
    assert_eq!(build(&format!("# x\n{file}"), &[("f", "1"), ("g", "")], &[]), (2, id.clone()));
    assert_eq!(
        build(
            &format!(
                "FROM busybox\nCMD [\"x\"]\nCOPY f /f\n{}",
                &file[file.find("RUN").unwrap()..]
            ),
            &[("f", "1")],
            &[]
        )
        .0,
        2
    );
    assert_eq!(build(file, &[("f", "2")], &[]).0, 0);
    assert_eq!(build(file, &[("f", "1")], &["--build-arg", "http_proxy=x"]), (2, id.clone()));
    let changed = |file: &str, args: &[&str], want| {
        assert_eq!(build(file, &[("f", "1")], args).0, want, "{file} {args:?}");
    };
    changed("FROM busybox\nCOPY f /f\nENV A=1\nRUN head -c9 /dev/urandom >/r\n", &[], 1);
    changed("FROM busybox\nCOPY f /f\nUSER app\nRUN true\n", &[], 1);
    changed("FROM busybox\nCOPY --chmod=700 f /f\n", &[], 0);
    changed("FROM busybox\nARG V\nRUN echo $V\n", &["--build-arg", "V=1"], 0);
    changed("FROM busybox\nARG V\nRUN echo $V\n", &["--build-arg", "V=1"], 1);
    changed("FROM busybox\nARG V\nRUN echo $V\n", &["--build-arg", "V=2"], 0);
    changed("FROM busybox\nRUN --mount=source=f,target=/m cat /m\n", &[], 0);
    changed("FROM busybox\nRUN --mount=source=f,target=/m cat /m\n", &[], 1);
    assert_eq!(
        build("FROM busybox\nRUN --mount=source=f,target=/m cat /m\n", &[("f", "3")], &[]).0,
        0
    );
    let (cached, other) = build(file, &[("f", "1")], &["--no-cache"]);
    assert!(cached == 0 && other != id);
    // The stage is made anew, and what is taken from it is the same.
    let stages = |text: &str| {
        format!(
            "FROM busybox AS a\nRUN echo {text}; echo const >/o\nFROM busybox\nCOPY --from=a /o /o\nRUN date\n"
        )
    };
    build(&stages("1"), &[], &[]);
    assert_eq!(build(&stages("2"), &[], &[]).0, 2);
    assert_eq!(build(&stages("2"), &[], &["--no-cache-filter", "a"]).0, 2);
    // What was removed is made again.
    barge.run(["rmi", "-f", "-a"]).ok();
    barge.import_busybox();
    assert_eq!(build(file, &[("f", "1")], &[]).0, 2);
}

#[test]
fn build_says_why() {
    let barge = Barge::with_busybox();
    let dir = context(&barge, &[("f", "1")]);
    fs::write(barge.path("ctx/Dockerfile"), "FROM busybox\nCOPY f /f\nRUN true\n").unwrap();
    let why = || {
        let lines = barge.run(["build", "--network=none", "--why", &dir]).ok().lines();
        let said = lines.into_iter().filter(|line| line.contains("cached: "));
        said.collect::<Vec<_>>()
    };
    assert_eq!(why(), ["--> not cached: no such step was built before"; 2]);
    assert_eq!(why(), ["--> cached: nothing that it depends on has changed"; 2]);
    fs::write(barge.path("ctx/f"), "2").unwrap();
    assert_eq!(
        why(),
        [
            "--> not cached: other than before: content",
            "--> not cached: other than before: layers below"
        ]
    );
}

#[test]
fn build_takes_all_kinds_of_contexts() {
    let barge = Barge::with_busybox();
    let dir = context(
        &barge,
        &[
            ("f", "ctx\n"),
            ("Containerfile", "FROM busybox\nCOPY f /f\nRUN cat /f\n"),
            ("Dockerfile", "no"),
        ],
    );
    let file = fs::read(barge.path("ctx/Containerfile")).unwrap();
    let said = |line: &[&str], input: Vec<u8>| {
        printed(&barge.command(line).input(input).run().ok().lines())
    };
    assert_eq!(said(&["build", "--network=none", &dir], Vec::new()), ["ctx"]);
    assert_eq!(said(&["build", "--network=none", "--no-cache", "-f", "-", &dir], file), ["ctx"]);
    let text = "FROM busybox\nRUN echo no context\n";
    assert_eq!(said(&["build", "--network=none", "-"], text.into()), ["no context"]);
    fs::remove_file(barge.path("ctx/Dockerfile")).unwrap();
    let tar = barge.path_text("c.tar.gz");
    super::support::tool("tar", ["-czf", &tar, "-C", &dir, "."]);
    assert_eq!(
        said(&["build", "--network=none", "--no-cache", "-"], fs::read(&tar).unwrap()),
        ["ctx"]
    );
    let none = barge.command(["build", "-"]).input(b"FROM busybox\nCOPY f /f\n".to_vec()).run();
    none.exits(125).stderr_has("there is no build context");
    barge.run(["build", "/no/such"]).exits(125).stderr_has("/no/such");
    fs::remove_file(barge.path("ctx/Containerfile")).unwrap();
    barge.run(["build", &dir]).exits(125).stderr(&format!(
        "Error: no Containerfile or Dockerfile specified or found in context directory, {dir}: no such file or directory\n"
    ));
    // A link leads to nothing outside.
    symlink("/etc/passwd", barge.path("ctx/out")).unwrap();
    fs::write(barge.path("ctx/Dockerfile"), "FROM busybox\nCOPY out /x\n").unwrap();
    barge.run(["build", &dir]).exits(125).stderr_has("/out is not there");
}

#[test]
fn build_keeps_secrets() {
    let barge = Barge::with_busybox();
    let dir = context(&barge, &[]);
    let secret = barge.file("secret", "s3cr3t");
    let file = "FROM busybox\nRUN --mount=type=secret,id=a cat /run/secrets/a; stat -c ' %a' /run/secrets/a\n\
        RUN --mount=type=secret,id=a,env=A echo $A\nRUN --mount=type=secret,id=a,target=/t/x,mode=0444 cat /t/x; echo\n\
        RUN ls /run/secrets /t 2>/dev/null; test -z \"$A\"\nRUN --mount=type=secret,id=b ls /run/secrets/b 2>/dev/null || echo none\n";
    fs::write(barge.path("ctx/Dockerfile"), file).unwrap();
    let flag = format!("id=a,src={secret}");
    let output = barge.run(["build", "--network=none", "-t", "x", "--secret", &flag, &dir]).ok();
    assert_eq!(printed(&output.lines()), ["s3cr3t 400", "s3cr3t", "s3cr3t", "none"]);
    fs::write(
        barge.path("ctx/Dockerfile"),
        "FROM busybox\nRUN --mount=type=secret,id=b,required true\n",
    )
    .unwrap();
    barge.run(["build", &dir]).exits(125).stderr_has("secret b: not found");
    let has_it = |path: &&std::path::PathBuf| {
        fs::read(path).is_ok_and(|data| super::support::process::contains(&data, b"s3cr3t"))
    };
    let files = barge.files();
    assert_eq!(files.iter().filter(|it| it.starts_with(barge.root())).find(has_it), None);
}

#[test]
fn build_fails_well() {
    let barge = Barge::with_busybox();
    for (file, status, error) in [
        (
            "FROM busybox\nRUN exit 42\n",
            42,
            "building at STEP \"RUN exit 42\" (Dockerfile:2): while running runtime: exit status 42",
        ),
        ("FROM busybox\nRUN [\"nosuch\"]\n", 127, "nosuch"),
        (
            "FROM busybox\nRUNN x\n",
            125,
            "Dockerfile:2: unknown instruction: RUNN (did you mean RUN?)\n     2 | RUNN x",
        ),
        ("FROM busybox\nCOPY nosuch /x\n", 125, "/nosuch is not there"),
        ("FROM busybox\nCOPY --from=5 /a /b\n", 125, "no stage before this one is called `5`"),
        ("FROM $NOPE\n", 125, "should not be blank"),
        ("FROM busybox\nENV A=${N?required}\n", 125, "N: required"),
        ("FROM busybox\nUSER ghost\nRUN true\n", 126, "ghost"),
        ("FROM busybox\nRUN echo f >/f\nWORKDIR /f\n", 125, "not a directory"),
        ("FROM busybox\nCOPY Dockerfile /etc/passwd/x\n", 125, "not a directory"),
        (
            "FROM busybox AS a\nRUN exit 3\nFROM busybox AS b\nRUN sleep 1000\nFROM busybox\nCOPY --from=a / /\nCOPY --from=b / /\n",
            3,
            "RUN exit 3",
        ),
    ] {
        let dir = context(&barge, &[("Dockerfile", file)]);
        barge.run(["build", "--network=none", "-t", "x", &dir]).exits(status).stderr_has(error);
        barge.run(["image", "exists", "x"]).exits(1);
    }
    // What was made before a failure is there for the next build.
    let dir = context(&barge, &[("Dockerfile", "FROM busybox\nRUN echo first\nRUN false\n")]);
    barge.run(["build", "--network=none", &dir]).exits(1);
    let again = barge.run(["build", "--network=none", &dir]).exits(1);
    assert!(String::from_utf8_lossy(&again.stdout).contains("Using cache"));
    // Nothing of it is a container.
    barge.run(["ps", "-aq"]).ok().stdout("");
    let file = "FROM busybox\nCMD x\n";
    fs::write(barge.path("ctx/Dockerfile"), file).unwrap();
    barge.run(["build", "--check", &dir]).exits(1).stdout(
        "Dockerfile:2: JSONArgsRecommended: JSON arguments recommended for CMD to prevent unintended behavior related to OS signals\n",
    );
}

#[test]
fn build_ends_when_it_is_told_to() {
    let barge = Barge::with_busybox();
    barge.kills();
    let dir = context(&barge, &[("Dockerfile", "FROM busybox\nRUN echo up; sleep 1000\n")]);
    for signal in [Signal::INT, Signal::TERM, Signal::KILL] {
        let mut running = barge.command(["build", "--network=none", "-t", "x", &dir]).spawn();
        running.expect("up\n");
        running.signal(signal);
        let output = running.wait();
        assert!(output.story().contains("STEP 2/2"), "{}", output.story());
        let marks = || fs::read_dir(barge.runroot().join("containers")).unwrap().count();
        wait_until("nothing of it is left", || marks() == 0);
        barge.run(["image", "exists", "x"]).exits(1);
        barge.run(["ps", "-aq"]).ok().stdout("");
    }
    // Drafts of the one that was killed are cleared away by the next.
    fs::write(barge.path("ctx/Dockerfile"), "FROM busybox\nRUN true\n").unwrap();
    barge.run(["build", "--network=none", &dir]).ok();
    assert_eq!(fs::read_dir(barge.root().join("tmp")).unwrap().count(), 0);
}

#[test]
fn builds_are_the_same_everywhere() {
    let file = "FROM busybox AS a\nRUN mkdir /d; date >/d/now; touch -d @5 /d/then; touch /etc/x\nFROM scratch\nCOPY --from=a /d /d\nCOPY . /c/\nWORKDIR /w\nENV A=1\n";
    let of = |jobs: &str| {
        let barge = Barge::with_busybox();
        let files = [
            ("f", "1"),
            ("s/g", "2"),
            ("Dockerfile", &file.replace("date >/d/now", "echo now >/d/now")),
        ];
        let dir = context(&barge, &files);
        fs::set_permissions(barge.path("ctx/f"), fs::Permissions::from_mode(0o640)).unwrap();
        let line =
            ["build", "-q", "--network=none", "--timestamp", "1000000", "--jobs", jobs, &dir];
        barge.run(line).ok().text()
    };
    assert_eq!(of("1"), of("2"));
}

#[test]
fn build_squashes_layers() {
    let barge = Barge::with_busybox();
    let file = "FROM busybox\nRUN echo 1 >/a; mkdir /d; echo x >/d/x\nRUN rm /a /d/x /etc/group; echo 2 >/b\nRUN rm -r /home; mkdir /home; chmod 700 /home\n";
    let dir = context(&barge, &[("Dockerfile", file)]);
    let look = "ls -d /a /b /d/* /etc/* /home; stat -c %a /home";
    for (flag, layers) in [("--squash", 2), ("--squash-all", 1), ("--layers", 4)] {
        barge.run(["build", "-q", "--network=none", "-t", "x", flag, &dir]).ok();
        let count = barge.inspect("x", "{{json .RootFS.Layers}}").matches("sha256:").count();
        assert_eq!(count, layers, "{flag}");
        let line = ["run", "--rm", "--network=none", "x", "sh", "-c", look];
        let seen = barge.run(line).lines();
        for gone in ["/a", "/d/x", "/etc/group"] {
            assert!(!seen.iter().any(|line| line == gone), "{flag}: {seen:?}");
        }
        for there in ["/b", "/etc/passwd", "/home", "700"] {
            assert!(seen.iter().any(|line| line == there), "{flag}: {seen:?}");
        }
    }
}

#[test]
fn many_builds_at_once_do_not_disturb_each_other() {
    let barge = Barge::with_busybox();
    let dir = context(
        &barge,
        &[(
            "Dockerfile",
            "FROM busybox AS a\nRUN echo a >/a\nFROM busybox AS b\nRUN echo b >/b\nFROM busybox\nCOPY --from=a /a /\nCOPY --from=b /b /\nRUN cat /a /b\n",
        )],
    );
    let line = ["build", "-q", "--network=none", "--timestamp", "5", "-t", "x", &dir];
    let running: Vec<_> = (0..4).map(|_| barge.command(line).spawn()).collect();
    let ids: Vec<String> = running.into_iter().map(|it| it.wait().ok().text()).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    barge.run(["run", "--rm", "--network=none", "x", "cat", "/a", "/b"]).ok().stdout("a\nb\n");
}

#[test]
fn builder_prune_frees_what_no_image_has() {
    let barge = Barge::with_busybox();
    let file = "FROM busybox\nRUN --mount=type=cache,target=/c echo x >/c/f; echo one >/one\nRUN echo two >/two\n";
    let dir = context(&barge, &[("Dockerfile", file)]);
    let layers = || barge.layers().len();
    barge.run(["build", "-q", "--network=none", "-t", "x", &dir]).ok();
    assert_eq!(layers(), 3);
    let said = barge.run(["builder", "du"]).ok().text();
    assert!(said.contains("RUN echo two") && said.contains("Reclaimable: 2B"), "{said}");
    barge.run(["builder", "prune", "-f"]).ok().stdout("Total reclaimed space: 0B\n");
    barge.run(["rmi", "x"]).ok();
    assert_eq!(layers(), 3, "the next build finds them");
    let lines = barge.run(["buildx", "build", "--network=none", "-t", "x", &dir]).ok().lines();
    assert_eq!(lines.iter().filter(|line| line.contains("Using cache")).count(), 2);
    barge.run(["rmi", "x"]).ok();
    let lines = barge.run(["buildx", "prune", "-f"]).ok().lines();
    assert_eq!((lines.len(), layers()), (3, 1), "{lines:?}");
    assert!(barge.root().join("caches").exists());
    barge.run(["builder", "build", "-q", "--network=none", "-t", "x", &dir]).ok();
    barge.run(["builder", "prune", "-af"]).ok();
    assert!(!barge.root().join("caches").exists());
    assert_eq!(layers(), 3, "the image has them");
    barge
        .run(["run", "--rm", "--network=none", "x", "cat", "/one", "/two"])
        .ok()
        .stdout("one\ntwo\n");
}
