//! Control groups that systemd makes: a scope for each container, asked for over D-Bus.
//!
//! systemd applies what it knows of a unit again whenever it looks at it, so limits that it has a
//! property for are told to it as properties, and then written to the group like all others. The
//! group is ours to write to: `Delegate=`.
//!
//! A scope is made around a process. Ours stays there only until the container's first one has been
//! born into the group: see [`Scope`].

use std::convert::Infallible;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use nix::unistd::Pid;
use oci_spec::runtime::LinuxResources;

use super::limits::Setting;
use super::{Hierarchies, Mode, settings};
use crate::error::{Context, Error, Kind, Result};
use crate::sys::clone::{self, Child, fork};
use crate::sys::dbus::{self, Connection, Failure, Object, Value};
use crate::sys::process;

const MANAGER: Object<'_> = Object {
    destination: "org.freedesktop.systemd1",
    path: "/org/freedesktop/systemd1",
    interface: "org.freedesktop.systemd1.Manager",
};

/// Whose systemd is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bus {
    /// The machine's.
    System,
    /// That of the user with this number.
    User(u32),
}

/// A scope of systemd's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    name: String,
    slice: String,
    bus: Bus,
}

/// A scope that was made, with a process of ours in it so that it stays. The process ends when this
/// is dropped, or when we end.
#[derive(Debug)]
pub struct Scope {
    /// Its control group, below the mount point.
    pub path: String,
    seat: Child,
}

impl Drop for Scope {
    fn drop(&mut self) {
        // It may have ended with the scope already; it is there to be waited for even so.
        drop(process::send_signal(&self.seat.pidfd, libc::SIGKILL));
        drop(process::wait(self.seat.pidfd.as_fd()));
    }
}

impl Unit {
    /// Reads `SLICE:PREFIX:NAME`, as in `machine.slice:libpod:0123`. Without, it is the default slice
    /// and a name that is made of the container's.
    pub fn parse(text: &str, id: &str, bus: Bus) -> Result<Self> {
        let usual = match bus {
            Bus::System => "system.slice",
            Bus::User(_) => "user.slice",
        };
        let invalid = |why: &str| {
            let text = format!("invalid control group path `{text}` for systemd: {why}");
            Error::new(Kind::Invalid, text)
                .hint("write SLICE:PREFIX:NAME, as in machine.slice:barge:web")
        };
        let parts: Vec<&str> = text.split(':').collect();
        let (slice, prefix, name) = match parts[..] {
            [""] => ("", "barge", id),
            [slice, prefix, name] => (slice, prefix, name),
            _ => return Err(invalid("it has not three parts")),
        };
        let slice = if slice.is_empty() { usual } else { slice };
        if !slice.ends_with(".slice") || slice.contains('/') {
            return Err(invalid("the first part is no slice"));
        }
        if name.is_empty() || name.ends_with(".slice") {
            return Err(invalid("the last part is no name of a scope"));
        }
        let name = match prefix {
            "" => format!("{name}.scope"),
            prefix => format!("{prefix}-{name}.scope"),
        };
        let known = |letter: char| letter.is_ascii_alphanumeric() || ":-_.\\@".contains(letter);
        if name.len() > 255 || !name.chars().all(known) {
            return Err(invalid("that is no name of a unit"));
        }
        Ok(Self { name, slice: slice.to_owned(), bus })
    }

    /// One that was made before, by its name.
    pub fn named(name: &str, bus: Bus) -> Self {
        Self { name: name.to_owned(), slice: String::new(), bus }
    }

    /// Returns its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Makes the scope. `more` are properties that the container's annotations ask for.
    ///
    /// The process in it is forked: this is to be called where there is one thread.
    pub fn start(
        &self,
        hierarchies: &Hierarchies,
        id: &str,
        resources: &LinuxResources,
        more: Vec<(String, Value)>,
    ) -> Result<Scope> {
        let settings = settings(hierarchies, resources)?;
        let ours = nix::unistd::getpid();
        let seat = fork(|| sit(ours)).context(|| self.failed())?;
        let pid = seat.pid;
        let mut scope = Scope { path: String::new(), seat };
        let mut asked = vec![
            ("Description", Value::text(format!("barge container {id}"))),
            ("Slice", Value::text(&self.slice)),
        ];
        asked.extend(usual(pid));
        asked.extend(properties(&settings));
        let more = more.into_iter().filter(|(name, _)| !asked.iter().any(|(own, _)| own == name));
        let more: Vec<_> = more.collect();
        let asked: Vec<(&str, Value)> = asked
            .iter()
            .map(|(name, value)| (*name, value.clone()))
            .chain(more.iter().map(|(name, value)| (name.as_str(), value.clone())))
            .collect();
        self.launch(&asked)?;
        scope.path = group_of(pid).context(|| self.failed())?;
        Ok(scope)
    }

