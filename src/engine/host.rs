//! Who we are on which machine, and how we get the power to make containers.

use std::fs;
use std::io::ErrorKind;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use crate::error::{Context, Error, Kind, Result};
use crate::store::userns::Mark;
use crate::store::{Store, file, lock::Lock};
use crate::sys::process;
use crate::sys::userns::{self, IdRange};

/// What is known about this machine and user.
#[derive(Clone, Debug)]
pub struct Host {
    /// Whether we have no power over the machine: some other user than root, or root of a container.
    pub rootless: bool,
    /// Our user ID before any user namespace of ours was entered.
    pub uid: u32,
    /// Our group ID likewise.
    pub gid: u32,
    /// The executable that we were started from.
    pub executable: PathBuf,
    /// Whether we are root here: of the machine, or of a user namespace.
    is_root: bool,
}

impl Host {
    /// Looks around.
    pub fn look() -> Result<Self> {
        let uid = rustix::process::geteuid().as_raw();
        let executable = fs::read_link("/proc/self/exe")
            .context(|| "cannot find our own executable: is /proc mounted?")?;
        Ok(Self {
            rootless: uid != 0 || !userns::is_initial(),
            uid,
            gid: rustix::process::getegid().as_raw(),
            executable,
            is_root: uid == 0,
        })
    }

    /// Returns the usual durable directory.
    pub(super) fn default_root(&self) -> Result<PathBuf> {
        if self.is_root {
            return Ok("/var/lib/barge".into());
        }
        if let Some(data) = environment_path("XDG_DATA_HOME") {
            return Ok(data.join("barge"));
        }
        match environment_path("HOME") {
            Some(home) => Ok(home.join(".local/share/barge")),
            None => {
                Err(Error::new(Kind::Invalid, "cannot tell where the store is: HOME is not set")
                    .hint("set HOME, or say --root and --runroot"))
            }
        }
    }

    /// Returns the usual directory for what is void after a reboot.
    pub(super) fn default_runroot(&self) -> Result<PathBuf> {
        if self.is_root {
            return Ok("/run/barge".into());
        }
        if let Some(run) = environment_path("XDG_RUNTIME_DIR") {
            return Ok(run.join("barge"));
        }
        let login = PathBuf::from(format!("/run/user/{}", self.uid));
        if is_own_dir(&login, self.uid) {
            return Ok(login.join("barge"));
        }
        // Logged in by su or the like. The name is known to all, so it must be ours alone.
        let dir = PathBuf::from(format!("/tmp/barge-run-{}", self.uid));
        match file::create_dir(&dir, 0o700) {
            Err(_) if is_own_dir(&dir, self.uid) => Ok(dir),
            Err(error) => {
                Err(error.hint("set XDG_RUNTIME_DIR to a directory that only you can write to"))
            }
            Ok(()) => Ok(dir),
        }
    }

    /// Gets the power to make containers: without root, by entering a user namespace.
    ///
    /// All our processes share one as long as any of them lives, so that they have power over each
    /// other's containers. There is none that only waits: the next command makes a new one.
    pub(super) fn gain_power(&mut self, store: &Store) -> Result<Power> {
        if !self.rootless {
            return Ok(Power::default());
        }
        let dir = Mark::directory(store.runroot());
        file::create_dirs(&dir, 0o700)?;
        let _lock = Lock::exclusive(&store.runroot().join("userns.lock"))?;
        let warnings =
            if self.is_root || join_existing(&dir)? { Vec::new() } else { self.enter_new()? };
        self.is_root = true;
        Ok(Power { warnings, _mark: Some(Mark::set(store.runroot())?) })
    }

