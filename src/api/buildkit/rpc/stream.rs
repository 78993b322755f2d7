//! The two directions of a call.

use std::future::poll_fn;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use h2::{RecvStream, SendStream};
use http::HeaderMap;
use prost::Message;

use super::{Code, Status};

/// The bytes before a message.
const HEAD: usize = 5;

/// More than any message that is asked for here.
const LARGEST: usize = 16 << 20;

/// Where messages come from.
pub(crate) trait Messages: Send {
    /// Waits for a message; nothing if that was all.
    fn next<M: Message + Default>(
        &mut self,
    ) -> impl Future<Output = Result<Option<M>, Status>> + Send;
}

/// What arrives.
pub(crate) struct Incoming {
    body: RecvStream,
    buffer: BytesMut,
    /// Whether the trailers have the end of the call: so for who has called.
    has_end: bool,
}

impl Incoming {
    pub(super) fn of_caller(body: RecvStream) -> Self {
        Self { body, buffer: BytesMut::new(), has_end: false }
    }

    pub(super) fn of_answer(body: RecvStream) -> Self {
        Self { body, buffer: BytesMut::new(), has_end: true }
    }

    /// Waits for the only message.
    pub(crate) async fn only<M: Message + Default>(&mut self) -> Result<M, Status> {
        let missing = || Status::new(Code::InvalidArgument, "the message is missing");
        let message = self.next().await?.ok_or_else(missing)?;
        // What the call ends with is told after it.
        if self.has_end && self.next::<M>().await?.is_some() {
            return Err(Status::broken("there are several answers"));
        }
        Ok(message)
    }

    async fn end(&mut self) -> Result<(), Status> {
        let trailers = self.body.trailers().await.map_err(Status::broken)?;
        match trailers {
            Some(trailers) if self.has_end => Status::read(&trailers),
            None if self.has_end => Err(Status::broken("the answer has no end")),
            _ => Ok(()),
        }
    }

    /// Takes a message that has arrived as a whole.
    fn whole(&mut self) -> Result<Option<Bytes>, Status> {
        let Some(head) = self.buffer.first_chunk::<HEAD>() else { return Ok(None) };
        let [is_compressed, length @ ..] = *head;
        if is_compressed != 0 {
            return Err(Status::new(Code::Unimplemented, "compressed messages are not read here"));
        }
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > LARGEST {
            let text = format!("a message of {length} bytes is too large");
            return Err(Status::new(Code::InvalidArgument, text));
        }
        if self.buffer.len() < HEAD + length {
            return Ok(None);
        }
        self.buffer.advance(HEAD);
        Ok(Some(self.buffer.split_to(length).freeze()))
    }
}

impl Messages for Incoming {
    async fn next<M: Message + Default>(&mut self) -> Result<Option<M>, Status> {
        loop {
            if let Some(message) = self.whole()? {
                return M::decode(message).map(Some).map_err(|error| {
                    Status::new(Code::InvalidArgument, format!("a message makes no sense: {error}"))
                });
            }
            match self.body.data().await {
                Some(Ok(data)) => {
                    self.buffer.extend_from_slice(&data);
                    let freed = self.body.flow_control().release_capacity(data.len());
                    freed.map_err(Status::broken)?;
                }
                Some(Err(error)) => return Err(Status::broken(error)),
                None if !self.buffer.is_empty() => {
                    return Err(Status::broken("a message is cut off"));
                }
                None => return self.end().await.map(|()| None),
            }
        }
    }
}

/// What is sent.
pub(crate) struct Outgoing {
    stream: SendStream<Bytes>,
}

impl Outgoing {
    pub(super) fn new(stream: SendStream<Bytes>) -> Self {
        Self { stream }
    }

    /// Sends a message, and waits until there is room for it.
    pub(crate) async fn send(&mut self, message: &impl Message) -> Result<(), Status> {
        let length = message.encoded_len();
        let mut data = BytesMut::with_capacity(HEAD + length);
        data.put_u8(0);
        data.put_u32(u32::try_from(length).map_err(Status::broken)?);
        message.encode(&mut data).map_err(Status::broken)?;
        let mut data = data.freeze();
        while !data.is_empty() {
            self.stream.reserve_capacity(data.len());
            let mut room = self.stream.capacity();
            if room == 0 {
                let more = poll_fn(|context| self.stream.poll_capacity(context)).await;
                room = match more {
                    Some(room) => room.map_err(Status::broken)?,
                    None => return Err(Status::broken("the other end has left")),
                };
            }
            let piece = data.split_to(room.min(data.len()));
            self.stream.send_data(piece, false).map_err(Status::broken)?;
        }
        Ok(())
    }

    /// Says that no message follows, as callers do.
    pub(crate) fn close(&mut self) -> Result<(), Status> {
        self.stream.send_data(Bytes::new(), true).map_err(Status::broken)
    }

    /// Says how the call has ended, as who was called does.
    pub(super) fn finish(&mut self, end: Result<(), &Status>) {
        let mut trailers = HeaderMap::new();
        Status::write(end, &mut trailers);
        // Who has left does not want to know.
        drop(self.stream.send_trailers(trailers));
    }

    /// Waits until the other end gives the call up.
    pub(crate) async fn given_up(&mut self) {
        // However it ends, nobody waits for the answer any more.
        drop(poll_fn(|context| self.stream.poll_reset(context)).await);
    }
}
