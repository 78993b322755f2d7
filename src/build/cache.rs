//! `--cache-from` and `--cache-to`: what steps have made, for builds elsewhere.
//!
//! A cache travels as an image: its layers are those that steps have made, and its configuration says
//! which step has made which. So it goes where images go, and what is there already is not sent. An
//! image that was built may carry the same beside what it is: `type=inline`.
//!
//! BuildKit's caches are of no use here, nor ours to it: it finds steps by digests of its own form of
//! instructions (LLB, as its front end has made it of the Dockerfile), which no other builder has. They are
//! known when they are seen, and told apart from what is damaged.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Builder;
use super::built::Built;
use crate::engine::Engine;
use crate::engine::images::{self, Form, Progress, PullOptions, PullPolicy, PushOptions};
use crate::error::{Context, Error, Kind, Result};
use crate::image::record::{Origin, disturbed, record};
use crate::image::save::{SaveFormat, SaveTarget, SavedImage, save};
use crate::spec::build_cache::{BuildCache, CachePlace};
use crate::spec::digest::{DiffId, Digest};
use crate::spec::manifest::ManifestFormat;
use crate::spec::reference::Reference;
use crate::store::builds::Built as Step;
use crate::store::image::Image;

/// What is said of steps in a configuration.
const MEMBER: &str = "barge.build.cache.v1";
/// The same, as BuildKit says it.
const MEMBER_OF_BUILDKIT: &str = "moby.buildkit.cache.v0";

/// What is said of a cache in the words of BuildKit.
pub const NO_CACHE_OF_OURS: &str =
    "what it says of its steps is for BuildKit, and nobody else can use it";

/// A step that a cache has.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) key: Digest,
    #[serde(flatten)]
    pub(super) step: Step,
}

/// What was found of steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// Steps; none may be left of them.
    Steps,
    /// Steps in the words of BuildKit, which are no use.
    OfBuildKit,
    /// Nothing.
    Nothing,
}

impl Taken {
    /// What a user should know of it.
    pub(super) fn warning(self) -> Option<&'static str> {
        match self {
            Self::Steps => None,
            Self::OfBuildKit => Some(NO_CACHE_OF_OURS),
            Self::Nothing => Some(
                "it says nothing of its steps; build it with --cache-to type=inline, or keep a cache by itself",
            ),
        }
    }
}

/// Takes steps from a cache.
pub(super) fn take_in(
    engine: &Engine,
    from: &BuildCache,
    options: &PullOptions,
    progress: &dyn Progress,
) -> Result<Taken> {
    let store = engine.store();
    if let CachePlace::Registry(name) = &from.place
        && from.here
        && let Some((image, _)) = store.images().find_named(name)?
    {
        return take_steps(engine, &image);
    }
    let mut options = PullOptions { policy: PullPolicy::Always, ..options.clone() };
    if from.insecure {
        options.registry.tls_verify = Some(false);
    }
    let name = match &from.place {
        CachePlace::Registry(name) => name.clone(),
        CachePlace::Local(path) => format!("oci:{}", path.display()),
        CachePlace::Inline => return Ok(Taken::Steps),
    };
    // What has the name here keeps it.
    let holder = match &from.place {
        CachePlace::Registry(name) => store.images().find_named(name)?,
        CachePlace::Local(_) | CachePlace::Inline => None,
    };
    let before: BTreeSet<_> = store.images().list()?.into_iter().map(|it| it.image.id).collect();
    let mut taken = Taken::Nothing;
    for image in images::pull(store, &name, &options, progress)? {
        match take_steps(engine, &image)? {
            Taken::Nothing => {}
            Taken::OfBuildKit if taken == Taken::Steps => {}
            other => taken = other,
        }
        if !before.contains(&image.id) {
            // What steps have made stays, as they are on record now.
            let id = [image.id.hex().to_owned()];
            images::remove(engine, &id, images::RemoveOptions { force: true, ignore: true })?;
        }
    }
    if let Some((image, Some(name))) = holder {
        store.images().tag(&image.id, &name)?;
    }
    Ok(taken)
}

