//! What is answered to each endpoint of Docker's API.

use crate::support::Barge;
use crate::support::docker::DockerHost;

/// Method, target and status, of each endpoint of `docker-api-v1.56.yaml` that this module's neighbors
/// test; asked on an empty store, of things that are not there.
const TABLE: &[(&str, &str, u16)] = &[
    ("HEAD", "/containers/nosuch/archive?path=/", 404),
    ("GET", "/containers/nosuch/archive?path=/", 404),
    ("PUT", "/containers/nosuch/archive?path=/", 404),
    ("GET", "/images/json", 200),
    ("POST", "/build", 400),
    ("POST", "/build/prune", 200),
    ("POST", "/images/create", 400),
    ("GET", "/images/nosuch/json", 404),
    ("GET", "/images/nosuch/history", 404),
    ("GET", "/images/nosuch/attestations", 404),
    ("POST", "/images/localhost:1%2Fnosuch/push", 200),
    ("POST", "/images/nosuch/tag?repo=a", 404),
    ("DELETE", "/images/nosuch", 404),
    ("GET", "/images/search", 400),
    ("POST", "/images/prune", 200),
    ("POST", "/auth", 401),
    ("POST", "/commit?container=nosuch", 404),
    ("GET", "/system/df", 200),
    ("GET", "/images/nosuch/get", 404),
    ("GET", "/images/get?names=nosuch", 404),
    ("GET", "/images/get", 400),
    ("POST", "/images/load", 400),
    ("GET", "/volumes", 200),
    ("POST", "/volumes/create", 201),
    ("GET", "/volumes/nosuch", 404),
    ("PUT", "/volumes/nosuch", 503),
    ("DELETE", "/volumes/nosuch", 404),
    ("POST", "/volumes/prune", 200),
    ("GET", "/networks", 200),
    ("GET", "/networks/nosuch", 404),
    ("DELETE", "/networks/nosuch", 404),
    ("POST", "/networks/create", 400),
    ("POST", "/networks/nosuch/connect", 404),
    ("POST", "/networks/nosuch/disconnect", 404),
    ("POST", "/networks/prune", 200),
    ("GET", "/plugins", 200),
    ("GET", "/plugins/privileges", 501),
    ("POST", "/plugins/pull", 501),
    ("GET", "/plugins/nosuch/json", 404),
    ("DELETE", "/plugins/nosuch", 501),
    ("POST", "/plugins/nosuch/enable", 501),
    ("POST", "/plugins/nosuch/disable", 501),
    ("POST", "/plugins/nosuch/upgrade", 501),
    ("POST", "/plugins/create", 501),
    ("POST", "/plugins/nosuch/push", 501),
    ("POST", "/plugins/nosuch/set", 501),
    ("GET", "/secrets", 200),
    ("POST", "/secrets/create", 400),
    ("GET", "/secrets/nosuch", 404),
    ("DELETE", "/secrets/nosuch", 404),
    ("POST", "/secrets/nosuch/update", 400),
    ("POST", "/secrets/nosuch/update?version=1", 404),
    ("GET", "/configs", 200),
    ("POST", "/configs/create", 400),
    ("GET", "/configs/nosuch", 404),
    ("DELETE", "/configs/nosuch", 404),
    ("POST", "/configs/nosuch/update", 400),
    ("POST", "/configs/nosuch/update?version=1", 404),
    ("GET", "/distribution/UPPER/json", 400),
    ("GET", "/nodes", 503),
    ("GET", "/swarm", 503),
    ("GET", "/services", 503),
    ("GET", "/tasks", 503),
    ("GET", "/nosuch", 404),
];

#[test]
fn each_endpoint_answers() {
    let barge = Barge::new();
    let docker = DockerHost::start(&barge);
    let mut wrong = Vec::new();
    for (method, target, want) in TABLE {
        for version in ["", "/v1.24", "/v1.41", "/v1.51", "/v1.56"] {
            let answer = docker.ask(method, &format!("{version}{target}"), "");
            if answer.status != *want {
                let text = String::from_utf8_lossy(&answer.body).into_owned();
                wrong.push(format!("{method} {version}{target}: {} {text}", answer.status));
            }
            if answer.status >= 400 && *method != "HEAD" {
                assert!(!answer.message().is_empty(), "{method} {target}");
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn bodies_that_make_no_sense_are_refused() {
    let barge = Barge::new();
    let docker = DockerHost::start(&barge);
    for target in
        ["/networks/create", "/volumes/create", "/secrets/create", "/configs/create", "/auth"]
            .into_iter()
            .chain(["/commit?container=x"])
    {
        for body in ["{", "[]", "\"x\"", "{\"Name\": 5}", "{\"Labels\": [1]}"] {
            let status = docker.ask("POST", target, body).status;
            assert!((400..500).contains(&status), "{target} {body}: {status}");
        }
        let large = format!("{{\"Name\": \"{}\"}}", "x".repeat(5 << 20));
        let status = docker.ask("POST", target, &large).status;
        assert!((400..500).contains(&status), "{target}: {status}");
    }
}
