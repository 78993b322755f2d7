//! `exec`: one more process in a running container.

use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, Mode, OFlags};
use serde::{Deserialize, Serialize};

use super::Engine;
use super::background::{Waiting, in_background};
use super::outgoing::Outgoing;
use super::session::{self, Input, Typed};
use super::{bundle, create};
use crate::error::{Context, Error, Kind, Result};
use crate::runtime::cgroup::{Cgroup, Hierarchies};
use crate::runtime::{Bundle, Entry, Stdio};
use crate::spec::id::ContainerId;
use crate::store::container::Container;
use crate::store::events::{Action, Event};
use crate::sys::clone::{Child, exit_now, fork};
use crate::sys::process::{self, Passed, Words};
use crate::sys::signal::Signals;
use crate::sys::{exe, socket, spawn, terminal};

/// A process to run in a container.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ExecSpec {
    /// Program and arguments.
    pub command: Vec<String>,
    /// Variables to set beside those of the container.
    pub env: Vec<(String, String)>,
    /// `USER[:GROUP]`; the container's if there is none.
    pub user: Option<String>,
    /// Working directory; the container's if there is none.
    pub working_dir: Option<PathBuf>,
    /// Whether it gets a terminal.
    pub tty: bool,
    /// Whether standard input is passed on.
    pub interactive: bool,
    /// Whether it goes on in the background.
    pub detach: bool,
    /// Whether it may do everything.
    pub privileged: bool,
    /// Keys that leave it to itself, as bytes.
    pub detach_keys: Vec<u8>,
    /// Numbers of the descriptors that it gets beside the standard ones.
    pub files: Vec<i32>,
    /// What it is called in events, 64 hexadecimal digits, and under which it is written down how it ended; made
    /// up if there is none, and not written down.
    #[serde(default)]
    pub session: Option<String>,
    /// Milliseconds after which a probe of the container's health is killed; one is no event.
    pub probe: Option<u64>,
}

/// How often a container's control group may turn out to be another one.
const MOST_TRIES: u32 = 10;

/// The program's name when it is started anew to run a process in a container.
const NAME: &str = "barge: exec";

/// Tells whether these words ask for that.
pub fn is_asked_for(name: &OsStr) -> bool {
    name == NAME
}

/// Runs a process in a container as [`Engine::exec`] has prepared it; returns its exit code, or 0 at
/// once if it is detached.
pub fn main(arguments: Vec<OsString>) -> Result<i32> {
    let (engine, id) = Engine::from_arguments(&arguments)?;
    let request =
        process::inherited(spawn::FIRST_FILE).context(|| "this is started by `barge exec` only")?;
    let mut text = Vec::new();
    std::fs::File::from(request).read_to_end(&mut text).context(|| "cannot read what to run")?;
    let spec: ExecSpec = serde_json::from_slice(&text).context(|| "cannot read what to run")?;
    let files = (spawn::FIRST_FILE + 1..)
        .zip(&spec.files)
        .map(|(own, number)| Ok(Passed { number: *number, file: process::inherited(own)? }))
        .collect::<std::io::Result<_>>()
        .context(|| "cannot pass descriptors on")?;
    if !spec.detach {
        return engine.exec_here(&id, &spec, files, None);
    }
    in_background(|waiting| engine.exec_here(&id, &spec, files, Some(waiting)))
        .map(|()| 0)
        // Of a command in the background nobody is told but that barge failed, as with Podman.
        .map_err(|error| error.kind_is(Kind::Internal))
}

impl Engine {
    /// Runs a process in a container. Returns only on failure: on success this process becomes the
    /// one that watches over it.
    ///
    /// It starts our executable anew, protected: what enters a container shows its executable there.
    pub fn exec(&self, name: &str, mut spec: ExecSpec, passed: &[Passed]) -> Result<Infallible> {
        spec.files = passed.iter().map(|it| it.number).collect();
        let id = self.store.containers().lookup(name)?;
        let (args, request) = self.exec_request(&id, &spec)?;
        let executable = exe::sealed().context(|| "cannot protect our own executable")?;
        let passed = passed.iter().map(|it| it.file.as_fd());
        let files: Vec<BorrowedFd<'_>> = std::iter::once(request.as_fd()).chain(passed).collect();
        let Err(error) = spawn::become_program(executable.as_fd(), &args, &files);
        Err(error).context(|| "cannot start anew to enter the container")
    }

