//! Control groups: what a container may use, and a handle on all its processes.
//!
//! A container's group is a directory at the same path in each hierarchy that matters. On version 2
//! there is one hierarchy. On version 1 there is one for each set of controllers; those with limits
//! that nobody asked for are left out, each costs some 30 microseconds. Hybrid machines have both:
//! then version 2's group, which has no limits to enforce, freezes and kills.
//!
//! Moving another process into a group waits for all processors to pass through the scheduler, for
//! tens of milliseconds. So a container's first process is born into its version 2 group
//! ([`Cgroup::v2_fd`] for `CLONE_INTO_CGROUP`) and moves itself into those of version 1
//! ([`Cgroup::join`]), which costs nothing while it has one thread.
//!
//! Nothing here moves or kills a process that is not in the container's group, nor our own.

mod beside;
mod devices;
mod hierarchy;
mod limits;
mod processes;
mod realtime;
mod stats;
pub mod systemd;
mod update;
mod view;

use std::cell::LazyCell;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

use oci_spec::runtime::LinuxResources;

use crate::error::{Context, Error, Kind, Result};
use crate::sys::bpf;

pub use hierarchy::{Hierarchies, Mode};
pub use stats::{BlockUse, Stats};
pub(super) use view::mount;

use devices::Devices;
use hierarchy::{Hierarchy, words};
use limits::Setting;

/// How long processes that were killed may take to disappear.
const REMOVE_DEADLINE: Duration = Duration::from_secs(10);

/// Controllers that are wanted for all containers: for limits by default, and for statistics.
const WANTED_V1: [&str; 4] = ["memory", "pids", "cpuacct", "blkio"];
/// The same for version 2.
const WANTED_V2: [&str; 4] = ["memory", "pids", "cpu", "io"];

/// What the files of version 2 begin with that every group has.
const CORE: &str = "cgroup";

/// A container's group: its directories in the hierarchies that have one.
///
/// Without any, as for a user to whom nothing was delegated, it does nothing and knows nothing.
#[derive(Debug)]
pub struct Cgroup {
    v1: Vec<Directory>,
    v2: Option<Directory>,
}

/// Whose a new group is.
#[derive(Clone, Copy)]
struct Taken {
    rootless: bool,
    /// Whether its directory is there already, with a process that keeps it.
    by_systemd: bool,
}

/// A group's directory in one hierarchy.
#[derive(Debug)]
struct Directory {
    path: PathBuf,
    /// Version 1 only: what is limited here.
    controllers: Vec<String>,
    /// Version 2 only.
    fd: Option<OwnedFd>,
}

impl Cgroup {
    /// Makes a group and sets its limits. Returns warnings about limits that cannot be applied here.
    ///
    /// The path is what [`Hierarchies::path_for`] returned. A group that is there already is taken over
    /// if nothing runs in it. `rootless`: devices are not limited; without the machine's root there is
    /// neither a way nor a need.
    pub fn create(
        hierarchies: &Hierarchies,
        path: &str,
        resources: &LinuxResources,
        rootless: bool,
    ) -> Result<(Self, Vec<String>)> {
        Self::create_at(hierarchies, path, resources, Taken { rootless, by_systemd: false })
    }

    /// As [`create`](Self::create), in the directory of a scope that systemd has made.
    pub fn create_in_scope(
        hierarchies: &Hierarchies,
        scope: &systemd::Scope,
        resources: &LinuxResources,
        rootless: bool,
    ) -> Result<(Self, Vec<String>)> {
        let taken = Taken { rootless, by_systemd: true };
        Self::create_at(hierarchies, &scope.path, resources, taken)
    }

