//! Files from and to containers as archives.

use std::io::{BufRead, Write};

use rustix::io::Errno;

use super::spot::{Spot, Wanted};
use super::{ContainerPath, CopyOptions};
use crate::engine::Engine;
use crate::error::{Context, Error, Kind, Result};
use crate::image::tree::TreeStream;
use crate::image::unpack::{Into, unpack_into};

impl Engine {
    /// Writes an archive of a file or directory of a container. Returns what the user should know.
    pub fn copy_to_archive(
        &self,
        from: ContainerPath<'_>,
        follow_link: bool,
        out: &mut dyn Write,
    ) -> Result<Vec<String>> {
        let inside = self.inside(from.name)?;
        let options = CopyOptions { follow_link, ..CopyOptions::default() };
        let (wanted, source) = inside.source(from.path, options)?;
        let context = || format!("cannot copy \"{}\" from container {}", from.path, from.name);
        let (root, name) = source.into_root();
        let (name, shown) = match name.as_slice() {
            b"" => (b".".as_slice(), b".".as_slice()),
            name => (name, wanted.name()),
        };
        let owners = inside.mapping.as_ref();
        let mut stream = TreeStream::one(&root, name, shown, owners).context(context)?;
        stream.write_to(out, context)?;
        let changed = stream.changed().iter();
        Ok(changed.map(|path| format!("`{path}` changed while it was read")).collect())
    }

    /// Unpacks an archive, which may be compressed, in a directory of a container. Returns what the
    /// user should know.
    pub fn copy_from_archive(
        &self,
        input: impl BufRead,
        to: ContainerPath<'_>,
        options: CopyOptions,
    ) -> Result<Vec<String>> {
        let inside = self.inside(to.name)?;
        let wanted = Wanted::of(&inside.absolute(to.path));
        let missing = |error| inside.missing(to.path, error);
        let spot = Spot::find(&inside.root, &wanted, true).map_err(missing)?;
        match spot.stat {
            None => return Err(missing(Errno::NOENT.into())),
            Some(_) if !spot.is_directory() => {
                return Err(Error::new(
                    Kind::Invalid,
                    "destination must be a directory when copying from stdin",
                ));
            }
            Some(_) => {}
        }
        let into = Into {
            base: spot.path,
            owner: inside.owner(options)?,
            mapping: inside.mapping.as_ref(),
            overwrite: options.overwrite,
            itself: false,
            no_archive: "source must be a (compressed) tar archive when copying from stdin",
            root: inside.root.try_clone().context(|| "cannot copy a descriptor")?,
        };
        inside.write(|| unpack_into(input, into)).map_err(|error| inside.explain(error, to.path))
    }
}
