//! The progress of pulls and pushes, as Docker's clients draw it: a line for each layer.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::api::lines::Lines;
use crate::engine::images::{Progress, ProgressEvent};
use crate::spec::size::HumanSize;

/// Time between two lines about one layer.
const PAUSE: Duration = Duration::from_millis(100);

/// Which way layers go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::api) enum Way {
    /// From a registry.
    In,
    /// To a registry.
    Out,
}

/// Tells of layers as they go.
pub(in crate::api) struct Layers<'a, 'b> {
    lines: &'a Lines<'b>,
    way: Way,
    /// What is said when the first of them is known.
    first: Option<Value>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    has_begun: bool,
    /// When something was said about a layer last.
    layers: BTreeMap<String, Instant>,
}

impl<'a, 'b> Layers<'a, 'b> {
    pub(in crate::api) fn new(lines: &'a Lines<'b>, way: Way, first: Option<Value>) -> Self {
        Self { lines, way, first, state: Mutex::default() }
    }

    /// Says what comes first, if nothing was said yet.
    pub(in crate::api) fn begin(&self) {
        self.begun(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn begun(&self, state: &mut State) {
        if !std::mem::replace(&mut state.has_begun, true)
            && let Some(first) = &self.first
        {
            self.lines.write(first);
        }
    }

    fn say(&self, digest: &str, status: &str) {
        self.lines.write(&json!({
            "status": status,
            "progressDetail": {},
            "id": short(digest),
        }));
    }

    fn layer(&self, state: &mut State, digest: &str, (done, total): (u64, u64)) {
        let now = Instant::now();
        match state.layers.get_mut(digest) {
            Some(last) if now.duration_since(*last) < PAUSE => return,
            Some(last) => *last = now,
            None => {
                state.layers.insert(digest.to_owned(), now);
                self.say(
                    digest,
                    if self.way == Way::In { "Pulling fs layer" } else { "Preparing" },
                );
            }
        }
        let mut detail = json!({ "current": done });
        if total > 0 {
            detail["total"] = total.into();
        }
        self.lines.write(&json!({
            "status": if self.way == Way::In { "Downloading" } else { "Pushing" },
            "progressDetail": detail,
            "progress": bar(done, total),
            "id": short(digest),
        }));
    }
}

impl Progress for Layers<'_, '_> {
    fn update(&self, event: ProgressEvent<'_>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            // Nobody knows yet whether there is such an image.
            ProgressEvent::Resolved(_) | ProgressEvent::Trying(_) => return,
            _ => self.begun(&mut state),
        }
        match event {
            ProgressEvent::Present(layer) => self.say(layer.0.as_str(), "Already exists"),
            ProgressEvent::Skipped(digest) => self.say(
                digest.as_str(),
                if self.way == Way::In { "Already exists" } else { "Layer already exists" },
            ),
            ProgressEvent::Waiting(digest) => self.say(digest.as_str(), "Waiting"),
            ProgressEvent::Layer { digest, done, total } => {
                self.layer(&mut state, digest.as_str(), (done, total));
            }
            ProgressEvent::LayerDone(digest) => {
                if self.way == Way::In {
                    self.say(digest.as_str(), "Download complete");
                }
                let word = if self.way == Way::In { "Pull complete" } else { "Pushed" };
                self.say(digest.as_str(), word);
            }
            ProgressEvent::Warning(text) => self.lines.write(&json!({ "status": text })),
            ProgressEvent::Resolved(_)
            | ProgressEvent::Trying(_)
            | ProgressEvent::Layers(_)
            | ProgressEvent::Config(_)
            | ProgressEvent::Recording => {}
        }
    }
}

/// Returns as many digits of a digest as Docker shows.
fn short(digest: &str) -> &str {
    let digits = digest.strip_prefix("sha256:").unwrap_or(digest);
    digits.get(..12).unwrap_or(digits)
}

/// Draws a bar, for clients that cannot.
fn bar(done: u64, total: u64) -> String {
    const WIDTH: u64 = 50;
    if total == 0 {
        return HumanSize(done).to_string();
    }
    let filled = u128::from(done.min(total)) * u128::from(WIDTH) / u128::from(total);
    let filled = usize::try_from(filled).unwrap_or_default();
    let mut text = "[".to_owned() + &"=".repeat(filled);
    text.push(if done < total { '>' } else { '=' });
    let room = (WIDTH as usize).saturating_sub(filled);
    let _ = write!(text, "{}]  {}/{}", " ".repeat(room), HumanSize(done), HumanSize(total));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_bars() {
        assert_eq!(bar(0, 0), "0B");
        let half = format!("[{}>{}]  500B/1kB", "=".repeat(25), " ".repeat(25));
        assert_eq!(bar(500, 1000), half);
        assert!(bar(2000, 1000).starts_with(&format!("[{}]", "=".repeat(51))));
        assert_eq!(short("sha256:0123456789abcdef"), "0123456789ab");
    }
}
