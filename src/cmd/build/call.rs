//! `--call` and `--check`: what is said of a Dockerfile without a build.

use serde_json::{Value, json};

use crate::build::Sources;
use crate::cmd::exit::Status;
use crate::cmd::output::Output;
use crate::cmd::table;
use crate::error::{Error, Kind, Result};
use crate::spec::dockerfile::Dockerfile;

/// What is wanted of a Dockerfile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Build,
    Check,
    Outline,
    Targets,
}

/// What is wanted of a Dockerfile, and how it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Call {
    method: Method,
    is_json: bool,
}

impl std::str::FromStr for Call {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let invalid = || {
            Error::new(Kind::Invalid, format!("invalid call `{text}`"))
                .hint("write build, check, outline or targets, and ,format=json behind it")
        };
        let mut words = text.split(',');
        let method = match words.next() {
            Some("build") => Method::Build,
            Some("check" | "lint") => Method::Check,
            Some("outline") => Method::Outline,
            Some("targets") => Method::Targets,
            _ => return Err(invalid()),
        };
        let mut is_json = false;
        for word in words {
            match word {
                "format=json" => is_json = true,
                "format=text" => is_json = false,
                _ => return Err(invalid()),
            }
        }
        Ok(Self { method, is_json })
    }
}

impl Call {
    /// What `--check` wants.
    pub(super) const CHECK: Self = Self { method: Method::Check, is_json: false };

    /// Says what is wanted; `None` if that is a build.
    pub(super) fn answer(
        self,
        out: &mut Output,
        sources: &Sources,
        file: &Dockerfile,
        target: Option<&str>,
    ) -> Result<Option<Status>> {
        match self.method {
            Method::Build => return Ok(None),
            Method::Check => return self.check(out, sources, file).map(Some),
            Method::Targets => self.targets(out, sources, file)?,
            Method::Outline => {
                let count = file.stages.len();
                let number = target.map_or(Some(count - 1), |name| file.stage(name, count));
                let number = number.ok_or_else(|| {
                    let name = target.unwrap_or_default();
                    let message = format!("target stage \"{name}\" could not be found");
                    Error::new(Kind::NotFound, message).hint("see --call targets")
                })?;
                self.outline(out, sources, file, number)?;
            }
        }
        Ok(Some(Status::SUCCESS))
    }

    fn check(self, out: &mut Output, sources: &Sources, file: &Dockerfile) -> Result<Status> {
        let lints = lints(sources, file);
        if self.is_json {
            let found = file.wanted_lints().map(|lint| {
                json!({
                    "ruleName": lint.rule,
                    "detail": lint.message,
                    "location": { "ranges": [{ "start": { "line": lint.line } }] },
                })
            });
            print(out, &json!({ "warnings": found.collect::<Vec<_>>() }))?;
        } else {
            for lint in &lints {
                out.line(lint)?;
            }
            if lints.is_empty() {
                out.line("Check complete, no warnings found.")?;
            }
        }
        Ok(if lints.is_empty() { Status::SUCCESS } else { Status::NO })
    }

    fn targets(self, out: &mut Output, sources: &Sources, file: &Dockerfile) -> Result<()> {
        let targets = file.targets(&sources.file);
        if self.is_json {
            let targets = targets.iter().map(|target| {
                json!({
                    "name": target.name,
                    "default": target.is_default,
                    "description": target.description,
                    "base": target.base,
                })
            });
            return print(out, &json!({ "targets": targets.collect::<Vec<_>>() }));
        }
        let mut rows = vec![vec!["TARGET".to_owned(), "DESCRIPTION".to_owned()]];
        for target in targets {
            let name = match (target.name, target.is_default) {
                (Some(name), true) => format!("{name} (default)"),
                (Some(name), false) => name,
                (None, _) => "(default)".to_owned(),
            };
            rows.push(std::iter::once(name).chain(target.description).collect());
        }
        out.text(&table::layout(&rows))
    }

    fn outline(
        self,
        out: &mut Output,
        sources: &Sources,
        file: &Dockerfile,
        number: usize,
    ) -> Result<()> {
        let outline = file.outline(&sources.file, number);
        if self.is_json {
            let args = outline.args.iter().map(|arg| {
                json!({ "name": arg.name, "value": arg.value, "description": arg.description })
            });
            let named = |list: &[(String, bool)]| -> Vec<Value> {
                list.iter().map(|(name, must)| json!({ "name": name, "required": must })).collect()
            };
            return print(
                out,
                &json!({
                    "name": outline.name,
                    "description": outline.description,
                    "args": args.collect::<Vec<_>>(),
                    "secrets": named(&outline.secrets),
                    "ssh": named(&outline.agents),
                }),
            );
        }
        let mut head = Vec::new();
        for (key, value) in [("TARGET:", outline.name), ("DESCRIPTION:", outline.description)] {
            head.extend(value.map(|value| vec![key.to_owned(), value]));
        }
        let mut blocks = vec![head];
        let title = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let mut args: Vec<Vec<String>> = vec![title(&["BUILD ARG", "VALUE", "DESCRIPTION"])];
        for arg in outline.args {
            let value = arg.value.unwrap_or_default();
            args.push([arg.name, value].into_iter().chain(arg.description).collect());
        }
        blocks.push(args);
        for (kind, list) in [("SECRET", outline.secrets), ("SSH", outline.agents)] {
            let mut rows: Vec<Vec<String>> = vec![title(&[kind, "REQUIRED"])];
            for (name, must) in list {
                rows.push(vec![name, if must { "true" } else { "" }.to_owned()]);
            }
            blocks.push(rows);
        }
        // Of what there is nothing of, there is no title.
        blocks.retain(|rows| rows.len() > 1 || rows.iter().any(|row| row[0].ends_with(':')));
        let blocks: Vec<String> = blocks.iter().map(|rows| table::layout(rows)).collect();
        out.text(&blocks.join("\n"))
    }
}

/// Returns what is not wise in a Dockerfile, a line each.
pub(super) fn lints(sources: &Sources, file: &Dockerfile) -> Vec<String> {
    let name = &sources.file_name;
    file.wanted_lints()
        .map(|lint| format!("{name}:{}: {}: {}", lint.line, lint.rule, lint.message))
        .collect()
}

fn print(out: &mut Output, document: &Value) -> Result<()> {
    out.line(&format!("{document:#}"))
}
