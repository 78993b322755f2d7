//! Connections that have names, in a file of Podman's form that is ours.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::address::Address;
use super::choice::{Target, target, variable};
use super::secure::TlsAsked;
use crate::error::{Context, Error, Kind, Result};
use crate::store::file;
use crate::store::lock::Lock;

/// What is on record.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Document {
    #[serde(rename = "Connection")]
    connection: Known,
    /// What others keep in such a file stays.
    #[serde(flatten)]
    others: serde_json::Map<String, serde_json::Value>,
}

/// Connections by name, and which one is usual.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Known {
    #[serde(rename = "Default", skip_serializing_if = "String::is_empty")]
    usual: String,
    #[serde(rename = "Connections")]
    all: BTreeMap<String, Connection>,
}

/// One connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Connection {
    /// The address.
    #[serde(rename = "URI")]
    pub uri: String,
    /// The key for `ssh`.
    #[serde(rename = "Identity", skip_serializing_if = "Option::is_none")]
    pub identity: Option<PathBuf>,
    /// What it is for.
    #[serde(rename = "Description", skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The authority that certifies the host.
    #[serde(rename = "TLSCAFile", skip_serializing_if = "Option::is_none")]
    pub authority: Option<PathBuf>,
    /// Our certificate.
    #[serde(rename = "TLSCertFile", skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// Its key.
    #[serde(rename = "TLSKeyFile", skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// Whether the host need not prove who it is.
    #[serde(rename = "SkipTLSVerify", skip_serializing_if = "std::ops::Not::not")]
    pub unproven: bool,
}

impl Connection {
    /// Says how to get there. What is asked for goes over what is on record.
    pub(super) fn target(&self, identity: Option<PathBuf>, mut tls: TlsAsked) -> Result<Target> {
        let address: Address = self.uri.parse()?;
        let own = [&self.authority, &self.certificate, &self.key];
        tls.wanted |= self.unproven || own.iter().any(|file| file.is_some());
        if self.unproven {
            tls.verify.get_or_insert(false);
        }
        for (file, own) in
            [&mut tls.authority, &mut tls.certificate, &mut tls.key].into_iter().zip(own)
        {
            if file.is_none() {
                file.clone_from(own);
            }
        }
        Ok(target(address, identity.or_else(|| self.identity.clone()), tls))
    }
}

/// All connections of this user.
#[derive(Debug)]
pub struct Connections {
    document: Document,
    path: PathBuf,
    /// Held while they are changed.
    lock: Option<Lock>,
}

impl Connections {
    /// Reads them.
    pub fn read() -> Result<Self> {
        let path = place()?;
        let document = file::read_json(&path)?.unwrap_or_default();
        Ok(Self { document, path, lock: None })
    }

    /// Reads them, to change them: nobody else does meanwhile.
    pub fn lock() -> Result<Self> {
        let path = place()?;
        if let Some(dir) = path.parent() {
            file::create_dirs(dir, 0o700)?;
        }
        let lock = Lock::exclusive(&path.with_extension("lock"))?;
        let document = file::read_json(&path)?.unwrap_or_default();
        Ok(Self { document, path, lock: Some(lock) })
    }

    /// Writes them down.
    pub fn save(&self) -> Result<()> {
        debug_assert!(self.lock.is_some(), "who changes them has locked them");
        let data = serde_json::to_vec_pretty(&self.document)
            .context(|| format!("cannot encode {}", self.path.display()))?;
        file::write_secret(&self.path, &data)
    }

    /// Lists them by name.
    pub fn all(&self) -> impl Iterator<Item = (&str, &Connection)> {
        self.document.connection.all.iter().map(|(name, one)| (name.as_str(), one))
    }

    /// Returns the name of the usual one; empty if there is none.
    pub fn usual_name(&self) -> &str {
        &self.document.connection.usual
    }

    /// Finds one by name.
    pub fn get(&self, name: &str) -> Result<&Connection> {
        self.document.connection.all.get(name).ok_or_else(|| missing(name))
    }

    /// Returns the usual one.
    pub(super) fn usual(&self) -> Result<&Connection> {
        match self.usual_name() {
            "" => Err(Error::new(Kind::NotFound, "no connection is the usual one")
                .hint("choose one with `barge system connection default NAME`")),
            name => self.get(name),
        }
    }

