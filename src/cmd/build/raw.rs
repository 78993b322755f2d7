//! `--progress rawjson`: how a build goes on, for programs, in the words of BuildKit's clients.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::build::{Listener, StepEnd, StepName};
use crate::cmd::{now, output};
use crate::spec::time;
use crate::store::blob::digest_of;

/// Writes a document for everything that happens, one a line, to standard error.
#[derive(Debug, Default)]
pub(super) struct Raw {
    started: Mutex<BTreeMap<StepName, String>>,
}

impl Raw {
    fn vertex(&self, step: &StepName) -> Value {
        let mut name = String::new();
        if let Some(platform) = &step.platform {
            name = format!("{platform} ");
        }
        let stage = step.stage_name.clone().unwrap_or_else(|| format!("stage-{}", step.stage));
        let StepName { number, count, text, .. } = step;
        let started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        json!({
            "digest": digest(step),
            "name": format!("[{name}{stage} {number}/{count}] {text}"),
            "started": started.get(step),
        })
    }
}

/// Returns what a step is called among programs.
fn digest(step: &StepName) -> String {
    digest_of(format!("{step:?}").as_bytes()).to_string()
}

fn say(document: &Value) {
    output::complain(&format!("{document}\n"));
}

fn stamp() -> String {
    time::rfc3339_short(now())
}

impl Listener for Raw {
    fn begin(&self, step: &StepName) {
        let mut started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        started.insert(step.clone(), stamp());
        drop(started);
        say(&json!({ "vertexes": [self.vertex(step)] }));
    }

    fn line(&self, _: &StepName, _: &str) {}

    fn output(&self, step: &StepName, bytes: &[u8]) {
        let data = BASE64_STANDARD.encode(bytes);
        let log =
            json!({ "vertex": digest(step), "stream": 1, "data": data, "timestamp": stamp() });
        say(&json!({ "logs": [log] }));
    }

    fn end(&self, step: &StepName, end: StepEnd<'_>) {
        let mut vertex = self.vertex(step);
        vertex["completed"] = json!(stamp());
        match end {
            StepEnd::Done => {}
            StepEnd::Cached => vertex["cached"] = json!(true),
            StepEnd::Failed(error) => vertex["error"] = json!(error.to_string()),
        }
        say(&json!({ "vertexes": [vertex] }));
    }

    fn warning(&self, text: &str) {
        say(&json!({ "warnings": [{ "short": BASE64_STANDARD.encode(text) }] }));
    }
}
