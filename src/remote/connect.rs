//! Ways to another host: each becomes a stream of bytes.

use std::io;
use std::net::ToSocketAddrs;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::address::Address;
use super::choice::Target;
use super::ssh::{self, Tunnel, Way};
use crate::error::{Context, Error, Kind, Result};

/// How long the other side may take to say anything at all.
const PATIENCE: Duration = Duration::from_secs(30);

/// A stream of bytes both ways.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

/// Connects to a host. The program that the stream goes through comes with it, if there is one.
pub(super) async fn connect(target: &Target) -> Result<(Box<dyn Duplex>, Option<Tunnel>)> {
    let context = || format!("cannot connect to {}", target.address);
    match &target.address {
        Address::Unix(path) => {
            let stream = tokio::net::UnixStream::connect(path).await;
            let stream = stream.context(context).map_err(|error| match error.kind() {
                Kind::Denied => error,
                _ => error.kind_is(Kind::Unavailable).hint("is a service running there?"),
            })?;
            Ok((Box::new(stream), None))
        }
        Address::Tcp { host, port, .. } => {
            let secure = target.is_secure();
            let stream = by_tcp(host, Address::port(*port, secure)).await.context(context)?;
            if !secure {
                return Ok((Box::new(stream), None));
            }
            let connector = target.tls.connector().context(context)?;
            let name = ServerName::try_from(host.clone())
                .map_err(|error| Error::new(Kind::Invalid, context()).caused_by(error))?;
            let greeted = timeout(PATIENCE, connector.connect(name, stream)).await;
            let greeted = greeted.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            let stream = greeted.map_err(|error| {
                Error::new(Kind::Unavailable, context())
                    .caused_by(error)
                    .hint("say which authority to trust with --tlscacert, and who you are with --tlscert and --tlskey")
            })?;
            Ok((Box::new(stream), None))
        }
        Address::Ssh { user, host, port, path } => {
            let way = Way {
                destination: &format!("{user}{host}"),
                port: *port,
                path: path.as_deref(),
                identity: target.identity.as_deref(),
            };
            let (tunnel, stream) = ssh::open(&way)?;
            let stream = in_turn(stream).context(context)?;
            Ok((Box::new(stream), Some(tunnel)))
        }
    }
}

/// Hands a socket over to who does not wait for it.
pub(super) fn in_turn(socket: UnixStream) -> io::Result<tokio::net::UnixStream> {
    socket.set_nonblocking(true)?;
    tokio::net::UnixStream::from_std(socket)
}

/// Tries the addresses that a host has. They are looked up here and not by a thread of the runtime: one
/// that is there already would take the signals that are meant for the container.
async fn by_tcp(host: &str, port: u16) -> Result<TcpStream> {
    let found = (host, port).to_socket_addrs();
    let addresses: Vec<_> = found
        .map_err(|error| Error::new(Kind::Unavailable, "cannot find its address").caused_by(error))?
        .collect();
    let mut failure = Error::new(Kind::Unavailable, "it has no address");
    for address in addresses {
        let tried = timeout(PATIENCE, TcpStream::connect(address)).await;
        match tried.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(stream) => {
                // It is about how soon things come, not about whether they do.
                drop(stream.set_nodelay(true));
                return Ok(stream);
            }
            Err(error) => {
                failure = Error::new(Kind::Unavailable, format!("at {address}")).caused_by(error);
            }
        }
    }
    Err(failure)
}
