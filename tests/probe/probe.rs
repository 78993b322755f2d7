//! Runs in a container and tells what it sees there, as JSON on standard output.
//!
//! Without arguments it tells everything about itself. Each argument is a question instead, and the
//! answers come as a list in the same order:
//!
//! - `read:PATH`, `link:PATH`, `list:PATH`: what is in a file, a link, a directory
//! - `stat:PATH`: kind, mode, owner and device number
//! - `write:PATH=TEXT`, `mkdir:PATH`, `open:PATH` (for reading): `ok`, or the name of the error
//! - `call:NUMBER:ARGUMENT,…`: a system call by its number; its result, or the name of the error
//! - `fork:NUMBER:ARGUMENT,…`: the same in a child; how that ended
//! - `self`: everything
//!
//! It is one static program of the standard library alone, so that it runs in an empty directory.

use std::ffi::{CString, c_char, c_int, c_long, c_uint, c_ulong, c_void};
use std::fmt::Write as _;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::{env, fs, io, process};

unsafe extern "C" {
    fn syscall(number: c_long, ...) -> c_long;
    fn getrlimit(resource: c_int, limit: *mut [u64; 2]) -> c_int;
    fn personality(persona: c_ulong) -> c_int;
    fn sched_getaffinity(pid: c_int, size: usize, mask: *mut u64) -> c_int;
    fn clock_gettime(clock: c_int, time: *mut [i64; 2]) -> c_int;
    fn isatty(fd: c_int) -> c_int;
    fn ioctl(fd: c_int, request: c_ulong, ...) -> c_int;
    fn fork() -> c_int;
    fn waitpid(pid: c_int, status: *mut c_int, options: c_int) -> c_int;
    fn _exit(status: c_int) -> !;
    fn mknod(path: *const c_char, mode: c_uint, device: u64) -> c_int;
    fn prctl(option: c_int, ...) -> c_int;
}

#[cfg(target_arch = "x86_64")]
mod number {
    pub const IOPRIO_GET: i64 = 252;
    pub const SCHED_GETATTR: i64 = 315;
    pub const GET_MEMPOLICY: i64 = 239;
    pub const KEYCTL: i64 = 250;
    pub const GETSID: i64 = 124;
}
#[cfg(target_arch = "aarch64")]
mod number {
    pub const IOPRIO_GET: i64 = 31;
    pub const SCHED_GETATTR: i64 = 275;
    pub const GET_MEMPOLICY: i64 = 236;
    pub const KEYCTL: i64 = 219;
    pub const GETSID: i64 = 156;
}

fn main() {
    let questions: Vec<String> = env::args().skip(1).collect();
    let text = match questions.as_slice() {
        [] => everything(),
        questions => list(questions.iter().map(|question| answer(question))),
    };
    println!("{text}");
}

fn answer(question: &str) -> String {
    let (verb, rest) = question.split_once(':').unwrap_or((question, ""));
    match verb {
        "self" => everything(),
        "read" => told(fs::read(rest).map(|it| string(String::from_utf8_lossy(&it).trim_end()))),
        "link" => told(fs::read_link(rest).map(|it| string(&it.to_string_lossy()))),
        "list" => told(fs::read_dir(rest).map(|entries| {
            let mut names: Vec<String> = entries
                .flatten()
                .map(|entry| entry.file_name().to_string_lossy().into_owned())
                .collect();
            names.sort();
            list(names.iter().map(|name| string(name)))
        })),
        "stat" => told(fs::symlink_metadata(rest).map(|it| stat(&it))),
        "open" => told(fs::File::open(rest).map(|_| string("ok"))),
        "mkdir" => told(fs::create_dir(rest).map(|()| string("ok"))),
        "write" => {
            let (path, text) = rest.split_once('=').unwrap_or((rest, ""));
            let write = || {
                use io::Write;
                let mut file = fs::OpenOptions::new().write(true).create(true).open(path)?;
                file.write_all(text.as_bytes())
            };
            told(write().map(|()| string("ok")))
        }
        "mknod" => {
            let mut fields = rest.split(',');
            let path = CString::new(fields.next().unwrap_or_default()).unwrap();
            let mut next = || fields.next().and_then(|it| it.parse::<u64>().ok()).unwrap_or(0);
            let (mode, major, minor) = (next(), next(), next());
            let mode = u32::try_from(mode).unwrap();
            outcome(unsafe { mknod(path.as_ptr(), mode, major << 8 | minor) }.into())
        }
        "call" => outcome(call(rest)),
        "fork" => match unsafe { fork() } {
            0 => {
                // Not to leave a core behind.
                unsafe { prctl(4, 0) };
                let result = call(rest);
                let error = io::Error::last_os_error().raw_os_error().unwrap_or(0);
                unsafe { _exit(if result < 0 { error } else { 0 }) }
            }
            child => {
                let mut status = 0;
                unsafe { waitpid(child, &raw mut status, 0) };
                match status & 0x7f {
                    0 => format!("{{\"exit\":{}}}", status >> 8 & 0xff),
                    signal => format!("{{\"signal\":{signal}}}"),
                }
            }
        },
        _ => string(&format!("what is `{question}`?")),
    }
}

