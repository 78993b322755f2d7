//! `barge login` and its questions

use std::io::{BufRead, Read};
use std::os::fd::AsFd;
use std::path::PathBuf;

use clap::Args;

use super::World;
use super::exit::Status;
use super::output;
use super::tree::Act;
use crate::engine::images::{
    self, CredentialFiles, Login as Outcome, LoginDialog, LoginOptions, RegistryOptions,
};
use crate::error::{Context, Error, Kind, Result};
use crate::sys::terminal::Raw;

/// The longest password that is read.
const MAX_PASSWORD: u64 = 64 << 10;

/// Where credentials are kept.
#[derive(Args, Debug)]
pub(crate) struct FileFlags {
    /// File with credentials, in place of the usual ones
    #[arg(long, value_name = "FILE")]
    authfile: Option<PathBuf>,
    /// The same, in the format of Docker's config.json
    #[arg(long, value_name = "FILE")]
    compat_auth_file: Option<PathBuf>,
}

impl FileFlags {
    /// Says which file is meant.
    pub(crate) fn files(&self) -> CredentialFiles {
        let Self { authfile, compat_auth_file } = self;
        CredentialFiles { authfile: authfile.clone(), compat: compat_auth_file.clone() }
    }
}

/// Log in to a registry
///
/// User and password are tried before they are kept. The registry may be a part of one, as in
/// quay.io/team; without any it is the first in which short names are searched, or docker.io.
#[derive(Args, Debug)]
pub(crate) struct Login {
    /// Directory with certificates for the registry
    #[arg(long, value_name = "DIR")]
    cert_dir: Option<PathBuf>,
    #[command(flatten)]
    files: FileFlags,
    /// Print who is logged in, and do nothing else
    #[arg(long)]
    get_login: bool,
    /// Password; others may see it here
    #[arg(short, long, value_name = "PASSWORD")]
    password: Option<String>,
    /// Read the password from standard input
    #[arg(long)]
    password_stdin: bool,
    /// Insist on HTTPS with a valid certificate
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = super::parse::truth)]
    tls_verify: Option<bool>,
    /// User name
    #[arg(short, long, value_name = "NAME")]
    username: Option<String>,
    /// Say where the credentials are kept
    #[arg(short, long)]
    verbose: bool,
    /// Registry, as in quay.io
    #[arg(value_name = "REGISTRY")]
    registry: Option<String>,
}

impl Act for Login {
    const IS_LOCAL: bool = true;

    fn act(self, world: &mut World) -> Result<Status> {
        let files = self.files.files();
        if self.get_login {
            let user = images::logged_in_as(self.registry.as_deref(), &files)?;
            world.out.line(&user)?;
            return Ok(Status::SUCCESS);
        }
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        let (user, mut password) = (given(self.username), given(self.password));
        if password.is_some() {
            if self.password_stdin {
                return Err(Error::new(
                    Kind::Invalid,
                    "can't specify both --password-stdin and --password",
                ));
            }
            output::note(
                "WARNING! Using --password via the CLI is insecure. Use --password-stdin.",
            );
        }
        if self.password_stdin {
            if user.is_none() {
                return Err(Error::new(
                    Kind::Invalid,
                    "must provide --username with --password-stdin",
                ));
            }
            password = Some(read_password()?);
        }
        let connection = RegistryOptions {
            tls_verify: self.tls_verify,
            cert_dir: self.cert_dir,
            ..RegistryOptions::default()
        };
        let options = LoginOptions { registry: self.registry, user, password, files, connection };
        match images::login(&options, &mut Dialog { world })? {
            Outcome::Already(registry) => world.out.line(&format!(
                "Existing credentials are valid. Already logged in to {registry}"
            ))?,
            Outcome::Kept(place) => {
                if self.verbose {
                    world.out.line(&format!("Used: {place}"))?;
                }
                world.out.line("Login Succeeded!")?;
            }
        }
        Ok(Status::SUCCESS)
    }
}

/// Reads a password from standard input; line ends are not a part of it.
fn read_password() -> Result<String> {
    let mut text = String::new();
    std::io::stdin()
        .take(MAX_PASSWORD)
        .read_to_string(&mut text)
        .context(|| "cannot read the password")?;
    Ok(text.lines().collect())
}

