//! The tree of commands: how they are defined, found and run.
//!
//! Start-up time is a budget, and building the definition of all commands would cost most of it.
//! So the tree is constant data with functions in it, each level of the command line is parsed by
//! itself, and only the command that is asked for is built. Man pages and completions build all.

use std::ffi::OsString;

use clap::{ArgMatches, Args, Command};

use super::exit::Status;
use super::{World, help, host, parse};
use crate::error::{Error, Kind, Result};
use crate::remote::Host;
use crate::spec::closest::closest;

/// What a command does with its arguments.
pub(crate) trait Act: Args {
    /// Whether it is about this machine, whatever host the flags and the environment name.
    const IS_LOCAL: bool = false;

    /// Why it cannot be done on another host: half a sentence.
    const ONLY_HERE: &'static str = "Docker's API has nothing like it";

    /// Does it; returns the exit status unless it is an error.
    fn act(self, world: &mut World) -> Result<Status>;

    /// Does it on another host.
    fn act_on(self, host: &Host, world: &mut World) -> Result<Status> {
        let _ = host;
        Err(host::absent(&world.command, Self::ONLY_HERE))
    }
}

/// A command or a group of commands.
pub(crate) enum Node {
    /// A command that does something.
    Verb(Verb),
    /// A word before further commands, as `image` in `image ls`.
    Group(Group),
}

/// A command that does something.
pub(crate) struct Verb {
    names: &'static [&'static str],
    /// What follows its name in a usage line.
    usage: &'static str,
    define: fn(Command) -> Command,
    act: fn(&mut ArgMatches, &mut World) -> Result<Status>,
}

/// What flags between a group's word and its command do.
pub(crate) trait Before: Args + Default {
    /// Takes them; returns the exit status if nothing else is to be done.
    fn take(self, world: &mut World) -> Result<Option<Status>>;
}

/// Flags between a group's word and its command.
pub(crate) struct Flags {
    define: fn(Command) -> Command,
    take: fn(Option<&mut ArgMatches>, &mut World) -> Result<Option<Status>>,
}

/// A word before further commands.
pub(crate) struct Group {
    names: &'static [&'static str],
    /// Flags that may stand before the command.
    flags: Option<Flags>,
    /// What its commands are about.
    pub(crate) about: &'static str,
    /// Its commands.
    pub(crate) nodes: &'static [Node],
}

/// Makes a command from its names (the others are aliases), its usage and the type of its arguments.
pub(crate) const fn verb<T: Act>(names: &'static [&'static str], usage: &'static str) -> Node {
    Node::Verb(Verb { names, usage, define: T::augment_args, act: act::<T> })
}

/// Makes a group of commands.
pub(crate) const fn group(
    names: &'static [&'static str],
    about: &'static str,
    nodes: &'static [Node],
) -> Group {
    Group { names, flags: None, about, nodes }
}

/// As [`group`], with flags before the command.
pub(crate) const fn group_with<T: Before>(
    names: &'static [&'static str],
    about: &'static str,
    nodes: &'static [Node],
) -> Group {
    let flags = Flags { define: T::augment_args, take: take::<T> };
    Group { names, flags: Some(flags), about, nodes }
}

fn take<T: Before>(matches: Option<&mut ArgMatches>, world: &mut World) -> Result<Option<Status>> {
    match matches.map_or_else(|| Ok(T::default()), T::from_arg_matches_mut) {
        Ok(flags) => flags.take(world),
        // As above.
        Err(error) => Err(Error::new(Kind::Internal, "cannot read the flags").caused_by(error)),
    }
}

fn act<T: Act>(matches: &mut ArgMatches, world: &mut World) -> Result<Status> {
    match T::from_arg_matches_mut(matches) {
        Ok(arguments) if T::IS_LOCAL => arguments.act(world),
        Ok(arguments) => match world.global.host.host()? {
            None => arguments.act(world),
            Some(host) => arguments.act_on(&host, world),
        },
        // The parser has checked all that this looks at.
        Err(error) => Err(Error::new(Kind::Internal, "cannot read the arguments").caused_by(error)),
    }
}

impl Node {
    /// Returns its name, then its aliases.
    pub(crate) fn names(&self) -> &'static [&'static str] {
        match self {
            Self::Verb(verb) => verb.names,
            Self::Group(group) => group.names,
        }
    }

    /// Returns one line about it.
    pub(crate) fn about(&self) -> String {
        match self {
            Self::Verb(verb) => {
                let command = (verb.define)(Command::new(verb.names[0]));
                command.get_about().map(ToString::to_string).unwrap_or_default()
            }
            Self::Group(group) => group.about.to_owned(),
        }
    }

    /// Builds its definition and that of all below it; `above` is what stands before its name.
    pub(crate) fn define(&self, above: &str) -> Command {
        match self {
            Self::Verb(verb) => verb.define(above),
            Self::Group(group) => group.define(above),
        }
    }
}

