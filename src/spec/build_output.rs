//! `--output` of a build: what becomes of its result, in BuildKit's words.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;

use super::compression::Compression;
use super::csv::fields;
use super::manifest::ManifestFormat;
use crate::error::{Error, Kind, Result};

/// What a result becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputKind {
    /// Its files, in a directory.
    Local,
    /// Its files, as an archive.
    Tar,
    /// An image, as a layout of OCI.
    Oci,
    /// An image, as an archive of Docker's; without a place, in the store.
    Docker,
    /// An image, in the store and perhaps in a registry.
    Image,
    /// Nothing but what the next build finds in the cache.
    CacheOnly,
}

/// Where it goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum OutputPlace {
    /// Where things of this kind go if nothing is said.
    #[default]
    Usual,
    /// Standard output.
    Stdout,
    /// A file or a directory.
    Path(PathBuf),
}

/// One `--output`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildOutput {
    /// What it becomes.
    pub kind: OutputKind,
    /// Where it goes.
    pub place: OutputPlace,
    /// What the image is called, instead of what `--tag` says.
    pub names: Vec<String>,
    /// Whether the image is pushed.
    pub push: bool,
    /// Whether it is pushed under its digest only.
    pub by_digest: bool,
    /// Whether the registry may be one without encryption or certificates.
    pub insecure: bool,
    /// Whether the image is kept in the store, too.
    pub store: bool,
    /// Whether a layout is an archive; a directory otherwise.
    pub tar: bool,
    /// Whether files of several platforms go to directories of their own; if not said, when there are
    /// several.
    pub split: Option<bool>,
    /// How layers are compressed that are not yet.
    pub compression: Option<Compression>,
    /// How strongly.
    pub level: Option<i32>,
    /// Whether layers are compressed anew that are compressed otherwise.
    pub force_compression: bool,
    /// Whose words the manifest is written in.
    pub format: Option<ManifestFormat>,
    /// Annotations of the manifest.
    pub annotations: BTreeMap<String, String>,
    /// Annotations of the list of several platforms.
    pub index_annotations: BTreeMap<String, String>,
}

impl BuildOutput {
    /// Begins with what is usual for a kind.
    pub fn new(kind: OutputKind) -> Self {
        Self {
            kind,
            place: OutputPlace::Usual,
            names: Vec::new(),
            push: false,
            by_digest: false,
            insecure: false,
            store: true,
            tar: true,
            split: None,
            compression: None,
            level: None,
            force_compression: false,
            format: None,
            annotations: BTreeMap::new(),
            index_annotations: BTreeMap::new(),
        }
    }

    /// Reads an output in BuildKit's words: its kind, and its attributes but for that.
    pub fn of<'a>(
        kind: &str,
        attributes: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self> {
        let (kind, push) = match kind {
            "local" => (OutputKind::Local, false),
            "tar" => (OutputKind::Tar, false),
            "oci" => (OutputKind::Oci, false),
            "docker" => (OutputKind::Docker, false),
            "image" => (OutputKind::Image, false),
            "registry" => (OutputKind::Image, true),
            "cacheonly" => (OutputKind::CacheOnly, false),
            other => {
                let text = format!("invalid output: unknown type `{other}`");
                return Err(Error::new(Kind::Invalid, text)
                    .hint("write local, tar, oci, docker, image, registry or cacheonly"));
            }
        };
        let mut output = Self { push, ..Self::new(kind) };
        for (key, value) in attributes {
            match key.to_ascii_lowercase().as_str() {
                // Names of annotations keep their letters.
                lower if lower.starts_with("annotation") => output.set(key, value)?,
                lower => output.set(lower, value)?,
            }
        }
        Ok(output)
    }

    /// Tells whether the image is to be in the store afterwards.
    pub fn keeps(&self) -> bool {
        match self.kind {
            OutputKind::Docker => self.place == OutputPlace::Usual,
            OutputKind::Image => self.store || self.push,
            OutputKind::Local | OutputKind::Tar | OutputKind::Oci | OutputKind::CacheOnly => false,
        }
    }

    fn set(&mut self, key: &str, value: &str) -> Result<()> {
        let flag = || {
            truth(value).ok_or_else(|| {
                Error::new(Kind::Invalid, format!("invalid value `{value}` of output's `{key}`"))
                    .hint("write true or false")
            })
        };
        match key {
            "dest" if value == "-" => self.place = OutputPlace::Stdout,
            "dest" => self.place = OutputPlace::Path(value.into()),
            "name" => self.names.extend(value.split(',').map(|name| name.trim().to_owned())),
            "push" => self.push = flag()?,
            "push-by-digest" => self.by_digest = flag()?,
            "registry.insecure" => self.insecure = flag()?,
            "store" => self.store = flag()?,
            "tar" => self.tar = flag()?,
            "platform-split" => self.split = Some(flag()?),
            "compression" if value == "uncompressed" => self.compression = Some(Compression::None),
            "compression" => self.compression = Some(value.parse()?),
            "compression-level" => {
                self.level = Some(value.parse().map_err(|_| {
                    Error::new(Kind::Invalid, format!("invalid compression level `{value}`"))
                })?);
            }
            "force-compression" => self.force_compression = flag()?,
            "oci-mediatypes" => {
                self.format = Some(match flag()? {
                    true => ManifestFormat::Oci,
                    false => ManifestFormat::Docker,
                });
            }
            // What they ask for is so anyway, or is about what is not here.
            "unpack"
            | "buildinfo"
            | "buildinfo-attrs"
            | "name-canonical"
            | "oci-artifact"
            | "dangling-name-prefix"
            | "rewrite-timestamp"
            | "prefer-nondist-layers"
            | "attestation-prefix"
            | "attestation-inline"
            | "source-date-epoch" => {}
            _ => {
                let of = |prefix: &str| key.strip_prefix(prefix).filter(|name| !name.is_empty());
                if let Some(name) =
                    of("annotation-index.").or_else(|| of("annotation-manifest-descriptor."))
                {
                    self.index_annotations.insert(name.to_owned(), value.to_owned());
                } else if let Some(name) = of("annotation.").or_else(|| of("annotation-manifest."))
                {
                    self.annotations.insert(name.to_owned(), value.to_owned());
                } else {
                    return Err(Error::new(
                        Kind::Invalid,
                        format!("unknown attribute `{key}` of a build's output"),
                    )
                    .hint(
                        "known are type, dest, name, push, push-by-digest, tar, store, compression, compression-level, force-compression, oci-mediatypes, platform-split, registry.insecure and annotation.NAME",
                    ));
                }
            }
        }
        Ok(())
    }

