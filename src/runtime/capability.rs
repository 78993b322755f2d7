//! Capabilities: which ones a container gets, and giving up the others.

use std::fmt;
use std::io;

use caps::Capability;
use oci_spec::runtime::LinuxCapabilities;
use rustix::thread;

use crate::error::{Error, Kind, Result};
use crate::spec::security::Security;

/// A set of capabilities, one bit for each by its number in the kernel.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct CapabilitySet(u64);

/// The name that stands for all capabilities.
const ALL: &str = "ALL";

impl CapabilitySet {
    /// No capability.
    pub const EMPTY: Self = Self(0);

    /// What a container gets if nothing else is asked for; the same as Docker's.
    pub const DEFAULT: Self = Self::of(&[
        Capability::CAP_CHOWN,
        Capability::CAP_DAC_OVERRIDE,
        Capability::CAP_FOWNER,
        Capability::CAP_FSETID,
        Capability::CAP_KILL,
        Capability::CAP_SETGID,
        Capability::CAP_SETUID,
        Capability::CAP_SETPCAP,
        Capability::CAP_NET_BIND_SERVICE,
        Capability::CAP_NET_RAW,
        Capability::CAP_SYS_CHROOT,
        Capability::CAP_MKNOD,
        Capability::CAP_AUDIT_WRITE,
        Capability::CAP_SETFCAP,
    ]);

    const fn of(capabilities: &[Capability]) -> Self {
        let mut bits = 0;
        let mut at = 0;
        while at < capabilities.len() {
            bits |= 1 << capabilities[at] as u8;
            at += 1;
        }
        Self(bits)
    }

    /// Returns the calling thread's bounding set: all that a process it makes can ever have.
    ///
    /// A new user namespace has its own, full one: ask inside it.
    pub fn available() -> Self {
        let has = |bit: u64| thread::capability_is_in_bounding_set(single(bit)).ok();
        // The kernel refuses numbers that it does not know.
        let bits = (0..64).map(|number| 1 << number).map_while(|bit| Some((bit, has(bit)?)));
        Self(bits.filter(|(_, has)| *has).map(|(bit, _)| bit).sum())
    }

    /// Makes a set of bits as the kernel shows them.
    pub fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Returns the calling thread's effective set.
    pub fn effective() -> io::Result<Self> {
        Ok(Self(thread::capabilities(None)?.effective.bits()))
    }

    /// Tells whether a capability is in the set.
    pub fn contains(self, capability: Capability) -> bool {
        self.0 & capability.bitmask() != 0
    }

    /// Tells whether the capability of this name is in the set; the prefix `CAP_` may be left out.
    pub fn contains_name(self, name: &str) -> bool {
        named(name).is_some_and(|capability| self.contains(capability))
    }

    /// Returns the capabilities in the order of their numbers; those without a known name are left out.
    pub fn iter(self) -> impl Iterator<Item = Capability> {
        all().filter(move |capability| self.contains(*capability))
    }

    /// Returns the names, with `CAP_`, in the order of their numbers.
    pub fn names(self) -> Vec<String> {
        self.iter().map(|capability| capability.to_string()).collect()
    }
}

impl FromIterator<Capability> for CapabilitySet {
    fn from_iter<I: IntoIterator<Item = Capability>>(capabilities: I) -> Self {
        Self(capabilities.into_iter().fold(0, |bits, capability| bits | capability.bitmask()))
    }
}

impl fmt::Debug for CapabilitySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl CapabilitySet {
    /// Reads a set in the OCI's words; ones that this version does not know are left out.
    pub fn from_oci(names: Option<&oci_spec::runtime::Capabilities>) -> Self {
        names.into_iter().flatten().filter_map(|name| named(&name.to_string())).collect()
    }

    /// Writes the set in the OCI's words.
    pub fn to_oci(self) -> oci_spec::runtime::Capabilities {
        let names = self.names();
        names.iter().filter_map(|name| name.trim_start_matches("CAP_").parse().ok()).collect()
    }
}

