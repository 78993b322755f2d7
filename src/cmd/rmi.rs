//! `barge rmi`, `barge tag`, `barge untag` and `barge image exists`

use clap::Args;
use serde_json::Value;

use super::World;
use super::answers::{self, RemoteName};
use super::containers::for_each;
use super::exit::Status;
use super::output;
use super::tree::Act;
use crate::engine::images::{self, RemoveOptions};
use crate::error::{Error, Kind, Result};
use crate::remote::{Host, Request, escape};
use crate::store::image::Removal;

/// Remove images, or names of images
#[derive(Args, Debug)]
pub(crate) struct Rmi {
    /// Remove all images
    #[arg(short, long)]
    all: bool,
    /// Remove all names of an image, and containers that use it
    #[arg(short, long)]
    force: bool,
    /// Do not complain about images that are not there
    #[arg(short, long)]
    ignore: bool,
    /// Accepted and ignored: images have no parents here
    #[arg(long)]
    no_prune: bool,
    /// Images, by name or ID
    #[arg(value_name = "IMAGE")]
    images: Vec<String>,
}

impl Act for Rmi {
    fn act(self, world: &mut World) -> Result<Status> {
        self.check()?;
        let engine = world.power()?;
        let options = RemoveOptions { force: self.force, ignore: self.ignore };
        let removals = match self.all {
            true => images::remove_all(&engine, options)?,
            false => images::remove(&engine, &self.images, options)?,
        };
        for removal in &removals.done {
            match removal {
                Removal::Untagged(name) => world.out.line(&format!("Untagged: {name}"))?,
                Removal::Deleted(id) => world.out.line(&format!("Deleted: {}", id.hex()))?,
            }
        }
        world.out.flush()?;
        removals.failures.iter().for_each(output::error);
        let statuses = removals.failures.iter().map(Status::of_removal);
        Ok(statuses.fold(Status::SUCCESS, Status::or_worse))
    }

    fn act_on(self, host: &Host, world: &mut World) -> Result<Status> {
        self.check()?;
        let mut names = self.images;
        if self.all {
            let found = answers::entries(host.document(Request::get("/images/json"))?);
            names.extend(found.iter().map(|image| answers::text(image, "Id").to_owned()));
        }
        for_each(world, &names, Status::of_removal, |world, name| {
            let request = Request::delete(format!("/images/{}", escape(name)))
                // An ID may have several names.
                .flag("force", self.force)
                .flag("noprune", self.no_prune);
            match host.document(request) {
                Err(error) if (self.ignore || self.all) && error.kind() == Kind::NotFound => Ok(()),
                Err(error) => Err(error),
                Ok(removed) => print_removed(world, &removed),
            }
        })
    }
}

/// Prints what a service says it has removed.
pub(super) fn print_removed(world: &mut World, removed: &Value) -> Result<()> {
    for removal in removed.as_array().into_iter().flatten() {
        match (removal["Untagged"].as_str(), removal["Deleted"].as_str()) {
            (Some(name), _) => world.out.line(&format!("Untagged: {name}"))?,
            (None, Some(id)) => world.out.line(&format!("Deleted: {}", answers::hex(id)))?,
            (None, None) => {}
        }
    }
    Ok(())
}

impl Rmi {
    fn check(&self) -> Result<()> {
        if self.all && !self.images.is_empty() {
            return Err(Error::new(
                Kind::Invalid,
                "when using the --all switch, you may not pass any images names or IDs",
            ));
        }
        if !self.all && self.images.is_empty() {
            return Err(Error::new(Kind::Invalid, "image name or ID must be specified"));
        }
        Ok(())
    }
}

/// Give an image further names
#[derive(Args, Debug)]
pub(crate) struct Tag {
    /// Image, by name or ID
    #[arg(value_name = "IMAGE", required = true)]
    image: String,
    /// Names to give
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
}

impl Act for Tag {
    fn act(self, world: &mut World) -> Result<Status> {
        let engine = world.power()?;
        for name in &self.names {
            images::tag(engine.store(), &self.image, name)?;
        }
        Ok(Status::SUCCESS)
    }

