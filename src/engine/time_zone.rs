//! Time zones of containers: files of this machine's own data base.

use std::path::{Component, Path, PathBuf};
use std::{env, fs};

use crate::error::{Context, Error, Kind, Result};

/// Reads the data of a time zone, as in `Europe/Rome`; `local` is this machine's own.
pub(super) fn read(name: &str) -> Result<Vec<u8>> {
    let path = path(name)?;
    let data = fs::read(&path).map_err(|error| {
        let known = Error::new(Kind::Invalid, format!("finding timezone {name}"));
        known
            .caused_by(error)
            .hint("see the names in /usr/share/zoneinfo (package tzdata), or use local")
    })?;
    match data.starts_with(b"TZif") {
        true => Ok(data),
        false => Err(Error::new(Kind::Invalid, format!("finding timezone {name}"))
            .hint(format!("{} is no time zone", path.display()))),
    }
}

fn path(name: &str) -> Result<PathBuf> {
    if name == "local" {
        return Ok("/etc/localtime".into());
    }
    let inside = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    if !inside || name.is_empty() {
        return Err(Error::new(Kind::Invalid, format!("finding timezone {name}"))
            .hint("write a name as in Europe/Rome"));
    }
    let base = env::var_os("TZDIR").unwrap_or_else(|| "/usr/share/zoneinfo".into());
    std::path::absolute(Path::new(&base).join(name))
        .context(|| format!("cannot find time zone {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_in_the_data_base() {
        for (name, good) in [
            ("Europe/Rome", true),
            ("local", true),
            ("", false),
            ("../etc/shadow", false),
            ("/etc/localtime", false),
            ("a/../../b", false),
        ] {
            assert_eq!(path(name).is_ok(), good, "{name}");
        }
    }
}
