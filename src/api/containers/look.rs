//! Endpoints that look at one container.

use std::io::Write;
use std::time::Duration;

use hyper::StatusCode;
use serde_json::{Value, json};

use super::find;
use crate::api::model::{docker, top as columns};
use crate::api::reply::{Head, Reply};
use crate::api::request::{Answer, Call};
use crate::engine::images::ChangeKind;
use crate::engine::{DiffSubject, Engine, LogLine, LogOptions, LogReader, LogStream, Sample, now};
use crate::error::{Context, Error, Kind, Result};
use crate::spec::time;

/// A stream of a terminal, or of anything else that is not in frames.
pub(in crate::api) const RAW: &str = "application/vnd.docker.raw-stream";
/// A stream of frames, each of one of the outputs.
pub(in crate::api) const MULTIPLEXED: &str = "application/vnd.docker.multiplexed-stream";

/// Time between two looks at what a container uses.
const SAMPLE: Duration = Duration::from_secs(1);

/// The first minor version in which it is said which system the numbers are of.
const OS_TYPE: u16 = 52;

/// `GET /containers/{id}/json`.
pub(super) fn inspect(engine: &Engine, call: &mut Call) -> Result<Reply> {
    let container = find(engine, call.name())?;
    let sizes = call.query.is_set("size");
    let size = sizes.then(|| engine.container_size(&container)).transpose()?;
    let ids = docker::NetworkIds::of(engine.store())?;
    let minor = call.version.minor;
    Ok(Reply::json(&docker::inspect(engine.store(), &container, size, &ids, minor)))
}

/// `GET /containers/{id}/top`.
pub(super) fn top(engine: &Engine, call: &mut Call) -> Result<Reply> {
    let wanted = call.query.get("ps_args").unwrap_or("-ef");
    let wanted: Vec<String> = wanted.split_whitespace().map(str::to_owned).collect();
    columns::check(&wanted)?;
    let container = find(engine, call.name())?;
    let processes = engine.processes(container.id().as_str())?;
    let (titles, rows) = columns::rows(&processes, &wanted)?;
    Ok(Reply::json(&json!({ "Titles": titles, "Processes": rows })))
}

/// `GET /containers/{id}/changes`.
pub(super) fn changes(engine: &Engine, call: &mut Call) -> Result<Reply> {
    let container = find(engine, call.name())?;
    let changes = engine.diff(DiffSubject::Container, container.id().as_str(), None)?;
    let document = |change: &crate::engine::images::Change| {
        let kind = match change.kind {
            ChangeKind::Changed => 0,
            ChangeKind::Added => 1,
            ChangeKind::Deleted => 2,
        };
        json!({ "Path": change.path.display().to_string(), "Kind": kind })
    };
    let all: Vec<Value> = changes.iter().map(document).collect();
    Ok(Reply::json(&Some(all).filter(|all| !all.is_empty())))
}

/// `GET /containers/{id}/export`.
pub(super) fn export(engine: &Engine, call: &mut Call) -> Result<Reply> {
    let container = find(engine, call.name())?;
    let mut out = Late { call, has_begun: false };
    engine.export(container.id().as_str(), &mut out)?;
    out.flush().context(|| "cannot write to the client")?;
    Ok(Reply::streamed())
}

/// An answer that begins with its first byte: what fails before that is told as an error.
struct Late<'a> {
    call: &'a mut Call,
    has_begun: bool,
}

impl Write for Late<'_> {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        if !self.has_begun {
            self.has_begun = true;
            let head = Head::new(StatusCode::OK, "application/x-tar");
            self.call.stream(head).map_err(std::io::Error::other)?;
        }
        self.call.answer().write(data)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.call.answer().flush()
    }
}

