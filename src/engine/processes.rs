//! The processes of a container, seen from outside: no program of the container is run for that.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};

use super::{Engine, now};
use crate::error::{Error, Kind, Result};
use crate::runtime::cgroup::{Cgroup, Hierarchies};
use crate::sys::root::Root;

/// The processes of a container.
#[derive(Clone, Debug, Default)]
pub struct Processes {
    /// In the order of their numbers in the container.
    pub list: Vec<Process>,
    /// Users and groups by the container's own files.
    pub inside: Names,
    /// Users and groups by this machine's files.
    pub outside: Names,
}

/// One process.
#[derive(Clone, Debug, Default)]
pub struct Process {
    /// Its number in the container.
    pub pid: i32,
    /// Its parent's number there; 0 if the parent is outside.
    pub parent: i32,
    /// Its process group there.
    pub group: i32,
    /// Its session there.
    pub session: i32,
    /// Its number on this machine.
    pub host_pid: i32,
    /// Name of the program.
    pub name: String,
    /// Program and arguments; for a process that shows none, its name in brackets.
    pub words: String,
    /// Letter of its state, as in `S`.
    pub state: String,
    /// Real and effective user, as the container sees them.
    pub users: [u32; 2],
    /// Real and effective group.
    pub groups: [u32; 2],
    /// Further groups.
    pub further: Vec<u32>,
    /// Effective user and group on this machine.
    pub host: [u32; 2],
    /// Further groups on this machine.
    pub host_further: Vec<u32>,
    /// Capabilities: inheritable, permitted, effective, bounding, ambient.
    pub capabilities: [u64; 5],
    /// How system calls are filtered: 0 not at all, 2 by a filter.
    pub seccomp: u32,
    /// Number of its terminal; 0 if it has none.
    pub terminal: u32,
    /// Niceness.
    pub nice: i64,
    /// How many threads it has.
    pub threads: u64,
    /// Bytes of its address space.
    pub size: u64,
    /// Bytes of it that are in memory.
    pub resident: u64,
    /// Processor time that it has used.
    pub time: Duration,
    /// How long it has existed.
    pub elapsed: Duration,
    /// When it was started, in nanoseconds since 1970.
    pub started: i64,
    /// Its control group.
    pub cgroup: String,
    /// Its label of a security module; empty if there is none.
    pub label: String,
}

/// Names of users and groups by their numbers.
#[derive(Clone, Debug, Default)]
pub struct Names {
    users: BTreeMap<u32, String>,
    groups: BTreeMap<u32, String>,
}

impl Names {
    /// Returns a user's name, or the number if there is none.
    pub fn user(&self, id: u32) -> String {
        self.users.get(&id).cloned().unwrap_or_else(|| id.to_string())
    }

    /// Returns a group's name, or the number if there is none.
    pub fn group(&self, id: u32) -> String {
        self.groups.get(&id).cloned().unwrap_or_else(|| id.to_string())
    }

    /// Reads the files below a root directory; where there are none, there are no names.
    fn below(root: &Path) -> Self {
        // More than any sensible file; it is the container's.
        const LARGEST: u64 = 16 << 20;
        let Ok(root) = Root::open(root) else { return Self::default() };
        let read = |path: &str| {
            let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
            let file = fs::File::from(root.file(path.as_bytes(), flags, Mode::empty()).ok()?);
            let mut text = Vec::new();
            if file.metadata().ok()?.is_file() {
                use std::io::Read;
                file.take(LARGEST).read_to_end(&mut text).ok()?;
            }
            Some(by_number(&String::from_utf8_lossy(&text)))
        };
        Self {
            users: read("etc/passwd").unwrap_or_default(),
            groups: read("etc/group").unwrap_or_default(),
        }
    }
}

/// Reads lines of `NAME:PASSWORD:NUMBER:…`; of several names for a number, the first one counts.
fn by_number(text: &str) -> BTreeMap<u32, String> {
    let mut names = BTreeMap::new();
    for line in text.lines() {
        let mut fields = line.split(':');
        if let (Some(name), Some(Ok(number))) = (fields.next(), fields.nth(1).map(str::parse)) {
            names.entry(number).or_insert_with(|| name.to_owned());
        }
    }
    names
}

impl Processes {
    /// Returns processes as this machine sees them.
    pub(super) fn on_machine(pids: &[i32]) -> Self {
        let seen = |pid: &i32| {
            let process = View::of(*pid).read(*pid)?;
            let [uid, gid] = process.host;
            Some(Process { pid: *pid, users: [uid; 2], groups: [gid; 2], ..process })
        };
        let names = || Names::below(Path::new("/"));
        Self { list: pids.iter().filter_map(seen).collect(), inside: names(), outside: names() }
    }
}

