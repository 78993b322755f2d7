//! Filters are run by an interpreter, on calls as the kernel would report them.

use super::profile::{Conditions, default_profile, parse};
use super::*;
use crate::runtime::capability::{self, CapabilitySet};
use crate::runtime::kernel::KernelVersion;
use crate::sys::arch::{Arch, X32_BIT, syscall};

const ALLOW: u32 = 0x7fff_0000;
const EPERM: u32 = 0x0005_0001;
const ENOSYS: u32 = 0x0005_0000 | 38;
const KILL: u32 = 0x8000_0000;

fn conditions(capabilities: CapabilitySet) -> Conditions {
    Conditions { capabilities, kernel: KernelVersion { major: 6, minor: 1 } }
}

/// Compiles a profile in JSON; single quotes stand for double ones.
fn filter(json: &str) -> Filter {
    let json = json.replace('\'', "\"");
    compile(&parse(&json, &conditions(CapabilitySet::DEFAULT)).unwrap()).unwrap()
}

/// Runs a filter on a call, as the kernel does, and checks what the kernel would check.
fn run(filter: &Filter, audit: u32, number: u32, args: [u64; 6]) -> u32 {
    let mut data = Vec::new();
    data.extend(number.to_le_bytes());
    data.extend(audit.to_le_bytes());
    data.extend(0_u64.to_le_bytes());
    data.extend(args.iter().flat_map(|arg| arg.to_le_bytes()));
    let mut loaded = 0_u32;
    let mut at = 0;
    loop {
        let FilterInstruction { code, jt, jf, k } = filter.program[at];
        at += 1;
        let mut jump = |holds: bool| at += usize::from(if holds { jt } else { jf });
        match code {
            0x20 => {
                let offset = usize::try_from(k).unwrap();
                assert!(offset % 4 == 0, "load at {offset}");
                loaded = u32::from_le_bytes(data[offset..offset + 4].try_into().unwrap());
            }
            0x54 => loaded &= k,
            0x05 => at += usize::try_from(k).unwrap(),
            0x15 => jump(loaded == k),
            0x25 => jump(loaded > k),
            0x35 => jump(loaded >= k),
            0x06 => return k,
            _ => panic!("instruction {code:#x}"),
        }
    }
}

fn call(filter: &Filter, arch: Arch, name: &str, args: &[u64]) -> u32 {
    let mut all = [0; 6];
    all[..args.len()].copy_from_slice(args);
    run(filter, arch.audit(), syscall(name).unwrap().on(arch).unwrap(), all)
}

fn native(filter: &Filter, name: &str, args: &[u64]) -> u32 {
    call(filter, Arch::NATIVE, name, args)
}

#[test]
fn default_profile_decides_as_docker_does() {
    let filter = compile(&default_profile(&conditions(CapabilitySet::DEFAULT)).unwrap()).unwrap();
    for (name, args, want) in [
        ("read", &[][..], ALLOW),
        ("execve", &[], ALLOW),
        ("mount", &[], EPERM),
        ("keyctl", &[], EPERM),
        ("kexec_load", &[], EPERM),
        ("io_uring_setup", &[], EPERM),
        ("chroot", &[], ALLOW),
        ("ptrace", &[], ALLOW),
        ("open_by_handle_at", &[], EPERM),
        ("clone3", &[], ENOSYS),
        ("clone", &[0], ALLOW),
        ("clone", &[0x0001_0f11], ALLOW),
        ("clone", &[0x1000_0000], EPERM),
        ("clone", &[0x0002_0000], EPERM),
        ("personality", &[0], ALLOW),
        ("personality", &[8], ALLOW),
        ("personality", &[0x2_0000], ALLOW),
        ("personality", &[0x2_0008], ALLOW),
        ("personality", &[0xffff_ffff], ALLOW),
        ("personality", &[1], EPERM),
        ("socket", &[1], ALLOW),
        ("socket", &[37], ALLOW),
        ("socket", &[38], EPERM),
        ("socket", &[39], ALLOW),
        ("socket", &[40], EPERM),
        ("socket", &[41], ALLOW),
        // The kernel drops the upper half: this is family 40 again.
        ("socket", &[0x1_0000_0028], EPERM),
    ] {
        assert_eq!(native(&filter, name, args), want, "{name} {args:x?}");
    }
    assert!(filter.length() < 1000, "{} instructions", filter.length());
    assert!(filter.flags.speculation && !filter.flags.listener);
}

