//! `rmi`: names and images go.

use crate::error::{Error, Kind, Result};
use crate::spec::digest::ImageId;
use crate::spec::id::ContainerId;
use crate::store::Store;
use crate::store::image::{Removal, not_known};

/// Removes a name, and the image with its last name.
///
/// What a container uses stays. With `force` an image that has several names goes by its ID, and one
/// that a container uses loses its names.
pub fn remove(store: &Store, text: &str, force: bool) -> Result<Vec<Removal>> {
    // Nobody makes a container from the image between the look and the removal.
    let makers_kept_away = store.exclusive()?;
    if store.lists().find(text)?.is_some() {
        return crate::engine::lists::remove_name(store, text, &makers_kept_away);
    }
    let images = store.images();
    let (image, name) = images.find_named(text)?.ok_or_else(|| not_known(text))?;
    let named = images.with_names(image)?;
    let id = &named.image.id;

    if let Some(name) = &name {
        let has_others = match name.digest() {
            Some(_) => !named.names.is_empty() || named.digests.len() > 1,
            None => named.names.len() > 1,
        };
        if has_others {
            images.untag(name)?;
            return Ok(vec![Removal::Untagged(name.clone())]);
        }
    } else if named.names.len() > 1 && !force {
        let names: Vec<String> = named.names.iter().map(ToString::to_string).collect();
        return Err(Error::new(
            Kind::Conflict,
            format!(
                "unable to delete image \"{}\" by ID with more than one tag ({}): please force removal",
                id.hex(),
                names.join(", ")
            ),
        )
        .hint("use --force, or remove its names one by one"));
    }
    if let Some(user) = users(store, id)?.first() {
        if !force {
            return Err(Error::new(
                Kind::Conflict,
                format!(
                    "image used by {user}: image is in use by a container: consider listing external containers and force-removing image"
                ),
            )
            .hint(format!("remove the container first: barge rm {}", user.short())));
        }
        let mut done = Vec::new();
        for name in named.names {
            images.untag(&name)?;
            done.push(Removal::Untagged(name));
        }
        return Ok(done);
    }
    images.remove(id, &makers_kept_away)
}

/// Returns the containers that were made from an image.
pub fn users(store: &Store, image: &ImageId) -> Result<Vec<ContainerId>> {
    let mut users = Vec::new();
    for id in store.containers().ids()? {
        if let Some(container) = store.containers().get(&id)?
            && container.config.image_id == *image
        {
            users.push(id);
        }
    }
    users.sort_unstable();
    Ok(users)
}
