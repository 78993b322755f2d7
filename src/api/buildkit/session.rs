//! What a client has for its builds: it keeps a connection open on which we call it.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use prost::Message;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

use super::blobs::{self, Blobs};
use super::files;
use super::message::session::{
    CheckAgentRequest, GetSecretRequest, GetSecretResponse, LoginRequest, LoginResponse,
};
use super::message::{BytesMessage, Empty};
use super::rpc::{Answer, Channel, Code, Messages, Outgoing, Status};
use crate::error::{Context, Error, Kind, Result};

/// How long a build waits for the session that it names.
const PATIENCE: Duration = Duration::from_secs(10);

/// Header fields of a session.
const ID: &str = "x-docker-expose-session-uuid";
const SHARED_KEY: &str = "x-docker-expose-session-sharedkey";
const METHOD: &str = "x-docker-expose-session-grpc-method";

/// What clients can be asked for.
const FILES: &str = "/moby.filesync.v1.FileSync/DiffCopy";
const SEND: &str = "/moby.filesync.v1.FileSend/DiffCopy";
const SECRET: &str = "/moby.buildkit.secrets.v1.Secrets/GetSecret";
const CHECK_AGENT: &str = "/moby.sshforward.v1.SSH/CheckAgent";
const AGENT: &str = "/moby.sshforward.v1.SSH/ForwardAgent";
const LOGIN: &str = "/moby.filesync.v1.Auth/Credentials";
const UPLOAD: &str = "/moby.upload.v1.Upload/Pull";

/// All sessions, by their names.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    known: Mutex<BTreeMap<String, Arc<Session>>>,
    changes: watch::Sender<()>,
}

/// One client's session.
#[derive(Debug)]
pub(super) struct Session {
    channel: Channel,
    /// What the client can be asked for, in small letters.
    methods: HashSet<String>,
    /// What builds of the same directory have in common.
    pub(super) shared_key: String,
}

impl Sessions {
    /// Talks with a client as long as it is there.
    pub(super) async fn serve<T>(&self, io: T, headers: &HeaderMap) -> Result<(), Status>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let id = text(ID).unwrap_or_default().to_owned();
        if id.is_empty() {
            return Err(Status::new(Code::InvalidArgument, "the session has no name"));
        }
        let methods = headers.get_all(METHOD).iter();
        let methods = methods.filter_map(|value| Some(value.to_str().ok()?.to_lowercase()));
        let (channel, connection) = Channel::open(io).await?;
        let session = Arc::new(Session {
            channel,
            methods: methods.collect(),
            shared_key: text(SHARED_KEY).unwrap_or_default().to_owned(),
        });
        self.lock().insert(id.clone(), Arc::clone(&session));
        self.changes.send_replace(());
        let ended = connection.await;
        let mut known = self.lock();
        // Another one may have taken the name.
        if known.get(&id).is_some_and(|it| Arc::ptr_eq(it, &session)) {
            known.remove(&id);
        }
        ended
    }

    /// Finds a session, and waits for one that is about to begin.
    pub(super) async fn find(&self, id: &str) -> Result<Arc<Session>> {
        // What is before the colon tells apart what is cached of it.
        let id = id.split_once(':').map_or(id, |(_, id)| id);
        let mut changes = self.changes.subscribe();
        let found = async {
            loop {
                if let Some(session) = self.get(id) {
                    return Some(session);
                }
                changes.changed().await.ok()?;
            }
        };
        let found = tokio::time::timeout(PATIENCE, found).await.ok().flatten();
        found.ok_or_else(|| Error::new(Kind::NotFound, format!("no active session for {id}")))
    }

    fn get(&self, id: &str) -> Option<Arc<Session>> {
        self.lock().get(id).cloned()
    }

    /// Returns how many there are.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Arc<Session>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which files a client is asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted<'a> {
    /// What the client calls the directory.
    pub(super) directory: &'a str,
    /// These paths, with what links on the way lead to; all if there are none.
    pub(super) paths: Vec<String>,
    /// Patterns of what is left out.
    pub(super) exclude: Vec<String>,
}

impl Wanted<'_> {
    fn metadata(&self) -> Result<Vec<(HeaderName, HeaderValue)>> {
        let mut metadata = Vec::new();
        add(&mut metadata, "dir-name", [self.directory])?;
        add(&mut metadata, "followpaths", &self.paths)?;
        add(&mut metadata, "exclude-patterns", &self.exclude)?;
        Ok(metadata)
    }
}

