//! Endpoints that look at one container.

use std::io::Write;

use hyper::StatusCode;
use serde_json::{Value, json};

use super::find;
use crate::api::model::{docker, top as columns};
use crate::api::reply::{Head, Reply};
use crate::api::request::{Answer, Call};
use crate::engine::images::ChangeKind;
use crate::engine::{DiffSubject, Engine, LogLine, LogOptions, LogReader, LogStream, now};
use crate::error::{Context, Error, Kind, Result};
use crate::spec::time;

/// A stream of a terminal, or of anything else that is not in frames.
pub(in crate::api) const RAW: &str = "application/vnd.docker.raw-stream";
/// A stream of frames, each of one of the outputs.
pub(in crate::api) const MULTIPLEXED: &str = "application/vnd.docker.multiplexed-stream";

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
