//! The user-mode network stacks by name, with options: `--network pasta:…` and `--network slirp4netns:…`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use super::support::place::Place;
use super::support::registry::free_port;
use super::support::{Barge, Need, needs, tool, wait_until};

/// What a container serves that is asked for its name.
const PAGE: &str = "mkdir /www; echo the page > /www/index.html; exec httpd -f -vv -p 80 -h /www";

fn serve(barge: &Barge, name: &str, flags: &[&str]) {
    let line = [&["run", "-d", "--name", name], flags, &["busybox", "sh", "-c", PAGE]].concat();
    // Another user may have no control groups, and is told so once.
    barge.run(line).exits(0);
}

fn reaches(place: &Place, address: &str) -> bool {
    let address: SocketAddr = address.parse().unwrap();
    place.enter(|| {
        let mut answer = String::new();
        TcpStream::connect_timeout(&address, Duration::from_secs(2))
            .and_then(|mut stream| {
                stream.set_read_timeout(Some(Duration::from_secs(5)))?;
                stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
                stream.read_to_string(&mut answer)
            })
            .is_ok_and(|_| answer.contains("the page"))
    })
}

/// Takes one line from whoever connects to a loopback address of the host, and gives that back.
fn hears(place: &Place, run: impl FnOnce(u16)) -> String {
    let listener = place.enter(|| TcpListener::bind("127.0.0.1:0")).unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = thread::spawn(move || {
        let mut line = String::new();
        BufReader::new(listener.accept().unwrap().0).read_line(&mut line).unwrap();
        line
    });
    run(port);
    heard.join().unwrap()
}

#[test]
fn pasta_takes_options() {
    if !needs(&[Need::NoRoot, Need::Tool("pasta")]) {
        return;
    }
    let barge = Barge::with_busybox();
    let script = "cat /sys/class/net/[!l]*/mtu";
    let line = ["run", "--rm", "--network", "pasta:--mtu,1400", "busybox", "sh", "-c", script];
    barge.run(line).exits(0).stdout("1400\n");
    let port = free_port(barge.place());
    let network = format!("pasta:-t,{port}:80");
    serve(&barge, "web", &["--network", &network]);
    let here = format!("127.0.0.1:{port}");
    wait_until("it serves", || reaches(barge.place(), &here));
    assert_eq!(barge.inspect("web", "{{.HostConfig.NetworkMode}}"), "pasta");
    // What listens on loopback here is out of reach unless that is asked for.
    let gateway = "ip route | awk '/^default/ {print $3}'";
    let heard = hears(barge.place(), |port| {
        for (network, status) in [("pasta", 1), ("pasta:--map-gw", 0)] {
            let script = format!("echo from {network} | nc -w 5 $({gateway}) {port}");
            let line = ["run", "--rm", "--network", network, "busybox", "sh", "-c", &script];
            barge.run(line).exits(status);
        }
    });
    assert_eq!(heard, "from pasta:--map-gw\n");
    // Or by loopback in there, port by port.
    let heard = hears(barge.place(), |port| {
        let (network, script) = (format!("pasta:-T,{port}"), format!("nc -w 5 127.0.0.1 {port}"));
        let script = format!("echo through loopback | {script}");
        let line = ["run", "--rm", "--network", &network, "busybox", "sh", "-c", &script];
        barge.run(line).exits(0);
    });
    assert_eq!(heard, "through loopback\n");
    for (network, error) in [
        ("pasta:--nosuch", "pasta failed"),
        ("pasta:mtu=1400", "invalid options of pasta"),
        ("pasta:", "invalid options of pasta"),
    ] {
        barge
            .run(["run", "--rm", "--network", network, "busybox", "true"])
            .fails(125)
            .error_has(error);
    }
    barge.run(["rm", "-f", "-t", "0", "web"]).exits(0);
    barge.leaves_nothing();
}

#[test]
fn slirp4netns_takes_options() {
    if !needs(&[Need::Tool("slirp4netns")]) {
        return;
    }
    let barge = Barge::with_busybox();
    let script = "ip -4 -o addr show dev tap0 | awk '{print $4}'; cat /sys/class/net/tap0/mtu; \
                  grep name /etc/resolv.conf; grep 100 /etc/hosts; grep -c 127 /etc/hosts";
    let network = "slirp4netns:cidr=10.9.9.0/24,mtu=1400";
    let line = ["run", "--rm", "-h", "box", "--name", "box", "--network", network, "busybox"];
    barge
        .run([&line[..], &["sh", "-c", script]].concat())
        .exits(0)
        .stdout("10.9.9.100/24\n1400\nnameserver 10.9.9.3\n10.9.9.100\tbox\n1\n");
    let heard = hears(barge.place(), |port| {
        for (network, status) in [("slirp4netns", 1), ("slirp4netns:allow_host_loopback=true", 0)] {
            let script = format!("echo from {network} | nc -w 5 10.0.2.2 {port}");
            let line = ["run", "--rm", "--network", network, "busybox", "sh", "-c", &script];
            barge.run(line).exits(status);
        }
    });
    assert_eq!(heard, "from slirp4netns:allow_host_loopback=true\n");
    for (network, error) in [
        ("slirp4netns:nosuch=1", "invalid option `nosuch=1` of slirp4netns"),
        ("slirp4netns:cidr=10.9.9.0/28", "invalid option `cidr=10.9.9.0/28`"),
    ] {
        barge
            .run(["run", "--rm", "--network", network, "busybox", "true"])
            .fails(125)
            .error_has(error);
    }
    barge.leaves_nothing();
}

