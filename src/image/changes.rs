//! What a tree changes on top of some layers.
//!
//! A tree is an overlay's upper directory, which has nothing but changes, or a whole root file system,
//! which is compared with the layers. It may belong to a container that runs, so nothing in it stays
//! as it was seen: see [`super::merged`] for how it is looked at. Of the layers below an upper
//! directory only the names are looked up that it has itself, however large they are.
//!
//! Changes come in the order of a walk: a directory before what is in it, names in the order of their
//! bytes. So does the archive that is made of them, and the same changes make the same archive.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use rustix::fs::{Dir, FileType, OFlags, Stat, fstat};

use super::merged::{Node, has_opaque_mark, is_whiteout, joined, kind_of, look, still_there};
use crate::error::{Context, Result};
use crate::spec::userns::{IdMapping, inside_of};
use crate::sys::root::Root;
use crate::sys::xattrs;

/// What happened to a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// It is not what it was, or something in it changed.
    Changed,
    /// It is new.
    Added,
    /// It is not there any more.
    Deleted,
}

/// A path that is not as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What happened.
    pub kind: ChangeKind,
    /// The path in the image.
    pub path: PathBuf,
}

/// What a tree is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TreeKind {
    /// An overlay's upper directory: marks stand for what it hides.
    Upper,
    /// All files there are.
    Whole,
}

/// A tree that may have changes.
#[derive(Clone, Copy, Debug)]
pub struct Changed<'a> {
    /// Its directory.
    pub root: &'a Root,
    /// What it is.
    pub kind: TreeKind,
    /// For which IDs of the image those of its files stand, where they are others.
    pub owners: Option<&'a IdMapping>,
}

impl Changed<'_> {
    /// Returns what is known of a file as it is in the image.
    pub(super) fn in_image(&self, stat: Stat) -> Stat {
        in_image(stat, self.owners)
    }
}

/// Returns what is known of a file with the owners that it has in the image, where they are others.
pub(crate) fn in_image(mut stat: Stat, owners: Option<&IdMapping>) -> Stat {
    if let Some(owners) = owners {
        stat.st_uid = inside_of(&owners.uids, stat.st_uid);
        stat.st_gid = inside_of(&owners.gids, stat.st_gid);
    }
    stat
}

/// A change, with what is needed to put it into an archive.
#[derive(Debug)]
pub struct Found {
    /// The path below the root, without a slash before it.
    pub path: Vec<u8>,
    /// What happened.
    pub kind: ChangeKind,
    /// For a directory: nothing is left of what the layers have in it.
    pub hides_lower: bool,
    /// For something deleted: a directory that hides all that was in it is on the way.
    pub is_covered: bool,
}

impl Found {
    /// Returns it in the form that users see.
    pub(crate) fn change(self) -> Change {
        let mut path = vec![b'/'];
        path.extend(self.path);
        Change { kind: self.kind, path: OsString::from_vec(path).into() }
    }
}

/// A walk through the changes of a tree.
#[derive(Debug)]
pub struct Walk<'a> {
    tree: Changed<'a>,
    /// Paths that are no changes of their own, in order.
    ignored: &'a [&'a str],
    steps: Vec<Step>,
    /// Directories on the way that are shown when something in them is.
    waiting: Vec<Found>,
    ready: VecDeque<Found>,
}

#[derive(Debug)]
enum Step {
    /// A name that the tree has, and what the layers have there.
    Present(Box<Present>),
    /// A name that is gone.
    Gone { path: Vec<u8>, is_covered: bool },
    /// What is in a directory was seen.
    Leave(Vec<u8>),
}

#[derive(Debug)]
struct Present {
    path: Vec<u8>,
    stat: Stat,
    old: Option<Node>,
    is_covered: bool,
}

