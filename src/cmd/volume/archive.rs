//! `barge volume export` and `barge volume import`

use std::fs::File;
use std::io::{self, BufReader, Read};

use clap::Args;
use serde_json::json;

use crate::cmd::World;
use crate::cmd::answers::text;
use crate::cmd::exit::Status;
use crate::cmd::export::ArchiveTarget;
use crate::cmd::output;
use crate::cmd::tree::Act;
use crate::error::{Context, Error, Kind, Result};
use crate::remote::{Host, Request, escape};

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

    fn act_on(self, host: &Host, world: &mut World) -> Result<Status> {
        let holder = Holder::of(host, &self.volume)?;
        self.target.write_answer(world, host, holder.request(Request::get, "/."))?;
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

impl Import {
    fn check(&self) -> Result<()> {
        if self.file == "-" && rustix::termios::isatty(rustix::stdio::stdin()) {
            let text = "cannot read from terminal, use command-line redirection";
            return Err(Error::new(Kind::Invalid, text));
        }
        Ok(())
    }

    fn open(&self) -> Result<File> {
        File::open(&self.file).context(|| format!("cannot open {}", self.file))
    }
}

impl Act for Import {
    fn act(self, world: &mut World) -> Result<Status> {
        self.check()?;
        let warnings = if self.file == "-" {
            let input = BufReader::with_capacity(CHUNK, io::stdin());
            world.power()?.import_volume(&self.volume, input)?
        } else {
            let file = self.open()?;
            world.power()?.import_volume(&self.volume, BufReader::with_capacity(CHUNK, file))?
        };
        warnings.iter().for_each(|warning| output::warning(warning));
        Ok(Status::SUCCESS)
    }

    fn act_on(self, host: &Host, _world: &mut World) -> Result<Status> {
        self.check()?;
        let mut input: Box<dyn Read + Send> = match self.file.as_str() {
            "-" => Box::new(io::stdin()),
            _ => Box::new(self.open()?),
        };
        let holder = Holder::of(host, &self.volume)?;
        let request = holder.request(Request::put, "").written("application/x-tar", move |out| {
            io::copy(&mut input, out).context(|| "cannot pass the archive on").map(drop)
        });
        host.act(request)?;
        Ok(Status::SUCCESS)
    }
}

/// A container of another host that never runs: by it, the files of a volume can be had. It goes with this.
struct Holder<'a> {
    host: &'a Host,
    id: String,
}

/// Where it has the volume.
const PLACE: &str = "/volume";

impl<'a> Holder<'a> {
    fn of(host: &'a Host, volume: &str) -> Result<Self> {
        // It would be made otherwise.
        host.act(Request::get(format!("/volumes/{}", escape(volume))))?;
        let images = host.document(Request::get("/images/json"))?;
        let image = text(&images[0], "Id");
        if image.is_empty() {
            let text = "there is no image on the host, by which a container would show the volume";
            return Err(Error::new(Kind::NotFound, text).hint("pull any image there"));
        }
        let mount = json!({
            "Type": "volume",
            "Source": volume,
            "Target": PLACE,
            "VolumeOptions": { "NoCopy": true },
        });
        let body = json!({
            "Image": image,
            "Cmd": ["true"],
            "HostConfig": { "NetworkMode": "none", "Mounts": [mount] },
        });
        let made = host.document(Request::post("/containers/create").json(&body))?;
        Ok(Self { host, id: text(&made, "Id").to_owned() })
    }

    /// Asks about the files of the volume, or brings some.
    fn request(&self, begin: fn(String) -> Request, below: &str) -> Request {
        let path = format!("/containers/{}/archive", self.id);
        begin(path).with("path", format!("{PLACE}{below}"))
    }
}

impl Drop for Holder<'_> {
    fn drop(&mut self) {
        let request = Request::delete(format!("/containers/{}", self.id)).flag("force", true);
        if let Err(error) = self.host.act(request) {
            output::warning(&format!("container {} is left there: {error}", self.id));
        }
    }
}