    fn create_at(
        hierarchies: &Hierarchies,
        path: &str,
        resources: &LinuxResources,
        taken: Taken,
    ) -> Result<(Self, Vec<String>)> {
        let settings = settings(hierarchies, resources)?;
        let rules = resources.devices().as_deref().unwrap_or_default();
        let devices = if taken.rootless { None } else { Devices::of(rules)? };
        let mut group = Self { v1: Vec::new(), v2: None };
        if path.is_empty() {
            let warnings = group.apply(&settings)?;
            return Ok((group, warnings));
        }
        check_path(path)?;
        let made = group
            .make(hierarchies, path, &settings, devices.is_some(), taken.by_systemd)
            .and_then(|()| group.limit_devices(devices.as_ref()))
            .context(|| format!("cannot make control group {path}"))
            .and_then(|()| group.apply(&settings));
        match made {
            Ok(warnings) => Ok((group, warnings)),
            Err(error) => {
                // What failed is the news; directories that stay are taken over by the next try.
                group.remove_directories().unwrap_or_default();
                Err(error)
            }
        }
    }

    /// Opens the group of a container that another process started; parts that are gone are left out.
    pub fn open(hierarchies: &Hierarchies, path: &str) -> Result<Self> {
        let mut group = Self { v1: Vec::new(), v2: None };
        if path.is_empty() {
            return Ok(group);
        }
        check_path(path)?;
        for hierarchy in &hierarchies.v1 {
            let dir = hierarchy.dir(path);
            if dir.is_dir() {
                let controllers = hierarchy.controllers.clone();
                group.v1.push(Directory { path: dir, controllers, fd: None });
            }
        }
        if let Some(v2) = &hierarchies.v2 {
            let dir = v2.dir(path);
            match open_dir(&dir) {
                Ok(fd) => {
                    group.v2 = Some(Directory { path: dir, controllers: Vec::new(), fd: Some(fd) });
                }
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => {
                    return Err(error).context(|| format!("cannot open {}", dir.display()));
                }
            }
        }
        Ok(group)
    }

    /// Tells whether there is no group at all.
    pub fn is_none(&self) -> bool {
        self.v1.is_empty() && self.v2.is_none()
    }

    /// Names each hierarchy that it is in by a controller; that of version 2 has none.
    pub fn controllers(&self) -> impl Iterator<Item = &str> {
        let v1 = self.v1.iter().filter_map(|it| it.controllers.first().map(String::as_str));
        v1.chain(self.v2.iter().map(|_| ""))
    }

