//! Checkpoints: CRIU writes all processes of a container to files, and makes them again of these.
//!
//! CRIU is a program of its own, called as users would. What of a container is not its processes' is
//! named to it when it dumps them, and given to it again when it restores them: bind mounts by their
//! destination, the standard descriptors by what they lead to, a network namespace that others have
//! made.
//!
//! Processes are restored inside the container's control group and in a mount namespace that sees the
//! container's root file system; nobody else does. The first of them is a child of ours.

use std::convert::Infallible;
use std::ffi::CString;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio as Streams};

use oci_spec::runtime::{Mount, Spec};

use super::cgroup::Cgroup;
use super::launch::Stdio;
use super::rootfs::Rootfs;
use crate::error::{Context, Error, Kind, Result};
use crate::sys::clone::{Child, clone3, exit_now};
use crate::sys::{command, mount, process};

/// The name under which a network namespace that others have made is dumped. runc's.
const NETWORK: &str = "extRootNetNS";

/// Numbers from here on are those of descriptors that CRIU is given.
const GIVEN: i32 = 100;

const MS_PRIVATE: u64 = 1 << 18;

/// What CRIU may do with what is not the processes' alone.
#[derive(Clone, Debug, Default)]
pub struct Liberties {
    /// Take connections of TCP along.
    pub tcp_established: bool,
    /// Drop connections of TCP when it restores.
    pub tcp_close: bool,
    /// Leave sockets out whose other end is outside.
    pub external_sockets: bool,
    /// Take a process along that is a job of a shell outside.
    pub shell_job: bool,
    /// Take locks of files along.
    pub file_locks: bool,
    /// Remove pages from files of earlier dumps once they are not needed.
    pub auto_dedup: bool,
    /// Leave the network namespace's content out.
    pub empty_network: bool,
    /// What becomes of control groups; CRIU's `soft` if nothing is said.
    pub cgroups: Option<String>,
}

/// What becomes of the processes that are dumped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// They end.
    End,
    /// They go on.
    GoOn,
    /// They stand still, as by SIGSTOP.
    Stand,
    /// They go on, and only their memory was dumped: the next dump will have less to write.
    OnlyMemory,
}

/// Processes to be written to files.
#[derive(Debug)]
pub struct Dump<'a> {
    /// The container's first process.
    pub pid: i32,
    /// The container in the OCI's words.
    pub spec: &'a Spec,
    /// Where the files go.
    pub images: &'a Path,
    /// Where CRIU's log goes.
    pub work: &'a Path,
    /// Where an earlier dump of memory is, from the directory of the files.
    pub parent: Option<&'a Path>,
    /// Whether others have made its network namespace.
    pub foreign_network: bool,
    /// What may be done.
    pub liberties: &'a Liberties,
    /// What becomes of them.
    pub after: After,
}

/// Processes to be made of files.
#[derive(Debug)]
pub struct Restore<'a> {
    /// The container in the OCI's words.
    pub spec: &'a Spec,
    /// Its root file system.
    pub rootfs: &'a Rootfs,
    /// Where the files are.
    pub images: &'a Path,
    /// Where CRIU's log goes.
    pub work: &'a Path,
    /// The file that CRIU writes the number of the first process to. It must not be there.
    pub pid_file: &'a Path,
    /// Its control group.
    pub cgroup: &'a Cgroup,
    /// The path of that, if it had another one.
    pub new_group: Option<&'a str>,
    /// The network namespace that others have made for it.
    pub network: Option<BorrowedFd<'a>>,
    /// What its standard descriptors have led to, as [`Dump::run`] has told.
    pub descriptors: &'a [String],
    /// What they lead to now.
    pub stdio: Stdio<'a>,
    /// What may be done.
    pub liberties: &'a Liberties,
}

