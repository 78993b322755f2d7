//! `docker buildx build` and `docker compose build`, which go through BuildKit's API.
//!
//! The clients are those of later Debians, which `tests/run` gets; one is of the time when the API was
//! young, one is new.

use std::fs;

use crate::support::docker::DockerHost;
use crate::support::http::{Http, reply};
use crate::support::registry::Registry;
use crate::support::{Barge, Need, Output, needs, tool};

const OLD: &str = "/var/cache/barge-tests/trixie/docker-buildx";
const NEW: &str = "/var/cache/barge-tests/sid/docker-buildx";
const COMPOSE: &str = "/var/cache/barge-tests/sid/docker-compose";

fn context(barge: &Barge, dockerfile: &str) -> String {
    fs::create_dir_all(barge.path("c")).unwrap();
    barge.file("c/Dockerfile", dockerfile);
    barge.path_text("c")
}

/// Builds, and shows the progress as lines.
fn build(docker: &DockerHost<'_>, client: &str, arguments: &[&str]) -> Output {
    let line = ["build", "--progress=plain"].iter().chain(arguments);
    docker.client(client, line).run()
}

/// What is told of a build.
fn said(output: &Output) -> String {
    format!("{}{}", output.text(), output.errors())
}

#[test]
fn builds_by_clients_old_and_new() {
    for client in [OLD, NEW] {
        if !needs(&[Need::Tool(client)]) {
            return;
        }
        let barge = Barge::new();
        let docker = DockerHost::with_busybox(&barge);
        let dir = context(
            &barge,
            "FROM busybox AS base\nARG WORD=none\nRUN echo said $WORD | tee /word\n\
             FROM base\nWORKDIR /w\nCOPY . .\nCOPY --from=base /word /copied\nLABEL a=b\n",
        );
        barge.file("c/kept", "kept\n");
        barge.file("c/left-out", "x");
        barge.file("c/.dockerignore", "left-out\n");
        let id = barge.path_text("id");
        let line =
            ["-t", "app:1", "--build-arg", "WORD=hi", "--label", "k=v", "--iidfile", &id, &dir];
        let text = said(&build(&docker, client, &line).exits(0));
        for part in [
            "[internal] load build definition from Dockerfile",
            "[internal] load .dockerignore",
            "[internal] load build context",
            "[base 2/2] RUN echo said $WORD | tee /word",
            "said hi",
            "[stage-1 2/3] COPY . .",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let shown =
            barge.run(["inspect", "--format={{.Id}}", "docker.io/library/app:1"]).ok().text();
        let told = fs::read_to_string(&id).unwrap();
        assert_eq!(told.trim_start_matches("sha256:"), shown.trim_start_matches("sha256:"));
        barge
            .run([
                "run",
                "--rm",
                "--network=none",
                "docker.io/library/app:1",
                "sh",
                "-c",
                "cat /copied; ls -A",
            ])
            .ok()
            .stdout("said hi\n.dockerignore\nDockerfile\nkept\n");
        let labels = "--format={{json .Config.Labels}}";
        barge
            .run(["inspect", labels, "docker.io/library/app:1"])
            .ok()
            .stdout("{\"a\":\"b\",\"k\":\"v\"}\n");
        // Again: all is known, and nothing is sent anew.
        let again = said(&build(&docker, client, &line).exits(0));
        assert!(again.contains("CACHED"), "{again}");
        assert!(!again.contains("said hi"), "{again}");
        // A file that has changed is noticed.
        barge.file("c/kept", "other\n");
        build(&docker, client, &line).exits(0);
        barge
            .run(["run", "--rm", "--network=none", "docker.io/library/app:1", "cat", "kept"])
            .ok()
            .stdout("other\n");
    }
}

#[test]
fn shows_the_line_that_fails() {
    if !needs(&[Need::Tool(NEW)]) {
        return;
    }
    let barge = Barge::new();
    let docker = DockerHost::with_busybox(&barge);
    let dir = context(&barge, "FROM busybox\nRUN true\nRUN echo out; exit 7\n");
    let text = said(&build(&docker, NEW, &[&dir]).exits(1));
    for part in [
        "Dockerfile:3",
        ">>> RUN echo out; exit 7",
        "process \"/bin/sh -c echo out; exit 7\" did not complete successfully: exit code: 7",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let dir = context(&barge, "FROM busybox\nNOSUCH x\n");
    let text = said(&build(&docker, NEW, &[&dir]).exits(1));
    assert!(text.contains("Dockerfile:2"), "{text}");
    fs::remove_file(barge.path("c/Dockerfile")).unwrap();
    let text = said(&build(&docker, NEW, &[&dir]).exits(1));
    assert!(text.contains("Dockerfile") && text.contains("no such file"), "{text}");
}

#[test]
fn gives_commands_secrets_and_agents() {
    if !needs(&[Need::Tool(NEW)]) {
        return;
    }
    let barge = Barge::new();
    let docker = DockerHost::with_busybox(&barge);
    let dir = context(
        &barge,
        "FROM busybox\nRUN --mount=type=secret,id=word cat /run/secrets/word > /dev/null && \
         sha256sum /run/secrets/word | cut -c1-8 > /sum\n\
         RUN --mount=type=secret,id=none test ! -e /run/secrets/none\n\
         RUN --mount=type=ssh test -S $SSH_AUTH_SOCK && echo agent > /agent\n",
    );
    let secret = barge.file("word", "s3cret");
    let socket = barge.path_text("agent.sock");
    let _agent = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let secret = format!("id=word,src={secret}");
    let agent = format!("default={socket}");
    let line = ["-t", "app", "--secret", &secret, "--ssh", &agent, &dir];
    build(&docker, NEW, &line).exits(0);
    barge
        .run(["run", "--rm", "--network=none", "docker.io/library/app", "cat", "/sum", "/agent"])
        .ok()
        .stdout("1ec1c26b\nagent\n");
    let dir = context(&barge, "FROM busybox\nRUN --mount=type=secret,id=x,required=true true\n");
    let text = said(&build(&docker, NEW, &[&dir]).exits(1));
    assert!(text.contains("secret x: not found"), "{text}");
}

#[test]
fn hands_results_over() {
    if !needs(&[Need::Tool(NEW)]) {
        return;
    }
    let barge = Barge::new();
    let docker = DockerHost::with_busybox(&barge);
    let dir = context(
        &barge,
        "FROM busybox AS make\nRUN mkdir /o && echo made > /o/file && ln -s file /o/link\n\
         FROM scratch\nCOPY --from=make /o /\n",
    );
    let out = barge.path_text("out");
    build(&docker, NEW, &["-o", &out, &dir]).exits(0);
    assert_eq!(fs::read_to_string(barge.path("out/file")).unwrap(), "made\n");
    assert_eq!(fs::read_link(barge.path("out/link")).unwrap().to_str(), Some("file"));
    let tar = barge.path_text("out.tar");
    build(&docker, NEW, &["-o", &format!("type=tar,dest={tar}"), &dir]).exits(0);
    let listed = tool("tar", ["-tf", &tar]);
    assert!(listed.contains("file"), "{listed}");
    // Nobody wanted an image.
    let images = barge.run(["images", "-q"]).ok().text();
    assert_eq!(images.lines().count(), 1, "{images}");
    // An archive of the image, which the command line reads.
    let archive = barge.path_text("image.tar");
    build(&docker, NEW, &["-t", "app", "-o", &format!("type=docker,dest={archive}"), &dir])
        .exits(0);
    barge.run(["load", "-i", &archive]).exits(0);
    barge.run(["image", "exists", "docker.io/library/app"]).exits(0);
}

#[test]
fn takes_contexts_from_elsewhere() {
    if !needs(&[Need::Tool(NEW)]) {
        return;
    }
    let barge = Barge::new();
    let docker = DockerHost::with_busybox(&barge);
    // Another Dockerfile than that of the context, and a context with a name.
    let dir = context(&barge, "FROM nosuch\n");
    fs::create_dir_all(barge.path("more")).unwrap();
    barge.file("more/file", "more\n");
    let own = barge.file("own", "FROM busybox\nCOPY --from=extra file /file\n");
    let extra = format!("extra={}", barge.path_text("more"));
    build(&docker, NEW, &["-t", "app", "-f", &own, "--build-context", &extra, &dir]).exits(0);
    let cat = ["run", "--rm", "--network=none", "docker.io/library/app", "cat", "/file"];
    barge.run(cat).ok().stdout("more\n");
    // A Dockerfile, and then an archive, on standard input.
    let line = ["build", "--progress=plain", "-t", "app", "-"];
    docker.client(NEW, line).input("FROM busybox\nRUN echo alone > /file\n").run().exits(0);
    barge.run(cat).ok().stdout("alone\n");
    let dir = context(&barge, "FROM busybox\nCOPY data /file\n");
    barge.file("c/data", "archived\n");
    let archive = barge.path_text("c.tar");
    tool("tar", ["-C", &dir, "-cf", &archive, "."]);
    docker.client(NEW, line).input(fs::read(&archive).unwrap()).run().exits(0);
    barge.run(cat).ok().stdout("archived\n");
}

#[test]
fn compose_builds_its_services() {
    if !needs(&[Need::Tool(COMPOSE), Need::Tool(NEW)]) {
        return;
    }
    let barge = Barge::new();
    let docker = DockerHost::with_busybox(&barge);
    context(&barge, "FROM busybox\nARG WORD\nRUN echo $WORD > /word\n");
    barge.file(
        "compose.yaml",
        "services:\n  one:\n    image: one\n    build:\n      context: c\n      args: {WORD: first}\n  \
         two:\n    image: two\n    build:\n      context: c\n      args: {WORD: second}\n",
    );
    let plugins = barge.path("docker/cli-plugins");
    fs::create_dir_all(&plugins).unwrap();
    std::os::unix::fs::symlink(NEW, plugins.join("docker-buildx")).unwrap();
    let file = barge.path_text("compose.yaml");
    let line = ["-p", "p", "-f", &file, "build"];
    docker.client(COMPOSE, line).env("DOCKER_BUILDKIT", "1").run().exits(0);
    for (name, word) in [("one", "first\n"), ("two", "second\n")] {
        let name = format!("docker.io/library/{name}");
        barge.run(["run", "--rm", "--network=none", &name, "cat", "/word"]).ok().stdout(word);
    }
}

#[test]
fn compose_leaves_what_is_as_it_should_be() {
    if !needs(&[Need::Tool(COMPOSE)]) {
        return;
    }
    let barge = Barge::new();
    let docker = DockerHost::with_busybox(&barge);
    barge.file(
        "compose.yaml",
        "services:\n  web:\n    image: busybox\n    command: sleep 1000\n    networks: [front, back]\n    \
         volumes: [\"data:/d\"]\nnetworks:\n  front: {}\n  back: {}\nvolumes:\n  data: {}\n",
    );
    let file = barge.path_text("compose.yaml");
    let compose = |line: &[&str]| {
        docker.client(COMPOSE, [&["-p", "p", "-f", &file], line].concat()).run().exits(0)
    };
    compose(&["up", "-d"]);
    let id = barge.inspect("p-web-1", "{{.Id}} {{.State.StartedAt}}");
    compose(&["up", "-d"]);
    assert_eq!(barge.inspect("p-web-1", "{{.Id}} {{.State.StartedAt}}"), id);
    compose(&["down", "-t", "0", "-v"]);
}

#[test]
fn private_bases_are_fetched_by_who_the_client_is() {
    if !needs(&[Need::Tool(NEW)]) {
        return;
    }
    let barge = Barge::new();
    let docker = DockerHost::with_busybox(&barge);
    let registry = Registry::with_password(barge.place());
    let base = registry.reference("box:1");
    // It is known by then only what the base is.
    let dir = context(&barge, "ARG BASE\nFROM $BASE\nLABEL made=here\n");
    let base = format!("BASE={base}");
    let line = ["-t", "app", "--build-arg", &base, &dir];
    let text = said(&build(&docker, NEW, &line).exits(1));
    assert!(text.contains("authentication required"), "{text}");
    let host = registry.reference("");
    let host = host.trim_end_matches('/');
    // user:secret
    let auths = format!(r#"{{"auths":{{"{host}":{{"auth":"dXNlcjpzZWNyZXQ="}}}}}}"#);
    fs::create_dir_all(barge.path("docker")).unwrap();
    barge.file("docker/config.json", &auths);
    build(&docker, NEW, &line).exits(0);
    barge.run(["image", "exists", "docker.io/library/app"]).exits(0);
}

#[test]
fn results_and_caches_go_to_registries() {
    if !needs(&[Need::Tool(NEW)]) {
        return;
    }
    let barge = Barge::new();
    let docker = DockerHost::with_busybox(&barge);
    let registry = Registry::empty(barge.place());
    let name = registry.reference("app:1");
    let dir = context(&barge, "FROM busybox\nRUN head -c 20 /dev/urandom > /made\n");
    let line = ["-t", &name, "--cache-to", "type=inline", "--push", &dir];
    build(&docker, NEW, &line).exits(0);
    let show = ["run", "--rm", "--network=none", &name, "sha256sum", "/made"];
    let made = barge.run(show).ok().text();
    barge.run(["rmi", &name]).exits(0);
    barge.run(["builder", "prune", "-af"]).ok();
    let from = format!("type=registry,ref={name}");
    let text = said(&build(&docker, NEW, &["-t", &name, "--cache-from", &from, &dir]).exits(0));
    assert!(text.contains("CACHED"), "{text}");
    assert_eq!(barge.run(show).ok().text(), made);
    // All steps, beside the image.
    let kept = registry.reference("app:cache");
    let to = format!("type=registry,ref={kept},mode=max");
    build(&docker, NEW, &["-t", &name, "--cache-to", &to, &dir]).exits(0);
    barge.run(["rmi", &name]).exits(0);
    barge.run(["builder", "prune", "-af"]).ok();
    let from = format!("type=registry,ref={kept}");
    let text = said(&build(&docker, NEW, &["-t", &name, "--cache-from", &from, &dir]).exits(0));
    assert!(text.contains("CACHED"), "{text}");
}

#[test]
fn caches_are_kept_in_directories_of_the_client() {
    for client in [OLD, NEW] {
        if !needs(&[Need::Tool(client)]) {
            return;
        }
        let barge = Barge::new();
        let docker = DockerHost::with_busybox(&barge);
        let dir = context(
            &barge,
            "FROM busybox AS make\nRUN head -c 20 /dev/urandom > /made\n\
             FROM busybox\nCOPY --from=make /made /made\n",
        );
        let kept = barge.path_text("kept here");
        let (to, from) =
            (format!("type=local,dest={kept},mode=max"), format!("type=local,src={kept}"));
        let name = "docker.io/library/app";
        let show = ["run", "--rm", "--network=none", name, "sha256sum", "/made"];
        let forget = || {
            barge.run(["rmi", name]).exits(0);
            barge.run(["builder", "prune", "-af"]).ok();
        };
        build(&docker, client, &["-t", "app", "--cache-to", &to, &dir]).exits(0);
        let made = barge.run(show).ok().text();
        let index = fs::read_to_string(barge.path("kept here/index.json")).unwrap();
        assert!(index.contains("\"latest\""), "{index}");
        for load in [&["--load"][..], &[]] {
            forget();
            let line = ["-t", "app", "--cache-from", &from, "--cache-to", &to];
            let line = [&line[..], load, &[&dir]].concat();
            let text = said(&build(&docker, client, &line).exits(0));
            assert!(text.contains("CACHED"), "{text}");
            assert_eq!(barge.run(show).ok().text(), made);
        }
        // Without a result, the cache is all that is left of it.
        forget();
        fs::remove_dir_all(&kept).unwrap();
        build(&docker, client, &["--cache-to", &to, &dir]).exits(0);
        barge.run(["builder", "prune", "-af"]).ok();
        // The command line reads what clients have.
        let text = barge.run(["build", "--cache-from", &from, "-t", name, &dir]).ok().text();
        assert!(text.contains("Using cache"), "{text}");
        // What comes from a cache can be given away, also when the cache's own image is gone.
        barge.run(["save", "-q", "-o", &barge.path_text("saved.tar"), name]).ok();
    }
}

#[test]
fn caches_of_buildkit_are_told_apart() {
    if !needs(&[Need::Tool(NEW)]) {
        return;
    }
    let barge = Barge::new();
    let docker = DockerHost::with_busybox(&barge);
    let dir = context(&barge, "FROM busybox\nRUN true\n");
    fs::create_dir_all(barge.path("kept/blobs/sha256")).unwrap();
    let manifest = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
    let path = barge.file("manifest", manifest);
    let sum = tool("sha256sum", [&path]);
    let digest = sum.split(' ').next().unwrap();
    barge.file(&format!("kept/blobs/sha256/{digest}"), manifest);
    barge.file("kept/oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#);
    let length = manifest.len();
    barge.file(
        "kept/index.json",
        format!(
            r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"application/vnd.oci.image.index.v1+json","digest":"sha256:{digest}","size":{length},"annotations":{{"org.opencontainers.image.ref.name":"latest"}}}}]}}"#
        ),
    );
    let from = format!("type=local,src={}", barge.path_text("kept"));
    let text = said(&build(&docker, NEW, &["-t", "app", "--cache-from", &from, &dir]).exits(0));
    assert!(text.contains("importing cache manifest from local:"), "{text}");
    assert!(text.contains("is for BuildKit"), "{text}");
}

