//! `moby.buildkit.v1.frontend.LLBBridge`: a function of the client directs the build.

use std::sync::Arc;

use super::control::{no_operations, worker};
use super::message::Empty;
use super::message::gateway::{
    Capability, PongResponse, Reference, ReturnRequest, SolveRequest, SolveResponse, SolveResult,
};
use super::rpc::{Call, Code, Status};
use super::solve;
use crate::api::serve::Service;

/// The header field that says which build it is about.
const BUILD: &str = "buildkit-controlapi-buildid";

/// What clients may use of the gateway.
const CAPABILITIES: [&str; 5] = [
    "solve.base",
    // The function's result comes by a call of its own, in the newer form.
    "return",
    "returnmap",
    "proto.refarray",
    "gateway.solve.metadata",
];

/// What clients may use of operations: those that Dockerfiles are made of.
const OPERATIONS: [&str; 4] = ["exporter.multiple", "file.base", "source.local", "exec.meta.base"];

/// Answers a call of the gateway.
pub(super) async fn handle(
    service: &Arc<Service>,
    method: &str,
    call: &mut Call,
) -> Result<(), Status> {
    match method {
        "Ping" => {
            call.request::<Empty>().await?;
            let able = |id: &&str| Capability { id: (*id).to_owned(), enabled: true };
            let pong = PongResponse {
                frontend: CAPABILITIES.iter().map(able).collect(),
                operations: OPERATIONS.iter().map(able).collect(),
                workers: vec![worker()],
            };
            call.answer(&pong).await
        }
        "Solve" => solve(service, call).await,
        "Return" => {
            let request: ReturnRequest = call.request().await?;
            let build = service.buildkit.builds.find(&name(call)?).await?;
            build.give_back(match request.error {
                Some(error) => Err(error),
                None => {
                    let result = request.result.and_then(|result| result.reference);
                    Ok(result.map(|it| it.id).filter(|id| !id.is_empty()))
                }
            });
            call.answer(&Empty {}).await
        }
        "Evaluate" | "Warn" | "ReleaseContainer" | "Inputs" => {
            call.request::<Empty>().await?;
            // What is built is built at once, and the client tells its warnings itself.
            call.answer(&Empty {}).await
        }
        other => {
            let text = format!("the gateway has no method {other} here");
            Err(Status::new(Code::Unimplemented, text))
        }
    }
}

async fn solve(service: &Arc<Service>, call: &mut Call) -> Result<(), Status> {
    let request: SolveRequest = call.request().await?;
    if request.definition.as_ref().is_some_and(|it| !it.is_empty()) {
        return Err(no_operations());
    }
    let build = service.buildkit.builds.find(&name(call)?).await?;
    let facts = tokio::select! {
        facts = solve::solve(service, &build, &request.frontend, &request.attributes) => facts?,
        () = call.outgoing.given_up() => {
            return Err(Status::new(Code::Canceled, "context canceled"));
        }
    };
    let id = build.keep(facts);
    let result = SolveResult { reference: Some(Reference { id }), ..SolveResult::default() };
    call.answer(&SolveResponse { result: Some(result) }).await
}

/// Returns what the client calls the build.
fn name(call: &Call) -> Result<String, Status> {
    let name = call.metadata.get(BUILD).and_then(|value| value.to_str().ok());
    let missing = || Status::new(Code::InvalidArgument, "the call names no build");
    name.map(str::to_owned).ok_or_else(missing)
}
