//! Conversations with containers of other hosts.

use std::os::fd::BorrowedFd;

use super::World;
use super::answers;
use super::connect::{ConnectFlags, Wanted};
use super::exit::Status;
use crate::engine::Streams;
use crate::error::{Error, Kind, Result};
use crate::remote::{Caught, Host, Request, Session, Talked, escape};
use crate::spec::keys::DetachKeys;

/// A container of another host that is to be connected to.
pub(crate) struct Partner<'a> {
    /// The host.
    pub(crate) host: &'a Host,
    /// Its ID or name.
    pub(crate) id: &'a str,
    /// Whether it has a terminal.
    pub(crate) tty: bool,
    /// Which of its streams are wanted.
    pub(crate) wanted: Wanted,
    /// What ends the conversation, in the API's words.
    pub(crate) until: &'a str,
}

impl Partner<'_> {
    /// Connects our streams, does what begins the conversation, and copies until the container ends, or the
    /// user leaves: `None`.
    pub(crate) fn converse(
        &self,
        world: &World,
        flags: ConnectFlags,
        begin: impl FnOnce() -> Result<()>,
    ) -> Result<Option<Status>> {
        let thing = format!("/containers/{}", escape(self.id));
        let (keys, proxies) = flags.into_parts(world, self.tty && self.wanted.stdin)?;
        let request = Request::post(format!("{thing}/attach"))
            .with("stream", 1)
            .flag("stdin", self.wanted.stdin)
            .flag("stdout", self.wanted.stdout)
            .flag("stderr", self.wanted.stderr)
            .maybe("detachKeys", (!keys.is_empty()).then(|| DetachKeys(keys.clone())));
        let caught = Caught::new(proxies)?;
        let talk = self.host.talk(request)?;
        let wait = Request::post(format!("{thing}/wait")).with("condition", self.until);
        // It answers when it begins to wait, and goes on when there is something to tell.
        let ended = self.host.call(wait)?;
        begin()?;
        let session = Session::new(self.host, talk, self.tty, &thing, caught);
        match session.run(&streams(self.wanted, &keys))? {
            Talked::Detached => Ok(None),
            Talked::Over => {
                let ended = ended.document()?;
                if let Some(text) = ended["Error"]["Message"].as_str().filter(|it| !it.is_empty()) {
                    return Err(Error::new(Kind::Internal, text));
                }
                Ok(Some(status_of(answers::number(&ended, "StatusCode"))))
            }
        }
    }
}

/// Returns our streams, those that are wanted.
pub(crate) fn streams(wanted: Wanted, keys: &[u8]) -> Streams<'_> {
    let only = |wanted: bool, stream: BorrowedFd<'static>| wanted.then_some(stream);
    Streams {
        stdin: only(wanted.stdin, rustix::stdio::stdin()),
        stdout: only(wanted.stdout, rustix::stdio::stdout()),
        stderr: only(wanted.stderr, rustix::stdio::stderr()),
        detach_keys: keys,
    }
}

/// Passes on how a process of another host ended.
pub(crate) fn status_of(code: i64) -> Status {
    Status::of_container(i32::try_from(code).unwrap_or(i32::MAX))
}

/// Gives an error about a process that could not be started its exit status. Docker's API has no kinds for
/// that: its own client looks at the text, too.
pub(crate) fn not_run(error: Error) -> Error {
    let text = error.to_string();
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if has(&["not found in $PATH", "executable file not found", "no such file or directory"]) {
        error.kind_is(Kind::CommandNotFound)
    } else if has(&["permission denied", "is a directory", "exec format error", "cannot execute"]) {
        error.kind_is(Kind::CommandNotExecutable)
    } else {
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_why_a_process_was_not_started() {
        for (text, want) in [
            (
                "failed to create shim task: OCI runtime create failed: exec: \"nosuch\": executable file not found in $PATH: unknown",
                Kind::CommandNotFound,
            ),
            ("exec: \"/etc\": permission denied: unknown", Kind::CommandNotExecutable),
            ("cannot execute `/etc`: is a directory", Kind::CommandNotExecutable),
            ("port is already allocated", Kind::Internal),
        ] {
            assert_eq!(not_run(Error::new(Kind::Internal, text)).kind(), want, "{text}");
        }
    }
}
