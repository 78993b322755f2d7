//! Instructions, from text into types.

use std::time::Duration;

use super::Stage;
use super::heredoc::{self, Heredoc};
use super::lines::Logical;
use super::run_mount::{RunMount, boolean};
use super::split::{self, NotJson};
use crate::spec::closest::closest;
use crate::spec::duration;
use crate::spec::image::Healthcheck;

/// What a stage does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Instruction {
    /// Declares variables of the build, with or without a value.
    Arg(Vec<(String, Option<String>)>),
    /// Adds files, unpacks archives, fetches.
    Add(Copy),
    /// Says what is run, unless somebody says otherwise.
    Cmd(Command),
    /// Adds files.
    Copy(Copy),
    /// Says what is run.
    Entrypoint(Command),
    /// Sets variables.
    Env(Vec<Pair>),
    /// Declares ports.
    Expose(Vec<String>),
    /// Says how health is probed.
    Healthcheck(Healthcheck),
    /// Sets labels.
    Label(Vec<Pair>),
    /// Says who made it.
    Maintainer(String),
    /// Keeps an instruction for builds that start from the image.
    OnBuild(String),
    /// Runs a command.
    Run(Run),
    /// Says what runs commands that are not lists.
    Shell(Vec<String>),
    /// Says which signal asks it to stop.
    StopSignal(String),
    /// Says who runs it.
    User(String),
    /// Declares directories that outlive containers.
    Volume(Vec<String>),
    /// Sets the working directory.
    Workdir(String),
}

/// A name and a value, with variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The name.
    pub key: String,
    /// The value.
    pub value: String,
}

/// A command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// A line for the shell.
    Shell(String),
    /// Words.
    Exec(Vec<String>),
}

/// How a health check is written.
pub type HealthCommand = Command;

/// `RUN`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// What is run.
    pub command: Command,
    /// Documents in it.
    pub heredocs: Vec<Heredoc>,
    /// What is mounted meanwhile.
    pub mounts: Vec<RunMount>,
    /// Which network it has.
    pub network: RunNetwork,
    /// Whether nothing is kept from it.
    pub insecure: bool,
}

/// Which network a command has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RunNetwork {
    /// That of the build.
    #[default]
    Default,
    /// None.
    None,
    /// The machine's.
    Host,
}

/// `COPY` and `ADD`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    /// What is copied, with variables.
    pub sources: Vec<String>,
    /// Files that are written in the Dockerfile.
    pub documents: Vec<Heredoc>,
    /// Where to, with variables.
    pub target: String,
    /// How.
    pub flags: CopyFlags,
}

/// How files are copied.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CopyFlags {
    /// The stage, image or context that they come from.
    pub from: Option<String>,
    /// Their owner.
    pub chown: Option<String>,
    /// Their permission bits.
    pub chmod: Option<String>,
    /// Whether they do not depend on what is below.
    pub link: bool,
    /// Whether the directories above them come along.
    pub parents: bool,
    /// Patterns of files that are left out.
    pub exclude: Vec<String>,
    /// Digest that something fetched must have.
    pub checksum: Option<String>,
    /// Whether `.git` stays.
    pub keep_git_dir: bool,
    /// Whether archives are unpacked.
    pub unpack: Option<bool>,
}

pub(super) enum Parsed {
    From(Stage),
    Step(Instruction),
}

const NAMES: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