#[test]
fn default_profile_follows_capabilities_and_kernel() {
    let with = |names: &str| {
        let added = names.split(' ').filter_map(capability::named);
        let all = conditions(CapabilitySet::DEFAULT.iter().chain(added).collect());
        compile(&default_profile(&all).unwrap()).unwrap()
    };
    let admin = with("SYS_ADMIN");
    for (name, args) in [("mount", &[][..]), ("clone3", &[]), ("clone", &[0x1000_0000])] {
        assert_eq!(native(&admin, name, args), ALLOW, "{name}");
    }
    assert_eq!(native(&with("SYS_TIME"), "clock_settime", &[]), ALLOW);
    assert_eq!(native(&with(""), "clock_settime", &[]), EPERM);
    let kernel = KernelVersion { major: 4, minor: 7 };
    let old = Conditions { kernel, ..conditions(CapabilitySet::EMPTY) };
    let old = compile(&default_profile(&old).unwrap()).unwrap();
    assert_eq!(native(&old, "ptrace", &[]), EPERM);
}

#[test]
fn newer_calls_do_not_exist() {
    let filter = filter(
        "{'defaultAction': 'SCMP_ACT_ERRNO', 'syscalls': [
            {'names': ['read', 'openat2'], 'action': 'SCMP_ACT_ALLOW'},
            {'names': ['faccessat2'], 'action': 'SCMP_ACT_ERRNO', 'errnoRet': 1}]}",
    );
    let audit = Arch::NATIVE.audit();
    for (number, want) in [(437, ALLOW), (438, EPERM), (439, EPERM), (440, ENOSYS), (4000, ENOSYS)]
    {
        assert_eq!(run(&filter, audit, number, [0; 6]), want, "{number}");
    }
    // What a tracer sets to have a call skipped.
    assert_eq!(run(&filter, audit, u32::MAX, [0; 6]), ENOSYS);
}

#[test]
fn a_default_that_does_not_refuse_applies_to_newer_calls() {
    for (word, want) in [
        ("SCMP_ACT_ALLOW", ALLOW),
        ("SCMP_ACT_LOG", 0x7ffc_0000),
        ("SCMP_ACT_TRACE", 0x7ff0_0001),
        ("SCMP_ACT_KILL_PROCESS", ENOSYS),
        ("SCMP_ACT_TRAP", ENOSYS),
    ] {
        let json = format!(
            "{{'defaultAction': '{word}', 'syscalls': [
                {{'names': ['read'], 'action': 'SCMP_ACT_ERRNO', 'errnoRet': 5}}]}}"
        );
        let filter = filter(&json);
        assert_eq!(native(&filter, "read", &[]), 0x0005_0005);
        assert_eq!(run(&filter, Arch::NATIVE.audit(), 1000, [0; 6]), want, "{word}");
    }
}

#[test]
fn actions_have_the_kernels_values() {
    for (word, want) in [
        ("'SCMP_ACT_KILL'", 0),
        ("'SCMP_ACT_KILL_THREAD'", 0),
        ("'SCMP_ACT_KILL_PROCESS'", KILL),
        ("'SCMP_ACT_TRAP'", 0x0003_0000),
        ("'SCMP_ACT_ERRNO'", EPERM),
        ("'SCMP_ACT_ERRNO', 'errnoRet': 0", 0x0005_0000),
        ("'SCMP_ACT_ERRNO', 'errnoRet': 13", 0x0005_000d),
        ("'SCMP_ACT_TRACE', 'errnoRet': 7", 0x7ff0_0007),
        ("'SCMP_ACT_NOTIFY'", 0x7fc0_0000),
        ("'SCMP_ACT_LOG'", 0x7ffc_0000),
    ] {
        let json = format!(
            "{{'defaultAction': 'SCMP_ACT_ALLOW', 'listenerPath': '/agent', 'syscalls': [
                {{'name': 'read', 'action': {word}}}]}}"
        );
        let filter = filter(&json);
        assert_eq!(native(&filter, "read", &[]), want, "{word}");
        assert_eq!(filter.flags.listener, word.contains("NOTIFY"), "{word}");
        assert_eq!(filter.has_listener(), word.contains("NOTIFY"), "{word}");
    }
}

#[test]
fn refuses_to_leave_calls_to_nobody() {
    for (action, name, path, want) in [
        ("ALLOW", "read", "", "listenerPath"),
        ("ALLOW", "sendmsg", "'listenerPath': '/agent',", "sendmsg"),
        ("NOTIFY", "read", "'listenerPath': '/agent',", "default action"),
    ] {
        let json = format!(
            "{{'defaultAction': 'SCMP_ACT_{action}', {path} 'syscalls': [
                {{'name': '{name}', 'action': 'SCMP_ACT_NOTIFY'}}]}}"
        );
        let profile = parse(&json.replace('\'', "\""), &conditions(CapabilitySet::DEFAULT));
        let error = compile(&profile.unwrap()).unwrap_err();
        assert!(error.to_string().contains(want), "{json}: {error}");
    }
}

