//! Files with credentials, Podman's `auth.json` and Docker's `config.json`: one format, two habits.
//!
//! A file is changed under a lock beside it and replaced whole; what we do not know in it stays.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::helper::Helper;
use super::key::is_registry;
use super::{Credentials, Key};
use crate::error::{Context, Error, Kind, Result};
use crate::store::file;
use crate::store::lock::Lock;

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Content {
    auths: BTreeMap<String, Auth>,
    cred_helpers: BTreeMap<String, String>,
    creds_store: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Auth {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
}

/// The file that `login` and `logout` change.
pub(crate) struct AuthFile {
    path: PathBuf,
    /// Whether Docker is to understand it: one entry a registry, under Docker's names.
    is_docker: bool,
    /// Whether the user named it: then no other is looked into.
    is_named: bool,
}

impl AuthFile {
    /// Chooses the file, as Podman does. `compat` is one in Docker's format.
    pub(crate) fn choose(authfile: Option<&Path>, compat: Option<&Path>) -> Result<Self> {
        let named = |path: PathBuf, is_docker| Ok(Self { path, is_docker, is_named: true });
        match (authfile, compat) {
            (Some(_), Some(_)) => {
                return Err(Error::new(
                    Kind::Invalid,
                    "options for paths to the credential file and to the Docker-compatible credential file can not be set simultaneously",
                ));
            }
            (Some(path), None) => return named(path.to_owned(), false),
            (None, Some(path)) => return named(path.to_owned(), true),
            (None, None) => {}
        }
        if let Some(path) = super::variable("REGISTRY_AUTH_FILE") {
            return named(path, false);
        }
        // Docker's own file is changed only if somebody says where it is.
        if let Some(dir) = super::variable("DOCKER_CONFIG") {
            return named(dir.join("config.json"), true);
        }
        let durable =
            || super::variable("HOME").map(|home| home.join(".config/containers/auth.json"));
        match super::runtime_file().or_else(durable) {
            Some(path) => Ok(Self { path, is_docker: false, is_named: false }),
            None => Err(Error::new(Kind::Invalid, "cannot tell where credentials are kept")
                .hint("set HOME, or say --authfile")),
        }
    }

    /// Fails if the file was named and is not there.
    pub(crate) fn must_exist(self) -> Result<Self> {
        match fs::metadata(&self.path) {
            Err(error) if self.is_named => Err(error).context(|| {
                let path = self.path.display();
                format!("credential file is not accessible: faccessat {path}")
            }),
            _ => Ok(self),
        }
    }

    /// Finds the credentials that are in effect: from this file if it was named, else from any.
    pub(crate) fn find(&self, key: &Key) -> Result<Option<Credentials>> {
        super::find_with_helpers(key, || match self.is_named {
            false => super::find_in_usual_files(key),
            true => match self.read()? {
                Some(data) => look_up(key, &self.path, &data),
                None => Ok(None),
            },
        })
    }

    /// Returns who keeps credentials in this file's stead, and this file in its place among them.
    fn keepers(&self) -> Result<Vec<String>> {
        match self.is_docker {
            true => Ok(vec![super::FILES.to_owned()]),
            false => super::keepers(),
        }
    }

    /// Keeps credentials in place of those that were there; returns where they are now.
    pub(crate) fn store(&self, key: &Key, credentials: &Credentials) -> Result<String> {
        let mut failure = None;
        for keeper in self.keepers()? {
            let kept = match keeper.as_str() {
                super::FILES => self.store_in_file(key, credentials),
                program if key.is_part() => Err(no_parts(program)),
                program => Helper(program)
                    .store(key.registry(), credentials)
                    .map(|()| format!("credential helper: {program}")),
            };
            match kept {
                Ok(place) => return Ok(place),
                // The next one may do it.
                Err(error) => drop(failure.get_or_insert(error)),
            }
        }
        Err(failure.unwrap_or_else(|| Error::new(Kind::Internal, "nobody keeps credentials")))
    }

    fn store_in_file(&self, key: &Key, credentials: &Credentials) -> Result<String> {
        if self.is_docker && key.is_part() {
            return Err(Error::new(
                Kind::Invalid,
                format!(
                    "credentials cannot be recorded in Docker-compatible format with namespaced key \"{key}\""
                ),
            ));
        }
        self.edit(|document| {
            let name = if self.is_docker { key.for_docker() } else { key.as_str() };
            let mut kept_in = self.path.display().to_string();
            let entry = match helper(document, key) {
                Some((program, _)) if key.is_part() => {
                    return Err(no_parts(&program));
                }
                Some((program, server)) => {
                    Helper(&program).store(&server, credentials)?;
                    kept_in = format!("credential helper: {program}");
                    // So that one sees for what there are credentials.
                    json!({})
                }
                None => entry(credentials),
            };
            if auths(document).is_none() {
                document.insert("auths".to_owned(), json!({}));
            }
            if let Some(auths) = auths(document) {
                auths.retain(|other, _| !key.is_called(other));
                auths.insert(name.to_owned(), entry);
            }
            Ok(kept_in)
        })
    }

    /// Forgets the credentials under a key; `false` if there are none.
    pub(crate) fn remove(&self, key: &Key) -> Result<bool> {
        let mut found = false;
        for keeper in self.keepers()? {
            found |= match keeper.as_str() {
                super::FILES => self.remove_from_file(key)?,
                _ if key.is_part() => false,
                program => Helper(program).erase(key.registry())?,
            };
        }
        Ok(found)
    }

    fn remove_from_file(&self, key: &Key) -> Result<bool> {
        if self.read()?.is_none() {
            return Ok(false);
        }
        self.edit(|document| {
            let helper = helper(document, key).filter(|_| !key.is_part());
            let Some(auths) = auths(document) else {
                return helper
                    .map_or(Ok(false), |(program, server)| Helper(&program).erase(&server));
            };
            let before = auths.len();
            auths.retain(|name, _| !key.is_called(name));
            let found = auths.len() < before;
            match helper {
                Some((program, server)) => Ok(Helper(&program).erase(&server)? || found),
                None => Ok(found),
            }
        })
    }

    /// Forgets all credentials.
    pub(crate) fn remove_all(&self) -> Result<()> {
        self.keepers()?.iter().try_for_each(|keeper| match keeper.as_str() {
            super::FILES => self.empty_file(),
            program => Helper(program).erase_all(),
        })
    }

    fn empty_file(&self) -> Result<()> {
        if self.read()?.is_none() {
            return Ok(());
        }
        self.edit(|document| {
            let Content { auths: entries, cred_helpers, creds_store } = content(document);
            for (server, program) in &cred_helpers {
                Helper(program).erase(server)?;
            }
            if let Some(program) = creds_store.filter(|program| !program.is_empty()) {
                for server in entries.keys() {
                    Helper(&program).erase(server)?;
                }
            }
            if let Some(auths) = auths(document) {
                auths.clear();
            }
            Ok(())
        })
    }

    fn read(&self) -> Result<Option<Vec<u8>>> {
        match fs::read(&self.path) {
            Ok(data) => Ok(Some(data)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).context(|| format!("cannot read {}", self.path.display())),
        }
    }

    /// Changes the file, unless nothing changes.
    fn edit<T>(&self, change: impl FnOnce(&mut Map<String, Value>) -> Result<T>) -> Result<T> {
        let damaged = || format!("{} is damaged", self.path.display());
        // Files of settings are often links to where they are kept.
        let path = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
        file::create_dirs(dir.unwrap_or(Path::new(".")), 0o700)?;
        let _lock = Lock::exclusive(&path.with_added_extension("lock"))?;
        let before = self.read()?.filter(|data| !data.iter().all(u8::is_ascii_whitespace));
        let mut document = match &before {
            Some(data) => serde_json::from_slice(data).context(damaged)?,
            None => Map::new(),
        };
        // What is not as it must be is not overwritten.
        serde_json::from_value::<Content>(Value::Object(document.clone())).context(damaged)?;
        let known = document.clone();
        let result = change(&mut document)?;
        if document != known {
            file::write_secret(&path, &to_text(&document)?)?;
        }
        Ok(result)
    }
}

/// Writes a document as Podman and Docker do.
fn to_text(document: &Map<String, Value>) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    let layout = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    let mut writer = serde_json::Serializer::with_formatter(&mut text, layout);
    serde::Serialize::serialize(document, &mut writer).context(|| "cannot write JSON")?;
    text.push(b'\n');
    Ok(text)
}

