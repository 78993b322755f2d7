//! What goes with each line of a container's log: its tag, and the labels and variables that were
//! chosen.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::error::Result;
use crate::spec::template::Format;
use crate::store::container::{Container, ContainerConfig};

/// What Docker calls the daemon.
const DAEMON: &str = "barge";

impl Container {
    /// Returns what goes with each line of the container's log.
    pub fn log_attributes(&self) -> Result<BTreeMap<String, String>> {
        attributes(&self.config, &self.state.name)
    }
}

/// Returns what goes with each line of the log of a container of this name.
pub(super) fn attributes(config: &ContainerConfig, name: &str) -> Result<BTreeMap<String, String>> {
    let mut attributes = config.settings.log.attributes(&config.labels, &config.env);
    if let Some(tag) = tag(config, name)? {
        attributes.insert("tag".to_owned(), tag);
    }
    Ok(attributes)
}

/// Fills in the template of the tag of a container of this name; `None` if it has none.
pub(super) fn tag(config: &ContainerConfig, name: &str) -> Result<Option<String>> {
    let Some(template) = config.settings.log.tag.as_deref() else { return Ok(None) };
    let tag = Format::new(template)
        .and_then(|format| format.render(&fields(config, name)))
        .map_err(|error| error.within(format!("invalid --log-opt tag `{template}`")))?;
    Ok(Some(tag).filter(|tag| !tag.is_empty()))
}

/// What a template may speak of, by the names that Docker has for it.
fn fields(config: &ContainerConfig, name: &str) -> Value {
    let command: Vec<&str> =
        std::iter::once(&config.path).chain(&config.args).map(String::as_str).collect();
    json!({
        "ID": config.id.short(),
        "FullID": config.id.as_str(),
        "Name": name,
        "ImageID": config.image_id.short(),
        "ImageFullID": config.image_id.to_string(),
        "ImageName": config.image,
        "DaemonName": DAEMON,
        "Command": command.join(" "),
        "ContainerID": config.id.as_str(),
        "ContainerName": format!("/{name}"),
        "ContainerEntrypoint": config.path,
        "ContainerArgs": config.args,
        "ContainerImageID": config.image_id.to_string(),
        "ContainerImageName": config.image,
        "ContainerEnv": config.env,
        "ContainerLabels": config.labels,
    })
}
