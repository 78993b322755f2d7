//! What is to be written where, for the resources that a container may use.
//!
//! The OCI's resources are version 1's; for version 2 they are converted as the other runtimes do.

use std::borrow::Cow;

use oci_spec::runtime::{
    LinuxBlockIo, LinuxCpu, LinuxHugepageLimit, LinuxMemory, LinuxPids, LinuxResources,
    LinuxWeightDevice,
};

use super::realtime;
use crate::error::{Error, Kind, Result};

/// One limit of one controller: what users call it, and what is to be written.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Setting {
    /// What the user asked for, as in `memory limit`.
    pub(super) limit: &'static str,
    /// The controller that must be there.
    pub(super) controller: Cow<'static, str>,
    /// The file in the group's directory; `None` if this version cannot do it.
    pub(super) file: Option<Cow<'static, str>>,
    /// What is written.
    pub(super) value: String,
    /// Another file and what is written there where the kernel does not have the first one.
    pub(super) otherwise: Option<(&'static str, String)>,
}

/// Settings being collected.
#[derive(Default)]
struct Settings(Vec<Setting>);

impl Settings {
    fn add(
        &mut self,
        limit: &'static str,
        controller: &'static str,
        file: impl Into<Cow<'static, str>>,
        value: impl ToString,
    ) {
        self.0.push(Setting {
            limit,
            controller: controller.into(),
            file: Some(file.into()),
            value: value.to_string(),
            otherwise: None,
        });
    }

    /// Names another file for the last one, where the kernel does not have that.
    fn or(&mut self, file: &'static str, value: impl ToString) {
        if let Some(last) = self.0.last_mut() {
            last.otherwise = Some((file, value.to_string()));
        }
    }

    /// Notes what this version cannot do.
    fn cannot(&mut self, limit: &'static str, controller: &'static str) {
        self.0.push(Setting {
            limit,
            controller: controller.into(),
            file: None,
            value: String::new(),
            otherwise: None,
        });
    }
}

/// Returns what is to be written; `unified` tells whether a controller is version 2's.
pub(super) fn settings(
    resources: &LinuxResources,
    unified: &dyn Fn(&str) -> bool,
) -> Result<Vec<Setting>> {
    let mut settings = Settings::default();
    if let Some(memory) = resources.memory() {
        match unified("memory") {
            true => memory_v2(memory, &mut settings)?,
            false => memory_v1(memory, &mut settings),
        }
    }
    if let Some(cpu) = resources.cpu() {
        match unified("cpu") {
            true => cpu_v2(cpu, &mut settings),
            false => cpu_v1(cpu, &mut settings),
        }
        cpu_set(cpu, &mut settings);
    }
    if let Some(io) = resources.block_io() {
        match unified("blkio") {
            true => io_v2(io, &mut settings),
            false => io_v1(io, &mut settings),
        }
    }
    let suffix = if unified("hugetlb") { "max" } else { "limit_in_bytes" };
    huge_pages(resources.hugepage_limits().as_deref().unwrap_or_default(), suffix, &mut settings);
    if let Some(network) = resources.network() {
        // Nobody asks for class 0, and version 2 has no such controllers.
        if let Some(class) = network.class_id().filter(|class| *class != 0) {
            settings.add("network class", "net_cls", "net_cls.classid", class);
        }
        for priority in network.priorities().iter().flatten() {
            let value = format!("{} {}", priority.name(), priority.priority());
            settings.add("network priority", "net_prio", "net_prio.ifpriomap", value);
        }
    }
    pids(resources, &mut settings);
    for (device, limits) in resources.rdma().iter().flatten() {
        let handles = limits.hca_handles().map(|limit| format!(" hca_handle={limit}"));
        let objects = limits.hca_objects().map(|limit| format!(" hca_object={limit}"));
        let value = [Some(device.clone()), handles, objects].into_iter().flatten();
        settings.add("RDMA limit", "rdma", "rdma.max", value.collect::<String>());
    }
    for (file, value) in resources.unified().iter().flatten() {
        let controller = file.split_once('.').map(|(controller, _)| controller.to_owned());
        let (Some(controller), false) = (controller, file.contains('/')) else {
            return Err(Error::new(Kind::Invalid, format!("`{file}` is no control group file")));
        };
        let there = unified(&controller);
        settings.0.push(Setting {
            limit: "control group setting",
            controller: controller.into(),
            file: there.then(|| file.clone().into()),
            value: value.clone(),
            otherwise: None,
        });
    }
    Ok(settings.0)
}

