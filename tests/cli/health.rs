//! Health checks: probed by the monitor, with neither daemon nor systemd.

use std::time::Duration;

use rustix::process::{Signal, kill_process};
use serde_json::Value;

use super::support::{Barge, fixture, wait_until};

/// A check that succeeds while /well is there.
const WELL: [&str; 2] = ["--health-cmd", "echo looked; test -e /well"];

/// Often enough that a test need not wait long.
const OFTEN: [&str; 2] = ["--health-interval", "50ms"];

fn start(barge: &Barge, flags: &[&str], script: &str) {
    let mut line = vec!["--name", "box"];
    line.extend(flags);
    line.extend(["busybox", "sh", "-c", script]);
    barge.start(line);
}

fn health(barge: &Barge) -> String {
    barge.inspect("box", "{{.State.Health.Status}}")
}

fn await_health(barge: &Barge, status: &str) {
    wait_until(status, || health(barge) == status);
}

const WAITS: &str = "trap 'exit 0' TERM; while :; do sleep 0.1; done";

#[test]
fn probes_follow_how_the_container_is() {
    let barge = Barge::with_busybox();
    let flags = [&WELL[..], &OFTEN, &["--health-retries", "2"]].concat();
    start(&barge, &flags, WAITS);
    await_health(&barge, "unhealthy");
    let text = barge.run(["ps", "--format", "{{.Status}}"]).ok().text();
    assert!(text.ends_with(" (unhealthy)"), "{text}");
    barge.run(["ps", "-q", "--no-trunc", "--filter", "health=healthy"]).ok().stdout("");
    barge.run(["exec", "box", "touch", "/well"]).ok();
    barge.run(["wait", "--condition", "healthy", "box"]).ok().stdout("-1\n");
    let text = barge.run(["ps", "--filter", "health=healthy", "--format", "{{.Status}}"]).ok();
    assert!(text.text().ends_with(" (healthy)"), "{}", text.text());
    let state: Value =
        serde_json::from_str(&barge.inspect("box", "{{json .State.Health}}")).unwrap();
    assert_eq!(state["FailingStreak"], 0);
    let log = state["Log"].as_array().unwrap();
    assert!((1..=5).contains(&log.len()), "{log:?}");
    let last = log.last().unwrap();
    assert_eq!((&last["ExitCode"], &last["Output"]), (&Value::from(0), &Value::from("looked\n")));
    barge.run(["exec", "box", "rm", "/well"]).ok();
    barge.run(["wait", "--condition=unhealthy", "box"]).ok();
    let line = ["events", "--stream=false", "--filter", "event=health_status"];
    let format = ["--format", "{{.HealthStatus}}"];
    let events = barge.run(line.iter().chain(&format)).ok().text();
    assert_eq!(events, "unhealthy\nhealthy\nunhealthy");
}

#[test]
fn a_probe_by_hand_tells_by_its_exit_status() {
    let barge = Barge::with_busybox();
    start(&barge, &[&WELL[..], &["--health-interval", "disable"]].concat(), WAITS);
    assert_eq!(health(&barge), "starting");
    barge.run(["healthcheck", "run", "box"]).exits(1).stdout("").stderr("");
    barge.run(["healthcheck", "run", "--ignore-result", "box"]).ok();
    barge.run(["exec", "box", "touch", "/well"]).ok();
    barge.run(["healthcheck", "run", "box"]).ok().stdout("");
    assert_eq!(health(&barge), "healthy");
    barge.run(["stop", "-t", "0", "box"]).exits(0);
    barge.run(["healthcheck", "run", "box"]).fails(125).error_has("is not running");
    barge.start(["--name", "plain", "busybox", "sleep", "1000"]);
    let output = barge.run(["healthcheck", "run", "plain"]).fails(125);
    output.error_has("has no defined healthcheck");
    barge.run(["wait", "--condition", "healthy", "plain"]).fails(125);
    assert_eq!(barge.inspect("plain", "{{json .State.Health}}"), "null");
}

#[test]
fn failures_do_not_count_while_it_starts() {
    let barge = Barge::with_busybox();
    let period = ["--health-retries", "1", "--health-start-period", "1h"];
    let flags = [&WELL[..], &OFTEN, &period, &["--health-start-interval", "50ms"]].concat();
    start(&barge, &flags, WAITS);
    let probes = || barge.inspect("box", "{{len .State.Health.Log}}");
    wait_until("it was probed", || probes() == "5");
    assert_eq!(health(&barge), "starting");
    let text = barge.run(["ps", "--format", "{{.Status}}"]).ok().text();
    assert!(text.ends_with(" (health: starting)"), "{text}");
    barge.run(["exec", "box", "touch", "/well"]).ok();
    await_health(&barge, "healthy");
    // From now on they count.
    barge.run(["exec", "box", "rm", "/well"]).ok();
    await_health(&barge, "unhealthy");
}

