//! Addresses that somebody else on a network gives: `network create --ipam-driver dhcp`.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::support::place::Place;
use super::support::process::Invocation;
use super::support::{Barge, Need, Running, needs, wait_until};

/// Starts a server behind an interface that gives addresses for two minutes, to be renewed after three
/// seconds.
fn server(barge: &Barge, far: &Place, range: &str) -> Running {
    let [leases, log] = ["leases", "log"].map(|name| barge.path_text(name));
    for stale in [&leases, &log] {
        drop(std::fs::remove_file(stale));
    }
    let range = format!("--dhcp-range={range},2m");
    let leases = format!("--dhcp-leasefile={leases}");
    let log = format!("--log-facility={log}");
    let line = [
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--user=root",
        "--port=0",
        "--interface=far0",
        "--bind-interfaces",
        "--dhcp-authoritative",
        "--no-ping",
        "--dhcp-option=option:T1,3",
        "--dhcp-option=option:dns-server,10.99.0.3",
        "--log-dhcp",
        &log,
        &range,
        &leases,
    ];
    let server = Invocation::new("dnsmasq", line, far).spawn();
    has_logged(barge, "sockets bound exclusively to interface far0", 1);
    server
}

/// Waits until the server has said something so many times.
fn has_logged(barge: &Barge, text: &str, times: usize) {
    wait_until(text, || {
        let log = std::fs::read_to_string(barge.path("log")).unwrap_or_default();
        log.matches(text).count() >= times
    });
}

fn reaches(place: &Place, address: &str) -> bool {
    let address: SocketAddr = address.parse().unwrap();
    place.enter(|| TcpStream::connect_timeout(&address, Duration::from_secs(2)).is_ok())
}

fn address(barge: &Barge) -> String {
    barge.inspect("web", "{{(index .NetworkSettings.Networks \"lan\").IPAddress}}")
}

fn with_neighbor() -> (Barge, Place) {
    let barge = Barge::with_busybox();
    let far = Place::network();
    barge.place().connect(&far, "10.99.0.1/24", "10.99.0.2/24");
    (barge, far)
}

/// On such a network, that is usual.
const CREATE: [&str; 7] = ["network", "create", "-d", "macvlan", "-o", "parent=far0", "lan"];

#[test]
fn an_address_is_given_by_the_network_kept_and_given_back() {
    if !needs(&[Need::Root, Need::Tool("dnsmasq")]) {
        return;
    }
    let (barge, far) = with_neighbor();
    let dnsmasq = server(&barge, &far, "10.99.0.100,10.99.0.110");
    barge.run(CREATE).ok();
    let script = "mkdir /www; exec httpd -f -p 80 -h /www";
    let line = ["run", "-d", "--name", "web", "-h", "box", "--network", "lan", "busybox"];
    barge.run([&line[..], &["sh", "-c", script]].concat()).ok();
    let first = address(&barge);
    assert!(first.starts_with("10.99.0.1"), "{first}");
    wait_until("it is there", || reaches(&far, &format!("{first}:80")));
    let leases = || std::fs::read_to_string(barge.path("leases")).unwrap();
    assert!(leases().contains(&format!(" {first} box ")), "{}", leases());
    let script = "ip route | awk '/^default/ {print $3}'; grep -w box /etc/hosts; \
                  ip -4 -o addr show dev eth0 | awk '{print $4}'";
    barge
        .run(["exec", "web", "sh", "-c", script])
        .ok()
        .stdout(&format!("10.99.0.2\n{first}\tbox web\n{first}/24\n"));
    // It is asked for again in time, and so is not free.
    has_logged(&barge, &format!("DHCPACK(far0) {first}"), 3);
    assert_eq!(address(&barge), first);
    // A container that comes to the network while it runs gets one, too.
    barge.run(["run", "-d", "--name", "late", "busybox", "sleep", "1000"]).ok();
    barge.run(["network", "connect", "lan", "late"]).ok();
    let late = "{{(index .NetworkSettings.Networks \"lan\").IPAddress}}";
    let late = barge.inspect("late", late);
    assert!(leases().contains(&late) && late != first, "{late}");
    has_logged(&barge, &format!("DHCPACK(far0) {late}"), 2);
    barge.run(["network", "disconnect", "lan", "late"]).ok();
    has_logged(&barge, &format!("DHCPRELEASE(far0) {late}"), 1);
    wait_until("it is given back", || !leases().contains(&late));
    // Others take over: what they have not given nobody has.
    drop(dnsmasq);
    let dnsmasq = server(&barge, &far, "10.99.0.200,10.99.0.210");
    has_logged(&barge, "DHCPNAK(far0)", 1);
    wait_until("it has another address", || address(&barge).starts_with("10.99.0.2"));
    let second = address(&barge);
    wait_until("it is there", || reaches(&far, &format!("{second}:80")));
    barge
        .run(["exec", "web", "sh", "-c", script])
        .ok()
        .stdout(&format!("10.99.0.2\n{second}\tbox web\n{second}/24\n"));
    assert!(!reaches(&far, &format!("{first}:80")));
    barge.run(["rm", "-f", "-t", "0", "web", "late"]).ok();
    has_logged(&barge, &format!("DHCPRELEASE(far0) {second}"), 1);
    wait_until("it is given back", || leases().is_empty());
    drop(dnsmasq);
    barge.leaves_nothing();
}

