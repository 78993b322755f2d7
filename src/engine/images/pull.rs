//! `pull`, and the look-up before `run`: an image from here, or from its registry.

use super::load::{LoadOptions, from_place};
use super::{Progress, free_space};
use crate::engine::events::record;
use crate::error::{Error, Kind, Result};
use crate::image::progress::ProgressEvent;
use crate::image::registry::RegistryOptions;
use crate::spec::digest::Digest;
use crate::spec::location::Location;
use crate::spec::platform::Platform;
use crate::spec::reference::Reference;
use crate::spec::registries::{Choice, Resolved};
use crate::store::Store;
use crate::store::events::{Action, Event};
use crate::store::image::{Image, NamedImage, not_known};
use crate::store::registries;

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

/// Asks the user which of several images is meant, and returns its index.
pub type Choose = fn(&[Reference]) -> Result<usize>;

/// What is pulled, when, and how.
#[derive(Clone, Debug, Default)]
pub struct PullOptions {
    /// When.
    pub policy: PullPolicy,
    /// For which platform; this machine's if nothing is said.
    pub platform: Option<Platform>,
    /// How to talk to the registry.
    pub registry: RegistryOptions,
    /// Asks the user which of several names a short one stands for; nothing if nobody can be asked.
    pub choose: Option<Choose>,
}

impl PullOptions {
    fn of_archives(&self) -> LoadOptions {
        LoadOptions {
            platform: self.platform.clone(),
            signature_policy: self.registry.signature_policy.clone(),
        }
    }
}

/// Returns an image: the one that is here, or the one that the registry has, as the policy says.
///
/// The name may be a place as in `docker-archive:FILE`, where there may be several.
pub fn pull(
    store: &Store,
    name: &str,
    options: &PullOptions,
    progress: &dyn Progress,
) -> Result<Vec<Image>> {
    match from_place(store, name, &options.of_archives(), progress)? {
        Some(loaded) => Ok(loaded.into_iter().map(|named| named.image).collect()),
        None => pull_named(store, name, options, progress).map(|(image, _)| vec![image]),
    }
}

