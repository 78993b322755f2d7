//! Endpoints that change how a container is.

use hyper::StatusCode;
use serde::Deserialize;
use serde_json::json;

use super::asked::{LimitsAsked, RestartAsked, or_default};
use super::{find, spec};
use crate::api::query::Query;
use crate::api::reply::{Head, JSON, Reply};
use crate::api::request::Call;
use crate::engine::{Condition, Engine, RemoveOptions, StopOptions, Stopped, Update};
use crate::error::{Error, Kind, Result};
use crate::spec::process::Signal;

/// `POST /containers/{id}/start`.
pub(super) fn start(engine: &Engine, call: &mut Call) -> Result<Reply> {
    let container = find(engine, call.name())?;
    match engine.start(container.id(), None) {
        Ok(Some(_)) => Ok(Reply::done()),
        Ok(None) => Ok(Reply::unchanged()),
        Err(error) => {
            if container.config.settings.remove {
                // Nobody else removes one that has never run.
                let options = RemoveOptions { force: true, volumes: true, seconds: None };
                drop(engine.remove(container.id().as_str(), options));
            }
            Err(in_runc_words(error))
        }
    }
}

/// Says what clients look for to tell 126 and 127 from other failures.
pub(in crate::api) fn in_runc_words(error: Error) -> Error {
    let lacks = |words: &[&str], text: &str| !words.iter().any(|word| text.contains(word));
    let text = error.to_string();
    let words = match error.kind() {
        Kind::CommandNotFound
            if lacks(&["executable file not found", "no such file or directory"], &text) =>
        {
            "executable file not found in $PATH"
        }
        Kind::CommandNotExecutable if lacks(&["permission denied", "is a directory"], &text) => {
            "permission denied"
        }
        _ => return error,
    };
    let kind = error.kind();
    Error::new(kind, format!("failed to create task for container: {text}: {words}"))
}

/// Reads the signal, and how long to wait before killing; -1 is for good.
fn stop_options(call: &Call) -> Result<StopOptions> {
    let asked = call.query.parse::<i64>("t")?;
    Ok(StopOptions {
        signal: call.query.get("signal").map(str::parse).transpose()?,
        seconds: asked.map(|seconds| u32::try_from(seconds).unwrap_or(u32::MAX / 1000)),
    })
}

/// `POST /containers/{id}/stop`.
pub(super) fn stop(engine: &Engine, call: &mut Call) -> Result<Reply> {
    let options = stop_options(call)?;
    let container = find(engine, call.name())?;
    match engine.stop(container.id().as_str(), options)? {
        Stopped::NotRunning => Ok(Reply::unchanged()),
        Stopped::InTime | Stopped::Killed { .. } => Ok(Reply::done()),
    }
}

/// `POST /containers/{id}/restart`.
pub(super) fn restart(engine: &Engine, call: &mut Call) -> Result<Reply> {
    let options = stop_options(call)?;
    let container = find(engine, call.name())?;
    // The answer has no place for warnings.
    drop(engine.restart(container.id().as_str(), options).map_err(in_runc_words)?);
    Ok(Reply::done())
}

/// `POST /containers/{id}/kill`.
pub(super) fn kill(engine: &Engine, call: &mut Call) -> Result<Reply> {
    let signal = call.query.get("signal").map_or(Ok(Signal::KILL), str::parse)?;
    let container = find(engine, call.name())?;
    if container.state.run().is_none() {
        return Err(Error::new(
            Kind::Conflict,
            format!(
                "cannot kill container: {}: container {} is not running",
                call.name(),
                container.id()
            ),
        ));
    }
    engine.kill(container.id().as_str(), signal)?;
    Ok(Reply::done())
}

/// `POST /containers/{id}/pause`.
pub(super) fn pause(engine: &Engine, call: &mut Call) -> Result<Reply> {
    let container = find(engine, call.name())?;
    engine.pause(container.id().as_str())?;
    Ok(Reply::done())
}

/// `POST /containers/{id}/unpause`.
pub(super) fn unpause(engine: &Engine, call: &mut Call) -> Result<Reply> {
    let container = find(engine, call.name())?;
    engine.unpause(container.id().as_str())?;
    Ok(Reply::done())
}

