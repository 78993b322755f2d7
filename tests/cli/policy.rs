//! Signature policies: what `policy.json` lets through, signatures made by push, and those of skopeo.
//!
//! Debian's skopeo has no signatures of cosign's kind, so it is the other side for OpenPGP only.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::support::http::{Http, reply};
use super::support::layout::digest;
use super::support::registry::Registry;
use super::support::{Barge, Output};

/// A key pair in the form of `cosign generate-key-pair`; its passphrase is `secret`.
const KEY: &str = "\
-----BEGIN ENCRYPTED COSIGN PRIVATE KEY-----\n\
eyJrZGYiOiB7Im5hbWUiOiAic2NyeXB0IiwgInBhcmFtcyI6IHsiTiI6IDMyNzY4\n\
LCAiciI6IDgsICJwIjogMX0sICJzYWx0IjogIlIwU29XbjJMMy92eFdxbFF6aEdR\n\
bWlGNW41UHNWRmhiZmE5V3NWRVVtNWs9In0sICJjaXBoZXIiOiB7Im5hbWUiOiAi\n\
bmFjbC9zZWNyZXRib3giLCAibm9uY2UiOiAid2x2a0c5TVlzQkQwOENEMlhieEhI\n\
V1V0L3JyMVBjT0sifSwgImNpcGhlcnRleHQiOiAiM2dEelJ3eXlSWnd3UzhnWnpH\n\
Q3hRWndBN2NYdGdXZXFEUHdZWjV0aXM3NVpESklCaUg0T3p0amZqNEh0TU12ek9Z\n\
ZzJLKzhKWGMvVVkvOThFcmdXSnFIQzJkaTNBNi9sSGRMUnBmUnhLN25tQmpYNEdq\n\
dEYzUVFkRUl0cFJnQ2MwZFNpYlFlZW1yN1d5UzFwbHA2NDBGL0VtbVNBSEQ3ejRU\n\
Rll2ajlRbEhSNHY5VEhYMkVJekpzNGtJTzdWZ0xKdUNqNFBqODZabk8vVHc9PSJ9\n\
-----END ENCRYPTED COSIGN PRIVATE KEY-----\n\
";
const PUBLIC: &str = "\
-----BEGIN PUBLIC KEY-----\n\
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAECCaIGKxrGNRWPQ9rLLsOjzUeBXYY\n\
aw3EQjfbtMvX0ZYLkNkaDaZihNdLxvdOoqa9pJf55U54IkzNkzQt76cgcw==\n\
-----END PUBLIC KEY-----\n\
";
/// A public key that has signed nothing.
const OTHER: &str = "\
-----BEGIN PUBLIC KEY-----\n\
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEuW6l7CGvlyfpOsA5O1pWpzK6NZpX\n\
giyowrPTIC9lp9zetzbgouq0RyJd05IUyqW5gG2xXAljbpIb3przsaWWOg==\n\
-----END PUBLIC KEY-----\n\
";