fn memory_v1(memory: &LinuxMemory, settings: &mut Settings) {
    const MEMORY: &str = "memory";
    if let Some(limit) = memory.limit().filter(|limit| *limit != 0) {
        settings.add("memory limit", MEMORY, "memory.limit_in_bytes", limit);
    }
    // Memory plus swap; must not be below the memory limit at any time, so it comes second. Where
    // memory is unlimited, both are.
    let swap = memory.swap().filter(|swap| *swap != 0).or(memory.limit().filter(|it| *it < 0));
    if let Some(swap) = swap {
        settings.add("swap limit", MEMORY, "memory.memsw.limit_in_bytes", swap);
    }
    if let Some(reservation) = memory.reservation().filter(|reservation| *reservation != 0) {
        settings.add("memory reservation", MEMORY, "memory.soft_limit_in_bytes", reservation);
    }
    if let Some(swappiness) = memory.swappiness() {
        settings.add("memory swappiness", MEMORY, "memory.swappiness", swappiness);
    }
    if memory.disable_oom_killer() == Some(true) {
        settings.add("switching off the out-of-memory killer", MEMORY, "memory.oom_control", 1);
    }
    if let Some(limit) = memory.kernel_tcp().filter(|limit| *limit != 0) {
        let file = "memory.kmem.tcp.limit_in_bytes";
        settings.add("TCP memory limit", MEMORY, file, limit);
    }
    kernel_memory(memory, settings);
}

fn memory_v2(memory: &LinuxMemory, settings: &mut Settings) -> Result<()> {
    const MEMORY: &str = "memory";
    let limit = memory.limit().filter(|limit| *limit != 0);
    if let Some(limit) = limit {
        settings.add("memory limit", MEMORY, "memory.max", bytes(limit));
    }
    match memory.swap() {
        None | Some(0) if limit.is_some_and(|limit| limit < 0) => {
            settings.add("swap limit", MEMORY, "memory.swap.max", "max");
        }
        None | Some(0) => {}
        Some(swap) if swap < 0 => settings.add("swap limit", MEMORY, "memory.swap.max", "max"),
        // Here swap is counted by itself.
        Some(total) => match limit {
            Some(limit) if limit < 0 => {
                let message = "swap cannot be limited while memory is unlimited";
                return Err(Error::new(Kind::Invalid, message).hint("limit memory too"));
            }
            Some(limit) if total >= limit => {
                settings.add("swap limit", MEMORY, "memory.swap.max", total - limit);
            }
            Some(limit) => {
                let message =
                    format!("memory and swap together ({total}) are below memory ({limit})");
                return Err(Error::new(Kind::Invalid, message)
                    .hint("the swap limit includes the memory limit"));
            }
            None => {
                let message = "the swap limit includes the memory limit, which is not given";
                return Err(Error::new(Kind::Invalid, message).hint("limit memory too"));
            }
        },
    }
    if let Some(reservation) = memory.reservation().filter(|reservation| *reservation != 0) {
        settings.add("memory reservation", MEMORY, "memory.low", bytes(reservation));
    }
    if memory.swappiness().is_some() {
        settings.cannot("memory swappiness", MEMORY);
    }
    if memory.disable_oom_killer() == Some(true) {
        settings.cannot("switching off the out-of-memory killer", MEMORY);
    }
    if memory.kernel_tcp().is_some_and(|limit| limit != 0) {
        settings.cannot("TCP memory limit", MEMORY);
    }
    kernel_memory(memory, settings);
    Ok(())
}

/// No kernel that we run on has this limit any more.
fn kernel_memory(memory: &LinuxMemory, settings: &mut Settings) {
    if memory.kernel().is_some_and(|limit| limit != 0) {
        settings.cannot("kernel memory limit", "memory");
    }
}

