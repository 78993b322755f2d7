//! `barge start` and `barge attach`

mod remote;

use clap::Args;

use super::World;
use super::connect::{ConnectFlags, Wanted};
use super::containers::{Selection, for_each};
use super::exit::Status;
use super::flags::preserve;
use super::output;
use super::tree::Act;
use crate::engine::{Engine, Passing};
use crate::error::{Error, Kind, Result};
use crate::remote::Host;
use crate::store::container::{Container, Status as State};

/// Start containers
///
/// Starting a container that runs already is no error.
#[derive(Args, Debug)]
pub(crate) struct Start {
    /// Connect to its output, and pass signals on
    #[arg(long, short = 'a')]
    attach: bool,
    /// Connect to its input as well
    #[arg(short, long)]
    interactive: bool,
    #[command(flatten)]
    connect: ConnectFlags,
    #[command(flatten)]
    selection: StartSelection,
}

/// As [`Selection`]; `-a` has another meaning here.
#[derive(Args, Debug)]
struct StartSelection {
    /// Start all containers
    #[arg(long)]
    all: bool,
    /// The container that was created last
    #[arg(short, long)]
    latest: bool,
    /// Containers of which this is true
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<crate::spec::filter::Filter>,
    /// Containers, by name or ID
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Act for Start {
    fn act(self, world: &mut World) -> Result<Status> {
        let selection = self.selection.selection()?;
        let engine = world.power()?;
        let names = selection.chosen(&engine, Vec::new())?;
        // Sockets of a service manager are for one container.
        let passing = if names.len() == 1 { preserve::sockets()? } else { Passing::default() };
        if !self.attach && !self.interactive {
            return for_each(world, &names, Status::of_error, |world, name| {
                start(&engine, name, &passing)?;
                world.out.line(name)
            });
        }
        let [name] = names.as_slice() else {
            return Err(Error::new(
                Kind::Invalid,
                "you cannot start and attach multiple containers at once",
            ));
        };
        let container = engine.lookup(name)?;
        let tty = container.config.settings.tty;
        let attach = self.connect.attach(tty);
        let session = match engine.start_with_files(container.id(), Some(&attach), &passing)? {
            Some(session) => session,
            // It runs already: its output is heard from now on.
            None => engine.attach(container.id(), &attach)?,
        };
        // Who waits for the end of one must wait for the container only.
        drop(passing);
        let ended =
            self.connect.follow(world, session, tty, wanted(&container, self.interactive))?;
        Ok(ended.unwrap_or(Status::SUCCESS))
    }

    fn act_on(self, host: &Host, world: &mut World) -> Result<Status> {
        self.start_on(host, world)
    }
}

impl StartSelection {
    fn selection(self) -> Result<Selection> {
        let Self { all, latest, filter, containers } = self;
        if all && !containers.is_empty() {
            return Err(Error::new(
                Kind::Invalid,
                "either start all containers or the container(s) provided in the arguments",
            ));
        }
        Ok(Selection { all, latest, filter, containers })
    }
}

fn not_running() -> Error {
    Error::new(Kind::Conflict, "you can only attach to running containers")
        .hint("start it with `barge start --attach`")
}

fn start(engine: &Engine, name: &str, passing: &Passing) -> Result<()> {
    let container = engine.lookup(name)?;
    if let Some(session) = engine.start_with_files(container.id(), None, passing)? {
        session.warnings().iter().for_each(|warning| output::warning(warning));
    }
    Ok(())
}

fn wanted(container: &Container, stdin: bool) -> Wanted {
    let settings = &container.config.settings;
    let stdin = stdin && settings.interactive && !settings.log.driver.is_passthrough();
    Wanted { stdin, stdout: true, stderr: true }
}

/// Attach to a running container
#[derive(Args, Debug)]
pub(crate) struct Attach {
    /// Do not connect to its input
    #[arg(long)]
    no_stdin: bool,
    #[command(flatten)]
    connect: ConnectFlags,
    /// The container that was created last
    #[arg(short, long)]
    latest: bool,
    /// Container, by name or ID
    #[arg(value_name = "CONTAINER")]
    container: Option<String>,
}

impl Act for Attach {
    fn act(self, world: &mut World) -> Result<Status> {
        let engine = world.power()?;
        let selection = Selection::named(self.container.into_iter().collect(), self.latest);
        let names = selection.chosen(&engine, Vec::new())?;
        let container = engine.lookup(names.first().map(String::as_str).unwrap_or_default())?;
        match &container.state.status {
            State::Running(run) if run.paused => {
                return Err(Error::new(Kind::Conflict, "you cannot attach to a paused container")
                    .hint("resume it first"));
            }
            State::Running(_) => {}
            _ => return Err(not_running()),
        }
        let tty = container.config.settings.tty;
        let session = engine.attach(container.id(), &self.connect.attach(tty))?;
        let ended = self.connect.follow(world, session, tty, wanted(&container, !self.no_stdin))?;
        Ok(ended.unwrap_or(Status::SUCCESS))
    }

    fn act_on(self, host: &Host, world: &mut World) -> Result<Status> {
        self.attach_on(host, world)
    }
}
