//! Attacks from inside: each is tried, and fails.

use std::fs;
use std::io::{IoSliceMut, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use serde_json::{Value, json};

use super::super::support::bundle::Bundle;
use super::super::support::probe::probe;
use super::super::support::{Barge, tool};
use super::{Case, Runtime, Stage, can, case, merge, path_of};

/// Runs the probe in a container with these flags and returns its answers.
fn ask(barge: &Barge, flags: &[&str], questions: &[&str]) -> Value {
    let probe = format!("{}:/probe:ro", probe().display());
    let line = [&["run", "--rm", "--network=none", "-v", &probe], flags, &["busybox", "/probe"]];
    barge.run(line.into_iter().flatten().chain(questions)).exits(0).json()
}

#[test]
fn masks_and_parameters_cannot_be_redirected() {
    if !can() {
        return;
    }
    let stage = Stage::new();
    let root = path_of(&stage, "rootfs");
    symlink("/etc/file", root.join("dev/null")).unwrap();
    fs::create_dir_all(path_of(&stage, "volume/sys/net/ipv4")).unwrap();
    symlink("/etc/file", path_of(&stage, "volume/sys/net/ipv4/ip_forward")).unwrap();
    let forward = json!({"net.ipv4.ip_forward": "1"});
    let only = |mounts: Value, more: Value| {
        let mut change = json!({"mounts": mounts});
        merge(&mut change, &more);
        change
    };
    let proc = json!({"destination": "/proc", "type": "proc", "source": "proc"});
    let on = |place: &str| json!({"destination": place, "type": "bind", "source": "$DIR/volume", "options": ["rbind"]});
    let cases: Vec<Case> = vec![
        // CVE-2025-31133: what files are hidden behind is a link of the image.
        case(
            "a null device that is a link",
            only(json!([proc]), json!({"linux": {"maskedPaths": ["/data/file"]}})),
        )
        .without_peer()
        .asks(&["read:/data/file", "write:/data/file=x", "read:/etc/file"])
        .sees("/0", "")
        .sees("/1", "EACCES")
        .sees("/2", "of the image"),
        // CVE-2025-52881: parameters are written to where a volume says.
        case(
            "a volume for /proc",
            only(json!([on("/proc")]), json!({"linux": {"sysctl": forward}})),
        )
        .without_peer()
        .fails("not the kernel's"),
        case(
            "a volume in /proc",
            only(json!([proc, on("/proc/sys")]), json!({"linux": {"sysctl": forward}})),
        )
        .without_peer()
        .fails("something is mounted on it"),
        // CVE-2024-21626: the working directory is one of the host's, by a descriptor.
        case("a directory of ours", json!({"process": {"cwd": "/proc/self/fd/3"}})).fails(""),
        case("another directory of ours", json!({"process": {"cwd": "/proc/self/fd/7"}})).fails(""),
        case(
            "a directory of ours, from there",
            json!({"process": {"cwd": "/proc/self/fd/8/../.."}}),
        )
        .fails(""),
        case("a directory of process 1", json!({"process": {"cwd": "/proc/1/fd/5/"}})).fails(""),
    ];
    stage.all("redirected", cases);
    assert_eq!(fs::read_to_string(root.join("etc/file")).unwrap(), "of the image\n");
}

#[test]
fn proc_that_is_a_link_is_a_place_in_the_image() {
    if !can() {
        return;
    }
    // CVE-2019-16884: the image has links where the kernel's file systems are to be.
    let stage = Stage::new();
    let root = path_of(&stage, "rootfs");
    fs::create_dir(path_of(&stage, "outside")).unwrap();
    for name in ["proc", "sys"] {
        fs::remove_dir(root.join(name)).unwrap();
        symlink(path_of(&stage, "outside"), root.join(name)).unwrap();
    }
    let forward = json!({"linux": {"sysctl": {"net.ipv4.ip_forward": "1"}}});
    let result = stage.run(&Runtime::Barge, "linked", &{
        let mut config = stage.plain("bt-linked");
        merge(&mut config, &forward);
        config
    });
    assert!(result.is_err(), "{result:?}");
    assert_eq!(fs::read_dir(path_of(&stage, "outside")).unwrap().count(), 0);
}

#[test]
fn mount_points_that_change_lead_nowhere_else() {
    if !can() {
        return;
    }
    // CVE-2021-30465: a directory becomes a link while something is mounted in it.
    let stage = Stage::new();
    let root = path_of(&stage, "rootfs");
    let outside = path_of(&stage, "outside");
    fs::create_dir(&outside).unwrap();
    fs::create_dir(root.join("real")).unwrap();
    symlink(&outside, root.join("link")).unwrap();
    fs::create_dir(root.join("race")).unwrap();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let swap = scope.spawn(|| {
            let flags = rustix::fs::RenameFlags::EXCHANGE;
            while !over.load(Ordering::Relaxed) {
                let (here, there) = (root.join("race"), root.join("link"));
                rustix::fs::renameat_with(rustix::fs::CWD, &here, rustix::fs::CWD, &there, flags)
                    .unwrap();
            }
        });
        let mut config = stage.plain("bt-race");
        let volume = path_of(&stage, "volume");
        merge(
            &mut config,
            &json!({
                "process": {"args": ["/probe", "list:/race"]},
                "mounts+": [
                    {"destination": "/race/a/b", "type": "bind", "source": volume, "options": ["rbind"]},
                    {"destination": "/race/c", "type": "tmpfs", "source": "tmpfs"},
                ],
            }),
        );
        for _ in 0..30 {
            // It may fail: a link that leads nowhere in the image is no mount point.
            drop(stage.run(&Runtime::Barge, "race", &config));
        }
        over.store(true, Ordering::Relaxed);
        swap.join().unwrap();
    });
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}

