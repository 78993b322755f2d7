//! What this machine can do for containers, and what to do about what it cannot.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::mount::{FsOpenFlags, OpenTreeFlags};
use rustix::process::PidfdFlags;

use super::cgroup::{Hierarchies, Mode};
use super::kernel::KernelVersion;
use crate::sys::check::Check;
use crate::sys::{bpf, userns};

/// The oldest kernel that has all that containers need, rootless overlays among it.
const OLDEST: KernelVersion = KernelVersion { major: 5, minor: 11 };

/// Looks at this machine. Changes nothing; to be called before a user namespace is entered.
pub fn doctor() -> Vec<Check> {
    let uid = rustix::process::geteuid().as_raw();
    let root = uid == 0 && userns::is_initial();
    let mut checks =
        vec![kernel(), processes(), mounts(), overlay(root), seccomp(), cgroups(root), userns()];
    checks.extend([namespaces(), watches()]);
    if root {
        checks.extend([controllers(), swap()]);
    }
    if !root {
        checks.extend(["newuidmap", "newgidmap"].map(id_program));
        checks.extend(["/etc/subuid", "/etc/subgid"].map(|file| subordinate(file, uid)));
    }
    checks
}

fn good(name: &'static str, detail: impl Into<String>) -> Check {
    Check { name, ok: true, detail: detail.into(), hint: None }
}

fn bad(name: &'static str, detail: impl Into<String>, hint: impl Into<String>) -> Check {
    Check { name, ok: false, detail: detail.into(), hint: Some(hint.into()) }
}

fn kernel() -> Check {
    let version = KernelVersion::running();
    if version >= OLDEST {
        return good("kernel", version.to_string());
    }
    bad("kernel", version.to_string(), format!("barge needs Linux {OLDEST} or later"))
}

fn processes() -> Check {
    let name = "process descriptors";
    match rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty()) {
        Ok(_) => good(name, "pidfd_open works"),
        Err(error) => bad(name, format!("pidfd_open: {error}"), INSIDE),
    }
}

fn mounts() -> Check {
    let name = "mount API";
    // Without cloning, this is only an open, which needs no privilege.
    match rustix::mount::open_tree(rustix::fs::CWD, c"/", OpenTreeFlags::OPEN_TREE_CLOEXEC) {
        Ok(_) => good(name, "open_tree works"),
        Err(error) => bad(name, format!("open_tree: {error}"), INSIDE),
    }
}

/// Where calls are missing that the kernel version promises.
const INSIDE: &str = "if barge runs in a container, that one's seccomp profile must allow the call";

fn overlay(root: bool) -> Check {
    let name = "overlay";
    let missing = |detail: String| {
        bad(name, detail, "load the kernel module: modprobe overlay; until then images are copied")
    };
    if root {
        // Loads the module too, if there is one.
        return match rustix::mount::fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC) {
            Ok(_) => good(name, "available"),
            Err(Errno::NODEV) => missing("the kernel does not have it".to_owned()),
            Err(error) => missing(format!("fsopen: {error}")),
        };
    }
    let known = fs::read_to_string("/proc/filesystems").is_ok_and(|text| {
        text.lines().any(|line| line.trim_start_matches("nodev").trim() == "overlay")
    });
    match (known, KernelVersion::running() >= OLDEST) {
        (true, true) => good(name, "available without root, with `userxattr`"),
        (true, false) => bad(
            name,
            "not without root on this kernel",
            format!("use Linux {OLDEST} or later; until then images are copied"),
        ),
        (false, _) => missing("the kernel has not loaded it".to_owned()),
    }
}

fn seccomp() -> Check {
    match bpf::has_filters() {
        true => good("seccomp", "available"),
        false => bad(
            "seccomp",
            "the kernel cannot filter system calls",
            "use a kernel with CONFIG_SECCOMP_FILTER, or --security-opt seccomp=unconfined",
        ),
    }
}

