//! Networks that a CNI plugin makes: a program that is told of each container that comes and goes.
//!
//! It gets a configuration, made of what the network's options say, and the path of a namespace, and
//! answers how it has connected that (<https://www.cni.dev/docs/spec>, version 0.4.0, which all plugins
//! know). What it has answered is on record: it is told that again when the container goes.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::endpoint::Connection;
use crate::error::{Context, Error, Kind, Result};
use crate::spec::cidr::Cidr;
use crate::spec::id::ContainerId;
use crate::spec::network_spec::{Ipam, NetworkSpec, Route};
use crate::store::Store;
use crate::store::file;
use crate::store::network::Network;
use crate::sys::command::die_with_us;

/// The version of the specification that is spoken.
const VERSION: &str = "0.4.0";
/// Where plugins are, if `CNI_PATH` says nothing.
const PLACES: [&str; 3] = ["/opt/cni/bin", "/usr/libexec/cni", "/usr/lib/cni"];
/// How long a plugin may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// More than any sensible answer.
const LONGEST: u64 = 1 << 20;

/// A network that a plugin makes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Plugin {
    name: String,
    /// What it is told each time.
    config: Value,
}

/// How a plugin has connected a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    plugin: Plugin,
    /// What it has answered; nothing while it is at work.
    answer: Value,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Answer {
    interfaces: Vec<Interface>,
    ips: Vec<Address>,
    routes: Vec<Way>,
    dns: Names,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Interface {
    name: String,
    mac: Option<String>,
    sandbox: Option<String>,
}

#[derive(Deserialize)]
struct Address {
    address: Cidr,
    gateway: Option<IpAddr>,
}

#[derive(Deserialize)]
struct Way {
    dst: Cidr,
    gw: Option<IpAddr>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Names {
    nameservers: Vec<IpAddr>,
}

impl Plugin {
    /// Decides what the plugin of a network will be told; `None` if it has none.
    pub(super) fn of(store: &Store, network: &Network) -> Option<Self> {
        let name = network.spec.driver.plugin()?.to_owned();
        let mut config = Map::new();
        for (key, value) in &network.spec.options {
            // Words that are not JSON are texts.
            let value = serde_json::from_str(value).unwrap_or_else(|_| json!(value));
            insert(&mut config, key, value);
        }
        config.entry("ipam").or_insert_with(|| ipam(store, &network.spec));
        config.insert("cniVersion".to_owned(), json!(VERSION));
        config.insert("name".to_owned(), json!(network.name));
        config.insert("type".to_owned(), json!(name));
        Some(Self { name, config: config.into() })
    }

    /// Returns what is on record of a container that it is about to connect.
    pub(super) fn attachment(&self) -> Attachment {
        Attachment { plugin: self.clone(), answer: Value::Null }
    }

    /// Returns where it is installed.
    fn find(&self) -> Result<PathBuf> {
        let places = std::env::var_os("CNI_PATH");
        let places: Vec<PathBuf> = match &places {
            Some(places) => std::env::split_paths(places).filter(|it| it.is_absolute()).collect(),
            None => PLACES.iter().map(PathBuf::from).collect(),
        };
        let mut programs = places.iter().map(|place| place.join(&self.name));
        let found = programs.find(|it| rustix::fs::access(it, rustix::fs::Access::EXEC_OK).is_ok());
        found.ok_or_else(|| {
            let places: Vec<_> = places.iter().map(|it| it.display().to_string()).collect();
            let text = format!("there is no CNI plugin `{}` in {}", self.name, places.join(", "));
            Error::new(Kind::Unsupported, text)
                .hint("install the package containernetworking-plugins, or set CNI_PATH")
        })
    }

    /// Has it connect a container.
    pub(super) fn add(
        &self,
        id: &ContainerId,
        connection: &mut Connection,
        netns: BorrowedFd<'_>,
    ) -> Result<()> {
        let mut arguments = "IgnoreUnknown=true".to_owned();
        if let Some(mac) = &connection.mac {
            arguments += &format!(";MAC={mac}");
        }
        let answer = self.call("ADD", id, connection, Some(netns), &self.config, &arguments)?;
        let attachment = Attachment { plugin: self.clone(), answer: answer.clone() };
        connection.attachment = Some(attachment);
        let context = || format!("cannot understand what the CNI plugin `{}` answers", self.name);
        let answer: Answer = serde_json::from_value(answer).context(context)?;
        let own = connection.interface.as_deref();
        let is_its = |it: &&Interface| {
            Some(it.name.as_str()) == own && it.sandbox.as_ref().is_some_and(|it| !it.is_empty())
        };
        connection.mac = answer.interfaces.iter().find(is_its).and_then(|it| it.mac.clone());
        connection.addresses = answer.ips.iter().map(|it| it.address).collect();
        let gateway = |way: &Way| {
            let near = || answer.ips.iter().find_map(|it| it.gateway);
            (way.dst.prefix() == 0).then(|| way.gw.or_else(near)).flatten()
        };
        connection.gateways = answer.routes.iter().filter_map(gateway).collect();
        let others = answer.routes.iter().filter(|way| way.dst.prefix() > 0);
        connection.routes = others
            .filter_map(|way| Some(Route { destination: way.dst, gateway: way.gw?, metric: None }))
            .collect();
        if connection.servers.is_empty() {
            connection.servers = answer.dns.nameservers;
        }
        Ok(())
    }

    fn call(
        &self,
        verb: &str,
        id: &ContainerId,
        connection: &Connection,
        netns: Option<BorrowedFd<'_>>,
        config: &Value,
        arguments: &str,
    ) -> Result<Value> {
        let program = self.find()?;
        let context = || format!("cannot run {}", program.display());
        // It opens the namespace by our descriptor, which is open as long as it runs.
        let netns = netns.map(|it| format!("/proc/{}/fd/{}", std::process::id(), it.as_raw_fd()));
        let mut command = Command::new(&program);
        command
            .current_dir("/")
            .env("CNI_COMMAND", verb)
            .env("CNI_CONTAINERID", id.as_str())
            .env("CNI_NETNS", netns.unwrap_or_default())
            .env("CNI_IFNAME", connection.interface.as_deref().unwrap_or_default())
            .env("CNI_ARGS", arguments)
            // Plugins call others.
            .env("CNI_PATH", program.parent().unwrap_or(Path::new("/")));
        let input = serde_json::to_vec(config).context(context)?;
        let (output, succeeded) = run(command, &input).context(context)?;
        let answer: Value = if output.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&output)
                .context(|| format!("the CNI plugin `{}` answers what is no JSON", self.name))?
        };
        if succeeded {
            return Ok(answer);
        }
        let word = |key: &str| answer[key].as_str().filter(|it| !it.is_empty());
        let said: Vec<&str> = [word("msg"), word("details")].into_iter().flatten().collect();
        let said = if said.is_empty() { "it did not say why".to_owned() } else { said.join(": ") };
        Err(Error::new(Kind::Unavailable, format!("the CNI plugin `{}` failed: {said}", self.name)))
    }
}