/// `GET /containers/{id}/logs`.
pub(super) fn logs(engine: &Engine, call: &mut Call) -> Result<Reply> {
    let container = find(engine, call.name())?;
    let (stdout, stderr) = (call.query.is_set("stdout"), call.query.is_set("stderr"));
    if !stdout && !stderr {
        return Err(Error::new(
            Kind::Invalid,
            "Bad parameters: you must choose at least one stream",
        ));
    }
    let now = now();
    let at = |name: &str| {
        // 0 is no bound.
        let text = call.query.get(name).filter(|text| *text != "0");
        text.map(|text| time::parse(text, now)).transpose()
    };
    let options = LogOptions {
        follow: call.query.is_set("follow"),
        tail: match call.query.get("tail") {
            None | Some("all" | "-1") => None,
            Some(text) => Some(text.parse().map_err(|_| {
                Error::new(Kind::Invalid, format!("invalid number of lines `{text}`"))
            })?),
        },
        since: at("since")?,
        until: at("until")?,
    };
    let details = match call.query.is_set("details") {
        false => String::new(),
        true => {
            let attributes = container.log_attributes()?;
            let pairs = attributes.iter().map(|(name, value)| format!("{name}={value}"));
            format!("{} ", pairs.collect::<Vec<_>>().join(","))
        }
    };
    if !container.config.settings.log.driver.is_file()
        && container.config.settings.log.driver.as_str() != "journald"
    {
        return Err(Error::new(
            Kind::Unsupported,
            "configured logging driver does not support reading",
        ));
    }
    let tty = container.config.settings.tty;
    let timestamps = call.query.is_set("timestamps");
    let out = call.stream(Head::new(StatusCode::OK, content_type(tty)))?;
    let mut writer =
        Lines { out, tty, wanted: [stdout, stderr], timestamps, details, at_start: [true; 2] };
    engine.logs(std::slice::from_ref(&container), &options, &mut writer)?;
    writer.pause()?;
    Ok(Reply::streamed())
}

/// The type of a container's output.
pub(in crate::api) fn content_type(tty: bool) -> &'static str {
    if tty { RAW } else { MULTIPLEXED }
}

struct Lines<'a> {
    out: &'a mut (dyn Answer + Send),
    tty: bool,
    wanted: [bool; 2],
    timestamps: bool,
    details: String,
    at_start: [bool; 2],
}

impl LogReader for Lines<'_> {
    fn line(&mut self, _: usize, line: &LogLine<'_>) -> Result<()> {
        let stream = usize::from(line.stream == LogStream::Stderr);
        if !self.wanted[stream] {
            return Ok(());
        }
        let mut text = Vec::with_capacity(line.text.len() + 48);
        if self.at_start[stream] {
            if self.timestamps {
                text.extend_from_slice(line.time.as_bytes());
                text.push(b' ');
            }
            text.extend_from_slice(self.details.as_bytes());
        }
        text.extend_from_slice(line.text);
        self.at_start[stream] = line.whole;
        if line.whole {
            text.push(b'\n');
        }
        let context = || "cannot write to the client";
        if !self.tty {
            let length = u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes();
            let number = u8::try_from(stream + 1).unwrap_or(1);
            let [a, b, c, d] = length;
            self.out.write_all(&[number, 0, 0, 0, a, b, c, d]).context(context)?;
        }
        self.out.write_all(&text).context(context)
    }

    fn pause(&mut self) -> Result<()> {
        self.out.flush().context(|| "cannot write to the client")
    }
}

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

/// What a container uses, in Docker's shape.
fn usage(sample: &Sample, before: Option<&Sample>) -> Value {
    const NEVER: &str = "0001-01-01T00:00:00Z";
    let runs = sample.container.state.run().is_some();
    let cpu = |sample: Option<&Sample>| {
        let Some(sample) = sample.filter(|it| it.container.state.run().is_some()) else {
            return json!({
                "cpu_usage": { "total_usage": 0, "usage_in_kernelmode": 0, "usage_in_usermode": 0 },
                "throttling_data": { "periods": 0, "throttled_periods": 0, "throttled_time": 0 },
            });
        };
        json!({
            "cpu_usage": {
                "total_usage": sample.cpu,
                "usage_in_kernelmode": sample.cpu_kernel,
                "usage_in_usermode": sample.cpu.saturating_sub(sample.cpu_kernel),
            },
            "system_cpu_usage": sample.system,
            "online_cpus": sample.processors,
            "throttling_data": { "periods": 0, "throttled_periods": 0, "throttled_time": 0 },
        })
    };
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
        "cpu_stats": cpu(Some(sample)),
        "precpu_stats": cpu(before),
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
    if runs {
        document["pids_stats"] = json!({ "current": sample.pids });
        document["memory_stats"] = json!({
            "usage": sample.memory,
            "stats": {},
            "limit": sample.memory_limit,
        });
        let blocks = |operation: &str, bytes: u64| json!({ "major": 0, "minor": 0, "op": operation, "value": bytes });
        document["blkio_stats"]["io_service_bytes_recursive"] =
            json!([blocks("read", sample.blocks.0), blocks("write", sample.blocks.1)]);
        document["networks"] = json!({ "eth0": {
            "rx_bytes": sample.network.0, "rx_packets": 0, "rx_errors": 0, "rx_dropped": 0,
            "tx_bytes": sample.network.1, "tx_packets": 0, "tx_errors": 0, "tx_dropped": 0,
        }});
    }
    document
}
