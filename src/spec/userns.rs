//! Which user namespace a container is in, and which IDs of ours its IDs stand for.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};

/// More than any ID, and how many there are at most.
const ALL: u32 = u32::MAX;

/// The user namespace of a container, as it is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UsernsMode {
    /// The one that we are in.
    #[default]
    Host,
    /// One in which the caller has the same IDs as outside, or these.
    KeepId {
        /// User ID of the caller in the container.
        uid: Option<u32>,
        /// Group ID of the caller in the container.
        gid: Option<u32>,
        /// How many IDs there are.
        size: Option<u32>,
    },
    /// One whose IDs no other container has.
    Auto {
        /// How many IDs there are.
        size: Option<u32>,
        /// User IDs that are mapped besides.
        uids: Vec<IdRange>,
        /// Group IDs that are mapped besides.
        gids: Vec<IdRange>,
    },
    /// One in which the caller is nobody.
    Nomap,
    /// One of its own, with the IDs that are asked for.
    Private,
    /// That of another container: its name or ID as it is asked for, its ID once it is recorded.
    Container(String),
    /// An existing one.
    Ns(PathBuf),
}

/// A range of IDs of the container, and what they stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdRange {
    /// First ID in the container.
    pub inside: u32,
    /// First ID of ours: the machine's as root, else those of the user's own namespace.
    pub outside: u32,
    /// How many.
    pub count: u32,
}

/// All IDs of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMapping {
    /// User IDs.
    pub uids: Vec<IdRange>,
    /// Group IDs.
    pub gids: Vec<IdRange>,
}

impl IdMapping {
    /// Tells whether each ID stands for itself.
    pub fn is_same(&self) -> bool {
        self.uids.iter().chain(&self.gids).all(|range| range.inside == range.outside)
    }
}

/// One `--uidmap` or `--gidmap`: `[FLAGS]CONTAINER:[@]OUTSIDE[:COUNT]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapRequest {
    /// The range.
    pub range: IdRange,
    /// Whether the IDs that are left are mapped too, in their order (`+`).
    pub adds: bool,
    /// Whether `outside` is an ID of the machine, also without root (`@`).
    pub of_host: bool,
    /// Whether it is for user IDs only (`u`), group IDs only (`g`), or both if only one was given.
    pub kinds: (bool, bool),
}

/// Everything that was said about users.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Users {
    /// The namespace.
    pub mode: UsernsMode,
    /// `--uidmap`.
    pub uids: Vec<MapRequest>,
    /// `--gidmap`.
    pub gids: Vec<MapRequest>,
    /// `--subuidname`: whose lines of /etc/subuid are taken.
    pub subuid_name: Option<String>,
    /// `--subgidname`: whose lines of /etc/subgid are taken.
    pub subgid_name: Option<String>,
}

impl IdRange {
    /// Returns what an ID of the container stands for.
    pub fn outside_of(&self, id: u32) -> Option<u32> {
        let offset = id.checked_sub(self.inside).filter(|offset| *offset < self.count)?;
        self.outside.checked_add(offset)
    }
}

/// Who owns what belongs to nobody that a container knows.
const NOBODY: u32 = 65534;

/// Returns which ID of a container stands for one outside; nobody's if there is none.
pub fn inside_of(ranges: &[IdRange], id: u32) -> u32 {
    let inside = |range: &IdRange| {
        let offset = id.checked_sub(range.outside).filter(|offset| *offset < range.count)?;
        range.inside.checked_add(offset)
    };
    ranges.iter().find_map(inside).unwrap_or(NOBODY)
}

/// Returns what an ID of a container stands for.
pub fn outside_of(ranges: &[IdRange], id: u32) -> Option<u32> {
    ranges.iter().find_map(|range| range.outside_of(id))
}

impl fmt::Display for UsernsMode {
    /// As Docker has it: nothing for the usual one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => Ok(()),
            Self::Container(id) => write!(f, "container:{id}"),
            Self::Ns(path) => write!(f, "ns:{}", path.display()),
            Self::KeepId { .. } | Self::Auto { .. } | Self::Nomap | Self::Private => {
                f.write_str("private")
            }
        }
    }
}

impl fmt::Display for IdRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.inside, self.outside, self.count)
    }
}

/// Puts a range into a mapping: what is there of the same IDs, inside or outside, makes room.
pub fn insert(ranges: &mut Vec<IdRange>, new: IdRange) {
    let cut = |ranges: Vec<IdRange>, start: fn(&IdRange) -> u32| -> Vec<IdRange> {
        let (from, to) = (u64::from(start(&new)), u64::from(start(&new)) + u64::from(new.count));
        let mut left = Vec::new();
        for old in ranges {
            let begin = u64::from(start(&old));
            let end = begin + u64::from(old.count);
            for (first, last) in [(begin, end.min(from)), (begin.max(to), end)] {
                if first < last {
                    let offset = u32::try_from(first - begin).unwrap_or(0);
                    left.push(IdRange {
                        inside: old.inside + offset,
                        outside: old.outside + offset,
                        count: u32::try_from(last - first).unwrap_or(0),
                    });
                }
            }
        }
        left
    };
    let rest = cut(std::mem::take(ranges), |range| range.inside);
    *ranges = cut(rest, |range| range.outside);
    ranges.push(new);
    ranges.sort_by_key(|range| range.inside);
}

