//! A Dockerfile, parsed: stages of instructions, as BuildKit reads them.
//!
//! [`Dockerfile::parse`] does all that can be done without knowing variables and files. What may
//! contain variables is kept as it was written; [`word`] replaces them when the step's turn comes.
//!
//! | file | job |
//! |---|---|
//! | `lines` | directives, comments, continued lines |
//! | `heredoc` | here-documents |
//! | `split` | flags, words and JSON within an instruction |
//! | `instruction` | instructions into types that cannot be wrong |
//! | `run_mount` | `RUN --mount` |
//! | `word` | quotes and variables |
//! | `lint` | what is allowed and not wise |

mod heredoc;
mod instruction;
mod lines;
mod lint;
mod names;
mod outline;
mod run_mount;
mod split;
#[cfg(test)]
mod tests;
pub mod word;

pub use heredoc::Heredoc;
pub use instruction::{
    Command, Copy, CopyFlags, HealthCommand, Instruction, Pair, Run, RunNetwork,
};
pub use lines::Directives;
pub use lint::Lint;
pub use outline::{Outline, OutlineArg, Target};
pub use run_mount::{Access, RunMount, RunMountKind};

use crate::error::{Error, Kind, Result};

/// A whole Dockerfile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dockerfile {
    /// What its head says.
    pub directives: Directives,
    /// `ARG` before the first stage.
    pub global_args: Vec<Step>,
    /// Its stages.
    pub stages: Vec<Stage>,
    /// What is allowed and not wise.
    pub lints: Vec<Lint>,
}

/// One `FROM` and what follows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// The line of `FROM`.
    pub line: usize,
    /// `FROM` as it is written.
    pub text: String,
    /// What it builds on, with variables.
    pub base: String,
    /// For which platform, with variables.
    pub platform: Option<String>,
    /// Its name, in small letters.
    pub name: Option<String>,
    /// What is done.
    pub steps: Vec<Step>,
}

/// One instruction and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Number of its first line.
    pub line: usize,
    /// The instruction as it is written, on one line.
    pub text: String,
    /// What it says.
    pub instruction: Instruction,
}

impl Dockerfile {
    /// Parses a Dockerfile; `name` is what errors call it.
    pub fn parse(name: &str, text: &str) -> Result<Self> {
        let (directives, logical) = lines::split(name, text)?;
        let mut file = Self {
            lints: lint::of_lines(&logical),
            directives,
            global_args: Vec::new(),
            stages: Vec::new(),
        };
        let escape = file.directives.escape;
        for it in &logical {
            let at = |why: String| problem(name, it.first, &it.text, &why);
            match instruction::parse(it, escape).map_err(at)? {
                instruction::Parsed::From(mut stage) => {
                    stage.line = it.first;
                    file.stages.push(stage);
                }
                instruction::Parsed::Step(instruction) => {
                    let step = Step { line: it.first, text: it.text.clone(), instruction };
                    match (file.stages.last_mut(), &step.instruction) {
                        (Some(stage), _) => stage.steps.push(step),
                        (None, Instruction::Arg(_)) => file.global_args.push(step),
                        (None, _) => {
                            return Err(at(
                                "no build stage in current context: expected FROM (or ARG) first"
                                    .to_owned(),
                            ));
                        }
                    }
                }
            }
        }
        if logical.is_empty() {
            return Err(Error::new(Kind::Invalid, format!("{name}: file with no instructions"))
                .hint("a Dockerfile begins with FROM"));
        }
        if file.stages.is_empty() {
            return Err(Error::new(
                Kind::Invalid,
                format!("{name}: no build stage: expected FROM"),
            )
            .hint("a stage begins with FROM IMAGE"));
        }
        file.lints.extend(lint::of_file(&file));
        file.lints.extend(names::lints(&file));
        file.lints.sort_by_key(|lint| lint.line);
        Ok(file)
    }

    /// Returns what is allowed and not wise, but for what the file says is meant so.
    pub fn wanted_lints(&self) -> impl Iterator<Item = &Lint> {
        let skipped = self.directives.check.as_deref().unwrap_or_default();
        let skipped: Vec<&str> = skipped
            .split(';')
            .filter_map(|word| word.trim().strip_prefix("skip="))
            .flat_map(|rules| rules.split(','))
            .map(str::trim)
            .collect();
        let is_wanted =
            move |lint: &&Lint| !skipped.iter().any(|rule| *rule == "all" || *rule == lint.rule);
        self.lints.iter().filter(is_wanted)
    }

    /// Tells whether a build is to fail for what is not wise.
    pub fn lints_are_errors(&self) -> bool {
        let check = self.directives.check.as_deref().unwrap_or_default();
        check.split(';').any(|word| word.trim() == "error=true")
    }

    /// Finds a stage by its name or number, among the first `before`.
    pub fn stage(&self, name: &str, before: usize) -> Option<usize> {
        let wanted = name.to_lowercase();
        let before = before.min(self.stages.len());
        let named = self.stages[..before]
            .iter()
            .rposition(|stage| stage.name.as_deref() == Some(wanted.as_str()));
        named.or_else(|| name.parse().ok().filter(|number| *number < before))
    }
}

/// Parses an instruction that an image has for builds that start from it.
pub fn parse_trigger(text: &str) -> Result<Step> {
    let name = "ONBUILD";
    let (directives, logical) = lines::split(name, text)?;
    let [it] = logical.as_slice() else {
        return Err(Error::new(Kind::Invalid, format!("invalid ONBUILD trigger `{text}`")));
    };
    match instruction::parse(it, directives.escape) {
        Ok(instruction::Parsed::Step(instruction)) => {
            Ok(Step { line: 0, text: it.text.clone(), instruction })
        }
        Ok(instruction::Parsed::From(_)) => {
            Err(problem(name, 1, &it.text, "FROM isn't allowed as an ONBUILD trigger"))
        }
        Err(why) => Err(problem(name, 1, &it.text, &why)),
    }
}

/// Longer lines are cut where they are shown.
const LONGEST_SHOWN: usize = 120;

/// Returns an error that shows the place.
pub fn problem(name: &str, line: usize, text: &str, why: &str) -> Error {
    let mut shown: String = text.chars().take(LONGEST_SHOWN).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    Error::new(Kind::Invalid, format!("{name}:{line}: {why}\n{line:>6} | {shown}"))
}
