//! What is not there on other hosts says why; what is about this machine is done here.

use super::super::support::Barge;
use super::There;

#[test]
fn remote_commands_that_are_not_there_say_why() {
    let barge = Barge::with_busybox();
    let there = There::new(&barge);
    let file = barge.file("file", "x");
    for (line, why) in [
        (&["artifact", "add", "a", &file][..], "Docker's API knows no artifacts"),
        (&["artifact", "extract", "a", &file], "Docker's API knows no artifacts"),
        (&["artifact", "inspect", "a"], "Docker's API knows no artifacts"),
        (&["artifact", "ls"], "Docker's API knows no artifacts"),
        (&["artifact", "pull", "a"], "Docker's API knows no artifacts"),
        (&["artifact", "push", "a"], "Docker's API knows no artifacts"),
        (&["artifact", "rm", "a"], "Docker's API knows no artifacts"),
        (&["container", "clone", "a"], "Docker's API has nothing like it"),
        (&["debug", "a"], "Docker's API runs programs of a container only"),
        (&["image", "diff", "busybox"], "tells what containers have changed, not images"),
        (&["image", "mount"], "files of another machine cannot be mounted on this one"),
        (&["image", "unmount", "busybox"], "files of another machine cannot be mounted"),
        (&["image", "scp", "busybox", "a::"], "it names its hosts itself, as in HOST::IMAGE"),
        (&["image", "tree", "busybox"], "does not tell the layers of an image apart"),
        (&["init", "a"], "Docker's API has nothing like it"),
        (&["mount"], "files of another machine cannot be mounted on this one"),
        (&["unmount", "a"], "files of another machine cannot be mounted on this one"),
        (&["network", "reload"], "Docker's API has nothing like it"),
        (&["network", "update", "bridge"], "Docker's API has nothing like it"),
        (&["system", "check"], "it looks at this machine"),
        (&["unshare", "true"], "it is about the IDs of a user of this machine"),
        (&["volume", "mount", "a"], "files of another machine cannot be mounted on this one"),
        (&["volume", "unmount", "a"], "files of another machine cannot be mounted on this one"),
        (&["volume", "reload"], "Docker's API has nothing like it"),
    ] {
        let told = there.run(line);
        let text = told.errors();
        assert_eq!(told.status, 125, "{line:?}: {text}");
        assert!(text.contains(" is not there on other hosts: "), "{line:?}: {text}");
        assert!(text.contains(why), "{line:?}: {text}");
        assert!(text.contains("Hint: run it there, or leave --host"), "{line:?}: {text}");
    }
}

#[test]
fn remote_flags_that_are_not_there_say_why() {
    let barge = Barge::with_busybox();
    let there = There::new(&barge);
    let dir = barge.path_text("c");
    for (line, why) in [
        (&["build", "--secret=id=x", &dir][..], "as Docker's classic builder does"),
        (&["build", "--cache-from=type=local,src=x", &dir], "as Docker's classic builder does"),
        (&["diff", "a", "b"], "Docker's API has nothing like it"),
        (&["search", "--list-tags", "a"], "Docker's API has nothing like it"),
        (&["save", "--format=oci-archive", "-o", "x", "busybox"], "nothing like it"),
        (&["network", "create", "--route=10.1.0.0/16,10.2.0.1", "x"], "nothing like it"),
    ] {
        let told = there.run(line);
        let text = told.errors();
        assert_eq!(told.status, 125, "{line:?}: {text}");
        assert!(text.contains(" is not there on other hosts: "), "{line:?}: {text}");
        assert!(text.contains(why), "{line:?}: {text}");
    }
    // What Docker's API can do in another way is done.
    there
        .run(["network", "create", "--interface-name=bt-named", "--subnet=10.99.8.0/24", "named"])
        .ok();
    let shown = "{{.NetworkInterface}}";
    barge.run(["network", "inspect", "-f", shown, "named"]).ok().stdout("bt-named\n");
    there.run(["network", "rm", "named"]).ok();
    there.run(["tag", "busybox", "once:1"]).ok();
    there.run(["run", "--rmi", "--network=none", "once:1", "echo", "gone"]).ok().stdout("gone\n");
    there.run(["image", "exists", "once:1"]).exits(1);
    there.run(["image", "exists", "busybox"]).exits(0);
}

#[test]
fn remote_manifest_lists_are_those_of_this_machine() {
    let barge = Barge::new();
    let there = There::new(&barge);
    let url = format!("unix://{}", there.served.socket());
    let manifest = |line: &[&str]| {
        barge.command([&["manifest"], line].concat()).env("DOCKER_HOST", &url).run()
    };
    manifest(&["create", "list"]).ok();
    manifest(&["exists", "list"]).exits(0);
    assert!(manifest(&["inspect", "list"]).ok().json()["manifests"].is_array());
    manifest(&["rm", "list"]).ok();
    manifest(&["exists", "list"]).exits(1);
}
