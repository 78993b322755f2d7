//! `create`: decides everything about a container and records it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::start::is_interrupted;
use super::users::Decided;
use super::{Engine, bundle, cdi, host, log_tag, now, time_zone};
use crate::error::{Context, Error, Kind, Result};
use crate::runtime::rlimit;
use crate::spec::container::{ContainerSpec, RootfsDir, Settings};
use crate::spec::digest::{Digest, ImageId};
use crate::spec::group::CgroupsMode;
use crate::spec::id::ContainerId;
use crate::spec::image::RunConfig;
use crate::spec::limits::Resources;
use crate::spec::mount::{Mount, MountSource};
use crate::spec::name;
use crate::spec::network::{NetworkMode, PortMapping, Protocol};
use crate::spec::notify::SdNotify;
use crate::spec::process::Signal;
use crate::spec::storage::DriverName;
use crate::spec::sysctl::{SysctlNamespace, namespace_of};
use crate::spec::systemd;
use crate::spec::userns::IdMapping;
use crate::spec::volume::ImageVolumes;
use crate::store::container::{Belongings, Builtin, ContainerConfig};
use crate::store::driver::NewTree;
use crate::store::events::{Action, Event};
use crate::store::garbage::Parts;
use crate::store::image::{Image, not_known};

/// The smallest memory limit that Docker allows, in bytes.
const LEAST_MEMORY: u64 = 6 << 20;

/// Where programs are looked for in an image that does not say.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

impl Engine {
    /// Makes a container of an image that is in the store.
    pub fn create(&self, spec: &ContainerSpec) -> Result<ContainerId> {
        self.validate(spec)?;
        if let (true, Some(name)) = (spec.replace, &spec.name) {
            self.make_room(name)?;
        }
        let made = self.create_once(spec);
        match made {
            // The holder may be a container whose creation was cut off.
            Err(error) if error.kind() == Kind::Conflict && self.sweep()? => {
                self.create_once(spec).map_err(|_| error)
            }
            other => other,
        }
    }

    /// Removes what was cut off; `false` if there was nothing.
    pub(super) fn sweep(&self) -> Result<bool> {
        let containers = self.store.containers();
        if containers.unfinished()?.is_empty() {
            return Ok(false);
        }
        match self.store.try_exclusive()? {
            Some(lock) => containers.sweep(&lock).map(|()| true),
            // What is being made right now is not to be swept.
            None => Ok(false),
        }
    }

    fn create_once(&self, spec: &ContainerSpec) -> Result<ContainerId> {
        let users = self.decide_users(spec)?;
        let owners = self.mapping_on_disk(users.mapping.as_ref(), &spec.settings.users.mode)?;
        let mut copied: Option<(ImageId, Option<NewTree>)> = None;
        let (image, shown, tree, _no_gc) = loop {
            if let Some(dir) = &spec.settings.rootfs {
                let shown = dir.path.display().to_string();
                break (no_image()?, shown, None, self.store.shared()?);
            }
            // Until the container is on record, nobody may remove its image.
            let no_gc = self.store.shared()?;
            let (image, shown) = self.image_of(spec)?;
            match copied {
                _ if self.store.driver() == DriverName::Overlay && owners.is_none() => {
                    break (image, shown, None, no_gc);
                }
                // The name may lead to another image by now.
                Some((of, tree)) if of == image.id => break (image, shown, tree, no_gc),
                _ => {}
            }
            // Others need not wait for the copy of a large image.
            let parts = Parts::of(&image.layers, []);
            let pin = self.store.pin(&parts)?;
            drop(no_gc);
            let tree = self.copy(spec, &image, owners.as_ref());
            drop(pin);
            if let Err(error) = self.image_of(spec) {
                // Somebody has removed the image, and left to us what we were at. What cannot be
                // freed now is garbage for the next prune.
                drop(tree);
                drop(self.free_layers(&parts));
                return Err(error);
            }
            copied = Some((image.id.clone(), tree?));
        };
        let mut decided = self.decided(spec, &image, shown, &users, random_id()?)?;
        make_sources(&decided)?;
        self.settle_images(&mut decided)?;
        let secrets = self.settle_secrets(&mut decided)?;
        let _networks = self.settle_networks(&mut decided)?;
        let volumes = self.take_volumes(&mut decided)?;
        let own = Belongings { tree: tree.as_ref(), volumes: &volumes, secrets: &secrets };
        let created = self.record_named(spec, &decided, &users, &own);
        if created.is_err() {
            drop(volumes);
            // The failure to report is the first one.
            drop(self.remove_anonymous_volumes(&decided));
        }
        created
    }

