//! Points in time: nanoseconds since 1970, written and read as RFC 3339.
//!
//! The clock is the caller's: nothing here asks what time it is. Times without a zone are UTC.

use super::duration;
use crate::error::{Error, Kind, Result};

const SECOND: i64 = 1_000_000_000;
const DAY: i64 = 86_400;

/// Writes a time as RFC 3339 with all nine digits, as in `2026-11-02T08:04:05.000000001Z`.
pub fn rfc3339(nanoseconds: i64) -> String {
    let (date, clock) = parts(nanoseconds);
    let fraction = nanoseconds.rem_euclid(SECOND);
    format!("{date}T{clock}.{fraction:09}Z")
}

/// Writes a time as Go's `RFC3339Nano` does: the fraction has no zeros at its end.
pub fn rfc3339_short(nanoseconds: i64) -> String {
    let long = rfc3339(nanoseconds);
    format!("{}Z", long.trim_end_matches('Z').trim_end_matches('0').trim_end_matches('.'))
}

/// Writes a time as Go prints one, as in `2026-11-02 08:04:05 +0000 UTC`.
pub fn go_style(nanoseconds: i64) -> String {
    let (date, clock) = parts(nanoseconds);
    format!("{date} {clock} +0000 UTC")
}

/// As [`go_style`], with the fraction of the second.
pub fn go_style_nanoseconds(nanoseconds: i64) -> String {
    let (date, clock) = parts(nanoseconds);
    let fraction = format!(".{:09}", nanoseconds.rem_euclid(SECOND));
    let fraction = fraction.trim_end_matches('0').trim_end_matches('.');
    format!("{date} {clock}{fraction} +0000 UTC")
}

/// Writes a time as in `Mon Nov  2 08:04:05 2026`.
pub fn ctime(nanoseconds: i64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let days = nanoseconds.div_euclid(SECOND).div_euclid(DAY);
    let (year, month, day) = date_of(days);
    let (_, clock) = parts(nanoseconds);
    let weekday = DAYS[days.rem_euclid(7) as usize];
    format!("{weekday} {} {day:2} {clock} {year}", MONTHS[month as usize - 1])
}

/// Returns the date and the time of day, both as text.
fn parts(nanoseconds: i64) -> (String, String) {
    let seconds = nanoseconds.div_euclid(SECOND);
    let (year, month, day) = date_of(seconds.div_euclid(DAY));
    let clock = seconds.rem_euclid(DAY);
    let (hour, minute, second) = (clock / 3600, clock / 60 % 60, clock % 60);
    (format!("{year:04}-{month:02}-{day:02}"), format!("{hour:02}:{minute:02}:{second:02}"))
}

/// Turns days since 1970-01-01 into year, month and day of the Gregorian calendar.
///
/// Counts in eras of 400 years, of which each has as many days as every other, and in years that
/// begin in March, so that the leap day is the last of its year.
fn date_of(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// The inverse of [`date_of`].
fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let shifted = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * shifted + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Parses a time: RFC 3339 (whole or its beginning), seconds since 1970, or a duration before `now`.
pub fn parse(text: &str, now: i64) -> Result<i64> {
    let invalid = || {
        Error::new(Kind::Invalid, format!("invalid time `{text}`"))
            .hint("write a time as in 2026-11-02T08:04:05Z, seconds since 1970, or how long ago as in 10m")
    };
    if let Some((seconds, fraction)) = split_seconds(text) {
        return parse_unix(seconds, fraction).ok_or_else(invalid);
    }
    if let Ok(ago) = duration::parse(text) {
        let ago = i64::try_from(ago.as_nanos()).map_err(|_| invalid())?;
        return now.checked_sub(ago).ok_or_else(invalid);
    }
    parse_rfc3339(text).ok_or_else(invalid)
}

/// Splits `1136073600.000000001`; `None` if the text is no such number.
fn split_seconds(text: &str) -> Option<(&str, &str)> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    (!seconds.is_empty() && digits(seconds) && digits(fraction)).then_some((seconds, fraction))
}

fn parse_unix(seconds: &str, fraction: &str) -> Option<i64> {
    seconds.parse::<i64>().ok()?.checked_mul(SECOND)?.checked_add(nanoseconds(fraction)?)
}

/// Reads the digits after a decimal point as nanoseconds.
fn nanoseconds(digits: &str) -> Option<i64> {
    let mut padded = format!("{digits:0<9}");
    padded.truncate(9);
    padded.bytes().all(|byte| byte.is_ascii_digit()).then(|| padded.parse().ok())?
}

