//! An event, as Docker and Podman show it in JSON.

use serde_json::{Map, Value, json};

use super::versions;
use crate::store::events::{Action, Event, Object};

/// Makes the document of an event: Podman's fields, then Docker's. Where both have one name for a
/// thing, it is there once.
pub fn document(event: &Event) -> Value {
    let mut document = Map::new();
    let mut add = |name: &str, value: Value| document.insert(name.to_owned(), value);
    let texts = [("ID", &event.id), ("Image", &event.image), ("Name", &event.name)];
    for (name, value) in texts.into_iter().filter(|(_, value)| !value.is_empty()) {
        add(name, json!(value));
    }
    if event.action == Action::Died
        && let Some(code) = event.details.get("exitCode").and_then(|code| code.parse::<i32>().ok())
    {
        add("ContainerExitCode", json!(code));
    }
    add("Status", json!(event.action.as_str()));
    add("time", json!(event.time / 1_000_000_000));
    add("timeNano", json!(event.time));
    add("Type", json!(event.object.as_str()));
    for (name, detail) in [("HealthStatus", "health_status"), ("Error", "error")] {
        if let Some(value) = event.details.get(detail) {
            add(name, json!(value));
        }
    }
    add("Attributes", json!(event.labels));
    let action = docker_action(event);
    add("Action", json!(action));
    let id = if event.id.is_empty() { &event.name } else { &event.id };
    add("Actor", json!({ "ID": id, "Attributes": attributes(event) }));
    add("scope", json!("local"));
    add("status", json!(action));
    add("id", json!(id));
    add("from", json!(event.image));
    Value::Object(document)
}

/// Makes the document of an event with Docker's fields only: clients in Go take small and capital letters
/// for the same.
pub fn docker(event: &Event, minor: u16) -> Value {
    const FIELDS: [&str; 9] =
        ["status", "id", "from", "Type", "Action", "Actor", "scope", "time", "timeNano"];
    let Value::Object(mut whole) = document(event) else { return Value::Null };
    let is_plain = event.object != Object::Container;
    let kept = FIELDS.iter().filter(|field| !is_plain || !matches!(**field, "from"));
    let mut document: Map<String, Value> =
        kept.filter_map(|field| Some(((*field).to_owned(), whole.shift_remove(*field)?))).collect();
    if let Some(image) = document.get("from").and_then(Value::as_str) {
        let familiar = super::docker::familiar(image).to_owned();
        document["Actor"]["Attributes"]["image"] = json!(familiar);
        document["from"] = json!(familiar);
    }
    let mut document = Value::Object(document);
    versions::event(&mut document, minor);
    document
}

/// Docker says in the action how a container's health is.
fn docker_action(event: &Event) -> String {
    let name = event.action.docker_name(event.object);
    match event.details.get("health_status") {
        Some(status) => format!("{name}: {status}"),
        None => name.to_owned(),
    }
}

fn attributes(event: &Event) -> Map<String, Value> {
    let mut attributes = Map::new();
    for (key, value) in event.labels.iter().chain(&event.details) {
        attributes.insert(key.clone(), json!(value));
    }
    for (key, value) in [("image", &event.image), ("name", &event.name)] {
        if !value.is_empty() {
            attributes.insert(key.to_owned(), json!(value));
        }
    }
    attributes
}