    /// Starts a probe of a container's health, from its monitor; what it writes goes to `output`.
    pub(super) fn probe(
        &self,
        id: &ContainerId,
        command: Vec<String>,
        limit: Duration,
        output: BorrowedFd<'_>,
    ) -> Result<Child> {
        let limit = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        let spec = ExecSpec { command, probe: Some(limit), ..ExecSpec::default() };
        let (args, request) = self.exec_request(id, &spec)?;
        // A monitor runs from the protected executable.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let executable = rustix::fs::open("/proc/self/exe", flags, Mode::empty())
            .context(|| "cannot open our own executable")?;
        spawn::heard(executable.as_fd(), &args, &[request.as_fd()], output)
            .context(|| "cannot start a probe")
    }

    /// Returns the words that start us anew to run something in a container, and the file that says what.
    fn exec_request(&self, id: &ContainerId, spec: &ExecSpec) -> Result<(Words, std::fs::File)> {
        let request = serde_json::to_vec(spec).context(|| "cannot encode what to run")?;
        let flags = MemfdFlags::CLOEXEC;
        let mut file = std::fs::File::from(
            rustix::fs::memfd_create(c"exec", flags).context(|| "cannot pass on what to run")?,
        );
        file.write_all(&request)
            .and_then(|()| file.rewind())
            .context(|| "cannot pass on what to run")?;
        let args = Words::new(self.arguments(NAME, id)).context(|| "cannot name the process")?;
        Ok((args, file))
    }

    /// This process is moved into the container's process namespace as far as its children are
    /// concerned, so it runs one process and then ends.
    fn exec_here(
        &self,
        id: &ContainerId,
        spec: &ExecSpec,
        passed: Vec<Passed>,
        waiting: Option<&mut Waiting>,
    ) -> Result<i32> {
        let container = self.repaired(id)?;
        let Some(run) = container.state.run() else {
            return Err(Error::new(
                Kind::Conflict,
                format!("can only create exec sessions on running containers: container {id} is {}: container state improper", container.state.word()),
            )
            .hint(format!("start it with `barge start {id}`")));
        };
        if run.paused {
            return Err(Error::new(Kind::Conflict, format!("container {id} is paused"))
                .hint(format!("let it go on with `barge unpause {id}`")));
        }
        let pidfd = process::open(run.pid, run.start_time)
            .context(|| format!("cannot find the process of container {id}"))?
            .ok_or_else(|| Error::new(Kind::Conflict, format!("container {id} has just ended")))?;
        let secrets = self.secret_variables(&container.config)?;
        let oci = exec_process(&container, spec, secrets)?;
        let filter = if spec.privileged {
            None
        } else {
            bundle::filter(&container.config.settings.security)?
        };
        let hierarchies = Hierarchies::detect()?;
        let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
            .context(|| "cannot open /dev/null")?;
        let standard = (std::io::stdin(), std::io::stdout(), std::io::stderr());
        let own = |file: BorrowedFd<'_>, wanted: bool| -> Result<OwnedFd> {
            if wanted { file } else { null.as_fd() }
                .try_clone_to_owned()
                .context(|| "cannot pass on standard descriptors")
        };
        let files = [
            own(standard.0.as_fd(), spec.interactive && !spec.detach)?,
            own(standard.1.as_fd(), !spec.detach)?,
            own(standard.2.as_fd(), !spec.detach)?,
        ];
        let stdio =
            Stdio { stdin: files[0].as_fd(), stdout: files[1].as_fd(), stderr: files[2].as_fd() };
        let user = spec.user.as_deref().unwrap_or(&container.config.user);
        let session = match &spec.session {
            Some(session) => session.clone(),
            None => create::random_hex()?,
        };
        // Before there is a process that they could be for. Nobody sends any to the background.
        let signals = session::catch_signals(!spec.detach)?;
        let run_dir = self.store.containers().run_dir(&container.config.id);
        let mut tries = 0;
        let starting = loop {
            let group = Cgroup::open(&hierarchies, &run.cgroup)?.beside(&hierarchies, run.pid)?;
            let entry = Entry {
                pid: run.pid,
                pidfd: pidfd.as_fd(),
                process: &oci,
                user: Some(user),
                groups: &container.config.settings.groups,
                personality: container.config.settings.personality,
                cgroup: Some(&group),
                bundle: Bundle {
                    id: container.config.id.as_str(),
                    directory: &run_dir,
                    annotations: None,
                },
                filter: filter.as_ref(),
                stdio: (!spec.tty || spec.detach).then_some(stdio),
                files: &passed,
            };
            match entry.start() {
                // Systemd in the container has just moved to a group below.
                Err(error) if error.kind() == Kind::Conflict && tries < MOST_TRIES => tries += 1,
                other => break other?,
            }
        };
        let (child, master) = starting.run(user_size())?;
        // Who waits for the end of one must wait for the process only.
        drop(passed);
        if spec.probe.is_some() {
            return wait_with_signals(&child.pidfd, &signals, spec.probe);
        }
        // Without a note it runs all the same, and is on no list.
        let mut note = self.store.containers().note_exec(container.id(), &session, child.pid).ok();
        let event = |action| Event::of(&container, action).with("execID", &session);
        self.record_event(event(Action::Exec));
        let code = match (waiting, master) {
            (Some(waiting), master) => {
                self.store.containers().sweep_execs(container.id());
                waiting.has_begun();
                stay_with(&child.pidfd, master)?
            }
            (None, Some(master)) => match converse(&child.pidfd, &master, &signals, spec)? {
                Some(code) => code,
                None => {
                    leave(&child.pidfd, &master, || {
                        drop(note.take());
                        // How it ended is told to its parent only, which is gone.
                        self.record_event(event(Action::ExecDied));
                    })?;
                    if let Some(note) = note {
                        note.leave();
                    }
                    return Ok(0);
                }
            },
            (None, None) => wait_with_signals(&child.pidfd, &signals, None)?,
        };
        if spec.session.is_some() {
            self.store.exec_records().finish(&session, code)?;
        }
        drop(note);
        self.record_event(event(Action::ExecDied).with("exitCode", code));
        Ok(code)
    }
}

