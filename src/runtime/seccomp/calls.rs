//! What a profile says about each system call number of each architecture.

use oci_spec::runtime::{
    Arch as OciArch, LinuxSeccomp, LinuxSeccompAction, LinuxSeccompArg, LinuxSeccompOperator,
    LinuxSyscall,
};

use crate::error::{Error, Kind, Result};
use crate::sys::arch::{self, Arch, Numbers, X32_BIT};

/// What the kernel does with a call: the value that a filter returns.
pub(super) type Action = u32;

/// Ends the process.
pub(super) const KILL: Action = 0x8000_0000;
/// Fails with `ENOSYS`.
pub(super) const ENOSYS: Action = 0x0005_0000 | libc::ENOSYS.unsigned_abs();

/// What is to be done about the calls that the kernel reports with one audit value.
#[derive(Debug)]
pub(super) struct Table {
    /// What the kernel reports as the architecture.
    pub(super) audit: u32,
    /// What is done from a number on, up to the next entry's number; the first is 0.
    pub(super) intervals: Vec<(u32, Verdict)>,
}

/// What is to be done about a call.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    /// Always the same.
    Always(Action),
    /// What the first rule says whose conditions all hold; else what the profile does by default.
    Depends(Vec<Rule>, Action),
}

/// What is to be done if all conditions hold.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Rule {
    pub(super) conditions: Vec<Condition>,
    pub(super) action: Action,
}

/// A condition on an argument.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Condition {
    /// Which argument, 0 to 5.
    pub(super) index: u8,
    pub(super) operator: LinuxSeccompOperator,
    /// What the argument is compared with, after masking.
    pub(super) value: u64,
    /// What of the argument is looked at.
    pub(super) mask: u64,
    /// Whether only the lower half of argument, value and mask counts.
    pub(super) narrow: bool,
}

/// A call that the profile names, with a rule about it.
struct Named<'a> {
    name: &'a str,
    numbers: Numbers,
    rule: &'a Checked,
}

/// A rule of the profile, checked.
struct Checked {
    /// The rules that it stands for.
    rules: Vec<Rule>,
    /// Whether it says what would happen anyway.
    idle: bool,
}

impl Checked {
    /// Returns what is done about its calls if that depends on nothing.
    fn always(&self) -> Option<Action> {
        match &self.rules[..] {
            [rule] if rule.conditions.is_empty() && !self.idle => Some(rule.action),
            _ => None,
        }
    }
}

/// What happens to calls that no rule names.
#[derive(Clone, Copy)]
struct Unnamed {
    /// To those that the profile's author knew.
    default: Action,
    /// To those that are newer.
    newer: Action,
}

/// Arguments that are 32 bits wide in the kernel's own code, on 64-bit machines too.
///
/// It drops the upper half. A filter that looked at it would be passed by setting a bit there: Docker's
/// profile forbids one address family by allowing all that are greater.
const INT_ARGUMENTS: [(&str, u8); 4] =
    [("socket", 0), ("socket", 1), ("socket", 2), ("personality", 0)];

