//! `barge runtime checkpoint` and `restore`

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{failed, protect};
use crate::cmd::World;
use crate::cmd::exit::Status;
use crate::cmd::tree::Act;
use crate::engine::runtime;
use crate::error::Result;
use crate::runtime::{After, Liberties};

/// What CRIU may do, and where its files are.
#[derive(Args, Debug)]
struct CriuFlags {
    /// Remove pages from earlier dumps once they are not needed
    #[arg(long)]
    auto_dedup: bool,
    /// Leave the content of a namespace out: network
    #[arg(long, value_name = "NAMESPACE")]
    empty_ns: Option<EmptyNamespace>,
    /// Leave sockets out whose other end is outside
    #[arg(long)]
    ext_unix_sk: bool,
    /// Take locks of files along
    #[arg(long)]
    file_locks: bool,
    /// Directory of the files that CRIU writes
    #[arg(long, value_name = "PATH", default_value = "checkpoint")]
    image_path: PathBuf,
    /// What becomes of control groups
    #[arg(long, value_name = "MODE")]
    manage_cgroups_mode: Option<GroupsMode>,
    /// Take processes along that are jobs of a shell
    #[arg(long)]
    shell_job: bool,
    /// Take connections of TCP along
    #[arg(long)]
    tcp_established: bool,
    /// Directory of the log; that of the files if none
    #[arg(long, value_name = "PATH")]
    work_path: Option<PathBuf>,
}

/// A namespace whose content can be left out.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum EmptyNamespace {
    Network,
}

/// What CRIU does with control groups.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum GroupsMode {
    Soft,
    Full,
    Strict,
    Ignore,
}

impl CriuFlags {
    fn liberties(&self) -> Liberties {
        let mode = self.manage_cgroups_mode.and_then(|mode| mode.to_possible_value());
        Liberties {
            tcp_established: self.tcp_established,
            tcp_close: false,
            external_sockets: self.ext_unix_sk,
            shell_job: self.shell_job,
            file_locks: self.file_locks,
            auto_dedup: self.auto_dedup,
            empty_network: self.empty_ns.is_some(),
            cgroups: mode.map(|mode| mode.get_name().to_owned()),
        }
    }
}

/// Write a container's processes to files
///
/// This is done by the program criu, as root. The container ends with it and is deleted, unless it is
/// left running; `restore` makes it again.
#[derive(Args, Debug)]
pub(super) struct Checkpoint {
    #[command(flatten)]
    criu: CriuFlags,
    /// Let it go on
    #[arg(long)]
    leave_running: bool,
    /// Where an earlier dump of memory is, from the files
    #[arg(long, value_name = "PATH")]
    parent_path: Option<PathBuf>,
    /// Write its memory only, ahead of the checkpoint itself
    #[arg(long)]
    pre_dump: bool,
    /// Name of the container
    #[arg(value_name = "CONTAINER")]
    id: String,
}

impl Act for Checkpoint {
    const IS_LOCAL: bool = true;

    fn act(self, world: &mut World) -> Result<Status> {
        let after = match (self.pre_dump, self.leave_running) {
            (true, _) => After::OnlyMemory,
            (false, true) => After::GoOn,
            (false, false) => After::End,
        };
        let asked = runtime::Checkpoint {
            id: self.id,
            liberties: self.criu.liberties(),
            images: self.criu.image_path,
            work: self.criu.work_path,
            parent: self.parent_path,
            after,
        };
        world.containers()?.checkpoint(&asked)?;
        Ok(Status::SUCCESS)
    }
}

/// Make a container of files that checkpoint has written
///
/// It is made of a bundle, as `run` does, and goes on where it was. The exit status is its own.
#[derive(Args, Debug)]
pub(super) struct Restore {
    #[command(flatten)]
    criu: CriuFlags,
    /// Directory with config.json; the working directory if none
    #[arg(short, long, value_name = "PATH", default_value = ".", hide_default_value = true)]
    bundle: PathBuf,
    /// Accepted; there are no terminals to send
    #[arg(long, value_name = "PATH")]
    console_socket: Option<PathBuf>,
    /// Leave it in the background
    #[arg(short, long)]
    detach: bool,
    /// Do not delete it when it has ended
    #[arg(long)]
    keep: bool,
    /// Accepted; the root is always changed by pivot_root
    #[arg(long)]
    no_pivot: bool,
    /// Accepted; orphans are only reaped while it is waited for
    #[arg(long)]
    no_subreaper: bool,
    /// Write the number of the first process to this file
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// Name of the container
    #[arg(value_name = "CONTAINER")]
    id: String,
}

impl Act for Restore {
    const IS_LOCAL: bool = true;

    fn act(self, world: &mut World) -> Result<Status> {
        protect()?;
        let runtime = world.containers()?;
        let asked = runtime::Restoration {
            id: self.id,
            bundle: self.bundle,
            liberties: self.criu.liberties(),
            images: self.criu.image_path,
            work: self.criu.work_path,
            pid_file: self.pid_file,
            detach: self.detach,
        };
        let restored = runtime.restore(&asked, self.keep, &|warning| world.warn(warning));
        restored.map(Status::of_container).map_err(failed("barge restore failed"))
    }
}
