//! Named volumes as they are asked for: their names, and what the driver `local` can be told.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::size::Size;
use crate::error::{Error, Kind, Result};

/// The driver that needs no plugin.
pub const LOCAL: &str = "local";

/// What becomes of the volumes that an image declares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ImageVolumes {
    /// Each is a volume that goes with the container.
    #[default]
    Anonymous,
    /// Each is a file system in memory.
    Tmpfs,
    /// They are ignored.
    Ignore,
}

impl FromStr for ImageVolumes {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "anonymous" | "bind" => Ok(Self::Anonymous),
            "tmpfs" => Ok(Self::Tmpfs),
            "ignore" => Ok(Self::Ignore),
            _ => Err(Error::new(Kind::Invalid, format!("invalid image-volume type `{text}`"))
                .hint("use anonymous, bind, tmpfs or ignore")),
        }
    }
}

/// A volume as it is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct VolumeSpec {
    /// The plugin that makes it; empty for the driver `local`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub driver: String,
    /// Labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Options of the driver: `type`, `device`, `o`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
}

/// What is asked of the directory that a volume is, if it shows nothing else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnDirectory {
    /// The most bytes that it may have.
    pub bytes: Option<u64>,
    /// The most files and directories.
    pub inodes: Option<u64>,
    /// The user that it belongs to, as the store has them.
    pub uid: Option<u32>,
    /// Its group.
    pub gid: Option<u32>,
    /// Whether it never begins with what an image has.
    pub is_empty: bool,
}

/// What a volume with options shows, in the words of mount(2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeMount<'a> {
    /// Type of the file system; `bind` for a directory that is there.
    pub kind: &'a str,
    /// What is mounted.
    pub device: &'a str,
    /// Options.
    pub options: Vec<&'a str>,
}

impl VolumeMount<'_> {
    /// Tells whether it begins empty whenever it is mounted anew.
    pub fn is_in_memory(&self) -> bool {
        matches!(self.kind, "tmpfs" | "ramfs")
    }

    /// Tells whether no container can mount it: its files are on another machine, or on a block device.
    pub fn is_for_machine(&self) -> bool {
        let is_elsewhere = self.kind == "bind" || self.is_in_memory();
        self.is_remote() || (self.device.starts_with('/') && !is_elsewhere)
    }

    fn is_remote(&self) -> bool {
        self.is_nfs() || self.is_cifs()
    }

    /// Tells whether it is on another machine that speaks NFS.
    pub fn is_nfs(&self) -> bool {
        matches!(self.kind, "nfs" | "nfs4")
    }

    /// Returns the version to ask for where NFS is spoken and the options name none: what mount(2) means
    /// by that. By fsconfig(2), the kernel has none, and says that this one is not available.
    pub fn usual_version(&self) -> Option<&'static str> {
        let names_it = |word: &&str| {
            let key = word.split_once('=').map_or(*word, |(key, _)| key);
            matches!(key, "vers" | "nfsvers" | "v2" | "v3" | "v4" | "v4.0" | "v4.1" | "v4.2")
        };
        match self.kind {
            _ if self.options.iter().any(names_it) => None,
            "nfs" => Some("vers=3"),
            "nfs4" => Some("vers=4"),
            _ => None,
        }
    }

    fn is_cifs(&self) -> bool {
        matches!(self.kind, "cifs" | "smb3")
    }

    /// Tells whether its options can say who all files belong to.
    pub fn takes_owners(&self) -> bool {
        self.is_cifs() || matches!(self.kind, "vfat" | "msdos" | "exfat" | "ntfs" | "ntfs3" | "udf")
    }

    /// Returns the server that the kernel is to be told the address of: as `addr=` in the options has it,
    /// or the device where there is none. `None` if the kernel has an address already, or needs none.
    pub fn server(&self) -> Option<&str> {
        if !self.is_remote() {
            return None;
        }
        let server = match self.options.iter().find_map(|word| address_of(word)) {
            Some((_, server)) if server.parse::<IpAddr>().is_ok() => return None,
            Some((_, server)) => server,
            None if self.is_cifs() => {
                let path = self.device.trim_start_matches(['/', '\\']);
                path.split(['/', '\\']).next().unwrap_or_default()
            }
            None => match self.device.strip_prefix('[') {
                Some(rest) => rest.split(']').next().unwrap_or_default(),
                None => self.device.split(':').next().unwrap_or_default(),
            },
        };
        Some(server).filter(|server| !server.is_empty())
    }

    /// Returns the options with the address of the server.
    pub fn options_with(&self, server: IpAddr) -> Vec<String> {
        let key = if self.is_cifs() { "ip" } else { "addr" };
        let others = self.options.iter().filter(|word| address_of(word).is_none());
        let key = self.options.iter().find_map(|word| address_of(word)).map_or(key, |it| it.0);
        others.map(ToString::to_string).chain([format!("{key}={server}")]).collect()
    }
}

/// Takes an option apart that says where a server is.
fn address_of(word: &str) -> Option<(&str, &str)> {
    word.split_once('=').filter(|(key, _)| matches!(*key, "addr" | "ip"))
}

