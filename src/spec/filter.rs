//! Filters of listings: `--filter status=running --filter label=tier=web`.

use std::cell::RefCell;
use std::str::FromStr;

use regex::Regex;

use super::mount::parse_bool;
use crate::error::{Error, Kind, Result};

/// One filter as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// What is looked at, as in `status`.
    pub key: String,
    /// What it must be.
    pub value: String,
    /// Whether it must not be so (`!=`).
    pub negated: bool,
}

impl Filter {
    /// Returns the value of a filter that is true or false.
    pub fn truth(&self) -> Result<bool> {
        parse_bool(&self.value).ok_or_else(|| {
            let text = format!("{} `{}` is not a truth value", self.key, self.value);
            Error::new(Kind::Invalid, text)
        })
    }
}

impl FromStr for Filter {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.split_once('=') {
            Some((key, value)) if !key.trim_end_matches('!').is_empty() => {
                let (key, negated) = match key.strip_suffix('!') {
                    Some(key) => (key, true),
                    None => (key, false),
                };
                Ok(Self { key: key.trim().to_ascii_lowercase(), value: value.to_owned(), negated })
            }
            _ => Err(Error::new(
                Kind::Invalid,
                format!(
                    "invalid filter \"{text}\": must be in the format \"filter=value or filter!=value\""
                ),
            )),
        }
    }
}

/// Tells whether something passes all filters.
///
/// Several values of one key are alternatives, except for `label`, of which all must be there;
/// different keys must all hold. `test` gets a key and a value and says whether it is so; it fails
/// for a key that it does not know.
pub fn passes(
    filters: &[Filter],
    mut test: impl FnMut(&str, &str) -> Result<bool>,
) -> Result<bool> {
    let mut pass = true;
    for (index, filter) in filters.iter().enumerate() {
        let same = |other: &&Filter| other.key == filter.key && other.negated == filter.negated;
        if filter.key == "label" || filter.negated {
            pass &= test(&filter.key, &filter.value)? != filter.negated;
        } else if !filters[..index].iter().any(|other| same(&other)) {
            let mut any = false;
            for filter in filters.iter().filter(same) {
                any |= test(&filter.key, &filter.value)?;
            }
            pass &= any;
        }
    }
    Ok(pass)
}

/// Tells whether labels satisfy a filter value: `KEY` (it is there) or `KEY=VALUE`.
pub fn label_matches<'a>(
    labels: impl IntoIterator<Item = (&'a String, &'a String)>,
    wanted: &str,
) -> bool {
    let (key, value) = match wanted.split_once('=') {
        Some((key, value)) => (key, Some(value)),
        None => (wanted, None),
    };
    labels.into_iter().any(|(name, is)| name == key && value.is_none_or(|value| is == value))
}

/// Tells whether a name matches a regular expression. To Docker, names begin with a slash.
pub fn name_matches(name: &str, wanted: &str) -> bool {
    if regex::escape(wanted) == wanted {
        return name.contains(wanted);
    }
    pattern(wanted, |pattern| pattern.is_match(name) || pattern.is_match(&format!("/{name}")))
}

/// Uses a regular expression; the last one is kept, as many things are compared with one. What is
/// none matches nothing.
pub fn pattern(text: &str, test: impl FnOnce(&Regex) -> bool) -> bool {
    thread_local! {
        static LAST: RefCell<Option<(String, Option<Regex>)>> = const { RefCell::new(None) };
    }
    LAST.with_borrow_mut(|last| {
        if last.as_ref().is_none_or(|(known, _)| known != text) {
            *last = Some((text.to_owned(), Regex::new(text).ok()));
        }
        last.as_ref().and_then(|(_, pattern)| pattern.as_ref()).is_some_and(test)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_filters() {
        for (text, want) in [
            ("status=running", Some(("status", "running", false))),
            ("label=a=b", Some(("label", "a=b", false))),
            ("label!=a", Some(("label", "a", true))),
            ("name=", Some(("name", "", false))),
            ("json", None),
            ("=x", None),
            ("!=x", None),
            ("", None),
        ] {
            let got = text.parse::<Filter>().ok();
            let want = want.map(|(key, value, negated)| Filter {
                key: key.into(),
                value: value.into(),
                negated,
            });
            assert_eq!(got, want, "{text}");
        }
    }

    #[test]
    fn same_keys_are_alternatives_and_different_keys_all_hold() {
        for (filters, want) in [
            (vec![], true),
            (vec!["a=1"], true),
            (vec!["a=2"], false),
            (vec!["a=2", "a=1"], true),
            (vec!["a=1", "b=2"], false),
            (vec!["a=1", "b=1"], true),
            (vec!["a!=2"], true),
            (vec!["a!=2", "a!=1"], false),
            (vec!["label=1", "label=2"], false),
        ] {
            let filters: Vec<Filter> = filters.iter().map(|text| text.parse().unwrap()).collect();
            let got = passes(&filters, |_, value| Ok(value == "1")).unwrap();
            assert_eq!(got, want, "{filters:?}");
        }
    }

    #[test]
    fn matches_labels() {
        let labels = [("a".to_owned(), "1".to_owned())];
        let labels = || labels.iter().map(|(key, value)| (key, value));
        for (wanted, want) in
            [("a", true), ("a=1", true), ("a=2", false), ("b", false), ("a=", false)]
        {
            assert_eq!(label_matches(labels(), wanted), want, "{wanted}");
        }
    }

    #[test]
    fn matches_names() {
        for (name, wanted, want) in [
            ("web1", "web", true),
            ("web1", "eb", true),
            ("web1", "^web1$", true),
            ("web1", "^/web", true),
            ("web1", "^eb", false),
            ("web1", "web$", false),
            ("web1", "1$", true),
            ("web1", "^/web1$", true),
            ("web1", "^w.b[0-9]+$", true),
            ("web1", "web2|db", false),
            ("web1", "(", false),
        ] {
            assert_eq!(name_matches(name, wanted), want, "{name} {wanted}");
        }
    }
}
