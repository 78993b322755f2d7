//! `barge build`

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use clap::{ArgAction, Args};

use super::World;
use super::access::AccessFlags;
use super::exit::Status;
use super::flags::usage::UsageFlags;
use super::output::{self, Output};
use super::progress::Display;
use super::tree::Act;
use crate::build::{
    self, Asked, BuildOptions, Failure, Listener, NamedContext, Secret, Sources, Squash,
};
use crate::engine::images::{PullOptions, PullPolicy};
use crate::error::{Context, Error, Kind, Result};
use crate::spec::container::Settings;
use crate::spec::dockerfile::Dockerfile;
use crate::spec::limits::{Resources, Ulimit};
use crate::spec::manifest::ManifestFormat;
use crate::spec::mount::Mount;
use crate::spec::network::{NameResolution, NetworkMode, parse_host, parse_server};
use crate::spec::platform::Platform;
use crate::spec::reference::Reference;
use crate::spec::security::{Security, parse_capability};
use crate::spec::size::Size;

/// Build an image from a Dockerfile
///
/// The context is a directory, whose files the Dockerfile may copy; an archive on the web or (with -) on standard input; or a git repository, as in https://host/repo.git#branch:directory. Without -f, its Containerfile or Dockerfile is used. What .containerignore or .dockerignore names is left out.
#[derive(Args, Debug)]
pub(crate) struct Build {
    #[command(flatten)]
    access: AccessFlags,
    /// Add a line to /etc/hosts of commands
    #[arg(long, value_name = "NAME:IP", value_parser = parse_host)]
    add_host: Vec<Vec<(String, String)>>,
    /// Add an annotation to the image's manifest
    #[arg(long, value_name = "NAME=VALUE")]
    annotation: Vec<String>,
    /// Set a variable that the Dockerfile declares by ARG
    #[arg(long, value_name = "NAME[=VALUE]")]
    build_arg: Vec<String>,
    /// Add a context: a directory or docker-image://IMAGE
    #[arg(long, value_name = "NAME=CONTEXT")]
    build_context: Vec<String>,
    /// Add a capability to those of commands, or ALL
    #[arg(long, value_name = "CAPABILITY", value_delimiter = ',', value_parser = parse_capability)]
    cap_add: Vec<String>,
    /// Drop a capability of commands, or ALL
    #[arg(long, value_name = "CAPABILITY", value_delimiter = ',', value_parser = parse_capability)]
    cap_drop: Vec<String>,
    /// Check the Dockerfile, and build nothing
    #[arg(long)]
    check: bool,
    /// Use this name server in commands
    #[arg(long, value_name = "IP", value_parser = parse_server)]
    dns: Vec<Option<std::net::IpAddr>>,
    /// The Dockerfile; - is standard input
    #[arg(short, long, value_name = "FILE")]
    file: Option<String>,
    /// Remove containers of steps that fail; there are none
    #[arg(long, hide = true)]
    force_rm: bool,
    /// Form of the image elsewhere: oci or docker
    #[arg(long, value_name = "FORMAT")]
    format: Option<ManifestFormat>,
    /// File of patterns that are left out of the context
    #[arg(long, value_name = "FILE")]
    ignorefile: Option<PathBuf>,
    /// File that receives the image's ID
    #[arg(long, value_name = "FILE")]
    iidfile: Option<PathBuf>,
    /// How many stages are built at once: 1, or more
    #[arg(long, value_name = "NUMBER", default_value = "0")]
    jobs: u32,
    /// Set a label of the image
    #[arg(long, value_name = "NAME=VALUE")]
    label: Vec<String>,
    /// Keep a layer for each step, which is always so
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", hide = true, action = ArgAction::Set)]
    layers: Option<bool>,
    /// Network of commands: none, host or a name
    #[arg(long, value_name = "NETWORK")]
    network: Option<NetworkMode>,
    /// Do each step anew
    #[arg(long)]
    no_cache: bool,
    /// Do the steps of a stage anew
    #[arg(long, value_name = "STAGE", value_delimiter = ',')]
    no_cache_filter: Vec<String>,
    /// Platform of the image, as in linux/arm64
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Platform>,
    /// How progress is shown: auto, plain, tty or quiet
    #[arg(long, value_name = "HOW", default_value = "auto", value_parser = ["auto", "plain", "tty", "quiet"])]
    progress: String,
    /// When to pull: always (by itself), missing, never, newer
    #[arg(long, value_name = "WHEN", num_args = 0..=1, require_equals = true, default_missing_value = "always")]
    pull: Option<PullPolicy>,
    /// Print the image's ID only
    #[arg(short, long)]
    quiet: bool,
    /// Remove containers of steps; there are none
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", hide = true, action = ArgAction::Set)]
    rm: Option<bool>,
    /// Secret for commands: a file, or a variable of ours
    #[arg(long, value_name = "id=NAME[,src=FILE|,env=NAME]")]
    secret: Vec<String>,
    /// Security option of commands, as in seccomp=unconfined
    #[arg(long, value_name = "OPTION")]
    security_opt: Vec<String>,
    /// Size of /dev/shm of commands
    #[arg(long, value_name = "SIZE")]
    shm_size: Option<Size>,
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
    /// Set an rlimit of commands
    #[arg(long, value_name = "NAME=SOFT[:HARD]")]
    ulimit: Vec<Ulimit>,
    #[command(flatten)]
    usage: UsageFlags,
    /// Bind a directory into commands
    #[arg(short, long, value_name = "SOURCE:TARGET[:OPTIONS]", value_parser = Mount::parse_volume)]
    volume: Vec<Mount>,
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
        let quiet = self.quiet || self.progress == "quiet";
        let skipped = file.directives.check.clone().unwrap_or_default();
        let lints = file
            .lints
            .iter()
            .filter(|lint| !skipped.contains("skip=all") && !skipped.contains(lint.rule));
        let lints: Vec<String> = lints
            .map(|lint| {
                format!("{}:{}: {}: {}", sources.file_name, lint.line, lint.rule, lint.message)
            })
            .collect();
        if self.check {
            for lint in &lints {
                world.out.line(lint)?;
            }
            if lints.is_empty() {
                world.out.line("Check complete, no warnings found.")?;
            }
            return Ok(if lints.is_empty() { Status::SUCCESS } else { Status::NO });
        }
        if !quiet {
            lints.iter().for_each(|lint| output::warning(lint));
        }
        let iidfile = self.iidfile.clone();
        let options = self.options(&sources)?;
        let display = Display::new(quiet);
        let printer = Printer { quiet, out: Mutex::new(std::mem::take(&mut world.out)) };
        let built = build::build(&engine, &options, &printer, &display);
        display.finish();
        world.out = printer.out.into_inner().unwrap_or_else(PoisonError::into_inner);
        let image = match built {
            Ok(image) => image,
            Err(Failure { error, code: Some(code) }) => {
                world.out.flush()?;
                output::error(&error);
                return Ok(Status::of_container(code));
            }
            Err(Failure { error, code: None }) => return Err(error),
        };
        if let Some(path) = &iidfile {
            build::write_id(path, &image.id.to_string())?;
        }
        if !quiet {
            let names = &options.names;
            world.out.line(&match names.first() {
                Some(name) => format!("COMMIT {name}"),
                None => "COMMIT".to_owned(),
            })?;
            world.out.line(&format!("--> {}", image.id.short()))?;
            for name in names {
                world.out.line(&format!("Successfully tagged {name}"))?;
            }
        }
        world.out.line(image.id.hex())?;
        Ok(Status::SUCCESS)
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
            platform: self.platform.clone(),
            secrets: secrets(&self.secret)?,
            agents: agents(&self.ssh)?,
            squash: match (self.squash, self.squash_all) {
                (_, true) => Squash::All,
                (true, false) => Squash::Added,
                (false, false) => Squash::None,
            },
            annotations: pairs(&self.annotation).collect(),
            epoch,
            format: self.format,
            one_by_one: self.jobs == 1,
            why: self.why,
            settings: self.settings()?,
        })
    }

    fn settings(self) -> Result<Settings> {
        let mut security =
            Security { cap_add: self.cap_add, cap_drop: self.cap_drop, ..Security::default() };
        for option in &self.security_opt {
            security.apply(option)?;
        }
        Ok(Settings {
            names: NameResolution {
                hosts: self.add_host.into_iter().flatten().collect(),
                servers: self.dns.into_iter().flatten().collect(),
                ..NameResolution::default()
            },
            resources: Resources {
                shm_size: self.shm_size.map(|size| size.0),
                ..self.usage.resources()?
            },
            network: self.network.unwrap_or_default(),
            ulimits: self.ulimit,
            mounts: self.volume,
            security,
            ..Settings::default()
        })
    }
}

