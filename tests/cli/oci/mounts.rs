//! Mounts: options, propagation, idmapped mounts, the root, what is hidden, /dev.

use std::fs;

use serde_json::{Value, json};

use super::super::support::tool;
use super::{Case, Stage, can, case, path_of};

fn mount(name: impl Into<String>, entry: Value) -> Case {
    case(name, json!({"mounts+": [entry]}))
}

fn tmpfs(options: &[&str]) -> Value {
    json!({"destination": "/mnt", "type": "tmpfs", "source": "tmpfs", "options": options})
}

fn bind(options: &[&str]) -> Value {
    let options = [&["rbind"], options].concat();
    json!({"destination": "/mnt", "type": "bind", "source": "$DIR/volume", "options": options})
}

#[test]
fn options() {
    if !can() {
        return;
    }
    let mut cases = Vec::new();
    for (word, seen) in [
        ("ro", "ro"),
        ("rw", "rw"),
        ("nosuid", "nosuid"),
        ("nodev", "nodev"),
        ("noexec", "noexec"),
        ("noatime", "noatime"),
        ("nodiratime", "nodiratime"),
        ("relatime", "relatime"),
        ("nosymfollow", "nosymfollow"),
    ] {
        for (kind, entry) in [("tmpfs", tmpfs(&[word])), ("bind", bind(&[word]))] {
            let case = mount(format!("{word} {kind}"), entry).has("/mounts/~1mnt/options", seen);
            // runc takes this word since 1.2.
            cases.push(if word == "nosymfollow" { case.without_peer() } else { case });
        }
    }
    cases.extend([
        mount("the last word counts", tmpfs(&["ro", "rw"])).has("/mounts/~1mnt/options", "rw"),
        mount("several words", tmpfs(&["nosuid", "nodev", "noexec", "ro"]))
            .has("/mounts/~1mnt/options", "ro,nosuid,nodev,noexec"),
        // runc of Debian 12 gives it the mode of the directory below.
        mount("size and mode", tmpfs(&["size=64k", "mode=711", "uid=5", "gid=6"]))
            .without_peer()
            .asks(&["stat:/mnt", "self"])
            .sees("/0/mode", "711")
            .sees("/0/uid", 5)
            .sees("/0/gid", 6)
            .has("/1/mounts/~1mnt/super", "size=64k"),
        mount("an option that is none", tmpfs(&["none=of"])).fails("none"),
        mount(
            "a file system that is none",
            json!({"destination": "/mnt", "type": "nonefs", "source": "none"}),
        )
        .fails("nonefs"),
        mount("a volume", bind(&[])).asks(&["read:/mnt/file"]).sees("/0", "of the volume"),
        mount(
            "a file",
            json!({
                "destination": "/etc/file", "type": "bind", "source": "$DIR/volume/file",
                "options": ["bind"],
            }),
        )
        .asks(&["read:/etc/file"])
        .sees("/0", "of the volume"),
        mount(
            "a file that is not there yet",
            json!({
                "destination": "/made/for/file", "type": "bind", "source": "$DIR/volume/file",
                "options": ["bind"],
            }),
        )
        .asks(&["read:/made/for/file"])
        .sees("/0", "of the volume"),
        mount(
            "a type that does not matter",
            json!({
                "destination": "/mnt", "type": "none", "source": "$DIR/volume",
                "options": ["rbind"],
            }),
        )
        .asks(&["read:/mnt/file"])
        .sees("/0", "of the volume"),
        mount(
            "a source that is not there",
            json!({
                "destination": "/mnt", "type": "bind", "source": "$DIR/none", "options": ["bind"],
            }),
        )
        .fails("none"),
        case("a volume in a volume", json!({"mounts+": [
            {"destination": "/mnt", "type": "tmpfs", "source": "tmpfs"},
            {"destination": "/mnt/in", "type": "bind", "source": "$DIR/volume", "options": ["bind"]},
        ]}))
        .asks(&["read:/mnt/in/file"])
        .sees("/0", "of the volume"),
        mount("mqueue", json!({"destination": "/mnt", "type": "mqueue", "source": "mqueue"}))
            .sees("/mounts/~1mnt/type", "mqueue"),
        mount("a copy of what it covers", {
            json!({
                "destination": "/data", "type": "tmpfs", "source": "tmpfs",
                "options": ["tmpcopyup", "ro"],
            })
        })
        .asks(&["read:/data/file", "list:/data", "self"])
        .sees("/0", "data of the image")
        .sees("/1", json!(["below", "file"]))
        .has("/2/mounts/~1data/options", "ro"),
        mount("no copy of what it covers", {
            json!({"destination": "/data", "type": "tmpfs", "source": "tmpfs"})
        })
        .asks(&["list:/data"])
        .sees("/0", json!([])),
        case("a mount that is changed", json!({"mounts+": [
            {"destination": "/mnt", "type": "tmpfs", "source": "tmpfs"},
            {"destination": "/mnt", "type": "tmpfs", "source": "tmpfs", "options": ["remount", "ro"]},
        ]}))
        .has("/mounts/~1mnt/options", "ro"),
        mount("an overlay", json!({
            "destination": "/mnt", "type": "overlay", "source": "overlay",
            "options": ["lowerdir=$DIR/volume:$DIR/rootfs/etc"],
        }))
        .asks(&["read:/mnt/file", "self"])
        .sees("/0", "of the volume")
        .sees("/1/mounts/~1mnt/type", "overlay"),
    ]);
    Stage::new().all("options", cases);
}

