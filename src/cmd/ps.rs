//! `barge ps`

use std::net::IpAddr;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::World;
use super::containers::{check, listed, matches};
use super::exit::Status;
use super::listing::{self, Columns, Row};
use super::tree::Act;
use crate::api::model::container::command;
use crate::api::model::network::{name_of, published};
use crate::error::Result;
use crate::net::PublishedPort;
use crate::spec::filter::Filter;
use crate::spec::{duration, time};
use crate::store::container::{Container, ContainerState, Status as State};

/// List containers
#[derive(Args, Debug)]
pub(crate) struct Ps {
    /// Show those that do not run, too
    #[arg(short, long)]
    all: bool,
    /// Show those of which this is true
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<Filter>,
    /// Print each with a Go template, or all as json
    #[arg(long, value_name = "TEMPLATE")]
    format: Option<String>,
    /// Show so many that were created last
    #[arg(short = 'n', long, value_name = "NUMBER")]
    last: Option<i64>,
    /// Show the one that was created last
    #[arg(short, long)]
    latest: bool,
    /// Do not shorten anything
    #[arg(long)]
    no_trunc: bool,
    /// Leave out the headings
    #[arg(long)]
    noheading: bool,
    /// Print IDs only
    #[arg(short, long)]
    quiet: bool,
    /// Sort by this
    #[arg(long, value_enum, value_name = "KEY", default_value = "created")]
    sort: Sort,
}

/// What a listing can be sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Sort {
    /// What is run.
    Command,
    /// When it was created.
    Created,
    /// ID.
    Id,
    /// Image's name.
    Image,
    /// Name.
    Names,
    /// When it was started.
    Runningfor,
    /// State.
    Status,
}

const COLUMNS: Columns = Columns {
    shown: &[
        ("ID", "CONTAINER ID"),
        ("Image", "IMAGE"),
        ("Command", "COMMAND"),
        ("RunningFor", "CREATED"),
        ("Status", "STATUS"),
        ("Ports", "PORTS"),
        ("Names", "NAMES"),
    ],
    others: &[("Created", "CREATED"), ("Pid", "PID"), ("ExitCode", "EXIT CODE")],
};

impl Act for Ps {
    fn act(self, world: &mut World) -> Result<Status> {
        check(&self.filter)?;
        let engine = world.engine()?;
        let all = listed(&engine)?;
        let by_status =
            self.filter.iter().any(|filter| matches!(&*filter.key, "status" | "exited"));
        let last = if self.latest { Some(1) } else { self.last.filter(|count| *count > 0) };
        let every = self.all || by_status || last.is_some();
        let mut chosen = Vec::new();
        for container in &all {
            let shown = every || container.state.run().is_some();
            if shown && matches(container, &self.filter, &all)? {
                chosen.push(container);
            }
        }
        if let Some(last) = last {
            let surplus = chosen.len().saturating_sub(usize::try_from(last).unwrap_or(usize::MAX));
            chosen.drain(..surplus);
        }
        sort(&mut chosen, self.sort);
        if self.quiet {
            for container in chosen {
                let id = container.id();
                world.out.line(if self.no_trunc { id.as_str() } else { id.short() })?;
            }
            return Ok(Status::SUCCESS);
        }
        let now = super::now();
        let rows = chosen.into_iter().map(|container| row(container, now, self.no_trunc)).collect();
        listing::print(&mut world.out, &COLUMNS, rows, self.format.as_deref(), !self.noheading)?;
        Ok(Status::SUCCESS)
    }
}

fn sort(containers: &mut [&Container], by: Sort) {
    match by {
        // They come so.
        Sort::Created => {}
        Sort::Command => containers.sort_by_key(|it| command(&it.config).join(" ")),
        Sort::Id => containers.sort_by_key(|it| it.id().clone()),
        Sort::Image => containers.sort_by_key(|it| it.config.image.clone()),
        Sort::Names => containers.sort_by_key(|it| it.state.name.clone()),
        Sort::Runningfor => containers.sort_by_key(|it| it.state.started),
        Sort::Status => containers.sort_by_key(|it| it.state.word()),
    }
}

