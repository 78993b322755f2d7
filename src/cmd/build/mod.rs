//! `barge build`

mod call;
mod commands;
mod live;
mod parse;
mod printer;
mod raw;
mod remote;
mod result;
mod unused;

use std::path::PathBuf;

use clap::Args;

use self::call::Call;
use self::commands::CommandFlags;
use self::live::Live;
use self::parse::{
    agents, annotations, attestations, build_args, contexts, on_failure, pairs, platforms, secrets,
};
use self::printer::Printer;
use self::raw::Raw;
use self::unused::UnusedFlags;
use super::World;
use super::access::AccessFlags;
use super::exit::Status;
use super::output;
use super::progress::Display;
use super::tree::Act;
use crate::build::{self, Asked, BuildOptions, Failure, Sources, Squash};
use crate::engine::images::{PullOptions, PullPolicy};
use crate::error::{Error, Kind, Result};
use crate::remote::Host;
use crate::spec::build_cache::BuildCache;
use crate::spec::build_output::{BuildOutput, OutputKind};
use crate::spec::dockerfile::Dockerfile;
use crate::spec::manifest::ManifestFormat;
use crate::spec::platform::Platform;
use crate::spec::reference::Reference;

/// Build an image from a Dockerfile
///
/// The context is a directory, whose files the Dockerfile may copy; an archive on the web or (with -) on standard input; or a git repository, as in https://host/repo.git#branch:directory. Without -f, its Containerfile or Dockerfile is used. What .containerignore or .dockerignore names is left out.
#[derive(Args, Debug)]
pub(crate) struct Build {
    #[command(flatten)]
    access: AccessFlags,
    /// Allow commands security.insecure or network.host
    #[arg(long, value_name = "WHAT", value_delimiter = ',', value_parser = ["security.insecure", "network.host"])]
    allow: Vec<String>,
    /// Add an annotation to the image's manifest
    #[arg(long, value_name = "NAME=VALUE")]
    annotation: Vec<String>,
    /// Processor of the image, as a platform has it
    #[arg(long, value_name = "NAME", conflicts_with = "platform")]
    arch: Option<String>,
    /// Set a variable that the Dockerfile declares by ARG
    #[arg(long, value_name = "NAME[=VALUE]")]
    build_arg: Vec<String>,
    /// Add a context: a directory or docker-image://IMAGE
    #[arg(long, value_name = "NAME=CONTEXT")]
    build_context: Vec<String>,
    /// Take what steps have made from a cache elsewhere
    ///
    /// An image that was built with --cache-to type=inline, or what --cache-to has kept in a registry or a directory. May be given several times. The cache of another builder is of no use: BuildKit finds steps by digests of its own form of instructions, which nobody else has. There is a warning then, as for one that cannot be had, and the build goes on.
    #[arg(long, value_name = "NAME|type=registry,ref=NAME|type=local,src=DIR")]
    cache_from: Vec<BuildCache>,
    /// Keep what steps make in a cache elsewhere
    ///
    /// With mode=max, what steps make that are not part of the result, too. With type=inline, the image itself tells of its steps. Only barge can use it.
    #[arg(long, value_name = "type=registry,ref=NAME|type=local,dest=DIR|type=inline")]
    cache_to: Vec<BuildCache>,
    /// Say something of the Dockerfile: check, outline, targets
    ///
    /// With check, what is not wise in it; with targets, which stages can be built; with outline, what can be given to the build of one. Nothing is built then.
    #[arg(long, value_name = "METHOD[,format=json]")]
    call: Option<Call>,
    /// Check the Dockerfile, and build nothing
    #[arg(long)]
    check: bool,
    /// Set a variable of the image, or take it over
    #[arg(long, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// The Dockerfile; - is standard input
    #[arg(short, long, value_name = "FILE")]
    file: Option<String>,
    /// Form of the image elsewhere: oci or docker
    #[arg(long, value_name = "FORMAT")]
    format: Option<ManifestFormat>,
    /// Begin with this image instead of the first one that is named
    #[arg(long, value_name = "IMAGE")]
    from: Option<String>,
    /// Hand proxies on to commands, which is usual
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = super::parse::truth)]
    http_proxy: Option<bool>,
    /// File of patterns that are left out of the context
    #[arg(long, value_name = "FILE")]
    ignorefile: Option<PathBuf>,
    /// File that receives the image's ID
    #[arg(long, value_name = "FILE")]
    iidfile: Option<PathBuf>,
    /// How many stages are built at once: 1, or more
    #[arg(long, value_name = "NUMBER", default_value = "0")]
    jobs: u32,
    /// Where a command fails, run this before the build ends
    ///
    /// A line for the shell of the stage, or on-error for that shell itself. It has the files, mounts (with what is in memory), variables, directory and user of the command that has failed, and your terminal if you have one.
    #[arg(long, value_name = "COMMAND|on-error")]
    invoke: Option<String>,
    /// Set a label of the image
    #[arg(long, value_name = "NAME=VALUE")]
    label: Vec<String>,
    /// Keep the image here, which is usual
    #[arg(long)]
    load: bool,
    /// File that receives what is said of the build's progress
    #[arg(long, value_name = "FILE")]
    logfile: Option<PathBuf>,
    /// Manifest list that the image is added to
    #[arg(long, value_name = "NAME")]
    manifest: Option<String>,
    /// File that receives facts about the result, as JSON
    #[arg(long, value_name = "FILE")]
    metadata_file: Option<PathBuf>,
    /// Do each step anew
    #[arg(long)]
    no_cache: bool,
    /// Do the steps of a stage anew
    #[arg(long, value_name = "STAGE", value_delimiter = ',')]
    no_cache_filter: Vec<String>,
    /// Leave the history of the image empty
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = super::parse::truth)]
    omit_history: Option<bool>,
    /// What becomes of the result: a directory, - or type=TYPE
    ///
    /// A directory gets the files of the result, and - writes them as an archive to standard output. Besides there are type=local and type=tar (files), type=oci and type=docker (archives of the image, or with tar=false a directory), type=image (an image here; with push=true, in its registry, too), type=registry and type=cacheonly. Attributes are dest, name, push, push-by-digest, compression, compression-level, force-compression, oci-mediatypes, tar, platform-split and annotation.NAME. May be given several times.
    #[arg(short, long, value_name = "DIR|-|type=TYPE[,dest=PATH]")]
    output: Vec<BuildOutput>,
    /// System of the image, as a platform has it
    #[arg(long, value_name = "NAME", conflicts_with = "platform")]
    os: Option<String>,
    /// Platforms of the image, as in linux/arm64,linux/amd64
    ///
    /// For several, the name is that of a manifest list of the images. Commands for a foreign processor need an interpreter that is registered with the kernel (binfmt_misc), as qemu-user-static does it.
    #[arg(long, value_name = "PLATFORM", value_delimiter = ',')]
    platform: Vec<Platform>,
    /// Add a document about the image: an sbom, or provenance
    #[arg(long, value_name = "type=TYPE[,mode=MODE]")]
    attest: Vec<String>,
    /// Add a document of where the image comes from (SLSA)
    ///
    /// With mode=max it also says what was given on the command line, secrets excepted, and what the Dockerfile is. The name of the image is that of a list then, which has the image and the document.
    #[arg(long, value_name = "BOOL|mode=min|mode=max", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    provenance: Option<String>,
    /// Add a list of the packages in the image (SPDX)
    ///
    /// As the databases of dpkg, apk and RPM in it name them. Of RPM's, those of SQLite are read; there is a warning if there is one of another kind (Berkeley DB, NDB). The name of the image is that of a list then, which has the image and the document.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    sbom: Option<String>,
    /// How progress is shown: auto, plain, tty, quiet, rawjson
    #[arg(long, value_name = "HOW", default_value = "auto", value_parser = ["auto", "plain", "tty", "quiet", "rawjson"])]
    progress: String,
    /// When to pull: always (by itself), missing, never, newer
    #[arg(long, value_name = "WHEN", num_args = 0..=1, require_equals = true, default_missing_value = "always")]
    pull: Option<PullPolicy>,
    /// Push the image under its names
    #[arg(long)]
    push: bool,
    /// Print the image's ID only
    #[arg(short, long)]
    quiet: bool,
    /// Secret for commands: a file, or a variable of ours
    #[arg(long, value_name = "id=NAME[,src=FILE|,env=NAME]")]
    secret: Vec<String>,
    /// Where a command fails, run a shell before the build ends
    ///
    /// It has the files, mounts (with what is in memory), variables, directory and user of the command that has failed.
    #[arg(long)]
    shell_on_fail: bool,
    /// Make one layer of all that are added
    #[arg(long)]
    squash: bool,
    /// Make one layer of all, the base image's included
    #[arg(long)]
    squash_all: bool,
    /// SSH agent for commands: default, or a socket
    #[arg(long, value_name = "default|NAME=SOCKET")]
    ssh: Vec<String>,
    /// Name of the image
    #[arg(short, long, value_name = "NAME")]
    tag: Vec<String>,
    /// Build this stage, and what it needs
    #[arg(long, value_name = "STAGE")]
    target: Option<String>,
    /// Time that all in the image has at most, in seconds
    #[arg(long, visible_alias = "source-date-epoch", value_name = "SECONDS")]
    timestamp: Option<i64>,
    #[command(flatten)]
    commands: CommandFlags,
    #[command(flatten)]
    unused: UnusedFlags,
    /// Take a variable of the base image out
    #[arg(long, value_name = "NAME")]
    unsetenv: Vec<String>,
    /// Take a label of the base image out
    #[arg(long, value_name = "NAME")]
    unsetlabel: Vec<String>,
    /// Variant of the image's processor, as a platform has it
    #[arg(long, value_name = "NAME", conflicts_with = "platform")]
    variant: Option<String>,
    /// Say why each step is taken from the cache, or not
    #[arg(long)]
    why: bool,
    /// Directory, address or - (standard input)
    #[arg(value_name = "CONTEXT", default_value = ".")]
    context: String,
}

