//! The monitor: one process for each running container, from its start to its end.
//!
//! It is our own executable, started anew with a socket to who started it. While it makes itself ready, a
//! container may still be on its way on record; then it gets the container's record lock, taken, over that
//! socket ([`Engine::start_ready`]). It holds the liveness mark for its whole life, launches the container, lets go of the record, and then does what somebody must do while the
//! container runs: copy output to the log and to clients, input to the container; and when it ends:
//! start it again, or tear down and record how it ended. One thread, one loop, no timers but the one
//! for starting again.

mod addresses;
mod backlog;
mod client;
mod ending;
mod health;
pub(super) mod launch;
mod log;
mod mounting;
mod notify;
mod orphans;
mod stdio;
mod timers;

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use self::client::{Client, Request};
use self::launch::{Given, Held, Running, Waiting};
use self::log::{Log, Stream};
use self::notify::Notify;
use self::orphans::Orphans;
use self::timers::Timers;
use super::anew::ARGUMENTS;
use super::checkpoint::RestoreOptions;
use super::finish::Exit;
use super::frame::{self, Failed, FrameKind, Started};
use super::volumes::MachineMounts;
use super::{Engine, now};
use crate::error::{Context, Error, Kind, Result};
use crate::net::Attached;
use crate::spec::id::ContainerId;
use crate::spec::limits::RestartPolicy;
use crate::store::container::{Container, ContainerConfig, Locked, Run, Status};
use crate::store::events::{Action, Event};
use crate::store::file;
use crate::store::lock::Lock;
use crate::sys::process::Passed;
use crate::sys::{process, socket, spawn};

/// What the program's name begins with when it is started as a monitor.
pub(super) const NAME: &str = "barge: monitor ";

/// The first byte that it hears: its container is there, and here is the lock.
pub(super) const YOURS: &[u8] = b"y";

/// What it may hear before that: to mount what this machine mounts for the container, and to say when
/// that is done.
pub(super) const MOUNT: &[u8] = b"m";

/// Bytes of one output that are copied before anything else is looked at.
const MOST_AT_ONCE: usize = 256 << 10;

/// A container that runs for so long is one that stays: its monitor makes itself small.
const SETTLING: Duration = Duration::from_secs(1);

/// A run that lasted this long was a success: the next failure waits as short as the first.
const LONG_RUN: Duration = Duration::from_secs(10);

/// How long the first restart waits; each further one twice as long, up to `LONGEST_WAIT`.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Tells whether these words start a monitor.
pub fn is_asked_for(name: &OsStr) -> bool {
    name.as_bytes().starts_with(NAME.as_bytes())
}

/// Runs as a monitor until the container has ended for good. Returns the exit status.
pub fn main(arguments: Vec<OsString>) -> u8 {
    match begin(&arguments) {
        Ok(Some(monitor)) => {
            monitor.run();
            0
        }
        Ok(None) => 0,
        Err(_) => 125,
    }
}

/// Makes ready, and waits for a container; `None` if there will not be one.
fn begin(arguments: &[OsString]) -> Result<Option<Monitor>> {
    let control = inherited(spawn::FIRST_FILE)?;
    let copy = control.try_clone().context(|| "cannot copy a socket")?;
    let tell = |error: &Error| {
        // Nobody is left to tell if it cannot be used.
        if let Ok(mut starter) = Client::new(copy) {
            starter.tell(FrameKind::Failed, &Failed::from(error));
        }
    };
    let begun = Engine::from_arguments(arguments).and_then(|(engine, id)| {
        let orphans = Orphans::adopt()?;
        let Some((lock, mounts)) = wait_for_lock(&engine, &id, &control)? else { return Ok(None) };
        Monitor::new(engine, id, orphans, arguments, (lock, mounts), control).map(Some)
    });
    begun.inspect_err(tell)
}

