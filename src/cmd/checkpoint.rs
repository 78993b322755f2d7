//! `barge container checkpoint` and `restore`

use clap::Args;

use super::World;
use super::containers::{Selection, for_each};
use super::exit::Status;
use super::output;
use super::tree::Act;
use crate::engine::{CheckpointOptions, RestoreOptions};
use crate::error::Result;

/// Write the processes of containers to files, with which they end
///
/// `barge container restore` lets them go on where they were. Needs root, and the program criu, version 4 or
/// later. Containers with a terminal, with --rm, with --init, with a user namespace or with namespaces of
/// others cannot be checkpointed.
#[derive(Args, Debug)]
pub(super) struct Checkpoint {
    /// All containers that run
    #[arg(short, long)]
    all: bool,
    /// Take locks of files along
    #[arg(long)]
    file_locks: bool,
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
        for_each(world, &names, Status::of_error, |world, name| {
            engine.checkpoint(name, options)?;
            world.out.line(name)
        })
    }
}

/// Let containers go on where they were when a checkpoint was made of them
///
/// They have their file system and their volumes as these are, and the addresses that they had.
#[derive(Args, Debug)]
pub(super) struct Restore {
    /// All containers of which there is a checkpoint
    #[arg(short, long)]
    all: bool,
    /// Take locks of files that came along
    #[arg(long)]
    file_locks: bool,
    /// Let them have other IP addresses
    #[arg(long)]
    ignore_static_ip: bool,
    /// Let them have other hardware addresses
    #[arg(long)]
    ignore_static_mac: bool,
    /// Keep the checkpoint, to restore it again
    #[arg(short, long)]
    keep: bool,
    /// The container that was created last
    #[arg(short, long)]
    latest: bool,
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
        let selection =
            Selection { all: self.all, ..Selection::named(self.containers, self.latest) };
        let names = selection.chosen_where(&engine, Vec::new(), |container| {
            container.state.status.monitored().is_none() && container.state.checkpointed.is_some()
        })?;
        let options = RestoreOptions {
            keep: self.keep,
            tcp_established: self.tcp_established,
            tcp_close: self.tcp_close,
            file_locks: self.file_locks,
            ignore_static_ip: self.ignore_static_ip,
            ignore_static_mac: self.ignore_static_mac,
        };
        for_each(world, &names, Status::of_error, |world, name| {
            engine.restore(name, options)?.iter().for_each(|warning| output::warning(warning));
            world.out.line(name)
        })
    }
}
