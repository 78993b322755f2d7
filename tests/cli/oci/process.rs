//! The process: who it is, what it may, and how the kernel treats it.

use serde_json::{Value, json};

use super::{Case, Stage, can, case};

fn process(name: impl Into<String>, change: Value) -> Case {
    case(name, json!({ "process": change }))
}

/// The bits of capabilities, as /proc shows them.
fn bits(numbers: &[u32]) -> String {
    format!("{:016x}", numbers.iter().map(|number| 1_u64 << number).sum::<u64>())
}

const CHOWN: u32 = 0;
const KILL: u32 = 5;
const NET_RAW: u32 = 13;

#[test]
fn identity() {
    if !can() {
        return;
    }
    let user = |name: &str, change| process(name, json!({ "user": change }));
    let cases = vec![
        process("words", json!({"args": ["/probe", "self", "read:/none"]}))
            .sees("/0/args", json!(["/probe", "self", "read:/none"])),
        process("found in PATH", json!({"args": ["probe"]})).sees("/args", json!(["probe"])),
        process("no such program", json!({"args": ["/none"]})).fails("/none"),
        process("no program in PATH", json!({"args": ["none"]})).fails("none"),
        process("a directory as program", json!({"args": ["/tmp"]})).fails("/tmp"),
        process("variables", json!({"env": ["A=1", "B=x y", "HOME=/h"]}))
            .sees("/env", json!(["A=1", "B=x y", "HOME=/h"])),
        process("the home of nobody known", json!({"env": ["A=1"]}))
            .sees("/env", json!(["A=1", "HOME=/"])),
        process("working directory", json!({"cwd": "/tmp"})).sees("/cwd", "/tmp"),
        process("working directory that is made", json!({"cwd": "/tmp/made/for/it"}))
            .sees("/cwd", "/tmp/made/for/it"),
        process("working directory that is a file", json!({"cwd": "/etc/file"})).fails("/etc/file"),
        user("root", json!({"uid": 0, "gid": 0})).sees("/uid", "0 0 0 0").sees("/gid", "0 0 0 0"),
        user("somebody", json!({"uid": 1234, "gid": 77}))
            .sees("/uid", "1234 1234 1234 1234")
            .sees("/gid", "77 77 77 77"),
        user("root in a group", json!({"uid": 0, "gid": 5})).sees("/gid", "5 5 5 5"),
        user("further groups", json!({"uid": 1, "gid": 2, "additionalGids": [3, 70000]}))
            .sees("/groups", "3 70000"),
        user("no further groups", json!({"uid": 1, "gid": 2})).sees("/groups", ""),
        user("the highest number", json!({"uid": 4294967294_u32, "gid": 4294967294_u32}))
            .without_peer()
            .sees("/uid", "4294967294 4294967294 4294967294 4294967294"),
        user("usual umask", json!({"uid": 0, "gid": 0})).sees("/umask", "0022"),
        user("umask 0", json!({"umask": 0})).sees("/umask", "0000"),
        user("umask 77", json!({"umask": 0o77})).sees("/umask", "0077"),
        user("umask 777", json!({"umask": 0o777})).sees("/umask", "0777"),
        process("no new privileges", json!({"noNewPrivileges": true})).sees("/no_new_privs", "1"),
        process("new privileges", json!({"noNewPrivileges": false})).sees("/no_new_privs", "0"),
        process("standard descriptors alone", json!({}))
            .sees("/files/3", Value::Null)
            .sees("/files/10", Value::Null)
            .has("/files/1", "pipe:"),
        process("no terminal", json!({"terminal": false})).sees("/terminal", Value::Null),
        process("a session of its own", json!({})).sees("/session", 1),
        process("first process", json!({})).sees("/pid", 1),
        process("keys of its own", json!({})).unlike_host("/keyring"),
        process("AppArmor profile", json!({"apparmorProfile": "none-of-this-name"}))
            .fails("AppArmor"),
        process("no AppArmor profile", json!({"apparmorProfile": ""})).sees("/pid", 1),
        process("SELinux label", json!({"selinuxLabel": "system_u:system_r:t:s0"}))
            .fails("SELinux"),
    ];
    Stage::new().all("identity", cases);
}

