//! Networks that users make: the command `network`, and containers on them.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use super::support::place::Place;
use super::support::registry::free_port;
use super::support::{Barge, Need, needs, wait_until};

/// What a container serves that is asked for its name.
const SERVE: &str =
    "mkdir /www; echo page of $HOSTNAME > /www/index.html; exec httpd -f -p 80 -h /www";

fn serve(barge: &Barge, name: &str, flags: &[&str]) {
    let mut line = vec!["run", "-d", "--name", name, "--hostname", name];
    line.extend(flags);
    line.extend(["busybox", "sh", "-c", SERVE]);
    barge.run(line).ok();
    // It listens once its page is there.
    wait_until("the page is there", || page(barge, name, "127.0.0.1").contains("page of"));
}

/// Gets the page at an address, asked from a container; empty if there is none.
fn page(barge: &Barge, from: &str, address: &str) -> String {
    let (host, port) = address.split_once(':').unwrap_or((address, "80"));
    let script = format!("printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 2 {host} {port} | tail -n 1");
    barge.run(["exec", from, "sh", "-c", &script]).text()
}

fn reaches(place: &Place, address: &str) -> bool {
    let address: SocketAddr = address.parse().unwrap();
    place.enter(|| TcpStream::connect_timeout(&address, Duration::from_secs(2)).is_ok())
}

#[test]
fn networks_are_made_shown_and_removed() {
    let barge = Barge::new();
    let headings = barge.run(["network", "ls"]).ok().lines();
    assert_eq!(
        headings[0].split_whitespace().collect::<Vec<_>>(),
        ["NETWORK", "ID", "NAME", "DRIVER"]
    );
    assert!(headings[1].contains(" podman ") && headings[1].ends_with("bridge"), "{headings:?}");
    let line = ["network", "create", "--label", "a=b", "--opt", "mtu=1400", "net1"];
    barge.run(line).ok().stdout("net1\n");
    barge.run(line).fails(125).error_has("network name net1 already used: network already exists");
    barge.run(["network", "create", "--ignore", "net1"]).ok().stdout("net1\n");
    barge.run(["network", "create", "--internal", "--ipv6", "net2"]).ok().stdout("net2\n");
    barge.run(["network", "create"]).ok().stdout("podman1\n");
    barge.run(["network", "ls", "-q"]).ok().stdout("net1\nnet2\npodman\npodman1\n");
    for (filter, want) in [
        ("name=^net", "net1\nnet2\n"),
        ("label=a=b", "net1\n"),
        ("internal=true", "net2\n"),
        ("type=builtin", "podman\n"),
        ("dangling=true", "net1\nnet2\npodman1\n"),
        ("driver=macvlan", ""),
    ] {
        barge.run(["network", "ls", "-q", "--filter", filter]).ok().stdout(want);
    }
    barge.run(["network", "ls", "--filter", "x=y"]).fails(125).error_has("invalid filter \"x\"");
    let shown = barge.run(["network", "inspect", "net1", "net2"]).ok().json();
    assert_eq!(shown[0]["name"], "net1");
    assert_eq!(shown[0]["labels"]["a"], "b");
    assert_eq!(shown[0]["options"]["mtu"], "1400");
    assert_eq!(shown[0]["dns_enabled"], true);
    assert_eq!((&shown[1]["internal"], &shown[1]["ipv6_enabled"]), (&true.into(), &true.into()));
    assert_eq!(shown[1]["subnets"].as_array().unwrap().len(), 2);
    assert_ne!(shown[0]["subnets"][0]["subnet"], shown[1]["subnets"][0]["subnet"]);
    let id = shown[0]["id"].as_str().unwrap().to_owned();
    for name in ["net1", &id, &id[..12], "bridge", "podman"] {
        barge.run(["network", "exists", name]).ok();
    }
    barge.run(["network", "exists", "nosuch"]).exits(1).stdout("");
    let template = "{{.Name}} {{range .Subnets}}{{.Subnet}} {{.Gateway}}{{end}}";
    let text = barge.run(["network", "inspect", "podman", "--format", template]).ok().text();
    assert_eq!(text, "podman 10.88.0.0/16 10.88.0.1");
    barge.run(["network", "inspect", "nosuch"]).exits(125).stdout("[]\n").stderr_has(
        "network nosuch: unable to find network with name or ID nosuch: network not found",
    );
    for (name, status, error) in [
        ("podman", 125, "default network podman cannot be removed"),
        ("bridge", 125, "default network podman cannot be removed"),
        ("nosuch", 1, "unable to find network with name or ID nosuch: network not found"),
    ] {
        barge.run(["network", "rm", name]).fails(status).error_has(error);
    }
    barge.run(["network", "rm", "-f", "nosuch"]).ok().stdout("");
    barge.run(["network", "rm", &id[..12], "net2"]).ok();
    barge.run(["network", "prune", "-f", "--filter", "label=a"]).ok().stdout("");
    barge.run(["network", "prune", "-f"]).ok().stdout("podman1\n");
    barge.run(["network", "ls", "-q"]).ok().stdout("podman\n");
}

