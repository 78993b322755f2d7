//! `build --output`: files, archives, lists and registries.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use serde_json::Value;

use super::build::context;
use super::support::docker::DockerHost;
use super::support::layout::{architecture, digest, hex};
use super::support::registry::Registry;
use super::support::{Barge, tool};

const TREE: &str = "FROM busybox AS a\n\
    RUN mkdir /d /d/s; echo hi >/d/f; ln /d/f /d/g; ln -s f /d/l; chmod 750 /d/s; chown 7:8 /d/f; chmod 4711 /d/f\n\
    FROM scratch\nCOPY --from=a /d /d\nCOPY top /\n";

fn other() -> &'static str {
    if architecture() == "arm64" { "linux/riscv64" } else { "linux/arm64" }
}

#[test]
fn build_gives_files_away() {
    let barge = Barge::with_busybox();
    let dir = context(&barge, &[("Dockerfile", TREE), ("top", "t\n")]);
    let out = barge.path("out");
    let build = |args: &[&str]| {
        let line = [&["build", "--network=none"], args, &[dir.as_str()]].concat();
        barge.run(line).ok()
    };
    fs::create_dir(&out).unwrap();
    fs::write(out.join("mine"), "stays").unwrap();
    fs::write(out.join("top"), "goes").unwrap();
    build(&["-o", &out.display().to_string()]);
    assert_eq!(fs::read_to_string(out.join("mine")).unwrap(), "stays");
    assert_eq!(fs::read_to_string(out.join("top")).unwrap(), "t\n");
    let own = fs::metadata(out.join("mine")).unwrap();
    let file = fs::metadata(out.join("d/f")).unwrap();
    // They belong to who asks, and have two names as in the image.
    assert_eq!((file.uid(), file.gid(), file.nlink()), (own.uid(), own.gid(), 2));
    assert_eq!(file.ino(), fs::metadata(out.join("d/g")).unwrap().ino());
    assert_eq!(fs::read_link(out.join("d/l")).unwrap().to_string_lossy(), "f");
    let mode = fs::metadata(out.join("d/s")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o750);

    let tar = barge.path_text("files.tar");
    for output in [build(&["-o", "-"]), build(&["-q", "-o", "type=tar"])] {
        fs::write(&tar, &output.stdout).unwrap();
        let listed = tool("tar", ["--numeric-owner", "-tvf", &tar]);
        let has = |owner: &str, name: &str| {
            listed.lines().any(|line| line.contains(owner) && line.contains(name))
        };
        assert!(has("7/8", "d/f") && has("0/0", "top") && has("d/g", "link to"), "{listed}");
    }
    build(&["-o", &format!("type=tar,dest={tar}")]);
    assert!(tool("tar", ["-tf", &tar]).contains("d/f"));
    // Nobody has asked for an image.
    barge.run(["images", "-aq", "--filter", "reference=x"]).ok().stdout("");
    assert_eq!(barge.run(["images", "-aq"]).ok().lines().len(), 1);
    let line = ["build", "-o", "type=local,dest=-", &dir];
    barge.run(line).fails(125).stderr_has("go to a directory");
    barge.run(["build", "-o", "type=x", &dir]).fails(125).stderr_has("unknown type `x`");
}

