//! Containers whose first process is systemd.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::process::Signal;
use crate::error::{Error, Kind, Result};

/// Whether a container is made for systemd.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SystemdMode {
    /// If its command is systemd, or an init.
    #[default]
    True,
    /// Whatever its command is.
    Always,
    /// Never.
    False,
}

/// What asks systemd to stop: SIGRTMIN+3.
pub const STOP: Signal = Signal(37);

/// Commands that are systemd, besides those of its name.
const INITS: [&str; 3] = ["/sbin/init", "/usr/sbin/init", "/usr/local/sbin/init"];

impl SystemdMode {
    /// Tells whether a container with this command is made for systemd.
    pub fn applies(self, command: &str) -> bool {
        match self {
            Self::Always => true,
            Self::False => false,
            Self::True => INITS.contains(&command) || command.rsplit('/').next() == Some("systemd"),
        }
    }
}

impl FromStr for SystemdMode {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "" | "true" => Ok(Self::True),
            "always" => Ok(Self::Always),
            "false" => Ok(Self::False),
            _ => Err(Error::new(Kind::Invalid, format!("invalid systemd mode `{text}`"))
                .hint("use true, false or always")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_systemd() {
        for (mode, command, want) in [
            (SystemdMode::True, "/sbin/init", true),
            (SystemdMode::True, "/lib/systemd/systemd", true),
            (SystemdMode::True, "systemd", true),
            (SystemdMode::True, "init", false),
            (SystemdMode::True, "/bin/sh", false),
            (SystemdMode::False, "/sbin/init", false),
            (SystemdMode::Always, "/bin/sh", true),
        ] {
            assert_eq!(mode.applies(command), want, "{mode:?} {command}");
        }
    }
}
