//! Manifests as registries serve them: indexes, odd layers, and what is no image.

use serde_json::{Value, json};

use super::support::layout::{Packing, Tar, architecture, digest, pack};
use super::support::server::{Answer, Parts, Server};
use super::support::{Barge, Output};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

struct Case {
    barge: Barge,
    server: Server,
    before: Vec<std::path::PathBuf>,
}

impl Case {
    fn new() -> Self {
        let barge = Barge::new();
        barge.run(["images"]).ok();
        let server = Server::start(barge.place());
        let before = barge.files();
        Self { barge, server, before }
    }

    fn image(&self) -> Parts {
        self.server.image("odd", &[Tar::new().file("x", 0o644, "x").bytes()])
    }

    fn pull<const N: usize>(&self, options: [&str; N]) -> Output {
        let name = self.server.reference("odd:1");
        let line: Vec<&str> =
            ["pull", "-q"].into_iter().chain(options).chain([name.as_str()]).collect();
        self.barge.run(line)
    }

    /// Pulls what is served; it must fail, and leave nothing.
    #[track_caller]
    fn fails(&self) -> Output {
        let output = self.pull([]).fails(125);
        self.barge.has_files(&self.before, &output.story());
        output
    }

    /// Serves a document under its digest, and returns its descriptor.
    fn serve(&self, kind: &str, document: &Value) -> Value {
        let bytes = document.to_string();
        let digest = digest(bytes.as_bytes());
        let answer = Answer::new(kind, bytes.as_bytes()).header("Docker-Content-Digest", &digest);
        self.server.answer(&format!("/v2/odd/manifests/{digest}"), answer.clone());
        self.server.answer("/v2/odd/manifests/1", answer);
        json!({ "mediaType": kind, "digest": digest, "size": bytes.len() })
    }

    /// Serves an index over these as `odd:1`, and returns its descriptor.
    fn index(&self, manifests: &[Value]) -> Value {
        self.serve(
            INDEX,
            &json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests }),
        )
    }
}

/// Adds a platform to a descriptor.
fn for_platform(descriptor: &Value, architecture: &str, variant: &str) -> Value {
    let mut descriptor = descriptor.clone();
    descriptor["platform"] = json!({ "os": "linux", "architecture": architecture });
    if !variant.is_empty() {
        descriptor["platform"]["variant"] = variant.into();
    }
    descriptor
}

#[test]
fn a_platform_is_chosen() {
    let case = Case::new();
    let served: Vec<Value> = [("arm", "v5"), ("arm", "v7"), ("s390x", "")]
        .iter()
        .map(|(name, variant)| {
            let parts = case.image();
            let config = json!({
                "architecture": name, "variant": variant, "os": "linux", "config": {},
                "rootfs": { "type": "layers", "diff_ids": [layer_id()] },
            });
            let config = config.to_string();
            let mut manifest = parts.manifest;
            manifest["config"]["digest"] = digest(config.as_bytes()).into();
            manifest["config"]["size"] = config.len().into();
            let path = format!("/v2/odd/blobs/{}", digest(config.as_bytes()));
            case.server.answer(&path, Answer::new("application/json", config));
            for_platform(&case.serve(MANIFEST, &manifest), name, variant)
        })
        .collect();
    case.index(&served);
    let variant = |options: &[&str]| {
        let name = case.server.reference("odd:1");
        let line = [&["pull", "-q"], options, &[name.as_str()]].concat();
        let id = case.barge.run(line).ok().text();
        let template = "{{.Architecture}}/{{.Variant}}";
        let shown = case.barge.run(["image", "inspect", "--format", template, &id]).ok().text();
        case.barge.run(["rmi", &id]).ok();
        shown
    };
    for (options, want) in [
        (["--platform", "linux/arm/v7"].as_slice(), "arm/v7"),
        (&["--platform", "linux/arm"], "arm/v7"),
        (&["--arch", "arm"], "arm/v7"),
        (&["--arch=arm", "--variant=v6"], "arm/v5"),
        (&["--platform", "linux/arm/v5"], "arm/v5"),
        (&["--os=linux", "--arch=s390x"], "s390x/"),
    ] {
        assert_eq!(variant(options), want, "{options:?}");
    }
    let output = case.fails().error_has("there is no image for platform");
    output.hint_has("linux/arm/v5, linux/arm/v7, linux/s390x");
    let both = case.pull(["--platform=linux/arm", "--arch=arm"]).fails(125);
    both.error_has("can not be specified with --arch");
}

/// Returns the diff ID of the layer of [`Case::image`].
fn layer_id() -> String {
    digest(&Tar::new().file("x", 0o644, "x").bytes())
}

#[test]
fn an_index_may_lead_to_an_index() {
    let case = Case::new();
    let parts = case.image();
    let manifest = for_platform(&case.serve(MANIFEST, &parts.manifest), architecture(), "");
    let inner = case.index(&[manifest]);
    let outer = case.index(&[inner]);
    let id = case.pull([]).ok().text();
    case.barge.run(["rmi", &id]).ok();
    case.barge.has_files(&case.before, "");
    case.index(&[outer]);
    case.fails().error_has("index of indexes");
    case.index(&[]);
    case.fails().error_has("there is no image for platform").hint_has("no images at all");
}

