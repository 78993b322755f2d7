//! `barge runtime` under containerd and Docker.

use std::path::Path;

use super::support::bundle::Bundle;
use super::support::{Barge, Need, Output, Running, fixture, needs, wait_until};

/// A daemon of its own for one test, ended when this is dropped.
pub(super) struct Daemon<'a> {
    barge: &'a Barge,
    socket: String,
    running: Option<Running>,
}

impl<'a> Daemon<'a> {
    /// Starts a program that listens at a socket, and waits until a client gets an answer.
    pub(super) fn start(barge: &'a Barge, program: &str, line: &[&str], client: &[&str]) -> Self {
        let socket = barge.path_text("socket");
        let line: Vec<String> = line.iter().map(|word| word.replace("SOCKET", &socket)).collect();
        let running = barge.other_command(program, line).spawn();
        let daemon = Self { barge, socket, running: Some(running) };
        wait_until(&format!("{program} answers"), || {
            Path::new(&daemon.socket).exists() && daemon.client(client).status == 0
        });
        daemon
    }

    /// Runs a client's command line.
    pub(super) fn client(&self, line: &[&str]) -> Output {
        let words = line[1..].iter().map(|word| word.replace("SOCKET", &self.socket));
        self.barge.other_command(line[0], words).run()
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.signal(rustix::process::Signal::TERM);
            drop(running.wait());
        }
    }
}

/// Makes the name under which the runtime is called.
fn runtime(barge: &Barge) -> String {
    let path = barge.path("barge-runtime");
    std::os::unix::fs::symlink(barge.program(), &path).unwrap();
    path.to_string_lossy().into_owned()
}

#[test]
fn containerd_runs_containers_with_barge() {
    if !needs(&[Need::Root, Need::Tool("containerd"), Need::Tool("ctr")]) {
        return;
    }
    let barge = Barge::new();
    let bundle = Bundle::new(&barge);
    let program = runtime(&barge);
    let (root, state) = (barge.path_text("cd-root"), barge.path_text("cd-state"));
    let line = ["--root", &root, "--state", &state, "--address", "SOCKET"];
    let daemon = Daemon::start(&barge, "containerd", &line, &["ctr", "-a", "SOCKET", "version"]);
    let ctr = |line: &[&str]| daemon.client(&[&["ctr", "-a", "SOCKET"], line].concat());
    let rootfs = format!("{}/rootfs", bundle.path());
    let run = ["run", "--runc-binary", &program];
    let once = [&run[..], &["--rm", "--rootfs", &rootfs, "a", "sh", "-c", "echo out; exit 7"]];
    let once = ctr(&once.concat());
    assert_eq!(once.text(), "out", "{}", once.story());
    assert_eq!(once.status, 7);
    ctr(&[&run[..], &["-d", "--rootfs", &rootfs, "b", "sleep", "1000"]].concat()).ok();
    ctr(&["task", "ls"]).ok().stdout_has("RUNNING");
    ctr(&["task", "exec", "--exec-id", "e", "b", "echo", "inside"]).ok().stdout("inside\n");
    ctr(&["task", "pause", "b"]).ok();
    ctr(&["task", "ls"]).ok().stdout_has("PAUSED");
    ctr(&["task", "resume", "b"]).ok();
    ctr(&["task", "kill", "-s", "KILL", "b"]).ok();
    wait_until("the task has ended", || ctr(&["task", "ls"]).text().contains("STOPPED"));
    // It tells the exit status of the task.
    ctr(&["task", "rm", "b"]);
    ctr(&["containers", "rm", "b"]).ok();
    drop(daemon);
    remove_groups("default");
}

#[test]
fn docker_runs_containers_with_barge() {
    if !needs(&[Need::Root, Need::Tool("dockerd"), Need::Tool("containerd")]) {
        return;
    }
    let barge = Barge::new();
    let program = runtime(&barge);
    let (data, exec, pid) = (barge.path_text("dd"), barge.path_text("de"), barge.path_text("pid"));
    let runtime = format!("barge={program}");
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
        "--add-runtime",
        &runtime,
        "--default-runtime=barge",
    ];
    let docker = ["docker", "-H", "unix://SOCKET"];
    let daemon = Daemon::start(&barge, "dockerd", &line, &[&docker[..], &["version"]].concat());
    let docker = |line: &[&str]| daemon.client(&[&docker[..], line].concat());
    docker(&["import", &fixture::busybox().to_string_lossy(), "b"]).ok();
    let run = ["run", "--rm", "--network=none"];
    let once = docker(&[&run[..], &["b", "sh", "-c", "echo out; echo bad >&2; exit 7"]].concat());
    once.exits(7).stdout("out\n").stderr("bad\n");
    let missing = docker(&[&run[..], &["b", "nope"]].concat());
    missing.exits(127).stderr_has("executable file `nope` not found in $PATH");
    docker(&["run", "-d", "--name=cc", "--network=none", "-m", "64m", "b", "sleep", "1000"]).ok();
    docker(&["exec", "cc", "sh", "-c", "echo inside; exit 5"]).exits(5).stdout("inside\n");
    docker(&["pause", "cc"]).ok();
    docker(&["ps", "--format", "{{.Status}}"]).ok().stdout_has("(Paused)");
    docker(&["unpause", "cc"]).ok();
    docker(&["top", "cc"]).ok().stdout_has("sleep 1000");
    docker(&["update", "-m", "100m", "--memory-swap", "200m", "cc"]).ok();
    docker(&["stop", "-t", "0", "cc"]).ok();
    docker(&["inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "cc"])
        .ok()
        .stdout("exited 137\n");
    docker(&["rm", "-f", "cc"]).ok();
    drop(daemon);
    remove_groups("docker");
}

/// Removes the groups that a daemon leaves: the parents of its containers' groups.
pub(super) fn remove_groups(name: &str) {
    for mount in super::support::leaks::cgroup_mounts() {
        drop(std::fs::remove_dir(mount.join(name)));
    }
}
