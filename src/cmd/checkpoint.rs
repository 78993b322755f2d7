//! `barge container checkpoint` and `restore`

use std::path::PathBuf;

use clap::Args;

use super::World;
use super::containers::{Selection, for_each};
use super::exit::Status;
use super::output;
use super::tree::Act;
use crate::engine::{CheckpointOptions, ExportOptions, ImportOptions, RestoreOptions};
use crate::error::{Error, Kind, Result};
use crate::spec::compression::Compression;
use crate::spec::name;
use crate::spec::network::PortMapping;

/// Write the processes of containers to files, with which they end
///
/// `barge container restore` lets them go on where they were. Needs root, and the program criu, version 4 or
/// later. Containers with a terminal, with --rm, with --init, with a user namespace or with namespaces of
/// others cannot be checkpointed.
#[derive(Args, Debug)]
pub(super) struct Checkpoint {
    /// All containers that run
    #[arg(short, long, conflicts_with = "export")]
    all: bool,
    /// Compression of the archive: none, gzip or zstd
    #[arg(short, long, value_name = "KIND", default_value = "zstd", value_parser = compression)]
    compress: Compression,
    /// Write all that belongs to it to this archive, too
    #[arg(short, long, value_name = "FILE")]
    export: Option<PathBuf>,
    /// Take locks of files along
    #[arg(long)]
    file_locks: bool,
    /// Leave what is changed of the image out of the archive
    #[arg(long, requires = "export")]
    ignore_rootfs: bool,
    /// Leave the files of volumes out of the archive
    #[arg(long, requires = "export")]
    ignore_volumes: bool,
    /// Keep what criu writes about its work; it is always kept
    #[arg(short, long)]
    keep: bool,
    /// The container that was created last
    #[arg(short, long)]
    latest: bool,
    /// Let them go on
    #[arg(short = 'R', long)]
    leave_running: bool,
    /// Take connections of TCP along
    #[arg(long)]
    tcp_established: bool,
    /// Containers, by name or ID
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Act for Checkpoint {
    fn act(self, world: &mut World) -> Result<Status> {
        let engine = world.power()?;
        let selection =
            Selection { all: self.all, ..Selection::named(self.containers, self.latest) };
        let names = selection.chosen_where(&engine, Vec::new(), |container| {
            container.state.run().is_some_and(|run| !run.paused)
        })?;
        let options = CheckpointOptions {
            leave_running: self.leave_running,
            tcp_established: self.tcp_established,
            file_locks: self.file_locks,
        };
        let export = self.export.as_deref().map(|path| {
            let (ignore_rootfs, ignore_volumes) = (self.ignore_rootfs, self.ignore_volumes);
            (path, ExportOptions { compression: self.compress, ignore_rootfs, ignore_volumes })
        });
        if export.is_some() && names.len() != 1 {
            return Err(Error::new(Kind::Invalid, "--export is for a single container"));
        }
        for_each(world, &names, Status::of_error, |world, name| {
            engine.checkpoint(name, options, export)?;
            world.out.line(name)
        })
    }
}

fn compression(text: &str) -> Result<Compression> {
    match text {
        "none" => Ok(Compression::None),
        "gzip" => Ok(Compression::Gzip),
        "zstd" => Ok(Compression::Zstd),
        _ => Err(Error::new(Kind::Invalid, "archives are compressed by none, gzip or zstd")),
    }
}

/// Let containers go on where they were when a checkpoint was made of them
///
/// They have their file system and their volumes as these are, and the addresses that they had.
///
/// With --import, the container is made of an archive of `container checkpoint --export` first; its image must
/// be here. The archive says what is run, and with what power: import only what you trust.
#[derive(Args, Debug)]
pub(super) struct Restore {
    /// All containers of which there is a checkpoint
    #[arg(short, long, conflicts_with = "import")]
    all: bool,
    /// Take locks of files that came along
    #[arg(long)]
    file_locks: bool,
    /// Leave what was changed of the image in the archive
    #[arg(long, requires = "import")]
    ignore_rootfs: bool,
    /// Let them have other IP addresses
    #[arg(long)]
    ignore_static_ip: bool,
    /// Let them have other hardware addresses
    #[arg(long)]
    ignore_static_mac: bool,
    /// Leave the files of volumes in the archive
    #[arg(long, requires = "import")]
    ignore_volumes: bool,
    /// Make the container of this archive
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["latest", "containers"])]
    import: Option<PathBuf>,
    /// Keep the checkpoint, to restore it again
    #[arg(short, long)]
    keep: bool,
    /// The container that was created last
    #[arg(short, long)]
    latest: bool,
    /// Name of the container that is made, with an ID of its own
    #[arg(short, long, value_name = "NAME", requires = "import", value_parser = name::parse)]
    name: Option<String>,
    /// Publish these ports instead of those that it had
    #[arg(short, long, value_name = "PORTS", requires = "import")]
    publish: Vec<PortMapping>,
    /// Drop connections of TCP
    #[arg(long, conflicts_with = "tcp_established")]
    tcp_close: bool,
    /// Go on with connections of TCP that came along
    #[arg(long)]
    tcp_established: bool,
    /// Containers, by name or ID
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Act for Restore {
    fn act(self, world: &mut World) -> Result<Status> {
        let engine = world.power()?;
        let options = RestoreOptions {
            keep: self.keep,
            tcp_established: self.tcp_established,
            tcp_close: self.tcp_close,
            file_locks: self.file_locks,
            ignore_static_ip: self.ignore_static_ip,
            ignore_static_mac: self.ignore_static_mac,
        };
        if let Some(path) = &self.import {
            let import = ImportOptions {
                name: self.name,
                ports: self.publish,
                ignore_rootfs: self.ignore_rootfs,
                ignore_volumes: self.ignore_volumes,
            };
            let (id, warnings) = engine.import_checkpoint(path, &import, options)?;
            warnings.iter().for_each(|warning| output::warning(warning));
            world.out.line(&id)?;
            return Ok(Status::SUCCESS);
        }
        let selection =
            Selection { all: self.all, ..Selection::named(self.containers, self.latest) };
        let names = selection.chosen_where(&engine, Vec::new(), |container| {
            container.state.status.monitored().is_none() && container.state.checkpointed.is_some()
        })?;
        for_each(world, &names, Status::of_error, |world, name| {
            engine.restore(name, options)?.iter().for_each(|warning| output::warning(warning));
            world.out.line(name)
        })
    }
}
