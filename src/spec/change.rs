//! Changes to an image's configuration, written as in a Dockerfile: `CMD ["sh"]`, `ENV A=1`.

use std::str::FromStr;
use std::time::Duration;

use super::duration;
use super::image::{Empty, Healthcheck, RunConfig};
use crate::error::{Error, Kind, Result};

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageChange {
    /// Sets the command.
    Cmd(Vec<String>),
    /// Sets what comes before the command.
    Entrypoint(Vec<String>),
    /// Sets variables.
    Env(Vec<(String, String)>),
    /// Sets labels.
    Label(Vec<(String, String)>),
    /// Sets the working directory.
    WorkingDir(String),
    /// Sets the user.
    User(String),
    /// Declares ports.
    Expose(Vec<String>),
    /// Declares directories whose content outlives a container.
    Volume(Vec<String>),
    /// Sets the signal that asks it to stop.
    StopSignal(String),
    /// Adds an instruction for builds that start from it.
    OnBuild(String),
    /// Sets the shell of shell forms.
    Shell(Vec<String>),
    /// Sets how its health is probed.
    Healthcheck(Healthcheck),
}

impl ImageChange {
    /// Makes the change.
    pub fn apply(&self, config: &mut RunConfig) {
        match self {
            Self::Cmd(words) => config.cmd = Some(words.clone()),
            Self::Entrypoint(words) => config.entrypoint = Some(words.clone()),
            Self::Env(pairs) => {
                for (name, value) in pairs {
                    let is_it = |entry: &String| {
                        entry.split_once('=').is_some_and(|(known, _)| known == name)
                    };
                    let line = format!("{name}={value}");
                    match config.env.iter_mut().find(|entry| is_it(entry)) {
                        Some(entry) => *entry = line,
                        None => config.env.push(line),
                    }
                }
            }
            Self::Label(pairs) => config.labels.extend(pairs.iter().cloned()),
            Self::WorkingDir(path) => config.working_dir.clone_from(path),
            Self::User(user) => config.user.clone_from(user),
            Self::Expose(ports) => {
                config.exposed_ports.extend(ports.iter().map(|port| (port.clone(), Empty)));
            }
            Self::Volume(paths) => {
                config.volumes.extend(paths.iter().map(|path| (path.clone(), Empty)));
            }
            Self::StopSignal(signal) => config.stop_signal = Some(signal.clone()),
            Self::OnBuild(instruction) => config.on_build.push(instruction.clone()),
            Self::Shell(words) => config.shell = Some(words.clone()),
            Self::Healthcheck(check) => config.healthcheck = Some(check.clone()),
        }
    }
}

impl FromStr for ImageChange {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let invalid = || {
            Error::new(Kind::Invalid, format!("invalid change `{text}`")).hint(
                "write it as in a Dockerfile: CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, SHELL, STOPSIGNAL, USER, VOLUME or WORKDIR, and its value",
            )
        };
        let text = text.trim();
        // Podman also takes `CMD=…`.
        let end = text.find(|letter: char| letter.is_ascii_whitespace() || letter == '=');
        let (name, value) = text.split_at(end.ok_or_else(invalid)?);
        let value = value[1..].trim();
        if value.is_empty() {
            return Err(invalid());
        }
        let one = || words(value).filter(|words| words.len() == 1)?.pop();
        let several = || match list(value) {
            Some(words) => Some(words),
            None => words(value),
        };
        let pairs = || -> Option<Vec<(String, String)>> {
            let words = words(value)?;
            // The old form: everything after the name is the value.
            if !words.first()?.contains('=') {
                let (name, value) =
                    value.split_once(|letter: char| letter.is_ascii_whitespace())?;
                return Some(vec![(name.to_owned(), value.trim().to_owned())]);
            }
            words
                .iter()
                .map(|word| {
                    let (name, value) = word.split_once('=')?;
                    (!name.is_empty()).then(|| (name.to_owned(), value.to_owned()))
                })
                .collect()
        };
        match name.to_ascii_uppercase().as_str() {
            "CMD" => Some(Self::Cmd(command(value))),
            "ENTRYPOINT" => Some(Self::Entrypoint(command(value))),
            "ENV" => pairs().map(Self::Env),
            "LABEL" => pairs().map(Self::Label),
            "WORKDIR" => one().map(Self::WorkingDir),
            "USER" => one().map(Self::User),
            "EXPOSE" => words(value)
                .and_then(|ports| ports.iter().map(|port| expose(port)).collect::<Option<_>>())
                .map(Self::Expose),
            "VOLUME" => several().map(Self::Volume),
            "STOPSIGNAL" => one().map(Self::StopSignal),
            "ONBUILD" => on_build(value).map(Self::OnBuild),
            "SHELL" => list(value).filter(|words| !words.is_empty()).map(Self::Shell),
            "HEALTHCHECK" => healthcheck(value).map(Self::Healthcheck),
            _ => None,
        }
        .ok_or_else(invalid)
    }
}

