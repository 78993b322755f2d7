//! A container as it is asked for.
//!
//! [`ContainerSpec`] is made by the command line, the REST API, compose and the like, and goes into
//! one engine call. [`Settings`] is the part of it that needs no decision and is recorded as it is.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::account::Accounts;
use super::blkio::DeviceRule;
use super::cdi::is_qualified;
use super::group::{CgroupsMode, GroupParent};
use super::health::HealthSpec;
use super::limits::{Resources, RestartPolicy, Ulimit};
use super::log::LogSettings;
use super::mount::Mount;
use super::namespace::Namespaces;
use super::network::{NameResolution, NetworkMode, PortMapping};
use super::notify::SdNotify;
use super::platform::Platform;
use super::process::{Personality, Signal};
use super::secret::SecretUse;
use super::security::Security;
use super::systemd::SystemdMode;
use super::userns::Users;
use super::volume::ImageVolumes;
use crate::error::{Error, Kind, Result};

/// A container as it is asked for.
#[derive(Clone, Debug, Default)]
pub struct ContainerSpec {
    /// Image name, digest or ID as the user wrote it.
    pub image: String,
    /// Which image of a manifest list; the one for this machine if nothing is said.
    pub platform: Option<Platform>,
    /// Name; one is made up if there is none.
    pub name: Option<String>,
    /// Words after the image: replace the image's command.
    pub command: Vec<String>,
    /// Replaces the image's entrypoint (and its command); an empty list means none.
    pub entrypoint: Option<Vec<String>>,
    /// Variables that the image's go over: those of the caller, and where its proxies are.
    pub env_below: Vec<(String, String)>,
    /// Variables that go over the usual ones, and below the image's.
    pub env_usual: Vec<(String, String)>,
    /// Variables to set (`Some`), or to take over from the caller's environment (already resolved).
    pub env: Vec<(String, String)>,
    /// Variables to set, in which `${NAME}` stands for the value so far.
    pub env_merge: Vec<(String, String)>,
    /// Whether all variables of the image and those that are usual are left out.
    pub unset_env_all: bool,
    /// Variables of the image that are left out.
    pub unset_env: Vec<String>,
    /// Working directory in the container; the image's if there is none.
    pub working_dir: Option<PathBuf>,
    /// `USER[:GROUP]`, names or numbers; the image's if there is none.
    pub user: Option<String>,
    /// Labels, over those of the image.
    pub labels: BTreeMap<String, String>,
    /// Signal that asks it to stop; the image's or TERM if there is none.
    pub stop_signal: Option<Signal>,
    /// Ports that are declared besides those of the image, as in `80/tcp`.
    pub exposed_ports: Vec<String>,
    /// Whether all ports that are declared are published (`-P`).
    pub publish_all: bool,
    /// Containers whose volumes it has as well, as in `db:ro`.
    pub volumes_from: Vec<String>,
    /// What becomes of the volumes that the image declares.
    pub image_volumes: ImageVolumes,
    /// Whether a container that holds the name is removed first.
    pub replace: bool,
    /// How its health is probed.
    pub health: HealthSpec,
    /// What is recorded as it is.
    pub settings: Settings,
}

/// The part of a request that is recorded as it is.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Host name; the short ID if there is none.
    pub hostname: Option<String>,
    /// Domain of NIS.
    pub domainname: Option<String>,
    /// Whether it has a terminal.
    pub tty: bool,
    /// Whether its standard input is kept open for the user.
    pub interactive: bool,
    /// Whether its input goes on when who has attached to it says no more, for others who attach later.
    /// Docker's clients ask for that with `run -di`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub input_stays: bool,
    /// Whether it is removed when it exits.
    pub remove: bool,
    /// Whether a small init that reaps children is process 1.
    pub init: bool,
    /// Program of the host that is process 1 instead of ours.
    pub init_path: Option<PathBuf>,
    /// Whether its root file system is read-only.
    pub read_only: bool,
    /// Whether nothing is writable in one that is read-only.
    pub no_read_only_tmpfs: bool,
    /// What a client of Docker's API calls its image, which is what it is to be shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_as_asked: Option<String>,
    /// A directory that it has instead of an image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rootfs: Option<RootfsDir>,
    /// Secrets that it gets.
    pub secrets: Vec<SecretUse>,
    /// Volumes, binds and tmpfs.
    pub mounts: Vec<Mount>,
    /// Host devices, as `HOST[:CONTAINER[:rwm]]`, or by name as `VENDOR/CLASS=NAME`.
    pub devices: Vec<String>,
    /// Where it is said what devices with names are; the usual directories if there are none.
    pub cdi_directories: Vec<PathBuf>,
    /// Devices that it may or may not use, by number.
    pub device_rules: Vec<DeviceRule>,
    /// Further groups of its user, names or numbers.
    pub groups: Vec<String>,
    /// Network it is on.
    pub network: NetworkMode,
    /// Published ports.
    pub ports: Vec<PortMapping>,
    /// Names and name servers.
    pub names: NameResolution,
    /// Limits.
    pub resources: Resources,
    /// The group above its control group.
    pub cgroup_parent: Option<GroupParent>,
    /// Whether it has a control group.
    pub cgroups: CgroupsMode,
    /// Whether it is made for systemd.
    pub systemd: SystemdMode,
    /// Bytes of each file system in memory that is there for systemd.
    pub systemd_size: Option<u64>,
    /// Rlimits.
    pub ulimits: Vec<Ulimit>,
    /// Kernel parameters of its namespaces.
    pub sysctls: BTreeMap<String, String>,
    /// What it may do.
    pub security: Security,
    /// Which namespaces it shares with whom.
    pub namespaces: Namespaces,
    /// Its users.
    pub users: Users,
    /// Seconds between the stop signal and KILL; 10 if there is none.
    pub stop_timeout: Option<u32>,
    /// Seconds after which it is killed.
    pub timeout: Option<u32>,
    /// Whether it is started again.
    pub restart: RestartPolicy,
    /// Where its output goes.
    pub log: LogSettings,
    /// Permission bits that new files do not get; 0022 if there is none.
    pub umask: Option<u32>,
    /// File that receives the ID; removed with the container.
    pub cidfile: Option<PathBuf>,
    /// File that receives the process ID.
    pub pidfile: Option<PathBuf>,
    /// File that receives the monitor's process ID.
    pub monitor_pidfile: Option<PathBuf>,
    /// Time zone, as in `Europe/Rome`, or `local`.
    pub time_zone: Option<String>,
    /// Who tells the service manager that it is ready.
    pub sdnotify: SdNotify,
    /// Which system it looks like to its programs.
    pub personality: Option<Personality>,
    /// Containers that run before it does: names when asked for, IDs on record.
    pub requires: Vec<String>,
    /// Lines for its user databases.
    pub accounts: Accounts,
    /// Annotations of the OCI runtime.
    pub annotations: BTreeMap<String, String>,
    /// Whose files it shows, if it is there to look into another container.
    pub debugged: Option<Debugged>,
}

