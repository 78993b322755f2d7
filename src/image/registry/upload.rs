//! Blobs and manifests on their way to a registry.
//!
//! A blob is read from a file, which may still grow while a thread compresses into it. So an upload
//! whose connection was lost goes on where the registry says it stopped, or begins anew, and no memory
//! depends on its size. A blob that the registry has already, here or in another repository, is not sent.

use std::fs::File;
use std::future::pending;
use std::io;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, LOCATION, RANGE};
use reqwest::{Body, Method, RequestBuilder, Response, StatusCode, Url};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use super::{Repository, Target, failure};
use crate::error::{Context, Error, Kind, Result};
use crate::image::manifest::Blob;
use crate::spec::digest::Digest;
use crate::store::blob::digest_of;

/// Bytes that are read and handed over at a time.
const PIECE: u64 = 256 << 10;
/// Pieces under way for each blob.
const UNDER_WAY: usize = 4;
/// After so many bytes a lost connection counts as the first one again.
const PROGRESS: u64 = 8 << 20;
/// How long a registry may take none of the bytes that wait for it.
const STALLED: Duration = Duration::from_secs(60);
/// How long a registry may think about a blob that it has: some move it from one disk to another first.
const THINKING: Duration = Duration::from_secs(900);

/// A blob that is to be uploaded: a file that is whole or still grows.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    file: Arc<File>,
    written: watch::Receiver<Written>,
}

/// The side of a [`Content`] that writes it. Dropping it before it is whole fails the upload.
#[derive(Debug)]
pub(crate) struct Growing(watch::Sender<Written>);

#[derive(Clone, Debug)]
enum Written {
    SoFar(u64),
    Whole(Blob),
}

/// What a registry made of a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Accepted {
    /// The manifest's digest.
    pub(crate) digest: Digest,
    /// Whether it keeps a list of what refers to the manifest's subject.
    pub(crate) lists_referrers: bool,
}

impl Content {
    /// Takes a file that is whole.
    pub(crate) fn whole(file: File, blob: &Blob) -> Self {
        let (_, written) = watch::channel(Written::Whole(blob.clone()));
        Self { file: Arc::new(file), written }
    }

    /// Takes a file that somebody writes to meanwhile, from its beginning on.
    pub(crate) fn growing(file: File) -> (Growing, Self) {
        let (writer, written) = watch::channel(Written::SoFar(0));
        (Growing(writer), Self { file: Arc::new(file), written })
    }

    /// Returns the blob if it is whole.
    fn blob(&self) -> Option<Blob> {
        match &*self.written.borrow() {
            Written::SoFar(_) => None,
            Written::Whole(blob) => Some(blob.clone()),
        }
    }

    /// Waits until there are bytes behind `offset`, and returns how many; 0 is the end.
    async fn available(&mut self, offset: u64) -> Result<u64> {
        loop {
            match &*self.written.borrow_and_update() {
                Written::SoFar(size) if *size > offset => return Ok(size - offset),
                Written::SoFar(_) => {}
                Written::Whole(blob) => return Ok(blob.size.saturating_sub(offset)),
            }
            // Its writer failed, and says why.
            self.written
                .changed()
                .await
                .map_err(|_| Error::new(Kind::Internal, "the blob was given up"))?;
        }
    }

    /// Reads a piece; a disk that is slow keeps nothing else waiting.
    async fn read(&self, offset: u64, length: u64) -> Result<Bytes> {
        let file = Arc::clone(&self.file);
        let read = spawn_blocking(move || -> io::Result<Vec<u8>> {
            let mut piece = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
            file.read_exact_at(&mut piece, offset)?;
            Ok(piece)
        });
        read.await
            .unwrap_or_else(|error| Err(io::Error::other(error)))
            .map(Bytes::from)
            .context(|| "cannot read the blob")
    }
}

impl Growing {
    /// Tells that so many bytes are in the file now.
    pub(crate) fn grown(&self, size: u64) {
        self.0.send_replace(Written::SoFar(size));
    }

    /// Tells whether nobody wants it any more.
    pub(crate) fn is_given_up(&self) -> bool {
        self.0.is_closed()
    }

    /// Tells that the blob is complete.
    pub(crate) fn whole(self, blob: &Blob) {
        self.0.send_replace(Written::Whole(blob.clone()));
    }
}

/// Pieces of a blob as the body of a request.
struct Pieces(Receiver<Bytes>);

