//! How a container is, in words for people.

use std::time::Duration;

use crate::spec::duration;
use crate::store::container::{Container, ContainerState, Status as State};
use crate::store::health::HealthStatus;

/// Writes how long ago something was.
pub fn elapsed(since: i64, now: i64) -> String {
    duration::human(Duration::from_nanos(u64::try_from(now.saturating_sub(since)).unwrap_or(0)))
}

/// Says how a container is, with its health while it runs.
pub fn status_of(container: &Container, now: i64) -> String {
    let text = status(&container.state, now);
    match (&container.health, container.state.run()) {
        (Some(health), Some(run)) if !run.paused => match health.status {
            HealthStatus::Starting => format!("{text} (health: starting)"),
            status => format!("{text} ({})", status.as_str()),
        },
        _ => text,
    }
}

fn status(state: &ContainerState, now: i64) -> String {
    let ended = || elapsed(state.finished, now);
    match &state.status {
        State::Created => "Created".to_owned(),
        State::Initialized(_) => "Initialized".to_owned(),
        State::Running(_) if state.stopping => "Stopping".to_owned(),
        State::Running(run) if run.paused => "Paused".to_owned(),
        State::Running(_) => format!("Up {}", elapsed(state.started, now)),
        State::Restarting(_) => format!("Restarting ({}) {} ago", state.exit_code, ended()),
        // Its start failed.
        State::Exited if state.finished == 0 => format!("Exited ({})", state.exit_code),
        State::Exited => format!("Exited ({}) {} ago", state.exit_code, ended()),
    }
}

/// As [`status_of`], in the words of Docker, to which a container that stands still is up.
pub fn docker_status(container: &Container, now: i64) -> String {
    let state = &container.state;
    match &state.status {
        // It is there for who attaches before the start.
        State::Initialized(_) => "Created".to_owned(),
        State::Running(run) if run.paused => {
            format!("Up {} (Paused)", elapsed(state.started, now))
        }
        State::Running(_) if state.stopping => format!("Up {}", elapsed(state.started, now)),
        _ => status_of(container, now),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_how_a_container_is() {
        let mut state = ContainerState::created("x");
        let now = 100_000_000_000;
        assert_eq!(status(&state, now), "Created");
        state.status = State::Exited;
        state.exit_code = 3;
        assert_eq!(status(&state, now), "Exited (3)");
        state.finished = 90_000_000_000;
        assert_eq!(status(&state, now), "Exited (3) 10 seconds ago");
    }
}
