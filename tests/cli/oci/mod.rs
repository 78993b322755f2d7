//! Configurations of the OCI runtime specification, and what a container then sees: a table.
//!
//! Each case changes a plain configuration, runs the probe by it (see `tests/probe`), and compares
//! what the probe tells with what was asked for. All are run by `barge runtime run`; where runc is
//! installed, by runc as well, which proves the cases. Those that runc of Debian 12 knows nothing of
//! are marked.

mod attacks;
mod mounts;
mod namespaces;
mod process;
mod resources;
mod seccomp;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::support::probe::probe;
use super::support::{Barge, Need, needs, tool};

/// A configuration, and what is to be seen.
pub(super) struct Case {
    name: String,
    /// Merged into the plain configuration. A key that ends in `+` adds to a list.
    change: Value,
    wants: Vec<(String, Want)>,
    fails: Option<String>,
    /// Whether runc can be asked, too.
    peer: bool,
    /// Whether runc succeeds where barge is to fail, or the other way round.
    differs: bool,
}

enum Want {
    Is(Value),
    Has(String),
    LikeHost,
    UnlikeHost,
}

/// Begins a case.
pub(super) fn case(name: impl Into<String>, change: Value) -> Case {
    let name = name.into();
    Case { name, change, wants: Vec::new(), fails: None, peer: true, differs: false }
}

impl Case {
    /// Has the probe answer questions, instead of telling everything.
    pub(super) fn asks(mut self, questions: &[&str]) -> Self {
        let words: Vec<&str> = ["/probe"].iter().chain(questions).copied().collect();
        merge(&mut self.change, &json!({"process": {"args": words}}));
        self
    }

    /// What is to be seen at a place of what the probe tells, as a JSON pointer.
    pub(super) fn sees(mut self, place: &str, value: impl Into<Value>) -> Self {
        self.wants.push((place.to_owned(), Want::Is(value.into())));
        self
    }

    /// What is to be a part of the text at that place.
    pub(super) fn has(mut self, place: &str, text: &str) -> Self {
        self.wants.push((place.to_owned(), Want::Has(text.to_owned())));
        self
    }

    /// It is as outside of the container.
    pub(super) fn like_host(mut self, place: &str) -> Self {
        self.wants.push((place.to_owned(), Want::LikeHost));
        self
    }

    /// It is not as outside of the container.
    pub(super) fn unlike_host(mut self, place: &str) -> Self {
        self.wants.push((place.to_owned(), Want::UnlikeHost));
        self
    }

    /// There is to be no container, and this is said of it. runc says it in other words.
    pub(super) fn fails(mut self, text: &str) -> Self {
        self.fails = Some(text.to_owned());
        self
    }

    /// runc of Debian 12 does not know this part of the specification.
    pub(super) fn without_peer(mut self) -> Self {
        self.peer = false;
        self
    }

    /// runc lets this pass, and should not.
    pub(super) fn unlike_peer(mut self) -> Self {
        self.differs = true;
        self
    }
}

/// Where cases are run: a store's directory with a root file system that has the probe.
pub(super) struct Stage {
    pub(super) barge: Barge,
    host: Value,
}

impl Stage {
    /// Makes one.
    pub(super) fn new() -> Self {
        let barge = Barge::new();
        let root = barge.path("rootfs");
        let places = ["proc", "dev", "sys", "tmp", "etc", "mnt", "mnt/below", "data", "data/below"];
        fs::create_dir(&root).unwrap();
        for place in places {
            fs::create_dir(root.join(place)).unwrap();
        }
        fs::write(root.join("etc/file"), "of the image\n").unwrap();
        fs::write(root.join("data/file"), "data of the image\n").unwrap();
        tool("cp", [&*probe().to_string_lossy(), &*root.join("probe").to_string_lossy()]);
        fs::create_dir(barge.path("volume")).unwrap();
        fs::write(barge.path("volume/file"), "of the volume\n").unwrap();
        let host = barge.other_command(root.join("probe"), ["self"]).run().ok().json();
        Self { barge, host: host[0].clone() }
    }

