//! Fields with commas between them, as flags have them that were borrowed from spreadsheets.

/// Splits at commas; what is within double quotes stays together, and two of them stand for one there.
pub(crate) fn fields(text: &str) -> Result<Vec<String>, String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => {
                letters.next();
                fields.last_mut().into_iter().for_each(|field| field.push('"'));
            }
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            letter => fields.last_mut().into_iter().for_each(|field| field.push(letter)),
        }
    }
    if quoted {
        return Err(format!("a quote is not closed in '{text}'"));
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_at_commas() {
        for (text, want) in [
            ("", Some(vec![""])),
            ("a,b", Some(vec!["a", "b"])),
            ("\"a,b\",c", Some(vec!["a,b", "c"])),
            ("\"n=a,b\"", Some(vec!["n=a,b"])),
            ("\"a\"\"b\"", Some(vec!["a\"b"])),
            ("\"a", None),
        ] {
            let want = want.map(|it| it.into_iter().map(str::to_owned).collect::<Vec<_>>());
            assert_eq!(fields(text).ok(), want, "{text}");
        }
    }
}
