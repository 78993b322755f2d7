//! What commands of builds see, and what is left of them.

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::Path;

use rustix::process::Signal;

use super::build::{context, printed};
use super::support::registry::Registry;
use super::support::{Barge, fixture, wait_until};

fn build(barge: &Barge, file: &str, args: &[&str]) -> Vec<String> {
    let dir = context(barge, &[("Dockerfile", file), ("top", "t\n")]);
    let line = [&["build", "--network=none"], args, &[dir.as_str()]].concat();
    barge.run(line).ok().lines()
}

#[test]
fn build_has_secrets_in_memory_only() {
    let barge = Barge::with_busybox();
    let secret = barge.file("secret", "s3cr3t");
    let flag = format!("id=a,src={secret}");
    let file = "FROM busybox\nRUN --mount=type=secret,id=a,target=/s,uid=5,gid=6,mode=0440 grep ' /s ' /proc/self/mountinfo | grep -o ' ro.* - tmpfs' | cut -d' ' -f2; stat -c '%u:%g %a' /s; echo x 2>/dev/null >/s || echo ro\n";
    let lines = printed(&build(&barge, file, &["--secret", &flag]));
    assert!(lines[0].starts_with("ro"), "{lines:?}");
    assert_eq!(lines[1..], ["5:6 440", "ro"]);
    // While it runs, nothing of it is in the store.
    let file = "FROM busybox\nRUN --mount=type=secret,id=a echo up; sleep 1000\n";
    let dir = context(&barge, &[("Dockerfile", file)]);
    let line = ["build", "--network=none", "--secret", flag.as_str(), dir.as_str()];
    let mut running = barge.command(line).spawn();
    running.expect("up\n");
    let has_it = |path: &&std::path::PathBuf| {
        fs::read(path).is_ok_and(|data| super::support::process::contains(&data, b"s3cr3t"))
    };
    let found = barge.files();
    let found = found.iter().filter(|it| !it.ends_with("secret")).find(has_it);
    assert_eq!(found, None);
    running.signal(Signal::TERM);
    running.wait();
}

#[test]
fn build_passes_agents_on_to_other_users() {
    let barge = Barge::with_busybox();
    let agent = barge.path_text("agent");
    let _listener = UnixListener::bind(&agent).unwrap();
    let file = "FROM busybox\nRUN --mount=type=ssh echo $SSH_AUTH_SOCK; stat -c '%u:%g %a %F' $SSH_AUTH_SOCK\n\
        RUN --mount=type=ssh,uid=1000,gid=5,mode=0660,target=/a stat -c '%u:%g %a' /a\nRUN ls /run/buildkit /a 2>/dev/null || true\n";
    let lines = printed(&build(&barge, file, &["--ssh", &format!("default={agent}")]));
    assert_eq!(lines, ["/run/buildkit/ssh_agent.0", "0:0 600 socket", "1000:5 660"]);
}

#[test]
fn build_shares_caches_as_they_are_asked_for() {
    let barge = Barge::with_busybox();
    let dir = |name: &str, sharing: &str| {
        let command = format!(
            "RUN --mount=type=cache,id=c,target=/c,sharing={sharing} ls /c; touch /c/{name}; echo up; if [ {name} = first ]; then sleep 1000; fi"
        );
        let path = barge.path(&format!("{sharing}-{name}"));
        fs::create_dir(&path).unwrap();
        fs::write(path.join("Dockerfile"), format!("FROM busybox\n{command}\n")).unwrap();
        path.display().to_string()
    };
    for (sharing, sees) in [("shared", true), ("private", false)] {
        let first = dir("first", sharing);
        let mut running = barge.command(["build", "--network=none", &first]).spawn();
        running.expect("up\n");
        let second = dir("second", sharing);
        let lines = barge.run(["build", "--network=none", &second]).ok().lines();
        assert_eq!(printed(&lines).contains(&"first".to_owned()), sees, "{sharing}: {lines:?}");
        running.signal(Signal::TERM);
        running.wait();
        barge.run(["builder", "prune", "-af"]).ok();
    }
    let first = dir("first", "locked");
    let mut running = barge.command(["build", "--network=none", &first]).spawn();
    running.expect("up\n");
    // What is in use stays.
    barge.run(["builder", "prune", "-af"]).ok();
    let second = dir("second", "locked");
    let mut waiting = barge.command(["build", "--network=none", &second]).spawn();
    waiting.expect("STEP 2/2");
    running.signal(Signal::TERM);
    running.wait();
    let lines = waiting.wait().ok().lines();
    assert!(lines.contains(&"first".to_owned()), "{lines:?}");
}

