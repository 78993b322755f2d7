//! ps and inspect.

use super::support::Barge;

#[test]
fn ps_shows_a_table() {
    let barge = Barge::with_busybox();
    let heading = "CONTAINER ID  IMAGE  COMMAND  CREATED  STATUS  PORTS  NAMES";
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(words(&barge.run(["ps"]).ok().text()), words(heading));
    let id = barge.start(["--name", "box", "busybox", "sleep", "1000"]);
    barge.run(["create", "--name", "idle", "busybox", "true"]).ok();
    let lines = barge.run(["ps"]).ok().lines();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(words(&lines[0]), words(heading));
    assert!(lines[1].starts_with(&id[..12]), "{lines:?}");
    for part in ["localhost/busybox:latest", "sleep 1000", "ago", "Up ", "box"] {
        assert!(lines[1].contains(part), "{part}: {lines:?}");
    }
    let column = |name: &str| lines[0].find(name).unwrap();
    assert_eq!(lines[1][column("NAMES")..].trim(), "box");
    assert!(lines[1][column("STATUS")..].starts_with("Up "), "{lines:?}");
    let lines = barge.run(["ps", "-a"]).ok().lines();
    assert_eq!(lines.len(), 3);
    // The oldest comes first.
    assert!(lines[2].contains("Created") && lines[2].trim_end().ends_with("idle"), "{lines:?}");
}

#[test]
fn ps_tells_how_it_ended() {
    let barge = Barge::with_busybox();
    barge.run(["run", "--network=none", "--name", "box", "busybox", "sh", "-c", "exit 3"]).exits(3);
    barge.run(["ps"]).ok().stdout_lacks("box");
    let status = barge.run(["ps", "-a", "--format", "{{.Status}}"]).ok().text();
    assert!(status.starts_with("Exited (3) ") && status.ends_with(" ago"), "{status}");
}

#[test]
fn ps_prints_ids_only() {
    let barge = Barge::with_busybox();
    let a = barge.run(["create", "busybox", "true"]).ok().text();
    let b = barge.run(["create", "busybox", "true"]).ok().text();
    barge.run(["ps", "-aq"]).ok().stdout(&format!("{}\n{}\n", &a[..12], &b[..12]));
    barge.run(["ps", "-aq", "--no-trunc"]).ok().stdout(&format!("{a}\n{b}\n"));
    barge.run(["ps", "-q", "-l"]).ok().stdout(&format!("{}\n", &b[..12]));
    barge.run(["ps", "-q", "-n", "1"]).ok().stdout(&format!("{}\n", &b[..12]));
    barge.run(["ps", "-q"]).ok().stdout("");
}

#[test]
fn ps_filters() {
    let barge = Barge::with_busybox();
    barge.start(["--name", "up", "--label", "tier=web", "busybox", "sleep", "1000"]);
    barge
        .run([
            "create", "--name", "idle", "--label", "tier=db", "--label", "extra", "busybox", "true",
        ])
        .ok();
    barge
        .run(["run", "--network=none", "--name", "over", "busybox", "sh", "-c", "exit 3"])
        .exits(3);
    let names = |filters: &[&str]| {
        let mut line = vec!["ps", "-a", "--format", "{{.Names}}"];
        for filter in filters {
            line.extend(["--filter", filter]);
        }
        let mut names = barge.run(line).ok().lines();
        names.sort();
        names.join(" ")
    };
    assert_eq!(names(&[]), "idle over up");
    assert_eq!(names(&["status=running"]), "up");
    assert_eq!(names(&["status=running", "status=created"]), "idle up");
    assert_eq!(names(&["status=exited"]), "over");
    assert_eq!(names(&["name=^u"]), "up");
    assert_eq!(names(&["name=e"]), "idle over");
    assert_eq!(names(&["label=tier"]), "idle up");
    assert_eq!(names(&["label=tier=db"]), "idle");
    assert_eq!(names(&["label=tier", "label=extra"]), "idle");
    assert_eq!(names(&["label=tier=web", "status=created"]), "");
    assert_eq!(names(&["exited=3"]), "over");
    assert_eq!(names(&["ancestor=busybox"]), "idle over up");
    let id = barge.inspect("idle", "{{.Id}}");
    assert_eq!(names(&[&format!("id={}", &id[..10])]), "idle");
    barge.run(["ps", "--filter", "nosuch=x"]).fails(125).error_has("nosuch");
    barge.run(["ps", "--filter", "nonsense"]).fails(125).error_has("nonsense");
}

#[test]
fn ps_formats() {
    let barge = Barge::with_busybox();
    let id = barge.start(["--name", "box", "--label", "k=v", "busybox", "sleep", "1000"]);
    let format = |text: &str| barge.run(["ps", "--format", text]).ok().text();
    assert_eq!(
        format("{{.ID}}|{{.Names}}|{{.Image}}|{{.State}}"),
        format!("{}|box|localhost/busybox:latest|running", &id[..12])
    );
    assert_eq!(format("{{.Label \"k\"}}"), "v");
    assert_eq!(format("{{.Names}}\\t{{.State}}"), "box\trunning");
    let table: Vec<String> = format("table {{.Names}}\\t{{.State}}")
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(table, ["NAMES STATE", "box running"]);
    let json = barge.run(["ps", "--format", "json"]).ok().json();
    let first = if json.is_array() { &json[0] } else { &json };
    assert!(first.to_string().contains("box"), "{json}");
    barge.run(["ps", "--format", "{{.Nosuch"]).fails(125);
    barge.run(["ps", "--format", "{{.Nosuch}}"]).fails(125).error_has("Nosuch");
}