    fn launch(&self, properties: &[(&str, Value)]) -> Result<()> {
        let mut systemd = Systemd::connect(self.bus)?;
        systemd.subscribe().map_err(|error| self.refused(error))?;
        let call = |systemd: &mut Systemd| {
            let nothing = Value::Array("(sa(sv))", Vec::new());
            let arguments =
                [Value::text(&self.name), Value::text("replace"), list(properties), nothing];
            systemd.0.call(MANAGER, "StartTransientUnit", &arguments)
        };
        let called = match call(&mut systemd) {
            // It may be one that has failed and that nobody has cleared away.
            Err(Failure::Refused { name, .. }) if name.ends_with(".UnitExists") => {
                self.forget(&mut systemd);
                call(&mut systemd)
            }
            other => other,
        };
        let job = called.map_err(|error| self.refused(error))?;
        match systemd.finish(&job).map_err(|error| self.refused(error.into()))?.as_str() {
            "done" => Ok(()),
            result => {
                self.forget(&mut systemd);
                let text = format!("{}: its job ended as `{result}`", self.failed());
                Err(Error::new(Kind::Unavailable, text)
                    .hint(format!("see `systemctl status {}` and the journal", self.name)))
            }
        }
    }

    /// Tells systemd of other limits.
    pub fn update(&self, hierarchies: &Hierarchies, resources: &LinuxResources) -> Result<()> {
        let properties = properties(&settings(hierarchies, resources)?);
        if properties.is_empty() {
            return Ok(());
        }
        let arguments = [Value::text(&self.name), Value::Bool(true), list(&properties)];
        let set = Systemd::connect(self.bus)?.0.call(MANAGER, "SetUnitProperties", &arguments);
        set.map(drop).map_err(|error| {
            let text = format!("cannot change the limits of unit {} of systemd", self.name);
            said(error, text)
        })
    }

    /// Stops the scope and has systemd forget it; one that is gone is no failure.
    pub fn stop(&self) -> Result<()> {
        let failed = |error| said(error, format!("cannot stop unit {} of systemd", self.name));
        let mut systemd = Systemd::connect(self.bus)?;
        systemd.subscribe().map_err(failed)?;
        let arguments = [Value::text(&self.name), Value::text("replace")];
        match systemd.0.call(MANAGER, "StopUnit", &arguments) {
            Ok(job) => {
                systemd.finish(&job).map_err(|error| failed(error.into()))?;
            }
            Err(Failure::Refused { name, .. }) if name.ends_with(".NoSuchUnit") => return Ok(()),
            Err(error) => return Err(failed(error)),
        }
        self.forget(&mut systemd);
        Ok(())
    }

    /// Clears away what has failed. One that has not is not there any more.
    fn forget(&self, systemd: &mut Systemd) {
        drop(systemd.0.call(MANAGER, "ResetFailedUnit", &[Value::text(&self.name)]));
    }

    fn failed(&self) -> String {
        format!("cannot make unit {} of systemd", self.name)
    }

    fn refused(&self, error: Failure) -> Error {
        said(error, self.failed())
    }
}

/// Refuses where systemd makes no groups that we could use.
pub fn check(hierarchies: &Hierarchies) -> Result<()> {
    if hierarchies.mode() == Mode::V2 {
        return Ok(());
    }
    let text = "control groups of systemd are supported with version 2 alone";
    Err(Error::new(Kind::Unsupported, text)
        .hint("use the manager `cgroupfs`, or boot without systemd.unified_cgroup_hierarchy=0"))
}

/// Moves this process into a scope of its user's systemd, if it is where a user may not move processes
/// from: in the session of a login. From the scope, processes can be born into other groups.
pub fn leave_session(hierarchies: &Hierarchies, uid: u32) -> Result<()> {
    if !hierarchies.delegated().is_empty() {
        return Ok(());
    }
    let pid = std::process::id();
    let unit = Unit::named(&format!("barge-{pid}.scope"), Bus::User(uid));
    let pid = i32::try_from(pid).unwrap_or(0);
    let mut asked =
        vec![("Description", Value::text("barge")), ("Slice", Value::text("user.slice"))];
    asked.extend(usual(pid));
    unit.launch(&asked)
}

/// Stays until it is ended; with its parent at the latest.
fn sit(parent: Pid) -> Infallible {
    let bound = process::die_with_parent().is_ok();
    // The parent may have ended before.
    if bound && nix::unistd::getppid() == parent {
        loop {
            nix::unistd::pause();
        }
    }
    clone::exit_now(125)
}

