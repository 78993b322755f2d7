//! A list on its way to a registry: its members, as far as they are not there, and then itself.
//!
//! A member that is here is sent, one that is in another registry is copied blob by blob, and one in
//! another repository of the same registry is taken over there. All of it goes byte for byte, unless
//! other words are wanted. An image that is here with its files only is compressed anew.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::runtime::Runtime;

use super::convert::Words;
use super::local::image;
use super::remote::parse;
use crate::error::{Context, Error, Kind, Result};
use crate::image::artifact::refer;
use crate::image::manifest::Blob;
use crate::image::outgoing::Form;
use crate::image::policy::{Signer, SigningOptions};
use crate::image::progress::{Progress, ProgressEvent};
use crate::image::push::{PushOptions, Pushed, push_member};
use crate::image::registry::{self, RegistryOptions, Repository};
use crate::image::stream::TarStream;
use crate::image::transfer::{self, Purpose, Upload, Wanted};
use crate::spec::digest::{DiffId, Digest};
use crate::spec::manifest::ManifestFormat;
use crate::spec::oci::{DOCKER_MANIFEST, Descriptor, Index, Manifest};
use crate::spec::reference::Reference;
use crate::store::Store;
use crate::store::blob::{BlobDraft, digest_of};
use crate::store::list::{List, Member};

/// How a list is pushed.
#[derive(Clone, Debug)]
pub struct ListPushOptions {
    /// Its members, too; the registry must have them otherwise.
    pub members: bool,
    /// In whose words; those that they are in if nothing is said.
    pub words: Option<Words>,
    /// How to talk to registries.
    pub registry: RegistryOptions,
    /// How the list and its members are signed.
    pub signing: SigningOptions,
}

/// A push that is under way.
struct Push<'a> {
    store: &'a Store,
    runtime: Runtime,
    to: &'a Reference,
    repository: Arc<Repository>,
    signer: Signer,
    options: &'a ListPushOptions,
    progress: &'a dyn Progress,
}

/// Pushes a list under a name.
pub fn push(
    store: &Store,
    list: &List,
    to: &Reference,
    options: &ListPushOptions,
    progress: &dyn Progress,
) -> Result<Pushed> {
    let context = || format!("cannot push manifest list to {to}");
    // A key that cannot be used is noticed before anything is sent.
    let signer = Signer::load(&options.signing).context(context)?;
    let sources: Vec<&Reference> =
        list.members.values().filter_map(|member| member.source.as_ref()).collect();
    let mounted: BTreeSet<String> = sources
        .iter()
        .filter(|source| source.registry() == to.registry() && source.path() != to.path())
        .map(|source| source.path().to_owned())
        .collect();
    let mounted: Vec<String> = mounted.into_iter().collect();
    let repository = Repository::for_push(to, &options.registry, &mounted).context(context)?;
    let runtime = registry::runtime()?;
    let repository = Arc::new(repository);
    let push = Push { store, runtime, to, repository, signer, options, progress };

    let mut index = list.document();
    if let Some(words) = options.words {
        words.index().clone_into(&mut index.media_type);
    }
    if options.words == Some(Words::Docker) {
        // Docker's lists have no place for these.
        index.annotations.clear();
        (index.subject, index.artifact_type) = (None, None);
        index.manifests.iter_mut().for_each(|member| member.annotations.clear());
    }
    for descriptor in &mut index.manifests {
        let member = list.members.get(&descriptor.digest).cloned().unwrap_or_default();
        push.member(descriptor, &member)
            .context(|| format!("cannot copy image {}", descriptor.digest))
            .context(context)?;
    }
    progress.update(ProgressEvent::Recording);
    let document = serde_json::to_vec(&index).context(context)?;
    let put = push.repository.put_manifest(to.tag_or_digest(), &index.media_type, &document);
    let accepted = push.runtime.block_on(put).map_err(|error| match options.members {
        true => error,
        false => error.hint("the registry must have all images of the list; push them by --all"),
    });
    let digest = accepted.context(context)?.digest;
    push.sign(&digest).context(context)?;
    Ok(Pushed { digest, size: document.len() as u64 })
}

