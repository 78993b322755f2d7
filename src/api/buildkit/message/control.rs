//! `moby.buildkit.v1.Control`.

use std::collections::HashMap;

use super::{Platform, Timestamp};

/// Asks for a build.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SolveRequest {
    /// What it is called by whoever asks.
    #[prost(string, tag = "1")]
    pub(crate) reference: String,
    /// Operations of BuildKit's own, where no frontend makes them.
    #[prost(bytes = "vec", optional, tag = "2")]
    pub(crate) definition: Option<Vec<u8>>,
    /// From clients before several were possible.
    #[prost(string, tag = "3")]
    pub(crate) old_exporter: String,
    #[prost(map = "string, string", tag = "4")]
    pub(crate) old_exporter_attributes: HashMap<String, String>,
    #[prost(string, tag = "5")]
    pub(crate) session: String,
    #[prost(string, tag = "6")]
    pub(crate) frontend: String,
    #[prost(map = "string, string", tag = "7")]
    pub(crate) attributes: HashMap<String, String>,
    #[prost(message, optional, tag = "8")]
    pub(crate) cache: Option<CacheOptions>,
    #[prost(message, repeated, tag = "13")]
    pub(crate) exporters: Vec<Exporter>,
}

/// Caches besides the builder's own.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct CacheOptions {
    #[prost(message, repeated, tag = "4")]
    pub(crate) exports: Vec<CachePlace>,
    #[prost(message, repeated, tag = "5")]
    pub(crate) imports: Vec<CachePlace>,
}

/// Where such a cache is.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct CachePlace {
    #[prost(string, tag = "1")]
    pub(crate) kind: String,
    #[prost(map = "string, string", tag = "2")]
    pub(crate) attributes: HashMap<String, String>,
}

/// What becomes of the result.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Exporter {
    #[prost(string, tag = "1")]
    pub(crate) kind: String,
    #[prost(map = "string, string", tag = "2")]
    pub(crate) attributes: HashMap<String, String>,
}

/// What a build has made.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct SolveResponse {
    #[prost(map = "string, string", tag = "1")]
    pub(crate) exporter_response: HashMap<String, String>,
}

/// Asks how a build goes on.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct StatusRequest {
    #[prost(string, tag = "1")]
    pub(crate) reference: String,
}

/// How a build goes on.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct StatusResponse {
    #[prost(message, repeated, tag = "1")]
    pub(crate) vertexes: Vec<Vertex>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) statuses: Vec<VertexStatus>,
    #[prost(message, repeated, tag = "3")]
    pub(crate) logs: Vec<VertexLog>,
    #[prost(message, repeated, tag = "4")]
    pub(crate) warnings: Vec<VertexWarning>,
}

/// A step.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Vertex {
    /// Its identity, in the form of a digest.
    #[prost(string, tag = "1")]
    pub(crate) digest: String,
    #[prost(string, repeated, tag = "2")]
    pub(crate) inputs: Vec<String>,
    #[prost(string, tag = "3")]
    pub(crate) name: String,
    #[prost(bool, tag = "4")]
    pub(crate) cached: bool,
    #[prost(message, optional, tag = "5")]
    pub(crate) started: Option<Timestamp>,
    #[prost(message, optional, tag = "6")]
    pub(crate) completed: Option<Timestamp>,
    #[prost(string, tag = "7")]
    pub(crate) error: String,
}

/// How far a part of a step is.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct VertexStatus {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(string, tag = "2")]
    pub(crate) vertex: String,
    #[prost(string, tag = "3")]
    pub(crate) name: String,
    /// Bytes that are done.
    #[prost(int64, tag = "4")]
    pub(crate) current: i64,
    /// Bytes in all; 0 if that is not known.
    #[prost(int64, tag = "5")]
    pub(crate) total: i64,
    #[prost(message, optional, tag = "6")]
    pub(crate) timestamp: Option<Timestamp>,
    #[prost(message, optional, tag = "7")]
    pub(crate) started: Option<Timestamp>,
    #[prost(message, optional, tag = "8")]
    pub(crate) completed: Option<Timestamp>,
}

/// Output of a step's command.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct VertexLog {
    #[prost(string, tag = "1")]
    pub(crate) vertex: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) timestamp: Option<Timestamp>,
    /// 1 is standard output, 2 standard error.
    #[prost(int64, tag = "3")]
    pub(crate) stream: i64,
    #[prost(bytes = "vec", tag = "4")]
    pub(crate) data: Vec<u8>,
}

/// Something that the user should know.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct VertexWarning {
    #[prost(string, tag = "1")]
    pub(crate) vertex: String,
    #[prost(int64, tag = "2")]
    pub(crate) level: i64,
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) short: Vec<u8>,
}

/// Who builds.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct ListWorkersResponse {
    #[prost(message, repeated, tag = "1")]
    pub(crate) workers: Vec<WorkerRecord>,
}

/// One who builds.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct WorkerRecord {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(map = "string, string", tag = "2")]
    pub(crate) labels: HashMap<String, String>,
    #[prost(message, repeated, tag = "3")]
    pub(crate) platforms: Vec<Platform>,
    #[prost(message, optional, tag = "5")]
    pub(crate) version: Option<Version>,
}

/// Which program it is.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Version {
    #[prost(string, tag = "1")]
    pub(crate) package: String,
    #[prost(string, tag = "2")]
    pub(crate) version: String,
    #[prost(string, tag = "3")]
    pub(crate) revision: String,
}

/// Which program answers.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct InfoResponse {
    #[prost(message, optional, tag = "1")]
    pub(crate) version: Option<Version>,
}

/// What takes space.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct DiskUsageResponse {
    #[prost(message, repeated, tag = "1")]
    pub(crate) records: Vec<UsageRecord>,
}

/// Something that takes space.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct UsageRecord {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(bool, tag = "2")]
    pub(crate) mutable: bool,
    #[prost(bool, tag = "3")]
    pub(crate) in_use: bool,
    /// In bytes.
    #[prost(int64, tag = "4")]
    pub(crate) size: i64,
    #[prost(message, optional, tag = "6")]
    pub(crate) created: Option<Timestamp>,
    #[prost(message, optional, tag = "7")]
    pub(crate) used: Option<Timestamp>,
    #[prost(int64, tag = "8")]
    pub(crate) uses: i64,
    #[prost(string, tag = "9")]
    pub(crate) description: String,
    #[prost(string, tag = "10")]
    pub(crate) kind: String,
    #[prost(bool, tag = "11")]
    pub(crate) shared: bool,
}

/// Asks to remove what takes space.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct PruneRequest {
    #[prost(string, repeated, tag = "1")]
    pub(crate) filter: Vec<String>,
    #[prost(bool, tag = "2")]
    pub(crate) all: bool,
    /// What was made in this time stays.
    #[prost(int64, tag = "3")]
    pub(crate) keep_nanoseconds: i64,
    /// Bytes that stay in any case.
    #[prost(int64, tag = "4")]
    pub(crate) reserved: i64,
    /// Bytes of which no more stay.
    #[prost(int64, tag = "5")]
    pub(crate) most: i64,
    /// Bytes that are to be free on the disk.
    #[prost(int64, tag = "6")]
    pub(crate) free: i64,
}
