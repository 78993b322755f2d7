//! The result of a build: images that are on record, or about to be given away.

use std::collections::BTreeMap;

use super::attest::{Made, attest};
use super::cache::{Kept, add_steps};
use super::stage::Image;
use super::{Builder, Listener};
use crate::engine::Engine;
use crate::engine::images::Progress;
use crate::error::{Context, Result};
use crate::image::list::Described;
use crate::image::record::{Origin, describe, disturbed, record};
use crate::spec::build_output::BuildOutput;
use crate::spec::digest::DiffId;
use crate::spec::image::RootFs;
use crate::spec::platform::Platform;
use crate::spec::reference::Reference;
use crate::store::garbage::{Parts, Pin};
use crate::store::image::Image as Recorded;
use crate::store::list::List;

/// What a build has made. As long as it is there, nothing of it is garbage.
#[derive(Debug, Default)]
pub struct Built {
    /// One image for each platform.
    pub images: Vec<BuiltImage>,
    /// The list of them, if there are several.
    pub list: Option<List>,
    /// What the image or the list is called.
    pub names: Vec<Reference>,
    pins: Vec<Pin>,
    /// All steps of the build, and those of the result.
    steps: [Vec<Kept>; 2],
}

/// An image that was built.
#[derive(Clone, Debug)]
pub struct BuiltImage {
    /// For which platform.
    pub platform: Platform,
    /// The image; it is not on record if nobody wanted it to be.
    pub image: Recorded,
}

impl Built {
    /// Records what builders have made, each for its platform.
    pub(super) fn of(
        builders: Vec<Builder<'_>>,
        images: Vec<Image>,
        listener: &dyn Listener,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let mut built = Self::default();
        let Some((engine, options)) = builders.first().map(|it| (it.engine, it.options)) else {
            return Ok(built);
        };
        let outputs = &options.outputs;
        built.names.clone_from(&options.names);
        for name in outputs.iter().filter(|it| it.keeps()).flat_map(|it| &it.names) {
            let name = Reference::local(name)?;
            if !built.names.contains(&name) {
                built.names.push(name);
            }
        }
        let several = images.len() > 1 || options.attestations.any();
        let keeps = outputs.is_empty()
            || outputs.iter().any(BuildOutput::keeps)
            || !built.names.is_empty()
            || options.manifest.is_some();
        // Documents are about a manifest, which only an image on record has.
        let keeps = keeps || options.attestations.any();
        let names = if several { Vec::new() } else { built.names.clone() };
        let mut documents = Vec::new();
        for (builder, image) in builders.into_iter().zip(images) {
            let layers: Vec<DiffId> = image.layers.iter().map(|layer| layer.id.clone()).collect();
            built.steps[0].extend(builder.steps_of(None));
            built.steps[1].extend(builder.steps_of(Some(&layers)));
            let image = builder.finish(image, keeps.then_some(&names[..]), &mut built.pins)?;
            let mut image = BuiltImage { platform: builder.platform.clone(), image };
            if options.attestations.any() {
                let bases = builder.base_digests()?;
                let (started, finished) = (builder.started, crate::engine::now());
                let made = Made { bases: &bases, started, finished };
                let (described, warning, pin) =
                    attest(engine, options, &mut image, &built.names, &made, progress)?;
                warning.iter().for_each(|text| listener.warning(text));
                documents.push(described);
                built.pins.push(pin);
            }
            built.images.push(image);
            built.pins.extend(builder.pending.into_inner().unwrap_or_default().pins);
        }
        if several {
            built.list(engine, keeps, &options.index_annotations, documents)?;
        }
        if let Some(name) = &options.manifest {
            let images: Vec<&Recorded> = built.images.iter().map(|it| &it.image).collect();
            crate::engine::lists::extend(engine.store(), name, &images)?;
        }
        Ok(built)
    }

    /// Returns all steps of the build, or those of the result.
    pub(super) fn steps(&self, all: bool) -> Vec<Kept> {
        self.steps[usize::from(!all)].clone()
    }

    fn list(
        &mut self,
        engine: &Engine,
        keeps: bool,
        annotations: &BTreeMap<String, String>,
        documents: Vec<Described>,
    ) -> Result<()> {
        let images: Vec<&Recorded> = self.images.iter().map(|it| &it.image).collect();
        let names = keeps.then_some(self.names.as_slice()).filter(|names| !names.is_empty());
        let (list, pin) =
            crate::engine::lists::make(engine.store(), names, &images, documents, annotations)?;
        self.pins.push(pin);
        self.list = Some(list);
        Ok(())
    }
}

impl Builder<'_> {
    /// Returns the addresses of images that the build began with, each with its digest in hexadecimal
    /// digits.
    fn base_digests(&self) -> Result<BTreeMap<String, String>> {
        let mut digests = BTreeMap::new();
        let bases = self.bases.lock().map(|bases| bases.clone()).unwrap_or_default();
        for (name, _) in bases.into_keys() {
            let Some((image, found)) = self.engine.store().images().find_named(&name)? else {
                continue;
            };
            let address = match &found {
                Some(name) => {
                    let tag = name.tag_or_digest();
                    let platform = self.platform.to_string().replace('/', "%2F");
                    format!("pkg:docker/{}@{tag}?platform={platform}", name.repository())
                }
                None => format!("pkg:docker/{name}"),
            };
            let digest = image.manifest_digest.as_ref().unwrap_or(&image.id.0);
            digests.insert(address, digest.hex().to_owned());
        }
        Ok(digests)
    }

    /// Records an image under names, or only describes it.
    fn finish(
        &self,
        image: Image,
        names: Option<&[Reference]>,
        pins: &mut Vec<Pin>,
    ) -> Result<Recorded> {
        let mut config = image.config;
        for (name, value) in &self.options.labels {
            config.config.labels.insert(name.clone(), value.clone());
        }
        for (name, value) in &self.options.env {
            let known = |entry: &String| entry.split_once('=').is_some_and(|(it, _)| it == name);
            config.config.env.retain(|entry| !known(entry));
            config.config.env.push(format!("{name}={value}"));
        }
        let created = config.history.iter().filter_map(|step| step.created.clone()).next_back();
        config.created = created.or_else(|| Some(self.now.clone()));
        if self.options.no_history {
            config.history.clear();
        }
        let layers: Vec<DiffId> = image.layers.into_iter().map(|layer| layer.id).collect();
        config.rootfs = RootFs { diff_ids: layers, ..RootFs::default() };
        let mut data = serde_json::to_vec(&config).context(|| "cannot write the configuration")?;
        if self.is_inline() {
            data = add_steps(&data, &self.steps_of(Some(&config.rootfs.diff_ids)))?;
        }
        let store = self.engine.store();
        pins.push(store.pin(&Parts::of(&config.rootfs.diff_ids, []))?);
        let origin = Origin {
            format: self.options.format,
            annotations: self.options.annotations.clone(),
            ..Origin::default()
        };
        if let Some(names) = names {
            return record(store, &data, origin, names)?.ok_or_else(disturbed);
        }
        let _collector_kept_away = store.shared()?;
        let image = describe(store, &data, origin)?.ok_or_else(disturbed)?;
        let mut parts = Parts::default();
        parts.add_image(&image);
        pins.push(store.pin(&parts)?);
        Ok(image)
    }
}
