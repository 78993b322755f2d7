//! `COPY` and `ADD`: which files, how they are told from others, and how they get into a layer.
//!
//! All that is copied is walked through twice: once to hash it, for the cache, and once to copy it, if
//! the cache does not have it. Nothing is collected in between, so memory does not depend on it.

mod archive;
mod mode;
mod source;
mod upper;
mod write;

use std::collections::HashMap;
use std::io::Read;
use std::path::PathBuf;

use rustix::fs::FileType;
use sha2::{Digest as _, Sha256};

pub(crate) use source::Tree;

use self::mode::ModeChange;
use self::source::{Source, kind_of};
use self::upper::{Names, NewDirectory, Upper, names};
use self::write::Writer;
use crate::error::{Context, Error, Kind, Result};
use crate::image::merged::Node;
use crate::spec::digest::Digest;
use crate::spec::ignore::Patterns;
use crate::sys::xattrs;

/// What is copied where.
#[derive(Debug)]
pub(crate) struct Job {
    /// What is copied.
    pub(crate) items: Vec<Item>,
    /// Where to: an absolute path; a slash ends that of a directory.
    pub(crate) target: String,
    /// Its owner, as it is written.
    pub(crate) chown: Option<String>,
    /// Its permission bits, as they are written.
    pub(crate) chmod: Option<String>,
    /// Whether the directories above come along.
    pub(crate) parents: bool,
    /// What is left out.
    pub(crate) exclude: Vec<String>,
}

/// One source.
#[derive(Debug)]
pub(crate) enum Item {
    /// Files of a tree.
    Files {
        /// The tree.
        tree: Tree,
        /// Path or pattern in it.
        path: String,
        /// Whether archives are unpacked.
        unpack: bool,
    },
    /// A file of the Dockerfile.
    Text {
        /// Its name.
        name: String,
        /// Its content.
        text: String,
    },
}

/// User and group.
type Owner = (u32, u32);

/// Looks a user and a group up in an image's files. Returns them, and what the user should know.
pub(crate) fn owner_of(layers: &[PathBuf], text: &str) -> Result<(Owner, Option<String>)> {
    let read = |path: &str| -> Result<Option<String>> {
        let data = read_file(layers, path).context(|| "cannot read the image's user database")?;
        Ok(data.map(|data| String::from_utf8_lossy(&data).into_owned()))
    };
    let (user, group) = match text.split_once(':') {
        // As in BuildKit: a group without a name is the first one.
        Some((user, "")) => (user, Some("0")),
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    if let (Ok(uid), Ok(gid)) = (user.parse(), group.unwrap_or(user).parse()) {
        return Ok(((uid, gid), None));
    }
    let (users, groups) = (read("etc/passwd")?, read("etc/group")?);
    if users.is_none() && user.parse::<u32>().is_err() && !user.is_empty() {
        return Err(Error::new(
            Kind::NotFound,
            format!("cannot look user `{user}` up: the image has no /etc/passwd"),
        )
        .hint("use numbers"));
    }
    let (users, groups) = (users.unwrap_or_default(), groups.unwrap_or_default());
    let id = |name: &str, file: &str| -> Option<u32> {
        let known = file.lines().find_map(|line| {
            let mut fields = line.split(':');
            (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok())?
        });
        known.or_else(|| name.parse().ok())
    };
    let default = |uid: u32| {
        let entry = users.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let gid = fields.get(3)?.parse::<u32>().ok()?;
            (fields.get(2)?.parse() == Ok(uid)).then_some(gid)
        });
        entry.unwrap_or(0)
    };
    let mut warning = None;
    let mut found = |name: &str, file: &str, otherwise: (u32, &str)| {
        id(name, file).unwrap_or_else(|| {
            let (instead, shown) = otherwise;
            warning = Some(format!("`{name}` is not known in the image: {shown} is taken instead"));
            instead
        })
    };
    let uid = if user.is_empty() { 0 } else { found(user, &users, (0, "root")) };
    // A number alone is the group's, too.
    let own = if user.parse::<u32>().is_ok() { uid } else { default(uid) };
    let gid = match group {
        None => own,
        Some(group) => found(group, &groups, (own, "the user's group")),
    };
    Ok(((uid, gid), warning))
}

