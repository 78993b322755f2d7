//! What is removed, what that frees, and what stays whole beside it.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use super::support::layout::Tar;
use super::support::leaks::{entries, files_below};
use super::support::registry::Registry;
use super::support::{Barge, fixture};

/// Makes an image of one small file.
fn import(barge: &Barge, name: &str, content: &str, flags: &[&str]) -> String {
    let tar = barge.file("small.tar", Tar::new().file("f", 0o644, content).bytes());
    let mut line = vec!["import", "-q"];
    line.extend(flags);
    line.extend([tar.as_str(), name]);
    let id = barge.run(line).ok().text();
    id.trim_start_matches("sha256:").to_owned()
}

/// Checks that nothing of any image is left on the disk.
#[track_caller]
fn is_empty(barge: &Barge) {
    for name in ["layers", "images", "refs", "tmp"] {
        let left = entries(&barge.root().join(name));
        assert!(left.is_empty(), "{left:?}");
    }
    let left = files_below(&barge.root().join("blobs"));
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn image_prune_removes_what_has_no_name() {
    let barge = Barge::with_busybox();
    let old = import(&barge, "small", "one", &[]);
    import(&barge, "small", "two", &[]);
    // It asks; whoever does not say yes keeps everything.
    let question = "WARNING! This command removes all dangling images.\n\
                    Are you sure you want to continue? [y/N] ";
    for answer in ["n\n", "\n", "yess\n"] {
        barge.command(["image", "prune"]).input(answer).run().ok().stdout(question);
    }
    barge.run(["image", "prune"]).exits(125).one_error().stdout(question).hint_has("--force");
    barge.run(["image", "exists", &old]).exits(0);
    let want = format!("{question}{old}\nTotal reclaimed space: ");
    barge.command(["image", "prune"]).input("y\n").run().ok().stdout_has(&want);
    barge.run(["image", "prune", "-f"]).ok().stdout("Total reclaimed space: 0B\n");
    // All that no container uses.
    barge.run(["create", "--name", "box", "busybox", "true"]).ok();
    let line = ["image", "prune", "-a", "-f", "--filter", "label=none"];
    barge.run(line).ok().stdout("Total reclaimed space: 0B\n");
    let line = ["image", "prune", "-a", "-f", "--filter", "until=1h"];
    barge.run(line).ok().stdout("Total reclaimed space: 0B\n");
    let labeled = import(&barge, "labeled", "three", &["-c", "LABEL a=b"]);
    let line = ["image", "prune", "-a", "-f", "--filter", "label=a=b"];
    barge.run(line).ok().stdout_has(&format!("{labeled}\n"));
    barge.run(["image", "prune", "-a", "-f"]).ok();
    barge.run(["images", "--format", "{{.Repository}}"]).ok().stdout("localhost/busybox\n");
    barge
        .run(["image", "prune", "-f", "--filter", "bogus=1"])
        .fails(125)
        .error("unsupported image filter \"bogus\"");
    barge.run(["rm", "box"]).ok();
    barge.run(["image", "prune", "-a", "-f"]).ok();
    is_empty(&barge);
}

#[test]
fn system_prune_keeps_what_runs() {
    let barge = Barge::with_busybox();
    let running = barge.start(["busybox", "sleep", "1000"]);
    let line = ["run", "--network=none", "--name", "done", "busybox", "sh", "-c", "echo 12345 >/f"];
    barge.run(line).ok();
    import(&barge, "small", "one", &[]);
    let dangling = import(&barge, "small", "two", &[]);
    import(&barge, "small", "three", &[]);
    let done = barge.inspect("done", "{{.Id}}");
    let text = barge.run(["system", "prune"]).exits(125).text();
    assert!(text.starts_with("WARNING! This command removes:\n\t- all stopped containers\n"));
    let text = barge.run(["system", "prune", "-f"]).ok().text();
    assert!(text.starts_with(&format!("Deleted Containers\n{done}\nDeleted Images\n")), "{text}");
    assert!(text.contains(&dangling) && text.contains("\nTotal reclaimed space: "), "{text}");
    barge.run(["images", "-q", "small"]).ok().stdout_has("\n");
    barge.run(["system", "prune", "-a", "--volumes", "-f"]).ok();
    barge.run(["images", "--format", "{{.Repository}}"]).ok().stdout("localhost/busybox\n");
    assert_eq!(barge.containers(), std::slice::from_ref(&running));
    let line = ["system", "prune", "-f", "--filter", "dangling=true"];
    barge.run(line).fails(125).error("unsupported filter \"dangling\"");
    barge.run(["rm", "-f", "-t", "0", &running]).ok();
    barge.run(["system", "prune", "-a", "-f"]).ok();
    is_empty(&barge);
}

#[test]
fn system_df_adds_up() {
    let barge = Barge::with_busybox();
    barge.run(["tag", "busybox", "again"]).ok();
    let heading = "TYPE           TOTAL       ACTIVE      SIZE        RECLAIMABLE\n";
    barge.run(["system", "df"]).ok().stdout_has(heading).stdout_has("Images         1           0");
    let json = barge.run(["system", "df", "--format", "json"]).ok().json();
    assert_eq!(json[0]["RawSize"], json[0]["RawReclaimable"]);
    let line = ["run", "--network=none", "busybox", "sh", "-c", "head -c 5000 /dev/zero >/f"];
    barge.run(line).ok();
    let json = barge.run(["system", "df", "--format", "json"]).ok().json();
    assert_eq!(json[0]["Active"], 1);
    assert_eq!(json[0]["RawReclaimable"], 0);
    assert_eq!(json[1]["Type"], "Containers");
    // The file, and nothing that every container has.
    assert_eq!(json[1]["RawSize"], 5000);
    let line = ["system", "df", "--format", "{{.Type}} {{.TotalCount}} {{.Reclaimable}}"];
    barge.run(line).ok().stdout_has("Containers 1 5kB (100%)\n");
    let text = barge.run(["system", "df", "-v"]).ok().text();
    assert_eq!(text.matches("localhost/").count(), 2, "{text}");
    assert!(text.contains("UNIQUE SIZE") && text.contains("\nContainers space usage:\n"), "{text}");
    barge.run(["system", "df", "-v", "--format", "json"]).fails(125);
}

#[test]
fn rmi_says_who_is_in_the_way_and_can_be_forced() {
    let barge = Barge::with_busybox();
    barge.run(["tag", "busybox", "second"]).ok();
    let id = barge.run(["images", "-q", "--no-trunc", "busybox"]).ok().text();
    let hex = &id[7..];
    barge.run(["rmi", hex]).fails(125).error_has("more than one tag").hint_has("--force");
    barge.run(["create", "--name", "web", "busybox", "true"]).ok();
    let running = barge.start(["--name", "db", "second", "sleep", "1000"]);
    barge.run(["rmi", "second"]).ok().stdout("Untagged: localhost/second:latest\n");
    barge.run(["rmi", "busybox"]).fails(2).hint_has("web (").hint_has("db (");
    barge.run(["rmi", "-a"]).fails(2);
    // What is there goes, what is not is said; the exit status is the gravest.
    import(&barge, "small", "x", &[]);
    let output = barge.run(["rmi", "nosuch", "small", "busybox"]).exits(2);
    assert!(output.text().contains("Untagged: localhost/small:latest"), "{}", output.story());
    assert!(output.errors().contains("Error: nosuch: image not known"), "{}", output.story());
    barge.run(["rmi", "-i", "nosuch"]).ok().stdout("");
    barge.run(["rmi", "-f", "nosuch"]).ok().stdout("");
    barge.run(["rmi"]).fails(125);
    barge.run(["rmi", "-a", "busybox"]).fails(125);
    let want = format!("Untagged: localhost/busybox:latest\nDeleted: {hex}\n");
    barge.run(["rmi", "--no-prune", "-f", &hex[..12]]).ok().stdout(&want);
    assert!(barge.containers().is_empty());
    barge.run(["inspect", &running]).exits(125);
    is_empty(&barge);
    barge.leaves_nothing();
}

#[test]
fn what_was_damaged_is_mended_by_a_pull() {
    let barge = Barge::new();
    let registry = Registry::start(barge.place());
    let name = registry.reference("box:1");
    barge.run(["pull", "-q", &name]).ok();
    let run = || barge.run(["run", "--rm", "--network=none", &name]);
    let id = barge.run(["image", "inspect", "--format", "{{.Id}}", &name]).ok().text();
    let config = barge.root().join("blobs/sha256").join(&id);
    let record = barge.root().join(format!("images/{id}.json"));
    let layer = || barge.layers().into_iter().next().unwrap();
    let erase = |path: PathBuf| fs::remove_dir_all(path).unwrap();
    let damage: [(&str, &dyn Fn()); 5] = [
        ("a layer", &|| erase(layer())),
        ("the files of a layer", &|| erase(layer().join("diff"))),
        ("what is known of a layer", &|| fs::remove_file(layer().join("layer.json")).unwrap()),
        ("the configuration", &|| fs::write(&config, "{}").unwrap()),
        ("the record", &|| fs::write(&record, "{\"id\":").unwrap()),
    ];
    for (what, damage) in damage {
        run().ok().stdout("hello from a layer\n");
        damage();
        // A listing goes on, and everything says what is wrong.
        let output = barge.run(["images", "-q"]).exits(0);
        if what == "the record" {
            assert!(output.errors().contains("is damaged"), "{}", output.story());
            run().fails(125).error_has("is damaged").hint_has("pull");
        }
        if what == "the configuration" {
            barge
                .run(["image", "inspect", &name])
                .exits(125)
                .error_has("is damaged")
                .hint_has("pull");
        }
        if what.ends_with("layer") && !what.starts_with("what is") {
            assert_ne!(run().status, 0, "{what}");
        }
        barge.run(["pull", "-q", &name]).ok().stdout(&format!("{id}\n"));
        run().ok().stdout("hello from a layer\n");
        barge.run(["image", "inspect", &name]).ok();
    }
    // What cannot be mended can be removed, and nothing of it is left.
    fs::write(&record, "{").unwrap();
    barge.run(["rmi", &id[..12]]).ok().stdout_has(&format!("Deleted: {id}\n"));
    is_empty(&barge);
}

#[test]
fn makers_and_removers_at_once() {
    let barge = Barge::new();
    let registry = Registry::start(barge.place());
    let layout = barge.path("layout");
    fixture::boxes_layout(&layout);
    let archive = barge.path_text("box.tar");
    let source = format!("oci:{}:zstd", layout.display());
    let target = format!("oci-archive:{archive}:localhost/loaded:1");
    super::support::tool("skopeo", ["--insecure-policy", "copy", "-q", &source, &target]);
    let (gzip, plain) = (registry.reference("box:1"), registry.reference("box:plain"));
    // All these images have the same two layers: each removal is after what the others make.
    let program = fixture::barge();
    let tool = format!(
        "{} --root {} --runroot {}",
        program.display(),
        barge.root().display(),
        barge.runroot().display()
    );
    // `$1` says with which words a failure is none.
    let script = |command: &str, allowed: &str| {
        format!(
            "for round in 1 2 3 4 5 6 7 8; do error=$({tool} {command} 2>&1 >/dev/null) && continue; \
             case $error in {allowed}) ;; *) echo \"{command}: $error\";; esac; done"
        )
    };
    let gone = "*'image not known'*";
    let commands = [
        script(&format!("pull -q {gzip}"), "nothing"),
        script(&format!("pull -q {plain}"), "nothing"),
        script(&format!("load -q -i {archive}"), "nothing"),
        script(&format!("rmi {gzip}"), &format!("{gone}|*'image is in use'*")),
        script("rmi localhost/loaded:1", &format!("{gone}|*'image is in use'*")),
        script("image prune -a -f", "nothing"),
        script(&format!("run --rm --network=none --pull=never {plain}"), gone),
    ];
    let running: Vec<_> = commands
        .iter()
        .map(|script| {
            let shell = barge.other_command("sh", ["-c", script]);
            shell.limit(Duration::from_secs(300)).spawn()
        })
        .collect();
    let said: Vec<String> = running.into_iter().map(|one| one.wait().ok().text()).collect();
    assert!(said.iter().all(String::is_empty), "{}", said.join("\n"));
    // Every image that is listed is whole.
    for id in barge.run(["images", "-q", "--no-trunc"]).ok().lines() {
        let line = ["run", "--rm", "--network=none", &id[7..]];
        barge.run(line).ok().stdout("hello from a layer\n");
    }
    barge.run(["rmi", "-a", "-f"]).ok();
    barge.run(["image", "prune", "-f"]).ok();
    is_empty(&barge);
    barge.leaves_nothing();
}