#[test]
fn build_keeps_long_steps_when_it_is_killed() {
    let barge = Barge::with_busybox();
    barge.kills();
    let file =
        "FROM busybox\nRUN sleep 0.6; echo one >/one\nRUN sed s/one/ready/ /one; sleep 1000\n";
    let dir = context(&barge, &[("Dockerfile", file)]);
    let mut running = barge.command(["build", "--network=none", &dir]).spawn();
    running.expect("ready\n");
    running.signal(Signal::KILL);
    running.wait();
    let marks = || fs::read_dir(barge.runroot().join("containers")).unwrap().count();
    wait_until("nothing of it is left", || marks() == 0);
    let file = file.replace("; sleep 1000", "");
    fs::write(barge.path("ctx/Dockerfile"), file).unwrap();
    let lines = barge.run(["build", "--network=none", &dir]).ok().lines();
    assert_eq!(lines.iter().filter(|it| it.starts_with("--> Using cache")).count(), 1);
    assert_eq!(printed(&lines), ["ready"]);
}

#[test]
fn what_is_only_mounted_is_no_change() {
    let barge = Barge::with_busybox();
    let file = "FROM scratch\nCOPY --from=busybox /bin /bin\n\
        RUN rm /etc/mtab; ls /etc /run/.containerenv; touch /etc/own\n\
        RUN --mount=type=tmpfs,target=/deep/place ls -d /deep/place; rm /etc/own\nRUN ls /\n";
    let lines = printed(&build(&barge, file, &[]));
    let etc = ["/run/.containerenv", "/etc:", "hostname", "hosts", "resolv.conf"];
    for name in etc {
        assert!(lines.iter().any(|line| line == name), "{name}: {lines:?}");
    }
    // Not even a mark that something was there.
    let mut found = Vec::new();
    for layer in fs::read_dir(barge.root().join("layers")).unwrap() {
        let diff = layer.unwrap().path().join("diff");
        if !diff.join("bin").exists() {
            found.push(names_below(&diff));
        }
    }
    found.sort_unstable();
    assert_eq!(found, [vec![], vec!["etc", "etc/own"], vec!["etc", "etc/own"]]);
}

#[test]
fn what_was_mounted_is_not_looked_for_behind_links() {
    let barge = Barge::with_busybox();
    let outside = barge.path("outside");
    fs::create_dir_all(outside.join("y")).unwrap();
    fs::write(outside.join("z"), "").unwrap();
    for name in ["y", "z"] {
        let file = format!(
            "FROM busybox\nRUN --mount=type=tmpfs,target=/x/{name} mv /x /moved && ln -s {} /x\n",
            outside.display()
        );
        build(&barge, &file, &[]);
        assert!(outside.join("y").is_dir() && outside.join("z").is_file(), "{name}");
    }
}

/// Returns all paths below a directory, in order.
fn names_below(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut left = vec![dir.to_owned()];
    while let Some(path) = left.pop() {
        for entry in fs::read_dir(path).unwrap() {
            let entry = entry.unwrap();
            let name = entry.path().strip_prefix(dir).unwrap().to_str().unwrap().to_owned();
            found.push(name);
            if entry.file_type().unwrap().is_dir() {
                left.push(entry.path());
            }
        }
    }
    found.sort_unstable();
    found
}

