//! From a record to a running container, and back to nothing.

mod files;
mod kept;
mod network;
mod restored;

use std::collections::HashMap;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use oci_spec::runtime::Hooks;

use self::kept::Kept;
use self::network::{Network, change_hosts, end_network, follow_networks};
pub(super) use self::restored::restore;
use super::stdio::Streams;
use crate::engine::Engine;
use crate::engine::bundle::{self, Facts};
use crate::engine::checkpoint::RestoreOptions;
use crate::engine::rootfs::rootfs;
use crate::engine::users::Prepared;
use crate::engine::volumes::{MachineMounts, Memory};
use crate::error::{Context, Error, Kind, Result};
use crate::net::{self, Attached, PublishedPort};
use crate::runtime::cgroup::{Cgroup, Hierarchies};
use crate::runtime::{Bond, Bundle, FilterOf, Launch, Rootfs, Starting};
use crate::spec::account::Accounts;
use crate::spec::group::CgroupsMode;
use crate::spec::id::ContainerId;
use crate::spec::network::PortMapping;
use crate::spec::security::Seccomp;
use crate::store::container::{ContainerConfig, Run};
use crate::store::{file, volume};
use crate::sys::clone::Child;
use crate::sys::process;
use crate::sys::process::Passed;
use crate::sys::spawn::FIRST_FILE;

/// What the monitor holds for a container that has a process, whether its program runs yet or not.
pub(in crate::engine) struct Held {
    pub(in crate::engine) run: Run,
    pub(in crate::engine) warnings: Vec<String>,
    /// Whether to unmount its root directory may take long.
    is_synced: bool,
    cgroup: Cgroup,
    network: Option<Attached>,
    /// Hooks, and annotations that they are told of.
    hooks: Option<(Hooks, Option<HashMap<String, String>>)>,
    /// Its volumes in memory, which nobody else mounts until it is on record that it runs.
    volumes: volume::Held,
}

/// When hooks are run by us that are told of a program.
enum Moment {
    /// It runs, as this process.
    Started(i32),
    /// It has ended.
    Ended,
}

/// A container that is all there, or is about to be, but for its program.
pub(in crate::engine) struct Waiting {
    pub(in crate::engine) held: Held,
    starting: Starting,
    /// What its streams are if they are no terminal.
    pipes: Option<Streams>,
}

/// A container that runs.
pub(in crate::engine) struct Running {
    pub(in crate::engine) held: Held,
    pub(in crate::engine) child: Child,
    pub(super) streams: Streams,
    /// Its root directory, if to unmount that may take long: it stays mounted as long as this is open.
    pub(in crate::engine) root: Option<OwnedFd>,
}

/// What who started a container gives it, beside what is on record.
#[derive(Debug, Default)]
pub(in crate::engine) struct Given {
    /// The name that it has now.
    pub(in crate::engine) name: String,
    /// Rows and columns of its terminal.
    pub(in crate::engine) size: Option<(u16, u16)>,
    /// Descriptors beside the standard ones.
    pub(in crate::engine) files: Vec<Passed>,
    /// Variables that speak of these.
    pub(in crate::engine) env: Vec<String>,
    /// Whether there is a socket for what it tells the service manager.
    pub(in crate::engine) notify: bool,
    /// Its file system, if it is not what its record says.
    pub(in crate::engine) rootfs: Option<Rootfs>,
    /// The ports of this machine that its last run had, if some were left to us.
    pub(in crate::engine) ports: Vec<PublishedPort>,
    /// Mounts that were made for it, and where they are to be.
    pub(in crate::engine) trees: Vec<(PathBuf, OwnedFd)>,
    /// Where changes of what is mounted go that are discarded, if not to its own directory.
    pub(in crate::engine) overlays: Option<PathBuf>,
    /// How it is made of its checkpoint, if its program is not to begin anew.
    pub(in crate::engine) restore: Option<RestoreOptions>,
}

