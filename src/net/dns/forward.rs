//! Datagrams that were handed on to a name server, and what becomes of them.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::net::{RecvFlags, SendFlags, SocketType};

use super::message::Query;
use super::upstream::Upstream;

/// How long one name server may take before the next one is asked.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often each of them is asked.
const ROUNDS: usize = 2;

/// A query that waits for a name server.
///
/// Each has a socket of its own, with a port that nobody can guess: what comes in on it is from whom was
/// asked.
#[derive(Debug)]
pub(super) struct Pending {
    /// Who wants to know.
    pub(super) client: SocketAddr,
    /// What.
    pub(super) query: Query,
    message: Vec<u8>,
    id: [u8; 2],
    servers: Vec<IpAddr>,
    asked: usize,
    socket: Option<OwnedFd>,
    until: Instant,
}

/// What has become of a query.
pub(super) enum Progress {
    /// It still waits.
    Waiting,
    /// This is the answer.
    Answered(Vec<u8>),
    /// Nobody answers.
    Failed,
}

impl Pending {
    /// Asks the first name server.
    pub(super) fn ask(
        client: SocketAddr,
        query: Query,
        message: &[u8],
        upstream: &mut Upstream,
        netns: BorrowedFd<'_>,
    ) -> Self {
        let mut id = [0; 2];
        // Without random numbers it is the asker's.
        if rustix::rand::getrandom(&mut id, rustix::rand::GetRandomFlags::empty()).is_err() {
            id = query.id();
        }
        let mut message = message.to_vec();
        message[..2].copy_from_slice(&id);
        let servers = upstream.servers().to_vec();
        let until = Instant::now();
        let mut pending =
            Self { client, query, message, id, servers, asked: 0, socket: None, until };
        pending.ask_next(upstream, netns);
        pending
    }

    /// Asks the next name server that can be asked.
    fn ask_next(&mut self, upstream: &Upstream, netns: BorrowedFd<'_>) {
        self.socket = None;
        while self.asked < self.servers.len() * ROUNDS {
            let server = self.servers[self.asked % self.servers.len()];
            self.asked += 1;
            let Ok(socket) = upstream.connect(server, SocketType::DGRAM, netns) else { continue };
            if rustix::net::send(&socket, &self.message, SendFlags::empty()).is_ok() {
                self.socket = Some(socket);
                self.until = Instant::now() + PATIENCE;
                return;
            }
        }
    }

    /// Returns the socket on which the answer comes.
    pub(super) fn file(&self) -> Option<BorrowedFd<'_>> {
        self.socket.as_ref().map(AsFd::as_fd)
    }

    /// Returns when the next name server is to be asked.
    pub(super) fn until(&self) -> Instant {
        self.until
    }

    /// Looks for an answer.
    pub(super) fn look(
        &mut self,
        upstream: &Upstream,
        netns: BorrowedFd<'_>,
        buffer: &mut [u8],
    ) -> Progress {
        // More than a few that are no answer are somebody's bad jokes.
        for _ in 0..4 {
            let Some(socket) = &self.socket else { return Progress::Failed };
            match rustix::net::recv(socket, &mut *buffer, RecvFlags::empty()) {
                Ok((length, _)) => {
                    let message = &buffer[..length];
                    if self.query.is_answered_by(self.id, message) {
                        let mut answer = message.to_vec();
                        answer[..2].copy_from_slice(&self.query.id());
                        return Progress::Answered(answer);
                    }
                }
                Err(rustix::io::Errno::AGAIN) if Instant::now() < self.until => {
                    return Progress::Waiting;
                }
                // Nobody listens there, or nobody answers.
                Err(_) => self.ask_next(upstream, netns),
            }
        }
        Progress::Waiting
    }
}
