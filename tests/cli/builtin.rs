//! The images that need no registry: `builtin/hello` and `builtin/host`.

use std::fs;

use super::support::Barge;

#[test]
fn hello_greets_from_an_empty_container() {
    let barge = Barge::new();
    let output = barge.run(["run", "--rm", "--network=none", "builtin/hello"]).ok();
    assert!(output.text().to_lowercase().contains("hello"), "{}", output.text());
    assert_eq!(output.errors(), "");
    // Nothing else is in the image: our executable needs no loader and no library.
    barge.run(["run", "--rm", "--network=none", "builtin/hello", "/bin/sh"]).fails(127);
    let again = barge.run(["run", "--rm", "--network=none", "builtin/hello"]).ok();
    assert_eq!(again.text().lines().count(), output.text().lines().count());
    barge.leaves_nothing();
}

#[test]
fn hello_runs_with_the_default_network() {
    let barge = Barge::new();
    barge.run(["run", "--rm", "builtin/hello"]).ok();
}

#[test]
fn host_runs_the_programs_of_this_machine() {
    let barge = Barge::new();
    let run = |line: &[&str]| {
        barge.run([&["run", "--rm", "--network=none", "builtin/host"], line].concat()).ok().text()
    };
    assert_eq!(run(&["echo", "hi"]), "hi");
    let release = fs::read_to_string("/etc/os-release").unwrap();
    assert_eq!(run(&["cat", "/etc/os-release"]), release.trim_end());
    assert_eq!(run(&["perl", "-e", "print 6*7"]), "42");
}

#[test]
fn host_is_copy_on_write() {
    let barge = Barge::new();
    let marker = "/usr/barge-test-marker";
    assert!(!std::path::Path::new(marker).exists());
    let script = format!(
        "echo x > {marker} && cat {marker}; echo y > /etc/barge-test-marker && rm -f /etc/passwd && ls /etc/passwd 2>&1 | wc -l"
    );
    let line = ["run", "--rm", "--network=none", "builtin/host", "sh", "-c", &script];
    barge.run(line).exits(0).stdout("x\n1\n");
    for path in [marker, "/etc/barge-test-marker"] {
        assert!(!std::path::Path::new(path).exists());
    }
    assert!(std::path::Path::new("/etc/passwd").exists());
}

#[test]
fn host_hides_homes_and_the_store() {
    let barge = Barge::new();
    let secret = barge.file("h/secret", "secret");
    let script = format!(
        "ls -A /home /root /run /tmp 2>/dev/null | grep -v -e '^/' -e '^$' -e containerenv; cat {secret} 2>/dev/null; ls {} 2>/dev/null; true",
        barge.root().display()
    );
    let output =
        barge.run(["run", "--rm", "--network=none", "builtin/host", "sh", "-c", &script]).exits(0);
    assert_eq!(output.text(), "");
}

#[test]
fn builtin_images_are_images() {
    let barge = Barge::new();
    barge.run(["run", "--rm", "--network=none", "builtin/hello"]).ok();
    let names = barge.run(["images", "--format", "{{.Repository}}"]).ok();
    assert!(names.text().contains("builtin/hello"), "{}", names.text());
    barge.run(["run", "--rm", "--network=none", "builtin/nosuch"]).fails(125).error_has("nosuch");
}