/// A system call: numbers, or text (`@…`) whose address is passed.
fn call(text: &str) -> i64 {
    let (number, rest) = text.split_once(':').unwrap_or((text, ""));
    let mut kept = Vec::new();
    let mut arguments = [0_u64; 6];
    for (place, word) in arguments.iter_mut().zip(rest.split(',').filter(|it| !it.is_empty())) {
        *place = match word.strip_prefix('@') {
            Some(text) => {
                let text = CString::new(text).unwrap();
                let address = text.as_ptr() as u64;
                kept.push(text);
                address
            }
            None => match word.strip_prefix("0x") {
                Some(word) => u64::from_str_radix(word, 16).unwrap(),
                None => word.parse::<i64>().map_or_else(|_| word.parse().unwrap(), |it| it as u64),
            },
        };
    }
    let [a, b, c, d, e, f] = arguments;
    unsafe { syscall(number.parse().unwrap(), a, b, c, d, e, f) }
}

fn outcome(result: i64) -> String {
    match result {
        0.. => result.to_string(),
        _ => name_of(&io::Error::last_os_error()),
    }
}

fn told(answer: io::Result<String>) -> String {
    answer.unwrap_or_else(|error| name_of(&error))
}

fn name_of(error: &io::Error) -> String {
    const NAMES: [(i32, &str); 26] = [
        (1, "EPERM"),
        (2, "ENOENT"),
        (3, "ESRCH"),
        (5, "EIO"),
        (6, "ENXIO"),
        (7, "E2BIG"),
        (9, "EBADF"),
        (11, "EAGAIN"),
        (12, "ENOMEM"),
        (13, "EACCES"),
        (14, "EFAULT"),
        (16, "EBUSY"),
        (17, "EEXIST"),
        (19, "ENODEV"),
        (20, "ENOTDIR"),
        (21, "EISDIR"),
        (22, "EINVAL"),
        (25, "ENOTTY"),
        (26, "ETXTBSY"),
        (28, "ENOSPC"),
        (30, "EROFS"),
        (38, "ENOSYS"),
        (40, "ELOOP"),
        (95, "EOPNOTSUPP"),
        (99, "EADDRNOTAVAIL"),
        (126, "ENOKEY"),
    ];
    let number = error.raw_os_error().unwrap_or(0);
    let name = NAMES.iter().find(|(known, _)| *known == number);
    string(&name.map_or_else(|| format!("E{number}"), |(_, name)| (*name).to_owned()))
}

fn stat(it: &fs::Metadata) -> String {
    let kind = it.file_type();
    let kind = match () {
        () if kind.is_dir() => "directory",
        () if kind.is_symlink() => "link",
        () if kind.is_char_device() => "character",
        () if kind.is_block_device() => "block",
        () if kind.is_fifo() => "fifo",
        () if kind.is_socket() => "socket",
        () => "file",
    };
    let device = it.rdev();
    let (major, minor) = (device >> 8 & 0xfff, device & 0xff | device >> 12 & 0xfff00);
    object(&[
        ("kind", string(kind)),
        ("mode", string(&format!("{:o}", it.mode() & 0o7777))),
        ("uid", it.uid().to_string()),
        ("gid", it.gid().to_string()),
        ("device", string(&format!("{major}:{minor}"))),
        ("size", it.size().to_string()),
    ])
}

