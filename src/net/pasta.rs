//! The user-mode network stack pasta: networks for those who are not root.
//!
//! pasta is started once for each container, in the foreground, so that it is our child and ends with
//! us. Any version since 2023 will do: only options that all of them have are used, and the older ones
//! do not tell their version.
//!
//! It gets its two paths by way of its standard descriptors. It gives up the privileges to look at
//! ours before it opens them, and closes all others: its input is the namespace, its output a pipe
//! into which it writes its process ID when it is ready.

use std::env;
use std::fmt::Write;
use std::fs::File;
use std::io::{self, Read};
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::ports::PublishedPort;
use crate::error::{Context, Error, Kind, Result};
use crate::spec::network::Protocol;
use crate::spec::user_mode::PastaOptions;
use crate::sys::command::die_with_us;

/// Where the container finds a name server: pasta hands queries on to the host's first one, which may
/// be one that only the host can reach.
const NAME_SERVER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(169, 254, 1, 1));
/// Where the container finds the host, if it asks for an address of it.
const HOST: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(169, 254, 1, 2));
/// Without this device there are no user-mode networks.
pub(super) const DEVICE: &str = "/dev/net/tun";

/// The option for an address of the host.
const MAP_GUEST: &str = "--map-guest-addr";
/// The option for an address where there is a name server.
const DNS_FORWARD: &str = "--dns-forward";
/// The word by which Podman says that the router's address stands for this machine: pasta's own way, for
/// which it has no option.
const MAP_GATEWAY: &str = "--map-gw";

/// How long pasta may take to be ready; it needs some milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// Programs that do the work of one network connection and belong to it.
#[derive(Debug)]
pub struct Helper {
    /// Process ID; a child of this process.
    pub pid: i32,
    /// Descriptor of the process; readable when it has ended.
    pub pidfd: OwnedFd,
    /// What it complains about; never blocks, and may be left unread.
    pub log: File,
}

/// What pasta is to do, decided.
#[derive(Debug)]
pub(super) struct Plan {
    program: PathBuf,
    ports: Vec<PublishedPort>,
    /// What the user tells it beside that.
    options: PastaOptions,
    /// Whether pasta gives the container an address of the host.
    gives_host: bool,
    /// One of the host's that is in reach where it does not.
    other: Option<IpAddr>,
}

impl Plan {
    /// Returns where the container will find the host, if it will.
    pub(super) fn host(&self) -> Option<IpAddr> {
        match self.options.value(MAP_GUEST) {
            Some(asked) => asked.parse().ok(),
            None => self.gives_host.then_some(HOST).or(self.other),
        }
    }

    /// Returns where the container will find a name server.
    pub(super) fn name_server(&self) -> Option<IpAddr> {
        match self.options.value(DNS_FORWARD) {
            Some(asked) => asked.parse().ok(),
            None => Some(NAME_SERVER),
        }
    }
}

/// Decides how pasta will be started, and finds out whether it can be.
///
/// `host` says that an address of the host is asked for; where it is not, there is one if pasta can
/// give it, or this machine has another one than that of its way out. What it can is remembered in `runroot`, a directory that a reboot voids.
pub(super) fn plan(
    ports: &[PublishedPort],
    options: &PastaOptions,
    host: bool,
    runroot: &Path,
) -> Result<Plan> {
    if let Some(port) = ports.iter().find(|port| port.protocol == Protocol::Sctp) {
        return Err(Error::new(
            Kind::Unsupported,
            format!("cannot publish port `{}/sctp` without root", port.host_port),
        )
        .hint("pasta forwards tcp and udp only"));
    }
    let program = find().ok_or_else(|| {
        Error::new(Kind::Unsupported, "cannot find the program pasta")
            .hint("install the package passt (or slirp4netns), or use --network none or host")
    })?;
    check_device()?;
    let asks = options.has(MAP_GUEST, MAP_GUEST);
    let gives_host = !asks && gives_host(&program, runroot);
    // The one by which packets go out is the container's own.
    let other = if asks || gives_host { None } else { super::own_address(|own, out| own != out) };
    if host && !asks && !gives_host && other.is_none() {
        return Err(Error::new(
            Kind::Unsupported,
            format!("{} cannot give the container an address of the host", program.display()),
        )
        .hint("leave out `host-gateway`, or install passt from 2024 or later"));
    }
    Ok(Plan { program, ports: ports.to_vec(), options: options.clone(), gives_host, other })
}

/// Finds out whether there is a tunnel device for us.
pub(super) fn check_device() -> Result<()> {
    let opened = File::options().read(true).write(true).open(DEVICE);
    opened
        .map(drop)
        .map_err(|error| device_error(error).within("networks without root need a tunnel device"))
}

/// Says why there is no tunnel device for us.
pub(super) fn device_error(error: io::Error) -> Error {
    let hint = match error.kind() {
        io::ErrorKind::PermissionDenied => "let all users use it: chmod 666 /dev/net/tun",
        _ => "load the module tun",
    };
    Error::new(Kind::Unsupported, format!("cannot open {DEVICE}")).caused_by(error).hint(hint)
}