#[test]
fn networks_that_cannot_be_are_refused() {
    let barge = Barge::new();
    barge.run(["network", "create", "--subnet", "10.77.0.0/24", "taken"]).ok();
    for (flags, error) in [
        (&["--subnet", "10.77.0.128/25", "n"][..], "subnet 10.77.0.128/25 is already used"),
        (&["--subnet", "10.76.0.0/15", "n"], "is already used on the host or by another config"),
        (&["--subnet", "10.78.0.0/31", "n"], "too small"),
        (&["--subnet", "x", "n"], "invalid"),
        (&["--gateway", "10.78.0.1", "n"], "cannot set gateway without subnet"),
        (
            &["--subnet", "10.78.0.0/24", "--gateway", "10.79.0.1", "n"],
            "gateway 10.79.0.1 not in subnet",
        ),
        (&["--subnet", "10.78.0.0/24", "--gateway", "10.78.0.255", "n"], "cannot be the gateway"),
        (&["--ip-range", "10.78.0.0/28", "n"], "cannot set range without subnet"),
        (&["--subnet", "10.78.0.0/24", "--ip-range", "10.79.0.0/28", "n"], "in no subnet"),
        (&["--driver", "nosuch", "n"], "unsupported driver nosuch"),
        (&["--ipam-driver", "nosuch", "n"], "unsupported ipam driver"),
        (&["--ipam-driver", "none", "--subnet", "10.78.0.0/24", "n"], "none ipam driver"),
        (&["--opt", "nosuch=1", "n"], "unsupported bridge network option nosuch"),
        (&["--opt", "mtu=x", "n"], "mtu=x"),
        (&["--disable-dns", "--dns", "1.1.1.1", "n"], "--disable-dns"),
        (&["--interface-name", "lo", "n"], "invalid name `lo`"),
        (&["a/b"], "names must match"),
        (&["host"], "conflicts with a valid network mode"),
        (&["bridge"], "already used"),
    ] {
        let line = [&["network", "create"], flags].concat();
        let output = barge.run(line);
        assert!(output.errors().contains(error), "{flags:?}: {}", output.story());
        output.exits(125);
    }
    barge.run(["network", "ls", "-q"]).ok().stdout("podman\ntaken\n");
}

#[test]
fn a_network_that_is_routed_elsewhere_is_not_chosen() {
    if !needs(&[Need::Root]) {
        return;
    }
    let barge = Barge::new();
    let far = Place::network();
    barge.place().connect(&far, "10.89.0.1/20", "10.89.0.2/20");
    barge.run(["network", "create", "n"]).ok();
    let template = "{{range .Subnets}}{{.Subnet}}{{end}}";
    barge.run(["network", "inspect", "n", "-f", template]).ok().stdout("10.89.16.0/24\n");
}

#[test]
fn a_container_has_the_address_that_it_asks_for() {
    if !needs(&[Need::Root]) {
        return;
    }
    let barge = Barge::with_busybox();
    barge.run(["network", "create", "--subnet", "10.77.0.0/24", "--opt", "mtu=1280", "n"]).ok();
    let script = "ip -4 -o addr show dev eth0 | awk '{print $4}'; cat /sys/class/net/eth0/address /sys/class/net/eth0/mtu; ip route | grep ^default";
    barge
        .run(["run", "--rm", "--network", "n", "busybox", "sh", "-c", script])
        .ok()
        .stdout("10.77.0.2/24\n06:ba:0a:4d:00:02\n1280\ndefault via 10.77.0.1 dev eth0 \n");
    for flags in [
        &["--network", "n", "--ip", "10.77.0.50", "--mac-address", "92:d0:c6:0a:29:33"][..],
        &["--network", "n:ip=10.77.0.50,mac=92:d0:c6:0a:29:33"],
        &["--network", "name=n,ip=10.77.0.50,mac-address=92:d0:c6:0a:29:33"],
    ] {
        let line = [&["run", "--rm"], flags, &["busybox", "sh", "-c", script]].concat();
        barge
            .run(line)
            .ok()
            .stdout("10.77.0.50/24\n92:d0:c6:0a:29:33\n1280\ndefault via 10.77.0.1 dev eth0 \n");
    }
    let named = "n:interface_name=net9";
    let line = ["run", "--rm", "--network", named, "busybox", "cat", "/sys/class/net/net9/mtu"];
    barge.run(line).ok().stdout("1280\n");
    for (flags, error) in [
        (&["--network", "n", "--ip", "10.78.0.5"][..], "not in any subnet on network n"),
        (&["--network", "n", "--ip6", "fd00::5"], "not in any subnet on network n"),
        (&["--network", "n", "--network", "n"], "network n is given twice"),
        (&["--network", "n", "--network", "host"], "cannot set multiple networks"),
        (&["--network", "nosuch"], "unable to find network with name or ID nosuch"),
        (&["--network", "host", "--ip", "10.77.0.5"], "cannot be set for network mode host"),
    ] {
        let line = [&["run", "--rm"], flags, &["busybox", "true"]].concat();
        barge.run(line).fails(125).error_has(error);
    }
    for address in ["10.77.0.1", "10.77.0.0", "10.77.0.255"] {
        let line = ["run", "--rm", "--network", "n", "--ip", address, "busybox", "true"];
        barge.run(line).fails(125).error_has("cannot be a container's");
    }
    barge.leaves_nothing();
}