#[test]
fn build_gives_archives_away() {
    let barge = Barge::with_busybox();
    let dir = context(&barge, &[("Dockerfile", TREE), ("top", "t\n")]);
    let (oci, docker, facts) =
        (barge.path_text("oci.tar"), barge.path_text("docker.tar"), barge.path_text("facts"));
    let build = |output: &str| {
        let line =
            ["build", "--network=none", "-t", "x", "--metadata-file", &facts, "-o", output, &dir];
        barge.run(line).ok();
        serde_json::from_slice::<Value>(&fs::read(&facts).unwrap()).unwrap()
    };
    let said = build(&format!("type=oci,dest={oci},annotation.a.b=c"));
    let manifest = tool("skopeo", ["inspect", "--raw", &format!("oci-archive:{oci}")]);
    let digest = said["containerimage.digest"].as_str().unwrap();
    assert_eq!(digest, super::support::layout::digest(manifest.as_bytes()));
    let manifest: Value = serde_json::from_str(&manifest).unwrap();
    assert_eq!(manifest["config"]["digest"], said["containerimage.config.digest"]);
    assert_eq!(manifest["annotations"]["a.b"], "c");
    assert_eq!(said["image.name"], "localhost/x:latest");
    assert_eq!(said["containerimage.descriptor"]["digest"], digest);
    let layers = manifest["layers"].as_array().unwrap();
    assert!(layers.iter().all(|it| it["mediaType"].as_str().unwrap().ends_with("tar+gzip")));

    let said = build(&format!("type=docker,dest={docker}"));
    let loaded = Barge::new();
    loaded.run(["load", "-q", "-i", &docker]).ok();
    let id = loaded.inspect("localhost/x", "{{.Id}}");
    assert!(said["containerimage.config.digest"].as_str().unwrap().ends_with(&id));
    let layout = barge.path_text("layout");
    build(&format!("type=oci,dest={layout},tar=false,compression=zstd,name=other:1"));
    let index: Value =
        serde_json::from_slice(&fs::read(barge.path("layout/index.json")).unwrap()).unwrap();
    let name = &index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"];
    assert_eq!(name, "localhost/other:1");
    let manifest = tool("skopeo", ["inspect", "--raw", &format!("oci:{layout}")]);
    assert!(manifest.contains("tar+zstd"), "{manifest}");
}

#[test]
fn build_pushes_what_it_has_made() {
    let barge = Barge::with_busybox();
    let registry = Registry::empty(barge.place());
    let dir = context(&barge, &[("Dockerfile", TREE), ("top", "t\n")]);
    let name = registry.reference("made:1");
    let facts = barge.path_text("facts");
    let line = [
        "build",
        "--network=none",
        "-t",
        &name,
        "--push",
        "--tls-verify=false",
        "--annotation",
        "k=v",
        "--metadata-file",
        &facts,
        &dir,
    ];
    barge.run(line).ok();
    let said: Value = serde_json::from_slice(&fs::read(&facts).unwrap()).unwrap();
    let there = barge.run(["manifest", "inspect", "--tls-verify=false", &name]).exits(0).json();
    assert_eq!(there["annotations"]["k"], "v", "{there}");
    // What is annotated is compressed all the same.
    for layer in there["layers"].as_array().unwrap() {
        assert!(layer["mediaType"].as_str().unwrap().ends_with("gzip"), "{there}");
    }
    assert_eq!(said["image.name"], name.as_str());
    barge.run(["rmi", &name]).ok();
    let pulled = barge.run(["pull", "-q", "--tls-verify=false", &name]).ok().text();
    assert!(said["containerimage.config.digest"].as_str().unwrap().ends_with(&pulled));
    barge.run(["build", "--push", &dir]).exits(125).stderr_has("no name to be pushed under");
}