#[test]
fn a_probe_that_takes_too_long_has_failed_and_is_gone() {
    let barge = Barge::with_busybox();
    let command = ["--health-cmd", "exec sleep 2345", "--health-timeout", "300ms"];
    start(&barge, &[&command[..], &OFTEN, &["--health-retries", "1"]].concat(), WAITS);
    await_health(&barge, "unhealthy");
    let text = barge.inspect(
        "box",
        "{{(index .State.Health.Log 0).ExitCode}} {{(index .State.Health.Log 0).Output}}",
    );
    assert_eq!(text, "-1 Health check exceeded timeout (300ms)");
    // At most the one of the moment.
    let list = barge.run(["exec", "box", "ps", "-o", "args"]).ok().text();
    assert!(list.lines().filter(|line| line.contains("sleep 2345")).count() <= 1, "{list}");
}

#[test]
fn a_container_ends_even_if_what_watches_over_a_probe_is_killed() {
    let barge = Barge::with_busybox();
    let flags = ["--health-cmd", "exec sleep 2345", "--health-timeout", "1h"];
    start(&barge, &[&flags[..], &["--health-interval", "50ms"]].concat(), WAITS);
    let probes = || {
        let list = barge.run(["exec", "box", "ps", "-o", "args"]).ok().text();
        list.lines().filter(|line| *line == "sleep 2345").count()
    };
    wait_until("it is probed", || probes() == 1);
    let watchers = super::exec::watchers(&barge);
    assert_eq!(watchers.len(), 1);
    kill_process(watchers[0], Signal::KILL).unwrap();
    // The one that was left goes on, and is the monitor's now.
    wait_until("it is probed again", || probes() == 2);
    barge.command(["stop", "-t", "0", "box"]).limit(Duration::from_secs(20)).run().ok();
    assert_eq!(barge.status("box"), "exited");
    // One that ends while the container runs leaves no zombie behind.
    barge.run(["start", "box"]).ok();
    wait_until("it is probed", || probes() == 1);
    kill_process(super::exec::watchers(&barge)[0], Signal::KILL).unwrap();
    wait_until("it is probed again", || probes() == 2);
    let kill = "kill -9 $(grep -l 2345 /proc/[0-9]*/cmdline | cut -d/ -f3 | grep -vx $$)";
    barge.run(["exec", "box", "sh", "-c", kill]);
    let states = ["exec", "box", "sh", "-c", "cat /proc/[0-9]*/stat"];
    let zombies = || barge.run(states).text().contains(" Z ");
    wait_until("no zombies are left", || !zombies());
}

