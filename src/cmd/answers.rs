//! What the documents of other hosts say, and what they are asked.

use serde_json::{Map, Value, json};

use super::World;
use super::exit::Status;
use super::listing::{inspect_format, print_inspected};
use crate::error::{Error, Kind, Result};
use crate::remote::{Host, Request, escape};
use crate::spec::filter::Filter;

/// Letters of an ID that are shown.
const SHORT: usize = 12;

/// Returns a field that is text; empty if it is none.
pub(crate) fn text<'a>(document: &'a Value, field: &str) -> &'a str {
    document[field].as_str().unwrap_or_default()
}

/// Returns a field that is a whole number; 0 if it is none.
pub(crate) fn number(document: &Value, field: &str) -> i64 {
    document[field].as_i64().unwrap_or_default()
}

/// Returns a field that counts bytes; 0 if it is none, or -1, as Docker says what nobody has counted.
pub(crate) fn bytes(document: &Value, field: &str) -> u64 {
    document[field].as_u64().unwrap_or_default()
}

/// Returns a field that is a list; empty if it is none.
pub(crate) fn list<'a>(document: &'a Value, field: &str) -> &'a [Value] {
    document[field].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Returns the words of a field that is a list of words.
pub(crate) fn words<'a>(document: &'a Value, field: &str) -> Vec<&'a str> {
    list(document, field).iter().filter_map(Value::as_str).collect()
}

/// Returns the entries of a document.
pub(crate) fn entries(document: Value) -> Vec<Value> {
    match document {
        Value::Array(all) => all,
        _ => Vec::new(),
    }
}

/// Writes a point in time as the API takes it: in seconds.
pub(crate) fn seconds(nanoseconds: i64) -> String {
    const SECOND: i64 = 1_000_000_000;
    format!("{}.{:09}", nanoseconds.div_euclid(SECOND), nanoseconds.rem_euclid(SECOND))
}

/// Returns an ID without its algorithm.
pub(crate) fn hex(id: &str) -> &str {
    id.strip_prefix("sha256:").unwrap_or(id)
}

/// Returns as much of an ID as is shown.
pub(crate) fn id(id: &str, whole: bool) -> &str {
    let hex = hex(id);
    match whole {
        true => hex,
        false => hex.get(..SHORT).unwrap_or(hex),
    }
}

/// Writes labels as listings show them.
pub(crate) fn labels(document: &Value) -> String {
    let pair =
        |(key, value): (&String, &Value)| format!("{key}={}", value.as_str().unwrap_or_default());
    let labels = document["Labels"].as_object();
    labels.map(|all| all.iter().map(pair).collect::<Vec<_>>().join(",")).unwrap_or_default()
}

/// Tells whether the host has something, by the path of what tells of it.
pub(crate) fn exists(host: &Host, path: String) -> Result<Status> {
    match host.act(Request::get(path)) {
        Ok(()) => Ok(Status::SUCCESS),
        Err(error) if error.kind() == Kind::NotFound => Ok(Status::NO),
        Err(error) => Err(error),
    }
}

/// Asks for the documents of several things and prints them as `inspect` does.
pub(crate) fn inspect(
    host: &Host,
    world: &mut World,
    format: Option<&str>,
    names: &[String],
    path: impl Fn(&str) -> String,
) -> Result<Status> {
    let format = inspect_format(format)?;
    let (mut documents, mut failures) = (Vec::new(), Vec::new());
    for name in names {
        match host.document(Request::get(path(&escape(name)))) {
            Ok(document) => documents.push(document),
            Err(error) => failures.push(error),
        }
    }
    print_inspected(&mut world.out, documents, format.as_ref(), &failures)
}

/// Writes pairs as an object; what has no value has an empty one.
pub(crate) fn object(pairs: &[String]) -> Value {
    let pair = |pair: &String| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (key.to_owned(), json!(value))
    };
    Value::Object(pairs.iter().map(pair).collect())
}

/// Writes filters as the API takes them; `None` if there are none.
pub(crate) fn filters(filters: &[Filter]) -> Result<Option<String>> {
    let mut all: Map<String, Value> = Map::new();
    for filter in filters {
        let key = match (filter.key.as_str(), filter.negated) {
            (key, false) => key.to_owned(),
            ("label", true) => "label!".to_owned(),
            (key, true) => {
                return Err(Error::new(
                    Kind::Unsupported,
                    format!("the filter {key}!= is not there on other hosts"),
                ));
            }
        };
        let values = all.entry(key).or_insert_with(|| json!([]));
        if let Value::Array(values) = values {
            values.push(json!(filter.value));
        }
    }
    Ok((!all.is_empty()).then(|| Value::Object(all).to_string()))
}

/// The name of an image, in the parts that the API wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RemoteName<'a> {
    /// All before the tag or digest.
    pub(crate) repository: &'a str,
    /// The tag, or the digest.
    pub(crate) tag: Option<&'a str>,
}

impl<'a> RemoteName<'a> {
    /// Splits a name. What it stands for is the service's to say.
    pub(crate) fn new(text: &'a str) -> Self {
        if let Some((repository, digest)) = text.split_once('@') {
            return Self { repository, tag: Some(digest) };
        }
        // A colon before a slash is that of a port.
        match text.rsplit_once(':') {
            Some((repository, tag)) if !tag.contains('/') => Self { repository, tag: Some(tag) },
            _ => Self { repository: text, tag: None },
        }
    }
}

/// Returns the ID of the container that was created last.
pub(crate) fn latest(host: &Host) -> Result<String> {
    let found = host.document(Request::get("/containers/json").with("limit", 1))?;
    match text(&found[0], "Id") {
        "" => Err(Error::new(Kind::NotFound, "there is no container")),
        id => Ok(id.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_filters_for_the_api() {
        let parsed = |texts: &[&str]| -> Vec<Filter> {
            texts.iter().map(|text| text.parse().unwrap()).collect()
        };
        let written = filters(&parsed(&["status=exited", "status=dead", "label!=x"])).unwrap();
        assert_eq!(written.unwrap(), r#"{"status":["exited","dead"],"label!":["x"]}"#);
        assert_eq!(filters(&[]).unwrap(), None);
        assert!(filters(&parsed(&["name!=x"])).is_err());
    }

    #[test]
    fn splits_names_of_images() {
        for (text, repository, tag) in [
            ("busybox", "busybox", None),
            ("localhost:5000/a", "localhost:5000/a", None),
            ("localhost:5000/a:1", "localhost:5000/a", Some("1")),
            ("a@sha256:00", "a", Some("sha256:00")),
        ] {
            assert_eq!(RemoteName::new(text), RemoteName { repository, tag }, "{text}");
        }
    }

    #[test]
    fn shortens_ids() {
        assert_eq!(id("sha256:0123456789abcdef", false), "0123456789ab");
        assert_eq!(id("0123", false), "0123");
        assert_eq!(id("sha256:0123456789abcdef", true), "0123456789abcdef");
    }
}
