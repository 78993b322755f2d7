//! `barge runtime`: containers of bundles, as other tools have them made.

use std::fs;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::Path;

use rustix::process::Signal;
use serde_json::json;

use super::support::bundle::Bundle;
use super::support::{Barge, Need, is_root, needs, wait_until};

const SLEEP: &str = "trap 'exit 9' TERM; echo up; while :; do sleep 0.1; done";

#[test]
fn a_container_is_created_started_killed_and_deleted() {
    let barge = Barge::new();
    let bundle = Bundle::new(&barge);
    bundle.script(SLEEP);
    bundle.edit(|config| config["annotations"] = json!({"org.example.a": "b"}));
    let pid_file = barge.path_text("pid");
    bundle.leave(["create", "--bundle", bundle.path(), "--pid-file", &pid_file, "c"]).ok();
    let state = bundle.state("c");
    let pid = fs::read_to_string(&pid_file).unwrap();
    assert_eq!(state["status"], "created");
    assert_eq!(state["pid"].to_string(), pid);
    assert_eq!(state["id"], "c");
    assert_eq!(state["bundle"], bundle.path());
    assert_eq!(state["rootfs"], format!("{}/rootfs", bundle.path()));
    assert_eq!(state["annotations"], json!({"org.example.a": "b"}));
    assert!(state["created"].as_str().unwrap().ends_with('Z'), "{state}");
    assert_eq!(bundle.output(), "");
    bundle.run(["list", "-q"]).ok().stdout("c\n");
    bundle.leave(["create", "c"]).fails(1).error_has("container with id exists: c");
    bundle.run(["start", "c"]).ok();
    bundle.await_output("up\n");
    assert_eq!(bundle.state("c")["status"], "running");
    bundle.run(["start", "c"]).fails(1).error_has("cannot start an already running container");
    let why = "cannot delete container c that is not stopped: running";
    bundle.run(["delete", "c"]).fails(1).error_has(why);
    let listed = bundle.run(["list", "-f", "json"]).ok().json();
    assert_eq!((&listed[0]["id"], &listed[0]["pid"]), (&json!("c"), &state["pid"]));
    assert!(!listed[0]["owner"].as_str().unwrap().is_empty());
    let table = bundle.run(["list"]).ok().text();
    assert!(table.starts_with("ID          PID         STATUS      BUNDLE"), "{table}");
    bundle.run(["kill", "c"]).ok();
    bundle.await_status("c", "stopped");
    assert_eq!(bundle.state("c")["pid"], 0);
    bundle.run(["kill", "c", "KILL"]).fails(1).error_has("container not running");
    let why = "cannot start a container that has stopped";
    bundle.run(["start", "c"]).fails(1).error_has(why);
    bundle.run(["delete", "c"]).ok();
    for line in [&["state", "c"][..], &["delete", "c"], &["kill", "c"], &["start", "c"]] {
        bundle.run(line).fails(1).error_has("container does not exist");
    }
    bundle.run(["delete", "--force", "c"]).ok();
    assert_eq!(fs::read_dir(bundle.root()).unwrap().count(), 0);
    assert_eq!(bundle.groups(), 0);
}

#[test]
fn run_gives_the_container_our_streams_and_signals_and_its_exit_status() {
    let barge = Barge::new();
    let bundle = Bundle::new(&barge);
    bundle.script("read line; echo got $line; echo bad >&2; exit 7");
    bundle
        .prepare(["run", "c"])
        .input("text\n")
        .run()
        .exits(7)
        .stdout("got text\n")
        .stderr("bad\n");
    bundle.script(SLEEP);
    let mut running = bundle.prepare(["run", "c"]).spawn();
    running.expect("up\n");
    assert_eq!(bundle.state("c")["status"], "running");
    running.signal(Signal::TERM);
    running.wait().exits(9);
    bundle.run(["state", "c"]).fails(1);
    bundle.script("sh -c 'kill -9 $$'; exit $?");
    bundle.run(["run", "--keep", "c"]).exits(137);
    assert_eq!(bundle.state("c")["status"], "stopped");
    bundle.run(["delete", "c"]).ok();
    bundle.script(SLEEP);
    bundle.leave(["run", "--detach", "c"]).ok();
    bundle.await_output("up\n");
    bundle.run(["delete", "--force", "c"]).ok();
}