impl Stream for Pieces {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, task: &mut TaskContext<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(task).map(|piece| piece.map(Ok))
    }
}

/// An upload that a registry has begun.
struct Session {
    /// Where it goes on.
    url: Url,
    /// Bytes that the registry has.
    offset: u64,
}

/// Why an attempt failed.
enum Failed {
    /// It may go better the next time.
    Lost(Error),
    /// It will not.
    ForGood(Error),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::ForGood(error)
    }
}

impl Repository {
    /// Tells whether the repository has a blob.
    pub(crate) async fn has_blob(&self, digest: &Digest) -> Result<bool> {
        let path = format!("blobs/{digest}");
        let target = Target::Repository(&path);
        let response = self.exchange(Method::HEAD, target, |request| request).await?;
        match response.status() {
            StatusCode::NOT_FOUND => Ok(false),
            status if status.is_success() => Ok(true),
            _ => Err(self.refused(response).await),
        }
    }

    /// Uploads a blob, unless the registry takes it over from its repository `from`.
    ///
    /// Looks for nothing first: [`has_blob`](Self::has_blob) is the caller's. When this returns, the
    /// registry has verified the digest and has the blob. Lost connections are made anew, several
    /// times; `sent` is told how many bytes went out so far, which may go back then. Several blobs can
    /// be uploaded at once. Needs a repository that was made [for pushing](Self::for_push).
    pub(crate) async fn upload_blob(
        &self,
        content: &Content,
        from: Option<&str>,
        sent: &(dyn Fn(u64) + Sync),
    ) -> Result<Blob> {
        let mut from = from;
        let mut session = None;
        let (mut failures, mut failed_at) = (0, 0);
        loop {
            let reached = Mutex::new(0);
            let note = |offset: u64| {
                *reached.lock().unwrap_or_else(PoisonError::into_inner) = offset;
                sent(offset);
            };
            let error = match self.attempt(content, from.take(), &mut session, &note).await {
                Ok(blob) => return Ok(blob),
                Err(Failed::ForGood(error)) => return Err(error),
                Err(Failed::Lost(error)) => error,
            };
            let reached = *reached.lock().unwrap_or_else(PoisonError::into_inner);
            failures = if reached >= failed_at + PROGRESS { 1 } else { failures + 1 };
            failed_at = reached;
            if failures >= self.attempts {
                return Err(error);
            }
            sleep(self.pause(failures)).await;
        }
    }

    /// Takes a blob over from another repository of the registry; `false` if the registry does not.
    pub(crate) async fn mount_blob(&self, digest: &Digest, from: &str) -> Result<bool> {
        // Neither needs to be encoded: see the grammars of names and digests.
        let path = format!("blobs/uploads/?mount={digest}&from={from}");
        let response = self
            .exchange(Method::POST, Target::Repository(&path), |request| {
                request.header(CONTENT_LENGTH, 0)
            })
            .await?;
        match response.status() {
            StatusCode::CREATED => Ok(true),
            status if status.is_success() => {
                // It waits for the blob now. That it is told off is for tidiness only.
                let url = self.location(&response)?;
                let told = self.exchange(Method::DELETE, Target::Url(&url), |request| request);
                drop(told.await);
                Ok(false)
            }
            // Some refuse what they could not take over.
            StatusCode::NOT_FOUND | StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => Ok(false),
            _ => Err(self.refused(response).await),
        }
    }

    /// Uploads a manifest or an index under a tag or its digest. All its blobs must be there.
    pub(crate) async fn put_manifest(
        &self,
        reference: &str,
        media_type: &str,
        data: &[u8],
    ) -> Result<Accepted> {
        let path = format!("manifests/{reference}");
        let body = Bytes::copy_from_slice(data);
        let response = self
            .exchange(Method::PUT, Target::Repository(&path), |request| {
                request.timeout(STALLED).header(CONTENT_TYPE, media_type).body(body.clone())
            })
            .await?;
        if !response.status().is_success() {
            return Err(self.refused(response).await);
        }
        let digest = digest_of(data);
        let said = response.headers().get("docker-content-digest");
        if let Some(said) = said.and_then(|value| value.to_str().ok())
            && said.starts_with("sha256:")
            && said != digest.as_str()
        {
            return Err(Error::new(
                Kind::Unavailable,
                format!("the registry has changed the manifest: it is {digest} and became {said}"),
            ));
        }
        let lists_referrers = response.headers().contains_key("oci-subject");
        Ok(Accepted { digest, lists_referrers })
    }

