//! A store of blobs: containerd's `Content`, as far as it is asked here.

use super::Timestamp;

/// Asks for what is in a blob.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct ReadRequest {
    #[prost(string, tag = "1")]
    pub(crate) digest: String,
    #[prost(int64, tag = "2")]
    pub(crate) offset: i64,
    /// In bytes; 0 is all.
    #[prost(int64, tag = "3")]
    pub(crate) size: i64,
}

/// A piece of a blob.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct ReadResponse {
    #[prost(int64, tag = "1")]
    pub(crate) offset: i64,
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) data: bytes::Bytes,
}

/// What becomes of a message about a blob that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum WriteAction {
    /// It begins, or it is said how far it is.
    Stat = 0,
    /// A piece of it.
    Write = 1,
    /// It is whole.
    Commit = 2,
}

/// A piece of a blob that is written.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct WriteRequest {
    #[prost(enumeration = "WriteAction", tag = "1")]
    pub(crate) action: i32,
    /// What it is called as long as it is not whole.
    #[prost(string, tag = "2")]
    pub(crate) reference: String,
    /// In bytes.
    #[prost(int64, tag = "3")]
    pub(crate) total: i64,
    /// Its digest.
    #[prost(string, tag = "4")]
    pub(crate) expected: String,
    #[prost(int64, tag = "5")]
    pub(crate) offset: i64,
    #[prost(bytes = "bytes", tag = "6")]
    pub(crate) data: bytes::Bytes,
}

/// How far a blob is.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct WriteResponse {
    #[prost(enumeration = "WriteAction", tag = "1")]
    pub(crate) action: i32,
    #[prost(message, optional, tag = "2")]
    pub(crate) started: Option<Timestamp>,
    #[prost(message, optional, tag = "3")]
    pub(crate) updated: Option<Timestamp>,
    #[prost(int64, tag = "4")]
    pub(crate) offset: i64,
    #[prost(int64, tag = "5")]
    pub(crate) total: i64,
    #[prost(string, tag = "6")]
    pub(crate) digest: String,
}
