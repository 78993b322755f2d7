//! A command that runs in files of its own and leaves no record: a step of a build.
//!
//! It gets the same box as a container, from the same launcher, and no monitor. As builds have threads,
//! our own executable is started anew, once: it has a launcher of its own for each step (`starter`). A
//! launcher talks to the build over a socket: a [`Request`] comes in, a [`Report`] goes out as soon as the
//! command has ended; clearing away goes on beside the build. When the other end closes, the command is
//! ended, so it outlives nobody, whatever happens to the build.
//!
//! Before the request, one byte comes in with the pipe for the command's output, and one with its input if
//! it has one. If the command has a terminal, the other side of that goes out with a byte before the report.
//! The same goes for the mount namespace in which its file systems in memory are: who has it can show them to
//! another step, that gets it in place of an input.

mod child;
mod starter;
mod terminal;
mod users;

use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use starter::Starter;
pub use starter::{is_asked_for, main};
pub use users::StepUsers;

use super::frame::Failed;
use super::{Engine, create};
use crate::error::{Context, Error, Kind, Result};
use crate::net;
use crate::runtime::cgroup::{Cgroup, Hierarchies};
use crate::spec::container::ContainerSpec;
use crate::spec::image::RunConfig;
use crate::spec::log::LogDriver;
use crate::spec::userns::IdMapping;
use crate::store::container::ContainerConfig;
use crate::store::file;
use crate::store::lock::Lock;
use crate::sys::{exe, socket};

/// The byte that comes first, with the pipe for the command's output.
const OUTPUT: &[u8; 1] = b"o";
/// The byte that comes before a request, with the command's input or without.
const INPUT: &[u8; 1] = b"i";
/// The same, with the mount namespace of an earlier command.
const MOUNTS: &[u8; 1] = b"m";

/// The file in the run directory of a step that names its control group.
const MARK: &str = "step";

/// A command and what it sees.
#[derive(Debug)]
pub struct Step {
    /// What is asked for; its image is not looked at.
    pub spec: ContainerSpec,
    /// All its variables, as `NAME=VALUE`.
    pub env: Vec<String>,
    /// The layers that it sees, the uppermost first.
    pub layers: Vec<PathBuf>,
    /// An empty directory for what it changes.
    pub upper: PathBuf,
    /// A directory beside that, for the kernel and for what is discarded.
    pub scratch: PathBuf,
    /// Trees of layers that it sees elsewhere.
    pub trees: Vec<StepTree>,
    /// Files that it sees, and that are nowhere but in memory.
    pub files: Vec<StepFile>,
    /// File systems in memory that another step may see once this one has ended.
    pub memory: Vec<StepMemory>,
    /// Where these are, if they are there by now. A step that gets this has no input.
    pub mounts: Option<OwnedFd>,
    /// A directory with all its files, where there is no overlay to make of the layers.
    pub whole: Option<PathBuf>,
    /// The IDs that it has, if they are not ours.
    pub mapping: Option<IdMapping>,
    /// What it reads; nothing if there is none.
    pub input: Option<OwnedFd>,
}

/// A file that is made for a step, and that it cannot change.
#[derive(Clone, Serialize, Deserialize)]
pub struct StepFile {
    /// Where it is seen.
    pub target: PathBuf,
    /// What is in it.
    pub data: Vec<u8>,
    /// Permission bits.
    pub mode: u32,
    /// User and group, as they are to us.
    pub owner: (u32, u32),
}

impl std::fmt::Debug for StepFile {
    /// It may be a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StepFile").field("target", &self.target).finish_non_exhaustive()
    }
}

/// A file system in memory.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StepMemory {
    /// Where it is seen.
    pub target: PathBuf,
    /// Bytes that it has at most.
    pub size: Option<u64>,
    /// Permission bits of its root directory.
    pub mode: u32,
    /// Whose that is: user and group, as they are to us.
    pub owner: (u32, u32),
}

/// Layers that are seen in a step.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StepTree {
    /// Where.
    pub target: PathBuf,
    /// The layers, the uppermost first.
    pub layers: Vec<PathBuf>,
    /// The part of them that is seen.
    pub source: PathBuf,
    /// Where changes go; none are possible without.
    pub changes: Option<PathBuf>,
}