/// All of a container that is about to be started, but its processes and its network.
struct Made {
    spec: oci_spec::runtime::Spec,
    rootfs: Rootfs,
    facts: Facts,
    users: Option<Prepared>,
    cgroup: Cgroup,
    network: Network,
    memory: Memory,
    boot_id: String,
    warnings: Vec<String>,
}

/// Makes all of a container, up to a process that waits to become its program. On failure nothing of
/// it is left. `mounts` are what this machine has mounted for it.
pub(in crate::engine) fn prepare(
    engine: &Engine,
    config: &ContainerConfig,
    given: &Given,
    mounts: MachineMounts,
) -> Result<Waiting> {
    prepare_all(engine, config, given, mounts).inspect_err(|_| {
        // The first failure is the one to report.
        drop(engine.release_volumes(&config.id));
    })
}

fn prepare_all(
    engine: &Engine,
    config: &ContainerConfig,
    given: &Given,
    mounts: MachineMounts,
) -> Result<Waiting> {
    let made = make(engine, config, given, mounts, |users| kept::find(engine, config, users))?;
    let Made { spec, rootfs, facts, users, cgroup, network, memory, boot_id, mut warnings } = made;
    let parts = Parts {
        spec: &spec,
        rootfs: &rootfs,
        cgroup: &cgroup,
        users: users.as_ref(),
        run_dir: &facts.run_dir,
        groups: facts.groups(config),
        memory: memory.trees,
    };
    match start(engine, config, &parts, network, given) {
        Ok((starting, pipes, network)) => {
            let run = run_of(starting.pid(), boot_id, facts.cgroup);
            warnings.extend(network.iter().flat_map(|network| network.warnings.iter().cloned()));
            let is_synced = rootfs.is_synced();
            let hooks = spec.hooks().clone().map(|hooks| (hooks, spec.annotations().clone()));
            let volumes = memory.held;
            let held = Held { run, warnings, is_synced, cgroup, network, hooks, volumes };
            Ok(Waiting { held, starting, pipes })
        }
        Err(error) => {
            // The first failure is the one to report.
            drop(cgroup.remove());
            Err(error)
        }
    }
}

fn run_of(pid: i32, boot_id: String, cgroup: String) -> Run {
    Run {
        pid,
        start_time: process::start_time(pid).unwrap_or(0),
        monitor: rustix::process::getpid().as_raw_nonzero().get(),
        boot_id,
        paused: false,
        cgroup,
    }
}

