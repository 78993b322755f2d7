//! What is shown of the processes of a container, in the columns that are wanted.

mod columns;

use self::columns::Column;
use crate::engine::Processes;
use crate::error::{Error, Kind, Result};

/// Refuses columns that are not known.
pub fn check(wanted: &[String]) -> Result<()> {
    columns(wanted).map(drop)
}

/// Returns the titles of the columns that are wanted, and a row for each process.
pub fn rows(processes: &Processes, wanted: &[String]) -> Result<(Vec<String>, Vec<Vec<String>>)> {
    let columns = columns(wanted)?;
    let titles = columns.iter().map(|column| column.heading.clone()).collect();
    let row = |process| columns.iter().map(|column| (column.value)(process, processes)).collect();
    Ok((titles, processes.list.iter().map(row).collect()))
}

/// Finds the columns that are wanted.
fn columns(words: &[String]) -> Result<Vec<Column>> {
    if words.is_empty() {
        return ["user", "pid", "ppid", "pcpu", "etime", "tty", "time", "args"]
            .map(columns::of_podman)
            .into_iter()
            .collect();
    }
    if words[0].starts_with('-') || words[0].starts_with("aux") || words[0] == "ax" {
        return ps_columns(words);
    }
    let names = words.iter().flat_map(|word| word.split(',')).filter(|name| !name.is_empty());
    names.map(columns::of_podman).collect()
}

/// Finds columns as ps does.
fn ps_columns(words: &[String]) -> Result<Vec<Column>> {
    let mut columns = Vec::new();
    let mut set = &["pid", "tty", "time", "cmd"][..];
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let letters = word.trim_start_matches('-');
        if let Some(list) = letters.strip_prefix("format=").filter(|_| word.starts_with("--")) {
            add(&mut columns, list)?;
            continue;
        }
        if word.starts_with("--") {
            return Err(unknown(word));
        }
        let Some(at) = letters.find('o') else {
            // All processes are shown in any case: `e`, `A`, `a`, `x` change nothing.
            set = match letters {
                _ if letters.contains('u') => &[
                    "user", "pid", "%cpu", "%mem", "vsz", "rss", "tty", "stat", "start", "time",
                    "args",
                ],
                _ if letters.contains('f') => {
                    &["uid", "pid", "ppid", "c", "stime", "tty", "time", "cmd"]
                }
                _ if letters.contains('l') => {
                    &["s", "uid", "pid", "ppid", "c", "ni", "vsz", "tty", "time", "ucmd"]
                }
                _ if letters.chars().all(|letter| "eAax".contains(letter)) => set,
                _ => return Err(unknown(word)),
            };
            continue;
        };
        let list = match &letters[at + 1..] {
            "" => words.next().ok_or_else(|| {
                Error::new(Kind::Invalid, format!("`{word}` needs a list of columns"))
                    .hint("write it as in -o pid,user,args")
            })?,
            rest => rest,
        };
        add(&mut columns, list)?;
    }
    if columns.is_empty() {
        return set.iter().map(|name| columns::of_ps(name)).collect();
    }
    Ok(columns)
}

/// Adds the columns of a list as in `pid,comm` or `pid=NUMBER`.
fn add(columns: &mut Vec<Column>, list: &str) -> Result<()> {
    for name in list.split([',', ' ']).filter(|name| !name.is_empty()) {
        let (name, heading) = match name.split_once('=') {
            Some((name, heading)) => (name, Some(heading)),
            None => (name, None),
        };
        let mut column = columns::of_ps(name)?;
        if let Some(heading) = heading {
            heading.clone_into(&mut column.heading);
        }
        columns.push(column);
    }
    Ok(())
}

fn unknown(option: &str) -> Error {
    Error::new(Kind::Invalid, format!("unknown option of ps: `{option}`"))
        .hint("known are aux, -e, -f, -l, -o LIST and their combinations")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headings(line: &str) -> Result<String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let columns = columns(&words)?;
        Ok(columns.iter().map(|it| it.heading.as_str()).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn finds_columns() {
        for (line, want) in [
            ("", "USER PID PPID %CPU ELAPSED TTY TIME COMMAND"),
            ("pid seccomp args %C", "PID SECCOMP COMMAND %CPU"),
            ("pid,hpid,huser", "PID HPID HUSER"),
            ("-eo pid,comm", "PID COMMAND"),
            ("-e -o pid -o user=WHO", "PID WHO"),
            ("-opid,args", "PID COMMAND"),
            ("--format=pid", "PID"),
            ("-ef", "UID PID PPID C STIME TTY TIME CMD"),
            ("aux", "USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND"),
            ("-A", "PID TTY TIME CMD"),
        ] {
            assert_eq!(headings(line).unwrap(), want, "{line}");
        }
        for (line, want) in [
            ("pid,bogus", "bogus"),
            ("-eo bogus", "bogus"),
            ("-z", "unknown option of ps: `-z`"),
            ("-eo", "needs a list of columns"),
        ] {
            let error = headings(line).unwrap_err().to_string();
            assert!(error.contains(want), "{line}: {error}");
        }
    }
}