/// Decides which capabilities a container gets, of those that are available.
///
/// The rules are Docker's: `ALL` added is all but those dropped, else `ALL` dropped is those added,
/// else the defaults without those dropped and with those added.
pub fn resolve(security: &Security, available: CapabilitySet) -> Result<CapabilitySet> {
    let add = parse(&security.cap_add)?;
    let drop = parse(&security.cap_drop)?;
    if security.privileged {
        return Ok(available);
    }
    if let Some(missing) = add.set.iter().find(|capability| !available.contains(*capability)) {
        let message = format!("cannot add capability `{}`: barge does not have it", short(missing));
        return Err(Error::new(Kind::Denied, message)
            .hint("whoever started barge took it away; see CapBnd in /proc/self/status"));
    }
    let base = match &security.capabilities {
        None => CapabilitySet::DEFAULT,
        Some(names) => {
            let own = parse(names)?;
            if own.all { available } else { own.set }
        }
    };
    let wanted = match (add.all, drop.all) {
        (true, _) => available.0 & !drop.set.0,
        (false, true) => add.set.0,
        (false, false) => base.0 & !drop.set.0 | add.set.0,
    };
    Ok(CapabilitySet(wanted & available.0))
}

struct Parsed {
    set: CapabilitySet,
    all: bool,
}

fn parse(names: &[String]) -> Result<Parsed> {
    let mut parsed = Parsed { set: CapabilitySet::EMPTY, all: false };
    for name in names {
        if name.eq_ignore_ascii_case(ALL) || name.eq_ignore_ascii_case("CAP_ALL") {
            parsed.all = true;
        } else {
            parsed.set.0 |= named(name).ok_or_else(|| unknown(name))?.bitmask();
        }
    }
    Ok(parsed)
}

/// Finds a capability by its name in any case, with or without `CAP_`.
pub fn named(name: &str) -> Option<Capability> {
    let mut full = String::with_capacity(4 + name.len());
    if !name.get(..4).is_some_and(|prefix| prefix.eq_ignore_ascii_case("CAP_")) {
        full.push_str("CAP_");
    }
    full.push_str(name);
    full.make_ascii_uppercase();
    full.parse().ok()
}

fn unknown(name: &str) -> Error {
    let error = Error::new(Kind::Invalid, format!("unknown capability `{name}`"));
    let wanted = name.to_ascii_uppercase();
    let wanted = wanted.strip_prefix("CAP_").unwrap_or(&wanted);
    let near = all().map(|known| (distance(wanted, &short(known)), known)).min_by_key(|(d, _)| *d);
    match near {
        Some((distance, known)) if distance <= 1 + wanted.len() / 4 => {
            error.hint(format!("did you mean `{}`?", short(known)))
        }
        _ => error.hint("see capabilities(7) for their names"),
    }
}

/// Returns the name as it is written on the command line.
fn short(capability: Capability) -> String {
    let name = capability.to_string();
    name.strip_prefix("CAP_").unwrap_or(&name).to_owned()
}

/// Counts the letters to insert, remove or replace to turn one word into the other.
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (line, a) in from.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (column, b) in to.bytes().enumerate() {
            let replaced = diagonal + usize::from(a != b);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}

/// Returns all capabilities that have names, by number.
fn all() -> impl Iterator<Item = Capability> {
    let mut all: Vec<Capability> = caps::all().into_iter().collect();
    all.sort_unstable_by_key(Capability::index);
    all.into_iter()
}

/// The five sets of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// All that it and its children can ever have.
    pub bounding: CapabilitySet,
    /// What the kernel checks.
    pub effective: CapabilitySet,
    /// What it may make effective.
    pub permitted: CapabilitySet,
    /// What passes through exec of files that ask for it.
    pub inheritable: CapabilitySet,
    /// What passes through exec of all other files.
    pub ambient: CapabilitySet,
}