    async fn attempt(
        &self,
        content: &Content,
        from: Option<&str>,
        session: &mut Option<Session>,
        sent: &(dyn Fn(u64) + Sync),
    ) -> Result<Blob, Failed> {
        let begun = match session.take() {
            Some(old) => self.resume(old, content).await?,
            None => None,
        };
        let begun = match begun {
            Some(begun) => begun,
            None => match self.begin(content, from).await? {
                Some(begun) => begun,
                None => return content.blob().ok_or_else(|| mounted_unknown().into()),
            },
        };
        sent(begun.offset);
        let Session { url, offset } = session.insert(begun);
        let response = self.patch(url, *offset, content, sent).await?;
        match response.status() {
            status if status.is_success() => {}
            // The session is not what we think that it is.
            StatusCode::NOT_FOUND | StatusCode::RANGE_NOT_SATISFIABLE => {
                *session = None;
                return Err(Failed::Lost(self.refused(response).await));
            }
            status if may_pass(status) => return Err(Failed::Lost(self.refused(response).await)),
            _ => return Err(Failed::ForGood(self.refused(response).await)),
        }
        if response.headers().contains_key(LOCATION) {
            *url = self.location(&response)?;
        }
        let mut url = url.clone();
        // From here on there is nothing to go on with.
        *session = None;
        // The whole stream was taken, so it is complete.
        let blob = content.blob().ok_or_else(mounted_unknown)?;
        url.query_pairs_mut().append_pair("digest", blob.digest.as_str());
        let closed = self
            .exchange(Method::PUT, Target::Url(&url), |request| {
                request.timeout(THINKING).header(CONTENT_LENGTH, 0)
            })
            .await;
        let error = match closed {
            Ok(response) if response.status().is_success() => return Ok(blob),
            Ok(response) => self.refused(response).await,
            Err(error) => error,
        };
        // Its answer may have been lost, and the next one is that there is no such upload.
        if self.has_blob(&blob.digest).await? { Ok(blob) } else { Err(Failed::Lost(error)) }
    }

    /// Begins an upload; `None` if the registry has taken the blob over from `from`.
    async fn begin(&self, content: &Content, from: Option<&str>) -> Result<Option<Session>> {
        let mount = match (from, content.blob()) {
            // Neither needs to be encoded: see the grammars of names and digests.
            (Some(from), Some(blob)) => Some(format!("?mount={}&from={from}", blob.digest)),
            _ => None,
        };
        for query in mount.iter().map(String::as_str).chain([""]) {
            let path = format!("blobs/uploads/{query}");
            let response = self
                .exchange(Method::POST, Target::Repository(&path), |request| {
                    request.header(CONTENT_LENGTH, 0)
                })
                .await?;
            return match response.status() {
                StatusCode::CREATED => Ok(None),
                status if status.is_success() => {
                    Ok(Some(Session { url: self.location(&response)?, offset: 0 }))
                }
                // Some refuse what they cannot take over, in place of waiting for it.
                status if status.is_client_error() && !query.is_empty() => continue,
                _ => Err(self.refused(response).await),
            };
        }
        Ok(None)
    }

    /// Asks how far an upload has come; `None` if it is better begun anew.
    async fn resume(&self, old: Session, content: &Content) -> Result<Option<Session>> {
        let response = self.exchange(Method::GET, Target::Url(&old.url), |request| request).await?;
        if !response.status().is_success() {
            return Ok(None);
        }
        let range = response.headers().get(RANGE).and_then(|range| range.to_str().ok());
        let last = range.and_then(|range| range.trim_start_matches("bytes=").strip_prefix("0-"));
        // `0-0` stands for no byte and for one.
        let Some(last) = last.and_then(|last| last.parse::<u64>().ok()).filter(|last| *last > 0)
        else {
            return Ok(None);
        };
        let offset = last.saturating_add(1);
        let known = match &*content.written.borrow() {
            Written::SoFar(size) => *size,
            Written::Whole(blob) => blob.size,
        };
        if offset > known {
            return Ok(None);
        }
        let url = match response.headers().contains_key(LOCATION) {
            true => self.location(&response)?,
            false => old.url,
        };
        Ok(Some(Session { url, offset }))
    }

