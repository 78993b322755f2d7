//! Several commands on one container at once, and containers that depend on others.

use super::support::{Barge, Running};

#[test]
fn rm_depend_takes_those_along_that_are_in_its_namespaces() {
    let barge = Barge::with_busybox();
    let donor = barge.start(["--name", "donor", "busybox", "sleep", "1000"]);
    let guest =
        barge.start(["--name", "guest", "--ipc", "container:donor", "busybox", "sleep", "1000"]);
    let hint = "or pass --depend";
    barge.run(["rm", "-f", "-t", "0", "donor"]).fails(125).error_has(&guest).hint_has(hint);
    assert_eq!((barge.status(&donor), barge.status(&guest)), ("running".into(), "running".into()));
    barge
        .run(["rm", "--depend", "donor"])
        .fails(2)
        .error_has("as it is running - running or paused containers cannot be removed");
    let want = format!("{guest}\ndonor\n");
    barge.run(["rm", "--depend", "-f", "-t", "0", "donor"]).ok().stdout(&want);
    barge.run(["rm", "--depend", "donor"]).fails(1).error_has("no container with ID or name");
    barge.leaves_nothing();
}

#[test]
fn all_verbs_at_once_leave_a_whole_container() {
    let barge = Barge::with_busybox();
    let line = ["create", "--network", "none", "--name", "box", "busybox", "sleep", "1000"];
    barge.run(line).ok();
    let verbs: [&[&str]; 7] = [
        &["start", "box"],
        &["stop", "-t", "0", "box"],
        &["kill", "box"],
        &["restart", "-t", "0", "box"],
        &["update", "--pids-limit", "100", "box"],
        &["top", "box"],
        &["start", "box"],
    ];
    for _ in 0..4 {
        let started: Vec<Running> =
            verbs.iter().map(|line| barge.command(line.iter().copied()).spawn()).collect();
        for running in started {
            let output = running.wait();
            // Whoever came too early or too late says so; nobody hangs or damages anything.
            assert!([0, 125].contains(&output.status), "{}", output.story());
            let errors = output.errors();
            assert!(!errors.contains("damaged") && !errors.contains("panicked"), "{errors}");
        }
        let status = barge.status("box");
        assert!(["running", "exited"].contains(&&*status), "{status}");
    }
    barge.run(["start", "box"]).ok();
    barge.run(["exec", "box", "true"]).ok();
    assert_eq!(barge.inspect("box", "{{.HostConfig.PidsLimit}}"), "100");
    let removing: Vec<Running> =
        (0..4).map(|_| barge.command(["rm", "-f", "-t", "0", "box"]).spawn()).collect();
    for running in removing {
        running.wait().ok();
    }
    barge.leaves_nothing();
}

#[test]
fn start_all_takes_filters_and_says_full_ids() {
    let barge = Barge::with_busybox();
    let create = |policy: &str| {
        let line = ["create", "--network", "none", "--restart", policy, "busybox", "sleep", "1000"];
        barge.run(line).ok().text()
    };
    let (always, never) = (create("always"), create("no"));
    let line = ["start", "--all", "--filter", "restart-policy=always"];
    barge.run(line).ok().stdout(&format!("{always}\n"));
    assert_eq!((barge.status(&always), barge.status(&never)), ("running".into(), "created".into()));
    barge.run(["start", "-f", "status=created"]).ok().stdout(&format!("{never}\n"));
    barge
        .run(["start", "--all", &never])
        .fails(125)
        .error_has("either start all containers or the container(s) provided in the arguments");
    barge
        .run(["stop", "-f", "restart-policy=no", "-t", "0"])
        .exits(0)
        .stdout(&format!("{never}\n"));
    barge.run(["kill", "-a"]).ok().stdout(&format!("{always}\n"));
}
