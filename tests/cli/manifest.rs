//! `barge manifest`: lists are made, changed, pushed, and taken apart by others.

use serde_json::{Value, json};

use super::support::Barge;
use super::support::layout::{self, Layout, Packing, Tar, architecture};
use super::support::registry::Registry;

/// Returns a manifest of a registry byte for byte, as skopeo gets it.
fn raw(barge: &Barge, name: &str) -> Vec<u8> {
    let line = ["inspect", "--raw", "--tls-verify=false", &format!("docker://{name}")];
    barge.other_command("skopeo", line).run().ok().stdout.clone()
}

/// Returns what a list of the store contains.
fn inspect(barge: &Barge, list: &str) -> Value {
    barge.run(["manifest", "inspect", list]).ok().json()
}

fn other_architecture() -> &'static str {
    if architecture() == "arm64" { "amd64" } else { "arm64" }
}

/// Returns the members of a list by their processors.
fn digest_for(list: &Value, architecture: &str) -> String {
    let members = list["manifests"].as_array().unwrap();
    let member = members.iter().find(|it| it["platform"]["architecture"] == architecture);
    let digest = member.unwrap_or_else(|| panic!("no {architecture} in {list}"))["digest"].as_str();
    digest.unwrap().to_owned()
}

#[test]
fn a_list_is_made_changed_and_removed() {
    let barge = Barge::new();
    let registry = Registry::start(barge.place());
    let (own, many) = (registry.reference("box:1"), registry.reference("box:many"));
    let id = barge.run(["manifest", "create", "all"]).ok().text();
    assert!(super::support::barge::is_full_id(&id), "{id}");
    barge
        .run(["manifest", "create", "all"])
        .fails(125)
        .error_has(&format!("\"localhost/all:latest\" is already associated with image \"{id}\""))
        .hint_has("--amend");
    let empty = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [],
    });
    assert_eq!(inspect(&barge, "all"), empty);
    barge.run(["manifest", "add", "--all", "all", &many]).ok().stdout(&format!("{id}\n"));
    barge.run(["manifest", "create", "--amend", "all", &own]).ok().stdout(&format!("{id}\n"));
    let list = inspect(&barge, "all");
    assert_eq!(list["manifests"].as_array().unwrap().len(), 2, "the same image is there once");
    let foreign = digest_for(&list, other_architecture());

    let annotated = [
        "--arch=riscv64",
        "--os=plan9",
        "--os-version=4",
        "--os-features=a,b",
        "--features=c",
        "--variant=v9",
        "--annotation=one=1",
        "--annotation=two=2=2",
    ];
    let line = ["manifest", "annotate", "all", &foreign];
    barge.run(line.into_iter().chain(annotated)).ok().stdout(&format!("{id}\n"));
    let named = format!("docker://{own}");
    barge.run(["manifest", "annotate", "--variant=v2", "all", &named]).ok();
    barge.run(["manifest", "annotate", "--index", "--annotation=x=y", "all"]).ok();
    let list = inspect(&barge, "all");
    let members = list["manifests"].as_array().unwrap();
    let member = members.iter().find(|it| it["digest"] == foreign.as_str()).unwrap();
    assert_eq!(
        member["platform"],
        json!({
            "architecture": "riscv64", "os": "plan9", "os.version": "4",
            "os.features": ["a", "b"], "variant": "v9", "features": ["c"],
        })
    );
    assert_eq!(member["annotations"], json!({ "one": "1", "two": "2=2" }));
    let own_digest = digest_for(&list, architecture());
    let member = members.iter().find(|it| it["digest"] == own_digest.as_str()).unwrap();
    assert_eq!(member["platform"]["variant"], "v2");
    assert_eq!(list["annotations"], json!({ "x": "y" }));

    barge.run(["manifest", "remove", "all", &foreign]).ok().stdout(&format!("{id}\n"));
    barge.run(["manifest", "remove", "all", &foreign]).fails(125).error_has(&foreign);
    assert_eq!(inspect(&barge, "all")["manifests"].as_array().unwrap().len(), 1);
    barge
        .run(["manifest", "rm", "all"])
        .ok()
        .stdout(&format!("Untagged: localhost/all:latest\nDeleted: {id}\n"));
    barge.run(["manifest", "rm", "all"]).fails(1).error("all: image not known");
    barge.run(["manifest", "rm", "--ignore", "all"]).ok().stdout("");
    barge.run(["manifest", "exists", "all"]).exits(1);
}