/// Waits for the container's record lock, and before that mounts what is to be mounted first; `None` if
/// who started us has given up.
fn wait_for_lock(
    engine: &Engine,
    id: &ContainerId,
    control: &OwnedFd,
) -> Result<Option<(Lock, MachineMounts)>> {
    let mut mounts = MachineMounts::default();
    loop {
        let mut word = [0; YOURS.len()];
        let (length, file) = socket::receive(control.as_fd(), &mut word)
            .context(|| "cannot hear from who started the monitor")?;
        match (&word[..length], file) {
            (YOURS, Some(file)) => return Ok(Some((Lock::passed_on(file), mounts))),
            (MOUNT, None) => {
                let Some(made) = mounting::mount_ahead(engine, id, control)? else {
                    return Ok(None);
                };
                mounts = made;
                frame::send(control.as_fd(), FrameKind::Mounted, b"")
                    .context(|| "cannot tell who started the monitor")?;
            }
            _ => return Ok(None),
        }
    }
}

fn inherited(number: i32) -> Result<OwnedFd> {
    process::inherited(number).context(|| "a monitor is started by `barge start` only")
}

/// Takes over the descriptors whose numbers in the container a word names.
fn passed_files(arguments: &[OsString]) -> Result<Vec<Passed>> {
    let Some(numbers) = arguments.get(ARGUMENTS).and_then(|word| word.to_str()) else {
        return Ok(Vec::new());
    };
    (spawn::FIRST_FILE + 1..)
        .zip(numbers.split(',').flat_map(str::parse))
        .map(|(own, number)| Ok(Passed { number, file: inherited(own)? }))
        .collect()
}

/// The variables that speak of them, from the words behind.
fn passed_variables(arguments: &[OsString]) -> Vec<String> {
    let words = arguments.iter().skip(ARGUMENTS + 1);
    words.map(|word| word.to_string_lossy().into_owned()).collect()
}

/// How far a launch has come.
enum Launched {
    /// All is there; nobody has asked for the program to run.
    Waits(Waiting),
    /// The program runs.
    Runs(Running),
}

struct Monitor {
    engine: Engine,
    id: ContainerId,
    config: ContainerConfig,
    log: Log,
    clients: Vec<Client>,
    /// Where output waits for clients that are slow, if the log takes it.
    spill_dir: Option<PathBuf>,
    listener: OwnedFd,
    mark: Option<Lock>,
    /// The record lock of who started us, until the container runs, and the record, which nobody else has
    /// changed since.
    locked: Option<(Lock, Container)>,
    /// What this machine has mounted for the next run, or why it could not.
    mounts: Result<MachineMounts>,
    /// Whether somebody has asked for the program to run.
    wanted: bool,
    stop: bool,
    /// Whether something was changed of a container whose program does not run yet.
    updated: bool,
    timers: Timers,
    orphans: Orphans,
    notify: Notify,
    given: Given,
    /// What the last run leaves mounted.
    root: Option<OwnedFd>,
    buffer: Vec<u8>,
}

impl Monitor {
    fn new(
        engine: Engine,
        id: ContainerId,
        orphans: Orphans,
        arguments: &[OsString],
        (lock, mounts): (Lock, MachineMounts),
        control: OwnedFd,
    ) -> Result<Self> {
        let files = passed_files(arguments)?;
        let env = passed_variables(arguments);
        let containers = engine.store.containers();
        let mark = Lock::exclusive(&containers.monitor_mark(&id))?;
        let container = containers
            .get(&id)?
            .ok_or_else(|| Error::new(Kind::NotFound, format!("no such container {id}")))?;
        let log = Log::open(&engine, &container.config, &container.state.name)?;
        let listener = listen(&containers.run_dir(&id))?;
        let notify = Notify::open(&container.config, &containers.run_dir(&id))?;
        let given = Given { files, env, notify: notify.file().is_some(), ..Given::default() };
        let client = Client::starter(control).context(|| "cannot use the control socket")?;
        let spill_dir = log.keeps().then(|| containers.dir(&id));
        Ok(Self {
            config: container.config.as_ref().clone(),
            engine,
            log,
            clients: vec![client],
            spill_dir,
            listener,
            mark: Some(mark),
            locked: Some((lock, container)),
            mounts: Ok(mounts),
            wanted: false,
            stop: false,
            updated: false,
            timers: Timers::default(),
            orphans,
            notify,
            given,
            root: None,
            buffer: vec![0; 64 << 10],
            id,
        })
    }

