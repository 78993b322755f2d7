//! Files from and to containers by Docker's client, and by requests that it does not make.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::support::Barge;
use crate::support::docker::DockerHost;
use crate::support::layout::Tar;

#[test]
fn docker_copies_both_ways() {
    let barge = Barge::new();
    let docker = DockerHost::with_busybox(&barge);
    barge.start(["--name=on", "busybox", "sleep", "1000"]);
    barge.run(["create", "--network=none", "--name=off", "busybox", "true"]).ok();
    fs::create_dir(barge.path("d")).unwrap();
    fs::write(barge.path("d/file"), "content\n").unwrap();
    fs::set_permissions(barge.path("d/file"), fs::Permissions::from_mode(0o640)).unwrap();
    symlink("file", barge.path("d/link")).unwrap();
    let dir = barge.path_text("d");
    for name in ["on", "off"] {
        docker.docker(["cp", &dir, &format!("{name}:/new")]).exits(0);
        docker.docker(["cp", &format!("{dir}/file"), &format!("{name}:/etc/as")]).exits(0);
        let back = barge.path_text(&format!("back-{name}"));
        docker.docker(["cp", &format!("{name}:/new"), &back]).exits(0);
        assert_eq!(fs::read_to_string(format!("{back}/file")).unwrap(), "content\n");
        let mode = fs::metadata(format!("{back}/file")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
        assert_eq!(fs::read_link(format!("{back}/link")).unwrap().to_str(), Some("file"));
        docker.docker(["cp", &format!("{name}:/nosuch"), &back]).exits(1);
        let stream = docker.docker(["cp", &format!("{name}:/etc/as"), "-"]).ok();
        assert!(stream.stdout.windows(8).any(|part| part == b"content\n"), "{name}");
    }
    barge.run(["exec", "on", "cat", "/new/file", "/etc/as"]).ok().stdout("content\ncontent\n");
}

#[test]
fn paths_are_told_in_a_header() {
    let barge = Barge::new();
    let docker = DockerHost::with_busybox(&barge);
    barge.start(["--name=on", "busybox", "sh", "-c", "ln -s /etc/passwd /l; sleep 1000"]);
    barge.run(["exec", "on", "sh", "-c", "until [ -L /l ]; do :; done"]).ok();
    let stat = |path: &str| -> (u16, Value) {
        let answer = docker.ask("HEAD", &format!("/containers/on/archive?path={path}"), "");
        let head = answer
            .head
            .lines()
            .find_map(|line| line.strip_prefix("x-docker-container-path-stat: "));
        // The head was read in small letters, which base64 does not survive.
        (answer.status, head.map_or(Value::Null, |text| json!(text.len() > 20)))
    };
    assert_eq!(stat("/etc/passwd"), (200, json!(true)));
    assert_eq!(stat("/nosuch").0, 404);
    assert_eq!(stat("").0, 400);
    let line = [
        "--unix-socket",
        &barge.path_text("api.sock"),
        "-sS",
        "-o",
        "/dev/null",
        "-D",
        "-",
        "http://d/containers/on/archive?path=/l",
    ];
    let head = barge.other_command("curl", line).run().ok().text();
    let field = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("x-docker-container-path-stat").then(|| value.trim().to_owned())
    });
    let found: Value =
        serde_json::from_slice(&BASE64_STANDARD.decode(field.unwrap()).unwrap()).unwrap();
    assert_eq!((&found["name"], &found["linkTarget"]), (&json!("l"), &json!("/etc/passwd")));
    assert_eq!(found["mode"].as_u64().unwrap() & (1 << 27), 1 << 27, "a link, in the bits of Go");
}

#[test]
fn archives_do_not_leave_the_container() {
    let barge = Barge::new();
    let docker = DockerHost::with_busybox(&barge);
    let outside = barge.file("outside", "untouched\n");
    barge.start(["--name=on", "busybox", "sleep", "1000"]);
    barge.run(["exec", "on", "ln", "-s", &barge.path_text(""), "/way"]).ok();
    let put = |path: &str, body: &[u8]| {
        let path = format!("/containers/on/archive?path={path}");
        docker.send("PUT", &path, "Content-Type: application/x-tar\r\n", body)
    };
    assert_eq!(put("/tmp", &Tar::new().file("ok", 0o644, "1").bytes()).status, 200);
    barge.run(["exec", "on", "cat", "/tmp/ok"]).ok().stdout("1");
    for name in ["../../../outside", "/way/outside", &outside] {
        put("/", &Tar::new().file(name, 0o644, "touched\n").bytes());
    }
    put("/way", &Tar::new().file("outside", 0o644, "touched\n").bytes());
    assert_eq!(fs::read_to_string(&outside).unwrap(), "untouched\n");
    assert_eq!(put("/etc/passwd", &Tar::new().file("x", 0o644, "1").bytes()).status, 400);
    assert_eq!(put("/nosuch", &Tar::new().file("x", 0o644, "1").bytes()).status, 404);
    assert_eq!(put("/tmp", b"no archive").status, 400);
}
