//! Where something is mounted in a container.

use std::path::{Component, Path, PathBuf};

use super::{Mount, MountSource};
use crate::error::{Error, Kind, Result};

/// Files of /proc that a mount may cover: they tell what a container has of the machine, and protect
/// nothing.
const COVERABLE: [&str; 10] = [
    "cpuinfo",
    "diskstats",
    "loadavg",
    "meminfo",
    "net/dev",
    "slabinfo",
    "stat",
    "swaps",
    "sys/kernel/ns_last_pid",
    "uptime",
];

impl Mount {
    /// Makes a mount without options at an absolute path of the container.
    pub fn new(source: MountSource, target: &str) -> Result<Self> {
        let path = Path::new(target);
        if !path.is_absolute() {
            return Err(Error::new(
                Kind::Invalid,
                format!("invalid container path \"{target}\", must be an absolute path"),
            ));
        }
        let (target_text, target) = (target, cleaned(path));
        let is_the_kernel_s = target.strip_prefix("/proc").is_ok_and(|below| {
            !below.as_os_str().is_empty() && !COVERABLE.iter().any(|path| below == Path::new(path))
        });
        if is_the_kernel_s {
            return Err(Error::new(
                Kind::Invalid,
                format!(
                    "invalid container path \"{target_text}\": nothing can be mounted inside /proc"
                ),
            )
            .hint(format!("but over these: {}", COVERABLE.join(", "))));
        }
        if target == Path::new("/") {
            return Err(Error::new(
                Kind::Invalid,
                "invalid container path \"/\": nothing can be mounted over the root",
            ));
        }
        Ok(Self {
            source,
            target,
            read_only: false,
            options: Vec::new(),
            subpath: None,
            chown: false,
            idmap: false,
            overlay: None,
            by_fields: false,
        })
    }
}

/// Resolves `.` and `..` without a look at what is there, as Docker does with paths in containers.
fn cleaned(path: &Path) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::ParentDir => drop(clean.pop()),
            Component::Normal(name) => clean.push(name),
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    clean
}
