//! Ways to other hosts: sockets, TCP with and without TLS, ssh; and what says which one is meant.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::process::Signal;

use super::super::support::process::{Running, tool};
use super::super::support::{Barge, Need, needs};
use super::There;

#[test]
fn remote_versions_are_of_both_sides() {
    let barge = Barge::new();
    let there = There::new(&barge);
    let shown = there.run(["version"]).ok().stdout_has("Client:       barge");
    shown.stdout_has("\nServer:       barge\n");
    there.run(["version", "--format", "{{.Server.Version}} {{.Server.OsArch}}"]).ok().stdout(
        &format!(
            "{} linux/{}\n",
            env!("CARGO_PKG_VERSION"),
            match std::env::consts::ARCH {
                "x86_64" => "amd64",
                "aarch64" => "arm64",
                other => other,
            }
        ),
    );
    there.run(["info", "--format", "{{.Containers}} {{.OSType}}"]).ok().stdout("0 linux\n");
    there.run(["ps", "--ns"]).fails(125).error_has("--ns is not there on other hosts");
}

#[test]
fn remote_hosts_are_named_by_flags_and_variables() {
    let barge = Barge::new();
    let there = There::new(&barge);
    let url = format!("unix://{}", there.served.socket());
    barge.run(["system", "connection", "add", "near", &url]).ok();
    let server = ["version", "--format", "{{.Server.ApiVersion}}"];
    // Without a host it is what scripts expect of one that is not there.
    barge.run(server).ok().stdout("1.41\n");
    let newest = there.run(server).ok().text();
    assert_ne!(newest, "1.41");
    for flags in
        [&["--url", &url][..], &["-H", &url], &["-c", "near"], &["--connection", "near"], &["-r"]]
    {
        barge.run([flags, &server].concat()).ok().stdout(&format!("{newest}\n"));
    }
    for (name, value) in [
        ("DOCKER_HOST", &url[..]),
        ("CONTAINER_HOST", &url),
        ("CONTAINER_CONNECTION", "near"),
        ("DOCKER_CONTEXT", "near"),
    ] {
        barge.command(server).env(name, value).run().ok().stdout(&format!("{newest}\n"));
        // What is empty is not set, and flags go over it.
        barge.command(server).env(name, "").run().ok().stdout("1.41\n");
        let line = [&["--context", "default"], &server[..]].concat();
        barge.command(line).env(name, value).run().ok().stdout("1.41\n");
    }
    barge.command(server).env("DOCKER_HOST", "nonsense").run().fails(125).error_has("DOCKER_HOST");
    barge
        .command(server)
        .env("DOCKER_CONTEXT", "far")
        .run()
        .fails(125)
        .error("no connection `far`");
    let both = barge.run(["--context", "near", "--host", &url, "ps"]).fails(125);
    both.error("--host and --context cannot be set together");
    let gone = barge.run(["--host", "unix:///nonexistent/s", "ps"]).fails(125);
    gone.error_has("cannot connect to unix:///nonexistent/s").hint_has("is a service running");
    // Those commands are about this machine.
    let here = barge.command(["context", "show"]).env("DOCKER_HOST", "unix:///nonexistent/s").run();
    here.ok().stdout("near\n");
}

/// Starts a service at a port that the kernel chooses; returns the port.
fn listen(barge: &Barge, flags: &[&str]) -> (Running, String) {
    let line = [&["system", "service", "--time", "0"], flags, &["tcp://127.0.0.1:0"]].concat();
    let mut service = barge.command(line).spawn();
    service.expect_error("listening at tcp://127.0.0.1:");
    let output = service.complaints();
    let port = output.rsplit("127.0.0.1:").next().unwrap().trim().to_owned();
    (service, port)
}

#[test]
fn remote_hosts_are_reached_by_tcp() {
    let barge = Barge::new();
    let (mut service, port) = listen(&barge, &["--plain-loopback"]);
    let url = format!("tcp://127.0.0.1:{port}");
    barge.run(["--host", &url, "ps", "-q"]).ok().stdout("");
    barge.run(["--host", &format!("http://localhost:{port}"), "ps", "-q"]).ok().stdout("");
    let refused = barge.run(["--host", &url, "--tlsverify", "ps"]).fails(125);
    refused.error_has(&format!("cannot connect to {url}"));
    service.signal(Signal::TERM);
    service.wait().ok();
    let gone = barge.run(["--host", &url, "ps"]).fails(125);
    gone.error_has("connection refused");
}

