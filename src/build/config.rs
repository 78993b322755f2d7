//! What instructions change of an image's configuration.

use super::Builder;
use super::scope::set;
use super::stage::{Image, Place};
use crate::error::Result;
use crate::spec::dockerfile::{Command, Instruction, Pair, word};
use crate::spec::image::Empty;
use crate::spec::network::PortMapping;
use crate::spec::process::Signal;

impl Builder<'_> {
    /// Follows an instruction that changes the configuration only.
    pub(super) fn configure(
        &self,
        image: &mut Image,
        place: Place<'_>,
        instruction: &Instruction,
    ) -> Result<()> {
        let history = match instruction {
            Instruction::Env(pairs) => {
                let pairs = expanded(image, place, pairs)?;
                for (name, value) in &pairs {
                    let line = format!("{name}={value}");
                    let env = &mut image.config.config.env;
                    let known = env
                        .iter_mut()
                        .find(|it| it.split_once('=').is_some_and(|(known, _)| known == name));
                    match known {
                        Some(entry) => *entry = line,
                        None => env.push(line),
                    }
                    set(&mut image.variables, name, value.clone());
                }
                format!("ENV {}", shown(&pairs))
            }
            Instruction::Label(pairs) => {
                let pairs = expanded(image, place, pairs)?;
                image.run().labels.extend(pairs.iter().cloned());
                format!("LABEL {}", shown(&pairs))
            }
            Instruction::Cmd(command) => {
                let words = with_shell(image, command);
                image.run().cmd = Some(words.clone());
                image.has_cmd = true;
                format!("CMD {words:?}")
            }
            Instruction::Entrypoint(command) => {
                let words = with_shell(image, command);
                image.run().entrypoint = Some(words.clone());
                if !image.has_cmd {
                    // It was meant for another one.
                    image.run().cmd = None;
                }
                format!("ENTRYPOINT {words:?}")
            }
            Instruction::Expose(ports) => {
                let mut all = Vec::new();
                for text in ports {
                    let words = word::expand_words(text, place.escape, &|name| image.lookup(name));
                    for port in words.map_err(|why| place.problem(&why))? {
                        all.extend(exposed(&port).map_err(|why| place.problem(&why))?);
                    }
                }
                let history = format!("EXPOSE {all:?}");
                image.run().exposed_ports.extend(all.into_iter().map(|port| (port, Empty)));
                history
            }
            Instruction::Volume(paths) => {
                let mut all = Vec::new();
                for path in paths {
                    let path = place.expand(image, path)?;
                    if path.is_empty() {
                        return Err(place.problem("VOLUME specified can not be an empty string"));
                    }
                    all.push(path);
                }
                let history = format!("VOLUME {all:?}");
                image.run().volumes.extend(all.into_iter().map(|path| (path, Empty)));
                history
            }
            Instruction::User(text) => {
                let user = place.expand(image, text)?;
                let history = format!("USER {user}");
                image.run().user = user;
                history
            }
            Instruction::StopSignal(text) => {
                let signal = place.expand(image, text)?;
                if !is_signal(&signal) {
                    return Err(place.problem(&format!("invalid signal: {signal}")));
                }
                let history = format!("STOPSIGNAL {signal}");
                image.run().stop_signal = Some(signal);
                history
            }
            Instruction::Healthcheck(check) => {
                image.run().healthcheck = Some(check.clone());
                format!("HEALTHCHECK {:?}", check.test)
            }
            Instruction::Shell(words) => {
                image.run().shell = Some(words.clone());
                format!("SHELL {words:?}")
            }
            Instruction::OnBuild(text) => {
                image.run().on_build.push(text.clone());
                format!("ONBUILD {text}")
            }
            Instruction::Maintainer(text) => {
                image.config.author = Some(text.clone());
                format!("MAINTAINER {text}")
            }
            // Those have changed files by now.
            Instruction::Arg(_)
            | Instruction::Add(_)
            | Instruction::Copy(_)
            | Instruction::Run(_)
            | Instruction::Workdir(_) => return Ok(()),
        };
        image.note(history, &self.now);
        Ok(())
    }
}

