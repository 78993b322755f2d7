//! The launcher of a step: a process of its own.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};

use super::{MOUNTS, Report, Request, StepFile, StepMemory, StepTree, mark, run_dir};
use crate::engine::Engine;
use crate::engine::frame::Failed;
use crate::engine::monitor::launch::{Given, Running, Waiting, prepare};
use crate::engine::users::Prepared;
use crate::engine::volumes::MachineMounts;
use crate::error::{Context, Error, Kind, Result};
use crate::net::{self, Attached};
use crate::runtime::cgroup::Hierarchies;
use crate::runtime::{Overlay, Rootfs};
use crate::store::container::ContainerConfig;
use crate::store::file;
use crate::store::lock::Lock;
use crate::sys::mount::{self, NO_SUID, READ_ONLY};
use crate::sys::process::{self, Passed};
use crate::sys::{socket, userns};

/// Runs the step that is asked for over a socket.
pub(super) fn main(engine: &Engine, socket: UnixStream) -> Result<()> {
    let ended = match receive(&socket) {
        Ok((request, given)) => run(engine, &request, given, &socket),
        Err(error) => Err(error),
    };
    if let Err(error) = ended {
        report(&socket, &Report::Failed(Failed::from(&error)))?;
    }
    Ok(())
}

/// What comes with a request.
struct Received {
    output: OwnedFd,
    input: Option<OwnedFd>,
    /// The mount namespace of an earlier command.
    mounts: Option<OwnedFd>,
}

fn receive(socket: &UnixStream) -> Result<(Request, Received)> {
    let context = || "cannot read what to do";
    let mut mark = [0];
    let (_, output) = socket::receive(socket.as_fd(), &mut mark).context(context)?;
    let output =
        output.ok_or_else(|| std::io::Error::from(ErrorKind::UnexpectedEof)).context(context)?;
    let (_, file) = socket::receive(socket.as_fd(), &mut mark).context(context)?;
    let (input, mounts) = if mark == *MOUNTS { (None, file) } else { (file, None) };
    let mut line = String::new();
    BufReader::new(socket).read_line(&mut line).context(context)?;
    let request = serde_json::from_str(&line).context(context)?;
    Ok((request, Received { output, input, mounts }))
}

fn report(mut socket: &UnixStream, report: &Report) -> Result<()> {
    let mut line = serde_json::to_vec(report).context(|| "cannot report")?;
    line.push(b'\n');
    socket.write_all(&line).context(|| "cannot report")
}

/// Runs a step, and reports how its command has ended.
fn run(engine: &Engine, request: &Request, given: Received, socket: &UnixStream) -> Result<()> {
    let dir = run_dir(engine, &request.config);
    file::create_dirs(&dir, 0o700)?;
    let ended = in_run_dir(engine, request, given, socket, &dir);
    let removed = file::remove_tree(&dir);
    ended.and(removed)
}