#[test]
fn addresses_of_others_are_kept_from_containers() {
    let barge = Barge::with_busybox();
    let line =
        ["network", "create", "--attachable", "--scope", "local", "--subnet", "10.71.0.0/29"];
    let others = ["--aux-address", "router=10.71.0.2", "--aux-address", "nas=10.71.0.4"];
    barge.run([&line[..], &others, &["n"]].concat()).ok().stdout("n\n");
    let template = "{{range .IPAM.Config}}{{.Subnet}} {{.IPRange}} {{.AuxiliaryAddresses}}{{end}}";
    let shown = barge.run(["network", "inspect", "-f", template, "n"]).ok().text();
    assert_eq!(shown, "10.71.0.0/29  map[nas:10.71.0.4 router:10.71.0.2]");
    for (name, last) in [("a", 3), ("b", 5), ("c", 6)] {
        barge.run(["run", "-d", "--name", name, "--network", "n", "busybox", "sleep", "1000"]).ok();
        let address = barge.inspect(name, "{{.NetworkSettings.Networks.n.IPAddress}}");
        assert_eq!(address, format!("10.71.0.{last}"));
    }
    let run = |flags: &[&str]| barge.run([&["run", "--rm"], flags, &["busybox", "true"]].concat());
    run(&["--network", "n"]).error_has("failed to find free IP in range");
    run(&["--network", "n:ip=10.71.0.4"]).error_has("10.71.0.4 is an auxiliary one");
    let create = |flags: &[&str]| barge.run([&["network", "create"], flags, &["m"]].concat());
    create(&["--aux-address", "a=10.72.0.9"]).error_has("a=10.72.0.9 is in no subnet");
    create(&["--aux-address", "10.72.0.9"]).error_has("invalid auxiliary address `10.72.0.9`");
    create(&["--scope", "swarm"]).error_has("swarm");
}

#[test]
fn a_network_in_use_is_not_removed() {
    if !needs(&[Need::Root]) {
        return;
    }
    let barge = Barge::with_busybox();
    barge.run(["network", "create", "n"]).ok();
    let id = barge.run(["create", "--name", "box", "--network", "n", "busybox", "sleep", "1000"]);
    let id = id.ok().text();
    for _ in 0..2 {
        barge.run(["network", "rm", "n"]).fails(2).error_has(
            "\"n\" has associated containers with it. Use -f to forcibly delete containers and pods: network is being used",
        );
        barge.run(["network", "prune", "-f"]).ok().stdout("");
        barge.run(["start", "box"]).ok();
    }
    let shown = barge.run(["network", "inspect", "n"]).ok().json();
    let of_box = &shown[0]["containers"][&id];
    assert_eq!(of_box["name"], "box");
    assert_eq!(of_box["interfaces"]["eth0"]["mac_address"], "06:ba:0a:59:00:02");
    let template = "{{range .Containers}}{{.Name}} {{.IPv4Address}}{{end}}";
    barge.run(["network", "inspect", "n", "-f", template]).ok().stdout("box 10.89.0.2/24\n");
    assert_eq!(
        barge.inspect("box", "{{(index .NetworkSettings.Networks \"n\").IPAddress}}"),
        "10.89.0.2"
    );
    for (filter, want) in [("n", "box\n"), ("podman", ""), ("bridge", "")] {
        let filter = format!("network={filter}");
        barge.run(["ps", "-a", "--filter", &filter, "--format", "{{.Names}}"]).ok().stdout(want);
    }
    barge.run(["network", "rm", "-f", "-t", "0", "n"]).ok().stdout("n\n");
    barge.run(["ps", "-aq"]).ok().stdout("");
    barge.run(["network", "ls", "-q"]).ok().stdout("podman\n");
    barge.leaves_nothing();
    let links = barge.other_command("ip", ["-br", "link"]).run().ok().lines();
    assert_eq!(links.len(), 1, "{links:?}");
}

