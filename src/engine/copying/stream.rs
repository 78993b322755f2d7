//! Files from and to containers as archives.

use std::fs::File;
use std::io::{BufRead, BufReader, Seek, Write};

use rustix::io::Errno;

use super::inside::{Inside, Purpose};
use super::spot::{Spot, Wanted};
use super::{ContainerPath, CopyOptions};
use crate::engine::Engine;
use crate::engine::content::still_there;
use crate::error::{Context, Error, Kind, Result};
use crate::image::tree::TreeStream;
use crate::image::unpack::{Into, unpack_into};
use crate::store::events::Action;

impl Engine {
    /// Writes an archive of a file or directory of a container. Returns what the user should know.
    pub fn copy_to_archive(
        &self,
        from: ContainerPath<'_>,
        follow_link: bool,
        out: &mut dyn Write,
    ) -> Result<Vec<String>> {
        let inside = self.inside(from.name, Purpose::Read)?;
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
        // Its files may have gone as they were read.
        still_there(self, &inside.config.id).context(context)?;
        inside.record(Action::ArchivePath);
        let changed = stream.changed().iter();
        Ok(changed.map(|path| format!("`{path}` changed while it was read")).collect())
    }

    /// Unpacks an archive, which may be compressed, in a directory of a container. Returns what the
    /// user should know.
    pub fn copy_from_archive(
        &self,
        mut input: impl BufRead,
        to: ContainerPath<'_>,
        options: CopyOptions,
    ) -> Result<Vec<String>> {
        let inside = self.inside(to.name, Purpose::Write)?;
        if !inside.is_locked() {
            return Self::unpack(&inside, input, to, options);
        }
        Self::archive_target(&inside, to)?;
        drop(inside);
        // Whoever writes the archive may take long, and nobody waits for that with the container.
        let draft = self.store.draft_dir()?;
        let path = draft.path().join("archive");
        let context = || format!("cannot keep the archive in {}", path.display());
        let mut options_of = File::options();
        let mut kept =
            options_of.read(true).write(true).create_new(true).open(&path).context(context)?;
        std::io::copy(&mut input, &mut kept).context(context)?;
        kept.rewind().context(context)?;
        Self::unpack(&self.inside(to.name, Purpose::Write)?, BufReader::new(kept), to, options)
    }

    /// Finds the directory of a container that an archive is to be unpacked in.
    fn archive_target(inside: &Inside<'_>, to: ContainerPath<'_>) -> Result<Spot> {
        let wanted = Wanted::of(&inside.absolute(to.path));
        let missing = |error| inside.missing(to.path, error);
        let spot = Spot::find(&inside.root, &wanted, true).map_err(missing)?;
        match spot.stat {
            None => Err(missing(Errno::NOENT.into())),
            Some(_) if !spot.is_directory() => Err(Error::new(
                Kind::Invalid,
                "destination must be a directory when copying from stdin",
            )),
            Some(_) => Ok(spot),
        }
    }

    fn unpack(
        inside: &Inside<'_>,
        input: impl BufRead,
        to: ContainerPath<'_>,
        options: CopyOptions,
    ) -> Result<Vec<String>> {
        let spot = Self::archive_target(inside, to)?;
        let into = Into {
            base: spot.path,
            owner: inside.owner(options)?,
            mapping: inside.mapping.as_ref(),
            overwrite: options.overwrite,
            itself: false,
            no_archive: "source must be a (compressed) tar archive when copying from stdin",
            root: inside.root.try_clone().context(|| "cannot copy a descriptor")?,
        };
        let warnings = inside
            .write(|| unpack_into(input, into))
            .map_err(|error| inside.explain(error, to.path))?;
        inside.record(Action::ExtractToDir);
        Ok(warnings)
    }
}