pub(super) fn parse(it: &Logical, escape: char) -> Result<Parsed, String> {
    let (name, flags, rest) = split::command(&it.text);
    let mut flags = Flags { name: name.to_ascii_uppercase(), given: flags };
    let name = flags.name.clone();
    let pairs = || pairs(&name, rest, escape);
    let instruction = match name.as_str() {
        "FROM" => {
            let platform = flags.text("platform")?;
            flags.end()?;
            return from(&it.text, rest, platform).map(Parsed::From);
        }
        "ARG" => Instruction::Arg(args(rest, escape)?),
        "ENV" => Instruction::Env(pairs()?),
        "LABEL" => Instruction::Label(pairs()?),
        "RUN" => Instruction::Run(run(&mut flags, rest, &it.heredocs)?),
        "COPY" => Instruction::Copy(copy(&mut flags, rest, &it.heredocs)?),
        "ADD" => Instruction::Add(copy(&mut flags, rest, &it.heredocs)?),
        "CMD" => Instruction::Cmd(command(&name, rest)?),
        "ENTRYPOINT" => Instruction::Entrypoint(command(&name, rest)?),
        "EXPOSE" => Instruction::Expose(some(&name, split::blanks(rest))?),
        "VOLUME" => Instruction::Volume(volumes(rest)?),
        "USER" => Instruction::User(one(&name, rest)?),
        "WORKDIR" => Instruction::Workdir(one(&name, rest)?),
        "STOPSIGNAL" => Instruction::StopSignal(one(&name, rest)?),
        "MAINTAINER" => Instruction::Maintainer(one(&name, rest)?),
        "SHELL" => match split::json(rest) {
            Ok(words) if !words.is_empty() => Instruction::Shell(words),
            _ => return Err("SHELL requires the arguments to be in JSON form: expected SHELL [\"PROGRAM\", \"ARGUMENT\"]".to_owned()),
        },
        "HEALTHCHECK" => Instruction::Healthcheck(health_check(&mut flags, rest)?),
        "ONBUILD" => Instruction::OnBuild(on_build(it, rest)?),
        _ => {
            let suggestion = closest(&name, NAMES.into_iter())
                .map(|close| format!(" (did you mean {close}?)"))
                .unwrap_or_default();
            return Err(format!("unknown instruction: {name}{suggestion}"));
        }
    };
    flags.end()?;
    Ok(Parsed::Step(instruction))
}

/// The flags of an instruction that have not been asked for yet.
struct Flags {
    name: String,
    given: Vec<String>,
}

impl Flags {
    /// Takes all values of a flag.
    fn all(&mut self, name: &str) -> Vec<Option<String>> {
        let (mut found, mut rest) = (Vec::new(), Vec::new());
        for flag in std::mem::take(&mut self.given) {
            let (known, value) = match flag.split_once('=') {
                Some((known, value)) => (known, Some(value.to_owned())),
                None => (flag.as_str(), None),
            };
            if known.strip_prefix("--") == Some(name) {
                found.push(value);
            } else {
                rest.push(flag);
            }
        }
        self.given = rest;
        found
    }

    fn texts(&mut self, name: &str) -> Result<Vec<String>, String> {
        let all = self.all(name).into_iter();
        all.map(|value| value.ok_or_else(|| format!("missing a value on flag: {name}"))).collect()
    }

    /// Takes the last value of a flag.
    fn text(&mut self, name: &str) -> Result<Option<String>, String> {
        Ok(self.texts(name)?.pop())
    }

    /// Takes the value of a flag that may be given once only.
    fn single(&mut self, name: &str) -> Result<Option<String>, String> {
        let mut all = self.texts(name)?;
        let value = all.pop();
        if all.is_empty() { Ok(value) } else { Err(format!("duplicate flag specified: {name}")) }
    }

    fn truth(&mut self, name: &str) -> Result<Option<bool>, String> {
        let Some(value) = self.all(name).pop() else { return Ok(None) };
        let Some(value) = value else { return Ok(Some(true)) };
        let known = boolean(&value);
        known
            .map(Some)
            .ok_or_else(|| format!("expecting boolean value for flag {name}, not: {value}"))
    }

    fn end(&self) -> Result<(), String> {
        match self.given.first() {
            Some(flag) => {
                let name = flag.split('=').next().unwrap_or(flag);
                Err(format!("unknown flag: {name} of {}", self.name))
            }
            None => Ok(()),
        }
    }
}

fn from(text: &str, rest: &str, platform: Option<String>) -> Result<Stage, String> {
    let words = split::blanks(rest);
    let (base, name) = match words.as_slice() {
        [base] => (base, None),
        [base, word, name] if word.eq_ignore_ascii_case("as") => {
            let small = name.to_lowercase();
            let is_good = small.starts_with(|letter: char| letter.is_ascii_lowercase())
                && small
                    .chars()
                    .all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || "-_.".contains(it));
            if !is_good {
                return Err(format!(
                    "invalid name for build stage: \"{name}\", name can't start with a number or contain symbols"
                ));
            }
            (base, Some(small))
        }
        _ => {
            return Err(
                "FROM requires either one or three arguments: expected FROM IMAGE [AS NAME]"
                    .to_owned(),
            );
        }
    };
    Ok(Stage {
        line: 0,
        text: text.to_owned(),
        base: base.clone(),
        platform,
        name,
        steps: Vec::new(),
    })
}