/// What all our scopes have.
fn usual(pid: i32) -> Vec<(&'static str, Value)> {
    let mut asked = vec![
        ("PIDs", Value::Array("u", vec![Value::Uint32(pid.cast_unsigned())])),
        ("Delegate", Value::Bool(true)),
        ("DefaultDependencies", Value::Bool(false)),
        // What fails is not kept for somebody to look at: who made the container does that.
        ("CollectMode", Value::text("inactive-or-failed")),
    ];
    let counted = ["CPUAccounting", "MemoryAccounting", "IOAccounting", "TasksAccounting"];
    asked.extend(counted.map(|name| (name, Value::Bool(true))));
    asked
}

/// Returns the properties for what is to be written to the group, where systemd has any.
fn properties(settings: &[Setting]) -> Vec<(&'static str, Value)> {
    let mut found: Vec<(&'static str, Value)> = Vec::new();
    for setting in settings {
        let value = setting.value.as_str();
        let file = setting.file.as_deref().unwrap_or_default();
        let number = || amount(value).map(Value::Uint64);
        let known = match file {
            "memory.max" => number().map(|it| ("MemoryMax", it)),
            "memory.high" => number().map(|it| ("MemoryHigh", it)),
            "memory.low" => number().map(|it| ("MemoryLow", it)),
            "memory.min" => number().map(|it| ("MemoryMin", it)),
            "memory.swap.max" => number().map(|it| ("MemorySwapMax", it)),
            "pids.max" => number().map(|it| ("TasksMax", it)),
            "cpu.weight" => number().map(|it| ("CPUWeight", it)),
            "io.weight" => amount(value.trim_start_matches("default "))
                .map(|weight| ("IOWeight", Value::Uint64(weight))),
            "io.bfq.weight" => setting
                .otherwise
                .as_ref()
                .and_then(|(_, weight)| amount(weight))
                .map(|weight| ("IOWeight", Value::Uint64(weight))),
            "cpuset.cpus" => mask(value).map(|it| ("AllowedCPUs", it)),
            "cpuset.mems" => mask(value).map(|it| ("AllowedMemoryNodes", it)),
            "cpu.max" => {
                let (quota, period) = value.split_once(' ').unwrap_or((value, "100000"));
                if let (Some(quota), Some(period)) = (amount(quota), amount(period)) {
                    found.push(("CPUQuotaPerSecUSec", Value::Uint64(per_second(quota, period))));
                    found.push(("CPUQuotaPeriodUSec", Value::Uint64(period)));
                }
                None
            }
            _ => None,
        };
        found.extend(known);
    }
    found
}

/// Reads a number; `max` is systemd's infinity.
fn amount(text: &str) -> Option<u64> {
    if text == "max" { Some(u64::MAX) } else { text.parse().ok() }
}

/// Converts a quota to microseconds in a second, in steps of ten milliseconds: systemd keeps percents.
fn per_second(quota: u64, period: u64) -> u64 {
    const STEP: u64 = 10_000;
    match quota {
        u64::MAX => u64::MAX,
        quota => {
            let exact = quota.saturating_mul(1_000_000) / period.max(1);
            exact.checked_next_multiple_of(STEP).unwrap_or(u64::MAX)
        }
    }
}

/// Converts a list as `0-3,5` to a mask of bits, the lowest first.
fn mask(list: &str) -> Option<Value> {
    const HIGHEST: usize = 8191;
    let mut bytes = Vec::new();
    for part in list.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
        if last > HIGHEST {
            return None;
        }
        for number in first..=last {
            if bytes.len() <= number / 8 {
                bytes.resize(number / 8 + 1, 0_u8);
            }
            bytes[number / 8] |= 1 << (number % 8);
        }
    }
    Some(Value::Array("y", bytes.into_iter().map(Value::Byte).collect()))
}

