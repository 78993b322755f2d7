//! Where output is kept: log drivers, their files and options.

use std::fs;
use std::path::PathBuf;

use super::support::{Barge, tool, wait_until};

fn log_path(barge: &Barge, name: &str) -> PathBuf {
    barge.inspect(name, "{{.LogPath}}").into()
}

/// The rotated files beside a log, by their numbers.
fn rotated(barge: &Barge, name: &str) -> Vec<(u64, PathBuf)> {
    let path = log_path(barge, name);
    let start = format!("{}.", path.file_name().unwrap().to_string_lossy());
    let mut found: Vec<(u64, PathBuf)> = fs::read_dir(path.parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter_map(|path| {
            let name = path.file_name()?.to_string_lossy().into_owned();
            let number = name.strip_prefix(&start)?;
            Some((number.strip_suffix(".gz").unwrap_or(number).parse().ok()?, path))
        })
        .collect();
    found.sort();
    found
}

fn run(barge: &Barge, name: &str, flags: &[&str], script: &str) {
    let mut line = vec!["--name", name];
    line.extend(flags);
    line.extend(["busybox", "sh", "-c", script]);
    barge.start(line);
    barge.run(["wait", name]).ok();
}

#[test]
fn log_is_written_as_kubernetes_writes_it() {
    let barge = Barge::with_busybox();
    let script = "echo out; echo err >&2; head -c 40000 /dev/zero | tr '\\0' x; echo; printf end";
    run(&barge, "box", &[], script);
    assert_eq!(
        barge.inspect("box", "{{.HostConfig.LogConfig.Type}} {{.HostConfig.LogConfig.Config}}"),
        "k8s-file map[]"
    );
    let text = fs::read_to_string(log_path(&barge, "box")).unwrap();
    let mut tags = Vec::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.splitn(4, ' ').collect();
        assert!(fields[0].len() == 30 && fields[0].ends_with('Z'), "{line}");
        tags.push((fields[1], fields[2], fields[3].len()));
    }
    tags.sort_unstable();
    // Long lines come in pieces of 16 KiB; what has no line end is a piece, too.
    let want = [
        ("stderr", "F", 3),
        ("stdout", "F", 3),
        ("stdout", "F", 40_000 - 2 * 16_384),
        ("stdout", "P", 3),
        ("stdout", "P", 16_384),
        ("stdout", "P", 16_384),
    ];
    assert_eq!(tags, want);
}

#[test]
fn log_of_json_is_as_docker_writes_it() {
    let barge = Barge::with_busybox();
    let script = "printf 'quote \" \\\\ tab\\tend\\n'; echo err >&2; printf 'a\\000b\\377c\\n'";
    let flags =
        ["--log-driver", "json-file", "--log-opt", "labels=a,b", "--log-opt", "env=E", "--label"];
    let mut line: Vec<&str> = flags.into();
    line.extend(["a=1", "-e", "E=2"]);
    run(&barge, "box", &line, script);
    let text = fs::read_to_string(log_path(&barge, "box")).unwrap();
    let mut entries: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    entries.sort_by_key(|entry| entry["stream"].to_string());
    let logs: Vec<&str> = entries.iter().map(|entry| entry["log"].as_str().unwrap()).collect();
    assert_eq!(logs, ["err\n", "quote \" \\ tab\tend\n", "a\0b\u{fffd}c\n"]);
    for entry in &entries {
        assert_eq!(entry["attrs"], serde_json::json!({"E": "2", "a": "1"}));
        assert_eq!(entry["time"].as_str().unwrap().len(), 30);
    }
    // What is read back is what was written, byte for byte.
    let output = barge.run(["logs", "box"]).exits(0).stderr("err\n");
    assert_eq!(output.stdout, b"quote \" \\ tab\tend\na\0b\xffc\n");
    barge.run(["logs", "--details", "box"]).exits(0).stdout_has("E=2,a=1 quote");
}