#[test]
fn networks_are_walls() {
    if !needs(&[Need::Root]) {
        return;
    }
    let barge = Barge::with_busybox();
    let far = Place::network();
    barge.place().connect(&far, "10.99.0.1/24", "10.99.0.2/24");
    for line in [
        &["create", "--subnet", "10.71.0.0/24", "a"][..],
        &["create", "--subnet", "10.72.0.0/24", "b"],
        &["create", "--subnet", "10.73.0.0/24", "--internal", "in"],
        &["create", "--subnet", "10.74.0.0/24", "--opt", "isolate=false", "open1"],
        &["create", "--subnet", "10.75.0.0/24", "--opt", "isolate=false", "open2"],
        &["create", "--subnet", "10.76.0.0/24", "--opt", "isolate=strict", "strict"],
        &[
            "create",
            "--subnet",
            "10.79.0.0/24",
            "-o",
            "com.docker.network.bridge.enable_icc=0",
            "no",
        ],
    ] {
        barge.run([&["network"], line].concat()).ok();
    }
    let port = free_port(barge.place());
    let publish = format!("{port}:80");
    serve(&barge, "a1", &["--network", "a:ip=10.71.0.11", "-p", &publish]);
    serve(&barge, "b1", &["--network", "b:ip=10.72.0.11"]);
    serve(&barge, "in1", &["--network", "in:ip=10.73.0.11"]);
    serve(&barge, "in2", &["--network", "in:ip=10.73.0.12"]);
    serve(&barge, "open1", &["--network", "open1:ip=10.74.0.11"]);
    serve(&barge, "open2", &["--network", "open2:ip=10.75.0.11"]);
    serve(&barge, "strict", &["--network", "strict:ip=10.76.0.11"]);
    serve(&barge, "no1", &["--network", "no:ip=10.79.0.11"]);
    serve(&barge, "no2", &["--network", "no:ip=10.79.0.12"]);
    // On two networks.
    serve(&barge, "ab", &["--network", "a:ip=10.71.0.12", "--network", "b:ip=10.72.0.12"]);
    let outside = far.enter(|| TcpListener::bind("10.99.0.2:80")).unwrap();
    thread::spawn(move || {
        while let Ok((mut stream, _)) = outside.accept() {
            let answer = b"HTTP/1.0 200 OK\r\nContent-Length: 8\r\n\r\noutside\n";
            let _gone = std::io::Write::write_all(&mut stream, answer);
        }
    });
    let here = format!("10.99.0.1:{port}");
    for (from, to, want) in [
        ("a1", "10.71.0.12", "page of ab"),
        ("a1", "10.72.0.11", ""),
        ("b1", "10.71.0.11", ""),
        ("ab", "10.71.0.11", "page of a1"),
        ("ab", "10.72.0.11", "page of b1"),
        ("in1", "10.73.0.12", "page of in2"),
        ("in1", "10.71.0.11", ""),
        ("in1", "10.99.0.2", ""),
        ("a1", "10.73.0.11", ""),
        ("open1", "10.75.0.11", "page of open2"),
        ("open1", "10.71.0.11", ""),
        ("a1", "10.74.0.11", ""),
        ("strict", "10.99.0.2", "outside"),
        ("a1", "10.99.0.2", "outside"),
        ("ab", "10.99.0.2", "outside"),
        ("no1", "10.79.0.12", ""),
        ("no1", "10.99.0.2", "outside"),
        // A published port is for everybody.
        ("b1", &here, "page of a1"),
        ("a1", &here, "page of a1"),
        ("ab", &here, "page of a1"),
    ] {
        assert_eq!(page(&barge, from, to), want, "{from} to {to}");
    }
    assert!(reaches(&far, &format!("10.99.0.1:{port}")));
    let localhost = format!("127.0.0.1:{port}");
    assert!(reaches(barge.place(), &localhost));
    // Nobody out there gets in who only knows the way.
    far.enter(|| {
        let route = ["route", "add", "10.64.0.0/10", "via", "10.99.0.1"];
        super::support::tool("ip", route);
    });
    for address in ["10.71.0.11:80", "10.73.0.11:80"] {
        assert!(!reaches(&far, address), "{address}");
    }
    // What another program has flushed is made anew, all of it, by the next start.
    barge.other_command("nft", ["flush", "ruleset"]).run().ok();
    barge.run(["run", "--rm", "--network", "b", "busybox", "true"]).ok();
    assert_eq!(page(&barge, "b1", "10.71.0.11"), "");
    assert_eq!(page(&barge, "b1", &here), "page of a1");
    assert!(reaches(&far, &format!("10.99.0.1:{port}")));
}

