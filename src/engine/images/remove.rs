//! `rmi`: names and images go.

use std::collections::{HashMap, HashSet};

use super::mount;
use crate::engine::events::record;
use crate::engine::{Engine, RemoveOptions as RemoveContainer};
use crate::error::{Error, Kind, Result};
use crate::spec::digest::ImageId;
use crate::spec::reference::Reference;
use crate::store::Store;
use crate::store::container::Container;
use crate::store::events::{Action, Event};
use crate::store::garbage::Parts;
use crate::store::image::{Names, Removal, not_known};
use crate::store::lock::Lock;

/// How to remove images.
#[derive(Clone, Copy, Debug, Default)]
pub struct RemoveOptions {
    /// Whether an image goes by its ID though it has several names, and with it the containers that
    /// use it. Images that are not there are no failures then.
    pub force: bool,
    /// Whether images that are not there are no failures.
    pub ignore: bool,
}

/// What a removal did, and what it could not do.
#[derive(Debug, Default)]
pub struct Removals {
    /// What is gone, in this order.
    pub done: Vec<Removal>,
    /// What is still there, and why.
    pub failures: Vec<Error>,
    /// Bytes that are free now.
    pub bytes: u64,
}

/// What is to be removed.
enum Target {
    /// What a user wrote.
    Text(String),
    /// An image with all its names.
    Image(ImageId),
}

/// What came of a removal.
pub(super) enum Outcome {
    Done(Vec<Removal>),
    /// Nothing: these containers use the image.
    InUse(Vec<Container>),
}

/// How often containers are removed that others make again meanwhile.
const ROUNDS: usize = 3;

/// Removes names, and images with their last names; their space is free when this returns.
///
/// What a container uses stays, unless it is forced away together with the container.
pub fn remove(engine: &Engine, names: &[String], options: RemoveOptions) -> Result<Removals> {
    let targets = names.iter().cloned().map(Target::Text).collect();
    remove_targets(engine, targets, options)
}

/// Removes all images, as [`remove`] does.
pub fn remove_all(engine: &Engine, options: RemoveOptions) -> Result<Removals> {
    let (images, damaged) = engine.store().images().list_all()?;
    let ids = images.into_iter().map(|named| named.image.id);
    let ids = ids.chain(damaged.into_iter().map(|damaged| damaged.id)).map(Target::Image);
    let lists = engine.store().lists().list()?;
    let lists = lists.into_iter().map(|named| Target::Text(named.image.id.hex().to_owned()));
    let options = RemoveOptions { ignore: true, ..options };
    remove_targets(engine, ids.chain(lists).collect(), options)
}

fn remove_targets(
    engine: &Engine,
    mut targets: Vec<Target>,
    options: RemoveOptions,
) -> Result<Removals> {
    let mut removals = Removals::default();
    for round in 1.. {
        let mut in_the_way = Vec::new();
        let mut again = Vec::new();
        let mut batch = Batch::begin(engine.store())?;
        for target in targets {
            match batch.remove(&target, options.force) {
                Ok(Outcome::Done(done)) => removals.done.extend(done),
                Ok(Outcome::InUse(users)) if options.force && round < ROUNDS => {
                    in_the_way.extend(users);
                    again.push(target);
                }
                Ok(Outcome::InUse(users)) => removals.failures.push(in_use(&users)),
                Err(error)
                    if error.kind() == Kind::NotFound && (options.ignore || options.force) => {}
                Err(error) => removals.failures.push(error),
            }
        }
        removals.bytes += batch.finish()?;
        if again.is_empty() {
            break;
        }
        // Without any lock: containers take their time to end.
        for container in in_the_way {
            let options = RemoveContainer { force: true, ..RemoveContainer::default() };
            match engine.remove(container.id().as_str(), options) {
                Err(error) if error.kind() != Kind::NotFound => removals.failures.push(error),
                // It is gone, whoever has removed it.
                _ => {}
            }
        }
        targets = again;
    }
    Ok(removals)
}

