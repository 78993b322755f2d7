//! `barge volume ls` and `barge volume inspect`

use clap::Args;
use serde_json::{Value, json};

use crate::api::model;
use crate::cmd::World;
use crate::cmd::answers::{self, text};
use crate::cmd::exit::Status;
use crate::cmd::listing::{self, Columns, Row, inspect_format, print_inspected};
use crate::cmd::tree::Act;
use crate::engine::volumes::{self, check_filters, is_wanted};
use crate::error::{Error, Kind, Result};
use crate::remote::{Host, Request};
use crate::spec::filter::Filter;

/// List volumes
#[derive(Args, Debug)]
pub(crate) struct Ls {
    /// Only volumes of which this is true
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<Filter>,
    /// Print each with a Go template, or all as json
    #[arg(long, value_name = "TEMPLATE")]
    format: Option<String>,
    /// Leave out the headings
    #[arg(short, long)]
    noheading: bool,
    /// Print names only
    #[arg(short, long)]
    quiet: bool,
}

const COLUMNS: Columns =
    Columns { shown: &[("Driver", "DRIVER"), ("Name", "VOLUME NAME")], others: &[] };

impl Act for Ls {
    fn act(self, world: &mut World) -> Result<Status> {
        check_filters(&self.filter)?;
        let engine = world.engine()?;
        let all = volumes::list(engine.store())?;
        let mut rows = Vec::new();
        for found in &all {
            if !is_wanted(found, &self.filter, &all)? {
                continue;
            }
            if self.quiet {
                world.out.line(&found.volume.name)?;
                continue;
            }
            rows.push(Row {
                fields: model::volume::row(found),
                document: model::volume::inspect(found),
            });
        }
        if !self.quiet {
            let format = self.format.as_deref();
            listing::print(&mut world.out, &COLUMNS, rows, format, !self.noheading)?;
        }
        Ok(Status::SUCCESS)
    }

    fn act_on(self, host: &Host, world: &mut World) -> Result<Status> {
        let all = list_on(host, &self.filter)?;
        if self.quiet {
            all.iter().try_for_each(|it| world.out.line(text(it, "Name")))?;
            return Ok(Status::SUCCESS);
        }
        let row = |found: Value| {
            let mut fields = found.clone();
            fields["Labels"] = json!(answers::labels(&found));
            Row { fields, document: found }
        };
        let rows = all.into_iter().map(row).collect();
        let format = self.format.as_deref();
        listing::print(&mut world.out, &COLUMNS, rows, format, !self.noheading)?;
        Ok(Status::SUCCESS)
    }
}

/// Lists the volumes of another host by name.
pub(super) fn list_on(host: &Host, filters: &[Filter]) -> Result<Vec<Value>> {
    let request = Request::get("/volumes").maybe("filters", answers::filters(filters)?);
    let mut found = host.document(request)?;
    let mut all = answers::entries(found["Volumes"].take());
    all.sort_by_key(|it| text(it, "Name").to_owned());
    Ok(all)
}

/// Show everything about volumes
#[derive(Args, Debug)]
pub(crate) struct Inspect {
    /// All volumes
    #[arg(short, long)]
    all: bool,
    /// Print each with a Go template, or all as json
    #[arg(short, long, value_name = "TEMPLATE")]
    format: Option<String>,
    /// Volumes, by name
    #[arg(value_name = "VOLUME")]
    volumes: Vec<String>,
}

impl Act for Inspect {
    fn act(self, world: &mut World) -> Result<Status> {
        if self.all != self.volumes.is_empty() {
            return Err(Error::new(Kind::Invalid, "name volumes, or pass --all, and not both"));
        }
        let format = inspect_format(self.format.as_deref())?;
        let engine = world.engine()?;
        let (mut documents, mut failures) = (Vec::new(), Vec::new());
        if self.all {
            let all = volumes::list(engine.store())?;
            documents.extend(all.into_iter().map(|it| model::volume::inspect(&it.asked())));
        }
        for name in &self.volumes {
            match volumes::lookup(engine.store(), name) {
                Ok(found) => documents.push(model::volume::inspect(&found)),
                Err(error) if error.kind() == Kind::NotFound => {
                    failures.push(Error::new(Kind::NotFound, format!("no such volume {name}")));
                }
                Err(error) => failures.push(error),
            }
        }
        print_inspected(&mut world.out, documents, format.as_ref(), &failures)
    }

    fn act_on(self, host: &Host, world: &mut World) -> Result<Status> {
        if self.all != self.volumes.is_empty() {
            return Err(Error::new(Kind::Invalid, "name volumes, or pass --all, and not both"));
        }
        let mut names = self.volumes;
        if self.all {
            names.extend(list_on(host, &[])?.iter().map(|it| text(it, "Name").to_owned()));
        }
        let path = |name: &str| format!("/volumes/{name}");
        answers::inspect(host, world, self.format.as_deref(), &names, path)
    }
}