/// Makes all that processes need. `find_network` says in which namespace its network is made, if that is
/// there already, and what did not go as it should.
fn make(
    engine: &Engine,
    config: &ContainerConfig,
    given: &Given,
    mounts: MachineMounts,
    find_network: impl FnOnce(Option<&Prepared>) -> Result<(Option<Kept>, Option<String>)>,
) -> Result<Made> {
    let boot_id = process::boot_id().context(|| "cannot tell which boot this is")?;
    let hierarchies = Hierarchies::detect()?;
    let path = engine.group_of(config, &hierarchies)?;
    let users = engine.user_namespace(config)?;
    let mut facts = Facts::find(engine, config, &path, users.as_ref().map(|it| it.first_outside))?;
    facts.name.clone_from(&given.name);
    facts.env.clone_from(&given.env);
    facts.notify = given.notify;
    if let Some(overlays) = &given.overlays {
        facts.overlays.clone_from(overlays);
    }
    facts.volumes = engine.ready_volumes(config)?;
    let mut memory = engine.memory_volumes(config, &facts)?;
    memory.trees.extend(mounts.trees);
    facts.memory = memory.trees.iter().map(|(target, _)| target.clone()).collect();
    facts.images = engine.ready_images(config)?;
    let strange = engine.ready_mounts(config, &facts)?;
    engine.ready_secrets(config, &facts)?;
    facts.env.extend(engine.secret_variables(config)?);
    let rootfs = match &given.rootfs {
        Some(rootfs) => rootfs.clone(),
        None => rootfs(engine, config, &facts.host_tree, config.settings.remove)?,
    };
    let mut spec = bundle::spec(config, &facts)?;
    add_trees(&mut spec, &given.trees);
    let (kept, lost) = find_network(users.as_ref())?;
    if kept.is_some() {
        kept::join(&mut spec);
    }
    if spec.hooks().is_some() {
        write_bundle(&spec, &rootfs, &facts)?;
    }
    if config.settings.cgroups == CgroupsMode::Split {
        hierarchies.make_room()?;
    }
    let network = Network::prepare(engine, config, &facts, &given.ports, kept)?;
    let resources = spec.linux().as_ref().and_then(|linux| linux.resources().clone());
    let made =
        Cgroup::create(&hierarchies, &path, &resources.unwrap_or_default(), engine.host.rootless);
    let (cgroup, mut warnings) = match made {
        Ok(made) => made,
        Err(error) => {
            network.undo(engine, config);
            return Err(error);
        }
    };
    if let (true, Some((uid, gid))) = (config.runs_systemd(), facts.owner)
        && let Err(error) = cgroup.delegate(uid, gid)
    {
        warnings.push(error.to_string());
    }
    if config.settings.resources.memory_swap.is_none() {
        // It follows from the memory limit; what is said of that is enough.
        warnings.retain(|warning| !warning.contains("swap"));
    }
    if config.settings.resources.pids.is_none() {
        warnings.retain(|warning| !warning.contains("pids") || is_first_time(engine, "pids"));
    }
    warnings.extend(mounts.warnings);
    warnings.extend(strange);
    warnings.extend(lost);
    Ok(Made { spec, rootfs, facts, users, cgroup, network, memory, boot_id, warnings })
}

/// Names the places of mounts that were made already.
fn add_trees(spec: &mut oci_spec::runtime::Spec, trees: &[(PathBuf, OwnedFd)]) {
    let mut mounts = spec.mounts().clone().unwrap_or_default();
    mounts.extend(trees.iter().map(|(target, _)| {
        let mut mount = oci_spec::runtime::Mount::default();
        mount
            .set_destination(target.clone())
            .set_typ(Some("bind".to_owned()))
            .set_source(Some("none".into()))
            .set_options(Some(vec!["bind".to_owned()]));
        mount
    }));
    spec.set_mounts(Some(mounts));
}

fn bundle_of<'a>(config: &'a ContainerConfig, parts: &'a Parts<'_>) -> Bundle<'a> {
    Bundle {
        id: config.id.as_str(),
        directory: parts.run_dir,
        annotations: parts.spec.annotations().as_ref(),
    }
}

/// Writes what hooks read: where the container's files are, while it is made.
fn write_bundle(spec: &oci_spec::runtime::Spec, rootfs: &Rootfs, facts: &Facts) -> Result<()> {
    let mut spec = spec.clone();
    let mut root = spec.root().clone().unwrap_or_default();
    root.set_path(rootfs.mount_point().to_owned());
    spec.set_root(Some(root));
    let text = serde_json::to_vec(&spec).context(|| "cannot write the configuration for hooks")?;
    file::write_volatile(&facts.run_dir.join("config.json"), &text)
}

/// Tells whether nobody has asked this since boot: for a warning about what nobody asked for.
fn is_first_time(engine: &Engine, what: &str) -> bool {
    let mark = engine.store.runroot().join(format!("warned-{what}"));
    fs::File::create_new(mark).is_ok()
}

/// What a container is made of, but its network.
struct Parts<'a> {
    spec: &'a oci_spec::runtime::Spec,
    rootfs: &'a Rootfs,
    cgroup: &'a Cgroup,
    users: Option<&'a Prepared>,
    run_dir: &'a Path,
    groups: Vec<String>,
    /// Mounts that were made before, and where they are to be.
    memory: Vec<(PathBuf, OwnedFd)>,
}

