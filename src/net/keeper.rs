//! The network namespace that all containers of a user share who is not root, and who keeps it.
//!
//! Bridges need a namespace of their own where nobody has power over the machine's, and something that
//! leads out of it. Its keeper is our own executable, started anew by the first monitor that needs it:
//! it makes the namespace, connects it by pasta, and hands its descriptor to everybody who asks at a
//! socket in the run directory. Who holds a connection holds the namespace; when the last one is gone,
//! by whatever end, the keeper ends, and pasta with it. It waits and does nothing else: bridges,
//! addresses and names are the monitors' business.
//!
//! If a keeper is killed, the monitors still have the namespace. The first one to notice starts another
//! keeper for it: connections to the outside are lost, those among containers are not.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt::{self, Timeout};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType};
use serde::{Deserialize, Serialize};

use super::link::Links;
use super::pasta::{self, Helper};
use super::slirp;
use crate::error::{Context, Error, Kind, Result};
use crate::spec::user_mode::PastaOptions;
use crate::store::file;
use crate::store::lock::Lock;
use crate::store::userns::Mark;
use crate::sys::process::{self, Words};
use crate::sys::{netns, socket, spawn};

/// The program's name when it is started as a keeper.
const NAME: &str = "barge: network";
/// The word that says that there is a namespace already, by a second descriptor.
const GIVEN: &str = "given";

/// How long a keeper may take to be ready; it needs as long as pasta.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a keeper waits for the first one to come.
const FIRST: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };
/// How often one is asked that ends just then.
const TRIES: usize = 100;

/// The namespace that containers share, for as long as this is held.
#[derive(Debug)]
pub(super) struct Shared {
    connection: OwnedFd,
    netns: OwnedFd,
    way_out: WayOut,
}

/// How the shared namespace is connected to the outside.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct WayOut {
    /// Where containers find a name server, if one is in reach.
    pub(super) name_server: Option<IpAddr>,
    /// Where containers find the host, if they can.
    pub(super) host: Option<IpAddr>,
    /// What the user should know.
    pub(super) warning: Option<String>,
}

/// What a keeper says to everybody who comes; with the namespace if all is well.
#[derive(Serialize, Deserialize)]
enum Answer {
    Ready(WayOut),
    Failed { kind: Kind, message: String, hint: Option<String> },
}

impl Shared {
    /// Takes part in the shared namespace if there is one.
    pub(super) fn find(runroot: &Path) -> Result<Option<Self>> {
        match ask(&socket_path(runroot))? {
            Some(Ok(shared)) => Ok(Some(shared)),
            Some(Err(_)) | None => Ok(None),
        }
    }

    /// Takes part in the shared namespace, with a new keeper if there is none: for the namespace
    /// `given`, or for a new one.
    pub(super) fn join(runroot: &Path, given: Option<BorrowedFd<'_>>) -> Result<Self> {
        let path = socket_path(runroot);
        // Others wait for the keeper that the first one starts.
        let _lock = Lock::exclusive(&lock_path(runroot))?;
        for _ in 0..TRIES {
            if let Some(answer) = ask(&path)? {
                return answer;
            }
            if let Some(answer) = start(runroot, &path, given)? {
                return answer;
            }
        }
        Err(Error::new(Kind::Unavailable, "the network that containers share does not last")
            .hint("something kills the process `barge: network`"))
    }

    /// Returns the namespace.
    pub(super) fn netns(&self) -> BorrowedFd<'_> {
        self.netns.as_fd()
    }

    /// Returns how it is connected.
    pub(super) fn way_out(&self) -> &WayOut {
        &self.way_out
    }

    /// Returns what becomes readable when the keeper is gone.
    pub(super) fn connection(&self) -> BorrowedFd<'_> {
        self.connection.as_fd()
    }

    /// Sees to it that the namespace has a keeper.
    pub(super) fn renew(&mut self, runroot: &Path) -> Result<()> {
        let left = rustix::net::recv(&self.connection, &mut [0; 16], RecvFlags::DONTWAIT);
        if matches!(left, Err(Errno::AGAIN)) {
            return Ok(());
        }
        *self = Self::join(runroot, Some(self.netns.as_fd()))?;
        Ok(())
    }
}

fn socket_path(runroot: &Path) -> PathBuf {
    runroot.join("netns")
}

