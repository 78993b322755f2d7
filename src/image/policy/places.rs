//! Where signatures are: `registries.d` says so for registries and parts of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use reqwest::Url;
use serde::Deserialize;

use super::scope;
use crate::error::{Context, Error, Kind, Result};
use crate::spec::reference::Reference;
use crate::sys::userns;

/// What all files of the directory say together.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub(super) struct Places {
    default_docker: Option<Place>,
    docker: BTreeMap<String, Place>,
}

/// What holds for one scope.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Place {
    // The second names are those of before 2022.
    #[serde(alias = "sigstore")]
    lookaside: Option<String>,
    #[serde(alias = "sigstore-staging")]
    lookaside_staging: Option<String>,
    use_sigstore_attachments: Option<bool>,
}

impl Places {
    /// Reads the user's directory if it is there, else the system's.
    pub(super) fn load() -> Result<Self> {
        let own = home().map(|home| home.join(".config/containers/registries.d"));
        match own.filter(|own| own.is_dir()) {
            Some(own) => Self::read(&own),
            None => Self::read(Path::new("/etc/containers/registries.d")),
        }
    }

    fn read(dir: &Path) -> Result<Self> {
        let context = || format!("cannot list {}", dir.display());
        let entries = match fs::read_dir(dir) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            entries => entries.context(context)?,
        };
        let mut paths = Vec::new();
        for entry in entries {
            paths.push(entry.context(context)?.path());
        }
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
        paths.sort();
        let mut merged = Self::default();
        for path in paths {
            let text =
                fs::read_to_string(&path).context(|| format!("cannot read {}", path.display()))?;
            merged.add(&text).map_err(|error| {
                Error::new(Kind::Invalid, format!("{} is damaged", path.display())).caused_by(error)
            })?;
        }
        Ok(merged)
    }

    /// Adds what a file says; what another has said already makes it bad.
    fn add(&mut self, text: &str) -> Result<()> {
        let one: Option<Self> = serde_saphyr::from_str(text).map_err(|error| {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            Error::new(Kind::Invalid, first)
        })?;
        let one = one.unwrap_or_default();
        let twice = |what: &str| {
            Error::new(Kind::Invalid, format!("another file of the directory has {what}, too"))
        };
        if one.default_docker.is_some() && self.default_docker.is_some() {
            return Err(twice("`default-docker`"));
        }
        self.default_docker = self.default_docker.take().or(one.default_docker);
        for (scope, place) in one.docker {
            if self.docker.contains_key(&scope) {
                return Err(twice(&format!("`{scope}`")));
            }
            self.docker.insert(scope, place);
        }
        Ok(())
    }

    /// Returns what the most exact place for an image says that says anything about it.
    fn find<T>(&self, reference: &Reference, field: impl Fn(&Place) -> Option<T>) -> Option<T> {
        let scopes = scope::of_reference(reference);
        let exact = scopes.iter().filter_map(|scope| self.docker.get(scope));
        exact.chain(&self.default_docker).find_map(field)
    }

    /// Tells whether signatures of cosign's kind are looked for in the registry.
    pub(super) fn has_attachments(&self, reference: &Reference) -> bool {
        self.find(reference, |place| place.use_sigstore_attachments).unwrap_or_default()
    }

    /// Returns the address below which the OpenPGP signatures of a repository are.
    pub(super) fn lookaside(&self, reference: &Reference) -> Result<Url> {
        self.address(reference, |place| place.lookaside.clone())
    }

    /// Returns the address below which new OpenPGP signatures of a repository are put.
    pub(super) fn staging(&self, reference: &Reference) -> Result<Url> {
        self.address(reference, |place| {
            place.lookaside_staging.clone().or_else(|| place.lookaside.clone())
        })
    }

    fn address(
        &self,
        reference: &Reference,
        field: impl Fn(&Place) -> Option<String>,
    ) -> Result<Url> {
        let base = match self.find(reference, |place| field(place).filter(|it| !it.is_empty())) {
            Some(base) => base,
            None => usual_directory()?,
        };
        let bad = || Error::new(Kind::Invalid, format!("bad address of signatures `{base}`"));
        let mut url = Url::parse(&base).map_err(|_| bad())?;
        if !matches!(url.scheme(), "file" | "http" | "https") {
            return Err(bad().hint("it begins with file://, http:// or https://"));
        }
        let path = format!("{}/{}", url.path().trim_end_matches('/'), reference.path());
        url.set_path(&path);
        Ok(url)
    }
}

/// Returns where signatures are of which nothing is said.
fn usual_directory() -> Result<String> {
    // Without root we may be root in a namespace of our own.
    if rustix::process::geteuid().is_root() && userns::is_initial() {
        return Ok("file:///var/lib/containers/sigstore".to_owned());
    }
    let dir = home().map(|home| home.join(".local/share/containers/sigstore"));
    let url = dir.and_then(|dir| Url::from_file_path(dir).ok());
    url.map(Into::into).ok_or_else(|| {
        Error::new(Kind::Invalid, "cannot tell where signatures are: HOME is not set")
    })
}

/// Returns the home directory.
pub(super) fn home() -> Option<PathBuf> {
    std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_most_exact_place() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        write("a.yaml", "default-docker:\n  lookaside: https://all.example/s/\n");
        write(
            "b.yaml",
            "docker:\n  quay.io:\n    sigstore: http://old.example\n    use-sigstore-attachments: true\n  quay.io/team:\n    lookaside-staging: file:///new\n  quay.io/team/app:1:\n    use-sigstore-attachments: false\n",
        );
        write("c.yaml", "# nothing\n");
        write("d.yaml~", "{{{");
        let places = Places::read(dir.path()).unwrap();
        for (name, lookaside, staging, attachments) in [
            ("nginx", "https://all.example/s/library/nginx", "", false),
            ("quay.io/x", "http://old.example/x", "", true),
            ("quay.io/team/b", "http://old.example/team/b", "file:///new/team/b", true),
            ("quay.io/team/app:1", "http://old.example/team/app", "file:///new/team/app", false),
        ] {
            let reference: Reference = name.parse().unwrap();
            let staging = if staging.is_empty() { lookaside } else { staging };
            assert_eq!(places.lookaside(&reference).unwrap().as_str(), lookaside, "{name}");
            assert_eq!(places.staging(&reference).unwrap().as_str(), staging, "{name}");
            assert_eq!(places.has_attachments(&reference), attachments, "{name}");
        }
        write("e.yaml", "docker: {quay.io: {lookaside: x}}");
        assert!(Places::read(dir.path()).unwrap_err().to_string().contains("e.yaml"));
        write("e.yaml", "default-docker: {lookaside: x}");
        assert!(Places::read(dir.path()).is_err());
        write("e.yaml", "docker: [");
        assert!(Places::read(dir.path()).is_err());
        write("e.yaml", "docker: {x.io: {lookaside: ftp://x}}");
        let places = Places::read(dir.path()).unwrap();
        assert!(places.lookaside(&"x.io/a".parse().unwrap()).is_err());
        assert!(Places::read(&dir.path().join("none")).is_ok());
    }
}
