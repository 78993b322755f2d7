//! Dockerfiles become images.
//!
//! A build is stages; each is worked on by a thread of its own, waits for those that it takes something
//! from, and is left out if nobody does. A stage is an [`Image`] that grows: what an instruction changes
//! of its configuration is pure, and what it changes of its files is an upper directory that becomes
//! a layer as it lies ([`crate::image::upper`]).
//!
//! | file | job |
//! |---|---|
//! | `scope` | variables |
//! | `stage` | the instructions of a stage, one after the other |
//! | `config` | what instructions change of the configuration |
//! | `layers` | steps that make a layer: the cache, and what is not in its place yet |
//! | `run` | `RUN` |
//! | `mounts` | what its command sees besides the image's files |
//! | `failed` | a look at where it has failed |
//! | `agent` | sockets of SSH agents, for commands |
//! | `transfer` | `COPY`, `ADD` and `WORKDIR` |
//! | `copy` | files, from a tree into an upper directory |
//! | `listener` | who hears how it goes on |
//! | `cache` | what steps have made, for builds elsewhere |
//! | `prune` | what builds have left, and its end |
//! | `squash` | several layers become one |
//! | `built` | the result, recorded |
//! | `attest` | documents that go with it |
//! | `export` | what else becomes of it |
//! | `context` | where a build comes from |
//! | `remote` | files from the web and from git |
//!
//! Layers that were made lie among the drafts until the build ends, well or not, or until a step ends that
//! took long: then all that is whole is moved into place at once, and recorded for the next build. Whoever
//! is killed leaves drafts, which nobody holds any more. No lock of the store is held meanwhile.

mod agent;
mod attest;
mod bases;
mod built;
mod cache;
mod config;
mod context;
mod copy;
mod export;
mod failed;
mod layers;
mod listener;
mod mounts;
mod prune;
mod remote;
mod run;
mod scope;
mod squash;
mod stage;
mod stubs;
mod transfer;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, RwLock};

pub use attest::{Attestations, Provenance};
pub use bases::images;
pub use built::{Built, BuiltImage};
pub use cache::{NO_CACHE_OF_OURS, export_cache};
pub use context::{Asked, Sources, write_id};
pub use export::{Exported, Sink, export};
pub use failed::OnFailure;
pub use listener::{Listener, StepEnd, StepName};
pub use prune::{CachePrune, CacheRecord, CacheUse, Keep, cache_use, prune_cache};
pub use remote::{Fetched, Remote, fetch};

use self::layers::Pending;
use self::scope::Arguments;
use self::stage::Image;
use crate::engine::images::{Progress, PullOptions};
use crate::engine::step::{StepLauncher, StepUsers};
use crate::engine::{Engine, hold_signals, release_signals};
use crate::error::{Error, Kind, Result};
use crate::spec::build_cache::BuildCache;
use crate::spec::build_output::BuildOutput;
use crate::spec::container::Settings;
use crate::spec::dockerfile::{Dockerfile, Instruction, word};
use crate::spec::ignore::Patterns;
use crate::spec::manifest::ManifestFormat;
use crate::spec::platform::Platform;
use crate::spec::reference::Reference;
use crate::spec::time;

/// What is built, and how.
#[derive(Debug, Default)]
pub struct BuildOptions {
    /// What the Dockerfile is called in messages.
    pub file_name: String,
    /// The Dockerfile.
    pub file: String,
    /// The directory that files are copied from.
    pub context: Option<PathBuf>,
    /// What is left out of it.
    pub ignored: Patterns,
    /// Others, by name.
    pub contexts: BTreeMap<String, NamedContext>,
    /// Names of the result.
    pub names: Vec<Reference>,
    /// Values of `ARG`.
    pub args: BTreeMap<String, String>,
    /// Labels of the result.
    pub labels: Vec<(String, String)>,
    /// The stage that is wanted; the last one if none is named.
    pub target: Option<String>,
    /// Whether nothing is taken from the cache.
    pub no_cache: bool,
    /// Stages for which nothing is taken from the cache.
    pub no_cache_stages: Vec<String>,
    /// How base images are got.
    pub pull: PullOptions,
    /// For which platforms; this machine's if none is named.
    pub platforms: Vec<Platform>,
    /// What becomes of the result; an image in the store if nothing is said.
    pub outputs: Vec<BuildOutput>,
    /// A manifest list that the result is added to.
    pub manifest: Option<Reference>,
    /// Secrets, by name.
    pub secrets: BTreeMap<String, Secret>,
    /// Sockets of SSH agents, by name.
    pub agents: BTreeMap<String, PathBuf>,
    /// What commands get, as containers do.
    pub settings: Settings,
    /// The time that everything in the result has at most, in seconds since 1970.
    pub epoch: Option<i64>,
    /// The form that the result is to have elsewhere.
    pub format: Option<ManifestFormat>,
    /// Which layers become one.
    pub squash: Squash,
    /// Annotations of the result's manifest.
    pub annotations: BTreeMap<String, String>,
    /// The image that takes the place of the first one that is named.
    pub from: Option<String>,
    /// Variables of the result.
    pub env: Vec<(String, String)>,
    /// Variables of base images that are taken out.
    pub unset_env: Vec<String>,
    /// Labels of base images that are taken out.
    pub unset_labels: Vec<String>,
    /// Whether the result has no history.
    pub no_history: bool,
    /// Whether commands may be privileged that ask for it.
    pub allows_insecure: bool,
    /// Whether commands do not get the proxies that were given.
    pub no_proxies: bool,
    /// Documents that go with the result.
    pub attestations: Attestations,
    /// Caches that steps are taken from.
    pub cache_from: Vec<BuildCache>,
    /// Caches that steps are kept in.
    pub cache_to: Vec<BuildCache>,
    /// Annotations of the list of several manifests.
    pub index_annotations: BTreeMap<String, String>,
    /// Whether stages wait for each other.
    pub one_by_one: bool,
    /// Whether it is said why steps are taken from the cache or not.
    pub why: bool,
    /// What is run where a command has failed.
    pub on_failure: Option<OnFailure>,
    /// Whether commands read our standard input.
    pub passes_input: bool,
}