fn cpu_v1(cpu: &LinuxCpu, settings: &mut Settings) {
    if let Some(shares) = cpu.shares().filter(|shares| *shares != 0) {
        settings.add("CPU shares", "cpu", "cpu.shares", shares);
    }
    // The period first: a quota is checked against it.
    if let Some(period) = cpu.period().filter(|period| *period != 0) {
        settings.add("CPU period", "cpu", "cpu.cfs_period_us", period);
    }
    if let Some(quota) = cpu.quota().filter(|quota| *quota != 0) {
        settings.add("CPU quota", "cpu", "cpu.cfs_quota_us", quota);
    }
    if let Some(burst) = cpu.burst() {
        settings.add("CPU burst", "cpu", "cpu.cfs_burst_us", burst);
    }
    if let Some(idle) = cpu.idle() {
        settings.add("CPU idle", "cpu", "cpu.idle", idle);
    }
    if let Some(period) = cpu.realtime_period().filter(|period| *period != 0) {
        settings.add("real-time CPU period", "cpu", "cpu.rt_period_us", period);
    }
    if let Some(runtime) = cpu.realtime_runtime().filter(|runtime| *runtime != 0) {
        settings.add("real-time CPU time", "cpu", realtime::RUNTIME, runtime);
    }
}

fn cpu_v2(cpu: &LinuxCpu, settings: &mut Settings) {
    if let Some(shares) = cpu.shares().filter(|shares| *shares != 0) {
        settings.add("CPU shares", "cpu", "cpu.weight", cpu_weight(shares));
    }
    let quota = cpu.quota().filter(|quota| *quota != 0);
    let period = cpu.period().filter(|period| *period != 0);
    if quota.is_some() || period.is_some() {
        let quota = bytes(quota.unwrap_or(-1));
        let value = match period {
            Some(period) => format!("{quota} {period}"),
            None => quota,
        };
        settings.add("CPU quota", "cpu", "cpu.max", value);
    }
    if let Some(burst) = cpu.burst() {
        settings.add("CPU burst", "cpu", "cpu.max.burst", burst);
    }
    if let Some(idle) = cpu.idle() {
        settings.add("CPU idle", "cpu", "cpu.idle", idle);
    }
    let realtime = cpu.realtime_period().is_some_and(|period| period != 0)
        || cpu.realtime_runtime().is_some_and(|runtime| runtime != 0);
    if realtime {
        settings.cannot("real-time CPU time", "cpu");
    }
}

fn cpu_set(cpu: &LinuxCpu, settings: &mut Settings) {
    if let Some(cpus) = cpu.cpus().as_deref().filter(|cpus| !cpus.is_empty()) {
        settings.add("CPU set", "cpuset", "cpuset.cpus", cpus);
    }
    if let Some(mems) = cpu.mems().as_deref().filter(|mems| !mems.is_empty()) {
        settings.add("memory node set", "cpuset", "cpuset.mems", mems);
    }
}

fn io_v1(io: &LinuxBlockIo, settings: &mut Settings) {
    const BLKIO: &str = "blkio";
    if let Some(weight) = io.weight().filter(|weight| *weight != 0) {
        settings.add("block I/O weight", BLKIO, "blkio.bfq.weight", weight);
    }
    leaf_weights(io, BLKIO, settings);
    for device in io.weight_device().iter().flatten() {
        if let Some(weight) = device.weight() {
            let value = format!("{}:{} {weight}", device.major(), device.minor());
            settings.add("block I/O device weight", BLKIO, "blkio.bfq.weight_device", value);
        }
    }
    for (devices, file) in [
        (io.throttle_read_bps_device(), "blkio.throttle.read_bps_device"),
        (io.throttle_write_bps_device(), "blkio.throttle.write_bps_device"),
        (io.throttle_read_iops_device(), "blkio.throttle.read_iops_device"),
        (io.throttle_write_iops_device(), "blkio.throttle.write_iops_device"),
    ] {
        for device in devices.iter().flatten() {
            let value = format!("{}:{} {}", device.major(), device.minor(), device.rate());
            settings.add("block I/O rate", BLKIO, file, value);
        }
    }
}

