//! Listings: tables, `--quiet`, `--format` and JSON over rows of one kind.

use serde_json::{Map, Value as Json};

use super::exit::Status;
use super::output::{self, Output};
use super::table;
use crate::error::{Context, Error, Result};
use crate::spec::template::Format;
use crate::sys::terminal;

/// The columns of a kind of listing.
pub(crate) struct Columns {
    /// Fields of a row that the table shows, with their headings.
    pub(crate) shown: &'static [(&'static str, &'static str)],
    /// Headings of fields that a template may ask for besides, if they are not the field's name.
    pub(crate) others: &'static [(&'static str, &'static str)],
}

/// One row.
pub(crate) struct Row {
    /// What a template sees, and a table shows.
    pub(crate) fields: Json,
    /// What `--format json` prints.
    pub(crate) document: Json,
}

/// Prints rows as the user wants them.
pub(crate) fn print(
    out: &mut Output,
    columns: &Columns,
    rows: Vec<Row>,
    format: Option<&str>,
    headings: bool,
) -> Result<()> {
    let (format, is_table) = match format.map(str::trim) {
        None | Some("" | "table") => {
            return out.text(&table_of(columns.shown, &rows, headings));
        }
        Some("json") => {
            let documents = rows.into_iter().map(|row| row.document).collect();
            return print_json(out, &Json::Array(documents));
        }
        Some(text) => {
            match text.strip_prefix("table").filter(|rest| rest.starts_with([' ', '\t', '{'])) {
                Some(rest) => (Format::new(rest.trim_start())?, true),
                None => (Format::new(text)?, false),
            }
        }
    };
    let mut text = String::new();
    if is_table && headings {
        text.push_str(&format.render_headings(&all_headings(columns, &rows))?);
        text.push('\n');
    }
    if format.ranges() {
        let all = rows.into_iter().map(|row| row.fields).collect();
        text.push_str(&format.render(&Json::Array(all))?);
        text.push('\n');
    } else {
        for row in &rows {
            text.push_str(&format.render(&row.fields)?);
            text.push('\n');
        }
    }
    out.text(&if is_table { table::layout_text(&text) } else { text })
}

/// As [`print`]; on a terminal that is too narrow for the table, columns are left out: first those
/// whose fields stand first in `spare`.
pub(crate) fn print_fitting(
    out: &mut Output,
    columns: &Columns,
    rows: Vec<Row>,
    format: Option<&str>,
    headings: bool,
    spare: &[&str],
) -> Result<()> {
    let is_table = matches!(format.map(str::trim), None | Some("" | "table"));
    let width = match is_table.then(|| terminal::size(rustix::stdio::stdout())).flatten() {
        Some((_, width)) if width > 0 => usize::from(width),
        _ => return print(out, columns, rows, format, headings),
    };
    let mut shown = columns.shown.to_vec();
    let mut spare = spare.iter();
    loop {
        let text = table_of(&shown, &rows, headings);
        let widest = text.lines().map(|line| line.chars().count()).max().unwrap_or(0);
        match spare.next() {
            Some(field) if widest > width => shown.retain(|(own, _)| own != field),
            _ => return out.text(&text),
        }
    }
}

/// Reads the format of an `inspect`; nothing where all documents are printed as they are.
pub(crate) fn inspect_format(format: Option<&str>) -> Result<Option<Format>> {
    match format {
        None | Some("json") => Ok(None),
        Some(text) => Format::new(text).map(Some),
    }
}

/// Prints what an `inspect` has found, and then what it has not.
pub(crate) fn print_inspected(
    out: &mut Output,
    documents: Vec<Json>,
    format: Option<&Format>,
    failures: &[Error],
) -> Result<Status> {
    match format {
        None => print_json(out, &Json::Array(documents))?,
        Some(format) => {
            for document in &documents {
                out.line(&format.render(document)?)?;
            }
        }
    }
    out.flush()?;
    failures.iter().for_each(output::error);
    Ok(if failures.is_empty() { Status::SUCCESS } else { Status::FAILED })
}

/// Prints a document over several lines.
pub(crate) fn print_json(out: &mut Output, document: &Json) -> Result<()> {
    let mut text = Vec::new();
    let layout = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut writer = serde_json::Serializer::with_formatter(&mut text, layout);
    serde::Serialize::serialize(document, &mut writer).context(|| "cannot write JSON")?;
    out.bytes(&text)?;
    out.bytes(b"\n")
}

/// Fields with their headings.
type Shown<'a> = &'a [(&'static str, &'static str)];

fn table_of(shown: Shown<'_>, rows: &[Row], headings: bool) -> String {
    let heading = shown.iter().map(|(_, heading)| (*heading).to_owned()).collect();
    let lines = rows.iter().map(|row| {
        let cell = |(field, _): &(&str, &str)| match &row.fields[*field] {
            Json::String(text) => text.clone(),
            Json::Null => String::new(),
            other => other.to_string(),
        };
        shown.iter().map(cell).collect()
    });
    let lines: Vec<Vec<String>> = headings.then_some(heading).into_iter().chain(lines).collect();
    table::layout(&lines)
}

/// Returns a heading for every field.
fn all_headings(columns: &Columns, rows: &[Row]) -> Json {
    let mut headings = Map::new();
    if let Some(Json::Object(fields)) = rows.first().map(|row| &row.fields) {
        headings.extend(fields.keys().map(|field| (field.clone(), heading_of(field).into())));
    }
    for (field, heading) in columns.others.iter().chain(columns.shown) {
        headings.insert((*field).to_owned(), (*heading).into());
    }
    Json::Object(headings)
}

/// Splits a field's name into words, as in `CREATED AT` for `CreatedAt`.
fn heading_of(field: &str) -> String {
    let mut heading = String::new();
    let mut before_lower = false;
    for letter in field.chars() {
        if letter.is_ascii_uppercase() && before_lower {
            heading.push(' ');
        }
        before_lower = letter.is_ascii_lowercase();
        heading.push(letter.to_ascii_uppercase());
    }
    heading
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_are_the_words_of_a_field() {
        for (field, want) in [("ID", "ID"), ("CreatedAt", "CREATED AT"), ("ImageID", "IMAGE ID")] {
            assert_eq!(heading_of(field), want);
        }
    }
}
