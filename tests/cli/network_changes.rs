//! Networks while containers are on them: new names, new addresses, and firewalls that others clear.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use super::support::place::Place;
use super::support::registry::free_port;
use super::support::{Barge, Need, needs, wait_until};

/// What a container serves that is asked for its name.
const SERVE: &str =
    "mkdir /www; echo page of $HOSTNAME > /www/index.html; exec httpd -f -p 80 -h /www";

fn serve(barge: &Barge, name: &str, flags: &[&str]) {
    let mut line = vec!["run", "-d", "--name", name, "--hostname", "box"];
    line.extend(flags);
    line.extend(["busybox", "sh", "-c", SERVE]);
    // Another user may have no control groups, and is told so once.
    barge.run(line).exits(0);
    wait_until("the page is there", || page(barge, name, "127.0.0.1") == "page of box");
}

/// Gets the page at an address, asked from a container; empty if there is none.
fn page(barge: &Barge, from: &str, host: &str) -> String {
    let script = format!("printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 2 {host} 80 | tail -n 1");
    barge.run(["exec", from, "sh", "-c", &script]).text()
}

/// Tells whether the page is served at an address, asked from somewhere else.
fn serves(place: &Place, address: &str) -> bool {
    let address: SocketAddr = address.parse().unwrap();
    place.enter(|| {
        let mut answer = String::new();
        TcpStream::connect_timeout(&address, Duration::from_secs(2))
            .and_then(|mut stream| {
                stream.set_read_timeout(Some(Duration::from_secs(5)))?;
                stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
                stream.read_to_string(&mut answer)
            })
            .is_ok_and(|_| answer.contains("page of box"))
    })
}

/// Tells whether somebody listens at port 7 in the namespace of a process.
fn listens(pid: u32, protocol: &str) -> bool {
    ["", "6"].iter().any(|version| {
        let path = format!("/proc/{pid}/net/{protocol}{version}");
        std::fs::read_to_string(path).unwrap_or_default().contains(":0007 ")
    })
}

/// Waits for somebody who calls; returns what is said, and from where.
fn heard(listener: &TcpListener) -> (String, String) {
    listener.set_nonblocking(true).unwrap();
    let mut accepted = None;
    wait_until("it calls", || {
        accepted = listener.accept().ok();
        accepted.is_some()
    });
    let (mut stream, from) = accepted.unwrap();
    stream.set_nonblocking(false).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    (text, from.ip().to_string())
}

/// Sends something to an address, and returns what comes back.
fn told(place: &Place, address: &str, protocol: &str) -> String {
    let address: SocketAddr = address.parse().unwrap();
    let patience = Some(Duration::from_secs(10));
    place.enter(|| {
        let mut answer = String::new();
        if protocol == "udp" {
            let mut buffer = [0; 64];
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            socket.set_read_timeout(patience).unwrap();
            socket.send_to(b"hello", address).unwrap();
            let length = socket.recv(&mut buffer).unwrap();
            answer.push_str(&String::from_utf8_lossy(&buffer[..length]));
        } else {
            let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5)).unwrap();
            stream.set_read_timeout(patience).unwrap();
            stream.read_to_string(&mut answer).unwrap();
        }
        answer
    })
}

