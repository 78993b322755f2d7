//! What is allowed and not wise: BuildKit's checks, by the names that they have there.

use super::lines::Logical;
use super::{Command, Dockerfile, Instruction};

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lint {
    /// The check's name.
    pub rule: &'static str,
    /// Number of the line.
    pub line: usize,
    /// What was found.
    pub message: String,
}

pub(super) fn of_lines(lines: &[Logical]) -> Vec<Lint> {
    let mut lints = Vec::new();
    let majority = Casing::of_majority(lines);
    let mut is_in_stage = false;
    for it in lines {
        let name = it.name();
        if it.has_empty_line {
            lints.push(Lint {
                rule: "NoEmptyContinuation",
                line: it.first,
                message: "empty continuation line".to_owned(),
            });
        }
        is_in_stage |= name.eq_ignore_ascii_case("FROM");
        if is_in_stage && Casing::of(name) != Some(majority) {
            let shown = match majority {
                Casing::Lower => "lowercase",
                Casing::Upper => "uppercase",
            };
            lints.push(Lint {
                rule: "ConsistentInstructionCasing",
                line: it.first,
                message: format!(
                    "Command '{name}' should match the case of the command majority ({shown})"
                ),
            });
        }
        let legacy = ["ENV", "LABEL"].iter().any(|one| name.eq_ignore_ascii_case(one))
            && !it.text.contains('=');
        if legacy {
            lints.push(Lint {
                rule: "LegacyKeyValueFormat",
                line: it.first,
                message: format!(
                    "\"{} key=value\" should be used instead of legacy \"key value\" format",
                    name.to_ascii_uppercase()
                ),
            });
        }
    }
    lints
}

/// How a name is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Casing {
    Lower,
    Upper,
}

impl Casing {
    /// `None` if it is neither.
    fn of(name: &str) -> Option<Self> {
        if !name.contains(|letter: char| letter.is_ascii_uppercase()) {
            Some(Self::Lower)
        } else if !name.contains(|letter: char| letter.is_ascii_lowercase()) {
            Some(Self::Upper)
        } else {
            None
        }
    }

    /// Returns how most instructions of stages are written.
    fn of_majority(lines: &[Logical]) -> Self {
        let names = lines.iter().map(Logical::name);
        let in_stages = names.skip_while(|name| !name.eq_ignore_ascii_case("FROM"));
        let (mut lower, mut upper) = (0, 0);
        for casing in in_stages.filter_map(Self::of) {
            match casing {
                Self::Lower => lower += 1,
                Self::Upper => upper += 1,
            }
        }
        if lower > upper { Self::Lower } else { Self::Upper }
    }
}

pub(super) fn of_file(file: &Dockerfile) -> Vec<Lint> {
    let mut lints = Vec::new();
    for (number, stage) in file.stages.iter().enumerate() {
        let mut add = |rule, line, message| lints.push(Lint { rule, line, message });
        if let Some(name) = &stage.name {
            if file.stages[..number].iter().any(|other| other.name.as_ref() == Some(name)) {
                add(
                    "DuplicateStageName",
                    stage.line,
                    format!("duplicate stage name \"{name}\", stage names should be unique"),
                );
            }
            if matches!(name.as_str(), "scratch" | "context") {
                add(
                    "ReservedStageName",
                    stage.line,
                    format!("stage name should not use the same name as reserved stage \"{name}\""),
                );
            }
        }
        let (mut commands, mut entrypoints, mut checks) = (0, 0, 0);
        // Who has said which shell it is means it.
        let has_shell =
            stage.steps.iter().any(|it| matches!(it.instruction, Instruction::Shell(_)));
        for step in &stage.steps {
            let shell_form = |command: &Command| matches!(command, Command::Shell(_)) && !has_shell;
            match &step.instruction {
                Instruction::Cmd(command) => {
                    commands += 1;
                    if shell_form(command) {
                        add("JSONArgsRecommended", step.line, "JSON arguments recommended for CMD to prevent unintended behavior related to OS signals".to_owned());
                    }
                }
                Instruction::Entrypoint(command) => {
                    entrypoints += 1;
                    if shell_form(command) {
                        add("JSONArgsRecommended", step.line, "JSON arguments recommended for ENTRYPOINT to prevent unintended behavior related to OS signals".to_owned());
                    }
                }
                Instruction::Healthcheck(_) => checks += 1,
                Instruction::Maintainer(_) => add(
                    "MaintainerDeprecated",
                    step.line,
                    "Maintainer instruction is deprecated in favor of using label".to_owned(),
                ),
                Instruction::Workdir(path) if !path.starts_with(['/', '$', '"', '\'']) => add(
                    "WorkdirRelativePath",
                    step.line,
                    format!(
                        "Relative workdir \"{path}\" can have unexpected results if the base image changes"
                    ),
                ),
                Instruction::Env(pairs) => {
                    for pair in pairs.iter().filter(|pair| is_secret(&pair.key)) {
                        add(
                            "SecretsUsedInArgOrEnv",
                            step.line,
                            format!(
                                "Do not use ARG or ENV instructions for sensitive data (ENV \"{}\")",
                                pair.key
                            ),
                        );
                    }
                }
                Instruction::Arg(pairs) => {
                    for (key, _) in pairs.iter().filter(|(key, _)| is_secret(key)) {
                        add(
                            "SecretsUsedInArgOrEnv",
                            step.line,
                            format!(
                                "Do not use ARG or ENV instructions for sensitive data (ARG \"{key}\")"
                            ),
                        );
                    }
                }
                _ => {}
            }
        }
        for (count, name) in
            [(commands, "CMD"), (entrypoints, "ENTRYPOINT"), (checks, "HEALTHCHECK")]
        {
            if count > 1 {
                add(
                    "MultipleInstructionsDisallowed",
                    stage.line,
                    format!(
                        "Multiple {name} instructions should not be used in the same stage because only the last one will be used"
                    ),
                );
            }
        }
    }
    lints
}

fn is_secret(name: &str) -> bool {
    const WORDS: [&str; 8] =
        ["apikey", "auth", "credential", "credentials", "key", "password", "pword", "passwd"];
    let name = name.to_ascii_lowercase();
    let mut words = name.split('_');
    words.any(|word| WORDS.contains(&word) || matches!(word, "secret" | "token"))
        && !name.contains("public")
}
