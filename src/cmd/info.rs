//! `barge info` and `barge system check`

use clap::Args;
use serde_json::{Map, Value as Json, json};

use super::World;
use super::exit::Status;
use super::listing::print_json;
use super::tree::Act;
use crate::engine::{Engine, Info as Facts};
use crate::error::Result;
use crate::remote::{Host, Request};
use crate::spec::template::Format;

/// Show what this machine and the store are like
#[derive(Args, Debug)]
pub(crate) struct Info {
    /// Print it with a Go template, or as json
    #[arg(short, long, value_name = "TEMPLATE")]
    format: Option<String>,
}

impl Act for Info {
    fn act(self, world: &mut World) -> Result<Status> {
        let engine = world.engine()?;
        let document = document(&engine, &engine.info()?);
        match self.format.as_deref() {
            None => {
                let mut text = String::new();
                outline(&mut text, &document, 0);
                world.out.text(&text)?;
            }
            Some("json") => print_json(&mut world.out, &document)?,
            Some(format) => {
                let format = Format::new(format)?;
                let mut fields = go_names(&document);
                with_docker_names(&mut fields, &document);
                world.out.line(&format.render(&fields)?)?;
            }
        }
        Ok(Status::SUCCESS)
    }

    fn act_on(self, host: &Host, world: &mut World) -> Result<Status> {
        // Docker's document, whoever answers.
        let document = host.document(Request::get("/info"))?;
        match self.format.as_deref() {
            None => {
                let mut text = String::new();
                outline(&mut text, &document, 0);
                world.out.text(&text)?;
            }
            Some("json") => print_json(&mut world.out, &document)?,
            Some(format) => world.out.line(&Format::new(format)?.render(&document)?)?,
        }
        Ok(Status::SUCCESS)
    }
}

/// Makes the document, in the structure that Podman's has.
fn document(engine: &Engine, info: &Facts) -> Json {
    let (distribution, release) = &info.distribution;
    let version = env!("CARGO_PKG_VERSION");
    let containers = &info.containers;
    let path = |path: &std::path::Path| path.display().to_string();
    let store = engine.store();
    json!({
        "host": {
            "arch": info.architecture,
            "os": "linux",
            "kernel": info.kernel,
            "hostname": info.hostname,
            "distribution": { "distribution": distribution, "version": release },
            "cpus": info.processors,
            "memTotal": info.memory.0,
            "memFree": info.memory.1,
            "swapTotal": info.swap.0,
            "swapFree": info.swap.1,
            "uptime": uptime(info.uptime),
            "cgroupManager": "cgroupfs",
            "cgroupVersion": format!("v{}", info.cgroup_version),
            "cgroupControllers": info.controllers,
            "eventLogger": "file",
            "logDriver": "k8s-file",
            "networkBackend": "barge",
            "ociRuntime": {
                "name": "barge",
                "path": path(&engine.host().executable),
                "version": version,
            },
            "pasta": { "executable": info.pasta.as_deref().unwrap_or_default() },
            "slirp4netns": { "executable": "" },
            "remoteSocket": { "path": "", "exists": false },
            "serviceIsRemote": false,
            "security": {
                "rootless": engine.host().rootless,
                "seccompEnabled": true,
                "apparmorEnabled": false,
                "selinuxEnabled": false,
            },
            "idMappings": { "uidmap": null, "gidmap": null },
        },
        "store": {
            "graphDriverName": store.driver().as_str(),
            "graphOptions": {},
            "graphStatus": { "Backing Filesystem": info.file_system },
            "graphRoot": path(store.root()),
            "runRoot": path(store.runroot()),
            "volumePath": path(&store.root().join("volumes")),
            "containerStore": {
                "number": containers.running + containers.paused + containers.stopped,
                "running": containers.running,
                "paused": containers.paused,
                "stopped": containers.stopped,
            },
            "imageStore": { "number": info.images },
        },
        "version": {
            "version": version,
            "apiVersion": version,
            "osArch": format!("linux/{}", info.architecture),
        },
    })
}

