//! Descriptors that the asynchronous runtime watches.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::unix::AsyncFd;

/// Has the runtime of this thread watch a descriptor.
pub fn watched(file: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: it owns the descriptor, which is the same and open until it goes.
    unsafe { AsyncFd::register(file) }.map_err(|error| error.into_parts().1)
}
