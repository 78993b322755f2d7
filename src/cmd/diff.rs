//! `barge diff` and `barge container diff`

use clap::Args;
use serde_json::{Value, json};

use super::World;
use super::answers;
use super::containers::latest;
use super::exit::Status;
use super::host::refuse;
use super::listing::print_json;
use super::output::Output;
use super::tree::Act;
use crate::engine::DiffSubject;
use crate::engine::images::{Change, ChangeKind};
use crate::error::{Error, Kind, Result};
use crate::remote::{Host, Request, escape};

/// Show what a container or the top layer of an image changes
///
/// Or how one differs from another. A is added, C changed, D deleted.
/// What barge itself puts into every container, as /etc/hosts, does not count.
#[derive(Args, Debug)]
pub(crate) struct Diff {
    /// Print it as json
    #[arg(long, value_name = "FORMAT", value_parser = ["json", ""])]
    format: Option<String>,
    /// The container that was created last
    #[arg(short, long)]
    latest: bool,
    /// Container or image, by name or ID
    #[arg(value_name = "CONTAINER|IMAGE", required_unless_present = "latest")]
    name: Option<String>,
    /// Container or image to compare it with
    #[arg(value_name = "OTHER")]
    other: Option<String>,
}

/// Show what a container changes
///
/// Or how it differs from another. A is added, C changed, D deleted.
/// What barge itself puts into every container, as /etc/hosts, does not count.
#[derive(Args, Debug)]
pub(crate) struct ContainerDiff {
    /// Print it as json
    #[arg(long, value_name = "FORMAT", value_parser = ["json", ""])]
    format: Option<String>,
    /// The container that was created last
    #[arg(short, long)]
    latest: bool,
    /// Container, by name or ID
    #[arg(value_name = "CONTAINER", required_unless_present = "latest")]
    name: Option<String>,
    /// Container to compare it with
    #[arg(value_name = "OTHER")]
    other: Option<String>,
}

impl Act for Diff {
    fn act(self, world: &mut World) -> Result<Status> {
        let named = Named { latest: self.latest, name: self.name, other: self.other };
        named.print(world, DiffSubject::Any, self.format.as_deref())
    }

    fn act_on(self, host: &Host, world: &mut World) -> Result<Status> {
        let named = Named { latest: self.latest, name: self.name, other: self.other };
        named.print_on(host, world, self.format.as_deref())
    }
}

impl Act for ContainerDiff {
    fn act(self, world: &mut World) -> Result<Status> {
        let named = Named { latest: self.latest, name: self.name, other: self.other };
        named.print(world, DiffSubject::Container, self.format.as_deref())
    }

    fn act_on(self, host: &Host, world: &mut World) -> Result<Status> {
        let named = Named { latest: self.latest, name: self.name, other: self.other };
        named.print_on(host, world, self.format.as_deref())
    }
}

/// What is compared with what.
struct Named {
    latest: bool,
    name: Option<String>,
    other: Option<String>,
}

impl Named {
    fn print(
        self,
        world: &mut World,
        subject: DiffSubject,
        format: Option<&str>,
    ) -> Result<Status> {
        let engine = world.power()?;
        // With the latest container, the first name is what it is compared with.
        let (name, other) = match (self.latest, self.name, self.other) {
            (true, other, None) => (latest(&engine)?, other),
            (false, Some(name), other) => (name, other),
            _ => {
                return Err(Error::new(
                    Kind::Invalid,
                    "--latest cannot be used together with two names",
                ));
            }
        };
        let changes = engine.diff(subject, &name, other.as_deref())?;
        print(&mut world.out, &changes, format)
    }
}

impl Named {
    /// Docker's API tells of containers only, and compares them with their images only.
    fn print_on(self, host: &Host, world: &mut World, format: Option<&str>) -> Result<Status> {
        let compared = self.other.is_some() || (self.latest && self.name.is_some());
        refuse(&[("comparing with another one", compared)])?;
        let name = match self.name {
            Some(name) => name,
            None => answers::latest(host)?,
        };
        let path = format!("/containers/{}/changes", escape(&name));
        let found = answers::entries(host.document(Request::get(path))?);
        let change = |change: &Value| Change {
            path: answers::text(change, "Path").into(),
            kind: match answers::number(change, "Kind") {
                0 => ChangeKind::Changed,
                1 => ChangeKind::Added,
                _ => ChangeKind::Deleted,
            },
        };
        let changes: Vec<Change> = found.iter().map(change).collect();
        print(&mut world.out, &changes, format)
    }
}

/// Prints changes, one a line or as a document.
pub(crate) fn print(out: &mut Output, changes: &[Change], format: Option<&str>) -> Result<Status> {
    if format == Some("json") {
        let mut document = json!({});
        for (name, kind) in [
            ("changed", ChangeKind::Changed),
            ("added", ChangeKind::Added),
            ("deleted", ChangeKind::Deleted),
        ] {
            let of_kind = changes.iter().filter(|change| change.kind == kind);
            let paths: Vec<_> = of_kind.map(|change| change.path.to_string_lossy()).collect();
            if !paths.is_empty() {
                document[name] = json!(paths);
            }
        }
        print_json(out, &document)?;
        return Ok(Status::SUCCESS);
    }
    for change in changes {
        let letter = match change.kind {
            ChangeKind::Changed => 'C',
            ChangeKind::Added => 'A',
            ChangeKind::Deleted => 'D',
        };
        out.line(&format!("{letter} {}", change.path.display()))?;
    }
    Ok(Status::SUCCESS)
}