/// Maps the IDs that are left, of which there are `all` outside, in their order.
pub fn fill(ranges: &mut Vec<IdRange>, all: u32) {
    let gaps = |start: fn(&IdRange) -> u32, end: u32| -> Vec<(u32, u32)> {
        let mut taken: Vec<(u32, u32)> =
            ranges.iter().map(|range| (start(range), range.count)).collect();
        taken.sort_unstable();
        let mut free = Vec::new();
        let mut next = 0;
        for (first, count) in taken.into_iter().chain([(end, 0)]) {
            if first > next {
                free.push((next, first.min(end) - next));
            }
            next = first.saturating_add(count).max(next);
        }
        free
    };
    let mut inside = gaps(|range| range.inside, ALL).into_iter();
    let outside = gaps(|range| range.outside, all);
    let mut room = inside.next();
    for (mut from, mut left) in outside {
        while left > 0
            && let Some((first, size)) = room
        {
            let count = left.min(size);
            ranges.push(IdRange { inside: first, outside: from, count });
            (from, left) = (from + count, left - count);
            room = if size > count { Some((first + count, size - count)) } else { inside.next() };
        }
    }
    ranges.sort_by_key(|range| range.inside);
}

/// Refuses a mapping in which an ID stands for two, or two for one.
pub fn check(ranges: &[IdRange]) -> Result<()> {
    for start in [(|range: &IdRange| range.inside) as fn(&IdRange) -> u32, |range| range.outside] {
        let mut sorted: Vec<(u64, u64)> =
            ranges.iter().map(|range| (u64::from(start(range)), u64::from(range.count))).collect();
        sorted.sort_unstable();
        if sorted.windows(2).any(|pair| pair[0].0 + pair[0].1 > pair[1].0) {
            let list: Vec<String> = ranges.iter().map(ToString::to_string).collect();
            return Err(Error::new(
                Kind::Invalid,
                format!("the ID mappings {} overlap", list.join(", ")),
            ));
        }
    }
    Ok(())
}

fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|id| digits && *id != ALL)
}

impl FromStr for MapRequest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let invalid = || {
            Error::new(Kind::Invalid, format!("invalid ID mapping `{text}`")).hint(
                "write [+][u][g]CONTAINER:[@]OUTSIDE[:COUNT], as in 0:100000:65536 or +0:@1000",
            )
        };
        let digits = text.trim_start_matches(['+', 'u', 'g']);
        let flags = &text[..text.len() - digits.len()];
        let kinds = match (flags.contains('u'), flags.contains('g')) {
            (false, false) => (true, true),
            kinds => kinds,
        };
        let mut fields = digits.split(':');
        let inside = fields.next().and_then(number).ok_or_else(invalid)?;
        let outside = fields.next().ok_or_else(invalid)?;
        let (of_host, outside) = match outside.strip_prefix('@') {
            Some(outside) => (true, outside),
            None => (false, outside),
        };
        let outside = number(outside).ok_or_else(invalid)?;
        let count = match fields.next() {
            Some(count) => number(count).filter(|count| *count > 0).ok_or_else(invalid)?,
            None => 1,
        };
        let fits = |first: u32| first.checked_add(count).is_some();
        if fields.next().is_some() || !fits(inside) || !fits(outside) {
            return Err(invalid());
        }
        let range = IdRange { inside, outside, count };
        Ok(Self { range, adds: flags.contains('+'), of_host, kinds })
    }
}

