//! `export`: all files of a container as an archive.

use std::io::Write;

use super::{Files, refuse_builtin, still_there, view};
use crate::engine::Engine;
use crate::error::{Context, Result};
use crate::image::tree::TreeStream;
use crate::store::events::{Action, Event};

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
}
