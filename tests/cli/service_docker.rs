//! `barge system service` with Docker's own client.

use super::support::service::Served;
use super::support::{Barge, Need, needs, wait_until};

#[test]
fn docker_run_passes_streams_and_exit_codes_on() {
    if !needs(&[Need::Tool("docker")]) {
        return;
    }
    let barge = Barge::with_busybox();
    let served = Served::start(&barge);
    let run = |words: &[&str]| {
        let line = ["run", "--rm", "--network", "none"].iter().chain(words);
        served.docker(line).run()
    };
    run(&["busybox", "sh", "-c", "echo out; echo err >&2; exit 3"])
        .exits(3)
        .stdout("out\n")
        .stderr_has("err\n");
    // A missing command is told from one that failed.
    run(&["busybox", "nonsense"]).exits(127);
    run(&["busybox", "/etc"]).exits(126);
    run(&["--entrypoint", "/nonexistent/x", "busybox"]).exits(127);
    let bytes: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    let output = served
        .docker(["run", "-i", "--rm", "--network", "none", "busybox", "cat"])
        .input(bytes.clone())
        .run()
        .ok();
    assert!(output.stdout == bytes, "{} of {} bytes", output.stdout.len(), bytes.len());
    assert!(barge.containers().is_empty(), "{:?}", barge.containers());
}

#[test]
fn docker_run_gives_a_terminal() {
    if !needs(&[Need::Tool("docker")]) {
        return;
    }
    let barge = Barge::with_busybox();
    let served = Served::start(&barge);
    let mut terminal =
        served.docker(["run", "-it", "--rm", "--network", "none", "busybox", "sh"]).terminal();
    terminal.expect("# ");
    terminal.send("stty size; echo $((20 + 22))\n");
    terminal.expect("24 80");
    terminal.expect("42");
    terminal.resize(30, 100);
    wait_until("the container knows the size", || {
        terminal.send("stty size\n");
        terminal.screen().contains("30 100")
    });
    terminal.send("exit 5\n");
    terminal.exits(5);
}

#[test]
fn docker_exec_runs_more_processes() {
    if !needs(&[Need::Tool("docker")]) {
        return;
    }
    let barge = Barge::with_busybox();
    let served = Served::start(&barge);
    let id = barge.start(["--name", "box", "busybox", "sleep", "1000"]);
    let before = barge.processes().len();
    let exec = |words: &[&str]| served.docker(["exec"].iter().chain(words));
    exec(&["box", "sh", "-c", "echo out; echo err >&2; exit 4"])
        .run()
        .exits(4)
        .stdout("out\n")
        .stderr_has("err\n");
    exec(&["-e", "A=b", "-w", "/tmp", "-u", "1000:1000", "box", "sh", "-c", "echo $A; pwd; id -u"])
        .run()
        .ok()
        .stdout("b\n/tmp\n1000\n");
    exec(&["-i", "box", "wc", "-c"]).input(vec![b'x'; 100_000]).run().ok().stdout("100000\n");
    exec(&["box", "nonsense"]).run().exits(127);
    exec(&["box", "/etc"]).run().exits(126);
    exec(&["-d", "box", "touch", "/made"]).run().ok();
    wait_until("it was made", || barge.run(["exec", &id, "test", "-e", "/made"]).status == 0);
    let mut terminal = exec(&["-it", "box", "sh"]).terminal();
    terminal.expect("# ");
    terminal.send("stty size; exit 6\n");
    terminal.expect("24 80");
    terminal.exits(6);
    // Nothing stays of any of them.
    wait_until("no process is left of them", || barge.processes().len() <= before);
    let left = served.json("GET", &format!("/containers/{id}/json"), "");
    assert_eq!(left["ExecIDs"], serde_json::Value::Null);
}

