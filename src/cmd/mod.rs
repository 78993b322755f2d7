//! The command line: parse flags, make one engine call, print.

mod access;
mod answers;
mod connect;
mod containers;
mod cp;
mod environment;
mod exit;
mod flags;
mod global;
mod hello;
mod help;
mod host;
mod listing;
mod output;
mod pack;
mod parse;
mod progress;
mod prompt;
mod search;
mod signing;
mod table;
mod talk;
mod tree;

mod artifact;
mod build;
mod builder;
mod checkpoint;
mod clone;
mod commit;
mod completion;
mod connection;
mod context;
mod debug;
mod dial;
mod diff;
mod events;
mod exec;
mod export;
mod healthcheck;
mod history;
mod image_diff;
mod image_mount;
mod image_scp;
mod image_tree;
mod images;
mod import;
mod info;
mod init;
mod inspect;
mod load;
mod login;
mod logout;
mod logs;
mod manifest;
mod mount;
mod network;
mod pause;
mod port;
mod prune;
mod ps;
mod pull;
mod push;
mod rename;
mod rm;
mod rmi;
mod run;
mod runtime;
mod save;
mod secret;
mod service;
mod start;
mod stats;
mod stop;
mod system_df;
mod top;
mod unshare;
mod update;
mod version;
mod volume;
mod wait;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use std::time::{SystemTime, UNIX_EPOCH};

use clap::Command;

use crate::api::alone;
use crate::api::buildkit::worker;
use crate::engine::{self, Engine, EngineOptions, exec as entered, monitor, step};
use crate::error::Result;
use crate::net::keeper;
use crate::spec::defaults::Defaults;
use exit::Status;
use global::Global;
use output::Output;
use tree::{Group, Node, group, verb};

/// All commands, in the order in which help shows them.
const COMMANDS: Group = group(
    &["barge"],
    "Run containers without a daemon",
    &[
        Node::Group(ARTIFACT),
        verb::<start::Attach>(&["attach"], "CONTAINER"),
        verb::<build::Build>(&["build"], "[CONTEXT]"),
        Node::Group(BUILDER),
        Node::Group(BUILDX),
        verb::<commit::Commit>(&["commit"], "CONTAINER [NAME]"),
        verb::<completion::Completion>(&["completion"], "SHELL"),
        Node::Group(CONTAINER),
        Node::Group(CONTEXT),
        verb::<cp::Cp>(&["cp"], "SOURCE TARGET"),
        verb::<run::Create>(&["create"], "IMAGE [COMMAND [ARG...]]"),
        verb::<debug::Debug>(&["debug"], "CONTAINER [COMMAND [ARG...]]"),
        verb::<diff::Diff>(&["diff"], "CONTAINER|IMAGE [OTHER]"),
        verb::<events::Events>(&["events"], ""),
        verb::<exec::Exec>(&["exec"], "CONTAINER COMMAND [ARG...]"),
        verb::<export::Export>(&["export"], "CONTAINER"),
        Node::Group(HEALTHCHECK),
        verb::<history::History>(&["history"], "IMAGE"),
        Node::Group(IMAGE),
        verb::<images::Images>(&["images"], "[NAME]"),
        verb::<import::Import>(&["import"], "FILE|URL|- [NAME]"),
        verb::<info::Info>(&["info"], ""),
        verb::<init::Init>(&["init"], "CONTAINER [CONTAINER...]"),
        verb::<inspect::Inspect>(&["inspect"], "NAME [NAME...]"),
        verb::<stop::Kill>(&["kill"], "CONTAINER [CONTAINER...]"),
        verb::<load::Load>(&["load"], ""),
        verb::<login::Login>(&["login"], "[REGISTRY]"),
        verb::<logout::Logout>(&["logout"], "[REGISTRY]"),
        verb::<logs::Logs>(&["logs"], "CONTAINER [CONTAINER...]"),
        Node::Group(MANIFEST),
        verb::<mount::Mount>(&["mount"], "[CONTAINER...]"),
        Node::Group(NETWORK),
        verb::<pause::Pause>(&["pause"], "CONTAINER [CONTAINER...]"),
        verb::<port::Port>(&["port"], "CONTAINER [PORT]"),
        verb::<ps::Ps>(&["ps"], ""),
        verb::<pull::Pull>(&["pull"], "IMAGE [IMAGE...]"),
        verb::<rename::Rename>(&["rename"], "CONTAINER NAME"),
        verb::<stop::Restart>(&["restart"], "CONTAINER [CONTAINER...]"),
        verb::<push::Push>(&["push"], "IMAGE [DESTINATION]"),
        verb::<rm::Rm>(&["rm"], "CONTAINER [CONTAINER...]"),
        verb::<rmi::Rmi>(&["rmi"], "IMAGE [IMAGE...]"),
        verb::<run::Run>(&["run"], "IMAGE [COMMAND [ARG...]]"),
        Node::Group(runtime::RUNTIME),
        verb::<save::Save>(&["save"], "IMAGE [IMAGE...]"),
        verb::<search::Search>(&["search"], "TERM"),
        Node::Group(SECRET),
        verb::<start::Start>(&["start"], "CONTAINER [CONTAINER...]"),
        verb::<stats::Stats>(&["stats"], "[CONTAINER...]"),
        verb::<stop::Stop>(&["stop"], "CONTAINER [CONTAINER...]"),
        Node::Group(SYSTEM),
        verb::<rmi::Tag>(&["tag"], "IMAGE NAME [NAME...]"),
        verb::<top::Top>(&["top"], "CONTAINER [COLUMN...]"),
        verb::<mount::Unmount>(&["unmount", "umount"], "CONTAINER [CONTAINER...]"),
        verb::<pause::Unpause>(&["unpause"], "CONTAINER [CONTAINER...]"),
        verb::<unshare::Unshare>(&["unshare"], "[COMMAND [ARG...]]"),
        verb::<rmi::Untag>(&["untag"], "IMAGE [NAME...]"),
        verb::<update::Update>(&["update"], "CONTAINER [CONTAINER...]"),
        verb::<version::Version>(&["version"], ""),
        Node::Group(VOLUME),
        verb::<wait::Wait>(&["wait"], "CONTAINER [CONTAINER...]"),
    ],
);