#[test]
fn slirp4netns_publishes_ports() {
    if !needs(&[Need::Tool("slirp4netns")]) {
        return;
    }
    let barge = Barge::with_busybox();
    for network in ["slirp4netns", "slirp4netns:port_handler=slirp4netns"] {
        let port = free_port(barge.place());
        let publish = format!("127.0.0.1:{port}:80");
        serve(&barge, "web", &["--network", network, "-p", &publish]);
        barge.run(["port", "web"]).ok().stdout(&format!("80/tcp -> 127.0.0.1:{port}\n"));
        let here = format!("127.0.0.1:{port}");
        wait_until("it serves", || reaches(barge.place(), &here));
        // Nobody else has the port, and nobody but slirp4netns was to be told of it.
        let line = ["run", "--rm", "--network", network, "-p", &publish, "busybox", "true"];
        barge.run(line).fails(126).error_has("address already in use");
        let left = std::fs::read_dir(barge.runroot()).unwrap();
        let left = left.map(|it| it.unwrap().file_name().into_string().unwrap());
        assert_eq!(left.filter(|name| name.starts_with("slirp")).count(), 0);
        barge.run(["rm", "-f", "-t", "0", "web"]).exits(0);
        assert!(!reaches(barge.place(), &here));
    }
    barge.leaves_nothing();
}

#[test]
fn slirp4netns_shows_where_connections_come_from() {
    if !needs(&[Need::Root, Need::Tool("slirp4netns")]) {
        return;
    }
    let barge = Barge::with_busybox();
    let far = Place::network();
    barge.place().connect(&far, "10.99.0.1/24", "10.99.0.2/24");
    for (network, source) in
        [("slirp4netns", "10.0.2.100"), ("slirp4netns:port_handler=slirp4netns", "10.99.0.2")]
    {
        serve(&barge, "web", &["--network", network, "-p", "8080:80"]);
        wait_until("it serves", || reaches(&far, "10.99.0.1:8080"));
        let seen = format!("{source}]:");
        let plain = format!("{source}:");
        wait_until("it has seen who it was", || {
            let logs = barge.run(["logs", "web"]).story();
            logs.contains(&seen) || logs.contains(&plain)
        });
        barge.run(["rm", "-f", "-t", "0", "web"]).exits(0);
    }
    barge.leaves_nothing();
}

#[test]
fn slirp4netns_leaves_by_the_address_that_is_asked_for() {
    if !needs(&[Need::Root, Need::Tool("slirp4netns")]) {
        return;
    }
    let barge = Barge::with_busybox();
    let far = Place::network();
    barge.place().connect(&far, "10.99.0.1/24", "10.99.0.2/24");
    for (place, addresses) in [
        (barge.place(), &["10.99.0.3/24", "fd99::1/64", "fd99::3/64"][..]),
        (&far, &["fd99::2/64"]),
    ] {
        for address in addresses {
            let mut line = vec!["address", "add", *address, "dev", "far0"];
            if address.contains(':') {
                line.push("nodad");
            }
            place.enter(|| tool("ip", line));
        }
    }
    for (options, address, source) in [
        ("", "10.99.0.2", "10.99.0.1"),
        (":outbound_addr=10.99.0.3", "10.99.0.2", "10.99.0.3"),
        (":outbound_addr=far0", "10.99.0.2", "10.99.0.1"),
        (":enable_ipv6=true,outbound_addr6=fd99::3", "fd99::2", "fd99::3"),
    ] {
        let address: IpAddr = address.parse().unwrap();
        let listener = far.enter(|| TcpListener::bind((address, 0))).unwrap();
        let port = listener.local_addr().unwrap().port();
        let came = thread::spawn(move || listener.accept().unwrap().1.ip().to_string());
        // Its address of IPv6 is announced to it.
        let script = format!(
            "for try in $(seq 100); do nc -w 5 {address} {port} && exit; sleep 0.1; done; exit 1"
        );
        let network = format!("slirp4netns{options}");
        let line = ["run", "--rm", "--network", &network, "busybox", "sh", "-c", &script];
        barge.run(line).exits(0);
        assert_eq!(came.join().unwrap(), source, "{options}");
    }
    barge.leaves_nothing();
}
