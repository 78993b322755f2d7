//! `tag` and `untag`: names of images.

use crate::engine::events::record;
use crate::error::{Error, Kind, Result};
use crate::spec::reference::{BUILTIN_REGISTRY, Reference};
use crate::store::Store;
use crate::store::events::{Action, Event};

/// Gives an image a further name; another image that has it loses it.
pub fn tag(store: &Store, image: &str, name: &str) -> Result<Reference> {
    let name = Reference::local(name)?;
    check_new_name(&name)?;
    let id = match store.lists().find(image)? {
        Some((list, _)) => {
            store.lists().tag(&list.id, &name)?;
            list.id
        }
        None => {
            let id = store.images().lookup(image)?.id;
            store.images().tag(&id, &name)?;
            id
        }
    };
    record(store, &[Event::of_image(Action::Tag, id.hex(), &name.to_string())]);
    Ok(name)
}

/// Takes names away from an image; all of them if none is given. The image stays.
pub fn untag(store: &Store, image: &str, names: &[String]) -> Result<Vec<Reference>> {
    let images = store.images();
    let named = match store.lists().find(image)? {
        Some((list, _)) => store.lists().with_names(&list)?,
        None => images.with_names(images.lookup(image)?)?,
    };
    let mut chosen = Vec::new();
    for text in names {
        let known =
            Reference::candidates(text)?.into_iter().find(|name| named.names.contains(name));
        chosen.push(
            known.ok_or_else(|| Error::new(Kind::NotFound, format!("{text}: tag not known")))?,
        );
    }
    if names.is_empty() {
        chosen.clone_from(&named.names);
    }
    for name in &chosen {
        images.untag(name)?;
        let id = named.image.id.hex();
        record(store, &[Event::of_image(Action::Untag, id, &name.to_string())]);
    }
    Ok(chosen)
}

/// Refuses names that users cannot give.
pub(in crate::engine) fn check_new_name(name: &Reference) -> Result<()> {
    if name.digest().is_some() {
        return Err(Error::new(Kind::Invalid, format!("cannot give the name `{name}`"))
            .hint("a digest follows from the image's content; give a tag"));
    }
    if name.registry() == BUILTIN_REGISTRY {
        return Err(Error::new(Kind::Invalid, format!("cannot give the name `{name}`"))
            .hint("names that begin with `builtin/` are barge's own"));
    }
    Ok(())
}