impl Push<'_> {
    /// Sees to it that the registry has a member, and notes what has become of it.
    fn member(&self, descriptor: &mut Descriptor, member: &Member) -> Result<()> {
        // Nobody has a manifest that was made here: it is sent in any case.
        if member.made {
            return self.made(descriptor, member);
        }
        let translates = self.options.words.is_some();
        if !self.options.members && !translates {
            return Ok(());
        }
        // What is said in the same words is there as it is.
        if !translates && self.has(&descriptor.digest)? {
            self.progress.update(ProgressEvent::Skipped(&descriptor.digest));
            return self.sign(&descriptor.digest);
        }
        let source = member.source.as_ref().map(|source| self.source(source)).transpose()?;
        let document = self.document(&descriptor.digest, source.as_ref())?;
        let fetched = parse(document, descriptor.digest.clone())?;
        let mut document = fetched.data;
        if fetched.is_list {
            let inner: Index = serde_json::from_slice(&document).context(|| "it is malformed")?;
            for part in &inner.manifests {
                // Deeper than this nobody goes.
                let document = self.document(&part.digest, source.as_ref())?;
                self.upload(self.blobs(&document, member, source.as_ref())?)?;
                self.put(&part.digest, &part.media_type, &document)?;
            }
            return self.put(&descriptor.digest, &fetched.media_type, &document).map(drop);
        }
        let mut media_type = fetched.media_type;
        if let Some(words) = self.options.words
            && let Some(other) = words.translate(&document)?
        {
            document = other;
            descriptor.digest = digest_of(&document);
            descriptor.size = document.len() as u64;
            let manifest: Manifest =
                serde_json::from_slice(&document).context(|| "it is malformed")?;
            media_type = manifest.media_type;
            descriptor.media_type.clone_from(&media_type);
        }
        if self.options.members {
            let blobs = match self.blobs(&document, member, source.as_ref()) {
                // Its layers are here, otherwise compressed or not at all: they are compressed again.
                Err(error) if member.image.is_some() => {
                    let warning = format!("image {} is sent anew: {error}", descriptor.digest);
                    self.progress.update(ProgressEvent::Warning(&warning));
                    return self.made(descriptor, member);
                }
                blobs => blobs?,
            };
            self.upload(blobs)?;
            self.put(&descriptor.digest, &media_type, &document)?;
        }
        Ok(())
    }

    /// Pushes an image whose manifest cannot be had: what is made of it decides what it is called.
    fn made(&self, descriptor: &mut Descriptor, member: &Member) -> Result<()> {
        let missing = || {
            Error::new(Kind::NotFound, "it is not here any more")
                .hint("remove it from the list, and add it again")
        };
        let image = image(self.store, member)?.ok_or_else(missing)?;
        let format = match self.options.words {
            Some(Words::Docker) => ManifestFormat::Docker,
            None if descriptor.media_type == DOCKER_MANIFEST => ManifestFormat::Docker,
            Some(Words::Oci) | None => ManifestFormat::Oci,
        };
        let options = PushOptions {
            registry: self.options.registry.clone(),
            signing: self.options.signing.clone(),
            form: Form { format: Some(format), ..Form::default() },
        };
        let pushed = push_member(self.store, &image, self.to, &options, self.progress)?;
        descriptor.digest = pushed.digest;
        descriptor.size = pushed.size;
        format.manifest_type().clone_into(&mut descriptor.media_type);
        Ok(())
    }

    fn sign(&self, digest: &Digest) -> Result<()> {
        self.runtime.block_on(self.signer.sign(&self.repository, self.to, digest))
    }

    /// Tells whether the registry has a manifest in the repository.
    fn has(&self, digest: &Digest) -> Result<bool> {
        match self.runtime.block_on(self.repository.manifest(digest.as_str())) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == Kind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn source(&self, name: &Reference) -> Result<Source> {
        let repository = Arc::new(Repository::new(name, &self.options.registry)?);
        let same = name.registry() == self.to.registry();
        Ok(Source { repository, path: same.then(|| name.path().to_owned()) })
    }

    /// Returns a manifest that is here, or in the registry that it came from.
    fn document(&self, digest: &Digest, source: Option<&Source>) -> Result<Vec<u8>> {
        if let Some(document) = self.store.blobs().read(digest)? {
            return Ok(document);
        }
        let missing = || {
            Error::new(Kind::NotFound, format!("manifest {digest} is missing"))
                .hint("remove it from the list, and add it again")
        };
        let source = source.ok_or_else(missing)?;
        let (document, _) = self.runtime.block_on(source.repository.manifest(digest.as_str()))?;
        Ok(document)
    }

    fn put(&self, digest: &Digest, media_type: &str, document: &[u8]) -> Result<()> {
        let put = self.repository.put_manifest(digest.as_str(), media_type, document);
        let accepted = self.runtime.block_on(put)?;
        // An index has no layers, and is about nothing.
        if !accepted.lists_referrers
            && let Ok(manifest) = serde_json::from_slice::<Manifest>(document)
        {
            let size = document.len() as u64;
            self.runtime.block_on(refer(&self.repository, &manifest, digest, size))?;
        }
        self.sign(digest)
    }

    /// Opens the blobs of a manifest that the registry may not have.
    fn blobs(
        &self,
        document: &[u8],
        member: &Member,
        source: Option<&Source>,
    ) -> Result<Blobs<'_>> {
        let manifest: Manifest = serde_json::from_slice(document).context(|| "it is malformed")?;
        let (mut uploads, mut others): (Vec<Upload>, Vec<Wanted>) = (Vec::new(), Vec::new());
        let mut known = BTreeSet::new();
        for descriptor in manifest.blobs().filter(|blob| known.insert(&blob.digest)) {
            let blob = Blob { digest: descriptor.digest.clone(), size: descriptor.size };
            let from = source.and_then(|source| source.path.clone());
            match self.store.blobs().open(&blob.digest)? {
                Some(file) => uploads.push(Upload { blob, file, from }),
                // Nobody's to give away: a registry gets the address only.
                None if !descriptor.urls.is_empty() => {}
                None => others.push(Wanted::of(descriptor)),
            }
        }
        let absent = self.runtime.block_on(self.absent(others, source))?;
        let (layers, absent): (Vec<Wanted>, Vec<Wanted>) =
            absent.into_iter().partition(|wanted| is_layer(member, &wanted.blob));
        let mut drafts = match (source, absent.first()) {
            (_, None) => Vec::new(),
            (Some(source), _) => transfer::fetch(
                self.store,
                &self.runtime,
                &source.repository,
                &absent,
                Purpose::PassOn,
                self.progress,
            )?,
            (None, Some(Wanted { blob, .. })) => {
                return Err(Error::new(Kind::NotFound, format!("blob {} is missing", blob.digest))
                    .hint("pull the image again"));
            }
        };
        for Wanted { blob, .. } in layers {
            drafts.push(self.layer(blob)?);
        }
        for draft in &drafts {
            let (digest, size) = draft.digest();
            uploads.push(Upload { blob: Blob { digest, size }, file: draft.file()?, from: None });
        }
        Ok(Blobs { uploads, _drafts: drafts })
    }

    /// Sees to it that the registry has blobs.
    fn upload(&self, blobs: Blobs<'_>) -> Result<()> {
        self.runtime.block_on(transfer::upload(&self.repository, blobs.uploads, self.progress))
    }

    /// Makes the tar stream of a layer that was not compressed.
    fn layer(&self, blob: Blob) -> Result<BlobDraft<'_>> {
        let Blob { digest, size } = blob;
        let told = |done| {
            self.progress.update(ProgressEvent::Layer { digest: &digest, done, total: size });
        };
        let draft = self.store.blobs().begin()?;
        let stream = TarStream::open(self.store, &DiffId(digest.clone()))?;
        stream.read_ahead(|stream| transfer::write(stream, draft, Some(size), &told))
    }

    /// Returns which of some blobs the registry neither has nor can take over.
    async fn absent(&self, wanted: Vec<Wanted>, source: Option<&Source>) -> Result<Vec<Wanted>> {
        let mut absent = Vec::new();
        for wanted in wanted {
            let digest = &wanted.blob.digest;
            let path = source.and_then(|source| source.path.as_deref());
            let is_there = self.repository.has_blob(digest).await?
                || match path {
                    Some(path) => self.repository.mount_blob(digest, path).await?,
                    None => false,
                };
            if is_there {
                self.progress.update(ProgressEvent::Skipped(digest));
            } else {
                absent.push(wanted);
            }
        }
        Ok(absent)
    }
}

/// Tells whether a blob is the tar stream of a layer that is here.
fn is_layer(member: &Member, blob: &Blob) -> bool {
    member.layers.iter().any(|id| id.0 == blob.digest)
}

/// The blobs of a manifest, opened.
struct Blobs<'a> {
    uploads: Vec<Upload>,
    /// Files of those that are not in the store, for as long as they are needed.
    _drafts: Vec<BlobDraft<'a>>,
}

/// Where a member comes from.
struct Source {
    repository: Arc<Repository>,
    /// The repository, if it is one of the registry that the list goes to.
    path: Option<String>,
}