fn lock_path(runroot: &Path) -> PathBuf {
    runroot.join("netns.lock")
}

/// Asks a keeper for its namespace; `None` if there is none, or if it ends just now.
fn ask(path: &Path) -> Result<Option<Result<Shared>>> {
    let context = || format!("cannot ask at {}", path.display());
    match connect(path).context(context)? {
        Some(connection) => hear(connection).context(context),
        None => Ok(None),
    }
}

/// Connects to a keeper; `None` if nobody listens.
fn connect(path: &Path) -> std::io::Result<Option<OwnedFd>> {
    let flags = SocketFlags::CLOEXEC;
    let connection =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    sockopt::set_socket_timeout(&connection, Timeout::Recv, Some(PATIENCE))?;
    let (address, _dir) = socket::address(path)?;
    match rustix::io::retry_on_intr(|| rustix::net::connect(&connection, &address)) {
        Ok(()) => Ok(Some(connection)),
        Err(Errno::NOENT | Errno::CONNREFUSED) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Waits for what a keeper has to say; `None` if it has ended instead.
fn hear(connection: OwnedFd) -> std::io::Result<Option<Result<Shared>>> {
    let mut text = [0; 4096];
    let (length, netns) = match socket::receive(connection.as_fd(), &mut text) {
        Ok((0, _)) => return Ok(None),
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return Ok(None),
        other => other?,
    };
    Ok(match (serde_json::from_slice(&text[..length])?, netns) {
        (Answer::Ready(way_out), Some(netns)) => Some(Ok(Shared { connection, netns, way_out })),
        (Answer::Failed { kind, message, hint }, _) => {
            let error = Error::new(kind, message);
            Some(Err(hint.into_iter().fold(error, Error::hint)))
        }
        (Answer::Ready(_), None) => None,
    })
}

/// Starts a keeper and asks it. The caller holds the lock.
fn start(
    runroot: &Path,
    path: &Path,
    given: Option<BorrowedFd<'_>>,
) -> Result<Option<Result<Shared>>> {
    // What is missing is best said by who was asked for it.
    if slirp::plan_if_needed().is_none() {
        pasta::plan(&[], &PastaOptions::default(), false, runroot)?;
    }
    file::remove_file(path)?;
    let context = || format!("cannot listen at {}", path.display());
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let listener =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
            .context(context)?;
    let (address, _dir) = socket::address(path).context(context)?;
    rustix::net::bind(&listener, &address).context(context)?;
    rustix::net::listen(&listener, 1024).context(context)?;
    // Before the keeper is there: what it says is not missed, however soon it ends.
    let Some(connection) = connect(path).context(context)? else { return Ok(None) };
    // It enters no container, and we run from what containers cannot change.
    let executable = File::open("/proc/self/exe").context(|| "cannot open our own executable")?;
    let mut words = vec![NAME.as_bytes().to_vec(), runroot.as_os_str().as_bytes().to_vec()];
    let mut files = vec![listener.as_fd()];
    if let Some(netns) = given {
        words.push(GIVEN.as_bytes().to_vec());
        files.push(netns);
    }
    let context = || "cannot start the keeper of a network";
    let words = Words::new(words).context(context)?;
    spawn::detached(executable.as_fd(), &words, &files).context(context)?;
    drop(listener);
    hear(connection).context(context)
}

/// Tells whether this word starts a keeper.
pub fn is_asked_for(name: &OsStr) -> bool {
    name == NAME
}

/// Runs as a keeper until nobody needs it any more. Returns the exit status.
pub fn main(arguments: Vec<OsString>) -> u8 {
    let Ok(listener) = process::inherited(spawn::FIRST_FILE) else { return 125 };
    let runroot = arguments.get(1).map(PathBuf::from).unwrap_or_default();
    let is_given = arguments.get(2).is_some_and(|word| word == GIVEN);
    // Whoever comes must be able to use the namespace, and so be in our user namespace.
    let mark = Mark::set(&runroot);
    let mut keeper = match Keeper::begin(&runroot, is_given) {
        Ok(keeper) => keeper,
        Err(error) => {
            refuse(&listener, &error);
            return 125;
        }
    };
    keeper.serve(&listener);
    // Whoever comes now finds nobody, and starts another keeper.
    drop(listener);
    drop(mark);
    if let Some(helper) = keeper.helper.take() {
        drop(helper.end());
    }
    // Unless somebody is about to do that.
    if let Ok(Some(_lock)) = Lock::try_exclusive(&lock_path(&runroot)) {
        drop(file::remove_file(&socket_path(&runroot)));
    }
    0
}

/// Tells the one who has started us, and all who wait with it, why there is no namespace.
fn refuse(listener: &OwnedFd, error: &Error) {
    let answer = Answer::Failed {
        kind: error.kind(),
        message: error.to_string(),
        hint: error.hint_text().map(str::to_owned),
    };
    let text = serde_json::to_vec(&answer).unwrap_or_default();
    while let Ok(client) = rustix::net::accept_with(listener, SocketFlags::CLOEXEC) {
        // One that is gone needs no answer.
        drop(socket::send(client.as_fd(), &text, None));
    }
}

struct Keeper {
    netns: OwnedFd,
    helper: Option<Helper>,
    answer: Vec<u8>,
    clients: Vec<OwnedFd>,
}

impl Keeper {
    fn begin(runroot: &Path, is_given: bool) -> Result<Self> {
        let context = || "cannot make a network namespace";
        let netns = match is_given {
            true => process::inherited(spawn::FIRST_FILE + 1).context(context)?,
            false => netns::make().context(context)?,
        };
        Links::open_in(netns.as_fd())
            .and_then(|mut links| links.set_loopback_up())
            .context(|| "cannot take the loopback interface up")?;
        let (started, way_out) = match slirp::plan_if_needed() {
            Some(plan) => {
                let name_server = plan.name_server();
                let way_out = WayOut {
                    name_server,
                    host: super::own_address(|own, out| own == out),
                    warning: None,
                };
                (slirp::start(&plan, netns.as_fd()), way_out)
            }
            None => {
                let plan = pasta::plan(&[], &PastaOptions::default(), false, runroot)?;
                let name_server = plan.name_server();
                let way_out = WayOut { name_server, host: plan.host(), warning: None };
                (pasta::start(&plan, netns.as_fd()), way_out)
            }
        };
        let (helper, way_out) = match started {
            Ok(helper) => (Some(helper), way_out),
            // Containers still have each other.
            Err(error) if super::is_offline() => {
                let text = format!("the machine is offline, containers have no way out: {error}");
                (None, WayOut { warning: Some(text), ..WayOut::default() })
            }
            Err(error) => return Err(error),
        };
        let answer = serde_json::to_vec(&Answer::Ready(way_out)).context(context)?;
        Ok(Self { netns, helper, answer, clients: Vec::new() })
    }

    /// Hands the namespace out until nobody holds it any more, or pasta has ended.
    fn serve(&mut self, listener: &OwnedFd) {
        let mut patience = Some(FIRST);
        loop {
            let mut files = vec![PollFd::new(listener, PollFlags::IN)];
            if let Some(helper) = &self.helper {
                files.push(PollFd::new(&helper.pidfd, PollFlags::IN));
            }
            let first = files.len();
            files.extend(self.clients.iter().map(|client| PollFd::new(client, PollFlags::IN)));
            let ready = match poll(&mut files, patience.as_ref()) {
                Err(Errno::INTR) => continue,
                Ok(0) | Err(_) => return,
                Ok(_) => files.iter().map(|file| !file.revents().is_empty()).collect::<Vec<_>>(),
            };
            drop(files);
            if first > 1 && ready[1] {
                return;
            }
            // They say nothing: what can be read is their end.
            let mut gone = ready[first..].iter();
            self.clients.retain(|_| gone.next() != Some(&true));
            if ready[0] {
                self.accept(listener);
            }
            if self.clients.is_empty() {
                return;
            }
            if patience.take().is_some() {
                process::forget_free_memory();
                let _as_it_is = process::forget_code();
            }
        }
    }

    fn accept(&mut self, listener: &OwnedFd) {
        while let Ok(client) = rustix::net::accept_with(listener, SocketFlags::CLOEXEC) {
            let netns = Some(self.netns.as_fd());
            if socket::send(client.as_fd(), &self.answer, netns).is_ok() {
                self.clients.push(client);
            }
        }
    }
}
