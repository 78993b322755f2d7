//! What a client puts behind the question mark.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde_json::Value;

use crate::error::{Context, Error, Kind, Result};
use crate::spec::filter::Filter;

/// The parameters of a request, decoded.
#[derive(Clone, Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Decodes what is behind the question mark.
    pub(super) fn new(text: &str) -> Self {
        let pairs = form_urlencoded::parse(text.as_bytes());
        Self(pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
    }

    /// Returns the first value of a parameter, if it is there and not empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// Returns all values of a parameter.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// Tells whether something is asked for: by anything but what means no in Docker's eyes.
    pub(super) fn is_set(&self, name: &str) -> bool {
        self.truth(name, false)
    }

    /// As [`Query::is_set`], with what is so if nothing is said.
    pub(super) fn truth(&self, name: &str, otherwise: bool) -> bool {
        match self.get(name) {
            None => otherwise,
            Some(text) => {
                !matches!(text.to_ascii_lowercase().as_str(), "0" | "no" | "false" | "none")
            }
        }
    }

    /// Parses the value of a parameter, if it is there.
    pub(super) fn parse<T: FromStr>(&self, name: &str) -> Result<Option<T>> {
        let parse = |text: &str| {
            text.parse().map_err(|_| {
                Error::new(Kind::Invalid, format!("invalid value `{text}` of parameter {name}"))
            })
        };
        self.get(name).map(parse).transpose()
    }

    /// Parses the value of a parameter as JSON, if it is there.
    pub(super) fn json<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let parse = |text: &str| {
            serde_json::from_str(text).context(|| format!("invalid value of parameter {name}"))
        };
        self.get(name).map(parse).transpose()
    }

    /// Returns the parameter `filters`, in either of its forms.
    pub(super) fn filters(&self) -> Result<Vec<Filter>> {
        self.get("filters").map_or_else(|| Ok(Vec::new()), filters)
    }
}

/// Decodes filters: `{"status": ["running"]}`, or as of old `{"status": {"running": true}}`.
///
/// A key with `!` at its end, or a value that begins so for labels, is a filter that must not hold.
fn filters(text: &str) -> Result<Vec<Filter>> {
    let invalid = || {
        Error::new(Kind::Invalid, "invalid filters")
            .hint("write {\"KEY\": [\"VALUE\", …]}, as in {\"status\": [\"running\"]}")
    };
    let all: BTreeMap<String, Value> =
        serde_json::from_str(text).map_err(|error| invalid().caused_by(error))?;
    let mut found = Vec::new();
    for (key, values) in all {
        let values: Vec<String> = match values {
            Value::Array(values) => values
                .into_iter()
                .map(|value| match value {
                    Value::String(text) => Ok(text),
                    Value::Bool(_) | Value::Number(_) => Ok(value.to_string()),
                    _ => Err(invalid()),
                })
                .collect::<Result<_>>()?,
            Value::Object(values) => values
                .into_iter()
                .filter(|(_, on)| *on != Value::Bool(false))
                .map(|it| it.0)
                .collect(),
            Value::String(text) => vec![text],
            Value::Bool(_) | Value::Number(_) => vec![values.to_string()],
            Value::Null => Vec::new(),
        };
        let (key, negated) = match key.strip_suffix('!') {
            Some(key) => (key, true),
            None => (key.as_str(), false),
        };
        let key = key.to_ascii_lowercase();
        let filter = |value| Filter { key: key.clone(), value, negated };
        found.extend(values.into_iter().map(filter));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_both_forms_of_filters() {
        for (text, want) in [
            (r#"{"status":["running","exited"]}"#, Some(vec!["status=running", "status=exited"])),
            (r#"{"status":{"running":true}}"#, Some(vec!["status=running"])),
            (r#"{"label":{"a=b":true,"c":false}}"#, Some(vec!["label=a=b"])),
            (r#"{"label!":["a"]}"#, Some(vec!["label!=a"])),
            (r#"{"dangling":[true]}"#, Some(vec!["dangling=true"])),
            (r#"{"all":{"true":true}}"#, Some(vec!["all=true"])),
            ("{}", Some(vec![])),
            ("[]", None),
            (r#"{"a":[[]]}"#, None),
            ("nonsense", None),
        ] {
            let got = filters(text).ok().map(|filters| {
                let text = |it: Filter| {
                    format!("{}{}={}", it.key, if it.negated { "!" } else { "" }, it.value)
                };
                filters.into_iter().map(text).collect::<Vec<_>>()
            });
            let want = want.map(|all| all.into_iter().map(str::to_owned).collect::<Vec<_>>());
            assert_eq!(got, want, "{text}");
        }
    }

    #[test]
    fn tells_yes_from_no_as_docker_does() {
        for (text, want) in [
            ("a=1", true),
            ("a=true", true),
            ("a=True", true),
            ("a=0", false),
            ("a=False", false),
            ("a=no", false),
            ("a=", false),
            ("b=1", false),
        ] {
            assert_eq!(Query::new(text).is_set("a"), want, "{text}");
        }
    }

    #[test]
    fn decodes_what_is_escaped() {
        let query = Query::new("t=a%2Fb&t=c+d&x=%zz");
        assert_eq!(query.all("t").collect::<Vec<_>>(), ["a/b", "c d"]);
        assert_eq!(query.get("x"), Some("%zz"));
    }
}