/// Makes an authority, and certificates for the service and for a client.
fn certificates(dir: &Path) {
    let dir = dir.display();
    let script = format!(
        "set -e; cd {dir}; umask 077\n\
         openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=authority \
             -keyout ca-key.pem -out ca.pem\n\
         sign() {{\n\
           openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=$1 \
               -keyout $2-key.pem -out $2.csr\n\
           printf \"$3\" > $2.ext\n\
           openssl x509 -req -in $2.csr -CA ca.pem -CAkey ca-key.pem -CAcreateserial -days 2 \
               -extfile $2.ext -out $2-cert.pem\n\
         }}\n\
         sign service server 'subjectAltName=IP:127.0.0.1\\nextendedKeyUsage=serverAuth\\n'\n\
         sign client client 'extendedKeyUsage=clientAuth\\n'\n\
         cp client-cert.pem cert.pem; cp client-key.pem key.pem\n"
    );
    tool("sh", ["-c", &script]);
}

#[test]
fn remote_hosts_are_reached_by_tls() {
    if !needs(&[Need::Tool("openssl")]) {
        return;
    }
    let barge = Barge::new();
    let dir = barge.path("tls");
    std::fs::create_dir(&dir).unwrap();
    certificates(&dir);
    let file = |name: &str| dir.join(name).display().to_string();
    let (ca, cert, key) = (file("ca.pem"), file("server-cert.pem"), file("server-key.pem"));
    let flags = ["--tls-cert", &cert, "--tls-key", &key, "--tls-client-ca", &ca];
    let (mut service, port) = listen(&barge, &flags);
    let url = format!("tcp://127.0.0.1:{port}");
    let (cert, key) = (file("cert.pem"), file("key.pem"));
    let who = ["--host", &url, "--tlscacert", &ca, "--tlscert", &cert, "--tlskey", &key];
    barge.run([&who[..], &["ps", "-q"]].concat()).ok().stdout("");
    // Who we are is needed, and who they are.
    barge.run(["--host", &url, "--tlscacert", &ca, "ps"]).fails(125);
    let stranger =
        barge.run(["--host", &url, "--tlsverify", "--tlscert", &cert, "--tlskey", &key, "ps"]);
    stranger.fails(125).error_has("UnknownIssuer").hint_has("--tlscacert");
    barge
        .run(["--host", &url, "--tls", "--tlscert", &cert, "--tlskey", &key, "ps", "-q"])
        .ok()
        .stdout("");
    barge.run(["--host", &url, "--tlscert", &cert, "ps"]).fails(125).error_has("go together");
    // As Docker's client finds them.
    let by_docker = barge.command(["ps", "-q"]).env("DOCKER_HOST", &url);
    by_docker.env("DOCKER_TLS_VERIFY", "1").env("DOCKER_CERT_PATH", &dir).run().ok().stdout("");
    let add = ["system", "connection", "add", "safe", &url, "--tls-ca", &ca];
    barge.run([&add[..], &["--tls-cert", &cert, "--tls-key", &key]].concat()).ok();
    barge.run(["--connection", "safe", "ps", "-q"]).ok().stdout("");
    service.signal(Signal::TERM);
    service.wait().ok();
}

/// Makes an `ssh` that writes down how it was called, and runs the command here.
fn ssh(barge: &Barge) -> String {
    let bin = barge.path("bin");
    std::fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink(barge.program(), bin.join("barge")).unwrap();
    let script = format!(
        "#!/bin/sh\necho \"$*\" >> {}\n\
         while [ \"$1\" != -- ]; do shift; done\nshift 2\n\
         export BARGE_ROOT={} BARGE_RUNROOT={}\nexec sh -c \"$*\"\n",
        barge.path_text("called"),
        barge.root().display(),
        barge.runroot().display(),
    );
    let path = bin.join("ssh");
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    format!("{}:{}", bin.display(), std::env::var("PATH").unwrap())
}