/// Returns a table for each audit value that this machine can produce and the profile wants.
pub(super) fn tables(profile: &LinuxSeccomp) -> Result<Vec<Table>> {
    let default = action(profile.default_action(), profile.default_errno_ret())?;
    let unnamed = Unnamed {
        default,
        newer: match profile.default_action() {
            LinuxSeccompAction::ScmpActKill
            | LinuxSeccompAction::ScmpActKillThread
            | LinuxSeccompAction::ScmpActKillProcess
            | LinuxSeccompAction::ScmpActTrap
            | LinuxSeccompAction::ScmpActErrno => ENOSYS,
            // Whoever looks at the calls that the profile does not name wants to see the new ones too.
            _ => default,
        },
    };
    let rules = profile.syscalls().as_deref().unwrap_or_default();
    let checked = rules.iter().map(|rule| check(rule, default)).collect::<Result<Vec<_>>>()?;
    let mut calls = Vec::with_capacity(512);
    for (rule, checked) in rules.iter().zip(&checked) {
        for name in rule.names() {
            // A name that no architecture has may be new, or of a machine that we are not.
            if let Some(numbers) = arch::syscall(name) {
                calls.push(Named { name, numbers, rule: checked });
            }
        }
    }

    let native = Arch::NATIVE;
    let mut intervals = Vec::with_capacity(256);
    area(native, 0, &calls, unnamed, &mut intervals);
    let mut tables = vec![Table { audit: native.audit(), intervals }];
    let listed = profile.architectures().as_deref().unwrap_or_default();
    for companion in native.companions() {
        let wanted = listed.contains(&oci(*companion));
        if companion.audit() == native.audit() {
            let intervals = &mut tables[0].intervals;
            if wanted {
                area(*companion, X32_BIT, &calls, unnamed, intervals);
            } else {
                push(intervals, X32_BIT, Verdict::Always(KILL));
                // What a tracer sets to have a call skipped.
                push(intervals, u32::MAX, Verdict::Always(unnamed.newer));
            }
        } else if wanted {
            let mut intervals = Vec::with_capacity(256);
            area(*companion, 0, &calls, unnamed, &mut intervals);
            tables.push(Table { audit: companion.audit(), intervals });
        }
    }
    Ok(tables)
}

/// Adds what is done about the numbers of one architecture, which begin with `first`.
fn area(
    arch: Arch,
    first: u32,
    calls: &[Named<'_>],
    unnamed: Unnamed,
    intervals: &mut Vec<(u32, Verdict)>,
) {
    let mut newest = None;
    // Numbers with the place of their call in the profile: small, as there are many to sort.
    let mut entries = Vec::with_capacity(calls.len());
    for (place, call) in calls.iter().enumerate() {
        let Some(number) = call.numbers.on(arch) else { continue };
        if arch.is_in_sequence(number) {
            newest = newest.max(Some(number));
        }
        if !call.rule.idle {
            entries.push((number, place));
        }
    }
    let through = multiplexed(arch, calls);
    entries.extend(through.iter().map(|(number, _)| (*number, usize::MAX)));
    entries.sort_unstable();
    entries.dedup();

    // Numbers that no entry has, from one up to another.
    let fill = |intervals: &mut Vec<_>, from: u32, to: u32| {
        let known = newest.map_or(u32::MAX, |newest| newest + 1);
        if from < known.min(to) {
            push(intervals, from, Verdict::Always(unnamed.default));
        }
        if from.max(known) < to {
            push(intervals, from.max(known), Verdict::Always(unnamed.newer));
        }
    };
    let mut next = first;
    for group in entries.chunk_by(|a, b| a.0 == b.0) {
        let number = group[0].0;
        fill(intervals, next, number);
        let named = group.iter().filter_map(|(_, place)| calls.get(*place));
        let through = through.iter().filter(|(through, _)| *through == number);
        push(intervals, number, verdict(named, through, arch, unnamed.default));
        next = number + 1;
    }
    fill(intervals, next, u32::MAX);
}

/// Adds an interval; the one before may already say the same, or be empty.
fn push(intervals: &mut Vec<(u32, Verdict)>, first: u32, verdict: Verdict) {
    intervals.pop_if(|last| last.0 == first);
    if intervals.last().is_none_or(|last| last.1 != verdict) {
        intervals.push((first, verdict));
    }
}

/// Decides about a call from the rules that name it and those that only mean what is done through it.
fn verdict<'a>(
    named: impl Iterator<Item = &'a Named<'a>> + Clone,
    through: impl Iterator<Item = &'a (u32, Rule)>,
    arch: Arch,
    default: Action,
) -> Verdict {
    let always = named.clone().find_map(|call| call.rule.always());
    if let Some(action) = always {
        return Verdict::Always(action);
    }
    let named =
        named.flat_map(|call| call.rule.rules.iter().map(move |rule| narrowed(rule, call, arch)));
    Verdict::Depends(named.chain(through.map(|(_, rule)| rule.clone())).collect(), default)
}