/// A container that another one looks into.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Debugged {
    /// Its ID.
    pub id: String,
    /// Whether it ran: then its namespaces are joined, too.
    pub runs: bool,
}

impl Debugged {
    /// Where its files are seen.
    pub const PLACE: &str = "/container";
}

/// A directory that is a container's root file system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootfsDir {
    /// The directory; absolute on record.
    pub path: PathBuf,
    /// Whether changes go to the container's own files instead.
    pub overlay: bool,
}

impl FromStr for RootfsDir {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (path, overlay) = match text.rsplit_once(':') {
            Some((path, "O")) => (path, true),
            Some((path, "")) => (path, false),
            Some((_, word)) if !word.contains('/') => {
                let message = format!("invalid root directory `{text}`: unknown option `{word}`");
                return Err(
                    Error::new(Kind::Invalid, message).hint("write DIRECTORY or DIRECTORY:O")
                );
            }
            _ => (text, false),
        };
        if path.is_empty() {
            return Err(Error::new(
                Kind::Invalid,
                "--rootfs needs a directory instead of an image",
            ));
        }
        Ok(Self { path: PathBuf::from(path), overlay })
    }
}

/// Checks `--device`: `HOST[:CONTAINER][:PERMISSIONS]` with absolute paths and letters of `rwm`, or
/// `VENDOR/CLASS=NAME`.
pub fn parse_device(text: &str) -> Result<String> {
    if is_qualified(text) {
        return Ok(text.to_owned());
    }
    let mut fields = text.split(':');
    let permissions = |text: &str| !text.is_empty() && text.chars().all(|c| "rwm".contains(c));
    let good = match (fields.next(), fields.next(), fields.next(), fields.next()) {
        (Some(host), None, ..) => host.starts_with('/'),
        (Some(host), Some(second), None, _) => {
            host.starts_with('/') && (second.starts_with('/') || permissions(second))
        }
        (Some(host), Some(inside), Some(third), None) => {
            host.starts_with('/') && inside.starts_with('/') && permissions(third)
        }
        _ => false,
    };
    if good {
        return Ok(text.to_owned());
    }
    Err(Error::new(Kind::Invalid, format!("invalid device `{text}`"))
        .hint("write HOST[:CONTAINER][:rwm], as in /dev/fuse or /dev/sda:/dev/xvda:r, or VENDOR/CLASS=NAME"))
}

/// Parses permission bits in octal digits, as for `--umask`.
pub fn parse_umask(text: &str) -> Result<u32> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    u32::from_str_radix(text, 8).ok().filter(|bits| digits && *bits <= 0o777).ok_or_else(|| {
        Error::new(Kind::Invalid, format!("invalid umask `{text}`"))
            .hint("write octal digits, as in 0022")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_devices() {
        for (text, good) in [
            ("/dev/fuse", true),
            ("/dev/fuse:rw", true),
            ("/dev/sda:/dev/xvda", true),
            ("/dev/sda:/dev/xvda:r", true),
            ("vendor.com/class=name", true),
            ("dev/fuse", false),
            ("/dev/sda:xvda", false),
            ("/dev/sda:/dev/xvda:x", false),
            ("/dev/sda:/dev/xvda:", false),
            ("/dev/a:/dev/b:r:w", false),
            ("", false),
        ] {
            assert_eq!(parse_device(text).is_ok(), good, "{text}");
        }
    }

    #[test]
    fn parses_root_directories() {
        for (text, want) in [
            ("/srv/root", Some(("/srv/root", false))),
            ("root:O", Some(("root", true))),
            ("/a:b/c", Some(("/a:b/c", false))),
            ("/a:x", None),
            (":O", None),
            ("", None),
        ] {
            let got = text.parse::<RootfsDir>().ok();
            let want = want.map(|(path, overlay)| RootfsDir { path: path.into(), overlay });
            assert_eq!(got, want, "{text}");
        }
    }

    #[test]
    fn parses_umasks() {
        for (text, want) in [
            ("0022", Some(0o022)),
            ("77", Some(0o77)),
            ("8", None),
            ("1777", None),
            ("+7", None),
            ("", None),
        ] {
            assert_eq!(parse_umask(text).ok(), want, "{text}");
        }
    }
}
