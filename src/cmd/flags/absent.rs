//! Flags of `docker run` and `podman run` that are not there, and why: for the manual, and for those
//! who try them.

/// Why a flag is not there.
struct Absent {
    /// One sentence, without a full stop.
    reason: &'static str,
    /// Flags, without their hyphens.
    flags: &'static [&'static str],
}

const ABSENT: [Absent; 11] = [
    Absent {
        reason: "it concerns containers of Windows",
        flags: &["cpu-count", "cpu-percent", "io-maxbandwidth", "io-maxiops", "isolation"],
    },
    Absent {
        reason: "there is one way to run a container, and it is built in",
        flags: &["runtime"],
    },
    Absent {
        reason: "the root file system is on the disk of the store, which has no quotas",
        flags: &["storage-opt"],
    },
    Absent {
        reason: "there is no daemon whose socket could be passed on",
        flags: &["use-api-socket"],
    },
    Absent {
        reason: "a container has one address of each version of IP on a network; see --ip and --ip6",
        flags: &["link-local-ip"],
    },
    Absent { reason: "there are no pods yet", flags: &["pod", "pod-id-file"] },
    Absent { reason: "images with encrypted layers cannot be used", flags: &["decryption-key"] },
    Absent {
        reason: "classes of cache and memory bandwidth (resctrl) cannot be assigned",
        flags: &["rdt-class"],
    },
    Absent {
        reason: "the profile that an image names is not trusted; see --security-opt seccomp=FILE",
        flags: &["seccomp-policy"],
    },
    Absent {
        reason: "it prepares directories for programs that change their root, which need nothing here",
        flags: &["chrootdirs"],
    },
    Absent {
        reason: "descriptors are handed over when it is started, so `barge run` has it",
        flags: &["preserve-fd", "preserve-fds"],
    },
];

/// Returns why a flag of other tools is not there, given without its hyphens.
pub(in crate::cmd) fn reason(flag: &str) -> Option<&'static str> {
    ABSENT.iter().find(|absent| absent.flags.contains(&flag)).map(|absent| absent.reason)
}

/// Lists the flags of other tools that are not there, each group with its reason.
///
/// `is_there` tells whether there is a flag after all.
pub(in crate::cmd) fn list(
    is_there: impl Fn(&str) -> bool,
) -> Vec<(Vec<&'static str>, &'static str)> {
    ABSENT
        .iter()
        .map(|absent| {
            let flags = absent.flags.iter().copied().filter(|flag| !is_there(flag)).collect();
            (flags, absent.reason)
        })
        .filter(|(flags, _): &(Vec<_>, _)| !flags.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_there_is_not_absent() {
        let definition = crate::cmd::definition();
        let has = |name: &str, flag: &str| {
            let command = definition.find_subcommand(name).unwrap();
            command.get_arguments().any(|arg| arg.get_long() == Some(flag))
        };
        for (flags, reason) in super::list(|_| false) {
            for flag in flags {
                assert!(!(has("run", flag) && has("create", flag)), "--{flag}: {reason}");
            }
        }
    }
}
