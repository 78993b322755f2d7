//! The network namespace of a container that starts again while others share its network: they have
//! kept it, the container goes back there, and all of them have their network again.
//!
//! Which others these are is on record: who starts a container that nobody shares looks into one
//! directory that is not there. Nobody is locked for that. Guests hold their own lock when they start,
//! and look at us; we look at what was true a moment ago, and at the process itself. Once the namespace
//! is open it does not matter any more whether the guest ends.

use std::cmp::Reverse;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use oci_spec::runtime::{LinuxNamespaceType, Spec};

use crate::engine::Engine;
use crate::engine::bundle;
use crate::engine::users::Prepared;
use crate::error::{Context, Error, Result};
use crate::spec::id::ContainerId;
use crate::spec::network::NetworkMode;
use crate::store::container::{Container, ContainerConfig, Run};
use crate::sys::{netns, process};

/// A network namespace that guests have kept.
pub(super) struct Kept {
    /// The namespace, as something that setns(2) takes.
    pub(super) namespace: (OwnedFd, i32),
    guests: Vec<Container>,
    /// What the container's files about names have said in its last run.
    said: Vec<(&'static str, String)>,
}

/// Finds the namespace that guests of a container with a network of its own have kept, and what is to
/// be said if it cannot go back there. `users` is the user namespace that the container is about to have,
/// if that is not ours.
pub(super) fn find(
    engine: &Engine,
    config: &ContainerConfig,
    users: Option<&Prepared>,
) -> Result<(Option<Kept>, Option<String>)> {
    if !config.has_own_network() {
        return Ok((None, None));
    }
    let mut guests = guests(engine, &config.id)?;
    // Should they be in several: who came last has seen the container's last run.
    guests.sort_by_key(|guest| Reverse(guest.state.started));
    let open = |guest: &Container| network_of(guest.state.process()?);
    let Some(namespace) = guests.iter().find_map(open) else { return Ok((None, None)) };
    let ours = match users {
        Some(users) => same_owner(&namespace, users.for_runtime().namespace),
        None => File::open("/proc/self/ns/user").and_then(|own| same_owner(&namespace, own)),
    };
    // Who is not told whose it is has no power over it.
    if !ours.unwrap_or_default() {
        let names: Vec<_> = guests.iter().map(|guest| guest.state.name.as_str()).collect();
        let text = format!(
            "what shares its network has none until it is started again ({}): the namespace belongs to the user namespace of the last run",
            names.join(", ")
        );
        return Ok((None, Some(text)));
    }
    let run_dir = engine.store.containers().run_dir(&config.id);
    let said = bundle::name_files().filter_map(|name| {
        // Without it, guests keep what they have.
        fs::read_to_string(bundle::own_file(&run_dir, name)).ok().map(|text| (name, text))
    });
    let said = said.collect();
    Ok((Some(Kept { namespace: (namespace, libc::CLONE_NEWNET), guests, said }), None))
}

/// Has a container join a network namespace in place of getting a new one.
pub(super) fn join(spec: &mut Spec) {
    let namespaces = spec.linux_mut().as_mut().and_then(|linux| linux.namespaces_mut().as_mut());
    if let Some(namespaces) = namespaces {
        namespaces.retain(|namespace| namespace.typ() != LinuxNamespaceType::Network);
    }
}

/// Returns the running containers that share a container's network, directly or through others.
fn guests(engine: &Engine, id: &ContainerId) -> Result<Vec<Container>> {
    let containers = engine.store.containers();
    let mut guests = Vec::new();
    let mut hosts = vec![id.clone()];
    let mut next = 0;
    while let Some(host) = hosts.get(next).cloned() {
        next += 1;
        for id in containers.dependants(&host)? {
            // One that cannot be read, or that is gone by now, shares nothing that could be found.
            let Ok(Some(guest)) = containers.get(&id) else { continue };
            let shares = matches!(&guest.config.settings.network,
                NetworkMode::Container(other) if *other == host.as_str());
            if shares && !hosts.contains(&id) {
                hosts.push(id);
                guests.extend(guest.state.process().is_some().then_some(guest));
            }
        }
    }
    Ok(guests)
}

/// Opens the network namespace of a run; `None` if it has ended.
fn network_of(run: &Run) -> Option<OwnedFd> {
    if process::boot_id().is_ok_and(|boot| boot != run.boot_id) {
        return None;
    }
    let file = File::open(format!("/proc/{}/ns/net", run.pid)).ok()?;
    // In this order: if the number is still that process's, it was so before.
    process::open(run.pid, run.start_time).ok()??;
    // A guest that has all power may have gone to ours, which is nothing to clear away in.
    let own = File::open("/proc/self/ns/net").ok()?;
    (!is_same(&file, &own).ok()?).then(|| file.into())
}

fn same_owner(netns: &OwnedFd, users: impl AsFd) -> io::Result<bool> {
    is_same(netns::owner(netns.as_fd())?, users)
}

fn is_same(one: impl AsFd, other: impl AsFd) -> io::Result<bool> {
    let number = |file: rustix::fs::Stat| (file.st_dev, file.st_ino);
    Ok(number(rustix::fs::fstat(one)?) == number(rustix::fs::fstat(other)?))
}

impl Kept {
    /// Makes a namespace that nobody is in yet.
    pub(super) fn new() -> Result<Self> {
        let namespace = netns::make().context(|| "cannot make a network namespace")?;
        let namespace = (namespace, libc::CLONE_NEWNET);
        Ok(Self { namespace, guests: Vec::new(), said: Vec::new() })
    }