impl Capabilities {
    /// Returns the sets for a container's first process.
    ///
    /// Root has what the bounding set has. Another user has the ambient ones only, and can get others
    /// through set-user-ID programs. Nothing is inheritable without being ambient (CVE-2022-24769).
    pub fn for_user(bounding: CapabilitySet, uid: u32, ambient: CapabilitySet) -> Self {
        let ambient = CapabilitySet(ambient.0 & bounding.0);
        let own = if uid == 0 { bounding } else { ambient };
        Self { bounding, effective: own, permitted: own, inheritable: ambient, ambient }
    }

    /// Reads the sets in the OCI's words. What can never be effective is left out, as a set that has it
    /// would be refused as a whole.
    pub fn from_oci(asked: &LinuxCapabilities) -> Self {
        let set = |names: &Option<_>| CapabilitySet::from_oci(names.as_ref());
        let permitted = set(asked.permitted());
        let inheritable = set(asked.inheritable());
        Self {
            bounding: set(asked.bounding()),
            effective: CapabilitySet(set(asked.effective()).0 & permitted.0),
            permitted,
            inheritable,
            ambient: CapabilitySet(set(asked.ambient()).0 & permitted.0 & inheritable.0),
        }
    }

    /// Shrinks the bounding set to the wanted one. First step, while CAP_SETPCAP is effective.
    ///
    /// Like the other steps, it allocates nothing.
    pub fn drop_bounding(&self) -> io::Result<()> {
        for bit in (0..64).map(|number| 1 << number).take_while(known) {
            if self.bounding.0 & bit == 0 && thread::capability_is_in_bounding_set(single(bit))? {
                thread::remove_capability_from_bounding_set(single(bit))?;
            }
        }
        Ok(())
    }

    /// Makes the permitted set outlive the change from root to another user. Second step, before that.
    pub fn keep(&self) -> io::Result<()> {
        // Without anything to keep, the change shall clear all sets as it does by itself.
        Ok(thread::set_keep_capabilities(self.permitted != CapabilitySet::EMPTY)?)
    }

    /// Sets the other four sets. Third step, after the change of user.
    pub fn apply(&self) -> io::Result<()> {
        let set = |set: CapabilitySet| thread::CapabilitySet::from_bits_retain(set.0);
        thread::set_capabilities(
            None,
            thread::CapabilitySets {
                effective: set(self.effective),
                permitted: set(self.permitted),
                inheritable: set(self.inheritable),
            },
        )?;
        thread::clear_ambient_capability_set()?;
        for bit in (0..64).map(|number| 1 << number) {
            if self.ambient.0 & bit != 0 {
                thread::configure_capability_in_ambient_set(single(bit), true)?;
            }
        }
        Ok(thread::set_keep_capabilities(false)?)
    }
}

/// Does something as another owner of files, without giving up power over any.
///
/// For what the kernel remembers: overlay acts later as who has mounted it.
pub fn as_owner<T>((uid, gid): (u32, u32), act: impl FnOnce() -> Result<T>) -> Result<T> {
    use nix::unistd::{Gid, Uid, setfsgid, setfsuid};

    use crate::error::Context;

    let own = thread::capabilities(None).context(|| "cannot read the own capabilities")?;
    let (own_gid, own_uid) = (setfsgid(Gid::from_raw(gid)), setfsuid(Uid::from_raw(uid)));
    // The change of user has taken those that are about files.
    let kept = thread::set_capabilities(None, own).context(|| "cannot keep the own capabilities");
    let made = kept.and_then(|()| act());
    setfsuid(own_uid);
    setfsgid(own_gid);
    made
}

fn single(bit: u64) -> thread::CapabilitySet {
    thread::CapabilitySet::from_bits_retain(bit)
}