/// A JSON list of words is taken as it is; any other text is a line for the shell.
fn command(text: &str) -> Vec<String> {
    list(text).unwrap_or_else(|| vec!["/bin/sh".to_owned(), "-c".to_owned(), text.to_owned()])
}

/// Takes an instruction that may be carried out later: not one that carries out others.
fn on_build(text: &str) -> Option<String> {
    let (name, rest) = text.split_once(|letter: char| letter.is_ascii_whitespace())?;
    let allowed = !["ONBUILD", "FROM", "MAINTAINER"].contains(&&*name.to_ascii_uppercase());
    (allowed && !rest.trim().is_empty()).then(|| text.to_owned())
}

/// Reads `[--interval=30s …] CMD …`, or `NONE`.
fn healthcheck(text: &str) -> Option<Healthcheck> {
    let mut check = Healthcheck::default();
    let mut rest = text;
    while rest.starts_with("--") {
        let (option, behind) = rest.split_once(|letter: char| letter.is_ascii_whitespace())?;
        let (name, value) = option.split_once('=')?;
        let time = || {
            let time: Duration = duration::parse(value).ok()?;
            i64::try_from(time.as_nanos()).ok()
        };
        match name {
            "--interval" => check.interval = time()?,
            "--timeout" => check.timeout = time()?,
            "--start-period" => check.start_period = time()?,
            "--start-interval" => check.start_interval = time()?,
            "--retries" => check.retries = value.parse::<u32>().ok()?.into(),
            _ => return None,
        }
        rest = behind.trim_start();
    }
    let (name, value) =
        rest.split_once(|letter: char| letter.is_ascii_whitespace()).unwrap_or((rest, ""));
    let value = value.trim();
    check.test = match name.to_ascii_uppercase().as_str() {
        "NONE" if value.is_empty() => vec!["NONE".to_owned()],
        "CMD" if !value.is_empty() => match list(value) {
            Some(words) => std::iter::once("CMD".to_owned()).chain(words).collect(),
            None => vec!["CMD-SHELL".to_owned(), value.to_owned()],
        },
        _ => return None,
    };
    Some(check)
}

fn list(text: &str) -> Option<Vec<String>> {
    if text.starts_with('[') { serde_json::from_str(text).ok() } else { None }
}

fn expose(port: &str) -> Option<String> {
    let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
    let valid = number.parse::<u16>().is_ok_and(|number| number > 0)
        && matches!(protocol, "tcp" | "udp" | "sctp");
    valid.then(|| format!("{number}/{protocol}"))
}

