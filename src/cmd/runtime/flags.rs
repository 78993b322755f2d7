//! Flags before the commands of the runtime: where containers are on record, where errors go.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::cmd::exit::Status;
use crate::cmd::tree::Before;
use crate::cmd::{World, now, output};
use crate::engine::runtime::{OCI_VERSION, RuntimeOptions};
use crate::error::{Error, Result};
use crate::spec::time;

/// Run containers for other tools, as runc does
///
/// This is an OCI runtime with the command line of runc: what containerd, Docker and Podman call to
/// make containers of bundles. These containers are not those of `barge ps`, and their tools keep
/// their output and their network.
///
/// Tools call a runtime by the path of its executable. Under the names barge-runtime, runc and crun
/// the executable is `barge runtime`: ln -s /usr/bin/barge /usr/local/bin/barge-runtime. Then:
///
/// podman --runtime /usr/local/bin/barge-runtime run ...
///
/// dockerd --add-runtime barge=/usr/local/bin/barge-runtime, and docker run --runtime barge ...
///
/// ctr run --runc-binary /usr/local/bin/barge-runtime ...
///
/// The exit status is that of the container for run and exec, 255 if exec could not start its
/// process, 1 for any other failure.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct RuntimeFlags {
    /// Accepted; criu is found in $PATH
    #[arg(long, value_name = "PATH")]
    criu: Option<PathBuf>,
    /// Accepted; there is nothing more to say
    #[arg(long)]
    debug: bool,
    /// Write errors to this file as well
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// How they are written there: text or json
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    log_format: LogFormat,
    /// Directory with the state of containers
    #[arg(long, value_name = "PATH")]
    root: Option<PathBuf>,
    /// Accepted; what can be done without root is found out
    #[arg(long, value_name = "auto|true|false")]
    rootless: Option<String>,
    /// Have systemd make control groups, at SLICE:PREFIX:NAME
    #[arg(long)]
    systemd_cgroup: bool,
    /// Show the version and do nothing else
    #[arg(short, long)]
    version: bool,
}

/// A way to write errors.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum LogFormat {
    #[default]
    Text,
    Json,
}

impl Before for RuntimeFlags {
    fn take(self, world: &mut World) -> Result<Option<Status>> {
        let version = self.version;
        world.runtime = Some(self);
        if !version {
            return Ok(None);
        }
        let own = env!("CARGO_PKG_VERSION");
        world.out.text(&format!("barge-runtime version {own}\nspec: {OCI_VERSION}\n"))?;
        Ok(Some(Status::SUCCESS))
    }
}

impl RuntimeFlags {
    /// The same for the engine.
    pub(super) fn options(&self) -> RuntimeOptions {
        RuntimeOptions { root: self.root.clone(), systemd: self.systemd_cgroup }
    }

    /// Reports an error, to the file too if there is one; returns how this process ends.
    pub(crate) fn report(&self, error: &Error) -> Status {
        self.log("error", &error.to_string());
        output::error(error);
        Status::NO
    }

    /// Tells of something that did not go as asked.
    pub(super) fn warn(&self, text: &str) {
        if !self.log("warning", text) {
            output::warning(text);
        }
    }

    /// Writes a line to the log file; `false` if there is none.
    fn log(&self, level: &str, text: &str) -> bool {
        let Some(path) = &self.log else { return false };
        let line = self.log_format.line(level, text, &time::rfc3339_short(now()));
        let file = File::options().append(true).create(true).open(path);
        // It is told on standard error as well, or was to be no more than a help.
        file.and_then(|mut file| file.write_all(line.as_bytes())).is_ok()
    }
}

impl LogFormat {
    fn line(self, level: &str, text: &str, time: &str) -> String {
        match self {
            Self::Text => format!("time=\"{time}\" level={level} msg={text:?}\n"),
            Self::Json => {
                format!("{}\n", serde_json::json!({"level": level, "msg": text, "time": time}))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_lines_as_runc_does() {
        let text = "no \"x\"";
        assert_eq!(
            LogFormat::Json.line("error", text, "T"),
            "{\"level\":\"error\",\"msg\":\"no \\\"x\\\"\",\"time\":\"T\"}\n"
        );
        assert_eq!(
            LogFormat::Text.line("error", text, "T"),
            "time=\"T\" level=error msg=\"no \\\"x\\\"\"\n"
        );
    }
}