#[derive(Serialize, Deserialize)]
struct Request {
    config: ContainerConfig,
    layers: Vec<PathBuf>,
    upper: PathBuf,
    scratch: PathBuf,
    trees: Vec<StepTree>,
    files: Vec<StepFile>,
    memory: Vec<StepMemory>,
    whole: Option<PathBuf>,
}

#[derive(Serialize, Deserialize)]
enum Report {
    Ended { code: i32, warnings: Vec<String> },
    Failed(Failed),
}

/// How a step has ended.
#[derive(Debug)]
pub struct StepEnd {
    /// The exit code of its command.
    pub code: i32,
    /// What did not go as asked, but was no reason to fail.
    pub warnings: Vec<String>,
    /// The mount namespace that its file systems in memory are in, if it had any.
    pub mounts: Option<OwnedFd>,
}

/// What goes along with a request.
enum Handed {
    Input(OwnedFd),
    Mounts(OwnedFd),
    Nothing,
}

/// Starts steps.
#[derive(Debug)]
pub struct StepLauncher<'a> {
    engine: &'a Engine,
    executable: OwnedFd,
    /// Who has a launcher for each step; the first step starts it.
    starter: Mutex<Option<Starter>>,
    given_up: AtomicBool,
}

impl Engine {
    /// Prepares for steps; this process must have a single thread as yet.
    pub fn steps(&self) -> Result<StepLauncher<'_>> {
        self.clear_steps()?;
        let executable = exe::sealed().context(|| "cannot protect our own executable")?;
        Ok(StepLauncher {
            engine: self,
            executable,
            starter: Mutex::new(None),
            given_up: AtomicBool::new(false),
        })
    }

    /// Clears away what steps have left whose launcher was killed.
    pub fn clear_steps(&self) -> Result<()> {
        let dir = self.store.runroot().join("containers");
        let context = || format!("cannot list {}", dir.display());
        for entry in std::fs::read_dir(&dir).context(context)? {
            let dir = entry.context(context)?.path();
            let Ok(group) = std::fs::read_to_string(dir.join(MARK)) else { continue };
            if Lock::is_held(&dir.join("monitor"))? {
                continue;
            }
            let id = dir.file_name().and_then(|name| name.to_str()?.parse().ok());
            if let Some(id) = id {
                net::detach(&self.store, &id)?;
            }
            // Who cannot remove it now leaves that to the next, which needs the mark to find it.
            if Hierarchies::detect().and_then(|all| Cgroup::open(&all, &group)?.remove()).is_ok() {
                file::remove_tree(&dir)?;
            }
        }
        Ok(())
    }
}

