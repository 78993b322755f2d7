//! Flags of Docker and Podman that are not there, and why: for the manual, and for those who try them.

/// Why flags are not there.
struct Absent {
    /// The commands that lack them; a command of `container` goes by its last word.
    commands: &'static [&'static str],
    /// One sentence, without a full stop.
    reason: &'static str,
    /// Flags, without their hyphens.
    flags: &'static [&'static str],
}

/// The commands that make containers.
const MAKE: &[&str] = &["run", "create"];

/// What stands for the flags before a command.
const GLOBAL: &[&str] = &[""];

const ABSENT: [Absent; 23] = [
    Absent {
        commands: MAKE,
        reason: "it concerns containers of Windows",
        flags: &["cpu-count", "cpu-percent", "io-maxbandwidth", "io-maxiops", "isolation"],
    },
    Absent {
        commands: MAKE,
        reason: "there is one way to run a container, and it is built in",
        flags: &["runtime"],
    },
    Absent {
        commands: MAKE,
        reason: "the root file system is on the disk of the store, which has no quotas",
        flags: &["storage-opt"],
    },
    Absent {
        commands: MAKE,
        reason: "there is no daemon whose socket could be passed on",
        flags: &["use-api-socket"],
    },
    Absent {
        commands: MAKE,
        reason: "a container has one address of each version of IP on a network; see --ip and --ip6",
        flags: &["link-local-ip"],
    },
    Absent {
        commands: &["run", "create", "clone", "restore"],
        reason: "there are no pods yet",
        flags: &["pod", "pod-id-file"],
    },
    Absent {
        commands: &["create"],
        reason: "containers that run before others do are those of pods, of which there are none yet",
        flags: &["init-ctr"],
    },
    Absent {
        commands: MAKE,
        reason: "images with encrypted layers cannot be used",
        flags: &["decryption-key"],
    },
    Absent {
        commands: MAKE,
        reason: "classes of cache and memory bandwidth (resctrl) cannot be assigned",
        flags: &["rdt-class"],
    },
    Absent {
        commands: MAKE,
        reason: "the profile that an image names is not trusted; see --security-opt seccomp=FILE",
        flags: &["seccomp-policy"],
    },
    Absent {
        commands: MAKE,
        reason: "it prepares directories for programs that change their root, which need nothing here",
        flags: &["chrootdirs"],
    },
    Absent {
        commands: &["create"],
        reason: "descriptors are handed over when it is started, so `barge run` has it",
        flags: &["preserve-fd", "preserve-fds"],
    },
    Absent {
        commands: &["start"],
        reason: "`barge container restore` has containers go on where they were",
        flags: &["checkpoint", "checkpoint-dir"],
    },
    Absent {
        commands: &["checkpoint"],
        reason: "checkpoints are no images; --export writes an archive",
        flags: &["create-image"],
    },
    Absent {
        commands: &["checkpoint", "restore"],
        reason: "all memory is written at once",
        flags: &["pre-checkpoint", "with-previous", "import-previous"],
    },
    Absent {
        commands: &["checkpoint", "restore"],
        reason: "what criu has counted is in a file of the container's directory",
        flags: &["print-stats"],
    },
    Absent {
        commands: &["rm"],
        reason: "what a container is called by another one goes with either of them",
        flags: &["link"],
    },
    Absent {
        commands: GLOBAL,
        reason: "barge itself watches over each container",
        flags: &["conmon"],
    },
    Absent {
        commands: GLOBAL,
        reason: "only the bundles of `barge runtime` have hooks",
        flags: &["hooks-dir"],
    },
    Absent {
        commands: GLOBAL,
        reason: "all that lasts is below --root",
        flags: &["imagestore", "network-config-dir", "volumepath"],
    },
    Absent {
        commands: GLOBAL,
        reason: "the programs that connect networks are looked for in the PATH",
        flags: &["network-cmd-path"],
    },
    Absent {
        commands: GLOBAL,
        reason: "another --root has other containers",
        flags: &["namespace"],
    },
    Absent {
        commands: GLOBAL,
        reason: "with another --root below /run nothing outlives a reboot",
        flags: &["transient-store"],
    },
];

/// Returns the reasons that are for a command, given as it was called, as in `barge container run`.
fn of(path: &str) -> impl Iterator<Item = &'static Absent> {
    let mut words = path.split(' ').skip(1);
    let name = match (words.next(), words.next()) {
        (Some("container"), Some(name)) | (Some(name), None) => name,
        (None, _) => "",
        // No command of another group lacks any.
        (Some(_), Some(_)) => "-",
    }
    .to_owned();
    ABSENT.iter().filter(move |absent| absent.commands.contains(&name.as_str()))
}

/// Returns why a command lacks a flag of other tools, given without its hyphens.
pub(in crate::cmd) fn reason(path: &str, flag: &str) -> Option<&'static str> {
    of(path).find(|absent| absent.flags.contains(&flag)).map(|absent| absent.reason)
}

/// Lists the flags of other tools that a command lacks, each group with its reason.
pub(in crate::cmd) fn list(path: &str) -> Vec<(&'static [&'static str], &'static str)> {
    of(path).map(|absent| (absent.flags, absent.reason)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_not_absent() {
        let definition = crate::cmd::definition();
        for Absent { commands, flags, .. } in &ABSENT {
            for name in *commands {
                let command = match *name {
                    "" => &definition,
                    name => {
                        let group = definition.find_subcommand("container").unwrap();
                        definition.find_subcommand(name).or(group.find_subcommand(name)).unwrap()
                    }
                };
                for flag in *flags {
                    let has = command.get_arguments().any(|arg| arg.get_long() == Some(flag));
                    assert!(!has, "{name} has --{flag}");
                    let path = command.get_bin_name().unwrap();
                    assert!(reason(path, flag).is_some(), "{path} --{flag}");
                }
            }
        }
        assert_eq!(reason("barge secret rm", "link"), None);
    }
}
