//! Help texts, laid out as Podman lays out its own.

use std::fmt::Write;

use clap::{Arg, ArgAction, Command};

use super::parse;
use super::tree::Group;

/// Writes the help of a command that does something.
pub(crate) fn verb(command: &Command) -> String {
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let mut text = format!("{about}\n\n");
    if let Some(long) = command.get_long_about().map(ToString::to_string) {
        let rest = long.strip_prefix(&about).unwrap_or(&long).trim();
        if !rest.is_empty() {
            text.push_str("Description:\n");
            rest.lines().for_each(|line| wrap(&mut text, line));
            text.push('\n');
        }
    }
    let usage = command.clone().render_usage().to_string();
    push(&mut text, format_args!("Usage:\n  {}\n", usage.trim_start_matches("Usage: ").trim()));
    let aliases: Vec<&str> = command.get_visible_aliases().collect();
    if !aliases.is_empty() {
        let name = command.get_name();
        push(&mut text, format_args!("Aliases:\n  {name}, {}\n", aliases.join(", ")));
    }
    options(&mut text, command);
    text
}

/// Writes the help of a group of commands.
pub(crate) fn group(path: &str, group: &Group) -> String {
    let mut text = format!("{}\n\nUsage:\n", group.about);
    let top = !path.contains(' ');
    let command = match top {
        true => super::global::define(Command::new("barge")),
        false => group.define_alone(path),
    };
    let has_options = command.get_arguments().any(|arg| arg.get_id() != parse::HELP);
    let words = if has_options { "[options] " } else { "" };
    push(&mut text, format_args!("  {path} {words}[command]\n"));
    text.push_str("Available Commands:\n");
    let width = group.nodes.iter().map(|node| node.names()[0].len()).max().unwrap_or_default();
    for node in group.nodes {
        push(&mut text, format_args!("  {:width$} {}", node.names()[0], node.about()));
    }
    text.push('\n');
    options(&mut text, &command);
    text
}

/// Writes a paragraph, indented, in lines of 80 columns.
fn wrap(text: &mut String, paragraph: &str) {
    let mut line = String::from(" ");
    for word in paragraph.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > 80 {
            push(text, format_args!("{line}"));
            line.truncate(1);
        }
        line.push(' ');
        line.push_str(word);
    }
    push(text, format_args!("{}", line.trim_end()));
}

fn options(text: &mut String, command: &Command) {
    let mut arguments: Vec<&Arg> = command
        .get_arguments()
        .filter(|arg| !arg.is_positional() && !arg.is_hide_set() && arg.get_id() != parse::HELP)
        .collect();
    arguments.sort_by_key(|arg| arg.get_id().as_str().replace('_', "-"));
    let rows: Vec<(String, String)> = arguments
        .into_iter()
        .map(|arg| (flag(arg), arg.get_help().map(ToString::to_string).unwrap_or_default()))
        .collect();
    if rows.is_empty() {
        return;
    }
    text.push_str("Options:\n");
    let width = rows.iter().map(|(flag, _)| flag.len()).max().unwrap_or_default();
    for (flag, help) in rows {
        push(text, format_args!("  {flag:width$}   {help}"));
    }
}

/// Writes a flag as in `-p, --publish PORT`.
fn flag(arg: &Arg) -> String {
    let mut text = match (arg.get_short(), arg.get_long()) {
        (Some(short), Some(long)) => format!("-{short}, --{long}"),
        (Some(short), None) => format!("-{short}"),
        (None, long) => format!("    --{}", long.unwrap_or_default()),
    };
    if !matches!(arg.get_action(), ArgAction::SetTrue) {
        let name =
            arg.get_value_names().and_then(<[_]>::first).map_or("VALUE", |name| name.as_str());
        let optional = arg.get_num_args().is_some_and(|range| range.min_values() == 0);
        let written = match optional {
            true if arg.is_require_equals_set() => format!("[={name}]"),
            true => format!(" [{name}]"),
            false => format!(" {name}"),
        };
        text.push_str(&written);
    }
    text
}

fn push(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{line}");
}
