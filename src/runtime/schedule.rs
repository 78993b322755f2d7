//! When and where a container's processes run, in the OCI's words.

use oci_spec::runtime::{
    IOPriorityClass, LinuxIOPriority, LinuxMemoryPolicy, LinuxSchedulerFlag, LinuxSchedulerPolicy,
    MemoryPolicyFlagType, MemoryPolicyModeType, Process, Scheduler,
};

use crate::error::{Context, Error, Kind, Result};
use crate::spec::numbers::numbers;
use crate::sys::schedule::{self, Schedule};

/// Sets what a process asks for. It may need power over the host.
pub(super) fn apply(process: &Process) -> Result<()> {
    if let Some(priority) = process.io_priority() {
        let (class, level) = io_priority(priority)?;
        schedule::set_io_priority(class, level).map_err(|error| {
            refused("the I/O priority", error, "a real-time class needs CAP_SYS_NICE")
        })?;
    }
    if let Some(scheduler) = process.scheduler() {
        schedule::set_schedule(&schedule_of(scheduler)?).map_err(|error| {
            refused("how it is scheduled", error, "real-time policies need CAP_SYS_NICE and, on version 1 of control groups, real-time CPU time for the group")
        })?;
    }
    Ok(())
}

fn refused(what: &str, error: std::io::Error, hint: &str) -> Error {
    let kind = match error.raw_os_error() {
        Some(libc::EPERM) => Kind::Denied,
        Some(libc::EINVAL) => Kind::Invalid,
        _ => Kind::Internal,
    };
    let said = Error::new(kind, format!("cannot set {what}")).caused_by(error);
    if kind == Kind::Denied { said.hint(hint) } else { said }
}

/// Checks what a process asks for, before there is one.
pub(super) fn check(process: &Process) -> Result<()> {
    if let Some(priority) = process.io_priority() {
        io_priority(priority)?;
    }
    if let Some(scheduler) = process.scheduler() {
        schedule_of(scheduler)?;
    }
    if let Some(affinity) = process.exec_cpu_affinity() {
        for list in [affinity.initial(), affinity.cpu_affinity_final()].into_iter().flatten() {
            numbers(list)?;
        }
    }
    Ok(())
}

fn io_priority(asked: &LinuxIOPriority) -> Result<(u32, u32)> {
    let class = match asked.class() {
        IOPriorityClass::IoprioClassRt => 1,
        IOPriorityClass::IoprioClassBe => 2,
        IOPriorityClass::IoprioClassIdle => 3,
    };
    match u32::try_from(asked.priority()) {
        Ok(level @ 0..=7) => Ok((class, level)),
        _ => Err(Error::new(
            Kind::Invalid,
            format!("invalid I/O priority {}: it is 0 to 7", asked.priority()),
        )),
    }
}

fn schedule_of(asked: &Scheduler) -> Result<Schedule> {
    use LinuxSchedulerPolicy::{
        SchedBatch, SchedDeadline, SchedFifo, SchedIdle, SchedIso, SchedOther, SchedRr,
    };
    let invalid = |text: &str| Err(Error::new(Kind::Invalid, format!("invalid scheduler: {text}")));
    let policy = *asked.policy();
    let nice = asked.nice().unwrap_or(0);
    let priority = asked.priority().unwrap_or(0);
    if !(-20..=19).contains(&nice) {
        return invalid(&format!("nice {nice} is not -20 to 19"));
    }
    let is_real_time = matches!(policy, SchedFifo | SchedRr);
    if is_real_time && !(1..=99).contains(&priority) {
        return invalid(&format!("priority {priority} of {policy} is not 1 to 99"));
    }
    if !is_real_time && priority != 0 {
        return invalid(&format!("{policy} has no priority"));
    }
    let times = [asked.runtime(), asked.deadline(), asked.period()].map(|it| it.unwrap_or(0));
    if policy != SchedDeadline && times != [0; 3] {
        return invalid(&format!("{policy} has no runtime, deadline or period"));
    }
    let mut flags = 0;
    for flag in asked.flags().iter().flatten() {
        flags |= match flag {
            LinuxSchedulerFlag::SchedResetOnFork => 0x01,
            LinuxSchedulerFlag::SchedFlagReclaim => 0x02,
            LinuxSchedulerFlag::SchedFlagDLOverrun => 0x04,
            LinuxSchedulerFlag::SchedFlagKeepPolicy => 0x08,
            LinuxSchedulerFlag::SchedFlagKeepParams => 0x10,
            // Their values are not among what can be said.
            LinuxSchedulerFlag::SchedFlagUtilClampMin
            | LinuxSchedulerFlag::SchedFlagUtilClampMax => {
                return invalid(&format!("{flag} has no values to go with it"));
            }
        };
    }
    let [runtime, deadline, period] = times;
    Ok(Schedule {
        policy: match policy {
            SchedOther => 0,
            SchedFifo => 1,
            SchedRr => 2,
            SchedBatch => 3,
            SchedIso => return invalid("Linux has no SCHED_ISO"),
            SchedIdle => 5,
            SchedDeadline => 6,
        },
        flags,
        nice,
        priority: priority.unsigned_abs(),
        runtime,
        deadline,
        period,
        ..Schedule::default()
    })
}