impl Attachment {
    /// Has the plugin disconnect a container, in a namespace if that is still there.
    pub(super) fn remove(
        &self,
        id: &ContainerId,
        connection: &Connection,
        netns: Option<BorrowedFd<'_>>,
    ) -> Result<()> {
        let mut config = self.plugin.config.clone();
        if !self.answer.is_null() {
            config["prevResult"] = self.answer.clone();
        }
        self.plugin.call("DEL", id, connection, netns, &config, "IgnoreUnknown=true").map(drop)
    }
}

/// Forgets what the plugins of a network remember of it.
pub(super) fn forget(store: &Store, network: &str) -> Result<()> {
    file::remove_tree(&leases(store).join(network))
}

fn leases(store: &Store) -> PathBuf {
    store.runroot().join("cni")
}

/// Puts a value where the words of a key, with dots between, lead.
fn insert(config: &mut Map<String, Value>, key: &str, value: Value) {
    let Some((first, rest)) = key.split_once('.') else {
        config.insert(key.to_owned(), value);
        return;
    };
    let inner = config.entry(first).or_insert_with(|| json!({}));
    if !inner.is_object() {
        *inner = json!({});
    }
    if let Value::Object(inner) = inner {
        insert(inner, rest, value);
    }
}

/// Says where addresses come from.
fn ipam(store: &Store, spec: &NetworkSpec) -> Value {
    if spec.ipam == Ipam::None || spec.subnets.is_empty() {
        return json!({});
    }
    let ranges = spec.subnets.iter().map(|it| {
        let mut range = json!({ "subnet": it.subnet });
        if let Some(gateway) = it.gateway {
            range["gateway"] = json!(gateway);
        }
        if let Some((first, last)) = it.range {
            range["rangeStart"] = json!(first);
            range["rangeEnd"] = json!(last);
        }
        json!([range])
    });
    let everything = |it: &crate::spec::network_spec::Subnet| match it.subnet.address() {
        IpAddr::V4(_) => json!({ "dst": "0.0.0.0/0" }),
        IpAddr::V6(_) => json!({ "dst": "::/0" }),
    };
    let out = spec.subnets.iter().filter(|_| !spec.internal).map(everything);
    let others = spec.routes.iter();
    let others = others.map(|it| json!({ "dst": it.destination, "gw": it.gateway }));
    json!({
        "type": "host-local",
        "dataDir": leases(store),
        "ranges": ranges.collect::<Vec<_>>(),
        "routes": out.chain(others).collect::<Vec<_>>(),
    })
}

