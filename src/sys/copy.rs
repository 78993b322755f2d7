//! Copying the data of files: shared where the file system can, else by the kernel, else by hand.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{SeekFrom, Stat, copy_file_range, ftruncate, ioctl_ficlone, seek};
use rustix::io::{Errno, pread, pwrite};

/// Bytes that are copied at once where the kernel cannot do it by itself.
const BUFFER: usize = 256 << 10;

/// Copies data, and remembers what does not work.
#[derive(Debug)]
pub struct Copier {
    /// Whether nothing says yet that files cannot share their data.
    shares_data: bool,
    /// Whether nothing says yet that the kernel cannot copy from file to file.
    kernel_copies: bool,
    /// For what is copied by hand; empty until it is needed.
    buffer: Vec<u8>,
}

impl Default for Copier {
    fn default() -> Self {
        Self { shares_data: true, kernel_copies: true, buffer: Vec::new() }
    }
}

impl Copier {
    /// Copies the data of a file of which this is known to an empty file, without its holes.
    pub fn copy(&mut self, from: impl AsFd, to: impl AsFd, found: &Stat) -> io::Result<()> {
        let (from, to) = (from.as_fd(), to.as_fd());
        let size = u64::try_from(found.st_size).unwrap_or(0);
        if size == 0 {
            // The kernel's own files do not tell how long they are.
            return self.by_hand(from, to, 0, u64::MAX);
        }
        if self.shares_data {
            match ioctl_ficlone(to, from) {
                Ok(()) => return Ok(()),
                // For this file only, as one that is encrypted or used as swap.
                Err(Errno::INVAL | Errno::PERM | Errno::TXTBSY) => {}
                Err(Errno::OPNOTSUPP | Errno::NOTTY | Errno::XDEV | Errno::NOSYS) => {
                    self.shares_data = false;
                }
                Err(error) => return Err(error.into()),
            }
        }
        // It counts in such blocks whatever the file system's are.
        if u64::try_from(found.st_blocks).unwrap_or(0).saturating_mul(512) >= size {
            return self.part(from, to, 0, size);
        }
        let mut offset = 0;
        while offset < size {
            let Some((start, end)) = next_data(from, offset, size)? else { break };
            self.part(from, to, start, end)?;
            offset = end;
        }
        // A hole at the end.
        Ok(ftruncate(to, size)?)
    }

    fn part(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        start: u64,
        end: u64,
    ) -> io::Result<()> {
        let mut offset = start;
        while self.kernel_copies && offset < end {
            let length = usize::try_from(end - offset).unwrap_or(usize::MAX);
            let (mut here, mut there) = (offset, offset);
            match copy_file_range(from, Some(&mut here), to, Some(&mut there), length) {
                // Some file systems say so where they should fail.
                Ok(0) => self.kernel_copies = false,
                Ok(length) => offset += length as u64,
                Err(Errno::INTR) => {}
                Err(Errno::NOSYS | Errno::OPNOTSUPP | Errno::XDEV | Errno::INVAL | Errno::PERM) => {
                    self.kernel_copies = false;
                }
                Err(error) => return Err(error.into()),
            }
        }
        if offset == end { Ok(()) } else { self.by_hand(from, to, offset, end) }
    }

    /// Copies until the file ends, whatever was said of its length.
    fn by_hand(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        mut offset: u64,
        end: u64,
    ) -> io::Result<()> {
        self.buffer.resize(BUFFER, 0);
        while offset < end {
            let wanted = usize::try_from(end - offset).map_or(BUFFER, |left| left.min(BUFFER));
            let length = match pread(from, &mut self.buffer[..wanted], offset) {
                Ok(0) => break,
                Err(Errno::INTR) => continue,
                other => other?,
            };
            let mut written = 0;
            while written < length {
                match pwrite(to, &self.buffer[written..length], offset + written as u64) {
                    Err(Errno::INTR) => {}
                    other => written += other?,
                }
            }
            offset += length as u64;
        }
        Ok(())
    }
}

/// Finds the next stretch of a file that is no hole.
fn next_data(file: BorrowedFd<'_>, offset: u64, size: u64) -> io::Result<Option<(u64, u64)>> {
    let start = match seek(file, SeekFrom::Data(offset)) {
        Ok(start) => start,
        Err(Errno::NXIO) => return Ok(None),
        // A file system without holes.
        Err(Errno::INVAL) => return Ok(Some((offset, size))),
        Err(error) => return Err(error.into()),
    };
    let end = seek(file, SeekFrom::Hole(start))?;
    Ok(Some((start, end.min(size))))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::unix::fs::{FileExt, MetadataExt};

    use super::*;

    #[test]
    fn copies_data_and_holes() {
        let dir = tempfile::tempdir().unwrap();
        let [from, to] = ["from", "to"].map(|name| dir.path().join(name));
        let file = File::create(&from).unwrap();
        file.write_all_at(b"begin", 0).unwrap();
        file.write_all_at(&vec![7; 300 << 10], 8 << 20).unwrap();
        file.set_len(16 << 20).unwrap();
        for kernel in [true, false] {
            let mut copier =
                Copier { shares_data: kernel, kernel_copies: kernel, ..Copier::default() };
            let copy = File::create(&to).unwrap();
            let source = File::open(&from).unwrap();
            copier.copy(&source, &copy, &rustix::fs::fstat(&source).unwrap()).unwrap();
            assert!(fs::read(&from).unwrap() == fs::read(&to).unwrap());
            assert!(copy.metadata().unwrap().blocks() * 512 < 1 << 20);
        }
    }

    #[test]
    fn copies_what_has_no_length() {
        let dir = tempfile::tempdir().unwrap();
        let to = dir.path().join("to");
        let source = File::open("/proc/self/status").unwrap();
        let copy = File::create(&to).unwrap();
        Copier::default().copy(&source, &copy, &rustix::fs::fstat(&source).unwrap()).unwrap();
        assert!(fs::read_to_string(&to).unwrap().contains("Umask:"));
    }
}
