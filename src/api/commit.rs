//! `POST /commit`: an image of what a container has changed.

use serde_json::json;

use super::names;
use super::reply::Reply;
use super::request::Call;
use super::route::{How, Route, route};
use crate::engine::{CommitOptions, Engine};
use crate::error::{Error, Kind, Result};
use crate::spec::change::ImageChange;
use crate::spec::image::RunConfig;

pub(super) const ROUTES: &[Route] = &[route("POST", "/commit", How::Change(commit))];

fn commit(engine: &Engine, call: &mut Call) -> Result<Reply> {
    let (container, options) = options(call)?;
    let (image, _) = engine.commit(&container, &options)?;
    Ok(Reply::created(&json!({ "Id": image.id })))
}

/// Decodes what is asked for: of which container, and how.
pub(super) fn options(call: &mut Call) -> Result<(String, CommitOptions)> {
    let config: Option<RunConfig> = call.json()?;
    let query = &call.query;
    let Some(container) = query.get("container") else {
        return Err(Error::new(Kind::Invalid, "no container is named"));
    };
    let name = query.get("repo").map(|name| names::complete(name, query.get("tag"))).transpose()?;
    let mut changes = config.map(changes).unwrap_or_default();
    let lines = query.all("changes").flat_map(str::lines);
    for line in lines.filter(|line| !line.trim().is_empty()) {
        changes.push(line.parse()?);
    }
    let options = CommitOptions {
        name,
        changes,
        author: query.get("author").map(str::to_owned),
        message: query.get("comment").map(str::to_owned),
        // Docker's client asks for it every time: it is done where it can be.
        pause: (!query.truth("pause", true)).then_some(false),
        ..CommitOptions::default()
    };
    Ok((container.to_owned(), options))
}

/// Returns the changes that a configuration means: what it does not say stays as it is.
fn changes(config: RunConfig) -> Vec<ImageChange> {
    let text = |text: String| Some(text).filter(|text| !text.is_empty());
    let pair = |entry: String| {
        let (name, value) = entry.split_once('=').unwrap_or((&entry, ""));
        (name.to_owned(), value.to_owned())
    };
    let mut changes = Vec::new();
    changes.extend(config.cmd.filter(|words| !words.is_empty()).map(ImageChange::Cmd));
    changes.extend(config.entrypoint.filter(|it| !it.is_empty()).map(ImageChange::Entrypoint));
    if !config.env.is_empty() {
        changes.push(ImageChange::Env(config.env.into_iter().map(pair).collect()));
    }
    if !config.labels.is_empty() {
        changes.push(ImageChange::Label(config.labels.into_iter().collect()));
    }
    changes.extend(text(config.working_dir).map(ImageChange::WorkingDir));
    changes.extend(text(config.user).map(ImageChange::User));
    if !config.exposed_ports.is_empty() {
        changes.push(ImageChange::Expose(config.exposed_ports.into_keys().collect()));
    }
    if !config.volumes.is_empty() {
        changes.push(ImageChange::Volume(config.volumes.into_keys().collect()));
    }
    changes.extend(config.stop_signal.and_then(text).map(ImageChange::StopSignal));
    changes.extend(config.on_build.into_iter().map(ImageChange::OnBuild));
    changes.extend(config.shell.filter(|words| !words.is_empty()).map(ImageChange::Shell));
    changes
        .extend(config.healthcheck.filter(|it| !it.test.is_empty()).map(ImageChange::Healthcheck));
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_says_what_changes() {
        let config = serde_json::from_str(
            r#"{"Hostname":"x","Cmd":["sh"],"Env":["A=1=2"],"User":"","Labels":null,
                "ExposedPorts":{"80/tcp":{}},"WorkingDir":"/w"}"#,
        )
        .unwrap();
        assert_eq!(
            changes(config),
            [
                ImageChange::Cmd(vec!["sh".to_owned()]),
                ImageChange::Env(vec![("A".to_owned(), "1=2".to_owned())]),
                ImageChange::WorkingDir("/w".to_owned()),
                ImageChange::Expose(vec!["80/tcp".to_owned()]),
            ]
        );
        assert!(changes(RunConfig::default()).is_empty());
    }
}
