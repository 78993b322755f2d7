//! `build` on other hosts, by the endpoint of Docker's classic builder: the context goes there as an archive.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::Build;
use super::parse::{build_args, pairs, platforms};
use crate::api::model::asked;
use crate::build::{Asked, Sources, images, write_id};
use crate::cmd::World;
use crate::cmd::answers;
use crate::cmd::exit::Status;
use crate::cmd::host::refuse_as;
use crate::cmd::output;
use crate::cmd::pack::Packer;
use crate::engine::images::PullPolicy;
use crate::engine::random_hex;
use crate::error::{Context, Error, Kind, Result};
use crate::remote::{Host, Request};
use crate::spec::build_cache::{BuildCache, CachePlace};
use crate::spec::dockerfile::Dockerfile;
use crate::spec::ignore::Patterns;
use crate::spec::platform::Platform;

impl Build {
    /// Does it on another host.
    pub(super) fn build_on(self, host: &Host, world: &mut World) -> Result<Status> {
        self.refuse_what_is_not_there()?;
        let iidfile = self.iidfile.clone();
        let quiet = self.quiet || self.progress == "quiet";
        let request = self.request()?;
        let mut id = String::new();
        let mut failure = None;
        for line in host.call(request)?.documents() {
            let line = line?;
            if let Some(text) = line["error"].as_str() {
                let code = line["errorDetail"]["code"].as_i64();
                failure = Some((Error::new(Kind::Internal, text), code));
                continue;
            }
            if let Some(found) = line["aux"]["ID"].as_str() {
                found.clone_into(&mut id);
            }
            let stream = answers::text(&line, "stream");
            if quiet {
                // Nothing else is said then.
                stream.trim().clone_into(&mut id);
                continue;
            }
            match answers::text(&line, "status") {
                "" => world.out.text(stream)?,
                status => output::note(status),
            }
            world.out.flush()?;
        }
        if let Some((error, code)) = failure {
            return match code {
                // As here: how the command ended that failed.
                Some(code) => {
                    output::error(&error);
                    Ok(crate::cmd::talk::status_of(code))
                }
                None => Err(error),
            };
        }
        if let Some(path) = &iidfile {
            write_id(path, &id)?;
        }
        world.out.line(answers::hex(&id))?;
        Ok(Status::SUCCESS)
    }

    fn refuse_what_is_not_there(&self) -> Result<()> {
        let flags = [
            ("--annotation", !self.annotation.is_empty()),
            ("--attest", !self.attest.is_empty()),
            ("--build-context", !self.build_context.is_empty()),
            ("--call", self.call.is_some()),
            ("--cache-from type=local", self.cache_from.iter().any(|from| name_of(from).is_none())),
            ("--cache-to", !self.cache_to.is_empty()),
            ("--check", self.check),
            ("--env", !self.env.is_empty()),
            ("--format", self.format.is_some()),
            ("--from", self.from.is_some()),
            ("--logfile", self.logfile.is_some()),
            ("--manifest", self.manifest.is_some()),
            ("--metadata-file", self.metadata_file.is_some()),
            ("--no-cache-filter", !self.no_cache_filter.is_empty()),
            ("--omit-history", self.omit_history.is_some()),
            ("--invoke", self.invoke.is_some()),
            ("--output", !self.output.is_empty()),
            ("more than one --platform", self.platform.len() > 1),
            ("--provenance", self.provenance.is_some()),
            ("--push", self.push),
            ("--sbom", self.sbom.is_some()),
            ("--secret", !self.secret.is_empty()),
            ("--shell-on-fail", self.shell_on_fail),
            ("--squash-all", self.squash_all),
            ("--ssh", !self.ssh.is_empty()),
            ("--stdin", self.commands.stdin),
            ("--timestamp", self.timestamp.is_some()),
            ("--unsetenv", !self.unsetenv.is_empty()),
            ("--unsetlabel", !self.unsetlabel.is_empty()),
            ("--why", self.why),
        ];
        refuse_as(&flags, "they build as Docker's classic builder does, which has nothing like it")
    }