    fn run(mut self) {
        // What the first client has said already: its size and whether it wants output.
        self.read_clients(None);
        let mut wait = FIRST_WAIT;
        let mut restarts = 0;
        loop {
            // The next overlay is of the same directories.
            self.root = None;
            let begun = Instant::now();
            let exit = match self.start(restarts) {
                Ok(mut running) => {
                    // Who waits for the end of one must wait for the container only.
                    if self.config.settings.restart == RestartPolicy::No {
                        self.given.files.clear();
                    }
                    self.set_timers();
                    self.serve(&mut running);
                    self.collect(running)
                }
                Err(exit) => exit,
            };
            if begun.elapsed() >= LONG_RUN {
                wait = FIRST_WAIT;
            }
            let wanted = self.timers.restarts() || self.policy_wants(&exit, restarts);
            let again = exit.was_started() && !self.stop && wanted;
            if !again || self.stopped_by_user() {
                self.finish(&exit);
                break;
            }
            restarts += 1;
            self.record_waiting(&exit, restarts);
            self.tell_end(&exit);
            self.wait_to_restart(wait);
            self.mount_again();
            wait = (wait * 2).min(LONGEST_WAIT);
            if self.stop || self.stopped_by_user() {
                self.finish(&exit);
                break;
            }
        }
        // Who waits until we hang up finds nothing of it open: no log, no socket that has a name.
        let (clients, mark) = self.let_go();
        if let Some(mark) = mark {
            mark.release();
        }
        ending::say_good_bye(clients);
    }

    /// Lets go of everything that lies in the store; what is left is those who are yet to hear something,
    /// and the mark.
    fn let_go(self) -> (Vec<Client>, Option<Lock>) {
        (self.clients, self.mark)
    }

    /// Launches the container and tells who waits for it, one way or the other.
    fn start(&mut self, restarts: u32) -> Result<Running, Exit> {
        let result = self.launch(restarts).and_then(|launched| match launched {
            Launched::Runs(running) => Ok(Some(running)),
            Launched::Waits(waiting) => {
                let waiting = self.wait_for_addresses(waiting)?;
                match waiting.and_then(|waiting| self.wait_for_start(waiting)) {
                    Some(waiting) => self.go_on(waiting, restarts),
                    None => Ok(None),
                }
            }
        });
        match result {
            Ok(None) => Err(Exit::abandoned()),
            Ok(Some(mut running)) => {
                if restarts == 0 {
                    running.held.warnings.extend(self.notify.has_started());
                }
                self.tell_all(FrameKind::Started, &started(&running.held));
                Ok(running)
            }
            Err(error) => {
                // A restart that fails is an end like any other.
                if restarts == 0 {
                    self.record_failure(&error);
                }
                Err(Exit::not_started(&error))
            }
        }
    }

    /// Makes the container, and lets its program run if somebody wants that by now.
    fn launch(&mut self, restarts: u32) -> Result<Launched> {
        let mounts = std::mem::replace(&mut self.mounts, Ok(MachineMounts::default()));
        let containers = self.engine.store.containers();
        let mut locked = match self.locked.take() {
            Some((lock, container)) => containers.locked(container, lock),
            None => containers.lock(&self.id)?,
        };
        self.given.name.clone_from(&locked.state().name);
        let ports = locked.state().ports.clone();
        // What cannot be read any more is chosen anew.
        self.given.ports = ports.and_then(|it| serde_json::from_value(it).ok()).unwrap_or_default();
        if let Some(options) = self.given.restore.take() {
            let running =
                launch::restore(&self.engine, &self.config, &self.given, mounts?, options)?;
            return self
                .record_running(running, locked, restarts, Some(options))
                .map(Launched::Runs);
        }
        let mut waiting = launch::prepare(&self.engine, &self.config, &self.given, mounts?)?;
        // Nobody waits with us for those who give addresses.
        let asks = waiting.held.asks_on().is_some();
        if self.wanted && !asks {
            return self.let_run(waiting, locked, restarts).map(Launched::Runs);
        }
        let settled = if asks { Ok(()) } else { waiting.settle() };
        let recorded = settled.and_then(|()| {
            locked.update(|state| {
                state.status = Status::Initialized(waiting.held.run.clone());
                state.error = None;
                state.network = waiting.held.endpoint();
                state.ports = waiting.held.ports(&self.config);
            })?;
            self.write_numbers(&waiting.held.run)
        });
        if let Err(error) = recorded {
            waiting.abandon(&self.engine, &self.id);
            return Err(error);
        }
        waiting.held.is_recorded();
        let event = Event::of_named(&self.config, &locked.state().name, Action::Init);
        locked.release();
        self.engine.record_event(event);
        Ok(Launched::Waits(waiting))
    }