#[test]
fn a_network_that_gives_no_addresses_is_not_waited_for_for_ever() {
    if !needs(&[Need::Root]) {
        return;
    }
    let (barge, _far) = with_neighbor();
    for (line, error) in [
        (&["--ipam-driver", "dhcp", "n"][..], "has no addresses by dhcp"),
        (
            &["-d", "macvlan", "--ipam-driver", "dhcp", "--subnet", "10.99.0.0/24", "n"],
            "dhcp ipam driver is set but subnets are given",
        ),
    ] {
        barge.run([&["network", "create"], line].concat()).fails(125).error_has(error);
    }
    barge.run(CREATE).ok();
    let line = ["run", "--name", "box", "--network", "lan", "busybox", "true"];
    barge.run(line).fails(125).error_has("no DHCP server gives an address on network `lan`");
    let line = ["run", "--rm", "--network", "lan", "--ip", "10.99.0.9", "busybox", "true"];
    barge.run(line).fails(125).error_has("not in any subnet");
    barge.run(["rm", "box"]).ok();
    barge.leaves_nothing();
}

#[test]
fn nobody_waits_for_who_gives_no_addresses() {
    if !needs(&[Need::Root]) {
        return;
    }
    let (barge, _far) = with_neighbor();
    barge.run(CREATE).ok();
    let stopped = "it was stopped before it was started";
    barge.run(["create", "--name=box", "--network=lan", "busybox", "sleep", "1000"]).ok();
    for end in [&["stop", "-t", "0", "box"][..], &["rm", "box"]] {
        let starting = barge.command(["start", "box"]).spawn();
        wait_until("it asks", || barge.status("box") == "initialized");
        barge.run(end).ok();
        // Had that waited for the server, or for whoever starts it, it would be told that there is none.
        starting.wait().fails(125).error_has(stopped);
    }
    barge.run(["run", "-d", "--name=late", "busybox", "sleep", "1000"]).ok();
    let networks = |barge: &Barge| {
        let template = "{{range $name, $_ := .NetworkSettings.Networks}}{{$name}} {{end}}";
        barge.inspect("late", template)
    };
    let before = networks(&barge);
    for (end, told) in [
        (&["network", "disconnect", "lan", "late"][..], "it was disconnected meanwhile"),
        (&["stop", "-t", "0", "late"], "the container has ended meanwhile"),
    ] {
        let connecting = barge.command(["network", "connect", "lan", "late"]).spawn();
        wait_until("it is connected", || networks(&barge).contains("lan"));
        barge.run(["network", "rm", "lan"]).fails(2).error_has("network is being used");
        barge.run(end).ok();
        connecting.wait().fails(125).error_has(told);
        assert_eq!(networks(&barge), before);
    }
    // Whoever is there when nobody has given one is as before.
    barge.run(["start", "late"]).ok();
    let line = ["network", "connect", "lan", "late"];
    barge.run(line).fails(125).error_has("no DHCP server gives an address on network `lan`");
    assert_eq!(networks(&barge), before);
    barge.run(["exec", "late", "ls", "/sys/class/net"]).ok().stdout("eth0\nlo\n");
    barge.run(["rm", "-f", "-t", "0", "late"]).ok();
    barge.leaves_nothing();
}
