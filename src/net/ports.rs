//! Published ports: which ones exactly, and sockets that hold them on the host.
//!
//! A published port is taken from the host by binding a socket to it, so a port in use is found
//! before anything is made, and nobody takes it while the container runs. On a bridge the socket
//! never hears anything: the firewall sends what arrives to the container.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::sockopt;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, ipproto, listen};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};

use crate::error::{Context, Error, Kind, Result};
use crate::spec::network::{PortMapping, Protocol};

/// Descriptors that the rest of the process needs besides the held ports.
const OTHER_FILES: u64 = 128;
/// How many connections wait to be let in.
const BACKLOG: i32 = 1024;

/// One port that is published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedPort {
    /// Address on the host; unspecified (`0.0.0.0`) is all of them.
    pub host_ip: IpAddr,
    /// Port on the host.
    pub host_port: u16,
    /// Port in the container.
    pub container_port: u16,
    /// Transport protocol.
    pub protocol: Protocol,
}

/// Who will listen on the host's side of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listener {
    /// Nobody by IPv4: the firewall redirects. The socket is kept. By IPv6 we do.
    Firewall,
    /// We do.
    Relay,
    /// Another program, right after this: the socket only tries whether that can succeed.
    Program,
}

/// A published port at which we let in what arrives.
#[derive(Debug)]
pub(super) struct Door {
    /// Listens on the host, and never blocks.
    pub(super) socket: OwnedFd,
    /// Port in the container.
    pub(super) port: u16,
    /// Transport protocol.
    pub(super) protocol: Protocol,
}

/// Ports that are taken from the host.
#[derive(Debug, Default)]
pub(super) struct Reserved {
    /// Which ones.
    pub(super) ports: Vec<PublishedPort>,
    /// Sockets that keep them from others and hear nothing.
    pub(super) held: Vec<OwnedFd>,
    /// Those that hear.
    pub(super) doors: Vec<Door>,
    /// What the user should know.
    pub(super) warnings: Vec<String>,
}

/// Resolves mappings to single ports and binds each one on the host.
pub(super) fn reserve(mappings: &[PortMapping], listener: Listener) -> Result<Reserved> {
    let count: u64 = mappings.iter().map(|mapping| u64::from(mapping.count)).sum();
    // With the firewall, one socket for each version of IP.
    allow_files(if listener == Listener::Firewall { count * 2 } else { count })?;
    let Reserved { mut ports, mut held, mut doors, mut warnings } = Reserved::default();
    for mapping in mappings {
        for offset in 0..mapping.count {
            let at = |first: u16| {
                first.checked_add(offset).ok_or_else(|| {
                    Error::new(Kind::Invalid, format!("port range of `{mapping}` ends above 65535"))
                })
            };
            let mut port = PublishedPort {
                host_ip: mapping.host_ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
                host_port: mapping.host_port.map(at).transpose()?.unwrap_or(0),
                container_port: at(mapping.container_port)?,
                protocol: mapping.protocol,
            };
            let (is_ipv6, protocol) = (port.host_ip.is_ipv6(), port.protocol);
            let container_port = port.container_port;
            let door = |socket| Door { socket, port: container_port, protocol };
            if protocol == Protocol::Sctp && (is_ipv6 || listener == Listener::Relay) {
                return Err(no_sctp(&port));
            }
            // The sockets stay open until all are bound, even those that are only tried: two
            // mappings must not get the same port.
            let taken = take_one(&mut port, mapping.choices, listener)?;
            let number = taken.as_ref().map_or(port.host_port, |(_, number)| *number);
            if taken.is_none() {
                warnings.push(format!(
                    "port {number}/{protocol} leads to the container, where nobody can listen: this kernel has no SCTP (load the module sctp)"
                ));
            }
            match (listener, taken) {
                (Listener::Relay, Some((socket, _))) => doors.push(door(socket)),
                (Listener::Firewall, Some((socket, _))) if is_ipv6 => doors.push(door(socket)),
                (_, taken) => held.extend(taken.map(|(socket, _)| socket)),
            }
            let everywhere = port.host_ip.is_unspecified() && !is_ipv6;
            if listener == Listener::Firewall && everywhere && protocol != Protocol::Sctp {
                // Those who try `::1` first find it there, too, where there is IPv6.
                let address = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), number);
                doors.extend(listening(address, protocol, true).ok().map(door));
            }
            port.host_port = number;
            ports.push(port);
        }
    }
    if listener == Listener::Program {
        held.clear();
    }
    Ok(Reserved { ports, held, doors, warnings })
}

