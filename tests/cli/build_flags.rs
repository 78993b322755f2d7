//! Flags of `build`: what commands get by them, and what becomes of the image.

use std::fs;

use super::build::{context, printed};
use super::support::{Barge, is_root};

/// Flags, a Dockerfile after `FROM busybox`, and what its commands print.
const COMMANDS: &[(&[&str], &str, &str)] = &[
    (&["--dns=10.9.8.7"], "RUN grep nameserver /etc/resolv.conf", "nameserver 10.9.8.7"),
    (
        &["--dns=10.9.8.7", "--dns-search=a.test", "--dns-option=ndots:3"],
        "RUN cat /etc/resolv.conf",
        "nameserver 10.9.8.7\nsearch a.test\noptions ndots:3",
    ),
    (&["--group-add=1234"], "USER app\nRUN id -G", "1000 1234 2000"),
    (&["--add-host=h.test:10.0.0.9"], "RUN grep h.test /etc/hosts", "10.0.0.9\th.test"),
    (&["--no-hosts"], "RUN ls /etc/hosts 2>/dev/null || echo none", "none"),
    (&["--shm-size=3m"], "RUN df -m /dev/shm | awk 'END {print $2}'", "3"),
    (&["--ulimit=nofile=77:88"], "RUN ulimit -n", "77"),
    (&["--cap-drop=ALL"], "RUN grep CapBnd /proc/self/status", "CapBnd:\t0000000000000000"),
    (
        &["--cap-drop=ALL", "--cap-add=CHOWN"],
        "RUN grep CapBnd /proc/self/status",
        "CapBnd:\t0000000000000001",
    ),
    (
        &["--security-opt=no-new-privileges"],
        "RUN grep NoNewPrivs /proc/self/status",
        "NoNewPrivs:\t1",
    ),
    (&["--pid=host"], "RUN test $$ = 1 || echo shared", "shared"),
    (&["--pid=private"], "RUN echo $$", "1"),
    (&["--isolation=oci"], "RUN echo $$", "1"),
    (&["--isolation=rootless"], "RUN echo $$", "1"),
    (&["--isolation=chroot"], "RUN echo $$", "1"),
    (&["--userns=host"], "RUN id -u", "0"),
    (
        &["--http-proxy=false", "--build-arg=http_proxy=http://p.test"],
        "RUN echo ${http_proxy:-none}",
        "none",
    ),
    (
        &["--http-proxy", "--build-arg=http_proxy=http://p.test"],
        "RUN echo ${http_proxy:-none}",
        "http://p.test",
    ),
    (&["--build-arg=https_proxy=http://p.test"], "RUN echo ${https_proxy:-none}", "http://p.test"),
    (&["--env=A=1"], "ENV A=2\nRUN echo $A", "2"),
    (&["--unsetenv=OF_IT"], "RUN echo ${OF_IT:-none} $MORE", "none more"),
    (&[], "RUN cat; echo end", "end"),
    (&["--stdin"], "RUN cat; echo end", "typed\nend"),
    (&["--stdin"], "RUN read -r a; echo $a\nRUN cat; echo rest", "typed\nrest"),
    (&["--invoke=echo unused"], "RUN echo ok", "ok"),
];

/// Has an image `busybox` with a variable, another one, and a label.
fn with_busybox() -> Barge {
    let barge = Barge::with_busybox();
    let file = "FROM busybox\nENV OF_IT=x MORE=more\nLABEL of.it=x more=y\n";
    let dir = context(&barge, &[("Dockerfile", file)]);
    barge.run(["build", "--network=none", "-t", "busybox", &dir]).ok();
    barge
}

fn line<'a>(flags: &[&'a str], dir: &'a str) -> Vec<&'a str> {
    let begin = ["build", "--network=none", "--no-cache", "-t", "x"];
    begin.into_iter().chain(flags.iter().copied()).chain([dir]).collect()
}

#[test]
fn build_gives_commands_what_flags_say() {
    let barge = with_busybox();
    for (flags, file, prints) in COMMANDS {
        let dir = context(&barge, &[("Dockerfile", &format!("FROM busybox\n{file}\n"))]);
        let output = barge.command(line(flags, &dir)).input("typed\n").run().ok();
        let want: Vec<&str> = prints.lines().collect();
        assert_eq!(printed(&output.lines()), want, "{flags:?} {file}");
    }
    let dir = context(&barge, &[("Dockerfile", "FROM busybox\nRUN ls /dev/fuse\n")]);
    barge.run(line(&[], &dir)).exits(1);
    if fs::metadata("/dev/fuse").is_ok() {
        barge.run(line(&["--device=/dev/fuse"], &dir)).ok().stdout_has("/dev/fuse\n");
    }
    let dir =
        context(&barge, &[("Dockerfile", "FROM busybox\nRUN cat /in/of-host; touch /in/new\n")]);
    fs::create_dir(barge.path("shared")).unwrap();
    barge.file("shared/of-host", "seen\n");
    let shared = format!("--volume={}:/in", barge.path_text("shared"));
    barge.run(line(&[&shared], &dir)).ok().stdout_has("seen\n");
    assert!(barge.path("shared/new").exists());
    barge.run(["run", "--rm", "--network=none", "x", "ls", "/in"]).exits(1);
    for flags in [&["--userns=nosuch"][..], &["--isolation=nosuch"], &["--invoke="]] {
        assert_ne!(barge.run(line(flags, &dir)).status, 0, "{flags:?}");
    }
    if is_root() {
        barge.leaves_nothing();
    }
}

