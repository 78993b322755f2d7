//! Documents of Docker's REST API where they are not those of the command line.
//!
//! Names, types and zero values are those of `docker-api-v1.56.yaml`, and of Docker's servers where it
//! says nothing. `minor` is the minor version of the API that the client asks for: 45 for 1.45.

pub mod image;
pub mod network;
pub mod secret;
pub mod usage;
pub mod volume;

use std::collections::BTreeMap;

use serde_json::{Value, json};

/// A time that never was, as Go writes it.
pub(super) const NEVER: &str = "0001-01-01T00:00:00Z";

/// Returns labels or options; Docker has no empty ones of what it was not told.
fn or_null(pairs: &BTreeMap<String, String>) -> Value {
    if pairs.is_empty() { Value::Null } else { json!(pairs) }
}

/// Returns a list; Docker has no empty one of what nothing was added to.
fn list_or_null(list: Vec<Value>) -> Value {
    if list.is_empty() { Value::Null } else { list.into() }
}
