//! What can be shown of a process.

use std::fs;
use std::time::Duration;

use crate::engine::{Process, Processes};
use crate::error::{Error, Kind, Result};
use crate::runtime::capability::CapabilitySet;
use crate::spec::{duration, time};

/// A column of the table.
pub(super) struct Column {
    /// What stands over it.
    pub(super) heading: String,
    /// What it shows of a process.
    pub(super) value: Value,
}

type Value = fn(&Process, &Processes) -> String;

/// Podman's names, its letters after `%`, headings and values.
const PODMAN: &[(&str, &str, &str, Value)] = &[
    ("args", "%a", "COMMAND", |it, _| it.words.clone()),
    ("capamb", "", "AMBIENT CAPS", |it, _| capabilities(it.capabilities[4])),
    ("capbnd", "", "BOUNDING CAPS", |it, _| capabilities(it.capabilities[3])),
    ("capeff", "", "EFFECTIVE CAPS", |it, _| capabilities(it.capabilities[2])),
    ("capinh", "", "INHERITED CAPS", |it, _| capabilities(it.capabilities[0])),
    ("capprm", "", "PERMITTED CAPS", |it, _| capabilities(it.capabilities[1])),
    ("cgroup", "", "CGROUP", |it, _| it.cgroup.clone()),
    ("comm", "%c", "COMMAND", |it, _| it.name.clone()),
    ("etime", "%t", "ELAPSED", |it, _| duration::go(it.elapsed)),
    ("group", "%G", "GROUP", |it, all| all.inside.group(it.groups[1])),
    ("groups", "", "GROUPS", |it, all| list(it.further.iter().map(|id| all.inside.group(*id)))),
    ("hgroup", "", "HGROUP", |it, all| all.outside.group(it.host[1])),
    ("hgroups", "", "HGROUPS", |it, all| {
        list(it.host_further.iter().map(|id| all.outside.group(*id)))
    }),
    ("hpid", "", "HPID", |it, _| it.host_pid.to_string()),
    ("huser", "", "HUSER", |it, all| all.outside.user(it.host[0])),
    ("label", "", "LABEL", |it, _| known(&it.label)),
    ("nice", "%n", "NI", |it, _| it.nice.to_string()),
    ("pcpu", "%C", "%CPU", |it, _| format!("{:.3}", percent(it))),
    ("pgid", "%r", "PGID", |it, _| it.group.to_string()),
    ("pid", "%p", "PID", |it, _| it.pid.to_string()),
    ("ppid", "%P", "PPID", |it, _| it.parent.to_string()),
    ("rgroup", "%g", "RGROUP", |it, all| all.inside.group(it.groups[0])),
    ("ruser", "%u", "RUSER", |it, all| all.inside.user(it.users[0])),
    ("rss", "", "RSS", |it, _| (it.resident / 1024).to_string()),
    ("seccomp", "", "SECCOMP", |it, _| seccomp(it).to_owned()),
    ("state", "", "STATE", |it, _| it.state.clone()),
    ("stime", "", "STIME", |it, _| start(it)),
    ("time", "%x", "TIME", |it, _| duration::go(it.time)),
    ("tty", "%y", "TTY", |it, _| terminal(it.terminal)),
    ("user", "%U", "USER", |it, all| all.inside.user(it.users[1])),
    ("vsz", "%z", "VSZ", |it, _| (it.size / 1024).to_string()),
];

/// Finds one of Podman's columns.
pub(super) fn of_podman(name: &str) -> Result<Column> {
    let found = PODMAN.iter().find(|(own, letter, ..)| [*own, *letter].contains(&name));
    let (_, _, heading, value) = found.ok_or_else(|| unknown(name))?;
    Ok(Column { heading: (*heading).to_owned(), value: *value })
}

/// Names of columns that ps knows, headings and values.
const PS: &[(&[&str], &str, Value)] = &[
    (&["pid", "tgid"], "PID", |it, _| it.pid.to_string()),
    (&["ppid"], "PPID", |it, _| it.parent.to_string()),
    (&["pgid", "pgrp"], "PGID", |it, _| it.group.to_string()),
    (&["sid", "sess", "session"], "SID", |it, _| it.session.to_string()),
    (&["user", "euser", "uname"], "USER", |it, all| all.inside.user(it.users[1])),
    (&["ruser"], "RUSER", |it, all| all.inside.user(it.users[0])),
    (&["euid"], "EUID", |it, _| it.users[1].to_string()),
    (&["uid"], "UID", |it, all| all.inside.user(it.users[1])),
    (&["ruid"], "RUID", |it, _| it.users[0].to_string()),
    (&["group", "egroup"], "GROUP", |it, all| all.inside.group(it.groups[1])),
    (&["rgroup"], "RGROUP", |it, all| all.inside.group(it.groups[0])),
    (&["gid", "egid"], "GID", |it, _| it.groups[1].to_string()),
    (&["comm", "ucomm"], "COMMAND", |it, _| it.name.clone()),
    (&["ucmd"], "CMD", |it, _| it.name.clone()),
    (&["args", "command"], "COMMAND", |it, _| it.words.clone()),
    (&["cmd"], "CMD", |it, _| it.words.clone()),
    (&["s", "state"], "S", |it, _| it.state.clone()),
    (&["stat"], "STAT", |it, _| stat(it)),
    (&["tty", "tt", "tname"], "TTY", |it, _| terminal(it.terminal)),
    (&["time", "cputime"], "TIME", |it, _| clock(it.time)),
    (&["etime"], "ELAPSED", |it, _| elapsed(it.elapsed)),
    (&["etimes"], "ELAPSED", |it, _| it.elapsed.as_secs().to_string()),
    (&["start", "start_time", "bsdstart"], "START", |it, _| start(it)),
    (&["stime"], "STIME", |it, _| start(it)),
    (&["%cpu", "pcpu"], "%CPU", |it, _| format!("{:.1}", percent(it))),
    (&["c"], "C", |it, _| format!("{:.0}", percent(it).min(99.0))),
    (&["%mem", "pmem"], "%MEM", |it, _| format!("{:.1}", memory(it))),
    (&["nlwp", "thcount"], "NLWP", |it, _| it.threads.to_string()),
    (&["vsz", "vsize"], "VSZ", |it, _| (it.size / 1024).to_string()),
    (&["rss", "rssize", "rsz"], "RSS", |it, _| (it.resident / 1024).to_string()),
    (&["ni", "nice"], "NI", |it, _| it.nice.to_string()),
    (&["cgroup"], "CGROUP", |it, _| it.cgroup.clone()),
];

