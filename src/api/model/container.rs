//! A container, as Docker's `inspect` shows it.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::{host_config, mounts, network, usual};
use crate::engine::volumes::place_for;
use crate::spec::id::ContainerId;
use crate::spec::mount::{Mount, MountSource};
use crate::spec::secret::{SecretShown, SecretUse};
use crate::spec::storage::DriverName;
use crate::spec::time;
use crate::spec::volume::LOCAL;
use crate::store::Store;
use crate::store::container::{Container, ContainerConfig, Containers, Status};
use crate::store::driver::Tree;
use crate::store::health::HealthState;

/// What Docker shows for a time that has not come.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// Makes the document that `inspect` shows.
pub fn inspect(store: &Store, container: &Container) -> Value {
    let Container { config, state, .. } = container;
    let containers = store.containers();
    let dir = containers.dir(&config.id);
    let run_dir = containers.run_dir(&config.id);
    let file = |name: &str| run_dir.join(name).display().to_string();
    let (driver, data) = match containers.tree(config) {
        Tree::Layers(layers) => (DriverName::Overlay, overlay(&dir, &layers)),
        Tree::Whole(_) => (store.driver(), Value::Null),
    };
    let rootfs = config.settings.rootfs.as_ref();
    let rootfs = rootfs.map_or_else(String::new, |dir| dir.path.display().to_string());
    let mut document = json!({
        "Id": config.id,
        "Created": time::rfc3339_short(config.created),
        "Path": config.path,
        "Args": config.args,
        "State": state_document(container),
        "Image": config.image_hex(),
        "Rootfs": rootfs,
        "ImageName": config.image,
        "ResolvConfPath": file("resolv.conf"),
        "HostnamePath": file("hostname"),
        "HostsPath": file("hosts"),
        "LogPath": log_path(&containers, config),
        "Name": state.name,
        "RestartCount": state.restarts,
        "Driver": driver.as_str(),
        "Platform": "linux",
        "ExecIDs": state.run().map_or_else(Vec::new, |_| containers.execs(&config.id)),
        "HostConfig": host_config::document(&config.settings),
        "GraphDriver": { "Name": driver.as_str(), "Data": data },
        "Mounts": mounts(store, config),
        "Config": config_document(config),
        "NetworkSettings": network::document(config, state),
    });
    document["HostConfig"]["LogConfig"]["Path"] = document["LogPath"].clone();
    usual::complete(&mut document, store, container);
    document
}

/// What `inspect` shows of mounts.
pub(super) fn mounts(store: &Store, config: &ContainerConfig) -> Vec<Value> {
    config.settings.mounts.iter().map(|it| mount(store, &config.id, it)).collect()
}

/// What `inspect` shows of networks.
pub(super) fn networks(container: &Container) -> Value {
    let mut settings = network::document(&container.config, &container.state);
    usual::complete_networks(&mut settings, container);
    settings["Networks"].take()
}

/// Returns the file of a container's log; none with drivers that keep no file.
fn log_path(containers: &Containers<'_>, config: &ContainerConfig) -> String {
    match config.settings.log.driver.is_file() {
        true => containers.log_files(config).path().display().to_string(),
        false => String::new(),
    }
}

fn overlay(dir: &Path, layers: &[PathBuf]) -> Value {
    let lower: Vec<String> = layers.iter().map(|layer| layer.display().to_string()).collect();
    json!({
        "LowerDir": lower.join(":"),
        "UpperDir": dir.join("upper").display().to_string(),
        "WorkDir": dir.join("work").display().to_string(),
    })
}

fn state_document(container: &Container) -> Value {
    let state = &container.state;
    let when = |nanoseconds| match nanoseconds {
        0 => NEVER.to_owned(),
        nanoseconds => time::rfc3339_short(nanoseconds),
    };
    let run = state.process();
    let mut document = json!({
        "Status": state.word(),
        "Running": state.run().is_some(),
        "Paused": run.is_some_and(|run| run.paused),
        "Restarting": matches!(state.status, Status::Restarting(_)),
        "OOMKilled": state.oom_killed,
        "Dead": false,
        "Pid": run.map_or(0, |run| run.pid),
        "ExitCode": state.exit_code,
        "Error": state.error.as_deref().unwrap_or_default(),
        "StartedAt": when(state.started),
        "FinishedAt": when(state.finished),
        "CgroupPath": run.map_or("", |run| &run.cgroup),
    });
    // Templates ask for it before they look into it.
    document["Health"] = container.health.as_ref().map_or(Value::Null, health_document);
    document
}

fn health_document(health: &HealthState) -> Value {
    let log: Vec<Value> = health
        .log
        .iter()
        .map(|probe| {
            json!({
                "Start": time::rfc3339_short(probe.start),
                "End": time::rfc3339_short(probe.end),
                "ExitCode": probe.exit_code,
                "Output": probe.output,
            })
        })
        .collect();
    json!({
        "Status": health.status.as_str(),
        "FailingStreak": health.failing_streak,
        "Log": log,
    })
}

