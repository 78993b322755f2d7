//! The flags of `run` and `create` that say what the container is to be.
//!
//! One file a subject; each has its flags, and adds what they say to the [`ContainerSpec`].

pub(in crate::cmd) mod absent;
mod devices;
pub(super) mod disks;
mod glob;
mod groups;
pub(super) mod health;
mod identity;
mod io;
mod limits;
mod log;
mod mounts;
mod names;
mod namespaces;
mod network;
pub(super) mod preserve;
mod process;
mod security;
pub(super) mod usage;

use clap::{ArgAction, Args};

use super::pull::PullFlags;
use crate::cmd::output;
use crate::error::{Error, Kind, Result};
use crate::spec::container::ContainerSpec;
use crate::spec::defaults::Defaults;
use crate::spec::log::LogDriver;
use crate::spec::size::Size;

/// Which container is wanted.
#[derive(Args, Debug)]
pub(crate) struct ContainerFlags {
    #[command(flatten)]
    devices: devices::DevicesFlags,
    /// Does nothing; other tools have it
    #[arg(long, action = ArgAction::SetTrue)]
    disable_content_trust: bool,
    /// Does nothing; other tools have had it
    #[arg(long, value_name = "SIZE")]
    kernel_memory: Option<Size>,
    #[command(flatten)]
    groups: groups::GroupsFlags,
    #[command(flatten)]
    health: health::HealthFlags,
    #[command(flatten)]
    pub(super) identity: identity::IdentityFlags,
    #[command(flatten)]
    io: io::IoFlags,
    #[command(flatten)]
    limits: limits::LimitsFlags,
    #[command(flatten)]
    log: log::LogFlags,
    #[command(flatten)]
    mounts: mounts::MountsFlags,
    #[command(flatten)]
    names: names::NamesFlags,
    #[command(flatten)]
    namespaces: namespaces::NamespacesFlags,
    #[command(flatten)]
    network: network::NetworkFlags,
    #[command(flatten)]
    pub(super) process: process::ProcessFlags,
    #[command(flatten)]
    pub(super) pull: PullFlags,
    #[command(flatten)]
    security: security::SecurityFlags,
    /// Image, then the command and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "IMAGE")]
    words: Vec<String>,
}

impl ContainerFlags {
    /// Returns the log driver.
    pub(in crate::cmd) fn log_driver(&self, usual: &Defaults) -> LogDriver {
        self.log.driver(usual)
    }

    /// Returns the container that the flags ask for, with what is usual here where they say nothing.
    pub(crate) fn request(self, usual: &Defaults) -> Result<ContainerSpec> {
        if self.kernel_memory.is_some() {
            output::warning(
                "--kernel-memory is ignored: the kernel counts its own memory with the container's",
            );
        }
        let mut words = self.words.into_iter();
        let mut spec = ContainerSpec {
            image: words.next().unwrap_or_default(),
            command: words.collect(),
            platform: self.pull.platform()?,
            ..ContainerSpec::default()
        };
        self.devices.apply(usual, &mut spec);
        self.groups.apply(usual, &mut spec);
        self.health.apply(&mut spec)?;
        self.identity.apply(usual, &mut spec)?;
        self.limits.apply(usual, &mut spec)?;
        self.io.apply(usual, &mut spec)?;
        self.log.apply(usual, &mut spec)?;
        self.mounts.apply(usual, &mut spec)?;
        self.names.apply(usual, &mut spec)?;
        self.namespaces.apply(usual, &mut spec);
        self.network.apply(usual, &mut spec)?;
        self.process.apply(usual, &mut spec)?;
        self.security.apply(usual, &mut spec)?;
        Ok(spec)
    }
}

/// Says that two flags contradict each other.
pub(crate) fn together(one: &str, other: &str) -> Error {
    Error::new(Kind::Invalid, format!("--{one} and --{other} cannot be set together"))
}
