//! `barge stop`, `barge restart` and `barge kill`

use clap::Args;

use super::World;
use super::containers::{FilterSelection, IdFiles, Selection, for_each};
use super::exit::Status;
use super::output;
use super::tree::Act;
use crate::engine::{StopOptions, Stopped};
use crate::error::{Kind, Result};
use crate::spec::process::Signal;

/// Stop running containers
#[derive(Args, Debug)]
pub(crate) struct Stop {
    #[command(flatten)]
    files: IdFiles,
    /// Do not complain about containers that are not there
    #[arg(short, long)]
    ignore: bool,
    /// Signal that asks them to end, instead of their own
    #[arg(short, long, value_name = "SIGNAL")]
    signal: Option<Signal>,
    /// Seconds to wait before killing
    #[arg(short, long, visible_alias = "timeout", value_name = "SECONDS", value_parser = seconds)]
    time: Option<u32>,
    #[command(flatten)]
    selection: FilterSelection,
}

/// Parses seconds; -1 waits as long as it takes.
pub(crate) fn seconds(text: &str) -> Result<u32, String> {
    match text.parse::<i64>() {
        Ok(-1) => Ok(u32::MAX),
        Ok(number) => u32::try_from(number).map_err(|_| "it is out of range".to_owned()),
        Err(_) => Err("it is not a number of seconds".to_owned()),
    }
}

impl Act for Stop {
    fn act(self, world: &mut World) -> Result<Status> {
        let engine = world.power()?;
        let options = StopOptions { signal: self.signal, seconds: self.time };
        let selection = self.selection.into_selection();
        let names = selection.chosen(&engine, self.files.read(self.ignore)?)?;
        for_each(world, &names, Status::of_error, |world, name| {
            let stopped = match engine.stop(name, options) {
                Err(error) if self.ignore && error.kind() == Kind::NotFound => return Ok(()),
                other => other?,
            };
            if let Stopped::Killed { seconds } = stopped
                && seconds > 0
            {
                let own = || engine.lookup(name).map(|it| it.config.stop_signal).ok();
                let signal = self.signal.or_else(own).map(|signal| signal.to_string());
                output::warning(&format!(
                    "StopSignal {} failed to stop container {name} in {seconds} seconds, resorting to SIGKILL",
                    signal.unwrap_or_default()
                ));
            }
            world.out.line(name)
        })
    }
}

/// Restart containers
///
/// A container that does not run is started.
#[derive(Args, Debug)]
pub(crate) struct Restart {
    #[command(flatten)]
    files: IdFiles,
    /// Only those that run
    #[arg(long)]
    running: bool,
    /// Signal that asks them to end, instead of their own
    #[arg(short, long, value_name = "SIGNAL")]
    signal: Option<Signal>,
    /// Seconds to wait before killing
    #[arg(short, long, visible_alias = "timeout", value_name = "SECONDS", value_parser = seconds)]
    time: Option<u32>,
    #[command(flatten)]
    selection: FilterSelection,
}

impl Act for Restart {
    fn act(self, world: &mut World) -> Result<Status> {
        let engine = world.power()?;
        let options = StopOptions { signal: self.signal, seconds: self.time };
        let mut selection = self.selection.into_selection();
        if self.running {
            selection.all = selection.containers.is_empty();
        }
        let names = selection.chosen(&engine, self.files.read(false)?)?;
        for_each(world, &names, Status::of_error, |world, name| {
            if self.running && engine.lookup(name)?.state.run().is_none() {
                return Ok(());
            }
            engine.restart(name, options)?;
            world.out.line(name)
        })
    }
}

/// Send a signal to running containers
#[derive(Args, Debug)]
pub(crate) struct Kill {
    #[command(flatten)]
    files: IdFiles,
    /// Signal, by name or number
    #[arg(short, long, value_name = "SIGNAL", default_value = "KILL")]
    signal: Signal,
    #[command(flatten)]
    selection: Selection,
}

impl Act for Kill {
    fn act(self, world: &mut World) -> Result<Status> {
        let engine = world.power()?;
        let all = self.selection.all;
        let names = self.selection.chosen(&engine, self.files.read(false)?)?;
        for_each(world, &names, Status::of_error, |world, name| {
            // Of all containers, those that run are meant.
            if all && engine.lookup(name)?.state.run().is_none() {
                return Ok(());
            }
            engine.kill(name, self.signal)?;
            world.out.line(name)
        })
    }
}
