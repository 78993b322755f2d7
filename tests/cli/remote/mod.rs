//! barge as a client of other hosts: of its own service, and of Docker's where that is installed.

mod connections;
mod daemon;
mod life;
mod looking;
mod only_here;
mod transfer;
mod ways;

use std::ffi::OsStr;

use super::support::process::Invocation;
use super::support::service::Served;
use super::support::{Barge, Output};

/// A store, and its service as another host.
struct There<'a> {
    barge: &'a Barge,
    served: Served<'a>,
}

impl<'a> There<'a> {
    fn new(barge: &'a Barge) -> Self {
        Self { barge, served: Served::start(barge) }
    }

    /// Prepares a command line that follows `barge --host …`.
    fn command<S: AsRef<OsStr>>(&self, line: impl IntoIterator<Item = S>) -> Invocation {
        let url = format!("unix://{}", self.served.socket());
        let mut words: Vec<_> = vec!["--host".into(), url.into()];
        words.extend(line.into_iter().map(|word| word.as_ref().to_owned()));
        self.barge.bare_command(words)
    }

    /// Runs it.
    fn run<S: AsRef<OsStr>>(&self, line: impl IntoIterator<Item = S>) -> Output {
        self.command(line).run()
    }
}