#[test]
fn docker_looks_at_containers() {
    if !needs(&[Need::Tool("docker")]) {
        return;
    }
    let barge = Barge::with_busybox();
    let served = Served::start(&barge);
    let docker = |words: &[&str]| served.docker(words).run();
    let script = "echo first; echo second; touch /new; rm /etc/group; trap 'exit 7' TERM; while :; do sleep 0.1; done";
    docker(&["run", "-d", "--name", "box", "--network", "none", "busybox", "sh", "-c", script])
        .ok();
    barge.await_log("box", "second");
    docker(&["logs", "box"]).ok().stdout("first\nsecond\n");
    docker(&["logs", "--tail", "1", "box"]).ok().stdout("second\n");
    let mut follower = served.docker(["logs", "-f", "box"]).spawn();
    follower.expect("second");
    docker(&["ps", "--format", "{{.Names}} {{.Image}} {{.State}}"])
        .ok()
        .stdout("box busybox running\n");
    docker(&["top", "box"]).ok().stdout_has("PID").stdout_has("sh -c");
    docker(&["stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}}", "box"])
        .ok()
        .stdout_has("box ");
    wait_until("its changes are seen", || {
        let changes = docker(&["diff", "box"]).ok().text();
        changes.contains("A /new") && changes.contains("D /etc/group")
    });
    docker(&["rename", "box", "other"]).ok();
    docker(&["update", "--restart", "no", "--memory", "64m", "--memory-swap", "64m", "other"]).ok();
    assert_eq!(barge.inspect("other", "{{.HostConfig.Memory}}"), (64 << 20).to_string());
    let mut told = vec!["create", "start", "rename", "kill", "die"];
    // Pausing takes a control group.
    if needs(&[Need::Root]) {
        told.extend(["pause", "unpause"]);
        docker(&["pause", "other"]).ok();
        docker(&["ps", "--format", "{{.Status}}"]).ok().stdout_has("(Paused)");
        docker(&["unpause", "other"]).ok();
    }
    let waiting = served.docker(["wait", "other"]).spawn();
    let archive = barge.path_text("export.tar");
    docker(&["export", "-o", &archive, "other"]).ok();
    let listed = barge.other_command("tar", ["-tf", &archive]).run().ok();
    listed.stdout_has("new\n");
    docker(&["kill", "-s", "TERM", "other"]).ok();
    waiting.wait().ok().stdout("7\n");
    follower.wait().ok();
    docker(&["ps", "-a", "--format", "{{.Status}}"]).ok().stdout_has("Exited (7)");
    // The client's end of time is a whole second.
    wait_until("all has been told", || {
        let line = ["events", "--since", "1h", "--until", "0s", "--filter", "type=container"];
        let line = line.iter().chain(&["--format", "{{.Action}}"]);
        let events = served.docker(line).run().ok().text();
        told.iter().all(|action| events.lines().any(|line| line == *action))
    });
    docker(&["rm", "other"]).ok();
    docker(&["info", "--format", "{{.Containers}} {{.OSType}}"]).ok().stdout("0 linux\n");
}

#[test]
fn docker_attaches() {
    if !needs(&[Need::Tool("docker")]) {
        return;
    }
    let barge = Barge::with_busybox();
    let served = Served::start(&barge);
    let id = barge.start(["-i", "busybox", "cat"]);
    let mut client = served.docker(["attach", &id]).open_input().spawn();
    wait_until("it is heard", || {
        client.send("ping\n");
        client.has_shown("ping")
    });
    client.close_input();
    client.wait().ok();
    barge.await_status(&id, "exited");
    // Input that is kept open for others goes on when one of them says no more.
    let line = ["run", "-di", "--network", "none", "busybox", "cat"];
    let id = served.docker(line).run().ok().text();
    let id = id.trim();
    let mut first = served.docker(["attach", id]).open_input().spawn();
    first.send("one\n");
    wait_until("it is heard", || first.has_shown("one"));
    first.close_input();
    let mut second = served.docker(["attach", id]).open_input().spawn();
    for number in 0..50 {
        let word = format!("word {number}.");
        second.send(format!("{word}\n"));
        wait_until("it is heard", || second.has_shown(&word));
    }
    let shown = "{{.Config.AttachStdin}} {{.Config.OpenStdin}} {{.Config.StdinOnce}}";
    served.docker(["inspect", "-f", shown, id]).run().ok().stdout("false true false\n");
    served.docker(["rm", "-f", id]).run().ok();
    first.wait();
    second.wait();
    // Once more, from its first byte on.
    let id = served
        .docker(["create", "--network", "none", "busybox", "sh", "-c", "echo all of it; exit 8"])
        .run()
        .ok()
        .text();
    served.docker(["start", "-a", &id]).run().exits(8).stdout("all of it\n");
    served.docker(["start", "-a", &id]).run().exits(8).stdout("all of it\n");
}

#[test]
fn docker_restarts_and_probes_without_the_service() {
    if !needs(&[Need::Tool("docker")]) {
        return;
    }
    let barge = Barge::with_busybox();
    {
        let served = Served::start(&barge);
        served
            .docker([
                "run", "-d", "--name", "box", "--network", "none", "--restart", "on-failure:2",
                "--health-cmd", "true", "--health-interval", "1s", "busybox", "sh", "-c",
                "test -e /third && sleep 1000; test -e /second && touch /third; touch /second; exit 1",
            ])
            .run()
            .ok();
    }
    // The service is gone; the container's monitor goes on.
    barge.await_status("box", "running");
    wait_until("it was restarted twice", || barge.inspect("box", "{{.RestartCount}}") == "2");
    wait_until("it is healthy", || barge.inspect("box", "{{.State.Health.Status}}") == "healthy");
    let served = Served::start(&barge);
    served.docker(["ps", "--format", "{{.Status}}"]).run().ok().stdout_has("(healthy)");
    served.docker(["rm", "-f", "box"]).run().ok();
}
