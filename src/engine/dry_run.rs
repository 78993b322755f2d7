//! `--dry-run`: what the runtime would be asked for, of a container that is never made.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{
    LinuxIdMapping, LinuxIdMappingBuilder, LinuxNamespace, LinuxNamespaceType, Process, Spec, User,
};
use rustix::fs::{Mode, OFlags};
use serde_json::Value;

use super::bundle::{self, Facts};
use super::create::no_image;
use super::{Engine, users};
use crate::error::{Context, Error, Kind, Result};
use crate::runtime;
use crate::runtime::cgroup::Hierarchies;
use crate::spec::container::ContainerSpec;
use crate::spec::namespace::{Existing, NamespaceKind};
use crate::spec::network::NetworkMode;
use crate::spec::userns::{IdMapping, IdRange};
use crate::store::container::{Builtin, ContainerConfig};
use crate::store::driver::Tree;
use crate::sys::root::Root;

/// The ID that stands for the one that would be made up: what is shown is the same each time.
const ID: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// More than any sensible user database; a larger file is not read to its end.
const LARGEST: u64 = 16 << 20;

impl Engine {
    /// Decides everything about a container of an image that is in the store, and makes nothing.
    /// Returns the OCI runtime's configuration, in an order that is the same each time.
    pub fn dry_run(&self, spec: &ContainerSpec) -> Result<Value> {
        self.validate(spec)?;
        let users = self.decide_users(&spec.settings.users)?;
        let (image, shown) = match &spec.settings.rootfs {
            Some(dir) => (no_image()?, dir.path.display().to_string()),
            None => self.image_of(spec)?,
        };
        let mut config = self.decided(spec, &image, shown, &users, ID.parse()?)?;
        self.settle_images(&mut config)?;
        self.settle_artifacts(&mut config)?;
        drop(self.settle_secrets(&mut config)?);
        let mapping = self.mapping_of(&config)?;
        let owner = mapping.as_ref().map(users::first_outside);
        let hierarchies = Hierarchies::detect()?;
        let path = self.group_of(&config, &hierarchies)?;
        let mut facts = Facts::find(self, &config, &path, owner)?;
        facts.volumes = self.shown_volumes(&mut config)?;
        facts.images = self.image_mounts(&config)?;
        let mut oci = bundle::spec(&config, &facts)?;
        if let Some(process) = oci.process_mut() {
            self.complete(process, &config, &facts.groups(&config))?;
        }
        self.complete_linux(&mut oci, &config, mapping.as_ref())?;
        let mut value = serde_json::to_value(&oci).context(|| "cannot show the configuration")?;
        sort(&mut value);
        Ok(value)
    }

    /// Adds what a container's first process finds out by itself: who it is.
    fn complete(
        &self,
        process: &mut Process,
        config: &ContainerConfig,
        groups: &[String],
    ) -> Result<()> {
        let text = |path| self.text_of_image(config, path);
        let (who, home) =
            runtime::who(&config.user, groups, &text("etc/passwd"), &text("etc/group"))?;
        let mut user: User = who;
        user.set_umask(process.user().umask());
        process.set_user(user);
        let mut env = process.env().clone().unwrap_or_default();
        if !env.iter().any(|entry| entry.starts_with("HOME=")) {
            env.push(format!("HOME={home}"));
        }
        process.set_env(Some(env));
        Ok(())
    }

    /// Adds what the runtime gets as descriptors and the like: namespaces to join, and the filter.
    fn complete_linux(
        &self,
        oci: &mut Spec,
        config: &ContainerConfig,
        mapping: Option<&IdMapping>,
    ) -> Result<()> {
        let settings = &config.settings;
        let mut joined = Vec::new();
        for (kind, existing) in settings.namespaces.existing() {
            joined.push(self.joined(kind, existing)?);
        }
        match &settings.network {
            NetworkMode::Container(id) => {
                joined.push(self.joined(NamespaceKind::Network, Existing::Container(id))?);
            }
            NetworkMode::Ns(path) => {
                joined.push(self.joined(NamespaceKind::Network, Existing::Path(path))?);
            }
            _ => {}
        }
        let Some(linux) = oci.linux_mut() else { return Ok(()) };
        if let Some(mapping) = mapping {
            joined.push(namespace(LinuxNamespaceType::User, None));
            linux
                .set_uid_mappings(Some(mappings(&mapping.uids)?))
                .set_gid_mappings(Some(mappings(&mapping.gids)?));
        }
        linux.set_seccomp(bundle::profile(&settings.security)?);
        if let Some(namespaces) = linux.namespaces_mut() {
            namespaces.extend(joined);
        }
        Ok(())
    }

