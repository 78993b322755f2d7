//! Images from elsewhere: `image scp` over a stand-in for ssh, `import` from the web.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::support::server::{Answer, Server};
use super::support::{Barge, Output, fixture, tool};

/// A machine that is none: `ssh` runs barge here, on another store.
struct Elsewhere<'a> {
    barge: &'a Barge,
}

impl<'a> Elsewhere<'a> {
    fn new(barge: &'a Barge) -> Self {
        let bin = barge.path("bin");
        fs::create_dir(&bin).unwrap();
        let script = format!(
            "#!/bin/sh\n\
             echo \"$*\" >>{log}\n\
             while [ \"$1\" != -- ]; do shift; done\n\
             case $2 in unknown) echo 'ssh: no such host' >&2; exit 255;; esac\n\
             [ \"$3\" = barge ] || exit 127\n\
             [ \"$2\" != bare ] || exit 127\n\
             shift 3\n\
             [ \"$1\" != save ] || exec cat {archive}\n\
             exec {program} --root {root} --runroot {runroot} \"$@\"\n",
            log = barge.path_text("log"),
            archive = barge.path_text("box.tar"),
            program = fixture::barge().display(),
            root = barge.path_text("there"),
            runroot = barge.path_text("there-run"),
        );
        fs::write(bin.join("ssh"), script).unwrap();
        fs::set_permissions(bin.join("ssh"), fs::Permissions::from_mode(0o755)).unwrap();
        let layout = barge.path("layout");
        fixture::boxes_layout(&layout);
        let source = format!("oci:{}:1", layout.display());
        let target = format!("oci-archive:{}:localhost/box:1", barge.path_text("box.tar"));
        tool("skopeo", ["--insecure-policy", "copy", "-q", &source, &target]);
        Self { barge }
    }

    fn scp(&self, words: &[&str]) -> Output {
        let mut line = vec!["image", "scp"];
        line.extend(words);
        let path = format!("{}:/usr/bin:/bin", self.barge.path_text("bin"));
        self.barge.command(line).env("PATH", path).run()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.barge.path("log")).unwrap_or_default()
    }

    fn run_there(&self, words: &[&str]) -> Output {
        let (root, runroot) = (self.barge.path_text("there"), self.barge.path_text("there-run"));
        let mut line = vec!["--root", &root, "--runroot", &runroot];
        line.extend(words);
        self.barge.bare_command(line).run()
    }
}

#[test]
fn image_scp_copies_over_ssh() {
    let barge = Barge::new();
    let elsewhere = Elsewhere::new(&barge);
    let loaded = "Loaded image: localhost/box:1\n";
    elsewhere.scp(&["me@ci:2222::box:1"]).ok().stdout(loaded);
    let line = "-p 2222 -- me@ci barge save --format oci-archive box:1\n";
    assert_eq!(elsewhere.log(), line);
    barge.run(["run", "--rm", "--network=none", "box:1"]).ok().stdout("hello from a layer\n");
    // From one machine to another, past this one.
    barge.run(["rmi", "box:1"]).ok();
    elsewhere.scp(&["-q", "one::box:1", "two::"]).ok().stdout("");
    barge.run(["image", "exists", "box:1"]).exits(1);
    elsewhere.run_there(&["image", "exists", "box:1"]).exits(0);
    assert!(elsewhere.log().ends_with("-- two barge load\n"), "{}", elsewhere.log());
    elsewhere.run_there(&["rmi", "-a"]).ok();
    // And from here: the very same image.
    elsewhere.scp(&["one::box:1"]).ok();
    elsewhere.scp(&["box:1", "two::"]).ok().stdout(loaded);
    let id = ["images", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}} {{.Digest}}"];
    assert_eq!(elsewhere.run_there(&id).ok().text(), barge.run(id).ok().text());
    elsewhere.run_there(&["rmi", "-a"]).ok();
}

