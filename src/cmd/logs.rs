//! `barge logs`

mod remote;

use clap::Args;

use super::World;
use super::containers::Selection;
use super::exit::Status;
use super::output::{self, Output};
use super::tree::Act;
use crate::engine::{Engine, LogLine, LogOptions, LogReader, LogStream};
use crate::error::Result;
use crate::remote::Host;
use crate::spec::time;
use crate::store::container::Container;

/// Show what containers have written
///
/// What a container wrote to standard error goes to standard error.
#[derive(Args, Debug)]
pub(crate) struct Logs {
    /// Show the containers' names in different colors
    #[arg(long)]
    color: bool,
    /// Show the tag, labels and variables that --log-opt chose
    #[arg(long)]
    details: bool,
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

    fn act_on(self, host: &Host, world: &mut World) -> Result<Status> {
        self.settle().show_on(host, world)
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
        let containers =
            names.iter().map(|name| engine.lookup(name)).collect::<Result<Vec<Container>>>()?;
        let shown = Shown {
            several: containers.len() > 1,
            names: self.names,
            color: self.color,
            details: self.details,
        };
        let prefixes = containers.iter().enumerate().map(|(at, it)| shown.prefix(at, it)).collect();
        let details = containers.iter().map(|it| shown.details(it)).collect::<Result<_>>()?;
        let mut printer = Printer {
            out: &mut world.out,
            prefixes,
            details,
            timestamps: self.timestamps,
            at_start: vec![[true; 2]; containers.len()],
        };
        engine.logs(&containers, &options, &mut printer)?;
        world.out.flush()?;
        for container in &containers {
            if let Some(lost) = engine.lost_of_log(container) {
                output::warning(&lost);
            }
        }
        Ok(Status::SUCCESS)
    }
}

/// Writes what tells the lines of one container from those of others; nothing for no name.
fn prefix(at: usize, name: &str, color: bool) -> String {
    // The colors and their order are Podman's.
    const COLORS: [u8; 7] = [37, 31, 33, 34, 35, 36, 32];
    match (name, color) {
        ("", _) => String::new(),
        (name, true) => format!("\x1b[{}m{name} \x1b[0m", COLORS[at % COLORS.len()]),
        (name, false) => format!("{name} "),
    }
}

/// What stands before the text of each line.
struct Shown {
    several: bool,
    names: bool,
    color: bool,
    details: bool,
}

impl Shown {
    /// Returns what tells a container's lines from those of others.
    fn prefix(&self, at: usize, container: &Container) -> String {
        let name = match (self.names, self.several) {
            (true, _) => &container.state.name,
            (false, true) => container.id().short(),
            (false, false) => "",
        };
        prefix(at, name, self.color)
    }

    /// Returns what goes with a container's lines, as Docker shows it.
    fn details(&self, container: &Container) -> Result<String> {
        if !self.details {
            return Ok(String::new());
        }
        let attributes = container.log_attributes()?;
        let pairs = attributes.iter().map(|(name, value)| format!("{name}={value}"));
        Ok(format!("{} ", pairs.collect::<Vec<_>>().join(",")))
    }
}

struct Printer<'a> {
    out: &'a mut Output,
    prefixes: Vec<String>,
    details: Vec<String>,
    timestamps: bool,
    /// Whether the next part begins a line, of either stream of each container.
    at_start: Vec<[bool; 2]>,
}

impl LogReader for Printer<'_> {
    fn line(&mut self, container: usize, line: &LogLine<'_>) -> Result<()> {
        let is_error = line.stream == LogStream::Stderr;
        let print = match is_error {
            true => Output::error_bytes,
            false => Output::bytes,
        };
        let at_start = &mut self.at_start[container][usize::from(is_error)];
        if *at_start {
            print(self.out, self.prefixes[container].as_bytes())?;
            if self.timestamps {
                print(self.out, line.time.as_bytes())?;
                print(self.out, b" ")?;
            }
            print(self.out, self.details[container].as_bytes())?;
        }
        *at_start = line.whole;
        print(self.out, line.text)?;
        if line.whole { print(self.out, b"\n") } else { Ok(()) }
    }

    fn pause(&mut self) -> Result<()> {
        self.out.flush()
    }
}
