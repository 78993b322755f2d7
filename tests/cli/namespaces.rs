//! Which namespaces a container has of its own, and which it shares with whom.

use std::fs;

use super::support::{Barge, wait_until};

/// Kinds of namespaces: the flag, and the name in /proc/PID/ns.
const KINDS: [(&str, &str); 4] =
    [("pid", "pid"), ("ipc", "ipc"), ("uts", "uts"), ("cgroupns", "cgroup")];

fn own(name: &str) -> String {
    fs::read_link(format!("/proc/self/ns/{name}")).unwrap().to_string_lossy().into_owned()
}

/// The namespace that a container's process says that it is in.
fn seen(barge: &Barge, flags: &[&str], name: &str) -> String {
    barge.shell(flags, &format!("readlink /proc/self/ns/{name}")).ok().text()
}

#[test]
fn namespaces_are_the_containers_or_the_hosts() {
    let barge = Barge::with_busybox();
    for (flag, name) in KINDS {
        let flag = format!("--{flag}");
        assert_ne!(seen(&barge, &[], name), own(name), "{name}");
        assert_ne!(seen(&barge, &[&flag, "private"], name), own(name), "{name}");
        assert_eq!(seen(&barge, &[&flag, "host"], name), own(name), "{name}");
    }
}

#[test]
fn namespaces_of_another_container_are_joined() {
    let barge = Barge::with_busybox();
    let id = barge.start(["--name", "donor", "busybox", "sleep", "1000"]);
    let pid = barge.inspect("donor", "{{.State.Pid}}");
    let of_donor = |name: &str| {
        fs::read_link(format!("/proc/{pid}/ns/{name}")).unwrap().to_string_lossy().into_owned()
    };
    for (flag, name) in KINDS {
        let flag = format!("--{flag}");
        for mode in ["container:donor".to_owned(), format!("ns:/proc/{pid}/ns/{name}")] {
            assert_eq!(seen(&barge, &[&flag, &mode], name), of_donor(name), "{name} {mode}");
        }
    }
    let all: Vec<String> =
        KINDS.iter().map(|(flag, _)| format!("--{flag}=container:donor")).collect();
    let mut line = vec!["--name", "guest", "--network", "container:donor"];
    line.extend(all.iter().map(String::as_str));
    line.extend(["busybox", "sleep", "1000"]);
    let mut run = vec!["run", "-d"];
    run.extend(line);
    barge.run(run).ok();
    let guest = barge.inspect("guest", "{{.State.Pid}}");
    for name in ["pid", "ipc", "uts", "cgroup", "net"] {
        let link = fs::read_link(format!("/proc/{guest}/ns/{name}")).unwrap();
        assert_eq!(link.to_string_lossy(), of_donor(name), "{name}");
    }
    // Each sees the other's processes, also through exec, and only those.
    let script = "cat /proc/[0-9]*/cmdline | tr '\\0' ' '";
    let text = barge.run(["exec", "guest", "sh", "-c", script]).ok().text();
    assert_eq!(text.matches("sleep 1000").count(), 2, "{text}");
    assert_eq!(barge.inspect("guest", "{{.HostConfig.PidMode}}"), format!("container:{id}"));
    // The namespace ends with its first process, and everybody in it.
    barge.run(["kill", "donor"]).ok();
    barge.await_status("guest", "exited");
    assert_eq!(barge.inspect("guest", "{{.State.ExitCode}}"), "137");
}

#[test]
fn shared_memory_goes_with_ipc() {
    let barge = Barge::with_busybox();
    barge.start([
        "--name",
        "donor",
        "--ipc",
        "shareable",
        "--shm-size",
        "3m",
        "busybox",
        "sleep",
        "1000",
    ]);
    barge.run(["exec", "donor", "sh", "-c", "echo of the donor > /dev/shm/a"]).ok();
    let script = "cat /dev/shm/a; echo of the guest > /dev/shm/b; \
                  df -k /dev/shm | tail -n 1 | awk '{print $2}'";
    barge.shell(&["--ipc", "container:donor"], script).ok().stdout("of the donor\n3072\n");
    barge.run(["exec", "donor", "cat", "/dev/shm/b"]).ok().stdout("of the guest\n");
    barge.shell(&["--ipc", "none"], "grep -c ' /dev/shm ' /proc/mounts").exits(1).stdout("0\n");
    barge.shell(&["--ipc", "private"], "ls /dev/shm | wc -l").ok().stdout("0\n");

    // What the donor puts in the place of its shared memory is no way to anything else.
    let swap = "umount /dev/shm; rmdir /dev/shm; ln -s /etc /dev/shm";
    barge.start(["--name", "bad", "--privileged", "busybox", "sleep", "1000"]);
    barge.run(["exec", "--privileged", "bad", "sh", "-c", swap]).ok();
    barge
        .shell(&["--ipc", "container:bad"], "ls /dev/shm")
        .fails(125)
        .error_has("cannot share the shared memory of container bad");
}

