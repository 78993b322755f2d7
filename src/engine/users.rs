//! Users of a container that are not ours: which IDs they stand for, and the namespace with them.
//!
//! What is decided at create is a mapping from the container's IDs to ours: those of the machine as
//! root, else those of the user's own namespace. The namespace itself is made at each start.
//!
//! The owners of the image's files are in the container's IDs, too. As root they are shown by idmapped
//! mounts, and nothing on the disk changes. Without root the kernel lets nobody do that on ordinary
//! file systems: then the container gets a copy of its image with the owners changed, unless the
//! mapping changes nothing.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use super::{Engine, host};
use crate::error::{Context, Error, Kind, Result};
use crate::runtime::Owners;
use crate::spec::userns::{self, IdMapping, IdRange, MapRequest, UsernsMode, Users};
use crate::store::container::ContainerConfig;
use crate::store::ranges::Reservation;
use crate::sys::userns::make;

/// How many IDs a container with IDs of its own has, unless the user says otherwise.
const AUTO_SIZE: u32 = 65536;
/// The same without root, where there are not many more than that in all.
const AUTO_SIZE_ROOTLESS: u32 = 4096;

/// Where root's automatic ranges are, if no user `containers` has any: behind all that
/// administrators usually hand out, before the sign bit.
const AUTO_POOL: IdRange = IdRange { inside: 0, outside: 0x4000_0000, count: 0x3000_0000 };

/// What was decided about a container's users.
#[derive(Debug, Default)]
pub(super) struct Decided {
    /// Its IDs; `None` for a user namespace that is there already.
    pub(super) mapping: Option<IdMapping>,
    /// Its user, if nobody says otherwise.
    pub(super) user: Option<String>,
    /// The range that nobody else is to get, until it is on record.
    pub(super) reservation: Option<Reservation>,
}

/// The user namespace of a container that is about to start.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) namespace: OwnedFd,
    pub(super) owners: Owners,
    pub(super) first: (u32, u32),
    /// What `first` is to us.
    pub(super) first_outside: (u32, u32),
}

impl Engine {
    /// Decides which IDs a container has.
    pub(super) fn decide_users(&self, users: &Users) -> Result<Decided> {
        let invalid = |text: &str| Error::new(Kind::Invalid, text);
        let has_maps = !users.uids.is_empty() || !users.gids.is_empty();
        let has_names = users.subuid_name.is_some() || users.subgid_name.is_some();
        if (has_maps || has_names) && !matches!(users.mode, UsernsMode::Host | UsernsMode::Private)
        {
            return Err(invalid(
                "--userns and --uidmap, --gidmap, --subuidname or --subgidname cannot be set together",
            ));
        }
        if has_maps && has_names {
            return Err(invalid(
                "--uidmap or --gidmap and --subuidname or --subgidname cannot be set together",
            ));
        }
        if has_maps {
            return self.requested(users).map(of_mapping);
        }
        if has_names {
            return self.of_names(users).map(of_mapping);
        }
        if matches!(users.mode, UsernsMode::Host | UsernsMode::Container(_)) {
            return Ok(Decided::default());
        }
        let all = available()?;
        let rootless = self.host.rootless;
        match &users.mode {
            UsernsMode::Host | UsernsMode::Container(_) => Ok(Decided::default()),
            UsernsMode::Ns(_) => Err(Error::new(
                Kind::Unsupported,
                "user namespaces at paths are not supported: nobody can tell which IDs are in them",
            )
            .hint("use --userns container:NAME, or --uidmap")),
            UsernsMode::Private if rootless => {
                Ok(of_mapping(same(IdRange { inside: 0, outside: 0, count: all })))
            }
            UsernsMode::Private => Err(invalid(
                "must provide at least one UID or GID mapping to configure a user namespace",
            )
            .hint("use --uidmap, or --userns=auto")),
            UsernsMode::KeepId { uid, gid, size } => {
                let ids = (uid.unwrap_or(self.host.uid), gid.unwrap_or(self.host.gid));
                let uids = keep(ids.0, all, *size);
                let mapping = IdMapping { uids, gids: keep(ids.1, all, *size) };
                let user = Some(format!("{}:{}", ids.0, ids.1));
                Ok(Decided { user, ..of_mapping(mapping) })
            }
            UsernsMode::Nomap if !rootless => {
                Err(Error::new(Kind::Unsupported, "nomap is only supported in rootless mode"))
            }
            UsernsMode::Nomap if all < 2 => Err(no_ids()),
            UsernsMode::Nomap => {
                Ok(of_mapping(same(IdRange { inside: 0, outside: 1, count: all - 1 })))
            }
            UsernsMode::Auto { size, uids, gids } => self.automatic(*size, uids, gids, all),
        }
    }

