//! One stage: what it begins with, and its instructions, one after the other.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::layers::Key;
use super::scope::{get, set};
use super::{Builder, Failure, NamedContext, StepEnd, StepName};
use crate::engine::images;
use crate::error::{Error, Kind, Result};
use crate::spec::digest::DiffId;
use crate::spec::dockerfile::{Instruction, Step, parse_trigger, problem, word};
use crate::spec::image::{HistoryStep, ImageConfig, RunConfig};
use crate::spec::platform::Platform;

/// Where programs are looked for in an image that begins with nothing.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What the history says of who wrote it.
const COMMENT: &str = "buildkit.dockerfile.v0";

/// A layer and where its files are.
#[derive(Clone, Debug)]
pub(super) struct Layer {
    pub(super) id: DiffId,
    pub(super) place: LayerPlace,
}

/// Where a layer's files are: they move once, when they are kept for other builds. Nobody looks while
/// they do, as no step goes on then.
#[derive(Clone, Debug)]
pub(super) struct LayerPlace(Arc<Mutex<PathBuf>>);

impl LayerPlace {
    pub(super) fn new(path: PathBuf) -> Self {
        Self(Arc::new(Mutex::new(path)))
    }

    pub(super) fn path(&self) -> PathBuf {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn move_to(&self, path: PathBuf) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = path;
    }
}

/// An image that grows.
#[derive(Clone, Debug, Default)]
pub(super) struct Image {
    /// Its layers, the lowest first.
    pub(super) layers: Vec<Layer>,
    pub(super) config: ImageConfig,
    /// All variables that are set: by `ENV` here and below, and by `ARG` here.
    pub(super) variables: Vec<(String, String)>,
    /// What `ARG` has declared here.
    pub(super) args: Vec<String>,
    /// How many of its layers are those of the base image.
    pub(super) base: usize,
    /// How many steps of its history are those of the base image.
    pub(super) base_steps: usize,
    /// Whether `CMD` was said here.
    pub(super) has_cmd: bool,
    /// Whether the cache is not asked.
    pub(super) no_cache: bool,
    /// Whether what the last step makes was there already.
    pub(super) was_cached: bool,
    /// When what was made last was made.
    created: Option<String>,
}

impl Image {
    /// Returns the directories of its layers, the uppermost first. One that is there several times, as
    /// steps that change nothing make them, is named once: what it hides is hidden by the uppermost.
    pub(super) fn lower(&self) -> Vec<PathBuf> {
        let mut lower = Vec::new();
        for layer in self.layers.iter().rev() {
            let path = layer.place.path();
            // The kernel takes no directory twice.
            if !lower.contains(&path) {
                lower.push(path);
            }
        }
        lower
    }

    /// Returns what it wants to be run with.
    pub(super) fn run(&mut self) -> &mut RunConfig {
        &mut self.config.config
    }

    /// Returns the working directory.
    pub(super) fn directory(&self) -> &str {
        match self.config.config.working_dir.as_str() {
            "" => "/",
            directory => directory,
        }
    }

    /// Returns the path that something has which is written in an instruction.
    pub(super) fn absolute(&self, path: &str) -> String {
        let joined = match path.starts_with('/') {
            true => path.to_owned(),
            false => format!("{}/{path}", self.directory()),
        };
        let mut names: Vec<&str> = Vec::new();
        for name in joined.split('/') {
            match name {
                "" | "." => {}
                ".." => drop(names.pop()),
                name => names.push(name),
            }
        }
        format!("/{}", names.join("/"))
    }

    /// Looks a variable up.
    pub(super) fn lookup(&self, name: &str) -> Option<String> {
        get(&self.variables, name).cloned()
    }

    /// Adds a step that made a layer, or none, to the history.
    pub(super) fn remember(&mut self, what: String, is_empty: bool, created: String) {
        self.created = Some(created.clone());
        self.config.history.push(HistoryStep {
            created: Some(created),
            created_by: Some(what),
            author: None,
            comment: Some(COMMENT.to_owned()),
            empty_layer: is_empty.then_some(true),
        });
    }