#[test]
fn its_name_is_an_images_name() {
    let barge = Barge::new();
    let registry = Registry::start(barge.place());
    let own = registry.reference("box:1");
    barge.run(["pull", "-q", &own]).ok();
    let id = barge.run(["manifest", "create", "all", &own]).ok().text();
    barge.run(["manifest", "create", &own]).fails(125).error_has("already associated");
    let amended = barge.run(["manifest", "create", "--amend", &own]).fails(125);
    amended.error_has("already associated");
    barge.run(["manifest", "add", &own, "all"]).fails(125).error_has("is not a manifest list");
    barge.run(["manifest", "rm", &own]).fails(125).error_has("is not a manifest list");
    barge.run(["manifest", "exists", &own]).exits(1);
    barge.run(["manifest", "exists", "all"]).ok();
    barge.run(["image", "exists", "all"]).ok();
    let listed = barge.run(["images", "--no-trunc", "--format", "{{.Repository}} {{.ID}}"]).ok();
    assert!(listed.text().contains(&format!("localhost/all sha256:{id}")), "{}", listed.text());
    barge.run(["tag", "all", "other:2"]).ok();
    barge.run(["manifest", "exists", "other:2"]).ok();
    barge.run(["rmi", "other:2"]).ok().stdout("Untagged: localhost/other:2\n");
    // A name goes to who takes it.
    barge.run(["tag", &own, "all"]).ok();
    barge.run(["manifest", "exists", "all"]).exits(1);
    barge.run(["manifest", "exists", &id[..12]]).ok();
    barge.run(["rmi", &id]).ok().stdout(&format!("Deleted: {id}\n"));
    for (line, wanted) in [
        (["manifest", "create", "Bad"], "lowercase"),
        (["manifest", "create", "a@b"], "digest"),
        (["manifest", "inspect", "-bad"], "unknown"),
    ] {
        barge.run(line).fails(125).error_has(wanted);
    }
}

