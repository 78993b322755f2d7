//! A container whose processes are made of a checkpoint.
//!
//! All around them is made as for a start. Its network is made before they are, in a namespace of its own,
//! with the addresses that it had: CRIU puts the processes there.

use std::borrow::Cow;
use std::ffi::CString;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd};

use oci_spec::runtime::Spec;

use super::{Given, Held, Kept, Made, Running, end_network, make, run_of};
use crate::engine::Engine;
use crate::engine::checkpoint::{Notes, RestoreOptions};
use crate::engine::monitor::stdio::Streams;
use crate::engine::volumes::MachineMounts;
use crate::error::{Context, Error, Kind, Result};
use crate::net::Attached;
use crate::runtime::Restore;
use crate::spec::network::NetworkMode;
use crate::store::container::ContainerConfig;
use crate::sys::clone::Child;
use crate::sys::{netns, process};

/// Makes a container of its checkpoint; it runs then. On failure nothing of its run is left.
pub(in crate::engine::monitor) fn restore(
    engine: &Engine,
    config: &ContainerConfig,
    given: &Given,
    mounts: MachineMounts,
    options: RestoreOptions,
) -> Result<Running> {
    let notes = engine.checkpoint_notes(config)?;
    let config = &*with_addresses(config, &notes, options);
    let made = restore_all(engine, config, given, mounts, &notes, options);
    made.inspect_err(|_| {
        // The first failure is the one to report.
        drop(engine.release_volumes(&config.id));
    })
}

fn restore_all(
    engine: &Engine,
    config: &ContainerConfig,
    given: &Given,
    mounts: MachineMounts,
    notes: &Notes,
    options: RestoreOptions,
) -> Result<Running> {
    let own_network = config.has_own_network();
    let find_network = |_: Option<&_>| Ok((own_network.then(Kept::new).transpose()?, None));
    let mut made = make(engine, config, given, mounts, find_network)?;
    let namespace = made.network.joined().first();
    let namespace = namespace.map(|(file, _)| file.try_clone()).transpose();
    let namespace = namespace.context(|| "cannot copy a descriptor")?;
    let network = std::mem::replace(&mut made.network, super::Network::Existing(Vec::new()));
    let attached = match network.attach(engine, config, None) {
        Ok(attached) => attached,
        Err(error) => {
            drop(crate::net::detach(&engine.store, &config.id));
            drop(made.cgroup.remove());
            return Err(error);
        }
    };
    let asks = attached.as_ref().is_some_and(|attached| attached.asks_on().next().is_some());
    let restored = match asks {
        true => Err(Error::new(
            Kind::Unsupported,
            "a container cannot be restored on a network where others give addresses",
        )),
        false => {
            processes(engine, config, &made, notes, options, namespace.as_ref().map(AsFd::as_fd))
        }
    };
    match restored {
        Ok((child, streams)) => Ok(running(made, attached, child, streams)),
        Err(error) => {
            end_network(engine, &config.id, attached);
            drop(engine.forget_secrets(&config.id));
            drop(made.cgroup.remove());
            Err(error)
        }
    }
}

fn running(made: Made, network: Option<Attached>, child: Child, streams: Streams) -> Running {
    let Made { spec, rootfs, facts, cgroup, memory, boot_id, mut warnings, .. } = made;
    warnings.extend(network.iter().flat_map(|network| network.warnings.iter().cloned()));
    let run = run_of(child.pid, boot_id, facts.cgroup);
    let is_synced = rootfs.is_synced();
    let root = is_synced.then(|| process::root(child.pid).ok()).flatten();
    // Those that it begins with have run; others are told of its end.
    let hooks = spec.hooks().clone().map(|hooks| (hooks, spec.annotations().clone()));
    let held = Held { run, warnings, is_synced, cgroup, network, hooks, volumes: memory.held };
    Running { held, child, streams, root }
}

/// Has CRIU make the processes.
fn processes(
    engine: &Engine,
    config: &ContainerConfig,
    made: &Made,
    notes: &Notes,
    options: RestoreOptions,
    network: Option<BorrowedFd<'_>>,
) -> Result<(Child, Streams)> {
    if let Some(network) = network {
        settle(network, &made.spec)?;
    }
    let (streams, ends) = Streams::pipes(config.settings.interactive)
        .context(|| "cannot make pipes for the container")?;
    let dir = engine.store.containers().dir(&config.id);
    let cgroup = made.facts.cgroup.as_str();
    let restore = Restore {
        spec: &made.spec,
        rootfs: &made.rootfs,
        images: &dir.join("checkpoint"),
        work: &dir,
        pid_file: &made.facts.run_dir.join("restored"),
        cgroup: &made.cgroup,
        new_group: (cgroup != notes.cgroup).then_some(cgroup),
        network,
        descriptors: &notes.descriptors,
        stdio: ends.stdio(),
        liberties: &options.liberties(),
    };
    crate::store::file::remove_file(restore.pid_file)?;
    Ok((restore.run()?, streams))
}

/// Sets kernel parameters of the network, which CRIU leaves as they are in a namespace of ours.
fn settle(network: BorrowedFd<'_>, spec: &Spec) -> Result<()> {
    let sysctls = spec.linux().as_ref().and_then(|linux| linux.sysctl().as_ref());
    for (name, value) in sysctls.into_iter().flatten().filter(|(name, _)| name.starts_with("net."))
    {
        let context = || format!("cannot set the kernel parameter {name}");
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        let path = CString::new(path).map_err(|_| Error::new(Kind::Invalid, context()))?;
        netns::setting_in(network, &path)
            .and_then(|mut setting| setting.write_all(value.as_bytes()))
            .context(context)?;
    }
    Ok(())
}

/// Asks for the addresses that the container had, which its connections and programs know.
fn with_addresses<'a>(
    config: &'a ContainerConfig,
    notes: &Notes,
    options: RestoreOptions,
) -> Cow<'a, ContainerConfig> {
    let mut members = notes.networks.clone();
    for member in &mut members {
        if options.ignore_static_ip {
            (member.ipv4, member.ipv6) = (None, None);
        }
        if options.ignore_static_mac {
            member.mac = None;
        }
    }
    match &config.settings.network {
        NetworkMode::Default | NetworkMode::Networks(_) if !members.is_empty() => {
            let mut config = config.clone();
            config.settings.network = NetworkMode::Networks(members);
            Cow::Owned(config)
        }
        _ => Cow::Borrowed(config),
    }
}
