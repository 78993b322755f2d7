//! Containers of other hosts: run, exec, attach, and what is done to those that run.

use rustix::process::Signal;

use super::super::support::barge::is_full_id;
use super::super::support::{Barge, Need, needs};
use super::There;

#[test]
fn remote_run_passes_streams_and_the_exit_code_on() {
    let barge = Barge::with_busybox();
    let there = There::new(&barge);
    let run = |line: &[&str]| there.run([&["run", "--rm", "--network", "none"], line].concat());
    let both = run(&["busybox", "sh", "-c", "echo out; echo err >&2; exit 7"]);
    assert_eq!((both.status, both.text(), both.errors()), (7, "out".into(), "err\n".into()));
    let line =
        ["run", "--rm", "-i", "--network", "none", "busybox", "sh", "-c", "wc -c; echo done"];
    let input = vec![b'x'; 3_000_000];
    there.command(line).input(input).run().ok().stdout("3000000\ndone\n");
    let large = run(&["busybox", "sh", "-c", "head -c 5000000 /dev/zero"]).ok();
    assert_eq!(large.stdout.len(), 5_000_000);
    run(&["-e", "A=b c", "-w", "/tmp", "-u", "app", "busybox", "sh", "-c", "echo $A; pwd; id -u"])
        .ok()
        .stdout("b c\n/tmp\n1000\n");
    run(&["busybox", "nosuch"]).fails(127).error_has("nosuch");
    run(&["busybox", "/etc"]).fails(126).error_has("/etc");
    run(&["--pull", "never", "nosuchimage"]).fails(125).error_has("No such image: nosuchimage");
    run(&["--umask", "0077", "busybox", "true"])
        .fails(125)
        .error_has("`umask` of a container is not there");
    assert_eq!(barge.containers(), Vec::<String>::new());
}

#[test]
fn remote_run_leaves_containers_in_the_background() {
    let barge = Barge::with_busybox();
    let there = There::new(&barge);
    let file = barge.path_text("id");
    let line = ["run", "-d", "--name", "web", "--cidfile", &file, "--network", "none", "busybox"];
    let id = there.run([&line[..], &["sh", "-c", "echo up; sleep 1000"]].concat()).ok().text();
    assert!(is_full_id(&id), "{id}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), id);
    there
        .run(["create", "--cidfile", &file, "nosuch"])
        .fails(125)
        .error_has("container ID file found");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), id);
    let new = barge.path_text("new");
    there.run(["create", "--cidfile", &new, "--network", "nosuch", "busybox"]).fails(125);
    assert!(!barge.path("new").exists());
    assert_eq!(barge.status("web"), "running");
    barge.await_log("web", "up");
    there.run(["logs", "web"]).ok().stdout("up\n");
    there.run(["exec", "web", "sh", "-c", "echo in; echo err >&2; exit 3"]).exits(3).stdout("in\n");
    there.command(["exec", "-i", "web", "cat"]).input("typed").run().ok().stdout("typed");
    there
        .run(["exec", "-e", "A=1", "-w", "/tmp", "web", "sh", "-c", "echo $A; pwd"])
        .ok()
        .stdout("1\n/tmp\n");
    there.run(["exec", "web", "nosuch"]).fails(127);
    there.run(["exec", "gone", "true"]).fails(125).error_has("No such container: gone");
    there.run(["top", "web"]).ok().stdout_has("sleep 1000");
    there.run(["rename", "web", "db"]).ok();
    there.run(["container", "exists", "db"]).ok();
    there.run(["container", "exists", "web"]).exits(1);
    there
        .run(["ps", "--format", "{{.Names}} {{.Image}} {{.State}}"])
        .ok()
        .stdout("db busybox running\n");
    there.run(["stop", "-t", "0", "db"]).ok().stdout("db\n");
    there.run(["wait", "db"]).ok().stdout("137\n");
    there.run(["start", "db"]).ok().stdout("db\n");
    there.run(["kill", "-s", "KILL", "db"]).ok().stdout("db\n");
    there.run(["wait", "db"]).ok().stdout("137\n");
    there.run(["ps", "-q"]).ok().stdout("");
    there.run(["ps", "-a", "-q", "--no-trunc"]).ok().stdout(&format!("{id}\n"));
    there.run(["rm", "db"]).ok().stdout("db\n");
    there.run(["rm", "db"]).fails(1).error_has("No such container: db");
    there.run(["rm", "-f", "db"]).ok();
}

#[test]
fn remote_containers_are_made_started_and_attached_to() {
    let barge = Barge::with_busybox();
    let there = There::new(&barge);
    let line = ["create", "-i", "--name", "c", "--network", "none", "busybox", "sh", "-c"];
    let id = there.run([&line[..], &["read a; echo got $a; exit 4"]].concat()).ok().text();
    assert!(is_full_id(&id), "{id}");
    there.run(["attach", "c"]).fails(125).error("you can only attach to running containers");
    there.command(["start", "-a", "-i", "c"]).input("one\n").run().exits(4).stdout("got one\n");
    there.run(["start", "c"]).ok().stdout("c\n");
    there.command(["attach", "c"]).input("two\n").run().exits(4).stdout("got two\n");
    there.run(["rm", "c"]).ok();
}

#[test]
fn remote_signals_reach_the_container() {
    let barge = Barge::with_busybox();
    let there = There::new(&barge);
    let script = "trap 'echo caught; exit 5' TERM; echo ready; while true; do sleep 0.1; done";
    let line = ["run", "--rm", "--network", "none", "busybox", "sh", "-c", script];
    let mut running = there.command(line).spawn();
    running.expect("ready");
    running.signal(Signal::TERM);
    running.wait().exits(5).stdout("ready\ncaught\n");
}

