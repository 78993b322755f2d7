//! One line of a log file, taken apart.

use std::ops::Range;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use memchr::{memchr, memchr2};
use serde::Deserialize;

/// Which of the two outputs a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogStream {
    /// Standard output, or the terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

/// One line, or a part of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogLine<'a> {
    /// When it was written (RFC 3339).
    pub time: &'a str,
    /// Where it was written.
    pub stream: LogStream,
    /// Whether the line ends here.
    pub whole: bool,
    /// The text, without a line feed.
    pub text: &'a [u8],
}

/// How the lines of a file are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// `TIME STREAM TAG TEXT`.
    Kubernetes,
    /// JSON objects, as Docker writes them.
    Json,
}

/// Where the parts of a line are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Parsed {
    /// In the line.
    pub(super) time: Range<usize>,
    pub(super) stream: LogStream,
    pub(super) whole: bool,
    pub(super) text: Text,
}

/// Where a line's text is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Text {
    /// In the line from here on.
    From(usize),
    /// In the scratch space.
    Scratch,
}

impl Format {
    /// Takes a line without its line feed apart; `None` if it is damaged.
    pub(super) fn parse(self, line: &[u8], scratch: &mut Vec<u8>) -> Option<Parsed> {
        match self {
            Self::Kubernetes => kubernetes(line),
            Self::Json => {
                scratch.clear();
                json(line, scratch).or_else(|| any_json(line, scratch))
            }
        }
    }
}

fn stream(word: &[u8]) -> Option<LogStream> {
    match word {
        b"stdout" => Some(LogStream::Stdout),
        b"stderr" => Some(LogStream::Stderr),
        _ => None,
    }
}

/// The length of the names of both streams.
const STREAM: usize = 6;

fn kubernetes(line: &[u8]) -> Option<Parsed> {
    let time = memchr(b' ', line)?;
    let rest = &line[time + 1..];
    let stream = stream(rest.get(..STREAM)?)?;
    let (tag, start) = match rest.get(STREAM..STREAM + 3)? {
        [b' ', tag, b' '] => (*tag, time + 1 + STREAM + 3),
        _ => return None,
    };
    Some(Parsed { time: 0..time, stream, whole: tag == b'F', text: Text::From(start) })
}

/// Reads an object as we write it, if nothing in it is out of the ordinary.
fn json(line: &[u8], scratch: &mut Vec<u8>) -> Option<Parsed> {
    const START: &[u8] = b"{\"log\":\"";
    let mut at = START.len();
    line.strip_prefix(START)?;
    loop {
        let end = at + memchr2(b'"', b'\\', &line[at..])?;
        scratch.extend_from_slice(&line[at..end]);
        if line[end] == b'"' {
            at = end + 1;
            break;
        }
        let byte = match line.get(end + 1)? {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            byte @ (b'"' | b'\\' | b'/') => *byte,
            _ => return None,
        };
        scratch.push(byte);
        at = end + 2;
    }
    let rest = line[at..].strip_prefix(b",\"stream\":\"")?;
    let stream = stream(rest.get(..STREAM)?)?;
    let end = line.len() - line.ends_with(b"\"}").then_some(2)?;
    let time = end - line[..end].iter().rev().position(|byte| *byte == b'"')?;
    line[..time].strip_suffix(b"\"time\":\"")?;
    let whole = scratch.pop_if(|last| *last == b'\n').is_some();
    Some(Parsed { time: time..end, stream, whole, text: Text::Scratch })
}

#[derive(Deserialize)]
struct Entry<'a> {
    log: String,
    raw: Option<String>,
    stream: &'a str,
    time: &'a str,
}

/// Reads any object that has what is needed.
fn any_json(line: &[u8], scratch: &mut Vec<u8>) -> Option<Parsed> {
    let entry: Entry<'_> = serde_json::from_slice(line).ok()?;
    let raw = entry.raw.and_then(|raw| BASE64_STANDARD.decode(raw).ok());
    let whole = entry.log.ends_with('\n');
    *scratch = raw.unwrap_or_else(|| {
        let text = entry.log.strip_suffix('\n').unwrap_or(&entry.log);
        text.as_bytes().to_vec()
    });
    let start = entry.time.as_ptr() as usize - line.as_ptr() as usize;
    let time = start..start + entry.time.len();
    Some(Parsed { time, stream: stream(entry.stream.as_bytes())?, whole, text: Text::Scratch })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(format: Format, line: &[u8]) -> Option<(String, LogStream, bool, Vec<u8>)> {
        let mut scratch = Vec::new();
        let parsed = format.parse(line, &mut scratch)?;
        let time = String::from_utf8(line[parsed.time].to_vec()).unwrap();
        let text = match parsed.text {
            Text::From(start) => line[start..].to_vec(),
            Text::Scratch => scratch,
        };
        Some((time, parsed.stream, parsed.whole, text))
    }

    #[test]
    fn reads_lines_of_kubernetes() {
        let time = "2026-01-01T00:00:00Z";
        for (line, want) in [
            (
                "2026-01-01T00:00:00Z stderr P some text",
                Some((LogStream::Stderr, false, "some text")),
            ),
            ("2026-01-01T00:00:00Z stdout F ", Some((LogStream::Stdout, true, ""))),
            ("2026-01-01T00:00:00Z stdout F  x", Some((LogStream::Stdout, true, " x"))),
            ("\0\0\0", None),
            ("", None),
            ("2026-01-01T00:00:00Z stdin F x", None),
            ("2026-01-01T00:00:00Z stdout", None),
        ] {
            let want = want.map(|(stream, whole, text)| {
                (time.to_owned(), stream, whole, text.as_bytes().to_vec())
            });
            assert_eq!(read(Format::Kubernetes, line.as_bytes()), want, "{line}");
        }
    }

    #[test]
    fn reads_objects_of_docker() {
        let time = "2026-01-01T00:00:00Z";
        let out = LogStream::Stdout;
        for (line, want) in [
            (r#"{"log":"a\n","stream":"stdout","time":"TIME"}"#, Some((out, true, &b"a"[..]))),
            (
                r#"{"log":"a\tb\"\\","stream":"stdout","time":"TIME"}"#,
                Some((out, false, b"a\tb\"\\")),
            ),
            (
                r#"{"log":"\u0000\n","stream":"stderr","time":"TIME"}"#,
                Some((LogStream::Stderr, true, b"\0")),
            ),
            (
                r#"{"log":"x\n","stream":"stdout","attrs":{"a":"b"},"time":"TIME"}"#,
                Some((out, true, b"x")),
            ),
            (r#"{"time":"TIME","stream":"stdout","log":"x"}"#, Some((out, false, b"x"))),
            (
                r#"{"log":"é\ufffd\n","raw":"w6n/","stream":"stdout","time":"TIME"}"#,
                Some((out, true, b"\xc3\xa9\xff")),
            ),
            (r#"{"log":"a"#, None),
            ("", None),
            (r#"{"log":"a\n","stream":"stdin","time":"TIME"}"#, None),
        ] {
            let line = line.replace("TIME", time);
            let want =
                want.map(|(stream, whole, text)| (time.to_owned(), stream, whole, text.to_vec()));
            assert_eq!(read(Format::Json, line.as_bytes()), want, "{line}");
        }
    }
}
