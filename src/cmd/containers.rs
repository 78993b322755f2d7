//! Which containers a command is about: names, `--all`, `--latest`, `--filter`, `--cidfile`.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::Value;

use super::World;
use super::answers;
use super::exit::Status;
use super::output;
pub(crate) use crate::api::model::selection::{check, matches};
use crate::engine::Engine;
use crate::error::{Context, Error, Kind, Result};
use crate::remote::{Host, Request, escape};
use crate::spec::filter::Filter;
use crate::store::container::Container;

/// Which containers a command is about.
#[derive(Args, Debug)]
pub(crate) struct Selection {
    /// All containers
    #[arg(short, long)]
    pub(crate) all: bool,
    /// The container that was created last
    #[arg(short, long)]
    pub(crate) latest: bool,
    /// Containers of which this is true
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) filter: Vec<Filter>,
    /// Containers, by name or ID
    #[arg(value_name = "CONTAINER")]
    pub(crate) containers: Vec<String>,
}

/// As [`Selection`], for commands where `-f` is the filter.
#[derive(Args, Debug)]
pub(crate) struct FilterSelection {
    /// All containers
    #[arg(short, long)]
    pub(crate) all: bool,
    /// The container that was created last
    #[arg(short, long)]
    pub(crate) latest: bool,
    /// Containers of which this is true
    #[arg(short, long, value_name = "KEY=VALUE")]
    pub(crate) filter: Vec<Filter>,
    /// Containers, by name or ID
    #[arg(value_name = "CONTAINER")]
    pub(crate) containers: Vec<String>,
}

impl FilterSelection {
    /// Returns what it selects.
    pub(crate) fn into_selection(self) -> Selection {
        let Self { all, latest, filter, containers } = self;
        Selection { all, latest, filter, containers }
    }
}

/// IDs of containers in files, as `--cidfile` writes them.
#[derive(Args, Debug)]
pub(crate) struct IdFiles {
    /// Read the ID from this file
    #[arg(long, value_name = "FILE")]
    cidfile: Vec<PathBuf>,
}

impl IdFiles {
    /// Reads the files; those that are not there are left out if `ignore` says so.
    pub(crate) fn read(&self, ignore: bool) -> Result<Vec<String>> {
        let mut ids = Vec::new();
        for file in &self.cidfile {
            match fs::read_to_string(file) {
                Err(error) if ignore && error.kind() == std::io::ErrorKind::NotFound => {}
                read => {
                    let text = read.context(|| format!("cannot read {}", file.display()))?;
                    ids.push(first_line(&text));
                }
            }
        }
        Ok(ids)
    }
}

/// Reads the ID in a file.
pub(crate) fn read_id(file: &Path) -> Result<String> {
    fs::read_to_string(file)
        .context(|| format!("cannot read {}", file.display()))
        .map(|text| first_line(&text))
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim().to_owned()
}

/// Returns the ID of the container that was created last.
pub(crate) fn latest(engine: &Engine) -> Result<String> {
    let mut chosen = Selection::named(Vec::new(), true).chosen(engine, Vec::new())?;
    Ok(chosen.swap_remove(0))
}

impl Selection {
    /// Makes a selection of names, or of the latest container.
    pub(crate) fn named(containers: Vec<String>, latest: bool) -> Self {
        Self { all: false, latest, filter: Vec::new(), containers }
    }

    /// Returns the chosen containers: what was typed, or full IDs where nothing was.
    pub(crate) fn chosen(&self, engine: &Engine, from_files: Vec<String>) -> Result<Vec<String>> {
        self.chosen_where(engine, from_files, |_| true)
    }

