//! `barge artifact`: files go to registries and come back bit for bit.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::support::layout::{digest, hex};
use super::support::registry::Registry;
use super::support::server::{Answer, Server};
use super::support::{Barge, tool};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const EMPTY: &str = "application/vnd.oci.empty.v1+json";

/// Returns a manifest of a registry byte for byte, as skopeo gets it.
fn raw(barge: &Barge, name: &str) -> Vec<u8> {
    let line = ["inspect", "--raw", "--tls-verify=false", &format!("docker://{name}")];
    barge.other_command("skopeo", line).run().ok().stdout.clone()
}

/// Returns bytes that do not compress and are not text.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let bytes = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    bytes.flatten().take(length).collect()
}

/// The manifest of an artifact, its files as media type, name and content.
fn manifest(files: &[(&str, &str, &[u8])], subject: Option<&Value>) -> Value {
    let layers: Vec<Value> = files
        .iter()
        .map(|(kind, title, content)| {
            json!({
                "mediaType": kind, "digest": digest(content), "size": content.len(),
                "annotations": { "org.opencontainers.image.title": title },
            })
        })
        .collect();
    let mut manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "application/vnd.test",
        "config": { "mediaType": EMPTY, "digest": digest(b"{}"), "size": 2 },
        "layers": layers,
    });
    if let Some(subject) = subject {
        manifest["subject"] = subject.clone();
    }
    manifest
}

/// Serves an artifact as `NAME:1`.
fn serve(server: &Server, name: &str, files: &[(&str, &str, &[u8])], subject: Option<&Value>) {
    for content in files.iter().map(|file| file.2).chain([b"{}".as_slice()]) {
        let path = format!("/v2/{name}/blobs/{}", digest(content));
        server.answer(&path, Answer::new("application/octet-stream", content));
    }
    server.serve_manifest(name, &manifest(files, subject));
}

