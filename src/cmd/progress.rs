//! How far a long operation is: bars on a terminal, plain lines elsewhere.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::answers::{bytes, text};
use super::output;
use crate::engine::images::{Progress, ProgressEvent};
use crate::error::{Error, Kind, Result};
use crate::spec::size::HumanSize;
use crate::sys::terminal;

/// Time between two drawings.
const PAUSE: Duration = Duration::from_millis(100);

/// Shows progress on standard error.
#[derive(Debug)]
pub(crate) struct Display {
    quiet: bool,
    /// Columns of the terminal; `None` if there is none to draw on.
    columns: Option<usize>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    layers: BTreeMap<String, Layer>,
    /// Lines that were drawn and will be drawn over.
    drawn: usize,
    last: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
enum Layer {
    Arriving { done: u64, total: u64 },
    Done,
}

impl Display {
    /// Makes a display; a quiet one shows warnings only.
    pub(crate) fn new(quiet: bool) -> Self {
        let stderr = rustix::stdio::stderr();
        let drawable = !quiet
            && rustix::termios::isatty(stderr)
            && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let columns = terminal::size(stderr).map(|(_, columns)| usize::from(columns).max(40));
        Self { quiet, columns: columns.filter(|_| drawable), state: Mutex::default() }
    }

    /// Draws the last state, and leaves it there.
    pub(crate) fn finish(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.draw(&mut state, true);
        state.drawn = 0;
        state.layers.clear();
    }

    /// Shows what a service of Docker's API tells of its pulls and pushes, line by line; one may be an error.
    pub(crate) fn hear(&self, line: &Value) -> Result<()> {
        if let Some(text) = line["error"].as_str() {
            let text = line["errorDetail"]["message"].as_str().unwrap_or(text);
            return Err(Error::new(Kind::Unavailable, text));
        }
        let (status, id) = (text(line, "status"), text(line, "id"));
        if self.quiet || status.is_empty() {
            return Ok(());
        }
        let detail = &line["progressDetail"];
        match status {
            "Pulling fs layer" | "Preparing" | "Waiting" | "Downloading" | "Extracting"
            | "Pushing" | "Verifying Checksum" => {
                let (done, total) = (bytes(detail, "current"), bytes(detail, "total"));
                self.layer(id, Layer::Arriving { done, total });
            }
            "Download complete" | "Pull complete" | "Pushed" => self.layer(id, Layer::Done),
            "Already exists" | "Layer already exists" => {
                self.line(&format!("Copying blob {id} skipped: already exists"));
            }
            status if id.is_empty() => self.line(status),
            status => self.line(&format!("{id}: {status}")),
        }
        Ok(())
    }

    /// Prints a line above the bars.
    fn line(&self, text: &str) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lines = erase(&mut state);
        lines.push_str(text);
        lines.push('\n');
        output::complain(&lines);
        self.draw(&mut state, true);
    }

    fn draw(&self, state: &mut State, now: bool) {
        let Some(columns) = self.columns else { return };
        if !now && state.last.is_some_and(|last| last.elapsed() < PAUSE) {
            return;
        }
        let mut text = erase(state);
        for (digest, layer) in &state.layers {
            let _ = writeln!(text, "{}", bar(digest, *layer, columns));
        }
        state.drawn = state.layers.len();
        state.last = Some(Instant::now());
        output::complain(&text);
    }

    fn layer(&self, digest: &str, layer: Layer) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = state.layers.insert(digest.to_owned(), layer).is_none();
        if self.columns.is_some() {
            self.draw(&mut state, is_new || matches!(layer, Layer::Done));
        } else if is_new && !self.quiet {
            output::note(&format!("Copying blob {digest}"));
        }
    }
}

/// Goes back over what was drawn.
fn erase(state: &mut State) -> String {
    match std::mem::take(&mut state.drawn) {
        0 => String::new(),
        // Up so many lines, and clear to the end of the screen.
        lines => format!("\x1b[{lines}A\x1b[J"),
    }
}

fn bar(digest: &str, layer: Layer, columns: usize) -> String {
    let short = digest.strip_prefix("sha256:").unwrap_or(digest);
    let short = short.get(..12).unwrap_or(short);
    let (done, total) = match layer {
        Layer::Done => return format!("Copying blob {short} done"),
        Layer::Arriving { done, total } => (done, total),
    };
    let sizes = match total {
        0 => HumanSize(done).to_string(),
        total => format!("{} / {}", HumanSize(done), HumanSize(total)),
    };
    // What is left beside the words, the brackets and the spaces.
    let width = columns.saturating_sub(13 + 12 + 4 + sizes.len() + 1).min(40);
    let filled = match total {
        0 => 0,
        total => usize::try_from(u128::from(done.min(total)) * width as u128 / u128::from(total))
            .unwrap_or(width),
    };
    let (full, empty) = ("=".repeat(filled), " ".repeat(width - filled));
    format!("Copying blob {short} [{full}{empty}] {sizes}")
}

impl Progress for Display {
    fn update(&self, event: ProgressEvent<'_>) {
        match event {
            ProgressEvent::Warning(text) => self.line(&format!("Warning: {text}")),
            _ if self.quiet => {}
            ProgressEvent::Resolved(reason) => self.line(reason),
            ProgressEvent::Trying(name) => self.line(&format!("Trying to pull {name}...")),
            ProgressEvent::Layers(_) => {}
            ProgressEvent::Present(layer) => {
                self.line(&format!("Copying blob {layer} skipped: already exists"));
            }
            ProgressEvent::Skipped(digest) => {
                self.line(&format!("Copying blob {digest} skipped: already exists"));
            }
            ProgressEvent::Waiting(layer) => {
                self.line(&format!(
                    "Copying blob {layer} waits: another command is downloading it"
                ));
            }
            ProgressEvent::Layer { digest, done, total } => {
                self.layer(digest.as_str(), Layer::Arriving { done, total });
            }
            ProgressEvent::LayerDone(digest) => self.layer(digest.as_str(), Layer::Done),
            ProgressEvent::Config(digest) => self.line(&format!("Copying config {digest}")),
            ProgressEvent::Recording => self.line("Writing manifest to image destination"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_bars() {
        let digest = "sha256:0123456789abcdef";
        let half = Layer::Arriving { done: 500, total: 1000 };
        let drawn = bar(digest, half, 60);
        assert_eq!(drawn, "Copying blob 0123456789ab [==========          ] 500B / 1kB");
        assert!(drawn.len() <= 60, "a line that wraps could not be drawn over");
        assert_eq!(bar(digest, Layer::Done, 60), "Copying blob 0123456789ab done");
        let unknown = Layer::Arriving { done: 5, total: 0 };
        assert!(bar(digest, unknown, 60).ends_with("] 5B"));
        let beyond = Layer::Arriving { done: 50, total: 5 };
        assert!(bar(digest, beyond, 10).contains("[]"));
    }
}
