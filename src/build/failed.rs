//! A look at where a command has failed, by a shell or another command in the same place.

use std::os::fd::OwnedFd;

use super::Builder;
use super::config::with_shell;
use super::run::Room;
use super::stage::{Image, Place};
use crate::error::Result;
use crate::spec::container::ContainerSpec;
use crate::spec::dockerfile::Command;
use crate::store::file;

/// What is run where a command has failed, before the build ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnFailure {
    /// A line for the stage's shell; that shell itself if there is none.
    pub line: Option<String>,
    /// Whether it has the user's terminal.
    pub terminal: bool,
}

/// What a command that has failed had.
pub(super) struct Given {
    pub(super) spec: ContainerSpec,
    pub(super) env: Vec<String>,
    /// Where its file systems in memory are.
    pub(super) mounts: Option<OwnedFd>,
}

impl Builder<'_> {
    /// Runs what is wanted where a command has failed, with the files, mounts, variables, directory and
    /// user that it had. What becomes of that changes nothing.
    pub(super) fn look_around(
        &self,
        image: &Image,
        place: Place<'_>,
        wanted: &OnFailure,
        room: &Room<'_>,
        given: Given,
    ) {
        // One at a time has the terminal.
        let _alone = self.looking.lock();
        if self.launcher.has_given_up() {
            return;
        }
        let what = match &wanted.line {
            None => "a shell; the build ends when you leave it",
            Some(line) => line,
        };
        self.listener.line(place.name, &format!("--> failed; in the same place: {what}"));
        if let Err(error) = self.look(image, place, wanted, room, given) {
            self.listener.warning(&error.within("cannot look around there").to_string());
        }
    }

    fn look(
        &self,
        image: &Image,
        place: Place<'_>,
        wanted: &OnFailure,
        room: &Room<'_>,
        Given { mut spec, mut env, mounts }: Given,
    ) -> Result<()> {
        spec.command = with_shell(image, &Command::Shell(wanted.line.clone().unwrap_or_default()));
        if wanted.line.is_none() {
            spec.command.truncate(1);
        }
        // The kernel refuses the scratch space of an overlay that was not synced.
        file::remove_tree(&room.scratch.join("work"))?;
        if !wanted.terminal {
            let step = room.step(spec, env, None, mounts);
            let end = self.launcher.run(step, |bytes| self.listener.output(place.name, bytes))?;
            end.warnings.iter().for_each(|warning| self.listener.warning(warning));
            return Ok(());
        }
        spec.settings.tty = true;
        if !env.iter().any(|entry| entry.starts_with("TERM=")) {
            let kind = std::env::var("TERM").unwrap_or_else(|_| "xterm".to_owned());
            env.push(format!("TERM={kind}"));
        }
        let mut ended = Ok(());
        let mut step = Some(room.step(spec, env, None, mounts));
        self.listener.leave_terminal(&mut || {
            if let Some(step) = step.take() {
                ended = self.launcher.run(step, |_| ()).map(drop);
            }
        });
        ended
    }
}
