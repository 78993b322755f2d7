//! Where a container's control group is asked to be, and whether it has a say in it.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};

/// Whether a container has a control group, and whose neighbor it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CgroupsMode {
    /// One of its own.
    #[default]
    Enabled,
    /// None: it is in that of who starts it.
    Disabled,
    /// One below that of who starts it, which is a unit of systemd's.
    Split,
}

impl FromStr for CgroupsMode {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            // The monitor has none of its own in any case.
            "" | "enabled" | "no-conmon" => Ok(Self::Enabled),
            "disabled" => Ok(Self::Disabled),
            "split" => Ok(Self::Split),
            _ => Err(Error::new(Kind::Invalid, format!("invalid cgroup mode \"{text}\""))
                .hint("use enabled, disabled, no-conmon or split")),
        }
    }
}

/// The group above that of a container: a path without a slash at its ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GroupParent(String);

impl GroupParent {
    /// Returns the path.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for GroupParent {
    type Err = Error;

    /// Takes a path, or the name of a slice of systemd's: `a-b.slice` is below `a.slice`.
    fn from_str(text: &str) -> Result<Self> {
        let invalid = || {
            Error::new(Kind::Invalid, format!("invalid cgroup parent `{text}`"))
                .hint("write a path as in /limited/few, or a slice as in limited-few.slice")
        };
        let path = text.trim_matches('/');
        let is_good = |part: &str| !matches!(part, "" | "." | "..");
        if !path.split('/').all(is_good) || path.contains('\0') {
            return Err(invalid());
        }
        match path.strip_suffix(".slice").filter(|name| !name.contains('/')) {
            None => Ok(Self(path.to_owned())),
            Some(name) => {
                if name.split('-').any(str::is_empty) {
                    return Err(invalid());
                }
                let ends = name.match_indices('-').map(|(end, _)| end).chain([name.len()]);
                let slices: Vec<String> =
                    ends.map(|end| format!("{}.slice", &name[..end])).collect();
                Ok(Self(slices.join("/")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_parents() {
        for (text, want) in [
            ("/a/b/", Some("a/b")),
            ("a", Some("a")),
            ("a-b-c.slice", Some("a.slice/a-b.slice/a-b-c.slice")),
            ("user.slice", Some("user.slice")),
            ("/x/a-b.slice", Some("x/a-b.slice")),
            ("a--b.slice", None),
            ("/", None),
            ("a/../b", None),
            ("a//b", None),
            ("", None),
        ] {
            let got = text.parse::<GroupParent>().ok();
            assert_eq!(got.as_ref().map(GroupParent::as_str), want, "{text}");
        }
    }
}
