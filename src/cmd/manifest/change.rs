//! `barge manifest add` and `barge manifest annotate`

use std::path::PathBuf;

use clap::Args;

use crate::cmd::World;
use crate::cmd::access::AccessFlags;
use crate::cmd::exit::Status;
use crate::cmd::tree::Act;
use crate::engine::images::RegistryOptions;
use crate::engine::lists::{self, AddFilesOptions, AddOptions, AnnotateOptions, MemberOptions};
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
    artifact: ArtifactFlags,
    #[command(flatten)]
    change: ChangeFlags,
    /// List, by name or ID
    #[arg(value_name = "LIST", required = true)]
    list: String,
    /// Images, by name or ID, or files of an artifact
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,
}

/// How an artifact is made of files.
#[derive(Args, Debug)]
struct ArtifactFlags {
    /// Make an artifact of files and add that
    #[arg(long)]
    artifact: bool,
    /// Annotate the artifact
    #[arg(long, value_name = "NAME=VALUE")]
    artifact_annotation: Vec<Annotation>,
    /// File with the configuration of the artifact
    #[arg(long, value_name = "FILE")]
    artifact_config: Option<PathBuf>,
    /// Media type of the configuration
    #[arg(long, value_name = "TYPE")]
    artifact_config_type: Option<String>,
    /// Leave out the names of the files
    #[arg(long)]
    artifact_exclude_titles: bool,
    /// Media type of the files; found out if not given
    #[arg(long, value_name = "TYPE")]
    artifact_layer_type: Option<String>,
    /// What the artifact is about: an image, by name
    #[arg(long, value_name = "IMAGE")]
    artifact_subject: Option<String>,
    /// Kind of the artifact, as a media type
    #[arg(long, value_name = "TYPE")]
    artifact_type: Option<String>,
}

impl ArtifactFlags {
    /// Refuses what is said of an artifact where none is made.
    fn check(&self) -> Result<()> {
        let given = [
            ("--artifact-type", self.artifact_type.is_some()),
            ("--artifact-config", self.artifact_config.is_some()),
            ("--artifact-config-type", self.artifact_config_type.is_some()),
            ("--artifact-layer-type", self.artifact_layer_type.is_some()),
            ("--artifact-subject", self.artifact_subject.is_some()),
            ("--artifact-exclude-titles", self.artifact_exclude_titles),
            ("--artifact-annotation", !self.artifact_annotation.is_empty()),
        ];
        match given.iter().find(|(_, is_given)| *is_given) {
            Some((flag, _)) if !self.artifact => {
                Err(Error::new(Kind::Invalid, format!("{flag} requires --artifact")))
            }
            _ => Ok(()),
        }
    }

    fn options(self, change: MemberChange, registry: RegistryOptions) -> AddFilesOptions {
        let annotations = self.artifact_annotation.into_iter().map(|it| (it.name, it.value));
        AddFilesOptions {
            artifact: MemberOptions {
                kind: self.artifact_type,
                annotations: annotations.collect(),
                config: self.artifact_config,
                config_type: self.artifact_config_type,
                layer_type: self.artifact_layer_type,
                untitled: self.artifact_exclude_titles,
                subject: None,
            },
            subject: self.artifact_subject,
            change,
            registry,
        }
    }
}

impl Act for Add {
    const IS_LOCAL: bool = true;

    fn act(self, world: &mut World) -> Result<Status> {
        self.artifact.check()?;
        let registry = self.access.options()?;
        let (change, index_annotations) = self.change.split();
        let engine = world.power()?;
        let list = if self.artifact.artifact {
            let files: Vec<PathBuf> = self.images.into_iter().map(PathBuf::from).collect();
            let options = self.artifact.options(change, registry);
            lists::add_files(engine.store(), &self.list, &files, &options)?
        } else {
            let options = AddOptions { all: self.all, change, index_annotations, registry };
            lists::add(engine.store(), &self.list, &self.images, &options)?
        };
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
    const IS_LOCAL: bool = true;

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