/// Returns where pasta is installed.
pub(super) fn find() -> Option<PathBuf> {
    find_program("pasta")
}

/// Returns where a program is installed.
pub(super) fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    env::split_paths(&path)
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join(name))
        .find(|program| rustix::fs::access(program, rustix::fs::Access::EXEC_OK).is_ok())
}

/// Returns what pasta says about its version.
pub(super) fn version(program: &Path) -> Option<String> {
    let output = Command::new(program).arg("--version").stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().next().map(|line| line.trim_start_matches("pasta ").to_owned())
}

/// Tells whether pasta can give the container an address of the host. To ask it costs as much as to
/// start a container, so the answer is kept for as long as the program is the same.
fn gives_host(program: &Path, runroot: &Path) -> bool {
    let Ok(found) = std::fs::metadata(program) else { return false };
    let is = format!("{} {} {} ", found.ino(), found.size(), found.mtime_nsec());
    let note = runroot.join("pasta");
    let noted = std::fs::read_to_string(&note).unwrap_or_default();
    if let Some(answer) = noted.strip_prefix(&is) {
        return answer == "yes";
    }
    let answer = knows(program, MAP_GUEST);
    let text = is + if answer { "yes" } else { "no" };
    // What cannot be noted is asked again.
    drop(crate::store::file::write_volatile(&note, text.as_bytes()));
    answer
}

/// Tells whether pasta has an option. Some versions have no number, so their help is asked.
fn knows(program: &Path, option: &str) -> bool {
    let output = Command::new(program).arg("--help").stdin(Stdio::null()).output();
    output.is_ok_and(|output| {
        [output.stdout, output.stderr]
            .iter()
            .any(|text| String::from_utf8_lossy(text).contains(option))
    })
}

/// Starts pasta and waits until the namespace is connected.
pub(super) fn start(plan: &Plan, netns: BorrowedFd<'_>) -> Result<Helper> {
    let mut command = Command::new(&plan.program);
    command.args(arguments(plan));
    launch(command, netns)
}

/// Starts a program whose input is a namespace, and waits until it writes that it is connected.
pub(super) fn launch(mut command: Command, netns: BorrowedFd<'_>) -> Result<Helper> {
    let program = command.get_program().to_string_lossy().into_owned();
    let what = || format!("cannot start {program}");
    let (ready, ready_theirs) = pipe_with(PipeFlags::CLOEXEC).context(what)?;
    // If nobody reads, it loses complaints; it must not wait for us.
    let (log, log_theirs) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).context(what)?;
    command
        .current_dir("/")
        .stdin(netns.try_clone_to_owned().context(what)?)
        .stdout(ready_theirs)
        .stderr(log_theirs);
    let child = die_with_us(&mut command).spawn().context(what)?;
    // Closes our copies of its ends: its death must end the pipes.
    drop(command);
    let number = child.id().cast_signed();
    let pidfd = Pid::from_raw(number)
        .ok_or(rustix::io::Errno::SRCH)
        .and_then(|pid| pidfd_open(pid, PidfdFlags::empty()))
        .context(what)?;
    let helper = Helper { pid: number, pidfd, log: log.into() };
    let name = Path::new(&program).file_name().unwrap_or_default().to_string_lossy();
    match is_ready(&ready) {
        Ok(true) => Ok(helper),
        Ok(false) => {
            let complaints = helper.end();
            Err(Error::new(Kind::Unavailable, format!("{name} failed: {complaints}")))
        }
        Err(error) => {
            let complaints = helper.end();
            Err(error).context(|| format!("{name} did not get ready: {complaints}"))
        }
    }
}

/// Waits for a sign of life: `false` if it ended instead.
fn is_ready(ready: &OwnedFd) -> io::Result<bool> {
    let timeout = Timespec::try_from(PATIENCE).map_err(io::Error::other)?;
    let mut ends = [PollFd::new(ready, PollFlags::IN)];
    match rustix::io::retry_on_intr(|| poll(&mut ends, Some(&timeout)))? {
        0 => Err(io::ErrorKind::TimedOut.into()),
        _ => Ok(rustix::io::retry_on_intr(|| rustix::io::read(ready, &mut [0; 16]))? > 0),
    }
}

impl Helper {
    /// Kills the program, waits for its end, and returns what it complained about.
    pub fn end(mut self) -> String {
        let killed = crate::sys::process::send_signal(self.pidfd.as_fd(), libc::SIGKILL);
        if killed.is_ok() {
            // Somebody else may have collected it: then it has ended all the same.
            drop(crate::sys::process::wait(self.pidfd.as_fd()));
        }
        let mut text = Vec::new();
        // The pipe does not block: at its end, or where there is nothing, this is over.
        drop(self.log.read_to_end(&mut text));
        complaints(&String::from_utf8_lossy(&text))
    }
}

/// Picks from pasta's output what says why it failed.
fn complaints(text: &str) -> String {
    // Without a system logger there is a line about every line; the other one is of no consequence.
    let noise = |line: &&str| {
        line.is_empty() || line.contains("to syslog") || line.contains("using non-AVX2 version")
    };
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !noise(line)).collect();
    if lines.is_empty() { "it did not say why".to_owned() } else { lines.join("; ") }
}

