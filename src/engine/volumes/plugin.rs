//! Volume plugins, by Docker's protocol: a process that answers HTTP on a socket, found by its name in
//! a few directories.
//!
//! A question is one POST by HTTP/1.0 with JSON both ways, so an answer ends where the stream does. A
//! plugin that does not answer is given up after some time, as locks of containers may be held.
//!
//! What a plugin has mounted for a container is noted in `plugins/VOLUME` of its run directory, before
//! it is asked, and where that is once it has said so: whoever ends the run tells the plugin, also after
//! a monitor was killed.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::engine::Engine;
use crate::error::{Context, Error, Kind, Result};
use crate::spec::id::ContainerId;
use crate::store::volume::Volume;
use crate::store::{Store, file};

/// How long a plugin may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// More is no answer.
const LARGEST: u64 = 16 << 20;

/// A volume plugin.
pub(super) struct Plugin {
    name: String,
    address: Address,
}

/// Where a plugin listens.
enum Address {
    Unix(PathBuf),
    /// Host and port.
    Tcp(String),
}

/// What a plugin says.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Answer {
    err: String,
    mountpoint: Option<PathBuf>,
    volume: Option<Known>,
    volumes: Option<Vec<Known>>,
}

/// A volume that a plugin knows.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Known {
    pub(super) name: String,
    pub(super) mountpoint: Option<PathBuf>,
    /// What else it says of it.
    pub(super) status: Option<Value>,
}

impl Plugin {
    /// Finds a plugin by its name.
    pub(super) fn find(name: &str) -> Result<Self> {
        // No file system has names that are longer.
        let good = (1..=250).contains(&name.len()) && !name.contains('/') && !name.starts_with('.');
        for dir in directories().iter().filter(|_| good) {
            let at =
                [dir.join(format!("{name}.sock")), dir.join(name).join(format!("{name}.sock"))];
            if let Some(socket) = at.into_iter().find(|path| path.exists()) {
                return Ok(Self { name: name.to_owned(), address: Address::Unix(socket) });
            }
            for ending in ["spec", "json"] {
                let path = dir.join(format!("{name}.{ending}"));
                let text = match fs::read_to_string(&path) {
                    // Those of the machine may be for root alone.
                    Err(error)
                        if matches!(
                            error.kind(),
                            ErrorKind::NotFound | ErrorKind::PermissionDenied
                        ) =>
                    {
                        continue;
                    }
                    text => text.context(|| format!("cannot read {}", path.display()))?,
                };
                let address = match ending {
                    "spec" => Address::parse(text.trim()),
                    _ => serde_json::from_str::<Value>(&text)
                        .ok()
                        .and_then(|value| Address::parse(value["Addr"].as_str()?)),
                };
                let address = address.ok_or_else(|| {
                    Error::new(Kind::Invalid, format!("{} has no address", path.display()))
                        .hint("write unix:///PATH or tcp://HOST:PORT")
                })?;
                return Ok(Self { name: name.to_owned(), address });
            }
        }
        Err(Error::new(
            Kind::NotFound,
            format!("error looking up volume plugin {name}: plugin \"{name}\" not found"),
        )
        .hint("its socket belongs into /run/docker/plugins; the driver `local` needs none"))
    }

