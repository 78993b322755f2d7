//! Health checks: what a user asks for, and what is decided with what the image says.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::duration;
use super::health_log::{HealthDestination, HealthLog};
use super::image::Healthcheck;
use crate::error::{Error, Kind, Result};

/// Docker's defaults.
const INTERVAL: Duration = Duration::from_secs(30);
const TIMEOUT: Duration = Duration::from_secs(30);
const START_INTERVAL: Duration = Duration::from_secs(5);
const RETRIES: u32 = 3;

/// The shortest time that Docker takes.
const SHORTEST: Duration = Duration::from_millis(1);

/// How health is to be probed, as it is asked for. What is not said is for the image to say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HealthSpec {
    /// Whether the image's check is left out.
    pub disabled: bool,
    /// `NONE`, or `CMD` and its words, or `CMD-SHELL` and a line.
    pub test: Option<Vec<String>>,
    /// Time between two probes.
    pub interval: Option<Interval>,
    /// Time after which a probe has failed.
    pub timeout: Option<Duration>,
    /// Time during which failures do not count.
    pub start_period: Option<Duration>,
    /// Time between two probes during the start period.
    pub start_interval: Option<Duration>,
    /// Failures in a row that make it unhealthy.
    pub retries: Option<u32>,
    /// What is done about a container that is not healthy.
    pub on_failure: Option<OnFailure>,
    /// What must succeed before the check proper begins.
    pub startup: StartupSpec,
    /// Where results are kept.
    pub destination: Option<HealthDestination>,
    /// How many results are kept; 0 is all.
    pub max_log_count: Option<u32>,
    /// Bytes that are kept of each; 0 is all.
    pub max_log_size: Option<u32>,
}

/// How the start is to be probed, as it is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StartupSpec {
    /// `CMD` and its words, or `CMD-SHELL` and a line.
    pub test: Option<Vec<String>>,
    /// Time between two probes.
    pub interval: Option<Duration>,
    /// Time after which a probe has failed.
    pub timeout: Option<Duration>,
    /// Failures after which the container is started again; 0 is never.
    pub retries: Option<u32>,
    /// How often it must succeed.
    pub successes: Option<u32>,
}

/// Time between two probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interval {
    /// So long.
    Every(Duration),
    /// Nobody probes but `healthcheck run`.
    Never,
}

/// A health check, as it was decided.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Health {
    /// The check, in the image's form.
    pub check: Healthcheck,
    /// Whether nobody probes but `healthcheck run`.
    pub by_hand: bool,
    /// What is done about a container that is not healthy.
    pub on_failure: OnFailure,
    /// What must succeed before the check proper begins.
    pub startup: Option<Startup>,
    /// Where results are kept, and how much of them.
    pub log: HealthLog,
}

/// A check of whether a container has started: until it succeeds, health is not probed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Startup {
    /// The check, in the image's form; `retries` of 0 means that the container is never started again.
    pub check: Healthcheck,
    /// How often it must succeed.
    pub successes: u32,
}

/// What is done about a container that is not healthy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// Nothing.
    #[default]
    None,
    /// It is killed; its restart policy applies.
    Kill,
    /// It is stopped and started again.
    Restart,
    /// It is stopped.
    Stop,
}

impl OnFailure {
    /// Returns its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Kill => "kill",
            Self::Restart => "restart",
            Self::Stop => "stop",
        }
    }
}

impl HealthSpec {
    /// Decides with what the image says; `None` is no health check.
    pub fn decide(&self, image: Option<&Healthcheck>) -> Result<Option<Health>> {
        let check = image.cloned().unwrap_or_default();
        self.over(Health { check, ..Health::default() })
    }

    /// Decides with what was decided before; `None` is no health check.
    pub fn over(&self, mut health: Health) -> Result<Option<Health>> {
        let asked = self.test.is_some()
            || self.interval.is_some()
            || self.timeout.is_some()
            || self.retries.is_some()
            || self.start_period.is_some()
            || self.startup != StartupSpec::default();
        if self.disabled && asked {
            return Err(Error::new(
                Kind::Invalid,
                "--no-healthcheck conflicts with --health-* options",
            ));
        }
        let check = &mut health.check;
        if let Some(test) = &self.test {
            check.test.clone_from(test);
        }
        if self.disabled || matches!(check.test.first().map(String::as_str), None | Some("NONE")) {
            if self.startup != StartupSpec::default() {
                return Err(Error::new(
                    Kind::Invalid,
                    "startup healthcheck requires that a regular healthcheck is set, too",
                )
                .hint("add --health-cmd"));
            }
            return Ok(None);
        }
        if let Some(interval) = self.interval {
            health.by_hand = interval == Interval::Never;
            if let Interval::Every(interval) = interval {
                set(&mut check.interval, Some(interval));
            }
        }
        set(&mut check.timeout, self.timeout);
        set(&mut check.start_period, self.start_period);
        set(&mut check.start_interval, self.start_interval);
        if let Some(retries) = self.retries {
            check.retries = retries.into();
        }
        health.on_failure = self.on_failure.unwrap_or(health.on_failure);
        health.startup = self.startup.over(health.startup.take())?;
        if let Some(destination) = &self.destination {
            health.log.destination.clone_from(destination);
        }
        health.log.max_count = self.max_log_count.unwrap_or(health.log.max_count);
        health.log.max_size = self.max_log_size.unwrap_or(health.log.max_size);
        health.check.command()?;
        if let Some(startup) = &health.startup {
            startup.check.command()?;
        }
        Ok(Some(health))
    }
}