/// Sets the processors that a process may run on; an empty list leaves them.
pub(super) fn set_processors(list: Option<&str>) -> Result<()> {
    let Some(list) = list.filter(|list| !list.trim().is_empty()) else { return Ok(()) };
    schedule::set_processors(&numbers(list)?)
        .context(|| format!("cannot run on the processors {list}"))
}

/// Sets where the memory of a process comes from.
pub(super) fn set_memory_policy(policy: &LinuxMemoryPolicy) -> Result<()> {
    let (mode, nodes) = memory_policy(policy)?;
    schedule::set_memory_policy(mode, &nodes).map_err(|error| {
        let kind = match error.raw_os_error() {
            Some(libc::EINVAL) => Kind::Invalid,
            Some(libc::ENOSYS) => Kind::Unsupported,
            _ => Kind::Internal,
        };
        Error::new(kind, format!("cannot set the memory policy {}", policy.mode()))
            .hint("see which nodes there are in /sys/devices/system/node/online")
            .caused_by(error)
    })
}

/// Reads a memory policy.
pub(super) fn memory_policy(policy: &LinuxMemoryPolicy) -> Result<(u32, Vec<u32>)> {
    let nodes = numbers(policy.nodes().as_deref().unwrap_or_default())?;
    let mode = match policy.mode() {
        MemoryPolicyModeType::MpolDefault => 0,
        MemoryPolicyModeType::MpolPreferred => 1,
        MemoryPolicyModeType::MpolBind => 2,
        MemoryPolicyModeType::MpolInterleave => 3,
        MemoryPolicyModeType::MpolLocal => 4,
        MemoryPolicyModeType::MpolPreferredMany => 5,
        MemoryPolicyModeType::MpolWeightedInterleave => 6,
    };
    let flags = policy.flags().iter().flatten().fold(0, |flags, flag| {
        flags
            | match flag {
                MemoryPolicyFlagType::MpolFNumaBalancing => 1 << 13,
                MemoryPolicyFlagType::MpolFRelativeNodes => 1 << 14,
                MemoryPolicyFlagType::MpolFStaticNodes => 1 << 15,
            }
    });
    Ok((mode | flags, nodes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(json: &str) -> Process {
        let json = json.replace('\'', "\"");
        let base = r#"{"user": {"uid": 0, "gid": 0}, "cwd": "/""#;
        serde_json::from_str(&format!("{base}, {json}}}")).unwrap()
    }

    #[test]
    fn checks_what_is_asked_for() {
        for (json, want) in [
            ("'ioPriority': {'class': 'IOPRIO_CLASS_BE', 'priority': 7}", ""),
            ("'ioPriority': {'class': 'IOPRIO_CLASS_BE', 'priority': 8}", "0 to 7"),
            ("'ioPriority': {'class': 'IOPRIO_CLASS_BE', 'priority': -1}", "0 to 7"),
            ("'scheduler': {'policy': 'SCHED_OTHER', 'nice': -20}", ""),
            ("'scheduler': {'policy': 'SCHED_OTHER', 'nice': 20}", "-20 to 19"),
            ("'scheduler': {'policy': 'SCHED_FIFO'}", "1 to 99"),
            ("'scheduler': {'policy': 'SCHED_FIFO', 'priority': 99}", ""),
            ("'scheduler': {'policy': 'SCHED_BATCH', 'priority': 1}", "has no priority"),
            ("'scheduler': {'policy': 'SCHED_IDLE', 'runtime': 1}", "has no runtime"),
            (
                "'scheduler': {'policy': 'SCHED_DEADLINE', 'runtime': 1, 'deadline': 2, 'period': 2}",
                "",
            ),
            ("'scheduler': {'policy': 'SCHED_ISO'}", "no SCHED_ISO"),
            (
                "'scheduler': {'policy': 'SCHED_OTHER', 'flags': ['SCHED_FLAG_UTIL_CLAMP_MIN']}",
                "no values",
            ),
        ] {
            match check(&process(json)) {
                Ok(()) => assert_eq!(want, "", "{json}"),
                Err(error) => {
                    assert_eq!(error.kind(), Kind::Invalid, "{json}");
                    assert!(
                        !want.is_empty() && error.to_string().contains(want),
                        "{json}: {error}"
                    );
                }
            }
        }
    }
}
