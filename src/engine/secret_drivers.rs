//! Where the data of secrets is that are not in the store: encrypted by GnuPG as `pass` has it, or with
//! whatever commands of the user's own put it.
//!
//! Commands get the secret on standard input and give it on standard output, never as an argument.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::error::{Context, Error, Kind, Result};
use crate::spec::secret::MOST;
use crate::store::file;
use crate::sys::command::die_with_us;

/// The drivers whose data is elsewhere.
#[derive(Debug)]
pub(super) enum Elsewhere<'a> {
    /// Files of GnuPG.
    Pass(Pass),
    /// Commands for a shell, by what they do.
    Shell(&'a BTreeMap<String, String>),
}

/// The settings of the driver `pass`.
#[derive(Debug)]
pub(super) struct Pass {
    root: PathBuf,
    key: Option<String>,
    home: Option<String>,
}

impl<'a> Elsewhere<'a> {
    /// Finds a driver by its name; `None` for the one that keeps data in the store.
    pub(super) fn of(driver: &str, options: &'a BTreeMap<String, String>) -> Result<Option<Self>> {
        let known = |names: &[&str]| match options.keys().find(|key| !names.contains(&&***key)) {
            Some(key) => Err(Error::new(
                Kind::Invalid,
                format!("invalid option `{key}` for secret driver `{driver}`"),
            )
            .hint(format!("known are {}", names.join(", ")))),
            None => Ok(()),
        };
        match driver {
            "" | "file" => Ok(None),
            "shell" => {
                known(&["list", "lookup", "store", "delete"])?;
                match ["lookup", "store", "delete"].iter().find(|it| !options.contains_key(**it)) {
                    Some(lacking) => Err(Error::new(
                        Kind::Invalid,
                        format!("missing option `{lacking}` for secret driver `shell`"),
                    )
                    .hint("each of lookup, store and delete is a command; SECRET_ID says which secret")),
                    None => Ok(Some(Self::Shell(options))),
                }
            }
            "pass" => {
                known(&["root", "key", "gpghomedir"])?;
                let get = |key: &str| options.get(key).cloned();
                let home = || std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
                let root = get("root").map(PathBuf::from);
                Ok(Some(Self::Pass(Pass {
                    root: root.unwrap_or_else(|| home().join(".password-store")),
                    key: get("key"),
                    home: get("gpghomedir"),
                })))
            }
            _ => {
                Err(Error::new(Kind::Unsupported, format!("there is no secret driver `{driver}`"))
                    .hint("use file, pass or shell"))
            }
        }
    }

    /// Puts the data of a secret there.
    pub(super) fn store(&self, id: &str, data: &[u8]) -> Result<()> {
        let context = || "cannot store the secret";
        match self {
            Self::Shell(commands) => {
                run(shell(commands, "store", id), data).context(context).map(drop)
            }
            Self::Pass(pass) => {
                file::create_dirs(&pass.root, 0o700)?;
                let key = pass.key()?;
                let mut command = pass.gpg();
                command.args(["--encrypt", "--trust-model", "always", "--recipient", &key]);
                command.arg("--output").arg(pass.path(id));
                run(command, data).context(context).map(drop)
            }
        }
    }

    /// Gets the data of a secret.
    pub(super) fn lookup(&self, id: &str) -> Result<Vec<u8>> {
        let context = || "cannot get the secret";
        let data = match self {
            Self::Shell(commands) => run(shell(commands, "lookup", id), b"").context(context)?,
            Self::Pass(pass) => {
                let mut command = pass.gpg();
                command.arg("--decrypt").arg(pass.path(id));
                run(command, b"").context(context)?
            }
        };
        if data.is_empty() || data.len() >= MOST {
            return Err(Error::new(
                Kind::Invalid,
                format!("secret data must be larger than 0 and less than {MOST} bytes"),
            ));
        }
        Ok(data)
    }

    /// Removes the data of a secret.
    pub(super) fn delete(&self, id: &str) -> Result<()> {
        match self {
            Self::Shell(commands) => {
                run(shell(commands, "delete", id), b"").context(|| "cannot delete the secret")?;
                Ok(())
            }
            Self::Pass(pass) => file::remove_file(&pass.path(id)),
        }
    }
}

impl Pass {
    fn path(&self, id: &str) -> PathBuf {
        self.root.join(format!("{id}.gpg"))
    }

    /// Returns whom secrets are encrypted for.
    fn key(&self) -> Result<String> {
        if let Some(key) = &self.key {
            return Ok(key.clone());
        }
        let path = self.root.join(".gpg-id");
        let text = fs::read_to_string(&path).context(|| format!("cannot read {}", path.display()));
        let text = text.map_err(|error| {
            error.hint("make it by `pass init KEY`, or name a key by --driver-opts key=…")
        })?;
        Ok(text.lines().next().unwrap_or_default().trim().to_owned())
    }

    fn gpg(&self) -> Command {
        let mut command = Command::new("gpg");
        command.args(["--batch", "--quiet", "--yes"]);
        if let Some(home) = &self.home {
            command.arg("--homedir").arg(home);
        }
        command
    }
}

fn shell(commands: &BTreeMap<String, String>, verb: &str, id: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(commands.get(verb).map_or("", String::as_str)).env("SECRET_ID", id);
    command
}

/// Runs a program; returns what it says.
fn run(mut command: Command, input: &[u8]) -> Result<Vec<u8>> {
    let name = command.get_program().to_string_lossy().into_owned();
    let context = || format!("cannot run {name}");
    // Who gets something has nothing to say but errors, and would wait for us if it said it all the same.
    let output = if input.is_empty() { Stdio::piped() } else { Stdio::null() };
    command.stdin(Stdio::piped()).stdout(output).stderr(Stdio::piped());
    let mut child = match die_with_us(&mut command).spawn() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(Error::new(Kind::Unsupported, format!("{name} is not installed"))
                .hint("it is in the package gpg"));
        }
        other => other.context(context)?,
    };
    if let Some(mut stdin) = child.stdin.take() {
        // It may have ended already, and says so by its status.
        drop(stdin.write_all(input));
    }
    let output = child.wait_with_output().context(context)?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().replace(char::is_control, " ");
    let error = Error::new(Kind::Internal, format!("{name} failed ({})", output.status));
    Err(if said.is_empty() { error } else { error.caused_by(said) })
}
