//! Names of containers: what is allowed, and what is made up when the user gives none.

use crate::error::{Error, Kind, Result};

/// Checks a container name: letters, digits, `_`, `.` and `-`, beginning with a letter or digit.
///
/// A leading slash, which Docker's API shows, is dropped.
pub fn parse(text: &str) -> Result<String> {
    let name = text.strip_prefix('/').unwrap_or(text);
    let good = name.len() <= 253
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    if good {
        return Ok(name.to_owned());
    }
    Err(Error::new(
        Kind::Invalid,
        format!("names must match [a-zA-Z0-9][a-zA-Z0-9_.-]*: invalid argument: `{text}`"),
    ))
}

/// Makes up a name from a random number, as in `brisk_hopper`.
///
/// There are some thousands of them; who finds one in use draws again and counts the attempts.
pub fn random(number: u64, attempt: u32) -> String {
    let adjectives = ADJECTIVES.len() as u64;
    let adjective = ADJECTIVES[(number % adjectives) as usize];
    let surname = SURNAMES[(number / adjectives % SURNAMES.len() as u64) as usize];
    // After some attempts most names are in use: numbers make more of them.
    match attempt {
        0..8 => format!("{adjective}_{surname}"),
        attempt => {
            let range = 10_u64.saturating_pow(attempt - 7);
            format!("{adjective}_{surname}{}", number / 8192 % range)
        }
    }
}

const ADJECTIVES: [&str; 64] = [
    "able", "agile", "airy", "amber", "ample", "avid", "azure", "balmy", "bold", "brave", "bright",
    "brisk", "calm", "candid", "chipper", "civil", "clear", "clever", "copper", "cosy", "crisp",
    "dapper", "deft", "eager", "early", "fair", "fleet", "fluent", "fond", "frank", "fresh",
    "glad", "golden", "grand", "hale", "handy", "hearty", "honest", "jolly", "keen", "kind",
    "lively", "lucid", "mellow", "merry", "mild", "neat", "nimble", "noble", "patient", "placid",
    "polite", "prompt", "quick", "quiet", "ready", "silver", "spry", "steady", "sunny", "swift",
    "tidy", "vivid", "witty",
];

/// People of science, mathematics and computing.
const SURNAMES: [&str; 80] = [
    "abel",
    "agnesi",
    "ampere",
    "avogadro",
    "babbage",
    "bardeen",
    "bernoulli",
    "bohr",
    "boole",
    "born",
    "bose",
    "brahe",
    "cantor",
    "carson",
    "cauchy",
    "cerf",
    "chandra",
    "clarke",
    "copernicus",
    "crick",
    "curie",
    "cuvier",
    "darwin",
    "descartes",
    "dijkstra",
    "dirac",
    "edison",
    "einstein",
    "erdos",
    "euclid",
    "euler",
    "faraday",
    "fermat",
    "fermi",
    "feynman",
    "fourier",
    "franklin",
    "galileo",
    "galois",
    "gauss",
    "germain",
    "goedel",
    "halley",
    "hamilton",
    "herschel",
    "hilbert",
    "hoare",
    "hopper",
    "hubble",
    "huygens",
    "hypatia",
    "jacobi",
    "joule",
    "kepler",
    "knuth",
    "kovalevskaya",
    "lagrange",
    "lamarr",
    "laplace",
    "leavitt",
    "leibniz",
    "linnaeus",
    "lovelace",
    "maxwell",
    "meitner",
    "mendel",
    "neumann",
    "newton",
    "noether",
    "pascal",
    "pasteur",
    "planck",
    "ramanujan",
    "riemann",
    "ritchie",
    "shannon",
    "tesla",
    "turing",
    "volta",
    "wirth",
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn parses_names() {
        let long = "x".repeat(254);
        for (text, want) in [
            ("web", Some("web")),
            ("/web", Some("web")),
            ("0a_.-Z", Some("0a_.-Z")),
            ("", None),
            ("/", None),
            (".hidden", None),
            ("-x", None),
            ("a/b", None),
            ("a b", None),
            ("é", None),
            (long.as_str(), None),
        ] {
            assert_eq!(parse(text).ok().as_deref(), want, "{text}");
        }
    }

    #[test]
    fn random_names_are_valid_and_many() {
        let total = (ADJECTIVES.len() * SURNAMES.len()) as u64;
        let names: BTreeSet<String> = (0..total).map(|number| random(number, 0)).collect();
        assert_eq!(names.len() as u64, total);
        assert!(names.iter().all(|name| parse(name).is_ok()));
        for attempt in [0, 7, 8, 20, 100] {
            assert!(parse(&random(u64::MAX, attempt)).is_ok());
        }
        assert_eq!(random(0, 0), "able_abel");
        assert_eq!(random(9 * 8192, 8), random(9 * 8192, 0) + "9");
    }
}
