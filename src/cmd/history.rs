//! `barge history`

use clap::Args;
use serde_json::{Value, json};

use super::World;
use super::answers;
use super::exit::Status;
use super::listing::{self, Columns, Row};
use super::ps::{elapsed, shorten};
use super::tree::Act;
use crate::engine::images;
use crate::error::Result;
use crate::remote::{Host, Request, escape};
use crate::spec::size::HumanSize;
use crate::spec::time;

/// Show how an image came to be
#[derive(Args, Debug)]
pub(crate) struct History {
    /// Print each with a Go template, or all as json
    #[arg(long, value_name = "TEMPLATE")]
    format: Option<String>,
    /// Print sizes and times for people
    #[arg(
        short = 'H',
        long,
        value_name = "BOOL",
        action = clap::ArgAction::Set,
        num_args = 0..=1,
        require_equals = true,
        default_value = "true",
        default_missing_value = "true",
        value_parser = super::parse::truth
    )]
    human: bool,
    /// Do not shorten anything
    #[arg(long)]
    no_trunc: bool,
    /// Print IDs only
    #[arg(short, long)]
    quiet: bool,
    /// Image, by name or ID
    #[arg(value_name = "IMAGE", required = true)]
    image: String,
}

const COLUMNS: Columns = Columns {
    shown: &[
        ("ID", "ID"),
        ("Created", "CREATED"),
        ("CreatedBy", "CREATED BY"),
        ("Size", "SIZE"),
        ("Comment", "COMMENT"),
    ],
    others: &[("CreatedSince", "CREATED")],
};

impl Act for History {
    fn act(self, world: &mut World) -> Result<Status> {
        let engine = world.engine()?;
        let entries = images::history(engine.store(), &self.image)?;
        let now = super::now();
        let steps = entries.iter().map(|entry| Step {
            id: entry.id.as_ref().map_or(MISSING, |id| id.hex()),
            created: entry.created,
            created_by: &entry.created_by,
            size: entry.size,
            comment: &entry.comment,
            names: json!(entry.names),
        });
        let rows = steps.map(|step| self.row(&step, now)).collect();
        self.print(world, rows)
    }

    fn act_on(self, host: &Host, world: &mut World) -> Result<Status> {
        let path = format!("/images/{}/history", escape(&self.image));
        let found = answers::entries(host.document(Request::get(path))?);
        let now = super::now();
        let steps = found.iter().map(|entry| Step {
            id: answers::hex(answers::text(entry, "Id")),
            created: answers::number(entry, "Created").saturating_mul(1_000_000_000),
            created_by: answers::text(entry, "CreatedBy"),
            size: answers::bytes(entry, "Size"),
            comment: answers::text(entry, "Comment"),
            names: entry["Tags"].clone(),
        });
        let rows = steps.map(|step| self.row(&step, now)).collect();
        self.print(world, rows)
    }
}

/// What stands for an image that there is not.
const MISSING: &str = "<missing>";

/// One step, wherever it was told.
struct Step<'a> {
    /// Digits of the image, or that it is missing.
    id: &'a str,
    created: i64,
    created_by: &'a str,
    size: u64,
    comment: &'a str,
    names: Value,
}

impl History {
    fn print(&self, world: &mut World, rows: Vec<Row>) -> Result<Status> {
        if self.quiet {
            for row in rows {
                world.out.line(row.fields["ID"].as_str().unwrap_or_default())?;
            }
            return Ok(Status::SUCCESS);
        }
        listing::print(&mut world.out, &COLUMNS, rows, self.format.as_deref(), true)?;
        Ok(Status::SUCCESS)
    }

    fn row(&self, entry: &Step<'_>, now: i64) -> Row {
        let id = answers::id(entry.id, self.no_trunc || entry.id == MISSING);
        let created_at = time::rfc3339_short(entry.created);
        let since = match entry.created {
            0 => "N/A".to_owned(),
            created => format!("{} ago", elapsed(created, now)),
        };
        // One step is one line, and an image has nothing to say to the terminal.
        let instruction = entry.created_by.replace(char::is_control, " ");
        Row {
            fields: json!({
                "ID": id,
                "Created": if self.human { &since } else { &created_at },
                "CreatedSince": since,
                "CreatedAt": created_at,
                "CreatedBy": if self.no_trunc { instruction } else { cut(&instruction) },
                "Size": if self.human { HumanSize(entry.size).to_string() } else { entry.size.to_string() },
                "Comment": entry.comment.replace(char::is_control, " "),
                "Tags": entry.names,
            }),
            document: json!({
                "id": entry.id,
                "created": created_at,
                "CreatedBy": entry.created_by,
                "size": entry.size,
                "comment": entry.comment,
                "tags": entry.names,
            }),
        }
    }
}

/// Cuts a text to what fits into the column, the marks for it included.
fn cut(text: &str) -> String {
    const WIDTH: usize = 45;
    if text.chars().count() > WIDTH { shorten(text, WIDTH - 3) } else { text.to_owned() }
}
