//! `debug`: a shell with tools of its own, looking into a container that may have none.
//!
//! It is another container, of an image that has tools, in the namespaces of the first one and within
//! its limits, with the first one's files at [`Debugged::PLACE`]. It ends with the first one and is
//! removed then. Nothing of it is mounted in the first container, whose processes see its processes
//! all the same: what keeps them from looking at its files through `/proc/PID/root` is that it has a
//! capability that they have not, CAP_SYS_PTRACE, which debuggers need anyway.

use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use super::{Engine, bundle, content};
use crate::error::{Context, Error, Kind, Result};
use crate::spec::container::{ContainerSpec, Debugged, Settings};
use crate::spec::id::ContainerId;
use crate::spec::namespace::{IpcMode, NamespaceMode, Namespaces};
use crate::spec::network::NetworkMode;
use crate::spec::platform::Platform;
use crate::spec::security::Security;
use crate::spec::userns::{IdMapping, IdRange, MapRequest, UsernsMode, Users};
use crate::store::container::{Builtin, Container, ContainerConfig};
use crate::sys::mountns;

/// A look into a container.
#[derive(Clone, Debug, Default)]
pub struct DebugSpec {
    /// Image with the tools; it must be in the store.
    pub image: String,
    /// Which image of a manifest list.
    pub platform: Option<Platform>,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Variables beside those of the image.
    pub env: Vec<(String, String)>,
    /// `USER[:GROUP]` by the files of the image with the tools; root if there is none.
    pub user: Option<String>,
    /// Working directory; the other container's root if there is none.
    pub working_dir: Option<PathBuf>,
    /// Whether it gets a terminal.
    pub tty: bool,
    /// Whether standard input is passed on.
    pub interactive: bool,
    /// Whether it may do everything.
    pub privileged: bool,
}

/// What keeps the processes of the container that is looked into from looking back.
const GUARD: &str = "SYS_PTRACE";

impl Engine {
    /// Makes the container that looks into another one.
    pub fn create_debug(&self, name: &str, spec: &DebugSpec) -> Result<ContainerId> {
        let target = self.lookup(name)?;
        if target.state.run().is_some_and(|run| run.paused) {
            return Err(Error::new(Kind::Conflict, format!("container {name} is paused"))
                .hint(format!("let it go on with `barge unpause {name}`")));
        }
        let runs = target.state.run().is_some();
        if !runs {
            content::refuse_builtin(&target, "look into")?;
        }
        let wanted = ContainerSpec {
            image: spec.image.clone(),
            platform: spec.platform.clone(),
            command: spec.command.clone(),
            entrypoint: Some(Vec::new()),
            env: spec.env.clone(),
            user: Some(spec.user.clone().unwrap_or_else(|| "0".to_owned())),
            working_dir: Some(
                spec.working_dir.clone().unwrap_or_else(|| PathBuf::from(Debugged::PLACE)),
            ),
            settings: self.debug_settings(&target, spec)?,
            ..ContainerSpec::default()
        };
        let (image, _) = self.image_of(&wanted)?;
        if runs && image.builtin == Some(Builtin::Host) && can_look_back(&target)? {
            return Err(Error::new(
                Kind::Denied,
                format!("container {name} has CAP_{GUARD}: it would see the files of this machine"),
            )
            .hint("name an image with tools by --image"));
        }
        self.create(&wanted)
    }

    fn debug_settings(&self, target: &Container, spec: &DebugSpec) -> Result<Settings> {
        if target.state.run().is_some() {
            return settings_inside(target, spec);
        }
        let config = &target.config;
        let mode = &config.settings.users.mode;
        let mut settings = settings(target, spec)?;
        // Its files have other owners on the disk than it sees: so they look the same.
        if let Some(mapping) = self.mapping_on_disk(config.id_mapping.as_ref(), mode)? {
            settings.users = users_of(&mapping);
        }
        Ok(settings)
    }