    fn request(self) -> Result<Request> {
        let args = json!(build_args(&self.build_arg));
        let labels: Map<String, Value> =
            pairs(&self.label).map(|(name, value)| (name, json!(value))).collect();
        let parts = [self.os.as_deref(), self.arch.as_deref(), self.variant.as_deref()];
        let platforms = platforms(self.platform.clone(), parts);
        let mut request = Request::post("/build")
            .with("version", 1)
            .with("rm", 1)
            .with("forcerm", 1)
            .with("buildargs", args)
            .with("labels", Value::Object(labels))
            .flag("q", self.quiet)
            .flag("nocache", self.no_cache)
            .flag("squash", self.squash)
            .flag("pull", matches!(self.pull, Some(PullPolicy::Always | PullPolicy::Newer)))
            .maybe("target", self.target.as_ref())
            .maybe("platform", platforms.first());
        let caches: Vec<&str> = self.cache_from.iter().filter_map(name_of).collect();
        if !caches.is_empty() {
            request = request.with("cachefrom", json!(caches));
        }
        for name in &self.tag {
            request = request.with("t", name);
        }
        for (name, value) in asked::build(&self.commands.settings()?)? {
            request = request.with(name, value);
        }
        // The service fetches what it can reach itself.
        if self.context.contains("://") || self.context.starts_with("git@") {
            let file = self.file.as_deref().unwrap_or("Dockerfile");
            return Ok(request.with("remote", &self.context).with("dockerfile", file));
        }
        if self.context == "-" {
            let file = self.file.as_deref().unwrap_or("Dockerfile");
            return Ok(request.with("dockerfile", file).written("application/x-tar", from_input));
        }
        let asked = Asked {
            context: self.context.clone(),
            file: self.file.clone(),
            ignore_file: self.ignorefile.clone(),
        };
        let sources = Sources::of_directory(&asked)?;
        // What is wrong with the file is told there.
        let bases = Dockerfile::parse(&sources.file_name, &sources.file).and_then(|file| {
            let platform = platforms.first().cloned().unwrap_or_else(Platform::host);
            images(&file, &sources.file_name, build_args(&self.build_arg), &platform)
        });
        if let Some(proofs) = self.access.proofs(&bases.unwrap_or_default())? {
            request = request.field("x-registry-config", proofs);
        }
        let context = sources.context.clone().unwrap_or_default();
        // Who reads it there must find it in the context.
        let within = sources.path.as_ref().and_then(|path| {
            let path = fs::canonicalize(path).ok()?;
            Some(path.strip_prefix(&context).ok()?.to_owned())
        });
        let (name, is_extra) = match within {
            Some(path) => (path, false),
            None => (PathBuf::from(format!(".dockerfile.{}", &random_hex()?[..20])), true),
        };
        let file = name.to_string_lossy().into_owned();
        let body = Body { context, name, is_extra, text: sources.file, ignored: sources.ignored };
        Ok(request
            .with("dockerfile", file)
            .written("application/x-tar", move |out| body.write(out)))
    }
}

/// Returns the name of a cache, if it is one of an image.
fn name_of(cache: &BuildCache) -> Option<&str> {
    match &cache.place {
        CachePlace::Registry(name) => Some(name),
        CachePlace::Local(_) | CachePlace::Inline => None,
    }
}

/// What is sent.
struct Body {
    context: PathBuf,
    /// What the Dockerfile is called in the context.
    name: PathBuf,
    /// Whether it is in the context for the builder's sake only.
    is_extra: bool,
    text: String,
    ignored: Patterns,
}

