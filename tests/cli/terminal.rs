//! `-t`: a terminal in the container, wired to the user's.

use super::support::terminal::Terminal;
use super::support::{Barge, is_root, wait_until};
use rustix::process::Signal;

fn run(barge: &Barge, flags: &[&str], command: &[&str]) -> Terminal {
    let mut line = vec!["run", "--network", "none", "-it"];
    line.extend(flags);
    line.push("busybox");
    line.extend(command);
    barge.command(line).terminal()
}

#[test]
fn terminal_is_a_terminal() {
    let barge = Barge::with_busybox();
    let script = "tty; test -t 0 -a -t 1 -a -t 2 && echo all three; echo $TERM; stty size; ls -l /dev/console | cut -c1";
    let mut terminal = run(&barge, &["--rm"], &["sh", "-c", script]);
    terminal.expect("/dev/pts/0\r\n");
    terminal.expect("all three\r\n");
    terminal.expect("xterm\r\n");
    terminal.expect("24 80\r\n");
    terminal.expect("c\r\n");
    terminal.exits(0);
}

#[test]
fn terminal_runs_a_shell() {
    let barge = Barge::with_busybox();
    let mut terminal = run(&barge, &["--rm"], &["sh"]);
    terminal.expect("# ");
    terminal.send("echo $((6*7)); exit 5\r");
    terminal.expect("42\r\n");
    terminal.exits(5);
}

#[test]
fn terminal_passes_control_keys_on() {
    let barge = Barge::with_busybox();
    let script = "trap 'echo caught' INT; echo ready; while [ -z \"$line\" ]; do read line; done; \
                  echo \"<$line>\"; cat; echo ended";
    let mut terminal = run(&barge, &["--rm"], &["sh", "-c", script]);
    terminal.expect("ready");
    terminal.send("\u{3}");
    terminal.expect("caught");
    terminal.send("typed\r");
    terminal.expect("<typed>");
    terminal.send("\u{4}");
    terminal.expect("ended");
    terminal.exits(0);
}

#[test]
fn terminal_follows_the_window_size() {
    let barge = Barge::with_busybox();
    let script = "trap 'stty size' WINCH; echo ready; while :; do sleep 0.1; done";
    let mut terminal = run(&barge, &["--rm"], &["sh", "-c", script]);
    terminal.expect("ready");
    terminal.resize(50, 132);
    terminal.expect("50 132");
    terminal.resize(10, 20);
    terminal.expect("10 20");
    terminal.send("\u{10}\u{11}");
    terminal.exits(0);
}

#[test]
fn terminal_settings_are_restored() {
    let barge = Barge::with_busybox();
    let quick = |flags: &[&str], command: &[&str], code: i32| {
        let mut terminal = run(&barge, flags, command);
        let before = format!("{:?}", terminal.settings_before());
        terminal.exits(code);
        assert_eq!(format!("{:?}", terminal.settings()), before, "{command:?}");
    };
    quick(&["--rm"], &["true"], 0);
    quick(&["--rm"], &["sh", "-c", "stty raw -echo; exit 3"], 3);
    quick(&["--rm"], &["nosuch"], 127);
    // A signal, which is passed on, must not leave the user's terminal raw.
    let script = "trap 'exit 0' TERM HUP; echo up; while :; do sleep 0.1; done";
    for signal in [Signal::TERM, Signal::HUP] {
        let mut terminal = run(&barge, &["--rm"], &["sh", "-c", script]);
        let before = format!("{:?}", terminal.settings_before());
        terminal.expect("up");
        assert_ne!(format!("{:?}", terminal.settings()), before, "it is raw now");
        terminal.signal(signal);
        wait_until("the terminal is as it was", || format!("{:?}", terminal.settings()) == before);
        terminal.exits(0);
    }
}

#[test]
fn detach_keys_leave_the_container_running() {
    let barge = Barge::with_busybox();
    let mut terminal = run(&barge, &["--name", "box"], &["sh"]);
    terminal.expect("# ");
    terminal.send("v=kept\r");
    terminal.expect("# ");
    terminal.send("\u{10}\u{11}");
    terminal.exits(0);
    assert_eq!(barge.status("box"), "running");
    let mut again = barge.command(["attach", "box"]).terminal();
    again.send("echo $v-here\r");
    again.expect("kept-here");
    // A first key alone is the container's.
    again.send("\u{10}x\u{10}\u{11}");
    again.exits(0);
    assert_eq!(barge.status("box"), "running");
}

#[test]
fn detach_keys_can_be_chosen() {
    let barge = Barge::with_busybox();
    let mut terminal = run(&barge, &["--name", "box", "--detach-keys", "ctrl-x,q"], &["sh"]);
    terminal.expect("# ");
    terminal.send("\u{18}q");
    terminal.exits(0);
    assert_eq!(barge.status("box"), "running");
    barge.run(["run", "--rm", "-it", "--detach-keys", "nonsense", "busybox", "sh"]).fails(125);
}

