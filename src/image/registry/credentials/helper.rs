//! Programs that keep credentials: `docker-credential-NAME` with `get`, `store`, `erase` and `list`.
//!
//! They read from standard input and answer on standard output, errors too; the status says which.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use super::Credentials;
use crate::error::{Context, Error, Kind, Result};

/// The user name that stands for a secret that is a token.
const TOKEN: &str = "<token>";
/// What programs say, in these words, when they have nothing.
const NOTHING: &str = "credentials not found";

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    #[serde(rename = "ServerURL", default)]
    server: String,
    username: String,
    secret: String,
}

/// A program that keeps credentials.
pub(super) struct Helper<'a>(pub(super) &'a str);

impl Helper<'_> {
    /// Asks for the credentials of a registry; `None` if it has none.
    pub(super) fn get(&self, server: &str) -> Result<Option<Credentials>> {
        let context = || format!("cannot get credentials from {}", self.program());
        let Some(answer) = self.run("get", server.as_bytes()).context(context)? else {
            return Ok(None);
        };
        let entry: Entry = serde_json::from_slice(&answer).context(context)?;
        Ok(Some(match entry.username.as_str() {
            TOKEN => Credentials::Identity(String::new(), entry.secret),
            _ => Credentials::Password(entry.username, entry.secret),
        }))
    }

    /// Tells whether the program is here.
    pub(super) fn is_installed(&self) -> bool {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|dir| dir.join(self.program()).is_file())
    }

    /// Hands credentials over.
    pub(super) fn store(&self, server: &str, credentials: &Credentials) -> Result<()> {
        let context = || format!("cannot store credentials with {}", self.program());
        let (username, secret) = match credentials {
            Credentials::Password(user, password) => (user.as_str(), password),
            Credentials::Identity(_, token) => (TOKEN, token),
        };
        let entry = Entry {
            server: server.to_owned(),
            username: username.to_owned(),
            secret: secret.clone(),
        };
        let input = serde_json::to_vec(&entry).context(context)?;
        self.run("store", &input).context(context).map(drop)
    }

    /// Lets credentials be forgotten; `false` if there were none.
    pub(super) fn erase(&self, server: &str) -> Result<bool> {
        let context = || format!("cannot erase credentials with {}", self.program());
        // Some say yes to everything.
        let known = self.run("get", server.as_bytes()).context(context)?.is_some();
        Ok(self.run("erase", server.as_bytes()).context(context)?.is_some() && known)
    }

    /// Lets all credentials be forgotten.
    pub(super) fn erase_all(&self) -> Result<()> {
        let context = || format!("cannot list the credentials of {}", self.program());
        let Some(answer) = self.run("list", b"").context(context)? else { return Ok(()) };
        let users: BTreeMap<String, String> = serde_json::from_slice(&answer).context(context)?;
        users.keys().try_for_each(|server| self.erase(server).map(drop))
    }

    fn program(&self) -> String {
        format!("docker-credential-{}", self.0)
    }

    /// Runs the program; `None` if it has nothing under that name.
    fn run(&self, verb: &str, input: &[u8]) -> Result<Option<Vec<u8>>> {
        if self.0.is_empty() || self.0.contains('/') {
            let name = self.0;
            return Err(Error::new(Kind::Invalid, format!("bad name of a helper: `{name}`")));
        }
        let program = self.program();
        let context = || format!("cannot run {program}");
        let child = Command::new(&program)
            .arg(verb)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = match child {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::new(Kind::Unsupported, format!("{program} is not installed"))
                    .hint(format!("{}, or take `{}` out of the file", self.origin(), self.0)));
            }
            child => child.context(context)?,
        };
        if let Some(mut stdin) = child.stdin.take() {
            // It may have ended already, and says so by its status.
            drop(stdin.write_all(input));
        }
        let output = child.wait_with_output().context(context)?;
        if output.status.success() {
            return Ok(Some(output.stdout));
        }
        let said = [output.stdout, output.stderr]
            .iter()
            .map(|text| String::from_utf8_lossy(text).trim().replace(char::is_control, " "))
            .find(|text| !text.is_empty());
        match said {
            Some(said) if said.contains(NOTHING) => Ok(None),
            Some(said) => Err(Error::new(Kind::Internal, said)),
            None => Err(Error::new(Kind::Internal, format!("it ended with {}", output.status))),
        }
    }

    /// Says where the program comes from.
    fn origin(&self) -> &'static str {
        match self.0 {
            "pass" | "secretservice" => "install the package golang-docker-credential-helpers",
            "ecr-login" => "install the package amazon-ecr-credential-helper",
            "gcloud" | "gcr" => "install the package google-cloud-cli",
            "desktop" => "it is a part of Docker Desktop; install that",
            _ => "install the package that has it",
        }
    }
}
