//! `GET /containers/json`.

use serde_json::Value;

use crate::api::model::{docker, selection};
use crate::api::reply::Reply;
use crate::api::request::Call;
use crate::engine::{Engine, now};
use crate::error::Result;
use crate::spec::filter::Filter;

/// Lists containers, the newest first.
pub(super) fn list(engine: &Engine, call: &mut Call) -> Result<Reply> {
    let filters: Vec<Filter> = call.query.filters()?.into_iter().map(in_our_words).collect();
    selection::check(&filters)?;
    let limit = call.query.parse::<i64>("limit")?.and_then(|limit| usize::try_from(limit).ok());
    let limit = limit.filter(|limit| *limit > 0);
    let by_state = filters.iter().any(|it| matches!(&*it.key, "status" | "exited"));
    let every = call.query.is_set("all") || by_state || limit.is_some();
    let relative = filters.iter().any(|it| matches!(&*it.key, "before" | "since"));
    let all = if every || relative { engine.list()? } else { engine.list_running()? };
    let now = now();
    let minor = call.version.minor;
    let sizes = call.query.is_set("size");
    let mut shown: Vec<Value> = Vec::new();
    for container in &all {
        let wanted = every || container.state.is_up();
        if !wanted || !selection::matches(container, &filters, &all)? {
            continue;
        }
        let size = sizes.then(|| engine.container_size(container)).transpose()?;
        shown.push(docker::summary(engine.store(), container, now, size, minor));
        if Some(shown.len()) == limit {
            break;
        }
    }
    Ok(Reply::json(&shown))
}

/// What Docker calls differently.
fn in_our_words(mut filter: Filter) -> Filter {
    match (filter.key.as_str(), filter.value.as_str()) {
        ("name", value) if value.starts_with('/') => filter.value = value[1..].to_owned(),
        ("ancestor", value) => {
            if let Some(id) = value.strip_prefix("sha256:") {
                filter.value = id.to_owned();
            }
        }
        _ => {}
    }
    filter
}
