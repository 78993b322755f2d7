//! Arguments of one command, parsed as Docker and Podman parse them.
//!
//! clap does the work. Where their command lines behave otherwise, [`refine`] changes the
//! definition, and [`explain`] words the errors as scripts know them.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::flags::absent;
use crate::error::{Error, Kind, Result};
use crate::spec::mount::parse_bool;

/// The flag that shows help.
pub(crate) const HELP: &str = "help";

/// Parses the words after a command; `None` if help is asked for.
pub(crate) fn arguments(command: Command, words: Vec<OsString>) -> Result<Option<ArgMatches>> {
    let mut refined = refine(command);
    match refined.try_get_matches_from_mut(&words) {
        Ok(matches) if matches.get_flag(HELP) => Ok(None),
        Ok(matches) => Ok(Some(matches)),
        Err(_) if asks_for_help(&refined, &words) => Ok(None),
        Err(error) => Err(explain(&refined, &words, error)),
    }
}

/// Parses the flags before a command; returns the words from the command on, or `None` if help is
/// asked for.
pub(crate) fn before(
    command: Command,
    words: Vec<OsString>,
) -> Result<Option<(ArgMatches, Vec<OsString>)>> {
    let mut command = refine(command).allow_external_subcommands(true);
    let mut matches = command
        .try_get_matches_from_mut(&words)
        .map_err(|error| explain(&command, &words, error))?;
    if matches.get_flag(HELP) {
        return Ok(None);
    }
    let rest = match matches.remove_subcommand() {
        Some((name, mut below)) => {
            let rest = below.remove_many::<OsString>("").into_iter().flatten();
            std::iter::once(OsString::from(name)).chain(rest).collect()
        }
        None => Vec::new(),
    };
    Ok(Some((matches, rest)))
}

/// Tells whether help is asked for; then nothing else needs to be right.
fn asks_for_help(command: &Command, words: &[OsString]) -> bool {
    let matches = command.clone().ignore_errors(true).try_get_matches_from(words);
    let is_set = |matches: ArgMatches| matches!(matches.try_get_one(HELP), Ok(Some(true)));
    matches.is_ok_and(is_set)
}

/// Adds `--help`, and `-h` unless that is something else.
pub(crate) fn with_help(command: Command) -> Command {
    let has_h = command.get_arguments().any(|arg| arg.get_short() == Some('h'));
    let help = Arg::new(HELP).long("help").help("Show this help").action(ArgAction::SetTrue);
    command.disable_help_flag(true).disable_help_subcommand(true).arg(if has_h {
        help
    } else {
        help.short('h')
    })
}

/// Makes a definition parse as Docker's and Podman's do.
pub(crate) fn refine(command: Command) -> Command {
    command
        .no_binary_name(true)
        .disable_version_flag(true)
        // A flag that is given again replaces what was given before.
        .args_override_self(true)
        .mut_args(|arg| match arg.get_action() {
            // `--rm=false`; but never `--rm false`.
            ArgAction::SetTrue => arg
                .action(ArgAction::Set)
                .num_args(0..=1)
                .require_equals(true)
                .default_value("false")
                .default_missing_value("true")
                .value_parser(truth),
            // What follows such a flag is its value, even if it begins with a hyphen.
            ArgAction::Set | ArgAction::Append
                if !arg.is_positional()
                    && arg.get_num_args().is_none_or(|range| range.min_values() > 0) =>
            {
                arg.allow_hyphen_values(true)
            }
            _ => arg,
        })
}

/// Parses the value of a flag that is either set or not.
pub(crate) fn truth(text: &str) -> Result<bool, &'static str> {
    parse_bool(text).ok_or("it is not a truth value")
}

/// Says that a flag is not known, where there is no definition that clap could say it of.
pub(crate) fn unknown_flag(flag: &str, path: &str) -> Error {
    let flag = flag.split('=').next().unwrap_or(flag);
    let what = match flag.strip_prefix("--") {
        Some(_) => format!("unknown flag: {flag}"),
        None => {
            let letter = flag.chars().nth(1).unwrap_or('-');
            format!("unknown shorthand flag: '{letter}' in {flag}")
        }
    };
    Error::new(Kind::Invalid, format!("{what}\nSee '{path} --help'"))
}

