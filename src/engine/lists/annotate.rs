//! `manifest annotate`: what a list says of a member, or of itself.

use crate::error::{Error, Kind, Result};
use crate::image::list::local;
use crate::spec::digest::Digest;
use crate::spec::oci::{Annotations, Descriptor, MemberChange};
use crate::spec::reference::Reference;
use crate::store::Store;
use crate::store::list::List;

/// What is said.
#[derive(Clone, Debug, Default)]
pub struct AnnotateOptions {
    /// Of the member, if one is named.
    pub change: MemberChange,
    /// Of the list itself.
    pub index_annotations: Annotations,
}

/// Changes what a list says of a member, which is named by its digest or as it was added.
pub fn annotate(
    store: &Store,
    list: &str,
    member: Option<&str>,
    options: &AnnotateOptions,
) -> Result<List> {
    let list = store.lists().lookup(list)?;
    let digest = member.map(|text| find_member(store, &list, text)).transpose()?;
    let change = |list: &mut List| {
        if let Some(digest) = &digest {
            options.change.apply(list.member_mut(digest)?);
        }
        list.index.annotations.extend(options.index_annotations.clone());
        Ok(())
    };
    store.lists().change(&list.id, change, &store.shared()?)
}

/// Finds a member by its digest, or the beginning of one, by the name that it was added by, or by the
/// image that it is here.
pub(super) fn find_member(store: &Store, list: &List, text: &str) -> Result<Digest> {
    let members = &list.index.manifests;
    if let Ok(digest) = text.parse::<Digest>() {
        return Ok(digest);
    }
    let name = text.strip_prefix("docker://").unwrap_or(text);
    if let Ok(candidates) = Reference::candidates(name) {
        let is_named = |known: &&Descriptor| {
            let source = list.members.get(&known.digest).and_then(|it| it.source.as_ref());
            source.is_some_and(|source| {
                let bare = source.without_digest();
                candidates.contains(source) || bare.is_some_and(|name| candidates.contains(&name))
            })
        };
        let mut named = members.iter().filter(is_named);
        match (named.next(), named.next()) {
            (Some(member), None) => return Ok(member.digest.clone()),
            (Some(_), Some(_)) => {
                return Err(Error::new(
                    Kind::Conflict,
                    format!("several images of the list were added as \"{text}\""),
                )
                .hint("name the image by its digest"));
            }
            (None, _) => {}
        }
        if let Some(image) = store.images().find(name)? {
            let same = |known: &Digest| {
                list.members.get(known).is_some_and(|it| it.image.as_ref() == Some(&image.id))
            };
            if let Some(member) = members.iter().find(|known| same(&known.digest)) {
                return Ok(member.digest.clone());
            }
            if let Ok((descriptor, _)) = local(store, &image)
                && members.iter().any(|known| known.digest == descriptor.digest)
            {
                return Ok(descriptor.digest);
            }
        }
    }
    Err(Error::new(
        Kind::NotFound,
        format!("no instance matching \"{text}\" found in manifest list"),
    )
    .hint("`barge manifest inspect` shows the digests"))
}
