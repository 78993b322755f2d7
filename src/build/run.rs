//! `RUN`: a command in the box of a container, whose changes become a layer.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::agent::Agent;
use super::config::with_shell;
use super::copy::{Item, Job, Tree, first_missing};
use super::layers::Key;
use super::scope::is_proxy;
use super::stage::{Image, Place};
use super::{Builder, Failure, Secret};
use crate::engine::step::{Step, StepFile, StepTree};
use crate::error::{Context, Error, Kind, Result};
use crate::image::upper::collect;
use crate::spec::container::ContainerSpec;
use crate::spec::dockerfile::{
    Access, Command, Heredoc, Run, RunMount, RunMountKind, RunNetwork, word,
};
use crate::spec::mount::{Mount, MountSource, OverlayOf};
use crate::spec::network::NetworkMode;
use crate::spec::platform::Platform;
use crate::spec::security::Security;
use crate::spec::storage::DriverName;
use crate::store::builds::Cache;
use crate::store::driver::whole_tree;
use crate::store::file;
use crate::sys::binfmt;

/// What a container has besides its image's files: what was made for that is no change.
const BOX: [&str; 9] = [
    "/dev",
    "/proc",
    "/sys",
    "/etc/hostname",
    "/etc/hosts",
    "/etc/mtab",
    "/etc/resolv.conf",
    "/run/.containerenv",
    "/run/secrets",
];

/// Time between two looks at a cache that another command has to itself.
const PAUSE: Duration = Duration::from_millis(50);

/// A command, ready to be run.
#[derive(Default)]
struct Prepared {
    spec: ContainerSpec,
    env: Vec<String>,
    trees: Vec<StepTree>,
    /// Where something is mounted.
    targets: Vec<String>,
    /// Files that are made for it.
    files: Vec<StepFile>,
    /// Caches that it uses.
    caches: BTreeMap<usize, Cache>,
    /// Agents that it may ask.
    agents: Vec<Agent>,
    /// Directories that are made for it from parts of contexts.
    parts: Vec<(PathBuf, Job)>,
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
        let counted = image.variables.iter().filter(|(name, _)| !is_proxy(name));
        let variables: Vec<String> =
            counted.map(|(name, value)| format!("{name}={value}")).collect();
        key.add("variables", variables.join("\n"));
        key.add("user", image.config.config.user.clone());
        key.add("working directory", image.directory().to_owned());
        key.add("network", format!("{:?} {}", run.network, run.insecure));
        let settings = &self.options.settings;
        key.add("settings", format!("{:?} {:?}", settings.names.hosts, settings.ulimits));
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
                    Err(Error::new(Kind::Internal, why))
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

    fn expanded(&self, image: &Image, place: Place<'_>, mount: &RunMount) -> Result<RunMount> {
        let mut mount = mount.clone();
        for text in [&mut mount.source, &mut mount.target, &mut mount.id, &mut mount.from]
            .into_iter()
            .flatten()
        {
            *text = word::expand(text, place.escape, &|name| image.lookup(name))
                .map_err(|why| place.problem(&why))?;
        }
        Ok(mount)
    }

