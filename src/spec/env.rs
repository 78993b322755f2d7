//! Environment variables and labels: `NAME=VALUE` on the command line and in files.

use crate::error::{Context, Error, Kind, Result};

/// Parses one `-e` word: `NAME=VALUE`, or `NAME` or `PREFIX*` to take over from the caller.
///
/// `caller` holds the caller's environment; a variable that is not there is left out.
pub fn parse(text: &str, caller: &[(String, String)]) -> Result<Vec<(String, String)>> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (text, None),
    };
    if name.is_empty() {
        return Err(Error::new(Kind::Invalid, format!("invalid environment variable: `{text}`"))
            .hint("write NAME=VALUE, or NAME to take over your own"));
    }
    Ok(match (value, name.strip_suffix('*')) {
        (Some(value), _) => vec![(name.to_owned(), value.to_owned())],
        (None, Some(prefix)) => {
            caller.iter().filter(|(name, _)| name.starts_with(prefix)).cloned().collect()
        }
        (None, None) => caller.iter().filter(|(other, _)| other == name).cloned().collect(),
    })
}

/// Parses the content of an `--env-file`: one word per line as in [`parse`], `#` begins a comment line.
///
/// Quotes are not taken off, and white space at the end of a value stays, as in Docker.
pub fn parse_file(content: &str, caller: &[(String, String)]) -> Result<Vec<(String, String)>> {
    let mut variables = Vec::new();
    let content = content.strip_prefix('\u{feff}').unwrap_or(content);
    for (number, line) in content.lines().enumerate() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let word = if line.contains('=') { line } else { line.trim_end() };
        let name = word.split_once('=').map_or(word, |(name, _)| name);
        if name.contains(char::is_whitespace) {
            return Err(Error::new(
                Kind::Invalid,
                format!("line {}: variable `{name}` contains white space", number + 1),
            ));
        }
        variables.extend(parse(word, caller).context(|| format!("line {}", number + 1))?);
    }
    Ok(variables)
}

/// Splits a label `KEY[=VALUE]`.
pub fn parse_label(text: &str) -> Result<(String, String)> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    if key.is_empty() {
        return Err(Error::new(Kind::Invalid, format!("invalid label format: \"{text}\""))
            .hint("write KEY=VALUE"));
    }
    Ok((key.to_owned(), value.to_owned()))
}

/// Splits `KEY=VALUE` where the value must be there, as for `--sysctl`.
pub fn parse_pair(text: &str) -> Result<(String, String)> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(Error::new(Kind::Invalid, format!("`{text}` is not of the form KEY=VALUE"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller() -> Vec<(String, String)> {
        [("HOME", "/h"), ("LC_ALL", "C"), ("LC_TIME", "x")]
            .map(|(a, b)| (a.into(), b.into()))
            .into()
    }

    fn joined(variables: Vec<(String, String)>) -> String {
        variables.into_iter().map(|(a, b)| format!("{a}={b}")).collect::<Vec<_>>().join("|")
    }

    #[test]
    fn parses_variables() {
        for (text, want) in [
            ("A=1", Some("A=1")),
            ("A=", Some("A=")),
            ("A=b=c", Some("A=b=c")),
            ("HOME", Some("HOME=/h")),
            ("NONE", Some("")),
            ("LC_*", Some("LC_ALL=C|LC_TIME=x")),
            ("LC_*=1", Some("LC_*=1")),
            ("", None),
            ("=x", None),
        ] {
            assert_eq!(parse(text, &caller()).ok().map(joined), want.map(Into::into), "{text}");
        }
    }

    #[test]
    fn parses_files() {
        for (content, want) in [
            ("", Some("")),
            ("# no\n\n  \nA=1\r\nB=\"x y\" \n", Some("A=1|B=\"x y\" ")),
            ("  A=1\nA=2", Some("A=1|A=2")),
            ("HOME\nNONE", Some("HOME=/h")),
            ("A=#x", Some("A=#x")),
            ("\u{feff}A=1", Some("A=1")),
            ("a b=1", None),
            ("=1", None),
        ] {
            assert_eq!(
                parse_file(content, &caller()).ok().map(joined),
                want.map(Into::into),
                "{content:?}"
            );
        }
        let error = parse_file("A=1\n=2", &caller()).unwrap_err();
        assert!(error.to_string().starts_with("line 2: "), "{error}");
    }

    #[test]
    fn parses_labels() {
        for (text, want) in [
            ("a=b", Some(("a", "b"))),
            ("a", Some(("a", ""))),
            ("a=b=c", Some(("a", "b=c"))),
            ("=b", None),
        ] {
            let want = want.map(|(key, value)| (key.to_owned(), value.to_owned()));
            assert_eq!(parse_label(text).ok(), want, "{text}");
        }
    }
}