    /// Returns the names of all plugins there seem to be.
    pub(super) fn all() -> Vec<String> {
        let mut names = Vec::new();
        for dir in directories() {
            // Most are not there.
            let Ok(entries) = fs::read_dir(&dir) else { continue };
            for entry in entries.flatten() {
                let path = entry.path();
                let is_plugin = path
                    .extension()
                    .is_some_and(|ending| ["sock", "spec", "json"].iter().any(|it| ending == *it));
                let stem = path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned);
                names.extend(stem.filter(|_| is_plugin || path.is_dir()));
            }
        }
        names.sort();
        names.dedup();
        names
    }

    pub(super) fn create(&self, name: &str, options: &BTreeMap<String, String>) -> Result<()> {
        self.ask("Create", &json!({ "Name": name, "Opts": options })).map(drop)
    }

    pub(super) fn remove(&self, name: &str) -> Result<()> {
        self.ask("Remove", &json!({ "Name": name })).map(drop)
    }

    pub(super) fn mount(&self, name: &str, id: &str) -> Result<PathBuf> {
        let answer = self.ask("Mount", &json!({ "Name": name, "ID": id }))?;
        let path = answer.mountpoint.filter(|path| path.is_absolute());
        path.ok_or_else(|| {
            let message = format!("volume plugin {} does not say where {name} is", self.name);
            Error::new(Kind::Internal, message)
        })
    }

    pub(super) fn unmount(&self, name: &str, id: &str) -> Result<()> {
        self.ask("Unmount", &json!({ "Name": name, "ID": id })).map(drop)
    }

    /// Returns what is known of a volume.
    pub(super) fn get(&self, name: &str) -> Result<Known> {
        let mut known = self.ask("Get", &json!({ "Name": name }))?.volume.unwrap_or_default();
        known.mountpoint = known.mountpoint.filter(|path| path.is_absolute());
        Ok(known)
    }

    pub(super) fn list(&self) -> Result<Vec<Known>> {
        Ok(self.ask("List", &json!({}))?.volumes.unwrap_or_default())
    }

    /// Tells whether it is one for volumes.
    pub(super) fn is_for_volumes(&self) -> Result<bool> {
        Ok(self.kinds()?.iter().any(|kind| kind == "VolumeDriver"))
    }

    /// Asks what it is for, as in `VolumeDriver`.
    fn kinds(&self) -> Result<Vec<String>> {
        let answer: Value = self.post("/Plugin.Activate", &json!({}))?;
        let kinds = answer["Implements"].as_array().map_or(&[][..], Vec::as_slice);
        Ok(kinds.iter().filter_map(Value::as_str).map(str::to_owned).collect())
    }

    fn ask(&self, verb: &str, question: &Value) -> Result<Answer> {
        let context = || {
            let about = question["Name"].as_str().unwrap_or("its volumes");
            format!("volume plugin {}: {} {about}", self.name, verb.to_lowercase())
        };
        let value = self.post(&format!("/VolumeDriver.{verb}"), question);
        // Whatever is not there, it is not the volume.
        let value = value.map_err(|error| error.within(context()).kind_is(Kind::Unavailable))?;
        let answer: Answer = serde_json::from_value(value)
            .context(|| "it gives an answer of another form")
            .context(context)?;
        match answer.err.as_str() {
            "" => Ok(answer),
            text => Err(Error::new(Kind::Internal, text.to_owned()).within(context())),
        }
    }

    fn post(&self, path: &str, question: &Value) -> Result<Value> {
        match &self.address {
            Address::Unix(socket) => {
                let context = || format!("cannot reach {}", socket.display());
                let stream = UnixStream::connect(socket).context(context)?;
                exchange(Patient::new(stream, PATIENCE), path, question)
            }
            Address::Tcp(host) => {
                let context = || format!("cannot reach {host}");
                let mut stream = Err(ErrorKind::NotFound.into());
                for address in host.to_socket_addrs().context(context)? {
                    stream = TcpStream::connect_timeout(&address, PATIENCE);
                    if stream.is_ok() {
                        break;
                    }
                }
                exchange(Patient::new(stream.context(context)?, PATIENCE), path, question)
            }
        }
    }
}

impl Address {
    fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once("://")?;
        match kind {
            "unix" if rest.starts_with('/') => Some(Self::Unix(rest.into())),
            "tcp" | "http" if rest.contains(':') => {
                Some(Self::Tcp(rest.trim_end_matches('/').to_owned()))
            }
            _ => None,
        }
    }
}

/// A plugin that seems to be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundPlugin {
    /// Its name, as drivers are named.
    pub name: String,
    /// Its socket, or its host and port.
    pub address: String,
    /// What it is for, as in `VolumeDriver`; `None` if it does not answer.
    pub kinds: Option<Vec<String>>,
}

