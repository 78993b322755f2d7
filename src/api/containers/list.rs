//! `GET /containers/json`.

use serde_json::value::to_raw_value;

use crate::api::model::{docker, selection};
use crate::api::reply::Reply;
use crate::api::request::Call;
use crate::engine::{Engine, now};
use crate::error::{Context, Result};
use crate::spec::filter::Filter;
use crate::store::container::Container;
use crate::sys::threads;

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
    let mut wanted = Vec::new();
    for container in &all {
        if (every || container.state.is_up()) && selection::matches(container, &filters, &all)? {
            wanted.push(container);
        }
        if Some(wanted.len()) == limit {
            break;
        }
    }
    let ids = docker::NetworkIds::of(engine.store())?;
    let row = |container: &Container| {
        let size = sizes.then(|| engine.container_size(container)).transpose()?;
        let row = docker::summary(engine.store(), container, now, size, &ids, minor);
        to_raw_value(&row).context(|| "cannot write a list")
    };
    let rows: Vec<_> = threads::map(&wanted, |it| row(it)).into_iter().collect::<Result<_>>()?;
    Ok(Reply::json(&rows))
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