fn cgroups(root: bool) -> Check {
    let name = "cgroups";
    let hierarchies = match Hierarchies::detect() {
        Ok(hierarchies) => hierarchies,
        Err(error) => return bad(name, error.to_string(), "mount /proc"),
    };
    let version = match hierarchies.mode() {
        Mode::None => {
            return bad(
                name,
                "none are mounted",
                "mount them: mount -t cgroup2 none /sys/fs/cgroup; until then there are no limits",
            );
        }
        Mode::V1 => "version 1",
        Mode::Hybrid => "versions 1 and 2 (hybrid)",
        Mode::V2 => "version 2",
    };
    if root {
        return good(name, format!("{version}: {}", hierarchies.controllers().join(" ")));
    }
    let delegated = hierarchies.delegated();
    if delegated.is_empty() {
        let hint = match hierarchies.mode() {
            Mode::V2 => "run barge in a systemd user session: systemd-run --user --scope barge …",
            _ => "limits without root need version 2: boot with systemd.unified_cgroup_hierarchy=1",
        };
        return bad(name, format!("{version}, nothing is delegated to you: no limits"), hint);
    }
    let missing: Vec<&str> = ["cpu", "memory", "pids"]
        .into_iter()
        .filter(|it| !delegated.iter().any(|own| own == it))
        .collect();
    let detail = format!("{version}, delegated to you: {}", delegated.join(" "));
    if missing.is_empty() {
        return good(name, detail);
    }
    let hint = format!("have {} delegated too: set Delegate= of user@.service", missing.join(" "));
    bad(name, detail, hint)
}

fn userns() -> Check {
    let name = "user namespaces";
    let setting =
        |path: &str| fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<u64>().ok());
    for (path, refused, value) in [
        ("user/max_user_namespaces", 0, "15000"),
        ("kernel/unprivileged_userns_clone", 0, "1"),
        ("kernel/apparmor_restrict_unprivileged_userns", 1, "0"),
    ] {
        if setting(&format!("/proc/sys/{path}")) == Some(refused) {
            let key = path.replace('/', ".");
            return bad(
                name,
                format!("switched off by {key}={refused}"),
                format!("an administrator can allow them: sysctl -w {key}={value}"),
            );
        }
    }
    match Path::new("/proc/self/ns/user").exists() {
        true => good(name, "available"),
        false => bad(name, "the kernel does not have them", "use a kernel with CONFIG_USER_NS"),
    }
}

/// Looks whether an administrator has forbidden other namespaces.
fn namespaces() -> Check {
    let name = "namespaces";
    for kind in ["mnt", "pid", "net", "ipc", "uts", "cgroup"] {
        if !Path::new(&format!("/proc/self/ns/{kind}")).exists() {
            let text = format!("the kernel has no {kind} namespaces");
            let hint = "use a kernel with CONFIG_NAMESPACES and all options below it";
            return bad(name, text, hint);
        }
        let key = format!("user.max_{kind}_namespaces");
        let path = format!("/proc/sys/{}", key.replace('.', "/"));
        if fs::read_to_string(path).is_ok_and(|text| text.trim() == "0") {
            let hint = format!("an administrator can allow them: sysctl -w {key}=15000");
            return bad(name, format!("{kind} namespaces are switched off by {key}=0"), hint);
        }
    }
    good(name, "mnt pid net ipc uts cgroup")
}

/// Looks whether files can be watched, as `events` and `logs -f` do.
fn watches() -> Check {
    let name = "file watches";
    match rustix::fs::inotify::init(rustix::fs::inotify::CreateFlags::CLOEXEC) {
        Ok(_) => good(name, "inotify works"),
        Err(error) => bad(
            name,
            format!("inotify: {error}"),
            "an administrator can allow more: sysctl -w fs.inotify.max_user_instances=1024",
        ),
    }
}

/// Looks for the controllers that limits need.
fn controllers() -> Check {
    let name = "limits";
    let there = Hierarchies::detect().map(|found| found.controllers()).unwrap_or_default();
    let has = |controller: &str| there.iter().any(|own| own == controller);
    let missing: Vec<&str> = ["cpu", "cpuset", "memory", "pids"]
        .into_iter()
        .filter(|controller| !has(controller))
        .chain((!has("io") && !has("blkio")).then_some("io"))
        .collect();
    if missing.is_empty() {
        return good(name, "cpu cpuset memory pids io");
    }
    let list = missing.join(" ");
    let hint = match missing.contains(&"memory") {
        true => "boot with cgroup_enable=memory; some machines have it switched off".to_owned(),
        false => format!("use a kernel with the cgroup controllers {list}"),
    };
    bad(name, format!("no controller for {list}: such limits are not applied"), hint)
}

