//! `wait` on other hosts. Docker's API waits for ends and removals of one container; for anything else it
//! is asked again and again.

use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::{Until, Wait};
use crate::cmd::World;
use crate::cmd::answers::{self, text};
use crate::cmd::containers::{Selection, for_each};
use crate::cmd::exit::Status;
use crate::error::{Error, Kind, Result};
use crate::remote::{Host, Request, escape};

/// Time between two looks, as with Podman.
const INTERVAL: Duration = Duration::from_millis(250);

/// The exit code of what has none.
const NONE: i64 = -1;

impl Wait {
    /// Does it on another host.
    pub(super) fn wait_on(self, host: &Host, world: &mut World) -> Result<Status> {
        let ended = match self.condition.as_slice() {
            [] | [Until::Stopped] => Some("not-running"),
            [Until::NextExit] => Some("next-exit"),
            [Until::Removed] => Some("removed"),
            _ => None,
        };
        let interval = self.interval.unwrap_or(INTERVAL);
        let selection = Selection::named(self.containers, self.latest);
        let names = selection.chosen_on(host, Vec::new())?;
        let mut conditions = self.condition;
        if conditions.is_empty() {
            conditions.push(Until::Stopped);
        }
        let waited = |result: Result<i64>| match result {
            Err(error) if self.ignore && error.kind() == Kind::NotFound => Ok(NONE),
            other => other,
        };
        if self.return_first {
            let code = waited(first_of(host, &names, &conditions, interval))?;
            world.out.line(&code.to_string())?;
            return Ok(Status::SUCCESS);
        }
        for_each(world, &names, Status::of_error, |world, name| {
            let code = waited(match ended {
                Some(word) => end_of(host, name, word),
                None => first_of(host, &[name], &conditions, interval),
            })?;
            world.out.line(&code.to_string())?;
            world.out.flush()
        })
    }
}

/// Has the service wait for an end, and returns the exit code.
fn end_of(host: &Host, name: &str, condition: &str) -> Result<i64> {
    let path = format!("/containers/{}/wait", escape(name));
    let ended = host.document(Request::post(path).with("condition", condition))?;
    Ok(answers::number(&ended, "StatusCode"))
}

/// Looks at containers until one of the conditions holds for one of them.
fn first_of(
    host: &Host,
    names: &[impl AsRef<str>],
    conditions: &[Until],
    interval: Duration,
) -> Result<i64> {
    let mut before: Vec<Option<Value>> = vec![None; names.len()];
    loop {
        for (name, before) in names.iter().zip(&mut before) {
            let name = name.as_ref();
            let path = format!("/containers/{}/json", escape(name));
            let found = match (host.document(Request::get(path)), &*before) {
                // It was there, and is gone: nothing else will be so any more.
                (Err(error), Some(before)) if error.kind() == Kind::NotFound => {
                    return Ok(answers::number(&before["State"], "ExitCode"));
                }
                (found, _) => found?,
            };
            let has_check = found["Config"]["Healthcheck"].is_object();
            if !has_check && conditions.iter().any(|it| it.is_of_health()) {
                let text = format!("container {name} has no defined healthcheck");
                return Err(Error::new(Kind::Conflict, text));
            }
            let is_same = |first: &Value| first["FinishedAt"] == found["State"]["FinishedAt"];
            let has_ended = before.as_ref().is_some_and(|first| !is_same(&first["State"]));
            if let Some(code) = conditions.iter().find_map(|it| it.of(&found["State"], has_ended)) {
                return Ok(code);
            }
            before.get_or_insert(found);
        }
        thread::sleep(interval);
    }
}

impl Until {
    fn is_of_health(self) -> bool {
        matches!(self, Self::Healthy | Self::Unhealthy)
    }

    /// Returns what to say of a container in this state; `None` if the condition does not hold.
    fn of(self, state: &Value, has_ended: bool) -> Option<i64> {
        let word = text(state, "Status");
        let health = text(&state["Health"], "Status");
        let code = answers::number(state, "ExitCode");
        let runs = state["Running"] == true && state["Restarting"] != true;
        let holds = match self {
            Self::Stopped => return matches!(word, "created" | "exited" | "dead").then_some(code),
            Self::NextExit => return has_ended.then_some(code),
            // It is still there.
            Self::Removed => false,
            Self::Running => runs,
            // To Docker, what is all there but its program is that, too.
            Self::Created | Self::Initialized => word == "created",
            Self::Paused => word == "paused",
            Self::Stopping => word == "stopping" || word == "removing",
            Self::Healthy => health == "healthy",
            Self::Unhealthy => health == "unhealthy",
        };
        holds.then_some(NONE)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tells_what_is_so_of_a_container() {
        let running = json!({
            "Status": "running", "Running": true, "ExitCode": 0, "Health": { "Status": "healthy" },
        });
        let exited = json!({ "Status": "exited", "Running": false, "ExitCode": 3 });
        let paused = json!({ "Status": "paused", "Running": true, "ExitCode": 0 });
        for (until, state, has_ended, want) in [
            (Until::Running, &running, false, Some(NONE)),
            (Until::Running, &paused, false, Some(NONE)),
            (Until::Running, &exited, false, None),
            (Until::Stopped, &exited, false, Some(3)),
            (Until::Stopped, &running, false, None),
            (Until::NextExit, &exited, false, None),
            (Until::NextExit, &running, true, Some(0)),
            (Until::Paused, &paused, false, Some(NONE)),
            (Until::Healthy, &running, false, Some(NONE)),
            (Until::Unhealthy, &running, false, None),
            (Until::Created, &exited, false, None),
        ] {
            assert_eq!(until.of(state, has_ended), want, "{until:?} {state}");
        }
    }
}