#[test]
fn what_cannot_be_made_is_told_and_leaves_nothing() {
    let barge = Barge::new();
    let bundle = Bundle::new(&barge);
    let log = barge.path_text("log");
    let line = ["--log", &log, "--log-format", "json", "create", "c"];
    for (words, want) in [
        (&["/nope"][..], "executable file `/nope` not found: no such file or directory"),
        (&["nope"], "executable file `nope` not found in $PATH: no such file or directory"),
        (&[], "args must not be empty"),
    ] {
        bundle.command(words);
        fs::write(&log, "").unwrap();
        bundle.leave(line).fails(1).error_has(want);
        let told: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(&log).unwrap()).unwrap();
        assert_eq!(told["level"], "error");
        assert!(told["msg"].as_str().unwrap().contains(want), "{told}");
        assert!(told["time"].as_str().unwrap().ends_with('Z'), "{told}");
    }
    // What is there but is no program is known when it is started.
    bundle.command(&["/bin/bad-format"]);
    bundle.leave(["create", "c"]).ok();
    bundle.run(["start", "c"]).fails(1).error_has("cannot execute `/bin/bad-format`");
    bundle.await_status("c", "stopped");
    bundle.run(["delete", "c"]).ok();
    bundle.command(&["true"]);
    let empty = barge.path_text("h");
    let why = "JSON specification file config.json not found";
    bundle.leave(["create", "--bundle", &empty, "c"]).fails(1).error_has(why);
    bundle.leave(["create", "a/b"]).fails(1).error_has("invalid container id format: a/b");
    bundle.leave(["create", ""]).fails(1).error_has("container id cannot be empty");
    bundle.run(["frob"]).exits(1).stderr_has("unrecognized command");
    bundle.run(["--nope", "list"]).exits(1).stderr_has("unknown flag: --nope");
    bundle.run(["kill"]).fails(1);
    bundle.edit(|config| config["process"]["terminal"] = json!(true));
    let why = "cannot allocate tty if barge will detach without setting console socket";
    bundle.leave(["create", "c"]).fails(1).error_has(why);
    assert_eq!(fs::read_dir(bundle.root()).map_or(0, Iterator::count), 0);
    assert_eq!(bundle.groups(), 0);
}

#[test]
fn its_name_stands_for_the_runtime() {
    let barge = Barge::new();
    for name in ["barge-runtime", "runc", "crun"] {
        let link = barge.path(name);
        std::os::unix::fs::symlink(barge.program(), &link).unwrap();
        let version = barge.other_command(&link, ["--version"]).run().ok().text();
        assert!(version.starts_with("barge-runtime version "), "{version}");
        let root = barge.path_text("r");
        barge.other_command(&link, ["--root", &root, "list", "-q"]).run().ok().stdout("");
    }
}

/// Waits for the terminal of a container; returns what came with it.
fn receive_terminal(listener: &UnixListener) -> (OwnedFd, String) {
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
    let (stream, _) = listener.accept().unwrap();
    let mut data = [0; 256];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [std::io::IoSliceMut::new(&mut data)];
    let message =
        rustix::net::recvmsg(&stream, &mut parts, &mut ancillary, RecvFlags::empty()).unwrap();
    let file = ancillary.drain().find_map(|part| match part {
        RecvAncillaryMessage::ScmRights(mut files) => files.next(),
        _ => None,
    });
    (file.unwrap(), String::from_utf8_lossy(&data[..message.bytes]).into_owned())
}