#[test]
fn images_for_several_platforms_are_pushed() {
    if !needs(&[Need::Tool(NEW)]) {
        return;
    }
    let barge = Barge::new();
    let docker = DockerHost::with_busybox(&barge);
    let registry = Registry::empty(barge.place());
    let name = registry.reference("several:1");
    let dir = context(&barge, "FROM scratch\nCOPY Dockerfile /file\n");
    let line = ["--platform=linux/amd64,linux/arm64", "-t", &name, "--push", &dir];
    build(&docker, NEW, &line).exits(0);
    let source = format!("docker://{name}");
    let line = ["inspect", "--tls-verify=false", "--raw", &source];
    let index = barge.other_command("skopeo", line).run().ok().json();
    let of = |number: usize| index["manifests"][number]["platform"]["architecture"].clone();
    assert_eq!([of(0), of(1)], ["amd64", "arm64"], "{index}");
}

#[test]
fn contexts_come_from_git() {
    if !needs(&[Need::Tool(NEW), Need::Tool("git")]) {
        return;
    }
    let barge = Barge::new();
    let docker = DockerHost::with_busybox(&barge);
    fs::create_dir_all(barge.path("work/sub")).unwrap();
    barge.file("work/Dockerfile", "FROM busybox\nCOPY data /data\n");
    barge.file("work/data", "main\n");
    barge.file("work/sub/Dockerfile", "FROM busybox\nCOPY data /data\n");
    barge.file("work/sub/data", "below\n");
    let script = "cd work && git init -q -b main && git add -A && \
                  git -c user.name=t -c user.email=t@t commit -q -m one && cd .. && \
                  git clone -q --bare work repo.git && git -C repo.git update-server-info";
    let root = barge.directory().to_owned();
    tool("sh", ["-c", &format!("cd {} && {script}", root.display())]);
    let http = Http::start(barge.place(), move |request| {
        let path = request.path.split('?').next().unwrap_or_default().trim_start_matches('/');
        match fs::read(root.join(path)) {
            Ok(data) if path.starts_with("repo.git/") => reply(200, data),
            _ => reply(404, "no"),
        }
    });
    let address = format!("http://{}/repo.git", http.address());
    let cat = ["run", "--rm", "--network=none", "docker.io/library/app", "cat", "/data"];
    for (fragment, want) in [("", "main\n"), ("#main:sub", "below\n")] {
        let line = ["-t", "app", &format!("{address}{fragment}")];
        build(&docker, NEW, &line).exits(0);
        barge.run(cat).ok().stdout(want);
    }
    let text = said(&build(&docker, NEW, &[&format!("{address}#nosuch")]).exits(1));
    assert!(text.contains("nosuch"), "{text}");
}
