//! `ps` on other hosts: rows of what their lists of containers say.

use std::io::IsTerminal;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::{CLEAR, COLUMNS, Ps, SPARE, Sort, WITH_SIZE, elapsed, ports, shorten};
use crate::cmd::World;
use crate::cmd::answers::{self, bytes, entries, labels, list, number, text};
use crate::cmd::exit::Status;
use crate::cmd::host::refuse;
use crate::cmd::listing::{self, Row};
use crate::error::Result;
use crate::net::PublishedPort;
use crate::remote::{Host, Request};
use crate::spec::size::HumanSize;
use crate::spec::time;

impl Ps {
    /// Does it on another host.
    pub(super) fn list_on(&self, host: &Host, world: &mut World) -> Result<Status> {
        refuse(&[("--ns", self.ns), ("--pod", self.pod)])?;
        loop {
            if self.watch.is_some() && std::io::stdout().is_terminal() {
                world.out.text(CLEAR)?;
            }
            self.show_on(host, world)?;
            let Some(seconds) = self.watch else { return Ok(Status::SUCCESS) };
            world.out.flush()?;
            thread::sleep(Duration::from_secs(seconds));
        }
    }

    fn show_on(&self, host: &Host, world: &mut World) -> Result<()> {
        let last = if self.latest { Some(1) } else { self.last.filter(|count| *count > 0) };
        let request = Request::get("/containers/json")
            .flag("all", self.all)
            .maybe("limit", last)
            .flag("size", self.wants_sizes())
            .maybe("filters", answers::filters(&self.filter)?);
        // They come with the newest first, and ours are listed the other way round.
        let mut all = entries(host.document(request)?);
        all.reverse();
        match self.sort {
            Sort::Created | Sort::Runningfor => {}
            Sort::Command => all.sort_by_key(|it| text(it, "Command").to_owned()),
            Sort::Id => all.sort_by_key(|it| text(it, "Id").to_owned()),
            Sort::Image => all.sort_by_key(|it| text(it, "Image").to_owned()),
            Sort::Names => all.sort_by_key(|it| name(it).to_owned()),
            Sort::Size => all.sort_by_key(|it| bytes(it, "SizeRw")),
            Sort::Status => all.sort_by_key(|it| text(it, "State").to_owned()),
        }
        if self.quiet {
            for found in &all {
                world.out.line(answers::id(text(found, "Id"), self.no_trunc))?;
            }
            return Ok(());
        }
        let now = crate::cmd::now();
        let rows = all
            .into_iter()
            .map(|found| Row { fields: fields(&found, now, self.no_trunc), document: found });
        let columns = if self.size { &WITH_SIZE } else { &COLUMNS };
        let spare: &[&str] = if self.no_trunc { &[] } else { &SPARE };
        let format = self.format.as_deref();
        let rows = rows.collect();
        listing::print_fitting(&mut world.out, columns, rows, format, !self.noheading, spare)
    }
}

/// Returns the name of a container; what begins with a slash has others, by links.
fn name(found: &Value) -> &str {
    let names = answers::words(found, "Names");
    let own = names.iter().map(|name| name.trim_start_matches('/')).find(|it| !it.contains('/'));
    own.unwrap_or_default()
}

fn fields(found: &Value, now: i64, whole: bool) -> Value {
    let created = number(found, "Created").saturating_mul(1_000_000_000);
    let ago = format!("{} ago", elapsed(created, now));
    let command = text(found, "Command");
    let (published, exposed) = ports_of(found);
    let networks = found["NetworkSettings"]["Networks"].as_object();
    let networks: Vec<&str> =
        networks.map(|all| all.keys().map(String::as_str).collect()).unwrap_or_default();
    let mounts = list(found, "Mounts").iter().map(|mount| match text(mount, "Name") {
        "" => text(mount, "Source"),
        name => name,
    });
    let mounts: Vec<&str> = mounts.collect();
    let volumes = list(found, "Mounts").iter().filter(|it| text(it, "Type") == "volume").count();
    let size = format!(
        "{} (virtual {})",
        HumanSize(bytes(found, "SizeRw")),
        HumanSize(bytes(found, "SizeRootFs"))
    );
    json!({
        "ID": answers::id(text(found, "Id"), whole),
        "Image": text(found, "Image"),
        "ImageID": answers::id(text(found, "ImageID"), whole),
        "Command": if whole { command.to_owned() } else { shorten(command, 17) },
        "CreatedAt": time::go_style(created),
        "CreatedHuman": ago,
        "Created": ago,
        "RunningFor": ago,
        "Status": text(found, "Status"),
        "State": text(found, "State"),
        "Ports": ports(&published, &exposed),
        "Names": name(found),
        "Labels": labels(found),
        "LabelMap": found["Labels"],
        "Mounts": mounts.join(","),
        "Networks": networks.join(","),
        "Pod": "",
        "PodName": "",
        "Size": size,
        "LocalVolumes": volumes.to_string(),
    })
}

/// Returns the ports that are published, and those that are declared only.
fn ports_of(found: &Value) -> (Vec<PublishedPort>, Vec<String>) {
    let (mut published, mut exposed) = (Vec::new(), Vec::new());
    for port in list(found, "Ports") {
        let inside = u16::try_from(number(port, "PrivatePort")).unwrap_or_default();
        let protocol = text(port, "Type");
        let outside = u16::try_from(number(port, "PublicPort")).ok().filter(|port| *port > 0);
        match (outside, text(port, "IP").parse(), protocol.parse()) {
            (Some(host_port), Ok(host_ip), Ok(protocol)) => published.push(PublishedPort {
                host_ip,
                host_port,
                container_port: inside,
                protocol,
            }),
            _ => exposed.push(format!("{inside}/{protocol}")),
        }
    }
    (published, exposed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_services_list() {
        let found = json!({
            "Id": "0123456789abcdef",
            "Names": ["/web/db", "/db"],
            "Image": "busybox",
            "ImageID": "sha256:fedcba9876543210",
            "Command": "sleep 100 100 100 100",
            "Created": 90,
            "Ports": [
                {"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
                {"PrivatePort": 443, "Type": "tcp"},
            ],
            "Labels": {"a": "b"},
            "State": "running",
            "Status": "Up 10 seconds",
            "Mounts": [{"Type": "volume", "Name": "data", "Source": "/x"}, {"Type": "bind", "Source": "/y"}],
            "NetworkSettings": {"Networks": {"bridge": {}}},
        });
        let fields = fields(&found, 100_000_000_000, false);
        for (field, want) in [
            ("ID", "0123456789ab"),
            ("ImageID", "fedcba987654"),
            ("Names", "db"),
            ("Command", "sleep 100 100 100..."),
            ("Ports", "0.0.0.0:8080->80/tcp, 443/tcp"),
            ("RunningFor", "10 seconds ago"),
            ("Mounts", "data,/y"),
            ("Networks", "bridge"),
            ("LocalVolumes", "1"),
        ] {
            assert_eq!(fields[field], want, "{field}");
        }
    }
}