fn everything() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let status = read("/proc/self/status");
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        string(&line.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" "))
    };
    let kernel = |name: &str| string(read(&format!("/proc/sys/kernel/{name}")).trim());
    object(&[
        ("pid", process::id().to_string()),
        ("namespaces", namespaces()),
        ("uid", field("Uid")),
        ("gid", field("Gid")),
        ("groups", field("Groups")),
        ("umask", field("Umask")),
        ("uid_map", string(&words(&read("/proc/self/uid_map")))),
        ("gid_map", string(&words(&read("/proc/self/gid_map")))),
        ("inheritable", field("CapInh")),
        ("permitted", field("CapPrm")),
        ("effective", field("CapEff")),
        ("bounding", field("CapBnd")),
        ("ambient", field("CapAmb")),
        ("no_new_privs", field("NoNewPrivs")),
        ("seccomp", field("Seccomp")),
        ("args", list(env::args().map(|it| string(&it)))),
        ("env", list(env::vars_os().map(|(a, b)| {
            string(&format!("{}={}", a.to_string_lossy(), b.to_string_lossy()))
        }))),
        ("cwd", told(env::current_dir().map(|it| string(&it.to_string_lossy())))),
        ("hostname", kernel("hostname")),
        ("domainname", kernel("domainname")),
        ("limits", limits()),
        ("oom_score_adj", string(read("/proc/self/oom_score_adj").trim())),
        ("mounts", mounts()),
        ("files", files()),
        ("schedule", schedule()),
        ("io_priority", io_priority()),
        ("affinity", affinity()),
        ("memory_policy", memory_policy()),
        ("personality", unsafe { personality(0xffff_ffff) }.to_string()),
        ("clocks", string(&words(&read("/proc/self/timens_offsets")))),
        ("uptime", uptime()),
        ("terminal", terminal()),
        ("cgroup", string(read("/proc/self/cgroup").trim())),
        ("keyring", outcome(unsafe { syscall(number::KEYCTL, 0, -3_i64, 0) })),
        ("session", unsafe { syscall(number::GETSID, 0) }.to_string()),
    ])
}

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn namespaces() -> String {
    const KINDS: [&str; 8] = ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"];
    let link = |kind: &&'static str| {
        let link = fs::read_link(format!("/proc/self/ns/{kind}")).unwrap_or_default();
        (*kind, string(&link.to_string_lossy()))
    };
    object(&KINDS.iter().map(link).collect::<Vec<_>>())
}

fn limits() -> String {
    const NAMES: [&str; 16] = [
        "cpu", "fsize", "data", "stack", "core", "rss", "nproc", "nofile", "memlock", "as", "locks",
        "sigpending", "msgqueue", "nice", "rtprio", "rttime",
    ];
    let value = |number: u64| match number {
        u64::MAX => "-1".to_owned(),
        other => other.to_string(),
    };
    let one = |(number, name): (i32, &&'static str)| {
        let mut limit = [0; 2];
        unsafe { getrlimit(number, &raw mut limit) };
        (*name, list([value(limit[0]), value(limit[1])]))
    };
    object(&(0..).zip(NAMES.iter()).map(one).collect::<Vec<_>>())
}

