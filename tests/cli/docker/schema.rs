//! Answers of the service beside the document of Docker's API: `api-v1.56.json` has the types of its
//! answers, with nothing but the names, the types and what must be there.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::support::Barge;
use crate::support::docker::DockerHost;

/// Numbers that nobody has set: Docker's servers say null, of which the document knows nothing.
const NULL: [&str; 2] =
    ["GET /containers/{id}/json HostConfig MemorySwappiness", "GET /exec/{id}/json ExitCode"];

/// Fields of the document that no answer has, and why: by the end of their paths.
const NEVER: &[(&str, &[&str])] = &[
    (
        "images are not those of containerd",
        &[" ImageManifestDescriptor", " Descriptor", " Manifests", " Identity", " Storage"],
    ),
    ("there is no containerd, and nothing for its plugins", &["/info Containerd", "/info NRI"]),
    (
        "there is no swarm",
        &[
            " Swarm Cluster",
            " Swarm Managers",
            " Swarm Nodes",
            " Peers",
            " Services",
            " ClusterVolume",
            " Spec Templating",
        ],
    ),
    (
        "it concerns Windows",
        &[
            " commitbytes",
            " commitpeakbytes",
            " privateworkingset",
            "_normalized",
            " read_size_bytes",
            " write_size_bytes",
            " OsVersion",
            " ArgsEscaped",
        ],
    ),
    ("it is refused", &[" HostConfig StorageOpt"]),
    (
        "Docker leaves it out where there is nothing to say of it, as there never is",
        &[
            " NetworkDisabled",
            " runtimeArgs",
            " ProductLicense",
            " FirewallBackend Info",
            "/version Experimental",
            " wait Error",
            "Spec Data",
        ],
    ),
];

/// Fields of the document that are there if there is something to say, which these things have not.
const SOMETIMES: &[&str] = &[
    " HostConfig Mounts[] BindOptions",
    " HostConfig Mounts[] Consistency",
    " HostConfig Mounts[] ImageOptions",
    " HostConfig Mounts[] ReadOnly",
    " HostConfig Mounts[] Source",
    " HostConfig Mounts[] TmpfsOptions",
    " HostConfig Mounts[] TmpfsOptions Mode",
    " HostConfig Mounts[] TmpfsOptions SizeBytes",
    " HostConfig Mounts[] VolumeOptions",
    " HostConfig Mounts[] VolumeOptions DriverConfig",
    " HostConfig Mounts[] VolumeOptions Labels",
    " HostConfig Mounts[] VolumeOptions Subpath",
    " Ports[] IP",
    " Ports[] PublicPort",
    " Healthcheck Retries",
    " Healthcheck StartInterval",
    " Healthcheck StartPeriod",
    " Healthcheck Timeout",
    " Config OnBuild",
    " Config Shell",
    " Config StopTimeout",
    " SizeRootFs",
    " SizeRw",
    " pids_stats limit",
    // Only the first version of control groups counts them.
    " percpu_usage",
    " memory_stats failcnt",
    " memory_stats max_usage",
    "/stats networks",
    " precpu_stats online_cpus",
    " precpu_stats system_cpu_usage",
    "} Author",
    "json Author",
    " Config Cmd",
    " Config Entrypoint",
    " Config Env",
    " Config ExposedPorts",
    " Config Healthcheck",
    " Config Labels",
    " Config StopSignal",
    " Config User",
    " Config Volumes",
    " Config WorkingDir",
    " Variant",
    " DefaultAddressPools",
    " IPRange",
    " AuxiliaryAddresses",
    "/networks/{id} Status",
    " Spec Driver",
    " BuildCacheUsage Items",
    "Volumes[] Status",
    "/volumes/{name} Status",
    " UsageData",
    "/wait Error",
];

/// Looks at documents by their schemas.
struct Document {
    answers: Vec<(String, String, Value)>,
    definitions: Map<String, Value>,
}

/// What was found.
#[derive(Default)]
struct Findings {
    /// Of another type than the schema says, or missing where it must be there.
    wrong: BTreeSet<String>,
    /// In the schema, and not in the answer.
    missing: BTreeSet<String>,
    /// In the answer, and not in the schema.
    more: BTreeSet<String>,
}

impl Document {
    fn read() -> Self {
        let mut whole: Value = serde_json::from_str(include_str!("api-v1.56.json")).unwrap();
        let answers = serde_json::from_value(whole["answers"].take()).unwrap();
        let Value::Object(definitions) = whole["definitions"].take() else { panic!("no schemas") };
        Self { answers, definitions }
    }

    /// Compares the answer of an endpoint.
    fn check(&self, method: &str, path: &str, answer: &Value, found: &mut Findings) {
        let it = self.answers.iter().find(|(known, at, _)| known == method && at == path);
        let (_, _, schema) = it.unwrap_or_else(|| panic!("no schema of {method} {path}"));
        self.compare(schema, answer, &format!("{method} {path}"), found);
    }