    /// Adds one. The first becomes the usual one.
    pub fn add(&mut self, name: &str, connection: Connection) -> Result<()> {
        check(name)?;
        if self.document.connection.all.contains_key(name) {
            return Err(Error::new(
                Kind::Conflict,
                format!("there is a connection `{name}` already"),
            )
            .hint("remove that one, or choose another name"));
        }
        connection.uri.parse::<Address>()?;
        if self.document.connection.all.is_empty() {
            name.clone_into(&mut self.document.connection.usual);
        }
        self.document.connection.all.insert(name.to_owned(), connection);
        Ok(())
    }

    /// Makes one the usual one; none if no name is given.
    pub fn set_usual(&mut self, name: Option<&str>) -> Result<()> {
        if let Some(name) = name {
            self.get(name)?;
        }
        name.unwrap_or_default().clone_into(&mut self.document.connection.usual);
        Ok(())
    }

    /// Gives one another name.
    pub fn rename(&mut self, from: &str, to: &str) -> Result<()> {
        check(to)?;
        self.get(from)?;
        let known = &mut self.document.connection;
        if known.all.contains_key(to) {
            return Err(Error::new(
                Kind::Conflict,
                format!("there is a connection `{to}` already"),
            ));
        }
        if let Some(connection) = known.all.remove(from) {
            known.all.insert(to.to_owned(), connection);
        }
        if known.usual == from {
            to.clone_into(&mut known.usual);
        }
        Ok(())
    }

    /// Removes one.
    pub fn remove(&mut self, name: &str) -> Result<()> {
        let known = &mut self.document.connection;
        known.all.remove(name).ok_or_else(|| missing(name))?;
        if known.usual == name {
            known.usual.clear();
        }
        Ok(())
    }

    /// Removes all.
    pub fn clear(&mut self) {
        self.document.connection = Known::default();
    }
}

fn missing(name: &str) -> Error {
    Error::new(Kind::NotFound, format!("no connection `{name}`"))
        .hint("see `barge system connection ls`")
}

fn check(name: &str) -> Result<()> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-+".contains(&byte);
    if name.bytes().all(good) && name.bytes().next().is_some_and(|it| it.is_ascii_alphanumeric()) {
        if name == "default" {
            return Err(
                Error::new(Kind::Invalid, "`default` is this machine").hint("choose another name")
            );
        }
        return Ok(());
    }
    Err(Error::new(Kind::Invalid, format!("invalid name of a connection `{name}`"))
        .hint("use letters, digits, and `_.-+` after the first"))
}

/// Returns where they are kept.
fn place() -> Result<PathBuf> {
    let config = variable("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| variable("HOME").map(|home| Path::new(&home).join(".config")));
    match config.filter(|dir| dir.is_absolute()) {
        Some(dir) => Ok(dir.join("barge/connections.json")),
        None => {
            Err(Error::new(Kind::Invalid, "cannot tell where connections are kept")
                .hint("set HOME"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn none() -> Connections {
        Connections { document: Document::default(), path: PathBuf::new(), lock: None }
    }

    fn to(uri: &str) -> Connection {
        Connection { uri: uri.to_owned(), ..Connection::default() }
    }

    #[test]
    fn the_first_is_usual_until_it_goes() {
        let mut all = none();
        all.add("one", to("ssh://a")).unwrap();
        all.add("two", to("unix:///x")).unwrap();
        assert_eq!(all.usual_name(), "one");
        assert!(all.add("one", to("ssh://b")).is_err());
        all.rename("one", "three").unwrap();
        assert_eq!(all.usual_name(), "three");
        assert!(all.rename("three", "two").is_err());
        assert!(all.set_usual(Some("one")).is_err());
        all.remove("three").unwrap();
        assert_eq!(all.usual_name(), "");
        assert!(all.usual().is_err());
        assert!(all.remove("three").is_err());
    }

    #[test]
    fn refuses_odd_names_and_addresses() {
        let mut all = none();
        for name in ["", "default", "-x", "a b", "a/b"] {
            assert!(all.add(name, to("ssh://a")).is_err(), "{name}");
        }
        assert!(all.add("a", to("nowhere")).is_err());
    }

    #[test]
    fn reads_files_as_podman_writes_them() {
        let text = r#"{"Connection":{"Default":"a","Connections":{"a":{"URI":"ssh://me@h:22/run/x.sock",
            "Identity":"/home/me/.ssh/id","IsMachine":true}}},"Farm":{}}"#;
        let document: Document = serde_json::from_str(text).unwrap();
        let target = document.connection.all["a"].target(None, TlsAsked::default()).unwrap();
        assert_eq!(target.address.to_string(), "ssh://me@h:22/run/x.sock");
        assert_eq!(target.identity, Some("/home/me/.ssh/id".into()));
        assert!(serde_json::to_string(&document).unwrap().contains("Farm"));
    }
}
