//! What somebody can ask of a Dockerfile: which stages it has, and what can be given to one of them.

use super::{Dockerfile, Instruction, RunMountKind, Stage, Step, word};

/// A stage that can be built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Whether it is built if none is named.
    pub is_default: bool,
    /// What the comment above it says, if that begins with its name.
    pub description: Option<String>,
    /// What it builds on, as it is written.
    pub base: String,
}

/// What can be given to the build of a stage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outline {
    /// The stage's name.
    pub name: Option<String>,
    /// What the comment above it says, if that begins with its name.
    pub description: Option<String>,
    /// Variables.
    pub args: Vec<OutlineArg>,
    /// Secrets, and whether the build fails without.
    pub secrets: Vec<(String, bool)>,
    /// SSH agents, and whether the build fails without.
    pub agents: Vec<(String, bool)>,
}

/// A variable that can be given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutlineArg {
    /// Its name.
    pub name: String,
    /// Its value, if nothing is given.
    pub value: Option<String>,
    /// What the comment above it says, if that begins with its name.
    pub description: Option<String>,
}

impl Dockerfile {
    /// Returns the stages that have a name, and the last one. The text is that which this was parsed from.
    pub fn targets(&self, text: &str) -> Vec<Target> {
        let last = self.stages.len().saturating_sub(1);
        let stages = self.stages.iter().enumerate();
        let target = |(number, stage): (usize, &Stage)| Target {
            name: stage.name.clone(),
            is_default: number == last,
            description: described(text, stage.line, stage.name.as_deref()),
            base: stage.base.clone(),
        };
        stages
            .filter(|(number, stage)| stage.name.is_some() || *number == last)
            .map(target)
            .collect()
    }

    /// Returns what can be given to the build of a stage. The text is that which this was parsed from.
    pub fn outline(&self, text: &str, target: usize) -> Outline {
        let stage = &self.stages[target];
        let mut outline = Outline {
            name: stage.name.clone(),
            description: described(text, stage.line, stage.name.as_deref()),
            ..Outline::default()
        };
        let needed = self.needed(target);
        outline.add_args(self, text, &self.global_args);
        for number in needed {
            let steps = &self.stages[number].steps;
            outline.add_args(self, text, steps);
            let runs = steps.iter().filter_map(|step| match &step.instruction {
                Instruction::Run(run) => Some(&run.mounts),
                _ => None,
            });
            for mount in runs.flatten() {
                let id = mount
                    .id
                    .clone()
                    .or_else(|| mount.source.clone())
                    .or_else(|| mount.target.as_ref()?.rsplit('/').next().map(str::to_owned));
                let known = match mount.kind {
                    RunMountKind::Secret => &mut outline.secrets,
                    RunMountKind::Ssh => &mut outline.agents,
                    _ => continue,
                };
                let id = id.unwrap_or_else(|| "default".to_owned());
                match known.iter_mut().find(|(name, _)| *name == id) {
                    Some((_, required)) => *required |= mount.required,
                    None => known.push((id, mount.required)),
                }
            }
        }
        outline
    }

    /// Returns a stage and those that it needs, as far as it can be told, in their order.
    fn needed(&self, target: usize) -> Vec<usize> {
        let (mut needed, mut at) = (vec![target], 0);
        while let Some(&number) = needed.get(at) {
            let stage = &self.stages[number];
            let mut names = vec![&stage.base];
            for step in &stage.steps {
                match &step.instruction {
                    Instruction::Copy(copy) => names.extend(&copy.flags.from),
                    Instruction::Run(run) => {
                        names.extend(run.mounts.iter().filter_map(|mount| mount.from.as_ref()));
                    }
                    _ => {}
                }
            }
            for other in names.iter().filter_map(|name| self.stage(name, number)) {
                if !needed.contains(&other) {
                    needed.push(other);
                }
            }
            at += 1;
        }
        needed.sort_unstable();
        needed
    }
}

impl Outline {
    fn add_args(&mut self, file: &Dockerfile, text: &str, steps: &[Step]) {
        for step in steps {
            let Instruction::Arg(args) = &step.instruction else { continue };
            for (name, value) in args {
                if self.args.iter().any(|known| known.name == *name) {
                    continue;
                }
                let known =
                    |name: &str| self.args.iter().find(|known| known.name == name)?.value.clone();
                let expand = |value: &String| {
                    word::expand(value, file.directives.escape, &known).unwrap_or(value.clone())
                };
                self.args.push(OutlineArg {
                    name: name.clone(),
                    value: value.as_ref().map(expand),
                    description: described(text, step.line, Some(name)),
                });
            }
        }
    }
}

/// Returns what the comment above a line says of a name that it begins with.
fn described(text: &str, line: usize, name: Option<&str>) -> Option<String> {
    let above = text.lines().nth(line.checked_sub(2)?)?.trim().strip_prefix('#')?.trim();
    let (first, rest) = above.split_once(char::is_whitespace)?;
    first.eq_ignore_ascii_case(name?).then(|| rest.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# V is the version\nARG V=1\nARG W=$V.0 U\n# base what all have\nFROM x:$W AS base\n\
        RUN --mount=type=secret,id=s --mount=type=ssh true\nFROM y AS other\nARG O=1\n\
        # last is wanted\nFROM base AS last\n# not the name\nARG L=l\nARG V\nCOPY --from=2 / /\n\
        RUN --mount=type=secret,id=s,required --mount=type=secret,target=/a/t true\nFROM z\n";

    #[test]
    fn tells_what_can_be_asked() {
        let file = Dockerfile::parse("Dockerfile", TEXT).unwrap();
        let targets = file.targets(TEXT);
        let shown: Vec<_> = targets
            .iter()
            .map(|it| (it.name.as_deref(), it.is_default, it.description.as_deref()))
            .collect();
        let want = [
            (Some("base"), false, Some("what all have")),
            (Some("other"), false, None),
            (Some("last"), false, Some("is wanted")),
            (None, true, None),
        ];
        assert_eq!(shown, want);
        let outline = file.outline(TEXT, 2);
        let args: Vec<_> = outline
            .args
            .iter()
            .map(|it| (it.name.as_str(), it.value.as_deref(), it.description.as_deref()))
            .collect();
        let want = [
            ("V", Some("1"), Some("is the version")),
            ("W", Some("1.0"), None),
            ("U", None, None),
            ("L", Some("l"), None),
        ];
        assert_eq!(args, want);
        let secrets = [("s".to_owned(), true), ("t".to_owned(), false)];
        assert_eq!(outline.secrets, secrets);
        assert_eq!(outline.agents, [("default".to_owned(), false)]);
        assert_eq!(file.outline(TEXT, 3).args.len(), 3);
    }
}