fn pairs(words: &[String]) -> impl Iterator<Item = (String, String)> {
    words.iter().map(|text| {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        (name.to_owned(), value.to_owned())
    })
}

fn build_args(words: &[String]) -> BTreeMap<String, String> {
    let value = |text: &String| match text.split_once('=') {
        Some((name, value)) => Some((name.to_owned(), value.to_owned())),
        // One without a value is taken over, if it is set.
        None => Some((text.clone(), std::env::var(text).ok()?)),
    };
    words.iter().filter_map(value).collect()
}

fn contexts(words: &[String]) -> Result<BTreeMap<String, NamedContext>> {
    let parse = |text: &String| {
        let (name, place) = text.split_once('=').ok_or_else(|| {
            Error::new(Kind::Invalid, format!("invalid build context `{text}`"))
                .hint("write NAME=DIRECTORY or NAME=docker-image://IMAGE")
        })?;
        let image = ["docker-image://", "container-image://", "docker://"]
            .iter()
            .find_map(|prefix| place.strip_prefix(prefix));
        let context = match image {
            Some(image) => NamedContext::Image(image.to_owned()),
            None => {
                let path = std::fs::canonicalize(place)
                    .context(|| format!("cannot use build context `{name}`: {place}"))?;
                if !path.is_dir() {
                    let message = format!("build context `{name}` is no directory: {place}");
                    return Err(Error::new(Kind::Invalid, message));
                }
                NamedContext::Directory(path)
            }
        };
        Ok((name.to_owned(), context))
    };
    words.iter().map(parse).collect()
}