impl Act for Build {
    fn act(self, world: &mut World) -> Result<Status> {
        if self.quiet && self.why {
            return Err(super::flags::together("quiet", "why"));
        }
        let engine = world.power()?;
        let asked = Asked {
            context: self.context.clone(),
            file: self.file.clone(),
            ignore_file: self.ignorefile.clone(),
        };
        let sources = Sources::get(engine.store(), &asked)?;
        let file = Dockerfile::parse(&sources.file_name, &sources.file)?;
        let is_raw = self.progress == "rawjson";
        let quiet = self.quiet || is_raw || self.progress == "quiet";
        let call = if self.check { Some(Call::CHECK) } else { self.call };
        if let Some(call) = call
            && let Some(status) =
                call.answer(&mut world.out, &sources, &file, self.target.as_deref())?
        {
            return Ok(status);
        }
        let lints = call::lints(&sources, &file);
        if file.lints_are_errors() && !lints.is_empty() {
            return Err(Error::new(
                Kind::Invalid,
                format!("lint violation found for rules: {}", lints.join("; ")),
            )
            .hint("the Dockerfile says check=error=true"));
        }
        if !quiet {
            lints.iter().for_each(|lint| output::warning(lint));
        }
        let (iidfile, metadata) = (self.iidfile.clone(), self.metadata_file.clone());
        let logfile = self.logfile.clone();
        // Into a pipe or a file, it is as plain as any.
        let may_be_live = matches!(&*self.progress, "tty" | "auto") && logfile.is_none();
        let options = self.options(&sources)?;
        let to_stdout = options.outputs.iter().any(result::goes_to_stdout);
        let is_live = may_be_live && !quiet && !to_stdout && live::is_possible();
        let display = Display::new(quiet);
        let printer =
            Printer::new(quiet, to_stdout, logfile.as_deref(), std::mem::take(&mut world.out))?;
        let (raw, live) = (Raw::default(), Live::new());
        let built = match (is_raw, is_live) {
            (true, _) => build::build(&engine, &options, &raw, &display),
            (false, true) => build::build(&engine, &options, &live, &live),
            (false, false) => build::build(&engine, &options, &printer, &display),
        };
        if is_live {
            live.finish(built.is_ok());
        }
        display.finish();
        world.out = printer.into_output();
        let built = match built {
            Ok(built) => built,
            Err(Failure { error, code: Some(code) }) => {
                world.out.flush()?;
                output::error(&error);
                return Ok(Status::of_container(code));
            }
            Err(Failure { error, code: None }) => return Err(error),
        };
        let exported = result::export(world, &engine, &built, &options, &display);
        display.finish();
        let exported = exported?;
        if let Some(path) = &iidfile {
            build::write_id(path, &result::id(&built)?)?;
        }
        if let Some(path) = &metadata {
            result::write_metadata(path, &built, exported.as_ref())?;
        }
        result::tell(world, &built, &options, quiet, to_stdout)?;
        Ok(Status::SUCCESS)
    }