const ARTIFACT: Group = group(
    &["artifact"],
    "Manage artifacts: files in registries",
    &[
        verb::<artifact::Add>(&["add"], "ARTIFACT FILE [FILE...]"),
        verb::<artifact::Extract>(&["extract"], "ARTIFACT PATH"),
        verb::<artifact::Inspect>(&["inspect"], "ARTIFACT"),
        verb::<artifact::Ls>(&["ls", "list"], ""),
        verb::<artifact::Pull>(&["pull"], "ARTIFACT"),
        verb::<artifact::Push>(&["push"], "ARTIFACT [DESTINATION]"),
        verb::<artifact::Rm>(&["rm", "remove"], "ARTIFACT [ARTIFACT...]"),
    ],
);

const BUILDER: Group = group(
    &["builder"],
    "Manage what builds leave for the next",
    &[
        verb::<build::Build>(&["build"], "[CONTEXT]"),
        verb::<builder::Du>(&["du"], ""),
        verb::<builder::Prune>(&["prune"], ""),
    ],
);

const BUILDX: Group = group(
    &["buildx"],
    "Build images, by the names of Docker's plugin",
    &[
        verb::<build::Build>(&["build", "b"], "[CONTEXT]"),
        verb::<builder::Du>(&["du"], ""),
        verb::<builder::Prune>(&["prune"], ""),
    ],
);

