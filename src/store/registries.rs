//! The files that say which registries there are: `registries.conf` and its drop-ins, as Podman's
//! users and packages have them, and the aliases that were chosen at a prompt.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::file;
use super::lock::Lock;
use crate::error::{Context, Result};
use crate::spec::reference::Reference;
use crate::spec::registries::Registries;
use crate::sys::userns;

/// Where the system's files are, those that count less first.
const SYSTEM: [&str; 2] = ["/usr/share/containers", "/etc/containers"];
const FILE: &str = "registries.conf";
const DROP_INS: &str = "registries.conf.d";
const ALIASES: &str = "containers/short-name-aliases.conf";

/// Reads all that this user's registries are told by.
pub fn read() -> Result<Registries> {
    let system = SYSTEM.map(PathBuf::from);
    let user = base("XDG_CONFIG_HOME", ".config").map(|base| base.join("containers"));
    let named = variable("CONTAINERS_REGISTRIES_CONF");
    let mut registries = Registries::default();
    for path in files(&system, user.as_deref(), named)? {
        registries.overlay(parse(&path)?);
    }
    if let Some(path) = variable("CONTAINERS_REGISTRIES_CONF_OVERRIDE") {
        registries.overlay(parse(&path)?);
    }
    if let Some(path) = aliases_file().filter(|path| path.exists()) {
        registries.overlay(parse(&path)?);
    }
    Ok(registries)
}

/// Remembers what the user has chosen for a short name.
pub fn remember(short: &str, chosen: &Reference) -> Result<()> {
    let (Some(path), Some(repository)) = (aliases_file(), Reference::short(short)?) else {
        return Ok(());
    };
    if let Some(dir) = path.parent() {
        file::create_dirs(dir, 0o755)?;
    }
    let _one_at_a_time = Lock::exclusive(&path.with_extension("conf.lock"))?;
    let before = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => "[aliases]\n".to_owned(),
        Err(error) => return Err(error).context(|| format!("cannot read {}", path.display())),
    };
    // Neither has letters that would have to be escaped, and the file has no other table.
    let line = format!("  \"{repository}\" = \"{}\"\n", chosen.repository());
    let after = match before.ends_with('\n') {
        true => before + &line,
        false => before + "\n" + &line,
    };
    file::write_atomic(&path, after.as_bytes())
}

/// Returns the files to read, those that count less first.
///
/// As with Podman, a user's own main file keeps the system's files away, drop-ins included.
fn files(system: &[PathBuf], user: Option<&Path>, named: Option<PathBuf>) -> Result<Vec<PathBuf>> {
    let own = user.map(|dir| dir.join(FILE)).filter(|path| path.exists());
    let of_user = user.map(|dir| dir.join(DROP_INS));
    let mut files = Vec::new();
    if named.is_none()
        && let Some(own) = own
    {
        files.push(own);
    } else {
        match named {
            Some(named) => files.push(named),
            None => files
                .extend(system.iter().rev().map(|dir| dir.join(FILE)).find(|path| path.exists())),
        }
        // A drop-in takes the place of one with the same name that counts less.
        let mut masked = BTreeMap::new();
        for dir in system {
            masked.extend(drop_ins(&dir.join(DROP_INS))?);
        }
        files.extend(masked.into_values());
    }
    if let Some(dir) = of_user {
        files.extend(drop_ins(&dir)?.into_values());
    }
    Ok(files)
}

/// Lists the drop-ins of a directory by their names; a missing one has none.
fn drop_ins(dir: &Path) -> Result<BTreeMap<PathBuf, PathBuf>> {
    let context = || format!("cannot list {}", dir.display());
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(error).context(context),
    };
    let mut found = BTreeMap::new();
    for entry in entries {
        let entry = entry.context(context)?;
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "conf") {
            found.insert(entry.file_name().into(), path);
        }
    }
    Ok(found)
}

fn parse(path: &Path) -> Result<Registries> {
    let text = fs::read_to_string(path).context(|| format!("cannot read {}", path.display()))?;
    Registries::parse(&text, &path.display().to_string())
}

fn variable(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// Returns a base directory of the user.
fn base(name: &str, below_home: &str) -> Option<PathBuf> {
    variable(name).or_else(|| variable("HOME").map(|home| home.join(below_home)))
}

/// Returns the file of the aliases that were chosen at a prompt.
fn aliases_file() -> Option<PathBuf> {
    if rustix::process::geteuid().is_root() && userns::is_initial() {
        return Some(Path::new("/var/cache").join(ALIASES));
    }
    base("XDG_CACHE_HOME", ".cache").map(|base| base.join(ALIASES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_files_in_their_order() {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str| {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        };
        let system = ["share", "etc"].map(|name| dir.path().join(name));
        let user = dir.path().join("user");
        let found = |named: Option<&str>| -> Vec<String> {
            let named = named.map(|name| dir.path().join(name));
            let files = files(&system, Some(&user), named).unwrap();
            let relative = files.iter().map(|path| path.strip_prefix(dir.path()).unwrap());
            relative.map(|path| path.display().to_string()).collect()
        };
        assert!(found(None).is_empty());
        for name in [
            "share/registries.conf",
            "share/registries.conf.d/b.conf",
            "share/registries.conf.d/c.conf",
            "etc/registries.conf.d/b.conf",
            "etc/registries.conf.d/a.conf",
            "etc/registries.conf.d/README",
            "user/registries.conf.d/a.conf",
        ] {
            put(name);
        }
        let drop_ins = [
            "etc/registries.conf.d/a.conf",
            "etc/registries.conf.d/b.conf",
            "share/registries.conf.d/c.conf",
            "user/registries.conf.d/a.conf",
        ];
        let with = |first: &str| -> Vec<String> {
            [first].iter().chain(&drop_ins).map(|&name| name.to_owned()).collect()
        };
        assert_eq!(found(None), with("share/registries.conf"));
        put("etc/registries.conf");
        assert_eq!(found(None), with("etc/registries.conf"));
        put("user/registries.conf");
        assert_eq!(found(None), ["user/registries.conf", "user/registries.conf.d/a.conf"]);
        assert_eq!(found(Some("mine")), with("mine"));
    }
}
