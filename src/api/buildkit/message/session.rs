//! What a client offers over its session: secrets, agents, credentials.

/// Asks for a secret.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct GetSecretRequest {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
}

/// A secret.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct GetSecretResponse {
    #[prost(bytes = "vec", tag = "1")]
    pub(crate) data: Vec<u8>,
}

/// Asks whether there is an SSH agent.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct CheckAgentRequest {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
}

/// Asks who the client is to a registry.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct LoginRequest {
    #[prost(string, tag = "1")]
    pub(crate) host: String,
}

/// Who the client is; without a user name the secret is a token that stands for both.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct LoginResponse {
    #[prost(string, tag = "1")]
    pub(crate) username: String,
    #[prost(string, tag = "2")]
    pub(crate) secret: String,
}
