//! The writing half: files of a source become files of an upper directory.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Uid, XattrFlags, chownat, fchmod, fsetxattr, futimens,
    linkat, mknodat, openat, symlinkat, utimensat,
};

use super::mode::ModeChange;
use super::source::{Source, kind_of};
use super::upper::{Directory, Names, NewDirectory, Upper, give, times_of};
use super::{archive, go_on, is_left_out, joined};
use crate::error::{Context, Error, Kind, Result};
use crate::image::merged::Node;
use crate::spec::ignore::Patterns;
use crate::sys::xattrs;

/// Writes into an upper directory.
pub(super) struct Writer {
    pub(super) upper: Upper,
    owner: Option<(u32, u32)>,
    chmod: Option<ModeChange>,
    /// Files with several names: where the first of them was written.
    links: HashMap<(u64, u64), Names>,
}

impl Writer {
    pub(super) fn new(upper: Upper, owner: Option<(u32, u32)>, chmod: Option<ModeChange>) -> Self {
        Self { upper, owner, chmod, links: HashMap::new() }
    }

    pub(super) fn finish(self) -> Result<()> {
        self.upper.finish()
    }

    fn new_directory(&self) -> NewDirectory {
        let mode = match &self.chmod {
            Some(ModeChange::Octal(mode)) => *mode,
            _ => 0o755,
        };
        NewDirectory { owner: self.owner.unwrap_or((0, 0)), mode }
    }

