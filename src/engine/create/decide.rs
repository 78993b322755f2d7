//! From what was asked for and what the image says to a configuration: a pure function.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::environment::environment;
use crate::engine::{host, now};
use crate::error::{Context, Error, Kind, Result};
use crate::spec::container::ContainerSpec;
use crate::spec::group::CgroupsMode;
use crate::spec::id::ContainerId;
use crate::spec::mount::Mount;
use crate::spec::network::{PortMapping, Protocol};
use crate::spec::process::Signal;
use crate::spec::systemd;
use crate::spec::volume::ImageVolumes;
use crate::store::container::ContainerConfig;
use crate::store::image::Image;

/// Decides everything: a pure function of what was asked and what the image says.
pub(in crate::engine) fn decide(
    spec: &ContainerSpec,
    image: &Image,
    shown: String,
    id: ContainerId,
) -> Result<ContainerConfig> {
    let from_image = &image.config;
    let mut command = command(spec, &from_image.entrypoint, &from_image.cmd);
    if command.is_empty() {
        return Err(Error::new(
            Kind::Invalid,
            "no command or entrypoint provided, and no CMD or ENTRYPOINT from image",
        )
        .hint("name a command after the image"));
    }
    let path = command.remove(0);
    let mut labels: BTreeMap<String, String> = from_image.labels.clone();
    labels.extend(spec.labels.clone());
    let mut settings = spec.settings.clone();
    if spec.publish_all {
        let declared = from_image.exposed_ports.keys().chain(&spec.exposed_ports);
        publish_all(&mut settings.ports, declared);
    }
    for path in from_image.volumes.keys() {
        let mount = match spec.image_volumes {
            ImageVolumes::Anonymous => Mount::anonymous_volume(path),
            ImageVolumes::Tmpfs => Mount::tmpfs(path),
            ImageVolumes::Ignore => break,
        };
        let mount = mount.context(|| "the image declares a volume that cannot be")?;
        if !settings.mounts.iter().any(|own| own.target == mount.target) {
            settings.mounts.push(mount);
        }
    }
    // The monitor has another working directory.
    for path in [
        &mut settings.cidfile,
        &mut settings.pidfile,
        &mut settings.monitor_pidfile,
        &mut settings.init_path,
    ]
    .into_iter()
    .flatten()
    {
        *path = host::absolute(path)?;
    }
    let working_dir =
        spec.working_dir.clone().unwrap_or_else(|| PathBuf::from(&from_image.working_dir));
    let mut config = ContainerConfig {
        created: now(),
        image: shown,
        image_id: image.id.clone(),
        layers: image.layers.clone(),
        builtin: image.builtin,
        path,
        args: command,
        entrypoint: spec.entrypoint.clone().or_else(|| from_image.entrypoint.clone()),
        env: Vec::new(),
        make_working_dir: spec.working_dir.is_none(),
        working_dir: Path::new("/").join(working_dir),
        user: spec.user.clone().unwrap_or_else(|| from_image.user.clone()),
        labels,
        stop_signal: stop_signal(spec, from_image.stop_signal.as_deref())?,
        health: spec.health.decide(from_image.healthcheck.as_ref())?,
        exposed_ports: exposed(
            &settings.ports,
            from_image.exposed_ports.keys().chain(&spec.exposed_ports),
        ),
        id_mapping: None,
        settings,
        id,
    };
    if config.runs_systemd() {
        let image_says = from_image.stop_signal.as_deref().is_some_and(|text| !text.is_empty());
        if spec.stop_signal.is_none() && !image_says {
            config.stop_signal = systemd::STOP;
        }
    }
    let security = &mut config.settings.security;
    // Nothing else keeps it from the devices that it could make nodes of.
    let is_added = |name: &String| name == "MKNOD" || name == "ALL";
    if config.settings.cgroups == CgroupsMode::Disabled && !security.cap_add.iter().any(is_added) {
        security.cap_drop.push("MKNOD".to_owned());
    }
    config.env = environment(spec, &from_image.env, config.hostname());
    if config.runs_systemd() && !config.env.iter().any(|it| it.starts_with("container_uuid=")) {
        config.env.push(format!("container_uuid={}", &config.id.as_str()[..32]));
    }
    Ok(config)
}

/// Docker's rules: an entrypoint that is given drops the image's command with its entrypoint.
fn command(
    spec: &ContainerSpec,
    entrypoint: &Option<Vec<String>>,
    cmd: &Option<Vec<String>>,
) -> Vec<String> {
    let mut words = match &spec.entrypoint {
        Some(own) => own.iter().filter(|word| !word.is_empty()).cloned().collect(),
        None => entrypoint.clone().unwrap_or_default(),
    };
    if !spec.command.is_empty() {
        words.extend_from_slice(&spec.command);
    } else if spec.entrypoint.is_none() {
        words.extend(cmd.clone().unwrap_or_default());
    }
    words
}

fn stop_signal(spec: &ContainerSpec, image: Option<&str>) -> Result<Signal> {
    match (spec.stop_signal, image) {
        (Some(signal), _) => Ok(signal),
        (None, Some(text)) if !text.is_empty() => {
            text.parse::<Signal>().context(|| "the image names a bad stop signal")
        }
        _ => Ok(Signal::TERM),
    }
}

/// Adds a mapping to a free port for each port that the image exposes and the user did not map.
fn publish_all<'a>(ports: &mut Vec<PortMapping>, exposed: impl Iterator<Item = &'a String>) {
    for text in exposed {
        let Ok(mut mapping) = text.parse::<PortMapping>() else { continue };
        (mapping.host_port, mapping.choices) = (None, 1);
        let known = |it: &PortMapping| {
            it.container_port == mapping.container_port && it.protocol == mapping.protocol
        };
        if !ports.iter().any(known) {
            ports.push(mapping);
        }
    }
}

fn exposed<'a>(ports: &[PortMapping], declared: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut all: Vec<String> = declared.cloned().collect();
    for mapping in ports {
        let protocol = match mapping.protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
        };
        for offset in 0..mapping.count {
            all.push(format!("{}/{protocol}", mapping.container_port.saturating_add(offset)));
        }
    }
    all.sort();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn combines_entrypoint_and_command() {
        for (own_entry, own_cmd, entry, cmd, want) in [
            (None, "", Some("e"), Some("c d"), "e c d"),
            (None, "x", Some("e"), Some("c d"), "e x"),
            (Some("y z"), "", Some("e"), Some("c"), "y z"),
            (Some("y"), "x", Some("e"), Some("c"), "y x"),
            (Some(""), "x", Some("e"), Some("c"), "x"),
            (Some(""), "", Some("e"), Some("c"), ""),
            (None, "", None, Some("c"), "c"),
            (None, "", None, None, ""),
        ] {
            let spec = ContainerSpec {
                entrypoint: own_entry.map(words),
                command: words(own_cmd),
                ..ContainerSpec::default()
            };
            let got = command(&spec, &entry.map(words), &cmd.map(words));
            assert_eq!(got, words(want), "{own_entry:?} {own_cmd} {entry:?} {cmd:?}");
        }
    }
}