/// Asks on the terminal.
struct Dialog<'a> {
    world: &'a mut World,
}

impl LoginDialog for Dialog<'_> {
    fn trying_known(&mut self, registry: &str) -> Result<()> {
        let text = format!("Authenticating with existing credentials for {registry}");
        self.world.out.line(&text)?;
        self.world.out.flush()
    }

    fn known_are_bad(&mut self) -> Result<()> {
        let text = "Existing credentials are invalid, please enter valid username and password";
        self.world.out.line(text)?;
        self.world.out.flush()
    }

    fn user(&mut self, known: Option<&str>) -> Result<String> {
        output::complain(&match known {
            Some(known) => format!("Username ({known}): "),
            None => "Username: ".to_owned(),
        });
        let mut line = String::new();
        let length =
            std::io::stdin().lock().read_line(&mut line).context(|| "cannot read the username")?;
        if length == 0 {
            output::complain("\n");
            return Err(Error::new(Kind::Invalid, "cannot read the username: the input ended")
                .hint("pass --username and --password-stdin"));
        }
        Ok(line)
    }

    fn password(&mut self) -> Result<String> {
        if !can_ask() {
            return Err(Error::new(
                Kind::Invalid,
                "cannot ask for the password: standard input is not a terminal",
            )
            .hint("pass --username and --password-stdin"));
        }
        ask_secret("Password: ")
    }
}

/// Tells whether there is somebody to ask.
pub(super) fn can_ask() -> bool {
    rustix::termios::isatty(rustix::stdio::stdin())
}

/// Asks for something on the terminal without showing what is typed.
pub(super) fn ask_secret(question: &str) -> Result<String> {
    let stdin = std::io::stdin();
    // Before the question, so that no answer is too early. Keys that would kill us come as bytes, so
    // that the echo is always there again.
    let raw = Raw::new(stdin.as_fd()).context(|| "cannot set up the terminal")?;
    output::complain(question);
    let typed = type_in(|| {
        let mut byte = [0];
        let length = rustix::io::retry_on_intr(|| rustix::io::read(&stdin, &mut byte))
            .context(|| "cannot read what is typed")?;
        Ok((length == 1).then_some(byte[0]))
    });
    drop(raw);
    output::complain("\n");
    typed
}

/// Collects what is typed up to the end of the line.
fn type_in(mut next: impl FnMut() -> Result<Option<u8>>) -> Result<String> {
    const INTERRUPT: u8 = 3;
    const END: u8 = 4;
    const BACKSPACE: u8 = 8;
    const KILL: u8 = 21;
    const DELETE: u8 = 127;
    let mut typed = Vec::new();
    loop {
        match next()? {
            Some(b'\r' | b'\n') => break,
            None | Some(END) if !typed.is_empty() => break,
            None | Some(END | INTERRUPT) => {
                return Err(Error::new(Kind::Invalid, "the question was not answered"));
            }
            Some(BACKSPACE | DELETE) => {
                // A letter may be several bytes.
                while typed.pop().is_some_and(|byte: u8| byte & 0xc0 == 0x80) {}
            }
            Some(KILL) => typed.clear(),
            Some(byte) => typed.push(byte),
        }
    }
    String::from_utf8(typed)
        .map_err(|_| Error::new(Kind::Invalid, "what was typed is not valid UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn understands_what_is_typed() {
        for (keys, want) in [
            ("secret\r", Some("secret")),
            ("secret\n", Some("secret")),
            ("secrex\x7ft\r", Some("secret")),
            ("é\x08e\r", Some("e")),
            ("\x08\x08a\r", Some("a")),
            ("wrong\x15secret\r", Some("secret")),
            ("secret\x04", Some("secret")),
            ("secret", Some("secret")),
            ("\r", Some("")),
            ("sec\x03ret\r", None),
            ("\x04", None),
            ("", None),
        ] {
            let mut bytes = keys.bytes();
            let got = type_in(|| Ok(bytes.next())).ok();
            assert_eq!(got.as_deref(), want, "{keys:?}");
        }
    }
}
