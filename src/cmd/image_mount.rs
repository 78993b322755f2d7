//! `barge image mount` and `barge image unmount`

use clap::Args;
use serde_json::json;

use super::World;
use super::containers::for_each;
use super::exit::Status;
use super::listing::print_json;
use super::mount::document;
use super::table;
use super::tree::Act;
use crate::engine::images::{self, MountedImage};
use crate::error::{Error, Kind, Result};

/// Make the files of images seen
///
/// Prints where they are. Without arguments, shows which images are mounted. They are read-only, and an
/// image stays as long as it is mounted.
#[derive(Args, Debug)]
pub(crate) struct ImageMount {
    /// Mount all images
    #[arg(short, long)]
    all: bool,
    /// Print it as json
    #[arg(long, value_name = "FORMAT", value_parser = ["json", ""])]
    format: Option<String>,
    /// Images, by name or ID
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,
}

impl Act for ImageMount {
    const ONLY_HERE: &'static str = "files of another machine cannot be mounted on this one";

    fn act(self, world: &mut World) -> Result<Status> {
        if self.all && !self.images.is_empty() {
            return Err(Error::new(Kind::Invalid, "--all cannot be used together with images"));
        }
        let engine = world.engine()?;
        let mounted = match (self.all, self.images.as_slice()) {
            (true, _) => images::mount_all(&engine)?,
            (false, []) => images::mounted(engine.store())?,
            (false, names) => images::mount(&engine, names)?,
        };
        if self.format.as_deref() == Some("json") {
            let documents = mounted.iter().map(described).collect();
            print_json(&mut world.out, &serde_json::Value::Array(documents))?;
        } else if let ([_], [mounted]) = (self.images.as_slice(), mounted.as_slice()) {
            world.out.line(&mounted.path.display().to_string())?;
        } else {
            let row = |it: &MountedImage| vec![name(it), it.path.display().to_string()];
            world.out.text(&table::layout(&mounted.iter().map(row).collect::<Vec<_>>()))?;
        }
        Ok(Status::SUCCESS)
    }
}

fn name(mounted: &MountedImage) -> String {
    let named = &mounted.named;
    named.names.first().map_or_else(|| named.image.id.hex().to_owned(), ToString::to_string)
}

fn described(mounted: &MountedImage) -> serde_json::Value {
    let named = &mounted.named;
    let digests = named.image.manifest_digest.iter().map(ToString::to_string).collect();
    let mut document = document(named.image.id.hex(), digests, &mounted.path);
    document["Repositories"] = json!(named.names);
    document
}

/// Undo image mount
///
/// An image that was mounted several times stays so until that was undone as often.
#[derive(Args, Debug)]
pub(crate) struct ImageUnmount {
    /// Unmount all images
    #[arg(short, long)]
    all: bool,
    /// Unmount, however often it was mounted
    #[arg(short, long)]
    force: bool,
    /// Images, by name or ID
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,
}

impl Act for ImageUnmount {
    const ONLY_HERE: &'static str = "files of another machine cannot be mounted on this one";

    fn act(self, world: &mut World) -> Result<Status> {
        if self.all && !self.images.is_empty() {
            return Err(Error::new(Kind::Invalid, "--all cannot be used together with images"));
        }
        if !self.all && self.images.is_empty() {
            return Err(Error::new(Kind::Invalid, "image name or ID must be specified"));
        }
        let engine = world.engine()?;
        let names = if self.all {
            let mounted = images::mounted(engine.store())?;
            mounted.iter().map(|it| it.named.image.id.hex().to_owned()).collect()
        } else {
            self.images
        };
        for_each(world, &names, Status::of_error, |world, name| {
            match images::unmount(&engine, name, self.force)? {
                Some(id) => world.out.line(id.hex()),
                None => Ok(()),
            }
        })
    }
}
