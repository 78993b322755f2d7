//! Where the service listens.

use std::fs;
use std::io;
use std::net::ToSocketAddrs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use rustix::fs::Mode;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::tls::{self, Secured, TlsFiles};

use crate::engine::own_group;
use crate::error::{Context, Error, Kind, Result};
use crate::sys::{process, spawn};

/// Where to listen, as it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `unix://PATH`: a socket in the file system.
    Unix(PathBuf),
    /// `tcp://HOST:PORT`.
    Tcp(String),
    /// `fd://`: what the service manager has opened for us.
    Inherited,
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let invalid = || {
            Error::new(Kind::Invalid, format!("invalid address `{text}`"))
                .hint("write unix:///PATH, tcp://HOST:PORT or fd://")
        };
        let (scheme, rest) = text.split_once("://").ok_or_else(invalid)?;
        match scheme {
            "unix" if rest.starts_with('/') => Ok(Self::Unix(rest.into())),
            // As Podman takes it: relative to where we are.
            "unix" if !rest.is_empty() => Ok(Self::Unix(rest.into())),
            "tcp" => {
                let (host, port) = rest.rsplit_once(':').ok_or_else(invalid)?;
                port.parse::<u16>().map_err(|_| invalid())?;
                let host = if host.is_empty() { "127.0.0.1" } else { host };
                Ok(Self::Tcp(format!("{host}:{port}")))
            }
            "fd" => Ok(Self::Inherited),
            _ => Err(invalid()),
        }
    }
}

/// How sockets are made.
#[derive(Clone, Debug, Default)]
pub struct ListenOptions {
    /// The group that may connect to a socket in the file system, a name or a number.
    pub group: Option<String>,
    /// Whether TCP without TLS is wanted, on loopback addresses.
    pub plain_loopback: bool,
    /// What TCP with TLS needs.
    pub tls: Option<TlsFiles>,
}

/// A socket that listens.
pub struct Listener {
    socket: Socket,
    /// The file to remove in the end, and its number: it may have been replaced.
    made: Option<(PathBuf, u64)>,
}

enum Socket {
    Unix(UnixListener),
    Tcp(std::net::TcpListener, Option<TlsAcceptor>),
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some((path, number)) = &self.made
            && fs::symlink_metadata(path).is_ok_and(|found| found.ino() == *number)
        {
            // One that stays is replaced by the next service.
            drop(fs::remove_file(path));
        }
    }
}

/// Starts to listen. This process must have a single thread.
pub fn listen(addresses: &[Address], options: &ListenOptions) -> Result<Vec<Listener>> {
    let mut listeners = Vec::new();
    for address in addresses {
        match address {
            Address::Unix(path) => listeners.push(unix(path, options)?),
            Address::Tcp(address) => listeners.extend(tcp(address, options)?),
            Address::Inherited => listeners.extend(inherited(options)?),
        }
    }
    Ok(listeners)
}

fn unix(path: &Path, options: &ListenOptions) -> Result<Listener> {
    let context = || format!("cannot listen at {}", path.display());
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let found = fs::metadata(dir).context(context)?;
    // Whoever may write there could put a socket of their own in its place.
    if found.mode() & 0o1002 == 0o002 {
        return Err(Error::new(
            Kind::Denied,
            format!("cannot listen at {}: everybody may write to the directory", path.display()),
        )
        .hint("choose a directory that is yours"));
    }
    match UnixStream::connect(path) {
        Ok(_) => {
            return Err(Error::new(
                Kind::Conflict,
                format!("cannot listen at {}: a service listens there already", path.display()),
            ));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        // What one has left that was killed.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).context(context)?;
        }
        Err(error) => return Err(error).context(context),
    }
    let group = options.group.as_deref().map(group_number).transpose()?;
    // It has its permissions from the first moment on.
    let before = rustix::process::umask(Mode::from_raw_mode(0o177));
    let bound = UnixListener::bind(path);
    rustix::process::umask(before);
    let socket = bound.context(context)?;
    if let Some(group) = group {
        std::os::unix::fs::chown(path, None, Some(group)).context(context)?;
        open_up(dir, group)?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o660)).context(context)?;
    let number = fs::symlink_metadata(path).context(context)?.ino();
    Ok(Listener { socket: Socket::Unix(socket), made: Some((path.to_owned(), number)) })
}

