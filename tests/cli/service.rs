//! `barge system service` by HTTP: what it answers, what it leaves behind, what it costs.

use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::support::service::Served;
use super::support::{Barge, Need, needs, wait_until};

#[test]
fn a_group_may_be_let_in() {
    let barge = Barge::new();
    let is_root = rustix::process::getuid().is_root();
    let own = rustix::process::getgid().as_raw();
    let (group, number) = if is_root { ("daemon".to_owned(), 1) } else { (own.to_string(), own) };
    let served = Served::start_with(&barge, &["--group", &group]);
    let found = std::fs::metadata(served.socket()).unwrap();
    assert_eq!((found.gid(), found.mode() & 0o777), (number, 0o660));
    let line =
        |group: &str| barge.run(["system", "service", "--group", group, "unix://other.sock"]);
    line("nosuch").fails(125).error_has("no group `nosuch`");
    if !is_root {
        line("daemon").fails(125).error_has("cannot be given to group `daemon`").hint_has("own");
    }
}

#[test]
fn service_answers_pings_and_versions() {
    let barge = Barge::new();
    let served = Served::start(&barge);
    let mode = std::fs::metadata(served.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    assert_eq!(served.ask("GET", "/_ping", ""), (200, "OK".to_owned()));
    let (status, head) = served.ask("HEAD", "/_ping", "");
    assert_eq!(status, 200);
    for field in
        ["api-version: 1.", "ostype: linux", "docker-experimental: false", "cache-control:"]
    {
        assert!(head.to_ascii_lowercase().contains(field), "no {field} in {head}");
    }
    let version = served.json("GET", "/v1.24/version", "");
    assert_eq!(version["Os"], "linux");
    assert_eq!(version["MinAPIVersion"], "1.24");
    for (method, path, status, text) in [
        ("GET", "/v1.99/info", 400, "client version 1.99 is too new"),
        ("GET", "/v1.12/info", 400, "client version 1.12 is too old"),
        ("GET", "/nothing", 404, "page not found"),
        ("GET", "/swarm", 503, "This node is not a swarm manager"),
        ("GET", "/containers/nothing/json", 404, "No such container: nothing"),
        ("POST", "/containers/nothing/start", 404, "No such container: nothing"),
        ("INIT", "/containers/nothing/init", 404, "page not found"),
        ("GET", "/exec/nothing/json", 404, "No such exec instance: nothing"),
        ("GET", "/containers/json?filters=nonsense", 400, "invalid filters"),
        ("GET", "/events?filters={\"odd\":[\"x\"]}", 400, "invalid filter"),
    ] {
        let (got, body) = served.ask(method, path, "");
        assert_eq!(got, status, "{method} {path}: {body}");
        let message: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert!(message["message"].as_str().unwrap().contains(text), "{method} {path}: {body}");
    }
    let (status, body) = served.ask("POST", "/containers/create", "{\"Image\": \"nothing\"}");
    assert_eq!((status, body.trim()), (404, r#"{"message":"No such image: nothing:latest"}"#));
    let (status, body) = served.ask("POST", "/containers/create", "[");
    assert_eq!(status, 400, "{body}");
}

#[test]
fn service_ends_when_nothing_goes_on() {
    let barge = Barge::new();
    let socket = barge.path_text("api.sock");
    let address = format!("unix://{socket}");
    let mut service = barge.command(["system", "service", "--time", "1", &address]).spawn();
    service.expect_error("listening");
    let mut idle = UnixStream::connect(&socket).unwrap();
    write!(idle, "GET /_ping HTTP/1.1\r\nHost: d\r\n\r\n").unwrap();
    // A connection without a request does not keep it.
    service.wait().ok();
    assert!(!std::path::Path::new(&socket).exists());
    let refused = barge.command(["system", "service", "tcp://127.0.0.1:0"]).run().fails(125);
    refused.error_has("every user of this machine could connect");
    barge
        .command(["system", "service", "--plain-loopback", "tcp://192.0.2.1:2375"])
        .run()
        .fails(125)
        .error_has("whoever connects there");
}

#[test]
fn service_takes_over_what_systemd_has_opened() {
    let barge = Barge::new();
    let socket = barge.path_text("systemd.sock");
    let program = barge.program().to_string_lossy().into_owned();
    let (root, runroot) = (barge.root(), barge.runroot());
    let script = format!(
        "import os, socket, subprocess\n\
         s = socket.socket(socket.AF_UNIX); s.bind('{socket}'); s.listen()\n\
         os.dup2(s.fileno(), 3); os.set_inheritable(3, True)\n\
         os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()))\n\
         os.execv('{program}', ['barge', '--root', '{}', '--runroot', '{}', 'system', 'service', '--time', '0'])\n",
        root.display(),
        runroot.display()
    );
    let mut service = barge.other_command("python3", ["-c", &script]).spawn();
    service.expect_error("listening at fd://3");
    let answer =
        barge.other_command("curl", ["-sS", "--unix-socket", &socket, "http://d/_ping"]).run().ok();
    assert_eq!(answer.text(), "OK");
    service.signal(Signal::TERM);
    service.wait().ok();
}

#[test]
fn service_lists_containers_as_docker_does() {
    let barge = Barge::with_busybox();
    let served = Served::start(&barge);
    let made = served.json(
        "POST",
        "/v1.45/containers/create?name=web",
        r#"{"Image": "busybox", "Cmd": ["sleep", "100"], "Labels": {"tier": "front"},
            "HostConfig": {"NetworkMode": "none", "Memory": 33554432}}"#,
    );
    let id = made["Id"].as_str().unwrap().to_owned();
    assert_eq!(served.ask("POST", "/containers/web/start", "").0, 204);
    assert_eq!(served.ask("POST", "/containers/web/start", "").0, 304);
    let list = served.json("GET", r#"/containers/json?filters={"label":{"tier=front":true}}"#, "");
    let found = &list[0];
    assert_eq!(found["Id"], id);
    assert_eq!(found["Names"], serde_json::json!(["/web"]));
    assert_eq!(found["Image"], "busybox");
    assert!(found["ImageID"].as_str().unwrap().starts_with("sha256:"));
    assert_eq!(found["Command"], "sleep 100");
    assert_eq!(found["State"], "running");
    assert!(found["Status"].as_str().unwrap().starts_with("Up "), "{found}");
    assert_eq!(found["HostConfig"]["NetworkMode"], "none");
    let whole = served.json("GET", "/containers/web/json", "");
    assert_eq!(whole["Name"], "/web");
    assert_eq!(whole["Config"]["Image"], "busybox");
    assert_eq!(whole["Image"], found["ImageID"]);
    assert_eq!(whole["HostConfig"]["Memory"], 33_554_432);
    assert_eq!(whole["State"]["Running"], true);
    assert!(whole["State"].get("Health").is_none());
    // Pausing takes a control group.
    if needs(&[Need::Root]) {
        assert_eq!(served.ask("POST", "/containers/web/pause", "").0, 204);
        let list = served.json("GET", "/containers/json", "");
        assert!(list[0]["Status"].as_str().unwrap().ends_with("(Paused)"), "{list}");
        assert_eq!(list[0]["State"], "paused");
        assert_eq!(served.ask("POST", "/containers/web/exec", r#"{"Cmd": ["true"]}"#).0, 409);
        assert_eq!(served.ask("POST", "/containers/web/unpause", "").0, 204);
    }
    let (status, body) = served.ask("DELETE", "/containers/web", "");
    assert_eq!(status, 409, "{body}");
    assert_eq!(served.ask("POST", "/containers/web/stop?t=0", "").0, 204);
    assert_eq!(served.ask("POST", "/containers/web/stop", "").0, 304);
    assert_eq!(served.json("GET", "/containers/json", ""), serde_json::json!([]));
    assert_eq!(served.json("GET", "/containers/json?all=1", "")[0]["State"], "exited");
    assert_eq!(served.ask("DELETE", "/containers/web?v=1", "").0, 204);
}

#[test]
fn service_refuses_binds_of_what_is_not_there() {
    let barge = Barge::with_busybox();
    let served = Served::start(&barge);
    for host in [
        r#"{"Mounts": [{"Type": "bind", "Source": "/nonexistent/x", "Target": "/x"}]}"#,
        r#"{"Binds": ["x/y:/x"]}"#,
        r#"{"NetworkMode": "container:nothing"}"#,
    ] {
        let body = format!(r#"{{"Image": "busybox", "HostConfig": {host}}}"#);
        let (status, text) = served.ask("POST", "/containers/create", &body);
        // 404 would have the client pull the image.
        assert_eq!(status, 400, "{text}");
    }
    assert!(barge.containers().is_empty());
}

#[test]
fn service_sends_heads_before_bodies() {
    let barge = Barge::with_busybox();
    let served = Served::start(&barge);
    let id = barge.start(["busybox", "sleep", "100"]);
    for path in [
        format!("/containers/{id}/wait"),
        format!("/containers/{id}/logs?follow=1&stdout=1"),
        "/events".to_owned(),
    ] {
        let method = if path.ends_with("wait") { "POST" } else { "GET" };
        let mut stream = UnixStream::connect(served.socket()).unwrap();
        stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
        write!(stream, "{method} {path} HTTP/1.1\r\nHost: d\r\n\r\n").unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).unwrap();
        assert_eq!(&head, b"HTTP/1.1 200", "{path}");
    }
}

#[test]
fn service_keeps_nothing_of_clients_that_vanish() {
    let barge = Barge::with_busybox();
    let served = Served::start(&barge);
    let id = barge.start(["-i", "busybox", "sh", "-c", "cat; exec sleep 1000"]);
    assert_eq!(served.ask("GET", "/_ping", "").0, 200);
    // The threads that have looked at things go after a moment.
    let before = (served.resources().0, usize::MAX);
    let processes = barge.processes().len();
    for _ in 0..3 {
        for (method, path, upgrade) in [
            ("GET", "/events".to_owned(), ""),
            ("GET", format!("/containers/{id}/logs?follow=1&stdout=1"), ""),
            ("GET", format!("/containers/{id}/stats"), ""),
            ("POST", format!("/containers/{id}/wait"), ""),
            (
                "POST",
                format!("/containers/{id}/attach?stream=1&stdout=1&stdin=1"),
                "Connection: Upgrade\r\nUpgrade: tcp\r\n",
            ),
        ] {
            let mut stream = UnixStream::connect(served.socket()).unwrap();
            stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
            write!(stream, "{method} {path} HTTP/1.1\r\nHost: d\r\n{upgrade}\r\n").unwrap();
            let mut head = [0; 9];
            stream.read_exact(&mut head).unwrap();
            drop(stream);
        }
    }
    served.await_resources(before);
    wait_until("no process is left of clients", || barge.processes().len() <= processes);
    assert_eq!(barge.status(&id), "running");
}

/// Asks on a connection that stays, and reads the answer.
fn ping(stream: &mut UnixStream) {
    write!(stream, "GET /_ping HTTP/1.1\r\nHost: d\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\nOK") {
        let mut buffer = [0; 1024];
        let length = stream.read(&mut buffer).unwrap();
        assert!(length > 0, "{}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&buffer[..length]);
    }
}

/// Asks for two hundred things at once.
fn ask_for_many(socket: &str) {
    std::thread::scope(|scope| {
        for number in 0..200 {
            scope.spawn(move || {
                let path = match number % 3 {
                    0 => "/_ping",
                    1 => "/containers/json",
                    _ => "/containers/one/json",
                };
                let mut stream = UnixStream::connect(socket).unwrap();
                stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
                write!(stream, "GET {path} HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n")
                    .unwrap();
                let mut text = String::new();
                stream.read_to_string(&mut text).unwrap();
                assert!(text.starts_with("HTTP/1.1 200"), "{path}: {text}");
            });
        }
    });
}

#[test]
fn service_answers_many_at_once() {
    let barge = Barge::with_busybox();
    let served = Served::start(&barge);
    barge.start(["--name", "one", "busybox", "sleep", "100"]);
    assert_eq!(served.ask("GET", "/_ping", "").0, 200);
    let before = (served.resources().0, usize::MAX);
    // Connections that have nothing more to say hold nobody up.
    let mut idle: Vec<UnixStream> =
        (0..500).map(|_| UnixStream::connect(served.socket()).unwrap()).collect();
    idle.iter_mut().for_each(ping);
    // Each thread takes some, so they are waited for.
    let settled = || {
        ask_for_many(served.socket());
        wait_until("the threads have gone", || served.resources().1 < 4);
        served.memory()
    };
    let first = settled();
    let more = [(); 3].map(|()| settled());
    let grown = more[2].saturating_sub(first);
    assert!(grown < 16 << 20, "from {first} bytes it has grown by {grown}");
    // They are still good.
    idle.iter_mut().for_each(ping);
    drop(idle);
    served.await_resources(before);
    let begun = Instant::now();
    assert_eq!(served.ask("GET", "/_ping", "").0, 200);
    assert!(begun.elapsed() < Duration::from_mins(1));
}

/// Asks for something, and reads no more of the answer than that there is one.
fn ask_and_read_nothing(served: &Served<'_>, request: &str) -> UnixStream {
    let mut stream = UnixStream::connect(served.socket()).unwrap();
    stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut head = [0; 12];
    stream.read_exact(&mut head).unwrap();
    let head = String::from_utf8_lossy(&head);
    assert!(head == "HTTP/1.1 200" || head == "HTTP/1.1 101", "{request}: {head}");
    stream
}

#[test]
fn service_is_not_held_up_by_clients_that_do_not_read() {
    let barge = Barge::with_busybox();
    let served = Served::start(&barge);
    std::fs::create_dir(barge.path("out")).unwrap();
    // More than fits between a container and a client: 16 MiB.
    let script = "line=$(head -c 1023 /dev/zero | tr '\\0' x); head -c 8000000 /dev/urandom > /big; \
                  for i in $(seq 16384); do echo $line; done; echo > /d/done; exec sleep 1000";
    let body = serde_json::json!({
        "Image": "busybox", "Cmd": ["sh", "-c", script],
        "HostConfig": { "NetworkMode": "none", "Binds": [format!("{}:/d", barge.path_text("out"))] },
    });
    let made = served.json("POST", "/containers/create?name=box", &body.to_string());
    let id = made["Id"].as_str().unwrap().to_owned();
    assert_eq!(served.ask("GET", "/_ping", "").0, 200);
    let before = (served.resources().0, usize::MAX);
    let memory = served.memory();
    let upgrade = "Connection: Upgrade\r\nUpgrade: tcp\r\n";
    let attach = format!("/containers/{id}/attach?stream=1&stdout=1&stderr=1");
    let mut clients = vec![ask_and_read_nothing(
        &served,
        &format!("POST {attach} HTTP/1.1\r\nHost: d\r\n{upgrade}\r\n"),
    )];
    assert_eq!(served.ask("POST", "/containers/box/start", "").0, 204);
    clients.push(ask_and_read_nothing(
        &served,
        &format!("POST {attach}&logs=1 HTTP/1.1\r\nHost: d\r\n\r\n"),
    ));
    // Events of things that nobody has made, so many that they fill what is between.
    let mut events =
        std::fs::OpenOptions::new().append(true).open(barge.root().join("events")).unwrap();
    for number in 0..3000 {
        writeln!(events, r#"{{"time":1,"type":"volume","action":"create","name":"v{number}"}}"#)
            .unwrap();
    }
    let logs = format!("/containers/{id}/logs?stdout=1&follow=1");
    for path in [&logs, "/containers/box/stats", "/events?since=0", "/events"] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: d\r\n\r\n");
        clients.push(ask_and_read_nothing(&served, &request));
    }
    wait_until("the container has written all", || barge.path("out/done").exists());
    let request = "GET /containers/box/export HTTP/1.1\r\nHost: d\r\n\r\n";
    clients.push(ask_and_read_nothing(&served, request));
    // Whoever reads is served.
    let (status, text) = served.ask("GET", &format!("/containers/{id}/logs?stdout=1"), "");
    assert_eq!((status, text.len()), (200, 16384 * 1032));
    assert_eq!(served.ask("GET", "/containers/json", "").0, 200);
    let grown = served.memory().saturating_sub(memory);
    assert!(grown < 8 << 20, "the service has grown by {grown} bytes");
    for monitor in barge.processes() {
        let bytes = super::support::service::memory_of(monitor);
        assert!(bytes < 48 << 20, "process {monitor} has {bytes} bytes");
    }
    drop(clients);
    served.await_resources(before);
    let is_request = |pid: &u32| {
        std::fs::read(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|line| line.starts_with(b"barge: request\0"))
    };
    wait_until("no process answers nobody", || !barge.processes().iter().any(is_request));
    assert_eq!(barge.status("box"), "running");
}

#[test]
fn service_survives_what_is_no_request() {
    let barge = Barge::new();
    let served = Served::start(&barge);
    let long = format!("GET /{} HTTP/1.1\r\nHost: d\r\n\r\n", "x".repeat(1 << 20));
    let large = format!(
        "POST /containers/create HTTP/1.1\r\nHost: d\r\nContent-Length: {}\r\n\r\n",
        1_u64 << 40
    );
    for text in [
        "\r\n\r\n\r\n",
        "nonsense\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "GET /%ff%00/../../etc HTTP/1.1\r\nHost: d\r\n\r\n",
        "POST /containers/create HTTP/1.1\r\nHost: d\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /info HTTP/1.1\r\n\r\n",
        "POST /containers/create HTTP/1.1\r\nHost: d\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n12345",
        "GET /_ping HTTP/1.1\r\nHost: d\r\nX: a\0b\r\n\r\n",
        "POST /exec/x/start HTTP/1.1\r\nHost: d\r\nUpgrade: tcp\r\nConnection: Upgrade\r\n\r\n",
        &long,
        &large,
    ] {
        let mut stream = UnixStream::connect(served.socket()).unwrap();
        stream.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
        // It may hang up at any time.
        drop(stream.write_all(text.as_bytes()));
        drop(stream.shutdown(std::net::Shutdown::Write));
        let mut answer = Vec::new();
        drop(stream.read_to_end(&mut answer));
        let answer = String::from_utf8_lossy(&answer);
        assert!(!answer.contains(" 200 "), "{answer}");
        assert_eq!(served.ask("GET", "/_ping", "").0, 200);
    }
}

/// Returns the process that answers a request of this store, once there is one.
fn answering(barge: &Barge) -> rustix::process::Pid {
    let mut found = None;
    wait_until("a process answers", || {
        let is_it = |pid: &u32| {
            std::fs::read(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|line| line.starts_with(b"barge: request\0"))
        };
        found = barge.processes().into_iter().find(is_it);
        found.is_some()
    });
    let pid = found.and_then(|pid| i32::try_from(pid).ok());
    pid.and_then(rustix::process::Pid::from_raw).unwrap()
}

#[test]
fn an_answer_that_is_cut_off_does_not_look_whole() {
    let barge = Barge::with_busybox();
    // More than fits into everything between the process and a client that does not read.
    let script = "head -c 40000000 /dev/urandom > /big";
    barge.run(["run", "--network=none", "--name", "box", "busybox", "sh", "-c", script]).ok();
    barge.run(["commit", "box", "big"]).ok();
    barge.kills();
    let served = Served::start(&barge);
    let script = |program: &str| {
        format!(
            "rm -f go rest; ({program}; echo $? > status) |
             {{ head -c 1000 > first; while [ ! -e go ]; do sleep 0.05; done; cat > rest; }}"
        )
    };
    let cut_off = |client: super::support::process::Invocation| {
        let client = client.spawn();
        let first = barge.path("t/first");
        wait_until("the client hears something", || {
            std::fs::metadata(&first).is_ok_and(|file| file.len() > 0)
        });
        rustix::process::kill_process(answering(&barge), Signal::KILL).unwrap();
        std::fs::write(barge.path("t/go"), "").unwrap();
        client.wait().exits(0);
        std::fs::remove_file(first).unwrap();
        std::fs::read_to_string(barge.path("t/status")).unwrap()
    };
    for path in ["containers/box/export", "containers/box/archive?path=/big", "images/big/get"] {
        let program = format!("curl -sSN --unix-socket {} http://d/{path}", served.socket());
        let status = cut_off(barge.other_command("sh", ["-c", &script(&program)]));
        assert_eq!(status.trim(), "18", "{path}: curl calls a transfer that is not whole 18");
    }
    if needs(&[Need::Tool("docker")]) {
        for words in ["export box", "save big"] {
            let program = format!("docker -H unix://{} {words}", served.socket());
            let status = cut_off(barge.other_command("sh", ["-c", &script(&program)]));
            assert_ne!(status.trim(), "0", "docker {words}");
        }
    }
    // What nobody cuts off is whole.
    let line = ["-sS", "--fail", "--unix-socket", served.socket(), "http://d/images/big/get"];
    let whole = barge.other_command("curl", line).run().ok();
    barge.other_command("tar", ["-tf", "-"]).input(whole.stdout).run().ok();
}
