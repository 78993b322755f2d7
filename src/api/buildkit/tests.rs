//! A client that does what Docker's do, on the other end of a socket pair.

use std::path::PathBuf;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::files;
use super::message::session::{CheckAgentRequest, GetSecretRequest, GetSecretResponse};
use super::message::{BytesMessage, Empty};
use super::rpc::{self, Call, Code, Handler, Messages, Status};
use super::session::{Session, Sessions, Wanted};

/// What the client has.
struct Client {
    /// The directory `context`.
    context: PathBuf,
    /// Where results go.
    results: PathBuf,
}

const METHODS: [&str; 6] = [
    "/moby.filesync.v1.FileSync/DiffCopy",
    "/moby.filesync.v1.FileSend/DiffCopy",
    "/moby.buildkit.secrets.v1.Secrets/GetSecret",
    "/moby.sshforward.v1.SSH/CheckAgent",
    "/moby.sshforward.v1.SSH/ForwardAgent",
    "/moby.upload.v1.Upload/Pull",
];

impl Handler for Client {
    async fn handle(&self, call: &mut Call) -> Result<(), Status> {
        let said = |name: &str| {
            call.metadata.get(name).and_then(|value| value.to_str().ok()).unwrap_or("").to_owned()
        };
        let broken = |error: crate::error::Error| Status::new(Code::Unknown, error.to_string());
        match call.method.as_str() {
            "/moby.filesync.v1.FileSync/DiffCopy" => {
                if said("dir-name") != "context" {
                    return Err(Status::new(Code::NotFound, "no access allowed to dir"));
                }
                files::send(&mut call.outgoing, &mut call.incoming, &self.context)
                    .await
                    .map_err(broken)
            }
            "/moby.filesync.v1.FileSend/DiffCopy" => {
                match said("buildkit-attachable-exporter-id").as_str() {
                    "0" => {
                        files::receive(&mut call.outgoing, &mut call.incoming, &self.results)
                            .await
                            .map_err(broken)?;
                        // Who sends has a last word.
                        while call.incoming.next::<Empty>().await?.is_some() {}
                        Ok(())
                    }
                    _ => {
                        let mut all = Vec::new();
                        while let Some(piece) = call.incoming.next::<BytesMessage>().await? {
                            all.extend_from_slice(&piece.data);
                        }
                        std::fs::write(self.results.join("archive"), all).map_err(Status::broken)
                    }
                }
            }
            "/moby.buildkit.secrets.v1.Secrets/GetSecret" => {
                let request: GetSecretRequest = call.request().await?;
                if request.id != "known" {
                    return Err(Status::new(Code::NotFound, "not found"));
                }
                call.answer(&GetSecretResponse { data: b"s3cret".to_vec() }).await
            }
            "/moby.sshforward.v1.SSH/CheckAgent" => {
                let request: CheckAgentRequest = call.request().await?;
                match request.id.as_str() {
                    "default" => call.answer(&Empty {}).await,
                    id => Err(Status::new(Code::Unknown, format!("unset ssh forward key {id}"))),
                }
            }
            "/moby.sshforward.v1.SSH/ForwardAgent" => {
                while let Some(piece) = call.incoming.next::<BytesMessage>().await? {
                    call.outgoing.send(&piece).await?;
                }
                Ok(())
            }
            "/moby.upload.v1.Upload/Pull" => {
                for piece in ["path ", &said("urlpath")] {
                    let data = bytes::Bytes::copy_from_slice(piece.as_bytes());
                    call.outgoing.send(&BytesMessage { data }).await?;
                }
                Ok(())
            }
            other => Err(Status::new(Code::Unimplemented, other.to_owned())),
        }
    }
}

/// Runs something with the session of a client that has two directories.
fn with_session<F: Future<Output = ()>>(run: impl FnOnce(Arc<Session>, PathBuf, PathBuf) -> F) {
    let dir = tempfile::tempdir().unwrap();
    let (context, results) = (dir.path().join("context"), dir.path().join("results"));
    std::fs::create_dir(&context).unwrap();
    std::fs::create_dir(&results).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let client = Client { context: context.clone(), results: results.clone() };
        let client = tokio::spawn(rpc::serve(theirs, Arc::new(client)));
        let sessions = Arc::new(Sessions::default());
        let mut headers = HeaderMap::new();
        let mut add = |name: &'static str, value: &'static str| {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        };
        add("x-docker-expose-session-uuid", "abc");
        METHODS.into_iter().for_each(|it| add("x-docker-expose-session-grpc-method", it));
        let served = Arc::clone(&sessions);
        let served = tokio::spawn(async move { served.serve(ours, &headers).await });
        // It begins meanwhile.
        let session = sessions.find("prefix:abc").await.unwrap();
        run(session, context, results).await;
        client.abort();
        // The client has left: nobody finds its session any more.
        drop(served.await.unwrap());
        assert_eq!(sessions.count(), 0);
    });
}