/// More than any sensible database of users or packages.
const LARGEST: u64 = 64 << 20;

/// Reads a file of an image; `None` if there is none.
pub(crate) fn read_file(layers: &[PathBuf], path: &str) -> Result<Option<Vec<u8>>> {
    let Some(file) = open_file(layers, path)? else { return Ok(None) };
    let mut data = Vec::new();
    file.take(LARGEST)
        .read_to_end(&mut data)
        .context(|| format!("cannot read /{path} of the image"))?;
    Ok(Some(data))
}

/// Opens a file of an image; `None` if there is none.
pub(crate) fn open_file(layers: &[PathBuf], path: &str) -> Result<Option<std::fs::File>> {
    let Some(root) = Node::root(layers)? else { return Ok(None) };
    let names = upper::resolve(&root, path.as_bytes(), true)?;
    let node = upper::look(&root, &names)?;
    let file = node.map(|node| node.open()).transpose()?.flatten();
    Ok(file.map(std::fs::File::from))
}

/// Returns the permission bits of what is at a path of an image; `None` if there is nothing.
pub(crate) fn mode_of(layers: &[PathBuf], path: &str) -> Result<Option<u32>> {
    let Some(root) = Node::root(layers)? else { return Ok(None) };
    let names = upper::resolve(&root, path.as_bytes(), true)?;
    Ok(upper::look(&root, &names)?.map(|node| node.stat.st_mode & 0o7777))
}

/// Returns the names in a directory of an image; none if there is no such directory.
pub(crate) fn names_in(layers: &[PathBuf], path: &str) -> Result<Vec<String>> {
    let Some(root) = Node::root(layers)? else { return Ok(Vec::new()) };
    let names = upper::resolve(&root, path.as_bytes(), true)?;
    let Some(directory) = upper::look(&root, &names)? else { return Ok(Vec::new()) };
    let children = directory.children()?;
    Ok(children.keys().filter_map(|name| String::from_utf8(name.clone()).ok()).collect())
}

/// Ends the work on many files where the user has lost patience: signals are held back meanwhile.
fn go_on() -> Result<()> {
    match crate::engine::is_interrupted() {
        true => Err(Error::new(Kind::Unavailable, "interrupted")),
        false => Ok(()),
    }
}

/// What is copied, found.
struct Found<'a> {
    source: &'a Source<'a>,
    /// As it was named.
    named: Names,
    /// Where it is.
    path: Names,
    node: Node,
    unpack: bool,
}

impl Job {
    /// Returns a hash of all that is copied.
    pub(crate) fn digest(&self) -> Result<Digest> {
        let mut hash = Hasher { hash: Sha256::new(), links: HashMap::new() };
        let exclude = self.excluded()?;
        self.each(|found| match found {
            Entry::Text { name, text } => {
                hash.text("text", &[name.as_bytes(), text.as_bytes()]);
                Ok(())
            }
            Entry::Files(found) => {
                let base = found.named.last().cloned().unwrap_or_default();
                let way = if self.parents { found.named.join(&b'/') } else { base };
                hash.text("source", &[&way, &[u8::from(found.unpack)]]);
                hash.links.clear();
                hash.walk(found.source, &exclude, &found.path, &found.path, &found.node)
            }
        })?;
        Ok(Digest::from_sha256(&hash.hash.finalize().into()))
    }

    /// Copies everything into an empty upper directory; `lower` are the layers below it. Returns what
    /// the user should know.
    pub(crate) fn write(&self, path: &std::path::Path, lower: &[PathBuf]) -> Result<Vec<String>> {
        let mut warnings = Vec::new();
        let owner = match &self.chown {
            Some(text) => {
                let (owner, warning) = owner_of(lower, text)?;
                warnings.extend(warning);
                Some(owner)
            }
            None => None,
        };
        let invalid = |why: String| Error::new(Kind::Invalid, why);
        let chmod = self.chmod.as_deref().map(ModeChange::parse).transpose().map_err(invalid)?;
        let exclude = self.excluded()?;
        let mut writer = Writer::new(Upper::new(path, lower), owner, chmod);
        let is_dir = self.target.ends_with('/');
        self.each(|entry| {
            let target = writer.upper.resolve(self.target.as_bytes())?;
            let existing = {
                let merged = writer.upper.merged()?;
                upper::look(&merged, &target)?
            };
            let into = is_dir || existing.as_ref().is_some_and(Node::is_dir);
            match entry {
                Entry::Text { name, text } => {
                    let path = if into { joined(&target, name.as_bytes()) } else { target };
                    writer.text(&path, text)
                }
                Entry::Files(found) => self.place(&mut writer, found, target, into, &exclude),
            }
        })?;
        writer.finish()?;
        Ok(warnings)
    }