#[test]
fn private_ipc_is_not_joined() {
    let barge = Barge::with_busybox();
    let id = barge.start(["--name", "donor", "--ipc", "private", "busybox", "sleep", "1000"]);
    barge.shell(&["--ipc", "container:donor"], "true").fails(125).stderr(&format!(
        "Error: joining IPC of container {id} is not allowed: non-shareable IPC (hint: use IpcMode:shareable for the donor container)\n"
    ));
    assert_eq!(barge.inspect("donor", "{{.HostConfig.IpcMode}}"), "private");
    assert_eq!(barge.containers(), [id]);
}

#[test]
fn host_names_are_shared() {
    let barge = Barge::with_busybox();
    barge.start(["--name", "donor", "-h", "shared", "busybox", "sleep", "1000"]);
    let script = "hostname; cat /etc/hostname; echo $HOSTNAME";
    let output = barge.shell(&["--uts", "container:donor"], script).ok().lines();
    assert_eq!(output, ["shared", "shared", "shared"]);
    barge
        .shell(&["--uts", "container:donor", "-h", "other"], "true")
        .fails(125)
        .error_has("cannot set the host name");
    barge.shell(&["--uts", "host", "-h", "other"], "true").fails(125).error_has("host name");
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    barge
        .shell(&["--uts", "host"], "hostname; echo $HOSTNAME")
        .ok()
        .stdout(&format!("{host}\n{host}\n"));
}

#[test]
fn donors_are_needed() {
    let barge = Barge::with_busybox();
    let donor = barge.start(["--name", "donor", "busybox", "sleep", "1000"]);
    let flags = ["--name", "guest", "--pid", "container:donor", "--network", "container:donor"];
    let mut line = vec!["run", "-d"];
    line.extend(flags);
    line.extend(["busybox", "sleep", "1000"]);
    let guest = barge.run(line).ok().text();
    let refusal = format!("Error: cannot remove container {donor}");
    barge.run(["rm", "donor"]).fails(2).error_has(&refusal);
    let needed = format!(
        "container {donor} has dependent containers which must be removed before it: {guest}"
    );
    barge.run(["rm", "-f", "-t", "0", "donor"]).fails(125).error_has(&needed);
    assert_eq!(barge.status("donor"), "running");

    // A name is only a name: it is the same container by another.
    barge.run(["stop", "-t", "0", "donor"]).ok();
    barge.await_status("guest", "exited");
    barge.run(["rm", "donor"]).fails(125).error_has(&needed);

    // Who starts the guest gets its donor with it.
    barge.run(["start", "guest"]).ok();
    assert_eq!(barge.status("donor"), "running");
    let link = |name: &str| {
        let pid = barge.inspect(name, "{{.State.Pid}}");
        fs::read_link(format!("/proc/{pid}/ns/pid")).unwrap()
    };
    assert_eq!(link("guest"), link("donor"));
    barge.run(["restart", "-t", "0", "donor"]).ok();
    barge.await_status("guest", "exited");
    barge.run(["start", "guest"]).ok();
    assert_eq!(link("guest"), link("donor"));

    barge.run(["rm", "-f", "-t", "0", "guest"]).ok();
    barge.run(["rm", "-f", "-t", "0", "donor"]).ok();
    assert!(barge.containers().is_empty());
}

#[test]
fn all_are_removed_in_the_right_order() {
    let barge = Barge::with_busybox();
    barge.start(["--name", "a", "busybox", "sleep", "1000"]);
    for (name, donor) in [("b", "a"), ("c", "b"), ("d", "a")] {
        let mode = format!("container:{donor}");
        barge.start(["--name", name, "--ipc", &mode, "--uts", &mode, "busybox", "sleep", "1000"]);
    }
    barge.run(["rm", "-f", "-t", "0", "-a"]).ok();
    assert!(barge.containers().is_empty());
}

