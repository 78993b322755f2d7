//! The flags of `run` and `create` that say what the container is to be.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;

use super::pull::PullFlags;
use crate::spec::container::{LogDriver, parse_device, parse_umask};
use crate::spec::env::{parse_label, parse_pair};
use crate::spec::limits::{RestartPolicy, Ulimit, parse_cpus, parse_swap};
use crate::spec::mount::Mount;
use crate::spec::name;
use crate::spec::network::{NetworkMode, PortMapping, parse_exposed, parse_host};
use crate::spec::process::Signal;
use crate::spec::security::parse_capability;
use crate::spec::size::Size;

/// Which container is wanted.
#[derive(Args, Debug)]
pub(crate) struct ContainerFlags {
    /// Add a line to /etc/hosts
    #[arg(long, value_name = "NAME:IP", value_parser = parse_host)]
    pub(super) add_host: Vec<Vec<(String, String)>>,
    /// Add an annotation of the OCI runtime
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_pair)]
    pub(super) annotation: Vec<(String, String)>,
    /// Add a Linux capability, or ALL
    #[arg(long, value_name = "CAPABILITY", value_delimiter = ',', value_parser = parse_capability)]
    pub(super) cap_add: Vec<String>,
    /// Drop a Linux capability, or ALL
    #[arg(long, value_name = "CAPABILITY", value_delimiter = ',', value_parser = parse_capability)]
    pub(super) cap_drop: Vec<String>,
    /// Control group namespace: private or host
    #[arg(long, value_name = "MODE", value_parser = namespace)]
    pub(super) cgroupns: Option<Share>,
    /// Write the container's ID to this file
    #[arg(long, value_name = "FILE")]
    pub(super) cidfile: Option<PathBuf>,
    /// Length of a scheduling period in microseconds
    #[arg(long, value_name = "MICROSECONDS")]
    pub(super) cpu_period: Option<u64>,
    /// Processor time in a period in microseconds
    #[arg(long, value_name = "MICROSECONDS")]
    pub(super) cpu_quota: Option<i64>,
    /// Relative weight of processor time
    #[arg(short, long, value_name = "WEIGHT")]
    pub(super) cpu_shares: Option<u64>,
    /// Number of processors, as in 1.5
    #[arg(long, value_name = "NUMBER", value_parser = parse_cpus)]
    pub(super) cpus: Option<u64>,
    /// Processors to run on, as in 0-3,5
    #[arg(long, value_name = "LIST")]
    pub(super) cpuset_cpus: Option<String>,
    /// Memory nodes to use, as in 0,1
    #[arg(long, value_name = "LIST")]
    pub(super) cpuset_mems: Option<String>,
    /// Add a device of the host
    #[arg(long, value_name = "HOST[:CONTAINER][:rwm]", value_parser = parse_device)]
    pub(super) device: Vec<String>,
    /// Use this name server
    #[arg(long, value_name = "IP")]
    pub(super) dns: Vec<IpAddr>,
    /// Add an option for the resolver
    #[arg(long, visible_alias = "dns-opt", value_name = "OPTION")]
    pub(super) dns_option: Vec<String>,
    /// Use this search domain
    #[arg(long, value_name = "DOMAIN")]
    pub(super) dns_search: Vec<String>,
    /// Replace the image's entrypoint
    #[arg(long, value_name = "COMMAND")]
    pub(super) entrypoint: Option<String>,
    /// Set a variable, or take over your own
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    pub(super) env: Vec<String>,
    /// Read variables from this file
    #[arg(long, value_name = "FILE")]
    pub(super) env_file: Vec<PathBuf>,
    /// Declare a port
    #[arg(long, value_name = "PORT[/PROTOCOL]", value_parser = parse_exposed)]
    pub(super) expose: Vec<Vec<String>>,
    /// Add a group to its user
    #[arg(long, value_name = "GROUP")]
    pub(super) group_add: Vec<String>,
    /// Set the host name
    #[arg(short = 'h', long, value_name = "NAME")]
    pub(super) hostname: Option<String>,
    /// Run a small init that reaps children
    #[arg(long)]
    pub(super) init: bool,
    /// Keep standard input open
    #[arg(short, long)]
    pub(super) interactive: bool,
    /// IPC namespace: private, shareable or host
    #[arg(long, value_name = "MODE", value_parser = namespace)]
    pub(super) ipc: Option<Share>,
    /// Add a label
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = parse_label)]
    pub(super) label: Vec<(String, String)>,
    /// Read labels from this file
    #[arg(long, value_name = "FILE")]
    pub(super) label_file: Vec<PathBuf>,
    /// How output is kept: k8s-file or none
    #[arg(long, value_name = "NAME")]
    pub(super) log_driver: Option<LogDriver>,
    /// Option of the log, as in max-size=10m
    #[arg(long, value_name = "KEY=VALUE")]
    pub(super) log_opt: Vec<String>,
    /// Memory limit, as in 512m
    #[arg(short, long, value_name = "SIZE")]
    pub(super) memory: Option<Size>,
    /// Soft memory limit
    #[arg(long, value_name = "SIZE")]
    pub(super) memory_reservation: Option<Size>,
    /// Limit of memory and swap together, or -1
    #[arg(long, value_name = "SIZE", value_parser = parse_swap)]
    pub(super) memory_swap: Option<i64>,
    /// Add a mount, as in type=bind,src=/a,dst=/b
    #[arg(long, value_name = "KEY=VALUE,…", value_parser = Mount::parse_mount)]
    pub(super) mount: Vec<Mount>,
    /// Name it
    #[arg(long, value_name = "NAME", value_parser = name::parse)]
    pub(super) name: Option<String>,
    /// Network: a name, none, host or container:NAME
    #[arg(long, visible_alias = "net", value_name = "NETWORK")]
    pub(super) network: Option<NetworkMode>,
    /// Do not run health checks
    #[arg(long)]
    pub(super) no_healthcheck: bool,
    /// Switch off the out-of-memory killer
    #[arg(long)]
    pub(super) oom_kill_disable: bool,
    /// How soon it is killed when memory is short
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(i32).range(-1000..=1000))]
    pub(super) oom_score_adj: Option<i32>,
    /// Process namespace: private or host
    #[arg(long, value_name = "MODE", value_parser = namespace)]
    pub(super) pid: Option<Share>,
    /// Write its process ID to this file
    #[arg(long, value_name = "FILE")]
    pub(super) pidfile: Option<PathBuf>,
    /// Most processes and threads, or -1
    #[arg(long, value_name = "NUMBER")]
    pub(super) pids_limit: Option<i64>,
    /// Switch off nearly all isolation of privileges
    #[arg(long)]
    pub(super) privileged: bool,
    /// Publish a port
    #[arg(short, long, value_name = "[[IP:]HOST:]CONTAINER")]
    pub(super) publish: Vec<PortMapping>,
    /// Publish all ports that are exposed
    #[arg(short = 'P', long)]
    pub(super) publish_all: bool,
    /// Make its root file system read-only
    #[arg(long)]
    pub(super) read_only: bool,
    /// Remove a container that has the name first
    #[arg(long)]
    pub(super) replace: bool,
    /// no, always, unless-stopped or on-failure[:MAX]
    #[arg(long, value_name = "POLICY")]
    pub(super) restart: Option<RestartPolicy>,
    /// Remove it when it exits
    #[arg(long)]
    pub(super) rm: bool,
    /// Security option, as in seccomp=unconfined
    #[arg(long, value_name = "OPTION")]
    pub(super) security_opt: Vec<String>,
    /// Size of /dev/shm
    #[arg(long, value_name = "SIZE")]
    pub(super) shm_size: Option<Size>,
    /// Signal that asks it to stop
    #[arg(long, value_name = "SIGNAL")]
    pub(super) stop_signal: Option<Signal>,
    /// Seconds to wait before killing it
    #[arg(long, value_name = "SECONDS")]
    pub(super) stop_timeout: Option<u32>,
    /// Set a kernel parameter of its namespaces
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_pair)]
    pub(super) sysctl: Vec<(String, String)>,
    /// Mount a file system in memory
    #[arg(long, value_name = "PATH[:OPTIONS]", value_parser = Mount::parse_tmpfs)]
    pub(super) tmpfs: Vec<Mount>,
    /// Give it a terminal
    #[arg(short, long)]
    pub(super) tty: bool,
    /// Set an rlimit
    #[arg(long, value_name = "NAME=SOFT[:HARD]")]
    pub(super) ulimit: Vec<Ulimit>,
    /// Permission bits that new files do not get
    #[arg(long, value_name = "BITS", value_parser = parse_umask)]
    pub(super) umask: Option<u32>,
    /// Leave out a variable of the image
    #[arg(long, value_name = "NAME")]
    pub(super) unsetenv: Vec<String>,
    /// User to run as
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub(super) user: Option<String>,
    /// Host name namespace: private or host
    #[arg(long, value_name = "MODE", value_parser = namespace)]
    pub(super) uts: Option<Share>,
    /// Bind a file or directory of the host
    #[arg(short, long, value_name = "SOURCE:TARGET[:OPTIONS]", value_parser = Mount::parse_volume)]
    pub(super) volume: Vec<Mount>,
    /// Directory to start in
    #[arg(short, long, value_name = "PATH")]
    pub(super) workdir: Option<PathBuf>,
    #[command(flatten)]
    pub(super) pull: PullFlags,
    /// Image, then the command and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "IMAGE")]
    pub(super) words: Vec<String>,
}

/// Whether a namespace is the host's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share(pub(super) bool);

/// Parses the mode of a namespace that is either shared with the host or not.
fn namespace(text: &str) -> crate::Result<Share> {
    use crate::error::{Error, Kind};
    match text {
        "" | "private" | "shareable" => Ok(Share(false)),
        "host" => Ok(Share(true)),
        _ => Err(Error::new(Kind::Unsupported, format!("unsupported namespace mode `{text}`"))
            .hint("use private or host")),
    }
}
