//! `barge healthcheck run`

use clap::Args;
use serde_json::json;

use super::exit::Status;
use super::talk::not_run;
use super::tree::Act;
use super::{World, answers};
use crate::engine::Streams;
use crate::error::{Error, Kind, Result};
use crate::remote::{Caught, Host, Request, Session, escape};

/// Probe a container's health now
///
/// The exit status is 0 if it is well, and 1 if it is not.
#[derive(Args, Debug)]
pub(crate) struct HealthcheckRun {
    /// Exit with 0 even if it is not well
    #[arg(long)]
    ignore_result: bool,
    /// Container, by name or ID
    #[arg(required = true, value_name = "CONTAINER")]
    container: String,
}

impl Act for HealthcheckRun {
    fn act(self, world: &mut World) -> Result<Status> {
        let well = world.engine()?.probe_health(&self.container)?;
        Ok(if well || self.ignore_result { Status::SUCCESS } else { Status::NO })
    }

    /// Docker's API has no word for it: what the container's own probe runs is run once more, and not noted
    /// there.
    fn act_on(self, host: &Host, _: &mut World) -> Result<Status> {
        let thing = format!("/containers/{}", escape(&self.container));
        let found = host.document(Request::get(format!("{thing}/json")))?;
        let test = answers::words(&found["Config"]["Healthcheck"], "Test");
        let shell = answers::words(&found["Config"], "Shell");
        let shell = if shell.is_empty() { vec!["/bin/sh", "-c"] } else { shell };
        let command: Vec<&str> = match test.as_slice() {
            ["CMD", words @ ..] if !words.is_empty() => words.to_vec(),
            ["CMD-SHELL", words @ ..] if !words.is_empty() => [&shell, words].concat(),
            _ => {
                let text = format!("container {} has no defined healthcheck", self.container);
                return Err(Error::new(Kind::Conflict, text));
            }
        };
        let body = json!({ "AttachStdout": true, "AttachStderr": true, "Cmd": command });
        let made = host.document(Request::post(format!("{thing}/exec")).json(&body))?;
        let exec = format!("/exec/{}", escape(answers::text(&made, "Id")));
        let start =
            Request::post(format!("{exec}/start")).json(&json!({ "Detach": false, "Tty": false }));
        let caught = Caught::new(false)?;
        let nothing = Streams { stdin: None, stdout: None, stderr: None, detach_keys: &[] };
        match host.talk(start).map_err(not_run) {
            Ok(talk) => drop(Session::new(host, talk, false, &exec, caught).run(&nothing)?),
            // A probe that cannot be run tells that it is not well.
            Err(error)
                if matches!(error.kind(), Kind::CommandNotFound | Kind::CommandNotExecutable) => {}
            Err(error) => return Err(error),
        }
        let ended = host.document(Request::get(format!("{exec}/json")))?;
        let well = ended["ExitCode"].as_i64() == Some(0);
        Ok(if well || self.ignore_result { Status::SUCCESS } else { Status::NO })
    }
}
