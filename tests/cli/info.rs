//! What barge says of itself and of the machine.

use super::support::{Barge, is_root};

#[test]
fn version_is_the_packages() {
    let barge = Barge::new();
    let version = env!("CARGO_PKG_VERSION");
    barge.run(["--version"]).ok().stdout(&format!("barge version {version}\n"));
    barge.run(["-v"]).ok().stdout(&format!("barge version {version}\n"));
    barge.run(["version"]).ok().stdout_has(version);
    barge.run(["version", "--format", "{{.Client.Version}}"]).ok().stdout(&format!("{version}\n"));
}

#[test]
fn info_tells_where_things_are() {
    let barge = Barge::new();
    let root = barge.root();
    let get = |template: &str| barge.run(["info", "--format", template]).ok().text();
    assert_eq!(get("{{.Store.GraphRoot}}"), root.to_string_lossy());
    assert_eq!(get("{{.Store.RunRoot}}"), barge.runroot().to_string_lossy());
    assert_eq!(get("{{.Store.GraphDriverName}}"), "overlay");
    assert_eq!(get("{{.Host.Security.Rootless}}"), (!is_root()).to_string());
    assert_eq!(get("{{.Version.Version}}"), env!("CARGO_PKG_VERSION"));
    assert_eq!(get("{{.Store.ContainerStore.Number}} {{.Store.ImageStore.Number}}"), "0 0");
    assert_eq!(get("{{.Host.OS}} {{.Host.Os}}"), "linux linux");
    let json = barge.run(["info", "-f", "json"]).ok().json();
    assert!(json.is_object());
    barge.run(["info", "--format", "{{.Host.Nosuch}}"]).fails(125).error_has("Nosuch");
}

#[test]
fn system_check_names_each_matter() {
    let barge = Barge::new();
    let output = barge.run(["system", "check"]);
    assert!([0, 1].contains(&output.status), "{}", output.story());
    let text = output.text().to_lowercase();
    for matter in ["overlay", "cgroups", "seccomp", "namespaces", "file watches", "store"] {
        assert!(text.contains(matter), "{matter}: {}", output.text());
    }
    if !is_root() {
        for matter in ["newuidmap", "pasta"] {
            assert!(text.contains(matter), "{matter}: {}", output.text());
        }
    }
}

#[test]
fn system_check_says_what_to_do_where_much_is_missing() {
    let barge = Barge::new();
    // Nothing is installed, and the store cannot be made: each is one finding among others.
    let line = ["--root", "/proc/nosuch", "--runroot", "/proc/nosuch", "system", "check"];
    let output = barge.bare_command(line).env("PATH", "/nonexistent").run().exits(1);
    let lines = output.lines();
    let after = |start: &str| -> &str {
        let place = lines.iter().position(|line| line.starts_with(start));
        let place = place.unwrap_or_else(|| panic!("no `{start}` in {}", output.text()));
        &lines[place + 1]
    };
    assert!(after("missing  store").contains("-> "), "{}", output.text());
    if !is_root() {
        assert!(after("missing  newuidmap").contains("uidmap"), "{}", output.text());
        assert!(after("missing  pasta").contains("passt"), "{}", output.text());
    }
    assert!(output.text().contains("gnupg"), "{}", output.text());
    for (place, line) in lines.iter().enumerate().filter(|(_, line)| line.starts_with("missing")) {
        assert!(lines[place + 1].trim_start().starts_with("-> "), "{line}: no way out");
    }
    assert_eq!(output.errors(), "");
}

#[test]
fn help_is_there_for_every_command() {
    let barge = Barge::new();
    let output = barge.run(["--help"]).ok();
    for command in ["run", "ps", "pull", "images", "exec", "logs", "inspect", "system"] {
        assert!(output.text().contains(command), "{command}");
        let help = barge.run([command, "--help"]).ok();
        assert!(help.text().contains(&format!("barge {command}")), "{}", help.text());
        assert_eq!(help.errors(), "");
    }
    barge
        .run(["ps", "--nosuch"])
        .exits(125)
        .stderr("Error: unknown flag: --nosuch\nSee 'barge ps --help'\n");
    barge.run(["ps", "--filter"]).exits(125).stderr_has("Error: flag needs an argument: ");
}

#[test]
fn the_store_is_made_where_this_user_keeps_such_things() {
    if is_root() {
        return;
    }
    let barge = Barge::new();
    barge.bare_command(["images", "-q"]).run().ok().stdout("");
    assert!(barge.path("h/.local/share/barge/format").exists());
    assert!(barge.path("x/barge").is_dir());
    let data = barge.path_text("data");
    barge.bare_command(["images", "-q"]).env("XDG_DATA_HOME", &data).run().ok();
    assert!(barge.path("data/barge/format").exists());
}

#[test]
fn the_executable_is_static() {
    let path = super::support::fixture::barge();
    let output =
        super::support::tool("sh", ["-c", "ldd \"$1\" 2>&1 || true", "x", &path.to_string_lossy()]);
    assert!(
        output.contains("statically linked") || output.contains("not a dynamic executable"),
        "{output}"
    );
}

#[test]
fn a_store_of_another_format_is_refused() {
    let barge = Barge::new();
    std::fs::create_dir(barge.root()).unwrap();
    std::fs::write(barge.root().join("format"), "99\n").unwrap();
    barge.run(["ps"]).fails(125).error_has("format 99").hint_has("--root");
    std::fs::remove_dir_all(barge.root()).unwrap();
}
