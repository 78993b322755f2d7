//! What a container may not do.

use super::crash::monitor;
use super::support::{Barge, Need, fixture, is_root, needs};

/// The capabilities that Docker leaves to a container.
const DEFAULT_CAPABILITIES: u64 = 0xa804_25fb;

/// Returns what a container can have at most: what root has, or everything in a user namespace.
fn bounding_set() -> u64 {
    if is_root() {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("CapBnd:")).unwrap();
        return u64::from_str_radix(line.trim(), 16).unwrap();
    }
    let last = std::fs::read_to_string("/proc/sys/kernel/cap_last_cap").unwrap();
    (2 << last.trim().parse::<u32>().unwrap()) - 1
}

/// Returns the sets of the container's process: inheritable, permitted, effective, bounding, ambient.
fn capabilities(barge: &Barge, flags: &[&str]) -> Vec<u64> {
    let output = barge.shell(flags, "grep ^Cap /proc/self/status").ok();
    let parse =
        |line: &String| u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap();
    output.lines().iter().map(parse).collect()
}

#[test]
fn capabilities_are_dockers_by_default() {
    let barge = Barge::with_busybox();
    let want = DEFAULT_CAPABILITIES & bounding_set();
    assert_eq!(capabilities(&barge, &[]), [0, want, want, want, 0]);
}

#[test]
fn capabilities_can_be_added_and_dropped() {
    let barge = Barge::with_busybox();
    let want = DEFAULT_CAPABILITIES & bounding_set();
    let effective = |flags: &[&str]| capabilities(&barge, flags)[2];
    assert_eq!(effective(&["--cap-drop", "ALL"]), 0);
    assert_eq!(effective(&["--cap-drop", "all", "--cap-add", "CAP_CHOWN"]), 1);
    assert_eq!(effective(&["--cap-drop", "chown"]), want & !1);
    assert_eq!(effective(&["--cap-add", "net_admin"]), want | 1 << 12);
    barge.shell(&["--cap-add", "NOSUCH"], "true").fails(125).error_has("NOSUCH");
    assert!(barge.containers().is_empty());
}

#[test]
fn users_other_than_root_have_no_capabilities() {
    let barge = Barge::with_busybox();
    let bounding = DEFAULT_CAPABILITIES & bounding_set();
    assert_eq!(capabilities(&barge, &["-u", "app"]), [0, 0, 0, bounding, 0]);
}

#[test]
fn dropped_capabilities_are_gone() {
    let barge = Barge::with_busybox();
    barge.shell(&[], "chown app /tmp && stat -c %U /tmp").ok().stdout("app\n");
    barge
        .shell(&["--cap-drop", "chown"], "chown app /tmp 2>&1 | grep -c 'not permitted'")
        .ok()
        .stdout("1\n");
}

#[test]
fn privileged_has_every_capability() {
    let barge = Barge::with_busybox();
    let sets = capabilities(&barge, &["--privileged"]);
    assert_eq!(sets[2], bounding_set());
    let script = "grep ^Seccomp: /proc/self/status | tr -d '\\t'; mount -t tmpfs none /mnt 2>&1 || mkdir /mnt && mount -t tmpfs none /mnt && echo mounted";
    barge.shell(&["--privileged"], script).exits(0).stdout_has("Seccomp:0").stdout_has("mounted");
}

#[test]
fn seccomp_filters_by_default() {
    let barge = Barge::with_busybox();
    barge.shell(&[], "grep ^Seccomp: /proc/self/status").ok().stdout("Seccomp:\t2\n");
    // Allowed by the capability, refused by the filter of those who lack it.
    barge.shell(&[], "unshare -U true 2>&1 | grep -c 'not permitted'").ok().stdout("1\n");
    let flags = ["--security-opt", "seccomp=unconfined"];
    barge.shell(&flags, "grep ^Seccomp: /proc/self/status").ok().stdout("Seccomp:\t0\n");
}

#[test]
fn seccomp_profiles_can_be_given() {
    let barge = Barge::with_busybox();
    let profile = barge.file(
        "profile.json",
        r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
            {"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":95}]}"#,
    );
    let flags = ["--security-opt", &format!("seccomp={profile}")];
    barge
        .shell(&flags, "mkdir /x 2>&1; touch /y && echo touched")
        .ok()
        .stdout("mkdir: can't create directory '/x': Operation not supported\ntouched\n");
    let missing = barge.path_text("nosuch.json");
    let flags = ["--security-opt", &format!("seccomp={missing}")];
    barge.shell(&flags, "true").fails(125).error_has(&missing);
    let bad = barge.file("bad.json", "{");
    let flags = ["--security-opt", &format!("seccomp={bad}")];
    barge.shell(&flags, "true").fails(125).error_has(&bad);
    assert!(barge.containers().is_empty());
}