#[test]
fn set_user_id_programs_gain_nothing_where_that_is_forbidden() {
    if !can() {
        return;
    }
    let stage = Stage::new();
    let program = path_of(&stage, "rootfs").join("gains");
    fs::copy(path_of(&stage, "rootfs").join("probe"), &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o4755)).unwrap();
    let with = |name: &str, locked: bool| {
        case(
            name,
            json!({"process": {
                "args": ["/gains", "self"], "user": {"uid": 1000, "gid": 1000},
                "noNewPrivileges": locked,
            }}),
        )
    };
    let cases = vec![
        with("allowed", false).sees("/0/uid", "1000 0 0 0"),
        with("forbidden", true).sees("/0/uid", "1000 1000 1000 1000"),
    ];
    stage.all("gains", cases);
}

#[test]
fn what_concerns_the_machine_cannot_be_written_to() {
    let barge = Barge::with_busybox();
    let questions = [
        "write:/proc/sys/kernel/core_pattern=|/x",
        "write:/proc/sys/kernel/modprobe=/x",
        "write:/proc/sys/vm/overcommit_memory=0",
        "write:/proc/sysrq-trigger=h",
        "write:/proc/irq/default_smp_affinity=1",
        "write:/sys/kernel/uevent_helper=/x",
        "write:/sys/kernel/mm/ksm/run=0",
        "write:/sys/fs/cgroup/release_agent=/x",
        "write:/sys/fs/cgroup/memory/release_agent=/x",
        "write:/sys/fs/cgroup/pids/notify_on_release=1",
        "write:/sys/fs/cgroup/pids/pids.max=max",
        "write:/sys/fs/cgroup/cgroup.procs=1",
        "mkdir:/sys/fs/cgroup/pids/mine",
    ];
    let answers = ask(&barge, &[], &questions);
    for (question, answer) in questions.iter().zip(answers.as_array().unwrap()) {
        let refused = matches!(answer.as_str(), Some("EROFS" | "EACCES" | "EPERM" | "ENOENT"));
        assert!(refused, "{question}: {answer}");
    }
    let hidden = ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/latency_stats"];
    for path in hidden {
        let answer = ask(&barge, &[], &[&format!("read:{path}")]);
        assert!(matches!(answer[0].as_str(), Some("" | "ENOENT" | "EACCES")), "{path}: {answer}");
    }
}

#[test]
fn keys_of_one_container_are_not_found_by_another() {
    if !cfg!(target_arch = "x86_64") {
        return;
    }
    let barge = Barge::with_busybox();
    let free = ["--security-opt", "seccomp=unconfined"];
    let add = "call:248:@user,@bt-secret,@payload,7,-3";
    let search = "call:250:10,-3,@user,@bt-secret,0";
    let own = ask(&barge, &free, &[add, search]);
    assert!(own[0].is_number() && own[0] == own[1], "{own}");
    assert_eq!(ask(&barge, &free, &[search])[0], "ENOKEY");
}

#[test]
fn processes_that_join_cannot_be_looked_into() {
    let barge = Barge::with_busybox();
    let script = "while :; do for p in /proc/[0-9]*; do \
                  l=$(readlink $p/exe) && [ \"$l\" != /bin/busybox ] && echo \"seen $l\"; \
                  for f in $p/fd/*; do case $(readlink $f) in /dev/null) ;; /*/*) echo \"open $f\";; esac; done; \
                  done; done 2>/dev/null";
    let id = barge.start(["busybox", "sh", "-c", script]);
    for _ in 0..10 {
        barge.run(["exec", &id, "true"]).ok();
    }
    let seen = barge.run(["logs", &id]).ok().text();
    barge.run(["rm", "-f", "-t", "0", &id]).ok();
    assert!(!seen.contains("seen "), "{seen}");
    // Its own pipes and /dev/null are all that there is.
    let foreign = |line: &&str| line.starts_with("open ");
    assert_eq!(seen.lines().filter(foreign).count(), 0, "{seen}");
}

