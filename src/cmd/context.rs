//! `barge context`: connections to other hosts, as Docker's users know them.

use std::collections::BTreeMap;

use clap::Args;
use serde_json::{Value, json};

use super::World;
use super::connection;
use super::exit::Status;
use super::listing::{self, Columns, Row, inspect_format, print_inspected};
use super::output;
use super::tree::Act;
use crate::error::{Error, Kind, Result};
use crate::remote::{Connection, Connections};
use crate::spec::mount::parse_bool;

/// What Docker calls this machine.
const HERE: &str = "default";

/// Create a connection to another host
#[derive(Args, Debug)]
pub(crate) struct Create {
    /// What it is for
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Where it goes, as host=URL, and ca=, cert=, key=
    ///
    /// Several with commas between: host=tcp://HOST:PORT,ca=FILE,cert=FILE,key=FILE,skip-tls-verify=BOOL.
    #[arg(long, value_name = "KEY=VALUE", value_delimiter = ',')]
    docker: Vec<String>,
    /// Name to give to it
    #[arg(value_name = "NAME", required = true)]
    name: String,
}

impl Act for Create {
    const IS_LOCAL: bool = true;

    fn act(self, world: &mut World) -> Result<Status> {
        let mut given = BTreeMap::new();
        for pair in &self.docker {
            let known = ["host", "ca", "cert", "key", "skip-tls-verify"];
            match pair.split_once('=') {
                Some((key, value)) if known.contains(&key) => given.insert(key, value),
                _ => {
                    return Err(Error::new(Kind::Invalid, format!("invalid endpoint `{pair}`"))
                        .hint("write host=URL, and ca=FILE, cert=FILE, key=FILE with TLS"));
                }
            };
        }
        let Some(host) = given.get("host").filter(|host| !host.is_empty()) else {
            return Err(Error::new(Kind::Invalid, "a connection needs a host")
                .hint("say where it goes, as in --docker host=ssh://user@host"));
        };
        let file = |key: &str| given.get(key).map(|path| (*path).into());
        let skip = given.get("skip-tls-verify").copied().unwrap_or("false");
        let unproven = parse_bool(skip).ok_or_else(|| {
            Error::new(Kind::Invalid, format!("invalid value `{skip}` of skip-tls-verify"))
        })?;
        let connection = Connection {
            uri: (*host).to_owned(),
            description: self.description.unwrap_or_default(),
            authority: file("ca"),
            certificate: file("cert"),
            key: file("key"),
            unproven,
            ..Connection::default()
        };
        let mut connections = Connections::lock()?;
        let usual = connections.usual_name().to_owned();
        connections.add(&self.name, connection)?;
        // Docker's is chosen by `use` only.
        connections.set_usual(Some(usual.as_str()).filter(|name| !name.is_empty()))?;
        connections.save()?;
        world.out.line(&self.name)?;
        output::note(&format!("Successfully created context \"{}\"", self.name));
        Ok(Status::SUCCESS)
    }
}

/// Show everything about connections
#[derive(Args, Debug)]
pub(crate) struct Inspect {
    /// Print each with a Go template, or all as json
    #[arg(short, long, value_name = "TEMPLATE")]
    format: Option<String>,
    /// Their names; the one that is used if there are none
    #[arg(value_name = "NAME")]
    names: Vec<String>,
}

impl Act for Inspect {
    const IS_LOCAL: bool = true;

    fn act(mut self, world: &mut World) -> Result<Status> {
        let format = inspect_format(self.format.as_deref())?;
        let connections = Connections::read()?;
        if self.names.is_empty() {
            self.names.push(used(&connections).to_owned());
        }
        let (mut documents, mut failures) = (Vec::new(), Vec::new());
        for name in &self.names {
            match name.as_str() {
                HERE => documents.push(document(name, &Connection::default())),
                name => match connections.get(name) {
                    Ok(connection) => documents.push(document(name, connection)),
                    Err(error) => failures.push(error),
                },
            }
        }
        print_inspected(&mut world.out, documents, format.as_ref(), &failures)
    }
}

