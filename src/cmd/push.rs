//! `barge push`

use std::path::PathBuf;

use clap::Args;

use super::World;
use super::access::AccessFlags;
use super::answers::{self, RemoteName};
use super::exit::Status;
use super::host::refuse;
use super::progress::Display;
use super::signing::SigningFlags;
use super::tree::Act;
use crate::engine::images::{self, Form, PushOptions, Pushed};
use crate::error::{Context, Result};
use crate::remote::{Host, Request, escape};
use crate::spec::compression::Compression;
use crate::spec::manifest::ManifestFormat;
use crate::spec::reference::Reference;

/// Push an image to a registry
///
/// Without a destination it goes where its name says. The digest of its manifest is printed.
#[derive(Args, Debug)]
pub(crate) struct Push {
    #[command(flatten)]
    access: AccessFlags,
    /// Push all tags of a repository
    #[arg(short, long)]
    all_tags: bool,
    /// How layers are compressed: gzip, zstd or zstd:chunked
    ///
    /// Layers that are compressed otherwise are compressed anew. What is asked for as zstd:chunked is
    /// sent as zstd.
    #[arg(long, value_name = "FORMAT", visible_alias = "compression")]
    compression_format: Option<Compression>,
    /// How strongly layers are compressed
    #[arg(long, value_name = "LEVEL")]
    compression_level: Option<i32>,
    /// Write the digest of the manifest to this file
    #[arg(long, value_name = "FILE")]
    digestfile: Option<PathBuf>,
    /// Compress anew what is compressed otherwise
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = super::parse::truth)]
    force_compression: Option<bool>,
    /// Form of the manifest: oci or v2s2
    #[arg(short, long, value_name = "FORM")]
    format: Option<ManifestFormat>,
    /// Do not show progress
    #[arg(short, long)]
    quiet: bool,
    /// Leave signatures behind, of which images have none here
    #[arg(long)]
    remove_signatures: bool,
    #[command(flatten)]
    signing: SigningFlags,
    /// Image, by name or ID
    #[arg(value_name = "IMAGE", required = true)]
    image: String,
    /// Where to push it, as in quay.io/user/name or oci:DIR
    #[arg(value_name = "DESTINATION")]
    destination: Option<String>,
}

impl Act for Push {
    fn act(self, world: &mut World) -> Result<Status> {
        let options = PushOptions {
            registry: self.access.options()?,
            form: Form {
                format: self.format,
                compression: self.compression_format,
                level: self.compression_level,
                force: self.force_compression.unwrap_or(self.compression_format.is_some()),
            },
            signing: self.signing.options()?,
        };
        let engine = world.power()?;
        let display = Display::new(self.quiet);
        let (store, image) = (engine.store(), &self.image);
        let destination = self.destination.as_deref();
        let (out, quiet) = (&mut world.out, self.quiet);
        let mut said = |name: &Reference, pushed: &Pushed| match quiet {
            true => Ok(()),
            false => {
                let tag = name.tag_or_digest();
                out.line(&format!("{tag}: digest: {} size: {}", pushed.digest, pushed.size))
            }
        };
        if self.all_tags {
            let done =
                images::push_all_tags(store, image, destination, &options, &display, &mut said);
            display.finish();
            return done.map(|()| Status::SUCCESS);
        }
        let pushed = images::push(store, image, destination, &options, &display);
        display.finish();
        let (name, pushed) = pushed?;
        if let (Some(path), Some(pushed)) = (&self.digestfile, &pushed) {
            std::fs::write(path, pushed.digest.as_str())
                .context(|| format!("cannot write {}", path.display()))?;
        }
        if let (Some(name), Some(pushed)) = (&name, &pushed) {
            said(name, pushed)?;
        }
        Ok(Status::SUCCESS)
    }

    fn act_on(self, host: &Host, world: &mut World) -> Result<Status> {
        let elsewhere = self.destination.as_ref().is_some_and(|it| *it != self.image);
        refuse(&[
            ("another destination than the name of the image", elsewhere),
            ("--compression-format", self.compression_format.is_some()),
            ("--compression-level", self.compression_level.is_some()),
            ("--force-compression", self.force_compression.is_some()),
            ("--format", self.format.is_some()),
            ("--sign-by", self.signing.is_asked()),
        ])?;
        let name = RemoteName::new(&self.image);
        let tag = if self.all_tags { None } else { Some(name.tag.unwrap_or("latest")) };
        let path = format!("/images/{}/push", escape(name.repository));
        // The service wants to be told that there is nothing to tell, too.
        let proof = self.access.proof(&self.image)?.unwrap_or_else(|| "e30=".to_owned());
        let request = Request::post(path).maybe("tag", tag).field("x-registry-auth", proof);
        let display = Display::new(self.quiet);
        let mut pushed = Vec::new();
        let heard = host.call(request)?.documents().try_for_each(|line| {
            let line = line?;
            if let Some(aux) = line.get("aux") {
                pushed.push(aux.clone());
            }
            display.hear(&line)
        });
        display.finish();
        heard?;
        for aux in &pushed {
            let (tag, digest) = (answers::text(aux, "Tag"), answers::text(aux, "Digest"));
            if let Some(path) = &self.digestfile {
                std::fs::write(path, digest)
                    .context(|| format!("cannot write {}", path.display()))?;
            }
            if !self.quiet {
                let size = answers::bytes(aux, "Size");
                world.out.line(&format!("{tag}: digest: {digest} size: {size}"))?;
            }
        }
        Ok(Status::SUCCESS)
    }
}
