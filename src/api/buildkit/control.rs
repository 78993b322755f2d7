//! `moby.buildkit.v1.Control`: what clients ask the builder.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::builds::Build;
use super::message::control::{
    DiskUsageResponse, InfoResponse, ListWorkersResponse, PruneRequest, SolveRequest,
    SolveResponse, StatusRequest, UsageRecord, Version, WorkerRecord,
};
use super::message::{Any, BytesMessage, Empty, Platform};
use super::rpc::{Call, Code, Handler, Messages, Status};
use super::{gateway, solve};
use crate::api::serve::Service;
use crate::build::{self, CachePrune, CacheRecord, Keep};
use crate::error::{Error, Kind};
use crate::spec::filter::Filter;
use crate::spec::platform::Platform as HostPlatform;

/// The BuildKit whose behavior clients may expect.
const LIKE: &str = "v0.25.0";

/// Bytes of a session inside a call that may be on their way.
const TUNNEL: usize = 64 << 10;

/// Who is called.
pub(super) struct Control {
    pub(super) service: Arc<Service>,
}

impl Handler for Control {
    async fn handle(&self, call: &mut Call) -> Result<(), Status> {
        let method = call.method.clone();
        match method.as_str() {
            "/moby.buildkit.v1.Control/Solve" => self.solve(call).await,
            "/moby.buildkit.v1.Control/Status" => self.status(call).await,
            "/moby.buildkit.v1.Control/ListWorkers" => {
                call.request::<Empty>().await?;
                call.answer(&ListWorkersResponse { workers: vec![worker()] }).await
            }
            "/moby.buildkit.v1.Control/Info" => {
                call.request::<Empty>().await?;
                call.answer(&InfoResponse { version: Some(version()) }).await
            }
            "/moby.buildkit.v1.Control/Session" => self.session(call).await,
            "/moby.buildkit.v1.Control/DiskUsage" => self.disk_usage(call).await,
            "/moby.buildkit.v1.Control/Prune" => self.prune(call).await,
            "/grpc.health.v1.Health/Check" => {
                call.request::<Empty>().await?;
                // SERVING.
                call.answer(&Health { status: 1 }).await
            }
            _ => match method.strip_prefix("/moby.buildkit.v1.frontend.LLBBridge/") {
                Some(method) => gateway::handle(&self.service, method, call).await,
                None => {
                    let text = format!("unknown method {method}");
                    Err(Status::new(Code::Unimplemented, text))
                }
            },
        }
    }
}

/// Whether somebody answers.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
struct Health {
    #[prost(int32, tag = "1")]
    status: i32,
}

impl Control {
    /// Builds, or waits for what a function of the client directs us to build.
    async fn solve(&self, call: &mut Call) -> Result<(), Status> {
        let request: SolveRequest = call.request().await?;
        let builds = &self.service.buildkit.builds;
        let build = builds.begin(&request)?;
        let solved = tokio::select! {
            solved = self.solved(&request, &build) => solved,
            () = call.outgoing.given_up() => {
                Err(Status::new(Code::Canceled, "context canceled"))
            }
        };
        build.progress.close();
        let service = Arc::clone(&self.service);
        let reference = request.reference;
        tokio::spawn(async move { service.buildkit.builds.forget(&reference).await });
        call.answer(&solved?).await
    }

    async fn solved(
        &self,
        request: &SolveRequest,
        build: &Arc<Build>,
    ) -> Result<SolveResponse, Status> {
        if request.definition.as_ref().is_some_and(|it| !it.is_empty()) {
            return Err(no_operations());
        }
        let facts = match request.frontend.as_str() {
            "" => match build.returned().await {
                Some(Ok(Some(name))) => build.result(&name).unwrap_or_default(),
                // A function that has made nothing.
                Some(Ok(None)) | None => HashMap::new().into_iter().collect(),
                Some(Err(error)) => return Err(returned(error)),
            },
            frontend => solve::solve(&self.service, build, frontend, &request.attributes).await?,
        };
        Ok(SolveResponse { exporter_response: facts.into_iter().collect() })
    }

    /// Tells how a build goes on, until it is over.
    async fn status(&self, call: &mut Call) -> Result<(), Status> {
        let request: StatusRequest = call.request().await?;
        let build = self.service.buildkit.builds.find(&request.reference).await?;
        let mut seen = 0;
        while let Some(news) = build.progress.after(seen).await {
            for one in &news {
                call.outgoing.send(one).await?;
            }
            seen += news.len();
        }
        Ok(())
    }

    /// Lets a client be called by way of a call of its own, as compose does for what several builds share:
    /// the messages are pieces of a connection.
    async fn session(&self, call: &mut Call) -> Result<(), Status> {
        let (ours, theirs) = tokio::io::duplex(TUNNEL);
        let (mut from, mut to) = tokio::io::split(theirs);
        let Call { metadata, incoming, outgoing, .. } = call;
        let there = async {
            while let Some(piece) = incoming.next::<BytesMessage>().await? {
                to.write_all(&piece.data).await.map_err(Status::broken)?;
            }
            to.shutdown().await.map_err(Status::broken)
        };
        let back = async {
            let mut buffer = bytes::BytesMut::with_capacity(TUNNEL);
            while from.read_buf(&mut buffer).await.map_err(Status::broken)? > 0 {
                outgoing.send(&BytesMessage { data: buffer.split().freeze() }).await?;
            }
            Ok::<(), Status>(())
        };
        // Whichever ends first ends all.
        tokio::select! {
            served = self.service.buildkit.sessions.serve(ours, metadata) => served,
            ended = there => ended,
            ended = back => ended,
        }
    }