impl StepLauncher<'_> {
    /// Ends all steps that run, and lets no other begin.
    pub fn give_up(&self) {
        self.given_up.store(true, Ordering::SeqCst);
    }

    /// Tells whether steps are to end.
    pub fn has_given_up(&self) -> bool {
        self.given_up.load(Ordering::SeqCst) || super::start::is_interrupted()
    }

    /// Runs a step, and passes its output on as it comes. If it is to have a terminal, that is the user's.
    pub fn run(&self, step: Step, mut output: impl FnMut(&[u8])) -> Result<StepEnd> {
        let (request, handed) = self.request(step)?;
        let (ours, theirs) = UnixStream::pair().context(|| "cannot make a socket pair")?;
        let (from, to) = std::io::pipe().context(|| "cannot make a pipe")?;
        self.start(theirs)?;
        socket::send(ours.as_fd(), OUTPUT, Some(to.as_fd()))
            .context(|| "cannot talk to a step's launcher")?;
        // It ends with the command.
        drop(to);
        let (report, mounts) = self.talk((&request, handed), ours, from, &mut output)?;
        match report {
            Some(Report::Ended { code, warnings }) => Ok(StepEnd { code, warnings, mounts }),
            Some(Report::Failed(failed)) => Err(failed.into()),
            None if self.has_given_up() => Err(Error::new(Kind::Unavailable, "interrupted")),
            None => Err(Error::new(Kind::Internal, "the step's launcher was killed")),
        }
    }

    /// Has a launcher started, which listens on a socket.
    fn start(&self, socket: UnixStream) -> Result<()> {
        let mut starter = self.starter.lock().unwrap_or_else(PoisonError::into_inner);
        let starter = match &mut *starter {
            Some(starter) => starter,
            none => none.insert(Starter::start(self.engine, &self.executable)?),
        };
        starter.launcher(socket)
    }

    fn talk(
        &self,
        (request, handed): (&Request, Handed),
        mut ours: UnixStream,
        mut from: impl Read + AsFd,
        output: &mut impl FnMut(&[u8]),
    ) -> Result<(Option<Report>, Option<OwnedFd>)> {
        let context = || "cannot talk to a step's launcher";
        let mut line = serde_json::to_vec(request).context(context)?;
        line.push(b'\n');
        let (mark, file) = match &handed {
            Handed::Input(file) => (INPUT, Some(file.as_fd())),
            Handed::Mounts(file) => (MOUNTS, Some(file.as_fd())),
            Handed::Nothing => (INPUT, None),
        };
        let makes_memory = !request.memory.is_empty() && mark != MOUNTS;
        socket::send(ours.as_fd(), mark, file).context(context)?;
        drop(handed);
        ours.write_all(&line).context(context)?;
        let mut answer = Vec::new();
        let mut mounts = None;
        if makes_memory {
            let mut byte = [0];
            let (length, file) = socket::receive(ours.as_fd(), &mut byte).context(context)?;
            match file {
                Some(file) => mounts = Some(file),
                // It has failed before.
                None => answer.extend_from_slice(&byte[..length]),
            }
        }
        if request.config.settings.tty && answer.is_empty() {
            let mut byte = [0];
            let (length, master) = socket::receive(ours.as_fd(), &mut byte).context(context)?;
            match master {
                Some(master) => terminal::relay(&master, || self.has_given_up())?,
                // It has failed before.
                None => answer.extend_from_slice(&byte[..length]),
            }
        }
        let mut buffer = vec![0; 32 << 10];
        loop {
            if self.has_given_up() {
                // It ends its command when it sees that.
                ours.shutdown(std::net::Shutdown::Write).context(context)?;
                while from.read(&mut buffer).context(context)? > 0 {}
                return Ok((None, None));
            }
            if !wait_readable(&from).context(context)? {
                continue;
            }
            match from.read(&mut buffer).context(context)? {
                0 => break,
                length => output(&buffer[..length]),
            }
        }
        BufReader::new(ours).read_until(b'\n', &mut answer).context(context)?;
        if answer.is_empty() {
            return Ok((None, None));
        }
        let report = serde_json::from_slice(&answer).context(context)?;
        Ok((Some(report), mounts))
    }

    fn request(&self, step: Step) -> Result<(Request, Handed)> {
        let mut spec = step.spec;
        spec.entrypoint = Some(Vec::new());
        spec.settings.remove = true;
        spec.settings.log.driver = match spec.settings.tty {
            true => LogDriver::None,
            false => LogDriver::PassthroughTty,
        };
        self.engine.validate(&spec)?;
        let mut image = create::no_image()?;
        image.config = RunConfig::default();
        let mut config = create::decide(&spec, &image, "build".to_owned(), create::random_id()?)?;
        config.env = step.env;
        config.make_working_dir = true;
        config.id_mapping = step.mapping;
        let request = Request {
            config,
            layers: step.layers,
            upper: step.upper,
            scratch: step.scratch,
            trees: step.trees,
            files: step.files,
            memory: step.memory,
            whole: step.whole,
        };
        let handed = match (step.mounts, step.input) {
            (Some(mounts), _) => Handed::Mounts(mounts),
            (None, Some(input)) => Handed::Input(input),
            (None, None) => Handed::Nothing,
        };
        Ok((request, handed))
    }
}

/// Waits a moment for something to read.
fn wait_readable(file: &impl AsFd) -> std::io::Result<bool> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut files = [PollFd::new(file, PollFlags::IN)];
    let moment = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
    match poll(&mut files, Some(&moment)) {
        Ok(ready) => Ok(ready > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The run directory of a step.
fn run_dir(engine: &Engine, config: &ContainerConfig) -> PathBuf {
    engine.store.containers().run_dir(&config.id)
}

/// Names the control group of a step for who clears away.
fn mark(dir: &Path, group: &str) -> Result<()> {
    file::write_volatile(&dir.join(MARK), group.as_bytes())
}
