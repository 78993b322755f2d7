//! `barge pull`, and the flags of other commands that may pull.

use std::io::BufRead;
use std::path::PathBuf;

use clap::{ArgAction, Args};

use super::access::AccessFlags;
use super::answers::{self, RemoteName};
use super::containers::for_each;
use super::exit::Status;
use super::host::refuse;
use super::progress::Display;
use super::tree::Act;
use super::{World, output};
use crate::engine::Engine;
use crate::engine::images::{self, PullOptions, PullPolicy, RegistryOptions};
use crate::error::{Context, Error, Kind, Result};
use crate::remote::{Host, Request, escape};
use crate::spec::defaults::Defaults;
use crate::spec::location::Location;
use crate::spec::platform::Platform;
use crate::spec::reference::Reference;

/// How an image is got.
#[derive(Args, Clone, Debug)]
pub(crate) struct RegistryFlags {
    /// Processor of the image, as in arm64
    #[arg(long, value_name = "ARCH")]
    arch: Option<String>,
    #[command(flatten)]
    access: AccessFlags,
    /// Operating system of the image
    #[arg(long, value_name = "OS")]
    os: Option<String>,
    /// Platform of the image, as in linux/arm64
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,
    /// Do not show progress
    #[arg(short, long)]
    quiet: bool,
    /// File that says whose signatures images must have
    #[arg(long, value_name = "FILE")]
    signature_policy: Option<PathBuf>,
    /// Variant of the image's processor, as in v7
    #[arg(long, value_name = "VARIANT")]
    variant: Option<String>,
}

/// Whether and how the image of a new container is got.
#[derive(Args, Clone, Debug)]
pub(crate) struct PullFlags {
    /// When to pull: always, missing (by default), never, newer
    #[arg(long, value_name = "WHEN")]
    pull: Option<PullPolicy>,
    #[command(flatten)]
    pub(super) registry: RegistryFlags,
}

impl RegistryFlags {
    fn options(&self, policy: PullPolicy) -> Result<PullOptions> {
        let can_ask = rustix::termios::isatty(rustix::stdio::stdin())
            && rustix::termios::isatty(rustix::stdio::stdout());
        Ok(PullOptions {
            policy,
            platform: self.platform()?,
            registry: RegistryOptions {
                signature_policy: self.signature_policy.clone(),
                ..self.access.options()?
            },
            choose: can_ask.then_some(choose),
        })
    }

    fn platform(&self) -> Result<Option<Platform>> {
        if self.os.is_none() && self.arch.is_none() && self.variant.is_none() {
            return Ok(self.platform.clone());
        }
        if self.platform.is_some() {
            return Err(Error::new(
                Kind::Invalid,
                "--platform option can not be specified with --arch, --os or --variant",
            ));
        }
        let host = Platform::host();
        let os = self.os.as_ref().unwrap_or(&host.os);
        let architecture = self.arch.as_ref().unwrap_or(&host.architecture);
        let variant = self.variant.as_ref().map_or(String::new(), |variant| format!("/{variant}"));
        format!("{os}/{architecture}{variant}").parse().map(Some)
    }
}

impl PullFlags {
    /// Returns which platform the image shall be for.
    pub(crate) fn platform(&self) -> Result<Option<Platform>> {
        self.registry.platform()
    }

    /// Returns when it is got.
    pub(crate) fn policy(&self) -> PullPolicy {
        self.pull.unwrap_or_default()
    }

    /// Takes what is usual here where the user says nothing.
    pub(crate) fn or_usual(self, usual: &Defaults) -> Result<Self> {
        let policy = match (self.pull, &usual.pull_policy) {
            (None, Some(text)) => {
                Some(text.parse::<PullPolicy>().context(|| "`pull_policy` in containers.conf")?)
            }
            (policy, _) => policy,
        };
        Ok(Self { pull: policy, ..self })
    }

    /// Gets an image if the policy says so, and completes its name: nobody has to look for what a
    /// short one stands for again.
    pub(crate) fn ensure(&self, engine: &Engine, name: &mut String) -> Result<()> {
        let display = Display::new(self.registry.quiet);
        let options = self.registry.options(self.pull.unwrap_or_default())?;
        let (image, complete) = images::pull_named(engine.store(), name, &options, &display)?;
        display.finish();
        // What is asked for by its ID goes on to be called as the user did.
        if complete != image.id.hex() || Location::is_no_registry(name) {
            *name = complete;
        }
        Ok(())
    }
}