#[test]
fn what_it_refers_to_stays_as_long_as_it_does() {
    let barge = Barge::new();
    let registry = Registry::start(barge.place());
    let own = registry.reference("box:1");
    barge.run(["images"]).ok();
    let before = barge.files();
    barge.run(["pull", "-q", &own]).ok();
    barge.run(["manifest", "create", "all", &own]).ok();
    let with_image = inspect(&barge, "all");
    drop(registry);
    barge.run(["rmi", &own]).ok();
    assert_eq!(inspect(&barge, "all"), with_image);
    let run = ["run", "--rm", "--network=none", "--pull=never", "all"];
    barge.run(run).ok().stdout("hello from a layer\n");
    barge.run(["rmi", "-a"]).ok();
    barge.run(["images", "-q"]).ok().stdout("");
    // All that is left is what every store has, once it was written to.
    let mut left = barge.files();
    left.retain(|path| !before.contains(path));
    let empty = ["lists", "images.lock"].map(|name| barge.root().join(name));
    left.retain(|path| !empty.contains(path));
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn run_chooses_the_image_for_this_machine() {
    let barge = Barge::new();
    let registry = Registry::start(barge.place());
    let many = registry.reference("box:many");
    barge.run(["manifest", "create", "--all", "all", &many]).ok();
    barge
        .run(["run", "--rm", "--network=none", "--pull=never", "all"])
        .fails(125)
        .error_has("is not here")
        .hint_has("pull");
    let first = barge.run(["run", "--rm", "--network=none", "all"]).exits(0);
    assert_eq!(first.text(), "hello from a layer");
    let other = format!("linux/{}", other_architecture());
    let line = ["create", "--network=none", "--platform", &other, "all"];
    let container = barge.run(line).exits(0).text();
    let image = barge.run(["inspect", "--format", "{{.Image}}", &container]).ok().text();
    let line = ["image", "inspect", "--format", "{{.Architecture}}", &image];
    barge.run(line).ok().stdout(&format!("{}\n", other_architecture()));
    drop(registry);
    barge.run(["run", "--rm", "--network=none", "all"]).ok().stdout("hello from a layer\n");
    let line = ["run", "--rm", "--network=none", "--platform=linux/s390x", "all"];
    barge.run(line).fails(125).error_has("linux/s390x").hint_has("linux/amd64");
}

#[test]
fn several_add_at_once_and_nothing_is_lost() {
    let barge = Barge::new();
    let registry = Registry::start(barge.place());
    barge.run(["manifest", "create", "all"]).ok();
    let tags = ["1", "zstd", "docker", "foreign"];
    let adding: Vec<_> = tags
        .iter()
        .map(|tag| {
            let name = registry.reference(&format!("box:{tag}"));
            barge.command(["manifest", "add", "--all", "all", &name]).spawn()
        })
        .collect();
    for running in adding {
        running.wait().ok();
    }
    assert_eq!(inspect(&barge, "all")["manifests"].as_array().unwrap().len(), tags.len());
    let missing = registry.reference("box:nosuch");
    let before = inspect(&barge, "all");
    let line = ["manifest", "add", "all", &registry.reference("box:1"), &missing];
    barge.run(line).fails(125).error_has(&missing);
    assert_eq!(inspect(&barge, "all"), before, "all or nothing");
    barge.run(["manifest", "create", "new", &missing]).fails(125);
    barge.run(["manifest", "exists", "new"]).exits(1);
}

#[test]
fn a_pushed_list_is_what_others_take_apart() {
    let barge = Barge::new();
    let (from, to) = (Registry::start(barge.place()), Registry::empty(barge.place()));
    let (own, foreign) = (from.reference("box:1"), from.reference("box:foreign"));
    barge.run(["pull", "-q", &own]).ok();
    barge.run(["manifest", "create", "--all", "all", &own, &foreign]).ok();
    let target = to.reference("copy:all");
    let file = barge.path_text("digest");
    let line = ["manifest", "push", "--digestfile", &file, "all", &target];
    let output = barge.run(line).exits(0);
    let sent = raw(&barge, &target);
    let digest = layout::digest(&sent);
    assert_eq!(output.text(), digest);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), digest);
    let list: Value = serde_json::from_slice(&sent).unwrap();
    assert_eq!(list, inspect(&barge, "all"));
    for architecture in [architecture(), other_architecture()] {
        // The same bytes as at their source.
        let member = digest_for(&list, architecture);
        let [here, there] = ["copy", "box"].map(|name| {
            let registry = if name == "copy" { &to } else { &from };
            raw(&barge, &registry.reference(&format!("{name}@{member}")))
        });
        assert_eq!(here, there);
        let directory = format!("dir:{}", barge.path_text(architecture));
        let source = format!("docker://{target}");
        let line = [
            "--insecure-policy",
            "--override-arch",
            architecture,
            "copy",
            "-q",
            "--src-tls-verify=false",
            &source,
            &directory,
        ];
        barge.other_command("skopeo", line).run().ok();
        let manifest = std::fs::read(barge.path(architecture).join("manifest.json")).unwrap();
        assert_eq!(manifest, here);
        let manifest: Value = serde_json::from_slice(&manifest).unwrap();
        let config = manifest["config"]["digest"].as_str().unwrap();
        let config = std::fs::read(barge.path(architecture).join(layout::hex(config))).unwrap();
        let config: Value = serde_json::from_slice(&config).unwrap();
        assert_eq!(config["architecture"], architecture);
    }
    let again = barge.run(line).exits(0);
    assert!(again.errors().contains("skipped: already exists"), "{}", again.errors());
    assert!(!again.errors().contains("Copying blob sha256:") || again.errors().contains("skipped"));
    let other = Barge::at(barge.place().clone());
    other.run(["run", "--rm", "--network=none", &target]).exits(0).stdout("hello from a layer\n");
    // Without its images it goes only where they are.
    let bare = to.reference("bare:all");
    barge.run(["manifest", "push", "-q", "--all=false", "all", &bare]).fails(125).hint_has("--all");
    let line = ["manifest", "push", "-q", "--all=false", "--rm", "all", &to.reference("copy:2")];
    barge.run(line).ok().stdout(&format!("{digest}\n"));
    barge.run(["manifest", "exists", "all"]).exits(1);
    barge.leaves_nothing();
}