fn wanted(directory: &str) -> Wanted<'_> {
    Wanted { directory, ..Wanted::default() }
}

#[test]
fn takes_files_and_only_once() {
    with_session(|session, context, _| async move {
        std::fs::create_dir_all(context.join("a/b")).unwrap();
        let big = vec![9; 300_000];
        std::fs::write(context.join("a/b/big"), &big).unwrap();
        std::fs::write(context.join("empty"), "").unwrap();
        std::fs::hard_link(context.join("a/b/big"), context.join("z")).unwrap();
        std::os::unix::fs::symlink("a/b", context.join("link")).unwrap();
        let target = tempfile::tempdir().unwrap();
        let received = session.fetch(&wanted("context"), target.path()).await.unwrap();
        assert_eq!(received, 300_000);
        assert_eq!(std::fs::read(target.path().join("a/b/big")).unwrap(), big);
        assert_eq!(std::fs::read(target.path().join("z")).unwrap(), big);
        assert_eq!(std::fs::read(target.path().join("empty")).unwrap(), b"");
        let link = std::fs::read_link(target.path().join("link")).unwrap();
        assert_eq!(link, PathBuf::from("a/b"));
        // A file with several names comes again; all others are known.
        std::fs::remove_file(context.join("z")).unwrap();
        std::fs::remove_file(target.path().join("z")).unwrap();
        std::fs::write(context.join("new"), "12345").unwrap();
        let received = session.fetch(&wanted("context"), target.path()).await.unwrap();
        assert_eq!(received, 5);
        let failed = session.fetch(&wanted("other"), target.path()).await.unwrap_err();
        assert!(failed.to_string().contains("no access allowed to dir"), "{failed}");
    });
}

#[test]
fn gives_results() {
    with_session(|session, _, results| async move {
        let source = tempfile::tempdir().unwrap();
        std::fs::create_dir(source.path().join("d")).unwrap();
        std::fs::write(source.path().join("d/file"), "text").unwrap();
        let (mut outgoing, mut answer) = session.send(0, &[]).await.unwrap();
        files::send(&mut outgoing, &mut answer, source.path()).await.unwrap();
        answer.end(&mut outgoing).await.unwrap();
        assert_eq!(std::fs::read(results.join("d/file")).unwrap(), b"text");
        let archive = source.path().join("archive");
        std::fs::write(&archive, vec![3; 200_000]).unwrap();
        let (mut outgoing, mut answer) = session.send(1, &[]).await.unwrap();
        files::send_bytes(&mut outgoing, &archive).await.unwrap();
        answer.end(&mut outgoing).await.unwrap();
        assert_eq!(std::fs::read(results.join("archive")).unwrap(), vec![3; 200_000]);
    });
}

#[test]
fn asks_for_what_only_the_client_has() {
    with_session(|session, _, _| async move {
        assert_eq!(session.secret("known").await.unwrap().unwrap(), b"s3cret");
        assert_eq!(session.secret("other").await.unwrap(), None);
        let file = tempfile::NamedTempFile::new().unwrap();
        let length = session.upload("/xyz", file.reopen().unwrap()).await.unwrap();
        assert_eq!(std::fs::read(file.path()).unwrap(), b"path /xyz");
        assert_eq!(length, 9);
    });
}

#[test]
fn passes_an_agent_on() {
    with_session(|session, _, _| async move {
        let dir = tempfile::tempdir().unwrap();
        assert!(session.agent("other", dir.path()).await.unwrap().is_none());
        let (path, task) = session.agent("default", dir.path()).await.unwrap().unwrap();
        let mut connection = UnixStream::connect(path).await.unwrap();
        for text in [&b"hello"[..], b"again"] {
            connection.write_all(text).await.unwrap();
            let mut echo = vec![0; text.len()];
            connection.read_exact(&mut echo).await.unwrap();
            assert_eq!(echo, text);
        }
        connection.shutdown().await.unwrap();
        let mut rest = Vec::new();
        connection.read_to_end(&mut rest).await.unwrap();
        assert!(rest.is_empty());
        task.abort();
    });
}