    /// Sends what is behind `offset`.
    async fn patch(
        &self,
        url: &Url,
        offset: u64,
        content: &Content,
        sent: &(dyn Fn(u64) + Sync),
    ) -> Result<Response, Failed> {
        let (pieces, body) = channel(UNDER_WAY);
        // A body can be sent only once; so this is no job for `exchange`, which tries again.
        let body = Mutex::new(Some(Body::wrap_stream(Pieces(body))));
        let end = content.blob().map(|blob| blob.size);
        let prepare = |request: RequestBuilder| {
            let request = request.header(CONTENT_TYPE, "application/octet-stream");
            let request = match end {
                // Otherwise it comes in chunks, as nobody knows the length.
                Some(end) => request.header(CONTENT_LENGTH, end - offset),
                None => request,
            };
            let request = match end {
                Some(end) if offset > 0 && end > offset => {
                    request.header(CONTENT_RANGE, format!("{offset}-{}", end - 1))
                }
                _ => request,
            };
            match body.lock().unwrap_or_else(PoisonError::into_inner).take() {
                Some(body) => request.body(body),
                None => request,
            }
        };
        let used = self.authorization.read().await.clone();
        let sending = self.send(&Method::PATCH, Target::Url(url), &prepare, &used);
        tokio::pin!(sending);
        let answer = tokio::select! {
            answer = &mut sending => answer,
            fed = self.feed(content.clone(), offset, pieces, sent) => {
                fed?;
                timeout(THINKING, sending).await.map_err(|_| Failed::Lost(self.stalled()))?
            }
        };
        let response = answer.map_err(|error| {
            let passes = failure::may_pass(&error);
            let error = failure::unreachable(&self.endpoint.host, &error);
            if passes { Failed::Lost(error) } else { Failed::ForGood(error) }
        })?;
        // What proved who we are was good for a while only.
        if response.status() == StatusCode::UNAUTHORIZED && self.prove(&response, &used).await? {
            return Err(Failed::Lost(self.refused(response).await));
        }
        Ok(response)
    }

    /// Reads a blob for a request that sends it.
    async fn feed(
        &self,
        mut content: Content,
        mut offset: u64,
        pieces: Sender<Bytes>,
        sent: &(dyn Fn(u64) + Sync),
    ) -> Result<(), Failed> {
        loop {
            let length = content.available(offset).await?.min(PIECE);
            if length == 0 {
                return Ok(());
            }
            let piece = content.read(offset, length).await?;
            match timeout(STALLED, pieces.send(piece)).await {
                Ok(Ok(())) => {}
                // The request has ended before its body, and says why.
                Ok(Err(_)) => return pending().await,
                Err(_) => return Err(Failed::Lost(self.stalled())),
            }
            offset += length;
            sent(offset);
        }
    }

    fn stalled(&self) -> Error {
        let host = &self.endpoint.host;
        Error::new(Kind::Unavailable, format!("registry `{host}` does not go on with the upload"))
            .hint("try again")
    }

    /// Returns where an answer sends us.
    fn location(&self, response: &Response) -> Result<Url> {
        let host = &self.endpoint.host;
        let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let url =
            location.and_then(|location| response.url().join(location).ok()).ok_or_else(|| {
                Error::new(
                    Kind::Unavailable,
                    format!("registry `{host}` does not say where to upload to"),
                )
            })?;
        let was_encrypted = response.url().scheme() == "https";
        if url.scheme() != "https" && (was_encrypted || url.scheme() != "http") {
            return Err(Error::new(
                Kind::Unavailable,
                format!("registry `{host}` wants the upload at an address without encryption"),
            )
            .hint("tell who runs it: a proxy in front of it must pass on `X-Forwarded-Proto`"));
        }
        Ok(url)
    }

    async fn refused(&self, response: Response) -> Error {
        let denied = matches!(response.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        let logged_in = self.credentials.is_some();
        let error = failure::refused(&self.endpoint.host, response, logged_in).await;
        match (denied, logged_in) {
            (true, true) => error.hint("check that your user may push there, and log in again"),
            (true, false) => error.hint("log in as a user who may push there, or pass --creds"),
            _ => error,
        }
    }
}

fn may_pass(status: StatusCode) -> bool {
    status.is_server_error()
        || matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT | StatusCode::UNAUTHORIZED
        )
}

/// The error for what cannot be: only whole blobs are taken over, and only whole streams end.
fn mounted_unknown() -> Error {
    Error::new(Kind::Internal, "the blob is not complete")
}