#[test]
fn members_come_from_where_they_are() {
    let barge = Barge::new();
    let registry = Registry::empty(barge.place());
    let from = Registry::start(barge.place());
    barge.run(["manifest", "create", "--all", "all", &from.reference("box:many")]).ok();
    // From another registry; then from another repository of the same one.
    let first = registry.reference("first:all");
    barge.run(["manifest", "push", "-q", "all", &first]).ok();
    drop(from);
    barge.run(["manifest", "create", "--all", "again", &first]).ok();
    let second = registry.reference("deep/er/second:all");
    let output = barge.run(["manifest", "push", "again", &second]).exits(0);
    let copied = |line: &&str| line.starts_with("Copying blob") && !line.contains("skipped");
    let errors = output.errors();
    assert_eq!(errors.lines().find(copied), None, "blobs are taken over");
    assert_eq!(raw(&barge, &first), raw(&barge, &second));
    let other = Barge::at(barge.place().clone());
    other.run(["run", "--rm", "--network=none", &second]).exits(0).stdout("hello from a layer\n");
    // A source that is gone is named, and nothing is left of the try.
    let fails = barge.run(["manifest", "push", "-q", "all", &registry.reference("third:all")]);
    fails.fails(125).error_has("cannot copy image");
    barge.leaves_nothing();
}

#[test]
fn a_list_goes_out_in_other_words() {
    let barge = Barge::new();
    let (from, to) = (Registry::start(barge.place()), Registry::empty(barge.place()));
    let names = [from.reference("box:1"), from.reference("box:foreign")];
    barge.run(["manifest", "create", "--all", "all", &names[0], &names[1]]).ok();
    let target = to.reference("copy:docker");
    barge.run(["manifest", "push", "-q", "--format=v2s2", "all", &target]).ok();
    let list: Value = serde_json::from_slice(&raw(&barge, &target)).unwrap();
    assert_eq!(list["mediaType"], "application/vnd.docker.distribution.manifest.list.v2+json");
    let member = digest_for(&list, architecture());
    let manifest = raw(&barge, &to.reference(&format!("copy@{member}")));
    assert_eq!(layout::digest(&manifest), member);
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!(manifest["mediaType"], "application/vnd.docker.distribution.manifest.v2+json");
    let other = Barge::at(barge.place().clone());
    other.run(["run", "--rm", "--network=none", &target]).exits(0).stdout("hello from a layer\n");
    barge.run(["manifest", "create", "zstd", &from.reference("box:zstd")]).ok();
    let line = ["manifest", "push", "-q", "--format=v2s2", "zstd", &to.reference("copy:zstd")];
    barge.run(line).fails(125).error_has("no Docker word").hint_has("--format");
}

#[test]
fn lists_of_others_are_read() {
    let barge = Barge::new();
    let (from, to) = (Registry::start(barge.place()), Registry::empty(barge.place()));
    let many = from.reference("box:many");
    let theirs: Value = serde_json::from_slice(&raw(&barge, &many)).unwrap();
    assert_eq!(inspect(&barge, &many), theirs);
    assert_eq!(inspect(&barge, &format!("docker://{many}")), theirs);
    let single = barge.run(["manifest", "inspect", &from.reference("box:1")]).exits(0);
    assert!(single.errors().contains("is not a manifest list but a single image"));
    barge.run(["manifest", "inspect", "localhost:1/none"]).fails(125).error_has("localhost:1");
    barge.run(["manifest", "create", "--all", "copy", &many]).ok();
    // The plain verb pushes a list as well.
    let target = to.reference("copy:1");
    barge.run(["push", "-q", "copy", &target]).ok();
    let pushed: Value = serde_json::from_slice(&raw(&barge, &target)).unwrap();
    assert_eq!(pushed["manifests"], theirs["manifests"]);
}

