//! `info` and `system check`: what this machine and this store are like.

use super::{Engine, EngineOptions, Host};
use crate::error::Result;
use crate::net;
use crate::runtime;
use crate::spec::platform::Platform;
use crate::spec::size::HumanSize;
use crate::spec::storage::DriverName;
use crate::store::container::Status;
use crate::sys::check::Check;

/// What can be told about this machine and this store.
#[derive(Clone, Debug)]
pub struct Info {
    /// How many containers there are: running, paused, and all.
    pub containers: Counts,
    /// How many images there are.
    pub images: usize,
    /// Version of the control groups: 1 or 2; hybrid machines count as 1.
    pub cgroup_version: u8,
    /// Controllers that can be used.
    pub controllers: Vec<String>,
    /// Release of the kernel.
    pub kernel: String,
    /// Name of the machine.
    pub hostname: String,
    /// Name and version of the distribution.
    pub distribution: (String, String),
    /// What the distribution calls itself, with its version.
    pub system_name: String,
    /// Processor, in Go's words, as in `amd64`.
    pub architecture: String,
    /// How many processors there are.
    pub processors: usize,
    /// Bytes of memory: all, and free.
    pub memory: (u64, u64),
    /// Bytes of swap: all, and free.
    pub swap: (u64, u64),
    /// Seconds since boot.
    pub uptime: u64,
    /// Type of the file system that the store is on.
    pub file_system: String,
    /// Path of pasta, if it is installed.
    pub pasta: Option<String>,
}

/// How many containers there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Those that run.
    pub running: usize,
    /// Those that are paused.
    pub paused: usize,
    /// Those that do not run.
    pub stopped: usize,
}

impl Engine {
    /// Looks at the machine and the store.
    pub fn info(&self) -> Result<Info> {
        let mut counts = Counts::default();
        for container in self.list()? {
            match &container.state.status {
                Status::Running(run) if run.paused => counts.paused += 1,
                Status::Running(_) => counts.running += 1,
                _ => counts.stopped += 1,
            }
        }
        let hierarchies = runtime::cgroup::Hierarchies::detect()?;
        let system = rustix::system::uname();
        let memory = read("/proc/meminfo");
        let bytes = |name: &str| {
            let line = memory.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
            number.unwrap_or(0) * 1024
        };
        let release = read("/etc/os-release");
        let of_release = |name: &str| {
            let value = release.lines().find_map(|line| line.strip_prefix(name));
            value.unwrap_or_default().trim_matches('"').to_owned()
        };
        let uptime = read("/proc/uptime");
        Ok(Info {
            containers: counts,
            images: self.store.images().count()?,
            cgroup_version: match hierarchies.mode() {
                runtime::cgroup::Mode::V2 => 2,
                _ => 1,
            },
            controllers: hierarchies.controllers(),
            kernel: system.release().to_string_lossy().into_owned(),
            hostname: system.nodename().to_string_lossy().into_owned(),
            distribution: (of_release("ID="), of_release("VERSION_ID=")),
            system_name: of_release("PRETTY_NAME="),
            architecture: Platform::host().architecture,
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            memory: (bytes("MemTotal:"), bytes("MemAvailable:")),
            swap: (bytes("SwapTotal:"), bytes("SwapFree:")),
            uptime: uptime.split('.').next().and_then(|it| it.parse().ok()).unwrap_or(0),
            file_system: self.store.file_system()?,
            pasta: find_program("pasta"),
        })
    }
}

impl Engine {
    /// Finds out what this machine has and lacks for containers. A store that cannot be opened is one
    /// finding among others.
    ///
    /// To be called without power: a user namespace would hide what a user lacks.
    pub fn check(options: &EngineOptions) -> Result<Vec<Check>> {
        let host = Host::look()?;
        let mut checks = runtime::doctor();
        match Self::open(options) {
            Ok(engine) => checks.extend([engine.check_driver(), engine.check_place()]),
            Err(error) => checks.push(Check::bad(
                "store",
                error.to_string(),
                error.hint_text().unwrap_or("name a directory of yours with --root and --runroot"),
            )),
        }
        checks.extend(net::checks(host.rootless));
        checks.extend(programs());
        Ok(checks)
    }

    /// Looks at how the file system of the store is mounted.
    fn check_place(&self) -> Check {
        let name = "store";
        let place = self.store.root().display();
        let Ok(facts) = rustix::fs::statvfs(self.store.root()) else {
            let hint = "name another directory with --root";
            return Check::bad(name, format!("{place} cannot be looked at"), hint);
        };
        let flags = facts.f_flag;
        let noexec = flags.contains(rustix::fs::StatVfsMountFlags::NOEXEC);
        let nodev = flags.contains(rustix::fs::StatVfsMountFlags::NODEV);
        let free = facts.f_bavail * facts.f_frsize;
        let hint = "name a directory elsewhere with --root";
        if noexec {
            return Check::bad(name, format!("{place} is mounted noexec: no program runs"), hint);
        }
        if nodev && !self.host.rootless {
            return Check::bad(name, format!("{place} is mounted nodev: no device works"), hint);
        }
        if free < LEAST_SPACE {
            let text = format!("{place} has {} of space left", HumanSize(free));
            return Check::bad(name, text, "free some with `barge system prune -a`");
        }
        Check::good(name, format!("{place} has {} of space left", HumanSize(free)))
    }

    fn check_driver(&self) -> Check {
        let place = self.store.root().display();
        let on = self.store.file_system().map(|name| format!(" ({name})")).unwrap_or_default();
        let how = match self.store.driver() {
            DriverName::Overlay => "layers are mounted",
            DriverName::Vfs => "each container has a copy of its image",
            DriverName::Btrfs => "each container has a snapshot of its image",
        };
        Check::good("storage driver", format!("{} in {place}{on}: {how}", self.store.driver()))
    }
}

/// Space that even small images need.
const LEAST_SPACE: u64 = 100 << 20;

/// Looks for programs that some commands start; everything else works without them.
fn programs() -> Vec<Check> {
    [
        ("gpg", "signatures of GPG can be made", "gnupg", "no image is signed with GPG"),
        (
            "ssh",
            "images can be sent to other machines",
            "openssh-client",
            "`image scp` does not work",
        ),
    ]
    .map(|(name, works, package, lacks)| match find_program(name) {
        Some(path) => Check::good(name, format!("{path}: {works}")),
        None => Check::good(name, format!("not found: {lacks} (package {package})")),
    })
    .into()
}

/// Finds a program in the directories of `PATH`.
fn find_program(name: &str) -> Option<String> {
    let path = std::env::var_os("PATH")?;
    let found = std::env::split_paths(&path).map(|dir| dir.join(name)).find(|it| it.is_file())?;
    Some(found.display().to_string())
}

/// Reads a file of facts; one that is not there tells nothing.
fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}