    /// Returns the version 2 group's directory, for `CLONE_INTO_CGROUP`.
    pub fn v2_fd(&self) -> Option<BorrowedFd<'_>> {
        self.v2.as_ref().and_then(|v2| v2.fd.as_ref()).map(AsFd::as_fd)
    }

    /// Moves the calling process, which must have one thread, into the version 1 groups.
    ///
    /// Into that of version 2 it is born.
    pub fn join(&self) -> Result<()> {
        for directory in &self.v1 {
            let tasks = directory.path.join("tasks");
            write(&tasks, "0").context(|| format!("cannot write {}", tasks.display()))?;
        }
        Ok(())
    }

    /// Lets another user make groups below this one, of version 2: the limits of this one stay ours.
    pub fn delegate(&self, uid: u32, gid: u32) -> Result<()> {
        let Some(v2) = &self.v2 else { return Ok(()) };
        let files = ["cgroup.procs", "cgroup.subtree_control", "cgroup.threads"];
        let own = std::iter::once(v2.path.clone());
        for path in own.chain(files.iter().map(|name| v2.path.join(name))) {
            std::os::unix::fs::chown(&path, Some(uid), Some(gid))
                .context(|| format!("cannot hand over {}", path.display()))?;
        }
        Ok(())
    }

    /// Moves a process into the group. Slow: see the module's head for a better way.
    pub fn add(&self, pid: i32) -> Result<()> {
        for directory in self.v1.iter().chain(&self.v2) {
            let list = directory.path.join("cgroup.procs");
            write(&list, &pid.to_string())
                .context(|| format!("cannot add process {pid} to {}", list.display()))?;
        }
        Ok(())
    }

    /// Removes the group; what still runs in it is killed.
    pub fn remove(&self) -> Result<()> {
        let deadline = Instant::now() + REMOVE_DEADLINE;
        loop {
            let error = match self.remove_directories() {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() != ErrorKind::ResourceBusy => error,
                Err(error) if Instant::now() >= deadline => error,
                Err(_) => {
                    self.kill_all(libc::SIGKILL)?;
                    self.wait_until_empty(deadline)?;
                    continue;
                }
            };
            return Err(error).context(|| match self.handle() {
                Some(handle) => format!("cannot remove control group {}", handle.path.display()),
                None => "cannot remove control group".to_owned(),
            });
        }
    }

    /// Removes all directories that are empty; returns the last failure.
    fn remove_directories(&self) -> io::Result<()> {
        let mut result = Ok(());
        for directory in self.v1.iter().chain(&self.v2) {
            if has(directory, "cpu") {
                // What is not given back now is there for the next.
                drop(realtime::give_back(&directory.path));
            }
            if let Err(error) = remove_tree(&directory.path) {
                result = Err(error);
            }
        }
        result
    }

    /// Makes the directories that the settings and the statistics need.
    fn make(
        &mut self,
        hierarchies: &Hierarchies,
        path: &str,
        settings: &[Setting],
        devices: bool,
        made: bool,
    ) -> Result<()> {
        for hierarchy in &hierarchies.v1 {
            let wanted = hierarchy.controllers.iter().any(|own| {
                WANTED_V1.contains(&own.as_str())
                    || (own == "devices" && devices)
                    // Version 2 freezes better, where it is there.
                    || (own == "freezer" && hierarchies.v2.is_none())
                    || settings.iter().any(|setting| own == setting.controller.as_ref())
            });
            if !wanted {
                continue;
            }
            self.add_hierarchy(hierarchy, path)?;
        }
        if let Some(v2) = &hierarchies.v2 {
            let dir = v2.dir(path);
            if made || make_dir(&dir)? {
                let fd = open_dir(&dir).context(|| format!("cannot open {}", dir.display()))?;
                let asked = settings.iter().map(|setting| setting.controller.as_ref());
                enable(&v2.mount, &dir, WANTED_V2.into_iter().chain(asked));
                self.v2 = Some(Directory { path: dir, controllers: Vec::new(), fd: Some(fd) });
            }
        }
        Ok(())
    }

    /// Makes the group's directory in a version 1 hierarchy; not where we may not make groups.
    fn add_hierarchy(&mut self, hierarchy: &Hierarchy, path: &str) -> Result<()> {
        let dir = hierarchy.dir(path);
        if !make_dir(&dir)? {
            return Ok(());
        }
        if hierarchy.has("cpuset") {
            fill_cpuset(&hierarchy.mount, &dir)
                .context(|| format!("cannot set up {}", dir.display()))?;
        }
        let controllers = hierarchy.controllers.clone();
        self.v1.push(Directory { path: dir, controllers, fd: None });
        Ok(())
    }

    /// Limits devices where rules say so.
    fn limit_devices(&self, devices: Option<&Devices>) -> Result<()> {
        let Some(devices) = devices else { return Ok(()) };
        let v1 = self.v1.iter().find(|directory| has(directory, "devices"));
        match (v1, self.v2_fd()) {
            (Some(directory), _) => {
                let mut open: Option<(&str, File)> = None;
                for (name, line) in devices.lines() {
                    let path = directory.path.join(name);
                    let context = || format!("cannot write `{line}` to {}", path.display());
                    let (_, file) = match open.take().filter(|(open, _)| *open == name) {
                        Some(same) => open.insert(same),
                        None => open.insert((name, writable(&path).context(context)?)),
                    };
                    file.write_all(line.as_bytes()).context(context)?;
                }
                Ok(())
            }
            (None, Some(fd)) => bpf::load_device_filter(&devices.program())
                .and_then(|program| bpf::attach_device_filter(fd, program))
                .context(|| "cannot limit devices"),
            // Without any group to put it into, a container has its own /dev and no way to make more.
            (None, None) => Ok(()),
        }
    }

    /// Writes settings. Returns warnings about those that cannot be applied here.
    fn apply(&self, settings: &[Setting]) -> Result<Vec<String>> {
        let mut warnings = Vec::new();
        let available = LazyCell::new(|| match &self.v2 {
            Some(v2) => words(&v2.path.join("cgroup.controllers")),
            None => Vec::new(),
        });
        let directory = |setting: &Setting| {
            let controller = setting.controller.as_ref();
            self.v1.iter().find(|directory| has(directory, controller)).or_else(|| {
                let there = |own: &String| own == controller;
                self.v2.as_ref().filter(|_| controller == CORE || available.iter().any(there))
            })
        };
        let mut warn = |setting: &Setting, why: &str| {
            let warning = format!("the {} is not applied: {why}", setting.limit);
            if !warnings.contains(&warning) {
                warnings.push(warning);
            }
        };
        // Some limits must not cross each other, and the right order depends on the present ones: what
        // is refused at first is tried again after the others.
        let mut again = Vec::new();
        for setting in settings {
            let Some(file) = &setting.file else {
                warn(setting, "this version of control groups does not have it");
                continue;
            };
            let Some(directory) = directory(setting) else {
                let controller = &setting.controller;
                warn(setting, &format!("the cgroup controller `{controller}` is not available"));
                continue;
            };
            let file = directory.path.join(file.as_ref());
            let Err(error) = write(&file, &setting.value) else { continue };
            let file = match (&setting.otherwise, error.kind()) {
                (Some((other, value)), ErrorKind::NotFound) => {
                    match write(&directory.path.join(other), value) {
                        Ok(()) => continue,
                        Err(_) => file,
                    }
                }
                _ => file,
            };
            match error.kind() {
                ErrorKind::NotFound => warn(setting, "the kernel does not have it"),
                ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
                    warn(setting, &format!("{} may not be written", file.display()));
                }
                _ => again.push((setting, file)),
            }
        }
        for (setting, file) in again {
            let Setting { limit, value, .. } = setting;
            let written = match (setting.file.as_deref(), file.parent(), value.parse()) {
                (Some(realtime::RUNTIME), Some(group), Ok(runtime)) => {
                    realtime::set(group, runtime)
                }
                _ => write(&file, value),
            };
            written.map_err(|error| {
                let kind = match error.raw_os_error() {
                    Some(libc::EINVAL | libc::ERANGE) => Kind::Invalid,
                    // As memory that is in use already.
                    Some(libc::EBUSY) => Kind::Conflict,
                    _ => Kind::Internal,
                };
                let file = file.display();
                let text = format!("cannot apply the {limit}: cannot write `{value}` to {file}");
                let error = Error::new(kind, text).caused_by(error);
                match setting.file.as_deref() {
                    Some(realtime::RUNTIME) => error.hint(
                        "all groups together have what the sysctls kernel.sched_rt_* say, and a group no more than the one above it",
                    ),
                    _ => error,
                }
            })?;
        }
        Ok(warnings)
    }

    /// Returns the directory by which all processes are found, frozen and killed.
    fn handle(&self) -> Option<&Directory> {
        let freezer = || self.v1.iter().find(|directory| has(directory, "freezer"));
        self.v2.as_ref().or_else(freezer).or_else(|| self.v1.first())
    }
}