/// Makes the document of a connection, in Docker's form.
fn document(name: &str, connection: &Connection) -> Value {
    let files: Vec<&str> = [
        ("ca.pem", &connection.authority),
        ("cert.pem", &connection.certificate),
        ("key.pem", &connection.key),
    ]
    .iter()
    .filter(|(_, file)| file.is_some())
    .map(|(name, _)| *name)
    .collect();
    json!({
        "Name": name,
        "Metadata": { "Description": connection.description },
        "Endpoints": { "docker": {
            "Host": connection.uri,
            "SkipTLSVerify": connection.unproven,
        }},
        "TLSMaterial": if files.is_empty() { json!({}) } else { json!({ "docker": files }) },
        "Storage": {},
    })
}

/// List connections to other hosts
#[derive(Args, Debug)]
pub(crate) struct Ls {
    /// Print each with a Go template, or all as json
    #[arg(long, value_name = "TEMPLATE")]
    format: Option<String>,
    /// Print names only
    #[arg(short, long)]
    quiet: bool,
}

const COLUMNS: Columns = Columns {
    shown: &[
        ("Shown", "NAME"),
        ("Description", "DESCRIPTION"),
        ("DockerEndpoint", "DOCKER ENDPOINT"),
        ("Error", "ERROR"),
    ],
    others: &[("Name", "NAME"), ("Current", "CURRENT")],
};

impl Act for Ls {
    const IS_LOCAL: bool = true;

    fn act(self, world: &mut World) -> Result<Status> {
        let connections = Connections::read()?;
        let here = Connection { description: "This machine".to_owned(), ..Connection::default() };
        let all = std::iter::once((HERE, &here)).chain(connections.all());
        if self.quiet {
            for (name, _) in all {
                world.out.line(name)?;
            }
            return Ok(Status::SUCCESS);
        }
        let used = used(&connections);
        let rows = all.map(|(name, connection)| {
            let current = name == used;
            let document = json!({
                "Name": name,
                "Description": connection.description,
                "DockerEndpoint": connection.uri,
                "Current": current,
                "Error": "",
            });
            let mut fields = document.clone();
            fields["Shown"] = json!(if current { format!("{name} *") } else { name.to_owned() });
            Row { fields, document }
        });
        let rows = rows.collect();
        listing::print(&mut world.out, &COLUMNS, rows, self.format.as_deref(), true)?;
        Ok(Status::SUCCESS)
    }
}

/// Remove connections to other hosts
#[derive(Args, Debug)]
pub(crate) struct Rm {
    /// Remove the one that is used, too
    #[arg(short, long)]
    force: bool,
    /// Their names
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
}

impl Act for Rm {
    const IS_LOCAL: bool = true;

    fn act(self, world: &mut World) -> Result<Status> {
        let connections = Connections::read()?;
        let used = used(&connections);
        if let Some(name) = self.names.iter().find(|name| name.as_str() == used && !self.force) {
            return Err(Error::new(Kind::Conflict, format!("context `{name}` is in use"))
                .hint("use another one first, or set --force"));
        }
        let status = connection::remove(world, &self.names, false)?;
        if status == Status::SUCCESS {
            self.names.iter().try_for_each(|name| world.out.line(name))?;
        }
        Ok(status)
    }
}

/// Show which connection is used
#[derive(Args, Debug)]
pub(crate) struct Show {}

impl Act for Show {
    const IS_LOCAL: bool = true;

    fn act(self, world: &mut World) -> Result<Status> {
        let connections = Connections::read()?;
        world.out.line(used(&connections))?;
        Ok(Status::SUCCESS)
    }
}

/// Returns the name of the connection that is used.
fn used(connections: &Connections) -> &str {
    match connections.usual_name() {
        "" => HERE,
        name => name,
    }
}

/// Use a connection where --remote is given
///
/// Commands without --remote stay on this machine: nothing is looked up for them.
#[derive(Args, Debug)]
pub(crate) struct Use {
    /// Its name; default is none of them
    #[arg(value_name = "NAME", required = true)]
    name: String,
}

impl Act for Use {
    const IS_LOCAL: bool = true;

    fn act(self, world: &mut World) -> Result<Status> {
        let mut connections = Connections::lock()?;
        connections.set_usual(Some(self.name.as_str()).filter(|name| *name != HERE))?;
        connections.save()?;
        world.out.line(&self.name)?;
        if self.name != HERE {
            output::note("Commands go there with `barge --remote`, and stay here without.");
        }
        Ok(Status::SUCCESS)
    }
}
