//! Searching in bytes.

/// Returns where the first byte of this value is.
///
/// The C library has the search by hand for each kind of processor. What is compiled with this crate,
/// to be small, takes several times as long.
pub fn find(byte: u8, bytes: &[u8]) -> Option<usize> {
    let start: *const libc::c_void = bytes.as_ptr().cast();
    // SAFETY: what is searched is a slice, from its start on and as long as it is.
    let found = unsafe { libc::memchr(start, byte.into(), bytes.len()) };
    (!found.is_null()).then(|| found as usize - start as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_first() {
        for (bytes, want) in
            [("", None), ("ab", None), ("\n", Some(0)), ("ab\nc\n", Some(2)), ("ab\n", Some(2))]
        {
            assert_eq!(find(b'\n', bytes.as_bytes()), want, "{bytes:?}");
        }
        assert_eq!(find(b'\n', &b"ab\n"[..2]), None);
    }
}
