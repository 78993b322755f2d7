//! `barge secret ls` and `barge secret inspect`

use clap::Args;
use serde_json::{Value as Json, json};

use crate::cmd::World;
use crate::cmd::answers;
use crate::cmd::exit::Status;
use crate::cmd::host::refuse;
use crate::cmd::listing::{self, Columns, Row, inspect_format, print_inspected};
use crate::cmd::ps::elapsed;
use crate::cmd::tree::Act;
use crate::engine::Engine;
use crate::error::{Error, Kind, Result};
use crate::remote::{Host, Request};
use crate::spec::filter::{self, Filter};
use crate::spec::time;
use crate::store::secret::Secret;

/// List secrets
#[derive(Args, Debug)]
pub(crate) struct Ls {
    /// Only secrets of which this is true: name, id or label
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<Filter>,
    /// Print each with a Go template, or all as json
    #[arg(long, value_name = "TEMPLATE")]
    format: Option<String>,
    /// Leave out the headings
    #[arg(short, long)]
    noheading: bool,
    /// Print IDs only
    #[arg(short, long)]
    quiet: bool,
}

const COLUMNS: Columns = Columns {
    shown: &[
        ("ID", "ID"),
        ("Name", "NAME"),
        ("Driver", "DRIVER"),
        ("CreatedAt", "CREATED"),
        ("UpdatedAt", "UPDATED"),
    ],
    others: &[],
};

impl Act for Ls {
    fn act(self, world: &mut World) -> Result<Status> {
        const KEYS: [&str; 3] = ["id", "label", "name"];
        if let Some(filter) = self.filter.iter().find(|it| !KEYS.contains(&&*it.key)) {
            let text = format!("invalid filter \"{}\"", filter.key);
            return Err(Error::new(Kind::Invalid, text).hint("known are id, label and name"));
        }
        let engine = world.engine()?;
        let now = crate::cmd::now();
        let mut rows = Vec::new();
        for secret in engine.store().secrets().list()? {
            let wanted = filter::passes(&self.filter, |key, value| {
                Ok(match key {
                    "id" => secret.id.starts_with(value),
                    "label" => filter::label_matches(&secret.labels, value),
                    _ => filter::name_matches(&secret.name, value),
                })
            })?;
            if !wanted {
                continue;
            }
            if self.quiet {
                world.out.line(&secret.id)?;
                continue;
            }
            let ago = |at| format!("{} ago", elapsed(at, now));
            let labels: Vec<String> =
                secret.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
            let fields = json!({
                "ID": secret.id,
                "Name": secret.name,
                "Driver": secret.driver(),
                "CreatedAt": ago(secret.created),
                "UpdatedAt": ago(secret.updated),
                "Labels": labels.join(","),
            });
            rows.push(Row { fields, document: document(&secret, false)? });
        }
        if !self.quiet {
            let format = self.format.as_deref();
            listing::print(&mut world.out, &COLUMNS, rows, format, !self.noheading)?;
        }
        Ok(Status::SUCCESS)
    }

    fn act_on(self, host: &Host, world: &mut World) -> Result<Status> {
        let request = Request::get("/secrets").maybe("filters", answers::filters(&self.filter)?);
        let all = answers::entries(host.document(request)?);
        if self.quiet {
            all.iter().try_for_each(|it| world.out.line(answers::text(it, "ID")))?;
            return Ok(Status::SUCCESS);
        }
        let now = crate::cmd::now();
        let row = |found: Json| {
            let ago = |field| {
                let at = time::parse_rfc3339(answers::text(&found, field)).unwrap_or_default();
                format!("{} ago", elapsed(at, now))
            };
            let driver = found["Spec"]["Driver"]["Name"].as_str().unwrap_or("file");
            let fields = json!({
                "ID": found["ID"],
                "Name": found["Spec"]["Name"],
                "Driver": driver,
                "CreatedAt": ago("CreatedAt"),
                "UpdatedAt": ago("UpdatedAt"),
                "Labels": answers::labels(&found["Spec"]),
            });
            Row { fields, document: found }
        };
        let rows = all.into_iter().map(row).collect();
        let format = self.format.as_deref();
        listing::print(&mut world.out, &COLUMNS, rows, format, !self.noheading)?;
        Ok(Status::SUCCESS)
    }
}

/// Show everything about secrets, but what they are
#[derive(Args, Debug)]
pub(crate) struct Inspect {
    /// Print each with a Go template, or all as json
    #[arg(short, long, value_name = "TEMPLATE")]
    format: Option<String>,
    /// Show what it is, too
    #[arg(long)]
    showsecret: bool,
    /// Secrets, by name or ID
    #[arg(value_name = "SECRET", required = true)]
    secrets: Vec<String>,
}

impl Act for Inspect {
    fn act(self, world: &mut World) -> Result<Status> {
        let format = inspect_format(self.format.as_deref())?;
        let engine = world.engine()?;
        let show = self.showsecret
            || self.format.as_deref().is_some_and(|format| format.contains(".SecretData"));
        let (mut documents, mut failures) = (Vec::new(), Vec::new());
        for name in &self.secrets {
            let found = engine.store().secrets().lookup(name);
            match found.and_then(|secret| document(&secret, show)) {
                Ok(document) => documents.push(document),
                Err(error) => failures.push(error),
            }
        }
        print_inspected(&mut world.out, documents, format.as_ref(), &failures)
    }

    fn act_on(self, host: &Host, world: &mut World) -> Result<Status> {
        refuse(&[("--showsecret", self.showsecret)])?;
        let path = |name: &str| format!("/secrets/{name}");
        answers::inspect(host, world, self.format.as_deref(), &self.secrets, path)
    }
}

fn document(secret: &Secret, show: bool) -> Result<Json> {
    let mut document = json!({
        "ID": secret.id,
        "CreatedAt": time::rfc3339_short(secret.created),
        "UpdatedAt": time::rfc3339_short(secret.updated),
        "Spec": {
            "Name": secret.name,
            "Driver": { "Name": secret.driver(), "Options": secret.options },
            "Labels": secret.labels,
        },
    });
    if show {
        let data = Engine::secret_data(secret)?;
        document["SecretData"] = String::from_utf8_lossy(&data).into_owned().into();
    }
    Ok(document)
}
