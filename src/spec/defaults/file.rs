//! One `containers.conf`, as it is written, and what may be wrong with it.

use std::borrow::Cow;
use std::path::PathBuf;

use serde::Deserialize;

use super::network::{self, NetworkDefaults};
use super::{Defaults, List};
use crate::error::{Context, Error, Kind, Result};
use crate::spec::container::{parse_device, parse_umask};
use crate::spec::env::parse_pair;
use crate::spec::mount::Mount;
use crate::spec::network::parse_server;
use crate::spec::security::parse_capability;
use crate::spec::size::Size;

#[derive(Default, Deserialize)]
#[serde(default)]
struct File {
    containers: Containers,
    engine: Engine,
    network: network::Raw,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Containers {
    annotations: Option<Vec<Item>>,
    base_hosts_file: Option<String>,
    cgroup_conf: Option<Vec<Item>>,
    cgroupns: Option<String>,
    cgroups: Option<String>,
    default_capabilities: Option<Vec<Item>>,
    default_sysctls: Option<Vec<Item>>,
    default_ulimits: Option<Vec<Item>>,
    devices: Option<Vec<Item>>,
    dns_options: Option<Vec<Item>>,
    dns_searches: Option<Vec<Item>>,
    dns_servers: Option<Vec<Item>>,
    env: Option<Vec<Item>>,
    env_host: Option<bool>,
    host_containers_internal_ip: Option<String>,
    http_proxy: Option<bool>,
    init: Option<bool>,
    init_path: Option<PathBuf>,
    ipcns: Option<String>,
    log_driver: Option<String>,
    log_size_max: Option<i64>,
    log_tag: Option<String>,
    mounts: Option<Vec<Item>>,
    netns: Option<String>,
    no_hosts: Option<bool>,
    oom_score_adj: Option<i32>,
    pidns: Option<String>,
    pids_limit: Option<i64>,
    privileged: Option<bool>,
    read_only: Option<bool>,
    seccomp_profile: Option<PathBuf>,
    shm_size: Option<String>,
    tz: Option<String>,
    umask: Option<String>,
    userns: Option<String>,
    utsns: Option<String>,
    volumes: Option<Vec<Item>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Engine {
    cdi_spec_dirs: Option<Vec<Item>>,
    detach_keys: Option<String>,
    pull_policy: Option<String>,
    stop_timeout: Option<u32>,
}

/// A member of a list, or whether the list adds to that of earlier files.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Item {
    Text(String),
    Mark { append: bool },
}

/// What reads the values of a file.
pub(super) struct Reader<'a> {
    origin: &'a str,
}

impl Reader<'_> {
    pub(super) fn within<T>(&self, key: &str, parsed: Result<T>) -> Result<T> {
        parsed.context(|| format!("{}: `{key}`", self.origin))
    }

    /// Parses a value; an empty one says nothing.
    pub(super) fn value<T>(
        &self,
        key: &str,
        text: Option<String>,
        parse: impl Fn(&str) -> Result<T>,
    ) -> Result<Option<T>> {
        let text = text.filter(|text| !text.is_empty());
        text.map(|text| self.within(key, parse(&text))).transpose()
    }

    pub(super) fn list<T>(
        &self,
        key: &str,
        items: Option<Vec<Item>>,
        parse: impl Fn(&str) -> Result<T>,
    ) -> Result<List<T>> {
        let Some(items) = items else { return Ok(List::default()) };
        let (mut parsed, mut append) = (Vec::new(), None);
        for item in items {
            match item {
                Item::Text(text) => parsed.push(self.within(key, parse(&text))?),
                Item::Mark { append: mark } => append = Some(mark),
            }
        }
        Ok(List { items: Some(parsed), append })
    }
}

/// Empties lines that are comments, which is nearly all of the files that distributions ship: every command
/// reads them. Lines keep their numbers.
fn without_comments(text: &str) -> Cow<'_, str> {
    // Within a text of several lines, what looks like a comment is none.
    if text.contains("\"\"\"") || text.contains("'''") {
        return Cow::Borrowed(text);
    }
    let said = |line| if str::trim_start(line).starts_with('#') { "\n" } else { line };
    Cow::Owned(text.split_inclusive('\n').map(said).collect())
}

