//! `barge completion`

use clap::{Args, ValueEnum};

use super::World;
use super::exit::Status;
use super::tree::Act;
use crate::error::Result;

/// Print a completion script for a shell
#[derive(Args, Debug)]
pub(crate) struct Completion {
    /// Shell to write it for
    #[arg(value_enum)]
    shell: Shell,
}

/// A shell that can complete our commands.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shell {
    /// Bash.
    Bash,
    /// Fish.
    Fish,
    /// Z shell.
    Zsh,
}

impl Act for Completion {
    fn act(self, world: &mut World) -> Result<Status> {
        let shell = match self.shell {
            Shell::Bash => clap_complete::Shell::Bash,
            Shell::Fish => clap_complete::Shell::Fish,
            Shell::Zsh => clap_complete::Shell::Zsh,
        };
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut super::definition(), "barge", &mut script);
        world.out.bytes(&script)?;
        Ok(Status::SUCCESS)
    }
}