/// Adds values; if one could not travel as it is, all are escaped, and it is said that they are.
fn add(
    metadata: &mut Vec<(HeaderName, HeaderValue)>,
    name: &'static str,
    values: impl IntoIterator<Item = impl AsRef<str>>,
) -> Result<()> {
    let values: Vec<_> = values.into_iter().collect();
    let is_plain = |text: &str| text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    let escaped = !values.iter().all(|value| is_plain(value.as_ref()));
    for value in &values {
        let text = match escaped {
            true => escape(value.as_ref()),
            false => value.as_ref().to_owned(),
        };
        let value = HeaderValue::from_str(&text)
            .map_err(|_| Error::new(Kind::Invalid, format!("`{text}` cannot be sent")))?;
        metadata.push((HeaderName::from_static(name), value));
    }
    if escaped {
        let name = HeaderName::from_bytes(format!("{name}-encoded").as_bytes());
        let name = name.map_err(|_| Error::new(Kind::Internal, "no name of a header field"))?;
        metadata.push((name, HeaderValue::from_static("1")));
    }
    Ok(())
}

/// Writes text as in queries of addresses.
fn escape(text: &str) -> String {
    let escaped = text.bytes().map(|byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    });
    escaped.collect()
}

impl Session {
    /// Tells whether the client can be asked for something.
    fn supports(&self, method: &str) -> bool {
        self.methods.contains(&method.to_lowercase())
    }

    /// Takes files of the client into a directory, in which some of them may be from before. Returns how
    /// many bytes have come.
    pub(super) async fn fetch(&self, wanted: &Wanted<'_>, target: &Path) -> Result<u64> {
        let name = wanted.directory;
        if !self.supports(FILES) {
            let text = format!("the client does not give the directory `{name}`");
            return Err(Error::new(Kind::NotFound, text));
        }
        let context = || format!("cannot get the directory `{name}` from the client");
        let metadata = wanted.metadata()?;
        let begun = self.channel.stream(FILES, &metadata).await.map_err(Error::from);
        let (mut outgoing, mut answer) = begun.context(context)?;
        let received = files::receive(&mut outgoing, &mut answer, target).await.context(context)?;
        answer.end(&mut outgoing).await.map_err(Error::from).context(context)?;
        Ok(received)
    }

    /// Opens the way to a directory or a file that the client has for a result, by the result's number.
    pub(super) async fn send(
        &self,
        exporter: usize,
        facts: &[(&str, String)],
    ) -> Result<(Outgoing, Answer)> {
        if !self.supports(SEND) {
            return Err(Error::new(Kind::NotFound, "the client has no place for the result"));
        }
        let mut metadata = Vec::new();
        add(&mut metadata, "buildkit-attachable-exporter-id", [exporter.to_string()])?;
        for (name, value) in facts {
            let name = HeaderName::from_bytes(format!("exporter-md-{name}").as_bytes());
            let value = HeaderValue::from_str(value);
            if let (Ok(name), Ok(value)) = (name, value) {
                metadata.push((name, value));
            }
        }
        Ok(self.channel.stream(SEND, &metadata).await?)
    }

    /// Takes what the client uploads at an address of its own into a file. Returns how many bytes it is.
    pub(super) async fn upload(&self, path: &str, file: std::fs::File) -> Result<u64> {
        let context = || "cannot get the build context from the client";
        let mut metadata = Vec::new();
        add(&mut metadata, "urlpath", [path])?;
        add(&mut metadata, "urlhost", ["buildkit-session"])?;
        let begun = self.channel.stream(UPLOAD, &metadata).await.map_err(Error::from);
        let (mut outgoing, mut answer) = begun.context(context)?;
        outgoing.close().map_err(Error::from).context(context)?;
        let data = |piece: BytesMessage| piece.data;
        files::receive_bytes(&mut answer, file, data).await.context(context)
    }

