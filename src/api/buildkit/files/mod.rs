//! Trees of files, between a client and us: fsutil's protocol.
//!
//! Who has the files tells of each, in the order of their paths; who wants them asks for the content of
//! those that it does not have yet, by their numbers. So a tree of which we have kept a copy costs what has
//! changed in it.

mod mode;
mod receive;
mod send;

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;

use prost::Message;
use tokio::sync::mpsc;

use self::receive::{Receiver, Step};
use super::message::BytesMessage;
use super::message::files::{Packet, PacketKind};
use super::rpc::{Messages, Outgoing};
use crate::error::{Context, Error, Kind, Result};

/// Packets that wait for the disk.
const WAITING: usize = 16;

/// Bytes of a piece of a file.
const PIECE: usize = 64 << 10;

/// Takes a tree into a directory. Returns how many bytes have come.
pub(super) async fn receive(
    outgoing: &mut Outgoing,
    incoming: &mut impl Messages,
    target: &Path,
) -> Result<u64> {
    let directory = File::open(target).context(|| format!("cannot open {}", target.display()))?;
    let (to_thread, packets) = mpsc::channel(WAITING);
    let (from_thread, mut wanted) = mpsc::unbounded_channel();
    let thread = tokio::task::spawn_blocking(move || take(directory.into(), packets, from_thread));
    let talked = async {
        loop {
            tokio::select! {
                number = wanted.recv() => {
                    // It has all, or can take no more.
                    let Some(number) = number else { return Ok(()) };
                    let kind = PacketKind::Request as i32;
                    let request = Packet { kind, id: number, ..Packet::default() };
                    outgoing.send(&request).await?;
                }
                packet = incoming.next::<Packet>() => {
                    let Some(packet) = packet? else { return Ok(()) };
                    // If nobody takes it, the other branch ends this.
                    drop(to_thread.send(packet).await);
                }
            }
        }
    };
    let talked: Result<(), super::rpc::Status> = talked.await;
    drop(to_thread);
    let taken = thread.await.context_of_task()?;
    let last = match &taken {
        Ok(_) => Packet { kind: PacketKind::Finish as i32, ..Packet::default() },
        Err(error) => {
            let data = error.to_string().into();
            Packet { kind: PacketKind::Failure as i32, data, ..Packet::default() }
        }
    };
    // What the connection has failed with says more than what is missing because of that.
    talked.map_err(Error::from)?;
    if taken.is_err() {
        // It may be gone.
        drop(outgoing.send(&last).await);
    }
    let received = taken?;
    outgoing.send(&last).await.map_err(Error::from)?;
    Ok(received)
}

/// Gives a tree away.
pub(super) async fn send(
    outgoing: &mut Outgoing,
    incoming: &mut impl Messages,
    source: &Path,
) -> Result<()> {
    let source = source.to_owned();
    let (to_async, mut packets) = mpsc::channel(WAITING);
    let (to_thread, wanted) = mpsc::unbounded_channel();
    let thread = tokio::task::spawn_blocking(move || send::give(&source, &to_async, wanted));
    let mut to_thread = Some(to_thread);
    let talked = async {
        loop {
            tokio::select! {
                packet = packets.recv(), if !packets.is_closed() || !packets.is_empty() => {
                    // It has failed, or nothing more is asked for.
                    let Some(packet) = packet else { return Ok(false) };
                    outgoing.send(&packet).await?;
                }
                asked = incoming.next::<Packet>() => {
                    let Some(asked) = asked? else { return Ok(false) };
                    match PacketKind::try_from(asked.kind) {
                        Ok(PacketKind::Request) => {
                            // Who does not hear it any more has failed, and says why.
                            if let Some(thread) = &to_thread {
                                let _unheard = thread.send(asked.id);
                            }
                        }
                        Ok(PacketKind::Finish) => return Ok(true),
                        Ok(PacketKind::Failure) => {
                            let text = String::from_utf8_lossy(&asked.data).into_owned();
                            return Err(super::rpc::Status::new(super::rpc::Code::Unknown, text));
                        }
                        Ok(PacketKind::Stat | PacketKind::Data) | Err(_) => {
                            return Err(super::rpc::Status::broken("a packet of another kind"));
                        }
                    }
                }
            }
        }
    };
    let talked: Result<bool, super::rpc::Status> = talked.await;
    drop((to_thread.take(), packets));
    let given = thread.await.context_of_task()?;
    let is_whole = talked.map_err(Error::from)?;
    given?;
    if !is_whole {
        return Err(Error::new(Kind::Unavailable, "the client has left before all was sent"));
    }
    let last = Packet { kind: PacketKind::Finish as i32, ..Packet::default() };
    outgoing.send(&last).await.map_err(Error::from)
}