fn in_run_dir(
    engine: &Engine,
    request: &Request,
    Received { output, input, mounts }: Received,
    socket: &UnixStream,
    dir: &Path,
) -> Result<()> {
    let _alive = Lock::exclusive(&dir.join("monitor"))?;
    let config = &request.config;
    mark(dir, &engine.group_of(config, &Hierarchies::detect()?)?)?;
    let [work, empty, overlays] =
        ["work", "empty", "overlays"].map(|name| request.scratch.join(name));
    file::create_dirs(&work, 0o755)?;
    if !request.trees.is_empty() {
        file::create_dirs(&empty, 0o755)?;
    }
    if let Some(mounts) = &mounts {
        setns(mounts, CloneFlags::CLONE_NEWNS)
            .context(|| "cannot enter the mount namespace of the command that has failed")?;
    } else if !(request.trees.is_empty() && request.files.is_empty() && request.memory.is_empty()) {
        userns::own_mounts().context(|| "cannot make a mount namespace")?;
    }
    let memory = kept_in_memory(request, mounts.is_some())?;
    if mounts.is_none() && !memory.is_empty() {
        let context = || "cannot pass a mount namespace on";
        let own = std::fs::File::open("/proc/self/ns/mnt").context(context)?;
        socket::send(socket.as_fd(), MOUNTS, Some(own.as_fd())).context(context)?;
    }
    // By this one, owners are shown only. The command's own is made with its process.
    let users = match request.trees.is_empty() {
        true => None,
        false => engine.user_namespace(config)?,
    };
    let trees = request.trees.iter().enumerate().map(|(number, tree)| {
        let scratch = request.scratch.join(format!("tree{number}"));
        let made = open(engine, tree, users.as_ref(), (&empty, &scratch));
        made.map(|made| (tree.target.clone(), made))
            .context(|| format!("cannot mount {}", tree.target.display()))
    });
    let mut trees: Vec<(PathBuf, OwnedFd)> = trees.collect::<Result<_>>()?;
    trees.extend(in_memory(&request.files, &request.scratch)?);
    trees.extend(memory);
    let rootfs = match &request.whole {
        Some(whole) => Rootfs::Directory(whole.clone()),
        None => Rootfs::Overlay(Overlay {
            layers: request.layers.clone(),
            upper: request.upper.clone(),
            mount_point: work.clone(),
            work,
            volatile: true,
            user_xattr: engine.host().rootless,
        }),
    };
    let given = Given {
        files: standard_streams(input, output)?,
        trees,
        overlays: Some(overlays),
        rootfs: Some(rootfs),
        ..Given::default()
    };
    let mut waiting = prepare(engine, config, &given, MachineMounts::default())?;
    let ready = gets_addresses(engine, config, &mut waiting, socket);
    if !ready.as_ref().is_ok_and(|ready| *ready) {
        waiting.abandon(engine, &config.id);
        return Err(ready.err().unwrap_or_else(interrupted));
    }
    let mut running = waiting.run(engine, &config.id, None)?;
    // The pipe is to end with the command.
    drop(given);
    if let Some(master) = running.terminal() {
        socket::send(socket.as_fd(), b"t", Some(master)).context(|| "cannot pass a terminal on")?;
    }
    let was_left = !outlives(engine, config, &mut running, socket)?;
    if was_left {
        // It may have just ended by itself.
        drop(process::send_signal(&running.child.pidfd, libc::SIGKILL));
    }
    let code = process::wait(running.child.pidfd.as_fd());
    let code = code.context(|| "cannot wait for the command");
    let Running { held, root, .. } = running;
    drop(root);
    let warnings = held.warnings.clone();
    let tell = || match code {
        Ok(_) if was_left => Err(interrupted()),
        Ok(code) => report(socket, &Report::Ended { code, warnings }),
        Err(error) => Err(error),
    };
    // In a process namespace of its own nothing is left of it that could still change its files.
    if config.settings.namespaces.pid.is_own() {
        let told = tell();
        held.tear_down(engine, &config.id);
        told
    } else {
        held.tear_down(engine, &config.id);
        tell()
    }
}

fn interrupted() -> Error {
    Error::new(Kind::Unavailable, "interrupted")
}

/// Waits until others have given the addresses that it is to have; `false` if who waits for it goes first.
fn gets_addresses(
    engine: &Engine,
    config: &ContainerConfig,
    waiting: &mut Waiting,
    socket: &UnixStream,
) -> Result<bool> {
    if waiting.held.asks_on().is_none() {
        return Ok(true);
    }
    let end = Instant::now() + net::PATIENCE;
    let mut buffer = Vec::new();
    while let Some(network) = waiting.held.asks_on() {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(net::nobody_gives(network));
        }
        let process = PollFd::from_borrowed_fd(waiting.process(), PollFlags::IN);
        let mut files = vec![process, PollFd::new(socket, PollFlags::IN)];
        if !wait(&mut files, waiting.held.network(), Some(left))? {
            return Ok(false);
        }
        drop(files);
        waiting.held.turn_network(engine, config, &mut buffer);
    }
    waiting.has_addresses(engine, &config.id).map(|()| true)
}

