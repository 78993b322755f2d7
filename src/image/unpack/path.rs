//! Paths of an archive, as text: cleaned before the kernel resolves them.

use crate::error::{Error, Kind, Result};

/// Cleans a path of an archive: relative to the root, without `.`, `..` and doubled slashes.
pub(super) fn clean(path: &[u8]) -> Result<Vec<u8>> {
    if path.contains(&0) {
        return Err(Error::new(Kind::Invalid, "its name contains a zero byte"));
    }
    let mut cleaned = Vec::with_capacity(path.len());
    for component in path.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => {
                if cleaned.is_empty() {
                    return Err(Error::new(Kind::Invalid, "its path leads out of the image")
                        .hint("the archive is malicious or damaged; nothing of it was kept"));
                }
                let end = cleaned.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
                cleaned.truncate(end);
            }
            name => {
                if !cleaned.is_empty() {
                    cleaned.push(b'/');
                }
                cleaned.extend_from_slice(name);
            }
        }
    }
    Ok(cleaned)
}

/// Splits a cleaned path into directory and name; `None` for the root.
pub(super) fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    if path.is_empty() {
        return None;
    }
    Some(match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleans_paths() {
        for (path, want) in [
            (&b"a/b"[..], Some(&b"a/b"[..])),
            (b"./a//b/", Some(b"a/b")),
            (b"/a", Some(b"a")),
            (b"a/./b/../c", Some(b"a/c")),
            (b"a/..", Some(b"")),
            (b"./", Some(b"")),
            (b"", Some(b"")),
            (b"..a/b..", Some(b"..a/b..")),
            (b"..", None),
            (b"../a", None),
            (b"a/../../b", None),
            (b"/..", None),
            (b"a\0b", None),
        ] {
            assert_eq!(clean(path).ok().as_deref(), want, "{}", path.escape_ascii());
        }
        assert_eq!(split(b"a/b/c"), Some((&b"a/b"[..], &b"c"[..])));
        assert_eq!(split(b"a"), Some((&b""[..], &b"a"[..])));
        assert_eq!(split(b""), None);
    }
}