#[test]
fn networks_have_ipv6() {
    if !needs(&[Need::Root]) {
        return;
    }
    let barge = Barge::with_busybox();
    let far = Place::network();
    barge.place().connect(&far, "fd99::1/64", "fd99::2/64");
    wait_until("the far address is usable", || {
        far.enter(|| TcpListener::bind("[fd99::2]:80")).is_ok()
            && barge.place().enter(|| TcpListener::bind("[fd99::1]:81")).is_ok()
    });
    barge.run(["network", "create", "--ipv6", "--subnet", "fd77::/64", "six"]).ok();
    serve(&barge, "web", &["--network", "six:ip=fd77::50"]);
    let script = "ip -6 -o addr show dev eth0 scope global | awk '{print $4}'; printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 5 fd77::50 80 | tail -n 1; ip -4 addr show dev eth0 | wc -l";
    let line = ["run", "--rm", "--network", "six", "busybox", "sh", "-c", script];
    barge.run(line).ok().stdout("fd77::2/64\npage of web\n0\n");
    // The world sees this machine's address.
    let listener = far.enter(|| TcpListener::bind("[fd99::2]:7777")).unwrap();
    let line = ["run", "-d", "--network", "six", "busybox", "nc", "-w", "10", "fd99::2", "7777"];
    barge.run(line).ok();
    assert_eq!(listener.accept().unwrap().1.ip().to_string(), "fd99::1");
    far.enter(|| super::support::tool("ip", ["route", "add", "fd77::/64", "via", "fd99::1"]));
    assert!(!reaches(&far, "[fd77::50]:80"));
}

#[test]
fn networks_of_users_without_root_are_walls_and_have_ipv6() {
    if !needs(&[Need::NoRoot, Need::Tool("pasta")]) {
        return;
    }
    let barge = Barge::with_busybox();
    for line in [
        &["create", "--subnet", "10.71.0.0/24", "a"][..],
        &["create", "--ipv6", "--subnet", "10.72.0.0/24", "--subnet", "fd77::/64", "b"],
        &["create", "--subnet", "10.73.0.0/24", "--internal", "in"],
    ] {
        barge.run([&["network"], line].concat()).ok();
    }
    for (name, networks) in [
        ("a1", &["a:ip=10.71.0.11"][..]),
        ("b1", &["b:ip=10.72.0.11,ip6=fd77::11"]),
        ("ab", &["a:ip=10.71.0.12", "b:ip=10.72.0.12,ip6=fd77::12"]),
        ("in1", &["in:ip=10.73.0.11"]),
        ("in2", &["in:ip=10.73.0.12"]),
    ] {
        let networks = networks.iter().flat_map(|network| ["--network", *network]);
        let line = ["run", "-d", "--name", name, "--hostname", name].into_iter().chain(networks);
        // Another user may have no control groups, and is told so once.
        barge.run(line.chain(["busybox", "sh", "-c", SERVE])).exits(0);
        wait_until("the page is there", || page(&barge, name, "127.0.0.1").contains("page of"));
    }
    for (from, to, want) in [
        ("a1", "10.71.0.12", "page of ab"),
        ("a1", "10.72.0.11", ""),
        ("b1", "10.71.0.11", ""),
        ("ab", "10.72.0.11", "page of b1"),
        ("in1", "10.73.0.12", "page of in2"),
        ("in1", "10.71.0.11", ""),
        ("a1", "10.73.0.11", ""),
    ] {
        assert_eq!(page(&barge, from, to), want, "{from} to {to}");
    }
    for (name, ways) in [("a1", "1\n"), ("in1", "0\n")] {
        let script = "ip route | grep -c ^default; true";
        barge.run(["exec", name, "sh", "-c", script]).ok().stdout(ways);
    }
    // By IPv6, and by names.
    let get = |from: &str, host: &str| {
        let script = format!("printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 2 {host} 80 | tail -n 1");
        barge.run(["exec", from, "sh", "-c", &script]).text()
    };
    assert_eq!(get("ab", "fd77::11"), "page of b1");
    assert_eq!(get("b1", "fd77::12"), "page of ab");
    assert_eq!(get("a1", "fd77::11"), "");
    let script = "nslookup -type=aaaa ab | grep -c 'fd77::12'";
    barge.run(["exec", "b1", "sh", "-c", script]).ok().stdout("1\n");
    barge.run(["rm", "-f", "-t", "0", "-a"]).exits(0);
    barge.leaves_nothing();
}

