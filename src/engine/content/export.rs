//! `export`: all files of a container as an archive.

use std::io::{self, Read, Write};

use super::{Files, refuse_builtin, still_there, view};
use crate::engine::Engine;
use crate::error::{Context, Result};
use crate::image::tree::TreeStream;
use crate::store::events::{Action, Event};

/// Bytes that are written at a time.
const CHUNK: usize = 256 << 10;

impl Engine {
    /// Writes an archive of all files of a container. Returns the files that became shorter meanwhile.
    pub fn export(&self, name: &str, out: &mut dyn Write) -> Result<Vec<String>> {
        let container = self.lookup(name)?;
        refuse_builtin(&container, "export")?;
        let context = || format!("cannot export container {name}");
        let root = view::open(self, &container).context(context)?;
        let owners = Files::of(self, &container).context(context)?.owners;
        let mut stream = TreeStream::all(&root, owners.as_ref()).context(context)?;
        let mut buffer = vec![0; CHUNK];
        loop {
            let length = filled(&mut stream, &mut buffer).context(context)?;
            if length == 0 {
                break;
            }
            out.write_all(&buffer[..length]).context(|| "cannot write the archive")?;
        }
        out.flush().context(|| "cannot write the archive")?;
        still_there(self, &container).context(context)?;
        self.record_event(Event::of(&container, Action::Export));
        Ok(stream.changed().to_vec())
    }
}

fn filled(stream: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match stream.read(&mut buffer[filled..])? {
            0 => break,
            length => filled += length,
        }
    }
    Ok(filled)
}
