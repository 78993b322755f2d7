//! `barge update`

use clap::Args;

use super::World;
use super::answers;
use super::containers::{Selection, for_each};
use super::exit::Status;
use super::flags::disks::DisksFlags;
use super::flags::health::HealthFlags;
use super::flags::usage::UsageFlags;
use super::host::refuse;
use super::output;
use super::tree::Act;
use crate::api::model::asked;
use crate::engine;
use crate::error::Result;
use crate::remote::{Host, Request, escape};
use crate::spec::health::HealthSpec;
use crate::spec::limits::{Resources, RestartPolicy};

/// Change limits, health checks and restart policies
///
/// Running containers have them at once, and all have them when they are started the next time. What is
/// not given stays as it is.
#[derive(Args, Debug)]
pub(crate) struct Update {
    #[command(flatten)]
    disks: DisksFlags,
    #[command(flatten)]
    health: HealthFlags,
    /// The container that was created last
    #[arg(short, long)]
    latest: bool,
    /// Most processes and threads, or -1
    #[arg(long, value_name = "NUMBER")]
    pids_limit: Option<i64>,
    /// When it is started again: no, always, on-failure[:N]
    #[arg(long, value_name = "POLICY")]
    restart: Option<RestartPolicy>,
    #[command(flatten)]
    usage: UsageFlags,
    /// Containers, by name or ID
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Act for Update {
    fn act(self, world: &mut World) -> Result<Status> {
        let update = engine::Update {
            resources: Resources {
                pids: self.pids_limit,
                io: self.disks.limits(),
                ..self.usage.resources()?
            },
            restart: self.restart,
            health: self.health.spec()?,
        };
        let engine = world.power()?;
        let names = Selection::named(self.containers, self.latest).chosen(&engine, Vec::new())?;
        for_each(world, &names, Status::of_error, |world, name| {
            let (id, warnings) = engine.update(name, &update)?;
            warnings.iter().for_each(|warning| output::warning(warning));
            world.out.line(id.as_str())
        })
    }

    fn act_on(self, host: &Host, world: &mut World) -> Result<Status> {
        refuse(&[("changing a health check", self.health.spec()? != HealthSpec::default())])?;
        let resources =
            Resources { pids: self.pids_limit, io: self.disks.limits(), ..self.usage.resources()? };
        let body = asked::update(&resources, self.restart.as_ref());
        let selection = Selection::named(self.containers, self.latest);
        let names = selection.chosen_on(host, Vec::new())?;
        for_each(world, &names, Status::of_error, |world, name| {
            let path = format!("/containers/{}/update", escape(name));
            let done = host.document(Request::post(path).json(&body))?;
            answers::words(&done, "Warnings").iter().for_each(|text| output::warning(text));
            world.out.line(name)
        })
    }
}
