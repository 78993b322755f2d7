//! One image's files in a directory: what other tools call `dir:`.

use super::{SavedImage, Saver};
use crate::error::{Error, Kind, Result};
use crate::image::progress::ProgressEvent;
use crate::image::push::Pushed;
use crate::store::blob::digest_of;

const VERSION: &[u8] = b"Directory Transport Version: 1.1\n";

impl Saver<'_, '_> {
    /// Writes the manifest and the blobs of an image.
    pub(super) fn docker_dir(&mut self, images: &[SavedImage]) -> Result<Vec<Pushed>> {
        let [SavedImage { image, .. }] = images else {
            return Err(Error::new(Kind::Invalid, "a directory of this form holds one image")
                .hint("save several images with --format oci-dir"));
        };
        let ready = self.blobs(image, |digest| digest.hex().to_owned())?;
        self.progress.update(ProgressEvent::Recording);
        self.members.add_bytes("version", VERSION)?;
        self.members.add_bytes("manifest.json", &ready.data)?;
        Ok(vec![Pushed { digest: digest_of(&ready.data), size: ready.data.len() as u64 }])
    }
}
