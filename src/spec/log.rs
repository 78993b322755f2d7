//! Where a container's output goes: the log driver and its options.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;

use regex::Regex;
use serde::{Deserialize, Serialize};

use super::size::Size;
use crate::error::{Error, Kind, Result};

/// Where a container's output goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LogSettings {
    /// How it is kept.
    pub driver: LogDriver,
    /// Bytes after which the file is rotated.
    pub max_size: Option<u64>,
    /// How many files are kept, the newest included.
    pub max_file: Option<u32>,
    /// Whether rotated files are compressed.
    pub compress: bool,
    /// The file; in the container's own directory if there is none.
    pub path: Option<PathBuf>,
    /// What the container is called in the log: a template, as in `{{.Name}}`.
    pub tag: Option<String>,
    /// Labels of the container that go with each line.
    pub labels: Vec<String>,
    /// Variables of the container that go with each line.
    pub env: Vec<String>,
    /// What the names of further labels match: a regular expression.
    pub labels_regex: Option<String>,
    /// What the names of further variables match.
    pub env_regex: Option<String>,
}

/// How a container's output is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogDriver {
    /// A file of lines with time and stream, as Kubernetes writes them.
    #[default]
    K8sFile,
    /// A file of JSON objects, as Docker writes them.
    JsonFile,
    /// As `k8s-file`, with the bounds of Docker's driver of this name.
    Local,
    /// The journal of systemd.
    Journald,
    /// Not at all.
    None,
    /// Nowhere: the container has the standard descriptors of who starts it.
    Passthrough,
    /// The same, even if they are a terminal.
    PassthroughTty,
}

/// What the driver `local` does where nothing else was asked for, as with Docker.
const LOCAL_SIZE: u64 = 20 << 20;
const LOCAL_FILES: u32 = 5;

/// How many files are kept where nothing is said: with a single one, a rotation would leave nothing
/// to look at.
const FILES: u32 = 2;

impl FromStr for LogDriver {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Ok(match text {
            "" | "k8s-file" => Self::K8sFile,
            "json-file" => Self::JsonFile,
            "local" => Self::Local,
            "journald" => Self::Journald,
            "none" => Self::None,
            "passthrough" => Self::Passthrough,
            "passthrough-tty" => Self::PassthroughTty,
            "awslogs" | "etwlogs" | "fluentd" | "gcplogs" | "gelf" | "splunk" | "syslog" => {
                return Err(Error::new(
                    Kind::Unsupported,
                    format!("unsupported log driver `{text}`"),
                )
                .hint("use journald, or have your log collector read the files of k8s-file or json-file"));
            }
            _ => {
                return Err(Error::new(
                    Kind::Invalid,
                    "running container create option: invalid log driver: invalid argument",
                )
                .hint(format!("`{text}` is not known; use k8s-file, json-file, local, journald, none, passthrough or passthrough-tty")));
            }
        })
    }
}

impl LogDriver {
    /// Returns its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::K8sFile => "k8s-file",
            Self::JsonFile => "json-file",
            Self::Local => "local",
            Self::Journald => "journald",
            Self::None => "none",
            Self::Passthrough => "passthrough",
            Self::PassthroughTty => "passthrough-tty",
        }
    }

    /// Tells whether the container has the standard descriptors of who starts it.
    pub fn is_passthrough(self) -> bool {
        matches!(self, Self::Passthrough | Self::PassthroughTty)
    }

    /// Tells whether output is kept in files of ours.
    pub fn is_file(self) -> bool {
        matches!(self, Self::K8sFile | Self::JsonFile | Self::Local)
    }
}

