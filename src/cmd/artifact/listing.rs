//! `barge artifact ls` and `barge artifact inspect`

use clap::Args;
use serde_json::json;

use crate::cmd::World;
use crate::cmd::exit::Status;
use crate::cmd::listing::{self, Columns, Row};
use crate::cmd::ps::elapsed;
use crate::cmd::tree::Act;
use crate::engine::artifacts::{self, Inspection};
use crate::error::{Context, Result};
use crate::spec::oci::CREATED;
use crate::spec::size::HumanSize;
use crate::spec::template::Format;
use crate::spec::time;

/// List artifacts
#[derive(Args, Debug)]
pub(crate) struct Ls {
    /// Print each with a Go template, or all as json
    #[arg(long, value_name = "TEMPLATE")]
    format: Option<String>,
    /// Do not shorten anything
    #[arg(long)]
    no_trunc: bool,
    /// Leave out the headings
    #[arg(short, long)]
    noheading: bool,
    /// Print digests only
    #[arg(short, long)]
    quiet: bool,
}

const COLUMNS: Columns = Columns {
    shown: &[
        ("Repository", "REPOSITORY"),
        ("Tag", "TAG"),
        ("Digest", "DIGEST"),
        ("Created", "CREATED"),
        ("Size", "SIZE"),
    ],
    others: &[],
};

impl Act for Ls {
    const ONLY_HERE: &'static str = "Docker's API knows no artifacts";

    fn act(self, world: &mut World) -> Result<Status> {
        let engine = world.engine()?;
        let now = crate::cmd::now();
        let found = artifacts::list(engine.store())?;
        let rows: Vec<Row> = found.iter().map(|found| self.row(found, now)).collect();
        if self.quiet {
            for row in rows {
                world.out.line(row.fields["Digest"].as_str().unwrap_or_default())?;
            }
            return Ok(Status::SUCCESS);
        }
        let format = self.format.as_deref();
        listing::print(&mut world.out, &COLUMNS, rows, format, !self.noheading)?;
        Ok(Status::SUCCESS)
    }
}

impl Ls {
    fn row(&self, Inspection { artifact, manifest }: &Inspection, now: i64) -> Row {
        const SHORT: usize = 12;
        let hex = artifact.digest.hex();
        let created = manifest.annotations.get(CREATED).and_then(|at| time::parse_rfc3339(at));
        let size = manifest.layers.iter().fold(0, |sum: u64, it| sum.saturating_add(it.size));
        let fields = json!({
            "Repository": artifact.name.repository(),
            "Tag": artifact.name.tag().unwrap_or_default(),
            "Digest": if self.no_trunc { hex } else { &hex[..SHORT] },
            "Created": created.map_or("N/A".to_owned(), |at| format!("{} ago", elapsed(at, now))),
            "CreatedAt": created.map(time::go_style).unwrap_or_default(),
            "Size": HumanSize(size).to_string(),
            "VirtualSize": size.to_string(),
        });
        Row { document: fields.clone(), fields }
    }
}

/// Show everything about an artifact
#[derive(Args, Debug)]
pub(crate) struct Inspect {
    /// Print with a Go template, or as json
    #[arg(short, long, value_name = "TEMPLATE")]
    format: Option<String>,
    /// Artifact, by name or digest
    #[arg(value_name = "ARTIFACT", required = true)]
    artifact: String,
}

impl Act for Inspect {
    const ONLY_HERE: &'static str = "Docker's API knows no artifacts";

    fn act(self, world: &mut World) -> Result<Status> {
        let engine = world.engine()?;
        let Inspection { artifact, manifest } = artifacts::inspect(engine.store(), &self.artifact)?;
        let manifest = serde_json::to_value(&manifest).context(|| "cannot show the manifest")?;
        let document = json!({
            "Manifest": manifest,
            "Name": artifact.name,
            "Digest": artifact.digest,
        });
        match self.format.as_deref() {
            None | Some("" | "json") => listing::print_json(&mut world.out, &document)?,
            Some(text) => world.out.line(&Format::new(text)?.render(&document)?)?,
        }
        Ok(Status::SUCCESS)
    }
}
