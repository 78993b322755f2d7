//! Which host a command is for: flags before it, and the environment.

use std::path::PathBuf;

use clap::Args;

use super::output;
use crate::error::{Error, Kind, Result};
use crate::remote::{Address, Asked, Host, TlsAsked, choose};

/// Which host commands are for.
#[derive(Args, Debug, Default)]
pub(crate) struct HostFlags {
    /// Address of the host, as in ssh://user@host
    ///
    /// unix://PATH, tcp://HOST:PORT or ssh://[USER@]HOST[:PORT][/PATH]: commands are carried out there, by
    /// Docker's API, by whatever service offers it. With ssh, keys and an agent must do, for nothing is
    /// asked, and the host has barge installed. Without this flag or the next, CONTAINER_HOST, DOCKER_HOST,
    /// CONTAINER_CONNECTION and DOCKER_CONTEXT are looked at, in this order.
    #[arg(short = 'H', long = "host", visible_alias = "url", value_name = "URL")]
    url: Option<String>,
    /// Name of a connection; default is this machine
    #[arg(short, long, visible_alias = "connection", value_name = "NAME")]
    context: Option<String>,
    /// Go to the host of the usual connection
    #[arg(short, long)]
    remote: bool,
    /// Key for ssh
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
    /// Use TLS; whoever answers is believed
    ///
    /// Unless --tlsverify, --tlscacert or DOCKER_TLS_VERIFY says who is.
    #[arg(long)]
    tls: bool,
    /// Authority that certifies the host, in PEM
    ///
    /// If neither this nor the next two are given, ca.pem, cert.pem and key.pem are looked for in
    /// DOCKER_CERT_PATH, or in ~/.docker.
    #[arg(long, value_name = "FILE")]
    tlscacert: Option<PathBuf>,
    /// Our certificate for TLS, in PEM
    #[arg(long, value_name = "FILE")]
    tlscert: Option<PathBuf>,
    /// Key of our certificate, in PEM
    #[arg(long, value_name = "FILE")]
    tlskey: Option<PathBuf>,
    /// Use TLS, and have the host prove who it is
    #[arg(long)]
    tlsverify: bool,
}

impl HostFlags {
    /// Returns the host; `None` is this machine.
    pub(super) fn host(&self) -> Result<Option<Host>> {
        if self.url.is_some() && self.context.is_some() {
            return Err(Error::new(Kind::Invalid, "--host and --context cannot be set together"));
        }
        let files = [&self.tlscacert, &self.tlscert, &self.tlskey];
        let named = files.iter().any(|file| file.is_some());
        let asked = Asked {
            url: self.url.clone(),
            connection: self.context.clone(),
            usual: self.remote,
            identity: self.identity.clone(),
            tls: TlsAsked {
                wanted: self.tls || self.tlsverify || named,
                verify: match (self.tlsverify || self.tlscacert.is_some(), self.tls) {
                    (true, _) => Some(true),
                    (false, true) => Some(false),
                    (false, false) => None,
                },
                authority: self.tlscacert.clone(),
                certificate: self.tlscert.clone(),
                key: self.tlskey.clone(),
            },
        };
        let Some(target) = choose(asked)? else { return Ok(None) };
        if let Address::Tcp { host, secure: None, .. } = &target.address
            && !target.is_secure()
            && !is_here(host)
        {
            output::warning(&format!(
                "{} is not encrypted, and nobody proves who they are; use ssh:// or --tlsverify",
                target.address
            ));
        }
        Ok(Some(Host::new(target)))
    }
}

/// Tells whether a name or a number means this machine.
fn is_here(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Refuses flags of a command that mean nothing on other hosts.
pub(crate) fn refuse(flags: &[(&str, bool)]) -> Result<()> {
    refuse_as(flags, "Docker's API has nothing like it")
}

/// As [`refuse`], with the reason.
pub(crate) fn refuse_as(flags: &[(&str, bool)], why: &str) -> Result<()> {
    match flags.iter().find(|(_, is_set)| *is_set) {
        Some((flag, _)) => {
            Err(Error::new(Kind::Unsupported, format!("{flag} is not there on other hosts: {why}")))
        }
        None => Ok(()),
    }
}

/// Says that a command is not there on other hosts, and why.
pub(super) fn absent(command: &str, why: &str) -> Error {
    Error::new(Kind::Unsupported, format!("`{command}` is not there on other hosts: {why}"))
        .hint("run it there, or leave --host, --context, CONTAINER_HOST and DOCKER_HOST away")
}
