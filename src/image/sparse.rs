//! Files with holes: where the data of an archive's entry belongs.

use std::io;

use super::tarball::malformed;

/// A file in more pieces than this is refused.
const MAX_PIECES: usize = 1 << 20;

/// The map of a file with holes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Sparse {
    /// Bytes of the file, holes included.
    pub(crate) size: u64,
    /// Offsets and lengths of its pieces, in order.
    pub(crate) pieces: Vec<(u64, u64)>,
}

impl Sparse {
    /// Adds a piece behind those that are known.
    pub(crate) fn push(&mut self, offset: u64, length: u64) -> io::Result<()> {
        let previous = self.pieces.last().map_or(0, |(offset, length)| offset + length);
        if offset < previous
            || offset.checked_add(length).is_none()
            || self.pieces.len() >= MAX_PIECES
        {
            return Err(damaged());
        }
        if length > 0 {
            self.pieces.push((offset, length));
        }
        Ok(())
    }

    /// Checks it against the file's size and the bytes of data that the archive has.
    pub(crate) fn check(&self, data: u64) -> io::Result<()> {
        let end = self.pieces.last().map_or(0, |(offset, length)| offset + length);
        let sum: u64 = self.pieces.iter().map(|(_, length)| length).sum();
        if end > self.size || sum != data {
            return Err(damaged());
        }
        Ok(())
    }
}

/// The error for a map that makes no sense.
pub(crate) fn damaged() -> io::Error {
    malformed("the map of a sparse file is damaged")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_maps_of_sparse_files() {
        for (pieces, size, data, good) in [
            (&[(0, 1), (10, 5)][..], 15, 6, true),
            (&[(0, 1), (10, 5)], 14, 6, false),
            (&[(0, 1), (10, 5)], 15, 5, false),
            (&[(10, 5), (0, 1)], 15, 6, false),
            (&[(0, 5), (3, 5)], 15, 10, false),
            (&[(u64::MAX, 5)], 15, 5, false),
        ] {
            let mut sparse = Sparse { size, pieces: Vec::new() };
            let pushed =
                pieces.iter().try_for_each(|(offset, length)| sparse.push(*offset, *length));
            assert_eq!(pushed.and_then(|()| sparse.check(data)).is_ok(), good, "{pieces:?}");
        }
    }
}