#[test]
fn the_console_socket_gets_the_terminal() {
    let barge = Barge::new();
    let bundle = Bundle::new(&barge);
    bundle.script("tty -s && stty size; read line; echo got $line");
    bundle.edit(|config| {
        config["process"]["terminal"] = json!(true);
        config["process"]["consoleSize"] = json!({"height": 33, "width": 77});
    });
    let path = barge.path_text("console");
    let listener = UnixListener::bind(&path).unwrap();
    let running = bundle.prepare_leaving(["create", "--console-socket", &path, "c"]).spawn();
    let (master, name) = receive_terminal(&listener);
    assert_eq!(name, "/dev/ptmx");
    running.wait().ok();
    bundle.run(["start", "c"]).ok();
    rustix::io::write(&master, b"word\n").unwrap();
    let mut text = String::new();
    // It ends with an error when its last user has gone.
    let mut bytes = [0; 1024];
    while let Ok(length) = fs::File::from(master.try_clone().unwrap()).read(&mut bytes) {
        text.push_str(&String::from_utf8_lossy(&bytes[..length]));
    }
    for want in ["33 77\r\n", "got word\r\n"] {
        assert!(text.contains(want), "{want}: {text}");
    }
    bundle.await_status("c", "stopped");
    bundle.run(["delete", "c"]).ok();
}

#[test]
fn run_gives_the_container_our_terminal() {
    let barge = Barge::new();
    let bundle = Bundle::new(&barge);
    bundle.script("tty -s && stty size; exit 3");
    bundle.edit(|config| config["process"]["terminal"] = json!(true));
    let mut terminal = bundle.prepare(["run", "c"]).terminal();
    terminal.expect("24 80");
    terminal.exits(3);
}

#[test]
fn hooks_are_run_in_their_order_and_are_told_the_state() {
    let barge = Barge::new();
    let bundle = Bundle::new(&barge);
    let told = barge.path_text("told");
    let hook = |name: &str| {
        let script =
            format!("echo {name} $(tr -d ' \\n' | grep -o '\"status\":\"[a-z]*\"') >>{told}");
        json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}])
    };
    let inside = "echo startContainer >>/told";
    let state = barge.path_text("state");
    let keep = json!({"path": "/bin/sh", "args": ["sh", "-c", format!("cat >{state}")]});
    bundle.edit(|config| {
        config["annotations"] = json!({"org.example.a": "b"});
        config["root"]["readonly"] = json!(false);
        config["hooks"] = json!({
            "prestart": hook("prestart"),
            "createRuntime": hook("createRuntime"),
            "createContainer": hook("createContainer"),
            "startContainer": [{"path": "/bin/sh", "args": ["sh", "-c", inside]}],
            "poststart": hook("poststart"),
            "poststop": [hook("poststop")[0], keep],
        });
    });
    bundle.script("cat /told; echo main");
    bundle.leave(["create", "c"]).ok();
    let seen = || fs::read_to_string(barge.path("told")).unwrap();
    let created = ["prestart", "createRuntime", "createContainer"]
        .map(|name| format!("{name} \"status\":\"created\"\n"))
        .concat();
    assert_eq!(seen(), created);
    assert!(!Path::new(bundle.path()).join("rootfs/told").exists());
    bundle.run(["start", "c"]).ok();
    bundle.await_output("startContainer\nmain\n");
    let started = format!("{created}poststart \"status\":\"running\"\n");
    assert_eq!(seen(), started);
    bundle.await_status("c", "stopped");
    bundle.run(["delete", "c"]).ok();
    assert_eq!(seen(), format!("{started}poststop \"status\":\"stopped\"\n"));
    let state: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(state).unwrap()).unwrap();
    assert_eq!((&state["ociVersion"], &state["id"]), (&json!("1.2.0"), &json!("c")));
    assert_eq!(state["annotations"], json!({"org.example.a": "b"}));
    assert_eq!(state["bundle"], bundle.path());
}

#[test]
fn a_hook_that_fails_ends_the_creation() {
    let barge = Barge::new();
    let bundle = Bundle::new(&barge);
    bundle.command(&["true"]);
    for name in ["prestart", "createRuntime", "createContainer"] {
        bundle.edit(|config| {
            config["hooks"] = json!({name: [
                {"path": "/bin/sh", "args": ["sh", "-c", "echo it was bad >&2; exit 3"]},
            ]});
        });
        let why = "it ended with status 3: it was bad";
        bundle.leave(["create", "c"]).fails(1).error_has(name).error_has(why);
        bundle.run(["state", "c"]).fails(1);
        assert_eq!(bundle.groups(), 0, "{name}");
    }
    bundle.edit(|config| {
        config["hooks"] = json!({"startContainer": [{"path": "/bin/false", "args": ["false"]}]});
    });
    bundle.leave(["create", "c"]).ok();
    bundle.run(["start", "c"]).fails(1).error_has("startContainer");
    bundle.await_status("c", "stopped");
    bundle.run(["delete", "c"]).ok();
}

