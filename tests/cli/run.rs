//! `barge run`: what users ask of the first process.

use std::fs;

use super::support::barge::is_full_id;
use super::support::{Barge, is_root, wait_until};

#[test]
fn run_passes_the_exit_code_on() {
    let barge = Barge::with_busybox();
    for code in [0, 1, 42, 125, 255] {
        barge.shell(&[], &format!("exit {code}")).exits(code).stdout("").stderr("");
    }
}

#[test]
fn run_passes_both_streams_on() {
    let barge = Barge::with_busybox();
    barge.shell(&[], "echo out; echo err >&2").exits(0).stdout("out\n").stderr("err\n");
}

#[test]
fn run_exits_with_128_and_the_signal() {
    let barge = Barge::with_busybox();
    for (signal, code) in [("KILL", 137), ("TERM", 143), ("ABRT", 134)] {
        // A process that is not the first one: the first ignores signals that it does not handle.
        barge.shell(&[], &format!("sh -c 'kill -{signal} $$'; exit $?")).exits(code);
    }
    let id = barge.start(["busybox", "sleep", "1000"]);
    barge.run(["kill", &id]).ok();
    barge.run(["wait", &id]).ok().stdout("137\n");
}

#[test]
fn run_reports_a_command_that_is_not_there() {
    let barge = Barge::with_busybox();
    let run = |command: &str| barge.run(["run", "--rm", "--network", "none", "busybox", command]);
    run("no-such-command").fails(127).error_has("no-such-command");
    run("/no/such/command").fails(127).error_has("/no/such/command").error_has("no such file");
    assert!(barge.containers().is_empty());
}

#[test]
fn run_reports_a_command_that_cannot_be_executed() {
    let barge = Barge::with_busybox();
    let run = |command: &str| barge.run(["run", "--rm", "--network", "none", "busybox", command]);
    run("/bin/not-executable").fails(126).error_has("permission denied");
    run("not-executable").fails(126).error_has("not-executable");
    run("/bin/bad-format").fails(126).error_has("xec format error");
    run("/etc").fails(126).error_has("/etc");
    assert!(barge.containers().is_empty());
}

#[test]
fn run_reports_a_working_directory_that_cannot_be_entered() {
    let barge = Barge::with_busybox();
    barge
        .run(["run", "--rm", "--network", "none", "-w", "/bin/busybox", "busybox", "true"])
        .fails(126)
        .error_has("/bin/busybox");
    assert!(barge.containers().is_empty());
}

#[test]
fn run_reports_a_missing_image() {
    let barge = Barge::with_busybox();
    let before = barge.files();
    barge
        .run(["run", "--rm", "--pull", "never", "nosuch", "true"])
        .fails(125)
        .error("nosuch: image not known");
    barge.has_files(&before, "");
}

#[test]
fn run_reports_unknown_flags() {
    let barge = Barge::new();
    barge
        .run(["run", "--no-such-flag", "busybox"])
        .exits(125)
        .stdout("")
        .stderr("Error: unknown flag: --no-such-flag\nSee 'barge run --help'\n");
    barge
        .run(["no-such-command"])
        .exits(125)
        .stdout("")
        .stderr("Error: unrecognized command `barge no-such-command`\nTry 'barge --help' for more information\n");
    barge
        .run(["run"])
        .exits(125)
        .stdout("")
        .stderr_has("Error: requires at least 1 arg(s), only received 0");
}

#[test]
fn run_leaves_flags_after_the_image_to_the_command() {
    let barge = Barge::with_busybox();
    barge
        .run(["run", "--rm", "--network=none", "busybox", "echo", "--rm", "-x", "--", "y"])
        .ok()
        .stdout("--rm -x -- y\n");
}

#[test]
fn run_detached_prints_the_id_and_returns() {
    let barge = Barge::with_busybox();
    let id = barge.start(["--name", "box", "busybox", "sh", "-c", "echo one; exec sleep 1000"]);
    assert_eq!(barge.status("box"), "running");
    assert_eq!(barge.inspect("box", "{{.Id}}"), id);
    barge.await_log("box", "one");
    barge.run(["rm", "-f", "-t", "0", "box"]).ok().stdout("box\n");
    barge.leaves_nothing();
}

