//! Who we are to a registry: what `podman login` or `docker login` left in their files. Read only.

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::error::{Context, Error, Kind, Result};
use crate::spec::reference::{DEFAULT_REGISTRY, Reference};

/// What proves who we are.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Credentials {
    /// User name and password.
    Password(String, String),
    /// A token with which to get tokens.
    Identity(String),
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct AuthFile {
    auths: HashMap<String, Auth>,
    cred_helpers: HashMap<String, String>,
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

/// The answer of a credential helper.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HelperAnswer {
    username: String,
    secret: String,
}

/// Finds the credentials for a repository, if there are any.
///
/// A file that is named explicitly must be there; others may be missing.
pub(crate) fn find(reference: &Reference, explicit: Option<&Path>) -> Result<Option<Credentials>> {
    let variable = std::env::var_os("REGISTRY_AUTH_FILE").map(PathBuf::from);
    if let Some(path) = explicit.map(Path::to_owned).or(variable) {
        let data = std::fs::read(&path).context(|| format!("cannot read {}", path.display()))?;
        return in_file(reference, &path, &data);
    }
    for path in usual_files() {
        // Missing as a rule; what is not ours to read is not for us.
        let Ok(data) = std::fs::read(&path) else { continue };
        if let Some(found) = in_file(reference, &path, &data)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn usual_files() -> Vec<PathBuf> {
    let variable =
        |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let home = variable("HOME");
    let config =
        variable("XDG_CONFIG_HOME").or_else(|| home.as_ref().map(|home| home.join(".config")));
    let docker =
        variable("DOCKER_CONFIG").or_else(|| home.as_ref().map(|home| home.join(".docker")));
    let root =
        rustix::process::geteuid().is_root().then(|| PathBuf::from("/run/containers/0/auth.json"));
    [
        variable("XDG_RUNTIME_DIR").map(|dir| dir.join("containers/auth.json")),
        root,
        config.map(|dir| dir.join("containers/auth.json")),
        docker.map(|dir| dir.join("config.json")),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn in_file(reference: &Reference, path: &Path, data: &[u8]) -> Result<Option<Credentials>> {
    if data.iter().all(u8::is_ascii_whitespace) {
        return Ok(None);
    }
    let file: AuthFile =
        serde_json::from_slice(data).context(|| format!("{} is damaged", path.display()))?;
    let registry = reference.registry();
    let names: &[&str] = match registry {
        DEFAULT_REGISTRY => &[DEFAULT_REGISTRY, "https://index.docker.io/v1/", "index.docker.io"],
        _ => &[registry],
    };
    for name in names {
        if let Some(helper) = file.cred_helpers.get(*name) {
            return ask_helper(helper, name);
        }
    }
    for key in keys(reference) {
        let auth = file.auths.iter().find(|(name, _)| is_key(name, &key)).map(|(_, auth)| auth);
        if let Some(found) = auth.map(|auth| decode(auth, path)).transpose()?.flatten() {
            return Ok(Some(found));
        }
    }
    if let Some(helper) = &file.creds_store {
        for name in names {
            if let Some(found) = ask_helper(helper, name)? {
                return Ok(Some(found));
            }
        }
    }
    Ok(None)
}

/// Returns the names under which credentials may be filed: the repository first, the registry last.
fn keys(reference: &Reference) -> Vec<String> {
    let mut keys = vec![reference.repository()];
    while let Some(slash) = keys[keys.len() - 1].rfind('/') {
        let shorter = keys[keys.len() - 1][..slash].to_owned();
        keys.push(shorter);
    }
    if reference.registry() == DEFAULT_REGISTRY {
        keys.push("index.docker.io".to_owned());
    }
    keys
}

/// Compares a name in a file with a key; Docker writes some names as addresses.
fn is_key(name: &str, key: &str) -> bool {
    let plain = name
        .strip_prefix("https://")
        .or_else(|| name.strip_prefix("http://"))
        .map(|rest| rest.trim_end_matches('/'))
        .map(|rest| rest.strip_suffix("/v1").or_else(|| rest.strip_suffix("/v2")).unwrap_or(rest));
    plain.unwrap_or(name) == key
}

fn decode(auth: &Auth, path: &Path) -> Result<Option<Credentials>> {
    if let Some(token) = auth.identitytoken.as_deref().filter(|token| !token.is_empty()) {
        return Ok(Some(Credentials::Identity(token.to_owned())));
    }
    if let (Some(user), Some(password)) = (&auth.username, &auth.password) {
        return Ok(Some(Credentials::Password(user.clone(), password.clone())));
    }
    let Some(encoded) = auth.auth.as_deref().filter(|encoded| !encoded.is_empty()) else {
        // With a helper, Docker writes empty entries.
        return Ok(None);
    };
    let text = STANDARD.decode(encoded).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    match text.as_deref().and_then(|text| text.split_once(':')) {
        Some((user, password)) => {
            let password = password.trim_end_matches('\0');
            Ok(Some(Credentials::Password(user.to_owned(), password.to_owned())))
        }
        None => Err(Error::new(Kind::Invalid, format!("{} is damaged", path.display()))
            .hint("log in again")),
    }
}

/// Asks a program that keeps credentials; `None` if it has none, or is not here.
fn ask_helper(name: &str, registry: &str) -> Result<Option<Credentials>> {
    if name.is_empty() || name.contains('/') {
        return Ok(None);
    }
    let program = format!("docker-credential-{name}");
    let context = || format!("cannot ask {program} for credentials");
    let child = Command::new(&program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut child = match child {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        child => child.context(context)?,
    };
    if let Some(mut input) = child.stdin.take() {
        // It may have ended already, and says so by its status.
        drop(input.write_all(registry.as_bytes()));
    }
    let output = child.wait_with_output().context(context)?;
    if !output.status.success() {
        return Ok(None);
    }
    let answer: HelperAnswer = serde_json::from_slice(&output.stdout).context(context)?;
    Ok(Some(match answer.username.as_str() {
        "<token>" => Credentials::Identity(answer.secret),
        _ => Credentials::Password(answer.username, answer.secret),
    }))
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
            "token.example":{"identitytoken":"t"},
            "empty.example":{},
            "bad.example":{"auth":"!!"}}}"#;
        let password = |user: &str, password: &str| {
            Some(Some(Credentials::Password(user.to_owned(), password.to_owned())))
        };
        for (name, want) in [
            ("quay.io/team/app", password("user", "pass")),
            ("quay.io/other/app", password("a", "b")),
            ("quay.io/teams/app", password("a", "b")),
            ("nginx", password("hub", "pw")),
            ("old.example/x", password("u", "p")),
            ("token.example/x", Some(Some(Credentials::Identity("t".to_owned())))),
            ("empty.example/x", Some(None)),
            ("none.example/x", Some(None)),
            ("bad.example/x", None),
        ] {
            let got = in_file(&name.parse().unwrap(), Path::new("auth.json"), file).ok();
            assert!(got == want, "{name}");
        }
        assert!(in_file(&"x".parse().unwrap(), Path::new("auth.json"), b"{").is_err());
        assert!(in_file(&"x".parse().unwrap(), Path::new("auth.json"), b"").is_ok());
    }
}