    /// Opens the directory that something is in.
    fn parent<'a>(&mut self, path: &'a Names) -> Result<(Directory, &'a [u8])> {
        let (name, above) = path.split_last().ok_or_else(|| {
            Error::new(Kind::Conflict, "cannot replace the root directory by a file")
        })?;
        let new = self.new_directory();
        Ok((self.upper.directory(above, new)?, name))
    }

    /// Writes a file of the Dockerfile.
    pub(super) fn text(&mut self, path: &Names, text: &str) -> Result<()> {
        let (parent, name) = self.parent(path)?;
        let file = create(&parent, name)?;
        let context = || format!("cannot write `{}`", name.escape_ascii());
        let mut file = File::from(file);
        io::Write::write_all(&mut file, text.as_bytes()).context(context)?;
        give(&file, self.owner.unwrap_or((0, 0))).context(context)?;
        let mode = self.chmod.as_ref().map_or(0o644, |change| change.apply(0o644, false));
        fchmod(&file, Mode::from_raw_mode(mode)).context(context)
    }

    /// Unpacks an archive into a directory; `false` if it is none.
    pub(super) fn unpack(&mut self, node: &Node, target: &Names) -> Result<bool> {
        let Some(file) = node.open()? else { return Ok(false) };
        let Some(archive) = archive::open(File::from(file))? else { return Ok(false) };
        // Modes are those of the archive.
        let new = NewDirectory { mode: 0o755, ..self.new_directory() };
        archive::unpack(archive, &mut self.upper, target, self.owner, new)?;
        Ok(true)
    }

    /// Makes a directory that is like another one.
    pub(super) fn like(&mut self, path: &Names, node: &Node, keeps_owners: bool) -> Result<()> {
        let (parent, name) = self.parent(path)?;
        let new = self.new_directory();
        let (directory, is_new) = self.upper.enter(&parent, name, new)?;
        if is_new {
            self.finish_directory(&directory.fd, node, keeps_owners)?;
        }
        Ok(())
    }

    /// Copies a tree to a place.
    pub(super) fn tree(
        &mut self,
        source: &Source<'_>,
        exclude: &Patterns,
        path: &Names,
        node: &Node,
        target: &Names,
    ) -> Result<()> {
        self.links.clear();
        let walk = Walk { source, exclude, base: path };
        if !node.is_dir() {
            // What is left out is told by the way from a source, and this is one.
            let (parent, name) = self.parent(target)?;
            return self.entry(&walk, &parent, path, name, node, target);
        }
        let new = self.new_directory();
        // The uppermost directory is made as those on the way to it, not like the source.
        let directory = self.upper.directory(target, new)?;
        self.children(&walk, &directory, path, node, target)
    }

    fn children(
        &mut self,
        walk: &Walk<'_>,
        directory: &Directory,
        path: &Names,
        node: &Node,
        target: &Names,
    ) -> Result<()> {
        for (name, child) in node.children()? {
            let path = joined(path, &name);
            if is_left_out(walk.source, walk.exclude, walk.base, &path, &child)? {
                continue;
            }
            let target = joined(target, &name);
            self.entry(walk, directory, &path, &name, &child, &target)?;
        }
        Ok(())
    }

    fn entry(
        &mut self,
        walk: &Walk<'_>,
        parent: &Directory,
        path: &Names,
        name: &[u8],
        node: &Node,
        target: &Names,
    ) -> Result<()> {
        go_on()?;
        let kind = kind_of(node);
        if kind == FileType::Directory {
            let new = self.new_directory();
            let (directory, _) = self.upper.enter(parent, name, new)?;
            self.children(walk, &directory, path, node, target)?;
            return self.finish_directory(&directory.fd, node, walk.source.keeps_owners);
        }
        // It means nothing elsewhere.
        if kind == FileType::Socket {
            return Ok(());
        }
        let context = || format!("cannot write `{}`", name.escape_ascii());
        let stat = &node.stat;
        if stat.st_nlink > 1 {
            if let Some(first) = self.links.get(&(stat.st_dev, stat.st_ino)).cloned() {
                let (from, first) = self.parent(&first)?;
                parent.make_room(name)?;
                return linkat(&from.fd, first, &parent.fd, name, AtFlags::empty())
                    .context(context);
            }
            self.links.insert((stat.st_dev, stat.st_ino), target.clone());
        }
        if kind == FileType::RegularFile {
            return self.file(parent, name, node, walk.source.keeps_owners).context(context);
        }
        parent.make_room(name)?;
        let mode = stat.st_mode & 0o7777;
        let mode = self.chmod.as_ref().map_or(mode, |change| change.apply(mode, false));
        let (uid, gid) = self.owner(node, walk.source.keeps_owners);
        if kind == FileType::Symlink {
            symlinkat(node.link()?.as_slice(), &parent.fd, name).context(context)?;
        } else {
            mknodat(&parent.fd, name, kind, Mode::from_raw_mode(mode), stat.st_rdev)
                .context(context)?;
        }
        chownat(
            &parent.fd,
            name,
            Some(Uid::from_raw(uid)),
            Some(Gid::from_raw(gid)),
            AtFlags::SYMLINK_NOFOLLOW,
        )
        .context(context)?;
        if kind != FileType::Symlink {
            // The umask has taken something.
            rustix::fs::chmodat(&parent.fd, name, Mode::from_raw_mode(mode), AtFlags::empty())
                .context(context)?;
        }
        utimensat(&parent.fd, name, &times_of(stat), AtFlags::SYMLINK_NOFOLLOW).context(context)
    }

    fn owner(&self, node: &Node, keeps: bool) -> (u32, u32) {
        match self.owner {
            Some(owner) => owner,
            None if keeps => (node.stat.st_uid, node.stat.st_gid),
            None => (0, 0),
        }
    }

    fn file(&self, parent: &Directory, name: &[u8], node: &Node, keeps_owners: bool) -> Result<()> {
        let context = || "cannot copy its content";
        let Some(from) = node.open()? else {
            return Err(Error::new(Kind::NotFound, "it has just gone"));
        };
        let file = create(parent, name)?;
        let mut to = File::from(file);
        let mut from = File::from(from);
        // By the kernel, without a way through our memory where that can be.
        io::copy(&mut from, &mut to).context(context)?;
        give(&to, self.owner(node, keeps_owners)).context(|| "cannot change its owner")?;
        if keeps_owners {
            for (key, value) in xattrs::of(&from).context(|| "cannot read its attributes")? {
                fsetxattr(&to, key.as_slice(), &value, XattrFlags::empty())
                    .context(|| "cannot set its attributes")?;
            }
        }
        let mode = node.stat.st_mode & 0o7777;
        let mode = self.chmod.as_ref().map_or(mode, |change| change.apply(mode, false));
        fchmod(&to, Mode::from_raw_mode(mode)).context(|| "cannot set its mode")?;
        futimens(&to, &times_of(&node.stat)).context(|| "cannot set its time")
    }

    fn finish_directory(&self, fd: &OwnedFd, node: &Node, keeps_owners: bool) -> Result<()> {
        give(fd, self.owner(node, keeps_owners))
            .context(|| "cannot change the owner of a directory")?;
        if keeps_owners {
            for (key, value) in node.attributes()? {
                fsetxattr(fd, key.as_slice(), &value, XattrFlags::empty())
                    .context(|| "cannot set the attributes of a directory")?;
            }
        }
        let mode = node.stat.st_mode & 0o7777;
        let mode = self.chmod.as_ref().map_or(mode, |change| change.apply(mode, true));
        fchmod(fd, Mode::from_raw_mode(mode)).context(|| "cannot set the mode of a directory")?;
        futimens(fd, &times_of(&node.stat)).context(|| "cannot set the time of a directory")
    }
}

/// What stays the same through a walk.
struct Walk<'a> {
    source: &'a Source<'a>,
    exclude: &'a Patterns,
    base: &'a Names,
}

/// Makes a file in place of what is there.
fn create(parent: &Directory, name: &[u8]) -> Result<OwnedFd> {
    parent.make_room(name)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    openat(&parent.fd, name, flags, Mode::from_raw_mode(0o600))
        .context(|| format!("cannot make `{}`", name.escape_ascii()))
}
