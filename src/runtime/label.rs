//! The names under which security modules know a container's processes: AppArmor's and SELinux's.

use std::fs;
use std::path::Path;

use oci_spec::runtime::Process;

use super::proc;
use crate::error::{Context, Error, Kind, Result};

/// AppArmor's word for no profile.
const UNCONFINED: &str = "unconfined";

/// Has the program that this process becomes run under the labels that are asked for.
pub(super) fn apply(process: &Process) -> Result<()> {
    if let Some(profile) = profile_of(process) {
        let text = format!("exec {profile}");
        // The second is older than Linux 5.8, and of whichever module comes first.
        proc::write("self/attr/apparmor/exec", &text)
            .or_else(|_| proc::write("self/attr/exec", &text))
            .map_err(|error| {
                let said =
                    Error::new(Kind::Invalid, format!("cannot use AppArmor profile `{profile}`"));
                said.hint("see whether it is loaded: `aa-status`").caused_by(error)
            })?;
    }
    if let Some(label) = label_of(process.selinux_label().as_ref()) {
        proc::write("self/attr/exec", label)
            .context(|| format!("cannot use SELinux label `{label}`"))?;
    }
    Ok(())
}

/// Checks that the kernel has the modules that are asked for.
pub(super) fn check(process: &Process) -> Result<()> {
    if let Some(profile) = profile_of(process) {
        let enabled = fs::read_to_string("/sys/module/apparmor/parameters/enabled");
        if !enabled.is_ok_and(|text| text.starts_with('Y')) {
            let text = format!("AppArmor profile `{profile}` is asked for, but AppArmor is off");
            return Err(Error::new(Kind::Unsupported, text));
        }
    }
    match label_of(process.selinux_label().as_ref()) {
        Some(label) => check_selinux(label),
        None => Ok(()),
    }
}

/// Checks that there is SELinux for a label.
pub(super) fn check_selinux(label: &str) -> Result<()> {
    if Path::new("/sys/fs/selinux/enforce").exists() {
        return Ok(());
    }
    let text = format!("SELinux label `{label}` is asked for, but SELinux is off");
    Err(Error::new(Kind::Unsupported, text))
}

fn profile_of(process: &Process) -> Option<&str> {
    label_of(process.apparmor_profile().as_ref()).filter(|profile| *profile != UNCONFINED)
}

fn label_of(label: Option<&String>) -> Option<&str> {
    label.map(String::as_str).filter(|label| !label.is_empty())
}