    /// What the result depends on because of a mount.
    fn mount_key(&self, stage: usize, mount: &RunMount) -> Result<String> {
        let mut text = format!("{mount:?}");
        if mount.kind == RunMountKind::Bind {
            let tree = self.tree(stage, mount.from.as_deref())?;
            let job = part_of(tree, mount.source.as_deref().unwrap_or("/"));
            text.push_str(job.digest()?.hex());
        }
        Ok(text)
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
        prepared.caches = self.take_caches(image, mounts)?;
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
                owner: (0, 0),
            });
        }
        prepared.targets.extend(settings.mounts.iter().map(|it| it.target.display().to_string()));
        prepared.targets.extend(prepared.trees.iter().map(|it| it.target.display().to_string()));
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

    fn add_mount(
        &self,
        stage: usize,
        image: &Image,
        (number, mount): (usize, &RunMount),
        own: &Path,
        prepared: &mut Prepared,
    ) -> Result<Option<Mount>> {
        let id = mount.id.clone().unwrap_or_default();
        let target = |default: String| {
            image.absolute(mount.target.as_deref().filter(|it| !it.is_empty()).unwrap_or(&default))
        };
        Ok(match mount.kind {
            RunMountKind::Tmpfs => {
                let mut made = Mount::tmpfs(&target(String::new()))?;
                made.source = MountSource::Tmpfs { size: mount.size, mode: None };
                Some(made)
            }
            RunMountKind::Bind => {
                let target = target(String::new());
                let source = mount.source.clone().unwrap_or_else(|| "/".to_owned());
                match self.tree(stage, mount.from.as_deref())? {
                    Tree::Layers(layers) if self.has_overlay() => {
                        let changes = (!mount.read_only).then(|| own.to_owned());
                        prepared.trees.push(StepTree {
                            target: target.into(),
                            layers,
                            source: source.into(),
                            changes,
                        });
                        None
                    }
                    tree => {
                        let job = part_of(tree, &source);
                        prepared.parts.push((own.to_owned(), job));
                        let name = source.trim_end_matches('/').rsplit('/').next();
                        let inside = match name {
                            Some(name) if !matches!(name, "" | ".") => own.join(name),
                            _ => own.to_owned(),
                        };
                        Some(bind(inside, &target, mount.read_only))
                    }
                }
            }
            RunMountKind::Cache => {
                let target = target(String::new());
                let Some(dir) = prepared.caches.get(&number).map(|cache| cache.path.clone()) else {
                    return Ok(None);
                };
                let owner = (mount.uid.unwrap_or(0), mount.gid.unwrap_or(0));
                if !dir.exists() {
                    file::create_dirs(&dir, 0o755)?;
                    if let Some(from) = &mount.from {
                        let tree = self.tree(stage, Some(from))?;
                        let job = part_of(tree, mount.source.as_deref().unwrap_or("/"));
                        job.write(&dir, &[])?;
                    }
                    std::os::unix::fs::chown(&dir, Some(owner.0), Some(owner.1))
                        .context(|| format!("cannot change the owner of {}", dir.display()))?;
                    file::set_mode(&dir, mount.mode.unwrap_or(0o755))?;
                }
                Some(bind(dir, &target, mount.read_only))
            }
            RunMountKind::Secret => {
                let name = match (&mount.id, &mount.source, &mount.target) {
                    (Some(id), ..) => id.clone(),
                    (None, Some(source), _) => source.clone(),
                    (None, None, Some(target)) => {
                        target.rsplit('/').next().unwrap_or_default().to_owned()
                    }
                    (None, None, None) => String::new(),
                };
                let Some(data) = self.secret(&name)? else {
                    if mount.required {
                        return Err(Error::new(
                            Kind::NotFound,
                            format!("secret {name}: not found"),
                        )
                        .hint(format!("give it with --secret id={name},src=FILE")));
                    }
                    return Ok(None);
                };
                if let Some(variable) = &mount.env {
                    let text = String::from_utf8_lossy(&data);
                    prepared.env.push(format!("{variable}={text}"));
                    if mount.target.is_none() {
                        return Ok(None);
                    }
                }
                let owner = (mount.uid.unwrap_or(0), mount.gid.unwrap_or(0));
                let target = target(format!("/run/secrets/{name}"));
                let mode = mount.mode.unwrap_or(0o400);
                prepared.files.push(StepFile { target: target.into(), data, mode, owner });
                None
            }
            RunMountKind::Ssh => {
                let name = if id.is_empty() { "default".to_owned() } else { id };
                let known = self.options.agents.get(&name).cloned();
                let Some(agent) =
                    known.map_or_else(|| self.listener.agent(&name), |it| Ok(Some(it)))?
                else {
                    if mount.required {
                        return Err(Error::new(Kind::NotFound, format!("no SSH agent `{name}`"))
                            .hint("give one with --ssh"));
                    }
                    return Ok(None);
                };
                let usual = format!("/run/buildkit/ssh_agent.{}", prepared.agents.len());
                let target = target(usual);
                prepared.env.push(format!("SSH_AUTH_SOCK={target}"));
                let owner = (mount.uid.unwrap_or(0), mount.gid.unwrap_or(0));
                let mode = mount.mode.unwrap_or(0o600);
                prepared.agents.push(Agent::serve(own, &agent, owner, mode)?);
                Some(bind(own.to_owned(), &target, false))
            }
        })
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
    fn has_overlay(&self) -> bool {
        self.engine.store().driver() == DriverName::Overlay
    }

    /// Takes the caches that a command sees, each as it is shared. All who want several take them in the
    /// same order.
    fn take_caches(&self, image: &Image, mounts: &[RunMount]) -> Result<BTreeMap<usize, Cache>> {
        let mut wanted: Vec<(String, usize, Access)> = mounts
            .iter()
            .enumerate()
            .filter(|(_, mount)| mount.kind == RunMountKind::Cache)
            .map(|(number, mount)| {
                let target = image.absolute(mount.target.as_deref().unwrap_or_default());
                (mount.id.clone().unwrap_or(target), number, mount.access)
            })
            .collect();
        wanted.sort_by(|one, other| (&one.0, one.1).cmp(&(&other.0, other.1)));
        let builds = self.engine.store().builds();
        let mut caches = BTreeMap::new();
        for (name, number, access) in wanted {
            let cache = match access {
                Access::Private => {
                    let mut free = 0;
                    loop {
                        match builds.take_cache(&name, free, true)? {
                            Some(cache) => break cache,
                            None => free += 1,
                        }
                    }
                }
                Access::Shared | Access::Locked => loop {
                    match builds.take_cache(&name, 0, access == Access::Locked)? {
                        Some(cache) => break cache,
                        None if self.launcher.has_given_up() => {
                            return Err(Error::new(Kind::Unavailable, "interrupted"));
                        }
                        // Another command has it to itself, for as long as it takes.
                        None => std::thread::sleep(PAUSE),
                    }
                },
            };
            caches.insert(number, cache);
        }
        Ok(caches)
    }

    fn secret(&self, name: &str) -> Result<Option<Vec<u8>>> {
        match self.options.secrets.get(name) {
            None => self.listener.secret(name),
            Some(Secret::File(path)) => fs::read(path)
                .map(Some)
                .context(|| format!("cannot read secret `{name}` from {}", path.display())),
            Some(Secret::Variable(variable)) => {
                Ok(std::env::var_os(variable).map(std::os::unix::ffi::OsStringExt::into_vec))
            }
        }
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
        let scratch = upper.with_file_name("scratch");
        let mut stubs = Vec::new();
        for target in BOX.into_iter().chain(prepared.targets.iter().map(String::as_str)) {
            if let Some(first) = first_missing(&lower, target)? {
                stubs.push((target.to_owned(), first.len()));
            }
        }
        for (path, job) in &prepared.parts {
            file::create_dirs(path, 0o755)?;
            job.write(path, &[])?;
        }
        let whole = match self.has_overlay() {
            true => None,
            false => {
                let whole = scratch.join("whole");
                let layers: Vec<PathBuf> = lower.iter().rev().cloned().collect();
                whole_tree(&layers, &whole, &|| self.launcher.has_given_up())?;
                Some(whole)
            }
        };
        let step = Step {
            spec: prepared.spec,
            env: prepared.env,
            layers: lower.clone(),
            upper: upper.to_owned(),
            scratch: scratch.clone(),
            trees: prepared.trees,
            files: prepared.files,
            whole: whole.clone(),
        };
        let end = self.launcher.run(step, |bytes| self.listener.output(place.name, bytes))?;
        end.warnings.iter().for_each(|warning| self.listener.warning(warning));
        drop((prepared.agents, prepared.caches));
        if end.code == 0 {
            for (target, known) in stubs {
                remove_stub(whole.as_deref().unwrap_or(upper), &target, known);
            }
            if let Some(whole) = &whole {
                collect(whole, &lower, upper)?;
            }
            tidy(upper, &lower)?;
        }
        file::remove_tree(&scratch)?;
        Ok((end.code != 0).then_some(end.code))
    }
}