fn no_sctp(port: &PublishedPort) -> Error {
    let text = format!("cannot publish port `{}/sctp` on `{}`", port.host_port, port.host_ip);
    Error::new(Kind::Unsupported, text)
        .hint("sctp is published by the firewall: as root, on an IPv4 address")
}

/// Raises the soft limit on open files if so many ports do not fit.
fn allow_files(count: u64) -> Result<()> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let needed = count + OTHER_FILES;
    if current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    if maximum.is_some_and(|maximum| maximum < needed) {
        return Err(Error::new(Kind::Unavailable, format!("cannot publish {count} ports"))
            .hint("this needs as many open files: raise the hard limit `ulimit -Hn`"));
    }
    setrlimit(Resource::Nofile, Rlimit { current: Some(needed), maximum })
        .context(|| format!("cannot raise the limit on open files to {needed}"))
}

/// Binds the first of some ports of the host, from the first one on, that is free.
fn take_one(
    port: &mut PublishedPort,
    choices: u16,
    listener: Listener,
) -> Result<Option<(OwnedFd, u16)>> {
    let first = port.host_port;
    for more in 0..choices {
        port.host_port = first.saturating_add(more);
        match take(port, listener) {
            Err(error) if error.kind() == Kind::Conflict && choices > 1 => {}
            other => return other,
        }
    }
    let PublishedPort { host_port, protocol, .. } = port;
    let text = format!("cannot publish a port `{first}-{host_port}/{protocol}`: all are in use");
    Err(Error::new(Kind::Conflict, text).hint("choose another range of host ports"))
}

/// Binds one port; `None` where the kernel has no such sockets to hold it with.
fn take(port: &PublishedPort, listener: Listener) -> Result<Option<(OwnedFd, u16)>> {
    let address = SocketAddr::new(port.host_ip, port.host_port);
    match try_take(address, port.protocol, listener) {
        Ok(socket) => {
            let number = local_port(&socket).context(|| "cannot read a bound port")?;
            Ok(Some((socket, number)))
        }
        // Only SCTP can be missing. The firewall can redirect it all the same.
        Err(Errno::PROTONOSUPPORT) if port.host_port != 0 && listener == Listener::Firewall => {
            Ok(None)
        }
        Err(error) => Err(refusal(address, port.protocol, error)),
    }
}

fn try_take(address: SocketAddr, protocol: Protocol, listener: Listener) -> Result<OwnedFd, Errno> {
    let everywhere = address.ip() == IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    match listener {
        Listener::Firewall if !address.is_ipv4() => return listening(address, protocol, true),
        Listener::Relay if everywhere => {
            // One socket for both versions of IP, where there are both.
            let both = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), address.port());
            return match listening(both, protocol, false) {
                Err(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL) => listening(address, protocol, true),
                other => other,
            };
        }
        Listener::Relay => return listening(address, protocol, true),
        Listener::Firewall | Listener::Program => {}
    }
    // What is listened on next must tolerate, as listeners do, what is left of closed connections.
    if listener == Listener::Firewall || protocol == Protocol::Udp {
        match bound(address, protocol, false, true) {
            Err(Errno::ADDRINUSE) if protocol == Protocol::Tcp => {}
            other => return other,
        }
    }
    // Either somebody listens there or there are only such remains: listening tells.
    let socket = bound(address, protocol, true, true)?;
    listen(&socket, 1)?;
    Ok(socket)
}

/// Makes a socket that hears what arrives, and never blocks; with `only`, none that hears IPv4 by IPv6.
fn listening(address: SocketAddr, protocol: Protocol, only: bool) -> Result<OwnedFd, Errno> {
    let is_tcp = protocol == Protocol::Tcp;
    let socket = bound(address, protocol, is_tcp, only)?;
    if is_tcp {
        listen(&socket, BACKLOG)?;
    }
    rustix::io::ioctl_fionbio(&socket, true)?;
    Ok(socket)
}