#[test]
fn no_new_privileges_is_set_on_request() {
    let barge = Barge::with_busybox();
    let script = "grep ^NoNewPrivs: /proc/self/status";
    for option in ["no-new-privileges", "no-new-privileges=true", "no-new-privileges:true"] {
        barge.shell(&["--security-opt", option], script).ok().stdout("NoNewPrivs:\t1\n");
    }
    barge.shell(&[], script).ok().stdout("NoNewPrivs:\t0\n");
    barge.shell(&["--security-opt", "nosuch=1"], "true").fails(125).error_has("nosuch");
}

#[test]
fn devices_of_the_host_cannot_be_made() {
    if !needs(&[Need::Root]) {
        return;
    }
    let barge = Barge::with_busybox();
    // The capability to make nodes is there by default; opening them is not for the container.
    let script = "mknod /tmp/disk b 254 0 && head -c 1 /tmp/disk 2>&1 | grep -c 'not permitted'; \
                  mknod /tmp/null c 1 3 && echo x > /tmp/null && echo null";
    barge.shell(&[], script).ok().stdout("1\nnull\n");
}

#[test]
fn the_executable_of_the_host_cannot_be_reached() {
    let barge = Barge::with_busybox();
    // No process of the container is an instance of our executable that it could open for writing.
    let script = "for p in /proc/[0-9]*; do readlink $p/exe; done | sort -u";
    barge.shell(&[], script).ok().stdout("/bin/busybox\n");
    let id = barge.start(["--init", "busybox", "sleep", "1000"]);
    let script = "for p in /proc/[0-9]*/exe; do (: >> $p) 2>/dev/null && echo writable $(readlink $p); done; true";
    // busybox runs and so cannot be written; our init must not be writable either.
    barge.run(["exec", &id, "sh", "-c", script]).ok().stdout("");
    // It is protected by a mount, not by a copy that would take as much memory as it is large.
    let monitor = monitor(&id).expect("a running container has a monitor").as_raw_pid();
    let executable = std::fs::read_link(format!("/proc/{monitor}/exe")).unwrap();
    assert_eq!(executable.file_name(), fixture::barge().file_name(), "{}", executable.display());
}

#[test]
fn sysctls_of_the_namespaces_can_be_set() {
    let barge = Barge::with_busybox();
    barge
        .shell(
            &["--sysctl", "net.ipv4.ip_unprivileged_port_start=1234"],
            "cat /proc/sys/net/ipv4/ip_unprivileged_port_start",
        )
        .ok()
        .stdout("1234\n");
    barge.shell(&["--sysctl", "kernel.panic=1"], "true").fails(125).error_has("kernel.panic");
    assert!(barge.containers().is_empty());
}

#[test]
fn keyrings_are_not_shared() {
    let barge = Barge::with_busybox();
    barge.shell(&[], "cat /proc/keys | wc -l").ok().stdout("0\n");
}

#[test]
fn groups_of_the_caller_do_not_get_in() {
    let barge = Barge::with_busybox();
    barge.shell(&[], "grep ^Groups: /proc/self/status").ok().stdout("Groups:\t0 \n");
    barge.shell(&["-u", "1234"], "grep ^Groups: /proc/self/status").ok().stdout("Groups:\t0 \n");
}

#[test]
fn umask_is_the_usual_one() {
    let barge = Barge::with_busybox();
    barge.shell(&[], "umask").ok().stdout("0022\n");
    barge.shell(&["--umask", "0077"], "umask").ok().stdout("0077\n");
}

#[test]
fn proc_has_the_options_that_are_asked_for() {
    let barge = Barge::with_busybox();
    let flags = ["--security-opt", "proc-opts=hidepid=2", "--user", "app"];
    let script = "grep -o hidepid=[a-z0-9]* /proc/mounts | head -n 1; ls -d /proc/1";
    let barge_run = |flags: &[&str]| {
        // Another user's process is what is hidden.
        let line = ["run", "-d", "--network=none", "--name=box"];
        let line = [&line, flags, &["busybox", "sleep", "1000"]].concat();
        barge.run(line);
        let output = barge.run(["exec", "--user", "0", "box", "sh", "-c", script]);
        // Those of the group 0 see all.
        let other = barge.run(["exec", "--user", "2:2", "box", "ls", "-d", "/proc/1"]);
        barge.run(["rm", "-f", "-t", "0", "box"]).ok();
        (output.text(), other.status)
    };
    let (shown, hidden) = barge_run(&flags);
    assert!(shown.starts_with("hidepid="), "{shown}");
    assert_ne!(hidden, 0);
    let (shown, hidden) = barge_run(&["--user", "app"]);
    assert_eq!((shown.as_str(), hidden), ("/proc/1", 0));
}