impl Verb {
    fn define(&self, above: &str) -> Command {
        let path = format!("{above} {}", self.names[0]);
        let usage = format!("{path} [options] {}", self.usage);
        let command = Command::new(self.names[0])
            .bin_name(path)
            .visible_aliases(&self.names[1..])
            .override_usage(usage.trim_end().to_owned());
        parse::with_help((self.define)(command))
    }
}

impl Group {
    fn define(&self, above: &str) -> Command {
        let path = format!("{above} {}", self.names[0]);
        let nodes = self.nodes.iter().map(|node| node.define(&path));
        self.define_alone(&path).subcommands(nodes)
    }

    /// Builds its definition without that of its commands; `path` is how it was called.
    pub(crate) fn define_alone(&self, path: &str) -> Command {
        let options = if self.flags.is_some() { "[options] " } else { "" };
        let command = Command::new(self.names[0])
            .about(self.about)
            .visible_aliases(&self.names[1..])
            .override_usage(format!("{path} {options}[command]"))
            .bin_name(path.to_owned());
        parse::with_help(match &self.flags {
            Some(flags) => (flags.define)(command),
            None => command,
        })
    }

    fn find(&self, name: &str) -> Option<&'static Node> {
        self.nodes.iter().find(|node| node.names().contains(&name))
    }

    /// Finds the command that `words` ask for, parses its arguments, and runs it.
    ///
    /// `path` is how this group was called, as in `barge image`.
    pub(crate) fn dispatch(
        &self,
        path: &str,
        words: Vec<OsString>,
        world: &mut World,
    ) -> Result<Status> {
        let words = match self.take_flags(path, words, world)? {
            Ahead::Command(words) => words,
            Ahead::Done(status) => return Ok(status),
        };
        let mut words = words.into_iter();
        let Some(first) = words.next() else {
            world.out.text(&help::group(path, self))?;
            let name = format!("missing command '{path} COMMAND'");
            return Err(Error::new(Kind::Invalid, name));
        };
        let name = first.to_string_lossy();
        match self.find(&name) {
            Some(Node::Group(group)) => {
                group.dispatch(&format!("{path} {}", group.names[0]), words.collect(), world)
            }
            Some(Node::Verb(verb)) => match parse::arguments(verb.define(path), words.collect())? {
                Some(mut matches) => {
                    world.command = format!("{path} {}", verb.names[0]);
                    (verb.act)(&mut matches, world)
                }
                None => show(&help::verb(&verb.define(path)), world),
            },
            None if matches!(&*name, "-h" | "--help") => show(&help::group(path, self), world),
            None if name == "help" => self.help(path, words.collect(), world),
            None if name.starts_with('-') => Err(parse::unknown_flag(&name, path)),
            None => Err(self.unknown(path, &name)),
        }
    }

    /// Takes the flags that stand before the command, where a group has some.
    fn take_flags(&self, path: &str, words: Vec<OsString>, world: &mut World) -> Result<Ahead> {
        let Some(flags) = &self.flags else { return Ok(Ahead::Command(words)) };
        let given = words.first().is_some_and(|word| word.to_string_lossy().starts_with('-'));
        if given {
            // What is wrong with them is told in their own way already.
            (flags.take)(None, world)?;
        }
        let (mut matches, words) = match given {
            true => match parse::before(self.define_alone(path), words)? {
                Some((matches, words)) => (Some(matches), words),
                None => return show(&help::group(path, self), world).map(Ahead::Done),
            },
            false => (None, words),
        };
        Ok(match (flags.take)(matches.as_mut(), world)? {
            Some(status) => Ahead::Done(status),
            None => Ahead::Command(words),
        })
    }

    /// Shows the help of the command that `words` name.
    fn help(&self, path: &str, words: Vec<OsString>, world: &mut World) -> Result<Status> {
        let mut words = words.into_iter();
        let Some(first) = words.next() else {
            return show(&help::group(path, self), world);
        };
        let name = first.to_string_lossy();
        match self.find(&name) {
            Some(Node::Group(group)) => {
                group.help(&format!("{path} {}", group.names[0]), words.collect(), world)
            }
            Some(Node::Verb(verb)) => show(&help::verb(&verb.define(path)), world),
            None => Err(self.unknown(path, &name)),
        }
    }

    fn unknown(&self, path: &str, name: &str) -> Error {
        let names = self.nodes.iter().flat_map(Node::names);
        let mut message = format!("unrecognized command `{path} {name}`");
        if let Some(close) = closest(name, names.copied()) {
            message.push_str(&format!("\n\nDid you mean this?\n\t{close}\n"));
        }
        Error::new(Kind::Invalid, format!("{message}\nTry '{path} --help' for more information"))
    }
}

/// What follows the flags before a command.
enum Ahead {
    /// The words from the command on.
    Command(Vec<OsString>),
    /// Nothing: they were all that was asked.
    Done(Status),
}

fn show(text: &str, world: &mut World) -> Result<Status> {
    world.out.text(text)?;
    Ok(Status::SUCCESS)
}
