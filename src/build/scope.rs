//! Variables of a build: what `ARG` and `ENV` have set so far, and where values come from.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use crate::error::Result;
use crate::spec::dockerfile::{Dockerfile, Instruction, problem, word};
use crate::spec::platform::Platform;

/// Arguments that need not be declared, and count for nothing in the cache.
const PROXIES: [&str; 10] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "FTP_PROXY",
    "ftp_proxy",
    "NO_PROXY",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// What was given on the command line, and what is known before the first stage.
#[derive(Debug)]
pub(super) struct Arguments {
    given: BTreeMap<String, String>,
    /// `ARG` before the first stage, and the platforms.
    global: Vec<(String, String)>,
    used: Mutex<BTreeSet<String>>,
}

impl Arguments {
    pub(super) fn new(given: BTreeMap<String, String>, target: &Platform) -> Self {
        let host = Platform::host();
        let mut global = vec![("TARGETSTAGE".to_owned(), "default".to_owned())];
        for (prefix, platform) in [("BUILD", &host), ("TARGET", target)] {
            let variant = platform.variant.clone().unwrap_or_default();
            for (name, value) in [
                ("PLATFORM", platform.to_string()),
                ("OS", platform.os.clone()),
                ("ARCH", platform.architecture.clone()),
                ("VARIANT", variant),
            ] {
                global.push((format!("{prefix}{name}"), value));
            }
        }
        Self { given, global, used: Mutex::new(BTreeSet::new()) }
    }

    /// As [`Arguments::new`], with what a Dockerfile says before its first stage.
    pub(super) fn of_file(
        given: BTreeMap<String, String>,
        target: &Platform,
        file: &Dockerfile,
        name: &str,
    ) -> Result<Self> {
        let mut arguments = Self::new(given, target);
        for step in &file.global_args {
            let Instruction::Arg(args) = &step.instruction else { continue };
            for (variable, default) in args {
                let value = match (arguments.given(variable), default) {
                    (Some(given), _) => Some(given.clone()),
                    (None, Some(text)) => {
                        let escape = file.directives.escape;
                        let value = word::expand(text, escape, &|name| arguments.global(name));
                        Some(value.map_err(|why| problem(name, step.line, &step.text, &why))?)
                    }
                    (None, None) => None,
                };
                if let Some(value) = value {
                    arguments.set_global(variable, value);
                }
            }
        }
        Ok(arguments)
    }

    /// Returns the value that was given for a variable.
    pub(super) fn given(&self, name: &str) -> Option<&String> {
        let value = self.given.get(name)?;
        if let Ok(mut used) = self.used.lock() {
            used.insert(name.to_owned());
        }
        Some(value)
    }

    /// Sets a variable that counts before the first stage.
    pub(super) fn set_global(&mut self, name: &str, value: String) {
        set(&mut self.global, name, value);
    }

    /// Looks up a variable before the first stage.
    pub(super) fn global(&self, name: &str) -> Option<String> {
        get(&self.global, name).cloned()
    }

    /// Returns the proxies that were given, for commands.
    pub(super) fn proxies(&self) -> impl Iterator<Item = (&str, &String)> {
        PROXIES.into_iter().filter_map(|name| Some((name, self.given(name)?)))
    }

    /// Returns the arguments that nobody has asked for.
    pub(super) fn unused(&self) -> Vec<String> {
        let used = self.used.lock().map(|used| used.clone()).unwrap_or_default();
        let is_known = |name: &String| {
            used.contains(name)
                || PROXIES.contains(&name.as_str())
                || name == "SOURCE_DATE_EPOCH"
                || name.starts_with("BUILDKIT_")
        };
        self.given.keys().filter(|name| !is_known(name)).cloned().collect()
    }
}

/// Tells whether a variable is one of those that count for nothing in the cache.
pub(super) fn is_proxy(name: &str) -> bool {
    PROXIES.contains(&name)
}

/// Sets a variable, in its place if it has one.
pub(super) fn set(variables: &mut Vec<(String, String)>, name: &str, value: String) {
    match variables.iter_mut().find(|(known, _)| known == name) {
        Some((_, old)) => *old = value,
        None => variables.push((name.to_owned(), value)),
    }
}

/// Looks a variable up.
pub(super) fn get<'a>(variables: &'a [(String, String)], name: &str) -> Option<&'a String> {
    variables.iter().find(|(known, _)| known == name).map(|(_, value)| value)
}
