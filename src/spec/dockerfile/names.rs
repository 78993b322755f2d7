//! Checks of names and variables, by the names that they have in BuildKit.

use super::lint::Lint;
use super::{Dockerfile, Instruction, Stage, word};
use crate::spec::closest::closest;
use crate::spec::reference::Reference;

/// Variables that `ARG` declares without a value.
const PREDEFINED: [&str; 10] = [
    "BUILDPLATFORM",
    "BUILDOS",
    "BUILDOSVERSION",
    "BUILDARCH",
    "BUILDVARIANT",
    "TARGETPLATFORM",
    "TARGETOS",
    "TARGETOSVERSION",
    "TARGETARCH",
    "TARGETVARIANT",
];

/// Variables that most images have.
const USUAL: [&str; 2] = ["PATH", "HOME"];

pub(super) fn lints(file: &Dockerfile) -> Vec<Lint> {
    let mut lints = Vec::new();
    let mut known_by: Vec<Vec<&str>> = Vec::new();
    for (number, stage) in file.stages.iter().enumerate() {
        lints.extend(of_from(file, stage).into_iter().map(|(rule, message)| Lint {
            rule,
            line: stage.line,
            message,
        }));
        // A stage has the variables of the one that it begins with.
        let base = file.stages[..number]
            .iter()
            .rposition(|other| other.name.as_deref() == Some(&*stage.base.to_lowercase()));
        let inherited = base.map(|base| known_by[base].clone()).unwrap_or_default();
        known_by.push(of_steps(file, stage, inherited, &mut lints));
    }
    lints
}

/// Checks `FROM`.
fn of_from(file: &Dockerfile, stage: &Stage) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    let words: Vec<&str> = stage.text.split_whitespace().collect();
    if let [from, .., word, name] = words.as_slice()
        && word.eq_ignore_ascii_case("as")
    {
        let is_small = |word: &str| word.chars().all(|letter| !letter.is_uppercase());
        if !is_small(name) {
            found.push(("StageNameCasing", format!("Stage name '{name}' should be lowercase")));
        }
        if is_small(from) != is_small(word) {
            found.push((
                "FromAsCasing",
                format!("'{word}' and '{from}' keywords' casing do not match"),
            ));
        }
    }
    let declared = |name: &str| {
        file.global_args.iter().find_map(|step| match &step.instruction {
            Instruction::Arg(args) => args.iter().find(|(arg, _)| arg == name),
            _ => None,
        })
    };
    let is_known = |name: &&str| PREDEFINED.contains(name) || declared(name).is_some();
    let platform = stage.platform.as_deref().unwrap_or_default();
    for name in used(&stage.base).into_iter().chain(used(platform)).filter(|it| !is_known(it)) {
        found.push(("UndefinedArgInFrom", format!("FROM argument '{name}' is not declared")));
    }
    if matches!(platform, "$TARGETPLATFORM" | "${TARGETPLATFORM}") {
        found.push((
            "RedundantTargetPlatform",
            format!(
                "Setting platform to predefined {platform} in FROM is redundant as this is the default behavior"
            ),
        ));
    }
    if !platform.is_empty() && !platform.contains('$') {
        found.push((
            "FromPlatformFlagConstDisallowed",
            format!("FROM --platform flag should not use constant value \"{platform}\""),
        ));
    }
    if used(&stage.base).iter().any(|name| declared(name).is_some()) {
        let value = |name: &str| declared(name).and_then(|(_, value)| value.clone());
        let base = word::expand(&stage.base, file.directives.escape, &value);
        if base.is_ok_and(|base| Reference::local(&base).is_err()) {
            found.push((
                "InvalidDefaultArgInFrom",
                format!(
                    "Default value for ARG {} results in empty or invalid base image name",
                    stage.base
                ),
            ));
        }
    }
    found
}

/// Checks what follows; returns the variables that are known at its end.
fn of_steps<'a>(
    file: &'a Dockerfile,
    stage: &'a Stage,
    inherited: Vec<&'a str>,
    lints: &mut Vec<Lint>,
) -> Vec<&'a str> {
    let mut known = inherited;
    // What an image has that is not looked at is not known.
    let is_all = stage.base == "scratch";
    let globals = file.global_args.iter().flat_map(|step| match &step.instruction {
        Instruction::Arg(args) => args.as_slice(),
        _ => &[],
    });
    let globals: Vec<&str> = globals.map(|(name, _)| name.as_str()).collect();
    for step in &stage.steps {
        let mut add = |rule, message| lints.push(Lint { rule, line: step.line, message });
        if let Instruction::Expose(ports) = &step.instruction {
            for port in ports.iter().filter(|port| !port.contains('$')) {
                if port.contains(':') {
                    add(
                        "ExposeInvalidFormat",
                        format!(
                            "EXPOSE instruction should not define an IP address or host-port mapping, found '{port}'"
                        ),
                    );
                } else if *port != port.to_lowercase() {
                    add(
                        "ExposeProtoCasing",
                        format!(
                            "Defined protocol '{port}' in EXPOSE instruction should be lowercase"
                        ),
                    );
                }
            }
        }
        let is_expanded = !matches!(
            step.instruction,
            Instruction::Run(_)
                | Instruction::Cmd(_)
                | Instruction::Entrypoint(_)
                | Instruction::Healthcheck(_)
                | Instruction::Shell(_)
                | Instruction::OnBuild(_)
        );
        for name in used(&step.text).into_iter().filter(|_| is_expanded) {
            if known.contains(&name) || USUAL.contains(&name) {
                continue;
            }
            let close = closest(name, known.iter().copied());
            let is_forgotten = PREDEFINED.contains(&name) || globals.contains(&name);
            if is_all || is_forgotten || close.is_some() {
                let hint =
                    close.map_or(String::new(), |close| format!(" (did you mean ${close}?)"));
                add("UndefinedVar", format!("Usage of undefined variable '${name}'{hint}"));
            }
        }
        match &step.instruction {
            Instruction::Arg(args) => known.extend(args.iter().map(|(name, _)| name.as_str())),
            Instruction::Env(pairs) => known.extend(pairs.iter().map(|pair| pair.key.as_str())),
            _ => {}
        }
    }
    known
}

/// Returns the variables that a text uses and that are nothing without a value.
fn used(text: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let (mut quoted, mut letters) = (false, text.char_indices());
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\\' => drop(letters.next()),
            '\'' => quoted = !quoted,
            '$' if !quoted => {
                let rest = &text[at + 1..];
                let inner = rest.strip_prefix('{').unwrap_or(rest);
                let end = inner.find(|it: char| !it.is_ascii_alphanumeric() && it != '_');
                let (name, after) = inner.split_at(end.unwrap_or(inner.len()));
                let is_plain = inner.len() == rest.len() || after.starts_with('}');
                if is_plain && !name.is_empty() && !name.starts_with(|it: char| it.is_numeric()) {
                    names.push(name);
                }
            }
            _ => {}
        }
    }
    names
}