#[test]
fn what_a_killed_creation_leaves_is_deleted_by_force() {
    let barge = Barge::new();
    barge.kills();
    let bundle = Bundle::new(&barge);
    let mark = barge.path_text("hook");
    bundle.edit(|config| {
        let script = format!("echo $$ >{mark}; exec sleep 1000");
        config["hooks"] = json!({"createRuntime": [
            {"path": "/bin/sh", "args": ["sh", "-c", script]},
        ]});
    });
    let line = ["create", "c"];
    let mut running = bundle.prepare(line).spawn();
    wait_until("the hook runs", || fs::read_to_string(&mark).is_ok_and(|text| text.contains('\n')));
    running.signal(Signal::KILL);
    let hook = fs::read_to_string(&mark).unwrap();
    let hook = rustix::process::Pid::from_raw(hook.trim().parse().unwrap()).unwrap();
    rustix::process::kill_process(hook, Signal::KILL).unwrap();
    assert_ne!(running.wait().status, 0);
    // The process was tied to who made it until all was made.
    bundle.await_status("c", "stopped");
    bundle.run(["start", "c"]).fails(1);
    bundle.run(["delete", "--force", "c"]).ok();
    assert_eq!(fs::read_dir(bundle.root()).unwrap().count(), 0);
    assert_eq!(bundle.groups(), 0);
    // One that was killed before it could do anything.
    fs::create_dir(bundle.root().join("d")).unwrap();
    bundle.run(["state", "d"]).fails(1).error_has("container does not exist");
    bundle.run(["delete", "d"]).fails(1).error_has("container does not exist");
    bundle.run(["delete", "--force", "d"]).ok();
    assert_eq!(fs::read_dir(bundle.root()).unwrap().count(), 0);
}

#[test]
fn one_of_many_makes_and_one_starts_a_container() {
    let barge = Barge::new();
    let bundle = Bundle::new(&barge);
    bundle.script("echo up; exec sleep 1000");
    let made: Vec<_> = (0..6).map(|_| bundle.prepare_leaving(["create", "c"]).spawn()).collect();
    let codes: Vec<i32> = made.into_iter().map(|running| running.wait().status).collect();
    assert_eq!(codes.iter().filter(|code| **code == 0).count(), 1, "{codes:?}");
    let started: Vec<_> = (0..6).map(|_| bundle.prepare(["start", "c"]).spawn()).collect();
    let codes: Vec<i32> = started.into_iter().map(|running| running.wait().status).collect();
    assert_eq!(codes.iter().filter(|code| **code == 0).count(), 1, "{codes:?}");
    bundle.await_output("up\n");
    assert_eq!(bundle.output(), "up\n");
    let deleted: Vec<_> =
        (0..6).map(|_| bundle.prepare(["delete", "--force", "c"]).spawn()).collect();
    for running in deleted {
        running.wait().ok();
    }
    assert_eq!(bundle.groups(), 0);
}

#[test]
fn a_start_that_was_given_up_can_be_tried_again() {
    let barge = Barge::new();
    let bundle = Bundle::new(&barge);
    bundle.script("echo up; exec sleep 1000");
    bundle.leave(["create", "c"]).ok();
    // Who connects and goes away has not started it.
    for _ in 0..3 {
        assert_eq!(bundle.state("c")["status"], "created");
    }
    bundle.run(["start", "c"]).ok();
    bundle.await_output("up\n");
    bundle.run(["delete", "-f", "c"]).ok();
}

