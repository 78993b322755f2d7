//! Sizes in bytes, as people write them (`512m`, `1.5GiB`) and as tables show them (`1.23MB`).

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Kind, Result};

/// A number of bytes as in `512m`: units are powers of 1024, a bare number is bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

impl FromStr for Size {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let invalid = || {
            Error::new(Kind::Invalid, format!("invalid size: `{text}`"))
                .hint("write a number and a unit, as in 512m or 1.5g")
        };
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let shift = match unit.trim_start().to_ascii_lowercase().as_str() {
            "" | "b" => 0,
            "k" | "kb" | "kib" => 10,
            "m" | "mb" | "mib" => 20,
            "g" | "gb" | "gib" => 30,
            "t" | "tb" | "tib" => 40,
            "p" | "pb" | "pib" => 50,
            _ => return Err(invalid()),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
        // Digits are all that is left in both parts, unless there is a second point or none at all.
        let whole: u64 = whole.parse().map_err(|_| invalid())?;
        let bytes = whole.checked_mul(1 << shift).ok_or_else(invalid)?;
        // Twelve digits are finer than a byte of the largest unit that anybody has.
        let fraction = &fraction[..fraction.len().min(12)];
        let scale = 10_u128.pow(fraction.len() as u32);
        let parts: u128 = fraction.parse().map_err(|_| invalid())?;
        let rest = u64::try_from((parts << shift) / scale).map_err(|_| invalid())?;
        bytes.checked_add(rest).map(Self).ok_or_else(invalid)
    }
}

/// Writes bytes in powers of 1000 with three significant digits, as in `1.23MB`.
#[derive(Clone, Copy, Debug)]
pub struct HumanSize(pub u64);

impl fmt::Display for HumanSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        scaled(f, self.0, 1000.0, 3, ["B", "kB", "MB", "GB", "TB", "PB", "EB"])
    }
}

/// Writes bytes in powers of 1000 with four significant digits, as in `1.234MB`.
#[derive(Clone, Copy, Debug)]
pub struct LongSize(pub u64);

impl fmt::Display for LongSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        scaled(f, self.0, 1000.0, 4, ["B", "kB", "MB", "GB", "TB", "PB", "EB"])
    }
}

/// Writes bytes in powers of 1024 with four significant digits, as in `1.234GiB`.
#[derive(Clone, Copy, Debug)]
pub struct BinarySize(pub u64);

impl fmt::Display for BinarySize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        scaled(f, self.0, 1024.0, 4, ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"])
    }
}

fn scaled(
    f: &mut fmt::Formatter<'_>,
    bytes: u64,
    base: f64,
    digits: i32,
    units: [&str; 7],
) -> fmt::Result {
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= base && unit < units.len() - 1 {
        value /= base;
        unit += 1;
    }
    // As C's %.3g: significant digits, then no zeros at the end of the fraction.
    let before = if value >= 1000.0 { 4 } else { 1 + value.max(1.0).log10() as i32 };
    let mut text = format!("{value:.*}", (digits - before).max(0) as usize);
    if text.contains('.') {
        text.truncate(text.trim_end_matches('0').trim_end_matches('.').len());
    }
    f.pad(&format!("{text}{}", units[unit]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_sizes() {
        for (text, want) in [
            ("1024", Some(1024)),
            ("0", Some(0)),
            ("7b", Some(7)),
            ("1k", Some(1024)),
            ("1K", Some(1024)),
            ("512m", Some(512 << 20)),
            ("512MB", Some(512 << 20)),
            ("2MiB", Some(2 << 20)),
            ("1.5g", Some(3 << 29)),
            ("0.5k", Some(512)),
            ("1 g", Some(1 << 30)),
            ("3t", Some(3 << 40)),
            ("1.0000000000001k", Some(1024)),
            ("", None),
            ("m", None),
            ("-1", None),
            ("1.2.3m", None),
            ("1.m", None),
            ("5x", None),
            ("5mm", None),
            ("ten", None),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("999999999p", None),
        ] {
            assert_eq!(text.parse::<Size>().ok(), want.map(Size), "{text}");
        }
    }

    #[test]
    fn shows_sizes() {
        for (bytes, want) in [
            (0, "0B"),
            (5, "5B"),
            (999, "999B"),
            (1000, "1kB"),
            (1_234, "1.23kB"),
            (12_345, "12.3kB"),
            (123_456, "123kB"),
            (1_230_000, "1.23MB"),
            (4_500_000_000, "4.5GB"),
        ] {
            assert_eq!(HumanSize(bytes).to_string(), want);
        }
        for (bytes, want) in [(5_120, "5.12kB"), (2_003_162, "2.003MB"), (0, "0B")] {
            assert_eq!(LongSize(bytes).to_string(), want);
        }
        for (bytes, want) in [(1023, "1023B"), (1024, "1KiB"), (8_342_183_936, "7.769GiB")] {
            assert_eq!(BinarySize(bytes).to_string(), want);
        }
    }
}
