//! Lists that are made whole: of images that belong together, as a build makes them.

use super::create::CreateOptions;
use crate::engine::now;
use crate::error::{Kind, Result};
use crate::image::list::{Described, local};
use crate::spec::oci::Annotations;
use crate::spec::reference::Reference;
use crate::store::Store;
use crate::store::garbage::Pin;
use crate::store::image::Image;
use crate::store::list::List;

/// Makes a list of images of this store, which has no name as yet. What it refers to is kept until the
/// pin is dropped.
///
/// `documents` about them are members, too. With `names` it is recorded under them; they are taken over from what had them.
pub fn make(
    store: &Store,
    names: Option<&[Reference]>,
    images: &[&Image],
    documents: Vec<Described>,
    annotations: &Annotations,
) -> Result<(List, Pin)> {
    let kept = store.shared()?;
    let described: Vec<Described> =
        images.iter().map(|image| local(store, image)).collect::<Result<_>>()?;
    let mut list = List::new(now())?;
    list.index.annotations.clone_from(annotations);
    for (descriptor, member) in described.into_iter().chain(documents) {
        list.add(descriptor, member);
    }
    let pin = store.pin(&list.parts())?;
    if let Some(names) = names {
        store.lists().put(&list, names, &kept)?;
    }
    Ok((list, pin))
}

/// Adds images of this store to a list, which is made if it is not there.
pub fn extend(store: &Store, name: &Reference, images: &[&Image]) -> Result<List> {
    let text = name.to_string();
    let list = match store.lists().lookup(&text) {
        Err(error) if error.kind() == Kind::NotFound => {
            super::create(store, &text, &[], &CreateOptions::default())?
        }
        found => found?,
    };
    let kept = store.shared()?;
    let described: Vec<Described> =
        images.iter().map(|image| local(store, image)).collect::<Result<_>>()?;
    let add = |list: &mut List| {
        for (descriptor, member) in described {
            list.add(descriptor, member);
        }
        Ok(())
    };
    store.lists().change(&list.id, add, &kept)
}
