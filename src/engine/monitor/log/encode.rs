//! The formats of log files: how one line of output becomes one line of the file.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::Stream;
use crate::spec::time;

/// How lines are written.
#[derive(Debug)]
pub(super) enum Format {
    /// `TIME STREAM TAG TEXT`: the tag is `F` for the end of a line and `P` for a part before it.
    Kubernetes,
    /// `{"log":TEXT,"stream":STREAM,"attrs":{…},"time":TIME}`, as Docker writes it: the text ends with
    /// a line feed if the line ends there.
    ///
    /// Bytes that are no text cannot be written in JSON. Docker replaces them for good; here `raw`,
    /// which others overlook, has the bytes as they came.
    Json {
        /// The attributes with the comma behind them; empty if there are none.
        attributes: String,
    },
}

/// What the lines that are read at once have in common.
#[derive(Debug)]
pub(super) struct Head {
    time: String,
    stream: Stream,
    /// What stands before the text in the format of Kubernetes, of a part and of the end of a line.
    starts: [String; 2],
}

impl Head {
    /// Makes the head of lines that came at this time, in nanoseconds since 1970.
    pub(super) fn new(now: i64, stream: Stream) -> Self {
        let time = time::rfc3339(now);
        let starts = ['P', 'F'].map(|tag| format!("{time} {} {tag} ", stream.name()));
        Self { time, stream, starts }
    }

    /// When they came, as RFC 3339 has it.
    pub(super) fn time(&self) -> &str {
        &self.time
    }

    /// Where they came from.
    pub(super) fn stream(&self) -> Stream {
        self.stream
    }
}

impl Format {
    /// Makes Docker's format, with attributes that go with each line.
    pub(super) fn json(attributes: &BTreeMap<String, String>) -> Self {
        let attributes = if attributes.is_empty() {
            String::new()
        } else {
            format!("\"attrs\":{},", serde_json::json!(attributes))
        };
        Self::Json { attributes }
    }

    /// Appends a line, or a part of one.
    pub(super) fn append(&self, out: &mut Vec<u8>, head: &Head, text: &[u8], whole: bool) {
        match self {
            Self::Kubernetes => {
                out.extend_from_slice(head.starts[usize::from(whole)].as_bytes());
                out.extend_from_slice(text);
                out.push(b'\n');
            }
            Self::Json { attributes } => {
                out.extend_from_slice(b"{\"log\":\"");
                escape(out, text);
                out.extend_from_slice(if whole { b"\\n\"," } else { b"\"," });
                if std::str::from_utf8(text).is_err() {
                    out.extend_from_slice(b"\"raw\":\"");
                    out.extend_from_slice(BASE64_STANDARD.encode(text).as_bytes());
                    out.extend_from_slice(b"\",");
                }
                out.extend_from_slice(b"\"stream\":\"");
                out.extend_from_slice(head.stream.name().as_bytes());
                out.extend_from_slice(b"\",");
                out.extend_from_slice(attributes.as_bytes());
                out.extend_from_slice(b"\"time\":\"");
                out.extend_from_slice(head.time.as_bytes());
                out.extend_from_slice(b"\"}\n");
            }
        }
    }
}

/// Appends text as it stands within quotation marks in JSON.
fn escape(out: &mut Vec<u8>, text: &[u8]) {
    for chunk in text.utf8_chunks() {
        let valid = chunk.valid().as_bytes();
        let mut start = 0;
        for (at, byte) in valid.iter().enumerate() {
            let escaped: &[u8] = match byte {
                b'"' => b"\\\"",
                b'\\' => b"\\\\",
                b'\r' => b"\\r",
                b'\t' => b"\\t",
                0..0x20 => b"",
                _ => continue,
            };
            out.extend_from_slice(&valid[start..at]);
            out.extend_from_slice(escaped);
            if escaped.is_empty() {
                const DIGITS: &[u8; 16] = b"0123456789abcdef";
                let [high, low] = [byte >> 4, byte & 15].map(|it| DIGITS[usize::from(it)]);
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
            }
            start = at + 1;
        }
        out.extend_from_slice(&valid[start..]);
        if !chunk.invalid().is_empty() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(format: &Format, text: &[u8], whole: bool) -> String {
        let mut out = Vec::new();
        format.append(&mut out, &Head::new(0, Stream::Stdout), text, whole);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn writes_as_kubernetes_does() {
        let format = Format::Kubernetes;
        let time = "1970-01-01T00:00:00.000000000Z";
        assert_eq!(line(&format, b"a b", true), format!("{time} stdout F a b\n"));
        assert_eq!(line(&format, b"", false), format!("{time} stdout P \n"));
    }

    #[test]
    fn writes_as_docker_does() {
        let time = "1970-01-01T00:00:00.000000000Z";
        let plain = Format::json(&BTreeMap::new());
        for (text, whole, want) in [
            (&b"a"[..], true, r#"{"log":"a\n","stream":"stdout","time":"TIME"}"#),
            (b"a", false, r#"{"log":"a","stream":"stdout","time":"TIME"}"#),
            (
                b"\"\\\t\r\x1b\0",
                true,
                r#"{"log":"\"\\\t\r\u001b\u0000\n","stream":"stdout","time":"TIME"}"#,
            ),
            (
                b"\xc3\xa9\xff",
                true,
                r#"{"log":"é\ufffd\n","raw":"w6n/","stream":"stdout","time":"TIME"}"#,
            ),
        ] {
            assert_eq!(line(&plain, text, whole), format!("{}\n", want.replace("TIME", time)));
        }
        let with = Format::json(&[("a".to_owned(), "b\"".to_owned())].into());
        let want = r#"{"log":"x\n","stream":"stdout","attrs":{"a":"b\""},"time":"TIME"}"#;
        assert_eq!(line(&with, b"x", true), format!("{}\n", want.replace("TIME", time)));
    }
}