    fn compare(&self, schema: &Value, value: &Value, at: &str, found: &mut Findings) {
        let nullable = schema["null"] == true;
        if let Some(name) = schema["ref"].as_str() {
            if !(nullable && value.is_null()) {
                self.compare(&self.definitions[name], value, at, found);
            }
            return;
        }
        let mut fields = Map::new();
        let mut required = Vec::new();
        self.gather(schema, &mut fields, &mut required);
        let kind = match schema["type"].as_str() {
            None if !fields.is_empty() => "object",
            None => return,
            Some(kind) => kind,
        };
        let is_of_kind = match kind {
            "string" => value.is_string(),
            "integer" => value.is_i64() || value.is_u64(),
            "number" => value.is_number(),
            "boolean" => value.is_boolean(),
            // What clients in Go have for an empty one.
            "array" => value.is_array() || value.is_null(),
            "object" => value.is_object() || value.is_null(),
            other => panic!("{at}: type {other}"),
        };
        let may_be_null = nullable || NULL.contains(&at);
        if !(is_of_kind || (may_be_null && value.is_null())) {
            found.wrong.insert(format!("{at}: no {kind}: {value}"));
            return;
        }
        match value {
            Value::Array(list) => {
                for item in list {
                    self.compare(&schema["items"], item, &format!("{at}[]"), found);
                }
            }
            Value::Object(pairs) => {
                let is_map = schema["values"].is_object();
                for (name, value) in pairs {
                    match fields.get(name) {
                        Some(schema) => self.compare(schema, value, &format!("{at} {name}"), found),
                        None if is_map => {
                            self.compare(&schema["values"], value, &format!("{at} *"), found);
                        }
                        // Of some objects nothing is said.
                        None if fields.is_empty() => {}
                        None => drop(found.more.insert(format!("{at} {name}"))),
                    }
                }
                for name in fields.keys().filter(|name| !pairs.contains_key(*name)) {
                    found.missing.insert(format!("{at} {name}"));
                }
                for name in required.iter().filter(|name| !pairs.contains_key(*name)) {
                    found.wrong.insert(format!("{at}: there must be {name}"));
                }
            }
            _ => {}
        }
    }

    /// Gathers the fields of an object, with those of what it is made of.
    fn gather(&self, schema: &Value, fields: &mut Map<String, Value>, required: &mut Vec<String>) {
        for part in schema["all"].as_array().into_iter().flatten() {
            let part = part["ref"].as_str().map_or(part, |name| &self.definitions[name]);
            self.gather(part, fields, required);
        }
        fields.extend(schema["fields"].as_object().cloned().unwrap_or_default());
        let names = schema["required"].as_array().into_iter().flatten();
        required.extend(names.filter_map(|name| name.as_str().map(str::to_owned)));
    }
}

