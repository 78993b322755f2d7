//! Which containers a filter of `ps` and of the container list means.

use std::path::Path;

use regex::Regex;

use super::container::command;
use super::network;
use crate::error::{Error, Kind, Result};
use crate::spec::filter::{self, Filter};
use crate::spec::limits::RestartPolicy;
use crate::spec::membership::{DEFAULT_ALIAS, DEFAULT_NETWORK};
use crate::spec::mount::{MountSource, parse_bool};
use crate::spec::{process::Signal, time};
use crate::store::container::{Container, Status as State};

/// What containers can be filtered by.
const KEYS: [&str; 21] = [
    "ancestor",
    "annotation",
    "before",
    "command",
    "exited",
    "expose",
    "health",
    "id",
    "is-task",
    "label",
    "name",
    "network",
    "pod",
    "publish",
    "restart-policy",
    "should-start-on-boot",
    "since",
    "status",
    "stop-signal",
    "until",
    "volume",
];

/// Refuses filters that are not known; they would go unnoticed where there is no container.
pub fn check(filters: &[Filter]) -> Result<()> {
    if let Some(filter) = filters.iter().find(|filter| !KEYS.contains(&&*filter.key)) {
        return Err(unknown(&filter.key));
    }
    for filter in filters.iter().filter(|filter| matches!(&*filter.key, "id" | "name")) {
        if let Err(error) = Regex::new(&filter.value) {
            let reason = error.to_string().lines().last().unwrap_or_default().to_owned();
            let text = format!("invalid filter \"{}={}\"", filter.key, filter.value);
            return Err(Error::new(Kind::Invalid, text).caused_by(reason));
        }
    }
    Ok(())
}

fn unknown(key: &str) -> Error {
    Error::new(Kind::Invalid, format!("{key} is an invalid filter"))
        .hint(format!("known are {}", KEYS.join(", ")))
}

/// Tells whether a container passes the filters.
pub fn matches(container: &Container, filters: &[Filter], all: &[Container]) -> Result<bool> {
    filter::passes(filters, |key, value| test(container, key, value, all))
}

fn test(container: &Container, key: &str, value: &str, all: &[Container]) -> Result<bool> {
    let Container { config, state, .. } = container;
    Ok(match key {
        "id" => id_matches(config.id.as_str(), value),
        "name" => filter::name_matches(&state.name, value),
        "status" => match value {
            "created" | "initialized" | "running" | "paused" | "restarting" | "exited"
            | "stopping" => state.word() == value,
            "configured" => state.word() == "created",
            "stopped" => state.word() == "exited",
            "dead" | "removing" => false,
            _ => {
                return Err(Error::new(Kind::Invalid, format!("unknown container state: {value}")));
            }
        },
        "exited" => {
            let code: i32 = value.parse().map_err(|_| {
                Error::new(Kind::Invalid, format!("exited code `{value}` is not a number"))
            })?;
            state.status == State::Exited && state.exit_code == code
        }
        "expose" => config.exposed_ports.iter().any(|port| is_in_ports(value, port)),
        "publish" => network::published(state).iter().any(|port| {
            let outside = format!("{}/{}", port.host_port, port.protocol);
            is_in_ports(value, &outside)
        }),
        // There are none here.
        "is-task" => !parse_bool(value).unwrap_or(true),
        "label" => filter::label_matches(&config.labels, value),
        "annotation" => filter::label_matches(&config.settings.annotations, value),
        "ancestor" => image_matches(&config.image, config.image_hex(), value),
        "network" => {
            let value = if value == DEFAULT_ALIAS { DEFAULT_NETWORK } else { value };
            network::names_of(container).iter().any(|name| name == value)
        }
        "volume" => config.settings.mounts.iter().any(|mount| {
            let path = Path::new(value);
            let source =
                matches!(&mount.source, MountSource::Bind { path: from, .. } if from == path);
            source || mount.target == path || mount.volume() == Some(value)
        }),
        "command" => command(config).first().is_some_and(|first| *first == value),
        "restart-policy" => config.settings.restart.name() == value,
        "should-start-on-boot" => {
            let wanted = match config.settings.restart {
                RestartPolicy::Always => true,
                RestartPolicy::UnlessStopped => !state.stopped_by_user,
                RestartPolicy::No | RestartPolicy::OnFailure { .. } => false,
            };
            let value = parse_bool(value).ok_or_else(|| {
                Error::new(
                    Kind::Invalid,
                    format!("should-start-on-boot `{value}` is not a truth value"),
                )
            })?;
            wanted == value
        }
        "stop-signal" => value.parse::<Signal>()? == config.stop_signal,
        "until" => config.created < time::parse(value, crate::engine::now())?,
        "before" | "since" => {
            let other = all.iter().find(|other| {
                other.state.name == value
                    || (!value.is_empty() && other.id().as_str().starts_with(value))
            });
            let Some(other) = other else {
                return Err(Error::new(
                    Kind::NotFound,
                    format!("no container with name or ID \"{value}\" found: no such container"),
                ));
            };
            let other = other.config.created;
            if key == "before" { config.created < other } else { config.created > other }
        }
        "health" => value == container.health.as_ref().map_or("none", |it| it.status.as_str()),
        // No container has one.
        "pod" => value == "none",
        _ => return Err(unknown(key)),
    })
}

