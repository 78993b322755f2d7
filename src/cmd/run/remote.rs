//! `run` and `create` on other hosts.

use super::{Create, Run, Stream, not_started};
use crate::api::model::asked;
use crate::cmd::World;
use crate::cmd::answers;
use crate::cmd::connect::{Wanted, check_terminal};
use crate::cmd::exit::Status;
use crate::cmd::flags::{ContainerFlags, together};
use crate::cmd::host::refuse;
use crate::cmd::output;
use crate::cmd::pull::pull_on;
use crate::cmd::talk::{Partner, not_run};
use crate::engine::IdFile;
use crate::engine::images::PullPolicy;
use crate::error::{Error, Kind, Result};
use crate::remote::{Host, Request, escape};
use crate::spec::container::ContainerSpec;
use crate::spec::defaults::Defaults;

impl Create {
    /// Does it on another host.
    pub(super) fn create_on(self, host: &Host, world: &mut World) -> Result<Status> {
        refuse(&[("--dry-run", self.dry_run.dry_run)])?;
        let (id, _) = create(host, self.container)?;
        world.out.line(&id)?;
        Ok(Status::SUCCESS)
    }
}

impl Run {
    /// Does it on another host.
    pub(super) fn run_on(self, host: &Host, world: &mut World) -> Result<Status> {
        if self.detach && !self.attach.is_empty() {
            return Err(together("attach", "detach"));
        }
        let rmi = self.container.identity.rmi;
        if rmi && self.detach {
            return Err(together("rmi", "detach"));
        }
        refuse(&[
            ("--dry-run", self.dry_run.dry_run),
            ("--preserve-fds", self.preserve.is_asked()),
        ])?;
        let (tty, interactive) = (self.container.process.tty, self.container.process.interactive);
        check_terminal(tty && !self.detach, interactive);
        let (id, spec) = create(host, self.container)?;
        let asked = |stream| self.attach.is_empty() || self.attach.contains(&stream);
        let wanted = Wanted {
            stdin: interactive && asked(Stream::Stdin),
            stdout: asked(Stream::Stdout),
            stderr: asked(Stream::Stderr),
        };
        let start = || {
            let started = host.act(Request::post(format!("/containers/{}/start", escape(&id))));
            started.map_err(|error| forget(host, &id, &spec, not_started(not_run(error))))
        };
        // Output goes nowhere with `--attach stdin`; then the ID is what there is to print.
        if self.detach {
            start()?;
            world.out.line(&id)?;
            return Ok(Status::SUCCESS);
        }
        if !(wanted.stdout || wanted.stderr) {
            world.out.line(&id)?;
            world.out.flush()?;
        }
        let until = if spec.settings.remove { "removed" } else { "next-exit" };
        let partner = Partner { host, id: &id, tty, wanted, until };
        let ended = partner.converse(world, self.connect, start)?.unwrap_or(Status::SUCCESS);
        if rmi {
            let image = Request::delete(format!("/images/{}", escape(&spec.image)));
            // As here, others may use it.
            if let Err(error) = host.act(image) {
                output::warning(&error.to_string());
            }
        }
        Ok(ended)
    }
}

/// Makes a container, and has its image pulled first if it is not there.
fn create(host: &Host, flags: ContainerFlags) -> Result<(String, ContainerSpec)> {
    let pull = flags.pull.clone();
    // What is usual here is not what is usual there; and proxies of this machine are none of that.
    let usual = Defaults { http_proxy: Some(false), ..Defaults::default() };
    let spec = flags.request(&usual)?;
    let body = asked::container(&spec)?;
    let id_file = spec.settings.cidfile.as_deref().map(IdFile::create).transpose()?;
    let policy = pull.policy();
    if policy == PullPolicy::Always || policy == PullPolicy::Newer {
        pull_on(host, &spec.image, &pull.registry)?;
    }
    if let (true, Some(name)) = (spec.replace, &spec.name) {
        let gone = Request::delete(format!("/containers/{}", escape(name))).with("force", 1);
        match host.act(gone) {
            Err(error) if error.kind() != Kind::NotFound => return Err(error),
            _ => {}
        }
    }
    let request = || {
        Request::post("/containers/create")
            .maybe("name", spec.name.as_ref())
            .maybe("platform", spec.platform.as_ref())
            .json(&body)
    };
    let made = match host.document(request()) {
        Err(error) if error.kind() == Kind::NotFound && policy == PullPolicy::Missing => {
            // What else is not there is told by the second try.
            pull_on(host, &spec.image, &pull.registry)?;
            host.document(request())?
        }
        made => made?,
    };
    for warning in answers::words(&made, "Warnings") {
        output::warning(warning);
    }
    let id = answers::text(&made, "Id").to_owned();
    if let Some(file) = id_file {
        let written = id.parse().and_then(|id| file.write(&id));
        written.map_err(|error| forget_made(host, &id, error))?;
    }
    Ok((id, spec))
}

/// Removes a container that could not be started, if it was to be removed anyway.
fn forget(host: &Host, id: &str, spec: &ContainerSpec, error: Error) -> Error {
    if spec.settings.remove { forget_made(host, id, error) } else { error }
}

/// Removes a container that nobody will hear of.
fn forget_made(host: &Host, id: &str, error: Error) -> Error {
    // It may be gone already. The failure to report is the first one.
    let gone = Request::delete(format!("/containers/{}", escape(id))).with("force", 1);
    drop(host.act(gone.with("v", 1)));
    error
}