#[test]
fn what_cannot_be_run_is_not_well() {
    let barge = Barge::with_busybox();
    let flags = ["--health-cmd", r#"["/no/such"]"#, "--health-retries", "1"];
    start(&barge, &[&flags[..], &OFTEN].concat(), WAITS);
    await_health(&barge, "unhealthy");
    let text = barge.inspect(
        "box",
        "{{(index .State.Health.Log 0).ExitCode}} {{(index .State.Health.Log 0).Output}}",
    );
    assert!(text.starts_with("127 ") && text.contains("/no/such"), "{text}");
}

#[test]
fn an_unhealthy_container_is_killed_stopped_or_started_again() {
    for (action, restart, status) in
        [("kill", "no", "exited"), ("stop", "always", "exited"), ("restart", "no", "running")]
    {
        let barge = Barge::with_busybox();
        let flags = ["--health-retries", "1", "--health-on-failure", action, "--restart", restart];
        let script = format!("test -e /seen && touch /well; touch /seen; echo up; {WAITS}");
        start(&barge, &[&WELL[..], &OFTEN, &flags].concat(), &script);
        match action {
            "restart" => {
                await_health(&barge, "healthy");
                assert_eq!(barge.inspect("box", "{{.RestartCount}}"), "1");
            }
            _ => barge.await_status("box", status),
        }
        assert_eq!(barge.status("box"), status, "{action}");
        let code = if action == "kill" { "137" } else { "0" };
        assert_eq!(barge.inspect("box", "{{.State.ExitCode}}"), code, "{action}");
    }
}

#[test]
fn the_start_is_checked_before_health() {
    let barge = Barge::with_busybox();
    let startup = [
        "--health-startup-cmd",
        "test -e /started",
        "--health-startup-interval",
        "50ms",
        "--health-startup-success",
        "2",
    ];
    let flags = [&WELL[..], &OFTEN, &["--health-retries", "1"], &startup].concat();
    start(&barge, &flags, WAITS);
    let probes = || barge.inspect("box", "{{len .State.Health.Log}}");
    wait_until("it was probed", || probes() == "5");
    assert_eq!(health(&barge), "starting");
    barge.run(["exec", "box", "touch", "/started"]).ok();
    await_health(&barge, "unhealthy");
    let wrong = ["create", "--health-startup-cmd", "true", "busybox", "true"];
    barge.run(wrong).fails(125).error_has("requires that a regular healthcheck is set");
}

#[test]
fn results_are_kept_where_and_as_long_as_asked() {
    let barge = Barge::with_busybox();
    let dir = barge.path_text("results");
    std::fs::create_dir(&dir).unwrap();
    let log = ["--health-log-destination", &dir, "--health-max-log-count", "2"];
    let command = ["--health-cmd", "echo 0123456789", "--health-max-log-size", "4"];
    start(&barge, &[&command[..], &OFTEN, &log].concat(), WAITS);
    let id = barge.inspect("box", "{{.Id}}");
    let read = || std::fs::read(format!("{dir}/{id}-healthcheck.log")).unwrap();
    let results = || serde_json::from_slice::<Value>(&read()).unwrap();
    wait_until("two are kept", || results()["Log"].as_array().unwrap().len() == 2);
    let probe =
        |at: usize| barge.inspect("box", &format!("{{{{(index .State.Health.Log {at}).End}}}}"));
    let first = probe(0);
    wait_until("others have taken their place", || probe(0) > first && probe(1) > probe(0));
    let kept = results();
    assert_eq!(kept["Log"].as_array().unwrap().len(), 2);
    assert_eq!((&kept["Log"][0]["Output"], &kept["Status"]), (&"0123".into(), &"healthy".into()));
    let config = "{{.Config.HealthLogDestination}} {{.Config.HealthcheckMaxLogCount}} {{.Config.HealthcheckMaxLogSize}}";
    assert_eq!(barge.inspect("box", config), format!("{dir} 2 4"));
    barge.run(["rm", "-f", "-t", "0", "box"]).ok();
    let log = ["--health-log-destination", "events_logger", "--health-cmd", "echo told"];
    start(&barge, &[&log[..], &OFTEN].concat(), WAITS);
    await_health(&barge, "healthy");
    let line = ["events", "--stream=false", "--filter", "event=health_status", "--format", "json"];
    let told = || barge.run(line).ok().text().matches("told").count();
    wait_until("each is told", || told() > 1);
    assert_eq!(barge.inspect("box", "{{len .State.Health.Log}}"), "0");
    let wrong = ["create", "--health-cmd=true", "--health-log-destination", "/nosuch", "busybox"];
    barge.run(wrong).fails(125).error_has("HealthCheck Log '/nosuch' destination error");
}

#[test]
fn checks_change_while_the_container_runs() {
    let barge = Barge::with_busybox();
    start(&barge, &[&WELL[..], &["--health-interval", "1h"]].concat(), WAITS);
    assert_eq!(health(&barge), "starting");
    let often = [&["update"], &OFTEN[..], &["--health-retries", "1", "box"]].concat();
    barge.run(often).ok();
    await_health(&barge, "unhealthy");
    let test = "{{index .Config.Healthcheck.Test 1}} {{.Config.Healthcheck.Retries}}";
    assert_eq!(barge.inspect("box", test), format!("{} 1", WELL[1]));
    barge.run(["update", "--health-cmd", "true", "box"]).ok();
    await_health(&barge, "healthy");
    barge.run(["update", "--no-healthcheck", "box"]).ok();
    assert_eq!(
        barge.inspect("box", "{{json .State.Health}} {{json .Config.Healthcheck}}"),
        "null null"
    );
    let output = barge.run(["update", "--health-retries", "2", "box"]).fails(125);
    output.error_has("has no health check").hint_has("--health-cmd");
    // A limit leaves it as it is, and so does a restart.
    barge.run(["update", "--pids-limit", "100", "box"]).ok();
    barge.run(["restart", "-t", "0", "box"]).ok();
    assert_eq!(barge.inspect("box", "{{json .Config.Healthcheck}}"), "null");
    let again = ["update", "--health-cmd", "false", "--health-on-failure", "kill"];
    barge.run([&again[..], &OFTEN, &["--health-retries", "1", "box"]].concat()).ok();
    barge.await_status("box", "exited");
    assert_eq!(barge.inspect("box", "{{.State.ExitCode}}"), "137");
}

#[test]
fn the_image_may_have_a_check() {
    let barge = Barge::with_busybox();
    let change = "HEALTHCHECK --interval=50ms --retries=1 CMD test -e /well";
    let tar = barge.file("bb.tar", fixture::busybox_tar());
    barge.run(["import", "-q", "--change", change, &tar, "checked"]).ok();
    barge.start(["--name", "box", "checked", "/bin/sh", "-c", WAITS]);
    await_health(&barge, "unhealthy");
    assert_eq!(barge.inspect("box", "{{index .Config.Healthcheck.Test 0}}"), "CMD-SHELL");
    barge.run(["rm", "-f", "-t", "0", "box"]).ok();
    barge.start(["--name", "box", "--no-healthcheck", "checked", "sleep", "1000"]);
    assert_eq!(barge.inspect("box", "{{json .State.Health}}"), "null");
    let line = ["create", "--no-healthcheck", "--health-cmd", "true", "busybox", "true"];
    barge.run(line).fails(125).error_has("--no-healthcheck conflicts with --health-* options");
}

#[test]
fn a_container_runs_no_longer_than_it_may() {
    let barge = Barge::with_busybox();
    let line = ["run", "--name", "box", "--network", "none", "--timeout", "1", "busybox"];
    barge.run(line.iter().chain(&["sleep", "1000"])).exits(255);
    assert_eq!(barge.inspect("box", "{{.State.ExitCode}}"), "-1");
    // One that is quicker ends as it ends.
    barge.run(["run", "--rm", "--network", "none", "--timeout", "100", "busybox", "true"]).ok();
}
