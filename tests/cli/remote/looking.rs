//! What other hosts tell of containers, images, networks, volumes and secrets, and what is made there.

use super::super::support::{Barge, Need, fixture, is_root, needs};
use super::There;

#[test]
fn remote_listings_look_as_those_here() {
    let barge = Barge::with_busybox();
    let there = There::new(&barge);
    let run = ["run", "-d", "--network", "none", "--label", "tier=web"];
    there.run([&run[..], &["--name", "one", "busybox", "sleep", "1000"]].concat()).ok();
    there.run([&run[..], &["--name", "two", "busybox", "true"]].concat()).ok();
    barge.await_status("two", "exited");
    let names = ["--format", "{{.Names}}"];
    let list = |line: &[&str]| there.run([&["ps"], line, &names].concat()).ok().text();
    assert_eq!(list(&[]), "one");
    assert_eq!(list(&["-a"]), "one\ntwo");
    assert_eq!(list(&["-a", "--filter", "status=exited"]), "two");
    assert_eq!(list(&["-a", "--filter", "label=tier=web", "--sort", "names"]), "one\ntwo");
    assert_eq!(list(&["--latest"]), "two");
    there.run(["ps", "--filter", "nosuch=1"]).fails(125);
    let fields =
        "{{.ID}} {{.ImageID}} {{.Command}} {{.State}} {{.Networks}} {{.Labels}} {{.Mounts}}";
    let here = barge.run(["ps", "--format", fields]).ok().text();
    there.run(["ps", "--format", fields]).ok().stdout(&format!("{here}\n"));
    let table = there.run(["ps", "-a"]).ok().lines();
    assert_eq!(table.len(), 3, "{table:?}");
    assert!(table[0].starts_with("CONTAINER ID  IMAGE"), "{table:?}");
    for line in [
        &["images", "--format", "{{.ID}} {{.Size}} {{.Tag}}"][..],
        &["images", "-q", "--no-trunc"],
        &["history", "-q", "--no-trunc", "busybox"],
        &["inspect", "-f", "{{.Id}} {{.State.Status}} {{.Config.Labels.tier}}", "one"],
        &["image", "inspect", "-f", "{{.Architecture}}", "busybox"],
        &["port", "one"],
        &["top", "one", "pid", "comm"],
    ] {
        let here = barge.run(line).ok().text();
        assert_eq!(there.run(line).ok().text(), here, "{line:?}");
    }
    there.run(["inspect", "nosuch"]).exits(125).stderr_has("no such object: \"nosuch\"");
    there.run(["image", "exists", "busybox"]).ok();
    there.run(["image", "exists", "nosuch"]).exits(1);
    there.run(["exec", "one", "touch", "/new"]).ok();
    there.run(["diff", "one"]).ok().stdout_has("A /new\n");
    there.run(["stop", "-t", "0", "-a"]).ok();
    there.run(["container", "prune", "-f"]).ok();
    assert_eq!(list(&["-a"]), "");
}

