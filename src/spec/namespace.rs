//! Which namespaces a container has of its own, and which it shares with whom.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};

/// The kinds of namespaces that a container may share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamespaceKind {
    /// Control groups.
    Cgroup,
    /// System V IPC and POSIX queues; shared memory goes with it.
    Ipc,
    /// The network.
    Network,
    /// Process IDs.
    Pid,
    /// User and group IDs.
    User,
    /// The host name.
    Uts,
}

/// Which namespace of a kind a container is in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NamespaceMode {
    /// One of its own.
    #[default]
    Private,
    /// The host's; without root the user's.
    Host,
    /// That of another container: its name or ID as it is asked for, its ID once it is recorded.
    Container(String),
    /// An existing one.
    Ns(PathBuf),
}

/// Which IPC namespace a container is in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IpcMode {
    /// One of its own, which others may join.
    #[default]
    Shareable,
    /// One of its own, which nobody else may join.
    Private,
    /// One of its own, without shared memory.
    None,
    /// The host's.
    Host,
    /// That of another container, likewise.
    Container(String),
    /// An existing one.
    Ns(PathBuf),
}

/// The namespaces of a container but those of the network, users and mounts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Namespaces {
    /// Process IDs.
    pub pid: NamespaceMode,
    /// System V IPC, POSIX queues and shared memory.
    pub ipc: IpcMode,
    /// Host name.
    pub uts: NamespaceMode,
    /// Control groups.
    pub cgroup: NamespaceMode,
}

/// A namespace that is there before the container is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing<'a> {
    /// That of a container, by ID.
    Container(&'a str),
    /// One at a path.
    Path(&'a Path),
}

impl NamespaceKind {
    /// Returns its name in `/proc/PID/ns`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cgroup => "cgroup",
            Self::Ipc => "ipc",
            Self::Network => "net",
            Self::Pid => "pid",
            Self::User => "user",
            Self::Uts => "uts",
        }
    }
}

impl NamespaceMode {
    /// Tells whether the container has one of its own.
    pub fn is_own(&self) -> bool {
        *self == Self::Private
    }

    /// Returns what is joined.
    pub fn existing(&self) -> Option<Existing<'_>> {
        match self {
            Self::Private | Self::Host => None,
            Self::Container(id) => Some(Existing::Container(id)),
            Self::Ns(path) => Some(Existing::Path(path)),
        }
    }
}

impl IpcMode {
    /// Tells whether the container has one of its own.
    pub fn is_own(&self) -> bool {
        matches!(self, Self::Shareable | Self::Private | Self::None)
    }

    /// Returns what is joined.
    pub fn existing(&self) -> Option<Existing<'_>> {
        match self {
            Self::Shareable | Self::Private | Self::None | Self::Host => None,
            Self::Container(id) => Some(Existing::Container(id)),
            Self::Ns(path) => Some(Existing::Path(path)),
        }
    }
}

impl Namespaces {
    /// Returns the namespaces that are joined.
    pub fn existing(&self) -> impl Iterator<Item = (NamespaceKind, Existing<'_>)> {
        [
            (NamespaceKind::Pid, self.pid.existing()),
            (NamespaceKind::Ipc, self.ipc.existing()),
            (NamespaceKind::Uts, self.uts.existing()),
            (NamespaceKind::Cgroup, self.cgroup.existing()),
        ]
        .into_iter()
        .filter_map(|(kind, existing)| Some((kind, existing?)))
    }

    /// Returns the texts that name other containers, to be replaced by their IDs.
    pub fn donors_mut(&mut self) -> impl Iterator<Item = &mut String> {
        fn of(mode: &mut NamespaceMode) -> Option<&mut String> {
            match mode {
                NamespaceMode::Container(id) => Some(id),
                _ => None,
            }
        }
        let ipc = match &mut self.ipc {
            IpcMode::Container(id) => Some(id),
            _ => None,
        };
        [of(&mut self.pid), ipc, of(&mut self.uts), of(&mut self.cgroup)].into_iter().flatten()
    }
}

