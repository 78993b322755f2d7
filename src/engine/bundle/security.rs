//! Capabilities and hidden paths.

use std::path::Path;

use oci_spec::runtime::{LinuxCapabilities, LinuxSeccomp};

use crate::error::Result;
use crate::runtime::capability::{self, CapabilitySet};
use crate::runtime::kernel::KernelVersion;
use crate::runtime::seccomp::profile::Conditions;
use crate::runtime::seccomp::{self, Filter};
use crate::spec::security::{Seccomp, Security};

/// Paths that Docker and Podman hide.
const MASKED: [&str; 11] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/firmware",
];

/// Hidden as well: power consumption tells secrets (CVE-2020-8694), and where `MASKED` is not enough.
const MASKED_MORE: [&str; 2] = ["/sys/devices/virtual/powercap", "/sys/fs/selinux"];

/// Paths that Docker and Podman make read-only.
const READ_ONLY: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// The paths that are hidden, and those that are read-only.
pub fn hidden_paths(security: &Security) -> (Vec<String>, Vec<String>) {
    if security.privileged {
        return (Vec::new(), Vec::new());
    }
    let all = security.unmask.iter().any(|path| path.as_os_str().eq_ignore_ascii_case("all"));
    let kept = |path: &&str| !all && !security.unmask.iter().any(|it| it == Path::new(path));
    let owned = |path: &str| path.to_owned();
    let mut masked: Vec<String> =
        MASKED.iter().chain(&MASKED_MORE).copied().filter(kept).map(owned).collect();
    masked.extend(security.mask.iter().map(|path| path.display().to_string()));
    let read_only = READ_ONLY.iter().copied().filter(kept).map(owned).collect();
    (masked, read_only)
}

/// Returns the names of the capabilities that a container's processes have, with `CAP_`.
pub fn capability_names(security: &Security) -> Result<Vec<String>> {
    Ok(capability::resolve(security, CapabilitySet::available())?.names())
}

/// The capabilities of a container's processes.
pub(in crate::engine) fn capabilities(security: &Security) -> Result<LinuxCapabilities> {
    let bounding = capability::resolve(security, CapabilitySet::available())?.to_oci();
    let mut capabilities = LinuxCapabilities::default();
    capabilities
        .set_bounding(Some(bounding.clone()))
        .set_effective(Some(bounding.clone()))
        .set_permitted(Some(bounding))
        .set_inheritable(None)
        .set_ambient(None);
    Ok(capabilities)
}

/// The system call filter of a container; a privileged one has none.
pub(in crate::engine) fn filter(security: &Security) -> Result<Option<Filter>> {
    profile(security)?.map(|profile| seccomp::compile(&profile)).transpose()
}

/// What that filter is made of.
pub(in crate::engine) fn profile(security: &Security) -> Result<Option<LinuxSeccomp>> {
    let conditions = || -> Result<Conditions> {
        Ok(Conditions {
            capabilities: capability::resolve(security, CapabilitySet::available())?,
            kernel: KernelVersion::running(),
        })
    };
    match &security.seccomp {
        Seccomp::Unconfined => Ok(None),
        Seccomp::Default if security.privileged => Ok(None),
        Seccomp::Default => seccomp::default_profile(&conditions()?).map(Some),
        Seccomp::File(path) => seccomp::load(path, &conditions()?).map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unmasks_on_request() {
        let (masked, read_only) = hidden_paths(&Security::default());
        assert!(masked.contains(&"/proc/kcore".to_owned()));
        assert!(read_only.contains(&"/proc/sys".to_owned()));
        let security = Security {
            unmask: vec!["/proc/kcore".into(), "/proc/sys".into()],
            mask: vec!["/etc/shadow".into()],
            ..Security::default()
        };
        let (masked, read_only) = hidden_paths(&security);
        assert!(!masked.contains(&"/proc/kcore".to_owned()));
        assert!(masked.contains(&"/etc/shadow".to_owned()));
        assert!(!read_only.contains(&"/proc/sys".to_owned()));
        let all = Security { unmask: vec!["ALL".into()], ..Security::default() };
        assert_eq!(hidden_paths(&all), (Vec::new(), Vec::new()));
        let privileged = Security { privileged: true, ..Security::default() };
        assert_eq!(hidden_paths(&privileged), (Vec::new(), Vec::new()));
    }
}
