//! Devices: directories of them, and those of the Container Device Interface.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use super::support::{Barge, Output, is_root, tool, wait_until};

/// Writes a file of devices, and one that says where it is.
fn describe(barge: &Barge, name: &str, text: &str) {
    let directory = barge.path("cdi");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join(name), text).unwrap();
    let list = [directory, barge.path("cdi-over")].map(|path| path.display().to_string());
    barge.file("conf", format!("[engine]\ncdi_spec_dirs = {}\n", json!(list)));
}

/// Runs a script in a new container with these flags.
#[track_caller]
fn shell(barge: &Barge, flags: &[&str], script: &str) -> Output {
    let line = ["run", "--rm", "--network", "none"];
    let line = [&line, flags, &["busybox", "sh", "-c", script]].concat();
    barge.command(line).env("CONTAINERS_CONF", barge.path("conf")).run()
}

fn device(kind: &str, name: &str, edits: &Value) -> String {
    json!({
        "cdiVersion": "0.6.0",
        "kind": kind,
        "devices": [{"name": name, "containerEdits": edits}],
        "containerEdits": {"env": ["ALL_OF=x"]},
    })
    .to_string()
}

#[test]
fn a_device_brings_what_it_needs() {
    let barge = Barge::with_busybox();
    barge.file("library", "from the host");
    let library = barge.path_text("library");
    let text = format!(
        "cdiVersion: 0.5.0\nkind: vendor.com/class\ncontainerEdits:\n  env: [ALL=1]\ndevices:\n\
         - name: one\n  containerEdits:\n    env: [ONE=1, HOME=/one]\n    deviceNodes:\n\
         \x20   - path: /dev/vendor/one\n      hostPath: /dev/null\n    mounts:\n\
         \x20   - hostPath: {library}\n      containerPath: /usr/lib/one\n      options: [ro]\n\
         \x20   additionalGids: [4242]\n- name: two\n  containerEdits:\n    env: [TWO=2]\n"
    );
    describe(&barge, "vendor.yaml", &text);
    let script = "echo $ALL$ONE$TWO $HOME; echo x > /dev/vendor/one && stat -c %t:%T /dev/vendor/one; \
                  cat /usr/lib/one; echo; echo y > /usr/lib/one";
    let output = shell(&barge, &["--device", "vendor.com/class=one"], script).exits(1);
    assert_eq!(output.text(), "11 /one\n1:3\nfrom the host");
    assert!(output.errors().contains("Read-only file system"), "{}", output.errors());
    let flags = ["--device", "vendor.com/class=one", "--device", "vendor.com/class=two"];
    shell(&barge, &flags, "echo $ALL$ONE$TWO").ok().stdout("112\n");
    shell(&barge, &flags[2..], "ls /dev/vendor; echo $ALL$ONE$TWO").exits(0).stdout("12\n");
    // Where a single ID is mapped, there are no groups.
    shell(&barge, &flags, "id -G").ok().stdout("0 4242\n");
}

#[test]
fn later_directories_win_and_what_is_missing_is_named() {
    let barge = Barge::with_busybox();
    describe(&barge, "a.json", &device("v.com/c", "x", &json!({"env": ["IS=low"]})));
    describe(&barge, "nvidia.json", &device("nvidia.com/gpu", "all", &json!({"env": ["GPU=all"]})));
    let run = |flags: &[&str]| shell(&barge, flags, "echo $IS$GPU$ALL_OF");
    run(&["--device", "v.com/c=x"]).ok().stdout("lowx\n");
    run(&["--gpus", "all"]).ok().stdout("allx\n");
    fs::create_dir(barge.path("cdi-over")).unwrap();
    let over = device("v.com/c", "x", &json!({"env": ["IS=high"]}));
    fs::write(barge.path("cdi-over/b.json"), &over).unwrap();
    run(&["--device", "v.com/c=x"]).ok().stdout("highx\n");
    let error = "setting up CDI devices: unresolvable CDI devices nvidia.com/gpu=0, v.com/c=y";
    let flags = ["--device", "v.com/c=x", "--device", "v.com/c=y", "--gpus", "device=0"];
    let missing = run(&flags).fails(125);
    let names = missing.errors();
    assert!(names.contains("v.com/c=y") && names.contains("nvidia.com/gpu=0"), "{names}\n{error}");
    // Two of the same rank are none.
    fs::write(barge.path("cdi-over/c.json"), over).unwrap();
    run(&["--device", "v.com/c=x"]).fails(125).error_has("unresolvable CDI devices v.com/c=x");
    fs::write(barge.path("cdi-over/c.json"), "{").unwrap();
    run(&["--device", "v.com/c=x"]).ok().stdout("highx\n");
    run(&["--device", "v.com/c=y"]).fails(125).hint_has("cdi-over/c.json: ");
    run(&["--gpus", "x"]).fails(125);
    assert!(barge.containers().is_empty());
}

