//! Networks that are shared: without root, bridges in a namespace that all containers of a user share;
//! and those of containers that others run with.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use super::support::leaks::processes;
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
fn page(barge: &Barge, from: &str, host: &str) -> String {
    let script = format!("printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 5 {host} 80 | tail -n 1");
    barge.run(["exec", from, "sh", "-c", &script]).text()
}

/// Gets it from this machine.
fn get(address: &str) -> String {
    let address: SocketAddr = address.parse().unwrap();
    let mut answer = String::new();
    if let Ok(mut stream) = TcpStream::connect_timeout(&address, Duration::from_secs(5)) {
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        // Whoever hangs up has no page.
        drop(stream.write_all(b"GET / HTTP/1.0\r\n\r\n"));
        drop(stream.read_to_string(&mut answer));
    }
    answer.lines().last().unwrap_or_default().to_owned()
}

/// Returns the process IDs of those that keep networks for a store, and of what leads out of them.
fn keepers(barge: &Barge) -> Vec<u32> {
    let runroot = barge.runroot().to_string_lossy().into_owned();
    let found = processes().into_iter().filter(|process| {
        !process.is_zombie()
            && process.command_line().starts_with(&format!("barge: network {runroot}"))
    });
    found.map(|process| process.pid).collect()
}

fn pid_of_monitor(barge: &Barge, name: &str) -> nix::unistd::Pid {
    let pid = barge.inspect(name, "{{.State.ConmonPid}}").parse().unwrap();
    nix::unistd::Pid::from_raw(pid)
}

fn kill(pid: nix::unistd::Pid) {
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
}

#[test]
fn containers_without_root_are_on_networks() {
    if !needs(&[Need::NoRoot]) {
        return;
    }
    let barge = Barge::with_busybox();
    let [port, other] = [free_port(barge.place()), free_port(barge.place())];
    barge.run(["network", "create", "--subnet", "10.71.0.0/24", "--ipv6", "a"]).ok();
    barge.run(["network", "create", "--subnet", "10.72.0.0/24", "b"]).ok();
    assert!(keepers(&barge).is_empty());
    serve(&barge, "one", &["--network", "a", "--ip", "10.71.0.7", "-p", &format!("{port}:80")]);
    serve(&barge, "two", &["--network", "a:alias=second"]);
    let publish = format!("127.0.0.1:{other}:80");
    serve(&barge, "three", &["--network", "b", "-p", &publish]);
    assert_eq!(keepers(&barge).len(), 1);
    for (from, host, want) in [
        ("two", "one", "page of one"),
        ("two", "10.71.0.7", "page of one"),
        ("one", "second", "page of two"),
        // Networks are walls, for names as for packets.
        ("three", "one", ""),
        ("three", "10.71.0.7", ""),
    ] {
        assert_eq!(page(&barge, from, host), want, "{from} {host}");
    }
    // From this machine, by both versions of IP, and from other containers.
    for (address, want) in [
        (format!("127.0.0.1:{port}"), "page of one"),
        (format!("[::1]:{port}"), "page of one"),
        (format!("127.0.0.1:{other}"), "page of three"),
        (format!("[::1]:{other}"), ""),
    ] {
        assert_eq!(get(&address), want, "{address}");
    }
    let taken = format!("{port}:81");
    let line = ["run", "--rm", "--network", "a", "-p", &taken, "busybox", "true"];
    barge.run(line).fails(126).error_has("cannot publish port");
    // While it runs.
    assert_eq!(page(&barge, "three", "second"), "");
    barge.run(["network", "connect", "a", "three"]).ok();
    assert_eq!(page(&barge, "three", "second"), "page of two");
    assert_eq!(page(&barge, "two", "three"), "page of three");
    barge.run(["network", "disconnect", "b", "three"]).ok();
    assert_eq!(page(&barge, "three", "second"), "page of two");
    wait_until("the port leads to the other address", || {
        get(&format!("127.0.0.1:{other}")) == "page of three"
    });
    barge.run(["network", "reload", "-a"]).ok();
    assert_eq!(page(&barge, "two", "one"), "page of one");
    barge.run(["restart", "-t", "0", "one"]).ok();
    wait_until("it serves again", || get(&format!("127.0.0.1:{port}")) == "page of one");
    barge.run(["rm", "-f", "-t", "0", "one", "two", "three"]).ok();
    wait_until("the namespace is gone", || keepers(&barge).is_empty());
    assert!(!barge.runroot().join("netns").exists());
    barge.run(["network", "rm", "a", "b"]).ok();
    barge.leaves_nothing();
}

