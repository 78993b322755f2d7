//! `barge ps`

mod remote;

use std::io::IsTerminal;
use std::net::IpAddr;
use std::thread;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::World;
use super::containers::{check, listed, matches};
use super::exit::Status;
use super::listing::{self, Columns, Row};
use super::tree::Act;
use crate::api::model::container::command;
use crate::api::model::network::{names_of, published};
pub(crate) use crate::api::model::status::elapsed;
use crate::api::model::status::status_of;
use crate::engine::{ContainerSize, Engine};
use crate::error::{Error, Kind, Result};
use crate::net::PublishedPort;
use crate::remote::Host;
use crate::spec::filter::Filter;
use crate::spec::mount::{Mount, MountSource};
use crate::spec::size::HumanSize;
use crate::spec::time;
use crate::store::container::{Container, ContainerConfig, Status as State};
use crate::sys::threads;

/// List containers
#[derive(Args, Debug)]
pub(crate) struct Ps {
    /// Show those that do not run, too
    #[arg(short, long)]
    all: bool,
    /// Show containers of other tools, of which there are none
    #[arg(long)]
    external: bool,
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
    /// Show namespaces instead
    #[arg(long)]
    ns: bool,
    /// Show the pod, too
    #[arg(short, long)]
    pod: bool,
    /// Print IDs only
    #[arg(short, long)]
    quiet: bool,
    /// Show what each has changed, and all that it sees
    #[arg(short, long)]
    size: bool,
    /// Sort by this
    #[arg(long, value_enum, value_name = "KEY", default_value = "created")]
    sort: Sort,
    /// Look at all processes; that is always done
    #[arg(long)]
    sync: bool,
    /// Show them again after so many seconds, and go on
    #[arg(short, long, value_name = "SECONDS")]
    watch: Option<u64>,
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
    /// What it has changed.
    Size,
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

/// With `--ns`.
const NAMESPACES: Columns = Columns {
    shown: &[
        ("ID", "CONTAINER ID"),
        ("Names", "NAMES"),
        ("Pid", "PID"),
        ("Cgroup", "CGROUPNS"),
        ("IPC", "IPC"),
        ("MNT", "MNT"),
        ("NET", "NET"),
        ("PIDNS", "PIDNS"),
        ("USERNS", "USERNS"),
        ("UTS", "UTS"),
    ],
    others: &[],
};

const WITH_SIZE: Columns = Columns {
    shown: &[
        ("ID", "CONTAINER ID"),
        ("Image", "IMAGE"),
        ("Command", "COMMAND"),
        ("RunningFor", "CREATED"),
        ("Status", "STATUS"),
        ("Ports", "PORTS"),
        ("Names", "NAMES"),
        ("Size", "SIZE"),
    ],
    others: COLUMNS.others,
};

const WITH_POD: Columns = Columns {
    shown: &[
        ("ID", "CONTAINER ID"),
        ("Image", "IMAGE"),
        ("Command", "COMMAND"),
        ("RunningFor", "CREATED"),
        ("Status", "STATUS"),
        ("Ports", "PORTS"),
        ("Names", "NAMES"),
        ("Pod", "POD ID"),
        ("PodName", "PODNAME"),
    ],
    others: COLUMNS.others,
};

/// What a narrow terminal goes without, first things first.
const SPARE: [&str; 5] = ["Ports", "RunningFor", "Command", "Pod", "Image"];

/// Forgets what the terminal shows.
const CLEAR: &str = "\x1b[2J\x1b[H";

impl Act for Ps {
    fn act(self, world: &mut World) -> Result<Status> {
        check(&self.filter)?;
        self.check()?;
        // Every record that is looked at is repaired, and no other tool keeps containers in our store.
        let _ = (self.sync, self.external);
        let sizes = self.wants_sizes();
        // Without root, the files of a container belong to users whose powers are needed to see them.
        let engine = if sizes { world.power()? } else { world.engine()? };
        loop {
            if self.watch.is_some() && std::io::stdout().is_terminal() {
                world.out.text(CLEAR)?;
            }
            self.show(world, &engine, sizes)?;
            let Some(seconds) = self.watch else { return Ok(Status::SUCCESS) };
            world.out.flush()?;
            thread::sleep(Duration::from_secs(seconds));
        }
    }

