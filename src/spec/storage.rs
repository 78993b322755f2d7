//! How root file systems are stored: the driver's name and its options.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Kind, Result};

/// How the root file systems of containers are made from the layers of images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DriverName {
    /// The kernel shows the layers as one tree, and keeps changes apart.
    #[default]
    Overlay,
    /// Each container has a copy of all its files.
    Vfs,
    /// Each container has a snapshot of its image, on btrfs.
    Btrfs,
}

impl DriverName {
    /// Returns the name as users write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Overlay => "overlay",
            Self::Vfs => "vfs",
            Self::Btrfs => "btrfs",
        }
    }
}

impl FromStr for DriverName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            // Docker's name for the one that is current.
            "overlay" | "overlay2" => Ok(Self::Overlay),
            "vfs" => Ok(Self::Vfs),
            "btrfs" => Ok(Self::Btrfs),
            _ => Err(Error::new(Kind::Unsupported, format!("unsupported storage driver `{text}`"))
                .hint("there are overlay, vfs and btrfs")),
        }
    }
}

impl fmt::Display for DriverName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is asked of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StorageOptions {
    /// The driver; what the store has already, or what works best, if nothing is said.
    pub driver: Option<DriverName>,
    /// Whether files whose owner this user cannot name are given to the user.
    pub ignore_chown_errors: bool,
    /// How many times its size a layer or an archive may unpack to; no limit if 0.
    pub max_unpacked_ratio: u64,
}

impl Default for StorageOptions {
    fn default() -> Self {
        Self {
            driver: None,
            ignore_chown_errors: false,
            // Above what files of any use shrink to; gzip's best is a thousandth.
            max_unpacked_ratio: 500,
        }
    }
}

impl StorageOptions {
    /// Takes an option as in `ignore_chown_errors=true`; a driver's name may stand before it, with a
    /// dot.
    pub fn set(&mut self, text: &str) -> Result<()> {
        let invalid = || {
            Error::new(Kind::Invalid, format!("invalid storage option `{text}`"))
                .hint("there are ignore_chown_errors=true and max_unpacked_ratio=N")
        };
        let (name, value) = text.split_once('=').ok_or_else(invalid)?;
        match name.split_once('.').map_or(name, |(_, name)| name) {
            "ignore_chown_errors" => {
                self.ignore_chown_errors =
                    value.to_ascii_lowercase().parse().map_err(|_| invalid())?;
                Ok(())
            }
            "max_unpacked_ratio" => {
                self.max_unpacked_ratio = value.parse().map_err(|_| invalid())?;
                Ok(())
            }
            _ => Err(invalid()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_drivers() {
        for (text, want) in [
            ("overlay", Some("overlay")),
            ("overlay2", Some("overlay")),
            ("vfs", Some("vfs")),
            ("btrfs", Some("btrfs")),
            ("zfs", None),
            ("", None),
            ("VFS", None),
        ] {
            let got = text.parse::<DriverName>().ok().map(|driver| driver.to_string());
            assert_eq!(got.as_deref(), want, "{text}");
        }
    }

    #[test]
    fn takes_options() {
        for (text, want) in [
            ("ignore_chown_errors=true", Some(true)),
            ("ignore_chown_errors=True", Some(true)),
            ("overlay.ignore_chown_errors=true", Some(true)),
            (".ignore_chown_errors=true", Some(true)),
            ("vfs.ignore_chown_errors=false", Some(false)),
            ("ignore_chown_errors=", None),
            ("ignore_chown_errors", None),
            ("mount_program=/usr/bin/fuse-overlayfs", None),
            ("", None),
        ] {
            let mut options = StorageOptions::default();
            let got = options.set(text).ok().map(|()| options.ignore_chown_errors);
            assert_eq!(got, want, "{text}");
        }
        for (text, want) in [
            ("max_unpacked_ratio=0", Some(0)),
            ("overlay.max_unpacked_ratio=10000", Some(10_000)),
            ("max_unpacked_ratio=-1", None),
            ("max_unpacked_ratio=", None),
        ] {
            let mut options = StorageOptions::default();
            let got = options.set(text).ok().map(|()| options.max_unpacked_ratio);
            assert_eq!(got, want, "{text}");
        }
    }
}