#[test]
fn containers_without_root_reach_the_machines_network() {
    if !needs(&[Need::NoRoot]) {
        return;
    }
    let barge = Barge::with_busybox();
    // The address by which this machine is known to others: pasta leads there and no further.
    let Ok(address) = UdpSocket::bind("0.0.0.0:0").and_then(|socket| {
        socket.connect("192.0.2.1:9")?;
        socket.local_addr()
    }) else {
        return;
    };
    barge.run(["network", "create", "n"]).ok();
    let script = "ip route | grep -c ^default; cat /etc/resolv.conf | grep nameserver";
    let line = ["run", "--rm", "--network", "n", "busybox", "sh", "-c", script];
    barge.run(line).ok().stdout("1\nnameserver 127.0.0.11\n");
    // Loopback of the machine stays its own.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    for host in ["127.0.0.1".to_owned(), address.ip().to_string()] {
        let script = format!("nc -w 2 {host} {port} < /dev/null; echo $?");
        let line = ["run", "--rm", "--network", "n", "busybox", "sh", "-c", &script];
        barge.run(line).exits(0).stdout("1\n");
    }
    wait_until("the namespace is gone", || keepers(&barge).is_empty());
    barge.leaves_nothing();
}

#[test]
fn published_datagrams_are_passed_on_without_root() {
    if !needs(&[Need::NoRoot]) {
        return;
    }
    let barge = Barge::with_busybox();
    let port = free_port(barge.place());
    barge.run(["network", "create", "n"]).ok();
    let publish = format!("127.0.0.1:{port}:5000/udp");
    let served = ["builtin/host", "socat", "UDP4-LISTEN:5000,fork", "EXEC:cat"];
    let line = ["run", "-d", "--name", "echo", "--network", "n", "-p", &publish];
    barge.run([&line[..], &served].concat()).ok();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let mut answer = [0; 64];
    wait_until("the datagram comes back", || {
        socket.send_to(b"hello", ("127.0.0.1", port)).unwrap();
        socket
            .recv_from(&mut answer)
            .is_ok_and(|(length, from)| &answer[..length] == b"hello" && from.port() == port)
    });
    barge.run(["rm", "-f", "-t", "0", "echo"]).ok();
    wait_until("the namespace is gone", || keepers(&barge).is_empty());
    barge.leaves_nothing();
}

#[test]
fn much_is_passed_on_whole_without_root() {
    if !needs(&[Need::NoRoot]) {
        return;
    }
    const LENGTH: usize = 20 << 20;
    let barge = Barge::with_busybox();
    let port = free_port(barge.place());
    barge.run(["network", "create", "n"]).ok();
    let publish = format!("127.0.0.1:{port}:5000");
    let script = "while true; do nc -l -p 5000 -e cat; done";
    let line = ["run", "-d", "--name", "echo", "--network", "n", "-p", &publish, "busybox"];
    barge.run([&line[..], &["sh", "-c", script]].concat()).ok();
    // Before it listens, whoever comes is hung up on.
    let mut stream = None;
    wait_until("it answers", || {
        let Ok(mut new) = TcpStream::connect(("127.0.0.1", port)) else { return false };
        new.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut byte = [0];
        let answers = new.write_all(b"x").is_ok() && new.read_exact(&mut byte).is_ok();
        stream = Some(new);
        answers
    });
    let mut stream = stream.unwrap();
    let sent: Vec<u8> = (0..LENGTH).map(|at| (at * 7 + at / 251) as u8).collect();
    let mut back = Vec::new();
    thread::scope(|scope| {
        let mut writer = stream.try_clone().unwrap();
        let sent = &sent;
        scope.spawn(move || {
            writer.write_all(sent).unwrap();
            writer.shutdown(std::net::Shutdown::Write).unwrap();
        });
        stream.read_to_end(&mut back).unwrap();
    });
    assert!(sent == back, "{} of {} bytes came back", back.len(), sent.len());
    barge.run(["rm", "-f", "-t", "0", "echo"]).ok();
    barge.leaves_nothing();
}