#[test]
fn remote_hosts_are_reached_by_ssh() {
    let barge = Barge::new();
    let path = ssh(&barge);
    let run = |line: &[&str]| barge.bare_command(line).env("PATH", &path).run();
    // No service runs there: one comes and goes with the conversation.
    barge.run(["ps", "-q"]).ok();
    let before = barge.files();
    run(&["--host", "ssh://me@host:2222", "version", "--format", "{{.Server.Os}}"])
        .ok()
        .stdout("linux\n");
    barge.has_files(&before, "a conversation leaves nothing");
    let called = std::fs::read_to_string(barge.path("called")).unwrap();
    assert_eq!(called, "-o ConnectTimeout=30 -T -p 2222 -- me@host barge system dial-stdio\n");
    let there = There::new(&barge);
    let url = format!("ssh://host{}", there.served.socket());
    let add = ["system", "connection", "add", "far", &url, "--identity", "/my key"];
    run(&add).ok();
    run(&["--connection", "far", "ps", "-q"]).ok().stdout("");
    let called = std::fs::read_to_string(barge.path("called")).unwrap();
    let last = called.lines().last().unwrap();
    let words = format!(
        "-i /my key -- host barge --url 'unix://{}' system dial-stdio",
        there.served.socket()
    );
    assert!(last.ends_with(&words), "{last}");
    // One that is not reached.
    barge.file("bin/ssh", "#!/bin/sh\nexit 255\n");
    let failed = run(&["--host", "ssh://host", "ps"]).fails(125);
    failed.error_has("no answer from ssh://host: `ssh` has ended with exit status: 255");
}

/// Starts OpenSSH's server with keys of its own, and makes an `ssh` that knows it as `server`; returns the
/// server and the path on which that `ssh` comes first.
fn ssh_server(barge: &Barge) -> (Running, String) {
    let dir = barge.path("ssh");
    std::fs::create_dir_all(dir.join("bin")).unwrap();
    let file = |name: &str| dir.join(name).display().to_string();
    for key in ["host", "client"] {
        tool("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", &file(key)]);
    }
    std::fs::copy(file("client.pub"), file("authorized")).unwrap();
    let port = super::super::support::registry::free_port(barge.place());
    let path = format!("{}:/usr/bin:/bin:/usr/sbin:/sbin", file("bin"));
    std::os::unix::fs::symlink(barge.program(), file("bin/barge")).unwrap();
    let server = format!(
        "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nPidFile none\nStrictModes no\n\
         AuthorizedKeysFile {}\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\n\
         SetEnv PATH={path} BARGE_ROOT={} BARGE_RUNROOT={}\n",
        file("host"),
        file("authorized"),
        barge.root().display(),
        barge.runroot().display(),
    );
    let client = format!(
        "Host server\n  HostName 127.0.0.1\n  Port {port}\nHost *\n  UserKnownHostsFile {}\n  \
         GlobalKnownHostsFile none\n  LogLevel ERROR\n  StrictHostKeyChecking accept-new\n  IdentityFile {}\n  \
         IdentitiesOnly yes\n  IdentityAgent none\n",
        file("known"),
        file("client"),
    );
    std::fs::write(file("sshd_config"), server).unwrap();
    std::fs::write(file("ssh_config"), client).unwrap();
    let wrapper = format!("#!/bin/sh\nexec /usr/bin/ssh -F {} \"$@\"\n", file("ssh_config"));
    std::fs::write(file("bin/ssh"), wrapper).unwrap();
    std::fs::set_permissions(file("bin/ssh"), std::fs::Permissions::from_mode(0o755)).unwrap();
    // The server of Debian wants it, and its package makes it when the service starts.
    std::fs::create_dir_all("/run/sshd").unwrap();
    let line = ["-D", "-e", "-f", &file("sshd_config")];
    let mut running = barge.other_command("/usr/sbin/sshd", line).spawn();
    running.expect_error("Server listening on 127.0.0.1");
    (running, path)
}

#[test]
fn remote_hosts_are_reached_by_a_real_ssh_server() {
    if !needs(&[Need::Root, Need::Tool("/usr/sbin/sshd")]) {
        return;
    }
    let barge = Barge::with_busybox();
    let (mut server, path) = ssh_server(&barge);
    let run = |line: &[&str]| barge.bare_command(line).env("PATH", &path).run();
    run(&["--host", "ssh://root@server", "ps", "-q"]).ok().stdout("");
    run(&["system", "connection", "add", "server", "ssh://root@server"]).ok();
    let line = ["run", "-d", "--name", "web", "--network=none", "busybox", "sh", "-c"];
    let id = run(&[&["--context", "server"], &line[..], &["cat; sleep 1000"]].concat()).ok().text();
    assert_eq!(barge.inspect("web", "{{.Id}}"), id);
    // Streams and exit codes come through, and much of both.
    let exec = ["--context", "server", "exec", "-i", "web", "sh", "-c", "wc -c; exit 7"];
    let counted = barge.bare_command(exec).env("PATH", &path).input(vec![b'x'; 3_000_000]).run();
    counted.exits(7).stdout("3000000\n");
    run(&["--context", "server", "rm", "-f", "-t", "0", "web"]).ok();
    run(&["--host", "ssh://root@127.0.0.1:1", "ps"]).exits(125).stderr_has("refused");
    server.signal(Signal::TERM);
    server.wait();
}
