//! `manifest rm`, `manifest remove` and `manifest exists`.

use super::annotate::find_member;
use crate::engine::images::Batch;
use crate::error::Result;
use crate::spec::digest::ImageId;
use crate::store::Store;
use crate::store::garbage::Parts;
use crate::store::image::Removal;
use crate::store::list::{List, Member};

/// Tells whether there is such a list.
pub fn exists(store: &Store, list: &str) -> Result<bool> {
    Ok(store.lists().find(list)?.is_some())
}

/// Removes a name of a list, and the list with its last name.
pub fn remove(store: &Store, text: &str) -> Result<Vec<Removal>> {
    let mut batch = Batch::begin(store)?;
    store.lists().lookup(text)?;
    let done = batch.remove_list(text)?.unwrap_or_default();
    batch.finish()?;
    Ok(done)
}

/// Removes a list with all its names.
pub(super) fn remove_whole(store: &Store, id: &ImageId) -> Result<()> {
    let mut batch = Batch::begin(store)?;
    batch.remove_list(&id.to_string())?;
    batch.finish().map(drop)
}

/// Takes a member out of a list.
pub fn remove_member(store: &Store, list: &str, member: &str) -> Result<List> {
    let makers_kept_away = store.exclusive()?;
    let list = store.lists().lookup(list)?;
    let digest = find_member(store, &list, member)?;
    let mut taken = Member::default();
    let take = |list: &mut List| {
        taken = list.take(&digest)?;
        Ok(())
    };
    let list = store.lists().change(&list.id, take, &makers_kept_away)?;
    let mut parts = Parts::default();
    taken.add_to(&mut parts);
    let garbage = store.free(&parts, &makers_kept_away)?;
    drop(makers_kept_away);
    garbage.erase()?;
    Ok(list)
}