/// Splits text at blanks; quotes and backslashes keep them. `None` if a quote is not closed.
fn words(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match (letter, quote) {
            (letter, Some(open)) if letter == open => quote = None,
            ('\\', None | Some('"')) => word.get_or_insert_default().push(letters.next()?),
            ('"' | '\'', None) => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            (letter, None) if letter.is_ascii_whitespace() => words.extend(word.take()),
            (letter, _) => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    quote.is_none().then_some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_changes() {
        let list = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
        let pairs = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect::<Vec<_>>()
        };
        for (text, want) in [
            (r#"CMD ["a","b c"]"#, Some(ImageChange::Cmd(list(&["a", "b c"])))),
            (r#"CMD=["a"]"#, Some(ImageChange::Cmd(list(&["a"])))),
            ("cmd echo hi", Some(ImageChange::Cmd(list(&["/bin/sh", "-c", "echo hi"])))),
            ("ENTRYPOINT []", Some(ImageChange::Entrypoint(Vec::new()))),
            (
                r#"ENV A=1 B="x y" C=\ z"#,
                Some(ImageChange::Env(pairs(&[("A", "1"), ("B", "x y"), ("C", " z")]))),
            ),
            ("ENV A some text", Some(ImageChange::Env(pairs(&[("A", "some text")])))),
            ("LABEL a.b=c", Some(ImageChange::Label(pairs(&[("a.b", "c")])))),
            ("WORKDIR /srv", Some(ImageChange::WorkingDir("/srv".to_owned()))),
            ("USER 1000:1000", Some(ImageChange::User("1000:1000".to_owned()))),
            ("EXPOSE 80 53/udp", Some(ImageChange::Expose(list(&["80/tcp", "53/udp"])))),
            (r#"VOLUME ["/a b"]"#, Some(ImageChange::Volume(list(&["/a b"])))),
            ("VOLUME /a /b", Some(ImageChange::Volume(list(&["/a", "/b"])))),
            ("STOPSIGNAL SIGINT", Some(ImageChange::StopSignal("SIGINT".to_owned()))),
            ("ONBUILD RUN make", Some(ImageChange::OnBuild("RUN make".to_owned()))),
            (r#"SHELL ["/bin/bash", "-c"]"#, Some(ImageChange::Shell(list(&["/bin/bash", "-c"])))),
            (
                "HEALTHCHECK --interval=5s --retries=2 CMD curl -f localhost",
                Some(ImageChange::Healthcheck(Healthcheck {
                    test: list(&["CMD-SHELL", "curl -f localhost"]),
                    interval: 5_000_000_000,
                    retries: 2,
                    ..Healthcheck::default()
                })),
            ),
            (
                r#"HEALTHCHECK CMD ["true"]"#,
                Some(ImageChange::Healthcheck(Healthcheck {
                    test: list(&["CMD", "true"]),
                    ..Healthcheck::default()
                })),
            ),
            (
                "HEALTHCHECK NONE",
                Some(ImageChange::Healthcheck(Healthcheck {
                    test: list(&["NONE"]),
                    ..Healthcheck::default()
                })),
            ),
            ("HEALTHCHECK CMD", None),
            ("HEALTHCHECK --bogus=1 CMD x", None),
            ("HEALTHCHECK --interval=x CMD x", None),
            ("ONBUILD ONBUILD RUN x", None),
            ("ONBUILD FROM x", None),
            ("ONBUILD", None),
            ("SHELL sh", None),
            ("EXPOSE 0", None),
            ("EXPOSE x", None),
            ("ENV A", None),
            ("ENV =x", None),
            ("ENV A=\"x", None),
            ("CMD", None),
            ("CMD  ", None),
            ("RUN x", None),
            ("", None),
        ] {
            assert_eq!(text.parse().ok(), want, "{text}");
        }
    }

    #[test]
    fn replaces_variables() {
        let mut config =
            RunConfig { env: vec!["A=1".to_owned(), "B=2".to_owned()], ..RunConfig::default() };
        "ENV A=3 C=4".parse::<ImageChange>().unwrap().apply(&mut config);
        assert_eq!(config.env, ["A=3", "B=2", "C=4"]);
    }
}