#[test]
fn build_makes_lists_for_several_platforms() {
    let barge = Barge::new();
    let registry = Registry::empty(barge.place());
    let file = "FROM scratch\nARG TARGETPLATFORM\nLABEL on=$TARGETPLATFORM\nCOPY top /\n";
    let dir = context(&barge, &[("Dockerfile", file), ("top", "t\n")]);
    let host = format!("linux/{}", architecture());
    let platforms = format!("{host},{}", other());
    let name = registry.reference("all:1");
    let id = barge.path_text("id");
    let build = |args: &[&str]| {
        let start = ["build", "--platform", platforms.as_str(), "--tls-verify=false"];
        barge.run([&start[..], args, &[dir.as_str()]].concat())
    };
    build(&["-t", &name, "--push", "--iidfile", &id]).ok();
    let list = barge.run(["manifest", "inspect", &name]).ok().json();
    let members = list["manifests"].as_array().unwrap();
    let on: Vec<String> = members
        .iter()
        .map(|it| format!("linux/{}", it["platform"]["architecture"].as_str().unwrap()))
        .collect();
    assert_eq!(on, [host.as_str(), other()]);
    assert!(fs::read_to_string(&id).unwrap().starts_with("sha256:"));
    let remote = Barge::at(barge.place().clone());
    for platform in [host.as_str(), other()] {
        let line = ["pull", "-q", "--tls-verify=false", "--platform", platform, &name];
        let image = remote.run(line).ok().text();
        assert_eq!(remote.inspect(&image, "{{index .Config.Labels \"on\"}}"), platform);
    }
    // The same again replaces the list.
    build(&["-t", &name]).ok();
    let lists = barge.run(["images", "-q", "--filter", &format!("reference={name}")]).ok();
    assert_eq!(lists.lines().len(), 1, "{}", lists.story());
    // As a layout, and as files.
    let layout = barge.path_text("layout.tar");
    build(&["-o", &format!("type=oci,dest={layout}")]).ok();
    let index = tool("tar", ["-xOf", &layout, "index.json"]);
    assert!(index.contains("image.index"), "{index}");
    for platform in [host.as_str(), other()] {
        let architecture = platform.strip_prefix("linux/").unwrap();
        let source = format!("oci-archive:{layout}");
        let config =
            tool("skopeo", ["--override-arch", architecture, "inspect", "--config", &source]);
        let config: Value = serde_json::from_str(&config).unwrap();
        assert_eq!(config["config"]["Labels"]["on"], platform);
    }
    let out = barge.path_text("out");
    build(&["-o", &out]).ok();
    for platform in [host.as_str(), other()] {
        let file = barge.path("out").join(platform.replace('/', "_")).join("top");
        assert_eq!(fs::read_to_string(file).unwrap(), "t\n");
    }
    build(&["-o", &format!("type=docker,dest={layout}")])
        .exits(125)
        .stderr_has("need a layout of OCI");
    barge.run(["build", "-q", "--manifest", "added", &dir]).ok();
    let list = barge.run(["manifest", "inspect", "added"]).ok().json();
    assert_eq!(list["manifests"].as_array().unwrap().len(), 1);
}

#[test]
fn build_says_what_it_cannot_run() {
    let barge = Barge::new();
    let file = "FROM scratch\nCOPY Dockerfile /bin/sh\nRUN true\n";
    let dir = context(&barge, &[("Dockerfile", file)]);
    let output = barge.run(["build", "--network=none", "--platform", "linux/s390x", &dir]);
    // Where an interpreter is registered it fails as there is no such program.
    if output.exits(125).errors().contains("no interpreter") {
        let line = ["build", "--network=none", "--platform", "linux/s390x", &dir];
        barge.run(line).exits(125).hint_has("qemu-user-static");
    }
}