    fn act_on(self, host: &Host, world: &mut World) -> Result<Status> {
        self.check()?;
        self.list_on(host, world)
    }
}

impl Ps {
    fn check(&self) -> Result<()> {
        if self.latest && self.last.is_some() {
            let text = "--last and --latest cannot be set together";
            return Err(Error::new(Kind::Invalid, text));
        }
        if self.quiet && self.size {
            return Err(Error::new(Kind::Invalid, "quiet and size cannot be set together"));
        }
        Ok(())
    }

    fn wants_sizes(&self) -> bool {
        let in_format = self.format.as_deref().is_some_and(|format| format.contains(".Size"));
        self.size || in_format || self.sort == Sort::Size
    }

    fn show(&self, world: &mut World, engine: &Engine, sizes: bool) -> Result<()> {
        let by_status =
            self.filter.iter().any(|filter| matches!(&*filter.key, "status" | "exited"));
        let last = if self.latest { Some(1) } else { self.last.filter(|count| *count > 0) };
        let every = self.all || by_status || last.is_some();
        // Those two are about another container, which may not run.
        let relative = self.filter.iter().any(|filter| matches!(&*filter.key, "before" | "since"));
        let all = if every || relative {
            listed(engine)?
        } else {
            let mut running = engine.list_running()?;
            running.reverse();
            running
        };
        let mut chosen = Vec::new();
        for container in &all {
            let shown = every || container.state.is_up();
            if shown && matches(container, &self.filter, &all)? {
                chosen.push((container, None));
            }
        }
        if let Some(last) = last {
            let surplus = chosen.len().saturating_sub(usize::try_from(last).unwrap_or(usize::MAX));
            chosen.drain(..surplus);
        }
        if sizes {
            for (container, size) in &mut chosen {
                *size = Some(engine.container_size(container)?);
            }
        }
        sort(&mut chosen, self.sort);
        if self.quiet {
            for (container, _) in chosen {
                let id = container.id();
                world.out.line(if self.no_trunc { id.as_str() } else { id.short() })?;
            }
            return Ok(());
        }
        let columns = match (self.ns, self.size, self.pod) {
            (true, ..) => &NAMESPACES,
            (_, true, _) => &WITH_SIZE,
            (.., true) => &WITH_POD,
            _ => &COLUMNS,
        };
        let now = super::now();
        let format = self.format.as_deref();
        let as_json = format.map(str::trim) == Some("json");
        let with_namespaces = self.ns
            || format
                .is_some_and(|text| NAMESPACE_FIELDS.iter().any(|(field, _)| text.contains(field)));
        let row = |&(container, size): &(&Container, Option<ContainerSize>)| {
            let mut row = Row { fields: Value::Null, document: Value::Null };
            if as_json {
                row.document = document(container, now, size);
            } else {
                row.fields = fields(container, now, self.no_trunc, size);
                if with_namespaces {
                    add_namespaces(&mut row.fields, container);
                }
            }
            row
        };
        let rows = threads::map(&chosen, row);
        let spare: &[&str] = if self.no_trunc { &[] } else { &SPARE };
        listing::print_fitting(&mut world.out, columns, rows, format, !self.noheading, spare)
    }
}

fn sort(containers: &mut [(&Container, Option<ContainerSize>)], by: Sort) {
    match by {
        // They come so.
        Sort::Created => {}
        Sort::Command => containers.sort_by_key(|(it, _)| command(&it.config).join(" ")),
        Sort::Id => containers.sort_by_key(|(it, _)| it.id().clone()),
        Sort::Image => containers.sort_by_key(|(it, _)| it.config.image.clone()),
        Sort::Names => containers.sort_by_key(|(it, _)| it.state.name.clone()),
        Sort::Runningfor => containers.sort_by_key(|(it, _)| it.state.started),
        Sort::Size => containers.sort_by_key(|(_, size)| size.map(|size| size.own)),
        Sort::Status => containers.sort_by_key(|(it, _)| it.state.word()),
    }
}

/// Fields that show namespaces, with the kernel's names of these.
const NAMESPACE_FIELDS: [(&str, &str); 8] = [
    ("Cgroup", "cgroup"),
    ("CGROUPNS", "cgroup"),
    ("IPC", "ipc"),
    ("MNT", "mnt"),
    ("NET", "net"),
    ("PIDNS", "pid"),
    ("USERNS", "user"),
    ("UTS", "uts"),
];

/// Shows the namespaces of a container that has a process, by the kernel's numbers.
fn add_namespaces(fields: &mut Value, container: &Container) {
    for (field, kind) in NAMESPACE_FIELDS {
        let link = container
            .state
            .process()
            .and_then(|run| std::fs::read_link(format!("/proc/{}/ns/{kind}", run.pid)).ok());
        let text = link.map(|link| link.to_string_lossy().into_owned()).unwrap_or_default();
        let number = text.split_once(":[").map(|(_, number)| number.trim_end_matches(']'));
        fields[field] = number.unwrap_or_default().into();
    }
}

fn fields(container: &Container, now: i64, whole: bool, size: Option<ContainerSize>) -> Value {
    let Container { config, state, .. } = container;
    let words = command(config).join(" ");
    let labels = config.labels.iter().map(|(key, value)| format!("{key}={value}"));
    let created = format!("{} ago", elapsed(config.created, now));
    let size = size.map_or_else(
        || "0B".to_owned(),
        |size| format!("{} (virtual {})", HumanSize(size.own), HumanSize(size.all)),
    );
    json!({
        "AutoRemove": config.settings.remove,
        "IsInfra": false,
        "ID": if whole { config.id.as_str() } else { config.id.short() },
        "Image": config.image,
        "ImageID": config.image_hex().get(..if whole { 64 } else { 12 }).unwrap_or_default(),
        "Command": if whole { words } else { shorten(&words, 17) },
        "CreatedAt": time::go_style(config.created),
        "CreatedHuman": created,
        "Created": created,
        "RunningFor": created,
        "StartedAt": state.started / 1_000_000_000,
        "ExitedAt": state.finished / 1_000_000_000,
        "Status": status_of(container, now),
        "State": state.word(),
        "ExitCode": state.exit_code,
        "Exited": state.status == State::Exited,
        "Restarts": state.restarts,
        "Pid": state.process().map_or(0, |run| run.pid),
        "Ports": ports(&published(state), &config.exposed_ports),
        "Names": state.name,
        "Labels": labels.collect::<Vec<_>>().join(","),
        "LabelMap": config.labels,
        "Mounts": shown_mounts(config).join(","),
        "Networks": names_of(container).join(","),
        "Pod": "",
        "PodName": "",
        "Size": size,
        "LocalVolumes": config.volumes().len().to_string(),
    })
}

fn document(container: &Container, now: i64, size: Option<ContainerSize>) -> Value {
    let Container { config, state, .. } = container;
    json!({
        "AutoRemove": config.settings.remove,
        "Command": command(config),
        "CreatedAt": format!("{} ago", elapsed(config.created, now)),
        "Created": config.created / 1_000_000_000,
        "Exited": state.status == State::Exited,
        "ExitedAt": state.finished / 1_000_000_000,
        "ExitCode": state.exit_code,
        "Id": config.id,
        "Image": config.image,
        "ImageID": config.image_hex(),
        "Labels": config.labels,
        "Mounts": targets(config),
        "Names": [state.name],
        "Networks": names_of(container),
        "Pid": state.process().map_or(0, |run| run.pid),
        "Pod": "",
        "PodName": "",
        "Ports": published(state).iter().map(port_document).collect::<Vec<_>>(),
        "Restarts": state.restarts,
        "Size": size.map(|size| json!({ "rootFsSize": size.all, "rwSize": size.own })),
        "StartedAt": state.started / 1_000_000_000,
        "State": state.word(),
        "Status": status_of(container, now),
    })
}

/// Names what is mounted, as Docker does: by volume or by source.
fn shown_mounts(config: &ContainerConfig) -> Vec<String> {
    let name = |mount: &Mount| match &mount.source {
        MountSource::Bind { path, .. } => path.display().to_string(),
        MountSource::Volume { name, .. } => name.clone().unwrap_or_default(),
        MountSource::Image { name, .. } | MountSource::Artifact { name, .. } => name.clone(),
        MountSource::Tmpfs { .. } | MountSource::Ramfs { .. } | MountSource::Devpts => {
            mount.target.display().to_string()
        }
    };
    config.settings.mounts.iter().map(name).collect()
}

fn targets(config: &ContainerConfig) -> Vec<String> {
    config.settings.mounts.iter().map(|mount| mount.target.display().to_string()).collect()
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

/// Cuts a text after so many characters, and marks that.
pub(crate) fn shorten(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
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
}