/// Calls that Docker's profile of today allows with a capability, or never, or always. Their arguments
/// make no sense: a call that is let through fails for another reason.
#[cfg(target_arch = "x86_64")]
const CALLS: [(&str, &str, Allowed); 33] = {
    use Allowed::{Always, Never, With};
    [
        ("acct", "163:0x1", With("SYS_PACCT")),
        ("add_key", "248:0", Never),
        ("bpf", "321:-1", With("SYS_ADMIN")),
        ("clock_settime", "227:-1,0", With("SYS_TIME")),
        ("delete_module", "176:0", With("SYS_MODULE")),
        ("fanotify_init", "300:-1,0", With("SYS_ADMIN")),
        ("finit_module", "313:-1,0", With("SYS_MODULE")),
        ("init_module", "175:0,0", With("SYS_MODULE")),
        ("io_uring_setup", "425:0,0", Never),
        ("kexec_load", "246:0,-1,0,-1", Never),
        ("keyctl", "250:-1", Never),
        ("mount", "165:0,0,0,0", With("SYS_ADMIN")),
        ("mount_setattr", "442:-1,0,-1,0,0", With("SYS_ADMIN")),
        ("move_pages", "279:0,1,0,0,0,-1", Never),
        ("open_by_handle_at", "304:-1,0,0", With("DAC_READ_SEARCH")),
        ("open_tree", "428:-1,0,-1", With("SYS_ADMIN")),
        ("perf_event_open", "298:0", With("PERFMON")),
        ("personality, as a machine of 32 bits", "135:8", Always),
        ("personality, without random addresses", "135:0x0040000", Never),
        ("pivot_root", "155:0,0", Never),
        ("process_vm_readv", "310:0,0,0,0,0,-1", Always),
        ("ptrace", "101:-1,0,0,0", Always),
        ("quotactl", "179:-1,0,0,0", With("SYS_ADMIN")),
        ("request_key", "249:0", Never),
        ("set_mempolicy", "238:-1,0,0", With("SYS_NICE")),
        ("setns", "308:-1,0", With("SYS_ADMIN")),
        ("settimeofday", "164:0x1,0", With("SYS_TIME")),
        ("socket of virtual machines", "41:40,1,0", Never),
        ("socket of the usual kind", "41:1,99,0", Always),
        ("swapon", "167:0,0", Never),
        ("syslog", "103:-1,0,0", With("SYSLOG")),
        ("unshare", "272:-1", With("SYS_ADMIN")),
        ("userfaultfd", "323:-1", Never),
    ]
};