fn encode(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

/// A store, and a registry with an image `app:1` that is for this test alone.
struct Yard {
    barge: Barge,
    registry: Registry,
    image: String,
}

impl Yard {
    fn new() -> Self {
        let barge = Barge::new();
        for dir in ["h/.config", "h/.config/containers", "h/.config/containers/registries.d"] {
            fs::create_dir(barge.path(dir)).unwrap();
        }
        let registry = Registry::empty(barge.place());
        let image = registry.reference("team/app:1");
        let source = Registry::start(barge.place());
        let name = source.reference("box:1");
        barge.run(["pull", "-q", &name]).exits(0);
        barge.run(["push", "-q", &name, &image]).exits(0);
        barge.run(["rmi", &name]).exits(0);
        Self { barge, registry, image }
    }

    /// Sets the user's policy.
    fn policy(&self, policy: &Value) {
        self.barge.file("h/.config/containers/policy.json", policy.to_string());
    }

    /// Sets what the policy demands of images of this registry; all others are rejected.
    fn demand(&self, requirement: &Value) {
        let host = self.image.split('/').next().unwrap();
        self.policy(&json!({
            "default": [{ "type": "reject" }],
            "transports": { "docker": { host: [requirement] } },
        }));
    }

    /// Sets where the signatures of all registries are.
    fn places(&self, lookaside: &str) {
        let text = format!(
            "default-docker:\n  lookaside: {lookaside}\n  use-sigstore-attachments: true\n"
        );
        self.barge.file("h/.config/containers/registries.d/all.yaml", text);
    }

    /// Writes a file for a test and returns its path.
    fn file(&self, name: &str, text: &str) -> String {
        self.barge.file(&format!("t/{name}"), text)
    }

    /// Pulls an image that is not here.
    fn pull(&self, name: &str) -> Output {
        let output = self.barge.run(["pull", "-q", name]);
        if output.status == 0 {
            self.barge.run(["rmi", name]).exits(0);
        }
        output
    }

    /// Has skopeo copy an image to a directory, by the same policy.
    fn skopeo(&self, name: &str) -> Output {
        let config = self.barge.path_text("h/.config/containers");
        let target = format!("dir:{}", self.barge.path_text("t/copied"));
        let line = [
            "--policy",
            &format!("{config}/policy.json"),
            "--registries.d",
            &format!("{config}/registries.d"),
            "copy",
            "-q",
            "--src-tls-verify=false",
            &format!("docker://{name}"),
            &target,
        ];
        let output = self.barge.other_command("skopeo", line).run();
        drop(fs::remove_dir_all(self.barge.path("t/copied")));
        output
    }

    /// Has skopeo copy the image to another name and sign it there.
    fn skopeo_signs(&self, to: &str, flags: &[&str], variables: &[(&str, &str)]) {
        let config = self.barge.path_text("h/.config/containers/registries.d");
        let mut line = vec!["--insecure-policy", "--registries.d", &config, "copy", "-q"];
        line.extend(["--src-tls-verify=false", "--dest-tls-verify=false"]);
        line.extend(flags);
        let (from, to) = (format!("docker://{}", self.image), format!("docker://{to}"));
        line.extend([from.as_str(), to.as_str()]);
        let mut command = self.barge.other_command("skopeo", line);
        for (name, value) in variables {
            command = command.env(name, value);
        }
        command.run().exits(0);
    }
}

#[test]
fn policies_decide_by_scope() {
    let yard = Yard::new();
    let host = yard.image.split('/').next().unwrap();
    let accept = json!([{ "type": "insecureAcceptAnything" }]);
    let reject = json!([{ "type": "reject" }]);
    let both = json!([{ "type": "insecureAcceptAnything" }, { "type": "reject" }]);
    for (default, scopes, good) in [
        (&accept, json!({}), true),
        (&reject, json!({}), false),
        (&both, json!({}), false),
        (&reject, json!({ "docker": { "": accept } }), true),
        (&reject, json!({ "oci": { "": accept } }), false),
        (&reject, json!({ "docker": { host: accept } }), true),
        (&reject, json!({ "docker": { format!("{host}/team"): accept } }), true),
        (&reject, json!({ "docker": { format!("{host}/team/app"): accept } }), true),
        (&reject, json!({ "docker": { format!("{host}/team/app:1"): accept } }), true),
        (&reject, json!({ "docker": { format!("{host}/team/app:2"): accept } }), false),
        (&reject, json!({ "docker": { format!("{host}/te"): accept } }), false),
        (&accept, json!({ "docker": { "": reject, (host): accept } }), true),
        (&accept, json!({ "docker": { host: accept, format!("{host}/team"): reject } }), false),
    ] {
        let policy = json!({ "default": default, "transports": scopes });
        yard.policy(&policy);
        let output = yard.pull(&yard.image);
        assert_eq!(output.status == 0, good, "{policy}\n{}", output.story());
        let theirs = yard.skopeo(&yard.image);
        assert_eq!(theirs.status == 0, good, "{policy}\n{}", theirs.story());
        if !good {
            output
                .fails(125)
                .error_has("the signature policy rejects the image: it rejects all of them")
                .hint_has("policy.json");
        }
    }
    yard.policy(&json!({ "default": reject }));
    let other = yard.file("other.json", &json!({ "default": accept }).to_string());
    yard.barge.run(["pull", "-q", "--signature-policy", &other, &yard.image]).exits(0);
    // That it is here already helps nothing.
    yard.barge.run(["pull", "-q", &yard.image]).fails(125);
    let line = ["run", "--rm", "--network=none", "--pull=always", &yard.image];
    yard.barge.run(line).exits(125);
    yard.barge.run(["run", "--rm", "--network=none", &yard.image]).exits(0);
}

#[test]
fn a_policy_that_is_damaged_lets_nothing_pass() {
    let yard = Yard::new();
    for text in [
        "",
        "{",
        "{}",
        r#"{"default":[]}"#,
        r#"{"default":[{"type":"acceptAnything"}]}"#,
        r#"{"default":[{"type":"insecureAcceptAnything","x":1}]}"#,
        r#"{"default":[{"type":"insecureAcceptAnything"}],"more":1}"#,
        r#"{"default":[{"type":"insecureAcceptAnything"}],"default":[{"type":"reject"}]}"#,
        r#"{"default":[{"type":"insecureAcceptAnything"}],"transports":{"dir":{"x":[{"type":"reject"}]}}}"#,
    ] {
        yard.barge.file("h/.config/containers/policy.json", text);
        yard.pull(&yard.image)
            .fails(125)
            .error_has("cannot use the signature policy")
            .error_has("policy.json");
        yard.skopeo(&yard.image).exits(1);
    }
    let own = yard.barge.path("h/.config/containers/policy.json");
    fs::remove_file(&own).unwrap();
    // A link to where nothing is, and a directory: there is one, and it cannot be read.
    std::os::unix::fs::symlink("nowhere", &own).unwrap();
    yard.pull(&yard.image).fails(125).error_has("cannot use the signature policy");
    fs::remove_file(&own).unwrap();
    fs::create_dir(&own).unwrap();
    yard.pull(&yard.image).fails(125).error_has("cannot use the signature policy");
    fs::remove_dir(&own).unwrap();
    let missing = yard.barge.path_text("t/none.json");
    yard.barge
        .run(["pull", "-q", "--signature-policy", &missing, &yard.image])
        .fails(125)
        .error_has(&missing);
    // Demands that cannot be checked are no reason to look away.
    for requirement in [
        json!({ "type": "sigstoreSigned", "fulcio": { "caPath": "/x" }, "rekorPublicKeyPath": "/y" }),
        json!({ "type": "sigstoreSigned", "keyPath": "/x", "rekorPublicKeyPath": "/y" }),
        json!({ "type": "signedBaseLayer", "baseLayerIdentity": { "type": "matchExact" } }),
    ] {
        yard.demand(&requirement);
        yard.pull(&yard.image).fails(125).error_has("cannot be checked");
    }
    yard.demand(&json!({ "type": "sigstoreSigned", "keyPath": missing }));
    yard.pull(&yard.image)
        .fails(125)
        .error_has("the signature policy rejects the image")
        .error_has(&missing);
}

#[test]
fn load_and_import_obey_the_policy() {
    let yard = Yard::new();
    let barge = &yard.barge;
    let dir = barge.path_text("t/layout");
    let copy = |to: &str| {
        let from = format!("docker://{}", yard.image);
        let line = ["--insecure-policy", "copy", "-q", "--src-tls-verify=false", &from, to];
        barge.other_command("skopeo", line).run().exits(0);
    };
    copy(&format!("oci:{dir}:app"));
    copy(&format!("oci-archive:{dir}.oci:app"));
    copy(&format!("docker-archive:{dir}.docker:app:1"));
    let empty = barge.file("t/empty.tar", [0; 1024]);
    let archive = |kind: &str| format!("{dir}.{kind}");
    for (transport, line) in [
        ("oci", vec!["load".to_owned(), "-i".to_owned(), dir.clone()]),
        ("oci-archive", vec!["load".to_owned(), "-i".to_owned(), archive("oci")]),
        ("docker-archive", vec!["load".to_owned(), "-i".to_owned(), archive("docker")]),
        ("tarball", vec!["import".to_owned(), empty.clone(), "made".to_owned()]),
    ] {
        let accept = json!([{ "type": "insecureAcceptAnything" }]);
        yard.policy(&json!({ "default": [{ "type": "reject" }] }));
        barge.run(&line).exits(125).error_has("the signature policy rejects the image");
        yard.policy(&json!({
            "default": [{ "type": "reject" }],
            "transports": { transport: { "": accept } },
        }));
        barge.run(&line).exits(0);
        yard.demand(&json!({ "type": "reject" }));
        barge.run(&line).exits(125);
        // Another file in its place.
        let other = json!({ "default": accept });
        let other = barge.file("other-policy.json", other.to_string());
        let mut line = line;
        line.insert(1, format!("--signature-policy={other}"));
        barge.run(&line).exits(0);
    }
    // Directories and archives have scopes of their own.
    let accept = json!([{ "type": "insecureAcceptAnything" }]);
    yard.policy(&json!({
        "default": [{ "type": "reject" }],
        "transports": {
            "oci": { &*barge.path_text("t"): accept },
            "oci-archive": { &archive("other"): accept },
        },
    }));
    barge.run(["load", "-i", &dir]).exits(0);
    barge.run(["load", "-i", &archive("oci")]).exits(125);
    // What comes with barge needs nobody's signature.
    yard.policy(&json!({ "default": [{ "type": "reject" }] }));
    barge.run(["run", "--rm", "--network=none", "builtin/hello"]).exits(0);
}

#[test]
fn images_are_signed_as_cosign_does() {
    let yard = Yard::new();
    let barge = &yard.barge;
    yard.places(&format!("file://{}", barge.path_text("t/lookaside")));
    let (key, passphrase) = (yard.file("cosign.key", KEY), yard.file("passphrase", "secret\n"));
    let (public, other) = (yard.file("cosign.pub", PUBLIC), yard.file("other.pub", OTHER));
    let by = |path: &str| json!({ "type": "sigstoreSigned", "keyPath": path });
    let signed = yard.registry.reference("team/signed:1");
    yard.demand(&json!({ "type": "insecureAcceptAnything" }));
    barge.run(["pull", "-q", &yard.image]).exits(0);
    let sign = |to: &str, passphrase: &str| {
        let line = [
            "push",
            "-q",
            "--sign-by-sigstore-private-key",
            &key,
            "--sign-passphrase-file",
            passphrase,
            &yard.image,
            to,
        ];
        barge.run(line)
    };
    // A key that cannot be opened is noticed before anything is sent.
    let wrong = yard.file("wrong", "wrong");
    sign(&signed, &wrong).fails(125).error_has("the passphrase is wrong");
    yard.pull(&signed).fails(125).error_has("does not have it");
    sign(&signed, &passphrase).exits(0);
    barge.run(["rmi", &yard.image]).exits(0);

    yard.demand(&by(&public));
    yard.pull(&signed).exits(0);
    yard.demand(&json!({ "type": "sigstoreSigned", "keyData": encode(PUBLIC) }));
    yard.pull(&signed).exits(0);
    yard.demand(&json!({ "type": "sigstoreSigned", "keyPaths": [other, public] }));
    yard.pull(&signed).exits(0);

    // Another key, no signature, another name, another image.
    yard.demand(&by(&other));
    yard.pull(&signed).fails(125).error_has("it is not by a key that the policy lists");
    yard.demand(&by(&public));
    yard.pull(&yard.image)
        .fails(125)
        .error_has("a signature was required, but no signature exists");
    let renamed = yard.registry.reference("team/signed:2");
    yard.policy(&json!({ "default": [{ "type": "insecureAcceptAnything" }] }));
    barge.run(["pull", "-q", &signed]).exits(0);
    barge.run(["push", "-q", &signed, &renamed]).exits(0);
    barge.run(["rmi", &signed]).exits(0);
    yard.demand(&by(&public));
    yard.pull(&renamed).fails(125).error_has("which is not accepted");
    for (identity, good) in [
        (json!({ "type": "matchRepository" }), true),
        (json!({ "type": "matchExact" }), false),
        (json!({ "type": "exactReference", "dockerReference": signed }), true),
        (json!({ "type": "exactReference", "dockerReference": renamed }), false),
    ] {
        let mut demand = by(&public);
        demand["signedIdentity"] = identity.clone();
        yard.demand(&demand);
        assert_eq!(yard.pull(&renamed).status == 0, good, "{identity}");
    }

    // A second signature stands beside the first.
    yard.policy(&json!({ "default": [{ "type": "insecureAcceptAnything" }] }));
    barge.run(["pull", "-q", &yard.image]).exits(0);
    sign(&renamed, &passphrase).exits(0);
    barge.run(["rmi", &yard.image]).exits(0);
    yard.demand(&by(&public));
    for name in [&signed, &renamed] {
        yard.pull(name).exits(0);
    }
    // Without being told, nobody looks into the registry for them.
    fs::remove_file(barge.path("h/.config/containers/registries.d/all.yaml")).unwrap();
    yard.pull(&signed).fails(125).error_has("no signature exists");
}

#[test]
fn what_is_spoiled_in_a_registry_is_refused() {
    let yard = Yard::new();
    let barge = &yard.barge;
    yard.places(&format!("file://{}", barge.path_text("t/lookaside")));
    let (key, passphrase) = (yard.file("cosign.key", KEY), yard.file("passphrase", "secret"));
    let public = yard.file("cosign.pub", PUBLIC);
    yard.demand(&json!({ "type": "insecureAcceptAnything" }));
    let signed = yard.registry.reference("team/app:1");
    let line = ["--sign-by-sigstore-private-key", &key, "--sign-passphrase-file", &passphrase];
    barge.run(["pull", "-q", &yard.image]).exits(0);
    barge.run([&["push", "-q"][..], &line, &[&*yard.image, &*signed]].concat()).exits(0);
    barge.run(["rmi", &yard.image]).exits(0);
    yard.demand(&json!({ "type": "sigstoreSigned", "keyPath": public }));
    yard.pull(&signed).exits(0);

    let raw = |name: &str| {
        let line = ["inspect", "--raw", "--tls-verify=false", &format!("docker://{name}")];
        barge.other_command("skopeo", line).run().exits(0).stdout
    };
    let repository = yard.registry.reference("team/app");
    let tag = format!("{}.sig", digest(&raw(&signed)).replace(':', "-"));
    let good: Value = serde_json::from_slice(&raw(&format!("{repository}:{tag}"))).unwrap();
    // A registry of the same content, whose signatures the test writes.
    let manifest = raw(&signed);
    let address = format!("http://{}", repository.split('/').next().unwrap());
    let fetch = |path: &str| {
        let line = ["-sf", &format!("{address}{path}")];
        barge.other_command("curl", line).run().exits(0).stdout
    };
    let layer = &good["layers"][0];
    let payload = fetch(&format!("/v2/team/app/blobs/{}", layer["digest"].as_str().unwrap()));
    let with = |payload: &[u8], change: &dyn Fn(&mut Value)| {
        let mut signatures = good.clone();
        signatures["layers"][0]["digest"] = digest(payload).into();
        signatures["layers"][0]["size"] = payload.len().into();
        change(&mut signatures);
        (signatures.to_string(), payload.to_vec())
    };
    const ANNOTATION: &str = "dev.cosignproject.cosign/signature";
    let text = String::from_utf8(payload.clone()).unwrap();
    let other_digest = text.replace(&digest(&manifest), &format!("sha256:{}", "0".repeat(64)));
    assert_ne!(text, other_digest);
    for (what, (signatures, payload), good) in [
        ("nothing", with(&payload, &|_| {}), true),
        ("the payload", with(text.replace("creator", "creater").as_bytes(), &|_| {}), false),
        ("its digest", with(other_digest.as_bytes(), &|_| {}), false),
        ("its name", with(text.replace("app:1", "app:2").as_bytes(), &|_| {}), false),
        (
            "the signature",
            with(&payload, &|it| it["layers"][0]["annotations"][ANNOTATION] = "c2ln".into()),
            false,
        ),
        (
            "its encoding",
            with(&payload, &|it| it["layers"][0]["annotations"][ANNOTATION] = "!".into()),
            false,
        ),
        ("its presence", with(&payload, &|it| it["layers"] = json!([])), false),
        ("the annotation", with(&payload, &|it| it["layers"][0]["annotations"] = json!({})), false),
        (
            "the type",
            with(&payload, &|it| it["layers"][0]["mediaType"] = "text/plain".into()),
            false,
        ),
        (
            "the digest of the payload",
            with(&payload, &|it| {
                it["layers"][0]["digest"] = format!("sha256:{}", "1".repeat(64)).into();
            }),
            false,
        ),
    ] {
        let server = mirror(&yard, &manifest, &tag, &signatures, &payload);
        let name = format!("{}/team/app:1", server.address());
        let registry = signed.split('/').next().unwrap();
        yard.policy(&json!({
            "default": [{ "type": "reject" }],
            "transports": { "docker": { server.address(): [{
                "type": "sigstoreSigned",
                "keyPath": public,
                "signedIdentity": {
                    "type": "remapIdentity",
                    "prefix": server.address(),
                    "signedPrefix": registry,
                },
            }] } },
        }));
        let output = yard.pull(&name);
        assert_eq!(output.status == 0, good, "{what}\n{}", output.story());
        if !good {
            output.fails(125).error_has("the signature policy rejects the image");
            let seen = server.seen();
            let layers = seen.iter().filter(|it| it.path.contains("/blobs/")).count();
            assert!(layers <= 1, "{what}: layers were fetched: {seen:?}");
        }
    }
}

/// Serves the image of the yard with other signatures.
fn mirror(yard: &Yard, manifest: &[u8], tag: &str, signatures: &str, payload: &[u8]) -> Http {
    const TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
    let parsed: Value = serde_json::from_slice(manifest).unwrap();
    let host = yard.image.split('/').next().unwrap();
    let fetch = |digest: &Value| {
        let digest = digest.as_str().unwrap();
        let url = format!("http://{host}/v2/team/app/blobs/{digest}");
        let output = yard.barge.other_command("curl", ["-sf", &url]).run().exits(0);
        (format!("/v2/team/app/blobs/{digest}"), output.stdout)
    };
    let mut files: Vec<(String, Vec<u8>)> =
        parsed["layers"].as_array().unwrap().iter().map(|layer| fetch(&layer["digest"])).collect();
    files.push(fetch(&parsed["config"]["digest"]));
    files.push((format!("/v2/team/app/blobs/{}", digest(payload)), payload.to_vec()));
    files.push(("/v2/team/app/manifests/1".to_owned(), manifest.to_vec()));
    files.push((format!("/v2/team/app/manifests/{tag}"), signatures.as_bytes().to_vec()));
    Http::start(yard.barge.place(), move |request| {
        let file = files.iter().find(|(path, _)| *path == request.path);
        match file {
            Some((_, body)) => (200, vec![("Content-Type", TYPE.to_owned())], body.clone()),
            None if request.path == "/v2/" => reply(200, "{}"),
            None => reply(404, r#"{"errors":[{"code":"MANIFEST_UNKNOWN"}]}"#),
        }
    })
}

/// A keyring of GnuPG. Its agent ends with it.
struct Gpg<'a> {
    barge: &'a Barge,
    home: String,
}

impl<'a> Gpg<'a> {
    fn new(barge: &'a Barge) -> Self {
        use std::os::unix::fs::PermissionsExt;
        let home = barge.path_text("g");
        fs::create_dir(&home).unwrap();
        fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).unwrap();
        Self { barge, home }
    }

    fn run(&self, line: &[&str]) -> Output {
        let line = [&["--batch", "--quiet"], line].concat();
        self.barge.other_command("gpg", line).env("GNUPGHOME", &self.home).run().exits(0)
    }

    /// Makes a key and returns its fingerprint and the file with its public half.
    fn key(&self, name: &str) -> (String, String) {
        let address = format!("{name}@example.com");
        self.run(&["--passphrase", "", "--quick-gen-key", &address, "ed25519", "sign", "never"]);
        let listed = self.run(&["--with-colons", "--list-keys", &address]).text();
        let line = listed.lines().find(|line| line.starts_with("fpr:")).unwrap();
        let fingerprint = line.split(':').nth(9).unwrap().to_owned();
        let file = self.barge.path_text(&format!("t/{name}.gpg"));
        self.run(&["--output", &file, "--export", &fingerprint]);
        (fingerprint, file)
    }
}

