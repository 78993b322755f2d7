//! Names that somebody may have meant.

/// Returns the name that takes the fewest changes of a letter, if they are few.
pub fn closest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    names
        .map(|other| (distance(name, other), other))
        .filter(|(distance, other)| *distance <= 2 && *distance < other.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, other)| other)
}

/// Counts the letters to insert, delete or replace to get from one word to the other.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (index, letter) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for column in 0..to.len() {
            let replaced = diagonal + usize::from(letter != to[column]);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_close_names() {
        let names = ["run", "ps", "images", "import", "rm"];
        for (name, want) in [
            ("rn", Some("run")),
            ("image", Some("images")),
            ("imprt", Some("import")),
            ("bogus", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(closest(name, names.into_iter()), want, "{name}");
        }
    }
}
