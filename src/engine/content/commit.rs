//! `commit`: a new image of what a container changed.

use super::hold::Hold;
use super::{Files, refuse_builtin, refuse_rootfs, still_there, view};
use crate::engine::images::{NOT_OF_IMAGES, check_new_name};
use crate::engine::{Engine, now};
use crate::error::{Context, Error, Kind, Result};
use crate::image::changes::Changed;
use crate::image::commit::{Commit, commit, config_of};
use crate::image::merged::Node;
use crate::image::tree::TreeStream;
use crate::spec::change::ImageChange;
use crate::spec::image::{Empty, HistoryStep, RunConfig};
use crate::spec::manifest::ManifestFormat;
use crate::spec::mount::MountSource;
use crate::spec::process::Signal;
use crate::spec::reference::Reference;
use crate::spec::time;
use crate::store::container::{Container, ContainerConfig};
use crate::store::events::{Action, Event};
use crate::store::image::Image;
use crate::sys::root::Root;

/// How a container becomes an image.
#[derive(Clone, Debug, Default)]
pub struct CommitOptions {
    /// Its name.
    pub name: Option<Reference>,
    /// Changes to what it wants to be run with.
    pub changes: Vec<ImageChange>,
    /// Who makes it.
    pub author: Option<String>,
    /// What its history says about this step.
    pub message: Option<String>,
    /// Whether the container stands still meanwhile; if nothing is said, where that is possible.
    pub pause: Option<bool>,
    /// Whether all becomes one layer.
    pub squash: bool,
    /// Whether what is mounted there is declared as volumes.
    pub include_volumes: bool,
    /// The form that the image is to have elsewhere.
    pub format: Option<ManifestFormat>,
}

impl Engine {
    /// Makes an image of a container. Returns it, and what the user should know.
    pub fn commit(&self, name: &str, options: &CommitOptions) -> Result<(Image, Vec<String>)> {
        let container = self.lookup(name)?;
        refuse_builtin(&container, "commit")?;
        refuse_rootfs(&container, "commit")?;
        if let Some(name) = &options.name {
            check_new_name(name)?;
        }
        let made = self
            .commit_container(&container, options)
            .context(|| format!("cannot commit container {name}"))?;
        self.store.flush_later()?;
        self.record_event(Event::of(&container, Action::Commit));
        Ok(made)
    }

    fn commit_container(
        &self,
        container: &Container,
        options: &CommitOptions,
    ) -> Result<(Image, Vec<String>)> {
        let config = &container.config;
        let base = config_of(&self.store, &config.image_id)?;
        let mut run = run_config(base.config, config, options.include_volumes);
        options.changes.iter().for_each(|change| change.apply(&mut run));
        let words = std::iter::once(&config.path).chain(&config.args);
        let commit_of = Commit {
            parent: &config.image_id,
            layers: &config.layers,
            squash: options.squash,
            run,
            author: options.author.clone(),
            step: HistoryStep {
                created: Some(time::rfc3339_short(now())),
                created_by: Some(words.map(String::as_str).collect::<Vec<_>>().join(" ")),
                comment: options.message.clone(),
                ..HistoryStep::default()
            },
            format: options.format,
            name: options.name.clone(),
        };
        // Before there are threads.
        let hold = match options.pause {
            Some(false) => None,
            Some(true) => Hold::begin(self, container)?,
            None => match Hold::begin(self, container) {
                Err(error) if error.kind() == Kind::Unsupported => None,
                other => other?,
            },
        };
        let files = Files::of(self, container)?;
        let empty;
        let root = if options.squash {
            view::open(self, container)?
        } else {
            // It is made by the first start.
            empty = self.store.draft_dir()?;
            let own = if files.own.exists() { &files.own } else { empty.path() };
            Root::open(own).context(|| format!("cannot open directory {}", own.display()))?
        };
        let mut stream = if options.squash {
            TreeStream::all(&root, files.owners.as_ref())?
        } else {
            let tree = Changed { root: &root, kind: files.kind, owners: files.owners.as_ref() };
            TreeStream::changes(tree, Node::root(&files.lower)?, &NOT_OF_IMAGES)?
        };
        let check = || {
            drop(hold);
            still_there(self, container.id())
        };
        let (image, mut warnings) = commit(&self.store, &mut stream, commit_of, check)
            .inspect_err(|error: &Error| crate::engine::images::free_space(&self.store, error))?;
        warnings.extend(
            stream.changed().iter().map(|path| format!("`{path}` changed while it was read")),
        );
        Ok((image, warnings))
    }
}

/// What an image of a container wants to be run with: what the container was, over what its image says.
fn run_config(base: RunConfig, config: &ContainerConfig, include_volumes: bool) -> RunConfig {
    let all: Vec<String> = std::iter::once(&config.path).chain(&config.args).cloned().collect();
    let entrypoint: Vec<String> = config.entrypoint.clone().unwrap_or_default();
    let entrypoint: Vec<String> = entrypoint.into_iter().filter(|word| !word.is_empty()).collect();
    let (entrypoint, cmd) = match all.strip_prefix(entrypoint.as_slice()) {
        Some(rest) if !entrypoint.is_empty() => (Some(entrypoint), rest.to_vec()),
        _ => (None, all),
    };
    let mut volumes = base.volumes.clone();
    if include_volumes {
        let mounts = config.settings.mounts.iter();
        let lasting = mounts.filter(|mount| {
            matches!(mount.source, MountSource::Bind { .. } | MountSource::Volume { .. })
        });
        volumes.extend(lasting.map(|mount| (mount.target.display().to_string(), Empty)));
    }
    let known = base.stop_signal.as_ref().and_then(|text| text.parse::<Signal>().ok());
    let stop_signal = match known {
        // As it was written.
        Some(known) if known == config.stop_signal => base.stop_signal.clone(),
        None if config.stop_signal == Signal::TERM => None,
        _ => Some(config.stop_signal.to_string()),
    };
    RunConfig {
        user: config.user.clone(),
        exposed_ports: config.exposed_ports.iter().map(|port| (port.clone(), Empty)).collect(),
        env: environment(&base.env, config),
        entrypoint,
        cmd: (!cmd.is_empty()).then_some(cmd),
        volumes,
        working_dir: match config.working_dir.to_str() {
            Some("/") | None => base.working_dir.clone(),
            Some(path) => path.to_owned(),
        },
        labels: config.labels.clone(),
        stop_signal,
        ..base
    }
}

/// Leaves out what every container is given anew, unless the image says otherwise.
fn environment(base: &[String], config: &ContainerConfig) -> Vec<String> {
    let usual = ["container=barge".to_owned(), format!("HOSTNAME={}", config.hostname())];
    let is_usual =
        |entry: &String| usual.contains(entry) || (config.settings.tty && entry == "TERM=xterm");
    config.env.iter().filter(|entry| base.contains(entry) || !is_usual(entry)).cloned().collect()
}