#[test]
fn trees() {
    if !can() {
        return;
    }
    let stage = Stage::new();
    let volume = path_of(&stage, "volume").to_string_lossy().into_owned();
    let below = format!("{volume}/below");
    fs::create_dir(&below).unwrap();
    tool("mount", ["-t", "tmpfs", "volume", &volume]);
    tool("mount", ["--make-shared", &volume]);
    fs::create_dir(&below).unwrap();
    tool("mount", ["-t", "tmpfs", "below", &below]);
    let (top, inner) = ("/mounts/~1mnt/options", "/mounts/~1mnt~1below/options");
    let mut cases = vec![
        mount("with what is below", bind(&[])).sees("/mounts/~1mnt~1below/type", "tmpfs"),
        mount(
            "without what is below",
            json!({
                "destination": "/mnt", "type": "bind", "source": "$DIR/volume", "options": ["bind"],
            }),
        )
        .sees("/mounts/~1mnt~1below", Value::Null),
        mount("read-only at the top", bind(&["ro"])).has(top, "ro").has(inner, "rw"),
        mount("read-only down to the bottom", bind(&["rro"])).has(top, "ro").has(inner, "ro"),
        mount("no devices down to the bottom", bind(&["rnodev"]))
            .has(top, "nodev")
            .has(inner, "nodev"),
        mount("no set-user-ID down to the bottom", bind(&["rnosuid"])).has(inner, "nosuid"),
        mount("no programs down to the bottom", bind(&["rnoexec"])).has(inner, "noexec"),
        mount("no times down to the bottom", bind(&["rnoatime"])).has(inner, "noatime"),
        mount("relative times down to the bottom", bind(&["rrelatime"])).has(inner, "relatime"),
        mount("no links down to the bottom", bind(&["rnosymfollow"]))
            .without_peer()
            .has(inner, "nosymfollow"),
        mount("one at the top, another to the bottom", bind(&["ro", "rnodev"]))
            .has(top, "ro,nodev")
            .has(inner, "rw,nodev"),
    ];
    for (word, seen) in [
        ("private", "private"),
        ("rprivate", "private"),
        ("slave", "master"),
        ("rslave", "master"),
        ("shared", "shared"),
        ("unbindable", "unbindable"),
        ("runbindable", "unbindable"),
    ] {
        cases.push(mount(word, bind(&[word])).has("/mounts/~1mnt/propagation", seen));
    }
    for (word, seen) in [
        ("private", "private"),
        ("rprivate", "private"),
        ("shared", "shared"),
        ("unbindable", "unbindable"),
    ] {
        // runc of Debian 12 leaves all of them private.
        cases.push(
            case(format!("{word} root"), json!({"linux": {"rootfsPropagation": word}}))
                .without_peer()
                .has("/mounts/~1/propagation", seen),
        );
    }
    cases.push(
        case("a root that is nothing", json!({"linux": {"rootfsPropagation": "none"}}))
            .fails("no propagation"),
    );
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        stage.all("trees", cases);
    }));
    tool("umount", ["-R", &volume]);
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn owners() {
    if !can() {
        return;
    }
    let map = |inside: u32, outside: u32, size: u32| json!([{"containerID": inside, "hostID": outside, "size": size}]);
    let mapped = |name: &str, uids: Value, gids: Value, word: &str| {
        let mut entry = bind(&[word]);
        entry["uidMappings"] = uids;
        entry["gidMappings"] = gids;
        mount(name, entry).without_peer().asks(&["stat:/mnt/file"])
    };
    let cases = vec![
        mount("as they are", bind(&[])).asks(&["stat:/mnt/file"]).sees("/0/uid", 0),
        mapped("mapped", map(0, 1000, 10), map(0, 2000, 10), "idmap")
            .sees("/0/uid", 1000)
            .sees("/0/gid", 2000),
        mapped("mapped without a word", map(0, 7, 10), map(0, 8, 10), "rw")
            .sees("/0/uid", 7)
            .sees("/0/gid", 8),
        mapped("mapped down to the bottom", map(0, 1000, 10), map(0, 2000, 10), "ridmap")
            .sees("/0/uid", 1000),
        mapped("not mapped", map(5, 1000, 10), map(5, 2000, 10), "idmap").sees("/0/uid", 65534),
        mapped("users alone", map(0, 1000, 10), Value::Null, "idmap")
            .fails("both users and groups"),
        mount("mapped by nothing", bind(&["idmap"])).without_peer().fails("map its owners"),
    ];
    Stage::new().all("owners", cases);
}