    /// Records a container under the name that was asked for, or one that is made up.
    fn record_named(
        &self,
        spec: &ContainerSpec,
        config: &ContainerConfig,
        users: &Decided,
        own: &Belongings<'_>,
    ) -> Result<ContainerId> {
        for attempt in 0.. {
            let name = match &spec.name {
                Some(name) => name.clone(),
                None => name::random(u64::from_ne_bytes(random()?), attempt),
            };
            match self.record(config, &name, own) {
                // A name that was made up is in use: make up another one.
                Err(error) if error.kind() == Kind::Conflict && spec.name.is_none() => {}
                Err(error) => return Err(error),
                Ok(()) => {
                    if let Some(range) = &users.reservation {
                        range.hold(&config.id)?;
                    }
                    if let Some(path) = &spec.settings.cidfile {
                        self.write_cidfile(path, &config.id)?;
                    }
                    return Ok(config.id.clone());
                }
            }
        }
        Err(Error::new(Kind::Unavailable, "cannot make up a name that is not in use"))
    }

    /// Decides everything about a container, and makes nothing.
    pub(super) fn decided(
        &self,
        spec: &ContainerSpec,
        image: &Image,
        shown: String,
        users: &Decided,
        id: ContainerId,
    ) -> Result<ContainerConfig> {
        let mut config = decide(&*self.with_volumes_of_others(spec)?, image, shown, id)?;
        self.settle_donors(&mut config)?;
        config.id_mapping.clone_from(&users.mapping);
        if let (None, Some(user)) = (&spec.user, &users.user) {
            config.user.clone_from(user);
        }
        if spec.settings.sdnotify == SdNotify::Healthy && config.health.is_none() {
            return Err(Error::new(
                Kind::Invalid,
                "sdnotify policy \"healthy\" requires a healthcheck to be set",
            )
            .hint("set one with --health-cmd"));
        }
        // A template that is wrong is refused here, and not by the first start.
        log_tag::tag(&config, spec.name.as_deref().unwrap_or_default())?;
        Ok(config)
    }

    /// Finds the image of a container, and what it is called there.
    pub(super) fn image_of(&self, spec: &ContainerSpec) -> Result<(Image, String)> {
        let found = match self.store.images().find_named(&spec.image)? {
            Some(found) => Some(found),
            None => super::lists::here(&self.store, &spec.image, spec.platform.as_ref())?,
        };
        let (image, reference) = found.ok_or_else(|| not_known(&spec.image))?;
        if image.builtin == Some(Builtin::Host) && self.store.driver() != DriverName::Overlay {
            return Err(no_overlay(self.store.driver()));
        }
        let shown = reference.map_or_else(|| spec.image.clone(), |name| name.to_string());
        Ok((image, shown))
    }

    /// Frees layers that nobody needs any more.
    fn free_layers(&self, parts: &Parts) -> Result<()> {
        match self.store.try_exclusive()? {
            Some(lock) => {
                let garbage = self.store.free(parts, &lock)?;
                drop(lock);
                garbage.erase().map(drop)
            }
            // Others are making something; it is not to be waited for.
            None => Ok(()),
        }
    }

    /// Makes the container's own copy of its image, where overlay does not do that.
    fn copy(
        &self,
        spec: &ContainerSpec,
        image: &Image,
        owners: Option<&IdMapping>,
    ) -> Result<Option<NewTree>> {
        let durable = !spec.settings.remove;
        self.store.new_tree(&image.layers, durable, owners, &is_interrupted).map_err(|error| {
            if is_interrupted() {
                return Error::new(Kind::Unavailable, "interrupted before the container was made");
            }
            error
        })
    }