#[test]
fn run_forwards_a_megabyte_and_a_half_of_any_bytes() {
    let barge = Barge::with_busybox();
    let mut state = 1_u32;
    let bytes: Vec<u8> = (0..1_500_000)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect();
    let line = ["run", "--rm", "-i", "--network", "none", "busybox", "cat"];
    let output = barge.command(line).input(bytes.clone()).run().ok();
    assert!(output.stdout == bytes, "{} of {} bytes", output.stdout.len(), bytes.len());
}

#[test]
fn run_closes_the_input_of_the_command_with_its_own() {
    let barge = Barge::with_busybox();
    let line = ["run", "--rm", "-i", "--network", "none", "busybox", "wc", "-l"];
    barge.command(line).input("one\ntwo\n").run().ok().stdout("2\n");
    // Without -i there is no input at all.
    let line = ["run", "--rm", "--network", "none", "busybox", "wc", "-c"];
    barge.command(line).input("ignored").run().ok().stdout("0\n");
}

#[test]
fn run_moves_input_and_output_as_they_come() {
    let barge = Barge::with_busybox();
    let script = "while read line; do echo \"<$line>\"; done; echo end";
    let line = ["run", "--rm", "-i", "--network", "none", "busybox", "sh", "-c", script];
    let mut running = barge.command(line).open_input().spawn();
    for word in ["one", "two"] {
        running.send(format!("{word}\n"));
        running.expect(&format!("<{word}>\n"));
    }
    running.close_input();
    running.wait().ok().stdout("<one>\n<two>\nend\n");
}

#[test]
fn run_rm_leaves_nothing() {
    let barge = Barge::with_busybox();
    let before = barge.files();
    let cidfile = barge.path_text("cid");
    barge.shell(&["--cidfile", &cidfile], "echo x > /file").ok();
    assert!(barge.containers().is_empty());
    assert!(!barge.path("cid").exists());
    barge.has_files(&before, "");
    // Also if the command could not be started.
    barge.run(["run", "--rm", "--network", "none", "busybox", "nosuch"]).fails(127);
    barge.has_files(&before, "");
    barge.leaves_nothing();
}

#[test]
fn run_detached_rm_removes_at_the_end() {
    let barge = Barge::with_busybox();
    barge.start(["--rm", "--name", "short", "busybox", "true"]);
    wait_until("it is removed", || barge.containers().is_empty());
    barge.start(["--rm", "--name", "short", "busybox", "sleep", "1000"]);
    barge.run(["stop", "-t", "0", "short"]).ok().stdout("short\n");
    wait_until("it is removed", || barge.containers().is_empty());
    barge.leaves_nothing();
}

#[test]
fn run_without_rm_keeps_the_container() {
    let barge = Barge::with_busybox();
    barge
        .run(["run", "--network", "none", "--name", "kept", "busybox", "sh", "-c", "exit 7"])
        .exits(7);
    assert_eq!(barge.inspect("kept", "{{.State.Status}} {{.State.ExitCode}}"), "exited 7");
}

#[test]
fn run_refuses_a_name_in_use() {
    let barge = Barge::with_busybox();
    let id = barge.start(["--name", "taken", "busybox", "sleep", "1000"]);
    let text = format!(
        "the container name \"taken\" is already in use by {id}. You have to remove that container \
         to be able to reuse that name: that name is already in use"
    );
    let line = ["run", "--rm", "--name", "taken", "busybox", "true"];
    barge.run(line).fails(125).error_has(&text);
    assert_eq!(barge.containers(), [id]);
    for name in ["", "-x", "a/b", "a b", ".x", "../x"] {
        barge.run(["create", "--name", name, "busybox"]).fails(125);
    }
    assert_eq!(barge.containers().len(), 1);
}