impl StartupSpec {
    /// Decides with what was decided before.
    fn over(&self, old: Option<Startup>) -> Result<Option<Startup>> {
        if *self == Self::default() {
            return Ok(old);
        }
        if old.is_none() && self.test.is_none() {
            return Err(Error::new(
                Kind::Invalid,
                "--health-startup-* flags need --health-startup-cmd",
            ));
        }
        let new = || Startup { check: Healthcheck::default(), successes: 1 };
        let mut startup = old.unwrap_or_else(new);
        if let Some(test) = &self.test {
            startup.check.test.clone_from(test);
        }
        set(&mut startup.check.interval, self.interval);
        set(&mut startup.check.timeout, self.timeout);
        if let Some(retries) = self.retries {
            startup.check.retries = retries.into();
        }
        startup.successes = self.successes.unwrap_or(startup.successes);
        Ok(Some(startup))
    }
}

/// Sets a time in nanoseconds, if one was given.
fn set(value: &mut i64, given: Option<Duration>) {
    if let Some(given) = given {
        *value = i64::try_from(given.as_nanos()).unwrap_or(i64::MAX);
    }
}

impl Healthcheck {
    /// Returns the words that a probe runs.
    pub fn command(&self) -> Result<Vec<String>> {
        let words = |words: &[String]| words.to_vec();
        let command = match self.test.first().map(String::as_str) {
            Some("CMD") => words(&self.test[1..]),
            Some("CMD-SHELL") if self.test.len() > 1 => ["/bin/sh", "-c"]
                .map(str::to_owned)
                .into_iter()
                .chain(words(&self.test[1..]))
                .collect(),
            Some("CMD-SHELL") | None => Vec::new(),
            Some(_) => words(&self.test),
        };
        if command.is_empty() {
            return Err(Error::new(Kind::Invalid, "the health check names no command"));
        }
        Ok(command)
    }

    /// Returns the time between two probes.
    pub fn interval(&self) -> Duration {
        or_default(self.interval, INTERVAL)
    }

    /// Returns the time after which a probe has failed.
    pub fn timeout(&self) -> Duration {
        or_default(self.timeout, TIMEOUT)
    }

    /// Returns the time during which failures do not count.
    pub fn start_period(&self) -> Duration {
        or_default(self.start_period, Duration::ZERO)
    }

    /// Returns the time between two probes during the start period.
    pub fn start_interval(&self) -> Duration {
        or_default(self.start_interval, START_INTERVAL)
    }

    /// Returns how many failures in a row make it unhealthy.
    pub fn retries(&self) -> u32 {
        u32::try_from(self.retries).ok().filter(|count| *count > 0).unwrap_or(RETRIES)
    }
}

fn or_default(nanoseconds: i64, default: Duration) -> Duration {
    match u64::try_from(nanoseconds) {
        Ok(given) if given > 0 => Duration::from_nanos(given),
        _ => default,
    }
}

/// Parses the command of a health check: a JSON list of words, or a line for the shell.
///
/// `none` is no check. `CMD` and `CMD-SHELL` may come first, as in a Dockerfile.
pub fn parse_command(text: &str) -> Result<Vec<String>> {
    let text = text.trim();
    if text.is_empty() {
        return Err(Error::new(
            Kind::Invalid,
            "must define a healthcheck command for all healthchecks",
        ));
    }
    if text.eq_ignore_ascii_case("none") {
        return Ok(vec!["NONE".to_owned()]);
    }
    let is_kind = |word: &str| matches!(word, "CMD" | "CMD-SHELL" | "NONE");
    if let Ok(words) = serde_json::from_str::<Vec<String>>(text) {
        return Ok(match words.first() {
            Some(first) if is_kind(first) => words,
            _ => std::iter::once("CMD".to_owned()).chain(words).collect(),
        });
    }
    if let Some(rest) = text.strip_prefix("CMD ") {
        return Ok(std::iter::once("CMD")
            .chain(rest.split_whitespace())
            .map(str::to_owned)
            .collect());
    }
    let line = text.strip_prefix("CMD-SHELL ").unwrap_or(text).trim();
    Ok(vec!["CMD-SHELL".to_owned(), line.to_owned()])
}

