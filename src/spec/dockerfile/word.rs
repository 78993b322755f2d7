//! Words: quotes, escapes, and variables, as BuildKit replaces them.
//!
//! `$NAME`, `${NAME}`, `${NAME:-word}`, `${NAME-word}`, `${NAME:+word}`, `${NAME+word}`,
//! `${NAME:?word}`, `${NAME?word}`, `${NAME#glob}`, `${NAME##glob}`, `${NAME%glob}`, `${NAME%%glob}`,
//! `${NAME/glob/text}`, `${NAME//glob/text}`.

use std::iter::Peekable;
use std::str::Chars;

/// How deep substitutions may lie in each other.
const DEEPEST: usize = 100;

/// Looks a variable up.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mode {
    /// Quotes stay.
    raw_quotes: bool,
    /// Escape letters stay.
    raw_escapes: bool,
    /// Variables that are not set stay.
    keep_unset: bool,
    /// Quotes mean nothing.
    no_quotes: bool,
}

impl Mode {
    pub(super) const NORMAL: Self =
        Self { raw_quotes: false, raw_escapes: false, keep_unset: false, no_quotes: false };
    pub(super) const KEEP_UNSET: Self = Self { keep_unset: true, ..Self::NORMAL };
    pub(super) const RAW: Self = Self { raw_quotes: true, raw_escapes: true, ..Self::KEEP_UNSET };
    pub(super) const DOCUMENT: Self = Self { no_quotes: true, ..Self::NORMAL };
}

/// Replaces variables and takes quotes off; the result is one word.
pub fn expand(text: &str, escape: char, lookup: Lookup<'_>) -> Result<String, String> {
    run(text, escape, Mode::NORMAL, lookup).map(|done| done.0)
}

/// Replaces variables in a here-document, where quotes mean nothing.
pub fn expand_document(text: &str, lookup: Lookup<'_>) -> Result<String, String> {
    run(text, '\\', Mode::DOCUMENT, lookup).map(|done| done.0)
}

/// Replaces variables and splits the result at blanks that are not quoted.
pub fn expand_words(text: &str, escape: char, lookup: Lookup<'_>) -> Result<Vec<String>, String> {
    split(text, escape, Mode::NORMAL, lookup)
}

pub(super) fn split(
    text: &str,
    escape: char,
    mode: Mode,
    lookup: Lookup<'_>,
) -> Result<Vec<String>, String> {
    run(text, escape, mode, lookup).map(|done| done.1)
}

fn run(
    text: &str,
    escape: char,
    mode: Mode,
    lookup: Lookup<'_>,
) -> Result<(String, Vec<String>), String> {
    let mut reader = Reader { letters: text.chars().peekable(), escape, mode, lookup, depth: 0 };
    let (text, words) = reader.until(None)?;
    Ok((text, words.finish()))
}

/// Words as they grow.
#[derive(Default)]
struct Words {
    done: Vec<String>,
    word: Option<String>,
}

impl Words {
    /// Adds a letter that ends the word if it is blank.
    fn add(&mut self, letter: char) {
        if letter.is_whitespace() {
            self.done.extend(self.word.take());
        } else {
            self.add_raw(letter);
        }
    }

    fn add_raw(&mut self, letter: char) {
        self.word.get_or_insert_default().push(letter);
    }

    fn add_raw_text(&mut self, text: &str) {
        self.word.get_or_insert_default().push_str(text);
    }

    fn finish(mut self) -> Vec<String> {
        self.done.extend(self.word);
        self.done
    }
}

struct Reader<'a> {
    letters: Peekable<Chars<'a>>,
    escape: char,
    mode: Mode,
    lookup: Lookup<'a>,
    depth: usize,
}

