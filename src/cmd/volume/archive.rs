//! `barge volume export` and `barge volume import`

use std::fs::File;
use std::io::{self, BufReader};

use clap::Args;

use crate::cmd::World;
use crate::cmd::exit::Status;
use crate::cmd::export::ArchiveTarget;
use crate::cmd::output;
use crate::cmd::tree::Act;
use crate::error::{Context, Error, Kind, Result};

/// Bytes that are read at a time.
const CHUNK: usize = 256 << 10;

/// Write the files of a volume to an archive
///
/// The tar archive goes to standard output, or to a file. Containers may use the volume meanwhile.
#[derive(Args, Debug)]
pub(crate) struct Export {
    #[command(flatten)]
    target: ArchiveTarget,
    /// Volume, by name
    #[arg(value_name = "VOLUME", required = true)]
    volume: String,
}

impl Act for Export {
    fn act(self, world: &mut World) -> Result<Status> {
        let warnings =
            self.target.write(world, |engine, out| engine.export_volume(&self.volume, out))?;
        warnings.iter().for_each(|warning| output::warning(warning));
        Ok(Status::SUCCESS)
    }
}

/// Put the files of an archive into a volume
///
/// The tar archive may be compressed. A volume that has no files gets all of them or none; they replace
/// those of the same name in one that has some. The volume must be there.
#[derive(Args, Debug)]
pub(crate) struct Import {
    /// Volume, by name
    #[arg(value_name = "VOLUME", required = true)]
    volume: String,
    /// File, or - for standard input
    #[arg(value_name = "FILE", default_value = "-")]
    file: String,
}

impl Act for Import {
    fn act(self, world: &mut World) -> Result<Status> {
        let warnings = if self.file == "-" {
            if rustix::termios::isatty(rustix::stdio::stdin()) {
                return Err(Error::new(
                    Kind::Invalid,
                    "cannot read from terminal, use command-line redirection",
                ));
            }
            let input = BufReader::with_capacity(CHUNK, io::stdin());
            world.power()?.import_volume(&self.volume, input)?
        } else {
            let file = File::open(&self.file).context(|| format!("cannot open {}", self.file))?;
            world.power()?.import_volume(&self.volume, BufReader::with_capacity(CHUNK, file))?
        };
        warnings.iter().for_each(|warning| output::warning(warning));
        Ok(Status::SUCCESS)
    }
}
