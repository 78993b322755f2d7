//! `barge version`

use clap::Args;
use serde_json::{Value, json};

use super::World;
use super::exit::Status;
use super::tree::Act;
use crate::error::Result;
use crate::remote::{Host, Request};
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
        let Some(format) = self.format else { return show(world, None) };
        // There is no server; scripts ask for its version all the same.
        let part = own();
        print(world, &json!({ "Client": part, "Server": part }), &format)
    }

    fn act_on(self, host: &Host, world: &mut World) -> Result<Status> {
        let mut server = host.document(Request::get("/version"))?;
        let word = |field: &str| server[field].as_str().unwrap_or_default().to_owned();
        server["OsArch"] = format!("{}/{}", word("Os"), word("Arch")).into();
        server["APIVersion"] = server["ApiVersion"].clone();
        let Some(format) = self.format else { return show(world, Some(&server)) };
        print(world, &json!({ "Client": own(), "Server": server }), &format)
    }
}

/// What this is, as a document.
fn own() -> Value {
    let version = env!("CARGO_PKG_VERSION");
    json!({
        "Version": version,
        "ApiVersion": "1.41",
        "APIVersion": version,
        "Os": "linux",
        "Arch": architecture(),
        "OsArch": format!("linux/{}", architecture()),
    })
}

fn print(world: &mut World, document: &Value, format: &str) -> Result<Status> {
    let text = match format {
        "json" => go_json(document),
        format => Format::new(format)?.render(document)?,
    };
    world.out.line(&text)?;
    Ok(Status::SUCCESS)
}

fn show(world: &mut World, server: Option<&Value>) -> Result<Status> {
    world.out.line("Client:       barge")?;
    world.out.line(&format!("Version:      {}", env!("CARGO_PKG_VERSION")))?;
    world.out.line(&format!("OS/Arch:      linux/{}", architecture()))?;
    if let Some(server) = server {
        let word = |field: &str| server[field].as_str().unwrap_or_default().to_owned();
        let name = server["Platform"]["Name"].as_str().filter(|name| !name.is_empty());
        let name = name.or_else(|| server["Components"][0]["Name"].as_str()).unwrap_or("unknown");
        world.out.line(&format!("\nServer:       {name}"))?;
        world.out.line(&format!("Version:      {}", word("Version")))?;
        world.out.line(&format!("API version:  {}", word("ApiVersion")))?;
        world.out.line(&format!("OS/Arch:      {}", word("OsArch")))?;
    }
    Ok(Status::SUCCESS)
}

/// Returns the processor in Go's words.
pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