#[test]
fn remote_space_is_told_in_detail() {
    let barge = Barge::with_busybox();
    let there = There::new(&barge);
    let line = ["create", "--name=box", "--network=none", "-v", "data:/d", "busybox", "true"];
    barge.run(line).ok();
    barge.run(["tag", "busybox", "other:v2"]).ok();
    let here = barge.run(["system", "df", "-v"]).ok().text();
    let told = there.run(["system", "df", "-v"]).ok().text();
    for part in [
        "Images space usage:",
        "Containers space usage:",
        "Local Volumes space usage:",
        "Build cache usage:",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    // All but how long ago that was, which is another time by now.
    let is_age = |word: &&str| {
        matches!(*word, "Less" | "than" | "a" | "second" | "seconds" | "ago")
            || word.parse::<u32>().is_ok()
    };
    let row = |text: &str, word: &str| {
        let line = text.lines().find(|line| line.split_whitespace().any(|it| it == word)).unwrap();
        let words = line.split_whitespace().filter(|word| !is_age(word));
        words.map(str::to_owned).collect::<Vec<_>>()
    };
    for word in ["box", "data", "v2"] {
        assert_eq!(row(&told, word), row(&here, word), "{told}");
    }
    there.run(["system", "df", "-v", "--format", "{{.Type}}"]).fails(125).error_has("--verbose");
}

#[test]
fn remote_logs_and_events_follow() {
    let barge = Barge::with_busybox();
    let there = There::new(&barge);
    let script = "echo out; echo err >&2; read a; echo $a";
    let line = ["create", "-i", "--name", "l", "--network", "none", "busybox", "sh", "-c", script];
    there.run(line).ok();
    let mut events =
        there.command(["events", "--filter", "container=l", "--format", "{{.Action}}"]).spawn();
    there.run(["start", "l"]).ok();
    events.expect("start\n");
    let mut logs = there.command(["logs", "-f", "--names", "l"]).spawn();
    logs.expect("l out\n");
    logs.expect_error("l err\n");
    there.command(["attach", "l"]).input("more\n").run().ok();
    logs.expect("l more\n");
    logs.wait().exits(0);
    events.expect("die\n");
    events.signal(rustix::process::Signal::INT);
    drop(events.wait());
    there.run(["logs", "--tail", "1", "l"]).ok().stdout("more\n");
    let timed = there.run(["logs", "-t", "--tail", "1", "l"]).ok().text();
    assert!(timed.starts_with("20") && timed.ends_with("Z more"), "{timed}");
    let past = there
        .run(["events", "--stream=false", "--since", "10m", "--filter", "event=create"])
        .ok()
        .text();
    assert!(past.contains("container create") && past.contains("name=l"), "{past}");
    there.run(["rm", "l"]).ok();
}

#[test]
fn remote_images_come_and_go() {
    let barge = Barge::new();
    let there = There::new(&barge);
    let tar = fixture::busybox();
    let line = ["import", "-c", "CMD [\"sh\"]", "-m", "by hand", &tar.to_string_lossy(), "box:1"];
    let id = there.run(line).ok().text();
    assert!(id.starts_with("sha256:"), "{id}");
    there.run(["image", "inspect", "-f", "{{.Config.Cmd}}", "box:1"]).ok().stdout("[sh]\n");
    there.run(["tag", "box:1", "box:2", "localhost:5000/box"]).ok();
    there.run(["images", "--filter", "reference=box", "-q"]).ok();
    let file = barge.path_text("box.tar");
    there.run(["save", "-o", &file, "box:1"]).ok().stdout("");
    assert!(barge.other_command("tar", ["tf", &file]).run().ok().text().contains("manifest.json"));
    there.run(["rmi", "box:1"]).ok().stdout_has("Untagged: box:1\n");
    there.run(["rmi", "-f", &id]).ok().stdout_has("Deleted: ");
    there.run(["images", "-q"]).ok().stdout("");
    there.run(["rmi", "box:1"]).fails(1).error_has("box:1");
    there.run(["load", "-i", &file]).ok().stdout("Loaded image: box:1\n");
    let bytes = std::fs::read(&file).unwrap();
    there.command(["load"]).input(bytes).run().ok().stdout("Loaded image: box:1\n");
    there.command(["load"]).input("no archive").run().fails(125);
    there.run(["run", "--name", "c", "--network", "none", "box:1", "touch", "/new"]).ok();
    let made = there.run(["commit", "-c", "ENV A=b", "-a", "me", "c", "made:1"]).ok().text();
    there
        .run(["image", "inspect", "-f", "{{.Id}} {{.Author}}", "made:1"])
        .ok()
        .stdout(&format!("sha256:{made} me\n"));
    let files = barge.path_text("files.tar");
    there.run(["export", "-o", &files, "c"]).ok();
    assert!(barge.other_command("tar", ["tf", &files]).run().ok().text().contains("new"));
    there.run(["export", "-o", &files, "gone"]).fails(125).error_has("No such container: gone");
    there.run(["rm", "c"]).ok();
    there.run(["image", "prune", "-a", "-f"]).ok().stdout_has("Total reclaimed space: ");
    there.run(["images", "-q"]).ok().stdout("");
}

#[test]
fn remote_networks_volumes_and_secrets_are_managed() {
    let barge = Barge::with_busybox();
    let there = There::new(&barge);
    let volume = |line: &[&str]| there.run([&["volume"], line].concat());
    volume(&["create", "--label", "a=b", "data"]).ok().stdout("data\n");
    volume(&["create", "data"]).fails(125).error_has("already exists");
    volume(&["create", "--ignore", "data"]).ok().stdout("data\n");
    volume(&["ls", "--format", "{{.Name}} {{.Labels}}"]).ok().stdout("data a=b\n");
    volume(&["inspect", "-f", "{{.Driver}}", "data"]).ok().stdout("local\n");
    volume(&["inspect", "gone"]).exits(125).stderr_has("gone");
    volume(&["exists", "gone"]).exits(1);
    let line = ["run", "--rm", "--network", "none", "-v", "data:/d", "busybox"];
    there.run([&line[..], &["sh", "-c", "echo x > /d/f"]].concat()).ok();
    there.run([&line[..], &["cat", "/d/f"]].concat()).ok().stdout("x\n");
    // Its files go to an archive, and come from one.
    let archive = barge.path_text("data.tar");
    volume(&["export", "-o", &archive, "data"]).ok();
    volume(&["create", "copy"]).ok();
    volume(&["import", "copy", &archive]).ok();
    let exported = volume(&["export", "copy"]).ok().stdout;
    barge.run(["volume", "create", "third"]).ok();
    barge.command(["volume", "import", "third"]).input(exported).run().ok();
    barge
        .run(["run", "--rm", "--network=none", "-v", "third:/d", "busybox", "cat", "/d/f"])
        .ok()
        .stdout("x\n");
    volume(&["export", "-o", &archive, "gone"]).fails(125).error_has("gone");
    volume(&["exists", "gone"]).exits(1);
    assert_eq!(barge.run(["ps", "-aq"]).ok().text(), "", "no container is left of it");
    barge.run(["volume", "rm", "copy", "third"]).ok();
    volume(&["prune", "-f"]).ok().stdout("Total reclaimed space: 0B\n");
    volume(&["rm", "data"]).ok().stdout("data\n");
    volume(&["rm", "data"]).fails(1);
    volume(&["rm", "-f", "data"]).ok();
    let secret = |line: &[&str]| there.run([&["secret"], line].concat());
    let file = barge.file("data", "hidden");
    let id = secret(&["create", "-l", "a=b", "s1", &file]).ok().text();
    secret(&["ls", "--format", "{{.ID}} {{.Name}} {{.Labels}}"])
        .ok()
        .stdout(&format!("{id} s1 a=b\n"));
    secret(&["inspect", "-f", "{{.Spec.Name}}", "s1"]).ok().stdout("s1\n");
    secret(&["exists", "s2"]).exits(1);
    secret(&["rm", "s1"]).ok();
    secret(&["rm", "--ignore", "s1"]).ok();
    // Without root there is no bridge of the host to look at, but networks are kept all the same.
    let network = |line: &[&str]| there.run([&["network"], line].concat());
    let subnet =
        ["--subnet", "10.99.7.0/24", "--gateway", "10.99.7.1", "--ip-range", "10.99.7.128/25"];
    network(&[&["create", "--label", "a=b"], &subnet[..], &["front"]].concat())
        .ok()
        .stdout("front\n");
    network(&["create", "front"]).fails(125);
    network(&["create", "--ignore", "front"]).ok().stdout("front\n");
    network(&["create", "--dns", "10.1.1.1", "x"]).fails(125).error_has("--dns is not there");
    let shown = network(&["inspect", "front"]).ok().json();
    assert_eq!(shown[0]["IPAM"]["Config"][0]["Subnet"], "10.99.7.0/24");
    assert_eq!(shown[0]["IPAM"]["Config"][0]["IPRange"], "10.99.7.128/25");
    let format = "{{.Name}} {{.Driver}} {{.Labels}}";
    network(&["ls", "--filter", "name=front", "--format", format])
        .ok()
        .stdout("front bridge a=b\n");
    network(&["exists", "front"]).ok();
    if needs(&[Need::Root]) && is_root() {
        let line = [
            "run",
            "-d",
            "--name",
            "n",
            "--network",
            "front",
            "--network-alias",
            "db",
            "busybox",
            "sleep",
            "1000",
        ];
        there.run(line).ok();
        network(&["create", "back"]).ok();
        network(&["connect", "--alias", "store", "back", "n"]).ok();
        let names = "{{range $name, $it := .NetworkSettings.Networks}}{{$name}} {{end}}";
        there.run(["inspect", "-f", names, "n"]).ok().stdout_has("front");
        network(&["disconnect", "front", "n"]).ok();
        there.run(["inspect", "-f", names, "n"]).ok().stdout("back \n");
        network(&["rm", "back"]).fails(125).error_has("active endpoints");
        there.run(["rm", "-f", "n"]).ok();
        network(&["rm", "back"]).ok().stdout("back\n");
    }
    network(&["prune", "-f"]).ok().stdout("front\n");
    network(&["rm", "front"]).fails(1);
    there.run(["system", "prune", "-f"]).ok().stdout_has("Total reclaimed space: ");
}
