//! The end that calls.

use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderName, HeaderValue, Method, Request, StatusCode};
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    CONNECTION_WINDOW, CONTENT_TYPE, Code, Incoming, Messages, Outgoing, STREAM_WINDOW, Status,
};
use crate::api::buildkit::message::Empty;

/// A connection to somebody who can be called.
#[derive(Clone, Debug)]
pub(crate) struct Channel {
    sender: SendRequest<Bytes>,
}

impl Channel {
    /// Begins to talk; the future that comes along must be waited for all the time, and ends with the
    /// connection.
    pub(crate) async fn open<T>(
        io: T,
    ) -> Result<(Self, impl Future<Output = Result<(), Status>> + Send), Status>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = h2::client::Builder::new()
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .enable_push(false)
            .handshake(io)
            .await
            .map_err(Status::broken)?;
        Ok((Self { sender }, async move { connection.await.map_err(Status::broken) }))
    }

    /// Begins a call.
    pub(crate) async fn stream(
        &self,
        method: &str,
        metadata: &[(HeaderName, HeaderValue)],
    ) -> Result<(Outgoing, Answer), Status> {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(format!("http://localhost{method}"))
            .header(http::header::CONTENT_TYPE, CONTENT_TYPE)
            .header(http::header::TE, "trailers");
        for (name, value) in metadata {
            request = request.header(name, value);
        }
        let request = request.body(()).map_err(Status::broken)?;
        let mut sender = self.sender.clone().ready().await.map_err(Status::broken)?;
        let (response, stream) = sender.send_request(request, false).map_err(Status::broken)?;
        Ok((Outgoing::new(stream), Answer::Waiting(response)))
    }

    /// Asks by one message, and waits for the only one that is answered.
    pub(crate) async fn ask<M: Message + Default>(
        &self,
        method: &str,
        request: &impl Message,
    ) -> Result<M, Status> {
        let (mut outgoing, mut answer) = self.stream(method, &[]).await?;
        outgoing.send(request).await?;
        outgoing.close()?;
        answer.begun().await?.only().await
    }
}

/// What is answered to a call: who is called may wait for messages before it begins.
pub(crate) enum Answer {
    /// Nothing has come yet.
    Waiting(h2::client::ResponseFuture),
    /// It comes.
    Begun(Incoming),
}

impl Answer {
    /// Waits for the beginning.
    pub(crate) async fn begun(&mut self) -> Result<&mut Incoming, Status> {
        if let Self::Waiting(response) = self {
            let (parts, body) = response.await.map_err(Status::broken)?.into_parts();
            if parts.status != StatusCode::OK {
                let text = format!("the answer is no gRPC, but {}", parts.status);
                return Err(Status::new(Code::Unknown, text));
            }
            // One that is over at once has its end here.
            if parts.headers.contains_key("grpc-status") {
                Status::read(&parts.headers)?;
            }
            *self = Self::Begun(Incoming::of_answer(body));
        }
        match self {
            Self::Begun(incoming) => Ok(incoming),
            Self::Waiting(_) => Err(Status::broken("the answer has not begun")),
        }
    }

    /// Says that nothing follows, and waits for the end of the call: it would be taken for a failure
    /// if the connection ended before.
    pub(crate) async fn end(&mut self, outgoing: &mut Outgoing) -> Result<(), Status> {
        outgoing.close()?;
        while self.next::<Empty>().await?.is_some() {}
        Ok(())
    }
}

impl Messages for Answer {
    async fn next<M: Message + Default>(&mut self) -> Result<Option<M>, Status> {
        self.begun().await?.next().await
    }
}