fn arguments(plan: &Plan) -> Vec<String> {
    let Plan { options, .. } = plan;
    let mut arguments: Vec<String> = [
        "--config-net",
        "--foreground",
        "--quiet",
        // Nobody removes our namespace while we hold it; some versions would look for its path.
        "--no-netns-quit",
        "--pid",
        "/proc/self/fd/1",
        "--netns",
        "/proc/self/fd/0",
    ]
    .map(str::to_owned)
    .into();
    // Services that listen on the host's loopback only are none of the container's business.
    if !options.has(MAP_GATEWAY, MAP_GATEWAY) && !options.has("--no-map-gw", "--no-map-gw") {
        arguments.push("--no-map-gw".to_owned());
    }
    let mut add = |flag: &str, value: String| arguments.extend([flag.to_owned(), value]);
    for (short, long) in [("-T", "--tcp-ns"), ("-U", "--udp-ns")] {
        if !options.has(short, long) {
            add(long, "none".to_owned());
        }
    }
    if !options.has(DNS_FORWARD, DNS_FORWARD) {
        add(DNS_FORWARD, NAME_SERVER.to_string());
    }
    if plan.gives_host {
        add(MAP_GUEST, HOST.to_string());
    }
    for (short, long, protocol) in
        [("-t", "--tcp-ports", Protocol::Tcp), ("-u", "--udp-ports", Protocol::Udp)]
    {
        let mut specs = specs(&plan.ports, protocol);
        if specs.is_empty() && !options.has(short, long) {
            // Or else it forwards whatever the container listens on.
            specs.push("none".to_owned());
        }
        specs.into_iter().for_each(|spec| add(long, spec));
    }
    arguments.extend(options.0.iter().filter(|word| *word != MAP_GATEWAY).cloned());
    arguments
}

/// Writes published ports in pasta's way: `[ADDRESS/]FIRST[-LAST]:FIRST[-LAST]`.
fn specs(ports: &[PublishedPort], protocol: Protocol) -> Vec<String> {
    let mut runs: Vec<(&PublishedPort, u16)> = Vec::new();
    for port in ports.iter().filter(|port| port.protocol == protocol) {
        match runs.last_mut() {
            Some((first, more))
                if first.host_ip == port.host_ip
                    && first.host_port.checked_add(*more + 1) == Some(port.host_port)
                    && first.container_port.checked_add(*more + 1) == Some(port.container_port) =>
            {
                *more += 1;
            }
            _ => runs.push((port, 0)),
        }
    }
    let spec = |(first, more): (&PublishedPort, u16)| {
        let mut text = String::new();
        if !first.host_ip.is_unspecified() || first.host_ip.is_ipv6() {
            // Writing into a string cannot fail.
            let _ = write!(text, "{}/", first.host_ip);
        }
        let range = |from: u16| match more {
            0 => from.to_string(),
            more => format!("{from}-{}", from + more),
        };
        text + &range(first.host_port) + ":" + &range(first.container_port)
    };
    runs.into_iter().map(spec).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::ports::{Listener, reserve};
    use crate::spec::network::PortMapping;

    #[test]
    fn writes_ports_as_pasta_reads_them() {
        for (mappings, want) in [
            (&["8080:80"][..], &["8080:80"][..]),
            (&["127.0.0.1:8080-8082:80-82", "9090:90"], &["127.0.0.1/8080-8082:80-82", "9090:90"]),
            (&["[::1]:8080:80"], &["::1/8080:80"]),
            (&["8080:80", "8081:82"], &["8080:80", "8081:82"]),
            (&["8080:80/udp"], &[]),
        ] {
            let ports: Vec<_> = mappings
                .iter()
                .flat_map(|text| {
                    let mapping: PortMapping = text.parse().unwrap();
                    (0..mapping.count).map(move |offset| PublishedPort {
                        host_ip: mapping.host_ip.unwrap_or([0, 0, 0, 0].into()),
                        host_port: mapping.host_port.unwrap() + offset,
                        container_port: mapping.container_port + offset,
                        protocol: mapping.protocol,
                    })
                })
                .collect();
            assert_eq!(specs(&ports, Protocol::Tcp), want, "{mappings:?}");
        }
    }

    #[test]
    fn keeps_what_matters_of_complaints() {
        let text = "Failed to send 9 bytes to syslog\nCouldn't open\n\nx: No such file\n";
        assert_eq!(complaints(text), "Couldn't open; x: No such file");
        assert_eq!(complaints(""), "it did not say why");
    }

    #[test]
    fn forwards_no_sctp() {
        let mut ports =
            reserve(&["127.0.0.1::80".parse().unwrap()], Listener::Program).unwrap().ports;
        ports[0].protocol = Protocol::Sctp;
        assert_eq!(
            plan(&ports, &PastaOptions::default(), false, Path::new("/nonexistent"))
                .unwrap_err()
                .kind(),
            Kind::Unsupported
        );
    }
}
