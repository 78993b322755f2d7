//! Groups for real, on what this machine has; needs root.

use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};

use super::*;

/// Returns the hierarchies if groups can be made in them.
fn hierarchies() -> Option<Hierarchies> {
    let found = Hierarchies::detect().unwrap();
    let usable = rustix::process::geteuid().is_root() && found.mode() != Mode::None;
    if !usable {
        eprintln!("left out: needs root and control groups");
    }
    usable.then_some(found)
}

fn resources(json: &str) -> LinuxResources {
    serde_json::from_str(&json.replace('\'', "\"")).unwrap()
}

/// A group that is removed at the end of the test, whatever happens.
struct Scratch {
    group: Cgroup,
    path: String,
    warnings: Vec<String>,
}

impl Scratch {
    fn new(hierarchies: &Hierarchies, name: &str, resources: &LinuxResources) -> Self {
        let path = format!("/barge-test-{}/{name}", std::process::id());
        let (group, warnings) = Cgroup::create(hierarchies, &path, resources, false).unwrap();
        Self { group, path, warnings }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.group.remove().unwrap();
        for directory in self.group.v1.iter().chain(&self.group.v2) {
            assert!(!directory.path.exists());
            // The parent is shared by the tests; the last one succeeds.
            fs::remove_dir(directory.path.parent().unwrap()).unwrap_or_default();
        }
    }
}

/// A shell in the group that waits for [`go`] before it runs a script.
fn shell(group: &Cgroup, script: &str) -> Child {
    let child = Command::new("sh")
        .args(["-c", &format!("read line; {script}")])
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    group.add(child.id().cast_signed()).unwrap();
    child
}

fn go(child: &mut Child) {
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
}

#[test]
fn limits_counts_and_removes() {
    let Some(hierarchies) = hierarchies() else { return };
    let json = "{'memory': {'limit': 67108864, 'swap': 67108864}, 'pids': {'limit': 50},
                 'cpu': {'quota': 50000, 'period': 100000, 'shares': 512}}";
    let mut scratch = Scratch::new(&hierarchies, "limits", &resources(json));
    assert_eq!(scratch.warnings, [""; 0]);
    let stats = scratch.group.stats();
    assert_eq!((stats.memory_limit, stats.pids_limit), (Some(67_108_864), Some(50)));
    assert_eq!((stats.pids, stats.cpu.is_some()), (Some(0), true));

    let mut child = shell(&scratch.group, "sleep 1000");
    let pid = child.id().cast_signed();
    assert_eq!(scratch.group.processes().unwrap(), [pid]);
    assert_eq!(scratch.group.stats().pids, Some(1));

    // Lower and higher than before: memory and swap must not cross on the way.
    for limit in [33_554_432, 134_217_728] {
        let json = format!("{{'memory': {{'limit': {limit}, 'swap': {limit}}}}}");
        let path = scratch.path.clone();
        let updated = scratch.group.update(&hierarchies, &path, &resources(&json));
        assert_eq!(updated.unwrap(), [""; 0]);
        assert_eq!(scratch.group.stats().memory_limit, Some(limit));
    }

    let again = Cgroup::create(&hierarchies, &scratch.path, &LinuxResources::default(), false);
    assert_eq!(again.unwrap_err().kind(), Kind::Conflict);

    let opened = Cgroup::open(&hierarchies, &scratch.path).unwrap();
    assert_eq!(opened.processes().unwrap(), [pid]);
    opened.remove().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    assert!(scratch.group.processes().unwrap().is_empty());
    assert!(Cgroup::open(&hierarchies, &scratch.path).unwrap().is_none());
}

#[test]
fn binds_to_processors() {
    let Some(hierarchies) = hierarchies() else { return };
    if !hierarchies.controllers().iter().any(|name| name == "cpuset") {
        eprintln!("left out: needs the controller cpuset");
        return;
    }
    let scratch = Scratch::new(&hierarchies, "cpuset", &resources("{'cpu': {'cpus': '0'}}"));
    assert_eq!(scratch.warnings, [""; 0]);
    let mut child = shell(&scratch.group, "sleep 1000");
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    assert!(status.contains("\nCpus_allowed_list:\t0\n"), "{status}");
    scratch.group.kill_all(libc::SIGKILL).unwrap();
    child.wait().unwrap();
}

#[test]
fn freezes_and_signals() {
    let Some(hierarchies) = hierarchies() else { return };
    let v1_only = Hierarchies { v2: None, ..hierarchies.clone() };
    let mut kinds = vec![("freeze", hierarchies)];
    if v1_only.v1_with("freezer").is_some() {
        kinds.push(("freeze-v1", v1_only));
    }
    for (name, hierarchies) in kinds {
        let scratch = Scratch::new(&hierarchies, name, &LinuxResources::default());
        let mut child = shell(&scratch.group, "while :; do :; done");
        go(&mut child);
        scratch.group.freeze().unwrap();
        let used = scratch.group.stats().cpu;
        assert_eq!(scratch.group.stats().cpu, used, "it does not run while frozen");
        scratch.group.thaw().unwrap();
        scratch.group.kill_all(libc::SIGTERM).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(15));

        // A frozen group can be killed too.
        let mut child = shell(&scratch.group, "sleep 1000");
        scratch.group.freeze().unwrap();
        scratch.group.kill_all(libc::SIGKILL).unwrap();
        assert_eq!(child.wait().unwrap().signal(), Some(9));
    }
}

