//! `start`: hands a container over to a monitor, and waits until it runs.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::checkpoint::RestoreOptions;
use super::create::random_id;
use super::frame::{self, Decoder, Filled, FrameKind, Hello, Started};
use super::session::{self, Attach, Session};
use super::{Engine, monitor};
use crate::error::{Context, Error, Kind, Result};
use crate::spec::id::ContainerId;
use crate::spec::log::LogDriver;
use crate::store::container::{ContainerConfig, Locked, Status};
use crate::store::file;
use crate::sys::process::{Passed, Words};
use crate::sys::{exe, signal, socket, spawn};

/// Descriptors that a container gets beside the standard ones.
#[derive(Debug, Default)]
pub struct Passing {
    /// The descriptors.
    pub files: Vec<Passed>,
    /// Variables that speak of them, as `NAME=VALUE`; none without descriptors.
    pub env: Vec<String>,
}

/// A monitor that has no container yet. It ends when this is dropped.
#[derive(Debug)]
pub struct Ready {
    id: ContainerId,
    socket: OwnedFd,
}

impl Ready {
    /// Returns the ID that its container is to be made with.
    pub fn id(&self) -> &ContainerId {
        &self.id
    }

    /// Returns the connection to it.
    pub(super) fn socket(&self) -> &OwnedFd {
        &self.socket
    }
}

/// Signals that end a command.
pub(super) const ENDING: [i32; 4] = [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM];

/// Holds signals back while a container is made and started, so that none is left half made.
///
/// One that comes before the start makes it fail; later ones are for the container.
pub fn hold_signals() -> Result<()> {
    signal::hold(&ENDING).context(|| "cannot hold signals back")
}

/// Holds them back no longer; one that has come meanwhile arrives now.
pub fn release_signals() -> Result<()> {
    signal::release(&ENDING).context(|| "cannot let signals through")
}

/// Tells whether one of the signals has come that were held back.
pub fn is_interrupted() -> bool {
    signal::is_held(&ENDING)
}

impl Engine {
    /// Starts a container; `None` if it runs already.
    ///
    /// With `attach`, the session has all of its output from the first byte on.
    pub fn start(&self, id: &ContainerId, attach: Option<&Attach>) -> Result<Option<Session>> {
        self.start_with_files(id, attach, &Passing::default())
    }

    /// As [`Engine::start`]; the container gets descriptors beside the standard ones.
    pub fn start_with_files(
        &self,
        id: &ContainerId,
        attach: Option<&Attach>,
        passing: &Passing,
    ) -> Result<Option<Session>> {
        let container = self.repaired(id)?;
        let config = &container.config;
        let driver = config.settings.log.driver;
        check_passthrough(driver)?;
        self.start_donors(config)?;
        let runs = container.state.status.monitored().is_some();
        let ahead = if runs { None } else { self.ready_ahead(config, passing)? };
        let locked = self.store.containers().lock(id)?;
        match &locked.state().status {
            Status::Created | Status::Exited => {
                if runs && self.has_machine_volumes(config)? {
                    // It has ended since.
                    drop(locked);
                    return self.start_with_files(id, attach, passing);
                }
                start(attach, |greeting| {
                    let ready = match ahead {
                        Some(ready) => ready,
                        None => self.ready_for(id.clone(), driver, passing)?,
                    };
                    self.hand_over(ready, locked, greeting)
                })
                .map(Some)
            }
            // Under the lock: its monitor cannot end without telling.
            Status::Initialized(_) => start(attach, |greeting| {
                let socket = self.dial(id, greeting);
                drop(locked);
                socket
            })
            .map(Some),
            Status::Running(_) | Status::Restarting(_) => Ok(None),
        }
    }

    /// Starts a container that was just made with the ID of a monitor that is ready; `None` if somebody
    /// else was quicker.
    pub fn start_ready(
        &self,
        created: Locked<'_>,
        ready: Ready,
        attach: Option<&Attach>,
    ) -> Result<Option<Session>> {
        let mut locked = created;
        let mounts = self.has_machine_volumes(locked.config())?;
        if mounts || !locked.config().donors().is_empty() {
            // Who starts or removes others, or this one, must not have to wait for us.
            let config = locked.config().clone();
            drop(locked);
            self.start_donors(&config)?;
            if mounts {
                self.mount_ahead(&ready)?;
            }
            locked = self.store.containers().lock(&config.id)?;
            if locked.state().status != Status::Created {
                return Ok(None);
            }
        }
        start(attach, |greeting| self.hand_over(ready, locked, greeting)).map(Some)
    }