    async fn disk_usage(&self, call: &mut Call) -> Result<(), Status> {
        call.request::<Empty>().await?;
        let service = Arc::clone(&self.service);
        let used = blocking(move || build::cache_use(&service.engine)).await?;
        let records = used.records.iter().map(record).collect();
        call.answer(&DiskUsageResponse { records }).await
    }

    async fn prune(&self, call: &mut Call) -> Result<(), Status> {
        let request: PruneRequest = call.request().await?;
        let asked = asked(&request).map_err(|error| Status::from(&error))?;
        let service = Arc::clone(&self.service);
        let (before, gone) = blocking(move || {
            let before = build::cache_use(&service.engine)?;
            Ok((before, build::prune_cache(&service.engine, &asked)?.0))
        })
        .await?;
        for record in before.records.iter().filter(|it| gone.contains(&it.id)) {
            call.outgoing.send(&self::record(record)).await?;
        }
        Ok(())
    }
}

/// Runs an engine call on a thread that may wait.
async fn blocking<T: Send + 'static>(
    run: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Status> {
    let done = tokio::task::spawn_blocking(run).await;
    done.map_err(|error| Status::new(Code::Internal, error.to_string()))?
        .map_err(|error| Status::from(&error))
}

/// Reads what is to be pruned.
pub(super) fn asked(request: &PruneRequest) -> Result<CachePrune, Error> {
    let bytes = |number: i64| u64::try_from(number).unwrap_or_default();
    let mut filters = Vec::new();
    match request.filter.as_slice() {
        [] => {}
        [terms] => filters.extend(terms.split(',').filter(|it| !it.is_empty()).map(filter)),
        _ => {
            let text = "several lists of filters, of which one must hold, are not known here";
            return Err(Error::new(Kind::Unsupported, text));
        }
    }
    if request.keep_nanoseconds > 0 {
        let value = format!("{}ns", request.keep_nanoseconds);
        filters.push(Filter { key: "until".to_owned(), value, negated: false });
    }
    Ok(CachePrune {
        all: request.all,
        filters,
        keep: Keep {
            reserved: bytes(request.reserved),
            most: bytes(request.most),
            free: bytes(request.free),
        },
    })
}

/// Reads one term of a filter: `shared`, `type==regular` or `id~=^0123`.
fn filter(term: &str) -> Filter {
    let (key, value, negated) = match term.split_once('=') {
        None => (term, "", false),
        Some((key, value)) => match key.strip_suffix(['!', '~']) {
            Some(name) => (name, value.trim_start_matches('^'), key.ends_with('!')),
            None => (key, value.trim_start_matches('='), false),
        },
    };
    let value = value.trim_matches('"').to_owned();
    Filter { key: key.trim().to_ascii_lowercase(), value, negated }
}

fn record(record: &CacheRecord) -> UsageRecord {
    UsageRecord {
        id: record.id.hex().to_owned(),
        size: i64::try_from(record.size).unwrap_or(i64::MAX),
        description: record.step.clone(),
        kind: "regular".to_owned(),
        shared: record.shared,
        uses: 1,
        ..UsageRecord::default()
    }
}

/// What a client's function has failed with.
fn returned(error: super::message::RpcStatus) -> Status {
    Status {
        details: error.details.into_iter().map(|it| Any { ..it }).collect(),
        ..Status::new(Code::of(error.code), error.message)
    }
}

/// Says that nothing but Dockerfiles is built here.
pub(super) fn no_operations() -> Status {
    let text = "barge builds Dockerfiles only, and no operations of BuildKit's own (LLB)";
    Status::new(Code::Unimplemented, text)
}

fn version() -> Version {
    Version {
        package: "github.com/moby/buildkit".to_owned(),
        version: LIKE.to_owned(),
        revision: format!("barge-{}", env!("CARGO_PKG_VERSION")),
    }
}

/// The only one who builds.
pub(super) fn worker() -> WorkerRecord {
    let host = HostPlatform::host();
    let labels = [
        ("org.mobyproject.buildkit.worker.executor", "barge"),
        // By this one, clients know that results may be archives, for several platforms, and pushed.
        ("org.mobyproject.buildkit.worker.snapshotter", "overlayfs"),
    ];
    let label = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    WorkerRecord {
        id: "barge".to_owned(),
        labels: labels.into_iter().map(label).collect(),
        platforms: vec![Platform {
            architecture: host.architecture,
            os: host.os,
            variant: host.variant.unwrap_or_default(),
        }],
        version: Some(version()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_clients_want_to_be_pruned() {
        let request = PruneRequest {
            filter: vec!["id~=^abc,type==regular,shared,private!=true".to_owned()],
            all: true,
            keep_nanoseconds: 5,
            reserved: 7,
            ..PruneRequest::default()
        };
        let asked = asked(&request).unwrap();
        let shown: Vec<_> = asked
            .filters
            .iter()
            .map(|it| format!("{}{}{}", it.key, if it.negated { "!=" } else { "=" }, it.value))
            .collect();
        assert_eq!(shown, ["id=abc", "type=regular", "shared=", "private!=true", "until=5ns"]);
        assert_eq!((asked.all, asked.keep.reserved, asked.keep.most), (true, 7, 0));
    }
}
