//! What of a configuration cannot be, found out before anything is made for it.

use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::path::{Component, Path};

use oci_spec::runtime::{Linux, LinuxNamespaceType, Spec};

use super::launch::Launch;
use super::{init, label, options, schedule};
use crate::error::{Error, Kind, Result};
use crate::spec::sysctl::{SysctlNamespace, namespace_of};

/// Checks a configuration.
pub(super) fn check(launch: &Launch<'_>) -> Result<()> {
    let spec = launch.spec;
    let process = init::process_of(spec)?;
    let mut namespaces = Namespaces::of(spec, launch.join)?;
    if launch.user_namespace.is_some() {
        namespaces.own.push(LinuxNamespaceType::User);
    }
    schedule::check(process)?;
    label::check(process)?;
    let mut limits = HashSet::new();
    for limit in process.rlimits().iter().flatten() {
        if !limits.insert(limit.typ().to_string()) {
            return Err(invalid(format!("{} is there twice", limit.typ())));
        }
    }
    for (name, value) in [("host name", spec.hostname()), ("domain name", spec.domainname())] {
        if value.is_some() && !namespaces.own.contains(&LinuxNamespaceType::Uts) {
            return Err(invalid(format!("a {name} needs a UTS namespace of the container's own")));
        }
    }
    match spec.linux() {
        Some(linux) => check_linux(linux, &namespaces),
        None => Ok(()),
    }
}

fn check_linux(linux: &Linux, namespaces: &Namespaces) -> Result<()> {
    for name in linux.sysctl().iter().flat_map(|sysctl| sysctl.keys()) {
        namespaces.check_sysctl(name)?;
    }
    if let Some(offsets) = linux.time_offsets().as_ref().filter(|offsets| !offsets.is_empty()) {
        if !namespaces.new.contains(&LinuxNamespaceType::Time) {
            return Err(invalid("offsets of clocks need a new time namespace"));
        }
        for (clock, offset) in offsets {
            if !matches!(clock.as_str(), "monotonic" | "boottime") {
                return Err(invalid(format!("`{clock}` is no clock that can have an offset"))
                    .hint("those that can are monotonic and boottime"));
            }
            if offset.nanosecs().unwrap_or(0) > 999_999_999 {
                return Err(invalid(format!("the nanoseconds of clock {clock} are a second")));
            }
        }
    }
    if let Some(propagation) = linux.rootfs_propagation() {
        options::propagation(propagation)?;
    }
    if let Some(personality) = linux.personality()
        && personality.flags().as_ref().is_some_and(|flags| !flags.is_empty())
    {
        return Err(invalid("personalities have no flags yet"));
    }
    if let Some(label) = linux.mount_label().as_ref().filter(|label| !label.is_empty()) {
        label::check_selinux(label)?;
    }
    if let Some(policy) = linux.memory_policy() {
        schedule::memory_policy(policy)?;
    }
    if linux.intel_rdt().is_some() {
        return Err(Error::new(Kind::Unsupported, "barge does not use Intel RDT")
            .hint("leave out linux.intelRdt"));
    }
    Ok(())
}

fn invalid(text: impl Into<String>) -> Error {
    Error::new(Kind::Invalid, text)
}

/// The namespaces that a container does not share with us.
struct Namespaces {
    /// Those that are made for it.
    new: Vec<LinuxNamespaceType>,
    /// These, and others that it joins.
    own: Vec<LinuxNamespaceType>,
}

impl Namespaces {
    fn of(spec: &Spec, join: &[(OwnedFd, i32)]) -> Result<Self> {
        let linux = spec.linux().as_ref();
        let asked = linux.and_then(|linux| linux.namespaces().as_deref()).unwrap_or_default();
        let mut new = Vec::new();
        let mut seen = Vec::new();
        for namespace in asked {
            let kind = namespace.typ();
            if seen.contains(&kind) {
                return Err(invalid(format!("there are two namespaces of kind `{kind}`")));
            }
            seen.push(kind);
            if namespace.path().is_none() {
                new.push(kind);
            }
        }
        let mut own = new.clone();
        for kind in KINDS {
            // One descriptor may stand for several kinds.
            let joined =
                |(file, kinds): &&(OwnedFd, i32)| kinds & kind as i32 != 0 && !is_ours(file, kind);
            if join.iter().any(|it| joined(&it)) {
                own.push(kind);
            }
        }
        Ok(Self { new, own })
    }

    fn check_sysctl(&self, name: &str) -> Result<()> {
        let path = sysctl_path(name);
        if !Path::new(&path).components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(invalid(format!("`{name}` is no sysctl")));
        }
        let name = dotted(name);
        let needed = match namespace_of(&name) {
            Some(SysctlNamespace::Ipc) => LinuxNamespaceType::Ipc,
            Some(SysctlNamespace::Network) => LinuxNamespaceType::Network,
            Some(SysctlNamespace::User) => LinuxNamespaceType::User,
            Some(SysctlNamespace::Uts) => LinuxNamespaceType::Uts,
            None => {
                return Err(invalid(format!("sysctl `{name}` is the whole machine's")).hint(
                    "a container can have those of its network, IPC and host name namespaces",
                ));
            }
        };
        if self.own.contains(&needed) {
            return Ok(());
        }
        let text = format!(
            "sysctl `{name}` would change this machine's: the container has no {needed} namespace of its own"
        );
        Err(invalid(text))
    }
}

