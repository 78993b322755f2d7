//! The files of a container that does not run, with what is mounted in it, for somebody who looks at
//! them or changes them.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use oci_spec::runtime::Mount;

use super::capability::as_owner;
use super::init::MS_SLAVE;
use super::options::Options;
use super::rootfs::{self, Rootfs, Source};
use super::threshold::{Owners, UserNamespace};
use crate::error::{Context, Result};
use crate::sys::mount::{self, Attributes, NO_DEV, READ_ONLY};

/// Mounts a container's files as it would see them; returns a clone of it all, which is mounted
/// nowhere and has no devices that could be opened.
///
/// What this machine has mounted already is `given`, with the place of each.
///
/// It mounts in this process' own mount namespace, which must be one for this alone. Nobody else may
/// use the directories of the root file system meanwhile.
pub fn shown(
    files: &Rootfs,
    mounts: &[Mount],
    given: &[(PathBuf, OwnedFd)],
    user: Option<&UserNamespace<'_>>,
    read_only: bool,
) -> Result<OwnedFd> {
    mount::set_propagation_of_all(MS_SLAVE)
        .context(|| "cannot cut the mounts off from the host's")?;
    // As for the container: what is bound is found before anything of ours covers it.
    let prepare = |entry: &Mount| {
        if let Some((_, tree)) = given.iter().find(|(target, _)| target == entry.destination()) {
            return Source::given(tree).map(Some);
        }
        if let Some(user) = user {
            return Source::prepare(entry, user);
        }
        let options = Options::parse(entry.options().as_deref().unwrap_or_default());
        Source::of(entry, &options, None).map(Some)
    };
    let sources = mounts.iter().map(prepare).collect::<Result<Vec<_>>>()?;
    let root = rootfs::attach(files.tree(user)?, files.mount_point())?;
    let mut all = mounts.iter().zip(sources);
    let mut apply =
        || all.try_for_each(|(entry, source)| rootfs::apply(root.as_fd(), entry, source));
    match user.map(|user| user.owners) {
        // Only somebody who is mapped can make mount points.
        Some(Owners::Mapped(uid, gid)) => as_owner((uid, gid), apply)?,
        _ => apply()?,
    }
    let context = || "cannot show the container's files";
    if read_only {
        let attributes = Attributes { set: READ_ONLY, ..Attributes::default() };
        mount::set_attributes(&root, attributes, false).context(context)?;
    }
    let tree = mount::clone_at(root.as_fd(), true).context(context)?;
    let attributes = Attributes { set: NO_DEV, ..Attributes::default() };
    mount::set_attributes(&tree, attributes, true).context(context)?;
    Ok(tree)
}
