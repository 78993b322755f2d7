//! What runs in a container: signals, users, environment.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};

/// A signal by number, 1 to 64.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Signal(pub i32);

impl Signal {
    /// Asks a process to end.
    pub const TERM: Self = Self(15);
    /// Ends a process.
    pub const KILL: Self = Self(9);

    /// Returns its number.
    pub fn number(self) -> i32 {
        self.0
    }
}

/// Names of the signals 1 to 31, in order.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// The real-time signals that programs may use; the C library keeps 32 and 33 for itself.
const REAL_TIME: std::ops::RangeInclusive<i32> = 34..=64;

/// Which system the kernel plays to programs, see personality(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Personality {
    /// That of the machine.
    #[serde(rename = "LINUX")]
    Linux,
    /// One of 32 bits.
    #[serde(rename = "LINUX32")]
    Linux32,
}

impl FromStr for Personality {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.to_ascii_uppercase().as_str() {
            "LINUX" | "PER_LINUX" => Ok(Self::Linux),
            "LINUX32" | "PER_LINUX32" => Ok(Self::Linux32),
            _ => Err(Error::new(Kind::Invalid, format!("unknown personality `{text}`"))
                .hint("use LINUX or LINUX32")),
        }
    }
}

impl FromStr for Signal {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if let Ok(number) = text.parse::<i64>() {
            return match i32::try_from(number) {
                Ok(number @ 1..=64) => Ok(Self(number)),
                _ => Err(Error::new(Kind::Invalid, "valid signals are 1 through 64")),
            };
        }
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        by_name(name)
            .map(Self)
            .ok_or_else(|| Error::new(Kind::Invalid, format!("invalid signal: {text}")))
    }
}

fn by_name(name: &str) -> Option<i32> {
    if let Some(index) = NAMES.iter().position(|other| *other == name) {
        return Some(index as i32 + 1);
    }
    let real_time = |number: i32| REAL_TIME.contains(&number).then_some(number);
    match name {
        "IOT" => Some(6),
        "CLD" => Some(17),
        "POLL" => Some(29),
        "RTMIN" => Some(*REAL_TIME.start()),
        "RTMAX" => Some(*REAL_TIME.end()),
        _ => match (name.strip_prefix("RTMIN+"), name.strip_prefix("RTMAX-")) {
            (Some(up), _) => real_time(REAL_TIME.start().checked_add(offset(up)?)?),
            (_, Some(down)) => real_time(REAL_TIME.end().checked_sub(offset(down)?)?),
            _ => None,
        },
    }
}

fn offset(text: &str) -> Option<i32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

impl fmt::Display for Signal {
    /// Writes the name with `SIG`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let index = usize::try_from(self.0 - 1).ok();
        match index.and_then(|index| NAMES.get(index)) {
            Some(name) => write!(f, "SIG{name}"),
            None if self.0 == *REAL_TIME.start() => f.write_str("SIGRTMIN"),
            None if self.0 == *REAL_TIME.end() => f.write_str("SIGRTMAX"),
            None if REAL_TIME.contains(&self.0) => {
                write!(f, "SIGRTMIN+{}", self.0 - REAL_TIME.start())
            }
            None => write!(f, "{}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_signals() {
        let range = Err("valid signals are 1 through 64");
        for (text, want) in [
            ("9", Ok(9)),
            ("64", Ok(64)),
            ("KILL", Ok(9)),
            ("SIGKILL", Ok(9)),
            ("sigterm", Ok(15)),
            ("Hup", Ok(1)),
            ("SYS", Ok(31)),
            ("RTMIN", Ok(34)),
            ("SIGRTMIN+3", Ok(37)),
            ("RTMAX-30", Ok(34)),
            ("RTMAX-14", Ok(50)),
            ("0", range),
            ("65", range),
            ("-1", range),
            ("99999999999", range),
            ("", Err("invalid signal: ")),
            ("SIG", Err("invalid signal: SIG")),
            ("bogus", Err("invalid signal: bogus")),
            ("RTMIN+31", Err("invalid signal: RTMIN+31")),
            ("RTMAX-31", Err("invalid signal: RTMAX-31")),
            ("RTMIN+-1", Err("invalid signal: RTMIN+-1")),
            ("RTMAX-99999999999", Err("invalid signal: RTMAX-99999999999")),
        ] {
            let got =
                text.parse::<Signal>().map(|signal| signal.0).map_err(|error| error.to_string());
            assert_eq!(got, want.map_err(str::to_owned), "{text}");
        }
    }

    #[test]
    fn shows_what_it_parses() {
        for number in (1..=31).chain(34..=64) {
            let text = Signal(number).to_string();
            assert_eq!(text.parse::<Signal>().unwrap(), Signal(number), "{text}");
        }
    }
}