#[test]
fn a_shared_network_outlives_its_keeper() {
    if !needs(&[Need::NoRoot]) {
        return;
    }
    let barge = Barge::with_busybox();
    barge.kills();
    let port = free_port(barge.place());
    barge.run(["network", "create", "n"]).ok();
    serve(&barge, "one", &["--network", "n", "-p", &format!("{port}:80")]);
    serve(&barge, "two", &["--network", "n"]);
    let before = keepers(&barge);
    kill(nix::unistd::Pid::from_raw(before[0].cast_signed()));
    wait_until("there is another keeper", || {
        let now = keepers(&barge);
        now.len() == 1 && now != before
    });
    assert_eq!(page(&barge, "two", "one"), "page of one");
    serve(&barge, "three", &["--network", "n"]);
    assert_eq!(page(&barge, "three", "one"), "page of one");
    assert_eq!(get(&format!("127.0.0.1:{port}")), "page of one");
    // A monitor that is killed takes its container along, and the next one has its address.
    kill(pid_of_monitor(&barge, "one"));
    wait_until("it has ended", || barge.inspect("one", "{{.State.Status}}") == "exited");
    barge.run(["start", "one"]).ok();
    wait_until("it serves again", || page(&barge, "three", "one") == "page of one");
    // All at once: nothing is left but records, which the next command repairs.
    for name in ["one", "two", "three"] {
        kill(pid_of_monitor(&barge, name));
    }
    wait_until("the namespace is gone", || keepers(&barge).is_empty());
    barge.run(["rm", "-f", "-a"]).ok();
    barge.run(["network", "rm", "n"]).ok();
    barge.leaves_nothing();
}

#[test]
fn many_first_starts_at_once_share_one_namespace() {
    if !needs(&[Need::NoRoot]) {
        return;
    }
    let barge = Barge::with_busybox();
    barge.run(["network", "create", "n"]).ok();
    let line = ["run", "-d", "--network", "n", "busybox", "sleep", "1000"];
    let starts: Vec<_> = (0..8).map(|_| barge.command(line).spawn()).collect();
    for start in starts {
        start.wait().ok();
    }
    assert_eq!(keepers(&barge).len(), 1);
    let template = "{{(index .NetworkSettings.Networks \"n\").IPAddress}}";
    let ids = barge.run(["ps", "-q"]).ok().lines();
    let mut addresses: Vec<_> = ids.iter().map(|id| barge.inspect(id, template)).collect();
    addresses.sort();
    addresses.dedup();
    assert_eq!(addresses.len(), 8);
    barge.run(["rm", "-f", "-t", "0", "-a"]).ok();
    wait_until("the namespace is gone", || keepers(&barge).is_empty());
    barge.leaves_nothing();
}

/// Returns the network namespace that a container is in, and its addresses there.
fn network_of(barge: &Barge, name: &str) -> [String; 2] {
    let script = "readlink /proc/self/ns/net; \
                  ip -4 -o addr | awk '$2 != \"lo\" {print $4}' | sort";
    let text = barge.run(["exec", name, "sh", "-c", script]).text();
    let (namespace, addresses) = text.split_once('\n').unwrap_or((&text, ""));
    [namespace.to_owned(), addresses.trim().to_owned()]
}

fn start<const N: usize>(barge: &Barge, line: [&str; N]) {
    barge.run([&["run", "-d"][..], &line].concat()).ok();
}

