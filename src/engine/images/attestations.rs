//! What is stated of an image: documents of in-toto that a manifest list has beside it.

use crate::engine::lists;
use crate::error::{Context, Result};
use crate::spec::digest::Digest;
use crate::spec::oci::{Descriptor, Manifest};
use crate::spec::platform::Platform;
use crate::store::Store;
use crate::store::image::not_known;
use crate::store::list::List;

/// Which statements are wanted.
#[derive(Clone, Debug, Default)]
pub struct StatementOptions {
    /// For what the image is; `None` for this machine.
    pub platform: Option<Platform>,
    /// What they say, by the addresses of in-toto; all if there is none.
    pub kinds: Vec<String>,
    /// Whether the statements themselves are read.
    pub read: bool,
}

/// A statement about an image.
#[derive(Clone, Debug)]
pub struct Statement {
    /// Where it is in the manifest that has it.
    pub descriptor: Descriptor,
    /// What it says, as in `https://slsa.dev/provenance/v1`.
    pub kind: String,
    /// The statement, if it was asked for.
    pub text: Option<Vec<u8>>,
}

/// Returns what is stated of an image, by a list of its name or one that the image is in.
pub fn statements(store: &Store, text: &str, options: &StatementOptions) -> Result<Vec<Statement>> {
    if let Some((list, _)) = store.lists().find(text)? {
        let digest = lists::instance(&list, options.platform.as_ref())?;
        return of_list(store, &list, &digest, options);
    }
    let image = store.images().find(text)?.ok_or_else(|| not_known(text))?;
    let Some(digest) = &image.manifest_digest else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for list in store.lists().all()? {
        found.extend(of_list(store, &list, digest, options)?);
    }
    Ok(found)
}

/// Reads what a list has about a manifest.
fn of_list(
    store: &Store,
    list: &List,
    about: &Digest,
    options: &StatementOptions,
) -> Result<Vec<Statement>> {
    let about = about.to_string();
    let is_about = |descriptor: &&Descriptor| {
        let said = |key: &str| descriptor.annotations.get(key).map(String::as_str);
        said("vnd.docker.reference.type") == Some("attestation-manifest")
            && said("vnd.docker.reference.digest") == Some(about.as_str())
    };
    let mut found = Vec::new();
    for descriptor in list.index.manifests.iter().filter(is_about) {
        // Of what was not fetched, nothing is known here.
        let Some(data) = store.blobs().read(&descriptor.digest)? else { continue };
        let context = || format!("the manifest {} is damaged", descriptor.digest);
        let manifest: Manifest = serde_json::from_slice(&data).context(context)?;
        for layer in manifest.layers {
            let kind = layer.annotations.get("in-toto.io/predicate-type").cloned();
            let kind = kind.unwrap_or_default();
            if !options.kinds.is_empty() && !options.kinds.contains(&kind) {
                continue;
            }
            let text = if options.read { store.blobs().read(&layer.digest)? } else { None };
            found.push(Statement { descriptor: layer, kind, text });
        }
    }
    Ok(found)
}