#[test]
fn build_makes_of_the_image_what_flags_say() {
    let barge = with_busybox();
    let config = "{{json .Config.Env}} {{json .Config.Labels}} {{len .History}}";
    let file = "FROM busybox\nRUN echo x >/x\nENV B=b\n";
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    for (flags, env, labels, history) in [
        (&[][..], "OF_IT=x,MORE=more,B=b", r#"{"more":"y","of.it":"x"}"#, 5),
        (
            &["--env=C=c", "--env=MORE=z"],
            "OF_IT=x,MORE=z,B=b,C=c",
            r#"{"more":"y","of.it":"x"}"#,
            5,
        ),
        (&["--unsetenv=OF_IT", "--unsetenv=MORE"], "B=b", r#"{"more":"y","of.it":"x"}"#, 5),
        (&["--unsetlabel=of.it"], "OF_IT=x,MORE=more,B=b", r#"{"more":"y"}"#, 5),
        (&["--label=more=m"], "OF_IT=x,MORE=more,B=b", r#"{"more":"m","of.it":"x"}"#, 5),
        (&["--omit-history"], "OF_IT=x,MORE=more,B=b", r#"{"more":"y","of.it":"x"}"#, 0),
    ] {
        let dir = context(&barge, &[("Dockerfile", file)]);
        barge.run(line(flags, &dir)).ok();
        let seen = barge.inspect("x", config);
        let words: Vec<String> = env.split(',').map(|word| format!("\"{word}\"")).collect();
        for word in &words {
            assert!(seen.contains(word.as_str()), "{flags:?}: {word}: {seen}");
        }
        assert!(seen.contains(labels), "{flags:?}: {seen}");
        // Besides, there is the path, and the label of the history is the last word.
        let count = seen.split("] ").next().unwrap().split("\",\"").count();
        assert_eq!(count, words.len() + usize::from(seen.contains(path)), "{flags:?}: {seen}");
        let steps: usize = seen.rsplit(' ').next().unwrap().parse().unwrap();
        assert!(if history == 0 { steps == 0 } else { steps > 1 }, "{flags:?}: {seen}");
    }
    // Another image takes the place of the first one, which need not be there.
    let dir = context(&barge, &[("Dockerfile", "FROM nosuch.test/a AS a\nRUN echo $MORE\n")]);
    barge.run(line(&["--from=busybox"], &dir)).ok().stdout_has("more\n");
    // What is said of the progress goes to a file.
    let log = barge.path_text("log");
    let output = barge.run(line(&["--from=busybox", &format!("--logfile={log}")], &dir)).ok();
    assert!(!String::from_utf8_lossy(&output.stdout).contains("STEP"), "{}", output.story());
    let text = fs::read_to_string(&log).unwrap();
    assert!(text.contains("STEP 2/2: RUN echo $MORE\nmore\n"), "{text}");
    for (flags, want) in [
        (&["--arch=arm64"][..], "linux/arm64"),
        (&["--os=linux", "--arch=arm", "--variant=v7"], "linux/arm"),
        (&["--platform=linux/riscv64"], "linux/riscv64"),
    ] {
        let dir = context(&barge, &[("Dockerfile", "FROM scratch\nCOPY Dockerfile /\n")]);
        barge.run(line(flags, &dir)).ok();
        assert_eq!(barge.inspect("x", "{{.Os}}/{{.Architecture}}"), want, "{flags:?}");
    }
}

#[test]
fn build_lets_people_look_where_it_has_failed() {
    let barge = Barge::with_busybox();
    let secret = barge.file("secret", "s3cr3t");
    let file = "FROM busybox\nENV V=v\nWORKDIR /w\nRUN chown app .\nUSER app\n\
        RUN --mount=type=secret,id=s,uid=1000 --mount=target=/c --mount=type=tmpfs,target=/tmp \
        echo half >half; echo memory >/tmp/m; exit 7\n";
    let dir = context(&barge, &[("Dockerfile", file), ("top", "t\n")]);
    let secret = format!("id=s,src={secret}");
    let invoke = "echo $V $(pwd) $(id -u) $(cat half /tmp/m /c/top /run/secrets/s); exit 9";
    let begin = ["build", "--network=none", "--secret", &secret];
    let invoked = barge.run(begin.iter().chain(&["--invoke", invoke, &dir])).exits(7);
    let lines = invoked.lines();
    assert_eq!(
        lines.last().map(String::as_str),
        Some("v /w 1000 half memory t s3cr3t"),
        "{lines:?}"
    );
    // On a terminal, a shell; what is done there changes neither the result nor the next build.
    for flag in ["--shell-on-fail", "--invoke=on-error"] {
        let line = begin.iter().copied().chain(["--progress=plain", flag, &dir]);
        let mut terminal = barge.command(line).terminal();
        terminal.expect("the build ends when you leave it");
        terminal.send("echo is-$V-$(pwd)-$(cat half /tmp/m | tr '\\n' -)$(id -u); tty; exit 0\n");
        terminal.expect("is-v-/w-half-memory-1000");
        terminal.expect("/dev/pts/");
        terminal.exits(7);
    }
    barge.run(begin.iter().chain(&["--shell-on-fail", &dir])).fails(125).hint_has("--invoke");
    let output = barge.run(begin.iter().chain(&[&*dir])).exits(7);
    assert!(output.errors().contains("Hint: to look around there, build with --shell-on-fail"));
    // Where the shell itself is missing, the build fails as it would.
    let file = "FROM scratch\nCOPY top /\nRUN [\"/top\"]\n";
    let dir = context(&barge, &[("Dockerfile", file), ("top", "t\n")]);
    let output = barge.run(["build", "--network=none", "--invoke", "true", &dir]);
    assert_ne!(output.status, 0);
    barge.run(["ps", "-aq"]).ok().stdout("");
    barge.leaves_nothing();
}

#[test]
fn build_draws_its_progress_on_a_terminal() {
    let barge = Barge::with_busybox();
    let file = "FROM busybox AS a\nRUN echo loud; echo x >/x\nFROM busybox\nCOPY --from=a /x /x\nRUN echo bad; exit 4\n";
    let dir = context(&barge, &[("Dockerfile", file)]);
    let mut terminal = barge.command(["build", "--network=none", &dir]).terminal();
    terminal.expect("(5/5) FAILED");
    terminal.expect("=> [stage-1 2/3] COPY --from=a /x /x");
    terminal.expect("=> ERROR [stage-1 3/3] RUN echo bad; exit 4");
    terminal.expect(" > [stage-1 3/3] RUN echo bad; exit 4:");
    terminal.expect("bad");
    terminal.expect("exit status 4");
    terminal.exits(4);
    fs::write(barge.path("ctx/Dockerfile"), file.replace("exit 4", "exit 0")).unwrap();
    let mut terminal =
        barge.command(["build", "--network=none", "--progress=tty", "-t", "x", &dir]).terminal();
    terminal.expect("FINISHED");
    terminal.expect("=> CACHED [a 2/2] RUN echo loud");
    terminal.expect("Successfully tagged localhost/x:latest");
    terminal.exits(0);
    // Into a pipe it is as plain as any.
    let output = barge.run(["build", "--network=none", "--progress=tty", &dir]).ok();
    output.stdout_has("STEP 1/2: FROM busybox AS a").stdout_lacks("\x1b");
}

#[test]
fn build_says_what_can_be_asked_of_a_file() {
    let barge = Barge::new();
    let file = "# V is the version\nARG V=1\nFROM x:$V AS Base\n# app what runs\nFROM base AS app\n\
        RUN --mount=type=secret,id=s,required true\nARG U\n";
    let dir = context(&barge, &[("Dockerfile", file)]);
    let call = |words: &[&str]| barge.run(["build"].iter().chain(words).chain(&[&*dir]));
    call(&["--call=targets"])
        .ok()
        .stdout("TARGET         DESCRIPTION\nbase\napp (default)  what runs\n");
    call(&["--call=outline"]).ok().stdout(
        "TARGET:       app\nDESCRIPTION:  what runs\n\nBUILD ARG   VALUE       DESCRIPTION\nV           1           is the version\nU           \n\nSECRET      REQUIRED\ns           true\n",
    );
    call(&["--call=outline", "--target=base"]).ok().stdout_lacks("SECRET");
    call(&["--call=outline", "--target=nosuch"]).fails(125).error_has("nosuch");
    let targets = call(&["--call=targets,format=json"]).ok().json();
    assert_eq!(targets["targets"][1]["default"], true);
    let found = "Dockerfile:3: StageNameCasing: Stage name 'Base' should be lowercase\n";
    call(&["--check"]).exits(1).stdout(found);
    call(&["--call=check"]).exits(1).stdout(found);
    assert_ne!(call(&["--call=nosuch"]).status, 0);
    fs::write(barge.path("ctx/Dockerfile"), format!("# check=skip=StageNameCasing\n{file}"))
        .unwrap();
    call(&["--check"]).ok().stdout("Check complete, no warnings found.\n");
    fs::write(barge.path("ctx/Dockerfile"), format!("# check=error=true\n{file}")).unwrap();
    call(&[]).fails(125).error_has("StageNameCasing").hint_has("check=error=true");
}