/// Returns what we know of a document that was found to be good.
fn content(document: &Map<String, Value>) -> Content {
    serde_json::from_value(Value::Object(document.clone())).unwrap_or_default()
}

/// Returns the entries of a document.
fn auths(document: &mut Map<String, Value>) -> Option<&mut Map<String, Value>> {
    document.get_mut("auths")?.as_object_mut()
}

/// Returns the program that keeps the credentials of a registry, and its name for that.
fn helper(document: &Map<String, Value>, key: &Key) -> Option<(String, String)> {
    let Content { cred_helpers, creds_store, .. } = content(document);
    let mut own = cred_helpers.into_iter().filter(|(name, _)| is_registry(name, key.registry()));
    own.next().map(|(name, program)| (program, name)).or_else(|| {
        let program = creds_store.filter(|program| !program.is_empty())?;
        Some((program, key.for_docker().to_owned()))
    })
}

/// The error for a program that knows whole registries only.
fn no_parts(program: &str) -> Error {
    Error::new(
        Kind::Unsupported,
        format!("namespaced key is not supported for credential helper {program}"),
    )
}

fn entry(credentials: &Credentials) -> Value {
    match credentials {
        Credentials::Password(user, password) => {
            json!({ "auth": STANDARD.encode(format!("{user}:{password}")) })
        }
        // With an empty password, as Docker does: Podman passes over entries without `auth`.
        Credentials::Identity(user, token) => {
            json!({ "auth": STANDARD.encode(format!("{user}:")), "identitytoken": token })
        }
    }
}