impl Reader<'_> {
    fn until(&mut self, stop: Option<char>) -> Result<(String, Words), String> {
        let mut text = String::new();
        let mut words = Words::default();
        while let Some(letter) = self.letters.next() {
            match letter {
                _ if stop == Some(letter) => return Ok((text, words)),
                '\'' | '"' if !self.mode.no_quotes => {
                    let quoted = if letter == '"' { self.double() } else { self.single() }?;
                    words.add_raw_text(&quoted);
                    text.push_str(&quoted);
                }
                '$' => {
                    let value = self.dollar()?;
                    value.chars().for_each(|letter| words.add(letter));
                    text.push_str(&value);
                }
                _ if letter == self.escape => {
                    if self.mode.raw_escapes {
                        words.add_raw(letter);
                        text.push(letter);
                    }
                    let Some(next) = self.letters.next() else { break };
                    words.add_raw(next);
                    text.push(next);
                }
                _ => {
                    words.add(letter);
                    text.push(letter);
                }
            }
        }
        match stop {
            Some(stop) => {
                Err(format!("unexpected end of statement while looking for matching {stop}"))
            }
            None => Ok((text, words)),
        }
    }

    fn single(&mut self) -> Result<String, String> {
        let mut text = String::new();
        if self.mode.raw_quotes {
            text.push('\'');
        }
        loop {
            match self.letters.next() {
                Some('\'') => break,
                Some(letter) => text.push(letter),
                None => {
                    return Err(
                        "unexpected end of statement while looking for matching single-quote"
                            .to_owned(),
                    );
                }
            }
        }
        if self.mode.raw_quotes {
            text.push('\'');
        }
        Ok(text)
    }

    fn double(&mut self) -> Result<String, String> {
        let mut text = String::new();
        if self.mode.raw_quotes {
            text.push('"');
        }
        loop {
            match self.letters.next() {
                Some('"') => break,
                Some('$') => text.push_str(&self.dollar()?),
                Some(letter) if letter == self.escape => match self.letters.peek().copied() {
                    // Before others it is a letter like any other.
                    Some(next) if next == '"' || next == '$' || next == self.escape => {
                        if self.mode.raw_escapes {
                            text.push(letter);
                        }
                        text.push(next);
                        self.letters.next();
                    }
                    Some(_) => text.push(letter),
                    None => {}
                },
                Some(letter) => text.push(letter),
                None => {
                    return Err(
                        "unexpected end of statement while looking for matching double-quote"
                            .to_owned(),
                    );
                }
            }
        }
        if self.mode.raw_quotes {
            text.push('"');
        }
        Ok(text)
    }

    /// Reads what follows a dollar sign.
    fn dollar(&mut self) -> Result<String, String> {
        if self.letters.peek() != Some(&'{') {
            let name = self.name();
            return Ok(match (self.lookup)(&name) {
                _ if name.is_empty() => "$".to_owned(),
                Some(value) => value,
                None if self.mode.keep_unset => format!("${name}"),
                None => String::new(),
            });
        }
        self.letters.next();
        match self.letters.peek() {
            None => return Err("syntax error: missing '}'".to_owned()),
            Some('{' | '}' | ':') => return Err("syntax error: bad substitution".to_owned()),
            Some(_) => {}
        }
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err("syntax error: substitutions lie too deep in each other".to_owned());
        }
        let value = self.braced();
        self.depth -= 1;
        value
    }

    fn braced(&mut self) -> Result<String, String> {
        let name = self.name();
        let value = (self.lookup)(&name);
        let modifier = self.letters.next();
        match modifier {
            None => Err("syntax error: missing '}'".to_owned()),
            Some('}') => Ok(match value {
                Some(value) => value,
                None if self.mode.keep_unset => format!("${{{name}}}"),
                None => String::new(),
            }),
            Some(':') => match self.letters.next() {
                Some(modifier @ ('-' | '+' | '?')) => {
                    let word = self.operand(false)?;
                    chosen(&name, value, modifier, true, word)
                }
                Some(other) => Err(format!("unsupported modifier (:{other}) in substitution")),
                None => Err("syntax error: missing '}'".to_owned()),
            },
            Some(modifier @ ('-' | '+' | '?')) => {
                let word = self.operand(false)?;
                chosen(&name, value, modifier, false, word)
            }
            Some(modifier @ ('#' | '%')) => {
                let word = self.operand(true)?;
                let (greedy, pattern) = match word.strip_prefix(modifier) {
                    Some(rest) => (true, rest),
                    None => (false, word.as_str()),
                };
                let pattern = Glob::parse(pattern)?;
                let value = value.unwrap_or_default();
                Ok(if modifier == '#' {
                    pattern.without_prefix(&value, greedy)
                } else {
                    pattern.without_suffix(&value, greedy)
                })
            }
            Some('/') => {
                let all = self.letters.next_if_eq(&'/').is_some();
                let raw = std::mem::replace(&mut self.mode.raw_escapes, true);
                let parts = self
                    .until(Some('/'))
                    .and_then(|(pattern, _)| Ok((pattern, self.until(Some('}'))?.0)));
                self.mode.raw_escapes = raw;
                let (pattern, replacement) =
                    parts.map_err(|_| "syntax error: expected ${NAME/pattern/text}".to_owned())?;
                let glob = Glob::parse(&pattern)?;
                match value {
                    None if self.mode.keep_unset => {
                        Ok(format!("${{{name}/{pattern}/{replacement}}}"))
                    }
                    value => Ok(glob.replaced(&value.unwrap_or_default(), &replacement, all)),
                }
            }
            Some(other) => Err(format!("unsupported modifier ({other}) in substitution")),
        }
    }

    fn operand(&mut self, raw_escapes: bool) -> Result<String, String> {
        let before = self.mode.raw_escapes;
        self.mode.raw_escapes |= raw_escapes;
        let word = self.until(Some('}'));
        self.mode.raw_escapes = before;
        word.map(|(text, _)| text).map_err(|why| match self.letters.peek() {
            None => "syntax error: missing '}'".to_owned(),
            Some(_) => why,
        })
    }

    /// Reads a variable's name: letters, digits, `_`; a number; or one of the shell's own.
    fn name(&mut self) -> String {
        let mut name = String::new();
        if self.letters.peek().is_some_and(char::is_ascii_digit) {
            while let Some(digit) = self.letters.next_if(char::is_ascii_digit) {
                name.push(digit);
            }
            return name;
        }
        if let Some(special) = self.letters.next_if(|letter| "@*#!?-$".contains(*letter)) {
            return special.to_string();
        }
        while let Some(letter) =
            self.letters.next_if(|letter| letter.is_alphanumeric() || *letter == '_')
        {
            name.push(letter);
        }
        name
    }
}