impl Engine {
    /// Returns the processes of a running container.
    pub fn processes(&self, name: &str) -> Result<Processes> {
        let container = self.lookup(name)?;
        let Some(run) = container.state.run() else {
            return Err(Error::new(
                Kind::Conflict,
                format!("top can only be used on running containers: container {name} is {}: container state improper", container.state.word()),
            )
            .hint(format!("start it with `barge start {name}`")));
        };
        let own_processes = container.config.settings.namespaces.pid.is_own();
        let view = View::of(run.pid);
        let mut list: Vec<Process> = members(run.pid, &run.cgroup, own_processes)?
            .into_iter()
            .filter_map(|pid| view.read(pid))
            .collect();
        let inside: BTreeMap<i32, i32> = list.iter().map(|it| (it.host_pid, it.pid)).collect();
        for process in &mut list {
            process.parent = inside.get(&process.parent).copied().unwrap_or(0);
        }
        list.sort_by_key(|process| process.pid);
        Ok(Processes {
            list,
            inside: Names::below(Path::new(&format!("/proc/{}/root", run.pid))),
            outside: Names::below(Path::new("/")),
        })
    }
}

/// Finds all processes of a container: by its control group, or without one by their ancestors and
/// the process namespace.
pub(super) fn members(first: i32, cgroup: &str, own_processes: bool) -> Result<Vec<i32>> {
    let cgroup = Cgroup::open(&Hierarchies::detect()?, cgroup)?;
    if !cgroup.is_none() {
        return cgroup.processes();
    }
    let namespace = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let own = own_processes.then(|| namespace(first)).flatten();
    let mut parents = BTreeMap::new();
    let mut found = BTreeSet::from([first]);
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        if own.is_some() && namespace(pid) == own {
            found.insert(pid);
        }
        if let Some(stat) = stat(pid) {
            parents.insert(pid, stat.number(PARENT));
        }
    }
    // Children of children may have lower numbers: until nobody is added.
    loop {
        let before = found.len();
        for (pid, parent) in &parents {
            if found.contains(&(*parent as i32)) {
                found.insert(*pid);
            }
        }
        if found.len() == before {
            return Ok(found.into_iter().collect());
        }
    }
}

/// Places in `/proc/PID/stat` after the name.
const PARENT: usize = 1;
const TERMINAL: usize = 4;
const USER_TIME: usize = 11;
const SYSTEM_TIME: usize = 12;
const NICE: usize = 16;
const THREADS: usize = 17;
const START_TIME: usize = 19;
const SIZE: usize = 20;
const RESIDENT: usize = 21;

/// What `/proc/PID/stat` says.
struct Stat {
    name: String,
    fields: Vec<String>,
}

impl Stat {
    fn number(&self, place: usize) -> i64 {
        self.fields.get(place).and_then(|field| field.parse().ok()).unwrap_or(0)
    }
}

fn stat(pid: i32) -> Option<Stat> {
    let text = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let text = String::from_utf8_lossy(&text);
    // The name, in parentheses, may contain anything.
    let (start, end) = (text.find('(')? + 1, text.rfind(')')?);
    let fields = text.get(end + 2..)?.split_whitespace().map(str::to_owned).collect();
    Some(Stat { name: text.get(start..end)?.to_owned(), fields })
}

/// From which namespaces processes are to be seen, and the clocks of this machine.
struct View {
    /// Which of a process's numbers is that in the container.
    level: usize,
    users: Map,
    groups: Map,
    own_users: Map,
    own_groups: Map,
    uptime: f64,
    ticks: f64,
    page: u64,
}

impl View {
    /// Makes the view that a container's first process has.
    fn of(pid: i32) -> Self {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let levels = field(&status, "NSpid:").split_whitespace().count();
        let namespace = |who: &str| fs::read_link(format!("/proc/{who}/ns/user")).ok();
        let same = namespace("self") == namespace(&pid.to_string());
        let map = |kind: &str| match same {
            true => Map::default(),
            false => Map::read(&format!("/proc/{pid}/{kind}_map")),
        };
        let uptime = fs::read_to_string("/proc/uptime").unwrap_or_default();
        Self {
            level: levels.saturating_sub(1),
            users: map("uid"),
            groups: map("gid"),
            own_users: Map::read("/proc/self/uid_map"),
            own_groups: Map::read("/proc/self/gid_map"),
            uptime: uptime.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or(0.0),
            ticks: rustix::param::clock_ticks_per_second() as f64,
            page: rustix::param::page_size() as u64,
        }
    }

