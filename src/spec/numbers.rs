//! Lists of processors and memory nodes, as in `0-3,7`.

use crate::error::{Error, Kind, Result};

/// More processors and memory nodes than Linux can have.
const MOST: u32 = 8192;

/// Reads a list of numbers; an empty one has none.
pub fn numbers(list: &str) -> Result<Vec<u32>> {
    let mut all = Vec::new();
    let number = |text: &str| text.trim().parse::<u32>().ok().filter(|number| *number < MOST);
    for part in list.split(',').map(str::trim).filter(|_| !list.trim().is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => all.extend(first..=last),
            _ => {
                return Err(Error::new(Kind::Invalid, format!("`{list}` is no list of numbers"))
                    .hint("write it as in 0-3,7"));
            }
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_lists() {
        for (list, want) in [
            ("", Some(vec![])),
            ("0", Some(vec![0])),
            ("0-3,7", Some(vec![0, 1, 2, 3, 7])),
            (" 1 , 2-2 ", Some(vec![1, 2])),
            ("3-1", None),
            ("x", None),
            ("1,", None),
            ("0-4294967295", None),
        ] {
            assert_eq!(numbers(list).ok(), want, "{list}");
        }
    }
}
