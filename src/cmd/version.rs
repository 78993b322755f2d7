//! `barge version`

use clap::Args;
use serde_json::json;

use super::World;
use super::exit::Status;
use super::tree::Act;
use crate::error::Result;
use crate::spec::template::{Format, go_json};

/// Show the version
#[derive(Args, Debug)]
pub(crate) struct Version {
    /// Print it with a Go template, or as json
    #[arg(short, long, value_name = "TEMPLATE")]
    format: Option<String>,
}

impl Act for Version {
    fn act(self, world: &mut World) -> Result<Status> {
        let version = env!("CARGO_PKG_VERSION");
        let platform = format!("linux/{}", architecture());
        let Some(format) = self.format else {
            world.out.line("Client:       barge")?;
            world.out.line(&format!("Version:      {version}"))?;
            world.out.line(&format!("OS/Arch:      {platform}"))?;
            return Ok(Status::SUCCESS);
        };
        // There is no server; scripts ask for its version all the same.
        let part = json!({
            "Version": version,
            "ApiVersion": "1.41",
            "APIVersion": version,
            "Os": "linux",
            "Arch": architecture(),
            "OsArch": platform,
        });
        let document = json!({ "Client": part, "Server": part });
        let text = match format.as_str() {
            "json" => go_json(&document),
            format => Format::new(format)?.render(&document)?,
        };
        world.out.line(&text)?;
        Ok(Status::SUCCESS)
    }
}

/// Returns the processor in Go's words.
pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
