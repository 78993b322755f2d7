//! Networks in practice. Each test is a machine of its own: a thread in a new network namespace.
//!
//! They need root and say so where they are left out.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::thread;
use std::time::Duration;

use nix::sched::{CloneFlags, setns, unshare};

use super::*;
use crate::store::lock::Lock;

/// Runs a test on a machine of its own; `None` if that takes privileges that we do not have.
fn machine(test: impl FnOnce() + Send) {
    thread::scope(|scope| {
        let worker = scope.spawn(|| {
            if let Err(error) = unshare(CloneFlags::CLONE_NEWNET) {
                println!("left out, no network namespace: {error}");
                return;
            }
            Links::open().unwrap().set_loopback_up().unwrap();
            test();
        });
        if let Err(panic) = worker.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

fn own_namespace() -> File {
    File::open("/proc/thread-self/ns/net").unwrap()
}

/// Makes a network namespace.
fn namespace() -> File {
    thread::scope(|scope| {
        let worker = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            own_namespace()
        });
        worker.join().unwrap()
    })
}

/// Runs something in a network namespace.
fn within<T: Send>(netns: BorrowedFd<'_>, what: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let worker = scope.spawn(|| {
            setns(netns, CloneFlags::CLONE_NEWNET).unwrap();
            what()
        });
        match worker.join() {
            Ok(value) => value,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// A store in a directory of its own.
struct Place {
    store: Store,
    _directory: tempfile::TempDir,
}

fn place() -> Place {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let store = Store::open(&path.join("root"), &path.join("run")).unwrap();
    Place { store, _directory: directory }
}

fn id(number: u8) -> ContainerId {
    format!("{number:02x}").repeat(32).parse().unwrap()
}

/// A container, as far as the network is concerned.
struct Container {
    id: ContainerId,
    netns: File,
    attached: Attached,
}

impl Container {
    fn start(place: &Place, number: u8, ports: &[&str]) -> Result<Self> {
        let ports: Vec<PortMapping> = ports.iter().map(|port| port.parse().unwrap()).collect();
        let id = id(number);
        let request = Request {
            id: &id,
            name: "test",
            hostname: "test",
            mode: &default_mode(false),
            ports: &ports,
            names: &NameResolution::default(),
            rootless: false,
        };
        let prepared = prepare(&place.store, &request)?;
        let netns = namespace();
        let attached = attach(&place.store, prepared, netns.as_fd())?;
        Ok(Self { id, netns, attached })
    }

    fn address(&self) -> IpAddr {
        self.attached.endpoint.addresses().next().unwrap()
    }

    /// Listens in the container.
    fn listen(&self, port: u16) -> TcpListener {
        within(self.netns.as_fd(), || TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap())
    }
}

/// Connects from a namespace to a listener and returns whom the listener saw, if it worked.
fn reach(
    from: BorrowedFd<'_>,
    to: impl Into<SocketAddr>,
    listener: &TcpListener,
) -> Option<IpAddr> {
    let to = to.into();
    within(from, || call(to, listener))
}

/// Does the same from the namespace where we are.
fn call(to: SocketAddr, listener: &TcpListener) -> Option<IpAddr> {
    let mut client = TcpStream::connect_timeout(&to, Duration::from_secs(2)).ok()?;
    let (mut served, peer) = listener.accept().unwrap();
    served.write_all(b"hello").unwrap();
    drop(served);
    let mut text = String::new();
    client.read_to_string(&mut text).unwrap();
    assert_eq!(text, "hello");
    Some(peer.ip())
}

#[test]
fn containers_on_the_bridge_reach_each_other_and_the_host() {
    machine(|| {
        let place = place();
        let one = Container::start(&place, 1, &[]).unwrap();
        let two = Container::start(&place, 2, &[]).unwrap();
        assert_eq!(one.address().to_string(), "10.88.0.2");
        assert_eq!(two.address().to_string(), "10.88.0.3");
        let listener = two.listen(80);
        let to = (two.address(), 80);
        assert_eq!(reach(one.netns.as_fd(), to, &listener), Some(one.address()));
        let host = own_namespace();
        let gateway = one.attached.endpoint.connections[0].gateways[0];
        assert_eq!(reach(host.as_fd(), to, &listener), Some(gateway));
        let listener = TcpListener::bind("0.0.0.0:81").unwrap();
        assert_eq!(reach(one.netns.as_fd(), (gateway, 81), &listener), Some(one.address()));
        // Loopback is up.
        let listener = one.listen(82);
        assert!(reach(one.netns.as_fd(), (Ipv4Addr::LOCALHOST, 82), &listener).is_some());
    });
}

#[test]
fn detach_frees_the_address_and_can_be_repeated() {
    machine(|| {
        let place = place();
        let _other = Container::start(&place, 9, &[]).unwrap();
        let one = Container::start(&place, 1, &[]).unwrap();
        let network = place.store.network(DEFAULT_NETWORK);
        assert_eq!(network.leases().unwrap().len(), 2);
        for _ in 0..2 {
            detach(&place.store, &one.id).unwrap();
            assert_eq!(network.leases().unwrap().len(), 1);
            assert_eq!(place.store.endpoint::<Endpoint>(&one.id).unwrap(), None);
        }
        // Killed between the lease and its record.
        assert!(network.lease_exactly(Ipv4Addr::new(10, 88, 0, 9).into(), &id(3)).unwrap());
        let mut intent = Endpoint::plain(&NetworkMode::None);
        intent.connections[0].network = DEFAULT_NETWORK.to_owned();
        place.store.save_endpoint(&id(3), &intent).unwrap();
        detach(&place.store, &id(3)).unwrap();
        assert_eq!(network.leases().unwrap().len(), 1);
    });
}

#[test]
fn a_temporary_network_goes_with_its_last_container() {
    machine(|| {
        let place = place();
        let host = own_namespace();
        thread::scope(|scope| {
            for worker in 1..=6 {
                let (place, host) = (&place, &host);
                scope.spawn(move || {
                    setns(host, CloneFlags::CLONE_NEWNET).unwrap();
                    for round in 0..10 {
                        let one = Container::start(place, worker * 16 + round, &[]).unwrap();
                        detach(&place.store, &one.id).unwrap();
                    }
                });
            }
        });
        assert_eq!(ruleset(), "");
        let names = std::process::Command::new("ip").args(["-br", "link"]).output().unwrap();
        let names = String::from_utf8(names.stdout).unwrap();
        assert!(!names.contains("barge"), "{names}");
        assert!(!place.store.runroot().join("networks/bridge").exists());
    });
}

#[test]
fn a_second_start_replaces_what_the_first_one_left() {
    machine(|| {
        let place = place();
        let one = Container::start(&place, 1, &[]).unwrap();
        // As after a kill of the monitor: nothing was given back, the old namespace is still there.
        let again = Container::start(&place, 1, &[]).unwrap();
        let listener = again.listen(80);
        let host = own_namespace();
        assert!(reach(host.as_fd(), (again.address(), 80), &listener).is_some());
        assert_eq!(place.store.network(DEFAULT_NETWORK).leases().unwrap().len(), 1);
        drop(one);
    });
}

#[test]
fn many_first_starts_at_once_share_one_bridge() {
    machine(|| {
        let place = place();
        let machine = own_namespace();
        let addresses: std::collections::BTreeSet<String> = thread::scope(|scope| {
            let workers: Vec<_> = (1..=20)
                .map(|number| {
                    let (place, machine) = (&place, &machine);
                    scope.spawn(move || {
                        setns(machine, CloneFlags::CLONE_NEWNET).unwrap();
                        Container::start(place, number, &[]).unwrap().address().to_string()
                    })
                })
                .collect();
            workers.into_iter().map(|worker| worker.join().unwrap()).collect()
        });
        assert_eq!(addresses.len(), 20);
    });
}

/// Another machine, on the network that this one is on.
fn outside() -> File {
    let netns = namespace();
    let mut links = Links::open().unwrap();
    links.add_bridge("uplink", [0x06, 0, 0, 0, 0, 2], None).unwrap();
    let uplink = links.find("uplink").unwrap().unwrap();
    links.add_address(uplink.index, "192.0.2.2/24".parse().unwrap()).unwrap();
    let veth = link::Veth {
        name: "cable",
        bridge: uplink.index,
        mtu: 1400,
        peer_name: "eth0",
        peer_mac: [0x06, 0, 0, 0, 0, 1],
        peer_netns: netns.as_fd(),
    };
    links.add_veth(&veth).unwrap();
    let mut theirs = Links::open_in(netns.as_fd()).unwrap();
    theirs.set_loopback_up().unwrap();
    let eth0 = theirs.find("eth0").unwrap().unwrap();
    theirs.add_address(eth0.index, "192.0.2.1/24".parse().unwrap()).unwrap();
    theirs.set_up(eth0.index).unwrap();
    // It would use us as its router, as anybody on the network may.
    theirs.add_default_route(eth0.index, "192.0.2.2".parse().unwrap()).unwrap();
    netns
}

fn ruleset() -> String {
    let output = std::process::Command::new("nft").args(["list", "ruleset"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn published_ports_are_reached_from_everywhere() {
    machine(|| {
        let place = place();
        let outside = outside();
        let one = Container::start(&place, 1, &["8080:80", "192.0.2.2:8081:81"]).unwrap();
        let two = Container::start(&place, 2, &["127.0.0.1:8082:80"]).unwrap();
        let listeners = [one.listen(80), one.listen(81), two.listen(80)];
        let host = own_namespace();
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let (gateway, both) = (ip("10.88.0.1"), [one.address(), two.address()]);
        for (from, to, port, want) in [
            (&outside, "192.0.2.2", 8080, Some(ip("192.0.2.1"))),
            (&host, "127.0.0.1", 8080, Some(gateway)),
            (&host, "127.1.2.3", 8080, Some(gateway)),
            (&host, "192.0.2.2", 8080, None),
            (&two.netns, "192.0.2.2", 8080, Some(gateway)),
            (&two.netns, "10.88.0.1", 8080, Some(gateway)),
            (&one.netns, "10.88.0.1", 8080, Some(gateway)),
            (&outside, "192.0.2.2", 8081, Some(ip("192.0.2.1"))),
            (&two.netns, "192.0.2.2", 8081, Some(gateway)),
            (&host, "127.0.0.1", 8082, Some(gateway)),
        ] {
            let listener = &listeners[usize::from(port - 8080_u16)];
            let got = reach(from.as_fd(), (ip(to), port), listener);
            assert!(got.is_some(), "{to}:{port}\n{}", ruleset());
            assert!(want.is_none() || got == want, "{to}:{port} came from {got:?}");
        }
        for (from, to, port) in [
            (&host, "127.0.0.1", 8081),
            (&outside, "192.0.2.2", 8082),
            (&one.netns, "10.88.0.1", 8082),
            // Not published: no business of anybody's outside.
            (&outside, &both[0].to_string(), 80),
        ] {
            let listener = &listeners[0];
            assert_eq!(reach(from.as_fd(), (ip(to), port), listener), None, "{to}:{port}");
        }
        // Bridged packets skip the firewall, or do not, as the machine's owner wants.
        for setting in ["0", "1"] {
            if link::set("net/bridge/bridge-nf-call-iptables", setting).is_err() {
                continue;
            }
            for netns in [&one.netns, &two.netns] {
                for (to, port) in [("10.88.0.1", 8080), ("192.0.2.2", 8081)] {
                    let listener = &listeners[usize::from(port - 8080_u16)];
                    let got = reach(netns.as_fd(), (ip(to), port), listener);
                    assert_eq!(got, Some(gateway), "{setting} {to}:{port}");
                }
                let to = (two.address(), 80);
                assert!(reach(netns.as_fd(), to, &listeners[2]).is_some(), "{setting}");
            }
        }
        detach(&place.store, &one.id).unwrap();
        detach(&place.store, &two.id).unwrap();
        assert_eq!(ruleset(), "");
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, 8080));
        assert_eq!(call(to, &listeners[0]), None);
    });
}

#[test]
fn udp_ports_are_published_too() {
    machine(|| {
        let place = place();
        let one = Container::start(&place, 1, &["127.0.0.1:5353:53/udp"]).unwrap();
        let server = within(one.netns.as_fd(), || UdpSocket::bind("0.0.0.0:53").unwrap());
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        for socket in [&server, &client] {
            socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        }
        client.send_to(b"question", "127.0.0.1:5353").unwrap();
        let mut buffer = [0; 16];
        let (length, from) = server.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"question");
        server.send_to(b"answer", from).unwrap();
        let (length, from) = client.recv_from(&mut buffer).unwrap();
        assert_eq!(
            (&buffer[..length], from.to_string().as_str()),
            (&b"answer"[..], "127.0.0.1:5353")
        );
    });
}

#[test]
fn firewall_rules_come_back() {
    machine(|| {
        let place = place();
        let one = Container::start(&place, 1, &["127.0.0.1:8080:80"]).unwrap();
        let flush = || {
            let status = std::process::Command::new("nft").args(["flush", "ruleset"]).status();
            assert!(status.unwrap().success());
            assert_eq!(ruleset(), "");
        };
        let before = ruleset();
        flush();
        reload(&place.store).unwrap();
        assert_eq!(ruleset(), before);
        // The next start repairs what it finds missing.
        flush();
        let two = Container::start(&place, 2, &["127.0.0.1:8081:80"]).unwrap();
        for (container, port) in [(&one, 8080), (&two, 8081)] {
            let listener = container.listen(80);
            let to = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            assert!(call(to, &listener).is_some(), "{}", ruleset());
        }
        // To give back what is gone already is fine.
        flush();
        detach(&place.store, &one.id).unwrap();
        assert_eq!(place.store.network(DEFAULT_NETWORK).leases().unwrap().len(), 1);
        let alive = place.store.containers().monitor_mark(&two.id);
        std::fs::create_dir_all(alive.parent().unwrap()).unwrap();
        let monitor = Lock::exclusive(&alive).unwrap();
        let error = take_down(&place.store, DEFAULT_NETWORK).unwrap_err();
        assert_eq!(error.kind(), Kind::Conflict);
        // Once its monitor is dead, so is what it holds.
        drop(monitor);
        take_down(&place.store, DEFAULT_NETWORK).unwrap();
        assert_eq!(place.store.endpoints::<Endpoint>().unwrap(), []);
    });
}

#[test]
fn a_port_that_a_dead_container_left_open_is_taken_over() {
    machine(|| {
        let place = place();
        let one = Container::start(&place, 1, &["127.0.0.1:8080:80", "9090:90"]).unwrap();
        let Container { attached, .. } = one;
        drop(attached);
        let two = Container::start(&place, 2, &["127.0.0.1:8080:81", "9090:91"]).unwrap();
        for (port, inner) in [(8080, 81), (9090, 91)] {
            let to = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            assert!(call(to, &two.listen(inner)).is_some(), "{}", ruleset());
        }
        // The dead one is cleaned up later: that must not close what is no longer its own.
        detach(&place.store, &id(1)).unwrap();
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, 8080));
        assert!(call(to, &two.listen(81)).is_some(), "{}", ruleset());
    });
}