impl Drop for Gpg<'_> {
    fn drop(&mut self) {
        let line = ["--kill", "all"];
        let command = self.barge.other_command("gpgconf", line).env("GNUPGHOME", &self.home);
        drop(command.run());
    }
}

#[test]
fn images_are_signed_with_openpgp() {
    let yard = Yard::new();
    let barge = &yard.barge;
    let gpg = Gpg::new(barge);
    let lookaside = barge.path("t/lookaside");
    yard.places(&format!("file://{}", lookaside.display()));
    let (fingerprint, public) = gpg.key("good");
    let (_, other) = gpg.key("other");
    let by = |file: &str| json!({ "type": "signedBy", "keyType": "GPGKeys", "keyPath": file });
    let sign = |to: &str, key: &str| {
        barge
            .command(["push", "-q", "--sign-by", key, &yard.image, to])
            .env("GNUPGHOME", &gpg.home)
            .run()
    };
    let (ours, theirs) =
        (yard.registry.reference("team/ours:1"), yard.registry.reference("team/theirs:1"));
    yard.demand(&json!({ "type": "insecureAcceptAnything" }));
    barge.run(["pull", "-q", &yard.image]).exits(0);
    sign(&ours, "0123456789ABCDEF0123456789ABCDEF01234567").fails(125).error_has("cannot sign");
    sign(&ours, &fingerprint).exits(0);
    barge.run(["rmi", &yard.image]).exits(0);
    yard.skopeo_signs(&theirs, &["--sign-by", &fingerprint], &[("GNUPGHOME", &gpg.home)]);

    yard.demand(&by(&public));
    for name in [&ours, &theirs] {
        yard.pull(name).exits(0);
        yard.skopeo(name).exits(0);
    }
    let armored = barge.path_text("t/armored.asc");
    gpg.run(&["--armor", "--output", &armored, "--export", &fingerprint]);
    yard.demand(&by(&armored));
    yard.pull(&ours).exits(0);
    yard.demand(&json!({ "type": "signedBy", "keyType": "GPGKeys", "keyPaths": [other, public] }));
    yard.pull(&ours).exits(0);

    // Another key, no signature, another name.
    yard.demand(&by(&other));
    for name in [&ours, &theirs] {
        yard.pull(name).fails(125).error_has("it is by a key that the policy does not list");
    }
    yard.demand(&by(&public));
    yard.pull(&yard.image).fails(125).error_has("no signature exists");
    let place = |repository: &str| -> std::path::PathBuf {
        let found = fs::read_dir(lookaside.join("team")).unwrap().flatten();
        let mut found = found.map(|entry| entry.path());
        found.find(|path| path.to_string_lossy().contains(&format!("/{repository}@"))).unwrap()
    };
    let (own, copied) = (place("ours"), place("theirs"));
    let name = "signature-1";
    let good = fs::read(own.join(name)).unwrap();
    fs::copy(copied.join(name), own.join(name)).unwrap();
    yard.pull(&ours).fails(125).error_has("which is not accepted");
    yard.skopeo(&ours).exits(1);

    // Bytes in places all over it; a few, such as the date of what is signed, mean nothing.
    let mut refused = 0;
    for index in (0..good.len()).step_by(good.len() / 12) {
        let mut spoiled = good.clone();
        spoiled[index] ^= 0x01;
        fs::write(own.join(name), spoiled).unwrap();
        let (ours, theirs) = (yard.pull(&ours), yard.skopeo(&ours));
        assert!(ours.status != 0 || theirs.status == 0, "byte {index}");
        refused += usize::from(ours.status != 0);
    }
    assert!(refused >= 10, "{refused}");
    for spoiled in [&b""[..], b"\x00", b"-----BEGIN PGP MESSAGE-----", &good[..good.len() / 2]] {
        fs::write(own.join(name), spoiled).unwrap();
        yard.pull(&ours).fails(125).error_has("the signature policy rejects the image");
    }
    // A good one behind a bad one is enough.
    fs::write(own.join(name), b"\xa3bad").unwrap();
    fs::write(own.join("signature-2"), &good).unwrap();
    yard.pull(&ours).exits(0);
    yard.skopeo(&ours).exits(0);

    // Without the program nothing is accepted.
    fs::create_dir(barge.path("t/bin")).unwrap();
    let poor = barge.path_text("t/bin");
    for needed in ["newuidmap", "newgidmap"] {
        let to = barge.path(&format!("t/bin/{needed}"));
        std::os::unix::fs::symlink(format!("/usr/bin/{needed}"), to).unwrap();
    }
    let command = barge.command(["pull", "-q", &ours]).env("PATH", &poor);
    command.run().fails(125).error_has("gpgv is not installed").hint_has("package gpgv");
}