#[test]
fn remote_terminals_are_terminals() {
    let barge = Barge::with_busybox();
    let there = There::new(&barge);
    let line = ["run", "-it", "--name", "t", "--network", "none", "busybox", "sh"];
    let mut terminal = there.command(line).terminal();
    terminal.send("stty size\r");
    terminal.expect("24 80");
    terminal.resize(30, 100);
    terminal.send("while [ \"$(stty size)\" != '30 100' ]; do sleep 0.1; done; echo res''ized\r");
    terminal.expect("resized");
    // ctrl-p, ctrl-q: it goes on.
    terminal.send("\u{10}\u{11}");
    terminal.exits(0);
    assert_eq!(barge.status("t"), "running");
    let mut terminal = there.command(["attach", "t"]).terminal();
    terminal.send("exit 6\r");
    terminal.exits(6);
    there.run(["start", "t"]).ok();
    let mut terminal = there.command(["exec", "-it", "t", "sh"]).terminal();
    terminal.send("tty; exit 9\r");
    terminal.expect("/dev/pts/");
    terminal.exits(9);
    there.run(["rm", "-f", "t"]).ok();
}

#[test]
fn remote_containers_stand_still_and_get_other_limits() {
    if !needs(&[Need::Root]) {
        return;
    }
    let barge = Barge::with_busybox();
    let there = There::new(&barge);
    there.run(["run", "-d", "--name", "p", "--network", "none", "busybox", "sleep", "1000"]).ok();
    there.run(["pause", "p"]).ok().stdout("p\n");
    assert_eq!(barge.status("p"), "paused");
    there.run(["attach", "p"]).fails(125).error("you cannot attach to a paused container");
    there.run(["unpause", "--all"]).ok();
    assert_eq!(barge.status("p"), "running");
    there.run(["update", "--memory", "64m", "--restart", "on-failure:2", "p"]).ok().stdout("p\n");
    let limits = "{{.HostConfig.Memory}} {{.HostConfig.RestartPolicy.Name}}";
    there.run(["inspect", "-f", limits, "p"]).ok().stdout("67108864 on-failure\n");
    let format = "{{.Name}} {{.PIDs}}";
    there.run(["stats", "--no-stream", "--format", format, "p"]).ok().stdout("p 1\n");
    there.run(["restart", "-t", "0", "p"]).ok().stdout("p\n");
    there.run(["rm", "-f", "--all"]).ok();
}

#[test]
fn remote_health_is_probed() {
    let barge = Barge::with_busybox();
    let there = There::new(&barge);
    let line = ["run", "-d", "--name=box", "--network=none", "--health-interval=1h"];
    let probe = ["--health-cmd=test -e /well", "busybox", "sleep", "1000"];
    there.run([&line[..], &probe].concat()).ok();
    there.run(["healthcheck", "run", "box"]).exits(1).stdout("");
    there.run(["healthcheck", "run", "--ignore-result", "box"]).exits(0);
    there.run(["exec", "box", "touch", "/well"]).ok();
    there.run(["healthcheck", "run", "box"]).ok().stdout("");
    there.run(["run", "-d", "--name=none", "--network=none", "busybox", "sleep", "1000"]).ok();
    there.run(["healthcheck", "run", "none"]).fails(125).error_has("no defined healthcheck");
}

#[test]
fn remote_containers_are_waited_for() {
    let barge = Barge::with_busybox();
    let there = There::new(&barge);
    let script = "trap 'exit 3' TERM; touch /up; while :; do sleep 0.1; done";
    let line = ["run", "-d", "--name=box", "--network=none", "--health-cmd=test -e /up"];
    let line = [&line[..], &["--health-interval=100ms", "busybox", "sh", "-c", script]].concat();
    there.run(line).ok();
    let wait = |line: &[&str]| there.run([&["wait"], line].concat());
    wait(&["--condition=running", "box"]).ok().stdout("-1\n");
    wait(&["--condition=healthy", "-i", "50ms", "box"]).ok().stdout("-1\n");
    wait(&["--condition=unhealthy,running", "box"]).ok().stdout("-1\n");
    there.run(["run", "-d", "--name=other", "--network=none", "busybox", "sleep", "1000"]).ok();
    wait(&["--condition=healthy", "other"]).fails(125).error_has("no defined healthcheck");
    let first = there.command(["wait", "--return-first", "other", "box"]).spawn();
    there.run(["stop", "box"]).ok();
    first.wait().ok().stdout("3\n");
    wait(&["--condition=exited", "box"]).ok().stdout("3\n");
    wait(&["--ignore", "--condition=running", "gone"]).ok().stdout("-1\n");
    wait(&["--condition=running", "gone"]).fails(125).error_has("gone");
    let both = there.command(["wait", "--condition=removed,paused", "other"]).spawn();
    there.run(["rm", "-f", "-t", "0", "other"]).ok();
    both.wait().exits(0);
}

#[test]
fn remote_names_are_taken_away_but_the_last() {
    let barge = Barge::with_busybox();
    let there = There::new(&barge);
    let names =
        || there.run(["image", "inspect", "-f", "{{len .RepoTags}}", "busybox"]).ok().text();
    there.run(["tag", "busybox", "other:1"]).ok();
    assert_eq!(names(), "2");
    there.run(["untag", "busybox", "nosuch"]).fails(125).error_has("nosuch: tag not known");
    there.run(["untag", "busybox", "other:1"]).ok();
    assert_eq!(names(), "1");
    there.run(["untag", "busybox"]).fails(125).error_has("removed with the last one");
    assert_eq!(names(), "1");
}
