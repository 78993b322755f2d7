//! `.dockerignore`: which files of a context are left out.
//!
//! The patterns of Docker: `*` and `?` stay within a name, `**` stands for any number of directories,
//! `[a-z]` for one letter, `!` takes back. The last pattern that matches a path, or a directory above it,
//! decides.

use crate::error::{Error, Kind, Result};

/// Patterns, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patterns {
    patterns: Vec<Pattern>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    takes_back: bool,
    parts: Vec<Part>,
    /// The names of directories that it begins with, without any wildcard.
    fixed: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Byte(u8),
    /// `?`
    One,
    /// `*`
    Name,
    /// `**/`: nothing, or anything that ends with a slash.
    Directories,
    /// `**` at the end, or before an end.
    All,
    /// `[…]`: whether it is negated, and from where to where.
    Class(bool, Vec<(char, char)>),
}

impl Patterns {
    /// Reads a file of patterns.
    pub fn parse(name: &str, text: &str) -> Result<Self> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut patterns = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            if line.starts_with('#') {
                continue;
            }
            let at = |why: &str| {
                Error::new(Kind::Invalid, format!("{name}:{number}: {why}\n{number:>6} | {line}"))
            };
            patterns.extend(Pattern::parse(line).map_err(at)?);
        }
        Ok(Self { patterns })
    }

    /// Makes patterns of single ones.
    pub fn of<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        let parse = |text| {
            Pattern::parse(text).map_err(|why| {
                Error::new(Kind::Invalid, format!("invalid pattern `{text}`: {why}"))
            })
        };
        let patterns = patterns.into_iter().map(parse).collect::<Result<Vec<_>>>()?;
        Ok(Self { patterns: patterns.into_iter().flatten().collect() })
    }

    /// Tells whether there are none.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Tells whether a path, relative and without `.` and `..`, is left out.
    ///
    /// Each directory on the way is looked at first. As in Docker, what a pattern would not change there it
    /// is not asked for, and so does not match what is below: `!a` after `a/b` takes nothing back.
    pub fn excludes(&self, path: &[u8]) -> bool {
        let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        let mut matched = vec![false; self.patterns.len()];
        let mut excluded = false;
        for end in slashes.chain([path.len()]) {
            excluded = false;
            for (pattern, matched) in self.patterns.iter().zip(&mut matched) {
                *matched |= pattern.takes_back == excluded && matches(&pattern.parts, &path[..end]);
                if *matched {
                    excluded = !pattern.takes_back;
                }
            }
        }
        excluded
    }

    /// Tells whether something below a directory that is left out may be taken back.
    pub fn may_include_below(&self, directory: &[u8]) -> bool {
        self.patterns.iter().filter(|it| it.takes_back).any(|it| {
            let shorter = it.fixed.len().min(directory.len());
            it.fixed[..shorter] == directory[..shorter]
        })
    }
}

/// Tells whether a pattern without directories matches a name, as a shell's would; `**` is `*`.
pub fn matches_name(pattern: &str, name: &[u8]) -> Result<bool, &'static str> {
    let single = pattern.split("**").collect::<Vec<_>>().join("*");
    Ok(matches(&parts(&single)?, name))
}

impl Pattern {
    fn parse(line: &str) -> Result<Option<Self>, &'static str> {
        let text = line.trim();
        let (takes_back, text) = match text.strip_prefix('!') {
            Some(rest) => (true, rest.trim()),
            None => (false, text),
        };
        if text.is_empty() {
            return if takes_back {
                Err("illegal exclusion pattern: expected a path after `!`")
            } else {
                Ok(None)
            };
        }
        let text = clean(text);
        let text = if text.len() > 1 { text.strip_prefix('/').unwrap_or(&text) } else { &text };
        let parts = parts(text)?;
        let end =
            parts.iter().position(|part| !matches!(part, Part::Byte(_))).unwrap_or(parts.len());
        let bytes = parts[..end].iter().filter_map(|part| match part {
            Part::Byte(byte) => Some(*byte),
            _ => None,
        });
        let fixed = bytes.collect();
        Ok(Some(Self { takes_back, parts, fixed }))
    }
}

