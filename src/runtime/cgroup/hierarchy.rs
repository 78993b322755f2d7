//! Which control group hierarchies this machine has, and where they are mounted.

use std::fs;
use std::path::{Component, Path, PathBuf};

use rustix::fs::Access;

use crate::error::{Context, Error, Kind, Result};
use crate::sys::mount;

/// Where all distributions mount control groups.
pub(super) const MOUNT: &str = "/sys/fs/cgroup";

/// Where the monitor is, in a group that was split.
const SUPERVISOR: &str = "supervisor";

/// The kinds of hierarchies that are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// None are mounted.
    None,
    /// Version 1 only.
    V1,
    /// Version 1 for the controllers, and version 2 beside them.
    Hybrid,
    /// Version 2 only.
    V2,
}

/// All mounted hierarchies.
#[derive(Clone, Debug, Default)]
pub struct Hierarchies {
    /// Version 1: each with its own controllers.
    pub(super) v1: Vec<Hierarchy>,
    /// Version 2: one for all controllers that no version 1 hierarchy has.
    pub(super) v2: Option<Hierarchy>,
}

/// One mounted hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hierarchy {
    /// Its controllers; for version 2 empty, as each group may have others.
    pub(super) controllers: Vec<String>,
    /// Mount options that select it, as in `cpu,cpuacct` or `name=systemd`.
    pub(super) options: String,
    /// Where it is mounted.
    pub(super) mount: PathBuf,
    /// Our own group's directory, if it is visible there.
    pub(super) own: Option<PathBuf>,
}

impl Hierarchies {
    /// Finds out what is mounted.
    pub fn detect() -> Result<Self> {
        let own =
            fs::read_to_string("/proc/self/cgroup").context(|| "cannot read /proc/self/cgroup")?;
        // Version 2 alone, at the usual place, needs no look at the mounts: there may be thousands.
        let unified =
            rustix::fs::statfs(MOUNT).is_ok_and(|facts| facts.f_type == libc::CGROUP2_SUPER_MAGIC);
        if unified {
            let mount = format!("0 0 0:0 / {MOUNT} rw - cgroup2 cgroup2 rw\n");
            return Ok(Self::parse(&mount, &own));
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo")
            .context(|| "cannot read /proc/self/mountinfo")?;
        Ok(Self::parse(&mounts, &own))
    }

    /// Reads `/proc/self/mountinfo` and `/proc/self/cgroup`.
    fn parse(mounts: &str, own: &str) -> Self {
        let mut found = Self::default();
        for line in mounts.lines() {
            let Some(mounted) = Mounted::parse(line) else { continue };
            let controllers: Vec<String> = match mounted.v2 {
                true => Vec::new(),
                false => mounted
                    .options
                    .split(',')
                    .filter(|option| !matches!(*option, "rw" | "ro" | "none" | "xattr"))
                    .filter(|option| !option.contains('=') || option.starts_with("name="))
                    .map(str::to_owned)
                    .collect(),
            };
            let options = controllers.join(",");
            let hierarchy = Hierarchy {
                own: own_dir(&mounted, &controllers, own),
                mount: PathBuf::from(mounted.mount),
                controllers,
                options,
            };
            // Further mounts of the same hierarchy, as containers have, tell nothing new.
            match mounted.v2 {
                true if found.v2.is_none() => found.v2 = Some(hierarchy),
                false if !found.v1.iter().any(|known| known.options == hierarchy.options) => {
                    found.v1.push(hierarchy);
                }
                _ => {}
            }
        }
        found
    }

    /// Returns the kinds of hierarchies that are there.
    pub fn mode(&self) -> Mode {
        let controllers = self.v1.iter().any(|hierarchy| !hierarchy.options.starts_with("name="));
        match (controllers, &self.v2) {
            (true, Some(_)) => Mode::Hybrid,
            (true, None) => Mode::V1,
            (false, Some(_)) => Mode::V2,
            (false, None) => Mode::None,
        }
    }

    /// Returns the version 1 hierarchy that has a controller.
    pub(super) fn v1_with(&self, controller: &str) -> Option<&Hierarchy> {
        self.v1.iter().find(|hierarchy| hierarchy.has(controller))
    }

    /// Returns the names of all controllers, of both versions.
    pub fn controllers(&self) -> Vec<String> {
        let mut all: Vec<String> = self
            .v1
            .iter()
            .flat_map(|hierarchy| hierarchy.controllers.iter().cloned())
            .filter(|name| !name.starts_with("name="))
            .collect();
        if let Some(v2) = &self.v2 {
            all.extend(words(&v2.mount.join("cgroup.controllers")));
        }
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Returns where a container's group is to be, below each mount point.
    ///
    /// Root's are at the top. Others must stay below the highest group that was delegated to them, on
    /// version 2; without one, the path is empty and stands for no group at all.
    pub fn path_for(&self, id: &str, rootless: bool) -> String {
        if !rootless {
            return format!("/barge/{id}");
        }
        match self.own_top() {
            Some((mount, top)) => match top.strip_prefix(mount).ok().and_then(Path::to_str) {
                Some(top) => format!("/{top}/barge/{id}"),
                None => String::new(),
            },
            None => String::new(),
        }
    }

    /// As [`path_for`](Self::path_for), below a group that the user names. Others than root may name one
    /// from the top or from what was delegated to them; it is below that.
    pub fn path_below(&self, parent: &str, id: &str, rootless: bool) -> String {
        if !rootless {
            return format!("/{parent}/{id}");
        }
        let top = self.own_top().and_then(|(mount, top)| top.strip_prefix(mount).ok()?.to_str());
        match top {
            None => String::new(),
            Some(top) if Path::new(parent).starts_with(top) => format!("/{parent}/{id}"),
            Some(top) => format!("/{top}/{parent}/{id}"),
        }
    }

    /// Returns where the group of a container is that is to be below our own: a unit's of systemd.
    pub fn path_beside_us(&self, id: &str) -> Result<String> {
        let (mount, top) = self.unit()?;
        let top = top.strip_prefix(mount).unwrap_or(top);
        Ok(format!("/{}/payload-{id}", top.display()))
    }

    /// Makes room for such a group: none that has processes may have groups with limits below it. So
    /// those of our own group are moved into one below it.
    pub fn make_room(&self) -> Result<()> {
        let (_, top) = self.unit()?;
        let dir = top.join(SUPERVISOR);
        match fs::create_dir(&dir) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(error).context(|| format!("cannot make {}", dir.display()));
            }
            _ => {}
        }
        let list = dir.join("cgroup.procs");
        for pid in words(&top.join("cgroup.procs")) {
            match fs::write(&list, &pid) {
                // It has ended meanwhile.
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                other => {
                    other.context(|| format!("cannot move process {pid} to {}", dir.display()))?;
                }
            }
        }
        Ok(())
    }