const CONTAINER: Group = group(
    &["container"],
    "Manage containers",
    &[
        verb::<start::Attach>(&["attach"], "CONTAINER"),
        verb::<checkpoint::Checkpoint>(&["checkpoint"], "CONTAINER [CONTAINER...]"),
        verb::<clone::Clone>(&["clone"], "CONTAINER [NAME] [IMAGE]"),
        verb::<commit::Commit>(&["commit"], "CONTAINER [NAME]"),
        verb::<cp::Cp>(&["cp"], "SOURCE TARGET"),
        verb::<run::Create>(&["create"], "IMAGE [COMMAND [ARG...]]"),
        verb::<debug::Debug>(&["debug"], "CONTAINER [COMMAND [ARG...]]"),
        verb::<diff::ContainerDiff>(&["diff"], "CONTAINER [OTHER]"),
        verb::<exec::Exec>(&["exec"], "CONTAINER COMMAND [ARG...]"),
        verb::<rmi::ContainerExists>(&["exists"], "CONTAINER"),
        verb::<export::Export>(&["export"], "CONTAINER"),
        verb::<init::Init>(&["init"], "CONTAINER [CONTAINER...]"),
        verb::<inspect::InspectContainer>(&["inspect"], "CONTAINER [CONTAINER...]"),
        verb::<stop::Kill>(&["kill"], "CONTAINER [CONTAINER...]"),
        verb::<logs::Logs>(&["logs"], "CONTAINER [CONTAINER...]"),
        verb::<mount::Mount>(&["mount"], "[CONTAINER...]"),
        verb::<ps::Ps>(&["ls", "list", "ps"], ""),
        verb::<pause::Pause>(&["pause"], "CONTAINER [CONTAINER...]"),
        verb::<port::Port>(&["port"], "CONTAINER [PORT]"),
        verb::<prune::ContainerPrune>(&["prune"], ""),
        verb::<rename::Rename>(&["rename"], "CONTAINER NAME"),
        verb::<stop::Restart>(&["restart"], "CONTAINER [CONTAINER...]"),
        verb::<checkpoint::Restore>(&["restore"], "CONTAINER [CONTAINER...]"),
        verb::<rm::Rm>(&["rm", "remove"], "CONTAINER [CONTAINER...]"),
        verb::<run::Run>(&["run"], "IMAGE [COMMAND [ARG...]]"),
        verb::<start::Start>(&["start"], "CONTAINER [CONTAINER...]"),
        verb::<stats::Stats>(&["stats"], "[CONTAINER...]"),
        verb::<stop::Stop>(&["stop"], "CONTAINER [CONTAINER...]"),
        verb::<top::Top>(&["top"], "CONTAINER [COLUMN...]"),
        verb::<mount::Unmount>(&["unmount", "umount"], "CONTAINER [CONTAINER...]"),
        verb::<pause::Unpause>(&["unpause"], "CONTAINER [CONTAINER...]"),
        verb::<update::Update>(&["update"], "CONTAINER [CONTAINER...]"),
        verb::<wait::Wait>(&["wait"], "CONTAINER [CONTAINER...]"),
    ],
);

const CONTEXT: Group = group(
    &["context"],
    "Manage connections to other hosts, by Docker's names",
    &[
        verb::<context::Create>(&["create"], "NAME"),
        verb::<context::Inspect>(&["inspect"], "[NAME...]"),
        verb::<context::Ls>(&["ls", "list"], ""),
        verb::<context::Rm>(&["rm", "remove"], "NAME [NAME...]"),
        verb::<context::Show>(&["show"], ""),
        verb::<context::Use>(&["use"], "NAME"),
    ],
);

const HEALTHCHECK: Group = group(
    &["healthcheck"],
    "Manage health checks of containers",
    &[verb::<healthcheck::HealthcheckRun>(&["run"], "CONTAINER")],
);

const IMAGE: Group = group(
    &["image"],
    "Manage images",
    &[
        verb::<build::Build>(&["build"], "[CONTEXT]"),
        verb::<image_diff::ImageDiff>(&["diff"], "IMAGE [OTHER]"),
        verb::<rmi::ImageExists>(&["exists"], "IMAGE"),
        verb::<history::History>(&["history"], "IMAGE"),
        verb::<import::Import>(&["import"], "FILE|URL|- [NAME]"),
        verb::<inspect::InspectImage>(&["inspect"], "IMAGE [IMAGE...]"),
        verb::<load::Load>(&["load"], ""),
        verb::<images::Images>(&["ls", "list"], "[NAME]"),
        verb::<image_mount::ImageMount>(&["mount"], "[IMAGE...]"),
        verb::<prune::ImagePrune>(&["prune"], ""),
        verb::<pull::Pull>(&["pull"], "IMAGE [IMAGE...]"),
        verb::<push::Push>(&["push"], "IMAGE [DESTINATION]"),
        verb::<rmi::Rmi>(&["rm", "remove"], "IMAGE [IMAGE...]"),
        verb::<save::Save>(&["save"], "IMAGE [IMAGE...]"),
        verb::<image_scp::ImageScp>(&["scp"], "SOURCE [DESTINATION]"),
        verb::<search::Search>(&["search"], "TERM"),
        verb::<rmi::Tag>(&["tag"], "IMAGE NAME [NAME...]"),
        verb::<image_tree::ImageTree>(&["tree"], "IMAGE"),
        verb::<image_mount::ImageUnmount>(&["unmount", "umount"], "IMAGE [IMAGE...]"),
        verb::<rmi::Untag>(&["untag"], "IMAGE [NAME...]"),
    ],
);

