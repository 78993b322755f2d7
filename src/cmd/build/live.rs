//! `--progress tty`: the steps of a build and their times, drawn anew all the time.
//!
//! A step that goes on shows the last lines of its output below it; what a step has printed that fails is
//! printed at the end.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::build::{Listener, StepEnd, StepName};
use crate::cmd::output;
use crate::engine::images::{Progress, ProgressEvent};
use crate::spec::size::HumanSize;
use crate::sys::terminal;

/// Time between two drawings.
const PAUSE: Duration = Duration::from_millis(100);
/// Lines of output that are shown below a step that goes on.
const SHOWN: usize = 6;
/// Bytes of a step's output that are kept for the case that it fails: the last of them.
const KEPT: usize = 64 << 10;

/// Tells whether there is a terminal to draw on.
pub(super) fn is_possible() -> bool {
    [rustix::stdio::stdout(), rustix::stdio::stderr()].iter().all(rustix::termios::isatty)
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Draws how a build goes on until it is finished.
#[derive(Debug)]
pub(super) struct Live {
    state: Arc<Mutex<State>>,
    /// It draws from the first step on: before, nobody else may have a thread.
    drawing: Mutex<Option<Drawing>>,
}

/// A thread that draws.
#[derive(Debug)]
struct Drawing {
    /// When it is dropped, the thread ends.
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

#[derive(Debug)]
struct State {
    began: Instant,
    steps: Vec<Step>,
    pulls: Vec<Pull>,
    /// Lines that were drawn and will be drawn over.
    drawn: usize,
    last: Instant,
}

#[derive(Debug)]
struct Step {
    name: StepName,
    began: Instant,
    end: Option<(Duration, How)>,
    /// Its last lines; one that is not complete yet is the last.
    tail: VecDeque<String>,
    /// What it has printed, or the last of that.
    log: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Done,
    Cached,
    Failed,
}

/// An image that is got from somewhere else.
#[derive(Debug)]
struct Pull {
    name: String,
    began: Instant,
    took: Option<Duration>,
    /// Bytes that have come, and bytes in all, of each layer.
    layers: BTreeMap<String, (u64, u64)>,
}

impl Live {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        let state = State { began: now, steps: vec![], pulls: vec![], drawn: 0, last: now };
        Self { state: Arc::new(Mutex::new(state)), drawing: Mutex::new(None) }
    }

    /// Draws the end of the build, and prints what a step has printed that has failed.
    pub(super) fn finish(&self, has_worked: bool) {
        let drawing = self.drawing.lock().unwrap_or_else(PoisonError::into_inner).take();
        drawing.into_iter().for_each(Drawing::end);
        let mut state = lock(&self.state);
        state.draw(Some(has_worked));
        for step in &state.steps {
            if let (Some((_, How::Failed)), false) = (&step.end, step.log.is_empty()) {
                let rule = "------";
                let log = String::from_utf8_lossy(&step.log);
                let name = shown_name(&step.name);
                output::complain(&format!("{rule}\n > {name}:\n{}\n{rule}\n", log.trim_end()));
            }
        }
    }

    /// Begins to draw, unless that goes on already.
    fn begin_drawing(&self) {
        let mut drawing = self.drawing.lock().unwrap_or_else(PoisonError::into_inner);
        if drawing.is_some() {
            return;
        }
        let (stop, stopped) = channel::<()>();
        let state = Arc::clone(&self.state);
        let draw = move || {
            while stopped.recv_timeout(PAUSE) == Err(RecvTimeoutError::Timeout) {
                lock(&state).draw(None);
            }
        };
        // Without it, the end is drawn all the same.
        let thread = std::thread::Builder::new().name("progress".to_owned()).spawn(draw);
        *drawing = thread.ok().map(|thread| Drawing { stop, thread });
    }

    fn on_step(&self, name: &StepName, change: impl FnOnce(&mut Step)) {
        let mut state = lock(&self.state);
        // Most often it is the last one.
        if let Some(step) = state.steps.iter_mut().rev().find(|step| step.name == *name) {
            change(step);
        }
    }
}

impl Drawing {
    fn end(self) {
        drop(self.stop);
        drop(self.thread.join());
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    fn draw(&mut self, end: Option<bool>) {
        let size = terminal::size(rustix::stdio::stderr()).unwrap_or((24, 80));
        let (rows, columns) = (usize::from(size.0).max(4), usize::from(size.1).max(40));
        // What scrolls out of sight could not be drawn over; at the end it need not be.
        let most = if end.is_some() { usize::MAX } else { rows - 1 };
        let lines = self.lines(Instant::now(), columns - 1, most, end);
        let mut text = self.erase();
        for line in &lines {
            let _ = writeln!(text, "{line}");
        }
        self.drawn = if end.is_some() { 0 } else { lines.len() };
        self.last = Instant::now();
        output::complain(&text);
    }

    /// Goes back over what was drawn.
    fn erase(&mut self) -> String {
        match std::mem::take(&mut self.drawn) {
            0 => String::new(),
            lines => format!("\x1b[{lines}A\x1b[J"),
        }
    }

    /// Returns what is to be seen: so many lines at most, each of so many columns at most.
    fn lines(&self, now: Instant, columns: usize, most: usize, end: Option<bool>) -> Vec<String> {
        let done = self.steps.iter().filter(|step| step.end.is_some()).count();
        // Of stages that have not begun, nobody knows yet whether they are needed.
        let mut counts = BTreeMap::new();
        for step in &self.steps {
            counts.insert((&step.name.platform, step.name.stage), step.name.count);
        }
        let count: usize = counts.values().sum();
        let word = match end {
            None => "",
            Some(true) => " FINISHED",
            Some(false) => " FAILED",
        };
        let title = format!("[+] Building {} ({done}/{count}){word}", seconds(now - self.began));
        let mut blocks: Vec<(bool, Vec<String>)> = Vec::new();
        for pull in &self.pulls {
            let (come, all) = pull
                .layers
                .values()
                .fold((0, 0), |(come, all), layer| (come + layer.0, all + layer.1));
            let sizes = match pull.took {
                None if all > 0 => format!(" {} / {}", HumanSize(come), HumanSize(all)),
                _ => String::new(),
            };
            let took = pull.took.unwrap_or_else(|| now - pull.began);
            let text = format!(" => pull {}{sizes}", pull.name);
            blocks.push((pull.took.is_some(), vec![with_time(&text, took, columns)]));
        }
        for step in &self.steps {
            let word = match step.end {
                Some((_, How::Cached)) => "CACHED ",
                Some((_, How::Failed)) => "ERROR ",
                Some((_, How::Done)) | None => "",
            };
            let took = step.end.map_or_else(|| now - step.began, |(took, _)| took);
            let text = format!(" => {word}{}", shown_name(&step.name));
            let mut lines = vec![with_time(&text, took, columns)];
            if step.end.is_none() && end.is_none() {
                let shown = step.tail.iter().filter(|line| !line.is_empty());
                let room = columns.saturating_sub(7);
                lines.extend(shown.map(|line| format!(" => => {}", fitting(line, room))));
            }
            blocks.push((step.end.is_some(), lines));
        }
        // Where there is no room, what is done goes first, and then output.
        let mut more =
            (1 + blocks.iter().map(|(_, lines)| lines.len()).sum::<usize>()).saturating_sub(most);
        blocks.retain(|(is_done, _)| {
            let goes = *is_done && more > 0;
            more -= usize::from(goes);
            !goes
        });
        for (_, lines) in &mut blocks {
            let less = more.min(lines.len() - 1);
            lines.truncate(lines.len() - less);
            more -= less;
        }
        blocks.truncate(blocks.len().saturating_sub(more));
        std::iter::once(title).chain(blocks.into_iter().flat_map(|(_, lines)| lines)).collect()
    }
}

impl Step {
    fn print(&mut self, bytes: &[u8]) {
        self.log.extend_from_slice(bytes);
        let more = self.log.len().saturating_sub(KEPT);
        self.log.drain(..more);
        let text = String::from_utf8_lossy(bytes);
        let mut parts = text.split('\n');
        let first = parts.next().unwrap_or_default();
        match self.tail.back_mut() {
            Some(last) => last.push_str(first),
            None => self.tail.push_back(first.to_owned()),
        }
        for part in parts {
            self.tail.push_back(part.to_owned());
            // The last one is not complete.
            if self.tail.len() > SHOWN + 1 {
                self.tail.pop_front();
            }
        }
    }
}

fn shown_name(step: &StepName) -> String {
    let mut place = String::new();
    if let Some(platform) = &step.platform {
        place = format!("{platform} ");
    }
    if step.stages > 1 {
        let unnamed = || format!("stage-{}", step.stage);
        place.push_str(&step.stage_name.clone().unwrap_or_else(unnamed));
        place.push(' ');
    }
    let StepName { number, count, text, .. } = step;
    format!("[{place}{number}/{count}] {text}")
}

fn seconds(time: Duration) -> String {
    format!("{:.1}s", time.as_secs_f64())
}

/// Puts a time at the right end of a line.
fn with_time(text: &str, time: Duration, columns: usize) -> String {
    let time = seconds(time);
    let room = columns.saturating_sub(time.len() + 1);
    format!("{:<room$} {time}", fitting(text, room))
}

/// Makes a line fit; nothing of it moves the cursor.
fn fitting(text: &str, columns: usize) -> String {
    // What a carriage return has written over is not seen.
    let text = text.trim_end_matches('\r');
    let seen = text.rsplit('\r').next().unwrap_or(text).replace('\t', "    ");
    seen.chars().filter(|letter| !letter.is_control()).take(columns).collect()
}

impl Listener for Live {
    fn begin(&self, name: &StepName) {
        let (name, began) = (name.clone(), Instant::now());
        let step = Step { name, began, end: None, tail: VecDeque::new(), log: Vec::new() };
        lock(&self.state).steps.push(step);
        self.begin_drawing();
    }

    fn line(&self, name: &StepName, text: &str) {
        // What became of it is seen; why is not.
        if !text.starts_with("--> ") || text.contains("cached: ") || text.contains("failed") {
            self.on_step(name, |step| step.print(format!("{text}\n").as_bytes()));
        }
    }

    fn output(&self, name: &StepName, bytes: &[u8]) {
        self.on_step(name, |step| step.print(bytes));
    }

    fn end(&self, name: &StepName, end: StepEnd<'_>) {
        let how = match end {
            StepEnd::Done => How::Done,
            StepEnd::Cached => How::Cached,
            StepEnd::Failed(_) => How::Failed,
        };
        self.on_step(name, |step| step.end = Some((step.began.elapsed(), how)));
    }

    fn warning(&self, text: &str) {
        let mut state = lock(&self.state);
        output::complain(&state.erase());
        output::warning(text);
    }

    fn leave_terminal(&self, other: &mut dyn FnMut()) {
        let mut state = lock(&self.state);
        // What is there stays, and is not drawn over.
        state.draw(None);
        state.drawn = 0;
        other();
    }
}

impl Progress for Live {
    fn update(&self, event: ProgressEvent<'_>) {
        if let ProgressEvent::Warning(text) = event {
            return self.warning(text);
        }
        let mut state = lock(&self.state);
        if let ProgressEvent::Trying(name) = event {
            let (name, began) = (name.to_string(), Instant::now());
            state.pulls.push(Pull { name, began, took: None, layers: BTreeMap::new() });
        }
        let Some(pull) = state.pulls.last_mut() else { return };
        match event {
            ProgressEvent::Layer { digest, done, total } => {
                pull.layers.insert(digest.to_string(), (done, total.max(done)));
            }
            ProgressEvent::Recording => pull.took = Some(pull.began.elapsed()),
            _ => {}
        }
        if state.last.elapsed() >= PAUSE {
            state.draw(None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(stage: usize, number: usize, text: &str) -> StepName {
        let (stages, count, text) = (2, 3, text.to_owned());
        StepName { stage, stages, number, count, text, ..StepName::default() }
    }

    #[test]
    fn draws_steps() {
        let began = Instant::now();
        let mut steps = Vec::new();
        for (stage, number, text, end) in [
            (0, 1, "FROM a", Some((Duration::from_millis(40), How::Done))),
            (0, 2, "COPY x y", Some((Duration::ZERO, How::Cached))),
            (1, 2, "RUN make a lot of noise, and then some more", None),
        ] {
            let name = name(stage, number, text);
            let (tail, log) = (VecDeque::new(), Vec::new());
            steps.push(Step { name, began, end, tail, log });
        }
        for number in 0..10 {
            steps[2].print(format!("line {number}\nhal").as_bytes());
            steps[2].print(b"f\n");
        }
        steps[2].print(b"50%\r100%");
        let state = State { began, steps, pulls: Vec::new(), drawn: 0, last: began };
        let now = began + Duration::from_millis(1500);
        let lines = state.lines(now, 40, 100, None);
        let want = [
            "[+] Building 1.5s (2/6)",
            " => [stage-0 1/3] FROM a            0.0s",
            " => CACHED [stage-0 2/3] COPY x y   0.0s",
            " => [stage-1 2/3] RUN make a lot of 1.5s",
            " => => line 7",
        ];
        assert_eq!(lines[..4], want[..4]);
        assert_eq!(lines.last().map(String::as_str), Some(" => => 100%"));
        assert!(lines.contains(&want[4].to_owned()), "{lines:?}");
        assert!(lines.iter().all(|line| line.chars().count() <= 40), "{lines:?}");
        // Where there is no room, what is done goes first.
        let few = state.lines(now, 40, lines.len() - 1, None);
        assert!(!few.contains(&lines[1]), "{few:?}");
        assert!(few.contains(&lines[3]), "{few:?}");
        assert_eq!(state.lines(now, 40, 3, None), [&*lines[0], &lines[3], &lines[4]]);
        assert_eq!(state.lines(now, 40, 1, None).len(), 1);
        // At the end nobody looks at what went on.
        let last = state.lines(now, 40, usize::MAX, Some(false));
        assert_eq!(last.len(), 4);
        assert!(last[0].ends_with("FAILED"), "{last:?}");
    }

    #[test]
    fn nothing_moves_the_cursor() {
        for (text, want) in [
            ("a\tb", "a    b"),
            ("\x1b[31mred", "[31mred"),
            ("abc\rd\r", "d"),
            ("äöü12345", "äöü1234"),
        ] {
            assert_eq!(fitting(text, 7), want, "{text:?}");
        }
    }
}
