//! Sockets between our own processes, and passing descriptors over them.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};

/// Makes two connected sockets: of a stream, or of messages with borders.
pub fn pair(kind: SocketType) -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(rustix::net::socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?)
}

/// Sends one message and, with it, a descriptor.
pub fn send(socket: BorrowedFd<'_>, data: &[u8], file: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let files = file.map(|file| [file]);
    if let Some(files) = &files {
        ancillary.push(SendAncillaryMessage::ScmRights(files));
    }
    let flags = SendFlags::NOSIGNAL;
    rustix::io::retry_on_intr(|| {
        rustix::net::sendmsg(socket, &[IoSlice::new(data)], &mut ancillary, flags)
    })?;
    Ok(())
}

/// Sends one message to an address and, with it, a descriptor.
pub fn send_to(
    socket: BorrowedFd<'_>,
    address: &SocketAddrUnix,
    data: &[u8],
    file: BorrowedFd<'_>,
) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let files = [file];
    ancillary.push(SendAncillaryMessage::ScmRights(&files));
    let flags = SendFlags::NOSIGNAL;
    rustix::io::retry_on_intr(|| {
        let data = [IoSlice::new(data)];
        rustix::net::sendmsg_addr(socket, address, &data, &mut ancillary, flags)
    })?;
    Ok(())
}

/// Receives one message and the descriptor that came with it. No bytes: the other side is gone.
pub fn receive(socket: BorrowedFd<'_>, data: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let mut receive = || {
        rustix::io::retry_on_intr(|| {
            rustix::net::recvmsg(socket, &mut [IoSliceMut::new(data)], &mut ancillary, flags)
        })
    };
    let message = match receive() {
        // The other side has closed with something unread. That is reported once, and before what
        // it sent.
        Err(rustix::io::Errno::CONNRESET) => receive()?,
        other => other?,
    };
    let mut file = None;
    for part in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(mut files) = part {
            file = files.next();
        }
    }
    Ok((message.bytes, file))
}

/// Returns the address of a socket by its path, which may be longer than addresses can be: so it
/// names a directory by a descriptor, which must stay open while the address is used.
pub fn address(path: &Path) -> io::Result<(SocketAddrUnix, OwnedFd)> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
    let dir = rustix::fs::open(parent, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let short = Path::new("/proc/self/fd").join(dir.as_raw_fd().to_string()).join(name);
    Ok((SocketAddrUnix::new(short)?, dir))
}

/// Lets an IPv4 socket have an address that is somebody else's. It takes power over its network
/// namespace.
pub fn set_transparent(socket: BorrowedFd<'_>) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the option is a number, and `on` lives longer than the call.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_IP,
            libc::IP_TRANSPARENT,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if set < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Makes reads and writes return at once instead of waiting.
pub fn set_nonblocking(file: impl AsFd) -> io::Result<()> {
    Ok(rustix::io::ioctl_fionbio(file, true)?)
}