    /// Lets the program run of a container that has waited for that; `None` if somebody has stopped it
    /// meanwhile: the signal to stop has gone by a process that takes none.
    fn go_on(&self, waiting: Waiting, restarts: u32) -> Result<Option<Running>> {
        let locked = self.engine.store.containers().lock(&self.id);
        match locked {
            Ok(locked) if !locked.state().stopped_by_user => {
                self.let_run(waiting, locked, restarts).map(Some)
            }
            other => {
                waiting.abandon(&self.engine, &self.id);
                other.map(|_| None)
            }
        }
    }

    fn let_run(&self, waiting: Waiting, locked: Locked<'_>, restarts: u32) -> Result<Running> {
        let running = waiting.run(&self.engine, &self.id, self.given.size)?;
        self.record_running(running, locked, restarts, None)
    }

    /// Records that the program runs: from its beginning, or `restored` where it was.
    fn record_running(
        &self,
        mut running: Running,
        mut locked: Locked<'_>,
        restarts: u32,
        restored: Option<RestoreOptions>,
    ) -> Result<Running> {
        let run = &running.held.run;
        let keeps = restored.is_some_and(|options| options.keep);
        let forgotten = locked.state().checkpointed.is_some() && !keeps;
        let initialized = matches!(locked.state().status, Status::Initialized(_));
        let recorded = locked.update(|state| {
            state.status = Status::Running(run.clone());
            state.started = now();
            state.error = None;
            state.oom_killed = false;
            state.restarts = restarts;
            state.network = running.held.endpoint();
            state.ports = running.held.ports(&self.config);
            state.restored = restored.map(|_| now());
            if forgotten {
                state.checkpointed = None;
            }
        });
        if let Err(error) = recorded.and_then(|()| self.write_numbers(run)) {
            running.abandon(&self.engine, &self.id);
            return Err(error);
        }
        running.held.is_recorded();
        let name = locked.state().name.clone();
        locked.release();
        if forgotten {
            let dir = self.engine.store.containers().dir(&self.id).join("checkpoint");
            // Nobody finds what is left of it; it goes with the container.
            drop(file::remove_tree(&dir));
        }
        self.record_start(&name, restarts, initialized);
        Ok(running)
    }

    /// Writes the files that the user wants process IDs in.
    fn write_numbers(&self, run: &Run) -> Result<()> {
        let settings = &self.config.settings;
        [(&settings.pidfile, run.pid), (&settings.monitor_pidfile, run.monitor)]
            .into_iter()
            .filter_map(|(path, number)| Some((path.as_deref()?, number)))
            .try_for_each(|(path, number)| {
                file::write_volatile(path, number.to_string().as_bytes())
            })
    }

    /// Writes down for `events` that the container runs.
    fn record_start(&self, name: &str, restarts: u32, initialized: bool) {
        let is_attached = restarts == 0 && self.clients.iter().any(Client::wants_output);
        let actions = [
            (restarts > 0).then_some(Action::Restart),
            (!initialized).then_some(Action::Init),
            Some(Action::Start),
            is_attached.then_some(Action::Attach),
        ];
        let event = |action| Event::of_named(&self.config, name, action);
        let events: Vec<Event> = actions.into_iter().flatten().map(event).collect();
        self.engine.record_events(&events);
    }