    /// Opens a store of blobs that the client has, by what the client calls it.
    pub(super) fn blobs(&self, name: &str) -> Result<Blobs<'_>> {
        if !self.supports(blobs::READ) || !self.supports(blobs::WRITE) {
            return Err(Error::new(Kind::NotFound, format!("the client does not give `{name}`")));
        }
        // It is a path in it that may have any letters, and nobody takes escapes back there.
        let value = HeaderValue::from_bytes(name.as_bytes())
            .map_err(|_| Error::new(Kind::Invalid, format!("`{name}` cannot be sent")))?;
        Ok(Blobs::new(&self.channel, (HeaderName::from_static(blobs::STORE), value)))
    }

    /// Asks for a secret.
    pub(super) async fn secret(&self, id: &str) -> Result<Option<Vec<u8>>> {
        if !self.supports(SECRET) {
            return Ok(None);
        }
        let request = GetSecretRequest { id: id.to_owned() };
        let found = self.ask::<GetSecretResponse>(SECRET, &request).await;
        let context = || format!("cannot get secret `{id}` from the client");
        found.map(|found| found.map(|secret| secret.data)).context(context)
    }

    /// Asks who the client is to a registry: user name and password, or no name and a token.
    pub(super) async fn login(&self, registry: &str) -> Result<Option<(String, String)>> {
        if !self.supports(LOGIN) {
            return Ok(None);
        }
        let request = LoginRequest { host: registry.to_owned() };
        let found = self.ask::<LoginResponse>(LOGIN, &request).await;
        let context = || format!("cannot get the credentials for {registry} from the client");
        let known = |found: LoginResponse| (found.username, found.secret);
        Ok(found.context(context)?.map(known).filter(|(_, secret)| !secret.is_empty()))
    }

    /// Makes a socket that leads to an SSH agent of the client; `None` if it has no such agent. It is
    /// there as long as the task that comes along runs.
    pub(super) async fn agent(
        self: &Arc<Self>,
        id: &str,
        directory: &Path,
    ) -> Result<Option<(PathBuf, tokio::task::JoinHandle<()>)>> {
        let request = CheckAgentRequest { id: id.to_owned() };
        let context = || format!("cannot use the client's SSH agent `{id}`");
        if !self.supports(CHECK_AGENT)
            || self.ask::<Empty>(CHECK_AGENT, &request).await.context(context)?.is_none()
        {
            return Ok(None);
        }
        let number = std::fs::read_dir(directory).context(context)?.count();
        let path = directory.join(format!("agent{number}"));
        let listener = UnixListener::bind(&path).context(context)?;
        // Commands may be anybody; nobody else comes into the directory.
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o666))
            .context(context)?;
        let mut metadata = Vec::new();
        add(&mut metadata, "buildkit.ssh.id", [id])?;
        let session = Arc::clone(self);
        let task = tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let begun = session.channel.stream(AGENT, &metadata).await;
                // One who has gone has no agent any more: whoever asks for it sees that.
                let Ok((outgoing, answer)) = begun else { continue };
                tokio::spawn(relay(connection, outgoing, answer));
            }
        });
        Ok(Some((path, task)))
    }

    /// Asks for something that the client may not have.
    async fn ask<M: Message + Default>(
        &self,
        method: &str,
        request: &impl Message,
    ) -> Result<Option<M>> {
        match self.channel.ask(method, request).await {
            Ok(answer) => Ok(Some(answer)),
            Err(Status { code: Code::NotFound | Code::Unimplemented, .. }) => Ok(None),
            // An agent that is not known has no code of its own.
            Err(Status { code: Code::Unknown, message, .. })
                if message.starts_with("unset ssh forward key") =>
            {
                Ok(None)
            }
            Err(status) => Err(status.into()),
        }
    }
}

/// Passes on what is said on a connection, both ways, until both have said all.
async fn relay(connection: UnixStream, mut outgoing: Outgoing, mut answer: Answer) {
    let (mut from, mut to) = connection.into_split();
    let there = async {
        let mut buffer = vec![0; 16 << 10];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            let data = bytes::Bytes::copy_from_slice(&buffer[..length]);
            if outgoing.send(&BytesMessage { data }).await.is_err() {
                return;
            }
        }
        // It may have been closed already.
        drop(outgoing.close());
    };
    let back = async {
        while let Ok(Some(message)) = answer.next::<BytesMessage>().await {
            if to.write_all(&message.data).await.is_err() {
                return;
            }
        }
        drop(to.shutdown().await);
    };
    tokio::join!(there, back);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_all_values_if_one_needs_it() {
        let wanted = Wanted {
            directory: "context",
            paths: vec!["a b+c%".to_owned()],
            exclude: vec!["ü".to_owned(), "a%".to_owned()],
        };
        let metadata = wanted.metadata().unwrap();
        let shown: Vec<_> =
            metadata.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        assert_eq!(
            shown,
            [
                ("dir-name", "context"),
                ("followpaths", "a b+c%"),
                ("exclude-patterns", "%C3%BC"),
                ("exclude-patterns", "a%25"),
                ("exclude-patterns-encoded", "1"),
            ]
        );
    }
}
