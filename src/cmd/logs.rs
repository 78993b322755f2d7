//! `barge logs`

use clap::Args;

use super::World;
use super::containers::Selection;
use super::exit::Status;
use super::output::Output;
use super::tree::Act;
use crate::engine::{Engine, LogLine, LogOptions, LogStream};
use crate::error::{Error, Kind, Result};
use crate::spec::time;

/// Show what containers have written
///
/// What a container wrote to standard error goes to standard error.
#[derive(Args, Debug)]
pub(crate) struct Logs {
    /// Go on with what is written from now on
    #[arg(short, long)]
    follow: bool,
    /// The container that was created last
    #[arg(short, long)]
    latest: bool,
    /// With a number as --tail, without one as --names
    #[arg(short, value_name = "NUMBER")]
    n: Option<Option<String>>,
    /// Show names before the lines of several containers
    #[arg(long)]
    names: bool,
    /// Nothing before this time, as in 10m
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only so many lines from the end, or all
    #[arg(long, value_name = "NUMBER", value_parser = lines)]
    tail: Option<Tail>,
    /// Show when each line was written
    #[arg(short, long)]
    timestamps: bool,
    /// Nothing after this time
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Containers, by name or ID
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// How many lines; `None` is all of them.
#[derive(Clone, Copy, Debug)]
struct Tail(Option<u64>);

fn lines(text: &str) -> Result<Tail, &'static str> {
    match text {
        "all" | "-1" => Ok(Tail(None)),
        text => text.parse().map(|count| Tail(Some(count))).map_err(|_| "it is not a number"),
    }
}

impl Logs {
    /// Gives `-n` its meaning: Docker's if a number follows, else Podman's.
    fn settle(mut self) -> Self {
        match self.n.take() {
            None => {}
            Some(Some(word)) if lines(&word).is_ok() => self.tail = lines(&word).ok(),
            Some(word) => {
                self.names = true;
                // It was no value but the first container.
                self.containers.splice(0..0, word);
            }
        }
        self
    }
}

impl Act for Logs {
    fn act(self, world: &mut World) -> Result<Status> {
        let this = self.settle();
        let engine = world.engine()?;
        this.show(world, &engine)
    }
}

impl Logs {
    fn show(self, world: &mut World, engine: &Engine) -> Result<Status> {
        let now = super::now();
        let time =
            |text: &Option<String>| text.as_deref().map(|text| time::parse(text, now)).transpose();
        let options = LogOptions {
            follow: self.follow,
            tail: self.tail.and_then(|tail| tail.0),
            since: time(&self.since)?,
            until: time(&self.until)?,
        };
        let selection = Selection::named(self.containers, self.latest);
        let names = selection.chosen(engine, Vec::new())?;
        if self.follow && names.len() > 1 {
            return Err(Error::new(Kind::Unsupported, "cannot follow several containers at once")
                .hint("run one `barge logs --follow` for each"));
        }
        for name in &names {
            let prefix = match names.len() {
                1 => String::new(),
                _ => {
                    let container = engine.lookup(name)?;
                    let shown =
                        if self.names { &container.state.name } else { container.id().short() };
                    format!("{shown} ")
                }
            };
            let mut printer = Printer {
                out: &mut world.out,
                prefix,
                timestamps: self.timestamps,
                at_start: [true; 2],
            };
            engine.logs(name, &options, &mut |line| {
                printer.print(line)?;
                if self.follow { printer.out.flush() } else { Ok(()) }
            })?;
        }
        Ok(Status::SUCCESS)
    }
}

struct Printer<'a> {
    out: &'a mut Output,
    prefix: String,
    timestamps: bool,
    /// Whether the next part begins a line, of either stream.
    at_start: [bool; 2],
}

impl Printer<'_> {
    fn print(&mut self, line: &LogLine<'_>) -> Result<()> {
        let at_start = &mut self.at_start[usize::from(line.stream == LogStream::Stderr)];
        let mut text = Vec::with_capacity(line.text.len() + 48);
        if *at_start {
            text.extend_from_slice(self.prefix.as_bytes());
            if self.timestamps {
                text.extend_from_slice(line.time.as_bytes());
                text.push(b' ');
            }
        }
        *at_start = line.whole;
        text.extend_from_slice(line.text);
        if line.whole {
            text.push(b'\n');
        }
        match line.stream {
            LogStream::Stdout => self.out.bytes(&text),
            LogStream::Stderr => self.out.error_bytes(&text),
        }
    }
}