/// Pull images from registries
///
/// What a name without a registry stands for is said by registries.conf; docker.io if nothing is said. Images may also come from docker-archive:FILE[:NAME|@NUMBER], oci-archive:FILE[:NAME], oci:DIRECTORY[:NAME] and dir:DIRECTORY. The ID of each image is printed.
#[derive(Args, Debug)]
pub(crate) struct Pull {
    /// Pull all tags of the repository
    #[arg(short, long)]
    all_tags: bool,
    /// Does nothing; other tools have it
    #[arg(long, action = ArgAction::SetTrue, hide = true)]
    disable_content_trust: bool,
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
        let options = self.registry.options(self.policy)?;
        let engine = world.power()?;
        for_each(world, &self.images, Status::of_error, |world, name| {
            let name = name.strip_prefix("docker://").unwrap_or(name);
            let display = Display::new(self.registry.quiet);
            let pulled = match self.all_tags {
                true => images::pull_all_tags(engine.store(), name, &options, &display),
                false => images::pull(engine.store(), name, &options, &display),
            };
            display.finish();
            for image in pulled? {
                world.out.line(image.id.hex())?;
            }
            Ok(())
        })
    }

    fn act_on(self, host: &Host, world: &mut World) -> Result<Status> {
        // It is known by the service only whether there is something newer.
        for_each(world, &self.images, Status::of_error, |world, name| {
            let name = name.strip_prefix("docker://").unwrap_or(name);
            let path = format!("/images/{}/json", escape(name));
            if matches!(self.policy, PullPolicy::Missing | PullPolicy::Never) {
                match host.document(Request::get(&path)) {
                    Err(error)
                        if error.kind() == Kind::NotFound && self.policy == PullPolicy::Missing => {
                    }
                    found => {
                        return world.out.line(answers::hex(answers::text(&found?, "Id")));
                    }
                }
            }
            if self.all_tags {
                return pull_tags_on(host, name, None, &self.registry);
            }
            pull_on(host, name, &self.registry)?;
            let found = host.document(Request::get(path))?;
            world.out.line(answers::hex(answers::text(&found, "Id")))
        })
    }
}

/// Has an image pulled by another host.
pub(super) fn pull_on(host: &Host, name: &str, flags: &RegistryFlags) -> Result<()> {
    let tag = RemoteName::new(name).tag.unwrap_or("latest");
    pull_tags_on(host, name, Some(tag), flags)
}

/// Has one tag of a repository pulled by another host, or all.
fn pull_tags_on(host: &Host, name: &str, tag: Option<&str>, flags: &RegistryFlags) -> Result<()> {
    refuse(&[
        ("--signature-policy", flags.signature_policy.is_some()),
        ("a place that is no registry", Location::is_no_registry(name)),
    ])?;
    let request = Request::post("/images/create")
        .with("fromImage", RemoteName::new(name).repository)
        .maybe("tag", tag)
        .maybe("platform", flags.platform()?);
    let request = match flags.access.proof(name)? {
        Some(proof) => request.field("x-registry-auth", proof),
        None => request,
    };
    let display = Display::new(flags.quiet);
    let heard = host.call(request)?.documents().try_for_each(|line| display.hear(&line?));
    display.finish();
    heard
}

/// Asks the user which of several images is meant.
fn choose(names: &[Reference]) -> Result<usize> {
    output::note("Please select an image:");
    for (number, name) in (1..).zip(names) {
        output::note(&format!("  {number}) {name}"));
    }
    let mut input = std::io::stdin().lock();
    loop {
        output::complain(&format!("Number (1-{}): ", names.len()));
        let mut line = String::new();
        if input.read_line(&mut line).context(|| "cannot read the answer")? == 0 {
            return Err(Error::new(Kind::Invalid, "no image was selected"));
        }
        match line.trim().parse::<usize>() {
            Ok(number) if (1..=names.len()).contains(&number) => return Ok(number - 1),
            _ => output::note("That is none of them."),
        }
    }
}
