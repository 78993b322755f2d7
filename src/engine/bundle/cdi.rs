//! What devices of the Container Device Interface change.

use std::path::Path;

use oci_spec::runtime::{
    Hook, Hooks, LinuxDevice, LinuxDeviceCgroup, LinuxDeviceType, Mount as OciMount, Spec,
};

use super::Facts;
use super::devices::{device, rule};
use super::mounts::{bind, mount};
use crate::error::{Context, Error, Kind, Result};
use crate::spec::cdi::{DeviceNode, EditHook, EditMount, Edits};
use crate::store::container::ContainerConfig;

/// Changes a container as its devices say.
pub(super) fn apply(spec: &mut Spec, config: &ContainerConfig, facts: &Facts) -> Result<()> {
    for edits in &facts.edits {
        add_env(spec, &edits.env);
        add_nodes(spec, edits, config, facts)?;
        let is_own = |path: &Path| config.settings.mounts.iter().any(|own| own.target == path);
        let wanted = edits.mounts.iter().filter(|it| !is_own(&it.container_path));
        add_mounts(spec, wanted.map(of_edit));
        for hook in &edits.hooks {
            add_hook(spec, hook)?;
        }
    }
    if facts.own_users && spec.hooks().as_ref().is_some_and(|it| it.create_container().is_some()) {
        return Err(Error::new(
            Kind::Unsupported,
            "devices whose hooks change the container's files cannot be used with a user namespace of its own",
        )
        .hint("leave out --userns, --uidmap and the like"));
    }
    Ok(())
}

fn add_env(spec: &mut Spec, env: &[String]) {
    let Some(process) = spec.process_mut().as_mut() else { return };
    let mut all = process.env().clone().unwrap_or_default();
    for entry in env {
        let name = entry.split('=').next().unwrap_or_default();
        all.retain(|other| other.split('=').next() != Some(name));
        all.push(entry.clone());
    }
    process.set_env(Some(all));
}

fn add_mounts(spec: &mut Spec, more: impl Iterator<Item = OciMount>) {
    let mut all = spec.mounts().clone().unwrap_or_default();
    all.extend(more);
    spec.set_mounts(Some(all));
}

fn of_edit(edit: &EditMount) -> OciMount {
    let mut options: Vec<&str> = edit.options.iter().map(String::as_str).collect();
    match edit.kind.as_deref() {
        None | Some("" | "bind") => {
            if !options.contains(&"bind") && !options.contains(&"rbind") {
                options.push("rbind");
            }
            if !options.iter().any(|it| {
                it.ends_with("private") || it.ends_with("slave") || it.ends_with("shared")
            }) {
                options.push("rprivate");
            }
            bind(&edit.host_path, &edit.container_path, &options)
        }
        Some(kind) => mount(&edit.container_path, kind, &edit.host_path, &options),
    }
}

fn add_nodes(
    spec: &mut Spec,
    edits: &Edits,
    config: &ContainerConfig,
    facts: &Facts,
) -> Result<()> {
    if facts.is_confined() {
        let binds = edits
            .device_nodes
            .iter()
            .map(|node| bind(source(node), &node.path, &["bind", "rprivate", "nosuid", "noexec"]));
        add_mounts(spec, binds);
        return Ok(());
    }
    let Some(linux) = spec.linux_mut().as_mut() else { return Ok(()) };
    let mut devices = linux.devices().clone().unwrap_or_default();
    let mut rules: Vec<LinuxDeviceCgroup> = Vec::new();
    for node in &edits.device_nodes {
        let made = of_node(node)?;
        let access = node.permissions.as_deref().filter(|it| !it.is_empty()).unwrap_or("rwm");
        let numbers = (Some(made.major()), Some(made.minor()));
        rules.push(rule(true, Some(made.typ()), numbers.0, numbers.1, access));
        devices.retain(|other: &LinuxDevice| other.path() != made.path());
        devices.push(made);
    }
    linux.set_devices(Some(devices));
    if !config.settings.security.privileged
        && let Some(resources) = linux.resources_mut().as_mut()
    {
        let mut all = resources.devices().clone().unwrap_or_default();
        all.extend(rules);
        resources.set_devices(Some(all));
    }
    Ok(())
}

fn source(node: &DeviceNode) -> &Path {
    node.host_path.as_deref().filter(|path| !path.as_os_str().is_empty()).unwrap_or(&node.path)
}

fn of_node(node: &DeviceNode) -> Result<LinuxDevice> {
    let path = source(node);
    let mut made = match (node.kind.as_deref(), node.major, node.minor) {
        (Some(kind @ ("b" | "c" | "u")), Some(major), Some(minor)) => {
            let mut made = LinuxDevice::default();
            let kind = if kind == "b" { LinuxDeviceType::B } else { LinuxDeviceType::C };
            made.set_path(node.path.clone()).set_typ(kind).set_major(major).set_minor(minor);
            made.set_file_mode(Some(0o666)).set_uid(Some(0)).set_gid(Some(0));
            made
        }
        _ => {
            let metadata = std::fs::metadata(path)
                .context(|| format!("setting up CDI devices: cannot use {}", path.display()))?;
            device(&node.path, &metadata).ok_or_else(|| {
                let text = format!("setting up CDI devices: {} is not a device", path.display());
                Error::new(Kind::Invalid, text)
            })?
        }
    };
    if node.file_mode.is_some() {
        made.set_file_mode(node.file_mode);
    }
    if node.uid.is_some() {
        made.set_uid(node.uid);
    }
    if node.gid.is_some() {
        made.set_gid(node.gid);
    }
    Ok(made)
}

fn add_hook(spec: &mut Spec, asked: &EditHook) -> Result<()> {
    let mut hook = Hook::default();
    hook.set_path(asked.path.clone()).set_timeout(asked.timeout);
    hook.set_args((!asked.args.is_empty()).then(|| asked.args.clone()));
    hook.set_env((!asked.env.is_empty()).then(|| asked.env.clone()));
    let mut hooks: Hooks = spec.hooks().clone().unwrap_or_default();
    let list = match asked.hook_name.as_str() {
        // The older name of nearly the same.
        "prestart" | "createRuntime" => hooks.create_runtime_mut(),
        "createContainer" => hooks.create_container_mut(),
        "startContainer" => hooks.start_container_mut(),
        "poststart" => hooks.poststart_mut(),
        "poststop" => hooks.poststop_mut(),
        other => {
            let text = format!("setting up CDI devices: unknown hook `{other}`");
            return Err(Error::new(Kind::Invalid, text));
        }
    };
    list.get_or_insert_default().push(hook);
    spec.set_hooks(Some(hooks));
    Ok(())
}
