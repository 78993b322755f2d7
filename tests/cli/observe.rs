//! top, stats and port: what is seen of running containers.

use std::fs;

use super::support::{Barge, Need, is_root, needs, wait_until};

/// Says that it is there, and waits.
const WAIT: &str = "echo up; exec sleep 1000";

#[test]
fn top_shows_processes_as_the_container_sees_them() {
    let barge = Barge::with_busybox();
    let script = "sleep 2000 & echo up; exec sleep 1000";
    barge.start(["--name", "box", "busybox", "sh", "-c", script]);
    barge.await_log("box", "up");
    let lines = barge.run(["top", "box"]).ok().lines();
    let words: Vec<Vec<&str>> = lines.iter().map(|it| it.split_whitespace().collect()).collect();
    assert_eq!(words[0], ["USER", "PID", "PPID", "%CPU", "ELAPSED", "TTY", "TIME", "COMMAND"]);
    assert_eq!(words[1][..3], ["root", "1", "0"]);
    assert_eq!(words[2][2], "1");
    assert!(lines[1].ends_with("sleep 1000") && lines[2].ends_with("sleep 2000"), "{lines:?}");

    let pid = barge.inspect("box", "{{.State.Pid}}");
    let lines = barge.run(["top", "box", "pid", "hpid", "comm", "seccomp"]).ok().lines();
    let first: Vec<&str> = lines[1].split_whitespace().collect();
    // Without root the numbers are those of the user's own view, which is the machine's.
    assert_eq!(first, ["1", &pid, "sleep", "filter"]);
    let out = barge.run(["top", "box", "-eo", "pid,comm"]).ok().lines();
    assert_eq!(out[0].split_whitespace().collect::<Vec<_>>(), ["PID", "COMMAND"]);
    assert_eq!(out[1].split_whitespace().collect::<Vec<_>>(), ["1", "sleep"]);
    assert_eq!(out.len(), 3, "{out:?}");
    barge.run(["top", "-l", "capeff", "state"]).ok().stdout_has("CHOWN");
    barge.run(["top", "box", "aux"]).ok().stdout_has("%MEM");
    barge.run(["top", "box", "bogus"]).fails(125).error_has("bogus").hint_has("huser");
    barge.run(["top", "nosuch"]).fails(125).error_has("no such container");
    barge.run(["stop", "-t", "0", "box"]).exits(0);
    barge.run(["top", "box"]).fails(125).error_has("top can only be used on running containers");
}

#[test]
fn top_knows_users_of_both_sides_and_needs_no_program_inside() {
    let barge = Barge::with_busybox();
    let script = "echo 'fred:x:7:7::/:/bin/sh' >>/etc/passwd; rm -f /bin/ps; echo up; sleep 1000";
    barge.start(["--name", "box", "busybox", "sh", "-c", script]);
    barge.await_log("box", "up");
    barge.run(["exec", "-d", "-u", "fred", "box", "sleep", "3000"]).ok();
    wait_until("it is seen", || barge.run(["top", "box"]).ok().text().contains("sleep 3000"));
    let lines = barge.run(["top", "box", "user", "huser", "ppid", "args"]).ok().lines();
    let line = lines.iter().find(|line| line.contains("sleep 3000")).unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!((words[0], words[2]), ("fred", "0"));
    assert_eq!(words[1] == "7" || words[1] == "lp", is_root(), "{line}");
    // A hostile file of users does no harm.
    barge.run(["exec", "box", "sh", "-c", "rm /etc/passwd; mkfifo /etc/passwd"]).ok();
    barge.run(["top", "box", "user", "pid"]).ok().stdout_has("0");
    barge
        .run([
            "exec",
            "box",
            "sh",
            "-c",
            "rm /etc/passwd; ln -s /../../../../etc/shadow /etc/passwd",
        ])
        .ok();
    barge.run(["top", "box", "user", "pid"]).ok();
}

