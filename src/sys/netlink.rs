//! A blocking netlink socket: requests, dumps and transactions.
//!
//! The kernel works while it is being written to, so the answer lies ready when the write returns;
//! nothing here waits for anybody. Payloads are bytes: what they mean is the caller's business.

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::sockopt::{self, Timeout};
use rustix::net::{RecvFlags, SendFlags};

use super::netns;

/// Flags of a message; see netlink(7).
pub mod flags {
    /// Ask for an answer.
    pub const REQUEST: u16 = libc::NLM_F_REQUEST as u16;
    /// Ask for a confirmation.
    pub const ACK: u16 = libc::NLM_F_ACK as u16;
    /// Ask for all objects.
    pub const DUMP: u16 = libc::NLM_F_DUMP as u16;
    /// Make the object if it is not there.
    pub const CREATE: u16 = libc::NLM_F_CREATE as u16;
    /// Fail if the object is there.
    pub const EXCL: u16 = libc::NLM_F_EXCL as u16;
    /// Put the object in the place of its like.
    pub const REPLACE: u16 = libc::NLM_F_REPLACE as u16;
    /// Put the object behind its like.
    pub const APPEND: u16 = libc::NLM_F_APPEND as u16;
}

const HEADER: usize = 16;
/// What a socket may send at once without asking for more.
const USUAL_SEND_BUFFER: usize = 200 << 10;

/// A subsystem of the kernel that talks netlink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Interfaces, addresses, routes.
    Route,
    /// Firewall.
    Netfilter,
}

/// A netlink socket.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

/// Which message of a transaction the kernel refused, and why.
#[derive(Debug)]
pub struct Refused {
    /// Sequence number of the message; that of the first one if the whole was refused.
    pub sequence: u32,
    /// The reason.
    pub error: io::Error,
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self { sequence: 0, error }
    }
}

/// A message that came in.
struct Incoming<'a> {
    kind: u16,
    sequence: u32,
    payload: &'a [u8],
}

impl Socket {
    /// Opens a socket in the caller's network namespace.
    pub fn open(protocol: Protocol) -> io::Result<Self> {
        let own = rustix::net::socket_with(
            rustix::net::AddressFamily::NETLINK,
            rustix::net::SocketType::RAW,
            rustix::net::SocketFlags::CLOEXEC,
            match protocol {
                // The number is zero, which the type leaves out.
                Protocol::Route => None,
                Protocol::Netfilter => Some(rustix::net::netlink::NETFILTER),
            },
        )?;
        Self::with(own)
    }

    /// Opens a socket in another network namespace.
    pub fn open_in(netns: BorrowedFd<'_>, protocol: Protocol) -> io::Result<Self> {
        let number = match protocol {
            Protocol::Route => libc::NETLINK_ROUTE,
            Protocol::Netfilter => libc::NETLINK_NETFILTER,
        };
        Self::with(netns::socket_in(netns, libc::AF_NETLINK, libc::SOCK_RAW, number)?)
    }

    fn with(fd: OwnedFd) -> io::Result<Self> {
        // Confirmations without a copy of the request: thousands of ports must not overflow us.
        set_option(&fd, libc::NETLINK_CAP_ACK, 1)?;
        // The kernel answers at once; a kernel that does not must not hang a container for ever.
        sockopt::set_socket_timeout(&fd, Timeout::Recv, Some(Duration::from_secs(30)))?;
        Ok(Self { fd, sequence: 0, buffer: vec![0; 32 << 10] })
    }

