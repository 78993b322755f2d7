//! Durations as Go writes them (`1h2m3s`), or plain seconds; and as tables show them.

use std::time::Duration;

use crate::error::{Error, Kind, Result};

/// Parses a duration: a sequence of numbers with units (`1h30m`, `1.5s`, `300ms`), or bare seconds.
pub fn parse(text: &str) -> Result<Duration> {
    if let Ok(seconds) = text.parse::<u64>() {
        return Ok(Duration::from_secs(seconds));
    }
    parse_units(text).ok_or_else(|| {
        Error::new(Kind::Invalid, format!("invalid duration `{text}`"))
            .hint("write numbers with units, as in 90s, 1m30s or 2h")
    })
}

/// Parses a duration as Go does: only nothing at all needs no unit. `None` if it is none.
pub fn parse_go(text: &str) -> Option<Duration> {
    if text == "0" { Some(Duration::ZERO) } else { parse_units(text) }
}

fn parse_units(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(end);
        let end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let nanoseconds: u128 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let digits = |text: &str| match text {
            "" => Some(0),
            text => text.parse::<u64>().ok().map(u128::from),
        };
        let fraction = &fraction[..fraction.len().min(15)];
        let scale = 10_u128.pow(fraction.len() as u32);
        total = total.checked_add(digits(whole)?.checked_mul(nanoseconds)?)?;
        total = total.checked_add(digits(fraction)? * nanoseconds / scale)?;
        rest = tail;
    }
    match u64::try_from(total) {
        Ok(total) if !text.is_empty() => Some(Duration::from_nanos(total)),
        _ => None,
    }
}

/// Writes a duration as Go does, as in `1h2m3.5s` or `20ms`.
pub fn go(duration: Duration) -> String {
    let nanoseconds = duration.as_nanos();
    let (unit, scale) = match nanoseconds {
        0 => return "0s".to_owned(),
        1..1_000 => ("ns", 1),
        1_000..1_000_000 => ("µs", 1_000),
        1_000_000..1_000_000_000 => ("ms", 1_000_000),
        _ => ("s", 1_000_000_000),
    };
    let (hours, minutes) = (duration.as_secs() / 3600, duration.as_secs() / 60 % 60);
    let rest = if unit == "s" { nanoseconds % 60_000_000_000 } else { nanoseconds };
    let mut text = match (hours, minutes) {
        (0, 0) => String::new(),
        (0, minutes) => format!("{minutes}m"),
        (hours, minutes) => format!("{hours}h{minutes}m"),
    };
    text.push_str(&(rest / scale).to_string());
    let width = scale.ilog10() as usize;
    let fraction = format!("{:0width$}", rest % scale);
    let fraction = fraction.trim_end_matches('0');
    if !fraction.is_empty() {
        text.push('.');
        text.push_str(fraction);
    }
    text + unit
}

/// Writes roughly how long something took, as in `2 minutes`.
pub fn human(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let minutes = seconds / 60;
    // Rounded, as Docker does from here on.
    let hours = (seconds + 1800) / 3600;
    match seconds {
        0 => "Less than a second".to_owned(),
        1 => "1 second".to_owned(),
        2..60 => format!("{seconds} seconds"),
        60..120 => "About a minute".to_owned(),
        120..3600 => format!("{minutes} minutes"),
        _ if hours == 1 => "About an hour".to_owned(),
        _ if hours < 48 => format!("{hours} hours"),
        _ if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        _ if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        _ if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", seconds / 3600 / 24 / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_durations_as_go() {
        for (nanoseconds, want) in [
            (0, "0s"),
            (7, "7ns"),
            (1_500, "1.5µs"),
            (20_000_000, "20ms"),
            (1_000_000_000, "1s"),
            (61_500_000_000, "1m1.5s"),
            (3_600_000_000_000, "1h0m0s"),
            (3_723_000_000_001, "1h2m3.000000001s"),
        ] {
            assert_eq!(go(Duration::from_nanos(nanoseconds)), want);
        }
    }

    #[test]
    fn parses_durations() {
        for (text, want) in [
            ("10", Some(10_000)),
            ("0", Some(0)),
            ("0s", Some(0)),
            ("1h2m3s", Some(3_723_000)),
            ("1.5s", Some(1_500)),
            (".5s", Some(500)),
            ("1.s", Some(1_000)),
            ("300ms", Some(300)),
            ("2000us", Some(2)),
            ("3000µs", Some(3)),
            ("90m", Some(5_400_000)),
            ("", None),
            ("s", None),
            (".s", None),
            ("1d", None),
            ("1h2", None),
            ("-1s", None),
            ("1..5s", None),
            ("99999999999h", None),
        ] {
            let want = want.map(Duration::from_millis);
            assert_eq!(parse(text).ok(), want, "{text}");
        }
    }

    #[test]
    fn shows_durations() {
        const HOUR: u64 = 3600;
        for (seconds, want) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (121, "2 minutes"),
            (3599, "59 minutes"),
            (HOUR, "About an hour"),
            (HOUR * 2, "2 hours"),
            (HOUR * 47, "47 hours"),
            (HOUR * 24 * 3, "3 days"),
            (HOUR * 24 * 15, "2 weeks"),
            (HOUR * 24 * 70, "2 months"),
            (HOUR * 24 * 800, "2 years"),
        ] {
            assert_eq!(human(Duration::from_secs(seconds)), want);
        }
    }
}