#[test]
fn addresses_of_a_full_network_are_given_out_once() {
    if !needs(&[Need::Root]) {
        return;
    }
    let barge = Barge::with_busybox();
    barge.kills();
    let line = ["network", "create", "--subnet", "10.77.0.0/24", "--ip-range", "10.77.0.8/30", "n"];
    barge.run(line).ok();
    let start = || barge.run(["run", "-d", "--network", "n", "busybox", "sleep", "1000"]);
    let mut ids = Vec::new();
    for last in 8..12 {
        let id = start().ok().text();
        let template = "{{(index .NetworkSettings.Networks \"n\").IPAddress}}";
        assert_eq!(barge.inspect(&id, template), format!("10.77.0.{last}"));
        ids.push(id);
    }
    start().exits(125).error_has("failed to find free IP in range: 10.77.0.8 - 10.77.0.11");
    let taken = ["run", "--rm", "--network", "n", "--ip", "10.77.0.9", "busybox", "true"];
    barge.run(taken).exits(126).error_has(&format!(
        "requested ip address 10.77.0.9 is already allocated to container ID {}",
        ids[1]
    ));
    // The address of one that was killed with its monitor is free, before anybody has cleaned up.
    kill_monitor(&ids[1]);
    barge.run(taken).ok();
}

#[test]
fn a_dead_container_that_was_alone_on_its_networks_gives_its_address_back() {
    if !needs(&[Need::Root]) {
        return;
    }
    let barge = Barge::with_busybox();
    barge.kills();
    barge.run(["network", "create", "--subnet", "10.77.1.0/24", "n"]).ok();
    barge.run(["network", "create", "other"]).ok();
    let networks = ["--network", "n:ip=10.77.1.9", "--network", "other", "busybox"];
    let id = barge.run([&["run", "-d"], &networks[..], &["sleep", "1000"]].concat()).ok().text();
    kill_monitor(&id);
    barge.run([&["run", "--rm"], &networks[..], &["true"]].concat()).ok();
}

fn kill_monitor(id: &str) {
    let monitor = super::support::leaks::processes().into_iter().find(|process| {
        let line = process.command_line();
        line.contains("monitor") && line.contains(id)
    });
    super::support::tool("kill", ["-9", &monitor.unwrap().pid.to_string()]);
}

#[test]
fn many_start_at_once_and_none_has_anothers_address() {
    if !needs(&[Need::Root]) {
        return;
    }
    let barge = Barge::with_busybox();
    barge.run(["network", "create", "--ipv6", "n"]).ok();
    thread::scope(|scope| {
        for _ in 0..8 {
            let command =
                || barge.command(["run", "-d", "--network", "n", "busybox", "sleep", "1000"]);
            scope.spawn({
                let commands: Vec<_> = (0..4).map(|_| command()).collect();
                move || {
                    for command in commands {
                        command.run().ok();
                    }
                }
            });
        }
    });
    let shown = barge.run(["network", "inspect", "n"]).ok().json();
    let containers = shown[0]["containers"].as_object().unwrap();
    let mut addresses: Vec<String> = containers
        .values()
        .flat_map(|it| it["interfaces"]["eth0"]["subnets"].as_array().unwrap().clone())
        .map(|it| it["ipnet"].to_string())
        .collect();
    addresses.sort();
    addresses.dedup();
    assert_eq!((containers.len(), addresses.len()), (32, 64));
    barge.run(["network", "rm", "-f", "-t", "0", "n"]).ok();
    barge.run(["ps", "-aq"]).ok().stdout("");
    barge.leaves_nothing();
}

