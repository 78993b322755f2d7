//! The packets in which trees of files are sent.

use std::collections::HashMap;

/// What a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum PacketKind {
    /// A file is there; without one, all have been told.
    Stat = 0,
    /// The receiver wants what is in a file.
    Request = 1,
    /// A piece of a file; an empty one is its end.
    Data = 2,
    /// All is done.
    Finish = 3,
    /// It cannot go on.
    Failure = 4,
}

/// One packet.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Packet {
    #[prost(enumeration = "PacketKind", tag = "1")]
    pub(crate) kind: i32,
    #[prost(message, optional, tag = "2")]
    pub(crate) stat: Option<Stat>,
    /// The number of the file among those that were told.
    #[prost(uint32, tag = "3")]
    pub(crate) id: u32,
    #[prost(bytes = "bytes", tag = "4")]
    pub(crate) data: bytes::Bytes,
}

/// A file.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Stat {
    /// Where it is, from the root of the tree on, with slashes.
    #[prost(string, tag = "1")]
    pub(crate) path: String,
    /// Permissions and kind, with the bits that Go gives them.
    #[prost(uint32, tag = "2")]
    pub(crate) mode: u32,
    #[prost(uint32, tag = "3")]
    pub(crate) uid: u32,
    #[prost(uint32, tag = "4")]
    pub(crate) gid: u32,
    /// In bytes.
    #[prost(int64, tag = "5")]
    pub(crate) size: i64,
    /// In nanoseconds since 1970.
    #[prost(int64, tag = "6")]
    pub(crate) modified: i64,
    /// Where a symbolic link leads; of a regular file, the one that it is the same as.
    #[prost(string, tag = "7")]
    pub(crate) link: String,
    #[prost(int64, tag = "8")]
    pub(crate) major: i64,
    #[prost(int64, tag = "9")]
    pub(crate) minor: i64,
    #[prost(map = "string, bytes", tag = "10")]
    pub(crate) xattrs: HashMap<String, Vec<u8>>,
}