/// Tells whether a port as in `80/tcp` is among those that are wanted, as in `80`, `80/udp` or `80-90`.
fn is_in_ports(wanted: &str, port: &str) -> bool {
    let (wanted, protocol) = wanted.split_once('/').unwrap_or((wanted, "tcp"));
    let (first, last) = wanted.split_once('-').unwrap_or((wanted, wanted));
    let Some((number, own)) = port.split_once('/') else { return false };
    match (first.parse::<u16>(), last.parse::<u16>(), number.parse::<u16>()) {
        (Ok(first), Ok(last), Ok(number)) => own == protocol && (first..=last).contains(&number),
        _ => false,
    }
}

/// Tells whether an ID begins with these digits, or matches a regular expression.
fn id_matches(id: &str, wanted: &str) -> bool {
    let digits = wanted.to_ascii_lowercase();
    match digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        true => id.starts_with(&digits),
        false => filter::pattern(wanted, |pattern| pattern.is_match(id)),
    }
}

/// Tells whether an image is the one that is written, with or without registry and tag.
fn image_matches(image: &str, id: &str, wanted: &str) -> bool {
    let digits = wanted.strip_prefix("sha256:").unwrap_or(wanted);
    if digits.len() >= 2 && id.starts_with(digits) {
        return true;
    }
    let last = image.rfind('/').map_or(0, |slash| slash + 1);
    let bare = match image[last..].find(['@', ':']) {
        Some(end) => &image[..last + end],
        None => image,
    };
    let ends = |whole: &str| {
        whole.strip_suffix(wanted).is_some_and(|rest| rest.is_empty() || rest.ends_with('/'))
    };
    !wanted.is_empty() && (ends(image) || ends(bare))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_ports() {
        for (wanted, port, want) in [
            ("80", "80/tcp", true),
            ("80/udp", "80/tcp", false),
            ("70-90", "80/tcp", true),
            ("81-90/tcp", "80/tcp", false),
            ("x", "80/tcp", false),
        ] {
            assert_eq!(is_in_ports(wanted, port), want, "{wanted} {port}");
        }
    }

    #[test]
    fn matches_images() {
        let image = "docker.io/library/nginx:1.27";
        for (wanted, want) in [
            ("nginx", true),
            ("nginx:1.27", true),
            ("library/nginx", true),
            ("docker.io/library/nginx:1.27", true),
            ("sha256:0123", true),
            ("0123", true),
            ("nginx:1", false),
            ("ginx", false),
            ("", false),
        ] {
            assert_eq!(image_matches(image, "0123456789ab", wanted), want, "{wanted}");
        }
        assert!(image_matches("localhost:5000/x", "", "x"));
    }
}
