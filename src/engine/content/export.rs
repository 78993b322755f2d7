//! `export`: all files of a container as an archive.

use std::io::Write;

use super::{Files, refuse_builtin, still_there, view};
use crate::engine::Engine;
use crate::error::{Context, Result};
use crate::image::changes::Changed;
use crate::image::merged::Node;
use crate::image::tree::TreeStream;
use crate::store::container::Container;
use crate::store::events::{Action, Event};
use crate::sys::root::Root;

impl Engine {
    /// Writes an archive of all files of a container. Returns the files that became shorter meanwhile.
    pub fn export(&self, name: &str, out: &mut dyn Write) -> Result<Vec<String>> {
        let container = self.lookup(name)?;
        refuse_builtin(&container, "export")?;
        let context = || format!("cannot export container {name}");
        let root = view::open(self, &container).context(context)?;
        let owners = Files::of(self, &container).context(context)?.owners;
        let mut stream = TreeStream::all(&root, owners.as_ref()).context(context)?;
        stream.write_to(out, context)?;
        still_there(self, container.id()).context(context)?;
        self.record_event(Event::of(&container, Action::Export));
        Ok(stream.changed().to_vec())
    }

    /// Writes what a container has changed of its image as a layer.
    pub(in crate::engine) fn export_changes(
        &self,
        container: &Container,
        out: &mut dyn Write,
    ) -> Result<()> {
        let context = || "cannot write what has changed".to_owned();
        let files = Files::of(self, container).context(context)?;
        let root = Root::open(&files.own)
            .context(|| format!("cannot open directory {}", files.own.display()))?;
        let tree = Changed { root: &root, kind: files.kind, owners: files.owners.as_ref() };
        let mut stream = TreeStream::changes(tree, Node::root(&files.lower)?, &[])?;
        stream.write_to(out, context)
    }
}