    /// Starts a monitor for a container that is yet to be made, with the ID that it will have, so that
    /// both go on at once. It ends by itself if it is dropped.
    pub fn ready(&self, driver: LogDriver, passing: &Passing) -> Result<Ready> {
        self.ready_for(random_id()?, driver, passing)
    }

    /// Makes all of a container but its program, which then waits for [`Engine::start`]. Returns what did
    /// not go as asked.
    pub fn init(&self, id: &ContainerId) -> Result<Vec<String>> {
        let container = self.repaired(id)?;
        let config = &container.config;
        let driver = config.settings.log.driver;
        check_passthrough(driver)?;
        self.start_donors(config)?;
        let ahead = self.ready_ahead(config, &Passing::default())?;
        let locked = self.store.containers().lock(id)?;
        if locked.state().status.monitored().is_some() {
            return Err(Error::new(
                Kind::Conflict,
                format!(
                    "container {id} has already been created in runtime: container state improper"
                ),
            )
            .hint(format!("it is {}", locked.state().word())));
        }
        let ready = match ahead {
            Some(ready) => ready,
            None => self.ready_for(id.clone(), driver, &Passing::default())?,
        };
        let socket = self.hand_over(ready, locked, &greeting(None))?;
        let started = hear(&socket, &mut Decoder::default(), FrameKind::Initialized)?;
        Ok(started.warnings)
    }

    /// Has a monitor make the processes of a container of its checkpoint. Returns what did not go as asked.
    pub(super) fn start_restored(
        &self,
        id: &ContainerId,
        options: RestoreOptions,
    ) -> Result<Vec<String>> {
        let container = self.repaired(id)?;
        let driver = container.config.settings.log.driver;
        let locked = self.store.containers().lock(id)?;
        if locked.state().status.monitored().is_some() {
            let text = format!("it is {} already", locked.state().word());
            return Err(Error::new(Kind::Conflict, text));
        }
        let mut greeting = greeting(None);
        frame::append_json(&mut greeting, FrameKind::Restore, &options);
        frame::append(&mut greeting, FrameKind::Start, b"");
        let ready = self.ready_for(id.clone(), driver, &Passing::default())?;
        let socket = self.hand_over(ready, locked, &greeting)?;
        let started = hear(&socket, &mut Decoder::default(), FrameKind::Started)?;
        Ok(started.warnings)
    }

    /// As [`Engine::ready`], for a container for which this machine has to mount something, which is done
    /// when this returns; `None` if there is nothing to mount.
    fn ready_ahead(&self, config: &ContainerConfig, passing: &Passing) -> Result<Option<Ready>> {
        if !self.has_machine_volumes(config)? {
            return Ok(None);
        }
        let ready = self.ready_for(config.id.clone(), config.settings.log.driver, passing)?;
        self.mount_ahead(&ready)?;
        Ok(Some(ready))
    }

    fn ready_for(&self, id: ContainerId, driver: LogDriver, passing: &Passing) -> Result<Ready> {
        let standard = standard_streams(driver)?;
        let (socket, control) = socket::pair(rustix::net::SocketType::STREAM)
            .context(|| "cannot make a socket pair")?;
        let executable = exe::sealed().context(|| "cannot protect our own executable")?;
        let mut words = self.arguments(&format!("{}{}", monitor::NAME, id.short()), &id);
        let passed: Vec<&Passed> = standard.iter().chain(&passing.files).collect();
        if !passed.is_empty() {
            let numbers: Vec<String> = passed.iter().map(|it| it.number.to_string()).collect();
            words.push(numbers.join(",").into_bytes());
            words.extend(passing.env.iter().map(|entry| entry.clone().into_bytes()));
        }
        let mut files = vec![control.as_fd()];
        files.extend(passed.iter().map(|it| it.file.as_fd()));
        let words = Words::new(words).context(|| "cannot name the monitor")?;
        spawn::detached(executable.as_fd(), &words, &files).context(|| "cannot start a monitor")?;
        Ok(Ready { id, socket })
    }

