//! Where an image comes from: the predicate of SLSA 1.0.

use serde_json::{Map, Value, json};

use super::Made;
use crate::build::BuildOptions;
use crate::spec::platform::Platform;
use crate::spec::time;
use crate::store::blob::digest_of;

/// What the documents of in-toto call it.
pub(super) const KIND: &str = "https://slsa.dev/provenance/v1";

/// The meaning of what is said of the build.
const BUILD_TYPE: &str =
    "https://github.com/moby/buildkit/blob/master/docs/attestations/slsa-definitions.md";

/// Makes the predicate. With `all`, it also says what was given and what the Dockerfile is.
pub(super) fn predicate(options: &BuildOptions, made: &Made<'_>, all: bool) -> Value {
    let mut args = Map::new();
    if let Some(target) = &options.target {
        args.insert("target".to_owned(), json!(target));
    }
    if all {
        for (name, value) in &options.args {
            args.insert(format!("build-arg:{name}"), json!(value));
        }
        for (name, value) in &options.labels {
            args.insert(format!("label:{name}"), json!(value));
        }
    }
    let locals: Vec<Value> = match &options.context {
        Some(_) => vec![json!({ "name": "context" }), json!({ "name": "dockerfile" })],
        None => vec![json!({ "name": "dockerfile" })],
    };
    let mut request = json!({ "frontend": "dockerfile.v0", "args": args, "locals": locals });
    if all && !options.secrets.is_empty() {
        let names = options.secrets.keys().map(|id| json!({ "id": id, "optional": true }));
        request["secrets"] = names.collect();
    }
    if all && !options.agents.is_empty() {
        request["ssh"] = options.agents.keys().map(|id| json!({ "id": id })).collect();
    }
    let dependencies: Vec<Value> = made
        .bases
        .iter()
        .map(|(address, digest)| json!({ "uri": address, "digest": { "sha256": digest } }))
        .collect();
    let mut predicate = json!({
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {
                "configSource": {
                    "path": options.file_name,
                    "digest": { "sha256": digest_of(options.file.as_bytes()).hex() },
                },
                "request": request,
            },
            "internalParameters": {
                "builderPlatform": Platform::host().to_string(),
                "builderVersion": env!("CARGO_PKG_VERSION"),
            },
            "resolvedDependencies": dependencies,
        },
        "runDetails": {
            "builder": { "id": "" },
            "metadata": {
                "startedOn": time::rfc3339_short(made.started),
                "finishedOn": time::rfc3339_short(made.finished),
                "buildkit_reproducible": options.epoch.is_some(),
            },
        },
    });
    if all {
        predicate["runDetails"]["metadata"]["buildkit_source"] =
            json!({ "infos": [{ "filename": options.file_name, "text": options.file }] });
    }
    predicate
}