/// Runs a program to its end; returns what it has written, and whether it succeeded.
fn run(mut command: Command, input: &[u8]) -> io::Result<(Vec<u8>, bool)> {
    // Files, not pipes: nobody has to read or write at the right time.
    let memory = || memfd_create("cni", MemfdFlags::CLOEXEC).map(File::from);
    let (mut given, mut taken) = (memory()?, memory()?);
    given.write_all(input)?;
    given.rewind()?;
    command.stdin(given).stdout(taken.try_clone()?).stderr(Stdio::null());
    let mut child = die_with_us(&mut command).spawn()?;
    let pid = Pid::from_raw(child.id().cast_signed()).ok_or(io::ErrorKind::NotFound)?;
    let pidfd = pidfd_open(pid, PidfdFlags::empty())?;
    let patience = Timespec::try_from(PATIENCE).map_err(io::Error::other)?;
    let mut files = [PollFd::new(&pidfd, PollFlags::IN)];
    let ended = rustix::io::retry_on_intr(|| poll(&mut files, Some(&patience)))?;
    if ended == 0 {
        // It may end just now.
        drop(child.kill());
        child.wait()?;
        return Err(io::ErrorKind::TimedOut.into());
    }
    let status = child.wait()?;
    taken.rewind()?;
    let mut output = Vec::new();
    taken.take(LONGEST).read_to_end(&mut output)?;
    Ok((output, status.success()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn makes_configurations_of_options() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let store = Store::open(&path.join("root"), &path.join("run")).unwrap();
        let mut spec =
            NetworkSpec { driver: "cni:bridge".parse().unwrap(), ..NetworkSpec::default() };
        for option in ["bridge=cni7", "isGateway=true", "args.a.b=[1]", "args.c=x y"] {
            spec.add_option(option).unwrap();
        }
        spec.add_subnets(&["10.7.0.0/24".parse().unwrap()], &["10.7.0.9".parse().unwrap()], &[])
            .unwrap();
        let mut network = Network {
            id: "a".repeat(64),
            name: "n".to_owned(),
            created: 0,
            interface: String::new(),
            spec,
        };
        let data = path.join("run/cni");
        let config = Plugin::of(&store, &network).unwrap().config;
        assert_eq!(
            config,
            json!({
                "cniVersion": "0.4.0",
                "name": "n",
                "type": "bridge",
                "bridge": "cni7",
                "isGateway": true,
                "args": { "a": { "b": [1] }, "c": "x y" },
                "ipam": {
                    "type": "host-local",
                    "dataDir": data,
                    "ranges": [[{ "subnet": "10.7.0.0/24", "gateway": "10.7.0.9" }]],
                    "routes": [{ "dst": "0.0.0.0/0" }],
                },
            })
        );
        network.spec.add_option("ipam.type=static").unwrap();
        assert_eq!(
            Plugin::of(&store, &network).unwrap().config["ipam"],
            json!({ "type": "static" })
        );
        network.spec.driver = "bridge".parse().unwrap();
        assert!(Plugin::of(&store, &network).is_none());
    }
}