impl FromStr for NamespaceMode {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "" | "private" => Ok(Self::Private),
            "host" => Ok(Self::Host),
            _ => match joined(text) {
                Some(Joined::Container(name)) => Ok(Self::Container(name)),
                Some(Joined::Ns(path)) => Ok(Self::Ns(path)),
                None => Err(unknown(text, "private, host, container:NAME or ns:PATH")),
            },
        }
    }
}

impl FromStr for IpcMode {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "" | "shareable" => Ok(Self::Shareable),
            "private" => Ok(Self::Private),
            "none" => Ok(Self::None),
            "host" => Ok(Self::Host),
            _ => match joined(text) {
                Some(Joined::Container(name)) => Ok(Self::Container(name)),
                Some(Joined::Ns(path)) => Ok(Self::Ns(path)),
                None => {
                    Err(unknown(text, "private, shareable, none, host, container:NAME or ns:PATH"))
                }
            },
        }
    }
}

enum Joined {
    Container(String),
    Ns(PathBuf),
}

/// Reads `container:NAME` and `ns:PATH`.
fn joined(text: &str) -> Option<Joined> {
    match text.split_once(':')? {
        ("container", name) if !name.is_empty() => Some(Joined::Container(name.to_owned())),
        ("ns", path) if path.starts_with('/') => Some(Joined::Ns(PathBuf::from(path))),
        _ => None,
    }
}

fn unknown(text: &str, known: &str) -> Error {
    Error::new(Kind::Invalid, format!("unrecognized namespace mode `{text}`"))
        .hint(format!("use {known}"))
}

impl fmt::Display for NamespaceMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Private => f.write_str("private"),
            Self::Host => f.write_str("host"),
            Self::Container(id) => write!(f, "container:{id}"),
            Self::Ns(path) => write!(f, "ns:{}", path.display()),
        }
    }
}

impl fmt::Display for IpcMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shareable => f.write_str("shareable"),
            Self::Private => f.write_str("private"),
            Self::None => f.write_str("none"),
            Self::Host => f.write_str("host"),
            Self::Container(id) => write!(f, "container:{id}"),
            Self::Ns(path) => write!(f, "ns:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_modes() {
        for (text, want) in [
            ("", Some("private")),
            ("private", Some("private")),
            ("host", Some("host")),
            ("container:web", Some("container:web")),
            ("ns:/proc/1/ns/uts", Some("ns:/proc/1/ns/uts")),
            ("container:", None),
            ("ns:relative", None),
            ("shareable", None),
            ("none", None),
            ("hosts", None),
        ] {
            let got = text.parse::<NamespaceMode>().ok().map(|mode| mode.to_string());
            assert_eq!(got.as_deref(), want, "{text}");
        }
    }

    #[test]
    fn parses_ipc_modes() {
        for (text, want) in [
            ("", Some("shareable")),
            ("shareable", Some("shareable")),
            ("private", Some("private")),
            ("none", Some("none")),
            ("host", Some("host")),
            ("container:web", Some("container:web")),
            ("ns:/x", Some("ns:/x")),
            ("bogus", None),
        ] {
            let got = text.parse::<IpcMode>().ok().map(|mode| mode.to_string());
            assert_eq!(got.as_deref(), want, "{text}");
        }
    }

    #[test]
    fn lists_what_is_joined() {
        let mut all = Namespaces {
            pid: NamespaceMode::Container("a".into()),
            ipc: IpcMode::Container("b".into()),
            uts: NamespaceMode::Host,
            cgroup: NamespaceMode::Ns("/c".into()),
        };
        all.donors_mut().for_each(|name| name.push('!'));
        let found: Vec<_> = all.existing().collect();
        assert_eq!(
            found,
            [
                (NamespaceKind::Pid, Existing::Container("a!")),
                (NamespaceKind::Ipc, Existing::Container("b!")),
                (NamespaceKind::Cgroup, Existing::Path(Path::new("/c"))),
            ]
        );
    }
}