    /// Finds what is wrong with a request before anything is made.
    pub(super) fn validate(&self, spec: &ContainerSpec) -> Result<()> {
        let settings = &spec.settings;
        bundle::capabilities(&settings.security)?;
        if let Some(dir) = spec.working_dir.as_ref().filter(|dir| !dir.is_absolute()) {
            let message =
                format!("the working directory `{}` is not an absolute path", dir.display());
            return Err(Error::new(Kind::Invalid, message));
        }
        rlimit::resolve(&settings.ulimits)?;
        settings.log.check_terminal(settings.tty)?;
        if let Some(zone) = &settings.time_zone {
            time_zone::read(zone)?;
        }
        if let Some(program) = &settings.init_path {
            std::fs::metadata(program).context(|| format!("statfs {}", program.display()))?;
        }
        cdi::edits(settings)?;
        check_groups(settings)?;
        check_memory(&settings.resources)?;
        if let Some(RootfsDir { path, .. }) = &settings.rootfs {
            let found = std::fs::metadata(path).context(|| format!("statfs {}", path.display()))?;
            if !found.is_dir() {
                let message = format!("the root file system {} is no directory", path.display());
                return Err(Error::new(Kind::Invalid, message));
            }
        }
        for mount in &settings.mounts {
            if let MountSource::Bind { path, create: false } = &mount.source {
                std::fs::metadata(path).context(|| format!("statfs {}", path.display()))?;
            }
        }
        if self.host.rootless && settings.mounts.iter().any(|mount| mount.idmap) {
            return Err(Error::new(
                Kind::Unsupported,
                "the mount option `idmap` needs root: the kernel lets nobody else map owners",
            )
            .hint("U gives the files to the container's user instead"));
        }
        // What lies below a path may lead elsewhere by the time it is looked at.
        let changes = |mount: &Mount| mount.chown || mount.overlay.is_some();
        if settings.mounts.iter().any(|mount| mount.subpath.is_some() && changes(mount)) {
            return Err(Error::new(
                Kind::Invalid,
                "the mount options `U` and `O` cannot be set together with a subpath",
            ));
        }
        let mut targets: Vec<&Path> =
            settings.mounts.iter().map(|mount| mount.target.as_path()).collect();
        targets.sort();
        if let Some(twice) = targets.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Error::new(
                Kind::Invalid,
                format!("{}: duplicate mount destination", twice[0].display()),
            ));
        }
        if self.host.rootless && matches!(settings.network, NetworkMode::Networks(_)) {
            return Err(Error::new(Kind::Unsupported, "bridge networks need root")
                .hint("leave --network out to use pasta, or use --network host or none"));
        }
        if self.host.rootless && !settings.device_rules.is_empty() {
            return Err(Error::new(
                Kind::Unsupported,
                "device cgroup rules are not supported in rootless mode or in a user namespace",
            )
            .hint("--device shows a device that you may use yourself"));
        }
        // They become a part of /etc/hosts, where another line is another machine.
        let bad = |name: &&String| name.contains(|it: char| it.is_whitespace() || it.is_control());
        if let Some(name) =
            [&settings.hostname, &settings.domainname].into_iter().flatten().find(bad)
        {
            return Err(Error::new(Kind::Invalid, format!("invalid host name {name:?}")));
        }
        let (own_network, own) = (settings.network.is_own(), &settings.namespaces);
        if let Some(name) = settings
            .sysctls
            .keys()
            .find(|name| !is_of_namespace(name, own.ipc.is_own(), own_network, own.uts.is_own()))
        {
            return Err(Error::new(
                Kind::Invalid,
                format!("sysctl `{name}` cannot be set for one container"),
            )
            .hint("only those of the container's own network, IPC and host name namespaces can"));
        }
        Ok(())
    }

    fn make_room(&self, name: &str) -> Result<()> {
        match self.store.containers().lookup(name) {
            Ok(_) => {
                let options =
                    super::RemoveOptions { force: true, ..super::RemoveOptions::default() };
                self.remove(name, options).map(drop)
            }
            Err(error) if error.kind() == Kind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    pub(super) fn record(
        &self,
        config: &ContainerConfig,
        name: &str,
        own: &Belongings<'_>,
    ) -> Result<()> {
        self.store.containers().create(config, name, own)?;
        self.record_event(Event::of_named(config, name, Action::Create));
        Ok(())
    }

    fn write_cidfile(&self, path: &Path, id: &ContainerId) -> Result<()> {
        let written = std::fs::write(path, id.as_str())
            .context(|| format!("cannot write the container ID to {}", path.display()));
        if written.is_err() {
            // The first failure is the one to report.
            let locked = self.store.containers().lock(id);
            // Its volumes are still held; who made them removes them.
            drop(locked.and_then(|locked| self.take_off_record(locked, false)?.erase()));
        }
        written
    }
}

/// What stands for the image of a container that has a directory instead.
pub(super) fn no_image() -> Result<Image> {
    Ok(Image {
        id: ImageId(Digest::from_hex(&"0".repeat(64))?),
        layers: Vec::new(),
        config: RunConfig::default(),
        architecture: String::new(),
        variant: None,
        os: "linux".to_owned(),
        created: 0,
        size: 0,
        manifest_digest: None,
        blobs: Vec::new(),
        builtin: None,
        format: None,
    })
}

/// The error for the one image that is nothing but overlays.
fn no_overlay(driver: DriverName) -> Error {
    Error::new(
        Kind::Unsupported,
        format!("builtin/host shows this machine's own files through overlay; the storage driver here is `{driver}`"),
    )
    .hint("name another store with --root, and let it have overlay: --storage-driver overlay")
}

/// Refuses what control groups are needed for, where there are none.
fn check_groups(settings: &Settings) -> Result<()> {
    let invalid = |text: &str| Err(Error::new(Kind::Invalid, text));
    let others = Resources { shm_size: None, oom_score_adj: None, ..settings.resources.clone() };
    match settings.cgroups {
        CgroupsMode::Enabled => Ok(()),
        _ if settings.cgroup_parent.is_some() => {
            invalid("cannot set a cgroup parent if cgroups are disabled or split")
        }
        CgroupsMode::Disabled if others != Resources::default() => {
            invalid("cannot specify resource limits when cgroups are disabled")
        }
        CgroupsMode::Disabled | CgroupsMode::Split => Ok(()),
    }
}

/// Refuses limits of memory that make no sense, as Docker does.
pub(super) fn check_memory(resources: &Resources) -> Result<()> {
    let invalid = |text: &str| Err(Error::new(Kind::Invalid, text));
    let memory = resources.memory.filter(|bytes| *bytes > 0);
    if memory.is_some_and(|bytes| bytes < LEAST_MEMORY) {
        return invalid("minimum memory limit allowed is 6MB");
    }
    // -1 is no limit of swap, 0 none asked for.
    match (resources.memory_swap.and_then(|bytes| u64::try_from(bytes).ok()), memory) {
        (None | Some(0), _) => Ok(()),
        (Some(_), None) => {
            invalid("you should always set the memory limit when using the memory-swap limit")
        }
        (Some(swap), Some(memory)) if swap < memory => invalid(
            "minimum memory-swap limit should be larger than the memory limit: it is memory and swap together",
        ),
        _ => Ok(()),
    }
}

/// Tells whether a kernel parameter belongs to one of a container's own namespaces, as Docker sees it.
fn is_of_namespace(name: &str, ipc: bool, network: bool, uts: bool) -> bool {
    match namespace_of(name) {
        Some(SysctlNamespace::Ipc) => ipc,
        Some(SysctlNamespace::Network) => network,
        Some(SysctlNamespace::Uts) => uts,
        Some(SysctlNamespace::User) | None => false,
    }
}

pub(super) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    let mut filled = 0;
    while filled < N {
        let flags = rustix::rand::GetRandomFlags::empty();
        filled += rustix::rand::getrandom(&mut bytes[filled..], flags)
            .context(|| "cannot get random numbers")?;
    }
    Ok(bytes)
}

