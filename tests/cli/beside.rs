//! Networks beside those of Docker, whose firewall lets nothing pass that is not its own.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustix::process::Signal;

use super::support::place::Place;
use super::support::process::Invocation;
use super::support::{Barge, Need, Running, needs, tool, wait_until};

/// Docker's daemons, with all that they keep in the directory of a test.
struct Docker {
    daemons: Vec<Running>,
    socket: String,
}

impl Docker {
    fn start(barge: &Barge) -> Self {
        let place = barge.place().with_mounts(":");
        let path = |name: &str| {
            fs::create_dir_all(barge.path("docker")).unwrap();
            barge.path_text(&format!("docker/{name}"))
        };
        let (containers, socket) = (path("c.sock"), format!("unix://{}", path("d.sock")));
        let line = ["--root", &path("c"), "--state", &path("cs"), "--address", &containers];
        let mut daemons = vec![Invocation::new("containerd", line, &place).spawn()];
        wait_until("containerd listens", || fs::exists(&containers).unwrap());
        let line = [
            "--data-root",
            &path("d"),
            "--exec-root",
            &path("ds"),
            "--pidfile",
            &path("pid"),
            "--host",
            &socket,
            "--containerd",
            &containers,
            "--storage-driver",
            "vfs",
        ];
        daemons.push(Invocation::new("dockerd", line, &place).spawn());
        let docker = Self { daemons, socket };
        wait_until("Docker has its firewall", || chain(barge, "DOCKER-USER").contains("return"));
        docker
    }

    /// Runs a command line that follows `docker`.
    fn run(&self, barge: &Barge, line: &[&str]) -> String {
        let line = [&["-H", &self.socket], line].concat();
        barge
            .other_command("docker", line)
            .env("DOCKER_CONFIG", barge.path("config"))
            .run()
            .ok()
            .text()
    }

    /// Starts a container on a network that serves at port 80; returns its address.
    fn serve(&self, barge: &Barge, name: &str, flags: &[&str]) -> String {
        let line = ["run", "-d", "--name", name];
        let serve = ["busybox", "sh", "-c", "mkdir /www; exec httpd -f -p 80 -h /www"];
        self.run(barge, &[&line, flags, &serve].concat());
        let address = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
        self.run(barge, &["inspect", "--format", address, name])
    }

    fn stop(self) {
        for mut daemon in self.daemons.into_iter().rev() {
            daemon.signal(Signal::TERM);
            daemon.wait();
        }
    }
}

fn chain(barge: &Barge, name: &str) -> String {
    barge.other_command("nft", ["list", "chain", "ip", "filter", name]).run().text()
}

fn reaches(place: &Place, address: &str) -> bool {
    let address: SocketAddr = address.parse().unwrap();
    place.enter(|| TcpStream::connect_timeout(&address, Duration::from_secs(2)).is_ok())
}

#[test]
fn containers_pass_the_firewall_of_docker() {
    if !needs(&[Need::Root, Need::Tool("dockerd"), Need::Tool("containerd")]) {
        return;
    }
    let barge = Barge::with_busybox();
    let far = Place::network();
    barge.place().connect(&far, "10.99.0.1/24", "10.99.0.2/24");
    far.enter(|| tool("ip", ["route", "add", "10.71.0.0/24", "via", "10.99.0.1"]));
    // As on a machine where nobody else has had a use for it.
    let off = "echo 0 > /proc/sys/net/ipv4/ip_forward";
    barge.other_command("sh", ["-ec", off]).run().ok();
    let docker = Docker::start(&barge);
    assert!(chain(&barge, "FORWARD").contains("policy drop"));
    let before = chain(&barge, "DOCKER-USER");
    barge.run(["network", "create", "--subnet", "10.71.0.0/24", "n"]).ok();
    barge.run(["network", "create", "--internal", "in"]).ok();
    let serve = "mkdir /www; exec httpd -f -p 80 -h /www";
    let line = ["run", "-d", "--name", "web", "--network", "n:ip=10.71.0.9", "-p", "8080:80"];
    barge.run([&line[..], &["busybox", "sh", "-c", serve]].concat()).ok();
    barge.run(["run", "-d", "--name", "in", "--network", "in", "busybox", "sleep", "1000"]).ok();
    wait_until("it is reached from elsewhere", || reaches(&far, "10.99.0.1:8080"));
    barge.run(["exec", "web", "ping", "-c", "1", "-W", "5", "10.99.0.2"]).ok();
    barge.run(["exec", "in", "ping", "-c", "1", "-W", "2", "10.99.0.2"]).exits(1);
    assert!(!reaches(&far, "10.71.0.9:80"), "nobody has published that");
    // An administrator's own rules count before ours.
    let own = ["insert", "rule", "ip", "filter", "DOCKER-USER", "iifname", "far0", "drop"];
    barge.other_command("nft", own).run().ok();
    assert!(!reaches(&far, "10.99.0.1:8080"));
    // What is removed is put there again.
    barge.other_command("nft", ["flush", "chain", "ip", "filter", "DOCKER-USER"]).run().ok();
    wait_until("it is reached again", || reaches(&far, "10.99.0.1:8080"));
    let shown = chain(&barge, "DOCKER-USER");
    assert_eq!(shown.matches(" accept comment ").count(), 2, "{shown}");
    // Docker's own program still reads its table.
    let listed = barge.other_command("iptables", ["-S", "DOCKER-USER"]).run().ok().lines();
    assert_eq!(listed.iter().filter(|line| line.ends_with("-j ACCEPT")).count(), 2, "{listed:?}");
    // Docker's own containers are Docker's to protect: only what they publish is there for ours, which
    // holds for networks that it makes later, too.
    let image = super::support::fixture::busybox();
    docker.run(&barge, &["import", &image.to_string_lossy(), "busybox"]);
    let old = docker.serve(&barge, "old", &[]);
    docker.serve(&barge, "open", &["-p", "9090:80"]);
    docker.run(&barge, &["network", "create", "more"]);
    let new = docker.serve(&barge, "new", &["--network", "more"]);
    wait_until("it is known", || {
        chain(&barge, "DOCKER-USER").matches(" return comment ").count() == 4
    });
    let gets = |address: &str| {
        barge.run(["exec", "web", "nc", "-w", "2", address, "80", "-e", "true"]).status == 0
    };
    for address in [&old, &new] {
        wait_until("it serves", || reaches(barge.place(), &format!("{address}:80")));
        assert!(!gets(address), "{address} is published nowhere");
        docker.run(&barge, &["exec", "old", "sh", "-c", "! nc -w 2 10.71.0.9 80 -e true"]);
    }
    barge.run(["exec", "web", "nc", "-w", "5", "10.99.0.1", "9090", "-e", "true"]).ok();
    docker.run(&barge, &["exec", "old", "nc", "-w", "5", "10.99.0.1", "8080", "-e", "true"]);
    barge.run(["exec", "web", "ping", "-c", "1", "-W", "5", "10.99.0.2"]).ok();
    docker.run(&barge, &["rm", "-f", "old", "open", "new"]);
    docker.run(&barge, &["network", "rm", "more"]);
    wait_until("it is gone", || {
        chain(&barge, "DOCKER-USER").matches(" return comment ").count() == 2
    });
    barge.run(["rm", "-f", "-t", "0", "web", "in"]).ok();
    let after = chain(&barge, "DOCKER-USER");
    assert!(!after.contains("barge") && before.contains("return"), "{after}");
    docker.stop();
    barge.leaves_nothing();
}