/// The kinds that kernel parameters and names belong to.
const KINDS: [LinuxNamespaceType; 4] = [
    LinuxNamespaceType::Network,
    LinuxNamespaceType::Ipc,
    LinuxNamespaceType::Uts,
    LinuxNamespaceType::User,
];

/// Tells whether what is joined is the namespace that we are in. A process stands for all of its own,
/// which cannot be told here.
fn is_ours(file: &OwnedFd, kind: LinuxNamespaceType) -> bool {
    let of = |file: rustix::fs::Stat| (file.st_dev, file.st_ino);
    let own = rustix::fs::stat(format!("/proc/self/ns/{kind}")).map(of);
    own.is_ok() && own == rustix::fs::fstat(file).map(of)
}

/// Writes the name of a kernel parameter with dots. It may come as a path, in which dots are a part
/// of names; the first separator tells.
pub(super) fn dotted(name: &str) -> String {
    match name.find(['.', '/']) {
        Some(at) if name.as_bytes()[at] == b'/' => swapped(name),
        _ => name.to_owned(),
    }
}

/// Writes dots for slashes, and the other way round.
fn swapped(name: &str) -> String {
    let swap = |letter| match letter {
        '.' => '/',
        '/' => '.',
        other => other,
    };
    name.chars().map(swap).collect()
}

/// Returns the path below /proc/sys of a kernel parameter with dots.
pub(super) fn sysctl_path(name: &str) -> String {
    format!("sys/{}", swapped(&dotted(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(json: &str) -> Spec {
        let json = json.replace('\'', "\"");
        let base =
            r#""ociVersion": "1.2.0", "process": {"user": {"uid": 0, "gid": 0}, "cwd": "/"}"#;
        serde_json::from_str(&format!("{{{base}, {json}}}")).unwrap()
    }

    fn verdict(json: &str) -> Result<()> {
        let spec = spec(json);
        let namespaces = Namespaces::of(&spec, &[])?;
        check_linux(spec.linux().as_ref().unwrap(), &namespaces)
    }

    #[test]
    fn writes_names_of_parameters_as_paths() {
        for (name, want) in [
            ("net.ipv4.ip_forward", "sys/net/ipv4/ip_forward"),
            ("net/ipv4/conf/eth0.1/forwarding", "sys/net/ipv4/conf/eth0.1/forwarding"),
            ("net.ipv4.conf.eth0/1.forwarding", "sys/net/ipv4/conf/eth0.1/forwarding"),
        ] {
            assert_eq!(sysctl_path(name), want);
        }
    }

    #[test]
    fn knows_whose_parameters_are() {
        for (namespaces, name, want) in [
            ("{'type': 'network'}", "net.ipv4.ip_forward", true),
            ("{'type': 'network'}", "net/ipv4/ip_forward", true),
            ("{'type': 'ipc'}", "net.ipv4.ip_forward", false),
            ("", "net.ipv4.ip_forward", false),
            ("{'type': 'network', 'path': '/x'}", "net.ipv4.ip_forward", false),
            ("{'type': 'ipc'}", "kernel.shmmax", true),
            ("{'type': 'ipc'}", "fs.mqueue.msg_max", true),
            ("{'type': 'uts'}", "kernel.domainname", true),
            ("{'type': 'uts'}", "kernel.core_pattern", false),
            ("{'type': 'network'}", "net/../kernel/core_pattern", false),
            ("{'type': 'ipc'}, {'type': 'network'}", "vm.swappiness", false),
        ] {
            let json =
                format!("'linux': {{'namespaces': [{namespaces}], 'sysctl': {{'{name}': '1'}}}}");
            assert_eq!(verdict(&json).is_ok(), want, "{json}");
        }
    }

    #[test]
    fn refuses_what_cannot_be() {
        for (json, want) in [
            ("'namespaces': [{'type': 'ipc'}, {'type': 'ipc'}]", "two namespaces"),
            ("'timeOffsets': {'monotonic': {'secs': 1}}", "new time namespace"),
            (
                "'namespaces': [{'type': 'time'}], 'timeOffsets': {'realtime': {'secs': 1}}",
                "no clock",
            ),
            ("'rootfsPropagation': 'sideways'", "sideways"),
            ("'personality': {'domain': 'LINUX', 'flags': ['X']}", "no flags"),
            ("'memoryPolicy': {'mode': 'MPOL_BIND', 'nodes': '0-'}", "no list"),
            ("'intelRdt': {'closID': 'x'}", "Intel RDT"),
        ] {
            let error = verdict(&format!("'linux': {{{json}}}")).unwrap_err();
            assert!(error.to_string().contains(want), "{json}: {error}");
        }
        assert!(verdict("'linux': {'rootfsPropagation': 'rshared'}").is_ok());
    }
}