#[test]
fn keys_that_were_revoked_count_for_nothing() {
    let yard = Yard::new();
    let barge = &yard.barge;
    let gpg = Gpg::new(barge);
    yard.places(&format!("file://{}", barge.path_text("t/lookaside")));
    let (fingerprint, public) = gpg.key("good");
    let demand = json!({ "type": "signedBy", "keyType": "GPGKeys", "keyPath": public });
    yard.skopeo_signs(&yard.image, &["--sign-by", &fingerprint], &[("GNUPGHOME", &gpg.home)]);
    yard.demand(&demand);
    yard.pull(&yard.image).exits(0);
    let revocation = format!("{}/openpgp-revocs.d/{fingerprint}.rev", gpg.home);
    let text = fs::read_to_string(&revocation).unwrap().replace(":-----BEGIN", "-----BEGIN");
    let revocation = yard.file("revocation", &text);
    gpg.run(&["--import", &revocation]);
    gpg.run(&["--yes", "--output", &public, "--export", &fingerprint]);
    yard.pull(&yard.image).fails(125).error_has("its key was revoked");
}

#[test]
fn signatures_come_from_web_servers() {
    let yard = Yard::new();
    let barge = &yard.barge;
    let gpg = Gpg::new(barge);
    let dir = barge.path("t/lookaside");
    yard.places(&format!("file://{}", dir.display()));
    let (fingerprint, public) = gpg.key("good");
    yard.skopeo_signs(&yard.image, &["--sign-by", &fingerprint], &[("GNUPGHOME", &gpg.home)]);
    let served = dir.clone();
    let server = Http::start(barge.place(), move |request| {
        let path = request.path.strip_prefix("/signatures/").unwrap_or("none");
        let path = path.replace("%3D", "=").replace("%40", "@");
        match fs::read(Path::new(&served).join(path)) {
            Ok(data) => reply(200, data),
            Err(_) => reply(404, ""),
        }
    });
    yard.places(&format!("http://{}/signatures", server.address()));
    yard.demand(&json!({ "type": "signedBy", "keyType": "GPGKeys", "keyPath": public }));
    yard.pull(&yard.image).exits(0);
    let asked: Vec<String> = server.seen().into_iter().map(|request| request.path).collect();
    assert!(asked.len() == 2 && asked[1].ends_with("/signature-2"), "{asked:?}");
    yard.skopeo(&yard.image).exits(0);
    drop(server);
    yard.pull(&yard.image).fails(125).error_has("cannot look for signatures");
    // Nothing can be put there.
    yard.demand(&json!({ "type": "insecureAcceptAnything" }));
    barge.run(["pull", "-q", &yard.image]).exits(0);
    barge
        .command(["push", "-q", "--sign-by", &fingerprint, &yard.image])
        .env("GNUPGHOME", &gpg.home)
        .run()
        .fails(125)
        .error_has("cannot put signatures to http://")
        .hint_has("lookaside-staging");
}
