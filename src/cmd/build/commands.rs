//! What commands of a build get: flags as those of containers.

use std::net::IpAddr;

use clap::Args;

use crate::cmd::flags::usage::UsageFlags;
use crate::error::{Error, Kind, Result};
use crate::spec::container::{Settings, parse_device};
use crate::spec::group::GroupParent;
use crate::spec::limits::{Resources, Ulimit};
use crate::spec::mount::Mount;
use crate::spec::namespace::{IpcMode, NamespaceMode, Namespaces};
use crate::spec::network::{NameResolution, NetworkMode, parse_host, parse_server};
use crate::spec::security::{Security, parse_capability};
use crate::spec::size::Size;
use crate::spec::userns::{MapRequest, UsernsMode, Users};

/// Reads which users commands have; as other builders have it, `container` is a namespace of their own.
fn parse_users(text: &str) -> Result<UsernsMode> {
    match text {
        "container" => Ok(UsernsMode::Private),
        path if path.starts_with('/') => Ok(UsernsMode::Ns(path.into())),
        other => other.parse(),
    }
}

/// What commands get.
#[derive(Args, Debug)]
pub(super) struct CommandFlags {
    /// Add a line to /etc/hosts of commands
    #[arg(long, value_name = "NAME:IP", value_parser = parse_host)]
    add_host: Vec<(String, String)>,
    /// Add a capability to those of commands, or ALL
    #[arg(long, value_name = "CAPABILITY", value_delimiter = ',', value_parser = parse_capability)]
    cap_add: Vec<String>,
    /// Drop a capability of commands, or ALL
    #[arg(long, value_name = "CAPABILITY", value_delimiter = ',', value_parser = parse_capability)]
    cap_drop: Vec<String>,
    /// Group above the control groups of commands
    #[arg(long, value_name = "PATH|SLICE")]
    cgroup_parent: Option<GroupParent>,
    /// Control groups that commands see: private or host
    #[arg(long, value_name = "MODE")]
    cgroupns: Option<NamespaceMode>,
    /// Add a device of the host for commands
    #[arg(long, value_name = "HOST[:CONTAINER][:rwm]|NAME", value_parser = parse_device)]
    device: Vec<String>,
    /// Use this name server in commands
    #[arg(long, value_name = "IP", value_parser = parse_server)]
    dns: Vec<Option<IpAddr>>,
    /// Add an option for the resolver of commands
    #[arg(long, value_name = "OPTION")]
    dns_option: Vec<String>,
    /// Use this search domain in commands
    #[arg(long, value_name = "DOMAIN")]
    dns_search: Vec<String>,
    /// Add a group to those of the user of commands
    #[arg(long, value_name = "GROUP")]
    group_add: Vec<String>,
    /// IPC of commands: private, none or host
    #[arg(long, value_name = "MODE")]
    ipc: Option<IpcMode>,
    /// How commands are kept apart: always as containers are
    ///
    /// The words oci, rootless and chroot are taken for the sake of scripts, and change nothing.
    #[arg(long, value_name = "HOW", value_parser = ["default", "oci", "rootless", "chroot"])]
    isolation: Option<String>,
    /// Network of commands: none, host or a name
    #[arg(long, value_name = "NETWORK")]
    network: Option<NetworkMode>,
    /// Keep the image's /etc/hosts in commands
    #[arg(long)]
    no_hosts: bool,
    /// Processes that commands see: private or host
    #[arg(long, value_name = "MODE")]
    pid: Option<NamespaceMode>,
    /// Security option of commands, as in seccomp=unconfined
    #[arg(long, value_name = "OPTION")]
    security_opt: Vec<String>,
    /// Size of /dev/shm of commands
    #[arg(long, value_name = "SIZE")]
    shm_size: Option<Size>,
    /// Let commands read standard input
    #[arg(long)]
    pub(super) stdin: bool,
    /// Set an rlimit of commands
    #[arg(long, value_name = "NAME=SOFT[:HARD]")]
    ulimit: Vec<Ulimit>,
    #[command(flatten)]
    usage: UsageFlags,
    /// Users of commands: host, private, auto, keep-id or nomap
    ///
    /// With host, which is usual, they are those of the build. With auto, a range of IDs that no container has stands for them, and with private all IDs for themselves, or those that the flags below say. What commands leave has the owners that they see. Without root, each command works on a copy of the image's files then, unless all IDs stand for themselves. A namespace of a container or at a path is refused.
    #[arg(long, value_name = "MODE", value_parser = parse_users)]
    userns: Option<UsernsMode>,
    /// Map the group IDs of commands, as in 0:100000:65536
    #[arg(long, value_name = "INSIDE:OUTSIDE:COUNT", value_delimiter = ',')]
    userns_gid_map: Vec<MapRequest>,
    /// Map the group IDs that /etc/subgid gives this name
    #[arg(long, value_name = "NAME")]
    userns_gid_map_group: Option<String>,
    /// Map the user IDs of commands, as in 0:100000:65536
    #[arg(long, value_name = "INSIDE:OUTSIDE:COUNT", value_delimiter = ',')]
    userns_uid_map: Vec<MapRequest>,
    /// Map the user IDs that /etc/subuid gives this name
    #[arg(long, value_name = "NAME")]
    userns_uid_map_user: Option<String>,
    /// Host name of commands: private or host
    #[arg(long, value_name = "MODE")]
    uts: Option<NamespaceMode>,
    /// Bind a directory into commands
    #[arg(short, long, value_name = "SOURCE:TARGET[:OPTIONS]", value_parser = Mount::parse_volume)]
    volume: Vec<Mount>,
}

impl CommandFlags {
    /// Returns what commands get.
    pub(super) fn settings(self) -> Result<Settings> {
        let is_host = self.userns == Some(UsernsMode::Host);
        let mut security =
            Security { cap_add: self.cap_add, cap_drop: self.cap_drop, ..Security::default() };
        for option in &self.security_opt {
            security.apply(option)?;
        }
        let mut users = Users {
            mode: self.userns.unwrap_or_default(),
            uids: self.userns_uid_map,
            gids: self.userns_gid_map,
            subuid_name: self.userns_uid_map_user,
            subgid_name: self.userns_gid_map_group,
        };
        if users != (Users { mode: users.mode.clone(), ..Users::default() }) {
            if is_host {
                return Err(Error::new(
                    Kind::Invalid,
                    "--userns=host and maps of user or group IDs cannot be set together",
                ));
            }
            if users.mode == UsernsMode::Host {
                users.mode = UsernsMode::Private;
            }
        }
        let hosts = self.add_host;
        if self.no_hosts && !hosts.is_empty() {
            return Err(Error::new(
                Kind::Invalid,
                "--no-hosts and --add-host cannot be set together",
            ));
        }
        Ok(Settings {
            cgroup_parent: self.cgroup_parent,
            devices: self.device,
            groups: self.group_add,
            mounts: self.volume,
            names: NameResolution {
                hosts,
                no_hosts: self.no_hosts,
                servers: self.dns.into_iter().flatten().collect(),
                search: self.dns_search,
                options: self.dns_option,
                ..NameResolution::default()
            },
            namespaces: Namespaces {
                ipc: self.ipc.unwrap_or_default(),
                pid: self.pid.unwrap_or_default(),
                uts: self.uts.unwrap_or_default(),
                cgroup: self.cgroupns.unwrap_or_default(),
            },
            network: self.network.unwrap_or_default(),
            resources: Resources {
                shm_size: self.shm_size.map(|size| size.0),
                ..self.usage.resources()?
            },
            security,
            ulimits: self.ulimit,
            users,
            ..Settings::default()
        })
    }
}
