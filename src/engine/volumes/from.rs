//! `--volumes-from`: a container gets what another one has mounted.

use std::borrow::Cow;

use crate::engine::Engine;
use crate::error::{Error, Kind, Result};
use crate::spec::container::ContainerSpec;
use crate::spec::mount::{Mount, MountSource};

impl Engine {
    /// Adds the volumes and binds of other containers to a request. What it has itself wins.
    pub(in crate::engine) fn with_volumes_of_others<'a>(
        &self,
        spec: &'a ContainerSpec,
    ) -> Result<Cow<'a, ContainerSpec>> {
        if spec.volumes_from.is_empty() {
            return Ok(Cow::Borrowed(spec));
        }
        let mut spec = spec.clone();
        for text in std::mem::take(&mut spec.volumes_from) {
            let (name, words) = text.split_once(':').unwrap_or((&text, ""));
            let read_only = read_only(&text, words)?;
            let donor = self.lookup(name)?;
            let lasting = |mount: &&Mount| {
                matches!(mount.source, MountSource::Volume { .. } | MountSource::Bind { .. })
            };
            for mount in donor.config.settings.mounts.iter().filter(lasting) {
                let mounts = &mut spec.settings.mounts;
                if !mounts.iter().any(|own| own.target == mount.target) {
                    let mut mount = mount.clone();
                    mount.read_only = read_only.unwrap_or(mount.read_only);
                    mounts.push(mount);
                }
            }
        }
        Ok(Cow::Owned(spec))
    }
}

/// Reads what stands behind the container's name; `None` leaves each as the other container has it.
fn read_only(text: &str, words: &str) -> Result<Option<bool>> {
    let mut read_only = None;
    for word in words.split(',').filter(|word| !word.is_empty()) {
        match word {
            "ro" | "rw" if read_only.is_some() => {
                let message = format!("invalid --volumes-from `{text}`: ro or rw is given twice");
                return Err(Error::new(Kind::Invalid, message).hint("leave one of them out"));
            }
            "ro" | "rw" => read_only = Some(word == "ro"),
            // Labels of SELinux.
            "z" | "Z" => {}
            _ => {
                let message = format!("invalid --volumes-from `{text}`: unknown option `{word}`");
                return Err(
                    Error::new(Kind::Invalid, message).hint("write CONTAINER[:ro], as in db:ro")
                );
            }
        }
    }
    Ok(read_only)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_options() {
        for (words, want) in [
            ("", Some(None)),
            ("ro", Some(Some(true))),
            ("z,rw", Some(Some(false))),
            ("rx", None),
            ("ro,rw", None),
        ] {
            assert_eq!(read_only("c", words).ok(), want, "{words}");
        }
    }
}