impl<'a> Walk<'a> {
    /// Begins a walk. `lower` is what the layers have; `ignored` are paths that count only for what is
    /// below them.
    pub fn new(tree: Changed<'a>, lower: Option<Node>, ignored: &'a [&'a str]) -> Result<Self> {
        let mut walk =
            Self { tree, ignored, steps: Vec::new(), waiting: Vec::new(), ready: VecDeque::new() };
        walk.enter(&[], lower.as_ref(), false)?;
        Ok(walk)
    }

    /// Begins a walk through one name in the tree's directory, and what is below it.
    pub(super) fn of_one(tree: Changed<'a>, name: &[u8]) -> Result<Self> {
        let mut walk = Self {
            tree,
            ignored: &[],
            steps: Vec::new(),
            waiting: Vec::new(),
            ready: VecDeque::new(),
        };
        let context = || format!("cannot look at `{}`", name.escape_ascii());
        let flags = OFlags::PATH | OFlags::NOFOLLOW;
        let file = tree.root.entry(tree.root, name, flags).context(context)?;
        let stat = tree.in_image(fstat(&file).context(context)?);
        let present = Present { path: name.to_vec(), stat, old: None, is_covered: false };
        walk.steps.push(Step::Present(Box::new(present)));
        Ok(walk)
    }

    /// Returns all changes.
    pub fn all(self) -> Result<Vec<Change>> {
        self.map(|found| found.map(Found::change)).collect()
    }

    /// Prepares the steps through a directory. Returns what is known of it as a whole.
    fn enter(&mut self, path: &[u8], lower: Option<&Node>, is_covered: bool) -> Result<Entered> {
        let context = || format!("cannot list directory `/{}`", path.escape_ascii());
        let mut entered = Entered::default();
        let Some(directory) = still_there(self.tree.root.listing(path)).context(context)? else {
            return Ok(entered);
        };
        entered.attributes = match (self.tree.kind, lower) {
            // Of a directory there may be nothing but those.
            (TreeKind::Upper, Some(lower)) => {
                lower.attributes()? != xattrs::of(&directory).context(context)?
            }
            _ => false,
        };
        entered.hides_lower = self.tree.kind == TreeKind::Upper
            && !is_covered
            && lower.is_some()
            && has_opaque_mark(&directory).context(context)?;
        let is_covered = is_covered || entered.hides_lower;
        let mut names: BTreeMap<Vec<u8>, Stat> = BTreeMap::new();
        for entry in Dir::read_from(&directory).context(context)? {
            let name = entry.context(context)?.file_name().to_owned();
            if !matches!(name.to_bytes(), b"." | b"..")
                && let Some(stat) = look(&directory, &name).context(context)?
            {
                names.insert(name.into_bytes(), self.tree.in_image(stat));
            }
        }
        // Everything that the layers have, where the tree does not say by itself what is gone.
        let mut old = match (lower, self.tree.kind) {
            (Some(lower), TreeKind::Whole) => Some(lower.children()?),
            (Some(lower), TreeKind::Upper) if is_covered => Some(lower.children()?),
            _ => None,
        };
        let mut steps = Vec::new();
        for (name, stat) in names {
            // In the lowest layer there is nothing that it could hide.
            if self.tree.kind == TreeKind::Whole && is_whiteout(&stat) {
                continue;
            }
            let old = match (&mut old, lower) {
                (Some(old), _) => old.remove(&name),
                (None, Some(lower)) => lower.child(&name)?,
                (None, None) => None,
            };
            let path = joined(path, &name);
            entered.has_ignored |= old.is_none() && self.is_ignored(&path);
            if is_whiteout(&stat) {
                if old.is_some() {
                    steps.push(Step::Gone { path, is_covered });
                }
            } else {
                steps.push(Step::Present(Box::new(Present { path, stat, old, is_covered })));
            }
        }
        let gone = old.unwrap_or_default().into_keys();
        steps.extend(gone.map(|name| Step::Gone { path: joined(path, &name), is_covered }));
        steps.sort_by(|one, other| one.path().cmp(other.path()));
        self.steps.push(Step::Leave(path.to_vec()));
        self.steps.extend(steps.into_iter().rev());
        Ok(entered)
    }

    fn is_ignored(&self, path: &[u8]) -> bool {
        self.ignored.iter().any(|ignored| ignored.as_bytes().strip_prefix(b"/") == Some(path))
    }

    fn step(&mut self, step: Step) -> Result<()> {
        match step {
            Step::Leave(path) => {
                // Nothing in it was shown.
                self.waiting.pop_if(|directory| directory.path == path);
            }
            Step::Gone { path, is_covered } => {
                if !self.is_ignored(&path) {
                    self.show(Found {
                        path,
                        kind: ChangeKind::Deleted,
                        hides_lower: false,
                        is_covered,
                    });
                }
            }
            Step::Present(present) => self.present(*present)?,
        }
        Ok(())
    }

    fn present(&mut self, present: Present) -> Result<()> {
        let Present { path, stat, old, is_covered } = present;
        let kind = if old.is_some() { ChangeKind::Changed } else { ChangeKind::Added };
        let ignored = self.is_ignored(&path);
        let mut found = Found { path, kind, hides_lower: false, is_covered: false };
        if kind_of(&stat) != FileType::Directory {
            let same = self.tree.kind == TreeKind::Whole
                && old.as_ref().is_some_and(|old| !differ(&old.stat, &stat));
            if !same && !ignored {
                self.show(found);
            }
            return Ok(());
        }
        // What was a file had nothing in it.
        let lower = old.as_ref().filter(|old| old.is_dir());
        let entered = self.enter(&found.path, lower, is_covered)?;
        found.hides_lower = entered.hides_lower;
        let is_new = match &old {
            None => !entered.has_ignored,
            Some(old) => {
                differ(&old.stat, &stat)
                    || (!entered.has_ignored && times(&old.stat) != times(&stat))
                    || entered.attributes
                    || found.hides_lower
            }
        };
        if is_new && !ignored {
            self.show(found);
        } else {
            self.waiting.push(found);
        }
        Ok(())
    }

    fn show(&mut self, found: Found) {
        self.ready.extend(self.waiting.drain(..));
        self.ready.push_back(found);
    }
}

/// What entering a directory has told about it.
#[derive(Debug, Default)]
struct Entered {
    /// Whether it hides what the layers have in it.
    hides_lower: bool,
    /// Whether its extended attributes are not what they were.
    attributes: bool,
    /// Whether there is something in it that is ignored: its time says nothing.
    has_ignored: bool,
}

impl Step {
    fn path(&self) -> &[u8] {
        match self {
            Self::Present(present) => &present.path,
            Self::Gone { path, .. } | Self::Leave(path) => path,
        }
    }
}

impl Iterator for Walk<'_> {
    type Item = Result<Found>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(found) = self.ready.pop_front() {
                return Some(Ok(found));
            }
            let step = self.steps.pop()?;
            if let Err(error) = self.step(step) {
                self.steps.clear();
                return Some(Err(error));
            }
        }
    }
}

