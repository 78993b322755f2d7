//! `RUN`: a command in the box of a container, whose changes become a layer.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use super::agent::Agent;
use super::config::with_shell;
use super::copy::Job;
use super::failed::Given;
use super::layers::Key;
use super::scope::is_proxy;
use super::stage::{Image, Place};
use super::{Builder, Failure, stubs};
use crate::engine::step::{Step, StepFile, StepMemory, StepTree, StepUsers};
use crate::error::{Context, Error, Kind, Result};
use crate::image::upper::collect;
use crate::spec::container::ContainerSpec;
use crate::spec::dockerfile::{Command, Heredoc, Run, RunMount, RunNetwork};
use crate::spec::network::NetworkMode;
use crate::spec::platform::Platform;
use crate::spec::security::Security;
use crate::spec::storage::DriverName;
use crate::spec::userns::{IdMapping, Users};
use crate::store::builds::Cache;
use crate::store::driver::whole_tree;
use crate::store::file;
use crate::sys::binfmt;

/// A command, ready to be run.
#[derive(Default)]
pub(super) struct Prepared {
    spec: ContainerSpec,
    pub(super) env: Vec<String>,
    pub(super) trees: Vec<StepTree>,
    /// Where something is mounted.
    targets: Vec<String>,
    /// Files that are made for it.
    pub(super) files: Vec<StepFile>,
    /// File systems in memory that are seen where it has failed, too.
    pub(super) memory: Vec<StepMemory>,
    /// Caches that it uses.
    pub(super) caches: BTreeMap<usize, Cache>,
    /// Agents that it may ask.
    pub(super) agents: Vec<Agent>,
    /// Directories that are made for it from parts of contexts.
    pub(super) parts: Vec<(PathBuf, Job)>,
}

/// Where a command is run.
pub(super) struct Room<'a> {
    layers: &'a [PathBuf],
    upper: &'a Path,
    pub(super) scratch: &'a Path,
    whole: Option<&'a Path>,
    trees: &'a [StepTree],
    files: &'a [StepFile],
    memory: &'a [StepMemory],
    mapping: Option<&'a IdMapping>,
}

impl Room<'_> {
    /// Makes a command there.
    pub(super) fn step(
        &self,
        spec: ContainerSpec,
        env: Vec<String>,
        input: Option<OwnedFd>,
        mounts: Option<OwnedFd>,
    ) -> Step {
        Step {
            spec,
            env,
            layers: self.layers.to_vec(),
            upper: self.upper.to_owned(),
            scratch: self.scratch.to_owned(),
            trees: self.trees.to_vec(),
            files: self.files.to_vec(),
            memory: self.memory.to_vec(),
            mounts,
            whole: self.whole.map(Path::to_owned),
            mapping: self.mapping.cloned(),
            input,
        }
    }
}

