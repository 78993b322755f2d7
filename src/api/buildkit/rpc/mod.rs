//! gRPC over HTTP/2, both ends of it.
//!
//! A message is five bytes, whether it is compressed and how long it is, and itself; a call ends with
//! a [`Status`] in the trailers. That is all of gRPC that is needed here, on top of `h2`, which is in the
//! executable for the registries' sake. The libraries for it are made for generated code, and would bring
//! a second router and a second client along.

mod client;
mod server;
mod status;
mod stream;

pub(crate) use client::{Answer, Channel};
pub(crate) use server::{Call, Handler, serve};
pub(crate) use status::{Code, Status};
pub(crate) use stream::{Incoming, Messages, Outgoing};

/// The media type of messages.
const CONTENT_TYPE: &str = "application/grpc";

/// Bytes of one stream that may be on their way.
const STREAM_WINDOW: u32 = 1 << 20;

/// Bytes of all streams of a connection that may be on their way.
const CONNECTION_WINDOW: u32 = 4 << 20;

#[cfg(test)]
mod tests;