    /// Adds a step that changed the configuration only: the same one makes the same image at any time.
    pub(super) fn note(&mut self, what: String, now: &str) {
        let created = self.created.clone().unwrap_or_else(|| now.to_owned());
        self.remember(what, true, created);
    }
}

/// What a stage begins with.
enum Begin {
    /// A stage before it.
    Stage(usize),
    /// Nothing, for a platform.
    Nothing(Option<Platform>),
    /// An image, for a platform.
    Image(String, Option<Platform>),
}

/// A step's place, for errors.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) file: &'a str,
    pub(super) step: &'a Step,
    pub(super) escape: char,
    /// For who hears of it.
    pub(super) name: &'a StepName,
}

impl Place<'_> {
    /// Makes an error of a sentence.
    pub(super) fn problem(&self, why: &str) -> Error {
        problem(self.file, self.step.line, &self.step.text, why)
    }

    /// Says where an error comes from.
    pub(super) fn within(&self, error: Error) -> Error {
        error.within(format!(
            "building at STEP \"{}\" ({}:{})",
            self.step.text, self.file, self.step.line
        ))
    }

    /// Replaces variables.
    pub(super) fn expand(&self, image: &Image, text: &str) -> Result<String> {
        word::expand(text, self.escape, &|name| image.lookup(name))
            .map_err(|why| self.problem(&why))
    }
}