#[test]
fn run_sets_the_environment() {
    let barge = Barge::with_busybox();
    let file = barge.file("env", "# comment\n\nA=file\nB=\"kept quotes\"\nC=file\nFROM_CALLER\n");
    let line = [
        "run",
        "--rm",
        "--network",
        "none",
        "--hostname",
        "box",
        "--env-file",
        &file,
        "-e",
        "C=flag",
        "-e",
        "D=x=y",
        "--env",
        "CALLER",
        "-e",
        "ABSENT",
        "busybox",
        "env",
    ];
    let output = barge
        .command(line)
        .env("CALLER", "of the caller")
        .env("FROM_CALLER", "1")
        .env("NOT_PASSED", "1")
        .run()
        .ok();
    let mut got = output.lines();
    got.sort();
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    assert_eq!(
        got,
        [
            "A=file",
            "B=\"kept quotes\"",
            "C=flag",
            "CALLER=of the caller",
            "D=x=y",
            "FROM_CALLER=1",
            "HOME=/root",
            "HOSTNAME=box",
            path,
            "container=barge",
        ]
    );
}

#[test]
fn run_reports_a_bad_environment() {
    let barge = Barge::with_busybox();
    let missing = barge.path_text("nosuch");
    barge
        .run(["run", "--rm", "--env-file", &missing, "busybox", "true"])
        .fails(125)
        .error_has(&missing)
        .error_has("no such file or directory");
    barge.run(["run", "--rm", "-e", "=x", "busybox", "true"]).fails(125);
    assert!(barge.containers().is_empty());
}

#[test]
fn run_sets_the_working_directory() {
    let barge = Barge::with_busybox();
    barge.shell(&["-w", "/etc"], "pwd").ok().stdout("/etc\n");
    barge.shell(&[], "pwd").ok().stdout("/\n");
    barge
        .shell(&["--workdir", "/new/place"], "pwd")
        .fails(126)
        .error_has("workdir \"/new/place\" does not exist on container");
    barge.shell(&["-w", "relative"], "pwd").fails(125).error_has("relative");
}

#[test]
fn run_takes_users_by_name_and_number() {
    let barge = Barge::with_busybox();
    let table = [
        ("", "0 0 0"),
        ("root", "0 0 0"),
        ("app", "1000 1000 1000 2000"),
        ("1000", "1000 1000 1000 2000"),
        ("1234", "1234 0 0"),
        ("1234:77", "1234 77 77"),
        ("app:extra", "1000 2000 2000"),
        ("app:77", "1000 77 77"),
        (":77", "0 77 77"),
    ];
    for (user, want) in table {
        let output = barge.shell(&["-u", user], "echo $(id -u) $(id -g) $(id -G)").ok();
        assert_eq!(output.text(), want, "user `{user}`");
    }
    barge.shell(&["-u", "app"], "echo $HOME; id -un").ok().stdout("/home\napp\n");
    barge
        .shell(&["-u", "1234"], "id -un; tail -n 1 /etc/passwd | cut -d: -f3")
        .ok()
        .stdout("1234\n1234\n");
}

#[test]
fn run_reports_unknown_users() {
    let barge = Barge::with_busybox();
    for user in ["nosuch", "app:nosuch", "nosuch:0"] {
        barge.shell(&["-u", user], "true").fails(126).error_has("nosuch");
    }
    assert!(barge.containers().is_empty());
}

#[test]
fn run_adds_groups() {
    let barge = Barge::with_busybox();
    barge
        .shell(
            &["-u", "app", "--group-add", "77", "--group-add", "root"],
            "id -G | tr ' ' '\\n' | sort -n | xargs",
        )
        .ok()
        .stdout("0 77 1000 2000\n");
}

#[test]
fn run_replaces_the_entrypoint() {
    let barge = Barge::new();
    let rootfs = super::support::fixture::busybox();
    let rootfs = rootfs.to_string_lossy();
    barge
        .run([
            "import",
            "--change",
            "ENTRYPOINT [\"echo\", \"entry\"]",
            "--change",
            "CMD [\"default\"]",
            &*rootfs,
            "echoes",
        ])
        .ok();
    let run = |flags: &[&str], command: &[&str]| {
        let mut line = vec!["run", "--rm", "--network", "none"];
        line.extend(flags);
        line.push("echoes");
        line.extend(command);
        barge.run(line).ok().text()
    };
    assert_eq!(run(&[], &[]), "entry default");
    assert_eq!(run(&[], &["given"]), "entry given");
    assert_eq!(run(&["--entrypoint", "ls"], &["-d", "/etc"]), "/etc");
    // An entrypoint of one's own makes the image's command meaningless.
    assert_eq!(run(&["--entrypoint", "echo"], &[]), "");
    assert_eq!(run(&["--entrypoint", "[\"echo\",\"a\"]"], &["b"]), "a b");
    assert_eq!(run(&["--entrypoint", ""], &["echo", "c"]), "c");
}

