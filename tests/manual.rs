//! The manual in `man/` and the definition of the command line say the same, and completions are whole.
//!
//! `BARGE_BLESS=1 cargo test --test manual` writes the pages anew.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command as Process;
use std::{env, fs};

use clap::Command;
use clap_mangen::Man;

#[test]
fn every_command_has_its_page() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("man");
    let pages = pages();
    if env::var_os("BARGE_BLESS").is_some() {
        fs::create_dir_all(&dir).unwrap();
        for stale in files(&dir).iter().filter(|path| !pages.contains_key(&name(path))) {
            fs::remove_file(stale).unwrap();
        }
        for (name, page) in &pages {
            fs::write(dir.join(name), page).unwrap();
        }
    }
    let there: BTreeMap<String, String> =
        files(&dir).iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect();
    let hint = "BARGE_BLESS=1 cargo test --test manual";
    for (name, page) in &pages {
        assert_eq!(there.get(name), Some(page), "man/{name} is not what it should be; run {hint}");
    }
    let surplus: Vec<&String> = there.keys().filter(|name| !pages.contains_key(*name)).collect();
    assert!(surplus.is_empty(), "man/ has pages of no command: {surplus:?}; run {hint}");
}

#[test]
fn every_flag_is_explained() {
    let mut wrong = Vec::new();
    visit(&barge::cmd::definition(), "barge", &mut |path, command| {
        if command.get_about().is_none() {
            wrong.push(format!("{path} says nothing about itself"));
        }
        for arg in command.get_arguments() {
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            let limit = help.chars().count() <= 60;
            let capital =
                help.starts_with(|first: char| !first.is_lowercase()) || help.starts_with("no, ");
            if help.is_empty() || !limit || !capital || help.ends_with('.') {
                wrong.push(format!("{path}: {}: `{help}`", arg.get_id()));
            }
        }
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The flags of `docker run` (29) and `podman run` (5.8), but `--help`.
const PEERS: &str = "\
    add-host annotation arch attach authfile blkio-weight blkio-weight-device cap-add \
    cap-drop cert-dir cgroup-conf cgroup-parent cgroupns cgroups chrootdirs cidfile \
    conmon-pidfile cpu-count cpu-percent cpu-period cpu-quota cpu-rt-period cpu-rt-runtime \
    cpu-shares cpus cpuset-cpus cpuset-mems creds decryption-key detach detach-keys device \
    device-cgroup-rule device-read-bps device-read-iops device-write-bps device-write-iops \
    disable-content-trust dns dns-option dns-search domainname entrypoint env env-file \
    env-host env-merge expose gidmap gpus group-add group-entry health-cmd health-interval \
    health-log-destination health-max-log-count health-max-log-size health-on-failure \
    health-retries health-start-interval health-start-period health-startup-cmd \
    health-startup-interval health-startup-retries health-startup-success \
    health-startup-timeout health-timeout hostname hosts-file hostuser http-proxy \
    image-volume init init-path interactive io-maxbandwidth io-maxiops ip ip6 ipc isolation \
    kernel-memory label label-file link link-local-ip log-driver log-opt mac-address memory \
    memory-reservation memory-swap memory-swappiness mount name network network-alias \
    no-healthcheck no-hostname no-hosts oom-kill-disable oom-score-adj os passwd \
    passwd-entry personality pid pidfile pids-limit platform pod pod-id-file preserve-fd \
    preserve-fds privileged publish publish-all pull quiet rdt-class read-only \
    read-only-tmpfs replace requires restart retry retry-delay rm rmi rootfs runtime \
    sdnotify seccomp-policy secret security-opt shm-size shm-size-systemd sig-proxy \
    stop-signal stop-timeout storage-opt subgidname subuidname sysctl systemd timeout \
    tls-verify tmpfs tty tz uidmap ulimit umask unsetenv unsetenv-all use-api-socket user \
    userns uts variant volume volume-driver volumes-from workdir";

#[test]
fn every_flag_of_the_peers_is_there_or_has_a_reason() {
    let definition = barge::cmd::definition();
    for name in ["run", "create"] {
        let command = definition.find_subcommand(name).unwrap();
        let absent: Vec<_> = barge::cmd::absent_flags(command)
            .into_iter()
            .flat_map(|(flags, _)| flags)
            .copied()
            .collect();
        let lacks: Vec<_> = PEERS
            .split_whitespace()
            .filter(|flag| {
                let is_it = |arg: &clap::Arg| {
                    let aliases = arg.get_all_aliases().unwrap_or_default();
                    arg.get_long() == Some(*flag) || aliases.contains(flag)
                };
                !command.get_arguments().any(is_it) && !absent.contains(flag)
            })
            // They say how `run` itself goes on.
            .filter(|flag| {
                name == "run"
                    || !["detach", "detach-keys", "sig-proxy", "preserve-fd", "preserve-fds"]
                        .contains(flag)
            })
            .collect();
        assert!(lacks.is_empty(), "{name} says nothing of {lacks:?}");
    }
}

#[test]
fn definitions_hold_together() {
    barge::cmd::definition().debug_assert();
}

#[test]
fn completions_know_all_commands_and_flags() {
    for shell in ["bash", "zsh", "fish"] {
        let output =
            Process::new(env!("CARGO_BIN_EXE_barge")).args(["completion", shell]).output().unwrap();
        assert!(output.status.success(), "{shell}: {output:?}");
        let script = String::from_utf8(output.stdout).unwrap();
        visit(&barge::cmd::definition(), "barge", &mut |path, command| {
            assert!(script.contains(command.get_name()), "{shell} does not know {path}");
            for long in command.get_arguments().filter_map(clap::Arg::get_long) {
                assert!(script.contains(long), "{shell} does not know --{long} of {path}");
            }
        });
        check_syntax(shell, &script);
    }
}

/// Lets the shell itself read the script, where it is installed.
fn check_syntax(shell: &str, script: &str) {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("completion.{shell}"));
    fs::write(&file, script).unwrap();
    if let Ok(output) = Process::new(shell).arg("-n").arg(&file).output() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{shell} cannot read its script: {stderr}");
    }
}

/// Makes all pages, by file name.
fn pages() -> BTreeMap<String, String> {
    let mut pages = BTreeMap::new();
    let definition = barge::cmd::definition();
    visit(&definition, "barge", &mut |path, command| {
        let page = path.replace(' ', "-");
        // `barge image rm` is `barge rmi`: one page says it for both.
        let same = definition.get_subcommands().find(|top| {
            path.matches(' ').count() == 2 && is_same(top, command) && !top.has_subcommands()
        });
        let text = match same {
            Some(top) => format!(".so man1/barge-{}.1\n", top.get_name()),
            None => render(&page, command.clone()),
        };
        pages.insert(format!("{page}.1"), text);
    });
    pages
}

/// Tells whether two commands take the same flags to do the same.
fn is_same(one: &Command, other: &Command) -> bool {
    let flags = |command: &Command| -> Vec<String> {
        command.get_arguments().map(|arg| arg.get_id().to_string()).collect()
    };
    let about = |command: &Command| command.get_about().map(ToString::to_string);
    about(one) == about(other) && flags(one) == flags(other)
}

fn render(page: &str, command: Command) -> String {
    // Subcommands have pages of their own.
    let below: Vec<String> = command
        .get_subcommands()
        .map(|below| format!("\\fB{page}\\-{}\\fR(1)", below.get_name().replace('-', "\\-")))
        .collect();
    // Names of commands live as long as the program.
    let name: &'static str = page.to_owned().leak();
    let mut flat = Command::new(name).disable_help_flag(true).disable_version_flag(true);
    // Flags in the order of the alphabet, as in the help, whatever groups they are defined in.
    let mut arguments: Vec<_> = command.get_arguments().cloned().collect();
    arguments.sort_by_key(|arg| match arg.is_positional() {
        true => (true, String::new()),
        false => (false, arg.get_id().as_str().replace('_', "-")),
    });
    flat = flat.args(arguments);
    if let Some(about) = command.get_about() {
        flat = flat.about(about.clone());
    }
    if let Some(about) = command.get_long_about() {
        flat = flat.long_about(about.clone());
    }
    flat = match command.get_overridden_usage() {
        Some(usage) => flat.override_usage(usage.clone()),
        None => flat.override_usage("barge [options] [command]"),
    };
    if let Some(examples) = command.get_after_long_help() {
        flat = flat.after_long_help(examples.clone());
    }
    let man = Man::new(flat).title(page.to_uppercase()).manual("barge").source("barge").date("");
    let mut text = Vec::new();
    man.render_title(&mut text).unwrap();
    man.render_name_section(&mut text).unwrap();
    man.render_synopsis_section(&mut text).unwrap();
    man.render_description_section(&mut text).unwrap();
    man.render_options_section(&mut text).unwrap();
    let mut text = String::from_utf8(text).unwrap();
    if matches!(page, "barge-run" | "barge-create") {
        text.push_str(".SH \"CONTAINERS.CONF\"\n");
        text.push_str(&CONTAINERS_CONF.replace('-', "\\-"));
    }
    let absent = barge::cmd::absent_flags(&command);
    if !absent.is_empty() {
        text.push_str(".SH \"FLAGS OF OTHER TOOLS\"\n");
        text.push_str("Of the flags of docker and podman, these are not there:\n");
        for (flags, reason) in absent {
            let flags: Vec<_> =
                flags.iter().map(|flag| format!("\\-\\-{}", flag.replace('-', "\\-"))).collect();
            text.push_str(&format!(".TP\n{}\n{reason}\n", flags.join(", ")));
        }
    }
    let mut see = below;
    if page != "barge" {
        see.insert(0, "\\fBbarge\\fR(1)".to_owned());
    }
    text.push_str(&format!(".SH \"SEE ALSO\"\n{}\n", see.join(",\n")));
    text
}

/// What run and create take from containers.conf(5).
const CONTAINERS_CONF: &str = "\
What the flags leave open is taken from containers.conf(5), where it is said. \
These files are read, each over those before: \
/usr/share/containers/containers.conf, /etc/containers/containers.conf, \
/etc/containers/containers.conf.d/*.conf, \
$XDG_CONFIG_HOME/containers/containers.conf (or in ~/.config), \
$XDG_CONFIG_HOME/containers/containers.conf.d/*.conf. \
$CONTAINERS_CONF names a file that is read instead of all of them, $CONTAINERS_CONF_OVERRIDE one that is read last.
.PP
Of the table containers: annotations, base_hosts_file, cgroup_conf, cgroupns, cgroups, default_capabilities, \
default_sysctls, default_ulimits, devices, dns_options, dns_searches, dns_servers, env, env_host, \
host_containers_internal_ip, http_proxy, init, init_path, ipcns, log_driver, log_size_max, log_tag, \
mounts, netns, no_hosts, oom_score_adj, pidns, pids_limit, privileged, read_only, seccomp_profile, \
shm_size, tz, umask, userns, utsns, volumes. \
Of the table engine: cdi_spec_dirs, pull_policy, stop_timeout. \
Other keys are passed over. \
Of the file in /usr/share, default_capabilities, default_sysctls and seccomp_profile are, too: \
there, distributions take capabilities away that Docker gives.
";

fn visit(command: &Command, path: &str, act: &mut dyn FnMut(&str, &Command)) {
    act(path, command);
    for below in command.get_subcommands() {
        visit(below, &format!("{path} {}", below.get_name()), act);
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir)
        .map_or_else(|_| Vec::new(), |entries| entries.map(|entry| entry.unwrap().path()).collect())
}

fn name(path: &Path) -> String {
    path.file_name().unwrap().to_string_lossy().into_owned()
}
