//! Groups of Docker's client that nobody else here tests: contexts, plugins, commit, prunes, swarms.

use serde_json::json;

use crate::support::Barge;
use crate::support::docker::DockerHost;

#[test]
fn docker_goes_by_contexts() {
    let barge = Barge::new();
    let docker = DockerHost::with_busybox(&barge);
    let config = barge.path_text("contexts");
    // Nothing but the context says where the service is.
    let client = |line: &[&str]| {
        let command = barge.other_command("/usr/bin/docker", line);
        command.env("DOCKER_CONFIG", &config).env("DOCKER_BUILDKIT", "0").run()
    };
    let host = format!("host={}", docker.address());
    client(&["context", "create", "there", "--docker", &host]).ok();
    client(&["--context", "there", "images", "-q"]).ok();
    client(&["context", "use", "there"]).ok();
    client(&["context", "ls", "-q"]).ok().stdout_has("there");
    let version =
        client(&["version", "--format", "{{.Server.Version}} {{.Server.Os}}"]).ok().text();
    assert_eq!(version, format!("{} linux", env!("CARGO_PKG_VERSION")));
    let name = client(&["info", "--format", "{{.OperatingSystem}} {{.CgroupVersion}}"]).ok().text();
    let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let own = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    assert!(name.starts_with(own.unwrap_or_default().trim_matches('"')), "{name}");
    let run = ["run", "--rm", "--network=none", "busybox", "echo", "there"];
    client(&run).ok().stdout("there\n");
    client(&["context", "use", "default"]).ok();
    client(&["context", "rm", "there"]).ok();
}

#[test]
fn docker_commits_prunes_and_hears_what_is_not_there() {
    let barge = Barge::new();
    let docker = DockerHost::with_busybox(&barge);
    let run = |name: &str, label: &str, script: &str| {
        let line = ["run", "--network=none", "--name", name, "--label", label, "busybox"];
        docker.docker([&line[..], &["sh", "-c", script]].concat()).ok();
    };
    run("made", "keep=yes", "echo new > /file");
    run("other", "keep=no", "true");
    let commit =
        ["commit", "-m", "why", "-a", "me", "-c", "ENV A=1", "-c", "CMD cat /file", "made"];
    docker.docker([&commit[..], &["app:1"]].concat()).ok().stdout_has("sha256:");
    docker.docker(["run", "--rm", "--network=none", "app:1"]).ok().stdout("new\n");
    let image = docker.docker(["inspect", "app:1"]).ok().json();
    assert_eq!((&image[0]["Author"], &image[0]["Comment"]), (&json!("me"), &json!("why")));
    assert!(image[0]["Config"]["Env"].to_string().contains("A=1"));
    docker
        .docker(["container", "prune", "-f", "--filter", "label=keep=no"])
        .ok()
        .stdout_has("Total reclaimed space:");
    let left = docker.docker(["ps", "-a", "--format", "{{.Names}}"]).ok().text();
    assert_eq!(left, "made");
    docker.docker(["plugin", "ls", "--format", "{{.Name}}"]).ok().stdout("");
    docker.docker(["logout", "registry.example"]).exits(0);
    for line in [&["node", "ls"][..], &["service", "ls"], &["stack", "ls"], &["swarm", "init"]] {
        docker.docker(line).exits(1).stderr_has("not a swarm manager");
    }
    // Nobody has asked for it to be done in another way.
    docker.docker(["checkpoint", "ls", "made"]).exits(1);
    docker.docker(["plugin", "install", "--grant-all-permissions", "x"]).exits(1);
}