    fn automatic(
        &self,
        size: Option<u32>,
        uids: &[IdRange],
        gids: &[IdRange],
        all: u32,
    ) -> Result<Decided> {
        let rootless = self.host.rootless;
        let pool = match rootless {
            // ID 0 is the user's own.
            true if all < 2 => return Err(no_ids()),
            true => vec![(1, all - 1)],
            false => {
                let own = host::named_ranges("/etc/subuid", "containers")?;
                let usual = (AUTO_POOL.outside, AUTO_POOL.count);
                if own.is_empty() { vec![usual] } else { own }
            }
        };
        let count = size.unwrap_or(if rootless { AUTO_SIZE_ROOTLESS } else { AUTO_SIZE });
        let reservation = self.store.reserve_ids(&pool, count)?.ok_or_else(|| {
            Error::new(
                Kind::Unavailable,
                format!("there are no {count} IDs left for --userns=auto"),
            )
            .hint("ask for fewer, as in auto:size=1024, or remove containers that have some")
        })?;
        let mut mapping = same(IdRange { inside: 0, outside: reservation.start(), count });
        for (ranges, more) in [(&mut mapping.uids, uids), (&mut mapping.gids, gids)] {
            more.iter().for_each(|range| userns::insert(ranges, *range));
            userns::check(ranges)?;
        }
        Ok(Decided { reservation: Some(reservation), ..of_mapping(mapping) })
    }

    /// The mapping of `--uidmap` and `--gidmap`; one goes for both.
    fn requested(&self, users: &Users) -> Result<IdMapping> {
        let of_kind = |user: bool| -> Vec<MapRequest> {
            let (own, other) =
                if user { (&users.uids, &users.gids) } else { (&users.gids, &users.uids) };
            let list = if own.is_empty() { other } else { own };
            let wanted = |it: &&MapRequest| if user { it.kinds.0 } else { it.kinds.1 };
            list.iter().filter(wanted).copied().collect()
        };
        let all = available()?;
        let mapping = |user: bool| -> Result<Vec<IdRange>> {
            let requests = of_kind(user);
            let mut ranges = Vec::new();
            let fills = requests.is_empty() || requests.iter().any(|it| it.adds);
            for request in requests {
                let mut range = request.range;
                if request.of_host {
                    range.outside = own_id(range.outside, range.count, user)?;
                }
                if u64::from(range.outside) + u64::from(range.count) > u64::from(all) {
                    return Err(Error::new(
                        Kind::Invalid,
                        format!("the ID mapping {range} asks for IDs that are not there: there are {all}"),
                    )
                    .hint("without root, OUTSIDE is a number in your own namespace: 0 is you, 1 is your first subordinate ID"));
                }
                ranges.push(range);
            }
            userns::check(&ranges)?;
            if fills {
                userns::fill(&mut ranges, all);
            }
            Ok(ranges)
        };
        Ok(IdMapping { uids: mapping(true)?, gids: mapping(false)? })
    }

    /// The mapping of `--subuidname` and `--subgidname`; one goes for both.
    fn of_names(&self, users: &Users) -> Result<IdMapping> {
        let either = |own: &Option<String>, other: &Option<String>| {
            own.clone().or_else(|| other.clone()).unwrap_or_default()
        };
        let ranges = |path: &str, name: String, user: bool| -> Result<Vec<IdRange>> {
            let mut inside = 0;
            let mut ranges = Vec::new();
            for (outside, count) in host::named_ranges(path, &name)? {
                let outside =
                    if self.host.rootless { own_id(outside, count, user)? } else { outside };
                ranges.push(IdRange { inside, outside, count });
                inside += count;
            }
            if ranges.is_empty() {
                return Err(Error::new(
                    Kind::NotFound,
                    format!("cannot find mappings for `{name}` in {path}"),
                ));
            }
            Ok(ranges)
        };
        let (uid, gid) = (&users.subuid_name, &users.subgid_name);
        Ok(IdMapping {
            uids: ranges("/etc/subuid", either(uid, gid), true)?,
            gids: ranges("/etc/subgid", either(gid, uid), false)?,
        })
    }

