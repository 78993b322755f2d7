//! `config.json`: reading a bundle's, and writing one to begin with.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxNamespace, LinuxNamespaceType, Spec};
use serde_json::{Value, json};

use super::OCI_VERSION;
use crate::error::{Context, Error, Kind, Result};
use crate::runtime::Bundle;

/// The name of the file in a bundle.
const NAME: &str = "config.json";

/// A bundle as it was read.
pub(super) struct Document {
    /// The file's text.
    pub(super) text: Vec<u8>,
    /// What it says.
    pub(super) spec: Spec,
    /// The bundle's directory.
    pub(super) bundle: PathBuf,
    /// The root directory.
    pub(super) rootfs: PathBuf,
}

impl Document {
    /// What hooks are told of a container that is made of it.
    pub(super) fn told_of<'a>(&'a self, id: &'a str) -> Bundle<'a> {
        Bundle { id, directory: &self.bundle, annotations: self.spec.annotations().as_ref() }
    }
}

/// Reads the configuration of a bundle.
pub(super) fn read(bundle: &Path) -> Result<Document> {
    let context = || format!("cannot use the bundle {}", bundle.display());
    let bundle = fs::canonicalize(bundle).context(context)?;
    let path = bundle.join(NAME);
    let text = match fs::read(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let message = format!("JSON specification file {NAME} not found");
            return Err(Error::new(Kind::NotFound, message)
                .hint("`barge runtime spec` writes one to begin with"));
        }
        other => other.context(|| format!("cannot read {}", path.display()))?,
    };
    let mut spec: Spec =
        serde_json::from_slice(&text).context(|| format!("cannot read {}", path.display()))?;
    check(&spec).context(|| format!("cannot use {}", path.display()))?;
    forget_empty_paths(&mut spec);
    let root = spec.root().as_ref().map(|root| root.path().clone()).unwrap_or_default();
    let rootfs = bundle.join(root);
    Ok(Document { text, spec, bundle, rootfs })
}

/// Refuses what cannot become a container.
fn check(spec: &Spec) -> Result<()> {
    let invalid = |text: &str| Err(Error::new(Kind::Invalid, text));
    if !spec.version().starts_with("1.") {
        return invalid("its ociVersion is not 1.x");
    }
    if spec.root().is_none() {
        return invalid("it names no root");
    }
    let Some(process) = spec.process() else { return invalid("it names no process") };
    if process.args().as_ref().is_none_or(Vec::is_empty) {
        return invalid("args must not be empty");
    }
    if !process.cwd().is_absolute() {
        return invalid("Cwd must be an absolute path");
    }
    Ok(())
}

/// Some write an empty path where they mean none.
fn forget_empty_paths(spec: &mut Spec) {
    let namespaces = spec.linux_mut().as_mut().and_then(|linux| linux.namespaces_mut().as_mut());
    for namespace in namespaces.into_iter().flatten() {
        if namespace.path().as_ref().is_some_and(|path| path.as_os_str().is_empty()) {
            namespace.set_path(None);
        }
    }
}

/// Returns the namespaces of a configuration.
pub(super) fn namespaces(spec: &Spec) -> &[LinuxNamespace] {
    let linux = spec.linux().as_ref();
    linux.and_then(|linux| linux.namespaces().as_deref()).unwrap_or_default()
}

/// Returns the namespace of a kind, if one is asked for.
pub(super) fn namespace(spec: &Spec, kind: LinuxNamespaceType) -> Option<&LinuxNamespace> {
    namespaces(spec).iter().find(|it| it.typ() == kind)
}

/// Writes a configuration to begin with: a shell in a terminal, as runc's.
pub fn example(dir: &Path) -> Result<()> {
    save(dir, &document())
}

/// As [`example`], for a user who is not root.
pub fn example_rootless(dir: &Path) -> Result<()> {
    let mut document = document();
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let map = |id: u32| json!([{"containerID": 0, "hostID": id, "size": 1}]);
    let linux = &mut document["linux"];
    linux["uidMappings"] = map(uid);
    linux["gidMappings"] = map(gid);
    linux["namespaces"] =
        ["pid", "ipc", "uts", "mount", "cgroup", "user"].map(|kind| json!({"type": kind})).into();
    if let Some(linux) = linux.as_object_mut() {
        linux.remove("resources");
    }
    if let Some(mounts) = document["mounts"].as_array_mut() {
        for mount in mounts.iter_mut() {
            // A group that is not mapped.
            if let Some(options) = mount["options"].as_array_mut() {
                options.retain(|option| option != "gid=5");
            }
            // The host's network goes with the host's /sys.
            if mount["destination"] == "/sys" {
                *mount = json!({
                    "destination": "/sys",
                    "type": "none",
                    "source": "/sys",
                    "options": ["rbind", "nosuid", "noexec", "nodev", "ro"],
                });
            }
        }
    }
    save(dir, &document)
}