fn start(
    engine: &Engine,
    config: &ContainerConfig,
    parts: &Parts<'_>,
    network: Network,
    given: &Given,
) -> Result<(Starting, Option<Streams>, Option<Attached>)> {
    let result = start_process(engine, config, parts, &network, given);
    let (mut starting, pipes) = match result {
        Ok(starting) => starting,
        Err(error) => {
            network.undo(engine, config);
            return Err(error);
        }
    };
    let attached = match network.attach(engine, config, Some(&starting)) {
        Ok(attached) => attached,
        Err(error) => {
            let error = starting.fail(error);
            drop(net::detach(&engine.store, &config.id));
            return Err(error);
        }
    };
    // They are for a container that has its addresses.
    let waits = attached.as_ref().is_some_and(|attached| attached.asks_on().next().is_some());
    if let Some(hooks) = parts.spec.hooks().as_ref().filter(|_| !waits)
        && let Err(error) = starting.run_hooks(bundle_of(config, parts), hooks)
    {
        let error = starting.fail(error);
        end_network(engine, &config.id, attached);
        return Err(error);
    }
    Ok((starting, pipes, attached))
}

fn start_process(
    engine: &Engine,
    config: &ContainerConfig,
    parts: &Parts<'_>,
    network: &Network,
    handed: &Given,
) -> Result<(Starting, Option<Streams>)> {
    let security = &config.settings.security;
    // The usual one is made while the process is busy.
    let follows = !security.privileged && security.seccomp == Seccomp::Default;
    let filter = if follows { None } else { bundle::filter(security)? };
    let mut join = engine.existing_namespaces(config)?;
    for (namespace, kind) in network.joined() {
        join.push((namespace.try_clone().context(|| "cannot copy a descriptor")?, *kind));
    }
    let mut given = engine.given_mounts(config)?;
    for (target, tree) in handed.trees.iter().chain(&parts.memory) {
        let tree = tree.try_clone().context(|| "cannot copy a mount's descriptor")?;
        given.push((target.clone(), tree));
    }
    let files = handed.files.as_slice();
    let standard = files.iter().take_while(|it| it.number < FIRST_FILE).count();
    let (standard, files) = files.split_at(standard);
    let (streams, ends) = if config.settings.tty {
        (None, None)
    } else if config.settings.log.driver.is_passthrough() {
        let (streams, ends) = Streams::passthrough(standard)
            .context(|| "cannot pass standard streams on to the container")?;
        (Some(streams), Some(ends))
    } else {
        let (streams, ends) = Streams::pipes(config.settings.interactive)
            .context(|| "cannot make pipes for the container")?;
        (Some(streams), Some(ends))
    };
    // Pipes of others stay as they are.
    if let (Some(users), Some(ends), []) = (parts.users, &ends, standard) {
        ends.give_to(users.first_outside).context(|| "cannot give its pipes to the container")?;
    }
    let launch = Launch {
        spec: parts.spec,
        rootfs: parts.rootfs,
        user: Some(&config.user),
        groups: &parts.groups,
        accounts: accounts(config),
        make_cwd: config.make_working_dir,
        reaper: config.settings.init,
        cgroup: Some(parts.cgroup),
        filter: if follows { FilterOf::Follows } else { FilterOf::Known(filter.as_ref()) },
        stdio: ends.as_ref().map(super::stdio::Ends::stdio),
        files,
        device_nodes: !engine.host.rootless && parts.users.is_none(),
        join: &join,
        given: &given,
        bundle: bundle_of(config, parts),
        keeps_keys: false,
        manages_groups: config.runs_systemd(),
        user_namespace: parts.users.map(Prepared::for_runtime),
        bond: Bond::Tied,
    };
    let mut starting = launch.start()?;
    if follows {
        match bundle::filter(security) {
            Ok(Some(filter)) => starting.give_filter(&filter),
            Ok(None) => {}
            Err(error) => return Err(starting.fail(error)),
        }
    }
    Ok((starting, streams))
}

