//! Descriptors that the user passes on to a process in a container.

use std::collections::BTreeSet;

use clap::Args;

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
    /// Takes the descriptors over.
    pub(in crate::cmd) fn take(&self) -> Result<Vec<Passed>> {
        let counted = 3..3 + self.preserve_fds;
        let numbers: BTreeSet<i32> = counted.chain(self.preserve_fd.iter().copied()).collect();
        let take = |number| passed(number).ok_or_else(|| not_there(number));
        numbers.into_iter().map(take).collect()
    }
}

fn not_there(number: i32) -> Error {
    let message = format!("file descriptor {number} is not available");
    Error::new(Kind::Invalid, format!("{message}: --preserve-fds passes on what is open here"))
        .hint(format!("open it first, as a shell does with `{number}<FILE`"))
}