#[test]
fn running_guests_have_their_network_again() {
    let barge = Barge::with_busybox();
    barge.kills();
    let port = free_port(barge.place());
    let fetch = || barge.place().enter(|| get(&format!("127.0.0.1:{port}")));
    barge.run(["network", "create", "--subnet", "10.73.0.0/24", "n"]).ok();
    barge.run(["network", "create", "--subnet", "10.73.1.0/24", "m"]).ok();
    serve(&barge, "other", &["--network", "n"]);
    let publish = format!("{port}:80");
    let always = "--restart=always";
    let line = ["--hostname=x", "--network=n", always, "-p", &publish, "busybox", "sleep", "1000"];
    barge.run([&["run", "-d", "--name=x"][..], &line].concat()).ok();
    serve(&barge, "guest", &["--network", "container:x"]);
    // By way of another one, which need not run.
    start(&barge, ["--name=second", "--network=container:guest", "busybox", "sleep", "1000"]);
    let line = "echo 10.99.99.99 mine >> /etc/hosts";
    barge.run(["exec", "second", "sh", "-c", line]).ok();
    let hosts = |name: &str| {
        let mut lines = barge.run(["exec", name, "cat", "/etc/hosts"]).ok().lines();
        lines.retain(|line| !line.ends_with("mine"));
        lines.sort();
        lines
    };
    let [namespace, _] = network_of(&barge, "guest");
    let is_there = |when: &str, guests: &[&str], addresses: usize| {
        wait_until(&format!("x runs {when}"), || barge.status("x") == "running");
        let network = network_of(&barge, "x");
        assert_eq!(network[0], namespace, "{when}");
        assert_eq!(network[1].lines().count(), addresses, "{when}: {}", network[1]);
        let own = barge.inspect("x", "{{.NetworkSettings.Networks.n.IPAddress}}");
        assert!(network[1].contains(&format!("{own}/24")), "{when}: {} {own}", network[1]);
        for guest in guests {
            assert_eq!(network_of(&barge, guest), network, "{when}: {guest}");
            let known = format!("grep -c '^{own}\tx$' /etc/hosts");
            barge.run(["exec", guest, "sh", "-c", &known]).ok().stdout("1\n");
            assert_eq!(hosts(guest), hosts("x"), "{when}: {guest}");
            assert_eq!(page(&barge, guest, "other"), "page of other", "{when}: {guest}");
        }
        barge.run(["exec", "second", "grep", "-c", "mine", "/etc/hosts"]).ok().stdout("1\n");
        own
    };
    let serves = |when: &str| {
        assert_eq!(page(&barge, "other", "x"), "page of guest", "{when}");
        assert_eq!(fetch(), "page of guest", "{when}");
    };
    let both = ["guest", "second"];
    let first = is_there("at first", &both, 1);
    serves("at first");

    barge.run(["restart", "-t", "0", "x"]).ok();
    is_there("after a restart", &both, 1);
    serves("after a restart");

    // On one network more, and with another address.
    barge.run(["network", "connect", "m", "x"]).ok();
    wait_until("guests know", || hosts("guest").iter().any(|line| line.starts_with("10.73.1.")));
    is_there("on one network more", &both, 2);
    barge.run(["stop", "-t", "0", "x"]).ok();
    assert_eq!(fetch(), "");
    start(&barge, ["--name=thief", "--network=n", "--ip", &first, "busybox", "sleep", "1000"]);
    barge.run(["start", "x"]).ok();
    let own = is_there("after a start", &both, 2);
    assert_ne!(own, first);
    serves("after a start");
    barge.run(["stop", "-t", "0", "x"]).ok();
    barge.run(["network", "disconnect", "m", "x"]).ok();
    barge.run(["start", "x"]).ok();
    is_there("on one network less", &both, 1);
    serves("on one network less");

    // By its restart policy, and when nobody could tidy up.
    let pid = barge.inspect("x", "{{.State.Pid}}");
    kill(nix::unistd::Pid::from_raw(pid.parse().unwrap()));
    wait_until("it runs again", || {
        let now = barge.inspect("x", "{{.State.Pid}}");
        now != "0" && now != pid && barge.status("x") == "running"
    });
    is_there("by its policy", &both, 1);
    serves("by its policy");
    kill(pid_of_monitor(&barge, "x"));
    wait_until("it has ended", || barge.status("x") == "exited");
    barge.run(["start", "x"]).ok();
    is_there("without its monitor", &both, 1);
    serves("without its monitor");

    // One that shares it through another is enough; that one comes back, too.
    barge.run(["stop", "-t", "0", "guest"]).ok();
    barge.run(["restart", "-t", "0", "x"]).ok();
    is_there("for a guest's guest", &["second"], 1);
    barge.run(["start", "guest"]).ok();
    wait_until("it serves again", || fetch() == "page of guest");
    is_there("with all of them", &both, 1);
    serves("with all of them");

    // Nobody has kept it: it has a new one.
    barge.run(["stop", "-t", "0", "second", "guest", "x"]).ok();
    barge.run(["start", "x"]).ok();
    assert_eq!(network_of(&barge, "x")[1].lines().count(), 1);
    barge.run(["rm", "-f", "-t", "0", "second", "guest", "x", "other", "thief"]).ok();
    barge.run(["network", "rm", "n", "m"]).ok();
    barge.leaves_nothing();
}

