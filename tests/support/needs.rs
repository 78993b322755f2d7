//! What a test needs of the machine. What is left out is said aloud.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::sync::OnceLock;

/// Something that a machine or a user may lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// To be root.
    Root,
    /// Not to be root.
    NoRoot,
    /// A memory controller that containers of this user can have.
    MemoryLimit,
    /// A pids controller that containers of this user can have.
    PidsLimit,
    /// A cpu controller that containers of this user can have.
    CpuLimit,
    /// Published UDP ports that answer. The pasta of Debian 12 loses the answers to the host itself,
    /// also when it runs alone.
    UdpAnswers,
    /// A further user of this name.
    User(&'static str),
    /// A Debian root file system and what is made from it.
    Debian,
    /// A kernel whose xfs has quotas.
    ProjectQuota,
    /// The sources of barge.
    Sources,
    /// Another tool.
    Tool(&'static str),
}

/// Tells whether everything that the test needs is there; says aloud what it left out if not.
#[track_caller]
pub(crate) fn needs(needs: &[Need]) -> bool {
    let Some(lack) = needs.iter().find(|need| !need.is_met()) else { return true };
    leave_out(&lack.describe());
    false
}

/// Says aloud that the test leaves something out, and why.
pub(crate) fn leave_out(why: &str) {
    let thread = std::thread::current();
    let line = format!("left out: {}: {why}\n", thread.name().unwrap_or("a test"));
    // Not by the printing macros, whose output the test harness holds back.
    std::io::stderr().write_all(line.as_bytes()).expect("standard error is open");
    if let Ok(path) = std::env::var("BARGE_TEST_LEFT_OUT") {
        let mut list = OpenOptions::new().append(true).create(true).open(path);
        list.as_mut()
            .expect("the list can be written")
            .write_all(line.as_bytes())
            .expect("the list can be written");
    }
}

/// Tells whether the tests run as root.
pub(crate) fn is_root() -> bool {
    static ROOT: OnceLock<bool> = OnceLock::new();
    *ROOT.get_or_init(|| nix::unistd::geteuid().is_root())
}

impl Need {
    fn is_met(self) -> bool {
        match self {
            Self::Root => is_root(),
            Self::NoRoot => !is_root(),
            Self::MemoryLimit => has_controller("memory"),
            Self::PidsLimit => has_controller("pids"),
            Self::CpuLimit => has_controller("cpu"),
            Self::UdpAnswers => is_root() || pasta_date() >= 20_240_101,
            Self::User(name) => user(name).is_some(),
            Self::Debian => super::fixture::has_debian(),
            Self::ProjectQuota => Path::new("/proc/fs/xfs/xqm").exists(),
            Self::Sources => Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli").is_dir(),
            Self::Tool(name) => {
                ["/usr/bin", "/usr/sbin"].iter().any(|dir| Path::new(dir).join(name).exists())
            }
        }
    }

    fn describe(self) -> String {
        match self {
            Self::Root => "it needs root".to_owned(),
            Self::NoRoot => "it is about users without root".to_owned(),
            Self::MemoryLimit => "it needs a memory controller".to_owned(),
            Self::PidsLimit => "it needs a pids controller".to_owned(),
            Self::CpuLimit => "it needs a cpu controller".to_owned(),
            Self::UdpAnswers => "it needs a pasta of 2024 or later".to_owned(),
            Self::User(name) => format!("it needs the user {name}"),
            Self::Debian => "it needs what root makes with debootstrap".to_owned(),
            Self::ProjectQuota => "it needs a kernel with quotas of xfs".to_owned(),
            Self::Sources => "it needs the sources".to_owned(),
            Self::Tool(name) => format!("it needs {name}"),
        }
    }
}

/// Tells whether containers of this user can be limited by a controller.
///
/// Root can use any that is mounted; others need a delegated part of the version 2 hierarchy.
pub(crate) fn has_controller(name: &str) -> bool {
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    if is_root() && groups.lines().any(|line| line.split(':').nth(1) == Some(name)) {
        return true;
    }
    let Some(own) = groups.lines().find_map(|line| line.strip_prefix("0::/")) else { return false };
    let below = Path::new("/sys/fs/cgroup").join(own);
    let has = std::fs::read_to_string(below.join("cgroup.controllers"))
        .is_ok_and(|text| text.split_whitespace().any(|controller| controller == name));
    let writable = rustix::fs::access(&below, rustix::fs::Access::WRITE_OK).is_ok();
    has && writable
}

/// Returns the date in the version of pasta, as in 20230309; 0 if there is none.
fn pasta_date() -> u32 {
    let output = std::process::Command::new("pasta").arg("--version").output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let text = text.unwrap_or_default();
    let runs = text.split(|letter: char| !letter.is_ascii_digit());
    runs.filter(|run| run.len() == 8).find_map(|run| run.parse().ok()).unwrap_or(0)
}

/// Returns the user and group ID of a user of this machine.
pub(crate) fn user(name: &str) -> Option<(u32, u32)> {
    let passwd = std::fs::read_to_string("/etc/passwd").ok()?;
    let fields: Vec<&str> = passwd
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.first() == Some(&name))?;
    Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?))
}