#[test]
fn image_scp_says_what_is_wrong() {
    let barge = Barge::with_busybox();
    let elsewhere = Elsewhere::new(&barge);
    for (words, text) in [
        (&["nosuch", "ci::"][..], "nosuch: image not known"),
        (&["busybox"], "same store"),
        (&["ci::"], "no source image"),
        (&["ci::box:1", "two::other"], "cannot give the image the name `other`"),
        (&["-oProxyCommand=x::box"], "unknown shorthand flag"),
        (&["ci::a;b"], "invalid reference format"),
    ] {
        elsewhere.scp(words).fails(125).error_has(text);
    }
    // Without root it is sudo that says why, if there is one.
    let output = elsewhere.scp(&["nobody-here@localhost::x"]).exits(125);
    assert!(output.errors().contains("nobody-here"), "{}", output.story());
    assert_eq!(elsewhere.log(), "", "nobody was asked");
    let output = elsewhere.scp(&["unknown::box:1"]).exits(125);
    assert!(output.errors().contains("ssh: no such host"), "{}", output.story());
    assert!(output.errors().contains("Error: cannot copy image box:1"), "{}", output.story());
    // The image is larger than a pipe: who saves it has to notice that nobody takes it.
    let output = elsewhere.scp(&["busybox", "unknown::"]).exits(125);
    assert!(output.errors().contains("Error: cannot copy image busybox"), "{}", output.story());
    elsewhere.scp(&["bare::box:1"]).fails(125).hint_has("barge must be installed at bare");
    let line = barge.command(["image", "scp", "ci::box:1"]).env("PATH", "/nonexistent");
    line.run().fails(125).error_has("cannot start `ssh`").hint_has("openssh-client");
    barge.run(["images", "--format", "{{.Repository}}"]).ok().stdout("localhost/busybox\n");
}

#[test]
fn import_reads_from_the_web() {
    let barge = Barge::new();
    let server = Server::start(barge.place());
    let tar = fs::read(fixture::busybox()).unwrap();
    server.answer("/good.tar", Answer::new("application/x-tar", tar.clone()));
    server.answer("/cut.tar", Answer::new("application/x-tar", tar).cut());
    let url = |name: &str| format!("http://{}", server.reference(name));
    barge.run(["import", "-q", &url("good.tar"), "web"]).ok();
    barge.run(["run", "--rm", "--network=none", "web", "echo", "works"]).ok().stdout("works\n");
    let before = barge.files();
    for (name, text) in [("cut.tar", "cannot receive the layer"), ("missing", "404")] {
        barge.run(["import", "-q", &url(name), "bad"]).fails(125).error_has(text);
        barge.has_files(&before, name);
    }
    barge.run(["import", "http://127.0.0.1:1/x", "bad"]).fails(125).error_has("127.0.0.1");
    barge.run(["import", "http://", "bad"]).fails(125);
}

#[test]
fn import_is_told_the_platform_and_all_changes() {
    let barge = Barge::new();
    let tar = fixture::busybox();
    let tar = tar.to_string_lossy();
    let line = [
        "import",
        "-q",
        "--os",
        "linux",
        "--arch",
        "arm64",
        "--variant",
        "v8",
        "-m",
        "by hand",
        "-c",
        "HEALTHCHECK --interval=5s CMD [\"true\"]",
        "-c",
        "ONBUILD RUN make",
        "-c",
        "SHELL [\"/bin/ash\", \"-c\"]",
        "-c",
        "VOLUME /data",
        &tar,
        "other:1",
    ];
    barge.run(line).ok();
    let json = barge.run(["image", "inspect", "other:1"]).ok().json();
    let image = &json[0];
    assert_eq!(image["Architecture"], "arm64");
    assert_eq!(image["Variant"], "v8");
    assert_eq!(image["Comment"], "by hand");
    let config = &image["Config"];
    assert_eq!(config["Healthcheck"]["Test"], serde_json::json!(["CMD", "true"]));
    assert_eq!(config["OnBuild"], serde_json::json!(["RUN make"]));
    assert_eq!(config["Shell"], serde_json::json!(["/bin/ash", "-c"]));
    let line = ["import", "--platform", "linux/arm64", "--os", "linux", &tar];
    barge.run(line).fails(125).error_has("cannot be set together");
    for change in ["HEALTHCHECK x", "ONBUILD FROM x", "SHELL sh"] {
        barge.run(["import", "-c", change, &tar]).fails(125).error_has(change);
    }
}