#[test]
fn a_large_index_is_read_and_a_huge_one_refused() {
    let case = Case::new();
    let parts = case.image();
    let manifest = for_platform(&case.serve(MANIFEST, &parts.manifest), architecture(), "");
    let mut other = for_platform(&manifest, "s390x", "");
    other["digest"] = format!("sha256:{}", "0".repeat(64)).into();
    let mut manifests = vec![other; 15_000];
    manifests.push(manifest.clone());
    case.index(&manifests);
    let id = case.pull([]).ok().text();
    case.barge.run(["rmi", &id]).ok();
    manifests.extend(vec![manifest; 10_000]);
    case.index(&manifests);
    case.fails().error_has("larger than 4 MiB");
}

#[test]
fn what_is_no_image_is_refused() {
    let case = Case::new();
    let parts = case.image();
    let mut manifest = parts.manifest.clone();
    manifest["config"]["mediaType"] = "application/vnd.cncf.helm.config.v1+json".into();
    case.server.serve_manifest("odd", &manifest);
    case.fails().error_has("application/vnd.cncf.helm.config.v1+json").hint_has("artifact pull");
    manifest["config"] = json!({
        "mediaType": "application/vnd.oci.empty.v1+json",
        "digest": digest(b"{}"), "size": 2, "data": "e30=",
    });
    manifest["artifactType"] = "application/vnd.example.sbom".into();
    case.server.serve_manifest("odd", &manifest);
    case.fails().error_has("an artifact of type `application/vnd.example.sbom`");
    let old = json!({ "schemaVersion": 1, "name": "odd", "tag": "1", "fsLayers": [] });
    case.serve("application/vnd.docker.distribution.manifest.v1+prettyjws", &old);
    case.fails().error_has("schema version 1");
}

#[test]
fn digests_that_make_no_sense_are_refused() {
    let case = Case::new();
    let parts = case.image();
    let hex = "0".repeat(63);
    for (bad, want) in [
        (format!("sha256:{hex}"), "digest length"),
        (format!("sha256:{hex}G"), "digest"),
        (format!("sha256:{}", "A".repeat(64)), "digest"),
        (format!("sha256:{}", "0".repeat(65)), "digest"),
        (format!("sha512:{}", "0".repeat(128)), "digest"),
        (format!("md5:{}", "0".repeat(32)), "digest"),
        ("sha256:../../../etc/passwd".to_owned(), "malformed"),
        (String::new(), ""),
    ] {
        for part in ["/config/digest", "/layers/0/digest"] {
            let mut manifest = parts.manifest.clone();
            *manifest.pointer_mut(part).unwrap() = bad.as_str().into();
            case.server.serve_manifest("odd", &manifest);
            case.fails().error_has(want);
        }
    }
    // A registry that says one digest and sends another.
    let other = format!("sha256:{}", "1".repeat(64));
    let body = parts.manifest.to_string();
    let answer = Answer::new(MANIFEST, body).header("Docker-Content-Digest", &other);
    case.server.answer("/v2/odd/manifests/1", answer);
    case.fails().error_has("the manifest is damaged");
}

#[test]
fn a_config_that_does_not_match_its_layers_is_refused() {
    let case = Case::new();
    let parts = case.image();
    let mut manifest = parts.manifest.clone();
    let twice = manifest["layers"][0].clone();
    manifest["layers"].as_array_mut().unwrap().push(twice);
    case.server.serve_manifest("odd", &manifest);
    case.fails().error_has("the image has 1 layers, its manifest 2");
    manifest["layers"] = json!([]);
    case.server.serve_manifest("odd", &manifest);
    case.fails().error_has("the image has 1 layers, its manifest 0");
}

#[test]
fn data_in_a_manifest_is_used_if_it_is_right() {
    let case = Case::new();
    let parts = case.image();
    let layer = &parts.layers[0];
    let mut manifest = parts.manifest.clone();
    manifest["layers"][0]["data"] = base64(layer).into();
    case.server.serve_manifest("odd", &manifest);
    case.server.forget(&parts.layer_path(0));
    case.pull([]).ok();
    case.barge.run(["rmi", &case.server.reference("odd:1")]).ok();
    // What is not what it says it is does not count: the registry is asked, and does not have it.
    manifest["layers"][0]["data"] = base64(b"something else").into();
    case.server.serve_manifest("odd", &manifest);
    case.fails().error_has("does not have it");
    case.server.answer(&parts.layer_path(0), parts.layer(0));
    case.pull([]).ok();
    case.barge.run(["rmi", &case.server.reference("odd:1")]).ok();
    manifest["layers"][0]["data"] = "not base64!".into();
    case.server.serve_manifest("odd", &manifest);
    case.fails().error_has("malformed");
}