/// Lets a group pass through a directory that nobody but we could enter.
fn open_up(dir: &Path, group: u32) -> Result<()> {
    let context = || format!("cannot let the group into {}", dir.display());
    let found = fs::metadata(dir).context(context)?;
    if found.mode() & 0o077 == 0 {
        std::os::unix::fs::chown(dir, None, Some(group)).context(context)?;
        fs::set_permissions(dir, fs::Permissions::from_mode(0o710)).context(context)?;
    }
    Ok(())
}

/// Returns the number that a group has for us.
fn group_number(text: &str) -> Result<u32> {
    own_group(machine_group(text)?).map_err(|_| {
        let text = format!("the socket cannot be given to group `{text}` without root");
        Error::new(Kind::Denied, text).hint("name your own group, or one of /etc/subgid")
    })
}

/// Returns the number that a group has on the machine.
fn machine_group(text: &str) -> Result<u32> {
    if let Ok(number) = text.parse() {
        return Ok(number);
    }
    let all = fs::read_to_string("/etc/group").context(|| "cannot read /etc/group")?;
    let found = all.lines().find_map(|line| {
        let mut fields = line.split(':');
        let is_it = fields.next() == Some(text);
        fields.nth(1).filter(|_| is_it)?.parse().ok()
    });
    found.ok_or_else(|| Error::new(Kind::NotFound, format!("no group `{text}`")))
}

fn tcp(address: &str, options: &ListenOptions) -> Result<Vec<Listener>> {
    let context = || format!("cannot listen at {address}");
    let mut listeners = Vec::new();
    let tls = options.tls.as_ref().map(tls::acceptor).transpose()?;
    for found in address.to_socket_addrs().context(context)? {
        if tls.is_none() && !found.ip().is_loopback() {
            return Err(Error::new(
                Kind::Denied,
                format!("cannot listen at {address}: whoever connects there would be root here"),
            )
            .hint("let clients prove who they are with --tls-cert, --tls-key and --tls-client-ca, or use unix:// and ssh"));
        }
        if tls.is_none() && !options.plain_loopback {
            return Err(Error::new(
                Kind::Denied,
                format!("cannot listen at {address}: every user of this machine could connect"),
            )
            .hint("say --plain-loopback if that is fine, or use unix://"));
        }
        let socket = std::net::TcpListener::bind(found).context(context)?;
        listeners.push(Listener { socket: Socket::Tcp(socket, tls.clone()), made: None });
    }
    Ok(listeners)
}

/// Takes over what the service manager has opened.
fn inherited(options: &ListenOptions) -> Result<Vec<Listener>> {
    let tls = options.tls.as_ref().map(tls::acceptor).transpose()?;
    let variable = |name: &str| std::env::var(name).ok()?.parse::<u32>().ok();
    let count = variable("LISTEN_FDS")
        .filter(|_| variable("LISTEN_PID") == Some(std::process::id()))
        .unwrap_or_default();
    if count == 0 {
        return Err(Error::new(Kind::Invalid, "the service manager has opened no socket for us")
            .hint("fd:// is for systemd socket units; elsewhere say unix:///PATH"));
    }
    let first = spawn::FIRST_FILE;
    let count = i32::try_from(count).unwrap_or_default();
    (first..first.saturating_add(count))
        .map(|number| {
            let context = || format!("cannot listen at descriptor {number}");
            let file: OwnedFd = process::inherited(number).context(context)?;
            let domain = rustix::net::sockopt::socket_domain(&file).context(context)?;
            let socket = match domain {
                rustix::net::AddressFamily::UNIX => Socket::Unix(UnixListener::from(file)),
                _ => Socket::Tcp(std::net::TcpListener::from(file), tls.clone()),
            };
            Ok(Listener { socket, made: None })
        })
        .collect()
}