/// Finds credentials in the content of a file.
pub(super) fn look_up(key: &Key, path: &Path, data: &[u8]) -> Result<Option<Credentials>> {
    if data.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    let file: Content =
        serde_json::from_slice(data).context(|| format!("{} is damaged", path.display()))?;
    let registry = key.registry();
    let within = |error: Error| error.within(format!("cannot use {}", path.display()));
    let own = file.cred_helpers.iter().find(|(name, _)| is_registry(name, registry));
    if let Some((name, program)) = own {
        return Helper(program).get(name).map_err(within);
    }
    let exact = key.names().find_map(|name| file.auths.get(name));
    let auth = exact.or_else(|| {
        file.auths.iter().find(|(name, _)| is_registry(name, registry)).map(|(_, auth)| auth)
    });
    if let Some(found) = auth.map(|auth| decode(auth, path)).transpose()?.flatten() {
        return Ok(Some(found));
    }
    // Left over from another machine, it must not be in the way of what needs no credentials.
    let store = file.creds_store.filter(|program| Helper(program).is_installed());
    let Some(program) = store else { return Ok(None) };
    let registry: Key = match registry.parse() {
        Ok(registry) => registry,
        Err(_) => return Ok(None),
    };
    Helper(&program).get(registry.for_docker()).map_err(within)
}