pub(super) fn random_id() -> Result<ContainerId> {
    loop {
        if let Some(id) = ContainerId::from_random(random()?) {
            return Ok(id);
        }
    }
}

/// Decides everything: a pure function of what was asked and what the image says.
pub(super) fn decide(
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

/// Makes the directories to be bound that are not there.
fn make_sources(config: &ContainerConfig) -> Result<()> {
    for mount in &config.settings.mounts {
        if let MountSource::Bind { path, create: true } = &mount.source
            && !path.exists()
        {
            std::fs::create_dir_all(path)
                .context(|| format!("cannot create {} for the container", path.display()))?;
        }
    }
    Ok(())
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

/// Usual variables, then the image's, then the user's: later ones win, in their first one's place.
fn environment(spec: &ContainerSpec, image: &[String], hostname: &str) -> Vec<String> {
    let mut entries: Vec<(String, String)> = Vec::new();
    let mut set =
        |name: &str, value: &str| match entries.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => value.clone_into(old),
            None => entries.push((name.to_owned(), value.to_owned())),
        };
    for (name, value) in &spec.env_below {
        set(name, value);
    }
    if !spec.unset_env_all {
        set("PATH", DEFAULT_PATH);
        set("container", "barge");
    }
    set("HOSTNAME", hostname);
    if spec.settings.tty {
        set("TERM", "xterm");
    }
    for (name, value) in &spec.env_usual {
        set(name, value);
    }
    for entry in image.iter().filter(|_| !spec.unset_env_all) {
        let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
        set(name, value);
    }
    for (name, value) in &spec.env {
        set(name, value);
    }
    for (name, template) in &spec.env_merge {
        let value = merged(template, &entries);
        match entries.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = value,
            None => entries.push((name.clone(), value)),
        }
    }
    entries
        .into_iter()
        .filter(|(name, _)| !spec.unset_env.contains(name))
        .map(|(name, value)| format!("{name}={value}"))
        .collect()
}