    fn act_on(self, host: &Host, _: &mut World) -> Result<Status> {
        for name in &self.names {
            let name = RemoteName::new(name);
            let request = Request::post(format!("/images/{}/tag", escape(&self.image)))
                .with("repo", name.repository)
                .maybe("tag", name.tag);
            host.act(request)?;
        }
        Ok(Status::SUCCESS)
    }
}

/// Take names away from an image
///
/// Without names, all of them. The image stays.
#[derive(Args, Debug)]
pub(crate) struct Untag {
    /// Image, by name or ID
    #[arg(value_name = "IMAGE", required = true)]
    image: String,
    /// Names to take away
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

impl Act for Untag {
    fn act(self, world: &mut World) -> Result<Status> {
        let engine = world.power()?;
        images::untag(engine.store(), &self.image, &self.names)?;
        Ok(Status::SUCCESS)
    }

    /// Docker's API takes a name away by removing it; with the last one the image would go.
    fn act_on(self, host: &Host, _: &mut World) -> Result<Status> {
        let path = format!("/images/{}/json", escape(&self.image));
        let image = host.document(Request::get(path))?;
        let known = answers::words(&image, "RepoTags");
        let wanted: Vec<&str> = match self.names.as_slice() {
            [] => known.clone(),
            names => names
                .iter()
                .map(|name| {
                    let found = known.iter().find(|it| is_same_name(it, name));
                    found
                        .copied()
                        .ok_or_else(|| Error::new(Kind::NotFound, format!("{name}: tag not known")))
                })
                .collect::<Result<_>>()?,
        };
        if known.iter().all(|name| wanted.contains(name)) {
            let text =
                format!("{} would have no name, and be removed with the last one", self.image);
            return Err(Error::new(Kind::Unsupported, text)
                .hint("give it another name first: barge tag; or remove it: barge rmi"));
        }
        for name in wanted {
            host.act(Request::delete(format!("/images/{}", escape(name))).with("noprune", 1))?;
        }
        Ok(Status::SUCCESS)
    }
}

/// Tells whether a name is one that a user has written, perhaps without the tag.
fn is_same_name(known: &str, written: &str) -> bool {
    let written = RemoteName::new(written);
    let known = RemoteName::new(known);
    let short = known.repository.strip_prefix("localhost/").unwrap_or(known.repository);
    (known.repository == written.repository || short == written.repository)
        && known.tag.unwrap_or("latest") == written.tag.unwrap_or("latest")
}

/// Check whether an image is here
///
/// The exit status is 0 if it is, and 1 if it is not.
#[derive(Args, Debug)]
pub(crate) struct ImageExists {
    /// Image, by name or ID
    #[arg(value_name = "IMAGE")]
    image: String,
}

impl Act for ImageExists {
    fn act(self, world: &mut World) -> Result<Status> {
        let engine = world.engine()?;
        let exists = images::exists(engine.store(), &self.image)?;
        Ok(if exists { Status::SUCCESS } else { Status::NO })
    }

    fn act_on(self, host: &Host, _: &mut World) -> Result<Status> {
        answers::exists(host, format!("/images/{}/json", escape(&self.image)))
    }
}

/// Check whether a container is here
///
/// The exit status is 0 if it is, and 1 if it is not.
#[derive(Args, Debug)]
pub(crate) struct ContainerExists {
    /// Does nothing: all containers are ours
    #[arg(long)]
    external: bool,
    /// Container, by name or ID
    #[arg(value_name = "CONTAINER")]
    container: String,
}

impl Act for ContainerExists {
    fn act(self, world: &mut World) -> Result<Status> {
        match world.engine()?.lookup(&self.container) {
            Ok(_) => Ok(Status::SUCCESS),
            Err(error) if error.kind() == Kind::NotFound => Ok(Status::NO),
            Err(error) => Err(error),
        }
    }

    fn act_on(self, host: &Host, _: &mut World) -> Result<Status> {
        answers::exists(host, format!("/containers/{}/json", escape(&self.container)))
    }
}