#[test]
fn build_needs_no_overlay() {
    let barge = Barge::new();
    let tar = fixture::busybox();
    let line = ["--storage-driver", "vfs", "import", "-q", &tar.to_string_lossy(), "busybox"];
    barge.run(line).ok();
    let file = "FROM busybox AS s\nRUN mkdir /d; echo s >/d/f; ln /d/f /d/g\nFROM busybox\n\
        RUN rm /etc/group; rm -r /home; mkdir /home; echo n >/home/new; echo x >>/etc/passwd; chmod 711 /tmp\n\
        RUN --mount=from=s,source=/d,target=/m --mount=type=cache,target=/c cat /m/f; touch /c/x\n\
        COPY --from=s /d /d\nRUN ls /etc /home; tail -n1 /etc/passwd; stat -c %a /tmp; stat -c %h /d/f; ls -d /m /c 2>/dev/null || true\n";
    let lines = printed(&build(&barge, file, &["-t", "x"]));
    let want = ["s", "/etc:", "passwd", "", "/home:", "new", "x", "711", "2"];
    let seen: Vec<&str> = lines.iter().map(String::as_str).collect();
    assert_eq!(seen.iter().filter(|it| **it == "s").count(), 1, "{seen:?}");
    for line in want {
        assert!(seen.contains(&line), "{line}: {seen:?}");
    }
    assert!(!seen.contains(&"group"), "{seen:?}");
    let line = ["run", "--rm", "--network=none", "x", "ls", "/etc", "/home"];
    let found = barge.run(line).ok().lines();
    assert!(!found.contains(&"group".to_owned()) && found.contains(&"new".to_owned()), "{found:?}");
}

#[test]
fn build_links_files_whatever_is_below() {
    let barge = Barge::with_busybox();
    let build = |below: &str, flags: &str| {
        let file = format!("FROM busybox\nRUN {below}\nCOPY --link {flags} top /e/\n");
        let lines = build(&barge, &file, &["-t", "x"]);
        lines.iter().filter(|it| it.starts_with("--> Using cache")).count()
    };
    assert_eq!(build("echo 1 >/1", ""), 0);
    assert_eq!(build("echo 2 >/2", ""), 1);
    assert_eq!(build("echo 3 >/3", "--chown=4:5"), 0);
    assert_eq!(build("ln -s /tmp /e", "--chown=4:5"), 1);
    let line = ["run", "--rm", "--network=none", "x", "stat", "-c", "%F %u:%g", "/e", "/e/top"];
    barge.run(line).ok().stdout("directory 4:5\nregular file 4:5\n");
    // A name is looked up in what is below.
    assert_eq!(build("echo 4 >/4", "--chown=app"), 0);
    assert_eq!(build("echo 5 >/5", "--chown=app"), 0);
}

#[test]
fn commits_of_annotated_images_are_compressed() {
    let barge = Barge::with_busybox();
    let registry = Registry::empty(barge.place());
    let file = "FROM busybox\nRUN echo x >/x\n";
    build(&barge, file, &["-t", "x", "--annotation", "a=b"]);
    assert_eq!(barge.inspect("x", "{{json .Annotations}}"), r#"{"a":"b"}"#);
    let layout = barge.path_text("layout");
    barge.run(["save", "--format", "oci-dir", "-o", &layout, "x"]).ok();
    let name = registry.reference("x:1");
    barge.run(["push", "-q", "--tls-verify=false", "x", &name]).ok();
    let there = barge.run(["manifest", "inspect", "--tls-verify=false", &name]).exits(0).json();
    assert_eq!(there["annotations"]["a"], "b");
    for layer in there["layers"].as_array().unwrap() {
        assert!(layer["mediaType"].as_str().unwrap().ends_with("gzip"), "{there}");
    }
    assert!(Path::new(&layout).join("index.json").exists());
}
