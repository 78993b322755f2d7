//! The end that is called.

use std::future::Future;
use std::sync::Arc;

use http::{HeaderMap, Response, StatusCode};
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{CONNECTION_WINDOW, CONTENT_TYPE, Incoming, Outgoing, STREAM_WINDOW, Status};

/// As many calls of one client at a time.
const CALLS: u32 = 256;

/// A call.
pub(crate) struct Call {
    /// Which method, as in `/package.Service/Method`.
    pub(crate) method: String,
    /// What is said beside the messages.
    pub(crate) metadata: HeaderMap,
    /// What arrives.
    pub(crate) incoming: Incoming,
    /// What is answered.
    pub(crate) outgoing: Outgoing,
}

impl Call {
    /// Waits for the only message.
    pub(crate) async fn request<M: Message + Default>(&mut self) -> Result<M, Status> {
        self.incoming.only().await
    }

    /// Answers by one message.
    pub(crate) async fn answer(&mut self, message: &impl Message) -> Result<(), Status> {
        self.outgoing.send(message).await
    }
}

/// Who answers calls.
pub(crate) trait Handler: Send + Sync + 'static {
    /// Answers a call; what it returns is the end of it.
    fn handle(&self, call: &mut Call) -> impl Future<Output = Result<(), Status>> + Send;
}

/// Answers the calls of a client until it leaves.
pub(crate) async fn serve<T>(io: T, handler: Arc<impl Handler>) -> Result<(), Status>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let mut connection = h2::server::Builder::new()
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(CALLS)
        .handshake(io)
        .await
        .map_err(Status::broken)?;
    while let Some(accepted) = connection.accept().await {
        let (request, mut respond) = accepted.map_err(Status::broken)?;
        let (parts, body) = request.into_parts();
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::OK;
        let content_type = http::HeaderValue::from_static(CONTENT_TYPE);
        response.headers_mut().insert(http::header::CONTENT_TYPE, content_type);
        // One that has left again already.
        let Ok(stream) = respond.send_response(response, false) else { continue };
        let mut call = Call {
            method: parts.uri.path().to_owned(),
            metadata: parts.headers,
            incoming: Incoming::of_caller(body),
            outgoing: Outgoing::new(stream),
        };
        let handler = Arc::clone(&handler);
        tokio::spawn(async move {
            let end = handler.handle(&mut call).await;
            call.outgoing.finish(end.as_ref().copied());
        });
    }
    Ok(())
}