/// Looks for plugins, and asks each what it is for.
pub fn plugins() -> Vec<FoundPlugin> {
    let found = |name: String| {
        // What has no address is none.
        let plugin = Plugin::find(&name).ok()?;
        let address = match &plugin.address {
            Address::Unix(path) => path.display().to_string(),
            Address::Tcp(host) => host.clone(),
        };
        Some(FoundPlugin { name, address, kinds: plugin.kinds().ok() })
    };
    Plugin::all().into_iter().filter_map(found).collect()
}

/// Where plugins are looked for: this machine's, the user's own.
fn directories() -> Vec<PathBuf> {
    let own = |variable: &str| std::env::var_os(variable).map(PathBuf::from);
    let user = [own("XDG_RUNTIME_DIR"), own("XDG_CONFIG_HOME")];
    let user = user.into_iter().flatten().filter(|dir| dir.is_absolute());
    ["/run", "/etc", "/usr/lib"]
        .iter()
        .map(PathBuf::from)
        .chain(user)
        .map(|dir| dir.join("docker/plugins"))
        .collect()
}

/// A connection that is given up after some time, however much has come by then.
struct Patient<S> {
    stream: S,
    until: Instant,
}

/// Connections of which the next call can be given a time.
trait Limit {
    fn limit(&self, time: Duration) -> std::io::Result<()>;
}

impl Limit for UnixStream {
    fn limit(&self, time: Duration) -> std::io::Result<()> {
        self.set_read_timeout(Some(time))?;
        self.set_write_timeout(Some(time))
    }
}

impl Limit for TcpStream {
    fn limit(&self, time: Duration) -> std::io::Result<()> {
        self.set_read_timeout(Some(time))?;
        self.set_write_timeout(Some(time))
    }
}

impl<S: Limit> Patient<S> {
    fn new(stream: S, patience: Duration) -> Self {
        Self { stream, until: Instant::now() + patience }
    }

    fn limit(&self) -> std::io::Result<()> {
        let left = self.until.saturating_duration_since(Instant::now());
        match left.is_zero() {
            true => Err(ErrorKind::TimedOut.into()),
            false => self.stream.limit(left),
        }
    }
}

impl<S: Limit + Read> Read for Patient<S> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.limit()?;
        self.stream.read(buffer).map_err(too_late)
    }
}

impl<S: Limit + Write> Write for Patient<S> {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        self.limit()?;
        self.stream.write(data).map_err(too_late)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.stream.flush()
    }
}

/// Says it as it is: the socket itself says that nothing is there now.
fn too_late(error: std::io::Error) -> std::io::Error {
    match error.kind() {
        ErrorKind::WouldBlock => ErrorKind::TimedOut.into(),
        _ => error,
    }
}

