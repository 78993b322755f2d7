//! `manifest create`: a new list.

use super::add::{Source, add_sources, resolve};
use crate::engine::images::RegistryOptions;
use crate::engine::now;
use crate::error::{Error, Kind, Result};
use crate::spec::oci::{Annotations, MemberChange};
use crate::spec::reference::Reference;
use crate::store::Store;
use crate::store::list::List;

/// How a list is made.
#[derive(Clone, Debug, Default)]
pub struct CreateOptions {
    /// All members of lists that are added, not only the one for this machine.
    pub all: bool,
    /// A list that is there already is fine.
    pub amend: bool,
    /// Annotations of the list itself.
    pub annotations: Annotations,
    /// How to talk to registries.
    pub registry: RegistryOptions,
}

/// Makes a list and adds images to it. If one of them cannot be had, no list is made.
pub fn create(
    store: &Store,
    name: &str,
    images: &[String],
    options: &CreateOptions,
) -> Result<List> {
    let name = Reference::local(name)?;
    crate::engine::images::check_new_name(&name)?;
    let sources: Vec<Source> = images
        .iter()
        .map(|image| resolve(store, image, options.all, &options.registry))
        .collect::<Result<_>>()?;
    let list = match store.lists().create(&name, now()) {
        Err(error) if options.amend && error.kind() == Kind::Conflict => {
            store.lists().lookup(&name.to_string()).map_err(|other| match other.kind() {
                Kind::Invalid => error,
                _ => other,
            })?
        }
        other => other?,
    };
    let added = add_sources(store, &list, sources, options.all, &MemberChange::default())?;
    if options.annotations.is_empty() {
        return Ok(added);
    }
    let kept = store.shared()?;
    let annotate = |list: &mut List| {
        list.index.annotations.extend(options.annotations.clone());
        Ok::<(), Error>(())
    };
    store.lists().change(&list.id, annotate, &kept)
}
