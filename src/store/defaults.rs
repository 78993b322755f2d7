//! The files that say what new containers are like: `containers.conf` and its drop-ins.

use std::env;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::error::{Context, Error, Kind, Result};
use crate::spec::defaults::Defaults;

const VENDOR: &str = "/usr/share/containers/containers.conf";
const SYSTEM: &str = "/etc/containers/containers.conf";

/// The directory beside a `containers.conf` where modules are: files of which a user names some.
const MODULES: &str = "containers.conf.modules";

/// Reads all that this user's new containers are told by, with these modules.
pub fn read(modules: &[PathBuf]) -> Result<Defaults> {
    let mut defaults = Defaults::default();
    match variable("CONTAINERS_CONF") {
        Some(named) => defaults.overlay(parse(&named)?),
        None => {
            if let Some(vendor) = optional(Path::new(VENDOR))? {
                defaults.overlay(vendor.of_vendor());
            }
            for path in std::iter::once(PathBuf::from(SYSTEM)).chain(of_user()) {
                for file in with_drop_ins(path)? {
                    if let Some(found) = optional(&file)? {
                        defaults.overlay(found);
                    }
                }
            }
        }
    }
    for module in modules {
        let places = of_user().into_iter().chain([SYSTEM, VENDOR].map(PathBuf::from));
        defaults.overlay(parse(&find_module(module, places)?)?);
    }
    if let Some(path) = variable("CONTAINERS_CONF_OVERRIDE") {
        defaults.overlay(parse(&path)?);
    }
    Ok(defaults)
}

/// Returns the user's own file, whether it is there or not.
fn of_user() -> Option<PathBuf> {
    let base =
        variable("XDG_CONFIG_HOME").or_else(|| variable("HOME").map(|home| home.join(".config")));
    base.map(|base| base.join("containers/containers.conf"))
}

/// Finds a module: at its path, or in the first directory that has it.
fn find_module(name: &Path, places: impl Iterator<Item = PathBuf>) -> Result<PathBuf> {
    let dirs: Vec<PathBuf> = places.map(|file| file.with_file_name(MODULES)).collect();
    let found = match name.is_absolute() {
        true => Some(name.to_owned()).filter(|path| path.exists()),
        false => dirs.iter().map(|dir| dir.join(name)).find(|path| path.exists()),
    };
    found.ok_or_else(|| {
        let text = format!("could not resolve module \"{}\": no such file", name.display());
        let dirs: Vec<String> = dirs.iter().map(|dir| dir.display().to_string()).collect();
        Error::new(Kind::NotFound, text)
            .hint(format!("give its path, or put it into {}", dirs.join(" or ")))
    })
}

/// Returns a file, and those of the directory beside it by the order of their names.
fn with_drop_ins(file: PathBuf) -> Result<Vec<PathBuf>> {
    let dir = file.with_extension("conf.d");
    let context = || format!("cannot list {}", dir.display());
    let mut drop_ins = Vec::new();
    match fs::read_dir(&dir) {
        Err(error) if is_absent(&error) => {}
        Err(error) => return Err(error).context(context),
        Ok(entries) => {
            for entry in entries {
                let path = entry.context(context)?.path();
                if path.extension().is_some_and(|it| it == "conf") && !path.is_dir() {
                    drop_ins.push(path);
                }
            }
        }
    }
    drop_ins.sort();
    Ok(std::iter::once(file).chain(drop_ins).collect())
}

fn optional(path: &Path) -> Result<Option<Defaults>> {
    match fs::read_to_string(path) {
        Ok(text) => Defaults::parse(&text, &path.display().to_string()).map(Some),
        Err(error) if is_absent(&error) => Ok(None),
        Err(error) => Err(error).context(|| format!("cannot read {}", path.display())),
    }
}

/// One that the user has named must be there.
fn parse(path: &Path) -> Result<Defaults> {
    let text = fs::read_to_string(path).context(|| format!("cannot read {}", path.display()))?;
    Defaults::parse(&text, &path.display().to_string())
}

/// A home directory may be none at all, as /dev/null.
fn is_absent(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

fn variable(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drop_ins_follow_their_file_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("containers.conf");
        let names = |files: Vec<PathBuf>| -> Vec<String> {
            let names = files.iter().map(|file| file.file_name().unwrap().to_string_lossy());
            names.map(std::borrow::Cow::into_owned).collect()
        };
        assert_eq!(names(with_drop_ins(file.clone()).unwrap()), ["containers.conf"]);
        let drop_ins = dir.path().join("containers.conf.d");
        fs::create_dir_all(drop_ins.join("dir.conf")).unwrap();
        for name in ["20.conf", "10.conf", "README", "30.conf~"] {
            fs::write(drop_ins.join(name), "").unwrap();
        }
        assert_eq!(names(with_drop_ins(file).unwrap()), ["containers.conf", "10.conf", "20.conf"]);
    }
}