    /// Decides which IDs what is no container has, as a build's commands: a namespace of one's own without
    /// any that are named has all.
    pub(super) fn decide_other_users(&self, users: &Users) -> Result<Decided> {
        let has_none = users.uids.is_empty()
            && users.gids.is_empty()
            && users.subuid_name.is_none()
            && users.subgid_name.is_none();
        match users.mode {
            UsernsMode::Private if has_none => {
                Ok(of_mapping(same(IdRange { inside: 0, outside: 0, count: available()? })))
            }
            _ => self.decide_users(users),
        }
    }

    /// Makes, or gets hold of, the user namespace of a container that is about to start.
    pub(super) fn user_namespace(&self, config: &ContainerConfig) -> Result<Option<Prepared>> {
        let (mapping, namespace) = match (&config.settings.users.mode, &config.id_mapping) {
            (UsernsMode::Container(id), _) => {
                let donor = self.donor(&id.parse()?)?;
                let Some(mapping) = self.mapping_of(&donor.config)? else { return Ok(None) };
                // Held, the number of the process stays its own.
                let process = self.process_of(&donor)?;
                let pid = donor.state.run().map_or(0, |run| run.pid);
                let path = format!("/proc/{pid}/ns/user");
                let file = fs::File::open(&path).context(|| format!("cannot open {path}"))?;
                drop(process);
                (mapping, OwnedFd::from(file))
            }
            (_, None) => return Ok(None),
            (_, Some(mapping)) => {
                let namespace = namespace_of(mapping).map_err(|error| {
                    Error::new(
                        Kind::Unavailable,
                        "cannot make a user namespace with the IDs asked for",
                    )
                    .hint("see the sysctl user.max_user_namespaces, and that all IDs are yours")
                    .caused_by(error)
                })?;
                (mapping.clone(), namespace)
            }
        };
        let (uid, gid) = (first(&mapping.uids), first(&mapping.gids));
        let owners = match self.shows_owners(&mapping) {
            false => Owners::Kept,
            true => Owners::Mapped(uid.1, gid.1),
        };
        Ok(Some(Prepared {
            namespace,
            owners,
            first: (uid.0, gid.0),
            first_outside: (uid.1, gid.1),
        }))
    }

    /// Tells whether files are shown with the owners that a container's IDs stand for.
    pub(super) fn shows_owners(&self, mapping: &IdMapping) -> bool {
        !self.host.rootless && !mapping.is_same()
    }

    /// Returns the IDs of a container; `None` if they are ours.
    pub(super) fn mapping_of(&self, config: &ContainerConfig) -> Result<Option<IdMapping>> {
        match &config.settings.users.mode {
            UsernsMode::Container(id) => self.mapping_of(&self.lookup(id)?.config),
            _ => Ok(config.id_mapping.clone()),
        }
    }

    /// Returns the mapping for which a container's files must be changed on the disk, if there is one.
    pub(super) fn mapping_on_disk(
        &self,
        mapping: Option<&IdMapping>,
        mode: &UsernsMode,
    ) -> Result<Option<IdMapping>> {
        let mapping = match mode {
            UsernsMode::Container(name) => self.mapping_of(&self.lookup(name)?.config)?,
            _ => mapping.cloned(),
        };
        match mapping.filter(|mapping| self.host.rootless && !mapping.is_same()) {
            // With a single ID all files are the user's, and stay it.
            Some(_) if available()? <= 1 => Ok(None),
            mapping => Ok(mapping),
        }
    }
}

impl Prepared {
    /// The same for the runtime.
    pub(super) fn for_runtime(&self) -> crate::runtime::UserNamespace<'_> {
        crate::runtime::UserNamespace {
            namespace: self.namespace.as_fd(),
            owners: self.owners,
            first: self.first,
        }
    }
}

