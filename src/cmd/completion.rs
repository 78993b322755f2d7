//! `barge completion`

use clap::{Args, Command, ValueEnum};

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
    const IS_LOCAL: bool = true;

    fn act(self, world: &mut World) -> Result<Status> {
        let shell = match self.shell {
            Shell::Bash => clap_complete::Shell::Bash,
            Shell::Fish => clap_complete::Shell::Fish,
            Shell::Zsh => clap_complete::Shell::Zsh,
        };
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut super::definition(), "barge", &mut script);
        world.out.bytes(&script)?;
        if matches!(self.shell, Shell::Fish) {
            world.out.text(&deep(&super::definition()))?;
        }
        Ok(Status::SUCCESS)
    }
}

/// Writes for fish what its generator leaves out: the flags of commands below two words, as of
/// `system connection add`.
fn deep(definition: &Command) -> String {
    let mut text = String::new();
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('\'', "\\'");
    for group in definition.get_subcommands().flat_map(Command::get_subcommands) {
        for command in group.get_subcommands() {
            let seen = format!(
                "__fish_seen_subcommand_from {}; and __fish_seen_subcommand_from {}",
                group.get_name(),
                command.get_name()
            );
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            text.push_str(&format!(
                "complete -c barge -n \"__fish_seen_subcommand_from {}\" -f -a {} -d '{}'\n",
                group.get_name(),
                command.get_name(),
                quoted(&about)
            ));
            for arg in command.get_arguments().filter(|arg| !arg.is_positional()) {
                let mut line = format!("complete -c barge -n \"{seen}\"");
                line.extend(arg.get_short().map(|short| format!(" -s {short}")));
                line.extend(arg.get_long().map(|long| format!(" -l {long}")));
                let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
                line.push_str(&format!(" -d '{}'", quoted(&help)));
                line.push_str(if arg.get_action().takes_values() { " -r\n" } else { "\n" });
                text.push_str(&line);
            }
        }
    }
    text
}
