//! `barge pull` from a real registry.

use super::support::barge::is_full_id;
use super::support::registry::Registry;
use super::support::{Barge, fixture};

#[test]
fn pull_prints_the_id_and_the_image_runs() {
    let barge = Barge::new();
    let registry = Registry::start(barge.place());
    for tag in ["1", "zstd", "plain", "docker", "many"] {
        let name = registry.reference(&format!("box:{tag}"));
        let output = barge.run(["pull", &name]).exits(0);
        let id = output.text();
        assert!(is_full_id(&id), "{tag}: `{id}`");
        assert!(
            output.errors().starts_with(&format!("Trying to pull {name}...\n")),
            "{}",
            output.errors()
        );
        assert!(!output.errors().contains('\r') && !output.errors().contains('\u{1b}'));
        barge
            .run(["run", "--rm", "--network=none", &name])
            .ok()
            .stdout("hello from a layer\n")
            .stderr("");
        let script = "ls /removed 2>/dev/null; ls /emptied; cat /again";
        let line = ["run", "--rm", "--network=none", &name, "sh", "-c", script];
        barge.run(line).ok().stdout("new\nhello from a layer\n");
        let found = barge.run(["image", "inspect", "--format", "{{.Id}}", &name]).ok().text();
        assert_eq!(found.trim_start_matches("sha256:"), id);
    }
    barge.leaves_nothing();
}

#[test]
fn pull_by_digest() {
    let barge = Barge::new();
    let registry = Registry::start(barge.place());
    let digest = fixture::box_digest();
    let by_digest = registry.reference(&format!("box@{digest}"));
    let both = registry.reference(&format!("box:1@{digest}"));
    let id = barge.run(["pull", "-q", &by_digest]).ok().text();
    assert!(is_full_id(&id), "{id}");
    barge.run(["run", "--rm", "--network=none", &by_digest]).ok().stdout("hello from a layer\n");
    barge.run(["pull", "-q", &both]).ok().stdout(&format!("{id}\n"));
    let wrong = registry.reference(&format!("box@sha256:{}", "0".repeat(64)));
    let before = barge.files();
    barge.run(["pull", "-q", &wrong]).fails(125).error_has(&wrong);
    barge.has_files(&before, "");
}

#[test]
fn pull_again_fetches_nothing() {
    let barge = Barge::new();
    let registry = Registry::start(barge.place());
    let name = registry.reference("box:1");
    let id = barge.run(["pull", "-q", &name]).ok().text();
    let before = barge.files();
    barge.run(["pull", "-q", &name]).ok().stdout(&format!("{id}\n"));
    barge.has_files(&before, "");
    drop(registry);
    barge
        .run(["run", "--rm", "--network=none", "--pull", "missing", &name, "true"])
        .ok()
        .stderr("");
    barge.run(["run", "--rm", "--network=none", "--pull", "never", &name, "true"]).ok();
    // "newer" does not mind that there is no registry, "always" does.
    barge.run(["run", "--rm", "--network=none", "--pull", "newer", &name, "true"]).exits(0);
    barge.run(["run", "--rm", "--network=none", "--pull", "always", &name, "true"]).fails(125);
    barge.run(["run", "--rm", "--pull", "sometimes", &name, "true"]).fails(125);
}

#[test]
fn run_pulls_what_is_missing() {
    let barge = Barge::new();
    let registry = Registry::start(barge.place());
    let name = registry.reference("box");
    let output =
        barge.run(["run", "--rm", "--network=none", &name]).exits(0).stdout("hello from a layer\n");
    assert!(output.errors().starts_with("Trying to pull "), "{}", output.errors());
    barge
        .run(["run", "--rm", "--network=none", &name])
        .ok()
        .stdout("hello from a layer\n")
        .stderr("");
}

#[test]
fn pull_reports_what_the_registry_does_not_have() {
    let barge = Barge::new();
    let registry = Registry::start(barge.place());
    barge.run(["images"]).ok();
    let before = barge.files();
    for name in ["box:nosuch", "nosuch:1", "no/such/name"] {
        let name = registry.reference(name);
        barge.run(["pull", &name]).fails(125).error_has(&name);
        barge.run(["run", "--rm", "--network=none", &name, "true"]).fails(125).error_has(&name);
    }
    let foreign = registry.reference("box:foreign");
    barge.run(["pull", &foreign]).fails(125).error_has("linux").hint_has("");
    barge.has_files(&before, "");
}

#[test]
fn pull_reports_registries_that_are_not_there() {
    let barge = Barge::new();
    barge.run(["images"]).ok();
    let before = barge.files();
    let port = super::support::registry::free_port(barge.place());
    let name = format!("127.0.0.1:{port}/box");
    barge.run(["pull", &name]).fails(125).error_has("connection refused");
    barge.run(["pull", "registry.invalid/box"]).fails(125).error_has("registry.invalid");
    for name in ["UPPER/case", "a b", "http://x/y", "", ":1", "x:", "x@sha256:12"] {
        barge.run(["pull", name]).fails(125);
    }
    barge.has_files(&before, "");
}

#[test]
fn pull_with_a_password() {
    let barge = Barge::new();
    let registry = Registry::with_password(barge.place());
    let name = registry.reference("box:1");
    barge.run(["images"]).ok();
    let before = barge.files();
    barge.run(["pull", "-q", &name]).fails(125).error_has("authentication required");
    barge.run(["pull", "-q", "--creds", "user:wrong", &name]).fails(125);
    barge.has_files(&before, "");
    barge.run(["pull", "-q", "--creds", "user:secret", &name]).ok();
    barge.run(["rmi", &name]).ok();
    // "user:secret" as `login` of any tool writes it.
    let host = name.split('/').next().unwrap();
    let text = format!(r#"{{"auths":{{"{host}":{{"auth":"dXNlcjpzZWNyZXQ="}}}}}}"#);
    let file = barge.file("auth.json", text);
    barge.run(["pull", "-q", "--authfile", &file, &name]).ok();
    barge.run(["rmi", &name]).ok();
    barge.command(["pull", "-q", &name]).env("REGISTRY_AUTH_FILE", &file).run().ok();
    barge.run(["rmi", &name]).ok();
    std::fs::create_dir_all(barge.path("h/.docker")).unwrap();
    std::fs::copy(&file, barge.path("h/.docker/config.json")).unwrap();
    barge.run(["pull", "-q", &name]).ok();
}

#[test]
fn pull_draws_on_a_terminal() {
    let barge = Barge::new();
    let registry = Registry::start(barge.place());
    let name = registry.reference("box:1");
    let mut terminal = barge.command(["pull", &name]).terminal();
    terminal.expect("Trying to pull");
    terminal.exits(0);
    // The ID comes last, on a line of its own.
    let screen = terminal.screen();
    let last = screen.trim_end().lines().last().unwrap().trim_end().to_owned();
    assert!(last.len() >= 64 && is_full_id(&last[last.len() - 64..]), "{screen}");
}

#[test]
fn two_pulls_at_once_make_one_image() {
    let barge = Barge::new();
    let registry = Registry::start(barge.place());
    let name = registry.reference("box:1");
    let running: Vec<_> = (0..4).map(|_| barge.command(["pull", "-q", &name]).spawn()).collect();
    let ids: Vec<String> = running.into_iter().map(|one| one.wait().ok().text()).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(barge.layers().len(), 2);
    barge.run(["run", "--rm", "--network=none", &name]).ok().stdout("hello from a layer\n");
}
