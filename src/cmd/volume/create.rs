//! `barge volume create` and `barge volume exists`

use clap::Args;
use serde_json::json;

use crate::cmd::World;
use crate::cmd::answers;
use crate::cmd::exit::Status;
use crate::cmd::tree::Act;
use crate::error::{Error, Kind, Result};
use crate::remote::{Host, Request, escape};
use crate::spec::volume::{LOCAL, VolumeSpec};

/// Create a volume
///
/// Its name is printed.
/// With options, the driver `local` mounts something else in place of a directory of the store, in
/// each container: `-o type=tmpfs -o device=tmpfs -o o=size=64m`, or
/// `-o type=none -o o=bind -o device=/srv`.
/// Containers that run at the same time share one in memory.
/// Files of another machine are `-o type=nfs -o device=:/srv -o o=addr=HOST,nfsvers=4` (or cifs): this machine looks
/// HOST up and mounts them by its own network, when a container starts. So are disks, as by
/// `-o type=ext4 -o device=/dev/sdb1`. Both need root; a container with users of its own (--userns)
/// sees the owners that these stand for, where the file system can show them.
/// Without a type, there are size=, inodes=, uid=, gid= and nocopy, for the directory of the store, as
/// options of their own or in `o`; the first two need a store on a file system with project quotas, as xfs with prjquota.
/// Other drivers are volume plugins as Docker has them: a socket in /run/docker/plugins, or what says
/// where it is, by the name of the driver.
#[derive(Args, Debug)]
pub(crate) struct Create {
    /// Driver: local, or a volume plugin's name
    #[arg(short, long, value_name = "DRIVER", default_value = LOCAL)]
    driver: String,
    /// Do not complain if there is one of this name
    #[arg(long)]
    ignore: bool,
    /// Add a label
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    label: Vec<String>,
    /// Option of the driver; of local type, device or o
    #[arg(short, long, value_name = "KEY=VALUE")]
    opt: Vec<String>,
    /// Group that the volume belongs to
    #[arg(long, value_name = "GID")]
    gid: Option<u32>,
    /// User that the volume belongs to
    #[arg(long, value_name = "UID")]
    uid: Option<u32>,
    /// Name, as older clients of Docker give it
    #[arg(long = "name", value_name = "NAME", hide = true)]
    named: Option<String>,
    /// Name; one is made up if there is none
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

impl Act for Create {
    fn act(self, world: &mut World) -> Result<Status> {
        let mut spec = VolumeSpec::default();
        spec.set_driver(&self.driver);
        for label in &self.label {
            let (key, value) = label.split_once('=').unwrap_or((label, ""));
            spec.labels.insert(key.to_owned(), value.to_owned());
        }
        self.opt.iter().for_each(|option| spec.add_option(option));
        for (key, id) in [("uid", self.uid), ("gid", self.gid)] {
            if let Some(id) = id {
                spec.add_option(&format!("{key}={id}"));
            }
        }
        let engine = world.power()?;
        if self.name.is_some() && self.named.is_some() {
            return Err(Error::new(Kind::Invalid, "a name is given by --name and another without"));
        }
        let name = self.name.or(self.named);
        let name = engine.create_volume(name.as_deref(), spec, self.ignore)?;
        world.out.line(&name)?;
        Ok(Status::SUCCESS)
    }

    fn act_on(self, host: &Host, world: &mut World) -> Result<Status> {
        let name = self.name.or(self.named).unwrap_or_default();
        let mut options = self.opt;
        for (key, id) in [("uid", self.uid), ("gid", self.gid)] {
            options.extend(id.map(|id| format!("{key}={id}")));
        }
        if !name.is_empty() && !self.ignore {
            // To Docker, one that is there is what was asked for.
            let path = format!("/volumes/{}", escape(&name));
            if answers::exists(host, path)? == Status::SUCCESS {
                let text = format!("volume with name {name} already exists: volume already exists");
                return Err(Error::new(Kind::Conflict, text));
            }
        }
        let body = json!({
            "Name": name,
            "Driver": self.driver,
            "DriverOpts": answers::object(&options),
            "Labels": answers::object(&self.label),
        });
        let made = host.document(Request::post("/volumes/create").json(&body))?;
        world.out.line(answers::text(&made, "Name"))?;
        Ok(Status::SUCCESS)
    }
}

/// Tell by the exit status whether a volume exists
#[derive(Args, Debug)]
pub(crate) struct Exists {
    /// Volume, by name
    #[arg(value_name = "VOLUME")]
    volume: String,
}

impl Act for Exists {
    fn act(self, world: &mut World) -> Result<Status> {
        let engine = world.engine()?;
        let found = engine.store().volumes().get(&self.volume)?;
        Ok(if found.is_some() { Status::SUCCESS } else { Status::NO })
    }

    fn act_on(self, host: &Host, _: &mut World) -> Result<Status> {
        answers::exists(host, format!("/volumes/{}", escape(&self.volume)))
    }
}
