//! The words of BuildKit's frontend `dockerfile.v0`, as options of a build.

use std::collections::BTreeMap;
use std::str::FromStr;

use crate::build::BuildOptions;
use crate::engine::images::{PullOptions, PullPolicy};
use crate::error::{Error, Kind, Result};
use crate::spec::container::Settings;
use crate::spec::csv::fields;
use crate::spec::limits::Resources;
use crate::spec::network::{NameResolution, NetworkMode, parse_host};
use crate::spec::platform::Platform;

/// Returns the options that the words say; what is built and where from is left open.
pub(super) fn options(words: &BTreeMap<String, String>) -> Result<BuildOptions> {
    let text = |name: &str| words.get(name).map(String::as_str).filter(|it| !it.is_empty());
    let args: BTreeMap<String, String> = below(words, "build-arg:").collect();
    let epoch = args.get("SOURCE_DATE_EPOCH").filter(|it| !it.is_empty());
    let epoch = epoch
        .map(|it| it.trim().parse().map_err(|_| invalid("build-arg:SOURCE_DATE_EPOCH", it)))
        .transpose()?;
    let platforms = text("platform").unwrap_or_default();
    let platforms: Vec<Platform> = platforms
        .split(',')
        .filter(|it| !it.is_empty())
        .map(|it| it.parse().map_err(|_| invalid("platform", it)))
        .collect::<Result<_>>()?;
    let policy = match text("image-resolve-mode") {
        None | Some("default" | "local") => PullPolicy::Missing,
        Some("pull") => PullPolicy::Always,
        Some(other) => return Err(invalid("image-resolve-mode", other)),
    };
    // Said, and nothing behind it: that means all stages.
    let no_cache = words.get("no-cache");
    let stages = no_cache.map_or("", String::as_str).split(',').filter(|it| !it.is_empty());
    let stages: Vec<String> = stages.map(str::to_owned).collect();
    Ok(BuildOptions {
        labels: below(words, "label:").collect(),
        target: text("target").map(str::to_owned),
        no_cache: no_cache.is_some() && stages.is_empty(),
        no_cache_stages: stages,
        pull: PullOptions { policy, ..PullOptions::default() },
        platforms,
        settings: settings(words)?,
        epoch,
        args,
        ..BuildOptions::default()
    })
}

/// What commands get.
fn settings(words: &BTreeMap<String, String>) -> Result<Settings> {
    let network = match words.get("force-network-mode").map(String::as_str) {
        None | Some("" | "default" | "sandbox") => NetworkMode::Default,
        Some("host") => NetworkMode::Host,
        Some("none") => NetworkMode::None,
        Some(other) => return Err(invalid("force-network-mode", other)),
    };
    let mut hosts = Vec::new();
    for field in list(words, "add-hosts")? {
        hosts.push(parse_host(&field)?);
    }
    let ulimits = list(words, "ulimit")?.iter().map(|it| it.parse()).collect::<Result<_>>()?;
    let cgroup_parent = words.get("cgroup-parent").filter(|it| !it.is_empty());
    Ok(Settings {
        hostname: words.get("hostname").filter(|it| !it.is_empty()).cloned(),
        names: NameResolution { hosts, ..NameResolution::default() },
        resources: Resources {
            memory: number(words, "memory")?,
            memory_swap: number(words, "memswap")?,
            cpu_shares: number(words, "cpushares")?,
            cpu_period: number(words, "cpuperiod")?,
            cpu_quota: number(words, "cpuquota")?,
            cpuset_cpus: words.get("cpusetcpus").cloned(),
            cpuset_mems: words.get("cpusetmems").cloned(),
            shm_size: number(words, "shm-size")?,
            ..Resources::default()
        },
        cgroup_parent: cgroup_parent.map(|it| it.parse()).transpose()?,
        network,
        ulimits,
        ..Settings::default()
    })
}

/// Returns what is named by words that begin so.
pub(super) fn below<'a>(
    words: &'a BTreeMap<String, String>,
    prefix: &'a str,
) -> impl Iterator<Item = (String, String)> + 'a {
    words.iter().filter_map(move |(name, value)| {
        Some((name.strip_prefix(prefix)?.to_owned(), value.clone()))
    })
}

fn list(words: &BTreeMap<String, String>, name: &str) -> Result<Vec<String>> {
    match words.get(name).filter(|it| !it.is_empty()) {
        None => Ok(Vec::new()),
        Some(text) => fields(text).map_err(|_| invalid(name, text)),
    }
}

fn number<T: FromStr>(words: &BTreeMap<String, String>, name: &str) -> Result<Option<T>> {
    let text = words.get(name).filter(|it| !matches!(it.as_str(), "" | "0"));
    text.map(|it| it.parse().map_err(|_| invalid(name, it))).transpose()
}

fn invalid(name: &str, value: &str) -> Error {
    Error::new(Kind::Invalid, format!("invalid value `{value}` of the build's `{name}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn reads_the_words_of_the_frontend() {
        let said = words(&[
            ("build-arg:A", "1"),
            ("build-arg:SOURCE_DATE_EPOCH", "7"),
            ("label:x.y", "z"),
            ("target", "final"),
            ("no-cache", "a,b"),
            ("platform", "linux/amd64"),
            ("image-resolve-mode", "pull"),
            ("force-network-mode", "none"),
            ("add-hosts", "a=1.2.3.4,b=::1"),
            ("ulimit", "nofile=10:20,nproc=5"),
            ("shm-size", "1024"),
            ("memory", "4096"),
        ]);
        let options = options(&said).unwrap();
        assert_eq!(options.args["A"], "1");
        assert_eq!(options.epoch, Some(7));
        assert_eq!(options.labels, [("x.y".to_owned(), "z".to_owned())]);
        assert_eq!(options.target.as_deref(), Some("final"));
        assert!(!options.no_cache);
        assert_eq!(options.no_cache_stages, ["a", "b"]);
        assert_eq!(options.platforms.len(), 1);
        assert_eq!(options.pull.policy, PullPolicy::Always);
        let settings = options.settings;
        assert_eq!(settings.network, NetworkMode::None);
        let hosts: Vec<_> = settings.names.hosts.iter().map(|(a, b)| format!("{a} {b}")).collect();
        assert_eq!(hosts, ["a 1.2.3.4", "b ::1"]);
        assert_eq!(settings.ulimits.len(), 2);
        assert_eq!(settings.resources.shm_size, Some(1024));
        assert_eq!(settings.resources.memory, Some(4096));
    }

    #[test]
    fn says_all_stages_by_nothing() {
        assert!(options(&words(&[("no-cache", "")])).unwrap().no_cache);
        assert!(!options(&words(&[])).unwrap().no_cache);
    }

    #[test]
    fn refuses_what_makes_no_sense() {
        for (name, value) in [
            ("platform", "a/b/c/d"),
            ("image-resolve-mode", "x"),
            ("force-network-mode", "bridge9"),
            ("add-hosts", "a"),
            ("ulimit", "x"),
            ("shm-size", "x"),
            ("build-arg:SOURCE_DATE_EPOCH", "x"),
        ] {
            assert!(options(&words(&[(name, value)])).is_err(), "{name}={value}");
        }
    }
}