/// Which layers of the result become one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Squash {
    /// None.
    #[default]
    None,
    /// Those that were added to the base image.
    Added,
    /// All.
    All,
}

/// A context besides the main one.
#[derive(Clone, Debug)]
pub enum NamedContext {
    /// A directory.
    Directory(PathBuf),
    /// An image.
    Image(String),
}

/// Where a secret is.
#[derive(Clone, Debug)]
pub enum Secret {
    /// In a file.
    File(PathBuf),
    /// In a variable of ours.
    Variable(String),
}

/// A command has failed; its exit code is that of the build.
#[derive(Debug)]
pub struct Failure {
    /// What went wrong.
    pub error: Error,
    /// The exit code, if a command has failed.
    pub code: Option<i32>,
}

/// What all stages share.
struct Builder<'a> {
    engine: &'a Engine,
    options: &'a BuildOptions,
    file: &'a Dockerfile,
    arguments: Arguments,
    launcher: StepLauncher<'a>,
    /// The IDs of commands, if they are not ours.
    users: Option<StepUsers>,
    listener: &'a dyn Listener,
    progress: &'a (dyn Progress + Sync),
    /// When the build began, in nanoseconds since 1970.
    started: i64,
    /// The same as RFC 3339, or the time that all has.
    now: String,
    /// The platform that was asked for.
    asked: Option<Platform>,
    /// The same, where there are several.
    shown_platform: Option<String>,
    /// That, or this machine's.
    platform: Platform,
    stages: Vec<Mutex<Option<Image>>>,
    pending: Mutex<Pending>,
    /// Held by each step while it goes on: what it sees does not move.
    busy: RwLock<()>,
    failure: Mutex<Option<Failure>>,
    /// Held by who looks around where a command has failed.
    looking: Mutex<()>,
    /// Images that were got, by name and platform.
    bases: Mutex<BTreeMap<(String, String), Image>>,
}

/// Builds an image, or one for each platform.
pub fn build(
    engine: &Engine,
    options: &BuildOptions,
    listener: &dyn Listener,
    progress: &(dyn Progress + Sync),
) -> Result<Built, Failure> {
    let failed = |error| Failure { error, code: None };
    let file = Dockerfile::parse(&options.file_name, &options.file).map_err(failed)?;
    let platforms = match options.platforms.as_slice() {
        [] => vec![None],
        platforms => platforms.iter().map(Some).collect(),
    };
    for from in &options.cache_from {
        // A build goes without it, if need be.
        let why = match cache::take_in(engine, from, &options.pull, progress) {
            Ok(taken) => taken.warning().map(str::to_owned),
            Err(error) => Some(error.to_string()),
        };
        if let Some(why) = why {
            listener.warning(&format!("cannot take build cache from {}: {why}", from.place));
        }
    }
    let builders: Vec<Builder<'_>> = platforms
        .into_iter()
        .map(|platform| Builder::new(engine, options, &file, platform, listener, progress))
        .collect::<Result<_>>()
        .map_err(failed)?;
    for builder in &builders {
        let target = builder.target().map_err(failed)?;
        builder.get_bases(target).map_err(failed)?;
    }
    // From here on they are asked for, so that what was made is kept and nothing else is left.
    hold_signals().map_err(failed)?;
    let mut images = Vec::new();
    for builder in &builders {
        let target = builder.target().map_err(failed)?;
        let image = builder.stages(target).and_then(|image| builder.squash(image).map_err(failed));
        // What is whole is kept, whether the rest is or not.
        let settled = builder.settle();
        images.push(image?);
        settled.map_err(failed)?;
    }
    if let Some(builder) = builders.first() {
        let unused = builder.arguments.unused();
        if !unused.is_empty() {
            listener.warning(&format!("one or more build args were not consumed: {unused:?}"));
        }
    }
    let built = Built::of(builders, images, listener, progress).map_err(failed)?;
    engine.store().flush_later().map_err(failed)?;
    // What is left to do may take long, and may be left.
    release_signals().map_err(failed)?;
    Ok(built)
}