#[test]
fn stats_show_what_is_used() {
    let barge = Barge::with_busybox();
    let busy = "echo up; while :; do :; done";
    let id = barge.start(["--name", "busy", "busybox", "sh", "-c", busy]);
    barge.start(["--name", "idle", "busybox", "sh", "-c", WAIT]);
    barge.await_log("busy", "up");
    barge.run(["create", "--network", "none", "--name", "off", "busybox", "true"]).ok();
    let lines = barge.run(["stats", "--no-stream"]).ok().lines();
    assert_eq!(lines.len(), 3, "{lines:?}");
    for heading in ["ID", "NAME", "CPU %", "MEM USAGE / LIMIT", "NET IO", "BLOCK IO", "PIDS"] {
        assert!(lines[0].contains(heading), "{}", lines[0]);
    }
    assert!(lines[1].starts_with(&id[..12]), "{lines:?}");
    let percent = |name: &str| -> f64 {
        let line = ["stats", "--no-stream", "--format", "{{.CPUPerc}}", name];
        barge.run(line).ok().text().trim_end_matches('%').parse().unwrap()
    };
    assert!(percent("busy") > percent("idle"), "one runs, the other sleeps");
    let json = barge.run(["stats", "--no-stream", "--format", "json", "busy"]).ok().json();
    assert_eq!(json[0]["name"], "busy");
    assert_eq!(json[0]["pids"], "1");
    assert!(json[0]["mem_usage"].as_str().unwrap().contains(" / "), "{json}");
    let all = barge.run(["stats", "--no-stream", "-a", "--format", "{{.Name}}"]).ok().lines();
    assert_eq!(all, ["busy", "idle", "off"]);
    barge
        .run(["stats", "--no-stream", "--no-trunc", "--format", "{{.ID}}", "busy"])
        .ok()
        .stdout(&format!("{id}\n"));
    // What was typed, as Docker has it.
    let shown = |line: &[&str]| {
        let template = ["stats", "--no-stream", "--format", "{{.Container}} {{.Name}}"];
        barge.run([&template, line].concat()).ok().text()
    };
    assert_eq!(shown(&["idle", &id[..5]]), format!("idle idle\n{} busy", &id[..5]));
    assert!(shown(&[]).starts_with(&format!("{} busy\n", &id[..12])));
    // The numbers behind them.
    let template = "{{.CPUNano}} {{.CPUSystemNano}} {{.Duration}} {{.MemLimit}} {{.NetInput}} \
                    {{.NetOutput}} {{.BlockInput}} {{.BlockOutput}} {{.SystemNano}} {{.Up}}";
    let numbers = barge.run(["stats", "--no-stream", "--format", template, "busy"]).ok().text();
    let numbers: Vec<u64> = numbers.split(' ').take(9).map(|it| it.parse().unwrap()).collect();
    assert!(numbers[0] >= numbers[1] && numbers[2] >= numbers[0] / 4, "{numbers:?}");
    assert!(numbers[3] > 0 && numbers[8] > numbers[2], "{numbers:?}");
    barge.run(["stats", "--no-stream", "nosuch"]).fails(125).error_has("no such container");
    barge.run(["stats", "--interval", "0"]).fails(125).error_has("interval");
}

#[test]
fn stats_go_on_until_the_container_ends() {
    let barge = Barge::with_busybox();
    barge.start(["--name", "box", "busybox", "sh", "-c", WAIT]);
    let mut stream = barge
        .command(["stats", "--format", "{{.Name}} {{.PIDs}}", "--interval", "1", "box"])
        .spawn();
    stream.expect("box 1\nbox 1\n");
    barge.run(["rm", "-f", "-t", "0", "box"]).ok();
    let output = stream.wait();
    assert!([0, 125].contains(&output.status), "{}", output.story());
}

#[test]
fn stats_count_traffic() {
    if !needs(&[Need::Root]) {
        return;
    }
    let barge = Barge::with_busybox();
    barge.run(["run", "-d", "--name", "box", "busybox", "sh", "-c", WAIT]).ok();
    let received = || {
        let pid = barge.inspect("box", "{{.State.Pid}}");
        let text = fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap();
        let line = text.lines().find(|line| line.trim_start().starts_with("eth0:")).unwrap();
        line.split_whitespace().nth(9).unwrap().parse::<u64>().unwrap()
    };
    let gateway = barge.inspect("box", "{{.NetworkSettings.Gateway}}");
    barge.run(["exec", "box", "ping", "-c", "2", "-s", "1000", &gateway]).exits(0);
    assert!(received() >= 2000);
    let line = ["stats", "--no-stream", "--format", "{{.NetIO}}", "box"];
    let shown = barge.run(line).ok().text();
    assert!(shown.contains("kB / ") && shown.ends_with("kB"), "{shown}");
}

#[test]
fn narrow_terminals_get_fewer_columns() {
    let barge = Barge::with_busybox();
    barge.start(["--name", "box", "busybox", "sh", "-c", WAIT]);
    for width in [60, 100] {
        let mut terminal = barge.command(["stats", "--no-stream"]).terminal();
        terminal.resize(20, width);
        terminal.exits(0);
        let text = terminal.screen();
        for line in text.lines() {
            assert!(line.trim_end().chars().count() <= usize::from(width), "{width}: {text}");
        }
        assert!(text.contains("box") && text.contains("CPU %"), "{text}");
    }
}

#[test]
fn port_shows_what_is_published() {
    let barge = Barge::with_busybox();
    let one = super::support::registry::free_port(barge.place());
    let publish = format!("127.0.0.1:{one}:80");
    let line = ["run", "-d", "--name", "web", "-p", &publish, "busybox", "sh", "-c", WAIT];
    let id = barge.run(line).ok().text();
    let want = format!("80/tcp -> 127.0.0.1:{one}\n");
    barge.run(["port", "web"]).ok().stdout(&want);
    barge.run(["port", "-l"]).ok().stdout(&want);
    barge.run(["port", "-a"]).ok().stdout(&format!("{}\t{want}", &id[..12]));
    for port in ["80", "80/tcp"] {
        barge.run(["port", "web", port]).ok().stdout(&format!("127.0.0.1:{one}\n"));
        barge.run(["port", "-l", port]).ok().stdout(&format!("127.0.0.1:{one}\n"));
    }
    barge
        .run(["port", "web", "99/tcp"])
        .fails(125)
        .error("failed to find published port \"99/tcp\"");
    barge
        .run(["port", "web", "80/udp"])
        .fails(125)
        .error("failed to find published port \"80/udp\"");
    barge.run(["port", "web", "http"]).fails(125).error_has("invalid port `http`");
    barge.run(["port"]).fails(125).error_has("you must provide at least one name or id");
}
