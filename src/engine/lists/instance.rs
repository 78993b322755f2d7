//! Running from a list: the member for a platform.

use crate::engine::images::{Progress, PullOptions, PullPolicy};
use crate::error::{Error, Kind, Result};
use crate::image::list::{Described, choose, local, restore};
use crate::spec::digest::Digest;
use crate::spec::platform::Platform;
use crate::spec::reference::Reference;
use crate::store::Store;
use crate::store::image::Image;
use crate::store::list::{List, Member};

/// Returns the image of a list's member for a platform, and the list's name, if it is here.
pub(in crate::engine) fn here(
    store: &Store,
    text: &str,
    platform: Option<&Platform>,
) -> Result<Option<(Image, Option<Reference>)>> {
    let Some((list, name)) = store.lists().find(text)? else { return Ok(None) };
    let (_, member) = chosen(&list, platform)?;
    Ok(image(store, &member)?.map(|image| (image, name)))
}

/// As [`here`]; fetches the image if it is not here. `None` if there is no such list.
pub(in crate::engine) fn ensure(
    store: &Store,
    text: &str,
    options: &PullOptions,
    progress: &dyn Progress,
) -> Result<Option<(Image, Option<Reference>)>> {
    let Some((list, name)) = store.lists().find(text)? else { return Ok(None) };
    let (digest, member) = chosen(&list, options.platform.as_ref())?;
    if let Some(image) = image(store, &member)? {
        return Ok(Some((image, name)));
    }
    let image = match (restore(store, &digest, &member)?, &member.source) {
        (Some(image), _) => image,
        (None, Some(source)) if options.policy != PullPolicy::Never => {
            // What it runs on is what the list says, not what it says itself.
            crate::image::pull::pull(store, source, None, &options.registry, progress)?
        }
        (None, _) => {
            return Err(Error::new(
                Kind::NotFound,
                format!("the image {digest} of the manifest list `{text}` is not here"),
            )
            .hint("pull it by this digest, or add it to the list again"));
        }
    };
    store.flush_later()?;
    // From now on the list keeps it.
    let kept = store.shared()?;
    let (_, found): Described = local(store, &image)?;
    let keep = |list: &mut List| {
        if let Some(member) = list.members.get_mut(&digest) {
            *member = Member { source: member.source.take().or(found.source), ..found };
        }
        Ok(())
    };
    store.lists().change(&list.id, keep, &kept)?;
    Ok(Some((image, name)))
}

/// Returns the digest of a list's member for a platform.
pub(in crate::engine) fn instance(list: &List, platform: Option<&Platform>) -> Result<Digest> {
    chosen(list, platform).map(|(digest, _)| digest)
}

fn chosen(list: &List, platform: Option<&Platform>) -> Result<(Digest, Member)> {
    let host = Platform::host();
    let digest = choose(&list.index, platform.unwrap_or(&host))?.digest.clone();
    let member = list.members.get(&digest).cloned().unwrap_or_default();
    Ok((digest, member))
}

fn image(store: &Store, member: &Member) -> Result<Option<Image>> {
    member.image.as_ref().map_or(Ok(None), |id| store.images().get(id))
}