    /// Says how else the container can be started, if its network cannot be made there.
    pub(super) fn explain(&self, error: Error) -> Error {
        if error.hint_text().is_some() {
            return error;
        }
        let names: Vec<_> = self.guests.iter().map(|guest| guest.state.name.as_str()).collect();
        error.hint(format!(
            "containers that run have kept its network namespace: {}; stop them and it gets a new one",
            names.join(", ")
        ))
    }

    /// Has the guests see the names that the container sees now.
    pub(super) fn tell_names(&self, engine: &Engine, id: &ContainerId) {
        let containers = engine.store.containers();
        for (name, before) in &self.said {
            let own = bundle::own_file(&containers.run_dir(id), name);
            if let Ok(now) = fs::read_to_string(own) {
                tell(engine, &self.guests, name, before, &now);
            }
        }
    }
}

/// Has the guests of a container that runs see that one of its files about names was changed.
pub(super) fn tell_guests(engine: &Engine, id: &ContainerId, name: &str, before: &str, now: &str) {
    // They go on with the names that they have.
    let Ok(guests) = guests(engine, id) else { return };
    tell(engine, &guests, name, before, now);
}

fn tell(engine: &Engine, guests: &[Container], name: &str, before: &str, now: &str) {
    for guest in guests {
        let path = bundle::own_file(&engine.store.containers().run_dir(guest.id()), name);
        // It may have ended and be gone; otherwise it goes on with the names that it has.
        drop(follow(&path, before, now));
    }
}

/// Changes a file of a guest as the container's own has changed; what the guest has put there stays.
fn follow(path: &Path, before: &str, now: &str) -> Result<()> {
    let context = || format!("cannot change {}", path.display());
    let text = fs::read_to_string(path).context(context)?;
    let followed = followed(&text, before, now);
    if followed == text {
        return Ok(());
    }
    // Others see this very file, so it is not replaced by another one; nor made, if it is gone.
    let file = File::options().write(true).truncate(true).open(path);
    file.and_then(|mut file| file.write_all(followed.as_bytes())).context(context)
}

fn followed(text: &str, before: &str, now: &str) -> String {
    if before == now {
        return text.to_owned();
    }
    if text == before {
        return now.to_owned();
    }
    let has = |all: &str, line: &str| all.lines().any(|it| it == line);
    let kept = text.lines().filter(|line| !has(before, line) || has(now, line));
    let new = now.lines().filter(|line| !has(before, line) && !has(text, line));
    kept.chain(new).flat_map(|line| [line, "\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_guests_follow() {
        let before = "127.0.0.1\tlocalhost\n10.0.0.2\tx\n";
        let now = "127.0.0.1\tlocalhost\n10.0.0.3\tx\n";
        for (text, want) in [
            (before, now),
            (now, now),
            ("", "10.0.0.3\tx\n"),
            (
                "127.0.0.1\tlocalhost\n10.0.0.2\tx\n10.9.9.9\tmine",
                "127.0.0.1\tlocalhost\n10.9.9.9\tmine\n10.0.0.3\tx\n",
            ),
        ] {
            assert_eq!(followed(text, before, now), want, "{text:?}");
        }
        assert_eq!(followed("a", now, now), "a");
    }
}
