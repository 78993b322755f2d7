//! `barge run` and `barge create`

mod remote;

use clap::{Args, ValueEnum};

use super::World;
use super::connect::{ConnectFlags, Wanted, check_terminal};
use super::exit::Status;
use super::flags::preserve::PreserveFlags;
use super::flags::{ContainerFlags, together};
use super::output;
use super::tree::Act;
use crate::engine::images;
use crate::engine::{Engine, IdFile, RemoveOptions, check_passthrough, hold_signals};
use crate::error::{Context, Error, Kind, Result};
use crate::remote::Host;
use crate::spec::container::ContainerSpec;
use crate::spec::defaults::Defaults;
use crate::spec::id::ContainerId;

/// Run a command in a new container
///
/// The words after the image replace the image's command.
/// The exit status is that of the container's process; 125 if barge failed, 126 if the command
/// cannot be executed, 127 if it was not found.
#[derive(Args, Debug)]
pub(crate) struct Run {
    #[command(flatten)]
    container: ContainerFlags,
    /// Connect only these: stdin, stdout, stderr
    #[arg(short, long, value_name = "STREAM", value_enum, ignore_case = true)]
    attach: Vec<Stream>,
    #[command(flatten)]
    dry_run: DryRunFlags,
    /// Leave it in the background and print its ID
    #[arg(short, long)]
    detach: bool,
    #[command(flatten)]
    connect: ConnectFlags,
    #[command(flatten)]
    preserve: PreserveFlags,
}

/// Create a container and do not start it
#[derive(Args, Debug)]
pub(crate) struct Create {
    #[command(flatten)]
    container: ContainerFlags,
    /// Does nothing: start connects as it is told
    #[arg(short, long, value_name = "STREAM", value_enum, ignore_case = true)]
    attach: Vec<Stream>,
    #[command(flatten)]
    dry_run: DryRunFlags,
}

/// A standard stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Stream {
    /// Standard input.
    Stdin,
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Whether anything is made at all.
#[derive(Args, Debug)]
struct DryRunFlags {
    /// Print the OCI runtime's config.json and make nothing
    #[arg(long)]
    dry_run: bool,
}

impl Act for Create {
    fn act(self, world: &mut World) -> Result<Status> {
        let engine = world.power()?;
        if self.dry_run.dry_run {
            return show(world, &engine, self.container);
        }
        check_id_file(&self.container)?;
        let spec = request(&engine, self.container, &world.defaults()?)?;
        hold_signals()?;
        let id = engine.create(&spec)?;
        world.out.line(id.as_str())?;
        Ok(Status::SUCCESS)
    }

    fn act_on(self, host: &Host, world: &mut World) -> Result<Status> {
        self.create_on(host, world)
    }
}

impl Act for Run {
    fn act(self, world: &mut World) -> Result<Status> {
        if self.detach && !self.attach.is_empty() {
            return Err(together("attach", "detach"));
        }
        let rmi = self.container.identity.rmi;
        if rmi && self.detach {
            return Err(together("rmi", "detach"));
        }
        let passing = self.preserve.take_for_container()?;
        let engine = world.power()?;
        if self.dry_run.dry_run {
            return show(world, &engine, self.container);
        }
        check_terminal(
            self.container.process.tty && !self.detach,
            self.container.process.interactive,
        );
        let usual = world.defaults()?;
        check_passthrough(self.container.log_driver(&usual))?;
        check_id_file(&self.container)?;
        let spec = request(&engine, self.container, &usual)?;
        hold_signals()?;
        // It makes itself ready while the container is put on record.
        let monitor = engine.ready(spec.settings.log.driver, &passing)?;
        // Who waits for the end of one must wait for the container only.
        drop(passing);
        let id = monitor.id().clone();
        let created = engine.create_as(&spec, &id)?;
        let settings = &spec.settings;
        let connected = !settings.log.driver.is_passthrough();
        let asked = |stream| self.attach.is_empty() || self.attach.contains(&stream);
        let wanted = Wanted {
            stdin: connected && settings.interactive && asked(Stream::Stdin),
            stdout: asked(Stream::Stdout),
            stderr: asked(Stream::Stderr),
        };
        // Output goes nowhere with `--attach stdin`; then the ID is what there is to print.
        let show_id = self.detach || !(wanted.stdout || wanted.stderr);
        let attach = (!self.detach).then(|| self.connect.attach(settings.tty));
        let session = match engine.start_ready(created, monitor, attach.as_ref()) {
            Ok(session) => session,
            Err(error) => return Err(not_started(forget(&engine, &id, &spec, error))),
        };
        if show_id {
            world.out.line(id.as_str())?;
            world.out.flush()?;
        }
        match session {
            Some(session) if !self.detach => {
                let ended = self.connect.follow(world, session, settings.tty, wanted)?;
                if rmi && ended.is_some() {
                    remove_image(&engine, &spec.image);
                }
                Ok(ended.unwrap_or(Status::SUCCESS))
            }
            Some(session) => {
                session.warnings().iter().for_each(|warning| output::warning(warning));
                Ok(Status::SUCCESS)
            }
            None => Ok(Status::SUCCESS),
        }
    }

    fn act_on(self, host: &Host, world: &mut World) -> Result<Status> {
        self.run_on(host, world)
    }
}

/// Removes the image of a container that is gone; one that is in use stays.
fn remove_image(engine: &Engine, name: &str) {
    let removed = images::remove(engine, &[name.to_owned()], images::RemoveOptions::default());
    let failure = match removed {
        Ok(mut removals) => removals.failures.pop(),
        Err(error) => Some(error),
    };
    if let Some(error) = failure {
        output::warning(&format!("failed to remove the image: {error}"));
    }
}

/// Refuses a file for the ID that is there already, before an image is fetched or anything is made.
fn check_id_file(flags: &ContainerFlags) -> Result<()> {
    flags.identity.new_cidfile().map_or(Ok(()), IdFile::check)
}

/// Returns the container that the flags ask for, whose image is here then.
fn request(engine: &Engine, flags: ContainerFlags, usual: &Defaults) -> Result<ContainerSpec> {
    let pull = flags.pull.clone().or_usual(usual)?;
    let mut spec = flags.request(usual)?;
    usual.network.settle(&mut spec.settings.network, engine.host().rootless);
    if spec.settings.rootfs.is_none() {
        pull.ensure(engine, &mut spec.image)?;
    }
    Ok(spec)
}

/// Prints what the runtime would be asked for.
fn show(world: &mut World, engine: &Engine, flags: ContainerFlags) -> Result<Status> {
    let spec = request(engine, flags, &world.defaults()?)?;
    let config = engine.dry_run(&spec)?;
    let text = serde_json::to_string_pretty(&config).context(|| "cannot show the configuration")?;
    world.out.line(&text)?;
    Ok(Status::SUCCESS)
}

/// Counts what stood in the way of a start, as a port in use, as if the command could not be executed.
///
/// Docker and Podman exit with 126 then.
fn not_started(error: Error) -> Error {
    match error.kind() {
        Kind::Conflict | Kind::Denied => error.kind_is(Kind::CommandNotExecutable),
        _ => error,
    }
}

/// Removes a container that could not be started, if it was to be removed anyway.
fn forget(engine: &Engine, id: &ContainerId, spec: &ContainerSpec, error: Error) -> Error {
    if spec.settings.remove {
        // It may be gone already. The failure to report is the first one.
        drop(engine.remove(id.as_str(), RemoveOptions { force: true, ..RemoveOptions::default() }));
    }
    error
}