/// Records the steps that an image says something of, as far as it has their layers.
fn take_steps(engine: &Engine, image: &Image) -> Result<Taken> {
    let store = engine.store();
    let Some(config) = store.blobs().read(&image.id.0)? else { return Ok(Taken::Nothing) };
    let document: Map<String, Value> =
        serde_json::from_slice(&config).context(|| "the configuration is malformed")?;
    let Some(member) = document.get(MEMBER) else {
        let is_foreign = document.contains_key(MEMBER_OF_BUILDKIT);
        return Ok(if is_foreign { Taken::OfBuildKit } else { Taken::Nothing });
    };
    let steps: Vec<Kept> =
        serde_json::from_value(member.clone()).context(|| "what it says of steps is malformed")?;
    for Kept { key, step } in steps {
        if step.layer.as_ref().is_none_or(|layer| image.layers.contains(layer)) {
            store.builds().put(&key, &step)?;
        }
    }
    Ok(Taken::Steps)
}

/// Adds what is said of steps to a configuration.
pub(super) fn add_steps(config: &[u8], steps: &[Kept]) -> Result<Vec<u8>> {
    let context = || "cannot write the configuration";
    let mut document: Map<String, Value> = serde_json::from_slice(config).context(context)?;
    document.insert(MEMBER.to_owned(), serde_json::to_value(steps).context(context)?);
    serde_json::to_vec(&document).context(context)
}

impl Builder<'_> {
    /// Returns the steps of this build that made these layers, or all.
    pub(super) fn steps_of(&self, layers: Option<&[DiffId]>) -> Vec<Kept> {
        let Ok(pending) = self.pending.lock() else { return Vec::new() };
        let is_wanted = |kept: &&Kept| match (layers, &kept.step.layer) {
            (Some(layers), Some(layer)) => layers.contains(layer),
            _ => true,
        };
        pending.used.iter().filter(is_wanted).cloned().collect()
    }

    /// Tells whether the result is to carry its steps.
    pub(super) fn is_inline(&self) -> bool {
        self.options.cache_to.iter().any(|to| to.place == CachePlace::Inline)
    }
}

/// Keeps what the steps of a build have made elsewhere.
pub fn export_cache(
    engine: &Engine,
    built: &Built,
    to: &BuildCache,
    registry: &images::RegistryOptions,
    progress: &dyn Progress,
) -> Result<()> {
    let (steps, place) = match &to.place {
        CachePlace::Inline => return Ok(()),
        CachePlace::Registry(name) => (built.steps(to.all), name.clone()),
        CachePlace::Local(path) => (built.steps(to.all), path.display().to_string()),
    };
    let context = || format!("cannot keep the build cache in {place}");
    if steps.is_empty() {
        return Ok(());
    }
    let store = engine.store();
    let mut layers: Vec<&DiffId> = Vec::new();
    for layer in steps.iter().filter_map(|kept| kept.step.layer.as_ref()) {
        if !layers.contains(&layer) {
            layers.push(layer);
        }
    }
    let platform = crate::spec::platform::Platform::host();
    let config = serde_json::json!({
        "architecture": platform.architecture,
        "os": platform.os,
        "config": {},
        "rootfs": { "type": "layers", "diff_ids": layers },
    });
    let config = serde_json::to_vec(&config).context(context)?;
    let config = add_steps(&config, &steps).context(context)?;
    let image = record(store, &config, Origin::default(), &[])?.ok_or_else(disturbed)?;
    let sent = send(engine, &image, to, registry, progress).context(context);
    let id = [image.id.hex().to_owned()];
    images::remove(engine, &id, images::RemoveOptions { force: true, ignore: true })?;
    sent
}

fn send(
    engine: &Engine,
    image: &Image,
    to: &BuildCache,
    registry: &images::RegistryOptions,
    progress: &dyn Progress,
) -> Result<()> {
    let store = engine.store();
    let form = Form { format: Some(ManifestFormat::Oci), ..Form::default() };
    match &to.place {
        CachePlace::Registry(name) => {
            let name: Reference = name.parse()?;
            let mut registry = registry.clone();
            if to.insecure {
                registry.tls_verify = Some(false);
            }
            let options = PushOptions { registry, form, ..PushOptions::default() };
            crate::image::push::push(store, image, &name, &options, progress).map(drop)
        }
        CachePlace::Local(path) => {
            // What an earlier build has kept there goes: there is one cache in a directory.
            match std::fs::remove_file(path.join("index.json")) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Error::new(
                        Kind::Invalid,
                        format!("cannot replace {}", path.display()),
                    )
                    .caused_by(error));
                }
                _ => {}
            }
            let images = [SavedImage { image: image.clone(), names: Vec::new() }];
            let target = SaveTarget::Path(path);
            save(store, &images, SaveFormat::OciDir, &form, target, progress).map(drop)
        }
        CachePlace::Inline => Ok(()),
    }
}
