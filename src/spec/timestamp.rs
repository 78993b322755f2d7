//! Points in time as documents write them: RFC 3339, as in `2024-05-01T10:00:00.5Z`.

const NANOSECONDS: i64 = 1_000_000_000;

/// Returns nanoseconds since 1970; `None` if it is no such time.
pub fn parse(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    if bytes.len() < 20 || !text.is_ascii() {
        return None;
    }
    let number = |from: usize, to: usize| -> Option<i64> {
        let digits = &text[from..to];
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    for (position, want) in [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')] {
        if bytes[position] != want {
            return None;
        }
    }
    if !matches!(bytes[10], b'T' | b't' | b' ') {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if !(1..=12).contains(&month)
        || !(1..=31).contains(&day)
        || hour > 23
        || minute > 59
        || second > 60
    {
        return None;
    }
    let (fraction, zone) = match text[19..].strip_prefix('.') {
        Some(rest) => {
            rest.split_at(rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len()))
        }
        None => ("", &text[19..]),
    };
    let nanoseconds: i64 = format!("{fraction:0<9.9}").parse().ok()?;
    let offset = match zone.as_bytes() {
        b"Z" | b"z" => 0,
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let digits = [*h1, *h2, *m1, *m2];
            if !digits.iter().all(u8::is_ascii_digit) {
                return None;
            }
            let [h1, h2, m1, m2] = digits.map(|digit| i64::from(digit - b'0'));
            let minutes = (h1 * 10 + h2) * 60 + m1 * 10 + m2;
            if *sign == b'-' { -minutes } else { minutes }
        }
        _ => return None,
    };
    let seconds = days(year, month, day) * 86400 + hour * 3600 + (minute - offset) * 60 + second;
    seconds.checked_mul(NANOSECONDS)?.checked_add(nanoseconds)
}

/// Writes nanoseconds since 1970 in universal time, without trailing zeros of the fraction.
pub fn format(time: i64) -> String {
    let (seconds, nanoseconds) = (time.div_euclid(NANOSECONDS), time.rem_euclid(NANOSECONDS));
    let (day, second) = (seconds.div_euclid(86400), seconds.rem_euclid(86400));
    let (year, month, day) = date(day);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let mut text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
    if nanoseconds > 0 {
        text += format!(".{nanoseconds:09}").trim_end_matches('0');
    }
    text.push('Z');
    text
}

/// Counts the days from 1970-01-01; years begin in March here, so that the odd day comes last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year
        - 719_468
}

/// The inverse of [`days`].
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_and_formats() {
        for (text, seconds, again) in [
            ("1970-01-01T00:00:00Z", Some(0), "1970-01-01T00:00:00Z"),
            ("2000-02-29T12:00:00Z", Some(951_825_600), "2000-02-29T12:00:00Z"),
            ("2024-05-01T10:00:00+02:00", Some(1_714_550_400), "2024-05-01T08:00:00Z"),
            ("1969-12-31T23:59:59Z", Some(-1), "1969-12-31T23:59:59Z"),
            ("2024-12-31T23:30:00-01:00", Some(1_735_691_400), "2025-01-01T00:30:00Z"),
            ("2024-05-01", None, ""),
            ("2024-13-01T10:00:00Z", None, ""),
            ("2024-05-01T10:00:00", None, ""),
            ("2024-05-01T10:00:00.Zx", None, ""),
            ("2024-05-01T1o:00:00Z", None, ""),
            ("+024-05-01T10:00:00Z", None, ""),
            ("9999-05-01T10:00:00Z", None, ""),
        ] {
            assert_eq!(parse(text), seconds.map(|seconds| seconds * NANOSECONDS), "{text}");
            if let Some(time) = parse(text) {
                assert_eq!(format(time), again);
            }
        }
        assert_eq!(format(parse("2024-05-01T10:00:00.120Z").unwrap()), "2024-05-01T10:00:00.12Z");
        // Docker's word for "never".
        assert_eq!(parse("0001-01-01T00:00:00Z"), None);
    }
}