/// Removals that are made together: what must be known for them is looked up once, and so is what
/// nobody refers to afterwards.
pub(in crate::engine) struct Batch<'a> {
    store: &'a Store,
    /// Nobody makes an image, or a container from one, between a look and a removal.
    makers_kept_away: Lock,
    names: HashMap<ImageId, Names>,
    /// The containers that were made from each image.
    users: HashMap<ImageId, Vec<Container>>,
    /// What the images that are gone consisted of.
    parts: Parts,
    /// Whether it is not known what one of them consisted of.
    was_damaged: bool,
}

impl<'a> Batch<'a> {
    pub(in crate::engine) fn begin(store: &'a Store) -> Result<Self> {
        Ok(Self {
            store,
            makers_kept_away: store.exclusive()?,
            names: store.images().all_names()?,
            users: users(store)?,
            parts: Parts::default(),
            was_damaged: false,
        })
    }

    fn remove(&mut self, target: &Target, force: bool) -> Result<Outcome> {
        let (id, name) = match target {
            Target::Image(id) => return self.forget(id),
            Target::Text(text) if let Some(done) = self.remove_list(text)? => {
                return Ok(Outcome::Done(done));
            }
            Target::Text(text) => match self.store.images().find_named(text) {
                Ok(Some((image, name))) => (image.id, name),
                Ok(None) => return Err(not_known(text)),
                Err(error) => match self.find_damaged(text)? {
                    Some(id) => return self.forget(&id),
                    None => return Err(error),
                },
            },
        };
        let none = Names::default();
        let names = self.names.get(&id).unwrap_or(&none);
        let Some(name) = name else {
            if names.tags.len() > 1 && !force {
                return Err(several_names(&id, &names.tags));
            }
            return self.forget(&id);
        };
        let has_others = match name.digest() {
            Some(_) => !names.tags.is_empty() || names.digests.len() > 1,
            None => names.tags.len() > 1,
        };
        if !has_others {
            return self.forget(&id);
        }
        self.untag(&id, &name)?;
        Ok(Outcome::Done(vec![Removal::Untagged(name)]))
    }

    /// Removes a name of a manifest list, and the list with its last name; `None` if it is none.
    pub(in crate::engine) fn remove_list(&mut self, text: &str) -> Result<Option<Vec<Removal>>> {
        // What is wrong with a name that is none of a list, is found by who looks for an image.
        let Ok(Some((list, name))) = self.store.lists().find(text) else { return Ok(None) };
        let names = self.names.get(&list.id).cloned().unwrap_or_default();
        if let Some(name) = name
            && names.tags.len() > 1
        {
            self.untag(&list.id, &name)?;
            return Ok(Some(vec![Removal::Untagged(name)]));
        }
        self.parts.add(list.parts());
        self.names.remove(&list.id);
        let done = self.store.lists().forget(&list.id, names, &self.makers_kept_away)?;
        tell(self.store, &list.id, &done);
        Ok(Some(done))
    }

    fn untag(&mut self, id: &ImageId, name: &Reference) -> Result<()> {
        self.store.images().untag(name)?;
        if let Some(names) = self.names.get_mut(id) {
            names.tags.retain(|other| other != name);
            names.digests.retain(|other| other != name);
        }
        tell(self.store, id, &[Removal::Untagged(name.clone())]);
        Ok(())
    }

    /// Takes an image that nobody uses off the record, with all its names.
    pub(super) fn forget(&mut self, id: &ImageId) -> Result<Outcome> {
        if mount::is_mounted(self.store, id)? {
            return Err(Error::new(Kind::Conflict, format!("image {} is mounted", id.hex()))
                .hint(format!("unmount it first: barge image unmount {}", id.short())));
        }
        if let Some(users) = self.users.get(id) {
            return Ok(Outcome::InUse(users.clone()));
        }
        match self.store.images().get(id) {
            Ok(Some(image)) => self.parts.add_image(&image),
            Ok(None) => return Err(not_known(id.hex())),
            Err(error) if error.kind() == Kind::Invalid => self.was_damaged = true,
            Err(error) => return Err(error),
        }
        let names = self.names.remove(id).unwrap_or_default();
        let done = self.store.images().forget(id, names, &self.makers_kept_away)?;
        tell(self.store, id, &done);
        Ok(Outcome::Done(done))
    }