#[test]
fn a_running_container_comes_to_networks_and_goes() {
    if !needs(&[Need::Root]) {
        return;
    }
    let barge = Barge::with_busybox();
    barge.run(["network", "create", "--subnet", "10.71.0.0/24", "a"]).ok();
    barge.run(["network", "create", "--subnet", "10.72.0.0/24", "--ipv6", "b"]).ok();
    let port = free_port(barge.place());
    let publish = format!("{port}:80");
    serve(&barge, "web", &["-p", &publish]);
    serve(&barge, "box", &["--network", "b"]);
    let links = || barge.run(["exec", "web", "ls", "/sys/class/net"]).ok().lines().join(" ");
    let networks = || barge.run(["ps", "-f", "name=web", "--format", "{{.Networks}}"]).ok().text();
    let here = format!("127.0.0.1:{port}");
    assert_eq!(page(&barge, "box", "10.88.0.2"), "");
    let connect = ["network", "connect", "--alias", "site", "--ip", "10.72.0.50", "b", "web"];
    barge.run(connect).ok().stdout("");
    barge.run(connect).fails(125).error_has("network is already connected");
    barge.run(["network", "connect", "a", "web"]).ok();
    assert_eq!((links().as_str(), networks().as_str()), ("eth0 eth1 eth2 lo", "podman,b,a"));
    assert_eq!(page(&barge, "box", "10.72.0.50"), "page of web");
    let lookup = |from: &str, name: &str| {
        let script = format!("nslookup {name} | awk '/^Address: [0-9.]*$/ {{print $2}}'");
        barge.run(["exec", from, "sh", "-c", &script]).text()
    };
    for name in ["web", "site"] {
        assert_eq!(lookup("box", name), "10.72.0.50");
    }
    // It was on no network with names, and knows them now.
    wait_until("its questions are answered", || lookup("web", "box") == "10.72.0.2");
    barge.run(["network", "disconnect", "podman", "web"]).ok().stdout("");
    barge
        .run(["network", "disconnect", "podman", "web"])
        .fails(125)
        .error_has("network is not connected");
    assert_eq!((links().as_str(), networks().as_str()), ("eth1 eth2 lo", "b,a"));
    // Its port leads to it all the same, and what has no better way leaves it by another network.
    assert!(reaches(barge.place(), &here));
    let route = "ip route | awk '/^default/ {print $3}'";
    barge.run(["exec", "web", "sh", "-c", route]).ok().stdout("10.72.0.1\n");
    barge.run(["network", "disconnect", "b", "web"]).ok();
    assert_eq!(page(&barge, "box", "10.72.0.50"), "");
    wait_until("the name is gone", || lookup("box", "site").is_empty());
    assert!(reaches(barge.place(), &here));
    // All later runs are as it is now.
    barge.run(["restart", "-t", "0", "web"]).ok();
    assert_eq!((links().as_str(), networks().as_str()), ("eth0 lo", "a"));
    wait_until("it serves again", || reaches(barge.place(), &here));
    barge.run(["network", "disconnect", "a", "web"]).ok();
    assert_eq!((links().as_str(), networks().as_str()), ("lo", ""));
    assert!(!reaches(barge.place(), &here));
    barge.run(["restart", "-t", "0", "web"]).ok();
    assert_eq!(links(), "lo");
    // One that does not run gets it with its next run.
    barge.run(["stop", "-t", "0", "web"]).exits(0);
    barge.run(["network", "connect", "--ip6", "fd00::5", "b", "web"]).fails(125);
    barge.run(["network", "connect", "b", "web"]).ok();
    barge.run(["network", "rm", "b"]).fails(2);
    barge.run(["start", "web"]).ok();
    assert_eq!((links().as_str(), networks().as_str()), ("eth0 lo", "b"));
    barge
        .run(["run", "-d", "--name", "host", "--network", "host", "busybox", "sleep", "1000"])
        .ok();
    let refused = "\"host\" is not supported: invalid network mode";
    barge.run(["network", "connect", "b", "host"]).fails(125).error_has(refused);
    barge.run(["network", "connect", "nosuch", "web"]).fails(125);
    barge.run(["network", "connect", "b", "nosuch"]).fails(125);
    barge.run(["rm", "-f", "-t", "0", "web", "box", "host"]).ok();
    barge.leaves_nothing();
}

#[test]
fn what_others_have_removed_is_made_anew() {
    if !needs(&[Need::Root]) {
        return;
    }
    let barge = Barge::with_busybox();
    let line =
        ["network", "create", "--interface-name", "br-test", "--subnet", "10.71.0.0/24", "a"];
    barge.run(line).ok();
    let port = free_port(barge.place());
    let publish = format!("{port}:80");
    serve(&barge, "one", &["--network", "a", "-p", &publish]);
    serve(&barge, "two", &["--network", "a"]);
    let id = barge.inspect("one", "{{.Id}}");
    let here = format!("127.0.0.1:{port}");
    for (line, stays_lost) in [
        // The monitors may have made the rules anew by now.
        ("nft flush ruleset", false),
        ("ip link del br-test", true),
        ("nft delete table inet x || ip link del br-test; nft flush ruleset", true),
    ] {
        barge.other_command("sh", ["-c", line]).run();
        assert!(!stays_lost || !reaches(barge.place(), &here), "{line}");
        barge.run(["network", "reload", "one"]).ok().stdout(&format!("{id}\n"));
        assert!(reaches(barge.place(), &here), "{line}");
        assert_eq!(page(&barge, "two", "10.71.0.2"), "page of one");
    }
    // Also by whoever comes next.
    barge.other_command("sh", ["-c", "ip link del br-test"]).run();
    barge.run(["run", "--rm", "--network", "a", "busybox", "true"]).ok();
    assert_eq!(page(&barge, "two", "10.71.0.2"), "page of one");
    assert_eq!(barge.run(["network", "reload", "--all"]).ok().lines().len(), 2);
    barge.run(["network", "reload"]).fails(125);
    barge.run(["network", "reload", "nosuch"]).fails(125);
}

