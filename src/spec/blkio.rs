//! How much of the machine's disks a container may use, and which devices it may reach by number.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::size::Size;
use crate::error::{Error, Kind, Result};

/// Limits of block devices.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BlockIo {
    /// Relative weight, 10 to 1000.
    pub weight: Option<u16>,
    /// Relative weight on single devices.
    pub device_weights: Vec<DeviceLimit>,
    /// Bytes a second that are read of a device.
    pub read_bps: Vec<DeviceLimit>,
    /// Bytes a second that are written to a device.
    pub write_bps: Vec<DeviceLimit>,
    /// Reads a second of a device.
    pub read_iops: Vec<DeviceLimit>,
    /// Writes a second to a device.
    pub write_iops: Vec<DeviceLimit>,
}

impl BlockIo {
    /// Puts other limits over these: one of a device takes the place of that device's own.
    #[must_use]
    pub fn changed(&self, new: &Self) -> Self {
        let changed = |old: &[DeviceLimit], new: &[DeviceLimit]| -> Vec<DeviceLimit> {
            let kept = old.iter().filter(|old| !new.iter().any(|it| it.path == old.path));
            kept.chain(new).cloned().collect()
        };
        Self {
            weight: new.weight.or(self.weight),
            device_weights: changed(&self.device_weights, &new.device_weights),
            read_bps: changed(&self.read_bps, &new.read_bps),
            write_bps: changed(&self.write_bps, &new.write_bps),
            read_iops: changed(&self.read_iops, &new.read_iops),
            write_iops: changed(&self.write_iops, &new.write_iops),
        }
    }
}

/// A number for one device, as in `/dev/sda:1mb`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceLimit {
    /// The device.
    pub path: PathBuf,
    /// The number.
    pub value: u64,
}

/// One `--device-cgroup-rule`, as in `c 1:3 rwm`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceRule {
    /// `a`, `b` or `c`.
    pub kind: char,
    /// Major number; `None` is all.
    pub major: Option<u32>,
    /// Minor number; `None` is all.
    pub minor: Option<u32>,
    /// Letters of `rwm`.
    pub access: String,
}

/// Parses `--blkio-weight`.
pub fn parse_weight(text: &str) -> Result<u16> {
    text.parse().ok().filter(|weight| matches!(weight, 0 | 10..=1000)).ok_or_else(|| {
        Error::new(Kind::Invalid, format!("invalid block I/O weight `{text}`"))
            .hint("write a number from 10 to 1000")
    })
}

fn device<'a>(text: &'a str, what: &str) -> Result<(PathBuf, &'a str)> {
    text.rsplit_once(':')
        .filter(|(path, _)| path.starts_with("/dev/"))
        .map(|(path, value)| (PathBuf::from(path), value))
        .ok_or_else(|| {
            Error::new(Kind::Invalid, format!("bad format for path: {text}"))
                .hint(format!("write a device and {what}, as in /dev/sda:{}", example(what)))
        })
}

fn example(what: &str) -> &'static str {
    match what {
        "a weight" => "500",
        "bytes a second" => "1mb",
        _ => "1000",
    }
}

/// Parses `--blkio-weight-device`.
pub fn parse_device_weight(text: &str) -> Result<DeviceLimit> {
    let (path, value) = device(text, "a weight")?;
    Ok(DeviceLimit { path, value: parse_weight(value)?.into() })
}

/// Parses `--device-read-bps` and `--device-write-bps`.
pub fn parse_rate(text: &str) -> Result<DeviceLimit> {
    let (path, value) = device(text, "bytes a second")?;
    let Size(value) = value.parse()?;
    Ok(DeviceLimit { path, value })
}

/// Parses `--device-read-iops` and `--device-write-iops`.
pub fn parse_operations(text: &str) -> Result<DeviceLimit> {
    let (path, value) = device(text, "operations a second")?;
    let value = value.parse().map_err(|_| {
        Error::new(Kind::Invalid, format!("invalid rate for device: {text}"))
            .hint("write a number, as in /dev/sda:1000")
    })?;
    Ok(DeviceLimit { path, value })
}

