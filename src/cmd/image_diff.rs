//! `barge image diff`

use clap::Args;
use serde_json::json;

use super::World;
use super::exit::Status;
use super::listing::print_json;
use super::tree::Act;
use crate::engine::images::{self, ChangeKind};
use crate::error::Result;

/// Show what the top layer of an image changes
///
/// Or how it differs from a second image. A is added, C changed, D deleted.
#[derive(Args, Debug)]
pub(crate) struct ImageDiff {
    /// Print it as json
    #[arg(long, value_name = "FORMAT", value_parser = ["json", ""])]
    format: Option<String>,
    /// Image, by name or ID
    #[arg(value_name = "IMAGE", required = true)]
    image: String,
    /// Image to compare it with
    #[arg(value_name = "OTHER")]
    other: Option<String>,
}

impl Act for ImageDiff {
    fn act(self, world: &mut World) -> Result<Status> {
        // Layers may have directories that only their owners can look into.
        let engine = world.power()?;
        let changes = images::diff(engine.store(), &self.image, self.other.as_deref())?;
        if self.format.as_deref() == Some("json") {
            let of = |kind: ChangeKind| -> Vec<_> {
                let paths = changes.iter().filter(|change| change.kind == kind);
                paths.map(|change| change.path.to_string_lossy()).collect()
            };
            let mut document = json!({});
            for (name, kind) in [
                ("changed", ChangeKind::Changed),
                ("added", ChangeKind::Added),
                ("deleted", ChangeKind::Deleted),
            ] {
                let paths = of(kind);
                if !paths.is_empty() {
                    document[name] = json!(paths);
                }
            }
            print_json(&mut world.out, &document)?;
            return Ok(Status::SUCCESS);
        }
        for change in changes {
            let letter = match change.kind {
                ChangeKind::Changed => 'C',
                ChangeKind::Added => 'A',
                ChangeKind::Deleted => 'D',
            };
            world.out.line(&format!("{letter} {}", change.path.display()))?;
        }
        Ok(Status::SUCCESS)
    }
}
