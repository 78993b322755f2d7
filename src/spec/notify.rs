//! `--sdnotify`: who tells the service manager that a container is ready.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};

/// Who tells the service manager that a container is ready, if one has asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SdNotify {
    /// Its own program.
    #[default]
    Container,
    /// The monitor, as soon as it runs.
    Conmon,
    /// The monitor, as soon as it is healthy.
    Healthy,
    /// Nobody.
    Ignore,
}

impl SdNotify {
    /// Returns its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Conmon => "conmon",
            Self::Healthy => "healthy",
            Self::Ignore => "ignore",
        }
    }
}

impl FromStr for SdNotify {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        [Self::Container, Self::Conmon, Self::Healthy, Self::Ignore]
            .into_iter()
            .find(|mode| mode.as_str() == text)
            .ok_or_else(|| {
                let text = format!(
                    "invalid sdnotify value \"{text}\": must be container, conmon, healthy or ignore"
                );
                Error::new(Kind::Invalid, text)
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_modes() {
        for name in ["container", "conmon", "healthy", "ignore"] {
            assert_eq!(name.parse::<SdNotify>().unwrap().as_str(), name);
        }
        assert_eq!("none".parse::<SdNotify>().unwrap_err().kind(), Kind::Invalid);
    }
}
