//! What a registry wants to be shown: the `WWW-Authenticate` header, RFC 9110.

/// A way to prove who we are that a registry offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// User name and password.
    Basic,
    /// A token from another server.
    Bearer {
        /// Address of that server.
        realm: String,
        /// Name of the registry there.
        service: Option<String>,
        /// What the token must allow.
        scope: Option<String>,
    },
}

/// Parses a header; ways that we do not know are passed over.
pub(super) fn parse(header: &str) -> Vec<Challenge> {
    let mut challenges = Vec::new();
    let mut rest = header.trim();
    while !rest.is_empty() {
        let (scheme, after) = rest.split_once(' ').unwrap_or((rest, ""));
        let scheme = scheme.trim_matches(',');
        let (parameters, after) = parameters(after);
        rest = after;
        let value = |name: &str| {
            parameters
                .iter()
                .find(|(key, _)| key.eq_ignore_ascii_case(name))
                .map(|(_, value)| value.clone())
        };
        if scheme.eq_ignore_ascii_case("basic") {
            challenges.push(Challenge::Basic);
        } else if scheme.eq_ignore_ascii_case("bearer")
            && let Some(realm) = value("realm")
        {
            challenges.push(Challenge::Bearer {
                realm,
                service: value("service"),
                scope: value("scope"),
            });
        }
    }
    challenges
}

/// Reads `name=value` pairs up to the next scheme, and returns what follows.
fn parameters(mut text: &str) -> (Vec<(String, String)>, &str) {
    let mut pairs = Vec::new();
    loop {
        text = text.trim_start_matches([' ', ',']);
        // A word with a blank before its first equals sign is the next scheme.
        let Some((name, value)) = text.split_once('=') else { return (pairs, text) };
        if name.contains(' ') {
            return (pairs, text);
        }
        let (value, after) = match value.strip_prefix('"') {
            Some(quoted) => unquote(quoted),
            None => {
                let end = value.find([',', ' ']).unwrap_or(value.len());
                (value[..end].to_owned(), &value[end..])
            }
        };
        pairs.push((name.to_owned(), value));
        text = after;
    }
}

/// Reads up to the closing quote.
fn unquote(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut letters = text.char_indices();
    while let Some((index, letter)) = letters.next() {
        match letter {
            '"' => return (value, &text[index + 1..]),
            '\\' => value.extend(letters.next().map(|(_, letter)| letter)),
            letter => value.push(letter),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_headers() {
        let bearer = |realm: &str, service: Option<&str>, scope: Option<&str>| Challenge::Bearer {
            realm: realm.to_owned(),
            service: service.map(str::to_owned),
            scope: scope.map(str::to_owned),
        };
        for (header, want) in [
            ("Basic realm=\"x\"", vec![Challenge::Basic]),
            ("basic", vec![Challenge::Basic]),
            (
                "Bearer realm=\"https://auth.docker.io/token\",service=\"registry.docker.io\",scope=\"repository:a/b:pull,push\"",
                vec![bearer(
                    "https://auth.docker.io/token",
                    Some("registry.docker.io"),
                    Some("repository:a/b:pull,push"),
                )],
            ),
            (
                "Bearer realm=https://x/t, error=\"a \\\" b\"",
                vec![bearer("https://x/t", None, None)],
            ),
            (
                "Negotiate, Basic realm=\"x\", Bearer realm=\"y\"",
                vec![Challenge::Basic, bearer("y", None, None)],
            ),
            ("Bearer service=\"x\"", vec![]),
            ("Bearer realm=\"x", vec![bearer("x", None, None)]),
            ("", vec![]),
            (",,,=", vec![]),
        ] {
            assert_eq!(parse(header), want, "{header}");
        }
    }
}