    /// Returns version 2's mount point, and the group of the unit that we are in.
    fn unit(&self) -> Result<(&Path, &Path)> {
        let unsupported = |text: &str| Error::new(Kind::Unsupported, text.to_owned());
        if self.mode() != Mode::V2 {
            return Err(unsupported("--cgroups=split needs control groups of version 2 alone"));
        }
        let v2 = self.v2.as_ref().and_then(|v2| Some((v2.mount.as_path(), v2.own.as_deref()?)));
        let Some((mount, own)) = v2.filter(|(mount, own)| mount != own) else {
            return Err(unsupported("--cgroups=split: there is no control group to be split")
                .hint("it is for units of systemd; see Delegate= in systemd.resource-control(5)"));
        };
        let is_supervisor = own.file_name().is_some_and(|name| name == SUPERVISOR);
        Ok((mount, own.parent().filter(|_| is_supervisor).unwrap_or(own)))
    }

    /// Returns the controllers that were delegated to us who are not root.
    pub fn delegated(&self) -> Vec<String> {
        self.own_top().map(|(_, top)| words(&top.join("cgroup.controllers"))).unwrap_or_default()
    }

    /// Returns version 2's mount point, and the highest group that was delegated to us.
    fn own_top(&self) -> Option<(&Path, &Path)> {
        let v2 = self.v2.as_ref()?;
        let own = v2.own.as_deref()?;
        // A process may be moved between groups only by who may write to a common ancestor's list.
        let writable =
            |dir: &&Path| rustix::fs::access(dir.join("cgroup.procs"), Access::WRITE_OK).is_ok();
        let top = own
            .ancestors()
            .take_while(|dir| *dir != v2.mount && dir.starts_with(&v2.mount))
            .take_while(writable)
            .last()?;
        Some((&v2.mount, top))
    }
}

impl Hierarchy {
    /// Tells whether this version 1 hierarchy has a controller.
    pub(super) fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|own| own == controller)
    }

    /// Returns the directory of a group.
    pub(super) fn dir(&self, path: &str) -> PathBuf {
        self.mount.join(path.trim_start_matches('/'))
    }
}