fn decode(auth: &Auth, path: &Path) -> Result<Option<Credentials>> {
    let damaged =
        || Error::new(Kind::Invalid, format!("{} is damaged", path.display())).hint("log in again");
    let (user, password) = match auth.auth.as_deref().filter(|encoded| !encoded.is_empty()) {
        Some(encoded) => {
            let text =
                STANDARD.decode(encoded).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            let text = text.ok_or_else(damaged)?;
            let (user, password) = text.split_once(':').ok_or_else(damaged)?;
            (user.to_owned(), password.trim_end_matches('\0').to_owned())
        }
        None => {
            let text = |field: &Option<String>| field.clone().unwrap_or_default();
            (text(&auth.username), text(&auth.password))
        }
    };
    if let Some(token) = auth.identitytoken.as_deref().filter(|token| !token.is_empty()) {
        return Ok(Some(Credentials::Identity(user, token.to_owned())));
    }
    // With a helper, Docker writes empty entries.
    let is_empty = user.is_empty() && password.is_empty();
    Ok((!is_empty).then_some(Credentials::Password(user, password)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_closest_entry() {
        // `dXNlcjpwYXNz` is `user:pass`.
        let file = br#"{"auths":{
            "quay.io":{"auth":"YTpi"},
            "quay.io/team":{"auth":"dXNlcjpwYXNz"},
            "https://index.docker.io/v1/":{"auth":"aHViOnB3"},
            "old.example":{"username":"u","password":"p"},
            "token.example":{"identitytoken":"t","auth":"dTo="},
            "empty.example":{},
            "bad.example":{"auth":"!!"}}}"#;
        let password = |user: &str, password: &str| {
            Some(Some(Credentials::Password(user.to_owned(), password.to_owned())))
        };
        let identity = Credentials::Identity("u".to_owned(), "t".to_owned());
        for (name, want) in [
            ("quay.io/team/app", password("user", "pass")),
            ("quay.io/other/app", password("a", "b")),
            ("quay.io/teams/app", password("a", "b")),
            ("docker.io/library/nginx", password("hub", "pw")),
            ("old.example/x", password("u", "p")),
            ("token.example/x", Some(Some(identity))),
            ("empty.example/x", Some(None)),
            ("none.example/x", Some(None)),
            ("bad.example/x", None),
        ] {
            let got = look_up(&name.parse().unwrap(), Path::new("auth.json"), file).ok();
            assert!(got == want, "{name}");
        }
        let key: Key = "quay.io".parse().unwrap();
        assert!(look_up(&key, Path::new("auth.json"), b"{").is_err());
        assert!(look_up(&key, Path::new("auth.json"), b"").is_ok());
    }

    fn at(path: &Path, is_docker: bool) -> AuthFile {
        AuthFile { path: path.to_owned(), is_docker, is_named: true }
    }

    #[test]
    fn keeps_what_it_does_not_know() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        let text = "{\"z\":[1,{\"b\":null}],\"auths\":{\"https://index.docker.io/v1/\":{\"auth\":\"YTpi\"},\"x.io\":{\"auth\":\"YTpi\",\"email\":\"e\"}},\"a\":1.50}";
        fs::write(&path, text).unwrap();
        let credentials = Credentials::Password("u".to_owned(), "p:q".to_owned());
        at(&path, true).store(&"docker.io".parse().unwrap(), &credentials).unwrap();
        let got = fs::read_to_string(&path).unwrap();
        let before: Vec<&str> = vec!["\"z\"", "\"x.io\"", "\"index", "\"a\""];
        assert!(got.starts_with("{\n\t\"z\": [\n"), "{got}");
        assert!(before.iter().filter(|part| got.contains(**part)).count() >= 3, "{got}");
        let value: Value = serde_json::from_str(&got).unwrap();
        assert_eq!(value["auths"]["x.io"]["email"], "e");
        assert_eq!(value["auths"]["https://index.docker.io/v1/"]["auth"], "dTpwOnE=");
        assert_eq!(value["auths"].as_object().unwrap().len(), 2);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let found = at(&path, true).find(&"docker.io/library/x".parse().unwrap()).unwrap();
        assert!(found == Some(credentials));
        assert!(at(&path, true).remove(&"docker.io".parse().unwrap()).unwrap());
        assert!(!at(&path, true).remove(&"docker.io".parse().unwrap()).unwrap());
        at(&path, true).remove_all().unwrap();
        let value: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(value["auths"], json!({}));
        assert_eq!(value["a"], json!(1.5));
    }

    #[test]
    fn does_not_overwrite_what_is_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("auth.json");
        let credentials = Credentials::Password("u".to_owned(), "p".to_owned());
        for text in ["{", "[]", "{\"auths\":[]}", "{\"auths\":{\"x\":1}}", "{\"credHelpers\":3}"] {
            fs::write(&path, text).unwrap();
            let stored = at(&path, false).store(&"quay.io".parse().unwrap(), &credentials);
            assert!(stored.is_err(), "{text}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn two_logins_at_once_lose_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/auth.json");
        std::thread::scope(|scope| {
            for number in 0..8 {
                let path = &path;
                scope.spawn(move || {
                    let credentials = Credentials::Password(format!("u{number}"), "p".to_owned());
                    let key = format!("r{number}.example").parse().unwrap();
                    at(path, false).store(&key, &credentials).unwrap();
                });
            }
        });
        let value: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(value["auths"].as_object().unwrap().len(), 8);
    }

    #[test]
    fn follows_links_to_where_the_file_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let (kept, link) = (dir.path().join("kept.json"), dir.path().join("config.json"));
        fs::write(&kept, "{}").unwrap();
        std::os::unix::fs::symlink(&kept, &link).unwrap();
        let credentials = Credentials::Password("u".to_owned(), "p".to_owned());
        at(&link, true).store(&"quay.io".parse().unwrap(), &credentials).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert!(fs::read_to_string(&kept).unwrap().contains("quay.io"));
    }
}
