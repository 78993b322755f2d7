//! Here-documents: `<<NAME`, `<<-NAME`, `3<<"NAME"`.

use super::word::{self, Mode};

/// A document that follows an instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heredoc {
    /// The word that ends it.
    pub name: String,
    /// Whether variables are replaced in it: no part of the word was quoted.
    pub expand: bool,
    /// Whether tabs at the beginnings of lines are left out.
    pub chomp: bool,
    /// Its lines.
    pub content: String,
}

impl Heredoc {
    /// Returns its lines as a file has them.
    pub fn text(&self) -> String {
        if !self.chomp {
            return self.content.clone();
        }
        self.content.split_inclusive('\n').map(|line| line.trim_start_matches('\t')).collect()
    }
}

/// Reads a word that is the mark of a document.
pub(super) fn parse(word: &str) -> Option<Heredoc> {
    let rest =
        word.trim_start_matches(|letter: char| letter.is_ascii_digit()).strip_prefix("<<")?;
    let (chomp, rest) = match rest.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    if rest.is_empty() || rest.contains('<') {
        return None;
    }
    let nothing = |_: &str| None;
    let bare = word::split(rest, '\\', Mode::KEEP_UNSET, &nothing).ok()?;
    let raw = word::split(rest, '\\', Mode::RAW, &nothing).ok()?;
    let ([name], [raw]) = (bare.as_slice(), raw.as_slice()) else { return None };
    Some(Heredoc { name: name.clone(), expand: name == raw, chomp, content: String::new() })
}

/// Finds the marks in a line. There may be blanks between a mark and its word.
pub(super) fn of_line(line: &str) -> Vec<Heredoc> {
    // What is wrong with its quotes, the instruction itself will tell.
    let words = word::split(line, '\\', Mode::RAW, &|_: &str| None).unwrap_or_default();
    let mut found = Vec::new();
    let mut words = words.into_iter();
    while let Some(mut word) = words.next() {
        let bare = word.trim_start_matches(|letter: char| letter.is_ascii_digit());
        if matches!(bare, "<<" | "<<-") {
            word.extend(words.next());
        }
        found.extend(parse(&word));
    }
    found
}
