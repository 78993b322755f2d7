//! Networks: none, host, the default one, and published ports.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use super::support::place::Place;
use super::support::registry::free_port;
use super::support::{Barge, Need, is_root, needs, wait_until};

/// What the container serves.
const SERVE: &str =
    "mkdir /www; echo page of $HOSTNAME > /www/index.html; exec httpd -f -p 80 -h /www";

/// Starts a web server in a container on the default network.
#[track_caller]
fn serve(barge: &Barge, name: &str, publish: &[&str]) -> String {
    let mut line = vec!["run", "-d", "--name", name, "--hostname", name];
    for port in publish {
        line.extend(["-p", port]);
    }
    line.extend(["busybox", "sh", "-c", SERVE]);
    barge.run(line).ok().text()
}

/// Asks a web server for its page.
fn get(place: &Place, address: &str) -> std::io::Result<String> {
    let address: SocketAddr = address.parse().unwrap();
    place.enter(|| {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        if answer.starts_with("HTTP/1") {
            Ok(answer)
        } else {
            Err(std::io::ErrorKind::InvalidData.into())
        }
    })
}

#[track_caller]
fn await_page(place: &Place, address: &str, page: &str) {
    wait_until(&format!("{address} serves"), || {
        get(place, address).is_ok_and(|text| text.contains(page))
    });
}

#[test]
fn network_none_has_loopback_only() {
    let barge = Barge::with_busybox();
    barge
        .shell(&[], "ip -o link | awk '{print $2}'; ip route | wc -l; ping -c 1 -W 5 127.0.0.1 > /dev/null && echo pong")
        .ok()
        .stdout("lo:\n0\npong\n");
}

#[test]
fn network_host_is_the_hosts() {
    let barge = Barge::with_busybox();
    let own = barge
        .place()
        .enter(|| std::fs::read_link("/proc/thread-self/ns/net"))
        .unwrap()
        .to_string_lossy()
        .into_owned();
    let line = ["run", "--rm", "--network", "host", "busybox", "readlink", "/proc/self/ns/net"];
    barge.run(line).ok().stdout(&format!("{own}\n"));
    // Published ports make no sense there.
    let line = ["run", "--rm", "--network", "host", "-p", "8080:80", "busybox", "true"];
    barge.run(line).exits(0).stderr_has(
        "Port mappings have been discarded because \"host\" network namespace mode does not support them",
    );
}

#[test]
fn network_names_that_make_no_sense_are_refused() {
    let barge = Barge::with_busybox();
    for network in ["nosuch", "container:nosuch"] {
        barge.run(["run", "--rm", "--network", network, "busybox", "true"]).fails(125);
    }
    for port in [
        "80:80:80:80",
        "x",
        "0",
        "70000:80",
        "80:70000",
        "80/sctpx",
        "1.2.3:80:80",
        "8000-8001:80-85",
    ] {
        barge.run(["run", "--rm", "-p", port, "busybox", "true"]).fails(125).error_has(port);
    }
    assert!(barge.containers().is_empty());
}

#[test]
fn the_default_network_has_address_route_and_names() {
    let barge = Barge::with_busybox();
    let script = "ip -4 -o addr show | awk '!/127.0.0.1/ {print $4}'; ip route | grep -c '^default'; \
                  ip -o link | grep -c 'LOOPBACK,UP'; grep -c nameserver /etc/resolv.conf";
    let lines = barge.run(["run", "--rm", "busybox", "sh", "-c", script]).ok().lines();
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert!(lines[0].contains('.') && lines[0].contains('/'), "{lines:?}");
    assert_eq!(lines[1..3], ["1", "1"]);
    assert_ne!(lines[3], "0");
    barge.leaves_nothing();
}

