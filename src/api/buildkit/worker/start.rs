//! The service's side of the talk with the process of a build.

use std::sync::Arc;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

use super::{Answer, Event, NAME, Request};
use crate::api::alone::{self, EndedWith};
use crate::api::serve::Service;
use crate::api::stream::broken_off;
use crate::error::{Context, Result};

/// Bytes of the longest line that is taken: a step's output comes in smaller pieces.
const LONGEST: usize = 4 << 20;

/// A process that carries a build out; dropping it ends the build.
pub(in crate::api::buildkit) struct Worker {
    from: BufReader<OwnedReadHalf>,
    to: OwnedWriteHalf,
    _process: EndedWith,
}

impl Worker {
    /// Starts one.
    pub(in crate::api::buildkit) async fn start(
        service: Arc<Service>,
        request: &Request,
    ) -> Result<Self> {
        let started = tokio::task::spawn_blocking(move || alone::spawn(&service, NAME));
        let (socket, child) = started.await.map_err(broken_off)??;
        let context = || "cannot talk to the process of a build";
        socket.set_nonblocking(true).context(context)?;
        let process = EndedWith::watch(child)?;
        let socket = tokio::net::UnixStream::from_std(socket).context(context)?;
        let (from, to) = socket.into_split();
        let mut worker = Self { from: BufReader::new(from), to, _process: process };
        worker.write(request).await?;
        Ok(worker)
    }

    /// Waits for news; none if the process has ended.
    pub(in crate::api::buildkit) async fn next(&mut self) -> Result<Option<Event>> {
        let context = || "cannot hear the process of a build";
        let mut line = Vec::new();
        let mut limited = tokio::io::AsyncReadExt::take(&mut self.from, LONGEST as u64);
        limited.read_until(b'\n', &mut line).await.context(context)?;
        if line.is_empty() {
            return Ok(None);
        }
        serde_json::from_slice(&line).map(Some).context(context)
    }

    /// Answers what was asked.
    pub(in crate::api::buildkit) async fn answer(&mut self, answer: &Answer) -> Result<()> {
        self.write(answer).await
    }

    async fn write(&mut self, document: &impl serde::Serialize) -> Result<()> {
        let context = || "cannot talk to the process of a build";
        let mut line = serde_json::to_vec(document).context(context)?;
        line.push(b'\n');
        self.to.write_all(&line).await.context(context)
    }
}