/// A connection, of whatever kind.
pub(super) trait Stream: AsyncRead + AsyncWrite + AsFd + Unpin + Send + Sync {}

impl<T: AsyncRead + AsyncWrite + AsFd + Unpin + Send + Sync> Stream for T {}

/// A socket that accepts connections without holding up others.
pub(super) enum Accepting {
    Unix(tokio::net::UnixListener),
    Tcp(tokio::net::TcpListener, Option<TlsAcceptor>),
}

/// A connection that was accepted.
pub(super) enum Accepted {
    Ready(Box<dyn Stream>),
    /// The client has to greet first.
    Tls(TcpStream, TlsAcceptor),
}

/// How long a client may take to greet.
const GREETING: Duration = Duration::from_secs(10);

impl Accepted {
    /// Waits for the client's greeting, where there is one.
    pub(super) async fn ready(self) -> io::Result<Box<dyn Stream>> {
        match self {
            Self::Ready(stream) => Ok(stream),
            Self::Tls(stream, acceptor) => {
                let greeted = tokio::time::timeout(GREETING, Secured::greet(acceptor, stream));
                Ok(Box::new(greeted.await.map_err(|_| io::ErrorKind::TimedOut)??))
            }
        }
    }
}

impl Listener {
    /// Prepares for [`Accepting::accept`].
    pub(super) fn accepting(&self) -> Result<Accepting> {
        let context = || "cannot listen";
        let copy = |socket: std::os::fd::BorrowedFd<'_>| -> Result<OwnedFd> {
            let copy = socket.try_clone_to_owned().context(context)?;
            rustix::io::ioctl_fionbio(&copy, true).context(context)?;
            Ok(copy)
        };
        Ok(match &self.socket {
            Socket::Unix(socket) => {
                let socket = UnixListener::from(copy(socket.as_fd())?);
                Accepting::Unix(tokio::net::UnixListener::from_std(socket).context(context)?)
            }
            Socket::Tcp(socket, tls) => {
                let socket = std::net::TcpListener::from(copy(socket.as_fd())?);
                let socket = tokio::net::TcpListener::from_std(socket).context(context)?;
                Accepting::Tcp(socket, tls.clone())
            }
        })
    }

    /// Where it listens, for people.
    pub fn shown(&self) -> String {
        match (&self.made, &self.socket) {
            (Some((path, _)), _) => format!("unix://{}", path.display()),
            (None, Socket::Tcp(socket, _)) => {
                socket.local_addr().map_or_else(|_| "tcp".to_owned(), |it| format!("tcp://{it}"))
            }
            (None, Socket::Unix(socket)) => format!("fd://{}", socket.as_raw_fd()),
        }
    }
}

impl Accepting {
    pub(super) async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Unix(socket) => Ok(Accepted::Ready(Box::new(socket.accept().await?.0))),
            Self::Tcp(socket, tls) => {
                let (stream, _) = socket.accept().await?;
                stream.set_nodelay(true)?;
                Ok(match tls {
                    Some(acceptor) => Accepted::Tls(stream, acceptor.clone()),
                    None => Accepted::Ready(Box::new(stream)),
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_addresses() {
        for (text, want) in [
            ("unix:///run/x.sock", Some(Address::Unix("/run/x.sock".into()))),
            ("unix://x.sock", Some(Address::Unix("x.sock".into()))),
            ("tcp://127.0.0.1:2375", Some(Address::Tcp("127.0.0.1:2375".into()))),
            ("tcp://:2375", Some(Address::Tcp("127.0.0.1:2375".into()))),
            ("tcp://[::1]:2375", Some(Address::Tcp("[::1]:2375".into()))),
            ("fd://", Some(Address::Inherited)),
            ("unix://", None),
            ("tcp://host", None),
            ("tcp://host:x", None),
            ("/run/x.sock", None),
            ("http://x", None),
        ] {
            assert_eq!(text.parse::<Address>().ok(), want, "{text}");
        }
    }
}