/// All mounts by their mount point; of several in one place, the last.
fn mounts() -> String {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut all: Vec<(String, String)> = Vec::new();
    for line in text.lines() {
        let Some((left, right)) = line.split_once(" - ") else { continue };
        let left: Vec<&str> = left.split(' ').collect();
        let right: Vec<&str> = right.split(' ').collect();
        let tags: Vec<&str> =
            left[6..].iter().map(|tag| tag.split(':').next().unwrap_or(tag)).collect();
        let told = object(&[
            ("root", string(left[3])),
            ("options", string(left[5])),
            ("propagation", string(&if tags.is_empty() { "private".to_owned() } else { tags.join(",") })),
            ("type", string(right[0])),
            ("source", string(right[1])),
            ("super", string(right.get(2).unwrap_or(&""))),
        ]);
        all.retain(|(place, _)| place != left[4]);
        all.push((left[4].to_owned(), told));
    }
    object(&all)
}

/// Open descriptors by their number, but the one that reads this list.
fn files() -> String {
    let mut all = Vec::new();
    for entry in fs::read_dir("/proc/self/fd").into_iter().flatten().flatten() {
        if let Ok(link) = fs::read_link(entry.path()) {
            let link = link.to_string_lossy().into_owned();
            if !link.ends_with("/fd") {
                all.push((entry.file_name().to_string_lossy().into_owned(), string(&link)));
            }
        }
    }
    all.sort();
    object(&all)
}

fn schedule() -> String {
    #[repr(C)]
    #[derive(Default)]
    struct Attributes {
        size: u32,
        policy: u32,
        flags: u64,
        nice: i32,
        priority: u32,
        runtime: u64,
        deadline: u64,
        period: u64,
    }
    let mut it = Attributes::default();
    let size = size_of::<Attributes>();
    unsafe { syscall(number::SCHED_GETATTR, 0, &raw mut it, size, 0) };
    object(&[
        ("policy", it.policy.to_string()),
        ("flags", it.flags.to_string()),
        ("nice", it.nice.to_string()),
        ("priority", it.priority.to_string()),
        ("runtime", it.runtime.to_string()),
        ("deadline", it.deadline.to_string()),
        ("period", it.period.to_string()),
    ])
}

fn io_priority() -> String {
    let value = unsafe { syscall(number::IOPRIO_GET, 1, 0) };
    list([(value >> 13).to_string(), (value & 0x1fff).to_string()])
}

fn affinity() -> String {
    let mut mask = [0_u64; 128];
    unsafe { sched_getaffinity(0, size_of_val(&mask), mask.as_mut_ptr()) };
    let set = |number: &usize| mask[number / 64] >> (number % 64) & 1 == 1;
    list((0..8192).filter(set).map(|number| number.to_string()))
}

fn memory_policy() -> String {
    let mut mode: c_int = 0;
    let mut nodes = [0_u64; 64];
    let none: *mut c_void = std::ptr::null_mut();
    let bits = 64 * 64;
    let result = unsafe {
        syscall(number::GET_MEMPOLICY, &raw mut mode, nodes.as_mut_ptr(), bits, none, 0)
    };
    match result {
        0 => list([mode.to_string(), nodes[0].to_string()]),
        _ => outcome(result),
    }
}

fn uptime() -> String {
    let clock = |number| {
        let mut time = [0; 2];
        unsafe { clock_gettime(number, &raw mut time) };
        time[0].to_string()
    };
    object(&[("monotonic", clock(1)), ("boottime", clock(7))])
}

fn terminal() -> String {
    const GET_SIZE: c_ulong = 0x5413;
    if unsafe { isatty(0) } == 0 {
        return "null".to_owned();
    }
    let mut size = [0_u16; 4];
    unsafe { ioctl(0, GET_SIZE, &raw mut size) };
    list([size[0].to_string(), size[1].to_string()])
}

fn object<S: AsRef<str>>(fields: &[(S, String)]) -> String {
    let all: Vec<String> =
        fields.iter().map(|(name, value)| format!("{}:{value}", string(name.as_ref()))).collect();
    format!("{{{}}}", all.join(","))
}

fn list(values: impl IntoIterator<Item = String>) -> String {
    format!("[{}]", values.into_iter().collect::<Vec<_>>().join(","))
}

fn string(text: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => {
                quoted.push('\\');
                quoted.push(letter);
            }
            control if control < ' ' => {
                write!(quoted, "\\u{:04x}", u32::from(control)).unwrap();
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}
