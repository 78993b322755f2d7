//! What a container sees of its control groups in /sys/fs/cgroup.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use oci_spec::runtime::Mount;

use super::cgroup::ContainerMount;
use super::options::Options;
use super::rootfs;
use crate::error::{Context, Result};
use crate::sys::mount::{self, Attributes};

/// Mounts the container's groups where the entry says.
///
/// Version 2 alone is one file system; otherwise there is a directory for each hierarchy, as on the
/// host. In the container's cgroup namespace each shows the container's own group as its root.
pub(super) fn mount(root: BorrowedFd<'_>, entry: &Mount, groups: &[ContainerMount]) -> Result<()> {
    let destination = entry.destination();
    let context = || format!("cannot show control groups in {}", destination.display());
    let options = Options::parse(entry.options().as_deref().unwrap_or_default());
    let attributes = options.attributes.set;
    let target = rootfs::target(root, destination, true)?;
    if let [only] = groups
        && only.name.is_empty()
    {
        let tree = filesystem(only, attributes).context(context)?;
        return mount::attach(tree, target).context(context);
    }
    let tmpfs = [("mode".to_owned(), Some("755".to_owned()))];
    let top = mount::filesystem(c"tmpfs", Some("cgroup"), &tmpfs, attributes & !mount::READ_ONLY)
        .context(context)?;
    mount::attach(&top, target).context(context)?;
    for group in groups {
        let dir = rootfs::target(top.as_fd(), Path::new(&group.name), true)?;
        let tree = filesystem(group, attributes).context(context)?;
        mount::attach(tree, dir).context(context)?;
        // Several controllers in one hierarchy: programs look for each by its own name.
        for name in group.name.split(',').filter(|name| *name != group.name) {
            rustix::fs::symlinkat(group.name.as_str(), &top, name).context(context)?;
        }
    }
    let read_only = Attributes { set: attributes & mount::READ_ONLY, ..Attributes::default() };
    mount::set_attributes(&top, read_only, false).context(context)
}

fn filesystem(group: &ContainerMount, attributes: u64) -> std::io::Result<OwnedFd> {
    let kind = if group.options.is_some() { c"cgroup" } else { c"cgroup2" };
    let options: Vec<(String, Option<String>)> = group
        .options
        .iter()
        .flat_map(|options| options.split(','))
        .map(|option| match option.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (option.to_owned(), None),
        })
        .collect();
    mount::filesystem(kind, Some("cgroup"), &options, attributes).or_else(|_| {
        // Without a cgroup namespace of its own a user may not mount it, only look at the host's.
        let tree = mount::clone_tree(&group.source, false)?;
        let attributes = Attributes { set: attributes, ..Attributes::default() };
        mount::set_attributes(&tree, attributes, false)?;
        Ok(tree)
    })
}