    /// Copies until the container's first process has ended.
    fn serve(&mut self, running: &mut Running) {
        self.reap(running);
        let mut settled = Some(Instant::now() + SETTLING);
        loop {
            let logged = self.spill_dir.is_some();
            let held = self.clients.iter().any(|client| client.holds_up(logged));
            let mut files = vec![
                PollFd::new(&running.child.pidfd, PollFlags::IN),
                PollFd::new(&self.listener, PollFlags::IN),
                PollFd::new(&self.orphans, PollFlags::IN),
            ];
            let full = running.streams.is_full();
            for client in &self.clients {
                files.push(PollFd::new(client.socket(), interest(client, !full)));
            }
            let outputs: Vec<Stream> =
                running.streams.outputs().map(|(stream, _)| stream).collect();
            if !held {
                for (_, file) in running.streams.outputs() {
                    files.push(PollFd::from_borrowed_fd(file, PollFlags::IN));
                }
            }
            if let Some(input) = running.streams.waiting_input() {
                files.push(PollFd::from_borrowed_fd(input, PollFlags::OUT));
            }
            if let Some(file) = self.notify.file() {
                files.push(PollFd::new(file, PollFlags::IN));
            }
            for file in self.timers.files() {
                files.push(PollFd::from_borrowed_fd(file, PollFlags::IN));
            }
            let first_of_network = files.len();
            let network = running.held.network();
            for (file, interest) in network.into_iter().flat_map(Attached::files) {
                files.push(PollFd::from_borrowed_fd(file, interest));
            }
            let network_left = network.and_then(Attached::left);
            let settling = settled.map(|at| at.saturating_duration_since(Instant::now()));
            let is_settled = settling.is_some_and(|left| left.is_zero());
            if is_settled {
                settled = None;
            }
            // A terminal that has stopped is not waited for.
            let moving = held.then_some(backlog::PATIENCE);
            let settling = settling.filter(|_| !is_settled);
            let times = [self.timers.left(), self.log.patience(), settling, moving, network_left];
            let patience = times.into_iter().flatten().min();
            if is_settled {
                // From here on, it mostly waits. Last: what is used after that is there again, in
                // pieces as large as the file system has them.
                process::forget_free_memory();
                let _as_it_is = process::forget_code();
            }
            let some = wait(&mut files, patience);
            self.log.write_begun();
            let ready: Vec<bool> = files.iter().map(|file| !file.revents().is_empty()).collect();
            drop(files);
            let asked = ready[first_of_network..].contains(&true);
            let left = running.held.network().and_then(Attached::left);
            if asked || left.is_some_and(|left| left.is_zero()) {
                self.turn_network(&mut running.held);
            }
            let clients = self.clients.len();
            if ready[1] {
                self.accept();
            }
            if ready[2] {
                self.orphans.take_news();
            }
            self.tend(running);
            if ready[2] {
                self.reap(running);
            }
            if !some {
                continue;
            }
            if !held {
                for (index, stream) in outputs.iter().enumerate() {
                    if ready[3 + clients + index] {
                        self.copy(running, *stream);
                    }
                }
            }
            running.streams.flush();
            self.notify.pass_on();
            self.read_clients(Some(running));
            if ready[0] {
                return;
            }
        }
    }

    /// Copies what is there from one output to the log and the clients, but no more than others can
    /// wait for; `false` if nothing is there.
    fn copy(&mut self, running: &mut Running, stream: Stream) -> bool {
        let kind = match stream {
            Stream::Stdout => FrameKind::Stdout,
            Stream::Stderr => FrameKind::Stderr,
        };
        let mut copied = 0;
        while copied < MOST_AT_ONCE {
            let Some(length) = running.streams.read(stream, &mut self.buffer) else { break };
            let data = &self.buffer[..length];
            for client in &mut self.clients {
                client.output(kind, data, self.spill_dir.as_deref());
            }
            self.log.write(stream, data);
            copied += length;
            // Only of a flood is there more by now.
            if length < self.buffer.len() / 2 || self.clients.iter().any(Client::is_slow) {
                break;
            }
        }
        self.log.flush();
        copied > 0
    }

