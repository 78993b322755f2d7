//! `barge pull`, and the flags of other commands that may pull.

use std::path::PathBuf;

use clap::Args;

use super::World;
use super::containers::for_each;
use super::exit::Status;
use super::progress::Display;
use super::tree::Act;
use crate::engine::Engine;
use crate::engine::images::{self, PullOptions, PullPolicy, RegistryOptions};
use crate::error::Result;
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
    /// File that says whose signatures images must have
    #[arg(long, value_name = "FILE")]
    signature_policy: Option<PathBuf>,
    /// Insist on HTTPS with a valid certificate
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = super::parse::truth)]
    tls_verify: Option<bool>,
}

/// Whether and how the image of a new container is got.
#[derive(Args, Clone, Debug)]
pub(crate) struct PullFlags {
    /// When to pull: always, missing, never or newer
    #[arg(long, value_name = "WHEN", default_value = "missing")]
    pull: PullPolicy,
    #[command(flatten)]
    registry: RegistryFlags,
}

impl RegistryFlags {
    fn options(&self, policy: PullPolicy) -> PullOptions {
        let credentials = self.creds.as_ref().map(|text| match text.split_once(':') {
            Some((user, password)) => (user.to_owned(), password.to_owned()),
            None => (text.clone(), String::new()),
        });
        PullOptions {
            policy,
            platform: self.platform.clone(),
            registry: RegistryOptions {
                tls_verify: self.tls_verify,
                credentials,
                authfile: self.authfile.clone(),
                signature_policy: self.signature_policy.clone(),
            },
        }
    }
}

impl PullFlags {
    /// Gets an image if the policy says so.
    pub(crate) fn ensure(&self, engine: &Engine, name: &str) -> Result<()> {
        let display = Display::new(self.registry.quiet);
        images::pull(engine.store(), name, &self.registry.options(self.pull), &display)?;
        display.finish();
        Ok(())
    }
}

/// Pull images from registries
///
/// A name without a registry stands for one of docker.io. The ID of each image is printed.
#[derive(Args, Debug)]
pub(crate) struct Pull {
    /// When to pull: always, missing, never or newer
    #[arg(long, value_name = "WHEN", default_value = "always")]
    policy: PullPolicy,
    #[command(flatten)]
    registry: RegistryFlags,
    /// Images, by name
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,
}

impl Act for Pull {
    fn act(self, world: &mut World) -> Result<Status> {
        let engine = world.power()?;
        let options = self.registry.options(self.policy);
        for_each(world, &self.images, Status::of_error, |world, name| {
            let name = name.strip_prefix("docker://").unwrap_or(name);
            let display = Display::new(self.registry.quiet);
            let pulled = images::pull(engine.store(), name, &options, &display);
            display.finish();
            world.out.line(pulled?.id.hex())
        })
    }
}
