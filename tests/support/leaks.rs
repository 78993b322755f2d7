//! What a store may leave behind: processes, mounts, control groups, firewall rules, interfaces, files.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::place::Place;

/// A process of this machine, looked at through /proc.
pub(crate) struct Process {
    /// Its process ID.
    pub(crate) pid: u32,
}

/// Lists the processes of this machine.
pub(crate) fn processes() -> Vec<Process> {
    let entries = fs::read_dir("/proc").expect("/proc is mounted");
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .map(|pid| Process { pid })
        .collect()
}

impl Process {
    fn file(&self, name: &str) -> String {
        // It may be gone, or belong to somebody else.
        let bytes = fs::read(format!("/proc/{}/{name}", self.pid)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).replace('\0', " ")
    }

    /// Returns its arguments, separated by spaces.
    pub(crate) fn command_line(&self) -> String {
        self.file("cmdline").trim_end().to_owned()
    }

    /// Tells whether one of its descriptors is `link`.
    pub(crate) fn has_open(&self, link: &str) -> bool {
        let Ok(entries) = fs::read_dir(format!("/proc/{}/fd", self.pid)) else { return false };
        entries
            .flatten()
            .any(|entry| fs::read_link(entry.path()).is_ok_and(|target| target == Path::new(link)))
    }

    /// Tells whether it has ended and only waits for its parent to notice.
    pub(crate) fn is_zombie(&self) -> bool {
        self.file("stat").rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'))
    }

    /// Returns the line of a file of it that contains one of `words`.
    fn line_with(&self, name: &str, words: &[&str]) -> Option<String> {
        let text = self.file(name);
        text.lines().find(|line| words.iter().any(|word| line.contains(word))).map(str::to_owned)
    }
}

/// What is looked for.
pub(crate) struct Traces<'a> {
    /// The directory of the test.
    pub(crate) directory: &'a Path,
    /// A word in the environment of all that the test has started.
    pub(crate) marker: &'a str,
    /// The IDs of all containers that are known to have existed.
    pub(crate) ids: &'a BTreeSet<String>,
    /// Where the test ran.
    pub(crate) place: &'a Place,
    /// The durable directory of its store.
    pub(crate) root: PathBuf,
    /// The other directory of its store.
    pub(crate) runroot: PathBuf,
}

impl Traces<'_> {
    /// Returns the processes that belong to the store.
    pub(crate) fn processes(&self) -> Vec<Process> {
        let directory = self.directory.to_string_lossy();
        let words = [self.marker, &directory];
        let ids: Vec<&str> = self.ids.iter().map(String::as_str).collect();
        // Another test may use the same image, and name it by the same ID.
        let is_monitor = |process: &Process| {
            let line = process.command_line();
            let rest = line.strip_prefix("barge: monitor ");
            rest.is_some_and(|rest| ids.iter().any(|id| rest.starts_with(&id[..12])))
        };
        let mine = std::process::id();
        processes()
            .into_iter()
            .filter(|process| {
                process.pid != mine
                    && !process.is_zombie()
                    && (process.line_with("environ", &words).is_some()
                        || process.line_with("cmdline", &words).is_some()
                        || is_monitor(process)
                        || process.line_with("cgroup", &ids).is_some()
                        || process.line_with("mountinfo", &words).is_some())
            })
            .collect()
    }

    /// Lists everything that is left of the store's containers; empty if all is well.
    pub(crate) fn left(&self) -> Vec<String> {
        let mut left: Vec<String> = self
            .processes()
            .iter()
            .map(|process| format!("process {}: {}", process.pid, process.command_line()))
            .collect();
        let directory = self.directory.to_string_lossy();
        let own = Process { pid: std::process::id() };
        left.extend(own.line_with("mountinfo", &[&directory]).map(|line| format!("mount {line}")));
        left.extend(self.cgroups().iter().map(|path| format!("control group {}", path.display())));
        left.extend(self.files().iter().map(|path| format!("file {}", path.display())));
        if self.place.has_network() {
            left.extend(self.network());
        }
        left
    }

    /// Lists the control groups of its containers.
    pub(crate) fn cgroups(&self) -> Vec<PathBuf> {
        cgroup_mounts()
            .iter()
            .flat_map(|mount| self.ids.iter().map(move |id| mount.join("barge").join(id)))
            .filter(|path| path.exists())
            .collect()
    }

    fn files(&self) -> Vec<PathBuf> {
        let places = [
            self.root.join("containers"),
            self.root.join("names"),
            self.root.join("tmp"),
            self.runroot.join("containers"),
        ];
        let mut left: Vec<PathBuf> = places.iter().flat_map(|place| entries(place)).collect();
        left.extend(files_below(&self.runroot.join("networks")).into_iter().filter(|path| {
            // What the network itself is may stay; what speaks of a container may not.
            // A lease is a link to its holder, and a name's holder is the name of a link.
            let target = fs::read_link(path).map(|it| it.to_string_lossy().into_owned());
            let text = target.or_else(|_| fs::read_to_string(path)).unwrap_or_default();
            let says = |text: &str| self.ids.iter().any(|id| text.contains(id.as_str()));
            says(&text) || says(&path.to_string_lossy())
        }));
        left
    }

    fn network(&self) -> Vec<String> {
        let show = |program: &str, arguments: &[&str]| {
            let output = self.place.enter(|| Command::new(program).args(arguments).output());
            output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        };
        let mut left = Vec::new();
        let links = show("ip", &["-o", "link", "show", "type", "veth"]).expect("iproute2 is there");
        left.extend(
            links
                .lines()
                .filter(|line| !line.contains(": far0"))
                .map(|line| format!("interface {line}")),
        );
        let rules = show("nft", &["list", "ruleset"]).expect("nftables is there");
        for line in rules.lines().map(str::trim) {
            let of_container = self.ids.iter().any(|id| line.contains(&id[..12]));
            if of_container || (line.starts_with("elements") && line.contains(':')) {
                left.push(format!("firewall {line}"));
            }
        }
        left
    }
}

/// Returns the mount points of all control group hierarchies.
pub(crate) fn cgroup_mounts() -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("/proc is mounted");
    mounts
        .lines()
        .filter(|line| line.contains(" - cgroup ") || line.contains(" - cgroup2 "))
        .filter_map(|line| line.split(' ').nth(4).map(PathBuf::from))
        .collect()
}

/// Lists a directory; nothing if it is not there.
pub(crate) fn entries(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// Lists all files below a directory that are not directories.
pub(crate) fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in entries(directory) {
        if path.is_dir() && !path.is_symlink() {
            found.extend(files_below(&path));
        } else {
            found.push(path);
        }
    }
    found
}