    /// As [`Selection::chosen`]; where `--all` or a filter chooses, only among the `eligible`.
    pub(crate) fn chosen_where(
        &self,
        engine: &Engine,
        from_files: Vec<String>,
        eligible: impl Fn(&Container) -> bool,
    ) -> Result<Vec<String>> {
        if let Some(named) = self.named_ones(from_files)? {
            return Ok(named);
        }
        check(&self.filter)?;
        let all = listed(engine)?;
        let latest = self.latest.then(|| all.iter().map(|one| one.config.created).max()).flatten();
        let mut chosen = Vec::new();
        for container in &all {
            let wanted = match latest {
                Some(created) => container.config.created == created,
                None => eligible(container),
            };
            if wanted && matches(container, &self.filter, &all)? {
                chosen.push(container.id().to_string());
            }
        }
        if self.latest && chosen.is_empty() {
            return Err(Error::new(Kind::NotFound, "there is no container"));
        }
        Ok(chosen)
    }
}

impl Selection {
    /// Returns what is named, if anything is.
    fn named_ones(&self, from_files: Vec<String>) -> Result<Option<Vec<String>>> {
        let named = !self.containers.is_empty() || !from_files.is_empty();
        if named && (self.all || self.latest || !self.filter.is_empty()) {
            return Err(Error::new(
                Kind::Invalid,
                "--all, --latest and --filter cannot be used together with containers",
            ));
        }
        if named {
            return Ok(Some(self.containers.iter().cloned().chain(from_files).collect()));
        }
        if !self.all && !self.latest && self.filter.is_empty() {
            return Err(Error::new(Kind::Invalid, "you must provide at least one name or id"));
        }
        Ok(None)
    }

    /// As [`Selection::chosen`], on another host.
    pub(crate) fn chosen_on(&self, host: &Host, from_files: Vec<String>) -> Result<Vec<String>> {
        self.chosen_on_where(host, from_files, |_| true)
    }

    /// As [`Selection::chosen_where`], on another host; what is eligible is told by the word for its state.
    pub(crate) fn chosen_on_where(
        &self,
        host: &Host,
        from_files: Vec<String>,
        eligible: impl Fn(&str) -> bool,
    ) -> Result<Vec<String>> {
        if let Some(named) = self.named_ones(from_files)? {
            return Ok(named);
        }
        if self.latest && self.filter.is_empty() {
            return Ok(vec![answers::latest(host)?]);
        }
        let request = Request::get("/containers/json")
            .with("all", 1)
            .maybe("filters", answers::filters(&self.filter)?);
        let mut found = answers::entries(host.document(request)?);
        // They come with the newest first.
        if self.latest {
            found.truncate(1);
        } else {
            found.reverse();
        }
        let wanted = |it: &&Value| self.latest || eligible(answers::text(it, "State"));
        Ok(found.iter().filter(wanted).map(|it| answers::text(it, "Id").to_owned()).collect())
    }
}

/// Does something to each of several containers of another host, one request each, and prints what each was
/// called.
pub(crate) fn for_each_on(
    host: &Host,
    world: &mut World,
    names: &[String],
    ignore: bool,
    request: impl Fn(&str) -> Request,
) -> Result<Status> {
    for_each(world, names, Status::of_error, |world, name| match host.act(request(&escape(name))) {
        Err(error) if ignore && error.kind() == Kind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(()) => world.out.line(name),
    })
}

/// Reads all containers, the oldest first, as Podman lists them.
pub(crate) fn listed(engine: &Engine) -> Result<Vec<Container>> {
    let mut all = engine.list()?;
    all.reverse();
    Ok(all)
}

/// Does something to each of several objects; reports what fails and goes on.
///
/// Returns the gravest status, as `status` takes it from an error.
pub(crate) fn for_each(
    world: &mut World,
    names: &[String],
    status: fn(&Error) -> Status,
    mut act: impl FnMut(&mut World, &str) -> Result<()>,
) -> Result<Status> {
    let mut worst = Status::SUCCESS;
    for name in names {
        if let Err(error) = act(world, name) {
            if world.out.reader_gone() {
                return Err(error);
            }
            // In the order in which things happened.
            world.out.flush()?;
            output::error(&error);
            worst = worst.or_worse(status(&error));
        }
    }
    Ok(worst)
}