/// `POST /containers/{id}/rename`.
pub(super) fn rename(engine: &Engine, call: &mut Call) -> Result<Reply> {
    let container = find(engine, call.name())?;
    let new = call.query.get("name").unwrap_or_default();
    if new.is_empty() {
        return Err(Error::new(Kind::Invalid, "Neither old nor new names may be empty"));
    }
    engine.rename(container.id().as_str(), new.strip_prefix('/').unwrap_or(new))?;
    Ok(Reply::done())
}

/// `POST /containers/{id}/resize`.
pub(super) fn resize(engine: &Engine, call: &mut Call) -> Result<Reply> {
    let (rows, columns) = size(&call.query)?;
    let container = find(engine, call.name())?;
    engine.resize(container.id().as_str(), rows, columns)?;
    Ok(Reply::empty(StatusCode::OK))
}

/// Reads rows and columns.
pub(in crate::api) fn size(query: &Query) -> Result<(u16, u16)> {
    let number = |name: &str| {
        query
            .parse::<u16>(name)?
            .ok_or_else(|| Error::new(Kind::Invalid, format!("the parameter {name} is missing")))
    };
    Ok((number("h")?, number("w")?))
}

/// `DELETE /containers/{id}`.
pub(super) fn remove(engine: &Engine, call: &mut Call) -> Result<Reply> {
    let container = find(engine, call.name())?;
    if call.query.is_set("link") {
        return Err(Error::new(Kind::Unsupported, "links between containers are no objects here"));
    }
    let options = RemoveOptions {
        force: call.query.is_set("force"),
        volumes: call.query.is_set("v"),
        seconds: Some(0),
    };
    engine.remove(container.id().as_str(), options).map_err(|error| match error.kind() {
        Kind::Invalid => error.kind_is(Kind::Conflict),
        _ => error,
    })?;
    Ok(Reply::done())
}

/// `POST /containers/{id}/wait`.
pub(super) fn wait(engine: &Engine, call: &mut Call) -> Result<Reply> {
    let container = find(engine, call.name())?;
    let condition = match call.query.get("condition") {
        None | Some("not-running") => Condition::NotRunning,
        Some("next-exit") => Condition::NextExit,
        Some("removed") => Condition::Removed,
        Some(other) => {
            return Err(Error::new(Kind::Invalid, format!("invalid condition: \"{other}\"")));
        }
    };
    let code = engine.wait_when_ready(container.id().as_str(), condition, || {
        // The client starts the container when it sees that we wait.
        call.stream(Head::new(StatusCode::OK, JSON)).map(drop)
    });
    let document = match code {
        Ok(code) => json!({ "StatusCode": code }),
        Err(error) if call.has_begun() => {
            json!({ "StatusCode": 125, "Error": { "Message": error.to_string() } })
        }
        Err(error) => return Err(error),
    };
    call.line(&document)?;
    Ok(Reply::streamed())
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct UpdateAsked {
    #[serde(flatten)]
    limits: LimitsAsked,
    #[serde(deserialize_with = "or_default")]
    restart_policy: RestartAsked,
}

/// `POST /containers/{id}/update`.
pub(super) fn update(engine: &Engine, call: &mut Call) -> Result<Reply> {
    let asked: UpdateAsked = call.json()?;
    let container = find(engine, call.name())?;
    let restart = match asked.restart_policy.name.as_str() {
        "" => None,
        _ => Some(spec::restart(&asked.restart_policy)?),
    };
    let update =
        Update { resources: spec::resources(&asked.limits)?, restart, ..Update::default() };
    let (_, warnings) = engine.update(container.id().as_str(), &update)?;
    Ok(Reply::json(&json!({ "Warnings": warnings })))
}

/// `POST /containers/prune`.
pub(super) fn prune(engine: &Engine, call: &mut Call) -> Result<Reply> {
    let pruned = engine.prune_containers(&call.query.filters()?)?;
    let deleted = Some(&pruned.containers).filter(|all| !all.is_empty());
    Ok(Reply::json(&json!({ "ContainersDeleted": deleted, "SpaceReclaimed": pruned.bytes })))
}