#[test]
fn a_layer_of_no_bytes_is_no_problem() {
    let case = Case::new();
    let parts = case.image();
    let config = json!({
        "architecture": architecture(), "os": "linux", "config": {},
        "rootfs": { "type": "layers", "diff_ids": [digest(b"")] },
    });
    let config = config.to_string();
    let path = format!("/v2/odd/blobs/{}", digest(config.as_bytes()));
    case.server.answer(&path, Answer::new("application/json", config.as_bytes()));
    let mut manifest = parts.manifest;
    manifest["config"]["digest"] = digest(config.as_bytes()).into();
    manifest["config"]["size"] = config.len().into();
    manifest["layers"][0]["digest"] = digest(b"").into();
    manifest["layers"][0]["size"] = 0.into();
    case.server.serve_manifest("odd", &manifest);
    case.pull([]).ok();
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[test]
fn layers_that_may_not_be_given_away_come_from_elsewhere() {
    let case = Case::new();
    let parts = case.image();
    let elsewhere = Server::start(case.barge.place());
    let bytes = pack(&Tar::new().file("x", 0o644, "x").bytes(), Packing::Gzip);
    elsewhere.answer("/layer", Answer::new("application/gzip", bytes.as_slice()));
    elsewhere.answer("/other", Answer::new("application/gzip", &b"other"[..]));
    case.server.forget(&parts.layer_path(0));
    let at = |path: &str| format!("http://{}{path}", elsewhere.address());
    let with = |kind: &str, addresses: &[String]| {
        let mut manifest = parts.manifest.clone();
        manifest["layers"][0]["mediaType"] = kind.into();
        manifest["layers"][0]["urls"] = json!(addresses);
        case.server.serve_manifest("odd", &manifest);
    };
    let foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
    let oci = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";
    for kind in [foreign, oci] {
        with(kind, &[at("/nothing"), at("/layer")]);
        case.pull(["--creds", "user:secret"]).ok();
        case.barge.run(["rmi", &case.server.reference("odd:1")]).ok();
    }
    for request in elsewhere.requests() {
        assert_eq!(request.header("authorization"), "");
    }
    // What comes must be what was promised, and addresses are those of the web.
    with(foreign, &[at("/other")]);
    case.fails().error_has("cannot fetch layer");
    for address in ["file:///etc/passwd", "unix:///run/x", "gopher://127.0.0.1/", "", "/layer"] {
        with(foreign, &[address.to_owned()]);
        case.fails().error_has("is no web address");
    }
    // Other layers are the registry's own affair.
    elsewhere.forget_requests();
    with("application/vnd.oci.image.layer.v1.tar+gzip", &[at("/layer")]);
    case.fails().error_has("does not have it");
    assert!(elsewhere.asked().is_empty());
}

#[test]
fn all_tags_of_a_repository() {
    let case = Case::new();
    let parts = case.image();
    let body = parts.manifest.to_string();
    for tag in ["2", "latest"] {
        let answer = Answer::new(MANIFEST, body.as_str());
        case.server.answer(&format!("/v2/odd/manifests/{tag}"), answer);
    }
    let list = |tags: &str| Answer::new("application/json", format!(r#"{{"tags":{tags}}}"#));
    let first = list(r#"["1","2"]"#).header("Link", "</v2/odd/tags/list?n=2&last=2>; rel=\"next\"");
    case.server.answer("/v2/odd/tags/list", first);
    case.server.answer("/v2/odd/tags/list?n=2&last=2", list(r#"["latest"]"#));
    let name = case.server.reference("odd");
    let lines = case.barge.run(["pull", "-q", "--all-tags", &name]).ok().lines();
    assert_eq!(lines.len(), 3);
    assert!(lines.iter().all(|id| *id == lines[0]), "{lines:?}");
    for tag in ["1", "2", "latest"] {
        case.barge.run(["image", "exists", &format!("{name}:{tag}")]).ok();
    }
    let output = case.barge.run(["pull", "-q", "-a", &format!("{name}:1")]).fails(125);
    output.error_has("tag can't be used with --all-tags/-a");
    // Tags that are none, and lists that never end.
    for bad in [r#"["../../../etc"]"#, r#"["a/b"]"#, r#"[""]"#, "7"] {
        case.server.answer("/v2/odd/tags/list", list(bad));
        case.barge.run(["pull", "-q", "-a", &name]).fails(125);
    }
    let again = list(r#"["1"]"#).header("Link", "</v2/odd/tags/list>; rel=\"next\"");
    case.server.answer("/v2/odd/tags/list", again);
    case.barge.run(["pull", "-q", "-a", &name]).ok();
    let away = list(r#"["1"]"#).header("Link", "<http://other.invalid/>; rel=\"next\"");
    case.server.answer("/v2/odd/tags/list", away);
    case.barge.run(["pull", "-q", "-a", "--retry=0", &name]).fails(125);
}

#[test]
fn several_images_at_once() {
    let case = Case::new();
    case.image();
    let good = case.server.reference("odd:1");
    let bad = case.server.reference("odd:nothing");
    let output = case.barge.run(["pull", "-q", &good, &bad, &good]).exits(125);
    assert_eq!(output.lines().len(), 2);
    assert!(output.errors().contains(&bad), "{}", output.errors());
}
