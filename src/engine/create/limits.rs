//! Limits that make no sense, or that this machine has no means for.

use std::fs;

use crate::error::{Context, Error, Kind, Result};
use crate::spec::limits::Resources;
use crate::spec::numbers::numbers;

/// The smallest memory limit that Docker allows, in bytes.
const LEAST_MEMORY: u64 = 6 << 20;

/// The smallest part of a processor that the kernel can give, in billionths.
const LEAST_CPUS: u64 = 10_000_000;

/// The shortest period of the scheduler and the smallest part of it, in microseconds.
const LEAST_TIME: u64 = 1000;

/// The longest period of the scheduler in microseconds.
const LONGEST_PERIOD: u64 = 1_000_000;

/// Refuses limits that make no sense, as Docker and Podman do.
pub(in crate::engine) fn check(resources: &Resources) -> Result<()> {
    check_memory(resources)?;
    check_realtime(resources)?;
    check_processors(resources)?;
    check_set("cpu", "CPUs", resources.cpuset_cpus.as_deref())?;
    check_set("node", "memory nodes", resources.cpuset_mems.as_deref())
}

/// Refuses limits of memory that make no sense, as Docker does.
fn check_memory(resources: &Resources) -> Result<()> {
    let invalid = |text: &str| Err(Error::new(Kind::Invalid, text));
    let memory = resources.memory.filter(|bytes| *bytes > 0);
    if memory.is_some_and(|bytes| bytes < LEAST_MEMORY) {
        return invalid("minimum memory limit allowed is 6MB");
    }
    if resources.memory_reservation.zip(memory).is_some_and(|(soft, hard)| soft > hard) {
        return invalid("minimum memory limit can not be less than memory reservation limit");
    }
    // -1 is no limit of swap, 0 none asked for.
    match (resources.memory_swap.and_then(|bytes| u64::try_from(bytes).ok()), memory) {
        (None | Some(0), _) => Ok(()),
        (Some(_), None) => {
            invalid("you should always set the memory limit when using the memory-swap limit")
        }
        (Some(swap), Some(memory)) if swap < memory => invalid(
            "minimum memory-swap limit should be larger than the memory limit: it is memory and swap together",
        ),
        _ => Ok(()),
    }
}

/// Refuses real-time tasks more time than there is.
fn check_realtime(resources: &Resources) -> Result<()> {
    /// What the kernel has unless it is told otherwise, in microseconds.
    const PERIOD: u64 = 1_000_000;
    let period = resources.cpu_rt_period.filter(|period| *period > 0).unwrap_or(PERIOD);
    if resources.cpu_rt_runtime.is_some_and(|runtime| runtime > period) {
        return Err(Error::new(
            Kind::Invalid,
            "cpu real-time runtime cannot be higher than cpu real-time period",
        ));
    }
    Ok(())
}

/// Refuses parts of processors that the kernel cannot give.
fn check_processors(resources: &Resources) -> Result<()> {
    let invalid = |text: &str| Err(Error::new(Kind::Invalid, text));
    if resources.nano_cpus.is_some_and(|cpus| (1..LEAST_CPUS).contains(&cpus)) {
        return invalid("the least number of CPUs is 0.01");
    }
    let period = resources.cpu_period.filter(|period| *period > 0);
    if period.is_some_and(|period| !(LEAST_TIME..=LONGEST_PERIOD).contains(&period)) {
        return invalid(
            "CPU cfs period cannot be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
        );
    }
    let quota = resources.cpu_quota.and_then(|quota| u64::try_from(quota).ok());
    if quota.is_some_and(|quota| (1..LEAST_TIME).contains(&quota)) {
        return invalid("CPU cfs quota cannot be less than 1ms (i.e. 1000)");
    }
    Ok(())
}

/// Refuses processors or memory nodes that this machine does not have.
fn check_set(kind: &str, what: &str, wanted: Option<&str>) -> Result<()> {
    let Some(wanted) = wanted else { return Ok(()) };
    let numbers_wanted = numbers(wanted).context(|| format!("invalid set of {what}"))?;
    // A kernel without memory nodes says nothing of any.
    let Ok(online) = fs::read_to_string(format!("/sys/devices/system/{kind}/online")) else {
        return Ok(());
    };
    let online = online.trim();
    let there = numbers(online)?;
    if numbers_wanted.iter().all(|number| there.contains(number)) {
        return Ok(());
    }
    let text =
        format!("requested {what} are not available - requested {wanted}, available: {online}");
    Err(Error::new(Kind::Invalid, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_memory_that_makes_no_sense() {
        const MIB: u64 = 1 << 20;
        for (memory, memory_swap, good) in [
            (None, None, true),
            (Some(64 * MIB), None, true),
            (Some(MIB), None, false),
            (Some(64 * MIB), Some(128 << 20), true),
            (Some(64 * MIB), Some(32 << 20), false),
            (Some(64 * MIB), Some(-1), true),
            (None, Some(64 << 20), false),
            (None, Some(-1), true),
        ] {
            let resources = Resources { memory, memory_swap, ..Resources::default() };
            assert_eq!(check_memory(&resources).is_ok(), good, "{memory:?} {memory_swap:?}");
        }
    }

    #[test]
    fn refuses_what_no_kernel_can_give() {
        let usual = Resources::default;
        for (resources, good) in [
            (Resources { nano_cpus: Some(9_999_999), ..usual() }, false),
            (Resources { nano_cpus: Some(10_000_000), ..usual() }, true),
            (Resources { cpu_period: Some(999), ..usual() }, false),
            (Resources { cpu_period: Some(1_000_001), ..usual() }, false),
            (Resources { cpu_period: Some(1000), cpu_quota: Some(1000), ..usual() }, true),
            (Resources { cpu_quota: Some(999), ..usual() }, false),
            (Resources { cpu_quota: Some(-1), cpu_period: Some(0), ..usual() }, true),
            (Resources { cpuset_cpus: Some("0".into()), ..usual() }, true),
            (Resources { cpuset_cpus: Some("0,8000".into()), ..usual() }, false),
            (Resources { cpuset_cpus: Some("x".into()), ..usual() }, false),
            (Resources { cpuset_cpus: Some(String::new()), ..usual() }, true),
            (
                Resources { memory: Some(8 << 20), memory_reservation: Some(9 << 20), ..usual() },
                false,
            ),
            (
                Resources { memory: Some(9 << 20), memory_reservation: Some(9 << 20), ..usual() },
                true,
            ),
            (Resources { memory_reservation: Some(9 << 20), ..usual() }, true),
        ] {
            assert_eq!(check(&resources).is_ok(), good, "{resources:?}");
        }
    }
}
