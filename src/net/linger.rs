//! Network namespaces that outlive their last process.
//!
//! The kernel says good-bye to the other end of a TCP connection for as long as it takes, minutes if nobody
//! answers. Its socket keeps the namespace meanwhile, and that keeps all interfaces in it.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileExt;

use crate::sys::netns;

/// What tells of the TCP sockets in a namespace: opened while there is a process in it, and read when
/// there is none, without entering it.
#[derive(Debug)]
pub(super) struct Sockets(Vec<(File, &'static str)>);

impl Sockets {
    /// Looks into the namespace of a process.
    pub(super) fn of(pid: i32) -> io::Result<Self> {
        Self::open(|name| File::open(format!("/proc/{pid}/net/{name}")))
    }

    /// Looks into a namespace that nobody may be in yet.
    pub(super) fn in_namespace(netns: BorrowedFd<'_>) -> io::Result<Self> {
        Self::open(|name| {
            let path = CString::new(format!("/proc/self/net/{name}"))?;
            netns::file_in(netns, &path)
        })
    }

    fn open(open: impl Fn(&str) -> io::Result<File>) -> io::Result<Self> {
        let mut files = Vec::with_capacity(2);
        for (name, word) in [("sockstat", "TCP:"), ("sockstat6", "TCP6:")] {
            match open(name) {
                Ok(file) => files.push((file, word)),
                // A kernel without IPv6.
                Err(error) if error.kind() == io::ErrorKind::NotFound && !files.is_empty() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Self(files))
    }

    /// Tells whether there are any, of processes or of none.
    pub(super) fn are_there(&self) -> io::Result<bool> {
        for (file, word) in &self.0 {
            let mut text = [0; 1024];
            let length = file.read_at(&mut text, 0)?;
            if in_use(&String::from_utf8_lossy(&text[..length]), word) > 0 {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Reads how many sockets of one kind there are: `TCP: inuse 3 orphan 0 …`, of which the others are of all
/// namespaces.
fn in_use(text: &str, kind: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(kind)).unwrap_or_default();
    let mut words = line.split_whitespace().skip_while(|word| *word != "inuse").skip(1);
    words.next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn counts_sockets() {
        let text =
            "sockets: used 9\nTCP: inuse 12 orphan 3 tw 0 alloc 20 mem 0\nUDP: inuse 4 mem 0\n";
        assert_eq!((in_use(text, "TCP:"), in_use(text, "UDP:")), (12, 4));
        assert_eq!((in_use(text, "TCP6:"), in_use("TCP: inuse", "TCP:")), (0, 0));
    }

    #[test]
    fn sees_sockets() {
        let sockets = Sockets::of(std::process::id().cast_signed()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(sockets.are_there().unwrap());
        drop(listener);
        assert!(Sockets::of(i32::MAX).is_err());
    }
}
