//! Filters of images, as in `--filter dangling=true`: for listings and prunes.

use std::collections::HashSet;

use super::remove::users;
use crate::error::{Error, Kind, Result};
use crate::spec::digest::ImageId;
use crate::spec::filter::{self, Filter};
use crate::spec::mount::parse_bool;
use crate::spec::reference::Reference;
use crate::spec::time;
use crate::store::Store;
use crate::store::image::NamedImage;

/// What listings of images can be filtered by.
pub(super) const LIST_KEYS: [&str; 12] = [
    "after",
    "before",
    "containers",
    "dangling",
    "id",
    "intermediate",
    "label",
    "manifest",
    "readonly",
    "reference",
    "since",
    "until",
];

/// What prunes of images can be filtered by.
pub(super) const PRUNE_KEYS: [&str; 3] = ["dangling", "label", "until"];

/// Refuses filters that are not known: where there is no image, they would go unnoticed.
pub(super) fn check_filters(filters: &[Filter], keys: &[&str]) -> Result<()> {
    match filters.iter().find(|filter| !keys.contains(&&*filter.key)) {
        None => Ok(()),
        Some(filter) => {
            Err(Error::new(Kind::Invalid, format!("unsupported image filter \"{}\"", filter.key))
                .hint(format!("known are {}", keys.join(", "))))
        }
    }
}

/// Filters whose values make sense, with what they refer to looked up.
pub(super) struct Filters<'a> {
    written: &'a [Filter],
    tests: Vec<Test>,
    /// The images that containers use, if that is asked for.
    used: HashSet<ImageId>,
}

/// What is asked of an image.
enum Test {
    /// It was made later than this, in nanoseconds since 1970.
    After(i64),
    /// It was made earlier.
    Before(i64),
    Containers(bool),
    Dangling(bool),
    Id(String),
    Label(String),
    /// It is something that no image here is: a step of a build, a list, on a read-only disk.
    Never(bool),
    Reference(String),
}

impl<'a> Filters<'a> {
    /// Looks up what filters refer to; `now` is in nanoseconds since 1970.
    pub(super) fn new(store: &Store, written: &'a [Filter], now: i64) -> Result<Self> {
        let tests = written.iter().map(|filter| test(store, filter, now));
        let tests: Vec<Test> = tests.collect::<Result<_>>()?;
        let asks_for_users = tests.iter().any(|test| matches!(test, Test::Containers(_)));
        let used =
            if asks_for_users { users(store)?.into_keys().collect() } else { HashSet::new() };
        Ok(Self { written, tests, used })
    }

    /// Tells whether an image passes.
    pub(super) fn pass(&self, named: &NamedImage) -> Result<bool> {
        filter::passes(self.written, |key, value| {
            let at = self.written.iter().position(|it| it.key == key && it.value == value);
            Ok(at.is_some_and(|index| self.holds(&self.tests[index], named)))
        })
    }

    /// Keeps those names that `reference` filters ask for.
    pub(super) fn keep_names(&self, names: &mut Vec<Reference>) {
        let wanted = |wanted_names: bool| {
            let pairs = self.tests.iter().zip(self.written);
            pairs.filter_map(move |(test, written)| match test {
                Test::Reference(text) if written.negated != wanted_names => Some(text),
                _ => None,
            })
        };
        if wanted(true).next().is_some() {
            names.retain(|name| wanted(true).any(|text| name_matches(name, text)));
        }
        names.retain(|name| !wanted(false).any(|text| name_matches(name, text)));
    }

    fn holds(&self, test: &Test, named: &NamedImage) -> bool {
        let NamedImage { image, names, digests } = named;
        match test {
            Test::After(time) => image.created > *time,
            Test::Before(time) => image.created < *time,
            Test::Containers(wanted) => self.used.contains(&image.id) == *wanted,
            Test::Dangling(wanted) => names.is_empty() == *wanted,
            Test::Id(digits) => image.id.hex().starts_with(digits),
            Test::Label(text) => filter::label_matches(&image.config.labels, text),
            Test::Never(wanted) => !wanted,
            Test::Reference(text) => {
                names.iter().chain(digests).any(|name| name_matches(name, text))
            }
        }
    }
}

fn test(store: &Store, filter: &Filter, now: i64) -> Result<Test> {
    let Filter { key, value, .. } = filter;
    let truth = || {
        parse_bool(value).ok_or_else(|| {
            Error::new(
                Kind::Invalid,
                format!(
                    "invalid value \"{value}\" of image filter \"{key}\": it is not a truth value"
                ),
            )
        })
    };
    let created = || store.images().lookup(value).map(|image| image.created);
    Ok(match key.as_str() {
        "after" | "since" => Test::After(created()?),
        "before" => Test::Before(created()?),
        "containers" => Test::Containers(truth()?),
        "dangling" => Test::Dangling(truth()?),
        "id" => Test::Id(value.strip_prefix("sha256:").unwrap_or(value).to_owned()),
        "intermediate" | "manifest" | "readonly" => Test::Never(truth()?),
        "label" => Test::Label(value.clone()),
        "reference" => Test::Reference(value.clone()),
        "until" => Test::Before(time::parse(value, now)?),
        _ => {
            check_filters(std::slice::from_ref(filter), &LIST_KEYS)?;
            Test::Never(true)
        }
    })
}

/// Tells whether a name is what is written: in full or short, with or without tag or digest; `*` is
/// any text without a slash.
pub(super) fn name_matches(name: &Reference, wanted: &str) -> bool {
    let last = wanted.rfind('/').map_or(0, |slash| slash + 1);
    let in_full = wanted[last..].contains([':', '@']);
    let (long, short) = match in_full {
        true => (name.to_string(), name.familiar()),
        false => (name.repository(), name.familiar_repository()),
    };
    let ends = |whole: &str| {
        whole
            .char_indices()
            .filter(|(index, _)| *index == 0 || whole[..*index].ends_with('/'))
            .any(|(index, _)| glob(wanted, &whole[index..]))
    };
    glob(wanted, &short) || ends(&long)
}

/// Matches a pattern in which `*` is any text without a slash, and `?` any one character but a slash.
///
/// Goes back to the last star only, so that the time does not explode with their number.
fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    let (mut at, mut position) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while position < text.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, position));
                at += 1;
            }
            Some('?') if text[position] != '/' => {
                at += 1;
                position += 1;
            }
            Some(letter) if *letter == text[position] => {
                at += 1;
                position += 1;
            }
            _ => match star {
                // The star takes one more.
                Some((star_at, begin)) if text[begin] != '/' => {
                    star = Some((star_at, begin + 1));
                    at = star_at + 1;
                    position = begin + 1;
                }
                _ => return false,
            },
        }
    }
    pattern[at..].iter().all(|letter| *letter == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_names() {
        let name = Reference::candidates("docker.io/library/nginx:1.27").unwrap().remove(0);
        for (wanted, want) in [
            ("nginx", true),
            ("nginx:1.27", true),
            ("nginx:1.*", true),
            ("nginx:*.?7", true),
            ("library/nginx", true),
            ("docker.io/library/nginx", true),
            ("docker.io/*/nginx:*", true),
            ("ngin*", true),
            ("*ng*n*", true),
            ("*/nginx", true),
            ("ngin", false),
            ("nginx:1", false),
            ("ginx", false),
            ("docker.io*nginx", false),
            ("*/*/*/nginx", false),
            ("", false),
        ] {
            assert_eq!(name_matches(&name, wanted), want, "{wanted}");
        }
        assert!(!glob(&"*a".repeat(50), &"b".repeat(5000)), "in a moment");
    }
}