#[test]
fn files_come_back_bit_for_bit() {
    let barge = Barge::new();
    let registry = Registry::empty(barge.place());
    let large = noise(20_000_003);
    let paths = [barge.file("large.bin", &large), barge.file("note.txt", "a note\n")];
    let name = registry.reference("files/some:1");
    let line = ["artifact", "add", "--type", "application/vnd.test", "--annotation", "a=b", &name];
    let id = barge.run(line.into_iter().chain(paths.iter().map(String::as_str))).ok().text();
    let file = barge.path_text("digest");
    let pushed = barge.run(["artifact", "push", "--digestfile", &file, &name]).exits(0);
    let sent = raw(&barge, &name);
    assert_eq!(hex(&digest(&sent)), id);
    assert_eq!(pushed.text(), id);
    assert_eq!(fs::read_to_string(&file).unwrap(), digest(&sent));
    let document: Value = serde_json::from_slice(&sent).unwrap();
    assert_eq!(document["artifactType"], "application/vnd.test");
    assert_eq!(document["config"]["mediaType"], EMPTY);
    assert_eq!(document["annotations"]["a"], "b");
    let kinds: Vec<&str> = document["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|layer| layer["mediaType"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["application/octet-stream", "text/plain; charset=utf-8"]);

    let directory = barge.path_text("theirs");
    let source = format!("docker://{name}");
    let line = ["--insecure-policy", "copy", "-q", "--src-tls-verify=false", &source];
    let target = format!("dir:{directory}");
    barge.other_command("skopeo", line.into_iter().chain([target.as_str()])).run().ok();
    let theirs = fs::read(Path::new(&directory).join(hex(&digest(&large)))).unwrap();
    assert!(theirs == large);

    let other = Barge::at(barge.place().clone());
    other.run(["artifact", "pull", "-q", &name]).ok().stdout(&format!("{id}\n"));
    fs::create_dir(other.path("out")).unwrap();
    other.file("out/note.txt", "it is overwritten, though it is longer");
    other.run(["artifact", "extract", &name, &other.path_text("out")]).ok().stdout("");
    assert!(fs::read(other.path("out/large.bin")).unwrap() == large);
    assert_eq!(fs::read_to_string(other.path("out/note.txt")).unwrap(), "a note\n");
    let one = other.path_text("one");
    other.run(["artifact", "extract", "--title", "note.txt", &id[..12], &one]).ok();
    assert_eq!(fs::read_to_string(&one).unwrap(), "a note\n");
    other.run(["artifact", "extract", &name, &one]).fails(125).error_has("not a directory");
    let line = ["artifact", "extract", "--title", "none", &name, &one];
    other.run(line).fails(125).error("no blob with the title \"none\"");
    barge.leaves_nothing();
    other.leaves_nothing();
}

#[test]
fn an_artifact_is_made_added_to_and_replaced() {
    let barge = Barge::new();
    let (one, two) = (barge.file("one", "1"), barge.file("two.json", "{}"));
    let first = barge.run(["artifact", "add", "app:1", &one]).ok().text();
    barge
        .run(["artifact", "add", "app:1", &two])
        .fails(125)
        .error("localhost/app:1: artifact already exists")
        .hint_has("--append");
    barge
        .run(["artifact", "add", "--append", "app:1", &one])
        .fails(125)
        .error("one: file already exists in artifact");
    barge.run(["artifact", "add", "app:2", &one, &one]).fails(125).error_has("already exists");
    barge.run(["artifact", "add", "--append", "app:2", &one]).fails(125).error_has("not exist");
    let line = ["artifact", "add", "--append", "--type", "a/b", "app:1", &two];
    barge.run(line).fails(125).error("append option is not compatible with type option");
    let line = ["artifact", "add", "-a", "--file-type", "application/json", "app:1", &two];
    let second = barge.run(line).ok().text();
    assert_ne!(first, second);
    let shown = barge.run(["artifact", "inspect", "app:1"]).ok().json();
    assert_eq!(shown["Name"], "localhost/app:1");
    assert_eq!(shown["Digest"], format!("sha256:{second}"));
    let layers = shown["Manifest"]["layers"].as_array().unwrap();
    let titles: Vec<&Value> =
        layers.iter().map(|it| &it["annotations"]["org.opencontainers.image.title"]).collect();
    assert_eq!(titles, ["one", "two.json"]);
    assert_eq!(layers[1]["mediaType"], "application/json");
    let line = ["artifact", "inspect", "--format", "{{.Digest}}", &second[..10]];
    barge.run(line).ok().stdout(&format!("sha256:{second}\n"));
    barge.run(["image", "inspect", "app:1"]).exits(125).hint_has("artifact inspect");
    let third = barge.run(["artifact", "add", "--replace", "app:1", &two]).ok().text();
    barge.run(["artifact", "add", "b:1", &one]).ok();

    let output = barge.run(["artifact", "ls"]).ok();
    let lines: Vec<String> =
        output.lines().iter().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(lines[0], "REPOSITORY TAG DIGEST CREATED SIZE");
    assert!(lines[1].starts_with(&format!("localhost/app 1 {} ", &third[..12])), "{lines:?}");
    assert!(lines[1].ends_with(" ago 2B") && lines[2].starts_with("localhost/b 1 "), "{lines:?}");
    let line = ["artifact", "ls", "--no-trunc", "--format", "{{.Digest}} {{.VirtualSize}}"];
    assert_eq!(barge.run(line).ok().lines()[0], format!("{third} 2"));
    barge.run(["artifact", "rm", &third[..8]]).ok().stdout(&format!("{third}\n"));
    barge.run(["artifact", "rm", "app:1"]).fails(125).error_has("artifact does not exist");
    barge.run(["artifact", "rm", "--ignore", "app:1"]).ok().stdout("");
    barge.run(["artifact", "rm"]).fails(125);
    barge.run(["artifact", "rm", "-a", "b:1"]).fails(125);
    barge.run(["artifact", "rm", "-a"]).ok();
    barge.run(["artifact", "ls", "-n"]).ok().stdout("");
    assert!(fs::read_dir(barge.root().join("blobs/sha256")).unwrap().next().is_none());
}

#[test]
fn only_files_are_added() {
    let barge = Barge::new();
    let (one, pipe) = (barge.file("one", "1"), barge.path_text("pipe"));
    tool("mkfifo", [&pipe]);
    let missing = barge.path_text("missing");
    barge.run(["images"]).ok();
    let before = barge.files();
    for (path, wanted) in [
        (&missing, "no such file or directory"),
        (&pipe, "it is no regular file"),
        (&barge.path_text("t"), "it is a directory"),
    ] {
        barge.run(["artifact", "add", "app:1", &one, path]).fails(125).error_has(wanted);
    }
    let own = "builtin/app:1";
    barge.run(["artifact", "add", own, &one]).fails(125).hint_has("builtin");
    barge.has_files(&before, "nothing is left of a try");
}

#[test]
fn several_append_at_once_and_nothing_is_lost() {
    let barge = Barge::new();
    let names: Vec<String> = (0..5).map(|n| barge.file(&format!("f{n}"), n.to_string())).collect();
    barge.run(["artifact", "add", "app", &names[0]]).ok();
    let adding: Vec<_> = names[1..]
        .iter()
        .map(|name| barge.command(["artifact", "add", "--append", "app", name]).spawn())
        .collect();
    for running in adding {
        running.wait().ok();
    }
    let shown = barge.run(["artifact", "inspect", "app"]).ok().json();
    assert_eq!(shown["Manifest"]["layers"].as_array().unwrap().len(), names.len());
}

#[test]
fn its_files_stay_as_long_as_it_does() {
    let barge = Barge::with_busybox();
    let one = barge.file("one", "keep me");
    barge.run(["artifact", "add", "app", &one]).ok();
    barge.run(["rmi", "-a"]).ok();
    let out = barge.path_text("out");
    barge.run(["artifact", "extract", "app", &out]).ok();
    assert_eq!(fs::read_to_string(&out).unwrap(), "keep me");
    // A second name keeps them, too.
    barge.run(["artifact", "add", "twin", &one]).ok();
    barge.run(["artifact", "rm", "app"]).ok();
    barge.run(["artifact", "extract", "twin", &out]).ok();
    let blob = barge.root().join("blobs/sha256").join(hex(&digest(b"keep me")));
    assert!(blob.exists());
    barge.run(["artifact", "rm", "twin"]).ok();
    assert!(!blob.exists());
}

#[test]
fn hostile_names_lead_nowhere() {
    let barge = Barge::new();
    let server = Server::start(barge.place());
    fs::create_dir_all(barge.path("deep/out")).unwrap();
    let out = barge.path_text("deep/out");
    let absolute = barge.path_text("absolute");
    for (number, title) in ["../evil", "a/b", "..", ".", "/", &absolute].iter().enumerate() {
        let name = format!("hostile{number}");
        let files = [("text/plain", "good", b"good".as_slice()), ("text/plain", title, b"evil")];
        serve(&server, &name, &files, None);
        let name = server.reference(&format!("{name}:1"));
        barge.run(["artifact", "pull", "-q", &name]).ok();
        let fails = barge.run(["artifact", "extract", &name, &out]).fails(125);
        fails.error_has("artifact blob title invalid");
        let line = ["artifact", "extract", "--title", title, &name, &out];
        barge.run(line).fails(125).error_has("artifact blob title invalid");
    }
    assert!(fs::read_dir(&out).unwrap().next().is_none(), "nothing was written");
    assert!(!barge.path("deep/evil").exists() && !barge.path("absolute").exists());
}

#[test]
fn damaged_answers_are_refused() {
    let barge = Barge::new();
    let server = Server::start(barge.place());
    barge.run(["images"]).ok();
    let before = barge.files();
    let content = b"what was promised".as_slice();
    let files = [("text/plain", "file", content)];
    let path = format!("/v2/bad/blobs/{}", digest(content));
    let kind = "application/octet-stream";
    serve(&server, "bad", &files, None);
    for (answer, wanted) in [
        (Answer::new(kind, b"something else...".as_slice()), "damaged"),
        (Answer::new(kind, b"what was promised and more".as_slice()), "larger"),
        (Answer::new(kind, b"too short".as_slice()), "9 of 17 bytes"),
        (Answer::new(kind, b"no".as_slice()).status(404), "does not have it"),
    ] {
        server.answer(&path, answer);
        let name = server.reference("bad:1");
        barge.run(["artifact", "pull", "-q", &name]).fails(125).error_has(wanted);
        barge.run(["artifact", "inspect", &name]).fails(125).error_has("does not exist");
    }
    let mut odd = manifest(&files, None);
    odd["layers"][0]["digest"] = json!("sha256:../../../etc/passwd");
    server.serve_manifest("bad", &odd);
    barge.run(["artifact", "pull", "-q", &server.reference("bad:1")]).fails(125);
    let list = json!({ "schemaVersion": 2, "manifests": [] });
    server.serve_manifest("bad", &list);
    let line = ["artifact", "pull", "-q", &server.reference("bad:1")];
    barge.run(line).fails(125).error_has("list").hint_has("manifest inspect");
    // What came whole beside the damaged file stays for the next try.
    let whole = barge.root().join("partial").join(hex(&digest(b"{}")));
    if whole.exists() {
        assert_eq!(fs::read(&whole).unwrap(), b"{}");
        fs::remove_file(&whole).unwrap();
    }
    barge.has_files(&before, "nothing is left of a try");
}

#[test]
fn what_refers_to_something_is_listed_with_it() {
    let barge = Barge::new();
    let (server, registry) = (Server::start(barge.place()), Registry::empty(barge.place()));
    let app = barge.file("app", "the thing itself");
    let thing = registry.reference("app:1");
    let id = barge.run(["artifact", "add", &thing, &app]).ok().text();
    barge.run(["artifact", "push", "-q", &thing]).ok();
    let size = raw(&barge, &thing).len();
    let subject = json!({ "mediaType": MANIFEST, "digest": format!("sha256:{id}"), "size": size });
    let tag = registry.reference(&format!("app:sha256-{id}"));
    for (number, content) in ["a list of parts", "a signature"].iter().enumerate() {
        let name = format!("sbom{number}");
        serve(&server, &name, &[("text/plain", "sbom", content.as_bytes())], Some(&subject));
        let from = server.reference(&format!("{name}:1"));
        let digest = barge.run(["artifact", "pull", "-q", &from]).ok().text();
        let to = registry.reference(&format!("app:{name}"));
        // Twice: it is listed once.
        for _ in 0..2 {
            barge.run(["artifact", "push", "-q", &from, &to]).ok().stdout(&format!("{digest}\n"));
        }
        let index: Value = serde_json::from_slice(&raw(&barge, &tag)).unwrap();
        assert_eq!(index["mediaType"], "application/vnd.oci.image.index.v1+json");
        let referrers = index["manifests"].as_array().unwrap();
        assert_eq!(referrers.len(), number + 1);
        assert_eq!(referrers[number]["digest"], format!("sha256:{digest}"));
        assert_eq!(referrers[number]["artifactType"], "application/vnd.test");
    }
}

#[test]
fn a_pull_goes_on_where_it_broke_off() {
    let barge = Barge::new();
    let server = Server::start(barge.place());
    let content = noise(3_000_000);
    let files = [("application/octet-stream", "file", content.as_slice())];
    serve(&server, "slow", &files, None);
    let path = format!("/v2/slow/blobs/{}", digest(&content));
    let answer = Answer::new("application/octet-stream", content.as_slice());
    server.answer(&path, answer.clone().cut());
    let name = server.reference("slow:1");
    barge.run(["artifact", "pull", "-q", "--retry=0", &name]).fails(125).hint_has("try again");
    let partial = barge.root().join("partial").join(hex(&digest(&content)));
    assert!(fs::metadata(&partial).unwrap().len() > 0);
    // What is there already is wrong: it is noticed, and fetched once more.
    let mut wrong = fs::read(&partial).unwrap();
    wrong[0] ^= 1;
    fs::write(&partial, wrong).unwrap();
    server.answer(&path, answer);
    barge.run(["artifact", "pull", "-q", &name]).ok();
    let out = barge.path_text("out");
    barge.run(["artifact", "extract", &name, &out]).ok();
    assert!(fs::read(&out).unwrap() == content);
    assert!(!partial.exists());
}

#[test]
fn what_the_policy_refuses_does_not_come() {
    let barge = Barge::new();
    let server = Server::start(barge.place());
    serve(&server, "app", &[("text/plain", "file", b"content")], None);
    let policy = barge.file("policy.json", r#"{"default":[{"type":"reject"}]}"#);
    let name = server.reference("app:1");
    let line = ["artifact", "pull", "-q", "--signature-policy", &policy, &name];
    barge.run(line).fails(125).error_has("reject");
    barge.run(["artifact", "inspect", &name]).fails(125);
    assert!(!server.asked().iter().any(|path| path.contains("/blobs/")));
    // An artifact is no image.
    barge.run(["pull", "-q", &name]).fails(125).hint_has("artifact pull");
}

#[test]
fn artifacts_are_mounted_in_containers() {
    let barge = Barge::with_busybox();
    let [one, two] =
        [("one", "first"), ("two", "second")].map(|(name, text)| barge.file(name, text));
    barge.run(["artifact", "add", "localhost/both:1", &one, &two]).ok();
    barge.run(["artifact", "add", "localhost/single:1", &one]).ok();
    let see = |mount: &str, script: &str| {
        let mount = format!("type=artifact,{mount}");
        barge.shell(&["--user", "1000", "--mount", &mount], script)
    };
    let script = "cat /m/one /m/two; echo >/m/one";
    let output = see("src=both:1,dst=/m", script).exits(1).stdout("firstsecond");
    output.stderr_has("Read-only file system");
    see("src=both:1,dst=/m,title=two", "ls /m; cat /m/two").ok().stdout("two\nsecond");
    see("src=both:1,dst=/m,name=f", "ls /m; cat /m/f-1").ok().stdout("f-0\nf-1\nsecond");
    see("src=single:1,dst=/m,name=f", "cat /m/f").ok().stdout("first");
    let second = digest(b"second");
    let named = second.replace(':', "-");
    see(&format!("src=both:1,dst=/m,digest={second}"), "ls /m").ok().stdout(&format!("{named}\n"));
    // In the place of a file there can be only one.
    see("src=single:1,dst=/etc/passwd", "cat /etc/passwd").ok().stdout("first");
    see("src=both:1,dst=/etc/passwd", "true").fails(125).error_has("several blobs");
    see("src=both:1,dst=/m,title=three", "true").fails(125).error_has("no blob with the title");
    see("src=nosuch:1,dst=/m", "true").fails(125).error_has("artifact does not exist");
    // What a container shows stays as long as the container.
    let mount = ["--mount", "type=artifact,src=single:1,dst=/m"];
    let line = ["create", "--network=none", "--userns=auto:size=1024", "--name=box"];
    barge.run([&line[..], &mount, &["busybox", "cat", "/m/one"]].concat()).ok();
    barge.run(["artifact", "rm", "both:1", "single:1"]).ok();
    barge.run(["start", "-a", "box"]).ok().stdout("first");
    let shown = "{{range .Mounts}}{{.Type}} {{.Source}} {{.Destination}} {{.RW}}{{end}}";
    assert_eq!(barge.inspect("box", shown), "artifact single:1 /m/one false");
    let blob = barge.root().join("blobs/sha256").join(hex(&digest(b"first")));
    assert!(blob.exists());
    barge.run(["rm", "box"]).ok();
    barge.run(["image", "prune", "-f"]).ok();
    assert!(!blob.exists());
}