    fn enter_new(&self) -> Result<Vec<String>> {
        let name = user_name(self.uid);
        let uids = ranges("/etc/subuid", self.uid, name.as_deref())?;
        let gids = ranges("/etc/subgid", self.uid, name.as_deref())?;
        let mut warnings = Vec::new();
        if uids.is_empty() || gids.is_empty() {
            let who = name.unwrap_or_else(|| self.uid.to_string());
            warnings.push(format!(
                "no subordinate IDs for user {who} in /etc/subuid and /etc/subgid: containers have one user only; an administrator can give some by `usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {who}`"
            ));
        } else {
            match ["newuidmap", "newgidmap"].into_iter().find(|name| !is_installed(name)) {
                Some(missing) => warnings.push(format!(
                    "{missing} is not installed: containers have one user only; install the package uidmap"
                )),
                None => {
                    let (uids, gids) = (mapping(self.uid, &uids), mapping(self.gid, &gids));
                    return userns::enter_mapped(&uids, &gids).map(|()| warnings).map_err(|error| {
                        Error::new(Kind::Unsupported, "cannot make a user namespace with your subordinate IDs")
                            .hint("check the package uidmap and the lines for you in /etc/subuid and /etc/subgid")
                            .caused_by(error)
                    });
                }
            }
        }
        userns::enter_alone(IdRange::root(self.uid), IdRange::root(self.gid)).map_err(|error| {
            Error::new(Kind::Unsupported, "cannot make a user namespace")
                .hint("see the sysctls user.max_user_namespaces, kernel.unprivileged_userns_clone and kernel.apparmor_restrict_unprivileged_userns")
                .caused_by(error)
        })?;
        Ok(warnings)
    }
}

/// The power over containers, and that others may share it.
#[derive(Debug, Default)]
pub(super) struct Power {
    /// What the user should know.
    pub(super) warnings: Vec<String>,
    _mark: Option<Mark>,
}

/// Tells whether a program is in a directory of `PATH`.
fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// Joins the namespace of the first process of ours that still lives; forgets those that do not.
fn join_existing(dir: &Path) -> Result<bool> {
    let context = || format!("cannot list {}", dir.display());
    for entry in fs::read_dir(dir).context(context)? {
        let path = entry.context(context)?.path();
        let pid = path.file_name().and_then(|name| name.to_str()?.parse::<i32>().ok());
        let started = fs::read_to_string(&path).ok().and_then(|text| text.parse::<u64>().ok());
        if let (Some(pid), Some(started)) = (pid, started)
            && let Ok(Some(alive)) = process::open(pid, started)
            && userns::join(alive.as_fd()).is_ok()
        {
            return Ok(true);
        }
        file::remove_file(&path)?;
    }
    Ok(false)
}

/// Root is this user; further IDs are the subordinate ones in their order.
fn mapping(id: u32, ranges: &[(u32, u32)]) -> Vec<IdRange> {
    let mut map = vec![IdRange { inside: 0, outside: id, count: 1 }];
    let mut inside: u32 = 1;
    for (outside, count) in ranges {
        let Some(next) = inside.checked_add(*count) else { break };
        map.push(IdRange { inside, outside: *outside, count: *count });
        inside = next;
    }
    map
}

/// Reads a user's ranges from a file of `NAME:START:COUNT` lines; a number may stand for the name.
fn ranges(path: &str, uid: u32, name: Option<&str>) -> Result<Vec<(u32, u32)>> {
    let number = uid.to_string();
    ranges_of(path, |owner| owner == number || Some(owner) == name)
}

/// Reads the ranges of a name.
pub(super) fn named_ranges(path: &str, name: &str) -> Result<Vec<(u32, u32)>> {
    ranges_of(path, |owner| owner == name)
}

fn ranges_of(path: &str, owned: impl Fn(&str) -> bool) -> Result<Vec<(u32, u32)>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).context(|| format!("cannot read {path}")),
    };
    Ok(text
        .lines()
        .filter_map(|line| {
            let (owner, range) = line.trim().split_once(':')?;
            let (start, count) = range.split_once(':')?;
            let range = (start.parse().ok()?, count.parse().ok()?);
            (owned(owner) && range.1 > 0).then_some(range)
        })
        .collect())
}

fn user_name(uid: u32) -> Option<String> {
    let passwd = fs::read_to_string("/etc/passwd").ok()?;
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

fn environment_path(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute())
}

fn is_own_dir(path: &Path, uid: u32) -> bool {
    use std::os::unix::fs::MetadataExt;
    fs::symlink_metadata(path)
        .is_ok_and(|it| it.is_dir() && it.uid() == uid && it.mode() & 0o022 == 0)
}

/// Makes a path independent of the working directory: monitors have another one.
pub(super) fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).context(|| format!("cannot make {} absolute", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_root_and_then_the_ranges() {
        let map = mapping(1000, &[(100_000, 65536), (300_000, 10)]);
        let ids: Vec<_> = map.iter().map(|it| (it.inside, it.outside, it.count)).collect();
        assert_eq!(ids, [(0, 1000, 1), (1, 100_000, 65536), (65537, 300_000, 10)]);
    }
}