/// As Go's `filepath.Clean`.
fn clean(path: &str) -> String {
    let absolute = path.starts_with('/');
    let mut names: Vec<&str> = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." if names.last().is_some_and(|last| *last != "..") => drop(names.pop()),
            ".." if absolute => {}
            name => names.push(name),
        }
    }
    let joined = names.join("/");
    match (absolute, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

fn parts(text: &str) -> Result<Vec<Part>, &'static str> {
    const UNCLOSED: &str = "syntax error in pattern: expected `]`";
    // As in Docker: an end that any path may have, not only names of their own.
    if let Some(end) = text.strip_prefix("**")
        && !end.is_empty()
        && !end.starts_with('/')
        && !end.contains(['*', '?', '[', ']', '\\'])
    {
        return Ok(std::iter::once(Part::All).chain(end.bytes().map(Part::Byte)).collect());
    }
    let mut parts = Vec::new();
    let mut letters = text.chars().peekable();
    let mut buffer = [0; 4];
    while let Some(letter) = letters.next() {
        match letter {
            '*' if letters.next_if_eq(&'*').is_some() => {
                letters.next_if_eq(&'/');
                parts.push(if letters.peek().is_none() { Part::All } else { Part::Directories });
            }
            '*' => parts.push(Part::Name),
            '?' => parts.push(Part::One),
            '[' => {
                let negated = letters.next_if_eq(&'^').is_some();
                let mut ranges = Vec::new();
                loop {
                    let mut one = || match letters.next() {
                        Some('\\') => letters.next().ok_or(UNCLOSED),
                        Some(letter) => Ok(letter),
                        None => Err(UNCLOSED),
                    };
                    let from = one()?;
                    if from == ']' && !ranges.is_empty() {
                        break;
                    }
                    if matches!(from, ']' | '-') {
                        return Err("syntax error in pattern: expected a letter");
                    }
                    let to = match letters.next_if_eq(&'-') {
                        Some(_) => match letters.next() {
                            Some('\\') => letters.next().ok_or(UNCLOSED)?,
                            Some(']') | None => return Err(UNCLOSED),
                            Some(letter) => letter,
                        },
                        None => from,
                    };
                    ranges.push((from, to));
                }
                parts.push(Part::Class(negated, ranges));
            }
            letter => {
                let letter = match letter {
                    '\\' => letters
                        .next()
                        .ok_or("syntax error in pattern: expected a letter after `\\`")?,
                    letter => letter,
                };
                parts.extend(letter.encode_utf8(&mut buffer).bytes().map(Part::Byte));
            }
        }
    }
    Ok(parts)
}

/// Matches a whole path. Keeps all places that may have been reached, so no pattern takes long.
fn matches(parts: &[Part], path: &[u8]) -> bool {
    let mut reached = vec![false; path.len() + 1];
    reached[0] = true;
    for part in parts {
        let mut next = vec![false; path.len() + 1];
        match part {
            Part::Byte(byte) => {
                for at in 0..path.len() {
                    next[at + 1] = reached[at] && path[at] == *byte;
                }
            }
            Part::One | Part::Class(..) => {
                for at in 0..path.len() {
                    if reached[at]
                        && let Some((letter, length)) = letter_at(path, at)
                        && part.takes(letter)
                    {
                        next[at + length] = true;
                    }
                }
            }
            Part::Name => {
                let mut on = false;
                for at in 0..=path.len() {
                    on |= reached[at];
                    next[at] = on;
                    on &= path.get(at).is_some_and(|byte| *byte != b'/');
                }
            }
            Part::Directories => {
                let mut on = false;
                for at in 0..=path.len() {
                    next[at] = reached[at] || (on && at > 0 && path[at - 1] == b'/');
                    on |= reached[at];
                }
            }
            Part::All => {
                let mut on = false;
                for at in 0..=path.len() {
                    on |= reached[at];
                    next[at] = on;
                }
            }
        }
        reached = next;
    }
    reached[path.len()]
}

impl Part {
    fn takes(&self, letter: char) -> bool {
        match self {
            Self::One => letter != '/',
            Self::Class(negated, ranges) => {
                ranges.iter().any(|(from, to)| (*from..=*to).contains(&letter)) != *negated
            }
            _ => false,
        }
    }
}