/// The path of a script that is a here-document.
fn script(document: &Heredoc) -> String {
    format!("/dev/pipes/{}", document.name)
}

fn part_of(tree: Tree, source: &str) -> Job {
    let name = source.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let target = match name {
        "" | "." => "/".to_owned(),
        name => format!("/{name}"),
    };
    Job {
        items: vec![Item::Files { tree, path: source.to_owned(), unpack: false }],
        target,
        chown: None,
        chmod: None,
        parents: false,
        exclude: Vec::new(),
    }
}

/// A part of this machine; what is changed of it is not kept, unless it is meant to be changed.
fn bind(path: PathBuf, target: &str, read_only: bool) -> Mount {
    Mount {
        source: MountSource::Bind { path, create: false },
        target: target.into(),
        read_only,
        options: Vec::new(),
        subpath: None,
        chown: false,
        idmap: false,
        overlay: None::<OverlayOf>,
    }
}

/// Removes what was made only to mount something on it. What is in use stays: it is not empty.
fn remove_stub(upper: &Path, target: &str, known: usize) {
    let names: Vec<&str> = target.split('/').filter(|name| !name.is_empty()).collect();
    for length in (known..=names.len()).rev() {
        let path = upper.join(names[..length].join("/"));
        let Ok(found) = path.symlink_metadata() else { continue };
        let removed = match found.file_type() {
            kind if kind.is_dir() => fs::remove_dir(&path),
            kind if kind.is_file() && found.len() == 0 => fs::remove_file(&path),
            kind if kind.is_symlink() && target == "/etc/mtab" => fs::remove_file(&path),
            _ => return,
        };
        if removed.is_err() {
            return;
        }
    }
}

/// Removes directories that were copied up for what was there for a while.
fn tidy(upper: &Path, lower: &[PathBuf]) -> Result<()> {
    for name in ["etc", "run", "dev"] {
        let path = upper.join(name);
        if first_missing(lower, name)?.is_none()
            && path.symlink_metadata().is_ok_and(|found| found.is_dir())
            && has_same_attributes(&path, lower, name)
        {
            // One that is not empty stays.
            drop(fs::remove_dir(&path));
        }
    }
    Ok(())
}

fn has_same_attributes(path: &Path, lower: &[PathBuf], name: &str) -> bool {
    use std::os::unix::fs::MetadataExt;
    let of = |path: &Path| {
        let found = path.symlink_metadata().ok()?;
        Some((found.mode(), found.uid(), found.gid()))
    };
    let below = lower.iter().find_map(|layer| of(&layer.join(name)));
    of(path) == below
}