fn some(name: &str, words: Vec<String>) -> Result<Vec<String>, String> {
    if words.is_empty() {
        return Err(format!("{name} requires at least one argument"));
    }
    Ok(words)
}

fn one(name: &str, rest: &str) -> Result<String, String> {
    if rest.is_empty() {
        return Err(format!("{name} requires exactly one argument"));
    }
    Ok(rest.to_owned())
}

fn command(name: &str, rest: &str) -> Result<Command, String> {
    match split::json(rest) {
        Ok(words) => Ok(Command::Exec(words)),
        Err(NotJson::NotStrings) => Err(not_strings(name)),
        Err(NotJson::Other) => Ok(Command::Shell(rest.to_owned())),
    }
}

fn not_strings(name: &str) -> String {
    format!("{name}: when using JSON array syntax, arrays must be comprised of strings only")
}

fn args(rest: &str, escape: char) -> Result<Vec<(String, Option<String>)>, String> {
    let words = some("ARG", split::words(rest, escape))?;
    let parse = |word: String| match word.split_once('=') {
        Some(("", _)) => Err("ARG names can not be blank".to_owned()),
        Some((name, value)) => Ok((name.to_owned(), Some(value.to_owned()))),
        None => Ok((word, None)),
    };
    words.into_iter().map(parse).collect()
}

fn pairs(name: &str, rest: &str, escape: char) -> Result<Vec<Pair>, String> {
    let words = some(name, split::words(rest, escape))?;
    if !words[0].contains('=') {
        let Some((key, value)) = rest.split_once(split::is_blank) else {
            return Err(format!("{name} must have two arguments: expected {name} NAME=VALUE"));
        };
        let value = value.trim_start_matches(split::is_blank);
        return Ok(vec![Pair { key: key.to_owned(), value: value.to_owned() }]);
    }
    let parse = |word: &String| match word.split_once('=') {
        Some(("", _)) => Err(format!("{name} names can not be blank")),
        Some((key, value)) => Ok(Pair { key: key.to_owned(), value: value.to_owned() }),
        None => Err(format!("can't find = in \"{word}\": expected NAME=VALUE")),
    };
    words.iter().map(parse).collect()
}

fn run(flags: &mut Flags, rest: &str, heredocs: &[Heredoc]) -> Result<Run, String> {
    let mounts = flags.texts("mount")?;
    let mounts = mounts.iter().map(|text| RunMount::parse(text)).collect::<Result<_, _>>()?;
    let network = match flags.single("network")?.as_deref() {
        None | Some("default") => RunNetwork::Default,
        Some("none") => RunNetwork::None,
        Some("host") => RunNetwork::Host,
        Some(other) => {
            return Err(format!(
                "unsupported network mode \"{other}\": expected default, none or host"
            ));
        }
    };
    let insecure = match flags.single("security")?.as_deref() {
        None | Some("sandbox") => false,
        Some("insecure") => true,
        Some(other) => {
            return Err(format!(
                "security mode \"{other}\" is not supported: expected sandbox or insecure"
            ));
        }
    };
    let command = command("RUN", rest)?;
    if command == Command::Shell(String::new()) {
        return Err("RUN requires at least one argument".to_owned());
    }
    if command == Command::Exec(Vec::new()) {
        return Err("RUN requires at least one argument".to_owned());
    }
    let heredocs = match &command {
        Command::Shell(_) => heredocs.to_vec(),
        Command::Exec(_) => Vec::new(),
    };
    Ok(Run { command, heredocs, mounts, network, insecure })
}

fn paths(name: &str, rest: &str) -> Result<Vec<String>, String> {
    match split::json(rest) {
        Ok(words) => Ok(words),
        Err(NotJson::NotStrings) => Err(not_strings(name)),
        Err(NotJson::Other) => Ok(split::blanks(rest)),
    }
}