/// Tells whether two things of one name are different, by what is known of them without reading them.
/// For directories, what is in them does not count.
pub(crate) fn differ(old: &Stat, new: &Stat) -> bool {
    let of = |it: &Stat| (it.st_mode, it.st_uid, it.st_gid, it.st_rdev);
    let is_dir = kind_of(new) == FileType::Directory;
    of(old) != of(new) || (!is_dir && (old.st_size != new.st_size || times(old) != times(new)))
}

fn times(stat: &Stat) -> (i64, u64) {
    (stat.st_mtime, stat.st_mtime_nsec)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    /// A directory below another, with an old time on everything: what is written later differs.
    fn tree(dir: &Path, name: &str, files: &[&str]) -> PathBuf {
        let tree = dir.join(name);
        fs::create_dir(&tree).unwrap();
        for file in files {
            let path = tree.join(file.trim_end_matches('/'));
            if file.ends_with('/') {
                fs::create_dir_all(&path).unwrap();
            } else {
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(&path, file).unwrap();
            }
        }
        age(&tree);
        tree
    }

    fn age(path: &Path) {
        if path.is_dir() {
            fs::read_dir(path).unwrap().for_each(|entry| age(&entry.unwrap().path()));
        }
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
        fs::File::open(path).unwrap().set_modified(time).unwrap();
    }

    fn changes(upper: &Path, kind: TreeKind, layers: &[PathBuf]) -> Vec<String> {
        let root = Root::open(upper).unwrap();
        let lower = Node::root(layers).unwrap();
        let tree = Changed { root: &root, kind, owners: None };
        let walk = Walk::new(tree, lower, &["/etc/hosts", "/proc"]).unwrap();
        let letter = |kind| match kind {
            ChangeKind::Added => 'A',
            ChangeKind::Changed => 'C',
            ChangeKind::Deleted => 'D',
        };
        let all = walk.all().unwrap().into_iter();
        all.map(|change| format!("{} {}", letter(change.kind), change.path.display())).collect()
    }

    #[test]
    fn compares_a_whole_tree() {
        let dir = tempfile::tempdir().unwrap();
        let layer = tree(dir.path(), "layer", &["a/x", "a/y", "b/x", "c", "e/f/g"]);
        let whole = tree(dir.path(), "whole", &["a/x", "a/y", "b/x", "c", "e/f/g"]);
        let layers = [layer];
        assert_eq!(changes(&whole, TreeKind::Whole, &layers), [""; 0]);
        fs::remove_file(whole.join("a/x")).unwrap();
        fs::write(whole.join("c"), "other").unwrap();
        fs::remove_dir_all(whole.join("b")).unwrap();
        fs::create_dir_all(whole.join("n/m")).unwrap();
        fs::write(whole.join("e/f/new"), "").unwrap();
        assert_eq!(
            changes(&whole, TreeKind::Whole, &layers),
            ["C /a", "D /a/x", "D /b", "C /c", "C /e", "C /e/f", "A /e/f/new", "A /n", "A /n/m"]
        );
    }

    #[test]
    fn ignores_what_others_have_made() {
        let dir = tempfile::tempdir().unwrap();
        let layers = [tree(dir.path(), "layer", &["etc/passwd"])];
        let upper = tree(dir.path(), "upper", &["etc/hosts", "proc/"]);
        fs::File::open(upper.join("etc"))
            .unwrap()
            .set_modified(std::time::SystemTime::now())
            .unwrap();
        assert_eq!(changes(&upper, TreeKind::Upper, &layers), [""; 0]);
        assert_eq!(changes(&upper, TreeKind::Upper, &[]), [""; 0]);
        // What is in it counts all the same.
        fs::write(upper.join("proc/file"), "").unwrap();
        fs::write(upper.join("etc/passwd"), "").unwrap();
        let want = ["C /etc", "C /etc/passwd", "A /proc", "A /proc/file"];
        assert_eq!(changes(&upper, TreeKind::Upper, &layers), want);
    }

    #[test]
    fn an_upper_directory_has_changes_only() {
        let dir = tempfile::tempdir().unwrap();
        let layers = [tree(dir.path(), "layer", &["a/b/c", "a/d", "e", "f/g"])];
        let upper = tree(dir.path(), "upper", &["a/b/n", "e/x", "f/"]);
        assert_eq!(
            changes(&upper, TreeKind::Upper, &layers),
            ["C /a", "C /a/b", "A /a/b/n", "C /e", "A /e/x"]
        );
    }
}
