//! Volumes, secrets and configs by Docker's client.

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
    // It is none of the configs, and no plugin can be had, which is said.
    assert_eq!(docker.get("/configs"), json!([]));
    let answer = docker.ask("POST", "/plugins/pull?remote=x", "");
    assert_eq!((answer.status, answer.message().contains("plugins")), (501, true));
}

#[test]
fn configs_can_be_read_by_all_and_relabeled() {
    let barge = Barge::new();
    let docker = DockerHost::start(&barge);
    let line = ["config", "create", "--label", "a=b", "web", "-"];
    let id = docker.docker_command(line).input("listen 80;").run().exits(0).text();
    assert_eq!(id.len(), 25, "{id}");
    docker
        .docker(["config", "ls", "--format", "{{.Name}} {{.ID}}"])
        .ok()
        .stdout(&format!("web {id}\n"));
    docker.docker(["config", "inspect", "--pretty", "web"]).ok().stdout_has("listen 80;");
    docker.docker_command(["config", "create", "web", "-"]).input("x").run().exits(1);
    assert_eq!(docker.ask("POST", "/configs/create", r#"{"Name": "e", "Data": ""}"#).status, 400);
    let templated = r#"{"Name": "t", "Data": "eA==", "Templating": {"Name": "golang"}}"#;
    assert_eq!(docker.ask("POST", "/configs/create", templated).status, 501);
    // Secrets are changed as configs are; of neither is it any of the other's names.
    docker.docker_command(["secret", "create", "web", "-"]).input("hidden").run().exits(0);
    for (kind, data) in [("configs", json!("bGlzdGVuIDgwOw==")), ("secrets", json!(null))] {
        let found = docker.get(&format!("/{kind}/web"));
        assert_eq!((&found["Version"]["Index"], &found["Spec"]["Data"]), (&json!(1), &data));
        let mut spec = found["Spec"].clone();
        spec["Labels"] = json!({ "c": "d" });
        let update = |version: u32, spec: &serde_json::Value| {
            let path = format!("/{kind}/web/update?version={version}");
            docker.ask("POST", &path, &spec.to_string()).status
        };
        assert_eq!(update(2, &spec), 500, "nobody has changed it yet");
        let mut other = spec.clone();
        other["Data"] = json!("eA==");
        assert_eq!(update(1, &other), 400, "only labels change");
        assert_eq!(update(1, &spec), 200);
        assert_eq!(update(1, &spec), 500, "somebody has changed it");
        let now = docker.get(&format!("/{kind}/web"));
        assert_eq!((&now["Version"]["Index"], &now["Spec"]["Data"]), (&json!(2), &data));
        assert_eq!(now["Spec"]["Labels"], json!({ "c": "d" }));
        let filter = "%7B%22label%22%3A%5B%22c%3Dd%22%5D%7D";
        let found = docker.get(&format!("/{kind}?filters={filter}"));
        assert_eq!(found.as_array().map(Vec::len), Some(1), "{found}");
    }
    docker.docker(["config", "rm", "web"]).ok();
    docker.docker(["config", "inspect", "web"]).exits(1).stderr_has("No such config");
    assert_eq!(docker.ask("GET", "/secrets/web", "").status, 200);
    let filters = "%7B%22type%22%3A%5B%22config%22%5D%7D";
    let events = docker.ask("GET", &format!("{}&filters={filters}", docker.events_so_far()), "");
    let events = String::from_utf8(events.body).unwrap();
    let actions: Vec<String> = events
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["Action"].to_string())
        .collect();
    assert_eq!(actions, ["\"create\"", "\"update\"", "\"remove\""]);
}