fn copy(flags: &mut Flags, rest: &str, heredocs: &[Heredoc]) -> Result<Copy, String> {
    let name = flags.name.clone();
    let is_add = name == "ADD";
    let flags = CopyFlags {
        from: if is_add { None } else { flags.text("from")? },
        chown: flags.text("chown")?,
        chmod: flags.text("chmod")?,
        link: flags.truth("link")?.unwrap_or(false),
        parents: if is_add { false } else { flags.truth("parents")?.unwrap_or(false) },
        exclude: flags.texts("exclude")?,
        checksum: if is_add { flags.text("checksum")? } else { None },
        keep_git_dir: is_add && flags.truth("keep-git-dir")?.unwrap_or(false),
        unpack: if is_add { flags.truth("unpack")? } else { None },
    };
    let mut paths = paths(&name, rest)?;
    let target = paths.pop().filter(|_| !paths.is_empty()).ok_or_else(|| {
        format!("{name} requires at least two arguments: expected {name} SOURCE... TARGET")
    })?;
    if target.is_empty() || heredoc::parse(&target).is_some() {
        return Err(format!("{name} cannot have `{target}` as its target"));
    }
    let mut copy = Copy { sources: Vec::new(), documents: Vec::new(), target, flags };
    for path in paths {
        match heredoc::parse(&path) {
            Some(mark) => {
                copy.documents
                    .extend(heredocs.iter().find(|known| known.name == mark.name).cloned());
            }
            None => copy.sources.push(path),
        }
    }
    Ok(copy)
}

fn volumes(rest: &str) -> Result<Vec<String>, String> {
    let all = some("VOLUME", paths("VOLUME", rest)?)?;
    if all.iter().any(|path| path.trim().is_empty()) {
        return Err("VOLUME specified can not be an empty string".to_owned());
    }
    Ok(all)
}

fn health_check(flags: &mut Flags, rest: &str) -> Result<Healthcheck, String> {
    let (kind, rest) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let rest = rest.trim();
    let mut check = Healthcheck::default();
    match kind.to_ascii_uppercase().as_str() {
        "" => {
            return Err(
                "HEALTHCHECK requires at least one argument: expected CMD or NONE".to_owned()
            );
        }
        "NONE" if rest.is_empty() => {
            // As BuildKit, which does not look at them here.
            flags.given.clear();
            check.test = vec!["NONE".to_owned()];
        }
        "NONE" => return Err("HEALTHCHECK NONE takes no arguments".to_owned()),
        "CMD" => {
            check.test = match command("HEALTHCHECK", rest)? {
                Command::Exec(words) if words.is_empty() => {
                    return Err("missing command after HEALTHCHECK CMD".to_owned());
                }
                Command::Exec(words) => std::iter::once("CMD".to_owned()).chain(words).collect(),
                Command::Shell(line) if line.is_empty() => {
                    return Err("missing command after HEALTHCHECK CMD".to_owned());
                }
                Command::Shell(line) => vec!["CMD-SHELL".to_owned(), line],
            };
            check.interval = time(flags, "interval")?;
            check.timeout = time(flags, "timeout")?;
            check.start_period = time(flags, "start-period")?;
            check.start_interval = time(flags, "start-interval")?;
            if let Some(text) = flags.text("retries")?.filter(|text| !text.is_empty()) {
                let retries: Option<u32> = text.parse().ok();
                check.retries = retries
                    .ok_or_else(|| format!("--retries must be a number from 0 (not {text})"))?
                    .into();
            }
        }
        other => {
            return Err(format!("unknown type \"{other}\" in HEALTHCHECK: expected CMD or NONE"));
        }
    }
    Ok(check)
}

fn time(flags: &mut Flags, name: &str) -> Result<i64, String> {
    let Some(text) = flags.text(name)?.filter(|text| !text.is_empty()) else { return Ok(0) };
    let time = duration::parse_go(&text).ok_or_else(|| {
        format!("invalid duration \"{text}\" of --{name}: expected numbers with units, as in 1m30s")
    })?;
    if !time.is_zero() && time < Duration::from_millis(1) {
        return Err(format!("--{name} cannot be less than 1ms"));
    }
    i64::try_from(time.as_nanos()).map_err(|_| format!("--{name} is too long"))
}

fn on_build(it: &Logical, rest: &str) -> Result<String, String> {
    let name = rest.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
    match name.as_str() {
        "" => return Err("ONBUILD requires at least one argument".to_owned()),
        "ONBUILD" => return Err("chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed".to_owned()),
        "MAINTAINER" | "FROM" => return Err(format!("{name} isn't allowed as an ONBUILD trigger")),
        _ => {}
    }
    // What the trigger itself says is looked at where it is pulled, as by BuildKit.
    let documents = it.heredocs.iter().map(|it| format!("\n{}{}", it.content, it.name));
    Ok(std::iter::once(rest.to_owned()).chain(documents).collect())
}
