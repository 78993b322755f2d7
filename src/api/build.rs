//! `POST /build`, the classic builder's endpoint, and `POST /build/prune`.
//!
//! The context is an archive in the body, or has an address. What the builder does is said in the classic
//! builder's words: clients read the image's ID from `Successfully built`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::images::progress::{Layers, Way};
use super::lines::{Lines, failure};
use super::reply::Reply;
use super::request::Call;
use super::route::{How, Route, route};
use super::{credentials, names};
use crate::build::{
    self, BuildOptions, CachePrune, Failure, Keep, Listener, Sources, Squash, StepEnd, StepName,
};
use crate::engine::Engine;
use crate::engine::images::{PullOptions, PullPolicy};
use crate::error::{Error, Kind, Result};
use crate::spec::build_cache::BuildCache;
use crate::spec::container::Settings;
use crate::spec::digest::Digest;
use crate::spec::dockerfile::Dockerfile;
use crate::spec::limits::{Resources, Ulimit};
use crate::spec::network::{NameResolution, NetworkMode, parse_host};
use crate::spec::security::Security;

pub(super) const ROUTES: &[Route] =
    &[route("POST", "/build", How::Work(build)), route("POST", "/build/prune", How::Change(prune))];

fn build(engine: &Engine, call: &mut Call) -> Result<Reply> {
    if call.query.get("version") == Some("2") {
        let text = "BuildKit is not asked by way of /build";
        return Err(Error::new(Kind::Unsupported, text).hint(
            "clients since 23.0 ask it in other ways; set DOCKER_BUILDKIT=0 for older ones",
        ));
    }
    let mut options = options(call)?;
    let file = call.query.get("dockerfile").unwrap_or("Dockerfile").to_owned();
    let sources = match call.query.get("remote").map(str::to_owned) {
        None => Sources::receive(engine.store(), call.body(), &file)?,
        Some(remote) if remote == "client-session" => {
            return Err(Error::new(Kind::Unsupported, "a context cannot come by a session here"));
        }
        Some(remote) => Sources::remote(engine.store(), &remote, &file)?,
    };
    options.file_name.clone_from(&sources.file_name);
    options.file.clone_from(&sources.file);
    options.context.clone_from(&sources.context);
    options.ignored = sources.ignored.clone();
    let quiet = call.query.is_set("q");
    let lines = Lines::new(call);
    // What is wrong with it is told by the build.
    let file = Dockerfile::parse(&options.file_name, &options.file).ok();
    let numbers = file.map(|file| Numbers::new(&file, &options)).unwrap_or_default();
    let teller = Teller { lines: &lines, quiet, numbers };
    // A client shows a step's output behind what the step is.
    options.one_by_one = true;
    teller.open();
    let layers = Layers::new(&lines, Way::In, None);
    let built = match build::build(engine, &options, &teller, &layers) {
        Ok(built) => built,
        Err(Failure { error, code: Some(code) }) => {
            lines.write(&failure(&error, Some(code)));
            return lines.end(Ok(()));
        }
        Err(Failure { error, code: None }) => {
            return lines.end(Err(error));
        }
    };
    let Some(image) = built.images.first().map(|built| &built.image) else {
        return lines.end(Err(Error::new(Kind::Internal, "the build has made no image")));
    };
    if quiet {
        lines.write(&json!({ "stream": format!("{}\n", image.id) }));
    } else {
        teller.close(&options);
        lines.write(&json!({ "aux": { "ID": image.id } }));
        teller.say(&format!("Successfully built {}\n", image.id.short()));
        for name in &options.names {
            teller.say(&format!("Successfully tagged {}\n", name.familiar()));
        }
    }
    lines.end(Ok(()))
}

fn prune(engine: &Engine, call: &mut Call) -> Result<Reply> {
    let (gone, bytes) = build::prune_cache(engine, &pruning(call)?)?;
    let gone: Vec<&str> = gone.iter().map(Digest::hex).collect();
    Ok(Reply::json(&json!({
        "CachesDeleted": if gone.is_empty() { Value::Null } else { json!(gone) },
        "SpaceReclaimed": bytes,
    })))
}