/// Describes the process: the container's own settings, and what was asked over them.
fn exec_process(
    container: &Container,
    spec: &ExecSpec,
    secrets: Vec<String>,
) -> Result<oci_spec::runtime::Process> {
    let config = &container.config;
    let mut oci = bundle::base_process(config)?;
    let mut env = config.env.clone();
    env.extend(secrets);
    if spec.tty && !env.iter().any(|entry| entry.starts_with("TERM=")) {
        env.push("TERM=xterm".to_owned());
    }
    for (name, value) in &spec.env {
        let start = format!("{name}=");
        env.retain(|entry| !entry.starts_with(&start));
        env.push(format!("{start}{value}"));
    }
    if spec.privileged {
        let everything = crate::spec::security::Security {
            privileged: true,
            ..crate::spec::security::Security::default()
        };
        let all = bundle::capabilities(&everything)?;
        oci.set_capabilities(Some(all)).set_no_new_privileges(Some(false));
    }
    oci.set_args(Some(spec.command.clone()))
        .set_env(Some(env))
        .set_cwd(spec.working_dir.clone().unwrap_or_else(|| config.working_dir.clone()));
    Ok(oci)
}

/// Waits for a process that has our own standard descriptors, and passes signals on to it.
///
/// It is killed after so many milliseconds, if there is a limit. That is done here and not by who
/// started us: a process without its parent would be left for somebody else to reap, and a container
/// does not end before all its processes are.
pub(super) fn wait_with_signals(
    child: &OwnedFd,
    signals: &Signals,
    limit: Option<u64>,
) -> Result<i32> {
    let mut deadline = limit.map(|limit| Instant::now() + Duration::from_millis(limit));
    loop {
        let mut files = [PollFd::new(child, PollFlags::IN), PollFd::new(signals, PollFlags::IN)];
        let left = deadline.map(|deadline| {
            let left = deadline.saturating_duration_since(Instant::now());
            Timespec {
                tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            }
        });
        let _interrupted = poll(&mut files, left.as_ref());
        let ended = !files[0].revents().is_empty();
        if deadline.take_if(|deadline| *deadline <= Instant::now()).is_some() {
            let _gone = process::send_signal(child, libc::SIGKILL);
        }
        while let Some(signal) = signals.next().context(|| "cannot read signals")? {
            if signal != libc::SIGWINCH {
                let _gone = process::send_signal(child, signal);
            }
        }
        if ended {
            return process::wait(child.as_fd()).context(|| "cannot wait for the process");
        }
    }
}

