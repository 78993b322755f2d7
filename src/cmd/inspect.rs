//! `barge inspect`, `barge container inspect` and `barge image inspect`

use clap::{Args, ValueEnum};
use serde_json::Value as Json;

use super::World;
use super::answers;
use super::exit::Status;
use super::listing::{inspect_format, print_inspected};
use super::tree::Act;
use crate::api::model;
use crate::engine::{Engine, images};
use crate::error::{Error, Kind, Result};
use crate::remote::{Host, Request, escape};

/// Show everything about containers or images
#[derive(Args, Debug)]
pub(crate) struct Inspect {
    /// Print each with a Go template, or all as json
    #[arg(short, long, value_name = "TEMPLATE")]
    format: Option<String>,
    /// The container that was created last
    #[arg(short, long)]
    latest: bool,
    /// Say what containers have changed, and all that they see
    #[arg(short, long)]
    size: bool,
    /// Only things of this kind
    #[arg(short, long, value_enum, value_name = "KIND", default_value = "all")]
    r#type: Type,
    /// Containers or images, by name or ID
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

/// A kind of thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Type {
    /// Containers, and images where there is no such container.
    All,
    /// Containers.
    Container,
    /// Images.
    Image,
}

/// Show everything about containers
#[derive(Args, Debug)]
pub(crate) struct InspectContainer {
    /// Print each with a Go template, or all as json
    #[arg(short, long, value_name = "TEMPLATE")]
    format: Option<String>,
    /// The container that was created last
    #[arg(short, long)]
    latest: bool,
    /// Say what containers have changed, and all that they see
    #[arg(short, long)]
    size: bool,
    /// Containers, by name or ID
    #[arg(value_name = "CONTAINER")]
    names: Vec<String>,
}

/// Show everything about images
#[derive(Args, Debug)]
pub(crate) struct InspectImage {
    /// Print each with a Go template, or all as json
    #[arg(short, long, value_name = "TEMPLATE")]
    format: Option<String>,
    /// Images, by name or ID
    #[arg(value_name = "IMAGE")]
    names: Vec<String>,
}

impl Act for Inspect {
    fn act(self, world: &mut World) -> Result<Status> {
        let asked = Asked { kind: self.r#type, latest: self.latest, size: self.size };
        inspect(world, asked, self.names, self.format.as_deref())
    }

    fn act_on(self, host: &Host, world: &mut World) -> Result<Status> {
        let asked = Asked { kind: self.r#type, latest: self.latest, size: self.size };
        inspect_on(host, world, asked, self.names, self.format.as_deref())
    }
}

impl Act for InspectContainer {
    fn act(self, world: &mut World) -> Result<Status> {
        let asked = Asked { kind: Type::Container, latest: self.latest, size: self.size };
        inspect(world, asked, self.names, self.format.as_deref())
    }

    fn act_on(self, host: &Host, world: &mut World) -> Result<Status> {
        let asked = Asked { kind: Type::Container, latest: self.latest, size: self.size };
        inspect_on(host, world, asked, self.names, self.format.as_deref())
    }
}

impl Act for InspectImage {
    fn act(self, world: &mut World) -> Result<Status> {
        let asked = Asked { kind: Type::Image, latest: false, size: false };
        inspect(world, asked, self.names, self.format.as_deref())
    }

    fn act_on(self, host: &Host, world: &mut World) -> Result<Status> {
        let asked = Asked { kind: Type::Image, latest: false, size: false };
        inspect_on(host, world, asked, self.names, self.format.as_deref())
    }
}

/// What is to be shown.
#[derive(Clone, Copy)]
struct Asked {
    kind: Type,
    latest: bool,
    size: bool,
}

fn inspect(
    world: &mut World,
    asked: Asked,
    names: Vec<String>,
    format: Option<&str>,
) -> Result<Status> {
    let size = asked.size || format.is_some_and(|it| it.contains(".SizeR"));
    // Without root, the files of a container belong to users whose powers are needed to see them.
    let engine = if size { world.power()? } else { world.engine()? };
    let asked = Asked { size, ..asked };
    let names = if asked.latest {
        super::containers::Selection::named(names, true).chosen(&engine, Vec::new())?
    } else {
        names
    };
    if names.is_empty() {
        return Err(Error::new(Kind::Invalid, "no names or ids specified"));
    }
    let format = inspect_format(format)?;
    let mut documents = Vec::new();
    let mut failures = Vec::new();
    for name in &names {
        match find(&engine, asked, name, format.is_some()) {
            Ok(document) => documents.push(document),
            Err(error) => failures.push(error),
        }
    }
    print_inspected(&mut world.out, documents, format.as_ref(), &failures)
}

/// As [`inspect`], on another host, whose documents are Docker's.
fn inspect_on(
    host: &Host,
    world: &mut World,
    asked: Asked,
    mut names: Vec<String>,
    format: Option<&str>,
) -> Result<Status> {
    let size = asked.size || format.is_some_and(|it| it.contains(".SizeR"));
    let asked = Asked { size, ..asked };
    if asked.latest {
        if !names.is_empty() {
            let text = "--latest cannot be used together with containers";
            return Err(Error::new(Kind::Invalid, text));
        }
        names.push(answers::latest(host)?);
    }
    if names.is_empty() {
        return Err(Error::new(Kind::Invalid, "no names or ids specified"));
    }
    let format = inspect_format(format)?;
    let (mut documents, mut failures) = (Vec::new(), Vec::new());
    for name in &names {
        match find_on(host, asked, name) {
            Ok(document) => documents.push(document),
            Err(error) => failures.push(error),
        }
    }
    print_inspected(&mut world.out, documents, format.as_ref(), &failures)
}

/// Asks for the document of one container or image.
fn find_on(host: &Host, asked: Asked, name: &str) -> Result<Json> {
    let path = escape(name);
    if asked.kind != Type::Image {
        let request = Request::get(format!("/containers/{path}/json")).flag("size", asked.size);
        match host.document(request) {
            Err(error) if error.kind() == Kind::NotFound && asked.kind == Type::All => {}
            other => return other,
        }
    }
    match host.document(Request::get(format!("/images/{path}/json"))) {
        Err(error) if error.kind() == Kind::NotFound && asked.kind == Type::All => {
            Err(Error::new(Kind::NotFound, format!("no such object: \"{name}\"")))
        }
        other => other,
    }
}

/// Makes the document of one container or image, for a template or to be shown.
fn find(engine: &Engine, asked: Asked, name: &str, template: bool) -> Result<Json> {
    let kind = asked.kind;
    if kind != Type::Image {
        match engine.lookup(name) {
            Ok(container) => {
                let mut document = model::container::inspect(engine.store(), &container);
                if asked.size {
                    let size = engine.container_size(&container)?;
                    document["SizeRw"] = size.own.into();
                    document["SizeRootFs"] = size.all.into();
                }
                return Ok(document);
            }
            Err(error) if error.kind() != Kind::NotFound => return Err(error),
            Err(_) if kind == Type::Container => {
                let text = format!("no such container \"{name}\"");
                return Err(Error::new(Kind::NotFound, text));
            }
            Err(_) => {}
        }
    }
    match images::inspect(engine.store(), name) {
        Ok(inspection) if template => Ok(model::image::fields(&inspection)),
        Ok(inspection) => Ok(model::image::inspect(&inspection)),
        Err(error)
            if kind == Type::All && matches!(error.kind(), Kind::NotFound | Kind::Invalid) =>
        {
            Err(Error::new(Kind::NotFound, format!("no such object: \"{name}\"")))
        }
        Err(error) => Err(error),
    }
}