/// Puts the values of variables in place of `${NAME}`; one that is not set is empty.
fn merged(template: &str, entries: &[(String, String)]) -> String {
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("${") {
        let Some((name, after)) = after.split_once('}') else { break };
        text.push_str(before);
        text.extend(entries.iter().filter(|(known, _)| known == name).map(|(_, it)| it.as_str()));
        rest = after;
    }
    text + rest
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
        mapping.host_port = None;
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

    #[test]
    fn refuses_memory_that_makes_no_sense() {
        const MIB: u64 = 1 << 20;
        for (memory, memory_swap, good) in [
            (None, None, true),
            (Some(64 * MIB), None, true),
            (Some(MIB), None, false),
            (Some(64 * MIB), Some(128 << 20), true),
            (Some(64 * MIB), Some(32 << 20), false),
            (Some(64 * MIB), Some(-1), true),
            (None, Some(64 << 20), false),
            (None, Some(-1), true),
        ] {
            let resources = Resources { memory, memory_swap, ..Resources::default() };
            assert_eq!(check_memory(&resources).is_ok(), good, "{memory:?} {memory_swap:?}");
        }
    }

    #[test]
    fn knows_whose_parameters_are_whose() {
        for (name, ipc, network, want) in [
            ("net.ipv4.ip_forward", true, true, true),
            ("net.ipv4.ip_forward", true, false, false),
            ("kernel.sem", true, true, true),
            ("kernel.sem", false, true, false),
            ("fs.mqueue.msg_max", true, true, true),
            ("kernel.panic", true, true, false),
            ("vm.swappiness", true, true, false),
        ] {
            assert_eq!(is_of_namespace(name, ipc, network, true), want, "{name}");
        }
    }

    #[test]
    fn later_variables_win() {
        let spec = ContainerSpec {
            env: vec![("A".into(), "3".into()), ("N".into(), "new".into())],
            unset_env: vec!["GONE".into()],
            ..ContainerSpec::default()
        };
        let env = environment(&spec, &words("A=1 B=2 PATH=/bin GONE=x"), "box");
        assert_eq!(env, words("PATH=/bin container=barge HOSTNAME=box A=3 B=2 N=new"));
    }
}
