//! `start` and `attach` on other hosts.

use serde_json::Value;

use super::{Attach, Start, not_running};
use crate::cmd::connect::Wanted;
use crate::cmd::containers::{Selection, for_each};
use crate::cmd::exit::Status;
use crate::cmd::talk::{Partner, not_run};
use crate::cmd::{World, answers};
use crate::error::{Error, Kind, Result};
use crate::remote::{Host, Request, escape};

impl Start {
    /// Does it on another host.
    pub(super) fn start_on(self, host: &Host, world: &mut World) -> Result<Status> {
        let chosen = self.selection.selection()?;
        let names = chosen.chosen_on(host, Vec::new())?;
        let start = |name: &str| {
            host.act(Request::post(format!("/containers/{}/start", escape(name)))).map_err(not_run)
        };
        if !self.attach && !self.interactive {
            return for_each(world, &names, Status::of_error, |world, name| {
                start(name)?;
                world.out.line(name)
            });
        }
        let [name] = names.as_slice() else {
            return Err(Error::new(
                Kind::Invalid,
                "you cannot start and attach multiple containers at once",
            ));
        };
        let found = inspect(host, name)?;
        let until = match found["HostConfig"]["AutoRemove"] == Value::Bool(true) {
            true => "removed",
            false => "next-exit",
        };
        let ended =
            partner(host, &found, self.interactive, until)
                .converse(world, self.connect, || start(name))?;
        Ok(ended.unwrap_or(Status::SUCCESS))
    }
}

impl Attach {
    /// Does it on another host.
    pub(super) fn attach_on(self, host: &Host, world: &mut World) -> Result<Status> {
        let selection = Selection::named(self.container.into_iter().collect(), self.latest);
        let names = selection.chosen_on(host, Vec::new())?;
        let found = inspect(host, names.first().map(String::as_str).unwrap_or_default())?;
        let state = &found["State"];
        if state["Paused"] == Value::Bool(true) {
            return Err(Error::new(Kind::Conflict, "you cannot attach to a paused container")
                .hint("resume it first"));
        }
        if state["Running"] != Value::Bool(true) {
            return Err(not_running());
        }
        let partner = partner(host, &found, !self.no_stdin, "not-running");
        let ended = partner.converse(world, self.connect, || Ok(()))?;
        Ok(ended.unwrap_or(Status::SUCCESS))
    }
}

fn inspect(host: &Host, name: &str) -> Result<Value> {
    host.document(Request::get(format!("/containers/{}/json", escape(name))))
}

fn partner<'a>(host: &'a Host, found: &'a Value, stdin: bool, until: &'a str) -> Partner<'a> {
    let config = &found["Config"];
    let stdin = stdin && config["OpenStdin"] == Value::Bool(true);
    Partner {
        host,
        id: answers::text(found, "Id"),
        tty: config["Tty"] == Value::Bool(true),
        wanted: Wanted { stdin, stdout: true, stderr: true },
        until,
    }
}
