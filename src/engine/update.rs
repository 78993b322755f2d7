//! `update`: other limits, health checks and restart policies, at once and for all later runs.

use super::{Engine, bundle, create};
use crate::error::{Context, Error, Kind, Result};
use crate::runtime::cgroup::{Cgroup, Hierarchies};
use crate::spec::health::{Health, HealthSpec};
use crate::spec::id::ContainerId;
use crate::spec::limits::{Resources, RestartPolicy};
use crate::store::container::{ChangedHealth, Changes, ContainerConfig};
use crate::store::events::{Action, Event};

/// What is to be changed; `None` leaves things as they are.
#[derive(Clone, Debug, Default)]
pub struct Update {
    /// Limits.
    pub resources: Resources,
    /// Restart policy.
    pub restart: Option<RestartPolicy>,
    /// How health is probed.
    pub health: HealthSpec,
}

impl Engine {
    /// Changes limits and restart policy of a container. Returns its ID, and what could not be applied
    /// to the present run.
    pub fn update(&self, name: &str, update: &Update) -> Result<(ContainerId, Vec<String>)> {
        let id = self.lookup(name)?.config.id;
        let mut locked = self.store.containers().lock(&id)?;
        let settings = &locked.config().settings;
        if settings.remove && update.restart.is_some_and(|policy| policy != RestartPolicy::No) {
            return Err(Error::new(
                Kind::Invalid,
                format!("container {name} is removed when it exits: it cannot be restarted"),
            ));
        }
        let resources = merge(&settings.resources, &update.resources);
        create::limits::check(&resources)?;
        let health = new_health(locked.config(), &update.health)?;
        let run = locked.state().status.monitored().cloned();
        let mut warnings = Vec::new();
        if let Some(run) = run.as_ref().filter(|_| update.resources != Resources::default()) {
            let hierarchies = Hierarchies::detect()?;
            let wanted = bundle::changed_resources(&resources, &update.resources)?;
            warnings = Cgroup::open(&hierarchies, &run.cgroup)
                .and_then(|mut cgroup| cgroup.update(&hierarchies, &run.cgroup, &wanted))
                .context(|| format!("cannot update container {name}"))?;
        }
        let restart = update.restart.unwrap_or(settings.restart);
        locked.change(Changes { resources, restart, health: Some(ChangedHealth { health }) })?;
        self.record_event(Event::of_named(locked.config(), &locked.state().name, Action::Update));
        drop(locked);
        if let Some(run) = run
            && let Some(session) = self.watch(&id, &run)?
        {
            session.send_update();
        }
        Ok((id, warnings))
    }
}

/// Puts a new health check over the old one.
fn new_health(config: &ContainerConfig, asked: &HealthSpec) -> Result<Option<Health>> {
    let old = config.health.clone();
    if *asked == HealthSpec::default() {
        return Ok(old);
    }
    if old.is_none() && asked.test.is_none() && !asked.disabled {
        return Err(Error::new(Kind::Invalid, "the container has no health check to be changed")
            .hint("give it one with --health-cmd"));
    }
    asked.over(old.unwrap_or_default())
}

/// Puts new limits over the old ones.
pub(super) fn merge(old: &Resources, new: &Resources) -> Resources {
    let mut all = Resources {
        memory: new.memory.or(old.memory),
        memory_swap: new.memory_swap.or(old.memory_swap),
        memory_reservation: new.memory_reservation.or(old.memory_reservation),
        nano_cpus: new.nano_cpus.or(old.nano_cpus),
        cpu_shares: new.cpu_shares.or(old.cpu_shares),
        cpu_period: new.cpu_period.or(old.cpu_period),
        cpu_quota: new.cpu_quota.or(old.cpu_quota),
        cpu_rt_period: new.cpu_rt_period.or(old.cpu_rt_period),
        cpu_rt_runtime: new.cpu_rt_runtime.or(old.cpu_rt_runtime),
        cpuset_cpus: new.cpuset_cpus.clone().or_else(|| old.cpuset_cpus.clone()),
        cpuset_mems: new.cpuset_mems.clone().or_else(|| old.cpuset_mems.clone()),
        pids: new.pids.or(old.pids),
        swappiness: new.swappiness.or(old.swappiness),
        io: old.io.changed(&new.io),
        ..old.clone()
    };
    // Two ways to say the same: the later one counts.
    if new.nano_cpus.is_some() {
        (all.cpu_period, all.cpu_quota) = (None, None);
    } else if new.cpu_period.is_some() || new.cpu_quota.is_some() {
        all.nano_cpus = None;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_stays() {
        let old = Resources {
            memory: Some(1 << 30),
            nano_cpus: Some(5),
            pids: Some(7),
            ..Resources::default()
        };
        let new = Resources { cpu_quota: Some(1000), pids: Some(8), ..Resources::default() };
        let merged = merge(&old, &new);
        assert_eq!(
            merged,
            Resources {
                memory: Some(1 << 30),
                cpu_quota: Some(1000),
                pids: Some(8),
                ..Resources::default()
            }
        );
        let back = merge(&merged, &Resources { nano_cpus: Some(9), ..Resources::default() });
        assert_eq!((back.nano_cpus, back.cpu_quota), (Some(9), None));
    }
}