impl Waiting {
    /// Waits until nothing is left to be done but to run the program.
    pub(in crate::engine) fn settle(&mut self) -> Result<()> {
        self.starting.settle()
    }

    /// Goes on when others have given it the addresses that it has waited for.
    pub(in crate::engine) fn has_addresses(
        &mut self,
        engine: &Engine,
        id: &ContainerId,
    ) -> Result<()> {
        let Some((hooks, annotations)) = &self.held.hooks else { return Ok(()) };
        let directory = &engine.store.containers().run_dir(id);
        let bundle = Bundle { id: id.as_str(), directory, annotations: annotations.as_ref() };
        self.starting.run_hooks(bundle, hooks)
    }

    /// Returns its process, to wait for its end.
    pub(in crate::engine) fn process(&self) -> BorrowedFd<'_> {
        self.starting.process()
    }

    /// Lets it become the program; its terminal has this size. On failure nothing of it is left.
    pub(in crate::engine) fn run(
        self,
        engine: &Engine,
        id: &ContainerId,
        size: Option<(u16, u16)>,
    ) -> Result<Running> {
        let Self { mut held, starting, pipes } = self;
        let running = starting.run(size).and_then(|(child, master)| {
            let streams = match (pipes, master) {
                (Some(pipes), _) => Ok(pipes),
                (None, Some(master)) => {
                    Streams::terminal(master).context(|| "cannot use the container's terminal")
                }
                (None, None) => {
                    Err(Error::new(Kind::Internal, "the container did not hand over its terminal"))
                }
            };
            streams.map(|streams| (child, streams))
        });
        match running {
            Ok((child, streams)) => {
                // One that has ended by now has waited for that itself.
                let root = held.is_synced.then(|| process::root(child.pid).ok()).flatten();
                // It runs by now; that is not undone for a hook that fails.
                let ran = held.run_hooks(engine, id, Moment::Started(child.pid));
                held.warnings.extend(ran.err().map(|error| error.to_string()));
                Ok(Running { held, child, streams, root })
            }
            Err(error) => {
                held.free(engine, id);
                Err(error)
            }
        }
    }

    /// Ends it before its program has run.
    pub(in crate::engine) fn abandon(self, engine: &Engine, id: &ContainerId) {
        self.starting.abandon();
        self.held.tear_down(engine, id);
    }
}

impl Running {
    /// Our side of its terminal, if it has one.
    pub(in crate::engine) fn terminal(&self) -> Option<BorrowedFd<'_>> {
        self.streams.master()
    }
}

impl Held {
    /// The endpoint, as it goes into the record.
    pub(in crate::engine) fn endpoint(&self) -> Option<serde_json::Value> {
        let endpoint = &self.network.as_ref()?.endpoint;
        serde_json::to_value(endpoint).ok()
    }

    /// Its ports of this machine, as they go into the record, if some were left to us.
    pub(in crate::engine) fn ports(&self, config: &ContainerConfig) -> Option<serde_json::Value> {
        let were_left = config.settings.ports.iter().any(PortMapping::leaves_choice);
        let endpoint = &self.network.as_ref().filter(|_| were_left)?.endpoint;
        serde_json::to_value(&endpoint.ports).ok()
    }

    /// Returns the connection, with what is to be done for it while the container runs.
    pub(in crate::engine) fn network(&self) -> Option<&Attached> {
        self.network.as_ref()
    }

    /// Returns a network on which somebody else is yet to give it an address.
    pub(in crate::engine) fn asks_on(&self) -> Option<&str> {
        self.network.as_ref()?.asks_on().next()
    }