fn secrets(words: &[String]) -> Result<BTreeMap<String, Secret>> {
    let parse = |text: &String| {
        let invalid = || {
            Error::new(Kind::Invalid, format!("invalid secret `{text}`"))
                .hint("write id=NAME,src=FILE or id=NAME,env=VARIABLE")
        };
        let (mut id, mut file, mut variable, mut is_env) = (None, None, None, false);
        for field in text.split(',') {
            match field.split_once('=').ok_or_else(invalid)? {
                ("id", value) => id = Some(value.to_owned()),
                ("src" | "source", value) => file = Some(value.to_owned()),
                ("env", value) => variable = Some(value.to_owned()),
                ("type", "env") => is_env = true,
                ("type", "file") => {}
                _ => return Err(invalid()),
            }
        }
        let id = id.filter(|id| !id.is_empty()).ok_or_else(invalid)?;
        let secret = match (file, variable) {
            (Some(name), None) if is_env => Secret::Variable(name),
            (None, Some(name)) => Secret::Variable(name),
            (Some(path), None) => {
                let path = PathBuf::from(path);
                std::fs::metadata(&path)
                    .context(|| format!("cannot read secret `{id}` from {}", path.display()))?;
                Secret::File(path)
            }
            (None, None) if std::env::var_os(&id).is_some() => Secret::Variable(id.clone()),
            (None, None) => Secret::File(PathBuf::from(&id)),
            _ => return Err(invalid()),
        };
        Ok((id, secret))
    };
    words.iter().map(parse).collect()
}

fn agents(words: &[String]) -> Result<BTreeMap<String, PathBuf>> {
    let parse = |text: &String| {
        let (name, socket) = match text.split_once('=') {
            Some((name, socket)) => (name, Some(PathBuf::from(socket))),
            None => (text.as_str(), None),
        };
        let socket = socket
            .or_else(|| std::env::var_os("SSH_AUTH_SOCK").map(PathBuf::from))
            .ok_or_else(|| {
                Error::new(
                    Kind::Invalid,
                    format!("no SSH agent for `{name}`: SSH_AUTH_SOCK is not set"),
                )
                .hint("start ssh-agent, or write NAME=SOCKET")
            })?;
        std::fs::metadata(&socket)
            .context(|| format!("cannot use SSH agent {}", socket.display()))?;
        Ok((name.to_owned(), socket))
    };
    words.iter().map(parse).collect()
}

/// Prints how the build goes on, to standard output as Podman does.
struct Printer {
    quiet: bool,
    out: Mutex<Output>,
}

impl Printer {
    fn print(&self, text: &[u8]) {
        if self.quiet {
            return;
        }
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        // When nobody reads it, the build goes on all the same; the end tells.
        drop(out.bytes(text).and_then(|()| out.flush()));
    }
}

impl Listener for Printer {
    fn line(&self, text: &str) {
        self.print(format!("{text}\n").as_bytes());
    }

    fn output(&self, bytes: &[u8]) {
        self.print(bytes);
    }

    fn warning(&self, text: &str) {
        output::warning(text);
    }
}
