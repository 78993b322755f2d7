//! How much a container may use.

use clap::Args;

use super::usage::UsageFlags;
use crate::error::Result;
use crate::spec::container::ContainerSpec;
use crate::spec::defaults::Defaults;
use crate::spec::limits::{Resources, Ulimit};
use crate::spec::size::Size;

/// How much it may use.
#[derive(Args, Debug)]
pub(super) struct LimitsFlags {
    #[command(flatten)]
    usage: UsageFlags,
    /// Switch off the out-of-memory killer
    #[arg(long)]
    oom_kill_disable: bool,
    /// How soon it is killed when memory is short
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(i32).range(-1000..=1000))]
    oom_score_adj: Option<i32>,
    /// Most processes and threads, or -1
    #[arg(long, value_name = "NUMBER")]
    pids_limit: Option<i64>,
    /// Size of /dev/shm
    #[arg(long, value_name = "SIZE")]
    shm_size: Option<Size>,
    /// Set an rlimit
    #[arg(long, value_name = "NAME=SOFT[:HARD]")]
    ulimit: Vec<Ulimit>,
}

impl LimitsFlags {
    /// Adds it to what is asked for.
    pub(super) fn apply(self, usual: &Defaults, spec: &mut ContainerSpec) -> Result<()> {
        let is_said = |limit: &&Ulimit| self.ulimit.iter().any(|own| own.name == limit.name);
        let others = usual.ulimits.all().iter().filter(|limit| !is_said(limit));
        spec.settings.ulimits = others.chain(&self.ulimit).cloned().collect();
        spec.settings.resources = Resources {
            pids: self.pids_limit.or(usual.pids_limit),
            shm_size: self.shm_size.map(|size| size.0).or(usual.shm_size),
            oom_score_adj: self.oom_score_adj.or(usual.oom_score_adj),
            oom_kill_disable: self.oom_kill_disable,
            ..self.usage.resources()?
        };
        Ok(())
    }
}