/// Makes a user namespace with these IDs.
pub(super) fn namespace_of(mapping: &IdMapping) -> io::Result<OwnedFd> {
    let ranges =
        |ranges: &[IdRange]| -> Vec<crate::sys::userns::IdRange> {
            let range = |&IdRange { inside, outside, count }: &IdRange| {
                crate::sys::userns::IdRange { inside, outside, count }
            };
            ranges.iter().map(range).collect()
        };
    make(&ranges(&mapping.uids), &ranges(&mapping.gids))
}

fn of_mapping(mapping: IdMapping) -> Decided {
    Decided { mapping: Some(mapping), ..Decided::default() }
}

fn same(range: IdRange) -> IdMapping {
    IdMapping { uids: vec![range], gids: vec![range] }
}

/// Returns who sets a container up: its root, if it has one; in there, and to us.
fn first(ranges: &[IdRange]) -> (u32, u32) {
    match userns::outside_of(ranges, 0) {
        Some(outside) => (0, outside),
        None => ranges.first().map_or((0, 0), |range| (range.inside, range.outside)),
    }
}

/// Returns who sets a container with these IDs up, to us.
pub(super) fn first_outside(mapping: &IdMapping) -> (u32, u32) {
    (first(&mapping.uids).1, first(&mapping.gids).1)
}

/// Our own ID 0 appears as `id`, the others keep their order; of `all` there are, `size` are mapped.
fn keep(id: u32, all: u32, size: Option<u32>) -> Vec<IdRange> {
    let own = IdRange { inside: id, outside: 0, count: 1 };
    let before = IdRange { inside: 0, outside: 1, count: id.min(all - 1) };
    let first = id.saturating_add(1);
    let after = IdRange { inside: first, outside: first, count: all.saturating_sub(first) };
    let mut left = size.unwrap_or(u32::MAX).saturating_sub(1);
    let mut ranges = Vec::new();
    for mut range in [before, after] {
        range.count = range.count.min(left);
        left -= range.count;
        if range.count > 0 {
            ranges.push(range);
        }
    }
    ranges.push(own);
    ranges.sort_by_key(|range| range.inside);
    ranges
}

/// Returns how many IDs we have, from 0 on without a gap.
fn available() -> Result<u32> {
    let path = "/proc/self/uid_map";
    let text = fs::read_to_string(path).context(|| format!("cannot read {path}"))?;
    let counts =
        text.lines().filter_map(|line| line.split_whitespace().nth(2)?.parse::<u32>().ok());
    Ok(counts.fold(0, u32::saturating_add))
}

/// Returns what a group of the machine is in our own namespace.
pub fn own_group(id: u32) -> Result<u32> {
    own_id(id, 1, false)
}

/// Returns what a range of the machine's IDs is in our own namespace.
fn own_id(id: u32, count: u32, user: bool) -> Result<u32> {
    let path = if user { "/proc/self/uid_map" } else { "/proc/self/gid_map" };
    let text = fs::read_to_string(path).context(|| format!("cannot read {path}"))?;
    let found = text.lines().find_map(|line| {
        let mut numbers = line.split_whitespace().map(str::parse::<u32>);
        let (inside, outside, most) =
            (numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?);
        let offset = id.checked_sub(outside)?;
        (offset.checked_add(count)? <= most).then_some(inside + offset)
    });
    found.ok_or_else(|| {
        Error::new(Kind::Invalid, format!("ID {id} of this machine is not yours to map"))
            .hint("see /etc/subuid and /etc/subgid")
    })
}

fn no_ids() -> Error {
    Error::new(Kind::Unsupported, "this user namespace mode needs subordinate IDs")
        .hint("an administrator can give some by `usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_an_id() {
        let text = |ranges: Vec<IdRange>| {
            ranges.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        for (id, all, size, want) in [
            (1000, 65537, None, "0:1:1000 1000:0:1 1001:1001:64536"),
            (0, 65537, None, "0:0:1 1:1:65536"),
            (1000, 1, None, "1000:0:1"),
            (1000, 11, None, "0:1:10 1000:0:1"),
            (1000, 65537, Some(2000), "0:1:1000 1000:0:1 1001:1001:999"),
        ] {
            let ranges = keep(id, all, size);
            userns::check(&ranges).unwrap();
            assert_eq!(text(ranges), want, "{id} of {all}");
        }
    }
}