#[test]
fn descriptors_are_passed_on() {
    let barge = Barge::new();
    let bundle = Bundle::new(&barge);
    barge.file("in", "text of the caller\n");
    bundle.script("cat <&3; echo $LISTEN_FDS; ls /proc/self/fd | wc -l");
    let root = bundle.root();
    let program = barge.program().to_string_lossy().into_owned();
    let script = format!("exec \"$@\" 3<{}", barge.path_text("in"));
    for (flags, want) in
        [(&["--preserve-fds", "1"][..], "text of the caller\n\n5\n"), (&[], "\n4\n")]
    {
        let head = ["-c", &script, "sh", &program, "runtime", "--root", root.to_str().unwrap()];
        let line = [&head[..], &["run", "--bundle", bundle.path()], flags, &["c"]].concat();
        let output = barge.other_command("sh", line).run();
        assert_eq!(String::from_utf8_lossy(&output.stdout), want, "{flags:?}");
    }
}

#[test]
fn namespaces_are_made_and_joined() {
    let barge = Barge::new();
    let bundle = Bundle::new(&barge);
    bundle.script("ip -o link | grep -c 'lo.*UP'; hostname; id -u; exec sleep 1000");
    if !is_root() {
        bundle.script("hostname; id -u; exec sleep 1000");
    }
    bundle.leave(["run", "-d", "a"]).ok();
    let want = if is_root() { "1\nbarge\n0\n" } else { "barge\n0\n" };
    bundle.await_output(want);
    let pid = bundle.state("a")["pid"].to_string();
    let link = |kind: &str| fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
    assert_ne!(link("uts"), fs::read_link("/proc/self/ns/uts").unwrap());
    if is_root() {
        bundle.edit(|config| {
            for namespace in config["linux"]["namespaces"].as_array_mut().unwrap() {
                let name = namespace["type"].as_str().unwrap().to_owned();
                let name = if name == "network" { "net" } else { &name };
                if ["net", "ipc", "uts", "pid"].contains(&name) {
                    namespace["path"] = json!(format!("/proc/{pid}/ns/{name}"));
                }
            }
            config.as_object_mut().unwrap().remove("hostname");
            config["linux"].as_object_mut().unwrap().remove("cgroupsPath");
        });
        let script = "for kind in net ipc uts pid mnt; do readlink /proc/self/ns/$kind; done";
        bundle.script(script);
        let seen = bundle.run(["run", "b"]).ok().lines();
        let want = ["net", "ipc", "uts", "pid"].map(|kind| link(kind).display().to_string());
        assert_eq!(seen[..4], want);
        assert_ne!(seen[4], link("mnt").display().to_string());
    }
    bundle.run(["delete", "--force", "a"]).ok();
}

#[test]
fn users_are_mapped() {
    if !needs(&[Need::Root]) {
        return;
    }
    let barge = Barge::new();
    let bundle = Bundle::new(&barge);
    bundle.edit(|config| {
        let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
        config["linux"]["uidMappings"] = map.clone();
        config["linux"]["gidMappings"] = map;
        let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.push(json!({"type": "user"}));
        config["process"]["user"] = json!({"uid": 7, "gid": 8, "additionalGids": [9]});
    });
    bundle.script("id -u; id -g; id -G; cat /proc/self/uid_map | tr -s ' '");
    let want = "7\n8\n8 9\n 0 100000 65536\n";
    bundle.run(["run", "c"]).ok().stdout(want);
    bundle.leave(["create", "c"]).ok();
    bundle.run(["start", "c"]).ok();
    bundle.await_output(want);
    bundle.await_status("c", "stopped");
    bundle.run(["delete", "c"]).ok();
}