#[test]
fn run_reports_an_image_without_a_command() {
    let barge = Barge::with_busybox();
    barge.run(["run", "--rm", "--network", "none", "busybox"]).fails(125).error_has("no command");
    assert!(barge.containers().is_empty());
}

#[test]
fn run_sets_the_host_name() {
    let barge = Barge::with_busybox();
    let script = "hostname; cat /etc/hostname; echo $HOSTNAME; grep -c box.example /etc/hosts";
    barge
        .shell(&["--hostname", "box.example"], script)
        .ok()
        .stdout("box.example\nbox.example\nbox.example\n1\n");
    let name = barge.shell(&[], "hostname").ok().text();
    assert!(name.len() == 12 && name.bytes().all(|b| b.is_ascii_hexdigit()), "{name}");
    let long = "x".repeat(65);
    barge.shell(&["--hostname", &long], "true").fails(125);
}

#[test]
fn run_reaps_orphans_with_init() {
    let barge = Barge::with_busybox();
    // The orphan ends at once; without somebody to reap it a zombie stays.
    let script = "sh -c 'true & exec true'; i=0; \
                  while grep -q '^State:.Z' /proc/[0-9]*/status && [ $i -lt 500 ]; do i=$((i+1)); usleep 10000; done; \
                  grep -h '^State:.Z' /proc/[0-9]*/status; tr '\\0' ' ' < /proc/1/cmdline; echo; echo $$";
    let lines = barge.shell(&["--init"], script).ok().lines();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(!lines[0].starts_with("sh "), "the shell is the first process: {lines:?}");
    assert_ne!(lines[1], "1");
}

#[test]
fn run_with_init_passes_signals_and_codes() {
    let barge = Barge::with_busybox();
    barge.shell(&["--init"], "exit 9").exits(9);
    barge.shell(&["--init"], "kill -TERM $$").exits(143);
    let id = barge.start([
        "--init",
        "busybox",
        "sh",
        "-c",
        "trap 'exit 3' TERM; echo up; while :; do sleep 1; done",
    ]);
    barge.await_log(&id, "up");
    barge.run(["stop", &id]).ok();
    barge.run(["wait", &id]).ok().stdout("3\n");
}

#[test]
fn run_writes_the_cidfile() {
    let barge = Barge::with_busybox();
    let file = barge.path_text("cid");
    let id = barge.start(["--cidfile", &file, "busybox", "sleep", "1000"]);
    assert_eq!(fs::read_to_string(barge.path("cid")).unwrap(), id);
    let missing = barge.path_text("nosuch/cid");
    barge
        .run(["run", "--rm", "--cidfile", &missing, "busybox", "true"])
        .fails(125)
        .error_has(&missing);
    assert_eq!(barge.containers(), [id]);
}

