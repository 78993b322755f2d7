//! `barge secret create` and `barge secret exists`

use std::io::Read;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use clap::Args;
use serde_json::json;

use crate::cmd::World;
use crate::cmd::answers;
use crate::cmd::exit::Status;
use crate::cmd::host::refuse;
use crate::cmd::tree::Act;
use crate::engine::secrets::NewSecret;
use crate::error::{Context, Error, Kind, Result};
use crate::remote::{Host, Request, escape};
use crate::spec::secret::MOST;

/// Create a secret from a file, or from standard input
///
/// Its ID is printed.
/// With `--env`, the second word names a variable of yours that has the data.
///
/// The driver `file` keeps data in the store, for you alone. `pass` encrypts it by GnuPG; its options
/// are root (a directory, `~/.password-store` if nothing is said), key and gpghomedir. `shell` runs
/// commands of yours, which are its options store, lookup and delete: the secret is on standard input
/// or output, and the variable SECRET_ID says which one it is.
#[derive(Args, Debug)]
pub(crate) struct Create {
    /// Driver: file, pass or shell
    #[arg(short, long, value_name = "DRIVER", default_value = "file")]
    driver: String,
    /// Option of the driver
    #[arg(long, value_name = "KEY=VALUE")]
    driver_opts: Vec<String>,
    /// Take the data from a variable
    #[arg(long)]
    env: bool,
    /// Do not complain if there is one of this name
    #[arg(long)]
    ignore: bool,
    /// Add a label
    #[arg(short, long, value_name = "KEY[=VALUE]")]
    label: Vec<String>,
    /// Replace one of this name
    #[arg(long)]
    replace: bool,
    /// Name
    #[arg(value_name = "NAME")]
    name: String,
    /// File, - for standard input, or a variable's name
    #[arg(value_name = "FILE|-")]
    source: String,
}

impl Act for Create {
    fn act(self, world: &mut World) -> Result<Status> {
        let engine = world.power()?;
        let pairs = |list: &[String]| {
            let pair = |text: &String| {
                let (key, value) = text.split_once('=').unwrap_or((text, ""));
                (key.to_owned(), value.to_owned())
            };
            list.iter().map(pair).collect()
        };
        let data = self.data()?;
        let id = engine.create_secret(NewSecret {
            data,
            labels: pairs(&self.label),
            driver: self.driver,
            options: pairs(&self.driver_opts),
            name: self.name,
            replace: self.replace,
            ignore: self.ignore,
        })?;
        world.out.line(&id)?;
        Ok(Status::SUCCESS)
    }

    fn act_on(self, host: &Host, world: &mut World) -> Result<Status> {
        refuse(&[("--driver-opts", !self.driver_opts.is_empty())])?;
        let data = self.data()?;
        let path = format!("/secrets/{}", escape(&self.name));
        if self.replace {
            match host.act(Request::delete(&path)) {
                Err(error) if error.kind() != Kind::NotFound => return Err(error),
                _ => {}
            }
        } else if self.ignore
            && let Ok(found) = host.document(Request::get(&path))
        {
            world.out.line(answers::text(&found, "ID"))?;
            return Ok(Status::SUCCESS);
        }
        let mut body = json!({
            "Name": self.name,
            "Labels": answers::object(&self.label),
            "Data": BASE64_STANDARD.encode(data),
        });
        if self.driver != "file" {
            body["Driver"] = json!({ "Name": self.driver });
        }
        let made = host.document(Request::post("/secrets/create").json(&body))?;
        world.out.line(answers::text(&made, "ID"))?;
        Ok(Status::SUCCESS)
    }
}

impl Create {
    fn data(&self) -> Result<Vec<u8>> {
        let source = &self.source;
        if self.env {
            use std::os::unix::ffi::OsStringExt;
            let missing = || {
                let text = format!(
                    "cannot create store secret data: environment variable {source} is not set"
                );
                Error::new(Kind::NotFound, text)
            };
            return std::env::var_os(source).map(OsStringExt::into_vec).ok_or_else(missing);
        }
        let mut data = Vec::new();
        // One byte more is told from the most that there may be.
        let most = MOST as u64 + 1;
        let read = match source.as_str() {
            "-" => std::io::stdin().lock().take(most).read_to_end(&mut data),
            path => {
                let file = std::fs::File::open(path);
                file.and_then(|file| file.take(most).read_to_end(&mut data))
            }
        };
        read.context(|| format!("cannot read {source}"))?;
        Ok(data)
    }
}

/// Tell by the exit status whether a secret exists
#[derive(Args, Debug)]
pub(crate) struct Exists {
    /// Secret, by name or ID
    #[arg(value_name = "SECRET")]
    secret: String,
}

impl Act for Exists {
    fn act(self, world: &mut World) -> Result<Status> {
        match world.engine()?.store().secrets().lookup(&self.secret) {
            Ok(_) => Ok(Status::SUCCESS),
            Err(error) if error.kind() == Kind::NotFound => Ok(Status::NO),
            Err(error) => Err(error),
        }
    }

    fn act_on(self, host: &Host, _: &mut World) -> Result<Status> {
        answers::exists(host, format!("/secrets/{}", escape(&self.secret)))
    }
}