#[test]
fn compares_all_64_bits() {
    const VALUE: u64 = 0x0000_0005_8000_0000;
    let samples = [
        0,
        5,
        0x8000_0000,
        VALUE - 1,
        VALUE,
        VALUE + 1,
        0x4_ffff_ffff,
        0x6_0000_0000,
        0xf_8000_0000,
        u64::MAX,
    ];
    type Holds = fn(u64) -> bool;
    let operators: [(&str, Holds); 7] = [
        ("EQ", |x| x == VALUE),
        ("NE", |x| x != VALUE),
        ("LT", |x| x < VALUE),
        ("LE", |x| x <= VALUE),
        ("GE", |x| x >= VALUE),
        ("GT", |x| x > VALUE),
        ("MASKED_EQ", |x| x & VALUE == 0x4_8000_0000),
    ];
    for (operator, holds) in operators {
        let json = format!(
            "{{'defaultAction': 'SCMP_ACT_ERRNO', 'syscalls': [{{'names': ['read'],
                'action': 'SCMP_ACT_ALLOW', 'args': [{{'index': 2, 'value': {VALUE},
                'valueTwo': {}, 'op': 'SCMP_CMP_{operator}'}}]}}]}}",
            0xf4_8000_0000_u64
        );
        let filter = filter(&json);
        for sample in samples {
            let want = if holds(sample) { ALLOW } else { EPERM };
            assert_eq!(native(&filter, "read", &[9, 9, sample]), want, "{sample:x} {operator}");
        }
    }
}

#[test]
fn joins_conditions_and_rules() {
    let rule = |name: &str, args: &str, action: &str| {
        let args: Vec<String> = args
            .split_whitespace()
            .map(|arg| {
                let (index, value) = arg.split_once('=').unwrap();
                format!("{{'index': {index}, 'value': {value}, 'op': 'SCMP_CMP_EQ'}}")
            })
            .collect();
        let args = args.join(",");
        format!("{{'names': ['{name}'], 'action': 'SCMP_ACT_{action}', 'args': [{args}]}}")
    };
    let rules = [
        // Both conditions of one, or the other.
        rule("read", "0=1 1=2", "ALLOW"),
        rule("read", "0=7", "ALLOW"),
        // The first that holds decides.
        rule("write", "0=1", "LOG"),
        rule("write", "1=1", "ALLOW"),
        // One without conditions decides alone.
        rule("close", "0=1", "LOG"),
        rule("close", "", "ALLOW"),
        rule("close", "", "KILL_PROCESS"),
        // The same argument twice: two rules.
        rule("dup", "0=3 0=4", "ALLOW"),
        // Says nothing new.
        rule("lseek", "", "ERRNO"),
        rule("lseek", "0=1", "ALLOW"),
    ];
    let json = format!("{{'defaultAction': 'SCMP_ACT_ERRNO', 'syscalls': [{}]}}", rules.join(","));
    let filter = filter(&json);
    for (name, args, want) in [
        ("read", [1, 2], ALLOW),
        ("read", [1, 3], EPERM),
        ("read", [2, 2], EPERM),
        ("read", [7, 0], ALLOW),
        ("write", [1, 1], 0x7ffc_0000),
        ("write", [0, 1], ALLOW),
        ("write", [0, 0], EPERM),
        ("close", [1, 0], ALLOW),
        ("close", [0, 0], ALLOW),
        ("dup", [3, 0], ALLOW),
        ("dup", [4, 0], ALLOW),
        ("dup", [5, 0], EPERM),
        ("lseek", [1, 0], ALLOW),
        ("lseek", [0, 0], EPERM),
    ] {
        assert_eq!(native(&filter, name, &args), want, "{name} {args:?}");
    }
}

