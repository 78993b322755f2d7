//! Volumes and secrets by Docker's client.

use serde_json::json;

use crate::support::Barge;
use crate::support::docker::DockerHost;

#[test]
fn volumes_are_docker_s() {
    let barge = Barge::new();
    let docker = DockerHost::with_busybox(&barge);
    let line =
        ["volume", "create", "--label", "a=b", "-o", "type=tmpfs", "-o", "device=tmpfs", "data"];
    docker.docker(line).ok().stdout("data\n");
    let found = docker.docker(["volume", "inspect", "data"]).ok().json();
    let found = &found[0];
    assert_eq!(found["Labels"], json!({ "a": "b" }));
    assert_eq!(found["Options"], json!({ "type": "tmpfs", "device": "tmpfs" }));
    assert_eq!((&found["Driver"], &found["Scope"]), (&json!("local"), &json!("local")));
    // One that is there is what was asked for.
    docker.docker(["volume", "create", "data"]).ok().stdout("data\n");
    // Compose asks by whole names.
    docker.docker(["volume", "create", "data2"]).ok();
    assert_eq!(docker.ask("GET", "/volumes/dat", "").status, 404);
    docker.docker(["volume", "inspect", "dat"]).exits(1).stderr_has("No such volume: dat");
    let named = docker.docker(["volume", "ls", "-q", "-f", "label=a"]).ok();
    named.stdout("data\n");
    let plain = docker.get("/volumes/data2");
    assert_eq!((&plain["Labels"], &plain["Options"]), (&json!(null), &json!(null)));

    barge
        .run(["create", "--network=none", "--name=user", "-v", "data2:/d", "busybox", "true"])
        .ok();
    docker.docker(["volume", "rm", "data2"]).exits(1).stderr_has("being used");
    // To Docker, force is no threat to containers.
    docker.docker(["volume", "rm", "-f", "data2"]).exits(1);
    assert_eq!(barge.status("user"), "created");
    assert_eq!(docker.ask("DELETE", "/volumes/data2", "").status, 409);
    docker.docker(["volume", "rm", "-f", "nosuch"]).ok();
    docker.docker(["volume", "rm", "nosuch"]).exits(1).stderr_has("No such volume");
    docker.docker(["volume", "create", "-d", "nosuch-driver", "x"]).exits(1);
}

#[test]
fn prune_tells_volumes_apart() {
    let barge = Barge::new();
    let docker = DockerHost::start(&barge);
    docker.docker(["volume", "create", "named"]).ok();
    let anonymous = docker.docker(["volume", "create"]).ok().text();
    let label = json!({ "com.docker.volume.anonymous": "" });
    assert_eq!(docker.get(&format!("/volumes/{anonymous}"))["Labels"], label);
    let pruned = docker.ask("POST", "/v1.42/volumes/prune", "").json();
    assert_eq!(pruned, json!({ "VolumesDeleted": [anonymous], "SpaceReclaimed": 0 }));
    let pruned = docker.ask("POST", "/v1.45/volumes/prune", "").json();
    assert_eq!(pruned["VolumesDeleted"], json!([]));
    let all = "%7B%22all%22%3A%5B%22true%22%5D%7D";
    let pruned = docker.ask("POST", &format!("/v1.45/volumes/prune?filters={all}"), "").json();
    assert_eq!(pruned["VolumesDeleted"], json!(["named"]));
    // Of old there was one kind only.
    docker.docker(["volume", "create", "named"]).ok();
    docker.docker(["volume", "prune", "-f"]).ok().stdout_has("named");
}

#[test]
fn secrets_are_this_machine_s() {
    let barge = Barge::new();
    let docker = DockerHost::with_busybox(&barge);
    let line = ["secret", "create", "--label", "a=b", "word", "-"];
    let id = docker.docker_command(line).input("quiet").run().ok().text();
    docker.docker(["secret", "ls", "--format", "{{.Name}}"]).ok().stdout("word\n");
    let found = docker.docker(["secret", "inspect", "word"]).ok();
    found.json()[0]["ID"].as_str().map(|found| assert_eq!(found, id)).unwrap();
    assert!(!found.text().contains("quiet") && !found.text().contains("cXVpZXQ"));
    let run = [
        "run",
        "--rm",
        "--network=none",
        "--secret",
        "word",
        "busybox",
        "cat",
        "/run/secrets/word",
    ];
    barge.run(run).ok().stdout("quiet");
    docker.docker_command(["secret", "create", "word", "-"]).input("x").run().exits(1);
    let body = r#"{"Name":"bad","Data":"%%"}"#;
    assert_eq!(docker.ask("POST", "/secrets/create", body).status, 400);
    docker.docker(["secret", "rm", "word"]).ok();
    assert_eq!(docker.ask("GET", "/secrets/word", "").status, 404);
    // There are no configs and no plugins, and that is said.
    assert_eq!(docker.get("/configs"), json!([]));
    assert_eq!(docker.get("/plugins"), json!([]));
    let answer = docker.ask("POST", "/configs/create", "{}");
    assert_eq!((answer.status, answer.message().contains("configs")), (501, true));
    assert_eq!(docker.ask("POST", "/plugins/pull?remote=x", "").status, 501);
}