#[test]
fn terminal_without_input_only_shows() {
    let barge = Barge::with_busybox();
    let line =
        ["run", "--rm", "-t", "--network", "none", "busybox", "sh", "-c", "stty size; echo out"];
    // No terminal on our side: the container has one all the same, with line ends as terminals have them.
    let output = barge.run(line).ok();
    assert!(output.text().ends_with("\r\nout\r"), "{:?}", output.text());
}

#[test]
fn terminal_of_a_detached_container_waits_for_attach() {
    let barge = Barge::with_busybox();
    let id = barge.start(["-it", "busybox", "sh"]);
    let mut terminal = barge.command(["attach", &id]).terminal();
    terminal.send("tty; exit 6\r");
    terminal.expect("/dev/pts/0");
    terminal.exits(6);
}

#[test]
fn exec_has_a_terminal_of_its_own() {
    let barge = Barge::with_busybox();
    let id = barge.start(["busybox", "sleep", "1000"]);
    let mut terminal = barge.command(["exec", "-it", &id, "sh"]).terminal();
    terminal.expect("# ");
    terminal.send("tty; echo $TERM; stty size; exit 4\r");
    terminal.expect("/dev/pts/");
    terminal.expect("xterm");
    terminal.expect("24 80");
    terminal.exits(4);
    assert_eq!(barge.status(&id), "running");
}

#[test]
fn exec_follows_the_window_size_and_detaches() {
    let barge = Barge::with_busybox();
    let id = barge.start(["busybox", "sleep", "1000"]);
    let script = "trap 'stty size' WINCH; echo ready; until test -e /end; do sleep 0.1; done";
    let mut terminal = barge.command(["exec", "-it", &id, "sh", "-c", script]).terminal();
    let before = format!("{:?}", terminal.settings_before());
    terminal.expect("ready");
    terminal.resize(33, 44);
    terminal.expect("33 44");
    terminal.send("\u{10}\u{11}");
    terminal.exits(0);
    assert_eq!(format!("{:?}", terminal.settings()), before);
    // It goes on, and its end is an event all the same.
    assert_eq!(barge.inspect(&id, "{{len .ExecIDs}}"), "1");
    barge.touch(&id, "/end");
    let line = ["events", "--stream=false", "--format", "{{.Status}}", "--filter"];
    let line: Vec<&str> = line.into_iter().chain(["event=exec_died"]).collect();
    wait_until("both have ended", || barge.run(&line).ok().lines().len() == 2);
    assert_eq!(barge.inspect(&id, "{{len .ExecIDs}}"), "0");
    barge.run(["stop", "-t", "0", &id]).ok();
}

#[test]
fn detach_keys_are_those_of_containers_conf() {
    let barge = Barge::with_busybox();
    let conf = barge.file("containers.conf", "[engine]\ndetach_keys = \"ctrl-x,q\"\n");
    let none = barge.file("none.conf", "[engine]\ndetach_keys = \"\"\n");
    let id =
        barge.start(["-it", "busybox", "sh", "-c", "while read line; do echo \"<$line>\"; done"]);
    let mut attached = barge.command(["attach", &id]).env("CONTAINERS_CONF", &conf).terminal();
    attached.send("a\r");
    attached.expect("<a>");
    attached.send("\u{18}q");
    attached.exits(0);
    let line = ["exec", "-it", &id, "cat"];
    let mut inside = barge.command(line).env("CONTAINERS_CONF", &conf).terminal();
    inside.send("b\r");
    inside.expect("b\r\nb\r\n");
    inside.send("\u{18}q");
    inside.exits(0);
    // With none, all that is typed is for the program.
    let line = ["exec", "-it", &id, "head", "-n", "1"];
    let mut inside = barge.command(line).env("CONTAINERS_CONF", &none).terminal();
    inside.send("c\u{10}\u{11}d\r");
    inside.expect("d\r\n");
    inside.exits(0);
    barge.run(["stop", "-t", "0", &id]).ok();
}

#[test]
fn terminal_output_is_logged() {
    let barge = Barge::with_busybox();
    let id = barge.start(["-t", "busybox", "sh", "-c", "echo one; echo two >&2"]);
    barge.run(["wait", &id]).ok();
    let log = barge.run(["logs", &id]).ok();
    assert_eq!(log.text().replace('\r', ""), "one\ntwo");
}

#[test]
fn terminal_device_belongs_to_the_user() {
    let barge = Barge::with_busybox();
    let mut terminal =
        run(&barge, &["--rm", "-u", "app"], &["sh", "-c", "stat -c %u $(tty); echo x > $(tty)"]);
    terminal.expect("1000\r\n");
    terminal.expect("x\r\n");
    terminal.exits(0);
    // What the tests themselves run as makes no difference here.
    assert!(is_root() || barge.containers().is_empty());
}