impl fmt::Display for DeviceRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |it: Option<u32>| it.map_or_else(|| "*".to_owned(), |it| it.to_string());
        let (major, minor) = (number(self.major), number(self.minor));
        write!(f, "{} {major}:{minor} {}", self.kind, self.access)
    }
}

impl FromStr for DeviceRule {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let invalid = || {
            Error::new(
                Kind::Invalid,
                format!("invalid device cgroup rule requires type, major:Minor, and access rules: \"{text}\""),
            )
            .hint("write it as in \"c 1:3 rwm\" or \"b *:* r\"")
        };
        let words: Vec<&str> = text.split_whitespace().collect();
        let [kind, numbers, access] = words.as_slice() else { return Err(invalid()) };
        let kind = match *kind {
            "a" => 'a',
            "b" => 'b',
            "c" => 'c',
            other => {
                return Err(Error::new(
                    Kind::Invalid,
                    format!("invalid device type in device-access-add: {other}"),
                )
                .hint("it is a, b or c"));
            }
        };
        let number = |text: &str| match text {
            "*" => Ok(None),
            text => text.parse().map(Some).map_err(|_| invalid()),
        };
        let (major, minor) = numbers.split_once(':').ok_or_else(invalid)?;
        let (major, minor) = (number(major)?, number(minor)?);
        if access.len() > 3 || !access.chars().all(|letter| "rwm".contains(letter)) {
            return Err(Error::new(
                Kind::Invalid,
                format!("invalid device access in device-access-add: {access}"),
            )
            .hint("it is made of r, w and m"));
        }
        Ok(Self { kind, major, minor, access: (*access).to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_limits_of_devices() {
        let limit = |path: &str, value| Some((PathBuf::from(path), value));
        let pair = |limit: DeviceLimit| (limit.path, limit.value);
        for (text, want) in [
            ("/dev/sda:1mb", limit("/dev/sda", 1 << 20)),
            ("/dev/disk/by-path/pci-0:1:5k", limit("/dev/disk/by-path/pci-0:1", 5 << 10)),
            ("/dev/sda", None),
            ("sda:1mb", None),
            ("/dev/sda:much", None),
        ] {
            assert_eq!(parse_rate(text).ok().map(pair), want, "{text}");
        }
        assert_eq!(parse_operations("/dev/sda:7").ok().map(pair), limit("/dev/sda", 7));
        assert!(parse_operations("/dev/sda:7k").is_err());
        assert_eq!(parse_device_weight("/dev/sda:500").ok().map(pair), limit("/dev/sda", 500));
        assert!(parse_device_weight("/dev/sda:5").is_err());
        assert!(parse_weight("1001").is_err());
    }

    #[test]
    fn parses_device_rules() {
        for (text, want) in [
            ("c 1:3 rwm", Ok(('c', Some(1), Some(3)))),
            ("b *:* r", Ok(('b', None, None))),
            ("a 7:* m", Ok(('a', Some(7), None))),
            ("x 1:3 r", Err("invalid device type in device-access-add: x")),
            ("c 1:3", Err("requires type, major:Minor, and access rules: \"c 1:3\"")),
            ("c 1 r", Err("requires type, major:Minor")),
            ("c 1:x r", Err("requires type, major:Minor")),
            ("c 1:3 rx", Err("invalid device access in device-access-add: rx")),
        ] {
            match (text.parse::<DeviceRule>(), want) {
                (Ok(rule), Ok(want)) => assert_eq!((rule.kind, rule.major, rule.minor), want),
                (Err(error), Err(want)) => assert!(error.to_string().contains(want), "{error}"),
                (got, want) => panic!("{text}: {got:?}, not {want:?}"),
            }
        }
    }
}
