//! `barge container clone`

use clap::Args;

use super::World;
use super::exit::Status;
use super::flags::disks::DisksFlags;
use super::flags::usage::UsageFlags;
use super::output;
use super::tree::Act;
use crate::engine::CloneOptions;
use crate::error::{Error, Kind, Result};
use crate::spec::limits::Resources;
use crate::spec::name;

/// Make another container of the same making
///
/// It has all settings of the first and the files of its image, or of another one. What the first has
/// changed is not copied. Its name is that of the first with -clone behind it.
#[derive(Args, Debug)]
pub(crate) struct Clone {
    #[command(flatten)]
    disks: DisksFlags,
    /// Remove the first container
    #[arg(long)]
    destroy: bool,
    /// Remove it although it runs
    #[arg(short, long, requires = "destroy")]
    force: bool,
    /// Name it
    #[arg(long, value_name = "NAME", value_parser = name::parse)]
    name: Option<String>,
    /// Start it in the background
    #[arg(long)]
    run: bool,
    #[command(flatten)]
    usage: UsageFlags,
    /// Container, by name or ID
    #[arg(value_name = "CONTAINER", required = true)]
    container: String,
    /// Name of the new one
    #[arg(value_name = "NAME", value_parser = name::parse)]
    new_name: Option<String>,
    /// Image to take the files from
    #[arg(value_name = "IMAGE")]
    image: Option<String>,
}

impl Act for Clone {
    fn act(self, world: &mut World) -> Result<Status> {
        if self.name.is_some() && self.new_name.is_some() {
            return Err(Error::new(
                Kind::Invalid,
                "cannot set a name both by --name and behind the container",
            ));
        }
        let options = CloneOptions {
            name: self.name.or(self.new_name),
            image: self.image,
            resources: Resources { io: self.disks.limits(), ..self.usage.resources()? },
            destroy: self.destroy,
            force: self.force,
        };
        let engine = world.power()?;
        let id = engine.clone_container(&self.container, &options)?;
        if self.run
            && let Some(session) = engine.start(&id, None)?
        {
            session.warnings().iter().for_each(|warning| output::warning(warning));
        }
        world.out.line(id.as_str())?;
        Ok(Status::SUCCESS)
    }
}