    fn check(self, text: &str) -> Result<Self> {
        let invalid =
            |why: &str| Err(Error::new(Kind::Invalid, format!("invalid output `{text}`: {why}")));
        match (self.kind, &self.place) {
            (OutputKind::Local, OutputPlace::Usual) => {
                invalid("dest=DIRECTORY is required for type=local")
            }
            (OutputKind::Local, OutputPlace::Stdout) => {
                invalid("files of type=local go to a directory; type=tar goes to standard output")
            }
            (
                OutputKind::Image | OutputKind::CacheOnly,
                OutputPlace::Path(_) | OutputPlace::Stdout,
            ) => invalid("dest= is for local, tar, oci and docker"),
            (OutputKind::Oci | OutputKind::Docker, place)
                if !self.tar && !matches!(place, OutputPlace::Path(_)) =>
            {
                invalid("dest=DIRECTORY is required for tar=false")
            }
            _ if self.push && self.kind != OutputKind::Image => invalid("push= is for type=image"),
            _ => Ok(self),
        }
    }
}

impl FromStr for BuildOutput {
    type Err = Error;

    /// Parses the flag: fields as in `type=local,dest=DIR`, or a directory, or `-` for an archive.
    fn from_str(text: &str) -> Result<Self> {
        let invalid = |why: String| {
            Error::new(Kind::Invalid, format!("invalid output `{text}`: {why}"))
                .hint("write DIRECTORY, - or type=local|tar|oci|docker|image|registry[,dest=PATH]")
        };
        if text == "-" {
            return Ok(Self { place: OutputPlace::Stdout, ..Self::new(OutputKind::Tar) });
        }
        if text.is_empty() {
            return Err(invalid("it is empty".to_owned()));
        }
        let words = fields(text).map_err(invalid)?;
        if let [word] = words.as_slice()
            && !word.contains('=')
        {
            let place = OutputPlace::Path(word.into());
            return Ok(Self { place, ..Self::new(OutputKind::Local) });
        }
        let mut pairs = Vec::new();
        for word in &words {
            let (key, value) =
                word.split_once('=').ok_or_else(|| invalid(format!("`{word}` is no KEY=VALUE")))?;
            pairs.push((key.trim(), value));
        }
        let kind = pairs.iter().find(|(key, _)| key.eq_ignore_ascii_case("type"));
        let (_, kind) = kind.ok_or_else(|| invalid("type is required".to_owned()))?;
        let rest = pairs.iter().filter(|(key, _)| !key.eq_ignore_ascii_case("type")).copied();
        let output = Self::of(kind, rest)?;
        output.check(text)
    }
}

fn truth(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_outputs() {
        use OutputKind::{CacheOnly, Docker, Image, Local, Oci, Tar};
        let path = |text: &str| OutputPlace::Path(text.into());
        for (text, kind, place, push) in [
            ("-", Tar, OutputPlace::Stdout, false),
            ("out", Local, path("out"), false),
            ("type=local,dest=o/p", Local, path("o/p"), false),
            ("type=tar", Tar, OutputPlace::Usual, false),
            ("type=tar,dest=-", Tar, OutputPlace::Stdout, false),
            ("type=oci,dest=x,tar=false", Oci, path("x"), false),
            ("type=docker", Docker, OutputPlace::Usual, false),
            ("\"type=image\",push=true", Image, OutputPlace::Usual, true),
            ("type=registry", Image, OutputPlace::Usual, true),
            ("type=cacheonly", CacheOnly, OutputPlace::Usual, false),
        ] {
            let output: BuildOutput = text.parse().unwrap();
            assert_eq!((output.kind, &output.place, output.push), (kind, &place, push), "{text}");
        }
        let text = "type=image,\"name=a,b:1\",oci-mediatypes=false,compression=zstd,compression-level=7,annotation.A.b=c";
        let output: BuildOutput = text.parse().unwrap();
        assert_eq!(output.names, ["a", "b:1"]);
        assert_eq!(output.format, Some(ManifestFormat::Docker));
        assert_eq!((output.compression, output.level), (Some(Compression::Zstd), Some(7)));
        assert_eq!(output.annotations["A.b"], "c");
        for text in [
            "",
            "type=local",
            "type=local,dest=-",
            "type=x,dest=y",
            "dest=y",
            "type=image,dest=y",
            "type=tar,push=true",
            "type=oci,tar=false",
            "type=oci,compression=lzma",
            "type=oci,nosuch=1",
            "type=oci,tar=maybe",
            "type=oci,x",
            "a,b",
        ] {
            assert_eq!(text.parse::<BuildOutput>().unwrap_err().kind(), text_kind(text), "{text}");
        }
    }

    fn text_kind(text: &str) -> Kind {
        if text.contains("lzma") { Kind::Unsupported } else { Kind::Invalid }
    }
}