impl Defaults {
    /// Parses a file; `origin` is its path, for messages.
    pub fn parse(text: &str, origin: &str) -> Result<Self> {
        let text = &without_comments(text);
        let file: File = toml::from_str(text).map_err(|error| {
            let place = match error.span() {
                Some(span) => {
                    let before = text.get(..span.start).unwrap_or(text);
                    format!("{origin}, line {}", before.matches('\n').count() + 1)
                }
                None => origin.to_owned(),
            };
            Error::new(Kind::Invalid, format!("{place}: {}", error.message().replace('\n', "; ")))
                .hint("see containers.conf(5) for how it is written")
        })?;
        let reader = Reader { origin };
        let raw = file.containers;
        let text = |text: &str| Ok(text.to_owned());
        Ok(Self {
            annotations: reader.list("annotations", raw.annotations, parse_pair)?,
            base_hosts_file: reader.value("base_hosts_file", raw.base_hosts_file, str::parse)?,
            cgroup_conf: reader.list("cgroup_conf", raw.cgroup_conf, parse_pair)?,
            cgroups: reader.value("cgroups", raw.cgroups, str::parse)?,
            cgroupns: reader.value("cgroupns", raw.cgroupns, str::parse)?,
            capabilities: reader.list(
                "default_capabilities",
                raw.default_capabilities,
                parse_capability,
            )?,
            cdi_directories: reader
                .list("cdi_spec_dirs", file.engine.cdi_spec_dirs, |text| Ok(PathBuf::from(text)))?,
            // An empty one says that no keys do.
            detach_keys: match file.engine.detach_keys {
                Some(keys) => Some(reader.within("detach_keys", keys.parse())?),
                None => None,
            },
            devices: reader.list("devices", raw.devices, parse_device)?,
            dns_options: reader.list("dns_options", raw.dns_options, text)?,
            dns_searches: reader.list("dns_searches", raw.dns_searches, text)?,
            dns_servers: reader.list("dns_servers", raw.dns_servers, parse_server)?,
            env: reader.list("env", raw.env, parse_pair)?,
            env_host: raw.env_host,
            host_ip: reader.value(
                "host_containers_internal_ip",
                raw.host_containers_internal_ip,
                str::parse,
            )?,
            http_proxy: raw.http_proxy,
            init: raw.init,
            init_path: raw.init_path.filter(|path| !path.as_os_str().is_empty()),
            ipcns: reader.value("ipcns", raw.ipcns, str::parse)?,
            log_driver: reader.value("log_driver", raw.log_driver, str::parse)?,
            log_size_max: raw.log_size_max,
            log_tag: raw.log_tag.filter(|tag| !tag.is_empty()),
            mounts: reader.list("mounts", raw.mounts, Mount::parse_mount)?,
            network: NetworkDefaults::read(file.network, &reader)?,
            netns: reader.value("netns", raw.netns.filter(|it| it != "private"), str::parse)?,
            no_hosts: raw.no_hosts,
            oom_score_adj: raw.oom_score_adj,
            pidns: reader.value("pidns", raw.pidns, str::parse)?,
            pids_limit: raw.pids_limit,
            privileged: raw.privileged,
            pull_policy: file.engine.pull_policy.filter(|policy| !policy.is_empty()),
            read_only: raw.read_only,
            seccomp_profile: raw.seccomp_profile.filter(|path| !path.as_os_str().is_empty()),
            shm_size: reader
                .value("shm_size", raw.shm_size, str::parse::<Size>)?
                .map(|size| size.0),
            stop_timeout: file.engine.stop_timeout,
            sysctls: reader.list("default_sysctls", raw.default_sysctls, parse_pair)?,
            time_zone: raw.tz.filter(|zone| !zone.is_empty()),
            ulimits: reader.list("default_ulimits", raw.default_ulimits, str::parse)?,
            umask: reader.value("umask", raw.umask, parse_umask)?,
            // Without a mapping, there is none of its own.
            userns: reader.value("userns", raw.userns.filter(|it| it != "private"), str::parse)?,
            utsns: reader.value("utsns", raw.utsns, str::parse)?,
            volumes: reader.list("volumes", raw.volumes, Mount::parse_volume)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_knows() {
        let text = "[containers]\npids_limit = 7\nfrobnicate = [1]\nshm_size = \"1m\"\n\
                    log_driver = \"\"\nenv = [\"A=1\", \"B=\"]\nkeyring = true\n\
                    [engine]\nstop_timeout = 3\n[machine]\ncpus = 2\n";
        let read = Defaults::parse(text, "f").unwrap();
        assert_eq!(
            (read.pids_limit, read.shm_size, read.stop_timeout),
            (Some(7), Some(1 << 20), Some(3))
        );
        assert_eq!(read.log_driver, None);
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(read.env.all(), [pair("A", "1"), pair("B", "")]);
        assert_eq!(Defaults::parse("", "f").unwrap(), Defaults::default());
    }

    #[test]
    fn tells_what_is_wrong_and_where() {
        for (text, want) in [
            ("[containers]\n\nenv = 1\n", "f, line 3: "),
            ("[containers\n", "f, line 1: "),
            ("[containers]\numask = \"9\"\n", "f: `umask`: invalid umask `9`"),
            ("[containers]\ndevices = [\"x\"]\n", "f: `devices`: invalid device `x`"),
        ] {
            let error = Defaults::parse(text, "f").unwrap_err().to_string();
            assert!(error.starts_with(want), "{error}");
        }
    }

    #[test]
    fn later_files_win_and_lists_may_grow() {
        let file = |text: &str| Defaults::parse(&format!("[containers]\n{text}"), "f").unwrap();
        let mut all = file("env = [\"1=\"]\numask = \"1\"\ntz = \"local\"");
        let names = |all: &Defaults| -> String {
            all.env.all().iter().map(|(name, _)| name.as_str()).collect()
        };
        for (text, want) in [
            ("env = [\"2=\"]", "2"),
            ("env = [\"3=\", {append = true}]", "23"),
            ("umask = \"2\"", "23"),
            ("env = [\"4=\"]", "234"),
            ("env = [\"5=\", {append = false}]", "5"),
            ("env = []", ""),
        ] {
            all.overlay(file(text));
            assert_eq!(names(&all), want, "{text}");
        }
        assert_eq!((all.umask, all.time_zone.as_deref()), (Some(2), Some("local")));
    }
}
