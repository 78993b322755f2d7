//! A host that the `ssh` program reaches: there, `barge system dial-stdio` connects its standard streams to
//! the service. Its configuration, keys and agent are those of the user.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::SocketType;

use crate::error::{Context, Kind, Result};
use crate::sys::command::apart;
use crate::sys::socket;

/// How long is waited before somebody looks again.
const MOMENT: Duration = Duration::from_millis(10);

/// The program, which ends with this.
#[derive(Debug)]
pub(super) struct Tunnel(Child);

/// Where it goes.
pub(super) struct Way<'a> {
    /// `[USER@]HOST`.
    pub(super) destination: &'a str,
    pub(super) port: Option<u16>,
    /// The socket there, if it is not the usual one.
    pub(super) path: Option<&'a str>,
    /// The user's key, if it is not the usual one.
    pub(super) identity: Option<&'a Path>,
}

/// Starts the program; returns the stream that goes through it.
pub(super) fn open(way: &Way<'_>) -> Result<(Tunnel, UnixStream)> {
    let context = || format!("cannot reach {} by ssh", way.destination);
    let (ours, theirs) = socket::pair(SocketType::STREAM).context(context)?;
    let copy: OwnedFd = theirs.try_clone().context(context)?;
    let mut command = Command::new("ssh");
    command.args(["-o", "ConnectTimeout=30", "-T"]);
    if let Some(port) = way.port {
        command.args(["-p", &port.to_string()]);
    }
    if let Some(identity) = way.identity {
        command.arg("-i").arg(identity);
    }
    command.args(["--", way.destination, "barge"]);
    if let Some(path) = way.path {
        // A shell there splits this into words again.
        command.arg("--url").arg(quoted(&format!("unix://{path}")));
    }
    command.args(["system", "dial-stdio"]).stdin(Stdio::from(theirs)).stdout(Stdio::from(copy));
    // What is typed to interrupt a container is not for it.
    let child = apart(&mut command).spawn();
    let child = child.context(context).map_err(|error| match error.kind() {
        Kind::NotFound => error.hint("install the package openssh-client"),
        _ => error,
    })?;
    Ok((Tunnel(child), UnixStream::from(ours)))
}

/// Writes a word as shells read it.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

impl Tunnel {
    /// Tells how the program ended, if it does so soon: then the host was not reached.
    pub(super) fn failure(&mut self) -> Option<String> {
        let deadline = Instant::now() + Duration::from_secs(2);
        loop {
            match self.0.try_wait() {
                Ok(Some(status)) if status.success() => return None,
                Ok(Some(status)) => {
                    return Some(match status.code() {
                        Some(127) => "there is no `barge` there".to_owned(),
                        _ => format!("`ssh` has ended with {status}"),
                    });
                }
                Ok(None) if Instant::now() < deadline => thread::sleep(MOMENT),
                _ => return None,
            }
        }
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        // Its stream is closed, so it ends by itself; but it may wait for the network.
        let ended: io::Result<_> = self.0.kill().and_then(|()| self.0.wait());
        // One that has ended already cannot be ended.
        drop(ended);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_for_shells() {
        assert_eq!(quoted("unix:///run/b.sock"), "'unix:///run/b.sock'");
        assert_eq!(quoted("it's; rm"), r"'it'\''s; rm'");
    }
}