#[test]
fn a_thousand_ports_come_and_go() {
    machine(|| {
        let place = place();
        let one = Container::start(&place, 1, &["127.0.0.1:20000-20999:20000-20999"]).unwrap();
        assert_eq!(one.attached.held.len(), 1000);
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, 20999));
        assert!(call(to, &one.listen(20999)).is_some());
        let _other = Container::start(&place, 2, &[]).unwrap();
        detach(&place.store, &one.id).unwrap();
        assert!(!ruleset().contains("elements"), "{}", ruleset());
    });
}

#[test]
fn containers_go_out_under_our_address() {
    machine(|| {
        let place = place();
        let outside = outside();
        let one = Container::start(&place, 1, &[]).unwrap();
        let listener = within(outside.as_fd(), || TcpListener::bind("192.0.2.1:80").unwrap());
        let to: SocketAddr = "192.0.2.1:80".parse().unwrap();
        assert_eq!(reach(one.netns.as_fd(), to, &listener), Some("192.0.2.2".parse().unwrap()));
    });
}

/// Tells whether we are what a monitor without root is: root of a user namespace of its own.
fn in_user_namespace() -> bool {
    let yes = rustix::process::geteuid().is_root() && !crate::sys::userns::is_initial();
    if !yes {
        println!("left out, not in a user namespace; run me by `unshare --user --map-root-user`");
    }
    yes
}