#[test]
fn the_control_group_is_where_it_is_asked_for() {
    if !needs(&[Need::Root, Need::PidsLimit]) {
        return;
    }
    let barge = Barge::new();
    let bundle = Bundle::new(&barge);
    bundle.script("echo up; exec sleep 1000");
    let name = format!("barge-test-{}", std::process::id());
    for (asked, path) in [
        (format!("/{name}/c"), format!("{name}/c")),
        (format!("{name}/d"), format!("barge/{name}/d")),
    ] {
        bundle.edit(|config| {
            config["linux"]["cgroupsPath"] = json!(asked);
            config["linux"]["resources"]["pids"] = json!({"limit": 33});
        });
        bundle.leave(["run", "-d", "c"]).ok();
        let mounts = super::support::leaks::cgroup_mounts();
        let there: Vec<_> =
            mounts.iter().map(|mount| mount.join(&path)).filter(|it| it.exists()).collect();
        assert!(
            there.iter().any(|dir| {
                fs::read_to_string(dir.join("pids.max")).is_ok_and(|text| text == "33\n")
            }),
            "{there:?}"
        );
        bundle.run(["delete", "-f", "c"]).ok();
        assert!(there.iter().all(|dir| !dir.exists()));
        for mount in mounts {
            let top = mount.join(&path);
            drop(fs::remove_dir(top.parent().unwrap()));
        }
    }
}

#[test]
fn all_processes_get_a_signal() {
    if !needs(&[Need::Root]) {
        return;
    }
    let barge = Barge::new();
    let bundle = Bundle::new(&barge);
    bundle.edit(|config| {
        let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.retain(|it| it["type"] != "pid");
    });
    bundle.script("setsid sleep 1000 & echo $! up; wait");
    bundle.leave(["run", "-d", "c"]).ok();
    bundle.await_output("up\n");
    bundle.run(["kill", "--all", "c", "KILL"]).ok();
    bundle.await_status("c", "stopped");
    barge.await_silence();
    bundle.run(["delete", "c"]).ok();
}

#[test]
fn features_are_told() {
    let barge = Barge::new();
    let features = barge.run(["runtime", "features"]).ok().json();
    assert_eq!(features["ociVersionMin"], "1.0.0");
    assert_eq!(features["linux"]["seccomp"]["enabled"], true);
}

#[test]
fn processes_are_added() {
    let barge = Barge::new();
    let bundle = Bundle::new(&barge);
    bundle.script("echo up; exec sleep 1000");
    bundle.run(["exec", "c", "true"]).fails(255).error_has("container does not exist");
    bundle.leave(["create", "c"]).ok();
    bundle.run(["start", "c"]).ok();
    bundle.await_output("up\n");
    let line = [
        "exec",
        "--env",
        "A=b",
        "--cwd",
        "/tmp",
        "c",
        "sh",
        "-c",
        "read x; echo $A $PWD $x; exit 4",
    ];
    bundle.prepare(line).input("in\n").run().exits(4).stdout("b /tmp in\n");
    for kind in ["ipc", "uts", "mnt", "pid"] {
        let link = format!("/proc/self/ns/{kind}");
        let theirs = bundle.run(["exec", "c", "readlink", &link]).ok().text();
        let first =
            bundle.run(["exec", "c", "readlink", &format!("/proc/1/ns/{kind}")]).ok().text();
        assert_eq!(theirs, first, "{kind}");
        assert_ne!(theirs, fs::read_link(&link).unwrap().display().to_string(), "{kind}");
    }
    bundle.run(["exec", "c", "nope"]).fails(255).error_has("not found in $PATH");
    bundle.run(["exec", "c"]).fails(255).error_has("process args cannot be empty");
    bundle.run(["exec", "--cap", "nope", "c", "true"]).fails(255).error_has("unknown capability");
    bundle.run(["exec", "--cgroup", "x", "c", "true"]).exits(255);
    let caps = ["exec", "--cap", "CAP_SYS_ADMIN", "c", "grep", "CapEff", "/proc/self/status"];
    bundle.run(caps).ok().stdout("CapEff:\t0000000020200420\n");
    let file = barge.file(
        "process.json",
        json!({"args": ["sh", "-c", "echo $B; pwd"], "cwd": "/etc", "env": ["B=c", "PATH=/bin"],
               "user": {"uid": 0, "gid": 0}})
        .to_string(),
    );
    bundle.run(["exec", "--process", &file, "c"]).ok().stdout("c\n/etc\n");
    if std::thread::available_parallelism().unwrap().get() > 1 {
        // On the first processor while it is made, on the second from then on.
        let file = barge.file(
            "affinity.json",
            json!({"args": ["grep", "Cpus_allowed_list", "/proc/self/status"], "cwd": "/",
                   "env": ["PATH=/bin"], "user": {"uid": 0, "gid": 0},
                   "execCPUAffinity": {"initial": "0", "final": "1"}})
            .to_string(),
        );
        bundle.run(["exec", "--process", &file, "c"]).ok().stdout("Cpus_allowed_list:\t1\n");
    }
    let pid_file = barge.path_text("pid");
    bundle.leave(["exec", "--detach", "--pid-file", &pid_file, "c", "sleep", "999"]).ok();
    let pid: i64 = fs::read_to_string(&pid_file).unwrap().parse().unwrap();
    if is_root() {
        let pids = bundle.run(["ps", "--format", "json", "c"]).ok().json();
        assert_eq!(pids, json!([bundle.state("c")["pid"], pid]));
        let table = bundle.run(["ps", "c"]).ok().text();
        assert!(table.starts_with("UID") && table.contains("sleep 999"), "{table}");
        let own = bundle.run(["ps", "c", "-o", "pid,args"]).ok().text();
        assert!(own.contains(&format!("{pid}")), "{own}");
        let user = ["exec", "--user", "7:8", "-g", "9", "c", "id"];
        bundle.run(user).ok().stdout("uid=7 gid=8 groups=9\n");
    }
    let mut terminal =
        bundle.prepare(["exec", "--tty", "c", "sh", "-c", "stty size; exit 6"]).terminal();
    terminal.expect("24 80");
    terminal.exits(6);
    let path = barge.path_text("console");
    let listener = UnixListener::bind(&path).unwrap();
    let line = ["exec", "-t", "-d", "--console-socket", &path, "c", "sh", "-c", "read x; exit 0"];
    let running = bundle.prepare_leaving(line).spawn();
    let (master, _) = receive_terminal(&listener);
    running.wait().ok();
    rustix::io::write(&master, b"\n").unwrap();
    bundle.run(["delete", "--force", "c"]).ok();
}

