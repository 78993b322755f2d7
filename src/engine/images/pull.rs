//! `pull`, and the look-up before `run`: an image from here, or from its registry.

use super::{Progress, free_space};
use crate::error::{Error, Kind, Result};
use crate::image::progress::ProgressEvent;
use crate::image::registry::RegistryOptions;
use crate::spec::digest::Digest;
use crate::spec::platform::Platform;
use crate::spec::reference::Reference;
use crate::store::Store;
use crate::store::image::{Image, not_known};

/// When a registry is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PullPolicy {
    /// If the image is not here.
    #[default]
    Missing,
    /// Each time.
    Always,
    /// Never.
    Never,
    /// Each time, but what is here will do if the registry cannot be reached.
    Newer,
}

impl std::str::FromStr for PullPolicy {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "missing" | "ifnotpresent" | "IfNotPresent" => Ok(Self::Missing),
            "always" | "Always" | "true" => Ok(Self::Always),
            "never" | "Never" | "false" => Ok(Self::Never),
            "newer" | "ifnewer" => Ok(Self::Newer),
            _ => Err(Error::new(Kind::Invalid, format!("unsupported pull policy \"{text}\""))
                .hint("write always, missing, never or newer")),
        }
    }
}

/// What is pulled, when, and how.
#[derive(Clone, Debug, Default)]
pub struct PullOptions {
    /// When.
    pub policy: PullPolicy,
    /// For which platform; this machine's if nothing is said.
    pub platform: Option<Platform>,
    /// How to talk to the registry.
    pub registry: RegistryOptions,
}

/// Returns an image: the one that is here, or the one that the registry has, as the policy says.
pub fn pull(
    store: &Store,
    name: &str,
    options: &PullOptions,
    progress: &dyn Progress,
) -> Result<Image> {
    pull_named(store, name, options, progress).map(|(image, _)| image)
}

/// As [`pull`]; also returns the image's complete name, or its ID if it was asked for by that.
pub fn pull_named(
    store: &Store,
    name: &str,
    options: &PullOptions,
    progress: &dyn Progress,
) -> Result<(Image, String)> {
    if let Some((image, name)) = crate::image::builtin::ensure(store, name)? {
        return Ok((image, name.to_string()));
    }
    let here = match store.images().find_named(name) {
        Ok(found) => found.filter(|(image, _)| is_wanted(image, options)),
        // A record that is damaged is mended by a pull. What is no name is found to be none below.
        Err(error)
            if error.kind() == Kind::Invalid
                && matches!(options.policy, PullPolicy::Always | PullPolicy::Newer) =>
        {
            None
        }
        Err(error) => return Err(error),
    };
    let local = |(image, reference): (Image, Option<Reference>)| {
        let name = reference.map_or_else(|| image.id.hex().to_owned(), |name| name.to_string());
        (image, name)
    };
    let is_id = here.as_ref().is_some_and(|(_, reference)| reference.is_none());
    match (here, options.policy) {
        (Some(here), PullPolicy::Missing | PullPolicy::Never) => return Ok(local(here)),
        // An ID is not in any registry, and what was made here neither.
        (Some(here), _) if is_id => return Ok(local(here)),
        (Some(here), PullPolicy::Newer) => {
            let reference = reference_of(name, here.1.as_ref())?;
            return match fetch(store, &reference, options, progress) {
                Err(error)
                    if matches!(
                        error.kind(),
                        Kind::Unavailable | Kind::NotFound | Kind::Unauthorized
                    ) =>
                {
                    progress.update(ProgressEvent::Warning(&format!(
                        "using the image that is here: {error}"
                    )));
                    Ok(local(here))
                }
                pulled => pulled,
            };
        }
        (None, PullPolicy::Never) => return Err(not_known(name)),
        (None, _) | (Some(_), PullPolicy::Always) => {}
    }
    let reference = reference_of(name, None)?;
    fetch(store, &reference, options, progress)
}

fn is_wanted(image: &Image, options: &PullOptions) -> bool {
    options.platform.as_ref().is_none_or(|platform| {
        platform.distance(&image.os, &image.architecture, image.variant.as_deref()).is_some()
    })
}

/// Returns what a registry is asked for. A bare ID is no name of any registry's image.
fn reference_of(name: &str, known: Option<&Reference>) -> Result<Reference> {
    if let Some(known) = known {
        return Ok(known.clone());
    }
    let hex = name.strip_prefix("sha256:").unwrap_or(name);
    if Digest::from_hex(hex).is_ok() || name.starts_with("sha256:") {
        return Err(not_known(name));
    }
    name.parse()
}

fn fetch(
    store: &Store,
    reference: &Reference,
    options: &PullOptions,
    progress: &dyn Progress,
) -> Result<(Image, String)> {
    let platform = options.platform.as_ref();
    let image = crate::image::pull::pull(store, reference, platform, &options.registry, progress)
        .inspect_err(|error| free_space(store, error))?;
    Ok((image, reference.to_string()))
}
