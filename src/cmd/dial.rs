//! `barge system dial-stdio`

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use clap::Args;
use rustix::process::{Pid, Signal, kill_process};

use super::World;
use super::exit::Status;
use super::tree::Act;
use crate::engine::Engine;
use crate::error::{Context, Error, Kind, Result};
use crate::remote::Host;
use crate::store::file;
use crate::sys::command::die_with_us;

/// Connect standard input and output to the service
///
/// This is what other hosts call by ssh. If no service of Docker's API runs here, one is started, and ends
/// with this command.
#[derive(Args, Debug)]
pub(crate) struct Dial {}

impl Act for Dial {
    fn act(self, world: &mut World) -> Result<Status> {
        let engine = world.engine()?;
        let runroot = engine.store().runroot();
        match UnixStream::connect(runroot.join("barge.sock")) {
            Ok(socket) => relay(&socket)?,
            Err(error) if is_nobody(&error) => {
                let name = format!("dial-{}.sock", std::process::id());
                let path = runroot.join(name);
                file::create_dirs(runroot, 0o700)?;
                let service = Service::start(&engine, &path)?;
                let socket = UnixStream::connect(&path)
                    .context(|| format!("cannot connect to {}", path.display()));
                let relayed = socket.and_then(|socket| relay(&socket));
                service.end();
                relayed?;
            }
            Err(error) => return Err(error).context(|| "cannot connect to the service"),
        }
        Ok(Status::SUCCESS)
    }

    fn act_on(self, host: &Host, _: &mut World) -> Result<Status> {
        relay(&host.dial()?)?;
        Ok(Status::SUCCESS)
    }
}

/// Tells whether nobody listens at a socket.
fn is_nobody(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

/// A service that is there for this command only.
struct Service(Child);

impl Service {
    /// Starts it, and waits until it listens.
    fn start(engine: &Engine, path: &Path) -> Result<Self> {
        let context = || "cannot start a service";
        let store = engine.store();
        let mut command = Command::new(&engine.host().executable);
        command.arg("--root").arg(store.root()).arg("--runroot").arg(store.runroot());
        command.args(["system", "service", "--time", "0"]);
        command.arg(format!("unix://{}", path.display()));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = die_with_us(&mut command).spawn().context(context)?;
        let mut told = String::new();
        if let Some(stderr) = child.stderr.take() {
            let mut lines = BufReader::new(stderr);
            loop {
                let mut line = String::new();
                let length = lines.read_line(&mut line).context(context)?;
                if line.starts_with("listening at ") {
                    // What it has to say later is for us as well.
                    thread::spawn(move || io::copy(&mut lines, &mut io::stderr()));
                    return Ok(Self(child));
                }
                told.push_str(&line);
                if length == 0 {
                    break;
                }
            }
        }
        drop(child.wait());
        let why = told.trim().trim_start_matches("Error: ").to_owned();
        Err(Error::new(Kind::Unavailable, context()).caused_by(why))
    }

    /// Ends it; it removes its socket.
    fn end(mut self) {
        let pid = i32::try_from(self.0.id()).ok().and_then(Pid::from_raw);
        // It may have ended by itself.
        let _ended = pid.map(|pid| kill_process(pid, Signal::TERM));
        drop(self.0.wait());
    }
}

/// Copies both ways, until the other side has nothing more to say.
fn relay(socket: &UnixStream) -> Result<()> {
    let context = || "cannot pass on what is said";
    let mut to = socket.try_clone().context(context)?;
    // It may wait for input until this process ends.
    thread::spawn(move || {
        let copied = io::copy(&mut io::stdin().lock(), &mut to);
        // Whoever is left sees the end of the stream.
        drop(copied.and_then(|_| to.shutdown(Shutdown::Write)));
    });
    let mut from = socket;
    let mut out = io::stdout().lock();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => {
                let written = out.write_all(&buffer[..length]).and_then(|()| out.flush());
                written.context(context)?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Both have gone.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(()),
            Err(error) => return Err(error).context(context),
        }
    }
}