impl<'a> Builder<'a> {
    fn new(
        engine: &'a Engine,
        options: &'a BuildOptions,
        file: &'a Dockerfile,
        asked: Option<&Platform>,
        listener: &'a dyn Listener,
        progress: &'a (dyn Progress + Sync),
    ) -> Result<Self> {
        let platform = asked.cloned().unwrap_or_else(Platform::host);
        let arguments =
            Arguments::of_file(options.args.clone(), &platform, file, &options.file_name)?;
        engine.store().gc_tmp()?;
        let now = options.epoch.map_or_else(crate::engine::now, |epoch| epoch * 1_000_000_000);
        Ok(Self {
            engine,
            options,
            file,
            arguments,
            launcher: engine.steps()?,
            users: engine.step_users(&options.settings.users)?,
            listener,
            progress,
            started: crate::engine::now(),
            now: time::rfc3339_short(now),
            asked: asked.cloned(),
            shown_platform: (options.platforms.len() > 1).then(|| platform.to_string()),
            platform,
            stages: file.stages.iter().map(|_| Mutex::new(None)).collect(),
            pending: Mutex::new(Pending::default()),
            busy: RwLock::new(()),
            failure: Mutex::new(None),
            looking: Mutex::new(()),
            bases: Mutex::new(BTreeMap::new()),
        })
    }

    /// Finds the stage that is wanted.
    fn target(&self) -> Result<usize> {
        let count = self.file.stages.len();
        match &self.options.target {
            None => Ok(count - 1),
            Some(name) => self.file.stage(name, count).ok_or_else(|| {
                let names = self.file.stages.iter().filter_map(|stage| stage.name.clone());
                Error::new(Kind::NotFound, format!("target stage \"{name}\" could not be found"))
                    .hint(format!("there are: {}", names.collect::<Vec<_>>().join(", ")))
            }),
        }
    }

    /// Returns a stage and those that it needs, as far as it can be told.
    fn needed(&self, target: usize) -> Vec<usize> {
        let mut needed = vec![target];
        let mut at = 0;
        while let Some(stage) = needed.get(at) {
            for other in self.known_needs(*stage) {
                if !needed.contains(&other) {
                    needed.push(other);
                }
            }
            at += 1;
        }
        needed
    }

    /// Gets the base images, as long as whoever loses patience may end us by a signal.
    fn get_bases(&self, target: usize) -> Result<()> {
        for stage in self.needed(target) {
            self.get_base(stage)?;
        }
        Ok(())
    }

    /// Builds a stage and all that it needs.
    fn stages(&self, target: usize) -> Result<Image, Failure> {
        let needed = self.needed(target);
        let result = if self.options.one_by_one || needed.len() == 1 {
            self.need(target)
        } else {
            std::thread::scope(|scope| {
                for stage in needed.iter().filter(|stage| **stage != target) {
                    // Who needs it learns of its failure.
                    scope.spawn(|| drop(self.need(*stage)));
                }
                self.need(target)
            })
        };
        result.map_err(|error| {
            let first = self.failure.lock().ok().and_then(|mut failure| failure.take());
            first.unwrap_or(Failure { error, code: None })
        })
    }

    /// Returns the stages that a stage needs, as far as it can be told before it is built.
    fn known_needs(&self, stage: usize) -> Vec<usize> {
        let it = &self.file.stages[stage];
        let escape = self.file.directives.escape;
        let base = word::expand(&it.base, escape, &|name| self.arguments.global(name));
        let mut names: Vec<String> = base.into_iter().collect();
        for step in &it.steps {
            match &step.instruction {
                Instruction::Copy(copy) => names.extend(copy.flags.from.clone()),
                Instruction::Run(run) => {
                    names.extend(run.mounts.iter().filter_map(|mount| mount.from.clone()));
                }
                _ => {}
            }
        }
        names.retain(|name| !self.options.contexts.contains_key(name));
        names.iter().filter_map(|name| self.file.stage(name, stage)).collect()
    }

    /// Returns a stage, and builds it if nobody has yet.
    fn need(&self, stage: usize) -> Result<Image> {
        let gave_up = || Error::new(Kind::Unavailable, "another stage has failed");
        let mut slot = self.stages[stage].lock().map_err(|_| gave_up())?;
        if let Some(image) = &*slot {
            return Ok(image.clone());
        }
        if self.launcher.has_given_up() {
            return Err(gave_up());
        }
        match self.build_stage(stage) {
            Ok(image) => Ok(slot.insert(image).clone()),
            Err(failure) => {
                self.launcher.give_up();
                if let Ok(mut first) = self.failure.lock()
                    && first.is_none()
                {
                    *first = Some(failure);
                }
                Err(gave_up())
            }
        }
    }
}
