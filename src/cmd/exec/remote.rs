//! `exec` on other hosts.

use serde_json::json;

use super::Exec;
use crate::cmd::connect::{Wanted, check_terminal, detach_keys};
use crate::cmd::containers;
use crate::cmd::environment;
use crate::cmd::exit::Status;
use crate::cmd::host::refuse;
use crate::cmd::talk::{not_run, status_of, streams};
use crate::cmd::{World, answers};
use crate::error::{Context, Error, Kind, Result};
use crate::remote::{Caught, Host, Request, Session, Talked, escape};
use crate::spec::keys::DetachKeys;

impl Exec {
    /// Does it on another host.
    pub(super) fn exec_on(self, host: &Host, world: &mut World) -> Result<Status> {
        refuse(&[("--preserve-fds", self.preserve.is_asked())])?;
        let mut command = self.words;
        let name = match &self.cidfile {
            Some(file) => containers::read_id(file)?,
            None if self.latest => answers::latest(host)?,
            None => command.remove(0),
        };
        if command.is_empty() {
            return Err(Error::new(
                Kind::Invalid,
                "must provide a non-empty command to start an exec session: invalid argument",
            ));
        }
        let tty = self.tty;
        check_terminal(tty && !self.detach, self.interactive);
        let typed = tty && self.interactive && !self.detach;
        let keys = detach_keys(world, self.detach_keys, typed)?;
        let env = environment::read(&self.env_file, &self.env)?;
        let env: Vec<String> = env.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let body = json!({
            "AttachStdin": self.interactive && !self.detach,
            "AttachStdout": !self.detach,
            "AttachStderr": !self.detach,
            "DetachKeys": DetachKeys(keys.clone()).to_string(),
            "Tty": tty,
            "Cmd": command,
            "Env": env,
            "User": self.user.unwrap_or_default(),
            "WorkingDir": self.workdir.map(|dir| dir.display().to_string()).unwrap_or_default(),
            "Privileged": self.privileged,
        });
        let path = format!("/containers/{}/exec", escape(&name));
        let made = host.document(Request::post(path).json(&body))?;
        let thing = format!("/exec/{}", escape(answers::text(&made, "Id")));
        let start = Request::post(format!("{thing}/start"))
            .json(&json!({ "Detach": self.detach, "Tty": tty }));
        if self.detach {
            host.act(start).map_err(not_run)?;
            world.out.line(answers::text(&made, "Id"))?;
            return Ok(Status::SUCCESS);
        }
        let wanted = Wanted { stdin: self.interactive, stdout: true, stderr: true };
        let caught = Caught::new(false)?;
        let talk = host.talk(start).map_err(not_run)?;
        let session = Session::new(host, talk, tty, &thing, caught);
        if session.run(&streams(wanted, &keys))? == Talked::Detached {
            return Ok(Status::SUCCESS);
        }
        let ended = host.document(Request::get(format!("{thing}/json")));
        let ended = ended.context(|| "cannot tell how the command ended")?;
        Ok(status_of(answers::number(&ended, "ExitCode")))
    }
}