impl Dump<'_> {
    /// Writes the processes to files. Returns what the standard descriptors lead to, for their
    /// restoration; nothing for one that is the container's own.
    pub fn run(&self) -> Result<Vec<String>> {
        let program = program()?;
        for dir in [self.images, self.work] {
            fs::create_dir_all(dir).context(|| format!("cannot make {}", dir.display()))?;
        }
        let descriptors = descriptors(self.pid)?;
        let mut words: Vec<String> = Vec::new();
        let verb = if self.after == After::OnlyMemory { "pre-dump" } else { "dump" };
        words.extend([verb.to_owned(), "--tree".to_owned(), self.pid.to_string()]);
        match self.after {
            After::GoOn => words.push("--leave-running".to_owned()),
            After::Stand => words.push("--leave-stopped".to_owned()),
            After::End | After::OnlyMemory => {}
        }
        if self.after == After::OnlyMemory || self.parent.is_some() {
            words.push("--track-mem".to_owned());
        }
        if let Some(parent) = self.parent {
            words.extend(["--prev-images-dir".to_owned(), text(parent)?]);
        }
        for entry in binds(self.spec) {
            let place = text(entry.destination())?;
            words.extend(["--external".to_owned(), format!("mnt[{place}]:{place}")]);
        }
        // Pipes are known by their ends; files elsewhere must be named.
        for key in
            descriptors.iter().filter(|key| key.starts_with("file") || key.starts_with("tty"))
        {
            words.extend(["--external".to_owned(), key.clone()]);
        }
        if self.foreign_network {
            let path = format!("/proc/{}/ns/net", self.pid);
            let inode = fs::metadata(&path).context(|| format!("cannot look at {path}"))?.ino();
            words.extend(["--external".to_owned(), format!("net[{inode}]:{NETWORK}")]);
        }
        words.extend(common(self.images, self.work, "dump.log", self.liberties)?);
        let mut criu = Command::new(&program);
        criu.args(&words).stdin(Streams::null()).stdout(Streams::null()).stderr(Streams::null());
        let status = command::die_with_us(&mut criu)
            .status()
            .context(|| format!("cannot run {}", program.display()))?;
        match status.success() {
            true => Ok(descriptors),
            false => Err(failed("CRIU cannot dump the processes", &self.work.join("dump.log"))),
        }
    }
}

