//! `barge runtime`: barge as the OCI runtime of other tools, with the command line of runc.

mod checkpoint;
mod create;
mod events;
mod exec;
mod flags;
mod life;
mod list;
mod ps;
mod spec;
mod update;

pub(crate) use flags::RuntimeFlags;

use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::World;
use super::tree::{Group, group_with, verb};
use crate::engine::runtime::Runtime;
use crate::error::{Context, Error, Result};
use crate::sys::process::Words;
use crate::sys::{exe, spawn};

/// All its commands.
pub(super) const RUNTIME: Group = group_with::<RuntimeFlags>(
    &["runtime"],
    "Run containers for other tools, as runc does",
    &[
        verb::<checkpoint::Checkpoint>(&["checkpoint"], "CONTAINER"),
        verb::<create::Create>(&["create"], "CONTAINER"),
        verb::<life::Delete>(&["delete"], "CONTAINER"),
        verb::<events::Events>(&["events"], "CONTAINER"),
        verb::<exec::Exec>(&["exec"], "CONTAINER COMMAND [ARG...]"),
        verb::<spec::Features>(&["features"], ""),
        verb::<life::Kill>(&["kill"], "CONTAINER [SIGNAL]"),
        verb::<list::List>(&["list"], ""),
        verb::<ps::Pause>(&["pause"], "CONTAINER"),
        verb::<ps::Ps>(&["ps"], "CONTAINER [OPTION...]"),
        verb::<ps::Resume>(&["resume"], "CONTAINER"),
        verb::<checkpoint::Restore>(&["restore"], "CONTAINER"),
        verb::<create::Run>(&["run"], "CONTAINER"),
        verb::<spec::Spec>(&["spec"], ""),
        verb::<life::Start>(&["start"], "CONTAINER"),
        verb::<list::State>(&["state"], "CONTAINER"),
        verb::<update::Update>(&["update"], "CONTAINER"),
    ],
);

/// The names of our executable by which it is the runtime: tools that call a runtime without further
/// words find it under one of these.
const NAMES: [&str; 3] = ["barge-runtime", "runc", "crun"];

/// The program's name when it is started anew to make what enters a container.
const PROTECTED: &str = "barge: runtime";

/// Tells whether a name of our executable stands for `barge runtime`.
pub(super) fn is_name(name: &OsStr) -> bool {
    let last = Path::new(name).file_name().unwrap_or_default();
    NAMES.iter().any(|own| last == *own)
}

/// Makes sure that we run from an executable that cannot be written through: what enters a container
/// shows its executable there. Starts us anew unless we do.
fn protect() -> Result<()> {
    let mut words = std::env::args_os();
    let name = words.next().unwrap_or_default();
    if name == PROTECTED {
        return Ok(());
    }
    let more = is_name(&name).then(|| OsString::from("runtime"));
    let again = || -> std::io::Result<Infallible> {
        let name = OsString::from(PROTECTED);
        let words = [name].into_iter().chain(more).chain(words);
        let words = Words::new(words.map(|word| word.as_bytes().to_vec()))?;
        spawn::become_with_all(exe::sealed()?.as_fd(), &words)
    };
    let Err(error) = again();
    Err(error).context(|| "cannot protect our own executable")
}

impl World {
    /// Finds the containers of the root that the flags name.
    fn containers(&self) -> Result<Runtime> {
        let flags = self.runtime.as_ref();
        Runtime::open(&flags.map(RuntimeFlags::options).unwrap_or_default())
    }

    /// Tells of something that did not go as asked.
    fn warn(&self, text: &str) {
        if let Some(flags) = &self.runtime {
            flags.warn(text);
        }
    }
}

/// An error in the words of who asked.
fn failed(what: &str) -> impl FnOnce(Error) -> Error {
    let what = what.to_owned();
    move |error| error.within(what)
}
