//! `barge manifest inspect`

use clap::Args;
use serde_json::Value as Json;

use crate::cmd::World;
use crate::cmd::access::AccessFlags;
use crate::cmd::exit::Status;
use crate::cmd::listing::print_json;
use crate::cmd::output;
use crate::cmd::tree::Act;
use crate::engine::lists;
use crate::error::{Context, Result};

/// Show a manifest list
///
/// One that is not here is looked for in its registry.
#[derive(Args, Debug)]
pub(crate) struct Inspect {
    #[command(flatten)]
    access: AccessFlags,
    /// Taken for the sake of scripts
    #[arg(short, long, hide = true)]
    verbose: bool,
    /// List, by name or ID, or a name in a registry
    #[arg(value_name = "LIST", required = true)]
    list: String,
}

impl Act for Inspect {
    const IS_LOCAL: bool = true;

    fn act(self, world: &mut World) -> Result<Status> {
        let engine = world.engine()?;
        let found = lists::inspect(engine.store(), &self.list, &self.access.options()?)?;
        if let Some(kind) = found.single {
            output::warning(&format!(
                "The manifest type {kind} is not a manifest list but a single image."
            ));
        }
        let document: Json = serde_json::from_slice(&found.document)
            .context(|| format!("the manifest of `{}` is malformed", self.list))?;
        print_json(&mut world.out, &document)?;
        Ok(Status::SUCCESS)
    }
}
