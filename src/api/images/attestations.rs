//! `GET /images/{name}/attestations`: what is stated of an image.

use serde_json::{Value, json};

use crate::api::names;
use crate::api::reply::Reply;
use crate::api::request::Call;
use crate::engine::Engine;
use crate::engine::images::{Statement, StatementOptions, statements};
use crate::error::{Context, Error, Kind, Result};
use crate::spec::oci::ImagePlatform;
use crate::spec::platform::Platform;

pub(super) fn attestations(engine: &Engine, call: &mut Call) -> Result<Reply> {
    let platforms: Vec<&str> = call.query.all("platform").filter(|it| !it.is_empty()).collect();
    let platform = match platforms.as_slice() {
        [] => None,
        [text] => Some(parse(text)?),
        _ => return Err(Error::new(Kind::Invalid, "there can be one platform only")),
    };
    let read = call.query.is_set("statement");
    let kinds = call.query.all("type").filter(|it| !it.is_empty()).map(str::to_owned).collect();
    let options = StatementOptions { platform, kinds, read };
    let name = names::image(engine.store(), call.name())?;
    let found = statements(engine.store(), &name, &options);
    let found = found.map_err(|error| names::unknown(call.name(), error))?;
    let documents: Vec<Value> = found.iter().map(document).collect::<Result<_>>()?;
    Ok(Reply::json(&documents))
}

/// Parses a platform as an index has it, or as people write it.
fn parse(text: &str) -> Result<Platform> {
    let invalid = || format!("invalid platform `{text}`");
    let said: ImagePlatform = match text.trim_start().starts_with('{') {
        true => serde_json::from_str(text)
            .map_err(|error| Error::new(Kind::Invalid, invalid()).caused_by(error))?,
        false => return text.parse(),
    };
    let parts = [Some(said.os), Some(said.architecture), said.variant];
    let words: Vec<String> = parts.into_iter().flatten().filter(|it| !it.is_empty()).collect();
    words.join("/").parse::<Platform>().context(invalid)
}

fn document(statement: &Statement) -> Result<Value> {
    let mut document = json!({
        "Descriptor": statement.descriptor,
        "PredicateType": statement.kind,
    });
    if let Some(text) = &statement.text {
        let context = || format!("the statement {} is damaged", statement.descriptor.digest);
        document["Statement"] = serde_json::from_slice(text).context(context)?;
    }
    Ok(document)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_platforms_of_both_forms() {
        for (text, want) in [
            (r#"{"os":"linux","architecture":"amd64"}"#, Some("linux/amd64")),
            (r#"{"os":"linux","architecture":"arm","variant":"v7"}"#, Some("linux/arm/v7")),
            ("linux/arm64", Some("linux/arm64")),
            (r#"{"os":5}"#, None),
            ("{", None),
        ] {
            let got = parse(text).ok().map(|platform| platform.to_string());
            assert_eq!(got.as_deref(), want, "{text}");
        }
    }
}