    /// Finds the image that `text` means among those whose records are damaged.
    fn find_damaged(&self, text: &str) -> Result<Option<ImageId>> {
        let hex = text.strip_prefix("sha256:").unwrap_or(text);
        // What is no name may be an ID.
        let candidates = Reference::candidates(text).unwrap_or_default();
        let is_it = |id: &ImageId| {
            let names = self.names.get(id);
            (hex.len() > 2 && id.hex().starts_with(hex))
                || names.is_some_and(|names| names.tags.iter().any(|it| candidates.contains(it)))
        };
        let (_, damaged) = self.store.images().read_all()?;
        Ok(damaged.into_iter().map(|damaged| damaged.id).find(is_it))
    }

    /// Frees what nobody refers to any more; returns how many bytes that were.
    pub(in crate::engine) fn finish(self) -> Result<u64> {
        let all = self.was_damaged;
        self.free(all)
    }

    /// As [`finish`](Self::finish), and frees what others have left behind, too.
    pub(super) fn finish_with_all_garbage(self) -> Result<u64> {
        let store = self.store;
        let bytes = self.free(true)?;
        store.gc_tmp()?;
        // Downloads that nobody goes on with now.
        Ok(bytes + store.remove_partials()?)
    }

    fn free(self, all: bool) -> Result<u64> {
        let garbage = match all {
            true => self.store.collect_garbage(&self.makers_kept_away)?,
            false => self.store.free(&self.parts, &self.makers_kept_away)?,
        };
        drop(self.makers_kept_away);
        garbage.erase()
    }
}

/// Writes down what is gone. An image's last name is that of its end, too.
fn tell(store: &Store, id: &ImageId, done: &[Removal]) {
    let mut last = String::new();
    let event = |removal: &Removal| match removal {
        Removal::Untagged(name) => {
            last = name.to_string();
            Event::of_image(Action::Untag, id.hex(), &last)
        }
        Removal::Deleted(id) => Event::of_image(Action::Remove, id.hex(), &last),
    };
    record(store, &done.iter().map(event).collect::<Vec<_>>());
}

fn several_names(id: &ImageId, names: &[Reference]) -> Error {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    Error::new(
        Kind::Invalid,
        format!(
            "unable to delete image \"{}\" by ID with more than one tag ([{}]): please force removal",
            id.hex(),
            names.join(" ")
        ),
    )
    .hint("use --force, or remove its names one by one")
}

fn in_use(users: &[Container]) -> Error {
    let by: Vec<String> =
        users.iter().map(|user| format!("{} ({})", user.state.name, user.id().short())).collect();
    let first = users.first().map(|user| user.id().to_string()).unwrap_or_default();
    Error::new(
        Kind::Conflict,
        format!(
            "image used by {first}: image is in use by a container: consider listing external containers and force-removing image"
        ),
    )
    .hint(format!("it is used by {}; remove that first, or pass --force", by.join(", ")))
}

/// Tells whether a container was made from an image, or mounts it.
pub fn is_used(store: &Store, image: &ImageId) -> Result<bool> {
    Ok(users(store)?.contains_key(image))
}

/// Returns the containers that were made from each image, or mount it.
pub(in crate::engine) fn users(store: &Store) -> Result<HashMap<ImageId, Vec<Container>>> {
    let mut users: HashMap<ImageId, Vec<Container>> = HashMap::new();
    for id in store.containers().ids()? {
        if let Some(container) = store.containers().get(&id)? {
            let images: HashSet<&ImageId> = container.config.images().collect();
            for image in images {
                users.entry(image.clone()).or_default().push(container.clone());
            }
        }
    }
    for users in users.values_mut() {
        users.sort_unstable_by_key(|user| user.config.created);
    }
    Ok(users)
}
