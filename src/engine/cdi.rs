//! Devices of the Container Device Interface: which files there are, and what they say.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::error::{Context, Error, Kind, Result};
use crate::spec::cdi::{CdiFile, DIRECTORIES, Edits, is_qualified};
use crate::spec::container::Settings;

/// Finds out what a container needs for the devices that it has by name.
pub(super) fn edits(settings: &Settings) -> Result<Vec<Edits>> {
    let names: Vec<&str> =
        settings.devices.iter().map(String::as_str).filter(|name| is_qualified(name)).collect();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let usual = || DIRECTORIES.iter().map(PathBuf::from).collect();
    let directories = match settings.cdi_directories.as_slice() {
        [] => usual(),
        own => own.to_vec(),
    };
    let mut found = Found::default();
    for (rank, directory) in directories.iter().enumerate() {
        found.read(directory, rank)?;
    }
    let mut edits = Vec::new();
    let mut used: Vec<usize> = Vec::new();
    let mut missing: Vec<&str> = Vec::new();
    for name in names {
        let Some((file, device)) = found.device(name) else {
            missing.push(name);
            continue;
        };
        if !used.contains(&file) {
            used.push(file);
            edits.push(found.files[file].content.container_edits.clone());
        }
        edits.push(device);
    }
    if missing.is_empty() {
        return Ok(edits);
    }
    let list: Vec<String> = directories.iter().map(|it| it.display().to_string()).collect();
    let message =
        format!("setting up CDI devices: unresolvable CDI devices {}", missing.join(", "));
    Err(Error::new(Kind::Invalid, message).hint(match found.damaged {
        Some(reason) => format!("a file that may have them cannot be used: {reason}"),
        None => format!("see which files there are in {}", list.join(" and ")),
    }))
}

/// Lists the devices that containers can have by name, of those directories, or the usual ones.
pub fn devices(directories: &[PathBuf]) -> Result<Vec<String>> {
    let mut found = Found::default();
    let usual: Vec<PathBuf> = DIRECTORIES.iter().map(PathBuf::from).collect();
    let directories = if directories.is_empty() { &usual } else { directories };
    for (rank, directory) in directories.iter().enumerate() {
        found.read(directory, rank)?;
    }
    let names = found.files.iter().flat_map(|file| {
        let content = &file.content;
        content.devices.iter().map(|device| format!("{}={}", content.kind, device.name))
    });
    let names: std::collections::BTreeSet<String> = names.collect();
    // One that several files have at one rank cannot be had.
    Ok(names.into_iter().filter(|name| found.device(name).is_some()).collect())
}

#[derive(Default)]
struct Found {
    files: Vec<Ranked>,
    /// Why the first file is no use that is none.
    damaged: Option<String>,
}

struct Ranked {
    content: CdiFile,
    /// Those of higher rank win; two of one rank must not have the same device.
    rank: usize,
}

impl Found {
    fn read(&mut self, directory: &Path, rank: usize) -> Result<()> {
        let context = || format!("cannot list {}", directory.display());
        let entries = match fs::read_dir(directory) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            other => other.context(context)?,
        };
        let mut paths = Vec::new();
        for entry in entries {
            let path = entry.context(context)?.path();
            let is_it = |it: &std::ffi::OsStr| it == "json" || it == "yaml" || it == "yml";
            if path.extension().is_some_and(is_it) {
                paths.push(path);
            }
        }
        paths.sort();
        for path in paths {
            let name = path.display().to_string();
            let read = fs::read_to_string(&path).context(|| format!("cannot read {name}"));
            match read.and_then(|text| CdiFile::parse(&text, &name)) {
                Ok(content) => self.files.push(Ranked { content, rank }),
                // It is of interest only to who wants what it may have.
                Err(error) => {
                    self.damaged.get_or_insert(error.to_string());
                }
            }
        }
        Ok(())
    }

    /// Returns the file that has a device, and what the device needs.
    fn device(&self, name: &str) -> Option<(usize, Edits)> {
        let (kind, name) = name.split_once('=')?;
        let mut best: Option<(usize, Edits)> = None;
        let mut twice = false;
        for (index, file) in self.files.iter().enumerate() {
            if file.content.kind != kind {
                continue;
            }
            let Some(device) = file.content.devices.iter().find(|it| it.name == name) else {
                continue;
            };
            twice = best.as_ref().is_some_and(|(other, _)| self.files[*other].rank == file.rank);
            best = Some((index, device.container_edits.clone()));
        }
        best.filter(|_| !twice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_what_containers_can_have() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        let write = |directory: &Path, name: &str, text: &str| {
            fs::create_dir_all(directory).unwrap();
            fs::write(directory.join(name), text).unwrap();
        };
        let file = |kind: &str, devices: &[&str]| {
            let device =
                |name: &&str| format!("{{\"name\":\"{name}\",\"containerEdits\":{{\"env\":[]}}}}");
            let devices: Vec<String> = devices.iter().map(device).collect();
            let devices = devices.join(",");
            format!("{{\"cdiVersion\":\"0.6.0\",\"kind\":\"{kind}\",\"devices\":[{devices}]}}")
        };
        write(&one, "a.json", &file("v.com/gpu", &["0", "1", "twice"]));
        write(&one, "b.json", &file("v.com/gpu", &["twice"]));
        write(&one, "c.json", "nonsense");
        write(&two, "d.yaml", &file("v.com/net", &["eth"]));
        let found = devices(&[one, two, dir.path().join("none")]).unwrap();
        assert_eq!(found, ["v.com/gpu=0", "v.com/gpu=1", "v.com/net=eth"]);
    }
}
