//! What a container is called and marked with, and when it goes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::cmd::environment;
use crate::cmd::parse::truth;
use crate::error::{Error, Kind, Result};
use crate::spec::container::ContainerSpec;
use crate::spec::defaults::Defaults;
use crate::spec::env::{parse_label, parse_pair};
use crate::spec::limits::RestartPolicy;
use crate::spec::name;

/// What the container is called and marked with, and when it goes.
#[derive(Args, Debug)]
pub(in crate::cmd) struct IdentityFlags {
    /// Add an annotation of the OCI runtime
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_pair)]
    annotation: Vec<(String, String)>,
    /// Write the monitor's process ID to this file
    #[arg(long, value_name = "FILE")]
    conmon_pidfile: Option<PathBuf>,
    /// Write the container's ID to this new file
    #[arg(long, value_name = "FILE")]
    cidfile: Option<PathBuf>,
    /// Add a label
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = parse_label)]
    label: Vec<(String, String)>,
    /// Read labels from this file
    #[arg(long, value_name = "FILE")]
    label_file: Vec<PathBuf>,
    /// Name it
    #[arg(long, value_name = "NAME", value_parser = name::parse)]
    name: Option<String>,
    /// Write its process ID to this file
    #[arg(long, value_name = "FILE")]
    pidfile: Option<PathBuf>,
    /// Containers that are started before it
    #[arg(long, value_name = "CONTAINER", value_delimiter = ',')]
    requires: Vec<String>,
    /// Remove a container that has the name first
    #[arg(long)]
    replace: bool,
    /// no, always, unless-stopped or on-failure[:MAX]
    #[arg(long, value_name = "POLICY")]
    restart: Option<RestartPolicy>,
    /// Remove it when it exits
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = truth)]
    rm: Option<bool>,
    /// Remove it when it exits, and its image if nothing uses it
    #[arg(long)]
    pub(in crate::cmd) rmi: bool,
}

impl IdentityFlags {
    /// Returns the file that is to have the ID, if it cannot be that of a container that is replaced.
    pub(in crate::cmd) fn new_cidfile(&self) -> Option<&Path> {
        self.cidfile.as_deref().filter(|_| !self.replace)
    }

    /// Adds it to what is asked for.
    pub(super) fn apply(self, usual: &Defaults, spec: &mut ContainerSpec) -> Result<()> {
        let restart = self.restart.unwrap_or_default();
        if self.rmi && self.rm == Some(false) {
            let text = "the --rmi option does not work without --rm";
            return Err(Error::new(Kind::Invalid, text));
        }
        if self.rm.unwrap_or(self.rmi) && restart != RestartPolicy::No {
            return Err(Error::new(
                Kind::Invalid,
                "the --rm option conflicts with --restart, when the restartPolicy is not \"\" and \"no\"",
            ));
        }
        if self.replace && self.name.is_none() {
            return Err(Error::new(
                Kind::Invalid,
                "cannot replace container without --name being set",
            ));
        }
        spec.name = self.name;
        spec.labels = labels(&self.label_file, self.label)?;
        spec.replace = self.replace;
        let settings = &mut spec.settings;
        settings.remove = self.rm.unwrap_or(self.rmi);
        settings.requires = self.requires;
        settings.restart = restart;
        settings.cidfile = self.cidfile;
        settings.pidfile = self.pidfile;
        settings.monitor_pidfile = self.conmon_pidfile;
        settings.annotations =
            usual.annotations.all().iter().cloned().chain(self.annotation).collect();
        Ok(())
    }
}

fn labels(
    files: &[impl AsRef<Path>],
    given: Vec<(String, String)>,
) -> Result<BTreeMap<String, String>> {
    let mut labels = BTreeMap::new();
    for file in files {
        for line in environment::read_file(file.as_ref())?.lines().map(str::trim) {
            if !line.is_empty() && !line.starts_with('#') {
                labels.extend([parse_label(line)?]);
            }
        }
    }
    labels.extend(given);
    Ok(labels)
}
