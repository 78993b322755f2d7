//! Networks where firewalld runs, which turns away what it does not know.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustix::process::Signal;

use super::support::place::Place;
use super::support::process::Invocation;
use super::support::{Barge, Need, Running, needs, tool, wait_until};

/// Where the machine's bus is, which a test has for itself.
const MOUNTS: &str = "mount -t tmpfs none /run; mkdir /run/dbus";

/// What lets everybody do everything, as the machine's bus lets root.
const BUS: &str = r#"<busconfig>
  <type>system</type>
  <listen>unix:path=/run/dbus/system_bus_socket</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/> <allow own="*"/>
    <allow send_destination="*" eavesdrop="true"/> <allow eavesdrop="true"/>
  </policy>
</busconfig>
"#;

/// A store in a network of its own, with a bus of its own; and what is outside of it.
fn machine() -> (Barge, Place, Running) {
    let mut barge = Barge::with_busybox();
    barge.move_to(barge.place().with_mounts(MOUNTS));
    let far = Place::network();
    barge.place().connect(&far, "10.99.0.1/24", "10.99.0.2/24");
    far.enter(|| tool("ip", ["route", "add", "10.71.0.0/24", "via", "10.99.0.1"]));
    // What passes a bridge passes the firewall, too.
    let bridged = "for f in /proc/sys/net/bridge/bridge-nf-call-ip*tables; do \
        [ ! -e $f ] || echo 1 > $f; done";
    barge.other_command("sh", ["-ec", bridged]).run().ok();
    let config = format!("--config-file={}", barge.file("bus.conf", BUS));
    let line = ["--nofork", "--nopidfile", &config];
    let bus = Invocation::new("dbus-daemon", line, barge.place()).spawn();
    let is_there = || barge.other_command("test", ["-S", "/run/dbus/system_bus_socket"]).run();
    wait_until("the bus is there", || is_there().status == 0);
    (barge, far, bus)
}

fn start_firewalld(barge: &Barge) -> Running {
    fs::create_dir_all(barge.path("firewalld")).unwrap();
    let (config, log) = (barge.path_text("firewalld"), barge.path_text("firewalld.log"));
    let line = ["--nofork", "--nopid", "--system-config", &config, "--log-file", &log];
    let daemon = Invocation::new("firewalld", line, barge.place()).spawn();
    let state = || barge.other_command("firewall-cmd", ["--state"]).run();
    wait_until("firewalld works", || state().status == 0);
    daemon
}

fn stop(mut daemon: Running) {
    daemon.signal(Signal::TERM);
    daemon.wait();
}

fn sources(barge: &Barge, zone: &str) -> Vec<String> {
    let zone = format!("--zone={zone}");
    let listed = barge.other_command("firewall-cmd", [&zone, "--list-sources"]).run().ok().text();
    let mut sources: Vec<_> = listed.split_whitespace().map(str::to_owned).collect();
    sources.sort();
    sources
}

fn reaches(place: &Place, address: &str) -> bool {
    let address: SocketAddr = address.parse().unwrap();
    place.enter(|| TcpStream::connect_timeout(&address, Duration::from_secs(2)).is_ok())
}

