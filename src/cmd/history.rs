//! `barge history`

use clap::Args;
use serde_json::json;

use super::World;
use super::exit::Status;
use super::listing::{self, Columns, Row};
use super::ps::{elapsed, shorten};
use super::tree::Act;
use crate::engine::images::{self, HistoryEntry};
use crate::error::Result;
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
        let rows: Vec<Row> = entries.iter().map(|entry| self.row(entry, now)).collect();
        if self.quiet {
            for row in rows {
                world.out.line(row.fields["ID"].as_str().unwrap_or_default())?;
            }
            return Ok(Status::SUCCESS);
        }
        listing::print(&mut world.out, &COLUMNS, rows, self.format.as_deref(), true)?;
        Ok(Status::SUCCESS)
    }
}

impl History {
    fn row(&self, entry: &HistoryEntry, now: i64) -> Row {
        let id = match &entry.id {
            Some(id) if self.no_trunc => id.hex(),
            Some(id) => id.short(),
            None => "<missing>",
        };
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
                "id": entry.id.as_ref().map_or("<missing>", |id| id.hex()),
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