fn config_document(config: &ContainerConfig) -> Value {
    let settings = &config.settings;
    let hostname = settings.hostname.as_deref().unwrap_or(config.id.short());
    let exposed: Map<String, Value> =
        config.exposed_ports.iter().map(|port| (port.clone(), json!({}))).collect();
    json!({
        "Hostname": hostname,
        "Domainname": settings.domainname.as_deref().unwrap_or_default(),
        "User": config.user,
        "AttachStdin": settings.interactive && !settings.input_stays,
        "AttachStdout": true,
        "AttachStderr": true,
        "ExposedPorts": exposed,
        "Tty": settings.tty,
        "OpenStdin": settings.interactive,
        "StdinOnce": settings.interactive && !settings.input_stays,
        "Env": config.env,
        "Cmd": command(config),
        "Image": config.image,
        "Volumes": volumes(config),
        "WorkingDir": config.working_dir.display().to_string(),
        "Entrypoint": config.entrypoint,
        "OnBuild": null,
        "Labels": config.labels,
        "Annotations": settings.annotations,
        "StopSignal": config.stop_signal.to_string(),
        "Healthcheck": config.health.as_ref().map(|health| &health.check),
        "HealthLogDestination": config.health.as_ref().map(|it| it.log.destination.text()),
        "HealthcheckMaxLogCount": config.health.as_ref().map(|it| it.log.max_count),
        "HealthcheckMaxLogSize": config.health.as_ref().map(|it| it.log.max_size),
        "HealthcheckOnFailureAction": config.health.as_ref().map(|it| it.on_failure.as_str()),
        "sdNotifyMode": settings.sdnotify.as_str(),
        "StopTimeout": settings.stop_timeout.unwrap_or(10),
        "Timezone": settings.time_zone.as_deref().unwrap_or_default(),
        "Secrets": config.settings.secrets.iter().map(secret).collect::<Vec<_>>(),
        "Umask": format!("{:04o}", settings.umask.unwrap_or(0o022)),
    })
}

fn secret(secret: &SecretUse) -> Value {
    let (uid, gid, mode) = match &secret.shown {
        SecretShown::Mount { uid, gid, mode, .. } => (*uid, *gid, *mode),
        SecretShown::Env(_) => (0, 0, 0),
    };
    json!({ "Name": secret.name, "ID": secret.id, "UID": uid, "GID": gid, "Mode": mode })
}

/// Returns what is run, without the entrypoint.
pub fn command(config: &ContainerConfig) -> Vec<&str> {
    let all = std::iter::once(&config.path).chain(&config.args).map(String::as_str);
    all.skip(config.entrypoint.as_ref().map_or(0, Vec::len)).collect()
}

/// Lists where volumes are that nobody has named.
fn volumes(config: &ContainerConfig) -> Value {
    let anonymous = |it: &&Mount| matches!(it.source, MountSource::Volume { anonymous: true, .. });
    let all: Map<String, Value> = config
        .settings
        .mounts
        .iter()
        .filter(anonymous)
        .map(|it| (it.target.display().to_string(), json!({})))
        .collect();
    if all.is_empty() { Value::Null } else { Value::Object(all) }
}

fn mount(store: &Store, id: &ContainerId, mount: &Mount) -> Value {
    let volume = mount.volume().and_then(|name| store.volumes().get(name).ok().flatten());
    let by_plugin = volume.as_ref().filter(|volume| volume.spec.is_by_plugin());
    let (kind, source) = match &mount.source {
        MountSource::Volume { name: Some(name), .. } if by_plugin.is_some() => {
            ("volume", place_for(store, id, name).unwrap_or_default())
        }
        MountSource::Bind { path, .. } => ("bind", path.display().to_string()),
        MountSource::Volume { name, .. } => {
            let data = store.volumes().data(name.as_deref().unwrap_or_default());
            ("volume", data.display().to_string())
        }
        MountSource::Image { name, .. } => ("image", name.clone()),
        MountSource::Artifact { name, .. } => ("artifact", name.clone()),
        MountSource::Devpts => ("devpts", String::new()),
        MountSource::Ramfs { .. } => ("ramfs", String::new()),
        MountSource::Tmpfs { .. } => ("tmpfs", String::new()),
    };
    let propagation = mount.options.iter().find(|option| {
        ["shared", "slave", "private", "unbindable"].iter().any(|word| option.ends_with(word))
    });
    let mut document = json!({
        "Type": kind,
        // What has none is empty for templates.
        "Name": mount.volume().unwrap_or_default(),
        "Source": source,
        "Destination": mount.target.display().to_string(),
        "Driver": match kind {
            "volume" => by_plugin.map_or(LOCAL, |volume| volume.spec.driver()),
            _ => "",
        },
        "Mode": mounts::mode(mount),
        "Options": mount.options,
        "RW": !mount.read_only,
        "Propagation": propagation.map_or(if kind == "bind" { "rprivate" } else { "" }, String::as_str),
    });
    if let Some(below) = &mount.subpath {
        document["SubPath"] = below.display().to_string().into();
    }
    document
}
