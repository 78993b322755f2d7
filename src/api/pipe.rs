//! Bodies of messages that are written bit by bit, by a thread or by a task, as the network takes them.

use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame};
use tokio::sync::mpsc;

/// How many parts wait at most for a slow reader.
const WAITING: usize = 4;

/// Bytes that are collected before they are sent on.
const PART: usize = 32 << 10;

/// Makes a pipe from a thread to the network.
pub(crate) fn pipe() -> (PipeWriter, PipeBody) {
    let (sender, body) = channel(WAITING);
    (PipeWriter { sender, collected: Vec::new() }, body)
}

/// As [`pipe`], from a task: it sends parts as they are to be.
pub(super) fn channel(waiting: usize) -> (mpsc::Sender<io::Result<Bytes>>, PipeBody) {
    let (sender, parts) = mpsc::channel(waiting);
    (sender, PipeBody { parts })
}

/// The end of a body at which a thread writes. What is dropped is at its end.
pub(crate) struct PipeWriter {
    sender: mpsc::Sender<io::Result<Bytes>>,
    collected: Vec<u8>,
}

impl PipeWriter {
    /// Tells whether somebody still reads.
    pub(super) fn is_wanted(&self) -> bool {
        !self.sender.is_closed()
    }

    /// Breaks the message off: it is not whole, and must not look so.
    pub(crate) fn break_off(mut self) {
        self.collected.clear();
        // The reader may be gone.
        drop(self.sender.blocking_send(Err(io::ErrorKind::BrokenPipe.into())));
    }
}

impl Write for PipeWriter {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.collected.extend_from_slice(data);
        if self.collected.len() >= PART {
            self.flush()?;
        }
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.collected.is_empty() {
            return Ok(());
        }
        let part = Bytes::from(std::mem::take(&mut self.collected));
        // A reader that is slow is waited for; one that is gone is not.
        self.sender.blocking_send(Ok(part)).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Drop for PipeWriter {
    fn drop(&mut self) {
        // The reader may be gone.
        drop(self.flush());
    }
}

/// The end that the network reads.
pub(crate) struct PipeBody {
    parts: mpsc::Receiver<io::Result<Bytes>>,
}

impl Body for PipeBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.parts.poll_recv(context).map(|part| part.map(|part| part.map(Frame::data)))
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    /// Reads all parts; returns how many bytes came, and whether the message was whole.
    fn read(mut body: PipeBody) -> (usize, bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut length = 0;
            while let Some(frame) = body.frame().await {
                match frame {
                    Ok(frame) => length += frame.into_data().unwrap().len(),
                    Err(_) => return (length, false),
                }
            }
            (length, true)
        })
    }

    #[test]
    fn sends_what_is_written() {
        let (mut writer, body) = pipe();
        let thread = std::thread::spawn(move || {
            writer.write_all(&vec![7; PART * 9]).unwrap();
            writer.write_all(b"end").unwrap();
        });
        assert_eq!(read(body), (PART * 9 + 3, true));
        thread.join().unwrap();
    }

    #[test]
    fn tells_that_a_message_is_not_whole() {
        let (mut writer, body) = pipe();
        writer.write_all(b"begun").unwrap();
        writer.flush().unwrap();
        writer.write_all(b"not flushed").unwrap();
        writer.break_off();
        assert_eq!(read(body), (5, false));
    }

    #[test]
    fn fails_when_nobody_reads() {
        let (mut writer, body) = pipe();
        drop(body);
        assert!(!writer.is_wanted());
        assert!(writer.write_all(&vec![7; PART]).is_err());
    }
}