    /// Takes what clients have to say, and forgets those that have hung up.
    fn read_clients(&mut self, mut running: Option<&mut Running>) {
        let mut updated = false;
        for client in &mut self.clients {
            client.flush();
            for request in client.read() {
                match (request, &mut running) {
                    (Request::Resize(rows, columns), running) => {
                        self.given.size = Some((rows, columns));
                        if let Some(running) = running {
                            running.streams.resize(rows, columns);
                        }
                    }
                    (Request::Input(data), Some(running)) => running.streams.input(&data),
                    (Request::EndOfInput, Some(running)) => running.streams.end_input(),
                    (Request::Stop, _) => self.stop = true,
                    (Request::Start, None) => self.wanted = true,
                    (Request::Restore(options), _) => self.given.restore = Some(options),
                    // Somebody else was quicker.
                    (Request::Start, Some(running)) => {
                        client.tell(FrameKind::Started, &started(&running.held));
                    }
                    (Request::Update, _) => updated = true,
                    (Request::Probe, _) => self.timers.probe_now(),
                    // Between two runs nobody takes input.
                    (Request::Input(_) | Request::EndOfInput, None) => {}
                }
            }
        }
        let stopping = self.clients.iter().any(Client::is_stopping);
        self.clients.retain(|client| !client.is_gone());
        if stopping && running.is_some() && !self.clients.iter().any(Client::is_stopping) {
            self.record_unstopped();
        }
        if updated {
            self.look_again(running);
        }
    }

    /// Does what the network needs, and records what has become of it.
    fn turn_network(&mut self, held: &mut Held) {
        let Self { engine, config, buffer, .. } = self;
        let Some(endpoint) = held.turn_network(engine, config, buffer) else { return };
        let Ok(endpoint) = serde_json::to_value(endpoint) else { return };
        let locked = self.engine.store.containers().lock(&self.id);
        // On a full disk others see the addresses that it had.
        drop(locked.and_then(|mut locked| locked.update(|state| state.network = Some(endpoint))));
    }

    /// Records that nobody waits for the container's end any more: who did was killed.
    fn record_unstopped(&self) {
        let locked = self.engine.store.containers().lock(&self.id);
        // On a full disk it stays as it is until the container ends.
        drop(locked.and_then(|mut locked| locked.update(|state| state.stopping = false)));
    }

    /// Takes over what `update` has changed.
    fn look_again(&mut self, running: Option<&mut Running>) {
        // One that is gone or cannot be read keeps what it has: its end decides.
        let before = self.config.health.clone();
        if let Ok(Some(container)) = self.engine.store.containers().get(&self.id) {
            self.config = *container.config;
        }
        match running {
            Some(running) => {
                running.held.look_again(&self.engine, &self.config);
                self.change_health(before.as_ref());
            }
            None => self.updated = true,
        }
    }

    /// Lets in all who wait for that.
    fn accept(&mut self) {
        // One that is gone before it was let in is no loss.
        while let Ok(socket) = rustix::net::accept_with(&self.listener, SocketFlags::CLOEXEC) {
            self.clients.extend(Client::new(socket));
        }
    }
}

fn started(held: &Held) -> Started {
    Started { pid: held.run.pid, start_time: held.run.start_time, warnings: held.warnings.clone() }
}

fn interest(client: &Client, read: bool) -> PollFlags {
    let mut flags = if read { PollFlags::IN } else { PollFlags::empty() };
    if client.has_pending() {
        flags |= PollFlags::OUT;
    }
    flags
}

/// Waits for one of the files; `false` if none is ready.
fn wait(files: &mut [PollFd<'_>], time: Option<Duration>) -> bool {
    let time = time.map(|time| Timespec {
        tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: time.subsec_nanos().into(),
    });
    // The only failure of poll with good arguments is an interruption.
    matches!(poll(files, time.as_ref()), Ok(ready) if ready > 0)
}

/// Makes the socket for those that attach later.
fn listen(dir: &std::path::Path) -> Result<OwnedFd> {
    let context = || format!("cannot listen in {}", dir.display());
    file::remove_file(&dir.join("attach"))?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
        .context(context)?;
    let (address, _dir) = socket::address(&dir.join("attach")).context(context)?;
    rustix::net::bind(&socket, &address).context(context)?;
    rustix::net::listen(&socket, 64).context(context)?;
    Ok(socket)
}
