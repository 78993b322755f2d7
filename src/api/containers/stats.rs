//! `GET /containers/{id}/stats`: what a container uses.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::find;
use crate::api::reply::Reply;
use crate::api::request::Call;
use crate::engine::{Counted, Engine, Sample};
use crate::error::{Kind, Result};
use crate::runtime::cgroup::BlockUse;
use crate::spec::time;

/// Time between two looks at what a container uses.
const SAMPLE: Duration = Duration::from_secs(1);

/// The first minor version in which it is said which system the numbers are of.
const OS_TYPE: u16 = 52;

/// `GET /containers/{id}/stats`.
pub(super) fn stats(engine: &Engine, call: &mut Call) -> Result<Reply> {
    let container = find(engine, call.name())?;
    let id = container.id().clone();
    let follow = call.query.truth("stream", true);
    if follow {
        call.lines()?;
    }
    let mut before: Option<Sample> = None;
    loop {
        let found = match engine.lookup(id.as_str()) {
            // It was removed: that is the end of it.
            Err(error) if error.kind() == Kind::NotFound && follow => return Ok(Reply::streamed()),
            other => other?,
        };
        let sample = engine.sample(found)?;
        let mut document = usage(&sample, before.as_ref());
        if call.version.minor >= OS_TYPE {
            document["os_type"] = "linux".into();
        }
        if follow {
            call.line(&document)?;
        } else if call.query.is_set("one-shot")
            || before.is_some()
            || sample.container.state.run().is_none()
        {
            return Ok(Reply::json(&document));
        }
        before = Some(sample);
        std::thread::sleep(SAMPLE);
        if follow && !call.answer().is_wanted() {
            return Ok(Reply::streamed());
        }
    }
}

/// What a container uses, in Docker's shape. Nobody has used what this machine does not count.
fn usage(sample: &Sample, before: Option<&Sample>) -> Value {
    const NEVER: &str = "0001-01-01T00:00:00Z";
    let runs = sample.container.state.run().is_some();
    let at = |sample: Option<&Sample>| match sample.filter(|_| runs) {
        Some(sample) => time::rfc3339(sample.at),
        None => NEVER.to_owned(),
    };
    let mut document = json!({
        "read": at(Some(sample)),
        "preread": at(before),
        "name": format!("/{}", sample.container.state.name),
        "id": sample.container.id(),
        "num_procs": 0,
        "pids_stats": {},
        "cpu_stats": processors(Some(sample)),
        "precpu_stats": processors(before),
        "memory_stats": {},
        "storage_stats": {},
        "blkio_stats": {
            "io_service_bytes_recursive": null,
            "io_serviced_recursive": null,
            "io_queue_recursive": null,
            "io_service_time_recursive": null,
            "io_wait_time_recursive": null,
            "io_merged_recursive": null,
            "io_time_recursive": null,
            "sectors_recursive": null,
        },
    });
    if !runs {
        return document;
    }
    let used = &sample.used;
    document["pids_stats"] = json!({ "current": used.pids.unwrap_or(0) });
    if let Some(limit) = used.pids_limit {
        document["pids_stats"]["limit"] = limit.into();
    }
    document["memory_stats"] = memory(sample);
    let blocks = &mut document["blkio_stats"];
    blocks["io_service_bytes_recursive"] = used.block_bytes.iter().map(block).collect();
    // Docker counts them in the first version of control groups only.
    if !used.cpu_each.is_empty() {
        blocks["io_serviced_recursive"] = used.block_operations.iter().map(block).collect();
    }
    if !sample.interfaces.is_empty() {
        let networks = sample.interfaces.iter();
        let networks: Map<String, Value> =
            networks.map(|it| (it.interface.clone(), network(it.received, it.sent))).collect();
        document["networks"] = networks.into();
    }
    document
}

fn processors(sample: Option<&Sample>) -> Value {
    let Some(sample) = sample.filter(|it| it.container.state.run().is_some()) else {
        return json!({
            "cpu_usage": { "total_usage": 0, "usage_in_kernelmode": 0, "usage_in_usermode": 0 },
            "throttling_data": { "periods": 0, "throttled_periods": 0, "throttled_time": 0 },
        });
    };
    let used = &sample.used;
    let kernel = used.cpu_system.unwrap_or(0);
    let mut document = json!({
        "cpu_usage": {
            "total_usage": sample.cpu(),
            "usage_in_kernelmode": kernel,
            "usage_in_usermode": used.cpu_user.unwrap_or_else(|| sample.cpu().saturating_sub(kernel)),
        },
        "system_cpu_usage": sample.system,
        "online_cpus": sample.processors,
        "throttling_data": {
            "periods": used.periods.unwrap_or(0),
            "throttled_periods": used.throttled_periods.unwrap_or(0),
            "throttled_time": used.throttled.unwrap_or(0),
        },
    });
    if !used.cpu_each.is_empty() {
        document["cpu_usage"]["percpu_usage"] = json!(used.cpu_each);
    }
    document
}

/// Clients take what can be dropped at once off the whole themselves.
fn memory(sample: &Sample) -> Value {
    let used = &sample.used;
    let parts = used.memory_parts.iter().map(|(name, bytes)| (name.clone(), json!(bytes)));
    let mut document = json!({
        "usage": used.memory.unwrap_or(0),
        "stats": parts.collect::<Map<_, _>>(),
        "limit": sample.memory_limit,
    });
    // Docker tells the peak in the first version of control groups only.
    if let Some(failures) = used.memory_failures {
        document["failcnt"] = failures.into();
        document["max_usage"] = used.memory_peak.unwrap_or(0).into();
    }
    document
}

fn block(block: &BlockUse) -> Value {
    json!({
        "major": block.major,
        "minor": block.minor,
        "op": block.operation,
        "value": block.value,
    })
}

fn network(received: Counted, sent: Counted) -> Value {
    json!({
        "rx_bytes": received.bytes,
        "rx_packets": received.packets,
        "rx_errors": received.errors,
        "rx_dropped": received.dropped,
        "tx_bytes": sent.bytes,
        "tx_packets": sent.packets,
        "tx_errors": sent.errors,
        "tx_dropped": sent.dropped,
    })
}