/// Finds one of the columns of ps.
pub(super) fn of_ps(name: &str) -> Result<Column> {
    let lower = name.to_ascii_lowercase();
    let found = PS.iter().find(|(names, ..)| names.contains(&lower.as_str()));
    let (_, heading, value) = found.ok_or_else(|| unknown(name))?;
    Ok(Column { heading: (*heading).to_owned(), value: *value })
}

fn unknown(name: &str) -> Error {
    let names: Vec<&str> = PODMAN.iter().map(|(own, ..)| *own).collect();
    Error::new(Kind::Invalid, format!("unknown descriptor: `{name}`"))
        .hint(format!("known are {}", names.join(", ")))
}

fn list(names: impl Iterator<Item = String>) -> String {
    names.collect::<Vec<_>>().join(",")
}

/// Marks what is not there.
fn known(text: &str) -> String {
    if text.is_empty() { "?".to_owned() } else { text.to_owned() }
}

fn seccomp(process: &Process) -> &'static str {
    match process.seccomp {
        0 => "disabled",
        1 => "strict",
        _ => "filter",
    }
}

/// Writes the names of capabilities without `CAP_`.
fn capabilities(bits: u64) -> String {
    if bits == 0 {
        return "none".to_owned();
    }
    let last = fs::read_to_string("/proc/sys/kernel/cap_last_cap").unwrap_or_default();
    let all = last.trim().parse::<u32>().map_or(u64::MAX, |last| u64::MAX >> (63 - last.min(63)));
    if bits & all == all {
        return "full".to_owned();
    }
    let names = CapabilitySet::from_bits(bits).names();
    list(names.iter().map(|name| name.strip_prefix("CAP_").unwrap_or(name).to_owned()))
}

/// Percents of one processor over its whole life.
fn percent(process: &Process) -> f64 {
    let life = process.elapsed.as_secs_f64();
    if life == 0.0 { 0.0 } else { process.time.as_secs_f64() / life * 100.0 }
}

/// Percents of the machine's memory.
fn memory(process: &Process) -> f64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let total = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    total.map_or(0.0, |kilobytes| process.resident as f64 / 1024.0 / kilobytes * 100.0)
}

/// Writes the name of a terminal from its device number.
fn terminal(number: u32) -> String {
    let (major, minor) = (number >> 8 & 0xfff, number & 0xff | number >> 12 & 0xfff00);
    match major {
        0 => "?".to_owned(),
        136..=143 => format!("pts/{}", (major - 136) * 256 + minor),
        4 if minor < 64 => format!("tty{minor}"),
        4 => format!("ttyS{}", minor - 64),
        _ => "?".to_owned(),
    }
}

/// The state with the letters that ps adds: session leader, more threads, niceness.
fn stat(process: &Process) -> String {
    let mut text = process.state.clone();
    match process.nice {
        nice if nice < 0 => text.push('<'),
        0 => {}
        _ => text.push('N'),
    }
    if process.session == process.pid {
        text.push('s');
    }
    if process.threads > 1 {
        text.push('l');
    }
    text
}

/// Writes processor time as in `00:01:02`.
fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// Writes a time as in `3-04:05:06` or `05:06`.
fn elapsed(time: Duration) -> String {
    let seconds = time.as_secs();
    let (days, hours) = (seconds / 86_400, seconds / 3600 % 24);
    let rest = format!("{:02}:{:02}", seconds / 60 % 60, seconds % 60);
    match (days, hours) {
        (0, 0) => rest,
        (0, hours) => format!("{hours:02}:{rest}"),
        (days, hours) => format!("{days}-{hours:02}:{rest}"),
    }
}

/// Writes when it was started: the time of the day, or the date if that is longer ago.
fn start(process: &Process) -> String {
    let text = time::rfc3339_short(process.started);
    let (date, clock) = text.split_once('T').unwrap_or((&text, ""));
    if process.elapsed < Duration::from_secs(86_400) {
        return clock.chars().take(5).collect();
    }
    date.get(5..).unwrap_or(date).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_times_as_ps_does() {
        let seconds = Duration::from_secs;
        assert_eq!(clock(seconds(3723)), "01:02:03");
        for (time, want) in [(62, "01:02"), (3723, "01:02:03"), (90_000, "1-01:00:00")] {
            assert_eq!(elapsed(seconds(time)), want);
        }
    }

    #[test]
    fn names_terminals() {
        for (number, want) in [(0, "?"), (0x8800, "pts/0"), (0x8903, "pts/259"), (0x0401, "tty1")] {
            assert_eq!(terminal(number), want);
        }
    }

    #[test]
    fn names_capabilities() {
        assert_eq!(capabilities(0), "none");
        assert_eq!(capabilities(0b11), "CHOWN,DAC_OVERRIDE");
        assert_eq!(capabilities(u64::MAX), "full");
    }
}