#[test]
fn a_cidfile_is_new_and_goes_where_no_container_was_made() {
    let barge = Barge::with_busybox();
    let file = barge.file("precious", "precious");
    let link = barge.path_text("link");
    std::os::unix::fs::symlink(&file, &link).unwrap();
    for (command, path) in [("run", &file), ("create", &file), ("run", &link), ("create", &link)] {
        barge.run([command, "--cidfile", path, "nosuch", "true"]).fails(125).error(&format!(
            "container ID file found, make sure the other container isn't running or delete {path}"
        ));
        assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    }
    assert!(barge.containers().is_empty());
    let cid = barge.path_text("cid");
    barge.run(["create", "--name=taken", "busybox", "true"]).ok();
    for line in [&["--name=taken", "busybox"][..], &["--network=nosuch", "busybox"], &["nosuch"]] {
        let line = [&["create", "--pull=never", "--cidfile", &cid][..], line].concat();
        barge.run(line).fails(125);
        assert!(!barge.path("cid").exists());
    }
    // The file of a container that is replaced goes with it; that of another one does not.
    let line = ["create", "--replace", "--cidfile", &cid, "--name=taken", "busybox", "true"];
    barge.run(line).ok();
    let id = barge.run(line).ok().text();
    assert_eq!(fs::read_to_string(&cid).unwrap(), id);
    let line = ["create", "--replace", "--cidfile", &cid, "--name=other", "busybox", "true"];
    barge.run(line).fails(125);
    fs::write(&cid, "somebody else's").unwrap();
    barge.run(["rm", "taken"]).ok();
    assert_eq!(fs::read_to_string(&cid).unwrap(), "somebody else's");
}

#[test]
fn run_records_labels() {
    let barge = Barge::with_busybox();
    let file = barge.file("labels", "from=file\n");
    let line = ["--name", "l", "--label", "a=b=c", "-l", "plain", "--label-file", &file];
    barge.run([&["create"][..], &line, &["busybox", "true"]].concat()).ok();
    let labels = barge.inspect("l", "{{json .Config.Labels}}");
    let labels: serde_json::Value = serde_json::from_str(&labels).unwrap();
    assert_eq!(labels, serde_json::json!({ "a": "b=c", "plain": "", "from": "file" }));
}

#[test]
fn run_takes_the_last_of_repeated_flags() {
    let barge = Barge::with_busybox();
    barge
        .run(["create", "--name", "a", "--name", "b", "--rm", "--rm=false", "busybox", "true"])
        .ok();
    assert_eq!(barge.inspect("b", "{{.Name}} {{.HostConfig.AutoRemove}}"), "b false");
}

#[test]
fn run_gives_the_container_its_own_files() {
    let barge = Barge::with_busybox();
    let script = "head -n 1 /etc/hosts | xargs; ls /run/.containerenv; readlink /etc/mtab; \
                  test -e /etc/resolv.conf || echo no resolv.conf; \
                  for n in null zero full random urandom tty; do test -c /dev/$n || echo no $n; done; \
                  for n in fd stdin stdout stderr ptmx; do readlink /dev/$n; done";
    barge.shell(&[], script).ok().stdout(
        "127.0.0.1 localhost\n/run/.containerenv\n/proc/mounts\n\
         /proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\npts/ptmx\n",
    );
}

#[test]
fn run_isolates_processes() {
    let barge = Barge::with_busybox();
    let own = |name: &str| fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
    let script =
        "echo $$; for n in pid net ipc mnt uts cgroup user; do readlink /proc/self/ns/$n; done";
    let lines = barge.shell(&[], script).ok().lines();
    assert_eq!(lines[0], "1");
    for (name, got) in ["pid", "net", "ipc", "mnt", "uts", "cgroup"].iter().zip(&lines[1..]) {
        assert_ne!(*got, own(name).to_string_lossy(), "{name}");
    }
    let user = own("user").to_string_lossy().into_owned();
    assert_eq!(lines[7] == user, is_root(), "user namespace {}", lines[7]);
}

#[test]
fn run_inherits_no_descriptors() {
    let barge = Barge::with_busybox();
    // Descriptor 9 of the caller, and none of ours, may appear in the container.
    let inner = format!(
        "exec 9</etc/passwd; exec {} --root {} --runroot {} run --rm --network none busybox ls /proc/self/fd",
        super::support::fixture::barge().display(),
        barge.root().display(),
        barge.runroot().display()
    );
    // The last one is the directory itself.
    barge.other_command("sh", ["-c", &inner]).run().ok().stdout("0\n1\n2\n3\n");
}

#[test]
fn create_prints_the_id_and_starts_nothing() {
    let barge = Barge::with_busybox();
    let id = barge.run(["create", "busybox", "true"]).ok().text();
    assert!(is_full_id(&id));
    assert_eq!(barge.status(&id), "created");
    assert!(barge.processes().is_empty());
}
