//! Resource limits of processes: what a container's get, within what we may give.

use oci_spec::runtime::{PosixRlimit, PosixRlimitBuilder, PosixRlimitType as Type};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::capability::{self, CapabilitySet};
use crate::error::{Context, Error, Kind, Result};
use crate::spec::limits::{HOST_LIMITS, Ulimit};
use crate::sys::userns;

/// All limits: the name on the command line, the OCI's and the kernel's.
const LIMITS: [(&str, Type, Resource); 16] = [
    ("as", Type::RlimitAs, Resource::As),
    ("core", Type::RlimitCore, Resource::Core),
    ("cpu", Type::RlimitCpu, Resource::Cpu),
    ("data", Type::RlimitData, Resource::Data),
    ("fsize", Type::RlimitFsize, Resource::Fsize),
    ("locks", Type::RlimitLocks, Resource::Locks),
    ("memlock", Type::RlimitMemlock, Resource::Memlock),
    ("msgqueue", Type::RlimitMsgqueue, Resource::Msgqueue),
    ("nice", Type::RlimitNice, Resource::Nice),
    ("nofile", Type::RlimitNofile, Resource::Nofile),
    ("nproc", Type::RlimitNproc, Resource::Nproc),
    ("rss", Type::RlimitRss, Resource::Rss),
    ("rtprio", Type::RlimitRtprio, Resource::Rtprio),
    ("rttime", Type::RlimitRttime, Resource::Rttime),
    ("sigpending", Type::RlimitSigpending, Resource::Sigpending),
    ("stack", Type::RlimitStack, Resource::Stack),
];

/// Open files and processes, where nothing else is asked for; the same as Podman's.
const DEFAULTS: [(&str, u64); 2] = [("nofile", 1_048_576), ("nproc", 1_048_576)];

/// Decides the limits of a container's processes: those asked for, and the defaults.
///
/// Without the power to raise hard limits, the defaults are what our own allow, and asking for more is
/// an error.
pub fn resolve(asked: &[Ulimit]) -> Result<Vec<PosixRlimit>> {
    let own = |resource| getrlimit(resource).maximum.unwrap_or(u64::MAX);
    decide(asked, &own, &may_raise)
}

/// Tells whether we may raise hard limits: that takes the capability in the initial user namespace.
fn may_raise() -> bool {
    capability::named("SYS_RESOURCE").is_some_and(|needed| {
        CapabilitySet::effective().is_ok_and(|own| own.contains(needed)) && userns::is_initial()
    })
}

fn decide(
    asked: &[Ulimit],
    own: &dyn Fn(Resource) -> u64,
    may_raise: &dyn Fn() -> bool,
) -> Result<Vec<PosixRlimit>> {
    let mut limits = Vec::with_capacity(asked.len() + DEFAULTS.len());
    // Of two about the same, the later one counts.
    for (at, ulimit) in asked.iter().enumerate() {
        if asked[at + 1..].iter().any(|later| later.name == ulimit.name) {
            continue;
        }
        if ulimit.name == HOST_LIMITS {
            continue;
        }
        let (kind, resource) = find(&ulimit.name)?;
        let most = own(resource);
        if ulimit.hard > most && !may_raise() {
            let text =
                format!("cannot set ulimit {}={}: it is above {most}", ulimit.name, ulimit.hard);
            return Err(Error::new(Kind::Denied, text)
                .hint("barge's own hard limit is that low, and it may not raise it"));
        }
        limits.push(limit(kind, ulimit.soft, ulimit.hard));
    }
    for (name, wanted) in DEFAULTS {
        if asked.iter().any(|ulimit| ulimit.name == name || ulimit.name == HOST_LIMITS) {
            continue;
        }
        let (kind, resource) = find(name)?;
        let most = own(resource);
        let value = if wanted > most && !may_raise() { most } else { wanted };
        limits.push(limit(kind, value, value));
    }
    Ok(limits)
}

fn limit(kind: Type, soft: u64, hard: u64) -> PosixRlimit {
    let limit = PosixRlimitBuilder::default().typ(kind).soft(soft).hard(hard);
    limit.build().expect("no field is missing")
}

fn find(name: &str) -> Result<(Type, Resource)> {
    LIMITS
        .iter()
        .find(|(known, _, _)| *known == name)
        .map(|(_, kind, resource)| (*kind, *resource))
        .ok_or_else(|| Error::new(Kind::Invalid, format!("there is no ulimit `{name}`")))
}

/// Sets limits of the calling process.
pub(super) fn apply(limits: &[PosixRlimit]) -> Result<()> {
    for limit in limits {
        let Some((name, _, resource)) = LIMITS.iter().find(|(_, kind, _)| *kind == limit.typ())
        else {
            continue;
        };
        let value = |number: u64| (number != u64::MAX).then_some(number);
        let wanted = Rlimit { current: value(limit.soft()), maximum: value(limit.hard()) };
        match setrlimit(*resource, wanted) {
            // Above fs.nr_open, which nobody may exceed, and which the default did not know.
            Err(rustix::io::Errno::PERM) if is_default(name, limit) => {}
            other => other.context(|| {
                format!("cannot set ulimit {name}={}:{}", limit.soft(), limit.hard())
            })?,
        }
    }
    Ok(())
}

fn is_default(name: &str, limit: &PosixRlimit) -> bool {
    DEFAULTS.contains(&(name, limit.hard())) && limit.soft() == limit.hard()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ulimit(name: &str, soft: u64, hard: u64) -> Ulimit {
        Ulimit { name: name.to_owned(), soft, hard }
    }

    #[test]
    fn defaults_stay_within_the_own_limits() {
        for (own, powerful, want) in [
            (u64::MAX, false, 1_048_576),
            (1024, false, 1024),
            (1024, true, 1_048_576),
            (1_048_576, false, 1_048_576),
        ] {
            let limits = decide(&[], &|_| own, &|| powerful).unwrap();
            let values: Vec<_> = limits.iter().map(|it| (it.typ(), it.soft(), it.hard())).collect();
            assert_eq!(
                values,
                [(Type::RlimitNofile, want, want), (Type::RlimitNproc, want, want)],
                "{own} {powerful}"
            );
        }
    }

    #[test]
    fn what_is_asked_for_counts() {
        let asked = [ulimit("nofile", 1, 2), ulimit("core", 0, u64::MAX), ulimit("nofile", 3, 4)];
        let limits = decide(&asked, &|_| u64::MAX, &|| false).unwrap();
        let values: Vec<_> = limits.iter().map(|it| (it.typ(), it.soft(), it.hard())).collect();
        assert_eq!(
            values,
            [
                (Type::RlimitCore, 0, u64::MAX),
                (Type::RlimitNofile, 3, 4),
                (Type::RlimitNproc, 1_048_576, 1_048_576)
            ]
        );
        let error = decide(&asked, &|_| 3, &|| false).unwrap_err();
        assert_eq!(error.kind(), Kind::Denied);
        assert!(decide(&asked, &|_| 3, &|| true).is_ok());
        let unknown = decide(&[ulimit("nonsense", 1, 1)], &|_| 3, &|| true);
        assert_eq!(unknown.unwrap_err().kind(), Kind::Invalid);
    }

    #[test]
    fn own_limits_can_be_set_again() {
        let own = getrlimit(Resource::Core);
        let value = |value: Option<u64>| value.unwrap_or(u64::MAX);
        apply(&[limit(Type::RlimitCore, value(own.current), value(own.maximum))]).unwrap();
        assert_eq!(getrlimit(Resource::Core), own);
    }
}
