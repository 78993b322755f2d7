//! `barge stop`, `barge restart` and `barge kill`

use clap::Args;

use super::World;
use super::containers::{FilterSelection, IdFiles, Selection, for_each, for_each_on};
use super::exit::Status;
use super::host;
use super::output;
use super::tree::Act;
use crate::engine::{StopOptions, Stopped};
use crate::error::{Kind, Result};
use crate::remote::{Host, Request};
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

    fn act_on(self, host: &Host, world: &mut World) -> Result<Status> {
        let selection = self.selection.into_selection();
        let names = selection.chosen_on_where(host, self.files.read(self.ignore)?, is_up)?;
        for_each_on(host, world, &names, self.ignore, |name| {
            ending(format!("/containers/{name}/stop"), self.signal, self.time)
        })
    }
}

/// Tells whether a container runs, by the word for its state.
fn is_up(state: &str) -> bool {
    matches!(state, "running" | "paused" | "restarting")
}

/// Asks that a container ends; to wait as long as it takes is -1 there.
fn ending(path: String, signal: Option<Signal>, seconds: Option<u32>) -> Request {
    let seconds = seconds.map(|seconds| match seconds {
        u32::MAX => -1,
        seconds => i64::from(seconds),
    });
    Request::post(path).maybe("signal", signal).maybe("t", seconds)
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
            let warnings = engine.restart(name, options)?;
            warnings.iter().for_each(|warning| output::warning(warning));
            world.out.line(name)
        })
    }

    fn act_on(self, host: &Host, world: &mut World) -> Result<Status> {
        let mut selection = self.selection.into_selection();
        if self.running {
            host::refuse(&[("--running with containers", !selection.containers.is_empty())])?;
            selection.all = true;
        }
        let files = self.files.read(false)?;
        let wanted = |state: &str| !self.running || is_up(state);
        let names = selection.chosen_on_where(host, files, wanted)?;
        for_each_on(host, world, &names, false, |name| {
            ending(format!("/containers/{name}/restart"), self.signal, self.time)
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

    fn act_on(self, host: &Host, world: &mut World) -> Result<Status> {
        let all = self.selection.all;
        let wanted = |state: &str| !all || is_up(state);
        let names = self.selection.chosen_on_where(host, self.files.read(false)?, wanted)?;
        for_each_on(host, world, &names, false, |name| {
            Request::post(format!("/containers/{name}/kill")).with("signal", self.signal)
        })
    }
}