    /// Sends one request and waits for its confirmation; answers before it go to `each`.
    pub fn request(
        &mut self,
        kind: u16,
        extra: u16,
        payload: &[u8],
        mut each: impl FnMut(u16, &[u8]),
    ) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1).max(1);
        let sequence = self.sequence;
        let mut message = Vec::with_capacity(HEADER + payload.len());
        append(&mut message, kind, flags::REQUEST | flags::ACK | extra, sequence, payload);
        self.send(&message)?;
        loop {
            let mut end = None;
            self.receive(|incoming| {
                if incoming.sequence != sequence || end.is_some() {
                    return;
                }
                match i32::from(incoming.kind) {
                    libc::NLMSG_ERROR | libc::NLMSG_DONE => end = Some(outcome(incoming.payload)),
                    _ => each(incoming.kind, incoming.payload),
                }
            })?;
            if let Some(end) = end {
                return end;
            }
        }
    }

    /// Sends a transaction: messages numbered from `first` to `last`, of which each that wants a
    /// confirmation, and at least the last one that is not a closing bracket, has the flag for it.
    pub fn transact(&mut self, messages: &[u8], first: u32, last: u32) -> Result<(), Refused> {
        if messages.len() > USUAL_SEND_BUFFER {
            let size = messages.len() * 2;
            sockopt::set_socket_send_buffer_size_force(&self.fd, size).map_err(io::Error::from)?;
        }
        self.send(messages)?;
        let mut refused: Option<Refused> = None;
        loop {
            let mut done = false;
            self.receive(|incoming| {
                if i32::from(incoming.kind) != libc::NLMSG_ERROR
                    || !(first..=last).contains(&incoming.sequence)
                {
                    return;
                }
                let answer = outcome(incoming.payload);
                // A transaction that is refused as a whole is answered under its first number.
                done |=
                    incoming.sequence == last || (incoming.sequence == first && answer.is_err());
                if let Err(error) = answer
                    && refused.is_none()
                {
                    refused = Some(Refused { sequence: incoming.sequence, error });
                }
            })?;
            if done {
                return refused.map_or(Ok(()), Err);
            }
        }
    }

    fn send(&self, message: &[u8]) -> io::Result<()> {
        let sent =
            rustix::io::retry_on_intr(|| rustix::net::send(&self.fd, message, SendFlags::empty()))?;
        if sent == message.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }

    /// Reads one datagram and hands out its messages.
    fn receive(&mut self, mut each: impl FnMut(Incoming<'_>)) -> io::Result<()> {
        let (_, length) = rustix::io::retry_on_intr(|| {
            rustix::net::recv(&self.fd, self.buffer.as_mut_slice(), RecvFlags::TRUNC)
        })?;
        messages(self.buffer.get(..length).ok_or(io::ErrorKind::InvalidData)?, &mut each);
        Ok(())
    }
}