    /// Does what is to be done for the connection now. `buffer` is for datagrams. Returns the connection if
    /// the container's addresses are others since.
    pub(in crate::engine) fn turn_network(
        &mut self,
        engine: &Engine,
        config: &ContainerConfig,
        buffer: &mut Vec<u8>,
    ) -> Option<&net::Endpoint> {
        let network = self.network.as_mut()?;
        let news = network.turn(buffer);
        if news.is_empty() {
            return None;
        }
        let containers = engine.store.containers();
        // Others change how it is connected, too. A step of a build is on no record.
        let _locked = containers.lock(&config.id).ok();
        let before = network.settle(&config.id, news)?;
        // A container without names goes on as it was.
        drop(change_hosts(engine, config, &before, &network.endpoint));
        Some(&network.endpoint)
    }

    /// Says that it is on record by now.
    pub(in crate::engine) fn is_recorded(&mut self) {
        self.volumes.release();
    }

    /// Finds control groups that were made since, for limits that came later, and networks.
    pub(in crate::engine) fn look_again(&mut self, engine: &Engine, config: &ContainerConfig) {
        if let Some(network) = &mut self.network {
            // A container without names goes on as it was.
            drop(follow_networks(engine, config, network, self.run.pid));
        }
        let found = Hierarchies::detect().and_then(|all| Cgroup::open(&all, &self.run.cgroup));
        // What cannot be opened now is found by the next start or removal of the container.
        if let Ok(cgroup) = found {
            self.cgroup = cgroup;
        }
    }

    /// Ends processes that have outlived the first one: with the host's process namespace they may.
    pub(in crate::engine) fn kill_rest(&self) {
        let _none_left = self.cgroup.kill_all(libc::SIGKILL);
    }

    /// Tells whether the kernel has ended something in it for lack of memory.
    pub(in crate::engine) fn was_oom_killed(&self) -> bool {
        self.cgroup.oom_kills().is_ok_and(|kills| kills > 0)
    }

    fn run_hooks(&self, engine: &Engine, id: &ContainerId, at: Moment) -> Result<()> {
        let Some((hooks, annotations)) = &self.hooks else { return Ok(()) };
        let run_dir = engine.store.containers().run_dir(id);
        let annotations = annotations.as_ref();
        let told = Bundle { id: id.as_str(), directory: &run_dir, annotations };
        match at {
            Moment::Started(pid) => {
                told.run("poststart", hooks.poststart().as_deref(), "running", pid)
            }
            Moment::Ended => told.run("poststop", hooks.poststop().as_deref(), "stopped", 0),
        }
    }

    /// Frees what belongs to one run.
    pub(in crate::engine) fn tear_down(self, engine: &Engine, id: &ContainerId) {
        // Nobody is left to be told that a hook has failed.
        drop(self.run_hooks(engine, id, Moment::Ended));
        engine.store.containers().forget_execs(id);
        self.free(engine, id);
    }

    /// Frees the network and the cgroup.
    fn free(self, engine: &Engine, id: &ContainerId) {
        end_network(engine, id, self.network);
        // The next start or repair tries again.
        drop(engine.forget_secrets(id));
        drop(engine.release_volumes(id));
        // What cannot be removed now is removed by the next start or repair.
        drop(self.cgroup.remove());
    }
}

impl Running {
    /// Ends a container that could not be recorded.
    pub(in crate::engine) fn abandon(self, engine: &Engine, id: &ContainerId) {
        let _gone = process::send_signal(&self.child.pidfd, libc::SIGKILL);
        let _reaped = process::wait(self.child.pidfd.as_fd());
        self.held.tear_down(engine, id);
    }
}

/// The lines for the container's user databases; none where the user has put files of its own.
fn accounts(config: &ContainerConfig) -> Option<&Accounts> {
    let settings = &config.settings;
    let databases = [Path::new("/etc/passwd"), Path::new("/etc/group")];
    let covered = |path: &Path| settings.mounts.iter().any(|it| path.starts_with(&it.target));
    let ours = !settings.accounts.untouched && !databases.into_iter().any(covered);
    ours.then_some(&settings.accounts)
}