/// Returns an image as [`pull`] does, and its complete name, or its ID if it was asked for by that.
pub fn pull_named(
    store: &Store,
    name: &str,
    options: &PullOptions,
    progress: &dyn Progress,
) -> Result<(Image, String)> {
    if let Some((image, name)) = crate::image::builtin::ensure(store, name)? {
        store.flush_later()?;
        return Ok((image, name.to_string()));
    }
    if let Some(mut loaded) = from_place(store, name, &options.of_archives(), progress)? {
        // None is an error of the archive, said before.
        let NamedImage { image, names, .. } = loaded.swap_remove(0);
        let name = names.first().map_or_else(|| image.id.hex().to_owned(), ToString::to_string);
        return Ok((image, name));
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
            let pulled = match &here.1 {
                Some(known) => fetch(store, known, options, progress),
                None => fetch_any(store, name, options, progress),
            };
            return match pulled {
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
        (None, policy) if policy != PullPolicy::Always => {
            // A list that was put together here.
            if let Some(found) = crate::engine::lists::ensure(store, name, options, progress)? {
                return Ok(local(found));
            }
            if policy == PullPolicy::Never {
                return Err(not_known(name));
            }
        }
        (None, _) | (Some(_), PullPolicy::Always) => {}
    }
    fetch_any(store, name, options, progress)
}

/// Pulls all tags of a repository, whatever is here.
pub fn pull_all_tags(
    store: &Store,
    name: &str,
    options: &PullOptions,
    progress: &dyn Progress,
) -> Result<Vec<Image>> {
    if Location::is_no_registry(name) {
        return Err(Error::new(Kind::Invalid, "--all-tags is for registries"));
    }
    let names = resolve(name, options, progress)?.names;
    let has_tag = name.rsplit('/').next().is_some_and(|last| last.contains([':', '@']));
    if has_tag {
        return Err(Error::new(Kind::Invalid, "tag can't be used with --all-tags/-a")
            .hint("name the repository only"));
    }
    let mut images = Vec::new();
    attempt(name, &names, |name| {
        for tag in crate::image::pull::tags(name, &options.registry)? {
            images.push(fetch(store, &name.with_tag(&tag)?, options, progress)?.0);
        }
        Ok(())
    })?;
    Ok(images)
}

fn is_wanted(image: &Image, options: &PullOptions) -> bool {
    options.platform.as_ref().is_none_or(|platform| {
        platform.distance(&image.os, &image.architecture, image.variant.as_deref()).is_some()
    })
}

/// What a name stands for in registries.
struct Wanted {
    names: Vec<Reference>,
    /// Whether the user chose it.
    is_chosen: bool,
}

/// Completes a name. A bare ID is no name of any registry's image.
fn resolve(name: &str, options: &PullOptions, progress: &dyn Progress) -> Result<Wanted> {
    let hex = name.strip_prefix("sha256:").unwrap_or(name);
    if Digest::from_hex(hex).is_ok() || name.starts_with("sha256:") {
        return Err(not_known(name));
    }
    let Resolved { mut names, choice, reason } = registries::read()?.resolve(name)?;
    match (choice, options.choose) {
        (Choice::None, _) | (Choice::Wanted, None) => {
            if let Some(reason) = &reason {
                progress.update(ProgressEvent::Resolved(reason));
            }
            Ok(Wanted { names, is_chosen: false })
        }
        (Choice::Wanted | Choice::Required, Some(choose)) => {
            let chosen = choose(&names)?;
            Ok(Wanted { names: vec![names.swap_remove(chosen)], is_chosen: true })
        }
        (Choice::Required, None) => Err(Error::new(
            Kind::Invalid,
            "short-name resolution enforced but cannot prompt without a TTY",
        )
        .hint(format!("name the registry, as in {}", names[0]))),
    }
}

/// Pulls the first of the images that a name may stand for.
fn fetch_any(
    store: &Store,
    name: &str,
    options: &PullOptions,
    progress: &dyn Progress,
) -> Result<(Image, String)> {
    let Wanted { names, is_chosen } = resolve(name, options, progress)?;
    let pulled = attempt(name, &names, |name| fetch(store, name, options, progress));
    let pulled = pulled.inspect_err(|error| {
        let event = Event::of_image(Action::PullError, "", name).with("error", error);
        record(store, &[event]);
    })?;
    if let (true, Some(chosen)) = (is_chosen, names.first()) {
        registries::remember(name, chosen)?;
    }
    Ok(pulled)
}

/// Tries one name after the other until one does.
pub(in crate::engine) fn attempt<T>(
    short: &str,
    names: &[Reference],
    mut work: impl FnMut(&Reference) -> Result<T>,
) -> Result<T> {
    let mut failures: Vec<Error> = Vec::new();
    for name in names {
        match work(name) {
            Ok(done) => return Ok(done),
            Err(error) if error.is_full_disk() => return Err(error),
            Err(error) => failures.push(error),
        }
    }
    if failures.len() == 1 {
        return Err(failures.remove(0));
    }
    let all: Vec<String> = failures.iter().map(|error| format!("[{error}]")).collect();
    // One that may be had later counts more than those that are nowhere.
    let kind = failures.iter().map(Error::kind).find(|kind| *kind != Kind::NotFound);
    let failure = Error::new(
        kind.unwrap_or(Kind::NotFound),
        format!("cannot pull `{short}` from any registry: {}", all.join(" ")),
    );
    Err(match failures.iter().find_map(Error::hint_text) {
        Some(hint) => failure.hint(hint),
        None => failure,
    })
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
    store.flush_later()?;
    let name = reference.to_string();
    record(store, &[Event::of_image(Action::Pull, image.id.hex(), &name)]);
    Ok((image, name))
}
