//! An image on its way out: the manifests that it came with, and how a new one is made.
//!
//! A manifest goes out byte for byte as long as nobody wants it otherwise and its blobs can be had.
//! Otherwise one is made of what is there: layers that are compressed already stay as they are, if
//! they may.

use std::io::Read;

use serde_json::{Map, Value, json};

use super::manifest::{Blob, Document, Manifest};
use crate::error::{Context, Error, Kind, Result};
use crate::spec::compression::Compression;
use crate::spec::digest::{DiffId, Digest};
use crate::spec::manifest::ManifestFormat;
use crate::spec::oci::Annotations;
use crate::store::Store;
use crate::store::blob::MAX_DOCUMENT;
use crate::store::image::Image;
use crate::store::packed::Packed;

/// What an image is to be sent as.
#[derive(Clone, Debug, Default)]
pub struct Form {
    /// Form of the manifest; if nothing is said, that of the one that it came with.
    pub format: Option<ManifestFormat>,
    /// How layers are compressed that are not yet.
    pub compression: Option<Compression>,
    /// How strongly.
    pub level: Option<i32>,
    /// Whether layers are compressed anew that are compressed otherwise.
    pub force: bool,
}

/// An image on its way out.
pub(crate) struct Outgoing {
    /// Its configuration.
    pub(crate) config: Vec<u8>,
    config_blob: Blob,
    /// Its layers, lowest first.
    pub(crate) parts: Vec<Part>,
    /// Manifests that it came with, and that are as they are wanted; the latest first.
    pub(crate) originals: Vec<Original>,
    format: ManifestFormat,
    compression: Compression,
    level: i32,
    /// What a new manifest says besides, if it takes nothing over.
    annotations: Annotations,
}

/// A layer on its way out.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    /// Its name.
    pub(crate) id: DiffId,
    /// What it was compressed to, as far as that is wanted.
    pub(crate) packed: Vec<Packed>,
    /// Bytes of its tar stream, if they were counted.
    size: Option<u64>,
}

/// A manifest that an image came with.
pub(crate) struct Original {
    /// Byte for byte.
    pub(crate) data: Vec<u8>,
    /// What it consists of.
    pub(crate) manifest: Manifest,
    /// Its media type.
    pub(crate) format: ManifestFormat,
    document: Value,
}

/// A manifest that can be sent.
pub(crate) struct Ready {
    /// The document.
    pub(crate) data: Vec<u8>,
    /// Its media type.
    pub(crate) media_type: &'static str,
}

impl Outgoing {
    /// Looks at what there is of an image.
    pub(crate) fn of(store: &Store, image: &Image, form: &Form) -> Result<Self> {
        if image.builtin.is_some() {
            return Err(Error::new(
                Kind::Unsupported,
                "a built-in image cannot be given away: it is made of parts of this machine",
            )
            .hint("copy what you need into an image of your own"));
        }
        let config = store.blobs().read(&image.id.0)?.ok_or_else(|| {
            Error::new(
                Kind::NotFound,
                format!("the configuration of image {} is missing", image.id),
            )
            .hint("pull or load the image again")
        })?;
        let mut originals = originals(store, image)?;
        let first = originals.first().map(|original| original.format);
        let zstd = form.compression == Some(Compression::Zstd);
        let format = match form.format {
            Some(ManifestFormat::Docker) if zstd => {
                return Err(Error::new(
                    Kind::Invalid,
                    "manifests of Docker's form cannot have layers that are compressed by zstd",
                )
                .hint("leave out --format v2s2, or compress by gzip"));
            }
            Some(format) => format,
            None if zstd => ManifestFormat::Oci,
            None => first.or(image.format).unwrap_or_default(),
        };
        originals.retain(|original| form.format.is_none_or(|format| format == original.format));
        let compression = form.compression.unwrap_or(Compression::Gzip);
        let level = match form.level {
            Some(level) => compression.check_level(level)?,
            None => compression.default_level(),
        };
        let mut parts = Vec::new();
        for id in &image.layers {
            let mut packed = store.layers().packed(id)?;
            let size = packed.iter().find(|one| one.digest == id.0).map(|one| one.size);
            packed.retain(|one| {
                let as_wanted = one.compression == compression
                    && form.level.is_none_or(|level| one.level == Some(level));
                format.layer_type(one.compression).is_some() && (as_wanted || !form.force)
            });
            parts.push(Part { id: id.clone(), packed, size });
        }
        if form.force {
            let as_wanted = |blob: &Blob, part: &Part| {
                part.packed.iter().any(|packed| packed.digest == blob.digest)
            };
            originals.retain(|original| {
                original.layers(&parts).all(|(blob, part)| as_wanted(blob, part))
            });
        }
        let config_blob = Blob { digest: image.id.0.clone(), size: config.len() as u64 };
        let annotations = image.annotations.clone();
        Ok(Self { config, config_blob, parts, originals, format, compression, level, annotations })
    }

    /// Returns the blob of the configuration.
    pub(crate) fn config_blob(&self) -> &Blob {
        &self.config_blob
    }

    /// Returns how layers are compressed that are not yet, and how strongly.
    pub(crate) fn compression(&self) -> (Compression, i32) {
        (self.compression, self.level)
    }