impl LogSettings {
    /// Applies one `--log-opt`, as in `max-size=10m`.
    pub fn apply(&mut self, text: &str) -> Result<()> {
        let invalid = || Error::new(Kind::Invalid, format!("invalid --log-opt `{text}`"));
        let (key, value) = text.split_once('=').ok_or_else(|| invalid().hint("write KEY=VALUE"))?;
        match key {
            "max-size" if value == "-1" => self.max_size = None,
            "max-size" => {
                let size = value.parse::<Size>()?.0;
                self.max_size = Some(size).filter(|size| *size > 0);
            }
            "max-file" => {
                let count = value.parse().ok().filter(|count| *count > 0);
                self.max_file = Some(count.ok_or_else(invalid)?);
            }
            "compress" => {
                self.compress = value.parse().map_err(|_| invalid().hint("write true or false"))?;
            }
            "path" if value.starts_with('/') => self.path = Some(value.into()),
            "path" => return Err(invalid().hint("write an absolute path")),
            "tag" => self.tag = Some(value.to_owned()),
            "labels" => self.labels = list(value),
            "env" => self.env = list(value),
            "labels-regex" | "env-regex" => {
                let wrong = |error: regex::Error| {
                    // The lines before it draw where that is.
                    let text = error.to_string();
                    let last = text.lines().last().unwrap_or_default();
                    invalid().hint(last.trim_start_matches("error: "))
                };
                Regex::new(value).map_err(wrong)?;
                match key {
                    "labels-regex" => self.labels_regex = Some(value.to_owned()),
                    _ => self.env_regex = Some(value.to_owned()),
                }
            }
            // Output never waits for the log, so there is nothing to choose.
            "mode" if matches!(value, "blocking" | "non-blocking") => {}
            "max-buffer-size" => drop(value.parse::<Size>()?),
            _ => {
                return Err(invalid().hint(
                    "use max-size, max-file, compress, path, tag, labels, labels-regex, env or env-regex",
                ));
            }
        }
        Ok(())
    }

    /// Refuses what does not go together.
    pub fn check(&self) -> Result<()> {
        let files_only = [
            ("max-size", self.max_size.is_some()),
            ("max-file", self.max_file.is_some()),
            ("compress", self.compress),
            ("path", self.path.is_some()),
        ];
        match files_only.iter().find(|(_, given)| *given) {
            // As Docker does: who asks for it would wait for it in vain.
            Some((name, _)) if self.driver == LogDriver::Journald => Err(Error::new(
                Kind::Invalid,
                format!("--log-opt {name} makes no sense with the log driver journald"),
            )
            .hint("the journal has limits of its own; see journald.conf(5)")),
            _ => Ok(()),
        }
    }

    /// Refuses what does not go together with a terminal of the container.
    pub fn check_terminal(&self, tty: bool) -> Result<()> {
        if !(tty && self.driver.is_passthrough()) {
            return Ok(());
        }
        let text =
            format!("--tty and --log-driver {} cannot be set together", self.driver.as_str());
        Err(Error::new(Kind::Invalid, text)
            .hint("leave out --tty: it gets the streams as they are"))
    }

    /// Bytes after which the file is rotated, if it is.
    pub fn size_limit(&self) -> Option<u64> {
        self.max_size.or((self.driver == LogDriver::Local).then_some(LOCAL_SIZE))
    }

    /// How many files are kept, the newest included.
    pub fn files(&self) -> u32 {
        let usual = if self.driver == LogDriver::Local { LOCAL_FILES } else { FILES };
        self.max_file.unwrap_or(usual)
    }