#[test]
fn root_and_secrets() {
    if !can() {
        return;
    }
    let linux = |name: &str, change: Value| case(name, json!({ "linux": change }));
    let root = |name: &str, read_only: bool| case(name, json!({"root": {"readonly": read_only}}));
    let cases = vec![
        root("root to be written to", false).asks(&["write:/tmp/new=x"]).sees("/0", "ok"),
        root("root that is read-only", true)
            .asks(&["write:/tmp/other=x", "write:/dev/null=x", "self"])
            .sees("/0", "EROFS")
            .sees("/1", "ok")
            .has("/2/mounts/~1/options", "ro"),
        linux("a file that is masked", json!({"maskedPaths": ["/etc/file"]}))
            .asks(&["stat:/etc/file", "read:/etc/file"])
            .sees("/0/device", "1:3")
            .sees("/1", ""),
        linux("a directory that is masked", json!({"maskedPaths": ["/data"]}))
            .asks(&["list:/data", "write:/data/x=y", "self"])
            .sees("/0", json!([]))
            .sees("/1", "EROFS")
            .has("/2/mounts/~1data/options", "ro"),
        linux("nothing that is masked", json!({"maskedPaths": ["/none/at/all"]})).sees("/pid", 1),
        linux("a secret of the kernel", json!({"maskedPaths": ["/proc/keys"]}))
            .asks(&["read:/proc/keys"])
            .sees("/0", ""),
        linux("a directory that is read-only", json!({"readonlyPaths": ["/data"]}))
            .asks(&["write:/data/x=y", "read:/data/file"])
            .sees("/0", "EROFS")
            .sees("/1", "data of the image"),
        linux("a file that is read-only", json!({"readonlyPaths": ["/etc/file"]}))
            .asks(&["write:/etc/file=x"])
            .sees("/0", "EROFS"),
        linux("parameters that are read-only", json!({"readonlyPaths": ["/proc/sys"]}))
            .asks(&["write:/proc/sys/kernel/domainname=x"])
            .sees("/0", "EROFS"),
        linux("nothing that is read-only", json!({"readonlyPaths": ["/none"]})).sees("/pid", 1),
        linux("a label of mounts", json!({"mountLabel": "system_u:object_r:t:s0"}))
            .fails("SELinux"),
    ];
    Stage::new().all("secrets", cases);
}

