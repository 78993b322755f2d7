//! Blobs from the asynchronous side to threads that read them.
//!
//! A reading thread places an [`Order`]; [`deliver`] fetches it in pieces, a few at a time under way.
//! When a connection is lost the delivery goes on where it stopped, and the reader notices nothing.

use std::io::{self, BufRead, ErrorKind, Read};
use std::sync::Arc;

use reqwest::StatusCode;
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE};
use tokio::sync::mpsc::{Receiver, Sender, UnboundedReceiver, UnboundedSender, channel};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::{Repository, failure, foreign};
use crate::error::{Error, Kind, Result};
use crate::image::manifest::Blob;

/// Pieces under way for each reader; they come as large as the network makes them.
const UNDER_WAY: usize = 8;
/// After so many bytes a lost connection counts as the first one again.
const PROGRESS: u64 = 8 << 20;

/// A wish for a blob.
pub(crate) struct Order {
    blob: Blob,
    /// Where to begin; what comes before is here.
    offset: u64,
    /// Where else it is, if the registry may not give it away.
    addresses: Vec<String>,
    pieces: Sender<Piece>,
}

enum Piece {
    Data(bytes::Bytes),
    End,
    Failed(Error),
}

/// A blob as it arrives.
pub(crate) struct Download {
    pieces: Receiver<Piece>,
    current: bytes::Bytes,
    ended: bool,
    failure: Option<Error>,
}

impl Download {
    /// Orders a blob from an offset on. `addresses` are where else it may be.
    pub(crate) fn order(
        orders: &UnboundedSender<Order>,
        blob: &Blob,
        offset: u64,
        addresses: &[String],
    ) -> Self {
        let (sender, pieces) = channel(UNDER_WAY);
        // Nothing has to come of a blob that is here already.
        let ended = offset >= blob.size;
        if !ended {
            let (blob, addresses) = (blob.clone(), addresses.to_vec());
            // If nobody delivers any more, reading fails.
            drop(orders.send(Order { blob, offset, addresses, pieces: sender }));
        }
        Self { pieces, current: bytes::Bytes::new(), ended, failure: None }
    }

    /// Tells whether all has come.
    pub(crate) fn is_whole(&self) -> bool {
        self.ended
    }

    /// Returns why the delivery failed, if it did.
    pub(crate) fn take_failure(&mut self) -> Option<Error> {
        self.failure.take()
    }
}

impl BufRead for Download {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.current.is_empty() && !self.ended {
            match self.pieces.blocking_recv() {
                Some(Piece::Data(data)) => self.current = data,
                Some(Piece::End) => self.ended = true,
                Some(Piece::Failed(error)) => {
                    let text = error.to_string();
                    self.failure = Some(error);
                    return Err(io::Error::other(text));
                }
                None => {
                    return Err(io::Error::new(
                        ErrorKind::ConnectionAborted,
                        "the download was given up",
                    ));
                }
            }
        }
        Ok(&self.current)
    }

    fn consume(&mut self, length: usize) {
        drop(self.current.split_to(length));
    }
}

impl Read for Download {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.read(buffer)?;
        self.consume(length);
        Ok(length)
    }
}

/// Delivers orders until nobody can place any more. What is still under way is left to `tasks`.
pub(crate) async fn deliver(
    repository: Arc<Repository>,
    mut orders: UnboundedReceiver<Order>,
    tasks: &mut JoinSet<()>,
) {
    while let Some(order) = orders.recv().await {
        let repository = Arc::clone(&repository);
        tasks.spawn(async move {
            let last = match fetch(&repository, &order).await {
                Ok(()) => Piece::End,
                Err(error) => Piece::Failed(error),
            };
            // A reader that has left needs no word.
            drop(order.pieces.send(last).await);
        });
    }
}

async fn fetch(repository: &Repository, order: &Order) -> Result<()> {
    let Blob { digest, size } = &order.blob;
    let host = &repository.endpoint.host;
    let (mut offset, mut failures, mut failed_at) = (order.offset, 0, order.offset);
    loop {
        let mut response = match repository.blob(digest, offset).await {
            Err(error) if error.kind() == Kind::NotFound && !order.addresses.is_empty() => {
                foreign::fetch(&order.addresses, offset).await?
            }
            answered => answered?,
        };
        // A registry that knows no ranges begins anew.
        let mut skip = match response.status() {
            StatusCode::PARTIAL_CONTENT => {
                let range =
                    response.headers().get(CONTENT_RANGE).and_then(|range| range.to_str().ok());
                if !range.is_none_or(|range| range.starts_with(&format!("bytes {offset}-"))) {
                    return Err(Error::new(
                        Kind::Unavailable,
                        format!("registry `{host}` sends the wrong part of {digest}"),
                    ));
                }
                0
            }
            _ => offset,
        };
        let is_measured = response.headers().contains_key(CONTENT_LENGTH);
        let lost = loop {
            match response.chunk().await {
                Ok(Some(mut data)) => {
                    let skipped = data.len().min(usize::try_from(skip).unwrap_or(usize::MAX));
                    drop(data.split_to(skipped));
                    skip -= skipped as u64;
                    offset += data.len() as u64;
                    if order.pieces.send(Piece::Data(data)).await.is_err() {
                        return Ok(());
                    }
                }
                Ok(None) if offset >= *size => return Ok(()),
                // It is whole, and not what the manifest says: no use in asking for the rest.
                Ok(None) if is_measured => {
                    return Err(Error::new(
                        Kind::Invalid,
                        format!("registry `{host}` has {offset} of {size} bytes of {digest}"),
                    )
                    .hint("the image is damaged at its source"));
                }
                Ok(None) => {
                    break Error::new(
                        Kind::Unavailable,
                        format!("registry `{host}` broke off after {offset} of {size} bytes"),
                    )
                    .hint("try again");
                }
                Err(error) => break failure::broken(host, &error),
            }
        };
        failures = if offset >= failed_at + PROGRESS { 1 } else { failures + 1 };
        failed_at = offset;
        if failures >= repository.attempts {
            return Err(lost);
        }
        sleep(repository.pause(failures)).await;
    }
}
