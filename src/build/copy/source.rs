//! What is copied: paths and patterns, looked up in a context or in layers.

use std::path::PathBuf;

use rustix::fs::FileType;

use super::upper::{Names, look, names, resolve};
use crate::error::{Error, Kind, Result};
use crate::image::merged::Node;
use crate::spec::ignore::{self, Patterns};

/// A tree that files are copied from.
#[derive(Clone, Debug)]
pub(crate) enum Tree {
    /// A directory of this machine, without what is left out: everything in it belongs to root.
    Context(PathBuf, Patterns),
    /// Layers, the uppermost first.
    Layers(Vec<PathBuf>),
    /// What was fetched: as it lies there.
    Fetched(PathBuf),
}

/// A tree, opened.
pub(super) struct Source<'a> {
    pub(super) root: Node,
    ignored: Option<&'a Patterns>,
    /// Whether owners and attributes are those of the files.
    pub(super) keeps_owners: bool,
}

impl Tree {
    pub(super) fn open(&self) -> Result<Option<Source<'_>>> {
        let (root, ignored, keeps_owners) = match self {
            Self::Context(path, patterns) => (Some(Node::plain(path)?), Some(patterns), false),
            Self::Layers(layers) => (Node::root(layers)?, None, true),
            Self::Fetched(path) => (Some(Node::plain(path)?), None, false),
        };
        Ok(root.map(|root| Source { root, ignored, keeps_owners }))
    }
}

impl Source<'_> {
    /// Tells whether a path is left out. A directory is not in which something is taken back.
    pub(super) fn leaves_out(&self, path: &[u8], node: &Node) -> Result<bool> {
        let Some(patterns) = self.ignored.filter(|patterns| !patterns.is_empty()) else {
            return Ok(false);
        };
        Ok(patterns.excludes(path) && !takes_back(patterns, path, node)?)
    }

    /// Finds all that a source of `COPY` names, without following links at the end; nothing if a
    /// pattern matches nothing. With `deep`, `**` stands for any number of directories.
    pub(super) fn select(&self, text: &str, deep: bool) -> Result<Vec<Names>> {
        let mut clean = Names::new();
        for name in names(text.as_bytes()) {
            // Above the root there is nothing.
            if name == b".." {
                clean.pop();
            } else {
                clean.push(name);
            }
        }
        let Some(first) = clean.iter().position(|name| has_wildcard(name)) else {
            return Ok(vec![clean]);
        };
        let base = resolve(&self.root, &clean[..first].join(&b'/'), true)?;
        let mut found = Vec::new();
        if let Some(node) = look(&self.root, &base)? {
            self.matching(&node, &base, &clean[first..], deep, &mut found)?;
        }
        if deep {
            // There may be several ways to one.
            found.sort_unstable();
            found.dedup();
        }
        Ok(found)
    }

    fn matching(
        &self,
        node: &Node,
        path: &Names,
        patterns: &[Vec<u8>],
        deep: bool,
        found: &mut Vec<Names>,
    ) -> Result<()> {
        let Some((pattern, rest)) = patterns.split_first() else { return Ok(()) };
        let pattern = String::from_utf8_lossy(pattern);
        let is_any = deep && pattern == "**" && !rest.is_empty();
        if is_any {
            self.matching(node, path, rest, deep, found)?;
        }
        for (name, child) in node.children()? {
            if is_any && !child.is_dir() {
                continue;
            }
            if !ignore::matches_name(&pattern, &name).map_err(|why| {
                Error::new(Kind::Invalid, format!("invalid pattern `{pattern}`: {why}"))
            })? {
                continue;
            }
            let mut path = path.clone();
            path.push(name);
            if self.leaves_out(&path.join(&b'/'), &child)? {
                continue;
            }
            if rest.is_empty() {
                found.push(path);
            } else {
                let left = if is_any { patterns } else { rest };
                self.matching(&child, &path, left, deep, found)?;
            }
        }
        Ok(())
    }

    /// Follows a path to what is copied; an error if there is nothing.
    pub(super) fn find(&self, names: &Names) -> Result<(Names, Node)> {
        let shown = || format!("/{}", names.join(&b'/').escape_ascii());
        let missing = || {
            let error = Error::new(Kind::NotFound, format!("{} is not there", shown()));
            match self.ignored {
                Some(patterns) if !patterns.is_empty() => {
                    error.hint("is it left out by the ignore file?")
                }
                _ => error,
            }
        };
        let path = resolve(&self.root, &names.join(&b'/'), true)?;
        let node = look(&self.root, &path)?.ok_or_else(missing)?;
        // The context itself is there, whatever is in it.
        if !path.is_empty() && self.leaves_out(&path.join(&b'/'), &node)? {
            return Err(missing());
        }
        Ok((path, node))
    }
}

/// Tells whether something in a directory is taken back that is left out itself.
fn takes_back(patterns: &Patterns, path: &[u8], node: &Node) -> Result<bool> {
    if !node.is_dir() || !patterns.may_include_below(path) {
        return Ok(false);
    }
    for (name, child) in node.children()? {
        let path = [path, name.as_slice()].join(&b'/');
        if !patterns.excludes(&path) || takes_back(patterns, &path, &child)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Tells whether a name is a pattern.
fn has_wildcard(name: &[u8]) -> bool {
    let mut bytes = name.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            b'*' | b'?' | b'[' => return true,
            _ => {}
        }
    }
    false
}

/// Returns what kind of a file it is.
pub(super) fn kind_of(node: &Node) -> FileType {
    FileType::from_raw_mode(node.stat.st_mode)
}
