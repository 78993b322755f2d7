//! Restart policies: kept by the monitor, with neither daemon nor systemd.

use super::support::{Barge, wait_until};

#[test]
fn on_failure_tries_again_as_often_as_asked() {
    let barge = Barge::with_busybox();
    let line =
        ["--name", "box", "--restart", "on-failure:3", "busybox", "sh", "-c", "echo try; exit 9"];
    barge.start(line);
    barge.await_log("box", "try\ntry\ntry\ntry");
    barge.await_status("box", "exited");
    assert_eq!(barge.inspect("box", "{{.RestartCount}} {{.State.ExitCode}}"), "3 9");
    barge.run(["logs", "box"]).ok().stdout("try\ntry\ntry\ntry\n");
}

#[test]
fn on_failure_is_content_with_success() {
    let barge = Barge::with_busybox();
    barge.start(["--name", "box", "--restart", "on-failure", "busybox", "true"]);
    barge.await_status("box", "exited");
    assert_eq!(barge.inspect("box", "{{.RestartCount}}"), "0");
}

#[test]
fn always_goes_on_until_it_is_stopped() {
    let barge = Barge::with_busybox();
    let line = ["--name", "box", "--restart", "always", "busybox", "sh", "-c", "echo run; exit 0"];
    barge.start(line);
    barge.await_log("box", "run\nrun\nrun");
    barge.run(["stop", "-t", "0", "box"]).exits(0);
    assert_eq!(barge.status("box"), "exited");
    barge.await_silence();
    let runs = barge.run(["logs", "box"]).ok().lines().len();
    assert_eq!(barge.status("box"), "exited");
    assert_eq!(barge.run(["logs", "box"]).ok().lines().len(), runs);
    // A start by the user brings the policy back.
    barge.run(["start", "box"]).ok();
    wait_until("it runs again", || barge.run(["logs", "box"]).ok().lines().len() > runs + 1);
}

#[test]
fn always_comes_back_after_a_kill_from_inside() {
    let barge = Barge::with_busybox();
    let script = "echo up; while :; do sleep 0.1; done";
    let id = barge.start(["--restart", "always", "busybox", "sh", "-c", script]);
    barge.await_log(&id, "up");
    let pid = barge.inspect(&id, "{{.State.Pid}}");
    super::support::tool("kill", ["-9", &pid]);
    barge.await_log(&id, "up\nup");
    assert_ne!(barge.inspect(&id, "{{.State.Pid}}"), pid);
}

#[test]
fn always_stays_down_when_the_user_kills_it() {
    let barge = Barge::with_busybox();
    barge.start(["--name", "box", "--restart", "always", "busybox", "sleep", "1000"]);
    barge.run(["kill", "-s", "URG", "box"]).ok();
    assert_eq!(barge.status("box"), "running");
    barge.run(["kill", "box"]).ok();
    barge.await_status("box", "exited");
    barge.await_silence();
    assert_eq!(barge.inspect("box", "{{.State.Status}} {{.RestartCount}}"), "exited 0");
}

#[test]
fn restart_by_the_user_keeps_the_policy_and_begins_to_count_anew() {
    let barge = Barge::with_busybox();
    let script = "test -e /once || { touch /once; exit 1; }; echo up; sleep 1000";
    barge.start(["--name", "box", "--restart", "always", "busybox", "sh", "-c", script]);
    barge.await_log("box", "up");
    assert_eq!(barge.inspect("box", "{{.RestartCount}}"), "1");
    barge.run(["restart", "-t", "0", "box"]).ok();
    assert_eq!(barge.inspect("box", "{{.State.Running}} {{.RestartCount}}"), "true 0");
    let pid = barge.inspect("box", "{{.State.Pid}}");
    super::support::tool("kill", ["-9", &pid]);
    wait_until("it is started again", || {
        barge.inspect("box", "{{.State.Running}} {{.RestartCount}}") == "true 1"
    });
}

#[test]
fn unless_stopped_and_no_are_understood() {
    let barge = Barge::with_busybox();
    barge.start(["--name", "a", "--restart", "unless-stopped", "busybox", "sh", "-c", "echo run"]);
    barge.await_log("a", "run\nrun");
    barge.run(["rm", "-f", "-t", "0", "a"]).ok();
    barge.start(["--name", "b", "--restart", "no", "busybox", "false"]);
    barge.await_status("b", "exited");
    assert_eq!(barge.inspect("b", "{{.RestartCount}} {{.HostConfig.RestartPolicy.Name}}"), "0 no");
    for policy in ["sometimes", "always:3", "on-failure:x"] {
        barge.run(["create", "--restart", policy, "busybox", "true"]).fails(125);
    }
}

#[test]
fn rm_force_ends_a_container_that_restarts() {
    let barge = Barge::with_busybox();
    barge.start(["--name", "box", "--restart", "always", "busybox", "false"]);
    wait_until("it was restarted", || barge.inspect("box", "{{.RestartCount}}") != "0");
    barge.run(["rm", "-f", "-t", "0", "box"]).ok().stdout("box\n");
    barge.leaves_nothing();
}

#[test]
fn logs_follow_across_restarts() {
    let barge = Barge::with_busybox();
    let script = "echo try; exit 1";
    barge.start(["--name", "box", "--restart", "on-failure:2", "busybox", "sh", "-c", script]);
    barge.run(["logs", "-f", "box"]).ok().stdout("try\ntry\ntry\n");
}