/// Reads a property that an annotation asks for, as `org.systemd.property.NAME` with a value in the
/// text form of GVariant, of which these are read: texts, truth, numbers, lists of texts.
pub fn property(annotation: &str, value: &str) -> Option<Result<(String, Value)>> {
    let name = annotation.strip_prefix("org.systemd.property.")?;
    let invalid = || {
        let text = format!("cannot read the value `{value}` of annotation {annotation}");
        Error::new(Kind::Invalid, text)
            .hint("write it as in 'text', true, uint64 5000000 or ['one', 'two']")
    };
    let read = || match value.trim() {
        "true" => Some(Value::Bool(true)),
        "false" => Some(Value::Bool(false)),
        text if text.starts_with('[') => {
            let inner = text.strip_prefix('[')?.strip_suffix(']')?;
            let texts: Option<Vec<String>> = inner.split(',').map(unquoted).collect();
            Some(Value::texts(texts?))
        }
        text if text.starts_with(['\'', '"']) => unquoted(text).map(Value::Text),
        text => match text.split_once(' ') {
            None => text.parse().ok().map(Value::Int32),
            Some(("int32", number)) => number.trim().parse().ok().map(Value::Int32),
            Some(("uint32", number)) => number.trim().parse().ok().map(Value::Uint32),
            Some(("int64", number)) => number.trim().parse().ok().map(Value::Int64),
            Some(("uint64", number)) => number.trim().parse().ok().map(Value::Uint64),
            _ => None,
        },
    };
    Some(read().ok_or_else(invalid).map(|read| {
        // Its seconds are not those of the bus, which has microseconds.
        match (name.strip_suffix("Sec"), read) {
            (Some(base), Value::Int32(seconds)) if !name.ends_with("USec") => {
                let micro = u64::try_from(seconds).unwrap_or(0) * 1_000_000;
                (format!("{base}USec"), Value::Uint64(micro))
            }
            (_, value) => (name.to_owned(), value),
        }
    }))
}

/// Reads a quoted text without escapes.
fn unquoted(text: &str) -> Option<String> {
    let text = text.trim();
    let quote = text.chars().next().filter(|quote| matches!(quote, '\'' | '"'))?;
    let inner = text.strip_prefix(quote)?.strip_suffix(quote)?;
    (!inner.contains(['\\', quote])).then(|| inner.to_owned())
}

fn list(properties: &[(&str, Value)]) -> Value {
    let pair = |(name, value): &(&str, Value)| {
        Value::Struct(vec![Value::text(*name), Value::Variant(Box::new(value.clone()))])
    };
    Value::Array("(sv)", properties.iter().map(pair).collect())
}

/// Returns the version 2 group of a process, below the mount point.
fn group_of(pid: i32) -> io::Result<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::"));
    path.map(str::to_owned).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// A connection to systemd.
struct Systemd(Connection);

impl Systemd {
    fn connect(bus: Bus) -> Result<Self> {
        let (bus, private) = sockets(bus);
        let connected = match Connection::to_bus(&bus) {
            // Where there is no bus, systemd itself can be asked.
            Err(error) if is_nobody(&error) => Connection::to_peer(&private),
            other => other,
        };
        connected.map(Self).map_err(|error| {
            Error::new(Kind::Unavailable, format!("cannot ask systemd over {}", bus.display()))
                .caused_by(error)
                .hint("is systemd running, and for a user the package dbus-user-session installed? Otherwise use the manager `cgroupfs`")
        })
    }

    /// Asks for the ends of jobs.
    fn subscribe(&mut self) -> Result<(), Failure> {
        let rule = "type='signal',interface='org.freedesktop.systemd1.Manager',member='JobRemoved'";
        let bus = Object {
            destination: "org.freedesktop.DBus",
            path: "/org/freedesktop/DBus",
            interface: "org.freedesktop.DBus",
        };
        if self.0.is_on_bus() {
            self.0.call(bus, "AddMatch", &[Value::text(rule)])?;
        }
        match self.0.call(MANAGER, "Subscribe", &[]) {
            Err(Failure::Refused { name, .. }) if name.ends_with(".AlreadySubscribed") => Ok(()),
            other => other.map(drop),
        }
    }

    /// Waits for the end of a job, as a method has returned it; returns its result.
    fn finish(&mut self, job: &[Value]) -> io::Result<String> {
        let Some(Value::Path(job)) = job.first() else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "systemd names no job"));
        };
        loop {
            let signal = self.0.signal()?;
            if signal.member != "JobRemoved" {
                continue;
            }
            if let [_, Value::Path(path), _, Value::Text(result)] = &signal.body[..]
                && path == job
            {
                return Ok(result.clone());
            }
        }
    }
}

fn is_nobody(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

/// Returns the socket of a bus, and that of systemd itself.
fn sockets(bus: Bus) -> (PathBuf, PathBuf) {
    match bus {
        Bus::System => (dbus::system_bus(), "/run/systemd/private".into()),
        Bus::User(uid) => {
            let dir = std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty());
            let dir = dir.map_or_else(|| Path::new("/run/user").join(uid.to_string()), Into::into);
            let bus =
                dbus::socket_in("DBUS_SESSION_BUS_ADDRESS").unwrap_or_else(|| dir.join("bus"));
            (bus, dir.join("systemd/private"))
        }
    }
}

