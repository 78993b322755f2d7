//! Where the results of health checks are kept, and how much of them.

use std::convert::Infallible;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How many results are kept, as with Docker.
const COUNT: u32 = 5;

/// Bytes that are kept of what a probe says, as with Docker.
const SIZE: u32 = 4096;

/// No probe says anything sensible that is longer than this.
const LARGEST: u32 = 1 << 20;

/// Where the results of probes are kept, and how much of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HealthLog {
    /// Where they are kept.
    pub destination: HealthDestination,
    /// How many are kept; 0 is all.
    pub max_count: u32,
    /// Bytes that are kept of what each says; 0 is all.
    pub max_size: u32,
}

/// Where the results of probes are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthDestination {
    /// With the container's state.
    #[default]
    Local,
    /// Among the events.
    Events,
    /// With the container's state, and in a file in this directory.
    Directory(PathBuf),
}

impl Default for HealthLog {
    fn default() -> Self {
        Self { destination: HealthDestination::Local, max_count: COUNT, max_size: SIZE }
    }
}

impl HealthLog {
    /// How many results are kept.
    pub fn count(&self) -> usize {
        match self.max_count {
            0 => usize::MAX,
            count => usize::try_from(count).unwrap_or(usize::MAX),
        }
    }

    /// Bytes that are kept of what a probe says.
    pub fn size(&self) -> usize {
        let size = if self.max_size == 0 { LARGEST } else { self.max_size.min(LARGEST) };
        usize::try_from(size).unwrap_or(usize::MAX)
    }
}

impl HealthDestination {
    /// Returns it as users write it.
    pub fn text(&self) -> String {
        match self {
            Self::Local => "local".to_owned(),
            Self::Events => "events_logger".to_owned(),
            Self::Directory(path) => path.display().to_string(),
        }
    }
}

impl FromStr for HealthDestination {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text {
            "local" | "" => Self::Local,
            "events_logger" => Self::Events,
            path => Self::Directory(path.into()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_limits() {
        let usual = HealthLog::default();
        assert_eq!((usual.count(), usual.size()), (5, 4096));
        let all = HealthLog { max_count: 0, max_size: 0, ..usual };
        assert_eq!((all.count(), all.size()), (usize::MAX, 1 << 20));
    }

    #[test]
    fn parses_destinations() {
        for text in ["local", "events_logger", "/var/log"] {
            let Ok(destination) = text.parse::<HealthDestination>();
            assert_eq!(destination.text(), text);
        }
    }
}