/// Replaces variables by what they were before the instruction.
fn expanded(image: &Image, place: Place<'_>, pairs: &[Pair]) -> Result<Vec<(String, String)>> {
    let one = |pair: &Pair| {
        let name = place.expand(image, &pair.key)?;
        if name.is_empty() {
            return Err(place.problem("names can not be blank"));
        }
        Ok((name, place.expand(image, &pair.value)?))
    };
    pairs.iter().map(one).collect()
}

fn shown(pairs: &[(String, String)]) -> String {
    let words: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
    words.join(" ")
}

/// Returns the words of a command; a line is the shell's.
pub(super) fn with_shell(image: &Image, command: &Command) -> Vec<String> {
    match command {
        Command::Exec(words) => words.clone(),
        Command::Shell(line) => {
            let mut words = match &image.config.config.shell {
                Some(shell) => shell.clone(),
                None => vec!["/bin/sh".to_owned(), "-c".to_owned()],
            };
            words.push(line.clone());
            words
        }
    }
}

/// Reads a port, or several: `80`, `53/udp`, `8000-8002`. What is said of the host, as in `8080:80`, says
/// nothing of the image. What is no port is kept as it is, as by buildah: nothing comes of it.
fn exposed(text: &str) -> Result<Vec<String>, String> {
    let (numbers, protocol) = match text.split_once('/') {
        Some((numbers, "")) => (numbers, "tcp".to_owned()),
        Some((numbers, protocol)) => (numbers, protocol.to_ascii_lowercase()),
        None => (text, "tcp".to_owned()),
    };
    let mapping = numbers.parse::<PortMapping>().ok().filter(|_| numbers.contains(':'));
    let inside = numbers.rsplit(':').next().filter(|_| mapping.is_some());
    let numbers = inside.unwrap_or(numbers);
    if numbers.is_empty() {
        return Err(format!("invalid containerPort: {text}: expected PORT[/PROTOCOL]"));
    }
    let (first, last) = numbers.split_once('-').unwrap_or((numbers, numbers));
    let number = |text: &str| text.parse::<u16>().ok().filter(|_| !text.starts_with('+'));
    Ok(match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => {
            (first..=last).map(|port| format!("{port}/{protocol}")).collect()
        }
        _ => vec![format!("{numbers}/{protocol}")],
    })
}

/// Tells whether a container can be told to stop by this: a number, or the name of a signal.
fn is_signal(text: &str) -> bool {
    match text.parse::<i64>() {
        Ok(number) => number != 0,
        Err(_) => text.parse::<Signal>().is_ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_names_or_numbers() {
        for text in ["TERM", "sigterm", "15", "RTMIN+3", "SIGRTMAX", "CLD", "-1", "200"] {
            assert!(is_signal(text), "{text}");
        }
        for text in ["", "0", "SIGFOO", "SIGSIGTERM", "15.0", "TERM x", "INFO", "RTMIN+99"] {
            assert!(!is_signal(text), "{text}");
        }
    }

    #[test]
    fn exposes_ports_of_the_image() {
        for (text, want) in [
            ("80", "80/tcp"),
            ("53/UDP", "53/udp"),
            ("8000-8002/sctp", "8000/sctp 8001/sctp 8002/sctp"),
            ("8080:80", "80/tcp"),
            ("127.0.0.1:8080:80/udp", "80/udp"),
            ("8080-8081:80-81", "80/tcp 81/tcp"),
            ("", ""),
            ("/tcp", ""),
            ("080", "80/tcp"),
            ("80/", "80/tcp"),
            ("70000", "70000/tcp"),
            ("90-80", "90-80/tcp"),
            ("80/foo", "80/foo"),
        ] {
            let found = exposed(text).map(|ports| ports.join(" "));
            assert_eq!(found.unwrap_or_default(), want, "{text}");
        }
    }
}