impl Builder<'_> {
    /// Builds a stage.
    pub(super) fn build_stage(&self, index: usize) -> Result<Image, Failure> {
        let failed = |error| Failure { error, code: None };
        let stage = &self.file.stages[index];
        let mut image = self.base(index).map_err(failed)?;
        let stages = &self.options.no_cache_stages;
        image.no_cache =
            self.options.no_cache || stage.name.as_ref().is_some_and(|name| stages.contains(name));
        let triggers = std::mem::take(&mut image.run().on_build);
        let triggers: Vec<Step> = triggers
            .iter()
            .map(|text| parse_trigger(text))
            .collect::<Result<_>>()
            .map_err(failed)?;
        let count = stage.steps.len() + triggers.len() + 1;
        let mut name = StepName {
            platform: self.shown_platform.clone(),
            stage: index,
            stages: self.file.stages.len(),
            stage_name: stage.name.clone(),
            number: 1,
            count,
            text: stage.text.clone(),
        };
        // It is here already; who waits for another stage has waited for it.
        self.listener.begin(&name);
        self.listener.end(&name, StepEnd::Done);
        let escape = self.file.directives.escape;
        for (number, step) in (2..).zip(
            triggers.iter().map(|it| (it, '\\')).chain(stage.steps.iter().map(|it| (it, escape))),
        ) {
            let (step, escape) = step;
            if self.launcher.has_given_up() {
                return Err(failed(Error::new(Kind::Unavailable, "interrupted")));
            }
            name.number = number;
            name.text.clone_from(&step.text);
            self.listener.begin(&name);
            let place = Place { file: &self.options.file_name, step, escape, name: &name };
            image.was_cached = false;
            let begun = Instant::now();
            let done = {
                let _busy = self.busy.read();
                self.step(index, &mut image, place)
            };
            self.listener.end(
                &name,
                match &done {
                    Ok(()) if image.was_cached => StepEnd::Cached,
                    Ok(()) => StepEnd::Done,
                    Err(failure) => StepEnd::Failed(&failure.error),
                },
            );
            done?;
            self.settle_between(begun.elapsed()).map_err(failed)?;
        }
        Ok(image)
    }

    /// Gets the image that a stage begins with, if it is one.
    pub(super) fn get_base(&self, index: usize) -> Result<()> {
        match self.begins_with(index)? {
            Begin::Image(name, platform) => {
                self.base_image(index, &name, platform.as_ref()).map(drop)
            }
            Begin::Stage(_) | Begin::Nothing(_) => Ok(()),
        }
    }

    fn base_image(&self, index: usize, name: &str, platform: Option<&Platform>) -> Result<Image> {
        let stage = &self.file.stages[index];
        self.pulled(name, platform).map_err(|error| {
            let why = format!("cannot get the base image `{name}`");
            let at = problem(&self.options.file_name, stage.line, &stage.text, &why);
            error.within(at.to_string())
        })
    }

    /// Finds out what a stage begins with.
    fn begins_with(&self, index: usize) -> Result<Begin> {
        let stage = &self.file.stages[index];
        let at = |why: &str| problem(&self.options.file_name, stage.line, &stage.text, why);
        let expand = |text: &str| {
            let escape = self.file.directives.escape;
            word::expand(text, escape, &|name| self.arguments.global(name)).map_err(|why| at(&why))
        };
        let name = match (&self.options.from, self.first_image()) {
            (Some(from), Some(first)) if first == index => from.clone(),
            _ => expand(&stage.base)?,
        };
        if name.is_empty() {
            return Err(at(&format!(
                "base name ({}) should not be blank: expected an image, a stage or scratch",
                stage.base
            )));
        }
        let platform = stage.platform.as_deref().map(expand).transpose()?;
        let platform = platform
            .filter(|text| !text.is_empty())
            .map(|text| text.parse::<Platform>())
            .transpose()
            .map_err(|error| at(&error.to_string()))?;
        match self.options.contexts.get(&name) {
            Some(NamedContext::Image(image)) => {
                return Ok(Begin::Image(image.clone(), platform));
            }
            Some(NamedContext::Directory(_)) => {
                return Err(at(&format!("the build context `{name}` is a directory, no image")));
            }
            None => {}
        }
        Ok(match self.file.stage(&name, index) {
            // As FROM names stages by their names only.
            Some(other) if name.parse::<usize>().is_err() => Begin::Stage(other),
            _ if name == "scratch" => Begin::Nothing(platform),
            _ => Begin::Image(name, platform),
        })
    }

    /// Returns the first stage that begins with an image, as it is written.
    fn first_image(&self) -> Option<usize> {
        let stages = self.file.stages.iter().enumerate();
        let mut images = stages.filter(|(at, stage)| {
            stage.base != "scratch" && self.file.stage(&stage.base, *at).is_none()
        });
        images.next().map(|(at, _)| at)
    }

    /// What a stage begins with.
    fn base(&self, index: usize) -> Result<Image> {
        let mut image = match self.begins_with(index)? {
            // What ARG has set there is set here, too.
            Begin::Stage(other) => {
                let mut image = self.need(other)?;
                image.args.clear();
                image.has_cmd = false;
                return Ok(image);
            }
            Begin::Nothing(platform) => self.scratch(platform.as_ref()),
            Begin::Image(name, platform) => self.base_image(index, &name, platform.as_ref())?,
        };
        // Programs are found in any case.
        if !image.run().env.iter().any(|entry| entry.starts_with("PATH=")) {
            image.run().env.push(PATH.to_owned());
        }
        let (variables, labels) = (&self.options.unset_env, &self.options.unset_labels);
        image.run().env.retain(|entry| {
            let name = entry.split_once('=').map_or(entry.as_str(), |(name, _)| name);
            !variables.iter().any(|it| it == name)
        });
        image.run().labels.retain(|name, _| !labels.contains(name));
        image.variables = image
            .config
            .config
            .env
            .iter()
            .map(|entry| {
                let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
                (name.to_owned(), value.to_owned())
            })
            .collect();
        Ok(image)
    }

    fn scratch(&self, platform: Option<&Platform>) -> Image {
        let platform = platform.unwrap_or(&self.platform).clone();
        let config = RunConfig {
            env: vec![PATH.to_owned()],
            working_dir: "/".to_owned(),
            ..RunConfig::default()
        };
        Image {
            config: ImageConfig {
                architecture: platform.architecture,
                variant: platform.variant,
                os: platform.os,
                config,
                ..ImageConfig::default()
            },
            ..Image::default()
        }
    }

    /// Gets an image from the store or a registry.
    pub(super) fn pulled(&self, name: &str, platform: Option<&Platform>) -> Result<Image> {
        let store = self.engine.store();
        let mut options = self.options.pull.clone();
        options.platform = platform.cloned().or_else(|| self.asked.clone());
        let shown = options.platform.as_ref().map(ToString::to_string).unwrap_or_default();
        let key = (name.to_owned(), shown);
        if let Some(image) = self.bases.lock().ok().and_then(|it| it.get(&key).cloned()) {
            return Ok(image);
        }
        let (found, _) = images::pull_named(store, name, &options, self.progress)?;
        self.keep(&found.layers)?;
        let mut config = store.images().config(&found.id)?;
        if config.config.working_dir.is_empty() {
            config.config.working_dir = "/".to_owned();
        }
        let path =
            |id: &DiffId| Layer { id: id.clone(), place: LayerPlace::new(store.layers().path(id)) };
        let layers: Vec<Layer> = found.layers.iter().map(path).collect();
        let created = config.created.clone();
        let (base, base_steps) = (layers.len(), config.history.len());
        let image = Image { layers, config, created, base, base_steps, ..Image::default() };
        if let Ok(mut bases) = self.bases.lock() {
            bases.insert(key, image.clone());
        }
        Ok(image)
    }

    fn step(&self, stage: usize, image: &mut Image, place: Place<'_>) -> Result<(), Failure> {
        let failed = |error: Error| Failure { error, code: None };
        match &place.step.instruction {
            Instruction::Run(run) => return self.run(stage, image, place, run),
            Instruction::Copy(copy) => self.copy(stage, image, place, copy, false),
            Instruction::Add(copy) => self.copy(stage, image, place, copy, true),
            Instruction::Workdir(path) => self.workdir(image, place, path),
            Instruction::Arg(args) => self.arg(image, place, args),
            other => self.configure(image, place, other),
        }
        .map_err(failed)
    }

    fn arg(
        &self,
        image: &mut Image,
        place: Place<'_>,
        args: &[(String, Option<String>)],
    ) -> Result<()> {
        let mut words = Vec::new();
        for (name, default) in args {
            let default = default.as_deref().map(|text| place.expand(image, text)).transpose()?;
            let value = match (self.arguments.given(name), default) {
                (Some(given), _) => Some(given.clone()),
                (None, Some(default)) => Some(default),
                (None, None) => self.arguments.global(name),
            };
            match value {
                Some(value) => {
                    words.push(format!("{name}={value}"));
                    set(&mut image.variables, name, value);
                }
                None => words.push(name.clone()),
            }
            if !image.args.contains(name) {
                image.args.push(name.clone());
            }
        }
        image.note(format!("ARG {}", words.join(" ")), &self.now);
        Ok(())
    }

    fn workdir(&self, image: &mut Image, place: Place<'_>, path: &str) -> Result<()> {
        let path = place.expand(image, path)?;
        // As BuildKit: what begins at the root stays as it was written.
        let path = match path.strip_suffix('/').unwrap_or(&path) {
            written if written.starts_with('/') => written.to_owned(),
            _ => image.absolute(&path),
        };
        image.run().working_dir.clone_from(&path);
        let history = format!("WORKDIR {path}");
        let lower = image.lower();
        if super::copy::is_directory(&lower, &path)? {
            image.note(history, &self.now);
            return Ok(());
        }
        let user = image.config.config.user.clone();
        let mut key = Key::of(image);
        key.add("instruction", format!("WORKDIR {path}"));
        key.add("user", user.clone());
        self.layer(image, &key, place, history, |_, draft| {
            let owner = match user.as_str() {
                "" => (0, 0),
                user => super::copy::owner_of(&lower, user)?.0,
            };
            super::copy::make_directory(draft.diff(), &lower, &path, owner)
        })
        .map_err(|error| place.within(error))
    }
}