/// The letter at a place, and its length; a byte that is none stands for itself.
fn letter_at(path: &[u8], at: usize) -> Option<(char, usize)> {
    let rest = &path[at..path.len().min(at + 4)];
    let valid = match std::str::from_utf8(rest) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&rest[..error.valid_up_to()]).unwrap_or_default(),
    };
    match valid.chars().next() {
        Some(letter) => Some((letter, letter.len_utf8())),
        None => rest.first().map(|_| ('\u{fffd}', 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excludes_paths() {
        for (patterns, path, want) in [
            ("a", "a", true),
            ("a", "a/b", true),
            ("a", "b/a", false),
            ("/a", "a", true),
            ("./a", "a", true),
            ("a/", "a/b", true),
            ("x/../a", "a", true),
            ("../a", "a", false),
            ("a\nb", "b", true),
            ("*", "a", true),
            ("*", "a/b", true),
            ("*.md", "x.md", true),
            ("*.md", "a/x.md", false),
            ("*/*.md", "a/x.md", true),
            ("*/*.md", "a/b/x.md", false),
            ("**/*.md", "x.md", true),
            ("**/*.md", "a/b/x.md", true),
            ("a/**", "a/b/c", true),
            ("a/**", "a", false),
            ("**", "a/b", true),
            ("a/**/c", "a/c", true),
            ("a/**/c", "a/b/b/c", true),
            ("a/**/c", "ac", false),
            ("**/b", "a/xb", false),
            ("**b", "a/xb", true),
            ("**.md", "a/x.md", true),
            ("a/b\n!a", "a/b", true),
            ("a/b\n!a", "a/b/c", true),
            ("a\n!a", "a/b", false),
            ("a?c", "abc", true),
            ("a?c", "a/c", false),
            ("a?c", "aéc", true),
            ("[a-c]x", "bx", true),
            ("[a-c]x", "dx", false),
            ("[^a]x", "bx", true),
            ("[^a]x", "ax", false),
            ("\\*x", "*x", true),
            ("\\*x", "ax", false),
            ("[[]x", "[x", true),
            ("a.b", "aXb", false),
            ("A", "a", false),
            ("# a", "a", false),
            ("  a  ", "a", true),
            ("\n\na", "a", true),
            ("*\n!a", "a", false),
            ("*\n!a", "a/b", false),
            ("!a\n*", "a", true),
            ("*\n!a\na/b", "a/b", true),
            ("*\n!a\na/b", "a/c", false),
            ("a\n!a/b", "a/b", false),
            ("a\n!a/b", "a/c", true),
            ("! a\na", "a", true),
            ("a\n! a", "a", false),
            ("*\n!**/*.go", "x/y.go", false),
            ("\u{feff}a", "a", true),
            ("/", "a", false),
            (".", "a", false),
            ("", "a", false),
        ] {
            let got = Patterns::parse("f", patterns).unwrap().excludes(path.as_bytes());
            assert_eq!(got, want, "{patterns:?} {path}");
        }
    }

    #[test]
    fn refuses_what_is_no_pattern() {
        for (text, line) in
            [("!", 1), ("a\n[a", 2), ("[]", 1), ("[a-]", 1), ("a\\", 1), ("[-x]", 1)]
        {
            let error = Patterns::parse("f", text).unwrap_err().to_string();
            assert!(error.starts_with(&format!("f:{line}: ")), "{error}");
        }
    }

    #[test]
    fn knows_where_something_may_be_taken_back() {
        for (patterns, directory, want) in [
            ("*\n!a/b/c", "a", true),
            ("*\n!a/b/c", "a/b", true),
            ("*\n!a/b/c", "x", false),
            ("*\n!*/c", "x", true),
            ("*", "a", false),
        ] {
            let patterns = Patterns::parse("f", patterns).unwrap();
            assert_eq!(patterns.may_include_below(directory.as_bytes()), want, "{directory}");
        }
    }

    #[test]
    fn long_patterns_are_quick() {
        let pattern = "*a".repeat(200);
        let path = "a".repeat(199) + "b";
        assert!(!Patterns::of([pattern.as_str()]).unwrap().excludes(path.as_bytes()));
    }
}