#[test]
fn build_carries_its_cache_elsewhere() {
    let barge = Barge::with_busybox();
    let registry = Registry::empty(barge.place());
    let file = "FROM busybox AS a\nRUN echo a >/a; head -c9 /dev/urandom >/r\nFROM busybox\nCOPY --from=a /a /a\nRUN cat /a >/b\n";
    let dir = context(&barge, &[("Dockerfile", file)]);
    let build = |barge: &Barge, args: &[&str]| {
        let start = ["build", "--network=none", "--tls-verify=false"];
        let lines = barge.run([&start[..], args, &[dir.as_str()]].concat()).ok().lines();
        lines.iter().filter(|line| line.starts_with("--> Using cache")).count()
    };
    let local = barge.path_text("cache");
    let to = registry.reference("cache:1");
    let inline = registry.reference("made:1");
    let args = [
        "--cache-to",
        &format!("type=local,dest={local},mode=max"),
        "--cache-to",
        &format!("type=registry,ref={to}"),
        "--cache-to",
        "type=inline",
        "-t",
        &inline,
        "--push",
    ];
    assert_eq!(build(&barge, &args), 0);
    let images = barge.run(["images", "-aq"]).ok().lines().len();
    for (from, count) in [
        (format!("type=local,src={local}"), 3),
        // Of what is kept by itself only the steps of the result.
        (format!("type=registry,ref={to}"), 2),
        (inline.clone(), 2),
    ] {
        let other = Barge::at(barge.place().clone());
        other.import_busybox();
        let found = build(&other, &["--cache-from", &from]);
        // The first stage is made anew, and what is taken from it is the same.
        assert_eq!(found, count, "{from}");
        let known = other.run(["images", "-aq"]).ok().lines().len();
        assert_eq!(known, 2, "{from}");
        // What it took can be given away, although the cache's own image is gone.
        let saved = other.path_text("saved.tar");
        other
            .command(["save", "-q", "-o", &saved, &other.run(["images", "-q"]).ok().lines()[0]])
            .run()
            .ok();
    }
    assert_eq!(images, 2);
    let line = ["build", "--network=none", "--cache-from", "type=local,src=/no/such", &dir];
    barge.run(line).exits(0).stderr_has("cannot take build cache from");
    barge.run(["build", "--cache-to", "type=gha", &dir]).fails(125).stderr_has("registry, local");
}