    /// Reads a process; `None` if it has ended.
    fn read(&self, pid: i32) -> Option<Process> {
        let stat = stat(pid)?;
        let status = fs::read(format!("/proc/{pid}/status")).ok()?;
        let status = String::from_utf8_lossy(&status);
        let seen = |key: &str| -> i32 {
            let all = field(&status, key);
            all.split_whitespace().nth(self.level).and_then(|it| it.parse().ok()).unwrap_or(0)
        };
        let numbers = |key: &str| -> Vec<u32> {
            field(&status, key).split_whitespace().filter_map(|it| it.parse().ok()).collect()
        };
        let bits = |key: &str| u64::from_str_radix(field(&status, key), 16).unwrap_or(0);
        let pair = |ids: &[u32]| [0, 1].map(|index| ids.get(index).copied().unwrap_or(0));
        let (users, groups, further) = (numbers("Uid:"), numbers("Gid:"), numbers("Groups:"));
        let (users, groups) = (pair(&users), pair(&groups));
        let at = |place| stat.number(place).max(0) as u64;
        let seconds = |place| stat.number(place) as f64 / self.ticks;
        let elapsed = (self.uptime - seconds(START_TIME)).max(0.0);
        let elapsed = Duration::from_secs_f64(elapsed);
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words = String::from_utf8_lossy(&words).trim_end_matches('\0').replace('\0', " ");
        let cgroup = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        let cgroup = cgroup.lines().last().and_then(|line| line.splitn(3, ':').nth(2));
        let label = fs::read_to_string(format!("/proc/{pid}/attr/current")).unwrap_or_default();
        Some(Process {
            pid: seen("NSpid:"),
            // The caller knows what number that is in the container.
            parent: i32::try_from(stat.number(PARENT)).unwrap_or(0),
            group: seen("NSpgid:"),
            session: seen("NSsid:"),
            host_pid: pid,
            words: if words.is_empty() { format!("[{}]", stat.name) } else { words },
            state: stat.fields.first().cloned().unwrap_or_default(),
            users: users.map(|id| self.users.inside(id)),
            groups: groups.map(|id| self.groups.inside(id)),
            further: further.iter().map(|id| self.groups.inside(*id)).collect(),
            host: [self.own_users.outside(users[1]), self.own_groups.outside(groups[1])],
            host_further: further.iter().map(|id| self.own_groups.outside(*id)).collect(),
            capabilities: ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"].map(bits),
            seccomp: field(&status, "Seccomp:").parse().unwrap_or(0),
            terminal: stat.number(TERMINAL) as u32,
            nice: stat.number(NICE),
            threads: at(THREADS),
            size: at(SIZE),
            resident: at(RESIDENT) * self.page,
            time: Duration::from_secs_f64(seconds(USER_TIME) + seconds(SYSTEM_TIME)),
            started: now() - i64::try_from(elapsed.as_nanos()).unwrap_or(0),
            elapsed,
            cgroup: cgroup.unwrap_or_default().to_owned(),
            label: label.trim_end_matches(['\0', '\n']).to_owned(),
            name: stat.name,
        })
    }
}

fn field<'a>(status: &'a str, key: &str) -> &'a str {
    status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default().trim()
}

/// How a user namespace numbers users: first inside, first outside, how many. Empty changes nothing.
#[derive(Default)]
struct Map(Vec<[u32; 3]>);

impl Map {
    fn read(path: &str) -> Self {
        Self::parse(&fs::read_to_string(path).unwrap_or_default())
    }

    fn parse(text: &str) -> Self {
        let line = |line: &str| -> Option<[u32; 3]> {
            let numbers: Vec<u32> =
                line.split_whitespace().filter_map(|it| it.parse().ok()).collect();
            numbers.try_into().ok()
        };
        Self(text.lines().filter_map(line).collect())
    }

    fn inside(&self, id: u32) -> u32 {
        let found = self.0.iter().find(|[_, outside, count]| {
            id.checked_sub(*outside).is_some_and(|offset| offset < *count)
        });
        found.map_or(id, |[inside, outside, _]| inside + (id - outside))
    }

    fn outside(&self, id: u32) -> u32 {
        let found = self.0.iter().find(|[inside, _, count]| {
            id.checked_sub(*inside).is_some_and(|offset| offset < *count)
        });
        found.map_or(id, |[inside, outside, _]| outside + (id - inside))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_users_both_ways() {
        let map =
            Map::parse("         0       1000          1\n         1     100000      65536\n");
        for (inside, outside) in [(0, 1000), (1, 100_000), (65_536, 165_535)] {
            assert_eq!((map.inside(outside), map.outside(inside)), (inside, outside));
        }
        // What is in no range stays.
        assert_eq!((map.inside(5), map.outside(70_000)), (5, 70_000));
        assert_eq!(Map::default().inside(7), 7);
    }

    #[test]
    fn reads_this_process() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let process = View::of(pid).read(pid).unwrap();
        assert_eq!((process.pid, process.host_pid), (pid, pid));
        assert!(process.resident > 0 && process.size >= process.resident && process.threads > 0);
        assert!(process.words.contains("barge"), "{}", process.words);
        assert_eq!(process.users[1], rustix::process::geteuid().as_raw());
    }

    #[test]
    fn the_first_name_of_a_number_counts() {
        let names = by_number("root:x:0:0::/:/bin/sh\ntoor:x:0:0::/:\nbad\nann:x:7:7::/:\n");
        assert_eq!(names.into_iter().collect::<Vec<_>>(), [(0, "root".into()), (7, "ann".into())]);
    }
}
