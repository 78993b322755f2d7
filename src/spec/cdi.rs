//! Devices by the Container Device Interface: files that say what a container needs for a device.
//!
//! <https://github.com/cncf-tags/container-device-interface> describes the files.

use std::path::PathBuf;
use std::str::FromStr;

use serde::Deserialize;

use crate::error::{Error, Kind, Result};

/// Where the files are, those that count less first.
pub const DIRECTORIES: [&str; 2] = ["/etc/cdi", "/var/run/cdi"];

/// What GPUs of `--gpus` are called.
const GPU: &str = "nvidia.com/gpu";

/// One file.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct CdiFile {
    /// Version of the format.
    pub cdi_version: String,
    /// Vendor and class, as in `vendor.com/class`.
    pub kind: String,
    /// Its devices.
    pub devices: Vec<CdiDevice>,
    /// What all of its devices need.
    pub container_edits: Edits,
}

/// A device.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct CdiDevice {
    /// Name in its class.
    pub name: String,
    /// What it needs.
    pub container_edits: Edits,
}

/// What a container needs.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Edits {
    /// Variables, as `NAME=VALUE`.
    pub env: Vec<String>,
    /// Device nodes.
    pub device_nodes: Vec<DeviceNode>,
    /// Programs that are run as it comes and goes.
    pub hooks: Vec<EditHook>,
    /// Mounts.
    pub mounts: Vec<EditMount>,
    /// Further groups of its user.
    pub additional_gids: Vec<u32>,
}

/// A device node.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct DeviceNode {
    /// Where it is in the container.
    pub path: PathBuf,
    /// Where it is on the host; the same if nothing is said.
    pub host_path: Option<PathBuf>,
    /// `c`, `u`, `b` or `p`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Its number.
    pub major: Option<i64>,
    /// Its number.
    pub minor: Option<i64>,
    /// Permission bits.
    pub file_mode: Option<u32>,
    /// Letters of `rwm`.
    pub permissions: Option<String>,
    /// Its owner.
    pub uid: Option<u32>,
    /// Its group.
    pub gid: Option<u32>,
}

/// A mount.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct EditMount {
    /// What is shown.
    pub host_path: PathBuf,
    /// Where.
    pub container_path: PathBuf,
    /// As of mount(8).
    pub options: Vec<String>,
    /// Its type; a bind if nothing is said.
    #[serde(rename = "type")]
    pub kind: Option<String>,
}

/// A program that is run as the container comes and goes.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct EditHook {
    /// When, as in `createContainer`.
    pub hook_name: String,
    /// The program.
    pub path: PathBuf,
    /// Its name, and its arguments.
    pub args: Vec<String>,
    /// Its environment.
    pub env: Vec<String>,
    /// Seconds after which it has failed.
    pub timeout: Option<i64>,
}

impl CdiFile {
    /// Parses a file; its name tells in which of two forms it is written.
    pub fn parse(text: &str, name: &str) -> Result<Self> {
        let invalid = |why: String| Error::new(Kind::Invalid, format!("{name}: {why}"));
        let file: Self = if name.ends_with(".json") {
            serde_json::from_str(text).map_err(|error| invalid(error.to_string()))?
        } else {
            serde_saphyr::from_str(text).map_err(|error| {
                invalid(error.to_string().lines().next().unwrap_or_default().to_owned())
            })?
        };
        if !matches!(file.cdi_version.split_once('.'), Some(("0" | "1", _))) {
            return Err(invalid(format!("unknown cdiVersion `{}`", file.cdi_version)));
        }
        if !is_kind(&file.kind) {
            return Err(invalid(format!("invalid kind `{}`", file.kind)));
        }
        Ok(file)
    }
}

/// Tells whether a device is asked for by its name, as in `vendor.com/class=name`.
pub fn is_qualified(text: &str) -> bool {
    text.split_once('=').is_some_and(|(kind, name)| is_kind(kind) && is_name(name, "-_.:"))
}

fn is_kind(text: &str) -> bool {
    text.split_once('/').is_some_and(|(vendor, class)| {
        let is_letter = |text: &str| text.starts_with(|c: char| c.is_ascii_alphabetic());
        is_letter(vendor) && is_name(vendor, "-_.") && is_letter(class) && is_name(class, "-_.")
    })
}

fn is_name(text: &str, more: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_alphanumeric();
    text.starts_with(alphanumeric)
        && text.ends_with(alphanumeric)
        && text.chars().all(|c| alphanumeric(c) || more.contains(c))
}

/// GPUs that are asked for, as the names of devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gpus(pub Vec<String>);

impl FromStr for Gpus {
    type Err = Error;