/// Tells whether the kernel knows the capability; those that it knows are numbered without gaps.
fn known(bit: &u64) -> bool {
    thread::capability_is_in_bounding_set(single(*bit)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &str) -> CapabilitySet {
        names.split_whitespace().map(|name| named(name).unwrap()).collect()
    }

    fn full() -> CapabilitySet {
        all().collect()
    }

    fn asked(add: &str, drop: &str) -> Security {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect();
        Security { cap_add: words(add), cap_drop: words(drop), ..Security::default() }
    }

    #[test]
    fn survives_the_words_of_the_oci() {
        let set = CapabilitySet::DEFAULT;
        assert_eq!(CapabilitySet::from_oci(Some(&set.to_oci())), set);
        assert_eq!(CapabilitySet::from_oci(None), CapabilitySet::EMPTY);
    }

    #[test]
    fn resolves_as_docker_does() {
        let default = CapabilitySet::DEFAULT;
        assert_eq!(default.names().len(), 14);
        for (add, drop, want) in [
            ("", "", default),
            ("NET_ADMIN", "", default.iter().chain([Capability::CAP_NET_ADMIN]).collect()),
            ("cap_net_admin", "ALL", set("NET_ADMIN")),
            ("", "all", CapabilitySet::EMPTY),
            ("", "CHOWN CAP_KILL", CapabilitySet(default.0 & !set("CHOWN KILL").0)),
            ("CHOWN", "CHOWN", default),
            ("ALL", "", full()),
            ("ALL", "SYS_ADMIN", CapabilitySet(full().0 & !set("SYS_ADMIN").0)),
            ("ALL", "ALL", full()),
        ] {
            assert_eq!(resolve(&asked(add, drop), full()).unwrap(), want, "+{add} -{drop}");
        }
    }

    #[test]
    fn gives_only_what_is_available() {
        let available = CapabilitySet(full().0 & !set("SYS_RESOURCE CHOWN").0);
        let resolve = |security: &Security| resolve(security, available);
        assert!(!resolve(&asked("", "")).unwrap().contains(Capability::CAP_CHOWN));
        assert_eq!(resolve(&asked("ALL", "")).unwrap(), available);
        let privileged = Security { privileged: true, ..asked("SYS_RESOURCE", "") };
        assert_eq!(resolve(&privileged).unwrap(), available);
        let error = resolve(&asked("SYS_RESOURCE", "")).unwrap_err();
        assert_eq!(error.kind(), Kind::Denied);
        assert!(error.to_string().contains("`SYS_RESOURCE`"), "{error}");
    }

    #[test]
    fn suggests_a_close_name() {
        for (name, hint) in [
            ("NET_ADMN", "did you mean `NET_ADMIN`?"),
            ("cap_sysadmin", "did you mean `SYS_ADMIN`?"),
            ("frobnicate", "see capabilities(7) for their names"),
        ] {
            let error = resolve(&asked(name, ""), full()).unwrap_err();
            assert_eq!(error.kind(), Kind::Invalid);
            assert_eq!(error.hint_text(), Some(hint), "{name}");
        }
    }

    #[test]
    fn users_other_than_root_have_the_ambient_ones_only() {
        let bounding = CapabilitySet::DEFAULT;
        let root = Capabilities::for_user(bounding, 0, CapabilitySet::EMPTY);
        assert_eq!((root.effective, root.inheritable), (bounding, CapabilitySet::EMPTY));
        let user = Capabilities::for_user(bounding, 1000, set("NET_RAW SYS_ADMIN"));
        assert_eq!((user.bounding, user.permitted), (bounding, set("NET_RAW")));
        assert_eq!((user.ambient, user.inheritable), (set("NET_RAW"), set("NET_RAW")));
    }

    #[test]
    fn reads_the_bounding_set_as_the_kernel_tells_it() {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("CapBnd:")).unwrap();
        let told = u64::from_str_radix(line.trim(), 16).unwrap();
        assert_eq!(CapabilitySet::available(), CapabilitySet(told));
    }
}