#[test]
fn tells_architectures_apart() {
    if Arch::NATIVE != Arch::X86_64 {
        return;
    }
    let rules = "'syscalls': [{'names': ['read', 'ioctl', 'mseal'], 'action': 'SCMP_ACT_ALLOW'}]";
    let one = filter(&format!("{{'defaultAction': 'SCMP_ACT_ERRNO', {rules}}}"));
    assert_eq!(call(&one, Arch::X86_64, "read", &[]), ALLOW);
    assert_eq!(call(&one, Arch::X86, "read", &[]), KILL);
    assert_eq!(call(&one, Arch::X32, "read", &[]), KILL);
    assert_eq!(run(&one, Arch::X86_64.audit(), X32_BIT | 5000, [0; 6]), KILL);
    let all = filter(&format!(
        "{{'defaultAction': 'SCMP_ACT_ERRNO',
           'architectures': ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86', 'SCMP_ARCH_X32'], {rules}}}"
    ));
    for arch in [Arch::X86_64, Arch::X86, Arch::X32] {
        for (name, want) in [("read", ALLOW), ("ioctl", ALLOW), ("write", EPERM)] {
            assert_eq!(call(&all, arch, name, &[]), want, "{name} {arch:?}");
        }
    }
    for (arch, number, want) in [
        (Arch::X86_64, 463, ENOSYS),
        (Arch::X86, 463, ENOSYS),
        (Arch::X86, X32_BIT, ENOSYS),
        (Arch::X32, X32_BIT | 463, ENOSYS),
        (Arch::X32, X32_BIT | 513, ENOSYS),
        (Arch::X32, X32_BIT | 515, ENOSYS),
        (Arch::Aarch64, 63, KILL),
        (Arch::Arm, 3, KILL),
    ] {
        assert_eq!(run(&all, arch.audit(), number, [0; 6]), want, "{arch:?} {number:x}");
    }
}

#[test]
fn follows_calls_through_socketcall() {
    if Arch::NATIVE != Arch::X86_64 {
        return;
    }
    let filter = filter(
        "{'defaultAction': 'SCMP_ACT_ERRNO', 'architectures': ['SCMP_ARCH_X86'], 'syscalls': [
            {'names': ['connect', 'shmat'], 'action': 'SCMP_ACT_ALLOW'},
            {'names': ['socket'], 'action': 'SCMP_ACT_ALLOW',
             'args': [{'index': 0, 'value': 1, 'op': 'SCMP_CMP_EQ'}]}]}",
    );
    for (name, which, want) in [
        ("socketcall", 3, ALLOW),
        ("socketcall", 1, EPERM),
        ("socketcall", 4, EPERM),
        ("ipc", 21, ALLOW),
        ("ipc", 22, EPERM),
    ] {
        assert_eq!(call(&filter, Arch::X86, name, &[which]), want, "{name} {which}");
    }
    assert_eq!(call(&filter, Arch::X86, "socket", &[1]), ALLOW);
    assert_eq!(call(&filter, Arch::X86, "socket", &[2]), EPERM);
}

/// Every second call with its own error and conditions: all jumps that are too far for eight bits.
#[test]
fn jumps_far() {
    let mut rules = Vec::new();
    let known = |number| {
        let names = ["read", "write", "open", "close", "stat", "fstat", "lstat", "poll", "lseek"];
        names.get(number).copied()
    };
    for (number, name) in (0..).map_while(|number| Some((number, known(number)?))) {
        for value in 0..30 {
            let errno = 100 + 30 * number + value;
            rules.push(format!(
                "{{'names': ['{name}'], 'action': 'SCMP_ACT_ERRNO', 'errnoRet': {errno}, 'args': [
                    {{'index': 0, 'value': {value}, 'op': 'SCMP_CMP_EQ'}}]}}"
            ));
        }
    }
    let json = format!("{{'defaultAction': 'SCMP_ACT_ALLOW', 'syscalls': [{}]}}", rules.join(","));
    let filter = filter(&json);
    assert!(filter.length() > 1000);
    for (number, name) in (0..).map_while(|number| Some((number, known(number)?))) {
        let Some(nr) = syscall(name).and_then(|numbers| numbers.on(Arch::NATIVE)) else { continue };
        for value in 0..31_u32 {
            let errno = 100 + 30 * u32::try_from(number).unwrap() + value;
            let want = if value < 30 { 0x0005_0000 | errno } else { ALLOW };
            let args = [value.into(), 0, 0, 0, 0, 0];
            assert_eq!(run(&filter, Arch::NATIVE.audit(), nr, args), want, "{name} {value}");
        }
    }
}