fn settings(hierarchies: &Hierarchies, resources: &LinuxResources) -> Result<Vec<Setting>> {
    let unified =
        |controller: &str| hierarchies.v2.is_some() && hierarchies.v1_with(controller).is_none();
    limits::settings(resources, &unified)
}

fn has(directory: &Directory, controller: &str) -> bool {
    directory.controllers.iter().any(|own| own == controller)
}

/// Refuses paths that lead out of the hierarchy, or to its top.
fn check_path(path: &str) -> Result<()> {
    let mut components = Path::new(path).components();
    let absolute = components.next() == Some(Component::RootDir);
    let mut rest = components.peekable();
    if absolute && rest.peek().is_some() && rest.all(|part| matches!(part, Component::Normal(_))) {
        return Ok(());
    }
    Err(Error::new(Kind::Invalid, format!("invalid control group path `{path}`"))
        .hint("write it from the top of the hierarchy, without `..`"))
}

fn open_dir(path: &Path) -> io::Result<OwnedFd> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

/// Writes to a control file.
fn write(path: &Path, value: &str) -> io::Result<()> {
    // One write: the kernel takes each for a command of its own.
    writable(path)?.write_all(value.as_bytes())
}

/// Opens a file of a group; nothing is made here that the kernel does not make.
fn writable(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).open(path)
}