    /// Takes the first manifest that it came with whose blobs are all here.
    pub(crate) fn take_complete(&mut self, store: &Store) -> Option<Original> {
        let parts = &self.parts;
        let complete = |original: &Original| {
            original
                .layers(parts)
                .all(|(blob, part)| part.is_plain(blob) || store.blobs().exists(&blob.digest))
        };
        let at = self.originals.iter().position(complete)?;
        Some(self.originals.swap_remove(at))
    }

    /// Makes a manifest of layers as they were sent.
    pub(crate) fn manifest(&self, layers: &[Packed]) -> Result<Ready> {
        let known = self.originals.first().filter(|original| original.format == self.format);
        let descriptors = layers.iter().map(|layer| {
            let media_type = self.format.layer_type(layer.compression).unwrap_or_default();
            // As it was described, with all annotations, if it is the same blob.
            known.and_then(|known| known.descriptor(layer)).unwrap_or_else(
                || json!({ "mediaType": media_type, "digest": layer.digest, "size": layer.size }),
            )
        });
        let mut manifest = Map::new();
        manifest.insert("schemaVersion".to_owned(), json!(2));
        manifest.insert("mediaType".to_owned(), json!(self.format.manifest_type()));
        manifest.insert(
            "config".to_owned(),
            json!({
                "mediaType": self.format.config_type(),
                "digest": self.config_blob.digest,
                "size": self.config_blob.size,
            }),
        );
        manifest.insert("layers".to_owned(), descriptors.collect());
        if let Some(annotations) = known.and_then(|known| known.document.get("annotations")) {
            manifest.insert("annotations".to_owned(), annotations.clone());
        } else if !self.annotations.is_empty() && self.format == ManifestFormat::Oci {
            manifest.insert("annotations".to_owned(), json!(self.annotations));
        }
        let data = serde_json::to_vec(&manifest).context(|| "cannot write the manifest")?;
        Ok(Ready { data, media_type: self.format.manifest_type() })
    }
}

impl Part {
    /// Tells whether a blob is the layer's tar stream itself.
    pub(crate) fn is_plain(&self, blob: &Blob) -> bool {
        self.id.0 == blob.digest
    }

    /// Returns the bytes of its tar stream.
    pub(crate) fn size(&self) -> Result<u64> {
        self.size.ok_or_else(|| {
            Error::new(Kind::NotFound, format!("the size of layer {} is not known", self.id))
                .hint("remove the image and pull or load it again")
        })
    }

    /// Returns what it was compressed to, if that is here.
    pub(crate) fn kept(&self, store: &Store) -> Option<&Packed> {
        self.packed.iter().find(|packed| {
            packed.compression != Compression::None && store.blobs().exists(&packed.digest)
        })
    }
}

impl Original {
    /// Returns its layers' blobs, each with the layer.
    pub(crate) fn layers<'a>(
        &'a self,
        parts: &'a [Part],
    ) -> impl Iterator<Item = (&'a Blob, &'a Part)> {
        self.manifest.layers.iter().zip(parts)
    }

    /// Tells whether a layer's blob is nobody's to give away: a registry gets its address only.
    pub(crate) fn is_foreign(&self, index: usize) -> bool {
        let descriptor = &self.document["layers"][index];
        let media_type = descriptor["mediaType"].as_str().unwrap_or_default();
        let has_address = descriptor["urls"].as_array().is_some_and(|urls| !urls.is_empty());
        has_address && (media_type.contains("nondistributable") || media_type.contains("foreign"))
    }

    /// Makes it ready to be sent as it is.
    pub(crate) fn ready(self) -> Ready {
        Ready { data: self.data, media_type: self.format.manifest_type() }
    }

    fn descriptor(&self, layer: &Packed) -> Option<Value> {
        let layers = self.document["layers"].as_array()?;
        layers.iter().find(|one| one["digest"] == layer.digest.as_str()).cloned()
    }
}

/// Finds the manifests that an image came with.
fn originals(store: &Store, image: &Image) -> Result<Vec<Original>> {
    let mut originals = Vec::new();
    let first = image.manifest_digest.as_ref();
    let others = image.blobs.iter().filter(|blob| Some(*blob) != first && **blob != image.id.0);
    for digest in first.into_iter().chain(others) {
        // Others are indexes and layers; those are not read for this.
        if !is_document(store, digest)? {
            continue;
        }
        let Some(data) = store.blobs().read(digest)? else { continue };
        let Ok(Document::Manifest(manifest)) = Document::parse(&data) else { continue };
        let fits =
            manifest.config.digest == image.id.0 && manifest.layers.len() == image.layers.len();
        if !fits {
            continue;
        }
        let document: Value =
            serde_json::from_slice(&data).context(|| "the image's manifest is malformed")?;
        let media_type = document["mediaType"].as_str().unwrap_or_default();
        let format = if media_type == ManifestFormat::Docker.manifest_type() {
            ManifestFormat::Docker
        } else {
            ManifestFormat::Oci
        };
        originals.push(Original { data, manifest, format, document });
    }
    Ok(originals)
}

/// Tells whether a blob may be a JSON document.
fn is_document(store: &Store, digest: &Digest) -> Result<bool> {
    let Some(mut file) = store.blobs().open(digest)? else { return Ok(false) };
    let context = || format!("cannot read blob {digest}");
    if file.metadata().context(context)?.len() > MAX_DOCUMENT {
        return Ok(false);
    }
    let mut first = [0];
    file.read(&mut first).context(context)?;
    Ok(first[0] == b'{' || first[0].is_ascii_whitespace())
}