/// Reads the words of a file; none if it cannot be read.
pub(super) fn words(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.split_whitespace().map(str::to_owned).collect()
}

/// What a line of mountinfo says about a hierarchy.
struct Mounted {
    v2: bool,
    root: String,
    mount: String,
    options: String,
}

impl Mounted {
    /// Reads a line, as `36 35 98:0 /root /mount rw,noatime shared:1 - type source options`.
    fn parse(line: &str) -> Option<Self> {
        let (left, right) = line.split_once(" - ")?;
        let mut right = right.split(' ');
        let v2 = match right.next()? {
            "cgroup" => false,
            "cgroup2" => true,
            _ => return None,
        };
        let mut left = left.split(' ').skip(3);
        Some(Self {
            v2,
            root: mount::unescape(left.next()?),
            mount: mount::unescape(left.next()?),
            options: right.nth(1)?.to_owned(),
        })
    }
}

/// Finds our own group's directory in a hierarchy.
fn own_dir(mounted: &Mounted, controllers: &[String], own: &str) -> Option<PathBuf> {
    let path = own.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':');
        let number = fields.next()?;
        let names = fields.next()?;
        let path = fields.next()?;
        let same = match mounted.v2 {
            true => number == "0" && names.is_empty(),
            false => names.split(',').any(|name| controllers.iter().any(|own| own == name)),
        };
        same.then_some(path)
    })?;
    // The mount may show a part of the hierarchy; what is outside begins with `/..`.
    let visible = Path::new(path).strip_prefix(&mounted.root).ok()?;
    visible
        .components()
        .all(|component| matches!(component, Component::Normal(_)))
        .then(|| Path::new(&mounted.mount).join(visible))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:4 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,release_agent=/bin/x,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
52 51 0:32 /x /srv/a\\040b/memory rw,relatime - cgroup cgroup rw,memory
";

    #[test]
    fn reads_hybrid_hierarchies() {
        let own = "9:name=systemd:/\n4:memory:/jobs/7\n1:cpu,cpuacct:/\n0::/user.slice\n";
        let found = Hierarchies::parse(HYBRID, own);
        assert_eq!(found.mode(), Mode::Hybrid);
        let options: Vec<&str> = found.v1.iter().map(|one| one.options.as_str()).collect();
        assert_eq!(options, ["cpu,cpuacct", "memory", "name=systemd"]);
        assert_eq!(
            found.v1_with("cpuacct").unwrap().mount,
            Path::new("/sys/fs/cgroup/cpu,cpuacct")
        );
        let memory = found.v1_with("memory").unwrap();
        assert_eq!(memory.own.as_deref(), Some(Path::new("/sys/fs/cgroup/memory/jobs/7")));
        assert_eq!(memory.dir("/barge/x"), Path::new("/sys/fs/cgroup/memory/barge/x"));
        assert!(found.v1_with("cpu_not").is_none());
        let unified = found.v2.unwrap();
        assert_eq!(unified.own.as_deref(), Some(Path::new("/sys/fs/cgroup/unified/user.slice")));
    }

    #[test]
    fn tells_modes_apart() {
        let v1 = "1 1 0:1 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n";
        let named = "1 1 0:1 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n";
        let v2 = "1 1 0:1 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n";
        for (mounts, want) in [
            (String::new(), Mode::None),
            (v1.to_owned(), Mode::V1),
            (format!("{v1}{v2}"), Mode::Hybrid),
            (v2.to_owned(), Mode::V2),
            (format!("{named}{v2}"), Mode::V2),
            (named.to_owned(), Mode::None),
        ] {
            assert_eq!(Hierarchies::parse(&mounts, "0::/\n").mode(), want, "{mounts}");
        }
    }

    #[test]
    fn finds_the_own_group_where_a_part_is_mounted() {
        for (root, own, want) in [
            ("/", "/a/b", Some("/cg/a/b")),
            ("/", "/", Some("/cg")),
            ("/docker/1", "/docker/1/a", Some("/cg/a")),
            ("/docker/1", "/docker/2", None),
            ("/", "/../x", None),
        ] {
            let mounts = format!("1 1 0:1 {root} /cg rw - cgroup2 cgroup2 rw\n");
            let found = Hierarchies::parse(&mounts, &format!("0::{own}\n"));
            assert_eq!(found.v2.unwrap().own.as_deref(), want.map(Path::new), "{root} {own}");
        }
    }
}
