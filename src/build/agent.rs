//! Sockets of SSH agents, for commands.
//!
//! An agent's own socket is for its user only, who need not be the user of a command. So a command gets
//! a socket of its own, and what comes in there is passed on.

use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::chown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};

use crate::error::{Context, Result};
use crate::store::file;

/// Who does not take an answer for so long gets none.
const PATIENCE: Duration = Duration::from_secs(10);
/// More connections at once are not served.
const MOST: usize = 64;

/// A socket that is served until this is dropped.
#[derive(Debug)]
pub(super) struct Agent {
    path: PathBuf,
    /// When it is closed, the thread ends.
    stop: Option<io::PipeWriter>,
    thread: Option<JoinHandle<()>>,
}

impl Agent {
    /// Makes a socket at a path, for an owner, and passes on what comes in there to an agent.
    pub(super) fn serve(path: &Path, to: &Path, owner: (u32, u32), mode: u32) -> Result<Self> {
        let context = || format!("cannot make socket {}", path.display());
        let parent = path.parent().unwrap_or(Path::new("."));
        let directory = fs::File::open(parent).context(context)?;
        // The path itself may be longer than a socket's may be.
        let name = path.file_name().unwrap_or_default();
        let short = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name);
        let listener = UnixListener::bind(short).context(context)?;
        chown(path, Some(owner.0), Some(owner.1)).context(context)?;
        file::set_mode(path, mode)?;
        let (stopped, stop) = io::pipe().context(context)?;
        let to = to.to_owned();
        let thread = std::thread::Builder::new()
            .name("agent".to_owned())
            // It ends with whoever has made it; a failure is the command's to notice.
            .spawn(move || drop(pass_on(&listener, &stopped.into(), &to)))
            .context(context)?;
        Ok(Self { path: path.to_owned(), stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
        // It goes with its directory otherwise.
        drop(fs::remove_file(&self.path));
    }
}

/// Serves a socket until `stopped` is closed at its other end.
fn pass_on(listener: &UnixListener, stopped: &OwnedFd, to: &Path) -> io::Result<()> {
    let mut pairs: Vec<[UnixStream; 2]> = Vec::new();
    let mut buffer = vec![0; 32 << 10];
    loop {
        let mut files = vec![PollFd::new(stopped, PollFlags::IN)];
        let accepts = if pairs.len() < MOST { PollFlags::IN } else { PollFlags::empty() };
        files.push(PollFd::new(listener, accepts));
        for stream in pairs.iter().flatten() {
            files.push(PollFd::new(stream, PollFlags::IN));
        }
        match poll(&mut files, None) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        let ready: Vec<bool> = files.iter().map(|file| !file.revents().is_empty()).collect();
        drop(files);
        if ready[0] {
            return Ok(());
        }
        let mut number = 0;
        pairs.retain(|pair| {
            let [one, other] = [ready[2 + number], ready[3 + number]];
            number += 2;
            (!one || moved(&pair[0], &pair[1], &mut buffer).is_ok())
                && (!other || moved(&pair[1], &pair[0], &mut buffer).is_ok())
        });
        if ready[1] {
            let client = listener.accept()?.0;
            // An agent that is gone looks like one that hangs up.
            if let Ok(agent) = UnixStream::connect(to) {
                for stream in [&client, &agent] {
                    stream.set_write_timeout(Some(PATIENCE))?;
                }
                pairs.push([client, agent]);
            }
        }
    }
}

/// Moves what is there from one end to the other.
fn moved(mut from: &UnixStream, mut to: &UnixStream, buffer: &mut [u8]) -> io::Result<()> {
    match from.read(buffer)? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        length => to.write_all(&buffer[..length]),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use super::*;

    #[test]
    fn passes_on_both_ways_until_it_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let (theirs, ours) = (dir.path().join("agent"), dir.path().join("socket"));
        let listener = UnixListener::bind(&theirs).unwrap();
        let uid = fs::metadata(dir.path()).unwrap().uid();
        let gid = fs::metadata(dir.path()).unwrap().gid();
        let agent = Agent::serve(&ours, &theirs, (uid, gid), 0o640).unwrap();
        let mode = fs::symlink_metadata(&ours).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
        let mut clients: Vec<UnixStream> =
            (0..2).map(|_| UnixStream::connect(&ours).unwrap()).collect();
        for client in &mut clients {
            let mut accepted = listener.accept().unwrap().0;
            let mut got = [0; 4];
            client.write_all(b"ping").unwrap();
            accepted.read_exact(&mut got).unwrap();
            assert_eq!(&got, b"ping");
            accepted.write_all(b"pong").unwrap();
            client.read_exact(&mut got).unwrap();
            assert_eq!(&got, b"pong");
            drop(accepted);
            assert_eq!(client.read(&mut got).unwrap(), 0, "the agent has hung up");
        }
        drop(agent);
        assert!(!ours.exists());
        UnixStream::connect(&ours).unwrap_err();
    }
}