#[test]
fn names_can_be_added() {
    let barge = Barge::with_busybox();
    let line = [
        "run",
        "--rm",
        "--add-host",
        "db:10.1.2.3",
        "--dns",
        "10.9.9.9",
        "--dns-search",
        "example.test",
        "busybox",
        "sh",
        "-c",
        "grep db /etc/hosts; cat /etc/resolv.conf",
    ];
    let lines = barge.run(line).ok().lines();
    assert!(lines[0].starts_with("10.1.2.3") && lines[0].ends_with("db"), "{lines:?}");
    assert!(lines.contains(&"nameserver 10.9.9.9".to_owned()), "{lines:?}");
    assert!(
        lines.iter().any(|line| line.starts_with("search") && line.contains("example.test")),
        "{lines:?}"
    );
}

#[test]
fn a_published_port_is_reached_on_localhost() {
    let barge = Barge::with_busybox();
    let port = free_port(barge.place());
    let id = serve(&barge, "web", &[&format!("{port}:80")]);
    await_page(barge.place(), &format!("127.0.0.1:{port}"), "page of web");
    let shown = barge.run(["ps", "--format", "{{.Ports}}"]).ok().text();
    assert!(shown.contains(&format!("0.0.0.0:{port}->80/tcp")), "{shown}");
    let bindings = barge.inspect("web", "{{json .NetworkSettings.Ports}}");
    assert!(bindings.contains(&port.to_string()) && bindings.contains("80/tcp"), "{bindings}");
    // As any user would.
    let url = format!("http://127.0.0.1:{port}/");
    barge.other_command("curl", ["-sS", "-m", "10", &url]).run().ok().stdout("page of web\n");
    barge.run(["rm", "-f", "-t", "0", &id]).ok();
    assert!(get(barge.place(), &format!("127.0.0.1:{port}")).is_err());
    barge.leaves_nothing();
}

#[test]
fn a_port_is_chosen_if_none_is_given() {
    let barge = Barge::with_busybox();
    serve(&barge, "web", &["80"]);
    let template = "{{(index (index .NetworkSettings.Ports \"80/tcp\") 0).HostPort}}";
    let port: u16 = barge.inspect("web", template).parse().unwrap();
    await_page(barge.place(), &format!("127.0.0.1:{port}"), "page of web");
}

#[test]
fn a_port_is_chosen_from_a_range() {
    let barge = Barge::with_busybox();
    let held: Vec<TcpListener> = (0..20)
        .map(|_| barge.place().enter(|| TcpListener::bind("127.0.0.1:0")).unwrap())
        .collect();
    // Somebody has the first one; behind it there are enough for a few.
    let taken = held.into_iter().find(|it| it.local_addr().unwrap().port() < u16::MAX - 40);
    let taken = taken.unwrap();
    let first = taken.local_addr().unwrap().port();
    let range = format!("127.0.0.1:{first}-{}:80", first + 40);
    let port = |name: &str| -> u16 {
        let shown = barge.run(["port", name, "80"]).ok().text();
        shown.strip_prefix("127.0.0.1:").unwrap().parse().unwrap()
    };
    for name in ["one", "two"] {
        serve(&barge, name, &[&range]);
        let page = format!("page of {name}");
        await_page(barge.place(), &format!("127.0.0.1:{}", port(name)), &page);
    }
    let (one, two) = (port("one"), port("two"));
    assert!(first < one && one < two && two <= first + 40, "{first} {one} {two}");
    // It is not the first that is free, but the one that it had.
    drop(taken);
    barge.run(["restart", "-t", "0", "two"]).ok();
    assert_eq!(port("two"), two);
    let asked =
        barge.inspect("one", "{{(index (index .HostConfig.PortBindings \"80/tcp\") 0).HostPort}}");
    assert_eq!(asked, format!("{first}-{}", first + 40));
    let line = ["run", "-d", "--name", "three", "-p", &range, "-p"];
    let single = format!("127.0.0.1:{one}-{one}:80");
    barge.run([&line[..], &[&single, "busybox", "true"]].concat()).error_has("already in use");
    barge.run(["rm", "-f", "-t", "0", "one", "two", "three"]).ok();
    barge.leaves_nothing();
}

