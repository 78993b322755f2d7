//! `GET /images/…/get` and `POST /images/load`: images as archives.

use std::io::{self, BufReader, Write};

use hyper::StatusCode;
use serde_json::json;

use crate::api::lines::Lines;
use crate::api::names;
use crate::api::reply::{Head, Reply};
use crate::api::request::Call;
use crate::engine::Engine;
use crate::engine::images::{
    self, ArchiveSource, Form, LoadOptions, SaveFormat, SaveTarget, Silent,
};
use crate::error::{Error, Kind, Result};
use crate::spec::compression::Compression;
use crate::spec::platform::Platform;

/// Bytes that are read or written at a time.
const CHUNK: usize = 256 << 10;

pub(super) fn save(engine: &Engine, call: &mut Call) -> Result<Reply> {
    write(engine, call, vec![call.name().to_owned()])
}

pub(super) fn save_several(engine: &Engine, call: &mut Call) -> Result<Reply> {
    let words = call.query.all("names").map(str::to_owned).collect();
    write(engine, call, words)
}

fn write(engine: &Engine, call: &mut Call, words: Vec<String>) -> Result<Reply> {
    let store = engine.store();
    let mut wanted = Vec::new();
    for word in &words {
        let name = names::image(store, word)?;
        // As long as an answer of its own can say so.
        store.images().lookup(&name).map_err(|error| names::unknown(word, error))?;
        wanted.push(name);
    }
    if wanted.is_empty() {
        return Err(Error::new(Kind::Invalid, "no image is named"));
    }
    let form = Form { compression: Some(Compression::None), ..Form::default() };
    let out = call.stream(Head::new(StatusCode::OK, "application/x-tar"))?;
    let mut out = io::BufWriter::with_capacity(CHUNK, out);
    let target = SaveTarget::Stream(&mut out);
    images::save(store, &wanted, true, SaveFormat::DockerArchive, &form, target, &Silent)?;
    let sent = out.flush();
    drop(out);
    sent.map_err(|error| {
        Error::new(Kind::Unavailable, "cannot write to the client").caused_by(error)
    })?;
    Ok(Reply::streamed())
}

pub(super) fn load(engine: &Engine, call: &mut Call) -> Result<Reply> {
    let options = LoadOptions { platform: platform(call)?, signature_policy: None };
    let body = Box::new(BufReader::with_capacity(CHUNK, call.take_body()));
    let loaded = images::load(engine.store(), ArchiveSource::Stream(body), &options, &Silent)?;
    let lines = Lines::new(call);
    for named in loaded {
        if named.names.is_empty() {
            lines.write(&json!({ "stream": format!("Loaded image ID: {}\n", named.image.id) }));
        }
        for name in named.names {
            lines.write(&json!({ "stream": format!("Loaded image: {}\n", name.familiar()) }));
        }
    }
    lines.end(Ok(()))
}

/// Reads a platform that is written as text, or as JSON since 1.48.
fn platform(call: &Call) -> Result<Option<Platform>> {
    #[derive(serde::Deserialize)]
    struct Written {
        #[serde(default)]
        os: String,
        #[serde(default)]
        architecture: String,
        #[serde(default)]
        variant: String,
    }
    match call.query.get("platform") {
        Some(text) if text.starts_with('{') => {
            let Some(Written { os, architecture, variant }) = call.query.json("platform")? else {
                return Ok(None);
            };
            let parts = [os, architecture, variant].into_iter().filter(|part| !part.is_empty());
            parts.collect::<Vec<_>>().join("/").parse().map(Some)
        }
        _ => call.query.parse("platform"),
    }
}
