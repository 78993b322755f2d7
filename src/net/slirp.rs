//! The user-mode network stack slirp4netns: networks for those who are not root and have no pasta, or
//! who ask for it.
//!
//! It has addresses of its own. What arrives at published ports is passed on by the monitor
//! ([`super::relay`]), or by slirp4netns, which is told so at a socket, if that is asked for. Otherwise
//! it is started and ended as pasta is.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown};
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::pasta::{self, Helper, launch};
use super::ports::PublishedPort;
use crate::error::{Context, Error, Kind, Result};
use crate::spec::cidr::Cidr;
use crate::spec::user_mode::SlirpOptions;
use crate::store::file;

/// The program's name.
const NAME: &str = "slirp4netns";
/// The container's interface.
const INTERFACE: &str = "tap0";
/// Its network, if nothing else is asked for.
const NETWORK: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 0);
/// Which address of the network stands for this machine's loopback address.
const HOST: u32 = 2;
/// Which one is the name server: queries are handed on to the host's.
const NAME_SERVER: u32 = 3;
/// It ends connections itself: nothing is gained by small packets.
const USUAL_MTU: u32 = 65520;
/// How long an answer of its may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What slirp4netns is to do, decided.
#[derive(Debug)]
pub(super) struct Plan {
    program: PathBuf,
    options: SlirpOptions,
    /// Ports that it lets in, and the socket at which it is told so.
    ports: Vec<PublishedPort>,
    socket: Option<PathBuf>,
}

impl Plan {
    fn new(program: PathBuf, options: SlirpOptions) -> Self {
        Self { program, options, ports: Vec::new(), socket: None }
    }

    /// Returns where the container finds a name server.
    pub(super) fn name_server(&self) -> Option<IpAddr> {
        self.network()?.nth(NAME_SERVER)
    }

    /// Returns where the container finds this machine, if it does.
    pub(super) fn host(&self) -> Option<IpAddr> {
        self.network().filter(|_| self.options.allow_host_loopback)?.nth(HOST)
    }

    fn network(&self) -> Option<Cidr> {
        self.options.cidr.or_else(|| Cidr::new(NETWORK, 24))
    }

    /// Has it let ports in, of which it is told at a socket that is made for that.
    pub(super) fn let_in(&mut self, ports: &[PublishedPort], socket: PathBuf) -> Result<()> {
        if let Some(port) = ports.iter().find(|port| port.host_ip.is_ipv6()) {
            let text = format!("{NAME} cannot publish ports on `{}`", port.host_ip);
            return Err(Error::new(Kind::Unsupported, text).hint("leave out port_handler="));
        }
        self.ports = ports.to_vec();
        self.socket = Some(socket);
        Ok(())
    }

    fn arguments(&self) -> Vec<String> {
        let Self { options, .. } = self;
        let mut arguments = vec!["--configure".to_owned()];
        arguments.push(format!("--mtu={}", options.mtu.unwrap_or(USUAL_MTU)));
        if !options.allow_host_loopback {
            // Services that listen on the host's loopback only are none of the container's business.
            arguments.push("--disable-host-loopback".to_owned());
        }
        if options.enable_ipv6 {
            arguments.push("--enable-ipv6".to_owned());
        }
        let with_values = [
            ("cidr", options.cidr.map(|it| it.to_string())),
            ("outbound-addr", options.outbound.clone()),
            ("outbound-addr6", options.outbound6.clone()),
            ("api-socket", self.socket.as_ref().map(|it| it.display().to_string())),
        ];
        let given = with_values.into_iter().filter_map(|(name, value)| Some((name, value?)));
        arguments.extend(given.map(|(name, value)| format!("--{name}={value}")));
        let rest = ["--ready-fd=1", "--netns-type=path", "/proc/self/fd/0", INTERFACE];
        arguments.extend(rest.map(str::to_owned));
        arguments
    }
}

/// Decides how it is started where it is needed: there is no pasta, but there is this.
pub(super) fn plan_if_needed() -> Option<Plan> {
    if pasta::find().is_some() {
        return None;
    }
    pasta::find_program(NAME).map(|program| Plan::new(program, SlirpOptions::default()))
}

/// Decides how it is started by who asks for it.
pub(super) fn plan(options: &SlirpOptions) -> Result<Plan> {
    let program = pasta::find_program(NAME).ok_or_else(|| {
        Error::new(Kind::Unsupported, format!("cannot find the program {NAME}"))
            .hint(format!("install the package {NAME}, or use another --network"))
    })?;
    Ok(Plan::new(program, options.clone()))
}

/// Starts it and waits until the namespace is connected.
pub(super) fn start(plan: &Plan, netns: BorrowedFd<'_>) -> Result<Helper> {
    let mut command = Command::new(&plan.program);
    command.args(plan.arguments());
    let helper = launch(command, netns)?;
    let Some(socket) = &plan.socket else { return Ok(helper) };
    let told = plan.ports.iter().try_for_each(|port| {
        tell(socket, port)
            .context(|| format!("{NAME} cannot publish port {}/{}", port.host_port, port.protocol))
    });
    // Whoever could reach it could open more.
    let told = told.and(file::remove_file(socket));
    match told {
        Ok(()) => Ok(helper),
        Err(error) => {
            // Of a program that works, complaints are of no interest.
            drop(helper.end());
            Err(error)
        }
    }
}

/// Has it let in what arrives at a port.
fn tell(socket: &Path, port: &PublishedPort) -> io::Result<()> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let request = json!({
        "execute": "add_hostfwd",
        "arguments": {
            "proto": port.protocol,
            "host_addr": port.host_ip,
            "host_port": port.host_port,
            "guest_port": port.container_port,
        },
    });
    stream.write_all(&serde_json::to_vec(&request)?)?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = Vec::new();
    stream.take(64 << 10).read_to_end(&mut answer)?;
    let answer: Value = serde_json::from_slice(&answer)?;
    match answer.get("error") {
        None => Ok(()),
        Some(error) => Err(io::Error::other(error["desc"].as_str().unwrap_or("it refuses"))),
    }
}
