//! Users of steps that are not ours.
//!
//! What a step changes has the owners that the step itself sees, as all layers have. As root, idmapped
//! mounts do that. Without root nobody may make these, so where its IDs stand for others, the step works
//! on copies of files which are given to who their owners stand for, and taken back after that.

use std::path::Path;

use crate::engine::Engine;
use crate::error::{Error, Kind, Result};
use crate::spec::userns::{IdMapping, IdRange, UsernsMode, Users, outside_of};
use crate::store::driver::shift;
use crate::store::ranges::{Lease, Reservation};

/// The IDs of all steps of a build.
#[derive(Debug)]
pub struct StepUsers {
    mapping: IdMapping,
    /// Whether owners are changed on the disk, and not shown otherwise by mounts.
    on_disk: bool,
    /// The range is nobody else's as long as this is there.
    _lease: Option<Lease>,
}

impl Engine {
    /// Decides which IDs steps have; `None` if they have ours.
    pub fn step_users(&self, users: &Users) -> Result<Option<StepUsers>> {
        let refused = match users.mode {
            UsernsMode::Container(_) => "of a container",
            UsernsMode::Ns(_) => "at a path",
            _ => "",
        };
        if !refused.is_empty() {
            return Err(Error::new(
                Kind::Unsupported,
                format!("commands of a build cannot be in the user namespace {refused}"),
            )
            .hint("use --userns=auto, or --userns-uid-map"));
        }
        let decided = self.decide_other_users(users)?;
        let lease = decided.reservation.map(Reservation::lease).transpose()?;
        let Some(mapping) = decided.mapping else { return Ok(None) };
        let on_disk = self.mapping_on_disk(Some(&mapping), &users.mode)?.is_some();
        Ok(Some(StepUsers { mapping, on_disk, _lease: lease }))
    }
}

impl StepUsers {
    /// Returns the mapping, for what is recorded of a step.
    pub fn mapping(&self) -> &IdMapping {
        &self.mapping
    }

    /// Tells whether files must be [given](Self::give) to the step's users.
    pub fn are_on_disk(&self) -> bool {
        self.on_disk
    }

    /// Tells whether bind mounts have to show files with the owners that they stand for.
    pub fn are_shown(&self) -> bool {
        !self.on_disk && !self.mapping.is_same()
    }

    /// Returns the mapping in words, to tell things apart that were given to users of others.
    pub fn words(&self) -> String {
        let list = |ranges: &[IdRange]| -> String {
            ranges.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
        };
        format!("{} {}", list(&self.mapping.uids), list(&self.mapping.gids))
    }

    /// Returns who a user and a group of a step are to us.
    pub fn outside(&self, (uid, gid): (u32, u32)) -> Result<(u32, u32)> {
        match (outside_of(&self.mapping.uids, uid), outside_of(&self.mapping.gids, gid)) {
            (Some(uid), Some(gid)) => Ok((uid, gid)),
            _ => Err(Error::new(
                Kind::Invalid,
                format!("the user namespace of the command has no user {uid} or no group {gid}"),
            )
            .hint("map more IDs, as in --userns=auto:size=65536")),
        }
    }

    /// Gives a tree to who its owners stand for.
    pub fn give(&self, tree: &Path) -> Result<()> {
        shift(tree, &self.mapping)
    }

    /// Takes a tree back.
    pub fn take_back(&self, tree: &Path) -> Result<()> {
        let back = |ranges: &[IdRange]| -> Vec<IdRange> {
            let turned = |&IdRange { inside, outside, count }: &IdRange| IdRange {
                inside: outside,
                outside: inside,
                count,
            };
            ranges.iter().map(turned).collect()
        };
        let (uids, gids) = (back(&self.mapping.uids), back(&self.mapping.gids));
        shift(tree, &IdMapping { uids, gids })
    }
}