fn row(container: &Container, now: i64, whole: bool) -> Row {
    let Container { config, state } = container;
    let words = command(config).join(" ");
    let labels = config.labels.iter().map(|(key, value)| format!("{key}={value}"));
    let mounts: Vec<String> =
        config.settings.mounts.iter().map(|mount| mount.target.display().to_string()).collect();
    let published = published(state);
    let ago = |when: i64| format!("{} ago", elapsed(when, now));
    let pid = state.run().map_or(0, |run| run.pid);
    let status = status(state, now);
    let created_at = time::go_style(config.created);
    let network = name_of(container);
    Row {
        fields: json!({
            "ID": if whole { config.id.as_str() } else { config.id.short() },
            "Image": config.image,
            "ImageID": if whole { config.image_id.hex() } else { config.image_id.short() },
            "Command": if whole { words } else { shorten(&words, 17) },
            "CreatedAt": created_at,
            "CreatedHuman": ago(config.created),
            "Created": ago(config.created),
            "RunningFor": ago(config.created),
            "StartedAt": state.started / 1_000_000_000,
            "Status": status,
            "State": state.word(),
            "ExitCode": state.exit_code,
            "Exited": state.status == State::Exited,
            "Restarts": state.restarts,
            "Pid": pid,
            "Ports": ports(&published, &config.exposed_ports),
            "Names": state.name,
            "Labels": labels.collect::<Vec<_>>().join(","),
            "LabelMap": config.labels,
            "Mounts": mounts.join(","),
            "Networks": network,
            "Pod": "",
            "PodName": "",
            "Size": "0B",
            "LocalVolumes": "0",
        }),
        document: json!({
            "AutoRemove": config.settings.remove,
            "Command": command(config),
            "CreatedAt": ago(config.created),
            "Created": config.created / 1_000_000_000,
            "Exited": state.status == State::Exited,
            "ExitedAt": state.finished / 1_000_000_000,
            "ExitCode": state.exit_code,
            "Id": config.id,
            "Image": config.image,
            "ImageID": config.image_id.hex(),
            "Labels": config.labels,
            "Mounts": mounts,
            "Names": [state.name],
            "Networks": [network],
            "Pid": pid,
            "Pod": "",
            "PodName": "",
            "Ports": published.iter().map(port_document).collect::<Vec<_>>(),
            "Restarts": state.restarts,
            "Size": null,
            "StartedAt": state.started / 1_000_000_000,
            "State": state.word(),
            "Status": status,
        }),
    }
}

fn port_document(port: &PublishedPort) -> Value {
    json!({
        "host_ip": port.host_ip,
        "container_port": port.container_port,
        "host_port": port.host_port,
        "range": 1,
        "protocol": port.protocol,
    })
}

/// Writes how long ago something was.
pub(crate) fn elapsed(since: i64, now: i64) -> String {
    duration::human(Duration::from_nanos(u64::try_from(now.saturating_sub(since)).unwrap_or(0)))
}

/// Cuts a text after so many characters, and marks that.
pub(crate) fn shorten(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

fn status(state: &ContainerState, now: i64) -> String {
    let ended = || elapsed(state.finished, now);
    match &state.status {
        State::Created => "Created".to_owned(),
        State::Running(run) if run.paused => "Paused".to_owned(),
        State::Running(_) => format!("Up {}", elapsed(state.started, now)),
        State::Restarting(_) => format!("Restarting ({}) {} ago", state.exit_code, ended()),
        // Its start failed.
        State::Exited if state.finished == 0 => format!("Exited ({})", state.exit_code),
        State::Exited => format!("Exited ({}) {} ago", state.exit_code, ended()),
    }
}

/// Writes ports as in `0.0.0.0:8080-8081->80-81/tcp, 443/tcp`.
fn ports(published: &[PublishedPort], exposed: &[String]) -> String {
    let mut published = published.to_vec();
    published.sort_by(|one, other| {
        (one.host_ip, one.protocol, one.container_port, one.host_port).cmp(&(
            other.host_ip,
            other.protocol,
            other.container_port,
            other.host_port,
        ))
    });
    let mut texts = Vec::new();
    let mut rest = published.as_slice();
    while let Some(first) = rest.first() {
        let mut length = 1;
        while rest.get(length).is_some_and(|next| follows(first, next, length)) {
            length += 1;
        }
        let range = |port: u16| match length {
            1 => port.to_string(),
            _ => format!("{port}-{}", usize::from(port) + length - 1),
        };
        let address = match first.host_ip {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("[{address}]"),
        };
        let (outside, inside) = (range(first.host_port), range(first.container_port));
        texts.push(format!("{address}:{outside}->{inside}/{}", first.protocol));
        rest = &rest[length..];
    }
    let is_published = |text: &&String| {
        published.iter().any(|port| **text == format!("{}/{}", port.container_port, port.protocol))
    };
    texts.extend(exposed.iter().filter(|text| !is_published(text)).cloned());
    texts.join(", ")
}

fn follows(first: &PublishedPort, next: &PublishedPort, distance: usize) -> bool {
    let after = |port: u16, first: u16| usize::from(port) == usize::from(first) + distance;
    next.host_ip == first.host_ip
        && next.protocol == first.protocol
        && after(next.host_port, first.host_port)
        && after(next.container_port, first.container_port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joins_neighboring_ports() {
        let port = |host_ip: &str, host_port, container_port, protocol: &str| PublishedPort {
            host_ip: host_ip.parse().unwrap(),
            host_port,
            container_port,
            protocol: protocol.parse().unwrap(),
        };
        let published = [
            port("0.0.0.0", 8081, 81, "tcp"),
            port("0.0.0.0", 8080, 80, "tcp"),
            port("127.0.0.1", 53, 53, "udp"),
            port("::1", 9, 9, "tcp"),
            port("0.0.0.0", 8083, 82, "tcp"),
        ];
        assert_eq!(
            ports(&published, &["80/tcp".into(), "443/tcp".into()]),
            "0.0.0.0:8080-8081->80-81/tcp, 0.0.0.0:8083->82/tcp, 127.0.0.1:53->53/udp, [::1]:9->9/tcp, 443/tcp"
        );
        assert_eq!(ports(&[], &[]), "");
    }

    #[test]
    fn shortens_by_characters() {
        assert_eq!(shorten("abc", 3), "abc");
        assert_eq!(shorten("äöüß", 3), "äöü...");
    }

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