#[test]
fn a_container_stands_still_and_goes_on() {
    if !needs(&[Need::Root]) {
        return;
    }
    let barge = Barge::new();
    let bundle = Bundle::new(&barge);
    bundle.script("echo up; exec sleep 1000");
    bundle.leave(["run", "-d", "c"]).ok();
    bundle.run(["resume", "c"]).fails(1).error_has("container not paused");
    bundle.run(["pause", "c"]).ok();
    assert_eq!(bundle.state("c")["status"], "paused");
    bundle.run(["pause", "c"]).fails(1).error_has("container not running or created: paused");
    bundle.run(["exec", "c", "true"]).fails(255).error_has("cannot exec in a paused container");
    bundle.run(["resume", "c"]).ok();
    assert_eq!(bundle.state("c")["status"], "running");
    bundle.run(["pause", "c"]).ok();
    bundle.run(["kill", "c", "KILL"]).ok();
    bundle.await_status("c", "stopped");
    bundle.run(["pause", "c"]).fails(1);
    bundle.run(["exec", "c", "true"]).fails(255).error_has("cannot exec in a stopped container");
    bundle.run(["delete", "c"]).ok();
}

#[test]
fn limits_are_changed_and_use_is_told() {
    if !needs(&[Need::Root, Need::MemoryLimit, Need::PidsLimit]) {
        return;
    }
    let barge = Barge::new();
    let bundle = Bundle::new(&barge);
    bundle.script("echo up; exec sleep 1000");
    bundle.leave(["run", "-d", "c"]).ok();
    let told = || bundle.run(["events", "--stats", "c"]).ok().json();
    bundle.run(["update", "--memory", "64m", "--pids-limit", "44", "c"]).ok();
    let event = told();
    assert_eq!((&event["type"], &event["id"]), (&json!("stats"), &json!("c")));
    assert_eq!(event["data"]["memory"]["usage"]["limit"], 64 << 20);
    assert_eq!(event["data"]["pids"], json!({"current": 1, "limit": 44}));
    assert!(event["data"]["memory"]["usage"]["usage"].as_u64().unwrap() > 0, "{event}");
    let file = barge.file("limits", json!({"memory": {"limit": 32 << 20}}).to_string());
    bundle.run(["update", "--resources", &file, "--pids-limit", "-1", "c"]).ok();
    assert_eq!(told()["data"]["memory"]["usage"]["limit"], 32 << 20);
    let input = json!({"pids": {"limit": 22}}).to_string();
    bundle.prepare(["update", "-r", "-", "c"]).input(input).run().ok();
    assert_eq!(told()["data"]["pids"]["limit"], 22);
    bundle.run(["update", "--memory", "x", "c"]).fails(1);
    bundle.run(["update", "--l3-cache-schema", "x", "c"]).fails(1).error_has("Intel RDT");
    let swap = |event: &serde_json::Value| event["data"]["memory"]["swap"]["limit"].as_u64();
    bundle.run(["update", "--memory-swap", "48m", "c"]).ok();
    assert_eq!(swap(&told()), Some(48 << 20));
    bundle.run(["update", "--cpu-period", "10000", "--cpu-quota", "1000", "c"]).ok();
    wait_until("the quota is used up once", || {
        bundle
            .run(["exec", "c", "sh", "-c", "i=0; while [ $i -lt 3000 ]; do i=$((i+1)); done"])
            .ok();
        let throttling = told()["data"]["cpu"]["throttling"].clone();
        throttling["throttledPeriods"].as_u64() > Some(0)
            && throttling["throttledTime"].as_u64() > Some(0)
    });
    bundle.run(["events", "--interval", "0s", "c"]).fails(1);
    let mut running = bundle.prepare(["events", "--interval", "1h", "c"]).spawn();
    running.expect("\"stats\"");
    // Long before the next look.
    bundle.run(["exec", "c", "tail", "/dev/zero"]).exits(137);
    running.expect("{\"type\":\"oom\",\"id\":\"c\"}\n");
    bundle.run(["kill", "c", "KILL"]).ok();
    running.wait().ok();
    bundle.run(["events", "--stats", "c"]).fails(1).error_has("is not running");
    bundle.run(["update", "--memory", "64m", "c"]).fails(1).error_has("container not running");
    bundle.run(["delete", "c"]).ok();
}