#[test]
fn notices_lack_of_memory() {
    let Some(hierarchies) = hierarchies() else { return };
    let json = resources("{'memory': {'limit': 16777216, 'swap': 16777216}}");
    let scratch = Scratch::new(&hierarchies, "oom", &json);
    assert_eq!(scratch.group.oom_kills().unwrap(), 0);
    let mut child = shell(&scratch.group, "exec tail /dev/zero");
    go(&mut child);
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    assert_eq!(scratch.group.oom_kills().unwrap(), 1);
}

#[test]
fn limits_devices() {
    let Some(hierarchies) = hierarchies() else { return };
    let v2_only = Hierarchies { v1: Vec::new(), ..hierarchies.clone() };
    let mut kinds = vec![("devices", hierarchies)];
    if v2_only.v2.is_some() {
        kinds.push(("devices-v2", v2_only));
    }
    let rules = resources(
        "{'devices': [{'allow': false, 'access': 'rwm'},
                      {'allow': true, 'type': 'c', 'major': 1, 'minor': 3, 'access': 'rwm'},
                      {'allow': true, 'type': 'c', 'major': 1, 'minor': 5, 'access': 'r'}]}",
    );
    for (name, hierarchies) in kinds {
        let scratch = Scratch::new(&hierarchies, name, &rules);
        for (script, allowed) in [
            (": > /dev/null", true),
            (": < /dev/zero", true),
            (": > /dev/zero", false),
            (": < /dev/full", false),
        ] {
            let mut child = shell(&scratch.group, script);
            go(&mut child);
            assert_eq!(child.wait().unwrap().success(), allowed, "{script} in {name}");
        }
    }
}

#[test]
fn warns_about_each_missing_controller_once() {
    let asked = resources(
        "{'memory': {'limit': 1, 'reservation': 1}, 'cpu': {'cpus': '0', 'mems': '0'},
          'pids': {'limit': 5}}",
    );
    let none = Hierarchies::default();
    let (group, warnings) = Cgroup::create(&none, "", &asked, true).unwrap();
    assert_eq!(
        warnings,
        [
            "the memory limit is not applied: the cgroup controller `memory` is not available",
            "the memory reservation is not applied: the cgroup controller `memory` is not available",
            "the CPU set is not applied: the cgroup controller `cpuset` is not available",
            "the memory node set is not applied: the cgroup controller `cpuset` is not available",
            "the pids limit is not applied: the cgroup controller `pids` is not available",
        ]
    );
    // No group: nothing to do, nothing known.
    assert!(group.is_none() && group.v2_fd().is_none());
    assert_eq!(group.processes().unwrap(), [0; 0]);
    assert_eq!((group.stats(), group.oom_kills().unwrap()), (Stats::default(), 0));
    group.join().unwrap();
    group.add(1).unwrap();
    group.kill_all(9).unwrap();
    group.remove().unwrap();
    assert_eq!(group.freeze().unwrap_err().kind(), Kind::Unsupported);
}

#[test]
fn refuses_bad_values_and_leaves_nothing() {
    let Some(hierarchies) = hierarchies() else { return };
    let path = format!("/barge-test-{}-bad", std::process::id());
    // Less than the kernel's millisecond.
    let wrong = resources("{'cpu': {'quota': 1}}");
    let error = Cgroup::create(&hierarchies, &path, &wrong, false).unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
    assert!(error.to_string().contains("cannot apply the CPU quota"), "{error}");
    assert!(Cgroup::open(&hierarchies, &path).unwrap().is_none());
    for path in ["relative", "/", "/a/../b", "/.."] {
        let error = Cgroup::create(&hierarchies, path, &wrong, false).unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid, "{path}");
    }
}

#[test]
fn processes_move_themselves() {
    let Some(hierarchies) = hierarchies() else { return };
    let scratch = Scratch::new(&hierarchies, "entry", &LinuxResources::default());
    // A thread moves alone, as a process with one thread does.
    let join = || {
        scratch.group.join().unwrap();
        fs::read_to_string("/proc/thread-self/cgroup").unwrap()
    };
    let own = std::thread::scope(|scope| scope.spawn(join).join().unwrap());
    for hierarchy in &scratch.group.v1 {
        let controller = &hierarchy.controllers[0];
        let line = own.lines().find(|line| line.contains(&format!(":{controller}:"))).unwrap();
        assert!(line.ends_with(&scratch.path), "{line}");
    }
}
