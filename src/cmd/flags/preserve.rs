//! Descriptors that the user passes on to a process in a container.

use std::collections::BTreeSet;

use clap::Args;

use crate::engine::Passing;
use crate::error::{Error, Kind, Result};
use crate::sys::process::{Passed, passed};

/// Which of our descriptors the process gets.
#[derive(Args, Debug)]
pub(in crate::cmd) struct PreserveFlags {
    /// Pass these descriptors on, under their numbers
    #[arg(long, value_name = "NUMBER", value_delimiter = ',', value_parser = clap::value_parser!(i32).range(3..=MOST))]
    preserve_fd: Vec<i32>,
    /// Pass this many descriptors on, from 3 upwards
    #[arg(long, value_name = "COUNT", default_value_t = 0, hide_default_value = true, value_parser = clap::value_parser!(i32).range(0..=MOST - 2))]
    preserve_fds: i32,
}

/// The highest number: what processes may have open without asking for more.
const MOST: i64 = 1000;

impl PreserveFlags {
    /// Tells whether any are to be passed on.
    pub(in crate::cmd) fn is_asked(&self) -> bool {
        !self.preserve_fd.is_empty() || self.preserve_fds > 0
    }

    /// Takes the descriptors over.
    pub(in crate::cmd) fn take(&self) -> Result<Vec<Passed>> {
        self.take_after(0)
    }

    /// Takes the descriptors over, and before them the sockets that a service manager has made.
    pub(in crate::cmd) fn take_for_container(&self) -> Result<Passing> {
        let sockets = Sockets::passed();
        let files = self.take_after(sockets.count)?;
        Ok(Passing { files, env: sockets.variables() })
    }

    fn take_after(&self, sockets: i32) -> Result<Vec<Passed>> {
        let counted = 3..3 + sockets + self.preserve_fds;
        let numbers: BTreeSet<i32> = counted.chain(self.preserve_fd.iter().copied()).collect();
        let take = |number| passed(number).ok_or_else(|| not_there(number));
        numbers.into_iter().map(take).collect()
    }
}

/// Takes over the sockets that a service manager has made for a container.
pub(in crate::cmd) fn sockets() -> Result<Passing> {
    PreserveFlags { preserve_fd: Vec::new(), preserve_fds: 0 }.take_for_container()
}

/// The sockets that a service manager has made for us, as sd_listen_fds(3) says: from 3 upwards.
struct Sockets {
    count: i32,
    names: Option<String>,
}

impl Sockets {
    /// Looks for them in the environment. They may be meant for a process that has started us.
    fn passed() -> Self {
        let number = |name| std::env::var(name).ok()?.parse::<i32>().ok();
        let ours = number("LISTEN_PID") == Some(std::process::id().cast_signed());
        let count = number("LISTEN_FDS").filter(|_| ours).unwrap_or(0);
        let count = count.clamp(0, i32::try_from(MOST).unwrap_or(i32::MAX) - 2);
        Self { count, names: std::env::var("LISTEN_FDNAMES").ok() }
    }

    /// What the container's program is told of them; which process it is, it finds out itself.
    fn variables(&self) -> Vec<String> {
        if self.count == 0 {
            return Vec::new();
        }
        let mut variables = vec!["LISTEN_PID=1".to_owned(), format!("LISTEN_FDS={}", self.count)];
        variables.extend(self.names.iter().map(|names| format!("LISTEN_FDNAMES={names}")));
        variables
    }
}

fn not_there(number: i32) -> Error {
    let message = format!("file descriptor {number} is not available");
    Error::new(Kind::Invalid, format!("{message}: --preserve-fds passes on what is open here"))
        .hint(format!("open it first, as a shell does with `{number}<FILE`"))
}