#[test]
fn a_further_process_can_be_in_a_group_below() {
    if !needs(&[Need::Root]) {
        return;
    }
    let barge = Barge::new();
    let bundle = Bundle::new(&barge);
    bundle.script("echo up; exec sleep 1000");
    bundle.leave(["run", "-d", "c"]).ok();
    bundle.await_output("up\n");
    bundle
        .run(["exec", "--cgroup", "below", "c", "true"])
        .fails(255)
        .error_has("cannot open control group");
    for group in bundle.group_paths() {
        fs::create_dir(group.join("below")).unwrap();
    }
    let script = "cat /proc/self/cgroup";
    let own = bundle.run(["exec", "c", "sh", "-c", script]).ok().text();
    let below = bundle.run(["exec", "--cgroup", "/below", "c", "sh", "-c", script]).ok().text();
    assert!(!own.contains("below"), "{own}");
    assert_eq!(below.matches("/below").count(), bundle.group_paths().len(), "{below}");
    let why = "it leads out of the container's";
    bundle.run(["exec", "--cgroup", "../x", "c", "true"]).fails(255).error_has(why);
    let why = "no control group for `nope:below`";
    bundle.run(["exec", "--cgroup", "nope:below", "c", "true"]).fails(255).error_has(why);
    if Path::new("/sys/fs/cgroup/pids").exists() {
        let line = ["exec", "--cgroup", "pids:below", "c", "sh", "-c", script];
        let text = bundle.run(line).ok().text();
        assert_eq!(text.matches("/below").count(), 1, "{text}");
        assert!(text.lines().any(|line| line.contains(":pids:") && line.ends_with("/below")));
        // The machine has version 1 beside version 2.
        let why = "control groups of systemd are supported with version 2 alone";
        bundle.leave(["--systemd-cgroup", "create", "d"]).fails(1).error_has(why);
    }
    bundle.run(["delete", "--force", "c"]).ok();
    assert_eq!(bundle.groups(), 0);
}
