//! `--provenance` and `--sbom`: documents about an image, which go with it.
//!
//! As BuildKit has it, such a document is a statement of in-toto about the image's manifest, and the
//! statements about an image are the layers of a manifest of their own, which a list has beside the
//! image's. So the image's manifest must be what it will be elsewhere: its layers are compressed now.

mod provenance;
mod sbom;
mod sqlite;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::BuildOptions;
use super::built::BuiltImage;
use crate::engine::Engine;
use crate::engine::images::{Form, Progress};
use crate::error::{Context, Error, Kind, Result};
use crate::image::list::Described;
use crate::image::whole;
use crate::spec::manifest::ManifestFormat;
use crate::spec::oci::{Descriptor, ImagePlatform, Manifest, OCI_MANIFEST};
use crate::spec::reference::Reference;
use crate::store::garbage::{Parts, Pin};
use crate::store::list::Member;

/// What statements are.
const STATEMENT: &str = "https://in-toto.io/Statement/v0.1";
/// Media type of a statement.
const MEDIA_TYPE: &str = "application/vnd.in-toto+json";

/// Which documents are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attestations {
    /// Where the image comes from.
    pub provenance: Option<Provenance>,
    /// What packages are in it.
    pub sbom: bool,
}

impl Attestations {
    /// Tells whether any is made.
    pub fn any(self) -> bool {
        self.provenance.is_some() || self.sbom
    }
}

/// How much is said of where an image comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provenance {
    /// What anybody may know.
    Min,
    /// Also what was given on the command line, and the Dockerfile.
    Max,
}

/// Facts about a build.
pub(super) struct Made<'a> {
    /// The images that it began with: address and digest in hexadecimal digits.
    pub(super) bases: &'a BTreeMap<String, String>,
    /// When it began, in nanoseconds since 1970.
    pub(super) started: i64,
    /// When it ended.
    pub(super) finished: i64,
}

/// Makes the documents about an image, and gives it a manifest that they are about. Returns the
/// manifest with the documents, what the user should know, and what keeps them.
pub(super) fn attest(
    engine: &Engine,
    options: &BuildOptions,
    built: &mut BuiltImage,
    names: &[Reference],
    made: &Made<'_>,
    progress: &dyn Progress,
) -> Result<(Described, Option<String>, Pin)> {
    let store = engine.store();
    let format = options.format.unwrap_or(ManifestFormat::Oci);
    let output = options.outputs.iter().find(|output| output.compression.is_some());
    let form = Form {
        format: Some(format),
        compression: output.and_then(|output| output.compression),
        level: output.and_then(|output| output.level),
        force: false,
    };
    built.image = whole::complete(store, &built.image, &form, progress)?;
    let about = built.image.manifest_digest.clone().ok_or_else(|| {
        Error::new(Kind::Internal, "the image has no manifest that documents could be about")
    })?;
    let created = crate::spec::time::rfc3339_short(made.finished);
    let mut predicates = Vec::new();
    let mut warning = None;
    if options.attestations.sbom {
        let layers = built.image.layers.iter().rev().map(|id| store.layers().path(id));
        let layers: Vec<_> = layers.collect();
        let name = names.first().map_or_else(|| built.image.id.to_string(), ToString::to_string);
        let (document, unread) = sbom::document(&layers, &name, &created)?;
        warning = unread;
        predicates.push((sbom::KIND, document));
    }
    if let Some(wanted) = options.attestations.provenance {
        let all = wanted == Provenance::Max;
        predicates.push((provenance::KIND, provenance::predicate(options, made, all)));
    }
    let platform = built.platform.to_string().replace('/', "%2F");
    let mut subjects: Vec<Value> = Vec::new();
    for name in names {
        let tag = name.tag().unwrap_or("latest");
        let address = format!("pkg:docker/{}@{tag}?platform={platform}", name.repository());
        subjects.push(json!({ "name": address, "digest": { "sha256": about.hex() } }));
    }
    if subjects.is_empty() {
        subjects.push(json!({ "name": "_", "digest": { "sha256": about.hex() } }));
    }
    let _collector_kept_away = store.shared()?;
    let mut layers = Vec::new();
    let mut blobs = Vec::new();
    for (kind, predicate) in predicates {
        let statement = json!({
            "_type": STATEMENT,
            "predicateType": kind,
            "subject": subjects,
            "predicate": predicate,
        });
        let data = serde_json::to_vec(&statement).context(|| "cannot write a statement")?;
        let digest = store.blobs().write(&data)?;
        let mut descriptor = Descriptor::new(MEDIA_TYPE, digest.clone(), data.len() as u64);
        descriptor.annotations.insert("in-toto.io/predicate-type".to_owned(), kind.to_owned());
        layers.push(descriptor);
        blobs.push(digest);
    }
    let diff_ids: Vec<&str> = layers.iter().map(|layer| layer.digest.as_str()).collect();
    let config = json!({
        "architecture": "unknown",
        "os": "unknown",
        "config": {},
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    });
    let config = serde_json::to_vec(&config).context(|| "cannot write a configuration")?;
    let config_digest = store.blobs().write(&config)?;
    let config_type = ManifestFormat::Oci.config_type();
    let manifest = Manifest {
        schema_version: 2,
        media_type: OCI_MANIFEST.to_owned(),
        artifact_type: None,
        config: Descriptor::new(config_type, config_digest.clone(), config.len() as u64),
        layers,
        subject: None,
        annotations: BTreeMap::new(),
    };
    let data = serde_json::to_vec(&manifest).context(|| "cannot write a manifest")?;
    let digest = store.blobs().write(&data)?;
    blobs.extend([config_digest, digest.clone()]);
    let pin = store.pin(&Parts::of(&[], &blobs))?;
    let unknown = || "unknown".to_owned();
    let annotations = [
        ("vnd.docker.reference.digest".to_owned(), about.to_string()),
        ("vnd.docker.reference.type".to_owned(), "attestation-manifest".to_owned()),
    ];
    let descriptor = Descriptor {
        annotations: annotations.into_iter().collect(),
        platform: Some(ImagePlatform {
            architecture: unknown(),
            os: unknown(),
            ..ImagePlatform::default()
        }),
        ..Descriptor::new(OCI_MANIFEST, digest, data.len() as u64)
    };
    Ok(((descriptor, Member { blobs, ..Member::default() }), warning, pin))
}
