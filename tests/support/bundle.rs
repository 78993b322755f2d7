//! A bundle of the OCI's and the containers that the runtime makes of it.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::process::Invocation;
use super::{Barge, Output, fixture, is_root, tool, wait_until};

/// A bundle of busybox, with a root directory of the runtime for its containers. Dropping it deletes them.
pub(crate) struct Bundle<'a> {
    barge: &'a Barge,
    directory: PathBuf,
    /// What is called instead of `barge runtime`.
    other: Option<&'static str>,
}

impl<'a> Bundle<'a> {
    /// Makes a bundle with the configuration that `spec` writes, without a terminal.
    pub(crate) fn new(barge: &'a Barge) -> Self {
        let bundle = Self { barge, directory: barge.path("bundle"), other: None };
        let root = bundle.directory.join("rootfs");
        fs::create_dir_all(&root).expect("there is space");
        let root = root.to_string_lossy();
        tool("tar", ["-C", &root, "-xf", &fixture::busybox().to_string_lossy()]);
        let mut line = vec!["spec", "--bundle", bundle.path()];
        if !is_root() {
            line.push("--rootless");
        }
        bundle.run(line).ok();
        let group = bundle.group();
        bundle.edit(|config| {
            config["process"]["terminal"] = json!(false);
            config["linux"]["cgroupsPath"] = json!(group);
        });
        bundle
    }

    /// Returns the name of its containers' control group, which no other test has.
    fn group(&self) -> String {
        let directory = self.barge.directory().file_name().expect("it has one");
        directory.to_string_lossy().into_owned()
    }

    /// Counts the control groups of its containers.
    pub(crate) fn groups(&self) -> usize {
        self.group_paths().len()
    }

    /// Returns the directories of its containers' control groups that are there.
    pub(crate) fn group_paths(&self) -> Vec<PathBuf> {
        let mounts = super::leaks::cgroup_mounts().into_iter();
        let paths = mounts.map(|mount| mount.join("barge").join(self.group()));
        paths.filter(|path| path.exists()).collect()
    }

    /// The same bundle for another runtime.
    pub(crate) fn of(&self, runtime: &'static str) -> Self {
        Self { barge: self.barge, directory: self.directory.clone(), other: Some(runtime) }
    }

    /// Returns its directory.
    pub(crate) fn path(&self) -> &str {
        self.directory.to_str().expect("the names are ours")
    }

    /// Changes its configuration.
    pub(crate) fn edit(&self, change: impl FnOnce(&mut Value)) {
        let path = self.directory.join("config.json");
        let text = fs::read(&path).expect("it is there");
        let mut config = serde_json::from_slice(&text).expect("it is JSON");
        change(&mut config);
        fs::write(&path, config.to_string()).expect("there is space");
    }

    /// Sets what its containers run.
    pub(crate) fn command(&self, words: &[&str]) {
        self.edit(|config| config["process"]["args"] = json!(words));
    }

    /// Sets a shell script that its containers run.
    pub(crate) fn script(&self, script: &str) {
        self.command(&["sh", "-c", script]);
    }

    /// Prepares a command line of the runtime's.
    pub(crate) fn prepare(&self, line: impl IntoIterator<Item: AsRef<str>>) -> Invocation {
        let (program, words) = self.words(line);
        self.barge.other_command(program, words).within(&self.directory)
    }

    /// Runs a command line of the runtime's.
    pub(crate) fn run(&self, line: impl IntoIterator<Item: AsRef<str>>) -> Output {
        self.prepare(line).run()
    }

    /// Prepares a command line after which a container is left with our standard streams: what it
    /// writes goes to the file `output`.
    pub(crate) fn prepare_leaving(&self, line: impl IntoIterator<Item: AsRef<str>>) -> Invocation {
        let (program, words) = self.words(line);
        let script = "out=$1 err=$2; shift 2; \"$@\" </dev/null >>\"$out\" 2>\"$err\"; \
                      status=$?; cat \"$err\" >&2; exit $status";
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let errors = self.barge.path_text(&format!("errors-{number}"));
        let head =
            ["-c", script, "sh", &self.barge.path_text("output"), &errors].map(str::to_owned);
        let all = head.into_iter().chain([program]).chain(words);
        self.barge.other_command("sh", all).within(&self.directory)
    }

    /// Runs such a command line.
    pub(crate) fn leave(&self, line: impl IntoIterator<Item: AsRef<str>>) -> Output {
        self.prepare_leaving(line).run()
    }

    /// Returns what containers that were left have written.
    pub(crate) fn output(&self) -> String {
        fs::read_to_string(self.barge.path("output")).unwrap_or_default()
    }

    /// Returns that, and forgets it.
    pub(crate) fn take_output(&self) -> String {
        let text = self.output();
        drop(fs::write(self.barge.path("output"), ""));
        text
    }

    /// Waits until they have written this.
    #[track_caller]
    pub(crate) fn await_output(&self, text: &str) {
        wait_until(&format!("the output is `{text}`"), || self.output().contains(text));
    }

    /// Returns the state of a container.
    #[track_caller]
    pub(crate) fn state(&self, id: &str) -> Value {
        self.run(["state", id]).ok().json()
    }

    /// Waits until a container has this status.
    #[track_caller]
    pub(crate) fn await_status(&self, id: &str, status: &str) {
        wait_until(&format!("{id} is {status}"), || self.state(id)["status"] == status);
    }

    /// The directory where its containers are on record.
    pub(crate) fn root(&self) -> PathBuf {
        self.barge.path(self.other.unwrap_or("runtime"))
    }

    fn words(&self, line: impl IntoIterator<Item: AsRef<str>>) -> (String, Vec<String>) {
        let root = self.root().to_string_lossy().into_owned();
        let (program, mut words) = match self.other {
            Some(other) => (other.to_owned(), Vec::new()),
            None => {
                let program = self.barge.program().to_string_lossy().into_owned();
                (program, vec!["runtime".to_owned()])
            }
        };
        words.extend(["--root".to_owned(), root]);
        words.extend(line.into_iter().map(|word| word.as_ref().to_owned()));
        (program, words)
    }
}

impl Drop for Bundle<'_> {
    fn drop(&mut self) {
        let root = self.root();
        for entry in fs::read_dir(Path::new(&root)).into_iter().flatten().flatten() {
            let id = entry.file_name().to_string_lossy().into_owned();
            // A test that deletes says so itself; this is for those that fail.
            drop(self.run(["delete", "--force", &id]));
        }
    }
}