fn chosen(
    name: &str,
    value: Option<String>,
    modifier: char,
    empty_is_unset: bool,
    word: String,
) -> Result<String, String> {
    let is_set = value.as_ref().is_some_and(|value| !(empty_is_unset && value.is_empty()));
    match modifier {
        '-' if is_set => Ok(value.unwrap_or_default()),
        '-' => Ok(word),
        '+' if is_set => Ok(word),
        '+' => Ok(String::new()),
        _ if is_set => Ok(value.unwrap_or_default()),
        _ if !word.is_empty() => Err(format!("{name}: {word}")),
        _ if value.is_none() => Err(format!("{name}: is not allowed to be unset")),
        _ => Err(format!("{name}: is not allowed to be empty")),
    }
}

/// A pattern of `#`, `%` and `/`: `*`, `?` and letters.
struct Glob(Vec<Part>);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Letter(char),
    One,
    Any,
}

impl Glob {
    fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut letters = text.chars();
        while let Some(letter) = letters.next() {
            parts.push(match letter {
                '*' => Part::Any,
                '?' => Part::One,
                '\\' => match letters.next() {
                    Some(next @ ('}' | '/' | '*' | '?' | '\\')) => Part::Letter(next),
                    Some(other) => return Err(format!("invalid escape '\\{other}'")),
                    None => Part::Letter('\\'),
                },
                other => Part::Letter(other),
            });
        }
        Ok(Self(parts))
    }

    /// Returns the lengths, in letters, of all beginnings of a text that it matches, the shortest first.
    fn beginnings(&self, text: &[char]) -> Vec<usize> {
        let mut ends = vec![0];
        for part in &self.0 {
            ends = match part {
                Part::Any => {
                    let first = ends.first().copied().unwrap_or(text.len() + 1);
                    (first..=text.len()).collect()
                }
                Part::One => {
                    ends.into_iter().filter(|end| *end < text.len()).map(|end| end + 1).collect()
                }
                Part::Letter(letter) => ends
                    .into_iter()
                    .filter(|end| text.get(*end) == Some(letter))
                    .map(|end| end + 1)
                    .collect(),
            };
        }
        ends
    }

    fn without_prefix(&self, value: &str, greedy: bool) -> String {
        let text: Vec<char> = value.chars().collect();
        let ends = self.beginnings(&text);
        let end = if greedy { ends.last() } else { ends.first() };
        text[end.copied().unwrap_or(0)..].iter().collect()
    }

    fn without_suffix(&self, value: &str, greedy: bool) -> String {
        let backwards = Self(self.0.iter().rev().copied().collect());
        let turned: String = value.chars().rev().collect();
        backwards.without_prefix(&turned, greedy).chars().rev().collect()
    }

    fn replaced(&self, value: &str, replacement: &str, all: bool) -> String {
        let text: Vec<char> = value.chars().collect();
        let mut result = String::new();
        let mut at = 0;
        while at < text.len() {
            match self.beginnings(&text[at..]).last() {
                Some(length) if *length > 0 => {
                    result.push_str(replacement);
                    at += length;
                    if !all {
                        break;
                    }
                }
                _ => {
                    result.push(text[at]);
                    at += 1;
                }
            }
        }
        result.extend(&text[at..]);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Option<String> {
        let value = match name {
            "A" => "a",
            "E" => "",
            "P" => "foo/bar/baz.tar.gz",
            "D" => "a-b-a-b",
            "W" => "two words",
            _ => return None,
        };
        Some(value.to_owned())
    }

    #[test]
    fn expands() {
        for (text, want) in [
            ("plain", Ok("plain")),
            ("$A", Ok("a")),
            ("${A}x", Ok("ax")),
            ("$Ax", Ok("")),
            ("$A-$A.z", Ok("a-a.z")),
            (r"\$A", Ok("$A")),
            ("'$A'", Ok("$A")),
            (r#""$A""#, Ok("a")),
            (r#""\$A""#, Ok("$A")),
            (r#""a\b""#, Ok(r"a\b")),
            (r#""say \"hi\"""#, Ok(r#"say "hi""#)),
            (r"a\ b", Ok("a b")),
            ("$", Ok("$")),
            ("a$", Ok("a$")),
            ("$1", Ok("")),
            ("$@", Ok("")),
            ("${N}", Ok("")),
            ("${N:-x}", Ok("x")),
            ("${E:-x}", Ok("x")),
            ("${E-x}", Ok("")),
            ("${A:+y}", Ok("y")),
            ("${E:+y}", Ok("")),
            ("${E+y}", Ok("y")),
            ("${N+y}", Ok("")),
            ("${N:-${A}b}", Ok("ab")),
            ("${A:?no}", Ok("a")),
            ("${N?no}", Err("N: no")),
            ("${N?}", Err("N: is not allowed to be unset")),
            ("${E:?}", Err("E: is not allowed to be empty")),
            ("${P#*/}", Ok("bar/baz.tar.gz")),
            ("${P##*/}", Ok("baz.tar.gz")),
            ("${P%.*}", Ok("foo/bar/baz.tar")),
            ("${P%%.*}", Ok("foo/bar/baz")),
            ("${P#zzz}", Ok("foo/bar/baz.tar.gz")),
            ("${P#f?o}", Ok("/bar/baz.tar.gz")),
            ("${D/a/X}", Ok("X-b-a-b")),
            ("${D//a/X}", Ok("X-b-X-b")),
            ("${D//-/}", Ok("abab")),
            ("${D/a?b/Z}", Ok("Z-a-b")),
            (r"${P/\//_}", Ok("foo_bar/baz.tar.gz")),
            ("${}", Err("syntax error: bad substitution")),
            ("${:x}", Err("syntax error: bad substitution")),
            ("${A", Err("syntax error: missing '}'")),
            ("${A:-x", Err("syntax error: missing '}'")),
            ("${A:zz}", Err("unsupported modifier (:z) in substitution")),
            ("${A^}", Err("unsupported modifier (^) in substitution")),
            ("'x", Err("unexpected end of statement while looking for matching single-quote")),
            ("\"x", Err("unexpected end of statement while looking for matching double-quote")),
        ] {
            let got = expand(text, '\\', &lookup);
            assert_eq!(got.as_deref().map_err(String::as_str), want, "{text}");
        }
        assert_eq!(expand("C:\\dir`$A", '`', &lookup).unwrap(), "C:\\dir$A");
    }

    #[test]
    fn splits_words() {
        for (text, want) in [
            ("a  b", vec!["a", "b"]),
            ("$W", vec!["two", "words"]),
            ("\"$W\" x", vec!["two words", "x"]),
            (r"a\ b c", vec!["a b", "c"]),
            ("'a b'c", vec!["a bc"]),
            ("$N", vec![]),
            ("''", vec![""]),
        ] {
            assert_eq!(expand_words(text, '\\', &lookup).unwrap(), want, "{text}");
        }
    }

    #[test]
    fn quotes_mean_nothing_in_documents() {
        let text = "$A \"q\" 's' ${N:-dd} \\$A\n";
        assert_eq!(expand_document(text, &lookup).unwrap(), "a \"q\" 's' dd $A\n");
    }

    #[test]
    fn depth_is_limited() {
        let text = "${N:-".repeat(5000) + &"}".repeat(5000);
        assert!(expand(&text, '\\', &lookup).is_err());
    }
}