impl Body {
    fn write(self, out: &mut dyn Write) -> Result<()> {
        let mut packer = Packer::new(out, false);
        let mut ignore = None;
        packer.directory(&self.context, Path::new(""), &|path, is_directory| {
            let bytes = path.as_os_str().as_encoded_bytes();
            // The builder needs it, whatever the patterns say.
            if path == self.name || (path == Path::new(".dockerignore") && !self.is_extra) {
                return true;
            }
            if path == Path::new(".dockerignore") {
                return false;
            }
            !self.ignored.excludes(bytes) || (is_directory && self.ignored.may_include_below(bytes))
        })?;
        if self.is_extra {
            packer.text(&self.name, &self.text)?;
            // Nobody copies it into the image.
            let own = self.context.join(".dockerignore");
            let mut text = fs::read_to_string(&own).unwrap_or_default();
            text.push_str(&format!("\n{}\n", self.name.display()));
            ignore = Some(text);
        }
        if let Some(text) = ignore {
            packer.text(Path::new(".dockerignore"), &text)?;
        }
        packer.finish()
    }
}

/// Passes standard input on: an archive as it is, a Dockerfile in one.
fn from_input(out: &mut dyn Write) -> Result<()> {
    let context = || "cannot read the context from standard input";
    let mut input = io::stdin().lock();
    // The marks of archives are in their first 512 bytes; so are those of compressed ones.
    let mut head = vec![0; 512];
    let mut length = 0;
    while length < head.len() {
        match input.read(&mut head[length..]).context(context)? {
            0 => break,
            more => length += more,
        }
    }
    head.truncate(length);
    if is_archive(&head) {
        out.write_all(&head).context(context)?;
        return io::copy(&mut input, out).context(context).map(drop);
    }
    input.read_to_end(&mut head).context(context)?;
    let text = String::from_utf8_lossy(&head);
    let mut packer = Packer::new(out, false);
    packer.text(Path::new("Dockerfile"), &text)?;
    packer.finish()
}

/// Tells whether this is the beginning of an archive, compressed or not.
fn is_archive(head: &[u8]) -> bool {
    let compressed: [&[u8]; 4] = [b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"];
    compressed.iter().any(|mark| head.starts_with(mark)) || head.get(257..262) == Some(b"ustar")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_archives_from_dockerfiles() {
        let mut tar = vec![0; 512];
        tar[257..262].copy_from_slice(b"ustar");
        for (head, want) in
            [(&tar[..], true), (b"\x1f\x8b\x08", true), (b"FROM busybox\n", false), (b"", false)]
        {
            assert_eq!(is_archive(head), want);
        }
    }

    #[test]
    fn sends_what_is_not_left_out_and_the_dockerfile_always() {
        let dir = tempfile::tempdir().unwrap();
        let make = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        fs::create_dir_all(dir.path().join("logs")).unwrap();
        make("Dockerfile", "FROM a");
        make("kept", "1");
        make("left", "2");
        make("logs/a", "3");
        make("logs/keep", "4");
        make(".dockerignore", "left\nlogs\n!logs/keep\nDockerfile\n");
        let names = |is_extra: bool, name: &str| {
            let text = fs::read_to_string(dir.path().join(".dockerignore")).unwrap();
            let ignored = Patterns::parse(".dockerignore", &text).unwrap();
            let body = Body {
                context: dir.path().to_owned(),
                name: name.into(),
                is_extra,
                text: "FROM b".to_owned(),
                ignored,
            };
            let mut out = Vec::new();
            body.write(&mut out).unwrap();
            let mut archive = tar::Archive::new(&out[..]);
            let mut names: Vec<String> = archive
                .entries()
                .unwrap()
                .map(|entry| entry.unwrap().path().unwrap().display().to_string())
                .collect();
            names.sort();
            names
        };
        assert_eq!(
            names(false, "Dockerfile"),
            [".dockerignore", "Dockerfile", "kept", "logs/", "logs/keep"]
        );
        assert_eq!(
            names(true, ".dockerfile.x"),
            [".dockerfile.x", ".dockerignore", "kept", "logs/", "logs/keep"]
        );
    }
}