/// Asks for all that there is, in one version; returns what does not fit the document.
fn look(docker: &DockerHost<'_>, document: &Document, version: &str) -> Findings {
    let mut found = Findings::default();
    let ask = |method: &str, path: &str, body: &str| -> Value {
        let answer = docker.ask(method, &format!("/v{version}{path}"), body);
        let text = String::from_utf8_lossy(&answer.body);
        assert!(answer.status < 300, "{method} {version} {path}: {} {text}", answer.status);
        // Of several documents the first.
        let first = serde_json::Deserializer::from_slice(&answer.body).into_iter().next();
        first.unwrap_or_else(|| panic!("{path}: {text}")).unwrap()
    };
    let exec = ask("POST", "/containers/box/exec", r#"{"Cmd": ["true"]}"#);
    let exec = exec["Id"].as_str().unwrap().to_owned();
    for (method, pattern, path, body) in [
        ("GET", "/containers/json", "/containers/json?all=1&size=1", ""),
        ("GET", "/containers/{id}/json", "/containers/box/json?size=1", ""),
        ("GET", "/containers/{id}/json", "/containers/made/json", ""),
        ("GET", "/containers/{id}/top", "/containers/box/top", ""),
        ("GET", "/containers/{id}/changes", "/containers/box/changes", ""),
        ("GET", "/containers/{id}/stats", "/containers/box/stats?stream=0&one-shot=1", ""),
        ("POST", "/containers/{id}/wait", "/containers/made/wait", ""),
        ("POST", "/containers/{id}/update", "/containers/made/update", "{}"),
        ("GET", "/exec/{id}/json", &format!("/exec/{exec}/json"), ""),
        ("GET", "/images/json", "/images/json?shared-size=1", ""),
        ("GET", "/images/{name}/json", "/images/busybox/json", ""),
        ("GET", "/images/{name}/history", "/images/busybox/history", ""),
        ("GET", "/images/{name}/attestations", "/images/busybox/attestations", ""),
        ("GET", "/info", "/info", ""),
        ("GET", "/version", "/version", ""),
        ("GET", "/events", "", ""),
        ("GET", "/system/df", "/system/df?verbose=1", ""),
        ("GET", "/volumes", "/volumes", ""),
        ("GET", "/volumes/{name}", "/volumes/data", ""),
        ("GET", "/networks", "/networks", ""),
        ("GET", "/networks/{id}", "/networks/net", ""),
        ("GET", "/networks/{id}", "/networks/host", ""),
        ("GET", "/secrets", "/secrets", ""),
        ("GET", "/secrets/{id}", "/secrets/word", ""),
        ("GET", "/configs", "/configs", ""),
        ("GET", "/configs/{id}", "/configs/web", ""),
        ("GET", "/plugins", "/plugins", ""),
        (
            "POST",
            "/containers/prune",
            "/containers/prune?filters=%7B%22label%22:%5B%22x%22%5D%7D",
            "",
        ),
        ("POST", "/images/prune", "/images/prune", ""),
        ("POST", "/volumes/prune", "/volumes/prune", ""),
        ("POST", "/networks/prune", "/networks/prune?filters=%7B%22label%22:%5B%22x%22%5D%7D", ""),
        ("POST", "/build/prune", "/build/prune", ""),
    ] {
        if pattern == "/events" {
            let answer = ask(method, &docker.events_so_far(), body);
            document.check(method, pattern, &answer, &mut found);
            continue;
        }
        document.check(method, pattern, &ask(method, path, body), &mut found);
    }
    found
}

#[test]
fn answers_are_of_the_document_s_types() {
    let barge = Barge::new();
    let docker = DockerHost::with_busybox(&barge);
    let document = Document::read();
    docker.docker(["volume", "create", "--label", "a=b", "-o", "type=tmpfs", "data"]).ok();
    docker.docker(["network", "create", "--subnet", "10.79.3.0/24", "net"]).ok();
    docker.docker_command(["secret", "create", "word", "-"]).input("x").run().exits(0);
    docker.docker_command(["config", "create", "web", "-"]).input("x").run().exits(0);
    let mut found = Findings::default();
    let mut post = |pattern: &str, path: &str, body: Value| {
        let answer = docker.ask("POST", path, &body.to_string());
        assert_eq!(answer.status, 201, "{path}: {}", String::from_utf8_lossy(&answer.body));
        document.check("POST", pattern, &answer.json(), &mut found);
    };
    for name in ["box", "made"] {
        let body = json!({
            "Image": "busybox", "Cmd": ["sleep", "1000"], "Env": ["A=1"], "Labels": { "a": "b" },
            "ExposedPorts": { "80/tcp": {} },
            "Healthcheck": { "Test": ["CMD", "true"], "Interval": 1_000_000_000_000_u64 },
            "HostConfig": {
                "NetworkMode": "none", "Binds": ["data:/d"], "Tmpfs": { "/t": "" },
                "Mounts": [
                    { "Type": "volume", "Source": "data", "Target": "/v", "VolumeOptions": { "NoCopy": true } },
                    { "Type": "tmpfs", "Target": "/m", "TmpfsOptions": { "Options": [["exec"]] } },
                ],
                "Annotations": { "x": "y" }, "Ulimits": [{ "Name": "core", "Soft": 0, "Hard": 0 }],
            },
        });
        post("/containers/create", &format!("/containers/create?name={name}"), body);
    }
    post("/volumes/create", "/volumes/create", json!({ "Name": "other" }));
    post("/networks/create", "/networks/create", json!({ "Name": "second" }));
    let exec = json!({ "Cmd": ["true"] });
    assert_eq!(docker.ask("POST", "/containers/box/start", "").status, 204);
    post("/containers/{id}/exec", "/containers/box/exec", exec);
    assert!(found.wrong.is_empty(), "{:#?}", found.wrong);
    for version in ["1.24", "1.41", "1.45", "1.51", "1.52", "1.53", "1.54", "1.55", "1.56"] {
        found = look(&docker, &document, version);
        assert!(found.wrong.is_empty(), "{version}: {:#?}", found.wrong);
    }
    // One container is shown with Podman's fields, too, and so are mounts with their options.
    let known = |path: &&String| {
        path.starts_with("GET /containers/{id}/json ") || path.ends_with(" Mounts[] Options")
    };
    let more: Vec<&String> = found.more.iter().filter(|path| !known(path)).collect();
    assert!(more.is_empty(), "{more:#?}");
    // The rest of the document is there, or it is known why not.
    let is_known = |path: &&String| {
        let never = NEVER.iter().flat_map(|(_, ends)| ends.iter());
        never.chain(SOMETIMES).any(|end| path.ends_with(end))
    };
    let missing: Vec<&String> = found.missing.iter().filter(|path| !is_known(path)).collect();
    assert!(missing.is_empty(), "{missing:#?}");
    // What the newest version has brought is there.
    for path in [
        "GET /info FirewallBackend",
        "GET /info DiscoveredDevices",
        "GET /containers/{id}/stats os_type",
    ] {
        assert!(!found.missing.contains(path), "{path}");
    }
}

/// Stands for the path of all events so far.
const EVENTS: &str = "/events";

/// Path, pointer into the answer, and the first minor versions that have it and that do not any more.
const CHANGES: &[(&str, &str, u32, u32)] = &[
    ("/containers/box/json", "/NetworkSettings/IPAddress", 0, 52),
    ("/containers/box/json", "/NetworkSettings/Bridge", 0, 52),
    ("/containers/box/json", "/NetworkSettings/SecondaryIPAddresses", 0, 52),
    ("/containers/box/json", "/NetworkSettings/SandboxKey", 0, 99),
    ("/containers/box/json", "/HostConfig/KernelMemory", 0, 42),
    ("/containers/box/json", "/Config/OnBuild", 0, 52),
    ("/containers/json?all=1", "/0/Labels", 0, 99),
    ("/images/busybox/json", "/VirtualSize", 0, 44),
    ("/images/busybox/json", "/ContainerConfig", 0, 45),
    ("/images/busybox/json", "/Config/Hostname", 0, 50),
    ("/images/busybox/json", "/Config/Env", 0, 52),
    ("/images/busybox/json", "/Author", 0, 52),
    ("/images/busybox/json", "/Id", 0, 99),
    ("/images/json", "/0/VirtualSize", 0, 44),
    ("/info", "/FirewallBackend/Driver", 49, 99),
    ("/networks", "/0/Containers", 0, 52),
    ("/networks/net", "/Status/IPAM/Subnets/10.79.4.0~124", 52, 99),
    ("/system/df", "/LayersSize", 0, 53),
    ("/system/df", "/BuilderSize", 0, 42),
    ("/system/df", "/ImageUsage/TotalCount", 52, 99),
    ("/system/df?verbose=1", "/LayersSize", 0, 52),
    ("/containers/box/stats?stream=0&one-shot=1", "/os_type", 52, 99),
    (EVENTS, "/status", 0, 52),
    (EVENTS, "/Action", 0, 99),
];

#[test]
fn versions_have_what_is_theirs() {
    let barge = Barge::new();
    let docker = DockerHost::with_busybox(&barge);
    docker.docker(["network", "create", "--subnet", "10.79.4.0/24", "net"]).ok();
    let line = ["create", "--name=box", "--network=none", "busybox", "true"];
    docker.docker(line).ok();
    let mut wrong = Vec::new();
    for minor in [24, 41, 42, 43, 44, 45, 49, 50, 51, 52, 53, 56] {
        let mut paths: Vec<(&str, Value)> = Vec::new();
        for (path, pointer, since, until) in CHANGES {
            if !paths.iter().any(|(known, _)| known == path) {
                let so_far = docker.events_so_far();
                let asked = if *path == EVENTS { &so_far } else { *path };
                let answer = docker.ask("GET", &format!("/v1.{minor}{asked}"), "");
                let first = serde_json::Deserializer::from_slice(&answer.body).into_iter().next();
                paths.push((path, first.unwrap().unwrap()));
            }
            let (_, answer) = paths.iter().find(|(known, _)| known == path).unwrap();
            let is_there = answer.pointer(pointer).is_some();
            if is_there != (*since..*until).contains(&minor) {
                wrong.push(format!("1.{minor} {path} {pointer}: {is_there}"));
            }
        }
        let counted = &docker.get(&format!("/v1.{minor}/images/json"))[0]["Containers"];
        assert_eq!(*counted, json!(if minor < 51 { -1 } else { 1 }), "1.{minor}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // Who follows events may choose how they are told apart.
    for (version, accept, kind, mark) in [
        ("1.56", "application/jsonl", "application/jsonl", b'{'),
        ("1.52", "application/jsonl", "application/json", b'{'),
        ("1.52", "application/json-seq;q=1", "application/json-seq", 0x1e),
        ("1.51", "application/json-seq", "application/json", b'{'),
        ("1.56", "text/html, application/x-ndjson", "application/x-ndjson", b'{'),
    ] {
        let path = format!("/v{version}{}", docker.events_so_far());
        let answer = docker.send("GET", &path, &format!("Accept: {accept}\r\n"), b"");
        let field = format!("content-type: {kind}\r\n");
        assert!(format!("{}\r\n", answer.head).contains(&field), "{}", answer.head);
        assert_eq!(answer.body[0], mark, "{version} {accept}");
    }
}
