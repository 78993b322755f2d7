//! What steps are called: as BuildKit does, which counts those only that may make a layer.

use crate::build::StepName;
use crate::spec::dockerfile::{Command, Dockerfile, Instruction, Stage};

/// The steps of a Dockerfile.
pub(super) struct Steps {
    file: Dockerfile,
}

/// A step that is shown.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shown {
    /// What tells it apart from others of the build.
    pub(super) key: String,
    /// Its name for people, as in `[build 2/3] RUN make`.
    pub(super) name: String,
    /// Its first line in the Dockerfile; 0 if it comes from a base image.
    pub(super) line: usize,
}

impl Steps {
    pub(super) fn new(file: Dockerfile) -> Self {
        Self { file }
    }

    /// Returns how a step is shown; `None` if it is not.
    pub(super) fn shown(&self, step: &StepName) -> Option<Shown> {
        let stage = self.file.stages.get(step.stage)?;
        let platform = step.platform.clone().unwrap_or_default();
        let key = format!("{platform} {} {}", step.stage, step.number);
        // Those that the base image wants to be done come first.
        let added = step.count.saturating_sub(1 + stage.steps.len());
        let first = usize::from(self.is_image(step.stage));
        let (index, line) = match step.number {
            1 if first == 0 => return None,
            1 => (1, stage.line),
            number if number - 2 < added => (first + number - 1, 0),
            number => {
                let own = number - 2 - added;
                let it = stage.steps.get(own)?;
                if !is_counted(&it.instruction) {
                    return None;
                }
                (first + added + count(&stage.steps[..=own]), it.line)
            }
        };
        let total = first + added + count(&stage.steps);
        let mut place = vec![platform, self.name_of(step.stage, stage)];
        place.push(format!("{index:>width$}/{total}", width = total.to_string().len()));
        place.retain(|word| !word.is_empty());
        Some(Shown { key, name: format!("[{}] {}", place.join(" "), step.text), line })
    }

    /// Returns the words of a command, on one line; `None` if the step is no command.
    pub(super) fn words(&self, step: &StepName) -> Option<String> {
        let stage = self.file.stages.get(step.stage)?;
        let added = step.count.saturating_sub(1 + stage.steps.len());
        let own = step.number.checked_sub(2 + added)?;
        let Instruction::Run(run) = &stage.steps.get(own)?.instruction else { return None };
        Some(match &run.command {
            Command::Shell(line) => format!("/bin/sh -c {line}"),
            Command::Exec(words) => words.join(" "),
        })
    }

    /// What a stage is called where there is anything to tell apart.
    fn name_of(&self, index: usize, stage: &Stage) -> String {
        match &stage.name {
            Some(name) => name.clone(),
            None if self.file.stages.len() > 1 => format!("stage-{index}"),
            None => String::new(),
        }
    }

    /// Tells whether a stage begins with an image.
    fn is_image(&self, index: usize) -> bool {
        let base = &self.file.stages[index].base;
        base != "scratch"
            && (self.file.stage(base, index).is_none() || base.parse::<usize>().is_ok())
    }
}

fn count(steps: &[crate::spec::dockerfile::Step]) -> usize {
    steps.iter().filter(|step| is_counted(&step.instruction)).count()
}

fn is_counted(instruction: &Instruction) -> bool {
    matches!(
        instruction,
        Instruction::Run(_) | Instruction::Copy(_) | Instruction::Add(_) | Instruction::Workdir(_)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(stage: usize, number: usize, count: usize, text: &str) -> StepName {
        StepName { stage, number, count, text: text.to_owned(), ..StepName::default() }
    }

    #[test]
    fn names_steps_as_buildkit_does() {
        let text = "FROM x AS build\nENV A=1\nRUN a\nFROM scratch\nCOPY --from=build a /\nFROM build\nWORKDIR /x\nUSER 1\n";
        let steps = Steps::new(Dockerfile::parse("Dockerfile", text).unwrap());
        let names = |step: &StepName| steps.shown(step).map(|it| (it.name, it.line));
        let some = |name: &str, line| Some((name.to_owned(), line));
        for (step, want) in [
            (step(0, 1, 3, "FROM x AS build"), some("[build 1/2] FROM x AS build", 1)),
            (step(0, 2, 3, "ENV A=1"), None),
            (step(0, 3, 3, "RUN a"), some("[build 2/2] RUN a", 3)),
            // One that the image brings along.
            (step(0, 2, 4, "RUN t"), some("[build 2/3] RUN t", 0)),
            (step(0, 4, 4, "RUN a"), some("[build 3/3] RUN a", 3)),
            (step(1, 1, 2, "FROM scratch"), None),
            (step(1, 2, 2, "COPY"), some("[stage-1 1/1] COPY", 5)),
            (step(2, 1, 3, "FROM build"), None),
            (step(2, 2, 3, "WORKDIR /x"), some("[stage-2 1/1] WORKDIR /x", 7)),
            (step(2, 3, 3, "USER 1"), None),
        ] {
            assert_eq!(names(&step), want, "{step:?}");
        }
        let alone = Steps::new(Dockerfile::parse("Dockerfile", "FROM x\nRUN a\n").unwrap());
        let failed = step(0, 2, 2, "RUN a");
        assert_eq!(alone.words(&failed).as_deref(), Some("/bin/sh -c a"));
        assert_eq!(alone.words(&step(0, 1, 2, "FROM x")), None);
        assert_eq!(alone.shown(&step(0, 2, 2, "RUN a")).unwrap().name, "[2/2] RUN a");
    }
}
