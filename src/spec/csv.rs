//! Fields with commas between them, as flags have them that were borrowed from spreadsheets.

/// Splits at commas. A field may stand within double quotes, where two of them stand for one; elsewhere
/// there are none.
pub(crate) fn fields(text: &str) -> Result<Vec<String>, String> {
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => unquoted(quoted).ok_or_else(|| {
                format!("a quote is not closed at the end of a field in '{text}'")
            })?,
            None => {
                let (field, after) = match rest.split_once(',') {
                    Some((field, after)) => (field, Some(after)),
                    None => (rest, None),
                };
                if field.contains('"') {
                    return Err(format!("a quote within a field in '{text}'"));
                }
                (field.to_owned(), after)
            }
        };
        fields.push(field);
        match after {
            Some(after) => rest = after,
            None => return Ok(fields),
        }
    }
}

/// Reads to the end of a quoted field; returns what follows its comma, if there is one.
fn unquoted(text: &str) -> Option<(String, Option<&str>)> {
    let (mut field, mut rest) = (String::new(), text);
    loop {
        let (part, after) = rest.split_once('"')?;
        field.push_str(part);
        match after.strip_prefix('"') {
            Some(after) => {
                field.push('"');
                rest = after;
            }
            None if after.is_empty() => return Some((field, None)),
            None => return Some((field, Some(after.strip_prefix(',')?))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_at_commas() {
        for (text, want) in [
            ("", Some(vec![""])),
            ("a,b", Some(vec!["a", "b"])),
            ("a,", Some(vec!["a", ""])),
            ("\"a,b\",c", Some(vec!["a,b", "c"])),
            ("\"n=a,b\"", Some(vec!["n=a,b"])),
            ("\"a\"\"b\"", Some(vec!["a\"b"])),
            ("\"\",\"\"", Some(vec!["", ""])),
            ("\"a\",", Some(vec!["a", ""])),
            ("\"a", None),
            ("\"a\"b", None),
            ("a\"b\"", None),
        ] {
            let want = want.map(|it| it.into_iter().map(str::to_owned).collect::<Vec<_>>());
            assert_eq!(fields(text).ok(), want, "{text}");
        }
    }
}