/// Waits for one of the files, or until there is something to do for the network; `false` if it was one
/// of the files.
fn wait<'a>(
    files: &mut Vec<PollFd<'a>>,
    network: Option<&'a Attached>,
    time: Option<Duration>,
) -> Result<bool> {
    let own = files.len();
    for (file, interest) in network.into_iter().flat_map(Attached::files) {
        files.push(PollFd::from_borrowed_fd(file, interest));
    }
    let left = time.into_iter().chain(network.and_then(Attached::left)).min();
    let left = left.map(|left| Timespec {
        tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: left.subsec_nanos().into(),
    });
    match poll(files, left.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error).context(|| "cannot wait for the command"),
    }
    Ok(files[..own].iter().all(|file| file.revents().is_empty()))
}

/// Waits for the command's end, and does meanwhile what its network needs; `false` if who waits
/// for it goes first.
fn outlives(
    engine: &Engine,
    config: &ContainerConfig,
    running: &mut Running,
    socket: &UnixStream,
) -> Result<bool> {
    let mut buffer = Vec::new();
    loop {
        let child = PollFd::new(&running.child.pidfd, PollFlags::IN);
        let mut files = vec![child, PollFd::new(socket, PollFlags::IN)];
        if !wait(&mut files, running.held.network(), None)? {
            // Nothing more is said by who waits: that is its end.
            return Ok(!files[0].revents().is_empty());
        }
        drop(files);
        running.held.turn_network(engine, config, &mut buffer);
    }
}

/// What it reads, or nothing, and where it writes.
fn standard_streams(input: Option<OwnedFd>, output: OwnedFd) -> Result<Vec<Passed>> {
    let context = || "cannot pass on the standard streams";
    let null = || rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    let input = input.map_or_else(null, Ok);
    Ok(vec![
        Passed { number: 0, file: input.context(context)? },
        Passed { number: 1, file: output.try_clone().context(context)? },
        Passed { number: 2, file: output },
    ])
}

/// Makes file systems in memory, or finds those that another step has made in this mount namespace, each
/// with its place. As they are mounted there, they are as long as the namespace is.
fn kept_in_memory(request: &Request, are_there: bool) -> Result<Vec<(PathBuf, OwnedFd)>> {
    let made = request.memory.iter().enumerate().map(|(number, memory)| {
        let StepMemory { target, size, mode, owner } = memory;
        let context = || format!("cannot make a file system in memory for {}", target.display());
        let path = request.scratch.join(format!("memory{number}"));
        let open = || {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            rustix::fs::open(&path, flags, Mode::empty())
        };
        if !are_there {
            file::create_dirs(&path, 0o700)?;
            let size = size.map(|size| ("size".to_owned(), Some(size.to_string())));
            let options: Vec<_> = [
                ("mode", format!("{mode:o}")),
                ("uid", owner.0.to_string()),
                ("gid", owner.1.to_string()),
            ]
            .into_iter()
            .map(|(name, value)| (name.to_owned(), Some(value)))
            .chain(size)
            .collect();
            let made =
                mount::filesystem(c"tmpfs", Some("tmpfs"), &options, NO_SUID).context(context)?;
            mount::attach(&made, open().context(context)?).context(context)?;
        }
        let shown = open().map_err(std::io::Error::from);
        let shown = shown.and_then(|place| mount::clone_at(place.as_fd(), false));
        Ok((target.clone(), shown.context(context)?))
    });
    made.collect()
}

