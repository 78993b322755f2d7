//! Seccomp profiles: Docker's form with conditions, and the OCI's form without.

use std::fs;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{
    Arch as OciArch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompFilterFlag,
    LinuxSyscall,
};
use serde::Deserialize;

use crate::error::{Context, Error, Kind, Result};
use crate::runtime::capability::CapabilitySet;
use crate::runtime::kernel::KernelVersion;
use crate::sys::arch::Arch;

/// Docker's default profile, as its makers publish it.
const DEFAULT: &str = include_str!("../../../data/seccomp-default.json");

/// What the conditions of a profile ask about.
#[derive(Clone, Copy, Debug)]
pub struct Conditions {
    /// The container's bounding set.
    pub capabilities: CapabilitySet,
    /// The kernel that it runs on.
    pub kernel: KernelVersion,
}

/// Returns Docker's default profile for a container.
pub fn default_profile(conditions: &Conditions) -> Result<LinuxSeccomp> {
    parse(DEFAULT, conditions).context(|| "cannot read the built-in seccomp profile")
}

/// Reads a profile in Docker's or the OCI's form from a file, for a container.
pub fn load(path: &Path, conditions: &Conditions) -> Result<LinuxSeccomp> {
    let failed = || format!("cannot read the seccomp profile {}", path.display());
    let text = fs::read_to_string(path).context(failed)?;
    parse(&text, conditions).context(failed)
}

/// Both forms: the OCI's has architectures, Docker's has conditions and a map of architectures.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    default_action: LinuxSeccompAction,
    default_errno_ret: Option<u32>,
    architectures: Option<Vec<OciArch>>,
    arch_map: Option<Vec<Family>>,
    flags: Option<Vec<LinuxSeccompFilterFlag>>,
    listener_path: Option<PathBuf>,
    listener_metadata: Option<String>,
    syscalls: Option<Vec<Rule>>,
}

/// An architecture and those whose programs it can run.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Family {
    architecture: OciArch,
    sub_architectures: Option<Vec<OciArch>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    names: Option<Vec<String>>,
    name: Option<String>,
    action: LinuxSeccompAction,
    errno_ret: Option<u32>,
    args: Option<Vec<LinuxSeccompArg>>,
    includes: Option<Condition>,
    excludes: Option<Condition>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Condition {
    caps: Option<Vec<String>>,
    arches: Option<Vec<String>>,
    min_kernel: Option<KernelVersion>,
}

impl Rule {
    /// Tells whether the rule is there for this container: nothing excludes it, nothing is missing.
    fn applies(&self, conditions: &Conditions) -> bool {
        let capable = |name: &String| conditions.capabilities.contains_name(name);
        let here = |name: &String| name == ARCHITECTURE;
        let new = |version: KernelVersion| conditions.kernel >= version;
        let excluded = self.excludes.as_ref().is_some_and(|excludes| {
            excludes.caps.iter().flatten().any(capable)
                || excludes.arches.iter().flatten().any(here)
                || excludes.min_kernel.is_some_and(new)
        });
        !excluded
            && self.includes.as_ref().is_none_or(|includes| {
                includes.caps.iter().flatten().all(capable)
                    && includes
                        .arches
                        .as_ref()
                        .is_none_or(|arches| arches.is_empty() || arches.iter().any(here))
                    && includes.min_kernel.is_none_or(new)
            })
    }
}

/// What profiles call the architecture: Go's name for it.
const ARCHITECTURE: &str = match Arch::NATIVE {
    Arch::Aarch64 | Arch::Arm => "arm64",
    Arch::X86_64 | Arch::X86 | Arch::X32 => "amd64",
};

const NATIVE: OciArch = match Arch::NATIVE {
    Arch::Aarch64 | Arch::Arm => OciArch::ScmpArchAarch64,
    Arch::X86_64 | Arch::X86 | Arch::X32 => OciArch::ScmpArchX86_64,
};

pub(super) fn parse(text: &str, conditions: &Conditions) -> Result<LinuxSeccomp> {
    let profile: Profile = serde_json::from_str(text).context(|| "it is not a seccomp profile")?;
    let architectures = match (profile.architectures, profile.arch_map) {
        (Some(listed), Some(map)) if !listed.is_empty() && !map.is_empty() => {
            return Err(Error::new(Kind::Invalid, "it has both `architectures` and `archMap`")
                .hint("leave out one of them"));
        }
        (Some(listed), _) if !listed.is_empty() => Some(listed),
        (_, Some(map)) => map.into_iter().find(|family| family.architecture == NATIVE).map(|own| {
            let companions = own.sub_architectures.unwrap_or_default();
            std::iter::once(own.architecture).chain(companions).collect()
        }),
        _ => None,
    };
    let mut syscalls = Vec::new();
    for rule in profile.syscalls.unwrap_or_default() {
        if !rule.applies(conditions) {
            continue;
        }
        let names = match (rule.names.unwrap_or_default(), rule.name) {
            (names, None) => names,
            (names, Some(name)) if names.is_empty() => vec![name],
            (_, Some(name)) => {
                let message = format!("the rule about `{name}` has both `name` and `names`");
                return Err(Error::new(Kind::Invalid, message).hint("leave out one of them"));
            }
        };
        let mut call = LinuxSyscall::default();
        call.set_names(names).set_action(rule.action).set_errno_ret(rule.errno_ret);
        call.set_args(rule.args.filter(|args| !args.is_empty()));
        syscalls.push(call);
    }
    let mut seccomp = LinuxSeccomp::default();
    seccomp
        .set_default_action(profile.default_action)
        .set_default_errno_ret(profile.default_errno_ret)
        .set_architectures(architectures)
        .set_flags(profile.flags)
        .set_listener_path(profile.listener_path)
        .set_listener_metadata(profile.listener_metadata)
        .set_syscalls(Some(syscalls));
    Ok(seccomp)
}