impl Restore<'_> {
    /// Makes the processes; returns the first of them, which is a child of ours.
    pub fn run(&self) -> Result<Child> {
        let program = program()?;
        let program = CString::new(program.as_os_str().as_bytes())
            .map_err(|_| Error::new(Kind::Invalid, "the path of CRIU has a zero byte"))?;
        fs::create_dir_all(self.work).context(|| format!("cannot make {}", self.work.display()))?;
        let mut words = vec!["criu".to_owned(), "restore".to_owned()];
        words.extend(["--restore-detached", "--restore-sibling", "--root"].map(str::to_owned));
        words.push(text(self.rootfs.mount_point())?);
        words.extend(["--pidfile".to_owned(), text(self.pid_file)?]);
        for entry in binds(self.spec) {
            let place = text(entry.destination())?;
            let source = text(entry.source().as_deref().unwrap_or(Path::new("")))?;
            words.extend(["--external".to_owned(), format!("mnt[{place}]:{source}")]);
        }
        if let Some(path) = self.new_group {
            // One by one: elsewhere it is to have none, and cannot always.
            for controller in self.cgroup.controllers() {
                words.extend(["--cgroup-root".to_owned(), format!("{controller}:{path}")]);
            }
        }
        let mut given: Vec<BorrowedFd<'_>> = Vec::new();
        let stdio = [self.stdio.stdin, self.stdio.stdout, self.stdio.stderr];
        let mut keys: Vec<&str> = Vec::new();
        for (key, file) in self.descriptors.iter().zip(stdio) {
            // Two that lead to the same are one.
            if !key.is_empty() && !keys.contains(&key.as_str()) {
                keys.push(key);
                given.push(file);
            }
        }
        if let Some(network) = self.network {
            keys.push(NETWORK);
            given.push(network);
        }
        for (key, number) in keys.iter().zip(GIVEN..) {
            words.extend(["--inherit-fd".to_owned(), format!("fd[{number}]:{key}")]);
        }
        words.extend(common(self.images, self.work, "restore.log", self.liberties)?);
        let words = process::Words::new(words).context(|| "cannot pass words to CRIU")?;
        let path = std::env::var("PATH").unwrap_or_else(|_| "/usr/sbin:/usr/bin:/sbin:/bin".into());
        let env = process::Words::new([format!("PATH={path}")])
            .context(|| "cannot pass variables to CRIU")?;
        let context = || "cannot run CRIU";
        let become_criu = || -> Result<Infallible> {
            self.prepare(&given)?;
            process::exec(&program, &words, &env).context(context)
        };
        let child = clone3(libc::CLONE_NEWNS, self.cgroup.v2_fd(), || {
            let Err(error) = become_criu();
            // Where CRIU itself writes why it has failed.
            drop(fs::write(self.work.join("restore.log"), format!("Error: {error}\n")));
            exit_now(125)
        })
        .context(context)?;
        let code = process::wait(child.pidfd.as_fd()).context(|| "cannot wait for CRIU")?;
        if code != 0 {
            let log = self.work.join("restore.log");
            return Err(failed("CRIU cannot restore the processes", &log));
        }
        self.first()
    }

    /// What the process does that becomes CRIU.
    fn prepare(&self, given: &[BorrowedFd<'_>]) -> Result<()> {
        self.cgroup.join().context(|| "cannot enter the container's cgroups")?;
        mount::set_propagation_of_all(MS_PRIVATE)
            .context(|| "cannot cut the mounts off from the host's")?;
        drop(self.rootfs.mount()?);
        let context = || "cannot give CRIU its descriptors";
        let null = File::options().read(true).write(true).open("/dev/null").context(context)?;
        // Sources with such numbers would be overwritten before they are used.
        let high = |file: &BorrowedFd<'_>| {
            rustix::io::fcntl_dupfd_cloexec(*file, GIVEN + 50).map_err(std::io::Error::from)
        };
        let given = given.iter().map(high).collect::<Result<Vec<OwnedFd>, _>>().context(context)?;
        for (file, number) in given.iter().zip(GIVEN..) {
            process::redirect(file.as_fd(), number).context(context)?;
        }
        for number in 0..=2 {
            process::redirect(null.as_fd(), number).context(context)?;
        }
        debug_assert!(null.as_raw_fd() > 2);
        Ok(())
    }

    /// Finds the first process.
    fn first(&self) -> Result<Child> {
        let context = || format!("cannot read {}", self.pid_file.display());
        let text = fs::read_to_string(self.pid_file).context(context)?;
        drop(fs::remove_file(self.pid_file));
        let number = text.trim().parse().ok().and_then(rustix::process::Pid::from_raw);
        let pid = number.ok_or_else(|| Error::new(Kind::Internal, context()))?;
        let flags = rustix::process::PidfdFlags::empty();
        let pidfd = rustix::process::pidfd_open(pid, flags)
            .context(|| "cannot find the process that CRIU has restored")?;
        Ok(Child { pid: pid.as_raw_nonzero().get(), pidfd })
    }
}

/// What CRIU is told in both cases.
fn common(images: &Path, work: &Path, log: &str, liberties: &Liberties) -> Result<Vec<String>> {
    let mut words = vec!["--images-dir".to_owned(), text(images)?];
    words.extend(["--work-dir".to_owned(), text(work)?]);
    words.extend(["--log-file".to_owned(), log.to_owned(), "-v4".to_owned()]);
    let mode = liberties.cgroups.as_deref().unwrap_or("soft");
    words.push(format!("--manage-cgroups={mode}"));
    for (asked, word) in [
        (liberties.tcp_established, "--tcp-established"),
        (liberties.tcp_close, "--tcp-close"),
        (liberties.external_sockets, "--ext-unix-sk"),
        (liberties.shell_job, "--shell-job"),
        (liberties.file_locks, "--file-locks"),
        (liberties.auto_dedup, "--auto-dedup"),
    ] {
        if asked {
            words.push(word.to_owned());
        }
    }
    if liberties.empty_network {
        words.extend(["--empty-ns", "net"].map(str::to_owned));
    }
    Ok(words)
}