#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
enum Allowed {
    Always,
    Never,
    With(&'static str),
}

#[test]
#[cfg(target_arch = "x86_64")]
fn calls_are_let_through_as_by_docker() {
    let barge = Barge::with_busybox();
    let questions: Vec<String> = CALLS.iter().map(|(_, call, _)| format!("call:{call}")).collect();
    let questions: Vec<&str> = questions.iter().map(String::as_str).collect();
    let plain = ask(&barge, &[], &questions);
    for ((name, _, allowed), answer) in CALLS.iter().zip(plain.as_array().unwrap()) {
        let refused = answer == "EPERM";
        assert_eq!(refused, !matches!(allowed, Allowed::Always), "{name}: {answer}");
    }
    let mut capabilities: Vec<&str> = CALLS
        .iter()
        .filter_map(|(_, _, allowed)| match allowed {
            Allowed::With(capability) => Some(*capability),
            _ => None,
        })
        .collect();
    capabilities.sort_unstable();
    capabilities.dedup();
    for capability in capabilities {
        let answers = ask(&barge, &["--cap-add", capability], &questions);
        for ((name, _, allowed), answer) in CALLS.iter().zip(answers.as_array().unwrap()) {
            match allowed {
                // In a user namespace the kernel says no to some by itself.
                Allowed::With(needed) if *needed == capability => {
                    let known = !can_be_refused(name);
                    assert!(answer != "EPERM" || !known, "{name} with {capability}: {answer}");
                }
                Allowed::Never => assert_eq!(answer, "EPERM", "{name} with {capability}"),
                _ => {}
            }
        }
    }
}

/// Calls that need power over the machine, which root of a user namespace has not.
#[cfg(target_arch = "x86_64")]
fn can_be_refused(name: &str) -> bool {
    let of_machine = [
        "acct",
        "bpf",
        "clock_settime",
        "delete_module",
        "fanotify_init",
        "finit_module",
        "init_module",
        "open_by_handle_at",
        "perf_event_open",
        "settimeofday",
        "syslog",
        "quotactl",
    ];
    !super::super::support::is_root() && of_machine.contains(&name)
}

#[test]
#[cfg(target_arch = "x86_64")]
fn letters_cannot_be_put_into_a_terminal_outside() {
    let barge = Barge::new();
    let bundle = Bundle::new(&barge);
    let inside = format!("{}/rootfs/probe", bundle.path());
    tool("cp", [&*probe().to_string_lossy(), &*inside]);
    // TIOCSTI of a letter at no address: who may do that fails for the address only.
    bundle.script("/probe call:16:0,0x5412,0 | grep -q EFAULT && echo op''en || echo clo''sed");
    let mut terminal = bundle.prepare(["run", "c"]).terminal();
    terminal.expect("closed");
    terminal.exits(0);
}

#[test]
fn words_with_newlines_add_no_lines() {
    let barge = Barge::with_busybox();
    let evil = "evil\n10.0.0.1 bank.example";
    let output = barge.shell(&["--hostname", evil], "cat /etc/hosts");
    if output.status == 0 {
        output.stdout_lacks("\n10.0.0.1");
    }
    let evil = "0\nroot2::0:0::/:/bin/sh";
    for flag in ["--user", "--group-add"] {
        let output = barge.shell(&[flag, evil], "cat /etc/passwd /etc/group");
        assert!(output.status != 0, "{}", output.story());
    }
    let output =
        barge.shell(&["--user", "4242", "-e", "HOME=/x\nroot2::0:0::/:/bin/sh"], "cat /etc/passwd");
    output.stdout_lacks("\nroot2");
    let output =
        barge.shell(&["--user", "4242", "-w", "/x\nroot2::0:0::/:/bin/sh"], "cat /etc/passwd");
    output.stdout_lacks("\nroot2");
}

/// Waits for what an agent is told and for the descriptor that comes with it.
fn receive(listener: &UnixListener) -> (Value, OwnedFd) {
    let (stream, _) = listener.accept().unwrap();
    let mut text = vec![0; 16 << 10];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(&mut text)];
    let flags = RecvFlags::CMSG_CLOEXEC;
    let got = rustix::net::recvmsg(stream.as_fd(), &mut parts, &mut ancillary, flags).unwrap();
    let file = ancillary.drain().find_map(|part| match part {
        RecvAncillaryMessage::ScmRights(mut files) => files.next(),
        _ => None,
    });
    text.truncate(got.bytes);
    // Nothing more comes.
    assert_eq!((&stream).read(&mut [0; 8]).unwrap(), 0);
    (serde_json::from_slice(&text).unwrap(), file.unwrap())
}

#[test]
fn calls_can_be_left_to_another_process() {
    if !can() {
        return;
    }
    let stage = Stage::new();
    let path = path_of(&stage, "agent");
    let listener = UnixListener::bind(&path).unwrap();
    let mut config = stage.plain("bt-notify");
    let number = if cfg!(target_arch = "x86_64") { 121 } else { 155 };
    merge(
        &mut config,
        &json!({
            "process": {"args": ["/probe", format!("call:{number}")]},
            "linux": {"seccomp": {
                "defaultAction": "SCMP_ACT_ALLOW",
                "listenerPath": path,
                "listenerMetadata": "for you",
                "syscalls": [{"names": ["getpgid"], "action": "SCMP_ACT_NOTIFY"}],
            }},
        }),
    );
    for uid in [0, 1000] {
        merge(&mut config, &json!({"process": {"user": {"uid": uid, "gid": uid}}}));
        std::thread::scope(|scope| {
            let agent = scope.spawn(|| {
                let (told, file) = receive(&listener);
                // Who closes it lets no call be decided any more: they do not exist.
                drop(file);
                told
            });
            let answer = stage.run(&Runtime::Barge, "notify", &config).unwrap();
            let told = agent.join().unwrap();
            assert_eq!(answer.trim(), "[\"ENOSYS\"]");
            assert_eq!(told["fds"], json!(["seccompFd"]));
            assert_eq!(told["metadata"], "for you");
            assert_eq!(told["state"]["id"], "notify");
            assert_eq!(told["state"]["status"], "creating");
            assert_eq!(told["state"]["pid"], told["pid"]);
            assert!(told["pid"].as_i64().unwrap() > 1, "{told}");
        });
    }
    fs::remove_file(&path).unwrap();
    let refused = stage.run(&Runtime::Barge, "notify", &config).unwrap_err();
    assert!(refused.contains("seccomp agent"), "{refused}");
}
