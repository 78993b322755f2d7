//! `barge volume export` and `barge volume import`

use std::fs::File;
use std::io::{self, BufReader};
use std::path::PathBuf;

use clap::Args;

use crate::cmd::World;
use crate::cmd::exit::Status;
use crate::cmd::output;
use crate::cmd::tree::Act;
use crate::engine::images::whole_file;
use crate::error::{Context, Error, Kind, Result};

/// Bytes that are read at a time.
const CHUNK: usize = 256 << 10;

/// Write the files of a volume to an archive
///
/// The tar archive goes to standard output, or to a file. Containers may use the volume meanwhile.
#[derive(Args, Debug)]
pub(crate) struct Export {
    /// Write to this file
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Volume, by name
    #[arg(value_name = "VOLUME", required = true)]
    volume: String,
}

impl Act for Export {
    fn act(self, world: &mut World) -> Result<Status> {
        if self.output.is_none() && rustix::termios::isatty(rustix::stdio::stdout()) {
            return Err(Error::new(
                Kind::Invalid,
                "refusing to export to terminal. Use -o flag or redirect",
            ));
        }
        let engine = world.power()?;
        let warnings = match &self.output {
            Some(path) => whole_file(path, |file| engine.export_volume(&self.volume, file))?,
            None => engine.export_volume(&self.volume, &mut world.out.stream())?,
        };
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
