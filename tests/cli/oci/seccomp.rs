//! Filters of system calls: actions, comparisons of arguments, flags.

use serde_json::{Value, json};

use super::{Case, Stage, can, case};

/// Numbers of harmless calls on this machine.
#[cfg(target_arch = "x86_64")]
mod number {
    pub(super) const GETPGID: u32 = 121;
    pub(super) const UMASK: u32 = 95;
    pub(super) const GETPRIORITY: u32 = 140;
}
#[cfg(target_arch = "aarch64")]
mod number {
    pub(super) const GETPGID: u32 = 155;
    pub(super) const UMASK: u32 = 166;
    pub(super) const GETPRIORITY: u32 = 141;
}

/// All is allowed but what these rules say.
fn filter(name: impl Into<String>, rules: Value) -> Case {
    let seccomp = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules});
    case(name, json!({"linux": {"seccomp": seccomp}}))
}

fn action(action: &str, more: Value) -> Value {
    let mut rule = json!({"names": ["getpgid"], "action": format!("SCMP_ACT_{action}")});
    super::merge(&mut rule, &more);
    json!([rule])
}

#[test]
fn actions() {
    if !can() {
        return;
    }
    let call = format!("call:{}", number::GETPGID);
    let fork = format!("fork:{}", number::GETPGID);
    let (call, fork) = ([call.as_str()], [fork.as_str()]);
    const SYS: i32 = 31;
    let errno = |number: u32| json!({ "errnoRet": number });
    let mut cases = vec![
        case("no filter", json!({})).sees("/seccomp", "0"),
        filter("filter", json!([])).sees("/seccomp", "2"),
        filter("error", action("ERRNO", json!({}))).asks(&call).sees("/0", "EPERM"),
        filter("error with a number", action("ERRNO", errno(95)))
            .asks(&call)
            .sees("/0", "EOPNOTSUPP"),
        filter("error that is none", action("ERRNO", errno(0))).asks(&call).sees("/0", 0),
        filter("error with a number that is too high", action("ERRNO", errno(70000)))
            .fails("errnoRet"),
        filter("allowed", action("ALLOW", json!({}))).asks(&call).sees("/0", 1),
        filter("logged", action("LOG", json!({}))).asks(&call).sees("/0", 1),
        filter("trapped", action("TRAP", json!({}))).asks(&fork).sees("/0/signal", SYS),
        filter("killed", action("KILL", json!({}))).asks(&fork).sees("/0/signal", SYS),
        filter("killed thread", action("KILL_THREAD", json!({})))
            .asks(&fork)
            .sees("/0/signal", SYS),
        filter("killed process", action("KILL_PROCESS", json!({})))
            .asks(&fork)
            .sees("/0/signal", SYS),
        filter("traced by nobody", action("TRACE", json!({}))).asks(&call).sees("/0", "ENOSYS"),
        filter("a call that is none", json!([{"names": ["none"], "action": "SCMP_ACT_ERRNO"}]))
            .sees("/seccomp", "2"),
        filter("an action that is none", action("NONE", json!({}))).fails("SCMP_ACT_NONE"),
        filter(
            "the first counts",
            json!([
                {"names": ["getpgid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 11},
                {"names": ["getpgid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 12},
            ]),
        )
        .without_peer()
        .asks(&call)
        .sees("/0", "EAGAIN"),
        filter("before a change of user", action("ERRNO", json!({})))
            .asks(&call)
            .sees("/0", "EPERM"),
        case("by default", json!({"linux": {"seccomp": {"defaultAction": "SCMP_ACT_LOG"}}}))
            .sees("/seccomp", "2"),
        // The program itself could not begin, nor could what comes before it.
        case(
            "left to somebody by default",
            json!({
                "linux": {"seccomp": {"defaultAction": "SCMP_ACT_NOTIFY"}},
            }),
        )
        .fails("NOTIFY"),
        filter("left to nobody", action("NOTIFY", json!({}))).fails("listenerPath"),
    ];
    // runc of Debian 12 takes none of them.
    for flag in ["LOG", "SPEC_ALLOW", "TSYNC"] {
        let flag = format!("SECCOMP_FILTER_FLAG_{flag}");
        let mut case = filter(flag.clone(), action("ERRNO", json!({})))
            .without_peer()
            .asks(&call)
            .sees("/0", "EPERM");
        super::merge(&mut case.change, &json!({"linux": {"seccomp": {"flags": [flag]}}}));
        cases.push(case);
    }
    for (name, locked, uid) in
        [("locked", true, 0), ("locked somebody", true, 1000), ("somebody", false, 1000)]
    {
        let mut case = filter(name, action("ERRNO", json!({}))).asks(&call).sees("/0", "EPERM");
        super::merge(
            &mut case.change,
            &json!({"process": {
                "noNewPrivileges": locked, "user": {"uid": uid, "gid": uid},
            }}),
        );
        cases.push(case);
    }
    let companions = match cfg!(target_arch = "x86_64") {
        true => ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        false => ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM", "SCMP_ARCH_ARM"],
    };
    let mut all = filter("several architectures", action("ERRNO", json!({})));
    super::merge(&mut all.change, &json!({"linux": {"seccomp": {"architectures": companions}}}));
    cases.push(all.asks(&call).sees("/0", "EPERM"));
    Stage::new().all("actions", cases);
}

#[test]
fn comparisons() {
    if !can() {
        return;
    }
    let call = |argument: &str| format!("call:{}:{argument}", number::UMASK);
    let compared = |name: &str, operator: &str, value: u64, two: u64, arguments: [&str; 2]| {
        let argument = json!({
            "index": 0, "value": value, "valueTwo": two, "op": format!("SCMP_CMP_{operator}"),
        });
        let rule = json!([{
            "names": ["umask"], "action": "SCMP_ACT_ERRNO", "errnoRet": 11, "args": [argument],
        }]);
        let [holds, fails] = arguments.map(call);
        filter(name, rule).asks(&[&holds, &fails]).sees("/0", "EAGAIN").sees("/1", 0o22)
    };
    const HIGH: u64 = 5 << 32;
    let mut cases = vec![
        compared("equal", "EQ", 7, 0, ["7", "18"]),
        compared("not equal", "NE", 18, 0, ["7", "18"]),
        compared("less", "LT", 18, 0, ["17", "18"]),
        compared("less or equal", "LE", 17, 0, ["17", "18"]),
        compared("greater", "GT", 18, 0, ["19", "18"]),
        compared("greater or equal", "GE", 19, 0, ["19", "18"]),
        compared("masked", "MASKED_EQ", 0xf0, 0x20, ["0x2f", "18"]),
        compared("masked, nothing", "MASKED_EQ", 0x40, 0, ["18", "0x52"]),
        compared("equal in both halves", "EQ", HIGH | 7, 0, ["0x500000007", "18"]),
        compared("the upper half counts", "LT", HIGH, 0, ["0x4ffffffff", "0x500000012"]),
        compared("greater by the upper half", "GT", HIGH, 0, ["0x600000000", "18"]),
        compared("masked in the upper half", "MASKED_EQ", HIGH, HIGH, ["0x500000001", "18"]),
        compared("not equal in the upper half", "NE", 18, 0, ["0x100000012", "18"]),
    ];
    // What the second call of the masked one leaves behind is its own.
    cases[7] = {
        let argument =
            json!({"index": 0, "value": 0x40, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"});
        let rule = json!([{
            "names": ["umask"], "action": "SCMP_ACT_ERRNO", "errnoRet": 11, "args": [argument],
        }]);
        filter("masked, nothing", rule).asks(&[&call("18"), &call("0x52")]).sees("/0", "EAGAIN")
    };
    let two = |first: u32, second: u32| format!("call:{}:{first},{second}", number::GETPRIORITY);
    let equal =
        |index: u32, value: u32| json!({"index": index, "value": value, "op": "SCMP_CMP_EQ"});
    let rule = |arguments: Value| json!([{"names": ["getpriority"], "action": "SCMP_ACT_ERRNO", "errnoRet": 11, "args": arguments}]);
    cases.extend([
        filter("both arguments", rule(json!([equal(0, 0), equal(1, 1)])))
            .asks(&[&two(0, 1), &two(0, 0)])
            .sees("/0", "EAGAIN")
            .sees("/1", 20),
        filter("either of two values", rule(json!([equal(1, 1), equal(1, 2)])))
            .asks(&[&two(0, 1), &two(0, 2), &two(0, 0)])
            .sees("/0", "EAGAIN")
            .sees("/1", "EAGAIN")
            .sees("/2", 20),
        filter("an argument that is none", rule(json!([equal(6, 1)]))).fails("argument"),
        filter("an operator that is none", rule(json!([{"index": 0, "value": 0, "op": "NONE"}])))
            .fails("NONE"),
    ]);
    Stage::new().all("comparisons", cases);
}
