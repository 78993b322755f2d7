//! Patterns of paths, as `--mount type=glob` has them.

use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;

use crate::error::{Context, Error, Kind, Result};

/// Returns the paths that an absolute pattern names, in order. `*`, `?` and `[…]` stand for anything but
/// slashes, `\` makes the next character an ordinary one.
pub(super) fn expand(pattern: &Path) -> Result<Vec<PathBuf>> {
    let mut found = vec![PathBuf::new()];
    for part in pattern.components() {
        let part = part.as_os_str();
        let Some(text) = part.to_str().filter(|text| text.contains(['*', '?', '[', '\\'])) else {
            found.iter_mut().for_each(|path| path.push(part));
            continue;
        };
        let names =
            matcher(text).context(|| format!("`{}` is no pattern of paths", pattern.display()))?;
        let mut next = Vec::new();
        for dir in &found {
            // What is no directory, or not for us, has nothing that matches.
            for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
                if entry.file_name().to_str().is_some_and(|name| names.is_match(name)) {
                    next.push(dir.join(entry.file_name()));
                }
            }
        }
        found = next;
    }
    found.retain(|path| path.symlink_metadata().is_ok());
    found.sort();
    Ok(found)
}

/// Makes a regular expression of a pattern of names.
fn matcher(pattern: &str) -> Result<Regex> {
    let mut expression = "(?s)^".to_owned();
    let mut letters = pattern.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '*' => expression.push_str(".*"),
            '?' => expression.push('.'),
            '[' => {
                expression.push('[');
                let mut first = true;
                loop {
                    match letters.next() {
                        Some('^' | '!') if first => expression.push('^'),
                        Some(']') if !first => break,
                        Some('-') => expression.push('-'),
                        Some('\\') => literal(&mut expression, letters.next())?,
                        letter => literal(&mut expression, letter)?,
                    }
                    first = false;
                }
                expression.push(']');
            }
            '\\' => literal(&mut expression, letters.next())?,
            letter => literal(&mut expression, Some(letter))?,
        }
    }
    expression.push('$');
    Regex::new(&expression).map_err(|_| Error::new(Kind::Invalid, "it cannot be understood"))
}

fn literal(expression: &mut String, letter: Option<char>) -> Result<()> {
    let letter = letter.ok_or_else(|| Error::new(Kind::Invalid, "it ends in the middle"))?;
    expression.push_str(&regex::escape(letter.encode_utf8(&mut [0; 4])));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_names() {
        for (pattern, name, want) in [
            ("lib*.so", "libc.so", Some(true)),
            ("lib*.so", "libc.so.6", Some(false)),
            ("*", ".hidden", Some(true)),
            ("a?c", "abc", Some(true)),
            ("a?c", "ac", Some(false)),
            ("[a-c]x", "bx", Some(true)),
            ("[^a-c]x", "bx", Some(false)),
            ("[!a]x", "bx", Some(true)),
            (r"a\*", "a*", Some(true)),
            (r"a\*", "ab", Some(false)),
            ("a+(b)", "a+(b)", Some(true)),
            ("[a", "a", None),
            (r"a\", "a", None),
        ] {
            assert_eq!(matcher(pattern).ok().map(|it| it.is_match(name)), want, "{pattern} {name}");
        }
    }
}
