//! `barge volume mount` and `barge volume unmount`

use clap::Args;

use crate::cmd::World;
use crate::cmd::containers::for_each;
use crate::cmd::exit::Status;
use crate::cmd::tree::Act;
use crate::error::Result;

/// Print where the files of volumes are
///
/// They are there as long as the volume is: nothing has to be mounted. Without root, files of other
/// users of your containers can be seen by `barge unshare`.
#[derive(Args, Debug)]
pub(crate) struct Mount {
    /// Volumes, by name
    #[arg(value_name = "VOLUME", required = true)]
    volumes: Vec<String>,
}

impl Act for Mount {
    const ONLY_HERE: &'static str = "files of another machine cannot be mounted on this one";

    fn act(self, world: &mut World) -> Result<Status> {
        let engine = world.engine()?;
        for_each(world, &self.volumes, Status::of_error, |world, name| {
            let path = engine.mount_volume(name)?;
            world.out.line(&path.display().to_string())
        })
    }
}

/// Undo volume mount
///
/// As nothing had to be mounted, nothing changes.
#[derive(Args, Debug)]
pub(crate) struct Unmount {
    /// Volumes, by name
    #[arg(value_name = "VOLUME", required = true)]
    volumes: Vec<String>,
}

impl Act for Unmount {
    const ONLY_HERE: &'static str = "files of another machine cannot be mounted on this one";

    fn act(self, world: &mut World) -> Result<Status> {
        let engine = world.engine()?;
        for_each(world, &self.volumes, Status::of_error, |world, name| {
            let volume = engine.store().volumes().lookup(name)?;
            world.out.line(&volume.name)
        })
    }
}