fn start_with_pasta(place: &Place, number: u8, ports: &[&str]) -> Result<(File, Attached)> {
    let ports: Vec<PortMapping> = ports.iter().map(|port| port.parse().unwrap()).collect();
    let request = Request {
        id: &id(number),
        name: "test",
        hostname: "test",
        mode: &default_mode(true),
        ports: &ports,
        names: &NameResolution::default(),
        rootless: true,
    };
    let prepared = prepare(&place.store, &request)?;
    let netns = namespace();
    let attached = attach(&place.store, prepared, netns.as_fd())?;
    Ok((netns, attached))
}

#[test]
fn pasta_publishes_ports_without_root() {
    if !in_user_namespace() {
        return;
    }
    let place = place();
    let (netns, mut attached) =
        start_with_pasta(&place, 1, &["127.0.0.1::80", "0:81", "127.0.0.1::53/udp"]).unwrap();
    let endpoint = &attached.endpoint;
    let connection = &endpoint.connections[0];
    assert_eq!(connection.addresses.len(), 1, "{endpoint:?}");
    assert!(connection.interface.is_some() && connection.mac.is_some(), "{endpoint:?}");
    for (port, container) in endpoint.ports.iter().zip([80, 81]) {
        let listener = within(netns.as_fd(), || {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, container)).unwrap()
        });
        let to = (Ipv4Addr::LOCALHOST, port.host_port);
        assert!(call(to.into(), &listener).is_some(), "{port:?}");
        // A second container cannot have it.
        let error = start_with_pasta(&place, 2, &[&format!("{}:80", port.host_port)]).unwrap_err();
        assert_eq!(error.kind(), Kind::Conflict, "{error}");
    }
    let server = within(netns.as_fd(), || UdpSocket::bind("0.0.0.0:53").unwrap());
    server.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.send_to(b"hello", (Ipv4Addr::LOCALHOST, endpoint.ports[2].host_port)).unwrap();
    let mut buffer = [0; 16];
    assert_eq!(server.recv(&mut buffer).unwrap(), 5);
    attached.helper.take().unwrap().end();
    // The port is free again, whatever connections have left behind.
    let again = format!("{}:80", attached.endpoint.ports[1].host_port);
    let (_netns, second) = start_with_pasta(&place, 2, &[&again]).unwrap();
    second.helper.unwrap().end();
}

#[test]
fn an_offline_machine_runs_containers_without_root() {
    if !in_user_namespace() {
        return;
    }
    machine(|| {
        let (netns, attached) = start_with_pasta(&place(), 1, &[]).unwrap();
        let listener = within(netns.as_fd(), || TcpListener::bind("127.0.0.1:80").unwrap());
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, 80));
        assert!(reach(netns.as_fd(), to, &listener).is_some());
        // Some versions work all the same, the others are left out and the user is told.
        assert_eq!(attached.helper.is_none(), attached.warnings.len() == 1, "{attached:?}");
        if let Some(helper) = attached.helper {
            helper.end();
        }
    });
}