/// Sends a question and reads the answer.
fn exchange(mut stream: impl Read + Write, path: &str, question: &Value) -> Result<Value> {
    let context = || "cannot talk to it";
    let body = question.to_string();
    let kind = "application/vnd.docker.plugins.v1.1+json";
    let head = format!(
        "POST {path} HTTP/1.0\r\nHost: plugin\r\nAccept: {kind}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).context(context)?;
    stream.write_all(body.as_bytes()).context(context)?;
    let mut answer = Vec::new();
    stream.take(LARGEST).read_to_end(&mut answer).context(context)?;
    let strange = || Error::new(Kind::Internal, "it does not answer in the way of a plugin");
    let end = answer.windows(4).position(|part| part == b"\r\n\r\n").ok_or_else(strange)?;
    let (head, body) = (String::from_utf8_lossy(&answer[..end]), &answer[end + 4..]);
    let status = head.split(' ').nth(1).and_then(|code| code.parse::<u16>().ok());
    let value = serde_json::from_slice::<Value>(body);
    match (status.ok_or_else(strange)?, value) {
        (200..=299, Ok(value)) => Ok(value),
        (200..=299, Err(_)) if body.iter().all(u8::is_ascii_whitespace) => Ok(json!({})),
        // Errors come with a status of their own, and a text.
        (_, Ok(value)) if value["Err"].is_string() => Ok(value),
        (status, _) => Err(strange().caused_by(format!("status {status}"))),
    }
}

impl Engine {
    /// Has a plugin mount a volume for a container, until its run ends.
    pub(super) fn mount_by_plugin(&self, id: &ContainerId, volume: &Volume) -> Result<PathBuf> {
        let plugin = Plugin::find(&volume.spec.driver)?;
        let marks = self.marks(id);
        file::create_dirs(&marks, 0o700)?;
        let mark = marks.join(&volume.name);
        let driver = &volume.spec.driver;
        file::write_volatile(&mark, driver.as_bytes())?;
        let place = plugin.mount(&volume.name, id.as_str())?;
        file::write_volatile(&mark, format!("{driver}\n{}", place.display()).as_bytes())?;
        Ok(place)
    }

    /// Tells plugins that a container does not need its volumes any more.
    pub(in crate::engine) fn release_volumes(&self, id: &ContainerId) -> Result<()> {
        let marks = self.marks(id);
        let context = || format!("cannot list {}", marks.display());
        let entries = match fs::read_dir(&marks) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            other => other.context(context)?,
        };
        for entry in entries {
            let path = entry.context(context)?.path();
            let text = fs::read_to_string(&path).unwrap_or_default();
            let driver = text.lines().next().unwrap_or_default();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            // One that is gone, or has forgotten it, has nothing to be told.
            drop(Plugin::find(driver).and_then(|plugin| plugin.unmount(name, id.as_str())));
            file::remove_file(&path)?;
        }
        fs::remove_dir(&marks).context(|| format!("cannot remove {}", marks.display()))
    }

    fn marks(&self, id: &ContainerId) -> PathBuf {
        marks_of(&self.store, id)
    }
}

/// Returns what a plugin says of a volume; nothing if it does not answer.
pub(super) fn ask_of(volume: &Volume) -> Known {
    Plugin::find(&volume.spec.driver).and_then(|it| it.get(&volume.name)).unwrap_or_default()
}

/// Returns where a volume of a plugin is mounted for a container, as far as it runs.
pub fn place_for(store: &Store, id: &ContainerId, name: &str) -> Option<String> {
    let text = fs::read_to_string(marks_of(store, id).join(name)).ok()?;
    text.split_once('\n').map(|(_, place)| place.to_owned())
}

fn marks_of(store: &Store, id: &ContainerId) -> PathBuf {
    store.containers().run_dir(id).join("plugins")
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    struct Said(Cursor<Vec<u8>>);

    impl Read for Said {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            self.0.read(buffer)
        }
    }

    impl Write for Said {
        fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
            Ok(data.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn understands_answers() {
        for (said, want) in [
            ("HTTP/1.0 200 OK\r\nA: b\r\n\r\n{\"Err\":\"\"}", Some(json!({ "Err": "" }))),
            ("HTTP/1.1 500 No\r\n\r\n{\"Err\":\"why\"}", Some(json!({ "Err": "why" }))),
            ("HTTP/1.0 204 None\r\n\r\n", Some(json!({}))),
            ("HTTP/1.0 404 Not Found\r\n\r\nnothing", None),
            ("HTTP/1.0 200 OK\r\n\r\nnothing", None),
            ("nothing", None),
            ("", None),
        ] {
            let stream = Said(Cursor::new(said.as_bytes().to_vec()));
            assert_eq!(exchange(stream, "/x", &json!({})).ok(), want, "{said}");
        }
    }

    #[test]
    fn who_answers_too_slowly_is_given_up() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        // A little comes all the time.
        let talk = std::thread::spawn(move || while theirs.write_all(b"x").is_ok() {});
        let patience = Duration::from_millis(50);
        let mut stream = Patient::new(ours, patience);
        let begin = Instant::now();
        let error = std::io::copy(&mut stream, &mut std::io::sink()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(begin.elapsed() >= patience);
        drop(stream);
        talk.join().unwrap();
    }

    #[test]
    fn understands_addresses() {
        for (text, good) in [
            ("unix:///run/x.sock", true),
            ("tcp://localhost:8080", true),
            ("unix://x", false),
            ("tcp://host", false),
            ("/run/x.sock", false),
        ] {
            assert_eq!(Address::parse(text).is_some(), good, "{text}");
        }
    }
}