#[test]
fn a_list_has_artifacts_of_files() {
    let barge = Barge::new();
    let (from, to) = (Registry::start(barge.place()), Registry::empty(barge.place()));
    let own = from.reference("box:1");
    barge.run(["pull", "-q", &own]).ok();
    let file = barge.file("parts.json", "{\"parts\":[]}");
    let config = barge.file("config", "{\"a\":1}");
    let id = barge.run(["manifest", "create", "all", &own]).ok().text();
    let add = ["manifest", "add", "--artifact", "--artifact-type=application/vnd.parts+json"];
    let more = [
        "--artifact-config",
        &config,
        "--artifact-config-type=application/vnd.config+json",
        "--artifact-layer-type=application/json",
        "--artifact-annotation=made=here",
        "--artifact-subject",
        &own,
        "--arch=wasm",
        "--annotation=in=list",
    ];
    let line = add.into_iter().chain(more).chain(["all", &file]);
    barge.run(line).ok().stdout(&format!("{id}\n"));
    barge.run(add.into_iter().chain(["--artifact-exclude-titles", "all", &file])).ok();
    let line = ["manifest", "add", "--artifact-type=a/b", "all", &file];
    barge.run(line).fails(125).error("--artifact-type requires --artifact");
    let list = inspect(&barge, "all");
    let members = list["manifests"].as_array().unwrap();
    assert_eq!(members[1]["artifactType"], "application/vnd.parts+json");
    assert_eq!(members[1]["annotations"], json!({ "in": "list" }));
    assert_eq!(members[1]["platform"]["architecture"], "wasm");
    // What it consists of stays, whatever is collected.
    barge.run(["image", "prune", "-a", "-f"]).ok();
    let target = to.reference("copy:1");
    barge.run(["manifest", "push", "-q", "all", &target]).ok();
    let name =
        |member: &Value| to.reference(&format!("copy@{}", member["digest"].as_str().unwrap()));
    let artifact: Value = serde_json::from_slice(&raw(&barge, &name(&members[1]))).unwrap();
    assert_eq!(artifact["config"]["mediaType"], "application/vnd.config+json");
    assert_eq!(artifact["annotations"], json!({ "made": "here" }));
    assert_eq!(artifact["layers"][0]["mediaType"], "application/json");
    assert_eq!(
        artifact["layers"][0]["annotations"]["org.opencontainers.image.title"],
        "parts.json"
    );
    assert_eq!(artifact["subject"]["digest"], members[0]["digest"]);
    let subject = members[0]["digest"].as_str().unwrap().replace(':', "-");
    let referrers: Value =
        serde_json::from_slice(&raw(&barge, &to.reference(&format!("copy:{subject}")))).unwrap();
    assert_eq!(referrers["manifests"][0]["digest"], members[1]["digest"]);
    let bare: Value = serde_json::from_slice(&raw(&barge, &name(&members[2]))).unwrap();
    assert!(bare["layers"][0].get("annotations").is_none());
    let other = Barge::at(barge.place().clone());
    other.run(["artifact", "pull", "-q", &name(&members[1])]).ok();
    let out = other.path_text("out");
    other.run(["artifact", "extract", &name(&members[1]), &out]).ok();
    assert_eq!(std::fs::read_to_string(&out).unwrap(), "{\"parts\":[]}");
    other.run(["run", "--rm", "--network=none", &target]).exits(0).stdout("hello from a layer\n");
}