#[test]
fn capabilities() {
    if !can() {
        return;
    }
    let sets = |name: &str, change: Value| {
        // Nothing is left of the plain configuration.
        let none = json!({"bounding": [], "effective": [], "permitted": []});
        let mut all = json!({"capabilities": none});
        super::merge(&mut all["capabilities"], &change);
        process(name, all)
    };
    let (chown, both) = (bits(&[CHOWN]), bits(&[CHOWN, KILL]));
    let none = bits(&[]);
    let two = ["CAP_CHOWN", "CAP_KILL"];
    let somebody = |mut case: Case| {
        super::merge(&mut case.change, &json!({"process": {"user": {"uid": 1000, "gid": 1000}}}));
        case
    };
    let cases = vec![
        sets("no capability", json!({}))
            .sees("/bounding", none.clone())
            .sees("/effective", none.clone())
            .sees("/permitted", none.clone()),
        process("no capabilities named", json!({"capabilities": null}))
            .sees("/effective", none.clone())
            .sees("/bounding", none.clone()),
        sets(
            "bounding and permitted",
            json!({"bounding": two, "permitted": two, "effective": two}),
        )
        .sees("/bounding", both.clone())
        .sees("/effective", both.clone())
        .sees("/ambient", none.clone())
        .sees("/inheritable", none.clone()),
        // At exec, root gets what it may have at all.
        sets("bounding more", json!({"bounding": two, "permitted": ["CAP_CHOWN"]}))
            .sees("/bounding", both.clone())
            .sees("/permitted", both.clone()),
        sets(
            "ambient",
            json!({
                "bounding": two, "permitted": two, "effective": two, "inheritable": two,
                "ambient": ["CAP_CHOWN"],
            }),
        )
        .sees("/ambient", chown.clone())
        .sees("/inheritable", both.clone()),
        somebody(sets(
            "somebody without",
            json!({"bounding": two, "permitted": two, "effective": two}),
        ))
        .sees("/effective", none.clone())
        .sees("/permitted", none.clone())
        .sees("/bounding", both.clone()),
        somebody(sets(
            "somebody with an ambient one",
            json!({
                "bounding": two, "permitted": two, "effective": two, "inheritable": two,
                "ambient": ["CAP_KILL"],
            }),
        ))
        .sees("/effective", bits(&[KILL]))
        .sees("/permitted", bits(&[KILL]))
        .sees("/ambient", bits(&[KILL])),
        somebody(sets(
            "inheritable is not effective",
            json!({"bounding": two, "permitted": two, "inheritable": two}),
        ))
        .sees("/inheritable", both.clone())
        .sees("/effective", none.clone()),
        sets(
            "a high one",
            json!({
                "bounding": ["CAP_NET_RAW"], "permitted": ["CAP_NET_RAW"],
                "effective": ["CAP_NET_RAW"],
            }),
        )
        .sees("/effective", bits(&[NET_RAW])),
        sets("it cannot do what it may not", json!({}))
            .asks(&["call:92:@/etc/file,1,1"])
            .sees("/0", "EPERM"),
        sets("it can do what it may", json!({"bounding": two, "permitted": two, "effective": two}))
            .asks(&["call:92:@/etc/file,0,0"])
            .sees("/0", 0),
    ];
    Stage::new().all("capabilities", cases);
}

#[test]
fn limits() {
    if !can() {
        return;
    }
    let mut cases = Vec::new();
    for (kind, soft, hard) in [
        ("AS", 1_u64 << 40, 1_u64 << 41),
        ("CORE", 0, 4096),
        ("CPU", 100, 200),
        ("DATA", 1 << 40, 1 << 41),
        ("FSIZE", 1 << 30, 1 << 31),
        ("LOCKS", 10, 20),
        ("MEMLOCK", 4096, 65536),
        ("MSGQUEUE", 4096, 8192),
        ("NICE", 0, 0),
        ("NOFILE", 64, 128),
        ("NPROC", 100, 200),
        ("RSS", 1 << 30, 1 << 31),
        ("RTPRIO", 0, 0),
        ("RTTIME", 1000, 2000),
        ("SIGPENDING", 100, 200),
        ("STACK", 1 << 20, 1 << 24),
    ] {
        let limit = json!({"type": format!("RLIMIT_{kind}"), "soft": soft, "hard": hard});
        cases.push(
            process(format!("limit {kind}"), json!({ "rlimits": [limit] }))
                .sees(&format!("/limits/{}", kind.to_lowercase()), json!([soft, hard])),
        );
    }
    let limit =
        |kind: &str, soft: u64, hard: u64| json!({"type": kind, "soft": soft, "hard": hard});
    cases.extend([
        process("no limit", json!({"rlimits": [limit("RLIMIT_CORE", u64::MAX, u64::MAX)]}))
            .sees("/limits/core", json!([-1, -1])),
        process("soft above hard", json!({"rlimits": [limit("RLIMIT_NOFILE", 20, 10)]}))
            .fails("nofile"),
        process("no such limit", json!({"rlimits": [limit("RLIMIT_NONE", 1, 1)]}))
            .fails("RLIMIT_NONE"),
        process(
            "a limit twice",
            json!({"rlimits": [limit("RLIMIT_CORE", 0, 0), limit("RLIMIT_CORE", 1, 1)]}),
        )
        .fails("RLIMIT_CORE is there twice"),
        process("out of memory last", json!({"oomScoreAdj": 0})).sees("/oom_score_adj", "0"),
        process("out of memory sooner", json!({"oomScoreAdj": 500})).sees("/oom_score_adj", "500"),
        process("out of memory first", json!({"oomScoreAdj": 1000})).sees("/oom_score_adj", "1000"),
        process("no such score", json!({"oomScoreAdj": 2000})).fails("oom score"),
    ]);
    Stage::new().all("limits", cases);
}

