//! What cannot be checkpointed: what CRIU cannot be told of.

use crate::engine::Engine;
use crate::error::{Error, Kind, Result};
use crate::spec::mount::{Mount, MountSource};
use crate::spec::network::NetworkMode;
use crate::spec::userns::Users;
use crate::store::container::ContainerConfig;

impl Engine {
    /// Refuses containers that could not be restored.
    pub(super) fn check_can_be_checkpointed(&self, config: &ContainerConfig) -> Result<()> {
        let settings = &config.settings;
        let own = &settings.namespaces;
        let refused = |what: &str, hint: &str| {
            let text = format!("containers with {what} cannot be checkpointed");
            Err(Error::new(Kind::Unsupported, text).hint(hint.to_owned()))
        };
        if settings.tty {
            return refused("a terminal", "run it without --tty");
        }
        if settings.remove {
            return refused("--rm", "the checkpoint would go with the container; run it without");
        }
        if settings.init || settings.init_path.is_some() {
            return refused("an init of this machine", "run it without --init");
        }
        if settings.log.driver.is_passthrough() {
            return refused("the log driver passthrough", "choose another log driver");
        }
        if settings.users != Users::default() || config.id_mapping.is_some() {
            return refused("a user namespace of their own", "run it without --userns");
        }
        if config.builtin.is_some() {
            return refused("files of this machine", "run it of an image");
        }
        if !(own.pid.is_own() && own.ipc.is_own() && own.uts.is_own()) {
            return refused("namespaces of others", "run it with namespaces of its own");
        }
        if matches!(
            settings.network,
            NetworkMode::Container(_)
                | NetworkMode::Ns(_)
                | NetworkMode::Pasta(_)
                | NetworkMode::Slirp4netns(_)
        ) {
            return refused("a network of others", "run it on bridges, or with --network none");
        }
        let plain = "directories, files, plain volumes and tmpfs can be mounted";
        if let Some(mount) = settings.mounts.iter().find(|mount| !is_plain(mount)) {
            let what = format!("this kind of mount, at {},", mount.target.display());
            return refused(&what, plain);
        }
        for name in config.volumes() {
            let volume = self.store.volumes().get(name)?;
            // One that is not here is made anew.
            if volume.is_some_and(|it| it.spec.mount().is_some() || it.spec.is_by_plugin()) {
                return refused(&format!("volumes that are mounted, as {name},"), plain);
            }
        }
        Ok(())
    }
}

/// Tells whether a mount is nothing but a directory or file of this machine, or is made anew.
fn is_plain(mount: &Mount) -> bool {
    let is_simple = !mount.idmap && mount.overlay.is_none() && mount.subpath.is_none();
    let kinds = matches!(
        mount.source,
        MountSource::Bind { .. } | MountSource::Tmpfs { .. } | MountSource::Volume { .. }
    );
    is_simple && kinds
}