fn io_v2(io: &LinuxBlockIo, settings: &mut Settings) {
    if let Some(weight) = io.weight().filter(|weight| *weight != 0) {
        // The scheduler BFQ takes weights as they are, the kernel's own cost model does not.
        settings.add("block I/O weight", "io", "io.bfq.weight", weight);
        settings.or("io.weight", io_weight(weight));
    }
    leaf_weights(io, "io", settings);
    for device in io.weight_device().iter().flatten() {
        if let Some(weight) = device.weight() {
            let value = |weight| format!("{}:{} {weight}", device.major(), device.minor());
            let own = value(u64::from(weight));
            settings.add("block I/O device weight", "io", "io.bfq.weight", own);
            settings.or("io.weight", value(io_weight(weight)));
        }
    }
    for (devices, key) in [
        (io.throttle_read_bps_device(), "rbps"),
        (io.throttle_write_bps_device(), "wbps"),
        (io.throttle_read_iops_device(), "riops"),
        (io.throttle_write_iops_device(), "wiops"),
    ] {
        for device in devices.iter().flatten() {
            let value = format!("{}:{} {key}={}", device.major(), device.minor(), device.rate());
            settings.add("block I/O rate", "io", "io.max", value);
        }
    }
}

/// Weights against the groups below: the scheduler that had them is gone since Linux 5.0.
fn leaf_weights(io: &LinuxBlockIo, controller: &'static str, settings: &mut Settings) {
    let of_device = |it: &LinuxWeightDevice| it.leaf_weight().is_some();
    if io.leaf_weight().is_some() || io.weight_device().iter().flatten().any(of_device) {
        settings.cannot("block I/O leaf weight", controller);
    }
}

fn huge_pages(limits: &[LinuxHugepageLimit], suffix: &str, settings: &mut Settings) {
    for limit in limits {
        // It becomes a part of a file name.
        let size: String = limit.page_size().chars().filter(char::is_ascii_alphanumeric).collect();
        let file = format!("hugetlb.{size}.{suffix}");
        settings.add("huge page limit", "hugetlb", file, limit.limit());
    }
}

fn pids(resources: &LinuxResources, settings: &mut Settings) {
    // Zero means no limit was asked for, as in Docker.
    if let Some(limit) = resources.pids().as_ref().map(LinuxPids::limit).filter(|it| *it != 0) {
        settings.add("pids limit", "pids", "pids.max", bytes(limit));
    }
}

/// Writes a number as version 2 does: what is below zero is no limit.
fn bytes(number: i64) -> String {
    if number < 0 { "max".to_owned() } else { number.to_string() }
}

/// Converts CPU shares (2 to 262144, normal 1024) to a weight (1 to 10000, normal 100).
///
/// The curve goes through the ends and the normal values of both scales. The straight line that came
/// first gave a container with normal shares less than half of what a process outside has.
#[expect(clippy::cast_precision_loss, reason = "shares are small")]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "1 to 10000")]
fn cpu_weight(shares: u64) -> u64 {
    let power = (shares.clamp(2, 262_144) as f64).log2();
    let exponent = (power * power + 125.0 * power) / 612.0 - 7.0 / 34.0;
    (10.0_f64.powf(exponent).ceil() as u64).clamp(1, 10_000)
}

