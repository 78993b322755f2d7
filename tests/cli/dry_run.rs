//! `run --dry-run` and `create --dry-run`.

use std::fs;

use serde_json::Value;

use super::support::Barge;

/// Runs a command line, and checks that nothing was made. Returns what it printed.
#[track_caller]
fn dry_run(barge: &Barge, line: &[&str]) -> Value {
    let before = barge.files();
    let text = barge.run(line).ok().text();
    barge.has_files(&before, "nothing is made");
    serde_json::from_str(&text).unwrap()
}

#[test]
fn it_shows_what_would_be_and_makes_nothing() {
    let barge = Barge::with_busybox();
    let bind = format!("{}:/made", barge.path_text("made"));
    let cidfile = barge.path_text("cid");
    let flags = [
        "--network=none",
        "--name=box",
        "--memory=64m",
        "--user=app",
        "-e=A=1",
        "--cidfile",
        &cidfile,
        "-v",
        &bind,
        "--cap-drop=CHOWN",
        "--annotation=b=2",
        "--annotation=a=1",
        "--sysctl=net.ipv4.ip_forward=0",
        "--hostname=there",
        "--read-only",
    ];
    let line = |verb, command: &[&'static str]| {
        [&[verb, "--dry-run"], &flags[..], &["busybox"], command].concat()
    };
    let config = dry_run(&barge, &line("run", &["echo", "hi"]));
    assert!(!barge.path("made").exists(), "the directory to be bound was made");
    assert!(!barge.path("cid").exists(), "there is an ID");
    let at = |path: &str| config.pointer(path).cloned().unwrap_or_default();
    assert_eq!(at("/process/args"), serde_json::json!(["echo", "hi"]));
    assert_eq!(at("/process/user/uid"), 1000);
    assert_eq!(at("/process/user/additionalGids"), serde_json::json!([1000, 2000]));
    assert_eq!(at("/linux/resources/memory/limit"), 64 << 20);
    assert_eq!(at("/hostname"), "there");
    assert_eq!(at("/root/readonly"), true);
    assert_eq!(at("/linux/seccomp/defaultAction"), "SCMP_ACT_ERRNO");
    let env = at("/process/env");
    let has = |entry: &str| env.as_array().unwrap().iter().any(|it| it == entry);
    assert!(has("A=1") && has("HOME=/home") && has("HOSTNAME=there"), "{env}");

    // The same each time, whoever asks.
    let text = barge.run(line("run", &["true"])).ok().text();
    assert_eq!(barge.run(line("run", &["true"])).ok().text(), text);
    assert_eq!(barge.run(line("create", &["true"])).ok().text(), text);
    assert_eq!(barge.run(["ps", "-aq"]).ok().text(), "");

    // The real one is what was shown.
    let script = "id -u; hostname; cut -d' ' -f2 /proc/mounts | tr '\\n' ' '";
    let real = [&["run", "--rm"], &flags[..], &["busybox", "sh", "-c", script]].concat();
    let output = barge.run(real).exits(0).lines();
    assert_eq!(output[..2], ["1000", "there"]);
    let mounted: Vec<&str> = output[2].split(' ').collect();
    // Without root there may be no groups to be shown.
    for mount in at("/mounts").as_array().unwrap().iter().filter(|it| it["type"] != "cgroup") {
        let target = mount["destination"].as_str().unwrap();
        assert!(mounted.contains(&target), "{target} is not in {mounted:?}");
    }
    assert!(fs::metadata(barge.path("made")).unwrap().is_dir());
}

#[test]
fn it_names_the_namespaces_that_are_joined() {
    let barge = Barge::with_busybox();
    barge.start(["--name", "other", "busybox", "sleep", "1000"]);
    let pid = barge.inspect("other", "{{.State.Pid}}");
    let line = ["run", "--dry-run", "--pid=container:other", "--network=container:other"];
    let config = dry_run(&barge, &[&line[..], &["--uidmap=0:1:10", "busybox", "true"]].concat());
    let namespaces = config["linux"]["namespaces"].as_array().unwrap();
    let find = |kind: &str| namespaces.iter().find(|it| it["type"] == kind).unwrap();
    assert_eq!(find("pid")["path"], format!("/proc/{pid}/ns/pid"));
    assert_eq!(find("network")["path"], format!("/proc/{pid}/ns/net"));
    assert!(find("user").get("path").is_none());
    assert!(find("mount").get("path").is_none());
    let mapping = serde_json::json!([{"hostID": 1, "containerID": 0, "size": 10}]);
    assert_eq!(config["linux"]["uidMappings"], mapping);
}

#[test]
fn it_refuses_what_would_fail() {
    let barge = Barge::with_busybox();
    let lines: [(&[&str], i32, &str); 4] = [
        (&["--pull", "never", "localhost/nosuch", "true"], 125, "image not known"),
        (&["--user", "nobody-here", "busybox", "true"], 126, "unable to find user nobody-here"),
        (&["--memory", "1m", "busybox", "true"], 125, "minimum memory limit allowed is 6MB"),
        (&["--pid", "container:nosuch", "busybox", "true"], 125, "nosuch"),
    ];
    for (line, status, error) in lines {
        let before = barge.files();
        barge.run([&["run", "--dry-run"], line].concat()).fails(status).error_has(error);
        barge.has_files(&before, "nothing is made");
    }
    // The container with the name stays, also one that would be replaced.
    barge.run(["create", "--name", "box", "busybox", "true"]).ok();
    dry_run(&barge, &["run", "--dry-run", "--replace", "--name", "box", "busybox", "true"]);
    assert_eq!(barge.status("box"), "created");
}