/// Makes mounts of files that are in memory, each with its place.
fn in_memory(files: &[StepFile], scratch: &Path) -> Result<Vec<(PathBuf, OwnedFd)>> {
    if files.is_empty() {
        return Ok(Vec::new());
    }
    let context = || "cannot make files in memory";
    let options = [("mode".to_owned(), Some("0700".to_owned()))];
    let memory = mount::filesystem(c"tmpfs", Some("barge"), &options, 0).context(context)?;
    // As of trees, a part can be taken of what is mounted somewhere only.
    let place = scratch.join("memory");
    file::create_dirs(&place, 0o700)?;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let place =
        rustix::fs::open(&place, flags | OFlags::DIRECTORY, Mode::empty()).context(context)?;
    mount::attach(&memory, &place).context(context)?;
    let mut made = Vec::new();
    for (number, StepFile { target, data, mode, owner: (uid, gid) }) in files.iter().enumerate() {
        let context = || format!("cannot make {}", target.display());
        let name = number.to_string();
        let create = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&memory, &name, create, Mode::from_raw_mode(0o600))
            .context(context)?;
        let mut file = std::fs::File::from(file);
        file.write_all(data).context(context)?;
        std::os::unix::fs::fchown(&file, Some(*uid), Some(*gid)).context(context)?;
        rustix::fs::fchmod(&file, Mode::from_raw_mode(*mode)).context(context)?;
        drop(file);
        let part = rustix::fs::openat(&memory, &name, flags, Mode::empty()).context(context)?;
        let part = mount::clone_at(part.as_fd(), false).context(context)?;
        let read_only = mount::Attributes { set: READ_ONLY, ..mount::Attributes::default() };
        mount::set_attributes(&part, read_only, false).context(context)?;
        made.push((target.clone(), part));
    }
    Ok(made)
}

/// Makes the mount of a tree of layers, or of a part of it.
fn open(
    engine: &Engine,
    tree: &StepTree,
    users: Option<&Prepared>,
    (empty, scratch): (&Path, &Path),
) -> Result<OwnedFd> {
    let whole = match (&tree.changes, users) {
        (None, None) => {
            let mut layers: Vec<&Path> = tree.layers.iter().map(PathBuf::as_path).collect();
            // The kernel wants two where nothing can be changed.
            while layers.len() < 2 {
                layers.push(empty);
            }
            let options = match engine.host().rootless {
                true => vec![("userxattr".to_owned(), None)],
                false => Vec::new(),
            };
            mount::overlay(&layers, None, &options, READ_ONLY)
                .context(|| format!("cannot mount an overlay of {} layers", layers.len()))?
        }
        _ => {
            let [upper, work] = ["upper", "work"].map(|name| scratch.join(name));
            for own in [&upper, &work] {
                file::create_dirs(own, 0o755)?;
            }
            let mut layers = tree.layers.clone();
            if layers.is_empty() {
                layers.push(empty.to_owned());
            }
            let overlay = Overlay {
                layers,
                upper,
                mount_point: work.clone(),
                work,
                // A look at a failure may mount it once more, which the kernel refuses otherwise.
                volatile: false,
                user_xattr: engine.host().rootless,
            };
            let users = users.map(Prepared::for_runtime);
            let whole = Rootfs::Overlay(overlay).tree(users.as_ref())?;
            if tree.changes.is_none() {
                let read_only =
                    mount::Attributes { set: READ_ONLY, ..mount::Attributes::default() };
                mount::set_attributes(&whole, read_only, false)
                    .context(|| "cannot keep it from being changed")?;
            }
            whole
        }
    };
    let source = tree.source.strip_prefix("/").unwrap_or(&tree.source);
    if source.as_os_str().is_empty() {
        return Ok(whole);
    }
    // Before Linux 6.15 a part can be taken of what is mounted somewhere only; here nobody sees it.
    let place = scratch.with_extension("whole");
    file::create_dirs(&place, 0o700)?;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let place = rustix::fs::open(&place, flags | OFlags::DIRECTORY, Mode::empty())
        .context(|| "cannot open a mount point")?;
    mount::attach(&whole, &place).context(|| "cannot mount it")?;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let part = openat2(&whole, source, flags, Mode::empty(), resolve)
        .context(|| format!("cannot find /{} there", source.display()))?;
    mount::clone_at(part.as_fd(), false).context(|| "cannot show a part of it")
}
