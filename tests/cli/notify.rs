//! `--sdnotify`: what a service manager hears of a container.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use super::support::{Barge, wait_until};

/// The socket of a service manager.
struct Manager {
    socket: UnixDatagram,
    path: String,
}

impl Manager {
    fn new(barge: &Barge) -> Self {
        let path = barge.path_text("manager");
        let socket = UnixDatagram::bind(&path).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o666))
            .unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Self { socket, path }
    }

    /// Starts a container named `box` that is to tell this manager.
    fn start(&self, barge: &Barge, flags: &[&str], program: &[&str]) -> String {
        let mut line = vec!["run", "-d", "--name", "box", "--network", "none"];
        line.extend(flags);
        line.extend(program);
        let id = barge.command(line).env("NOTIFY_SOCKET", &self.path).run().ok().text();
        // So that its leftovers are looked for.
        barge.run(["inspect", "--format", "{{.Id}}", "box"]).ok().stdout(&format!("{id}\n"));
        id
    }

    /// Returns the next message.
    fn hears(&self) -> String {
        let mut buffer = [0; 4096];
        let length = self.socket.recv(&mut buffer).expect("a message comes");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    /// Tells that nothing has come that was not read.
    fn hears_nothing(&self) -> bool {
        self.socket.set_nonblocking(true).unwrap();
        let nothing = self.socket.recv(&mut [0; 1]).is_err();
        self.socket.set_nonblocking(false).unwrap();
        nothing
    }
}

fn main_pid(id: &str) -> String {
    format!("MAINPID={}", super::crash::monitor(id).unwrap().as_raw_nonzero())
}

const WAITS: [&str; 3] = ["busybox", "sleep", "1000"];

#[test]
fn notify_by_the_monitor_as_soon_as_it_runs() {
    let barge = Barge::with_busybox();
    let manager = Manager::new(&barge);
    let id = manager.start(&barge, &["--sdnotify=conmon"], &WAITS);
    assert_eq!(manager.hears(), format!("{}\nREADY=1", main_pid(&id)));
    barge.run(["exec", "box", "sh", "-c", "echo $NOTIFY_SOCKET; ls /run/notify"]).stdout("\n");
    assert_eq!(barge.inspect("box", "{{.Config.sdNotifyMode}}"), "conmon");
}

#[test]
fn notify_by_the_container_itself() {
    let barge = Barge::new();
    let manager = Manager::new(&barge);
    let script = "use Socket; my $to = pack_sockaddr_un($ENV{NOTIFY_SOCKET}); \
        socket(my $socket, PF_UNIX, SOCK_DGRAM, 0); \
        send($socket, $_, 0, $to) // die $! for \"STATUS=coming\", \"MAINPID=1\", \"MAINPID=1\\nREADY=1\"; \
        sleep 1000";
    let flags: [&[&str]; 2] = [&[], &["--user", "1000", "--read-only"]];
    for flags in flags {
        let program = ["builtin/host", "perl", "-e", script];
        let id = manager.start(&barge, flags, &program);
        assert_eq!(manager.hears(), main_pid(&id));
        assert_eq!(manager.hears(), "STATUS=coming");
        // Which process it is, is not for the container to say.
        assert_eq!(manager.hears(), "READY=1");
        barge.run(["rm", "-f", "-t", "0", "box"]).ok();
        assert!(manager.hears_nothing());
    }
}

#[test]
fn notify_when_it_is_healthy() {
    let barge = Barge::with_busybox();
    let manager = Manager::new(&barge);
    let health = ["--health-cmd", "test -e /well", "--health-interval", "50ms"];
    let flags = [&["--sdnotify", "healthy"], &health[..]].concat();
    let id = manager.start(&barge, &flags, &WAITS);
    assert_eq!(manager.hears(), main_pid(&id));
    barge.run(["wait", "--condition", "unhealthy", "box"]).ok();
    assert!(manager.hears_nothing());
    barge.run(["exec", "box", "touch", "/well"]).ok();
    assert_eq!(manager.hears(), "READY=1");
    let line = ["create", "--sdnotify=healthy", "busybox", "true"];
    let text = "sdnotify policy \"healthy\" requires a healthcheck to be set";
    barge.run(line).fails(125).error_has(text);
}

#[test]
fn notify_nobody() {
    let barge = Barge::with_busybox();
    let manager = Manager::new(&barge);
    manager.start(&barge, &["--sdnotify", "ignore"], &WAITS);
    barge.run(["exec", "box", "ls", "/run/notify"]).exits(1);
    assert!(manager.hears_nothing());
    barge.run(["create", "--sdnotify=x", "busybox"]).fails(125).error_has("invalid sdnotify value");
    // A manager that is gone is no reason not to run.
    let line = ["run", "--rm", "--network=none", "--sdnotify=conmon", "busybox", "echo", "here"];
    let output = barge.command(line).env("NOTIFY_SOCKET", "/nosuch").run().exits(0);
    output.stdout("here\n").stderr_has("cannot tell the service manager");
}

#[test]
fn notify_floods_hold_nothing_up() {
    let barge = Barge::new();
    let manager = Manager::new(&barge);
    // It says on its output that the flood has come, and the flood goes on.
    let script = "use Socket; my $to = pack_sockaddr_un($ENV{NOTIFY_SOCKET}); \
        socket(my $socket, PF_UNIX, SOCK_DGRAM, 0); pipe(my $hear, my $tell); \
        if (fork) { close $tell; <$hear>; $| = 1; print \"here\\n\"; sleep 1000 } \
        send($socket, \"STATUS=x\", 0, $to) // die $! for 1..1000; close $tell; \
        while (1) { send($socket, \"STATUS=x\", 0, $to) }";
    manager.start(&barge, &[], &["builtin/host", "perl", "-e", script]);
    wait_until("its output comes", || barge.run(["logs", "box"]).ok().text() == "here");
    barge.run(["stop", "-t", "0", "box"]).ok();
    assert_eq!(barge.status("box"), "exited");
}
