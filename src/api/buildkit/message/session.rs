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

/// Asks for the credentials for a registry.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct CredentialsRequest {
    #[prost(string, tag = "1")]
    pub(crate) host: String,
}

/// Credentials; with no user, the secret is a token for lasting use.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct CredentialsResponse {
    #[prost(string, tag = "1")]
    pub(crate) user: String,
    #[prost(string, tag = "2")]
    pub(crate) secret: String,
}