    /// Parses `all`, a number, or Docker's list as in `"device=0,1",capabilities=utility`.
    fn from_str(text: &str) -> Result<Self> {
        let invalid = || {
            Error::new(Kind::Invalid, format!("invalid GPUs `{text}`"))
                .hint("write all, a number, or device=0,1")
        };
        let named = |name: &str| format!("{GPU}={name}");
        let count = |text: &str| -> Result<Vec<String>> {
            match text {
                "all" | "-1" => Ok(vec![named("all")]),
                text => {
                    let count: u32 = text.parse().map_err(|_| invalid())?;
                    Ok((0..count).map(|index| named(&index.to_string())).collect())
                }
            }
        };
        let mut found = None;
        for field in fields(text) {
            match field.split_once('=') {
                None => found = Some(count(&field)?),
                Some(("count", value)) => found = Some(count(value)?),
                Some(("device", value)) => {
                    found = Some(value.split(',').map(named).collect::<Vec<_>>());
                }
                Some(("driver", "" | "nvidia") | ("capabilities" | "options", _)) => {}
                Some(("driver", other)) => {
                    let text = format!("could not select device driver \"{other}\"");
                    return Err(Error::new(Kind::Unsupported, text)
                        .hint("name the device by --device vendor.com/class=name"));
                }
                Some(_) => return Err(invalid()),
            }
        }
        // Docker's own default, if only its other words are given.
        let names = found.unwrap_or_else(|| vec![named("all")]);
        if names.iter().all(|name| is_qualified(name)) { Ok(Self(names)) } else { Err(invalid()) }
    }
}

/// Splits a line of comma-separated values; those in double quotes may have commas.
fn fields(text: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    for letter in text.chars() {
        match letter {
            '"' => quoted = !quoted,
            ',' if !quoted => {
                // `device=0,1` without quotes, as shells leave it, goes on.
                fields.push(String::new());
            }
            letter => fields.iter_mut().last().into_iter().for_each(|field| field.push(letter)),
        }
    }
    let mut joined: Vec<String> = Vec::new();
    for field in fields {
        match joined.last_mut() {
            Some(last) if !field.contains('=') && last.starts_with("device=") => {
                last.push(',');
                last.push_str(&field);
            }
            _ => joined.push(field),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_names() {
        for (text, want) in [
            ("vendor.com/class=name", true),
            ("nvidia.com/gpu=0:1", true),
            ("v/c=n", true),
            ("/dev/fuse", false),
            ("vendor.com/class", false),
            ("vendor.com=x", false),
            ("vendor.com/class=", false),
            ("vendor.com/class=-x", false),
            ("1.com/class=x", false),
            ("a/b/c=x", false),
        ] {
            assert_eq!(is_qualified(text), want, "{text}");
        }
    }

    #[test]
    fn parses_gpus() {
        for (text, want) in [
            ("all", Some("all")),
            ("-1", Some("all")),
            ("2", Some("0 1")),
            ("device=0,2", Some("0 2")),
            ("\"device=GPU-1,GPU-2\",capabilities=utility", Some("GPU-1 GPU-2")),
            ("driver=nvidia,count=1", Some("0")),
            ("capabilities=gpu", Some("all")),
            ("driver=amd,count=1", None),
            ("x", None),
            ("", None),
        ] {
            let got = text.parse::<Gpus>().ok().map(|gpus| {
                let names = gpus.0.iter().map(|name| name.strip_prefix("nvidia.com/gpu=").unwrap());
                names.collect::<Vec<_>>().join(" ")
            });
            assert_eq!(got.as_deref(), want, "{text}");
        }
    }

    #[test]
    fn reads_both_forms() {
        let json = r#"{"cdiVersion": "0.5.0", "kind": "v.com/c", "devices":
            [{"name": "x", "containerEdits": {"env": ["A=1"], "deviceNodes": [{"path": "/dev/x"}]}}]}"#;
        let yaml = "cdiVersion: 0.5.0\nkind: v.com/c\ndevices:\n- name: x\n  containerEdits:\n    \
                    env: [A=1]\n    deviceNodes:\n    - path: /dev/x\n";
        let file = CdiFile::parse(json, "f.json").unwrap();
        assert_eq!(CdiFile::parse(yaml, "f.yaml").unwrap(), file);
        assert_eq!(file.devices[0].container_edits.env, ["A=1"]);
        for (text, name) in
            [("{", "f.json"), ("{}", "f.json"), ("kind: [", "f.yaml"), ("", "f.yaml")]
        {
            let error = CdiFile::parse(text, name).unwrap_err().to_string();
            assert!(error.starts_with(name), "{error}");
        }
    }
}