    /// What goes with each line: the labels and variables that were asked for and are there.
    pub fn attributes(
        &self,
        labels: &BTreeMap<String, String>,
        env: &[String],
    ) -> BTreeMap<String, String> {
        // Checked when it was asked for.
        let pattern = |text: &Option<String>| text.as_deref().and_then(|it| Regex::new(it).ok());
        let is_asked_for = |name: &str, names: &[String], pattern: &Option<Regex>| {
            names.iter().any(|it| it == name)
                || pattern.as_ref().is_some_and(|it| it.is_match(name))
        };
        let (of_label, of_env) = (pattern(&self.labels_regex), pattern(&self.env_regex));
        let labels = labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let labels = labels.filter(|(name, _)| is_asked_for(name, &self.labels, &of_label));
        let env = env.iter().filter_map(|entry| entry.split_once('='));
        let env = env.filter(|(name, _)| is_asked_for(name, &self.env, &of_env));
        labels.chain(env).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// The options as they were given, for those who ask.
    pub fn options(&self) -> Vec<(&'static str, String)> {
        let number = |value: Option<u64>| value.map(|value| value.to_string());
        let words = |words: &[String]| (!words.is_empty()).then(|| words.join(","));
        let given = [
            ("max-size", number(self.max_size)),
            ("max-file", number(self.max_file.map(u64::from))),
            ("compress", self.compress.then(|| "true".to_owned())),
            ("path", self.path.as_ref().map(|path| path.display().to_string())),
            ("tag", self.tag.clone()),
            ("labels", words(&self.labels)),
            ("env", words(&self.env)),
            ("labels-regex", self.labels_regex.clone()),
            ("env-regex", self.env_regex.clone()),
        ];
        given.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_options() {
        for (text, want) in [
            ("max-size=10k", Some(vec![("max-size", "10240")])),
            ("max-size=-1", Some(vec![])),
            ("max-file=3", Some(vec![("max-file", "3")])),
            ("compress=true", Some(vec![("compress", "true")])),
            ("path=/a/b", Some(vec![("path", "/a/b")])),
            ("tag={{.Name}}", Some(vec![("tag", "{{.Name}}")])),
            ("labels=a, b", Some(vec![("labels", "a,b")])),
            ("env=A", Some(vec![("env", "A")])),
            ("env-regex=^A.*", Some(vec![("env-regex", "^A.*")])),
            ("labels-regex=(", None),
            ("mode=non-blocking", Some(vec![])),
            ("mode=x", None),
            ("path=a", None),
            ("max-file=0", None),
            ("max-size=x", None),
            ("compress=x", None),
            ("tag", None),
            ("x=y", None),
        ] {
            let mut log = LogSettings::default();
            let got = log.apply(text).ok().map(|()| log.options());
            let want = want.map(|pairs| {
                pairs.into_iter().map(|(name, value)| (name, value.to_owned())).collect()
            });
            assert_eq!(got, want, "{text}");
        }
    }

    #[test]
    fn knows_drivers() {
        for name in
            ["k8s-file", "json-file", "local", "journald", "none", "passthrough", "passthrough-tty"]
        {
            assert_eq!(name.parse::<LogDriver>().unwrap().as_str(), name);
        }
        assert_eq!("".parse::<LogDriver>().unwrap(), LogDriver::K8sFile);
        assert_eq!("syslog".parse::<LogDriver>().unwrap_err().kind(), Kind::Unsupported);
        assert_eq!("bogus".parse::<LogDriver>().unwrap_err().kind(), Kind::Invalid);
    }

    #[test]
    fn has_limits() {
        let settings = |driver| LogSettings { driver, ..LogSettings::default() };
        assert_eq!(settings(LogDriver::K8sFile).size_limit(), None);
        assert_eq!(settings(LogDriver::Local).size_limit(), Some(20 << 20));
        assert_eq!(settings(LogDriver::Local).files(), 5);
        assert!(settings(LogDriver::JsonFile).check().is_ok());
        assert!(settings(LogDriver::Journald).check().is_ok());
        let mut journal = settings(LogDriver::Journald);
        journal.apply("max-size=1m").unwrap();
        assert!(journal.check().is_err());
    }

    #[test]
    fn picks_attributes() {
        let mut log = LogSettings::default();
        log.apply("labels=a,c").unwrap();
        log.apply("env=E").unwrap();
        let labels = [("a", "1"), ("b", "2")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        let got = log.attributes(&labels, &["E=3".to_owned(), "F=4".to_owned()]);
        assert_eq!(got, [("E", "3"), ("a", "1")].map(|(k, v)| (k.to_owned(), v.to_owned())).into());
        let mut log = LogSettings::default();
        log.apply("labels-regex=^[bc]").unwrap();
        log.apply("env-regex=F").unwrap();
        let got = log.attributes(&labels, &["E=3".to_owned(), "F=4".to_owned()]);
        assert_eq!(got, [("F", "4"), ("b", "2")].map(|(k, v)| (k.to_owned(), v.to_owned())).into());
    }
}
