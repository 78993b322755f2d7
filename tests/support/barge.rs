//! barge with a store, a home and a runtime directory of its own.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tempfile::TempDir;

use super::leaks::{self, Traces, entries, files_below};
use super::needs::{is_root, user};
use super::output::Output;
use super::place::Place;
use super::process::{Invocation, eventually, wait_until};
use super::{fixture, tool};

/// barge with a store of its own. Dropping it removes everything and fails the test if something is left.
pub(crate) struct Barge {
    directory: TempDir,
    place: Place,
    program: PathBuf,
    marker: String,
    identity: Option<(u32, u32)>,
    ids: RefCell<BTreeSet<String>>,
    /// Whether a process was killed in the middle: what it was making may lie there until the next pull.
    killed: Cell<bool>,
}

impl Barge {
    /// Makes an empty store.
    pub(crate) fn new() -> Self {
        let place = if is_root() { Place::network() } else { Place::host() };
        Self::at(place)
    }

    /// Makes an empty store on the network of the host, and as root without the default network.
    pub(crate) fn at(place: Place) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let directory = tempfile::Builder::new().prefix("bt-").tempdir().expect("there is space");
        // Users of containers pass through it to the files of theirs.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755))
            .expect("it is ours");
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let marker = format!("BARGE_TEST={}-{number}.", std::process::id());
        let barge = Self {
            directory,
            place,
            program: fixture::barge(),
            marker,
            identity: None,
            ids: RefCell::default(),
            killed: Cell::new(false),
        };
        barge.make_directories();
        barge
    }

    /// Makes an empty store with the image `busybox`.
    pub(crate) fn with_busybox() -> Self {
        let barge = Self::new();
        barge.import_busybox();
        barge
    }

    /// Makes an empty store of another user. Needs root.
    pub(crate) fn of_user(name: &str) -> Self {
        let (uid, gid) = user(name).expect("the test has asked for this user");
        let mut barge = Self::at(Place::host());
        // The sources may be where that user cannot go.
        let program = barge.path("barge");
        fs::copy(&barge.program, &program).expect("there is space");
        barge.program = program;
        barge.identity = Some((uid, gid));
        let owner = format!("{uid}:{gid}");
        tool("chown", ["-R", &owner, &barge.directory().to_string_lossy()]);
        barge
    }

    fn make_directories(&self) {
        for name in ["h", "x", "t"] {
            fs::create_dir(self.path(name)).expect("the directory is new");
        }
        fs::set_permissions(self.path("x"), fs::Permissions::from_mode(0o700)).expect("it is ours");
    }

    /// Adds the image `busybox`.
    pub(crate) fn import_busybox(&self) {
        self.run([OsStr::new("import"), fixture::busybox().as_os_str(), OsStr::new("busybox")])
            .ok();
    }

    /// Returns the directory that holds everything of this test.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Returns a path in that directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Returns a path in that directory as text.
    pub(crate) fn path_text(&self, name: &str) -> String {
        self.path(name).to_string_lossy().into_owned()
    }

    /// Writes a file in that directory and returns its path as text.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        fs::write(self.path(name), content).expect("there is space");
        self.path_text(name)
    }

    /// Returns the durable directory of the store.
    pub(crate) fn root(&self) -> PathBuf {
        self.path("s")
    }

    /// Returns the directory of the store that a reboot voids.
    pub(crate) fn runroot(&self) -> PathBuf {
        self.path("r")
    }

    /// Returns the executable.
    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    /// Returns where its processes run.
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// Moves its later processes elsewhere.
    pub(crate) fn move_to(&mut self, place: Place) {
        self.place = place;
    }

    /// Says that the test kills processes of barge: what they were making is dead, not leaked.
    pub(crate) fn kills(&self) {
        self.killed.set(true);
    }

    /// Runs a command line that follows `barge`.
    pub(crate) fn run<I, S>(&self, arguments: I) -> Output
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let output = self.command(arguments).run();
        self.note(&output.stdout);
        output
    }

    /// Prepares a command line that follows `barge`, with this store.
    pub(crate) fn command<I, S>(&self, arguments: I) -> Invocation
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let mut line: Vec<OsString> =
            vec!["--root".into(), self.root().into(), "--runroot".into(), self.runroot().into()];
        line.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self.bare_command(line)
    }

    /// Prepares a command line that follows `barge`, with the store that this user has by default.
    pub(crate) fn bare_command<I, S>(&self, arguments: I) -> Invocation
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        self.other_command(self.program.clone(), arguments)
    }

    /// Prepares another program in the same place with the same environment.
    pub(crate) fn other_command<I, S>(&self, program: impl AsRef<OsStr>, arguments: I) -> Invocation
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let invocation = Invocation::new(program, arguments, &self.place)
            .environment(&self.environment())
            .within(&self.path("t"));
        match self.identity {
            Some((uid, gid)) => invocation.of_user(uid, gid),
            None => invocation,
        }
    }

    fn environment(&self) -> Vec<(String, String)> {
        let (name, value) = self.marker.split_once('=').expect("it is an assignment");
        let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        [
            (name, value.to_owned()),
            ("PATH", path.to_owned()),
            ("HOME", self.path_text("h")),
            ("XDG_RUNTIME_DIR", self.path_text("x")),
            ("LANG", "C.UTF-8".to_owned()),
            ("TERM", "xterm".to_owned()),
            // Whatever this machine's containers are like.
            ("CONTAINERS_CONF", "/dev/null".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    /// Remembers the container IDs in what barge printed.
    fn note(&self, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        let words = text.split(|letter: char| !letter.is_ascii_alphanumeric());
        let is_id = |word: &&str| word.len() == 64 && word.bytes().all(|b| b.is_ascii_hexdigit());
        self.ids.borrow_mut().extend(words.filter(is_id).map(str::to_owned));
    }

    /// Runs a shell script in a new container of busybox without a network, removed at its end.
    #[track_caller]
    pub(crate) fn shell(&self, flags: &[&str], script: &str) -> Output {
        let mut line = vec!["run", "--rm", "--network", "none"];
        line.extend(flags);
        line.extend(["busybox", "sh", "-c", script]);
        self.run(line)
    }

    /// Starts a container without a network in the background and returns its ID.
    #[track_caller]
    pub(crate) fn start<I, S>(&self, arguments: I) -> String
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let mut line: Vec<OsString> = ["run", "-d", "--network", "none"].map(OsString::from).into();
        line.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        let id = self.run(line).ok().text();
        assert!(is_full_id(&id), "`run -d` printed `{id}`");
        id
    }

    /// Makes a file in a running container. One that ends when it sees the file may take the process with
    /// it that has made it.
    #[track_caller]
    pub(crate) fn touch(&self, name: &str, path: &str) {
        let output = self.run(["exec", name, "touch", path]);
        if output.status != 137 || self.status(name) == "running" {
            output.ok();
        }
    }

    /// Evaluates a template on a container.
    #[track_caller]
    pub(crate) fn inspect(&self, name: &str, template: &str) -> String {
        self.run(["inspect", "--format", template, name]).ok().text()
    }

    /// Returns the status of a container; empty if there is none.
    pub(crate) fn status(&self, name: &str) -> String {
        let output = self.run(["inspect", "--format", "{{.State.Status}}", name]);
        if output.status == 0 { output.text() } else { String::new() }
    }

    /// Waits until a container has a status.
    #[track_caller]
    pub(crate) fn await_status(&self, name: &str, status: &str) {
        wait_until(&format!("{name} is {status}"), || self.status(name) == status);
    }

    /// Waits until the log of a container contains `text`.
    #[track_caller]
    pub(crate) fn await_log(&self, name: &str, text: &str) {
        wait_until(&format!("the log of {name} has `{text}`"), || {
            let output = self.run(["logs", name]);
            output.status == 0 && (output.text() + &output.errors()).contains(text)
        });
    }

    /// Returns the IDs of all containers.
    #[track_caller]
    pub(crate) fn containers(&self) -> Vec<String> {
        self.run(["ps", "-a", "-q", "--no-trunc"]).ok().lines()
    }

    /// Lists the files of the store, without those that only grow or only lock, and without the marks
    /// of live user namespaces.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let mut files = self.files_now();
        // What was removed last may still be on its way out, and what was made last on its way to the disk.
        let leaving = |path: &PathBuf| {
            path.iter().any(|name| name == "unflushed" || name.to_string_lossy().ends_with(".gone"))
        };
        eventually(Duration::from_secs(60), || {
            files = self.files_now();
            !files.iter().any(leaving)
        });
        files
    }

    fn files_now(&self) -> Vec<PathBuf> {
        let mut files = files_below(&self.root());
        files.extend(files_below(&self.runroot()));
        files.retain(|path| {
            let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
            let grows_only =
                name == "format" || name.starts_with("events") || name.ends_with("lock");
            let of_namespace = path.parent().is_some_and(|parent| parent.ends_with("userns"));
            !grows_only && !of_namespace && !name.starts_with("warned-")
        });
        files
    }

    /// Checks that the store has these files and no others, after a moment of grace: what is removed
    /// may be erased after the command that removed it has returned.
    #[track_caller]
    pub(crate) fn has_files(&self, before: &[PathBuf], why: &str) {
        let mut now = self.files_now();
        eventually(Duration::from_secs(10), || {
            now = self.files_now();
            now == before
        });
        let lacks = |all: &[PathBuf], some: &[PathBuf]| -> Vec<PathBuf> {
            some.iter().filter(|path| !all.contains(path)).take(10).cloned().collect()
        };
        let (new, gone) = (lacks(before, &now), lacks(&now, before));
        assert!(new.is_empty() && gone.is_empty(), "{why}\nnew: {new:?}\ngone: {gone:?}");
    }

    /// Lists the unpacked layers and what else is in the place for them.
    pub(crate) fn layers(&self) -> Vec<PathBuf> {
        entries(&self.root().join("layers"))
    }

    /// Waits until no process of a container of this store is left.
    #[track_caller]
    pub(crate) fn await_silence(&self) {
        let mut left = Vec::new();
        let silent = eventually(Duration::from_secs(60), || {
            let ids = self.ids.borrow();
            left = self.traces(&ids).processes().iter().map(leaks::Process::command_line).collect();
            left.is_empty()
        });
        assert!(silent, "these processes do not end:\n{}", left.join("\n"));
    }

    /// Returns the process IDs of all that runs in the name of this store.
    pub(crate) fn processes(&self) -> Vec<u32> {
        self.traces(&self.ids.borrow()).processes().iter().map(|process| process.pid).collect()
    }

    fn traces<'a>(&'a self, ids: &'a BTreeSet<String>) -> Traces<'a> {
        Traces {
            directory: self.directory.path(),
            marker: &self.marker,
            ids,
            place: &self.place,
            root: self.root(),
            runroot: self.runroot(),
        }
    }

    /// Fails if anything but images is left of this store, after a moment of grace.
    ///
    /// Called when the store is dropped; a test calls it to look while the store is in use.
    #[track_caller]
    pub(crate) fn leaves_nothing(&self) {
        let left = self.left();
        assert!(left.is_empty(), "{}", listing(&left));
    }

    fn left(&self) -> Vec<String> {
        let ids = self.ids.borrow().clone();
        let traces = self.traces(&ids);
        let dead = format!("file {}", self.root().join("tmp").display());
        let mut left = Vec::new();
        eventually(Duration::from_secs(10), || {
            left = traces.left();
            if self.killed.get() {
                left.retain(|line| !line.starts_with(&dead));
            }
            left.is_empty()
        });
        left
    }

    fn remove_containers(&self) -> Option<String> {
        for place in [self.root().join("containers"), self.runroot().join("containers")] {
            for path in entries(&place) {
                self.note(path.file_name().unwrap_or_default().as_encoded_bytes());
            }
        }
        if !self.root().join("format").exists() {
            return None;
        }
        let output = self.command(["rm", "-f", "-t", "0", "-a"]).run();
        (output.status != 0).then(|| format!("`{}`: {}", output.command, output.story()))
    }

    fn remove_files(&self) {
        let directory = self.directory.path();
        if fs::remove_dir_all(directory).is_err() && !is_root() {
            // Files of containers belong to subordinate users, whose powers a user namespace lends.
            let shell = format!("rm -rf {0}/*", directory.display());
            let line = ["--user", "--map-auto", "--map-root-user", "sh", "-c", &shell];
            drop(Invocation::new("unshare", line, &Place::host()).run());
        }
    }
}

impl Drop for Barge {
    fn drop(&mut self) {
        let failed = std::thread::panicking();
        let mut wrong = Vec::new();
        if failed {
            // Nothing here may panic a second time.
            drop(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                self.remove_containers();
            })));
        } else {
            wrong.extend(self.remove_containers());
            wrong.extend(self.left());
        }
        for pid in self.processes() {
            let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
            if let Some(pid) = pid {
                // It may have ended meanwhile.
                let _ended = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
        }
        let ids = self.ids.borrow().clone();
        for group in self.traces(&ids).cgroups() {
            // In use only if a process survived its KILL.
            drop(fs::remove_dir(group));
        }
        self.remove_files();
        assert!(wrong.is_empty(), "{}", listing(&wrong));
    }
}

/// Lists what was left behind, not all of it if that is much.
fn listing(left: &[String]) -> String {
    format!("{} things left behind:\n{}", left.len(), left[..left.len().min(12)].join("\n"))
}

/// Tells whether `text` is a container's or image's whole ID.
pub(crate) fn is_full_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}
