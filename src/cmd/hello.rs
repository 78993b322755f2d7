//! What `builtin/hello` runs: our own executable, alone in an empty file system, tells what it sees.

use std::fmt::Write;
use std::fs;

/// Tells whether we were started as that program.
pub(super) fn is_asked_for(name: &std::ffi::OsStr) -> bool {
    name == "/hello"
}

/// Writes the greeting, and what isolation is in effect.
pub(super) fn greeting() -> String {
    let status = read("/proc/self/status");
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.map_or("", str::trim).to_owned()
    };
    let rows = [
        ("Process", format!("number {} of its own process namespace", std::process::id())),
        ("User", user(&read("/proc/self/uid_map"))),
        ("Host name", read("/proc/sys/kernel/hostname").trim().to_owned()),
        ("Root", root(&read("/proc/self/mountinfo"))),
        ("Network", network(&read("/proc/net/dev"))),
        ("Capabilities", capabilities(&field("CapEff:"))),
        ("System calls", seccomp(&field("Seccomp:")).to_owned()),
    ];
    let mut text = String::from(
        "Hello from a container!\n\n\
         This is barge's own executable, alone in an empty file system. It sees:\n",
    );
    for (name, value) in rows {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {name:13} {value}");
    }
    text.push_str(
        "\nWhat to try next, still without any registry:\n  \
         barge run --rm -it builtin/host bash\n",
    );
    text
}

/// Reads a file of facts; one that is hidden tells nothing.
fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// Who we are, here and outside.
fn user(map: &str) -> String {
    let mut numbers = map.split_whitespace();
    let (inside, outside, count) = (numbers.next(), numbers.next(), numbers.next());
    match (inside, outside, count) {
        (Some("0"), Some("0"), Some("4294967295")) => "root, the machine's own".to_owned(),
        (Some("0"), Some(outside), _) => format!("root here, user {outside} outside"),
        _ => "unknown".to_owned(),
    }
}

fn root(mounts: &str) -> String {
    let root = mounts.lines().find(|line| line.split(' ').nth(4) == Some("/"));
    let kind = root.and_then(|line| line.split(" - ").nth(1)?.split(' ').next());
    format!("{} file system of its own", kind.unwrap_or("unknown"))
}

fn network(devices: &str) -> String {
    let names: Vec<&str> = devices
        .lines()
        .filter_map(|line| line.split_once(':').map(|(name, _)| name.trim()))
        .collect();
    match names.as_slice() {
        [] => "none".to_owned(),
        names => names.join(", "),
    }
}

fn capabilities(mask: &str) -> String {
    match u64::from_str_radix(mask, 16) {
        Ok(mask) => format!("{} of 41", mask.count_ones()),
        Err(_) => "unknown".to_owned(),
    }
}

fn seccomp(mode: &str) -> &'static str {
    match mode {
        "2" => "filtered",
        "0" => "not filtered",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernels_words() {
        assert_eq!(user("0 0 4294967295"), "root, the machine's own");
        assert_eq!(user("  0  1000  1\n  1 100000 65536"), "root here, user 1000 outside");
        assert_eq!(
            root(
                "90 80 0:52 / / rw,relatime - overlay overlay rw,lowerdir=x\n91 90 0:5 / /proc rw - proc proc rw"
            ),
            "overlay file system of its own"
        );
        assert_eq!(network("Inter-|\n face |\n    lo: 0 0\n  eth0: 0 0\n"), "lo, eth0");
        assert_eq!(capabilities("00000000a80425fb"), "14 of 41");
    }
}