/// Gives what is in a file away, as it is.
pub(super) async fn send_bytes(outgoing: &mut Outgoing, source: &Path) -> Result<()> {
    let context = || format!("cannot read {}", source.display());
    let (mut all, thread) = pieces(File::open(source).context(context)?);
    while let Some(data) = all.recv().await {
        outgoing.send(&BytesMessage { data }).await.map_err(Error::from)?;
    }
    drop(all);
    thread.end().await.context(context)
}

/// Reads a file in pieces, on a thread of its own: until all is read, or nobody takes it any more.
pub(super) fn pieces(mut file: File) -> (mpsc::Receiver<bytes::Bytes>, Reading) {
    let (to_async, pieces) = mpsc::channel(WAITING);
    let thread = tokio::task::spawn_blocking(move || {
        let mut buffer = vec![0; PIECE];
        loop {
            let length = std::io::Read::read(&mut file, &mut buffer)?;
            let data = bytes::Bytes::copy_from_slice(&buffer[..length]);
            // Nobody takes it any more: why is said there.
            if length == 0 || to_async.blocking_send(data).is_err() {
                return Ok(());
            }
        }
    });
    (pieces, Reading(thread))
}

/// A file that is read on a thread of its own.
pub(super) struct Reading(tokio::task::JoinHandle<std::io::Result<()>>);

impl Reading {
    /// Waits for the end, and tells whether all could be read.
    pub(super) async fn end(self) -> Result<()> {
        self.0.await.context_of_task()?.context(|| "a file cannot be read")
    }
}

/// Takes messages into a file, as far as `data` is in them. Returns how many bytes it is.
pub(super) async fn receive_bytes<M: Message + Default>(
    incoming: &mut impl Messages,
    mut file: File,
    data: impl Fn(M) -> bytes::Bytes + Send,
) -> Result<u64> {
    let (to_thread, mut pieces) = mpsc::channel::<bytes::Bytes>(WAITING);
    let thread = tokio::task::spawn_blocking(move || {
        let mut length = 0;
        while let Some(piece) = pieces.blocking_recv() {
            std::io::Write::write_all(&mut file, &piece)?;
            length += piece.len() as u64;
        }
        Ok(length)
    });
    let received = async {
        while let Some(message) = incoming.next::<M>().await? {
            // If nobody takes it, the thread says why.
            if to_thread.send(data(message)).await.is_err() {
                break;
            }
        }
        Ok::<_, super::rpc::Status>(())
    };
    let received = received.await.map_err(Error::from);
    drop(to_thread);
    let written: std::io::Result<u64> = thread.await.context_of_task()?;
    received?;
    written.context(|| "cannot write what the client has sent")
}

/// Writes what comes to the disk, on a thread of its own.
fn take(
    directory: OwnedFd,
    mut packets: mpsc::Receiver<Packet>,
    wanted: mpsc::UnboundedSender<u32>,
) -> Result<u64> {
    let mut receiver = Receiver::new(directory);
    while let Some(packet) = packets.blocking_recv() {
        match receiver.take(packet)? {
            Step::Ask(numbers) => {
                // Who does not hear it any more has failed, and says why.
                for number in numbers {
                    let _unheard = wanted.send(number);
                }
            }
            Step::Done => return Ok(receiver.received()),
        }
    }
    Err(Error::new(Kind::Unavailable, "the client has left before all was sent"))
}

/// A thread or a task that may have broken off.
trait OfTask<T> {
    /// Turns that into an error.
    fn context_of_task(self) -> Result<T>;
}

impl<T> OfTask<T> for Result<T, tokio::task::JoinError> {
    fn context_of_task(self) -> Result<T> {
        self.map_err(std::io::Error::other).context(|| "a part of the service has broken off")
    }
}