#[test]
fn containers_pass_firewalld() {
    if !needs(&[Need::Root, Need::Tool("firewalld"), Need::Tool("dbus-daemon")]) {
        return;
    }
    let (barge, far, bus) = machine();
    let firewalld = start_firewalld(&barge);
    let subnets = ["--ipv6", "--subnet", "10.71.0.0/24", "--subnet", "fd71::/64"];
    barge.run([&["network", "create"], &subnets[..], &["n"]].concat()).ok();
    barge.run(["network", "create", "--internal", "--subnet", "10.72.0.0/24", "in"]).ok();
    assert_eq!(sources(&barge, "trusted"), [""; 0], "nobody is on them");
    let start = |name: &str, flags: &[&str]| {
        let serve = "mkdir /www; exec httpd -f -p 80 -h /www";
        let line = [&["run", "-d", "--name", name], flags, &["busybox", "sh", "-c", serve]];
        barge.run(line.concat()).ok().stderr("");
    };
    start("web", &["--network", "n:ip=10.71.0.9,ip=fd71::9", "-p", "8080:80"]);
    start("other", &["--network", "n"]);
    start("in", &["--network", "in:ip=10.72.0.9"]);
    start("beside", &["--network", "in"]);
    let trusted = ["10.71.0.0/24", "10.72.0.0/24", "fd71::/64"];
    assert_eq!(sources(&barge, "trusted"), trusted);
    let pings = |from: &str, to: &str| {
        barge.run(["exec", from, "ping", "-c", "1", "-W", "2", to]).status == 0
    };
    let all_is_well = || {
        for (from, to) in [("other", "10.71.0.9"), ("other", "fd71::9"), ("beside", "10.72.0.9")] {
            assert!(pings(from, to), "{to} from {from}");
        }
        assert!(pings("web", "10.99.0.2"), "the outside");
        assert!(reaches(&far, "10.99.0.1:8080"), "it is published");
        assert!(reaches(barge.place(), "127.0.0.1:8080"), "here, too");
    };
    let nothing_else_passes = || {
        assert!(!pings("in", "10.99.0.2"), "no way leads out of there");
        assert!(!reaches(&far, "10.71.0.9:80"), "nobody has published that");
    };
    wait_until("it serves", || reaches(&far, "10.99.0.1:8080"));
    all_is_well();
    nothing_else_passes();
    barge.run(["system", "check"]).stdout_has("firewalld");
    // Without that they are turned away. Who has taken it away has it put back by `reload`.
    let line = ["--zone=trusted", "--remove-source=10.71.0.0/24"];
    barge.other_command("firewall-cmd", line).run().ok();
    assert!(!pings("web", "10.99.0.2"));
    let bridged = fs::exists("/proc/sys/net/bridge").unwrap();
    assert_eq!(pings("other", "10.71.0.9"), !bridged);
    barge.run(["network", "reload", "--all"]).ok();
    all_is_well();
    // It forgets what it was told.
    barge.other_command("firewall-cmd", ["--reload"]).run().ok();
    wait_until("it was told again", || sources(&barge, "trusted") == trusted);
    all_is_well();
    stop(firewalld);
    all_is_well();
    let firewalld = start_firewalld(&barge);
    wait_until("it was told again", || sources(&barge, "trusted") == trusted);
    all_is_well();
    nothing_else_passes();
    // An administrator has other plans for one.
    let line = ["--zone=dmz", "--add-source=10.73.0.0/24"];
    barge.other_command("firewall-cmd", line).run().ok();
    barge.run(["network", "create", "--subnet", "10.73.0.0/24", "own"]).ok();
    start("own", &["--network", "own"]);
    barge.run(["rm", "-f", "-t", "0", "own"]).ok();
    assert_eq!(sources(&barge, "dmz"), ["10.73.0.0/24"]);
    // One more for a container that runs, and one less.
    barge.run(["network", "create", "--subnet", "10.74.0.0/24", "more"]).ok();
    barge.run(["network", "connect", "more", "web"]).ok();
    assert!(sources(&barge, "trusted").contains(&"10.74.0.0/24".to_owned()));
    barge.run(["network", "disconnect", "more", "web"]).ok();
    assert_eq!(sources(&barge, "trusted"), trusted);
    barge.run(["network", "rm", "-f", "-t", "0", "in"]).ok();
    assert_eq!(sources(&barge, "trusted"), ["10.71.0.0/24", "fd71::/64"]);
    barge.run(["network", "rm", "-f", "-t", "0", "n", "own", "more"]).ok();
    assert_eq!(sources(&barge, "trusted"), [""; 0]);
    stop(firewalld);
    stop(bus);
    barge.leaves_nothing();
}

#[test]
fn a_start_says_where_firewalld_cannot_be_told() {
    if !needs(&[Need::Root]) {
        return;
    }
    let mut barge = Barge::with_busybox();
    barge.move_to(barge.place().with_mounts("mount -t tmpfs none /run"));
    // What it leaves when it is killed.
    barge.other_command("nft", ["add", "table", "inet", "firewalld"]).run().ok();
    barge.run(["network", "create", "--subnet", "10.71.0.0/24", "n"]).ok();
    let said = barge.run(["run", "--rm", "--network", "n", "busybox", "true"]).exits(0);
    said.stderr_has("cannot speak to firewalld over /run/dbus/system_bus_socket")
        .stderr_has("firewall-cmd --zone=trusted --add-source=10.71.0.0/24");
    barge.run(["system", "check"]).stdout_has("cannot speak to firewalld");
    barge.run(["run", "--rm", "--network", "none", "busybox", "true"]).ok().stderr("");
}
