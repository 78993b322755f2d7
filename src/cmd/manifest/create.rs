//! `barge manifest create`

use clap::Args;

use crate::cmd::World;
use crate::cmd::access::AccessFlags;
use crate::cmd::exit::Status;
use crate::cmd::tree::Act;
use crate::engine::lists::{self, CreateOptions};
use crate::error::Result;
use crate::spec::oci::Annotation;

/// Make a manifest list
///
/// Images that are not here are looked for in their registries, and only their manifests are fetched. The ID of the list is printed.
#[derive(Args, Debug)]
pub(crate) struct Create {
    #[command(flatten)]
    access: AccessFlags,
    /// Add all images of lists, not only this machine's
    #[arg(long)]
    all: bool,
    /// Add to the list if it is there already
    #[arg(short, long)]
    amend: bool,
    /// Annotate the list
    #[arg(long, value_name = "NAME=VALUE")]
    annotation: Vec<Annotation>,
    /// Name of the list
    #[arg(value_name = "LIST", required = true)]
    list: String,
    /// Images to add, by name or ID
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,
}

impl Act for Create {
    const IS_LOCAL: bool = true;

    fn act(self, world: &mut World) -> Result<Status> {
        let options = CreateOptions {
            all: self.all,
            amend: self.amend,
            annotations: self.annotation.into_iter().map(|it| (it.name, it.value)).collect(),
            registry: self.access.options()?,
        };
        let engine = world.power()?;
        let list = lists::create(engine.store(), &self.list, &self.images, &options)?;
        world.out.line(list.id.hex())?;
        Ok(Status::SUCCESS)
    }
}