impl FromStr for UsernsMode {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let unknown = || {
            Error::new(Kind::Invalid, format!("unrecognized namespace mode `{text}`")).hint(
                "use host, private, keep-id[:uid=N,gid=N,size=N], auto[:size=N], nomap, container:NAME or ns:PATH",
            )
        };
        let (word, rest) = match text.split_once(':') {
            Some((word, rest)) => (word, Some(rest)),
            None => (text, None),
        };
        match (word, rest) {
            ("" | "host", None) => return Ok(Self::Host),
            ("private", None) => return Ok(Self::Private),
            ("nomap", None) => return Ok(Self::Nomap),
            ("container", Some(name)) if !name.is_empty() => {
                return Ok(Self::Container(name.to_owned()));
            }
            ("ns", Some(path)) if path.starts_with('/') => return Ok(Self::Ns(path.into())),
            ("keep-id" | "auto", _) => {}
            _ => return Err(unknown()),
        }
        let (mut uid, mut gid, mut size) = (None, None, None);
        let (mut uids, mut gids) = (Vec::new(), Vec::new());
        for option in rest.unwrap_or_default().split(',').filter(|option| !option.is_empty()) {
            let bad = || {
                Error::new(
                    Kind::Invalid,
                    format!("invalid option `{option}` of user namespace mode `{word}`"),
                )
            };
            let (name, value) = option.split_once('=').ok_or_else(bad)?;
            let range = || -> Result<IdRange> {
                let request: MapRequest = value.parse()?;
                if request.adds || request.of_host { Err(bad()) } else { Ok(request.range) }
            };
            match (word, name) {
                (_, "size") => size = Some(number(value).filter(|it| *it > 0).ok_or_else(bad)?),
                ("keep-id", "uid") => uid = Some(number(value).ok_or_else(bad)?),
                ("keep-id", "gid") => gid = Some(number(value).ok_or_else(bad)?),
                ("auto", "uidmapping") => uids.push(range()?),
                ("auto", "gidmapping") => gids.push(range()?),
                _ => return Err(bad()),
            }
        }
        Ok(match word {
            "auto" => Self::Auto { size, uids, gids },
            _ => Self::KeepId { uid, gid, size },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(text: &str) -> Vec<IdRange> {
        text.split_whitespace().map(|word| word.parse::<MapRequest>().unwrap().range).collect()
    }

    #[test]
    fn parses_mappings() {
        for (text, want) in [
            ("0:100000:65536", Some((0, 100_000, 65536, false, false))),
            ("+5:@1000", Some((5, 1000, 1, true, true))),
            ("u0:1:2", Some((0, 1, 2, false, false))),
            ("0:0:0", None),
            ("0", None),
            ("0:x", None),
            ("-1:0:1", None),
            ("0:1:2:3", None),
            ("1:1:4294967295", None),
        ] {
            let got = text.parse::<MapRequest>().ok().map(|it| {
                let range = it.range;
                (range.inside, range.outside, range.count, it.adds, it.of_host)
            });
            assert_eq!(got, want, "{text}");
        }
        assert_eq!("u0:1".parse::<MapRequest>().unwrap().kinds, (true, false));
        assert_eq!("+g0:1".parse::<MapRequest>().unwrap().kinds, (false, true));
    }

    #[test]
    fn parses_modes() {
        let keep = |uid, gid, size| UsernsMode::KeepId { uid, gid, size };
        let auto = |size| UsernsMode::Auto { size, uids: vec![], gids: vec![] };
        for (text, want) in [
            ("", Some(UsernsMode::Host)),
            ("host", Some(UsernsMode::Host)),
            ("keep-id", Some(keep(None, None, None))),
            ("keep-id:uid=5,gid=6", Some(keep(Some(5), Some(6), None))),
            ("keep-id:size=100", Some(keep(None, None, Some(100)))),
            ("auto", Some(auto(None))),
            ("auto:size=8192", Some(auto(Some(8192)))),
            ("nomap", Some(UsernsMode::Nomap)),
            ("ns:/x", Some(UsernsMode::Ns("/x".into()))),
            ("container:c", Some(UsernsMode::Container("c".into()))),
            ("keep-id:x=1", None),
            ("auto:size=0", None),
            ("auto:uid=1", None),
            ("nomap:size=1", None),
            ("bogus", None),
        ] {
            assert_eq!(text.parse::<UsernsMode>().ok(), want, "{text}");
        }
    }

    #[test]
    fn fills_what_is_left() {
        for (given, all, want) in [
            ("1000:0:1", 2000, "0:1:1000 1000:0:1 1001:1001:999"),
            ("100000:50:1", 100, "0:0:50 50:51:49 100000:50:1"),
            ("0:0:10", 10, "0:0:10"),
            ("", 10, "0:0:10"),
            ("0:5:1 3:0:1", 8, "0:5:1 1:1:2 3:0:1 4:3:2 6:6:2"),
        ] {
            let mut got = ranges(given);
            fill(&mut got, all);
            check(&got).unwrap();
            assert_eq!(got, ranges(want), "{given}");
        }
    }

    #[test]
    fn makes_room_for_what_is_put_in() {
        for (base, new, want) in [
            ("0:0:100", "5:0:1", "1:1:4 5:0:1 6:6:94"),
            ("0:0:100", "200:50:1", "0:0:50 51:51:49 200:50:1"),
            ("0:0:10", "0:0:10", "0:0:10"),
            ("0:0:1 1:1:9", "3:20:2", "0:0:1 1:1:2 3:20:2 5:5:5"),
        ] {
            let mut got = ranges(base);
            insert(&mut got, ranges(new)[0]);
            assert_eq!(got, ranges(want), "{base} + {new}");
            check(&got).unwrap();
        }
        assert!(check(&ranges("0:0:10 9:20:1")).is_err());
        assert!(check(&ranges("0:0:10 10:9:1")).is_err());
        assert_eq!(outside_of(&ranges("0:100:10 20:5:1"), 20), Some(5));
        assert_eq!(outside_of(&ranges("0:100:10"), 10), None);
        assert_eq!(inside_of(&ranges("0:100:10 20:5:1"), 109), 9);
        assert_eq!(inside_of(&ranges("0:100:10 20:5:1"), 5), 20);
        assert_eq!(inside_of(&ranges("0:100:10"), 110), NOBODY);
    }
}
