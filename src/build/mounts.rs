//! `RUN --mount`: what a command sees besides its image's files.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::agent::Agent;
use super::copy::{Item, Job, Tree, mode_of};
use super::run::Prepared;
use super::stage::{Image, Place};
use super::{Builder, Secret};
use crate::engine::step::{StepFile, StepMemory, StepTree, StepUsers};
use crate::error::{Context, Error, Kind, Result};
use crate::spec::dockerfile::{Access, RunMount, RunMountKind, word};
use crate::spec::mount::{Mount, MountSource, OverlayOf};
use crate::store::builds::Cache;
use crate::store::file;

/// Time between two looks at a cache that another command has to itself.
const PAUSE: Duration = Duration::from_millis(50);

impl Builder<'_> {
    pub(super) fn expanded(
        &self,
        image: &Image,
        place: Place<'_>,
        mount: &RunMount,
    ) -> Result<RunMount> {
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
    pub(super) fn mount_key(&self, stage: usize, mount: &RunMount) -> Result<String> {
        let mut text = format!("{mount:?}");
        if mount.kind == RunMountKind::Bind {
            let tree = self.tree(stage, mount.from.as_deref())?;
            let job = part_of(tree, mount.source.as_deref().unwrap_or("/"));
            text.push_str(job.digest()?.hex());
        }
        Ok(text)
    }

    pub(super) fn add_mount(
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
                let target = target(String::new());
                if self.options.on_failure.is_some() {
                    prepared.memory.push(StepMemory {
                        mode: mode_of(&image.lower(), &target)?.unwrap_or(0o1777),
                        target: target.into(),
                        size: mount.size,
                        owner: self.outside((0, 0))?,
                    });
                    return Ok(None);
                }
                let mut made = Mount::tmpfs(&target)?;
                made.source = MountSource::Tmpfs { size: mount.size, mode: None };
                // Other builders forbid neither.
                made.options.extend(["exec", "dev"].map(str::to_owned));
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
                        Some(self.bind(inside, &target, mount.read_only))
                    }
                }
            }
            RunMountKind::Cache => {
                let target = target(String::new());
                let Some(dir) = prepared.caches.get(&number).map(|cache| cache.path.clone()) else {
                    return Ok(None);
                };
                let owner = self.on_disk((mount.uid.unwrap_or(0), mount.gid.unwrap_or(0)))?;
                if !dir.exists() {
                    file::create_dirs(&dir, 0o755)?;
                    if let Some(from) = &mount.from {
                        let tree = self.tree(stage, Some(from))?;
                        let source = mount.source.as_deref().unwrap_or("/");
                        let job = Job { target: "/".to_owned(), ..part_of(tree, source) };
                        job.write(&dir, &[])?;
                        if let Some(users) = self.users.as_ref().filter(|it| it.are_on_disk()) {
                            users.give(&dir)?;
                        }
                    }
                    std::os::unix::fs::chown(&dir, Some(owner.0), Some(owner.1))
                        .context(|| format!("cannot change the owner of {}", dir.display()))?;
                    file::set_mode(&dir, mount.mode.unwrap_or(0o755))?;
                }
                Some(self.bind(dir, &target, mount.read_only))
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
                let owner = self.outside((mount.uid.unwrap_or(0), mount.gid.unwrap_or(0)))?;
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
                let owner = self.on_disk((mount.uid.unwrap_or(0), mount.gid.unwrap_or(0)))?;
                let mode = mount.mode.unwrap_or(0o600);
                prepared.agents.push(Agent::serve(own, &agent, owner, mode)?);
                Some(self.bind(own.to_owned(), &target, false))
            }
        })
    }

    /// Takes the caches that a command sees, each as it is shared. All who want several take them in the
    /// same order.
    pub(super) fn take_caches(
        &self,
        stage: usize,
        image: &Image,
        mounts: &[RunMount],
    ) -> Result<BTreeMap<usize, Cache>> {
        let all = mounts.iter().enumerate();
        let mut wanted: Vec<(String, usize, Access)> = all
            .filter(|(_, mount)| mount.kind == RunMountKind::Cache)
            .map(|(number, mount)| {
                Ok((self.cache_name(stage, image, mount)?, number, mount.access))
            })
            .collect::<Result<_>>()?;
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

    /// Names a cache by its ID and by what it is like when it is made: as in BuildKit, those that begin
    /// differently are different ones.
    fn cache_name(&self, stage: usize, image: &Image, mount: &RunMount) -> Result<String> {
        let target = image.absolute(mount.target.as_deref().unwrap_or_default());
        let mut name = mount.id.clone().unwrap_or(target);
        if (mount.uid, mount.gid, mount.mode) != (None, None, None) {
            let (uid, gid) = (mount.uid.unwrap_or(0), mount.gid.unwrap_or(0));
            name = format!("{name}\n{uid}:{gid} {:o}", mount.mode.unwrap_or(0o755));
        }
        if let Some(from) = &mount.from {
            let tree = self.tree(stage, Some(from))?;
            let content = part_of(tree, mount.source.as_deref().unwrap_or("/")).digest()?;
            name = format!("{name}\n{}", content.hex());
        }
        // One whose owners are other users is another one.
        if let Some(users) = self.users.as_ref().filter(|users| users.are_on_disk()) {
            name = format!("{name}\n{}", users.words());
        }
        Ok(name)
    }

    /// Returns who a user and a group of commands are to us.
    pub(super) fn outside(&self, owner: (u32, u32)) -> Result<(u32, u32)> {
        self.users.as_ref().map_or(Ok(owner), |users| users.outside(owner))
    }

    /// Returns who owns on the disk what a user and a group of commands are to own.
    fn on_disk(&self, owner: (u32, u32)) -> Result<(u32, u32)> {
        match &self.users {
            Some(users) if users.are_on_disk() => users.outside(owner),
            _ => Ok(owner),
        }
    }

    /// A part of this machine; what is changed of it is not kept, unless it is meant to be changed.
    fn bind(&self, path: PathBuf, target: &str, read_only: bool) -> Mount {
        Mount {
            source: MountSource::Bind { path, create: false },
            target: target.into(),
            read_only,
            options: Vec::new(),
            subpath: None,
            chown: false,
            idmap: self.users.as_ref().is_some_and(StepUsers::are_shown),
            overlay: None::<OverlayOf>,
            by_fields: false,
        }
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