fn uptime(seconds: u64) -> String {
    format!("{}h {}m {}s", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// Names the fields as Podman's templates do.
fn go_names(document: &Json) -> Json {
    let Json::Object(fields) = document else { return document.clone() };
    let mut named = Map::new();
    for (field, value) in fields {
        let name = match field.as_str() {
            "os" => "OS".to_owned(),
            "ociRuntime" => "OCIRuntime".to_owned(),
            "idMappings" => "IDMappings".to_owned(),
            "slirp4netns" => "Slirp4NetNS".to_owned(),
            "cpus" => "CPUs".to_owned(),
            "cgroupVersion" => "CgroupsVersion".to_owned(),
            "uidmap" => "UIDMap".to_owned(),
            "gidmap" => "GIDMap".to_owned(),
            "apiVersion" => "APIVersion".to_owned(),
            field => {
                let mut letters = field.chars();
                letters
                    .next()
                    .map(|first| first.to_ascii_uppercase())
                    .into_iter()
                    .chain(letters)
                    .collect()
            }
        };
        let value = go_names(value);
        if name == "OS" {
            named.insert("Os".to_owned(), value.clone());
        }
        named.insert(name, value);
    }
    Json::Object(named)
}

/// Adds what scripts ask Docker for.
fn with_docker_names(fields: &mut Json, document: &Json) {
    let (host, store) = (&document["host"], &document["store"]);
    let docker = json!({
        "ServerVersion": document["version"]["version"],
        "Name": host["hostname"],
        "Containers": store["containerStore"]["number"],
        "ContainersRunning": store["containerStore"]["running"],
        "ContainersPaused": store["containerStore"]["paused"],
        "ContainersStopped": store["containerStore"]["stopped"],
        "Images": store["imageStore"]["number"],
        "Driver": store["graphDriverName"],
        "DockerRootDir": store["graphRoot"],
        "LoggingDriver": host["logDriver"],
        "CgroupDriver": host["cgroupManager"],
        "CgroupVersion": host["cgroupVersion"].as_str().unwrap_or_default().trim_start_matches('v'),
        "KernelVersion": host["kernel"],
        "OperatingSystem": host["distribution"]["distribution"],
        "OSType": host["os"],
        "Architecture": std::env::consts::ARCH,
        "NCPU": host["cpus"],
        "MemTotal": host["memTotal"],
    });
    if let (Json::Object(fields), Json::Object(docker)) = (fields, docker) {
        fields.extend(docker);
    }
}

/// Writes a document with a line for each value, indented by depth.
fn outline(text: &mut String, document: &Json, depth: usize) {
    let Json::Object(fields) = document else { return };
    let indent = "  ".repeat(depth);
    for (field, value) in fields {
        match value {
            Json::Object(_) => {
                text.push_str(&format!("{indent}{field}:\n"));
                outline(text, value, depth + 1);
            }
            Json::Array(items) => {
                text.push_str(&format!("{indent}{field}:\n"));
                for item in items {
                    text.push_str(&format!("{indent}- {}\n", plain(item)));
                }
            }
            value => text.push_str(&format!("{indent}{field}: {}\n", plain(value))),
        }
    }
}

fn plain(value: &Json) -> String {
    match value {
        Json::String(word) if !word.is_empty() => word.clone(),
        value => value.to_string(),
    }
}

/// Check what this machine can do for containers
///
/// The exit status is 1 if something is missing.
#[derive(Args, Debug)]
pub(crate) struct Check {}

impl Act for Check {
    const ONLY_HERE: &'static str = "it looks at this machine";

    fn act(self, world: &mut World) -> Result<Status> {
        let checks = Engine::check(&world.options()?)?;
        let width = checks.iter().map(|check| check.name.len()).max().unwrap_or_default();
        for check in &checks {
            let mark = if check.ok { "ok     " } else { "missing" };
            world.out.line(&format!("{mark}  {:width$}  {}", check.name, check.detail))?;
            if let (false, Some(hint)) = (check.ok, &check.hint) {
                world.out.line(&format!("{:width$}  -> {hint}", "", width = width + 9))?;
            }
        }
        let all = checks.iter().all(|check| check.ok);
        Ok(if all { Status::SUCCESS } else { Status::NO })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fields_as_templates_want_them() {
        let document = json!({"host": {"os": "linux", "ociRuntime": {"name": "x"}, "arch": "a"}});
        assert_eq!(
            go_names(&document),
            json!({"Host": {"Os": "linux", "OS": "linux", "OCIRuntime": {"Name": "x"}, "Arch": "a"}})
        );
    }

    #[test]
    fn outlines_documents() {
        let mut text = String::new();
        outline(&mut text, &json!({"a": {"b": 1, "c": ["x", ""]}, "d": null}), 0);
        assert_eq!(text, "a:\n  b: 1\n  c:\n  - x\n  - \"\"\nd: null\n");
    }
}