impl Builder<'_> {
    /// Runs a command.
    pub(super) fn run(
        &self,
        stage: usize,
        image: &mut Image,
        place: Place<'_>,
        run: &Run,
    ) -> Result<(), Failure> {
        let failed = |error: Error| Failure { error: place.within(error), code: None };
        let words = self.command(image, run);
        let mut key = Key::of(image);
        key.add("command", format!("{words:?}"));
        for document in &run.heredocs {
            // A script is not in the command.
            key.add("document", document.content.clone());
        }
        let counted = image.variables.iter().filter(|(name, _)| !is_proxy(name));
        let variables: Vec<String> =
            counted.map(|(name, value)| format!("{name}={value}")).collect();
        key.add("variables", variables.join("\n"));
        key.add("user", image.config.config.user.clone());
        key.add("working directory", image.directory().to_owned());
        key.add("network", format!("{:?} {}", run.network, run.insecure));
        let settings = &self.options.settings;
        key.add("settings", format!("{:?} {:?}", settings.names.hosts, settings.ulimits));
        if settings.users != Users::default() {
            key.add("users", format!("{:?}", settings.users));
        }
        let mounts: Vec<RunMount> = run
            .mounts
            .iter()
            .map(|mount| self.expanded(image, place, mount))
            .collect::<Result<_>>()
            .map_err(|error| Failure { error, code: None })?;
        for mount in &mounts {
            let part = self.mount_key(stage, mount).map_err(failed)?;
            key.add("mount", part);
        }
        let args: Vec<String> = image
            .args
            .iter()
            .filter_map(|name| Some(format!("{name}={}", image.lookup(name)?)))
            .collect();
        let mut said = Vec::new();
        if !args.is_empty() {
            said.push(format!("|{}", args.len()));
            said.extend(args);
        }
        said.extend(words.clone());
        let history = format!("RUN {} # buildkit", said.join(" "));
        let mut code = None;
        let made = self.layer(image, &key, place, history, |image, draft| {
            self.check_processor(image)?;
            if run.insecure && !self.options.allows_insecure {
                return Err(Error::new(Kind::Denied, "security.insecure is not allowed")
                    .hint("allow it with --allow security.insecure"));
            }
            let prepared = self.prepare(stage, image, run, words, &mounts, draft.diff())?;
            code = self.execute(image, place, prepared, draft.diff())?;
            match code {
                None => Ok(()),
                Some(code) => {
                    let why = format!("while running runtime: exit status {code}");
                    let error = Error::new(Kind::Internal, why);
                    Err(match &self.options.on_failure {
                        None => error.hint("to look around there, build with --shell-on-fail"),
                        Some(_) => error,
                    })
                }
            }
        });
        made.map_err(|error| Failure { error: place.within(error), code })
    }

    /// Returns what is run.
    fn command(&self, image: &Image, run: &Run) -> Vec<String> {
        let Command::Shell(line) = &run.command else {
            return with_shell(image, &run.command);
        };
        let Some(first) = run.heredocs.first() else { return with_shell(image, &run.command) };
        let is_only = run.heredocs.len() == 1
            && line.trim_start_matches(|it: char| it.is_ascii_digit()).starts_with("<<")
            && !line.contains(char::is_whitespace);
        if is_only {
            let text = first.text();
            if text.starts_with("#!") {
                return vec![script(first)];
            }
            return with_shell(image, &Command::Shell(text));
        }
        let mut whole = line.clone();
        for document in &run.heredocs {
            whole.push_str(&format!("\n{}{}", document.content, document.name));
        }
        with_shell(image, &Command::Shell(whole))
    }

    fn prepare(
        &self,
        stage: usize,
        image: &Image,
        run: &Run,
        words: Vec<String>,
        mounts: &[RunMount],
        upper: &Path,
    ) -> Result<Prepared> {
        let scratch = upper.with_file_name("scratch");
        file::create_dirs(&scratch, 0o755)?;
        let mut settings = self.options.settings.clone();
        // The user databases are the image's.
        settings.accounts.untouched = true;
        // As BuildKit: one that is the same each time.
        settings.hostname.get_or_insert_with(|| "buildkitsandbox".to_owned());
        match run.network {
            RunNetwork::Default => {}
            RunNetwork::None => settings.network = NetworkMode::None,
            RunNetwork::Host => settings.network = NetworkMode::Host,
        }
        if run.insecure {
            settings.security = Security { privileged: true, ..settings.security };
        }
        let mut env: Vec<String> =
            image.variables.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let is_set = |name: &str| image.lookup(name).is_some();
        let proxies =
            self.arguments.proxies().filter(|(name, _)| !is_set(name) && !self.options.no_proxies);
        env.extend(proxies.map(|(name, value)| format!("{name}={value}")));
        let mut prepared = Prepared { env, ..Prepared::default() };
        prepared.caches = self.take_caches(stage, image, mounts)?;
        for (number, mount) in mounts.iter().enumerate() {
            let own = scratch.join(format!("mount{number}"));
            let added = self.add_mount(stage, image, (number, mount), &own, &mut prepared)?;
            settings.mounts.extend(added);
        }
        if let Some(document) = run.heredocs.first()
            && words.first().is_some_and(|word| *word == script(document))
        {
            let target = script(document);
            prepared.files.push(StepFile {
                target: target.into(),
                data: document.text().into_bytes(),
                mode: 0o755,
                owner: self.outside((0, 0))?,
            });
        }
        prepared.targets.extend(settings.mounts.iter().map(|it| it.target.display().to_string()));
        prepared.targets.extend(prepared.trees.iter().map(|it| it.target.display().to_string()));
        prepared.targets.extend(prepared.memory.iter().map(|it| it.target.display().to_string()));
        prepared.targets.extend(prepared.files.iter().map(|it| it.target.display().to_string()));
        prepared.spec = ContainerSpec {
            image: "build".to_owned(),
            command: words,
            working_dir: Some(PathBuf::from(image.directory())),
            user: Some(image.config.config.user.clone()),
            settings,
            ..ContainerSpec::default()
        };
        Ok(prepared)
    }

    /// Refuses to run what this machine cannot.
    fn check_processor(&self, image: &Image) -> Result<()> {
        let architecture = image.config.architecture.as_str();
        if binfmt::runs(architecture) {
            return Ok(());
        }
        Err(Error::new(
            Kind::Unsupported,
            format!(
                "cannot run commands of {}/{architecture} on {}: no interpreter is registered with the kernel",
                image.config.os,
                Platform::host()
            ),
        )
        .hint("install qemu-user-static and binfmt-support, or leave commands to a stage `FROM --platform=$BUILDPLATFORM`"))
    }

    /// Tells whether layers are seen by an overlay.
    pub(super) fn has_overlay(&self) -> bool {
        self.engine.store().driver() == DriverName::Overlay
            && !self.users.as_ref().is_some_and(StepUsers::are_on_disk)
    }

    /// Runs it; returns the exit code if it has failed.
    fn execute(
        &self,
        image: &Image,
        place: Place<'_>,
        prepared: Prepared,
        upper: &Path,
    ) -> Result<Option<i32>> {
        let lower = image.lower();
        let mut layers = lower.clone();
        // Places where nothing is mounted would be seen.
        if self.has_overlay() && prepared.spec.settings.names.has_all_files() {
            layers.push(self.engine.store().places()?);
        }
        let scratch = upper.with_file_name("scratch");
        for (path, job) in &prepared.parts {
            file::create_dirs(path, 0o755)?;
            job.write(path, &[])?;
        }
        let changed = self.users.as_ref().filter(|users| users.are_on_disk());
        let whole = match self.has_overlay() {
            true => None,
            false => {
                let whole = scratch.join("whole");
                let layers: Vec<PathBuf> = lower.iter().rev().cloned().collect();
                whole_tree(&layers, &whole, &|| self.launcher.has_given_up())?;
                Some(whole)
            }
        };
        if let Some(users) = changed {
            let parts = prepared.parts.iter().map(|(path, _)| path);
            parts.chain(&whole).try_for_each(|tree| users.give(tree))?;
        }
        let room = Room {
            layers: &layers,
            upper,
            scratch: &scratch,
            whole: whole.as_deref(),
            trees: &prepared.trees,
            files: &prepared.files,
            memory: &prepared.memory,
            mapping: self.users.as_ref().map(StepUsers::mapping),
        };
        let input = match self.options.passes_input {
            true => Some(rustix::stdio::stdin().try_clone_to_owned())
                .transpose()
                .context(|| "cannot pass standard input on")?,
            false => None,
        };
        let step = room.step(prepared.spec.clone(), prepared.env.clone(), input, None);
        let end = self.launcher.run(step, |bytes| self.listener.output(place.name, bytes))?;
        end.warnings.iter().for_each(|warning| self.listener.warning(warning));
        if let Some(wanted) = self.options.on_failure.as_ref().filter(|_| end.code != 0) {
            let given = Given { spec: prepared.spec, env: prepared.env, mounts: end.mounts };
            self.look_around(image, place, wanted, &room, given);
        }
        drop((prepared.agents, prepared.caches));
        if end.code == 0 {
            stubs::remove(whole.as_deref().unwrap_or(upper), &lower, &prepared.targets)?;
            if let Some(whole) = &whole {
                changed.map_or(Ok(()), |users| users.take_back(whole))?;
                collect(whole, &lower, upper)?;
            }
            stubs::tidy(upper, &lower)?;
        }
        file::remove_tree(&scratch)?;
        Ok((end.code != 0).then_some(end.code))
    }
}

/// The path of a script that is a here-document.
fn script(document: &Heredoc) -> String {
    format!("/dev/pipes/{}", document.name)
}