#[test]
fn running_guests_have_networks_of_programs_again() {
    if !needs(&[Need::NoRoot, Need::Tool("pasta"), Need::Tool("slirp4netns")]) {
        return;
    }
    let barge = Barge::with_busybox();
    barge.kills();
    let port = free_port(barge.place());
    let publish = format!("127.0.0.1:{port}:80");
    for network in ["pasta", "slirp4netns", "none"] {
        let mut line = vec!["run", "-d", "--name", "x", "--network", network];
        if network != "none" {
            line.extend(["-p", &publish]);
        }
        line.extend(["busybox", "sleep", "1000"]);
        barge.run(line).ok();
        serve(&barge, "guest", &["--network", "container:x"]);
        let before = network_of(&barge, "guest");
        assert_eq!(before[1].is_empty(), network == "none", "{network}");
        let is_same = |when: &str| {
            for name in ["guest", "x"] {
                let now = network_of(&barge, name);
                assert_eq!(now, before, "{network} {when}: {name}");
            }
            if network != "none" {
                assert_eq!(get(&format!("127.0.0.1:{port}")), "page of guest", "{network} {when}");
            }
        };
        is_same("at first");
        barge.run(["restart", "-t", "0", "x"]).ok();
        is_same("after a restart");
        kill(pid_of_monitor(&barge, "x"));
        wait_until("it has ended", || barge.status("x") == "exited");
        // The program that had it ends by itself.
        wait_until("the port is free", || TcpListener::bind(("127.0.0.1", port)).is_ok());
        barge.run(["start", "x"]).ok();
        is_same("without its monitor");
        barge.run(["rm", "-f", "-t", "0", "guest", "x"]).ok();
    }
    barge.leaves_nothing();
}

#[test]
fn networks_of_others_users_are_not_found_again() {
    let barge = Barge::with_busybox();
    start(&barge, ["--name=x", "--userns=auto:size=2000", "busybox", "sleep", "1000"]);
    start(&barge, ["--name=guest", "--network=container:x", "busybox", "sleep", "1000"]);
    let before = network_of(&barge, "guest");
    assert_eq!(before[0], network_of(&barge, "x")[0]);
    barge.run(["restart", "-t", "0", "x"]).exits(0).stdout("x\n").stderr_has(
        "Warning: what shares its network has none until it is started again (guest): the namespace belongs to the user namespace of the last run\n",
    );
    let now = network_of(&barge, "x");
    assert_ne!(now[0], before[0]);
    assert_eq!(now[1].lines().count(), 1, "{}", now[1]);
    barge.run(["restart", "-t", "0", "guest"]).ok();
    assert_eq!(network_of(&barge, "guest"), now);
    barge.run(["rm", "-f", "-t", "0", "guest", "x"]).ok();
    barge.leaves_nothing();
}
