//! Networks by Docker's client.

use serde_json::{Value, json};

use crate::support::docker::DockerHost;
use crate::support::{Barge, Need, needs};

#[test]
fn the_networks_that_are_always_there() {
    let barge = Barge::new();
    let docker = DockerHost::start(&barge);
    let mut lines =
        docker.docker(["network", "ls", "--format", "{{.Name}} {{.Driver}}"]).ok().lines();
    lines.sort();
    assert_eq!(lines, ["bridge bridge", "host host", "none null"]);
    for name in ["bridge", "host", "none"] {
        let found = docker.docker(["network", "inspect", name]).ok().json();
        assert_eq!((&found[0]["Name"], &found[0]["Scope"]), (&json!(name), &json!("local")));
        let id = found[0]["Id"].as_str().unwrap();
        assert_eq!(docker.get(&format!("/networks/{id}"))["Name"], json!(name));
        docker.docker(["network", "rm", name]).exits(1).stderr_has("pre-defined network");
        let body = format!(r#"{{"Name":"{name}"}}"#);
        let answer = docker.ask("POST", "/networks/create", &body);
        assert_eq!(answer.status, 403, "{}", answer.message());
    }
    let types = |kind: &str| {
        let line = ["network", "ls", "-q", "-f", &format!("type={kind}")];
        docker.docker(line).ok().lines().len()
    };
    assert_eq!((types("builtin"), types("custom")), (3, 0));
    let named = docker.docker(["network", "ls", "-f", "name=bridge", "--format", "{{.Name}}"]);
    named.ok().stdout("bridge\n");
}

#[test]
fn networks_are_made_as_they_are_asked_for() {
    let barge = Barge::new();
    let docker = DockerHost::start(&barge);
    let line = [
        "network",
        "create",
        "--subnet",
        "10.77.0.0/24",
        "--ip-range",
        "10.77.0.128/25",
        "--gateway",
        "10.77.0.9",
        "--label",
        "tier=front",
        "-o",
        "com.docker.network.driver.mtu=1400",
        "front",
    ];
    let id = docker.docker(line).ok().text();
    assert_eq!(id.len(), 64, "{id}");
    let found = docker.docker(["network", "inspect", &id[..12]]).ok().json();
    let found = &found[0];
    let pool =
        json!([{ "Subnet": "10.77.0.0/24", "IPRange": "10.77.0.128/25", "Gateway": "10.77.0.9" }]);
    assert_eq!(found["IPAM"]["Config"], pool);
    assert_eq!(found["Labels"], json!({ "tier": "front" }));
    assert_eq!(found["Options"], json!({ "com.docker.network.driver.mtu": "1400" }));
    assert_eq!((&found["Id"], &found["Driver"]), (&json!(id), &json!("bridge")));
    docker.docker(["network", "create", "front"]).exits(1).stderr_has("already exists");
    docker.docker(["network", "create", "--internal", "back"]).ok();
    assert_eq!(docker.get("/networks/back")["Internal"], json!(true));
    // What the driver is told is not lost.
    let line = ["network", "create", "-d", "macvlan", "--subnet", "192.0.2.0/24"];
    docker.docker([&line[..], &["-o", "parent=eth0", "lan"]].concat()).exits(0);
    assert_eq!(docker.get("/networks/lan")["Options"], json!({ "parent": "eth0" }));
    docker.docker(["network", "create", "-d", "nosuch", "x"]).exits(1).stderr_has("plugin");
    let listed = docker.docker(["network", "ls", "-f", "label=tier", "--format", "{{.Name}}"]);
    listed.ok().stdout("front\n");
    docker.docker(["network", "rm", "front"]).ok().stdout("front\n");
    docker.docker(["network", "inspect", "front"]).exits(1);
    assert_eq!(docker.ask("GET", "/networks/front", "").status, 404);
    let pruned = docker.docker(["network", "prune", "-f"]).ok().text();
    assert!(pruned.contains("back") && pruned.contains("lan"), "{pruned}");
    assert_eq!(
        docker.ask("POST", "/networks/prune", "").json(),
        json!({ "NetworksDeleted": null })
    );
}

#[test]
fn containers_come_and_leave() {
    if !needs(&[Need::Root]) {
        return;
    }
    let barge = Barge::new();
    let docker = DockerHost::with_busybox(&barge);
    docker.docker(["network", "create", "--subnet", "10.78.0.0/24", "front"]).ok();
    docker.docker(["network", "create", "--subnet", "10.79.0.0/24", "back"]).ok();
    let line = ["run", "-d", "--name=a", "--network=front", "busybox", "sleep", "1000"];
    let id = barge.run(line).ok().text();
    let connect = ["network", "connect", "--ip", "10.79.0.7", "--alias", "other", "back", "a"];
    docker.docker(connect).ok();
    let found = docker.get("/networks/back");
    let place: &Value = &found["Containers"][&id];
    assert_eq!((&place["Name"], &place["IPv4Address"]), (&json!("a"), &json!("10.79.0.7/24")));
    assert_eq!(place["EndpointID"].as_str().map(str::len), Some(64));
    // The container knows both by the same IDs, in lists, too.
    let shown = docker.get("/containers/a/json");
    let listed = docker.get("/containers/json");
    for settings in [&shown["NetworkSettings"], &listed[0]["NetworkSettings"]] {
        let there = &settings["Networks"]["back"];
        assert_eq!(there["NetworkID"], found["Id"]);
        assert_eq!(there["EndpointID"], place["EndpointID"]);
    }
    barge.run(["exec", "a", "ip", "-4", "-o", "addr"]).ok().stdout_has("10.79.0.7/24");
    let line = ["run", "--rm", "--network=back", "busybox", "ping", "-c1", "-W5", "other"];
    barge.run(line).ok();
    docker.docker(connect).exits(1);
    docker.docker(["network", "rm", "back"]).exits(1).stderr_has("has active endpoints");
    docker.docker(["network", "disconnect", "back", "a"]).ok();
    barge.run(["exec", "a", "ip", "-4", "-o", "addr"]).ok().stdout_lacks("10.79.0.7");
    docker.docker(["network", "disconnect", "back", "a"]).exits(1);
    docker.docker(["network", "connect", "host", "a"]).exits(1);
    docker.docker(["network", "connect", "nosuch", "a"]).exits(1).stderr_has("nosuch");
    docker.docker(["network", "connect", "back", "nosuch"]).exits(1);
    barge.run(["rm", "-f", "-t0", "a"]).ok();
    docker.docker(["network", "rm", "front", "back"]).ok();
}