#[test]
fn images_without_a_manifest_are_members_too() {
    let barge = Barge::with_busybox();
    let to = Registry::empty(barge.place());
    barge.run(["manifest", "create", "all", "busybox"]).ok();
    let before = inspect(&barge, "all");
    let member = digest_for(&before, architecture());
    barge.run(["manifest", "annotate", "--annotation=a=b", "all", "busybox"]).ok();
    // The list keeps what it needs.
    barge.run(["rmi", "busybox"]).ok();
    let target = to.reference("copy:1");
    barge.run(["manifest", "push", "-q", "all", &target]).ok();
    let list: Value = serde_json::from_slice(&raw(&barge, &target)).unwrap();
    let pushed = digest_for(&list, architecture());
    assert_ne!(pushed, member, "it is compressed on its way");
    assert_eq!(list["manifests"][0]["annotations"], json!({ "a": "b" }));
    let manifest = raw(&barge, &to.reference(&format!("copy@{pushed}")));
    assert_eq!(layout::digest(&manifest), pushed);
    assert_eq!(list["manifests"][0]["size"], manifest.len());
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let kind = "application/vnd.oci.image.layer.v1.tar+gzip";
    assert_eq!(manifest["layers"][0]["mediaType"], kind);
    let line = ["run", "--rm", "--network=none", "--pull=never", "all", "echo", "here"];
    barge.run(line).ok().stdout("here\n");
    let other = Barge::at(barge.place().clone());
    other
        .run(["run", "--rm", "--network=none", &target, "echo", "there"])
        .exits(0)
        .stdout("there\n");
    let line = ["manifest", "create", "own", "builtin/hello"];
    barge.run(line).fails(125);
}

#[test]
fn members_need_no_compressed_blobs() {
    let barge = Barge::with_busybox();
    let (from, to) = (Registry::start(barge.place()), Registry::empty(barge.place()));
    // An image whose layer is a plain tar stream, and one whose blob is not kept: the layer was here.
    let directory = barge.path("layouts");
    let mut files = Vec::new();
    for (name, packing) in [("plain", Packing::Plain), ("gzip", Packing::Gzip)] {
        let mut layout = Layout::new(&directory.join(name));
        let tar = Tar::new().file("hello", 0o644, "hello from a layer\n").bytes();
        let layer = layout.layer(&tar, packing);
        let image = layout.image(&[layer], &json!({ "Labels": { "name": name } }), architecture());
        layout.name(&image, &format!("localhost/{name}:1"));
        files.push((name, image, directory.join(name)));
    }
    for (_, _, layout) in &files {
        barge.run(["load", "-q", "-i", layout.to_str().unwrap()]).ok();
    }
    barge.run(["pull", "-q", &from.reference("box:1")]).ok();
    let pulled = from.reference("box:1");
    let line = ["manifest", "create", "all", "busybox", "plain:1", "gzip:1", &pulled];
    barge.run(line).ok();
    let target = to.reference("copy:all");
    let output = barge.run(["manifest", "push", "all", &target]).exits(0);
    let errors = output.errors();
    let warnings: Vec<&str> = errors.lines().filter(|line| line.starts_with("Warning: ")).collect();
    let gzip = files[1].1["digest"].as_str().unwrap();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].starts_with(&format!("Warning: image {gzip} is sent anew: blob ")));
    let list: Value = serde_json::from_slice(&raw(&barge, &target)).unwrap();
    let sent: Vec<&str> = list["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["digest"].as_str().unwrap())
        .collect();
    assert_eq!(sent.len(), 4);
    let member = |digest: &str| raw(&barge, &to.reference(&format!("copy@{digest}")));
    // Byte for byte if it can be had, compressed again if not.
    assert_eq!(sent[1], files[0].1["digest"]);
    let again: Value = serde_json::from_slice(&member(sent[2])).unwrap();
    assert_eq!(again["config"]["digest"], config_of(&files[1].2, &files[1].1));
    assert_eq!(member(sent[3]), raw(&barge, &pulled));
    for digest in sent {
        let other = Barge::at(barge.place().clone());
        other.run(["pull", "-q", &to.reference(&format!("copy@{digest}"))]).ok();
    }
    barge.leaves_nothing();
}

/// Returns the digest of the configuration of an image of a layout.
fn config_of(layout: &std::path::Path, image: &Value) -> Value {
    let digest = image["digest"].as_str().unwrap();
    let path = layout.join("blobs/sha256").join(layout::hex(digest));
    let manifest: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    manifest["config"]["digest"].clone()
}