#[test]
fn build_tells_where_an_image_comes_from() {
    let barge = Barge::with_busybox();
    let registry = Registry::empty(barge.place());
    let file = "FROM busybox\nARG V\nRUN mkdir -p /var/lib/dpkg; printf 'Package: p\\nStatus: install ok installed\\nVersion: 1:2\\nArchitecture: all\\n' >/var/lib/dpkg/status; printf 'ID=debian\\nVERSION_ID=12\\n' >/etc/os-release\n";
    let dir = context(&barge, &[("Dockerfile", file)]);
    let name = registry.reference("told:1");
    let line = [
        "build",
        "--network=none",
        "--tls-verify=false",
        "-t",
        &name,
        "--push",
        "--sbom",
        "--provenance=mode=max",
        "--build-arg",
        "V=given",
        &dir,
    ];
    barge.run(line).ok();
    let raw = |reference: &str| -> Value {
        let source = format!("docker://{reference}");
        let line = ["inspect", "--tls-verify=false", "--raw", &source];
        barge.other_command("skopeo", line).run().ok().json()
    };
    let index = raw(&name);
    let [image, told] = index["manifests"].as_array().unwrap().as_slice() else {
        panic!("{index}");
    };
    assert_eq!(told["annotations"]["vnd.docker.reference.digest"], image["digest"]);
    assert_eq!(told["annotations"]["vnd.docker.reference.type"], "attestation-manifest");
    assert_eq!(told["platform"]["os"], "unknown");
    let repository = registry.reference("told");
    let manifest = raw(&format!("{repository}@{}", told["digest"].as_str().unwrap()));
    let copied = barge.path_text("told");
    let source = format!("docker://{repository}@{}", told["digest"].as_str().unwrap());
    let target = format!("dir:{copied}");
    let line = ["--insecure-policy", "copy", "-q", "--src-tls-verify=false", &source, &target];
    barge.other_command("skopeo", line).run().ok();
    let statement = |number: usize| -> Value {
        let layer = &manifest["layers"][number];
        assert_eq!(layer["mediaType"], "application/vnd.in-toto+json");
        let file = layer["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
        serde_json::from_slice(&fs::read(barge.path("told").join(file)).unwrap()).unwrap()
    };
    let about = image["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
    let (sbom, provenance) = (statement(0), statement(1));
    for one in [&sbom, &provenance] {
        assert_eq!(one["subject"][0]["digest"]["sha256"], about, "{one}");
    }
    let package = &sbom["predicate"]["packages"][0];
    assert_eq!(package["name"], "p");
    let address = "pkg:deb/debian/p@1%3A2?arch=all&distro=debian-12";
    assert_eq!(package["externalRefs"][0]["referenceLocator"], address);
    let definition = &provenance["predicate"]["buildDefinition"];
    let args = &definition["externalParameters"]["request"]["args"];
    assert_eq!(args["build-arg:V"], "given");
    let base = definition["resolvedDependencies"][0]["uri"].as_str().unwrap();
    assert!(base.starts_with("pkg:docker/localhost/busybox@latest"), "{base}");
    // It runs like any other.
    barge.run(["run", "--rm", "--network=none", &name, "cat", "/etc/os-release"]).ok();
    // And the service tells the same, of the name and of the image.
    let docker = DockerHost::start(&barge);
    let id = barge.run(["images", "-q", "--no-trunc", "--filter=dangling=true"]).ok().text();
    for image in [name.as_str(), id.as_str()] {
        let path = format!("/images/{image}/attestations");
        let listed = docker.get(&path);
        assert_eq!(listed.as_array().map(Vec::len), Some(2), "{image}: {listed}");
        assert!(listed[0].get("Statement").is_none(), "{listed}");
        assert_eq!(listed[0]["Descriptor"]["mediaType"], "application/vnd.in-toto+json");
        let kind = provenance["predicateType"].as_str().unwrap();
        let platform = "%7B%22os%22:%22linux%22,%22architecture%22:%22amd64%22%7D";
        let one = docker.get(&format!("{path}?statement=1&type={kind}&platform={platform}"));
        assert_eq!(one[0]["Statement"], provenance);
        assert_eq!((&one[0]["PredicateType"], &one[1]), (&Value::from(kind), &Value::Null));
    }
    let none = docker.get("/images/localhost%2Fbusybox/attestations");
    assert_eq!(none, Value::Array(Vec::new()));
    let path = format!("/images/{name}/attestations?platform=nonsense%2F%2F");
    assert_eq!(docker.ask("GET", &path, "").status, 400);
    let path = format!("/images/{name}/attestations?platform=linux%2Fs390x");
    assert_eq!(docker.ask("GET", &path, "").status, 404);
}

#[test]
fn build_goes_on_with_caches_of_others() {
    let barge = Barge::with_busybox();
    let dir = context(&barge, &[("Dockerfile", "FROM busybox\nRUN echo made\n")]);
    let from = barge.path("of-buildkit");
    fs::create_dir_all(from.join("blobs/sha256")).unwrap();
    fs::write(from.join("oci-layout"), "{\"imageLayoutVersion\":\"1.0.0\"}").unwrap();
    let blob = |kind: &str, content: &str| {
        let name = digest(content.as_bytes());
        fs::write(from.join("blobs/sha256").join(hex(&name)), content).unwrap();
        serde_json::json!({ "mediaType": kind, "digest": name, "size": content.len() })
    };
    let layer = blob("application/vnd.oci.image.layer.v1.tar", "");
    let config = blob("application/vnd.buildkit.cacheconfig.v0", "{\"layers\":[],\"records\":[]}");
    let (index, image) =
        ("application/vnd.oci.image.index.v1+json", "application/vnd.oci.image.manifest.v1+json");
    // It has been both, at different times.
    for (kind, document) in [
        (index, serde_json::json!({ "schemaVersion": 2, "manifests": [layer, config] })),
        (image, serde_json::json!({ "schemaVersion": 2, "config": config, "layers": [layer] })),
    ] {
        let manifests = [blob(kind, &document.to_string())];
        let list = serde_json::json!({ "schemaVersion": 2, "manifests": manifests });
        fs::write(from.join("index.json"), list.to_string()).unwrap();
        let source = format!("type=local,src={}", from.display());
        let begin = ["build", "--network=none", "--timestamp=0", "--no-cache"];
        let line = begin.iter().copied().chain(["--cache-from", &source, &dir]);
        let output = barge.run(line).exits(0).stdout_has("made\n");
        output.stderr_has("this is no container image, but a build cache of BuildKit");
    }
    // Nothing is left of it.
    assert_eq!(barge.run(["images", "-aq"]).ok().lines().len(), 2);
}
