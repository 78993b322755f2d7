use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::api::buildkit::message::BytesMessage;

/// Sends back what comes, and has an error of its own.
#[derive(Default)]
struct Echo {
    /// Callers that have given up.
    given_up: tokio::sync::Notify,
}

impl Handler for Echo {
    async fn handle(&self, call: &mut Call) -> Result<(), Status> {
        match call.method.as_str() {
            "/test/Once" => {
                let message: BytesMessage = call.request().await?;
                call.answer(&message).await
            }
            "/test/Stream" => {
                while let Some(message) = call.incoming.next::<BytesMessage>().await? {
                    call.outgoing.send(&message).await?;
                }
                Ok(())
            }
            "/test/Wait" => {
                call.outgoing.given_up().await;
                self.given_up.notify_one();
                Ok(())
            }
            other => Err(Status::new(Code::Unimplemented, format!("no method `{other}`"))),
        }
    }
}

/// Runs something with a client of `Echo`.
fn with_client<F: Future<Output = ()>>(run: impl FnOnce(Channel, Arc<Echo>) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (ours, theirs) = tokio::net::UnixStream::pair().unwrap();
        let echo = Arc::new(Echo::default());
        let server = tokio::spawn(serve(theirs, Arc::clone(&echo)));
        let (channel, connection) = Channel::open(ours).await.unwrap();
        let connection = tokio::spawn(connection);
        run(channel, echo).await;
        // With calls that were given up, neither ends as it should.
        drop((connection.await.unwrap(), server.await.unwrap()));
    });
}

fn message(length: usize) -> BytesMessage {
    BytesMessage { data: Bytes::from(vec![7; length]) }
}

#[test]
fn asks_and_is_answered() {
    with_client(|channel, _| async move {
        for length in [0, 1, 70_000, 3 << 20] {
            let answer: BytesMessage = channel.ask("/test/Once", &message(length)).await.unwrap();
            assert_eq!(answer, message(length));
        }
        let failed = channel.ask::<BytesMessage>("/test/None", &message(0)).await.unwrap_err();
        assert_eq!(failed, Status::new(Code::Unimplemented, "no method `/test/None`"));
    });
}

#[test]
fn streams_both_ways() {
    with_client(|channel, _| async move {
        let (mut outgoing, mut answer) = channel.stream("/test/Stream", &[]).await.unwrap();
        for length in [1, 100_000, 0] {
            outgoing.send(&message(length)).await.unwrap();
            let next: BytesMessage = answer.next().await.unwrap().unwrap();
            assert_eq!(next, message(length));
        }
        outgoing.close().unwrap();
        assert_eq!(answer.next::<BytesMessage>().await.unwrap(), None);
    });
}

#[test]
fn learns_that_the_caller_gives_up() {
    with_client(|channel, echo| async move {
        let (outgoing, mut answer) = channel.stream("/test/Wait", &[]).await.unwrap();
        // One that is dropped before it was sent is never heard of.
        answer.begun().await.unwrap();
        drop((outgoing, answer));
        let limit = std::time::Duration::from_secs(20);
        tokio::time::timeout(limit, echo.given_up.notified()).await.unwrap();
    });
}

#[test]
fn refuses_messages_that_are_too_large() {
    with_client(|channel, _| async move {
        let failed = channel.ask::<BytesMessage>("/test/Once", &message(17 << 20)).await;
        let failed = failed.unwrap_err();
        assert!(
            failed.message.contains("too large") || failed.message.contains("has failed"),
            "{failed:?}"
        );
    });
}