    fn joined(&self, kind: NamespaceKind, existing: Existing<'_>) -> Result<LinuxNamespace> {
        let path = match existing {
            Existing::Path(path) => path.to_owned(),
            Existing::Container(id) => {
                let donor = self.donor(&id.parse()?)?;
                let pid = donor.state.run().map_or(0, |run| run.pid);
                PathBuf::from(format!("/proc/{pid}/ns/{}", kind.name()))
            }
        };
        let kind = match kind {
            NamespaceKind::Cgroup => LinuxNamespaceType::Cgroup,
            NamespaceKind::Ipc => LinuxNamespaceType::Ipc,
            NamespaceKind::Network => LinuxNamespaceType::Network,
            NamespaceKind::Pid => LinuxNamespaceType::Pid,
            NamespaceKind::User => LinuxNamespaceType::User,
            NamespaceKind::Uts => LinuxNamespaceType::Uts,
        };
        Ok(namespace(kind, Some(path)))
    }

    /// Reads a file of an image, which may lead nowhere but into its layer; empty if there is none.
    pub(super) fn text_of_image(&self, config: &ContainerConfig, path: &str) -> String {
        let trees: Vec<PathBuf> = match config.builtin {
            Some(Builtin::Host) => vec!["/".into()],
            _ => {
                let below = match self.store.containers().tree(config) {
                    Tree::Whole(tree) => vec![tree],
                    Tree::Layers(layers) => layers,
                };
                let upper = self.store.containers().dir(&config.id).join("upper");
                std::iter::once(upper).chain(below).collect()
            }
        };
        trees.iter().find_map(|tree| text_of(tree, path)).unwrap_or_default()
    }
}

fn text_of(tree: &Path, path: &str) -> Option<String> {
    let root = Root::open(tree).ok()?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK;
    let file = File::from(root.file(path.as_bytes(), flags, Mode::empty()).ok()?);
    file.metadata().ok().filter(std::fs::Metadata::is_file)?;
    let mut data = Vec::new();
    file.take(LARGEST).read_to_end(&mut data).ok()?;
    Some(String::from_utf8_lossy(&data).into_owned())
}

fn namespace(kind: LinuxNamespaceType, path: Option<PathBuf>) -> LinuxNamespace {
    let mut namespace = LinuxNamespace::default();
    namespace.set_typ(kind).set_path(path);
    namespace
}

fn mappings(ranges: &[IdRange]) -> Result<Vec<LinuxIdMapping>> {
    let mapping = |range: &IdRange| {
        LinuxIdMappingBuilder::default()
            .container_id(range.inside)
            .host_id(range.outside)
            .size(range.count)
            .build()
            .map_err(|error| {
                Error::new(Kind::Internal, "cannot show the user namespace").caused_by(error)
            })
    };
    ranges.iter().map(mapping).collect()
}

/// Puts what comes out of sets and maps without an order into one.
fn sort(value: &mut Value) {
    for path in ["/annotations", "/linux/sysctl", "/linux/resources/unified"] {
        if let Some(map) = value.pointer_mut(path) {
            map.sort_all_objects();
        }
    }
    if let Some(Value::Object(sets)) = value.pointer_mut("/process/capabilities") {
        for set in sets.values_mut().filter_map(Value::as_array_mut) {
            set.sort_unstable_by(|a, b| a.as_str().cmp(&b.as_str()));
        }
    }
}