/// Options of a volume that is a directory of the store.
const OWN: [&str; 6] = ["size", "inodes", "uid", "gid", "nocopy", "noquota"];

/// Checks a volume's name, as Docker does.
pub fn parse_name(text: &str) -> Result<String> {
    let good = text.len() <= 253
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    if good {
        return Ok(text.to_owned());
    }
    Err(Error::new(
        Kind::Invalid,
        format!("names must match [a-zA-Z0-9][a-zA-Z0-9_.-]*: invalid argument: `{text}`"),
    )
    .hint("a directory of this machine is written with a leading / or ./"))
}

impl VolumeSpec {
    /// Names the driver.
    pub fn set_driver(&mut self, driver: &str) {
        self.driver = if driver == LOCAL { String::new() } else { driver.to_owned() };
    }

    /// Returns the driver's name.
    pub fn driver(&self) -> &str {
        if self.driver.is_empty() { LOCAL } else { &self.driver }
    }

    /// Tells whether a plugin makes it.
    pub fn is_by_plugin(&self) -> bool {
        !self.driver.is_empty()
    }

    /// Returns what is mounted in its place; `None` if it is a directory of its own.
    pub fn mount(&self) -> Option<VolumeMount<'_>> {
        // To a plugin, options mean something else.
        if self.is_by_plugin() { None } else { mount_of(&self.options) }
    }

    /// Says where the server is that has its files.
    pub fn find_server(&mut self, server: IpAddr) {
        if let Some(options) = self.mount().map(|mount| mount.options_with(server).join(",")) {
            self.options.insert("o".to_owned(), options);
        }
    }

    /// Returns what is asked of its own directory; `None` if it shows something else.
    ///
    /// Podman's words, in `o` or as options of their own.
    pub fn own(&self) -> Result<Option<OwnDirectory>> {
        if self.is_by_plugin() || self.mount().is_some() {
            return Ok(None);
        }
        let mut own = OwnDirectory::default();
        let alone = OWN.iter().filter_map(|key| Some((*key, self.options.get(*key)?)));
        let alone = alone.map(|(key, value)| match value.as_str() {
            "" => key.to_owned(),
            value => format!("{key}={value}"),
        });
        let within = self.options.get("o").map_or("", String::as_str).split(',');
        let words = within.filter(|word| !word.is_empty()).map(str::to_owned);
        for word in words.chain(alone).collect::<Vec<_>>() {
            let invalid = || {
                Error::new(Kind::Invalid, format!("invalid option `{word}` of a volume"))
                    .hint("without a type, it takes size=, inodes=, uid=, gid= and nocopy")
            };
            let id = |text: &str| text.parse::<u32>().map(Some).map_err(|_| invalid());
            match word.split_once('=') {
                Some(("size", size)) => own.bytes = Some(size.parse::<Size>()?.0),
                Some(("inodes", count)) => {
                    own.inodes = Some(count.parse().map_err(|_| invalid())?);
                }
                Some(("uid", text)) => own.uid = id(text)?,
                Some(("gid", text)) => own.gid = id(text)?,
                None if word == "nocopy" => own.is_empty = true,
                // Without a size, there is no quota.
                None if word == "noquota" => {}
                _ => return Err(invalid()),
            }
        }
        Ok(Some(own))
    }

    /// Adds an option of the driver, as in `type=tmpfs`.
    pub fn add_option(&mut self, text: &str) {
        let (key, value) = text.split_once('=').unwrap_or((text, ""));
        self.options.insert(key.to_owned(), value.to_owned());
    }

    /// Finds out whether the options make sense.
    pub fn check(&self) -> Result<()> {
        if self.is_by_plugin() {
            return Ok(());
        }
        let is_known = |key: &&String| {
            let key = key.as_str();
            matches!(key, "type" | "device" | "o") || OWN.contains(&key)
        };
        if let Some(key) = self.options.keys().find(|key| !is_known(key)) {
            return Err(Error::new(
                Kind::Invalid,
                format!("invalid mount option `{key}` for driver `local`"),
            )
            .hint(
                "known are type, device and o, as in -o type=tmpfs -o device=tmpfs -o o=size=64m, and size, inodes, uid, gid and nocopy",
            ));
        }
        self.own()?;
        let Some(mount) = self.mount() else { return Ok(()) };
        let invalid = |text: &str| Err(Error::new(Kind::Invalid, text));
        match mount.kind {
            "bind" if !mount.device.starts_with('/') => {
                invalid("a volume of type bind needs a device: an absolute path")
            }
            _ if self.options.keys().any(|key| OWN.contains(&key.as_str())) => invalid(
                "size, inodes, uid, gid and nocopy are for volumes that are directories; write them in o, as in o=size=SIZE",
            ),
            "" => invalid("a volume with a device needs a type, as in -o type=tmpfs"),
            "overlay" | "proc" | "sysfs" | "cgroup" | "cgroup2" => {
                invalid("a volume cannot be of this type")
            }
            _ => Ok(()),
        }
    }
}