const MANIFEST: Group = group(
    &["manifest"],
    "Manage manifest lists: one image for several platforms",
    &[
        verb::<manifest::Add>(&["add"], "LIST IMAGE [IMAGE...]"),
        verb::<manifest::Annotate>(&["annotate"], "LIST [IMAGE]"),
        verb::<manifest::Create>(&["create"], "LIST [IMAGE...]"),
        verb::<manifest::Exists>(&["exists"], "LIST"),
        verb::<manifest::Inspect>(&["inspect"], "LIST|IMAGE"),
        verb::<manifest::Push>(&["push"], "LIST [DESTINATION]"),
        verb::<manifest::Remove>(&["remove"], "LIST DIGEST"),
        verb::<manifest::Rm>(&["rm"], "LIST [LIST...]"),
    ],
);

const SECRET: Group = group(
    &["secret"],
    "Manage secrets: data that containers get and nobody else sees",
    &[
        verb::<secret::Create>(&["create"], "NAME FILE|-"),
        verb::<secret::Exists>(&["exists"], "SECRET"),
        verb::<secret::Inspect>(&["inspect"], "SECRET [SECRET...]"),
        verb::<secret::Ls>(&["ls", "list"], ""),
        verb::<secret::Rm>(&["rm", "remove"], "SECRET [SECRET...]"),
    ],
);

const SYSTEM: Group = group(
    &["system"],
    "Manage barge itself",
    &[
        verb::<info::Check>(&["check", "doctor"], ""),
        Node::Group(CONNECTION),
        verb::<system_df::SystemDf>(&["df"], ""),
        verb::<dial::Dial>(&["dial-stdio"], ""),
        verb::<events::Events>(&["events"], ""),
        verb::<info::Info>(&["info"], ""),
        verb::<prune::SystemPrune>(&["prune"], ""),
        verb::<service::Service>(&["service"], "[ADDRESS...]"),
    ],
);

const CONNECTION: Group = group(
    &["connection"],
    "Manage connections to other hosts",
    &[
        verb::<connection::Add>(&["add"], "NAME DESTINATION"),
        verb::<connection::Default>(&["default"], "NAME"),
        verb::<connection::Ls>(&["ls", "list"], ""),
        verb::<connection::Rename>(&["rename", "mv"], "NAME NEW-NAME"),
        verb::<connection::Rm>(&["rm", "remove"], "[NAME...]"),
    ],
);

const NETWORK: Group = group(
    &["network"],
    "Manage networks: what containers are on together",
    &[
        verb::<network::Connect>(&["connect"], "NETWORK CONTAINER"),
        verb::<network::Create>(&["create"], "[NAME]"),
        verb::<network::Disconnect>(&["disconnect"], "NETWORK CONTAINER"),
        verb::<network::Exists>(&["exists"], "NETWORK"),
        verb::<network::Inspect>(&["inspect"], "NETWORK [NETWORK...]"),
        verb::<network::Ls>(&["ls", "list"], ""),
        verb::<network::Prune>(&["prune"], ""),
        verb::<network::Reload>(&["reload"], "[CONTAINER...]"),
        verb::<network::Rm>(&["rm", "remove"], "NETWORK [NETWORK...]"),
        verb::<network::Update>(&["update"], "NETWORK"),
    ],
);

const VOLUME: Group = group(
    &["volume"],
    "Manage volumes: directories that outlive containers",
    &[
        verb::<volume::Create>(&["create"], "[NAME]"),
        verb::<volume::Exists>(&["exists"], "VOLUME"),
        verb::<volume::Export>(&["export"], "VOLUME"),
        verb::<volume::Import>(&["import"], "VOLUME [FILE]"),
        verb::<volume::Inspect>(&["inspect"], "VOLUME [VOLUME...]"),
        verb::<volume::Ls>(&["ls", "list"], ""),
        verb::<volume::Mount>(&["mount"], "VOLUME [VOLUME...]"),
        verb::<volume::Prune>(&["prune"], ""),
        verb::<volume::Reload>(&["reload"], ""),
        verb::<volume::Rm>(&["rm", "remove"], "VOLUME [VOLUME...]"),
        verb::<volume::Unmount>(&["unmount", "umount"], "VOLUME [VOLUME...]"),
    ],
);

/// What a command works on.
pub(crate) struct World {
    /// Standard output.
    pub(crate) out: Output,
    /// Flags before the command.
    pub(crate) global: Global,
    /// Flags of `barge runtime`, once they are known: it reports errors in a way of its own.
    pub(crate) runtime: Option<runtime::RuntimeFlags>,
    /// What was called, as in `barge image ls`.
    pub(crate) command: String,
}