/// Parses `2026-11-02[T08:04[:05[.678]]][Z|+01:00]`; `None` if it is not of that form.
pub fn parse_rfc3339(text: &str) -> Option<i64> {
    let (date, rest) = text.split_at_checked(10)?;
    let mut fields = date.split('-');
    let (year, month, day) =
        (field(&mut fields, 4)?, field(&mut fields, 2)?, field(&mut fields, 2)?);
    let (clock, zone) = match rest.strip_prefix(['T', 't', ' ']) {
        Some(rest) => rest.split_at(rest.find(['Z', 'z', '+', '-']).unwrap_or(rest.len())),
        None => ("00:00", rest),
    };
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let mut fields = clock.split(':');
    let (hour, minute) = (field(&mut fields, 2)?, field(&mut fields, 2)?);
    let second = if clock.len() > 5 { field(&mut fields, 2)? } else { 0 };
    // A leap second is the first one of the next minute here.
    let real = (1..=12).contains(&month) && hour < 24 && minute < 60 && second <= 60;
    let days = days_of(year, month, day);
    if !real || fields.next().is_some() || date_of(days) != (year, month, day) {
        return None;
    }
    let seconds = days * DAY + hour * 3600 + minute * 60 + second - offset(zone)?;
    seconds.checked_mul(SECOND)?.checked_add(nanoseconds(fraction)?)
}

/// Reads the next field of exactly `width` digits.
fn field<'a>(fields: &mut impl Iterator<Item = &'a str>, width: usize) -> Option<i64> {
    let text = fields.next()?;
    (text.len() == width && text.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| text.parse().ok())?
}

/// Reads a zone as seconds east of Greenwich.
fn offset(zone: &str) -> Option<i64> {
    let (sign, rest) = match zone {
        "" | "Z" | "z" => return Some(0),
        zone if zone.starts_with('-') => (-1, &zone[1..]),
        zone => (1, zone.strip_prefix('+')?),
    };
    let mut fields = rest.split(':');
    let (hours, minutes) = (field(&mut fields, 2)?, field(&mut fields, 2)?);
    (fields.next().is_none() && hours < 24 && minutes < 60)
        .then_some(sign * (hours * 3600 + minutes * 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_times() {
        for (nanoseconds, want) in [
            (0, "1970-01-01T00:00:00.000000000Z"),
            (-1, "1969-12-31T23:59:59.999999999Z"),
            (951_782_400 * SECOND, "2000-02-29T00:00:00.000000000Z"),
            (1_793_606_645 * SECOND + 5, "2026-11-02T08:04:05.000000005Z"),
        ] {
            assert_eq!(rfc3339(nanoseconds), want);
            assert_eq!(parse(want, 0).unwrap(), nanoseconds);
        }
        assert_eq!(rfc3339_short(SECOND), "1970-01-01T00:00:01Z");
        assert_eq!(rfc3339_short(SECOND / 2), "1970-01-01T00:00:00.5Z");
        assert_eq!(go_style(0), "1970-01-01 00:00:00 +0000 UTC");
        assert_eq!(ctime(1_793_606_645 * SECOND), "Mon Nov  2 08:04:05 2026");
    }

    #[test]
    fn parses_times() {
        let now = 1_000 * SECOND;
        for (text, want) in [
            ("0", Some(0)),
            ("100.5", Some(100 * SECOND + SECOND / 2)),
            ("10s", Some(990 * SECOND)),
            ("1m", Some(940 * SECOND)),
            ("1970-01-02", Some(DAY * SECOND)),
            ("1970-01-02T00:00", Some(DAY * SECOND)),
            ("1970-01-02 00:00:01", Some((DAY + 1) * SECOND)),
            ("1970-01-01T01:00:00+01:00", Some(0)),
            ("1970-01-01T00:00:00-00:30", Some(1800 * SECOND)),
            ("1970-01-01T00:00:00.25Z", Some(SECOND / 4)),
            ("1970-01-01Z", Some(0)),
            ("", None),
            ("yesterday", None),
            ("1970-02-30", None),
            ("1970-13-01", None),
            ("1970-00-01", None),
            ("1970-01-01T24:00", None),
            ("1970-01-01T00:00:00:00", None),
            ("1970-01-01T00", None),
            ("1970-1-1", None),
            ("1970-01-01T00:00:00+1", None),
            ("99999999999999999999", None),
            ("9999-01-01", None),
            ("1970-01-0é", None),
        ] {
            assert_eq!(parse(text, now).ok(), want, "{text}");
        }
    }
}