/// Decodes what is to be pruned.
pub(super) fn pruning(call: &Call) -> Result<CachePrune> {
    let query = &call.query;
    let bytes = |name: &str| -> Result<u64> { Ok(query.parse(name)?.unwrap_or_default()) };
    Ok(CachePrune {
        all: query.is_set("all"),
        filters: query.filters()?,
        keep: Keep {
            // The first is the name before 1.48.
            reserved: bytes("keep-storage")?.max(bytes("reserved-space")?),
            most: bytes("max-used-space")?,
            free: bytes("min-free-space")?,
        },
    })
}

/// Decodes what is asked for, but for the Dockerfile and the context.
pub(super) fn options(call: &Call) -> Result<BuildOptions> {
    let query = &call.query;
    let pairs = |name: &str| -> Result<BTreeMap<String, Option<String>>> {
        Ok(query.json(name)?.unwrap_or_default())
    };
    let names = query.all("t").filter(|name| !name.is_empty());
    let policy = if query.is_set("pull") { PullPolicy::Always } else { PullPolicy::Missing };
    let registry = credentials::of_build(call)?;
    let some = |(name, value): (String, Option<String>)| Some((name, value?));
    let labels = pairs("labels")?.into_iter();
    let caches = query.json::<Option<Vec<String>>>("cachefrom")?.flatten().unwrap_or_default();
    let cache = |name: &String| {
        let name = names::complete(name, None)?;
        Ok(BuildCache::in_image(&name.to_string()))
    };
    Ok(BuildOptions {
        names: names.map(|name| names::complete(name, None)).collect::<Result<_>>()?,
        args: pairs("buildargs")?.into_iter().filter_map(some).collect(),
        labels: labels.map(|(name, value)| (name, value.unwrap_or_default())).collect(),
        target: query.get("target").map(str::to_owned),
        cache_from: caches.iter().map(cache).collect::<Result<_>>()?,
        no_cache: query.is_set("nocache"),
        pull: PullOptions { policy, registry, ..PullOptions::default() },
        platforms: query.parse("platform")?.into_iter().collect(),
        squash: if query.is_set("squash") { Squash::Added } else { Squash::None },
        settings: settings(call)?,
        ..BuildOptions::default()
    })
}

/// What commands get.
fn settings(call: &Call) -> Result<Settings> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Limit {
        name: String,
        soft: i64,
        hard: i64,
    }
    let query = &call.query;
    let mut security = Security::default();
    for option in query.json::<Option<Vec<String>>>("securityopt")?.flatten().unwrap_or_default() {
        security.apply(&option)?;
    }
    let limits = query.json::<Option<Vec<Limit>>>("ulimits")?.flatten().unwrap_or_default();
    let unlimited = |number: i64| u64::try_from(number).unwrap_or(u64::MAX);
    let ulimits = limits.into_iter().map(|limit| Ulimit {
        name: limit.name,
        soft: unlimited(limit.soft),
        hard: unlimited(limit.hard),
    });
    let hosts = query.all("extrahosts").filter(|text| !text.is_empty()).map(parse_host);
    let hosts = hosts.collect::<Result<_>>()?;
    let number = |name: &str| -> Result<Option<u64>> {
        Ok(query.parse::<u64>(name)?.filter(|number| *number > 0))
    };
    let network = match query.get("networkmode") {
        None => NetworkMode::Default,
        Some(text) => text.parse()?,
    };
    Ok(Settings {
        names: NameResolution { hosts, ..NameResolution::default() },
        resources: Resources {
            memory: number("memory")?,
            memory_swap: query.parse::<i64>("memswap")?.filter(|number| *number != 0),
            cpu_shares: number("cpushares")?,
            cpu_period: number("cpuperiod")?,
            cpu_quota: query.parse::<i64>("cpuquota")?.filter(|number| *number != 0),
            cpuset_cpus: query.get("cpusetcpus").map(str::to_owned),
            cpuset_mems: query.get("cpusetmems").map(str::to_owned),
            shm_size: number("shmsize")?,
            ..Resources::default()
        },
        network,
        ulimits: ulimits.collect(),
        security,
        ..Settings::default()
    })
}

/// The numbers of steps as the classic builder has them: through all stages, with what is before the first.
#[derive(Debug, Default)]
struct Numbers {
    /// The instructions before the first stage.
    before: Vec<String>,
    /// For each stage, the number of its `FROM`, and how many instructions it has.
    stages: Vec<(usize, usize)>,
    count: usize,
}