fn save(dir: &Path, document: &Value) -> Result<()> {
    use std::io::Write;
    let path = dir.join(NAME);
    let context = || format!("cannot write {}", path.display());
    let text = serde_json::to_string_pretty(document).context(context)?;
    match fs::File::create_new(&path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            Err(Error::new(Kind::Conflict, format!("File {NAME} exists. Remove it first")))
        }
        other => other
            .and_then(|mut file| file.write_all(format!("{text}\n").as_bytes()))
            .context(context),
    }
}

fn document() -> Value {
    let capabilities = json!(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    let mount = |destination: &str, kind: &str, source: &str, options: &[&str]| {
        let mut entry = json!({"destination": destination, "type": kind, "source": source});
        if !options.is_empty() {
            entry["options"] = json!(options);
        }
        entry
    };
    let namespaces = ["pid", "network", "ipc", "uts", "mount", "cgroup"];
    let namespaces = namespaces.map(|kind| json!({"type": kind}));
    json!({
        "ociVersion": OCI_VERSION,
        "process": {
            "terminal": true,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": [
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                "TERM=xterm",
            ],
            "cwd": "/",
            "capabilities": {
                "bounding": capabilities,
                "effective": capabilities,
                "permitted": capabilities,
                "ambient": capabilities,
            },
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": true,
        },
        "root": {"path": "rootfs", "readonly": true},
        "hostname": "barge",
        "mounts": [
            mount("/proc", "proc", "proc", &[]),
            mount("/dev", "tmpfs", "tmpfs", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
            mount("/dev/pts", "devpts", "devpts", &[
                "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5",
            ]),
            mount("/dev/shm", "tmpfs", "shm", &[
                "nosuid", "noexec", "nodev", "mode=1777", "size=65536k",
            ]),
            mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
            mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
            mount("/sys/fs/cgroup", "cgroup", "cgroup", &[
                "nosuid", "noexec", "nodev", "relatime", "ro",
            ]),
        ],
        "linux": {
            "resources": {"devices": [{"allow": false, "access": "rwm"}]},
            "namespaces": namespaces,
            "maskedPaths": [
                "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
                "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware",
                "/proc/scsi",
            ],
            "readonlyPaths": [
                "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger",
            ],
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        for write in [example, example_rootless] {
            let dir = tempfile::tempdir().unwrap();
            write(dir.path()).unwrap();
            let document = read(dir.path()).unwrap();
            assert_eq!(document.rootfs, document.bundle.join("rootfs"));
            let again = write(dir.path()).unwrap_err();
            assert_eq!(again.to_string(), "File config.json exists. Remove it first");
        }
    }

    #[test]
    fn refuses_what_is_no_container() {
        let dir = tempfile::tempdir().unwrap();
        let why = |text: &str| {
            fs::write(dir.path().join(NAME), text).unwrap();
            read(dir.path()).err().map(|error| error.to_string()).unwrap_or_default()
        };
        for (text, want) in [
            ("{", "cannot read"),
            (r#"{"ociVersion":"2.0"}"#, "its ociVersion is not 1.x"),
            (r#"{"ociVersion":"1.0.2"}"#, "it names no root"),
            (r#"{"ociVersion":"1.0.2","root":{"path":"r"}}"#, "it names no process"),
            (
                r#"{"ociVersion":"1.0.2","root":{"path":"r"},"process":{"user":{"uid":0,"gid":0},"cwd":"/","args":[]}}"#,
                "args must not be empty",
            ),
            (
                r#"{"ociVersion":"1.0.2","root":{"path":"r"},"process":{"user":{"uid":0,"gid":0},"cwd":"x","args":["a"]}}"#,
                "Cwd must be an absolute path",
            ),
        ] {
            assert!(why(text).contains(want), "{text}: {}", why(text));
        }
        let missing = read(&dir.path().join("nowhere")).err().unwrap();
        assert_eq!(missing.kind(), Kind::NotFound);
    }

    #[test]
    fn an_empty_path_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let text = r#"{"ociVersion":"1.0.2","root":{"path":"/r"},
            "process":{"user":{"uid":0,"gid":0},"cwd":"/","args":["a"]},
            "linux":{"namespaces":[{"type":"pid","path":""},{"type":"network","path":"/n"}]}}"#;
        fs::write(dir.path().join(NAME), text).unwrap();
        let document = read(dir.path()).unwrap();
        assert_eq!(document.rootfs, Path::new("/r"));
        let paths: Vec<_> = namespaces(&document.spec).iter().map(|it| it.path().clone()).collect();
        assert_eq!(paths, [None, Some("/n".into())]);
    }
}