/// Finds CRIU.
fn program() -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/bin".into()]);
    let mut places = places.map(|dir: PathBuf| dir.join("criu"));
    places.find(|place| place.is_file()).ok_or_else(|| {
        let text = "containers cannot be checkpointed: the program criu is not installed";
        Error::new(Kind::Unavailable, text).hint("install the package criu, version 4 or later")
    })
}

/// The bind mounts of a container.
fn binds(spec: &Spec) -> impl Iterator<Item = &Mount> {
    let is_bind = |entry: &&Mount| {
        let mut options = entry.options().iter().flatten();
        entry.typ().as_deref() == Some("bind")
            || options.any(|option| matches!(option.as_str(), "bind" | "rbind"))
    };
    spec.mounts().iter().flatten().filter(is_bind)
}

/// Tells what the standard descriptors of a process lead to, in CRIU's words.
fn descriptors(pid: i32) -> Result<Vec<String>> {
    let read = |path: String| fs::read_to_string(&path).context(|| format!("cannot read {path}"));
    let mounts = read(format!("/proc/{pid}/mountinfo"))?;
    let is_own = |id: &str| mounts.lines().any(|line| line.split(' ').next() == Some(id));
    (0..=2)
        .map(|number| {
            let path = format!("/proc/{pid}/fd/{number}");
            let link = match fs::read_link(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(String::new()),
                other => other.context(|| format!("cannot read {path}"))?,
            };
            let link = link.to_string_lossy();
            if link.starts_with("pipe:") {
                return Ok(link.into_owned());
            }
            let info = read(format!("/proc/{pid}/fdinfo/{number}"))?;
            let id = info.lines().find_map(|line| line.strip_prefix("mnt_id:")).unwrap_or_default();
            if !link.starts_with('/') || is_own(id.trim()) {
                return Ok(String::new());
            }
            let file = fs::metadata(&path).context(|| format!("cannot look at {path}"))?;
            let is_terminal = matches!(rustix::fs::major(file.rdev()), 4 | 5 | 136..=143);
            let id: u32 = id.trim().parse().unwrap_or(0);
            Ok(match is_terminal {
                true => format!("tty[{:x}:{:x}]", file.rdev(), file.dev()),
                false => format!("file[{id:x}:{:x}]", file.ino()),
            })
        })
        .collect()
}

/// Says why CRIU has failed: the last error in its log.
fn failed(what: &str, log: &Path) -> Error {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    // As in `(00.19) Error (criu/files-reg.c:1790): Can't …`; the last ones only say that it has failed.
    let told = |line: &str| Some(line.split_once("Error ")?.1.split_once("): ")?.1.to_owned());
    let is_news = |line: &String| !line.contains("FAILED") && !line.contains("failed with");
    let own = || text.lines().next_back().and_then(|line| line.strip_prefix("Error: "));
    let why = text.lines().filter_map(told).rfind(is_news);
    let why = why.or_else(|| own().map(str::to_owned)).unwrap_or_else(|| "no reason given".into());
    Error::new(Kind::Unavailable, format!("{what}: {why}"))
        .hint(format!("what it says is in {}", log.display()))
}

fn text(path: &Path) -> Result<String> {
    path.to_str().map(str::to_owned).ok_or_else(|| {
        let text = format!("CRIU does not take the path {}: it is no text", path.display());
        Error::new(Kind::Invalid, text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_the_last_that_is_one() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("dump.log");
        let text = "(00.1) Error (criu/util.c:1534): rlimit\n\
                    (00.2) Error (criu/files-reg.c:1790): Can't lookup mount=24\n\
                    (00.3) Error (criu/cr-dump.c:1545): Dump files (pid: 7) failed with -1\n\
                    (00.4) Error (criu/cr-dump.c:1975): Dumping FAILED.\n";
        fs::write(&log, text).unwrap();
        let error = failed("cannot", &log);
        assert_eq!(error.to_string(), "cannot: Can't lookup mount=24");
        fs::write(&log, "Error: cannot run CRIU: denied\n").unwrap();
        assert_eq!(failed("cannot", &log).to_string(), "cannot: cannot run CRIU: denied");
        assert!(failed("cannot", Path::new("/nope")).to_string().ends_with("no reason given"));
    }
}
