//! `--preserve-fds` and `--preserve-fd`: descriptors of the caller's in a container.

use super::support::Barge;
use super::support::process::Invocation;

/// Prepares a command line of barge's in a shell script, where it is `"$@"`.
fn in_shell(barge: &Barge, script: &str, line: &[&str]) -> Invocation {
    let program = barge.program().to_string_lossy().into_owned();
    let (root, runroot) = (barge.root(), barge.runroot());
    let mut words = vec!["-c", script, "sh", &program];
    let (root, runroot) = (root.to_string_lossy(), runroot.to_string_lossy());
    words.extend(["--root", &root, "--runroot", &runroot]);
    words.extend(line);
    barge.other_command("sh", words)
}

/// Counts what is open, and the directory that is listed.
const COUNT: &str = "ls /proc/self/fd | wc -l";

#[test]
fn preserve_fds_are_those_of_the_caller() {
    let barge = Barge::with_busybox();
    barge.file("in", "text of the caller\n");
    let script = format!("cat <&3; echo written >&4; {COUNT}");
    for flags in [&[][..], &["--init"], &["-u", "1000"], &["--restart", "on-failure:1"]] {
        let mut line = vec!["run", "--rm", "--network", "none", "--preserve-fds", "2"];
        line.extend(flags);
        line.extend(["busybox", "sh", "-c", &script]);
        let caller =
            format!("exec \"$@\" 3<{} 4>{}", barge.path_text("in"), barge.path_text("out"));
        if *flags == ["--restart", "on-failure:1"] {
            line.retain(|word| *word != "--rm");
        }
        in_shell(&barge, &caller, &line).run().ok().stdout("text of the caller\n6\n");
        assert_eq!(std::fs::read_to_string(barge.path("out")).unwrap(), "written\n", "{flags:?}");
    }
}

#[test]
fn sockets_of_a_service_manager_are_passed_on() {
    let barge = Barge::with_busybox();
    barge.file("in", "socket\n");
    barge.file("other", "other\n");
    let files = format!("3<{} 4<{}", barge.path_text("in"), barge.path_text("other"));
    let script =
        format!("echo $LISTEN_FDS $LISTEN_FDNAMES; test $LISTEN_PID = $$ && cat <&3; {COUNT}");
    let set = "export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=web";
    for (flags, open) in [(&[][..], 5), (&["--init"], 5), (&["--preserve-fds", "1"], 6)] {
        let mut line = vec!["run", "--rm", "--network", "none"];
        line.extend(flags);
        line.extend(["busybox", "sh", "-c", &script]);
        let output = in_shell(&barge, &format!("{set}; exec \"$@\" {files}"), &line).run().ok();
        output.stdout(&format!("1 web\nsocket\n{open}\n"));
    }
    // They are for the process that is named.
    let line = ["run", "--rm", "--network", "none", "busybox", "sh", "-c", "echo $LISTEN_FDS"];
    let other = format!("export LISTEN_PID=1 LISTEN_FDS=1; exec \"$@\" {files}");
    in_shell(&barge, &other, &line).run().ok().stdout("\n");
    // `start` passes them on, too.
    let line = ["create", "--name", "box", "--network", "none", "busybox", "sh", "-c", &script];
    barge.run(line).ok();
    let output = in_shell(&barge, &format!("{set}; exec \"$@\" {files}"), &["start", "-a", "box"]);
    output.run().ok().stdout("1 web\nsocket\n5\n");
    let missing = in_shell(&barge, &format!("{set}; exec \"$@\""), &["start", "box"]).run();
    missing.fails(125).error_has("file descriptor 3 is not available");
}

#[test]
fn preserve_fds_must_be_asked_for() {
    let barge = Barge::with_busybox();
    let line = ["run", "--rm", "--network", "none", "busybox", "sh", "-c", COUNT];
    in_shell(&barge, "exec \"$@\" 3</dev/null 4</dev/null", &line).run().ok().stdout("4\n");
}

#[test]
fn preserve_fd_keeps_the_numbers_and_nothing_between() {
    let barge = Barge::with_busybox();
    barge.file("in", "text of the caller\n");
    let script = format!("cat <&5; echo written >&8; {COUNT}; cat <&6");
    let line = [
        "run",
        "--rm",
        "--network",
        "none",
        "--preserve-fd",
        "8,5",
        "busybox",
        "sh",
        "-c",
        &script,
    ];
    let caller =
        format!("exec \"$@\" 5<{} 6</dev/null 8>{}", barge.path_text("in"), barge.path_text("out"));
    let ended = in_shell(&barge, &caller, &line).run();
    ended.exits(1).stdout("text of the caller\n6\n").stderr_has("6");
    assert_eq!(std::fs::read_to_string(barge.path("out")).unwrap(), "written\n");
}

#[test]
fn preserve_fds_are_held_by_the_container_alone() {
    let barge = Barge::with_busybox();
    let line = ["run", "-d", "--name", "box", "--network", "none", "--preserve-fds", "1"];
    for flags in [&[][..], &["--init"]] {
        // The reader sees the end while container, monitor and init go on.
        let mut line = line.to_vec();
        line.extend(flags);
        let script = "echo piped >&3; exec 3>&-; exec sleep 1000";
        line.extend(["busybox", "sh", "-c", script]);
        in_shell(&barge, "\"$@\" 3>&1 >/dev/null | cat", &line).run().ok().stdout("piped\n");
        assert_eq!(barge.status("box"), "running");
        let line = ["exec", "--preserve-fds", "1", "box", "sh", "-c", script];
        let mut entered = in_shell(&barge, "\"$@\" 3>&1 >/dev/null | cat", &line).spawn();
        entered.expect("piped\n");
        barge.run(["rm", "-f", "-t", "0", "box"]).ok();
        entered.wait().ok();
    }
}

#[test]
fn preserve_fds_reach_what_exec_runs() {
    let barge = Barge::with_busybox();
    barge.start(["--name", "box", "busybox", "sleep", "1000"]);
    barge.file("in", "text of the caller\n");
    let script = format!("cat <&4; {COUNT}; cat <&3");
    let line = ["exec", "--preserve-fd", "4", "box", "sh", "-c", &script];
    let caller = format!("exec \"$@\" 3</dev/null 4<{}", barge.path_text("in"));
    in_shell(&barge, &caller, &line).run().exits(1).stdout("text of the caller\n5\n");
}

#[test]
fn preserve_fds_that_are_not_open_are_refused() {
    let barge = Barge::with_busybox();
    barge.start(["--name", "box", "busybox", "sleep", "1000"]);
    for line in [
        ["run", "--rm", "--preserve-fds", "2", "busybox", "true"],
        ["exec", "--preserve-fds", "2", "box", "echo", "no"],
    ] {
        in_shell(&barge, "exec \"$@\" 3</dev/null", &line)
            .run()
            .fails(125)
            .error_has("file descriptor 4 is not available")
            .hint_has("open it first");
    }
    barge.run(["exec", "--preserve-fd", "2", "box", "true"]).exits(125).stderr_has("2");
}