/// Hands out the messages of a datagram.
fn messages(datagram: &[u8], each: &mut dyn FnMut(Incoming<'_>)) {
    let mut rest = datagram;
    while let Some((incoming, next)) = split(rest) {
        each(incoming);
        rest = next;
    }
}

/// Reads a datagram as if the kernel had sent it; what its messages carry goes to `each`.
#[cfg(fuzzing)]
pub fn read(datagram: &[u8], mut each: impl FnMut(&[u8])) {
    messages(datagram, &mut |incoming| {
        drop(outcome(incoming.payload));
        each(incoming.payload);
    });
}

/// Hears of changes of the firewall of one network namespace. Never blocks.
#[derive(Debug)]
pub struct Changes(OwnedFd);

impl Changes {
    /// Begins to listen for transactions of which the first message is of one of these kinds; in
    /// the caller's namespace, or in another one.
    ///
    /// Others do not even wake us: the kernel looks at the kind.
    pub fn of_firewall(netns: Option<BorrowedFd<'_>>, kinds: &[u16]) -> io::Result<Self> {
        let socket = match netns {
            Some(netns) => Socket::open_in(netns, Protocol::Netfilter),
            None => Socket::open(Protocol::Netfilter),
        }?;
        let number = |at: usize| u8::try_from(at).map_err(io::Error::other);
        let code = |code: u32| u16::try_from(code).map_err(io::Error::other);
        let step = |code: u16, jt: u8, jf: u8, k: u32| libc::sock_filter { code, jt, jf, k };
        // The kind is behind the length; the filter reads it as if the first byte were the highest.
        let load = code(libc::BPF_LD | libc::BPF_H | libc::BPF_ABS)?;
        let compare = code(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K)?;
        let answer = code(libc::BPF_RET | libc::BPF_K)?;
        let mut filter = vec![step(load, 0, 0, 4)];
        for (index, kind) in kinds.iter().enumerate() {
            let kind = u16::from_be_bytes(kind.to_ne_bytes());
            filter.push(step(compare, number(kinds.len() - index)?, 0, kind.into()));
        }
        filter.extend([step(answer, 0, 0, 0), step(answer, 0, 0, u32::MAX)]);
        let program = libc::sock_fprog {
            len: u16::try_from(filter.len()).map_err(io::Error::other)?,
            filter: filter.as_mut_ptr(),
        };
        // SAFETY: `program` names `filter` with its length, and both live longer than the call.
        let attached = unsafe {
            libc::setsockopt(
                socket.fd.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_ATTACH_FILTER,
                (&raw const program).cast(),
                size_of_val(&program) as libc::socklen_t,
            )
        };
        if attached < 0 {
            return Err(io::Error::last_os_error());
        }
        // One without an address of its own is told nothing; the kernel finds it one.
        rustix::net::bind(&socket.fd, &SocketAddrNetlink::new(0, 0))?;
        set_option(&socket.fd, libc::NETLINK_ADD_MEMBERSHIP, libc::NFNLGRP_NFTABLES)?;
        Ok(Self(socket.fd))
    }

    /// Tells whether there was a change since the last time. One that was missed is a change, too.
    pub fn take(&self) -> bool {
        let mut some = false;
        loop {
            match rustix::net::recv(&self.0, &mut [0; 16], RecvFlags::DONTWAIT) {
                Ok(_) | Err(rustix::io::Errno::NOBUFS) => some = true,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return some,
            }
        }
    }
}

impl AsFd for Changes {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Appends a message with its header to `buffer`.
pub fn append(buffer: &mut Vec<u8>, kind: u16, flags: u16, sequence: u32, payload: &[u8]) {
    let length = (HEADER + payload.len()) as u32;
    buffer.extend_from_slice(&length.to_ne_bytes());
    buffer.extend_from_slice(&kind.to_ne_bytes());
    buffer.extend_from_slice(&flags.to_ne_bytes());
    buffer.extend_from_slice(&sequence.to_ne_bytes());
    buffer.extend_from_slice(&0u32.to_ne_bytes());
    buffer.extend_from_slice(payload);
    buffer.resize(buffer.len().next_multiple_of(4), 0);
}

/// Takes the first message off `bytes`; `None` at the end or where the bytes make no sense.
fn split(bytes: &[u8]) -> Option<(Incoming<'_>, &[u8])> {
    let header = bytes.first_chunk::<HEADER>()?;
    let half = |at: usize| u16::from_ne_bytes([header[at], header[at + 1]]);
    let word = |at: usize| {
        u32::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
    };
    let length = word(0) as usize;
    let payload = bytes.get(HEADER..length)?;
    let next = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some((Incoming { kind: half(4), sequence: word(8), payload }, next))
}

/// Reads the error number that a confirmation or the end of a dump begins with.
fn outcome(payload: &[u8]) -> io::Result<()> {
    match payload.first_chunk::<4>().map_or(0, |bytes| i32::from_ne_bytes(*bytes)) {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(error.wrapping_neg())),
    }
}

fn set_option(fd: &OwnedFd, option: c_int, value: c_int) -> io::Result<()> {
    // SAFETY: the option is a number, and `value` lives longer than the call.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_NETLINK,
            option,
            (&raw const value).cast(),
            size_of::<c_int>() as libc::socklen_t,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_what_it_appends() {
        let mut bytes = Vec::new();
        append(&mut bytes, 7, flags::REQUEST, 1, b"abc");
        append(&mut bytes, 8, 0, 2, b"");
        let (one, rest) = split(&bytes).unwrap();
        assert_eq!((one.kind, one.sequence, one.payload), (7, 1, &b"abc"[..]));
        let (two, rest) = split(rest).unwrap();
        assert_eq!((two.kind, two.sequence, two.payload), (8, 2, &b""[..]));
        assert!(split(rest).is_none());
    }

    #[test]
    fn stops_at_a_length_that_lies() {
        for length in [0u32, 15, 17, u32::MAX] {
            let mut bytes = length.to_ne_bytes().to_vec();
            bytes.extend_from_slice(&[0; 12]);
            assert!(split(&bytes).is_none(), "{length}");
        }
    }

    #[test]
    fn hears_of_the_firewall_or_says_why_not() {
        match Changes::of_firewall(None, &[1, 2, 3]) {
            Ok(changes) => assert!(!changes.take()),
            Err(error) => assert_eq!(error.raw_os_error(), Some(libc::EPERM)),
        }
    }

    #[test]
    fn asks_for_the_loopback_interface() {
        let mut socket = Socket::open(Protocol::Route).unwrap();
        let mut request = [0u8; 16];
        request[4..8].copy_from_slice(&1u32.to_ne_bytes());
        let mut answers = 0;
        socket.request(libc::RTM_GETLINK, 0, &request, |_, _| answers += 1).unwrap();
        assert_eq!(answers, 1);
        request[4..8].copy_from_slice(&i32::MAX.to_ne_bytes());
        let error = socket.request(libc::RTM_GETLINK, 0, &request, |_, _| ()).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENODEV));
    }
}