#[test]
fn log_lines_have_a_tag_and_chosen_attributes() {
    let barge = Barge::with_busybox();
    let tag = "tag={{.Name}}/{{.ID}}/{{.ImageName}}/{{upper .DaemonName}}/{{.Command}}";
    let flags = "--log-driver json-file --log-opt env-regex=^E --log-opt labels-regex=^a\\.";
    let mut line: Vec<&str> = flags.split(' ').collect();
    line.extend([
        "--log-opt",
        tag,
        "-e",
        "E1=2",
        "-e",
        "F=3",
        "--label",
        "a.b=c",
        "--label",
        "b=d",
    ]);
    run(&barge, "box", &line, "echo out");
    let text = fs::read_to_string(log_path(&barge, "box")).unwrap();
    let entry: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    let id = barge.inspect("box", "{{.Id}}");
    let image = barge.inspect("box", "{{.Config.Image}}");
    let want = format!("box/{}/{image}/BARGE/sh -c echo out", &id[..12]);
    let want = serde_json::json!({"E1": "2", "a.b": "c", "tag": want});
    assert_eq!(entry["attrs"], want);
    let details = barge.run(["logs", "--details", "box"]).ok().text();
    assert!(details.starts_with("E1=2,a.b=c,tag=box/") && details.ends_with(" out"), "{details}");
    // It is the name that the container has when it is started.
    barge.run(["rename", "box", "other"]).ok();
    barge.run(["start", "-a", "other"]).ok();
    let text = fs::read_to_string(log_path(&barge, "other")).unwrap();
    assert!(text.contains("\"tag\":\"other/"), "{text}");
    for wrong in ["tag={{.Nam}}", "tag={{", "env-regex=("] {
        let line = ["create", "--log-opt", wrong, "busybox", "true"];
        barge.run(line).fails(125).error_has("--log-opt");
    }
}

#[test]
fn log_takes_any_bytes_with_all_file_drivers() {
    let barge = Barge::with_busybox();
    let bytes: Vec<u8> =
        (0..300_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 23) as u8).collect();
    for driver in ["k8s-file", "json-file", "local"] {
        let line = ["run", "-i", "--network=none", "--name", driver, "--log-driver", driver];
        let mut line: Vec<&str> = line.into();
        line.extend(["busybox", "cat"]);
        let output = barge.command(line).input(bytes.clone()).run().ok();
        assert!(output.stdout == bytes, "{driver} in the foreground: {}", output.stdout.len());
        let output = barge.run(["logs", driver]).ok();
        assert!(output.stdout == bytes, "{driver}: {}", output.stdout.len());
    }
}

#[test]
fn log_rotation_keeps_so_many_files_of_such_a_size() {
    let barge = Barge::with_busybox();
    let count = |options: &[&str], name: &str| {
        let mut flags = Vec::new();
        for option in options {
            flags.extend(["--log-opt", option]);
        }
        run(&barge, name, &flags, "seq 1 20000");
        let files = rotated(&barge, name);
        for path in files.iter().map(|(_, path)| path).chain([&log_path(&barge, name)]) {
            if path.extension().is_none_or(|end| end != "gz") {
                assert!(fs::metadata(path).unwrap().len() <= 10_240, "{}", path.display());
            }
        }
        let lines = barge.run(["logs", name]).ok().lines();
        let last: Vec<u32> = lines.iter().map(|line| line.parse().unwrap()).collect();
        // What is there is the end of it, without a gap.
        let start = 20_000 - last.len() as u32;
        assert!(last.iter().copied().eq(start + 1..=20_000), "{name}: {} lines", last.len());
        (files.len(), last.len())
    };
    assert_eq!(count(&["max-size=10k", "max-file=3"], "three").0, 2);
    assert_eq!(count(&["max-size=10k", "max-file=1"], "one").0, 0);
    assert_eq!(count(&["max-size=10k"], "usual").0, 1);
    // All of it, if there is room for it.
    let (files, lines) = count(&["max-size=10k", "max-file=1000", "compress=true"], "packed");
    assert!(files > 50 && lines == 20_000, "{files} files, {lines} lines");
    let packed = rotated(&barge, "packed");
    assert!(packed.iter().all(|(_, path)| path.extension().is_some_and(|end| end == "gz")));
    tool("gzip", ["-t", &packed[0].1.to_string_lossy()]);
    for tail in ["1", "300", "19999"] {
        let lines = barge.run(["logs", "--tail", tail, "packed"]).ok().lines();
        assert_eq!(lines.len().to_string(), tail);
        assert_eq!(lines.last().unwrap(), "20000");
    }
    barge.run(["logs", "--tail", "0", "packed"]).ok().stdout("");
}

