//! `barge network ls` and `barge network inspect`

use clap::Args;
use serde_json::{Value, json};

use crate::api::model;
use crate::cmd::World;
use crate::cmd::answers::{self, text};
use crate::cmd::exit::Status;
use crate::cmd::listing::{self, Columns, Row, inspect_format, print_inspected};
use crate::cmd::tree::Act;
use crate::engine::networks::{self, check_filters, is_wanted};
use crate::error::{Error, Kind, Result};
use crate::remote::{Host, Request};
use crate::spec::filter::Filter;

/// List networks
#[derive(Args, Debug)]
pub(crate) struct Ls {
    /// Only networks of which this is true
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<Filter>,
    /// Print each with a Go template, or all as json
    #[arg(long, value_name = "TEMPLATE")]
    format: Option<String>,
    /// Print whole IDs
    #[arg(long)]
    no_trunc: bool,
    /// Leave out the headings
    #[arg(short, long)]
    noheading: bool,
    /// Print names only
    #[arg(short, long)]
    quiet: bool,
}

const COLUMNS: Columns =
    Columns { shown: &[("ID", "NETWORK ID"), ("Name", "NAME"), ("Driver", "DRIVER")], others: &[] };

impl Act for Ls {
    fn act(self, world: &mut World) -> Result<Status> {
        check_filters(&self.filter)?;
        let engine = world.engine()?;
        let mut rows = Vec::new();
        for found in &networks::list(&engine)? {
            if !is_wanted(found, &self.filter)? {
                continue;
            }
            if self.quiet {
                world.out.line(&found.network.name)?;
                continue;
            }
            rows.push(Row {
                fields: model::networks::row(found, self.no_trunc),
                document: model::networks::inspect(found),
            });
        }
        if !self.quiet {
            let format = self.format.as_deref();
            listing::print(&mut world.out, &COLUMNS, rows, format, !self.noheading)?;
        }
        Ok(Status::SUCCESS)
    }

    fn act_on(self, host: &Host, world: &mut World) -> Result<Status> {
        let request = Request::get("/networks").maybe("filters", answers::filters(&self.filter)?);
        let mut all = answers::entries(host.document(request)?);
        all.sort_by_key(|it| text(it, "Name").to_owned());
        if self.quiet {
            all.iter().try_for_each(|it| world.out.line(text(it, "Name")))?;
            return Ok(Status::SUCCESS);
        }
        let row = |found: Value| {
            let mut fields = found.clone();
            fields["ID"] = json!(answers::id(text(&found, "Id"), self.no_trunc));
            fields["CreatedAt"] = found["Created"].clone();
            fields["IPv6"] = found["EnableIPv6"].clone();
            fields["IPv6Enabled"] = found["EnableIPv6"].clone();
            fields["Labels"] = json!(answers::labels(&found));
            Row { fields, document: found }
        };
        let rows = all.into_iter().map(row).collect();
        let format = self.format.as_deref();
        listing::print(&mut world.out, &COLUMNS, rows, format, !self.noheading)?;
        Ok(Status::SUCCESS)
    }
}

/// Show everything about networks
#[derive(Args, Debug)]
pub(crate) struct Inspect {
    /// Print each with a Go template, or all as json
    #[arg(short, long, value_name = "TEMPLATE")]
    format: Option<String>,
    /// Networks, by name or ID
    #[arg(value_name = "NETWORK", required = true)]
    networks: Vec<String>,
}

impl Act for Inspect {
    fn act(self, world: &mut World) -> Result<Status> {
        let format = inspect_format(self.format.as_deref())?;
        let engine = world.engine()?;
        let (mut all, mut failures) = (Vec::new(), Vec::new());
        for name in &self.networks {
            match networks::lookup(&engine, name) {
                Ok(found) => all.push(found),
                Err(error) if error.kind() == Kind::NotFound => {
                    let text = format!(
                        "network {name}: unable to find network with name or ID {name}: network not found"
                    );
                    failures.push(Error::new(Kind::NotFound, text));
                }
                Err(error) => failures.push(error),
            }
        }
        let document = match &format {
            None => model::networks::inspect,
            Some(_) => model::networks::inspect_row,
        };
        let documents = all.iter().map(document).collect();
        print_inspected(&mut world.out, documents, format.as_ref(), &failures)
    }

    fn act_on(self, host: &Host, world: &mut World) -> Result<Status> {
        let path = |name: &str| format!("/networks/{name}");
        answers::inspect(host, world, self.format.as_deref(), &self.networks, path)
    }
}