fn bound(
    address: SocketAddr,
    protocol: Protocol,
    reuse: bool,
    only: bool,
) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let (kind, number) = match protocol {
        Protocol::Tcp => (SocketType::STREAM, ipproto::TCP),
        Protocol::Udp => (SocketType::DGRAM, ipproto::UDP),
        Protocol::Sctp => (SocketType::STREAM, ipproto::SCTP),
    };
    let socket = rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, Some(number))?;
    if !address.is_ipv4() {
        sockopt::set_ipv6_v6only(&socket, only)?;
    }
    if reuse {
        sockopt::set_socket_reuseaddr(&socket, true)?;
    }
    bind(&socket, &address)?;
    Ok(socket)
}

fn local_port(socket: &OwnedFd) -> io::Result<u16> {
    let address = SocketAddr::try_from(getsockname(socket)?)?;
    Ok(address.port())
}

fn refusal(address: SocketAddr, protocol: Protocol, error: Errno) -> Error {
    let port = address.port();
    let what = match (port, address.ip().is_unspecified()) {
        (0, _) => format!("cannot publish a port on `{}`", address.ip()),
        (_, true) => format!("cannot publish port `{port}/{protocol}`"),
        _ => format!("cannot publish port `{port}/{protocol}` on `{}`", address.ip()),
    };
    let outer = |kind| Error::new(kind, what.clone()).caused_by(io::Error::from(error));
    match error {
        Errno::ADDRINUSE => outer(Kind::Conflict).hint(format!(
            "another program or container has it; see `ss -lnp sport = :{port}`, or choose another \
             host port"
        )),
        Errno::ACCESS | Errno::PERM => outer(Kind::Denied).hint(
            "low ports need root: choose a host port from 1024 on, or lower the setting \
             net.ipv4.ip_unprivileged_port_start",
        ),
        Errno::ADDRNOTAVAIL => {
            outer(Kind::Invalid).hint("this machine does not have the address; see `ip address`")
        }
        Errno::PROTONOSUPPORT => outer(Kind::Unsupported)
            .hint("this kernel has no SCTP, which root alone can publish: load the module sctp"),
        _ => outer(Kind::Internal),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};

    use super::*;

    fn mapping(text: &str) -> PortMapping {
        text.parse().unwrap()
    }

    #[test]
    fn chooses_free_ports_and_holds_them() {
        let Reserved { ports, held, doors, warnings } =
            reserve(&[mapping("127.0.0.1::80-82")], Listener::Firewall).unwrap();
        assert!(doors.is_empty() && warnings.is_empty());
        assert_eq!((ports.len(), held.len()), (3, 3));
        for (port, container) in ports.iter().zip(80..) {
            assert_eq!(port.container_port, container);
            assert_ne!(port.host_port, 0);
            assert!(TcpListener::bind((port.host_ip, port.host_port)).is_err());
        }
        let again = reserve(&[mapping("80")], Listener::Firewall).unwrap();
        for (family, is_heard) in [("127.0.0.1", false), ("::1", true)] {
            let address = (family.parse::<IpAddr>().unwrap(), again.ports[0].host_port);
            assert!(TcpListener::bind(address).is_err(), "{family}");
            // Held, not listened on: only the firewall leads on from there.
            assert_eq!(TcpStream::connect(address).is_ok(), is_heard, "{family}");
        }
    }

    #[test]
    fn chooses_from_a_range() {
        for listener in [Listener::Firewall, Listener::Relay, Listener::Program] {
            // Three in a row that are free are found soon.
            let (first, taken) = (0..100)
                .find_map(|_| {
                    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
                    let first = taken.local_addr().unwrap().port();
                    let more = [first.checked_add(1)?, first.checked_add(2)?];
                    let free = more.map(|port| TcpListener::bind(("127.0.0.1", port)));
                    free.iter().all(std::result::Result::is_ok).then_some((first, taken))
                })
                .unwrap();
            let text = format!("127.0.0.1:{first}-{}:80", first + 2);
            let two = [mapping(&text), mapping(&text)];
            let Reserved { ports, .. } = reserve(&two, listener).unwrap();
            let got: Vec<_> = ports.iter().map(|it| (it.host_port, it.container_port)).collect();
            assert_eq!(got, [(first + 1, 80), (first + 2, 80)], "{listener:?}");
            let three = [two[0].clone(), two[0].clone(), two[0].clone()];
            let error = reserve(&three, listener).unwrap_err();
            assert_eq!(error.kind(), Kind::Conflict);
            assert!(error.to_string().ends_with(": all are in use"), "{error}");
            drop(taken);
        }
    }

    #[test]
    fn listens_where_nobody_else_does() {
        for (text, listener, heard) in [
            ("80", Listener::Relay, &["127.0.0.1", "::1"][..]),
            ("127.0.0.1::80", Listener::Relay, &["127.0.0.1"]),
            ("[::1]::80", Listener::Relay, &["::1"]),
            ("[::1]::80", Listener::Firewall, &["::1"]),
            ("[::]::80", Listener::Firewall, &["::1"]),
        ] {
            let reserved = reserve(&[mapping(text)], listener).unwrap();
            assert_eq!((reserved.held.len(), reserved.doors.len()), (0, 1), "{text}");
            for family in ["127.0.0.1", "::1"] {
                let address = (family.parse::<IpAddr>().unwrap(), reserved.ports[0].host_port);
                let answer = TcpStream::connect(address);
                assert_eq!(answer.is_ok(), heard.contains(&family), "{text} {family}");
            }
        }
        let sctp = mapping("[::1]:5000:5000/sctp");
        for listener in [Listener::Firewall, Listener::Relay] {
            let error = reserve(std::slice::from_ref(&sctp), listener).unwrap_err();
            assert_eq!(error.kind(), Kind::Unsupported);
        }
    }

    #[test]
    fn reports_a_port_in_use() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let (tcp, udp) = (tcp.local_addr().unwrap().port(), udp.local_addr().unwrap().port());
        for listener in [Listener::Firewall, Listener::Relay, Listener::Program] {
            for (text, message) in [
                (format!("{tcp}:80"), format!("cannot publish port `{tcp}/tcp`: address already")),
                (
                    format!("127.0.0.1:{udp}:53/udp"),
                    format!("cannot publish port `{udp}/udp` on `127.0.0.1`: address already"),
                ),
            ] {
                // The second one is still open here: the first is shadowed, not dropped.
                match reserve(&[mapping(&text)], listener) {
                    Err(error) => {
                        assert_eq!(error.kind(), Kind::Conflict, "{text}");
                        assert!(error.to_string().starts_with(&message), "{error}");
                    }
                    Ok(_) => panic!("{text} was free for {listener:?}"),
                }
            }
        }
    }

    #[test]
    fn refuses_two_mappings_of_one_port() {
        for listener in [Listener::Firewall, Listener::Program] {
            let ports = reserve(&[mapping("127.0.0.1::80")], listener).unwrap().ports;
            let port = ports[0].host_port;
            let twice = [mapping(&format!("{port}:80")), mapping(&format!("{port}:81"))];
            let error = reserve(&twice, listener).unwrap_err();
            assert_eq!(error.kind(), Kind::Conflict, "{listener:?}");
        }
    }

    #[test]
    fn tolerates_what_is_left_of_closed_connections() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = server.local_addr().unwrap().port();
        let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        // The side that closes first keeps the port for a minute.
        drop(server.accept().unwrap());
        drop(client);
        drop(server);
        for listener in [Listener::Firewall, Listener::Program] {
            let Reserved { ports, held, doors: _doors, warnings: _ } =
                reserve(&[mapping(&format!("{port}:80"))], listener).unwrap();
            assert_eq!(ports[0].host_port, port);
            assert_eq!(held.len(), usize::from(listener == Listener::Firewall));
            let second = reserve(&[mapping(&format!("{port}:80"))], Listener::Firewall);
            assert_eq!(second.is_err(), listener == Listener::Firewall);
        }
    }

    #[test]
    fn refuses_an_address_of_another_machine() {
        let error = reserve(&[mapping("198.51.100.7:0:80")], Listener::Firewall).unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid);
    }
}
