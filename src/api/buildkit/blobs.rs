//! A store of blobs that a client has in a directory, and opens to us.

use std::fs::File;
use std::path::Path;

use http::{HeaderName, HeaderValue};

use super::files;
use super::message::content::{
    ReadRequest, ReadResponse, WriteAction, WriteRequest, WriteResponse,
};
use super::rpc::{Channel, Code, Messages, Status};
use crate::error::{Context, Error, Result};
use crate::spec::digest::Digest;

pub(super) const READ: &str = "/containerd.services.content.v1.Content/Read";
pub(super) const WRITE: &str = "/containerd.services.content.v1.Content/Write";

/// The header field that says which store is meant.
pub(super) const STORE: &str = "buildkit-attachable-store-id";

/// A client's store.
#[derive(Debug)]
pub(super) struct Blobs<'a> {
    channel: &'a Channel,
    store: (HeaderName, HeaderValue),
}

impl<'a> Blobs<'a> {
    pub(super) fn new(channel: &'a Channel, store: (HeaderName, HeaderValue)) -> Self {
        Self { channel, store }
    }

    /// Takes a blob into a file; nobody has looked whether it is the right one. Returns how many bytes it
    /// has.
    pub(super) async fn read(&self, digest: &Digest, file: File) -> Result<u64> {
        let context = || format!("cannot get {digest} from the client");
        let begun =
            self.channel.stream(READ, std::slice::from_ref(&self.store)).await.map_err(Error::from);
        let (mut outgoing, mut answer) = begun.context(context)?;
        let request = ReadRequest { digest: digest.to_string(), ..ReadRequest::default() };
        outgoing.send(&request).await.map_err(Error::from).context(context)?;
        outgoing.close().map_err(Error::from).context(context)?;
        let data = |piece: ReadResponse| piece.data;
        files::receive_bytes(&mut answer, file, data).await.context(context)
    }

    /// Gives a blob to the client, unless it has it. `reference` is what it is called meanwhile.
    pub(super) async fn write(
        &self,
        digest: &Digest,
        reference: &str,
        source: &Path,
    ) -> Result<()> {
        let context = || format!("cannot give {digest} to the client");
        let file = File::open(source).context(|| format!("cannot open {}", source.display()))?;
        let length = file.metadata().context(context)?.len();
        let total = i64::try_from(length).map_err(std::io::Error::other).context(context)?;
        let begun = self
            .channel
            .stream(WRITE, std::slice::from_ref(&self.store))
            .await
            .map_err(Error::from);
        let (mut outgoing, mut answer) = begun.context(context)?;
        let about = WriteRequest {
            action: WriteAction::Stat as i32,
            reference: reference.to_owned(),
            total,
            expected: digest.to_string(),
            ..WriteRequest::default()
        };
        let (mut pieces, thread) = files::pieces(file);
        let written = async {
            outgoing.send(&about).await?;
            let mut offset = told(&mut answer).await?.offset;
            if offset != 0 {
                return Err(Status::broken("it has begun before"));
            }
            while let Some(data) = pieces.recv().await {
                let action = WriteAction::Write as i32;
                let sent = i64::try_from(data.len()).unwrap_or(i64::MAX);
                outgoing.send(&WriteRequest { action, offset, data, ..about.clone() }).await?;
                told(&mut answer).await?;
                offset = offset.saturating_add(sent);
            }
            let action = WriteAction::Commit as i32;
            outgoing.send(&WriteRequest { action, offset, ..about.clone() }).await?;
            told(&mut answer).await?;
            // The client ends the call by itself then, and may have done so already.
            drop(outgoing.close());
            while answer.next::<WriteResponse>().await?.is_some() {}
            Ok(())
        };
        let written = match written.await {
            // It has it, from before or from somebody else meanwhile.
            Err(Status { code: Code::AlreadyExists, .. }) => Ok(()),
            other => other.map_err(Error::from),
        };
        drop(pieces);
        thread.end().await.context(|| format!("cannot read {}", source.display()))?;
        written.context(context)
    }
}

/// Waits for what the client says to a message.
async fn told(answer: &mut impl Messages) -> Result<WriteResponse, Status> {
    let told = answer.next::<WriteResponse>().await?;
    told.ok_or_else(|| Status::broken("the client has taken no blob"))
}