#[test]
fn devices() {
    if !can() {
        return;
    }
    let device = |name: &str, change: Value, allow: Value| {
        let mut device = json!({"path": "/dev/made", "type": "c", "major": 10, "minor": 229});
        super::merge(&mut device, &change);
        case(name, json!({"linux": {"devices": [device], "resources": {"devices+": allow}}}))
    };
    let rule = |access: &str, minor: Value| json!([{"allow": true, "type": "c", "major": 10, "minor": minor, "access": access}]);
    let all = || rule("rwm", json!(229));
    let stat = ["stat:/dev/made", "open:/dev/made", "write:/dev/made="];
    let cases = vec![
        case("usual devices", json!({}))
            .asks(&["stat:/dev/null", "stat:/dev/urandom", "stat:/dev/tty", "write:/dev/full=x"])
            .sees("/0/device", "1:3")
            .sees("/0/mode", "666")
            .sees("/1/device", "1:9")
            .sees("/2/device", "5:0")
            .sees("/3", "ENOSPC"),
        case("usual links", json!({}))
            .asks(&["link:/dev/fd", "link:/dev/stdin", "link:/dev/stderr", "link:/dev/ptmx"])
            .sees("/0", "/proc/self/fd")
            .sees("/1", "/proc/self/fd/0")
            .sees("/2", "/proc/self/fd/2")
            .sees("/3", "pts/ptmx"),
        device("a device", json!({}), all())
            .asks(&stat)
            .sees("/0/kind", "character")
            .sees("/0/device", "10:229")
            .sees("/1", "ok"),
        device("a device with a mode", json!({"fileMode": 0o640, "uid": 5, "gid": 6}), all())
            .asks(&stat)
            .sees("/0/mode", "640")
            .sees("/0/uid", 5)
            .sees("/0/gid", 6),
        device("a device that is not buffered", json!({"type": "u"}), all())
            .asks(&stat)
            .sees("/0/kind", "character"),
        device("a block device", json!({"type": "b", "major": 7, "minor": 200}), json!([]))
            .asks(&stat)
            .sees("/0/kind", "block")
            .sees("/0/device", "7:200")
            .sees("/1", "EPERM"),
        device("a pipe", json!({"type": "p", "fileMode": 0o622}), json!([]))
            .asks(&["stat:/dev/made"])
            .sees("/0/kind", "fifo")
            .sees("/0/mode", "622"),
        device("a device elsewhere", json!({"path": "/tmp/made"}), all())
            .asks(&["stat:/tmp/made"])
            .sees("/0/device", "10:229"),
        device("a device in a directory", json!({"path": "/dev/a/b/made"}), all())
            .asks(&["stat:/dev/a/b/made"])
            .sees("/0/device", "10:229"),
        device("not allowed", json!({}), json!([])).asks(&stat).sees("/1", "EPERM"),
        device("to be read alone", json!({}), rule("r", json!(229)))
            .asks(&stat)
            .sees("/1", "ok")
            .sees("/2", "EPERM"),
        device("to be written to alone", json!({}), rule("w", json!(229)))
            .asks(&["stat:/dev/made", "open:/dev/made"])
            .sees("/1", "EPERM"),
        device("all minor numbers", json!({}), rule("rwm", json!(-1))).asks(&stat).sees("/1", "ok"),
        device("another number", json!({}), rule("rwm", json!(230)))
            .asks(&stat)
            .sees("/1", "EPERM"),
        case("usual devices are allowed", json!({}))
            .asks(&["open:/dev/null", "open:/dev/zero", "open:/dev/random", "open:/dev/ptmx"])
            .sees("/0", "ok")
            .sees("/1", "ok")
            .sees("/2", "ok")
            .sees("/3", "ok"),
        case("a node may be made, and not be used", json!({}))
            .asks(&["mknod:/tmp/disk,24960,7,201", "open:/tmp/disk", "call:87:@/tmp/disk"])
            .sees("/0", 0)
            .sees("/1", "EPERM"),
    ];
    Stage::new().all("devices", cases);
}
