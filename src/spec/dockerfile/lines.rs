//! A Dockerfile's text as instructions: comments left out, continued lines joined, here-documents
//! taken along.

use super::heredoc::{self, Heredoc};
use super::problem;
use crate::error::Result;

/// What the lines at the head say about how the rest is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directives {
    /// The letter that continues lines and takes the meaning from others.
    pub escape: char,
    /// The frontend that the file asks for.
    pub syntax: Option<String>,
    /// Which lints are skipped, and whether they are errors.
    pub check: Option<String>,
}

impl Default for Directives {
    fn default() -> Self {
        Self { escape: '\\', syntax: None, check: None }
    }
}

/// One instruction, as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Logical {
    /// Number of its first line.
    pub(super) first: usize,
    /// Number of its last line, here-documents included.
    pub(super) last: usize,
    /// Its text on one line.
    pub(super) text: String,
    /// The documents that follow it.
    pub(super) heredocs: Vec<Heredoc>,
    /// Whether there was an empty line in it.
    pub(super) has_empty_line: bool,
}

impl Logical {
    /// Returns its first word.
    pub(super) fn name(&self) -> &str {
        self.text.split_whitespace().next().unwrap_or_default()
    }
}

/// Instructions whose here-documents are read.
const WITH_HEREDOCS: [&str; 3] = ["add", "copy", "run"];

/// Splits a file into its instructions.
pub(super) fn split(name: &str, text: &str) -> Result<(Directives, Vec<Logical>)> {
    let mut lines = Lines { rest: text.strip_prefix('\u{feff}').unwrap_or(text), number: 0 };
    let mut directives = Head::default();
    let mut all = Vec::new();
    while let Some(line) = lines.next() {
        let first = lines.number;
        let line = line.trim_end_matches(['\r', '\n']).trim_start();
        directives.read(line).map_err(|why| problem(name, first, line, &why))?;
        let escape = directives.found.escape;
        if line.starts_with('#') || line.is_empty() {
            continue;
        }
        let (part, mut goes_on) = continued(line, escape);
        let mut text = part.to_owned();
        let mut has_empty_line = false;
        while goes_on {
            let Some(next) = lines.next() else { break };
            let next = next.trim_end_matches(['\r', '\n']);
            let begun = next.trim_start();
            if begun.starts_with('#') {
                continue;
            }
            if begun.is_empty() {
                has_empty_line = true;
                continue;
            }
            let (part, more) = continued(next, escape);
            text.push_str(part);
            goes_on = more;
        }
        let mut heredocs = Vec::new();
        if may_have_heredocs(&text) {
            for mut heredoc in heredoc::of_line(&text) {
                if !lines.take_document(&mut heredoc) {
                    let why = format!(
                        "unterminated heredoc: expected a line `{}` before the end of the file",
                        heredoc.name
                    );
                    return Err(problem(name, first, line, &why));
                }
                heredocs.push(heredoc);
            }
        }
        all.push(Logical { first, last: lines.number, text, heredocs, has_empty_line });
    }
    Ok((directives.found, all))
}

fn may_have_heredocs(text: &str) -> bool {
    let mut words = text.split_whitespace().map(str::to_ascii_lowercase);
    let first = words.next().unwrap_or_default();
    let is_one = |word: &str| WITH_HEREDOCS.contains(&word);
    is_one(&first) || (first == "onbuild" && words.next().is_some_and(|word| is_one(&word)))
}

/// Takes the mark off a line that goes on; one that is itself escaped is none.
fn continued(line: &str, escape: char) -> (&str, bool) {
    let bare = line.trim_end_matches([' ', '\t']);
    match bare.strip_suffix(escape) {
        Some(before) if !before.ends_with(escape) => (before, true),
        _ => (line, false),
    }
}

struct Lines<'a> {
    rest: &'a str,
    number: usize,
}

impl<'a> Lines<'a> {
    /// Returns the next line with its end.
    fn next(&mut self) -> Option<&'a str> {
        if self.rest.is_empty() {
            return None;
        }
        let end = self.rest.find('\n').map_or(self.rest.len(), |at| at + 1);
        let (line, rest) = self.rest.split_at(end);
        self.rest = rest;
        self.number += 1;
        Some(line)
    }

    /// Reads a document to its last line; `false` if there is none.
    fn take_document(&mut self, heredoc: &mut Heredoc) -> bool {
        while let Some(line) = self.next() {
            let bare = line.trim_end_matches(['\r', '\n']);
            let bare = if heredoc.chomp { bare.trim_start_matches('\t') } else { bare };
            if bare == heredoc.name {
                return true;
            }
            heredoc.content.push_str(line);
        }
        false
    }
}

/// The lines at the head, while they are directives.
#[derive(Default)]
struct Head {
    found: Directives,
    seen: Vec<&'static str>,
    ended: bool,
}

impl Head {
    fn read(&mut self, line: &str) -> Result<(), String> {
        const KNOWN: [&str; 3] = ["escape", "syntax", "check"];
        if self.ended {
            return Ok(());
        }
        let Some((name, value)) = directive(line) else {
            self.ended = true;
            return Ok(());
        };
        let name = name.to_ascii_lowercase();
        let Some(known) = KNOWN.iter().find(|known| **known == name) else { return Ok(()) };
        if self.seen.contains(known) {
            return Err(format!("only one {name} parser directive can be used"));
        }
        self.seen.push(known);
        match *known {
            "escape" => {
                self.found.escape = match value {
                    "\\" => '\\',
                    "`" => '`',
                    _ => return Err(format!("invalid escape `{value}`: expected ` or \\")),
                }
            }
            "syntax" => self.found.syntax = Some(value.to_owned()),
            _ => self.found.check = Some(value.to_owned()),
        }
        Ok(())
    }
}

/// Reads `# NAME = VALUE`.
fn directive(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.strip_prefix('#')?.trim_start().split_once('=')?;
    let (name, value) = (name.trim_end(), value.trim());
    let is_name = name.starts_with(|letter: char| letter.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
    (is_name && !value.is_empty()).then_some((name, value))
}