/// Makes a group's directory. Returns whether it is there: not where we may not make groups.
fn make_dir(dir: &Path) -> Result<bool> {
    let failed = || format!("cannot make {}", dir.display());
    let made = match fs::create_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => fs::create_dir_all(dir),
        other => other,
    };
    match made {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let running = fs::read_to_string(dir.join("cgroup.procs")).context(failed)?;
            match running.is_empty() {
                true => Ok(true),
                false => Err(Error::new(
                    Kind::Conflict,
                    format!("processes are running in {}", dir.display()),
                )),
            }
        }
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem
            ) =>
        {
            Ok(false)
        }
        Err(error) => Err(error).context(failed),
    }
}

/// Removes a group's directory and those of the groups below it.
fn remove_tree(dir: &Path) -> io::Result<()> {
    match fs::remove_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        // Groups below, as a container with systemd makes them, or processes.
        Err(error) if error.kind() == ErrorKind::ResourceBusy => {}
        other => return other,
    }
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    match fs::remove_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Gives new version 1 cpuset groups what the ones above have: they begin with nothing.
fn fill_cpuset(mount: &Path, dir: &Path) -> io::Result<()> {
    let below: Vec<&Path> = dir.ancestors().take_while(|above| *above != mount).collect();
    for dir in below.into_iter().rev() {
        let Some(above) = dir.parent() else { continue };
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if fs::read_to_string(dir.join(file))?.trim().is_empty() {
                write(&dir.join(file), fs::read_to_string(above.join(file))?.trim())?;
            }
        }
    }
    Ok(())
}

/// Makes controllers available in a version 2 group, as far as that is possible.
///
/// What is not is found out when a limit is applied. No process is moved for it.
fn enable<'a>(mount: &Path, dir: &Path, wanted: impl Iterator<Item = &'a str>) {
    let has = |list: &[String], name: &str| list.iter().any(|own| own == name);
    let all = words(&mount.join("cgroup.controllers"));
    let mut wanted = wanted.filter(|name| has(&all, name)).peekable();
    if wanted.peek().is_none() {
        return;
    }
    let present = words(&dir.join("cgroup.controllers"));
    let mut missing: Vec<&str> = wanted.filter(|name| !has(&present, name)).collect();
    missing.sort_unstable();
    missing.dedup();
    if missing.is_empty() {
        return;
    }
    let above: Vec<&Path> =
        dir.ancestors().skip(1).take_while(|dir| dir.starts_with(mount)).collect();
    for dir in above.into_iter().rev() {
        // One with processes has none below it but those that share its limits: some controllers could
        // be had there even so, but then nothing else could be below it.
        if dir != mount && !words(&dir.join("cgroup.procs")).is_empty() {
            return;
        }
        let available = words(&dir.join("cgroup.controllers"));
        let control = dir.join("cgroup.subtree_control");
        let enabled = words(&control);
        for name in &missing {
            if has(&available, name) && !has(&enabled, name) {
                // One by one: a controller that cannot be had must not keep the others away.
                write(&control, &format!("+{name}")).unwrap_or_default();
            }
        }
    }
}

#[cfg(test)]
mod tests;