fn mount_of(options: &BTreeMap<String, String>) -> Option<VolumeMount<'_>> {
    let get = |key: &str| options.get(key).map_or("", String::as_str);
    let (kind, device) = (get("type"), get("device"));
    let mut words: Vec<&str> = get("o").split(',').filter(|word| !word.is_empty()).collect();
    if kind.is_empty() && device.is_empty() {
        return None;
    }
    let binds = words.iter().any(|word| matches!(*word, "bind" | "rbind"));
    let kind = match kind {
        "none" | "" if binds => "bind",
        other => other,
    };
    if kind == "bind" && !binds {
        words.push("rbind");
    }
    Some(VolumeMount { kind, device, options: words })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_names() {
        for (text, good) in [
            ("data", true),
            ("a.b_c-9", true),
            ("-a", false),
            ("..", false),
            ("a/b", false),
            ("", false),
            ("ä", false),
        ] {
            assert_eq!(parse_name(text).is_ok(), good, "{text}");
        }
    }

    #[test]
    fn knows_whose_address_the_kernel_needs() {
        for (kind, device, o, server, with) in [
            ("nfs", ":/srv", "addr=files.example,rw", Some("files.example"), "rw,addr=192.0.2.7"),
            ("nfs", ":/srv", "addr=10.0.0.1", None, ""),
            ("nfs4", "files:/srv", "soft", Some("files"), "soft,addr=192.0.2.7"),
            ("nfs", "[fd00::1]:/srv", "", Some("fd00::1"), "addr=192.0.2.7"),
            ("nfs", ":/srv", "nolock", None, ""),
            ("cifs", "//files/share", "username=me", Some("files"), "username=me,ip=192.0.2.7"),
            ("cifs", "//10.0.0.1/share", "addr=files", Some("files"), "addr=192.0.2.7"),
            ("tmpfs", "tmpfs", "addr=files", None, ""),
        ] {
            let mut spec = VolumeSpec::default();
            for (key, value) in [("type", kind), ("device", device), ("o", o)] {
                spec.add_option(&format!("{key}={value}"));
            }
            let mount = spec.mount().unwrap();
            assert_eq!(mount.server(), server, "{kind} {device} {o}");
            if server.is_some() {
                spec.find_server("192.0.2.7".parse().unwrap());
                assert_eq!(spec.options["o"], with, "{kind} {device} {o}");
                assert_eq!(spec.mount().unwrap().server(), None);
            }
        }
    }

    #[test]
    fn asks_for_the_version_that_is_meant() {
        for (kind, o, want) in [
            ("nfs", "addr=10.0.0.1", Some("vers=3")),
            ("nfs4", "addr=10.0.0.1", Some("vers=4")),
            ("nfs4", "minorversion=1", Some("vers=4")),
            ("nfs", "rw,vers=4", None),
            ("nfs", "nfsvers=4.2", None),
            ("nfs", "v4.1,soft", None),
            ("nfs4", "v4.2", None),
            ("nfs", "version", Some("vers=3")),
            ("cifs", "username=me", None),
            ("ext4", "", None),
        ] {
            let mut spec = VolumeSpec::default();
            for (key, value) in [("type", kind), ("device", "//h/srv"), ("o", o)] {
                spec.add_option(&format!("{key}={value}"));
            }
            assert_eq!(spec.mount().unwrap().usual_version(), want, "{kind} {o}");
        }
    }

    #[test]
    fn knows_what_options_mount() {
        for (options, want) in [
            (&[][..], Some("None")),
            (&["type=tmpfs", "device=tmpfs", "o=size=1m,uid=5"], Some("tmpfs tmpfs size=1m uid=5")),
            (&["type=none", "o=bind,ro", "device=/srv"], Some("bind /srv bind ro")),
            (&["o=rbind", "device=/srv"], Some("bind /srv rbind")),
            (&["type=bind", "device=/srv"], Some("bind /srv rbind")),
            (&["type=none", "o=bind", "device=srv"], None),
            (&["device=/dev/sda1"], None),
            (&["type=overlay", "device=x"], None),
            (&["size=1"], Some("None")),
            (&["size=x"], None),
            (&["inodes=5", "uid=3", "gid=4", "nocopy", "o=noquota"], Some("None")),
            (&["uid=x"], None),
            (&["nocopy=1"], None),
            (&["uid=3", "type=tmpfs", "device=tmpfs"], None),
            (&["colour=1"], None),
            (&["size=1", "type=tmpfs", "device=tmpfs"], None),
            (&["o=size=1m,inodes=5,uid=3,gid=4,nocopy"], Some("None")),
            (&["o=mode=700"], None),
            (&["o=uid=x"], None),
        ] {
            let mut spec = VolumeSpec::default();
            options.iter().for_each(|option| spec.add_option(option));
            let got = spec.check().ok().map(|()| match spec.mount() {
                None => "None".to_owned(),
                Some(it) => [&[it.kind, it.device], &*it.options].concat().join(" "),
            });
            assert_eq!(got.as_deref(), want, "{options:?}");
        }
    }
}