#[test]
fn a_port_that_was_chosen_stays() {
    let barge = Barge::with_busybox();
    serve(&barge, "web", &["80", "127.0.0.1::81-82", "80/udp"]);
    let ports = || barge.run(["port", "web"]).ok().lines();
    let first = ports();
    assert_eq!(first.len(), 4, "{first:?}");
    barge.run(["restart", "-t", "0", "web"]).ok();
    assert_eq!(ports(), first);
    barge.run(["stop", "-t", "0", "web"]).exits(0);
    let port = first[0].rsplit_once(':').unwrap().1.parse().unwrap();
    // Unless somebody else has come meanwhile, who is not in the way.
    let taken = barge.place().enter(|| TcpListener::bind(("0.0.0.0", port))).unwrap();
    barge.run(["start", "web"]).ok();
    let second = ports();
    assert!(second.len() == 4 && second[0] != first[0], "{second:?}");
    drop(taken);
    barge.run(["restart", "-t", "0", "web"]).ok();
    assert_eq!(ports(), second);
    barge.run(["rm", "-f", "-t", "0", "web"]).ok();
    barge.leaves_nothing();
}

#[test]
fn a_port_can_be_bound_to_one_address() {
    let barge = Barge::with_busybox();
    let port = free_port(barge.place());
    serve(&barge, "web", &[&format!("127.0.0.1:{port}:80/tcp")]);
    await_page(barge.place(), &format!("127.0.0.1:{port}"), "page of web");
    // Another address of this machine does not have it.
    assert!(get(barge.place(), &format!("127.0.0.2:{port}")).is_err());
}

#[test]
fn published_ports_survive_a_restart_of_the_container() {
    let barge = Barge::with_busybox();
    let port = free_port(barge.place());
    serve(&barge, "web", &[&format!("{port}:80")]);
    await_page(barge.place(), &format!("127.0.0.1:{port}"), "page of web");
    barge.run(["restart", "-t", "0", "web"]).ok();
    await_page(barge.place(), &format!("127.0.0.1:{port}"), "page of web");
    barge.run(["stop", "-t", "0", "web"]).exits(0);
    barge.run(["start", "web"]).ok();
    await_page(barge.place(), &format!("127.0.0.1:{port}"), "page of web");
}

#[test]
fn udp_ports_are_published() {
    if !needs(&[Need::UdpAnswers]) {
        return;
    }
    let barge = Barge::with_busybox();
    let port = free_port(barge.place());
    let publish = format!("{port}:53/udp");
    let line = [
        "run",
        "-d",
        "--name",
        "echo",
        "-p",
        &publish,
        "builtin/host",
        "socat",
        "UDP4-LISTEN:53,fork",
        "EXEC:cat",
    ];
    barge.run(line).ok();
    let answered = |socket: &UdpSocket| {
        let mut buffer = [0; 16];
        socket.send(b"ping").is_ok()
            && socket.recv(&mut buffer).is_ok_and(|count| &buffer[..count] == b"ping")
    };
    let socket = barge.place().enter(|| UdpSocket::bind("127.0.0.1:0")).unwrap();
    socket.connect(("127.0.0.1", port)).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    wait_until("the echo answers", || answered(&socket));
}

#[test]
fn a_published_port_is_reached_from_elsewhere_and_between_containers() {
    if !needs(&[Need::Root]) {
        return;
    }
    let barge = Barge::with_busybox();
    let far = Place::network();
    barge.place().connect(&far, "10.99.0.1/24", "10.99.0.2/24");
    let port = free_port(barge.place());
    serve(&barge, "web", &[&format!("{port}:80")]);
    await_page(barge.place(), &format!("127.0.0.1:{port}"), "page of web");
    await_page(&far, &format!("10.99.0.1:{port}"), "page of web");
    await_page(barge.place(), &format!("10.99.0.1:{port}"), "page of web");
    let template = "{{.NetworkSettings.IPAddress}}";
    let address = barge.inspect("web", template);
    for target in [format!("{address} 80"), format!("10.99.0.1 {port}")] {
        let ask = "printf 'GET / HTTP/1.0\\r\\n\\r\\n'";
        let script = format!("{ask} | nc -w 10 {target} | tail -n 1");
        let line = ["run", "--rm", "busybox", "sh", "-c", &script];
        barge.run(line).ok().stdout("page of web\n");
        // And from the container itself.
        barge.run(["exec", "web", "sh", "-c", &script]).ok().stdout("page of web\n");
    }
}