impl World {
    /// Opens the engine on the store that the flags name.
    pub(crate) fn engine(&self) -> Result<Engine> {
        let engine = Engine::open(&self.options()?)?;
        engine.warnings().iter().for_each(|warning| output::warning(warning));
        Ok(engine)
    }

    /// As [`World::engine`], with the power to make and change containers and images.
    pub(crate) fn power(&self) -> Result<Engine> {
        let engine = Engine::open_with_power(&self.options()?, output::warning)?;
        engine.warnings().iter().for_each(|warning| output::warning(warning));
        Ok(engine)
    }

    /// Returns what is usual for new containers here.
    pub(crate) fn defaults(&self) -> Result<Defaults> {
        engine::defaults(self.global.modules())
    }

    /// Returns which store the flags name.
    pub(crate) fn options(&self) -> Result<EngineOptions> {
        Ok(EngineOptions {
            root: self.global.root.clone().or_else(|| place("BARGE_ROOT")),
            runroot: self.global.runroot.clone().or_else(|| place("BARGE_RUNROOT")),
            storage: self.global.storage()?,
        })
    }
}

/// Returns a directory that the environment names: `barge unshare` does that for those below it.
fn place(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute())
}

/// Returns nanoseconds since 1970.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// Runs the command line of this process; returns how it ends.
pub fn main() -> ExitCode {
    let mut words: Vec<OsString> = std::env::args_os().collect();
    let name = words.first().cloned().unwrap_or_default();
    if hello::is_asked_for(&name) {
        let mut out = Output::default();
        let printed = out.text(&hello::greeting()).and_then(|()| out.flush());
        return ended(printed.map(|()| Status::SUCCESS), None).into();
    }
    if monitor::is_asked_for(&name) {
        return monitor::main(words).into();
    }
    if keeper::is_asked_for(&name) {
        return keeper::main(words).into();
    }
    if step::is_asked_for(&name) {
        return step::main(words).into();
    }
    if alone::is_exec(&name) {
        let Err(error) = alone::exec(&words);
        return ended(Err(error), None).into();
    }
    if alone::is_asked_for(&name) {
        return alone::main(&words).into();
    }
    if worker::is_asked_for(&name) {
        return worker::main(&words).into();
    }
    if entered::is_asked_for(&name) {
        return ended(entered::main(words).map(Status::of_container), None).into();
    }
    // The first word is our own name, if there is one at all.
    words.drain(..words.len().min(1));
    if runtime::is_name(&name) {
        words.insert(0, "runtime".into());
    }
    let mut world = World {
        out: Output::default(),
        global: Global::default(),
        runtime: None,
        command: String::new(),
    };
    let result = run(words, &mut world);
    // What was printed before a failure was asked for, and comes first.
    let flushed = world.out.flush();
    if world.out.reader_gone() {
        return Status::PIPE.into();
    }
    ended(result.and_then(|status| flushed.map(|()| status)), world.runtime.as_ref()).into()
}

/// Reports an error; returns how this process ends.
fn ended(result: Result<Status>, runtime: Option<&runtime::RuntimeFlags>) -> Status {
    result.unwrap_or_else(|error| match runtime {
        Some(flags) => flags.report(&error),
        None => {
            output::error(&error);
            Status::of_error(&error)
        }
    })
}

fn run(words: Vec<OsString>, world: &mut World) -> Result<Status> {
    let words = match global::parse(words)? {
        None => vec![OsString::from("--help")],
        Some((global, words)) => {
            world.global = global;
            words
        }
    };
    if let Some(text) = world.global.bad_level() {
        output::note(&text);
        return Ok(Status::NO);
    }
    world.global.redirect()?;
    world.global.name_config()?;
    if world.global.version {
        world.out.line(&format!("barge version {}", env!("CARGO_PKG_VERSION")))?;
        return Ok(Status::SUCCESS);
    }
    COMMANDS.dispatch("barge", words, world)
}

/// Lists the flags of Docker's and Podman's command of this name that ours has not, with the reasons.
pub fn absent_flags(command: &Command) -> Vec<(&'static [&'static str], &'static str)> {
    flags::absent::list(command.get_bin_name().unwrap_or_default())
}

/// Builds the definition of the whole command line, for man pages and completions.
pub fn definition() -> Command {
    let nodes = COMMANDS.nodes.iter().map(|node: &Node| node.define("barge"));
    global::define(Command::new("barge")).about(COMMANDS.about).subcommands(nodes)
}