#[test]
fn log_followers_lose_nothing_to_rotation() {
    let barge = Barge::with_busybox();
    let script = "while [ ! -e /go ]; do sleep 0.05; done; seq 1 100000";
    let options = ["--log-opt", "max-size=20k", "--log-opt", "max-file=1"];
    let mut line: Vec<&str> = vec!["--name", "box"];
    line.extend(options);
    line.extend(["busybox", "sh", "-c", script]);
    barge.start(line);
    let followers: Vec<_> = (0..2).map(|_| barge.command(["logs", "-f", "box"]).spawn()).collect();
    let lock = log_path(&barge, "box").with_file_name("followers");
    let held = || {
        let locks = fs::read_to_string("/proc/locks").unwrap();
        let Ok(status) = fs::metadata(&lock) else { return false };
        let inode = format!(":{} ", std::os::unix::fs::MetadataExt::ino(&status));
        locks.lines().filter(|line| line.contains(&inode)).count() == 2
    };
    wait_until("both follow", held);
    barge.touch("box", "/go");
    let want: String = (1..=100_000).map(|n| format!("{n}\n")).collect();
    for follower in followers {
        let output = follower.wait().ok();
        assert!(output.stdout == want.as_bytes(), "{} bytes", output.stdout.len());
    }
    // Nobody follows it any more: the next rotation removes what was kept.
    assert!(rotated(&barge, "box").len() > 10);
    barge.run(["start", "-a", "box"]).ok();
    assert_eq!(rotated(&barge, "box").len(), 0);
}

#[test]
fn log_can_be_elsewhere() {
    let barge = Barge::with_busybox();
    let path = barge.path_text("elsewhere.log");
    run(&barge, "box", &["--log-opt", &format!("path={path}")], "echo here");
    assert_eq!(log_path(&barge, "box"), PathBuf::from(&path));
    assert!(fs::read_to_string(&path).unwrap().ends_with(" stdout F here\n"));
    barge.run(["logs", "box"]).ok().stdout("here\n");
    let line = ["run", "--network=none", "--log-opt", "path=/nosuch/dir/log", "busybox", "true"];
    barge.run(line).fails(125).error_has("/nosuch/dir/log");
    barge.run(["create", "--log-opt", "path=x", "busybox"]).fails(125).hint_has("absolute");
    barge.run(["create", "--log-opt", "nosuch=x", "busybox"]).fails(125).hint_has("max-size");
}

#[test]
fn log_takes_the_beginning_of_a_line_after_a_moment() {
    let barge = Barge::with_busybox();
    let script = "printf 'Password: '; while [ ! -e /go ]; do sleep 0.05; done; echo read";
    barge.start(["--name", "box", "busybox", "sh", "-c", script]);
    let mut following = barge.command(["logs", "-f", "box"]).spawn();
    following.expect("Password: ");
    barge.touch("box", "/go");
    following.wait().ok().stdout("Password: read\n");
    // What is written in parts, but soon, is a line.
    run(&barge, "parts", &[], "printf a; printf b; printf c; echo d");
    assert!(fs::read_to_string(log_path(&barge, "parts")).unwrap().ends_with(" stdout F abcd\n"));
}
