//! The command line: parse flags, make one engine call, print.

mod exit;
mod flags;
mod global;
mod help;
mod listing;
mod output;
mod parse;
mod request;
mod table;
mod template;
mod tree;

mod completion;
mod images;
mod version;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Command;

use crate::error::Result;
use exit::Status;
use global::Global;
use output::Output;
use tree::{Group, Node, group, verb};

/// All commands, in the order in which help shows them.
const COMMANDS: Group = group(
    &["barge"],
    "Run containers without a daemon",
    &[
        verb::<completion::Completion>(&["completion"], "SHELL"),
        verb::<version::Version>(&["version"], ""),
    ],
);

/// What a command works on.
pub(crate) struct World {
    /// Standard output.
    pub(crate) out: Output,
    /// Flags before the command.
    pub(crate) global: Global,
}

/// Runs the command line of this process; returns how it ends.
pub fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    let mut world = World { out: Output::default(), global: Global::default() };
    let result = run(words, &mut world);
    // What was printed before a failure was asked for, and comes first.
    let flushed = world.out.flush();
    if world.out.reader_gone() {
        return Status::PIPE.into();
    }
    match result.and_then(|status| flushed.map(|()| status)) {
        Ok(status) => status.into(),
        Err(error) => {
            output::error(&error);
            Status::of_error(&error).into()
        }
    }
}

fn run(words: Vec<OsString>, world: &mut World) -> Result<Status> {
    let words = match global::parse(words)? {
        global::Parsed::Help => vec![OsString::from("--help")],
        global::Parsed::Flags(global, words) => {
            world.global = global;
            words
        }
    };
    if let Some(text) = world.global.bad_level() {
        output::note(&text);
        return Ok(Status::NO);
    }
    if world.global.version {
        world.out.line(&format!("barge version {}", env!("CARGO_PKG_VERSION")))?;
        return Ok(Status::SUCCESS);
    }
    COMMANDS.dispatch("barge", words, world)
}

/// Builds the definition of the whole command line, for man pages and completions.
pub fn definition() -> Command {
    let nodes = COMMANDS.nodes.iter().map(|node: &Node| node.define("barge"));
    global::define(Command::new("barge")).about(COMMANDS.about).subcommands(nodes)
}
