//! `image scp`: an image goes from one store to another, of another user or another machine.
//!
//! Both sides are barge itself: one saves the image to a pipe, the other loads it from there. What is
//! elsewhere is reached by `ssh`; another user's store as that user. Nothing passes through us.

use std::fs;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

use rustix::event::{PollFd, PollFlags, poll};

use crate::engine::Engine;
use crate::error::{Context, Error, Kind, Result};
use crate::spec::place::{ImagePlace, StorePlace};
use crate::sys::command::die_with_us;

/// Copies an image; returns what the other side says it has loaded.
pub fn scp(engine: &Engine, from: &ImagePlace, to: &ImagePlace) -> Result<String> {
    let Some(image) = &from.image else {
        return Err(Error::new(Kind::Invalid, "no source image is specified")
            .hint("write it after the two colons, as in HOST::IMAGE"));
    };
    if let Some(name) = &to.image {
        return Err(Error::new(
            Kind::Invalid,
            format!("cannot give the image the name `{name}` there"),
        )
        .hint("leave it out behind the two colons, and tag the image afterwards"));
    }
    if from.store == to.store {
        return Err(Error::new(Kind::Invalid, "source and destination are the same store"));
    }
    if from.store == StorePlace::Here {
        // Before anything is started: a clear word.
        engine.store().images().lookup(image)?;
    }
    // The whole image, its manifest included, so that it stays the same byte for byte.
    let mut saving = Side::new(engine, &from.store, &["save", "--format", "oci-archive", image])?;
    let mut loading = Side::new(engine, &to.store, &["load"])?;
    let mut source = saving.start(Stdio::null(), Stdio::piped())?;
    let Some(pipe) = source.stdout.take().filter(has_begun) else {
        // There is nothing to load, and who was to save has said why.
        let ended = saving.wait(&mut source)?;
        saving.check(ended, image)?;
        return Err(Error::new(Kind::Internal, format!("{} has saved nothing", saving.name)));
    };
    let mut sink = match loading.start(pipe.into(), Stdio::piped()) {
        Ok(sink) => sink,
        Err(error) => {
            // Its pipe is closed, so it ends; it has nothing to tell.
            drop(source.kill().and_then(|()| source.wait()));
            return Err(error);
        }
    };
    let mut loaded = String::new();
    let read = match &mut sink.stdout {
        Some(stdout) => stdout.read_to_string(&mut loaded),
        None => Ok(0),
    };
    let loading_ended = loading.wait(&mut sink)?;
    let saving_ended = saving.wait(&mut source)?;
    // Who saves cannot go on when nobody loads.
    loading.check(loading_ended, image)?;
    saving.check(saving_ended, image)?;
    read.context(|| "cannot read what the destination says")?;
    Ok(loaded)
}

/// Waits until something comes out of a pipe; `false` if its other end is closed before that.
fn has_begun(pipe: &ChildStdout) -> bool {
    let mut waiting = [PollFd::new(pipe, PollFlags::IN)];
    let ended = rustix::io::retry_on_intr(|| poll(&mut waiting, None));
    // If that cannot be told, the other side will.
    ended.is_err() || waiting[0].revents().contains(PollFlags::IN)
}

/// One end of the copy.
struct Side {
    command: Command,
    /// What it is, in messages.
    name: String,
    /// What to do if it cannot be started.
    hint: String,
}

impl Side {
    fn new(engine: &Engine, place: &StorePlace, words: &[&str]) -> Result<Self> {
        match place {
            StorePlace::Here => Ok(Self::here(engine, words)),
            StorePlace::User(user) => Self::user(engine, user, words),
            StorePlace::Remote { destination, port } => Ok(Self::remote(destination, *port, words)),
        }
    }

    fn here(engine: &Engine, words: &[&str]) -> Self {
        let (host, store) = (engine.host(), engine.store());
        let mut command = Command::new(&host.executable);
        command.arg("--root").arg(store.root()).arg("--runroot").arg(store.runroot()).args(words);
        Self { command, name: "this store".to_owned(), hint: String::new() }
    }

    fn user(engine: &Engine, user: &str, words: &[&str]) -> Result<Self> {
        let executable = &engine.host().executable;
        let name = format!("user {user}");
        if engine.host().uid != 0 {
            let mut command = Command::new("sudo");
            command.args(["-H", "-u", user, "--"]).arg(executable).args(words);
            return Ok(Self { command, name, hint: "install the package sudo".to_owned() });
        }
        let account = Account::of(user)?;
        let mut command = Command::new(executable);
        command.args(words).uid(account.uid).gid(account.gid).current_dir("/");
        command.env("HOME", &account.home).env("USER", user).env("LOGNAME", user);
        for name in ["XDG_RUNTIME_DIR", "XDG_DATA_HOME", "XDG_CONFIG_HOME"] {
            command.env_remove(name);
        }
        let hint = format!("user {user} must be able to execute {}", executable.display());
        Ok(Self { command, name, hint })
    }

    fn remote(destination: &str, port: Option<u16>, words: &[&str]) -> Self {
        let mut command = Command::new("ssh");
        if let Some(port) = port {
            command.arg("-p").arg(port.to_string());
        }
        // The words are names and options: nothing that a shell would change.
        command.args(["--", destination, "barge"]).args(words);
        Self {
            command,
            name: destination.to_owned(),
            hint: "install the package openssh-client".to_owned(),
        }
    }

    fn start(&mut self, input: Stdio, output: Stdio) -> Result<Child> {
        let started = die_with_us(self.command.stdin(input).stdout(output)).spawn();
        // Who writes to the pipe is to notice when the one who reads from it has ended: it must not
        // stay open here.
        self.command.stdin(Stdio::null());
        started.map_err(|error| {
            let program = self.command.get_program().to_string_lossy().into_owned();
            let message = format!("cannot reach {}: cannot start `{program}`", self.name);
            let outer = Error::new(Kind::Unsupported, message);
            outer.hint(self.hint.clone()).caused_by(error)
        })
    }

    fn wait(&self, child: &mut Child) -> Result<ExitStatus> {
        child.wait().context(|| format!("cannot wait for the copy at {}", self.name))
    }

    fn check(&self, status: ExitStatus, image: &str) -> Result<()> {
        if status.success() {
            return Ok(());
        }
        let name = &self.name;
        let error =
            Error::new(Kind::Unavailable, format!("cannot copy image {image}: {name}: {status}"));
        Err(match status.code() {
            Some(127) => error.hint(format!("barge must be installed at {name}, in its PATH")),
            Some(255) => error.hint(format!("check that `ssh {name} barge version` works")),
            _ => error.hint("the reason is said above"),
        })
    }
}

/// A user of this machine.
struct Account {
    uid: u32,
    gid: u32,
    home: String,
}

impl Account {
    fn of(user: &str) -> Result<Self> {
        let path = "/etc/passwd";
        let text = fs::read_to_string(path).context(|| format!("cannot read {path}"))?;
        let account = text.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            match fields.as_slice() {
                [name, _, uid, gid, _, home, ..] if *name == user => Some(Self {
                    uid: uid.parse().ok()?,
                    gid: gid.parse().ok()?,
                    home: (*home).to_owned(),
                }),
                _ => None,
            }
        });
        account.ok_or_else(|| Error::new(Kind::NotFound, format!("there is no user {user}")))
    }
}
