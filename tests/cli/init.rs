//! init: a container that is all there but its program.

use rustix::process::{Pid, Signal, kill_process};

use super::support::{Barge, Need, needs, wait_until};

#[track_caller]
fn number(barge: &Barge, template: &str) -> Pid {
    Pid::from_raw(barge.inspect("box", template).parse().expect("a number")).expect("a process")
}

/// Makes a container that is initialized.
fn initialized(flags: &[&str], command: &[&str]) -> Barge {
    let barge = Barge::with_busybox();
    let create = ["create", "--network", "none", "--name", "box"];
    barge.run(create.iter().chain(flags).chain(&["busybox"]).chain(command)).ok();
    barge.run(["init", "box"]).ok().stdout("box\n");
    barge
}

#[test]
fn an_initialized_container_waits_for_start() {
    let barge = initialized(&["--hostname", "waits"], &["sh", "-c", "echo $$ up; exit 7"]);
    assert_eq!(barge.inspect("box", "{{.State.Status}} {{.State.Running}}"), "initialized false");
    let pid = number(&barge, "{{.State.Pid}}");
    kill_process(pid, Signal::URG).expect("its process is there");
    barge.run(["ps", "-q"]).ok().stdout("");
    barge.run(["ps", "-a", "--format", "{{.Status}}"]).ok().stdout("Initialized\n");
    let line = ["ps", "--filter", "status=initialized", "--format", "{{.Names}} {{.State}}"];
    barge.run(line).ok().stdout("box initialized\n");
    barge.run(["wait", "--condition", "initialized", "box"]).ok().stdout("-1\n");
    barge.run(["logs", "box"]).ok().stdout("");
    // Nothing runs in it yet.
    for (verb, text) in [
        (&["exec", "box", "true"][..], "can only create exec sessions on running containers"),
        (&["attach", "box"], "you can only attach to running containers"),
        (&["kill", "box"], "can only kill running containers"),
        (&["top", "box"], "top can only be used on running containers"),
        (&["init", "box"], "has already been created in runtime: container state improper"),
    ] {
        barge.run(verb).fails(125).error_has(text);
    }
    let waiting = barge.command(["wait", "box"]).spawn();
    barge.run(["start", "--attach", "box"]).exits(7).stdout("1 up\n");
    waiting.wait().ok().stdout("7\n");
    assert_eq!(barge.inspect("box", "{{.State.Status}} {{.State.ExitCode}}"), "exited 7");
    let line = ["events", "--stream=false", "--format", "{{.Status}}", "--filter", "container=box"];
    let events = barge.run(line).ok().lines();
    let want = ["create", "init", "start", "attach", "died", "cleanup"];
    assert_eq!(events, want, "there is one `init`");
}

#[test]
fn what_is_made_by_init_is_what_the_program_finds() {
    let script = "readlink /proc/self/ns/mnt; cat /proc/sys/kernel/hostname; test -t 1 || cat";
    let barge = initialized(&["-i", "--hostname", "waits"], &["sh", "-c", script]);
    let pid = number(&barge, "{{.State.Pid}}");
    let namespace = match super::support::is_root() {
        true => std::fs::read_link(format!("/proc/{pid}/ns/mnt")).expect("it is there"),
        // Only the namespace that barge makes for itself may look.
        false => {
            let link = format!("/proc/{pid}/ns/mnt");
            barge.run(["unshare", "readlink", &link]).ok().text().into()
        }
    };
    let want = format!("{}\nwaits\ntyped", namespace.display());
    barge.command(["start", "-ai", "box"]).input("typed").run().ok().stdout(&want);
    // It is no process any more, and the container is an ordinary one again.
    barge.command(["start", "-ai", "box"]).input("again").run().ok().stdout_has("waits\nagain");
}

#[test]
fn an_initialized_container_has_a_terminal() {
    let barge = initialized(&["-it"], &["sh", "-c", "stty size; tty; read line; echo \"<$line>\""]);
    let mut terminal = barge.command(["start", "-ai", "box"]).terminal();
    terminal.expect("24 80\r\n/dev/pts/0\r\n");
    terminal.send("typed\r");
    terminal.expect("<typed>");
    terminal.exits(0);
}

