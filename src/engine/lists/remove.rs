//! `manifest rm`, `manifest remove` and `manifest exists`.

use super::annotate::find_member;
use crate::error::Result;
use crate::store::Store;
use crate::store::image::Removal;
use crate::store::list::{List, Member};
use crate::store::lock::Lock;

/// Tells whether there is such a list.
pub fn exists(store: &Store, list: &str) -> Result<bool> {
    Ok(store.lists().find(list)?.is_some())
}

/// Removes a name of a list, and the list with its last name.
pub fn remove(store: &Store, text: &str) -> Result<Vec<Removal>> {
    remove_name(store, text, &store.exclusive()?)
}

/// As [`remove`], for who keeps makers away already.
pub(in crate::engine) fn remove_name(
    store: &Store,
    text: &str,
    makers_kept_away: &Lock,
) -> Result<Vec<Removal>> {
    let list = store.lists().lookup(text)?;
    let name = store.lists().find(text)?.and_then(|(_, name)| name);
    if let Some(name) = name
        && store.lists().with_names(&list)?.names.len() > 1
    {
        store.images().untag(&name)?;
        return Ok(vec![Removal::Untagged(name)]);
    }
    store.lists().remove(&list.id, makers_kept_away)
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
    store.lists().release([taken], &makers_kept_away)?;
    Ok(list)
}