#[test]
fn scheduling() {
    if !can() {
        return;
    }
    let schedule =
        |name: &str, change| process(name, json!({ "scheduler": change })).without_peer();
    let io = |name: &str, class: &str, level: i32| {
        let priority = json!({"class": format!("IOPRIO_CLASS_{class}"), "priority": level});
        process(name, json!({ "ioPriority": priority })).without_peer()
    };
    let memory = |name: &str, mode: &str, rest: Value| {
        let mut policy = json!({"mode": format!("MPOL_{mode}")});
        super::merge(&mut policy, &rest);
        case(name, json!({"linux": {"memoryPolicy": policy}})).without_peer()
    };
    let persona = |name: &str, change| case(name, json!({"linux": {"personality": change}}));
    let second = 1_000_000_000_u64;
    let cases = vec![
        schedule("nice", json!({"policy": "SCHED_OTHER", "nice": 5}))
            .sees("/schedule/policy", 0)
            .sees("/schedule/nice", 5),
        schedule("very nice", json!({"policy": "SCHED_OTHER", "nice": 19}))
            .sees("/schedule/nice", 19),
        schedule("not nice", json!({"policy": "SCHED_OTHER", "nice": -10}))
            .sees("/schedule/nice", -10),
        schedule("batch", json!({"policy": "SCHED_BATCH", "nice": 3}))
            .sees("/schedule/policy", 3)
            .sees("/schedule/nice", 3),
        schedule("idle", json!({"policy": "SCHED_IDLE"})).sees("/schedule/policy", 5),
        schedule("first in first out", json!({"policy": "SCHED_FIFO", "priority": 7}))
            .sees("/schedule/policy", 1)
            .sees("/schedule/priority", 7),
        schedule("round robin", json!({"policy": "SCHED_RR", "priority": 99}))
            .sees("/schedule/policy", 2)
            .sees("/schedule/priority", 99),
        schedule(
            "not for children",
            json!({"policy": "SCHED_FIFO", "priority": 1, "flags": ["SCHED_RESET_ON_FORK"]}),
        )
        .sees("/schedule/flags", 1),
        schedule(
            "deadline",
            json!({
                "policy": "SCHED_DEADLINE", "runtime": second / 100, "deadline": second / 10,
                "period": second / 10,
            }),
        )
        .sees("/schedule/policy", 6)
        .sees("/schedule/runtime", second / 100)
        .sees("/schedule/deadline", second / 10),
        schedule("too nice", json!({"policy": "SCHED_OTHER", "nice": 20})).fails("-20 to 19"),
        schedule("no priority", json!({"policy": "SCHED_FIFO"})).fails("1 to 99"),
        schedule("priority of no use", json!({"policy": "SCHED_OTHER", "priority": 5}))
            .fails("has no priority"),
        schedule("no such policy", json!({"policy": "SCHED_NONE"})).fails("SCHED_NONE"),
        io("I/O best effort", "BE", 0).sees("/io_priority", json!([2, 0])),
        io("I/O best effort, least", "BE", 7).sees("/io_priority", json!([2, 7])),
        io("I/O real-time", "RT", 3).sees("/io_priority", json!([1, 3])),
        io("I/O idle", "IDLE", 0).sees("/io_priority", json!([3, 0])),
        io("I/O level that is none", "BE", 8).fails("0 to 7"),
        memory("memory by default", "DEFAULT", json!({})).sees("/memory_policy", json!([0, 0])),
        memory("memory of a node", "BIND", json!({"nodes": "0"}))
            .sees("/memory_policy", json!([2, 1])),
        memory("memory of nodes in turn", "INTERLEAVE", json!({"nodes": "0"}))
            .sees("/memory_policy", json!([3, 1])),
        memory("memory nearby", "LOCAL", json!({})).sees("/memory_policy/0", 4),
        memory("memory rather of a node", "PREFERRED", json!({"nodes": "0"}))
            .sees("/memory_policy", json!([1, 1])),
        memory(
            "memory of a fixed node",
            "BIND",
            json!({"nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]}),
        )
        .sees("/memory_policy/0", 2 | 1 << 15),
        memory("memory of no node", "BIND", json!({})).fails("memory policy"),
        memory("memory of a node that is not there", "BIND", json!({"nodes": "63"}))
            .fails("memory policy"),
        memory("memory of what is no node", "BIND", json!({"nodes": "x"})).fails("no list"),
        persona("32 bits", json!({"domain": "LINUX32"})).without_peer().sees("/personality", 8),
        persona("64 bits", json!({"domain": "LINUX"})).sees("/personality", 0),
        persona("flags", json!({"domain": "LINUX", "flags": ["NONE"]}))
            .without_peer()
            .fails("flags"),
        case("Intel RDT", json!({"linux": {"intelRdt": {"closID": "x"}}}))
            .unlike_peer()
            .fails("Intel RDT"),
    ];
    Stage::new().all("scheduling", cases);
}