/// Parses the time between two probes; `disable` leaves them to `healthcheck run`.
pub fn parse_interval(text: &str) -> Result<Interval> {
    match text {
        "disable" => Ok(Interval::Never),
        _ => parse_time(text).map(Interval::Every),
    }
}

/// Parses a time of a health check, at least a millisecond.
pub fn parse_time(text: &str) -> Result<Duration> {
    let time = duration::parse(text)?;
    if !time.is_zero() && time < SHORTEST {
        return Err(Error::new(Kind::Invalid, format!("`{text}` is too short for a health check"))
            .hint("give 1ms or more"));
    }
    Ok(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &[&str]) -> Vec<String> {
        text.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn parses_commands() {
        for (text, want) in [
            ("curl -f http://x || exit 1", &["CMD-SHELL", "curl -f http://x || exit 1"][..]),
            ("CMD-SHELL  test -e /x", &["CMD-SHELL", "test -e /x"]),
            ("CMD test -e /x", &["CMD", "test", "-e", "/x"]),
            (r#"["test", "-e", "/x y"]"#, &["CMD", "test", "-e", "/x y"]),
            (r#"["CMD-SHELL", "true"]"#, &["CMD-SHELL", "true"]),
            ("none", &["NONE"]),
        ] {
            assert_eq!(parse_command(text).unwrap(), words(want), "{text}");
        }
        assert!(parse_command(" ").is_err());
    }

    #[test]
    fn says_more_than_the_image_does() {
        let image = Healthcheck {
            test: words(&["CMD", "probe"]),
            interval: 7,
            retries: 5,
            ..Healthcheck::default()
        };
        let spec = HealthSpec { timeout: Some(Duration::from_secs(2)), ..HealthSpec::default() };
        let health = spec.decide(Some(&image)).unwrap().unwrap();
        assert_eq!(health.check.command().unwrap(), words(&["probe"]));
        assert_eq!(health.check.interval(), Duration::from_nanos(7));
        assert_eq!(health.check.timeout(), Duration::from_secs(2));
        assert_eq!((health.check.retries(), health.check.start_period()), (5, Duration::ZERO));
        assert_eq!(spec.decide(None).unwrap(), None);
        let off = HealthSpec { disabled: true, ..HealthSpec::default() };
        assert_eq!(off.decide(Some(&image)).unwrap(), None);
        let both = HealthSpec { disabled: true, ..spec };
        assert_eq!(both.decide(Some(&image)).unwrap_err().kind(), Kind::Invalid);
    }

    #[test]
    fn what_is_not_said_anew_stays() {
        let spec = HealthSpec {
            test: Some(words(&["CMD", "probe"])),
            interval: Some(Interval::Every(Duration::from_secs(7))),
            startup: StartupSpec { test: Some(words(&["CMD", "start"])), ..Default::default() },
            ..HealthSpec::default()
        };
        let old = spec.decide(None).unwrap().unwrap();
        assert_eq!(HealthSpec::default().over(old.clone()).unwrap(), Some(old.clone()));
        let change = HealthSpec {
            interval: Some(Interval::Never),
            on_failure: Some(OnFailure::Kill),
            startup: StartupSpec { retries: Some(3), ..StartupSpec::default() },
            max_log_count: Some(0),
            ..HealthSpec::default()
        };
        let new = change.over(old.clone()).unwrap().unwrap();
        assert!(new.by_hand && new.check == old.check && new.on_failure == OnFailure::Kill);
        let startup = new.startup.unwrap();
        assert_eq!((startup.check.retries, &startup.check.test), (3, &words(&["CMD", "start"])));
        assert_eq!((new.log.max_count, new.log.max_size), (0, 4096));
        let off = HealthSpec { disabled: true, ..HealthSpec::default() };
        assert_eq!(off.over(old).unwrap(), None);
        let only_startup = HealthSpec { test: None, ..spec };
        assert!(only_startup.decide(None).is_err());
    }

    #[test]
    fn refuses_checks_without_a_command() {
        for test in [&["CMD"][..], &["CMD-SHELL"]] {
            let spec = HealthSpec { test: Some(words(test)), ..HealthSpec::default() };
            assert!(spec.decide(None).is_err(), "{test:?}");
        }
    }
}
