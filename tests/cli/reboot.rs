//! After a reboot: nothing runs, nothing is lost, and what should run is brought up by one command.

use std::fs;

use rustix::process::{Signal, kill_process};

use super::support::Barge;

/// Ends all that runs at once and lets the store look as after a reboot: another boot, and a directory
/// for the running that is gone.
fn reboot(barge: &Barge, ids: &[String]) {
    barge.kills();
    for id in ids {
        if let Some(monitor) = super::crash::monitor(id) {
            kill_process(monitor, Signal::KILL).unwrap();
        }
    }
    barge.await_silence();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    for id in ids {
        let path = barge.root().join("containers").join(id).join("state.json");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(path, text.replace(boot.trim(), "00000000-0000-0000-0000-000000000000")).unwrap();
    }
    fs::remove_dir_all(barge.runroot()).unwrap();
}

fn start(barge: &Barge, name: &str, policy: &str, command: &[&str]) -> String {
    let line = ["--name", name, "--restart", policy, "busybox"];
    barge.start(line.iter().chain(command))
}

#[test]
fn what_should_run_is_brought_up_by_one_command() {
    let barge = Barge::with_busybox();
    let sleep = ["sleep", "1000"];
    let always = start(&barge, "always", "always", &sleep);
    let unless = start(&barge, "unless", "unless-stopped", &sleep);
    let stopped = start(&barge, "stopped", "unless-stopped", &sleep);
    barge.run(["stop", "-t", "0", "stopped"]).exits(0);
    let failed = start(&barge, "failed", "no", &["sh", "-c", "exit 7"]);
    barge.await_status("failed", "exited");
    let plain = start(&barge, "plain", "no", &sleep);
    let removed = barge.start(["--name", "removed", "--rm", "busybox", "sleep", "1000"]);
    let ids = [&always, &unless, &stopped, &failed, &plain, &removed].map(String::clone);
    let finished = barge.inspect("failed", "{{.State.FinishedAt}}");
    reboot(&barge, &ids);

    let state = "{{.State.Status}} {{.State.ExitCode}} {{.State.Pid}} {{.State.Error}}";
    let lost = "exited 137 0 the machine was restarted while the container ran";
    assert_eq!(barge.inspect("plain", state), lost);
    assert_eq!(barge.inspect("always", state), lost);
    assert_eq!(barge.inspect("failed", state).trim(), "exited 7 0");
    assert_eq!(barge.inspect("failed", "{{.State.FinishedAt}}"), finished);
    assert_eq!(barge.status("removed"), "");
    barge.run(["ps", "-q"]).ok().stdout("");
    let died = ["events", "--stream=false", "--filter", "container=plain", "--filter"];
    let died = barge.run(died.into_iter().chain(["event=died", "--format", "{{.ID}}"])).ok();
    died.stdout(&format!("{plain}\n"));

    let policy = ["start", "--all", "--filter", "restart-policy=always"];
    barge.run(policy).ok().stdout(&format!("{always}\n"));
    assert_eq!(barge.status("always"), "running");
    let names = |value: &str| {
        let filter = format!("should-start-on-boot={value}");
        let line = ["ps", "-a", "--filter", &filter, "--format", "{{.Names}}"];
        let mut names = barge.run(line).ok().lines();
        names.sort();
        names
    };
    assert_eq!(names("true"), ["always", "unless"]);
    assert_eq!(names("false"), ["failed", "plain", "stopped"]);
    barge.run(["start", "--all", "--filter", "should-start-on-boot=true"]).ok();
    for (name, status) in [("unless", "running"), ("stopped", "exited"), ("plain", "exited")] {
        assert_eq!(barge.status(name), status, "{name}");
    }
    assert_eq!(barge.run(["exec", "unless", "echo", "works"]).ok().text(), "works");
    barge.run(["rm", "-f", "-t", "0", "-a"]).ok();
    barge.leaves_nothing();
}

#[test]
fn containers_that_waited_to_restart_are_ended_as_well() {
    let barge = Barge::with_busybox();
    let id = start(&barge, "box", "always", &["false"]);
    super::support::wait_until("it was restarted", || {
        barge.inspect("box", "{{.RestartCount}}").parse::<u32>().unwrap() > 3
    });
    reboot(&barge, &[id]);
    assert_eq!(barge.status("box"), "exited");
    assert_ne!(barge.inspect("box", "{{.RestartCount}}"), "0");
    barge.run(["rm", "box"]).ok();
    barge.leaves_nothing();
}
