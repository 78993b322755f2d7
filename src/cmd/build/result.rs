//! What becomes of a build's result, and what is said of it.

use std::path::Path;

use serde_json::{Map, json};

use crate::build::{self, BuildOptions, Built, Exported, Sink};
use crate::cmd::progress::Display;
use crate::cmd::{World, output};
use crate::engine::Engine;
use crate::error::{Context, Error, Kind, Result};
use crate::spec::build_output::{BuildOutput, OutputKind, OutputPlace};
use crate::store::blob::digest_of;

/// Tells whether standard output is for the result.
pub(super) fn goes_to_stdout(output: &BuildOutput) -> bool {
    match output.place {
        OutputPlace::Stdout => true,
        OutputPlace::Usual => matches!(output.kind, OutputKind::Tar | OutputKind::Oci),
        OutputPlace::Path(_) => false,
    }
}

/// Gives the result away as it was asked for; returns what was said of its manifest last.
pub(super) fn export(
    world: &mut World,
    engine: &Engine,
    built: &Built,
    options: &BuildOptions,
    display: &Display,
) -> Result<Option<Exported>> {
    let mut last = None;
    for output in &options.outputs {
        let to_stdout = goes_to_stdout(output);
        if to_stdout && rustix::termios::isatty(rustix::stdio::stdout()) {
            return Err(Error::new(Kind::Invalid, "refusing to write an archive to the terminal")
                .hint("name a file by dest=, or redirect"));
        }
        let mut stream = world.out.stream();
        let sink = match &output.place {
            OutputPlace::Path(path) => Some(Sink::Path(path)),
            _ if to_stdout => Some(Sink::Stream(&mut stream)),
            _ => None,
        };
        let registry = &options.pull.registry;
        let exported = build::export(engine, built, output, sink, registry, display)?;
        last = exported.or(last);
    }
    for to in &options.cache_to {
        match build::export_cache(engine, built, to, &options.pull.registry, display) {
            Err(error) if to.ignore_errors => output::warning(&error.to_string()),
            kept => kept?,
        }
    }
    Ok(last)
}

/// Returns the ID of the result: the image's, or for several the digest of their list.
pub(super) fn id(built: &Built) -> Result<String> {
    match (&built.list, built.images.first()) {
        (Some(list), _) => Ok(digest_of(&list.bytes()?).to_string()),
        (None, Some(image)) => Ok(image.image.id.to_string()),
        (None, None) => Ok(String::new()),
    }
}

/// Writes what buildx says of a result.
pub(super) fn write_metadata(
    path: &Path,
    built: &Built,
    exported: Option<&Exported>,
) -> Result<()> {
    let context = || format!("cannot write metadata to {}", path.display());
    let mut facts = Map::new();
    if let [image] = built.images.as_slice() {
        facts.insert("containerimage.config.digest".to_owned(), json!(image.image.id));
    }
    let mut names: Vec<String> = built.names.iter().map(ToString::to_string).collect();
    match exported {
        Some(exported) => {
            let descriptor = json!({
                "mediaType": exported.media_type,
                "digest": exported.digest,
                "size": exported.size,
            });
            facts.insert("containerimage.descriptor".to_owned(), descriptor);
            facts.insert("containerimage.digest".to_owned(), json!(exported.digest));
            names.clone_from(&exported.names);
        }
        None => drop(facts.insert("containerimage.digest".to_owned(), json!(id(built)?))),
    }
    if !names.is_empty() {
        facts.insert("image.name".to_owned(), json!(names.join(",")));
    }
    let mut text = serde_json::to_vec_pretty(&facts).context(context)?;
    text.push(b'\n');
    std::fs::write(path, text).context(context)
}

/// Says what was made, as Podman does.
pub(super) fn tell(
    world: &mut World,
    built: &Built,
    options: &BuildOptions,
    quiet: bool,
    to_stdout: bool,
) -> Result<()> {
    if to_stdout {
        return world.out.flush();
    }
    let is_kept = options.outputs.is_empty() || options.outputs.iter().any(BuildOutput::keeps);
    if !is_kept && built.names.is_empty() {
        return Ok(());
    }
    if !quiet {
        world.out.line(&match built.names.first() {
            Some(name) => format!("COMMIT {name}"),
            None => "COMMIT".to_owned(),
        })?;
        for image in &built.images {
            world.out.line(&format!("--> {}", image.image.id.short()))?;
        }
        for name in &built.names {
            world.out.line(&format!("Successfully tagged {name}"))?;
        }
    }
    let id = id(built)?;
    world.out.line(id.strip_prefix("sha256:").unwrap_or(&id))
}
