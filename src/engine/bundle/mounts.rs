//! What is mounted in a container, in which order.

use std::path::{Path, PathBuf};

use oci_spec::runtime::Mount as OciMount;

use super::{Facts, devices, own_file, own_files};
use crate::error::Result;
use crate::spec::container::Debugged;
use crate::spec::mount::{ALONE, Mount, MountSource, OverlayOf};
use crate::spec::namespace::{IpcMode, NamespaceMode};
use crate::spec::secret::{SecretShown, SecretUse};
use crate::store::container::{Builtin, ContainerConfig};

/// A directory of this machine, shown in `builtin/host` with changes going elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::engine) struct HostDir {
    /// The directory.
    pub(in crate::engine) path: PathBuf,
    /// What the container changes in it.
    pub(in crate::engine) upper: PathBuf,
    /// Scratch space of the kernel.
    pub(in crate::engine) work: PathBuf,
}

/// Top-level directories that `builtin/host` shows; all others are empty there.
pub(in crate::engine) const HOST_DIRS: [&str; 11] =
    ["bin", "boot", "etc", "lib", "lib32", "lib64", "libx32", "opt", "sbin", "srv", "usr"];

/// Finds the directories of this machine to be shown in `builtin/host`.
///
/// The store is never among them: overlay refuses a layer that contains its own upper directory, and
/// nobody should see it. Of a directory that contains the store, the others in it are shown; likewise
/// of one with mounts below it, which overlay refuses in a user namespace. `list` names the directories
/// in a directory.
pub(in crate::engine) fn tree_of_host(
    store: &Path,
    mounts: &[PathBuf],
    changes: &Path,
    list: impl Fn(&Path) -> Vec<PathBuf>,
) -> Vec<HostDir> {
    let mut found = Vec::new();
    let tops = HOST_DIRS.iter().chain(&["var"]).map(|name| Path::new("/").join(name));
    let mut waiting: Vec<PathBuf> = list(Path::new("/"));
    waiting.retain(|path| tops.clone().any(|top| top == *path));
    waiting.sort();
    while let Some(path) = waiting.pop() {
        if path == store || Path::new("/var/tmp") == path || Path::new("/var/run") == path {
            continue;
        }
        let has_mounts = mounts.iter().any(|point| *point != path && point.starts_with(&path));
        if store.starts_with(&path) || has_mounts {
            waiting.extend(list(&path));
            continue;
        }
        let name = path.display().to_string().trim_start_matches('/').replace('/', "%");
        let own = changes.join(name);
        found.push(HostDir { upper: own.join("upper"), work: own.join("work"), path });
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// All mounts, parents before what lies below them.
pub(super) fn all(config: &ContainerConfig, facts: &Facts) -> Result<Vec<OciMount>> {
    let settings = &config.settings;
    let mut mounts = Vec::new();
    match config.builtin {
        Some(Builtin::Hello) => {
            mounts.push(bind(&facts.executable, Path::new("/hello"), &["bind", "ro", "nosuid"]));
        }
        Some(Builtin::Host) => mounts.extend(facts.host_tree.iter().map(|dir| overlay(dir, facts))),
        None => {}
    }
    mounts.extend(system(config, facts));
    if settings.read_only && !settings.no_read_only_tmpfs {
        for path in ["/run", "/tmp", "/var/tmp"] {
            mounts.push(mount(path, "tmpfs", "tmpfs", &["rw", "nosuid", "nodev", "mode=1777"]));
        }
    }
    if config.runs_systemd() {
        // Those that are usual for a read-only root are the same.
        mounts.retain(|it| !matches!(it.destination().to_str(), Some("/run" | "/tmp")));
        mounts.extend(for_systemd(settings.systemd_size));
    }
    if let Some(program) = &settings.init_path {
        mounts.push(bind(program, Path::new(super::INIT), &["bind", "ro", "rprivate"]));
    }
    // A volume for all of /etc has the names in it that the container is known by, as Docker does it;
    // one that only reads is shown as it is.
    let (above, below): (Vec<_>, Vec<_>) =
        own_files(settings).into_iter().partition(|(_, path)| {
            let over = |own: &&Mount| Path::new(path).starts_with(&own.target);
            let covered = settings.mounts.iter().filter(over).collect::<Vec<_>>();
            !covered.is_empty()
                && !covered.iter().any(|own| own.read_only || own.target == Path::new(path))
        });
    let own_bind = |(name, path): (&str, &str)| {
        bind(&own_file(&facts.run_dir, name), Path::new(path), &["bind", "rprivate"])
    };
    mounts.extend(below.into_iter().map(own_bind));
    if facts.notify {
        let socket = own_file(&facts.run_dir, "notify");
        mounts.push(bind(&socket, Path::new(super::NOTIFY), &["bind", "rprivate"]));
    }
    if facts.is_confined() {
        // Where no nodes can be made, those of the host are shown.
        for node in devices::nodes(config)? {
            let options = ["bind", "rprivate", "nosuid", "noexec"];
            mounts.push(bind(&node.source, &node.target, &options));
        }
    }
    if settings.debugged.is_some() {
        // The mounts themselves are other ones: see `Launch::given`.
        let options = ["rbind", "rprivate"];
        mounts.push(bind(Path::new("/"), Path::new(Debugged::PLACE), &options));
    }
    // What the user mounts replaces what is usual there.
    mounts.retain(|usual| !settings.mounts.iter().any(|own| own.target == *usual.destination()));
    let mut own: Vec<OciMount> =
        (0..).zip(&settings.mounts).map(|(index, mount)| of_user(index, mount, facts)).collect();
    own.sort_by_key(|mount| mount.destination().components().count());
    mounts.extend(own);
    mounts.extend(above.into_iter().map(own_bind));
    let dir = Path::new("/run/secrets");
    let is_below = |secret: &SecretUse| match &secret.shown {
        SecretShown::Mount { target, .. } => target.starts_with(dir),
        SecretShown::Env(_) => false,
    };
    let is_users = settings.mounts.iter().any(|own| own.target.starts_with(dir));
    if settings.secrets.iter().any(is_below) && !is_users {
        // Not even their names are in the container's own layer.
        let options = ["nosuid", "nodev", "noexec", "mode=755", "size=1m"];
        mounts.push(mount(dir, "tmpfs", "tmpfs", &options));
    }
    for (index, secret) in settings.secrets.iter().enumerate() {
        if let SecretShown::Mount { target, .. } = &secret.shown {
            let options = ["bind", "ro", "nosuid", "nodev", "noexec", "rprivate"];
            mounts.push(bind(&super::secret_file(&facts.run_dir, index), target, &options));
        }
    }
    Ok(mounts)
}

/// What the user mounts that is there without the container, parents before what lies below them.
///
/// Where changes are discarded, what is below is shown and cannot be changed. What is `there` no more
/// is left out. What was made before is that of this machine.
pub(in crate::engine) fn lasting(
    config: &ContainerConfig,
    facts: &Facts,
    there: impl Fn(&Path) -> bool,
) -> Vec<OciMount> {
    let mut lasting = Vec::new();
    for (index, mount) in config.settings.mounts.iter().enumerate() {
        if !matches!(mount.source, MountSource::Bind { .. } | MountSource::Volume { .. }) {
            continue;
        }
        let mut mount = mount.clone();
        if let Some(OverlayOf::Discarded) = mount.overlay {
            (mount.overlay, mount.read_only) = (None, true);
        }
        let shown = of_user(index, &mount, facts);
        let is_lasting = match shown.typ().as_deref() {
            _ if facts.memory.contains(&mount.target) => true,
            Some("tmpfs" | "ramfs") => false,
            Some("bind") => shown.source().as_deref().is_some_and(&there),
            _ => true,
        };
        lasting.extend(is_lasting.then_some(shown));
    }
    lasting.sort_by_key(|mount| mount.destination().components().count());
    lasting
}

fn system(config: &ContainerConfig, facts: &Facts) -> Vec<OciMount> {
    let settings = &config.settings;
    let privileged = settings.security.privileged;
    // Who is root of a user namespace only has no power over what belongs to others.
    let confined = facts.is_confined();
    let access = if privileged { "rw" } else { "ro" };
    let shm = format!("size={}", settings.resources.shm_size.unwrap_or(64 << 20));
    let mut terminals = vec!["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"];
    if !facts.single_id {
        // The group tty, in every distribution.
        terminals.push("gid=5");
    }
    let proc = if settings.namespaces.pid == NamespaceMode::Host && confined {
        bind(Path::new("/proc"), Path::new("/proc"), &["rbind", "nosuid", "noexec", "nodev"])
    } else {
        let more = settings.security.proc_options.iter().map(String::as_str);
        let options: Vec<&str> = ["nosuid", "noexec", "nodev"].into_iter().chain(more).collect();
        mount("/proc", "proc", "proc", &options)
    };
    // Who does not own the network namespace may not mount a sysfs of it.
    let sys = if !config.has_own_network() && confined {
        let options = ["rbind", "rro", "nosuid", "noexec", "nodev", "rslave"];
        bind(Path::new("/sys"), Path::new("/sys"), &options)
    } else {
        mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", access])
    };
    let mut mounts = vec![
        proc,
        mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount("/dev/pts", "devpts", "devpts", &terminals),
        sys,
    ];
    let options = ["nosuid", "noexec", "nodev", "relatime", access];
    mounts.push(mount("/sys/fs/cgroup", "cgroup", "cgroup", &options));
    let shared = ["rbind", "nosuid", "noexec", "nodev"];
    let [shm_path, queues_path] = ["/dev/shm", "/dev/mqueue"].map(Path::new);
    let queues = mount(queues_path, "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]);
    let options = ["nosuid", "noexec", "nodev", "mode=1777", shm.as_str()];
    let memory = mount(shm_path, "tmpfs", "shm", &options);
    match &settings.namespaces.ipc {
        IpcMode::Host => {
            mounts.extend([queues_path, shm_path].map(|path| bind(path, path, &shared)));
            // Not every host has a queue file system.
            mounts
                .retain(|it| it.source().as_deref().is_none_or(|path| !is_missing_bind(it, path)));
        }
        // The shared memory is the other container's: see `Launch::given`.
        IpcMode::Container(_) => {
            // Nobody may mount queues that belong to another user namespace.
            mounts.extend((!facts.own_users).then_some(queues));
            mounts.push(bind(shm_path, shm_path, &shared));
        }
        IpcMode::None => mounts.push(queues),
        IpcMode::Shareable | IpcMode::Private | IpcMode::Ns(_) => mounts.extend([queues, memory]),
    }
    mounts
}

/// What systemd wants to be file systems in memory.
fn for_systemd(size: Option<u64>) -> impl Iterator<Item = OciMount> {
    let places = [
        ("/run", "mode=755"),
        ("/run/lock", "mode=1777"),
        ("/tmp", "mode=1777"),
        ("/var/log/journal", "mode=755"),
    ];
    let size = size.map(|bytes| format!("size={bytes}"));
    places.into_iter().map(move |(path, mode)| {
        let options: Vec<&str> =
            ["rw", "nosuid", "nodev", mode].into_iter().chain(size.as_deref()).collect();
        mount(path, "tmpfs", "tmpfs", &options)
    })
}

fn is_missing_bind(mount: &OciMount, source: &Path) -> bool {
    mount.typ().as_deref() == Some("bind") && !source.exists()
}

fn overlay(dir: &HostDir, facts: &Facts) -> OciMount {
    layered(&dir.path, &[&dir.path], [&dir.upper, &dir.work], facts)
}

/// An overlay of directories, the uppermost first; what is changed goes to one of its own.
fn layered(target: &Path, layers: &[&Path], [upper, work]: [&Path; 2], facts: &Facts) -> OciMount {
    let layers: Vec<String> = layers.iter().map(|it| it.display().to_string()).collect();
    let mut options = vec![
        format!("lowerdir={}", layers.join(":")),
        format!("upperdir={}", upper.display()),
        format!("workdir={}", work.display()),
    ];
    if facts.rootless {
        options.push("userxattr".to_owned());
    }
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    mount(target, "overlay", "overlay", &options)
}

fn of_user(index: usize, asked: &Mount, facts: &Facts) -> OciMount {
    let bind_of_user = |source: &Path, options: Vec<String>| match &asked.overlay {
        Some(over) => overlay_of_user(index, over, (&[source], asked), &options, facts),
        None => bind_of_user(asked, source, options, facts),
    };
    let access = if asked.read_only { "ro" } else { "rw" };
    let mut options: Vec<String> = asked.options.clone();
    options.push(access.to_owned());
    if asked.read_only && !asked.options.iter().any(|it| it == ALONE || it == "bind") {
        options.push("rro".to_owned());
    }
    match &asked.source {
        MountSource::Bind { path, .. } => bind_of_user(path, options),
        MountSource::Volume { name, .. } => {
            // They were read before.
            let found = name.as_ref().and_then(|name| facts.volumes.get(name));
            let (mounted, data) = match found {
                Some((volume, data)) => (volume.spec.mount(), data.as_path()),
                None => (None, Path::new("")),
            };
            match mounted {
                None => bind_of_user(data, options),
                Some(own) => {
                    let mut all: Vec<String> =
                        own.options.iter().map(ToString::to_string).collect();
                    all.extend(options);
                    if own.kind == "bind" {
                        return bind_of_user(Path::new(own.device), all);
                    }
                    if facts.memory.contains(&asked.target) {
                        // It is made by now: see `Launch::given`. What another container may do with
                        // it says nothing about this one.
                        let open = ["rw", "exec", "suid", "dev"].map(str::to_owned);
                        let all = open.into_iter().chain(all).collect();
                        return self::bind_of_user(asked, Path::new("none"), all, facts);
                    }
                    all.extend(part_of(asked));
                    let all: Vec<&str> = all.iter().map(String::as_str).collect();
                    mount(&asked.target, own.kind, own.device, &all)
                }
            }
        }
        MountSource::Artifact { .. } => {
            let file = facts.images.get(&index).and_then(|files| files.first());
            bind_of_user(file.map_or(Path::new(""), PathBuf::as_path), options)
        }
        MountSource::Image { .. } => {
            let layers = facts.images.get(&index).into_iter().flatten();
            let layers: Vec<&Path> = layers.map(PathBuf::as_path).collect();
            let over = OverlayOf::Discarded;
            overlay_of_user(index, &over, (&layers, asked), &options, facts)
        }
        MountSource::Ramfs { mode } => {
            for word in ["nosuid", "nodev"] {
                options.insert(0, word.to_owned());
            }
            options.push(format!("mode={:o}", mode.unwrap_or(0o1777)));
            let options: Vec<&str> = options.iter().map(String::as_str).collect();
            mount(&asked.target, "ramfs", "ramfs", &options)
        }
        MountSource::Devpts => {
            for word in ["nosuid", "noexec", "newinstance", "ptmxmode=0666"] {
                options.push(word.to_owned());
            }
            if !options.iter().any(|word| word.starts_with("mode=")) {
                options.push("mode=0620".to_owned());
            }
            options.retain(|word| word != "rw");
            let options: Vec<&str> = options.iter().map(String::as_str).collect();
            mount(&asked.target, "devpts", "devpts", &options)
        }
        MountSource::Tmpfs { size, mode } => {
            if let (true, Some((uid, gid))) = (asked.chown, facts.user) {
                options.extend([format!("uid={uid}"), format!("gid={gid}")]);
            }
            for word in ["nosuid", "nodev", "noexec"] {
                let undone = word.trim_start_matches("no");
                if !options.iter().any(|it| it == undone) {
                    options.insert(0, word.to_owned());
                }
            }
            options.extend(size.map(|size| format!("size={size}")));
            // Without one, it is that of the directory in the image.
            options.extend(mode.map(|mode| format!("mode={mode:o}")));
            let options: Vec<&str> = options.iter().map(String::as_str).collect();
            mount(&asked.target, "tmpfs", "tmpfs", &options)
        }
    }
}

/// Shows directories, the uppermost first, with changes going elsewhere.
fn overlay_of_user(
    index: usize,
    over: &OverlayOf,
    (layers, asked): (&[&Path], &Mount),
    options: &[String],
    facts: &Facts,
) -> OciMount {
    let (upper, work) = match over {
        OverlayOf::Kept { upper, work } => (upper.clone(), work.clone()),
        OverlayOf::Discarded => {
            let own = facts.overlays.join(index.to_string());
            (own.join("upper"), own.join("work"))
        }
    };
    let mut entry = layered(&asked.target, layers, [&upper, &work], facts);
    if let Some(all) = entry.options_mut() {
        // What concerns the mount itself; the rest is about binds.
        let kept = ["ro", "noexec", "nosuid", "nodev", "noatime"];
        all.extend(options.iter().filter(|word| kept.contains(&word.as_str())).cloned());
        all.extend(part_of(asked));
    }
    entry
}

/// Says which part of the source is shown, if it is not all of it.
fn part_of(asked: &Mount) -> Option<String> {
    asked.subpath.as_ref().map(|below| format!("subpath={}", below.display()))
}

fn bind_of_user(asked: &Mount, source: &Path, mut options: Vec<String>, facts: &Facts) -> OciMount {
    if !options.iter().any(|word| word == "bind" || word == "rbind") {
        options.push("rbind".to_owned());
    }
    let named = |word: &&str| {
        matches!(*word, "shared" | "rshared" | "slave" | "rslave" | "private" | "rprivate")
    };
    if !options.iter().map(String::as_str).any(|word| named(&word)) {
        options.push("rprivate".to_owned());
    }
    // With our own users, there is nothing to map by.
    if asked.idmap && facts.own_users {
        options.push("idmap".to_owned());
    }
    options.extend(part_of(asked));
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    bind(source, &asked.target, &options)
}

pub(super) fn bind(source: &Path, target: &Path, options: &[&str]) -> OciMount {
    mount(target, "bind", source, options)
}

pub(in crate::engine) fn mount(
    target: impl Into<PathBuf>,
    kind: &str,
    source: impl Into<PathBuf>,
    options: &[&str],
) -> OciMount {
    let mut mount = OciMount::default();
    mount
        .set_destination(target.into())
        .set_typ(Some(kind.to_owned()))
        .set_source(Some(source.into()))
        .set_options(Some(options.iter().map(|&option| option.to_owned()).collect()));
    mount
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_tree_leaves_the_store_out() {
        let list = |dir: &Path| -> Vec<PathBuf> {
            let names: &[&str] = match dir.to_str() {
                Some("/") => &["etc", "home", "root", "run", "tmp", "usr", "var"],
                Some("/var") => &["cache", "lib", "tmp"],
                Some("/var/lib") => &["barge", "dpkg"],
                _ => &[],
            };
            names.iter().map(|name| dir.join(name)).collect()
        };
        let tree = tree_of_host(Path::new("/var/lib/barge"), &[], Path::new("/c"), list);
        let paths: Vec<_> = tree.iter().map(|dir| dir.path.to_str().unwrap()).collect();
        assert_eq!(paths, ["/etc", "/usr", "/var/cache", "/var/lib/dpkg"]);
        assert_eq!(tree[3].upper, Path::new("/c/var%lib%dpkg/upper"));
        let store = Path::new("/home/me/store");
        let elsewhere = tree_of_host(store, &[], Path::new("/c"), list);
        assert_eq!(elsewhere.len(), 3);
        let mounts = ["/", "/usr", "/home/me/x", "/var/lib/dpkg"].map(PathBuf::from);
        let mounted = tree_of_host(store, &mounts, Path::new("/c"), list);
        let paths: Vec<_> = mounted.iter().map(|dir| dir.path.to_str().unwrap()).collect();
        assert_eq!(paths, ["/etc", "/usr", "/var/cache", "/var/lib/barge", "/var/lib/dpkg"]);
    }
}
