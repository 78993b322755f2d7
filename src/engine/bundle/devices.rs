//! Devices: those that were asked for, and what the device cgroup allows.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxDevice, LinuxDeviceCgroup, LinuxDeviceType};

use super::Facts;
use crate::error::{Context, Error, Kind, Result};
use crate::spec::cdi::is_qualified;
use crate::store::container::ContainerConfig;

/// The device nodes of a container besides those that every one has.
pub(super) fn all(config: &ContainerConfig, facts: &Facts) -> Result<Vec<LinuxDevice>> {
    let security = &config.settings.security;
    let mut devices = Vec::new();
    if security.privileged && !facts.rootless && !facts.own_users {
        host_devices(Path::new("/dev"), &mut devices)?;
    }
    if !facts.is_confined() {
        devices.extend(nodes(config)?.into_iter().map(|node| node.device));
    }
    Ok(devices)
}

/// A device of the host that was asked for.
pub(super) struct Node {
    /// Where it is.
    pub(super) source: PathBuf,
    /// Where it is in the container.
    pub(super) target: PathBuf,
    device: LinuxDevice,
    permissions: String,
}

/// Finds the devices that were asked for by their paths; of a directory, all that are below it.
pub(super) fn nodes(config: &ContainerConfig) -> Result<Vec<Node>> {
    let mut found = Vec::new();
    for asked in config.settings.devices.iter().filter(|name| !is_qualified(name)) {
        let (source, target, permissions) = split(asked);
        let context = || format!("cannot use device {source}");
        let known = found.len();
        collect(Path::new(source), Path::new(target), permissions, &mut found).context(context)?;
        if found.len() == known {
            let what =
                if Path::new(source).is_dir() { "has no devices" } else { "is not a device" };
            return Err(Error::new(Kind::Invalid, format!("{source} {what}"))
                .hint("use -v to show files and directories in the container"));
        }
    }
    Ok(found)
}

fn collect(
    source: &Path,
    target: &Path,
    permissions: &str,
    found: &mut Vec<Node>,
) -> std::io::Result<()> {
    let metadata = std::fs::metadata(source)?;
    if !metadata.is_dir() {
        found.extend(device(target, &metadata).map(|device| Node {
            source: source.to_owned(),
            target: target.to_owned(),
            device,
            permissions: permissions.to_owned(),
        }));
        return Ok(());
    }
    let mut names = Vec::new();
    for entry in std::fs::read_dir(source)? {
        let entry = entry?;
        // Links lead to what is there under its own name, or to somewhere else.
        if !entry.file_type()?.is_symlink() {
            names.push(entry.file_name());
        }
    }
    names.sort();
    for name in names {
        match collect(&source.join(&name), &target.join(&name), permissions, found) {
            // Devices come and go.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            other => other?,
        }
    }
    Ok(())
}

/// `HOST[:CONTAINER[:PERMISSIONS]]`.
fn split(asked: &str) -> (&str, &str, &str) {
    let mut parts = asked.split(':');
    let source = parts.next().unwrap_or_default();
    let second = parts.next();
    match (second, parts.next()) {
        (None, _) => (source, source, "rwm"),
        (Some(permissions), None) if !permissions.starts_with('/') => (source, source, permissions),
        (Some(target), permissions) => (source, target, permissions.unwrap_or("rwm")),
    }
}

pub(super) fn device(path: &Path, metadata: &std::fs::Metadata) -> Option<LinuxDevice> {
    let kind = metadata.file_type();
    let kind = if kind.is_char_device() {
        LinuxDeviceType::C
    } else if kind.is_block_device() {
        LinuxDeviceType::B
    } else {
        return None;
    };
    let id = metadata.rdev();
    let mut device = LinuxDevice::default();
    device
        .set_path(path.to_owned())
        .set_typ(kind)
        .set_major(i64::from(rustix::fs::major(id)))
        .set_minor(i64::from(rustix::fs::minor(id)))
        .set_file_mode(Some(metadata.mode() & 0o7777))
        .set_uid(Some(metadata.uid()))
        .set_gid(Some(metadata.gid()));
    Some(device)
}

/// Collects the host's devices, without those that each container has of its own.
fn host_devices(dir: &Path, devices: &mut Vec<LinuxDevice>) -> Result<()> {
    const OWN: [&str; 7] = ["pts", "shm", "fd", "mqueue", "console", "ptmx", ".udev"];
    let context = || format!("cannot list {}", dir.display());
    for entry in std::fs::read_dir(dir).context(context)? {
        let entry = entry.context(context)?;
        if OWN.iter().any(|own| entry.file_name() == *own) {
            continue;
        }
        // Devices come and go: one that is gone by now is none.
        let Ok(metadata) = entry.metadata() else { continue };
        if metadata.is_dir() {
            host_devices(&entry.path(), devices)?;
        } else if let Some(device) = device(&entry.path(), &metadata) {
            devices.push(device);
        }
    }
    Ok(())
}

/// What the device cgroup allows: nothing, then node creation, then the usual ones.
pub(super) fn rules(config: &ContainerConfig) -> Option<Vec<LinuxDeviceCgroup>> {
    if config.settings.security.privileged {
        return Some(vec![rule(true, None, None, None, "rwm")]);
    }
    let mut rules = vec![rule(false, None, None, None, "rwm")];
    rules.extend(usual());
    // What cannot be used is told where the devices themselves are needed.
    for Node { device, permissions, .. } in nodes(config).unwrap_or_default() {
        let (major, minor) = (Some(device.major()), Some(device.minor()));
        rules.push(rule(true, Some(device.typ()), major, minor, &permissions));
    }
    for asked in &config.settings.device_rules {
        let kind = match asked.kind {
            'b' => Some(LinuxDeviceType::B),
            'c' => Some(LinuxDeviceType::C),
            _ => None,
        };
        let number = |number: Option<u32>| number.map(i64::from);
        rules.push(rule(true, kind, number(asked.major), number(asked.minor), &asked.access));
    }
    Some(rules)
}

/// What every container may do with devices: make nodes, and use those that it has.
pub(in crate::engine) fn usual() -> Vec<LinuxDeviceCgroup> {
    let mut rules = vec![
        rule(true, Some(LinuxDeviceType::C), None, None, "m"),
        rule(true, Some(LinuxDeviceType::B), None, None, "m"),
    ];
    let character = |major, minor| rule(true, Some(LinuxDeviceType::C), Some(major), minor, "rwm");
    for minor in [3, 5, 7, 8, 9] {
        rules.push(character(1, Some(minor)));
    }
    // The terminal, its master, and the pseudo-terminals.
    rules.extend([character(5, Some(0)), character(5, Some(2)), character(136, None)]);
    rules
}

pub(super) fn rule(
    allow: bool,
    kind: Option<LinuxDeviceType>,
    major: Option<i64>,
    minor: Option<i64>,
    access: &str,
) -> LinuxDeviceCgroup {
    let mut rule = LinuxDeviceCgroup::default();
    rule.set_allow(allow)
        .set_typ(kind)
        .set_major(major)
        .set_minor(minor)
        .set_access(Some(access.to_owned()));
    rule
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_devices() {
        for (asked, want) in [
            ("/dev/fuse", ("/dev/fuse", "/dev/fuse", "rwm")),
            ("/dev/a:/dev/b", ("/dev/a", "/dev/b", "rwm")),
            ("/dev/a:/dev/b:r", ("/dev/a", "/dev/b", "r")),
            ("/dev/a:rw", ("/dev/a", "/dev/a", "rw")),
        ] {
            assert_eq!(split(asked), want, "{asked}");
        }
    }
}