/// Returns a rule as it is to be applied to one call on one architecture.
fn narrowed(rule: &Rule, call: &Named<'_>, arch: Arch) -> Rule {
    let mut rule = rule.clone();
    for condition in &mut rule.conditions {
        condition.narrow =
            arch.is_narrow() || INT_ARGUMENTS.contains(&(call.name, condition.index));
    }
    rule
}

/// Returns rules for the calls through which old 32-bit x86 programs make other calls.
///
/// Rules with conditions are left out: the arguments are in memory, where no filter can look.
fn multiplexed(arch: Arch, calls: &[Named<'_>]) -> Vec<(u32, Rule)> {
    let decided = |name| calls.iter().any(|call| call.name == name && call.rule.always().is_some());
    if arch != Arch::X86 || (decided("socketcall") && decided("ipc")) {
        return Vec::new();
    }
    let rule = |call: &Named<'_>| {
        let action = call.rule.always()?;
        let (through, which) = arch.multiplexed(call.name)?;
        let condition = Condition {
            index: 0,
            operator: LinuxSeccompOperator::ScmpCmpEq,
            value: which.into(),
            mask: u64::MAX,
            narrow: true,
        };
        Some((through.on(arch)?, Rule { conditions: vec![condition], action }))
    };
    calls.iter().filter_map(rule).collect()
}

fn check(rule: &LinuxSyscall, default: Action) -> Result<Checked> {
    let within = |error: Error| {
        let name = rule.names().first().map_or("", String::as_str);
        error.within(format!("the seccomp rule about `{name}` is invalid"))
    };
    let action = action(rule.action(), rule.errno_ret()).map_err(within)?;
    let arguments = rule.args().as_deref().unwrap_or_default();
    let conditions = arguments.iter().map(condition).collect::<Result<Vec<_>>>().map_err(within)?;
    let twice = |(at, one): (usize, &Condition)| {
        conditions[..at].iter().any(|other| other.index == one.index)
    };
    let rules = if conditions.iter().enumerate().any(twice) {
        conditions.into_iter().map(|one| Rule { conditions: vec![one], action }).collect()
    } else {
        vec![Rule { conditions, action }]
    };
    Ok(Checked { rules, idle: action == default })
}

fn condition(argument: &LinuxSeccompArg) -> Result<Condition> {
    let index =
        u8::try_from(argument.index()).ok().filter(|index| *index < 6).ok_or_else(|| {
            Error::new(Kind::Invalid, format!("there is no argument {}", argument.index()))
                .hint("arguments are numbered 0 to 5")
        })?;
    let (value, mask) = match argument.op() {
        LinuxSeccompOperator::ScmpCmpMaskedEq => {
            let mask = argument.value();
            (argument.value_two().unwrap_or(0) & mask, mask)
        }
        _ => (argument.value(), u64::MAX),
    };
    Ok(Condition { index, operator: argument.op(), value, mask, narrow: false })
}

fn action(action: LinuxSeccompAction, data: Option<u32>) -> Result<Action> {
    match data {
        Some(data) if data > 0xffff => {
            Err(Error::new(Kind::Invalid, format!("errnoRet {data} is above 65535")))
        }
        _ => Ok(action.as_u32(data)),
    }
}

/// Returns the profile's word for an architecture.
fn oci(arch: Arch) -> OciArch {
    match arch {
        Arch::X86_64 => OciArch::ScmpArchX86_64,
        Arch::X86 => OciArch::ScmpArchX86,
        Arch::X32 => OciArch::ScmpArchX32,
        Arch::Aarch64 => OciArch::ScmpArchAarch64,
        Arch::Arm => OciArch::ScmpArchArm,
    }
}
