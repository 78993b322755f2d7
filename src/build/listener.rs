//! Who hears how a build goes on: commands that print it, and services that pass it on.

use std::path::PathBuf;

use crate::error::{Error, Result};

/// A step of a build, by its place.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct StepName {
    /// For which platform, if there are several.
    pub platform: Option<String>,
    /// Number of its stage, from 0.
    pub stage: usize,
    /// How many stages there are.
    pub stages: usize,
    /// What its stage is called.
    pub stage_name: Option<String>,
    /// Its number in the stage; 1 is `FROM`.
    pub number: usize,
    /// How many there are in the stage.
    pub count: usize,
    /// The instruction, on one line.
    pub text: String,
}

/// How a step has ended.
#[derive(Clone, Copy, Debug)]
pub enum StepEnd<'a> {
    /// It was done.
    Done,
    /// What it makes was there already.
    Cached,
    /// It failed, or was ended.
    Failed(&'a Error),
}

/// Who hears how a build goes on, and has what it asks for. Steps of several stages go on at once.
pub trait Listener: Sync {
    /// A step begins.
    fn begin(&self, step: &StepName);
    /// A line about a step: what became of it, for people.
    fn line(&self, step: &StepName, text: &str);
    /// Output of a step's command.
    fn output(&self, step: &StepName, bytes: &[u8]);
    /// A step has ended.
    fn end(&self, step: &StepName, end: StepEnd<'_>);
    /// Something that the user should know.
    fn warning(&self, text: &str);

    /// Leaves the terminal to somebody else as long as that takes.
    fn leave_terminal(&self, other: &mut dyn FnMut()) {
        other();
    }

    /// Returns a secret that the build's options do not have.
    fn secret(&self, _name: &str) -> Result<Option<Vec<u8>>> {
        Ok(None)
    }

    /// Returns the socket of an SSH agent that the build's options do not have.
    fn agent(&self, _name: &str) -> Result<Option<PathBuf>> {
        Ok(None)
    }
}