    /// Returns the configuration that cases change.
    pub(super) fn plain(&self, id: &str) -> Value {
        let usual = ["nosuid", "noexec", "nodev"];
        let capabilities = ["CAP_CHOWN", "CAP_KILL", "CAP_MKNOD", "CAP_SETPCAP"];
        let kinds = ["pid", "network", "ipc", "uts", "mount"].map(|kind| json!({ "type": kind }));
        json!({
            "ociVersion": "1.0.2",
            "root": {"path": self.barge.path("rootfs")},
            "hostname": "box",
            "process": {
                "args": ["/probe"],
                "cwd": "/",
                "env": ["PATH=/"],
                "user": {"uid": 0, "gid": 0},
                "capabilities": {
                    "bounding": capabilities,
                    "effective": capabilities,
                    "permitted": capabilities,
                },
            },
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {
                    "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
                    "options": ["nosuid", "strictatime", "mode=755", "size=65536k"],
                },
                {
                    "destination": "/dev/pts", "type": "devpts", "source": "devpts",
                    "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"],
                },
                {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": usual},
            ],
            "linux": {
                "cgroupsPath": format!("/{id}"),
                "namespaces": kinds,
                "resources": {"devices": [{"allow": false, "access": "rwm"}]},
            },
        })
    }

    /// Runs a configuration; returns what was written, or why there was nothing.
    pub(super) fn run(
        &self,
        runtime: &Runtime,
        id: &str,
        config: &Value,
    ) -> Result<String, String> {
        let bundle = self.barge.path(id);
        fs::create_dir_all(&bundle).unwrap();
        fs::write(bundle.join("config.json"), config.to_string()).unwrap();
        let state = self.barge.path_text(&format!("state-{}", runtime.name()));
        let bundle = bundle.to_string_lossy();
        let words = ["--root", &state, "run", "--bundle", &bundle, id];
        let output = match runtime {
            Runtime::Barge => {
                let words = [&["runtime"], &words[..]].concat();
                self.barge.other_command(self.barge.program(), words).run()
            }
            Runtime::Runc => self.barge.other_command("runc", words).run(),
        };
        match output.status {
            0 => Ok(output.text()),
            _ => Err(format!("{} {}", output.text(), output.errors())),
        }
    }

    /// Runs cases; fails with all that is not as it should be.
    #[track_caller]
    pub(super) fn all(&self, area: &str, cases: Vec<Case>) {
        let runtimes = [Some(Runtime::Barge), has_runc().then_some(Runtime::Runc)];
        let mut wrong = Vec::new();
        let own = self.barge.directory().file_name().unwrap().to_string_lossy().into_owned();
        for (number, case) in cases.iter().enumerate() {
            for runtime in runtimes.iter().flatten() {
                if *runtime == Runtime::Runc && !case.peer {
                    continue;
                }
                let id = format!("{own}-{area}-{number}-{}", runtime.name());
                let mut config = self.plain(&id);
                merge(&mut config, &self.placed(&case.change));
                let result = self.run(runtime, &id, &config);
                if let Err(text) = self.compare(runtime, case, result) {
                    wrong.push(format!("{} ({}): {text}", case.name, runtime.name()));
                }
            }
        }
        assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    }

    /// Puts the directory of this stage where a configuration says `$DIR`.
    fn placed(&self, change: &Value) -> Value {
        let text = change.to_string().replace("$DIR", &self.barge.directory().to_string_lossy());
        serde_json::from_str(&text).unwrap()
    }

    fn compare(
        &self,
        runtime: &Runtime,
        case: &Case,
        result: Result<String, String>,
    ) -> Result<(), String> {
        if case.differs && *runtime == Runtime::Runc {
            return match (result, &case.fails) {
                (Ok(_), Some(_)) | (Err(_), None) => Ok(()),
                _ => Err("it does not differ".to_owned()),
            };
        }
        let told = match (result, &case.fails) {
            (Err(text), Some(want)) => {
                return match *runtime == Runtime::Runc || text.contains(want) {
                    true => Ok(()),
                    false => Err(format!("said `{text}`, not `{want}`")),
                };
            }
            (Ok(text), Some(_)) => return Err(format!("did not fail: {text:.200}")),
            (Err(text), None) => return Err(text),
            (Ok(text), None) => text,
        };
        let told: Value = serde_json::from_str(&told).map_err(|it| format!("{it}: {told:.300}"))?;
        for (place, want) in &case.wants {
            let seen = told.pointer(place).unwrap_or(&Value::Null);
            let host = self.host.pointer(place).unwrap_or(&Value::Null);
            let (good, want) = match want {
                Want::Is(value) => (seen == value, value.to_string()),
                Want::Has(text) => {
                    let found = seen.as_str().is_some_and(|seen| seen.contains(text.as_str()));
                    (found, format!("something with {text}"))
                }
                Want::LikeHost => (seen == host, host.to_string()),
                Want::UnlikeHost => (seen != host && !seen.is_null(), format!("not {host}")),
            };
            if !good {
                return Err(format!("{place} is {seen}, not {want}"));
            }
        }
        Ok(())
    }
}

/// Who runs a case.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Runtime {
    Barge,
    Runc,
}

impl Runtime {
    fn name(self) -> &'static str {
        match self {
            Self::Barge => "barge",
            Self::Runc => "runc",
        }
    }
}

fn has_runc() -> bool {
    ["/usr/sbin/runc", "/usr/bin/runc"].iter().any(|path| Path::new(path).exists())
}

/// Merges as RFC 7396 says, but that a key with a `+` adds to a list.
fn merge(whole: &mut Value, change: &Value) {
    let Value::Object(fields) = change else {
        *whole = change.clone();
        return;
    };
    if !whole.is_object() {
        *whole = json!({});
    }
    for (key, value) in fields {
        match key.strip_suffix('+') {
            Some(key) => {
                let list = &mut whole[key];
                if list.is_null() {
                    *list = json!([]);
                }
                let list = list.as_array_mut().expect("what is added to is a list");
                list.extend(value.as_array().expect("a list is added").iter().cloned());
            }
            None if value.is_null() => {
                whole.as_object_mut().unwrap().remove(key);
            }
            None => merge(&mut whole[key.as_str()], value),
        }
    }
}

/// Tells whether the cases can be run here.
fn can() -> bool {
    needs(&[Need::Root])
}

/// A path of the host that a case names.
fn path_of(stage: &Stage, name: &str) -> PathBuf {
    stage.barge.path(name)
}