/// Looks whether swap can be limited.
fn swap() -> Check {
    let name = "swap limits";
    let v1 = Path::new("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes").exists();
    let v2 = || {
        let groups = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
        groups.into_iter().any(|group| group.path().join("memory.swap.max").exists())
    };
    if v1 || v2() {
        return good(name, "available");
    }
    // Version 2 shows the file in groups only, of which there may be none.
    match Hierarchies::detect().is_ok_and(|found| found.mode() == Mode::V2) {
        true => good(name, "known once there is a container"),
        false => bad(name, "the kernel does not count swap", "boot with swapaccount=1"),
    }
}

/// Checks a program that gives more than one ID to a user namespace.
fn id_program(name: &'static str) -> Check {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file());
    let Some(found) = found else {
        return bad(
            name,
            "not found: containers have a single user",
            "install it; the package is uidmap on Debian, shadow-utils on Fedora",
        );
    };
    if is_privileged(&found) {
        return good(name, found.display().to_string());
    }
    bad(
        name,
        format!("{} has no privilege: containers have a single user", found.display()),
        format!("an administrator can give it: chmod u+s {}", found.display()),
    )
}

/// Tells whether a program gets privileges when it is run: set-user-ID root, or file capabilities.
fn is_privileged(program: &PathBuf) -> bool {
    let set_user_id = fs::metadata(program)
        .is_ok_and(|facts| facts.uid() == 0 && facts.permissions().mode() & 0o4000 != 0);
    let mut value = [0_u8; 64];
    set_user_id || rustix::fs::getxattr(program, c"security.capability", &mut value).is_ok()
}

fn subordinate(file: &'static str, uid: u32) -> Check {
    let name = if file == "/etc/subuid" { "subordinate user IDs" } else { "subordinate group IDs" };
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let user = user_name(&passwd, uid);
    let text = fs::read_to_string(file).unwrap_or_default();
    let count = count_ids(&text, user, uid);
    let who = user.map_or_else(|| uid.to_string(), str::to_owned);
    let flag = if file == "/etc/subuid" { "--add-subuids" } else { "--add-subgids" };
    let hint = format!("an administrator can give some: usermod {flag} 100000-165535 {who}");
    match count {
        0 => bad(name, format!("none for {who} in {file}: containers have a single user"), hint),
        1..65_536 => bad(name, format!("{count} for {who}: many images need 65536"), hint),
        _ => good(name, format!("{count} for {who}")),
    }
}

fn user_name(passwd: &str, uid: u32) -> Option<&str> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then_some(name)
    })
}

/// Counts the IDs in lines of `user:first:count`, where the user is a name or a number.
fn count_ids(text: &str, name: Option<&str>, uid: u32) -> u64 {
    text.lines()
        .filter_map(|line| {
            let mut fields = line.trim().split(':');
            let user = fields.next()?;
            (Some(user) == name || user.parse() == Ok(uid)).then_some(())?;
            fields.nth(1)?.parse::<u64>().ok()
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_subordinate_ids() {
        let text =
            "# a comment\nann:100000:65536\nbob:165536:65536\n1000:300000:10\nbad\nann:x:y\n";
        for (name, uid, want) in [
            (Some("ann"), 1000, 65_546),
            (Some("bob"), 1001, 65_536),
            (None, 1000, 10),
            (None, 7, 0),
        ] {
            assert_eq!(count_ids(text, name, uid), want, "{name:?} {uid}");
        }
        let passwd = "root:x:0:0:root:/root:/bin/sh\nann:x:1000:1000::/home/ann:\n";
        assert_eq!((user_name(passwd, 1000), user_name(passwd, 5)), (Some("ann"), None));
    }

    #[test]
    fn each_finding_says_what_to_do() {
        for check in doctor() {
            assert_eq!(check.ok, check.hint.is_none(), "{check:?}");
            assert!(!check.detail.is_empty(), "{check:?}");
        }
    }
}