    /// Lets a monitor have its container, and the lock: it lets go when the container runs, or ends.
    /// Returns the connection to it, on which it is greeted.
    fn hand_over(&self, ready: Ready, mut locked: Locked<'_>, greeting: &[u8]) -> Result<OwnedFd> {
        let Ready { id, socket } = ready;
        reset(&mut locked)?;
        file::create_dirs(&self.store.containers().run_dir(&id), 0o700)?;
        let words = [monitor::YOURS, greeting].concat();
        socket::send(socket.as_fd(), &words, Some(locked.lock().as_fd()))
            .context(|| "cannot hand the container over to its monitor")?;
        Ok(socket)
    }
}

/// Has a monitor start its container, greets it for that with `greet`, and waits until it has.
fn start(attach: Option<&Attach>, greet: impl FnOnce(&[u8]) -> Result<OwnedFd>) -> Result<Session> {
    if let Some(signal) = signal::take_held(&ENDING) {
        return Err(interrupted(signal));
    }
    // Those that come while it starts are for the container, too.
    let signals = attach.map(|attach| session::catch_signals(attach.proxy_signals)).transpose()?;
    let mut greeting = greeting(attach);
    frame::append(&mut greeting, FrameKind::Start, b"");
    let socket = greet(&greeting)?;
    let mut decoder = Decoder::default();
    let started = hear(&socket, &mut decoder, FrameKind::Started)?;
    let tty = attach.is_some_and(|attach| attach.tty);
    Session::new(socket, decoder, started, tty, signals)
}

pub(super) fn interrupted(signal: i32) -> Error {
    Error::new(
        Kind::Unavailable,
        format!("interrupted by signal {signal} before the container was started"),
    )
}

/// Forgets what was asked of the last run.
fn reset(locked: &mut Locked<'_>) -> Result<()> {
    locked.update(|state| {
        state.stopped_by_user = false;
        state.stopping = false;
        state.restarts = 0;
    })
}

/// What a monitor is told first.
fn greeting(attach: Option<&Attach>) -> Vec<u8> {
    let hello =
        Hello { output: attach.is_some(), terminal: attach.is_some_and(|it| it.to_terminal) };
    let mut greeting = Vec::new();
    frame::append_json(&mut greeting, FrameKind::Hello, &hello);
    if let Some((rows, columns)) = attach.and_then(|attach| attach.size) {
        frame::append_json(&mut greeting, FrameKind::Resize, &(rows, columns));
    }
    greeting
}

/// Returns our own standard streams, if the container is to have them.
fn standard_streams(driver: LogDriver) -> Result<Vec<Passed>> {
    let streams = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
    check_passthrough(driver)?;
    if !driver.is_passthrough() {
        return Ok(Vec::new());
    }
    let passed = |(number, stream): (i32, BorrowedFd<'_>)| {
        let file = stream.try_clone_to_owned().context(|| "cannot pass on a standard stream")?;
        Ok(Passed { number, file })
    };
    (0..).zip(streams).map(passed).collect()
}

/// Refuses a log driver that would give our terminal away, unless that is what was asked for.
pub fn check_passthrough(driver: LogDriver) -> Result<()> {
    let streams = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
    if driver == LogDriver::Passthrough && streams.iter().any(rustix::termios::isatty) {
        return Err(Error::new(
            Kind::Invalid,
            "the '--log-driver passthrough' option cannot be used on a TTY",
        )
        .hint("give it files or pipes, or use --log-driver passthrough-tty"));
    }
    Ok(())
}

/// Waits for the monitor's word that it has come so far.
fn hear(control: &OwnedFd, decoder: &mut Decoder, word: FrameKind) -> Result<Started> {
    loop {
        while let Some((kind, data)) = decoder.next()? {
            match kind {
                FrameKind::Failed => {
                    return Err(Error::from(frame::json::<frame::Failed>(data)?));
                }
                FrameKind::Exited => {
                    return Err(Error::new(Kind::Conflict, "it was stopped before it was started"));
                }
                kind if kind == word => return frame::json(data),
                _ => {}
            }
        }
        if decoder.fill(control).context(|| "cannot hear from the monitor")? == Filled::End {
            return Err(Error::new(
                Kind::Internal,
                "the monitor ended before the container was started",
            ));
        }
    }
}
