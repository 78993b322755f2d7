//! `--log-driver passthrough`: the container has the standard streams of who starts it.

use super::support::Barge;
use super::support::process::KNOWN_WARNING;

const FLAGS: [&str; 4] = ["run", "--network=none", "--log-driver", "passthrough"];

fn line<'a>(flags: &[&'a str], script: &'a str) -> Vec<&'a str> {
    [&FLAGS[..], &["--name", "box"], flags, &["busybox", "sh", "-c", script]].concat()
}

/// Runs barge with pipes that are known by their numbers.
fn own_streams(barge: &Barge, flags: &[&str], script: &str) -> String {
    let program = barge.program().to_string_lossy().into_owned();
    let (root, runroot) = (barge.root(), barge.runroot());
    let (out, err) = (barge.path_text("out"), barge.path_text("err"));
    let shell = format!("echo typed | \"$@\" >{out} 2>{err}");
    let mut words = vec!["-c", &shell, "sh", &program];
    let (root, runroot) = (root.to_string_lossy(), runroot.to_string_lossy());
    words.extend(["--root", &root, "--runroot", &runroot]);
    words.extend(line(flags, script));
    barge.other_command("sh", words).run().ok();
    barge.run(["wait", "box"]).ok();
    let read = |name| std::fs::read_to_string(barge.path(name)).unwrap();
    format!("{}|{}", read("out"), read("err").replace(KNOWN_WARNING, ""))
}

#[test]
fn passthrough_gives_the_streams_of_the_caller() {
    let barge = Barge::with_busybox();
    let script = "cat; echo err >&2; readlink /proc/self/fd/1";
    // They are the very same, and nobody stands between.
    let want = |text: &str| text.starts_with("typed\n") && text.ends_with("/out\n|err\n");
    let text = own_streams(&barge, &[], script);
    assert!(want(&text), "{text}");
    barge.run(["rm", "box"]).ok();
    // Also of one in the background: that is how units of systemd have it.
    let text = own_streams(&barge, &["-d"], script);
    let (id, text) = text.split_once('\n').unwrap();
    assert!(id.len() == 64 || id == "typed", "{id}");
    assert!(text.contains("/out\n") && text.ends_with("|err\n"), "{text}");
    let wrong = barge.run(["logs", "box"]).fails(125);
    wrong.error_has("this container is using the 'passthrough' log driver, cannot read logs");
    // `start` gives its own.
    let output = barge.command(["start", "-a", "box"]).input("more\n").run().ok();
    output.stdout_has("more\n");
}

#[test]
fn passthrough_keeps_the_exit_code_and_nothing_open() {
    let barge = Barge::with_busybox();
    barge.run(line(&["--rm"], "exit 7")).exits(7);
    // Who waits for the end of the pipe must wait for the container only.
    let output = barge.run(line(&["-d"], "exec sleep 1000 </dev/null >/dev/null 2>&1")).ok();
    assert_eq!(output.text().len(), 64);
    let attach = barge.run(["attach", "box"]).fails(125);
    attach.error_has("this container is using the 'passthrough' log driver, cannot attach");
    barge.run(["rm", "-f", "-t", "0", "box"]).ok();
    // One that is started again has them each time.
    let script = "echo line; test -e /second || { touch /second; exit 1; }";
    let line = line(&["--restart", "on-failure:3"], script);
    barge.run(line).exits(1).stdout("line\nline\n");
}

#[test]
fn passthrough_gives_no_terminal_away() {
    let barge = Barge::with_busybox();
    let mut terminal = barge.command(line(&[], "true")).terminal();
    terminal.expect("the '--log-driver passthrough' option cannot be used on a TTY");
    terminal.exits(125);
    barge.run(line(&["-t"], "true")).fails(125).error_has("cannot be set together");
    let mut own = line(&[], "test -t 0 && test -t 1 && echo is one");
    own[3] = "passthrough-tty";
    let mut terminal = barge.command(own).terminal();
    terminal.expect("is one");
    terminal.exits(0);
}