/// Writes a program for the host, which has the container's root in `$root`.
fn program(barge: &Barge, name: &str, script: &str) -> String {
    let find = r#"
state=$(cat)
bundle=$(echo "$state" | sed 's/.*"bundle":"\([^"]*\)".*/\1/')
root=$(sed 's/.*"root":{"path":"\([^"]*\)".*/\1/' $bundle/config.json)
"#;
    let path = barge.file(name, format!("#!/bin/sh{find}{script}\n"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn hooks_are_run_as_it_comes_and_goes() {
    let barge = Barge::with_busybox();
    let out = barge.path_text("t");
    let hook = |name: &str, script: &str| {
        let path = program(&barge, name, script);
        json!({"hookName": name, "path": path, "args": [name, "argument"], "env": ["PATH=/usr/bin:/bin", "A=b"]})
    };
    let hooks = json!([
        hook("createRuntime", &format!("echo \"$state\" > {out}/runtime")),
        hook("createContainer", "echo $0 $1 $A > $root/made; ls /usr/bin/env > $root/host"),
        {
            "hookName": "startContainer",
            "path": "/bin/busybox",
            "args": ["sh", "-c", "grep -E 'CapEff|Uid' /proc/self/status > /tmp/started"],
        },
        hook("poststart", &format!("echo \"$state\" > {out}/poststart")),
        hook("poststop", &format!("echo \"$state\" > {out}/poststop")),
    ]);
    describe(&barge, "v.json", &device("v.com/c", "x", &json!({"hooks": hooks})));
    let flags = ["--device", "v.com/c=x", "--user", "app", "--cap-drop", "KILL"];
    let script = "cat /made /host /tmp/started; grep -E 'CapEff|Uid' /proc/self/status";
    let lines = shell(&barge, &flags, script).ok().lines();
    assert!(lines[0].ends_with("createContainer argument b"), "{lines:?}");
    assert_eq!(lines[1], "/usr/bin/env");
    // A program of the image has no more power than the command.
    assert_eq!(lines[2..4], lines[4..6], "{lines:?}");
    let state = |name: &str| -> Value {
        let path = barge.path("t").join(name);
        wait_until(name, || fs::read_to_string(&path).is_ok_and(|text| text.ends_with('\n')));
        serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap()
    };
    assert_eq!(state("runtime")["status"], "created");
    assert_eq!(state("poststart")["status"], "running");
    assert_eq!(state("poststop")["status"], "stopped");
    assert!(state("poststart")["pid"].as_i64().unwrap() > 1);
}

#[test]
fn a_hook_that_fails_is_told() {
    let barge = Barge::with_busybox();
    for (name, script, error) in [
        ("createRuntime", "echo one >&2; echo two >&2; exit 3", "it ended with status 3: two"),
        ("createContainer", "echo bad; exit 4", "it ended with status 4: bad"),
        ("createContainer", "exec sleep 100", "it has not ended within 1 seconds"),
        ("frobnicate", "", "unknown hook `frobnicate`"),
    ] {
        let hook = json!({
            "hookName": name, "path": program(&barge, "hook", script), "timeout": 1,
            "env": ["PATH=/usr/bin:/bin"],
        });
        describe(&barge, "v.json", &device("v.com/c", "x", &json!({"hooks": [hook]})));
        let output = shell(&barge, &["--device", "v.com/c=x"], "true");
        output.fails(125).error_has(error).error_has(name);
    }
    let hook = json!({"hookName": "startContainer", "path": "/nosuch"});
    describe(&barge, "v.json", &device("v.com/c", "x", &json!({"hooks": [hook]})));
    let output = shell(&barge, &["--device", "v.com/c=x"], "true");
    output.fails(125).error_has("startContainer hook /nosuch: ").error_has("cannot execute it");
    // Nothing of those that failed is left.
    assert!(barge.containers().is_empty());
    barge.leaves_nothing();
}

#[test]
fn directories_of_devices_are_shown_whole() {
    let barge = Barge::with_busybox();
    barge.file("conf", "");
    // Only root can make devices; this directory most machines have.
    let (source, name, number) = if is_root() {
        fs::create_dir_all(barge.path("dev/below")).unwrap();
        let path = barge.path_text("dev/below/full");
        tool("mknod", [path.as_str(), "c", "1", "7"]);
        fs::write(barge.path("dev/file"), "").unwrap();
        (barge.path_text("dev"), "below/full", "1:7")
    } else {
        ("/dev/net".to_owned(), "tun", "a:c8")
    };
    let script = format!("stat -c %t:%T /dev/here/{name} /dev/null2; ls /dev/here");
    let flags = ["--device", &format!("{source}:/dev/here"), "--device", "/dev/null:/dev/null2"];
    let top = name.split('/').next().unwrap();
    let shown = shell(&barge, &flags, &script).ok().text();
    assert_eq!(shown, format!("{number}\n1:3\n{top}"));
    shell(&barge, &["--device", "/proc/self/fdinfo"], "true")
        .fails(125)
        .error_has("has no devices");
    shell(&barge, &["--device", "/etc/passwd"], "true").fails(125).error_has("is not a device");
    shell(&barge, &["--device", "/dev/nosuch"], "true").fails(125).error_has("cannot use device");
}
