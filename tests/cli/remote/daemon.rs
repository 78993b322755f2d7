//! Docker's own service as a host, where that is installed.

use super::super::runtime_docker::{Daemon, remove_groups};
use super::super::support::barge::is_full_id;
use super::super::support::{Barge, Need, fixture, needs};

#[test]
fn remote_docker_is_a_host_like_any_other() {
    if !needs(&[Need::Root, Need::Tool("dockerd"), Need::Tool("runc")]) {
        return;
    }
    let barge = Barge::new();
    let program = barge.program().to_string_lossy().into_owned();
    let (data, exec, pid) = (barge.path_text("d"), barge.path_text("e"), barge.path_text("pid"));
    let line = [
        "--data-root",
        &data,
        "--exec-root",
        &exec,
        "--pidfile",
        &pid,
        "-H",
        "unix://SOCKET",
        "--bridge=none",
        "--iptables=false",
        "--ip6tables=false",
        "--storage-driver=vfs",
    ];
    let own = [program.as_str(), "--host", "unix://SOCKET"];
    let daemon = Daemon::start(&barge, "dockerd", &line, &[&own[..], &["version"]].concat());
    let run = |line: &[&str]| daemon.client(&[&own[..], line].concat());
    let tar = fixture::busybox().to_string_lossy().into_owned();
    assert!(run(&["import", "-c", "CMD sh", &tar, "box:1"]).ok().text().starts_with("sha256:"));
    run(&["images", "--format", "{{.Repository}}:{{.Tag}}"]).ok().stdout("box:1\n");
    let once = ["run", "--rm", "--network", "none", "box:1"];
    let both = run(&[&once[..], &["sh", "-c", "echo out; echo bad >&2; exit 7"]].concat());
    both.exits(7).stdout("out\n").stderr("bad\n");
    run(&[&once[..], &["nope"]].concat()).fails(127);
    run(&[&once[..], &["/etc"]].concat()).fails(126);
    let line = ["run", "-d", "--name", "web", "--network", "none", "-m", "64m", "--label", "a=b"];
    let id = run(&[&line[..], &["box:1", "sh", "-c", "echo up; sleep 1000"]].concat()).ok().text();
    assert!(is_full_id(&id), "{id}");
    let fields = "{{.ID}} {{.Names}} {{.Image}} {{.State}} {{.Labels}} {{.Networks}}";
    run(&["ps", "--format", fields])
        .ok()
        .stdout(&format!("{} web box:1 running a=b none\n", &id[..12]));
    run(&["exec", "web", "sh", "-c", "echo inside; exit 5"]).exits(5).stdout("inside\n");
    // So old a service tells of it on standard output, and by this status.
    run(&["exec", "web", "nope"]).exits(126).stdout_has("executable file not found");
    run(&["logs", "web"]).ok().stdout("up\n");
    run(&["top", "web"]).ok().stdout_has("sleep 1000");
    let file = barge.file("file", "content\n");
    run(&["cp", &file, "web:/tmp/there"]).ok();
    run(&["exec", "web", "cat", "/tmp/there"]).ok().stdout("content\n");
    let back = barge.path_text("back");
    run(&["cp", "web:/tmp/there", &back]).ok();
    assert_eq!(std::fs::read_to_string(&back).unwrap(), "content\n");
    run(&["diff", "web"]).ok().stdout_has("A /tmp/there\n");
    run(&["pause", "web"]).ok();
    run(&["unpause", "web"]).ok();
    run(&["update", "-m", "100m", "--memory-swap", "200m", "web"]).ok();
    run(&["inspect", "-f", "{{.HostConfig.Memory}}", "web"]).ok().stdout("104857600\n");
    assert!(is_full_id(&run(&["commit", "web", "made:1"]).ok().text()));
    run(&["stop", "-t", "0", "web"]).ok();
    run(&["wait", "web"]).ok().stdout("137\n");
    run(&["rm", "web"]).ok().stdout("web\n");
    run(&["volume", "create", "data"]).ok().stdout("data\n");
    run(&["volume", "ls", "-q"]).ok().stdout("data\n");
    run(&["volume", "rm", "data"]).ok().stdout("data\n");
    run(&["network", "ls", "-q"]).ok().stdout("host\nnone\n");
    run(&["system", "df", "--format", "{{.Type}} {{.Total}}"]).ok().stdout_has("Images 2\n");
    run(&["secret", "ls"]).fails(125).error_has("swarm");
    run(&["init", "web"]).fails(125).error_has("is not there on other hosts: Docker's API");
    let context = barge.path("context");
    std::fs::create_dir(&context).unwrap();
    std::fs::write(context.join("Dockerfile"), "FROM box:1\nCOPY a /a\n").unwrap();
    std::fs::write(context.join("a"), "built\n").unwrap();
    let built = run(&["build", "-t", "built:1", &context.to_string_lossy()]).ok();
    let id = built.lines().pop().unwrap();
    run(&["image", "inspect", "-f", "{{.Id}}", "built:1"]).ok().stdout(&format!("sha256:{id}\n"));
    run(&["run", "--rm", "--network", "none", "built:1", "cat", "/a"]).ok().stdout("built\n");
    run(&["rmi", "built:1"]).ok().stdout_has("Untagged: built:1\n");
    drop(daemon);
    remove_groups("docker");
}