#[test]
fn what_cannot_be_made_fails_at_init_and_what_cannot_run_at_start() {
    let barge = Barge::with_busybox();
    let create = ["create", "--network", "none", "--name"];
    barge.run(create.iter().chain(&["bad", "-w", "/bin/sh/x", "busybox", "true"])).ok();
    barge.run(create.iter().chain(&["missing", "busybox", "/nosuch"])).ok();
    barge.run(["init", "missing", "nosuch"]).exits(125).stdout("missing\n").stderr_has("nosuch");
    barge.run(["start", "missing"]).fails(127).error_has("executable file `/nosuch` not found");
    assert_eq!(barge.inspect("missing", "{{.State.Status}} {{.State.ExitCode}}"), "created 127");
    let gone = barge.path_text("gone");
    std::fs::create_dir(&gone).expect("there is space");
    let volume = format!("{gone}:/gone");
    barge.run(create.iter().chain(&["bound", "-v", &volume, "busybox", "true"])).ok();
    std::fs::remove_dir(&gone).expect("it is empty");
    barge.run(["init", "bound"]).fails(125).error_has(&gone);
    assert_eq!(barge.status("bound"), "created");
    barge.run(["init"]).fails(125).error_has("you must provide at least one name or id");
}

#[test]
fn all_and_latest_mean_those_that_do_not_run() {
    let barge = Barge::with_busybox();
    let create = ["create", "--network", "none", "--name"];
    let one = barge.run(create.iter().chain(&["one", "busybox", "true"])).ok().text();
    barge.start(["--name", "runs", "busybox", "sleep", "1000"]);
    let two = barge.run(create.iter().chain(&["two", "busybox", "true"])).ok().text();
    barge.run(["init", "--latest"]).ok().stdout(&format!("{two}\n"));
    barge.run(["container", "init", "--all"]).ok().stdout(&format!("{one}\n"));
    barge.run(["init", "runs"]).fails(125).error_has("container state improper");
    barge.run(["start", "one"]).ok().stdout("one\n");
    // What waits is removed with what does not run.
    barge.await_status("one", "exited");
    barge.run(["container", "prune", "-f"]).ok();
    assert_eq!(barge.run(["ps", "-a", "--format", "{{.Names}}"]).ok().text(), "runs");
}

#[test]
fn what_is_stopped_or_removed_leaves_nothing() {
    let barge = initialized(&[], &["sleep", "1000"]);
    let monitor = number(&barge, "{{.State.ConmonPid}}");
    barge.run(["stop", "box"]).ok().stdout("box\n");
    assert_eq!(barge.inspect("box", "{{.State.Status}} {{.State.Pid}}"), "exited 0");
    wait_until("the monitor has ended", || kill_process(monitor, Signal::URG).is_err());
    barge.run(["init", "box"]).ok();
    barge.run(["restart", "box"]).ok();
    assert_eq!(barge.status("box"), "running");
    barge.run(["stop", "-t", "0", "box"]).ok();
    barge.run(["init", "box"]).ok();
    // It does not run: no force is needed.
    barge.run(["rm", "box"]).ok().stdout("box\n");
    barge.run(["create", "--rm", "--network=none", "--name", "box", "busybox", "true"]).ok();
    barge.run(["init", "box"]).ok();
    barge.run(["stop", "box"]).ok();
    assert!(barge.containers().is_empty());
}

#[test]
fn an_initialized_container_dies_with_its_monitor() {
    let barge = initialized(&[], &["sleep", "1000"]);
    barge.kills();
    let [pid, monitor] =
        ["{{.State.Pid}}", "{{.State.ConmonPid}}"].map(|template| number(&barge, template));
    kill_process(monitor, Signal::KILL).expect("it is there");
    wait_until("it has ended", || kill_process(pid, Signal::URG).is_err());
    assert_eq!(barge.inspect("box", "{{.State.Status}} {{.State.ExitCode}}"), "exited 137");
    barge.run(["init", "box"]).ok();
    barge.run(["start", "box"]).ok();
    assert_eq!(barge.status("box"), "running");
}

#[test]
fn the_network_is_there_before_the_program() {
    if !needs(&[Need::Root]) {
        return;
    }
    let barge = Barge::with_busybox();
    barge.run(["create", "--name", "box", "busybox", "ip", "-4", "addr", "show", "eth0"]).ok();
    barge.run(["init", "box"]).ok();
    let address = barge.inspect("box", "{{.NetworkSettings.IPAddress}}");
    assert!(address.starts_with("10."), "{address}");
    barge.run(["start", "-a", "box"]).ok().stdout_has(&format!("inet {address}/"));
}