#[test]
fn a_donor_that_was_to_go_stays_for_its_guests() {
    let barge = Barge::with_busybox();
    barge.start(["--name", "donor", "--rm", "busybox", "sleep", "1000"]);
    barge.start(["--name", "guest", "--uts", "container:donor", "busybox", "sleep", "1000"]);
    barge.run(["kill", "donor"]).ok();
    barge.await_status("donor", "exited");
    barge.run(["rm", "-f", "-t", "0", "guest", "donor"]).ok();
    assert!(barge.containers().is_empty());
}

#[test]
fn a_donor_whose_monitor_is_killed_ends_its_guests() {
    let barge = Barge::with_busybox();
    barge.kills();
    barge.start(["--name", "donor", "busybox", "sleep", "1000"]);
    barge.start(["--name", "guest", "--pid", "container:donor", "busybox", "sleep", "1000"]);
    let pid: i32 = barge.inspect("donor", "{{.State.Pid}}").parse().unwrap();
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let parent: i32 =
        stat[stat.rfind(')').unwrap() + 2..].split(' ').nth(1).unwrap().parse().unwrap();
    let monitor = rustix::process::Pid::from_raw(parent).unwrap();
    rustix::process::kill_process(monitor, rustix::process::Signal::KILL).unwrap();
    barge.await_status("guest", "exited");
    barge.await_status("donor", "exited");
}

#[test]
fn modes_that_are_none_are_refused() {
    let barge = Barge::with_busybox();
    let ordinary = barge.file("ordinary", "");
    for (flag, mode, want) in [
        ("--pid", "bogus", "unrecognized namespace mode `bogus`"),
        ("--uts", "none", "unrecognized namespace mode `none`"),
        ("--ipc", "container:", "unrecognized namespace mode `container:`"),
        ("--pid", "container:nobody", "no container with name or ID \"nobody\" found"),
        ("--ipc", "ns:/nosuch", "/nosuch"),
        ("--uts", "ns:/proc/self/ns/net", "cannot use /proc/self/ns/net as uts namespace"),
        ("--network", &format!("ns:{ordinary}"), "as net namespace"),
    ] {
        let no_network: &[&str] = if flag == "--network" { &[] } else { &["--network", "none"] };
        let line = [&["run", "--rm"], no_network, &[flag, mode, "busybox", "true"]].concat();
        barge.run(line).fails(125).error_has(want);
    }
    assert!(barge.containers().is_empty());
}

#[test]
fn parameters_of_namespaces_that_are_not_its_own_are_refused() {
    let barge = Barge::with_busybox();
    barge.start(["--name", "donor", "busybox", "sleep", "1000"]);
    for (flag, mode, parameter) in [
        ("--ipc", "host", "kernel.shm_rmid_forced=1"),
        ("--ipc", "container:donor", "kernel.msgmax=1000"),
        ("--uts", "container:donor", "kernel.domainname=x"),
        ("--network", "container:donor", "net.ipv4.ip_forward=1"),
    ] {
        barge
            .run(["run", "--rm", flag, mode, "--sysctl", parameter, "busybox", "true"])
            .fails(125)
            .error_has("cannot be set for one container");
    }
}

#[test]
fn many_guests_come_and_go_while_their_donor_is_removed() {
    let barge = Barge::with_busybox();
    barge.start(["--name", "donor", "busybox", "sleep", "1000"]);
    let guests: Vec<_> = (0..6)
        .map(|number| {
            let name = format!("g{number}");
            barge
                .command([
                    "create",
                    "--name",
                    &name,
                    "--network=none",
                    "--uts=container:donor",
                    "busybox",
                    "true",
                ])
                .spawn()
        })
        .collect();
    let remover = barge.command(["rm", "-f", "-t", "0", "donor"]).spawn();
    let made: Vec<bool> = guests.into_iter().map(|guest| guest.wait().status == 0).collect();
    let removed = remover.wait().status == 0;
    // Either it was removed before anybody needed it, or who needs it keeps it.
    assert!(removed != made.iter().any(|made| *made), "removed: {removed}, guests: {made:?}");
    let left = barge.run(["ps", "-a", "--format", "{{.Names}}"]).ok().lines();
    assert_eq!(left.len(), made.iter().filter(|made| **made).count() + usize::from(!removed));
    wait_until("nothing runs that was removed", || !removed || barge.status("donor").is_empty());
}
