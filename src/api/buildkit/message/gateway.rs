//! `moby.buildkit.v1.frontend.LLBBridge`: what a client asks while its own function directs the build.

use std::collections::HashMap;

use super::RpcStatus;
use super::control::WorkerRecord;

/// What is understood here.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct PongResponse {
    #[prost(message, repeated, tag = "1")]
    pub(crate) frontend: Vec<Capability>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) operations: Vec<Capability>,
    #[prost(message, repeated, tag = "3")]
    pub(crate) workers: Vec<WorkerRecord>,
}

/// Something that is understood.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Capability {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(bool, tag = "2")]
    pub(crate) enabled: bool,
}

/// Asks to build something.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct SolveRequest {
    #[prost(bytes = "vec", optional, tag = "1")]
    pub(crate) definition: Option<Vec<u8>>,
    #[prost(string, tag = "2")]
    pub(crate) frontend: String,
    #[prost(map = "string, string", tag = "3")]
    pub(crate) attributes: HashMap<String, String>,
    /// Definitions of contexts, by name.
    #[prost(map = "string, bytes", tag = "13")]
    pub(crate) inputs: HashMap<String, Vec<u8>>,
}

/// What was built.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct SolveResponse {
    #[prost(message, optional, tag = "3")]
    pub(crate) result: Option<SolveResult>,
}

/// One result, or several by platform.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct SolveResult {
    #[prost(message, optional, tag = "3")]
    pub(crate) reference: Option<Reference>,
    #[prost(map = "string, bytes", tag = "10")]
    pub(crate) metadata: HashMap<String, Vec<u8>>,
}

/// The name of a result.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Reference {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
}

/// The client's function has ended.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct ReturnRequest {
    #[prost(message, optional, tag = "1")]
    pub(crate) result: Option<SolveResult>,
    #[prost(message, optional, tag = "2")]
    pub(crate) error: Option<RpcStatus>,
}