/// Waits for a process in the background; its terminal, if it has one, stays open until then.
fn stay_with(child: &OwnedFd, terminal: Option<OwnedFd>) -> Result<i32> {
    // From here on, it only waits.
    process::forget_free_memory();
    let _as_it_is = process::forget_code();
    let code = process::wait(child.as_fd()).context(|| "cannot wait for the process");
    drop(terminal);
    code
}

/// Copies between the user's terminal and one of the container until the process ends, or the user
/// leaves it: `None`.
pub(super) fn converse(
    child: &OwnedFd,
    master: &OwnedFd,
    signals: &Signals,
    spec: &ExecSpec,
) -> Result<Option<i32>> {
    let (stdin, stdout) = (std::io::stdin(), std::io::stdout());
    let wanted = spec.interactive.then_some(stdin.as_fd());
    let _raw = match wanted.filter(|stdin| rustix::termios::isatty(stdin)) {
        Some(stdin) => Some(terminal::Raw::new(stdin).context(|| "cannot use the terminal")?),
        None => None,
    };
    // What is typed may not be taken while output waits to be read.
    socket::set_nonblocking(master).context(|| "cannot use the container's terminal")?;
    let mut input = Input::new(wanted, &spec.detach_keys);
    let mut outgoing = Outgoing::default();
    let mut buffer = vec![0; 64 << 10];
    loop {
        // A terminal without users takes nothing; reading from it tells of their end.
        let _gone = outgoing.flush(master);
        let full = !outgoing.is_empty();
        let wanted = if full { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
        let mut files = vec![PollFd::new(master, wanted), PollFd::new(signals, PollFlags::IN)];
        if let Some(stdin) = input.stdin.filter(|_| !full) {
            files.push(PollFd::from_borrowed_fd(stdin, PollFlags::IN));
        }
        let _interrupted = poll(&mut files, None);
        let ready: Vec<bool> =
            files.iter().map(|file| !(file.revents() & !PollFlags::OUT).is_empty()).collect();
        drop(files);
        while let Some(signal) = signals.next().context(|| "cannot read signals")? {
            if signal == libc::SIGWINCH {
                if let Some((rows, columns)) = user_size() {
                    let _gone = terminal::set_size(master.as_fd(), rows, columns);
                }
            } else {
                let _gone = process::send_signal(child, signal);
            }
        }
        if ready[0] {
            match rustix::io::read(master, &mut buffer[..]) {
                Ok(length) if length > 0 => {
                    session::write_all(Some(stdout.as_fd()), &buffer[..length])?;
                }
                Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
                // Its last user has closed it.
                Ok(_) | Err(_) => {
                    let code = process::wait(child.as_fd());
                    return code.map(Some).context(|| "cannot wait for the process");
                }
            }
        }
        if ready.get(2) == Some(&true) {
            let (data, typed) = input.read()?;
            outgoing.buffer().extend_from_slice(&data);
            match typed {
                Typed::More => {}
                // What a terminal sends at the end of input.
                Typed::End => outgoing.buffer().push(4),
                Typed::DetachKeys => return Ok(None),
            }
        }
    }
}

/// Leaves a process to itself: somebody must hold its terminal, or it would be hung up. That one does
/// what is to be done when it has ended.
fn leave(child: &OwnedFd, master: &OwnedFd, ended: impl FnOnce()) -> Result<()> {
    fork(|| {
        let drain = || {
            rustix::process::setsid()?;
            let null = rustix::fs::open("/dev/null", OFlags::RDWR, Mode::empty())?;
            for number in 0..=2 {
                process::redirect(null.as_fd(), number)?;
            }
            let mut buffer = [0; 4096];
            while rustix::io::read(master, &mut buffer[..])? > 0 {}
            std::io::Result::Ok(())
        };
        // A terminal ends with an error when its last user has gone.
        drop(drain());
        let mut files = [PollFd::new(child, PollFlags::IN)];
        while poll(&mut files, None) == Err(rustix::io::Errno::INTR) {}
        ended();
        exit_now(0)
    })
    .context(|| "cannot leave the process in the background")
    .map(drop)
}

/// Rows and columns of the user's terminal.
pub(super) fn user_size() -> Option<(u16, u16)> {
    let (stdin, stdout) = (std::io::stdin(), std::io::stdout());
    [stdin.as_fd(), stdout.as_fd()].into_iter().find_map(terminal::size)
}
