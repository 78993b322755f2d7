//! Flags, words and JSON within one instruction.

/// Splits an instruction into its name, its flags and the rest.
pub(super) fn command(text: &str) -> (&str, Vec<String>, &str) {
    let text = text.trim();
    let (name, rest) = text.split_once(is_blank).unwrap_or((text, ""));
    let (flags, rest) = flags(rest);
    (name, flags, rest.trim())
}

/// As Go's `\s`-like class of the Dockerfile format.
pub(super) fn is_blank(letter: char) -> bool {
    matches!(letter, '\t' | '\u{b}' | '\u{c}' | '\r' | ' ')
}

/// Takes the words that begin with `--` off; quotes keep blanks in them.
fn flags(text: &str) -> (Vec<String>, &str) {
    let mut flags = Vec::new();
    let mut rest = text.trim_start();
    while rest.starts_with("--") {
        let mut word = String::new();
        let mut quote = None;
        let mut letters = rest.char_indices();
        let mut end = rest.len();
        while let Some((at, letter)) = letters.next() {
            match (letter, quote) {
                (letter, Some(open)) if letter == open => quote = None,
                ('\\', _) => word.extend(letters.next().map(|(_, next)| next)),
                ('\'' | '"', None) => quote = Some(letter),
                (letter, None) if letter.is_whitespace() => {
                    end = at;
                    break;
                }
                (letter, _) => word.push(letter),
            }
        }
        rest = rest[end..].trim_start();
        if word == "--" {
            break;
        }
        flags.push(word);
    }
    (flags, rest)
}

/// Splits at blanks.
pub(super) fn blanks(text: &str) -> Vec<String> {
    text.split(is_blank).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// What a list in JSON is not.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NotJson {
    /// Not JSON at all, or no list.
    Other,
    /// A list of other things than strings.
    NotStrings,
}

/// Reads a list of strings.
pub(super) fn json(text: &str) -> Result<Vec<String>, NotJson> {
    let text = text.trim_start();
    if !text.starts_with('[') {
        return Err(NotJson::Other);
    }
    let values: Vec<serde_json::Value> = serde_json::from_str(text).map_err(|_| NotJson::Other)?;
    let strings = values.into_iter().map(|value| match value {
        serde_json::Value::String(text) => Ok(text),
        _ => Err(NotJson::NotStrings),
    });
    strings.collect()
}

/// Splits words as `ENV` has them: quotes and escapes keep blanks, and stay.
pub(super) fn words(text: &str, escape: char) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if quote.is_none() && letter.is_whitespace() {
            words.extend(word.take());
            continue;
        }
        let it = word.get_or_insert_default();
        if letter == escape && quote != Some('\'') {
            // At the end it says nothing.
            if let Some(next) = letters.next() {
                it.push(letter);
                it.push(next);
            }
            continue;
        }
        match quote {
            Some(open) if letter == open => quote = None,
            None if matches!(letter, '\'' | '"') => quote = Some(letter),
            _ => {}
        }
        it.push(letter);
    }
    words.extend(word.filter(|word| !word.is_empty()));
    words
}
