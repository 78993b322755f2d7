//! `barge secret rm`

use clap::Args;

use crate::cmd::World;
use crate::cmd::answers;
use crate::cmd::containers::{for_each, for_each_on};
use crate::cmd::exit::Status;
use crate::cmd::tree::Act;
use crate::error::{Error, Kind, Result};
use crate::remote::{Host, Request};

/// Remove secrets
///
/// Containers that have one keep it. The ID of each is printed.
#[derive(Args, Debug)]
pub(crate) struct Rm {
    /// Remove all secrets
    #[arg(short, long)]
    all: bool,
    /// Do not complain about secrets that are not there
    #[arg(short, long)]
    ignore: bool,
    /// Secrets, by name or ID
    #[arg(value_name = "SECRET")]
    secrets: Vec<String>,
}

impl Act for Rm {
    fn act(self, world: &mut World) -> Result<Status> {
        if self.all != self.secrets.is_empty() {
            return Err(Error::new(Kind::Invalid, "name secrets, or pass --all, and not both"));
        }
        let engine = world.power()?;
        let mut names = self.secrets;
        if self.all {
            names.extend(engine.store().secrets().list()?.into_iter().map(|secret| secret.name));
        }
        for_each(world, &names, Status::of_error, |world, name| match engine.remove_secret(name) {
            Err(error) if self.ignore && error.kind() == Kind::NotFound => Ok(()),
            removed => world.out.line(&removed?),
        })
    }

    fn act_on(self, host: &Host, world: &mut World) -> Result<Status> {
        if self.all != self.secrets.is_empty() {
            return Err(Error::new(Kind::Invalid, "name secrets, or pass --all, and not both"));
        }
        let mut names = self.secrets;
        if self.all {
            let all = answers::entries(host.document(Request::get("/secrets"))?);
            names.extend(all.iter().map(|it| answers::text(it, "ID").to_owned()));
        }
        for_each_on(host, world, &names, self.ignore, |name| {
            Request::delete(format!("/secrets/{name}"))
        })
    }
}
