//! `barge system connection`: hosts that have names.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::World;
use super::containers::for_each;
use super::exit::Status;
use super::listing::{self, Columns, Row};
use super::tree::Act;
use crate::error::{Error, Kind, Result};
use crate::remote::{Address, Connection, Connections};

/// Add a connection to another host
///
/// The first one becomes the usual one, which is meant by `barge --remote`.
#[derive(Args, Debug)]
pub(crate) struct Add {
    /// Make it the usual one
    #[arg(short, long)]
    default: bool,
    /// Key for ssh
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
    /// Port of the SSH server
    #[arg(short, long, value_name = "PORT")]
    port: Option<u16>,
    /// Path of the service's socket there
    #[arg(long, value_name = "PATH")]
    socket_path: Option<String>,
    /// Authority that certifies the host, in PEM
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// Our certificate for TLS, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Key of our certificate, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Name to give to it
    #[arg(value_name = "NAME", required = true)]
    name: String,
    /// [USER@]HOST, or an address as for --host
    #[arg(value_name = "DESTINATION", required = true)]
    destination: String,
}

impl Add {
    /// Returns the address. As Podman takes it, a path is a socket, and a host alone is one for ssh.
    fn address(&self) -> Result<Address> {
        let text = match &self.destination {
            path if path.starts_with('/') => format!("unix://{path}"),
            host if !host.contains("://") => format!("ssh://{host}"),
            address => address.clone(),
        };
        let address: Address = text.parse()?;
        match address {
            Address::Ssh { user, host, port, path } => Ok(Address::Ssh {
                user,
                host,
                port: self.port.or(port),
                path: self.socket_path.clone().or(path),
            }),
            _ if self.port.is_some() || self.socket_path.is_some() || self.identity.is_some() => {
                Err(Error::new(
                    Kind::Invalid,
                    "--identity, --port and --socket-path are for addresses with ssh://",
                ))
            }
            address => Ok(address),
        }
    }
}

impl Act for Add {
    const IS_LOCAL: bool = true;

    fn act(self, _: &mut World) -> Result<Status> {
        let connection = Connection {
            uri: self.address()?.to_string(),
            identity: self.identity,
            authority: self.tls_ca,
            certificate: self.tls_cert,
            key: self.tls_key,
            ..Connection::default()
        };
        let mut connections = Connections::lock()?;
        connections.add(&self.name, connection)?;
        if self.default {
            connections.set_usual(Some(&self.name))?;
        }
        connections.save()?;
        Ok(Status::SUCCESS)
    }
}

/// Say which connection is the usual one
#[derive(Args, Debug)]
pub(crate) struct Default {
    /// Its name
    #[arg(value_name = "NAME", required = true)]
    name: String,
}

impl Act for Default {
    const IS_LOCAL: bool = true;

    fn act(self, _: &mut World) -> Result<Status> {
        let mut connections = Connections::lock()?;
        connections.set_usual(Some(&self.name))?;
        connections.save()?;
        Ok(Status::SUCCESS)
    }
}

/// List connections to other hosts
#[derive(Args, Debug)]
pub(crate) struct Ls {
    /// Print each with a Go template, or all as json
    #[arg(short, long, value_name = "TEMPLATE")]
    format: Option<String>,
    /// Print names only
    #[arg(short, long)]
    quiet: bool,
}

const COLUMNS: Columns = Columns {
    shown: &[("Name", "Name"), ("URI", "URI"), ("Identity", "Identity"), ("Default", "Default")],
    others: &[("ReadWrite", "ReadWrite")],
};

impl Act for Ls {
    const IS_LOCAL: bool = true;

    fn act(self, world: &mut World) -> Result<Status> {
        let connections = Connections::read()?;
        if self.quiet {
            for (name, _) in connections.all() {
                world.out.line(name)?;
            }
            return Ok(Status::SUCCESS);
        }
        let row = |(name, one): (&str, &Connection)| {
            let identity = one.identity.as_ref().map(|path| path.display().to_string());
            let document = json!({
                "Name": name,
                "URI": one.uri,
                "Identity": identity.unwrap_or_default(),
                "TLSCA": one.authority,
                "TLSCert": one.certificate,
                "TLSKey": one.key,
                "Default": connections.usual_name() == name,
                "ReadWrite": true,
            });
            Row { fields: document.clone(), document }
        };
        let rows = connections.all().map(row).collect();
        listing::print(&mut world.out, &COLUMNS, rows, self.format.as_deref(), true)?;
        Ok(Status::SUCCESS)
    }
}

/// Give a connection another name
#[derive(Args, Debug)]
pub(crate) struct Rename {
    /// Its name
    #[arg(value_name = "NAME", required = true)]
    from: String,
    /// Its new name
    #[arg(value_name = "NEW-NAME", required = true)]
    to: String,
}

impl Act for Rename {
    const IS_LOCAL: bool = true;

    fn act(self, _: &mut World) -> Result<Status> {
        let mut connections = Connections::lock()?;
        connections.rename(&self.from, &self.to)?;
        connections.save()?;
        Ok(Status::SUCCESS)
    }
}

/// Remove connections
#[derive(Args, Debug)]
pub(crate) struct Rm {
    /// Remove all
    #[arg(short, long)]
    all: bool,
    /// Their names
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

impl Act for Rm {
    const IS_LOCAL: bool = true;

    fn act(self, world: &mut World) -> Result<Status> {
        if self.all != self.names.is_empty() {
            return Err(Error::new(Kind::Invalid, "name connections, or pass --all, and not both"));
        }
        remove(world, &self.names, self.all)
    }
}

/// Removes connections, or all of them.
pub(super) fn remove(world: &mut World, names: &[String], all: bool) -> Result<Status> {
    let mut connections = Connections::lock()?;
    if all {
        connections.clear();
    }
    let status = for_each(world, names, Status::of_error, |_, name| connections.remove(name))?;
    connections.save()?;
    Ok(status)
}