#[test]
fn containers_reach_the_outside_with_the_address_of_the_host() {
    if !needs(&[Need::Root]) {
        return;
    }
    let barge = Barge::with_busybox();
    let far = Place::network();
    barge.place().connect(&far, "10.99.0.1/24", "10.99.0.2/24");
    let listener = far.enter(|| TcpListener::bind("10.99.0.2:7777")).unwrap();
    let line =
        ["run", "-d", "busybox", "sh", "-c", "echo hello | nc -w 10 10.99.0.2 7777; sleep 1000"];
    barge.run(line).ok();
    let (mut stream, peer) = listener.accept().unwrap();
    let mut text = [0; 6];
    stream.read_exact(&mut text).unwrap();
    assert_eq!((&text, peer.ip().to_string().as_str()), (b"hello\n", "10.99.0.1"));
    // Nobody out there reaches a port that is not published.
    let id = serve(&barge, "web", &[]);
    let address = barge.inspect(&id, "{{.NetworkSettings.IPAddress}}");
    await_page(barge.place(), &format!("{address}:80"), "page of web");
}

#[test]
fn addresses_are_given_back() {
    if !needs(&[Need::Root]) {
        return;
    }
    let barge = Barge::with_busybox();
    let script = "ip -4 -o addr show | awk '!/127.0.0.1/ {print $4}'";
    let line = ["run", "--rm", "busybox", "sh", "-c", script];
    barge.run(line).ok().stdout("10.88.0.2/16\n");
    for _ in 0..5 {
        barge.run(line).ok();
    }
    barge.leaves_nothing();
}

#[test]
fn other_tables_of_the_firewall_are_left_alone() {
    if !needs(&[Need::Root]) {
        return;
    }
    let barge = Barge::with_busybox();
    let rules = "add table inet mine; add chain inet mine c { type filter hook input priority 0; }; add rule inet mine c tcp dport 9 drop";
    barge.other_command("nft", [rules]).run().ok();
    let mine = || barge.other_command("nft", ["list", "table", "inet", "mine"]).run().ok().text();
    let before = mine();
    let port = free_port(barge.place());
    let id = serve(&barge, "web", &[&format!("{port}:80")]);
    assert_eq!(mine(), before);
    barge.run(["rm", "-f", "-t", "0", &id]).ok();
    assert_eq!(mine(), before);
}

#[test]
fn a_killed_monitor_leaves_no_network_behind() {
    let barge = Barge::with_busybox();
    barge.kills();
    let port = free_port(barge.place());
    let publish = format!("{port}:80");
    let id = serve(&barge, "web", &[&publish]);
    await_page(barge.place(), &format!("127.0.0.1:{port}"), "page of web");
    let monitor = super::support::leaks::processes()
        .into_iter()
        .find(|process| {
            let line = process.command_line();
            line.contains("monitor") && line.contains(&id)
        })
        .unwrap();
    super::support::tool("kill", ["-9", &monitor.pid.to_string()]);
    barge.await_status("web", "exited");
    barge.run(["rm", "web"]).ok();
    barge.leaves_nothing();
    serve(&barge, "web", &[&publish]);
    await_page(barge.place(), &format!("127.0.0.1:{port}"), "page of web");
}

#[test]
fn rootless_containers_have_a_network_of_their_own() {
    if !needs(&[Need::NoRoot]) {
        return;
    }
    let barge = Barge::with_busybox();
    assert!(!is_root());
    let line = ["run", "--rm", "busybox", "sh", "-c", "readlink /proc/self/ns/net"];
    let own = std::fs::read_link("/proc/self/ns/net").unwrap();
    let inside = barge.run(line).ok().text();
    assert_ne!(inside, own.to_string_lossy());
    // The host's own services on loopback stay out of reach unless they are asked for.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let script = format!("nc -w 2 127.0.0.1 {port} < /dev/null; echo $?");
    barge.run(["run", "--rm", "busybox", "sh", "-c", &script]).exits(0).stdout("1\n");
}