impl Numbers {
    /// Counts the instructions up to the stage that is wanted. Labels of the result are one more.
    fn new(file: &Dockerfile, options: &BuildOptions) -> Self {
        let all = file.stages.len();
        let target = options.target.as_ref().and_then(|name| file.stage(name, all));
        let before: Vec<String> = file.global_args.iter().map(|step| step.text.clone()).collect();
        let mut count = before.len();
        let mut stages = Vec::new();
        for stage in &file.stages[..target.map_or(all, |target| target + 1)] {
            stages.push((count + 1, stage.steps.len() + 1));
            count += stage.steps.len() + 1;
        }
        count += usize::from(!options.labels.is_empty());
        Self { before, stages, count }
    }

    /// Returns the number of a step; `None` for what the base image wants to be done, which has none.
    fn of(&self, step: &StepName) -> Option<usize> {
        let Some((first, own)) = self.stages.get(step.stage) else { return Some(step.number) };
        let added = step.count.saturating_sub(*own);
        match step.number {
            1 => Some(*first),
            number if number < added + 2 => None,
            number => Some(first + number - added - 1),
        }
    }
}

/// Tells a client how the build goes on.
struct Teller<'a, 'b> {
    lines: &'a Lines<'b>,
    quiet: bool,
    numbers: Numbers,
}

impl Teller<'_, '_> {
    /// Tells what is before the first stage.
    fn open(&self) {
        for (number, text) in (1..).zip(&self.numbers.before) {
            self.say(&format!("Step {number}/{} : {text}\n", self.numbers.count));
        }
    }

    /// Tells of the labels that the result has got.
    fn close(&self, options: &BuildOptions) {
        if options.labels.is_empty() {
            return;
        }
        let labels: Vec<String> =
            options.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let count = self.numbers.count;
        self.say(&format!("Step {count}/{count} : LABEL {}\n", labels.join(" ")));
    }

    fn say(&self, text: &str) {
        if !self.quiet {
            self.lines.write(&json!({ "stream": text }));
        }
    }
}

impl Listener for Teller<'_, '_> {
    fn begin(&self, step: &StepName) {
        let count = self.numbers.count.max(step.number);
        match self.numbers.of(step) {
            Some(number) => self.say(&format!("Step {number}/{count} : {}\n", step.text)),
            None => self.say(&format!("# Executing a build trigger: {}\n", step.text)),
        }
    }

    fn line(&self, _: &StepName, text: &str) {
        self.say(&format!(" ---> {}\n", text.trim_start_matches("--> ")));
    }

    fn output(&self, _: &StepName, bytes: &[u8]) {
        self.say(&String::from_utf8_lossy(bytes));
    }

    fn end(&self, _: &StepName, _: StepEnd<'_>) {}

    fn warning(&self, text: &str) {
        self.say(&format!("[Warning] {text}\n"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_steps_through_all_stages() {
        let text = "ARG V=1\nFROM a AS one\nRUN b\nFROM c\nRUN d\nRUN e\n";
        let file = Dockerfile::parse("Dockerfile", text).unwrap();
        let step = |stage, number, count| StepName { stage, number, count, ..StepName::default() };
        let mut options = BuildOptions::default();
        let numbers = Numbers::new(&file, &options);
        assert_eq!(numbers.count, 6);
        for (stage, number, count, want) in [
            (0, 1, 2, Some(2)),
            (0, 2, 2, Some(3)),
            (1, 1, 3, Some(4)),
            (1, 3, 3, Some(6)),
            // The base image wants two things to be done first.
            (1, 1, 5, Some(4)),
            (1, 2, 5, None),
            (1, 3, 5, None),
            (1, 4, 5, Some(5)),
        ] {
            assert_eq!(numbers.of(&step(stage, number, count)), want, "{stage} {number}/{count}");
        }
        options.labels.push(("a".to_owned(), "b".to_owned()));
        assert_eq!(Numbers::new(&file, &options).count, 7);
        options.target = Some("one".to_owned());
        assert_eq!(Numbers::new(&file, &options).count, 4);
    }
}
