//! A root file system in a tar archive becomes an image of one layer.

use std::io::BufRead;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use super::ingest::{Expected, layer};
use super::policy::{LocalSource, Policy};
use super::progress::{Progress, ProgressEvent};
use super::record::{Origin, disturbed, record};
use crate::error::{Context, Result};
use crate::spec::change::ImageChange;
use crate::spec::image::{HistoryStep, ImageConfig, RootFs, RunConfig};
use crate::spec::platform::Platform;
use crate::spec::reference::Reference;
use crate::spec::time;
use crate::store::Store;
use crate::store::garbage::Parts;
use crate::store::image::Image;

/// How an archive becomes an image.
#[derive(Clone, Debug)]
pub struct ImportOptions {
    /// Its name.
    pub name: Option<Reference>,
    /// Changes to an empty configuration.
    pub changes: Vec<ImageChange>,
    /// What the history says about it.
    pub message: Option<String>,
    /// What it is made for; this machine if nothing is said.
    pub platform: Option<Platform>,
    /// Says whose signatures images must have, in place of the usual file.
    pub signature_policy: Option<PathBuf>,
}

/// Imports an archive, which may be compressed.
pub fn import(
    store: &Store,
    input: impl BufRead,
    options: &ImportOptions,
    progress: &dyn Progress,
) -> Result<Image> {
    store.gc_tmp()?;
    Policy::load(options.signature_policy.as_deref())?.check_local(store, LocalSource::Tarball)?;
    let ingested = layer(store, input, &Expected { blob: None, diff_id: None }, |_| {})
        .context(|| "cannot import the root file system")?;
    for warning in &ingested.info.warnings {
        progress.update(ProgressEvent::Warning(warning));
    }
    let mut run = RunConfig::default();
    options.changes.iter().for_each(|change| change.apply(&mut run));
    let platform = options.platform.clone().unwrap_or_else(Platform::host);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let created = Some(time::rfc3339_short(i64::try_from(now).unwrap_or(i64::MAX)));
    let config = ImageConfig {
        created: created.clone(),
        author: None,
        architecture: platform.architecture,
        variant: platform.variant,
        os: platform.os,
        config: run,
        rootfs: RootFs { diff_ids: vec![ingested.diff_id], ..RootFs::default() },
        history: vec![HistoryStep {
            created,
            comment: Some(options.message.clone().unwrap_or_else(|| "imported".to_owned())),
            ..HistoryStep::default()
        }],
    };
    let _pin = store.pin(&Parts::of(&config.rootfs.diff_ids, []))?;
    let config = serde_json::to_vec(&config).context(|| "cannot write the configuration")?;
    store.publish_soon(ingested.finished)?;
    progress.update(ProgressEvent::Recording);
    record(store, &config, Origin::default(), options.name.as_slice())?.ok_or_else(disturbed)
}
