//! Variables of the environment, from flags, files and our own.

use std::path::Path;
use std::{env, fs};

use crate::error::{Context, Result};
use crate::spec::env::{parse, parse_file};

/// Returns the variables of files and flags, the later ones of a name last.
pub(super) fn read(files: &[impl AsRef<Path>], words: &[String]) -> Result<Vec<(String, String)>> {
    if files.is_empty() && words.is_empty() {
        return Ok(Vec::new());
    }
    let caller = own();
    let mut variables = Vec::new();
    for file in files {
        let name = file.as_ref().display();
        let content = read_file(file.as_ref())?;
        variables.extend(parse_file(&content, &caller).context(|| format!("cannot use {name}"))?);
    }
    for word in words {
        variables.extend(parse(word, &caller)?);
    }
    Ok(variables)
}

/// Returns our own variables. What is not UTF-8 cannot be taken over: records are JSON.
pub(super) fn own() -> Vec<(String, String)> {
    env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// Returns our own variables that say where proxies are.
pub(super) fn proxies() -> Vec<(String, String)> {
    let names = ["HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY"];
    names
        .into_iter()
        .flat_map(|name| [name.to_ascii_lowercase(), name.to_owned()])
        .filter_map(|name| env::var(&name).ok().map(|value| (name, value)))
        .collect()
}

/// Reads a file that the user has named.
pub(super) fn read_file(file: &Path) -> Result<String> {
    fs::read_to_string(file).context(|| format!("cannot read {}", file.display()))
}