    fn place(
        &self,
        writer: &mut Writer,
        found: Found<'_>,
        mut target: Names,
        into: bool,
        exclude: &Patterns,
    ) -> Result<()> {
        let shown = || format!("cannot copy `/{}`", found.path.join(&b'/').escape_ascii());
        if found.unpack && writer.unpack(&found.node, &target).context(shown)? {
            return Ok(());
        }
        if self.parents {
            let mut above = found.source.root.clone();
            for name in found.named.iter().take(found.named.len().saturating_sub(1)) {
                match above.child(name)? {
                    Some(node) => above = node,
                    None => break,
                }
                target.push(name.clone());
                writer.like(&target, &above, found.source.keeps_owners)?;
            }
            target.extend(found.named.last().cloned());
        } else if !found.node.is_dir() && into {
            target.extend(found.named.last().cloned());
        }
        writer.tree(found.source, exclude, &found.path, &found.node, &target).context(shown)
    }

    fn excluded(&self) -> Result<Patterns> {
        Patterns::of(self.exclude.iter().map(String::as_str))
    }

    /// Calls something for all that is copied, in order.
    fn each(&self, mut use_it: impl FnMut(Entry<'_>) -> Result<()>) -> Result<()> {
        for item in &self.items {
            match item {
                Item::Text { name, text } => use_it(Entry::Text { name, text })?,
                Item::Files { tree, path, unpack } => {
                    let Some(source) = tree.open()? else {
                        return Err(Error::new(Kind::NotFound, format!("{path} is not there")));
                    };
                    // With `--parents`, what is before `/./` does not come along.
                    let (base, rest) = match path.split_once("/./") {
                        Some((base, rest)) if self.parents => (base, rest),
                        _ => ("", path.as_str()),
                    };
                    let below = names(base.as_bytes());
                    let whole = format!("{base}/{rest}");
                    for named in source.select(&whole, self.parents)? {
                        let (path, node) = source.find(&named)?;
                        let named = named.into_iter().skip(below.len()).collect();
                        let unpack = *unpack && kind_of(&node) == FileType::RegularFile;
                        use_it(Entry::Files(Found { source: &source, named, path, node, unpack }))?;
                    }
                }
            }
        }
        Ok(())
    }
}

enum Entry<'a> {
    Text { name: &'a str, text: &'a str },
    Files(Found<'a>),
}

fn joined(path: &Names, name: &[u8]) -> Names {
    let mut path = path.clone();
    path.push(name.to_vec());
    path
}

/// Unpacks an archive into an empty directory; `false` if the file is none.
pub(crate) fn unpack_archive(file: std::fs::File, path: &std::path::Path) -> Result<bool> {
    let Some(archive) = archive::open(file)? else { return Ok(false) };
    let mut upper = Upper::new(path, &[]);
    let new = NewDirectory { owner: (0, 0), mode: 0o755 };
    archive::unpack(archive, &mut upper, &Names::new(), None, new)?;
    upper.finish()?;
    Ok(true)
}

/// Makes a directory, and those above it; returns whether something changed.
pub(crate) fn make_directory(
    path: &std::path::Path,
    lower: &[PathBuf],
    wanted: &str,
    owner: (u32, u32),
) -> Result<()> {
    let mut upper = Upper::new(path, lower);
    let names = upper.resolve(wanted.as_bytes())?;
    upper.directory(&names, NewDirectory { owner, mode: 0o755 })?;
    upper.finish()
}

/// Looks at a path of an image; tells whether it is a directory.
pub(crate) fn is_directory(lower: &[PathBuf], path: &str) -> Result<bool> {
    let Some(root) = Node::root(lower)? else { return Ok(false) };
    let names = upper::resolve(&root, path.as_bytes(), true)?;
    Ok(upper::look(&root, &names)?.is_some_and(|node| node.is_dir()))
}

/// The way to a path through the links of an image.
pub(crate) struct Way {
    /// The names that lead there, without links.
    pub(crate) names: Vec<Vec<u8>>,
    /// How many of them the image has.
    pub(crate) known: usize,
}

impl Way {
    /// Finds the way to a path; without `follow`, to the link that it may end with.
    pub(crate) fn to(root: Option<&Node>, path: &str, follow: bool) -> Result<Self> {
        let Some(root) = root else { return Ok(Self { names: names(path.as_bytes()), known: 0 }) };
        let names = upper::resolve(root, path.as_bytes(), follow)?;
        let mut node = root.clone();
        let mut known = 0;
        while let Some(name) = names.get(known)
            && let Some(child) = node.child(name)?
        {
            node = child;
            known += 1;
        }
        Ok(Self { names, known })
    }
}

struct Hasher {
    hash: Sha256,
    /// Files with several names: which was the first.
    links: HashMap<(u64, u64), Vec<u8>>,
}

impl Hasher {
    /// Adds words in a form that no other words have.
    fn text(&mut self, what: &str, words: &[&[u8]]) {
        self.hash.update(what.as_bytes());
        for word in words {
            self.hash.update((word.len() as u64).to_le_bytes());
            self.hash.update(word);
        }
    }