#[test]
fn a_firewall_that_was_cleared_is_made_anew_at_once() {
    if !needs(&[Need::Root]) {
        return;
    }
    let barge = Barge::with_busybox();
    let far = Place::network();
    barge.place().connect(&far, "10.99.0.1/24", "10.99.0.2/24");
    barge.run(["network", "create", "n"]).ok();
    serve(&barge, "one", &["--network", "n", "-p", "8080:80"]);
    serve(&barge, "two", &[]);
    let rules = || {
        let listed = barge.other_command("nft", ["-s", "list", "ruleset"]).run().ok().text();
        let mut lines: Vec<String> = listed.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    let before = rules();
    for clear in [&["flush", "ruleset"][..], &["delete", "table", "inet", "other"]] {
        // Other programs' rules come and go beside ours.
        let add = "add table inet other; add chain inet other c; add rule inet other c accept";
        barge.other_command("nft", [add]).run().ok();
        barge.other_command("nft", clear).run().ok();
        wait_until("the rules are as they were", || rules() == before);
        assert!(serves(&far, "10.99.0.1:8080"));
    }
    // A single rule that is missing, too.
    let table = before.iter().find_map(|line| line.strip_prefix("table inet ")).unwrap();
    let table = table.trim_end_matches(" {");
    for chain in ["forward", "leaving", "guard", "arriving"] {
        let listed = barge.other_command("nft", ["-a", "list", "chain", "inet", table, chain]);
        let listed = listed.run().ok().text();
        let handles = listed.lines().skip(1).filter_map(|line| line.rsplit_once("# handle "));
        // The last one is a rule: chains have theirs in the first lines.
        let handle = handles.last().unwrap().1.to_owned();
        let line = ["delete", "rule", "inet", table, chain, "handle", &handle];
        barge.other_command("nft", line).run().ok();
        wait_until("the rules are as they were", || rules() == before);
    }
    assert!(serves(&far, "10.99.0.1:8080"));
    barge.run(["rm", "-f", "-t", "0", "one", "two"]).ok();
    // Nobody is left to make them anew.
    barge.run(["network", "rm", "n"]).ok();
    barge.leaves_nothing();
}

#[test]
fn names_and_hosts_follow_what_is_changed() {
    let barge = Barge::with_busybox();
    for (name, subnet) in [("a", "10.71.0.0/24"), ("b", "10.72.0.0/24")] {
        barge.run(["network", "create", "--subnet", subnet, name]).ok();
    }
    serve(&barge, "one", &["--network", "a:alias=uno"]);
    serve(&barge, "two", &["--network", "a"]);
    assert_eq!(page(&barge, "two", "one"), "page of box");
    barge.run(["rename", "one", "three"]).ok();
    for (host, want) in
        [("one", ""), ("three", "page of box"), ("uno", "page of box"), ("box", "page of box")]
    {
        assert_eq!(page(&barge, "two", host), want, "{host}");
    }
    let hosts = || barge.run(["exec", "three", "cat", "/etc/hosts"]).ok().lines();
    assert!(hosts().contains(&"10.71.0.2\tbox one".to_owned()), "{:?}", hosts());
    barge.run(["network", "connect", "--ip", "10.72.0.9", "b", "three"]).ok();
    wait_until("its file has the new address", || {
        hosts().contains(&"10.72.0.9\tbox three".to_owned())
    });
    barge.run(["network", "disconnect", "a", "three"]).ok();
    wait_until("its file has lost the old address", || {
        !hosts().iter().any(|line| line.starts_with("10.71.0.2\t"))
    });
    barge.run(["rm", "-f", "-t", "0", "two", "three"]).ok();
    barge.leaves_nothing();
}

#[test]
fn the_way_out_is_the_network_with_the_highest_priority() {
    let barge = Barge::with_busybox();
    for (name, subnet) in [("a", "10.71.0.0/24"), ("b", "10.72.0.0/24"), ("c", "10.73.0.0/24")] {
        barge.run(["network", "create", "--subnet", subnet, name]).ok();
    }
    barge.run(["network", "create", "--internal", "--subnet", "10.74.0.0/24", "inner"]).ok();
    let line = ["run", "-d", "--name", "c", "--network", "name=a,gw-priority=-1"];
    let more = ["--network", "name=inner,gw-priority=9", "--network", "b:interface_name=lan0"];
    barge.run([&line[..], &more, &["busybox", "sleep", "1000"]].concat()).exits(0);
    let way_out = || {
        let line = ["exec", "c", "sh", "-c", "ip route | grep default"];
        barge.run(line).ok().text().trim().to_owned()
    };
    assert_eq!(way_out(), "default via 10.72.0.1 dev lan0");
    let option = "com.docker.network.endpoint.ifname=far0";
    let line = ["network", "connect", "--gw-priority", "1", "--driver-opt", option, "c", "c"];
    barge.run(line).ok();
    assert_eq!(way_out(), "default via 10.73.0.1 dev far0");
    barge.run(["network", "disconnect", "c", "c"]).ok();
    assert_eq!(way_out(), "default via 10.72.0.1 dev lan0");
    barge.run(["network", "disconnect", "b", "c"]).ok();
    assert_eq!(way_out(), "default via 10.71.0.1 dev eth0");
    // One with a lower number takes nothing over, and all of it is so in the next run.
    barge.run(["network", "connect", "--gw-priority=-2", "c", "c"]).ok();
    assert_eq!(way_out(), "default via 10.71.0.1 dev eth0");
    barge.run(["restart", "-t", "0", "c"]).exits(0);
    assert_eq!(way_out(), "default via 10.71.0.1 dev eth0");
    assert_eq!(barge.inspect("c", "{{.NetworkSettings.Networks.c.GwPriority}}"), "-2");
    let line = ["network", "connect", "--driver-opt", "com.docker.x=y", "b", "c"];
    barge.run(line).fails(125).error_has("com.docker.x").hint_has("ifname");
    barge.run(["rm", "-f", "-t", "0", "c"]).ok();
    barge.leaves_nothing();
}

#[test]
fn networks_have_routes() {
    let barge = Barge::with_busybox();
    let line = ["network", "create", "--subnet", "10.71.0.0/24"];
    let routes = ["--route", "10.50.0.0/16,10.71.0.9,77", "--route", "10.51.0.0/16,10.71.0.8"];
    barge.run([&line[..], &routes, &["n"]].concat()).ok();
    let shown = barge.run(["network", "inspect", "n"]).ok().json();
    assert_eq!(shown[0]["routes"][0]["destination"], "10.50.0.0/16");
    assert_eq!(shown[0]["routes"][0]["metric"], 77);
    assert_eq!(shown[0]["routes"][1]["gateway"], "10.71.0.8");
    let script = "ip route | grep '^10.5' | sort";
    barge.run(["run", "--rm", "--network", "n", "busybox", "sh", "-c", script]).ok().stdout(
        "10.50.0.0/16 via 10.71.0.9 dev eth0  metric 77 \n10.51.0.0/16 via 10.71.0.8 dev eth0 \n",
    );
    for (route, error) in [
        ("10.50.0.0/16", "invalid route"),
        ("10.50.0.0/16,x", "invalid route"),
        ("10.50.0.0/16,fd00::1", "invalid route"),
        ("10.50.0.0/16,10.72.0.9,1,2", "invalid route"),
        ("10.50.0.0/16,10.73.0.9", "in no subnet of the network"),
    ] {
        let line = ["network", "create", "--subnet", "10.72.0.0/24", "--route", route, "m"];
        barge.run(line).fails(125).error_has(error);
    }
}

#[test]
fn ports_are_published_by_ipv6() {
    if !needs(&[Need::Root]) {
        return;
    }
    let barge = Barge::with_busybox();
    let far = Place::network();
    barge.place().connect(&far, "fd99::1/64", "fd99::2/64");
    let ports = [8080, 8081, 8082];
    serve(&barge, "one", &["-p", "8080:80", "-p", "[::1]:8081:80", "-p", "[::]:8082:80"]);
    // A neighbor has to be found first.
    wait_until("it is reached from elsewhere", || serves(&far, "[fd99::1]:8080"));
    for (port, is_near, is_far) in [(8080, true, true), (8081, true, false), (8082, true, true)] {
        assert!(ports.contains(&port));
        assert_eq!(serves(barge.place(), &format!("[::1]:{port}")), is_near, "{port}");
        assert_eq!(serves(&far, &format!("[fd99::1]:{port}")), is_far, "{port}");
    }
    barge
        .run(["port", "one"])
        .ok()
        .stdout("80/tcp -> 0.0.0.0:8080\n80/tcp -> [::1]:8081\n80/tcp -> [::]:8082\n");
    let taken = ["run", "--rm", "-p", "[::1]:8081:81", "busybox", "true"];
    barge.run(taken).fails(126).error_has("cannot publish port `8081/tcp` on `::1`");
    let line = ["run", "--rm", "-p", "[::1]:9000:9000/sctp", "busybox", "true"];
    barge.run(line).fails(125).error_has("cannot publish port `9000/sctp` on `::1`");
    barge.run(["rm", "-f", "-t", "0", "one"]).ok();
    barge.leaves_nothing();
}

#[test]
fn users_without_root_reach_other_machines_and_are_reached() {
    if !needs(&[Need::Root, Need::User("barge-test")]) {
        return;
    }
    let mut barge = Barge::of_user("barge-test");
    let (near, far) = (Place::network(), Place::network());
    near.connect(&far, "198.51.100.1/24", "198.51.100.2/24");
    near.enter(|| {
        super::support::tool("ip", ["route", "add", "default", "via", "198.51.100.2"]);
        // An address of the machine that is not the one by which packets go out: where pasta is older, that
        // is what it has a name by.
        let script = "ip link add other0 type bridge; ip address add 203.0.113.1/24 dev other0";
        super::support::tool("sh", ["-ec", script]);
    });
    barge.move_to(near.clone());
    barge.import_busybox();
    barge.run(["network", "create", "n"]).ok();
    let port = free_port(&near);
    serve(&barge, "one", &["--network", "n", "-p", &format!("{port}:80")]);
    wait_until("it is reached from elsewhere", || serves(&far, &format!("198.51.100.1:{port}")));
    assert!(serves(&near, &format!("127.0.0.1:{port}")));
    // Who has come is seen, or the gateway in place of loopback.
    for (place, host, source) in
        [(&far, "198.51.100.1", "198.51.100.2"), (&near, "127.0.0.1", "10.89.0.1")]
    {
        for protocol in ["tcp", "udp"] {
            let port = free_port(&near);
            let publish = format!("{port}:7/{protocol}");
            let listen = format!("{}4-LISTEN:7,fork", protocol.to_uppercase());
            let line = ["run", "-d", "--name", "seer", "--network", "n", "-p", &publish];
            let tell = ["builtin/host", "socat", &listen, "SYSTEM:echo $SOCAT_PEERADDR"];
            barge.run([&line[..], &tell].concat()).ok();
            let pid: u32 = barge.inspect("seer", "{{.State.Pid}}").parse().unwrap();
            wait_until("it listens", || listens(pid, protocol));
            let seen = told(place, &format!("{host}:{port}"), protocol);
            assert_eq!(seen, format!("{source}\n"), "{protocol}");
            barge.run(["rm", "-f", "-t", "0", "seer"]).ok();
        }
    }
    for network in ["n", "pasta"] {
        let listener = near.enter(|| TcpListener::bind("0.0.0.0:0")).unwrap();
        let here = listener.local_addr().unwrap().port();
        let script = format!("echo from {network} | nc -w 5 host.containers.internal {here}");
        let line = ["run", "--rm", "--network", network, "busybox", "sh", "-c", &script];
        let caller = barge.command(line).spawn();
        assert_eq!(heard(&listener).0, format!("from {network}\n"));
        caller.wait().ok();
    }
    let listener = far.enter(|| TcpListener::bind("198.51.100.2:0")).unwrap();
    let there = listener.local_addr().unwrap().port();
    let script = format!("echo hello | nc -w 5 198.51.100.2 {there}");
    let caller = barge.command(["exec", "one", "sh", "-c", &script]).spawn();
    let (text, from) = heard(&listener);
    caller.wait().ok();
    assert_eq!((text.as_str(), from.as_str()), ("hello\n", "198.51.100.1"));
    barge.run(["rm", "-f", "-t", "0", "one"]).ok();
}

#[test]
fn a_kernel_without_sctp_is_told_of() {
    if !needs(&[Need::Root]) {
        return;
    }
    let barge = Barge::with_busybox();
    let warning = "this kernel has no SCTP";
    let line = ["run", "-d", "--name", "box", "-p", "9999:9/sctp", "busybox", "sleep", "1000"];
    let output = barge.run(line).exits(0);
    let has_sctp = std::path::Path::new("/proc/net/sctp").exists();
    assert_eq!(output.errors().contains(warning), !has_sctp, "{}", output.story());
    barge.run(["port", "box"]).ok().stdout("9/sctp -> 0.0.0.0:9999\n");
    let rules = barge.other_command("nft", ["list", "ruleset"]).run().ok().text();
    assert!(rules.contains("sctp . 9999"), "{rules}");
    barge.run(["rm", "-f", "-t", "0", "box"]).ok();
    barge.leaves_nothing();
}