#[test]
fn inspect_tells_everything() {
    let barge = Barge::with_busybox();
    let line = [
        "create",
        "--name",
        "box",
        "--network",
        "none",
        "-e",
        "A=b",
        "-w",
        "/etc",
        "-u",
        "app",
        "--hostname",
        "h",
        "--restart",
        "on-failure:2",
        "--cap-add",
        "NET_ADMIN",
        "--read-only",
        "-t",
        "--label",
        "l=1",
        "--stop-signal",
        "USR1",
        "busybox",
        "sleep",
        "1000",
    ];
    let id = barge.run(line).ok().text();
    let json = barge.run(["inspect", "box"]).ok().json();
    let container = &json[0];
    assert_eq!(json.as_array().unwrap().len(), 1);
    let at = |path: &str| {
        container.pointer(path).unwrap_or_else(|| panic!("{path} in {container:#}")).clone()
    };
    let table = [
        ("/Id", id.as_str().into()),
        ("/Name", "box".into()),
        ("/Path", "sleep".into()),
        ("/Args", serde_json::json!(["1000"])),
        ("/State/Status", "created".into()),
        ("/State/Running", false.into()),
        ("/State/Paused", false.into()),
        ("/State/Restarting", false.into()),
        ("/State/OOMKilled", false.into()),
        ("/State/Dead", false.into()),
        ("/State/Pid", 0.into()),
        ("/State/ExitCode", 0.into()),
        ("/State/Error", "".into()),
        ("/RestartCount", 0.into()),
        ("/HostConfig/NetworkMode", "none".into()),
        ("/HostConfig/RestartPolicy/Name", "on-failure".into()),
        ("/HostConfig/RestartPolicy/MaximumRetryCount", 2.into()),
        ("/HostConfig/ReadonlyRootfs", true.into()),
        ("/HostConfig/Privileged", false.into()),
        ("/Config/Hostname", "h".into()),
        ("/Config/User", "app".into()),
        ("/Config/Tty", true.into()),
        ("/Config/WorkingDir", "/etc".into()),
        ("/Config/Labels", serde_json::json!({ "l": "1" })),
        ("/Config/Cmd", serde_json::json!(["sleep", "1000"])),
    ];
    for (path, want) in table {
        assert_eq!(at(path), want, "{path}");
    }
    assert!(at("/Config/Env").as_array().unwrap().contains(&"A=b".into()));
    assert!(at("/HostConfig/CapAdd").to_string().contains("NET_ADMIN"));
    assert!(at("/Created").as_str().unwrap().starts_with("20"));
    assert!(at("/State/StartedAt").as_str().unwrap().starts_with("0001-01-01"));
    for path in [
        "/Image",
        "/Mounts",
        "/NetworkSettings/Ports",
        "/NetworkSettings/Networks",
        "/Config/Image",
    ] {
        at(path);
    }
}

#[test]
fn inspect_reports_what_is_missing() {
    let barge = Barge::with_busybox();
    barge
        .run(["inspect", "nosuch"])
        .exits(125)
        .stdout("[]\n")
        .stderr("Error: no such object: \"nosuch\"\n");
    barge
        .run(["container", "inspect", "nosuch"])
        .exits(125)
        .stdout("[]\n")
        .stderr("Error: no such container \"nosuch\"\n");
    barge
        .run(["image", "inspect", "nosuch"])
        .exits(125)
        .stdout("[]\n")
        .stderr("Error: nosuch: image not known\n");
    barge.run(["create", "--name", "box", "busybox", "true"]).ok();
    let output = barge.run(["inspect", "nosuch", "box"]).exits(125);
    assert_eq!(output.json()[0]["Name"], "box");
}

#[test]
fn inspect_finds_containers_and_images() {
    let barge = Barge::with_busybox();
    barge.run(["create", "--name", "busybox", "busybox", "true"]).ok();
    assert_eq!(barge.inspect("busybox", "{{.Name}}"), "busybox");
    let line = ["inspect", "--type", "image", "--format", "{{json .RepoTags}}", "busybox"];
    barge.run(line).ok().stdout("[\"localhost/busybox:latest\"]\n");
    barge.run(["inspect", "--type", "nosuch", "busybox"]).fails(125).error_has("nosuch");
}

#[test]
fn exists_answers_by_its_code() {
    let barge = Barge::with_busybox();
    barge.run(["create", "--name", "box", "busybox", "true"]).ok();
    for (line, code) in [
        (["container", "exists", "box"], 0),
        (["container", "exists", "nosuch"], 1),
        (["image", "exists", "busybox"], 0),
        (["image", "exists", "nosuch"], 1),
    ] {
        barge.run(line).exits(code).stdout("").stderr("");
    }
}

#[test]
fn group_commands_are_the_same_as_the_short_ones() {
    let barge = Barge::with_busybox();
    let id = barge.run(["container", "create", "--name", "box", "busybox", "true"]).ok().text();
    barge.run(["container", "ls", "-aq"]).ok().stdout(&format!("{}\n", &id[..12]));
    barge.run(["container", "ps", "-aq"]).ok().stdout(&format!("{}\n", &id[..12]));
    barge.run(["container", "rm", "box"]).ok().stdout("box\n");
    barge
        .run(["container"])
        .exits(125)
        .stdout_has("barge container")
        .stderr("Error: missing command 'barge container COMMAND'\n");
}