    fn walk(
        &mut self,
        source: &Source<'_>,
        exclude: &Patterns,
        base: &Names,
        path: &Names,
        node: &Node,
    ) -> Result<()> {
        go_on()?;
        let relative = path[base.len()..].join(&b'/');
        let stat = &node.stat;
        let owner = if source.keeps_owners { (stat.st_uid, stat.st_gid) } else { (0, 0) };
        let facts = [stat.st_mode, owner.0, owner.1].map(u32::to_le_bytes).concat();
        let kind = kind_of(node);
        if kind == FileType::Socket {
            return Ok(());
        }
        self.text("entry", &[&relative, &facts]);
        if kind != FileType::Directory && stat.st_nlink > 1 {
            let first = self.links.entry((stat.st_dev, stat.st_ino)).or_insert(relative.clone());
            if *first != relative {
                let first = first.clone();
                self.text("link", &[&first]);
                return Ok(());
            }
        }
        match kind {
            FileType::Directory => {
                if source.keeps_owners {
                    for (key, value) in node.attributes()? {
                        self.text("attribute", &[&key, &value]);
                    }
                }
                for (name, child) in node.children()? {
                    let path = joined(path, &name);
                    if is_left_out(source, exclude, base, &path, &child)? {
                        continue;
                    }
                    self.walk(source, exclude, base, &path, &child)?;
                }
                self.text("end", &[]);
            }
            FileType::RegularFile => {
                let context = || format!("cannot read `/{}`", path.join(&b'/').escape_ascii());
                let Some(file) = node.open()? else { return Ok(()) };
                if source.keeps_owners {
                    for (key, value) in xattrs::of(&file).context(context)? {
                        self.text("attribute", &[&key, &value]);
                    }
                }
                let mut content = Sha256::new();
                let mut file = std::fs::File::from(file);
                let mut buffer = [0; 64 << 10];
                loop {
                    match file.read(&mut buffer).context(context)? {
                        0 => break,
                        length => content.update(&buffer[..length]),
                    }
                }
                self.text("content", &[&content.finalize()]);
            }
            FileType::Symlink => self.text("to", &[&node.link()?]),
            _ => self.text("device", &[&stat.st_rdev.to_le_bytes()]),
        }
        Ok(())
    }
}

/// Tells whether something below a source is left out.
fn is_left_out(
    source: &Source<'_>,
    exclude: &Patterns,
    base: &Names,
    path: &Names,
    node: &Node,
) -> Result<bool> {
    Ok(exclude.excludes(&path[base.len()..].join(&b'/'))
        || source.leaves_out(&path.join(&b'/'), node)?)
}
