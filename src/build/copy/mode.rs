//! `--chmod`: octal digits, or letters as for chmod(1).

/// A change of permission bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ModeChange {
    /// These.
    Octal(u32),
    /// Changes, one after the other.
    Letters(Vec<Change>),
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    /// Bits of those whom it is about.
    who: u32,
    operator: char,
    letters: String,
}

impl ModeChange {
    /// Parses the value of the flag.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let invalid = || {
            format!(
                "invalid chmod parameter: '{text}': expected octal digits or letters, as in u+x,go-w"
            )
        };
        if text.starts_with(|letter: char| letter.is_ascii_digit()) {
            let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777);
            return mode.map(Self::Octal).ok_or_else(invalid);
        }
        let mut changes = Vec::new();
        for clause in text.split(',') {
            let at = clause.find(['+', '-', '=']).ok_or_else(invalid)?;
            let mut who = 0;
            for letter in clause[..at].chars() {
                who |= match letter {
                    'u' => 0o4700,
                    'g' => 0o2070,
                    'o' => 0o1007,
                    'a' => 0o7777,
                    _ => return Err(invalid()),
                };
            }
            if who == 0 {
                who = 0o7777;
            }
            let mut rest = &clause[at..];
            while let Some(operator) = rest.chars().next() {
                let letters = &rest[1..];
                let end = letters.find(['+', '-', '=']).unwrap_or(letters.len());
                let (letters, next) = letters.split_at(end);
                if !letters.chars().all(|letter| "rwxXstugo".contains(letter)) {
                    return Err(invalid());
                }
                changes.push(Change { who, operator, letters: letters.to_owned() });
                rest = next;
            }
        }
        Ok(Self::Letters(changes))
    }

    /// Returns the bits that something gets.
    pub(super) fn apply(&self, mode: u32, is_dir: bool) -> u32 {
        match self {
            Self::Octal(mode) => *mode,
            Self::Letters(changes) => changes.iter().fold(mode, |mode, it| it.apply(mode, is_dir)),
        }
    }
}

impl Change {
    fn apply(&self, mode: u32, is_dir: bool) -> u32 {
        let spread = |three: u32| three << 6 | three << 3 | three;
        let mut bits = 0;
        for letter in self.letters.chars() {
            bits |= match letter {
                'r' => 0o444,
                'w' => 0o222,
                'x' => 0o111,
                'X' if is_dir || mode & 0o111 != 0 => 0o111,
                's' => 0o6000,
                't' => 0o1000,
                'u' => spread(mode >> 6 & 7),
                'g' => spread(mode >> 3 & 7),
                'o' => spread(mode & 7),
                _ => 0,
            };
        }
        bits &= self.who;
        match self.operator {
            '+' => mode | bits,
            '-' => mode & !bits,
            // Bits of directories that are not named stay, as for chmod(1).
            _ => mode & !(self.who & 0o777) | bits,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_bits() {
        for (text, mode, is_dir, want) in [
            ("640", 0o755, false, Some(0o640)),
            ("4755", 0, false, Some(0o4755)),
            ("u+x,go-r", 0o644, false, Some(0o700)),
            ("a=rX", 0o644, false, Some(0o444)),
            ("a=rX", 0o755, true, Some(0o555)),
            ("+x", 0o644, false, Some(0o755)),
            ("g=u", 0o640, false, Some(0o660)),
            ("u=rwx,g=rx,o=", 0o777, false, Some(0o750)),
            ("u+s", 0o755, false, Some(0o4755)),
            ("+t", 0o755, true, Some(0o1755)),
            ("go-w+x", 0o622, false, Some(0o611)),
            ("u+q", 0, false, None),
            ("z+x", 0, false, None),
            ("rwx", 0, false, None),
            ("99", 0, false, None),
            ("17777", 0, false, None),
        ] {
            let got = ModeChange::parse(text).ok().map(|change| change.apply(mode, is_dir));
            assert_eq!(got, want, "{text}");
        }
    }
}