/// Turns an error of clap into ours.
pub(crate) fn explain(command: &Command, words: &[OsString], error: clap::Error) -> Error {
    let path = command.get_bin_name().unwrap_or_default();
    let see = format!("See '{path} --help'");
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.first().cloned().unwrap_or_default(),
        _ => String::new(),
    };
    // As in `--publish <PORT>`.
    let shown = text(ContextKind::InvalidArg);
    let flag = shown.split([' ', '=', '[']).next().unwrap_or_default();
    let value = text(ContextKind::InvalidValue);
    let message = match error.kind() {
        ErrorKind::UnknownArgument if flag.len() > 1 && flag.starts_with('-') => {
            let error = unknown_flag(flag, path);
            return match absent::reason(path, flag.trim_start_matches('-')) {
                Some(reason) => error.hint(reason),
                None => error,
            };
        }
        ErrorKind::UnknownArgument
        | ErrorKind::TooManyValues
        | ErrorKind::MissingRequiredArgument => {
            return Error::new(Kind::Invalid, wrong_count(command, words));
        }
        ErrorKind::InvalidValue if value.is_empty() && flag.starts_with('-') => {
            match words.last().and_then(|word| word.to_str()) {
                // As Go says it: `'h' in -h`.
                Some(last) if last.starts_with('-') && !last.starts_with("--") => {
                    let letter = last.chars().next_back().unwrap_or('-');
                    format!("flag needs an argument: '{letter}' in {last}\n{see}")
                }
                _ => format!("flag needs an argument: {flag}\n{see}"),
            }
        }
        ErrorKind::ValueValidation => {
            // Our own grammars explain themselves.
            let source = std::error::Error::source(&error);
            match source.and_then(|source| source.downcast_ref::<Error>()) {
                Some(own) => {
                    let again = Error::new(own.kind(), own.to_string());
                    return match own.hint_text() {
                        Some(hint) => again.hint(hint),
                        None => again,
                    };
                }
                None => {
                    let why = source.map(|source| format!(": {source}")).unwrap_or_default();
                    let name = named(command, flag);
                    format!("invalid argument \"{value}\" for \"{name}\" flag{why}\n{see}")
                }
            }
        }
        ErrorKind::InvalidValue | ErrorKind::NoEquals => {
            let name = named(command, flag);
            let known = match error.get(ContextKind::ValidValue) {
                Some(ContextValue::Strings(values)) if !values.is_empty() => {
                    format!(": use {}", values.join(", "))
                }
                _ => String::new(),
            };
            match flag.starts_with('-') {
                true => format!("invalid argument \"{value}\" for \"{name}\" flag{known}\n{see}"),
                false => format!("invalid argument \"{value}\" for \"{path}\"{known}\n{see}"),
            }
        }
        ErrorKind::ArgumentConflict => {
            let other = text(ContextKind::PriorArg);
            let other = other.split([' ', '=', '[']).next().unwrap_or_default();
            format!("{flag} and {other} cannot be set together")
        }
        ErrorKind::InvalidUtf8 => "an argument is not valid UTF-8".to_owned(),
        _ => error.to_string().trim_start_matches("error: ").trim_end().to_owned(),
    };
    Error::new(Kind::Invalid, message)
}

/// Writes a flag with its short form, as in `-p, --publish`.
fn named(command: &Command, flag: &str) -> String {
    let long = flag.trim_start_matches('-');
    let short =
        command.get_arguments().find(|arg| arg.get_long() == Some(long)).and_then(Arg::get_short);
    match short {
        Some(short) => format!("-{short}, --{long}"),
        None => flag.to_owned(),
    }
}

/// Says how many arguments there should be, and how many there are.
fn wrong_count(command: &Command, words: &[OsString]) -> String {
    let positionals: Vec<&Arg> = command.get_positionals().collect();
    let least = positionals.iter().filter(|arg| arg.is_required_set()).count();
    let endless = positionals
        .iter()
        .any(|arg| arg.get_num_args().is_some_and(|range| range.max_values() > 1) || is_list(arg));
    let path = command.get_bin_name().unwrap_or_default();
    let received = count(command, words);
    match positionals.len() {
        0 => format!("`{path}` takes no arguments"),
        most if most == least && !endless => format!("accepts {most} arg(s), received {received}"),
        _ if received < least => {
            format!("requires at least {least} arg(s), only received {received}")
        }
        most => format!("accepts at most {most} arg(s), received {received}"),
    }
}

fn is_list(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::Append)
}

/// Counts the words that are no flags, by parsing once more with room for any number of them.
fn count(command: &Command, words: &[OsString]) -> usize {
    let mut counting = Command::new("count").no_binary_name(true).disable_help_flag(true);
    counting = counting.args_override_self(true).ignore_errors(true);
    for arg in command.get_arguments().filter(|arg| !arg.is_positional()) {
        counting = counting.arg(arg.clone());
    }
    let rest = Arg::new("every").num_args(0..).action(ArgAction::Append);
    let matches = counting.arg(rest).try_get_matches_from(words);
    matches
        .ok()
        .and_then(|matches| matches.get_many::<String>("every").map(Iterator::count))
        .unwrap_or_default()
}