    /// Gets hold of the files of the container that one looks into.
    pub(super) fn debugged_files(
        &self,
        config: &ContainerConfig,
    ) -> Result<Option<(PathBuf, OwnedFd)>> {
        let Some(other) = &config.settings.debugged else { return Ok(None) };
        let id = other.id.parse()?;
        let tree = if other.runs {
            let donor = self.donor(&id)?;
            let process = self.process_of(&donor)?;
            mountns::clone_mount_of(process.as_fd(), c"/", true)
                .context(|| format!("cannot show the files of container {}", donor.state.name))?
        } else {
            content::still(self, &self.repaired(&id)?)?
        };
        Ok(Some((Debugged::PLACE.into(), tree)))
    }
}

/// Has a container's IDs mapped as another one's are.
fn users_of(mapping: &IdMapping) -> Users {
    let requests = |ranges: &[IdRange], kinds| -> Vec<MapRequest> {
        let request = |&range| MapRequest { range, adds: false, of_host: false, kinds };
        ranges.iter().map(request).collect()
    };
    Users {
        uids: requests(&mapping.uids, (true, false)),
        gids: requests(&mapping.gids, (false, true)),
        ..Users::default()
    }
}

/// Tells whether a container's processes may look at the files of others that they see.
fn can_look_back(target: &Container) -> Result<bool> {
    let names = bundle::capability_names(&target.config.settings.security)?;
    Ok(names.iter().any(|name| name.strip_prefix("CAP_") == Some(GUARD)))
}

fn settings(target: &Container, spec: &DebugSpec) -> Result<Settings> {
    Ok(Settings {
        tty: spec.tty,
        interactive: spec.interactive,
        remove: true,
        network: NetworkMode::None,
        security: security(target, spec)?,
        debugged: Some(Debugged {
            id: target.id().as_str().to_owned(),
            runs: target.state.run().is_some(),
        }),
        ..Settings::default()
    })
}

/// As [`settings`], in the namespaces of a container that runs.
fn settings_inside(target: &Container, spec: &DebugSpec) -> Result<Settings> {
    let of_target = &target.config.settings;
    let id = target.id().as_str().to_owned();
    let mut settings = settings(target, spec)?;
    let same = |mode: &NamespaceMode| match mode {
        NamespaceMode::Private => NamespaceMode::Container(id.clone()),
        other => other.clone(),
    };
    let namespaces = &of_target.namespaces;
    settings.namespaces = Namespaces {
        pid: same(&namespaces.pid),
        ipc: match &namespaces.ipc {
            IpcMode::Shareable => IpcMode::Container(id.clone()),
            // It has no shared memory to be shown.
            IpcMode::Private | IpcMode::None => {
                let pid = target.state.run().map_or(0, |run| run.pid);
                IpcMode::Ns(format!("/proc/{pid}/ns/ipc").into())
            }
            other => other.clone(),
        },
        uts: same(&namespaces.uts),
        cgroup: same(&namespaces.cgroup),
    };
    settings.network = match &of_target.network {
        mode if mode.is_own() => NetworkMode::Container(id.clone()),
        other => other.clone(),
    };
    let own_users = target.config.id_mapping.is_some() || of_target.users.mode != UsernsMode::Host;
    if own_users {
        settings.users = Users { mode: UsernsMode::Container(id), ..Users::default() };
    }
    Ok(settings)
}

/// What it may do: what the other one may, what is usual, and look at processes.
fn security(target: &Container, spec: &DebugSpec) -> Result<Security> {
    if spec.privileged {
        return Ok(Security { privileged: true, ..Security::default() });
    }
    let names = bundle::capability_names(&target.config.settings.security)?;
    let mut cap_add: Vec<String> =
        names.iter().filter_map(|name| name.strip_prefix("CAP_")).map(str::to_owned).collect();
    if !cap_add.iter().any(|name| name == GUARD) {
        cap_add.push(GUARD.to_owned());
    }
    Ok(Security { cap_add, ..Security::default() })
}
