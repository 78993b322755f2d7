//! The process that carries a build out.
//!
//! The service has threads, and builds make processes: so our executable is started anew for each build. It
//! talks to the service over the socket that is its standard input, in lines of JSON: a [`Request`] comes
//! in, [`Event`]s go out. What only the client has, such as secrets, it asks for by an event, and waits for
//! the [`Answer`]. When the service ends or gives up, the build ends.

mod attributes;
mod child;
mod start;
mod steps;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub(crate) use child::main;
pub(super) use start::Worker;

use super::message::control::CachePlace;
use crate::error::{Error, Kind};

/// The program's name when it is started for a build.
const NAME: &str = "barge: build";

/// Tells whether these words start us for a build.
pub(crate) fn is_asked_for(name: &std::ffi::OsStr) -> bool {
    name == NAME
}

/// Decodes the words of a build.
#[cfg(any(fuzzing, test))]
pub(super) fn read(words: &BTreeMap<String, String>) {
    drop(attributes::options(words));
}

/// What is built, and how.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Request {
    /// How, in the words of BuildKit's frontend `dockerfile.v0`.
    pub(super) attributes: BTreeMap<String, String>,
    /// What becomes of the result.
    pub(super) outputs: Vec<Output>,
    /// The Dockerfile and its name, if it is not in the context.
    pub(super) file: Option<(String, String)>,
    /// What files are copied from.
    pub(super) context: ContextPlace,
    /// Contexts that the client has sent, by name.
    pub(super) contexts: BTreeMap<String, PathBuf>,
    /// Where steps are taken from; those of `type=local` are in directories of ours.
    pub(super) cache_from: Vec<CacheEntry>,
    /// Where steps are kept besides, likewise.
    pub(super) cache_to: Vec<CacheEntry>,
}

/// A cache besides the builder's own, in BuildKit's words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct CacheEntry {
    /// The kind.
    #[serde(rename = "Type")]
    pub(super) kind: String,
    /// What else is said of it.
    #[serde(rename = "Attrs")]
    pub(super) attributes: BTreeMap<String, String>,
}

impl From<&CachePlace> for CacheEntry {
    fn from(place: &CachePlace) -> Self {
        let attributes = place.attributes.clone().into_iter().collect();
        Self { kind: place.kind.clone(), attributes }
    }
}

/// Where a context is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum ContextPlace {
    /// There is none.
    #[default]
    Nowhere,
    /// In a directory that the client has filled, without what is left out.
    Directory(PathBuf),
    /// In an archive that the client has sent, or it is a Dockerfile alone.
    Archive(PathBuf),
    /// At an address.
    Remote(String),
}

/// What becomes of a result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Output {
    /// BuildKit's word for the kind.
    pub(super) kind: String,
    /// BuildKit's words for how.
    pub(super) attributes: BTreeMap<String, String>,
    /// The directory or the file that the service takes it from.
    pub(super) path: Option<PathBuf>,
}

/// What the service hears.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Event {
    /// A step begins: its key, and its name for people.
    Began(String, String),
    /// Output of a step's command, in base64.
    Output(String, String),
    /// A step is done; whether an earlier build had done it.
    Done(String, bool),
    /// A step has failed: why.
    Failed(String, String),
    /// A part of a step goes on: its name, bytes that are done, and in all.
    Part(String, String, u64, u64),
    /// A part of a step is done.
    PartDone(String, String),
    /// Something that the user should know.
    Warning(String),
    /// A secret is needed.
    Secret(String),
    /// An SSH agent is needed.
    Agent(String),
    /// It must be known who the client is to a registry.
    Login(String),
    /// All is done: what clients are told of the result.
    Made(BTreeMap<String, String>),
    /// It has failed.
    Broken(Broken),
}

/// Why a build has failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Broken {
    pub(super) kind: Kind,
    pub(super) message: String,
    pub(super) hint: Option<String>,
    /// Where in the Dockerfile.
    pub(super) place: Option<Place>,
}

/// A line of a Dockerfile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) file_name: String,
    pub(super) file: String,
    /// The first line, from 1.
    pub(super) line: usize,
}

impl From<&Error> for Broken {
    fn from(error: &Error) -> Self {
        Self {
            kind: error.kind(),
            message: error.to_string(),
            hint: error.hint_text().map(str::to_owned),
            place: None,
        }
    }
}

/// What the service answers to an event that asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Answer {
    /// A secret, in base64; `None` if there is no such.
    Secret(Option<String>),
    /// The socket of an agent; `None` if there is no such.
    Agent(Option<PathBuf>),
    /// User name and password; with no user name, a token that stands for both.
    Login(Option<(String, String)>),
    /// It cannot be had: why.
    Failed(String),
}