/// What systemd has said to what was asked.
fn said(failure: Failure, what: String) -> Error {
    match failure {
        Failure::Io(error) => Error::new(Kind::Unavailable, what).caused_by(error),
        Failure::Refused { name, text } => {
            let kind = match name.rsplit('.').next() {
                Some("UnitExists") => Kind::Conflict,
                Some("AccessDenied" | "InteractiveAuthorizationRequired") => Kind::Denied,
                Some("InvalidArgs" | "PropertyReadOnly") => Kind::Invalid,
                _ => Kind::Unavailable,
            };
            Error::new(kind, what).caused_by(io::Error::other(text))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_where_a_scope_is() {
        let user = Bus::User(7);
        for (text, bus, want) in [
            ("", Bus::System, Some(("system.slice", "barge-id.scope"))),
            ("", user, Some(("user.slice", "barge-id.scope"))),
            (":runc:x", Bus::System, Some(("system.slice", "runc-x.scope"))),
            ("a-b.slice:libpod:0f", user, Some(("a-b.slice", "libpod-0f.scope"))),
            ("a.slice::x", Bus::System, Some(("a.slice", "x.scope"))),
            ("/barge/x", Bus::System, None),
            ("a:b", Bus::System, None),
            ("a:b:c", Bus::System, None),
            ("a.slice:b:", Bus::System, None),
            ("a.slice:b:../c", Bus::System, None),
            ("a.slice:b:c.slice", Bus::System, None),
        ] {
            let unit = Unit::parse(text, "id", bus).ok();
            let got = unit.as_ref().map(|unit| (unit.slice.as_str(), unit.name.as_str()));
            assert_eq!(got, want, "{text}");
        }
    }

    #[test]
    fn limits_become_properties() {
        let resources: LinuxResources = serde_json::from_str(
            r#"{
                "memory": {"limit": 1000, "swap": 3000, "reservation": 500},
                "cpu": {"shares": 1024, "quota": 25000, "period": 50000, "cpus": "0-1,9"},
                "pids": {"limit": 42},
                "blockIO": {"weight": 1000},
                "unified": {"memory.high": "900", "cpu.max": "max 100000", "misc.max": "x 1"}
            }"#,
        )
        .unwrap();
        let all = super::super::limits::settings(&resources, &|_| true).unwrap();
        let mut found = properties(&all);
        found.sort_by_key(|(name, _)| *name);
        let number = |name, number| (name, Value::Uint64(number));
        let bits = Value::Array("y", vec![Value::Byte(3), Value::Byte(2)]);
        let mut want = vec![
            ("AllowedCPUs", bits),
            number("CPUQuotaPerSecUSec", 500_000),
            number("CPUQuotaPerSecUSec", u64::MAX),
            number("CPUQuotaPeriodUSec", 50_000),
            number("CPUQuotaPeriodUSec", 100_000),
            number("CPUWeight", 100),
            number("IOWeight", 10_000),
            number("MemoryHigh", 900),
            number("MemoryLow", 500),
            number("MemoryMax", 1000),
            number("MemorySwapMax", 2000),
            number("TasksMax", 42),
        ];
        want.sort_by_key(|(name, _)| *name);
        assert_eq!(found, want);
        assert_eq!(per_second(12_345, 100_000), 130_000);
    }

    #[test]
    fn annotations_are_properties() {
        for (name, value, want) in [
            ("CollectMode", "'inactive'", Some(("CollectMode", Value::text("inactive")))),
            ("TimeoutStopUSec", "uint64 9", Some(("TimeoutStopUSec", Value::Uint64(9)))),
            ("TimeoutStopSec", "2", Some(("TimeoutStopUSec", Value::Uint64(2_000_000)))),
            ("SendSIGHUP", "true", Some(("SendSIGHUP", Value::Bool(true)))),
            (
                "After",
                "['a.service', \"b.service\"]",
                Some(("After", Value::texts(["a.service".to_owned(), "b.service".to_owned()]))),
            ),
            ("X", "'it''s'", None),
            ("X", "uint64 -1", None),
            ("X", "word", None),
        ] {
            let read = property(&format!("org.systemd.property.{name}"), value).unwrap().ok();
            let got = read.as_ref().map(|(name, value)| (name.as_str(), value.clone()));
            assert_eq!(got, want, "{name} {value}");
        }
        assert!(property("org.example", "x").is_none());
    }

    #[test]
    fn masks_are_bounded() {
        assert_eq!(mask("0"), Some(Value::Array("y", vec![Value::Byte(1)])));
        for list in ["", "a", "1-", "0-99999999999", "3,"] {
            assert_eq!(mask(list), None, "{list}");
        }
    }
}
