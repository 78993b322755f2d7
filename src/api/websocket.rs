//! WebSockets (RFC 6455), as far as an attached client in a browser needs them: messages of bytes both ways.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::{Buf, Bytes, BytesMut};

use crate::error::{Error, Kind, Result};

/// What the answer to a key begins with, by the RFC.
const MAGIC: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Bytes of the longest frame that is taken.
const LONGEST: u64 = 1 << 20;

/// Returns the answer to a client's `Sec-WebSocket-Key`.
pub(super) fn accept(key: &str) -> String {
    let mut context = ring::digest::Context::new(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY);
    context.update(key.as_bytes());
    context.update(MAGIC.as_bytes());
    BASE64_STANDARD.encode(context.finish())
}

/// Puts data into a frame of a binary message.
pub(super) fn frame(data: &[u8]) -> Bytes {
    let mut frame = vec![0x82];
    match (u8::try_from(data.len()), u16::try_from(data.len())) {
        (Ok(length), _) if length < 126 => frame.push(length),
        (_, Ok(length)) => {
            frame.push(126);
            frame.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            frame.push(127);
            frame.extend_from_slice(&(data.len() as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(data);
    frame.into()
}

/// The frame that ends a conversation.
pub(super) fn close() -> Bytes {
    Bytes::from_static(&[0x88, 0])
}

/// The frame that answers whether we are there.
pub(super) fn pong(data: &[u8]) -> Bytes {
    // What is longer is no question.
    let data = &data[..data.len().min(125)];
    let mut frame = vec![0x8a, u8::try_from(data.len()).unwrap_or_default()];
    frame.extend_from_slice(data);
    frame.into()
}

/// A frame of a client.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// What it says.
    Data(Bytes),
    /// It says nothing more.
    Close,
    /// It asks whether we are there, and wants this back.
    Ping(Bytes),
    /// Anything else.
    Other,
}

/// Takes the next whole frame of a client from a buffer.
pub(super) fn take(buffer: &mut BytesMut) -> Result<Option<Frame>> {
    let invalid =
        |text: &str| Error::new(Kind::Invalid, format!("invalid WebSocket frame: {text}"));
    let [first, second, ..] = buffer[..] else { return Ok(None) };
    if second & 0x80 == 0 {
        return Err(invalid("a client must mask what it says"));
    }
    let (header, length) = match second & 0x7f {
        126 => {
            let Some(bytes) = buffer.get(2..4) else { return Ok(None) };
            (4, u64::from(u16::from_be_bytes([bytes[0], bytes[1]])))
        }
        127 => {
            let Some(bytes) = buffer.get(2..10) else { return Ok(None) };
            let bytes = <[u8; 8]>::try_from(bytes).unwrap_or_default();
            (10, u64::from_be_bytes(bytes))
        }
        length => (2, u64::from(length)),
    };
    if length > LONGEST {
        return Err(invalid("it is too long"));
    }
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if buffer.len() < header + 4 + length {
        return Ok(None);
    }
    let mask = [buffer[header], buffer[header + 1], buffer[header + 2], buffer[header + 3]];
    buffer.advance(header + 4);
    let mut data = buffer.split_to(length);
    for (byte, mask) in data.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
    Ok(Some(match first & 0x0f {
        // The rest of a message, text or bytes.
        0..=2 => Frame::Data(data.freeze()),
        8 => Frame::Close,
        9 => Frame::Ping(data.freeze()),
        _ => Frame::Other,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_the_key_of_the_rfc() {
        assert_eq!(accept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn takes_frames_wherever_reads_end() {
        // "Hello" of the RFC, then a close.
        let bytes = [
            0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58, 0x88, 0x80, 1, 2, 3,
            4,
        ];
        let mut buffer = BytesMut::new();
        let mut found = Vec::new();
        for byte in bytes {
            buffer.extend_from_slice(&[byte]);
            found.extend(take(&mut buffer).unwrap());
        }
        assert_eq!(found, [Frame::Data(Bytes::from_static(b"Hello")), Frame::Close]);
        let ping = take(&mut BytesMut::from(&[0x89, 0x81, 1, 2, 3, 4, b'x' ^ 1][..])).unwrap();
        assert_eq!(ping, Some(Frame::Ping(Bytes::from_static(b"x"))));
        assert_eq!(&pong(b"x")[..], [0x8a, 1, b'x']);
        assert!(take(&mut BytesMut::from(&[0x82, 5, 1, 2, 3, 4, 5][..])).is_err());
        let long = [0x82, 0xff, 0, 0, 0, 0xff, 0, 0, 0, 0];
        assert!(take(&mut BytesMut::from(&long[..])).is_err());
    }

    #[test]
    fn writes_frames_of_all_lengths() {
        for (length, header) in [(5, vec![0x82, 5]), (200, vec![0x82, 126, 0, 200])] {
            let frame = frame(&vec![b'x'; length]);
            assert_eq!(&frame[..header.len()], header);
            assert_eq!(frame.len(), header.len() + length);
        }
        assert_eq!(&frame(&vec![0; 70_000])[..10], [0x82, 127, 0, 0, 0, 0, 0, 1, 0x11, 0x70]);
    }
}