#[test]
fn who_has_no_power_over_networks_is_told_so() {
    if !needs(&[Need::Root]) {
        return;
    }
    let barge = Barge::with_busybox();
    let power = ["--bounding-set=-net_admin", "--inh-caps=-net_admin"];
    let program = barge.program().to_string_lossy().into_owned();
    let [root, runroot] =
        [barge.root(), barge.runroot()].map(|path| path.to_string_lossy().into_owned());
    let own = [&program, "--root", &root, "--runroot", &runroot];
    let line = [&power[..], &own, &["run", "--rm", "busybox", "true"]].concat();
    let output = barge.other_command("setpriv", line).run();
    output.exits(126).error_has("cannot make bridge").hint_has("NET_ADMIN");
    barge.leaves_nothing();
}

#[test]
fn name_servers_of_a_network_change() {
    let barge = Barge::new();
    barge.run(["network", "create", "--dns", "192.0.2.1", "a"]).ok();
    let servers =
        || barge.run(["network", "inspect", "a", "-f", "{{.NetworkDNSServers}}"]).ok().text();
    let line =
        ["network", "update", "--dns-drop", "192.0.2.1", "--dns-add", "192.0.2.2,fd00::1", "a"];
    barge.run(line).ok().stdout("");
    assert_eq!(servers(), "[192.0.2.2 fd00::1]");
    barge.run(line).fails(125).error_has("192.0.2.1 is no name server of network a");
    barge.run(["network", "update", "--dns-add", "192.0.2.3", "podman"]).fails(125);
    barge.run(["network", "create", "--disable-dns", "b"]).ok();
    barge.run(["network", "update", "--dns-add", "192.0.2.3", "b"]).fails(125);
}

#[test]
fn containers_are_on_the_network_of_an_interface() {
    if !needs(&[Need::Root]) {
        return;
    }
    let barge = Barge::with_busybox();
    let far = Place::network();
    barge.place().connect(&far, "10.99.0.1/24", "10.99.0.2/24");
    for (flags, error) in [
        (&["-o", "parent=far0", "--ipam-driver", "host-local", "lan"][..], "needs its subnet"),
        (&["-o", "mode=x", "lan"], "mode=x"),
        (&["-o", "isolate=true", "lan"], "unsupported macvlan network option isolate"),
    ] {
        let line = [&["network", "create", "-d", "macvlan"], flags].concat();
        barge.run(line).fails(125).error_has(error);
    }
    barge
        .run(["network", "create", "-o", "parent=far0", "x"])
        .fails(125)
        .error_has("unsupported bridge network option parent");
    let line = ["network", "create", "-d", "macvlan", "-o", "parent=far0"];
    let addresses = ["--subnet", "10.99.0.0/24", "--gateway", "10.99.0.2", "lan"];
    barge.run([&line[..], &addresses].concat()).ok();
    barge.run(["network", "ls", "-q", "--filter", "driver=macvlan"]).ok().stdout("lan\n");
    serve(&barge, "web", &["--network", "lan:ip=10.99.0.50"]);
    // It is a machine like others there, with its own address.
    assert!(reaches(&far, "10.99.0.50:80"));
    let listener = far.enter(|| TcpListener::bind("10.99.0.2:7777")).unwrap();
    let line = ["run", "-d", "--name", "caller", "--network", "lan:ip=10.99.0.51", "busybox"];
    barge.run([&line[..], &["sh", "-c", "nc -w 10 10.99.0.2 7777; sleep 1000"]].concat()).ok();
    assert_eq!(listener.accept().unwrap().1.ip().to_string(), "10.99.0.51");
    assert_eq!(page(&barge, "caller", "10.99.0.50"), "page of web");
    let route = "ip route | awk '/^default/ {print $3}'; nslookup web | grep -c 10.99.0.50";
    barge.run(["exec", "caller", "sh", "-c", route]).ok().stdout("10.99.0.2\n1\n");
    // The firewall has nothing to do with it.
    assert_eq!(barge.other_command("nft", ["list", "ruleset"]).run().ok().text(), "");
    barge.run(["network", "disconnect", "lan", "web"]).ok();
    barge.run(["exec", "web", "ls", "/sys/class/net"]).ok().stdout("lo\n");
    barge.run(["network", "connect", "lan", "web"]).ok();
    // Neither this machine's address nor the gateway's.
    assert!(reaches(&far, "10.99.0.3:80"));
    barge.run(["network", "rm", "-f", "-t", "0", "lan"]).ok();
    let line = ["network", "create", "-d", "macvlan", "-o", "parent=nosuch"];
    barge.run([&line[..], &["--subnet", "10.98.0.0/24", "lan"]].concat()).ok();
    let line = ["run", "--rm", "--network", "lan", "busybox", "true"];
    barge.run(line).fails(125).error_has("no interface `nosuch`");
    barge.leaves_nothing();
}
