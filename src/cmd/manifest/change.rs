//! `barge manifest add` and `barge manifest annotate`

use clap::Args;

use crate::cmd::World;
use crate::cmd::access::AccessFlags;
use crate::cmd::exit::Status;
use crate::cmd::tree::Act;
use crate::engine::lists::{self, AddOptions, AnnotateOptions};
use crate::error::{Error, Kind, Result};
use crate::spec::oci::{Annotation, Annotations, MemberChange};

/// What a list says of an image.
#[derive(Args, Debug)]
struct ChangeFlags {
    /// Annotate the image
    #[arg(long, value_name = "NAME=VALUE")]
    annotation: Vec<Annotation>,
    /// Say that it is for this processor
    #[arg(long, value_name = "NAME")]
    arch: Option<String>,
    /// Say which features of the processor it needs
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    features: Vec<String>,
    /// Annotate the list, not the image
    #[arg(long)]
    index: bool,
    /// Say that it is for this operating system
    #[arg(long, value_name = "NAME")]
    os: Option<String>,
    /// Say which features of the system it needs
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    os_features: Vec<String>,
    /// Say that it is for this version of the system
    #[arg(long, value_name = "VERSION")]
    os_version: Option<String>,
    /// Say that it is for this variant of the processor
    #[arg(long, value_name = "NAME")]
    variant: Option<String>,
}

impl ChangeFlags {
    /// Returns what is said of images, and the annotations of the list.
    fn split(self) -> (MemberChange, Annotations) {
        let annotations = self.annotation.into_iter().map(|it| (it.name, it.value)).collect();
        let (annotations, index_annotations) = match self.index {
            true => (Annotations::new(), annotations),
            false => (annotations, Annotations::new()),
        };
        let change = MemberChange {
            architecture: self.arch,
            os: self.os,
            os_version: self.os_version,
            os_features: self.os_features,
            variant: self.variant,
            features: self.features,
            annotations,
        };
        (change, index_annotations)
    }
}

/// Add images to a manifest list
///
/// Images that are not here are looked for in their registries, and only their manifests are fetched. The ID of the list is printed.
#[derive(Args, Debug)]
pub(crate) struct Add {
    #[command(flatten)]
    access: AccessFlags,
    /// Add all images of lists, not only this machine's
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    change: ChangeFlags,
    /// List, by name or ID
    #[arg(value_name = "LIST", required = true)]
    list: String,
    /// Images, by name or ID
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,
}

impl Act for Add {
    fn act(self, world: &mut World) -> Result<Status> {
        let registry = self.access.options()?;
        let (change, index_annotations) = self.change.split();
        let options = AddOptions { all: self.all, change, index_annotations, registry };
        let engine = world.power()?;
        let list = lists::add(engine.store(), &self.list, &self.images, &options)?;
        world.out.line(list.id.hex())?;
        Ok(Status::SUCCESS)
    }
}

/// Change what a manifest list says of an image
///
/// The image is named by its digest, or by the name that it was added by. The ID of the list is printed.
#[derive(Args, Debug)]
pub(crate) struct Annotate {
    #[command(flatten)]
    change: ChangeFlags,
    /// List, by name or ID
    #[arg(value_name = "LIST", required = true)]
    list: String,
    /// Image of the list
    #[arg(value_name = "IMAGE")]
    image: Option<String>,
}

impl Act for Annotate {
    fn act(self, world: &mut World) -> Result<Status> {
        let about_list = self.change.index;
        if self.image.is_none() && !about_list {
            return Err(Error::new(Kind::Invalid, "accepts 2 arg(s), received 1")
                .hint("name an image of the list, or pass --index to annotate the list itself"));
        }
        let (change, index_annotations) = self.change.split();
        let options = AnnotateOptions { change, index_annotations };
        let engine = world.power()?;
        let image = self.image.as_deref();
        let list = lists::annotate(engine.store(), &self.list, image, &options)?;
        world.out.line(list.id.hex())?;
        Ok(Status::SUCCESS)
    }
}