/// Converts a block I/O weight (10 to 1000) to version 2's (1 to 10000).
fn io_weight(weight: u16) -> u64 {
    1 + (u64::from(weight.clamp(10, 1000)) - 10) * 9999 / 990
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resources(json: &str) -> LinuxResources {
        serde_json::from_str(&json.replace('\'', "\"")).unwrap()
    }

    fn v1(resources: &LinuxResources) -> Vec<Setting> {
        settings(resources, &|_| false).unwrap()
    }

    fn v2(resources: &LinuxResources) -> Result<Vec<Setting>> {
        settings(resources, &|_| true)
    }

    fn lines(settings: &[Setting]) -> Vec<String> {
        settings
            .iter()
            .map(|one| format!("{}={}", one.file.as_deref().unwrap_or("-"), one.value))
            .collect()
    }

    #[test]
    fn converts_resources() {
        for (json, first, second) in [
            ("{}", &[][..], &[][..]),
            (
                "{'memory': {'limit': 1000, 'swap': 3000, 'reservation': 500}}",
                &[
                    "memory.limit_in_bytes=1000",
                    "memory.memsw.limit_in_bytes=3000",
                    "memory.soft_limit_in_bytes=500",
                ],
                &["memory.max=1000", "memory.swap.max=2000", "memory.low=500"],
            ),
            (
                "{'memory': {'limit': -1, 'swap': -1}}",
                &["memory.limit_in_bytes=-1", "memory.memsw.limit_in_bytes=-1"],
                &["memory.max=max", "memory.swap.max=max"],
            ),
            (
                "{'memory': {'limit': 1000, 'swap': 1000}}",
                &["memory.limit_in_bytes=1000", "memory.memsw.limit_in_bytes=1000"],
                &["memory.max=1000", "memory.swap.max=0"],
            ),
            (
                "{'memory': {'swappiness': 0, 'disableOOMKiller': true}}",
                &["memory.swappiness=0", "memory.oom_control=1"],
                &["-=", "-="],
            ),
            (
                "{'cpu': {'shares': 512, 'quota': 150000, 'period': 50000, 'cpus': '0-1', 'mems': '0'}}",
                &[
                    "cpu.shares=512",
                    "cpu.cfs_period_us=50000",
                    "cpu.cfs_quota_us=150000",
                    "cpuset.cpus=0-1",
                    "cpuset.mems=0",
                ],
                &["cpu.weight=59", "cpu.max=150000 50000", "cpuset.cpus=0-1", "cpuset.mems=0"],
            ),
            ("{'cpu': {'quota': -1}}", &["cpu.cfs_quota_us=-1"], &["cpu.max=max"]),
            ("{'pids': {'limit': 7}}", &["pids.max=7"], &["pids.max=7"]),
            ("{'pids': {'limit': -1}}", &["pids.max=max"], &["pids.max=max"]),
            ("{'pids': {'limit': 0}}", &[], &[]),
            (
                "{'blockIO': {'weight': 500, 'throttleReadBpsDevice': [{'major': 8, 'minor': 0, 'rate': 9}]}}",
                &["blkio.bfq.weight=500", "blkio.throttle.read_bps_device=8:0 9"],
                &["io.bfq.weight=500", "io.max=8:0 rbps=9"],
            ),
            (
                "{'hugepageLimits': [{'pageSize': '2MB', 'limit': 4}]}",
                &["hugetlb.2MB.limit_in_bytes=4"],
                &["hugetlb.2MB.max=4"],
            ),
            (
                "{'rdma': {'mlx5_0': {'hcaHandles': 3, 'hcaObjects': 10}}}",
                &["rdma.max=mlx5_0 hca_handle=3 hca_object=10"],
                &["rdma.max=mlx5_0 hca_handle=3 hca_object=10"],
            ),
            (
                "{'memory': {'limit': -1}}",
                &["memory.limit_in_bytes=-1", "memory.memsw.limit_in_bytes=-1"],
                &["memory.max=max", "memory.swap.max=max"],
            ),
            (
                "{'memory': {'kernel': 1, 'kernelTCP': 2}}",
                &["memory.kmem.tcp.limit_in_bytes=2", "-="],
                &["-=", "-="],
            ),
            ("{'blockIO': {'leafWeight': 10}}", &["-="], &["-="]),
            ("{'unified': {'memory.high': '5'}}", &["-=5"], &["memory.high=5"]),
        ] {
            let resources = resources(json);
            assert_eq!(lines(&v1(&resources)), first, "{json}");
            assert_eq!(lines(&v2(&resources).unwrap()), second, "{json}");
        }
    }

    #[test]
    fn refuses_what_version_2_cannot_say() {
        for json in [
            "{'memory': {'swap': 1000}}",
            "{'memory': {'limit': 2000, 'swap': 1000}}",
            "{'memory': {'limit': -1, 'swap': 1000}}",
            "{'unified': {'../cgroup.procs': '1'}}",
            "{'unified': {'plain': '1'}}",
        ] {
            assert_eq!(v2(&resources(json)).unwrap_err().kind(), Kind::Invalid, "{json}");
        }
    }

    #[test]
    fn weights_keep_ends_and_middle() {
        for (shares, weight) in [(0, 1), (2, 1), (1024, 100), (262_144, 10_000), (u64::MAX, 10_000)]
        {
            assert_eq!(cpu_weight(shares), weight, "{shares}");
        }
        for (weight, want) in [(10, 1), (100, 910), (1000, 10_000), (0, 1)] {
            assert_eq!(io_weight(weight), want, "{weight}");
        }
    }
}