#[test]
fn refuses_bad_profiles() {
    let rule = |text: &str| format!("{{'defaultAction': 'SCMP_ACT_ALLOW', 'syscalls': [{text}]}}");
    for (json, want) in [
        ("[]".to_owned(), "it is not a seccomp profile"),
        ("{'defaultAction': 'SCMP_ACT_MAYBE'}".to_owned(), "it is not a seccomp profile"),
        (
            "{'defaultAction': 'SCMP_ACT_ALLOW', 'architectures': ['SCMP_ARCH_X86'],
              'archMap': [{'architecture': 'SCMP_ARCH_X86_64'}]}"
                .to_owned(),
            "it has both",
        ),
        (rule("{'name': 'read', 'names': ['write'], 'action': 'SCMP_ACT_LOG'}"), "about `read`"),
        (
            rule(
                "{'names': ['read'], 'action': 'SCMP_ACT_LOG',
                  'args': [{'index': 6, 'value': 0, 'op': 'SCMP_CMP_EQ'}]}",
            ),
            "the seccomp rule about `read` is invalid: there is no argument 6",
        ),
        (
            rule("{'names': ['read'], 'action': 'SCMP_ACT_ERRNO', 'errnoRet': 65536}"),
            "errnoRet 65536 is above 65535",
        ),
    ] {
        let error = parse(&json.replace('\'', "\""), &conditions(CapabilitySet::EMPTY))
            .and_then(|profile| compile(&profile))
            .unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid);
        assert!(error.to_string().contains(want), "{error}");
    }
}

#[test]
fn refuses_programs_that_are_too_long() {
    let rules: Vec<String> = (0..2000)
        .map(|value| {
            format!(
                "{{'names': ['read'], 'action': 'SCMP_ACT_LOG', 'args': [
                    {{'index': 0, 'value': {value}, 'op': 'SCMP_CMP_EQ'}}]}}"
            )
        })
        .collect();
    let json = format!("{{'defaultAction': 'SCMP_ACT_ALLOW', 'syscalls': [{}]}}", rules.join(","));
    let profile = parse(&json.replace('\'', "\""), &conditions(CapabilitySet::EMPTY)).unwrap();
    let error = compile(&profile).unwrap_err();
    assert!(error.to_string().contains("4096"), "{error}");
}

/// The kernel takes the program, and does what the interpreter says.
#[test]
fn the_kernel_obeys() {
    let filter = filter(
        "{'defaultAction': 'SCMP_ACT_ALLOW', 'syscalls': [
            {'names': ['getcwd'], 'action': 'SCMP_ACT_ERRNO', 'errnoRet': 95},
            {'names': ['socket'], 'action': 'SCMP_ACT_ERRNO', 'errnoRet': 96,
             'args': [{'index': 0, 'value': 2, 'op': 'SCMP_CMP_EQ'}]}]}",
    );
    // A filter is the thread's own: the other tests go on without.
    std::thread::spawn(move || {
        rustix::thread::set_no_new_privs(true).unwrap();
        assert!(filter.install().unwrap().is_none());
        let error = rustix::process::getcwd(Vec::new()).unwrap_err();
        assert_eq!(error.raw_os_error(), 95);
        let error = std::net::UdpSocket::bind("127.0.0.1:0").unwrap_err();
        assert_eq!(error.raw_os_error(), Some(96));
        assert!(std::os::unix::net::UnixDatagram::unbound().is_ok());
    })
    .join()
    .unwrap();
    let default = compile(&default_profile(&conditions(CapabilitySet::DEFAULT)).unwrap()).unwrap();
    std::thread::spawn(move || {
        rustix::thread::set_no_new_privs(true).unwrap();
        assert!(default.install().unwrap().is_none());
        assert_eq!(
            rustix::process::getpid().as_raw_nonzero().get(),
            std::process::id().cast_signed()
        );
        let error = rustix::mount::unmount("/nonexistent", rustix::mount::UnmountFlags::empty());
        assert_eq!(error, Err(rustix::io::Errno::PERM));
    })
    .join()
    .unwrap();
}

#[test]
fn filters_are_passed_on_whole() {
    let profile = default_profile(&conditions(CapabilitySet::DEFAULT)).unwrap();
    let logs = "{'defaultAction': 'SCMP_ACT_ALLOW', 'flags': ['SECCOMP_FILTER_FLAG_LOG']}";
    for filter in [compile(&profile).unwrap(), filter(logs)] {
        let bytes = filter.to_bytes();
        assert!(bytes.len() <= Filter::MOST_BYTES);
        let again = Filter::from_bytes(&bytes).unwrap();
        assert_eq!((again.program, again.flags), (filter.program, filter.flags));
        assert!(Filter::from_bytes(&bytes[..bytes.len() - 1]).is_none());
    }
    assert!(Filter::from_bytes(&[]).is_none());
}
