//! Builds by Docker's classic client.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::{Value, json};

use crate::support::Barge;
use crate::support::docker::DockerHost;
use crate::support::layout::Tar;

fn context(barge: &Barge, dockerfile: &str) -> String {
    fs::create_dir_all(barge.path("c")).unwrap();
    barge.file("c/Dockerfile", dockerfile);
    barge.path_text("c")
}

/// Returns the JSON lines of an answer.
fn lines(body: &[u8]) -> Vec<Value> {
    let text = String::from_utf8_lossy(body);
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn the_classic_builder_builds() {
    let barge = Barge::new();
    let docker = DockerHost::with_busybox(&barge);
    let dir = context(
        &barge,
        "ARG BASE=busybox\nFROM $BASE AS base\nARG WORD=none\nRUN echo said $WORD > /word\n\
         FROM base AS last\nCOPY --chown=1000 a /a\nENV E=1\nCMD [\"cat\", \"/word\"]\n",
    );
    barge.file("c/a", "content\n");
    barge.file("c/left-out", "x");
    barge.file("c/.dockerignore", "left-out\n");
    let line = [
        "build",
        "-t",
        "app:1",
        "-t",
        "user/app",
        "--build-arg",
        "WORD=hi",
        "--label",
        "k=v",
        &dir,
    ];
    let output = docker.docker(line).exits(0);
    let text = output.text();
    for part in [
        "Step 1/",
        " : RUN echo said $WORD > /word",
        "Successfully built ",
        "Successfully tagged app:1",
        "Successfully tagged user/app:latest",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let built = text.lines().find_map(|line| line.strip_prefix("Successfully built ")).unwrap();
    let id = docker.docker(["images", "-q", "--no-trunc", "app:1"]).ok().text();
    assert!(id.starts_with(&format!("sha256:{built}")), "{id} {built}");
    barge
        .run(["run", "--rm", "--network=none", "docker.io/library/app:1"])
        .ok()
        .stdout("said hi\n");
    let inspected = docker.docker(["inspect", "app:1"]).ok().json();
    assert_eq!(inspected[0]["Config"]["Labels"], json!({ "k": "v" }));
    // From the cache, quietly: the same image.
    docker
        .docker(["build", "-q", "-t", "app:1", "--build-arg", "WORD=hi", "--label", "k=v", &dir])
        .exits(0)
        .stdout(&format!("{id}\n"));
    docker.docker(["build", "-q", "--target", "base", &dir]).exits(0).stdout_has("sha256:");
    let again = docker.docker(["build", "--build-arg", "WORD=hi", &dir]).exits(0).text();
    assert!(again.contains(" ---> Using cache"), "{again}");
    docker.docker(["builder", "prune", "-af"]).exits(0).stdout_has("Total reclaimed space:");
}

#[test]
fn what_builds_leave_is_pruned_as_asked() {
    let barge = Barge::new();
    let docker = DockerHost::with_busybox(&barge);
    let step = |word: &str| {
        let dir = context(&barge, &format!("FROM busybox\nRUN echo {word} > /word\n"));
        docker.docker(["build", "-q", "-t", "app", &dir]).exits(0);
    };
    let left = || {
        let records = docker.get("/v1.45/system/df?type=build-cache")["BuildCache"].clone();
        let text = |record: &Value| record["Description"].as_str().unwrap().to_owned();
        records.as_array().unwrap().iter().map(text).collect::<Vec<_>>()
    };
    step("one");
    step("two");
    assert_eq!(left(), ["RUN echo two > /word", "RUN echo one > /word"]);
    let prune = |flags: &[&str]| docker.docker([&["builder", "prune", "-f"], flags].concat());
    prune(&["--filter", "until=24h"]).exits(0);
    prune(&["-a", "--filter", "description=RUN true"]).exits(0);
    prune(&["-a", "--keep-storage", "1gb"]).exits(0);
    let free = docker.ask("POST", "/v1.51/build/prune?all=1&min-free-space=1", "");
    assert_eq!(free.json()["CachesDeleted"], json!(null));
    assert_eq!(left().len(), 2);
    for query in ["filters=%7B%22nosuch%22:%5B%22x%22%5D%7D", "reserved-space=much", "filters=x"] {
        let answer = docker.ask("POST", &format!("/build/prune?{query}"), "");
        assert_eq!(answer.status, 400, "{query}");
    }
    // An image has the second one.
    barge.run(["image", "prune", "-f"]).ok();
    prune(&["-a", "--filter", "shared=false"]).exits(0);
    assert_eq!(left(), ["RUN echo two > /word"]);
    barge.run(["builder", "prune", "-af", "--filter", "until=1h"]).ok();
    barge.run(["builder", "prune", "-af", "--reserved-space", "1g"]).ok();
    barge.run(["builder", "prune", "-af", "--filter", "nosuch=1"]).fails(125).error_has("nosuch");
    assert_eq!(left().len(), 1);
    barge.run(["builder", "prune", "-af", "--filter", "type=regular"]).ok();
    assert!(left().is_empty());
}

#[test]
fn steps_are_taken_from_images_that_are_here() {
    let barge = Barge::new();
    let docker = DockerHost::with_busybox(&barge);
    let dir = context(&barge, "FROM busybox\nRUN head -c 20 /dev/urandom > /made\n");
    barge.run(["build", "-t", "docker.io/library/app:1", "--cache-to", "type=inline", &dir]).ok();
    barge.run(["builder", "prune", "-af"]).ok();
    let line = ["build", "--cache-from", "app:1", "-t", "app:2", &dir];
    let text = docker.docker(line).exits(0).text();
    assert!(text.contains(" ---> Using cache"), "{text}");
    let show = |name: &str| {
        let name = format!("docker.io/library/{name}");
        let line = ["run", "--rm", "--network=none", &name, "sha256sum", "/made"];
        barge.run(line).ok().text()
    };
    assert_eq!(show("app:1"), show("app:2"));
}

#[test]
fn failures_are_said_as_clients_hear_them() {
    let barge = Barge::new();
    let docker = DockerHost::with_busybox(&barge);
    let dir = context(&barge, "FROM busybox\nRUN echo before; exit 7\n");
    docker.docker(["build", &dir]).exits(7).stdout_has("before").stderr_has("7");
    let dir = context(&barge, "FROM busybox\nNOSUCH x\n");
    docker.docker(["build", &dir]).exits(1).stderr_has("NOSUCH");
    let dir = context(&barge, "FROM busybox\nCOPY nosuch /\n");
    docker.docker(["build", &dir]).exits(1).stderr_has("nosuch");

    let tar = |dockerfile: &str| Tar::new().file("Dockerfile", 0o644, dockerfile).bytes();
    let post = |query: &str, body: &[u8]| {
        docker.send(
            "POST",
            &format!("/v1.41/build?{query}"),
            "Content-Type: application/x-tar\r\n",
            body,
        )
    };
    // Before anything was said it is a status, then a line.
    let answer = post("", &tar("NOSUCH\n"));
    assert_eq!(answer.status, 400);
    let answer = post("dockerfile=other", &tar("FROM busybox\n"));
    assert_eq!((answer.status, answer.message().contains("other")), (404, true));
    let answer = post("version=2", b"");
    assert_eq!(answer.status, 501);
    assert_eq!(post("buildargs=nonsense", &tar("FROM busybox\n")).status, 400);
    let answer = post("", &tar("FROM busybox\nRUN exit 9\n"));
    assert_eq!(answer.status, 200);
    let all = lines(&answer.body);
    let last = all.last().unwrap();
    assert_eq!(last["errorDetail"]["code"], json!(9), "{last}");
    assert_eq!(last["errorDetail"]["message"], last["error"]);
    let answer = post("t=x&q=1", &tar("FROM busybox\nLABEL a=b\n"));
    let all = lines(&answer.body);
    assert_eq!(all.len(), 1, "{all:?}");
    assert!(all[0]["stream"].as_str().unwrap().starts_with("sha256:"));
    let answer = post("t=x", &tar("FROM busybox\nLABEL a=b\n"));
    let id =
        lines(&answer.body).iter().find_map(|line| line["aux"]["ID"].as_str().map(str::to_owned));
    assert!(id.unwrap().starts_with("sha256:"));
}

#[test]
fn a_context_leads_nowhere_but_in_it() {
    let barge = Barge::new();
    let docker = DockerHost::with_busybox(&barge);
    let secret = barge.file("secret", "FROM nothing-of-yours\n");
    let dir = context(&barge, "FROM busybox\n");
    symlink(&secret, barge.path("c/link")).unwrap();
    let tar = barge.path_text("c.tar");
    crate::support::tool("tar", ["-C", &dir, "-cf", &tar, "."]);
    let body = fs::read(&tar).unwrap();
    for file in ["link", "../secret", &secret] {
        let path = format!("/v1.41/build?dockerfile={file}");
        let answer = docker.send("POST", &path, "Content-Type: application/x-tar\r\n", &body);
        assert_eq!(answer.status, 404, "{file}: {}", answer.message());
        assert!(!answer.message().contains("nothing-of-yours"), "{file}");
    }
    let path = format!("/v1.41/build?remote={secret}");
    assert_eq!(docker.send("POST", &path, "", b"").status, 400);
}