    fn act_on(self, host: &Host, world: &mut World) -> Result<Status> {
        self.build_on(host, world)
    }
}

impl Build {
    fn options(self, sources: &Sources) -> Result<BuildOptions> {
        let epoch = match (self.timestamp, std::env::var("SOURCE_DATE_EPOCH")) {
            (Some(epoch), _) => Some(epoch),
            (None, Ok(text)) => Some(text.trim().parse().map_err(|_| {
                Error::new(Kind::Invalid, format!("invalid SOURCE_DATE_EPOCH `{text}`"))
                    .hint("it is a number of seconds since 1970")
            })?),
            (None, Err(_)) => None,
        };
        let args = build_args(&self.build_arg);
        let epoch = match args.get("SOURCE_DATE_EPOCH") {
            Some(text) if self.timestamp.is_none() => text.parse().ok().or(epoch),
            _ => epoch,
        };
        let names = self.tag.iter().map(|name| Reference::local(name));
        let outputs = self.outputs()?;
        let (mut annotations, mut index_annotations) = annotations(&self.annotation)?;
        for output in &outputs {
            annotations.extend(output.annotations.clone());
            index_annotations.extend(output.index_annotations.clone());
        }
        let format = self.format.or_else(|| outputs.iter().find_map(|output| output.format));
        let registry = self.access.options()?;
        Ok(BuildOptions {
            file_name: sources.file_name.clone(),
            file: sources.file.clone(),
            context: sources.context.clone(),
            ignored: sources.ignored.clone(),
            contexts: contexts(&self.build_context)?,
            names: names.collect::<Result<_>>()?,
            args,
            labels: pairs(&self.label).collect(),
            target: self.target.clone(),
            no_cache: self.no_cache,
            no_cache_stages: self.no_cache_filter.clone(),
            pull: PullOptions {
                policy: self.pull.unwrap_or_default(),
                registry,
                ..PullOptions::default()
            },
            platforms: platforms(
                self.platform.clone(),
                [self.os.as_deref(), self.arch.as_deref(), self.variant.as_deref()],
            ),
            outputs,
            manifest: self.manifest.as_deref().map(Reference::local).transpose()?,
            secrets: secrets(&self.secret)?,
            agents: agents(&self.ssh)?,
            squash: match (self.squash, self.squash_all) {
                (_, true) => Squash::All,
                (true, false) => Squash::Added,
                (false, false) => Squash::None,
            },
            annotations,
            index_annotations,
            cache_from: self
                .cache_from
                .iter()
                .cloned()
                .map(BuildCache::check_source)
                .collect::<Result<_>>()?,
            cache_to: self.cache_to.clone(),
            from: self.from.clone(),
            env: build_args(&self.env).into_iter().collect(),
            unset_env: self.unsetenv.clone(),
            unset_labels: self.unsetlabel.clone(),
            no_history: self.omit_history.unwrap_or(false),
            allows_insecure: self.allow.iter().any(|word| word == "security.insecure"),
            no_proxies: self.http_proxy == Some(false),
            attestations: attestations(
                self.provenance.as_deref(),
                self.sbom.as_deref(),
                &self.attest,
            )?,
            epoch,
            format,
            one_by_one: self.jobs == 1,
            why: self.why,
            on_failure: on_failure(self.shell_on_fail, self.invoke.as_deref())?,
            passes_input: self.commands.stdin,
            settings: self.commands.settings()?,
        })
    }

    /// Returns what becomes of the result: also what is said by flags of its own.
    fn outputs(&self) -> Result<Vec<BuildOutput>> {
        let mut outputs = self.output.clone();
        if self.push && !outputs.iter().any(|it| it.kind == OutputKind::Image && it.push) {
            match outputs.iter_mut().find(|it| it.kind == OutputKind::Image) {
                Some(image) => image.push = true,
                None => {
                    outputs.push(BuildOutput { push: true, ..BuildOutput::new(OutputKind::Image) });
                }
            }
        }
        if self.load && !outputs.iter().any(BuildOutput::keeps) {
            outputs.push(BuildOutput::new(OutputKind::Docker));
        }
        if outputs.iter().filter(|output| result::goes_to_stdout(output)).count() > 1 {
            return Err(Error::new(Kind::Invalid, "only one output can go to standard output")
                .hint("name files by dest="));
        }
        Ok(outputs)
    }
}
